//! Which node to go to next, and after what pause.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rng::Rng;
use crate::types::NodeId;

/// Pauses that double from a shortest to a longest and are shortened at random by up to a half.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    range: (Duration, Duration),
    next: Duration,
    rng: Rng,
}

impl Backoff {
    pub(super) fn new(range: (Duration, Duration), seed: u64) -> Self {
        Self { range, next: range.0, rng: Rng::new(seed) }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.range.1);
        let micros = full.as_micros() as u64;
        Duration::from_micros(self.rng.between(micros / 2, micros + 1))
    }

    /// Something went well: starts from the shortest again.
    pub(super) fn reset(&mut self) {
        self.next = self.range.0;
    }
}

/// Goes round the addresses. In one round each is tried once, the ones that hints name first; between rounds there is a
/// pause.
#[derive(Clone, Debug)]
pub(super) struct Route {
    addrs: Vec<String>,
    /// Who was found where.
    ids: BTreeMap<NodeId, usize>,
    at: usize,
    /// Where a hint leads.
    wanted: Option<usize>,
    tried: Vec<bool>,
    backoff: Backoff,
}

impl Route {
    pub(super) fn new(addrs: Vec<String>, backoff: Backoff) -> Self {
        let tried = vec![false; addrs.len()];
        Self { addrs, ids: BTreeMap::new(), at: 0, wanted: Some(0), tried, backoff }
    }

    /// Where to go now, and how long to wait before.
    pub(super) fn next(&mut self) -> (String, Duration) {
        let mut pause = Duration::ZERO;
        if self.tried.iter().all(|t| *t) {
            pause = self.backoff.pause();
            self.tried.fill(false);
        }
        let n = self.addrs.len();
        let onward = (self.at + 1..=self.at + n).map(|i| i % n).find(|i| !self.tried[*i]);
        self.at = self.wanted.take().or(onward).unwrap_or(self.at);
        self.tried[self.at] = true;
        (self.addrs[self.at].clone(), pause)
    }

    /// The node at the current address said who it is.
    pub(super) fn found(&mut self, node: NodeId) {
        self.ids.insert(node, self.at);
    }

    /// Someone says that this node leads: it is next, if its address is known and was not tried in this round. Whether there
    /// is an address left in this round that could be the leader's.
    pub(super) fn hint(&mut self, leader: Option<NodeId>) -> bool {
        match leader.and_then(|l| self.ids.get(&l)) {
            Some(at) if !self.tried[*at] => {
                self.wanted = Some(*at);
                true
            }
            Some(_) => false,
            None => self.tried.iter().any(|t| !*t),
        }
    }

    /// The current address is the right one: the next search starts with a new round, and elsewhere.
    pub(super) fn settle(&mut self) {
        self.tried.fill(false);
        self.tried[self.at] = true;
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(35));

    fn route() -> Route {
        Route::new(["a", "b", "c"].map(String::from).to_vec(), Backoff::new(RANGE, 1))
    }

    #[test]
    fn each_is_tried_once_a_round_and_rounds_are_apart() {
        let mut r = route();
        let first: Vec<_> = (0..3).map(|_| r.next()).collect();
        assert_eq!(first, ["a", "b", "c"].map(|a| (a.to_owned(), Duration::ZERO)));
        let (addr, pause) = r.next();
        assert_eq!(addr, "a");
        assert!(!pause.is_zero() && pause <= RANGE.0);
        assert_eq!(r.next(), ("b".into(), Duration::ZERO));
    }

    #[test]
    fn hints_lead_to_known_nodes_once_a_round() {
        let mut r = route();
        for id in 1..=3 {
            r.next();
            r.found(NodeId(id));
        }
        r.settle();
        assert!(r.hint(Some(NodeId(2))));
        assert_eq!(r.next().0, "b");
        assert!(!r.hint(Some(NodeId(3))), "that is where it came from");
        assert!(r.hint(None));
        assert_eq!(r.next().0, "a");
        assert!(!r.hint(None), "the round is over");
    }

    #[test]
    fn pauses_grow_to_a_limit_and_start_again() {
        let mut b = Backoff::new(RANGE, 3);
        for full in [10, 20, 35, 35] {
            let pause = b.pause();
            assert!(pause >= Duration::from_millis(full) / 2 && pause <= Duration::from_millis(full), "{pause:?}");
        }
        b.reset();
        assert!(b.pause() <= RANGE.0);
    }
}
