//! Whole ensembles over the testbed: limits, silence, broken links.

use bytes::Bytes;
use common::protocol::{Input, Protocol, Refusal, Trust};
use common::quorum::Voters;
use common::sim::subject::Oracle;
use common::testbed::{Testbed, agree};
use common::types::{LogId, Micros, NodeId, Role};
use zab::{Config, Zab, ZabOracle};

const N: fn(u64) -> NodeId = NodeId;

fn ms(n: u64) -> Micros {
    Micros::from_millis(n)
}

fn bed(voters: u64, observers: u64, config: Config) -> Testbed<Zab> {
    config.validate().unwrap();
    let mut bed = Testbed::new(voters, observers, config);
    assert!(bed.advance_until(ms(1000), |b| b.leader().is_some()));
    bed.settle();
    bed
}

/// Small limits, to reach them.
fn tight() -> Config {
    Config {
        uncommitted_max_bytes: 2000,
        queue_max_bytes: 4000,
        sync_window_bytes: 1000,
        sync_batch_bytes: 500,
        ..Config::default()
    }
}

fn level(bed: &Testbed<Zab>) {
    agree(bed).unwrap();
    let all: Vec<usize> = bed.ids().into_iter().map(|id| bed.node(id).history.len()).collect();
    assert!(all.iter().all(|n| *n == all[0]), "{all:?}");
    bed.cores().for_each(|c| c.check().unwrap());
}

#[test]
fn an_election_takes_no_time_when_nothing_is_waited_for() {
    let mut bed = bed(3, 1, Config::default());
    let before = bed.now();
    bed.crash(N(3));
    bed.settle();
    assert_eq!((bed.leader(), bed.now()), (Some(N(2)), before), "the session's end is enough");
}

/// n1 cannot say what it has, so there is somebody left to wait for: as long as two round trips to the farthest voter.
#[test]
fn a_better_vote_is_waited_for_as_long_as_the_network_is_wide() {
    // n4 is a millisecond away from the leader, n2 three.
    let mut bed = bed(5, 0, Config::default());
    let round = |bed: &mut Testbed<Zab>| {
        bed.set_now(bed.now().after(ms(50)));
        bed.input(N(5), Input::Tick);
        for (node, away) in [(4, 1), (2, 2)] {
            bed.set_now(bed.now().after(ms(away)));
            assert!(bed.deliver_one(N(5), N(node)) && bed.deliver_one(N(node), N(5)));
        }
        bed.settle();
    };
    // One to measure, one to tell.
    round(&mut bed);
    round(&mut bed);
    bed.hold_disk(N(1), true);
    bed.propose(N(5), &["a"]).unwrap();
    bed.settle();
    let before = bed.now();
    bed.crash(N(5));
    assert!(bed.advance_until(ms(1000), |b| b.leader().is_some()));
    assert_eq!((bed.leader(), bed.now()), (Some(N(4)), before.after(ms(6))));
}

#[test]
fn one_node_is_an_ensemble() {
    let mut bed = bed(1, 0, Config::default());
    bed.propose(N(1), &["a"]).unwrap();
    bed.input(N(1), Input::ReadBarrier { id: 7, trust: Trust::Quorum });
    bed.settle();
    assert_eq!(bed.node(N(1)).history, [(LogId::new(1, 1), Bytes::from("a"))]);
    bed.crash(N(1));
    bed.restart(N(1));
    bed.settle();
    assert_eq!(bed.node(N(1)).history.len(), 1, "its whole log is committed again when it leads");
}

#[test]
fn proposals_are_refused_while_too_much_waits() {
    let mut bed = bed(3, 0, tight());
    bed.hold_disk(N(1), true);
    bed.hold_disk(N(2), true);
    let big = [[7u8; 900]];
    bed.propose(N(3), &big).unwrap();
    bed.propose(N(3), &big).unwrap();
    assert_eq!(bed.propose(N(3), &big), Err(Refusal::Busy));
    assert_eq!(bed.propose(N(1), &big), Err(Refusal::NotLeader { leader: Some(N(3)) }));
    bed.hold_disk(N(2), false);
    bed.settle();
    bed.propose(N(3), &big).unwrap();
}

#[test]
fn a_leader_whose_own_disk_stands_still_refuses_in_the_end() {
    let mut bed = bed(3, 0, tight());
    bed.hold_disk(N(3), true);
    let mut taken = 0;
    while bed.propose(N(3), &[[7u8; 900]]).is_ok() {
        bed.settle();
        taken += 1;
        assert!(taken < 10, "its queue is bounded");
    }
    assert_eq!(bed.core(N(3)).committed(), LogId::new(1, taken), "the quorum did without it");
    bed.hold_disk(N(3), false);
    bed.settle();
    bed.propose(N(3), &["more"]).unwrap();
}

