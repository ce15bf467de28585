mod members;

use std::collections::BTreeMap;

use super::*;
use crate::rng::Rng;
use crate::sim::plan::{Hostile, Lie};
use crate::transport::frame::{FrameError, decode_header};
use crate::transport::{Network, channel};
use bytes::Bytes;

const SHAPE: NetShape = NetShape {
    delay_us: 500,
    jitter_us: 300,
    silence_us: 400_000,
    window_bytes: 4096,
    queue_bytes: 1 << 20,
    redial_us: 20_000,
};

/// The nodes of a network, and what each has seen: the test's own idea of what a session is.
struct Bench {
    net: Net,
    now: u64,
    nodes: Vec<NodeId>,
    /// The session each node has with each peer, as told by its events.
    up: BTreeMap<(NodeId, NodeId), u64>,
    /// The last number of each pair.
    last: BTreeMap<(NodeId, NodeId), u64>,
    /// What was sent: a number unique in the run, in order, by sender and its session.
    sent: BTreeMap<(NodeId, Session), Vec<u64>>,
    /// What came, by receiver and its session.
    came: BTreeMap<(NodeId, Session), Vec<u64>>,
    /// The sender's session, by the numbers it sent.
    origin: BTreeMap<u64, (NodeId, Session)>,
    downs: Vec<(NodeId, Session, DownReason)>,
    /// Everything that arrived, for comparison.
    hash: u64,
    arrivals: u64,
    counter: u64,
}

impl Bench {
    fn new(seed: u64, shape: NetShape, voters: u64, observers: u64) -> Self {
        let ids: Vec<NodeId> = (1..=voters + observers).map(NodeId).collect();
        let net = Net::new(Streams::new(seed), shape, "raft", Voters::new(ids[..voters as usize].iter().copied()));
        let mut bench = Self {
            net,
            now: 0,
            nodes: ids.clone(),
            up: BTreeMap::new(),
            last: BTreeMap::new(),
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            origin: BTreeMap::new(),
            downs: Vec::new(),
            hash: seed,
            arrivals: 0,
            counter: 0,
        };
        for id in ids {
            let member = if id.0 <= voters { Member::Voter } else { Member::Observer };
            bench.net.join(id, member, Vec::new(), Micros(0));
        }
        bench
    }

    fn node(seed: u64) -> Self {
        let mut bench = Self::new(seed, SHAPE, 2, 0);
        bench.run(100_000);
        assert_eq!(bench.up.len(), 2, "both ends are up");
        bench
    }

    fn run(&mut self, span: u64) {
        let end = self.now + span;
        while let Some(at) = self.net.next_at().filter(|at| at.0 <= end) {
            assert!(at.0 >= self.now, "time goes back");
            self.now = at.0;
            while let Some(arrival) = self.net.next(at) {
                self.take(arrival);
            }
        }
        self.now = end;
    }

    fn take(&mut self, Arrival { to, event, sent }: Arrival) {
        assert!(sent.0 <= self.now);
        self.arrivals += 1;
        let mut mix = |x: u64| self.hash = Rng::new(self.hash ^ x).next_u64();
        mix(self.now);
        mix(to.0);
        match event {
            PeerEvent::Up { session, .. } => {
                mix(session.number);
                let key = (to, session.peer);
                assert_eq!(self.up.insert(key, session.number), None, "{to} has {session} and another");
                assert!(self.last.insert(key, session.number).is_none_or(|n| n < session.number));
            }
            PeerEvent::Frames { session, frames } => {
                assert_eq!(self.up.get(&(to, session.peer)), Some(&session.number), "frames outside a session");
                assert!(!frames.is_empty());
                for frame in &frames {
                    let n = decode_header::<u64>(&frame.header).unwrap();
                    assert_eq!(frame.body.len() as u64, n % 3000, "the body is the one that was sent");
                    mix(n);
                    self.came.entry((to, session)).or_default().push(n);
                }
                self.net.give_back(frames);
            }
            PeerEvent::Down { session, reason } => {
                mix(session.number);
                assert_eq!(self.up.remove(&(to, session.peer)), Some(session.number), "down without up");
                self.downs.push((to, session, reason));
            }
        }
    }

