//! Whatever a peer says, however wrong, and whatever the caller answers: a core does not panic. What breaks the rules of the
//! protocol ends the session. And nobody can make it halt: a node looks at its own rules after every step.

use bytes::Bytes;
use common::codec::Payload;
use common::entries::{Batch, Entries, EntryKind};
use common::log::LogView;
use common::membership::Membership;
use common::protocol::{Boot, Chunk, Effect, Effects, Input, Protocol, Trust};
use common::types::{LogId, Member, Micros, NodeId};
use proptest::prelude::*;
use raft::{Answer, Config, Hard, Message, Raft};

/// Small numbers meet each other; huge ones overflow.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0u64..8, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)]
}

/// Mostly the term the node is in.
fn term() -> impl Strategy<Value = u64> {
    prop_oneof![40 => Just(2u64), 3 => 0u64..4, 1 => number()]
}

fn log_id() -> impl Strategy<Value = LogId> {
    (number(), number()).prop_map(|(epoch, counter)| LogId { epoch, counter })
}

fn entries() -> impl Strategy<Value = Entries> {
    (1u64..3, 1u64..6, 1usize..4, any::<bool>()).prop_map(|(term, index, n, command)| {
        let kind = if command { EntryKind::Command } else { EntryKind::Noop };
        Entries::new(LogId::new(term, index), kind, Batch::from_payloads(&vec!["x"; n])).expect("not empty")
    })
}

