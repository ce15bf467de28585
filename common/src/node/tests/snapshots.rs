//! Applying and snapshots.

use super::*;
use crate::entries::{Batch, Entries, EntryKind};
use crate::node::ApplyEvent;
use crate::protocol::{Chunk, Protocol};
use crate::storage::{SnapshotEvent, SnapshotOp};

fn run(first: LogId, n: usize) -> Entries {
    Entries::new(first, EntryKind::Command, Batch::from_payloads(&vec![[2u8]; n])).unwrap()
}

#[test]
fn committed_entries_are_handed_over_in_bounded_pieces() {
    let limits = ReplicaConfig { apply_piece_bytes: 100, apply_window_bytes: 200, ..config() };
    let mut b = Bench::new(limits);
    b.replica.core.append(run(id(1, 1), 5));
    b.replica.core.append(run(id(2, 1), 20));
    let out = b.emit(vec![Effect::Commit { upto: id(2, 18) }]);
    let lasts = |out: &Outputs<FakeMessage>| -> Vec<LogId> {
        let of =
            |op: &ApplyOp| if let ApplyOp::Apply { runs, .. } = op { runs.last().unwrap().last() } else { panic!() };
        out.apply.iter().map(of).collect()
    };
    assert_eq!(lasts(&out), [id(2, 18)], "whole runs below a piece's payload are not cut");
    assert_eq!(b.settle(out), []);
    assert_eq!(b.machine.applier().applied(), id(2, 18));
    assert!(b.replica.core.saw("Applied { upto: LogId { epoch: 2, counter: 18 } }"));
    // While the worker is behind by a window, nothing more is handed over.
    let big = Entries::new(id(3, 1), EntryKind::Command, Batch::from_payloads(&[[2u8; 90], [2; 90], [2; 90], [2; 90]]));
    b.replica.core.append(big.unwrap());
    let out = b.emit(vec![Effect::Commit { upto: id(3, 4) }]);
    assert_eq!(lasts(&out), [id(3, 1), id(3, 2)]);
    assert_eq!(b.settle(out), []);
    assert_eq!(b.machine.applier().applied(), id(3, 4));
}

#[test]
fn entries_that_are_on_disk_only_are_read_back() {
    let mut log = LogView::new(LogId::ZERO, 0);
    log.append(run(id(1, 1), 3));
    log.append(run(id(1, 4), 2));
    log.release(id(1, 3));
    let mut b = Bench::with(config(), LogId::ZERO, log, None);
    let out = b.emit(vec![Effect::Commit { upto: id(1, 5) }]);
    let [LogOp::Fetch { peer: NodeId(0), after: LogId::ZERO, .. }] = out.log[..] else { panic!("{:?}", out.log) };
    assert!(b.turn([]).is_empty(), "asked once");
    let found = LogEvent::Fetched { peer: NodeId(0), after: LogId::ZERO, entries: Some(run(id(1, 1), 3)) };
    let out = b.turn([Input::Log(found)]);
    assert_eq!(b.settle(out), []);
    assert_eq!(b.machine.applier().applied(), id(1, 5));
    // A read for a peer goes to the core.
    b.turn([Input::Log(LogEvent::Fetched { peer: PEER, after: id(1, 1), entries: None })]);
    assert!(b.replica.core.saw("Fetched { peer: NodeId(2)"));
}

