//! The state of a node, the dispatch of inputs, and what every role shares.
//!
//! A node is LOOKING, FOLLOWING (OBSERVING) or LEADING. What outlives a change of role is in [`Local`]: identity, log,
//! epochs, sessions. What belongs to one role dies with it, so that nothing of an old role can act in a new one; the
//! worst of ZooKeeper's recovery bugs are threads of a former role that went on (ZOOKEEPER-4712, 3598, 2845).
//!
//! A role ends by an error: its handlers return [`Outcome`], and [`GiveUp`] sends the node back to the election.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use common::by_node::ByNode;
use common::entries::{Batch, Entries};
use common::log::LogView;
use common::membership::{MemberChange, Members, Membership};
use common::protocol::{Boot, Chunk, Effect, Effects, Input, Leadership, Protocol, Refusal};
use common::rng::Rng;
use common::status::Status;
use common::trace::TraceBody;
use common::types::{LogId, Member, Micros, NodeId, Role};
use common::{mark, mutant};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::election::Looking;
use crate::invariants::{EVERY, guard, marks_hold};
use crate::mend::marked;
use crate::message::{Hex, Info, Message, NodeState, Notification, Vote, Zxid};
use crate::reconfig::may_vote;
use crate::recovery::follower::Following;
use crate::recovery::leader::Leading;
use crate::transfer::{Designated, Handover};

pub(crate) type Fx = Effects<Zab>;

/// The two epochs, which must survive a restart. `accepted_epoch >= current_epoch` always.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hard {
    /// The last epoch promised to a leader by ACKEPOCH (`f.p`); nothing of an earlier leader is accepted any more.
    pub accepted_epoch: u64,
    /// The last epoch whose NEWLEADER was acknowledged (`f.a`): the log was that epoch's history.
    pub current_epoch: u64,
    /// This node lost entries that it had acknowledged, and is not counted for a promise: see `mend`.
    pub mending: bool,
}

/// Whether it is mending is mentioned only if it is.
impl fmt::Debug for Hard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Hard");
        out.field("accepted_epoch", &self.accepted_epoch).field("current_epoch", &self.current_epoch);
        if self.mending { out.field("mending", &true).finish() } else { out.finish() }
    }
}

/// The role is over, for this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GiveUp(pub(crate) &'static str);

/// Whether the role goes on.
pub(crate) type Outcome = Result<(), GiveUp>;

/// What a node knows of a connected peer beside what its role knows.
#[derive(Debug)]
pub(crate) struct Session {
    /// We asked for the session's end; whatever still arrives is ignored.
    pub(crate) closing: bool,
    /// The last notification.
    pub(crate) heard: Option<Notification>,
    /// A FOLLOWERINFO or OBSERVERINFO that came while this node was still LOOKING; looked at when it leads.
    pub(crate) knock: Option<Info>,
}

/// What every role shares.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) id: NodeId,
    /// Who belongs, as this node's log says.
    pub(crate) members: Members,
    pub(crate) config: Config,
    pub(crate) now: Micros,
    pub(crate) rng: Rng,
    /// What was last given to the disk.
    pub(crate) hard: Hard,
    /// What the disk has confirmed.
    pub(crate) saved: Hard,
    /// What the disk has not confirmed yet, oldest first. At most two: a role begins when all is confirmed, and saves
    /// each epoch once.
    pub(crate) saves: VecDeque<Hard>,
    pub(crate) log: LogView,
    pub(crate) durable: Zxid,
    /// A truncation the disk has not confirmed yet.
    pub(crate) cutting: bool,
    /// A snapshot the disk has not confirmed yet.
    pub(crate) installing: Option<Zxid>,
    pub(crate) snapshot: Zxid,
    pub(crate) committed: Zxid,
    pub(crate) applied: Zxid,
    pub(crate) sessions: ByNode<Session>,
    /// What this node says of itself; its round is `logicalclock`.
    pub(crate) note: Notification,
    /// The highest acceptedEpoch seen anywhere: a leader's new epoch is above it.
    pub(crate) epoch_seen: u64,
    /// The number of the last attempt to follow.
    pub(crate) attempts: u64,
    /// Roles in a row that ended before broadcast.
    pub(crate) failures: u32,
    /// Peers for which the disk is reading the log, or a snapshot. One read each; they may outlast an attempt.
    pub(crate) fetching: BTreeSet<NodeId>,
    pub(crate) reading: BTreeSet<NodeId>,
    /// Answers to WriteSnapshot still to come that belong to an attempt that is over.
    pub(crate) stale_writes: usize,
    /// A transfer of leadership that this node began.
    pub(crate) handover: Option<Handover>,
    /// Whom its last leader named.
    pub(crate) designated: Option<Designated>,
    /// How far the farthest voter is from the leader, as the last leader said that told it.
    pub(crate) round_trip: Option<Micros>,
    /// Until then only the leader may feed this node.
    pub(crate) direct_until: Micros,
    pub(crate) halted: bool,
    /// Steps taken, to look at the whole of itself now and then.
    steps: u32,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum State {
    Looking(Looking),
    Following(Box<Following>),
    Leading(Box<Leading>),
}

