//! A control experiment: somebody else's Raft (`raft` 0.7 of TiKV) in our world, under our faults, before our oracles.
//!
//! A world that finds nothing in our cores might be blind, and one that finds something in every core might be wrong. This
//! one has been in production for years: the expected number of violations is zero. The adapter maps our contract to
//! `RawNode` with asynchronous persistence, as its documentation recommends; it takes no snapshots and has no learners, so
//! plans for it have neither. Only built with the feature `control`.

use std::collections::VecDeque;

use bytes::Bytes;
use common::codec::{BodyError, Message as Wire};
use common::entries::{Batch, Entries, EntryKind};
use common::log::LogView;
use common::protocol::{Boot, Effect, Effects, Input, Leadership, Protocol, Refusal};
use common::quorum::Voters;
use common::sim::subject::{Oracle, Subject, Timing, Violation};
use common::sim::truth::Truth;
use common::status::Status;
use common::types::{LogId, Member, Micros, NodeId, Role};
use protobuf::Message as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tikv_raft::eraftpb::{Entry, HardState, Message, MessageType};
use tikv_raft::storage::MemStorage;
use tikv_raft::{Config, RawNode, Ready, StateRole};

/// Ticks in an election time-out.
const ELECTION_TICKS: usize = 10;

/// A message of theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Theirs(Message);

impl Serialize for Theirs {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.write_to_bytes().map_err(serde::ser::Error::custom)?;
        bytes.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Theirs {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(d)?;
        Message::parse_from_bytes(&bytes).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Wire for Theirs {
    fn kind(&self) -> &'static str {
        "raft-rs"
    }

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn attach(&mut self, body: Bytes) -> Result<(), BodyError> {
        BodyError::expect_empty(&body)
    }
}

/// What they save beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hard {
    term: u64,
    vote: u64,
    commit: u64,
}

/// Timers.
#[derive(Clone, Debug, Serialize)]
pub struct Ticks {
    tick_us: u64,
    heartbeat_ticks: usize,
}

/// A batch of theirs that is on its way to disk.
#[derive(Debug)]
struct Persisting {
    number: u64,
    upto: Option<LogId>,
    hard: bool,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Reading {
    id: u64,
    deadline: Micros,
    index: Option<u64>,
}

/// Their node behind our contract.
pub struct Control {
    id: NodeId,
    member: Member,
    node: RawNode<MemStorage>,
    ticks: Ticks,
    next_tick: Micros,
    view: LogView,
    durable: LogId,
    committed: LogId,
    persisting: VecDeque<Persisting>,
    reads: Vec<Reading>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("id", &self.id).field("committed", &self.committed).finish_non_exhaustive()
    }
}

fn theirs(id: LogId, kind: EntryKind, payload: &[u8]) -> Entry {
    let mut entry = Entry::default();
    (entry.term, entry.index) = (id.epoch, id.counter);
    if kind != EntryKind::Noop {
        entry.data = payload.to_vec().into();
    }
    entry
}

/// Their entries as runs of ours: one term, one kind.
fn ours(entries: &[Entry]) -> Vec<Entries> {
    let mut runs = Vec::new();
    for chunk in entries.chunk_by(|a, b| a.term == b.term && a.data.is_empty() == b.data.is_empty()) {
        let first = LogId::new(chunk[0].term, chunk[0].index);
        if chunk[0].data.is_empty() {
            runs.extend(chunk.iter().map(|e| Entries::noop(LogId::new(e.term, e.index))));
        } else {
            let payloads: Vec<&[u8]> = chunk.iter().map(|e| &e.data[..]).collect();
            runs.extend(Entries::new(first, EntryKind::Command, Batch::from_payloads(&payloads)));
        }
    }
    runs
}

