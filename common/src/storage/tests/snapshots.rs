//! Storing, sending, receiving and choosing snapshots.

use bytes::Bytes;

use super::model::snapshot_file;
use super::*;
use crate::protocol::Chunk;

const SNAPSHOTS: &str = "/node/snapshots";

fn new() -> (MemFs, Arc<dyn Fs>, Opened) {
    let fs = MemFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let opened = open(&shared, Path::new("/node")).unwrap();
    (fs, shared, opened)
}

fn chunk(snapshot: LogId, file: &[u8], offset: usize, len: usize) -> Chunk {
    let data = Bytes::copy_from_slice(&file[offset..(offset + len).min(file.len())]);
    Chunk { snapshot, offset: offset as u64, total: file.len() as u64, data }
}

/// Sends all pieces and finishes; the last answer, or the first refusal.
fn send(worker: &mut SnapshotWorker, snapshot: LogId, file: &[u8], piece: usize) -> SnapshotEvent {
    for offset in (0..file.len()).step_by(piece) {
        let event = worker.run(SnapshotOp::Write(chunk(snapshot, file, offset, piece)));
        if !matches!(event, SnapshotEvent::Written { .. }) {
            return event;
        }
    }
    worker.run(SnapshotOp::Finish { snapshot })
}

fn read(worker: &mut SnapshotWorker, snapshot: Option<LogId>, offset: u64, max_bytes: usize) -> Option<Chunk> {
    match worker.run(SnapshotOp::Read { peer: NodeId(2), snapshot, offset, max_bytes }) {
        SnapshotEvent::Read { peer: NodeId(2), chunk } => chunk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_travels_in_pieces() {
    let (_, _, mut from) = new();
    let (_, _, mut to) = new();
    assert_eq!(read(&mut from.snapshot_worker, None, 0, 100), None);
    store(&mut from.snapshot_worker, id(4, 40), 700_000);
    let mut at = (None, 0);
    loop {
        let piece = read(&mut from.snapshot_worker, at.0, at.1, 65_536).unwrap();
        assert_eq!((piece.snapshot, piece.offset, piece.total), (id(4, 40), at.1, 700_040));
        at = (Some(piece.snapshot), piece.end());
        let last = piece.is_last();
        let written = SnapshotEvent::Written { snapshot: id(4, 40), end: piece.end() };
        assert_eq!(to.snapshot_worker.run(SnapshotOp::Write(piece)), written);
        if last {
            break;
        }
    }
    let received = SnapshotEvent::Received { snapshot: id(4, 40) };
    assert_eq!(to.snapshot_worker.run(SnapshotOp::Finish { snapshot: id(4, 40) }), received);
    let mut bodies = [Vec::new(), Vec::new()];
    for (o, body) in [&from, &to].into_iter().zip(&mut bodies) {
        let mut reader = o.snapshots.read(id(4, 40)).unwrap();
        assert_eq!(reader.size(), 700_000);
        reader.read_to_end(body).unwrap();
    }
    assert_eq!(bodies[0], bodies[1]);
    let past = read(&mut from.snapshot_worker, Some(id(4, 40)), 1 << 40, 10).unwrap();
    assert!(past.data.is_empty());
}

#[test]
fn a_changed_byte_is_refused_and_the_next_attempt_succeeds() {
    let file = snapshot_file(id(4, 40), 300);
    let (fs, shared, mut o) = new();
    store(&mut o.snapshot_worker, id(1, 1), 10);
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        let event = send(&mut o.snapshot_worker, id(4, 40), &bad, 100);
        assert!(matches!(event, SnapshotEvent::Refused { snapshot, .. } if snapshot == id(4, 40)), "{at}: {event:?}");
        let event = send(&mut o.snapshot_worker, id(4, 40), &file[..at], 100);
        assert!(matches!(event, SnapshotEvent::Refused { .. }), "{at}: {event:?}");
    }
    assert_eq!(shared.list(Path::new(SNAPSHOTS)).unwrap().len(), 1);
    assert_eq!(send(&mut o.snapshot_worker, id(4, 40), &file, 100), SnapshotEvent::Received { snapshot: id(4, 40) });
    // As it is on disk already: found damaged at the next start, passed over, and not given out as a whole one.
    drop((o.log_worker, o.snapshot_worker));
    let path = Path::new(SNAPSHOTS).join("0000000000000004-0000000000000028.snap");
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        fs.overwrite(&path, &bad);
        let mut body = Vec::new();
        assert!(o.snapshots.read(id(4, 40)).map_or(true, |mut r| r.read_to_end(&mut body).is_err()), "{at}");
        match open(&shared, Path::new("/node")) {
            Ok(o) => assert_eq!(o.snapshot, id(1, 1)),
            Err(e) => assert!(matches!(e, StorageError::Version { .. }) && (8..12).contains(&at), "{at}: {e}"),
        }
    }
}