/// ZooKeeper Atomic Broadcast as a value. See [`Protocol`] for how it is driven.
#[derive(Debug)]
pub struct Zab {
    pub(crate) me: Local,
    pub(crate) state: State,
}

impl Local {
    /// The freeze rule (R3): whether all this node ever gave to its disk is durable. Only then may it say what it has.
    /// A node that votes while its old log writer is still at work claims less than its disk will hold
    /// (ZOOKEEPER-4712), or more than it holds after a crash (ZOOKEEPER-2845).
    pub(crate) fn at_rest(&self) -> bool {
        self.durable == self.log.last() && !self.cutting && self.installing.is_none() && self.saves.is_empty()
    }

    /// What this node is, as far as it knows.
    pub(crate) fn member(&self) -> Member {
        self.members.member(self.id)
    }

    /// The first vote of a round: this node itself, with the end of its durable log and not what it has applied.
    pub(crate) fn own_vote(&self) -> Vote {
        let votes = self.members.may_lead(self.id);
        Vote { peer_epoch: self.hard.current_epoch, zxid: self.log.last(), votes, leader: self.id }
    }

    #[inline]
    pub(crate) fn append(&mut self, run: Entries, fx: &mut Fx) {
        let (at, n) = (run.last(), run.len() as u64);
        self.log.append(run.clone());
        self.adopt(&run, fx);
        fx.push(Effect::Append(run));
        fx.trace("zab/core#append", "Zab1.0 P2", || TraceBody::Log { op: "append", at, n });
    }

    /// Removes everything after `after`. Entries appended later are written behind it (the disk keeps the order), so
    /// there is no wait here: whoever reports the log's end waits until all of it is durable, the cut included.
    pub(crate) fn truncate(&mut self, after: Zxid, fx: &mut Fx) {
        let n = self.log.count(after, self.log.last());
        self.log.truncate_after(after);
        if !mutant!("Z45") {
            self.members.cut(after);
        }
        self.durable = self.durable.min(after);
        if !mutant!("Z20") {
            self.cutting = true;
            fx.push(Effect::Truncate { after });
        }
        fx.trace("zab/core#truncate", "ZooKeeper TRUNC", || TraceBody::Log { op: "trunc", at: after, n });
    }

    pub(crate) fn save(&mut self, hard: Hard, fx: &mut Fx) {
        self.hard = hard;
        self.saves.push_back(hard);
        fx.push(Effect::SaveHard(hard));
        fx.trace("zab/core#save", "Zab1.0 persistent state", || TraceBody::Set {
            s: vec![("acceptedEpoch", hard.accepted_epoch.into()), ("currentEpoch", hard.current_epoch.into())],
        });
    }

    #[inline]
    pub(crate) fn commit(&mut self, upto: Zxid, fx: &mut Fx) {
        if upto <= self.committed {
            return;
        }
        let from = std::mem::replace(&mut self.committed, upto);
        self.members.committed(upto);
        self.note.members = self.members.firm();
        fx.push(Effect::Commit { upto });
        fx.trace("zab/core#commit", "Zab1.0 P3", || {
            let n = self.log.count(from, upto);
            TraceBody::Log { op: "commit", at: upto, n }
        });
    }

    fn on_durable(&mut self, upto: Zxid) {
        // Everything before a truncation was durable when it was asked for (R3), so the first answer after it is its own.
        self.cutting = false;
        if upto > self.durable && self.log.contains(upto) {
            self.durable = upto;
            self.log.release(self.applied.min(upto));
        }
    }

    fn on_applied(&mut self, upto: Zxid) {
        if upto > self.applied && upto <= self.committed {
            self.applied = upto;
            self.log.release(upto.min(self.durable));
        }
    }

