//! InstallSnapshot (section 7, figure 13), on both sides: for a peer that needs entries its leader has compacted away.
//!
//! Pieces go one at a time, each answered with where the next must start, so a transfer that broke off goes on where it was
//! when the same leader starts it again. The follower replaces its log only by a snapshot newer than what it has
//! committed; if its log has the snapshot's last entry, what follows that entry stays. While the snapshot is being
//! installed it takes no entries and says so, and the leader asks again with its heartbeats.
//!
//! What breaks without it: an older snapshot takes back committed entries; a conflicting tail that stays is later taken
//! for matched; a tail that is dropped although it agrees takes back entries that were acknowledged.

use common::protocol::{Chunk, Effect, Effects};
use common::trace::TraceBody;
use common::types::{LogId, NodeId};

use crate::broadcast::disconnect;
use crate::core::{Due, Raft, State};
use crate::membership::{Progress, Transfer};
use crate::message::Message;
use crate::recovery::DiskRead;

/// After so many heartbeats without a sign of progress a piece is sent again.
const QUIET_HEARTBEATS: u32 = 20;

/// A snapshot that is being received.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    from: NodeId,
    snapshot: LogId,
    total: u64,
    /// How many bytes are in the file.
    written: u64,
    /// Where the piece ends that is being written.
    writing: Option<u64>,
}

/// The leader's side.
impl Raft {
    /// The log no longer has what the peer needs, whose own log ends at `from`.
    pub(crate) fn begin_snapshot(&mut self, at: usize, from: LogId, fx: &mut Effects<Self>) {
        let to = self.log.last();
        let State::Leader(leader) = &mut self.state else { return };
        let peer = &mut leader.peers[at];
        fx.trace("raft/snapshot#begin", "Raft 7", || TraceBody::Note {
            key: "snapshot_chosen",
            args: vec![("peer", peer.id.0.into()), ("base", self.log.base().counter.into())],
        });
        peer.probe(peer.matched);
        peer.progress = Progress::Snapshot(Transfer::default());
        peer.begin_sync("snapshot", from, to, self.now);
        self.read_piece(at, fx);
    }

    /// Asks the disk for the next piece.
    fn read_piece(&mut self, at: usize, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &mut self.state else { return };
        let peer = &mut leader.peers[at];
        let Progress::Snapshot(transfer) = &mut peer.progress else { return };
        transfer.stalled = false;
        let read = (peer.id, DiskRead::Snapshot);
        if !self.disk_reads.contains(&read) {
            self.disk_reads.push(read);
            let (snapshot, offset, max_bytes) = (transfer.snapshot, transfer.offset, self.config.snapshot_chunk_bytes);
            fx.push(Effect::ReadSnapshot { peer: peer.id, snapshot, offset, max_bytes });
        }
    }

    /// With a heartbeat: goes on with a transfer that came to a halt. An answer is lost when the peer had no leader at the
    /// moment it was due; after some heartbeats without one, the piece is sent again.
    pub(crate) fn retry_snapshot(&mut self, at: usize, fx: &mut Effects<Self>) {
        let State::Leader(leader) = &mut self.state else { return };
        let peer = &mut leader.peers[at];
        let Progress::Snapshot(transfer) = &mut peer.progress else { return };
        transfer.quiet += 1;
        if transfer.quiet >= QUIET_HEARTBEATS {
            transfer.stalled = true;
            transfer.quiet = 0;
            if transfer.complete() {
                transfer.offset = 0;
            }
        }
        if transfer.stalled {
            self.read_piece(at, fx);
        }
    }

    /// A piece was read.
    pub(crate) fn snapshot_read(&mut self, peer: NodeId, chunk: Option<Chunk>, fx: &mut Effects<Self>) {
        self.disk_reads.retain(|read| *read != (peer, DiskRead::Snapshot));
        let (term, base) = (self.hard.term, self.log.base());
        let State::Leader(leader) = &mut self.state else { return };
        let Some(at) = leader.position(peer) else { return };
        let peer = &mut leader.peers[at];
        let Progress::Snapshot(transfer) = &mut peer.progress else { return };
        let Some(chunk) = chunk.filter(|c| c.snapshot >= base) else {
            transfer.stalled = true;
            return;
        };
        let expected = transfer.snapshot.is_none_or(|s| s == chunk.snapshot) && chunk.offset == transfer.offset;
        if !expected && chunk.offset != 0 {
            // It was read for an earlier transfer.
            return self.read_piece(at, fx);
        }
        // A piece from the start, of whatever snapshot is the newest now, always will do.
        let (snapshot, offset, total) = (Some(chunk.snapshot), chunk.offset, chunk.total);
        *transfer = Transfer { snapshot, offset, total, ..Transfer::default() };
        if let Some(sync) = &mut peer.sync {
            sync.bytes += chunk.data.len() as u64;
        }
        peer.spoken = true;
        fx.send(peer.id, Message::InstallSnapshot { term, chunk });
    }

