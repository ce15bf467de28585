//! Damage that the caller allows to be cut off. What is left is a beginning of what was there, the hard state says so before,
//! and a later start finds a good log.

use super::damage::{NODE, append, long_run, segment, three_segments, used};
use super::*;
use crate::storage::mem_fs::Fault;

/// The mark counts how often it was made.
fn open_mending(fs: &Arc<dyn Fs>) -> Result<Opened, StorageError> {
    let mark = |saved: Option<&[u8]>| Some(vec![saved.map_or(0, |hard| hard[0]) + 1]);
    Storage::open_mending(fs, Path::new(NODE), &identity(), &small(), &Arc::default(), &mark)
}

fn marks(o: &Opened) -> u8 {
    o.hard.as_ref().map_or(0, |hard| hard[0])
}

/// Every entry of the log is the one that was written there.
fn is_a_beginning(log: &LogView) {
    let (base, last) = (log.base(), log.last());
    let mut at = base.max(id(1, 0));
    for run in log.cached(base, last).unwrap() {
        assert_eq!(run, long_run(at.plus(1), run.len() as u64));
        at = run.last();
    }
    assert_eq!(at, last.max(id(1, 0)));
}

fn flip(fs: &MemFs, number: u64, at: usize) {
    let mut bytes = fs.contents(&segment(number)).unwrap();
    bytes[at] ^= 1 << (at % 8);
    fs.overwrite(&segment(number), &bytes);
}

#[test]
fn whatever_byte_of_the_log_changes_what_is_before_it_stays() {
    let (_, _, last) = three_segments();
    for number in 1..=3 {
        let (fs, ..) = three_segments();
        let len = used(&fs.contents(&segment(number)).unwrap());
        for at in (0..len).step_by(7) {
            let (fs, shared, _) = three_segments();
            flip(&fs, number, at);
            let o = open_mending(&shared).unwrap();
            is_a_beginning(&o.log);
            let left = o.log.last();
            let Some(lost) = o.lost.clone() else {
                // As if it were a write that was never finished.
                assert!(number == 3 && at >= len - 102 && marks(&o) == 0);
                continue;
            };
            assert_eq!((marks(&o), lost.after), (1, left), "byte {at} of segment {number}");
            assert!(lost.upto.is_none_or(|upto| upto > left && upto <= last));
            assert!(number < 3 || at < len - 102);
            // All that is before the damaged record, or before a segment whose header is damaged.
            let before = (at.max(44) - 44) / 102;
            assert_eq!(left.counter as usize, (number as usize - 1) * 39 + if at < 44 { 0 } else { before });
            drop(o);
            let mut o = open_mending(&shared).unwrap();
            assert_eq!((marks(&o), &o.lost, o.log.last()), (1, &None, left), "a later start finds nothing");
            ask(&mut o.log_worker, [LogOp::Append(long_run(left.max(id(1, 0)).plus(1), 5))]);
            drop(o);
            is_a_beginning(&open(&shared, Path::new(NODE)).unwrap().log);
        }
    }
}

#[test]
fn wherever_power_fails_the_mark_is_there_before_anything_is_cut() {
    for number in 1..=3 {
        for at in [10, 44 + 5 * 102 + 50] {
            let mut cut = 0;
            for step in 1.. {
                let (fs, shared, _) = three_segments();
                flip(&fs, number, at);
                fs.cut_power_at(fs.steps() + step);
                let done = open_mending(&shared).is_ok();
                fs.crash_keeping(step * 31 + number);
                let plain = open(&shared, Path::new(NODE));
                if let Ok(o) = &plain {
                    cut += 1;
                    assert!(marks(o) > 0, "step {step}: cut, and nothing says so");
                }
                drop(plain);
                let o = open_mending(&shared).unwrap();
                is_a_beginning(&o.log);
                assert!((1..=2).contains(&marks(&o)));
                if done {
                    assert_eq!(o.lost, None);
                    break;
                }
            }
            assert!(cut > 1);
        }
    }
}