    fn say(&mut self, from: NodeId, to: NodeId, count: u64) {
        let Some(&number) = self.up.get(&(from, to)) else { return };
        let session = Session { peer: to, number };
        let mut port = self.net.port(from, Micros(self.now));
        for _ in 0..count {
            self.counter += 1;
            let n = self.counter;
            port.send(session, channel::PROTOCOL, &n, &Bytes::from(vec![7; (n % 3000) as usize]));
            self.sent.entry((from, session)).or_default().push(n);
            self.origin.insert(n, (from, session));
        }
        port.flush();
    }

    fn gone(&mut self, id: NodeId, how: Death) {
        self.net.leave(id, Micros(self.now), how);
        self.up.retain(|(a, _), _| *a != id);
    }

    /// Everything that came in a session is a prefix of what one session of the other end sent.
    fn check_prefixes(&self) {
        for ((to, session), came) in &self.came {
            let (from, theirs) = self.origin[&came[0]];
            assert_eq!((session.peer, theirs.peer), (from, *to));
            assert!(self.sent[&(from, theirs)].starts_with(came), "{to} got no prefix in {session}");
        }
    }

    /// Every fault ends.
    fn calm(&mut self, cuts: Vec<(NodeId, NodeId)>, down: Vec<(NodeId, Member)>) {
        let now = Micros(self.now);
        for (x, y) in cuts {
            self.net.cut(x, y, false, now);
        }
        for (x, member) in down {
            self.net.join(x, member, Vec::new(), now);
        }
        for x in self.nodes.clone() {
            self.net.pause(x, false, now);
            for y in self.nodes.clone() {
                self.net.loss(x, y, 0);
                self.net.duplicate(x, y, 0);
                self.net.reorder(x, y, 0);
                self.net.corrupt(x, y, 0);
                self.net.slow(x, y, Micros(0));
                self.net.narrow(x, y, None, now);
            }
        }
    }

    /// The reason of the last end at a node.
    fn reason(&self, id: u64) -> Option<&DownReason> {
        self.downs.iter().rev().find(|d| d.0.0 == id).map(|d| &d.2)
    }
}

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// One step of a random schedule. Faults that need an end are remembered in `cuts`.
fn disturb(b: &mut Bench, rng: &mut Rng, cuts: &mut Vec<(NodeId, NodeId)>, down: &mut Vec<(NodeId, Member)>) {
    let pick = |rng: &mut Rng, b: &Bench| b.nodes[rng.between(0, b.nodes.len() as u64) as usize];
    let (x, y, now) = (pick(rng, b), pick(rng, b), Micros(b.now));
    let rate = rng.between(0, 300) as u16;
    match rng.between(0, 40) {
        0 => {
            b.net.cut(x, y, true, now);
            cuts.push((x, y));
        }
        1 | 2 if !cuts.is_empty() => {
            let (x, y) = cuts.swap_remove(rng.between(0, cuts.len() as u64) as usize);
            b.net.cut(x, y, false, now);
        }
        3 => b.net.reset(x, y, now),
        4 => b.net.loss(x, y, rate),
        5 => b.net.duplicate(x, y, rate),
        6 => b.net.reorder(x, y, rate),
        7 => b.net.corrupt(x, y, rate / 10),
        8 => b.net.slow(x, y, Micros(rng.between(0, 100_000))),
        9 => b.net.narrow(x, y, Some(rng.between(0, 5000)), now),
        10 => b.net.pause(x, true, now),
        11 | 12 => b.net.pause(x, false, now),
        13 if down.iter().all(|d| d.0 != x) => {
            let member = if b.net.voters.contains(x) { Member::Voter } else { Member::Observer };
            b.gone(x, if rng.between(0, 2) == 0 { Death::Kill } else { Death::Power });
            down.push((x, member));
        }
        14..17 if !down.is_empty() => {
            let (x, member) = down.swap_remove(0);
            b.net.join(x, member, Vec::new(), now);
        }
        17 => {
            if let Some(&number) = b.up.get(&(x, y)) {
                b.net.port(x, now).disconnect(Session { peer: y, number }, "a test");
            }
        }
        _ => b.say(x, y, rng.between(1, 12)),
    }
}

