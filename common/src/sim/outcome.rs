//! What came of a run.

use std::collections::BTreeMap;

use super::subject::Violation;
use crate::check::History;
use crate::types::{Micros, NodeId};

/// What came of running one plan.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The first broken promise, and when it showed. The run ends there.
    pub violation: Option<(Micros, Violation)>,
    /// Over every event, in order: equal for equal plans.
    pub hash: u64,
    /// Simulated time.
    pub simulated: Micros,
    /// What was counted.
    pub counts: Counts,
    /// How often each mark was hit.
    pub marks: BTreeMap<&'static str, u64>,
    /// Why some node stayed down or no progress was demanded, one line each.
    pub notes: Vec<String>,
    /// What clients asked and were answered, when the run was asked to keep it.
    pub history: Option<History>,
    /// The last events before the end, oldest first, when the run was asked to keep them.
    pub chart: Vec<ChartEvent>,
}

/// Counts of one run, or of many together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the world handled.
    pub events: u64,
    /// Messages between replicas that arrived.
    pub messages: u64,
    /// Client operations that were answered and checked.
    pub operations: u64,
    /// Operations whose outcome stayed unknown.
    pub unknown: u64,
    /// Runs whose history a search found linearizable, besides the check of each answer that every run has.
    pub searched: u64,
    /// Entries committed.
    pub committed: u64,
    /// Times that another node, or the same in a new term or epoch, became leader.
    pub leaders: u64,
    /// Starts of nodes, the first ones included.
    pub boots: u64,
    /// Faults that bit, by kind: a cut that no message met is not counted.
    pub faults: BTreeMap<&'static str, u64>,
    /// Runs in which something new was committed after the last heal.
    pub recoveries: u64,
    /// From the last heal until a node first learnt of a new commit, in microseconds: the sum over those runs. How soon that
    /// is depends on when clients ask, too: an epoch of ZAB begins without an entry of its own.
    pub recovery_us: u64,
    /// The worst of it.
    pub recovery_worst_us: u64,
}

impl Counts {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.messages += other.messages;
        self.operations += other.operations;
        self.unknown += other.unknown;
        self.searched += other.searched;
        self.committed += other.committed;
        self.leaders += other.leaders;
        self.boots += other.boots;
        for (kind, n) in &other.faults {
            *self.faults.entry(kind).or_default() += n;
        }
        self.recoveries += other.recoveries;
        self.recovery_us += other.recovery_us;
        self.recovery_worst_us = self.recovery_worst_us.max(other.recovery_worst_us);
    }
}

/// One line of a sequence chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartEvent {
    /// When.
    pub at: Micros,
    /// What.
    pub what: ChartWhat,
}

/// What a line of a sequence chart shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChartWhat {
    /// A message arrives. `sent` is when it left.
    Message {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// What it says.
        text: String,
        /// When it left.
        sent: Micros,
    },
    /// Something happens at one node: a crash, a start, a role, a commit, a reply.
    Note {
        /// Where.
        node: NodeId,
        /// What.
        text: String,
    },
    /// Something happens to the world: a fault begins or ends.
    World {
        /// What.
        text: String,
    },
}
