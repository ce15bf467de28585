//! Reading the log back.
//!
//! Segments are read from the oldest to the newest, and every record is checked: its checksum, and that its id follows
//! the one before. Nothing but zeros behind a record is the end of the log, and any other invalid record is it only in the
//! last segment, and only if [`torn`] finds that it may be; anywhere else the log is refused. In the end the last write is repeated and synced, and the directory too:
//! a process may have died before its sync, or of its sync, and what is taken as durable from here on has to be.
//!
//! The log and the snapshot are stored one after the other, so a crash can leave the pair as it was in between:
//!
//! | the newest valid snapshot `S`, and the log | then |
//! | --- | --- |
//! | the log has `S`, as an entry or as its base | both are good: the tail after `S` is loaded |
//! | the log starts after an id above `S` | entries are missing: refused |
//! | neither: it ends below `S`, or went another way | `S` was received and the log not yet reset: done now |

use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::scan::{Scan, Scanned};
use super::segment::{SEGMENT_HEADER, Segment, SegmentHeader, Start};
use super::{Wal, follows, torn};
use crate::entries::{BatchBuilder, Entries, EntryKind};
use crate::log::{LogView, Span};
use crate::metrics::Counters;
use crate::storage::config::StorageConfig;
use crate::storage::error::StorageError;
use crate::storage::fs::{Fs, Named, list, sync_dir, unlink};
use crate::types::LogId;
use crate::{mark, mutant};

/// Runs of the loaded tail hold at most so many bytes (but at least one entry).
const RUN_BYTES: usize = 256 << 10;
/// How much is written again at once.
const PIECE: usize = 256 << 10;

impl Wal {
    /// Reads the log in `dir`. `snapshot` is the newest valid snapshot's id, or zero. With `fresh` (the node's folder has
    /// no hard-state file yet) a log that is not there is created; otherwise it is missing.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        config: &StorageConfig,
        counters: &Arc<Counters>,
        snapshot: LogId,
        fresh: bool,
    ) -> Result<(Self, LogView), StorageError> {
        let mut headers = find_segments(&**fs, dir)?;
        if headers.is_empty() {
            if !fresh {
                let what = "this node has run before, but there is no log segment".to_owned();
                return Err(StorageError::Missing { path: dir.to_owned(), what });
            }
            let first = SegmentHeader { number: 1, base: LogId::ZERO, start: Start::Log };
            Segment::create(&**fs, dir, first)?;
            headers.push(first);
        }
        let base = headers[0].base;
        if base > snapshot {
            return Err(StorageError::Uncovered { dir: dir.to_owned(), base, snapshot });
        }
        let mut reader = Reader::new(base, snapshot);
        let mut segments = std::collections::VecDeque::with_capacity(headers.len());
        let mut active = None;
        for (i, header) in headers.iter().enumerate() {
            let file = Named::open(&**fs, Segment::path(dir, header.number))?;
            let next = headers.get(i + 1);
            segments.push_back(reader.read(&file, *header, next)?);
            active = next.is_none().then_some(file);
        }
        let mut active = active.expect("there is a segment");
        counters.fsyncs.add(1);
        if !mutant!("D21") {
            write_again(&mut active, reader.unsynced, segments[segments.len() - 1].end)?;
            sync_dir(&**fs, dir)?;
        }
        let ids = LogView::restore(base, reader.spans.clone(), Vec::new(), 0);
        let mut wal = Self {
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            config: config.clone(),
            counters: Arc::clone(counters),
            synced: segments[segments.len() - 1].end,
            filled: segments[segments.len() - 1].end,
            ids,
            segments,
            active,
            buf: Vec::new(),
        };
        let log = if wal.ids.contains(snapshot) || mutant!("D19") {
            if snapshot > base {
                mark!("common/storage/wal/recovery#open.snapshot_inside");
            }
            LogView::restore(base, reader.spans, reader.tail.finish(), config.cache_bytes)
        } else {
            mark!("common/storage/wal/recovery#open.reset");
            info!(%snapshot, base = %wal.base(), last = %wal.last(), "the log does not hold the snapshot's last entry and starts again after it");
            wal.reset(snapshot)?;
            LogView::new(snapshot, config.cache_bytes)
        };
        Ok((wal, log))
    }

    /// Whether the log is as a new node's.
    pub(crate) fn is_pristine(&self) -> bool {
        self.base() == LogId::ZERO && self.ids.is_empty()
    }
}

