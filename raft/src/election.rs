//! Terms, votes, and when a leader must go.
//!
//! | rule | where | what breaks without it |
//! | --- | --- | --- |
//! | one vote per term, durable before it is told | sections 5.2, 5.4.1; figure 2 | two leaders in one term |
//! | vote only for a log at least as new: (last term, last index), term first | 5.4.1 | committed entries are lost |
//! | randomised time-outs | 5.2 | votes split for ever |
//! | pre-vote: ask before raising the term | thesis 9.6 | a node that was away deposes a healthy leader when it returns |
//! | check-quorum: a leader that hears no quorum steps down | thesis 6.2 | clients wait on a leader that can do nothing |
//! | who hears a leader ignores candidates | thesis 4.2.3 | a node that cannot hear the leader deposes it again and again |
//! | messages of earlier terms are answered | 5.1 | the last two rules deadlock: nobody tells a stale leader or a stale candidate the term that would free it |
//! | a session that ends is silence (ours) | | nothing breaks; each failover waits for a time-out that tells nothing new |
//! | a lower priority waits longer, but ever less so | as in JRaft | nothing breaks; any node may lead. If it waited on, nobody might |
//!
//! The election timer starts anew at three events only: a vote is granted, a leader of the current term speaks, an
//! election begins. Restarting it at any other message lets a node that cannot win keep the others from trying.

use common::entries::Entries;
use common::mutant;
use common::protocol::{Effect, Effects};
use common::trace::TraceBody;
use common::types::{LogId, Micros, NodeId};

use crate::core::{Follower, Hard, Leader, Raft, State};
use crate::message::{Answer, Message};
use crate::reconfig::may_stand;

/// The votes of one (pre-)election.
#[derive(Clone, Debug, Default)]
pub(crate) struct Votes {
    of: Vec<NodeId>,
    /// It was begun on the leader's word: see [`transfer`](crate::transfer).
    transfer: bool,
}

impl Votes {
    /// Each voter counts once, however often it answers.
    fn add(&mut self, voter: NodeId) {
        if !self.has(voter) || mutant!("R02") {
            self.of.push(voter);
        }
    }

    pub(crate) fn has(&self, voter: NodeId) -> bool {
        self.of.contains(&voter)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.of.iter().copied()
    }
}

impl Raft {
    /// A new random time-out from now.
    #[inline]
    pub(crate) fn reset_election_timer(&mut self) {
        let (low, high) = (self.config.election_timeout_ms * 1000, self.config.election_timeout_max_ms * 1000);
        let due = self.now.after(Micros(self.rng.between(low, high)));
        self.election_due = due.after(self.config.deference(self.waited));
    }

    /// The session with the leader ended: its process died, or the link did. Section 5.2 has only silence to tell that, and
    /// waits; here a follower asks within one heartbeat interval. Only with pre-vote: if the link alone broke, those who
    /// still hear the leader refuse, and nothing has changed.
    pub(crate) fn leader_session_ended(&mut self) {
        if self.config.early_election && self.config.pre_vote && self.config.lease().is_none() {
            let soon = Micros(self.rng.between(0, self.config.heartbeat_ms * 1000));
            let soon = soon.after(self.config.deference(self.waited));
            self.election_due = self.election_due.min(self.now.after(soon));
        }
    }

    /// Nobody led for a whole election time-out.
    pub(crate) fn election_timeout(&mut self, fx: &mut Effects<Self>) {
        fx.trace("raft/election#election_timeout", "Raft 5.2", || TraceBody::Timer { name: "election" });
        self.waited = self.waited.saturating_add(1);
        if !self.may_stand() || self.keeps_promise() || mutant!("R51") && self.config.priority < 50 {
            fx.mark("raft/election#election_timeout.may_not_stand");
            self.reset_election_timer();
            self.lose_leader(fx);
        } else if self.config.pre_vote {
            self.pre_campaign(fx);
        } else {
            self.campaign(false, fx);
        }
    }

