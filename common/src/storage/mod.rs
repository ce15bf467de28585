//! Durable storage: one segmented write-ahead log, one snapshot store, one small file for the protocol's hard state.
//!
//! All of it is synchronous code over one small file-system trait, so that the real disk and a simulated one run the
//! same storage code. Two workers own it: the log worker takes [`LogOp`]s (log and hard state, in order, with group
//! commit), the snapshot worker takes [`SnapshotOp`]s. A worker is a value too: it is given a batch of operations and
//! answers with events. The tokio shell runs each on a thread of its own; a simulator calls them when it likes.

pub mod ops;

pub use ops::{LogEvent, LogLine, LogOp, SnapshotEvent, SnapshotOp};
