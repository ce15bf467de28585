//! Peers that say anything: whatever arrives, nothing panics, no rule of a node's own state breaks, and a message that
//! breaks the protocol costs its sender the session.

use bytes::Bytes;
use common::entries::{Batch, Entries, EntryKind};
use common::protocol::{Chunk, Input, Protocol};
use common::testbed::Testbed;
use common::types::{LogId, Micros, NodeId};
use proptest::prelude::*;
use zab::{Config, Info, Message, NodeState, Notification, Vote, Zab};

fn zxid() -> impl Strategy<Value = LogId> {
    let counter = prop_oneof![0u64..8, Just(u64::from(u32::MAX)), Just(u64::MAX)];
    (prop_oneof![0u64..4, Just(u64::from(u32::MAX)), Just(u64::MAX)], counter).prop_map(|(e, c)| LogId::new(e, c))
}

fn epoch() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, Just(u64::from(u32::MAX) - 1), Just(u64::from(u32::MAX)), Just(u64::MAX)]
}

fn run() -> impl Strategy<Value = Entries> {
    let near = (0u64..4, 0u64..8).prop_map(|(e, c)| LogId::new(e, c));
    let far = Just(LogId::new(1, u64::from(u32::MAX)));
    (prop_oneof![near, far], 1usize..4).prop_map(|(first, n)| {
        Entries::new(first, EntryKind::Command, Batch::from_payloads(&vec!["x"; n])).expect("not empty")
    })
}

fn message() -> impl Strategy<Value = Message> {
    let attempt = 0u64..4;
    let vote = proptest::option::of((epoch(), zxid(), 0u64..6).prop_map(|(peer_epoch, zxid, id)| Vote {
        peer_epoch,
        zxid,
        votes: id % 2 == 0,
        leader: NodeId(id),
    }));
    let state = prop_oneof![
        Just(NodeState::Looking),
        Just(NodeState::Following),
        Just(NodeState::Leading),
        Just(NodeState::Observing)
    ];
    let info = || {
        (0u64..4, epoch(), epoch(), zxid(), any::<bool>()).prop_map(
            |(attempt, accepted_epoch, current_epoch, last_zxid, mending)| Info {
                attempt,
                accepted_epoch,
                current_epoch,
                last_zxid,
                mending,
                relay: last_zxid.counter % 2 == 0,
            },
        )
    };
    let chunk = (zxid(), 0u64..9, 0u64..9, 0usize..9).prop_map(|(snapshot, offset, total, n)| Chunk {
        snapshot,
        offset: if offset == 8 { u64::MAX } else { offset },
        total,
        data: Bytes::from(vec![0; n]),
    });
    prop_oneof![
        (state, prop_oneof![0u64..5, Just(u64::MAX - 1)], vote, zxid()).prop_map(|(state, round, vote, members)| {
            Message::Notification(Notification { state, round, vote, members })
        }),
        info().prop_map(Message::FollowerInfo),
        info().prop_map(Message::ObserverInfo),
        (attempt.clone(), epoch(), any::<bool>()).prop_map(|(attempt, epoch, voter)| Message::LeaderInfo {
            attempt,
            epoch,
            voter,
            leader: NodeId(epoch % 5)
        }),
        (attempt.clone(), epoch(), zxid(), any::<bool>()).prop_map(
            |(attempt, current_epoch, last_zxid, already_accepted)| {
                Message::AckEpoch { attempt, current_epoch, last_zxid, already_accepted }
            }
        ),
        (attempt.clone(), zxid()).prop_map(|(attempt, to)| Message::Diff { attempt, to }),
        (attempt.clone(), zxid()).prop_map(|(attempt, to)| Message::Trunc { attempt, to }),
        (attempt.clone(), chunk).prop_map(|(attempt, chunk)| Message::Snap { attempt, chunk }),
        (attempt.clone(), 0u64..200).prop_map(|(attempt, weight)| Message::Received { attempt, weight }),
        (attempt.clone(), epoch()).prop_map(|(attempt, epoch)| Message::NewLeader { attempt, epoch }),
        (attempt.clone(), zxid()).prop_map(|(attempt, zxid)| Message::Ack { attempt, zxid }),
        (attempt.clone(), zxid()).prop_map(|(attempt, zxid)| Message::UpToDate { attempt, zxid }),
        (attempt.clone(), run()).prop_map(|(attempt, e)| Message::Proposal { attempt, entries: e.into() }),
        (attempt.clone(), zxid()).prop_map(|(attempt, zxid)| Message::Commit { attempt, zxid }),
        (attempt.clone(), run()).prop_map(|(attempt, e)| Message::Inform { attempt, entries: e.into() }),
        (attempt.clone(), 0u64..9, any::<u64>()).prop_map(|(attempt, round, round_trip_us)| Message::Ping {
            attempt,
            round,
            round_trip_us
        }),
        (attempt.clone(), 0u64..3, any::<bool>()).prop_map(|(attempt, token, plain)| Message::Request {
            attempt,
            token,
            plain
        }),
        (attempt.clone(), 0u64..3, any::<bool>(), zxid()).prop_map(|(attempt, token, plain, zxid)| Message::Sync {
            attempt,
            token,
            plain,
            zxid
        }),
        epoch().prop_map(|epoch| Message::Summon { epoch }),
        (attempt, 0u64..6, zxid()).prop_map(|(attempt, to, zxid)| Message::HandOver { attempt, to: NodeId(to), zxid }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_makes_a_node_panic_or_break_its_own_rules(
        script in proptest::collection::vec((1u64..5, 1u64..5, message(), 0u8..12), 1..60),
        settled in any::<bool>(),
    ) {
        // The testbed carries out commits on the spot, and two nodes may be made to disagree by lies: each node lives
        // for itself here, so nothing but its own state is looked at.
        let mut bed: Testbed<Zab> = Testbed::new(3, 1, Config::default());
        if settled {
            bed.advance(Micros::from_millis(10));
        }
        for (from, to, message, then) in script {
            if from != to {
                bed.input(NodeId(to), Input::Message { from: NodeId(from), message });
            }
            match then {
                0 => bed.settle(),
                1 => bed.heal_all(),
                2 => { bed.write_disk(NodeId(to)); while bed.answer_one(NodeId(to)) {} }
                3 => bed.advance(Micros::from_millis(30)),
                _ => {}
            }
            for core in bed.cores() {
                core.check().map_err(|v| TestCaseError::fail(v.to_string()))?;
                prop_assert!(core.wake_at().is_none_or(|at| at.0 < u64::MAX));
            }
        }
    }
}
