//! Who dials whom while the members change, and while nodes know different things about them.

use super::*;
use crate::membership::{MemberChange, Membership};
use crate::quorum::Change;

const C: NodeId = NodeId(3);

fn of(voters: &[u64]) -> Membership {
    Membership::of_ids(voters.iter().copied().map(NodeId))
}

impl Bench {
    fn told(&mut self, id: NodeId, voters: &[u64]) {
        self.net.port(id, Micros(self.now)).members(&of(voters));
    }

    fn connected(&self, a: NodeId, b: NodeId) -> bool {
        self.up.contains_key(&(a, b)) && self.up.contains_key(&(b, a))
    }

    fn part(&mut self, a: NodeId, b: NodeId) {
        let session = self.net.session(a, b).unwrap();
        self.net.port(a, Micros(self.now)).disconnect(session, "a test");
        self.run(5_000);
        assert!(!self.up.contains_key(&(a, b)) && !self.up.contains_key(&(b, a)));
    }
}

#[test]
fn what_a_node_knows_already_changes_nothing() {
    let run = |told: bool| {
        let mut b = Bench::new(21, SHAPE, 3, 1);
        for id in b.nodes.clone() {
            if told {
                let before = b.net.order;
                b.told(id, &[1, 2, 3]);
                assert_eq!(b.net.order, before);
            }
        }
        b.run(200_000);
        b.part(A, C);
        b.run(200_000);
        (b.hash, b.arrivals)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn who_is_promoted_keeps_its_sessions_and_says_so_in_the_next() {
    let mut b = Bench::new(22, SHAPE, 2, 1);
    b.run(100_000);
    b.told(C, &[1, 2, 3]);
    b.run(1_000_000);
    assert!(b.downs.is_empty() && b.up.len() == 6);
    b.part(A, C);
    b.run(100_000);
    // n1 knows nothing of it, and n3 dials as before.
    assert!(b.connected(A, C));
    let slot = b.net.link(1, 3).current.unwrap();
    assert_eq!(b.net.conn(slot).ends[0].member, Member::Voter);
}

#[test]
fn who_is_removed_is_not_dialled_again_and_who_does_not_vote_dials_every_voter() {
    let mut b = Bench::new(23, SHAPE, 3, 0);
    b.run(100_000);
    b.told(C, &[2, 3]);
    b.run(1_000_000);
    assert!(b.downs.is_empty(), "nothing is cut");
    b.part(A, C);
    b.run(10_000_000);
    assert!(!b.connected(A, C), "n3 does not want it, and n1 takes it for one that dials");
    // When n1 hears of it, it is n1 who has to dial: it observes.
    b.told(A, &[2, 3]);
    b.run(100_000);
    assert!(b.connected(A, C));
}

#[test]
fn a_larger_voter_that_does_not_come_is_dialled_after_a_while() {
    let mut b = Bench::new(24, SHAPE, 2, 0);
    b.run(100_000);
    b.told(B, &[2]);
    b.told(A, &[1, 2, 3]);
    b.run(10_000_000);
    assert!(b.downs.is_empty());
    b.part(A, B);
    b.run(4 * SHAPE.redial_us - 5_000);
    assert!(b.up.is_empty(), "patience");
    b.run(5 * SHAPE.redial_us);
    assert!(b.connected(A, B));
    // And again, each time.
    b.part(A, B);
    b.run(9 * SHAPE.redial_us);
    assert!(b.connected(A, B));
}

/// n3 was told long ago of voters that are no more, and only the others know that it belongs.
#[test]
fn a_learner_that_does_not_come_is_dialled_after_a_while() {
    let mut b = Bench::new(25, SHAPE, 2, 1);
    b.run(100_000);
    b.told(C, &[4]);
    b.part(C, A);
    b.run(10_000_000);
    assert!(!b.connected(A, C), "who is no member is not dialled");
    let learner = MemberChange { change: Change::Learner(C), address: Some("n3".to_owned()) };
    let membership = of(&[1, 2]).with(&[learner]).unwrap();
    b.net.port(A, Micros(b.now)).members(&membership);
    b.run(4 * SHAPE.redial_us - 1);
    assert!(!b.connected(A, C), "patience");
    b.run(5 * SHAPE.redial_us);
    assert!(b.connected(A, C));
}

#[test]
fn when_both_dial_at_once_one_session_comes_of_it() {
    for seed in 0..50 {
        let mut b = Bench::new(seed, SHAPE, 2, 0);
        b.run(100_000);
        // Each takes the other for a voter and itself for none.
        b.told(A, &[2]);
        b.told(B, &[1]);
        for _ in 0..10 {
            b.part(A, B);
            b.run(20 * SHAPE.redial_us);
            assert!(b.connected(A, B), "seed {seed}");
            let before = b.net.messages();
            b.say(A, B, 5);
            b.say(B, A, 5);
            b.run(100_000);
            assert_eq!(b.net.messages() - before, 10);
        }
        b.check_prefixes();
    }
}

#[test]
fn sessions_keep_their_promises_while_members_change() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut b = Bench::new(seed, SHAPE, 3, 2);
        let (mut cuts, mut down) = (Vec::new(), Vec::new());
        let all: Vec<u64> = (1..=5).collect();
        for _ in 0..300 {
            disturb(&mut b, &mut rng, &mut cuts, &mut down);
            if rng.between(0, 4) == 0 {
                let voters: Vec<u64> = all.iter().copied().filter(|_| rng.between(0, 2) == 0).collect();
                b.told(NodeId(rng.between(1, 6)), &voters);
            }
            let most = if rng.between(0, 10) == 0 { 500_000 } else { 3_000 };
            b.run(rng.between(0, most));
        }
        b.calm(cuts, down);
        let voters = [2, 4, 5];
        for id in all {
            b.told(NodeId(id), &voters);
        }
        b.run(100 * SHAPE.silence_us);
        b.check_prefixes();
        for &x in &b.nodes {
            for &y in &b.nodes {
                let wanted = x != y && (voters.contains(&x.0) || voters.contains(&y.0));
                assert!(!wanted || b.connected(x, y), "seed {seed}: {x} to {y}");
            }
        }
        // Nothing is left of what is over.
        assert!(b.net.conns.len() - b.net.free.len() <= b.nodes.len() * b.nodes.len());
    }
}

#[test]
fn a_learner_that_takes_itself_for_a_voter_is_called_in_the_end() {
    let mut b = Bench::new(29, SHAPE, 3, 0);
    b.run(100_000);
    let three = of(&[1, 2, 3]);
    let demoted =
        three.with(&[crate::membership::MemberChange { change: crate::quorum::Change::Learner(A), address: None }]);
    let demoted = demoted.unwrap();
    b.net.port(C, Micros(b.now)).members(&demoted);
    b.part(A, C);
    // n1 waits for those with larger ids, as before.
    b.run(10 * SHAPE.redial_us * 2);
    assert!(b.connected(A, C));
}
