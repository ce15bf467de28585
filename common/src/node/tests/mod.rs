//! The replica around a protocol that does nothing by itself: every rule that is the replica's own.

mod expiry;
mod fake;
mod freshness;
mod random;
mod requests;
mod shell;
mod snapshots;

use std::sync::Arc;

use bytes::Bytes;

use super::io::{ClientOut, Input, Outputs, PeerOut};
use super::{ApplyOp, ApplyWorker, Replica, ReplicaBoot, ReplicaConfig, TraceSink};
use crate::client::wire::{Answer, Ask, Envelope, ReadMode, Request};
use crate::log::LogView;
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::protocol::Effect;
use crate::state_machine::{Applier, KvStore};
use crate::storage::{LogEvent, LogOp};
use crate::transport::{Frame, Session, channel};
use crate::types::{LogId, Member, Micros, NodeId};
use fake::{Fake, FakeMessage};

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

/// One replica with its workers; the test says when each of them works.
struct Bench {
    replica: Replica<Fake>,
    now: u64,
    counters: Arc<Counters>,
    machine: ApplyWorker<KvStore>,
    cuts: u64,
    sessions: u64,
}

impl Bench {
    fn new(config: ReplicaConfig) -> Self {
        Self::with(config, LogId::ZERO, LogView::new(LogId::ZERO, 1 << 20), None)
    }

    fn with(config: ReplicaConfig, snapshot: LogId, log: LogView, trace: Option<TraceSink>) -> Self {
        config.validate().unwrap();
        let counters = Arc::new(Counters::default());
        let replica = Replica::new(ReplicaBoot {
            id: ME,
            membership: (LogId::ZERO, Membership::of_ids([ME, PEER, NodeId(3)])),
            protocol: false,
            config,
            seed: 1,
            now: Micros(0),
            hard: 0,
            snapshot,
            log,
            counters: counters.clone(),
            trace,
            gauges: Box::new(|| vec![("cpu_us".to_owned(), 7)]),
        });
        let open = Box::new(|_| Err(std::io::ErrorKind::NotFound.into()));
        let machine = ApplyWorker::new(Applier::new(KvStore::default()), open, counters.clone());
        Self { replica, now: 0, counters, machine, cuts: 0, sessions: 0 }
    }

    /// A leader in epoch 1 with a client on connection 1.
    fn leader(config: ReplicaConfig) -> Self {
        let mut b = Self::new(config);
        b.turn([Input::ClientUp { conn: 1 }]);
        b.lead(Some(ME), 1);
        b
    }

    /// A follower of [`PEER`] in epoch 1, with a session to it and a client on connection 1.
    fn follower(config: ReplicaConfig) -> (Self, Session) {
        let mut b = Self::new(config);
        b.turn([Input::ClientUp { conn: 1 }]);
        let session = b.peer_up(PEER);
        b.lead(Some(PEER), 1);
        (b, session)
    }

    /// One turn: these inputs, then the flush.
    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Outputs<FakeMessage> {
        for input in inputs {
            self.replica.input(Micros(self.now), input);
        }
        self.replica.flush(Micros(self.now));
        std::mem::take(self.replica.outputs())
    }

    /// A turn without inputs, `us` microseconds later.
    fn later(&mut self, us: u64) -> Outputs<FakeMessage> {
        self.now += us;
        self.turn([])
    }

    /// The core comes to believe this.
    fn lead(&mut self, leader: Option<NodeId>, epoch: u64) -> Outputs<FakeMessage> {
        self.core(|c| c.lead(leader, epoch))
    }

    /// Something happens within the core.
    fn core(&mut self, f: impl FnOnce(&mut Fake)) -> Outputs<FakeMessage> {
        f(&mut self.replica.core);
        self.replica.core.wake = Some(Micros(self.now));
        self.turn([])
    }

    /// The core emits these in its next step.
    fn emit(&mut self, effects: Vec<Effect<Fake>>) -> Outputs<FakeMessage> {
        self.core(|c| c.script = effects)
    }

    fn peer_up(&mut self, peer: NodeId) -> Session {
        self.sessions += 1;
        let session = Session { peer, number: self.sessions };
        self.turn([Input::PeerUp { session, member: Member::Voter }]);
        session
    }

