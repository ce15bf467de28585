//! What a core knows of its log: which ids are in it, and the newest entries themselves.
//!
//! The whole log's ids fit in a few spans however long it is, because ids in one epoch are consecutive:
//! membership tests, "the greatest id not above this one" (ZAB's TRUNC), "the epoch at this index" (Raft's
//! consistency check) and "where this term starts" (Raft's conflict hint) are all look-ups here. Entries that
//! were applied are kept only up to a limit in bytes; older ones are fetched from disk through
//! [`Effect::Fetch`](crate::protocol::Effect::Fetch).
//!
//! This is memory, not storage: nothing in it says that an entry is durable.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::entries::Entries;
use crate::types::LogId;

/// A stretch of one epoch's consecutive counters that are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The epoch (term) of all its entries.
    pub epoch: u64,
    /// The first counter (index).
    pub first: u64,
    /// The last counter (index), at least `first`.
    pub last: u64,
}

impl Span {
    fn first_id(&self) -> LogId {
        LogId::new(self.epoch, self.first)
    }

    fn last_id(&self) -> LogId {
        LogId::new(self.epoch, self.last)
    }
}

/// What [`LogView::read`] found after a given id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The next entries.
    Found(Entries),
    /// They are in the log but no longer in memory: fetch them.
    OnDisk,
    /// The log starts later: only a snapshot can help.
    Compacted,
    /// The id is the last one.
    End,
    /// The id is not in this log.
    Unknown,
}

/// A log's ids, and its newest entries.
#[derive(Clone, Debug)]
pub struct LogView {
    base: LogId,
    spans: Vec<Span>,
    /// The id of the last entry, or `base`: the spans say the same, and it is asked for in every step.
    last: LogId,
    cache: VecDeque<Entries>,
    cache_bytes: usize,
    cache_limit: usize,
}

/// What one run costs in memory beside its payloads, for the cache limit. Counts its queue slot and offsets.
fn weight(run: &Entries) -> usize {
    run.bytes() + run.len() * 4 + 128
}

impl LogView {
    /// An empty log which starts after `base` (zero, or a snapshot's last id) and keeps at most about `cache_limit`
    /// bytes of entries that were applied.
    pub fn new(base: LogId, cache_limit: usize) -> Self {
        Self { base, spans: Vec::new(), last: base, cache: VecDeque::new(), cache_bytes: 0, cache_limit }
    }

    /// The log that recovery found: everything in `spans` is on disk after `base`, and `tail` is its end, in memory.
    ///
    /// # Panics
    /// When the spans do not ascend or the tail is not the end of them: recovery has checked both.
    pub fn restore(base: LogId, spans: Vec<Span>, tail: Vec<Entries>, cache_limit: usize) -> Self {
        assert!(spans.iter().all(|s| s.first <= s.last), "empty span");
        assert!(spans.is_sorted_by(|a, b| a.last_id() < b.first_id()), "spans out of order");
        assert!(spans.first().is_none_or(|s| base < s.first_id()), "span before the base");
        let mut log = Self::new(base, cache_limit);
        log.last = spans.last().map_or(base, Span::last_id);
        log.spans = spans;
        if let Some(run) = tail.last() {
            assert_eq!(run.last(), log.last(), "the tail is the log's end");
        }
        for run in tail {
            log.cache_bytes += weight(&run);
            log.cache.push_back(run);
        }
        log
    }

    /// The id before the log's first entry: zero, or where compaction cut it.
    #[inline]
    pub fn base(&self) -> LogId {
        self.base
    }

