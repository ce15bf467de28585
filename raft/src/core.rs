//! The state of a node (figure 2's box "State"), and which room handles which input.
//!
//! Everything here is plain data: no clock, no disk, no network. What must be durable is asked for by an effect and counts
//! only when an input says that it is; what may be said early is said early.

use std::collections::VecDeque;
use std::fmt;

use common::log::LogView;
use common::membership::{Members, Membership};
use common::mutant;
use common::protocol::{Boot, Effect, Effects, Input, Leadership, Protocol, Trust};
use common::rng::Rng;
use common::status::Status;
use common::types::{LogId, Micros, NodeId, Role};
use serde::{Deserialize, Serialize};

use crate::broadcast::disconnect;
use crate::config::Config;
use crate::election::Votes;
use crate::invariants;
use crate::lease::Lease;
use crate::membership::{Peer, Say, Sessions};
use crate::message::Message;
use crate::read::Reads;
use crate::reconfig::Changing;
use crate::recovery::DiskRead;
use crate::snapshot::Incoming;
use crate::transfer::Handover;

/// No cluster counts so far: one election per microsecond would take 292,000 years. Terms below it can be counted on.
const TERM_MAX: u64 = u64::MAX / 2;

/// The persistent state beside the log (figure 2).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hard {
    /// currentTerm: the latest term this node has seen.
    pub term: u64,
    /// votedFor: who has this node's vote in that term.
    pub voted_for: Option<NodeId>,
    /// This node lost entries that it had acknowledged, and votes for nobody: see [`mend`](crate::mend).
    pub mending: bool,
}

impl fmt::Debug for Hard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.voted_for {
            Some(node) => write!(f, "term {}, vote {node}", self.term),
            None => write!(f, "term {}, no vote", self.term),
        }?;
        if self.mending { f.write_str(", mending") } else { Ok(()) }
    }
}

/// A node of a Raft cluster, as a value. See [`Protocol`].
#[derive(Debug)]
pub struct Raft {
    pub(crate) id: NodeId,
    pub(crate) members: Members,
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) now: Micros,
    /// currentTerm and votedFor, perhaps not yet durable.
    pub(crate) hard: Hard,
    /// How many `SaveHard` were not yet answered; at zero, `hard` is durable.
    pub(crate) unsaved: usize,
    /// `hard` at the start was behind the log; it is saved in the first step.
    save_at_start: bool,
    pub(crate) log: LogView,
    pub(crate) durable: LogId,
    /// commitIndex.
    pub(crate) committed: LogId,
    /// lastApplied.
    pub(crate) applied: LogId,
    pub(crate) snapshot: LogId,
    pub(crate) sessions: Sessions,
    pub(crate) state: State,
    pub(crate) election_due: Micros,
    /// Vote replies that wait until `hard` is durable. At most one per voter.
    pub(crate) owed_votes: Vec<(NodeId, bool)>,
    /// Reads of log and snapshots for peers that are not yet answered. At most one of each kind per peer.
    pub(crate) disk_reads: Vec<(NodeId, DiskRead)>,
    /// A snapshot that is being received.
    pub(crate) incoming: Option<Incoming>,
    /// A snapshot that is being installed, and whether the log's tail stays.
    pub(crate) installing: Option<(LogId, bool)>,
    pub(crate) reads: Reads,
    /// Until then it votes for nobody: see [`lease`](crate::lease).
    pub(crate) promised: Micros,
    /// For how many elections it has waited in vain: see [`priority`](Config::priority).
    pub(crate) waited: u32,
    /// A transfer of leadership that is not answered.
    pub(crate) handover: Option<Handover>,
    /// A change of members that is not answered.
    pub(crate) changing: Option<Changing>,
    /// Since when the disk has something to do and has finished nothing: see [`stall`](crate::stall).
    pub(crate) disk_since: Option<Micros>,
    halted: bool,
    /// Steps taken, to look at the whole of itself now and then.
    steps: u32,
}

/// What a node is at present (figure 4), with what it needs to know for it and nothing else.
#[derive(Debug)]
pub(crate) enum State {
    /// Passive. Learners are always so, and who was removed.
    Follower(Follower),
    /// Asking whether to stand for election.
    PreCandidate(Votes),
    /// Standing for election. It counts its own vote when that is durable.
    Candidate(Votes),
    /// Elected in the current term.
    Leader(Leader),
}

