//! FIFO sessions between pairs of nodes. A session ends at each end in its own time.

use std::collections::{BTreeMap, VecDeque};

use crate::types::NodeId;

/// What travels on a link.
#[derive(Debug)]
pub(super) enum Parcel<M> {
    Up,
    Message(M),
    Down,
}

#[derive(Debug)]
struct Pair<M> {
    /// A session is up in the network. Without one, what is sent is lost.
    up: bool,
    /// A new session begins as soon as both ends know that the old one is over.
    wanted: bool,
    /// Towards the smaller id, towards the larger id.
    queues: [VecDeque<Parcel<M>>; 2],
}

impl<M> Default for Pair<M> {
    fn default() -> Self {
        Self { up: false, wanted: false, queues: [VecDeque::new(), VecDeque::new()] }
    }
}

impl<M> Pair<M> {
    fn begin_if_quiet(&mut self) {
        if self.wanted && !self.up && self.queues.iter().all(VecDeque::is_empty) {
            self.up = true;
            self.wanted = false;
            self.queues.iter_mut().for_each(|q| q.push_back(Parcel::Up));
        }
    }
}

#[derive(Debug)]
pub(super) struct Links<M> {
    pairs: BTreeMap<(NodeId, NodeId), Pair<M>>,
}

impl<M> Default for Links<M> {
    fn default() -> Self {
        Self { pairs: BTreeMap::new() }
    }
}

fn key(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl<M> Links<M> {
    pub(super) fn connected(&self, a: NodeId, b: NodeId) -> bool {
        self.pairs.get(&key(a, b)).is_some_and(|p| p.up)
    }

    pub(super) fn waiting(&self, from: NodeId, to: NodeId) -> usize {
        self.pairs.get(&key(from, to)).map_or(0, |p| p.queues[usize::from(to > from)].len())
    }

    pub(super) fn send(&mut self, from: NodeId, to: NodeId, message: M) {
        if let Some(p) = self.pairs.get_mut(&key(from, to)).filter(|p| p.up) {
            p.queues[usize::from(to > from)].push_back(Parcel::Message(message));
        }
    }

    pub(super) fn next(&mut self, from: NodeId, to: NodeId) -> Option<Parcel<M>> {
        let p = self.pairs.get_mut(&key(from, to))?;
        let parcel = p.queues[usize::from(to > from)].pop_front();
        if matches!(parcel, Some(Parcel::Down)) {
            p.begin_if_quiet();
        }
        parcel
    }

    pub(super) fn heal(&mut self, a: NodeId, b: NodeId) {
        let p = self.pairs.entry(key(a, b)).or_default();
        if !p.up {
            p.wanted = true;
            p.begin_if_quiet();
        }
    }

    /// Whether there was a session (or the wish for one) to cut.
    pub(super) fn cut(&mut self, a: NodeId, b: NodeId, keep: usize) -> bool {
        let Some(p) = self.pairs.get_mut(&key(a, b)) else { return false };
        let had = p.wanted || p.up;
        p.wanted = false;
        if p.up {
            p.up = false;
            for q in &mut p.queues {
                // An end that has not heard of the session's begin never learns that it was.
                let unheard = matches!(q.front(), Some(Parcel::Up));
                q.truncate(if unheard && keep == 0 { 0 } else { keep });
                if !(unheard && keep == 0) {
                    q.push_back(Parcel::Down);
                }
            }
        }
        had
    }

    /// A node crashed: nothing under way to it will be heard.
    pub(super) fn forget(&mut self, id: NodeId) {
        for ((a, b), p) in &mut self.pairs {
            if *a == id || *b == id {
                p.queues[usize::from(*b == id)].clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn all(l: &mut Links<u8>, from: NodeId, to: NodeId) -> Vec<String> {
        std::iter::from_fn(|| l.next(from, to)).map(|p| format!("{p:?}")).collect()
    }

    #[test]
    fn a_session_is_fifo_and_ends_at_each_end_in_its_own_time() {
        let mut l = Links::default();
        l.send(A, B, 0); // no session: lost
        l.heal(A, B);
        (1..=3).for_each(|m| l.send(A, B, m));
        assert!(matches!(l.next(A, B), Some(Parcel::Up)));
        assert!(l.cut(A, B, 2) && !l.connected(A, B));
        l.send(A, B, 9); // the session is over although B does not know yet: lost
        l.heal(A, B);
        assert!(!l.connected(A, B), "not before both ends know of the end");
        assert_eq!(all(&mut l, A, B), ["Message(1)", "Message(2)", "Down"]);
        assert_eq!(all(&mut l, B, A), ["Up", "Down", "Up"], "A's end begins anew when both queues are empty");
        assert!(l.connected(A, B));
    }

    #[test]
    fn a_crashed_node_hears_nothing_and_the_others_hear_the_end() {
        let mut l = Links::default();
        l.heal(A, B);
        assert_eq!((all(&mut l, A, B), all(&mut l, B, A)), (vec!["Up".to_owned()], vec!["Up".to_owned()]));
        l.send(A, B, 1);
        l.cut(A, B, 0);
        l.forget(B);
        assert_eq!((all(&mut l, A, B).len(), all(&mut l, B, A)), (0, vec!["Down".to_owned()]));
    }
}