#[test]
fn a_snapshot_is_taken_stored_and_only_then_the_log_is_cut() {
    let mut b = Bench::leader(ReplicaConfig { snapshot_entries: 10, tail_entries: 4, ..config() });
    let out = b.turn((1..=9).map(|i| write(i, 1)));
    assert_eq!(b.settle(out).len(), 9);
    let out = b.turn([write(10, 1)]);
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    assert!(matches!(out.apply[..], [ApplyOp::Apply { .. }, ApplyOp::Freeze]), "{:?}", out.apply);
    let frozen = b.machine(out.apply);
    let out = b.turn(frozen);
    let [SnapshotOp::Store { snapshot, .. }] = out.snapshot[..] else { panic!("{:?}", out.snapshot) };
    assert_eq!(snapshot, id(1, 10));
    assert!(out.log.is_empty(), "it is not durable yet");
    let out = b.turn([Input::Snapshot(SnapshotEvent::Stored { snapshot, bytes: 1 })]);
    let [LogOp::Compact { upto }] = out.log[..] else { panic!("{:?}", out.log) };
    assert_eq!(upto, id(1, 6), "four entries stay for slow followers");
    // The disk may keep more than it was asked to drop.
    b.turn([Input::Log(LogEvent::Compacted { base: id(1, 2) })]);
    assert_eq!(b.replica.core().log().base(), id(1, 2));
    assert_eq!(b.counters.snapshots_stored.get(), 1);
    // The next one comes after as many entries again.
    let out = b.turn((11..=20).map(|i| write(i, 1)));
    let durable = b.disk(out.log);
    assert!(matches!(b.turn(durable).apply[..], [ApplyOp::Apply { .. }, ApplyOp::Freeze]));
}

#[test]
fn a_large_state_is_stored_again_when_the_log_has_grown_by_as_much() {
    let mut b = Bench::leader(ReplicaConfig { snapshot_entries: 10, ..config() });
    let mut written = 0;
    let mut freezes_after = |b: &mut Bench, n: u64| {
        let out = b.turn((written + 1..=written + n).map(|i| write(i, 1)));
        written += n;
        let durable = b.disk(out.log);
        let out = b.turn(durable);
        let freezes = out.apply.iter().any(|op| matches!(op, ApplyOp::Freeze));
        let applied = b.machine(out.apply);
        b.turn(applied);
        freezes
    };
    let stored = |at, bytes| Input::Snapshot(SnapshotEvent::Stored { snapshot: id(1, at), bytes });
    assert!(freezes_after(&mut b, 10));
    b.turn([stored(10, (4 << 20) - 1)]);
    assert!(freezes_after(&mut b, 10), "a small one is taken when it is due");
    b.turn([stored(20, 4 << 20)]);
    // No entry has more than 80 bytes, nor fewer than 32, in the log.
    let (too_few, enough) = ((4 << 20) / 80, (4 << 20) / 32);
    let mut entries = 0;
    while !freezes_after(&mut b, 1000) {
        entries += 1000;
    }
    assert!((too_few..enough).contains(&entries), "{entries}");
}

/// A leader that has asked for its snapshot up to (1,2) to be stored.
fn about_to_store(tail_entries: u64) -> Bench {
    let mut b = Bench::leader(ReplicaConfig { snapshot_entries: 2, tail_entries, ..config() });
    let out = b.turn([write(1, 1), write(2, 1)]);
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    let frozen = b.machine(out.apply);
    b.turn(frozen);
    b
}

#[test]
fn a_short_log_is_not_cut_but_the_core_hears_of_the_snapshot() {
    let mut b = about_to_store(50);
    let out = b.turn([Input::Snapshot(SnapshotEvent::Stored { snapshot: id(1, 2), bytes: 1 })]);
    assert!(out.log.is_empty());
    assert!(b.replica.core.saw("Compacted { snapshot: LogId { epoch: 1, counter: 2 }, base: LogId { epoch: 0"));
}

#[test]
fn an_unusable_snapshot_is_replaced_even_when_nothing_was_written_since() {
    let mut b = about_to_store(0);
    let snapshot = id(1, 2);
    let stored = || Input::Snapshot(SnapshotEvent::Stored { snapshot, bytes: 1 });
    b.turn([stored()]);
    for _ in 0..2 {
        let out = b.turn([Input::Snapshot(SnapshotEvent::Unusable { peer: PEER, snapshot })]);
        assert!(b.replica.core.saw("SnapshotRead { peer: NodeId(2), chunk: None }"));
        assert!(matches!(out.apply[..], [ApplyOp::Freeze]), "{:?}", out.apply);
        // A second complaint while it is under way asks for nothing more.
        let again = b.turn([Input::Snapshot(SnapshotEvent::Unusable { peer: PEER, snapshot })]);
        assert!(again.apply.is_empty(), "{:?}", again.apply);
        let frozen = b.machine(out.apply);
        let out = b.turn(frozen);
        assert!(matches!(out.snapshot[..], [SnapshotOp::Store { snapshot: of, .. }] if of == snapshot));
        b.turn([stored()]);
    }
    assert_eq!(b.counters.snapshots_unusable.get(), 4);
    // About one that has been replaced already nothing needs to be done.
    let out = b.turn([Input::Snapshot(SnapshotEvent::Unusable { peer: PEER, snapshot: id(1, 1) })]);
    assert!(out.apply.is_empty());
}