/// A follower's view of its leader.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Who leads the current term, if it spoke.
    pub(crate) leader: Option<NodeId>,
    /// When it spoke last.
    pub(crate) heard: Micros,
    /// The last entry known to be the same as in the leader's log. Starts at what is committed, which every leader has
    /// (Leader Completeness, section 5.4).
    pub(crate) verified: LogId,
    /// The last match told to the leader. If a session lost it, the leader's probe asks again.
    pub(crate) acked: LogId,
    /// The newest round heard from the leader.
    pub(crate) round: u64,
    /// An answer that is due as soon as the term is durable.
    pub(crate) reply: Option<Due>,
    /// The same for a piece of a snapshot: which, and where the next must start.
    pub(crate) piece: Option<(LogId, u64)>,
}

/// An answer to AppendEntries that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// Everything verified so far.
    Match,
    /// This `prev` is not in the log.
    Conflict(LogId),
}

impl Due {
    pub(crate) fn is_match(self) -> bool {
        matches!(self, Self::Match)
    }
}

impl Follower {
    pub(crate) fn new(leader: Option<NodeId>, heard: Micros, committed: LogId) -> Self {
        Self { leader, heard, verified: committed, acked: LogId::ZERO, round: 0, reply: None, piece: None }
    }
}

/// A leader's volatile state.
#[derive(Debug)]
pub(crate) struct Leader {
    /// The no-op it began with: the first entry of its own term.
    pub(crate) noop: LogId,
    /// Every other voter and each connected observer, by id.
    pub(crate) peers: Vec<Peer>,
    pub(crate) heartbeat_due: Micros,
    pub(crate) check_due: Micros,
    /// Proposals not yet committed: last index and cost. Their order is the log's.
    pub(crate) uncommitted: VecDeque<(u64, usize)>,
    pub(crate) uncommitted_bytes: usize,
    pub(crate) lease: Lease,
}

impl Leader {
    pub(crate) fn new(raft: &Raft, noop: LogId) -> Self {
        let last = raft.log.last();
        let observers = raft.sessions.iter().filter(|id| !raft.members.votes(*id));
        let all = raft.members.others(raft.id).chain(observers);
        let mut peers: Vec<Peer> =
            all.map(|id| Peer::new(id, raft.members.member(id), raft.sessions.is_up(id), last)).collect();
        peers.sort_unstable_by_key(|p| p.id);
        Self {
            noop,
            peers,
            heartbeat_due: raft.now.after(raft.config.heartbeat()),
            check_due: raft.now.after(raft.config.election_timeout()),
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            lease: Lease::default(),
        }
    }

    pub(crate) fn position(&self, id: NodeId) -> Option<usize> {
        self.peers.iter().position(|p| p.id == id)
    }

    pub(crate) fn find(&self, id: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|p| p.id == id)
    }

    pub(crate) fn find_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|p| p.id == id)
    }

    pub(crate) fn add(&mut self, peer: Peer) {
        let at = self.peers.partition_point(|p| p.id < peer.id);
        self.peers.insert(at, peer);
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.peers.retain(|p| p.id != id);
    }
}

impl Protocol for Raft {
    type Config = Config;
    type Message = Message;
    type Hard = Hard;

    const NAME: &'static str = "raft";

    fn new(boot: Boot<Self>) -> Self {
        let Boot { id, membership, config, seed, now, mut hard, snapshot, mut log } = boot;
        if !log.contains(snapshot) {
            log.reset(snapshot);
        }
        // A term is saved before any entry of it is appended, so a log from a later term means that the hard state was
        // lost or put back. Taking that term with no vote is safe: a vote in it would have been told only after it was
        // saved, and whoever led that term has its quorum, which a second vote of ours cannot undo.
        if mutant!("R19") && log.last().epoch < hard.term {
            hard = Hard { term: log.last().epoch, voted_for: None, ..hard };
        }
        if mutant!("R26") {
            hard.voted_for = None;
        }
        hard.mending &= !mutant!("R96");
        let save_at_start = log.last().epoch > hard.term;
        if save_at_start {
            hard = Hard { term: log.last().epoch, voted_for: None, ..hard };
        }
        let mut raft = Self {
            id,
            members: Members::new(membership, snapshot, &log),
            config,
            rng: Rng::new(seed),
            now,
            hard,
            unsaved: 0,
            save_at_start,
            durable: log.last(),
            log,
            committed: snapshot,
            applied: snapshot,
            snapshot,
            sessions: Sessions::default(),
            state: State::Follower(Follower::new(None, now, snapshot)),
            election_due: now,
            owed_votes: Vec::new(),
            disk_reads: Vec::new(),
            incoming: None,
            installing: None,
            reads: Reads::default(),
            promised: Micros(0),
            waited: 0,
            handover: None,
            changing: None,
            disk_since: None,
            halted: false,
            steps: 0,
        };
        // The only voter there is waits for nobody.
        if !raft.members.is_only(raft.id) {
            // Nobody was heard in no term.
            if raft.hard.term > 0 && !mutant!("R57") {
                raft.promise();
            }
            raft.reset_election_timer();
        }
        raft
    }