/// The headers of the segments that make up the log, oldest first. Cleans up after a crash: a last segment whose creation
/// was not finished, and segments from before the log was reset, are removed.
fn find_segments(fs: &dyn Fs, dir: &Path) -> Result<Vec<SegmentHeader>, StorageError> {
    let numbers: Vec<u64> = list(fs, dir)?.iter().filter_map(|name| Segment::number_of(name)).collect();
    let mut found = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let file = Named::open(fs, Segment::path(dir, *number))?;
        let header = SegmentHeader::read(&file)?;
        if let Some(header) = header.filter(|h| h.number != *number) {
            return Err(StorageError::damaged(&file.path, 16, format!("the header of segment {}", header.number)));
        }
        // Records are written only after the header was synced.
        let unfinished = header.is_none() && file.size()? <= SEGMENT_HEADER && !mutant!("D25");
        if unfinished && Some(number) == numbers.last() {
            mark!("common/storage/wal/recovery#find_segments.unfinished");
            warn!(file = %file.path.display(), "removing a log segment that a crash left unfinished");
            unlink(fs, &file.path)?;
            sync_dir(fs, dir)?;
        } else {
            found.push((*number, header));
        }
    }
    let start = found.iter().rposition(|(_, h)| h.is_some_and(|h| h.start == Start::Log)).unwrap_or(0);
    for (number, _) in found.drain(..start) {
        mark!("common/storage/wal/recovery#find_segments.before_reset");
        unlink(fs, &Segment::path(dir, number))?;
    }
    let mut headers: Vec<SegmentHeader> = Vec::with_capacity(found.len());
    let mut cut = None;
    for (number, header) in found.into_iter().rev() {
        let path = Segment::path(dir, number);
        let Some(header) = header else {
            return Err(StorageError::damaged(&path, 0, "not the header of a log segment"));
        };
        if mutant!("D08") && header.start == Start::Cut {
            continue;
        }
        // What lies wholly after a cut is void. Any of it may be gone already.
        if cut.is_some_and(|cut| header.base >= cut) {
            mark!("common/storage/wal/recovery#find_segments.void");
            unlink(fs, &path)?;
            continue;
        }
        if let Some(next) = headers.last()
            && next.start == Start::Continues
            && next.number != number + 1
        {
            let what = format!("the log has segments {number} and {}, but none in between", next.number);
            return Err(StorageError::Missing { path: Segment::path(dir, number + 1), what });
        }
        if header.start == Start::Cut {
            cut = Some(header.base);
        }
        headers.push(header);
    }
    headers.reverse();
    Ok(headers)
}

/// Makes the last segment durable as it was read: its header, its length, and the records from `unsynced` on. Syncing
/// alone would not do. If the process before this one stopped because a sync failed, the kernel may hold pages which it
/// calls clean and which never reached the disk; only writing them again makes the next sync care for them.
fn write_again(file: &mut Named, unsynced: u64, end: u64) -> Result<(), StorageError> {
    file.set_size(end)?;
    let most = end.saturating_sub(unsynced).max(SEGMENT_HEADER);
    let mut buf = vec![0; most.min(PIECE as u64) as usize];
    let pieces = (unsynced..end).step_by(PIECE).map(|at| (at, end.min(at + PIECE as u64)));
    for (from, to) in std::iter::once((0, SEGMENT_HEADER)).chain(pieces) {
        let piece = &mut buf[..(to - from) as usize];
        if file.read_at(from, piece)? < piece.len() {
            return Err(StorageError::damaged(&file.path, from, "the file became shorter while it was read"));
        }
        file.write_all_at(from, piece)?;
    }
    file.sync_all()
}

/// What was read so far.
pub(super) struct Reader {
    spans: Vec<Span>,
    tail: Tail,
    pub(super) last: LogId,
    /// From where on the segment in hand may not be synced.
    unsynced: u64,
}

