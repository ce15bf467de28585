//! A node's storage beside a plain list of what it should hold.
//!
//! The model keeps the state after every single operation. After a crash, what is found must be one of the states from
//! the last one that was reported durable on, or that with a part of the run that was being appended. Log, hard state
//! and snapshot have to fit the *same* state: that is the promise that effects become durable in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::protocol::Chunk;

pub(super) type Line = (LogId, Bytes);

/// What should be on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// Where the log last started anew.
    start: LogId,
    /// Everything since, whether compacted or not.
    entries: Vec<Line>,
    /// How far compaction may have gone.
    floor: LogId,
    hard: Option<Vec<u8>>,
    pub(super) snapshot: LogId,
}

impl State {
    pub(super) fn last(&self) -> LogId {
        self.entries.last().map_or(self.start, |e| e.0)
    }

    fn contains(&self, id: LogId) -> bool {
        id == self.start || self.entries.iter().any(|e| e.0 == id)
    }

    fn reset(&mut self, base: LogId) {
        (self.start, self.floor) = (base, base);
        self.entries.clear();
    }

    /// A snapshot that the log does not hold makes the log start after it.
    fn recovered(mut self) -> Self {
        if !self.contains(self.snapshot) {
            self.reset(self.snapshot);
        }
        self
    }

    fn shows(&self, found: &Found) -> bool {
        let expected = self.entries.iter().filter(|e| e.0 > found.base);
        self.hard == found.hard
            && self.snapshot == found.snapshot
            && (found.base == self.start || found.base <= self.floor && self.contains(found.base))
            && expected.eq(found.lines.iter())
    }
}

/// One operation, as the model sees it.
#[derive(Clone, Debug)]
pub(super) enum Did {
    Append(Entries),
    Truncate(LogId),
    Reset(LogId),
    Compact(LogId),
    SaveHard(Vec<u8>),
    Snapshot(LogId),
}

/// What was found on disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) base: LogId,
    pub(super) lines: Vec<Line>,
    pub(super) hard: Option<Vec<u8>>,
    pub(super) snapshot: LogId,
}

/// A node on a file system that can crash.
pub(super) struct Node {
    pub(super) fs: MemFs,
    dir: PathBuf,
    open: Option<Opened>,
    /// `states[i + 1]` is after `did[i]`.
    pub(super) states: Vec<State>,
    did: Vec<Did>,
    /// How many of `did` were reported durable.
    reported: usize,
    /// The batch in the making.
    ops: VecDeque<LogOp>,
    generation: u64,
    log_failed: bool,
}

fn lines_of(run: &Entries) -> impl Iterator<Item = Line> + '_ {
    run.iter().map(|(id, payload)| (id, Bytes::copy_from_slice(payload)))
}

impl Node {
    /// A new node.
    pub(super) fn new() -> Self {
        let fs = MemFs::new();
        let mut node = Self {
            fs,
            dir: "/node".into(),
            open: None,
            states: vec![State::default()],
            did: Vec::new(),
            reported: 0,
            ops: VecDeque::new(),
            generation: 0,
            log_failed: false,
        };
        node.reopen().unwrap();
        node
    }

    /// Whether the last batch ended with a failure.
    pub(super) fn log_failed(&self) -> bool {
        self.log_failed
    }

    pub(super) fn state(&self) -> &State {
        self.states.last().unwrap()
    }

    fn push(&mut self, did: Did) {
        let mut next = self.state().clone();
        match &did {
            Did::Append(run) => next.entries.extend(lines_of(run)),
            Did::Truncate(after) => next.entries.retain(|e| e.0 <= *after),
            Did::Reset(base) => next.reset(*base),
            Did::Compact(upto) => next.floor = next.floor.max(*upto),
            Did::SaveHard(hard) => next.hard = Some(hard.clone()),
            Did::Snapshot(id) => next.snapshot = *id,
        }
        self.states.push(next);
        self.did.push(did);
    }

