//! Snapshots: when this node takes one of its own state, and how it takes over one that a leader sent.
//!
//! **Own.** After so many entries or bytes, and of a large state not before the log has grown by as much as the last one held,
//! so that disk and memory are not busy with copies of what hardly changed: the apply worker freezes the state (no time that grows with it), the snapshot
//! worker writes it aside, and only when it is durable is the log cut, leaving a tail for slow followers.
//!
//! **Received.** Pieces are written aside as they come. When the last one is there: verify and rename the file, then
//! start the log after it, then load it, and then tell the core. A crash before the rename leaves the old state; one
//! after it finds a snapshot that the log does not reach or does not contain, and recovery starts the log there. Either
//! way the node wakes up with a state it really had (Raft section 7; ZAB's SNAP).

use std::collections::VecDeque;

use super::apply::ApplyOp;
use super::applying::MYSELF;
use super::replica::Replica;
use crate::entries::Entries;
use crate::log::LogView;
use crate::membership::Membership;
use crate::protocol::{Input as CoreInput, Protocol};
use crate::state_machine::Frozen;
use crate::storage::{LogOp, SnapshotEvent, SnapshotOp};
use crate::types::{LogId, NodeId};
use crate::{mark, mutant};

/// A snapshot of fewer bytes is cheap: whenever it is due it is taken.
const SMALL: u64 = 4 << 20;
/// What an entry takes in the log beside its payload, in bytes, about.
const ENTRY: u64 = 32;

#[derive(Debug, Default)]
enum Own {
    #[default]
    Idle,
    Freezing,
    Storing,
}

#[derive(Debug, Default)]
enum Install {
    #[default]
    None,
    Finishing {
        snapshot: LogId,
        keep_tail: bool,
    },
    Resetting {
        snapshot: LogId,
    },
    Restoring {
        snapshot: LogId,
    },
}

/// Where both stand.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    own: Own,
    install: Install,
    /// The newest snapshot this node has.
    newest: LogId,
    /// It turned out to be unusable when a peer needed it: another takes its place, even of the same state.
    renew: bool,
    /// The length of the newest that was stored here, in bytes; 0 if none was since the start.
    length: u64,
    /// Entries and bytes applied since.
    entries: u64,
    bytes: u64,
    /// For each `Compact` asked: the snapshot to tell the core of with the answer.
    compacting: VecDeque<Option<LogId>>,
}

impl Snapshots {
    pub(super) fn new(newest: LogId) -> Self {
        Self { newest, ..Self::default() }
    }

    /// A run goes to the state machine.
    pub(super) fn handed(&mut self, run: &Entries) {
        self.entries += run.len() as u64;
        self.bytes += run.bytes() as u64;
    }

    /// Whether the log has grown by enough to pay for another one.
    fn worth_it(&self) -> bool {
        self.length < SMALL || self.bytes + self.entries * ENTRY >= self.length
    }

    /// Whether a received snapshot is being installed: nothing else may touch log or state machine.
    pub(super) fn installing(&self) -> bool {
        !matches!(self.install, Install::None)
    }

    /// Whether the log's restart after a received snapshot is what a `Durable` speaks of.
    pub(super) fn resetting(&self) -> Option<LogId> {
        match self.install {
            Install::Resetting { snapshot } => Some(snapshot),
            _ => None,
        }
    }
}

/// The id that lies `n` entries before `id` in the log; its base when there are fewer.
fn back(log: &LogView, id: LogId, n: u64) -> LogId {
    let mut left = n;
    let mut end = id;
    for span in log.spans().iter().rev() {
        let (first, last) = (LogId::new(span.epoch, span.first), LogId::new(span.epoch, span.last).min(end));
        if first > end {
            continue;
        }
        let in_span = last.counter - first.counter + 1;
        if left < in_span {
            return LogId::new(span.epoch, last.counter - left);
        }
        left -= in_span;
        end = first;
    }
    log.base()
}

impl<P: Protocol> Replica<P> {
    /// At the end of a turn: takes a snapshot if enough was applied since the last one, or the last one is of no use.
    pub(super) fn flush_snapshots(&mut self) {
        let s = &mut self.snapshots;
        let due = s.entries >= self.config.snapshot_entries || s.bytes >= self.config.snapshot_bytes;
        if (s.renew || due && s.worth_it()) && matches!(s.own, Own::Idle) && !s.installing() {
            s.own = Own::Freezing;
            (s.entries, s.bytes) = (0, 0);
            self.out.apply.push(ApplyOp::Freeze);
        }
    }

    /// The state stands still, as of `at`.
    pub(super) fn frozen(&mut self, at: LogId, state: Box<dyn Frozen>) {
        let s = &self.snapshots;
        if s.installing() || at < s.newest || (at == s.newest && !s.renew) {
            // A newer one came from the leader meanwhile.
            mark!("common/node/snapshots#frozen.overtaken");
            self.snapshots.own = Own::Idle;
            return;
        }
        self.snapshots.own = Own::Storing;
        if mutant!("D16") {
            self.snapshots.compacting.push_back(None);
            self.out.log.push(LogOp::Compact { upto: at });
        }
        let at = if mutant!("C49") { self.core.committed() } else { at };
        self.out.snapshot.push(SnapshotOp::Store { snapshot: at, state });
    }

