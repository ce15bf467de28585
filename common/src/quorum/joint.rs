//! Who belongs to a cluster, who counts, and how that may change (section 6; thesis chapter 4).
//!
//! A configuration has voters and learners. While it is *joint* it has two sets of voters, those to be and those that were,
//! and everything that is counted must reach a quorum of each: so neither can decide anything without the other, however
//! much they differ, and a change of any size is safe.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | both majorities, for votes, commits and reads, while it is joint | two leaders, one for each set |
//! | out of joint, one voter at most changes at a time | a majority of the old set and one of the new need not share a node |
//! | no second change while it is joint | three sets, of which the outer two need not overlap |
//! | a voter that is to be a learner stays a voter until the joint configuration is left | it would be counted, and not be counted |
//! | never without a voter | nobody could ever change anything again |
//!
//! These are values: a change makes a new one, or a refusal that says why. When one comes into force is the protocol's
//! business.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Voters;
use crate::types::NodeId;

/// One thing to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Make it a voter: a new one, or a learner that is promoted.
    Voter(NodeId),
    /// Make it a learner: a new one, or a voter that is demoted.
    Learner(NodeId),
    /// It is to belong no more.
    Remove(NodeId),
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeRefusal {
    /// One change is under way.
    #[error("a joint configuration is in force; it must be left before anything else is changed")]
    Joint,
    /// None is.
    #[error("no joint configuration is in force, so there is none to leave")]
    NotJoint,
    /// There is nothing yet that could be joint.
    #[error("a cluster without voters has no joint configuration")]
    NoVoters,
    /// Nobody would vote any more.
    #[error("no voter would be left")]
    LastVoter,
    /// It takes a joint configuration.
    #[error("{changed} voters would change; without a joint configuration it may be one at a time")]
    TooMany {
        /// How many would.
        changed: usize,
    },
}

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// By a quorum of each set.
    Won,
    /// One set can no longer have a quorum.
    Lost,
    /// It depends on those who have not answered.
    Pending,
}

/// Who votes, who learns, and whether that is changing. What it is for stands at the top of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    voters: Voters,
    /// Those that were, while it is joint; else empty.
    outgoing: Voters,
    learners: Vec<NodeId>,
    /// Voters of `outgoing` that are to be learners when it is left.
    learners_next: Vec<NodeId>,
    auto_leave: bool,
}

impl Configuration {
    /// These voters and learners, not joint. Who is named as both votes.
    pub fn new(voters: impl IntoIterator<Item = NodeId>, learners: impl IntoIterator<Item = NodeId>) -> Self {
        let mut made = Self { voters: Voters::new(voters), ..Self::default() };
        learners.into_iter().filter(|id| !made.voters.contains(*id)).for_each(|id| insert(&mut made.learners, id));
        made
    }

    /// Those who vote, or are to when it is joint.
    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// Those who voted before, while it is joint; else nobody.
    pub fn outgoing(&self) -> &Voters {
        &self.outgoing
    }

    /// Those who are replicated to and not counted.
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// Those who will be learners when the joint configuration is left, and are counted until then.
    pub fn learners_next(&self) -> &[NodeId] {
        &self.learners_next
    }