    /// The disk carries out what it is asked, at once.
    fn disk(&mut self, ops: Vec<LogOp>) -> Vec<Input> {
        let mut events = Vec::new();
        for op in ops {
            let durable = |upto, cuts| LogEvent::Durable { upto, cuts };
            events.push(Input::Log(match op {
                LogOp::Append(run) => durable(run.last(), self.cuts),
                LogOp::Truncate { after: upto } | LogOp::Reset { base: upto } => {
                    self.cuts += 1;
                    durable(upto, self.cuts)
                }
                LogOp::Compact { upto } => LogEvent::Compacted { base: upto },
                LogOp::SaveHard(_) => LogEvent::HardSaved,
                other => panic!("{other:?}"),
            }));
        }
        events
    }

    /// The state machine carries out what it is asked, at once.
    fn machine(&mut self, ops: Vec<ApplyOp>) -> Vec<Input> {
        let mut events = Vec::new();
        for op in ops {
            self.machine.run(op, &mut events);
        }
        events.into_iter().map(Input::Apply).collect()
    }

    /// Lets disk and state machine work until nothing is left to do; the answers to clients on the way.
    fn settle(&mut self, first: Outputs<FakeMessage>) -> Vec<(u64, Answer)> {
        let mut answered = answers(&first);
        let mut out = first;
        while !out.log.is_empty() || !out.apply.is_empty() {
            let mut inputs = self.disk(std::mem::take(&mut out.log));
            inputs.extend(self.machine(std::mem::take(&mut out.apply)));
            out = self.turn(inputs);
            answered.extend(answers(&out));
        }
        answered
    }
}

fn config() -> ReplicaConfig {
    ReplicaConfig::default()
}

fn ask(conn: u64, id: u64, ask: Ask, body: impl Into<Bytes>) -> Input {
    let header = postcard::to_stdvec(&Request { id, ask }).unwrap().into();
    Input::ClientFrame { conn, header, body: body.into() }
}

/// A write of so many bytes, envelope included.
fn write(id: u64, bytes: usize) -> Input {
    let mut body = postcard::to_stdvec(&Envelope::Raw).unwrap();
    body.resize(bytes.max(1), 7);
    ask(1, id, Ask::Write, body)
}

fn read(id: u64, mode: ReadMode, at_least: LogId) -> Input {
    ask(1, id, Ask::Read { mode, at_least }, Bytes::new())
}

fn answers(out: &Outputs<FakeMessage>) -> Vec<(u64, Answer)> {
    let replies = out.clients.iter().filter_map(|c| match c {
        ClientOut::Reply { response, .. } => Some((response.id, response.answer.clone())),
        ClientOut::Close { .. } => None,
    });
    replies.collect()
}

/// The frame a peer sends with this header.
fn frame(session: Session, channel: u8, header: &impl serde::Serialize, body: impl Into<Bytes>) -> Input {
    let header = postcard::to_stdvec(header).unwrap().into();
    Input::PeerFrame { session, frame: Frame { channel, header, body: body.into() } }
}

fn id(epoch: u64, counter: u64) -> LogId {
    LogId::new(epoch, counter)
}

#[test]
fn answers_from_before_a_cut_are_not_believed() {
    let mut b = Bench::leader(config());
    let appended = b.turn([write(1, 1), write(2, 1)]);
    let before = b.disk(appended.log);
    let cut = b.emit(vec![Effect::Truncate { after: LogId::ZERO }]);
    b.turn(before);
    assert!(!b.replica.core.saw("Durable"), "it speaks of a log that is no more");
    let after = b.disk(cut.log);
    b.turn(after);
    assert!(b.replica.core.saw("Durable { upto: LogId { epoch: 0, counter: 0 } }"));
}

#[test]
fn a_failed_disk_silences_the_node() {
    let mut b = Bench::leader(config());
    let session = b.peer_up(PEER);
    let appended = b.turn([write(1, 1)]);
    let mut inputs = b.disk(appended.log);
    let say = Effect::Send { to: PEER, message: FakeMessage::Hello(1) };
    b.replica.core.script = vec![say];
    // In one turn: what would be promised, and then the failure.
    inputs.push(Input::Log(LogEvent::Failed("no space".to_owned())));
    let out = b.turn(inputs);
    assert_eq!(out.halt.as_deref(), Some("no space"));
    assert!(out.peers.is_empty() && out.clients.is_empty() && out.apply.is_empty());
    assert!(b.turn([frame(session, channel::PROTOCOL, &FakeMessage::Hello(2), ""), write(2, 1)]).is_empty());
    assert_eq!(b.replica.wake_at(), None);
}

