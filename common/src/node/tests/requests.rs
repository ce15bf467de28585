//! Writes, forwarding and reads.

use super::*;
use crate::node::forward::Relay;
use crate::protocol::Refusal;

fn written(epoch: u64, counter: u64) -> Answer {
    Answer::Written { at: id(epoch, counter) }
}

fn not_leader(leader: Option<NodeId>) -> Answer {
    Answer::Refused(Refusal::NotLeader { leader })
}

/// What is said to other replicas: the session's peer and the relay.
fn relays(out: &Outputs<FakeMessage>) -> Vec<(NodeId, Relay)> {
    let said = out.peers.iter().filter_map(|p| match p {
        PeerOut::Relay { to, relay, .. } => Some((to.peer, relay.clone())),
        _ => None,
    });
    said.collect()
}

#[test]
fn the_writes_of_a_turn_are_one_proposal_and_are_answered_when_applied() {
    let mut b = Bench::leader(config());
    let out = b.turn((1..=5).map(|i| write(i, 10)));
    let [LogOp::Append(run)] = &out.log[..] else { panic!("{:?}", out.log) };
    assert_eq!((run.first(), run.last(), run.bytes()), (id(1, 1), id(1, 5), 50));
    assert!(answers(&out).is_empty());
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    assert!(answers(&out).is_empty(), "committed is not yet applied");
    assert!(matches!(out.apply[..], [ApplyOp::Apply { answers: true, .. }]));
    assert_eq!(b.settle(out), (1..=5).map(|i| (i, written(1, i))).collect::<Vec<_>>());
    assert_eq!(b.replica.requests.pending(), (0, 0));
    assert_eq!((b.counters.batches_proposed.get(), b.counters.commands_proposed.get()), (1, 5));
}

#[test]
fn batches_are_bounded_and_later_writes_gather_behind_those_in_flight() {
    let limits = ReplicaConfig { batch_entries: 3, batch_bytes: 100, batches_in_flight: 3, ..config() };
    let mut b = Bench::leader(limits);
    let sizes = [10, 10, 10, 90, 90, 250, 10, 10];
    let out = b.turn(sizes.iter().zip(1..).map(|(n, i)| write(i, *n)));
    let runs = |out: &Outputs<FakeMessage>| -> Vec<(usize, usize)> {
        let of = |op: &LogOp| if let LogOp::Append(r) = op { (r.len(), r.bytes()) } else { panic!("{op:?}") };
        out.log.iter().map(of).collect()
    };
    assert_eq!(runs(&out), [(3, 30), (1, 90), (1, 90)], "three in flight");
    assert!(b.turn([write(9, 10)]).log.is_empty());
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    assert_eq!(runs(&out), [(1, 250), (3, 30)], "one write is never too large for a batch of its own");
    let got: Vec<u64> = b.settle(out).into_iter().map(|a| a.0).collect();
    assert_eq!(got, (1..=9).collect::<Vec<_>>());
}

#[test]
fn what_is_pending_is_bounded() {
    let limits =
        ReplicaConfig { pending_requests: 3, pending_bytes: 100, client_requests: 2, entry_bytes: 80, ..config() };
    let busy = Answer::Refused(Refusal::Busy);
    let mut b = Bench::leader(limits);
    let other = |i, n: usize| ask(2, i, Ask::Write, vec![2; n]);
    let out =
        b.turn([Input::ClientUp { conn: 2 }, write(1, 10), write(2, 10), write(3, 10), other(4, 10), other(5, 10)]);
    assert_eq!(answers(&out), [(3, busy.clone()), (5, busy.clone())], "one client's limit, then all clients' limit");
    b.settle(out);
    let out = b.turn([write(6, 60), write(7, 60), write(8, 81)]);
    assert_eq!(answers(&out)[0], (7, busy));
    assert!(matches!(&answers(&out)[1], (8, Answer::Malformed(why)) if why.contains("81")), "longer than an entry");
    assert_eq!(b.counters.requests_shed.get(), 3);
    b.settle(out);
    assert_eq!(b.replica.requests.pending(), (0, 0));
    // An envelope that cannot be read does not get into the log.
    let out = b.turn([ask(1, 9, Ask::Write, vec![200])]);
    assert!(matches!(answers(&out)[..], [(9, Answer::Malformed(_))]) && out.log.is_empty());
}