    /// The id of the last entry, or `base` if there is none.
    #[inline]
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The spans of ids in the log, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.spans.iter().map(|s| s.last - s.first + 1).sum()
    }

    /// Whether there are none after `base`.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether `id` is the base or an entry of this log.
    #[inline]
    pub fn contains(&self, id: LogId) -> bool {
        // Nearly all that is asked for is of the last epoch.
        match self.spans.last() {
            Some(s) if s.epoch == id.epoch && s.first <= id.counter => id.counter <= s.last,
            _ => self.floor(id) == Some(id),
        }
    }

    /// The greatest id of the log (or its base) that is at most `id`; None when `id` is below the base.
    pub fn floor(&self, id: LogId) -> Option<LogId> {
        // Nearly all that is asked for is at the end.
        if let Some(s) = self.spans.last()
            && s.first_id() <= id
        {
            return Some(s.last_id().min(id));
        }
        if id < self.base {
            return None;
        }
        let after = self.spans.partition_point(|s| s.first_id() <= id);
        Some(match after.checked_sub(1).map(|i| &self.spans[i]) {
            Some(s) => s.last_id().min(id),
            None => self.base,
        })
    }

    /// The id of the entry that follows `id` in the log; None at the end or when `id` is not in it.
    #[inline]
    pub fn next(&self, id: LogId) -> Option<LogId> {
        if let Some(s) = self.spans.last()
            && s.first_id() <= id
        {
            return (id < s.last_id()).then(|| id.plus(1));
        }
        self.next_early(id)
    }

    fn next_early(&self, id: LogId) -> Option<LogId> {
        if !self.contains(id) {
            return None;
        }
        let i = self.spans.partition_point(|s| s.last_id() <= id);
        self.spans.get(i).map(|s| if s.first_id() > id { s.first_id() } else { id.plus(1) })
    }

    /// The id whose counter is `counter`, for logs whose counter goes on through all epochs (Raft). The base counts.
    #[inline]
    pub fn at(&self, counter: u64) -> Option<LogId> {
        match self.spans.last() {
            Some(s) if s.first <= counter => (counter <= s.last).then(|| LogId::new(s.epoch, counter)),
            _ => self.at_early(counter),
        }
    }

    fn at_early(&self, counter: u64) -> Option<LogId> {
        if counter == self.base.counter {
            return Some(self.base);
        }
        let i = self.spans.partition_point(|s| s.last < counter);
        let s = self.spans.get(i)?;
        (counter >= s.first).then(|| LogId::new(s.epoch, counter))
    }

    /// The span of ids with this epoch, if any entry has it.
    pub fn span_of(&self, epoch: u64) -> Option<Span> {
        let i = self.spans.binary_search_by_key(&epoch, |s| s.epoch).ok()?;
        Some(self.spans[i])
    }

    /// How many entries have ids above `after` and at most `upto`.
    pub fn count(&self, after: LogId, upto: LogId) -> u64 {
        let in_span = |s: &Span| {
            let from = if s.first_id() > after {
                s.first
            } else if s.last_id() <= after {
                return 0;
            } else {
                after.counter + 1
            };
            let to = if s.last_id() <= upto {
                s.last
            } else if s.first_id() > upto {
                return 0;
            } else {
                upto.counter
            };
            (to + 1).saturating_sub(from)
        };
        let start = self.spans.partition_point(|s| s.last_id() <= after);
        self.spans[start..].iter().take_while(|s| s.first_id() <= upto).map(in_span).sum()
    }

    /// Adds a run at the end.
    ///
    /// # Panics
    /// When it does not follow: its first id must be above the last one, and next to it within one epoch.
    #[inline]
    pub fn append(&mut self, run: Entries) {
        let (first, last) = (run.first(), run.last());
        match self.spans.last_mut() {
            Some(s) if s.epoch == first.epoch => {
                assert_eq!(first.counter, s.last + 1, "a gap before {first}");
                s.last = last.counter;
            }
            _ => self.begin_span(first, last),
        }
        self.last = last;
        self.cache_bytes += weight(&run);
        self.cache.push_back(run);
    }

    #[cold]
    fn begin_span(&mut self, first: LogId, upto: LogId) {
        let last = self.last;
        assert!(first > last && first.counter > 0, "appending {first} to a log that ends at {last}");
        assert!(last.epoch != first.epoch || first.counter == last.counter + 1, "a gap between {last} and {first}");
        self.spans.push(Span { epoch: first.epoch, first: first.counter, last: upto.counter });
    }

    /// Drops every entry after `id`.
    ///
    /// # Panics
    /// When `id` is not in the log.
    pub fn truncate_after(&mut self, id: LogId) {
        assert!(self.contains(id), "truncating after {id}, which is not in the log");
        self.spans.retain(|s| s.first_id() <= id);
        if let Some(s) = self.spans.last_mut()
            && s.last_id() > id
        {
            s.last = id.counter;
        }
        self.last = id;
        while let Some(run) = self.cache.back()
            && run.last() > id
        {
            let run = self.cache.pop_back().expect("there is a last run");
            self.cache_bytes -= weight(&run);
            if let Some(keep) = run.upto(id) {
                self.cache_bytes += weight(&keep);
                self.cache.push_back(keep);
            }
        }
    }

    /// Forgets every entry up to and including `id`: they are in a snapshot. Entries after it stay.
    /// Does nothing when `id` is not above the base.
    ///
    /// # Panics
    /// When `id` is above the base and not in the log; use [`reset`](Self::reset) for a snapshot from elsewhere.
    pub fn compact(&mut self, id: LogId) {
        if id <= self.base {
            return;
        }
        assert!(self.contains(id), "compacting to {id}, which is not in the log");
        self.spans.retain(|s| s.last_id() > id);
        if let Some(s) = self.spans.first_mut()
            && s.first_id() <= id
        {
            s.first = id.counter + 1;
        }
        self.base = id;
        self.last = self.last.max(id);
        while let Some(run) = self.cache.front()
            && run.first() <= id
        {
            let run = self.cache.pop_front().expect("there is a first run");
            self.cache_bytes -= weight(&run);
            if let Some(keep) = run.after(id) {
                self.cache_bytes += weight(&keep);
                self.cache.push_front(keep);
            }
        }
    }

    /// Drops everything: the log now starts after `base`, a snapshot's last id.
    pub fn reset(&mut self, base: LogId) {
        *self = Self::new(base, self.cache_limit);
    }

    /// Entries up to `applied` are no longer needed in memory: lets go of the oldest ones above the cache limit.
    #[inline]
    pub fn release(&mut self, applied: LogId) {
        if self.cache_bytes > self.cache_limit {
            self.let_go(applied);
        }
    }

    fn let_go(&mut self, applied: LogId) {
        while self.cache_bytes > self.cache_limit
            && let Some(run) = self.cache.front()
            && run.last() <= applied
        {
            let run = self.cache.pop_front().expect("there is a first run");
            self.cache_bytes -= weight(&run);
        }
    }

    /// Bytes of entries in memory, with what they cost beside their payloads.
    pub fn cached_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// The entries after `after`: one run, at most `max_bytes` of payload but at least one entry. Small runs of one
    /// epoch are joined (copied) up to the limit, so that catching up does not send one message per batch.
    pub fn read(&self, after: LogId, max_bytes: usize) -> Read {
        if after < self.base {
            return Read::Compacted;
        }
        let Some(next) = self.next(after) else {
            return if after == self.last() { Read::End } else { Read::Unknown };
        };
        let Some(i) = self.holding(next) else { return Read::OnDisk };
        let Some(first) = self.cache[i].after(after) else { return Read::OnDisk };
        let first = first.limit(max_bytes);
        let whole = self.cache[i].last() == first.last();
        let mut end = i + 1;
        let mut bytes = first.bytes();
        while whole && let Some(run) = self.cache.get(end) {
            bytes += run.bytes();
            if bytes > max_bytes || run.epoch() != first.epoch() || run.kind() != first.kind() {
                break;
            }
            end += 1;
        }
        if end == i + 1 {
            return Read::Found(first);
        }
        let mut runs = vec![first];
        runs.extend(self.cache.range(i + 1..end).cloned());
        Read::Found(Entries::joined(&runs).expect("runs of one epoch in the cache are consecutive"))
    }

    /// The runs in memory with ids above `after` and at most `upto`, cut to fit; for applying what was committed.
    /// None when some of them are no longer in memory.
    pub fn runs(&self, after: LogId, upto: LogId) -> Option<Runs<'_>> {
        let at = match self.next(after) {
            Some(next) if next <= upto => self.holding(next)?,
            _ if self.contains(after) => self.cache.len(),
            _ => return None,
        };
        Some(Runs { cache: &self.cache, at, after, upto })
    }

    /// The same, as a list.
    pub fn cached(&self, after: LogId, upto: LogId) -> Option<Vec<Entries>> {
        Some(self.runs(after, upto)?.map(Cow::into_owned).collect())
    }

    /// Which run in memory has this entry of the log.
    fn holding(&self, id: LogId) -> Option<usize> {
        const NEAR: usize = 4;
        // Nearly all that is asked for is at the end.
        let end = self.cache.len();
        for at in (end.saturating_sub(NEAR)..end).rev() {
            let run = self.cache.get(at)?;
            if run.first() <= id {
                return (run.last() >= id).then_some(at);
            }
        }
        let at = self.cache.partition_point(|run| run.last() < id);
        self.cache.get(at).filter(|run| run.first() <= id).map(|_| at)
    }
}