impl Control {
    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Everything that is ready, as effects.
    fn drain(&mut self, fx: &mut Effects<Self>) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            Self::send(ready.take_messages(), fx);
            self.persist(&mut ready, fx);
            self.commit(&ready.take_committed_entries(), fx);
            for state in ready.take_read_states() {
                let id = state.request_ctx.try_into().map_or(u64::MAX, u64::from_le_bytes);
                if let Some(r) = self.reads.iter_mut().find(|r| r.id == id) {
                    r.index = Some(state.index);
                }
            }
            self.node.advance_append_async(ready);
            self.persisted(fx);
        }
        self.answer_reads(fx);
    }

    fn send(messages: Vec<Message>, fx: &mut Effects<Self>) {
        for message in messages {
            fx.send(NodeId(message.to), Theirs(message));
        }
    }

    fn persist(&mut self, ready: &mut Ready, fx: &mut Effects<Self>) {
        let hard = ready.hs().cloned();
        let entries = ready.take_entries();
        let upto = entries.last().map(|e| LogId::new(e.term, e.index));
        if let Some(first) = entries.first() {
            if first.index <= self.view.last().counter {
                let after = self.view.at(first.index - 1).unwrap_or(LogId::ZERO);
                self.view.truncate_after(after);
                self.durable = self.durable.min(after);
                fx.push(Effect::Truncate { after });
            }
            for run in ours(&entries) {
                self.view.append(run.clone());
                fx.push(Effect::Append(run));
            }
            self.node.store().wl().append(&entries).expect("entries follow the log");
        }
        if let Some(hs) = &hard {
            fx.push(Effect::SaveHard(Hard { term: hs.term, vote: hs.vote, commit: hs.commit }));
            self.node.store().wl().set_hardstate(hs.clone());
        }
        let messages = ready.take_persisted_messages();
        self.persisting.push_back(Persisting { number: ready.number(), upto, hard: hard.is_some(), messages });
    }

    /// What is durable now is told to them, and what waited for it leaves.
    fn persisted(&mut self, fx: &mut Effects<Self>) {
        while let Some(front) = self.persisting.front() {
            let there = |id: LogId| self.durable >= id && self.view.contains(id);
            let superseded = front.upto.is_some_and(|id| !self.view.contains(id));
            if front.hard || front.upto.is_some_and(|id| !there(id) && !superseded) {
                return;
            }
            let Some(done) = self.persisting.pop_front() else { return };
            Self::send(done.messages, fx);
            self.node.on_persist_ready(done.number);
        }
    }

    fn commit(&mut self, entries: &[Entry], fx: &mut Effects<Self>) {
        if let Some(last) = entries.last() {
            self.committed = self.committed.max(LogId::new(last.term, last.index));
            fx.push(Effect::Commit { upto: self.committed });
            self.node.advance_apply_to(last.index);
        }
    }

    fn propose(&mut self, batch: &Batch, fx: &mut Effects<Self>) {
        if !self.leads() {
            let leader = Some(NodeId(self.node.raft.leader_id)).filter(|l| l.0 > 0);
            return fx.push(Effect::Refused(Refusal::NotLeader { leader }));
        }
        let first = self.node.raft.raft_log.last_index() + 1;
        let run = Entries::new(LogId::new(1, 1), EntryKind::Command, batch.clone());
        let mut taken = 0;
        for (_, payload) in run.iter().flat_map(Entries::iter) {
            if self.node.propose(Vec::new(), payload.to_vec()).is_err() {
                break;
            }
            taken += 1;
        }
        // All of a batch or nothing: what was taken of it would be applied without being answered.
        if taken == 0 {
            return fx.push(Effect::Refused(Refusal::Busy));
        }
        let term = self.node.raft.term;
        let last = self.node.raft.raft_log.last_index();
        assert_eq!(last - first + 1, batch.len() as u64, "their limits are off, so nothing is refused in the middle");
        fx.push(Effect::Accepted { first: LogId::new(term, first), last: LogId::new(term, last) });
    }

    fn answer_reads(&mut self, fx: &mut Effects<Self>) {
        let (committed, view) = (self.committed, &self.view);
        self.reads.retain(|r| match r.index.filter(|i| *i <= committed.counter).and_then(|i| view.at(i)) {
            Some(at) => {
                fx.push(Effect::ReadReady { id: r.id, at });
                false
            }
            None => true,
        });
    }

    fn tick(&mut self, now: Micros, fx: &mut Effects<Self>) {
        while self.next_tick <= now {
            self.next_tick = self.next_tick.after(Micros(self.ticks.tick_us));
            self.node.tick();
        }
        self.reads.retain(|r| {
            if r.deadline <= now {
                fx.push(Effect::ReadFailed { id: r.id, reason: Refusal::LeaderChanged });
            }
            r.deadline > now
        });
    }
}

impl Protocol for Control {
    type Config = Ticks;
    type Message = Theirs;
    type Hard = Hard;

    const NAME: &'static str = "control";

    fn new(boot: Boot<Self>) -> Self {
        let voters: Vec<u64> = boot.voters.ids().iter().map(|v| v.0).collect();
        let store = MemStorage::new_with_conf_state((voters, vec![]));
        let runs = boot.log.cached(boot.log.base(), boot.log.last()).expect("the whole log is in memory");
        let entries: Vec<Entry> = runs
            .iter()
            .flat_map(|run| run.iter().map(|(id, p)| theirs(id, run.kind(), p)).collect::<Vec<_>>())
            .collect();
        store.wl().append(&entries).expect("a log without gaps");
        let mut hs = HardState::default();
        let last = boot.log.last();
        (hs.term, hs.vote, hs.commit) = (boot.hard.term, boot.hard.vote, boot.hard.commit.min(last.counter));
        store.wl().set_hardstate(hs);
        // Each node its own time-out, which is always the same: theirs would be drawn from the system's random numbers.
        let min = ELECTION_TICKS + 2 * boot.id.0 as usize + (boot.seed % 2) as usize;
        let config = Config {
            id: boot.id.0,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: boot.config.heartbeat_ticks,
            min_election_tick: min,
            max_election_tick: min + 1,
            max_size_per_msg: 1 << 16,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, store, &logger).expect("a legal configuration");
        let next_tick = boot.now.after(Micros(boot.config.tick_us));
        Self {
            id: boot.id,
            member: boot.member,
            node,
            ticks: boot.config,
            next_tick,
            durable: last,
            view: boot.log,
            committed: LogId::ZERO,
            persisting: VecDeque::new(),
            reads: Vec::new(),
        }
    }

