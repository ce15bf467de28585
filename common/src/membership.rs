//! Who belongs to a cluster and where they listen, as it stands in the log and in snapshots.
//!
//! Nodes are told of the members they begin with by their settings. From then on the log says it: an entry of the kind
//! [`Membership`](crate::entries::EntryKind::Membership) holds all that is in force after it, not what changed, so that the
//! last such entry is enough for a node that has seen nothing else, and a snapshot can carry it (section 7; thesis 5.1).

mod in_log;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::quorum::{Change, ChangeRefusal, Configuration};
use crate::types::{Member, NodeId};

pub use in_log::Members;

/// The most members that a cluster may have, learners too.
pub const MAX_MEMBERS: usize = 64;
/// The longest address, in bytes.
pub const MAX_ADDRESS: usize = 255;

/// The members of a cluster: who counts, and where to reach them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Who votes and who learns.
    pub configuration: Configuration,
    /// Where they accept peers, as far as that is known.
    pub addresses: BTreeMap<NodeId, String>,
}

/// One thing that an operator wants changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// What.
    pub change: Change,
    /// Where the node accepts peers; None leaves what is known of it.
    pub address: Option<String>,
}

/// Why members cannot be changed like that, whatever the state of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The configuration does not allow it.
    #[error(transparent)]
    Change(#[from] ChangeRefusal),
    /// Nobody could call it.
    #[error("the address of {0} is not known")]
    NoAddress(NodeId),
    /// Such an address is not stored.
    #[error("the address of {id} has {bytes} bytes, at most {MAX_ADDRESS} are allowed")]
    Address {
        /// Whose.
        id: NodeId,
        /// Its length.
        bytes: usize,
    },
    /// Zero is never a node.
    #[error("node ids start at 1")]
    Zero,
    /// More than fit.
    #[error("there would be {0} members, at most {MAX_MEMBERS} are allowed")]
    TooMany(usize),
    /// It is so already.
    #[error("nothing would change")]
    Nothing,
}

impl Membership {
    /// These voters at these addresses, and nobody else: what a cluster begins with.
    pub fn of(voters: BTreeMap<NodeId, String>) -> Self {
        Self { configuration: Configuration::new(voters.keys().copied(), []), addresses: voters }
    }

    /// These voters, called by their names: where addresses mean nothing, as in one process or a simulated network.
    pub fn of_ids(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self::of(voters.into_iter().map(|id| (id, id.to_string())).collect())
    }

    /// What a node is to the cluster. Whoever is not a voter may observe.
    pub fn member(&self, id: NodeId) -> Member {
        if self.configuration.votes(id) { Member::Voter } else { Member::Observer }
    }

    /// With these changes made, in order. Where they concern more than one voter, or what voters count, the result is joint
    /// and is left again by itself.
    pub fn with(&self, changes: &[MemberChange]) -> Result<Self, MembershipError> {
        let list: Vec<Change> = changes.iter().map(|c| c.change).collect();
        let configuration = match self.configuration.simple(&list) {
            Err(ChangeRefusal::TooMany { .. } | ChangeRefusal::Unequal) => {
                self.configuration.enter_joint(true, &list)?
            }
            other => other?,
        };
        self.made(configuration, changes)
    }

    /// The same, but joint also where one voter changes.
    pub fn with_both(&self, changes: &[MemberChange]) -> Result<Self, MembershipError> {
        let list: Vec<Change> = changes.iter().map(|c| c.change).collect();
        let simple = self.configuration.simple(&list);
        let configuration = match simple {
            Ok(made) if made.voters() == self.configuration.voters() => made,
            Ok(_) | Err(ChangeRefusal::TooMany { .. } | ChangeRefusal::Unequal) => {
                self.configuration.enter_joint(true, &list)?
            }
            Err(why) => return Err(why.into()),
        };
        self.made(configuration, changes)
    }

    fn made(&self, configuration: Configuration, changes: &[MemberChange]) -> Result<Self, MembershipError> {
        let mut addresses = self.addresses.clone();
        for MemberChange { change, address } in changes {
            let id = change.node();
            if id == NodeId(0) {
                return Err(MembershipError::Zero);
            }
            if let Some(address) = address {
                if address.len() > MAX_ADDRESS {
                    return Err(MembershipError::Address { id, bytes: address.len() });
                }
                addresses.insert(id, address.clone());
            }
        }
        let made = Self { configuration, addresses }.known()?;
        if made == *self { Err(MembershipError::Nothing) } else { Ok(made) }
    }

    /// The new one of the two that are joint.
    pub fn leave_joint(&self) -> Result<Self, MembershipError> {
        Self { configuration: self.configuration.leave_joint()?, addresses: self.addresses.clone() }.known()
    }

    /// With the addresses of members only, and of each member one.
    fn known(mut self) -> Result<Self, MembershipError> {
        let members = self.configuration.members();
        if members.len() > MAX_MEMBERS {
            return Err(MembershipError::TooMany(members.len()));
        }
        self.addresses.retain(|id, _| members.contains(id));
        match members.into_iter().find(|id| !self.addresses.contains_key(id)) {
            Some(id) => Err(MembershipError::NoAddress(id)),
            None => Ok(self),
        }
    }