#[test]
fn pieces_out_of_order_are_refused() {
    let file = snapshot_file(id(4, 40), 300);
    let good = |o, n| chunk(id(4, 40), &file, o, n);
    let wrong: [&[Chunk]; 6] = [
        &[good(100, 100)],
        &[good(0, 100), good(200, 100)],
        &[good(0, 100), good(50, 100)],
        &[good(0, 100), Chunk { snapshot: id(4, 41), ..good(100, 100) }],
        &[good(0, 100), Chunk { total: 999, ..good(100, 100) }],
        &[good(0, 100), Chunk { total: 50, ..good(0, 100) }],
    ];
    for pieces in wrong {
        let (fs, _, mut o) = new();
        let (last, before) = pieces.split_last().unwrap();
        for piece in before {
            o.snapshot_worker.run(SnapshotOp::Write(piece.clone()));
        }
        let event = o.snapshot_worker.run(SnapshotOp::Write(last.clone()));
        assert!(matches!(event, SnapshotEvent::Refused { .. }), "{pieces:?}: {event:?}");
        assert_eq!(fs.contents(&Path::new(SNAPSHOTS).join("receiving.tmp")), None);
        let event = o.snapshot_worker.run(SnapshotOp::Finish { snapshot: id(4, 40) });
        assert!(matches!(event, SnapshotEvent::Refused { .. }));
        // A piece at 0 starts anew, also in the middle of another.
        o.snapshot_worker.run(SnapshotOp::Write(good(0, 100)));
        let event = send(&mut o.snapshot_worker, id(4, 40), &file, 70);
        assert_eq!(event, SnapshotEvent::Received { snapshot: id(4, 40) });
    }
    let (.., mut o) = new();
    for offset in [0, 100, 200] {
        o.snapshot_worker.run(SnapshotOp::Write(good(offset, 100)));
    }
    let event = o.snapshot_worker.run(SnapshotOp::Finish { snapshot: id(4, 40) });
    assert!(matches!(event, SnapshotEvent::Refused { .. }), "incomplete: {event:?}");
    assert!(matches!(send(&mut o.snapshot_worker, id(5, 5), &file, 100), SnapshotEvent::Refused { .. }), "another id");
}

#[test]
fn old_snapshots_go_but_not_the_one_being_sent() {
    let (_, shared, mut o) = new();
    let worker = &mut o.snapshot_worker;
    for counter in 1..=4 {
        store(worker, id(1, counter), 100);
    }
    assert_eq!(o.snapshots.ids().unwrap(), [id(1, 4), id(1, 3)]);
    assert_eq!(read(worker, Some(id(1, 3)), 50, 10).unwrap().offset, 50);
    // What is gone is answered by the newest, from its start.
    let piece = read(worker, Some(id(1, 1)), 50, 10).unwrap();
    assert_eq!((piece.snapshot, piece.offset), (id(1, 4), 0));
    assert!(matches!(o.snapshots.read(id(1, 1)), Err(StorageError::NoSnapshot { .. })));
    // One that was received stays, though it be older than those there are.
    let file = snapshot_file(id(1, 2), 100);
    assert_eq!(send(worker, id(1, 2), &file, 1000), SnapshotEvent::Received { snapshot: id(1, 2) });
    assert_eq!(o.snapshots.ids().unwrap(), [id(1, 4), id(1, 2)]);
    drop((o.log_worker, o.snapshot_worker));
    assert_eq!(open(&shared, Path::new("/node")).unwrap().snapshot, id(1, 4));
}

