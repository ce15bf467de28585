use std::collections::BTreeMap;

use super::*;
use crate::quorum::Share;
use crate::sim::plan::{Fault, Make, Target};
use crate::sim::plan_text::KINDS;
use crate::types::NodeId;

const SEEDS: u64 = 2000;

#[test]
fn every_plan_can_run_and_the_text_is_all_of_it() {
    for seed in 0..SEEDS {
        let plan = plan("raft", seed);
        assert_eq!(plan.validate(), Ok(()), "{seed}");
        assert!(plan.faults.len() <= MAX_FAULTS, "{seed}");
        assert!(plan.faults.iter().all(|t| t.at <= plan.shape.span), "{seed}");
        assert!(fair(&plan), "{seed}:\n{plan}");
        assert_eq!(Plan::parse(&plan.to_string()), Ok(plan), "{seed}");
        for other in [standard("zab", seed), calm("zab", seed)] {
            assert_eq!((other.validate(), fair(&other)), (Ok(()), true), "{seed}");
        }
    }
}

#[test]
fn a_seed_means_one_plan_whatever_the_protocol() {
    let zab = plan("zab", 7);
    assert_eq!(Plan { protocol: "raft".into(), ..zab.clone() }, plan("raft", 7));
    assert_ne!(plan("zab", 8).shape, zab.shape);
    assert_eq!(standard("raft", 7).shape, standard("raft", 9).shape);
    assert_ne!(standard("raft", 7).faults, standard("raft", 9).faults);
    assert!(calm("raft", 7).faults.is_empty());
}

#[test]
fn disks_that_lose_what_they_confirmed_are_a_minority() {
    let mut struck = 0;
    for seed in 0..SEEDS {
        let plan = plan("raft", seed);
        assert!(minority_struck(&plan), "{seed}");
        struck += u64::from(plan.faults.iter().any(|t| t.fault.destroys()));
    }
    assert!(struck > SEEDS / 2, "{struck}");
    let rot = |node| Timed { at: Micros(0), fault: Fault::BitRot { node } };
    let node = |n| rot(Target::Node(NodeId(n)));
    let mut plan = calm("raft", 0);
    plan.shape.observers = 1;
    for (voters, faults, allowed) in [
        (1, vec![], true),
        (1, vec![node(1)], false),
        (1, vec![node(2)], true),
        (2, vec![node(1)], false),
        (3, vec![node(1), node(1), node(4)], true),
        (3, vec![node(1), node(2)], false),
        (4, vec![node(1), node(2)], false),
        (5, vec![node(1), node(2)], true),
        (5, vec![rot(Target::Leader)], false),
        (5, vec![rot(Target::Other(0))], false),
    ] {
        (plan.shape.voters, plan.faults) = (voters, faults);
        assert_eq!(minority_struck(&plan), allowed, "{plan}");
    }
    // Of voters that may weigh anything, not even one.
    let make = vec![(Make::Weighing(Share { weight: 3, group: 0 }), Target::Leader)];
    plan.faults = vec![Timed { at: Micros(0), fault: Fault::Change { make } }];
    assert!(minority_struck(&plan));
    plan.faults.push(node(1));
    assert!(!minority_struck(&plan));
}

#[test]
fn each_kind_is_in_about_half_of_the_plans_and_counts_differ_widely() {
    let mut plans: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut few, mut many) = (0, 0);
    for seed in 0..SEEDS {
        let faults = plan("raft", seed).faults;
        few += u64::from(faults.len() < 15);
        many += u64::from(faults.len() > 75);
        let mut kinds: Vec<_> = faults.iter().map(|t| t.fault.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            *plans.entry(kind).or_default() += 1;
        }
    }
    for kind in KINDS {
        let n = plans[kind];
        // Cuts are in most of the scenarios, too. Where clocks are promised to be even, they do not jump.
        let least = if kind == "jump" { 20 } else { 35 };
        assert!((SEEDS * least / 100..SEEDS * 95 / 100).contains(&n), "{kind}: {n} of {SEEDS}");
    }
    assert!(few > SEEDS / 40 && many > SEEDS / 20, "{few} {many}");
}

