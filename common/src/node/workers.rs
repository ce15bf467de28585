//! The three threads that may block: each has one worker and works through what it is given, in order.
//!
//! **A few commands** need no thread. Waking one, and being woken by its answer, costs more than they do, and on the way of a
//! lone write that is time its client waits. So the node's own thread carries them out itself, if nothing is under way that
//! they would overtake, and if this state machine was quick the last time; what is more, or slow, goes to its thread, and the
//! protocol does not wait for it.

use std::collections::VecDeque;
use std::sync::mpsc::{self as queue, Receiver as Queue};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::apply::{ApplyEvent, ApplyOp, ApplyWorker};
use super::io::Outputs;
use super::setup::NodeError;
use super::shell::spawn;
use crate::entries::Entries;
use crate::state_machine::StateMachine;
use crate::storage::{LogEvent, LogOp, LogWorker, SnapshotEvent, SnapshotOp, SnapshotWorker};
use crate::types::NodeId;

/// Bunches of answers that wait for the node's thread, at most; a worker that finds so many waits.
const ANSWERS: usize = 256;

/// At most so many commands and queries, and bytes of commands, are carried out on the node's own thread. Where more come at
/// a time the threads are awake anyway, and work side by side.
const FEW: usize = 4;
const SHORT: usize = 4 << 10;
/// When they take longer than this, its thread has the next bunches, twice as many each time, up to so many.
const SLOW: Duration = Duration::from_micros(100);
const REST_MAX: u32 = 4096;

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
    /// Bunches that the apply thread has and has not answered.
    applying: usize,
    /// So many more bunches go to it, whatever they are; and so many did when it was slow the last time.
    rest: u32,
    rested: u32,
    at_hand: AtHand,
    threads: [JoinHandle<()>; 3],
}

/// Carries operations out on the calling thread.
type AtHand = Box<dyn FnMut(&mut Vec<ApplyOp>) -> Option<Vec<ApplyEvent>> + Send>;

/// That of a worker which its thread uses too. None if it is in use, or its thread died over it.
fn at_hand<S: StateMachine>(machine: Arc<Mutex<ApplyWorker<S>>>) -> AtHand {
    Box::new(move |ops| {
        let mut machine = machine.try_lock().ok()?;
        let mut events = Vec::with_capacity(ops.len());
        for op in ops.drain(..) {
            machine.run(op, &mut events);
        }
        Some(events)
    })
}

/// Whether it is worth no thread.
fn few(ops: &[ApplyOp]) -> bool {
    let (mut count, mut bytes) = (0, 0);
    for op in ops {
        match op {
            ApplyOp::Apply { runs, .. } => {
                count += runs.iter().map(Entries::len).sum::<usize>();
                bytes += runs.iter().map(Entries::bytes).sum::<usize>();
            }
            ApplyOp::Query { .. } => count += 1,
            ApplyOp::Describe { .. } | ApplyOp::Idle { .. } | ApplyOp::Freeze | ApplyOp::Restore { .. } => {
                return false;
            }
        }
    }
    !ops.is_empty() && count <= FEW && bytes <= SHORT
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
        let machine = Arc::new(Mutex::new(machine));
        let at_hand = at_hand(Arc::clone(&machine));
        let apply = spawn(format!("{id} apply"), move || run_apply(&machine, &ops, &out))?;
        let threads = [log, snapshot, apply];
        let this = Self {
            log: log_ops,
            snapshot: snapshot_ops,
            apply: apply_ops,
            applying: 0,
            rest: 0,
            rested: 0,
            at_hand,
            threads,
        };
        Ok((this, receiver))
    }

    /// Carries out what waits for the state machine, if that is little.
    pub(super) fn apply_few<M>(&mut self, out: &mut Outputs<M>) -> Option<Vec<ApplyEvent>> {
        if self.applying > 0 || !few(&out.apply) {
            return None;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        let began = Instant::now();
        let events = (self.at_hand)(&mut out.apply)?;
        // One may have lost its core meanwhile; a machine that is slow is so again.
        self.rested = if began.elapsed() > SLOW { (self.rested * 2).clamp(1, REST_MAX) } else { 0 };
        self.rest = self.rested;
        Some(events)
    }

    /// The apply thread answered a bunch.
    pub(super) fn applied(&mut self) {
        self.applying = self.applying.saturating_sub(1);
    }

    /// Hands operations over. A worker that is gone has said why, or will: nothing is lost by not handing over.
    pub(super) fn give<M>(&mut self, out: &mut Outputs<M>) {
        if !out.log.is_empty() {
            let _ = self.log.send(std::mem::take(&mut out.log));
        }
        if !out.snapshot.is_empty() {
            let _ = self.snapshot.send(std::mem::take(&mut out.snapshot));
        }
    }

    /// The same for the state machine.
    pub(super) fn give_apply<M>(&mut self, out: &mut Outputs<M>) {
        if !out.apply.is_empty() && self.apply.send(std::mem::take(&mut out.apply)).is_ok() {
            self.applying += 1;
        }
    }

    /// Waits until the workers have ended. What waited for them is still carried out: to the disk it is as if the node had
    /// stopped a moment later.
    pub(super) fn join(self) {
        let Self { log, snapshot, apply, threads, .. } = self;
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

fn run_apply<S: StateMachine>(worker: &Mutex<ApplyWorker<S>>, ops: &Queue<Vec<ApplyOp>>, out: &Out) {
    while let Ok(some) = ops.recv() {
        let mut events = Vec::with_capacity(some.len());
        {
            // Free, but for a node's thread that panicked with it and is gone.
            let Ok(mut worker) = worker.lock() else { return };
            for op in some {
                worker.run(op, &mut events);
            }
        }
        if !out.send(Answers::Apply(events)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::entries::{Batch, EntryKind};
    use crate::node::requests::Ticket;
    use crate::types::LogId;

    fn apply(commands: usize, bytes: usize) -> ApplyOp {
        let batch = Batch::from_payloads(&vec![vec![0; bytes]; commands]);
        let run = Entries::new(LogId::new(1, 1), EntryKind::Command, batch).unwrap();
        ApplyOp::Apply { runs: vec![run], answers: true }
    }

    fn query() -> ApplyOp {
        ApplyOp::Query { ticket: Ticket::any(), local: true, query: Bytes::new() }
    }

    #[test]
    fn only_a_few_short_commands_and_queries_need_no_thread() {
        assert!(few(&[apply(FEW, 1)]) && few(&[apply(1, SHORT)]) && few(&[query(), apply(FEW - 2, 1), query()]));
        let too_many = [vec![apply(FEW + 1, 1)], vec![apply(FEW, 1), query()], vec![apply(2, 1), apply(FEW - 1, 1)]];
        let too_long = [vec![apply(1, SHORT + 1)], vec![apply(1, SHORT), apply(1, 1)]];
        for ops in too_many.iter().chain(&too_long) {
            assert!(!few(ops), "{ops:?}");
        }
        // What takes as long as the state is large.
        for op in [ApplyOp::Freeze, ApplyOp::Restore { snapshot: LogId::ZERO }, ApplyOp::Idle { upto: LogId::ZERO }] {
            assert!(!few(&[query(), op]));
        }
        assert!(!few(&[]), "nothing to do");
    }
}
