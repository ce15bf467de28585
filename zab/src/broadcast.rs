//! Phase 3: broadcast. A two-phase commit without aborts: PROPOSAL, ACK, COMMIT, all in zxid order.
//!
//! The established leader gives each batch the next zxids, appends it, and sends it to every follower that was sent
//! NEWLEADER, whether or not it has acknowledged that yet: otherwise such a follower would miss what is proposed in
//! between. A follower appends and acknowledges after its fsync; when a quorum (the leader's own disk is one of it) has
//! acknowledged, the leader commits and says so at once with COMMIT, which Raft leaves to its next AppendEntries.
//!
//! Everything is cumulative: one ACK answers all that one fsync covered, one COMMIT covers all that became committed in
//! one event. Nothing waits to be batched: a lone proposal takes one round trip and one fsync.
//!
//! Because sessions are FIFO without gaps, a follower's log is a prefix of the leader's at every moment, and an ACK of a
//! zxid means everything before it. When a follower cannot keep up, its session ends and it synchronises anew; dropping
//! anything from the middle of its stream would break exactly this.

use common::entries::{Batch, Entries, EntryKind};
use common::mutant;
use common::protocol::{Effect, Refusal};
use common::status::PeerStatus;
use common::trace::TraceBody;
use common::types::{Member, Micros, NodeId};

use crate::core::{Fx, GiveUp, Local, Outcome};
use crate::message::{Message, Zxid, fits, follows, weight};
use crate::recovery::follower::{Following, Stage};
use crate::recovery::leader::{Leading, Learner, Progress};

/// The zxid of the first of `n` proposals after `last` in `epoch`, or None when the epoch's counters do not suffice.
/// Counting on would make the next id one of the next epoch (ZOOKEEPER-1277).
pub(crate) fn next_zxid(last: Zxid, epoch: u64, n: usize, counter_max: u32) -> Option<Zxid> {
    let one = if mutant!("Z36") { 2 } else { 1 };
    let first = if last.epoch == epoch { last.plus(1) } else { Zxid::new(epoch, one) };
    let room = first.counter - 1 + n as u64 <= u64::from(counter_max);
    (room || mutant!("Z14")).then_some(first)
}

impl Learner {
    #[inline]
    pub(crate) fn send_proposal(&mut self, id: NodeId, run: &Entries, fx: &mut Fx) {
        let weight = weight(run);
        self.sent = run.last();
        self.in_flight.push_back((run.last(), weight));
        self.in_flight_bytes += weight;
        self.newest_weight = weight;
        fx.send(id, Message::Proposal { attempt: self.info.attempt, entries: run.clone().into() });
    }

    /// Whether the live stream goes to it.
    pub(crate) fn live(&self) -> bool {
        self.progress >= Progress::NewLeader
    }
}

impl Leading {
    pub(crate) fn propose(&mut self, me: &mut Local, batch: Batch, fx: &mut Fx) -> Outcome {
        if !self.established() || batch.is_empty() {
            let leader = self.established().then_some(me.id);
            fx.push(Effect::Refused(if batch.is_empty() {
                Refusal::Unsupported("a proposal of no commands".into())
            } else {
                Refusal::NotLeader { leader }
            }));
            return Ok(());
        }
        if let Some(to) = me.handing_over() {
            fx.push(Effect::Refused(Refusal::Transferring { to }));
            return Ok(());
        }
        let Some(first) = next_zxid(me.log.last(), self.epoch, batch.len(), me.config.counter_max) else {
            fx.mark("zab/broadcast#propose.counters_used_up");
            fx.push(Effect::Refused(Refusal::NotLeader { leader: None }));
            return Err(GiveUp("the epoch's counters are used up"));
        };
        let Some(run) = Entries::new(first, EntryKind::Command, batch) else { return Ok(()) };
        let weight = weight(&run);
        // A quorum of followers may be faster than this leader's own disk, which has a queue like theirs.
        let uncommitted = self.uncommitted > 0 && self.uncommitted + weight > me.config.uncommitted_max_bytes;
        let unsynced = self.unsynced_bytes > 0 && self.unsynced_bytes + weight > me.config.queue_max_bytes;
        if uncommitted || unsynced {
            fx.mark("zab/broadcast#propose.busy");
            fx.push(Effect::Refused(Refusal::Busy));
            return Ok(());
        }
        fx.push(Effect::Accepted { first, last: run.last() });
        self.broadcast(me, run, fx)
    }

