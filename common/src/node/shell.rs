//! The shell: it moves bytes in and out of a [`Replica`], and decides nothing.
//!
//! A node is four threads. One runs the sockets and the replica, on a tokio runtime of its own; three own what may
//! block: the log, the snapshots and the state machine. The replica never waits for any of them, and they never wait
//! for each other. (Commands that are few and quick to carry out need not go to a thread: see `workers`.)
//!
//! Each turn takes everything that is ready, ends with one [`Replica::flush`], and hands the outputs over: operations to
//! the log thread first, since its disk is the slowest, then one write for each peer and each client. While the disk
//! syncs, further operations gather for it and share the next sync; while a turn runs, further requests gather
//! for the next turn. Both batches grow with the load and cost an idle node nothing.
//!
//! **Bounds.** Operations that wait for a worker are bounded by what makes them: appends by the protocol's limit of
//! uncommitted bytes, entries to apply by [`apply_window_bytes`](super::ReplicaConfig::apply_window_bytes), queries by
//! [`pending_requests`](super::ReplicaConfig::pending_requests), pieces of snapshots by one for each peer. Events that
//! wait for the replica are bounded by the channels; a worker or socket that finds one full waits.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::io::{ClientOut, Input};
use super::replica::{Replica, ReplicaBoot};
use super::setup::{Listeners, NodeConfig, NodeError, Parts};
use super::tracer::TraceSink;
use super::wire::{Wire, listen_for_clients, listen_for_peers};
use super::workers::{Answers, WorkerThreads};
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::protocol::Protocol;
use crate::state_machine::{Applier, StateMachine};
use crate::storage::{Fs, Identity, RealFs};
use crate::transport::{ClientEvent, ClientListener, ConnId, Network, PeerEvent};
use crate::types::{LogId, Micros, NodeId};

/// Events taken from one channel in one turn, at most: the flush must come.
const EVENTS_PER_TURN: usize = 1024;

/// A running node. Dropping it stops the node without waiting for it.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    client_addr: SocketAddr,
    peer_addr: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    end: oneshot::Receiver<Result<(), NodeError>>,
}

impl Node {
    /// Opens the data folder, binds the ports and starts the node.
    pub async fn start<P: Protocol, S: StateMachine>(config: NodeConfig<P>, machine: S) -> Result<Self, NodeError> {
        Self::start_on(config, machine, Listeners::default()).await
    }

    /// Likewise, on sockets that listen already.
    pub async fn start_on<P: Protocol, S: StateMachine>(
        config: NodeConfig<P>,
        machine: S,
        listeners: Listeners,
    ) -> Result<Self, NodeError> {
        let id = config.id;
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let result = runtime.map_err(NodeError::Threads).and_then(|runtime| {
                let shell = runtime.block_on(Shell::start(config, machine, listeners))?;
                let addrs = (shell.clients.local_addr(), shell.network.local_addr());
                // If nobody waits for it any more, `stopped` says so at once.
                let _ = ready.send(addrs);
                runtime.block_on(shell.run(stopped))
            });
            let _ = ended.send(result);
        };
        spawn(format!("{id}"), run)?;
        match started.await {
            Ok((client_addr, peer_addr)) => Ok(Self { id, client_addr, peer_addr, stop: Some(stop), end }),
            // It ended before it was ready.
            Err(_) => Err(end.await.unwrap_or_else(|_| Err(died())).err().unwrap_or_else(died)),
        }
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where it listens for clients.
    pub fn client_addr(&self) -> SocketAddr {
        self.client_addr
    }

    /// Where it listens for peers, if it does.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// Waits until it has ended: with the error that made it stop itself, or without one after [`stop`](Self::stop).
    pub async fn wait(&mut self) -> Result<(), NodeError> {
        (&mut self.end).await.unwrap_or_else(|_| Err(died()))
    }

