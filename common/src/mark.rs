//! Marks: which branches a simulation reached, and how often.
//!
//! A checker that finds nothing proves little if the interesting branch was never taken. Places of interest call
//! [`mark!`](crate::mark!) (in a core: [`Effects::mark`](crate::protocol::Effects::mark), or any
//! [`trace`](crate::protocol::Effects::trace), whose anchor is a mark). A simulator that records on its thread gets counts;
//! elsewhere a mark costs a look at a thread-local flag. Not for places that are passed for each entry.

mod list;
pub mod sources;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

pub use list::LIST;

type Count = (&'static str, u64);

thread_local! {
    /// By the name's address, which is faster to compare than its text; one name may have several.
    static RECORDER: RefCell<Option<BTreeMap<(usize, usize), Count>>> = const { RefCell::new(None) };
    /// Whether there is one. It is all that is looked at elsewhere, and without a destructor it is looked at in one move.
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Starts recording on this thread, from nothing.
pub fn start() {
    RECORDER.set(Some(BTreeMap::new()));
    RECORDING.set(true);
}

/// Ends recording on this thread: how often each mark was hit.
pub fn take() -> BTreeMap<&'static str, u64> {
    RECORDING.set(false);
    let mut counts = BTreeMap::new();
    for (name, n) in RECORDER.take().unwrap_or_default().into_values() {
        *counts.entry(name).or_default() += n;
    }
    counts
}

/// Counts a mark, if this thread records.
#[inline]
pub fn hit(name: &'static str) {
    if RECORDING.get() {
        count(name);
    }
}

#[cold]
fn count(name: &'static str) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(counts) = recorder {
            counts.entry((name.as_ptr() as usize, name.len())).or_insert((name, 0)).1 += 1;
        }
    });
}

/// Counts a mark, `room/place#what`, if a simulation records on this thread.
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        $crate::mark::hit($name)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn marks_are_counted_while_recorded() {
        mark!("test#before");
        super::start();
        mark!("test#once");
        mark!("test#twice");
        mark!("test#twice");
        let counts = super::take();
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("test#once", 1), ("test#twice", 2)]);
        mark!("test#after");
        assert!(super::take().is_empty());
    }
}
