//! One file of the log.
//!
//! Segments are named by their number, `0000000000000001.wal` and so on; numbers go on without a gap (but before a cut),
//! so a missing file is noticed. The header says which id precedes the first entry: that is how the log's base is known
//! after the segments before it were removed.
//!
//! ```text
//!  0  magic    8 B   "duet-wal"
//!  8  version  u32
//! 12  start    u32   0: goes on where the segment before ends. 1: the log starts here, older segments belong to a log
//!                    that was discarded. 2: the log was cut after `base`, entries above it in older segments are void
//! 16  number   u64   as in the name
//! 24  base     u64 u64   the id before the first entry: epoch, counter
//! 40  crc      u32   CRC32C over the above
//! ```

use std::path::{Path, PathBuf};

use super::record::{RECORD_HEADER, u32_at, u64_at};
use crate::mutant;
use crate::storage::error::StorageError;
use crate::storage::fs::{Fs, Named, sync_dir};
use crate::types::LogId;

/// Bytes of a segment before its first record.
pub(super) const SEGMENT_HEADER: u64 = 44;

const MAGIC: &[u8; 8] = b"duet-wal";
const VERSION: u32 = 1;

/// So many bytes of log lie at most between two points of the sparse index (but for larger records).
const INDEX_EVERY: u64 = 64 << 10;

/// What a segment is to the older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It goes on where the one before ends.
    Continues = 0,
    /// The log starts here, whatever older segments there still are.
    Log = 1,
    /// The log was cut after `base`: entries above it in older segments are void.
    Cut = 2,
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u64,
    /// The id before the first entry.
    pub(super) base: LogId,
    pub(super) start: Start,
}

impl SegmentHeader {
    fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut bytes = [0; SEGMENT_HEADER as usize];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.start as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.base.epoch.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base.counter.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None if these bytes are no header; an error if they are the header of another version.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Option<Self>, StorageError> {
        if bytes.len() < SEGMENT_HEADER as usize
            || &bytes[..8] != MAGIC
            || crc32c::crc32c(&bytes[..40]) != u32_at(bytes, 40)
        {
            return Ok(None);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(StorageError::Version { path: path.to_owned(), found: version, supported: VERSION });
        }
        let start = match u32_at(bytes, 12) {
            0 => Start::Continues,
            1 => Start::Log,
            2 => Start::Cut,
            _ => return Ok(None),
        };
        Ok(Some(Self { number: u64_at(bytes, 16), base: LogId::new(u64_at(bytes, 24), u64_at(bytes, 32)), start }))
    }

    /// Reads the header of an open file.
    pub(super) fn read(file: &Named) -> Result<Option<Self>, StorageError> {
        let mut bytes = [0; SEGMENT_HEADER as usize];
        let n = file.read_at(0, &mut bytes)?;
        Self::decode(&bytes[..n], &file.path)
    }
}

/// What is kept in memory of a segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) base: LogId,
    /// The last entry, or `base` if there is none. Records after it are void.
    pub(super) last: LogId,
    /// Where the file ends, and the next record goes.
    pub(super) end: u64,
    /// Every so often, an entry's id and where it is. The first entry is always in it.
    points: Vec<(LogId, u64)>,
}

impl Segment {
    pub(super) fn new(number: u64, base: LogId) -> Self {
        Self { number, base, last: base, end: SEGMENT_HEADER, points: Vec::new() }
    }

    pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
        dir.join(format!("{number:016}.wal"))
    }

    /// The number in a segment's name.
    pub(super) fn number_of(name: &str) -> Option<u64> {
        name.strip_suffix(".wal").filter(|n| n.len() == 16)?.parse().ok()
    }

    /// Creates the file, durably: header, then name. Until the last step it can only be an incomplete header.
    pub(super) fn create(fs: &dyn Fs, dir: &Path, header: SegmentHeader) -> Result<(Self, Named), StorageError> {
        let mut file = Named::create(fs, Self::path(dir, header.number))?;
        file.write_all_at(0, &header.encode())?;
        if !(mutant!("D14") && header.start == Start::Cut) {
            file.sync_all()?;
            sync_dir(fs, dir)?;
        }
        Ok((Self::new(header.number, header.base), file))
    }

    /// Notes a record that was added at `end`.
    pub(super) fn note(&mut self, id: LogId, payload: usize) {
        if self.points.last().is_none_or(|(_, at)| self.end - at >= INDEX_EVERY) {
            self.points.push((id, self.end));
        }
        self.last = id;
        self.end += (RECORD_HEADER + payload) as u64;
    }

    /// Where to start looking for the first entry after `id`.
    pub(super) fn seek(&self, id: LogId) -> u64 {
        let i = self.points.partition_point(|(first, _)| *first <= id);
        i.checked_sub(1).map_or(SEGMENT_HEADER, |i| self.points[i].1)
    }

    /// Entries after `last` are void.
    pub(super) fn cut(&mut self, last: LogId) {
        self.points.retain(|(id, _)| *id <= last);
        self.last = last;
    }
}
