//! What local reads are told of their age.

use super::*;
use crate::protocol::Refusal;

/// A local read by client 1: the age it is told.
fn age(b: &mut Bench) -> Option<u64> {
    let out = b.turn([read(7, ReadMode::Local, LogId::ZERO)]);
    match b.settle(out).iter().find(|(id, _)| *id == 7) {
        Some((_, Answer::Read { stale_us, .. })) => *stale_us,
        other => panic!("{other:?}"),
    }
}

/// The core confirms this barrier.
fn confirm(b: &mut Bench, barrier: u64, at: LogId) {
    let out = b.emit(vec![Effect::ReadReady { id: barrier, at }]);
    b.settle(out);
}

#[test]
fn it_counts_from_when_the_newest_confirmed_barrier_was_asked() {
    let mut b = Bench::leader(config());
    b.replica.core.mute = true;
    assert_eq!(age(&mut b), None, "nothing is known yet");
    assert_eq!(b.replica.core.count("ReadBarrier"), 1, "but it is asked");
    b.now += 3000;
    assert_eq!(age(&mut b), None);
    confirm(&mut b, 0, LogId::ZERO);
    b.now += 2000;
    assert_eq!(age(&mut b), Some(5000));
    // Not again before some time has passed, and then at most once.
    b.now += 44_000;
    assert_eq!((age(&mut b), b.replica.core.count("ReadBarrier")), (Some(49_000), 1));
    b.now += 1000;
    assert_eq!((age(&mut b), b.replica.core.count("ReadBarrier")), (Some(50_000), 2));
    b.now += 100;
    assert_eq!((age(&mut b), b.replica.core.count("ReadBarrier")), (Some(50_100), 2));
    confirm(&mut b, 1, LogId::ZERO);
    assert_eq!(age(&mut b), Some(100));
}

#[test]
fn a_barrier_of_other_reads_will_do_unless_it_rests_on_a_lease() {
    let mut b = Bench::leader(config());
    b.replica.core.mute = true;
    b.turn([read(1, ReadMode::Lease, LogId::ZERO)]);
    confirm(&mut b, 0, LogId::ZERO);
    assert_eq!(age(&mut b), None);
    b.now += 50_000;
    b.turn([read(2, ReadMode::Linearizable, LogId::ZERO)]);
    confirm(&mut b, 2, LogId::ZERO);
    b.now += 10;
    assert_eq!((age(&mut b), b.replica.core.count("ReadBarrier")), (Some(10), 3));
}

#[test]
fn what_is_confirmed_counts_when_it_is_applied() {
    let mut b = Bench::leader(config());
    b.replica.core.mute = true;
    age(&mut b);
    confirm(&mut b, 0, id(1, 1));
    b.now += 10;
    assert_eq!(age(&mut b), None);
    let out = b.turn([write(9, 1)]);
    b.settle(out);
    b.now += 10;
    assert_eq!(age(&mut b), Some(20));
}

#[test]
fn others_are_told_nothing_and_a_node_can_be_told_not_to_ask() {
    let mut b = Bench::leader(ReplicaConfig { fresh_us: 0, ..config() });
    assert_eq!(age(&mut b), None);
    assert_eq!(b.replica.core.count("ReadBarrier"), 0);
    let out = b.turn([read(3, ReadMode::Linearizable, LogId::ZERO)]);
    assert_eq!(b.settle(out), [(3, Answer::Read { at: LogId::ZERO, stale_us: None })]);
    b.now += 5;
    assert_eq!(age(&mut b), Some(5), "it was asked all the same");
}

#[test]
fn without_a_leader_it_asks_no_more_often_and_says_what_it_knew() {
    let mut b = Bench::leader(config());
    assert_eq!(age(&mut b), Some(0), "the core answered in the same turn");
    b.replica.core.mute = true;
    for n in 1..=10 {
        b.now += 25_000;
        assert_eq!(age(&mut b), Some(25_000 * n), "nothing new is confirmed");
        let barrier = b.replica.core.count("ReadBarrier") as u64 - 1;
        b.emit(vec![Effect::ReadFailed { id: barrier, reason: Refusal::LeaderChanged }]);
    }
    assert_eq!(b.replica.core.count("ReadBarrier"), 6);
}
