//! What a restart costs as the log grows.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use common::client::wire::{Envelope, SessionId};
use common::entries::{BatchBuilder, Entries, EntryKind};
use common::metrics::Counters;
use common::state_machine::kv::Command;
use common::storage::{Fs, Identity, LogEvent, LogOp, Opened, RealFs, Storage, StorageConfig};
use common::types::{LogId, NodeId};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli::Protocol;
use crate::compare::cost::{cpu_us, peak_memory};
use crate::compare::live::Live;
use crate::compare::{Env, Problem, Scenario, Work};
use crate::report::results::{Better, Repetition, Unit};
use crate::supervisor::ClusterSpec;

/// Entries that are made durable at a time.
const BATCH: u64 = 4096;
/// Keys that are written, in turn.
const KEYS: u64 = 10_000;
/// How long a node may take until it has applied its log.
const PATIENCE: Duration = Duration::from_mins(30);
const NODE: NodeId = NodeId(1);
/// So that no snapshot shortens the log.
const NO_SNAPSHOTS: [&str; 2] = ["replica.snapshot_entries=1000000000000", "replica.snapshot_bytes=1000000000000000"];

/// A node with a log of so many million entries.
#[derive(Debug)]
pub(super) struct LogScale {
    pub(super) millions: u64,
}

impl Scenario for LogScale {
    fn name(&self) -> String {
        format!("scale-log-{}M", self.millions)
    }

    fn title(&self) -> String {
        format!("A restart with {} million entries", self.millions)
    }

    fn shows(&self) -> String {
        format!(
            "A cluster of one node is given a log of {} million writes of 16 bytes to {KEYS} keys and started: how long until it \
             leads and has applied all of it, and the most memory it had. First without a snapshot; then again with those that it \
             takes by default.",
            self.millions
        )
    }

    fn does_not_show(&self) -> String {
        "a disk that is slow to read: the log has just been written and is in the system's memory as far as that goes."
            .to_owned()
    }

    fn extra(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(self.measure(env))
    }
}

impl LogScale {
    async fn measure(&self, env: &mut Env) -> Result<Repetition, Problem> {
        let spec = env.spec_of(&NO_SNAPSHOTS.map(str::to_owned))?;
        let data = spec.dir.join("data");
        let without = ClusterSpec { voters: 1, data: Some(data.clone()), patience: PATIENCE, ..spec };
        let with = ClusterSpec { settings: env.plan.settings.clone(), ..without.clone() };
        // It elects itself and so makes its folder one of a node that has led.
        Live::start(&without).await?.stop().await;
        env.say("writing the log");
        let (folder, protocol, entries) = (data.join(NODE.to_string()), without.protocol, self.millions * 1_000_000);
        let log = folder.join("log");
        let work = tokio::task::spawn_blocking(move || lengthen(&folder, protocol, entries));
        let last = work.await.context("the thread that writes the log panicked")??;

        let mut rep = Repetition::default();
        let size = bytes_below(&log).context("the log cannot be looked at")?;
        rep.measure("bytes of the log", Unit::Bytes, Better::Neither, size as f64);
        self.restart(env, &without, last, "without a snapshot", &mut rep).await?;
        env.say("taking snapshots");
        recovered(&with, last).await?.0.stop().await;
        self.restart(env, &with, last, "with a snapshot", &mut rep).await?;
        Ok(rep)
    }

    /// One start, and what it cost.
    async fn restart(
        &self,
        env: &Env,
        spec: &ClusterSpec,
        last: LogId,
        how: &str,
        rep: &mut Repetition,
    ) -> Result<(), Problem> {
        env.say(how);
        let (live, us) = recovered(spec, last).await?;
        let pid = live.pid(NODE);
        let (cpu, memory) = (pid.and_then(cpu_us), pid.and_then(peak_memory));
        live.stop().await;
        rep.measure(&format!("{how}: time"), Unit::Micros, Better::Lower, us as f64);
        for (name, unit, value) in [("CPU time", Unit::Micros, cpu), ("memory", Unit::Bytes, memory)] {
            if let Some(value) = value {
                rep.measure(&format!("{how}: {name}"), unit, Better::Lower, value as f64);
            }
        }
        Ok(())
    }
}

