use bytes::Bytes;

use super::*;
use crate::client::wire::ReadMode::{Linearizable, Local};
use crate::entries::Batch;
use crate::state_machine::kv::{Command, Part};
use crate::types::LogId as At;

const A: &[u8] = b"k";

/// A witness and the log that it is told of.
struct World {
    witness: Witness,
    session: SessionId,
}

fn at(counter: u64) -> At {
    At::new(1, counter)
}

fn body(answer: &Answer<'_>) -> Bytes {
    answer.to_bytes()
}

fn put(value: &[u8]) -> Bytes {
    Command::Put { key: A, value }.to_bytes()
}

fn oracle(verdict: &Verdict) -> &'static str {
    verdict.as_ref().map_or_else(|v| v.oracle, |()| "none")
}

impl World {
    fn new() -> Self {
        Self::with(SessionLimits::default())
    }

    fn with(limits: SessionLimits) -> Self {
        let mut world = Self { witness: Witness::new(limits, KvLimits::default()), session: SessionId(at(1)) };
        world.witness.open_sent();
        world.commit(Envelope::Open, &[]).unwrap();
        world.witness.opened(At::ZERO, at(1)).unwrap();
        world
    }

    fn commit(&mut self, envelope: Envelope, command: &[u8]) -> Verdict {
        let mut payload = postcard::to_stdvec(&envelope).unwrap();
        payload.extend_from_slice(command);
        let next = at(self.witness.last().counter + 1);
        self.witness.committed(&Entries::new(next, EntryKind::Command, Batch::single(payload.into())).unwrap())
    }

    fn send(&mut self, seq: u64, command: &[u8]) {
        self.witness.write_sent(self.session, seq, command);
    }

    fn store(&mut self, seq: u64, command: &[u8]) -> Verdict {
        self.commit(Envelope::Write { session: self.session, seq, floor: 1 }, command)
    }

    /// A write from its sending to its answer.
    fn whole(&mut self, seq: u64, command: &[u8], answer: &Answer<'_>) -> Verdict {
        let horizon = self.witness.horizon();
        self.send(seq, command);
        self.store(seq, command)?;
        let last = self.witness.last();
        self.witness.written(self.session, seq, horizon, last, &body(answer))
    }

    fn answered(&mut self, seq: u64, horizon: u64, place: u64) -> Verdict {
        self.witness.written(self.session, seq, at(horizon), at(place), &body(&Answer::Done))
    }

    fn get(&mut self, mode: ReadMode, from: (u64, u64), place: u64, value: Option<&[u8]>) -> Verdict {
        let (horizon, at_least) = (at(from.0), at(from.1));
        let body = body(&Answer::Value { value });
        self.witness.read(&ReadAnswer { mode, key: A, horizon, at_least, at: at(place), body: &body })
    }
}

#[test]
fn what_the_log_explains_passes() {
    let mut w = World::new();
    w.whole(1, &put(b"one"), &Answer::Done).unwrap();
    let swap = Command::CompareAndSet { key: A, expected: Some(b"one"), value: b"two" }.to_bytes();
    w.whole(2, &swap, &Answer::Done).unwrap();
    w.whole(3, &swap, &Answer::Differs { found: Some(b"two") }).unwrap();
    w.get(Linearizable, (4, 4), 4, Some(b"two")).unwrap();
    w.whole(4, &Command::Delete { key: A }.to_bytes(), &Answer::Deleted { existed: true }).unwrap();
    w.whole(5, &Command::Delete { key: A }.to_bytes(), &Answer::Deleted { existed: false }).unwrap();
    let long = vec![0; 5000];
    let (put_long, part) = (Command::Put { key: &long, value: b"" }.to_bytes(), Part::Key);
    w.whole(6, &put_long, &Answer::TooLong { part, bytes: 5000, allowed: 4096 }).unwrap();
    w.whole(7, b"\xff", &Answer::Malformed).unwrap();
    w.get(Linearizable, (8, 0), 8, None).unwrap();
    for (place, value) in [(1, None), (2, Some(&b"one"[..])), (3, Some(b"two")), (5, None), (8, None)] {
        w.get(Local, (8, 0), place, value).unwrap();
    }
    w.get(Local, (0, 0), 0, None).unwrap_err();
    let nothing = ReadAnswer {
        mode: Local,
        key: A,
        horizon: at(8),
        at_least: At::ZERO,
        at: At::ZERO,
        body: &body(&Answer::Value { value: None }),
    };
    w.witness.read(&nothing).unwrap();
    w.witness.finish().unwrap();
}

#[test]
fn an_answer_without_a_commit_is_c_dur_at_the_end() {
    let mut w = World::new();
    w.send(1, &put(b"one"));
    w.answered(1, 1, 2).unwrap();
    assert_eq!(oracle(&w.witness.finish()), "C-DUR");
    w.store(1, &put(b"one")).unwrap();
    w.witness.finish().unwrap();
    w.answered(1, 1, 2).unwrap();
    assert_eq!(oracle(&w.witness.opened(At::ZERO, at(2))), "C-DUR", "no session was opened there");
}

