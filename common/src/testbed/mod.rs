//! A few cores in one process, wired together by hand: for dialogues, property tests, examples and benchmarks.
//!
//! Every node's disk is memory that either answers at once or is held until released; links are FIFO sessions that can be cut
//! and healed; time moves only when told to. There is no randomness here and no fault that was not asked for: a property
//! test brings its own schedule. The deterministic simulator, which runs the whole replica over the shipped storage and
//! codec code, is a different room.

mod disk;
mod link;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;

use crate::entries::{Batch, EntryKind};
use crate::log::LogView;
use crate::membership::Membership;
use crate::protocol::{Boot, Effect, Effects, Input, Protocol, Refusal};
use crate::quorum::Voters;
use crate::sim::truth::Truth;
use crate::types::{LogId, Member, Micros, NodeId, Role};

pub use disk::Disk;
use disk::State;
use link::{Links, Parcel};

/// How many bytes of applied entries a core keeps in memory, unless [`Testbed::cache_limit`] says otherwise.
const CACHE_LIMIT: usize = 16 << 20;

/// A node of the testbed: its core, and the world it lives in.
#[derive(Debug)]
pub struct Node<P: Protocol> {
    /// Who it is.
    pub id: NodeId,
    /// Voter or observer.
    pub member: Member,
    /// The core; None while crashed.
    pub core: Option<P>,
    /// What survives a crash, and what waits to be written.
    pub disk: Disk<P>,
    /// The last entry applied.
    pub applied: LogId,
    /// The commands applied since the beginning, with their places; kept when [`Testbed::record`] is on.
    pub history: Vec<(LogId, Bytes)>,
    /// What the last applied entry about members said.
    pub membership: Option<(LogId, Membership)>,
    /// Answers to read barriers, in the order they came.
    pub reads: Vec<(u64, Result<LogId, Refusal>)>,
    /// Answers to transfers of leadership, in the order they came.
    pub transfers: Vec<(u64, Result<NodeId, Refusal>)>,
    /// Answers to changes of members, in the order they came.
    pub changes: Vec<(u64, Result<LogId, Option<Refusal>>)>,
    /// Peers this node ended the session with, and the rule they broke.
    pub disconnects: Vec<(NodeId, &'static str)>,
    /// Set when the core halted.
    pub halted: Option<String>,
    inbox: VecDeque<Input<P::Message>>,
    outcome: Option<Result<(LogId, LogId), Refusal>>,
    boots: u64,
}

/// The testbed. See the [module](self).
#[derive(Debug)]
pub struct Testbed<P: Protocol> {
    nodes: BTreeMap<NodeId, Node<P>>,
    voters: Voters,
    config: P::Config,
    /// Of those that have their own.
    configs: BTreeMap<NodeId, P::Config>,
    links: Links<P::Message>,
    now: Micros,
    fx: Effects<P>,
    record: bool,
    transcript: Option<String>,
    cache_limit: usize,
    messages: u64,
    sent: Option<Vec<Sent<P>>>,
}

/// Who sent what to whom.
type Sent<P> = (NodeId, NodeId, <P as Protocol>::Message);

impl<P: Protocol> Testbed<P> {
    /// Voters 1 to `voters` and observers after them, all running and connected, at time zero.
    pub fn new(voters: u64, observers: u64, config: P::Config) -> Self {
        Self::from_disks(voters, (0..voters + observers).map(|_| Disk::default()), config)
    }

    /// As [`new`](Self::new), with a node for each disk: the first `voters` of them are voters.
    pub fn from_disks(voters: u64, disks: impl IntoIterator<Item = Disk<P>>, config: P::Config) -> Self {
        Self::with_configs(voters, disks, config, BTreeMap::new())
    }

