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

#[test]
fn writes_over_writes_that_were_not_synced_keep_the_order() {
    let (fs, mut file) = half_synced(b"0000000000", b"111111");
    file.write_at(2, b"22").unwrap();
    file.set_size(5).unwrap();
    file.write_at(8, b"33").unwrap();
    let read = b"11221\0\0\x0033";
    assert_eq!(fs.contents(&path("f")).unwrap(), read);
    assert_eq!(fs.durable_contents(&path("f")).unwrap(), b"0000000000");
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let again = fs.fork();
        let mut same = again.open(&path("f")).unwrap();
        same.write_at(0, b"111111").unwrap();
        same.write_at(2, b"22").unwrap();
        same.set_size(5).unwrap();
        same.write_at(8, b"33").unwrap();
        again.crash_keeping(seed);
        seen.insert(again.contents(&path("f")).unwrap());
    }
    for expected in ["0000000000", "1111110000", "1122110000", "11221"] {
        assert!(seen.contains(expected.as_bytes()), "{expected}");
    }
    file.sync_data().unwrap();
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap(), read);
}

/// A file of 0..64, synced, and then four bytes at 8 under this fault, synced too.
fn lied_to(fault: Fault) -> (MemFs, Box<dyn File>) {
    let old: Vec<u8> = (0..64).collect();
    let (fs, mut file) = half_synced(&old, b"");
    fs.fail(Call::Write, 1, fault);
    file.write_at(8, b"abcd").unwrap();
    file.sync_data().unwrap();
    (fs, file)
}

#[test]
fn a_lost_write_shows_once_its_process_is_gone() {
    for power in [false, true] {
        let (fs, file) = lied_to(Fault::Lost);
        let mut read = [0; 4];
        assert_eq!(file.read_at(8, &mut read).unwrap(), 4);
        assert_eq!((&read, fs.lied(), fs.bitten().len()), (b"abcd", false, 0));
        assert_eq!(fs.fork().contents(&path("f")).unwrap()[8..12], *b"abcd", "as the disk told");
        if power {
            fs.crash();
        } else {
            fs.kill();
        }
        assert_eq!(fs.contents(&path("f")).unwrap(), (0..64).collect::<Vec<u8>>());
        assert_eq!((fs.lied(), fs.bitten()), (true, BTreeMap::from([("lost-write", 1)])));
        fs.crash();
        assert_eq!(fs.bitten()["lost-write"], 1);
    }
}

#[test]
fn a_lost_write_that_is_written_again_was_never_lost() {
    let (fs, mut file) = lied_to(Fault::Lost);
    file.write_at(6, b"ABCDEFGH").unwrap();
    fs.kill();
    assert_eq!(fs.contents(&path("f")).unwrap()[6..14], *b"ABCDEFGH", "dirty pages stay");
    let mut file = fs.open(&path("f")).unwrap();
    file.sync_data().unwrap();
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap()[6..14], *b"ABCDEFGH");
}

#[test]
fn a_lost_write_at_the_end_leaves_zeros() {
    let (fs, mut file) = half_synced(b"old", b"");
    fs.fail(Call::Write, 2, Fault::Lost);
    file.write_at(3, b"1").unwrap();
    file.write_at(4, b"22").unwrap();
    file.write_at(6, b"3").unwrap();
    file.sync_data().unwrap();
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"old1\0\x003");
}

#[test]
fn a_misdirected_write_damages_two_places() {
    let mut places = BTreeSet::new();
    for seed in 0..64 {
        let (fs, _file) = lied_to(Fault::Misdirected(seed));
        fs.crash();
        let left = fs.contents(&path("f")).unwrap();
        let wrong: Vec<usize> = (0..64).filter(|i| left[*i] != *i as u8).collect();
        let at = wrong[0];
        assert_eq!(left[at..(at + 4).min(64)], b"abcd"[..(64 - at).min(4)], "{left:?}");
        assert!(wrong.iter().all(|i| (at..at + 4).contains(i)) && at != 8);
        assert_eq!(left.len(), 64);
        assert!(fs.bitten()["misdirect"] > 0 && fs.lied());
        places.insert(at);
    }
    assert!(places.len() > 30, "{places:?}");
}