fn chunk() -> impl Strategy<Value = Chunk> {
    (log_id(), number(), number(), 0usize..4).prop_map(|(snapshot, offset, total, len)| Chunk {
        snapshot,
        offset,
        total,
        data: Bytes::from(vec![1; len]),
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        log_id().prop_map(Answer::Matched),
        (log_id(), log_id(), log_id(), number()).prop_map(|(refused, last, at, first)| Answer::Conflict {
            refused,
            last,
            at,
            first
        }),
        Just(Answer::Busy),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let append = (term(), log_id(), number(), number(), proptest::option::of(entries()), any::<bool>()).prop_map(
        |(term, prev, commit, round, run, follows)| {
            // Half of them at least follow on.
            let prev = match &run {
                Some(run) if follows => LogId::new(prev.epoch.min(run.epoch()), run.first().counter - 1),
                _ => prev,
            };
            Message::AppendEntries { term, prev, commit, round, entries: run.map(Payload::from) }
        },
    );
    prop_oneof![
        1 => (term(), log_id()).prop_map(|(term, last)| Message::PreVote { term, last }),
        1 => (term(), any::<bool>()).prop_map(|(term, granted)| Message::PreVoteReply { term, granted }),
        1 => (term(), log_id(), any::<bool>())
            .prop_map(|(term, last, transfer)| Message::RequestVote { term, last, transfer }),
        1 => term().prop_map(|term| Message::TimeoutNow { term }),
        1 => (term(), any::<bool>()).prop_map(|(term, granted)| Message::RequestVoteReply { term, granted }),
        4 => append,
        3 => (term(), number(), answer())
            .prop_map(|(term, round, answer)| Message::AppendEntriesReply { term, round, answer }),
        2 => (term(), chunk()).prop_map(|(term, chunk)| Message::InstallSnapshot { term, chunk }),
        1 => (term(), log_id(), number())
            .prop_map(|(term, snapshot, end)| Message::InstallSnapshotReply { term, snapshot, end }),
        1 => (term(), number(), any::<bool>())
            .prop_map(|(term, context, lease)| Message::ReadIndex { term, context, lease }),
        1 => (term(), number()).prop_map(|(term, priority)| Message::Priority { term, priority }),
        1 => (term(), number(), proptest::option::of(log_id()))
            .prop_map(|(term, context, at)| Message::ReadIndexReply { term, context, at }),
    ]
}

fn peer() -> impl Strategy<Value = NodeId> {
    (1u64..6).prop_map(NodeId)
}

fn trust() -> impl Strategy<Value = Trust> {
    prop_oneof![Just(Trust::Quorum), Just(Trust::Clocks), Just(Trust::Leader)]
}

fn input() -> impl Strategy<Value = (Input<Message>, u64)> {
    let member = prop_oneof![3 => Just(Member::Voter), 1 => Just(Member::Observer)];
    let input = prop_oneof![
        3 => Just(Input::Tick),
        2 => (peer(), member).prop_map(|(peer, member)| Input::PeerUp { peer, member }),
        1 => peer().prop_map(|peer| Input::PeerDown { peer }),
        20 => (peer(), message()).prop_map(|(from, message)| Input::Message { from, message }),
        2 => (0usize..3).prop_map(|n| Input::Propose { batch: Batch::from_payloads(&vec!["y"; n]) }),
        1 => (number(), trust()).prop_map(|(id, trust)| Input::ReadBarrier { id, trust }),
        1 => (number(), proptest::option::of(peer())).prop_map(|(id, to)| Input::Transfer { id, to }),
        3 => log_id().prop_map(|upto| Input::Durable { upto }),
        6 => Just(Input::HardSaved),
        1 => log_id().prop_map(|upto| Input::Applied { upto }),
        1 => (log_id(), log_id()).prop_map(|(snapshot, base)| Input::Compacted { snapshot, base }),
        1 => (peer(), log_id(), proptest::option::of(entries()))
            .prop_map(|(peer, after, entries)| Input::Fetched { peer, after, entries }),
        1 => (peer(), proptest::option::of(chunk()))
            .prop_map(|(peer, chunk)| Input::SnapshotRead { peer, chunk }),
        1 => (log_id(), number()).prop_map(|(snapshot, end)| Input::SnapshotWritten { snapshot, end }),
        1 => log_id().prop_map(|snapshot| Input::SnapshotInstalled { snapshot, membership: None }),
        1 => log_id().prop_map(|snapshot| Input::SnapshotRefused { snapshot }),
    ];
    (input, 0u64..100_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_core_never_panics(
        inputs in proptest::collection::vec(input(), 1..80),
        observes in proptest::bool::weighted(0.1),
        leads in any::<bool>(),
        base in prop_oneof![Just(LogId::ZERO), Just(LogId::new(1, 3))],
    ) {
        let id = if observes { NodeId(5) } else { NodeId(1) };
        let mut log = LogView::new(base, 16);
        log.append(Entries::noop(LogId::new(1, base.counter + 1)));
        let mut core = Raft::new(Boot {
            id,
            membership: (LogId::ZERO, Membership::of_ids((1..=3).map(NodeId))),
            config: Config { max_batch_bytes: 2, max_inflight_messages: 2, max_observers: 1, max_clock_drift_ppm: 500, ..Config::default() },
            seed: 1,
            now: Micros(0),
            hard: Hard { term: 1, ..Hard::default() },
            snapshot: base,
            log,
        });
        let mut fx = Effects::new(true);
        let mut now = Micros(0);
        for peer in [2, 3] {
            core.step(now, Input::PeerUp { peer: NodeId(peer), member: Member::Voter }, &mut fx);
        }
        if leads && !observes {
            now = Micros::from_millis(400);
            let message = Message::PreVoteReply { term: 2, granted: true };
            core.step(now, Input::Tick, &mut fx);
            core.step(now, Input::Message { from: NodeId(2), message }, &mut fx);
            core.step(now, Input::HardSaved, &mut fx);
            let message = Message::RequestVoteReply { term: 2, granted: true };
            core.step(now, Input::Message { from: NodeId(2), message }, &mut fx);
            assert_eq!(core.leadership().leader, Some(id));
        }
        for (input, later) in inputs {
            now = now.after(Micros(later));
            core.step(now, input, &mut fx);
            let _ = (core.status(), core.wake_at(), core.leadership());
            for effect in fx.drain() {
                assert!(!matches!(effect, Effect::Halt(_)), "{effect:?}");
            }
        }
    }
}