    pub(crate) fn on_install_snapshot_reply(
        &mut self,
        from: NodeId,
        term: u64,
        snapshot: LogId,
        end: u64,
        fx: &mut Effects<Self>,
    ) {
        if term > self.hard.term {
            return self.become_follower(term, None, fx);
        }
        let State::Leader(leader) = &mut self.state else { return };
        let Some(at) = leader.position(from).filter(|_| term == self.hard.term) else { return };
        let peer = &mut leader.peers[at];
        (peer.active, peer.heard) = (true, true);
        let Progress::Snapshot(transfer) = &mut peer.progress else { return };
        if transfer.snapshot != Some(snapshot) {
            return;
        }
        (transfer.offset, transfer.quiet) = (end, 0);
        if end == 0 {
            // Damaged, or out of order: from the start, but not in a tight loop.
            transfer.stalled = true;
        } else if end < transfer.total {
            self.read_piece(at, fx);
        }
    }
}

/// The follower's side.
impl Raft {
    /// A piece from the leader of this term, which this node follows.
    pub(crate) fn on_install_snapshot(&mut self, from: NodeId, chunk: Chunk, fx: &mut Effects<Self>) {
        if chunk.end() > chunk.total || chunk.data.is_empty() || chunk.snapshot.epoch > self.hard.term {
            return disconnect(from, "a snapshot piece that is none", fx);
        }
        let State::Follower(follower) = &mut self.state else { return };
        if self.installing.is_some() || chunk.snapshot.counter <= self.committed.counter {
            // Busy with another, or what it covers is here: the answer says which.
            follower.reply = Some(Due::Match);
            return self.acknowledge(fx);
        }
        let (snapshot, total) = (chunk.snapshot, chunk.total);
        let same = |i: &&mut Incoming| i.from == from && i.snapshot == snapshot && i.total == total;
        match self.incoming.as_mut().filter(same) {
            // The answer comes with what is being written.
            Some(incoming) if incoming.writing.is_some() => {}
            Some(incoming) if incoming.written == chunk.offset => {
                incoming.writing = Some(chunk.end());
                fx.push(Effect::WriteSnapshot(chunk));
            }
            Some(incoming) => {
                let end = incoming.written;
                self.answer_piece(snapshot, end, fx);
            }
            None if chunk.offset == 0 => {
                let writing = Some(chunk.end());
                self.incoming = Some(Incoming { from, snapshot, total, written: 0, writing });
                fx.push(Effect::WriteSnapshot(chunk));
            }
            None => self.answer_piece(snapshot, 0, fx),
        }
    }

    /// Tells the leader where the next piece must start, once the term is durable.
    fn answer_piece(&mut self, snapshot: LogId, end: u64, fx: &mut Effects<Self>) {
        if let State::Follower(follower) = &mut self.state {
            follower.piece = Some((snapshot, end));
            self.acknowledge(fx);
        }
    }

    /// A piece is in the file.
    pub(crate) fn snapshot_written(&mut self, snapshot: LogId, end: u64, fx: &mut Effects<Self>) {
        let is = |i: &&mut Incoming| i.snapshot == snapshot && i.writing == Some(end);
        let Some(incoming) = self.incoming.as_mut().filter(is) else { return };
        incoming.writing = None;
        incoming.written = end;
        let complete = end >= incoming.total;
        self.answer_piece(snapshot, end, fx);
        if !complete {
            return;
        }
        self.incoming = None;
        // Entries may have arrived and committed meanwhile, or this node stands for election: then it is not wanted.
        let State::Follower(follower) = &mut self.state else { return };
        if snapshot.counter <= self.committed.counter {
            follower.reply = Some(Due::Match);
            return self.acknowledge(fx);
        }
        let keep_tail = self.log.contains(snapshot);
        self.installing = Some((snapshot, keep_tail));
        fx.trace("raft/snapshot#install", "Raft fig. 13 InstallSnapshot 6-8", || TraceBody::Note {
            key: if keep_tail { "snapshot_keeps_tail" } else { "snapshot_replaces_log" },
            args: vec![("term", snapshot.epoch.into()), ("index", snapshot.counter.into())],
        });
        fx.push(Effect::InstallSnapshot { snapshot, keep_tail });
    }

    /// Log and state machine start from the snapshot now.
    pub(crate) fn snapshot_installed(&mut self, snapshot: LogId, fx: &mut Effects<Self>) {
        let Some((_, keep_tail)) = self.installing.take_if(|(id, _)| *id == snapshot) else { return };
        if keep_tail {
            self.log.compact(snapshot);
            self.durable = self.durable.max(snapshot);
        } else {
            self.log.reset(snapshot);
            self.durable = snapshot;
        }
        self.committed = snapshot;
        self.applied = snapshot;
        self.snapshot = snapshot;
        crate::broadcast::trace_log(fx, "raft/snapshot#installed", "Raft fig. 13", "snap", snapshot, 0);
        if let State::Follower(follower) = &mut self.state {
            follower.verified = follower.verified.max(snapshot);
            follower.reply = Some(Due::Match);
        }
        self.acknowledge(fx);
    }

    /// The bytes were damaged or out of order; nothing changed.
    pub(crate) fn snapshot_refused(&mut self, snapshot: LogId, fx: &mut Effects<Self>) {
        self.installing.take_if(|(id, _)| *id == snapshot);
        self.incoming.take_if(|incoming| incoming.snapshot == snapshot);
        self.answer_piece(snapshot, 0, fx);
    }
}
