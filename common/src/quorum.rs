//! Quorum arithmetic. Everything that counts acknowledgements in either protocol counts them here.

mod joint;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

pub use joint::{Change, ChangeRefusal, Configuration, Vote};

/// The voters of a cluster. Observers are not in it: what is not here is never counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<NodeId>", into = "Vec<NodeId>")]
pub struct Voters {
    ids: Vec<NodeId>,
}

/// Sorted and without duplicates, whatever was read.
impl From<Vec<NodeId>> for Voters {
    fn from(ids: Vec<NodeId>) -> Self {
        Self::new(ids)
    }
}

impl From<Voters> for Vec<NodeId> {
    fn from(voters: Voters) -> Self {
        voters.ids
    }
}

impl Voters {
    /// The set of `ids`, sorted and without duplicates.
    pub fn new(ids: impl IntoIterator<Item = NodeId>) -> Self {
        let mut ids: Vec<NodeId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self { ids }
    }

    /// The voters, in order.
    pub fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    /// Whether `node` is a voter.
    pub fn contains(&self, node: NodeId) -> bool {
        self.ids.binary_search(&node).is_ok()
    }

    /// The voters other than `me`.
    pub fn others(&self, me: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.ids.iter().copied().filter(move |id| *id != me)
    }

    /// How many voters make a quorum: more than half.
    pub fn quorum(&self) -> usize {
        self.ids.len() / 2 + 1
    }

    /// Whether the voters that satisfy `has` form a quorum.
    pub fn is_quorum(&self, mut has: impl FnMut(NodeId) -> bool) -> bool {
        !self.ids.is_empty() && self.ids.iter().filter(|id| has(**id)).count() >= self.quorum()
    }

    /// The greatest value which a quorum of voters has reached, where `reached` says how far each is.
    ///
    /// This is the commit rule's arithmetic: with acknowledgements 5, 7 and 3 of three voters it is 5.
    /// An empty set of voters has reached nothing, so it answers `T::default()`.
    pub fn reached<T: Ord + Copy + Default>(&self, reached: impl FnMut(NodeId) -> T) -> T {
        // On the stack for every size that a real cluster has: this runs for each acknowledgement.
        let mut small = [T::default(); 9];
        let mut large = Vec::new();
        let n = self.ids.len();
        let values: &mut [T] = if n <= small.len() {
            &mut small[..n]
        } else {
            large.resize(n, T::default());
            &mut large
        };
        for (slot, value) in values.iter_mut().zip(self.ids.iter().copied().map(reached)) {
            *slot = value;
        }
        values.sort_unstable();
        if n == 0 { T::default() } else { values[n - self.quorum()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn voters(n: u64) -> Voters {
        Voters::new((1..=n).map(NodeId))
    }

    #[test]
    fn a_quorum_is_more_than_half() {
        let sizes: Vec<usize> = (1..=7).map(|n| voters(n).quorum()).collect();
        assert_eq!(sizes, [1, 2, 2, 3, 3, 4, 4]);
        assert!(!Voters::new([]).is_quorum(|_| true));
    }

    proptest! {
        /// Any two quorums share a voter: the one fact all of consensus rests on.
        #[test]
        fn two_quorums_intersect(n in 1u64..10, a in any::<u16>(), b in any::<u16>()) {
            let v = voters(n);
            let (in_a, in_b) = (|id: NodeId| a >> id.0 & 1 == 1, |id: NodeId| b >> id.0 & 1 == 1);
            if v.is_quorum(in_a) && v.is_quorum(in_b) {
                prop_assert!(v.ids().iter().any(|id| in_a(*id) && in_b(*id)));
            }
        }

        /// `reached` is the largest value that a quorum is at or above.
        #[test]
        fn reached_is_what_a_quorum_has(n in 1u64..12, at in proptest::collection::vec(0u64..20, 12)) {
            let v = voters(n);
            let of = |id: NodeId| at[id.0 as usize - 1];
            let r = v.reached(of);
            prop_assert!(v.is_quorum(|id| of(id) >= r));
            prop_assert!(!v.is_quorum(|id| of(id) > r));
        }
    }
}
