//! The file system that loses power, itself under test.

use std::collections::BTreeSet;
use std::io;

use super::*;
use crate::storage::fs::{File, Fs};

const DIR: &str = "/d";

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// A file with `old` durable and `new` written over its start, not synced.
fn half_synced(old: &[u8], new: &[u8]) -> (MemFs, Box<dyn File>) {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    let mut file = fs.create(&path("f")).unwrap();
    file.write_at(0, old).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    file.write_at(0, new).unwrap();
    (fs, file)
}

#[test]
fn a_crash_drops_what_was_not_synced_and_a_kill_does_not() {
    let (fs, file) = half_synced(b"old", b"new!");
    fs.kill();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"new!");
    assert!(file.size().is_err(), "the handle died with its process");
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"old");
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let (fs, _file) = half_synced(b"old", b"new!");
    fs.create(&path("g")).unwrap().sync_all().unwrap();
    fs.rename(&path("f"), &path("h")).unwrap();
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["g", "h"]);
    fs.crash();
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["f"]);
    fs.rename(&path("f"), &path("h")).unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    fs.unlink(&path("h")).unwrap();
    fs.crash();
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["h"]);
}

#[test]
fn a_crash_may_keep_any_sector_but_nothing_that_was_never_written() {
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let (fs, _file) = half_synced(&[1; 1024], &[2; 1536]);
        fs.crash_keeping(seed);
        let left = fs.contents(&path("f")).unwrap();
        assert!(left.len() >= 1024 && left.len() <= 1536);
        for (i, sector) in left.chunks(SECTOR).enumerate() {
            let old = u8::from(i < 2);
            assert!(sector.iter().all(|b| *b == old || *b == 2));
        }
        seen.insert((left[0], left[600], left.get(1300).copied()));
        fs.crash();
        assert_eq!(fs.contents(&path("f")).unwrap(), left, "what came through the crash is durable");
    }
    for expected in [(1, 1, None), (2, 2, Some(2)), (1, 2, Some(0)), (2, 1, Some(2)), (2, 1, None)] {
        assert!(seen.contains(&expected), "{expected:?} of {seen:?}");
    }
}

#[test]
fn a_failed_sync_forgets_and_the_next_one_succeeds_without() {
    let (fs, mut file) = half_synced(b"old", b"new!");
    fs.fail(Call::Sync, 1, Fault::Eio);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"new!");
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"old");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (fs, mut file) = half_synced(b"old", b"new!");
    fs.set_capacity(Some(10));
    assert_eq!(file.write_at(4, b"12345678").unwrap(), 6);
    assert_eq!(file.write_at(10, b"78").unwrap_err().raw_os_error(), Some(28));
    assert_eq!(file.write_at(0, b"over").unwrap(), 4, "overwriting needs no room");
}

#[test]
fn power_fails_within_a_step() {
    let (fs, mut file) = half_synced(b"old", b"new!");
    fs.cut_power_at(fs.steps() + 2);
    file.write_at(0, b"x").unwrap();
    assert!(file.sync_data().is_err());
    assert!(file.write_at(0, b"y").is_err() && fs.list(Path::new(DIR)).is_err());
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"old");
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["f"]);
}

#[test]
fn one_process_holds_a_directory() {
    let (fs, _file) = half_synced(b"", b"");
    let lock = fs.lock_dir(Path::new(DIR)).unwrap();
    assert_eq!(fs.lock_dir(Path::new(DIR)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    fs.kill();
    let second = fs.lock_dir(Path::new(DIR)).unwrap();
    drop(lock);
    assert!(fs.lock_dir(Path::new(DIR)).is_err(), "a dead process's lock does not free the living one's");
    drop(second);
    fs.lock_dir(Path::new(DIR)).unwrap();
}
