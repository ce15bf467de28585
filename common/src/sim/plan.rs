//! A plan: everything that is decided about a run before it starts. A seed is turned into a plan, and a plan is what runs,
//! what is written down when something fails, and what a shrinker makes smaller.
//!
//! What a plan does not say (the delay of each segment, which sectors survive a power cut, what each client asks) is drawn
//! from [`Streams`](super::stream::Streams) of its seed, keyed so that removing one fault changes nothing else.

use super::subject::Timing;
use crate::node::ReplicaConfig;
use crate::quorum::Share;
use crate::rng::Rng;
use crate::state_machine::SessionLimits;
use crate::types::{Micros, NodeId};

/// A run, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `raft` or `zab`, or another subject's [`NAME`](crate::protocol::Protocol::NAME).
    pub protocol: String,
    /// Feeds every stream.
    pub seed: u64,
    /// The cluster, its surroundings and its clients.
    pub shape: Shape,
    /// What goes wrong, in order of time.
    pub faults: Vec<Timed>,
}

impl Plan {
    /// How many microseconds the slowest clock counts at least, in a thousand of the world's.
    pub fn slowest_rate(&self) -> u64 {
        let drifts = self.faults.iter().filter_map(|timed| match timed.fault {
            Fault::Drift { per_mille, .. } => Some((1000 + i64::from(per_mille)).clamp(100, 1000) as u64),
            _ => None,
        });
        drifts.min().unwrap_or(1000)
    }

    /// How long by the world's clock a session must have been unused before it may be dropped, whoever leads: clocks may run
    /// fast or jump, and a turn takes its time.
    pub fn least_idle(&self) -> Micros {
        let (mut rate, mut jumps) = (1000, 0);
        for timed in &self.faults {
            match timed.fault {
                Fault::Drift { per_mille, .. } => rate = rate.max(1000 + i64::from(per_mille)),
                Fault::Jump { by, .. } => jumps += by.0,
                _ => {}
            }
        }
        let idle = self.shape.load.session_idle_us().saturating_sub(jumps) * 1000 / rate as u64;
        Micros(idle.saturating_sub(2 * self.shape.machine.turn_us + 1000))
    }
}

/// The cluster, its surroundings and its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes 1 to `voters` vote. 1 to 7.
    pub voters: u64,
    /// The next so many observe. 0 to 4.
    pub observers: u64,
    /// Timers.
    pub timing: Timing,
    /// How long faults may begin. Then everything is healed but what cannot be, and liveness is demanded.
    pub span: Micros,
    /// Links.
    pub net: NetShape,
    /// Disks and processors.
    pub machine: MachineShape,
    /// Clients.
    pub load: LoadShape,
}

/// How links are when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetShape {
    /// The least one-way delay, in microseconds.
    pub delay_us: u64,
    /// The mean of what is added to it (exponential), in microseconds.
    pub jitter_us: u64,
    /// An end that hears nothing for so long closes its session, in microseconds.
    pub silence_us: u64,
    /// Bytes that may be under way in one direction of a session; what a sender has beyond waits at the sender.
    pub window_bytes: u64,
    /// Bytes that may wait at the sender; beyond, the session ends.
    pub queue_bytes: u64,
    /// How long after a session's end, or a refusal, the dialling node tries again, in microseconds.
    pub redial_us: u64,
}

