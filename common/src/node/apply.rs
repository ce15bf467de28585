//! What the apply worker is asked, and what it answers. It owns the state machine and works through its operations in
//! order, which is all a read needs to see the entries that were handed over before it.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use super::requests::Ticket;
use crate::entries::Entries;
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::mutant;
use crate::state_machine::{Applied, Applier, Frozen, StateMachine};
use crate::types::LogId;

/// An operation on the state machine.
pub enum ApplyOp {
    /// Apply these committed runs, in order. Answered by `Applied`.
    Apply {
        /// Consecutive runs of the log.
        runs: Vec<Entries>,
        /// Whether somebody here waits for an answer to one of them.
        answers: bool,
    },
    /// Answer a query from the state as it is then. Answered by `Answer`.
    Query {
        /// Who asked; comes back with the answer.
        ticket: Ticket,
        /// Whether it is a local read; likewise.
        local: bool,
        /// What.
        query: Bytes,
    },
    /// Say how the state is. Answered by `Described`.
    Describe {
        /// Who asked; comes back with the answer.
        ticket: Ticket,
    },
    /// Say whether a session was last used at or before an entry. Answered by `Idle`.
    Idle {
        /// Which.
        upto: LogId,
    },
    /// Freeze the state as it is then. Answered by `Frozen`.
    Freeze,
    /// Replace the state by this stored snapshot. Answered by `Restored`.
    Restore {
        /// Which.
        snapshot: LogId,
    },
}

impl fmt::Debug for ApplyOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply { runs, answers } => write!(f, "Apply({runs:?}, answers: {answers})"),
            Self::Query { ticket, .. } => write!(f, "Query({ticket:?})"),
            Self::Describe { ticket } => write!(f, "Describe({ticket:?})"),
            Self::Idle { upto } => write!(f, "Idle({upto})"),
            Self::Freeze => write!(f, "Freeze"),
            Self::Restore { snapshot } => write!(f, "Restore({snapshot})"),
        }
    }
}

/// What the apply worker answers, in the order it was asked.
pub enum ApplyEvent {
    /// Everything up to here is applied.
    Applied {
        /// The last entry of one `Apply`.
        upto: LogId,
        /// One for each of its commands, in order; empty if nobody waits.
        answers: Vec<Applied>,
    },
    /// Answers `Query`.
    Answer {
        /// As asked.
        ticket: Ticket,
        /// As asked.
        local: bool,
        /// Everything up to here was applied.
        at: LogId,
        /// What the state machine said.
        body: Bytes,
    },
    /// Answers `Describe`.
    Described {
        /// As asked.
        ticket: Ticket,
        /// Everything up to here was applied.
        at: LogId,
        /// The state's hash.
        hash: u64,
        /// How many client sessions are known.
        sessions: u64,
    },
    /// Answers `Idle`.
    Idle {
        /// As asked.
        upto: LogId,
        /// Whether there is one.
        any: bool,
    },
    /// Answers `Freeze`.
    Frozen {
        /// The last entry in it.
        at: LogId,
        /// The state, to be written out.
        state: Box<dyn Frozen>,
    },
    /// Answers `Restore`.
    Restored {
        /// As asked.
        snapshot: LogId,
        /// Who belongs to the cluster, and the entry that says so, if it covers one that does.
        membership: Option<(LogId, Membership)>,
    },
    /// A stored snapshot could not be read, or does not hold what this state machine understands.
    Failed(String),
}

impl fmt::Debug for ApplyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { upto, answers } => write!(f, "Applied({upto}, {} answers)", answers.len()),
            Self::Answer { ticket, at, .. } => write!(f, "Answer({ticket:?} at {at})"),
            Self::Described { ticket, at, .. } => write!(f, "Described({ticket:?} at {at})"),
            Self::Idle { upto, any } => write!(f, "Idle({upto}, {any})"),
            Self::Frozen { at, .. } => write!(f, "Frozen({at})"),
            Self::Restored { snapshot, .. } => write!(f, "Restored({snapshot})"),
            Self::Failed(why) => write!(f, "Failed({why})"),
        }
    }
}

/// Opens a stored snapshot for reading, by its last id.
pub type OpenSnapshot = Box<dyn FnMut(LogId) -> io::Result<Box<dyn Read>> + Send>;

/// The owner of the state machine: a value which carries out operations one by one.
pub struct ApplyWorker<S: StateMachine> {
    applier: Applier<S>,
    open: OpenSnapshot,
    counters: Arc<Counters>,
}

impl<S: StateMachine> fmt::Debug for ApplyWorker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplyWorker").field("applied", &self.applier.applied()).finish_non_exhaustive()
    }
}

impl<S: StateMachine> ApplyWorker<S> {
    /// A worker with a machine in its first state. A node which starts again follows with [`restore`](Self::restore).
    pub fn new(applier: Applier<S>, open: OpenSnapshot, counters: Arc<Counters>) -> Self {
        Self { applier, open, counters }
    }

    /// The state machine and its sessions.
    pub fn applier(&self) -> &Applier<S> {
        &self.applier
    }

    /// Replaces the state by a stored snapshot. On an error the state is as before.
    pub fn restore(&mut self, snapshot: LogId) -> io::Result<()> {
        let mut input = (self.open)(snapshot)?;
        let found = self.applier.restore(&mut *input)?;
        if found == snapshot {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("it covers the log up to {found}")))
    }

    /// Carries out one operation; what it answers is added to `out`.
    pub fn run(&mut self, op: ApplyOp, out: &mut Vec<ApplyEvent>) {
        match op {
            ApplyOp::Apply { runs, answers: wanted } => {
                let mut answers = Vec::new();
                for run in &runs {
                    if wanted {
                        self.applier.apply(run, &mut answers);
                    } else {
                        self.applier.apply_unasked(run);
                    }
                    self.counters.entries_applied.add(run.len() as u64);
                }
                out.push(ApplyEvent::Applied { upto: self.applier.applied(), answers });
            }
            ApplyOp::Query { ticket, local, query } => {
                let (mut at, body) = (self.applier.applied(), self.applier.query(&query));
                if mutant!("C14") {
                    at = LogId::ZERO;
                }
                out.push(ApplyEvent::Answer { ticket, local, at, body });
            }
            ApplyOp::Describe { ticket } => {
                let (at, hash, sessions) = (self.applier.applied(), self.applier.hash(), self.applier.sessions());
                out.push(ApplyEvent::Described { ticket, at, hash, sessions });
            }
            ApplyOp::Idle { upto } => {
                let any = self.applier.has_idle(upto);
                if mutant!("C40") {
                    self.applier.expire(upto);
                }
                out.push(ApplyEvent::Idle { upto, any });
            }
            ApplyOp::Freeze => {
                out.push(ApplyEvent::Frozen { at: self.applier.applied(), state: self.applier.freeze() });
            }
            ApplyOp::Restore { snapshot } => out.push(match self.restore(snapshot) {
                Ok(()) => ApplyEvent::Restored { snapshot, membership: self.applier.membership().cloned() },
                Err(e) => ApplyEvent::Failed(format!("the snapshot up to {snapshot} cannot be loaded: {e}")),
            }),
        }
    }
}