    /// The voters of either set and their addresses: whom to call.
    pub fn voter_addresses(&self) -> BTreeMap<NodeId, String> {
        let votes = |(id, _): &(&NodeId, &String)| self.configuration.votes(**id);
        self.addresses.iter().filter(votes).map(|(id, addr)| (*id, addr.clone())).collect()
    }

    /// Everyone of both: whom to call when it is not clear which of them is right.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let both = [&self.configuration, &other.configuration];
        let voters = both.iter().flat_map(|c| c.members().into_iter().filter(|id| c.votes(*id)));
        let learners = both.iter().flat_map(|c| c.learners().iter().copied());
        let mut addresses = other.addresses.clone();
        addresses.extend(self.addresses.clone());
        Self { configuration: Configuration::new(voters, learners), addresses }
    }

    /// As the payload of an entry.
    pub fn encode(&self) -> Bytes {
        // Only a custom `Serialize` can fail, and there is none here.
        postcard::to_stdvec(self).unwrap_or_default().into()
    }

    /// From the payload of an entry. None if it is not one, or not one that `encode` wrote.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(payload) {
            Ok((membership, [])) => Some(membership),
            _ => None,
        }
    }
}

/// As [`Configuration`] shows itself.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.configuration.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Membership {
        Membership::of([1, 2, 3].map(|n| (NodeId(n), format!("h{n}:1"))).into())
    }

    fn change(change: Change, address: Option<&str>) -> MemberChange {
        MemberChange { change, address: address.map(str::to_owned) }
    }

    #[test]
    fn a_change_knows_where_everyone_is() {
        let (add, promote) = (Change::Learner(NodeId(4)), Change::Voter(NodeId(4)));
        assert_eq!(three().with(&[change(add, None)]), Err(MembershipError::NoAddress(NodeId(4))));
        let four = three().with(&[change(add, Some("h4:1"))]).unwrap();
        assert_eq!((four.member(NodeId(4)), four.addresses.len()), (Member::Observer, 4));
        assert_eq!(four.with(&[change(add, None)]), Err(MembershipError::Nothing));
        let four = four.with(&[change(promote, None)]).unwrap();
        assert_eq!((four.member(NodeId(4)), four.voter_addresses().len()), (Member::Voter, 4));
        let three = four.with(&[change(Change::Remove(NodeId(1)), None)]).unwrap();
        assert_eq!((three.to_string().as_str(), three.addresses.len()), ("voters=(2 3 4)", 3));
        assert_eq!(Membership::decode(&three.encode()), Some(three));
        assert_eq!(Membership::decode(&[1, 2, 3]), None);
    }

    #[test]
    fn several_voters_at_once_are_joint_and_keep_the_addresses_of_both_sets() {
        let changes = [change(Change::Voter(NodeId(4)), Some("h4:1")), change(Change::Remove(NodeId(1)), None)];
        let joint = three().with(&changes).unwrap();
        assert_eq!(joint.to_string(), "voters=(2 3 4)&&(1 2 3) autoleave");
        assert_eq!(joint.addresses.len(), 4);
        let left = joint.leave_joint().unwrap();
        assert_eq!((left.to_string().as_str(), left.addresses.len()), ("voters=(2 3 4)", 3));
    }

    #[test]
    fn weights_are_in_the_log_and_change_with_both_quorums() {
        let weigh = change(Change::Weight { id: NodeId(1), weight: 2, group: None }, None);
        let plain = three().encode();
        for joint in [
            three().with(std::slice::from_ref(&weigh)).unwrap(),
            three().with_both(std::slice::from_ref(&weigh)).unwrap(),
        ] {
            assert_eq!(joint.to_string(), "voters=(1*2 2 3)&&(1 2 3) autoleave");
            assert_eq!(Membership::decode(&joint.encode()).unwrap(), joint);
            let left = joint.leave_joint().unwrap();
            assert_eq!(left.with(std::slice::from_ref(&weigh)), Err(MembershipError::Nothing));
            assert!(left.with(&[change(Change::Voter(NodeId(4)), Some("h4:1"))]).unwrap().configuration.is_joint());
            let back = change(Change::Weight { id: NodeId(1), weight: 1, group: None }, None);
            assert_eq!(left.with(&[back]).unwrap().leave_joint().unwrap().encode(), plain);
        }
    }

    #[test]
    fn what_cannot_be_a_member() {
        let learner = |n| Change::Learner(NodeId(n));
        assert_eq!(three().with(&[change(learner(0), Some("x"))]), Err(MembershipError::Zero));
        let long = "x".repeat(256);
        let refused = three().with(&[change(learner(4), Some(&long))]).unwrap_err();
        assert_eq!(refused.to_string(), "the address of n4 has 256 bytes, at most 255 are allowed");
        let many: Vec<MemberChange> = (4..=65).map(|n| change(learner(n), Some("x"))).collect();
        assert_eq!(three().with(&many), Err(MembershipError::TooMany(65)));
        assert_eq!(
            three().with(&[change(learner(1), None), change(learner(2), None), change(learner(3), None)]),
            Err(MembershipError::Change(ChangeRefusal::LastVoter))
        );
    }
}
