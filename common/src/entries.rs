//! Entries travel in runs. A run is to entries what `bytes::Bytes` is to bytes: cheap to clone, cheap to cut.
//!
//! A proposal batch becomes one [`Entries`] value, and the log, the network and the state machine all
//! share it: cloning bumps one reference count however many entries there are. All entries of a run
//! have the same epoch and kind and consecutive counters, so one id names them all.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
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

/// What entries say, in one piece, and where one payload ends and the next begins: the last one ends with the data. So a
/// payload that stands alone needs no list.
#[derive(Debug)]
struct Block {
    data: Bytes,
    cuts: Box<[u32]>,
}

impl Block {
    /// How many payloads there are; at least one.
    fn len(&self) -> usize {
        self.cuts.len() + 1
    }

    /// Where payload `i` starts, which is where the one before it ends.
    #[inline]
    fn start(&self, i: u32) -> usize {
        match i.checked_sub(1) {
            None => 0,
            Some(before) => self.cuts.get(before as usize).map_or(self.data.len(), |cut| *cut as usize),
        }
    }
}

/// Payloads waiting for a place in the log: one contiguous block and where each payload ends in it.
#[derive(Clone, Debug, Default)]
pub struct Batch(Option<Arc<Block>>);

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
    ///
    /// # Panics
    /// When it exceeds `u32::MAX` bytes.
    pub fn single(payload: Bytes) -> Self {
        Self::of(payload, Box::default())
    }

    fn of(data: Bytes, cuts: Box<[u32]>) -> Self {
        assert!(u32::try_from(data.len()).is_ok(), "a batch is below 4 GiB");
        Self(Some(Arc::new(Block { data, cuts })))
    }

    /// How many payloads there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |block| block.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The payloads' bytes together.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |block| block.data.len())
    }
}

/// Collects payloads into a [`Batch`], copying each once into one block.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    data: Vec<u8>,
    ends: Vec<u32>,
    /// How long the last batch was, up to [`ROOM`]: the next one may be as long.
    room: usize,
}

/// More is not set aside for a batch that may turn out small.
const ROOM: usize = 64 << 10;

impl BatchBuilder {
    /// Adds one payload.
    ///
    /// # Panics
    /// When the batch would exceed `u32::MAX` bytes.
    #[inline]
    pub fn push(&mut self, payload: &[u8]) {
        if self.ends.is_empty() {
            self.data.reserve_exact(self.room.max(payload.len()));
        }
        self.data.extend_from_slice(payload);
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

    /// The batch so far; the builder is empty afterwards and makes room for another one like it.
    pub fn take(&mut self) -> Batch {
        let Some((_, cuts)) = self.ends.split_last() else { return Batch::default() };
        // Without what is left of its room, which would stay in memory with it.
        let data = std::mem::take(&mut self.data).into_boxed_slice();
        self.room = data.len().min(ROOM);
        let batch = Batch::of(data.into(), cuts.into());
        self.ends.clear();
        batch
    }
}

/// A run of log entries with consecutive ids. Never empty.
#[derive(Clone)]
pub struct Entries {
    first: LogId,
    /// Which of the block's payloads this run shows.
    from: u32,
    to: u32,
    /// How many bytes those have: what is asked of every run in every step is not looked up in the block.
    bytes: u32,
    kind: EntryKind,
    block: Arc<Block>,
}

impl Entries {
    /// Gives a batch its place: its first payload gets the id `first`, the next ones follow.
    /// None for an empty batch.
    pub fn new(first: LogId, kind: EntryKind, batch: Batch) -> Option<Self> {
        let block = batch.0?;
        let to = u32::try_from(block.len()).ok()?;
        Some(Self { first, from: 0, to, bytes: block.data.len() as u32, kind, block })
    }

    /// The no-op entry at `id`.
    pub fn noop(id: LogId) -> Self {
        let block = Arc::new(Block { data: Bytes::new(), cuts: Box::default() });
        Self { first: id, from: 0, to: 1, bytes: 0, kind: EntryKind::Noop, block }
    }

    /// The id of the first entry.
    #[inline]
    pub fn first(&self) -> LogId {
        self.first
    }

    /// The id of the last entry.
    #[inline]
    pub fn last(&self) -> LogId {
        self.first.plus(u64::from(self.to - self.from) - 1)
    }

    /// The epoch (term) all entries of the run share.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.first.epoch
    }

    /// What the entries are for.
    #[inline]
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// How many entries there are; at least one.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    /// The payloads' bytes together.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The payloads `from..to` of the same block, from the one with the id `first`.
    fn part(&self, first: LogId, from: u32, to: u32) -> Self {
        let bytes = (self.start(to) - self.start(from)) as u32;
        Self { first, from, to, bytes, kind: self.kind, block: self.block.clone() }
    }

    /// The payload bytes of all entries, in one piece.
    pub fn data(&self) -> Bytes {
        self.block.data.slice(self.start(self.from)..self.start(self.to))
    }

    /// The payload of the `i`th entry of the run, not copied.
    ///
    /// # Panics
    /// When `i` is not below `len()`.
    pub fn payload(&self, i: usize) -> &[u8] {
        assert!(i < self.len(), "entry {i} of a run of {}", self.len());
        let at = self.from + i as u32;
        &self.block.data[self.start(at)..self.start(at + 1)]
    }

    /// Every entry: its id and its payload.
    pub fn iter(&self) -> impl Iterator<Item = (LogId, &[u8])> + '_ {
        (0..self.len()).map(|i| (self.first.plus(i as u64), self.payload(i)))
    }

    /// The lengths of the payloads, in order: with `first`, `kind` and `data` all there is to send or store.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        let mut start = self.start(self.from);
        (self.from..self.to).map(move |i| {
            let end = self.start(i + 1);
            (end - std::mem::replace(&mut start, end)) as u32
        })
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
        Some(self.part(after.plus(1), self.from + skip, self.to))
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
        Some(self.part(self.first, self.from, self.from + keep))
    }

    /// The first entries of the run which together hold at most `max_bytes`, but at least one.
    #[must_use]
    pub fn limit(&self, max_bytes: usize) -> Self {
        if self.bytes() <= max_bytes {
            return self.clone();
        }
        let start = self.start(self.from);
        // Not the last one, so each of these ends with a cut.
        let cuts = &self.block.cuts[self.from as usize..self.to as usize - 1];
        let within = cuts.partition_point(|end| *end as usize - start <= max_bytes);
        self.part(self.first, self.from, self.from + (within as u32).max(1))
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
        first.counter.checked_add(lengths.len() as u64)?;
        let (_, but_last) = lengths.split_last()?;
        let mut end = 0u32;
        let mut cuts = Vec::with_capacity(but_last.len());
        for len in but_last {
            end = end.checked_add(*len)?;
            cuts.push(end);
        }
        let whole = end.checked_add(lengths[but_last.len()])?;
        if whole as usize != data.len() {
            return None;
        }
        Self::new(first, kind, Batch::of(data, cuts.into()))
    }

    #[inline]
    fn start(&self, i: u32) -> usize {
        self.block.start(i)
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
