//! How long the calls take that a simulated node makes all the time. Prints and asserts nothing:
//! `cargo test -p common --release mem_fs::speed -- --ignored --nocapture`.

use std::path::Path;
use std::time::Instant;

use crate::storage::fs::Fs;
use crate::storage::mem_fs::MemFs;

const DIR: &str = "/node/log";

fn each(what: &str, n: u32, mut call: impl FnMut(u32)) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..n).for_each(&mut call);
            start.elapsed() / n
        })
        .min();
    println!("{what:32} {:>8.0?}", best.unwrap_or_default());
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