#[test]
fn what_cannot_be_read_ends_the_session_and_nothing_else() {
    let mut b = Bench::new(config());
    let session = b.peer_up(PEER);
    let other = b.peer_up(NodeId(3));
    let bad = frame(session, channel::PROTOCOL, &[9u8, 9, 9], "");
    let out = b.turn([bad, frame(session, channel::PROTOCOL, &FakeMessage::Hello(1), "")]);
    assert!(matches!(out.peers[..], [PeerOut::Disconnect { session: s, .. }] if s == session), "{:?}", out.peers);
    assert!(!b.replica.core.saw("Hello"), "what still comes on it is not looked at");
    assert_eq!(b.counters.bad_frames.get(), 1);
    b.turn([frame(other, channel::PROTOCOL, &FakeMessage::Hello(2), ""), Input::PeerDown { session }]);
    assert!(b.replica.core.saw("Hello(2)") && b.replica.core.saw("PeerDown { peer: NodeId(2) }"));
    // A body that does not belong to the header.
    let out = b.turn([frame(other, channel::PROTOCOL, &FakeMessage::Hello(3), "x")]);
    assert!(matches!(out.peers[..], [PeerOut::Disconnect { session: s, .. }] if s == other));
    // Random bytes from a client close its connection.
    let garbage = Input::ClientFrame { conn: 4, header: Bytes::from_static(&[255; 9]), body: Bytes::new() };
    let out = b.turn([Input::ClientUp { conn: 4 }, garbage, ask(4, 1, Ask::Status, "")]);
    assert!(matches!(out.clients[..], [ClientOut::Close { conn: 4, .. }]));
    assert!(out.apply.is_empty());
}

#[test]
fn a_trace_numbers_events_and_knows_their_causes() {
    let sink = TraceSink::new(100);
    let mut a = Bench::with(config(), LogId::ZERO, LogView::new(LogId::ZERO, 0), Some(sink.clone()));
    sink.meta(&serde_json::json!({"k": "meta", "v": 1}));
    let session = a.peer_up(PEER);
    let out = a.emit(vec![Effect::Send { to: PEER, message: FakeMessage::Hello(5) }]);
    let [PeerOut::Message { message, m: Some(m), .. }] = &out.peers[..] else { panic!("{out:?}") };
    // It comes back to ourselves, which a trace does not mind.
    a.turn([frame(session, channel::PROTOCOL, &(message, m), "")]);
    let lines = String::from_utf8(sink.take()).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["k"], "meta");
    assert_eq!(lines.iter().map(|l| l["k"].as_str().unwrap()).collect::<Vec<_>>(), ["meta", "link", "send", "recv"]);
    assert_eq!((&lines[2]["i"], &lines[2]["ty"], &lines[2]["to"]), (&101.into(), &"Hello".into(), &2.into()));
    assert_eq!((&lines[3]["m"], &lines[3]["c"]), (&lines[2]["m"], &lines[2]["i"]));
    assert_eq!(lines[2]["m"], (1u64 << 40) + 101);
    assert!(sink.take().is_empty());
}

#[test]
fn status_says_what_the_state_machine_and_the_process_say() {
    let mut b = Bench::leader(config());
    let out = b.turn([write(1, 4)]);
    b.settle(out);
    let out = b.turn([ask(1, 2, Ask::Status, "")]);
    let [(2, Answer::Status(s))] = &b.settle(out)[..] else { panic!() };
    assert_eq!((s.core.applied, s.core.id, s.sessions), (id(1, 1), ME, 0));
    assert_eq!(s.state_hash, b.machine.applier().hash());
    let of = |name: &str| s.counters.iter().find(|c| c.0 == name).map(|c| c.1);
    assert_eq!((of("cpu_us"), of("commands_proposed"), of("client_requests")), (Some(7), Some(1), Some(2)));
}
