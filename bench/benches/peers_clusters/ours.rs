//! Three of our replicas, each a task of the runtime; links, logs and state machines are in memory. Everything that is decided
//! is decided by [`Replica`], [`ApplyWorker`] and [`Switchboard`]; what is here moves values between them, as the shell of
//! `common::node` does between threads and sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::client::wire::{Answer, Ask, Envelope, Request};
use common::log::{LogView, Read};
use common::membership::Membership;
use common::metrics::Counters;
use common::node::{ApplyEvent, ApplyOp, ApplyWorker, ClientOut, Input, Replica, ReplicaBoot, ReplicaConfig};
use common::protocol::Protocol;
use common::state_machine::{Applier, KvStore};
use common::storage::{LogEvent, LogOp, SnapshotEvent, SnapshotOp};
use common::transport::{FrameLimits, InProcess, Network as _, PeerEvent, PeerLimits, Switchboard};
use common::types::{LogId, Member, Micros, NodeId, Role};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::{Client, Cluster, NODES};

/// Its configuration in words.
pub(crate) const SETTINGS: &str = "raft, zab: this repository, default configurations of protocol and replica, but for elections \
     after 1 s; a replica is one task; frames between replicas are encoded and decoded; a client sends its request, encoded, \
     over a channel";

/// A protocol that does not depose its leader because the machine is busy elsewhere.
pub(crate) trait Patient: Protocol {
    /// The default configuration, with longer time-outs.
    fn patient() -> Self::Config;
}

impl Patient for raft::Raft {
    fn patient() -> raft::Config {
        raft::Config { election_timeout_ms: 1000, election_timeout_max_ms: 2000, ..raft::Config::default() }
    }
}

impl Patient for zab::Zab {
    fn patient() -> zab::Config {
        zab::Config { sync_limit_ms: 1000, ..zab::Config::default() }
    }
}

/// Bytes of applied entries that a core keeps in memory.
const KEPT: usize = 16 << 20;
/// Events that wait for a replica.
const EVENTS: usize = 1024;
/// The one connection that all clients share.
const CONN: u64 = 1;

/// A client's request on its way.
struct Asked {
    /// The client's number, which is its request's too: it has one at a time.
    id: u64,
    header: Bytes,
    body: Bytes,
    answer: oneshot::Sender<()>,
}

/// The cluster; it ends when this is dropped.
pub(crate) struct Ours {
    leader: mpsc::UnboundedSender<Asked>,
    nodes: Vec<tokio::task::JoinHandle<()>>,
}

/// One client.
pub(crate) struct OurClient {
    leader: mpsc::UnboundedSender<Asked>,
    id: u64,
    header: Bytes,
    body: Bytes,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.nodes.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl<P: Patient> Cluster<P> for Ours {
    type Client = OurClient;

    const NAME: &'static str = P::NAME;

    async fn start() -> Self {
        let peers = PeerLimits::default();
        let board = Switchboard::new(FrameLimits::PEER, peers.queue, EVENTS);
        let leading = Arc::new(AtomicUsize::new(NODES));
        let mut askers = Vec::new();
        let mut nodes = Vec::new();
        for n in 0..NODES {
            let (asks, asked) = mpsc::unbounded_channel();
            let node = Node::<P>::new(n, &board, asked, Arc::clone(&leading));
            nodes.push(tokio::spawn(node.run()));
            askers.push(asks);
        }
        loop {
            sleep(Duration::from_millis(10)).await;
            if let Some(leader) = askers.get(leading.load(Ordering::Relaxed)) {
                return Self { leader: leader.clone(), nodes };
            }
        }
    }

    fn client(&self, number: usize, payload: usize) -> OurClient {
        let id = number as u64;
        let mut body = BytesMut::from(&*postcard::to_stdvec(&Envelope::Raw).expect("an envelope can be encoded"));
        body.resize(body.len() + payload, 7);
        let header = postcard::to_stdvec(&Request { id, ask: Ask::Write }).expect("a request can be encoded");
        OurClient { leader: self.leader.clone(), id, header: header.into(), body: body.freeze() }
    }
}

impl Client for OurClient {
    async fn write(&mut self) {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { id: self.id, header: self.header.clone(), body: self.body.clone(), answer };
        self.leader.send(asked).expect("the leader runs");
        answered.await.expect("a write is answered");
    }
}

/// A replica and what is around it.
struct Node<P: Protocol> {
    number: usize,
    replica: Replica<P>,
    network: InProcess,
    peers: mpsc::Receiver<PeerEvent>,
    asked: mpsc::UnboundedReceiver<Asked>,
    /// By the number of the request.
    waiting: Vec<Option<oneshot::Sender<()>>>,
    log: Log,
    machine: ApplyWorker<KvStore>,
    applied: Vec<ApplyEvent>,
    began: Instant,
    leading: Arc<AtomicUsize>,
}

impl<P: Patient> Node<P> {
    fn new(
        number: usize,
        board: &Switchboard,
        asked: mpsc::UnboundedReceiver<Asked>,
        leading: Arc<AtomicUsize>,
    ) -> Self {
        let id = NodeId(number as u64 + 1);
        let counters = Arc::new(Counters::default());
        let (network, peers) = board.join(id, Member::Voter, Arc::clone(&counters));
        let membership = Membership::of_ids((1..=NODES as u64).map(NodeId));
        let unread = Box::new(|_| Err(std::io::Error::other("nobody needs a snapshot here")));
        let machine = ApplyWorker::new(Applier::new(KvStore::default()), unread, Arc::clone(&counters));
        let mut replica = Replica::new(ReplicaBoot {
            id,
            membership: (LogId::ZERO, membership),
            protocol: P::patient(),
            config: ReplicaConfig::default(),
            seed: number as u64,
            now: Micros(0),
            hard: P::Hard::default(),
            snapshot: LogId::ZERO,
            log: LogView::new(LogId::ZERO, KEPT),
            counters,
            trace: None,
            gauges: Box::new(Vec::new),
        });
        replica.input(Micros(0), Input::ClientUp { conn: CONN });
        let (waiting, applied, log) = (Vec::new(), Vec::new(), Log::default());
        let began = Instant::now();
        Self { number, replica, network, peers, asked, waiting, log, machine, applied, began, leading }
    }

