//! Random schedules: deliver in any order between links, end sessions with messages lost and at different times at both
//! ends, crash, restart from what is durable, hold disks, let time pass for one node and not for another; and after every
//! step check what must hold. Then everything is healed and the ensemble must come to life, and agree.
//!
//! A failing seed is printed; `SEED=n cargo test -p zab --test schedules -- --nocapture` replays it with a transcript.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::protocol::{Input, Protocol};
use common::quorum::Voters;
use common::rng::Rng;
use common::testbed::{Testbed, durable_log};
use common::types::{LogId, Micros, NodeId};
use zab::{Config, Zab};

/// How often each thing happened, over all seeds: a schedule that never truncates or installs a snapshot tests nothing.
#[derive(Debug, Default)]
struct Seen {
    established: usize,
    committed: usize,
    crashes: usize,
    disconnects: usize,
    reads: usize,
    kinds: BTreeMap<String, usize>,
}

struct World {
    bed: Testbed<Zab>,
    rng: Rng,
    voters: Voters,
    /// What was ever committed, by whoever committed it first.
    truth: Vec<(LogId, Bytes)>,
    /// How much of each node's history was compared with it.
    compared: BTreeMap<NodeId, usize>,
    /// Who led each epoch.
    leaders: BTreeMap<u64, NodeId>,
    /// The highest id committed anywhere.
    committed: LogId,
    /// For each read under way: what was committed when it was asked.
    asked: BTreeMap<u64, LogId>,
    answered: BTreeMap<NodeId, usize>,
    proposals: u64,
    /// How many messages of a link arrive together: slow networks have more in flight when something breaks.
    pace: u64,
    /// A node to which nearly nothing gets through for a while: it goes on in a world that has passed.
    deaf: Option<NodeId>,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let voters = [3, 3, 3, 4, 5][rng.between(0, 5) as usize];
        let observers = rng.between(0, 2);
        let pace = [2, 3, 8][rng.between(0, 3) as usize];
        let config = Config {
            sync_window_bytes: 200,
            sync_batch_bytes: rng.between(1, 200) as usize,
            snapshot_chunk_bytes: rng.between(20, 200) as usize,
            diff_max_entries: rng.between(4, 200),
            uncommitted_max_bytes: 2000,
            queue_max_bytes: rng.between(2000, 4000),
            counter_max: [u32::MAX, 15][rng.between(0, 2) as usize],
            ..Config::default()
        };
        config.validate().unwrap();
        let mut bed = Testbed::new(voters, observers, config);
        bed.cache_limit([0, 1000, 1 << 20][rng.between(0, 3) as usize]);
        for id in bed.ids() {
            bed.crash(id);
            bed.restart(id);
        }
        Self {
            bed,
            rng,
            voters: Voters::new((1..=voters).map(NodeId)),
            truth: Vec::new(),
            compared: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: LogId::ZERO,
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
            proposals: 0,
            pace,
            deaf: None,
            seen: Seen::default(),
        }
    }

    fn pick(&mut self) -> NodeId {
        let ids = self.bed.ids();
        ids[self.rng.between(0, ids.len() as u64) as usize]
    }

    /// A link with something under way.
    fn busy_link(&mut self) -> Option<(NodeId, NodeId)> {
        let ids = self.bed.ids();
        let all = ids.iter().flat_map(|a| ids.iter().map(|b| (*a, *b)));
        let busy: Vec<_> = all.filter(|(a, b)| self.bed.under_way(*a, *b) > 0).collect();
        let n = self.rng.between(0, busy.len().max(1) as u64) as usize;
        busy.get(n).copied()
    }

    fn runs(&self, id: NodeId) -> bool {
        self.bed.node(id).core.is_some()
    }

    /// One random event. Says at which node something may have changed.
    fn act(&mut self, faults: u64) -> NodeId {
        let (id, other) = (self.pick(), self.pick());
        match self.rng.between(0, 1000) {
            0..500 => {
                let Some((from, to)) = self.busy_link() else { return id };
                if self.deaf == Some(to) && self.rng.between(0, 50) > 0 {
                    return id;
                }
                for _ in 0..self.rng.between(1, self.pace) {
                    self.bed.deliver_one(from, to);
                    self.check(to);
                }
            }
            500..640 => {
                self.bed.write_disk(id);
                while self.bed.answer_one(id) {
                    self.check(id);
                }
            }
            640..740 => {
                let long = self.rng.between(0, 20) == 0;
                let span = self.rng.between(0, if long { 200_000 } else { 4_000 });
                let now = self.bed.now().after(Micros(span));
                self.bed.set_now(now);
                if self.runs(id) && self.bed.core(id).wake_at().is_some_and(|at| at <= now) {
                    self.bed.input(id, Input::Tick);
                }
            }
            740..900 => self.propose(),
            900..920 => {
                let read = self.proposals * 1000 + self.asked.len() as u64;
                let id = self.deaf.unwrap_or(id);
                if self.runs(id) && self.asked.insert(read, self.committed).is_none() {
                    self.bed.input(id, Input::ReadBarrier { id: read });
                }
            }
            920..940 => self.bed.heal_all(),
            // A node snapshots what it has applied, once its log has it durably too.
            940..948 if self.runs(id) && self.bed.core(id).status().durable >= self.bed.node(id).applied => {
                self.bed.snapshot(id, self.rng.between(0, 6));
            }
            x if x < 1000 - faults => {}
            _ => self.fault(id, other),
        }
        id
    }

    /// Half of the time some node goes deaf, mostly the leader, and is cut off without knowing.
    fn deafen(&mut self) {
        self.deaf = None;
        if self.rng.between(0, 2) == 0 {
            let any = self.pick();
            let id = self.bed.leader().filter(|_| self.rng.between(0, 4) > 0).unwrap_or(any);
            self.deaf = Some(id);
            if self.rng.between(0, 2) == 0 {
                self.bed.isolate(id);
            }
        }
    }

    fn propose(&mut self) {
        let Some(leader) = self.bed.leader() else { return };
        let n = self.rng.between(1, 4);
        let commands: Vec<String> = (0..n).map(|i| format!("c{}", self.proposals + i)).collect();
        self.proposals += n;
        let _ = self.bed.propose(leader, &commands);
        self.check(leader);
    }

    fn fault(&mut self, id: NodeId, other: NodeId) {
        // Leaders are where it hurts.
        let id = if self.rng.between(0, 3) == 0 { self.bed.leader().unwrap_or(id) } else { id };
        match self.rng.between(0, 10) {
            0..3 => {
                let keep = self.rng.between(0, 8) as usize;
                self.bed.cut(id, other, keep);
            }
            3 => self.bed.isolate(id),
            4 | 5 if self.runs(id) => {
                if self.rng.between(0, 2) == 0 {
                    self.bed.write_disk(id);
                }
                self.bed.crash(id);
                self.seen.crashes += 1;
            }
            6..9 => {
                if !self.runs(id) {
                    self.bed.restart(id);
                }
            }
            _ => {
                let held = self.rng.between(0, 2) == 0;
                self.bed.hold_disk(id, held);
            }
        }
    }

    /// Everything that must hold, looked at where something may have changed.
    fn check(&mut self, id: NodeId) {
        let node = self.bed.node(id);
        assert_eq!(node.halted, None, "{id} halted");
        let done = self.compared.entry(id).or_default();
        if node.history.len() < *done {
            *done = 0;
        }
        // Committed prefix agreement, for ever and across crashes; and with it primary order: what the first node to
        // commit saw is what everyone sees.
        for (i, entry) in node.history.iter().enumerate().skip(*done) {
            if let Some(known) = self.truth.get(i) {
                assert_eq!(known, entry, "{id} applied something else as its entry {i}");
                continue;
            }
            if let Some((last, _)) = self.truth.last() {
                let next = entry.0 == last.plus(1) || (entry.0.epoch > last.epoch && entry.0.counter == 1);
                assert!(next, "{} was committed after {last}", entry.0);
            }
            self.truth.push(entry.clone());
        }
        *done = node.history.len();
        let Some(core) = &node.core else { return };
        core.check().unwrap();
        let committed = core.committed();
        if committed > self.committed {
            // At this instant it is on the disks of a quorum.
            let disks = self.voters.is_quorum(|v| durable_log(self.bed.node(v)).floor(committed) == Some(committed));
            assert!(disks, "{id} committed {committed}, which no quorum has on disk");
            self.committed = committed;
        }
        if let Some(epoch) = core.established() {
            if let Some(leader) = self.leaders.get(&epoch) {
                assert_eq!(*leader, id, "two leaders of epoch {epoch}");
            } else {
                self.leaders.insert(epoch, id);
                self.seen.established += 1;
                assert!(core.log().contains(self.committed), "{id} leads epoch {epoch} without {}", self.committed);
            }
        }
        let hard = node.disk.hard;
        assert!(hard.accepted_epoch >= hard.current_epoch);
        let from = self.answered.entry(id).or_default();
        for (read, answer) in &node.reads[*from..] {
            if let (Ok(at), Some(asked)) = (answer, self.asked.get(read)) {
                assert!(at >= asked, "read {read} at {id} would see {at} when {asked} was committed before it");
                self.seen.reads += 1;
            }
        }
        *from = node.reads.len();
    }

    /// Everything is repaired: there must be a leader, and everybody must come to have the same.
    fn converge(&mut self) {
        for id in self.bed.ids() {
            self.bed.hold_disk(id, false);
            if !self.runs(id) {
                self.bed.restart(id);
            }
        }
        let mut last = None;
        for _ in 0..400 {
            self.bed.heal_all();
            self.bed.advance(Micros::from_millis(25));
            for id in self.bed.ids() {
                self.check(id);
            }
            let Some(leader) = self.bed.leader() else { continue };
            let level =
                |b: &Testbed<Zab>, at: LogId| b.cores().all(|c| c.status().applied == at && c.committed() == at);
            match last {
                Some(at) if level(&self.bed, at) => return,
                Some(at) if self.bed.core(leader).log().contains(at) => {}
                _ => last = self.bed.propose(leader, &["last"]).ok().map(|(_, last)| last),
            }
        }
        let all: Vec<_> = self.bed.cores().map(Protocol::status).collect();
        panic!("no convergence in ten seconds: {all:#?}");
    }

    fn finish(mut self) -> Seen {
        for id in self.bed.ids() {
            let node = self.bed.node(id);
            self.seen.disconnects += node.disconnects.len();
            for (_, why) in &node.disconnects {
                // These two are policy; any other reason would mean that one of our own nodes broke the protocol.
                assert!(why.contains("queue is full") || why.contains("silent"), "{id} ended a session: {why}");
                *self.seen.kinds.entry(format!("end: {why}")).or_default() += 1;
            }
        }
        self.seen.committed = self.truth.len();
        self.seen
    }
}