    fn step(&mut self, now: Micros, input: Input<Theirs>, fx: &mut Effects<Self>) {
        match input {
            Input::Message { message, .. } => {
                // A message of an old term, or for a node that does not lead any more: theirs to sort out.
                let _ = self.node.step(message.0);
            }
            Input::PeerDown { peer } => self.node.report_unreachable(peer.0),
            Input::Propose { batch } => self.propose(&batch, fx),
            Input::ReadBarrier { id, .. } => {
                if self.node.raft.leader_id == 0 {
                    fx.push(Effect::ReadFailed { id, reason: Refusal::NotLeader { leader: None } });
                } else {
                    let deadline = now.after(Micros(self.ticks.tick_us * 10));
                    self.reads.push(Reading { id, deadline, index: None });
                    self.node.read_index(id.to_le_bytes().to_vec());
                }
            }
            Input::Transfer { id, .. } => {
                let no = Refusal::Unsupported("transfer in the control".to_owned());
                fx.push(Effect::TransferAnswer { id, answer: Err(no) });
            }
            Input::Durable { upto } => {
                self.durable = upto;
                self.persisted(fx);
            }
            Input::HardSaved => {
                if let Some(waits) = self.persisting.iter_mut().find(|p| p.hard) {
                    waits.hard = false;
                }
                self.persisted(fx);
            }
            Input::Applied { upto } => self.view.release(upto.min(LogId::ZERO)),
            _ => {}
        }
        self.tick(now, fx);
        self.drain(fx);
    }

    fn wake_at(&self) -> Option<Micros> {
        Some(self.next_tick)
    }

    fn log(&self) -> &LogView {
        &self.view
    }

    fn committed(&self) -> LogId {
        self.committed
    }

    fn status(&self) -> Status {
        let led = self.leadership();
        Status {
            protocol: Self::NAME.to_owned(),
            id: self.id,
            member: self.member,
            role: led.role,
            phase: format!("{:?}", self.node.raft.state),
            leader: led.leader,
            epoch: led.epoch,
            hard: Vec::new(),
            base: self.view.base(),
            last: self.view.last(),
            durable: self.durable,
            committed: self.committed,
            applied: self.committed,
            snapshot: LogId::ZERO,
            peers: Vec::new(),
        }
    }

    fn leadership(&self) -> Leadership {
        let leader = Some(NodeId(self.node.raft.leader_id)).filter(|l| l.0 > 0);
        let role = match self.node.raft.state {
            StateRole::Leader => Role::Leading,
            StateRole::Follower if leader.is_some() => Role::Following,
            _ => Role::Looking,
        };
        Leadership { role, leader, epoch: self.node.raft.term }
    }
}

impl Subject for Control {
    type Oracle = Promises;

    fn config(timing: &Timing, _: NodeId) -> Ticks {
        let tick_us = (timing.election_timeout.0 / ELECTION_TICKS as u64).max(1);
        let heartbeat_ticks = (timing.heartbeat.0 / tick_us).clamp(1, ELECTION_TICKS as u64 / 2) as usize;
        Ticks { tick_us, heartbeat_ticks }
    }

    fn oracles() -> &'static [&'static str] {
        &[]
    }

    fn marks() -> &'static [&'static str] {
        &[]
    }
}

/// C-VOW for their messages. Everything else is judged by the oracles that know no protocol.
#[derive(Debug)]
pub struct Promises;

impl Oracle<Control> for Promises {
    fn new(_: &Voters) -> Self {
        Self
    }

    fn booted(&mut self, _: &Control, _: Member, _: &Truth<Hard>) -> Result<(), Violation> {
        Ok(())
    }

    fn crashed(&mut self, _: NodeId) {}

    fn replaced(&mut self, _: NodeId) {}

    fn turned(&mut self, _: &Control, _: Micros, _: &[(NodeId, Truth<Hard>)]) -> Result<(), Violation> {
        Ok(())
    }

    fn sends(&mut self, from: NodeId, to: NodeId, message: &Theirs, truth: &Truth<Hard>) -> Result<(), Violation> {
        let m = &message.0;
        let broken = match m.get_msg_type() {
            // Once its term is past it cannot vote in it again, whoever it voted for.
            MessageType::MsgRequestVoteResponse if !m.reject => {
                truth.hard.term < m.term || truth.hard.term == m.term && truth.hard.vote != to.0
            }
            MessageType::MsgAppendResponse if !m.reject => truth.log.last().counter < m.index,
            _ => false,
        };
        if broken {
            let what = format!("{from} tells {to} {m:?}, and its disk has {:?} and {}", truth.hard, truth.log.last());
            return Err(Violation::new("C-VOW", what));
        }
        Ok(())
    }
}
