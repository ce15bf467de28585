//! Writes: from a client's request to its answer.
//!
//! Writes that came in during a turn become one proposal, bounded in entries and bytes. Raft and ZAB both order and store
//! a proposal of a thousand commands for little more than one of a single command, so this is where throughput under
//! load comes from; while the limit of proposals in flight is reached, later writes gather for the next one.
//!
//! A write is answered when its entry was applied here: committed alone would not give the state machine's answer. A
//! leader that loses its office cannot tell which of its proposals will survive, and answers `Unknown` at once.

use std::collections::VecDeque;

use bytes::Bytes;

use super::replica::Replica;
use super::requests::Ticket;
use crate::client::wire::{Answer, Envelope};
use crate::entries::{Batch, BatchBuilder};
use crate::protocol::{Input as CoreInput, Protocol, Refusal};
use crate::state_machine::Applied;
use crate::types::{LogId, Micros, Role};
use crate::{mark, mutant};

/// A write that is not in any log yet.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) ticket: Ticket,
    pub(super) body: Bytes,
    /// Until when a leader may be found for it.
    deadline: Micros,
}

/// The writes of this node's clients and, on a leader, of those who forwarded theirs.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Not proposed and not forwarded, in order of arrival (and so of deadline).
    queue: VecDeque<Queued>,
    /// Came back from a leader that leads no more; they are older than all of `queue`.
    returned: VecDeque<Queued>,
    /// Proposed here: their places in the log, ascending.
    outstanding: VecDeque<(LogId, Ticket)>,
    /// The last id of each proposal that is not committed.
    in_flight: VecDeque<LogId>,
    builder: BatchBuilder,
    /// Nothing is tried before this: the leader refused.
    pause: Option<Micros>,
    /// Why it did, if it is this node and goes on leading.
    why: Option<Refusal>,
    /// What the core said to the proposal in hand.
    pub(super) verdict: Option<Result<(LogId, LogId), Refusal>>,
}

impl Writes {
    /// The first proposed entry whose applying somebody waits for.
    pub(super) fn first_waiting(&self) -> Option<LogId> {
        self.outstanding.front().map(|(at, _)| *at)
    }

    /// Everything up to `upto` is committed: those proposals are no longer in flight.
    pub(super) fn committed(&mut self, upto: LogId) {
        while self.in_flight.front().is_some_and(|last| *last <= upto) {
            self.in_flight.pop_front();
        }
    }

    /// Something else was proposed here, and ends there.
    pub(super) fn proposed(&mut self, last: LogId) {
        self.in_flight.push_back(last);
    }

    /// Proposals that are not committed.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Who leads has changed: whoever refused does not matter any more.
    pub(super) fn resume(&mut self) {
        (self.pause, self.why) = (None, None);
    }
}

impl<P: Protocol> Replica<P> {
    /// Takes in a write; it goes on at the end of the turn.
    pub(super) fn write(&mut self, ticket: Ticket, body: Bytes) {
        let deadline = self.now.after(self.config.hold());
        self.writes.queue.push_back(Queued { ticket, body, deadline });
    }

    /// The leader refused a forwarded write, as it does not lead: it waits here for the next one.
    pub(super) fn write_returned(&mut self, write: Queued) {
        mark!("common/node/proposals#write_returned");
        self.writes.returned.push_back(write);
        self.writes.pause = Some(self.now.after(self.config.retry()));
    }

    /// At the end of a turn: proposes or forwards what waits, or gives it up when it waited too long for a leader.
    pub(super) fn flush_writes(&mut self) {
        while let Some(write) = self.writes.returned.pop_back() {
            self.writes.queue.push_front(write);
        }
        if self.writes.pause.is_some_and(|until| self.now >= until) {
            self.writes.resume();
        }
        if self.writes.pause.is_none() {
            if self.led.role == Role::Leading {
                self.propose();
            } else if let Some(leader) = self.forward_to() {
                for write in std::mem::take(&mut self.writes.queue) {
                    // What a client who left has not yet had proposed need not be.
                    if self.requests.is_open(&write.ticket) {
                        self.forward_write(leader, write);
                    } else {
                        mark!("common/node/proposals#flush_writes.left");
                        self.refuse(write.ticket, Refusal::Busy);
                    }
                }
            }
        }
        if self.led.role != Role::Leading || self.writes.pause.is_some() {
            while let Some(write) = self.writes.queue.pop_front_if(|w| w.deadline <= self.now) {
                mark!("common/node/proposals#flush_writes.expired");
                let why = self.writes.why.clone().unwrap_or(Refusal::NotLeader { leader: self.led.leader });
                self.refuse(write.ticket, why);
            }
        }
    }

