//! A learner's side of discovery and synchronisation: followers, and observers, which differ only in that they promise
//! nothing and are not counted.

use std::collections::VecDeque;

use common::codec::Payload;
use common::entries::Entries;
use common::membership::Membership;
use common::protocol::{Chunk, Effect};
use common::trace::TraceBody;
use common::types::{LogId, Micros, NodeId};
use common::{mark, mutant};

use super::leader::Leading;
use crate::core::{Fx, GiveUp, Hard, Local, Outcome, State, Zab};
use crate::message::{Hex, Info, Message, NodeState, Notification, Vote, Zxid, chunk_weight, fits, follows, weight};
use crate::read::LearnerReads;
use crate::reconfig::may_vote;

/// How far a learner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// FOLLOWERINFO went out.
    Info,
    /// Waits for its disk to have the new acceptedEpoch.
    Accepting,
    /// ACKEPOCH went out; waits for DIFF, TRUNC or SNAP. The log has not changed since FOLLOWERINFO (R3).
    Promised,
    /// Receives history.
    Syncing,
    /// NEWLEADER came: waits for its disk to have all of the history.
    History,
    /// Waits for its disk to have the new currentEpoch.
    Epoch,
    /// ACK of NEWLEADER went out; waits for UPTODATE.
    Acked,
    /// Level, and serving.
    Broadcast,
}

/// A snapshot that is being received.
#[derive(Debug)]
struct SnapIn {
    snapshot: Zxid,
    /// The end of what was received.
    end: u64,
    total: u64,
}

/// A node that follows or observes, or tries to.
#[derive(Debug)]
pub(crate) struct Following {
    /// Who feeds it: the leader, or one that passes on what the leader commits.
    pub(crate) leader: NodeId,
    /// Who leads, as far as that is known.
    pub(crate) head: NodeId,
    /// The observers that this node feeds.
    pub(crate) relay: Option<Box<Leading>>,
    /// What was voted for, as it was when this node left the election.
    vote: Vote,
    /// Whether this node votes: until LEADERINFO by its own log, then by its leader's word.
    pub(crate) voter: bool,
    pub(crate) attempt: u64,
    pub(crate) stage: Stage,
    pub(crate) epoch: u64,
    heard_at: Micros,
    /// Entries appended and not yet durable, by run, for RECEIVED.
    unreported: VecDeque<(Zxid, u64)>,
    received: u64,
    reported: u64,
    snap: Option<SnapIn>,
    /// Weights of pieces given to the disk to write.
    writes: VecDeque<u64>,
    /// R5: proposals between NEWLEADER and UPTODATE, and the last commit of them.
    pub(crate) held: VecDeque<Entries>,
    held_bytes: u64,
    held_commit: Zxid,
    /// The last entry acknowledged.
    pub(crate) acked: Zxid,
    pub(crate) reads: LearnerReads,
    /// Readers who take the leader's word.
    pub(crate) syncs: LearnerReads,
}

impl Following {
    /// Begins a new attempt with FOLLOWERINFO or OBSERVERINFO. All that it says is durable: the node is at rest.
    pub(crate) fn start(me: &mut Local, vote: Vote, leader: NodeId, fx: &mut Fx) -> Self {
        me.attempts += 1;
        let info = Info {
            attempt: me.attempts,
            accepted_epoch: me.hard.accepted_epoch,
            current_epoch: me.hard.current_epoch,
            last_zxid: me.log.last(),
            mending: me.hard.mending,
            relay: leader != vote.leader,
        };
        let voter = may_vote(&me.members, me.id);
        me.note_following(vote, voter);
        fx.send(leader, if voter { Message::FollowerInfo(info) } else { Message::ObserverInfo(info) });
        fx.trace("zab/recovery#start", "Zab1.0 P1.1", || TraceBody::Set {
            s: vec![("phase", "discovery".into()), ("leader", leader.0.into())],
        });
        Self {
            leader,
            head: vote.leader,
            relay: None,
            vote,
            voter,
            attempt: me.attempts,
            stage: Stage::Info,
            epoch: 0,
            heard_at: me.now,
            unreported: VecDeque::new(),
            received: 0,
            reported: 0,
            snap: None,
            writes: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            held_commit: Zxid::ZERO,
            acked: Zxid::ZERO,
            reads: LearnerReads::default(),
            syncs: LearnerReads::default(),
        }
    }