#[test]
fn a_damaged_snapshot_that_the_log_needs_stops_the_node() {
    let (fs, shared, mut o) = new();
    ask(&mut o.log_worker, (0..30).map(|i| LogOp::Append(run(id(1, 1 + i * 10), 10))));
    store(&mut o.snapshot_worker, id(1, 290), 100);
    ask(&mut o.log_worker, [LogOp::Compact { upto: id(1, 290) }]);
    drop((o.log_worker, o.snapshot_worker));
    let path = Path::new(SNAPSHOTS).join("0000000000000001-0000000000000122.snap");
    let mut bytes = fs.contents(&path).unwrap();
    bytes[60] ^= 1;
    fs.overwrite(&path, &bytes);
    assert!(matches!(open(&shared, Path::new("/node")), Err(StorageError::Uncovered { .. })));
}

#[test]
fn a_snapshot_that_has_rotted_is_not_sent_and_the_next_one_takes_its_place() {
    let (fs, _, mut o) = new();
    let worker = &mut o.snapshot_worker;
    store(worker, id(1, 1), 100);
    store(worker, id(1, 2), 100);
    let path = |counter: u64| Path::new(SNAPSHOTS).join(format!("{:016x}-{counter:016x}.snap", 1));
    let whole = [1, 2].map(|counter| fs.contents(&path(counter)).unwrap());
    let ask = |worker: &mut SnapshotWorker, snapshot| {
        worker.run(SnapshotOp::Read { peer: NodeId(2), snapshot, offset: 0, max_bytes: 10 })
    };
    assert_eq!(read(worker, None, 0, 10).unwrap().snapshot, id(1, 2), "the file is open from here on");
    for at in 0..whole[1].len() {
        let mut bad = whole[1].clone();
        bad[at] ^= 1 << (at % 8);
        fs.overwrite(&path(2), &bad);
        for wanted in [None, Some(id(1, 2))] {
            let unusable = SnapshotEvent::Unusable { peer: NodeId(2), snapshot: id(1, 2) };
            assert_eq!(ask(worker, wanted), unusable, "byte {at}");
        }
    }
    // An older one is not needed: the newest does instead.
    fs.overwrite(&path(2), &whole[1]);
    fs.overwrite(&path(1), &whole[0][..90]);
    assert_eq!(read(worker, Some(id(1, 1)), 0, 10).unwrap().snapshot, id(1, 2));
    // The same state once more, in the place of the damaged file.
    fs.overwrite(&path(2), &whole[1][..90]);
    assert!(matches!(ask(worker, None), SnapshotEvent::Unusable { .. }));
    store(worker, id(1, 2), 100);
    assert_eq!(read(worker, None, 0, 1000).unwrap().data, whole[1]);
}

/// A state which cannot be written.
struct Broken;

impl Frozen for Broken {
    fn write(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&[1; 1000])?;
        Err(io::Error::other("no more state"))
    }
}

#[test]
fn a_state_that_cannot_be_written_is_no_snapshot() {
    let (_, shared, mut o) = new();
    let event = o.snapshot_worker.run(SnapshotOp::Store { snapshot: id(1, 1), state: Box::new(Broken) });
    let SnapshotEvent::Failed(text) = event else { panic!("{event:?}") };
    assert!(text.contains("no more state"), "{text}");
    assert!(o.snapshots.ids().unwrap().is_empty());
    drop((o.log_worker, o.snapshot_worker));
    assert_eq!(open(&shared, Path::new("/node")).unwrap().snapshot, LogId::ZERO);
    assert!(shared.list(Path::new(SNAPSHOTS)).unwrap().is_empty());
}
