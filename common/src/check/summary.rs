//! How much a history can prove: with few operations at the same time, or with most outcomes unknown, hardly anything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::history::{Call, End, History, Operation, What};

/// Counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Calls, of any end.
    pub operations: usize,
    /// Those which were not carried out.
    pub failed: usize,
    /// Those of which nobody knows.
    pub unknown: usize,
    /// Reads that may be stale, and are not judged.
    pub local: usize,
    /// Different keys.
    pub keys: usize,
    /// Different processes.
    pub processes: usize,
    /// Calls open at the same time.
    pub concurrency: Concurrency,
    /// Likewise, counting only calls of the same key: those are what must be ordered.
    pub same_key: Concurrency,
}

/// How many calls were open at the moments when one was invoked, itself included. A call of unknown outcome is open until its
/// process gives it up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Concurrency {
    /// At most.
    pub max: usize,
    /// On average. 1: one after the other.
    pub mean: f64,
}

#[derive(Default)]
struct Counter {
    max: usize,
    sum: u64,
}

impl Counter {
    fn add(&mut self, open: usize) {
        self.max = self.max.max(open);
        self.sum += open as u64;
    }

    fn of(&self, operations: usize) -> Concurrency {
        Concurrency { max: self.max, mean: if operations == 0 { 0.0 } else { self.sum as f64 / operations as f64 } }
    }
}

impl Summary {
    pub(super) fn of(history: &History, operations: &[Operation]) -> Self {
        let count = |wanted: fn(&Operation) -> bool| operations.iter().filter(|o| wanted(o)).count();
        let (all, same) = concurrency(history);
        Self {
            operations: operations.len(),
            failed: count(|o| o.end == End::Fail),
            unknown: count(|o| o.end == End::Unknown),
            local: count(|o| o.call == Call::Read { local: true }),
            keys: operations.iter().map(|o| &o.key).collect::<BTreeSet<_>>().len(),
            processes: operations.iter().map(|o| o.process).collect::<BTreeSet<_>>().len(),
            concurrency: all.of(operations.len()),
            same_key: same.of(operations.len()),
        }
    }

    /// Calls of unknown outcome among a hundred.
    pub fn unknown_percent(&self) -> f64 {
        if self.operations == 0 { 0.0 } else { 100.0 * self.unknown as f64 / self.operations as f64 }
    }
}

fn concurrency(history: &History) -> (Counter, Counter) {
    let mut open: BTreeMap<u64, &Bytes> = BTreeMap::new();
    let mut by_key: BTreeMap<&Bytes, usize> = BTreeMap::new();
    let (mut all, mut same) = (Counter::default(), Counter::default());
    for event in &history.events {
        if let What::Invoke { key, .. } = &event.what {
            open.insert(event.process, key);
            let with_it = by_key.entry(key).or_default();
            *with_it += 1;
            all.add(open.len());
            same.add(*with_it);
        } else if let Some(n) = open.remove(&event.process).and_then(|key| by_key.get_mut(key)) {
            *n -= 1;
        }
    }
    (all, same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Model;
    use crate::types::Micros;

    #[test]
    fn it_counts_what_is_open_at_the_same_time() {
        let mut h = History::default();
        let get = |key: &'static str| What::Invoke { key: key.into(), call: Call::Read { local: false } };
        h.push(1, Micros(0), get("a"));
        h.push(2, Micros(0), get("b"));
        h.push(3, Micros(0), get("a"));
        h.push(1, Micros(1), What::Fail);
        h.push(2, Micros(1), What::Info);
        h.push(1, Micros(1), get("c"));
        let s = Summary::of(&h, &h.operations(Model::Kv).unwrap());
        assert_eq!((s.operations, s.failed, s.unknown, s.keys, s.processes), (4, 1, 3, 3, 3));
        assert_eq!(s.concurrency, Concurrency { max: 3, mean: 2.0 });
        assert_eq!(s.same_key, Concurrency { max: 2, mean: 1.25 });
    }
}
