//! A disk that has stopped answering (not in the paper). Nothing that is safe depends on it: a promise waits for its disk
//! however long that takes. But a leader is of little use without its disk: every commit needs all of a bare quorum of
//! others, what its disk has not taken gathers in memory, and a disk that stalls is often one that is about to fail.
//!
//! A disk is *stalled* when it has had a write of this node to do (an `Append` or a `SaveHard`) for
//! [`disk_stall_ms`](crate::Config::disk_stall_ms) and has finished none meanwhile. A disk that is slow and goes on is not.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | who leads with a stalled disk hands its office over, as in [`transfer`](crate::transfer) | it stays, at its disk's mercy, for as long as the stall lasts |
//! | to a voter whose disk has taken what its own has not | where all disks are slow, or the heir's is the slow one too, nothing is gained |
//! | and only if the others are a quorum without it | nobody could be elected, since a vote needs a disk; it can at least serve reads |
//! | if the heir does not take office in time, it steps down | the same as without the first rule, by way of an heir that has just died |
//! | who has a stalled disk does not stand for election | it votes for itself in a term of which nobody ever hears, and follows no leader meanwhile |

use std::cmp::Reverse;

use common::mutant;
use common::protocol::Effects;
use common::types::{Micros, NodeId};

use crate::core::{Raft, State};
use crate::membership::{Peer, Progress};

impl Raft {
    /// After every step: whether the disk has something to do, and whether it has just finished something.
    pub(crate) fn watch_disk(&mut self, finished: bool) {
        let waits = self.unsaved > 0 || self.durable < self.log.last();
        self.disk_since = match self.disk_since {
            _ if !waits => None,
            Some(since) if !finished => Some(since),
            _ => Some(self.now),
        };
    }

    /// When the disk counts as stalled, if it finishes nothing until then.
    fn stalls_at(&self) -> Option<Micros> {
        let limit = self.config.disk_stall_ms;
        self.disk_since.filter(|_| limit > 0).map(|since| since.after(Micros::from_millis(limit)))
    }

    /// Whether it has finished nothing for too long.
    pub(crate) fn disk_is_stalled(&self) -> bool {
        self.stalls_at().is_some_and(|at| self.now >= at)
    }

    /// When to look, if it has not been looked since: once it is stalled, each heartbeat looks again.
    pub(crate) fn stall_due(&self) -> Option<Micros> {
        self.stalls_at().filter(|at| *at > self.now && matches!(self.state, State::Leader(_)))
    }

    /// A leader's look at its disk.
    pub(crate) fn leave_stalled_disk(&mut self, fx: &mut Effects<Self>) {
        if !self.disk_is_stalled() || self.handover.is_some() || mutant!("R80") {
            return;
        }
        match self.better_placed() {
            Some(heir) => {
                fx.mark("raft/stall#leave_stalled_disk.to_an_heir");
                self.hand_over(None, heir, fx);
            }
            None => fx.mark("raft/stall#leave_stalled_disk.nobody_is_better_placed"),
        }
    }

    /// Who does not suffer from this disk: a connected voter that is being replicated to and has written what this node has
    /// not, if it can be elected without this node's vote.
    fn better_placed(&self) -> Option<NodeId> {
        let State::Leader(leader) = &self.state else { return None };
        let there = |id| id != self.id && leader.find(id).is_some_and(|p| p.connected);
        let able = |p: &&Peer| {
            let writes = p.matched > self.durable && p.progress == Progress::Replicate;
            p.connected && writes && self.members.may_lead(p.id)
        };
        let rank = |p: &&Peer| (p.priority, p.matched, Reverse(p.id));
        let best = leader.peers.iter().filter(able).max_by_key(rank);
        best.filter(|_| self.members.is_quorum(there)).map(|p| p.id)
    }

