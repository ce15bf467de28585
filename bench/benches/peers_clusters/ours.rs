//! Three of our replicas, each a task of the runtime; links, logs and state machines are in memory. Everything that is decided
//! is decided by [`Replica`], [`ApplyWorker`] and [`Switchboard`]; what is here moves values between them, as the shell of
//! `common::node` does between threads and sockets.
//!
//! Clients share a connection, [`Line`]: what they ask while a turn lasts is taken together, and what a turn answers leaves
//! together, as over a socket.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::{Client, Cluster, NODES};

/// Its configuration in words.
pub(crate) const SETTINGS: &str = "raft, zab: this repository, default configurations of protocol and replica, but for elections \
     after 1 s; a replica is one task; frames between replicas are encoded and decoded; a client sends its request, encoded; \
     clients share a connection, which is a queue each way";

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

/// A client's request on its way, under the client's number: it has one at a time.
struct Asked {
    header: Bytes,
    body: Bytes,
}

/// The connection of all clients to a node: what was asked and not yet taken.
#[derive(Default)]
struct Line {
    asked: Mutex<Vec<Asked>>,
    /// Told when the first is there.
    wake: Notify,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, asked: Asked) {
        let mut all = self.lock();
        all.push(asked);
        let first = all.len() == 1;
        drop(all);
        if first {
            self.wake.notify_one();
        }
    }
}

/// The cluster; it ends when this is dropped.
pub(crate) struct Ours {
    leader: Arc<Line>,
    clients: Arc<Answered>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Where clients wait for their answers, by their numbers.
#[derive(Default)]
struct Answered(Mutex<Vec<Arc<Notify>>>);

impl Answered {
    fn of(&self, client: usize) -> Arc<Notify> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() <= client {
            all.resize_with(client + 1, Arc::default);
        }
        Arc::clone(&all[client])
    }

    /// Tells clients of their answers as these arrive; runs beside them.
    async fn tell(self: Arc<Self>, mut answers: mpsc::UnboundedReceiver<Vec<u64>>) {
        while let Some(clients) = answers.recv().await {
            let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            clients.iter().for_each(|client| all[*client as usize].notify_one());
        }
    }
}

/// One client.
pub(crate) struct OurClient {
    leader: Arc<Line>,
    answered: Arc<Notify>,
    header: Bytes,
    body: Bytes,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl<P: Patient> Cluster<P> for Ours {
    type Client = OurClient;

    const NAME: &'static str = P::NAME;

    async fn start(clients: Handle) -> Self {
        let peers = PeerLimits::default();
        let board = Switchboard::new(FrameLimits::PEER, peers.queue, EVENTS);
        let leading = Arc::new(AtomicUsize::new(NODES));
        let (answers, answered) = mpsc::unbounded_channel();
        let waiting = Arc::new(Answered::default());
        let mut tasks = vec![clients.spawn(Arc::clone(&waiting).tell(answered))];
        let mut lines = Vec::new();
        for n in 0..NODES {
            let line = Arc::new(Line::default());
            let node = Node::<P>::new(n, &board, Arc::clone(&line), answers.clone(), Arc::clone(&leading));
            tasks.push(tokio::spawn(node.run()));
            lines.push(line);
        }
        loop {
            sleep(Duration::from_millis(10)).await;
            if let Some(leader) = lines.get(leading.load(Ordering::Relaxed)) {
                return Self { leader: Arc::clone(leader), clients: waiting, tasks };
            }
        }
    }

    fn client(&self, number: usize, payload: usize) -> OurClient {
        let mut body = BytesMut::from(&*postcard::to_stdvec(&Envelope::Raw).expect("an envelope can be encoded"));
        body.resize(body.len() + payload, 7);
        let request = Request { id: number as u64, ask: Ask::Write };
        let header = postcard::to_stdvec(&request).expect("a request can be encoded").into();
        let (leader, answered) = (Arc::clone(&self.leader), self.clients.of(number));
        OurClient { leader, answered, header, body: body.freeze() }
    }
}

impl Client for OurClient {
    async fn write(&mut self) {
        self.leader.ask(Asked { header: self.header.clone(), body: self.body.clone() });
        self.answered.notified().await;
    }
}

/// A replica and what is around it.
struct Node<P: Protocol> {
    number: usize,
    replica: Replica<P>,
    network: InProcess,
    peers: mpsc::Receiver<PeerEvent>,
    line: Arc<Line>,
    /// Taken from the line and not yet given to the replica.
    asked: Vec<Asked>,
    answers: mpsc::UnboundedSender<Vec<u64>>,
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
        line: Arc<Line>,
        answers: mpsc::UnboundedSender<Vec<u64>>,
        leading: Arc<AtomicUsize>,
    ) -> Self {
        let id = NodeId(number as u64 + 1);
        let counters = Arc::new(Counters::default());
        let (network, peers) = board.join(id, Member::Voter, &[], Arc::clone(&counters));
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
        let (asked, applied, log, began) = (Vec::new(), Vec::new(), Log::default(), Instant::now());
        Self { number, replica, network, peers, line, asked, answers, log, machine, applied, began, leading }
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
                () = self.line.wake.notified() => {}
                () = sleep(pause) => {}
            }
            for _ in 0..EVENTS {
                let Ok(event) = self.peers.try_recv() else { break };
                self.peer(event);
            }
            self.clients();
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

    fn clients(&mut self) {
        std::mem::swap(&mut self.asked, &mut self.line.lock());
        let now = self.now();
        for Asked { header, body } in self.asked.drain(..) {
            self.replica.input(now, Input::ClientFrame { conn: CONN, header, body });
        }
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
            if !out.clients.is_empty() {
                // Clients that are gone have been measured.
                let _ = self.answers.send(out.clients.drain(..).map(|said| answered(&said)).collect());
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

/// The client whose write this answers.
fn answered(said: &ClientOut) -> u64 {
    let ClientOut::Reply { response, .. } = said else { panic!("a calm run has no {said:?}") };
    assert!(matches!(response.answer, Answer::Written { .. }), "{:?}: did somebody else take over?", response.answer);
    response.id
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
