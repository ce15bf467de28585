//! ReadIndex: linearizable reads without writing to the log (section 8; thesis 6.4), on any node.
//!
//! 1. The leader notes its commit index as the read index, but never one below its no-op: only with an entry of its own
//!    term committed does it know what is committed.
//! 2. It makes sure that it still leads: a quorum answers a round of AppendEntries that was begun *after* the read was
//!    asked for. Rounds have numbers which are never used again, so an answer to an older one confirms nothing newer.
//! 3. The read goes on where it was asked, once everything up to the read index is applied there.
//!
//! A follower or learner asks its leader for 1 and 2. Many reads share one round, and many reads of one follower share
//! one question: whatever comes while one is under way waits for the next, so there are as many rounds as round trips
//! and not as many as reads. When the leader changes, whatever waits fails: nobody may assume the answer of the last one.
//!
//! Without 1 a new leader serves reads that lack the end of its predecessor's log; without 2, or with an index taken after a
//! reused round, a deposed leader serves stale ones.

use std::collections::VecDeque;

use common::mutant;
use common::protocol::{Effect, Effects, Refusal};
use common::types::{LogId, NodeId};

use crate::core::{Raft, State};
use crate::message::Message;

/// Reads that wait, on a leader and on others.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The newest round begun.
    round: u64,
    /// On a leader: reads in the order they came. Rounds and read indexes ascend.
    waiting: VecDeque<Waiting>,
    /// Elsewhere: the number of the last question to a leader.
    context: u64,
    /// The reads which that question is for. Empty: none is under way.
    asked: Vec<u64>,
    /// The reads that came since.
    pooled: Vec<u64>,
    /// One of these does not trust the clocks.
    strict: bool,
}

#[derive(Debug)]
struct Waiting {
    /// The first round begun after it came.
    round: u64,
    /// Its read index.
    at: LogId,
    whose: Whose,
}

#[derive(Debug)]
enum Whose {
    /// A read barrier of this node.
    Mine(u64),
    /// A peer's question.
    Peers(NodeId, u64),
}

impl Reads {
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// A peer's session ended: it will ask again.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.waiting.retain(|w| !matches!(w.whose, Whose::Peers(id, _) if id == peer));
    }

    fn full(&self, limit: usize) -> bool {
        self.waiting.len() + self.asked.len() + self.pooled.len() >= limit
    }
}

impl Raft {
    /// A read was asked for here.
    pub(crate) fn read_barrier(&mut self, id: u64, lease: bool, fx: &mut Effects<Self>) {
        if lease && let Some(at) = self.lease_read(fx) {
            return fx.push(Effect::ReadReady { id, at });
        }
        if self.reads.full(self.config.max_pending_reads) {
            fx.mark("raft/read#read_barrier.busy");
            return fx.push(Effect::ReadFailed { id, reason: Refusal::Busy });
        }
        match &self.state {
            State::Leader(_) => self.wait_for_round(Whose::Mine(id), fx),
            State::Follower(f) if f.leader.is_some_and(|l| self.sessions.is_up(l)) => {
                self.reads.pooled.push(id);
                self.reads.strict |= !lease;
                self.ask_leader(fx);
            }
            _ => {
                fx.mark("raft/read#read_barrier.no_leader");
                let reason = Refusal::NotLeader { leader: self.leader() };
                fx.push(Effect::ReadFailed { id, reason });
            }
        }
    }

    /// Asks the leader on behalf of every read that waits, unless a question is under way.
    fn ask_leader(&mut self, fx: &mut Effects<Self>) {
        let Some(leader) = self.leader() else { return };
        let reads = &mut self.reads;
        if reads.pooled.is_empty() {
            return;
        }
        if !reads.asked.is_empty() {
            return fx.mark("raft/read#ask_leader.shares_the_next_question");
        }
        std::mem::swap(&mut reads.asked, &mut reads.pooled);
        reads.context += 1;
        let lease = !std::mem::take(&mut reads.strict);
        fx.send(leader, Message::ReadIndex { term: self.hard.term, context: reads.context, lease });
    }

