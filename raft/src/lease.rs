//! Leases: linearizable reads for which the leader asks nobody (thesis 6.4.1), for those who trust their clocks.
//!
//! Whoever hears a leader promises to vote for nobody else for an election time-out, by its own clock. A leader whose round a
//! quorum has answered has those promises from at latest the moment at which it began the round. Until they end nobody else
//! can be elected, so nothing is committed that it does not know of, and its commit index is a read index.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | a lease counts from when the round was begun, not from its answers | it outlives the promises by the way there |
//! | it is shorter than a promise by what clocks may differ ([`max_clock_drift_ppm`](crate::Config::max_clock_drift_ppm)) | a slow leader's lease outlives a fast follower's promise |
//! | the promise holds whatever happens to follower and session, also over a restart | a quorum forgets what it promised, and elects somebody |
//! | from TimeoutNow on there is none, until the target has answered a round begun after that | the target is elected at once, promises or not: the leader wanted it so; and what was given up may still arrive |
//! | it is looked at when the read is there | a leader that stood still answers by a lease of before |
//! | never before an entry of the own term is committed | the commit index may lack the end of the last leader's log |
//!
//! Off unless a bound for the clocks is given, and then it is the caller's choice, read by read. All other reads, and
//! everything else here, are safe whatever clocks do.

use std::collections::VecDeque;

use common::mutant;
use common::protocol::Effects;
use common::types::{LogId, Micros, NodeId};

use crate::core::{Raft, State};

/// A round is begun with each heartbeat, and a leader without answers does not last for many of those.
const ROUNDS_MAX: usize = 64;

/// What a leader knows of its lease.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Rounds begun and not known to be confirmed, and when.
    begun: VecDeque<(u64, Micros)>,
    /// When the newest confirmed round was begun.
    since: Option<Micros>,
    /// None before this node answers this round: it was told to take office.
    heir: Option<(NodeId, u64)>,
}

impl Raft {
    /// A round begins now.
    pub(crate) fn lease_round(&mut self) {
        if self.config.lease().is_none() {
            return;
        }
        self.renew_lease();
        let (round, now) = (self.reads.round(), self.now);
        let State::Leader(leader) = &mut self.state else { return };
        if leader.lease.begun.len() >= ROUNDS_MAX {
            leader.lease.begun.pop_front();
        }
        leader.lease.begun.push_back((round, now));
    }

    /// Takes in what was confirmed since.
    fn renew_lease(&mut self) {
        let (confirmed, now) = (self.confirmed_round(), self.now);
        let State::Leader(leader) = &mut self.state else { return };
        while let Some((_, begun)) = leader.lease.begun.pop_front_if(|(round, _)| *round <= confirmed) {
            leader.lease.since = Some(if mutant!("R56") { now } else { begun });
        }
        if let Some((heir, round)) = leader.lease.heir
            && leader.peers.iter().any(|p| p.id == heir && p.round >= round)
        {
            leader.lease.heir = None;
        }
    }

    /// The read index by the lease, if there is one at this moment.
    pub(crate) fn lease_read(&mut self, fx: &mut Effects<Self>) -> Option<LogId> {
        let mut span = self.config.lease()?;
        if mutant!("R55") {
            span = Micros(span.0 * 2);
        }
        self.renew_lease();
        let State::Leader(leader) = &self.state else { return None };
        let over = leader.lease.since?.after(span);
        let held = self.now < over && (leader.lease.heir.is_none() || mutant!("R54"));
        let current = self.committed >= leader.noop || mutant!("R58");
        let name = match (held, current) {
            (true, true) => "raft/lease#lease_read.held",
            (true, false) => "raft/lease#lease_read.before_the_first_commit",
            _ => "raft/lease#lease_read.over",
        };
        fx.mark(name);
        (held && current).then_some(self.committed)
    }

    /// Leadership goes to `heir`, perhaps: whatever was promised to this leader, `heir` may be elected from now on. When it
    /// answers a round that is begun later, it has passed TimeoutNow by, since messages of a session arrive in order, and
    /// those of an earlier session never.
    pub(crate) fn drop_lease(&mut self, heir: NodeId) {
        let round = self.reads.round() + 1;
        if let State::Leader(leader) = &mut self.state {
            leader.lease.heir = Some((heir, round));
        }
    }