#[test]
fn an_error_of_the_disk_on_the_way_is_no_loss() {
    let (fs, shared, _) = three_segments();
    flip(&fs, 2, 100);
    fs.fail(mem_fs::Call::Sync, 1, Fault::Eio);
    assert!(matches!(open_mending(&shared), Err(StorageError::Io { .. })));
    fs.kill();
    assert!(matches!(open(&shared, Path::new(NODE)), Err(StorageError::Damaged { .. })), "nothing was cut");
    assert_eq!(marks(&open_mending(&shared).unwrap()), 1);
}

#[test]
fn a_missing_segment_ends_the_log() {
    let (_, shared, _) = three_segments();
    shared.unlink(&segment(2)).unwrap();
    let o = open_mending(&shared).unwrap();
    let lost = o.lost.clone().unwrap();
    assert_eq!((o.log.last(), lost.path, lost.upto), (id(1, 39), segment(2), Some(id(1, 100))));
    drop(o);
    // All of them.
    for number in [1, 4] {
        shared.unlink(&segment(number)).unwrap();
    }
    let o = open_mending(&shared).unwrap();
    assert_eq!((o.log.last(), marks(&o)), (LogId::ZERO, 2));
    drop(o);
    append(&shared, &[long_run(id(1, 1), 3)]);
}

#[test]
fn without_its_snapshot_the_log_starts_anew_after_the_one_before() {
    let (fs, shared, _) = three_segments();
    let mut o = open(&shared, Path::new(NODE)).unwrap();
    store(&mut o.snapshot_worker, id(1, 20), 100);
    store(&mut o.snapshot_worker, id(1, 60), 100);
    ask(&mut o.log_worker, [LogOp::Compact { upto: id(1, 60) }]);
    drop(o);
    let newest = Path::new(NODE).join("snapshots/0000000000000001-000000000000003c.snap");
    let mut bytes = fs.contents(&newest).unwrap();
    bytes[50] ^= 1;
    fs.overwrite(&newest, &bytes);
    assert!(matches!(open(&shared, Path::new(NODE)), Err(StorageError::Uncovered { .. })));
    let o = open_mending(&shared).unwrap();
    assert_eq!((o.snapshot, o.log.base(), o.log.last()), (id(1, 20), id(1, 20), id(1, 20)));
    assert_eq!((o.lost.clone().unwrap().upto, marks(&o)), (Some(id(1, 100)), 1));
    assert!(fs.durable_contents(&newest).is_none(), "it would be in the way of the next one");
    drop(o);
    let o = open(&shared, Path::new(NODE)).unwrap();
    assert_eq!((o.snapshot, o.log.last()), (id(1, 20), id(1, 20)));
}

#[test]
fn a_damaged_snapshot_that_the_log_can_do_without_is_no_loss() {
    let (fs, shared, last) = three_segments();
    let mut o = open(&shared, Path::new(NODE)).unwrap();
    store(&mut o.snapshot_worker, id(1, 20), 100);
    drop(o);
    let path = Path::new(NODE).join("snapshots/0000000000000001-0000000000000014.snap");
    fs.overwrite(&path, b"duetsnap");
    let o = open_mending(&shared).unwrap();
    assert_eq!((o.lost.clone(), o.log.last(), marks(&o)), (None, last, 0));
}

#[test]
fn a_damaged_hard_state_or_a_caller_who_cannot_mend_is_refused() {
    let (fs, shared, _) = three_segments();
    flip(&fs, 1, 100);
    let none = Storage::open_mending(&shared, Path::new(NODE), &identity(), &small(), &Arc::default(), &|_| None);
    assert!(matches!(none, Err(StorageError::Damaged { offset: 44, .. })));
    let hard = Path::new(NODE).join("hard");
    let good = fs.contents(&hard).unwrap();
    fs.overwrite(&hard, &good[..good.len() - 1]);
    assert!(matches!(open_mending(&shared), Err(StorageError::Damaged { path, .. }) if path == hard));
    shared.unlink(&hard).unwrap();
    assert!(matches!(open_mending(&shared), Err(e) if e.is_loss()));
}