/// How machines are when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineShape {
    /// Mean time of one disk operation batch that syncs, in microseconds.
    pub sync_us: u64,
    /// Mean time of one that does not, in microseconds.
    pub write_us: u64,
    /// Time of a replica's turn, in microseconds: what comes meanwhile waits for the next turn.
    pub turn_us: u64,
    /// Mean time in which the state machine carries out what waits for it, in microseconds.
    pub apply_us: u64,
    /// A log segment's size in bytes, see [`StorageConfig`](crate::storage::StorageConfig).
    pub segment_bytes: u64,
    /// A snapshot after so many entries.
    pub snapshot_entries: u64,
    /// Entries kept below a snapshot.
    pub tail_entries: u64,
    /// Bytes of applied entries kept in memory.
    pub cache_bytes: u64,
    /// Tightness of the replica's own limits: 0 for the defaults, otherwise drawn from this number, legal but unlikely.
    pub limits: u64,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadShape {
    /// How many there are. 1 to 64.
    pub clients: u64,
    /// What all of them ask together in a second, as far as answers come in time.
    pub per_second: u64,
    /// How many keys they share. At least 1.
    pub keys: u64,
    /// The largest value, in bytes. At least 16.
    pub value_bytes: u64,
    /// Parts of each hundred: put, delete, compare-and-set, linearizable read, local read. Their sum is 100.
    pub mix: [u8; 5],
    /// How long a client waits for an answer before it asks another node the same again, in microseconds.
    pub retry_us: u64,
    /// Of each hundred requests, so many are sent twice, the second time to any node.
    pub duplicates: u8,
    /// Tightness of the limits of the clients' sessions: 0 for the defaults, otherwise drawn from this number, so that
    /// sessions are dropped while they are in use. See [`LoadShape::sessions`].
    pub limits: u64,
}

impl LoadShape {
    /// How long a session may be unused, in microseconds: the default, or so little that sessions in use meet it.
    pub fn session_idle_us(&self) -> u64 {
        let usual = ReplicaConfig::default().session_idle_us;
        if self.limits == 0 {
            return usual;
        }
        let mut rng = Rng::new(self.limits ^ 0x1D1E);
        // Between one and 32 times as long as there is between two writes of a client; but never so little that a session is
        // gone before a client that was not answered has asked again. Then nothing could be promised to it (L2).
        let between = (self.clients * 1_000_000 / self.per_second.max(1)) << rng.between(0, 6);
        let least = (2 * self.retry_us) << rng.between(0, 3);
        if rng.next_u64() & 1 == 1 { between.max(least).clamp(1000, 60_000_000) } else { usual }
    }

    /// The limits of the session table, the same on all nodes.
    pub fn sessions(&self) -> SessionLimits {
        let mut limits = SessionLimits::default();
        if self.limits == 0 {
            return limits;
        }
        let mut rng = Rng::new(self.limits);
        // Each is left alone half of the time: when all are tight, none is ever the first to be met. Half of the clients
        // at least have room at a time, so that each gets its turn.
        let mut draw = |low: u64, high: u64| (rng.next_u64() & 1 == 1).then(|| rng.between(low, high.max(low + 1)));
        if let Some(sessions) = draw(self.clients.div_ceil(2), 2 * self.clients) {
            limits.sessions = sessions as usize;
        }
        if let Some(window) = draw(1, 16) {
            limits.window = window;
        }
        if let Some(bytes) = draw(0, 4 * self.value_bytes) {
            limits.answer_bytes = bytes as usize;
        }
        if let Some(bytes) = draw(self.clients.div_ceil(2) * 512, 2 * self.clients * (512 + self.value_bytes)) {
            limits.total_bytes = bytes as usize;
        }
        limits
    }
}

/// A fault and when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// When.
    pub at: Micros,
    /// What.
    pub fault: Fault,
}

/// Whom a fault strikes. Roles are looked up when it begins; if nobody has the role, nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// This node.
    Node(NodeId),
    /// Whoever leads.
    Leader,
    /// One that does not lead: the n-th, counted round.
    Other(u64),
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process ends, the operating system goes on: what was written stays, synced or not; peers hear of it at once.
    Kill,
    /// The power fails: what was not synced stays in any part that the file system permits; peers hear nothing.
    Power,
}