fn chaos(seed: u64, steps: u64) -> Bench {
    let mut rng = Rng::new(seed);
    let mut b = Bench::new(seed, SHAPE, 1 + seed % 5, seed % 3);
    let (mut cuts, mut down) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        disturb(&mut b, &mut rng, &mut cuts, &mut down);
        let most = if rng.between(0, 10) == 0 { 500_000 } else { 3_000 };
        b.run(rng.between(0, most));
    }
    b.calm(cuts, down);
    b
}

/// Contract 3 of `protocol`, under everything that can go wrong; and afterwards every pair is connected again.
#[test]
fn sessions_keep_their_promises_under_random_faults() {
    let mut bitten = BTreeMap::new();
    for seed in 0..60 {
        let mut b = chaos(seed, 400);
        b.run(100 * SHAPE.silence_us);
        b.check_prefixes();
        for &x in &b.nodes {
            for &y in &b.nodes {
                let voters = usize::from(b.net.voters.contains(x)) + usize::from(b.net.voters.contains(y));
                let wanted = x != y && voters > 0;
                assert_eq!(b.up.contains_key(&(x, y)), wanted, "seed {seed}: {x} to {y}");
                let ours = b.net.session(x, y).map(|s| s.number);
                assert_eq!(b.up.get(&(x, y)).copied(), ours, "what the network says of its sessions");
            }
        }
        // Nothing is left of what is over, and in the new sessions everything that is said comes.
        assert!(b.net.conns.len() - b.net.free.len() <= b.nodes.len() * b.nodes.len());
        let before = b.net.messages();
        let said = 10 * b.up.len() as u64;
        for (x, y) in b.up.clone().into_keys() {
            b.say(x, y, 10);
        }
        b.run(SHAPE.silence_us);
        assert_eq!(b.net.messages() - before, said, "seed {seed}");
        b.check_prefixes();
        for (kind, n) in b.net.bitten() {
            *bitten.entry(kind).or_insert(0) += n;
        }
    }
    assert_eq!(bitten.len(), 9, "every kind bites: {bitten:?}");
}

#[test]
fn the_same_seed_gives_the_same_arrivals() {
    for seed in 100..105 {
        let (a, b) = (chaos(seed, 300), chaos(seed, 300));
        assert_eq!((a.hash, a.arrivals, a.net.bitten()), (b.hash, b.arrivals, b.net.bitten()));
        assert_ne!(a.hash, chaos(seed + 50, 300).hash);
    }
}

#[test]
fn delays_have_the_mean_they_should() {
    let mut rng = Rng::new(1);
    let (n, mut sum, mut above) = (100_000, 0, 0);
    for _ in 0..n {
        let x = carry::exponential(rng.next_u64(), 1000);
        sum += x;
        above += u64::from(x > 2000);
    }
    assert!((900..1050).contains(&(sum / n)), "{}", sum / n);
    // e^-2 of all.
    assert!((above * 1000 / n).abs_diff(135) < 20, "{above}");
    assert_eq!(carry::exponential(u64::MAX, 1000), 0);
    assert!(carry::exponential(0, u64::MAX >> 8) > 0);
}

#[test]
fn one_flush_is_one_segment_and_one_event() {
    let mut b = Bench::node(1);
    let before = b.arrivals;
    // Twenty frames, the window holds them; bodies of 1 to 20 bytes.
    b.say(B, A, 20);
    b.run(50_000);
    assert_eq!((b.arrivals - before, b.net.messages()), (1, 20));
}

