//! InstallSnapshot (section 7, figure 13), on both sides: for a peer that needs entries its leader has compacted away.
//!
//! Pieces go one at a time, each answered with where the next must start, so a transfer that broke off goes on where it was
//! when the same leader starts it again. The follower replaces its log only by a snapshot newer than what it has
//! committed; if its log has the snapshot's last entry, what follows that entry stays. While the snapshot is being
//! installed it takes no entries and says so, and the leader asks again with its heartbeats.
//!
//! What breaks without it: an older snapshot takes back committed entries; a conflicting tail that stays is later taken
//! for matched; a tail that is dropped although it agrees takes back entries that were acknowledged.

use common::membership::Membership;
use common::mutant;
use common::protocol::{Chunk, Effect, Effects};
use common::trace::TraceBody;
use common::types::{LogId, NodeId};

use crate::broadcast::disconnect;
use crate::core::{Due, Raft, State};
use crate::membership::{Progress, Transfer};
use crate::message::{Answer, Message};
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
        fx.trace("raft/snapshot#begin_snapshot", "Raft 7", || TraceBody::Note {
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
            fx.mark("raft/snapshot#retry_snapshot.quiet");
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
        let Some(chunk) = chunk else {
            transfer.stalled = true;
            return fx.mark("raft/snapshot#snapshot_read.not_to_be_had");
        };
        // If the log was cut above it meanwhile, the peer comes nearer all the same, and is sent the next one then. To start
        // with the newest each time would never end where snapshots are taken faster than they travel.
        if chunk.snapshot < base {
            fx.mark("raft/snapshot#snapshot_read.below_base");
            if mutant!("R46") {
                transfer.stalled = true;
                return;
            }
        }
        let expected = transfer.snapshot.is_none_or(|s| s == chunk.snapshot) && chunk.offset == transfer.offset;
        if !expected && chunk.offset != 0 {
            // It was read for an earlier transfer.
            return self.read_piece(at, fx);
        }
        // A piece from the start, of whatever snapshot is the newest now, always will do.
        if transfer.snapshot.is_some_and(|s| s != chunk.snapshot) {
            fx.mark("raft/snapshot#snapshot_read.newer_snapshot");
        }
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
        if end > transfer.total {
            return disconnect(from, "has more of a snapshot than there is", fx);
        }
        (transfer.offset, transfer.quiet) = (end, 0);
        if end == 0 {
            fx.mark("raft/snapshot#on_install_snapshot_reply.from_the_start");
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
        let room = chunk.total.saturating_sub(chunk.offset);
        if chunk.data.is_empty() || chunk.data.len() as u64 > room || chunk.snapshot.epoch > self.hard.term {
            return disconnect(from, "a snapshot piece that is none", fx);
        }
        let State::Follower(follower) = &mut self.state else { return };
        if self.installing.is_some() || chunk.snapshot.counter <= self.committed.counter {
            fx.mark("raft/snapshot#on_install_snapshot.not_wanted");
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
                fx.mark("raft/snapshot#on_install_snapshot.resumed");
                let end = incoming.written;
                self.answer_piece(snapshot, end, fx);
            }
            None if chunk.offset == 0 => {
                if self.incoming.is_some() {
                    fx.mark("raft/snapshot#on_install_snapshot.replaces_another");
                }
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
        let (complete, from) = (end >= incoming.total, incoming.from);
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
        fx.trace("raft/snapshot#snapshot_written", "Raft fig. 13 InstallSnapshot 6-8", || TraceBody::Note {
            key: if keep_tail { "snapshot_keeps_tail" } else { "snapshot_replaces_log" },
            args: vec![("term", snapshot.epoch.into()), ("index", snapshot.counter.into())],
        });
        fx.push(Effect::InstallSnapshot { snapshot, keep_tail });
        if mutant!("R40") {
            let answer = Answer::Matched(snapshot);
            fx.send(from, Message::AppendEntriesReply { term: self.hard.term, round: 0, answer });
        }
    }

    /// Log and state machine start from the snapshot now.
    pub(crate) fn snapshot_installed(
        &mut self,
        snapshot: LogId,
        membership: Option<(LogId, Membership)>,
        fx: &mut Effects<Self>,
    ) {
        let Some((_, keep_tail)) = self.installing.take_if(|(id, _)| *id == snapshot) else { return };
        if mutant!("R14") && !keep_tail {
            // The log stays as it was.
        } else if keep_tail {
            self.log.compact(snapshot);
            self.durable = self.durable.max(snapshot);
        } else {
            self.log.reset(snapshot);
            self.durable = snapshot;
        }
        if keep_tail {
            self.members.committed(snapshot);
            self.members.found(membership);
        } else if mutant!("R76") {
            self.members.found(membership);
        } else {
            self.members.reset(membership);
        }
        self.committed = snapshot;
        self.applied = snapshot;
        self.snapshot = snapshot;
        crate::broadcast::trace_log(fx, "raft/snapshot#snapshot_installed", "Raft fig. 13", "snap", snapshot, 0);
        if let State::Follower(follower) = &mut self.state {
            follower.verified = follower.verified.max(snapshot);
            follower.reply = Some(Due::Match);
        }
        self.acknowledge(fx);
    }

    /// The bytes were damaged or out of order; nothing changed.
    pub(crate) fn snapshot_refused(&mut self, snapshot: LogId, fx: &mut Effects<Self>) {
        fx.mark("raft/snapshot#snapshot_refused");
        self.installing.take_if(|(id, _)| *id == snapshot);
        self.incoming.take_if(|incoming| incoming.snapshot == snapshot);
        self.answer_piece(snapshot, 0, fx);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::log::LogView;
    use common::protocol::Input;
    use common::types::Member;

    use super::*;
    use crate::config::Config;
    use crate::testing::{A, B, C, Lab, id, run};

    fn piece(snapshot: LogId, offset: u64, len: usize, total: u64) -> Chunk {
        Chunk { snapshot, offset, total, data: Bytes::from(vec![7; len]) }
    }

    /// A follower of B in term 3.
    fn follower(terms: &[u64]) -> Lab {
        let mut lab = Lab::new(terms).connected();
        lab.append(B, 3, LogId::ZERO, 0, None);
        lab.step(Input::HardSaved);
        lab
    }

    fn install(lab: &mut Lab, from: NodeId, chunk: Chunk) -> Vec<String> {
        let term = lab.raft.hard.term;
        lab.hear(from, Message::InstallSnapshot { term, chunk })
    }

    /// A leader of term 3 whose log starts after (2,5).
    fn leader() -> Lab {
        let mut log = LogView::new(id(2, 5), usize::MAX);
        log.append(run(2, 6, 2));
        let mut lab = Lab::with(A, log, id(2, 5), Config::default()).connected();
        lab.lead();
        lab.durable();
        lab
    }

    fn needs_everything(lab: &mut Lab, peer: NodeId) -> Vec<String> {
        let State::Leader(l) = &lab.raft.state else { panic!() };
        let refused = l.find(peer).unwrap().sent;
        let answer = Answer::Conflict { refused, last: LogId::ZERO, at: LogId::ZERO, first: 0 };
        lab.hear(peer, Message::AppendEntriesReply { term: 3, round: 0, answer })
    }

    fn reply(lab: &mut Lab, end: u64) -> Vec<String> {
        lab.hear(B, Message::InstallSnapshotReply { term: 3, snapshot: id(2, 5), end })
    }

    #[test]
    fn pieces_are_answered_one_by_one_and_the_whole_replaces_the_log() {
        let mut lab = follower(&[1, 1]);
        let snapshot = id(2, 5);
        assert_eq!(install(&mut lab, B, piece(snapshot, 0, 4, 6)), ["write snapshot (2,5) 0..4"]);
        assert!(install(&mut lab, B, piece(snapshot, 0, 4, 6)).is_empty(), "it is being written");
        assert_eq!(
            lab.step(Input::SnapshotWritten { snapshot, end: 4 }),
            ["n2: InstallSnapshotReply(term 3, snapshot (2,5), next from 4)"]
        );
        // The same leader starts again, after a new session: what is here need not come twice.
        assert_eq!(
            install(&mut lab, B, piece(snapshot, 0, 4, 6)),
            ["n2: InstallSnapshotReply(term 3, snapshot (2,5), next from 4)"]
        );
        install(&mut lab, B, piece(snapshot, 4, 2, 6));
        assert_eq!(
            lab.step(Input::SnapshotWritten { snapshot, end: 6 }),
            ["n2: InstallSnapshotReply(term 3, snapshot (2,5), next from 6)", "install (2,5), drop the log"]
        );
        // Until it is installed nothing touches the log, and the leader is told to ask again.
        let busy = ["n2: AppendEntriesReply(term 3, round 0, busy)"];
        assert_eq!(lab.append(B, 3, id(1, 2), 2, Some(run(3, 3, 1))), busy);
        assert_eq!(install(&mut lab, B, piece(id(2, 9), 0, 1, 1)), busy);
        assert_eq!(
            lab.step(Input::SnapshotInstalled { snapshot, membership: None }),
            ["n2: AppendEntriesReply(term 3, round 0, matched (2,5))"]
        );
        assert_eq!((lab.raft.log.base(), lab.raft.committed, lab.raft.durable), (snapshot, snapshot, snapshot));
        // The place where the log starts answers the consistency check.
        assert_eq!(lab.append(B, 3, snapshot, 0, Some(run(3, 6, 1))), ["append (3,6)..(3,6)"]);
    }

    #[test]
    fn entries_below_a_snapshot_are_here_already() {
        let mut lab = follower(&[1]);
        let snapshot = id(2, 5);
        install(&mut lab, B, piece(snapshot, 0, 1, 1));
        lab.step(Input::SnapshotWritten { snapshot, end: 1 });
        lab.step(Input::SnapshotInstalled { snapshot, membership: None });
        let said = lab.append(B, 3, id(1, 1), 0, Some(run(2, 2, 2)));
        assert_eq!(said, ["n2: AppendEntriesReply(term 3, round 0, matched (2,5))"]);
    }

    #[test]
    fn a_tail_that_agrees_stays() {
        let mut lab = follower(&[1, 1, 2, 2]);
        install(&mut lab, B, piece(id(2, 3), 0, 1, 1));
        let said = lab.step(Input::SnapshotWritten { snapshot: id(2, 3), end: 1 });
        assert_eq!(said[1], "install (2,3), keep the tail");
        lab.step(Input::SnapshotInstalled { snapshot: id(2, 3), membership: None });
        assert_eq!((lab.raft.log.base(), lab.raft.log.last()), (id(2, 3), id(2, 4)));
    }

    #[test]
    fn a_tail_that_conflicts_goes() {
        let mut lab = follower(&[1, 1, 1, 1]);
        install(&mut lab, B, piece(id(2, 3), 0, 1, 1));
        let said = lab.step(Input::SnapshotWritten { snapshot: id(2, 3), end: 1 });
        assert_eq!(said[1], "install (2,3), drop the log");
    }

    #[test]
    fn what_is_committed_already_needs_no_snapshot() {
        let mut lab = follower(&[1, 1, 1]);
        lab.append(B, 3, id(1, 3), 3, None);
        let said = install(&mut lab, B, piece(id(1, 3), 0, 1, 1));
        assert_eq!(said, ["n2: AppendEntriesReply(term 3, round 0, matched (1,3))"]);
        assert!(lab.raft.incoming.is_none());
    }

    #[test]
    fn damage_starts_it_anew_and_another_leaders_piece_replaces_it() {
        let mut lab = follower(&[1]);
        let snapshot = id(2, 5);
        install(&mut lab, B, piece(snapshot, 0, 4, 6));
        lab.step(Input::SnapshotWritten { snapshot, end: 4 });
        let again = ["n2: InstallSnapshotReply(term 3, snapshot (2,5), next from 0)"];
        assert_eq!(lab.step(Input::SnapshotRefused { snapshot }), again);
        assert_eq!(install(&mut lab, B, piece(snapshot, 4, 2, 6)), again, "nothing is here to add it to");
        install(&mut lab, B, piece(snapshot, 0, 4, 6));
        lab.step(Input::SnapshotWritten { snapshot, end: 4 });
        // A piece that is here already: it goes on from what is here.
        let goes_on = ["n2: InstallSnapshotReply(term 3, snapshot (2,5), next from 4)"];
        assert_eq!(install(&mut lab, B, piece(snapshot, 0, 4, 6)), goes_on);
        // C's file of the same snapshot may have other bytes: not mixed with B's.
        let said = lab.hear(C, Message::InstallSnapshot { term: 4, chunk: piece(snapshot, 0, 4, 6) });
        assert_eq!(said, ["save term 4, no vote", "write snapshot (2,5) 0..4"]);
        for bad in [piece(snapshot, 4, 3, 6), piece(snapshot, 4, 0, 6), piece(snapshot, u64::MAX, 2, 6)] {
            assert_eq!(install(&mut lab, C, bad), ["disconnect n3: a snapshot piece that is none"]);
        }
    }

    #[test]
    fn a_leader_sends_the_next_piece_when_the_last_is_answered() {
        let mut lab = leader();
        assert_eq!(needs_everything(&mut lab, B), ["read snapshot newest for n2 from 0"]);
        let said = lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 0, 4, 6)) });
        assert_eq!(said, ["n2: InstallSnapshot(term 3, snapshot (2,5), bytes 0..4 of 6)"]);
        assert!(reply(&mut lab, 0).is_empty(), "it was damaged: from the start, with the next heartbeat");
        assert_eq!(reply(&mut lab, 4), ["read snapshot (2,5) for n2 from 4"]);
        lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 4, 2, 6)) });
        assert!(reply(&mut lab, 6).is_empty(), "now it installs");
        assert_eq!(
            lab.matched(B, id(2, 5)),
            [
                "n2: AppendEntries(term 3, prev (2,5), commit 5, round 0, entries (2,6)..(2,7))",
                "n2: AppendEntries(term 3, prev (2,7), commit 5, round 0, entries (3,8)..(3,8))"
            ]
        );
        assert_eq!(reply(&mut lab, 99), Vec::<String>::new());
    }

    #[test]
    fn a_transfer_that_halts_goes_on_with_a_heartbeat() {
        let mut lab = leader();
        let snapshot_lines =
            |said: Vec<String>| said.into_iter().filter(|l| l.contains("snapshot")).collect::<Vec<_>>();
        needs_everything(&mut lab, B);
        // The disk cannot give it now.
        assert!(lab.step(Input::SnapshotRead { peer: B, chunk: None }).is_empty());
        assert_eq!(snapshot_lines(lab.pass(50)), ["read snapshot newest for n2 from 0"]);
        lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 0, 4, 6)) });
        // The answer got lost on the way: after a while the piece goes out again.
        let mut again = Vec::new();
        for _ in 0..QUIET_HEARTBEATS {
            lab.matched(C, id(2, 7));
            again.extend(snapshot_lines(lab.pass(50)));
        }
        assert_eq!(again, ["read snapshot (2,5) for n2 from 0"]);
        // A newer snapshot has taken the place of the old one: from its start.
        let said = lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 6), 0, 3, 9)) });
        assert_eq!(said, ["n2: InstallSnapshot(term 3, snapshot (2,6), bytes 0..3 of 9)"]);
        assert!(reply(&mut lab, 4).is_empty(), "an answer about the old one");
        let wrong = Message::InstallSnapshotReply { term: 3, snapshot: id(2, 6), end: 10 };
        assert_eq!(lab.hear(B, wrong), ["disconnect n2: has more of a snapshot than there is"]);
    }

    #[test]
    fn a_log_cut_during_the_transfer_needs_the_newer_snapshot() {
        let mut lab = leader();
        needs_everything(&mut lab, B);
        lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 0, 6, 6)) });
        lab.matched(C, id(3, 8));
        lab.step(Input::Compacted { snapshot: id(3, 8), base: id(2, 7) });
        reply(&mut lab, 6);
        assert_eq!(lab.matched(B, id(2, 5)), ["read snapshot newest for n2 from 0"]);
    }

    /// Found by the simulator: such a piece was passed over and read again, for as long as no other snapshot was taken.
    #[test]
    fn a_snapshot_that_the_log_was_cut_above_is_sent_to_its_end() {
        let mut lab = leader();
        needs_everything(&mut lab, B);
        lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 0, 4, 6)) });
        lab.matched(C, id(3, 8));
        lab.step(Input::Compacted { snapshot: id(3, 8), base: id(2, 7) });
        assert_eq!(reply(&mut lab, 4), ["read snapshot (2,5) for n2 from 4"]);
        let said = lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 4, 2, 6)) });
        assert_eq!(said, ["n2: InstallSnapshot(term 3, snapshot (2,5), bytes 4..6 of 6)"]);
        assert!(reply(&mut lab, 6).is_empty());
        assert_eq!(lab.matched(B, id(2, 5)), ["read snapshot newest for n2 from 0"]);
    }

    #[test]
    fn a_new_session_forgets_the_transfer_but_not_the_read_under_way() {
        let mut lab = leader();
        needs_everything(&mut lab, B);
        lab.step(Input::PeerDown { peer: B });
        lab.step(Input::PeerUp { peer: B, member: Member::Voter });
        assert!(needs_everything(&mut lab, B).is_empty(), "one read at a time");
        let said = lab.step(Input::SnapshotRead { peer: B, chunk: Some(piece(id(2, 5), 0, 4, 6)) });
        assert_eq!(said.len(), 1, "it will do: {said:?}");
    }
}
