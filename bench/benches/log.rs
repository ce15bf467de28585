//! The write-ahead log alone, on the disk of this machine: bytes made durable per second.
//!
//! "group commit" gives the log worker all batches at once, as many writers would, and waits until all are durable; "plain loop"
//! writes the same number of bytes with the same number of syncs as the worker needed: one `write` and one `fdatasync`. The
//! log's own cost is what lies between them: checksums, record headers, segments.
//!
//! The folder is made in the current directory (set `TMPDIR` to change that): a file system in memory would sync for
//! nothing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use common::entries::{Batch, Entries, EntryKind};
use common::metrics::Counters;
use common::storage::{Fs, Identity, LogEvent, LogOp, LogWorker, RealFs, Storage, StorageConfig};
use common::types::{LogId, NodeId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD: usize = 100;
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
            let dir = folder();
            let mut file = File::create(dir.path().join("plain")).expect("the file can be made");
            let data = vec![7u8; bytes];
            let mut written = 0u64;
            b.iter(|| {
                file.write_all(&data).expect("the disk takes it");
                file.sync_data().expect("the disk syncs");
                written += bytes as u64;
                if written > KEEP {
                    file = File::create(dir.path().join("plain")).expect("the file can be made");
                    written = 0;
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = log
}
criterion_main!(benches);