fn run(seed: u64, steps: u64, transcript: bool) -> Seen {
    let mut world = World::new(seed);
    if transcript {
        world.bed.start_transcript();
    }
    for step in 0..steps {
        // Quiet stretches, so that there is something to disturb.
        let faults = [0, 10, 20, 60][(step / 300 + seed) as usize % 4];
        if step % 150 == 0 {
            world.deafen();
        }
        let id = world.act(faults);
        if transcript {
            print!("{}", world.bed.take_transcript());
        }
        world.check(id);
        if step % 50 == 0 {
            for core in world.bed.cores() {
                for sync in core.status().peers.into_iter().filter_map(|p| p.sync) {
                    *world.seen.kinds.entry(sync.kind).or_default() += 1;
                }
            }
        }
    }
    world.converge();
    if transcript {
        print!("{}", world.bed.take_transcript());
    }
    world.finish()
}

#[test]
fn nothing_committed_is_lost_and_nobody_disagrees_whatever_the_schedule() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|s| s.parse().ok()) {
        println!("{:?}", run(seed, 4000, true));
        return;
    }
    let seeds = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(200);
    let mut all = Seen::default();
    for seed in 0..seeds {
        println!("seed {seed}");
        let seen = run(seed, 4000, false);
        all.established += seen.established;
        all.committed += seen.committed;
        all.crashes += seen.crashes;
        all.disconnects += seen.disconnects;
        all.reads += seen.reads;
        for (kind, n) in seen.kinds {
            *all.kinds.entry(kind).or_default() += n;
        }
    }
    println!("{all:#?}");
    for kind in ["DIFF", "TRUNC", "TRUNC+DIFF", "SNAP"] {
        assert!(all.kinds.contains_key(kind), "no {kind} in any schedule");
    }
    assert!(all.established > 200 && all.committed > 3000 && all.crashes > 200 && all.reads > 200, "{all:?}");
}
