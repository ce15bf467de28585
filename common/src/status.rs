//! What a node tells an operator, in words both protocols share.

use serde::{Deserialize, Serialize};

use crate::membership::Membership;
use crate::types::{LogId, Member, NodeId, Role};

/// A core's view of itself and, on a leader, of each peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `raft` or `zab`.
    pub protocol: String,
    /// Who answers.
    pub id: NodeId,
    /// Voter or observer.
    pub member: Member,
    /// What it does.
    pub role: Role,
    /// The protocol's own word for where it is: `pre-candidate`, `discovery`, `synchronisation`, `broadcast`, …
    pub phase: String,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Raft: currentTerm. ZAB: currentEpoch.
    pub epoch: u64,
    /// What the protocol saved beside the log, by its own names: `votedFor`, `acceptedEpoch`, …
    pub hard: Vec<(String, String)>,
    /// The id before the log's first entry.
    pub base: LogId,
    /// The last entry.
    pub last: LogId,
    /// The last entry known to be durable here.
    pub durable: LogId,
    /// The last entry known to be committed.
    pub committed: LogId,
    /// The last entry applied.
    pub applied: LogId,
    /// The newest snapshot's last id.
    pub snapshot: LogId,
    /// Who belongs to the cluster as far as it knows, and the entry that says so; zero where none does.
    pub membership: Membership,
    /// See `membership`.
    pub membership_at: LogId,
    /// On a leader: every voter and connected observer but itself.
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of a peer: what it has, what it needs next, and why it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who.
    pub id: NodeId,
    /// Voter or observer.
    pub member: Member,
    /// Whether a session is up.
    pub connected: bool,
    /// Raft: `probe`, `replicate`, `snapshot`. ZAB: `discovery`, `synchronisation`, `broadcast`.
    pub state: String,
    /// The last entry it is known to have durably (voters), or was sent (observers). Raft: matchIndex.
    pub has: LogId,
    /// The last entry sent; what it needs next follows it. Raft: nextIndex - 1.
    pub sent: LogId,
    /// Why nothing more is sent now, if so: `window full`, `waiting for disk`, …
    pub paused: Option<String>,
    /// How it was last brought level, if it was.
    pub sync: Option<SyncReport>,
}

/// One catch-up of one peer, from the leader's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReport {
    /// The decision. Raft: `append`, `snapshot`. ZAB: `DIFF`, `TRUNC`, `TRUNC+DIFF`, `SNAP`.
    pub kind: String,
    /// The peer's last id when it was taken.
    pub from: LogId,
    /// The leader's last id when it was taken.
    pub to: LogId,
    /// Entries sent for it so far.
    pub entries: u64,
    /// Payload and snapshot bytes sent for it so far.
    pub bytes: u64,
    /// Microseconds from the decision until the peer was level; None while under way.
    pub took_us: Option<u64>,
}
