//! Sessions that nobody uses are dropped: when the leader proposes it, and when it does not.

use super::*;
use crate::client::wire::SessionId;
use crate::protocol::Refusal;

const IDLE: u64 = 32_000;

fn idle() -> ReplicaConfig {
    ReplicaConfig { session_idle_us: IDLE, ..ReplicaConfig::default() }
}

fn open(b: &mut Bench) -> SessionId {
    let body = postcard::to_stdvec(&Envelope::Open).unwrap();
    let out = b.turn([ask(1, 1, Ask::Write, body)]);
    match b.settle(out).as_slice() {
        [(1, Answer::Written { at })] => SessionId(*at),
        other => panic!("{other:?}"),
    }
}

fn use_it(b: &mut Bench, session: SessionId, seq: u64) -> Answer {
    let body = postcard::to_stdvec(&Envelope::Write { session, seq, floor: seq }).unwrap();
    let out = b.turn([ask(1, 2, Ask::Write, body)]);
    b.settle(out).pop().expect("an answer").1
}

/// So much time passes; the node wakes when it wants to. How often it did.
fn pass(b: &mut Bench, us: u64) -> u64 {
    let until = b.now + us;
    let mut turns = 0;
    while let Some(at) = b.replica.wake_at().filter(|at| at.0 <= until) {
        b.now = at.0.max(b.now);
        let out = b.turn([]);
        b.settle(out);
        turns += 1;
        assert!(turns < 1000, "it does not rest");
    }
    b.now = until;
    turns
}

fn sessions(b: &Bench) -> u64 {
    b.machine.applier().sessions()
}

#[test]
fn a_session_goes_when_it_was_idle_for_long_enough_and_then_there_is_rest() {
    let mut b = Bench::leader(idle());
    let (first, second) = (open(&mut b), open(&mut b));
    pass(&mut b, IDLE / 2);
    assert!(matches!(use_it(&mut b, second, 1), Answer::Written { .. }));
    pass(&mut b, IDLE / 2 - 1);
    assert_eq!(sessions(&b), 2, "not early");
    pass(&mut b, IDLE / 32 + 1);
    assert_eq!(sessions(&b), 1);
    assert_eq!(use_it(&mut b, first, 1), Answer::NoSession);
    assert!(matches!(use_it(&mut b, second, 2), Answer::Written { .. }));
    pass(&mut b, 2 * IDLE);
    assert_eq!(sessions(&b), 0);
    let proposed = b.replica.core.count("Propose");
    assert!(pass(&mut b, 100 * IDLE) <= 3, "one more look at what the last entry left");
    assert_eq!((b.replica.core.count("Propose"), b.replica.wake_at()), (proposed, None));
}

#[test]
fn without_sessions_nothing_is_proposed() {
    let mut b = Bench::leader(idle());
    let out = b.turn([write(1, 9)]);
    b.settle(out);
    assert!(pass(&mut b, 100 * IDLE) <= 5);
    assert_eq!((b.replica.core.count("Propose"), b.replica.wake_at()), (1, None));
}

#[test]
fn a_session_in_use_stays_and_few_samples_are_kept() {
    let mut b = Bench::leader(idle());
    let session = open(&mut b);
    let before = b.replica.core.count("Propose");
    for seq in 1..1000 {
        assert!(matches!(use_it(&mut b, session, seq), Answer::Written { .. }));
        pass(&mut b, IDLE / 100);
        assert!(b.replica.expiry.kept() <= 33, "{}", b.replica.expiry.kept());
    }
    assert_eq!(b.replica.core.count("Propose") - before, 999);
}

#[test]
fn what_is_used_while_it_is_proposed_is_spared() {
    let mut b = Bench::leader(idle());
    let session = open(&mut b);
    // The first sample that has it is taken when one is due.
    pass(&mut b, IDLE + IDLE / 32 - 1);
    b.now += 1;
    let asked = b.turn([]);
    assert!(matches!(asked.apply[..], [ApplyOp::Idle { .. }]), "{:?}", asked.apply);
    // The write comes before the answer, and so before the entry.
    let body = postcard::to_stdvec(&Envelope::Write { session, seq: 1, floor: 1 }).unwrap();
    let written = b.turn([ask(1, 2, Ask::Write, body)]);
    b.settle(asked);
    b.settle(written);
    assert_eq!(b.replica.core.count("Propose"), 3, "it was proposed");
    assert_eq!(sessions(&b), 1);
}

#[test]
fn a_new_leader_counts_from_when_it_leads() {
    let mut b = Bench::leader(idle());
    open(&mut b);
    pass(&mut b, IDLE - 10);
    b.lead(Some(PEER), 2);
    assert_eq!((b.replica.expiry_wake_at(), b.replica.expiry.kept()), (None, 0));
    pass(&mut b, 10 * IDLE);
    b.lead(Some(ME), 3);
    pass(&mut b, IDLE - 10);
    assert_eq!(sessions(&b), 1);
    pass(&mut b, 20);
    assert_eq!(sessions(&b), 0);
}

#[test]
fn a_refusal_is_tried_again_and_zero_is_never() {
    let mut b = Bench::leader(idle());
    open(&mut b);
    b.replica.core.refuse = Some(Refusal::Busy);
    pass(&mut b, IDLE + IDLE / 32);
    assert_eq!(sessions(&b), 1);
    b.replica.core.refuse = None;
    pass(&mut b, ReplicaConfig::default().retry_us);
    assert_eq!(sessions(&b), 0);
    let mut never = Bench::leader(ReplicaConfig { session_idle_us: 0, ..ReplicaConfig::default() });
    open(&mut never);
    assert_eq!((pass(&mut never, 1 << 50), sessions(&never)), (0, 1));
}

#[test]
fn clients_may_not_say_so() {
    let mut b = Bench::leader(idle());
    let body = postcard::to_stdvec(&Envelope::Expire { upto: id(9, 9) }).unwrap();
    let out = b.turn([ask(1, 1, Ask::Write, body)]);
    assert!(matches!(answers(&out)[..], [(1, Answer::Malformed(_))]));
    assert_eq!(b.replica.core.count("Propose"), 0);
}