    /// Whether it may stand for election. A snapshot on its way into the log forbids appending the no-op; a term not yet
    /// durable forbids the next one, and a disk that does not answer any; and so do lost entries.
    pub(crate) fn may_stand(&self) -> bool {
        let votes = may_stand(&self.members, self.id) || mutant!("R27");
        let able = self.installing.is_none() && self.unsaved == 0 && !self.withholds_itself();
        votes && able && (!self.disk_is_stalled() || mutant!("R81"))
    }

    /// Without a leader in the same term.
    fn lose_leader(&mut self, fx: &mut Effects<Self>) {
        if matches!(&self.state, State::Follower(f) if f.leader.is_some()) {
            self.become_follower(self.hard.term, None, fx);
        }
    }

    /// Asks whether an election could be won, without touching the term (thesis 9.6).
    fn pre_campaign(&mut self, fx: &mut Effects<Self>) {
        self.fail_reads(fx);
        self.reset_election_timer();
        let mut votes = Votes::default();
        votes.add(self.id);
        self.state = State::PreCandidate(votes);
        self.trace_role(fx, "raft/election#pre_campaign", "Raft thesis 9.6");
        self.ask_for_votes(fx);
        self.count_votes(fx);
    }

    /// Starts an election: raises the term and votes for itself. It asks the others once both are durable.
    pub(crate) fn campaign(&mut self, transfer: bool, fx: &mut Effects<Self>) {
        self.fail_reads(fx);
        self.reset_election_timer();
        self.owed_votes.clear();
        self.hard = Hard { term: self.hard.term + 1, voted_for: Some(self.id), ..self.hard };
        self.save_hard(fx);
        self.state = State::Candidate(Votes { transfer, ..Votes::default() });
        self.led_by(Some(self.id), fx);
        self.trace_role(fx, "raft/election#campaign", "Raft fig. 2 Candidates");
        if mutant!("R32") {
            self.ask_for_votes(fx);
        }
    }

    fn ask_for_votes(&self, fx: &mut Effects<Self>) {
        for peer in self.sessions.iter().filter(|id| self.members.votes(*id)) {
            self.ask_for_vote(peer, fx);
        }
    }

    /// Asks one voter; also one whose session began during the election.
    pub(crate) fn ask_for_vote(&self, peer: NodeId, fx: &mut Effects<Self>) {
        let (term, last) = (self.hard.term, self.log.last());
        match &self.state {
            State::PreCandidate(_) => fx.send(peer, Message::PreVote { term: term + 1, last }),
            State::Candidate(Votes { transfer, .. }) if self.unsaved == 0 || mutant!("R32") => {
                fx.send(peer, Message::RequestVote { term, last, transfer: *transfer });
            }
            _ => {}
        }
    }

    fn count_votes(&mut self, fx: &mut Effects<Self>) {
        let wins = |votes: &Votes| {
            let mut won = self.members.is_quorum(|id| votes.has(id));
            if mutant!("R02") {
                won |= votes.of.len() >= self.members.new_voters().quorum();
            } else if mutant!("R67") {
                won = self.members.new_voters().is_quorum(|id| votes.has(id));
            }
            won
        };
        match &self.state {
            // Its disk may have stalled since it asked.
            State::PreCandidate(votes) if wins(votes) && self.may_stand() => self.campaign(false, fx),
            State::Candidate(votes) if wins(votes) => self.become_leader(fx),
            _ => {}
        }
    }

    /// Term and vote are durable: tells those who wait for it.
    pub(crate) fn hard_saved(&mut self, fx: &mut Effects<Self>) {
        self.unsaved = if mutant!("R44") { 0 } else { self.unsaved.saturating_sub(1) };
        if self.unsaved > 0 {
            return fx.mark("raft/election#hard_saved.newer_under_way");
        }
        let term = self.hard.term;
        for (to, granted) in self.owed_votes.drain(..) {
            fx.mark("raft/election#hard_saved.owed_vote");
            fx.send(to, Message::RequestVoteReply { term, granted });
        }
        if let State::Candidate(votes) = &mut self.state {
            votes.add(self.id);
            self.ask_for_votes(fx);
            self.count_votes(fx);
        }
        self.acknowledge(fx);
    }

