//! The leader's side of discovery and synchronisation.

use std::collections::VecDeque;

use common::by_node::ByNode;
use common::status::SyncReport;
use common::trace::TraceBody;
use common::types::{Member, Micros, NodeId};
use common::{mark, mutant};

use crate::core::{Fx, GiveUp, Hard, Local, Outcome};
use crate::election::epochs_exhausted;
use crate::message::{Info, Message, NodeState, Zxid, better, fits};
use crate::read::LeaderReads;
use crate::reconfig::Changing;

/// How far the leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Waits for FOLLOWERINFO of a quorum.
    Discovery,
    /// Waits for its own disk to have the new acceptedEpoch.
    Accepting,
    /// Waits for ACKEPOCH of a quorum.
    EpochAcks,
    /// Waits for a quorum to acknowledge NEWLEADER.
    Synchronisation,
    /// Established.
    Broadcast,
}

/// How far a learner is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Its FOLLOWERINFO came.
    Info,
    /// LEADERINFO went out.
    Promising,
    /// Its ACKEPOCH came.
    Promised,
    /// It is being sent the history.
    Syncing,
    /// NEWLEADER went out; everything the leader proposes from here on is sent to it as well.
    NewLeader,
    /// It acknowledged NEWLEADER: it has the history, and counts.
    Synced,
}

/// A snapshot on its way.
#[derive(Debug)]
pub(crate) struct SnapOut {
    /// Which, and its length; unknown until the first piece was read.
    pub(super) file: Option<(Zxid, u64)>,
    pub(super) offset: u64,
}

/// A learner's attempt.
#[derive(Debug)]
pub(crate) struct Learner {
    pub(crate) member: Member,
    pub(crate) info: Info,
    pub(crate) progress: Progress,
    /// Its ACKEPOCH counts: a voter, promised in this attempt, not ahead of this leader.
    pub(crate) counted: bool,
    /// Its history is better than this leader's.
    pub(crate) ahead: bool,
    /// The last entry sent, or known to be in its log.
    pub(crate) sent: Zxid,
    /// The end of its history when NEWLEADER was sent; what its ACK of NEWLEADER covers.
    pub(crate) history_end: Zxid,
    /// What it acknowledged.
    pub(crate) acked: Zxid,
    pub(crate) heard_at: Micros,
    /// The last PING round it echoed.
    pub(crate) echoed: u64,
    /// The PING round that is timed, and since when; how long the last such one took.
    pub(crate) probe: Option<(u64, Micros)>,
    pub(crate) round_trip: Option<Micros>,
    /// Proposals sent to a follower and not acknowledged: last id and weight of each run.
    pub(crate) in_flight: VecDeque<(Zxid, u64)>,
    pub(crate) in_flight_bytes: u64,
    /// Of the last message that carried entries or a piece of a snapshot.
    pub(crate) newest_weight: u64,
    /// Weight sent under flow control, and what of it was RECEIVED.
    pub(crate) sent_weight: u64,
    pub(crate) received_weight: u64,
    pub(crate) snap: Option<SnapOut>,
    pub(crate) sync: Option<SyncReport>,
    pub(super) sync_began: Micros,
}

impl Learner {
    fn new(member: Member, info: Info, ahead: bool, now: Micros) -> Self {
        Self {
            member,
            info,
            progress: Progress::Info,
            counted: false,
            ahead,
            sent: info.last_zxid,
            history_end: Zxid::ZERO,
            acked: Zxid::ZERO,
            heard_at: now,
            echoed: 0,
            probe: None,
            round_trip: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            newest_weight: 0,
            sent_weight: 0,
            received_weight: 0,
            snap: None,
            sync: None,
            sync_began: now,
        }
    }

    pub(crate) fn unreceived(&self) -> u64 {
        self.sent_weight - self.received_weight
    }

    /// Whether more waits for it than may. One message may exceed the limit: if a proposal that is larger than the limit
    /// ended every session, it would end every epoch in which it is proposed again.
    pub(crate) fn queue_full(&self, max: u64) -> bool {
        self.in_flight_bytes.max(self.unreceived()).saturating_sub(self.newest_weight) > max
    }
}

