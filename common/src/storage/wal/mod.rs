//! The write-ahead log: segments of checksummed records, one per entry, appended and synced in order.
//!
//! What it promises: an entry that [`Wal::sync`] returned for is there after any crash, and so are all entries before
//! it; entries are never invented, reordered or taken from elsewhere; what was truncated does not come back once
//! something was written over it. What survives a crash is a prefix of what was appended. It does not repair: bytes
//! which it once made durable and which are different now are refused, by [`recovery`] with the file and the offset, until
//! [`mend`] has cut them off, which is for the caller to decide.
//!
//! How the order of steps makes that true at each point:
//! - A new segment is created only after the one before it was synced. So only the last one can have a torn end.
//! - Nothing is ever changed in place. `truncate` makes a new segment durable whose header says after which entry the log
//!   was cut; entries above it in older segments are void from then on, and segments that hold no others are removed.
//!   (Shortening the file would not do: a file system may zero the rest of the last block before the new length is
//!   durable, and a hole of zeros before records that were synced is what damage looks like.)
//! - Behind the last record there may be zeros, for records to come. They mean as much as the end of the file: nothing.
//! - `compact` removes segments from the front, one durable removal at a time.
//! - `reset` first makes a new segment durable whose header says that the log starts there, then removes the others.

pub(crate) mod image;
mod mend;
mod read;
mod record;
mod recovery;
mod scan;
mod segment;
mod torn;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use self::record::{Place, RECORD_HEADER};
pub(crate) use self::segment::Start;
use self::segment::{SEGMENT_HEADER, Segment, SegmentHeader};
use super::config::StorageConfig;
use super::error::StorageError;
use super::fs::{Fs, Named, sync_dir, unlink};
use crate::entries::Entries;
use crate::log::LogView;
use crate::metrics::Counters;
use crate::types::LogId;
use crate::{mark, mutant};

/// Zeros are written in such pieces. What is written in one piece Linux may keep as one folio, and looks at all of it for
/// every later write within it.
const FILL_PIECE: usize = 64 << 10;
static ZEROS: [u8; FILL_PIECE] = [0; FILL_PIECE];

/// An open log. After any error it must not be used any more; its owner sees to that.
#[derive(Debug)]
pub(crate) struct Wal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    config: StorageConfig,
    counters: Arc<Counters>,
    /// Which ids are in the log. It holds no entries.
    ids: LogView,
    /// Oldest first, at least one; the last one is written to.
    segments: VecDeque<Segment>,
    active: Named,
    /// Records that belong at the active segment's end and are not yet written. Reused for ever.
    buf: Vec<u8>,
    /// Up to where the active segment is synced.
    synced: u64,
    /// Where its file ends: behind the last record there may be zeros.
    filled: u64,
}

/// Whether an entry `next` may stand right after `last` in a log.
fn follows(last: LogId, next: LogId) -> bool {
    if next.epoch == last.epoch {
        last.counter.checked_add(1) == Some(next.counter)
    } else {
        next.epoch > last.epoch && next.counter > 0
    }
}

impl Wal {
    /// The id before the first entry.
    pub(crate) fn base(&self) -> LogId {
        self.ids.base()
    }

    /// The last entry appended, or the base.
    pub(crate) fn last(&self) -> LogId {
        self.ids.last()
    }

    /// Adds a run at the end. It is durable after the next [`sync`](Self::sync).
    pub(crate) fn append(&mut self, run: &Entries) -> Result<(), StorageError> {
        if !follows(self.last(), run.first()) {
            return Err(self.misplaced("append", run.first()));
        }
        for (id, payload) in run.iter() {
            let end = self.segments[self.segments.len() - 1].end;
            let full = end + (RECORD_HEADER + payload.len()) as u64 > self.config.segment_bytes;
            if full && end > SEGMENT_HEADER {
                self.roll()?;
            }
            let active = self.segments.back_mut().expect("there is an active segment");
            let place = Place { segment: active.number, offset: active.end };
            // Claiming too little unsynced only makes recovery stricter.
            let unsynced = u32::try_from(active.end - self.synced).unwrap_or(u32::MAX);
            record::encode(&mut self.buf, place, unsynced, id, run.kind(), payload);
            active.note(id, payload.len());
            if self.buf.len() >= self.config.write_bytes {
                self.write()?;
            }
        }
        self.ids.append(run.clone());
        self.ids.release(run.last());
        self.counters.entries_appended.add(run.len() as u64);
        Ok(())
    }

