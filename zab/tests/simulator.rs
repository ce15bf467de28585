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
    assert_eq!((outcome.counts.leaders, outcome.counts.unknown), (1, 0), "{:?}", outcome.counts);
}

/// Every seeded bug is found in some world, by the oracle named for it. Slow: `duet mutants` is the place for it.
#[cfg(feature = "mutants")]
#[test]
#[ignore = "minutes; duet mutants does it better"]
fn every_mutant_is_found() {
    let only = std::env::var("MUTANT").ok();
    let off: Vec<&'static str> = std::env::var("OFF").map_or(Vec::new(), |o| vec![o.leak()]);
    let (from, seeds, enough) = (number("SEED", 0), number("SEEDS", 200), number("ENOUGH", 1) as usize);
    let mut missed = Vec::new();
    for mutant in zab::invariants::MUTANTS.iter().filter(|m| only.as_ref().is_none_or(|o| o.contains(m.name))) {
        common::mutant::activate(Some(mutant.name));
        let mut by: BTreeMap<&str, (usize, u64, String)> = BTreeMap::new();
        for seed in from..from + seeds {
            let outcome = run::<Zab>(&swarm::plan("zab", seed), &Options { off: off.clone(), ..Options::default() });
            if let Some((_, violation)) = outcome.violation {
                by.entry(violation.oracle).or_insert((0, seed, violation.what)).0 += 1;
            }
            if by.get(mutant.oracle).is_some_and(|(n, ..)| *n >= enough) {
                break;
            }
        }
        common::mutant::activate(None);
        println!("{} for {}:", mutant.name, mutant.oracle);
        for (oracle, (n, seed, what)) in &by {
            println!("      {oracle} {n} (seed {seed}: {})", what.chars().take(200).collect::<String>());
        }
        if !by.contains_key(mutant.oracle) {
            missed.push(mutant.name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