/// A leader's snapshot up to (4,9) has come whole.
fn receive(b: &mut Bench) -> LogId {
    let snapshot = id(4, 9);
    let chunk = Chunk { snapshot, offset: 0, total: 3, data: Bytes::from_static(b"abc") };
    let out = b.emit(vec![Effect::WriteSnapshot(chunk)]);
    assert!(matches!(out.snapshot[..], [SnapshotOp::Write(_)]));
    b.turn([Input::Snapshot(SnapshotEvent::Written { snapshot, end: 3 })]);
    assert!(b.replica.core.saw("SnapshotWritten"));
    let out = b.emit(vec![Effect::InstallSnapshot { snapshot, keep_tail: false }]);
    assert!(matches!(out.snapshot[..], [SnapshotOp::Finish { .. }]) && out.log.is_empty() && out.apply.is_empty());
    snapshot
}

#[test]
fn a_received_snapshot_is_durable_then_the_log_starts_after_it_then_it_is_loaded() {
    let mut b = Bench::new(config());
    b.replica.core.append(run(id(1, 1), 3));
    let snapshot = receive(&mut b);
    let out = b.turn([Input::Snapshot(SnapshotEvent::Received { snapshot })]);
    let [LogOp::Reset { base }] = out.log[..] else { panic!("{:?}", out.log) };
    assert!(base == snapshot && out.apply.is_empty());
    // An answer about the old log comes first and means nothing any more.
    assert!(b.turn([Input::Log(LogEvent::Durable { upto: id(1, 3), cuts: 0 })]).is_empty());
    let out = b.turn([Input::Log(LogEvent::Durable { upto: snapshot, cuts: 1 })]);
    assert!(matches!(out.apply[..], [ApplyOp::Restore { snapshot: s }] if s == snapshot));
    assert!(!b.replica.core.saw("Durable") && !b.replica.core.saw("SnapshotInstalled"));
    b.turn([Input::Apply(ApplyEvent::Restored { snapshot, membership: None })]);
    assert!(b.replica.core.saw("SnapshotInstalled"));
    assert_eq!((b.replica.handed(), b.counters.snapshots_installed.get()), (snapshot, 1));
    // What follows is applied on top of it.
    b.replica.core.append(run(id(4, 10), 2));
    let out = b.emit(vec![Effect::Commit { upto: id(4, 11) }]);
    let [ApplyOp::Apply { runs, .. }] = &out.apply[..] else { panic!("{:?}", out.apply) };
    assert_eq!(runs[..], [run(id(4, 10), 2)]);
}

#[test]
fn a_snapshot_whose_tail_stays_does_not_restart_the_log() {
    let mut b = Bench::new(config());
    let snapshot = id(4, 9);
    b.emit(vec![Effect::InstallSnapshot { snapshot, keep_tail: true }]);
    let out = b.turn([Input::Snapshot(SnapshotEvent::Received { snapshot })]);
    assert!(matches!(out.log[..], [LogOp::Compact { upto }] if upto == snapshot));
    assert!(matches!(out.apply[..], [ApplyOp::Restore { .. }]));
    // Entries after it become durable meanwhile, and the log's cut is not the core's business.
    b.turn([
        Input::Log(LogEvent::Durable { upto: id(4, 12), cuts: 0 }),
        Input::Log(LogEvent::Compacted { base: id(4, 2) }),
    ]);
    assert!(b.replica.core.saw("Durable") && !b.replica.core.saw("Compacted"));
    b.turn([Input::Apply(ApplyEvent::Restored { snapshot, membership: None })]);
    assert!(b.replica.core.saw("SnapshotInstalled"));
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    let mut b = Bench::leader(config());
    let snapshot = receive(&mut b);
    let refused = SnapshotEvent::Refused { snapshot, reason: "checksum".to_owned() };
    let out = b.turn([Input::Snapshot(refused)]);
    assert!(out.is_empty() && b.replica.core.saw("SnapshotRefused"));
    let out = b.turn([write(1, 1)]);
    assert_eq!(b.settle(out), [(1, Answer::Written { at: id(1, 1) })], "the node goes on");
}