/// A node that leads, or tries to.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) stage: Stage,
    /// The new epoch; 0 until it is chosen.
    pub(crate) epoch: u64,
    /// This node's history when it began to lead: (currentEpoch, last zxid). Its log does not change before it is
    /// established, so what followers are compared with and what they are sent is one and the same.
    pub(crate) summary: (u64, Zxid),
    pub(crate) learners: ByNode<Learner>,
    /// When it gives up if nothing moves before it is established.
    deadline: Micros,
    pub(crate) next_ping: Micros,
    /// Its own currentEpoch is durable.
    pub(crate) self_acked: bool,
    /// Proposals not committed yet: last id and weight of each run.
    pub(crate) outstanding: VecDeque<(Zxid, u64)>,
    pub(crate) uncommitted: u64,
    /// Proposals that this node's own disk does not have yet, likewise.
    pub(crate) unsynced: VecDeque<(Zxid, u64)>,
    pub(crate) unsynced_bytes: u64,
    pub(crate) ping_round: u64,
    pub(crate) reads: LeaderReads,
    /// A change of members that somebody asked for.
    pub(crate) changing: Option<Changing>,
    /// This node does not lead: it passes on what this leader commits, to observers.
    pub(crate) relays: Option<NodeId>,
}

impl Leading {
    pub(crate) fn new(me: &Local) -> Self {
        Self {
            stage: Stage::Discovery,
            epoch: 0,
            summary: (me.hard.current_epoch, me.log.last()),
            learners: ByNode::new(),
            deadline: me.now.after(me.config.init_limit()),
            next_ping: me.now.after(me.config.ping_interval()),
            self_acked: false,
            outstanding: VecDeque::new(),
            uncommitted: 0,
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            ping_round: 0,
            reads: LeaderReads::default(),
            changing: None,
            relays: None,
        }
    }

    /// Of a node that follows `leader` in `epoch`, and is level.
    pub(crate) fn relay(me: &Local, leader: NodeId, epoch: u64) -> Self {
        let new = Self::new(me);
        Self { stage: Stage::Broadcast, epoch, self_acked: true, relays: Some(leader), ..new }
    }