    /// This node hears a leader, or may have done so before it started.
    pub(crate) fn promise(&mut self) {
        if self.config.lease().is_some() {
            self.promised = self.now.after(self.config.election_timeout());
        }
    }

    /// Whether it has promised to vote for nobody at present.
    pub(crate) fn keeps_promise(&self) -> bool {
        self.now < self.promised
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::{Input, Trust};
    use common::types::Member;

    use super::*;
    use crate::config::Config;
    use crate::message::{Answer, Message};
    use crate::testing::{A, B, C, Lab, OBSERVER, id, log_of};

    /// Leases of 160 ms, for promises of 200 ms.
    fn config() -> Config {
        let config = Config { max_clock_drift_ppm: 111_111, ..Config::default() };
        assert_eq!(config.lease(), Some(Micros(159_999)));
        config
    }

    fn lab(term: u64) -> Lab {
        Lab::with(A, log_of(&[term]), LogId::ZERO, config()).connected()
    }

    /// A leader of term 2 with everything committed, at 600 ms; B has answered nothing newer than round 0.
    fn leader() -> Lab {
        let mut lab = lab(1);
        lab.now = Micros::from_millis(200);
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.matched(B, id(2, 2));
        assert_eq!(lab.raft.committed, id(2, 2));
        lab
    }

    fn answer(lab: &mut Lab, from: NodeId, round: u64) -> Vec<String> {
        let (term, last) = (lab.raft.hard.term, lab.raft.log.last());
        lab.hear(from, Message::AppendEntriesReply { term, round, answer: Answer::Matched(last) })
    }

    /// Whether a read is answered at once. One that is not waits for a round, which is left unanswered.
    fn reads(lab: &mut Lab) -> bool {
        let said = lab.step(Input::ReadBarrier { id: 1, trust: Trust::Clocks });
        said.contains(&format!("read 1 at {}", lab.raft.committed))
    }

    #[test]
    fn it_lasts_from_the_question_and_not_from_the_answer() {
        let mut lab = leader();
        assert!(!reads(&mut lab), "nothing was confirmed yet");
        lab.pass(50);
        let round = lab.raft.reads.round();
        lab.now = lab.now.after(Micros::from_millis(30));
        assert!(!reads(&mut lab));
        answer(&mut lab, B, round);
        lab.now = lab.now.after(Micros(129_998));
        assert!(reads(&mut lab));
        lab.now = lab.now.after(Micros(1));
        assert!(!reads(&mut lab), "160 ms after the heartbeat");
        assert!(
            !lab.step(Input::ReadBarrier { id: 2, trust: Trust::Quorum }).iter().any(|l| l.starts_with("read 2 at"))
        );
    }

    #[test]
    fn a_quorum_of_voters_makes_it_and_the_caller_chooses() {
        let mut lab = leader();
        lab.step(Input::PeerUp { peer: OBSERVER, member: Member::Observer });
        lab.pass(50);
        let round = lab.raft.reads.round();
        answer(&mut lab, OBSERVER, round);
        assert!(!reads(&mut lab));
        answer(&mut lab, C, round);
        assert!(reads(&mut lab));
        let ask = |context, lease| Message::ReadIndex { term: 2, context, lease };
        let said = lab.hear(OBSERVER, ask(1, true));
        assert_eq!(said.last().unwrap(), "n9: ReadIndexReply(term 2, context 1, at (2,2))");
        assert!(lab.hear(OBSERVER, ask(2, false)).iter().all(|l| !l.contains("ReadIndexReply")));
    }

    #[test]
    fn without_a_bound_for_clocks_there_is_none() {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.matched(B, id(2, 2));
        lab.pass(50);
        let round = lab.raft.reads.round();
        answer(&mut lab, B, round);
        assert!(!reads(&mut lab) && !lab.raft.keeps_promise());
    }

    #[test]
    fn not_before_an_entry_of_the_own_term_is_committed() {
        let mut lab = lab(1);
        lab.now = Micros::from_millis(200);
        lab.lead();
        lab.pass(50);
        let round = lab.raft.reads.round();
        lab.hear(B, Message::AppendEntriesReply { term: 2, round, answer: Answer::Matched(id(1, 1)) });
        assert!(!reads(&mut lab));
    }

    #[test]
    fn from_timeout_now_on_there_is_none_until_the_target_has_passed_it_by() {
        let mut lab = leader();
        lab.pass(50);
        let round = lab.raft.reads.round();
        answer(&mut lab, B, round);
        assert!(reads(&mut lab));
        lab.step(Input::Transfer { id: 7, to: Some(B) });
        assert!(!reads(&mut lab));
        // It is given up, and C goes on promising; but B may still be about to campaign, and C would vote for it.
        for _ in 0..4 {
            lab.pass(50);
            let round = lab.raft.reads.round();
            answer(&mut lab, C, round);
        }
        assert!(lab.propose(&["x"])[0].starts_with("accepted"));
        answer(&mut lab, B, round);
        assert!(!reads(&mut lab), "an answer to something older than TimeoutNow");
        let round = lab.raft.reads.round();
        answer(&mut lab, B, round);
        assert!(reads(&mut lab));
    }

    #[test]
    fn who_heard_a_leader_keeps_its_promise_whatever_happens() {
        let vote = |transfer| Message::RequestVote { term: 5, last: id(1, 1), transfer };
        let mut lab = lab(1);
        lab.now = Micros::from_millis(300);
        lab.append(B, 2, id(1, 1), 0, None);
        lab.step(Input::HardSaved);
        // The session ends, and a message of a later term takes its leader from it.
        lab.step(Input::PeerDown { peer: B });
        lab.step(Input::PeerUp { peer: B, member: Member::Voter });
        lab.hear(B, Message::ReadIndex { term: 5, context: 1, lease: false });
        lab.step(Input::HardSaved);
        assert_eq!((lab.raft.leader(), lab.raft.hard.term), (None, 5));
        lab.now = lab.now.after(Micros(199_999));
        assert!(lab.hear(C, vote(false)).is_empty());
        let pre_vote = Message::PreVote { term: 6, last: id(1, 1) };
        assert_eq!(lab.hear(C, pre_vote.clone()), ["n3: PreVoteReply(term 5, refused)"]);
        assert!(lab.raft.election_due > lab.now, "it does not stand itself either");
        lab.now = lab.now.after(Micros(1));
        assert_eq!(lab.hear(C, pre_vote), ["n3: PreVoteReply(term 6, granted)"]);
        assert_eq!(lab.hear(C, vote(false)), ["save term 5, vote n3"]);
    }

    #[test]
    fn who_starts_again_may_have_promised_and_whom_the_leader_wants_may_be_voted_for() {
        let vote = |transfer| Message::RequestVote { term: 5, last: id(1, 1), transfer };
        let mut lab = lab(1);
        lab.now = Micros(199_999);
        assert!(lab.hear(C, vote(false)).is_empty());
        assert_eq!(lab.hear(C, vote(true)), ["save term 5, vote n3"]);
        let mut lab = lab_at_200();
        assert_eq!(lab.hear(C, vote(false)), ["save term 5, vote n3"]);
        // Who was never in any term has promised nothing.
        let mut lab = Lab::with(A, log_of(&[]), LogId::ZERO, config()).connected();
        assert_eq!(lab.hear(C, vote(false)), ["save term 5, vote n3"]);
    }

    fn lab_at_200() -> Lab {
        let mut lab = lab(1);
        lab.now = Micros(200_000);
        lab
    }

    #[test]
    fn rounds_that_nobody_answers_are_not_kept_for_ever() {
        let config = Config { check_quorum: false, ..config() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
        lab.now = Micros::from_millis(200);
        lab.lead();
        for _ in 0..200 {
            lab.pass(50);
        }
        let State::Leader(leader) = &lab.raft.state else { panic!() };
        assert_eq!(leader.lease.begun.len(), ROUNDS_MAX);
    }
}
