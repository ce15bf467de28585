//! Who dials whom while the members change, and while nodes know different things about them.

use super::*;
use crate::membership::{MemberChange, Membership};
use crate::quorum::Change;

/// A cluster that begins with these voters, as one of its nodes sees it.
fn of(voters: &[u64], addrs: &BTreeMap<NodeId, String>) -> Membership {
    Membership::of(voters.iter().map(|id| (NodeId(*id), addrs[&NodeId(*id)].clone())).collect())
}

fn some(voters: &[u64], addrs: &BTreeMap<NodeId, String>) -> BTreeMap<NodeId, String> {
    of(voters, addrs).addresses
}

/// Pauses so short that nothing has to be waited for.
fn quick(id: u64, voters: &BTreeMap<NodeId, String>) -> TransportConfig {
    let mut config = config(id, voters);
    config.limits.backoff_min = Duration::from_millis(1);
    config.limits.backoff_max = Duration::from_millis(4);
    config
}

impl Node {
    async fn up_with(&mut self, peer: u64) -> (Session, Member) {
        let (session, member) = self.up().await;
        assert_eq!(session.peer, NodeId(peer));
        (session, member)
    }

    /// The sessions with two peers, whichever comes first.
    async fn up_to(&mut self, peers: [u64; 2]) -> [Session; 2] {
        let mut both = [self.up().await.0, self.up().await.0];
        both.sort_unstable_by_key(|session| session.peer);
        assert_eq!(both.map(|session| session.peer.0), peers);
        both
    }
}

#[tokio::test]
async fn who_is_promoted_keeps_its_sessions_and_says_so_in_the_next() {
    let (addrs, mut listeners) = configs(&[1, 3]).await;
    let first = some(&[1], &addrs);
    let mut a = Node::start(config(1, &first), listeners.remove(&1));
    let mut c = Node::start(config(3, &first), listeners.remove(&3));
    let (to_c, member) = a.up_with(3).await;
    assert_eq!(member, Member::Observer);
    let (to_a, _) = c.up_with(1).await;
    c.net.members(&of(&[1, 3], &addrs));
    // n1 has not heard of it.
    a.say(to_c, 7);
    a.net.flush();
    assert_eq!(numbers(&c.frames(to_a, 1).await), [7], "nothing is cut");
    c.net.disconnect(to_a, "a test");
    a.down().await;
    c.down().await;
    assert_eq!(a.up_with(3).await.1, Member::Voter);
    assert_eq!(c.up_with(1).await.1, Member::Voter);
}

#[tokio::test]
async fn who_is_removed_is_dialled_no_more_and_who_does_not_vote_dials_every_voter() {
    let (addrs, mut listeners) = configs(&[1, 2, 3]).await;
    let mut a = Node::start(quick(1, &addrs), listeners.remove(&1));
    let mut b = Node::start(quick(2, &addrs), listeners.remove(&2));
    let (to_b, _) = a.up_with(2).await;
    let (to_a, _) = b.up_with(1).await;
    // n2 hears that n1 is gone, and n1 does not.
    b.net.members(&of(&[2, 3], &addrs));
    b.say(to_a, 1);
    b.net.flush();
    assert_eq!(numbers(&a.frames(to_b, 1).await), [1], "nothing is cut");
    b.net.disconnect(to_a, "a test");
    a.down().await;
    b.down().await;
    // When n3 comes, n2 has had time to dial n1 again, and has not. Nor has n1, the smaller: it takes n2 for one that dials.
    let mut c = Node::start(quick(3, &some(&[2, 3], &addrs)), listeners.remove(&3));
    b.up_with(3).await;
    c.up_with(2).await;
    assert!(a.events.try_recv().is_err());
    // Now n1 hears of it: it observes, and dials all voters.
    a.net.members(&of(&[2, 3], &addrs));
    let mut seen = [a.up().await.0.peer.0, a.up().await.0.peer.0];
    seen.sort_unstable();
    assert_eq!(seen, [2, 3]);
    assert_eq!(b.up_with(1).await.1, Member::Observer);
    assert_eq!(c.up_with(1).await.1, Member::Observer);
}

#[tokio::test]
async fn a_larger_voter_that_does_not_come_is_dialled_after_a_while() {
    let (addrs, mut listeners) = configs(&[1, 5]).await;
    // n5 has never heard of n1.
    let mut e = Node::start(config(5, &some(&[5], &addrs)), listeners.remove(&5));
    let mut one = config(1, &some(&[1], &addrs));
    one.limits.backoff_max = Duration::from_millis(100);
    let mut a = Node::start(one, listeners.remove(&1));
    let began = std::time::Instant::now();
    a.net.members(&of(&[1, 5], &addrs));
    let (to_e, _) = a.up_with(5).await;
    assert!(began.elapsed() >= Duration::from_millis(400), "patience");
    e.up_with(1).await;
    // And again, each time.
    a.net.disconnect(to_e, "a test");
    a.down().await;
    e.down().await;
    a.up_with(5).await;
    e.up_with(1).await;
}

