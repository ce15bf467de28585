//! Looking into the log on disk: entries for a peer that is far behind, lines for an operator.

use bytes::Bytes;

use super::scan::{Scan, Scanned};
use super::segment::Segment;
use super::{Named, StorageError, Wal};
use crate::entries::{BatchBuilder, Entries, EntryKind};
use crate::storage::ops::LogLine;
use crate::types::LogId;
use crate::{mark, mutant};

impl Wal {
    /// One run of the entries after `after`: at most `max_bytes` of payload, but at least one entry. None when `after`
    /// is not in the log, or nothing follows it.
    pub(crate) fn fetch(&mut self, after: LogId, max_bytes: usize) -> Result<Option<Entries>, StorageError> {
        let Some(first) = self.ids.next(after) else {
            mark!("common/storage/wal/read#fetch.gone");
            return Ok(None);
        };
        mark!("common/storage/wal/read#fetch");
        self.write()?;
        let segment = &self.segments[self.segments.partition_point(|s| s.last < first)];
        let mut batch = BatchBuilder::default();
        let mut kind = EntryKind::Command;
        self.each(segment, after, |id, its_kind, payload| {
            if batch.is_empty() {
                kind = its_kind;
            } else if id.epoch != first.epoch || its_kind != kind || batch.bytes() + payload.len() > max_bytes {
                return false;
            }
            batch.push(payload);
            batch.bytes() < max_bytes
        })?;
        Ok(Entries::new(first, kind, batch.take()))
    }

    /// At most `max_entries` entries after `after`, which need not be in the log, or from the log's start. Stops early
    /// when they exceed `max_bytes` together.
    pub(crate) fn show(
        &mut self,
        after: LogId,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<LogLine>, StorageError> {
        self.write()?;
        let after = self.ids.floor(after).unwrap_or(self.base());
        let mut lines = Vec::new();
        let mut bytes = 0;
        for segment in self.segments.range(self.segments.partition_point(|s| s.last <= after)..) {
            if lines.len() >= max_entries || bytes >= max_bytes {
                break;
            }
            self.each(segment, after, |id, kind, payload| {
                lines.push(LogLine { id, kind, payload: Bytes::copy_from_slice(payload) });
                bytes += payload.len();
                lines.len() < max_entries && bytes < max_bytes
            })?;
        }
        Ok(lines)
    }

    /// Calls `visit` with every entry of a segment after `after`, until it says false. Does not look beyond the segment's last
    /// entry: what was cut off may be damaged, and nobody minds.
    fn each(
        &self,
        segment: &Segment,
        after: LogId,
        mut visit: impl FnMut(LogId, EntryKind, &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let opened;
        let file = if segment.number == self.segments[self.segments.len() - 1].number {
            &self.active
        } else {
            opened = Named::open(&*self.fs, Segment::path(&self.dir, segment.number))?;
            &opened
        };
        let mut scan = Scan::new(file, segment.number, segment.seek(after), segment.end);
        loop {
            match scan.next()? {
                Scanned::Record(header, payload) => {
                    let wanted = header.id > after || mutant!("D20") && header.id == after;
                    if wanted && !visit(header.id, header.kind, payload) {
                        return Ok(());
                    }
                    if header.id == segment.last {
                        return Ok(());
                    }
                }
                Scanned::Bad(what) => return Err(StorageError::damaged(&file.path, scan.offset, what)),
                Scanned::End => return Ok(()),
            }
        }
    }
}