    /// As [`from_disks`](Self::from_disks), and some nodes have settings of their own.
    pub fn with_configs(
        voters: u64,
        disks: impl IntoIterator<Item = Disk<P>>,
        config: P::Config,
        configs: BTreeMap<NodeId, P::Config>,
    ) -> Self {
        let mut bed = Self {
            nodes: BTreeMap::new(),
            voters: Voters::new((1..=voters).map(NodeId)),
            config,
            configs,
            links: Links::default(),
            now: Micros(0),
            fx: Effects::default(),
            record: true,
            transcript: None,
            cache_limit: CACHE_LIMIT,
            messages: 0,
            sent: None,
        };
        for (id, disk) in (1..).zip(disks) {
            let member = if id <= voters { Member::Voter } else { Member::Observer };
            bed.add(NodeId(id), member, disk);
        }
        bed
    }

    /// Adds a node which starts from `disk`, connected to all others (two observers only if one is to call the other).
    ///
    /// # Panics
    /// When the id is taken.
    pub fn add(&mut self, id: NodeId, member: Member, disk: Disk<P>) {
        let node = Node {
            id,
            member,
            core: None,
            disk,
            applied: LogId::ZERO,
            history: Vec::new(),
            membership: None,
            reads: Vec::new(),
            transfers: Vec::new(),
            changes: Vec::new(),
            disconnects: Vec::new(),
            halted: None,
            inbox: VecDeque::new(),
            outcome: None,
            boots: 0,
        };
        assert!(self.nodes.insert(id, node).is_none(), "{id} is there already");
        self.restart(id);
    }

    /// Whether to keep every applied command in [`Node::history`]. On by default; off for benchmarks.
    pub fn record(&mut self, on: bool) {
        self.record = on;
    }

    /// Bytes of applied entries that cores keep in memory, for nodes started from now on.
    pub fn cache_limit(&mut self, bytes: usize) {
        self.cache_limit = bytes;
    }

    /// Starts (or empties) the transcript: one line per delivered message, disk write, commit and fault.
    pub fn start_transcript(&mut self) {
        self.transcript = Some(String::new());
    }

    /// The transcript since it was last taken.
    pub fn take_transcript(&mut self) -> String {
        self.transcript.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Adds a line to the transcript, if it is on; `text` is not called otherwise.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(t) = &mut self.transcript {
            let _ = writeln!(t, "{}", text());
        }
    }

    /// Whether to remember every message that is sent, for [`take_sent`](Self::take_sent).
    pub fn watch_sent(&mut self, on: bool) {
        self.sent = on.then(Vec::new);
    }

