//! Cutting a damaged log off where it stops being whole, for a node that may start so because its peers have the rest.
//!
//! What is whole: the segments from the oldest on, up to the first record, header or number that is not what it must be.
//! From then on nothing is read: what stands behind damage may be good, but a log has no holes. If not even the beginning
//! can be used, since it starts after what the newest valid snapshot covers, the log starts anew after that snapshot.
//!
//! A header that cannot be read may have said that the log was cut or started anew. Then what is taken for whole is the log
//! as it was before that. For a node that has yet to learn what is committed, and votes for nobody until then, that is as
//! good as any shorter one.
//!
//! Nothing is changed in place. First a segment becomes durable which says after which entry the log was cut, as for any
//! cut; then the damaged ones are removed, and that is made durable before anything is appended. Wherever power fails, the
//! next start finds the damage, and cuts again at the same place, or the cut.

use std::path::Path;

use super::recovery::Reader;
use super::segment::{SEGMENT_HEADER, Segment, SegmentHeader, Start};
use super::{Wal, torn};
use crate::mark;
use crate::storage::error::StorageError;
use crate::storage::fs::{Fs, Named, list, sync_dir, unlink};
use crate::types::LogId;

/// Where a log was cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The last entry that is left, or the base.
    pub(crate) after: LogId,
    /// The greatest of those that could still be read behind the damage.
    pub(crate) upto: Option<LogId>,
}

/// A segment by its name, and what its header says, if it is one.
type Found = (u64, Option<SegmentHeader>);

impl Wal {
    /// Makes of a log which [`Wal::open`] refuses one that it takes.
    pub(crate) fn cut_damage(fs: &dyn Fs, dir: &Path, snapshot: LogId) -> Result<Cut, StorageError> {
        let mut found = Vec::new();
        for number in list(fs, dir)?.iter().filter_map(|name| Segment::number_of(name)) {
            let file = Named::open(fs, Segment::path(dir, number))?;
            found.push((number, SegmentHeader::read(&file)?.filter(|h| h.number == number)));
        }
        let chosen = choose(&found);
        let last = read(fs, dir, &chosen)?;
        let number = found.last().map_or(0, |(number, _)| *number) + 1;
        let header = match chosen.first() {
            Some(first) if first.base <= snapshot => SegmentHeader { number, base: last, start: Start::Cut },
            _ => {
                mark!("common/storage/wal/mend#cut_damage.anew");
                SegmentHeader { number, base: snapshot, start: Start::Log }
            }
        };
        let upto = last_readable(fs, dir, &found)?.filter(|id| *id > header.base);
        mark!("common/storage/wal/mend#cut_damage");
        Segment::create(fs, dir, header)?;
        let keeps = |number| chosen.iter().any(|h| h.number == number && h.base < last);
        for (number, _) in found {
            if header.start == Start::Log || !keeps(number) {
                unlink(fs, &Segment::path(dir, number))?;
            }
        }
        sync_dir(fs, dir)?;
        Ok(Cut { after: header.base, upto })
    }
}

/// The segments that make up the log, oldest first, up to the first whose header is not there.
fn choose(found: &[Found]) -> Vec<SegmentHeader> {
    let start = found.iter().rposition(|(_, h)| h.is_some_and(|h| h.start == Start::Log)).unwrap_or(0);
    let mut headers: Vec<SegmentHeader> = found[start..].iter().map_while(|(_, header)| *header).collect();
    loop {
        match without_void(&headers) {
            Ok(chosen) => return chosen,
            Err(missing) => headers.truncate(missing),
        }
    }
}

/// Those of which some part was not cut off by a later one; or the place at which one is missing.
fn without_void(headers: &[SegmentHeader]) -> Result<Vec<SegmentHeader>, usize> {
    let mut chosen: Vec<SegmentHeader> = Vec::with_capacity(headers.len());
    let mut cut = None;
    for (i, header) in headers.iter().enumerate().rev() {
        if cut.is_some_and(|cut| header.base >= cut) {
            continue;
        }
        if chosen.last().is_some_and(|next| next.start == Start::Continues && next.number != header.number + 1) {
            return Err(i + 1);
        }
        if header.start == Start::Cut {
            cut = Some(header.base);
        }
        chosen.push(*header);
    }
    chosen.reverse();
    Ok(chosen)
}

/// The last entry before the first that is not what it must be.
fn read(fs: &dyn Fs, dir: &Path, chosen: &[SegmentHeader]) -> Result<LogId, StorageError> {
    let base = chosen.first().map_or(LogId::ZERO, |first| first.base);
    let mut reader = Reader::new(base, LogId { epoch: u64::MAX, counter: u64::MAX });
    for (i, header) in chosen.iter().enumerate() {
        let file = Named::open(fs, Segment::path(dir, header.number))?;
        match reader.read(&file, *header, chosen.get(i + 1)) {
            Err(StorageError::Damaged { .. }) => break,
            read => read?,
        };
    }
    Ok(reader.last)
}

/// The last entry in the newest segment that has one.
fn last_readable(fs: &dyn Fs, dir: &Path, found: &[Found]) -> Result<Option<LogId>, StorageError> {
    for (number, _) in found.iter().rev() {
        let file = Named::open(fs, Segment::path(dir, *number))?;
        let last = torn::last_valid(&file, *number, SEGMENT_HEADER, file.size()?)?;
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}