    /// Whether `from`, whose log ends at `last`, could have this node's vote in `term` (figure 2, RequestVote 2).
    fn may_vote(&self, from: NodeId, term: u64, last: LogId) -> bool {
        let unused = self.hard.voted_for.is_none_or(|v| v == from) || mutant!("R20") && self.unsaved == 0;
        let free = term > self.hard.term || unused && self.leader().is_none();
        // Lexicographic: the later term wins, and of one term the longer log (section 5.4.1).
        let mine = self.log.last();
        let up_to_date = if mutant!("R04") { last.counter >= mine.counter } else { last >= mine };
        term >= self.hard.term && free && up_to_date && !self.withholds_vote()
    }

    /// Whether this node leads, or heard a leader within the shortest election time-out (thesis 4.2.3).
    fn hears_leader(&self) -> bool {
        match &self.state {
            State::Leader(_) => true,
            // Who lost the session with its leader does not hear it, however short the silence was.
            State::Follower(f) => {
                f.leader.is_some_and(|l| self.sessions.is_up(l) || !self.config.early_election)
                    && self.now.since(f.heard) < self.config.election_timeout()
            }
            _ => false,
        }
    }

    /// Only a bug: a node knows its vote to be wanted from who asks for it. Its own log may not say yet that it votes, and
    /// nothing else could tell it (thesis 4.2.1; etcd's learners refused, and a cluster could not elect).
    fn does_not_vote(&self) -> bool {
        mutant!("R74") && !self.members.votes(self.id)
    }

    /// Figure 2's RequestVote without its effects: no term, vote or timer changes.
    pub(crate) fn on_pre_vote(&mut self, from: NodeId, term: u64, last: LogId, fx: &mut Effects<Self>) {
        if self.does_not_vote() {
            return;
        }
        let hears_leader = self.hears_leader();
        if hears_leader {
            fx.mark("raft/election#on_pre_vote.hears_leader");
        }
        let granted = !hears_leader && !self.keeps_promise() && self.may_vote(from, term, last);
        trace_vote(fx, "raft/election#on_pre_vote", "Raft thesis 9.6", from, granted);
        // Refused with our own term, so that a pre-candidate of an old term learns the present one.
        let term = if granted { term } else { self.hard.term };
        fx.send(from, Message::PreVoteReply { term, granted });
    }

    pub(crate) fn on_pre_vote_reply(&mut self, from: NodeId, term: u64, granted: bool, fx: &mut Effects<Self>) {
        let now = self.hard.term;
        match &mut self.state {
            State::PreCandidate(votes) if granted && term == now + 1 && self.members.votes(from) => {
                votes.add(from);
                self.count_votes(fx);
            }
            State::Candidate(votes) if mutant!("R29") && granted && term == now => {
                votes.add(from);
                self.count_votes(fx);
            }
            _ if !granted && term > now => {
                fx.mark("raft/election#on_pre_vote_reply.newer_term");
                self.become_follower(term, None, fx);
            }
            _ => {}
        }
    }

