//! What is kept of each node, by its id.
//!
//! There are a few nodes, and with every message one of them is looked up: two lists side by side, of which the search
//! touches one line of memory, take a third of what a tree of nodes with room for eleven takes.

use crate::types::NodeId;

/// A map by node, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByNode<T> {
    ids: Vec<NodeId>,
    values: Vec<T>,
}

impl<T> Default for ByNode<T> {
    fn default() -> Self {
        Self { ids: Vec::new(), values: Vec::new() }
    }
}

impl<T> ByNode<T> {
    /// With nobody in it.
    pub fn new() -> Self {
        Self::default()
    }

    #[inline]
    fn place(&self, id: NodeId) -> Result<usize, usize> {
        self.ids.binary_search(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What is kept of a node.
    #[inline]
    pub fn get(&self, id: NodeId) -> Option<&T> {
        self.values.get(self.place(id).ok()?)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut T> {
        let at = self.place(id).ok()?;
        self.values.get_mut(at)
    }

    /// Whether anything is kept of a node.
    pub fn contains(&self, id: NodeId) -> bool {
        self.place(id).is_ok()
    }

    /// Keeps this of a node, in place of what was kept before.
    pub fn insert(&mut self, id: NodeId, value: T) -> Option<T> {
        match self.place(id) {
            Ok(at) => Some(std::mem::replace(&mut self.values[at], value)),
            Err(at) => {
                self.ids.insert(at, id);
                self.values.insert(at, value);
                None
            }
        }
    }

    /// Keeps nothing of a node any more.
    pub fn remove(&mut self, id: NodeId) -> Option<T> {
        let at = self.place(id).ok()?;
        self.ids.remove(at);
        Some(self.values.remove(at))
    }

    /// Whose something is kept.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.ids.iter().copied()
    }

    /// What is kept.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// Of whom what is kept.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, &T)> + '_ {
        self.ids.iter().copied().zip(&self.values)
    }

    /// The same, to be changed.
    #[inline]
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (NodeId, &mut T)> + '_ {
        self.ids.iter().copied().zip(&mut self.values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the map of the standard library: the same answers in the same order, whatever happened before.
        #[test]
        fn behaves_like_a_map(ops in proptest::collection::vec((any::<bool>(), 0u64..6, any::<u8>()), 0..40)) {
            let (mut ours, mut theirs) = (ByNode::new(), BTreeMap::new());
            for (insert, id, value) in ops {
                let id = NodeId(id);
                if insert {
                    prop_assert_eq!(ours.insert(id, value), theirs.insert(id, value));
                } else {
                    prop_assert_eq!(ours.remove(id), theirs.remove(&id));
                }
                prop_assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
                prop_assert!(ours.iter().eq(theirs.iter().map(|(id, value)| (*id, value))));
                prop_assert!(ours.iter_mut().map(|(id, value)| (id, *value)).eq(theirs.clone()));
                prop_assert!(ours.ids().eq(theirs.keys().copied()) && ours.values().eq(theirs.values()));
                for id in (0..6).map(NodeId) {
                    prop_assert_eq!(ours.get(id), theirs.get(&id));
                    prop_assert_eq!(ours.get_mut(id), theirs.get_mut(&id));
                    prop_assert_eq!(ours.contains(id), theirs.contains_key(&id));
                }
            }
        }
    }
}
