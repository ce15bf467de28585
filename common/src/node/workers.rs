//! The three threads that may block: each owns one worker and works through what it is given, in order.

use std::collections::VecDeque;
use std::sync::mpsc::{self as queue, Receiver as Queue};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::apply::{ApplyEvent, ApplyOp, ApplyWorker};
use super::io::Outputs;
use super::setup::NodeError;
use super::shell::spawn;
use crate::state_machine::StateMachine;
use crate::storage::{LogEvent, LogOp, LogWorker, SnapshotEvent, SnapshotOp, SnapshotWorker};
use crate::types::NodeId;

/// Bunches of answers that wait for the node's thread, at most; a worker that finds so many waits.
const ANSWERS: usize = 256;

/// What a worker answers.
pub(super) enum Answers {
    Log(Vec<LogEvent>),
    Snapshot(SnapshotEvent),
    Apply(Vec<ApplyEvent>),
}

/// The threads and the queues to them.
pub(super) struct WorkerThreads {
    log: queue::Sender<Vec<LogOp>>,
    snapshot: queue::Sender<Vec<SnapshotOp>>,
    apply: queue::Sender<Vec<ApplyOp>>,
    threads: [JoinHandle<()>; 3],
}

impl WorkerThreads {
    pub(super) fn start<S: StateMachine>(
        id: NodeId,
        log: LogWorker,
        snapshot: SnapshotWorker,
        machine: ApplyWorker<S>,
    ) -> Result<(Self, Receiver<Answers>), NodeError> {
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let (log_ops, ops) = queue::channel();
        let out = Out::new(answers.clone(), "log");
        let log = spawn(format!("{id} log"), move || run_log(log, &ops, &out))?;
        let (snapshot_ops, ops) = queue::channel();
        let out = Out::new(answers.clone(), "snapshot");
        let snapshot = spawn(format!("{id} snapshot"), move || run_snapshot(snapshot, &ops, &out))?;
        let (apply_ops, ops) = queue::channel();
        let out = Out::new(answers, "apply");
        let apply = spawn(format!("{id} apply"), move || run_apply(machine, &ops, &out))?;
        let threads = [log, snapshot, apply];
        Ok((Self { log: log_ops, snapshot: snapshot_ops, apply: apply_ops, threads }, receiver))
    }

    /// Hands operations over. A worker that is gone has said why, or will: nothing is lost by not handing over.
    pub(super) fn give<M>(&self, out: &mut Outputs<M>) {
        if !out.log.is_empty() {
            let _ = self.log.send(std::mem::take(&mut out.log));
        }
        if !out.apply.is_empty() {
            let _ = self.apply.send(std::mem::take(&mut out.apply));
        }
        if !out.snapshot.is_empty() {
            let _ = self.snapshot.send(std::mem::take(&mut out.snapshot));
        }
    }

    /// Waits until the workers have ended. What waited for them is still carried out: to the disk it is as if the node had
    /// stopped a moment later.
    pub(super) fn join(self) {
        let Self { log, snapshot, apply, threads } = self;
        drop((log, snapshot, apply));
        for thread in threads {
            // A worker that panicked has been reported by its `Out`.
            let _ = thread.join();
        }
    }
}

/// Where a worker answers. When its thread panics, the node hears of it rather than waiting for ever.
struct Out {
    answers: Sender<Answers>,
    name: &'static str,
}

impl Out {
    fn new(answers: Sender<Answers>, name: &'static str) -> Self {
        Self { answers, name }
    }

    /// False when the node is gone.
    fn send(&self, answers: Answers) -> bool {
        self.answers.blocking_send(answers).is_ok()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = format!("the {} thread panicked", self.name);
            self.send(Answers::Log(vec![LogEvent::Failed(why)]));
        }
    }
}

fn run_log(mut worker: LogWorker, ops: &Queue<Vec<LogOp>>, out: &Out) {
    let mut batch = VecDeque::new();
    while let Ok(first) = ops.recv() {
        batch.extend(first);
        // Group commit: everything that gathered during the last sync shares the next one.
        while let Ok(more) = ops.try_recv() {
            batch.extend(more);
        }
        let mut events = Vec::new();
        worker.run(&mut batch, &mut events);
        out.send(Answers::Log(events));
    }
}

fn run_snapshot(mut worker: SnapshotWorker, ops: &Queue<Vec<SnapshotOp>>, out: &Out) {
    while let Ok(some) = ops.recv() {
        for op in some {
            if !out.send(Answers::Snapshot(worker.run(op))) {
                return;
            }
        }
    }
}

fn run_apply<S: StateMachine>(mut worker: ApplyWorker<S>, ops: &Queue<Vec<ApplyOp>>, out: &Out) {
    while let Ok(some) = ops.recv() {
        let mut events = Vec::with_capacity(some.len());
        for op in some {
            worker.run(op, &mut events);
        }
        if !out.send(Answers::Apply(events)) {
            return;
        }
    }
}
