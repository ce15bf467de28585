//! Append, acknowledge, commit: figure 2's AppendEntries on both sides, when the logs already agree.
//!
//! | rule | where | what breaks without it |
//! | --- | --- | --- |
//! | a follower answers when the entries are durable | section 5.1, figure 2 | a crash takes back what was counted |
//! | the leader counts itself only for what is durable here | 10.2.1 of the thesis | the same, on the leader |
//! | but it sends before its own disk has it | 10.2.1 of the thesis | nothing breaks; each commit would cost two disk writes in a row |
//! | commit by counting only entries of the own term | 5.4.2, figure 8 | a later leader overwrites a committed entry |
//! | commitIndex = min(leaderCommit, last entry verified) | figure 2, AppendEntries 5 | a follower applies its own stale tail |
//! | matchIndex only grows, and only by replies of this term | figure 2 | entries are counted that were cut since |
//! | truncate only at a real conflict | figure 2, AppendEntries 3 | a late request cuts entries that were acknowledged |
//!
//! Entries flow ahead of their acknowledgements within a window per peer, so a slow follower costs the others nothing, and
//! one acknowledgement answers all messages that one fdatasync covered.

use common::codec::Payload;
use common::entries::{Batch, Entries, EntryKind};
use common::mutant;
use common::protocol::{Effect, Effects, Refusal};
use common::quorum::Voters;
use common::trace::TraceBody;
use common::types::{LogId, NodeId};

use crate::core::{Due, Raft, State};
use crate::membership::Progress;
use crate::message::{Answer, Message};
use crate::transfer::Handover;

/// What an uncommitted entry is counted for beside its payload, so that empty payloads are bounded too.
const ENTRY_COST: usize = 32;

impl Raft {
    /// Gives the commands a place in the log, or refuses them.
    pub(crate) fn propose(&mut self, batch: Batch, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &mut self.state else {
            return fx.push(Effect::Refused(Refusal::NotLeader { leader: self.leader() }));
        };
        if let Some(Handover { to, .. }) = self.handover.filter(|_| !mutant!("R60")) {
            return fx.push(Effect::Refused(Refusal::Transferring { to }));
        }
        let cost = batch.bytes() + ENTRY_COST * batch.len();
        // A proposal larger than the limit is taken when nothing else waits; otherwise it could never be.
        if leader.uncommitted_bytes > 0 && leader.uncommitted_bytes + cost > self.config.max_uncommitted_bytes {
            if mutant!("R43") {
                self.take_back(fx);
            }
            fx.mark("raft/broadcast#propose.busy");
            return fx.push(Effect::Refused(Refusal::Busy));
        }
        let first = LogId::new(self.hard.term, self.log.last().counter + 1);
        let Some(run) = Entries::new(first, EntryKind::Command, batch) else {
            return fx.push(Effect::Refused(Refusal::Unsupported("an empty proposal".to_owned())));
        };
        leader.uncommitted.push_back((run.last().counter, cost));
        leader.uncommitted_bytes += cost;
        fx.push(Effect::Accepted { first, last: run.last() });
        self.append_own(&run, fx);
    }

    /// Only for a mutant: a leader that makes room by cutting what it has sent to nobody.
    fn take_back(&mut self, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &self.state else { return };
        let keep = leader.peers.iter().map(|p| p.sent.counter).fold(leader.noop.counter, u64::max);
        if let Some(after) = self.log.at(keep.max(self.committed.counter)) {
            self.log.truncate_after(after);
            self.durable = self.durable.min(after);
            fx.push(Effect::Truncate { after });
        }
    }

    /// Appends to the leader's own log (it never does anything else to it: Leader Append-Only, section 5.3) and sends it on.
    #[inline]
    pub(crate) fn append_own(&mut self, run: &Entries, fx: &mut Effects<Self>) {
        let (prev, say) = (self.log.last(), self.say());
        trace_log(fx, "raft/broadcast#append_own", "Raft fig. 2 Leaders", "append", run.last(), run.len() as u64);
        fx.push(Effect::Append(run.clone()));
        self.adopt(run, fx);
        self.log.append(run.clone());
        if mutant!("R36") {
            self.durable = run.last();
            self.try_commit(fx);
        }
        let State::Leader(leader) = &mut self.state else { return };
        for at in 0..leader.peers.len() {
            let State::Leader(leader) = &mut self.state else { return };
            let peer = &mut leader.peers[at];
            if !peer.may_send(&self.config) {
                if peer.window_full(&self.config) {
                    fx.mark("raft/broadcast#append_own.window_full");
                }
                continue;
            }
            if peer.sent == prev && run.bytes() <= self.config.max_batch_bytes {
                peer.append(say, Some(run.clone()), fx);
            } else {
                self.pump(at, fx);
            }
        }
    }