    pub(crate) fn on_request_vote(
        &mut self,
        from: NodeId,
        term: u64,
        last: LogId,
        transfer: bool,
        fx: &mut Effects<Self>,
    ) {
        if self.does_not_vote() {
            return;
        }
        // Whoever hears a leader votes for nobody else, unless that leader itself wants it.
        let wanted = transfer && !mutant!("R48");
        if self.keeps_promise() && term >= self.hard.term && !wanted {
            return fx.mark("raft/election#on_request_vote.promised");
        }
        let before = self.hard.clone();
        if term > self.hard.term {
            if self.config.check_quorum && self.hears_leader() && !wanted {
                let key = "vote_ignored_leader_alive";
                fx.trace("raft/election#hears_leader", "Raft thesis 4.2.3", || note(key, from));
                return;
            }
            self.follow(term, None, fx);
        }
        let granted = matches!(self.state, State::Follower(_)) && self.may_vote(from, term, last);
        if !granted && last < self.log.last() {
            fx.mark("raft/election#on_request_vote.log_behind");
        }
        if self.hard.mending {
            fx.mark("raft/election#on_request_vote.mending");
        }
        trace_vote(fx, "raft/election#grant_vote", "Raft fig. 2 RequestVote 2", from, granted);
        if granted {
            self.grant_vote(from);
        }
        if self.hard != before {
            self.save_hard(fx);
        }
        if self.unsaved == 0 || mutant!("R01") {
            fx.send(from, Message::RequestVoteReply { term: self.hard.term, granted });
        } else {
            self.owed_votes.retain(|(to, _)| *to != from);
            self.owed_votes.push((from, granted));
        }
    }

    /// The vote of this term is `from`'s; told when it is durable.
    fn grant_vote(&mut self, from: NodeId) {
        self.reset_election_timer();
        self.hard.voted_for = Some(from);
    }

    pub(crate) fn on_request_vote_reply(&mut self, from: NodeId, term: u64, granted: bool, fx: &mut Effects<Self>) {
        if term > self.hard.term {
            fx.mark("raft/election#on_request_vote_reply.newer_term");
            return self.become_follower(term, None, fx);
        }
        if granted && term < self.hard.term {
            fx.mark("raft/election#on_request_vote_reply.late_vote");
        }
        // A vote of an earlier term elects nobody now.
        if let State::Candidate(votes) = &mut self.state
            && granted
            && (term == self.hard.term || mutant!("R23"))
            && self.members.votes(from)
        {
            votes.add(from);
            self.count_votes(fx);
        }
    }

    /// A leader's message: whether it is to be followed. Afterwards this node follows it.
    #[inline]
    pub(crate) fn accept_leader(&mut self, from: NodeId, term: u64, fx: &mut Effects<Self>) -> bool {
        if term < self.hard.term && !mutant!("R33") {
            fx.mark("raft/election#accept_leader.earlier_term");
            // Without this answer a leader that was away would never learn that its term is over.
            if self.unsaved == 0 && !mutant!("R41") {
                let term = self.hard.term;
                fx.send(from, Message::AppendEntriesReply { term, round: 0, answer: Answer::Busy });
            }
            return false;
        }
        match &mut self.state {
            // As nearly always.
            State::Follower(f) if f.leader == Some(from) && term == self.hard.term => f.heard = self.now,
            _ => {
                if !self.takes_leader(from, term, fx) {
                    return false;
                }
            }
        }
        self.waited = 0;
        self.promise();
        self.reset_election_timer();
        true
    }

    /// Somebody else leads than this node knew of, unless that cannot be.
    fn takes_leader(&mut self, from: NodeId, term: u64, fx: &mut Effects<Self>) -> bool {
        let two = match &self.state {
            _ if term > self.hard.term => false,
            State::Leader(_) => true,
            State::Follower(f) => f.leader.is_some_and(|l| l != from),
            _ => false,
        };
        if two {
            fx.push(Effect::Disconnect { peer: from, reason: "two leaders in one term" });
            return false;
        }
        self.become_follower(term, Some(from), fx);
        if let priority @ 0..100 = self.config.priority {
            fx.send(from, Message::Priority { term, priority });
        }
        if let State::Follower(f) = &mut self.state {
            f.heard = self.now;
        }
        true
    }

