//! Disks that give back something else than was written. Whatever happens to a file, the folder is refused, or the node
//! starts with what it had but for the end of the last, perhaps unacknowledged write.

use super::*;

pub(super) const NODE: &str = "/node";

fn new() -> (MemFs, Arc<dyn Fs>) {
    let fs = MemFs::new();
    (fs.clone(), Arc::new(fs))
}

pub(super) fn segment(number: u64) -> std::path::PathBuf {
    Path::new(NODE).join(format!("log/{number:016}.wal"))
}

pub(super) fn append(fs: &Arc<dyn Fs>, runs: &[Entries]) {
    let mut o = open(fs, Path::new(NODE)).unwrap();
    for run in runs {
        ask(&mut o.log_worker, [LogOp::Append(run.clone())]);
    }
}

/// Entries of about 100 bytes without zeros in them.
pub(super) fn long_run(first: LogId, n: u64) -> Entries {
    let payloads: Vec<String> = (0..n).map(|i| format!("{:x<70}", first.plus(i).to_string())).collect();
    Entries::new(first, EntryKind::Command, Batch::from_payloads(&payloads)).unwrap()
}

/// A log of three segments, written ten entries at a time. The last one has 22 entries in three writes, of 2, 10 and 10.
pub(super) fn three_segments() -> (MemFs, Arc<dyn Fs>, LogId) {
    let (fs, shared) = new();
    let runs: Vec<_> = (0..10).map(|i| long_run(id(1, 1 + i * 10), 10)).collect();
    append(&shared, &runs);
    assert!(fs.contents(&segment(3)).is_some() && fs.contents(&segment(4)).is_none());
    (fs, shared, id(1, 100))
}

/// Where a segment's records end. What follows are zeros for more.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)
}

/// What is left, or the refusal; it must name a file of the log.
fn left(fs: &Arc<dyn Fs>) -> Result<LogId, StorageError> {
    match open(fs, Path::new(NODE)) {
        Ok(o) => {
            let last = o.log.last();
            let mut at = LogId::ZERO;
            for run in o.log.cached(LogId::ZERO, last).unwrap() {
                assert_eq!(run, long_run(at.max(id(1, 0)).plus(1), run.len() as u64));
                at = run.last();
            }
            assert_eq!(at, last);
            Ok(last)
        }
        Err(e) => {
            assert!(e.to_string().contains("/node/log"), "{e}");
            Err(e)
        }
    }
}

#[test]
fn no_changed_byte_of_the_log_goes_unnoticed() {
    let (fs, shared, last) = three_segments();
    let last_record = 32 + 70;
    for number in 1..=3 {
        let good = fs.contents(&segment(number)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs.overwrite(&segment(number), &bad);
            match left(&shared) {
                Ok(found) if at >= used(&good) => assert_eq!(found, last),
                Ok(found) => {
                    assert!(number == 3 && at >= used(&good) - last_record, "byte {at} of segment {number}: {found}");
                    assert_eq!(found.plus(1), last);
                }
                Err(StorageError::Damaged { .. }) => {}
                Err(e) => panic!("byte {at} of segment {number}: {e}"),
            }
            fs.overwrite(&segment(number), &good);
        }
    }
    assert_eq!(left(&shared).unwrap(), last);
}

#[test]
fn lost_sectors_are_torn_only_in_the_last_write() {
    let (fs, shared, last) = three_segments();
    let good = fs.contents(&segment(3)).unwrap();
    let last_write = used(&good) - 10 * (32 + 70);
    let (mut cut, mut refused) = (0, 0);
    for sector in 0..used(&good) / 512 {
        let mut bad = good.clone();
        bad[sector * 512..(sector + 1) * 512].fill(0);
        fs.overwrite(&segment(3), &bad);
        match left(&shared) {
            Ok(found) => {
                cut += 1;
                assert!(sector * 512 >= last_write, "sector {sector} was synced before the last write began");
                assert!(found >= id(1, 90) && found < last);
            }
            Err(e) => {
                refused += 1;
                assert!(matches!(e, StorageError::Damaged { .. }), "{e}");
                assert!(sector * 512 < last_write, "sector {sector}: {e}");
            }
        }
    }
    assert!(cut > 0 && refused > 0);
}