#[test]
fn a_core_that_is_full_refuses_and_one_that_hands_over_lets_wait() {
    let mut b = Bench::leader(config());
    b.core(|c| c.refuse = Some(Refusal::Busy));
    assert_eq!(answers(&b.turn([write(1, 1), write(2, 1)])), [1, 2].map(|i| (i, Answer::Refused(Refusal::Busy))));
    b.core(|c| c.refuse = Some(Refusal::LeaderChanged));
    let out = b.turn([write(3, 1)]);
    assert!(out.is_empty(), "{out:?}");
    b.replica.core.refuse = None;
    assert_eq!(b.replica.wake_at(), Some(Micros(config().retry_us)));
    let out = b.later(config().retry_us);
    assert_eq!(b.settle(out), [(3, written(1, 1))]);
}

#[test]
fn a_leader_that_falls_answers_unknown_once() {
    let mut b = Bench::leader(config());
    let out = b.turn([write(1, 1)]);
    assert_eq!(answers(&b.lead(Some(PEER), 2)), [(1, Answer::Unknown)]);
    // It is committed after all, and applied; nobody waits any more.
    let durable = b.disk(out.log);
    b.turn(durable);
    let out = b.emit(vec![Effect::Commit { upto: id(1, 1) }]);
    assert!(matches!(out.apply[..], [ApplyOp::Apply { answers: false, .. }]));
    assert_eq!(b.settle(out), []);
    // The same with another reign of its own in between.
    b.lead(Some(ME), 3);
    b.turn([write(2, 1)]);
    assert_eq!(answers(&b.lead(Some(ME), 5)), [(2, Answer::Unknown)]);
    assert_eq!(b.replica.requests.pending(), (0, 0));
}

#[test]
fn without_a_leader_a_write_waits_for_one_but_not_for_ever() {
    let mut b = Bench::new(config());
    b.turn([Input::ClientUp { conn: 1 }, write(1, 1)]);
    let hold = config().hold_us;
    b.now = hold - 1;
    assert!(b.turn([write(2, 1)]).is_empty());
    assert_eq!(b.replica.wake_at(), Some(Micros(hold)));
    assert_eq!(answers(&b.later(1)), [(1, not_leader(None))]);
    let out = b.lead(Some(ME), 1);
    assert_eq!(b.settle(out), [(2, written(1, 1))]);
}

#[test]
fn a_follower_forwards_once_and_passes_the_answer_on() {
    let (mut b, session) = Bench::follower(config());
    let out = b.turn([write(1, 5), write(2, 6)]);
    assert_eq!(relays(&out), [0, 1].map(|token| (PEER, Relay::Write { token })));
    assert!(matches!(&out.peers[0], PeerOut::Relay { body, .. } if body.len() == 5));
    let answer = |token| Relay::Answer { token, answer: written(1, 9) };
    let out =
        b.turn([frame(session, channel::FORWARD, &answer(1), "a"), frame(session, channel::FORWARD, &answer(1), "a")]);
    assert!(matches!(&out.clients[..], [ClientOut::Reply { response, body, .. }] if response.id == 2 && body == "a"));
    assert_eq!(answers(&b.turn([Input::PeerDown { session }])), [(1, Answer::Unknown)]);
    // What comes while there is no session waits for the next one.
    assert!(b.turn([write(3, 1)]).is_empty());
    let next = Session { peer: PEER, number: 99 };
    let out = b.turn([Input::PeerUp { session: next, member: Member::Voter }]);
    assert_eq!(relays(&out), [(PEER, Relay::Write { token: 2 })]);
    // Another leader: nobody knows what the old one does with it.
    assert_eq!(answers(&b.lead(Some(NodeId(3)), 2)), [(3, Answer::Unknown)]);
    assert_eq!(answers(&b.turn([frame(next, channel::FORWARD, &answer(2), "")])), []);
    assert_eq!(b.replica.requests.pending(), (0, 0));
}