    /// Appends a run to the log, and sends it to every follower.
    #[inline]
    pub(crate) fn broadcast(&mut self, me: &mut Local, run: Entries, fx: &mut Fx) -> Outcome {
        let weight = weight(&run);
        self.outstanding.push_back((run.last(), weight));
        self.uncommitted += weight;
        self.unsynced.push_back((run.last(), weight));
        self.unsynced_bytes += weight;
        let mut overflow = false;
        for (id, l) in self.learners.iter_mut() {
            // To everyone who was sent NEWLEADER, not only to those who acknowledged it (Zab's note 1).
            if mutant!("Z01") && l.progress != Progress::Synced {
                continue;
            }
            if l.member == Member::Voter && l.live() {
                if l.progress == Progress::NewLeader {
                    fx.mark("zab/broadcast#propose.before_its_ack");
                }
                l.send_proposal(id, &run, fx);
                overflow |= l.queue_full(me.config.queue_max_bytes);
            }
        }
        // R8: the proposal may leave before this leader's own disk has it; its own acknowledgement waits for that.
        me.append(run, fx);
        if overflow { self.shed(me, fx) } else { Ok(()) }
    }

    /// Ends the sessions of learners whose queues are full.
    pub(crate) fn shed(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        if mutant!("Z34") {
            return Ok(());
        }
        let max = me.config.queue_max_bytes;
        let full = self.learners.iter().filter(|(_, l)| l.queue_full(max));
        let full: Vec<NodeId> = full.map(|(id, _)| id).collect();
        for id in full {
            fx.mark("zab/broadcast#shed.queue_full");
            self.drop_learner(me, id);
            me.disconnect(id, "its queue is full; it must synchronise anew", fx);
        }
        self.check_quorum(me)
    }

    /// ACK, of NEWLEADER or of proposals.
    #[inline]
    pub(crate) fn on_ack(&mut self, me: &mut Local, from: NodeId, zxid: Zxid, fx: &mut Fx) -> Outcome {
        let epoch = self.epoch;
        let Some(l) = self.learners.get_mut(from) else { return Ok(()) };
        if l.progress == Progress::NewLeader && zxid == Zxid::new(epoch, 0) {
            return self.on_new_leader_ack(me, from, fx);
        }
        // R4, R7: the first ACK is that of NEWLEADER (ZOOKEEPER-4685), and later ones are of what was sent, in order.
        // (One that lags may acknowledge what this log has since left to a snapshot.)
        let known = me.log.contains(zxid) || zxid < me.log.base();
        let in_order = l.member == Member::Voter && zxid > l.acked && zxid <= l.sent && known;
        if l.progress != Progress::Synced || !in_order {
            return self.broke(me, from, "an ACK of what was not sent, or out of order", fx);
        }
        l.acked = zxid;
        while let Some((last, weight)) = l.in_flight.front()
            && *last <= zxid
        {
            l.in_flight_bytes -= weight;
            l.in_flight.pop_front();
        }
        if zxid > me.committed {
            self.try_commit(me, fx)?;
        }
        self.tell_heir(me, fx)
    }