    /// A run which continues the model's log, with payloads that no other run has.
    pub(super) fn next_run(&mut self, epochs: u64, n: u64, size: usize) -> Entries {
        let last = self.state().last();
        let first = if last.epoch == 0 || epochs > 0 {
            let counter = if self.generation.is_multiple_of(2) { last.counter + 1 } else { 1 };
            id(last.epoch + epochs.max(1), counter)
        } else {
            last.plus(1)
        };
        self.generation += 1;
        let payload = |i: u64| {
            let mut p = format!("{} #{}", first.plus(i), self.generation).into_bytes();
            let filler = if self.generation.is_multiple_of(3) { 0 } else { b'x' };
            p.resize(p.len() + (size * (i as usize + 1)) % 1500, filler);
            p
        };
        let payloads: Vec<_> = (0..n.max(1)).map(payload).collect();
        Entries::new(first, EntryKind::Command, Batch::from_payloads(&payloads)).unwrap()
    }

    /// An entry of the log, or its start, which is not below `least`.
    pub(super) fn pick(&self, least: LogId, which: proptest::sample::Index) -> LogId {
        let state = self.state();
        let ids = std::iter::once(state.start).chain(state.entries.iter().map(|e| e.0));
        *which.get(&ids.filter(|id| *id >= least).collect::<Vec<_>>())
    }

    /// Hands a batch to the log worker.
    pub(super) fn run(&mut self, batch: Vec<Did>) -> Result<(), String> {
        for did in batch {
            self.queue(did);
        }
        self.flush()
    }

    /// Adds an operation to the next batch.
    pub(super) fn queue(&mut self, did: Did) {
        self.ops.push_back(match did.clone() {
            Did::Append(run) => LogOp::Append(run),
            Did::Truncate(after) => LogOp::Truncate { after },
            Did::Reset(base) => LogOp::Reset { base },
            Did::Compact(upto) => LogOp::Compact { upto },
            Did::SaveHard(hard) => LogOp::SaveHard(hard),
            Did::Snapshot(_) => panic!("not for the log worker"),
        });
        self.push(did);
    }