#[test]
fn a_refused_forward_is_tried_again_in_order_after_a_pause_or_with_the_next_leader() {
    let (mut b, session) = Bench::follower(config());
    b.turn([write(1, 1), write(2, 1)]);
    let refused = |token| frame(session, channel::FORWARD, &Relay::Answer { token, answer: not_leader(None) }, "");
    let out = b.turn([refused(0), refused(1), write(3, 1)]);
    assert!(out.is_empty(), "not at once: the two would play ball with it: {out:?}");
    let out = b.later(config().retry_us);
    assert_eq!(relays(&out), [2, 3, 4].map(|token| (PEER, Relay::Write { token })));
    b.turn([refused(2), refused(3), refused(4)]);
    let out = b.lead(Some(ME), 2);
    assert_eq!(b.settle(out), [(1, written(2, 1)), (2, written(2, 2)), (3, written(2, 3))]);
    // Or it runs out of time.
    b.lead(Some(PEER), 3);
    b.turn([write(4, 1)]);
    b.now += config().hold_us;
    assert_eq!(answers(&b.turn([refused(5)])), [(4, not_leader(Some(PEER)))]);
}

#[test]
fn a_leader_answers_those_who_forwarded_in_the_same_session_only() {
    let mut b = Bench::leader(config());
    let session = b.peer_up(PEER);
    let forward = |session, token| frame(session, channel::FORWARD, &Relay::Write { token }, vec![2, 1]);
    let out = b.turn([forward(session, 7)]);
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    let applied = b.machine(out.apply);
    let out = b.turn(applied);
    assert_eq!(relays(&out), [(PEER, Relay::Answer { token: 7, answer: written(1, 1) })]);
    // The peer starts again before the answer: its token 8 may now be another request's.
    let out = b.turn([forward(session, 8)]);
    b.peer_up(PEER);
    let durable = b.disk(out.log);
    let out = b.turn(durable);
    let applied = b.machine(out.apply);
    assert!(b.turn(applied).peers.is_empty());
    // One who does not lead passes nothing further on.
    let (mut b, session) = Bench::follower(config());
    let out = b.turn([forward(session, 1)]);
    assert_eq!(relays(&out), [(PEER, Relay::Answer { token: 1, answer: not_leader(Some(PEER)) })]);
}

#[test]
fn reads_of_a_turn_share_a_barrier_and_wait_for_its_entries() {
    let (mut b, _) = Bench::follower(config());
    b.core(|c| c.mute = true);
    let fresh = ReadMode::Linearizable;
    assert!(b.turn([read(1, fresh, LogId::ZERO), read(2, fresh, id(1, 2))]).is_empty());
    assert_eq!(b.replica.core.count("ReadBarrier"), 1);
    let run = crate::entries::Entries::new(
        id(1, 1),
        crate::entries::EntryKind::Command,
        crate::entries::Batch::from_payloads(&[[2u8], [2], [2]]),
    );
    b.replica.core.append(run.unwrap());
    let ready = b.emit(vec![Effect::ReadReady { id: 0, at: id(1, 1) }]);
    assert!(ready.is_empty(), "nothing is applied yet");
    let out = b.emit(vec![Effect::Commit { upto: id(1, 1) }]);
    assert!(matches!(out.apply[..], [ApplyOp::Apply { .. }, ApplyOp::Query { .. }]), "{:?}", out.apply);
    assert_eq!(b.settle(out), [(1, Answer::Read { at: id(1, 1), stale_us: None })]);
    let out = b.emit(vec![Effect::Commit { upto: id(1, 3) }]);
    assert_eq!(
        b.settle(out),
        [(2, Answer::Read { at: id(1, 3), stale_us: None })],
        "the client has seen more than the barrier asks"
    );
}

