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
use common::trace::TraceBody;
use common::types::{LogId, NodeId};

use crate::core::{Due, Raft, State};
use crate::membership::Progress;
use crate::message::{Answer, Message};

/// What an uncommitted entry is counted for beside its payload, so that empty payloads are bounded too.
const ENTRY_COST: usize = 32;

impl Raft {
    /// Gives the commands a place in the log, or refuses them.
    pub(crate) fn propose(&mut self, batch: Batch, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &mut self.state else {
            return fx.push(Effect::Refused(Refusal::NotLeader { leader: self.leader() }));
        };
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
    pub(crate) fn append_own(&mut self, run: &Entries, fx: &mut Effects<Self>) {
        let (prev, say) = (self.log.last(), self.say());
        trace_log(fx, "raft/broadcast#append_own", "Raft fig. 2 Leaders", "append", run.last(), run.len() as u64);
        self.log.append(run.clone());
        fx.push(Effect::Append(run.clone()));
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
        let say = self.say();
        let State::Leader(leader) = &mut self.state else { return };
        leader.heartbeat_due = self.now.after(self.config.heartbeat());
        for at in 0..leader.peers.len() {
            let State::Leader(leader) = &mut self.state else { return };
            let peer = &mut leader.peers[at];
            if !peer.connected {
                continue;
            }
            if !(peer.spoken && peer.heard) || peer.commit_sent < say.commit {
                peer.append(say, None, fx);
            }
            (peer.spoken, peer.heard) = (false, false);
            self.pump(at, fx);
            self.retry_snapshot(at, fx);
        }
    }

    /// AppendEntries from the leader of this term, which this node follows.
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
            Some(Payload::Shape { .. }) => return disconnect(from, "entries without their bytes", fx),
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
        self.log.append(new.clone());
        if mutant!("R09") {
            self.durable = new.last();
        }
        fx.push(Effect::Append(new));
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
        prev.counter < base.counter || self.log.at(prev.counter) == Some(prev)
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
            self.try_commit(fx);
        }
        self.pump(at, fx);
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
    fn try_commit(&mut self, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &self.state else { return };
        let (me, durable) = (self.id, self.durable.counter);
        let mut n = self
            .voters
            .reached(|id| if id == me { durable } else { leader.find(id).map_or(0, |peer| peer.matched.counter) });
        if mutant!("R18") {
            let mut all: Vec<u64> = leader.peers.iter().map(|p| p.matched.counter).chain([durable]).collect();
            all.sort_unstable();
            n = all[all.len() - self.voters.quorum()];
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
    }
}

pub(crate) fn disconnect(peer: NodeId, reason: &'static str, fx: &mut Effects<Raft>) {
    fx.push(Effect::Disconnect { peer, reason });
}

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
mod tests {
    use common::protocol::Input;

    use super::*;
    use crate::config::Config;
    use crate::testing::{A, B, C, Lab, id, log_of, run};

    /// A follower of B in term 2 with a log of these terms.
    fn follower(terms: &[u64]) -> Lab {
        let mut lab = Lab::new(terms).connected();
        lab.append(B, 2, LogId::ZERO, 0, None);
        lab.step(Input::HardSaved);
        lab
    }

    /// A leader of term 2 to whose log B and C have answered.
    fn leader() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.matched(C, id(2, 2));
        lab
    }

