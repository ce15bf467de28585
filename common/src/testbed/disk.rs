//! A node's disk in the testbed: what is durable, and what waits.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::entries::Entries;
use crate::log::{LogView, Read};
use crate::membership::Membership;
use crate::protocol::{Chunk, Input, Protocol};
use crate::sim::truth::{Ids, Truth};
use crate::types::LogId;

/// What a node has applied.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Commands and their places, as the state machine was given them.
    pub(super) history: Vec<(LogId, Bytes)>,
    /// What the last entry about members said.
    pub(super) membership: Option<(LogId, Membership)>,
}

#[derive(Debug)]
enum Write<H> {
    Append(Entries),
    Truncate(LogId),
    Hard(H),
    Install { snapshot: LogId, keep_tail: bool },
}

/// Durable state, the writes that wait, and snapshots.
#[derive(Debug)]
pub struct Disk<P: Protocol> {
    /// The hard state, durable.
    pub hard: P::Hard,
    /// Nothing becomes durable while set.
    pub held: bool,
    base: LogId,
    runs: Vec<Entries>,
    /// Durable and waiting writes together, for reading.
    all: LogView,
    snapshot: Option<(LogId, Bytes)>,
    incoming: Option<(LogId, Vec<u8>)>,
    waiting: VecDeque<Write<P::Hard>>,
    /// See [`Truth::had`].
    had: Vec<(LogId, Ids)>,
}

impl<P: Protocol> Default for Disk<P> {
    fn default() -> Self {
        Self::with(P::Hard::default(), Vec::new())
    }
}

impl<P: Protocol> Disk<P> {
    /// A disk that holds this hard state and log, durably.
    pub fn with(hard: P::Hard, runs: Vec<Entries>) -> Self {
        let mut all = LogView::new(LogId::ZERO, usize::MAX);
        runs.iter().cloned().for_each(|r| all.append(r));
        Self {
            hard,
            held: false,
            base: LogId::ZERO,
            runs,
            all,
            snapshot: None,
            incoming: None,
            waiting: VecDeque::new(),
            had: Vec::new(),
        }
    }

    /// The durable log, with at most `cache_limit` bytes of applied entries kept in memory later on.
    pub fn log_view(&self, cache_limit: usize) -> LogView {
        let mut log = LogView::new(self.base, cache_limit);
        self.runs.iter().cloned().for_each(|r| log.append(r));
        log
    }

    /// What is durable, as an oracle is shown it.
    pub fn truth(&self) -> Truth<P::Hard> {
        let mut log = Ids::default();
        log.reset(self.base);
        self.runs.iter().for_each(|r| log.push(r.first(), r.last().counter));
        let snapshot = self.snapshot.as_ref().map_or(LogId::ZERO, |s| s.0);
        Truth { hard: self.hard.clone(), snapshot, log, had: self.had.clone() }
    }

    /// The state machine as the newest snapshot has it.
    pub(super) fn state(&self) -> (LogId, State) {
        self.snapshot.as_ref().map_or((LogId::ZERO, State::default()), |(id, bytes)| (*id, decode(bytes)))
    }

    pub(super) fn waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn append(&mut self, e: Entries) {
        self.all.append(e.clone());
        self.waiting.push_back(Write::Append(e));
    }

    pub(super) fn truncate(&mut self, after: LogId) {
        self.all.truncate_after(after);
        self.waiting.push_back(Write::Truncate(after));
    }

    pub(super) fn save(&mut self, hard: P::Hard) {
        self.waiting.push_back(Write::Hard(hard));
    }

    pub(super) fn install(&mut self, snapshot: LogId, keep_tail: bool) {
        self.waiting.push_back(Write::Install { snapshot, keep_tail });
    }

    /// Damage takes every entry after `keep` from the log of a node that is down, and its storage finds it. False if there is
    /// nothing to lose, or the protocol cannot go on from there.
    pub(super) fn damage(&mut self, keep: LogId) -> bool {
        let log = self.log_view(usize::MAX);
        let Some(marked) = P::mend(self.hard.clone()).filter(|_| log.contains(keep) && keep < log.last()) else {
            return false;
        };
        let Truth { snapshot, log, .. } = self.truth();
        self.had.push((snapshot, log));
        self.hard = marked;
        self.runs = self.runs.iter().filter_map(|r| r.upto(keep)).collect();
        self.lose_pending();
        true
    }

    /// What damage took does not count any more.
    pub(super) fn forget_had(&mut self) {
        self.had.clear();
    }

