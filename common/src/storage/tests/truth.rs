//! The truth, read incrementally from what the disk told, is what recovery finds from scratch on a copy of the disk.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::crash::{Step, crash, script, step, take};
use super::model::Node;
use super::*;
use crate::sim::truth::{Entered, TruthReader};
use crate::storage::mem_fs::{Call, Fault};

const DIR: &str = "/node";

/// Whoever watches a disk.
#[derive(Default)]
struct Watcher {
    reader: TruthReader<u8>,
    entered: BTreeMap<LogId, Entered>,
}

impl Watcher {
    /// Brings the truth up to date and compares it. Says whether recovery refuses the folder.
    fn check(&mut self, fs: &MemFs) -> bool {
        let before = self.reader.truth().clone();
        let was_refused = self.reader.refused().is_some();
        let changed = self.reader.refresh(fs, Path::new(DIR));
        let fork: Arc<dyn Fs> = Arc::new(fs.fork());
        let mut found = match open(&fork, Path::new(DIR)) {
            Ok(found) => found,
            Err(e) => {
                assert!(self.reader.refused().is_some(), "recovery says: {e}");
                assert!(fs.lied(), "{e}");
                return true;
            }
        };
        let changed = changed.unwrap();
        assert_eq!(self.reader.refused(), None);
        let truth = self.reader.truth();
        assert_eq!(changed, was_refused || *truth != before);
        assert_eq!((truth.hard, truth.snapshot), (found.hard.map_or(0, |h| h[0]), found.snapshot));
        assert_eq!((truth.log.base(), truth.log.spans()), (found.log.base(), found.log.spans()));
        self.entered.extend(self.reader.entered().iter().map(|e| (e.id, *e)));
        let show = LogOp::Show { token: 0, after: LogId::ZERO, max_entries: 1 << 20 };
        let [LogEvent::Shown { lines, .. }] = &ask(&mut found.log_worker, [show])[..] else { panic!() };
        let mut prev = found.log.base();
        for line in lines {
            let content = xxh3_64_with_seed(&line.payload, line.kind as u64);
            assert_eq!(self.entered[&line.id], Entered { id: line.id, prev, content });
            prev = line.id;
        }
        false
    }
}

#[test]
fn the_truth_is_what_recovery_finds_at_every_step_of_a_life() {
    let mut whole = Node::new();
    let first = whole.fs.steps();
    script(&mut whole).unwrap();
    for step in first + 1..=whole.fs.steps() {
        let mut node = Node::new();
        let mut watcher = Watcher::default();
        watcher.check(&node.fs);
        node.fs.cut_power_at(step);
        script(&mut node).unwrap_err();
        watcher.check(&node.fs);
        crash(&node, Some(step));
        watcher.check(&node.fs);
        node.reopen().unwrap();
        watcher.check(&node.fs);
    }
}

#[test]
fn the_truth_of_a_folder_in_the_making() {
    for step in 1..=Node::new().fs.steps() {
        let fs = MemFs::new();
        let mut watcher = Watcher::default();
        assert!(!watcher.check(&fs));
        fs.cut_power_at(step);
        open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), Path::new(DIR)).unwrap_err();
        assert!(!watcher.check(&fs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300.max(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn the_truth_is_what_recovery_finds_after_every_operation(steps in prop::collection::vec(step(), 1..40)) {
        let mut node = Node::new();
        let mut watcher = Watcher::default();
        let mut keeping = None;
        for step in &steps {
            match step {
                Step::Reopen => if node.reopen().is_err() {
                    crash(&node, keeping);
                    watcher.check(&node.fs);
                    node.reopen().unwrap();
                }
                Step::Kill => { node.fs.kill(); node.reopen().unwrap() }
                Step::Crash(seed) => {
                    crash(&node, *seed);
                    watcher.check(&node.fs);
                    node.reopen().unwrap();
                }
                Step::CutPower(n, seed) => { node.fs.cut_power_at(node.fs.steps() + n); keeping = *seed }
                _ => if take(&mut node, step).is_err() {
                    watcher.check(&node.fs);
                    crash(&node, keeping);
                    node.reopen().unwrap();
                }
            }
            assert!(!watcher.check(&node.fs));
        }
    }
}

/// What happens to a disk that lies.
#[derive(Clone, Debug)]
enum Harm {
    Write(u64, Fault),
    Rot(u64),
    Sync(u64),
    Kill,
    Crash(Option<u64>),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        3 => (1u64..6).prop_map(|n| Harm::Write(n, Fault::Lost)),
        3 => (1u64..6, any::<u64>()).prop_map(|(n, to)| Harm::Write(n, Fault::Misdirected(to))),
        1 => any::<u64>().prop_map(Harm::Rot),
        1 => (1u64..6).prop_map(Harm::Sync),
        3 => Just(Harm::Kill),
        3 => any::<Option<u64>>().prop_map(Harm::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300.max(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn the_truth_of_a_disk_that_lies(
        steps in prop::collection::vec(prop_oneof![2 => (1u64..20).prop_map(Ok), 1 => harm().prop_map(Err)], 1..40)
    ) {
        let fs = MemFs::new();
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let mut watcher = Watcher::default();
        let mut opened = open(&shared, Path::new(DIR)).unwrap();
        let mut last = LogId::ZERO;
        // No id is given out twice, whatever was lost: no protocol does that, and an id says what comes before it.
        let (mut epoch, mut anew) = (0, true);
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Ok(n) => {
                    if anew || i % 5 == 0 {
                        epoch += 1;
                    }
                    let first = id(epoch, last.counter + 1);
                    anew = true;
                    let ops = match n {
                        1 => vec![LogOp::SaveHard(vec![i as u8])],
                        2 => vec![LogOp::Compact { upto: opened.snapshot }],
                        3 if last > opened.snapshot => { store(&mut opened.snapshot_worker, last, 3000); vec![] }
                        4 => vec![LogOp::Truncate { after: opened.log.last() }],
                        _ => vec![LogOp::Append(run(first, n))],
                    };
                    for event in ask(&mut opened.log_worker, ops) {
                        if let LogEvent::Durable { upto, .. } = event { (last, anew) = (upto, false) }
                    }
                }
                Err(Harm::Write(nth, fault)) => fs.fail(Call::Write, nth, fault),
                Err(Harm::Sync(nth)) => fs.fail(Call::Sync, nth, Fault::Eio),
                Err(Harm::Rot(seed)) => { fs.rot(seed); }
                Err(end) => {
                    match end {
                        Harm::Crash(Some(seed)) => fs.crash_keeping(seed),
                        Harm::Crash(None) => fs.crash(),
                        _ => fs.kill(),
                    }
                    let refused = watcher.check(&fs);
                    drop(opened);
                    match open(&shared, Path::new(DIR)) {
                        Ok(o) => {
                            // What a process reads can be better than what the disk told, but only if it told less.
                            prop_assert!(!refused || !matches!(end, Harm::Crash(_)));
                            opened = o;
                            (last, anew) = (opened.log.last(), true);
                        }
                        Err(e) => { prop_assert!(fs.lied(), "{}", e); return Ok(()) }
                    }
                }
            }
            watcher.check(&fs);
        }
    }
}