    /// Speaks to every peer, so that it does not miss its leader. Whom entries go to and acknowledgements come from anyway
    /// needs no more, unless it has not heard of the latest commit.
    pub(crate) fn heartbeat(&mut self, fx: &mut Effects<Self>) {
        fx.trace("raft/broadcast#heartbeat", "Raft 5.2", || TraceBody::Timer { name: "heartbeat" });
        let leases = self.config.lease().is_some();
        if leases {
            // Everyone is asked to go on with its promise.
            self.number_round();
        }
        let say = self.say();
        let State::Leader(leader) = &mut self.state else { return };
        leader.heartbeat_due = self.now.after(self.config.heartbeat());
        for at in 0..leader.peers.len() {
            let State::Leader(leader) = &mut self.state else { return };
            let peer = &mut leader.peers[at];
            if !peer.connected {
                continue;
            }
            if leases || !(peer.spoken && peer.heard) || peer.commit_sent < say.commit {
                peer.append(say, None, fx);
            }
            (peer.spoken, peer.heard) = (false, false);
            self.pump(at, fx);
            self.retry_snapshot(at, fx);
        }
    }

    /// AppendEntries from the leader of this term, which this node follows.
    #[inline]
    pub(crate) fn on_append_entries(
        &mut self,
        from: NodeId,
        prev: LogId,
        commit: u64,
        round: u64,
        entries: Option<Payload>,
        fx: &mut Effects<Self>,
    ) {
        let State::Follower(follower) = &mut self.state else { return };
        follower.round = follower.round.max(round);
        if self.installing.is_some() {
            fx.mark("raft/broadcast#on_append_entries.installing");
            // The log is about to be replaced. `acknowledge` says so, and the leader asks again.
            follower.reply = Some(Due::Match);
            return self.acknowledge(fx);
        }
        let run = match entries {
            None => None,
            Some(Payload::Entries(run)) => Some(run),
            Some(Payload::Shape(_)) => return disconnect(from, "entries without their bytes", fx),
        };
        let fits = |run: &Entries| {
            run.first().counter.checked_sub(1) == Some(prev.counter)
                && (prev.epoch..=self.hard.term).contains(&run.epoch())
        };
        if !run.as_ref().is_none_or(fits) {
            return disconnect(from, "entries that do not follow prevLogIndex", fx);
        }
        if !(self.has(prev) || mutant!("R35") && run.is_none()) {
            return self.refuse(from, prev, fx);
        }
        let mut last = prev;
        let heartbeat = run.is_none();
        if let Some(run) = run {
            last = run.last();
            if let Err(reason) = self.merge(prev, run, fx) {
                return disconnect(from, reason, fx);
            }
        }
        let State::Follower(follower) = &mut self.state else { return };
        if last.counter > follower.verified.counter {
            follower.verified = last;
        }
        // Entries that are already durable get their answer now: no fdatasync will come for them.
        let answer_now = heartbeat || self.durable >= follower.verified;
        follower.reply = if answer_now { Some(Due::Match) } else { follower.reply.filter(|due| due.is_match()) };
        let verified = if mutant!("R08") { self.log.last() } else { follower.verified };
        if commit > verified.counter {
            fx.mark("raft/broadcast#on_append_entries.commit_beyond_verified");
        }
        let commit = commit.min(verified.counter);
        if (commit > self.committed.counter || mutant!("R10") && commit != self.committed.counter)
            && let Some(id) = self.log.at(commit)
        {
            self.commit(id, fx);
        }
        if answer_now {
            self.acknowledge(fx);
        }
    }

