//! What the storage workers are asked, and what they answer.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::entries::{Entries, EntryKind};
use crate::protocol::Chunk;
use crate::state_machine::Frozen;
use crate::types::{LogId, NodeId};

/// An operation on the log or the hard state. They take effect on disk in the order given: none is durable before an
/// earlier one is.
#[derive(Clone, Debug)]
pub enum LogOp {
    /// Add a run at the end. Several appends share one fdatasync (group commit), then one `Durable` answers them all.
    Append(Entries),
    /// Remove every entry after this id, durably before anything later is written. Answered by `Durable { upto: after }`.
    Truncate {
        /// The last entry that stays.
        after: LogId,
    },
    /// Drop the whole log; it starts again after `base` (a snapshot from elsewhere was stored). Answered by
    /// `Durable { upto: base }`.
    Reset {
        /// The snapshot's last id.
        base: LogId,
    },
    /// The log up to and including this id is in a stored snapshot: segments that lie wholly below may go. Answered by
    /// `Compacted`.
    Compact {
        /// The last id that is no longer needed.
        upto: LogId,
    },
    /// Save the protocol's hard state (its postcard form). Answered by `HardSaved`.
    SaveHard(Vec<u8>),
    /// Read one run of entries after `after` from disk, at most `max_bytes` of payload but at least one entry.
    Fetch {
        /// For whom; comes back with the answer.
        peer: NodeId,
        /// The id before the first one wanted.
        after: LogId,
        /// The limit.
        max_bytes: usize,
    },
    /// Read entries for an operator to look at, oldest first, starting after `after` (or at the log's start).
    Show {
        /// Comes back with the answer.
        token: u64,
        /// The id before the first one wanted; ids need not be in the log.
        after: LogId,
        /// At most so many.
        max_entries: usize,
    },
}

/// What the log worker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Every entry up to `upto` is durable, in the log as it stands after `cuts` truncations and resets. The receiver
    /// ignores answers with fewer cuts than it has asked for: they speak of a log that is no more.
    Durable {
        /// The last durable entry.
        upto: LogId,
        /// How many `Truncate` and `Reset` operations this worker had carried out by then.
        cuts: u64,
    },
    /// One `SaveHard` is durable.
    HardSaved,
    /// The log now starts after `base`.
    Compacted {
        /// The id before the first entry left; at most what was asked for.
        base: LogId,
    },
    /// Answers `Fetch`. None when the entries are gone or unknown.
    Fetched {
        /// As asked.
        peer: NodeId,
        /// As asked.
        after: LogId,
        /// What was read.
        entries: Option<Entries>,
    },
    /// Answers `Show`.
    Shown {
        /// As asked.
        token: u64,
        /// What was read.
        lines: Vec<LogLine>,
    },
    /// The disk failed: nothing after this is durable and no further operation will be carried out. The node must stop
    /// promising at once; a failed fsync is never tried again.
    Failed(String),
}

/// One entry as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it stands.
    pub id: LogId,
    /// What it is for.
    pub kind: EntryKind,
    /// Its payload.
    pub payload: Bytes,
}

/// An operation on the snapshot store.
pub enum SnapshotOp {
    /// Write a frozen state of this node's own machine: aside, synced, renamed, directory synced. Older snapshots go.
    /// Answered by `Stored`.
    Store {
        /// The last id it covers.
        snapshot: LogId,
        /// What to write.
        state: Box<dyn Frozen>,
    },
    /// Read a piece of a stored snapshot. Answered by `Read`.
    Read {
        /// For whom; comes back with the answer.
        peer: NodeId,
        /// Which; None for the newest. If it is gone: the newest, from its start.
        snapshot: Option<LogId>,
        /// From where.
        offset: u64,
        /// At most so many bytes.
        max_bytes: usize,
    },
    /// Write a received piece aside. Offset 0 starts anew. Answered by `Written` or `Refused`.
    Write(Chunk),
    /// The received snapshot is complete: verify its checksum, sync, rename, sync the directory. Answered by `Received`
    /// or `Refused`.
    Finish {
        /// Which.
        snapshot: LogId,
    },
}

impl fmt::Debug for SnapshotOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { snapshot, .. } => write!(f, "Store({snapshot})"),
            Self::Read { peer, snapshot, offset, .. } => write!(f, "Read({peer}, {snapshot:?}, {offset})"),
            Self::Write(c) => write!(f, "Write({}, {}..{})", c.snapshot, c.offset, c.end()),
            Self::Finish { snapshot } => write!(f, "Finish({snapshot})"),
        }
    }
}

/// What the snapshot worker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotEvent {
    /// This node's own snapshot is durable.
    Stored {
        /// The last id it covers.
        snapshot: LogId,
        /// The file's length.
        bytes: u64,
    },
    /// Answers `Read`. None when there is no snapshot.
    Read {
        /// As asked.
        peer: NodeId,
        /// The piece.
        chunk: Option<Chunk>,
    },
    /// Answers `Read`: the newest snapshot is damaged or cannot be read. Nothing of it was sent; a new one is needed.
    Unusable {
        /// As asked.
        peer: NodeId,
        /// Which.
        snapshot: LogId,
    },
    /// The piece is in the file.
    Written {
        /// Which snapshot.
        snapshot: LogId,
        /// How many bytes are there.
        end: u64,
    },
    /// The received snapshot is durable and whole. It can be opened for reading by its id.
    Received {
        /// Which.
        snapshot: LogId,
    },
    /// A piece was out of order, or the checksum is wrong: what was aside is gone.
    Refused {
        /// Which.
        snapshot: LogId,
        /// Why.
        reason: String,
    },
    /// The disk failed; see [`LogEvent::Failed`].
    Failed(String),
}