/// What [`LogView::runs`] found: whole runs as they stand in the log, and parts of the first and the last.
#[derive(Debug)]
pub struct Runs<'a> {
    cache: &'a VecDeque<Entries>,
    at: usize,
    after: LogId,
    upto: LogId,
}

impl<'a> Iterator for Runs<'a> {
    type Item = Cow<'a, Entries>;

    #[inline]
    fn next(&mut self) -> Option<Cow<'a, Entries>> {
        let run = self.cache.get(self.at).filter(|run| run.first() <= self.upto)?;
        self.at += 1;
        if run.first() > self.after && run.last() <= self.upto {
            return Some(Cow::Borrowed(run));
        }
        run.after(self.after)?.upto(self.upto).map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::{Batch, EntryKind};
    use proptest::prelude::*;

    fn id(e: u64, c: u64) -> LogId {
        LogId::new(e, c)
    }

    fn run(e: u64, c: u64, n: usize) -> Entries {
        Entries::new(id(e, c), EntryKind::Command, Batch::from_payloads(&vec!["xy"; n])).unwrap()
    }

    /// Raft-like: counters go on. (1,1..3) (2,4..5) (4,6)
    fn raft() -> LogView {
        let mut log = LogView::new(LogId::ZERO, 1 << 20);
        log.append(run(1, 1, 2));
        log.append(run(1, 3, 1));
        log.append(run(2, 4, 2));
        log.append(run(4, 6, 1));
        log
    }

