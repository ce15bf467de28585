//! What is durable on one node's disk, read from the disk itself.
//!
//! The oracles C-ACK, C-VOW and C-RECOV judge promises by this and not by what the node believes, so a missing fsync
//! is found the first time somebody relies on it, without a crash at the right moment. [`TruthReader`] reads it, at a cost
//! that grows with what is new, and finds what recovery would find.

mod log;
mod reader;
#[cfg(test)]
mod tests;

pub use self::reader::{Entered, TruthReader};

use crate::log::Span;
use crate::types::LogId;

/// The ids of a log: which entries are there, however long it is, in a few spans.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ids {
    base: LogId,
    spans: Vec<Span>,
}

/// By hand, for a `clone_from` that allocates nothing: copies of the truth are brought up to date all the time.
impl Clone for Ids {
    fn clone(&self) -> Self {
        Self { base: self.base, spans: self.spans.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.base = source.base;
        self.spans.clone_from(&source.spans);
    }
}

impl Ids {
    /// The id before the first.
    pub fn base(&self) -> LogId {
        self.base
    }

    /// The last id, or the base.
    pub fn last(&self) -> LogId {
        self.spans.last().map_or(self.base, |s| LogId::new(s.epoch, s.last))
    }

    /// The spans, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether `id` is the base or one of them.
    pub fn contains(&self, id: LogId) -> bool {
        if id == self.base {
            return true;
        }
        let after = self.spans.partition_point(|s| LogId::new(s.epoch, s.first) <= id);
        after.checked_sub(1).is_some_and(|i| {
            let s = &self.spans[i];
            s.epoch == id.epoch && (s.first..=s.last).contains(&id.counter)
        })
    }

    /// Adds `first` and the following counters up to `last` at the end.
    pub fn push(&mut self, first: LogId, last: u64) {
        match self.spans.last_mut() {
            Some(s) if s.epoch == first.epoch && s.last + 1 == first.counter => s.last = last,
            _ => self.spans.push(Span { epoch: first.epoch, first: first.counter, last }),
        }
    }

    /// Removes everything after `id`.
    pub fn cut(&mut self, id: LogId) {
        while let Some(s) = self.spans.last_mut() {
            if LogId::new(s.epoch, s.first) > id {
                self.spans.pop();
            } else {
                if s.epoch == id.epoch {
                    s.last = s.last.min(id.counter);
                }
                return;
            }
        }
    }

    /// Starts again after `base`.
    pub fn reset(&mut self, base: LogId) {
        self.base = base;
        self.spans.clear();
    }

    /// Forgets what is at or below `base`, which becomes the base.
    pub fn compact(&mut self, base: LogId) {
        self.base = base;
        self.spans.retain_mut(|s| {
            if LogId::new(s.epoch, s.last) <= base {
                return false;
            }
            if s.epoch == base.epoch && s.first <= base.counter {
                s.first = base.counter + 1;
            }
            true
        });
    }
}

/// What a node would find if it lost power now and nothing else went wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Truth<H> {
    /// The protocol's hard state; the default if none was ever saved.
    pub hard: H,
    /// The last id of the newest whole snapshot; zero if there is none.
    pub snapshot: LogId,
    /// The log.
    pub log: Ids,
    /// What was durable when damage to the log was found, of a node that is mending: snapshot and log, once for each time. It
    /// kept its promises when it made them, and those who go by them are in the right. A disk says nothing of this.
    pub had: Vec<(LogId, Ids)>,
}

impl<H: Clone> Clone for Truth<H> {
    fn clone(&self) -> Self {
        Self { hard: self.hard.clone(), snapshot: self.snapshot, log: self.log.clone(), had: self.had.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.follow(source);
        self.had.clone_from(&source.had);
    }
}

impl<H: Clone> Truth<H> {
    /// Takes over what is durable now, and remembers what was lost before.
    pub fn follow(&mut self, now: &Self) {
        self.hard.clone_from(&now.hard);
        self.snapshot = now.snapshot;
        self.log.clone_from(&now.log);
    }
}

impl<H> Truth<H> {
    /// Whether the entry is there: in the log, or within the snapshot (for an entry known to be committed).
    pub fn has(&self, id: LogId) -> bool {
        id <= self.snapshot || self.log.contains(id)
    }

    /// Whether it is, or was until damage took it from a node that is mending.
    pub fn had(&self, id: LogId) -> bool {
        self.has(id) || self.had.iter().any(|(snapshot, log)| id <= *snapshot || log.contains(id))
    }
}
