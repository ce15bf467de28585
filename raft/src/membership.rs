//! Who is there: the voters, the observers that connected, and what a leader knows of each.
//!
//! Who votes stands in the log: see [`reconfig`](crate::reconfig). An observer (the paper's non-voting member, section 6; the
//! field's learner) is any other node that connects: a leader replicates to it like to a follower, and counts it nowhere,
//! because every count goes through the [`Configuration`](common::quorum::Configuration), in which it is no voter. Counting
//! a learner, in any of votes, commits, reads or check-quorum, would let a "quorum" form without most voters and lose what
//! it committed.
//!
//! What a node says it is does not matter: it may not know yet that it was promoted, or removed. A removed one observes for
//! as long as it stays connected, and so learns that it was removed.

use std::collections::VecDeque;

use common::entries::Entries;
use common::mutant;
use common::protocol::Effects;
use common::status::{PeerStatus, SyncReport};
use common::types::{LogId, Member, Micros, NodeId};

use crate::broadcast::disconnect;
use crate::config::Config;
use crate::core::{Raft, State};
use crate::message::Message;

/// The sessions that are up, on any node, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Vec<NodeId>);

impl Sessions {
    pub(crate) fn is_up(&self, peer: NodeId) -> bool {
        self.0.contains(&peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }

    fn add(&mut self, peer: NodeId) {
        let at = self.0.partition_point(|id| *id < peer);
        self.0.insert(at, peer);
    }

    fn remove(&mut self, peer: NodeId) {
        self.0.retain(|id| *id != peer);
    }
}

/// How a leader treats a peer at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was asked which index it needs; nothing is sent until it answers.
    Probe,
    /// Its log is known to match up to `matched`; entries are sent ahead of its answers.
    Replicate,
    /// It needs a snapshot.
    Snapshot(Transfer),
}

/// A snapshot on its way to a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Which; unknown until the first piece was read.
    pub(crate) snapshot: Option<LogId>,
    /// Where the next piece starts, or the one that is not answered yet.
    pub(crate) offset: u64,
    /// The snapshot's length; the transfer is complete when `offset` is there, and the peer installs.
    pub(crate) total: u64,
    /// Nothing is on its way: the next heartbeat tries again.
    pub(crate) stalled: bool,
    /// Heartbeats since the last sign of progress.
    pub(crate) quiet: u32,
}

impl Transfer {
    pub(crate) fn complete(&self) -> bool {
        self.total > 0 && self.offset >= self.total
    }
}

/// How a peer is, or was last, brought level.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) kind: &'static str,
    from: LogId,
    to: LogId,
    entries: u64,
    pub(crate) bytes: u64,
    began: Micros,
    took: Option<Micros>,
}

/// What each AppendEntries says beside its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say {
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) round: u64,
}

/// What a leader knows of a peer (figure 2: nextIndex and matchIndex).
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Separate facts, none of which follows from another.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) member: Member,
    pub(crate) connected: bool,
    pub(crate) progress: Progress,
    /// matchIndex: durable there and the same as here. Never goes back in a term.
    pub(crate) matched: LogId,
    /// nextIndex - 1: the last entry sent, or the one the next probe asks about. Never below `matched`.
    pub(crate) sent: LogId,
    /// Messages with entries that are not acknowledged: their last index and their bytes.
    in_flight: VecDeque<(u64, usize)>,
    in_flight_bytes: usize,
    /// The newest confirmation round it answered.
    pub(crate) round: u64,
    /// How much it is to lead, as far as it said so.
    pub(crate) priority: u64,
    /// The highest commit index it was told.
    pub(crate) commit_sent: u64,
    /// Answered since the last check of the quorum.
    pub(crate) active: bool,
    /// Answered since the last heartbeat.
    pub(crate) heard: bool,
    /// Was sent something since the last heartbeat.
    pub(crate) spoken: bool,
    pub(crate) sync: Option<Sync>,
    /// It has less than it acknowledged in this term: see [`mend`](crate::mend).
    pub(crate) forgot: bool,
}

impl Peer {
    pub(crate) fn new(id: NodeId, member: Member, connected: bool, sent: LogId) -> Self {
        Self {
            id,
            member,
            connected,
            progress: Progress::Probe,
            matched: LogId::ZERO,
            sent,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            round: 0,
            priority: 100,
            commit_sent: 0,
            active: connected,
            heard: false,
            spoken: false,
            sync: None,
            forgot: false,
        }
    }

    /// Back to asking, with `sent` as the next guess. Never below what is known to match.
    pub(crate) fn probe(&mut self, sent: LogId) {
        self.progress = Progress::Probe;
        self.sent = if mutant!("R07") { LogId::ZERO } else { sent.max(self.matched) };
        self.forget_in_flight();
    }