    /// Commits what a quorum has. R9: in order, because acknowledgements are cumulative; R8: this leader counts what its
    /// own disk has. Entries of earlier epochs need no rule of their own as in Raft: all of them were committed with
    /// NEWLEADER.
    pub(crate) fn try_commit(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        let (id, durable) = (me.id, if mutant!("Z32") { me.log.last() } else { me.durable });
        let reached = me
            .members
            .reached(|v| if v == id { durable } else { self.learners.get(v).map_or(Zxid::ZERO, |l| l.acked) });
        if !self.established() || reached <= me.committed || self.relays.is_some() {
            return Ok(());
        }
        if durable < reached {
            fx.mark("zab/broadcast#try_commit.before_the_leaders_disk");
        }
        let before = me.committed;
        me.commit(reached, fx);
        while let Some((last, weight)) = self.outstanding.front()
            && *last <= reached
        {
            self.uncommitted -= weight - u64::from(mutant!("Z40"));
            self.outstanding.pop_front();
        }
        let mut observers = false;
        for (id, l) in self.learners.iter() {
            if l.live() && l.member == Member::Voter {
                // Never beyond what this learner was sent: its stream is the log itself.
                fx.send(id, Message::Commit { attempt: l.info.attempt, zxid: reached.min(l.sent) });
            }
            observers |= l.member == Member::Observer;
        }
        if observers && self.inform(me, before, fx) {
            self.shed(me, fx)?;
        }
        self.members_committed(me, fx)
    }

    /// Each ping interval: PING, and a look at who is silent.
    pub(crate) fn on_tick(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        if me.now < self.next_ping {
            return Ok(());
        }
        fx.trace("zab/broadcast#ping", "ZooKeeper Leader.lead", || TraceBody::Timer { name: "ping" });
        self.next_ping = me.now.after(me.config.ping_interval());
        if self.overdue(me) {
            fx.mark("zab/broadcast#on_tick.overdue");
            return Err(GiveUp("the quorum did not come in time"));
        }
        let silent = |l: &Learner| {
            let limit = if l.progress == Progress::Synced { me.config.sync_limit() } else { me.config.init_limit() };
            me.now.since(l.heard_at) >= limit
        };
        let silent: Vec<NodeId> = self.learners.iter().filter(|(_, l)| silent(l)).map(|(id, _)| id).collect();
        for id in silent {
            fx.mark("zab/broadcast#on_tick.silent");
            self.drop_learner(me, id);
            me.disconnect(id, "silent for longer than the limit", fx);
        }
        // Without a quorum that listens it must not go on (ZooKeeper checks it each tick).
        self.check_quorum(me)?;
        self.ping(me.now, fx);
        Ok(())
    }

    pub(crate) fn ping(&mut self, now: Micros, fx: &mut Fx) {
        self.ping_round += 1;
        let (round, round_trip_us) = (self.ping_round, self.round_trip().map_or(0, |rt| rt.0));
        for (id, l) in self.learners.iter_mut() {
            l.probe.get_or_insert((round, now));
            fx.send(id, Message::Ping { attempt: l.info.attempt, round, round_trip_us });
        }
    }

    /// To the voter that is farthest away.
    pub(crate) fn round_trip(&self) -> Option<Micros> {
        self.learners.values().filter(|l| l.member == Member::Voter).filter_map(|l| l.round_trip).max()
    }

    /// What an operator sees of each voter and each connected observer.
    pub(crate) fn peers(&self, me: &Local) -> Vec<PeerStatus> {
        if self.relays.is_some() {
            return self.learners.ids().map(|id| self.peer(me, id)).collect();
        }
        let observers = self.learners.ids().filter(|id| !me.members.votes(*id));
        me.members.others(me.id).chain(observers).map(|id| self.peer(me, id)).collect()
    }

