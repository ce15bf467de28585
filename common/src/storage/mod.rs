//! Durable storage: one segmented write-ahead log, one snapshot store, one small file for the protocol's hard state.
//!
//! All of it is synchronous code over one small file-system trait, so that the real disk and a simulated one run the
//! same storage code. Two workers own it: the log worker takes [`LogOp`]s (log and hard state, in order, with group
//! commit), the snapshot worker takes [`SnapshotOp`]s. A worker is a value too: it is given a batch of operations and
//! answers with events. The tokio shell runs each on a thread of its own; a simulator calls them when it likes.
//!
//! ```text
//! folder/hard                                     whose folder it is, and the hard state
//! folder/log/0000000000000001.wal ...             the log, in segments
//! folder/snapshots/<epoch>-<counter>.snap         snapshots, by the last id they cover, in hexadecimal
//! ```

mod config;
mod error;
pub mod fs;
pub(crate) mod hard;
mod lost;
pub mod mem_fs;
pub mod ops;
mod real_fs;
mod snapshot;
pub(crate) mod wal;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use config::StorageConfig;
pub use error::StorageError;
pub use fs::Fs;
pub use hard::Identity;
pub use lost::Lost;
pub use mem_fs::MemFs;
pub use ops::{LogEvent, LogLine, LogOp, SnapshotEvent, SnapshotOp};
pub use real_fs::RealFs;
pub use snapshot::{SnapshotBody, Snapshots};
pub use worker::{LogWorker, SnapshotWorker};

use self::fs::DirLock;
use self::hard::HardFile;
use self::snapshot::Store;
use self::wal::Wal;
use crate::log::LogView;
use crate::metrics::Counters;
use crate::mutant;
use crate::types::LogId;

/// A node's folder, opened: what it holds, and who works on it from here on. The folder stays locked until both workers
/// are dropped.
#[derive(Debug)]
pub struct Opened {
    /// The hard state saved last, in the protocol's postcard form. None if none was ever saved.
    pub hard: Option<Vec<u8>>,
    /// The last id covered by the newest valid snapshot, or zero.
    pub snapshot: LogId,
    /// The durable log. Its base is at most `snapshot`, and everything after `snapshot` is in memory.
    pub log: LogView,
    /// The stored snapshots: [`Snapshots::read`] opens one for restoring the state machine.
    pub snapshots: Snapshots,
    /// Takes the operations on log and hard state.
    pub log_worker: LogWorker,
    /// Takes the operations on snapshots.
    pub snapshot_worker: SnapshotWorker,
    /// What damage has taken from the log, if it did: see [`Storage::open_mending`].
    pub lost: Option<Lost>,
}

/// What to save in place of the saved hard state, in the protocol's postcard form, before a damaged log is cut; None to refuse
/// the damage.
pub type MarkHard = dyn Fn(Option<&[u8]>) -> Option<Vec<u8>>;

/// The entry to this module.
#[derive(Debug)]
pub struct Storage;

impl Storage {
    /// Opens a node's folder, creating it for a node that never ran. Repairs what a crash can leave; refuses everything
    /// else, with an error that names file and offset.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        config: &StorageConfig,
        counters: &Arc<Counters>,
    ) -> Result<Opened, StorageError> {
        Self::open_mending(fs, dir, identity, config, counters, &|_| None)
    }

    /// Likewise, but a damaged log is no reason to refuse if the hard state is whole and `mark` allows it: the log is cut
    /// where it stops being whole, and [`Opened::lost`] says so. This node had acknowledged what it loses by that, so it must
    /// not vote by what is left. `mark` makes of the saved hard state one that says so; it is durable before anything is cut
    /// off. If it gives none, the damage is refused.
    pub fn open_mending(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        config: &StorageConfig,
        counters: &Arc<Counters>,
        mark: &MarkHard,
    ) -> Result<Opened, StorageError> {
        config.validate()?;
        let log_dir = dir.join("log");
        let snapshot_dir = dir.join("snapshots");
        for dir in [dir, &log_dir, &snapshot_dir] {
            fs.create_dir(dir).map_err(|e| StorageError::io("create the directory", dir, e))?;
        }
        let lock = lock(&**fs, dir)?;
        let (mut hard, exists) = HardFile::open(fs, dir, identity, counters)?;
        let snapshots = Snapshots::open(fs, &snapshot_dir)?;
        if !exists && !snapshots.ids()?.is_empty() {
            return Err(forgotten(dir, "there are snapshots"));
        }
        let snapshot = snapshots.newest_valid()?.unwrap_or(LogId::ZERO);
        let mut wal = Wal::open(fs, &log_dir, config, counters, snapshot, !exists);
        if mutant!("D10") && matches!(wal, Err(StorageError::Damaged { .. })) {
            for name in fs::list(&**fs, &log_dir)? {
                fs::unlink(&**fs, &log_dir.join(name))?;
            }
            wal = Wal::open(fs, &log_dir, config, counters, snapshot, true);
        }
        let mut lost = None;
        if let Err(damage) = &wal
            && exists
            && damage.is_loss()
            && let Some(marked) = mark(hard.hard())
        {
            lost = Some(lost::mend(fs, &log_dir, damage, (&mut hard, marked), (&snapshots, snapshot))?);
            counters.logs_mended.add(1);
            wal = Wal::open(fs, &log_dir, config, counters, snapshot, false);
        }
        let (wal, log) = wal?;
        if !exists {
            if !wal.is_pristine() {
                return Err(forgotten(dir, "there are log entries"));
            }
            // Last of all: from now on a missing log is an error.
            hard.write()?;
        }
        Ok(Opened {
            hard: hard.hard().map(<[u8]>::to_vec),
            snapshot,
            log,
            snapshots: snapshots.clone(),
            log_worker: LogWorker::new(wal, hard, Arc::clone(&lock)),
            snapshot_worker: SnapshotWorker::new(Store::new(snapshots, config.keep_snapshots), lock),
            lost,
        })
    }
}

fn lock(fs: &dyn Fs, dir: &Path) -> Result<Arc<dyn DirLock>, StorageError> {
    match fs.lock_dir(dir) {
        Ok(lock) => Ok(Arc::from(lock)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(StorageError::InUse { dir: dir.to_owned() }),
        Err(e) => Err(StorageError::io("lock", dir, e)),
    }
}

fn forgotten(dir: &Path, but: &str) -> StorageError {
    let what = format!("{but}, but no hard state: what this node has voted for is lost");
    StorageError::Missing { path: dir.join("hard"), what }
}
