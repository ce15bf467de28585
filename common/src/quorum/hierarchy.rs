//! Quorums where voters do not count the same: weights, and groups of voters.
//!
//! Each voter has a weight and belongs to one group. A group is satisfied by those of its voters that together weigh more
//! than half of it, and more than half of the groups, satisfied, are a quorum. Where everyone is in one group that is a
//! weighted majority, and where everyone weighs the same as well, a plain one.
//!
//! Two quorums share a group, since each has more than half of them, and within it a voter, since each has more than half of
//! its weight. So groups may stand for data centres: of three, two are enough, and within each a majority.
//!
//! A voter of weight zero takes part and is never counted, nor elected; a group in which nobody weighs anything is no group.

use std::fmt;

/// The most that a voter may weigh.
pub const MAX_WEIGHT: u16 = 1000;
/// How many groups there may be; they are numbered from 0.
pub const MAX_GROUPS: u8 = 16;

const GROUPS: usize = MAX_GROUPS as usize;

/// How much a voter counts, and among whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// At most [`MAX_WEIGHT`].
    pub weight: u16,
    /// Below [`MAX_GROUPS`].
    pub group: u8,
}

/// What a voter counts of whom nothing else was said.
impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, group: 0 }
    }
}

impl Share {
    /// As a number; see [`of_code`](Self::of_code).
    pub(super) fn code(self) -> u64 {
        u64::from(self.weight) * u64::from(MAX_GROUPS) + u64::from(self.group)
    }

    /// What [`code`](Self::code) made a number of. None if it did not.
    pub(super) fn of_code(code: u64) -> Option<Self> {
        let (weight, group) = (code / u64::from(MAX_GROUPS), code % u64::from(MAX_GROUPS));
        let weight = u16::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT)?;
        Some(Self { weight, group: u8::try_from(group).ok()? })
    }

    fn place(self) -> (usize, u32) {
        (usize::from(self.group), u32::from(self.weight))
    }
}

/// `*3@2`, for a weight of 3 in group 2; what is as usual is left out.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weight != 1 {
            write!(f, "*{}", self.weight)?;
        }
        if self.group != 0 {
            write!(f, "@{}", self.group)?;
        }
        Ok(())
    }
}

/// What each group weighs.
#[derive(Default)]
struct Scales([u32; GROUPS]);

impl Scales {
    fn of(shares: impl Iterator<Item = Share>) -> Self {
        let mut scales = Self::default();
        shares.for_each(|share| scales.add(share));
        scales
    }

    fn add(&mut self, share: Share) {
        let (group, weight) = share.place();
        self.0[group] += weight;
    }

    /// How many groups count.
    fn groups(&self) -> usize {
        self.0.iter().filter(|weight| **weight > 0).count()
    }

    /// How many groups of `whole` these satisfy.
    fn satisfied(&self, whole: &Self) -> usize {
        self.0.iter().zip(whole.0).filter(|(part, whole)| 2 * **part > *whole).count()
    }
}

/// Whether those that have it are a quorum of all that are named.
pub(super) fn is_quorum(voters: impl Iterator<Item = (Share, bool)>) -> bool {
    let (mut whole, mut part) = (Scales::default(), Scales::default());
    for (share, has) in voters {
        whole.add(share);
        if has {
            part.add(share);
        }
    }
    2 * part.satisfied(&whole) > whole.groups()
}

