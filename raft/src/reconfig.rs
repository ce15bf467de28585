//! Changing who belongs to the cluster while it works (section 6; thesis chapter 4).
//!
//! A change is an entry that holds the whole new membership. Where more than one voter changes, that is a *joint* one of
//! the old and the new voters, in which everything takes a quorum of each; when it is committed, the leader appends the
//! entry that leaves it.
//!
//! | rule | where | what breaks without it |
//! | --- | --- | --- |
//! | a node uses the last membership in its log, committed or not | section 6; thesis 4.1 | two quorums that share nobody |
//! | if that entry is cut off again, the one before it | thesis 4.1 | a node counts by what never was |
//! | no change before an entry of the own term is committed | raft-dev, July 2015 | two leaders, of changes that do not know of each other |
//! | one change at a time: the last must be committed | thesis 4.1 | likewise |
//! | both quorums while it is joint, for votes, commits and reads | section 6 | two leaders, one for each set |
//! | any leader leaves a joint membership, not only the one that entered it | section 6 | it stays joint for ever |
//! | a leader that does not vote any more, or whose vote weighs nothing, does not count itself, and leads until that is committed | section 6; thesis 4.2.2 | a commit without a quorum; nobody who could commit it |
//! | who votes and weighs nothing does not stand for election, nor is it handed leadership | as in ZooKeeper | one that nobody counts leads |
//! | who is left out by what it does not know to be committed may stand for election, and does not count itself | thesis 4.2.2 | the only one with the whole log does not stand, and nobody else can win |
//! | it then tells the best follower to take over | ours | nothing breaks; the others wait for a time-out |
//! | a vote is given to whoever may have it, known or not | thesis 4.2.1 | who was promoted and does not know yet does not vote, and nobody is elected |
//! | the membership is in the snapshot | section 7 | a node that starts from one counts by what was long ago |
//! | only who is nearly level becomes a voter | thesis 4.2.1 | nothing is lost; nothing is committed until it has caught up |
//! | and only if a quorum of the new voters is connected | as in etcd | likewise, for ever |

use std::cmp::Reverse;

use common::entries::{Batch, Entries, EntryKind};
use common::membership::{MemberChange, Members, Membership};
use common::mutant;
use common::protocol::{Effect, Effects, Hindrance, Refusal};
use common::trace::TraceBody;
use common::types::{LogId, NodeId};

use crate::core::{Raft, State};
use crate::membership::{Peer, Progress};
use crate::message::Message;

/// Whether a node may stand for election: also if its last membership leaves it out, as long as it does not know that to be
/// committed. It may be the only one that can be elected to commit it. Who votes and weighs nothing may not: whoever is
/// counted has the whole log first.
pub(crate) fn may_stand(members: &Members, id: NodeId) -> bool {
    members.may_lead(id) || !mutant!("R73") && members.earlier().any(|m| m.configuration.may_lead(id))
}

/// A change that was asked of this leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changing {
    id: u64,
    /// The entry whose commitment completes it.
    at: LogId,
}

impl Raft {
    /// Begins to change who belongs, or says why not.
    pub(crate) fn change(&mut self, id: u64, changes: &[MemberChange], fx: &mut Effects<Self>) {
        match self.changed(changes) {
            Ok(membership) => {
                let at = self.append_membership(&membership, fx);
                self.changing = Some(Changing { id, at });
            }
            Err(why) => {
                fx.mark("raft/reconfig#change.refused");
                fx.push(Effect::ChangeAnswer { id, answer: Err(Some(why)) });
            }
        }
    }

    /// The membership after these changes, if they may be made now.
    fn changed(&self, changes: &[MemberChange]) -> Result<Membership, Refusal> {
        let State::Leader(leader) = &self.state else { return Err(Refusal::NotLeader { leader: self.leader() }) };
        if let Some(to) = self.handing_over() {
            return Err(Refusal::Transferring { to });
        }
        let no = |why: String| Err(Refusal::NotChanged(Hindrance::NotYet(why)));
        if self.committed < leader.noop && !mutant!("R64") {
            return no("this leader has committed nothing yet, try again".to_owned());
        }
        if self.members.at() > self.committed && !mutant!("R65") {
            return no("another change is under way, try again".to_owned());
        }
        let mut made = match self.members.now().with(changes) {
            Ok(made) => made,
            Err(why) => return Err(Refusal::NotChanged(why.into())),
        };
        if mutant!("R75") {
            made = made.leave_joint().unwrap_or(made);
        }
        for voter in made.configuration.voters().ids().iter().filter(|id| !self.members.votes(**id)) {
            let Some(peer) = leader.find(*voter).filter(|p| p.connected) else {
                return no(format!("{voter} is not connected, so it cannot become a voter"));
            };
            let lacks = self.log.last().counter - peer.matched.counter;
            if lacks > self.config.max_promotion_lag {
                let most = self.config.max_promotion_lag;
                return no(format!("{voter} lacks {lacks} entries, and may lack {most} to become a voter"));
            }
        }
        let up = |id| id == self.id || leader.find(id).is_some_and(|p| p.connected);
        if !made.configuration.is_quorum(up) {
            return no(format!("no quorum of {made} is connected"));
        }
        Ok(made)
    }