#[test]
fn an_own_snapshot_gives_way_to_a_newer_received_one() {
    let mut b = Bench::leader(ReplicaConfig { snapshot_entries: 1, ..config() });
    let out = b.turn([write(1, 1)]);
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    assert!(matches!(out.apply[..], [ApplyOp::Apply { .. }, ApplyOp::Freeze]));
    let frozen = b.machine(out.apply);
    receive(&mut b);
    let out = b.turn(frozen);
    assert!(out.snapshot.is_empty(), "storing it now would put an older one on top: {:?}", out.snapshot);
}

const OTHER: NodeId = NodeId(3);

fn piece_wanted(peer: NodeId, offset: u64) -> Effect<Fake> {
    Effect::ReadSnapshot { peer, snapshot: None, offset, max_bytes: 100_000 }
}

fn piece(peer: NodeId, offset: u64, len: usize) -> Input {
    let chunk = Chunk { snapshot: id(1, 2), offset, total: 1 << 20, data: vec![0; len].into() };
    Input::Snapshot(SnapshotEvent::Read { peer, chunk: Some(chunk) })
}

fn read(out: &Outputs<FakeMessage>) -> Vec<(NodeId, u64, usize)> {
    let of = |op: &SnapshotOp| match op {
        SnapshotOp::Read { peer, offset, max_bytes, .. } => (*peer, *offset, *max_bytes),
        other => panic!("{other:?}"),
    };
    out.snapshot.iter().map(of).collect()
}

#[test]
fn pieces_for_peers_take_turns_and_each_waits_until_the_last_is_paid_for() {
    let mut b = Bench::leader(ReplicaConfig { snapshot_bytes_per_s: 80_000, session_idle_us: 0, ..config() });
    let out = b.emit(vec![piece_wanted(PEER, 0), piece_wanted(OTHER, 0)]);
    assert_eq!(read(&out), [(PEER, 0, 10_000)], "one at a time, and an eighth of a second's worth");
    assert_eq!(b.replica.wake_at(), None, "how long it is, is not known yet");
    assert_eq!(read(&b.later(1_000_000)), []);
    b.turn([piece(PEER, 0, 10_000)]);
    let paid = Micros(b.now + 125_000);
    assert_eq!(b.replica.wake_at(), Some(paid));
    b.emit(vec![piece_wanted(PEER, 10_000)]);
    assert_eq!(read(&b.later(124_999)), []);
    assert_eq!(read(&b.later(1)), [(OTHER, 0, 10_000)]);
    // What cannot be read costs nothing.
    let out = b.turn([Input::Snapshot(SnapshotEvent::Unusable { peer: OTHER, snapshot: id(1, 2) })]);
    assert_eq!(read(&out), [(PEER, 10_000, 10_000)]);
    b.turn([piece(PEER, 10_000, 8)]);
    b.later(10_000_000);
    // Time that nobody used is not saved up.
    let out = b.emit(vec![piece_wanted(PEER, 10_008), piece_wanted(OTHER, 0)]);
    assert_eq!(read(&out), [(PEER, 10_008, 10_000)]);
    assert_eq!(read(&b.turn([piece(PEER, 10_008, 8)])), []);
    assert_eq!(read(&b.later(100)), [(OTHER, 0, 10_000)]);
}

#[test]
fn without_a_limit_pieces_do_not_wait() {
    let mut b = Bench::leader(ReplicaConfig { snapshot_bytes_per_s: 0, ..config() });
    let out = b.emit(vec![piece_wanted(PEER, 0), piece_wanted(OTHER, 0)]);
    assert_eq!(read(&out), [(PEER, 0, 100_000), (OTHER, 0, 100_000)]);
    b.turn([piece(PEER, 0, 100_000)]);
    let out = b.emit(vec![piece_wanted(PEER, 100_000)]);
    assert_eq!(read(&out), [(PEER, 100_000, 100_000)]);
}