/// One thing that goes wrong. `span` is how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what the fields are for")]
pub enum Fault {
    /// A node ends, in the middle of whatever its disk is doing, and starts again after `back`.
    Crash { node: Target, how: Death, back: Micros },
    /// Power fails for all at once.
    CrashAll { back: Micros },
    /// A process stands still; the system keeps its connections open.
    Pause { node: Target, span: Micros },
    /// Nothing gets from any of `from` to any of `to`. One way only, unless the plan says the other way too.
    Cut { from: Vec<Target>, to: Vec<Target>, span: Micros },
    /// A session breaks: each end hears of it in its own time, what was under way is lost from some point on.
    Reset { a: Target, b: Target },
    /// Of each thousand segments on the link so many are lost; they are sent again after a while, as TCP does.
    Loss { from: Target, to: Target, per_mille: u16, span: Micros },
    /// So many come twice, the second time later; the receiver's sequence numbers sort them out.
    Duplicate { from: Target, to: Target, per_mille: u16, span: Micros },
    /// So many are overtaken by later ones.
    Reorder { from: Target, to: Target, per_mille: u16, span: Micros },
    /// So many arrive with a bit flipped that TCP's checksum missed.
    Corrupt { from: Target, to: Target, per_mille: u16, span: Micros },
    /// Every segment takes so much longer.
    Slow { from: Target, to: Target, delay: Micros, span: Micros },
    /// No more than so many bytes fit on the link; the rest waits at the sender.
    Narrow { from: Target, to: Target, bytes: u64, span: Micros },
    /// Bytes that are no frame come to `to` in the session that it has with `from`.
    Hostile { from: Target, to: Target, bytes: Hostile },
    /// Somebody who says that he is `from` calls `to`, and is not.
    Stranger { from: Target, to: Target, lie: Lie },
    /// The disk takes no operation to its end.
    Stall { node: Target, span: Micros },
    /// The disk answers late, by so much for each operation.
    SlowDisk { node: Target, delay: Micros, span: Micros },
    /// The `nth` call from now on of this kind fails with EIO.
    DiskError { node: Target, call: DiskCall, nth: u64 },
    /// The `nth` write from now on takes only a part of its bytes and says so.
    ShortWrite { node: Target, nth: u64 },
    /// Only so many more bytes fit on the disk.
    DiskFull { node: Target, bytes: u64, span: Micros },
    /// A bit of what is stored flips, somewhere in the node's files.
    BitRot { node: Target },
    /// The `nth` write from now on is acknowledged, even its sync, and never reaches the disk.
    LostWrite { node: Target, nth: u64 },
    /// The `nth` write from now on lands somewhere else in its file.
    Misdirect { node: Target, nth: u64 },
    /// The node ends, and its disk is replaced by an image from some time before.
    Rollback { node: Target, back: Micros },
    /// The node ends, and its disk is gone.
    Wipe { node: Target, back: Micros },
    /// The node's clock runs faster or slower by so many parts in a thousand.
    Drift { node: Target, per_mille: i16, span: Micros },
    /// The node's clock jumps ahead.
    Jump { node: Target, by: Micros },
    /// No fault: an operator asks the leader to hand leadership over, to whom it likes or to this node.
    Transfer { to: Option<Target> },
    /// No fault: an operator asks the leader for other members, all of it at once.
    Change { make: Vec<(Make, Target)> },
}

/// What an operator wants a node to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Make {
    Voter,
    Learner,
    Gone,
    /// A voter that weighs so much, in this group.
    Weighing(Share),
}

/// What comes instead of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Hostile {
    Garbage,
    TooLong,
    /// The beginning of a frame; what follows in the session is taken for the rest of it.
    BrokenOff,
    /// A length, large and allowed, with a checksum that is not its own.
    WrongLength,
}

/// What a stranger says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Lie {
    Cluster,
    Protocol,
    Version,
    /// Whom he believes to have called.
    Called,
}

/// A call of the disk that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in `storage::mem_fs::Call`")]
pub enum DiskCall {
    Read,
    Write,
    Sync,
    SyncDir,
    Create,
    Rename,
}