    pub(super) fn lose_pending(&mut self) {
        self.waiting.clear();
        self.incoming = None;
        // As storage recovers: a snapshot may cover entries that were applied but not yet durable in the log.
        if let Some((snapshot, _)) = self.snapshot
            && !self.log_view(usize::MAX).contains(snapshot)
        {
            self.base = snapshot;
            self.runs.clear();
        }
        self.all = self.log_view(usize::MAX);
    }

    /// Makes everything that waits durable, and answers. Gives the new state if a snapshot was installed.
    pub(super) fn write<M>(&mut self, inbox: &mut VecDeque<Input<M>>) -> Option<(LogId, State)> {
        let mut restored = None;
        let mut appended = None;
        while let Some(w) = self.waiting.pop_front() {
            if !matches!(w, Write::Append(_))
                && let Some(upto) = appended.take()
            {
                inbox.push_back(Input::Durable { upto });
            }
            match w {
                Write::Append(e) => {
                    appended = Some(e.last());
                    // A snapshot stored meanwhile may cover some of them.
                    self.runs.extend(e.after(self.base));
                }
                Write::Truncate(after) => {
                    self.runs = self.runs.iter().filter_map(|r| r.upto(after)).collect();
                    inbox.push_back(Input::Durable { upto: after });
                }
                Write::Hard(hard) => {
                    self.hard = hard;
                    inbox.push_back(Input::HardSaved);
                }
                Write::Install { snapshot, keep_tail } => match self.incoming.take() {
                    Some((id, bytes)) if id == snapshot => {
                        self.runs = self.runs.iter().filter_map(|r| r.after(snapshot).filter(|_| keep_tail)).collect();
                        self.base = snapshot;
                        self.all = self.log_view(usize::MAX);
                        let state = decode(&bytes);
                        let membership = state.membership.clone().map(Box::new);
                        restored = Some((snapshot, state));
                        self.snapshot = Some((snapshot, bytes.into()));
                        inbox.push_back(Input::SnapshotInstalled { snapshot, membership });
                    }
                    _ => inbox.push_back(Input::SnapshotRefused { snapshot }),
                },
            }
        }
        if let Some(upto) = appended {
            inbox.push_back(Input::Durable { upto });
        }
        restored
    }

    pub(super) fn fetch(&self, after: LogId, max_bytes: usize) -> Option<Entries> {
        match self.all.read(after, max_bytes) {
            Read::Found(e) => Some(e),
            _ => None,
        }
    }

    /// Stores a snapshot at once (taking one does not wait for the log) and drops the log up to `base`.
    pub(super) fn store_snapshot(&mut self, snapshot: LogId, state: &State, base: LogId) {
        self.snapshot = Some((snapshot, encode(state).into()));
        self.runs = self.runs.iter().filter_map(|r| r.after(base)).collect();
        self.base = base.max(self.base);
        self.all.compact(base);
    }

    pub(super) fn read_snapshot(&self, wanted: Option<LogId>, offset: u64, max: usize) -> Option<Chunk> {
        let (snapshot, bytes) = self.snapshot.as_ref()?;
        let offset = if wanted.is_none_or(|w| w == *snapshot) { offset as usize } else { 0 };
        let end = (offset + max).min(bytes.len());
        let data = if offset <= end { bytes.slice(offset..end) } else { return None };
        Some(Chunk { snapshot: *snapshot, offset: offset as u64, total: bytes.len() as u64, data })
    }

    pub(super) fn write_snapshot<M>(&mut self, chunk: &Chunk) -> Input<M> {
        if chunk.offset == 0 {
            self.incoming = Some((chunk.snapshot, Vec::new()));
        }
        match &mut self.incoming {
            Some((id, bytes)) if *id == chunk.snapshot && bytes.len() as u64 == chunk.offset => {
                bytes.extend_from_slice(&chunk.data);
                Input::SnapshotWritten { snapshot: *id, end: bytes.len() as u64 }
            }
            _ => {
                self.incoming = None;
                Input::SnapshotRefused { snapshot: chunk.snapshot }
            }
        }
    }
}

fn encode(state: &State) -> Vec<u8> {
    let plain: Vec<(LogId, &[u8])> = state.history.iter().map(|(id, b)| (*id, b.as_ref())).collect();
    postcard::to_stdvec(&(&state.membership, plain)).expect("a list of bytes can be encoded")
}

fn decode(bytes: &[u8]) -> State {
    let (membership, plain): (_, Vec<(LogId, Vec<u8>)>) = postcard::from_bytes(bytes).expect("the testbed encoded it");
    State { history: plain.into_iter().map(|(id, b)| (id, b.into())).collect(), membership }
}
