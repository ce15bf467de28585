//! Entries travel in runs. A run is to entries what `bytes::Bytes` is to bytes: cheap to clone, cheap to cut.
//!
//! A proposal batch becomes one [`Entries`] value, and the log, the network and the state machine all
//! share it: cloning bumps two reference counts however many entries there are. All entries of a run
//! have the same epoch and kind and consecutive counters, so one id names them all.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::types::LogId;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum EntryKind {
    /// A command for the state machine.
    Command = 0,
    /// Nothing to apply: a new Raft leader's first entry, which lets older ones commit (section 5.4.2, 8).
    Noop = 1,
    /// Who belongs to the cluster from here on: a [`Membership`](crate::membership::Membership).
    Membership = 2,
}

impl EntryKind {
    /// The kind with this number on disk and on the wire.
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Command),
            1 => Some(Self::Noop),
            2 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// Payloads waiting for a place in the log: one contiguous block and where each payload ends in it.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    data: Bytes,
    ends: Arc<[u32]>,
}

impl Batch {
    /// A batch of the given payloads. See [`BatchBuilder`] to avoid the intermediate slice.
    ///
    /// # Panics
    /// When the payloads together exceed `u32::MAX` bytes; every shell limits batches far below.
    pub fn from_payloads<P: AsRef<[u8]>>(payloads: &[P]) -> Self {
        let mut b = BatchBuilder::default();
        for p in payloads {
            b.push(p.as_ref());
        }
        b.take()
    }

    /// A batch of one payload, which is not copied.
    pub fn single(payload: Bytes) -> Self {
        let end = u32::try_from(payload.len()).expect("a payload is below 4 GiB");
        Self { data: payload, ends: Arc::from([end].as_slice()) }
    }

    /// How many payloads there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The payloads' bytes together.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }
}

/// Collects payloads into a [`Batch`], copying each once into one block.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    data: BytesMut,
    ends: Vec<u32>,
}

impl BatchBuilder {
    /// Adds one payload.
    ///
    /// # Panics
    /// When the batch would exceed `u32::MAX` bytes.
    pub fn push(&mut self, payload: &[u8]) {
        self.data.put_slice(payload);
        self.ends.push(u32::try_from(self.data.len()).expect("a batch is below 4 GiB"));
    }

    /// How many payloads were added since the last `take`.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Their bytes together.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The batch so far; the builder is empty afterwards and keeps its room.
    pub fn take(&mut self) -> Batch {
        let batch = Batch { data: self.data.split().freeze(), ends: Arc::from(self.ends.as_slice()) };
        self.ends.clear();
        batch
    }
}

/// A run of log entries with consecutive ids. Never empty.
#[derive(Clone)]
pub struct Entries {
    first: LogId,
    kind: EntryKind,
    /// Which of the block's payloads this run shows: `from..to` are positions in `ends`.
    from: u32,
    to: u32,
    data: Bytes,
    ends: Arc<[u32]>,
}

impl Entries {
    /// Gives a batch its place: its first payload gets the id `first`, the next ones follow.
    /// None for an empty batch.
    pub fn new(first: LogId, kind: EntryKind, batch: Batch) -> Option<Self> {
        let to = u32::try_from(batch.ends.len()).ok().filter(|n| *n > 0)?;
        Some(Self { first, kind, from: 0, to, data: batch.data, ends: batch.ends })
    }

    /// The no-op entry at `id`.
    pub fn noop(id: LogId) -> Self {
        Self { first: id, kind: EntryKind::Noop, from: 0, to: 1, data: Bytes::new(), ends: Arc::from([0].as_slice()) }
    }

    /// The id of the first entry.
    pub fn first(&self) -> LogId {
        self.first
    }

    /// The id of the last entry.
    pub fn last(&self) -> LogId {
        self.first.plus(u64::from(self.to - self.from) - 1)
    }

    /// The epoch (term) all entries of the run share.
    pub fn epoch(&self) -> u64 {
        self.first.epoch
    }

    /// What the entries are for.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// How many entries there are; at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    /// The payloads' bytes together.
    pub fn bytes(&self) -> usize {
        self.end(self.to) - self.end(self.from)
    }

    /// The payload bytes of all entries, in one piece.
    pub fn data(&self) -> Bytes {
        self.data.slice(self.end(self.from)..self.end(self.to))
    }

    /// The payload of the `i`th entry of the run, not copied.
    ///
    /// # Panics
    /// When `i` is not below `len()`.
    pub fn payload(&self, i: usize) -> &[u8] {
        assert!(i < self.len(), "entry {i} of a run of {}", self.len());
        let at = self.from + i as u32;
        &self.data[self.end(at)..self.end(at + 1)]
    }

