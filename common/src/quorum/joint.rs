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
//! | out of joint, nothing changes where voters do not count the same | one that weighs much is a quorum by itself |
//! | no second change while it is joint | three sets, of which the outer two need not overlap |
//! | a voter that is to be a learner stays a voter until the joint configuration is left | it would be counted, and not be counted |
//! | never without a voter that weighs anything | nobody could ever change anything again |
//!
//! These are values: a change makes a new one, or a refusal that says why. When one comes into force is the protocol's
//! business.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{MAX_GROUPS, MAX_WEIGHT, Share, Voters};
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
    /// What a voter is to count.
    Weight {
        /// Which.
        id: NodeId,
        /// 0 to [`MAX_WEIGHT`]; with 0 it is never counted, nor elected.
        weight: u32,
        /// Its group, below [`MAX_GROUPS`]; None leaves it where it is.
        group: Option<u32>,
    },
}

impl Change {
    /// Whom it concerns.
    pub fn node(self) -> NodeId {
        match self {
            Self::Voter(id) | Self::Learner(id) | Self::Remove(id) | Self::Weight { id, .. } => id,
        }
    }
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
    /// Likewise.
    #[error("the voters do not count the same, or would not; that changes only with a joint configuration")]
    Unequal,
    /// Nobody would be counted any more.
    #[error("the weights of all voters would be 0; at least one must be from 1 to {MAX_WEIGHT}")]
    NoWeight,
    /// Only voters count.
    #[error("weight of {0}: it is no voter, and only voters have a weight")]
    NotVoter(NodeId),
    /// It would count too much.
    #[error("weight of {id}: {weight}; allowed is 0 to {MAX_WEIGHT}")]
    Weight {
        /// Who.
        id: NodeId,
        /// How much.
        weight: u32,
    },
    /// There are fewer groups.
    #[error("group of {id}: {group}; allowed is 0 to {}", MAX_GROUPS - 1)]
    Group {
        /// Who.
        id: NodeId,
        /// Which.
        group: u32,
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

    /// Whether a node may be elected: it weighs something, in either set.
    pub fn may_lead(&self, node: NodeId) -> bool {
        self.voters.weight(node) > 0 || self.outgoing.weight(node) > 0
    }

    /// Only for mutants: everyone in one group.
    pub(crate) fn without_groups(&self) -> Self {
        self.recounted(|share| Share { group: 0, ..share })
    }

    /// Only for mutants: one node, one vote.
    pub(crate) fn without_weights(&self) -> Self {
        self.recounted(|_| Share::default())
    }

    fn recounted(&self, count: impl Fn(Share) -> Share) -> Self {
        let mut made = self.clone();
        for half in [&mut made.voters, &mut made.outgoing] {
            for id in half.ids().to_vec() {
                half.share(id).into_iter().for_each(|share| half.weigh(id, count(share)));
            }
        }
        made
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
        if !self.is_joint() {
            return self.voters.reached(reached);
        }
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

    /// With these changes made, in order, of which at most one may be to the set of voters, and that only where all voters
    /// count the same.
    pub fn simple(&self, changes: &[Change]) -> Result<Self, ChangeRefusal> {
        if self.is_joint() {
            return Err(ChangeRefusal::Joint);
        }
        let made = self.with(changes)?;
        let differs = |a: &Voters, b: &Voters| a.ids().iter().filter(|id| !b.contains(**id)).count();
        let plain = self.voters.is_plain() && made.voters.is_plain();
        match differs(&self.voters, &made.voters) + differs(&made.voters, &self.voters) {
            0 | 1 if plain || made.voters == self.voters => Ok(made),
            0 | 1 => Err(ChangeRefusal::Unequal),
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
        let mut left = Self { voters: self.voters.clone(), learners: self.learners.clone(), ..Self::default() };
        self.learners_next.iter().for_each(|id| insert(&mut left.learners, *id));
        Ok(left)
    }

    fn with(&self, changes: &[Change]) -> Result<Self, ChangeRefusal> {
        let mut made = self.clone();
        for change in changes {
            match *change {
                // Zero is never a node.
                Change::Voter(NodeId(0)) | Change::Learner(NodeId(0)) | Change::Remove(NodeId(0)) => {}
                Change::Voter(id) => {
                    made.unlearn(id);
                    made.voters.insert(id);
                }
                Change::Learner(id) => {
                    made.remove(id);
                    let counted = made.outgoing.contains(id);
                    insert(if counted { &mut made.learners_next } else { &mut made.learners }, id);
                }
                Change::Remove(id) => made.remove(id),
                Change::Weight { id, weight, group } => made.weigh(id, weight, group)?,
            }
        }
        match made.voters.ids() {
            [] => Err(ChangeRefusal::LastVoter),
            _ if !made.voters.weighs() => Err(ChangeRefusal::NoWeight),
            _ => Ok(made),
        }
    }

    fn remove(&mut self, id: NodeId) {
        self.voters.remove(id);
        self.unlearn(id);
    }

    fn unlearn(&mut self, id: NodeId) {
        for list in [&mut self.learners, &mut self.learners_next] {
            list.retain(|member| *member != id);
        }
    }

    fn weigh(&mut self, id: NodeId, weight: u32, group: Option<u32>) -> Result<(), ChangeRefusal> {
        let now = self.voters.share(id).ok_or(ChangeRefusal::NotVoter(id))?;
        let fits = u16::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
        let weight = fits.ok_or(ChangeRefusal::Weight { id, weight })?;
        let group = group.map_or(Ok(now.group), |group| {
            let fits = u8::try_from(group).ok().filter(|group| *group < MAX_GROUPS);
            fits.ok_or(ChangeRefusal::Group { id, group })
        })?;
        self.voters.weigh(id, Share { weight, group });
        Ok(())
    }
}

fn insert(list: &mut Vec<NodeId>, id: NodeId) {
    if let Err(at) = list.binary_search(&id) {
        list.insert(at, id);
    }
}

/// `voters=(1 2)&&(1 2 3) learners=(4) learners_next=(3) autoleave`, as etcd writes it; with what voters count where that
/// differs, as [`Voters`] shows it.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &[NodeId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" ");
        write!(f, "voters=({})", self.voters)?;
        if self.is_joint() {
            write!(f, "&&({})", self.outgoing)?;
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

    fn weight(id: u64, weight: u32, group: Option<u32>) -> Change {
        Change::Weight { id: NodeId(id), weight, group }
    }

    #[test]
    fn weights_change_with_both_quorums() {
        let old = of(&[1, 2, 3], &[4]);
        assert_eq!(old.simple(&[weight(1, 3, None)]), Err(ChangeRefusal::Unequal));
        let joint = old.enter_joint(true, &[weight(1, 3, None), weight(3, 0, Some(2))]).unwrap();
        assert_eq!(joint.to_string(), "voters=(1*3 2 3*0@2)&&(1 2 3) learners=(4) autoleave");
        // Of those to be 1 is enough, of those that were it is not.
        assert!(!joint.is_quorum(|id| id.0 == 1) && joint.is_quorum(|id| id.0 != 2));
        assert!(joint.may_lead(NodeId(3)), "it does, as long as it counts in one of them");
        let new = joint.leave_joint().unwrap();
        assert_eq!(new.to_string(), "voters=(1*3 2 3*0@2) learners=(4)");
        assert!(new.is_quorum(|id| id.0 == 1) && new.votes(NodeId(3)) && !new.may_lead(NodeId(3)));
        // From here on not even one voter comes without.
        assert_eq!(new.simple(&[Change::Voter(NodeId(4))]), Err(ChangeRefusal::Unequal));
        assert_eq!(new.simple(&[Change::Remove(NodeId(3))]), Err(ChangeRefusal::Unequal));
        assert!(new.simple(&[Change::Learner(NodeId(5)), Change::Voter(NodeId(1))]).is_ok());
        // Who comes again counts as anybody does, and back is a way like any other.
        let again = new.enter_joint(true, &[Change::Remove(NodeId(1)), Change::Voter(NodeId(1))]).unwrap();
        assert_eq!(again.voters().to_string(), "1 2 3*0@2");
        let plain = again.leave_joint().unwrap().enter_joint(true, &[weight(3, 1, Some(0))]).unwrap();
        assert_eq!(plain.leave_joint().unwrap(), old);
    }

    #[test]
    fn weights_that_cannot_be() {
        let old = of(&[1, 2], &[3]);
        let no = |changes: &[Change]| old.enter_joint(true, changes).unwrap_err().to_string();
        assert_eq!(no(&[weight(3, 1, None)]), "weight of n3: it is no voter, and only voters have a weight");
        assert_eq!(no(&[weight(0, 1, None)]), "weight of n0: it is no voter, and only voters have a weight");
        assert_eq!(no(&[weight(1, 1001, None)]), "weight of n1: 1001; allowed is 0 to 1000");
        assert_eq!(no(&[weight(1, 70_000, None)]), "weight of n1: 70000; allowed is 0 to 1000");
        assert_eq!(no(&[weight(1, 1, Some(16))]), "group of n1: 16; allowed is 0 to 15");
        assert_eq!(
            no(&[weight(1, 0, None), weight(2, 0, None)]),
            "the weights of all voters would be 0; at least one must be from 1 to 1000"
        );
        assert_eq!(no(&[weight(1, 0, None), Change::Remove(NodeId(2))]), ChangeRefusal::NoWeight.to_string());
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = (0..4, 1..8_u64, 0..4_u32, proptest::option::of(0..3_u32));
        let change = change.prop_map(|(kind, id, heavy, group)| match kind {
            0 => Change::Voter(NodeId(id)),
            1 => Change::Learner(NodeId(id)),
            2 => Change::Remove(NodeId(id)),
            _ => weight(id, heavy, group),
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
                prop_assert!(next.voters().weighs(), "{next}");
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
