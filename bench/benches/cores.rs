//! The protocol cores alone: three nodes on one thread, see [`trio`]. Elements per second are commits per second.
//! `peers_cores` gives the same cases to others' protocols too.

mod trio;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trio::{BATCHES, Group, SIZES, Trio};

fn commits<G: Group>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("core/{}", G::NAME));
    for size in SIZES {
        for n in BATCHES {
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::new(format!("{size} B"), n), |b| {
                let (mut nodes, payload) = (G::elected(), vec![7; size]);
                b.iter(|| nodes.commit(&payload, n, |_| {}));
                assert!(nodes.settle() >= (n * size) as u64);
            });
        }
    }
    group.finish();
}

fn cores(c: &mut Criterion) {
    commits::<Trio<raft::Raft>>(c);
    commits::<Trio<zab::Zab>>(c);
}

criterion_group!(benches, cores);
criterion_main!(benches);