#[test]
fn a_follower_with_a_full_queue_loses_its_session_and_synchronises_anew() {
    let mut bed = bed(3, 0, tight());
    bed.hold_disk(N(1), true);
    for _ in 0..8 {
        bed.propose(N(3), &[[7u8; 900]]).unwrap();
        bed.settle();
    }
    assert!(bed.node(N(3)).disconnects[0].1.contains("queue"), "{:?}", bed.node(N(3)).disconnects);
    bed.hold_disk(N(1), false);
    bed.heal_all();
    bed.advance(ms(100));
    level(&bed);
    assert_eq!(bed.core(N(1)).status().role, Role::Following);
}

/// Found by the simulator: such a proposal ended the sessions of all followers, hence the epoch; its client asked again, and
/// so it went on.
#[test]
fn a_proposal_larger_than_a_queue_ends_no_epoch() {
    let mut bed = bed(3, 1, tight());
    let epoch = bed.core(N(3)).status().epoch;
    let large = vec![7u8; 4 * tight().queue_max_bytes as usize];
    bed.propose(N(3), &[&large]).unwrap();
    bed.settle();
    bed.propose(N(3), &["small"]).unwrap();
    bed.settle();
    bed.advance(ms(100));
    level(&bed);
    assert_eq!((bed.core(N(3)).status().epoch, bed.core(N(3)).committed().counter), (epoch, 2));
    assert!(bed.node(N(3)).disconnects.is_empty(), "{:?}", bed.node(N(3)).disconnects);
}

#[test]
fn there_are_only_so_many_observers() {
    let mut bed = bed(3, 2, Config { observers_max: 1, ..Config::default() });
    let before = bed.messages();
    for _ in 0..20 {
        bed.heal_all();
        bed.advance(ms(100));
    }
    let observing = [4, 5].map(|id| bed.core(N(id)).status().role == Role::Observing);
    assert_eq!(observing.iter().filter(|o| **o).count(), 1);
    assert!(bed.messages() - before < 2000, "the one that is refused does not storm: {}", bed.messages() - before);
}

#[test]
fn silence_ends_it_on_both_sides() {
    let mut bed = bed(3, 0, Config::default());
    let late = bed.now().after(ms(301));
    bed.set_now(late);
    bed.input(N(1), Input::Tick);
    assert_eq!(bed.core(N(1)).status().phase, "election", "a follower that heard nothing for sync_limit");
    bed.input(N(3), Input::Tick);
    assert_eq!(bed.core(N(3)).status().phase, "election", "a leader that heard of nobody for sync_limit");
    bed.heal_all();
    assert!(bed.advance_until(ms(1000), |b| b.leader().is_some()));
}

/// The best node is connected to one other only. It must not be elected again and again by those it cannot lead.
#[test]
fn broken_links_do_not_keep_a_connected_quorum_from_a_leader() {
    let mut bed: Testbed<Zab> = Testbed::new(5, 0, Config::default());
    for id in [2, 3, 4] {
        bed.cut(N(5), N(id), 0);
    }
    assert!(bed.advance_until(ms(1000), |b| b.leader().is_some()));
    bed.advance(ms(500));
    assert_eq!(bed.leader(), Some(N(4)));
    let epoch = bed.core(N(4)).status().epoch;
    bed.advance(ms(3000));
    assert_eq!((bed.leader(), bed.core(N(4)).status().epoch), (Some(N(4)), epoch), "and it stays");
    bed.propose(N(4), &["a"]).unwrap();
    bed.heal_all();
    bed.advance(ms(1500));
    level(&bed);
}

#[test]
fn reads_are_bounded_and_every_one_is_answered_once() {
    let mut bed = bed(3, 1, Config { reads_max: 4, ..Config::default() });
    for node in [1, 3, 4] {
        for read in 0..6 {
            bed.input(N(node), Input::ReadBarrier { id: read, trust: Trust::Quorum });
        }
    }
    bed.settle();
    for node in [1, 3, 4] {
        let reads = &bed.node(N(node)).reads;
        let ok = reads.iter().filter(|(_, r)| r.is_ok()).count();
        assert_eq!((reads.len(), ok), (6, 4), "{node}: {reads:?}");
        assert!(reads.iter().all(|(_, r)| r.is_ok() || *r == Err(Refusal::Busy)));
    }
}

#[test]
fn a_damaged_snapshot_changes_nothing_and_another_attempt_succeeds() {
    let mut bed = bed(3, 0, Config { snapshot_chunk_bytes: 8, ..Config::default() });
    bed.crash(N(1));
    bed.propose(N(3), &["a", "b", "c", "d"]).unwrap();
    bed.settle();
    bed.snapshot(N(3), 0);
    bed.start_transcript();
    bed.restart(N(1));
    // The first piece is written; the disk reports it damaged.
    let begun = (0..100).any(|_| {
        for (a, b) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
            bed.deliver_one(N(a), N(b));
            for id in [1, 2, 3].map(N) {
                if id != N(1) || !bed.core(id).status().phase.starts_with("sync") {
                    bed.write_disk(id);
                    while bed.answer_one(id) {}
                }
            }
        }
        bed.take_transcript().contains("SNAP")
    });
    assert!(begun, "the snapshot is on its way");
    let log_before = bed.core(N(1)).log().last();
    bed.input(N(1), Input::SnapshotRefused { snapshot: LogId::new(1, 4) });
    assert_eq!(bed.core(N(1)).log().last(), log_before);
    bed.core(N(1)).check().unwrap();
    bed.heal_all();
    bed.advance(ms(2500));
    level(&bed);
}