    fn on_compacted(&mut self, snapshot: Zxid, base: Zxid) {
        // Only the replica's own snapshots of applied state arrive here, so a snapshot never covers an uncommitted entry
        // which a TRUNC could then not remove (ZOOKEEPER-1549, 1558).
        self.snapshot = self.snapshot.max(snapshot.min(self.committed));
        if base <= self.snapshot && self.log.contains(base) {
            self.log.compact(base);
        }
    }

    pub(crate) fn connected(&self, peer: NodeId) -> bool {
        self.sessions.get(peer).is_some_and(|s| !s.closing)
    }

    /// The last notification of a connected voter.
    pub(crate) fn heard(&self, voter: NodeId) -> Option<&Notification> {
        self.sessions.get(voter).filter(|s| !s.closing).and_then(|s| s.heard.as_ref())
    }

    pub(crate) fn disconnect(&mut self, peer: NodeId, reason: &'static str, fx: &mut Fx) {
        if let Some(s) = self.sessions.get_mut(peer)
            && !s.closing
        {
            s.closing = true;
            s.heard = None;
            s.knock = None;
            fx.push(Effect::Disconnect { peer, reason });
        }
    }

    /// Tells every connected peer what this node is now.
    pub(crate) fn announce(&self, fx: &mut Fx) {
        for (peer, session) in self.sessions.iter() {
            if !session.closing {
                fx.send(peer, Message::Notification(self.note));
            }
        }
    }

    /// The same, only to those in election.
    pub(crate) fn announce_to_looking(&self, fx: &mut Fx) {
        for (peer, session) in self.sessions.iter() {
            if !session.closing && session.heard.is_some_and(|n| n.state == NodeState::Looking) {
                fx.send(peer, Message::Notification(self.note));
            }
        }
    }

    pub(crate) fn halt(&mut self, reason: String, fx: &mut Fx) {
        self.halted = true;
        fx.push(Effect::Halt(reason));
    }
}

impl Zab {
    /// The two epochs as last given to the disk.
    pub fn hard(&self) -> Hard {
        self.me.hard
    }

    /// The epoch in which this node leads and may propose; None while it does not.
    pub fn established(&self) -> Option<u64> {
        match &self.state {
            State::Leading(l) if l.established() => Some(l.epoch),
            _ => None,
        }
    }