    /// Whether two sets of voters are in force.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.ids().is_empty()
    }

    /// Whether the leader leaves the joint configuration by itself, as soon as it is committed.
    pub fn auto_leave(&self) -> bool {
        self.auto_leave
    }

    /// Whether a node votes, in either set.
    pub fn votes(&self, node: NodeId) -> bool {
        self.voters.contains(node) || self.outgoing.contains(node)
    }

    /// Everyone who belongs, in order.
    pub fn members(&self) -> Vec<NodeId> {
        let mut all = [self.voters.ids(), self.outgoing.ids(), &self.learners, &self.learners_next].concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The sets that count: one, or two while it is joint. None where nobody votes.
    fn halves(&self) -> impl Iterator<Item = &Voters> {
        [&self.voters, &self.outgoing].into_iter().filter(|half| !half.ids().is_empty())
    }

    /// Whether the voters that satisfy `has` form a quorum of each set. Never, where nobody votes.
    pub fn is_quorum(&self, mut has: impl FnMut(NodeId) -> bool) -> bool {
        self.halves().next().is_some() && self.halves().all(|half| half.is_quorum(&mut has))
    }

    /// The greatest value which a quorum of each set has reached; nothing, where nobody votes.
    pub fn reached<T: Ord + Copy + Default>(&self, mut reached: impl FnMut(NodeId) -> T) -> T {
        self.halves().map(|half| half.reached(&mut reached)).min().unwrap_or_default()
    }

    /// How an election stands, by what each voter answered so far. Where nobody votes, nobody is elected.
    pub fn vote(&self, mut voted: impl FnMut(NodeId) -> Option<bool>) -> Vote {
        if self.is_quorum(|id| voted(id) == Some(true)) {
            Vote::Won
        } else if self.is_quorum(|id| voted(id) != Some(false)) {
            Vote::Pending
        } else {
            Vote::Lost
        }
    }

    /// With these changes made, in order, of which at most one may be to the set of voters.
    pub fn simple(&self, changes: &[Change]) -> Result<Self, ChangeRefusal> {
        if self.is_joint() {
            return Err(ChangeRefusal::Joint);
        }
        let made = self.with(changes)?;
        let differs = |a: &Voters, b: &Voters| a.ids().iter().filter(|id| !b.contains(**id)).count();
        match differs(&self.voters, &made.voters) + differs(&made.voters, &self.voters) {
            0 | 1 => Ok(made),
            changed => Err(ChangeRefusal::TooMany { changed }),
        }
    }

    /// The joint configuration of this one and the one with these changes made, however many.
    pub fn enter_joint(&self, auto_leave: bool, changes: &[Change]) -> Result<Self, ChangeRefusal> {
        if self.is_joint() {
            return Err(ChangeRefusal::Joint);
        }
        if self.voters.ids().is_empty() {
            return Err(ChangeRefusal::NoVoters);
        }
        Self { outgoing: self.voters.clone(), auto_leave, ..self.clone() }.with(changes)
    }

    /// The new one of the two that are joint.
    pub fn leave_joint(&self) -> Result<Self, ChangeRefusal> {
        if !self.is_joint() {
            return Err(ChangeRefusal::NotJoint);
        }
        let learners = [&self.learners[..], &self.learners_next].concat();
        Ok(Self::new(self.voters.ids().iter().copied(), learners))
    }

    fn with(&self, changes: &[Change]) -> Result<Self, ChangeRefusal> {
        let mut made = self.clone();
        for change in changes {
            match *change {
                // Zero is never a node.
                Change::Voter(NodeId(0)) | Change::Learner(NodeId(0)) | Change::Remove(NodeId(0)) => {}
                Change::Voter(id) => {
                    made.remove(id);
                    insert(&mut made.voters.ids, id);
                }
                Change::Learner(id) => {
                    made.remove(id);
                    let counted = made.outgoing.contains(id);
                    insert(if counted { &mut made.learners_next } else { &mut made.learners }, id);
                }
                Change::Remove(id) => made.remove(id),
            }
        }
        if made.voters.ids().is_empty() { Err(ChangeRefusal::LastVoter) } else { Ok(made) }
    }

    fn remove(&mut self, id: NodeId) {
        for list in [&mut self.voters.ids, &mut self.learners, &mut self.learners_next] {
            list.retain(|member| *member != id);
        }
    }
}

fn insert(list: &mut Vec<NodeId>, id: NodeId) {
    if let Err(at) = list.binary_search(&id) {
        list.insert(at, id);
    }
}