    /// Makes everything appended so far durable: one write, one fdatasync. Does nothing when it is already.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        self.write()?;
        let end = self.segments[self.segments.len() - 1].end;
        if self.synced < end {
            self.counters.fsyncs.add(1);
            if !mutant!("D01") {
                self.active.sync_data()?;
            }
            self.synced = end;
        }
        Ok(())
    }

    /// Hands what is in the buffer to the operating system.
    fn write(&mut self) -> Result<(), StorageError> {
        if self.buf.is_empty() {
            return Ok(());
        }
        let end = self.segments[self.segments.len() - 1].end;
        let (at, records) = (end - self.buf.len() as u64, self.buf.len());
        let mut filled = self.filled;
        if end > filled {
            let fill = self.config.fill_bytes.min(self.config.segment_bytes.saturating_sub(end));
            self.filled = end + fill;
            filled = end + fill.min(FILL_PIECE as u64);
            self.buf.resize(records + (filled - end) as usize, 0);
        }
        self.active.write_all_at(at, &self.buf)?;
        while filled < self.filled {
            let piece = &ZEROS[..FILL_PIECE.min((self.filled - filled) as usize)];
            self.active.write_all_at(filled, piece)?;
            filled += piece.len() as u64;
        }
        self.counters.log_bytes.add(records as u64);
        self.buf.clear();
        // One huge entry must not keep its memory for ever.
        self.buf.shrink_to(self.config.write_bytes * 2 + FILL_PIECE);
        Ok(())
    }

    /// Goes on in a new segment, once the old one is durable to its end.
    fn roll(&mut self) -> Result<(), StorageError> {
        mark!("common/storage/wal#roll");
        if mutant!("D22") {
            self.write()?;
        } else {
            self.sync()?;
        }
        let old = &self.segments[self.segments.len() - 1];
        self.start_segment(SegmentHeader { number: old.number + 1, base: old.last, start: Start::Continues })
    }

    fn start_segment(&mut self, header: SegmentHeader) -> Result<(), StorageError> {
        self.counters.fsyncs.add(1);
        let (segment, file) = Segment::create(&*self.fs, &self.dir, header)?;
        self.segments.push_back(segment);
        self.active = file;
        (self.synced, self.filled) = (SEGMENT_HEADER, SEGMENT_HEADER);
        Ok(())
    }

    /// Removes every entry after `after`, durably: with a new segment that says so.
    pub(crate) fn truncate(&mut self, after: LogId) -> Result<(), StorageError> {
        if !self.ids.contains(after) {
            return Err(self.misplaced("truncate after", after));
        }
        self.sync()?;
        if after == self.last() {
            return Ok(());
        }
        mark!("common/storage/wal#truncate");
        let number = self.segments[self.segments.len() - 1].number + 1;
        self.start_segment(SegmentHeader { number, base: after, start: Start::Cut })?;
        let active = self.segments.pop_back().expect("it was just started");
        // No sync, as in `reset`.
        while let Some(void) = self.segments.pop_back_if(|s| s.base >= after) {
            mark!("common/storage/wal#truncate.segment");
            unlink(&*self.fs, &Segment::path(&self.dir, void.number))?;
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.cut(after);
        }
        self.segments.push_back(active);
        self.ids.truncate_after(after);
        Ok(())
    }

    /// Removes segments all of whose entries are at or below `upto`; gives the new base. The active segment stays.
    pub(crate) fn compact(&mut self, upto: LogId) -> Result<LogId, StorageError> {
        let covered = |s: &Segment| s.last <= upto || mutant!("D24") && s.base < upto;
        while self.segments.len() > 1 && covered(&self.segments[0]) {
            mark!("common/storage/wal#compact.segment");
            self.remove_durably(self.segments[0].number)?;
            self.segments.pop_front();
            self.ids.compact(self.segments[0].base);
        }
        Ok(self.base())
    }

    /// Drops the whole log, durably; it starts again after `base`.
    pub(crate) fn reset(&mut self, base: LogId) -> Result<(), StorageError> {
        mark!("common/storage/wal#reset");
        self.buf.clear();
        let old: Vec<u64> = self.segments.iter().map(|s| s.number).collect();
        let number = old.last().expect("there is an active segment") + 1;
        self.start_segment(SegmentHeader { number, base, start: Start::Log })?;
        // No sync: recovery passes over them for as long as the new segment is there, and that one is only ever removed
        // once there is a newer one, whose creation syncs the directory.
        for number in old {
            unlink(&*self.fs, &Segment::path(&self.dir, number))?;
            self.segments.pop_front();
        }
        self.ids.reset(base);
        Ok(())
    }

    /// Each removal is durable before the next: a directory that was synced once for several may keep any of them.
    fn remove_durably(&self, number: u64) -> Result<(), StorageError> {
        unlink(&*self.fs, &Segment::path(&self.dir, number))?;
        sync_dir(&*self.fs, &self.dir)
    }

    fn misplaced(&self, action: &'static str, id: LogId) -> StorageError {
        StorageError::Misplaced { action, id, base: self.base(), last: self.last() }
    }
}
