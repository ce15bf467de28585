//! How long the calls take that a simulated node makes all the time. Prints and asserts nothing:
//! `cargo test -p common --release mem_fs::speed -- --ignored --nocapture`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::entries::{Batch, Entries, EntryKind};
use crate::sim::truth::TruthReader;
use crate::state_machine::Frozen;
use crate::storage::{Fs, Identity, LogOp, MemFs, SnapshotOp, Storage, StorageConfig};
use crate::types::{LogId, NodeId};

const DIR: &str = "/node/log";

fn each(what: &str, n: u32, mut call: impl FnMut(u32)) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..n).for_each(&mut call);
            start.elapsed() / n
        })
        .min();
    println!("{what:40} {:>8} ns", best.unwrap_or_default().as_nanos());
}

#[test]
#[ignore = "a measurement"]
fn calls() {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    let record = [7; 150];
    let (mut at, mut number) = (0, 0);
    let mut file = fs.create(&Path::new(DIR).join("0000000000000000.wal")).unwrap();
    each("append 150 bytes and sync", 20_000, |_| {
        file.write_at(at, &record).unwrap();
        file.sync_data().unwrap();
        at += 150;
        if at > 1 << 16 {
            number += 1;
            file = fs.create(&Path::new(DIR).join(format!("{number:016}.wal"))).unwrap();
            fs.sync_dir(Path::new(DIR)).unwrap();
            if number > 4 {
                fs.unlink(&Path::new(DIR).join(format!("{:016}.wal", number - 4))).unwrap();
            }
            at = 0;
        }
    });
    each("read 1000 bytes", 20_000, |i| {
        let mut buf = [0; 1000];
        file.read_at(u64::from(i % 64), &mut buf).unwrap();
    });
    each("replace a small file", 2_000, |_| {
        let mut file = fs.create(Path::new("/node/hard.tmp")).unwrap();
        file.write_at(0, &record).unwrap();
        file.sync_all().unwrap();
        fs.rename(Path::new("/node/hard.tmp"), Path::new("/node/hard")).unwrap();
        fs.sync_dir(Path::new("/node")).unwrap();
    });
    each("power cut and restart", 50, |_| fs.crash());
}

struct Blob;

impl Frozen for Blob {
    fn write(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&[5; 10_000])
    }
}

#[test]
#[ignore = "a measurement"]
fn worker_and_truth() {
    let fs = MemFs::new();
    let dir = Path::new("/node");
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let identity = Identity { protocol: "raft".into(), cluster: "blue".into(), node: NodeId(3) };
    let config = StorageConfig { segment_bytes: 1 << 16, ..StorageConfig::default() };
    let mut opened = Storage::open(&shared, dir, &identity, &config, &Arc::default()).unwrap();
    let mut reader: TruthReader<u8> = TruthReader::new();
    let (mut ops, mut out) = (VecDeque::new(), Vec::new());
    let mut id = LogId::new(1, 1);
    for with_truth in [false, true] {
        let what = if with_truth { "an entry through the worker, read" } else { "an entry through the worker" };
        each(what, 20_000, |_| {
            let batch = Batch::from_payloads(&[[7u8; 120]]);
            ops.push_back(LogOp::Append(Entries::new(id, EntryKind::Command, batch).unwrap()));
            opened.log_worker.run(&mut ops, &mut out);
            if id.counter.is_multiple_of(1000) {
                opened.snapshot_worker.run(SnapshotOp::Store { snapshot: id, state: Box::new(Blob) });
                ops.push_back(LogOp::Compact { upto: id });
                opened.log_worker.run(&mut ops, &mut out);
            }
            out.clear();
            if with_truth {
                reader.refresh(&fs, dir).unwrap();
                assert!(reader.truth().has(id));
            }
            id = id.plus(1);
        });
    }
    each("a vote", 2_000, |_| {
        ops.push_back(LogOp::SaveHard(vec![7]));
        opened.log_worker.run(&mut ops, &mut out);
        out.clear();
    });
    each("a vote, read", 2_000, |_| {
        ops.push_back(LogOp::SaveHard(vec![7]));
        opened.log_worker.run(&mut ops, &mut out);
        out.clear();
        reader.refresh(&fs, dir).unwrap();
    });
}
