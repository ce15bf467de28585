//! Reading records one after the other, in pieces, from an open segment.

use super::record::{Header, Place, RECORD_HEADER};
use crate::storage::error::StorageError;
use crate::storage::fs::Named;

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// What stands at an offset.
#[derive(Debug)]
pub(super) enum Scanned<'a> {
    /// A valid record and its payload.
    Record(Header, &'a [u8]),
    /// Bytes which are no valid record.
    Bad(&'static str),
    /// Nothing: the range ends here.
    End,
}

/// A window on a segment's bytes which moves forward.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    file: &'a Named,
    segment: u64,
    /// Where the range ends.
    end: u64,
    buf: Vec<u8>,
    /// The file offset of `buf[0]`.
    start: u64,
    /// Where the next record is expected.
    pub(super) offset: u64,
}

impl<'a> Scan<'a> {
    /// Records of segment `segment` from `offset` on, up to `end`.
    pub(super) fn new(file: &'a Named, segment: u64, offset: u64, end: u64) -> Self {
        Self { file, segment, end, buf: Vec::new(), start: offset, offset }
    }

    /// Looks at what stands at `offset`, and moves behind it if it is a valid record.
    pub(super) fn next(&mut self) -> Result<Scanned<'_>, StorageError> {
        let left = self.end - self.offset;
        if left == 0 {
            return Ok(Scanned::End);
        }
        if left < RECORD_HEADER as u64 {
            return Ok(Scanned::Bad("the file ends within a record's header"));
        }
        let Some(header) = Header::parse(self.window(RECORD_HEADER)?) else {
            return Ok(Scanned::Bad("no record's header"));
        };
        if header.size() > left {
            return Ok(Scanned::Bad("the file ends within a record"));
        }
        let place = Place { segment: self.segment, offset: self.offset };
        let size = header.size() as usize;
        if !header.verify(place, self.window(size)?) {
            return Ok(Scanned::Bad("a record whose checksum is wrong"));
        }
        let from = (self.offset - self.start) as usize;
        self.offset += size as u64;
        Ok(Scanned::Record(header, &self.buf[from + RECORD_HEADER..from + size]))
    }

    /// The bytes at `offset`: `len` of them, or fewer if the file is shorter than it was.
    pub(super) fn window(&mut self, len: usize) -> Result<&[u8], StorageError> {
        let have = (self.start + self.buf.len() as u64).saturating_sub(self.offset);
        if self.offset < self.start || have < len as u64 {
            let wanted = (len.max(PIECE) as u64).min(self.end - self.offset) as usize;
            self.buf.resize(wanted, 0);
            let n = self.file.read_at(self.offset, &mut self.buf)?;
            self.buf.truncate(n);
            self.start = self.offset;
        }
        let from = (self.offset - self.start) as usize;
        Ok(&self.buf[from..(from + len).min(self.buf.len())])
    }
}
