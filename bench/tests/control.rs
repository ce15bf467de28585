//! TiKV's Raft in our world, under our faults, before the oracles that know no protocol: nothing may be found.
//!
//! Left out of the ordinary tests because it builds their crates: `cargo test -p bench --features control --test control`.

use bench::control::Control;
use common::sim::outcome::Counts;
use common::sim::swarm;
use common::sim::world::{Options, run};

#[test]
fn nothing_is_found_in_a_raft_that_is_known_to_be_right() {
    let mut counts = Counts::default();
    for seed in 0..100 {
        let mut plan = swarm::plan("control", seed);
        // The adapter has no learners and keeps the whole log.
        plan.shape.observers = 0;
        plan.shape.machine.snapshot_entries = u64::MAX;
        plan.shape.machine.cache_bytes = u64::from(u32::MAX);
        let outcome = run::<Control>(&plan, &Options::default());
        if let Some((at, violation)) = outcome.violation {
            panic!("{plan}\nseed {seed}, after {at:?}: {violation}");
        }
        counts.add(&outcome.counts);
    }
    println!("{counts:#?}");
    assert!(counts.operations > 10_000 && counts.leaders > 100, "{counts:?}");
}
