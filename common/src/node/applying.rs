//! From committed to applied: committed entries reach the apply worker in order, each once, in bounded pieces.
//!
//! They are taken from the core's log in memory. Only after a restart with a long log may some be on disk alone; those
//! are read back in pieces through the log worker, under the node number zero, which no node has.

use std::collections::VecDeque;

use super::apply::ApplyOp;
use super::replica::Replica;
use crate::entries::Entries;
use crate::protocol::{Input as CoreInput, Protocol};
use crate::state_machine::Applied;
use crate::storage::LogOp;
use crate::types::{LogId, NodeId};
use crate::{mark, mutant};

/// For whom the replica itself fetches.
pub(super) const MYSELF: NodeId = NodeId(0);

/// How far the state machine is behind.
#[derive(Debug, Default)]
pub(super) struct Applying {
    /// The last entry the core calls committed.
    committed: LogId,
    /// The last entry handed to the worker.
    handed: LogId,
    /// Everything up to here was handed over. Above `handed` when no entry lies in between.
    pub(super) covered: LogId,
    /// Pieces handed over and not applied: last id and weight.
    in_flight: VecDeque<(LogId, usize)>,
    weight: usize,
    fetching: bool,
}

/// What a run costs while it waits; an empty entry is not free.
fn weight(run: &Entries) -> usize {
    run.bytes() + run.len() * 16
}

impl Applying {
    /// The state machine starts from a snapshot.
    pub(super) fn new(snapshot: LogId, committed: LogId) -> Self {
        let committed = committed.max(snapshot);
        Self { committed, handed: snapshot, covered: snapshot, ..Self::default() }
    }

    /// Only for a mutant: the first of these counts as handed over.
    pub(super) fn leave_out(&mut self, runs: &[Entries]) {
        if let Some(run) = runs.first() {
            self.handed = run.first();
            self.covered = self.handed;
        }
    }

    pub(super) fn handed(&self) -> LogId {
        self.handed
    }

    /// What was handed over and is not applied.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn commit(&mut self, upto: LogId) {
        self.committed = self.committed.max(upto);
    }

    /// The state machine is about to be replaced by this snapshot.
    pub(super) fn reset(&mut self, snapshot: LogId) {
        self.handed = snapshot;
        self.committed = self.committed.max(snapshot);
        self.covered = self.covered.max(snapshot);
    }
}

impl<P: Protocol> Replica<P> {
    /// At the end of a turn: hands over what is committed, as far as the worker keeps up.
    pub(super) fn flush_committed(&mut self) {
        if self.applying.covered >= self.applying.committed || self.snapshots.installing() || self.applying.fetching {
            return;
        }
        let Some(runs) = self.core.log().cached(self.applying.handed, self.applying.committed) else {
            self.applying.fetching = true;
            let (after, max_bytes) = (self.applying.handed, self.config.apply_piece_bytes);
            return self.out.log.push(LogOp::Fetch { peer: MYSELF, after, max_bytes });
        };
        let mut piece = Vec::new();
        let mut size = 0;
        for run in runs {
            let mut rest = Some(run);
            while let Some(run) = rest.take() {
                if self.applying.weight + size >= self.config.apply_window_bytes {
                    mark!("common/node/applying#flush_committed.window");
                    return self.hand_over(piece, size);
                }
                let head = run.limit(self.config.apply_piece_bytes);
                rest = run.after(head.last());
                size += weight(&head);
                piece.push(head);
                if size >= self.config.apply_piece_bytes {
                    self.hand_over(std::mem::take(&mut piece), size);
                    size = 0;
                }
            }
        }
        self.hand_over(piece, size);
        self.applying.covered = self.applying.covered.max(self.applying.committed);
    }

    fn hand_over(&mut self, runs: Vec<Entries>, size: usize) {
        let Some(last) = runs.last().map(Entries::last) else { return };
        for run in &runs {
            self.snapshots.handed(run);
        }
        self.applying.handed = last;
        self.applying.covered = self.applying.covered.max(last);
        self.applying.in_flight.push_back((last, size));
        self.applying.weight += size;
        let answers = self.writes.first_waiting().is_some_and(|first| first <= last);
        self.out.apply.push(ApplyOp::Apply { runs, answers });
    }

    /// Answers a fetch of [`flush_committed`](Self::flush_committed).
    pub(super) fn fetched_for_applying(&mut self, after: LogId, entries: Option<Entries>) {
        self.applying.fetching = false;
        if after != self.applying.handed {
            return;
        }
        match entries.and_then(|e| e.upto(self.applying.committed)) {
            Some(run) => {
                let size = weight(&run);
                self.hand_over(vec![run], size);
            }
            None => self.halt(format!("committed entries after {after} are not in the log on disk")),
        }
    }

    /// The worker applied a piece.
    pub(super) fn applied(&mut self, upto: LogId, answers: Vec<Applied>) {
        while let Some((_, size)) = self.applying.in_flight.pop_front_if(|(last, _)| *last <= upto) {
            if !mutant!("C20") {
                self.applying.weight -= size;
            }
        }
        self.applied_answers(answers);
        self.step(CoreInput::Applied { upto });
    }
}
