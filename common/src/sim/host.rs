//! One simulated machine: a disk, a clock, and (while it runs) the shipping replica with its three workers.
//!
//! The workers are the values that real nodes run on threads. Here each works on one batch at a time; the batch is carried
//! out at the end of the time it takes, so a crash can strike before it, or, by cutting the power at one of its
//! steps, in the middle of it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::plan::{MachineShape, Shape};
use super::subject::Subject;
use super::truth::{Truth, TruthReader};
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::node::{ApplyOp, ApplyWorker, Input, NodeError, Parts, Replica, ReplicaBoot, ReplicaConfig, TraceSink};
use crate::quorum::Voters;
use crate::rng::Rng;
use crate::state_machine::{Applier, KvStore};
use crate::storage::mem_fs::Image;
use crate::storage::{Fs, Identity, LogOp, LogWorker, MemFs, SnapshotOp, SnapshotWorker, StorageConfig};
use crate::types::{LogId, Member, Micros, NodeId};

/// A worker, what waits for it, and what it is at.
#[derive(Debug)]
pub(super) struct Lane<W, O> {
    pub(super) worker: W,
    pub(super) waiting: VecDeque<O>,
    pub(super) current: VecDeque<O>,
}

impl<W, O> Lane<W, O> {
    fn new(worker: W) -> Self {
        Self { worker, waiting: VecDeque::new(), current: VecDeque::new() }
    }

    /// Takes everything that waits as the next batch. False if it is busy, or nothing waits.
    pub(super) fn take_all(&mut self) -> bool {
        if !self.current.is_empty() || self.waiting.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.current, &mut self.waiting);
        true
    }

    /// Likewise, for one operation.
    pub(super) fn take_one(&mut self) -> bool {
        if !self.current.is_empty() || self.waiting.is_empty() {
            return false;
        }
        self.current.extend(self.waiting.pop_front());
        true
    }
}

/// A process.
pub(super) struct Running<P: Subject> {
    pub(super) replica: Replica<P>,
    pub(super) log: Lane<LogWorker, LogOp>,
    pub(super) snapshot: Lane<SnapshotWorker, SnapshotOp>,
    pub(super) apply: Lane<ApplyWorker<KvStore>, ApplyOp>,
    /// What came in since the last turn.
    pub(super) inbox: VecDeque<Input>,
    /// The batch of the log's worker that an error of the disk ended.
    pub(super) failed: Vec<LogOp>,
    /// The processor is at the last turn until then.
    pub(super) busy_until: Micros,
    /// The entry that says to it who belongs, as of the last turn.
    pub(super) members_since: Option<LogId>,
    /// For C-MONO: the greatest epoch and commit seen in this life.
    pub(super) epoch: u64,
    pub(super) committed: LogId,
    /// It found its log damaged when it started, and goes on without the rest.
    pub(super) mended: bool,
    /// How many bytes of snapshots it may read for peers in a second; 0 for no limit.
    pub(super) snapshot_rate: u64,
    /// When it read the last piece of one, by its own clock, and its length.
    pub(super) piece: (Micros, u64),
    /// How many entries of the committed sequence were handed to the state machine.
    pub(super) handed: usize,
    /// How many it has applied.
    pub(super) applied: usize,
}

/// A machine.
#[allow(clippy::struct_excessive_bools, reason = "facts about a disk, each of which may hold without the others")]
pub(super) struct Host<P: Subject> {
    pub(super) id: NodeId,
    pub(super) member: Member,
    pub(super) fs: MemFs,
    pub(super) truth: TruthReader<P::Hard>,
    pub(super) clock: Clock,
    /// Counts ends of the process: what was scheduled for an earlier life does not happen.
    pub(super) life: u64,
    pub(super) running: Option<Running<P>>,
    /// How many pauses hold it.
    pub(super) paused: u32,
    /// How many stalls hold its disk, and how much slower it is.
    pub(super) stalled: u32,
    pub(super) slow_disk: Micros,
    /// The disk was tampered with: it may start without what it had if it is mending; it may refuse to start, and if it does
    /// it stays down.
    pub(super) damaged: bool,
    /// Disk faults were planned since it started: it may stop itself.
    pub(super) troubled: bool,
    /// It last ended by a power cut, so that what it reads is what is on the disk.
    pub(super) dark: bool,
    /// How often it has tried to start since it ended, and failed because of an error of the disk.
    pub(super) failed_starts: u32,
    /// The disk has only so much room.
    pub(super) full: bool,
    /// It will not be started again, and why.
    pub(super) retired: Option<String>,
    /// An image of its disk from before.
    pub(super) image: Option<Image>,
    /// What was durable, and what was under way, when the process ended.
    pub(super) left: Option<Left<P::Hard>>,
}

/// What the disk of a process that ended has to hold.
#[derive(Debug)]
pub(super) struct Left<H> {
    /// At least this.
    pub(super) truth: Truth<H>,
    /// And perhaps some of these.
    pub(super) log: Vec<LogOp>,
    /// Whether a snapshot may have appeared.
    pub(super) snapshot: bool,
    /// Whether the disk is damaged, as far as its log tells. Only then must the node know.
    pub(super) refused: bool,
    /// Whether an operation failed on the way: nobody knows what it left behind.
    pub(super) failed: bool,
}

