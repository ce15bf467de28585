//! The small values both protocols are made of: who a node is, where an entry stands, and when.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a node, unique in its cluster and stable over restarts. Zero is never a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// The place of an entry in a replicated log: the reign it was proposed in, and its number.
///
/// Raft reads it as `(term, index)`: the index goes on counting through all terms, from 1. ZAB reads
/// it as a `zxid`, `(epoch, counter)`: the counter starts again at 1 in each epoch. In both the
/// order of a log is the lexicographic order of its ids, which is what `Ord` gives here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Raft: term. ZAB: epoch.
    pub epoch: u64,
    /// Raft: index, from 1. ZAB: counter within the epoch, from 1.
    pub counter: u64,
}

impl LogId {
    /// The place before the first entry; the last id of an empty log.
    pub const ZERO: Self = Self { epoch: 0, counter: 0 };

    /// The id `(epoch, counter)`.
    pub const fn new(epoch: u64, counter: u64) -> Self {
        Self { epoch, counter }
    }

    /// The id `n` places further on in the same epoch.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self { epoch: self.epoch, counter: self.counter + n }
    }
}

/// As one number: cores compare ids many times in a step, and two words are compared at once with fewer branches than one
/// after the other.
impl LogId {
    #[inline]
    const fn number(self) -> u128 {
        (self.epoch as u128) << 64 | self.counter as u128
    }
}

impl Ord for LogId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }

    #[inline]
    fn max(self, other: Self) -> Self {
        if other.number() >= self.number() { other } else { self }
    }

    #[inline]
    fn min(self, other: Self) -> Self {
        if other.number() < self.number() { other } else { self }
    }
}

impl PartialOrd for LogId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.number() < other.number()
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        self.number() <= other.number()
    }

    #[inline]
    fn gt(&self, other: &Self) -> bool {
        self.number() > other.number()
    }

    #[inline]
    fn ge(&self, other: &Self) -> bool {
        self.number() >= other.number()
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.epoch, self.counter)
    }
}

/// A moment on a node's own monotonic clock, in microseconds since an arbitrary start.
///
/// Cores are told the time and never ask for it, so a simulator can make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Micros(pub u64);

impl Micros {
    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// The moment `span` later.
    #[must_use]
    pub const fn after(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` to `self`, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// What a node is to its cluster: whether its acknowledgements count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    /// Votes, acknowledges, and may lead.
    Voter,
    /// Receives what is committed and serves reads; never counted in any quorum.
    /// Raft says learner, ZAB says observer.
    Observer,
}

/// What a node is doing at this moment, in words both protocols share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Without a leader. Raft: follower that heard none yet, or (pre-)candidate. ZAB: LOOKING, discovery, synchronisation.
    Looking,
    /// Follows a leader and serves.
    Following,
    /// Leads, and may propose.
    Leading,
    /// Follows as a learner or observer.
    Observing,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Looking => "looking",
            Self::Following => "following",
            Self::Leading => "leading",
            Self::Observing => "observing",
        })
    }
}
