//! A testbed under a random schedule, watched by the oracle after every step.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::membership::MemberChange;
use common::protocol::{Input, Protocol, Trust};
use common::quorum::{Change, Voters};
use common::rng::Rng;
use common::sim::subject::{Oracle, Subject, Violation};
use common::sim::truth::Truth;
use common::testbed::Testbed;
use common::types::{LogId, Micros, NodeId};
use zab::{Config, Hard, Zab, ZabOracle};

/// How often each thing happened, over all seeds: a schedule that never truncates or installs a snapshot tests nothing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) established: usize,
    pub(crate) committed: usize,
    pub(crate) crashes: usize,
    pub(crate) disconnects: usize,
    pub(crate) reads: usize,
    pub(crate) kinds: BTreeMap<String, usize>,
}

type Check = Result<(), Violation>;

struct World {
    bed: Testbed<Zab>,
    rng: Rng,
    /// What must hold between nodes and on their disks, and the disks.
    oracle: ZabOracle,
    disks: Vec<(NodeId, Truth<Hard>)>,
    /// What was ever committed, by whoever committed it first.
    truth: Vec<(LogId, Bytes)>,
    /// How much of each node's history was compared with it.
    compared: BTreeMap<NodeId, usize>,
    /// The epochs that were led.
    led: BTreeSet<u64>,
    /// The highest id committed anywhere.
    committed: LogId,
    /// For each read under way: what was committed when it was asked.
    asked: BTreeMap<u64, LogId>,
    answered: BTreeMap<NodeId, usize>,
    proposals: u64,
    orders: u64,
    /// Whose disk loses what it had, now and then: one node only, or nothing would be promised.
    victim: Option<NodeId>,
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
        let observers = rng.between(0, 3);
        // Apart, so that the other schedules stay what they are.
        let victim = (Rng::new(seed ^ 0xDA4A).between(0, 4) == 0).then_some(NodeId(1));
        let pace = [2, 3, 8][rng.between(0, 3) as usize];
        let config = Config {
            sync_window_bytes: 200,
            sync_batch_bytes: rng.between(1, 200) as usize,
            snapshot_chunk_bytes: rng.between(20, 200) as usize,
            diff_max_entries: rng.between(4, 200),
            uncommitted_max_bytes: 2000,
            queue_max_bytes: rng.between(2000, 4000),
            sources: (0..Rng::new(seed ^ 0x50C).between(0, 3)).map(|n| seed % 5 + n).filter(|id| *id > 0).collect(),
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
        bed.watch_sent(true);
        Self {
            disks: bed.ids().into_iter().map(|id| (id, bed.node(id).disk.truth())).collect(),
            bed,
            rng,
            oracle: ZabOracle::new(&Voters::new((1..=voters).map(NodeId))),
            truth: Vec::new(),
            compared: BTreeMap::new(),
            led: BTreeSet::new(),
            committed: LogId::ZERO,
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
            proposals: 0,
            orders: 0,
            victim,
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
    fn act(&mut self, faults: u64) -> Result<NodeId, Violation> {
        let (id, other) = (self.pick(), self.pick());
        match self.rng.between(0, 1000) {
            0..500 => {
                let Some((from, to)) = self.busy_link() else { return Ok(id) };
                if self.deaf == Some(to) && self.rng.between(0, 50) > 0 {
                    return Ok(id);
                }
                for _ in 0..self.rng.between(1, self.pace) {
                    self.bed.deliver_one(from, to);
                    self.check(to)?;
                }
            }
            500..640 => {
                self.bed.write_disk(id);
                while self.bed.answer_one(id) {
                    self.check(id)?;
                }
            }
            640..740 => {
                let long = self.rng.between(0, 20) == 0;
                let span = self.rng.between(0, if long { 400_000 } else { 4_000 });
                let now = self.bed.now().after(Micros(span));
                self.bed.set_now(now);
                if self.runs(id) && self.bed.core(id).wake_at().is_some_and(|at| at <= now) {
                    self.bed.input(id, Input::Tick);
                }
            }
            740..900 => self.propose()?,
            900..920 => {
                let read = self.proposals * 1000 + self.asked.len() as u64;
                let id = self.deaf.unwrap_or(id);
                if self.runs(id) && self.asked.insert(read, self.committed).is_none() {
                    self.bed.input(id, Input::ReadBarrier { id: read, trust: Trust::Quorum });
                }
            }
            920..940 => self.bed.heal_all(),
            // A node snapshots what it has applied, once its log has it durably too.
            940..948 if self.runs(id) && self.bed.core(id).status().durable >= self.bed.node(id).applied => {
                self.bed.snapshot(id, self.rng.between(0, 6));
            }
            948..952 if self.victim.is_none() => self.change_members()?,
            952..954 => {
                if let Some(leader) = self.bed.leader() {
                    self.orders += 1;
                    let to = (self.rng.between(0, 2) == 0).then_some(other);
                    self.bed.input(leader, Input::Transfer { id: self.orders, to });
                    self.check(leader)?;
                }
            }
            x if x < 1000 - faults => {}
            _ => self.fault(id, other)?,
        }
        Ok(id)
    }

    /// The leader is asked for one to three changes at once, sensible or not.
    fn change_members(&mut self) -> Check {
        let Some(leader) = self.bed.leader() else { return Ok(()) };
        self.orders += 1;
        let mut changes = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            let id = self.pick();
            let change = match self.rng.between(0, 5) {
                0..3 => Change::Voter(id),
                3 => Change::Learner(id),
                _ => Change::Remove(id),
            };
            changes.push(MemberChange { change, address: Some(id.to_string()) });
        }
        self.bed.input(leader, Input::Change { id: self.orders, changes });
        self.check(leader)
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

    fn propose(&mut self) -> Check {
        let Some(leader) = self.bed.leader() else { return Ok(()) };
        let n = self.rng.between(1, 4);
        let commands: Vec<String> = (0..n).map(|i| format!("c{}", self.proposals + i)).collect();
        self.proposals += n;
        let _ = self.bed.propose(leader, &commands);
        self.check(leader)
    }

    fn fault(&mut self, id: NodeId, other: NodeId) -> Check {
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
                self.look(id);
                self.oracle.crashed(id);
                self.seen.crashes += 1;
            }
            6..9 => return self.start(id),
            _ => {
                let held = self.rng.between(0, 2) == 0;
                self.bed.hold_disk(id, held);
            }
        }
        Ok(())
    }