/// `voters=(1 2)&&(1 2 3) learners=(4) learners_next=(3) autoleave`, as etcd writes it.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &[NodeId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" ");
        write!(f, "voters=({})", list(self.voters.ids()))?;
        if self.is_joint() {
            write!(f, "&&({})", list(self.outgoing.ids()))?;
        }
        for (name, ids) in [("learners", &self.learners), ("learners_next", &self.learners_next)] {
            if !ids.is_empty() {
                write!(f, " {name}=({})", list(ids))?;
            }
        }
        f.write_str(if self.auto_leave { " autoleave" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(voters: &[u64], learners: &[u64]) -> Configuration {
        let ids = |list: &[u64]| list.iter().copied().map(NodeId).collect::<Vec<_>>();
        Configuration::new(ids(voters), ids(learners))
    }

    #[test]
    fn all_of_a_replacement_at_once() {
        use Change::{Learner, Remove, Voter};
        let old = of(&[1, 2, 3], &[4]);
        let changes = [Voter(NodeId(4)), Voter(NodeId(5)), Learner(NodeId(3)), Remove(NodeId(1))];
        assert_eq!(old.simple(&changes), Err(ChangeRefusal::TooMany { changed: 4 }));
        let joint = old.enter_joint(true, &changes).unwrap();
        assert_eq!(joint.to_string(), "voters=(2 4 5)&&(1 2 3) learners_next=(3) autoleave");
        assert_eq!(joint.members(), [1, 2, 3, 4, 5].map(NodeId));
        assert!(joint.votes(NodeId(1)) && joint.votes(NodeId(4)));
        for (yes, quorum) in [(&[1, 2, 3][..], false), (&[2, 4, 5], false), (&[2, 4, 3], true), (&[1, 3, 4, 5], true)] {
            assert_eq!(joint.is_quorum(|id| yes.contains(&id.0)), quorum, "{yes:?}");
        }
        assert_eq!(joint.reached(|id| id.0), 2, "of the old ones 2, of the new ones 4");
        assert_eq!(joint.simple(&[]), Err(ChangeRefusal::Joint));
        assert_eq!(joint.enter_joint(true, &[]), Err(ChangeRefusal::Joint));
        let new = joint.leave_joint().unwrap();
        assert_eq!(new, of(&[2, 4, 5], &[3]));
        assert_eq!(new.leave_joint(), Err(ChangeRefusal::NotJoint));
    }

    #[test]
    fn a_cluster_without_voters_decides_nothing() {
        let none = Configuration::default();
        assert!(!none.is_quorum(|_| true));
        assert_eq!((none.reached(|_| 7), none.vote(|_| Some(true))), (0, Vote::Lost));
        assert_eq!(none.enter_joint(false, &[]), Err(ChangeRefusal::NoVoters));
        assert_eq!(of(&[1], &[]).simple(&[Change::Remove(NodeId(1))]), Err(ChangeRefusal::LastVoter));
        assert_eq!(none.simple(&[Change::Voter(NodeId(1))]), Ok(of(&[1], &[])));
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = (0..3, 1..8_u64).prop_map(|(kind, id)| match kind {
            0 => Change::Voter(NodeId(id)),
            1 => Change::Learner(NodeId(id)),
            _ => Change::Remove(NodeId(id)),
        });
        vec(change, 0..6)
    }

    proptest! {
        /// Whatever is changed and however: a quorum of before and one of after share a voter, in every step. And nobody is
        /// ever both a voter and a learner, or lost by a change that does not remove it.
        #[test]
        fn quorums_of_before_and_after_share_a_voter(
            start in vec(1..8_u64, 1..6),
            steps in vec((changes(), any::<bool>(), any::<bool>()), 1..8),
            a in any::<u8>(),
            b in any::<u8>(),
        ) {
            let mut now = of(&start, &[]);
            for (changes, joint, leave) in steps {
                let next = match () {
                    () if now.is_joint() && leave => now.leave_joint(),
                    () if joint => now.enter_joint(false, &changes),
                    () => now.simple(&changes),
                };
                let Ok(next) = next else { continue };
                let (in_a, in_b) = (|id: NodeId| a >> id.0 & 1 == 1, |id: NodeId| b >> id.0 & 1 == 1);
                if now.is_quorum(in_a) && next.is_quorum(in_b) {
                    prop_assert!((1..8).map(NodeId).any(|id| in_a(id) && in_b(id)), "{now} and {next}");
                }
                prop_assert!(!next.voters().ids().is_empty());
                prop_assert!(next.learners().iter().all(|id| !next.votes(*id)), "{next}");
                prop_assert!(next.learners_next().iter().all(|id| next.outgoing().contains(*id)), "{next}");
                prop_assert!(next.learners_next().iter().all(|id| !next.voters().contains(*id)), "{next}");
                let removed = |id: &NodeId| changes.contains(&Change::Remove(*id));
                let gone = now.members().into_iter().find(|id| !next.members().contains(id));
                prop_assert!(gone.is_none_or(|id| removed(&id) || now.is_joint()), "{now} and {next}");
                now = next;
            }
        }

        /// `reached` is the largest value that a quorum is at or above, and an election is won when enough said yes.
        #[test]
        fn counting_agrees_with_quorums(
            start in vec(1..8_u64, 1..6),
            changes in changes(),
            at in vec(0..9_u64, 8),
            votes in vec(proptest::option::of(any::<bool>()), 8),
        ) {
            let start = of(&start, &[]);
            let now = start.enter_joint(false, &changes).unwrap_or(start);
            let of = |id: NodeId| at[id.0 as usize];
            let r = now.reached(of);
            prop_assert!(now.is_quorum(|id| of(id) >= r) && !now.is_quorum(|id| of(id) > r));
            let voted = |id: NodeId| votes[id.0 as usize];
            let (yes, no) = (now.is_quorum(|id| voted(id) == Some(true)), !now.is_quorum(|id| voted(id) != Some(false)));
            prop_assert_eq!(now.vote(voted), if yes { Vote::Won } else if no { Vote::Lost } else { Vote::Pending });
        }
    }
}