    /// Stops it, and waits until its ports and its data folder are free. What was not yet answered stays unanswered, as
    /// after a crash: a node has nothing to tidy up.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        drop(self.stop.take());
        self.wait().await
    }
}

fn died() -> NodeError {
    NodeError::Halted("its thread panicked".to_owned())
}

pub(super) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, NodeError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(NodeError::Threads)
}

/// The node's own thread: its sockets, its replica, and the ends of its workers' channels.
struct Shell<P: Protocol> {
    replica: Replica<P>,
    network: Wire,
    peers: Receiver<PeerEvent>,
    clients: ClientListener,
    requests: Receiver<ClientEvent>,
    workers: WorkerThreads,
    answers: Receiver<Answers>,
    began: Instant,
    trace: Option<(TraceSink, File)>,
}

impl<P: Protocol> Shell<P> {
    async fn start<S: StateMachine>(
        config: NodeConfig<P>,
        machine: S,
        listeners: Listeners,
    ) -> Result<Self, NodeError> {
        config.replica.validate()?;
        let counters = Arc::new(Counters::default());
        // The sockets first: a wrong address should not leave a new data folder behind.
        let (network, peers) = listen_for_peers(&config, listeners.peers, listeners.switchboard, &counters).await?;
        let (clients, requests) = listen_for_clients(&config, listeners.clients, &counters).await?;
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let node = Identity { protocol: P::NAME.to_owned(), cluster: config.cluster.clone(), node: config.id };
        let parts =
            Parts::<P, S>::open(&fs, &config.data_dir, &node, &config.storage, Applier::new(machine), &counters)?;
        let trace = open_trace(&config)?;
        let (workers, answers) =
            WorkerThreads::start(config.id, parts.log_worker, parts.snapshot_worker, parts.apply_worker)?;
        let began = Instant::now();
        let replica = Replica::new(ReplicaBoot {
            id: config.id,
            membership: parts.membership.unwrap_or_else(|| (LogId::ZERO, Membership::of(config.voters))),
            protocol: config.protocol,
            config: config.replica,
            seed: config.seed,
            now: Micros(0),
            hard: parts.hard,
            snapshot: parts.snapshot,
            log: parts.log,
            counters,
            trace: trace.as_ref().map(|t| t.0.clone()),
            gauges: Box::new(gauges),
        });
        Ok(Self { replica, network, peers, clients, requests, workers, answers, began, trace })
    }

