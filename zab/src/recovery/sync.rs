//! How a leader brings a learner level: the decision, the history in a window, the snapshot in pieces, and the cut
//! between history and live stream.
//!
//! Several learners are served at once and none holds up the others or the broadcast: each has a window of bytes sent
//! and not RECEIVED, is sent more when there is room, and joins the live stream in the event in which it is level.

use common::entries::Entries;
use common::log::Read;
use common::mutant;
use common::protocol::{Chunk, Effect};
use common::status::SyncReport;
use common::trace::TraceBody;
use common::types::{Member, NodeId};

use super::leader::{Leading, Learner, Progress, SnapOut};
use super::{SyncOp, decide};
use crate::core::{Fx, Local, Outcome};
use crate::message::{Hex, Message, Zxid, chunk_weight, weight};

impl Leading {
    /// The sync decision, and the start of what follows from it.
    pub(super) fn begin_sync(&mut self, me: &mut Local, id: NodeId, fx: &mut Fx) {
        let end = self.history_end(me);
        let Some(l) = self.learners.get_mut(id) else { return };
        let (last, attempt) = (l.info.last_zxid, l.info.attempt);
        let op = decide(&me.log, me.snapshot, end, last, l.member == Member::Voter, me.config.diff_max_entries);
        l.progress = Progress::Syncing;
        l.sync_began = me.now;
        let kind = match op {
            SyncOp::Diff => {
                fx.mark("zab/recovery#begin_sync.diff");
                fx.send(id, Message::Diff { attempt, to: end });
                "DIFF"
            }
            SyncOp::Trunc(to) if mutant!("Z21") && to < end => {
                fx.send(id, Message::Diff { attempt, to: end });
                l.sent = to;
                "DIFF"
            }
            SyncOp::Trunc(to) => {
                fx.send(id, Message::Trunc { attempt, to });
                l.sent = to;
                let more = to < end;
                fx.mark(if more { "zab/recovery#begin_sync.trunc_diff" } else { "zab/recovery#begin_sync.trunc" });
                if more { "TRUNC+DIFF" } else { "TRUNC" }
            }
            SyncOp::Snap if mutant!("Z29") && last < me.log.base() => {
                fx.send(id, Message::Diff { attempt, to: end });
                l.sent = me.log.base();
                "DIFF"
            }
            SyncOp::Snap => {
                fx.mark("zab/recovery#begin_sync.snap");
                l.snap = Some(SnapOut { file: None, offset: 0 });
                "SNAP"
            }
        };
        l.sync = Some(SyncReport { kind: kind.into(), from: last, to: end, entries: 0, bytes: 0, took_us: None });
        fx.trace("zab/recovery#decide", "ZooKeeper LearnerHandler.syncFollower", || TraceBody::Note {
            key: "sync",
            args: vec![
                ("peer", id.0.into()),
                ("kind", kind.into()),
                ("last", Hex(last).to_string().into()),
                ("leader", Hex(end).to_string().into()),
            ],
        });
        self.pump(me, id, fx);
    }

    /// Sends a learner what it still lacks, as far as the window allows. When it is level, NEWLEADER and the proposals in
    /// flight follow in this very event: nothing can be proposed or committed between the history and the live stream,
    /// so nothing is sent twice and nothing is missed (ZOOKEEPER-962, 1319, 2418; Zab's note 1 on who gets proposals).
    pub(crate) fn pump(&mut self, me: &mut Local, id: NodeId, fx: &mut Fx) {
        let end = self.history_end(me);
        let established = self.established();
        loop {
            let Some(l) = self.learners.get_mut(id).filter(|l| l.progress == Progress::Syncing) else { return };
            if l.snap.is_some() {
                l.pump_snapshot(me, id, fx);
                return;
            }
            if l.sent >= end {
                self.finish_sync(me, id, fx);
                return;
            }
            if l.unreceived() >= me.config.sync_window_bytes || me.fetching.contains(&id) {
                fx.mark("zab/recovery#pump.waits");
                return;
            }
            match me.log.read(l.sent, me.config.sync_batch_bytes) {
                Read::Found(run) => l.send_history(id, &run, end, established, fx),
                Read::OnDisk if mutant!("Z08") => l.sent = end,
                Read::OnDisk => {
                    fx.mark("zab/recovery#pump.from_disk");
                    me.fetching.insert(id);
                    let max_bytes = me.config.sync_batch_bytes;
                    fx.push(Effect::Fetch { peer: id, after: l.sent, max_bytes });
                    return;
                }
                // The log was compacted while the learner was on its way.
                Read::Compacted | Read::Unknown | Read::End => l.snap = Some(SnapOut { file: None, offset: 0 }),
            }
        }
    }

    fn finish_sync(&mut self, me: &mut Local, id: NodeId, fx: &mut Fx) {
        let epoch = self.epoch;
        let Some(l) = self.learners.get_mut(id) else { return };
        l.progress = Progress::NewLeader;
        l.history_end = l.sent;
        fx.send(id, Message::NewLeader { attempt: l.info.attempt, epoch });
        if l.member == Member::Observer || l.sent == me.log.last() || mutant!("Z23") {
            return;
        }
        fx.mark("zab/recovery#finish_sync.in_flight");
        // What is in flight is not applied, so it is still in memory.
        for run in me.log.cached(l.sent, me.log.last()).unwrap_or_default() {
            l.send_proposal(id, &run, fx);
        }
    }

