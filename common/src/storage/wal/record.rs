//! One record per entry.
//!
//! ```text
//!  0  crc       u32   CRC32C over everything below and the payload, started from the record's place
//!  4  length    u32   of the payload, bytes
//!  8  epoch     u64
//! 16  counter   u64
//! 24  unsynced  u32   how many bytes before this record belong to the same, not yet synced, write
//! 28  kind      u8
//! 29  mark      3 B   the same in every record; makes looking for one cheap
//! 32  payload
//! ```
//!
//! All numbers are little-endian. The checksum starts from the record's segment and offset, so that a record which is
//! copied elsewhere (a payload that holds a piece of a log, a misdirected write) is not one.
//!
//! `unsynced` is what tells damage from a torn write. Everything before `offset - unsynced` was synced when this record
//! was written, so it may have been acknowledged: a hole there is damage. A hole after it may be a write of which
//! some sectors reached the disk before the power went, and others not.

use crate::entries::EntryKind;
use crate::mutant;
use crate::types::LogId;

/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 32;

pub(super) const MARK: [u8; 3] = [0xD7, b'w', b'r'];

/// Where a record stands: part of what its checksum covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl Place {
    /// What the checksum starts from: different for any two records that are less than 4 GiB apart in one segment, and
    /// spread out over segments.
    fn seed(self) -> u32 {
        (self.segment as u32).wrapping_mul(0x9E37_79B1) ^ self.offset as u32
    }
}

/// A record's header, checked as far as it can be without the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    crc: u32,
    pub(super) len: u32,
    pub(super) id: LogId,
    pub(super) unsynced: u32,
    pub(super) kind: EntryKind,
}

impl Header {
    /// Reads a header. None if these are not the bytes of one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER] = bytes.get(..RECORD_HEADER)?.try_into().ok()?;
        if bytes[29..] != MARK {
            return None;
        }
        Some(Self {
            crc: u32_at(bytes, 0),
            len: u32_at(bytes, 4),
            id: LogId::new(u64_at(bytes, 8), u64_at(bytes, 16)),
            unsynced: u32_at(bytes, 24),
            kind: EntryKind::from_u8(bytes[28])?,
        })
    }

    /// The whole record's length in bytes.
    pub(super) fn size(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.len)
    }

    /// Whether `record` (header and payload) is what was written at this place.
    pub(super) fn verify(&self, place: Place, record: &[u8]) -> bool {
        record.len() as u64 == self.size()
            && (crc32c::crc32c_append(place.seed(), &record[4..]) == self.crc || mutant!("D04"))
    }
}

/// Adds a record to `buf`.
pub(super) fn encode(buf: &mut Vec<u8>, place: Place, unsynced: u32, id: LogId, kind: EntryKind, payload: &[u8]) {
    let start = buf.len();
    let mut header = [0; RECORD_HEADER];
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&id.epoch.to_le_bytes());
    header[16..24].copy_from_slice(&id.counter.to_le_bytes());
    header[24..28].copy_from_slice(&unsynced.to_le_bytes());
    header[28] = kind as u8;
    header[29..].copy_from_slice(&MARK);
    buf.extend_from_slice(&header);
    buf.extend_from_slice(payload);
    let crc = crc32c::crc32c_append(place.seed(), &buf[start + 4..]);
    buf[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(Header::parse(&[0; 100]), None);
        assert_eq!(Header::parse(&[0; 31]), None);
    }

    proptest! {
        #[test]
        fn a_record_reads_back_and_no_changed_bit_or_place_passes(
            (segment, offset) in (0u64..1000, 0u64..1 << 31),
            (epoch, counter, unsynced) in any::<(u64, u64, u32)>(),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            flip in any::<proptest::sample::Index>(),
            bit in 0u8..8,
        ) {
            let place = Place { segment, offset };
            let id = LogId::new(epoch, counter);
            let mut buf = b"before".to_vec();
            encode(&mut buf, place, unsynced, id, EntryKind::Noop, &payload);
            let mut record = buf.split_off(6);
            let header = Header::parse(&record).unwrap();
            prop_assert!(header.verify(place, &record));
            prop_assert_eq!((header.id, header.unsynced, header.kind), (id, unsynced, EntryKind::Noop));
            prop_assert_eq!(&record[RECORD_HEADER..], &payload[..]);
            let (other, shifted) = (Place { segment: segment + 1, offset }, Place { segment, offset: offset + 1 });
            prop_assert!(!header.verify(other, &record));
            prop_assert!(!header.verify(shifted, &record));
            let at = flip.index(record.len());
            record[at] ^= 1 << bit;
            prop_assert!(Header::parse(&record).is_none_or(|h| !h.verify(place, &record)));
        }
    }
}