    fn stored(&mut self, snapshot: LogId, length: u64) {
        mark!("common/node/snapshots#stored");
        self.counters.snapshots_stored.add(1);
        self.snapshots.own = Own::Idle;
        self.snapshots.newest = self.snapshots.newest.max(snapshot);
        self.snapshots.length = length;
        self.snapshots.renew = false;
        let log = self.core.log();
        let upto = back(log, log.floor(snapshot).unwrap_or(log.base()), self.config.tail_entries);
        if upto > log.base() {
            self.snapshots.compacting.push_back(Some(snapshot));
            self.out.log.push(LogOp::Compact { upto });
        } else {
            let base = log.base();
            self.step(CoreInput::Compacted { snapshot, base });
        }
    }

    /// The log on disk was cut.
    pub(super) fn compacted(&mut self, base: LogId) {
        if let Some(Some(snapshot)) = self.snapshots.compacting.pop_front() {
            self.step(CoreInput::Compacted { snapshot, base });
        }
    }

    /// The core wants a received snapshot taken over.
    pub(super) fn install(&mut self, snapshot: LogId, keep_tail: bool) {
        self.snapshots.install = Install::Finishing { snapshot, keep_tail };
        self.out.snapshot.push(SnapshotOp::Finish { snapshot });
    }

    /// The received file is durable: the log starts after it.
    fn received(&mut self, snapshot: LogId) {
        let Install::Finishing { snapshot: wanted, keep_tail } = self.snapshots.install else { return };
        if wanted != snapshot {
            return self.halt(format!("the snapshot store finished {snapshot} when {wanted} was asked for"));
        }
        self.snapshots.newest = self.snapshots.newest.max(snapshot);
        self.snapshots.renew = false;
        if keep_tail {
            mark!("common/node/snapshots#received.keep_tail");
            self.snapshots.compacting.push_back(None);
            self.out.log.push(LogOp::Compact { upto: snapshot });
            self.restore(snapshot);
        } else {
            mark!("common/node/snapshots#received.reset");
            self.snapshots.install = Install::Resetting { snapshot };
            self.cuts += 1;
            self.out.log.push(LogOp::Reset { base: snapshot });
        }
    }

    /// The log starts after it: the state machine loads it. What follows is applied on top, and not before.
    pub(super) fn restore(&mut self, snapshot: LogId) {
        self.snapshots.install = Install::Restoring { snapshot };
        self.applying.reset(snapshot);
        self.out.apply.push(ApplyOp::Restore { snapshot });
    }

    /// The state machine loaded it.
    pub(super) fn restored(&mut self, snapshot: LogId, membership: Option<(LogId, Membership)>) {
        if !matches!(self.snapshots.install, Install::Restoring { snapshot: s } if s == snapshot) {
            return self.halt(format!("the state machine loaded {snapshot}, which was not asked for"));
        }
        mark!("common/node/snapshots#restored");
        self.counters.snapshots_installed.add(1);
        self.snapshots.install = Install::None;
        (self.snapshots.entries, self.snapshots.bytes) = (0, 0);
        self.step(CoreInput::SnapshotInstalled { snapshot, membership: membership.map(Box::new) });
    }

    /// The snapshot worker answered.
    pub(super) fn snapshot_event(&mut self, event: SnapshotEvent) {
        match event {
            SnapshotEvent::Stored { snapshot, bytes } => self.stored(snapshot, bytes),
            SnapshotEvent::Read { peer, chunk } => {
                self.piece_read(chunk.as_ref());
                self.step(CoreInput::SnapshotRead { peer, chunk });
            }
            SnapshotEvent::Unusable { peer, snapshot } => {
                self.piece_read(None);
                self.counters.snapshots_unusable.add(1);
                self.snapshots.renew |= snapshot == self.snapshots.newest;
                self.step(CoreInput::SnapshotRead { peer, chunk: None });
            }
            SnapshotEvent::Written { snapshot, end } => self.step(CoreInput::SnapshotWritten { snapshot, end }),
            SnapshotEvent::Received { snapshot } => self.received(snapshot),
            SnapshotEvent::Refused { snapshot, reason } => {
                tracing::warn!(%snapshot, reason, "a received snapshot was refused");
                if matches!(self.snapshots.install, Install::Finishing { .. }) {
                    self.snapshots.install = Install::None;
                }
                self.step(CoreInput::SnapshotRefused { snapshot });
            }
            SnapshotEvent::Failed(why) => self.halt(why),
        }
    }

    /// The core wants entries that are on disk only.
    pub(super) fn fetch(&mut self, peer: NodeId, after: LogId, max_bytes: usize) {
        debug_assert!(peer != MYSELF, "a core fetches for a peer");
        self.out.log.push(LogOp::Fetch { peer, after, max_bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::{Batch, EntryKind};

    #[test]
    fn a_tail_is_counted_in_entries_over_epochs() {
        let mut log = LogView::new(LogId::ZERO, 1 << 20);
        for (epoch, n) in [(1, 5), (3, 2), (4, 4)] {
            let batch = Batch::from_payloads(&vec!["x"; n]);
            log.append(Entries::new(LogId::new(epoch, 1), EntryKind::Command, batch).unwrap());
        }
        let at = LogId::new(4, 3);
        let ids: Vec<_> = (0..12).map(|n| back(&log, at, n)).collect();
        let want = [(4, 3), (4, 2), (4, 1), (3, 2), (3, 1), (1, 5), (1, 4), (1, 3), (1, 2), (1, 1), (0, 0), (0, 0)];
        assert_eq!(ids, want.map(|(e, c)| LogId::new(e, c)));
        for (n, id) in ids.iter().enumerate().take(11) {
            assert_eq!(log.count(*id, at), n as u64);
        }
    }
}