    /// The heir did not take office in time. Unless the disk goes on again, this node gives its own up all the same.
    pub(crate) fn heir_is_late(&mut self, fx: &mut Effects<Self>) {
        if matches!(self.state, State::Leader(_)) && self.disk_is_stalled() {
            fx.mark("raft/stall#heir_is_late.steps_down");
            self.become_follower(self.hard.term, None, fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::{Input, Protocol};
    use common::types::LogId;

    use super::*;
    use crate::config::Config;
    use crate::message::Message;
    use crate::testing::{A, B, C, Lab, id, log_of};

    /// A leader of term 2 that hears its followers for so many milliseconds, in steps of a heartbeat.
    fn hear(lab: &mut Lab, ms: u64, matched: &[(NodeId, LogId)]) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..ms / 50 {
            said.extend(lab.pass(50));
            for (peer, upto) in matched {
                said.extend(lab.matched(*peer, *upto));
            }
        }
        said.retain(|line| !line.contains("AppendEntries"));
        said
    }

    /// A leader of term 2 whose disk has its no-op, and not the entry that B and C have.
    fn stalled() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        hear(&mut lab, 50, &[(B, id(2, 2)), (C, id(2, 2))]);
        lab.propose(&["x"]);
        hear(&mut lab, 350, &[(B, id(2, 3)), (C, id(2, 3))]);
        lab
    }

    #[test]
    fn office_goes_to_one_whose_disk_has_more() {
        let mut lab = stalled();
        assert_eq!(lab.raft.wake_at(), Some(lab.now.after(Micros::from_millis(50))));
        assert_eq!(hear(&mut lab, 50, &[(B, id(2, 3))]), ["n2: TimeoutNow(term 2)"]);
        assert_eq!(lab.propose(&["y"]), ["refused: leadership is being handed over to n2, try again"]);
        // The next leader's word is the end of it; nobody waits for an answer.
        assert_eq!(lab.append(B, 3, id(2, 3), 3, None), ["save term 3, no vote"]);
        assert_eq!(lab.raft.transfer_due(), None);
    }

    #[test]
    fn an_heir_that_is_late_takes_nothing_from_it() {
        let mut lab = stalled();
        let said = hear(&mut lab, 200, &[(B, id(2, 3))]);
        assert_eq!((said.as_slice(), lab.raft.phase()), (&["n2: TimeoutNow(term 2)".to_owned()][..], "leader"));
        hear(&mut lab, 50, &[]);
        assert_eq!((lab.raft.phase(), lab.raft.hard.term), ("follower", 2));
        // It does not stand while its disk does nothing.
        assert!(hear(&mut lab, 1000, &[]).is_empty());
        lab.step(Input::Durable { upto: id(2, 3) });
        assert_eq!(lab.pass(400)[0], "n2: PreVote(term 3, last (2,3))");
    }

    #[test]
    fn a_disk_that_goes_on_meanwhile_keeps_the_office() {
        let mut lab = stalled();
        hear(&mut lab, 50, &[(B, id(2, 3))]);
        lab.durable();
        hear(&mut lab, 300, &[(B, id(2, 3))]);
        assert_eq!(lab.raft.phase(), "leader");
        assert!(lab.propose(&["y"])[0].starts_with("accepted"));
        // One that is slow and finishes something now and then is not stalled, however much waits.
        for index in 4..12 {
            lab.propose(&["z"]);
            assert!(
                hear(&mut lab, 350, &[(B, id(2, index)), (C, id(2, index))]).iter().all(|l| !l.contains("TimeoutNow"))
            );
            lab.step(Input::Durable { upto: id(2, index) });
        }
        assert_eq!(lab.raft.phase(), "leader");
    }

    #[test]
    fn nobody_else_to_lead_keeps_it_in_office() {
        // All disks are slow.
        let mut lab = stalled();
        lab.propose(&["y"]);
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        hear(&mut lab, 50, &[(B, id(2, 2)), (C, id(2, 2))]);
        lab.propose(&["x"]);
        assert!(hear(&mut lab, 1000, &[(B, id(2, 2)), (C, id(2, 2))]).is_empty());
        assert_eq!(lab.raft.phase(), "leader");
        // And no wake-up is wasted on it.
        assert!(lab.raft.wake_at().is_some_and(|at| at > lab.now));
        // One other is no quorum of three without it; with the third there is one.
        lab.step(Input::PeerDown { peer: C });
        hear(&mut lab, 100, &[(B, id(2, 3))]);
        assert_eq!(lab.raft.handing_over(), None);
        lab.step(Input::PeerUp { peer: C, member: common::types::Member::Voter });
        assert_eq!(hear(&mut lab, 50, &[(B, id(2, 3))]), ["n2: TimeoutNow(term 2)"]);
    }

    #[test]
    fn it_can_be_turned_off() {
        let config = Config { disk_stall_ms: 0, ..Config::default() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
        lab.lead();
        hear(&mut lab, 5000, &[(B, id(2, 2)), (C, id(2, 2))]);
        assert_eq!((lab.raft.phase(), lab.raft.stall_due()), ("leader", None));
    }

    #[test]
    fn a_follower_whose_disk_stalls_does_not_stand_whoever_wants_it() {
        let mut lab = Lab::new(&[1]).connected();
        lab.append(B, 1, id(1, 1), 0, Some(crate::testing::run(1, 2, 1)));
        for _ in 0..8 {
            lab.pass(50);
            lab.append(B, 1, id(1, 2), 0, None);
        }
        assert!(lab.hear(B, Message::TimeoutNow { term: 1 }).is_empty());
        assert_eq!(lab.raft.phase(), "follower");
        lab.durable();
        assert_eq!(lab.hear(B, Message::TimeoutNow { term: 1 }), ["save term 2, vote n1"]);
    }
}