    /// Who leads, as far as this node serves it.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Leading(l) if l.established() => Some(self.me.id),
            State::Following(f) if f.in_broadcast() => Some(f.head),
            _ => None,
        }
    }

    fn on_propose(&mut self, batch: Batch, fx: &mut Fx) -> Outcome {
        if let State::Leading(l) = &mut self.state {
            return l.propose(&mut self.me, batch, fx);
        }
        fx.push(Effect::Refused(Refusal::NotLeader { leader: self.leader() }));
        Ok(())
    }

    fn on_transfer(&mut self, id: u64, to: Option<NodeId>, fx: &mut Fx) -> Outcome {
        if let State::Leading(l) = &mut self.state {
            return l.transfer(&mut self.me, id, to, fx);
        }
        let no = Refusal::NotLeader { leader: self.leader() };
        fx.push(Effect::TransferAnswer { id, answer: Err(no) });
        Ok(())
    }

    fn on_change(&mut self, id: u64, changes: &[MemberChange], fx: &mut Fx) -> Outcome {
        if let State::Leading(l) = &mut self.state {
            return l.change(&mut self.me, id, changes, fx);
        }
        let no = Refusal::NotLeader { leader: self.leader() };
        fx.push(Effect::ChangeAnswer { id, answer: Err(Some(no)) });
        Ok(())
    }

    fn on_fetched(&mut self, peer: NodeId, after: Zxid, entries: Option<Entries>, fx: &mut Fx) -> Outcome {
        self.me.fetching.remove(&peer);
        match &mut self.state {
            State::Leading(l) => l.on_fetched(&mut self.me, peer, after, entries, fx),
            State::Following(f) => match &mut f.relay {
                Some(relay) => relay.on_fetched(&mut self.me, peer, after, entries, fx),
                None => Ok(()),
            },
            State::Looking(_) => Ok(()),
        }
    }

    fn on_snapshot_read(&mut self, peer: NodeId, chunk: Option<Chunk>, fx: &mut Fx) -> Outcome {
        self.me.reading.remove(&peer);
        match &mut self.state {
            State::Leading(l) => l.on_snapshot_read(&mut self.me, peer, chunk, fx),
            State::Following(f) => match &mut f.relay {
                Some(relay) => relay.on_snapshot_read(&mut self.me, peer, chunk, fx),
                None => Ok(()),
            },
            State::Looking(_) => Ok(()),
        }
    }

    /// Whether this node is in a state to go on from.
    fn may_go_on(&mut self, fx: &mut Fx) -> bool {
        if self.me.halted {
            return false;
        }
        // R11: a promise must not be behind what was acknowledged under it (ZOOKEEPER-2307).
        if self.me.hard.accepted_epoch < self.me.hard.current_epoch {
            let Hard { accepted_epoch, current_epoch, .. } = self.me.hard;
            self.me.halt(format!("acceptedEpoch {accepted_epoch} is below currentEpoch {current_epoch}"), fx);
        }
        if mutant!("Z27") && self.me.note.round == 1 && self.me.log.last().epoch > self.me.hard.current_epoch {
            self.me.halt("the log has entries of a later epoch than currentEpoch".into(), fx);
        }
        !self.me.halted
    }

    /// Whether it is as it must be.
    fn look_at_itself(&mut self, before: usize, fx: &mut Fx) {
        // With a seeded bug the node goes on, so that the oracles have to find it.
        if let Err(rule) = guard(self)
            && mutant::active().is_none()
        {
            // What this step wanted may be wrong: none of it leaves the node.
            fx.truncate(before);
            self.me.halt(format!("a rule of the protocol does not hold: {rule}"), fx);
        }
    }

    fn on_tick(&mut self, fx: &mut Fx) -> Outcome {
        match &mut self.state {
            State::Looking(_) => self.on_election_tick(fx),
            State::Following(f) => {
                f.check_silence(&mut self.me, fx)?;
                f.relay.as_mut().map_or(Ok(()), |relay| relay.on_tick(&mut self.me, fx))
            }
            State::Leading(l) => l.on_tick(&mut self.me, fx),
        }
    }

    /// Something this node gave to its disk is durable.
    fn on_disk(&mut self, fx: &mut Fx) -> Outcome {
        match &mut self.state {
            State::Looking(_) => self.elect(fx),
            State::Following(f) => {
                f.on_disk(&mut self.me, fx);
                Ok(())
            }
            State::Leading(l) => l.on_disk(&mut self.me, fx),
        }
    }

    fn on_peer_up(&mut self, peer: NodeId, fx: &mut Fx) -> Outcome {
        // A session replaces the one before it, even if its end was not reported.
        let lost = if self.me.sessions.contains(peer) { self.on_peer_down(peer, fx) } else { Ok(()) };
        if peer == self.me.id {
            return lost;
        }
        self.me.sessions.insert(peer, Session { closing: false, heard: None, knock: None });
        fx.send(peer, Message::Notification(self.me.note));
        lost?;
        self.elect(fx)
    }

    fn on_peer_down(&mut self, peer: NodeId, fx: &mut Fx) -> Outcome {
        if self.me.sessions.remove(peer).is_none() {
            return Ok(());
        }
        match &mut self.state {
            State::Looking(_) => self.on_candidate_down(peer, fx),
            // The end of the session is known at once; nobody waits for a time-out.
            State::Following(f) if f.leader == peer => Err(GiveUp("the leader's session ended")),
            State::Following(f) => {
                f.forget_observer(&mut self.me, peer);
                Ok(())
            }
            State::Leading(l) => {
                l.drop_learner(&mut self.me, peer);
                l.check_quorum(&self.me)
            }
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Fx) -> Outcome {
        if !self.me.connected(from) {
            return Ok(());
        }
        match message {
            Message::Notification(n) => self.on_notification(from, n, fx),
            Message::FollowerInfo(info) | Message::ObserverInfo(info) => self.on_info(from, info, fx),
            message => match &mut self.state {
                State::Leading(l) => l.on_message(&mut self.me, from, &message, fx),
                State::Following(f) if let Message::Summon { epoch } = message => {
                    f.on_summon(&mut self.me, from, epoch, fx)
                }
                State::Following(f) if f.leader == from => f.on_message(&mut self.me, message, fx),
                State::Following(f) => f.on_observer_message(&mut self.me, from, &message, fx),
                // Of an attempt that is over.
                State::Looking(_) => Ok(()),
            },
        }
    }

    /// FOLLOWERINFO or OBSERVERINFO. Which of them does not matter: what its sender is, is for the leader to say.
    fn on_info(&mut self, from: NodeId, info: Info, fx: &mut Fx) -> Outcome {
        let Some(session) = self.me.sessions.get_mut(from) else { return Ok(()) };
        match &mut self.state {
            // It was quicker to see the quorum for this node than this node itself.
            State::Looking(_) => session.knock = Some(info),
            State::Following(f) => return f.on_info(&mut self.me, from, info, fx),
            State::Leading(l) => return l.on_info(&mut self.me, from, info, fx),
        }
        Ok(())
    }
}