    /// Hands the batch to the log worker, and notes what it reports. Each answer must be right.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let mut events = Vec::new();
        self.open.as_mut().unwrap().log_worker.run(&mut self.ops, &mut events);
        self.log_failed = matches!(events.last(), Some(LogEvent::Failed(_)));
        for event in events {
            let did = &self.did[self.reported..];
            let appends = did.iter().take_while(|d| matches!(d, Did::Append(_))).count();
            match (event, did.first()) {
                (LogEvent::Failed(text), _) => return Err(text),
                (LogEvent::Durable { upto, .. }, Some(Did::Append(_))) => {
                    self.reported += appends;
                    assert_eq!(upto, self.states[self.reported].last());
                }
                (LogEvent::Durable { upto, .. }, Some(Did::Truncate(id) | Did::Reset(id))) => {
                    self.reported += 1;
                    assert_eq!(upto, *id);
                }
                (LogEvent::HardSaved, Some(Did::SaveHard(_))) => self.reported += 1,
                (LogEvent::Compacted { base }, Some(Did::Compact(upto))) => {
                    assert!(base <= *upto);
                    self.reported += 1;
                }
                (event, did) => panic!("{event:?} answers {did:?}"),
            }
        }
        assert_eq!(self.reported, self.did.len(), "everything is answered");
        Ok(())
    }

    /// Stores a snapshot of the own machine.
    pub(super) fn store(&mut self, snapshot: LogId) -> Result<(), String> {
        self.push(Did::Snapshot(snapshot));
        let event = store(&mut self.open.as_mut().unwrap().snapshot_worker, snapshot, 3000);
        self.snapshot_done(event)
    }

    /// Receives a snapshot from elsewhere, and starts the log after it.
    pub(super) fn install(&mut self, snapshot: LogId) -> Result<(), String> {
        let file = snapshot_file(snapshot, 3000);
        self.push(Did::Snapshot(snapshot));
        let total = file.len() as u64;
        for (i, piece) in file.chunks(1000).enumerate() {
            let data = Bytes::copy_from_slice(piece);
            let chunk = Chunk { snapshot, offset: i as u64 * 1000, total, data };
            let worker = &mut self.open.as_mut().unwrap().snapshot_worker;
            if let SnapshotEvent::Failed(text) = worker.run(SnapshotOp::Write(chunk)) {
                return Err(text);
            }
        }
        let event = self.open.as_mut().unwrap().snapshot_worker.run(SnapshotOp::Finish { snapshot });
        self.snapshot_done(event)?;
        self.run(vec![Did::Reset(snapshot)])
    }

    fn snapshot_done(&mut self, event: SnapshotEvent) -> Result<(), String> {
        match event {
            SnapshotEvent::Failed(text) => Err(text),
            SnapshotEvent::Stored { .. } | SnapshotEvent::Received { .. } => {
                self.reported = self.did.len();
                Ok(())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Starts again, and compares what is found with what may be.
    pub(super) fn reopen(&mut self) -> Result<(), StorageError> {
        self.open = None;
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let mut opened = super::open(&fs, &self.dir)?;
        let found = look(&mut opened);
        let state = self.fitting(&found).unwrap_or_else(|| {
            panic!(
                "found {found:?}\nwhich is none of what {:?} may leave, from {:?} on",
                &self.did[self.reported..],
                self.states[self.reported]
            )
        });
        self.states = vec![state];
        self.did.clear();
        self.reported = 0;
        self.open = Some(opened);
        Ok(())
    }

    /// The state which was found, if it is one that may be.
    fn fitting(&self, found: &Found) -> Option<State> {
        for k in self.reported..self.states.len() {
            let exact = &self.states[k];
            let mut may = vec![exact.clone()];
            match self.did.get(k) {
                Some(Did::Append(run)) => {
                    for (line, _) in lines_of(run).zip(1..run.len()) {
                        let mut more = may.last().unwrap().clone();
                        more.entries.push(line);
                        may.push(more);
                    }
                }
                Some(Did::Compact(upto)) => may[0].floor = may[0].floor.max(*upto),
                _ => {}
            }
            let fits = may.into_iter().map(State::recovered).find(|s| s.shows(found));
            if fits.is_some() {
                return fits;
            }
        }
        None
    }
}

/// Everything a just opened folder holds, read in every way there is.
fn look(opened: &mut Opened) -> Found {
    let base = opened.log.base();
    let show = LogOp::Show { token: 0, after: LogId::ZERO, max_entries: 1 << 20 };
    let events = ask(&mut opened.log_worker, [show]);
    let [LogEvent::Shown { lines, .. }] = &events[..] else { panic!("{events:?}") };
    let lines: Vec<Line> = lines.iter().map(|l| (l.id, l.payload.clone())).collect();
    assert_eq!(lines.last().map_or(base, |l| l.0), opened.log.last());
    assert_eq!(lines.len() as u64, opened.log.len());
    let tail = opened.log.cached(opened.snapshot, opened.log.last()).expect("the tail is in memory");
    let tail: Vec<Line> = tail.iter().flat_map(lines_of).collect();
    let after: Vec<Line> = lines.iter().filter(|l| l.0 > opened.snapshot).cloned().collect();
    assert_eq!(tail, after);
    if opened.snapshot > LogId::ZERO {
        let mut body = Vec::new();
        opened.snapshots.read(opened.snapshot).unwrap().read_to_end(&mut body).unwrap();
        assert_eq!(body.len(), 3000);
    }
    Found { base, lines, hard: opened.hard.clone(), snapshot: opened.snapshot }
}

/// The bytes of a snapshot file, as another node would send it.
pub(super) fn snapshot_file(snapshot: LogId, bytes: usize) -> Vec<u8> {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let mut other = super::open(&fs, Path::new("/other")).unwrap();
    store(&mut other.snapshot_worker, snapshot, bytes);
    let read = SnapshotOp::Read { peer: NodeId(1), snapshot: None, offset: 0, max_bytes: 1 << 20 };
    let SnapshotEvent::Read { chunk: Some(chunk), .. } = other.snapshot_worker.run(read) else { panic!() };
    assert!(chunk.is_last());
    chunk.data.to_vec()
}