/// Starts the node and waits until it has applied everything up to there. Gives how long that took, in microseconds.
async fn recovered(spec: &ClusterSpec, last: LogId) -> Result<(Live, u64), Problem> {
    let start = Instant::now();
    let live = Live::start(spec).await?;
    let mut tick = interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while start.elapsed() < PATIENCE {
        tick.tick().await;
        // One that is busy may be slow to answer.
        if live.status(NODE).await.is_some_and(|status| status.core.applied >= last) {
            return Ok((live, start.elapsed().as_micros() as u64));
        }
    }
    Err(Problem::Failed(format!("the node did not apply its log up to {last} within {PATIENCE:?}")))
}

/// Adds so many writes of one session to the log of a node that is down. Gives the last one's id.
fn lengthen(folder: &Path, protocol: Protocol, entries: u64) -> anyhow::Result<LogId> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let identity = Identity { protocol: protocol.to_string(), cluster: format!("duet-{protocol}"), node: NODE };
    let Opened { log, mut log_worker, .. } =
        Storage::open(&fs, folder, &identity, &StorageConfig::default(), &Arc::new(Counters::default()))?;
    let opened = log.last().plus(1);
    let mut next = opened;
    let (mut builder, mut ops, mut events) = (BatchBuilder::default(), VecDeque::new(), Vec::new());
    builder.push(&postcard::to_stdvec(&Envelope::Open)?);
    for n in 1..=entries {
        builder.push(&write(SessionId(opened), n)?);
        if n % BATCH != 0 && n != entries {
            continue;
        }
        let run = Entries::new(next, EntryKind::Command, builder.take()).context("a batch without entries")?;
        next = run.last().plus(1);
        ops.push_back(LogOp::Append(run));
        log_worker.run(&mut ops, &mut events);
        let durable = |e: &LogEvent| matches!(e, LogEvent::Durable { upto, .. } if upto.plus(1) == next);
        anyhow::ensure!(events.iter().any(durable), "the log was not made longer: {events:?}");
        events.clear();
    }
    Ok(LogId::new(next.epoch, next.counter - 1))
}

/// A session's n-th write, whose client has the answers of all before.
fn write(session: SessionId, n: u64) -> anyhow::Result<Bytes> {
    let mut bytes = postcard::to_stdvec(&Envelope::Write { session, seq: n, floor: n })?;
    let key = format!("key {:04}", n % KEYS);
    bytes.extend(Command::Put { key: key.as_bytes(), value: &u128::from(n).to_le_bytes() }.to_bytes());
    Ok(bytes.into())
}

fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for file in std::fs::read_dir(folder)? {
        sum += file?.metadata()?.len();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::state_machine::{Applier, KvStore};

    #[test]
    fn a_log_that_was_lengthened_can_be_applied() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { protocol: "raft".into(), cluster: "duet-raft".into(), node: NODE };
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let open = || Storage::open(&fs, dir.path(), &identity, &StorageConfig::default(), &Arc::default()).unwrap();
        let mut opened = open();
        let first = Entries::noop(LogId::new(1, 1));
        opened.log_worker.run(&mut VecDeque::from([LogOp::Append(first)]), &mut Vec::new());
        drop(opened);
        let last = lengthen(dir.path(), Protocol::Raft, 2 * KEYS).unwrap();
        assert_eq!(last, LogId::new(1, 2 * KEYS + 2), "the session's first entry is one more");
        let log = open().log;
        let (mut applier, mut answers) = (Applier::new(KvStore::default()), Vec::new());
        log.cached(LogId::ZERO, last).unwrap().iter().for_each(|run| applier.apply(run, &mut answers));
        let written =
            |a: &common::state_machine::Applied| matches!(a.answer, common::client::wire::Answer::Written { .. });
        assert!(answers.len() as u64 == 2 * KEYS + 1 && answers.iter().all(written));
    }
}
