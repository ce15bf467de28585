//! What the search has found to lead nowhere.

use std::collections::HashMap;

/// How many uses of each class of open operations, in the order of the classes; those with none are left out.
pub(super) type Uses = Box<[(u32, u32)]>;

/// Configurations from which no order exists. Bounded: when it is full it is emptied, which costs time and no truth.
#[derive(Debug)]
pub(super) struct Memo {
    failed: HashMap<Box<[u64]>, Vec<Uses>>,
    weight: usize,
    max: usize,
}

/// What a configuration weighs: one, and as much again for each of these many uses.
const USES: usize = 16;

fn weight(uses: &[(u32, u32)]) -> usize {
    1 + uses.len() / USES
}

impl Memo {
    /// For configurations that weigh no more than `max` together.
    pub(super) fn new(max: usize) -> Self {
        Self { failed: HashMap::new(), weight: 0, max }
    }

    /// Whether this configuration is known to lead nowhere: it, or one that differs only in having used less of the
    /// operations that may take effect at any time. Having used less leaves more to come.
    pub(super) fn has(&self, key: &[u64], uses: &[(u32, u32)]) -> bool {
        self.failed.get(key).is_some_and(|known| known.iter().any(|failed| covers(uses, failed)))
    }

    pub(super) fn insert(&mut self, key: &[u64], uses: &[(u32, u32)]) {
        let new = weight(uses);
        if self.weight + new > self.max {
            self.failed.clear();
            self.weight = 0;
        }
        let known = self.failed.entry(key.into()).or_default();
        let mut gone = 0;
        known.retain(|failed| {
            let covered = covers(failed, uses);
            gone += if covered { weight(failed) } else { 0 };
            !covered
        });
        known.push(uses.into());
        self.weight = self.weight + new - gone;
    }
}

/// Whether `more` uses at least as much of every class as `less`.
fn covers(more: &[(u32, u32)], less: &[(u32, u32)]) -> bool {
    let mut more = more.iter();
    less.iter().all(|(class, n)| more.find(|(c, _)| c >= class).is_some_and(|(c, m)| c == class && m >= n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_use_is_covered_by_less() {
        let mut memo = Memo::new(100);
        memo.insert(&[1], &[(2, 1), (5, 2)]);
        assert!(memo.has(&[1], &[(2, 1), (5, 2)]));
        assert!(memo.has(&[1], &[(1, 9), (2, 1), (5, 3)]));
        assert!(!memo.has(&[1], &[(2, 1), (5, 1)]));
        assert!(!memo.has(&[1], &[(5, 2)]));
        assert!(!memo.has(&[2], &[(2, 1), (5, 2)]));
        memo.insert(&[1], &[]);
        assert!(memo.has(&[1], &[(5, 2)]));
        assert_eq!(memo.weight, 1);
    }

    #[test]
    fn it_is_emptied_when_full() {
        let mut memo = Memo::new(2);
        for key in 0..5 {
            memo.insert(&[key], &[]);
        }
        assert!(memo.has(&[4], &[]) && !memo.has(&[3], &[]) && memo.weight == 1);
        memo.insert(&[9], &[(0, 1); 2 * USES]);
        assert!(memo.has(&[9], &[(0, 1); 2 * USES]) && !memo.has(&[4], &[]) && memo.weight == 3);
    }
}