impl Reader {
    /// A log that starts after `base`, whose entries after `keep` are kept in memory.
    pub(super) fn new(base: LogId, keep: LogId) -> Self {
        Self { spans: Vec::new(), tail: Tail::new(keep), last: base, unsynced: SEGMENT_HEADER }
    }

    /// Reads one segment: all of it, or up to where the next one says that the log was cut. Leaves a torn end out if it is
    /// the newest.
    pub(super) fn read(
        &mut self,
        file: &Named,
        header: SegmentHeader,
        next: Option<&SegmentHeader>,
    ) -> Result<Segment, StorageError> {
        if header.base != self.last {
            let what = format!("the segment starts after {}, but the one before ends with {}", header.base, self.last);
            return Err(StorageError::damaged(&file.path, 24, what));
        }
        let size = file.size()?;
        self.unsynced = SEGMENT_HEADER;
        let mut segment = Segment::new(header.number, header.base);
        let mut scan = Scan::new(file, header.number, SEGMENT_HEADER, size);
        let cut = next.filter(|n| n.start == Start::Cut).map(|n| n.base);
        let what = loop {
            if cut == Some(self.last) {
                mark!("common/storage/wal/recovery#read.cut");
                segment.end = size;
                return Ok(segment);
            }
            match scan.next()? {
                Scanned::Record(record, payload) => {
                    if !follows(self.last, record.id) {
                        let what = format!("entry {} stands after entry {}", record.id, self.last);
                        return Err(StorageError::damaged(&file.path, segment.end, what));
                    }
                    self.last = record.id;
                    self.unsynced = segment.end.saturating_sub(u64::from(record.unsynced)).max(SEGMENT_HEADER);
                    self.tail.push(record.id, record.kind, payload);
                    match self.spans.last_mut() {
                        Some(span) if span.epoch == record.id.epoch => span.last = record.id.counter,
                        _ => {
                            let LogId { epoch, counter } = record.id;
                            self.spans.push(Span { epoch, first: counter, last: counter });
                        }
                    }
                    segment.note(record.id, payload.len());
                }
                Scanned::Bad(what) => break what,
                Scanned::End => {
                    if next.is_none() && segment.last == header.base {
                        mark!("common/storage/wal/recovery#read.empty");
                    }
                    return Ok(segment);
                }
            }
        };
        // Behind the last entry there was never anything, whatever stands there.
        let whole = next.is_some_and(|next| next.base == self.last);
        if whole || torn::is_unwritten(file, segment.end, size)? {
            return Ok(segment);
        }
        if next.is_some() {
            return Err(StorageError::damaged(&file.path, segment.end, what));
        }
        torn::judge(file, header.number, segment.end, size, what)?;
        mark!("common/storage/wal/recovery#read.torn");
        warn!(
            file = %file.path.display(),
            offset = segment.end,
            bytes = size - segment.end,
            last = %self.last,
            "cutting off a write that a crash left unfinished: {what}"
        );
        Ok(segment)
    }
}

/// Collects the entries after the snapshot into runs.
struct Tail {
    after: LogId,
    runs: Vec<Entries>,
    batch: BatchBuilder,
    first: LogId,
    last: LogId,
    kind: EntryKind,
}

impl Tail {
    fn new(after: LogId) -> Self {
        let batch = BatchBuilder::default();
        Self { after, runs: Vec::new(), batch, first: LogId::ZERO, last: LogId::ZERO, kind: EntryKind::Command }
    }

    fn push(&mut self, id: LogId, kind: EntryKind, payload: &[u8]) {
        if id <= self.after {
            return;
        }
        let joins = id.epoch == self.last.epoch && kind == self.kind;
        if !joins || self.batch.bytes() + payload.len() > RUN_BYTES {
            self.close();
        }
        if self.batch.is_empty() {
            (self.first, self.kind) = (id, kind);
        }
        self.last = id;
        self.batch.push(payload);
    }

    fn close(&mut self) {
        self.runs.extend(Entries::new(self.first, self.kind, self.batch.take()));
    }

    fn finish(mut self) -> Vec<Entries> {
        self.close();
        self.runs
    }
}