/// The greatest value which a quorum of them has reached; none, where nobody weighs anything.
pub(super) fn reached<T: Ord + Copy>(voters: &mut [(Share, T)]) -> Option<T> {
    voters.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(*at));
    let whole = Scales::of(voters.iter().map(|(share, _)| *share));
    let groups = whole.groups();
    // From the greatest value down, until those so far are a quorum.
    let mut part = Scales::default();
    let enough = voters.iter().find(|(share, _)| {
        part.add(*share);
        2 * part.satisfied(&whole) > groups
    });
    enough.map(|(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Voters;
    use super::*;
    use crate::types::NodeId;

    /// Voters 1 to n, each with its weight and group.
    fn of(shares: &[(u16, u8)]) -> Voters {
        let mut voters = Voters::new((1..=shares.len() as u64).map(NodeId));
        for (id, (weight, group)) in (1..).zip(shares) {
            voters.weigh(NodeId(id), Share { weight: *weight, group: *group });
        }
        voters
    }

    fn some(set: u16) -> impl Fn(NodeId) -> bool + Copy {
        move |id| set >> id.0 & 1 == 1
    }

    #[test]
    fn three_groups_of_three() {
        let v = of(&[(1, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 2), (1, 3), (1, 3), (1, 3)]);
        for (has, quorum) in [
            (&[1, 2, 4, 5][..], true),
            (&[1, 2, 8, 9], true),
            (&[1, 2, 3, 4, 7], false), // A majority by heads, and one group.
            (&[1, 4, 7], false),
            (&[4, 5, 6], false),
        ] {
            assert_eq!(v.is_quorum(|id| has.contains(&id.0)), quorum, "{has:?}");
        }
        assert_eq!(v.to_string(), "1@1 2@1 3@1 4@2 5@2 6@2 7@3 8@3 9@3");
        assert_eq!(v.reached(|id| id.0), 5, "7 to 9 have 8, 4 to 6 have 5, 1 to 3 have 2");
    }

    #[test]
    fn weights_of_one_group_and_a_group_of_none() {
        let v = of(&[(3, 0), (1, 0), (1, 0), (0, 7)]);
        assert!(v.is_quorum(|id| id.0 == 1) && !v.is_quorum(|id| id.0 != 1));
        assert_eq!((v.reached(|id| 9 - id.0), v.to_string().as_str()), (8, "1*3 2 3 4*0@7"));
        // Half is not more than half.
        assert!(!of(&[(2, 0), (1, 0), (1, 0)]).is_quorum(|id| id.0 == 1));
        assert!(!of(&[(0, 0), (0, 1)]).is_quorum(|_| true));
        assert_eq!(of(&[(0, 0), (0, 1)]).reached(|_| 7), 0);
    }

    #[test]
    fn a_share_is_a_number() {
        for share in [Share::default(), Share { weight: 0, group: 0 }, Share { weight: MAX_WEIGHT, group: 15 }] {
            assert_eq!(Share::of_code(share.code()), Some(share));
        }
        assert_eq!(Share::of_code(Share { weight: MAX_WEIGHT, group: 15 }.code() + 1), None);
        assert_eq!(Share::of_code(u64::MAX), None);
    }

    fn shares() -> impl Strategy<Value = Vec<(u16, u8)>> {
        proptest::collection::vec((0..6_u16, 0..4_u8), 1..10)
    }

    proptest! {
        /// Whatever they weigh and however they are grouped.
        #[test]
        fn two_quorums_of_a_hierarchy_intersect(shares in shares(), a in any::<u16>(), b in any::<u16>()) {
            let (v, a, b) = (of(&shares), some(a), some(b));
            if v.is_quorum(a) && v.is_quorum(b) {
                let counts = |id: &NodeId| a(*id) && b(*id) && v.weight(*id) > 0;
                prop_assert!(v.ids().iter().any(counts), "{v}");
            }
        }

        /// `reached` is the largest value that a quorum is at or above.
        #[test]
        fn what_a_hierarchy_reached_is_what_a_quorum_has(
            shares in shares(),
            at in proptest::collection::vec(1..20_u64, 10),
        ) {
            let v = of(&shares);
            let of = |id: NodeId| at[id.0 as usize - 1];
            let r = v.reached(of);
            if v.weighs() {
                prop_assert!(v.is_quorum(|id| of(id) >= r) && !v.is_quorum(|id| of(id) > r), "{v}");
            } else {
                prop_assert!(r == 0 && !v.is_quorum(|_| true), "{v}");
            }
        }

        /// Equal weights and one group are a plain majority, whatever the weight and the group.
        #[test]
        fn equal_shares_are_a_plain_majority(
            n in 1..10_usize,
            share in (1..=MAX_WEIGHT, 0..MAX_GROUPS),
            set in any::<u16>(),
            at in proptest::collection::vec(0..20_u64, 10),
        ) {
            let (weighed, plain) = (of(&vec![share; n]), of(&vec![(1, 0); n]));
            let of = |id: NodeId| at[id.0 as usize - 1];
            prop_assert!(plain.is_plain());
            prop_assert_eq!(weighed.is_quorum(some(set)), plain.is_quorum(some(set)));
            prop_assert_eq!(weighed.reached(of), plain.reached(of));
        }

        /// Who weighs nothing changes nothing: neither what the others decide, nor by what it has itself.
        #[test]
        fn voters_of_weight_zero_change_nothing(
            shares in shares(),
            set in any::<u16>(),
            at in proptest::collection::vec(0..20_u64, 10),
        ) {
            let v = of(&shares);
            let mut without = v.clone();
            v.ids().iter().filter(|id| v.weight(**id) == 0).for_each(|id| without.remove(*id));
            let of = |id: NodeId| at[id.0 as usize - 1];
            prop_assert_eq!(v.is_quorum(some(set)), without.is_quorum(some(set)), "{} and {}", v, without);
            prop_assert_eq!(v.reached(of), without.reached(of), "{} and {}", v, without);
        }

        /// Where all count the same the stored form is the list of their ids, as it was before there were weights.
        #[test]
        fn voters_are_stored_and_read_again(shares in shares()) {
            let v = of(&shares);
            let stored = postcard::to_stdvec(&v).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Voters>(&stored).unwrap(), v.clone());
            if v.is_plain() {
                prop_assert_eq!(stored, postcard::to_stdvec(v.ids()).unwrap());
            }
        }
    }
}
