//! How stale a local read may be, at most.
//!
//! A read barrier that was asked at some time and confirmed by a quorum names a place in the log such that whoever has
//! applied the log up to there has everything that was answered before that time. It does not matter who leads then or
//! later, nor how long the answer took. So every confirmed barrier is kept for a while with the time at which it was
//! *asked*, and a local read, which is answered at once, is told how long ago the newest of those was asked whose place is
//! applied here. Having heard from a leader proves nothing: it may be one that was deposed.
//!
//! If nobody asks for barriers, a local read makes its node ask for one, at most once in
//! [`fresh_us`](super::ReplicaConfig::fresh_us), and does not wait for it: the next local read profits. A node at which
//! nobody reads asks nothing.
//!
//! Only this node's own clock is used, and only to measure how long ago something was. What that rests on: it does not run
//! slower than real time, beyond the error that the caller allows for. A machine that is suspended has a clock that stands
//! still; the bound of the first reads afterwards is too low by that time.

use std::collections::VecDeque;

use super::replica::Replica;
use crate::protocol::{Input as CoreInput, Protocol, Trust};
use crate::types::{LogId, Micros};
use crate::{mark, mutant};

/// Barriers of which the time is kept, and confirmed ones whose place is not yet applied.
const KEPT: usize = 16;

/// What is known of how fresh this node is.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// A local read would like to know.
    wanted: bool,
    /// When a barrier was asked last.
    last: Option<Micros>,
    /// Barriers that are not answered, ascending: their numbers, and when they were asked.
    asked: VecDeque<(u64, Micros)>,
    /// Whoever has applied so much has everything that was answered before that time. Both ascend.
    known: VecDeque<(Micros, LogId)>,
}

impl Freshness {
    /// A local read comes.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// A barrier is asked, which will rest on a quorum.
    pub(super) fn asks(&mut self, id: u64, now: Micros) {
        self.last = Some(now);
        if self.asked.len() < KEPT {
            self.asked.push_back((id, now));
        }
    }

    fn take(&mut self, id: u64) -> Option<Micros> {
        let at = self.asked.iter().position(|(asked, _)| *asked == id)?;
        self.asked.remove(at).map(|(_, at)| at)
    }

    /// It failed.
    pub(super) fn failed(&mut self, id: u64) {
        self.take(id);
    }

    /// It is confirmed.
    pub(super) fn confirmed(&mut self, id: u64, place: LogId, now: Micros) {
        let Some(mut asked) = self.take(id) else { return };
        if mutant!("C44") {
            asked = now;
        }
        // An older one is of use as long as it asks for less; one that asks for as much is of none.
        while self.known.pop_back_if(|(at, upto)| *at <= asked && *upto >= place).is_some() {}
        if self.known.back().is_none_or(|(at, _)| *at < asked) && self.known.len() < KEPT {
            self.known.push_back((asked, place));
        }
    }

    /// When what this node has was all that was answered, for certain.
    fn since(&mut self, applied: LogId) -> Option<Micros> {
        while self.known.get(1).is_some_and(|(_, place)| *place <= applied) {
            self.known.pop_front();
        }
        let (asked, place) = if mutant!("C45") { *self.known.back()? } else { *self.known.front()? };
        if place > applied {
            mark!("common/node/freshness#since.not_applied");
        }
        (place <= applied || mutant!("C45")).then_some(asked)
    }
}

impl<P: Protocol> Replica<P> {
    /// At the end of a turn: asks a barrier for the local reads that came, if none was asked lately.
    pub(super) fn flush_freshness(&mut self) {
        let (every, now) = (self.config.fresh_us, self.now);
        let fresh = &mut self.freshness;
        let lately = fresh.last.is_some_and(|last| now.since(last).0 < every);
        if !std::mem::take(&mut fresh.wanted) || every == 0 || lately || fresh.asked.len() >= KEPT {
            return;
        }
        mark!("common/node/freshness#flush_freshness");
        let id = self.reads.number();
        self.freshness.asks(id, now);
        self.step(CoreInput::ReadBarrier { id, trust: Trust::Quorum });
    }

    /// The most, in microseconds, by which a local read's answer from this state is behind what was answered before it was
    /// asked. None if nothing is known.
    pub(super) fn staleness(&mut self, applied: LogId) -> Option<u64> {
        let since = self.freshness.since(applied)?;
        mark!("common/node/freshness#staleness.known");
        Some(self.now.since(since).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(counter: u64) -> LogId {
        LogId::new(1, counter)
    }

    #[test]
    fn the_newest_that_is_applied_counts() {
        let mut f = Freshness::default();
        assert_eq!(f.since(id(9)), None);
        for n in 1..=3 {
            f.asks(n, Micros(10 * n));
        }
        f.confirmed(1, id(5), Micros(40));
        f.confirmed(2, id(7), Micros(41));
        f.confirmed(3, id(9), Micros(42));
        assert_eq!(f.since(id(4)), None);
        assert_eq!(f.since(id(6)), Some(Micros(10)));
        assert_eq!(f.since(id(8)), Some(Micros(20)));
        assert_eq!(f.since(id(9)), Some(Micros(30)));
        assert_eq!((f.known.len(), f.asked.len()), (1, 0));
    }

    #[test]
    fn late_failed_and_unknown_ones_change_nothing() {
        let mut f = Freshness::default();
        for n in 1..=4 {
            f.asks(n, Micros(10 * n));
        }
        f.failed(4);
        f.confirmed(4, id(1), Micros(50));
        f.confirmed(9, id(1), Micros(50));
        f.confirmed(3, id(5), Micros(50));
        f.confirmed(2, id(4), Micros(51));
        assert_eq!(f.since(id(4)), None, "the older one, which asks for less, came too late to be kept");
        assert_eq!(f.since(id(5)), Some(Micros(30)));
        // The same place, later: the earlier one is of no more use.
        f.asks(5, Micros(60));
        f.confirmed(5, id(5), Micros(61));
        assert_eq!((f.since(id(5)), f.known.len()), (Some(Micros(60)), 1));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_first_applied_stays() {
        let mut f = Freshness::default();
        for n in 1..=1000 {
            f.asks(n, Micros(n));
            f.confirmed(n, id(n), Micros(n));
        }
        for n in 2000..3000 {
            f.asks(n, Micros(n));
        }
        assert_eq!((f.known.len(), f.asked.len()), (KEPT, KEPT));
        assert_eq!(f.since(id(1)), Some(Micros(1)));
        assert_eq!(f.since(id(1000)), Some(Micros(16)));
    }
}