    pub(crate) fn established(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    pub(crate) fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Discovery | Stage::Accepting | Stage::EpochAcks => "discovery",
            Stage::Synchronisation => "synchronisation",
            Stage::Broadcast => "broadcast",
        }
    }

    /// The end of the history that learners are brought to: all of the log before this leader is established, since a
    /// quorum will make it committed; what is committed afterwards.
    pub(super) fn history_end(&self, me: &Local) -> Zxid {
        match () {
            () if self.relays.is_some() && mutant!("Z62") => me.log.last(),
            () if self.established() => me.committed,
            () => self.summary.1,
        }
    }

    fn enter(&mut self, stage: Stage, me: &Local, fx: &mut Fx) {
        self.stage = stage;
        self.deadline = me.now.after(me.config.init_limit());
        let (phase, epoch) = (self.phase(), self.epoch);
        fx.trace("zab/recovery#enter", "Zab1.0 P1-P3", || TraceBody::Set {
            s: vec![("phase", phase.into()), ("stage", format!("{stage:?}").into()), ("epoch", epoch.into())],
        });
    }

    /// A learner moved on, so the leader is not stuck: a quorum that has much to receive is waited for.
    pub(super) fn progressed(&mut self, me: &Local) {
        self.deadline = me.now.after(me.config.init_limit());
    }

    /// FOLLOWERINFO or OBSERVERINFO: a new attempt, which replaces an earlier one.
    pub(crate) fn on_info(&mut self, me: &mut Local, from: NodeId, info: Info, fx: &mut Fx) -> Outcome {
        self.drop_learner(me, from);
        let member = if self.relays.is_some() { Member::Observer } else { me.members.member(from) };
        // There must be an epoch above every promise: one peer's damaged number must not stop the ensemble.
        if !fits(info.last_zxid) || info.accepted_epoch >= u64::from(u32::MAX) {
            me.disconnect(from, "an epoch or zxid beyond 32 bits", fx);
            return self.check_quorum(me);
        }
        if member == Member::Observer && !self.admits_observer(me, from) {
            me.disconnect(from, "this leader has as many observers as it may", fx);
            return Ok(());
        }
        if member == Member::Voter {
            me.epoch_seen = me.epoch_seen.max(info.accepted_epoch);
            if self.epoch > 0 && info.accepted_epoch > self.epoch && !mutant!("Z35") {
                fx.mark("zab/recovery#on_info.later_promise");
                return Err(GiveUp("a follower has promised a later epoch"));
            }
        }
        let ahead = better((info.current_epoch, info.last_zxid), self.summary);
        if ahead {
            fx.mark("zab/recovery#on_info.ahead");
        }
        self.learners.insert(from, Learner::new(member, info, ahead, me.now));
        if self.stage >= Stage::EpochAcks {
            fx.mark("zab/recovery#on_info.joins");
            self.send_leader_info(me.id, from, fx);
        }
        self.check_quorum(me)?;
        self.advance(me, fx);
        Ok(())
    }

    fn send_leader_info(&mut self, me: NodeId, to: NodeId, fx: &mut Fx) {
        let (epoch, leader) = (self.epoch, self.relays.unwrap_or(me));
        if let Some(l) = self.learners.get_mut(to) {
            l.progress = Progress::Promising;
            let voter = l.member == Member::Voter;
            fx.send(to, Message::LeaderInfo { attempt: l.info.attempt, epoch, voter, leader });
        }
    }

    /// Goes on as far as it can. Called whenever a quorum may have formed.
    pub(crate) fn advance(&mut self, me: &mut Local, fx: &mut Fx) {
        let voters = &me.members;
        let voter = |id: NodeId, rule: fn(&Learner) -> bool| self.learners.get(id).is_some_and(rule);
        match self.stage {
            Stage::Discovery => {
                if !voters.is_quorum(|id| id == me.id || voter(id, |_| true)) {
                    return;
                }
                let highest = self.learners.values().filter(|l| l.member == Member::Voter);
                let highest = highest.map(|l| l.info.accepted_epoch).max().unwrap_or(0);
                let mut epoch = highest.max(me.epoch_seen).max(me.hard.accepted_epoch) + 1;
                if mutant!("Z37") {
                    epoch = me.hard.accepted_epoch.max(highest + 1);
                }
                if epoch > u64::from(u32::MAX) {
                    epochs_exhausted(me, fx);
                    return;
                }
                self.epoch = epoch;
                me.epoch_seen = epoch;
                self.enter(Stage::Accepting, me, fx);
                // R1: LEADERINFO goes out when this is durable. A leader that crashed in between would propose the same
                // epoch again, with another quorum (ZOOKEEPER-1291).
                me.save(Hard { accepted_epoch: epoch, ..me.hard }, fx);
                if mutant!("Z18") {
                    self.begin_promises(me, fx);
                }
            }
            Stage::EpochAcks => {
                // "Already accepted" is not counted: that promise may serve another leader of the same epoch.
                if !voters.is_quorum(|id| id == me.id || voter(id, |l| l.counted)) {
                    return;
                }
                self.enter(Stage::Synchronisation, me, fx);
                // R6: durable before this leader counts itself. Learners need not wait for it.
                me.save(Hard { current_epoch: self.epoch, ..me.hard }, fx);
                self.self_acked = mutant!("Z33");
                let ready: Vec<NodeId> =
                    self.learners.iter().filter(|(_, l)| l.progress == Progress::Promised).map(|(id, _)| id).collect();
                for id in ready {
                    self.begin_sync(me, id, fx);
                }
            }
            Stage::Synchronisation => {
                // R6: a quorum with this leader in it.
                let acked = |id| id == me.id || voter(id, |l| l.progress == Progress::Synced);
                let mut quorum = voters.is_quorum(acked) || mutant!("Z13");
                if mutant!("Z22") {
                    let all = self.learners.values().filter(|l| l.progress == Progress::Synced);
                    quorum = all.count() + 1 >= voters.new_voters().quorum();
                }
                if self.self_acked && quorum {
                    self.establish(me, fx);
                }
            }
            Stage::Accepting | Stage::Broadcast => {}
        }
    }

    /// A quorum has this leader's history durably, as the history of its epoch: all of it is committed, and from here on
    /// this leader proposes. Before this point it must not: with the promises of a quorum alone, another leader could
    /// still be chosen by those who have less.
    fn establish(&mut self, me: &mut Local, fx: &mut Fx) {
        fx.mark("zab/recovery#establish");
        self.enter(Stage::Broadcast, me, fx);
        if !mutant!("Z41") {
            me.commit(self.summary.1, fx);
        }
        me.settle_vote(self.epoch, fx);
        let synced: Vec<NodeId> =
            self.learners.iter().filter(|(_, l)| l.progress == Progress::Synced).map(|(id, _)| id).collect();
        for id in synced {
            self.send_up_to_date(me, id, fx);
        }
    }

    fn send_up_to_date(&mut self, me: &Local, to: NodeId, fx: &mut Fx) {
        if let Some(l) = self.learners.get_mut(to) {
            // The commit point of now, not that of NEWLEADER: commits may have come in between (DSN paper, COMMIT-LD).
            let mut zxid = if mutant!("Z02") { l.sent } else { me.committed.min(l.sent) };
            if mutant!("Z41") {
                zxid = me.committed.max(self.summary.1).min(l.sent);
            }
            fx.send(to, Message::UpToDate { attempt: l.info.attempt, zxid });
            if let Some(report) = &mut l.sync {
                report.took_us.get_or_insert(me.now.since(l.sync_began).0);
            }
        }
    }

    fn begin_promises(&mut self, me: &Local, fx: &mut Fx) {
        self.enter(Stage::EpochAcks, me, fx);
        let all: Vec<NodeId> = self.learners.ids().collect();
        for id in all {
            self.send_leader_info(me.id, id, fx);
        }
    }

    /// This leader's disk confirmed something.
    pub(crate) fn on_disk(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        match self.stage {
            Stage::Accepting if me.saves.is_empty() => {
                self.begin_promises(me, fx);
                self.check_quorum(me)?;
                self.advance(me, fx);
                Ok(())
            }
            Stage::Synchronisation if me.saves.is_empty() && (!self.self_acked || mutant!("Z33")) => {
                self.self_acked = true;
                self.advance(me, fx);
                if self.established() { self.members_committed(me, fx) } else { Ok(()) }
            }
            Stage::Broadcast => {
                while let Some((last, weight)) = self.unsynced.front()
                    && *last <= me.durable
                {
                    self.unsynced_bytes -= weight;
                    self.unsynced.pop_front();
                }
                self.try_commit(me, fx)?;
                self.tell_heir(me, fx)
            }
            _ => Ok(()),
        }
    }

    /// A message of a learner's attempt.
    pub(crate) fn on_message(&mut self, me: &mut Local, from: NodeId, message: &Message, fx: &mut Fx) -> Outcome {
        let Some(l) = self.learners.get_mut(from) else { return Ok(()) };
        if message.attempt() != Some(l.info.attempt) {
            return Ok(());
        }
        l.heard_at = me.now;
        match *message {
            Message::Ack { zxid, .. } => self.on_ack(me, from, zxid, fx),
            Message::Ping { round, .. } => {
                self.on_echo(me, from, round, fx);
                Ok(())
            }
            Message::Request { token, plain, .. } => self.on_request(me, from, (token, plain), fx),
            Message::Received { weight, .. } => self.on_received(me, from, weight, fx),
            Message::AckEpoch { current_epoch, last_zxid, already_accepted, .. } => {
                self.on_ack_epoch(me, from, (current_epoch, last_zxid), already_accepted, fx)
            }
            _ => self.broke(me, from, "a message that only leaders send", fx),
        }
    }

    /// Ends the session of a learner that broke the protocol.
    pub(crate) fn broke(&mut self, me: &mut Local, peer: NodeId, rule: &'static str, fx: &mut Fx) -> Outcome {
        self.drop_learner(me, peer);
        me.disconnect(peer, rule, fx);
        self.check_quorum(me)
    }

    /// Forgets a learner: its attempt is over.
    pub(crate) fn drop_learner(&mut self, me: &mut Local, peer: NodeId) {
        if self.learners.remove(peer).is_some() {
            self.reads.forget(peer);
        }
        if let Some(s) = me.sessions.get_mut(peer) {
            s.knock = None;
        }
    }

    fn on_ack_epoch(
        &mut self,
        me: &mut Local,
        from: NodeId,
        summary: (u64, Zxid),
        already_accepted: bool,
        fx: &mut Fx,
    ) -> Outcome {
        let Some(l) = self.learners.get_mut(from) else { return Ok(()) };
        if l.progress != Progress::Promising {
            return self.broke(me, from, "ACKEPOCH without LEADERINFO", fx);
        }
        if summary != (l.info.current_epoch, l.info.last_zxid) {
            // R3: its log moved between FOLLOWERINFO and here.
            return self.broke(me, from, "the history in ACKEPOCH is not that of FOLLOWERINFO", fx);
        }
        l.progress = Progress::Promised;
        if already_accepted {
            fx.mark("zab/recovery#on_ack_epoch.already_accepted");
        }
        // A follower that is ahead is not counted, so this leader cannot be chosen over it by its own promise; if a quorum
        // forms without it, nothing it has beyond this leader's history was ever committed and it will be cut. If none can
        // form without it, `check_quorum` gives up at once. (ZooKeeper drops its connection; its specification, the leader.)
        l.counted = l.member == Member::Voter && !already_accepted && !l.ahead && !l.info.mending;
        if self.stage >= Stage::Synchronisation {
            fx.mark("zab/recovery#on_ack_epoch.late");
            self.begin_sync(me, from, fx);
            return Ok(());
        }
        self.progressed(me);
        self.check_quorum(me)?;
        self.advance(me, fx);
        Ok(())
    }

    /// ACK of NEWLEADER.
    pub(crate) fn on_new_leader_ack(&mut self, me: &mut Local, from: NodeId, fx: &mut Fx) -> Outcome {
        let Some(l) = self.learners.get_mut(from) else { return Ok(()) };
        l.progress = Progress::Synced;
        l.acked = l.history_end;
        self.progressed(me);
        if self.established() {
            fx.mark("zab/recovery#on_new_leader_ack.late");
            self.send_up_to_date(me, from, fx);
            // It may have come with proposals that are still in flight, and they count from now on.
            self.try_commit(me, fx)?;
            return self.tell_heir(me, fx);
        }
        self.advance(me, fx);
        if self.established() { self.members_committed(me, fx) } else { Ok(()) }
    }

    /// Whether a quorum can still be had. Sessions, LOOKING notifications and uncounted promises tell it long before a
    /// time-out does (ZOOKEEPER-3109 is the wait for a voter that had changed its mind).
    pub(crate) fn check_quorum(&self, me: &Local) -> Outcome {
        let alive = |id| {
            id == me.id
                || match self.learners.get(id) {
                    Some(l) if self.stage < Stage::Synchronisation => {
                        !l.ahead
                            && !l.info.mending
                            && (l.progress < Progress::Promised || l.counted)
                            && l.info.accepted_epoch < self.floor()
                    }
                    Some(_) => true,
                    None => !self.established() && may_still_come(me, id),
                }
        };
        if self.relays.is_some() || mutant!("Z15") && self.established() {
            return Ok(());
        }
        if me.members.is_quorum(alive) {
            return Ok(());
        }
        if self.established() {
            mark!("zab/recovery#check_quorum.lost");
        } else {
            mark!("zab/recovery#check_quorum.out_of_reach");
        }
        Err(GiveUp("no quorum follows"))
    }

    /// A follower that accepted this or a later epoch already cannot be counted in this one. Before the epoch is chosen
    /// there is no such follower.
    fn floor(&self) -> u64 {
        if self.epoch == 0 { u64::MAX } else { self.epoch }
    }

    pub(crate) fn overdue(&self, me: &Local) -> bool {
        !self.established() && me.now >= self.deadline
    }
}

/// Whether a voter without an attempt may still follow this would-be leader, from the last it said.
fn may_still_come(me: &Local, voter: NodeId) -> bool {
    if !me.connected(voter) {
        return false;
    }
    let Some(n) = me.heard(voter) else { return true };
    let for_me = n.vote.is_none_or(|v| v.leader == me.id);
    match n.state {
        NodeState::Looking if n.round == me.note.round => n.vote.is_none_or(|v| Some(v) <= me.note.vote),
        NodeState::Looking => n.round < me.note.round,
        NodeState::Following => for_me,
        NodeState::Leading | NodeState::Observing => false,
    }
}