    /// ZAB-like: counters start again. (1,1..3) (3,1..2)
    fn zab() -> LogView {
        let mut log = LogView::new(LogId::ZERO, 1 << 20);
        log.append(run(1, 1, 3));
        log.append(run(3, 1, 2));
        log
    }

    #[test]
    fn look_ups() {
        let r = raft();
        assert_eq!(r.last(), id(4, 6));
        assert_eq!((r.at(0), r.at(3), r.at(4), r.at(7)), (Some(LogId::ZERO), Some(id(1, 3)), Some(id(2, 4)), None));
        assert_eq!(r.span_of(2), Some(Span { epoch: 2, first: 4, last: 5 }));
        assert_eq!(r.span_of(3), None);
        assert_eq!(r.count(id(1, 2), id(4, 6)), 4);
        let z = zab();
        assert_eq!(z.floor(id(2, 9)), Some(id(1, 3)));
        assert_eq!(z.floor(id(1, 9)), Some(id(1, 3)));
        assert_eq!(z.floor(id(3, 1)), Some(id(3, 1)));
        assert!(z.contains(id(1, 3)) && !z.contains(id(1, 4)) && !z.contains(id(2, 1)));
        assert_eq!(
            (z.next(LogId::ZERO), z.next(id(1, 2)), z.next(id(1, 3)), z.next(id(3, 2))),
            (Some(id(1, 1)), Some(id(1, 3)), Some(id(3, 1)), None)
        );
        assert_eq!(z.next(id(2, 0)), None);
        assert_eq!(z.count(LogId::ZERO, id(3, 1)), 4);
        assert_eq!(z.count(id(1, 3), id(1, 3)), 0);
    }