    fn peer(&self, me: &Local, id: NodeId) -> PeerStatus {
        let member = me.members.member(id);
        let Some(l) = self.learners.get(id) else {
            return PeerStatus {
                id,
                member,
                connected: me.connected(id),
                state: "election".into(),
                has: Zxid::ZERO,
                sent: Zxid::ZERO,
                paused: None,
                sync: None,
            };
        };
        let state = match l.progress {
            Progress::Info | Progress::Promising | Progress::Promised => "discovery",
            Progress::Syncing | Progress::NewLeader => "synchronisation",
            Progress::Synced => "broadcast",
        };
        let paused = match l.progress {
            Progress::Info => Some("waiting for a quorum of FOLLOWERINFO"),
            Progress::Promising => Some("waiting for ACKEPOCH"),
            Progress::Promised => Some("waiting for a quorum of ACKEPOCH"),
            Progress::Syncing if l.unreceived() >= me.config.sync_window_bytes => Some("window full"),
            Progress::Syncing if me.fetching.contains(&id) || me.reading.contains(&id) => Some("waiting for disk"),
            Progress::NewLeader => Some("waiting for ACK of NEWLEADER"),
            Progress::Syncing | Progress::Synced => None,
        };
        PeerStatus {
            id,
            member,
            connected: true,
            state: state.into(),
            has: if member == Member::Voter { l.acked.max(l.info.last_zxid.min(l.sent)) } else { l.sent },
            sent: l.sent,
            paused: paused.map(Into::into),
            sync: l.sync.clone(),
        }
    }
}

impl Following {
    #[inline]
    pub(crate) fn on_proposal(&mut self, me: &mut Local, run: Entries, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Broadcast {
            return self.on_early_entries(me, run, fx);
        }
        if !(follows(me.log.last(), run.first()) && run.epoch() == self.epoch && fits(run.last())) {
            return Err(self.broke(me, "a PROPOSAL that does not follow the log", fx));
        }
        if !self.voter {
            self.promoted(me, fx);
        }
        me.append(run, fx);
        if mutant!("Z31") {
            self.acked = me.log.last();
            fx.send(self.leader, Message::Ack { attempt: self.attempt, zxid: self.acked });
        }
        Ok(())
    }

    /// R7: one cumulative ACK for everything one fsync covered, never before it.
    #[inline]
    pub(crate) fn on_durable(&mut self, me: &mut Local, fx: &mut Fx) {
        if !self.voter {
            self.report(me, 0, fx);
        } else if me.durable > self.acked {
            self.acked = me.durable;
            fx.send(self.leader, Message::Ack { attempt: self.attempt, zxid: me.durable });
        }
    }

    /// COMMIT: cumulative. It may come before this node's own fsync.
    #[inline]
    pub(crate) fn on_commit(&mut self, me: &mut Local, zxid: Zxid, fx: &mut Fx) -> Outcome {
        if self.stage != Stage::Broadcast {
            return self.on_early_commit(me, zxid, fx);
        }
        if zxid > me.committed {
            if !me.log.contains(zxid) {
                return Err(self.broke(me, "COMMIT of an entry that was not proposed", fx));
            }
            if zxid > me.durable {
                fx.mark("zab/broadcast#on_commit.before_its_own_disk");
            }
            let before = me.committed;
            me.commit(zxid, fx);
            self.pass_on(me, before, fx)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_run_into_the_epoch() {
        let z = Zxid::new;
        let max = u32::MAX;
        assert_eq!(next_zxid(z(0, 0), 1, 1, max), Some(z(1, 1)));
        assert_eq!(next_zxid(z(3, 7), 3, 2, max), Some(z(3, 8)));
        assert_eq!(next_zxid(z(3, 7), 5, 2, max), Some(z(5, 1)));
        let top = u64::from(max);
        assert_eq!(next_zxid(z(3, top - 1), 3, 1, max), Some(z(3, top)));
        assert_eq!(next_zxid(z(3, top - 1), 3, 2, max), None);
        assert_eq!(next_zxid(z(3, top), 3, 1, max), None);
        assert_eq!(next_zxid(z(3, top), 4, 1, max), Some(z(4, 1)));
        assert_eq!(next_zxid(z(3, 9), 3, 2, 10), None);
        assert_eq!(next_zxid(z(3, 9), 4, 10, 10), Some(z(4, 1)));
    }
}
