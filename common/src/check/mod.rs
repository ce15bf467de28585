//! Judges a system by nothing but what its clients saw: is there one order of all operations that explains every answer and
//! that keeps operations in their order where one was answered before the other was invoked? Then the history is
//! linearizable (Herlihy and Wing, "Linearizability: A Correctness Condition for Concurrent Objects", 1990).
//!
//! The question is hard in general (Gibbons and Korach, "Testing Shared Memories", 1997), so every search has a limit, and a
//! search that reaches it says [`Verdict::Unknown`]. Whoever asked must take that as a failure and not as a good answer.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`history`] | events, operations, models |
//! | [`file`](mod@file) | histories as files |
//! | [`offence`] | the part of a history that has no order |
//! | [`summary`] | how much a history can prove |
//! | `task` | one key's operations |
//! | `zones` | what the answers alone say of the state |
//! | `plan`, `search`, `memo` | the search for an order |
//! | `explain` | makes a history without an order small |
//!
//! ```
//! use common::check::{Call, History, Limits, Model, Outcome, Verdict, What, check};
//! use common::types::Micros;
//!
//! let mut h = History::default();
//! let invoke = |call| What::Invoke { key: "x".into(), call };
//! h.push(1, Micros(0), invoke(Call::Write("new".into())));
//! h.push(1, Micros(5), What::Ok(Outcome::Done));
//! h.push(2, Micros(6), invoke(Call::Read { local: false }));
//! h.push(2, Micros(9), What::Ok(Outcome::Value(None)));
//! let report = check(Model::Kv, &h, &Limits::default())?;
//! let Verdict::NotLinearizable(offence) = report.verdict else { panic!() };
//! assert_eq!(offence.operations.len(), 2); // the write that was answered, and the read that missed it
//! # Ok::<(), common::check::HistoryError>(())
//! ```

mod explain;
pub mod file;
pub mod history;
mod memo;
#[cfg(test)]
mod naive;
pub mod offence;
mod plan;
mod search;
pub mod summary;
mod task;
#[cfg(test)]
mod tests;
mod zones;

use bytes::Bytes;

pub use history::{Call, End, Event, History, HistoryError, Model, Operation, Outcome, What};
pub use offence::{Involved, Offence};
pub use summary::Summary;

use search::{OutOfSteps, search};
use task::{KeyOps, Task};

/// How much work a check may be. Steps, not seconds: the same history always gets the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Moves tried for one key; and as many again to make the history of a key that has no order small.
    pub steps: u64,
    /// Failed configurations remembered at a time, each 100 to 300 bytes; one with many operations of unknown outcome counts
    /// as several. With fewer the search forgets, and takes longer.
    pub remembered: usize,
}

impl Default for Limits {
    /// 20 million steps, which take seconds; a million configurations.
    fn default() -> Self {
        Self { steps: 20_000_000, remembered: 1 << 20 }
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The judgement.
    pub verdict: Verdict,
    /// What was judged.
    pub summary: Summary,
    /// Moves tried, without those for the explanation.
    pub steps: u64,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    NotLinearizable(Box<Offence>),
    /// The search reached its limit. A failure: nothing is known.
    Unknown {
        /// The first key it gave up.
        key: Bytes,
        /// How many keys it gave up.
        keys: usize,
    },
}

/// At most so many keys without an order are explained, to find the smallest explanation.
const EXPLAINED_MAX: usize = 4;

/// Judges a history. One key without an order decides it, whatever is unknown about others.
pub fn check(model: Model, history: &History, limits: &Limits) -> Result<Report, HistoryError> {
    let operations = history.operations(model)?;
    let summary = Summary::of(history, &operations);
    let keys = task::split(history, &operations);
    let (mut bad, mut unknown, mut steps): (Vec<&(Bytes, KeyOps)>, Vec<&Bytes>, u64) = (Vec::new(), Vec::new(), 0);
    for key in &keys {
        let mut left = limits.steps;
        let task = Task::new(key.1.init, &key.1.ops);
        match search(&task, &mut left, limits.remembered) {
            Ok(Some(order)) => debug_assert!(search::explains(&task, &order), "{order:?} does not explain {task:?}"),
            Ok(None) => bad.push(key),
            Err(OutOfSteps) => unknown.push(&key.0),
        }
        steps += limits.steps - left;
    }
    let explained = bad.iter().take(EXPLAINED_MAX).map(|(key, ops)| {
        let core = explain::explain(ops, &mut limits.steps.clone(), limits.remembered);
        Offence::of(key, &core, bad.len(), history, &operations)
    });
    let verdict = match (explained.min_by_key(|o| (o.operations.len(), o.event)), unknown.first()) {
        (Some(offence), _) => Verdict::NotLinearizable(Box::new(offence)),
        (None, Some(key)) => Verdict::Unknown { key: (*key).clone(), keys: unknown.len() },
        (None, None) => Verdict::Linearizable,
    };
    Ok(Report { verdict, summary, steps })
}