    async fn run(mut self) {
        loop {
            self.turn();
            // Lets the others and the clients run, so that the next turn finds more to do at once.
            tokio::task::yield_now().await;
            let wake = self.replica.wake_at().unwrap_or(Micros(u64::MAX / 4));
            let pause = Duration::from_micros(wake.0.saturating_sub(self.now().0).min(1_000_000));
            tokio::select! {
                biased;
                Some(event) = self.peers.recv() => self.peer(event),
                Some(asked) = self.asked.recv() => self.client(asked),
                () = sleep(pause) => {}
            }
            for _ in 0..EVENTS {
                let Ok(event) = self.peers.try_recv() else { break };
                self.peer(event);
            }
            for _ in 0..EVENTS {
                let Ok(asked) = self.asked.try_recv() else { break };
                self.client(asked);
            }
        }
    }

    fn now(&self) -> Micros {
        Micros(self.began.elapsed().as_micros() as u64)
    }

    fn peer(&mut self, event: PeerEvent) {
        let now = self.now();
        match event {
            PeerEvent::Up { session, member } => self.replica.input(now, Input::PeerUp { session, member }),
            PeerEvent::Frames { session, frames } => {
                for frame in frames {
                    self.replica.input(now, Input::PeerFrame { session, frame });
                }
            }
            PeerEvent::Down { session, .. } => self.replica.input(now, Input::PeerDown { session }),
        }
    }

    fn client(&mut self, asked: Asked) {
        let Asked { id, header, body, answer } = asked;
        let slot = id as usize;
        if self.waiting.len() <= slot {
            self.waiting.resize_with(slot + 1, || None);
        }
        self.waiting[slot] = Some(answer);
        self.replica.input(self.now(), Input::ClientFrame { conn: CONN, header, body });
    }

    /// Ends a turn, carries out what came of it, and what comes of that, until nothing does.
    fn turn(&mut self) {
        loop {
            let now = self.now();
            self.replica.flush(now);
            let out = self.replica.outputs();
            assert!(out.halt.is_none(), "{:?}", out.halt);
            for said in out.peers.drain(..) {
                said.give_to(&mut self.network);
            }
            for said in out.clients.drain(..) {
                answer(&mut self.waiting, &said);
            }
            let (log, apply) = (std::mem::take(&mut out.log), std::mem::take(&mut out.apply));
            let snapshot = std::mem::take(&mut out.snapshot);
            if log.is_empty() && apply.is_empty() && snapshot.is_empty() {
                break;
            }
            self.log.run(log, |event| self.replica.input(now, Input::Log(event)));
            self.apply(now, apply);
            for op in snapshot {
                let SnapshotOp::Store { snapshot, state } = op else { panic!("a calm run has no {op:?}") };
                let mut bytes = Vec::new();
                state.write(&mut bytes).expect("memory takes it");
                let bytes = bytes.len() as u64;
                self.replica.input(now, Input::Snapshot(SnapshotEvent::Stored { snapshot, bytes }));
            }
        }
        self.network.flush();
        if self.replica.core().leadership().role == Role::Leading {
            self.leading.store(self.number, Ordering::Relaxed);
        }
    }

    fn apply(&mut self, now: Micros, ops: Vec<ApplyOp>) {
        for op in ops {
            self.machine.run(op, &mut self.applied);
        }
        for event in self.applied.drain(..) {
            self.replica.input(now, Input::Apply(event));
        }
    }
}

fn answer(waiting: &mut [Option<oneshot::Sender<()>>], said: &ClientOut) {
    let ClientOut::Reply { response, .. } = said else { panic!("a calm run has no {said:?}") };
    assert!(matches!(response.answer, Answer::Written { .. }), "{:?}", response.answer);
    if let Some(client) = waiting[response.id as usize].take() {
        // A client that is gone has been measured.
        let _ = client.send(());
    }
}

/// A log that is as durable as memory is.
struct Log {
    view: LogView,
    cuts: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { view: LogView::new(LogId::ZERO, usize::MAX), cuts: 0 }
    }
}

impl Log {
    fn run(&mut self, ops: Vec<LogOp>, mut tell: impl FnMut(LogEvent)) {
        let durable = |log: &Self| LogEvent::Durable { upto: log.view.last(), cuts: log.cuts };
        let mut appended = false;
        for op in ops {
            let event = match op {
                LogOp::Append(run) => {
                    self.view.append(run);
                    appended = true;
                    continue;
                }
                LogOp::Truncate { after } => {
                    self.view.truncate_after(after);
                    self.cuts += 1;
                    durable(self)
                }
                LogOp::Compact { upto } => {
                    self.view.compact(upto);
                    LogEvent::Compacted { base: self.view.base() }
                }
                LogOp::SaveHard(_) => LogEvent::HardSaved,
                LogOp::Fetch { peer, after, max_bytes } => {
                    let entries = match self.view.read(after, max_bytes) {
                        Read::Found(run) => Some(run),
                        _ => None,
                    };
                    LogEvent::Fetched { peer, after, entries }
                }
                LogOp::Reset { .. } | LogOp::Show { .. } => panic!("a calm run has no {op:?}"),
            };
            tell(event);
        }
        if appended {
            tell(durable(self));
        }
    }
}
