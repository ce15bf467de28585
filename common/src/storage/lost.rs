//! What damage has taken from a node's log, and the order of steps by which the node goes on without it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::error;

use super::error::StorageError;
use super::fs::Fs;
use super::hard::HardFile;
use super::snapshot::Snapshots;
use super::wal::Wal;
use crate::mutant;
use crate::types::LogId;

/// What was lost, and where that showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file that is damaged or missing, or the log's folder.
    pub path: PathBuf,
    /// Where in it; 0 if there is no such place.
    pub offset: u64,
    /// What was found there.
    pub what: String,
    /// Entries after this one are lost.
    pub after: LogId,
    /// Up to this one, as far as that is known: of what is behind the damage the greatest id that could still be read.
    pub upto: Option<LogId>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}. Entries after {}", self.path.display(), self.offset, self.what, self.after)?;
        match self.upto {
            Some(upto) => write!(f, " up to {upto} at least are lost here"),
            None => f.write_str(" may be lost here"),
        }
    }
}

impl Lost {
    fn new(damage: &StorageError, after: LogId, upto: Option<LogId>) -> Self {
        let (path, offset, what) = match damage {
            StorageError::Damaged { path, offset, what } => (path.clone(), *offset, what.clone()),
            StorageError::Missing { path, what } => (path.clone(), 0, what.clone()),
            StorageError::Uncovered { dir, base, snapshot } => {
                (dir.clone(), 0, format!("it starts after {base}, and the newest valid snapshot covers {snapshot}"))
            }
            other => (PathBuf::new(), 0, other.to_string()),
        };
        Self { path, offset, what, after, upto }
    }
}

/// Gives up what is damaged. The mark in the hard state comes first: a node that had cut its log and forgotten why would
/// vote by what is left. If power fails in between, the next start finds the damage again and marks once more.
pub(super) fn mend(
    fs: &Arc<dyn Fs>,
    log_dir: &Path,
    damage: &StorageError,
    (hard, marked): (&mut HardFile, Vec<u8>),
    (snapshots, newest): (&Snapshots, LogId),
) -> Result<Lost, StorageError> {
    let late = mutant!("D28");
    if !late {
        hard.save(marked.clone())?;
    }
    let cut = Wal::cut_damage(&**fs, log_dir, newest)?;
    snapshots.remove_damaged()?;
    if late {
        hard.save(marked)?;
    }
    let lost = Lost::new(damage, cut.after, cut.upto);
    error!(%lost, "the log is damaged. This node goes on with the part that is whole and does not vote until its peers have given it the rest");
    Ok(lost)
}
