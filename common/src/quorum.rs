//! Quorum arithmetic. Everything that counts acknowledgements in either protocol counts them here.

mod hierarchy;
mod joint;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

pub use hierarchy::{MAX_GROUPS, MAX_WEIGHT, Share};
pub use joint::{Change, ChangeRefusal, Configuration, Vote};

/// The voters of a cluster. Observers are not in it: what is not here is never counted.
///
/// Most clusters count heads. What else is possible stands in [`Share`]; it is stored behind the ids, after a zero, which is
/// no node, so that the voters of most clusters are stored as nothing but their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Voters {
    ids: Vec<NodeId>,
    /// What each of them counts, in the order of `ids`. Empty where all count the same in one group.
    shares: Vec<Share>,
}

/// What is stored does not say how much every voter counts, or more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("voters and their weights are not stored like that")]
pub struct NoVoters;

/// Sorted and without duplicates, whatever was read.
impl TryFrom<Vec<u64>> for Voters {
    type Error = NoVoters;

    fn try_from(stored: Vec<u64>) -> Result<Self, NoVoters> {
        let (ids, codes) = match stored.iter().position(|n| *n == 0) {
            Some(zero) => (&stored[..zero], &stored[zero + 1..]),
            None => (&stored[..], &[][..]),
        };
        let mut voters = Self::new(ids.iter().copied().map(NodeId));
        if !codes.is_empty() {
            if codes.len() != ids.len() {
                return Err(NoVoters);
            }
            for (id, code) in ids.iter().zip(codes) {
                voters.weigh(NodeId(*id), Share::of_code(*code).ok_or(NoVoters)?);
            }
        }
        Ok(voters)
    }
}

impl From<Voters> for Vec<u64> {
    fn from(voters: Voters) -> Self {
        let ids = voters.ids.iter().map(|id| id.0);
        let zero = (!voters.is_plain()).then_some(0);
        ids.chain(zero).chain(voters.shares.iter().map(|share| share.code())).collect()
    }
}

impl Voters {
    /// The set of `ids`, sorted and without duplicates, of which each counts the same.
    pub fn new(ids: impl IntoIterator<Item = NodeId>) -> Self {
        let mut ids: Vec<NodeId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self { ids, shares: Vec::new() }
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

    /// Whether all count the same, in one group.
    pub fn is_plain(&self) -> bool {
        self.shares.is_empty()
    }

    /// What a voter counts. None for anybody else.
    pub fn share(&self, id: NodeId) -> Option<Share> {
        let at = self.ids.binary_search(&id).ok()?;
        Some(self.shares.get(at).copied().unwrap_or_default())
    }

    /// What a node weighs: nothing, if it is no voter.
    pub fn weight(&self, id: NodeId) -> u16 {
        self.share(id).map_or(0, |share| share.weight)
    }

    /// Whether anybody weighs anything, so that there is a quorum at all.
    pub fn weighs(&self) -> bool {
        if self.is_plain() { !self.ids.is_empty() } else { self.shares.iter().any(|share| share.weight > 0) }
    }

    /// One more; it counts as anybody does of whom nothing else is said. One that is here already stays as it is.
    fn insert(&mut self, id: NodeId) {
        if let Err(at) = self.ids.binary_search(&id) {
            self.ids.insert(at, id);
            if !self.is_plain() {
                self.shares.insert(at, Share::default());
            }
        }
    }

    fn remove(&mut self, id: NodeId) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.ids.remove(at);
            if !self.is_plain() {
                self.shares.remove(at);
                self.forget_usual_shares();
            }
        }
    }

    /// Says what a voter counts. Nothing happens if it is none.
    fn weigh(&mut self, id: NodeId, share: Share) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.shares.resize(self.ids.len(), Share::default());
            self.shares[at] = share;
            self.forget_usual_shares();
        }
    }

    /// The same voters that count the same are equal, whatever they counted before.
    fn forget_usual_shares(&mut self) {
        if self.shares.iter().all(|share| *share == Share::default()) {
            self.shares.clear();
        }
    }

    /// How many voters make a quorum where all count the same: more than half.
    pub fn quorum(&self) -> usize {
        self.ids.len() / 2 + 1
    }

    /// Whether the voters that satisfy `has` form a quorum.
    pub fn is_quorum(&self, mut has: impl FnMut(NodeId) -> bool) -> bool {
        if !self.is_plain() {
            return hierarchy::is_quorum(self.ids.iter().zip(&self.shares).map(|(id, share)| (*share, has(*id))));
        }
        !self.ids.is_empty() && self.ids.iter().filter(|id| has(**id)).count() >= self.quorum()
    }

    /// The greatest value which a quorum of voters has reached, where `reached` says how far each is.
    ///
    /// This is the commit rule's arithmetic: with acknowledgements 5, 7 and 3 of three voters it is 5.
    /// An empty set of voters has reached nothing, so it answers `T::default()`.
    pub fn reached<T: Ord + Copy + Default>(&self, mut reached: impl FnMut(NodeId) -> T) -> T {
        if !self.is_plain() {
            let each = self.ids.iter().zip(&self.shares).map(|(id, share)| (*share, reached(*id)));
            return hierarchy::reached(&mut each.collect::<Vec<_>>()).unwrap_or_default();
        }
        if let [a, b, c] = self.ids[..] {
            // Most clusters have three, and the middle one is found without sorting.
            let (a, b, c) = (reached(a), reached(b), reached(c));
            return a.min(b).max(a.max(b).min(c));
        }
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

/// `1 2*3 4@1`: their ids, and what each counts where that is not the usual.
impl fmt::Display for Voters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.ids.iter().enumerate() {
            let gap = if i > 0 { " " } else { "" };
            write!(f, "{gap}{}{}", id.0, self.shares.get(i).copied().unwrap_or_default())?;
        }
        Ok(())
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

    #[test]
    fn what_is_no_set_of_voters_is_not_read() {
        let read = |stored: &[u64]| Voters::try_from(stored.to_vec());
        assert_eq!(read(&[3, 1, 1]), Ok(Voters::new([1, 3].map(NodeId))));
        let weighed = read(&[3, 1, 0, 16 * 5, 18]).unwrap();
        assert_eq!(weighed.to_string(), "1@2 3*5");
        assert_eq!(Vec::from(weighed), [1, 3, 0, 18, 16 * 5]);
        for bad in [&[1, 2, 0, 16][..], &[0, 16], &[1, 0, 16, 16], &[1, 0, 16 * 1001], &[1, 0, 0, 1]] {
            assert_eq!(read(bad), Err(NoVoters), "{bad:?}");
        }
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
