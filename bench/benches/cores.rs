//! The protocol cores alone: three nodes on one thread, in memory, with disks that answer at once.
//!
//! "Batch N" proposes N commands of 100 bytes to the leader and then carries everything out until nothing is left to do:
//! every node has the entries durable, committed and applied. Elements per second are commits per second.

use std::hint::black_box;

use bytes::Bytes;
use common::entries::{Batch, BatchBuilder};
use common::protocol::Protocol;
use common::testbed::Testbed;
use common::types::{LogId, Micros, NodeId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD: [u8; 100] = [7; 100];
/// Entries after which a fresh cluster is made, so that memory stays what a node with snapshots would have.
const FRESH: u64 = 500_000;

/// A cluster with a leader.
fn cluster<P: Protocol>(config: &P::Config) -> (Testbed<P>, NodeId) {
    let mut bed = Testbed::<P>::new(3, 0, config.clone());
    bed.record(false);
    assert!(bed.advance_until(Micros::from_millis(10_000), |b| b.leader().is_some()), "a leader is elected");
    bed.settle();
    let leader = bed.leader().expect("there is a leader");
    (bed, leader)
}

fn batch(n: usize) -> Batch {
    if n == 1 {
        return Batch::single(Bytes::from_static(&PAYLOAD));
    }
    let mut builder = BatchBuilder::default();
    (0..n).for_each(|_| builder.push(&PAYLOAD));
    builder.take()
}

fn commits<P: Protocol>(c: &mut Criterion, config: &P::Config) {
    let mut group = c.benchmark_group(format!("core/{}", P::NAME));
    for n in [1usize, 16, 256] {
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("commit", n), |b| {
            let (mut bed, leader) = cluster::<P>(config);
            let mut written = 0;
            b.iter(|| {
                if written > FRESH {
                    (bed, _) = cluster::<P>(config);
                    written = 0;
                }
                written += n as u64;
                let (_, last) = bed.propose_batch(leader, batch(n)).expect("the leader takes it");
                bed.settle();
                assert!(black_box(bed.core(leader).committed()) >= last, "it is committed");
            });
            // Raft's followers learn of the last commit with the next heartbeat.
            bed.advance(Micros::from_millis(200));
            let level: Vec<LogId> = bed.cores().map(Protocol::committed).collect();
            assert!(level.iter().all(|id| *id == level[0]), "all nodes have committed the same: {level:?}");
        });
    }
    group.finish();
}

fn cores(c: &mut Criterion) {
    commits::<raft::Raft>(c, &raft::Config::default());
    commits::<zab::Zab>(c, &zab::Config::default());
}

criterion_group!(benches, cores);
criterion_main!(benches);