    fn start(&mut self, id: NodeId) -> Check {
        if self.runs(id) {
            return Ok(());
        }
        if self.victim == Some(id) && self.rng.between(0, 2) == 0 {
            let log = self.bed.node(id).disk.log_view(usize::MAX);
            let n = self.rng.between(0, log.count(log.base(), log.last()) + 1);
            let keep = (0..n).fold(log.base(), |at, _| log.next(at).unwrap());
            self.bed.damage(id, keep);
        }
        self.bed.restart(id);
        self.look(id);
        let truth = &self.disks[id.0 as usize - 1].1;
        self.oracle.booted(self.bed.core(id), self.bed.node(id).member, truth)
    }

    /// Looks at a disk.
    fn look(&mut self, id: NodeId) {
        self.disks[id.0 as usize - 1].1 = self.bed.node(id).disk.truth();
    }

    /// As the testbed settles, but looking at everything.
    fn settle(&mut self) -> Check {
        let ids = self.bed.ids();
        loop {
            let mut busy = false;
            for &id in &ids {
                while self.bed.answer_one(id) {
                    busy = true;
                    self.check(id)?;
                }
                busy |= self.bed.write_disk(id);
                for &to in &ids {
                    if self.bed.deliver_one(id, to) {
                        busy = true;
                        self.check(to)?;
                    }
                }
            }
            if !busy {
                return Ok(());
            }
            if self.bed.messages() > 10_000_000 {
                return Err(Violation::new("L1", "the cores never come to rest"));
            }
        }
    }

    fn advance(&mut self, span: Micros) -> Check {
        let end = self.bed.now().after(span);
        self.settle()?;
        while let Some((at, id)) = self.bed.next_wake().filter(|(at, _)| *at <= end) {
            self.bed.set_now(at);
            self.bed.input(id, Input::Tick);
            self.check(id)?;
            self.settle()?;
        }
        self.bed.set_now(end);
        Ok(())
    }