    /// The messages sent since this was last asked (from, to, what), whether or not there was a session for them.
    pub fn take_sent(&mut self) -> Vec<(NodeId, NodeId, P::Message)> {
        self.sent.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What is durable on each node's disk, by id.
    pub fn truths(&self) -> Vec<(NodeId, Truth<P::Hard>)> {
        let truth = |n: &Node<P>| {
            let mut truth = n.disk.truth();
            // Who was healed has again whatever counts of what it had.
            if n.core.as_ref().is_some_and(|core| !core.is_mending()) {
                truth.had.clear();
            }
            truth
        };
        self.nodes.values().map(|n| (n.id, truth(n))).collect()
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// How many messages were delivered.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The nodes' ids, in order.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// A node.
    ///
    /// # Panics
    /// When there is none of this id.
    pub fn node(&self, id: NodeId) -> &Node<P> {
        &self.nodes[&id]
    }

    /// A running core.
    ///
    /// # Panics
    /// When the node is unknown or crashed.
    pub fn core(&self, id: NodeId) -> &P {
        self.nodes[&id].core.as_ref().expect("the node runs")
    }

    /// Every running core.
    pub fn cores(&self) -> impl Iterator<Item = &P> {
        self.nodes.values().filter_map(|n| n.core.as_ref())
    }

    /// The running node that leads with the greatest epoch, if any leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.cores().map(Protocol::status).filter(|s| s.role == Role::Leading).max_by_key(|s| s.epoch).map(|s| s.id)
    }

    /// Feeds one input to a node and carries out what it wants. Does nothing on a crashed node.
    pub fn input(&mut self, id: NodeId, input: Input<P::Message>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(core) = node.core.as_mut() else { return };
        core.step(self.now, input, &mut self.fx);
        self.carry_out(id);
    }

    /// Proposes commands on a node: their places, or why not.
    ///
    /// # Panics
    /// When the core answers neither, or the node is crashed.
    pub fn propose<B: AsRef<[u8]>>(&mut self, id: NodeId, commands: &[B]) -> Result<(LogId, LogId), Refusal> {
        self.propose_batch(id, Batch::from_payloads(commands))
    }

    /// As [`propose`](Self::propose), for a batch that is made already.
    ///
    /// # Panics
    /// When the core answers neither, or the node is crashed.
    pub fn propose_batch(&mut self, id: NodeId, batch: Batch) -> Result<(LogId, LogId), Refusal> {
        self.input(id, Input::Propose { batch });
        let node = self.nodes.get_mut(&id).expect("the node exists");
        node.outcome.take().expect("a proposal is answered within its step")
    }

    /// Hands one waiting local answer (durable, applied, fetched, ...) to a node. False if none waits.
    pub fn answer_one(&mut self, id: NodeId) -> bool {
        let Some(input) = self.nodes.get_mut(&id).and_then(|n| n.inbox.pop_front()) else { return false };
        self.input(id, input);
        true
    }

    /// Makes everything durable that waits on a node's disk, if the disk is not held. False if nothing waited.
    pub fn write_disk(&mut self, id: NodeId) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        if node.core.is_none() || node.disk.held || !node.disk.waiting() {
            return false;
        }
        let restored = node.disk.write(&mut node.inbox);
        if let Some((snapshot, state)) = restored {
            node.applied = snapshot;
            (node.history, node.membership) = (state.history, state.membership);
        }
        true
    }

    /// Delivers the oldest message or session event on a link. False if nothing is under way.
    pub fn deliver_one(&mut self, from: NodeId, to: NodeId) -> bool {
        let Some(parcel) = self.links.next(from, to) else { return false };
        match parcel {
            Parcel::Message(message) => {
                self.messages += 1;
                if self.transcript.is_some() {
                    self.say(|| format!("{from} -> {to} {message:?}"));
                }
                self.input(to, Input::Message { from, message });
            }
            Parcel::Up => {
                let member = self.nodes[&from].member;
                self.input(to, Input::PeerUp { peer: from, member });
            }
            Parcel::Down => self.input(to, Input::PeerDown { peer: from }),
        }
        true
    }

    /// Delivers, writes and answers until nothing is under way; time stands still.
    ///
    /// # Panics
    /// After a million rounds: the cores talk in a circle.
    pub fn settle(&mut self) {
        let ids = self.ids();
        for _ in 0..1_000_000 {
            let mut busy = false;
            for &id in &ids {
                while self.answer_one(id) {
                    busy = true;
                }
                busy |= self.write_disk(id);
                for &to in &ids {
                    busy |= self.deliver_one(id, to);
                }
            }
            if !busy {
                return;
            }
        }
        panic!("the cores never come to rest");
    }

    /// Lets `span` pass: settles, wakes each core when it asked to be woken, settles again.
    ///
    /// # Panics
    /// When a core asks again and again to be woken at once.
    pub fn advance(&mut self, span: Micros) {
        let end = self.now.after(span);
        let mut at_once = 0;
        self.settle();
        while let Some((at, id)) = self.next_wake().filter(|(at, _)| *at <= end) {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 10_000, "{id} asks to be woken at {at:?} for ever");
            self.now = self.now.max(at);
            self.input(id, Input::Tick);
            self.settle();
        }
        self.now = end;
    }

