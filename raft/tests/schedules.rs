//! Random schedules over the shipped core: deliver, lose sessions, crash and restart from what was durable or, where members
//! stay the same, from what damage left of it, hold disks, let time pass, propose, read, take snapshots, change members. After every step the oracle checks figure 3 of the paper and, for each message
//! that left, what the disk behind it holds; each read that was confirmed is checked against what was committed when it was
//! asked for.

use std::collections::BTreeMap;

use common::membership::MemberChange;
use common::protocol::{Input, Protocol, Trust};
use common::quorum::{Change, Voters};
use common::rng::Rng;
use common::sim::subject::{Oracle as _, Subject};
use common::sim::truth::Truth;
use common::testbed::{Testbed, agree};
use common::types::{LogId, Micros, NodeId};
use raft::invariants::Oracle;
use raft::{Config, Hard, Raft};

struct World {
    bed: Testbed<Raft>,
    oracle: Oracle,
    /// What is on the disks, read again when one of them was written.
    truths: Vec<(NodeId, Truth<Hard>)>,
    written: bool,
    /// Nodes that were started again and not yet looked at.
    boots: Vec<NodeId>,
    rng: Rng,
    nodes: u64,
    commands: u64,
    /// Read barriers that wait: where the whole cluster's commit stood when each was asked for.
    asked: BTreeMap<(NodeId, u64), u64>,
    /// How many answers to reads of each node were looked at.
    looked: BTreeMap<NodeId, usize>,
    reads: u64,
    transfers: u64,
    changes: u64,
    /// Whose disk may lose a part of its log. Fewer than half of the voters, or nobody could be elected.
    victim: Option<NodeId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let voters = [1, 2, 3, 3, 3, 3, 3, 3, 4, 5][rng.between(0, 10) as usize];
        let observers = rng.between(0, 3);
        // Apart, so that the other schedules stay what they are.
        let mut damage = Rng::new(seed ^ 0xDA4A_6E00);
        let victim = (voters > 2 && damage.between(0, 4) == 0).then_some(NodeId(1));
        let config = Config {
            pre_vote: rng.between(0, 4) > 0,
            check_quorum: rng.between(0, 4) > 0,
            early_election: rng.between(0, 2) > 0,
            priority: rng.between(0, 101),
            // Here all clocks are one.
            max_clock_drift_ppm: rng.between(0, 2),
            max_batch_bytes: rng.between(1, 60) as usize,
            max_inflight_bytes: rng.between(60, 200) as usize,
            max_inflight_messages: rng.between(1, 6) as usize,
            max_promotion_lag: rng.between(0, 20),
            max_uncommitted_bytes: 2000,
            snapshot_chunk_bytes: rng.between(5, 2000) as usize,
            ..Config::default()
        };
        let mut bed: Testbed<Raft> = Testbed::new(voters, observers, config);
        if rng.between(0, 2) == 0 {
            bed.cache_limit(rng.between(0, 2000) as usize);
        }
        bed.watch_sent(true);
        let nodes = voters + observers;
        let mut oracle = Oracle::new(&Voters::new((1..=voters).map(NodeId)));
        for core in bed.cores() {
            let node = bed.node(core.status().id);
            oracle.booted(core, node.member, &node.disk.truth()).expect("an empty disk");
        }
        Self {
            truths: bed.truths(),
            written: false,
            boots: Vec::new(),
            bed,
            oracle,
            rng,
            nodes,
            commands: 0,
            asked: BTreeMap::new(),
            looked: BTreeMap::new(),
            reads: 0,
            transfers: 0,
            changes: 0,
            victim,
        }
    }

    fn any(&mut self) -> NodeId {
        NodeId(self.rng.between(1, self.nodes + 1))
    }

    fn runs(&self, id: NodeId) -> bool {
        self.bed.node(id).core.is_some()
    }

    /// One random thing happens. Most of the time something that was under way arrives; now and then the weather changes.
    fn step(&mut self) {
        let a = self.any();
        match self.rng.between(0, 1000) {
            0..700 => self.work(),
            700..800 => self.time_passes(),
            800..900 if self.runs(a) => {
                self.commands += 1;
                let size = self.rng.between(1, 4);
                let commands: Vec<String> = (0..size).map(|i| format!("{}.{i}", self.commands)).collect();
                let _ = self.bed.propose(a, &commands);
            }
            900..972 if self.runs(a) => {
                self.reads += 1;
                self.asked.insert((a, self.reads), self.oracle.committed().len() as u64);
                let trust = if self.rng.between(0, 2) == 0 { Trust::Clocks } else { Trust::Quorum };
                self.bed.input(a, Input::ReadBarrier { id: self.reads, trust });
            }
            972..976 if self.victim.is_none() => self.change_members(),
            976..980 if self.runs(a) => {
                self.transfers += 1;
                let from = self.bed.leader().unwrap_or(a);
                let to = (self.rng.between(0, 2) == 0).then_some(a);
                self.bed.input(from, Input::Transfer { id: self.transfers, to });
            }
            980..985 if self.runs(a) => {
                let keep = self.rng.between(0, 4);
                self.bed.snapshot(a, keep);
                self.written = true;
            }
            985.. => self.weather(),
            _ => {}
        }
    }

    /// One to three nodes are to be something else.
    fn change_members(&mut self) {
        let Some(leader) = self.bed.leader() else { return };
        self.changes += 1;
        let n = self.rng.between(1, 4);
        let one = |id: NodeId, what: u64| {
            let change = match what {
                0..3 => Change::Voter(id),
                3 => Change::Learner(id),
                _ => Change::Remove(id),
            };
            MemberChange { change, address: Some(id.to_string()) }
        };
        let changes = (0..n).map(|_| one(self.any(), self.rng.between(0, 5))).collect();
        self.bed.input(leader, Input::Change { id: self.changes, changes });
    }

    /// Something that waits happens: a message arrives (or all there are on a link), a disk writes, a node hears from its
    /// own disk.
    fn work(&mut self) {
        let ids = self.bed.ids();
        let first = self.rng.between(0, self.nodes) as usize;
        for i in 0..ids.len() {
            let (a, b) = (ids[(first + i) % ids.len()], self.any());
            let burst = if self.rng.between(0, 4) == 0 { self.bed.under_way(b, a) } else { 1 };
            let busy = match self.rng.between(0, 4) {
                0 => self.bed.answer_one(a),
                1 => self.write_disk(a),
                _ => (0..burst).fold(false, |busy, _| self.bed.deliver_one(b, a) || busy),
            };
            if busy {
                return;
            }
        }
    }

    fn write_disk(&mut self, id: NodeId) -> bool {
        let busy = self.bed.write_disk(id);
        self.written |= busy;
        busy
    }

    /// One fault, or the end of all.
    fn weather(&mut self) {
        let target = self.bed.leader().filter(|_| self.rng.between(0, 2) == 0);
        let a = target.unwrap_or_else(|| self.any());
        let b = self.any();
        match self.rng.between(0, 10) {
            0 | 1 => {
                for id in self.bed.ids() {
                    self.bed.hold_disk(id, false);
                    if !self.runs(id) {
                        self.crash_or_restart(id);
                    }
                }
                self.bed.heal_all();
            }
            2 => self.bed.heal_all(),
            3 => self.bed.isolate(a),
            4 => self.partition(),
            5 => self.bed.hold_disk(a, true),
            6 if a != b => {
                let keep = self.rng.between(0, 3) as usize;
                self.bed.cut(a, b, keep);
            }
            7 if self.runs(a) => {
                self.crash_or_restart(a);
                self.crash_or_restart(a);
            }
            8 => self.crash_or_restart(a),
            _ => {}
        }
    }

    /// Cuts some nodes off from the others.
    fn partition(&mut self) {
        let side = self.rng.next_u64();
        let ids = self.bed.ids();
        for a in &ids {
            for b in ids.iter().filter(|b| (side >> a.0 ^ side >> b.0) & 1 == 1) {
                self.bed.cut(*a, *b, 0);
            }
        }
    }

    fn time_passes(&mut self) {
        let Some((at, id)) = self.bed.next_wake() else { return };
        self.bed.set_now(at);
        if self.rng.between(0, 3) > 0 {
            self.bed.input(id, Input::Tick);
        } else {
            // Whoever was due is late; somebody else's clock runs.
            let late = self.bed.now().after(Micros(self.rng.between(0, 100_000)));
            self.bed.set_now(late);
        }
    }

    fn crash_or_restart(&mut self, id: NodeId) {
        self.written = true;
        if self.runs(id) {
            self.bed.crash(id);
            self.oracle.crashed(id);
            self.asked.retain(|(node, _), _| *node != id);
        } else {
            if self.victim == Some(id) && self.rng.between(0, 2) == 0 {
                let log = self.bed.node(id).disk.log_view(usize::MAX);
                let keep = self.rng.between(log.base().counter, log.last().counter + 1);
                self.bed.damage(id, log.at(keep).unwrap());
            }
            self.bed.restart(id);
            self.boots.push(id);
        }
    }

    fn check(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.written) {
            self.truths = self.bed.truths();
        }
        for id in std::mem::take(&mut self.boots) {
            let node = self.bed.node(id);
            if let Some(core) = &node.core {
                self.oracle.booted(core, node.member, &node.disk.truth()).map_err(|v| v.to_string())?;
            }
        }
        for (from, to, message) in self.bed.take_sent() {
            let (_, truth) = self.truths.iter().find(|(id, _)| *id == from).expect("every node has a disk");
            self.oracle.sends(from, to, &message, truth).map_err(|v| v.to_string())?;
        }
        for core in self.bed.cores() {
            self.oracle.turned(core, self.bed.now(), &self.truths).map_err(|v| v.to_string())?;
        }
        for id in self.bed.ids() {
            let node = self.bed.node(id);
            if let Some(why) = &node.halted {
                return Err(format!("{id} halted: {why}"));
            }
            if let Some((peer, reason)) = node.disconnects.first() {
                return Err(format!("{id} disconnected {peer}: {reason}"));
            }
            let looked = self.looked.entry(id).or_default();
            for (read, answer) in &node.reads[*looked..] {
                if let (Ok(at), Some(least)) = (answer, self.asked.remove(&(id, *read))) {
                    // R-RD: at or after everything committed anywhere when it was asked for.
                    if at.counter < least {
                        return Err(format!("{id} reads at {at}, but {least} entries were committed before it asked"));
                    }
                }
            }
            *looked = node.reads.len();
        }
        Ok(())
    }

    /// Everything that is under way happens, and is looked at one by one.
    fn settle(&mut self) -> Result<(), String> {
        let ids = self.bed.ids();
        for round in 0.. {
            let mut busy = false;
            for &id in &ids {
                while self.bed.answer_one(id) {
                    busy = true;
                    self.check()?;
                }
                busy |= self.write_disk(id);
                for &to in &ids {
                    busy |= self.bed.deliver_one(id, to);
                    self.check()?;
                }
            }
            match round {
                _ if !busy => break,
                10_000 => return Err("the cores never come to rest".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    /// As the testbed does, with a look at everything.
    fn advance(&mut self, span: Micros) -> Result<(), String> {
        let end = self.bed.now().after(span);
        self.settle()?;
        while let Some((at, id)) = self.bed.next_wake().filter(|(at, _)| *at <= end) {
            self.bed.set_now(at);
            self.bed.input(id, Input::Tick);
            self.check()?;
            self.settle()?;
        }
        self.bed.set_now(end);
        Ok(())
    }

    /// Everything heals: a leader must come, and everybody must reach the same state.
    fn heals(&mut self) -> Result<(), String> {
        for id in self.bed.ids() {
            self.bed.hold_disk(id, false);
            if !self.runs(id) {
                self.crash_or_restart(id);
            }
        }
        let committed = self.oracle.committed().len();
        for _ in 0..50 {
            self.bed.heal_all();
            self.advance(Micros::from_millis(100))?;
            let leader = self.bed.leader();
            let Some(leader) = leader else { continue };
            let _ = self.bed.propose(leader, &["last"]);
            self.advance(Micros::from_millis(200))?;
            let level: Vec<LogId> = self.bed.ids().into_iter().map(|id| self.bed.node(id).applied).collect();
            if level.iter().all(|at| *at == level[0]) && level[0].counter as usize > committed {
                if let Some(((id, read), _)) = self.asked.first_key_value() {
                    return Err(format!("read {read} of {id} was never answered"));
                }
                return agree(&self.bed);
            }
        }
        let line = |id| {
            let s = self.bed.core(id).status();
            let (members, since) = (s.membership, s.membership_at);
            format!("\n{id} {} {} last {} committed {} {members} since {since}", s.phase, s.epoch, s.last, s.committed)
        };
        let all: Vec<_> = self.bed.ids().into_iter().map(line).collect();
        Err(format!("no progress after everything healed: {}", all.concat()))
    }
}

fn run(seed: u64, steps: usize) -> Result<(usize, usize), String> {
    let mut world = World::new(seed);
    if std::env::var_os("DUET_TRANSCRIPT").is_some() {
        world.bed.start_transcript();
    }
    for step in 0..steps {
        world.step();
        world.check().map_err(|e| format!("{}seed {seed}, step {step}: {e}", world.bed.take_transcript()))?;
    }
    world.heals().map_err(|e| format!("{}seed {seed}, healed: {e}", world.bed.take_transcript()))?;
    Ok((world.oracle.committed().len(), world.oracle.leaders().len()))
}

/// How many schedules are tried; `DUET_SCHEDULES` asks for more.
fn seeds() -> u64 {
    std::env::var("DUET_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

#[test]
fn safety_under_random_schedules() {
    let (mut committed, mut terms) = (0, 0);
    let first = std::env::var("DUET_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    common::mark::start();
    for seed in first..seeds() {
        let (c, t) = run(seed, 3000).unwrap_or_else(|e| panic!("{e}"));
        (committed, terms) = (committed + c, terms + t);
    }
    println!("{committed} entries in {terms} terms");
    let hits = common::mark::take();
    for mark in Raft::marks() {
        println!("{:9} {mark}", hits.get(mark).unwrap_or(&0));
    }
    // Otherwise nothing was tested.
    assert!(committed > 10_000 && terms > 500, "{committed} entries in {terms} terms");
}

/// Each seeded bug is found by the rule it was meant for, within some schedules. Those that only the simulator's own
/// oracles can see (clients, liveness) are tried there.
#[cfg(feature = "mutants")]
#[test]
fn mutants_are_killed() {
    let mut table = String::new();
    let mut survivors = Vec::new();
    let only = std::env::var("DUET_MUTANT").ok();
    for mutant in raft::invariants::MUTANTS.iter().filter(|m| only.as_deref().is_none_or(|only| only == m.name)) {
        common::mutant::activate(Some(mutant.name));
        let killed = (0..seeds()).find_map(|seed| {
            let run = std::panic::catch_unwind(|| run(seed, 3000));
            let why = match run {
                Ok(Ok(_)) => return None,
                Ok(Err(why)) => why,
                Err(_) => "a panic".to_owned(),
            };
            Some((seed + 1, why))
        });
        common::mutant::activate(None);
        let line = match &killed {
            Some((seeds, why)) => {
                format!("{} {:7} {seeds:5} {}", mutant.name, mutant.oracle, why.lines().last().unwrap_or(""))
            }
            None => format!("{} {:7}     - survives", mutant.name, mutant.oracle),
        };
        table += &line[..line.len().min(200)];
        table.push('\n');
        let judged = mutant.oracle.starts_with("R-") || mutant.oracle == "C-VOW";
        if judged && !killed.is_some_and(|(_, why)| why.contains(mutant.oracle)) {
            survivors.push(mutant.name);
        }
    }
    println!("{table}");
    assert!(survivors.is_empty(), "not found by the rule they were meant for: {survivors:?}\n{table}");
}