    fn append_membership(&mut self, membership: &Membership, fx: &mut Effects<Self>) -> LogId {
        let at = LogId::new(self.hard.term, self.log.last().counter + 1);
        if let Some(run) = Entries::new(at, EntryKind::Membership, Batch::single(membership.encode())) {
            self.append_own(&run, fx);
        }
        at
    }

    /// A run was appended to the log: what it says about members is in force at once.
    #[inline]
    pub(crate) fn adopt(&mut self, run: &Entries, fx: &mut Effects<Self>) {
        if self.members.read(run) {
            self.adopt_members(fx);
        }
    }

    fn adopt_members(&mut self, fx: &mut Effects<Self>) {
        let text = self.members.now().to_string();
        fx.trace("raft/reconfig#adopt", "Raft 6; thesis 4.1", || TraceBody::Note {
            key: "members",
            args: vec![("members", text.into())],
        });
        if self.members.now().configuration.is_joint() {
            fx.mark("raft/reconfig#adopt.joint");
        }
        // New voters are connected, so they are peers already.
        let State::Leader(leader) = &mut self.state else { return };
        leader.peers.retain(|p| p.connected || self.members.votes(p.id));
        for peer in &mut leader.peers {
            peer.member = self.members.member(peer.id);
        }
    }

    /// Only for a mutant.
    pub(crate) fn leave_joint_too_soon(&mut self, fx: &mut Effects<Self>) {
        if let Ok(left) = self.members.now().leave_joint() {
            self.append_membership(&left, fx);
        }
    }

    /// This leader has committed something, perhaps a membership, or need not wait any more with leaving a joint one.
    #[inline]
    pub(crate) fn members_committed(&mut self, fx: &mut Effects<Self>) {
        if let State::Leader(leader) = &self.state
            && self.members.at() <= self.committed
            && self.committed >= leader.noop
        {
            self.go_on_with_members(fx);
        }
    }

    fn go_on_with_members(&mut self, fx: &mut Effects<Self>) {
        let configuration = &self.members.now().configuration;
        if configuration.is_joint() && configuration.auto_leave() {
            if self.handing_over().is_some() && !mutant!("R77") {
                // The log has to have an end. Whoever leads then leaves it; or this node, if it leads on.
                return fx.mark("raft/reconfig#members_committed.handing_over");
            }
            let mine = self.members.at().epoch == self.hard.term;
            if !mine {
                fx.mark("raft/reconfig#members_committed.entered_by_another");
            }
            if let Ok(left) = self.members.now().leave_joint()
                && (mine || !mutant!("R72"))
            {
                let at = self.append_membership(&left, fx);
                self.changing.iter_mut().for_each(|c| c.at = at);
            }
            return;
        }
        let committed = self.committed;
        if let Some(Changing { id, at }) = self.changing.take_if(|c| c.at <= committed) {
            fx.push(Effect::ChangeAnswer { id, answer: Ok(at) });
        }
        if !self.members.may_lead(self.id) && !mutant!("R71") {
            self.leave_office(fx);
        }
    }

    /// It is committed that this leader does not vote any more, or weighs nothing: whoever has its whole log may take over at once.
    fn leave_office(&mut self, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &self.state else { return };
        let last = self.log.last();
        let level = |p: &&Peer| {
            p.connected && p.progress == Progress::Replicate && p.matched == last && self.members.may_lead(p.id)
        };
        let heir = leader.peers.iter().filter(level).max_by_key(|p| (p.priority, Reverse(p.id)));
        let term = self.hard.term;
        if let Some(heir) = heir.map(|p| p.id) {
            fx.mark("raft/reconfig#leave_office.heir");
            fx.send(heir, Message::TimeoutNow { term });
        }
        self.become_follower(term, None, fx);
    }