#[test]
fn a_place_before_something_that_was_answered_is_c_lin() {
    let mut w = World::new();
    w.send(1, &put(b"one"));
    w.store(1, &put(b"one")).unwrap();
    w.whole(2, &put(b"two"), &Answer::Done).unwrap();
    assert_eq!(w.witness.horizon(), at(3));
    w.answered(1, 1, 2).unwrap();
    assert_eq!(oracle(&w.answered(1, 3, 2)), "C-LIN", "as if it had been asked only now");
    assert_eq!(oracle(&w.get(Linearizable, (3, 0), 2, Some(b"one"))), "C-LIN");
    w.get(Linearizable, (3, 0), 3, Some(b"two")).unwrap();
    assert_eq!(oracle(&w.get(Linearizable, (3, 0), 4, Some(b"two"))), "C-LIN", "nothing is committed there");
}

#[test]
fn a_linearizable_read_moves_the_horizon_and_a_local_one_does_not() {
    let mut w = World::new();
    w.send(1, &put(b"one"));
    w.store(1, &put(b"one")).unwrap();
    w.get(Local, (1, 1), 2, Some(b"one")).unwrap();
    assert_eq!(w.witness.horizon(), at(1));
    w.get(Linearizable, (1, 1), 2, Some(b"one")).unwrap();
    assert_eq!(w.witness.horizon(), at(2));
}

#[test]
fn a_wrong_value_is_c_lin_or_c_seq_and_says_whose_it_is() {
    let mut w = World::new();
    w.whole(1, &put(b"one"), &Answer::Done).unwrap();
    w.whole(2, &put(b"two"), &Answer::Done).unwrap();
    let stale = w.get(Linearizable, (3, 0), 3, Some(b"one")).unwrap_err();
    assert_eq!(stale.oracle, "C-LIN");
    assert!(stale.what.contains("the value of (1,2) was found, not that of (1,3)"), "{stale}");
    assert_eq!(oracle(&w.get(Local, (3, 0), 2, Some(b"two"))), "C-SEQ", "from the future");
    assert_eq!(oracle(&w.get(Local, (3, 0), 2, Some(b"never"))), "C-SEQ");
    assert_eq!(oracle(&w.get(Local, (3, 0), 2, None)), "C-SEQ");
    assert_eq!(oracle(&w.get(Local, (3, 3), 2, Some(b"one"))), "C-SEQ", "its client has seen more");
    assert_eq!(oracle(&w.get(Linearizable, (2, 3), 2, Some(b"one"))), "C-SEQ");
    assert_eq!(oracle(&w.get(Local, (3, 0), 9, Some(b"two"))), "C-SEQ", "beyond what is committed");
    let wrong = w.whole(3, &Command::Delete { key: A }.to_bytes(), &Answer::Deleted { existed: false });
    assert_eq!(oracle(&wrong), "C-LIN");
}

#[test]
fn what_was_refused_must_not_be_done() {
    let mut w = World::new();
    w.send(1, &put(b"one"));
    w.witness.write_refused(w.session, 1).unwrap();
    assert_eq!(oracle(&w.store(1, &put(b"one"))), "C-LIN");
    w.send(2, &put(b"two"));
    w.store(2, &put(b"two")).unwrap();
    assert_eq!(oracle(&w.witness.write_refused(w.session, 2)), "C-LIN");
    // Another attempt explains it.
    w.send(3, &put(b"two"));
    w.send(3, &put(b"two"));
    w.witness.write_refused(w.session, 3).unwrap();
    w.store(3, &put(b"two")).unwrap();
    w.witness.open_sent();
    w.witness.open_refused().unwrap();
    assert_eq!(oracle(&w.commit(Envelope::Open, &[])), "C-LIN");
}

#[test]
fn a_repetition_has_the_place_and_answer_of_the_first_time() {
    let mut w = World::new();
    let delete = Command::Delete { key: A }.to_bytes();
    w.send(1, &put(b"one"));
    w.send(2, &delete);
    w.send(2, &delete);
    for (seq, command) in [(1, &put(b"one")), (2, &delete), (2, &delete)] {
        w.store(seq, command).unwrap();
    }
    let session = w.session;
    let mut deleted =
        |place, existed| w.witness.written(session, 2, at(1), at(place), &body(&Answer::Deleted { existed }));
    deleted(3, true).unwrap();
    deleted(3, true).unwrap();
    assert_eq!(oracle(&deleted(4, true)), "C-ONCE");
    assert_eq!(oracle(&deleted(3, false)), "C-ONCE");
    assert_eq!(oracle(&w.witness.forgotten(session, 2, at(1), at(3))), "C-ONCE", "it fits");
    assert_eq!(oracle(&w.witness.no_session(session, 2)), "C-ONCE", "it is known");
    assert_eq!(oracle(&w.witness.bad_sequence(session, 2)), "C-ONCE", "the floor is 1");
    assert_eq!(oracle(&w.store(2, &delete)), "C-ONCE", "sent twice, and there for the third time");
    assert_eq!(oracle(&w.witness.opened(At::ZERO, at(1))), "C-ONCE", "it has its client");
}