#[test]
fn epochs_in_the_wrong_order_halt_a_node() {
    let mut fx = common::protocol::Effects::default();
    let mut alone = Zab::new(common::protocol::Boot {
        id: N(1),
        membership: (LogId::ZERO, common::membership::Membership::of_ids([N(1)])),
        config: Config::default(),
        seed: 1,
        now: Micros(0),
        hard: zab::Hard { accepted_epoch: 1, current_epoch: 2, mending: false },
        snapshot: LogId::ZERO,
        log: common::log::LogView::new(LogId::ZERO, 1000),
    });
    alone.step(Micros(0), Input::Tick, &mut fx);
    assert!(matches!(fx.as_slice(), [common::protocol::Effect::Halt(why)] if why.contains("acceptedEpoch 1")));
}

/// What the model checker found in our own oracle: an epoch may begin, out of promises under way, when a later one is
/// established and has committed. Nothing comes of it.
#[test]
fn an_epoch_that_can_not_be_established_any_more_may_still_begin() {
    let mut bed: Testbed<Zab> = Testbed::new(3, 0, Config::default());
    let mut oracle = ZabOracle::new(&Voters::new([1, 2, 3].map(N)));
    let look = |oracle: &mut ZabOracle, bed: &Testbed<Zab>, id: u64| {
        let truths: Vec<_> = bed.ids().into_iter().map(|id| (id, bed.node(id).disk.truth())).collect();
        oracle.turned(bed.core(N(id)), bed.now(), &truths).unwrap();
    };
    bed.hold_disk(N(1), true);
    bed.hold_disk(N(2), true);
    bed.settle();
    bed.hold_disk(N(1), false);
    bed.write_disk(N(1));
    while bed.answer_one(N(1)) {}
    assert_eq!((bed.core(N(3)).status().phase.as_str(), bed.under_way(N(1), N(3))), ("discovery", 1));
    // n1 and n2 hear of the end of their sessions with n3 at once, n3 does not hear of it yet.
    bed.cut(N(1), N(3), 10);
    bed.cut(N(2), N(3), 10);
    bed.hold_disk(N(2), false);
    while bed.deliver_one(N(3), N(1)) || bed.deliver_one(N(3), N(2)) {}
    let talk = |oracle: &mut ZabOracle, bed: &mut Testbed<Zab>| {
        for _ in 0..20 {
            for (from, to) in [(1, 2), (2, 1)] {
                while bed.deliver_one(N(from), N(to)) {
                    look(oracle, bed, to);
                }
                bed.write_disk(N(from));
                while bed.answer_one(N(from)) {
                    look(oracle, bed, from);
                }
            }
        }
    };
    talk(&mut oracle, &mut bed);
    bed.propose(N(2), &["x"]).unwrap();
    look(&mut oracle, &bed, 2);
    talk(&mut oracle, &mut bed);
    assert_eq!(bed.core(N(1)).committed(), LogId::new(2, 1));
    assert!(bed.deliver_one(N(1), N(3)));
    assert_eq!(bed.core(N(3)).status().phase, "synchronisation");
    look(&mut oracle, &bed, 3);
    bed.heal_all();
    bed.advance(ms(500));
    level(&bed);
}

/// Each kind of refusal says why.
#[test]
fn leadership_is_handed_to_a_voter_that_is_level_and_to_nobody_else() {
    let mut bed = bed(3, 1, Config::default());
    bed.settle();
    bed.start_transcript();
    for (id, to) in [(1, Some(4)), (2, Some(9)), (3, Some(3))] {
        bed.input(N(3), Input::Transfer { id, to: to.map(N) });
    }
    bed.input(N(1), Input::Transfer { id: 4, to: None });
    let said = bed.take_transcript();
    for why in ["n4 is not a voter", "n9 is not a voter", "n3 leads already", "this node does not lead, n3 does"] {
        assert!(said.contains(why), "{said}");
    }
    bed.cut(N(3), N(2), 0);
    bed.settle();
    bed.input(N(3), Input::Transfer { id: 5, to: Some(N(2)) });
    assert!(bed.take_transcript().contains("there is no session with n2"));
    bed.input(N(3), Input::Transfer { id: 6, to: None });
    bed.advance(ms(200));
    assert!(bed.take_transcript().contains("transfer 6 is over: n1 leads"));
}