impl Protocol for Zab {
    type Config = Config;
    type Message = Message;
    type Hard = Hard;
    const NAME: &'static str = "zab";

    fn new(boot: Boot<Self>) -> Self {
        let Boot { id, membership, config, seed, now, mut hard, snapshot, log } = boot;
        let members = Members::new(membership, snapshot, &log);
        let last = log.last();
        // R12: entries of an epoch were accepted only after the promise for it was durable. If the file that says so is
        // missing, the log itself is the proof of the promise. currentEpoch may lag behind the log's last epoch: the node
        // went down between history and epoch in R4, which is legal (R10; ZOOKEEPER-1653, 2354, 4269 refused to start).
        if may_vote(&members, id) {
            hard.accepted_epoch = hard.accepted_epoch.max(last.epoch);
        }
        hard.mending &= !mutant!("Z59");
        if last.epoch > hard.current_epoch {
            mark!("zab/core#new.history_without_its_epoch");
        }
        // After a restart nothing beyond the snapshot is known to be committed.
        let known = members.firm();
        let me = Local {
            id,
            members,
            now,
            rng: Rng::new(seed),
            hard,
            saved: hard,
            saves: VecDeque::new(),
            durable: last,
            log,
            cutting: false,
            installing: None,
            snapshot,
            committed: if mutant!("Z09") { last } else { snapshot },
            applied: snapshot,
            sessions: ByNode::new(),
            note: Notification { state: NodeState::Looking, round: 1, vote: None, members: known },
            epoch_seen: hard.accepted_epoch,
            attempts: 0,
            failures: 0,
            fetching: BTreeSet::new(),
            reading: BTreeSet::new(),
            stale_writes: 0,
            handover: None,
            designated: None,
            round_trip: None,
            direct_until: now,
            halted: false,
            steps: 0,
            config,
        };
        let state = State::Looking(Looking::new(now, now, &me.config));
        Self { me, state }
    }

    fn step(&mut self, now: Micros, input: Input<Message>, fx: &mut Fx) {
        self.me.now = self.me.now.max(now);
        if !self.may_go_on(fx) {
            return refuse_all(&input, fx);
        }
        let (before, is_tick) = (fx.as_slice().len(), matches!(input, Input::Tick));
        if mutant!("Z41")
            && let State::Leading(l) = &self.state
            && l.established()
            && self.me.committed < l.summary.1
        {
            self.me.commit(l.summary.1, fx);
        }
        let done = match input {
            Input::Tick => self.on_tick(fx),
            // Who votes is in the ensemble's own list, whatever a peer says of itself.
            Input::PeerUp { peer, .. } => self.on_peer_up(peer, fx),
            Input::PeerDown { peer } => self.on_peer_down(peer, fx),
            Input::Message { from, message } => self.on_message(from, message, fx),
            Input::Propose { batch } => self.on_propose(batch, fx),
            Input::ReadBarrier { id, trust } => {
                self.on_read(id, trust, fx);
                Ok(())
            }
            Input::Transfer { id, to } => self.on_transfer(id, to, fx),
            Input::Change { id, changes } => self.on_change(id, &changes, fx),
            Input::Durable { upto } => {
                self.me.on_durable(upto);
                self.on_disk(fx)
            }
            Input::HardSaved => {
                self.me.saved = self.me.saves.pop_front().unwrap_or(self.me.saved);
                self.on_disk(fx)
            }
            Input::Applied { upto } => {
                self.me.on_applied(upto);
                Ok(())
            }
            Input::Compacted { snapshot, base } => {
                self.me.on_compacted(snapshot, base);
                Ok(())
            }
            Input::Fetched { peer, after, entries } => self.on_fetched(peer, after, entries, fx),
            Input::SnapshotRead { peer, chunk } => self.on_snapshot_read(peer, chunk, fx),
            Input::SnapshotWritten { snapshot, .. } => {
                self.on_snapshot_written(snapshot, fx);
                Ok(())
            }
            Input::SnapshotInstalled { snapshot, membership } => {
                self.on_snapshot_installed(snapshot, membership.map(|m| *m), fx)
            }
            Input::SnapshotRefused { .. } => self.on_snapshot_refused(fx),
        };
        if let Err(GiveUp(why)) = done {
            self.look(why, fx);
        }
        self.look_at_handover(fx);
        self.me.steps = self.me.steps.wrapping_add(1);
        let look_at_all = cfg!(debug_assertions) || is_tick || self.me.steps.is_multiple_of(EVERY);
        if look_at_all || !marks_hold(&self.me) {
            self.look_at_itself(before, fx);
        }
    }

