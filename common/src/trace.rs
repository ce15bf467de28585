//! The vocabulary of what can be traced, in the format `trace/1`: JSON lines, a meta line first.
//!
//! Cores describe state changes, log steps, timers and notes; the replica adds sends, receives, disk and client
//! events, numbers and times them, and remembers which event caused which. One format serves real nodes and the
//! simulator.

use serde::Serialize;
use serde_json::Value;

use crate::types::LogId;

/// What a core says happened, with where the rule stands in our code and in the paper.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceEvent {
    /// Room and rule, such as `raft/election#grant_vote`.
    #[serde(rename = "a")]
    pub anchor: &'static str,
    /// Section or figure, such as `Raft fig. 2 RequestVote 2` or `Zab1.0 P1.4`.
    #[serde(rename = "p")]
    pub paper: &'static str,
    /// What happened.
    #[serde(flatten)]
    pub body: TraceBody,
}

/// The kinds of events a core emits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "k", rename_all = "lowercase")]
pub enum TraceBody {
    /// State changed to these values, by the protocol's own names.
    Set {
        /// Names and new values.
        s: Vec<(&'static str, Value)>,
    },
    /// A step of the log.
    Log {
        /// `append`, `trunc`, `commit`, `apply`, `snap`, `sync`.
        op: &'static str,
        /// The last id it concerns.
        at: LogId,
        /// How many entries, where that means something.
        n: u64,
    },
    /// A timer fired.
    Timer {
        /// Which: `election`, `heartbeat`, …
        name: &'static str,
    },
    /// A decision worth a caption; the viewer has a template for each key.
    Note {
        /// The template.
        key: &'static str,
        /// Its parameters.
        args: Vec<(&'static str, Value)>,
    },
}
