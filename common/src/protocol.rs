//! The contract: a protocol is a value.
//!
//! A core owns no clock, socket, file, thread or source of randomness. It is fed [`Input`]s, one at a time, and
//! says what must happen as [`Effect`]s in a buffer that the caller owns and reuses. The same inputs always give
//! the same effects, so whoever feeds it (the tokio shell, a test, a simulator) runs the very same protocol.
//!
//! # What the caller promises
//!
//! 1. **Order.** Effects are carried out in the order they were emitted. The effects that reach the disk
//!    ([`Append`](Effect::Append), [`Truncate`](Effect::Truncate), [`SaveHard`](Effect::SaveHard),
//!    [`InstallSnapshot`](Effect::InstallSnapshot)) become durable in that order: none is durable before an earlier one.
//! 2. **Truth about durability.** [`Input::Durable`], [`Input::HardSaved`] and [`Input::SnapshotInstalled`] arrive only
//!    after the fdatasync (and rename, and directory sync) that covers them. A `Durable { upto }` speaks of the log as it
//!    is now: after a `Truncate`, nothing is reported that was written before it and cut by it.
//! 3. **Sessions.** Messages from a peer arrive between its [`Input::PeerUp`] and [`Input::PeerDown`], in the order they
//!    were sent, without gaps, prefix by prefix: a session may end with messages lost at its tail, never in its middle.
//!    Each end learns of the end of a session in its own time. A message sent to a peer without a session is dropped.
//! 4. **Time** (`now`) never goes back, and is read after what the input tells of has happened: a process that stood still
//!    between its clock and a question would otherwise take a lease that is over for one that is not.
//!
//! # What the core promises
//!
//! 1. A message which promises that something is durable is emitted only after the core was told so. Nothing that may
//!    leave earlier waits: a leader's proposals go out before its own disk has them.
//! 2. Nothing grows without a bound: what it cannot hold, it refuses ([`Effect::Refused`]).
//! 3. No input makes it panic. A message which breaks the protocol ends that peer's session ([`Effect::Disconnect`]).

use std::fmt::Debug;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::Message;
use crate::entries::{Batch, Entries};
use crate::log::LogView;
use crate::membership::{MemberChange, Membership, MembershipError};
use crate::status::Status;
use crate::trace::{TraceBody, TraceEvent};
use crate::types::{LogId, Member, Micros, NodeId, Role};

/// A replication protocol. See the [module](self) for what both sides promise.
pub trait Protocol: Sized + Send + 'static {
    /// Timers and limits, validated before they get here.
    type Config: Clone + Debug + Serialize + Send + Sync + 'static;
    /// What its nodes say to each other.
    type Message: Message;
    /// The few values that must survive a restart beside the log. Raft: currentTerm and votedFor. ZAB: acceptedEpoch
    /// and currentEpoch. The default is that of a node which never ran.
    type Hard: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + 'static;

    /// `raft` or `zab`.
    const NAME: &'static str;

    /// A node as it starts, first or again, from what its disk holds. Emits nothing; the first `step` may.
    fn new(boot: Boot<Self>) -> Self;

    /// Handles one input at time `now`.
    fn step(&mut self, now: Micros, input: Input<Self::Message>, fx: &mut Effects<Self>);

    /// When it next wants [`Input::Tick`], if nothing else comes before.
    fn wake_at(&self) -> Option<Micros>;

    /// Its log: what was appended, durable or not.
    fn log(&self) -> &LogView;

    /// The last entry known to be committed.
    fn committed(&self) -> LogId;

    /// What it would tell an operator.
    fn status(&self) -> Status;

    /// Who belongs to the cluster as this node knows it, and the entry that says so; zero where none does yet.
    fn membership(&self) -> (LogId, &Membership);

    /// Its place in the cluster. The replica looks after every step, so this must cost next to nothing.
    fn leadership(&self) -> Leadership;

    /// What to save in place of `hard` before a damaged log is cut where it stops being whole, so that the node knows at this
    /// start and every later one that it lost what it had acknowledged. None: this protocol cannot go on from there, and the
    /// node refuses to start.
    fn mend(hard: Self::Hard) -> Option<Self::Hard> {
        let _ = hard;
        None
    }

    /// Whether it lost what it had acknowledged, and has not yet been brought to where it may vote again.
    fn is_mending(&self) -> bool {
        false
    }

    /// With whom beside the voters a node of these settings needs sessions while it does not vote itself: it calls them.
    fn sources(config: &Self::Config) -> Vec<NodeId> {
        let _ = config;
        Vec::new()
    }
}