    fn wake_at(&self) -> Option<Micros> {
        if self.me.halted {
            return None;
        }
        let at = match &self.state {
            State::Looking(l) => l.wake_at(),
            State::Following(f) => {
                let silent = f.silent_at(&self.me);
                f.relay.as_ref().map_or(silent, |relay| silent.min(relay.next_ping))
            }
            State::Leading(l) => l.next_ping,
        };
        Some(self.handover_due().map_or(at, |due| at.min(due)))
    }

    fn log(&self) -> &LogView {
        &self.me.log
    }

    fn committed(&self) -> Zxid {
        self.me.committed
    }

    fn membership(&self) -> (LogId, &Membership) {
        (self.me.members.at(), self.me.members.now())
    }

    fn mend(hard: Hard) -> Option<Hard> {
        Some(marked(hard))
    }

    fn is_mending(&self) -> bool {
        self.me.hard.mending
    }

    fn sources(config: &Config) -> Vec<NodeId> {
        config.sources.iter().copied().map(NodeId).collect()
    }

    fn leadership(&self) -> Leadership {
        let role = match &self.state {
            State::Leading(l) if l.established() => Role::Leading,
            State::Following(f) if f.in_broadcast() && f.voter => Role::Following,
            State::Following(f) if f.in_broadcast() => Role::Observing,
            _ => Role::Looking,
        };
        let forgets = mutant!("Z43") && role == Role::Looking;
        let epoch = if forgets { 0 } else { self.me.hard.current_epoch };
        Leadership { role, leader: self.leader(), epoch }
    }

    fn status(&self) -> Status {
        let me = &self.me;
        let Leadership { role, leader, epoch } = self.leadership();
        let (phase, peers) = match &self.state {
            State::Looking(_) if me.hard.mending => ("mending", Vec::new()),
            State::Looking(_) => ("election", Vec::new()),
            State::Following(f) => (f.phase(), f.relay.as_ref().map_or(Vec::new(), |relay| relay.peers(me))),
            State::Leading(l) => (l.phase(), l.peers(me)),
        };
        Status {
            protocol: Self::NAME.into(),
            id: me.id,
            member: me.member(),
            role,
            phase: phase.into(),
            leader,
            epoch,
            hard: vec![
                ("acceptedEpoch".into(), me.hard.accepted_epoch.to_string()),
                ("currentEpoch".into(), me.hard.current_epoch.to_string()),
                ("lastZxid".into(), Hex(me.log.last()).to_string()),
            ],
            base: me.log.base(),
            last: me.log.last(),
            durable: me.durable,
            committed: me.committed,
            applied: me.applied,
            snapshot: me.snapshot,
            membership: me.members.now().clone(),
            membership_at: me.members.at(),
            peers,
        }
    }
}

/// A halted node answers what must be answered and does nothing else.
fn refuse_all(input: &Input<Message>, fx: &mut Fx) {
    let refusal = Refusal::NotLeader { leader: None };
    match input {
        Input::Propose { .. } => fx.push(Effect::Refused(refusal)),
        Input::ReadBarrier { id, .. } => fx.push(Effect::ReadFailed { id: *id, reason: refusal }),
        Input::Transfer { id, .. } => fx.push(Effect::TransferAnswer { id: *id, answer: Err(refusal) }),
        Input::Change { id, .. } => fx.push(Effect::ChangeAnswer { id: *id, answer: Err(Some(refusal)) }),
        _ => {}
    }
}
