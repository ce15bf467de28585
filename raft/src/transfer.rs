//! Handing leadership over (thesis 3.10): before a leader is stopped, or to a node that is better placed.
//!
//! 1. The leader takes no more proposals, so that its log has an end.
//! 2. It brings the target level with that end, as it would anyway.
//! 3. It sends TimeoutNow. The target campaigns at once, without a pre-vote, and says in its RequestVote on whose word:
//!    voters that hear their leader would otherwise ignore it, and so would the leader.
//! 4. Who asked is told when another leader is known here.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | TimeoutNow carries the leader's term and is obeyed in that term only, from the leader that is followed | a late one deposes the next leader |
//! | not before the target is level, and no proposals meanwhile | it loses its election, or the leader loses what it took last |
//! | no pre-vote | who hears the leader refuses one, and the target meets the leader's next heartbeat as a follower again |
//! | given up after an election time-out, or when the session with the target ends | a leader that takes nothing, for ever |
//! | there is no [`lease`](crate::lease) from then on | reads that do not know of the next leader's writes |
//! | only voters, and only those with a session | the same, for a time-out |
//!
//! What was given up may still happen: a TimeoutNow cannot be called back. So a transfer that failed proves nothing about
//! who leads, only that this node took proposals again in the meantime.

use std::cmp::Reverse;

use common::mutant;
use common::protocol::{Effect, Effects, Refusal};
use common::trace::TraceBody;
use common::types::{Micros, NodeId};

use crate::core::{Raft, State};
use crate::lease::Lease;
use crate::membership::{Peer, Progress};
use crate::message::Message;

/// A transfer under way; also for the time between the end of this node's office and the word of the next leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    /// Who asked; nobody if the leader wants it so itself: see [`stall`](crate::stall).
    id: Option<u64>,
    pub(crate) to: NodeId,
    /// The term in which this node led.
    pub(crate) term: u64,
    /// When it is given up.
    due: Micros,
    /// TimeoutNow was sent.
    pub(crate) told: bool,
}

impl Raft {
    /// Begins to hand leadership over, or says why not.
    pub(crate) fn transfer(&mut self, id: u64, to: Option<NodeId>, fx: &mut Effects<Self>) {
        let to = match self.heir(to) {
            Ok(to) => to,
            Err(why) => {
                fx.mark("raft/transfer#transfer.refused");
                return fx.push(Effect::TransferAnswer { id, answer: Err(why) });
            }
        };
        self.hand_over(Some(id), to, fx);
    }

    /// Begins to hand leadership over to `to`.
    pub(crate) fn hand_over(&mut self, id: Option<u64>, to: NodeId, fx: &mut Effects<Self>) {
        fx.trace("raft/transfer#transfer", "Raft thesis 3.10", || note("transfer_begins", to));
        let due = self.now.after(self.config.election_timeout());
        self.handover = Some(Handover { id, to, term: self.hard.term, due, told: false });
        self.tell_heir(fx);
    }

    /// Whom to hand leadership to: the one that was named, or whoever is nearest to the end of the log.
    fn heir(&self, to: Option<NodeId>) -> Result<NodeId, Refusal> {
        let State::Leader(leader) = &self.state else { return Err(Refusal::NotLeader { leader: self.leader() }) };
        if let Some(Handover { to, .. }) = self.handover {
            return Err(Refusal::Transferring { to });
        }
        let no = |why: String| Err(Refusal::NotTransferred(why));
        let able = |p: &&Peer| self.members.may_lead(p.id) || mutant!("R49");
        let Some(to) = to else {
            // Whoever is not being replicated to has a way to go, however far it had come before.
            let rank = |p: &&Peer| (p.progress == Progress::Replicate, p.priority, p.matched, Reverse(p.id));
            let best = leader.peers.iter().filter(able).filter(|p| p.connected).max_by_key(rank);
            return best.map_or_else(|| no("no other voter is connected".to_owned()), |p| Ok(p.id));
        };
        match leader.find(to).filter(able) {
            Some(p) if p.connected => Ok(to),
            Some(_) => no(format!("there is no session with {to}")),
            None if to == self.id => no(format!("{to} leads already")),
            None if self.members.votes(to) => no(format!("the vote of {to} weighs nothing")),
            None => no(format!("{to} is not a voter")),
        }
    }

