//! Calls that fail. After the first failure nothing is reported durable any more, and after a restart the disk holds what
//! was reported before.

use super::crash::script;
use super::model::{Did, Node};
use super::*;
use crate::storage::mem_fs::{Call, Fault};

const CALLS: [Call; 9] = [
    Call::Write,
    Call::Read,
    Call::SetSize,
    Call::Sync,
    Call::SyncDir,
    Call::Create,
    Call::Open,
    Call::Rename,
    Call::Unlink,
];

#[test]
fn every_call_may_fail_once_and_nothing_reported_is_lost() {
    for call in CALLS {
        for fault in [Fault::Eio, Fault::NoSpace] {
            let mut failures = 0;
            for nth in 1.. {
                let mut node = Node::new();
                node.fs.fail(call, nth, fault);
                let Err(text) = script(&mut node) else { break };
                failures += 1;
                assert!(text.contains("/node") && text.contains("os error"), "{text}");
                // The same process: it stays refused, though the disk works again.
                let run = node.next_run(0, 1, 1);
                if node.log_failed() {
                    assert_eq!(node.run(vec![Did::Append(run)]).unwrap_err(), text);
                }
                // A new process on the same machine, and then a power cut.
                if nth % 2 == 0 {
                    node.fs.kill();
                    node.reopen().unwrap();
                }
                node.fs.crash();
                node.reopen().unwrap();
            }
            let only_at_start = [Call::Open, Call::Read, Call::SetSize].contains(&call);
            assert!(failures > 0 || only_at_start, "{call:?} was never made");
        }
    }
}

#[test]
fn short_writes_are_completed() {
    for nth in 1..20 {
        let mut node = Node::new();
        node.fs.fail(Call::Write, nth, Fault::Short(7));
        script(&mut node).unwrap();
        node.fs.crash();
        node.reopen().unwrap();
    }
}

#[test]
fn a_full_disk_stops_the_node_and_room_brings_it_back() {
    let mut node = Node::new();
    node.fs.set_capacity(Some(20_000));
    let text = loop {
        let run = node.next_run(0, 5, 100);
        if let Err(text) = node.run(vec![Did::Append(run), Did::SaveHard(vec![7])]) {
            break text;
        }
    };
    assert!(text.contains("No space left on device"), "{text}");
    node.fs.kill();
    node.fs.set_capacity(None);
    node.reopen().unwrap();
    let run = node.next_run(0, 5, 100);
    node.run(vec![Did::Append(run)]).unwrap();
    node.fs.crash();
    node.reopen().unwrap();
}

#[test]
fn group_commit_is_one_write_and_one_sync() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let counters = Arc::new(Counters::default());
    let config = StorageConfig::default();
    let mut o = Storage::open(&fs, Path::new("/node"), &identity(), &config, &counters).unwrap();
    let before = counters.fsyncs.get();
    let ops = (0..50).map(|i| LogOp::Append(run(id(1, 1 + i * 10), 10)));
    assert_eq!(ask(&mut o.log_worker, ops), [LogEvent::Durable { upto: id(1, 500), cuts: 0 }]);
    assert_eq!(counters.fsyncs.get() - before, 1);
    assert_eq!(counters.entries_appended.get(), 500);
    let bytes: u64 = (0..50).map(|i| run(id(1, 1 + i * 10), 10)).map(|r| (r.bytes() + r.len() * 32) as u64).sum();
    assert_eq!(counters.log_bytes.get(), bytes);
    // Reading what was just appended needs no sync of its own, and does not report one.
    let before = counters.fsyncs.get();
    let events = ask(
        &mut o.log_worker,
        [
            LogOp::Append(run(id(1, 501), 1)),
            LogOp::Fetch { peer: NodeId(1), after: id(1, 499), max_bytes: 1000 },
            LogOp::Append(run(id(1, 502), 1)),
        ],
    );
    let [LogEvent::Fetched { entries: Some(e), .. }, LogEvent::Durable { upto, .. }] = &events[..] else { panic!() };
    assert_eq!((e.last(), *upto), (id(1, 501), id(1, 502)));
    assert_eq!(counters.fsyncs.get() - before, 1);
}

#[test]
fn operations_that_do_not_fit_the_log_are_refused() {
    let wrong = [
        LogOp::Append(run(id(1, 5), 1)),
        LogOp::Append(run(id(1, 3), 1)),
        LogOp::Append(run(id(0, 9), 1)),
        LogOp::Truncate { after: id(1, 4) },
        LogOp::Truncate { after: id(0, 1) },
    ];
    for op in wrong {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut o = open(&fs, Path::new("/node")).unwrap();
        ask(&mut o.log_worker, [LogOp::Append(run(id(1, 1), 3))]);
        let events = ask(&mut o.log_worker, [op, LogOp::SaveHard(vec![1])]);
        let [LogEvent::Failed(text)] = &events[..] else { panic!("{events:?}") };
        assert!(text.contains("does not fit"), "{text}");
    }
}