    pub(crate) fn on_fetched(
        &mut self,
        me: &mut Local,
        peer: NodeId,
        after: Zxid,
        entries: Option<Entries>,
        fx: &mut Fx,
    ) -> Outcome {
        let end = self.history_end(me);
        let established = self.established();
        let Some(l) = self.learners.get_mut(peer).filter(|l| l.progress == Progress::Syncing) else { return Ok(()) };
        if after == l.sent && l.snap.is_none() && l.sent < end {
            match entries {
                // It may be the answer to an earlier attempt; what follows `after` in this log is the same.
                Some(run) if me.log.next(after) == Some(run.first()) && me.log.contains(run.last()) => {
                    l.send_history(peer, &run, end, established, fx);
                }
                _ if me.log.contains(after) && after >= me.log.base() && entries_gone(me, after) => {
                    return self.broke(me, peer, "the history it needs cannot be read", fx);
                }
                _ => {}
            }
        }
        self.pump(me, peer, fx);
        Ok(())
    }

    pub(crate) fn on_snapshot_read(
        &mut self,
        me: &mut Local,
        peer: NodeId,
        chunk: Option<Chunk>,
        fx: &mut Fx,
    ) -> Outcome {
        let Some(l) = self.learners.get_mut(peer).filter(|l| l.progress == Progress::Syncing) else { return Ok(()) };
        let Some(snap) = &mut l.snap else { return Ok(()) };
        let Some(chunk) = chunk else {
            return self.broke(me, peer, "there is no snapshot to send it", fx);
        };
        let expected = snap.file.map_or((chunk.snapshot, 0), |(id, _)| (id, snap.offset));
        let other = (chunk.snapshot, chunk.offset) != expected;
        // The log has been compacted beyond this snapshot, so nothing could follow it.
        let old = chunk.snapshot < me.log.base();
        if other || old {
            // Another one took its place, and was read from its start; or this answers an earlier attempt.
            fx.mark("zab/recovery#on_snapshot_read.another");
            (snap.file, snap.offset) = (None, 0);
            if chunk.offset != 0 || old {
                l.pump_snapshot(me, peer, fx);
                return Ok(());
            }
        }
        // The learner's log will start after the snapshot, and history goes on from there; so it must be in this log.
        if !me.log.contains(chunk.snapshot) || chunk.snapshot > me.committed {
            return self.broke(me, peer, "the snapshot to send is not of this log", fx);
        }
        snap.file = Some((chunk.snapshot, chunk.total));
        snap.offset = chunk.end();
        l.sent = chunk.snapshot;
        l.newest_weight = chunk_weight(&chunk);
        l.sent_weight += l.newest_weight;
        if let Some(report) = &mut l.sync {
            report.bytes += chunk.data.len() as u64;
        }
        fx.send(peer, Message::Snap { attempt: l.info.attempt, chunk });
        l.pump_snapshot(me, peer, fx);
        Ok(())
    }

    /// RECEIVED: room in the window.
    pub(super) fn on_received(&mut self, me: &mut Local, from: NodeId, weight: u64, fx: &mut Fx) -> Outcome {
        let Some(l) = self.learners.get_mut(from) else { return Ok(()) };
        if l.member == Member::Voter && l.progress == Progress::Synced {
            // What it said as an observer, before it knew that it was promoted.
            return Ok(());
        }
        if weight < l.received_weight || weight > l.sent_weight {
            return self.broke(me, from, "RECEIVED of what was not sent", fx);
        }
        l.received_weight = weight;
        // The last piece is reported when the learner's log starts after the snapshot.
        let whole = l.snap.as_ref().is_some_and(|s| s.file.is_some_and(|(_, total)| s.offset >= total));
        if whole && l.unreceived() == 0 {
            fx.mark("zab/recovery#on_received.snapshot_installed");
            l.snap = None;
        }
        self.progressed(me);
        self.pump(me, from, fx);
        Ok(())
    }
}

/// Whether a failed fetch means that the entries are lost, rather than compacted meanwhile.
fn entries_gone(me: &Local, after: Zxid) -> bool {
    me.log.read(after, 0) == Read::OnDisk
}

impl Learner {
    /// Part of the history, and the commit point with it when the leader knows one, so that the learner need not keep
    /// all of it in memory until UPTODATE.
    fn send_history(&mut self, id: NodeId, run: &Entries, end: Zxid, established: bool, fx: &mut Fx) {
        let Some(run) = run.upto(end) else { return };
        let attempt = self.info.attempt;
        self.sent = run.last();
        self.newest_weight = weight(&run);
        self.sent_weight += self.newest_weight;
        if let Some(report) = &mut self.sync {
            report.entries += run.len() as u64;
            report.bytes += run.bytes() as u64;
            report.to = report.to.max(run.last());
        }
        fx.send(id, Message::Proposal { attempt, entries: run.into() });
        if established {
            fx.send(id, Message::Commit { attempt, zxid: self.sent });
        }
    }

    fn pump_snapshot(&mut self, me: &mut Local, id: NodeId, fx: &mut Fx) {
        let full = self.unreceived() >= me.config.sync_window_bytes;
        let Some(snap) = &self.snap else { return };
        let whole = snap.file.is_some_and(|(_, total)| snap.offset >= total);
        if whole || full || !me.reading.insert(id) {
            return;
        }
        fx.push(Effect::ReadSnapshot {
            peer: id,
            snapshot: snap.file.map(|(id, _)| id),
            offset: snap.offset,
            max_bytes: me.config.snapshot_chunk_bytes,
        });
    }
}
