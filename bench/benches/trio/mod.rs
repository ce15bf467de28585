//! Three nodes on one thread, in memory, no network, disks that answer at once: the case that every core is given.
//!
//! "Batch N" proposes N commands to the leader and then carries everything out until nothing is left to do: every node has
//! the entries durable, the leader has committed and applied them. What drives our cores is as thin as can be: what a core
//! wants is handed to the next one as it is, without queues, copies or maps; [`common::testbed`] does the same with everything
//! a test wants to see, and costs several times what it drives.

use std::fmt::Debug;

use bytes::Bytes;
use common::entries::{Batch, BatchBuilder};
use common::log::LogView;
use common::membership::Membership;
use common::protocol::{Boot, Effect, Effects, Input, Protocol};
use common::types::{LogId, Member, Micros, NodeId, Role};

/// How many nodes there are.
pub(crate) const NODES: usize = 3;
/// Bytes of applied entries that a node keeps in memory, about.
pub(crate) const KEPT: usize = 16 << 20;
/// Entries in a batch.
pub(crate) const BATCHES: [usize; 4] = [1, 16, 64, 256];
/// Bytes in a payload.
pub(crate) const SIZES: [usize; 4] = [16, 100, 1 << 10, 16 << 10];

/// Three nodes of some protocol. Each payload is copied once on its way in, because all of them would have to read it from
/// somewhere; applying an entry is looking at its length.
pub(crate) trait Group {
    /// What they say to each other.
    type Message;

    /// Whose.
    const NAME: &'static str;

    /// With a leader that takes proposals.
    fn elected() -> Self;

    /// Commits `n` entries at once, and shows each message that is sent for it.
    fn commit(&mut self, payload: &[u8], n: usize, see: impl FnMut(&Self::Message));

    /// Lets followers learn of the last commit, for which some wait until a heartbeat. All have applied the same then: so many
    /// bytes of entries.
    fn settle(&mut self) -> u64;
}

/// Three of our cores, and what is on its way between them and their disks. Or [more](Self::of).
pub(crate) struct Trio<P: Protocol> {
    cores: Vec<P>,
    leader: usize,
    now: Micros,
    /// What each of them wants.
    fx: Vec<Effects<P>>,
    /// What is being carried out; nothing, in between.
    spare: Effects<P>,
    builder: BatchBuilder,
    applied: Vec<(LogId, u64)>,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

impl<P: Protocol> Trio<P> {
    fn boot(config: &P::Config, voters: usize, observers: usize) -> Self {
        let (nodes, membership) = (voters + observers, Membership::of_ids((0..voters).map(id)));
        let boot = |node: usize| Boot {
            id: id(node),
            membership: (LogId::ZERO, membership.clone()),
            config: config.clone(),
            seed: node as u64,
            now: Micros(0),
            hard: P::Hard::default(),
            snapshot: LogId::ZERO,
            log: LogView::new(LogId::ZERO, KEPT),
        };
        Self {
            cores: (0..nodes).map(|n| P::new(boot(n))).collect(),
            leader: 0,
            now: Micros(0),
            fx: (0..nodes).map(|_| Effects::default()).collect(),
            spare: Effects::default(),
            builder: BatchBuilder::default(),
            applied: vec![(LogId::ZERO, 0); nodes],
        }
    }

    /// Time passes to the next moment a core waits for.
    fn tick(&mut self) {
        let next = self.cores.iter().filter_map(P::wake_at).min().unwrap_or(self.now);
        self.now = next.max(self.now.after(Micros(1)));
        (0..self.cores.len()).for_each(|n| self.step(n, Input::Tick));
        self.run(|_| {});
    }

    fn step(&mut self, node: usize, input: Input<P::Message>) {
        self.cores[node].step(self.now, input, &mut self.fx[node]);
    }

    /// Carries out everything until nothing is left. What one core says to another arrives in the order in which it was said.
    fn run(&mut self, mut see: impl FnMut(&P::Message)) {
        let Self { cores, now, fx, spare, applied, .. } = self;
        while let Some(node) = fx.iter().position(|fx| !fx.as_slice().is_empty()) {
            std::mem::swap(&mut fx[node], spare);
            for effect in spare.drain() {
                match effect {
                    Effect::Send { to, message } => {
                        see(&message);
                        let to = to.0 as usize - 1;
                        cores[to].step(*now, Input::Message { from: id(node), message }, &mut fx[to]);
                    }
                    Effect::Append(run) => cores[node].step(*now, Input::Durable { upto: run.last() }, &mut fx[node]),
                    Effect::SaveHard(_) => cores[node].step(*now, Input::HardSaved, &mut fx[node]),
                    Effect::Commit { upto } => {
                        apply(&cores[node], upto, &mut applied[node]);
                        cores[node].step(*now, Input::Applied { upto }, &mut fx[node]);
                    }
                    Effect::Accepted { .. } => {}
                    _ => panic!("a calm run has no such effect"),
                }
            }
        }
    }
}

fn apply<P: Protocol>(core: &P, upto: LogId, (applied, bytes): &mut (LogId, u64)) {
    let runs = core.log().runs(*applied, upto).expect("what is not applied is in memory");
    runs.for_each(|run| *bytes += run.lengths().map(u64::from).sum::<u64>());
    *applied = upto;
}

/// What all nodes have.
pub(crate) fn level<T: Copy + PartialEq + Debug>(applied: &[(T, u64)]) -> u64 {
    assert!(applied.iter().all(|a| a == &applied[0]), "all have applied the same: {applied:?}");
    applied[0].1
}

impl<P: Protocol<Config: Default>> Trio<P> {
    /// So many voters with a leader, and observers that have everything.
    pub(crate) fn of(voters: usize, observers: usize) -> Self {
        let mut group = Self::boot(&P::Config::default(), voters, observers);
        let member = |n: usize| if n < voters { Member::Voter } else { Member::Observer };
        let nodes = voters + observers;
        // Observers have nothing to say to each other.
        let meet = |a: usize, b: usize| a != b && (a < voters || b < voters);
        for (a, b) in (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))).filter(|(a, b)| meet(*a, *b)) {
            group.step(a, Input::PeerUp { peer: id(b), member: member(b) });
        }
        group.run(|_| {});
        for _ in 0..100_000 {
            if let Some(leader) = (0..voters).find(|n| group.cores[*n].status().role == Role::Leading) {
                group.leader = leader;
                // Observers are brought level.
                (0..10 * observers.min(1)).for_each(|_| group.tick());
                return group;
            }
            group.tick();
        }
        panic!("no leader is elected");
    }
}

impl<P: Protocol<Config: Default>> Group for Trio<P> {
    type Message = P::Message;

    const NAME: &'static str = P::NAME;

    fn elected() -> Self {
        Self::of(NODES, 0)
    }

    fn commit(&mut self, payload: &[u8], n: usize, see: impl FnMut(&P::Message)) {
        let batch = if n == 1 {
            Batch::single(Bytes::copy_from_slice(payload))
        } else {
            (0..n).for_each(|_| self.builder.push(payload));
            self.builder.take()
        };
        self.step(self.leader, Input::Propose { batch });
        self.run(see);
        let core = &self.cores[self.leader];
        assert!(core.committed() == core.log().last(), "it is committed");
    }

    fn settle(&mut self) -> u64 {
        (0..10).for_each(|_| self.tick());
        level(&self.applied)
    }
}