#[test]
fn sessions_go_by_the_documented_rules() {
    let mut w = World::with(SessionLimits { sessions: 2, window: 2, answer_bytes: 3, total_bytes: 1 << 20 });
    let delete = Command::Delete { key: A }.to_bytes();
    for seq in 1..=3 {
        w.send(seq, &delete);
        w.store(seq, &delete).unwrap();
    }
    let (session, no) = (w.session, body(&Answer::Deleted { existed: false }));
    w.witness.written(session, 1, at(1), at(2), &no).unwrap();
    w.witness.written(session, 3, at(1), at(4), &no).unwrap();
    assert_eq!(oracle(&w.witness.finish()), "C-DUR", "out of the window");
    w.witness.forgotten(session, 2, at(1), at(3)).unwrap();
    assert_eq!(oracle(&w.witness.forgotten(session, 1, at(1), at(2))), "C-ONCE", "that one was kept");
    w.commit(Envelope::Write { session, seq: 3, floor: 3 }, &delete).unwrap_err();
    w.witness.bad_sequence(session, 2).unwrap();
    for _ in 0..2 {
        w.witness.open_sent();
        w.commit(Envelope::Open, &[]).unwrap();
    }
    w.witness.no_session(session, 3).unwrap();
    assert_eq!(oracle(&w.witness.no_session(SessionId(w.witness.last()), 1)), "C-ONCE");
}

#[test]
fn nothing_is_committed_that_was_not_sent() {
    let mut w = World::new();
    assert_eq!(oracle(&w.store(1, &put(b"one"))), "C-INT");
    w.send(1, &put(b"one"));
    assert_eq!(oracle(&w.store(1, &put(b"two"))), "C-INT", "another command");
    assert_eq!(oracle(&w.commit(Envelope::Write { session: SessionId(at(9)), seq: 1, floor: 1 }, A)), "C-INT");
    assert_eq!(oracle(&w.commit(Envelope::Raw, b"bytes")), "C-INT");
    assert_eq!(oracle(&w.commit(Envelope::Open, &[])), "C-ONCE", "one was sent");
    let raw = [&postcard::to_stdvec(&Envelope::Raw).unwrap()[..], b"mine"].concat();
    w.witness.append_sent(&raw);
    w.commit(Envelope::Raw, b"mine").unwrap();
    let place = w.witness.last();
    w.witness.appended(&raw, at(1), place).unwrap();
    w.witness.finish().unwrap();
    w.witness.appended(&raw, at(1), at(3)).unwrap();
    assert_eq!(oracle(&w.witness.finish()), "C-DUR");
    assert_eq!(oracle(&w.witness.append_refused(&raw)), "C-LIN");
}

#[test]
fn commits_go_on_where_they_ended() {
    let mut w = World::new();
    let noop = |epoch, counter| Entries::noop(At::new(epoch, counter));
    w.witness.committed(&noop(2, 1)).unwrap();
    assert_eq!(oracle(&w.witness.committed(&noop(1, 7))), "C-PREFIX");
    assert_eq!(oracle(&w.witness.committed(&noop(2, 1))), "C-PREFIX");
    assert_eq!(w.witness.last(), At::new(2, 1));
}

#[test]
fn sessions_are_dropped_only_when_they_were_idle_for_long_enough() {
    let mut w = World::new();
    let upto = w.witness.last();
    assert_eq!(oracle(&w.commit(Envelope::Expire { upto }, &[])), "C-ONCE", "never, if nobody says after how long");
    let mut w = World::new();
    w.witness.expect_idle(Micros(1000));
    let upto = w.witness.last();
    w.witness.at_time(Micros(999));
    assert_eq!(w.witness.sessions_known(), 1);
    // It was used after that.
    w.whole(1, &put(b"one"), &Answer::Done).unwrap();
    w.commit(Envelope::Expire { upto }, &[]).unwrap();
    assert_eq!((w.witness.sessions_known(), w.witness.model.known()), (1, 1));
    let upto = w.witness.last();
    w.witness.at_time(Micros(1999));
    w.commit(Envelope::Expire { upto }, &[]).unwrap();
    assert_eq!(w.witness.sessions_known(), 0);
    w.witness.no_session(w.session, 2).unwrap();
    let mut w = World::new();
    w.witness.expect_idle(Micros(1000));
    w.witness.at_time(Micros(999));
    let upto = w.witness.last();
    assert_eq!(oracle(&w.commit(Envelope::Expire { upto }, &[])), "C-ONCE", "too early");
    // Bytes behind it make it nothing.
    assert_eq!(oracle(&w.commit(Envelope::Expire { upto }, b"x")), "C-INT");
}
