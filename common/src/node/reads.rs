//! Reads: how long each must wait before the state machine may answer it.
//!
//! A linearizable read sees every write answered before it was asked. So it waits for a barrier which the core began after
//! the read came in, and then until everything up to the barrier's place is applied here. Raft calls this ReadIndex
//! (section 6.4 of the dissertation); ZAB's `sync` becomes it by a round to a quorum. All reads that wait at the end of a
//! turn share one barrier. A local read asks nobody, and waits only for what its client has already seen.
//!
//! "Applied here" needs no answer from the apply worker: it works in order, so a query handed over after the
//! entries sees them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::apply::ApplyOp;
use super::replica::Replica;
use super::requests::Ticket;
use crate::client::wire::ReadMode;
use crate::protocol::{Input as CoreInput, Protocol, Refusal, Trust};
use crate::types::{LogId, Micros};
use crate::{mark, mutant};

#[derive(Debug)]
struct Read {
    ticket: Ticket,
    query: Bytes,
    at_least: LogId,
    /// What its barrier may rest on.
    trust: Trust,
    /// Asks nobody.
    local: bool,
    attempts: u32,
    deadline: Micros,
    /// Until when it may wait for a leader, from its arrival.
    hold: Micros,
}

/// The reads of this node's clients.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Waiting for a barrier to be asked.
    fresh: VecDeque<Read>,
    /// Barriers asked and not answered: their numbers, ascending, and who waits for them.
    barriers: VecDeque<(u64, Vec<Read>)>,
    /// Waiting until so much is applied.
    waiting: BTreeMap<LogId, Vec<Read>>,
    next_barrier: u64,
    /// No barrier is asked before this: the last one failed.
    pause: Option<Micros>,
    /// When reads are next looked through for those that waited too long.
    check: Option<Micros>,
}

impl Reads {
    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.barriers.is_empty() && self.waiting.is_empty()
    }

    /// Barriers that are not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.barriers.len()
    }

    /// The next barrier's number.
    pub(super) fn number(&mut self) -> u64 {
        self.next_barrier += 1;
        self.next_barrier - 1
    }

    /// Who leads has changed: a barrier may succeed now.
    pub(super) fn resume(&mut self) {
        self.pause = None;
    }
}

impl<P: Protocol> Replica<P> {
    /// Takes in a read.
    pub(super) fn read(&mut self, ticket: Ticket, mode: ReadMode, at_least: LogId, query: Bytes) {
        let deadline = self.now.after(Micros(self.config.read_us));
        let hold = self.now.after(self.config.hold());
        let trust = match mode {
            ReadMode::Lease => Trust::Clocks,
            ReadMode::Sync => Trust::Leader,
            ReadMode::Linearizable | ReadMode::Local => Trust::Quorum,
        };
        let local = mode == ReadMode::Local;
        let read = Read { ticket, query, at_least, trust, local, attempts: 0, deadline, hold };
        match mode {
            ReadMode::Linearizable | ReadMode::Lease | ReadMode::Sync if !mutant!("C05") => {
                self.reads.fresh.push_back(read);
            }
            _ => {
                if at_least > self.applying.covered {
                    mark!("common/node/reads#read.waits");
                }
                self.freshness.want();
                let at_least = if mutant!("C08") { LogId::ZERO } else { at_least };
                self.reads.waiting.entry(at_least).or_default().push(read);
            }
        }
    }

    /// At the end of a turn: asks one barrier for all who wait for one, and gives up those who waited too long.
    pub(super) fn flush_reads(&mut self) {
        self.expire_reads();
        if self.reads.pause.is_some_and(|until| self.now < until) {
            return;
        }
        self.reads.pause = None;
        if self.reads.fresh.is_empty() {
            return;
        }
        if mutant!("C06")
            && let Some((_, group)) = self.reads.barriers.back_mut()
        {
            return group.extend(self.reads.fresh.drain(..));
        }
        // A barrier that rests on a lease is none for those who do not trust clocks, and so on.
        let fresh = std::mem::take(&mut self.reads.fresh);
        let mut groups = [(Trust::Clocks, Vec::new()), (Trust::Leader, Vec::new()), (Trust::Quorum, Vec::new())];
        for read in fresh {
            let group = groups.iter_mut().find(|(trust, _)| *trust == read.trust);
            if let Some((_, group)) = group {
                group.push(read);
            }
        }
        for (trust, group) in groups {
            if self.reads.barriers.len() >= self.config.barriers_in_flight {
                mark!("common/node/reads#flush_reads.full");
                self.reads.fresh.extend(group);
            } else if !group.is_empty() {
                self.ask_barrier(trust, group);
            }
        }
    }