    /// Adds what the log lacks of `run`, which follows `prev`, an entry of the log. Removes entries only if one of the run's
    /// has another term at the same index (figure 2, AppendEntries 3 and 4).
    #[inline]
    fn merge(&mut self, prev: LogId, run: Entries, fx: &mut Effects<Self>) -> Result<(), &'static str> {
        let new = if prev == self.log.last() {
            run
        } else {
            let base = self.log.base();
            // What the snapshot covers is committed, so it is the same.
            let Some(run) = run.after(LogId::new(run.epoch(), base.counter)) else {
                fx.mark("raft/broadcast#merge.below_base");
                return Ok(());
            };
            let keep = match self.log.span_of(run.epoch()) {
                // Entries of one term are consecutive, and one that matches vouches for all before it (Log Matching).
                Some(span) if self.log.contains(run.first()) && !mutant!("R05") => span.last.min(run.last().counter),
                _ => run.first().counter - 1,
            };
            let Some(new) = run.after(LogId::new(run.epoch(), keep)) else {
                fx.mark("raft/broadcast#merge.all_known");
                return Ok(());
            };
            if new.len() < run.len() {
                fx.mark("raft/broadcast#merge.partly_known");
            }
            if self.log.last().counter > keep {
                self.truncate(keep, fx)?;
            }
            new
        };
        if new.first() <= self.log.last() {
            return Err("terms go back in the entries");
        }
        trace_log(fx, "raft/broadcast#merge", "Raft fig. 2 AppendEntries 4", "append", new.last(), new.len() as u64);
        if mutant!("R09") {
            self.durable = new.last();
        }
        fx.push(Effect::Append(new.clone()));
        self.adopt(&new, fx);
        self.log.append(new);
        Ok(())
    }

    /// Whether the log has `prev`, or had it before a snapshot took its place (figure 2, AppendEntries 2).
    fn has(&self, prev: LogId) -> bool {
        let base = self.log.base();
        if mutant!("R34") {
            return prev.counter <= self.log.last().counter;
        }
        if mutant!("R15") && prev == base && base > LogId::ZERO {
            return false;
        }
        prev == self.log.last() || prev.counter < base.counter || self.log.at(prev.counter) == Some(prev)
    }

    /// Answers the leader, if an answer is due and nothing forbids it: the term must be durable, and of the entries only
    /// those count which are. One answer covers every request so far.
    pub(crate) fn acknowledge(&mut self, fx: &mut Effects<Self>) {
        let busy = self.installing.is_some();
        let State::Follower(follower) = &mut self.state else { return };
        let Some(leader) = follower.leader.filter(|_| self.unsaved == 0 || mutant!("R31")) else { return };
        let piece = follower.piece.take();
        if let Some((snapshot, end)) = piece {
            fx.send(leader, Message::InstallSnapshotReply { term: self.hard.term, snapshot, end });
        }
        let matched = if mutant!("R37") { self.durable } else { self.durable.min(follower.verified) };
        let due = follower.reply.take();
        let answer = match due {
            None if busy || piece.is_some() || matched <= follower.acked => return,
            Some(_) if busy => {
                fx.mark("raft/broadcast#acknowledge.busy");
                Answer::Busy
            }
            Some(Due::Conflict(refused)) => self.conflict_hint(refused),
            Some(Due::Match) | None => {
                follower.acked = matched;
                Answer::Matched(matched)
            }
        };
        let State::Follower(follower) = &self.state else { return };
        fx.send(leader, Message::AppendEntriesReply { term: self.hard.term, round: follower.round, answer });
    }

    pub(crate) fn on_append_entries_reply(
        &mut self,
        from: NodeId,
        term: u64,
        round: u64,
        answer: Answer,
        fx: &mut Effects<Self>,
    ) {
        if term > self.hard.term {
            fx.mark("raft/broadcast#on_append_entries_reply.newer_term");
            return self.become_follower(term, None, fx);
        }
        let State::Leader(leader) = &mut self.state else {
            return fx.mark("raft/broadcast#on_append_entries_reply.leads_no_more");
        };
        let Some(at) = leader.position(from).filter(|_| term == self.hard.term) else { return };
        let peer = &mut leader.peers[at];
        if round > self.reads.round() {
            return disconnect(from, "answers a round that was not begun", fx);
        }
        let active = !mutant!("R45") || peer.active || matches!(answer, Answer::Matched(id) if id > peer.matched);
        (peer.active, peer.heard, peer.round) = (active, true, peer.round.max(round));
        match answer {
            Answer::Matched(id) => self.matched(at, id, fx),
            Answer::Conflict { refused, last, at: hint, first } => self.conflict(at, refused, last, hint, first, fx),
            Answer::Busy => {
                if let Progress::Snapshot(transfer) = &mut peer.progress {
                    transfer.quiet = 0;
                    transfer.stalled = !transfer.complete();
                }
            }
        }
        self.release_reads(fx);
    }

    /// A peer's log is durable and the same as ours up to `id`.
    fn matched(&mut self, at: usize, id: LogId, fx: &mut Effects<Self>) {
        let (last, base) = (self.log.last(), self.log.base());
        let State::Leader(leader) = &mut self.state else { return };
        let peer = &mut leader.peers[at];
        let from = peer.id;
        let id = if mutant!("R06") { peer.sent } else { id };
        let grown = id > peer.matched;
        if grown {
            if id > last || id >= base && !self.log.contains(id) {
                return disconnect(peer.id, "acknowledges an entry that its leader does not have", fx);
            }
            peer.acknowledged(id, self.now);
        }
        match &peer.progress {
            Progress::Probe => {
                if id < last && !peer.syncing() {
                    peer.begin_sync("append", id, last, self.now);
                }
                peer.replicate(id);
            }
            // It is level with the log again: installed, or it had more than it seemed.
            Progress::Snapshot(_) if peer.matched >= base => {
                fx.mark("raft/broadcast#matched.snapshot_done");
                peer.replicate(peer.matched);
            }
            // It has what was sent, but the log was cut again meanwhile.
            Progress::Snapshot(transfer) if transfer.snapshot.is_some_and(|s| s <= peer.matched) => {
                fx.mark("raft/broadcast#matched.snapshot_too_old");
                self.begin_snapshot(at, id, fx);
            }
            Progress::Replicate | Progress::Snapshot(_) => {}
        }
        if grown {
            // What is committed already cannot commit more.
            if id.counter > self.committed.counter {
                self.try_commit(fx);
            }
            self.tell_heir(fx);
        }
        // What was committed may have changed who the peers are, or ended this office.
        if let State::Leader(leader) = &self.state
            && let Some(at) = leader.position(from)
            && leader.peers[at].sent < self.log.last()
        {
            self.pump(at, fx);
        }
    }

    /// The log is durable here up to `upto`.
    pub(crate) fn durable(&mut self, upto: LogId, fx: &mut Effects<Self>) {
        if upto <= self.durable || !self.log.contains(upto) {
            return;
        }
        self.durable = upto;
        match &self.state {
            State::Leader(_) => {
                self.try_commit(fx);
                self.release_reads(fx);
            }
            State::Follower(_) => self.acknowledge(fx),
            _ => {}
        }
    }

    /// "If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N, and log[N].term == currentTerm: set
    /// commitIndex = N" (figure 2). The terms of older entries make no difference: they commit with the first own one.
    #[inline]
    fn try_commit(&mut self, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &self.state else { return };
        let (me, durable) = (self.id, self.durable.counter);
        let has = |id| if id == me { durable } else { leader.find(id).map_or(0, |peer| peer.matched.counter) };
        let mut n = self.members.reached(has);
        if mutant!("R18") {
            let mut all: Vec<u64> = leader.peers.iter().map(|p| p.matched.counter).chain([durable]).collect();
            all.sort_unstable();
            n = all[all.len() - self.members.new_voters().quorum()];
        } else if mutant!("R66") {
            n = self.members.new_voters().reached(has);
        } else if mutant!("R70") && !self.members.votes(me) {
            let all = Voters::new(self.members.new_voters().ids().iter().copied().chain([me]));
            n = all.reached(has);
        }
        if mutant!("R25") && self.log.at(self.committed.counter + 1).is_some_and(|id| id.epoch < leader.noop.epoch) {
            return;
        }
        if n > self.committed.counter && n < leader.noop.counter {
            fx.mark("raft/broadcast#try_commit.earlier_term_waits");
        }
        if n > self.committed.counter && durable < n {
            fx.mark("raft/broadcast#try_commit.before_the_leaders_disk");
        }
        if n > self.committed.counter
            && (n >= leader.noop.counter || mutant!("R03"))
            && let Some(id) = self.log.at(n)
        {
            self.commit(id, fx);
        }
    }

    fn commit(&mut self, id: LogId, fx: &mut Effects<Self>) {
        trace_log(
            fx,
            "raft/broadcast#commit",
            "Raft 5.3, 5.4.2",
            "commit",
            id,
            id.counter.saturating_sub(self.committed.counter),
        );
        self.committed = id;
        fx.push(Effect::Commit { upto: id });
        if let State::Leader(leader) = &mut self.state {
            while let Some((last, cost)) = leader.uncommitted.front().copied()
                && last <= id.counter
            {
                leader.uncommitted.pop_front();
                leader.uncommitted_bytes -= if mutant!("R30") { 0 } else { cost };
            }
        }
        self.members.committed(id);
        self.members_committed(fx);
    }
}

pub(crate) fn disconnect(peer: NodeId, reason: &'static str, fx: &mut Effects<Raft>) {
    fx.push(Effect::Disconnect { peer, reason });
}

#[inline]
pub(crate) fn trace_log(
    fx: &mut Effects<Raft>,
    anchor: &'static str,
    paper: &'static str,
    op: &'static str,
    at: LogId,
    n: u64,
) {
    fx.trace(anchor, paper, || TraceBody::Log { op, at, n });
}

#[cfg(test)]
mod tests;