    /// A follower or learner asks.
    pub(crate) fn on_read_index(&mut self, from: NodeId, term: u64, context: u64, lease: bool, fx: &mut Effects<Self>) {
        if term > self.hard.term {
            self.become_follower(term, None, fx);
        }
        let leads = matches!(self.state, State::Leader(_)) && term == self.hard.term;
        if !leads || self.reads.full(self.config.max_pending_reads) {
            fx.mark("raft/read#on_read_index.refused");
            return fx.send(from, Message::ReadIndexReply { term: self.hard.term, context, at: None });
        }
        if lease && let Some(at) = self.lease_read(fx) {
            return self.answer_read_index(from, context, at, fx);
        }
        self.wait_for_round(Whose::Peers(from, context), fx);
    }

    pub(crate) fn on_read_index_reply(
        &mut self,
        from: NodeId,
        term: u64,
        context: u64,
        at: Option<LogId>,
        fx: &mut Effects<Self>,
    ) {
        if term > self.hard.term {
            return self.become_follower(term, None, fx);
        }
        let current = context == self.reads.context && !self.reads.asked.is_empty();
        if term < self.hard.term || self.leader() != Some(from) || !current {
            return fx.mark("raft/read#on_read_index_reply.late");
        }
        for id in self.reads.asked.drain(..) {
            fx.push(match at {
                Some(at) => Effect::ReadReady { id, at },
                None => Effect::ReadFailed { id, reason: Refusal::LeaderChanged },
            });
        }
        self.ask_leader(fx);
    }

    /// On the leader: the read waits for a round that begins after this moment.
    fn wait_for_round(&mut self, whose: Whose, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &self.state else { return };
        let (mut round, mut at) = (self.reads.round + 1, self.committed.max(leader.noop));
        if mutant!("R13") && matches!(whose, Whose::Peers(..)) {
            at = self.committed;
        }
        if let Whose::Mine(id) = whose
            && mutant!("R12")
        {
            return fx.push(Effect::ReadReady { id, at });
        }
        if mutant!("R11") && self.reads.waiting.back().is_some_and(|w| w.round == self.reads.round) {
            round = self.reads.round;
        }
        self.reads.waiting.push_back(Waiting { round, at, whose });
        self.release_reads(fx);
    }

    /// The newest round that a quorum has answered.
    pub(crate) fn confirmed_round(&self) -> u64 {
        let State::Leader(leader) = &self.state else { return 0 };
        let answered = |id| if id == self.id { self.reads.round } else { leader.find(id).map_or(0, |peer| peer.round) };
        self.members.reached(answered)
    }

    /// Lets go of the reads whose round is confirmed and whose index is committed; begins the next round if some wait for
    /// it and none is under way.
    #[inline]
    pub(crate) fn release_reads(&mut self, fx: &mut Effects<Self>) {
        if !self.reads.waiting.is_empty() && matches!(self.state, State::Leader(_)) {
            self.release_waiting(fx);
        }
    }

    fn release_waiting(&mut self, fx: &mut Effects<Self>) {
        let mut confirmed = self.confirmed_round();
        let newest = self.reads.waiting.back().map_or(0, |w| w.round);
        if newest > self.reads.round && confirmed == self.reads.round {
            self.begin_round(fx);
            confirmed = self.confirmed_round();
        }
        if self.reads.waiting.front().is_some_and(|w| w.round <= confirmed && w.at > self.committed) {
            fx.mark("raft/read#release_reads.before_the_first_commit");
        }
        while let Some(w) = self.reads.waiting.pop_front_if(|w| w.round <= confirmed && w.at <= self.committed) {
            match w.whose {
                Whose::Mine(id) => fx.push(Effect::ReadReady { id, at: w.at }),
                Whose::Peers(peer, context) => self.answer_read_index(peer, context, w.at, fx),
            }
        }
    }

