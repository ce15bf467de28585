//! The client protocol: pipelined requests over one connection, each with the client's own number.
//!
//! A frame's header is a postcard [`Request`] or [`Response`]; its body is the command, query or answer. Answers
//! come in any order and carry the request's number.

use serde::{Deserialize, Serialize};

use crate::membership::MemberChange;
use crate::protocol::Refusal;
use crate::status::Status;
use crate::storage::LogLine;
use crate::types::{LogId, NodeId};

/// A client session: the id of the log entry that opened it, so it is unique for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub LogId);

/// The header of a log entry's payload; the command follows it. Clients send it ready-made as the body of a
/// [`Ask::Write`], so that no node copies or re-encodes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Envelope {
    /// Opens a session. No command follows.
    Open,
    /// A command, carried out at most once per `(session, seq)`.
    Write {
        /// Whose.
        session: SessionId,
        /// The client's number for it, from 1, each used for one command only.
        seq: u64,
        /// The client has the answers of every number below this one and will not ask for them again.
        floor: u64,
    },
    /// Bytes for the log alone: ordered and stored, not given to the state machine.
    Raw,
    /// Drops every session that was last used at or before an entry. Only a leader may say so; from clients it is not taken.
    Expire {
        /// Which.
        upto: LogId,
    },
}

/// How fresh a read must be, and what that may rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// Sees every write that was answered before the read was asked, from any node. Raft: ReadIndex. ZAB: `sync`, made
    /// linearizable by a round to a quorum.
    #[default]
    Linearizable,
    /// Answered at once from what this node has applied; possibly stale. The answer says by how much at most.
    Local,
    /// As `Linearizable`, but the leader need not ask a quorum while it holds a lease: linearizable as long as clocks run as evenly
    /// as the nodes' configuration says. Where leases are off (and in ZAB, which has none), a quorum is asked.
    Lease,
    /// ZooKeeper's `sync` and a local read: sees every write that was answered when the leader was asked, if it still leads; it asks
    /// nobody whether it does (ZOOKEEPER-1675). Raft has no such thing and asks a quorum.
    Sync,
}

impl ReadMode {
    /// Whether it sees everything that was answered before it was asked.
    pub fn is_linearizable(self) -> bool {
        !matches!(self, Self::Local | Self::Sync)
    }
}

/// A request and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The client's number for it; comes back with the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What a client may ask of any node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Replicate the body: a postcard [`Envelope`] and what follows it.
    Write,
    /// Answer the query in the body.
    Read {
        /// How fresh.
        mode: ReadMode,
        /// The answer must include everything up to here (a session never goes back in time); zero asks nothing.
        at_least: LogId,
    },
    /// Describe this node.
    Status,
    /// Show log entries after an id.
    Log {
        /// The id before the first one wanted.
        after: LogId,
        /// At most so many (a node may give fewer).
        max: u32,
    },
    /// Hand leadership over. Answered when another node leads, or when it is clear that none will on this account.
    Transfer {
        /// To whom; None lets the leader choose.
        to: Option<NodeId>,
    },
    /// Change who belongs to the cluster. Answered when the change is in force and committed, `Unknown` when that cannot be
    /// told: the status of any node shows it then.
    Change {
        /// All of it at once.
        changes: Vec<MemberChange>,
    },
}

/// An answer and the request's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The request's number.
    pub id: u64,
    /// The answer.
    pub answer: Answer,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The write is committed and applied; the state machine's answer is in the body.
    Written {
        /// Where it stands. For an `Open`, the session's id.
        at: LogId,
    },
    /// The read's answer is in the body.
    Read {
        /// Everything up to here was applied when it was answered.
        at: LogId,
        /// Of a local read: it sees everything that was answered up to so many microseconds before it was asked, by the clock
        /// of the node that answers. None if the node cannot say, and for reads that see everything.
        stale_us: Option<u64>,
    },
    /// The node.
    Status(Box<NodeStatus>),
    /// Log entries.
    Log(Vec<LogLine>),
    /// Leadership was handed over.
    Transferred {
        /// Who leads now.
        to: NodeId,
    },
    /// The members were changed.
    Changed {
        /// By which entry.
        at: LogId,
    },
    /// Nothing was done, and nothing will be, on account of this request.
    Refused(Refusal),
    /// The write may or may not take effect: retry it with the same `(session, seq)` to find out.
    Unknown,
    /// The session is not, or no longer, known: its answers are gone.
    NoSession,
    /// The number is below the session's floor, or above what the session may have open.
    BadSequence {
        /// The lowest number that would be taken.
        floor: u64,
        /// The number that came.
        seq: u64,
    },
    /// The request's body is not what its header says.
    Malformed(String),
    /// The write was sent again: it was carried out the first time, but its answer was too large to be kept.
    Forgotten {
        /// Where it stands.
        at: LogId,
    },
}

impl Answer {
    /// The variant's name, for messages to people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Written { .. } => "Written",
            Self::Read { .. } => "Read",
            Self::Status(_) => "Status",
            Self::Log(_) => "Log",
            Self::Transferred { .. } => "Transferred",
            Self::Changed { .. } => "Changed",
            Self::Refused(_) => "Refused",
            Self::Unknown => "Unknown",
            Self::NoSession => "NoSession",
            Self::BadSequence { .. } => "BadSequence",
            Self::Malformed(_) => "Malformed",
            Self::Forgotten { .. } => "Forgotten",
        }
    }
}

/// A node as `duet ctl status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The protocol's view.
    pub core: Status,
    /// The state machine's hash at `core.applied`.
    pub state_hash: u64,
    /// Client sessions that are known.
    pub sessions: u64,
    /// Counters since the process started, by name. See [`Counters`](crate::metrics::Counters).
    pub counters: Vec<(String, u64)>,
}