#[test]
fn a_killed_process_says_goodbye_and_a_dead_machine_does_not() {
    let mut b = Bench::node(2);
    b.gone(A, Death::Kill);
    b.run(10_000);
    assert_eq!(b.reason(2), Some(&DownReason::Closed));
    b.net.join(A, Member::Voter, Vec::new(), Micros(b.now));
    b.run(100_000);
    assert_eq!(b.up.len(), 2);

    // Silence, after the shape's time and not before.
    let before = b.downs.len();
    b.gone(A, Death::Power);
    b.run(SHAPE.silence_us - 1);
    assert_eq!(b.downs.len(), before);
    b.run(SHAPE.silence_us / 4 + 1);
    assert!(matches!(b.reason(2), Some(DownReason::Silent(_))));
    b.net.join(A, Member::Voter, Vec::new(), Micros(b.now));
    b.run(100_000);
    assert_eq!(b.up.len(), 2);

    // Back before the silence was long enough: its kernel knows nothing of the old connection.
    b.gone(A, Death::Power);
    b.run(SHAPE.silence_us / 4);
    b.net.join(A, Member::Voter, Vec::new(), Micros(b.now));
    let at = b.now;
    b.say(B, A, 1);
    b.run(10_000);
    assert_eq!(b.reason(2), Some(&DownReason::Lost("reset".into())), "sent to a machine that knows nothing of it");
    b.run(100_000);
    assert!(b.up.len() == 2 && b.now > at);
    b.check_prefixes();
}

#[test]
fn the_dialler_that_comes_back_replaces_its_half_dead_session() {
    let mut b = Bench::node(3);
    // n2 dials n1: n1 does not notice, and n2 dials anew.
    b.gone(B, Death::Power);
    b.run(1000);
    b.net.join(B, Member::Voter, Vec::new(), Micros(b.now));
    b.run(30_000);
    assert_eq!(b.reason(1), Some(&DownReason::Replaced));
    assert_eq!(b.up.len(), 2);
}

#[test]
fn a_one_way_cut_is_heard_of_at_each_end_in_its_own_time() {
    let mut b = Bench::node(4);
    b.net.cut(A, B, true, Micros(b.now));
    b.net.cut(A, B, true, Micros(b.now));
    b.net.cut(A, B, false, Micros(b.now));
    assert!(b.net.bitten().is_empty(), "a cut that held nothing did not bite");
    b.say(A, B, 3);
    b.say(B, A, 3);
    b.run(100_000);
    assert_eq!(b.came.len(), 1, "one way only");
    assert_eq!(b.net.bitten().into_iter().collect::<Vec<_>>(), [("cut", 1)]);
    b.run(SHAPE.silence_us);
    // n2 hears nothing and closes; its FIN gets to n1.
    assert!(matches!(b.reason(2), Some(DownReason::Silent(_))));
    assert_eq!(b.reason(1), Some(&DownReason::Closed));
    b.run(SHAPE.silence_us);
    assert!(b.up.is_empty(), "no handshake over a cut");
    b.net.cut(A, B, false, Micros(b.now));
    b.run(100_000);
    assert_eq!(b.up.len(), 2);
}

#[test]
fn what_a_short_cut_held_comes_after_it() {
    let mut b = Bench::node(5);
    b.net.cut(A, B, true, Micros(b.now));
    b.say(A, B, 5);
    b.run(150_000);
    b.net.cut(A, B, false, Micros(b.now));
    b.run(1_000);
    assert_eq!(b.net.messages(), 0, "the sender's time-out has not run out");
    b.run(200_000);
    assert_eq!((b.net.messages(), b.downs.len()), (5, 0));
}

#[test]
fn a_paused_process_hears_nothing_and_its_peer_gives_it_up() {
    let mut b = Bench::node(6);
    b.say(B, A, 5);
    b.net.pause(A, true, Micros(b.now));
    let before = b.arrivals;
    b.run(SHAPE.silence_us / 2);
    assert_eq!(b.arrivals, before);
    b.net.pause(A, false, Micros(b.now));
    b.run(1);
    assert_eq!(b.net.messages(), 5, "the kernel had it all");
    b.net.pause(A, true, Micros(b.now));
    b.say(B, A, 5);
    b.run(SHAPE.silence_us * 2);
    assert!(matches!(b.reason(2), Some(DownReason::Silent(_))));
    assert_eq!(b.reason(1), None, "who stands still gives nobody up");
    b.net.pause(A, false, Micros(b.now));
    b.run(100_000);
    assert_eq!((b.net.messages(), b.reason(1)), (10, Some(&DownReason::Closed)));
    assert_eq!(b.up.len(), 2);
}

