//! ZAB in the simulator: a few dozen worlds.
//!
//! `SEED=7 SEEDS=1 cargo test -p zab --test simulator -- --nocapture` looks at one world; `duet sim` runs campaigns.

use std::collections::BTreeMap;

use common::sim::outcome::{Counts, Outcome};
use common::sim::plan::Plan;
use common::sim::subject::Subject;
use common::sim::swarm;
use common::sim::world::{Options, run};
use zab::Zab;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn world(plan: &Plan) -> Outcome {
    run::<Zab>(plan, &Options { marks: true, ..Options::default() })
}

#[test]
fn every_promise_is_kept_in_the_swarm() {
    let from = number("SEED", 0);
    let (mut counts, mut marks) = (Counts::default(), BTreeMap::<&str, u64>::new());
    for seed in from..from + number("SEEDS", 60) {
        let plan = swarm::plan("zab", seed);
        let outcome = world(&plan);
        if let Some((at, violation)) = outcome.violation {
            panic!("{plan}\nseed {seed}, after {at:?}: {violation}");
        }
        counts.add(&outcome.counts);
        for (mark, n) in outcome.marks {
            *marks.entry(mark).or_default() += n;
        }
    }
    println!("{counts:#?}");
    let missed: Vec<_> = Zab::marks().iter().filter(|m| !marks.contains_key(*m)).collect();
    println!("marks not reached: {missed:#?}");
    // Otherwise nothing was tested.
    assert!(counts.operations > counts.boots && counts.faults.len() > 5, "{counts:?}");
}

#[test]
fn equal_plans_give_equal_runs() {
    for seed in 0..5 {
        let plan = swarm::plan("zab", seed);
        let (a, b) = (world(&plan), world(&plan));
        assert_eq!((a.hash, a.counts), (b.hash, b.counts), "seed {seed}");
        assert_ne!(a.hash, world(&Plan { seed: seed + 1000, ..plan }).hash, "the hash sees what happens");
    }
}

#[test]
fn a_quiet_ensemble_keeps_its_leader() {
    let outcome = world(&swarm::calm("zab", 1));
    assert_eq!(outcome.violation, None);
    // One, and the next when it is removed at the end.
    assert_eq!((outcome.counts.leaders, outcome.counts.unknown), (2, 0), "{:?}", outcome.counts);
}