    fn step(&mut self, now: Micros, input: Input<Message>, fx: &mut Effects<Self>) {
        if self.halted {
            return;
        }
        self.now = self.now.max(now);
        let (before, mut look_at_all, mut disk_did) = (fx.as_slice().len(), cfg!(debug_assertions), false);
        if self.save_at_start {
            self.save_at_start = false;
            self.save_hard(fx);
        }
        match input {
            Input::Tick => {
                look_at_all = true;
                self.tick(fx);
            }
            Input::PeerUp { peer, .. } => self.peer_up(peer, fx),
            Input::PeerDown { peer } => self.peer_down(peer, fx),
            Input::Message { from, message } => self.receive(from, message, fx),
            Input::Propose { batch } => self.propose(batch, fx),
            Input::ReadBarrier { id, trust } => self.read_barrier(id, trust == Trust::Clocks, fx),
            Input::Transfer { id, to } => self.transfer(id, to, fx),
            Input::Change { id, changes } => self.change(id, &changes, fx),
            Input::Durable { upto } => {
                disk_did = true;
                self.durable(upto, fx);
            }
            Input::HardSaved => {
                disk_did = true;
                self.hard_saved(fx);
            }
            Input::Applied { upto } => {
                self.applied = self.applied.max(upto.min(self.committed));
                self.log.release(self.applied);
            }
            Input::Compacted { snapshot, base } => self.compacted(snapshot, base),
            Input::Fetched { peer, after, entries } => self.fetched(peer, after, entries, fx),
            Input::SnapshotRead { peer, chunk } => self.snapshot_read(peer, chunk, fx),
            Input::SnapshotWritten { snapshot, end } => self.snapshot_written(snapshot, end, fx),
            Input::SnapshotInstalled { snapshot, membership } => {
                disk_did = true;
                self.snapshot_installed(snapshot, membership.map(|m| *m), fx);
            }
            Input::SnapshotRefused { snapshot } => self.snapshot_refused(snapshot, fx),
        }
        self.watch_disk(disk_did);
        if self.hard.mending {
            self.heal(fx);
        }
        self.steps = self.steps.wrapping_add(1);
        let look_at_node = self.steps.is_multiple_of(invariants::EVERY);
        if look_at_all || look_at_node || !invariants::marks_hold(self) {
            self.look_at_itself(look_at_all, before, fx);
        }
    }

    fn wake_at(&self) -> Option<Micros> {
        if self.halted {
            return None;
        }
        let due = match &self.state {
            State::Leader(leader) => leader.heartbeat_due.min(leader.check_due),
            _ => self.election_due,
        };
        [Some(due), self.transfer_due(), self.stall_due()].into_iter().flatten().min()
    }

    fn log(&self) -> &LogView {
        &self.log
    }

    fn committed(&self) -> LogId {
        self.committed
    }

    fn membership(&self) -> (LogId, &Membership) {
        (self.members.at(), self.members.now())
    }

    fn leadership(&self) -> Leadership {
        let role = match &self.state {
            State::Leader(_) => Role::Leading,
            State::Follower(Follower { leader: Some(_), .. }) if !self.members.votes(self.id) => Role::Observing,
            State::Follower(Follower { leader: Some(_), .. }) => Role::Following,
            _ => Role::Looking,
        };
        Leadership { role, leader: self.leader(), epoch: self.hard.term }
    }

    fn mend(hard: Hard) -> Option<Hard> {
        Some(crate::mend::marked(&hard))
    }

    fn is_mending(&self) -> bool {
        self.hard.mending
    }

    fn status(&self) -> Status {
        let Leadership { role, leader, epoch } = self.leadership();
        let peers = match &self.state {
            State::Leader(l) => l.peers.iter().map(|p| p.status(&self.config, self.reads_disk_for(p.id))).collect(),
            _ => Vec::new(),
        };
        let voted_for = self.hard.voted_for.map_or_else(|| "nobody".to_owned(), |v| v.to_string());
        Status {
            protocol: Self::NAME.to_owned(),
            id: self.id,
            member: self.members.member(self.id),
            role,
            phase: self.phase().to_owned(),
            leader,
            epoch,
            hard: vec![("currentTerm".to_owned(), self.hard.term.to_string()), ("votedFor".to_owned(), voted_for)],
            base: self.log.base(),
            last: self.log.last(),
            durable: self.durable,
            committed: self.committed,
            applied: self.applied,
            snapshot: self.snapshot,
            membership: self.members.now().clone(),
            membership_at: self.members.at(),
            peers,
        }
    }
}

