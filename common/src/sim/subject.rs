//! What the simulator asks of a protocol beyond the contract: its rules, as oracles which see every node.

use std::fmt::Debug;

use super::truth::Truth;
use crate::protocol::Protocol;
use crate::quorum::Voters;
use crate::types::{Member, Micros, NodeId};

/// A promise that was broken, by the name of the oracle which saw it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Violation {
    /// Its name: `C-ACK`, `R-ES`, `Z-PFX`, …
    pub oracle: &'static str,
    /// What was found, and where.
    pub what: String,
}

impl Violation {
    /// A violation of `oracle`.
    pub fn new(oracle: &'static str, what: impl Into<String>) -> Self {
        Self { oracle, what: what.into() }
    }
}

/// The names of the oracles of every protocol. Those of one alone are [`Subject::oracles`].
pub const ORACLES: &[&str] = &[
    "C-ACK", "C-ANS", "C-DUR", "C-HALT", "C-INT", "C-LIN", "C-MONO", "C-NBT", "C-ONCE", "C-PANIC", "C-PEER",
    "C-PREFIX", "C-RECOV", "C-RES", "C-SEQ", "C-STALE", "C-STATE", "C-VOW", "L1", "L2", "L3", "L4", "L5", "L6", "L7",
];

/// The timing of a simulated cluster, in a protocol's own terms once [`Subject::config`] has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The least time-out after which a silent leader is given up (Raft: the lower end of the randomised range).
    pub election_timeout: Micros,
    /// Between two signs of life of a leader. At most half of `election_timeout`.
    pub heartbeat: Micros,
    /// Of a thousand: no clock runs faster or slower than the world by more. 0 where nothing of the kind is promised (clocks
    /// may jump); then nobody may rely on one.
    pub drift: u64,
    /// How tight the protocol's own limits are (batches, windows, chunks, ranges): 0 for the defaults, otherwise drawn from
    /// this number, legal but unlikely.
    pub limits: u64,
}

/// A protocol that can be simulated and judged.
pub trait Subject: Protocol {
    /// The rules that concern several nodes, or one node over time. Fresh for each world.
    type Oracle: Oracle<Self>;

    /// The configuration of a node in a simulated cluster: these timers, and limits that follow from `timing.limits`.
    fn config(timing: &Timing, node: NodeId) -> Self::Config;

    /// The names of its oracles, those that are not of every protocol.
    fn oracles() -> &'static [&'static str];

    /// Every mark its code can hit; a test compares it with the sources.
    fn marks() -> &'static [&'static str];

    /// After how long a leader whose disk stalls gives its office up, if it does: L6.
    fn leaves_a_stalled_disk(timing: &Timing, node: NodeId) -> Option<Micros> {
        let _ = (timing, node);
        None
    }

    /// Whether a node may end a session for this reason although its peer kept all rules: a full queue, silence. Any other
    /// reason is a finding (C-NBT).
    fn may_disconnect(reason: &str) -> bool {
        let _ = reason;
        false
    }

    /// A short description of a message for a sequence chart, such as `AppendEntries(term 3, after 3:17, 2 entries)`.
    fn describe(message: &Self::Message) -> String {
        let mut text = format!("{message:?}");
        if let Some((end, _)) = text.char_indices().nth(120) {
            text.truncate(end);
        }
        text
    }
}

/// Watches all nodes of one world. Everything it does is O(1) amortised per event, or as near as can be.
pub trait Oracle<P: Subject>: Debug {
    /// For a cluster with these voters at the start.
    fn new(voters: &Voters) -> Self;

    /// A node has started from its disk, and this is the disk.
    fn booted(&mut self, core: &P, member: Member, truth: &Truth<P::Hard>) -> Result<(), Violation>;

    /// A node is gone: what it only remembered is lost.
    fn crashed(&mut self, node: NodeId);

    /// A node that had ended gets another disk: an old image, or an empty one. What it had promised is forgotten.
    fn replaced(&mut self, node: NodeId);

    /// A node has taken a turn (any number of steps). `truths` is what is durable on each node's disk at this moment, in the
    /// order of their ids.
    fn turned(&mut self, core: &P, now: Micros, truths: &[(NodeId, Truth<P::Hard>)]) -> Result<(), Violation>;

    /// A message leaves `from`: C-VOW. Whatever it promises must be in `truth`, the disk of `from` at this moment.
    fn sends(
        &mut self,
        from: NodeId,
        to: NodeId,
        message: &P::Message,
        truth: &Truth<P::Hard>,
    ) -> Result<(), Violation>;
}