    /// The peer may not know yet that the read index is committed, and would wait for a heartbeat to apply up to it.
    fn answer_read_index(&mut self, peer: NodeId, context: u64, at: LogId, fx: &mut Effects<Self>) {
        let say = self.say();
        let State::Leader(leader) = &mut self.state else { return };
        if let Some(peer) = leader.find_mut(peer).filter(|p| p.connected && p.commit_sent < at.counter) {
            fx.mark("raft/read#answer_read_index.tells_commit");
            peer.append(say, None, fx);
        }
        fx.send(peer, Message::ReadIndexReply { term: say.term, context, at: Some(at) });
    }

    /// The next round: everything said from now on carries its number.
    pub(crate) fn number_round(&mut self) {
        self.reads.round += 1;
        self.lease_round();
    }

    fn begin_round(&mut self, fx: &mut Effects<Self>) {
        self.number_round();
        let say = self.say();
        let State::Leader(leader) = &mut self.state else { return };
        for peer in leader.peers.iter_mut().filter(|p| p.connected && self.members.votes(p.id)) {
            peer.append(say, None, fx);
        }
    }

    /// The leader is, or may be, another one: every read that waits fails.
    pub(crate) fn fail_reads(&mut self, fx: &mut Effects<Self>) {
        let term = self.hard.term;
        if !self.reads.waiting.is_empty() {
            fx.mark("raft/read#fail_reads.of_a_leader");
        }
        for w in self.reads.waiting.drain(..) {
            match w.whose {
                Whose::Mine(id) => fx.push(Effect::ReadFailed { id, reason: Refusal::LeaderChanged }),
                Whose::Peers(peer, context) => {
                    fx.send(peer, Message::ReadIndexReply { term, context, at: None });
                }
            }
        }
        self.fail_asked_reads(fx);
    }

    /// What was asked of the leader will not be answered.
    pub(crate) fn fail_asked_reads(&mut self, fx: &mut Effects<Self>) {
        if !self.reads.asked.is_empty() {
            fx.mark("raft/read#fail_asked_reads");
        }
        for id in self.reads.asked.drain(..).chain(self.reads.pooled.drain(..)) {
            fx.push(Effect::ReadFailed { id, reason: Refusal::LeaderChanged });
        }
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::{Input, Trust};
    use common::types::Member;

    use super::*;
    use crate::config::Config;
    use crate::message::Answer;
    use crate::testing::{A, B, C, Lab, OBSERVER, id, log_of};

    fn read(lab: &mut Lab, id: u64) -> Vec<String> {
        lab.step(Input::ReadBarrier { id, trust: Trust::Quorum })
    }

    fn answer(lab: &mut Lab, from: NodeId, round: u64) -> Vec<String> {
        let (term, last) = (lab.raft.hard.term, lab.raft.log.last());
        lab.hear(from, Message::AppendEntriesReply { term, round, answer: Answer::Matched(last) })
    }

    /// A leader of term 2 with everything committed and its peers level.
    fn leader() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        answer(&mut lab, B, 0);
        answer(&mut lab, B, 0);
        lab
    }

