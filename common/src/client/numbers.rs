//! The numbers of a session's writes: which are open, and which the nodes may forget.
//!
//! The floor sent with each write promises that no lower number will be asked for again. Promising too much loses the
//! answer of a write under way; promising nothing fills the session's window and stops the client. So it is exactly the
//! lowest number without an outcome.

use std::collections::VecDeque;

/// A session's numbers, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    floor: u64,
    /// Whether the number `floor + i` has its outcome. The first one has none.
    done: VecDeque<bool>,
    window: u64,
}

impl Numbers {
    /// Of a new session that takes `window` numbers from its floor on.
    pub(super) fn new(window: u64) -> Self {
        Self { floor: 1, done: VecDeque::new(), window }
    }

    /// The next number; None while the window is full.
    pub(super) fn take(&mut self) -> Option<u64> {
        let next = self.floor + self.done.len() as u64;
        if self.done.len() as u64 >= self.window {
            return None;
        }
        self.done.push_back(false);
        Some(next)
    }

    /// The number has its outcome, or was given up.
    pub(super) fn finish(&mut self, seq: u64) {
        if let Some(place) = seq.checked_sub(self.floor)
            && let Some(done) = self.done.get_mut(place as usize)
        {
            *done = true;
        }
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.floor += 1;
        }
    }

    /// The lowest number without an outcome.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// The floor is the lowest open number, or the next one; the window counts from it.
        #[test]
        fn the_floor_is_the_lowest_open_number(steps in proptest::collection::vec(proptest::option::of(0usize..8), 0..80)) {
            let mut numbers = Numbers::new(5);
            let (mut open, mut next) = (BTreeSet::new(), 1);
            for step in steps {
                match step {
                    None => {
                        let lowest = open.first().copied().unwrap_or(next);
                        let expected = (next < lowest + 5).then_some(next);
                        prop_assert_eq!(numbers.take(), expected);
                        if expected.is_some() {
                            open.insert(next);
                            next += 1;
                        }
                    }
                    Some(i) => {
                        let seq = open.iter().nth(i).copied().unwrap_or(i as u64);
                        if seq < next {
                            open.remove(&seq);
                            numbers.finish(seq);
                        }
                    }
                }
                prop_assert_eq!(numbers.floor(), open.first().copied().unwrap_or(next));
            }
        }
    }
}