#[test]
fn what_voters_count_changes_in_some_plans() {
    let (mut weighed, mut grouped) = (0, 0);
    for seed in 0..SEEDS {
        let faults = plan("raft", seed).faults;
        let makes = faults.iter().filter_map(|t| if let Fault::Change { make } = &t.fault { Some(make) } else { None });
        let shares: Vec<Share> = makes
            .flatten()
            .filter_map(|(make, _)| if let Make::Weighing(share) = make { Some(*share) } else { None })
            .collect();
        weighed += u64::from(shares.iter().any(|s| s.weight != 1));
        grouped += u64::from(shares.iter().any(|s| s.group > 1));
    }
    assert!(weighed > SEEDS / 20 && grouped > SEEDS / 40, "{weighed} {grouped}");
}

#[test]
fn clusters_are_of_every_size_and_their_timers_can_work() {
    let mut sizes: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let (mut tight, mut short) = (0, 0);
    for seed in 0..SEEDS {
        let shape = plan("raft", seed).shape;
        *sizes.entry((shape.voters, shape.observers)).or_default() += 1;
        let round = 2 * shape.net.delay_us + 2 * shape.machine.sync_us;
        assert!(shape.timing.election_timeout.0 >= 4 * round, "{seed}: {shape:?}");
        assert!((10_000_000..=60_000_000).contains(&shape.span.0), "{seed}: {shape:?}");
        tight += u64::from(shape.timing.limits != 0 && shape.machine.limits != 0);
        short += u64::from(shape.timing.election_timeout < Micros::from_millis(500));
    }
    // Three and four observers where they hang on one another.
    assert_eq!(sizes.len(), 7 * 5, "{sizes:?}");
    assert!(tight > SEEDS / 6 && short > SEEDS / 10, "{tight} {short}");
}

#[test]
fn scenarios_are_met() {
    let (mut ring, mut bridge, mut storm, mut again) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let plan = plan("raft", seed);
        let count = |of: fn(&Fault) -> bool| plan.faults.iter().filter(|t| of(&t.fault)).count();
        let cuts_at = |at| plan.faults.iter().filter(|t| t.at == at && t.fault.kind() == "cut").count();
        ring +=
            u64::from(plan.faults.iter().any(|t| plan.shape.voters >= 4 && cuts_at(t.at) as u64 >= plan.shape.voters));
        bridge += u64::from(plan.faults.iter().any(|t| match &t.fault {
            Fault::Cut { from, to, .. } => from.len() + to.len() == plan.shape.voters as usize - 1,
            _ => false,
        }));
        storm += u64::from(count(|f| matches!(f, Fault::Crash { .. })) > 20);
        again += u64::from(count(|f| matches!(f, Fault::CrashAll { .. })) > 1);
    }
    assert!([ring, bridge, storm, again].iter().all(|n| *n > SEEDS / 20), "{ring} {bridge} {storm} {again}");
}

#[test]
fn numbers_have_about_equal_weight_for_each_power_of_two() {
    let mut rng = Rng::new(1);
    let mut octaves = [0; 8];
    for _ in 0..8000 {
        let n = log(&mut rng, 4, 1000);
        assert!((4..=1000).contains(&n));
        octaves[n.ilog2() as usize - 2] += 1;
    }
    assert!(octaves.iter().all(|n| (850..1150).contains(n)), "{octaves:?}");
    assert_eq!((log(&mut rng, 5, 5), log(&mut rng, 9, 2)), (5, 9));
}

#[test]
fn sessions_are_dropped_soon_in_some_plans_and_after_a_retry_in_all() {
    let (mut soon, mut early) = (0, 0);
    for seed in 0..SEEDS {
        let plan = plan("raft", seed);
        let (load, idle) = (plan.shape.load, plan.shape.load.session_idle_us());
        assert!(idle >= (2 * load.retry_us).min(60_000_000), "{seed}");
        assert!(plan.least_idle().0 < idle, "{seed}");
        soon += u64::from(idle <= 60_000_000);
        early += u64::from(idle < 4 * load.clients * 1_000_000 / load.per_second);
    }
    assert!(soon > SEEDS / 6 && early > SEEDS / 100, "{soon} {early}");
}
