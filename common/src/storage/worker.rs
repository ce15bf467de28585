//! The two workers: values that carry out operations in the order given and answer with events.
//!
//! Group commit: consecutive appends of a batch share one write and one fdatasync and are answered by one `Durable`.
//! Anything else that changes the disk first makes the appends before it durable, so that effects become durable in the
//! order the protocol emitted them: a vote is never on disk before the entries it was cast over.
//!
//! After the first error a worker does nothing more. What the failed call left behind is unknown, and trying again
//! could turn a lost write into one that is reported durable.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::{error, warn};

use super::error::StorageError;
use super::fs::DirLock;
use super::hard::HardFile;
use super::ops::{LogEvent, LogOp, SnapshotEvent, SnapshotOp};
use super::snapshot::{Piece, Store};
use super::wal::Wal;
use crate::{mark, mutant};

/// A listing for an operator stops after so many payload bytes.
const SHOW_BYTES: usize = 4 << 20;

/// Owns the log and the hard-state file.
#[derive(Debug)]
pub struct LogWorker {
    wal: Wal,
    hard: HardFile,
    /// Truncations and resets carried out.
    cuts: u64,
    /// Whether there are appends not yet reported durable.
    appended: bool,
    failed: Option<String>,
    _lock: Arc<dyn DirLock>,
}

impl LogWorker {
    pub(crate) fn new(wal: Wal, hard: HardFile, lock: Arc<dyn DirLock>) -> Self {
        Self { wal, hard, cuts: 0, appended: false, failed: None, _lock: lock }
    }

    /// Carries out every operation of `ops` in order, leaving it empty, and adds the answers to `out`. After a failure
    /// the rest is dropped, and so is everything later; the answer is [`LogEvent::Failed`].
    pub fn run(&mut self, ops: &mut VecDeque<LogOp>, out: &mut Vec<LogEvent>) {
        if ops.is_empty() {
            return;
        }
        if self.failed.is_none()
            && let Err(e) = self.carry_out(ops, out)
            && !mutant!("D23")
        {
            mark!("common/storage/worker#log.failed");
            error!("the log failed: {e}");
            self.failed = Some(e.to_string());
        }
        if let Some(text) = &self.failed {
            ops.clear();
            out.push(LogEvent::Failed(text.clone()));
        }
    }

    fn carry_out(&mut self, ops: &mut VecDeque<LogOp>, out: &mut Vec<LogEvent>) -> Result<(), StorageError> {
        while let Some(op) = ops.pop_front() {
            match op {
                LogOp::Append(run) => {
                    self.wal.append(&run)?;
                    self.appended = true;
                }
                LogOp::Truncate { after } => {
                    self.commit(out)?;
                    self.wal.truncate(after)?;
                    self.cuts += 1;
                    out.push(LogEvent::Durable { upto: after, cuts: self.cuts });
                }
                LogOp::Reset { base } => {
                    self.commit(out)?;
                    self.wal.reset(base)?;
                    self.cuts += 1;
                    out.push(LogEvent::Durable { upto: base, cuts: self.cuts });
                }
                LogOp::Compact { upto } => {
                    self.commit(out)?;
                    out.push(LogEvent::Compacted { base: self.wal.compact(upto)? });
                }
                LogOp::SaveHard(hard) => {
                    if !mutant!("D13") {
                        self.commit(out)?;
                    }
                    if !(mutant!("D18") && out.contains(&LogEvent::HardSaved)) {
                        self.hard.save(hard)?;
                    }
                    out.push(LogEvent::HardSaved);
                }
                LogOp::Fetch { peer, after, max_bytes } => {
                    let entries = self.wal.fetch(after, max_bytes)?;
                    out.push(LogEvent::Fetched { peer, after, entries });
                }
                LogOp::Show { token, after, max_entries } => {
                    let lines = self.wal.show(after, max_entries, SHOW_BYTES)?;
                    out.push(LogEvent::Shown { token, lines });
                }
            }
        }
        self.commit(out)
    }

    /// Makes the appends so far durable and says so.
    fn commit(&mut self, out: &mut Vec<LogEvent>) -> Result<(), StorageError> {
        if self.appended {
            self.wal.sync()?;
            self.appended = false;
            out.push(LogEvent::Durable { upto: self.wal.last(), cuts: self.cuts });
        }
        Ok(())
    }
}

/// Owns the snapshot store.
#[derive(Debug)]
pub struct SnapshotWorker {
    store: Store,
    failed: Option<String>,
    _lock: Arc<dyn DirLock>,
}

impl SnapshotWorker {
    pub(crate) fn new(store: Store, lock: Arc<dyn DirLock>) -> Self {
        Self { store, failed: None, _lock: lock }
    }

    /// Carries out one operation; each has one answer. After a failure nothing is carried out any more, and the answer is
    /// [`SnapshotEvent::Failed`]. A snapshot which cannot be read (only) is no failure.
    pub fn run(&mut self, op: SnapshotOp) -> SnapshotEvent {
        if let Some(text) = &self.failed {
            return SnapshotEvent::Failed(text.clone());
        }
        self.carry_out(op).unwrap_or_else(|e| {
            mark!("common/storage/worker#snapshot.failed");
            error!("the snapshot store failed: {e}");
            self.failed = Some(e.to_string());
            SnapshotEvent::Failed(e.to_string())
        })
    }

    fn carry_out(&mut self, op: SnapshotOp) -> Result<SnapshotEvent, StorageError> {
        Ok(match op {
            SnapshotOp::Store { snapshot, state } => {
                let bytes = self.store.store(snapshot, state)?;
                SnapshotEvent::Stored { snapshot, bytes }
            }
            SnapshotOp::Read { peer, snapshot, offset, max_bytes } => {
                let piece = self.store.piece(snapshot, offset, max_bytes).unwrap_or_else(|e| {
                    warn!("cannot look for a snapshot for {peer}: {e}");
                    Piece::None
                });
                match piece {
                    Piece::None => SnapshotEvent::Read { peer, chunk: None },
                    Piece::Of(chunk) => SnapshotEvent::Read { peer, chunk: Some(chunk) },
                    Piece::Unusable(snapshot) => SnapshotEvent::Unusable { peer, snapshot },
                }
            }
            SnapshotOp::Write(chunk) => {
                let snapshot = chunk.snapshot;
                match self.store.receive(&chunk)? {
                    Ok(end) => SnapshotEvent::Written { snapshot, end },
                    Err(reason) => SnapshotEvent::Refused { snapshot, reason },
                }
            }
            SnapshotOp::Finish { snapshot } => match self.store.finish(snapshot)? {
                Ok(()) => SnapshotEvent::Received { snapshot },
                Err(reason) => SnapshotEvent::Refused { snapshot, reason },
            },
        })
    }
}