    pub(crate) fn in_broadcast(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    pub(crate) fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Info | Stage::Accepting => "discovery",
            Stage::Broadcast => "broadcast",
            _ => "synchronisation",
        }
    }

    /// When this node has heard nothing of its leader for too long.
    pub(crate) fn silent_at(&self, me: &Local) -> Micros {
        self.heard_at.after(if self.in_broadcast() { me.config.sync_limit() } else { me.config.init_limit() })
    }

    /// A silent leader's session is ended too, with all that was heard in it: otherwise followers that give up would find
    /// in their tables that the leader leads and the others follow it, and join it again, each because of the others.
    pub(crate) fn check_silence(&self, me: &mut Local, fx: &mut Fx) -> Outcome {
        if me.now < self.silent_at(me) {
            return Ok(());
        }
        fx.mark("zab/recovery#check_silence");
        Err(self.broke(me, "silent for longer than the limit", fx))
    }

    pub(crate) fn writes_under_way(&self) -> usize {
        self.writes.len()
    }

    /// What the leader says of itself in the election. It is believed at once; without it a follower would find out by
    /// time-out only.
    pub(crate) fn on_leader_notification(&self, n: &Notification, round: u64) -> Outcome {
        let over = match n.state {
            // One that passes on leads nobody. Only that it looks for a leader itself ends it.
            NodeState::Following | NodeState::Observing if self.leader != self.vote.leader => false,
            NodeState::Leading => n.vote.is_some_and(|v| v.leader != self.leader),
            NodeState::Following | NodeState::Observing => true,
            // It may not have seen its quorum yet, and then still says LOOKING in the round of its election, for itself.
            NodeState::Looking => {
                self.stage > Stage::Info || n.round > round || n.vote.is_some_and(|v| v.leader != self.leader)
            }
        };
        if over {
            mark!("zab/recovery#on_leader_notification.gave_up");
            return Err(GiveUp("the leader gave up"));
        }
        Ok(())
    }

    /// A message of the leader's session.
    #[inline]
    pub(crate) fn on_message(&mut self, me: &mut Local, message: Message, fx: &mut Fx) -> Outcome {
        if message.attempt() != Some(self.attempt) {
            fx.mark("zab/recovery#on_message.another_attempt");
            return Ok(());
        }
        // The two may have changed places within their session, and attempts of both are numbered from 1. What the leader
        // said as this node's follower comes before its LEADERINFO, and only an echo looks like something a leader says.
        let from_before = self.stage == Stage::Info && !matches!(message, Message::LeaderInfo { .. });
        if from_before && !matches!(message, Message::Ping { .. }) && !mutant!("Z44") {
            fx.mark("zab/recovery#on_message.of_its_time_as_a_follower");
            return Ok(());
        }
        self.heard_at = me.now;
        match message {
            Message::Proposal { entries: Payload::Entries(run), .. } => self.on_proposal(me, run, fx),
            Message::Commit { zxid, .. } => self.on_commit(me, zxid, fx),
            Message::Inform { entries: Payload::Entries(run), .. } => self.on_inform(me, run, fx),
            Message::Ping { round, round_trip_us, .. } => {
                if round_trip_us > 0 {
                    me.round_trip = Some(Micros(round_trip_us));
                }
                // Before LEADERINFO it is a sign of life, and proves to nobody that no other leader was established.
                let round = if from_before { 0 } else { round };
                fx.send(self.leader, Message::Ping { attempt: self.attempt, round, round_trip_us: 0 });
                Ok(())
            }
            Message::Sync { token, plain, zxid, .. } => self.on_sync(me, (token, plain), zxid, fx),
            Message::LeaderInfo { epoch, voter, leader, .. } => {
                self.head = leader;
                self.on_leader_info(me, epoch, voter, fx)
            }
            Message::Diff { .. } => self.on_diff(me, fx),
            Message::Trunc { to, .. } => self.on_trunc(me, to, fx),
            Message::Snap { chunk, .. } => self.on_snap(me, chunk, fx),
            Message::NewLeader { epoch, .. } => self.on_new_leader(me, epoch, fx),
            Message::UpToDate { zxid, .. } => self.on_up_to_date(me, zxid, fx),
            Message::HandOver { to, zxid, .. } => self.on_hand_over(me, to, zxid, fx),
            _ => Err(self.broke(me, "a message that leaders do not send", fx)),
        }
    }

    /// The leader broke the protocol: end the session, and the role with it.
    pub(crate) fn broke(&self, me: &mut Local, rule: &'static str, fx: &mut Fx) -> GiveUp {
        me.disconnect(self.leader, rule, fx);
        GiveUp(rule)
    }

    fn enter(&mut self, stage: Stage, fx: &mut Fx) {
        self.stage = stage;
        let (phase, epoch) = (self.phase(), self.epoch);
        fx.trace("zab/recovery#enter", "Zab1.0 P1-P3", || TraceBody::Set {
            s: vec![("phase", phase.into()), ("stage", format!("{stage:?}").into()), ("epoch", epoch.into())],
        });
    }

    fn on_leader_info(&mut self, me: &mut Local, epoch: u64, voter: bool, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Info || epoch > u64::from(u32::MAX) {
            return Err(self.broke(me, "an unexpected LEADERINFO", fx));
        }
        self.epoch = epoch;
        if voter != self.voter && !mutant!("Z48") {
            fx.mark("zab/recovery#on_leader_info.another_role");
            self.take_role(me, voter, fx);
        }
        if !self.voter {
            // No promise, so nothing to save; but what it has of a newer leader must not be cut by an older one.
            if epoch < me.hard.current_epoch {
                return Err(GiveUp("the leader's epoch is over"));
            }
            self.send_ack_epoch(me, false, fx);
        } else if epoch > me.hard.accepted_epoch {
            // R2: ACKEPOCH leaves when this is durable.
            if mutant!("Z11") {
                me.hard.accepted_epoch = epoch;
                self.send_ack_epoch(me, false, fx);
                return Ok(());
            }
            self.enter(Stage::Accepting, fx);
            me.save(Hard { accepted_epoch: epoch, ..me.hard }, fx);
        } else if epoch == me.hard.accepted_epoch {
            // Accepted in an attempt before this one. It must not be counted again: that attempt may have been with
            // another leader of the same epoch, and counted there; both would be established.
            fx.mark("zab/recovery#on_leader_info.already_accepted");
            self.send_ack_epoch(me, true, fx);
        } else {
            return Err(GiveUp("a later epoch was promised"));
        }
        Ok(())
    }

    /// This node is, or is not, a voter to its leader, whatever its own log says.
    pub(crate) fn take_role(&mut self, me: &mut Local, voter: bool, fx: &mut Fx) {
        self.voter = voter;
        let peer_epoch = if self.in_broadcast() { self.epoch } else { self.vote.peer_epoch };
        me.note_following(Vote { peer_epoch, ..self.vote }, voter);
        me.announce_to_looking(fx);
    }

    /// What a voter has received is in its ACKs.
    pub(crate) fn forget_unreported(&mut self) {
        self.unreported.clear();
    }

    fn send_ack_epoch(&mut self, me: &Local, already_accepted: bool, fx: &mut Fx) {
        self.enter(Stage::Promised, fx);
        fx.send(
            self.leader,
            Message::AckEpoch {
                attempt: self.attempt,
                current_epoch: me.hard.current_epoch,
                last_zxid: me.log.last(),
                already_accepted,
            },
        );
    }

    /// The disk confirmed something: the next step of whatever waited for it.
    pub(crate) fn on_disk(&mut self, me: &mut Local, fx: &mut Fx) {
        if mutant!("Z05") && matches!(self.stage, Stage::Syncing | Stage::History | Stage::Epoch) {
            self.on_durable(me, fx);
        }
        match self.stage {
            Stage::Accepting if me.saves.is_empty() => self.send_ack_epoch(me, false, fx),
            Stage::Syncing => self.report(me, 0, fx),
            // R4. (a, b) All of the history is durable. An ACK before that would let a history be committed that is on
            // no disk (ZOOKEEPER-3911, 4646).
            Stage::History if me.at_rest() => {
                self.report(me, 0, fx);
                if (me.hard.current_epoch == self.epoch && !me.hard.mending) || mutant!("Z17") {
                    fx.mark("zab/recovery#on_disk.epoch_known");
                    self.ack_new_leader(me, fx);
                } else {
                    // (c) Only then the epoch: a node that crashed with the epoch and without the history would win the
                    // next election with less than was committed (ZOOKEEPER-4643, 4785).
                    self.enter(Stage::Epoch, fx);
                    if me.hard.mending {
                        fx.mark("zab/recovery#on_disk.healed");
                    }
                    me.save(me.epoch_reached(self.epoch), fx);
                }
            }
            // (d) Only when the epoch is durable the ACK (ZOOKEEPER-1282).
            Stage::Epoch if me.saves.is_empty() => self.ack_new_leader(me, fx),
            Stage::Broadcast => self.on_durable(me, fx),
            _ => {}
        }
    }

    fn ack_new_leader(&mut self, me: &Local, fx: &mut Fx) {
        self.enter(Stage::Acked, fx);
        self.acked = me.log.last();
        fx.send(self.leader, Message::Ack { attempt: self.attempt, zxid: Zxid::new(self.epoch, 0) });
    }

    /// DIFF: the log stays. Its header moves nothing: only entries that arrive do (ZOOKEEPER-2355).
    fn on_diff(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Promised {
            return Err(self.broke(me, "an unexpected DIFF", fx));
        }
        self.enter(Stage::Syncing, fx);
        if mutant!("Z60") && me.hard.mending {
            me.save(Hard { mending: false, ..me.hard }, fx);
        }
        if mutant!("Z03") {
            me.save(me.epoch_reached(self.epoch), fx);
        }
        Ok(())
    }

    fn on_trunc(&mut self, me: &mut Local, to: Zxid, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Promised {
            return Err(self.broke(me, "an unexpected TRUNC", fx));
        }
        if to < me.committed {
            if !self.voter {
                return Err(GiveUp("the leader's epoch is over"));
            }
            let reason = format!("TRUNC to {} would remove committed entries up to {}", Hex(to), Hex(me.committed));
            me.halt(reason, fx);
            return Ok(());
        }
        if !me.log.contains(to) {
            return Err(self.broke(me, "TRUNC to an entry that is not in the log", fx));
        }
        self.enter(Stage::Syncing, fx);
        let to = if mutant!("Z12") { me.log.next(to).unwrap_or(to) } else { to };
        me.truncate(to, fx);
        Ok(())
    }

    /// A piece of a snapshot. The log is replaced only when all of it is there, verified and durable.
    fn on_snap(&mut self, me: &mut Local, chunk: Chunk, fx: &mut Fx) -> Outcome {
        let begins = chunk.offset == 0 && matches!(self.stage, Stage::Promised | Stage::Syncing);
        let goes_on = self.snap.as_ref().is_some_and(|s| {
            (s.snapshot, s.end, s.total) == (chunk.snapshot, chunk.offset, chunk.total) && s.end < s.total
        });
        let whole = chunk.offset.checked_add(chunk.data.len() as u64).is_some_and(|end| end <= chunk.total);
        if !(begins || goes_on) || !whole || !fits(chunk.snapshot) || me.installing.is_some() {
            return Err(self.broke(me, "an unexpected piece of a snapshot", fx));
        }
        if chunk.snapshot < me.committed {
            return Err(GiveUp("the leader's snapshot is older than what is committed here"));
        }
        if self.stage == Stage::Promised {
            self.enter(Stage::Syncing, fx);
        } else if begins && self.snap.is_some() {
            fx.mark("zab/recovery#on_snap.begins_again");
        }
        self.snap = Some(SnapIn { snapshot: chunk.snapshot, end: chunk.end(), total: chunk.total });
        self.writes.push_back(chunk_weight(&chunk));
        fx.push(Effect::WriteSnapshot(chunk));
        Ok(())
    }

    fn on_written(&mut self, me: &mut Local, snapshot: Zxid, fx: &mut Fx) {
        let Some(weight) = self.writes.pop_front() else { return };
        let complete = self.snap.as_ref().is_some_and(|s| s.snapshot == snapshot && s.end >= s.total);
        if complete && self.writes.is_empty() {
            // Reported when it is installed: the leader goes on with the history after it only then.
            self.unreported.push_back((snapshot, weight));
            me.installing = Some(snapshot);
            fx.push(Effect::InstallSnapshot { snapshot, keep_tail: false });
        } else {
            self.report(me, weight, fx);
        }
    }

    fn on_installed(&mut self, me: &Local, fx: &mut Fx) {
        self.snap = None;
        self.report(me, 0, fx);
    }

    /// RECEIVED: this much has left memory. `weight` comes on top of the runs that have become durable.
    pub(crate) fn report(&mut self, me: &Local, weight: u64, fx: &mut Fx) {
        self.received += weight;
        while let Some((last, weight)) = self.unreported.front()
            && *last <= me.durable
        {
            self.received += weight;
            self.unreported.pop_front();
        }
        // In broadcast an observer need not say it at each INFORM.
        let step = if self.in_broadcast() { me.config.queue_max_bytes / 8 } else { 1 };
        if self.received - self.reported >= step {
            self.reported = self.received;
            fx.send(self.leader, Message::Received { attempt: self.attempt, weight: self.received });
        }
    }

    /// Adds history, or an observer's stream, to the log.
    pub(crate) fn append_reported(&mut self, me: &mut Local, run: Entries, fx: &mut Fx) {
        self.unreported.push_back((run.last(), weight(&run)));
        me.append(run, fx);
    }

    /// History, or a proposal that came before UPTODATE.
    pub(crate) fn on_early_entries(&mut self, me: &mut Local, run: Entries, fx: &mut Fx) -> Outcome {
        match self.stage {
            Stage::Syncing if self.snap.is_none() => {
                // Without holes and of no later epoch: a hole here would be handed on when this node leads (ZOOKEEPER-4925).
                if !follows(me.log.last(), run.first()) || run.epoch() > self.epoch || !fits(run.last()) {
                    return Err(self.broke(me, "history with a hole", fx));
                }
                self.append_reported(me, run, fx);
                Ok(())
            }
            Stage::History | Stage::Epoch | Stage::Acked => self.hold(me, run, fx),
            _ => Err(self.broke(me, "entries before the synchronisation", fx)),
        }
    }

    /// R5: what is proposed while this node is still being taken in waits for UPTODATE, so that its ACK cannot overtake
    /// that of NEWLEADER (ZOOKEEPER-4685), and its COMMIT always finds it (ZOOKEEPER-4394).
    fn hold(&mut self, me: &mut Local, run: Entries, fx: &mut Fx) -> Outcome {
        let last = self.held.back().map_or(me.log.last(), Entries::last);
        if !follows(last, run.first()) || run.epoch() > self.epoch || !fits(run.last()) {
            return Err(self.broke(me, "proposals with a hole", fx));
        }
        fx.mark("zab/recovery#hold");
        self.held_bytes += weight(&run);
        if !self.held.is_empty() && self.held_bytes > me.config.queue_max_bytes.saturating_mul(2) {
            return Err(GiveUp("more proposals before UPTODATE than the queue may hold"));
        }
        self.held.push_back(run);
        Ok(())
    }

    /// A commit before UPTODATE: of history it is taken at once, of held proposals it is held as well.
    pub(crate) fn on_early_commit(&mut self, me: &mut Local, zxid: Zxid, fx: &mut Fx) -> Outcome {
        match self.stage {
            Stage::Syncing if self.snap.is_none() && me.log.contains(zxid) => {
                fx.mark("zab/recovery#on_early_commit.history");
                me.commit(zxid, fx);
                Ok(())
            }
            Stage::History | Stage::Epoch | Stage::Acked if !mutant!("Z06") => {
                fx.mark("zab/recovery#on_early_commit.held");
                self.held_commit = self.held_commit.max(zxid);
                Ok(())
            }
            _ => Err(self.broke(me, "COMMIT of an entry that was not proposed", fx)),
        }
    }

    fn on_new_leader(&mut self, me: &mut Local, epoch: u64, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Syncing || self.snap.is_some() || epoch != self.epoch {
            return Err(self.broke(me, "an unexpected NEWLEADER", fx));
        }
        self.enter(Stage::History, fx);
        if mutant!("Z04") {
            me.save(me.epoch_reached(epoch), fx);
            self.ack_new_leader(me, fx);
            return Ok(());
        }
        self.on_disk(me, fx);
        Ok(())
    }

    /// UPTODATE: a quorum has the history. What was held is now like any proposal.
    fn on_up_to_date(&mut self, me: &mut Local, zxid: Zxid, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Acked {
            return Err(self.broke(me, "an unexpected UPTODATE", fx));
        }
        self.enter(Stage::Broadcast, fx);
        if mutant!("Z17") {
            me.save(Hard { current_epoch: self.epoch, ..me.hard }, fx);
        }
        me.settle_vote(self.epoch, fx);
        if self.held_commit > me.log.last() {
            fx.mark("zab/recovery#on_up_to_date.commits_held");
        }
        for run in std::mem::take(&mut self.held) {
            if self.voter {
                me.append(run, fx);
            } else {
                self.append_reported(me, run, fx);
            }
        }
        self.held_bytes = 0;
        let upto = zxid.max(self.held_commit);
        if !me.log.contains(upto) {
            return Err(self.broke(me, "UPTODATE beyond what was sent", fx));
        }
        me.commit(upto, fx);
        self.admit(me, fx)
    }
}

