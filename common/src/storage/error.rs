//! What can go wrong with storage, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::LogId;

/// Why storage could not be opened or an operation could not be carried out. Every text names the file, the place in it
/// where that applies, and what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was asked: `write`, `fdatasync`, ...
        action: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Its answer, with the errno.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("{} is in use by another process: stop that node first, or give this one a folder of its own", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Bytes are not what was written. Not a torn end of the log, which is cut off with a warning.
    #[error(
        "{} is damaged at byte {offset}: {what}. The node does not go on, because entries it has acknowledged may be \
         lost. Keep the folder and check the disk. Do not start this node from an older copy, which has forgotten \
         what it promised since: replace it by a new node with a new id",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// A log segment or the whole log is not there.
    #[error(
        "{}: {what}. The node does not start, because entries it has acknowledged may be lost. If the file \
         was moved away, put it back; without it, replace this node by a new one with a new id",
        path.display()
    )]
    Missing {
        /// The file or folder looked for.
        path: PathBuf,
        /// What is missing, and how that is known.
        what: String,
    },
    /// The folder belongs to another protocol, cluster or node.
    #[error(
        "{} belongs to {field} {found}, but this node is of {field} {expected}: give this node another folder, or start \
         it as what the folder is",
        path.display()
    )]
    Stranger {
        /// The file that says so.
        path: PathBuf,
        /// `protocol`, `cluster` or `node`.
        field: &'static str,
        /// What the file says.
        found: String,
        /// What this node was told it is.
        expected: String,
    },
    /// Written by another version of this program.
    #[error("{} has format version {found}, this program reads version {supported}: use the program that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// What this program knows.
        supported: u32,
    },
    /// The log starts after entries that no stored snapshot covers.
    #[error(
        "the log in {} starts after {base}, but the newest valid snapshot covers entries up to {snapshot} only: entries \
         between them are lost. Put the newer snapshot file back; without it, replace this node by a new one with a new id",
        dir.display()
    )]
    Uncovered {
        /// The folder of the log.
        dir: PathBuf,
        /// The id before the log's first entry.
        base: LogId,
        /// The newest valid snapshot, or zero.
        snapshot: LogId,
    },
    /// There is no such snapshot any more.
    #[error("no snapshot of {id} in {}", dir.display())]
    NoSnapshot {
        /// The folder of the snapshots.
        dir: PathBuf,
        /// Which was asked for.
        id: LogId,
    },
    /// An operation does not fit the log: an error in the program, not of the disk.
    #[error("{action} {id} does not fit a log of ({base}..{last}]: this is an error in the program, please report it")]
    Misplaced {
        /// `append` or `truncate after`.
        action: &'static str,
        /// The id it was asked for.
        id: LogId,
        /// The log's base.
        base: LogId,
        /// The log's last id.
        last: LogId,
    },
    /// A setting is out of range.
    #[error("storage setting {field} is {value}, allowed is {allowed}")]
    Config {
        /// Its name.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The range.
        allowed: &'static str,
    },
    /// The state machine could not write its state.
    #[error("cannot write the state of the snapshot {}: {source}", path.display())]
    State {
        /// The file aside.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether it says that the log, or the snapshot which it starts from, is not what it was. Not so where the disk gives no
    /// answer, or another program wrote the folder.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Missing { .. } | Self::Uncovered { .. })
    }

    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), offset, what: what.into() }
    }
}