    /// A follower says how much it is to lead.
    pub(crate) fn on_priority(&mut self, from: NodeId, term: u64, priority: u64) {
        if let State::Leader(leader) = &mut self.state
            && term == self.hard.term
            && let Some(peer) = leader.find_mut(from)
        {
            peer.priority = priority;
        }
    }

    /// Whether this leader hands its office over, and to whom.
    pub(crate) fn handing_over(&self) -> Option<NodeId> {
        let leads = matches!(self.state, State::Leader(_));
        self.handover.filter(|h| leads && h.term == self.hard.term).map(|h| h.to)
    }

    /// Sends TimeoutNow as soon as the target has the whole log.
    #[inline]
    pub(crate) fn tell_heir(&mut self, fx: &mut Effects<Self>) {
        if self.handover.is_some() {
            self.tell_heir_if_level(fx);
        }
    }

    fn tell_heir_if_level(&mut self, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &self.state else { return };
        let Some(handover) = self.handover.as_mut().filter(|h| !h.told) else { return };
        let level = leader.find(handover.to).is_some_and(|p| p.matched == self.log.last());
        if level || mutant!("R50") {
            handover.told = true;
            fx.trace("raft/transfer#tell_heir", "Raft thesis 3.10", || note("timeout_now", handover.to));
            let to = handover.to;
            self.drop_lease(to);
            fx.send(to, Message::TimeoutNow { term: self.hard.term });
        } else {
            fx.mark("raft/transfer#tell_heir.not_level");
        }
    }

    /// The leader wants this node to lead.
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, term: u64, fx: &mut Effects<Self>) {
        let followed = term == self.hard.term && matches!(&self.state, State::Follower(f) if f.leader == Some(from));
        if followed && self.may_stand() || mutant!("R59") && self.may_stand() {
            self.campaign(true, fx);
        } else {
            fx.mark("raft/transfer#on_timeout_now.ignored");
        }
    }

    /// This node knows of `leader` now, or of nobody yet.
    pub(crate) fn led_by(&mut self, leader: Option<NodeId>, fx: &mut Effects<Self>) {
        let later = self.now.after(self.config.election_timeout());
        let Some(handover) = &mut self.handover else { return };
        let Handover { id, to, term, told, .. } = *handover;
        let answer = match leader {
            Some(leader) if leader == to => Ok(to),
            // It was deposed in a later term: most likely by the target, which has yet to win.
            None if told && self.hard.term > term => {
                if self.hard.term == term + 1 {
                    handover.due = later;
                }
                return;
            }
            _ => Err(Refusal::LeaderChanged),
        };
        self.handover = None;
        let over = if answer.is_ok() { "raft/transfer#led_by.the_heir" } else { "raft/transfer#led_by.another" };
        fx.mark(over);
        if let Some(id) = id {
            fx.push(Effect::TransferAnswer { id, answer });
        }
    }

    /// Gives the transfer up; this leader takes proposals again.
    pub(crate) fn give_up_transfer(&mut self, why: &str, fx: &mut Effects<Self>) {
        if mutant!("R47") {
            return self.handover.iter_mut().for_each(|h| h.due = Micros(u64::MAX));
        }
        if let State::Leader(leader) = &mut self.state
            && mutant!("R53")
        {
            leader.lease = Lease::default();
        }
        if let Some(Handover { id, to, .. }) = self.handover.take() {
            fx.trace("raft/transfer#give_up_transfer", "Raft thesis 3.10", || note("transfer_given_up", to));
            if let Some(id) = id {
                fx.push(Effect::TransferAnswer { id, answer: Err(Refusal::NotTransferred(why.to_owned())) });
            }
            self.members_committed(fx);
        }
    }

    /// When it is given up.
    pub(crate) fn transfer_due(&self) -> Option<Micros> {
        self.handover.map(|h| h.due)
    }

    /// It has had its time.
    pub(crate) fn transfer_timeout(&mut self, fx: &mut Effects<Self>) {
        if let Some(Handover { id, to, told, .. }) = self.handover {
            let said = if told { "did not take office in time" } else { "did not become level in time" };
            self.give_up_transfer(&format!("{to} {said}"), fx);
            if id.is_none() {
                self.heir_is_late(fx);
            }
        }
    }
}