#[test]
fn rot_changes_one_bit_for_every_reader_and_not_what_was_told() {
    let (fs, file) = half_synced(b"old", b"");
    assert!(fs.rot_at(&path("f"), 1, 0) && !fs.rot_at(&path("f"), 3, 0) && !fs.rot_at(&path("g"), 0, 0));
    let mut read = [0; 3];
    file.read_at(0, &mut read).unwrap();
    assert_eq!((&read, fs.durable_contents(&path("f")).unwrap().as_slice()), (b"omd", b"omd".as_slice()));
    assert_eq!(fs.fork().contents(&path("f")).unwrap(), b"old");
    assert_eq!(fs.bitten(), BTreeMap::from([("bit-rot", 1)]));
    fs.kill();
    assert!(fs.lied());
    assert_eq!(fs.fork().contents(&path("f")).unwrap(), b"omd");
    assert_eq!(fs.bitten(), BTreeMap::from([("bit-rot", 1)]));
    // Twice the same bit is no rot, and a byte that is written again is as written.
    let mut file = fs.open(&path("f")).unwrap();
    assert!(fs.rot_at(&path("f"), 0, 5) && fs.rot_at(&path("f"), 1, 0) && fs.rot_at(&path("f"), 1, 0));
    file.write_at(0, b"O").unwrap();
    file.sync_data().unwrap();
    fs.crash();
    assert_eq!(fs.contents(&path("f")).unwrap(), b"Omd");
}

#[test]
fn rot_finds_every_kind_of_file() {
    let fs = MemFs::new();
    assert_eq!(fs.rot(1), None);
    let files = ["/d/hard", "/d/log/1.wal", "/d/log/2.wal", "/d/snapshots/1.snap", "/d/empty"];
    let mut hits = BTreeMap::new();
    for seed in 0..600 {
        for file in files {
            fs.overwrite(Path::new(file), &vec![0; usize::from(file != "/d/empty") * 100]);
        }
        let (path, offset, bit) = fs.rot(seed).unwrap();
        assert_eq!(fs.contents(&path).unwrap()[offset as usize], 1 << bit);
        *hits.entry(path).or_insert(0) += 1;
    }
    let hits = |file: &str| hits.get(Path::new(file)).copied().unwrap_or(0);
    assert!(hits("/d/log/1.wal") > 100 && hits("/d/log/2.wal") > 100 && hits("/d/snapshots/1.snap") > 100);
    assert!(hits("/d/hard") > 20 && hits("/d/empty") == 0);
}

#[test]
fn an_old_image_comes_back_and_a_disk_goes() {
    let (fs, mut file) = half_synced(b"old", b"new!");
    let image = fs.image();
    file.sync_data().unwrap();
    fs.restore(&image);
    assert!(file.size().is_err());
    assert_eq!(fs.contents(&path("f")).unwrap(), b"old");
    fs.wipe();
    assert!(fs.list(Path::new(DIR)).is_err());
    fs.create_dir(Path::new(DIR)).unwrap();
    assert!(fs.list(Path::new(DIR)).unwrap().is_empty());
    assert_eq!((fs.lied(), fs.bitten()), (false, BTreeMap::from([("rollback", 1), ("wipe", 1)])));
}

#[test]
fn each_fault_counts_when_it_bites() {
    let (fs, mut file) = half_synced(b"old", b"");
    fs.fail(Call::Write, 1, Fault::Short(2));
    fs.fail(Call::Write, 2, Fault::Short(9));
    fs.fail(Call::Read, 1, Fault::Eio);
    fs.fail(Call::SyncDir, 1, Fault::Eio);
    assert_eq!(file.write_at(0, b"1234").unwrap(), 2);
    assert_eq!(file.write_at(0, b"1234").unwrap(), 4, "no shorter than it is");
    assert!(file.read_at(0, &mut [0]).is_err() && fs.sync_dir(Path::new(DIR)).is_err());
    fs.fill_up(2);
    assert_eq!(file.write_at(0, b"12345678").unwrap(), 6);
    assert!(file.write_at(6, b"7").is_err());
    fs.set_capacity(None);
    file.write_at(6, b"7").unwrap();
    let expected = [("disk-error", 2), ("disk-full", 2), ("short-write", 1)];
    assert_eq!(fs.bitten(), expected.into());
    fs.crash_keeping(1);
    assert!(fs.bitten().len() >= 3, "counts come through a crash");
}

#[test]
fn a_torn_file_is_one_that_is_neither_old_nor_new() {
    let mut torn = 0;
    for seed in 0..100 {
        let (fs, _file) = half_synced(&[1; 1024], &[2; 1536]);
        fs.crash_keeping(seed);
        let left = fs.contents(&path("f")).unwrap();
        let whole = left == [1; 1024] || left == [2; 1536];
        assert_eq!(fs.bitten().contains_key("torn"), !whole);
        torn += u32::from(!whole);
    }
    assert!((20..100).contains(&torn), "{torn}");
}