/// n7 knows of no voter but one that is no more.
#[tokio::test]
async fn a_learner_that_does_not_come_is_dialled_after_a_while() {
    let (addrs, mut listeners) = configs(&[1, 2, 7]).await;
    drop(listeners.remove(&2));
    let mut g = Node::start(quick(7, &some(&[2], &addrs)), listeners.remove(&7));
    let first = some(&[1], &addrs);
    let mut a = Node::start(quick(1, &first), listeners.remove(&1));
    let learner = MemberChange { change: Change::Learner(NodeId(7)), address: addrs.get(&NodeId(7)).cloned() };
    a.net.members(&of(&[1], &addrs).with(&[learner]).unwrap());
    assert_eq!(a.up_with(7).await.1, Member::Observer);
    assert_eq!(g.up_with(1).await.1, Member::Voter);
}

#[tokio::test]
async fn nobody_is_dialled_with_patience_before_members_change() {
    let (addrs, mut listeners) = configs(&[1, 5]).await;
    let mut a = Node::start(quick(1, &addrs), listeners.remove(&1));
    a.net.members(&of(&[1, 5], &addrs));
    let five = listeners.remove(&5).unwrap();
    // Many times what patience would be.
    let called = tokio::time::timeout(Duration::from_millis(300), five.accept()).await;
    assert!(called.is_err(), "all know each other, so n5 dials");
    a.net.members(&of(&[1], &addrs));
    a.net.members(&of(&[1, 5], &addrs));
    soon(five.accept()).await.unwrap();
}

#[tokio::test]
async fn an_address_that_changes_is_dialled_at_once() {
    let (addrs, mut listeners) = configs(&[1, 2]).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let mut wrong = addrs.clone();
    wrong.insert(NodeId(1), elsewhere);
    let mut two = config(2, &wrong);
    (two.limits.backoff_min, two.limits.backoff_max) = (Duration::from_hours(1), Duration::from_hours(1));
    let mut b = Node::start(two, listeners.remove(&2));
    let mut a = Node::start(config(1, &addrs), listeners.remove(&1));
    // Let it meet nobody there first.
    tokio::task::yield_now().await;
    b.net.members(&of(&[1, 2], &addrs));
    a.up_with(2).await;
    let (to_a, _) = b.up_with(1).await;
    // Whoever is connected stays so.
    b.net.members(&of(&[1, 2], &wrong));
    b.say(to_a, 3);
    b.net.flush();
    assert!(matches!(a.next().await, PeerEvent::Frames { .. }));
}

/// n8 is to be fed by n9 and by n7; where n7 is, only the list of members says.
#[tokio::test]
async fn an_observer_dials_its_sources_until_it_votes() {
    let (addrs, mut listeners) = configs(&[1, 7, 8, 9]).await;
    let voters = some(&[1], &addrs);
    let mut a = Node::start(quick(1, &voters), listeners.remove(&1));
    let mut i = Node::start(quick(9, &voters), listeners.remove(&9));
    let mut eight = quick(8, &voters);
    let at = |id| addrs.get(&NodeId(id)).cloned();
    eight.sources = [(NodeId(9), at(9)), (NodeId(7), None), (NodeId(8), at(8))].into();
    let mut h = Node::start(eight, listeners.remove(&8));
    let at_a = a.up_to([8, 9]).await;
    let at_h = h.up_to([1, 9]).await;
    i.up_to([1, 8]).await;
    let learner = MemberChange { change: Change::Learner(NodeId(7)), address: at(7) };
    h.net.members(&of(&[1], &addrs).with(&[learner]).unwrap());
    soon(listeners.remove(&7).unwrap().accept()).await.unwrap();
    // A voter is fed by its leader: when the session is over, n9 is let alone.
    h.net.members(&of(&[1, 8], &addrs));
    h.net.disconnect(at_h[1], "a test");
    assert_eq!(h.down().await.0.peer, NodeId(9));
    i.down().await;
    a.net.disconnect(at_a[0], "a test");
    assert_eq!(h.down().await.0.peer, NodeId(1));
    h.up_with(1).await;
    assert!(i.events.try_recv().is_err());
}

/// Each takes the other for a voter and itself for none, so both dial at once, again and again.
#[tokio::test]
async fn when_both_dial_at_once_one_session_comes_of_it() {
    let (addrs, mut listeners) = configs(&[1, 2]).await;
    let mut a = Node::start(quick(1, &some(&[2], &addrs)), listeners.remove(&1));
    let mut b = Node::start(quick(2, &some(&[1], &addrs)), listeners.remove(&2));
    let (mut at_a, mut at_b) = (None, None);
    for round in 0..50 {
        // Until each hears in its present session what the other says in its own.
        let (mut a_hears, mut b_hears) = (false, false);
        while !(a_hears && b_hears) {
            let (event, at, from) = soon(async {
                tokio::select! {
                    event = a.events.recv() => (event.unwrap(), &mut at_a, 1),
                    event = b.events.recv() => (event.unwrap(), &mut at_b, 2),
                }
            })
            .await;
            match event {
                PeerEvent::Up { session, .. } => {
                    assert_eq!(*at, None, "one session at a time");
                    *at = Some(session);
                    let node = if from == 1 { &mut a } else { &mut b };
                    node.say(session, round);
                    node.net.flush();
                }
                PeerEvent::Down { session, .. } => {
                    assert_eq!(at.take(), Some(session));
                    (a_hears, b_hears) = (false, false);
                }
                PeerEvent::Frames { session, frames } => {
                    assert_eq!(*at, Some(session));
                    let heard = if from == 1 { &mut a_hears } else { &mut b_hears };
                    *heard |= numbers(&frames).contains(&round);
                }
            }
        }
        a.net.disconnect(at_a.unwrap(), "a test");
        b.net.disconnect(at_b.unwrap(), "a test");
    }
}