    /// Its log matches up to `sent`: entries may flow.
    pub(crate) fn replicate(&mut self, sent: LogId) {
        self.progress = Progress::Replicate;
        self.sent = sent.max(self.matched);
        self.forget_in_flight();
    }

    fn forget_in_flight(&mut self) {
        if mutant!("R38") {
            return;
        }
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    /// Whether entries may be sent now: it replicates, and its window is not full.
    pub(crate) fn may_send(&self, config: &Config) -> bool {
        self.connected && self.progress == Progress::Replicate && !self.window_full(config)
    }

    pub(crate) fn window_full(&self, config: &Config) -> bool {
        self.in_flight.len() >= config.max_inflight_messages || self.in_flight_bytes >= config.max_inflight_bytes
    }

    /// Sends AppendEntries: `entries` follow `sent`; none makes a heartbeat or probe.
    #[inline]
    pub(crate) fn append(&mut self, say: Say, entries: Option<Entries>, fx: &mut Effects<Raft>) {
        let prev = match self.progress {
            // What follows `sent` is in the snapshot: only ask whether it is still there.
            Progress::Snapshot(_) => self.matched,
            _ => self.sent,
        };
        if let Some(run) = &entries {
            self.sent = run.last();
            self.in_flight.push_back((run.last().counter, run.bytes()));
            self.in_flight_bytes += run.bytes();
            if let Some(sync) = &mut self.sync
                && sync.took.is_none()
            {
                sync.entries += run.len() as u64;
                sync.bytes += run.bytes() as u64;
            }
        }
        self.spoken = true;
        self.commit_sent = self.commit_sent.max(say.commit);
        let Say { term, commit, round } = say;
        let entries = entries.map(Into::into);
        fx.send(self.id, Message::AppendEntries { term, prev, commit, round, entries });
    }

    /// Everything up to `matched` is durable there: opens the window, and ends a catch-up that has come so far.
    #[inline]
    pub(crate) fn acknowledged(&mut self, matched: LogId, now: Micros) {
        self.matched = matched;
        self.sent = self.sent.max(matched);
        while let Some((last, bytes)) = self.in_flight.front().copied()
            && last <= matched.counter
        {
            self.in_flight.pop_front();
            self.in_flight_bytes -= bytes;
        }
        if let Some(sync) = &mut self.sync
            && sync.took.is_none()
            && matched >= sync.to
        {
            sync.took = Some(now.since(sync.began));
        }
    }

    /// Begins to bring it level with `to`.
    pub(crate) fn begin_sync(&mut self, kind: &'static str, from: LogId, to: LogId, now: Micros) {
        self.sync = Some(Sync { kind, from, to, entries: 0, bytes: 0, began: now, took: None });
    }

    /// Whether a catch-up is under way.
    pub(crate) fn syncing(&self) -> bool {
        self.sync.as_ref().is_some_and(|sync| sync.took.is_none())
    }

    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.in_flight.len(), self.in_flight_bytes)
    }

    pub(crate) fn status(&self, config: &Config, reads_disk: bool) -> PeerStatus {
        let paused = match &self.progress {
            _ if self.forgot => Some(crate::mend::FORGOT),
            _ if !self.connected => Some("no session"),
            Progress::Probe => Some("waiting for the answer to a probe"),
            _ if reads_disk => Some("waiting for disk"),
            Progress::Replicate => self.window_full(config).then_some("window full"),
            Progress::Snapshot(t) if t.stalled => Some("snapshot not available"),
            Progress::Snapshot(t) if t.complete() => Some("installing the snapshot"),
            Progress::Snapshot(_) => Some("waiting for the answer to a snapshot piece"),
        };
        let sync = self.sync.as_ref().map(|sync| SyncReport {
            kind: sync.kind.to_owned(),
            from: sync.from,
            to: sync.to,
            entries: sync.entries,
            bytes: sync.bytes,
            took_us: sync.took.map(|t| t.0),
        });
        PeerStatus {
            id: self.id,
            member: self.member,
            connected: self.connected,
            state: self.state_name().to_owned(),
            has: self.matched,
            sent: self.sent,
            paused: paused.map(str::to_owned),
            sync,
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.progress {
            Progress::Probe => "probe",
            Progress::Replicate => "replicate",
            Progress::Snapshot(_) => "snapshot",
        }
    }
}