/// Where every host keeps its data.
pub(super) fn dir() -> &'static Path {
    Path::new("/data")
}

impl<P: Subject> Host<P> {
    pub(super) fn new(id: NodeId, member: Member) -> Self {
        Self {
            id,
            member,
            fs: MemFs::new(),
            truth: TruthReader::new(),
            clock: Clock::default(),
            life: 0,
            running: None,
            paused: 0,
            stalled: 0,
            slow_disk: Micros(0),
            damaged: false,
            troubled: false,
            full: false,
            dark: false,
            failed_starts: 0,
            retired: None,
            image: None,
            left: None,
        }
    }

    /// Whether it can vote, now or when it is started.
    pub(super) fn votes(&self) -> bool {
        self.retired.is_none() && !self.running.as_ref().is_some_and(|r| r.replica.core().is_mending())
    }

    /// Starts the process from what the disk holds.
    pub(super) fn open(
        &mut self,
        shape: &Shape,
        voters: &Voters,
        seed: u64,
        now: Micros,
        trace: Option<TraceSink>,
    ) -> Result<Running<P>, NodeError> {
        let counters = Arc::new(Counters::default());
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let identity =
            Identity { protocol: P::NAME.to_owned(), cluster: super::net::CLUSTER.to_owned(), node: self.id };
        let storage = storage(&shape.machine);
        let machine = Applier::with_limits(KvStore::default(), shape.load.sessions());
        let parts = Parts::<P, _>::open(&fs, dir(), &identity, &storage, machine, &counters)?;
        let snapshot = parts.snapshot;
        let config = replica_config(shape);
        let snapshot_rate = config.snapshot_bytes_per_s;
        let replica = Replica::<P>::new(ReplicaBoot {
            id: self.id,
            membership: parts
                .membership
                .unwrap_or_else(|| (LogId::ZERO, Membership::of_ids(voters.ids().iter().copied()))),
            protocol: P::config(&shape.timing, self.id),
            config,
            seed,
            now: self.clock.local(now),
            hard: parts.hard,
            snapshot,
            log: parts.log,
            counters,
            trace,
            gauges: Box::new(Vec::new),
        });
        Ok(Running {
            epoch: replica.core().leadership().epoch,
            committed: replica.core().committed(),
            replica,
            log: Lane::new(parts.log_worker),
            snapshot: Lane::new(parts.snapshot_worker),
            apply: Lane::new(parts.apply_worker),
            failed: Vec::new(),
            inbox: VecDeque::new(),
            members_since: None,
            busy_until: now,
            mended: parts.lost.is_some(),
            snapshot_rate,
            piece: (Micros(0), 0),
            handed: 0,
            applied: 0,
        })
    }
}

fn storage(shape: &MachineShape) -> StorageConfig {
    StorageConfig {
        segment_bytes: shape.segment_bytes,
        // More than a few sectors would only cost memory.
        fill_bytes: 4 << 10,
        cache_bytes: shape.cache_bytes as usize,
        ..StorageConfig::default()
    }
}

/// The replica's limits: the defaults, or legal and unlikely ones.
fn replica_config(shape: &Shape) -> ReplicaConfig {
    let machine = &shape.machine;
    let mut config = ReplicaConfig {
        snapshot_entries: machine.snapshot_entries,
        tail_entries: machine.tail_entries,
        session_idle_us: shape.load.session_idle_us(),
        ..ReplicaConfig::default()
    };
    if machine.limits > 0 {
        let mut rng = Rng::new(machine.limits);
        config.batch_entries = rng.between(1, 64) as usize;
        config.batch_bytes = rng.between(1, 4096) as usize;
        config.batches_in_flight = rng.between(1, 8) as usize;
        config.hold_us = rng.between(0, 2_000_000);
        config.retry_us = rng.between(1, 100_000);
        // A read that may wait for less than some round trips would be refused for ever (L2).
        config.read_us = rng.between(100_000, 5_000_000).max(shape.timing.election_timeout.0);
        config.read_attempts = rng.between(1, 16) as u32;
        config.barriers_in_flight = rng.between(1, 4) as usize;
        config.apply_piece_bytes = rng.between(1, 4096) as usize;
        config.apply_window_bytes = rng.between(1, 16_384) as usize;
        // Few enough, now and then, to be reached.
        config.pending_requests = 4 << rng.between(0, 9);
        config.client_requests = rng.between(2, 100) as usize;
        // Now and then never.
        config.fresh_us = rng.between(0, 200_000) / 20_000 * 20_000;
        // Apart, so that what the others are for a number stays what it was.
        let mut rng = Rng::new(machine.limits ^ 0x5A9C);
        config.snapshot_bytes_per_s = (64 << 10) << rng.between(0, 5);
    }
    config
}
