//! Judges a system by nothing but what its clients saw: is there one order of all operations that explains every answer and
//! that keeps operations in their order where one was answered before the other was invoked? Then the history is
//! linearizable (Herlihy and Wing, "Linearizability: A Correctness Condition for Concurrent Objects", 1990).
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`history`] | events, operations, models |

pub mod history;

pub use history::{Call, Event, History, HistoryError, Model, Outcome, What};