/// What the answer to a read barrier may rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// A quorum that was asked whether the leader still leads.
    #[default]
    Quorum,
    /// The clocks: a leader may answer by its lease, if the protocol has such a thing and its configuration allows it.
    Clocks,
    /// The leader's word that it is one, if the protocol has such a thing: linearizable only as long as it is right.
    Leader,
}

/// Who leads, as one node sees it. Whenever any of it changes, what was asked of the former leader is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// What this node does.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Raft: currentTerm. ZAB: currentEpoch.
    pub epoch: u64,
}

/// How a core starts.
#[derive(Debug)]
pub struct Boot<P: Protocol> {
    /// Who this node is.
    pub id: NodeId,
    /// Who belonged to the cluster where the snapshot ends, and the entry that said so; zero for the settings. Entries after
    /// the snapshot may say otherwise.
    pub membership: (LogId, Membership),
    /// Timers and limits.
    pub config: P::Config,
    /// For randomised time-outs.
    pub seed: u64,
    /// The time now.
    pub now: Micros,
    /// What was saved last.
    pub hard: P::Hard,
    /// The last id covered by the newest snapshot on disk, or zero. The state machine starts from it.
    pub snapshot: LogId,
    /// The durable log. Its base is at most `snapshot`, and everything after `snapshot` is in memory.
    pub log: LogView,
}

/// One thing that happened to a node.
#[derive(Clone, Debug)]
pub enum Input<M> {
    /// Time has passed.
    Tick,
    /// A session with a peer began: a member of the cluster, or any other node, which may observe.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// What it says it is. Where members change, it may not know yet.
        member: Member,
    },
    /// The session with a peer ended; what was sent last may not have arrived.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A message of a peer's session.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: M,
    },
    /// Replicate these commands. Answered within the same step by [`Effect::Accepted`] or [`Effect::Refused`].
    Propose {
        /// The commands, in order. Not empty.
        batch: Batch,
    },
    /// A linearizable read wants to know up to where it must have applied. Answered, now or later, by
    /// [`Effect::ReadReady`] or [`Effect::ReadFailed`] with the same number. Works on any node.
    ReadBarrier {
        /// The caller's number for it.
        id: u64,
        /// What the answer may rest on.
        trust: Trust,
    },
    /// Hand leadership over, to `to` or to the best follower. Answered, now or when it is over, by
    /// [`Effect::TransferAnswer`] with the same number.
    Transfer {
        /// The caller's number for it.
        id: u64,
        /// To whom.
        to: Option<NodeId>,
    },
    /// Change who belongs to the cluster. Answered, now or when it is over, by [`Effect::ChangeAnswer`] with the same
    /// number.
    Change {
        /// The caller's number for it.
        id: u64,
        /// What to change, all of it at once.
        changes: Vec<MemberChange>,
    },
    /// Every log entry up to here is durable on this node.
    Durable {
        /// The last one.
        upto: LogId,
    },
    /// The oldest [`Effect::SaveHard`] not yet answered is durable.
    HardSaved,
    /// The state machine has applied everything up to here.
    Applied {
        /// The last one.
        upto: LogId,
    },
    /// This node stored a snapshot of its own state machine, and cut the log behind it.
    Compacted {
        /// The last id the snapshot covers.
        snapshot: LogId,
        /// The id before the first entry the log still has; at most `snapshot`.
        base: LogId,
    },
    /// Answers [`Effect::Fetch`]: entries that follow `after`, or nothing when they cannot be had (compacted meanwhile).
    Fetched {
        /// For whom they were fetched.
        peer: NodeId,
        /// The id before them.
        after: LogId,
        /// One run.
        entries: Option<Entries>,
    },
    /// Answers [`Effect::ReadSnapshot`]. None when this node has no snapshot or cannot read it.
    SnapshotRead {
        /// For whom it was read.
        peer: NodeId,
        /// The piece.
        chunk: Option<Chunk>,
    },
    /// Answers [`Effect::WriteSnapshot`]: the piece is in the file (not yet synced).
    SnapshotWritten {
        /// Which snapshot.
        snapshot: LogId,
        /// How many of its bytes are there.
        end: u64,
    },
    /// Answers [`Effect::InstallSnapshot`]: stored durably, loaded in the state machine, and the log starts after it
    /// (or keeps what follows it, if that was asked for).
    SnapshotInstalled {
        /// Which snapshot.
        snapshot: LogId,
        /// Who belongs to the cluster where it ends, and the entry that says so. None where no entry ever did.
        // Aside, so that every other input is not moved about with room for it.
        membership: Option<Box<(LogId, Membership)>>,
    },
    /// Answers [`Effect::WriteSnapshot`] or [`Effect::InstallSnapshot`] when the bytes were damaged or out of order.
    /// What was written aside is gone; log and state machine are as before.
    SnapshotRefused {
        /// Which snapshot.
        snapshot: LogId,
    },
}

