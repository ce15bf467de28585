//! How fast the simulator is: the standard load (5 voters, 16 clients, 50 operations a second, all faults and oracles on).
//!
//! An idle world is quick and proves nothing, so events and operations per simulated second stand beside the time.
//! `cargo bench -p bench --bench sim`; one worker, one core.

use std::hint::black_box;
use std::time::Duration;

use common::sim::outcome::Outcome;
use common::sim::subject::Subject;
use common::sim::swarm;
use common::sim::world::{Options, run};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use raft::Raft;
use zab::Zab;

/// The seeds of one sample.
const SEEDS: std::ops::Range<u64> = 0..4;

fn standard<P: Subject>() -> Vec<Outcome> {
    SEEDS.map(|seed| run::<P>(&swarm::standard(P::NAME, seed), &Options::default())).collect()
}

fn measure<P: Subject>(c: &mut Criterion) {
    let outcomes = standard::<P>();
    let sum = |f: fn(&Outcome) -> u64| outcomes.iter().map(f).sum::<u64>();
    let seconds = sum(|o| o.simulated.0) / 1_000_000;
    assert!(outcomes.iter().all(|o| o.violation.is_none()), "a promise was broken: {outcomes:?}");
    println!(
        "{}: {seconds} simulated s; per simulated s: {} events, {} messages, {} operations checked, {} entries committed",
        P::NAME,
        sum(|o| o.counts.events) / seconds,
        sum(|o| o.counts.messages) / seconds,
        sum(|o| o.counts.operations) / seconds,
        sum(|o| o.counts.committed) / seconds,
    );
    let mut group = c.benchmark_group("sim");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(seconds));
    group.bench_function(format!("{}, elements are simulated seconds", P::NAME), |b| {
        b.iter(|| black_box(standard::<P>()));
    });
    group.finish();
}

fn sims(c: &mut Criterion) {
    measure::<Raft>(c);
    measure::<Zab>(c);
}

criterion_group!(benches, sims);
criterion_main!(benches);