    /// Every entry: its id and its payload.
    pub fn iter(&self) -> impl Iterator<Item = (LogId, &[u8])> + '_ {
        (0..self.len()).map(|i| (self.first.plus(i as u64), self.payload(i)))
    }

    /// The lengths of the payloads, in order: with `first`, `kind` and `data` all there is to send or store.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        (self.from..self.to).map(|i| (self.end(i + 1) - self.end(i)) as u32)
    }

    /// The entries whose ids are greater than `after`; none left gives None. Shares the block.
    #[must_use]
    pub fn after(&self, after: LogId) -> Option<Self> {
        if after < self.first {
            return Some(self.clone());
        }
        if after >= self.last() {
            return None;
        }
        let skip = (after.counter - self.first.counter + 1) as u32;
        Some(Self { first: after.plus(1), from: self.from + skip, ..self.clone() })
    }

    /// The entries whose ids are at most `upto`; none gives None. Shares the block.
    #[must_use]
    pub fn upto(&self, upto: LogId) -> Option<Self> {
        if upto >= self.last() {
            return Some(self.clone());
        }
        if upto < self.first {
            return None;
        }
        let keep = (upto.counter - self.first.counter + 1) as u32;
        Some(Self { to: self.from + keep, ..self.clone() })
    }

    /// The first entries of the run which together hold at most `max_bytes`, but at least one.
    #[must_use]
    pub fn limit(&self, max_bytes: usize) -> Self {
        let start = self.end(self.from);
        let within =
            self.ends[self.from as usize..self.to as usize].partition_point(|end| *end as usize - start <= max_bytes);
        Self { to: self.from + (within as u32).max(1), ..self.clone() }
    }

    /// One run from two, when `next` goes on where this one ends in the same epoch and kind: how
    /// catch-up turns many small batches into one message. Copies; None when they do not join.
    #[must_use]
    pub fn joined(runs: &[Self]) -> Option<Self> {
        let (head, rest) = runs.split_first()?;
        if rest.is_empty() {
            return Some(head.clone());
        }
        let mut builder = BatchBuilder::default();
        let mut last = None;
        for run in runs {
            if last.is_some_and(|l: LogId| run.first != l.plus(1)) || run.kind != head.kind {
                return None;
            }
            for i in 0..run.len() {
                builder.push(run.payload(i));
            }
            last = Some(run.last());
        }
        Self::new(head.first, head.kind, builder.take())
    }

    /// The run that `first`, `kind` and `lengths` describe, over the bytes that follow them on the wire or disk.
    /// None when the lengths do not add up to the bytes, there is none, or the ids overflow.
    pub fn from_parts(first: LogId, kind: EntryKind, lengths: &[u32], data: Bytes) -> Option<Self> {
        let mut end = 0u32;
        let mut ends = Vec::with_capacity(lengths.len());
        for len in lengths {
            end = end.checked_add(*len)?;
            ends.push(end);
        }
        first.counter.checked_add(lengths.len() as u64)?;
        if ends.is_empty() || end as usize != data.len() {
            return None;
        }
        Self::new(first, kind, Batch { data, ends: ends.into() })
    }

    /// Where payload `i` of the block starts, which is where the one before it ends.
    fn end(&self, i: u32) -> usize {
        if i == 0 { 0 } else { self.ends[i as usize - 1] as usize }
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.first == other.first
            && self.kind == other.kind
            && self.lengths().eq(other.lengths())
            && self.data() == other.data()
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}[{}..={}; {} B]", self.kind, self.first, self.last(), self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Entries {
        let batch = Batch::from_payloads(&["a", "bb", "", "dddd"]);
        Entries::new(LogId::new(3, 5), EntryKind::Command, batch).unwrap()
    }

    #[test]
    fn a_run_knows_its_ids_and_payloads() {
        let r = run();
        assert_eq!((r.first(), r.last(), r.len(), r.bytes()), (LogId::new(3, 5), LogId::new(3, 8), 4, 7));
        let all: Vec<_> = r.iter().collect();
        assert_eq!(all[1], (LogId::new(3, 6), b"bb".as_slice()));
        assert_eq!(all[2], (LogId::new(3, 7), b"".as_slice()));
        assert!(Entries::new(LogId::ZERO, EntryKind::Command, Batch::default()).is_none());
    }

    #[test]
    fn cuts_share_the_block_and_keep_ids() {
        let r = run();
        assert_eq!(r.after(LogId::new(2, 99)), Some(r.clone()));
        assert_eq!(r.after(LogId::new(3, 8)), None);
        let tail = r.after(LogId::new(3, 6)).unwrap();
        assert_eq!((tail.first(), tail.len(), tail.payload(1)), (LogId::new(3, 7), 2, b"dddd".as_slice()));
        let mid = r.upto(LogId::new(3, 6)).unwrap().after(LogId::new(3, 5)).unwrap();
        assert_eq!((mid.len(), mid.payload(0), mid.data().as_ref()), (1, b"bb".as_slice(), b"bb".as_slice()));
        assert_eq!(r.upto(LogId::new(3, 4)), None);
        assert_eq!(r.upto(LogId::new(4, 0)), Some(r.clone()));
        assert_eq!((r.limit(3).len(), r.limit(0).len(), r.limit(1000).len()), (3, 1, 4));
        assert_eq!(tail.limit(0).len(), 1);
    }

    #[test]
    fn parts_round_trip_and_joins_are_whole() {
        let r = run();
        let lengths: Vec<u32> = r.lengths().collect();
        assert_eq!(Entries::from_parts(r.first(), r.kind(), &lengths, r.data()), Some(r.clone()));
        assert_eq!(Entries::from_parts(r.first(), r.kind(), &[1], r.data()), None);
        assert_eq!(Entries::from_parts(r.first(), r.kind(), &[u32::MAX, 8], r.data()), None);
        let (a, b) = (r.upto(LogId::new(3, 6)).unwrap(), r.after(LogId::new(3, 6)).unwrap());
        assert_eq!(Entries::joined(&[a.clone(), b.clone()]), Some(r));
        assert_eq!(Entries::joined(&[b, a]), None);
    }
}