    #[test]
    fn reading_joins_small_runs_of_one_epoch_only() {
        let r = raft();
        let Read::Found(e) = r.read(LogId::ZERO, 100) else { panic!() };
        assert_eq!((e.first(), e.last()), (id(1, 1), id(1, 3)));
        let Read::Found(e) = r.read(id(1, 1), 2) else { panic!() };
        assert_eq!((e.first(), e.last()), (id(1, 2), id(1, 2)));
        assert_eq!(r.read(id(4, 6), 9), Read::End);
        assert_eq!(r.read(id(3, 5), 9), Read::Unknown);
        assert_eq!(r.cached(id(1, 2), id(2, 4)).unwrap(), vec![run(1, 3, 1), run(2, 4, 1)]);
        assert_eq!(r.cached(id(1, 2), id(1, 2)).unwrap(), vec![]);
    }

    #[test]
    fn compaction_release_and_truncation() {
        let mut r = raft();
        r.compact(id(2, 4));
        assert_eq!((r.base(), r.last(), r.len()), (id(2, 4), id(4, 6), 2));
        assert_eq!(r.read(id(1, 3), 9), Read::Compacted);
        assert!(matches!(r.read(id(2, 4), 9), Read::Found(_)));
        r.truncate_after(id(2, 4));
        assert_eq!((r.last(), r.is_empty()), (id(2, 4), true));
        let mut small = LogView::new(LogId::ZERO, 0);
        small.append(run(1, 1, 5));
        small.append(run(1, 6, 1));
        small.release(id(1, 5));
        assert_eq!(small.read(LogId::ZERO, 9), Read::OnDisk);
        assert_eq!(small.cached(LogId::ZERO, id(1, 6)), None);
        assert!(matches!(small.read(id(1, 5), 9), Read::Found(_)));
        small.truncate_after(id(1, 2));
        assert_eq!((small.last(), small.read(id(1, 1), 9)), (id(1, 2), Read::OnDisk));
        small.append(run(2, 3, 1));
        assert!(matches!(small.read(id(1, 2), 9), Read::Found(_)));
    }

    proptest! {
        /// Against a plain list of ids: append, truncate and compact in any order give the same answers.
        #[test]
        fn behaves_like_a_list(ops in proptest::collection::vec((0u8..4, 0usize..40, 1usize..4), 1..40), continuing in any::<bool>()) {
            let mut log = LogView::new(LogId::ZERO, 64);
            let mut list = vec![LogId::ZERO]; // the base, then every entry
            for (op, pick, n) in ops {
                let last = *list.last().unwrap();
                match op {
                    0 | 1 => {
                        let first = match (op, continuing) {
                            (0, _) if last.epoch > 0 => last.plus(1),
                            (_, true) => id(last.epoch + 1, last.counter + 1),
                            (_, false) => id(last.epoch + 1, 1),
                        };
                        log.append(run(first.epoch, first.counter, n));
                        list.extend((0..n as u64).map(|i| first.plus(i)));
                    }
                    2 => {
                        let at = list[pick % list.len()];
                        log.truncate_after(at);
                        list.retain(|x| *x <= at);
                    }
                    _ => {
                        let at = list[pick % list.len()];
                        log.compact(at);
                        log.release(at);
                        list.retain(|x| *x >= at);
                    }
                }
                prop_assert_eq!(log.base(), list[0]);
                prop_assert_eq!(log.last(), *list.last().unwrap());
                prop_assert_eq!(log.len() as usize, list.len() - 1);
                for e in 0..5 { for c in 0..9 {
                    let x = id(e, c);
                    prop_assert_eq!(log.contains(x), list.contains(&x));
                    prop_assert_eq!(log.floor(x), list.iter().copied().filter(|y| *y <= x).max());
                    let at = list.iter().position(|y| *y == x);
                    prop_assert_eq!(log.next(x), at.and_then(|i| list.get(i + 1).copied()));
                }}
                prop_assert_eq!(log.count(list[0], *list.last().unwrap()) as usize, list.len() - 1);
            }
        }
    }
}