fn note(key: &'static str, node: NodeId) -> TraceBody {
    TraceBody::Note { key, args: vec![("node", node.0.into())] }
}

#[cfg(test)]
mod tests {
    use common::protocol::Input;
    use common::types::{LogId, Member};

    use crate::message::{Answer, Message};
    use crate::testing::{A, B, C, Lab, OBSERVER, id};

    use super::*;

    /// A leader of term 2 with everything committed, and B level.
    fn leader() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.matched(B, id(2, 2));
        lab
    }

    fn ask(lab: &mut Lab, to: impl Into<Option<NodeId>>) -> Vec<String> {
        lab.step(Input::Transfer { id: 7, to: to.into() })
    }

    fn vote(term: u64, last: LogId, transfer: bool) -> Message {
        Message::RequestVote { term, last, transfer }
    }

    #[test]
    fn to_one_that_is_level_it_is_told_at_once_and_proposals_wait() {
        let mut lab = leader();
        assert_eq!(ask(&mut lab, B), ["n2: TimeoutNow(term 2)"]);
        assert_eq!(lab.propose(&["x"]), ["refused: leadership is being handed over to n2, try again"]);
        assert_eq!(ask(&mut lab, C), ["transfer 7 failed: leadership is being handed over to n2, try again"]);
        // The target asks for this node's vote, and wins.
        assert_eq!(lab.hear(B, vote(3, id(2, 2), true)), ["save term 3, vote n2"]);
        assert_eq!(lab.step(Input::HardSaved), ["n2: RequestVoteReply(term 3, granted)"]);
        assert_eq!(lab.append(B, 3, id(2, 2), 2, None)[0], "transfer 7 is over: n2 leads");
        assert_eq!(lab.raft.transfer_due(), None);
    }

    #[test]
    fn to_one_that_is_behind_it_is_told_when_it_is_level() {
        let mut lab = leader();
        lab.propose(&["x"]);
        assert!(ask(&mut lab, C).is_empty(), "it has answered nothing yet");
        lab.durable();
        let said = lab.matched(C, id(2, 2));
        assert!(said.iter().all(|l| !l.contains("TimeoutNow")), "{said:?}");
        assert_eq!(lab.matched(C, id(2, 3)), ["commit (2,3)", "n3: TimeoutNow(term 2)"]);
        assert!(lab.matched(C, id(2, 3)).is_empty(), "once");
    }

    #[test]
    fn without_a_name_the_nearest_one_is_taken() {
        let mut lab = leader();
        lab.matched(C, id(2, 2));
        lab.propose(&["x"]);
        lab.durable();
        lab.matched(C, id(2, 3));
        assert_eq!(ask(&mut lab, None), ["n3: TimeoutNow(term 2)"]);
    }

    #[test]
    fn of_those_who_are_near_it_goes_to_the_highest_priority() {
        let mut lab = leader();
        lab.matched(C, id(2, 2));
        lab.hear(B, Message::Priority { term: 2, priority: 30 });
        lab.hear(C, Message::Priority { term: 1, priority: 10 });
        assert_eq!(ask(&mut lab, None), ["n3: TimeoutNow(term 2)"]);
        // But not to one that must be asked first what it has.
        let mut lab = leader();
        lab.hear(B, Message::Priority { term: 2, priority: 30 });
        assert_eq!(ask(&mut lab, None), ["n2: TimeoutNow(term 2)"]);
    }

    #[test]
    fn who_cannot_lead_is_refused() {
        let mut lab = leader();
        lab.step(Input::PeerUp { peer: OBSERVER, member: Member::Observer });
        for (to, why) in [(A, "n1 leads already"), (OBSERVER, "n9 is not a voter"), (NodeId(7), "n7 is not a voter")] {
            assert_eq!(ask(&mut lab, to), [format!("transfer 7 failed: leadership was not handed over: {why}")]);
        }
        lab.step(Input::PeerDown { peer: B });
        lab.step(Input::PeerDown { peer: C });
        let no = |why: &str| [format!("transfer 7 failed: leadership was not handed over: {why}")];
        assert_eq!(ask(&mut lab, B), no("there is no session with n2"));
        assert_eq!(ask(&mut lab, None), no("no other voter is connected"));
        let mut follower = Lab::new(&[1]).connected();
        follower.append(B, 2, id(1, 1), 0, None);
        assert_eq!(ask(&mut follower, C), ["transfer 7 failed: this node does not lead, n2 does"]);
    }

    #[test]
    fn it_is_given_up_in_time_and_with_the_session() {
        let mut lab = leader();
        ask(&mut lab, B);
        for _ in 0..3 {
            lab.pass(50);
            lab.matched(B, id(2, 2));
        }
        assert!(!lab.propose(&["x"])[0].starts_with("accepted"));
        let said = lab.pass(50);
        assert_eq!(said[0], "transfer 7 failed: leadership was not handed over: n2 did not take office in time");
        assert_eq!(lab.propose(&["x"])[0], "accepted (2,3)..(2,3)");
        ask(&mut lab, C);
        let said = lab.step(Input::PeerDown { peer: C });
        assert_eq!(said, ["transfer 7 failed: leadership was not handed over: the session with n3 ended"]);
    }

    #[test]
    fn an_office_that_is_lost_ends_it() {
        // To another leader.
        let mut lab = leader();
        ask(&mut lab, B);
        assert_eq!(lab.append(C, 3, id(2, 2), 2, None)[0], "transfer 7 failed: the leader changed meanwhile");
        // Before the target was told.
        let mut lab = leader();
        ask(&mut lab, C);
        let said = lab.hear(C, Message::AppendEntriesReply { term: 9, round: 0, answer: Answer::Busy });
        assert_eq!(said, ["transfer 7 failed: the leader changed meanwhile", "save term 9, no vote"]);
        // To the target, which does not win: whoever waits is told after another time-out.
        let mut lab = leader();
        ask(&mut lab, B);
        lab.hear(B, vote(3, id(2, 2), true));
        lab.pass(199);
        assert!(lab.raft.transfer_due().is_some());
        assert_eq!(lab.pass(1), ["transfer 7 failed: leadership was not handed over: n2 did not take office in time"]);
    }

    /// A follower of B in term 2.
    fn follower() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.append(B, 2, id(1, 1), 0, None);
        lab.step(Input::HardSaved);
        lab
    }

    #[test]
    fn the_target_campaigns_at_once_and_says_why() {
        let mut lab = follower();
        assert_eq!(lab.hear(B, Message::TimeoutNow { term: 2 }), ["save term 3, vote n1"]);
        let asks = |to: &str| format!("{to}: RequestVote(term 3, last (1,1), transfer)");
        assert_eq!(lab.step(Input::HardSaved), [asks("n2"), asks("n3")]);
        // Also for a session that begins only now; but the next election is one like any other.
        assert_eq!(lab.step(Input::PeerUp { peer: C, member: Member::Voter }), [asks("n3")]);
        assert_eq!(lab.pass(400)[0], "n2: PreVote(term 4, last (1,1))");
        assert_eq!(lab.hear(C, Message::PreVoteReply { term: 4, granted: true }), ["save term 4, vote n1"]);
        assert_eq!(lab.step(Input::HardSaved)[0], "n2: RequestVote(term 4, last (1,1))");
    }

    #[test]
    fn nobody_else_and_nothing_late_is_obeyed() {
        for (from, term) in [(C, 2), (B, 1), (B, 3)] {
            let mut lab = follower();
            assert!(lab.hear(from, Message::TimeoutNow { term }).is_empty());
            assert_eq!((lab.raft.phase(), lab.raft.hard.term), ("follower", 2));
        }
        let mut learner = Lab::with(OBSERVER, crate::testing::log_of(&[1]), LogId::ZERO, crate::Config::default());
        learner = learner.connected();
        learner.append(B, 2, id(1, 1), 0, None);
        learner.step(Input::HardSaved);
        assert!(learner.hear(B, Message::TimeoutNow { term: 2 }).is_empty());
    }

    #[test]
    fn who_hears_the_leader_votes_for_whom_the_leader_wants() {
        let mut lab = follower();
        assert!(lab.hear(C, vote(3, id(1, 1), false)).is_empty());
        assert!(!lab.hear(C, vote(3, id(1, 0), true)).iter().any(|l| l.contains("vote n3")), "an old log");
        assert_eq!(lab.hear(C, vote(4, id(1, 1), true)), ["save term 4, vote n3"]);
    }
}
