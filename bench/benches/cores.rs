//! The protocol cores alone: three nodes on one thread, in memory, no network, disks that answer at once.
//!
//! "Batch N" proposes N commands of 100 bytes to the leader and then carries everything out until nothing is left to do:
//! every node has the entries durable, the leader has committed and applied them. Elements per second are commits per
//! second. What drives the cores is as thin as can be: one queue, no copies, no maps; [`common::testbed`] does the same with
//! everything a test wants to see, and costs several times what it drives.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use common::entries::{Batch, BatchBuilder};
use common::log::LogView;
use common::membership::Membership;
use common::protocol::{Boot, Effect, Effects, Input, Protocol};
use common::types::{LogId, Member, Micros, NodeId, Role};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD: [u8; 100] = [7; 100];
const NODES: usize = 3;
/// Bytes of applied entries that a core keeps in memory.
const CACHE: usize = 16 << 20;

/// Three cores and what is on its way between them and their disks.
struct Trio<P: Protocol> {
    cores: Vec<P>,
    now: Micros,
    fx: Effects<P>,
    work: VecDeque<(usize, Input<P::Message>)>,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

impl<P: Protocol> Trio<P> {
    /// With a leader; gives it as well.
    fn elected(config: &P::Config) -> (Self, usize) {
        let membership = Membership::of_ids((0..NODES).map(id));
        let boot = |node: usize| Boot {
            id: id(node),
            membership: (LogId::ZERO, membership.clone()),
            config: config.clone(),
            seed: node as u64,
            now: Micros(0),
            hard: P::Hard::default(),
            snapshot: LogId::ZERO,
            log: LogView::new(LogId::ZERO, CACHE),
        };
        let cores = (0..NODES).map(|n| P::new(boot(n))).collect();
        let mut trio = Self { cores, now: Micros(0), fx: Effects::default(), work: VecDeque::new() };
        for (a, b) in (0..NODES).flat_map(|a| (0..NODES).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            trio.work.push_back((a, Input::PeerUp { peer: id(b), member: Member::Voter }));
        }
        for _ in 0..100_000 {
            trio.run();
            if let Some(leader) = (0..NODES).find(|n| trio.cores[*n].status().role == Role::Leading) {
                return (trio, leader);
            }
            trio.tick();
        }
        panic!("no leader is elected");
    }

    /// Time passes to the next moment a core waits for.
    fn tick(&mut self) {
        let next = self.cores.iter().filter_map(P::wake_at).min().unwrap_or(self.now);
        self.now = next.max(self.now.after(Micros(1)));
        (0..NODES).for_each(|n| self.work.push_back((n, Input::Tick)));
    }

    /// Carries out everything until nothing is left.
    fn run(&mut self) {
        while let Some((node, input)) = self.work.pop_front() {
            self.cores[node].step(self.now, input, &mut self.fx);
            for effect in self.fx.drain() {
                let answer = match effect {
                    Effect::Send { to, message } => (to.0 as usize - 1, Input::Message { from: id(node), message }),
                    Effect::Append(run) => (node, Input::Durable { upto: run.last() }),
                    Effect::SaveHard(_) => (node, Input::HardSaved),
                    Effect::Commit { upto } => (node, Input::Applied { upto }),
                    Effect::Accepted { .. } => continue,
                    _ => panic!("a calm run has no such effect"),
                };
                self.work.push_back(answer);
            }
        }
    }
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
            let (mut trio, leader) = Trio::<P>::elected(config);
            b.iter(|| {
                trio.work.push_back((leader, Input::Propose { batch: batch(n) }));
                trio.run();
                let core = &trio.cores[leader];
                assert!(black_box(core.committed()) == core.log().last(), "it is committed");
            });
            // Raft's followers learn of the last commit with the next heartbeat.
            (0..10).for_each(|_| {
                trio.tick();
                trio.run();
            });
            let level: Vec<LogId> = trio.cores.iter().map(P::committed).collect();
            assert!(level.iter().all(|id| *id == level[0] && id.counter > 0), "all have committed the same: {level:?}");
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