    /// Turn after turn, until it is stopped or stops itself.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), NodeError> {
        let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let result = loop {
            self.turn();
            if let Some(why) = self.replica.outputs().halt.take() {
                break Err(NodeError::Halted(why));
            }
            self.set(timer.as_mut());
            // Lets the sockets be read before the next turn, so that it finds more to do at once.
            tokio::task::yield_now().await;
            tokio::select! {
                biased;
                _ = &mut stopped => break Ok(()),
                Some(event) = self.answers.recv() => self.answer(event),
                Some(event) = self.peers.recv() => self.peer(event),
                Some(event) = self.requests.recv() => self.request(event),
                () = timer.as_mut() => {}
            }
            self.take_what_is_ready();
        };
        // Ports and folder are free when this is done, so that the node can be started again at once.
        let Self { network, clients, workers, peers, requests, answers, .. } = self;
        drop((peers, requests, answers));
        clients.shutdown().await;
        network.shutdown().await;
        workers.join();
        result
    }

    fn now(&self) -> Micros {
        Micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Sets the timer to when the replica wants its next turn.
    fn set(&self, timer: Pin<&mut Sleep>) {
        // A replica without a wish sleeps long; whatever comes in wakes it.
        let at = self.replica.wake_at().unwrap_or(Micros(u64::MAX / 4));
        let after = Duration::from_micros(at.0.min(self.now().0 + 3_600_000_000));
        let at = tokio::time::Instant::from_std(self.began + after);
        if timer.deadline() != at || timer.is_elapsed() {
            timer.reset(at);
        }
    }

    fn take_what_is_ready(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let Ok(event) = self.answers.try_recv() else { break };
            self.answer(event);
        }
        for _ in 0..EVENTS_PER_TURN {
            let Ok(event) = self.peers.try_recv() else { break };
            self.peer(event);
        }
        for _ in 0..EVENTS_PER_TURN {
            let Ok(event) = self.requests.try_recv() else { break };
            self.request(event);
        }
    }

    fn answer(&mut self, event: Answers) {
        let now = self.now();
        match event {
            Answers::Log(events) => events.into_iter().for_each(|e| self.replica.input(now, Input::Log(e))),
            Answers::Apply(events) => {
                self.workers.applied();
                for event in events {
                    self.replica.input(now, Input::Apply(event));
                }
            }
            Answers::Snapshot(event) => self.replica.input(now, Input::Snapshot(event)),
        }
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

    fn request(&mut self, event: ClientEvent) {
        let now = self.now();
        match event {
            ClientEvent::Connected { conn } => self.replica.input(now, Input::ClientUp { conn: conn.0 }),
            ClientEvent::Frames { conn, frames } => {
                for frame in frames {
                    let (header, body) = (frame.header, frame.body);
                    self.replica.input(now, Input::ClientFrame { conn: conn.0, header, body });
                }
            }
            ClientEvent::Closed { conn, .. } => self.replica.input(now, Input::ClientDown { conn: conn.0 }),
        }
    }

    /// Hands over what goes to disks and peers.
    fn flush(&mut self) {
        self.replica.flush(self.now());
        let out = self.replica.outputs();
        for said in out.peers.drain(..) {
            said.give_to(&mut self.network);
        }
        self.workers.give(out);
        self.network.flush();
    }

    /// Ends a turn and hands over what came of it.
    fn turn(&mut self) {
        self.flush();
        // A few commands are carried out here and now, behind what others wait for. What comes of that is of this turn.
        if let Some(events) = self.workers.apply_few(self.replica.outputs()) {
            let now = self.now();
            for event in events {
                self.replica.input(now, Input::Apply(event));
            }
            self.flush();
        }
        self.workers.give_apply(self.replica.outputs());
        let out = self.replica.outputs();
        for said in out.clients.drain(..) {
            match said {
                ClientOut::Reply { conn, response, body } => self.clients.reply(ConnId(conn), &response, &body),
                ClientOut::Close { conn, reason } => self.clients.close(ConnId(conn), reason),
            }
        }
        self.clients.flush();
        if let Some((sink, file)) = &mut self.trace
            && let Err(error) = file.write_all(&sink.take())
        {
            tracing::error!(%error, "the trace ends here: its file cannot be written");
            self.trace = None;
        }
    }
}

fn open_trace<P: Protocol>(config: &NodeConfig<P>) -> Result<Option<(TraceSink, File)>, NodeError> {
    let Some(path) = &config.trace else { return Ok(None) };
    let open = || -> io::Result<(File, u64)> {
        let file = File::options().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    let (file, length) = open().map_err(|reason| NodeError::Trace { path: path.clone(), reason })?;
    let sink = TraceSink::new(length);
    sink.meta(&serde_json::json!({
        "k": "meta", "v": 1, "proto": P::NAME, "nodes": [config.id.0],
        "voters": config.voters.keys().map(|v| v.0).collect::<Vec<_>>(),
        "seed": config.seed, "clock": "real", "unit": "us", "cfg": config.protocol,
    }));
    Ok(Some((sink, file)))
}

/// What the process has used: CPU time in microseconds, and resident memory in KiB where the system says.
fn gauges() -> Vec<(String, u64)> {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_us = cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1000;
    let mut list = vec![("cpu_us".to_owned(), cpu_us)];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    if let Some(kb) = rss.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok()) {
        list.push(("rss_kb".to_owned(), kb));
    }
    list
}
