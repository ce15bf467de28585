//! Raft in the simulator: a few hundred worlds, and every plan that ever found something.
//!
//! `SEED=7 SEEDS=1 cargo test -p raft --test simulator -- --nocapture` looks at one world; `duet sim` runs campaigns.

use common::sim::outcome::{Counts, Outcome};
use common::sim::plan::{Fault, Plan, Target, Timed};
use common::sim::swarm;
use common::sim::world::{Options, run};
use common::types::Micros;
use raft::Raft;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn world(plan: &Plan) -> Outcome {
    run::<Raft>(plan, &Options::default())
}

#[test]
fn every_promise_is_kept_in_the_swarm() {
    let from = number("SEED", 0);
    let mut counts = Counts::default();
    for seed in from..from + number("SEEDS", 60) {
        let plan = swarm::plan("raft", seed);
        let outcome = world(&plan);
        if let Some((at, violation)) = outcome.violation {
            panic!("{plan}\nseed {seed}, after {at:?}: {violation}");
        }
        counts.add(&outcome.counts);
    }
    println!("{counts:#?}");
    // Otherwise nothing was tested.
    assert!(counts.operations > counts.boots && counts.faults.len() > 5, "{counts:?}");
}

#[test]
fn equal_plans_give_equal_runs() {
    for seed in 0..5 {
        let plan = swarm::plan("raft", seed);
        let (a, b) = (world(&plan), world(&plan));
        assert_eq!((a.hash, a.counts), (b.hash, b.counts), "seed {seed}");
        assert_ne!(a.hash, world(&Plan { seed: seed + 1000, ..plan }).hash, "the hash sees what happens");
    }
}

#[test]
fn a_quiet_cluster_keeps_its_leader() {
    let outcome = world(&swarm::calm("raft", 1));
    assert_eq!(outcome.violation, None);
    // One, the one that leadership is handed to at the end, and the next one when its disk stalls.
    assert_eq!((outcome.counts.leaders, outcome.counts.unknown), (3, 0), "{:?}", outcome.counts);
}

/// Nothing of the first is over when a second, weaker and shorter, ends.
#[test]
fn faults_of_one_kind_that_overlap_on_a_link_do_not_end_each_other() {
    let ms = Micros::from_millis;
    let slow = |at, delay, span| {
        let (from, to) = (Target::Leader, Target::Other(0));
        Timed { at: ms(at), fault: Fault::Slow { from, to, delay: ms(delay), span: ms(span) } }
    };
    let slowed = |faults: Vec<Timed>| {
        let outcome = world(&Plan { faults, ..swarm::calm("raft", 1) });
        assert_eq!(outcome.violation, None);
        outcome.counts.faults["slow"]
    };
    // By then somebody leads.
    let (long, short) = (slow(3000, 20, 6000), slow(4000, 1, 100));
    let (alone, both) = (slowed(vec![long.clone()]), slowed(vec![long, short]));
    assert!(both * 10 > alone * 9, "{both} segments were slowed, without the second {alone}");
}