impl Local {
    /// What a learner says of itself to others in election: observers say no vote.
    fn note_following(&mut self, vote: Vote, voter: bool) {
        self.note.state = if voter { NodeState::Following } else { NodeState::Observing };
        self.note.vote = voter.then_some(vote);
    }
}

impl Zab {
    /// An answer to WriteSnapshot of this attempt; None if it belongs to one that is over.
    fn writer(&mut self) -> Option<(&mut Local, &mut Following)> {
        if self.me.stale_writes > 0 {
            mark!("zab/recovery#writer.stale");
            self.me.stale_writes -= 1;
            return None;
        }
        match &mut self.state {
            State::Following(f) => Some((&mut self.me, f)),
            _ => None,
        }
    }

    pub(crate) fn on_snapshot_written(&mut self, snapshot: Zxid, fx: &mut Fx) {
        if let Some((me, f)) = self.writer() {
            f.on_written(me, snapshot, fx);
        }
    }

    /// The snapshot is this node's state now, whether or not it still follows who sent it.
    pub(crate) fn on_snapshot_installed(
        &mut self,
        snapshot: Zxid,
        membership: Option<(LogId, Membership)>,
        fx: &mut Fx,
    ) -> Outcome {
        let me = &mut self.me;
        if me.installing.take() != Some(snapshot) {
            return Ok(());
        }
        // The log starts after the snapshot and says so: nothing before it can be served from here (ZOOKEEPER-2846).
        me.log.reset(snapshot);
        me.members.reset(membership);
        me.note.members = me.members.firm();
        me.durable = snapshot;
        me.snapshot = snapshot;
        me.committed = me.committed.max(snapshot);
        me.applied = me.applied.max(snapshot);
        fx.trace("zab/recovery#on_snapshot_installed", "ZooKeeper SNAP", || TraceBody::Log {
            op: "snap",
            at: snapshot,
            n: 0,
        });
        match &mut self.state {
            State::Looking(_) => {
                fx.mark("zab/recovery#on_snapshot_installed.attempt_over");
                self.elect(fx)
            }
            State::Following(f) => {
                f.on_installed(me, fx);
                Ok(())
            }
            State::Leading(_) => Ok(()),
        }
    }

    pub(crate) fn on_snapshot_refused(&mut self, fx: &mut Fx) -> Outcome {
        if self.me.installing.take().is_some() {
            return match &self.state {
                State::Looking(_) => self.elect(fx),
                _ => Err(GiveUp("the snapshot was damaged")),
            };
        }
        match self.writer() {
            Some((_, f)) => {
                f.writes.pop_front();
                Err(GiveUp("the snapshot was damaged"))
            }
            None => Ok(()),
        }
    }
}