    /// Follows `leader`, or nobody yet, in `term`. A new term has no vote; within a term the vote stays.
    pub(crate) fn become_follower(&mut self, term: u64, leader: Option<NodeId>, fx: &mut Effects<Self>) {
        let new_term = term > self.hard.term;
        self.follow(term, leader, fx);
        if new_term {
            self.save_hard(fx);
        }
    }

    /// The same, but a new term is yet to be saved, perhaps together with a vote.
    fn follow(&mut self, term: u64, leader: Option<NodeId>, fx: &mut Effects<Self>) {
        self.fail_reads(fx);
        self.forget_change(fx);
        if matches!(self.state, State::Leader(_)) {
            fx.mark("raft/election#follow.leader_steps_down");
            self.reset_election_timer();
        }
        if term > self.hard.term {
            self.owed_votes.clear();
            self.hard = Hard { term, voted_for: None, mending: self.hard.mending && !mutant!("R91") };
            if mutant!("R42") && matches!(self.state, State::Leader(_)) {
                let noop = Entries::noop(LogId::new(term, self.log.last().counter + 1));
                self.log.append(noop.clone());
                fx.push(Effect::Append(noop));
            }
        }
        self.state = State::Follower(Follower::new(leader, self.now, self.committed));
        self.trace_role(fx, "raft/election#become_follower", "Raft fig. 2 Rules for Servers");
        self.led_by(leader, fx);
    }

    /// A quorum voted for it: asks every peer which index it needs, and appends a no-op at once, because only an entry of
    /// its own term can commit what came before (section 5.4.2) and lets reads begin (section 8).
    fn become_leader(&mut self, fx: &mut Effects<Self>) {
        let last = self.log.last();
        if last > self.committed {
            fx.mark("raft/election#become_leader.uncommitted_tail");
        }
        self.waited = 0;
        let noop = LogId::new(self.hard.term, last.counter + 1);
        self.state = State::Leader(Leader::new(self, noop));
        self.trace_role(fx, "raft/election#become_leader", "Raft fig. 2 Leaders");
        let say = self.say();
        if let State::Leader(leader) = &mut self.state {
            for peer in leader.peers.iter_mut().filter(|p| p.connected) {
                peer.append(say, None, fx);
            }
        }
        self.append_own(&Entries::noop(noop), fx);
        if mutant!("R69") {
            self.leave_joint_too_soon(fx);
        }
    }

    /// Whether a quorum answered since the last time; if not, steps down (thesis 6.2).
    pub(crate) fn check_quorum(&mut self, fx: &mut Effects<Self>) {
        let me = self.id;
        let State::Leader(leader) = &mut self.state else { return };
        leader.check_due = self.now.after(self.config.election_timeout());
        let quorum = self.members.is_quorum(|id| id == me || leader.find(id).is_some_and(|p| p.active));
        for peer in &mut leader.peers {
            peer.active = false;
        }
        if self.config.check_quorum && !quorum {
            fx.trace("raft/election#check_quorum", "Raft thesis 6.2", || TraceBody::Note {
                key: "quorum_lost",
                args: vec![],
            });
            self.become_follower(self.hard.term, None, fx);
        }
    }

    pub(crate) fn trace_role(&self, fx: &mut Effects<Self>, anchor: &'static str, paper: &'static str) {
        fx.trace(anchor, paper, || TraceBody::Set {
            s: vec![
                ("role", self.phase().into()),
                ("currentTerm", self.hard.term.into()),
                ("votedFor", self.hard.voted_for.map(|v| v.0).into()),
                ("leader", self.leader().map(|l| l.0).into()),
            ],
        });
    }
}

fn trace_vote(fx: &mut Effects<Raft>, anchor: &'static str, paper: &'static str, to: NodeId, granted: bool) {
    let key = if granted { "vote_granted" } else { "vote_refused" };
    fx.trace(anchor, paper, || note(key, to));
}

fn note(key: &'static str, node: NodeId) -> TraceBody {
    TraceBody::Note { key, args: vec![("node", node.0.into())] }
}

#[cfg(test)]
mod tests;