impl Raft {
    /// Gives a message to its room. What comes from a node without a session is not heard.
    fn receive(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        if !self.sessions.is_up(from) {
            return;
        }
        if message.term() > TERM_MAX {
            return disconnect(from, "a term that no cluster reaches", fx);
        }
        match message {
            Message::PreVote { term, last } => self.on_pre_vote(from, term, last, fx),
            Message::PreVoteReply { term, granted } => self.on_pre_vote_reply(from, term, granted, fx),
            Message::RequestVote { term, last, transfer } => self.on_request_vote(from, term, last, transfer, fx),
            Message::RequestVoteReply { term, granted } => self.on_request_vote_reply(from, term, granted, fx),
            Message::AppendEntries { term, prev, commit, round, entries } => {
                if self.accept_leader(from, term, fx) {
                    self.on_append_entries(from, prev, commit, round, entries, fx);
                }
            }
            Message::AppendEntriesReply { term, round, answer } => {
                self.on_append_entries_reply(from, term, round, answer, fx);
            }
            Message::InstallSnapshot { term, chunk } => {
                if self.accept_leader(from, term, fx) {
                    self.on_install_snapshot(from, chunk, fx);
                }
            }
            Message::InstallSnapshotReply { term, snapshot, end } => {
                self.on_install_snapshot_reply(from, term, snapshot, end, fx);
            }
            Message::Priority { term, priority } => self.on_priority(from, term, priority),
            Message::TimeoutNow { term } => self.on_timeout_now(from, term, fx),
            Message::ReadIndex { term, context, lease } => self.on_read_index(from, term, context, lease, fx),
            Message::ReadIndexReply { term, context, at } => self.on_read_index_reply(from, term, context, at, fx),
        }
    }

    fn tick(&mut self, fx: &mut Effects<Self>) {
        if self.transfer_due().is_some_and(|due| self.now >= due) {
            self.transfer_timeout(fx);
        }
        self.leave_stalled_disk(fx);
        if let State::Leader(leader) = &self.state {
            let (check, beat) = (self.now >= leader.check_due, self.now >= leader.heartbeat_due);
            if check {
                self.check_quorum(fx);
            }
            if beat {
                self.heartbeat(fx);
            }
        } else if self.now >= self.election_due {
            self.election_timeout(fx);
        }
    }

    /// This node stored a snapshot of its own. It covers what was applied, so it is within what is committed.
    fn compacted(&mut self, snapshot: LogId, base: LogId) {
        if snapshot > self.committed || !self.log.contains(snapshot) || !self.log.contains(base) || base > snapshot {
            return;
        }
        self.snapshot = self.snapshot.max(snapshot);
        self.applied = self.applied.max(snapshot);
        self.log.compact(base);
        // The snapshot is durable, whether or not the entries it covers were before.
        self.durable = self.durable.max(base);
    }

    /// Whether it is as it must be; all of it, or what costs the same for any number of peers.
    fn look_at_itself(&mut self, all: bool, before: usize, fx: &mut Effects<Self>) {
        let found = if all { invariants::check(self) } else { invariants::check_node(self) };
        // With a seeded bug the node goes on, so that the oracles have to find it.
        if let Err(broken) = found
            && mutant::active().is_none()
        {
            // What this step wanted may be wrong: none of it leaves the node.
            fx.truncate(before);
            self.halt(broken.to_string(), fx);
        }
    }

    /// Asks for currentTerm and votedFor to be saved.
    pub(crate) fn save_hard(&mut self, fx: &mut Effects<Self>) {
        self.unsaved += 1;
        fx.push(Effect::SaveHard(self.hard.clone()));
    }

    /// Stops for good: going on could break what was promised.
    pub(crate) fn halt(&mut self, why: String, fx: &mut Effects<Self>) {
        self.halted = true;
        fx.push(Effect::Halt(why));
    }

    /// Who leads the current term, as far as it is known here.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Leader(_) => Some(self.id),
            State::Follower(f) => f.leader,
            _ => None,
        }
    }

    /// What the next AppendEntries says beside its entries.
    pub(crate) fn say(&self) -> Say {
        Say { term: self.hard.term, commit: self.committed.counter, round: self.reads.round() }
    }

    /// Raft's word for what this node is.
    pub(crate) fn phase(&self) -> &'static str {
        match &self.state {
            State::Follower(_) if self.hard.mending => "mending",
            State::Follower(_) if !self.members.votes(self.id) => "learner",
            State::Follower(_) => "follower",
            State::PreCandidate(_) => "pre-candidate",
            State::Candidate(_) => "candidate",
            State::Leader(_) => "leader",
        }
    }
}