    /// Everything that must hold, looked at where something may have changed.
    fn check(&mut self, id: NodeId) -> Check {
        self.look(id);
        let node = self.bed.node(id);
        if let Some(core) = &node.core {
            self.oracle.turned(core, self.bed.now(), &self.disks)?;
            self.committed = self.committed.max(core.committed());
            if core.established().is_some_and(|epoch| self.led.insert(epoch)) {
                self.seen.established += 1;
            }
        }
        for (from, to, message) in self.bed.take_sent() {
            self.oracle.sends(from, to, &message, &self.disks[from.0 as usize - 1].1)?;
        }
        let node = self.bed.node(id);
        if let Some(why) = &node.halted {
            return Err(Violation::new("C-HALT", format!("{id} halts: {why}")));
        }
        let cut = node.disconnects.iter().find(|(_, why)| !Zab::may_disconnect(why));
        if let Some((peer, why)) = cut {
            return Err(Violation::new("C-NBT", format!("{id} ends the session with {peer}: {why}")));
        }
        self.check_history(id)?;
        self.check_reads(id)
    }

    /// Committed prefix agreement, for ever and across crashes; and with it primary order: what the first node to commit
    /// saw is what everyone sees.
    fn check_history(&mut self, id: NodeId) -> Check {
        let history = &self.bed.node(id).history;
        let done = self.compared.entry(id).or_default();
        if history.len() < *done {
            *done = 0;
        }
        for (i, entry) in history.iter().enumerate().skip(*done) {
            match self.truth.get(i) {
                Some(known) if known != entry => {
                    let what = format!("{id} applied {entry:?} as its entry {i}, others {known:?}");
                    return Err(Violation::new("C-PREFIX", what));
                }
                Some(_) => {}
                None => self.truth.push(entry.clone()),
            }
        }
        *done = history.len();
        Ok(())
    }

    fn check_reads(&mut self, id: NodeId) -> Check {
        let reads = &self.bed.node(id).reads;
        let from = self.answered.entry(id).or_default();
        for (read, answer) in &reads[*from..] {
            if let (Ok(at), Some(asked)) = (answer, self.asked.get(read)) {
                if at < asked {
                    let what = format!("read {read} at {id} sees {at} when {asked} was committed before it");
                    return Err(Violation::new("C-LIN", what));
                }
                self.seen.reads += 1;
            }
        }
        *from = reads.len();
        Ok(())
    }

    /// Everything is repaired: there must be a leader, and everybody must come to have the same.
    fn converge(&mut self) -> Check {
        for id in self.bed.ids() {
            self.bed.hold_disk(id, false);
            self.start(id)?;
        }
        let mut last = None;
        for _ in 0..400 {
            self.bed.heal_all();
            self.advance(Micros::from_millis(25))?;
            let Some(leader) = self.bed.leader() else { continue };
            let level =
                |b: &Testbed<Zab>, at: LogId| b.cores().all(|c| c.status().applied == at && c.committed() == at);
            match last {
                Some(at) if level(&self.bed, at) => return Ok(()),
                Some(at) if self.bed.core(leader).log().contains(at) => {}
                _ => {
                    last = self.bed.propose(leader, &["last"]).ok().map(|(_, last)| last);
                    self.check(leader)?;
                }
            }
        }
        let all: Vec<_> = self.bed.cores().map(Protocol::status).collect();
        let oracle = if self.bed.leader().is_none() { "L1" } else { "L3" };
        Err(Violation::new(oracle, format!("no convergence in ten seconds: {all:#?}")))
    }

    fn finish(mut self) -> Seen {
        for id in self.bed.ids() {
            let node = self.bed.node(id);
            self.seen.disconnects += node.disconnects.len();
            for (_, why) in &node.disconnects {
                *self.seen.kinds.entry(format!("end: {why}")).or_default() += 1;
            }
        }
        self.seen.committed = self.truth.len();
        self.seen
    }
}

/// One schedule of so many steps, and what was seen on the way.
pub(crate) fn run(seed: u64, steps: u64, transcript: bool) -> Result<Seen, Violation> {
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
        world.check(id?)?;
        if step % 50 == 0 {
            for core in world.bed.cores() {
                for sync in core.status().peers.into_iter().filter_map(|p| p.sync) {
                    *world.seen.kinds.entry(sync.kind).or_default() += 1;
                }
            }
        }
    }
    let end = world.converge();
    if transcript {
        print!("{}", world.bed.take_transcript());
    }
    end.map(|()| world.finish())
}
