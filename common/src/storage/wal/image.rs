//! A segment as bytes in memory, read on from where the last reading ended. For whoever looks at a disk from outside: the
//! formats are read by the code that ships, and the bytes are not copied.

use std::path::Path;

use super::record::{Header, Place, RECORD_HEADER};
use super::segment::{SEGMENT_HEADER, Segment, SegmentHeader, Start};
use super::{follows, torn};
use crate::entries::EntryKind;
use crate::log::Span;
use crate::storage::error::StorageError;
use crate::storage::fs::{Fs, Named};
use crate::types::LogId;

/// What a segment's bytes say.
#[derive(Debug)]
pub(crate) struct SegmentImage {
    pub(crate) number: u64,
    /// What the header says: the id before the first entry, and what the segment is to older ones. None if there is none.
    pub(crate) header: Option<(LogId, Start)>,
    /// How long the file is.
    pub(crate) size: u64,
    /// Up to where it was read. The first bytes that are no record which belongs there, or the end.
    pub(crate) end: u64,
    /// The ids in it.
    pub(crate) spans: Vec<Span>,
    /// The last of them, or the base.
    pub(crate) last: LogId,
    /// What is wrong at `end`, if that is not the file's end.
    pub(crate) stop: Option<Stop>,
}

/// Why a segment does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No valid record. In the last segment that may be a torn write.
    Bad(&'static str),
    /// A valid record of this entry, which does not follow the one before.
    Misplaced(LogId),
}

impl SegmentImage {
    /// Reads the header only. An error says that it is the header of another segment, or of another version.
    pub(crate) fn new(number: u64, bytes: &[u8]) -> Result<Self, String> {
        let header = SegmentHeader::decode(bytes, Path::new("")).map_err(|e| e.to_string())?;
        if let Some(header) = header.filter(|h| h.number != number) {
            return Err(format!("segment {number} has the header of segment {}", header.number));
        }
        Ok(Self {
            number,
            header: header.map(|h| (h.base, h.start)),
            size: bytes.len() as u64,
            end: SEGMENT_HEADER,
            spans: Vec::new(),
            last: header.map_or(LogId::ZERO, |h| h.base),
            stop: None,
        })
    }

    /// The number in a segment's name.
    pub(crate) fn number_of(name: &str) -> Option<u64> {
        Segment::number_of(name)
    }

    /// Whether this can only be a segment whose creation was not finished, if it is the last one.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.header.is_none() && self.size <= SEGMENT_HEADER
    }

    /// Reads on. `bytes` are all of the segment's, and as before up to `end`. Tells `visit` each entry: the id before it, its
    /// own, kind and payload.
    pub(crate) fn read_on(&mut self, bytes: &[u8], mut visit: impl FnMut(LogId, LogId, EntryKind, &[u8])) {
        self.size = bytes.len() as u64;
        self.stop = None;
        while bytes[self.end as usize..].iter().any(|b| *b != 0) {
            let (header, payload) = match record_at(self.number, bytes, self.end) {
                Ok(record) => record,
                Err(what) => {
                    self.stop = Some(Stop::Bad(what));
                    return;
                }
            };
            if !follows(self.last, header.id) {
                self.stop = Some(Stop::Misplaced(header.id));
                return;
            }
            visit(self.last, header.id, header.kind, payload);
            match self.spans.last_mut() {
                Some(span) if span.epoch == header.id.epoch => span.last = header.id.counter,
                _ => {
                    let LogId { epoch, counter } = header.id;
                    self.spans.push(Span { epoch, first: counter, last: counter });
                }
            }
            self.last = header.id;
            self.end += header.size();
        }
    }

    /// Whether what stops it may be a torn write, if this is the last segment. `fs` holds the same bytes.
    pub(crate) fn judge(&self, fs: &dyn Fs, dir: &Path) -> Result<(), String> {
        let judged = |what| {
            let file = Named::open(fs, Segment::path(dir, self.number))?;
            torn::judge(&file, self.number, self.end, self.size, what)
        };
        match self.stop {
            None => Ok(()),
            Some(Stop::Bad(what)) => judged(what).map_err(|e: StorageError| e.to_string()),
            Some(Stop::Misplaced(id)) => {
                Err(format!("entry {id} stands after {} in segment {}", self.last, self.number))
            }
        }
    }
}

/// The record at this place, or what is wrong with it.
fn record_at(segment: u64, bytes: &[u8], offset: u64) -> Result<(Header, &[u8]), &'static str> {
    let rest = &bytes[offset as usize..];
    if rest.len() < RECORD_HEADER {
        return Err("the file ends within a record's header");
    }
    let header = Header::parse(rest).ok_or("no record's header")?;
    let record = rest.get(..header.size() as usize).ok_or("the file ends within a record")?;
    if !header.verify(Place { segment, offset }, record) {
        return Err("a record whose checksum is wrong");
    }
    Ok((header, &record[RECORD_HEADER..]))
}