    fn ask_barrier(&mut self, trust: Trust, group: Vec<Read>) {
        let id = self.reads.number();
        if trust == Trust::Quorum {
            self.freshness.asks(id, self.now);
        }
        if group.len() > 1 {
            mark!("common/node/reads#ask_barrier.shared");
        }
        self.reads.barriers.push_back((id, group));
        self.step(CoreInput::ReadBarrier { id, trust });
    }

    fn barrier(&mut self, id: u64) -> Vec<Read> {
        match self.reads.barriers.binary_search_by_key(&id, |b| b.0) {
            Ok(i) => self.reads.barriers.remove(i).map(|b| b.1).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// A barrier is confirmed: its reads may go on once everything up to `at` is applied.
    pub(super) fn read_ready(&mut self, id: u64, at: LogId) {
        if at > self.applying.covered {
            mark!("common/node/reads#read_ready.waits");
        }
        self.freshness.confirmed(id, at, self.now);
        for read in self.barrier(id) {
            let at = if mutant!("C07") { LogId::ZERO } else { at.max(read.at_least) };
            self.reads.waiting.entry(at).or_default().push(read);
        }
    }

    /// A barrier failed: its reads wait for the next one, unless they tried often or long enough.
    pub(super) fn read_failed(&mut self, id: u64, why: &Refusal) {
        self.freshness.failed(id);
        for mut read in self.barrier(id).into_iter().rev() {
            read.attempts += 1;
            if read.attempts >= self.config.read_attempts || self.now >= read.hold {
                mark!("common/node/reads#read_failed.refused");
                self.refuse(read.ticket, why.clone());
            } else {
                mark!("common/node/reads#read_failed.again");
                self.reads.fresh.push_front(read);
                self.reads.pause = Some(self.now.after(self.config.retry()));
            }
        }
    }

    /// Hands over the queries whose entries were handed over: all up to `covered`.
    pub(super) fn release_reads(&mut self, covered: LogId) {
        while let Some(entry) = self.reads.waiting.first_entry().filter(|e| *e.key() <= covered) {
            let ready = entry.remove();
            let queries =
                ready.into_iter().map(|Read { ticket, local, query, .. }| ApplyOp::Query { ticket, local, query });
            self.out.apply.extend(queries);
        }
    }

    /// Looks through all reads now and then, rather than keeping each one's time.
    fn expire_reads(&mut self) {
        if self.reads.is_empty() {
            self.reads.check = None;
            return;
        }
        let again = self.now.after(Micros(self.config.read_us.div_ceil(4)));
        if self.now < *self.reads.check.get_or_insert(again) {
            return;
        }
        self.reads.check = Some(again);
        let Reads { fresh, barriers, waiting, .. } = &mut self.reads;
        let mut kept = VecDeque::new();
        let mut late = Vec::new();
        for read in fresh.drain(..) {
            if read.deadline <= self.now { late.push(read) } else { kept.push_back(read) }
        }
        *fresh = kept;
        for group in barriers.iter_mut().map(|b| &mut b.1).chain(waiting.values_mut()) {
            late.extend(group.extract_if(.., |r| r.deadline <= self.now));
        }
        waiting.retain(|_, group| !group.is_empty());
        // A barrier nobody waits for any more must not keep others from being asked.
        barriers.retain(|(_, group)| !group.is_empty());
        for read in late {
            mark!("common/node/reads#expire_reads.late");
            self.refuse(read.ticket, Refusal::NotLeader { leader: self.led.leader });
        }
    }

    /// When a waiting read needs attention if nothing else happens.
    pub(super) fn reads_wake_at(&self) -> Option<Micros> {
        let retry = self.reads.pause.filter(|_| !self.reads.fresh.is_empty());
        let check = self.reads.check.filter(|_| !self.reads.is_empty());
        [retry, check].into_iter().flatten().min()
    }
}
