//! The storage as a whole, through its workers.

mod crash;
mod damage;
mod faults;
mod mend;
mod model;
mod reading;
mod snapshots;
mod truth;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::entries::{Batch, Entries, EntryKind};
use crate::state_machine::Frozen;
use crate::types::NodeId;

pub(super) fn id(epoch: u64, counter: u64) -> LogId {
    LogId::new(epoch, counter)
}

/// `n` entries from `first` on, with payloads that tell where they belong.
pub(super) fn run(first: LogId, n: u64) -> Entries {
    let payloads: Vec<String> = (0..n).map(|i| format!("entry {}", first.plus(i))).collect();
    Entries::new(first, EntryKind::Command, Batch::from_payloads(&payloads)).unwrap()
}

pub(super) fn identity() -> Identity {
    Identity { protocol: "raft".into(), cluster: "blue".into(), node: NodeId(3) }
}

pub(super) fn small() -> StorageConfig {
    StorageConfig { segment_bytes: 4096, write_bytes: 4096, ..StorageConfig::default() }
}

fn open_as(fs: &Arc<dyn Fs>, dir: &Path, identity: &Identity) -> Result<Opened, StorageError> {
    Storage::open(fs, dir, identity, &small(), &Arc::default())
}

pub(super) fn open(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Opened, StorageError> {
    open_as(fs, dir, &identity())
}

/// Runs a batch and gives the answers.
pub(super) fn ask(worker: &mut LogWorker, ops: impl IntoIterator<Item = LogOp>) -> Vec<LogEvent> {
    let mut ops: VecDeque<LogOp> = ops.into_iter().collect();
    let mut out = Vec::new();
    worker.run(&mut ops, &mut out);
    assert!(ops.is_empty());
    out
}

/// A state of so many bytes.
struct Blob(usize);

impl Frozen for Blob {
    fn write(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        let bytes: Vec<u8> = (0..self.0).map(|i| (i % 251) as u8).collect();
        out.write_all(&bytes)
    }
}

fn store(worker: &mut SnapshotWorker, snapshot: LogId, bytes: usize) -> SnapshotEvent {
    worker.run(SnapshotOp::Store { snapshot, state: Box::new(Blob(bytes)) })
}

/// What a node does with its folder in its life, on any file system.
fn life(fs: &Arc<dyn Fs>, dir: &Path) {
    let mut o = open(fs, dir).unwrap();
    assert_eq!((o.hard, o.snapshot, o.log.last()), (None, LogId::ZERO, LogId::ZERO));
    let events = ask(
        &mut o.log_worker,
        [
            LogOp::SaveHard(vec![1]),
            LogOp::Append(run(id(1, 1), 100)),
            LogOp::Append(run(id(1, 101), 100)),
            LogOp::SaveHard(vec![2]),
            LogOp::Append(run(id(2, 201), 100)),
            LogOp::Truncate { after: id(2, 250) },
            LogOp::Append(run(id(3, 251), 10)),
        ],
    );
    let durable = |upto, cuts| LogEvent::Durable { upto, cuts };
    assert_eq!(
        events,
        [
            LogEvent::HardSaved,
            durable(id(1, 200), 0),
            LogEvent::HardSaved,
            durable(id(2, 300), 0),
            durable(id(2, 250), 1),
            durable(id(3, 260), 1)
        ]
    );
    assert!(matches!(open(fs, dir), Err(StorageError::InUse { .. })));
    let stored = store(&mut o.snapshot_worker, id(2, 220), 600_000);
    assert_eq!(stored, SnapshotEvent::Stored { snapshot: id(2, 220), bytes: 600_040 });
    let [LogEvent::Compacted { base }] = ask(&mut o.log_worker, [LogOp::Compact { upto: id(2, 220) }])[..] else {
        panic!()
    };
    assert!(base > id(1, 100) && base <= id(2, 220));
    drop((o.log_worker, o.snapshot_worker));

    let mut o = open(fs, dir).unwrap();
    assert_eq!((o.hard, o.snapshot, o.log.base(), o.log.last()), (Some(vec![2]), id(2, 220), base, id(3, 260)));
    let tail = o.log.cached(id(2, 220), id(3, 260)).unwrap();
    assert_eq!(tail, [run(id(2, 221), 30), run(id(3, 251), 10)]);
    let mut body = Vec::new();
    o.snapshots.read(id(2, 220)).unwrap().read_to_end(&mut body).unwrap();
    assert_eq!((body.len(), body[599_999]), (600_000, (599_999 % 251) as u8));
    let events = ask(
        &mut o.log_worker,
        [
            LogOp::Fetch { peer: NodeId(1), after: id(2, 248), max_bytes: 1 << 20 },
            LogOp::Fetch { peer: NodeId(1), after: id(1, 5), max_bytes: 1 << 20 },
            LogOp::Show { token: 9, after: id(2, 249), max_entries: 2 },
            LogOp::Reset { base: id(7, 1000) },
            LogOp::Append(run(id(7, 1001), 1)),
        ],
    );
    let LogEvent::Shown { token: 9, lines } = &events[2] else { panic!() };
    assert_eq!((lines.len(), lines[0].id, lines[1].id), (2, id(2, 250), id(3, 251)));
    assert_eq!(
        events[..2],
        [
            LogEvent::Fetched { peer: NodeId(1), after: id(2, 248), entries: Some(run(id(2, 249), 2)) },
            LogEvent::Fetched { peer: NodeId(1), after: id(1, 5), entries: None }
        ]
    );
    assert_eq!(events[3..], [durable(id(7, 1000), 1), durable(id(7, 1001), 1)]);
    drop((o.log_worker, o.snapshot_worker));

    // The reset was for a snapshot that is not here: the log must not be taken for whole.
    assert!(matches!(open(fs, dir), Err(StorageError::Uncovered { .. })));
}

#[test]
fn a_life_on_the_real_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    life(&fs, &dir.path().join("a").join("b"));
}

#[test]
fn a_life_in_memory() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    life(&fs, Path::new("/node"));
}
