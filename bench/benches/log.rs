//! The write-ahead log alone, on the disk of this machine: bytes made durable per second.
//!
//! "group commit" gives the log worker all batches at once, as many writers would, and waits until all are durable; "plain loop"
//! writes the same number of bytes with the same number of syncs as the worker needed: one `write` and one `fdatasync`. The
//! log's own cost is what lies between them: checksums, record headers, segments. "in place" does so over what a file has
//! there already, which is the least that a durable write costs.
//!
//! Criterion's figures first; then a table of ratios, in which all ran in turns. A filter that fits nothing (`-- ratios`)
//! leaves the table alone.
//!
//! The folder is made in the current directory (set `TMPDIR` to change that): a file system in memory would sync for
//! nothing.

#[path = "rounds/mod.rs"]
mod rounds;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::entries::{Batch, Entries, EntryKind};
use common::metrics::Counters;
use common::storage::{Fs, Identity, LogEvent, LogOp, LogWorker, RealFs, Storage, StorageConfig};
use common::types::{LogId, NodeId};
use criterion::{BenchmarkId, Criterion, Throughput};
use rounds::Contestant;

const PAYLOAD: usize = 100;
/// Of the table: writers, entries of each, and bytes of each entry. So much is made durable at a time.
const BATCHES: [(usize, usize, usize); 8] = [
    (1, 1, 100),
    (1, 1, 4 << 10),
    (32, 1, 128),
    (1, 16, 4 << 10),
    (64, 8, 128),
    (1, 16, 64 << 10),
    (64, 16, 1 << 10),
    (64, 128, 128),
];
/// Bytes of the file that is written in place.
const PLACE: usize = 64 << 20;
/// Bytes after which the log is cut, so that the benchmark does not fill the disk.
const KEEP: u64 = 256 << 20;

/// A folder on a disk.
fn folder() -> tempfile::TempDir {
    let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    tempfile::Builder::new().prefix(".log-bench-").tempdir_in(parent).expect("the folder can be made")
}

struct Log {
    worker: LogWorker,
    next: LogId,
    since_cut: u64,
    ops: VecDeque<LogOp>,
    out: Vec<LogEvent>,
}

impl Log {
    fn open(dir: &tempfile::TempDir) -> Self {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let identity = Identity { protocol: "raft".into(), cluster: "bench".into(), node: NodeId(1) };
        let opened =
            Storage::open(&fs, dir.path(), &identity, &StorageConfig::default(), &Arc::new(Counters::default()));
        let worker = opened.expect("a fresh log opens").log_worker;
        Self { worker, next: LogId::new(1, 1), since_cut: 0, ops: VecDeque::new(), out: Vec::new() }
    }

    /// Appends `writers` batches of `n` entries and waits until they are durable.
    fn append(&mut self, writers: usize, batch: &Batch) {
        for _ in 0..writers {
            let run = Entries::new(self.next, EntryKind::Command, batch.clone()).expect("there are entries");
            self.next = run.last().plus(1);
            self.ops.push_back(LogOp::Append(run));
        }
        self.worker.run(&mut self.ops, &mut self.out);
        let last = LogId::new(1, self.next.counter - 1);
        let durable = self.out.iter().any(|e| matches!(e, LogEvent::Durable { upto, .. } if *upto == last));
        assert!(durable, "durable up to {last}: {:?}", self.out);
        self.out.clear();
        self.since_cut += (writers * batch.bytes()) as u64;
        if self.since_cut > KEEP {
            self.since_cut = 0;
            self.ops.push_back(LogOp::Compact { upto: last });
            self.worker.run(&mut self.ops, &mut self.out);
            self.out.clear();
        }
    }
}

/// One `write` and one `fdatasync` at a time.
struct Plain {
    file: File,
    dir: tempfile::TempDir,
    data: Vec<u8>,
    written: u64,
    /// Where the file begins again; None for one that grows until it is made anew.
    room: Option<u64>,
}

impl Plain {
    /// One that grows.
    fn growing(bytes: usize) -> Self {
        let dir = folder();
        let file = File::create(dir.path().join("plain")).expect("the file can be made");
        Self { file, dir, data: vec![7; bytes], written: 0, room: None }
    }

    /// One that has its length already.
    fn in_place(bytes: usize) -> Self {
        let mut plain = Self { room: Some(PLACE as u64), ..Self::growing(bytes) };
        plain.file.write_all(&vec![0; PLACE]).and_then(|()| plain.file.sync_all()).expect("the disk takes it");
        plain.file.rewind().expect("a file can be read from its start");
        plain
    }

    fn append(&mut self) {
        self.file.write_all(&self.data).expect("the disk takes it");
        self.file.sync_data().expect("the disk syncs");
        self.written += self.data.len() as u64;
        if self.written + self.data.len() as u64 > self.room.unwrap_or(KEEP) {
            self.written = 0;
            match self.room {
                Some(_) => self.file.rewind().expect("a file can be read from its start"),
                None => self.file = File::create(self.dir.path().join("plain")).expect("the file can be made"),
            }
        }
    }
}

fn log(c: &mut Criterion) {
    let mut group = c.benchmark_group("log");
    for (writers, n) in [(1usize, 1usize), (1, 16), (1, 256), (16, 16), (64, 64)] {
        let batch = Batch::from_payloads(&vec![[7u8; PAYLOAD]; n]);
        let bytes = writers * batch.bytes();
        let shape = format!("{writers}x{n}");
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("group commit", &shape), |b| {
            let dir = folder();
            let mut log = Log::open(&dir);
            b.iter(|| log.append(writers, &batch));
        });
        group.bench_function(BenchmarkId::new("plain loop", &shape), |b| {
            let mut plain = Plain::growing(bytes);
            b.iter(|| plain.append());
        });
    }
    group.finish();
}

/// One batch: megabytes of payload made durable per second by each, and how many times as many by the log.
fn row((writers, n, size): (usize, usize, usize)) -> Vec<String> {
    let batch = Batch::from_payloads(&vec![vec![7u8; size]; n]);
    let bytes = writers * batch.bytes();
    let dir = folder();
    let (mut log, mut growing, mut in_place) = (Log::open(&dir), Plain::growing(bytes), Plain::in_place(bytes));
    let mut all = [
        Contestant::new(|times| (0..times).for_each(|_| log.append(writers, &batch))),
        Contestant::new(|times| (0..times).for_each(|_| growing.append())),
        Contestant::new(|times| (0..times).for_each(|_| in_place.append())),
    ];
    // Little of the processor is a good while of waiting for the disk.
    rounds::compete(&mut all, Duration::from_millis(15));
    let mut cells = [bytes, writers, n, size].map(|n| n.to_string()).to_vec();
    cells.extend(all.iter().map(|c| format!("{:.2}", c.rate(|r| r.wall) * bytes as f64 / 1e6)));
    let [log, growing, in_place] = &all;
    cells.extend([growing, in_place].map(|plain| format!("{:.2}", log.against(plain, |r| r.wall))));
    cells
}

fn main() {
    let mut criterion = Criterion::default().sample_size(30).configure_from_args();
    log(&mut criterion);
    criterion.final_summary();
    if rounds::measuring() {
        let names = ["bytes at a time", "writers", "entries of each", "bytes of an entry"];
        let rates = ["log MB/s", "plain loop MB/s", "in place MB/s", "log / plain loop", "log / in place"];
        let head: Vec<String> = names.iter().chain(&rates).map(ToString::to_string).collect();
        let rows: Vec<_> = BATCHES.into_iter().map(row).collect();
        println!("\n{}", rounds::table(&head, &rows));
    }
}