#[test]
fn a_shorter_last_file_is_torn_and_a_shorter_earlier_one_is_damaged() {
    let (fs, shared, last) = three_segments();
    let good = fs.contents(&segment(3)).unwrap();
    for len in 0..used(&good) {
        fs.overwrite(&segment(3), &good[..len]);
        let found = left(&shared).unwrap();
        assert!(found >= id(1, 78) && found < last);
        // Recovery has made it a good log again, to be appended to.
        append(&shared, &[long_run(found.plus(1), 1)]);
        assert_eq!(left(&shared).unwrap(), found.plus(1));
    }
    fs.overwrite(&segment(3), &good);
    let middle = fs.contents(&segment(2)).unwrap();
    for len in 0..used(&middle) {
        fs.overwrite(&segment(2), &middle[..len]);
        let offset = (len.max(44) - 44) / 102 * 102 + 44;
        match left(&shared) {
            Err(StorageError::Damaged { path, offset: at, .. }) => {
                let boundary = len >= 44 && (len - 44) % 102 == 0;
                let (file, place) = if len < 44 {
                    (segment(2), 0)
                } else if boundary {
                    (segment(3), 24)
                } else {
                    (segment(2), offset as u64)
                };
                assert_eq!((path, at), (file, place), "{len}");
            }
            other => panic!("{len}: {other:?}"),
        }
    }
}