/// A piece of a stored snapshot, on its way between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The last log id the snapshot covers.
    pub snapshot: LogId,
    /// Where in the file the piece starts.
    pub offset: u64,
    /// The file's length in bytes.
    pub total: u64,
    /// The bytes. Carried beside the frame's header, so serde skips them.
    #[serde(skip)]
    pub data: Bytes,
}

impl Chunk {
    /// Where the piece ends.
    pub fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    /// Whether it is the last piece.
    pub fn is_last(&self) -> bool {
        self.end() >= self.total
    }
}

/// Why a request could not be taken. Says nothing about requests accepted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Only the leader can; this may be it.
    #[error("this node does not lead{}", leader.map_or(String::new(), |l| format!(", {l} does")))]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Too much waits to be committed already; try again.
    #[error("too many uncommitted bytes, try again")]
    Busy,
    /// Leadership changed before it was done. For a read: nothing happened. (A proposal is never answered so.)
    #[error("the leader changed meanwhile")]
    LeaderChanged,
    /// Not offered.
    #[error("not offered: {0}")]
    Unsupported(String),
    /// The leader is handing its office over. It takes nothing meanwhile, so try again.
    #[error("leadership is being handed over to {to}, try again")]
    Transferring {
        /// To whom.
        to: NodeId,
    },
    /// Leadership was not handed over.
    #[error("leadership was not handed over: {0}")]
    NotTransferred(String),
    /// The members stay as they are.
    #[error("the members were not changed: {0}")]
    NotChanged(Hindrance),
}

/// What stood in the way of a change of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Hindrance {
    /// They are like that already.
    #[error("nothing would change")]
    IsSo,
    /// It cannot be made, whatever happens next.
    #[error("{0}")]
    Forbidden(String),
    /// It may be possible in a moment: something else is under way, or somebody is not level.
    #[error("{0}")]
    NotYet(String),
}

impl From<MembershipError> for Hindrance {
    fn from(e: MembershipError) -> Self {
        if e == MembershipError::Nothing { Self::IsSo } else { Self::Forbidden(e.to_string()) }
    }
}