    /// A follower of B in term 2.
    fn follower() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.append(B, 2, id(1, 1), 0, None);
        lab.step(Input::HardSaved);
        lab
    }

    #[test]
    fn a_round_confirms_what_was_asked_before_it_began() {
        let mut lab = leader();
        assert_eq!(read(&mut lab, 1).len(), 2, "a round begins");
        assert!(read(&mut lab, 2).is_empty() && read(&mut lab, 3).is_empty(), "these wait for the next");
        assert!(answer(&mut lab, B, 0).is_empty(), "an answer of before confirms nothing");
        let said = answer(&mut lab, B, 1);
        assert_eq!(said.iter().filter(|l| l.starts_with("read")).count(), 1, "{said:?}");
        assert_eq!(answer(&mut lab, C, 2).iter().filter(|l| l.starts_with("read")).count(), 2);
        let ahead = Message::AppendEntriesReply { term: 2, round: 9, answer: Answer::Busy };
        assert_eq!(lab.hear(B, ahead), ["disconnect n2: answers a round that was not begun"]);
    }

    #[test]
    fn a_learners_answer_confirms_nothing() {
        let mut lab = leader();
        lab.step(Input::PeerUp { peer: OBSERVER, member: Member::Observer });
        read(&mut lab, 1);
        assert!(answer(&mut lab, OBSERVER, 1).iter().all(|l| !l.starts_with("read")));
    }

    #[test]
    fn not_before_an_entry_of_the_own_term_is_committed() {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        read(&mut lab, 1);
        let term = 2;
        lab.hear(B, Message::AppendEntriesReply { term, round: 1, answer: Answer::Matched(id(1, 1)) });
        assert_eq!(lab.raft.confirmed_round(), 1);
        lab.durable();
        assert_eq!(lab.matched(B, id(2, 2)), ["commit (2,2)", "read 1 at (2,2)"]);
    }

    #[test]
    fn a_leader_that_gives_way_fails_what_waits() {
        let mut lab = leader();
        lab.step(Input::PeerUp { peer: OBSERVER, member: Member::Observer });
        read(&mut lab, 1);
        lab.hear(OBSERVER, Message::ReadIndex { term: 2, context: 5, lease: false });
        let said = lab.append(C, 3, id(1, 1), 0, None);
        assert_eq!(
            said,
            [
                "read 1 failed: the leader changed meanwhile",
                "n9: ReadIndexReply(term 2, context 5, refused)",
                "save term 3, no vote"
            ]
        );
        // And it does not answer for the new one.
        let said = lab.hear(OBSERVER, Message::ReadIndex { term: 2, context: 6, lease: false });
        assert_eq!(said, ["n9: ReadIndexReply(term 3, context 6, refused)"]);
    }

    #[test]
    fn reads_of_a_follower_share_questions() {
        let mut lab = follower();
        assert_eq!(read(&mut lab, 1), ["n2: ReadIndex(term 2, context 1)"]);
        assert!(read(&mut lab, 2).is_empty() && read(&mut lab, 3).is_empty());
        let reply = |context, at| Message::ReadIndexReply { term: 2, context, at };
        assert!(lab.hear(B, reply(7, Some(id(1, 1)))).is_empty(), "not what was asked");
        assert!(lab.hear(C, reply(1, Some(id(1, 1)))).is_empty(), "not who was asked");
        assert_eq!(lab.hear(B, reply(1, Some(id(1, 1)))), ["read 1 at (1,1)", "n2: ReadIndex(term 2, context 2)"]);
        assert_eq!(
            lab.hear(B, reply(2, None)),
            ["read 2 failed: the leader changed meanwhile", "read 3 failed: the leader changed meanwhile"]
        );
    }

    #[test]
    fn without_a_leader_reads_fail_and_the_next_question_has_a_new_number() {
        let mut lab = Lab::new(&[1]).connected();
        assert_eq!(read(&mut lab, 1), ["read 1 failed: this node does not lead"]);
        let mut lab = follower();
        read(&mut lab, 1);
        assert_eq!(lab.step(Input::PeerDown { peer: B }), ["read 1 failed: the leader changed meanwhile"]);
        assert_eq!(read(&mut lab, 2), ["read 2 failed: this node does not lead, n2 does"], "no session to it");
        lab.step(Input::PeerUp { peer: B, member: Member::Voter });
        assert_eq!(read(&mut lab, 3), ["n2: ReadIndex(term 2, context 2)"]);
        let late = Message::ReadIndexReply { term: 2, context: 1, at: Some(id(1, 1)) };
        assert!(lab.hear(B, late).is_empty());
        // A time-out ends the wait too.
        let said = lab.pass(400);
        assert_eq!(said[0], "read 3 failed: the leader changed meanwhile");
    }

    #[test]
    fn reads_are_bounded() {
        let config = Config { max_pending_reads: 2, ..Config::default() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
        lab.lead();
        read(&mut lab, 1);
        read(&mut lab, 2);
        assert_eq!(read(&mut lab, 3), ["read 3 failed: too many uncommitted bytes, try again"]);
        let said = lab.hear(B, Message::ReadIndex { term: 2, context: 1, lease: false });
        assert_eq!(said, ["n2: ReadIndexReply(term 2, context 1, refused)"]);
    }
}
