//! Power cuts: at every step of a scripted life, and at random moments of random ones.

use proptest::prelude::*;

use super::model::{Did, Node};
use super::*;

/// Every kind of operation, over several segments. Stops at the first failure.
pub(super) fn script(node: &mut Node) -> Result<(), String> {
    node.run(vec![Did::SaveHard(vec![1])])?;
    let run = node.next_run(1, 20, 90);
    node.run(vec![Did::Append(run)])?;
    let run = node.next_run(0, 10, 200);
    let hard = Did::SaveHard(vec![2]);
    node.run(vec![Did::Append(run), hard])?;
    // Two appends and a vote in one batch; then a truncation over several segments.
    let run = node.next_run(2, 12, 333);
    node.run(vec![Did::Append(run), Did::SaveHard(vec![3])])?;
    node.run(vec![Did::Truncate(id(1, 25))])?;
    let run = node.next_run(4, 8, 700);
    node.run(vec![Did::SaveHard(vec![4]), Did::Append(run)])?;
    node.store(id(1, 23))?;
    node.run(vec![Did::Compact(id(1, 23))])?;
    let last = node.state().last();
    node.run(vec![Did::Truncate(last), Did::SaveHard(vec![5])])?;
    node.install(id(last.epoch + 3, 400))?;
    let run = node.next_run(0, 9, 512);
    node.run(vec![Did::Append(run)])?;
    let base = node.state().last().plus(0);
    node.store(base)?;
    let run = node.next_run(1, 14, 410);
    node.run(vec![Did::Append(run), Did::Compact(base), Did::SaveHard(vec![6])])
}

/// What a crash keeps: None drops everything that was not synced.
pub(super) fn crash(node: &Node, keeping: Option<u64>) {
    match keeping {
        None => node.fs.crash(),
        Some(seed) => node.fs.crash_keeping(seed),
    }
}

#[test]
fn a_power_cut_at_every_step_keeps_what_was_reported() {
    let mut whole = Node::new();
    let first = whole.fs.steps();
    script(&mut whole).unwrap();
    let steps = whole.fs.steps();
    assert!(steps - first > 100, "the script does something: {first}..{steps}");
    for step in first + 1..=steps {
        for variant in 0..6u64 {
            let mut node = Node::new();
            node.fs.cut_power_at(step);
            script(&mut node).unwrap_err();
            crash(&node, variant.checked_sub(1).map(|v| step * 31 + v));
            // And once more while it recovers; then what was recovered must have become durable.
            node.fs.cut_power_at(node.fs.steps() + 1 + variant);
            if node.reopen().is_err() {
                crash(&node, Some(step * 77 + variant));
                node.reopen().unwrap();
            }
            node.fs.crash();
            node.reopen().unwrap();
            let more = node.next_run(1, 3, 40);
            node.run(vec![Did::Append(more)]).unwrap();
            node.fs.crash();
            node.reopen().unwrap();
        }
    }
}

#[test]
fn a_new_folder_survives_a_power_cut_at_every_step() {
    let steps = Node::new().fs.steps();
    for step in 1..=steps {
        for seed in 0..8 {
            let fs = MemFs::new();
            let shared: Arc<dyn Fs> = Arc::new(fs.clone());
            fs.cut_power_at(step);
            open(&shared, Path::new("/node")).unwrap_err();
            fs.crash_keeping(seed);
            let o = open(&shared, Path::new("/node")).unwrap();
            assert_eq!((o.hard, o.log.last()), (None, LogId::ZERO));
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Batch(Vec<Op>),
    Store(prop::sample::Index),
    Compact,
    Install(u64),
    Reopen,
    Kill,
    Crash(Option<u64>),
    /// Power fails so many steps later.
    CutPower(u64, Option<u64>),
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Append(u64, u64, usize),
    Truncate(prop::sample::Index),
    SaveHard(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (prop_oneof![4 => Just(0u64), 1 => 1u64..3], 1u64..12, 0usize..700).prop_map(|(e, n, s)| Op::Append(e, n, s)),
        1 => any::<prop::sample::Index>().prop_map(Op::Truncate),
        1 => any::<u8>().prop_map(Op::SaveHard),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(op(), 1..5).prop_map(Step::Batch),
        1 => any::<prop::sample::Index>().prop_map(Step::Store),
        1 => Just(Step::Compact),
        1 => (1u64..50).prop_map(Step::Install),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => any::<Option<u64>>().prop_map(Step::Crash),
        3 => (1u64..12, any::<Option<u64>>()).prop_map(|(n, k)| Step::CutPower(n, k)),
    ]
}

/// Carries out a step; Err when power failed in it.
pub(super) fn take(node: &mut Node, step: &Step) -> Result<(), String> {
    let snapshot = node.state().snapshot;
    match step {
        Step::Batch(ops) => {
            for op in ops {
                let did = match op {
                    Op::Append(epochs, n, size) => Did::Append(node.next_run(*epochs, *n, *size)),
                    Op::Truncate(pick) => Did::Truncate(node.pick(snapshot, *pick)),
                    Op::SaveHard(b) => Did::SaveHard(vec![*b]),
                };
                node.queue(did);
            }
            node.flush()
        }
        Step::Store(pick) => {
            let at = node.pick(snapshot, *pick);
            if at > snapshot { node.store(at) } else { Ok(()) }
        }
        Step::Compact => node.run(vec![Did::Compact(snapshot)]),
        Step::Install(n) => {
            let last = node.state().last();
            node.install(id(last.epoch + 1, last.counter + n))
        }
        _ => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300.max(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn random_lives_with_random_crashes(steps in prop::collection::vec(step(), 1..40)) {
        let mut node = Node::new();
        let mut keeping = None;
        for step in &steps {
            match step {
                Step::Reopen => if node.reopen().is_err() {
                    crash(&node, keeping);
                    node.reopen().unwrap();
                }
                Step::Kill => { node.fs.kill(); node.reopen().unwrap() }
                Step::Crash(seed) => { crash(&node, *seed); node.reopen().unwrap() }
                Step::CutPower(n, seed) => { node.fs.cut_power_at(node.fs.steps() + n); keeping = *seed }
                _ => if take(&mut node, step).is_err() {
                    crash(&node, keeping);
                    node.reopen().unwrap();
                }
            }
        }
        crash(&node, keeping);
        node.reopen().unwrap();
    }
}