#[test]
fn a_local_read_waits_for_nobody_but_never_goes_back() {
    let mut b = Bench::new(ReplicaConfig { fresh_us: 0, ..config() });
    b.turn([Input::ClientUp { conn: 1 }]);
    let out = b.turn([read(1, ReadMode::Local, LogId::ZERO), read(2, ReadMode::Local, id(1, 1))]);
    assert_eq!(b.settle(out), [(1, Answer::Read { at: LogId::ZERO, stale_us: None })]);
    assert_eq!(b.replica.core.count("ReadBarrier"), 0);
    assert_eq!(answers(&b.later(config().read_us)), [(2, not_leader(None))], "it does not wait for ever");
    assert_eq!(b.replica.requests.pending(), (0, 0));
}

#[test]
fn failed_barriers_are_tried_again_a_bounded_number_of_times() {
    let mut b = Bench::new(ReplicaConfig { read_attempts: 3, ..config() });
    b.turn([Input::ClientUp { conn: 1 }]);
    assert!(b.turn([read(1, ReadMode::Linearizable, LogId::ZERO)]).is_empty());
    assert!(b.turn([]).is_empty());
    assert_eq!(b.replica.core.count("ReadBarrier"), 1, "after a pause");
    assert!(b.later(config().retry_us).is_empty());
    assert_eq!(answers(&b.later(config().retry_us)), [(1, not_leader(None))]);
    assert_eq!(b.replica.core.count("ReadBarrier"), 3);
    // A leader ends the pause.
    assert!(b.turn([read(2, ReadMode::Linearizable, LogId::ZERO)]).is_empty());
    let out = b.lead(Some(ME), 1);
    assert_eq!(b.settle(out), [(2, Answer::Read { at: LogId::ZERO, stale_us: None })]);
}

#[test]
fn barriers_without_an_answer_hold_up_only_their_own_reads() {
    let (mut b, _) = Bench::follower(ReplicaConfig { barriers_in_flight: 2, ..config() });
    b.core(|c| c.mute = true);
    for i in 1..=4 {
        b.turn([read(i, ReadMode::Linearizable, LogId::ZERO)]);
    }
    assert_eq!(b.replica.core.count("ReadBarrier"), 2);
    let out = b.emit(vec![Effect::ReadReady { id: 1, at: LogId::ZERO }]);
    assert_eq!(b.settle(out), [(2, Answer::Read { at: LogId::ZERO, stale_us: None })]);
    b.turn([]);
    assert_eq!(b.replica.core.count("ReadBarrier"), 3, "the two that waited share the next");
    let late: Vec<u64> = answers(&b.later(config().read_us)).into_iter().map(|a| a.0).collect();
    assert_eq!(late, [1, 3, 4]);
    // Answers that come now are for nobody.
    assert!(b.emit(vec![Effect::ReadReady { id: 0, at: LogId::ZERO }]).is_empty());
}

#[test]
fn leadership_is_handed_over_where_the_leader_is() {
    let transfer = ask(1, 1, Ask::Transfer { to: Some(PEER) }, "");
    let mut b = Bench::leader(config());
    assert_eq!(answers(&b.turn([transfer])), [(1, Answer::Transferred { to: PEER })]);
    let (mut b, session) = Bench::follower(config());
    let out = b.turn([ask(1, 2, Ask::Transfer { to: None }, "")]);
    assert_eq!(relays(&out), [(PEER, Relay::Transfer { token: 0, to: None })]);
    let done = Relay::Answer { token: 0, answer: Answer::Transferred { to: PEER } };
    assert_eq!(
        answers(&b.turn([frame(session, channel::FORWARD, &done, "")])),
        [(2, Answer::Transferred { to: PEER })]
    );
    b.lead(None, 2);
    assert_eq!(answers(&b.turn([ask(1, 3, Ask::Transfer { to: None }, "")])), [(3, not_leader(None))]);
}

#[test]
fn a_client_that_left_gets_no_answer_and_frees_its_room() {
    let mut b = Bench::leader(config());
    let out = b.turn([write(1, 9)]);
    b.turn([Input::ClientDown { conn: 1 }]);
    assert_eq!(b.settle(out), []);
    assert_eq!(b.replica.requests.pending(), (0, 0));
    assert!(b.turn([write(2, 1)]).is_empty(), "what still comes from it is not looked at");
}