    /// Advances in milliseconds until `done` or `limit` is over; whether it was done.
    pub fn advance_until(&mut self, limit: Micros, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.after(limit);
        self.settle();
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.advance(Micros::from_millis(1));
        }
        true
    }

    /// When a core next wants to be woken, and which.
    pub fn next_wake(&self) -> Option<(Micros, NodeId)> {
        self.nodes.values().filter_map(|n| Some((n.core.as_ref()?.wake_at()?, n.id))).min()
    }

    /// Moves the clock without waking anyone; for schedules that want cores to be late.
    pub fn set_now(&mut self, now: Micros) {
        self.now = self.now.max(now);
    }

    /// Ends the session between two nodes; each end learns of it after the messages to it that are under way, of which
    /// all but the first `keep` are lost.
    pub fn cut(&mut self, a: NodeId, b: NodeId, keep: usize) {
        if self.links.cut(a, b, keep) {
            self.say(|| format!("{a} -/- {b}"));
        }
    }

    /// Cuts a node off from all others.
    pub fn isolate(&mut self, id: NodeId) {
        for other in self.ids() {
            if other != id {
                self.cut(id, other, 0);
            }
        }
    }

    /// Begins a session between two nodes, once the ends of the old one are known at both.
    pub fn heal(&mut self, a: NodeId, b: NodeId) {
        // By what either of them goes by at present: one that was promoted is called by the others.
        let votes = |me: NodeId, who: NodeId| {
            let core = self.nodes[&me].core.as_ref();
            core.is_some_and(|c| c.membership().1.configuration.votes(who))
        };
        let observers = [a, b].iter().all(|who| !votes(a, *who) && !votes(b, *who));
        let calls = |from: NodeId, to: NodeId| P::sources(self.config_of(from)).contains(&to);
        let strangers = observers && !calls(a, b) && !calls(b, a);
        if a != b && !strangers && self.nodes[&a].core.is_some() && self.nodes[&b].core.is_some() {
            self.links.heal(a, b);
        }
    }

    fn config_of(&self, id: NodeId) -> &P::Config {
        self.configs.get(&id).unwrap_or(&self.config)
    }

    /// Begins every session that is not there.
    pub fn heal_all(&mut self) {
        for a in self.ids() {
            for b in self.ids().into_iter().filter(|b| *b > a) {
                self.heal(a, b);
            }
        }
    }

    /// Whether a session between two nodes is up.
    pub fn connected(&self, a: NodeId, b: NodeId) -> bool {
        self.links.connected(a, b)
    }

    /// Messages under way on a link.
    pub fn under_way(&self, from: NodeId, to: NodeId) -> usize {
        self.links.waiting(from, to)
    }

    /// Holds a node's disk: nothing it writes becomes durable until released.
    pub fn hold_disk(&mut self, id: NodeId, held: bool) {
        if let Some(n) = self.nodes.get_mut(&id) {
            n.disk.held = held;
        }
    }

    /// Crashes a node: what was not durable is lost, its sessions end.
    pub fn crash(&mut self, id: NodeId) {
        self.say(|| format!("{id} crashes"));
        self.isolate(id);
        let node = self.nodes.get_mut(&id).expect("the node exists");
        // Who was healed has again whatever counts of what it had.
        if node.core.take().is_some_and(|core| !core.is_mending()) {
            node.disk.forget_had();
        }
        node.inbox.clear();
        node.outcome = None;
        node.disk.lose_pending();
        self.links.forget(id);
    }

    /// Damage takes what follows this entry from the durable log of a crashed node, and its storage finds it.
    /// False if there is nothing to take, or the protocol cannot go on from there.
    pub fn damage(&mut self, id: NodeId, keep: LogId) -> bool {
        let node = self.nodes.get_mut(&id).expect("the node exists");
        assert!(node.core.is_none(), "{id} runs");
        let damaged = node.disk.damage(keep);
        if damaged {
            self.say(|| format!("{id} loses what follows {keep} in its log"));
        }
        damaged
    }

    /// Starts a crashed node from its disk and connects it to everyone who runs.
    pub fn restart(&mut self, id: NodeId) {
        let config = self.config_of(id).clone();
        let node = self.nodes.get_mut(&id).expect("the node exists");
        assert!(node.core.is_none(), "{id} runs already");
        node.boots += 1;
        let (snapshot, state) = node.disk.state();
        let first = || (LogId::ZERO, Membership::of_ids(self.voters.ids().iter().copied()));
        let membership = state.membership.clone().unwrap_or_else(first);
        node.applied = snapshot;
        (node.history, node.membership) = (state.history, state.membership);
        node.halted = None;
        node.core = Some(P::new(Boot {
            id,
            membership,
            config,
            seed: id.0 * 1_000_003 + node.boots,
            now: self.now,
            hard: node.disk.hard.clone(),
            snapshot,
            log: node.disk.log_view(self.cache_limit),
        }));
        if node.boots > 1 {
            self.say(|| format!("{id} starts"));
        }
        for other in self.ids() {
            self.heal(id, other);
        }
        self.input(id, Input::Tick);
    }

    /// Stores a snapshot of what a node has applied and cuts its log behind it, keeping `keep` entries for slow peers.
    pub fn snapshot(&mut self, id: NodeId, keep: u64) {
        let node = self.nodes.get_mut(&id).expect("the node exists");
        let Some(core) = &node.core else { return };
        let log = core.log();
        let mut base = node.applied;
        // Walks back `keep` entries from the snapshot, but not past the log's base.
        for _ in 0..keep {
            let before = log.spans().iter().rev().find_map(|s| {
                if s.epoch == base.epoch && s.first < base.counter && base.counter <= s.last {
                    Some(LogId::new(s.epoch, base.counter - 1))
                } else {
                    (LogId::new(s.epoch, s.last) < base).then(|| LogId::new(s.epoch, s.last))
                }
            });
            base = before.unwrap_or(log.base()).max(log.base());
        }
        let snapshot = node.applied;
        let state = State { history: node.history.clone(), membership: node.membership.clone() };
        node.disk.store_snapshot(snapshot, &state, base);
        self.say(|| format!("{id} snapshot {snapshot}, log from {base}"));
        self.input(id, Input::Compacted { snapshot, base });
    }

    fn carry_out(&mut self, id: NodeId) {
        let mut fx = std::mem::take(&mut self.fx);
        for effect in fx.drain() {
            self.effect(id, effect);
        }
        self.fx = fx;
    }

    fn effect(&mut self, id: NodeId, effect: Effect<P>) {
        if self.transcript.is_some() {
            self.describe(id, &effect);
        }
        let node = self.nodes.get_mut(&id).expect("an effect of a node that exists");
        match effect {
            Effect::Send { to, message } => {
                if let Some(sent) = &mut self.sent {
                    sent.push((id, to, message.clone()));
                }
                self.links.send(id, to, message);
            }
            Effect::Disconnect { peer, reason } => {
                node.disconnects.push((peer, reason));
                self.links.cut(id, peer, 0);
            }
            Effect::Append(entries) => node.disk.append(entries),
            Effect::Truncate { after } => node.disk.truncate(after),
            Effect::SaveHard(hard) => node.disk.save(hard),
            Effect::Commit { upto } if upto < node.applied => {
                node.halted = Some(format!("commits {upto} after {}", node.applied));
            }
            Effect::Commit { upto } => Self::apply(node, upto, self.record),
            Effect::Accepted { first, last } => node.outcome = Some(Ok((first, last))),
            Effect::Refused(r) => node.outcome = Some(Err(r)),
            Effect::ReadReady { id, at } => node.reads.push((id, Ok(at))),
            Effect::ReadFailed { id, reason } => node.reads.push((id, Err(reason))),
            Effect::Fetch { peer, after, max_bytes } => {
                let entries = node.disk.fetch(after, max_bytes);
                node.inbox.push_back(Input::Fetched { peer, after, entries });
            }
            Effect::ReadSnapshot { peer, snapshot, offset, max_bytes } => {
                let chunk = node.disk.read_snapshot(snapshot, offset, max_bytes);
                node.inbox.push_back(Input::SnapshotRead { peer, chunk });
            }
            Effect::WriteSnapshot(chunk) => {
                let answer = node.disk.write_snapshot(&chunk);
                node.inbox.push_back(answer);
            }
            Effect::InstallSnapshot { snapshot, keep_tail } => node.disk.install(snapshot, keep_tail),
            Effect::Halt(why) => node.halted = Some(why),
            Effect::TransferAnswer { id, answer } => node.transfers.push((id, answer)),
            Effect::ChangeAnswer { id, answer } => node.changes.push((id, answer)),
            Effect::Trace(_) => {}
        }
    }

    /// Applies everything up to `upto`: the state machine of the testbed is the list of what it was given.
    fn apply(node: &mut Node<P>, upto: LogId, record: bool) {
        let core = node.core.as_ref().expect("a core that commits runs");
        let runs = core.log().cached(node.applied, upto);
        let runs = runs.unwrap_or_else(|| panic!("{} commits {upto} but does not hold it in memory", node.id));
        for run in runs.iter().filter(|r| r.kind() == EntryKind::Membership) {
            node.membership = Membership::decode(run.payload(run.len() - 1)).map(|m| (run.last(), m));
        }
        if record {
            for run in runs.iter().filter(|r| r.kind() == EntryKind::Command) {
                node.history.extend(run.iter().map(|(id, payload)| (id, Bytes::copy_from_slice(payload))));
            }
        }
        node.applied = upto;
        node.inbox.push_back(Input::Applied { upto });
    }

    fn describe(&mut self, id: NodeId, effect: &Effect<P>) {
        let line = match effect {
            Effect::Append(e) => format!("{id} appends {}..{}", e.first(), e.last()),
            Effect::Truncate { after } => format!("{id} truncates after {after}"),
            Effect::SaveHard(hard) => format!("{id} saves {hard:?}"),
            Effect::Commit { upto } => format!("{id} commits {upto}"),
            Effect::Refused(r) => format!("{id} refuses: {r}"),
            Effect::ReadReady { id: read, at } => format!("{id} read {read} may go on at {at}"),
            Effect::ReadFailed { id: read, reason } => format!("{id} read {read} fails: {reason}"),
            Effect::TransferAnswer { id: transfer, answer: Ok(to) } => {
                format!("{id} transfer {transfer} is over: {to} leads")
            }
            Effect::TransferAnswer { id: transfer, answer: Err(why) } => {
                format!("{id} transfer {transfer} fails: {why}")
            }
            Effect::ChangeAnswer { id: change, answer: Ok(at) } => format!("{id} change {change} is over at {at}"),
            Effect::ChangeAnswer { id: change, answer: Err(why) } => {
                let why = why.as_ref().map_or("nobody knows here".to_owned(), ToString::to_string);
                format!("{id} change {change} fails: {why}")
            }
            Effect::Disconnect { peer, reason } => format!("{id} disconnects {peer}: {reason}"),
            Effect::InstallSnapshot { snapshot, .. } => format!("{id} installs snapshot {snapshot}"),
            Effect::Halt(why) => format!("{id} halts: {why}"),
            _ => return,
        };
        self.say(|| line);
    }
}

/// The logs' views of the same world: used by checks that compare what nodes hold.
pub fn agree<P: Protocol>(bed: &Testbed<P>) -> Result<(), String> {
    let longest = bed.nodes.values().max_by_key(|n| n.history.len()).map(|n| &n.history);
    for node in bed.nodes.values() {
        let Some(longest) = longest else { continue };
        if let Some(i) = node.history.iter().zip(longest).position(|(a, b)| a != b) {
            return Err(format!("{} applied {:?} where another applied {:?}", node.id, node.history[i], longest[i]));
        }
    }
    Ok(())
}

/// A log view that a disk holds, for tests that look.
pub fn durable_log<P: Protocol>(node: &Node<P>) -> LogView {
    node.disk.log_view(usize::MAX)
}
