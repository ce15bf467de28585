use super::*;
use crate::sim::plan::{Death, Fault, Target, Timed};
use crate::sim::swarm;
use crate::types::{Micros, NodeId};

fn crash(node: Target, ms: u64, back_ms: u64) -> Timed {
    Timed {
        at: Micros::from_millis(ms),
        fault: Fault::Crash { node, how: Death::Power, back: Micros::from_millis(back_ms) },
    }
}

/// A seed with many faults, and two more by hand.
fn noisy(extra: &[Timed]) -> Plan {
    let mut plans = (0..).map(|seed| swarm::plan("raft", seed));
    let mut plan = plans.find(|p| p.faults.len() > 80 && p.shape.voters == 5 && p.shape.observers > 0).unwrap();
    plan.faults.extend_from_slice(extra);
    plan.shape.span = plan.shape.span.max(Micros::from_millis(50_000));
    plan.faults.sort_by_key(|t| t.at);
    plan.validate().unwrap();
    plan
}

fn back(timed: &Timed) -> Option<(Target, u64)> {
    match timed.fault {
        Fault::Crash { node, how: Death::Power, back } => Some((node, back.0)),
        _ => None,
    }
}

/// Fails if the leader loses power for at least 50 s and n3, later, for at least 30 s, which no seed does; with three voters
/// and two clients.
fn two_crashes(plan: &Plan) -> Option<Violation> {
    let first = plan.faults.iter().position(|t| matches!(back(t), Some((Target::Leader, us)) if us >= 50_000_000))?;
    let second =
        plan.faults[first + 1..].iter().any(|t| matches!(back(t), Some((Target::Node(NodeId(3)), 30_000_000..))));
    let enough = plan.shape.voters >= 3 && plan.shape.load.clients >= 2 && plan.shape.load.mix[3] > 0;
    (second && enough).then(|| Violation::new("C-ACK", "made up"))
}

#[test]
fn the_two_faults_that_matter_are_what_is_left() {
    let mut plan = noisy(&[crash(Target::Leader, 12_345, 61_000), crash(Target::Node(NodeId(3)), 31_007, 47_003)]);
    plan.shape.load.clients = 13;
    plan.shape.load.mix = [30, 20, 20, 10, 20];
    let (mut runs, faults) = (0, plan.faults.len());
    let shrunk = shrink(
        &plan,
        |p| {
            runs += 1;
            two_crashes(p)
        },
        BUDGET,
    );
    assert_eq!(shrunk.violation, Some(Violation::new("C-ACK", "made up")));
    let small = &shrunk.plan;
    let lines: Vec<_> = small.faults.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["at 12s power-loss leader back 50s", "at 31s power-loss n3 back 30s"], "of {faults}");
    let shape = &small.shape;
    assert_eq!((shape.voters, shape.observers, shape.load.clients), (3, 0, 2));
    assert_eq!((shape.net.jitter_us, shape.timing.limits, shape.machine.limits), (0, 0, 0));
    assert_eq!(shape.load.mix, [90, 0, 0, 10, 0]);
    assert_eq!(shape.span, Micros::from_millis(31_000));
    assert_eq!(shrunk.runs, runs);
    assert!(runs < 300, "{runs}");
    assert_eq!(shrink(&plan, two_crashes, BUDGET), shrunk, "not the same again");
}

#[test]
fn another_oracle_is_another_bug() {
    let plan = noisy(&[crash(Target::Leader, 12_345, 2711)]);
    let shrunk = shrink(
        &plan,
        |p| {
            let leader = p.faults.iter().any(|t| matches!(back(t), Some((Target::Leader, _))));
            Some(Violation::new(if leader { "R-ES" } else { "C-LIN" }, "made up"))
        },
        BUDGET,
    );
    assert_eq!(shrunk.violation.unwrap().oracle, "R-ES");
    assert_eq!(shrunk.plan.faults.len(), 1);
    assert!(matches!(back(&shrunk.plan.faults[0]), Some((Target::Leader, 0))));
}

#[test]
fn disks_that_lose_what_they_confirmed_stay_a_minority() {
    let wipe = |n| Fault::Wipe { node: Target::Node(NodeId(n)), back: Micros(1) };
    let mut plan = swarm::calm("raft", 1);
    plan.faults = [1, 2].map(|n| Timed { at: Micros(n), fault: wipe(n) }).to_vec();
    let shrunk = shrink(&plan, |p| (p.faults.len() == 2).then(|| Violation::new("C-ACK", "made up")), BUDGET);
    assert_eq!(shrunk.plan.shape.voters, 5);
    // A plan that does not keep to it is not held to it.
    plan.shape.voters = 4;
    let shrunk = shrink(&plan, |p| (p.faults.len() == 2).then(|| Violation::new("C-ACK", "made up")), BUDGET);
    assert_eq!(shrunk.plan.shape.voters, 2);
}

#[test]
fn the_budget_is_kept_and_what_does_not_fail_stays() {
    let plan = noisy(&[crash(Target::Leader, 12_345, 61_000), crash(Target::Node(NodeId(3)), 31_007, 47_003)]);
    for budget in [1, 2, 17] {
        let mut runs = 0;
        let shrunk = shrink(
            &plan,
            |p| {
                runs += 1;
                two_crashes(p)
            },
            budget,
        );
        assert!(runs <= budget && shrunk.runs == runs, "{runs} of {budget}");
    }
    let shrunk = shrink(&plan, |_| None, BUDGET);
    assert_eq!(shrunk, Shrunk { plan, violation: None, runs: 1 });
}

#[test]
fn lists_and_counts_get_shorter() {
    let mut plan = swarm::calm("zab", 3);
    let all = |r: std::ops::RangeInclusive<u64>| r.map(|n| Target::Node(NodeId(n))).collect::<Vec<_>>();
    let cut = Fault::Cut { from: all(1..=3), to: all(3..=5), span: Micros(1_234_567) };
    let lost = Fault::LostWrite { node: Target::Node(NodeId(2)), nth: 187 };
    plan.faults = vec![Timed { at: Micros(5), fault: cut }, Timed { at: Micros(9_876_543), fault: lost }];
    let fails = |p: &Plan| {
        let cut = p.faults.iter().any(|t| {
            matches!(&t.fault, Fault::Cut { from, to, .. }
            if from.contains(&Target::Node(NodeId(2))) && to.contains(&Target::Node(NodeId(5))))
        });
        let lost = p.faults.iter().any(|t| matches!(t.fault, Fault::LostWrite { nth: 40.., .. }));
        (cut && lost).then(|| Violation::new("Z-PFX", "made up"))
    };
    let lines: Vec<_> = shrink(&plan, fails, BUDGET).plan.faults.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["at 0s cut n2 -> n5 for 0s", "at 9s lost-write n2 nth 40"]);
}

#[test]
fn timers_go_on_to_fit_what_is_around_them() {
    let slow = |p: &Plan| (p.shape.net.delay_us >= 30_000).then(|| Violation::new("L1", "made up"));
    let mut plans = (0..).map(|seed| swarm::plan("raft", seed));
    let plan = plans.find(|p| p.shape.net.delay_us >= 40_000 && p.shape.net.jitter_us > 0).unwrap();
    let shrunk = shrink(&plan, slow, BUDGET).plan;
    assert!(swarm::fair(&shrunk) && shrunk.faults.is_empty(), "{shrunk}");
    assert_eq!((shrunk.shape.net.delay_us, shrunk.shape.net.jitter_us), (40_000, 0), "{shrunk}");
}
