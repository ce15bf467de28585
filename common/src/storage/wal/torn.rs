//! Is it a torn write or damage?
//!
//! A write that the power cut short was never acknowledged: cutting it off is right. Damage to what was acknowledged must
//! be refused: cutting it off would make this node forget what it promised, and a quorum with it lose an entry
//! (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
//!
//! Both look like an invalid record. The rule here, for one at `bad` in the last segment:
//! - No valid record after it: a torn end.
//! - A valid record after it which was written when `bad` had been synced: damage.
//! - Otherwise all that follows is of the same unsynced write. A disk writes sectors in any order, so the later part of
//!   a write may be there without the earlier part; sectors that never were written read as zeros. If there is such a
//!   sector in the hole, it is a torn write. If not, it is damage.

use super::record::{Header, RECORD_HEADER};
use super::scan::{Scan, Scanned};
use crate::storage::error::StorageError;
use crate::storage::fs::Named;
use crate::types::LogId;
use crate::{mark, mutant};

const SECTOR: u64 = 512;
const PIECE: u64 = 256 << 10;

/// Looks at what follows the invalid bytes at `bad` in the last segment, whose file ends at `end`. Ok says that the
/// log may be cut there.
pub(super) fn judge(file: &Named, segment: u64, bad: u64, end: u64, what: &str) -> Result<(), StorageError> {
    if mutant!("D05") {
        return Ok(());
    }
    let mut first_valid = None;
    let mut from = bad + 1;
    // Bytes spent on things that look like records and are not; a payload can be full of them.
    let mut budget = 16 * (end - bad) + (1 << 20);
    while let Some(found) = find(file, segment, from, end, &mut budget)? {
        first_valid.get_or_insert(found);
        let mut scan = Scan::new(file, segment, found, end);
        loop {
            let at = scan.offset;
            let Scanned::Record(header, _) = scan.next()? else { break };
            if at.saturating_sub(u64::from(header.unsynced)) > bad {
                mark!("common/storage/wal/torn#judge.damage");
                let after = format!("{what}, before a valid record at byte {at} that was written later");
                return Err(StorageError::damaged(&file.path, bad, after));
            }
        }
        from = scan.offset.max(found + 1);
    }
    if budget == 0 {
        let unclear = format!("{what}; too much after it looks like records to tell damage from a torn write");
        return Err(StorageError::damaged(&file.path, bad, unclear));
    }
    match first_valid {
        Some(valid) if !has_unwritten_sector(file, bad, valid)? => {
            mark!("common/storage/wal/torn#judge.changed");
            let after = format!("{what}, before a valid record at byte {valid}");
            Err(StorageError::damaged(&file.path, bad, after))
        }
        Some(_) => {
            mark!("common/storage/wal/torn#judge.hole");
            Ok(())
        }
        None => Ok(()),
    }
}

/// The last valid record at or after `from`, wherever it stands, as far as looking for one may cost.
pub(super) fn last_valid(file: &Named, segment: u64, from: u64, end: u64) -> Result<Option<LogId>, StorageError> {
    let (mut last, mut at) = (None, from);
    let mut budget = 16 * end.saturating_sub(from) + (1 << 20);
    while let Some(found) = find(file, segment, at, end, &mut budget)? {
        let mut scan = Scan::new(file, segment, found, end);
        while let Scanned::Record(header, _) = scan.next()? {
            last = Some(header.id);
        }
        at = scan.offset.max(found + 1);
    }
    Ok(last)
}

/// The offset of the next valid record at or after `from`. None if there is none, or the budget (then 0) is used up.
fn find(file: &Named, segment: u64, from: u64, end: u64, budget: &mut u64) -> Result<Option<u64>, StorageError> {
    let mut scan = Scan::new(file, segment, from, end);
    while end.saturating_sub(scan.offset) >= RECORD_HEADER as u64 {
        let at = scan.offset;
        let window = scan.window(PIECE.min(end - at) as usize)?;
        if window.len() < RECORD_HEADER {
            return Ok(None);
        }
        let starts = window.len() - RECORD_HEADER + 1;
        for i in (0..starts).filter(|i| window[i + 29..].starts_with(&super::record::MARK)) {
            let here = at + i as u64;
            let Some(header) = Header::parse(&window[i..]).filter(|h| here + h.size() <= end) else { continue };
            let mut one = Scan::new(file, segment, here, here + header.size());
            if matches!(one.next()?, Scanned::Record(..)) {
                return Ok(Some(here));
            }
            *budget = budget.saturating_sub(header.size());
            if *budget == 0 {
                return Ok(None);
            }
        }
        scan.offset = at + starts as u64;
    }
    Ok(None)
}

/// Whether there is nothing but zeros in `from..to`.
pub(super) fn is_unwritten(file: &Named, from: u64, to: u64) -> Result<bool, StorageError> {
    let mut buf = vec![0; PIECE.min(to - from) as usize];
    let mut at = from;
    while at < to {
        let piece = &mut buf[..PIECE.min(to - at) as usize];
        let n = file.read_at(at, piece)?;
        if n == 0 || piece[..n].iter().any(|b| *b != 0) {
            return Ok(n == 0);
        }
        at += n as u64;
    }
    Ok(true)
}

/// Whether some sector, as far as it lies in `from..to` and reaches to its own end, is all zeros.
fn has_unwritten_sector(file: &Named, from: u64, to: u64) -> Result<bool, StorageError> {
    let mut buf = [0; SECTOR as usize];
    let mut at = from;
    loop {
        let end = (at / SECTOR + 1) * SECTOR;
        if end > to {
            return Ok(false);
        }
        let piece = &mut buf[..(end - at) as usize];
        if file.read_at(at, piece)? == piece.len() && piece.iter().all(|b| *b == 0) {
            return Ok(true);
        }
        at = end;
    }
}