impl Raft {
    /// A session began. It starts from nothing: what the last one had under way may be lost, so a leader asks again.
    pub(crate) fn peer_up(&mut self, peer: NodeId, fx: &mut Effects<Self>) {
        if self.sessions.is_up(peer) {
            self.peer_down(peer, fx);
        }
        if peer == self.id {
            return disconnect(peer, "has the id of this node", fx);
        }
        let members = &self.members;
        let strangers = self.sessions.iter().filter(|id| !members.belongs(*id)).count();
        if !members.belongs(peer) && strangers >= self.config.max_observers {
            return disconnect(peer, "too many observers", fx);
        }
        let member = members.member(peer);
        self.sessions.add(peer);
        let (say, last) = (self.say(), self.log.last());
        match &mut self.state {
            State::Leader(leader) => {
                if leader.find(peer).is_none() {
                    leader.add(Peer::new(peer, member, false, last));
                }
                let peer = leader.find_mut(peer).expect("it was added above");
                fx.mark("raft/membership#peer_up.probe");
                peer.connected = true;
                peer.probe(last);
                peer.append(say, None, fx);
            }
            State::Candidate(_) | State::PreCandidate(_) if member == Member::Voter => {
                fx.mark("raft/membership#peer_up.asked_for_vote");
                self.ask_for_vote(peer, fx);
            }
            _ => {}
        }
    }

    /// A session ended.
    pub(crate) fn peer_down(&mut self, peer: NodeId, fx: &mut Effects<Self>) {
        self.sessions.remove(peer);
        self.owed_votes.retain(|(to, _)| *to != peer);
        match &mut self.state {
            State::Leader(leader) => {
                let member = leader.find_mut(peer).map(|p| {
                    p.connected = false;
                    p.probe(p.matched);
                    p.member
                });
                if member == Some(Member::Observer) {
                    leader.remove(peer);
                }
                self.reads.forget(peer);
                if self.handing_over() == Some(peer) {
                    self.give_up_transfer(&format!("the session with {peer} ended"), fx);
                }
            }
            State::Follower(f) if f.leader == Some(peer) => {
                fx.mark("raft/membership#peer_down.the_leader");
                self.fail_asked_reads(fx);
                self.leader_session_ended();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::Input;

    use super::*;
    use crate::testing::{A, B, C, Lab, OBSERVER, id, log_of};

    #[test]
    fn too_many_observers_are_sent_away_and_members_never() {
        let config = Config { max_observers: 1, ..Config::default() };
        let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config);
        let up = |peer: u64| Input::PeerUp { peer: NodeId(peer), member: Member::Observer };
        assert_eq!(lab.step(up(1)), ["disconnect n1: has the id of this node"]);
        assert!(lab.step(up(8)).is_empty());
        assert_eq!(lab.step(up(9)), ["disconnect n9: too many observers"]);
        assert!(lab.step(up(3)).is_empty(), "a voter, whatever it says it is");
        lab.step(Input::PeerDown { peer: NodeId(8) });
        assert!(lab.step(up(9)).is_empty());
        let message = Message::RequestVote { term: 9, last: id(9, 9), transfer: false };
        assert!(lab.hear(NodeId(8), message).is_empty(), "nobody hears who has no session");
    }

    #[test]
    fn a_learner_is_replicated_to_and_counts_for_nothing() {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        let said = lab.step(Input::PeerUp { peer: OBSERVER, member: Member::Observer });
        assert_eq!(said, ["n9: AppendEntries(term 2, prev (2,2), commit 0, round 0)"]);
        lab.matched(OBSERVER, id(2, 2));
        assert_eq!(lab.raft.committed, LogId::ZERO);
        assert_eq!(lab.propose(&["x"]).last().unwrap().split(':').next(), Some("n9"));
        for _ in 0..10 {
            lab.pass(50);
            lab.matched(OBSERVER, id(2, 3));
        }
        assert_eq!(lab.raft.phase(), "follower", "its answers are no quorum");
    }

    #[test]
    fn a_leader_forgets_a_learner_and_remembers_a_voter() {
        let mut lab = Lab::new(&[1]).connected();
        lab.step(Input::PeerUp { peer: OBSERVER, member: Member::Observer });
        lab.lead();
        lab.step(Input::PeerDown { peer: OBSERVER });
        lab.step(Input::PeerDown { peer: C });
        let State::Leader(leader) = &lab.raft.state else { panic!() };
        let known: Vec<_> = leader.peers.iter().map(|p| (p.id, p.connected)).collect();
        assert_eq!(known, [(B, true), (C, false)]);
    }

    #[test]
    fn a_catch_up_is_reported() {
        use common::protocol::Protocol;
        let mut lab = Lab::new(&[1, 1, 1]).connected();
        lab.lead();
        lab.now = lab.now.after(Micros(700));
        lab.matched(B, id(1, 1));
        lab.now = lab.now.after(Micros(300));
        lab.matched(B, id(2, 4));
        let b = &lab.raft.status().peers[0];
        assert_eq!((b.state.as_str(), b.has, b.sent), ("replicate", id(2, 4), id(2, 4)));
        let sync = b.sync.as_ref().unwrap();
        assert_eq!((sync.kind.as_str(), sync.entries, sync.took_us), ("append", 3, Some(300)));
        assert_eq!(lab.raft.status().peers[1].paused.as_deref(), Some("waiting for the answer to a probe"));
    }
}