    #[test]
    fn late_short_and_repeated_requests_cut_nothing() {
        let mut lab = follower(&[1, 2, 2, 2]);
        assert_eq!(
            lab.append(B, 2, id(1, 1), 0, Some(run(2, 2, 1))),
            ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]
        );
        assert_eq!(
            lab.append(B, 2, LogId::ZERO, 0, Some(run(1, 1, 1))),
            ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]
        );
        assert_eq!(lab.append(B, 2, id(2, 2), 0, None), ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]);
        // Partly new: only what is new is appended.
        assert_eq!(lab.append(B, 2, id(2, 2), 0, Some(run(2, 3, 4))), ["append (2,5)..(2,6)"]);
        assert_eq!(lab.raft.log.last(), id(2, 6));
    }

    #[test]
    fn a_real_conflict_cuts_from_there() {
        let mut lab = follower(&[1, 1, 1, 1]);
        assert_eq!(lab.append(B, 2, id(1, 2), 0, Some(run(2, 3, 1))), ["truncate after (1,2)", "append (2,3)..(2,3)"]);
        assert_eq!(lab.raft.durable, id(1, 2));
        assert_eq!(
            lab.step(Input::Durable { upto: id(2, 3) }),
            ["n2: AppendEntriesReply(term 2, round 0, matched (2,3))"]
        );
    }

    #[test]
    fn an_answer_waits_for_the_disk_and_covers_all_it_took() {
        let mut lab = follower(&[1]);
        assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(2, 2, 1))), ["append (2,2)..(2,2)"]);
        assert_eq!(lab.append(B, 2, id(2, 2), 0, Some(run(2, 3, 2))), ["append (2,3)..(2,4)"]);
        // A heartbeat is answered at once, with what is durable.
        assert_eq!(lab.append(B, 2, id(2, 4), 0, None), ["n2: AppendEntriesReply(term 2, round 0, matched (1,1))"]);
        assert_eq!(
            lab.step(Input::Durable { upto: id(2, 4) }),
            ["n2: AppendEntriesReply(term 2, round 0, matched (2,4))"]
        );
        assert!(lab.step(Input::Durable { upto: id(2, 4) }).is_empty());
    }

    #[test]
    fn an_answer_waits_for_the_term_too() {
        let mut lab = Lab::new(&[1]).connected();
        assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(2, 2, 1))), ["save term 2, no vote", "append (2,2)..(2,2)"]);
        assert!(lab.step(Input::Durable { upto: id(2, 2) }).is_empty());
        assert_eq!(lab.step(Input::HardSaved), ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]);
    }

    /// Figure 2, AppendEntries 5: what lies beyond the request may be a stale tail.
    #[test]
    fn commit_stops_at_what_was_verified() {
        let mut lab = follower(&[1, 1, 1, 1]);
        assert_eq!(
            lab.append(B, 2, id(1, 2), 4, None),
            ["commit (1,2)", "n2: AppendEntriesReply(term 2, round 0, matched (1,2))"]
        );
        assert_eq!(lab.append(B, 2, id(1, 2), 1, None), ["n2: AppendEntriesReply(term 2, round 0, matched (1,2))"]);
        assert_eq!(lab.raft.committed, id(1, 2));
    }

    #[test]
    fn what_is_committed_is_never_cut() {
        let mut lab = follower(&[1, 1, 1]);
        lab.append(B, 2, id(1, 2), 2, None);
        let said = lab.append(B, 2, LogId::ZERO, 0, Some(run(2, 1, 1)));
        assert_eq!(said, ["disconnect n2: its log contradicts what is committed here"]);
        let said = lab.append(B, 2, id(2, 2), 0, None);
        assert_eq!(said, ["disconnect n2: its log contradicts what is committed here"]);
        assert_eq!(lab.raft.log.last(), id(1, 3));
    }

    #[test]
    fn requests_that_make_no_sense_end_the_session() {
        let mut lab = follower(&[1]);
        let gap = "disconnect n2: entries that do not follow prevLogIndex";
        assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(2, 3, 1))), [gap]);
        assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(3, 2, 1))), [gap], "a term after the leader's");
        let shape = Payload::Shape { first: id(2, 2), kind: EntryKind::Command, lengths: vec![1] };
        let message = Message::AppendEntries { term: 2, prev: id(1, 1), commit: 0, round: 0, entries: Some(shape) };
        assert_eq!(lab.hear(B, message), ["disconnect n2: entries without their bytes"]);
        let far = Message::RequestVote { term: u64::MAX, last: id(1, 1) };
        assert_eq!(lab.hear(B, far), ["disconnect n2: a term that no cluster reaches"]);
    }

    /// Figure 8 in one node: an old entry on a majority is not committed until one of the own term is.
    #[test]
    fn only_an_entry_of_the_own_term_commits() {
        let mut lab = Lab::new(&[1, 1]).connected();
        lab.lead();
        let sent = lab.matched(B, id(1, 2));
        assert_eq!(sent, ["n2: AppendEntries(term 2, prev (1,2), commit 0, round 0, entries (2,3)..(2,3))"]);
        assert_eq!(lab.raft.committed, LogId::ZERO);
        assert!(lab.matched(B, id(2, 3)).is_empty(), "the leader's own disk has not written it");
        assert_eq!(lab.durable(), ["commit (2,3)"]);
    }

    #[test]
    fn a_majority_without_the_leaders_disk_commits() {
        let mut lab = leader();
        lab.propose(&["x"]);
        assert!(lab.matched(B, id(2, 3)).is_empty());
        assert_eq!(lab.matched(C, id(2, 3)), ["commit (2,3)"]);
    }

    #[test]
    fn match_never_goes_back_and_old_answers_count_for_nothing() {
        let mut lab = leader();
        lab.propose(&["x"]);
        lab.matched(B, id(2, 3));
        lab.matched(B, id(1, 1));
        let old = Message::AppendEntriesReply { term: 1, round: 0, answer: Answer::Matched(id(2, 3)) };
        assert!(lab.hear(C, old).is_empty());
        let State::Leader(l) = &lab.raft.state else { panic!() };
        let has: Vec<LogId> = l.peers.iter().map(|p| p.matched).collect();
        assert_eq!(has, [id(2, 3), id(2, 2)]);
        let said = lab.matched(C, id(2, 9));
        assert_eq!(said, ["disconnect n3: acknowledges an entry that its leader does not have"]);
    }

    #[test]
    fn a_full_window_holds_up_one_peer_only() {
        let config = Config { max_inflight_messages: 2, ..Config::default() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.matched(C, id(2, 2));
        lab.propose(&["a"]);
        lab.propose(&["b"]);
        lab.matched(C, id(2, 4));
        let said = lab.propose(&["c"]);
        assert_eq!(said.iter().filter(|l| l.starts_with("n2")).count(), 0, "{said:?}");
        assert_eq!(said.iter().filter(|l| l.starts_with("n3")).count(), 1, "{said:?}");
        lab.propose(&["d"]);
        // When it opens, what waited goes out as one message.
        let said = lab.matched(B, id(2, 4));
        assert_eq!(
            said,
            ["commit (2,4)", "n2: AppendEntries(term 2, prev (2,4), commit 4, round 0, entries (2,5)..(2,6))"]
        );
    }

    #[test]
    fn proposals_are_bounded_in_bytes_and_refused_elsewhere() {
        let config = Config { max_uncommitted_bytes: 100, max_batch_bytes: 50, ..Config::default() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
        assert_eq!(lab.propose(&["x"]), ["refused: this node does not lead"]);
        lab.lead();
        assert!(lab.propose(&["a", "b"])[0].starts_with("accepted"));
        assert_eq!(lab.propose(&["c", "d"]), ["refused: too many uncommitted bytes, try again"]);
        lab.durable();
        lab.matched(B, id(2, 4));
        assert!(lab.propose(&["c", "d"])[0].starts_with("accepted"), "the first were committed");
        assert_eq!(lab.propose(&[]), ["refused: not offered: an empty proposal"]);
    }

    #[test]
    fn a_batch_larger_than_a_message_is_cut() {
        let config = Config { max_batch_bytes: 4, ..Config::default() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
        lab.lead();
        lab.matched(B, id(2, 2));
        let said = lab.propose(&["aa", "bb", "cc"]);
        let to_b: Vec<_> = said.iter().filter_map(|l| l.strip_prefix("n2: ")).collect();
        assert_eq!(
            to_b,
            [
                "AppendEntries(term 2, prev (2,2), commit 0, round 0, entries (2,3)..(2,4))",
                "AppendEntries(term 2, prev (2,4), commit 0, round 0, entries (2,5)..(2,5))"
            ]
        );
    }

    #[test]
    fn a_busy_peer_gets_no_heartbeat_and_an_idle_one_does() {
        let mut lab = leader();
        lab.pass(50);
        lab.propose(&["x"]);
        lab.matched(B, id(2, 3));
        lab.durable();
        // C did not answer, and B does not know of the commit.
        assert_eq!(lab.pass(50).len(), 2);
        lab.propose(&["y"]);
        lab.matched(B, id(2, 3));
        let beat = lab.pass(50);
        assert_eq!(beat.len(), 1, "{beat:?}");
        assert!(beat[0].starts_with("n3"), "{beat:?}");
    }
}