#[test]
fn damage_to_what_was_cut_off_harms_nobody() {
    let (fs, shared, _) = three_segments();
    let mut o = open(&shared, Path::new(NODE)).unwrap();
    ask(&mut o.log_worker, [LogOp::Truncate { after: id(1, 95) }, LogOp::Append(run(id(2, 96), 3))]);
    drop((o.log_worker, o.snapshot_worker));
    let mut bytes = fs.contents(&segment(3)).unwrap();
    let void = used(&bytes) - 5 * (32 + 70);
    bytes[void + 40] ^= 1;
    fs.overwrite(&segment(3), &bytes);
    let mut o = open(&shared, Path::new(NODE)).unwrap();
    let fetch = |after| LogOp::Fetch { peer: NodeId(1), after, max_bytes: 1 << 20 };
    let show = LogOp::Show { token: 0, after: LogId::ZERO, max_entries: 1000 };
    let events = ask(&mut o.log_worker, [fetch(id(1, 93)), fetch(id(1, 95)), show]);
    let [
        LogEvent::Fetched { entries: Some(cut), .. },
        LogEvent::Fetched { entries: Some(next), .. },
        LogEvent::Shown { lines, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((cut, next, lines.len()), (&long_run(id(1, 94), 2), &run(id(2, 96), 3), 98));
}

#[test]
fn ends_that_a_crash_leaves_are_cut() {
    let ends: [&[u8]; 5] = [&[0], &[0; 31], &[0; 5000], b"something", &[0xFF; 100]];
    for end in ends {
        let (fs, shared, last) = three_segments();
        let mut bytes = fs.contents(&segment(3)).unwrap();
        let good = used(&bytes);
        bytes.truncate(good);
        bytes.extend_from_slice(end);
        fs.overwrite(&segment(3), &bytes);
        assert_eq!(left(&shared).unwrap(), last);
        assert_eq!(fs.durable_contents(&segment(3)).unwrap().len(), good);
    }
}

#[test]
fn a_segment_whose_creation_was_cut_short_is_removed() {
    for header in [&[][..], &[0; 44], b"duet-wal"] {
        let (fs, shared, last) = three_segments();
        fs.overwrite(&segment(4), header);
        assert_eq!(left(&shared).unwrap(), last);
        assert!(fs.durable_contents(&segment(4)).is_none());
        // Not so if there is more than a header: records are written only once the header is durable.
        fs.overwrite(&segment(4), &[0; 45]);
        assert!(matches!(left(&shared), Err(StorageError::Damaged { offset: 0, .. })));
    }
}

#[test]
fn missing_files_are_noticed() {
    let (fs, shared, _) = three_segments();
    let keep: Vec<_> = (1..=3).map(|n| fs.contents(&segment(n)).unwrap()).collect();
    shared.unlink(&segment(2)).unwrap();
    let Err(StorageError::Missing { path, .. }) = left(&shared) else { panic!() };
    assert_eq!(path, segment(2));
    shared.unlink(&segment(1)).unwrap();
    assert!(matches!(left(&shared), Err(StorageError::Uncovered { snapshot: LogId::ZERO, .. })));
    shared.unlink(&segment(3)).unwrap();
    assert!(matches!(left(&shared), Err(StorageError::Missing { .. })));
    for (n, bytes) in keep.iter().enumerate() {
        fs.overwrite(&segment(n as u64 + 1), bytes);
    }
    shared.unlink(&Path::new(NODE).join("hard")).unwrap();
    let e = open(&shared, Path::new(NODE)).unwrap_err();
    assert!(matches!(&e, StorageError::Missing { path, .. } if path.ends_with("hard")), "{e}");
    // A copy of another segment under a wrong name.
    fs.overwrite(&segment(1), &keep[1]);
    assert!(matches!(left(&shared), Err(StorageError::Damaged { offset: 16, .. })));
}

#[test]
fn entries_out_of_order_are_refused() {
    // Two segments with good checksums, of which the second belongs to another log.
    let (fs, shared, _) = three_segments();
    let (other, other_shared) = new();
    append(&other_shared, &(0..10).map(|i| long_run(id(2, 5 + i * 10), 10)).collect::<Vec<_>>());
    fs.overwrite(&segment(3), &other.contents(&segment(3)).unwrap());
    assert!(matches!(left(&shared), Err(StorageError::Damaged { offset: 24, .. })));
}

#[test]
fn a_payload_that_looks_like_a_log_does_not_make_a_torn_write_look_like_damage() {
    let (fs, shared, _) = three_segments();
    let piece_of_log = fs.contents(&segment(3)).unwrap();
    let (fs, shared_too) = new();
    let entry = |payload| Entries::new(id(1, 1), EntryKind::Command, Batch::from_payloads(&[payload])).unwrap();
    append(&shared_too, &[entry(piece_of_log)]);
    let good = fs.contents(&segment(1)).unwrap();
    fs.overwrite(&segment(1), &good[..used(&good) - 1]);
    assert_eq!(left(&shared_too).unwrap(), LogId::ZERO);
    drop(shared);

    // Headers which claim large records, over and over: looking at them has an end.
    let mut header = [0; 32];
    header[4..8].copy_from_slice(&30_000u32.to_le_bytes());
    header[29..].copy_from_slice(&[0xD7, b'w', b'r']);
    let (fs, shared) = new();
    append(&shared, &[entry(header.repeat(20_000))]);
    let good = fs.contents(&segment(1)).unwrap();
    fs.overwrite(&segment(1), &good[..used(&good) - 1]);
    assert!(matches!(left(&shared), Err(StorageError::Damaged { offset: 44, .. })));
}

#[test]
fn a_log_which_another_version_wrote_is_refused_by_name() {
    let (fs, shared, _) = three_segments();
    let mut bytes = fs.contents(&segment(3)).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    fs.overwrite(&segment(3), &bytes);
    assert!(matches!(left(&shared), Err(StorageError::Version { found: 9, supported: 1, .. })));
}

#[test]
fn no_changed_byte_of_the_hard_state_goes_unnoticed() {
    let (fs, shared) = new();
    let path = Path::new(NODE).join("hard");
    let mut o = open(&shared, Path::new(NODE)).unwrap();
    ask(&mut o.log_worker, [LogOp::SaveHard(b"term 7, voted for n2".to_vec())]);
    drop(o);
    let good = fs.contents(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs.overwrite(&path, &bad);
        assert!(matches!(open(&shared, Path::new(NODE)), Err(StorageError::Damaged { .. })), "byte {at}");
        fs.overwrite(&path, &good[..at]);
        assert!(matches!(open(&shared, Path::new(NODE)), Err(StorageError::Damaged { .. })), "length {at}");
    }
    fs.overwrite(&path, &good);
    fs.overwrite(&Path::new(NODE).join("hard.tmp"), b"half of a n");
    let o = open(&shared, Path::new(NODE)).unwrap();
    assert_eq!(o.hard.unwrap(), b"term 7, voted for n2");
    assert!(fs.contents(&Path::new(NODE).join("hard.tmp")).is_none());
}

#[test]
fn a_folder_of_another_protocol_cluster_or_node_is_refused() {
    let (_, shared) = new();
    drop(open(&shared, Path::new(NODE)).unwrap());
    let others = [
        ("protocol", Identity { protocol: "zab".into(), ..identity() }),
        ("cluster", Identity { cluster: "green".into(), ..identity() }),
        ("node", Identity { node: NodeId(4), ..identity() }),
    ];
    for (what, other) in others {
        match open_as(&shared, Path::new(NODE), &other) {
            Err(StorageError::Stranger { field, found, expected, .. }) => {
                assert_eq!(field, what);
                assert_ne!(found, expected);
            }
            other => panic!("{other:?}"),
        }
    }
}