#[test]
fn what_exceeds_the_senders_queue_ends_the_session() {
    let shape = NetShape { queue_bytes: 10_000, ..SHAPE };
    let mut b = Bench::new(7, shape, 2, 0);
    b.run(100_000);
    let counters = Arc::new(Counters::default());
    b.net.count_for(A, Arc::clone(&counters));
    b.net.pause(B, true, Micros(b.now));
    b.counter = 1000;
    b.say(A, B, 20);
    b.run(1);
    assert_eq!(b.reason(1), Some(&DownReason::Overflow { bytes: 10_000, frames: 64 << 10 }));
    assert_eq!(counters.queue_overflows.get(), 1);
    b.net.pause(B, false, Micros(b.now));
    b.run(100_000);
    assert_eq!(b.up.len(), 2);
    // A message no frame can hold.
    let session = b.net.session(A, B).unwrap();
    let mut port = b.net.port(A, Micros(b.now));
    port.send(session, channel::PROTOCOL, &1u64, &Bytes::from(vec![0; 33 << 20]));
    port.flush();
    b.run(1);
    assert!(matches!(b.reason(1), Some(DownReason::Unsendable(FrameError::TooLarge { .. }))));
    b.check_prefixes();
}

#[test]
fn a_narrow_link_lets_everything_through_in_time() {
    let mut b = Bench::node(8);
    b.net.narrow(A, B, Some(100), Micros(b.now));
    b.counter = 999;
    b.say(A, B, 10);
    b.run(5_000);
    let early = b.net.messages();
    b.run(400_000);
    assert!(early < 5 && b.net.messages() == 10, "{early}");
    assert!(b.net.bitten()["narrow"] > 50);
    assert!(b.downs.is_empty());
}

#[test]
fn damaged_and_hostile_bytes_end_the_session_at_the_receiver() {
    let mut b = Bench::node(9);
    let counters = Arc::new(Counters::default());
    b.net.count_for(B, Arc::clone(&counters));
    b.net.corrupt(A, B, 1000);
    let mut found = 0;
    for _ in 0..200 {
        b.say(A, B, 3);
        b.run(20_000);
        if let Some(at) = b.downs.iter().position(|d| matches!(d.2, DownReason::BadFrame(_))) {
            assert_eq!(b.downs.swap_remove(at).0, B);
            found += 1;
        }
        b.run(100_000);
    }
    assert!(found > 150, "each damaged segment is found when it comes, wherever the bit is: {found}");
    assert_eq!(counters.bad_frames.get(), found);
    b.net.corrupt(A, B, 0);
    b.check_prefixes();

    for (i, bytes) in
        [Hostile::Garbage, Hostile::TooLong, Hostile::BrokenOff, Hostile::WrongLength].into_iter().enumerate()
    {
        let mut b = Bench::node(10);
        assert!(b.net.hostile(B, A, bytes, i as u64, Micros(b.now)));
        b.say(A, B, 3);
        b.run(10_000);
        assert!(matches!(b.reason(2), Some(DownReason::BadFrame(_))), "{bytes:?}: {:?}", b.reason(2));
        assert_eq!(b.net.verdict(), Ok(()));
        assert!(!b.net.hostile(NodeId(7), A, bytes, 0, Micros(b.now)));
    }
}

#[test]
fn strangers_are_refused_and_who_has_the_right_words_is_taken() {
    let mut b = Bench::node(11);
    for lie in [Lie::Cluster, Lie::Protocol, Lie::Version, Lie::Called] {
        assert_eq!(b.net.stranger(B, A, Member::Voter, Some(lie)), Some(false), "{lie:?}");
    }
    assert_eq!(b.net.stranger(A, A, Member::Voter, None), Some(false));
    for member in [Member::Voter, Member::Observer] {
        assert_eq!(b.net.stranger(B, A, member, None), Some(true));
        assert_eq!(b.net.stranger(NodeId(9), A, member, None), Some(true), "n1 may not know yet that it votes");
    }
    assert_eq!(b.net.stranger(B, NodeId(7), Member::Voter, None), None, "nobody is there");
}
