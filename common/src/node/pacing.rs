//! How fast snapshots leave. A peer that needs the whole state must not take disk and link away from those that need the
//! next entry, so what is read for all peers together stays below
//! [`snapshot_bytes_per_s`](super::ReplicaConfig::snapshot_bytes_per_s).
//!
//! The cores ask for one piece of a peer at a time and for the next when that one has arrived. Here pieces wait until those
//! before them are paid for, in the order in which they were asked for, so peers take turns. To a core it looks like a
//! slow disk; time that nobody used is not saved up.

use std::collections::VecDeque;

use super::replica::Replica;
use crate::protocol::{Chunk, Protocol};
use crate::storage::SnapshotOp;
use crate::types::{LogId, Micros, NodeId};
use crate::{mark, mutant};

/// A piece takes no more than one such part of a second.
const PIECES_PER_S: u64 = 8;

/// A piece that a core asked for.
#[derive(Clone, Copy, Debug)]
struct Piece {
    peer: NodeId,
    snapshot: Option<LogId>,
    offset: u64,
    max_bytes: usize,
}

/// What waits, and until when.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// At most one of each peer.
    waiting: VecDeque<Piece>,
    /// One was handed to the worker, and how long it is will be known when it comes back.
    reading: bool,
    /// What was read is paid for at this time.
    paid_at: Micros,
}

impl<P: Protocol> Replica<P> {
    /// The core wants a piece of a snapshot.
    pub(super) fn read_snapshot(&mut self, peer: NodeId, snapshot: Option<LogId>, offset: u64, max_bytes: usize) {
        let waiting = &mut self.pacing.waiting;
        debug_assert!(waiting.iter().all(|p| p.peer != peer), "a core asks for one piece of a peer at a time");
        waiting.push_back(Piece { peer, snapshot, offset, max_bytes });
    }

    /// A piece was read, or could not be.
    pub(super) fn piece_read(&mut self, chunk: Option<&Chunk>) {
        let rate = self.config.snapshot_bytes_per_s;
        self.pacing.reading = false;
        if let Some(chunk) = chunk.filter(|_| rate > 0 && !mutant!("C46")) {
            let span = (chunk.data.len() as u64).saturating_mul(1_000_000).div_ceil(rate);
            self.pacing.paid_at = self.now.after(Micros(span));
        }
    }

    /// At the end of a turn: hands on what is due.
    pub(super) fn flush_pacing(&mut self) {
        let rate = self.config.snapshot_bytes_per_s;
        while let Some(&piece) = self.pacing.waiting.front() {
            let most = if rate == 0 { usize::MAX } else { (rate / PIECES_PER_S) as usize };
            if rate > 0 && self.pacing.reading {
                return;
            }
            if self.pacing.paid_at > self.now {
                return mark!("common/node/pacing#flush_pacing.waits");
            }
            self.pacing.waiting.pop_front();
            self.pacing.reading = true;
            let Piece { peer, snapshot, offset, max_bytes } = piece;
            self.out.snapshot.push(SnapshotOp::Read { peer, snapshot, offset, max_bytes: max_bytes.min(most) });
        }
    }

    /// When the next piece is due.
    pub(super) fn pacing_wake_at(&self) -> Option<Micros> {
        let p = &self.pacing;
        (!p.waiting.is_empty() && !p.reading).then_some(p.paid_at)
    }
}