    fn propose(&mut self) {
        while self.writes.in_flight.len() < self.config.batches_in_flight
            && let Some((batch, n)) = self.next_batch()
        {
            self.writes.verdict = None;
            self.step(CoreInput::Propose { batch });
            match self.writes.verdict.take() {
                Some(Ok((first, last))) => self.accepted(n, first, last),
                Some(Err(Refusal::NotLeader { .. } | Refusal::LeaderChanged)) => {
                    mark!("common/node/proposals#propose.not_leading");
                    self.writes.pause = Some(self.now.after(self.config.retry()));
                    return;
                }
                // It will be over soon, and then they go on from here, or to the next leader.
                Some(Err(why @ Refusal::Transferring { .. })) => {
                    mark!("common/node/proposals#propose.transferring");
                    self.writes.pause = Some(self.now.after(self.config.retry()));
                    self.writes.why = Some(why);
                    return;
                }
                Some(Err(why)) => {
                    mark!("common/node/proposals#propose.refused");
                    self.counters.requests_shed.add(n as u64);
                    for _ in 0..n {
                        let Some(write) = self.writes.queue.pop_front() else { break };
                        self.refuse(write.ticket, why.clone());
                    }
                }
                None => return self.halt("the protocol did not answer a proposal".to_owned()),
            }
            if self.led.role != Role::Leading {
                return self.abandon_proposals();
            }
        }
    }

    /// The next proposal: the first writes that fit in one. They stay queued until the core has taken it.
    fn next_batch(&mut self) -> Option<(Batch, usize)> {
        let Writes { queue, builder, .. } = &mut self.writes;
        let first = queue.front()?;
        let second_fits = queue.get(1).is_some_and(|w| first.body.len() + w.body.len() <= self.config.batch_bytes);
        if !second_fits || self.config.batch_entries == 1 {
            return Some((Batch::single(first.body.clone()), 1));
        }
        for write in queue.iter().take(self.config.batch_entries) {
            if builder.bytes() + write.body.len() > self.config.batch_bytes && !builder.is_empty() {
                break;
            }
            builder.push(&write.body);
        }
        let n = builder.len();
        Some((builder.take(), n))
    }

    fn accepted(&mut self, n: usize, first: LogId, last: LogId) {
        if first.plus(n as u64 - 1) != last {
            return self.halt(format!("the protocol placed {n} commands at {first} to {last}"));
        }
        self.counters.batches_proposed.add(1);
        self.counters.commands_proposed.add(n as u64);
        self.writes.in_flight.push_back(last);
        for i in 0..n as u64 {
            let Some(write) = self.writes.queue.pop_front() else { break };
            // (A put of this store: no other command has an answer that is known before.)
            let now_and_then = || first.plus(i).counter.is_multiple_of(64) && is_put(&write.body);
            if mutant!("C01") || mutant!("C24") && now_and_then() {
                self.answer(write.ticket, Answer::Written { at: first.plus(i) }, Bytes::from_static(&[0]));
                continue;
            }
            self.writes.outstanding.push_back((first.plus(i), write.ticket));
        }
    }

    /// The state machine's answers, in the order of the log.
    pub(super) fn applied_answers(&mut self, answers: Vec<Applied>) {
        if mutant!("C23") {
            return self.answers_by_index(&answers);
        }
        for Applied { at, answer, body } in answers {
            while let Some((place, ticket)) = self.writes.outstanding.pop_front_if(|(place, _)| *place <= at) {
                if place == at {
                    let again = matches!(answer, Answer::Written { at: first } if first != place);
                    let answer = if mutant!("C25") && again { Answer::Unknown } else { answer };
                    self.answer(ticket, answer, body);
                    break;
                }
                // Only if the worker left an answer out. Better no answer than another's.
                self.answer(ticket, Answer::Unknown, Bytes::new());
            }
        }
    }

    /// For a seeded bug: whatever stands at its index is a write's answer.
    fn answers_by_index(&mut self, answers: &[Applied]) {
        let Some(newest) = answers.last().map(|a| a.at) else { return };
        for (place, ticket) in std::mem::take(&mut self.writes.outstanding) {
            match answers.iter().find(|a| a.at.counter == place.counter) {
                Some(Applied { answer, body, .. }) => self.answer(ticket, answer.clone(), body.clone()),
                None if place.epoch < newest.epoch => self.answer(ticket, Answer::Unknown, Bytes::new()),
                None => self.writes.outstanding.push_back((place, ticket)),
            }
        }
    }

    /// This node leads no more: its proposals may be committed by the next leader, or be lost.
    pub(super) fn abandon_proposals(&mut self) {
        self.writes.in_flight.clear();
        if mutant!("C23") {
            return;
        }
        for (_, ticket) in std::mem::take(&mut self.writes.outstanding) {
            mark!("common/node/proposals#abandon_proposals.unknown");
            if mutant!("C03") {
                self.refuse(ticket, Refusal::LeaderChanged);
                continue;
            }
            self.answer(ticket, Answer::Unknown, Bytes::new());
        }
    }

    /// When a waiting write needs attention if nothing else happens.
    pub(super) fn writes_wake_at(&self) -> Option<Micros> {
        let first = self.writes.queue.front().or(self.writes.returned.front())?;
        match self.writes.pause {
            Some(until) => Some(until.min(first.deadline)),
            None if self.led.role == Role::Leading => None,
            None => Some(first.deadline),
        }
    }
}

/// For a seeded bug: whether a write's answer is the same whatever the state.
fn is_put(body: &[u8]) -> bool {
    matches!(postcard::take_from_bytes::<Envelope>(body), Ok((Envelope::Write { .. }, [0, ..])))
}