    /// This node leads no more: what becomes of a change is for others to decide.
    pub(crate) fn forget_change(&mut self, fx: &mut Effects<Self>) {
        if let Some(Changing { id, .. }) = self.changing.take() {
            fx.mark("raft/reconfig#forget_change");
            fx.push(Effect::ChangeAnswer { id, answer: Err(None) });
        }
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::{Boot, Input, Protocol};
    use common::quorum::Change;
    use common::types::{Member, Micros};

    use super::*;
    use crate::config::Config;
    use crate::core::Hard;
    use crate::testing::{A, B, C, Lab, id, log_of};

    const D: NodeId = NodeId(4);

    /// A leader of term 2 that has committed its no-op, with B and C level and D connected and level.
    fn leader() -> Lab {
        let mut lab = Lab::new(&[1]).connected();
        lab.step(Input::PeerUp { peer: D, member: Member::Observer });
        lab.lead();
        lab.durable();
        for peer in [B, B, C, D] {
            lab.matched(peer, id(2, 2));
        }
        lab
    }

    fn change(lab: &mut Lab, changes: &[Change]) -> Vec<String> {
        let address = Some("h:1".to_owned());
        let changes = changes.iter().map(|change| MemberChange { change: *change, address: address.clone() });
        lab.step(Input::Change { id: 7, changes: changes.collect() })
    }

    fn refused(lab: &mut Lab, changes: &[Change]) -> String {
        let said = change(lab, changes);
        let [one] = &said[..] else { panic!("{said:?}") };
        one.replace("change 7 failed: the members were not changed: ", "")
    }

    fn entry(at: LogId, voters: &[NodeId]) -> Entries {
        let membership = Membership::of_ids(voters.iter().copied());
        Entries::new(at, EntryKind::Membership, Batch::single(membership.encode())).unwrap()
    }

    #[test]
    fn what_is_not_safe_is_refused_with_its_reason() {
        let mut lab = Lab::new(&[1]).connected();
        assert_eq!(refused(&mut lab, &[Change::Voter(D)]), "change 7 failed: this node does not lead");
        lab.lead();
        let said = refused(&mut lab, &[Change::Remove(C)]);
        assert_eq!(said, "this leader has committed nothing yet, try again");
        let mut lab = leader();
        assert_eq!(refused(&mut lab, &[Change::Voter(NodeId(5))]), "n5 is not connected, so it cannot become a voter");
        lab.step(Input::PeerDown { peer: B });
        assert_eq!(refused(&mut lab, &[Change::Remove(C)]), "no quorum of voters=(1 2) is connected");
        lab.raft.config.max_promotion_lag = 1;
        lab.propose(&["a", "b"]);
        assert_eq!(refused(&mut lab, &[Change::Voter(D)]), "n4 lacks 2 entries, and may lack 1 to become a voter");
        lab.matched(D, id(2, 3));
        assert_eq!(change(&mut lab, &[Change::Voter(D)])[0], "append (2,5)..(2,5)");
        assert_eq!(refused(&mut lab, &[Change::Remove(D)]), "another change is under way, try again");
    }

    #[test]
    fn a_leader_that_goes_does_not_count_itself_and_leads_until_it_is_gone() {
        let mut lab = leader();
        assert_eq!(change(&mut lab, &[Change::Remove(A)])[0], "append (2,3)..(2,3)");
        lab.durable();
        lab.matched(B, id(2, 3));
        assert_eq!(lab.raft.committed, id(2, 2), "B alone is no quorum of B and C");
        assert_eq!(lab.propose(&["x"])[0], "accepted (2,4)..(2,4)", "it still leads");
        assert_eq!(lab.matched(C, id(2, 3))[..2], ["commit (2,3)", "change 7 is over at (2,3)"]);
        assert_eq!(lab.raft.phase(), "learner");
        assert!(lab.pass(10_000).is_empty(), "and does not stand for election");
    }

    #[test]
    fn a_leader_that_weighs_nothing_leads_until_that_is_committed_and_stands_no_more() {
        let mut lab = leader();
        let weighs = |id, weight| Change::Weight { id, weight, group: None };
        let said = refused(&mut lab, &[weighs(A, 0), weighs(B, 0), weighs(C, 0)]);
        assert_eq!(said, "the weights of all voters would be 0; at least one must be from 1 to 1000");
        assert_eq!(refused(&mut lab, &[weighs(D, 1)]), "weight of n4: it is no voter, and only voters have a weight");
        assert_eq!(change(&mut lab, &[weighs(A, 0), weighs(B, 2)])[0], "append (2,3)..(2,3)");
        assert_eq!(lab.raft.members.now().to_string(), "voters=(1*0 2*2 3)&&(1 2 3) autoleave");
        lab.durable();
        lab.matched(C, id(2, 3));
        assert_eq!(lab.raft.committed, id(2, 2), "it is a quorum of the old ones, and has one of three of the new");
        assert_eq!(lab.matched(B, id(2, 3))[..2], ["commit (2,3)", "append (2,4)..(2,4)"]);
        // From here on B is a quorum, and this leader's disk is not asked.
        let said = lab.matched(B, id(2, 4));
        assert_eq!(said[..2], ["commit (2,4)", "change 7 is over at (2,4)"]);
        assert!(said.contains(&"n2: TimeoutNow(term 2)".to_owned()), "{said:?}");
        assert_eq!(lab.raft.phase(), "follower");
        assert!(lab.pass(10_000).is_empty(), "it does not stand for election");
    }

    #[test]
    fn a_joint_membership_is_left_when_it_is_clear_who_leads() {
        let mut lab = leader();
        change(&mut lab, &[Change::Remove(B), Change::Remove(C), Change::Voter(D)]);
        lab.durable();
        lab.matched(B, id(2, 3));
        assert_eq!(lab.step(Input::Transfer { id: 1, to: Some(B) }), ["n2: TimeoutNow(term 2)"]);
        assert_eq!(lab.matched(D, id(2, 3)), ["commit (2,3)"], "the log has to have an end");
        let said = lab.pass(250);
        assert_eq!(said[0], "transfer 1 failed: leadership was not handed over: n2 did not take office in time");
        assert_eq!(said[1], "append (2,4)..(2,4)");
        assert_eq!(lab.raft.members.now(), &Membership::of([(A, "n1".to_owned()), (D, "h:1".to_owned())].into()));
    }

    /// Peers are known by their places in a list, and the list is shorter afterwards: random schedule 5,0xx.
    #[test]
    fn the_answer_that_commits_may_take_peers_away() {
        let mut lab = leader();
        lab.step(Input::PeerDown { peer: C });
        change(&mut lab, &[Change::Remove(B), Change::Remove(C), Change::Voter(D)]);
        lab.durable();
        lab.matched(B, id(2, 3));
        let said = lab.matched(D, id(2, 3));
        assert_eq!(said[..2], ["commit (2,3)", "append (2,4)..(2,4)"]);
        let State::Leader(leader) = &lab.raft.state else { panic!() };
        assert_eq!(leader.peers.iter().map(|p| p.id).collect::<Vec<_>>(), [B, D]);
    }

    #[test]
    fn whoever_lost_the_office_does_not_know_what_becomes_of_the_change() {
        let mut lab = leader();
        change(&mut lab, &[Change::Voter(D)]);
        let said = lab.append(B, 3, id(1, 1), 0, None);
        assert!(said.contains(&"change 7: nobody knows".to_owned()), "{said:?}");
    }

    #[test]
    fn a_membership_is_in_force_as_long_as_it_is_in_the_log() {
        let mut lab = Lab::new(&[1]).connected();
        lab.append(B, 2, id(1, 1), 0, Some(entry(id(2, 2), &[A, B, C, D])));
        assert!(lab.raft.members.votes(D));
        assert_eq!(lab.raft.membership().0, id(2, 2));
        lab.append(C, 3, id(1, 1), 0, Some(crate::testing::run(3, 2, 1)));
        assert!(!lab.raft.members.votes(D));
        assert_eq!(lab.raft.membership().0, LogId::ZERO);
    }

    #[test]
    fn a_start_finds_it_in_the_log_and_in_the_snapshot() {
        let mut log = log_of(&[1, 1]);
        log.append(entry(id(1, 3), &[A, B]));
        let boot = |snapshot: LogId, membership| Boot {
            id: A,
            membership: (LogId::ZERO, membership),
            config: Config::default(),
            seed: 1,
            now: Micros(0),
            hard: Hard { term: 1, ..Hard::default() },
            snapshot,
            log: log.clone(),
        };
        let raft = Raft::new(boot(id(1, 1), Membership::of_ids([A, B, C])));
        assert_eq!(raft.members.now(), &Membership::of_ids([A, B]));
        let raft = Raft::new(boot(id(1, 3), Membership::of_ids([A, B])));
        assert_eq!(raft.members.now(), &Membership::of_ids([A, B]));
    }
}
