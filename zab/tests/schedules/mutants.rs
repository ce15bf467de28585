//! Every seeded bug is found by some schedule. (The simulator finds more of them, sooner, and demands the right oracle.)

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::mutant::{Mutant, activate};
use zab::invariants::MUTANTS;

use super::world::run;

/// Whether this is what must find it. The testbed's time-outs are not the simulator's, so all of liveness is one.
fn named(mutant: &Mutant, found: &str) -> bool {
    found.starts_with(mutant.oracle) || (found.starts_with('L') && mutant.oracle.starts_with('L'))
}

/// The first seeds that find it, and how, until the oracle named for it has found it so many times.
fn hunt(mutant: &Mutant, seeds: u64, enough: usize) -> Vec<(u64, String)> {
    activate(Some(mutant.name));
    let mut found = Vec::new();
    for seed in 0..seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, 4000, false))) {
            Ok(Ok(_)) => continue,
            Ok(Err(violation)) => found.push((seed, violation.to_string())),
            Err(_) => found.push((seed, "PANIC: ".into())),
        }
        if found.iter().filter(|(_, what)| named(mutant, what)).count() == enough {
            break;
        }
    }
    activate(None);
    found
}

#[test]
fn every_mutant_is_found() {
    let only = std::env::var("MUTANT").ok();
    let number = |name: &str, default| std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(default);
    let (seeds, enough) = (number("SEEDS", 1000), number("ENOUGH", 1) as usize);
    let mut missed = Vec::new();
    for mutant in MUTANTS.iter().filter(|m| only.as_ref().is_none_or(|o| o == m.name)) {
        let found = hunt(mutant, seeds, enough);
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, what) in &found {
            *by.entry(what.split(':').next().unwrap_or_default()).or_default() += 1;
        }
        let first = found.first();
        println!(
            "{} for {}: {by:?} {:?}",
            mutant.name,
            mutant.oracle,
            first.map(|(s, w)| (s, w.chars().take(150).collect::<String>()))
        );
        if !by.keys().any(|oracle| named(mutant, oracle)) {
            missed.push((mutant.name, mutant.oracle, by.keys().map(|k| (*k).to_owned()).collect::<Vec<_>>()));
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
