//! Whatever happens around it, in whatever order: a request is answered once, and nothing stays pending.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::node::forward::Relay;
use crate::protocol::Refusal;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Read {
        local: bool,
        far: bool,
    },
    Status,
    Transfer,
    /// The disk and the state machine do so many operations each.
    Work(usize, usize),
    /// Who leads, and whether it is a new epoch.
    Lead(Option<u8>, bool),
    Session(bool),
    /// The leader answers the `n`th of what it was sent.
    Answer {
        n: usize,
        refused: bool,
    },
    /// What the core does with proposals and barriers from now on.
    Moody {
        refuse: u8,
        mute: bool,
    },
    Reconnect,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..40).prop_map(Step::Write),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(local, far)| Step::Read { local, far }),
        1 => Just(Step::Status),
        1 => Just(Step::Transfer),
        6 => (0usize..5, 0usize..5).prop_map(|(a, b)| Step::Work(a, b)),
        3 => (proptest::option::of(1u8..3), any::<bool>()).prop_map(|(l, e)| Step::Lead(l, e)),
        2 => any::<bool>().prop_map(Step::Session),
        3 => (0usize..4, any::<bool>()).prop_map(|(n, refused)| Step::Answer { n, refused }),
        1 => (0u8..3, any::<bool>()).prop_map(|(refuse, mute)| Step::Moody { refuse, mute }),
        1 => Just(Step::Reconnect),
        2 => (0u64..2_000_000).prop_map(Step::Wait),
    ]
}

struct World {
    bench: Bench,
    epoch: u64,
    conn: u64,
    next: u64,
    session: Option<Session>,
    log: VecDeque<LogOp>,
    apply: VecDeque<ApplyOp>,
    relayed: Vec<(Session, u64)>,
    /// Of each request on the open connection: how often it was answered.
    asked: BTreeMap<u64, usize>,
}

impl World {
    fn new() -> Self {
        let limits = ReplicaConfig {
            batch_entries: 3,
            batch_bytes: 60,
            batches_in_flight: 2,
            pending_requests: 12,
            pending_bytes: 200,
            client_requests: 10,
            barriers_in_flight: 2,
            read_attempts: 2,
            apply_piece_bytes: 50,
            apply_window_bytes: 100,
            ..config()
        };
        let mut world = Self {
            bench: Bench::new(limits),
            epoch: 1,
            conn: 1,
            next: 0,
            session: None,
            log: VecDeque::new(),
            apply: VecDeque::new(),
            relayed: Vec::new(),
            asked: BTreeMap::new(),
        };
        let out = world.bench.turn([Input::ClientUp { conn: 1 }]);
        world.take(out);
        world
    }

    fn take(&mut self, out: Outputs<FakeMessage>) {
        assert_eq!(out.halt, None);
        for (id, _) in answers(&out) {
            *self.asked.get_mut(&id).expect("an answer to a question") += 1;
        }
        for said in out.peers {
            if let PeerOut::Relay { to, relay: Relay::Write { token } | Relay::Transfer { token, .. }, .. } = said {
                self.relayed.push((to, token));
            }
        }
        self.log.extend(out.log);
        self.apply.extend(out.apply);
        let (count, bytes) = self.bench.replica.requests.pending();
        assert!(count <= 12 && bytes <= 200, "{count} requests of {bytes} bytes");
    }

    fn turn(&mut self, inputs: Vec<Input>) {
        let out = self.bench.turn(inputs);
        self.take(out);
    }

    fn request(&mut self, what: Ask, body: Vec<u8>) {
        let id = self.next;
        self.next += 1;
        self.asked.insert(id, 0);
        self.turn(vec![ask(self.conn, id, what, body)]);
    }

    fn work(&mut self, disk: usize, machine: usize) {
        let ops = self.log.drain(..disk.min(self.log.len())).collect();
        let mut events = self.bench.disk(ops);
        let ops = self.apply.drain(..machine.min(self.apply.len())).collect();
        events.extend(self.bench.machine(ops));
        self.turn(events);
    }

    fn lead(&mut self, leader: Option<NodeId>, next: bool) {
        // A core never leads twice in one epoch.
        let again = leader == Some(ME) && self.bench.replica.led.leader != Some(ME);
        self.epoch += u64::from(next || again);
        let out = self.bench.lead(leader, self.epoch);
        self.take(out);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(bytes) => self.request(Ask::Write, vec![2; bytes]),
            Step::Read { local, far } => {
                let mode = if local { ReadMode::Local } else { ReadMode::Linearizable };
                let at_least = if far { id(self.epoch, 3) } else { LogId::ZERO };
                self.request(Ask::Read { mode, at_least }, Vec::new());
            }
            Step::Status => self.request(Ask::Status, Vec::new()),
            Step::Transfer => self.request(Ask::Transfer { to: None }, Vec::new()),
            Step::Work(disk, machine) => self.work(disk, machine),
            Step::Lead(leader, next) => self.lead(leader.map(|l| NodeId(l.into())), next),
            Step::Session(up) => match (up, self.session.take()) {
                (true, _) => {
                    self.bench.sessions += 1;
                    let session = Session { peer: PEER, number: self.bench.sessions };
                    self.session = Some(session);
                    self.turn(vec![Input::PeerUp { session, member: Member::Voter }]);
                }
                (false, Some(session)) => self.turn(vec![Input::PeerDown { session }]),
                (false, None) => {}
            },
            Step::Answer { n, refused } => {
                if let Some((session, token)) = self.relayed.get(n).copied() {
                    self.relayed.remove(n);
                    let no = Answer::Refused(Refusal::NotLeader { leader: None });
                    let answer = if refused { no } else { Answer::Written { at: id(1, 1) } };
                    self.turn(vec![frame(session, channel::FORWARD, &Relay::Answer { token, answer }, "")]);
                }
            }
            Step::Moody { refuse, mute } => {
                self.bench.replica.core.mute = mute;
                self.bench.replica.core.refuse = match refuse {
                    0 => None,
                    1 => Some(Refusal::Busy),
                    _ => Some(Refusal::LeaderChanged),
                };
            }
            Step::Reconnect => {
                let (old, new) = (self.conn, self.conn + 1);
                self.conn = new;
                self.asked.clear();
                self.turn(vec![Input::ClientDown { conn: old }, Input::ClientUp { conn: new }]);
            }
            Step::Wait(us) => {
                let out = self.bench.later(us);
                self.take(out);
            }
        }
    }

    /// Everything gets better: this node leads, its disk and machine work, and time passes.
    fn calm(&mut self) {
        self.bench.replica.core.mute = false;
        self.bench.replica.core.refuse = None;
        self.lead(Some(ME), true);
        for _ in 0..100 {
            self.work(usize::MAX, usize::MAX);
            let at = self.bench.replica.wake_at().map_or(self.bench.now, |at| at.0);
            let out = self.bench.later(at.saturating_sub(self.bench.now));
            self.take(out);
        }
    }
}

proptest! {
    #[test]
    fn every_request_is_answered_once(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.calm();
        prop_assert_eq!(world.bench.replica.requests.pending(), (0, 0));
        let not_once: Vec<_> = world.asked.iter().filter(|(_, n)| **n != 1).collect();
        prop_assert!(not_once.is_empty(), "request and how often it was answered: {:?}", not_once);
        prop_assert_eq!(world.bench.replica.wake_at(), None);
    }
}