/// One thing a core wants done. In order; see the [module](self).
#[derive(Clone, Debug)]
pub enum Effect<P: Protocol> {
    /// Say this to a peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: P::Message,
    },
    /// End the session with a peer that broke the protocol; it may come back with a new one.
    Disconnect {
        /// Whose.
        peer: NodeId,
        /// The rule it broke.
        reason: &'static str,
    },
    /// Add these to the log on disk. Answered by [`Input::Durable`], perhaps together with others.
    Append(Entries),
    /// Remove every entry after this one from the log on disk, durably.
    Truncate {
        /// The last entry that stays.
        after: LogId,
    },
    /// Save this durably. Answered by one [`Input::HardSaved`] each.
    SaveHard(P::Hard),
    /// Everything up to here may be applied. Never goes back.
    Commit {
        /// The last one.
        upto: LogId,
    },
    /// The proposal in hand has these places in the log (and is appended by an `Append` of the same step).
    Accepted {
        /// Of its first command.
        first: LogId,
        /// Of its last command.
        last: LogId,
    },
    /// The proposal in hand was not taken and will never be applied.
    Refused(Refusal),
    /// The read may go on as soon as everything up to `at` is applied here.
    ReadReady {
        /// The number it came with.
        id: u64,
        /// What must be applied first.
        at: LogId,
    },
    /// The read cannot be confirmed; ask again.
    ReadFailed {
        /// The number it came with.
        id: u64,
        /// Why.
        reason: Refusal,
    },
    /// Leadership was handed over, or was not.
    TransferAnswer {
        /// The number it came with.
        id: u64,
        /// Who leads now, or why it is not whom leadership was to go to.
        answer: Result<NodeId, Refusal>,
    },
    /// The members were changed, or were not.
    ChangeAnswer {
        /// The number it came with.
        id: u64,
        /// The entry since which it is so; or why it is not, and None where that is not known here.
        answer: Result<LogId, Option<Refusal>>,
    },
    /// Read the log after this id from disk, for a peer that is behind what is in memory. At most one outstanding
    /// per peer.
    Fetch {
        /// For whom.
        peer: NodeId,
        /// The id before the first entry wanted.
        after: LogId,
        /// At most so many payload bytes, but at least one entry.
        max_bytes: usize,
    },
    /// Read a piece of a stored snapshot, for a peer that is behind the log's base. At most one outstanding per peer.
    ReadSnapshot {
        /// For whom.
        peer: NodeId,
        /// Which; None for the newest. If it is gone, the newest from its start is read instead.
        snapshot: Option<LogId>,
        /// From where.
        offset: u64,
        /// At most so many bytes.
        max_bytes: usize,
    },
    /// Write a received piece aside. A piece with offset 0 starts a new file and drops an unfinished one.
    WriteSnapshot(Chunk),
    /// The snapshot is complete: verify it, make it durable, start the log after it, load it in the state machine.
    /// Until it is answered the core emits no other effect on log or state machine.
    InstallSnapshot {
        /// Which.
        snapshot: LogId,
        /// Whether entries after it stay in the log (Raft, when the log agrees with the snapshot).
        keep_tail: bool,
    },
    /// A rule of the protocol is broken on this node: stop, do not answer anything any more.
    Halt(String),
    /// Something worth knowing happened. Only when tracing is on.
    Trace(TraceEvent),
}

/// The reusable buffer of effects.
#[derive(Debug)]
pub struct Effects<P: Protocol> {
    list: Vec<Effect<P>>,
    tracing: bool,
}

impl<P: Protocol> Default for Effects<P> {
    fn default() -> Self {
        Self { list: Vec::new(), tracing: false }
    }
}

impl<P: Protocol> Effects<P> {
    /// An empty buffer; with `tracing`, cores describe what they do in it.
    pub fn new(tracing: bool) -> Self {
        Self { list: Vec::new(), tracing }
    }

    /// Adds an effect.
    #[inline]
    pub fn push(&mut self, effect: Effect<P>) {
        self.list.push(effect);
    }

    /// Adds a [`Effect::Send`].
    #[inline]
    pub fn send(&mut self, to: NodeId, message: P::Message) {
        self.list.push(Effect::Send { to, message });
    }

    /// Adds a trace event, if tracing is on; otherwise `body` is not even called. `anchor` names the room and rule in our
    /// code, `paper` the section or figure it comes from.
    #[inline]
    pub fn trace(&mut self, anchor: &'static str, paper: &'static str, body: impl FnOnce() -> TraceBody) {
        self.mark(anchor);
        if self.tracing {
            self.list.push(Effect::Trace(TraceEvent { anchor, paper, body: body() }));
        }
    }

    /// Counts a branch that was taken, `crate/room#function` or `crate/room#function.branch`; see [`mark`](mod@crate::mark).
    #[allow(clippy::unused_self, reason = "an effect: cores reach the recorder through the buffer only")]
    #[inline]
    pub fn mark(&mut self, name: &'static str) {
        crate::mark::hit(name);
    }

    /// Takes all effects in order, leaving the buffer's room for reuse.
    #[inline]
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect<P>> {
        self.list.drain(..)
    }

    /// Takes back everything after the first `len` effects: what a step wanted before it found its own node broken.
    pub fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    /// The effects not yet drained.
    #[inline]
    pub fn as_slice(&self) -> &[Effect<P>] {
        &self.list
    }
}
