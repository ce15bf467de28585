//! What things cost, counted: wake-ups, messages, round trips. Never times, which say more of the machine than of the code.

use common::entries::{Batch, Entries, EntryKind};
use common::protocol::{Input, Protocol};
use common::testbed::{Disk, Testbed};
use common::types::{LogId, Micros, NodeId};
use proptest::collection::vec;
use proptest::prelude::*;
use raft::{Answer, Config, Hard, Message, Raft};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

/// Wakes whoever wants to be woken for so long; how often each node was.
fn wake_ups(bed: &mut Testbed<Raft>, span: Micros) -> Vec<(NodeId, u64)> {
    let mut count: Vec<(NodeId, u64)> = bed.ids().into_iter().map(|id| (id, 0)).collect();
    let end = bed.now().after(span);
    while let Some((at, id)) = bed.next_wake().filter(|(at, _)| *at <= end) {
        bed.set_now(at);
        bed.input(id, Input::Tick);
        bed.settle();
        count[id.0 as usize - 1].1 += 1;
    }
    bed.set_now(end);
    count
}

/// A cluster whose first node leads, at rest.
fn led(observers: u64, config: Config) -> Testbed<Raft> {
    let mut bed = Testbed::new(3, observers, config);
    elect(&mut bed);
    bed.advance(Micros::from_millis(200));
    bed
}

/// Only A's time-out ends.
fn elect(bed: &mut Testbed<Raft>) {
    let due = bed.core(A).wake_at().expect("an election timer");
    bed.set_now(due);
    bed.input(A, Input::Tick);
    bed.settle();
    assert_eq!(bed.leader(), Some(A));
}

const SECONDS: u64 = 10;

/// At 20 heartbeats a second, and a look at the quorum in every election time-out. Followers sleep until they miss one.
#[test]
fn a_quiet_cluster_wakes_nobody_but_for_heartbeats() {
    let mut bed = led(1, Config::default());
    let before = bed.messages();
    let counts = wake_ups(&mut bed, Micros::from_millis(SECONDS * 1000));
    let messages = bed.messages() - before;
    assert!((20 * SECONDS..=25 * SECONDS).contains(&counts[0].1), "{counts:?}");
    assert!(counts[1..].iter().all(|(_, n)| *n == 0), "{counts:?}");
    // Question and answer, for each of three.
    assert!(messages <= 2 * 3 * 20 * SECONDS, "{messages}");
}

#[test]
fn a_stalled_disk_wakes_nobody_more_often() {
    let mut bed = led(0, Config::default());
    for id in [A, B, C] {
        bed.hold_disk(id, true);
    }
    bed.propose(A, &["x"]).unwrap();
    let counts = wake_ups(&mut bed, Micros::from_millis(SECONDS * 1000));
    assert!(counts[0].1 <= 25 * SECONDS + 1, "{counts:?}");
    assert_eq!((bed.leader(), counts[1].1, counts[2].1), (Some(A), 0, 0), "{counts:?}");
}

/// Messages with entries to each of the others, and what is committed, after so many proposals; C's disk is held or not.
fn replicate(held: bool) -> ([usize; 2], LogId) {
    let mut bed = led(0, Config { max_inflight_messages: 4, ..Config::default() });
    bed.hold_disk(C, held);
    bed.watch_sent(true);
    for n in 0..100 {
        bed.propose(A, &[format!("{n}")]).unwrap();
        bed.settle();
    }
    let sent = bed.take_sent();
    let entries = |to| {
        let carries = |m: &Message| matches!(m, Message::AppendEntries { entries: Some(_), .. });
        sent.iter().filter(|(from, at, m)| *from == A && *at == to && carries(m)).count()
    };
    let found = ([entries(B), entries(C)], bed.core(A).committed());
    bed.hold_disk(C, false);
    bed.settle();
    bed.advance(Micros::from_millis(100));
    assert_eq!(bed.core(C).log().last(), bed.core(A).log().last(), "it catches up");
    found
}

#[test]
fn a_follower_whose_window_is_full_costs_the_quorum_nothing() {
    let ([to_b, to_c], committed) = replicate(false);
    assert_eq!((to_b, to_c), (100, 100));
    assert_eq!(replicate(true), ([to_b, 4], committed));
}

/// Logs as a legal history leaves them: each term's leader has a part of some earlier log and adds to it, and a node has a
/// part of some log. By term: whose log it continues, how much of that, and how many entries it adds.
fn histories() -> impl Strategy<Value = (Vec<Vec<u64>>, usize)> {
    let term = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..5);
    (vec(term, 1..9), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(terms, of, part)| {
        let mut logs: Vec<Vec<u64>> = vec![vec![]];
        for (t, (of, part, adds)) in (1..).zip(terms) {
            let of = of.get(&logs);
            let mut log = of[..part.index(of.len() + 1)].to_vec();
            log.extend(std::iter::repeat_n(t, adds));
            logs.push(log);
        }
        let part = part.index(of.get(&logs).len() + 1);
        let follower = of.get(&logs)[..part].to_vec();
        logs.push(follower);
        let leader = logs.len() - 2;
        (logs, leader)
    })
}

fn disk(terms: &[u64]) -> Disk<Raft> {
    let run = |(i, term): (usize, &u64)| {
        let id = LogId::new(*term, i as u64 + 1);
        Entries::new(id, EntryKind::Command, Batch::from_payloads(&[format!("{id}")]))
    };
    let hard = Hard { term: terms.last().copied().unwrap_or(0), ..Hard::default() };
    Disk::with(hard, terms.iter().enumerate().filter_map(run).collect())
}

/// In how many terms two logs differ.
fn differ(one: &[u64], other: &[u64]) -> usize {
    let places =
        |log: &[u64], term| log.iter().enumerate().filter(|(_, t)| **t == term).map(|(i, _)| i).collect::<Vec<_>>();
    (1..20).filter(|term| places(one, *term) != places(other, *term)).count()
}

proptest! {
    /// "At most one round trip per term in which the logs differ": as many questions are answered with no.
    #[test]
    fn repair_asks_once_for_each_term_that_differs((logs, leader) in histories()) {
        let (leader, follower) = (&logs[leader], logs.last().unwrap());
        let mut bed: Testbed<Raft> =
            Testbed::from_disks(3, [disk(leader), disk(follower), disk(leader)], Config::default());
        bed.settle();
        bed.watch_sent(true);
        elect(&mut bed);
        let no = |m: &Message| {
            matches!(m, Message::AppendEntriesReply { answer: Answer::Conflict { .. }, .. })
        };
        let asked = bed.take_sent().iter().filter(|(from, _, m)| *from == B && no(m)).count();
        prop_assert!(asked <= differ(leader, follower), "{asked} for {leader:?} and {follower:?}");
        prop_assert_eq!(bed.core(B).log().last(), bed.core(A).log().last());
        prop_assert_eq!(bed.core(B).log().spans(), bed.core(A).log().spans());
    }
}
