//! The client port: framed connections of many clients, and the connecting side that a client library uses.
//!
//! Frames are those of the peer links; the handshake names only the cluster. Everything a client can make grow has a
//! limit: how many connections there are, how many are in the handshake, what waits for one to read (reading its
//! requests stops first; at the limit it is closed), and how long one may say nothing.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::accept::{Acceptor, Refusals, within};
use super::frame::{Frame, FrameError, FrameLimits, FrameQueue};
use super::handshake::{self, HandshakeError, Welcome};
use super::link::{FrameReader, Link, Meter, Pulse, QueueLimits};
use super::peers::TransportError;
use super::{DownReason, channel};
use crate::metrics::Counters;
use crate::types::NodeId;

/// One client's connection. Never used twice by a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// What happens on the client port. Of one connection: `Connected`, any number of `Frames`, `Closed`.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// A client came.
    Connected {
        /// Its connection.
        conn: ConnId,
    },
    /// Frames came, in order: all that one read brought. Never empty.
    Frames {
        /// On which connection.
        conn: ConnId,
        /// The frames.
        frames: Vec<Frame>,
    },
    /// It is gone. Answers for it are dropped.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: DownReason,
    },
}

/// Who answers clients, and within which limits.
#[derive(Clone, Debug)]
pub struct ClientPortConfig {
    /// The cluster's name. Clients that want another one are refused.
    pub cluster: String,
    /// `raft` or `zab`; clients are told.
    pub protocol: String,
    /// This node; clients are told.
    pub node: NodeId,
    /// Where to listen, such as `127.0.0.1:7001`.
    pub listen: String,
    /// Limits.
    pub limits: ClientLimits,
}

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Of each frame.
    pub frame: FrameLimits,
    /// Connections; further ones are refused with a reason.
    pub connections: usize,
    /// Connections in the handshake at a time; further ones wait to be accepted.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Of what waits for one client. At the limit it is closed.
    pub queue: QueueLimits,
    /// While more bytes than this wait for a client, its requests are not read.
    pub pause_above: usize,
    /// Events that wait for the node, each at most about a read buffer or one frame. At the limit sockets are not read.
    pub events: usize,
    /// A connection on which nothing moved for this long is closed.
    pub idle_timeout: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            frame: FrameLimits::CLIENT,
            connections: 10_000,
            handshakes: 256,
            handshake_timeout: Duration::from_secs(2),
            queue: QueueLimits { bytes: 16 << 20, frames: 64 << 10 },
            pause_above: 256 << 10,
            events: 512,
            idle_timeout: Duration::from_mins(10),
        }
    }
}

/// The client port. Dropping it closes all connections and stops listening.
#[derive(Debug)]
pub struct ClientListener {
    shared: Arc<Shared>,
    dirty: Vec<Arc<Link>>,
    local: SocketAddr,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    welcome: Welcome,
    limits: ClientLimits,
    meter: Meter,
    events: mpsc::Sender<ClientEvent>,
    /// Only looked up, never walked.
    links: Mutex<HashMap<ConnId, Arc<Link>>>,
    numbers: AtomicU64,
    refusals: Refusals,
}

impl ClientListener {
    /// Listens where the configuration says. Must be called within a tokio runtime.
    pub async fn bind(
        config: ClientPortConfig,
        counters: Arc<Counters>,
    ) -> Result<(Self, mpsc::Receiver<ClientEvent>), TransportError> {
        let addr = config.listen.clone();
        let listener = TcpListener::bind(addr.as_str()).await;
        Self::start(config, listener.map_err(|source| TransportError::Bind { addr, source })?, counters)
    }

    /// As [`bind`](Self::bind), with a listener that exists already; `listen` is not used.
    pub fn start(
        config: ClientPortConfig,
        listener: TcpListener,
        counters: Arc<Counters>,
    ) -> Result<(Self, mpsc::Receiver<ClientEvent>), TransportError> {
        let ClientPortConfig { cluster, protocol, node, listen, limits } = config;
        handshake::check_name("cluster", &cluster).map_err(TransportError::Config)?;
        handshake::check_name("protocol", &protocol).map_err(TransportError::Config)?;
        if (limits.frame.max_frame as usize) > limits.queue.bytes || limits.queue.frames == 0 {
            let (queue, frame) = (limits.queue, limits.frame.max_frame);
            return Err(TransportError::Config(format!("a client's {queue:?} cannot hold a frame of {frame} bytes")));
        }
        if limits.events == 0 || limits.handshakes == 0 || limits.pause_above == usize::MAX {
            return Err(TransportError::Config(
                "events and handshakes of the client port must be at least 1, and pause_above a real limit".into(),
            ));
        }
        let local = listener.local_addr().map_err(|source| TransportError::Bind { addr: listen, source })?;
        let (events, receiver) = mpsc::channel(limits.events);
        let shared = Arc::new(Shared {
            welcome: Welcome { cluster, protocol, node },
            limits,
            refusals: Refusals::new(Arc::clone(&counters)),
            meter: Meter { counters, peers: false },
            events,
            links: Mutex::default(),
            numbers: AtomicU64::new(1),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_forever(Arc::clone(&shared), listener));
        Ok((Self { shared, dirty: Vec::new(), local, tasks }, receiver))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Queues an answer; it leaves with the next [`flush`](Self::flush). For a connection that is gone it is dropped.
    pub fn reply<H: Serialize + ?Sized>(&mut self, conn: ConnId, header: &H, body: &Bytes) {
        let link = self.shared.links().get(&conn).cloned();
        if let Some(link) = link
            && link.push(channel::PROTOCOL, header, body)
        {
            self.dirty.push(link);
        }
    }

    /// Writes out what was queued, as far as the sockets take it at once; the rest follows by itself.
    pub fn flush(&mut self) {
        for link in self.dirty.drain(..) {
            link.flush();
        }
    }

    /// Closes a connection, such as one whose frames make no sense. Frames that were waiting may still be delivered.
    pub fn close(&mut self, conn: ConnId, reason: &'static str) {
        if let Some(link) = self.shared.links().get(&conn) {
            link.close(DownReason::Disconnected(reason));
        }
    }

    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        self.shared.links().len()
    }

    /// Closes all connections and waits until the port is free again.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, HashMap<ConnId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> Result<(), HandshakeError> {
        let limit = self.limits.connections;
        if self.links().len() < limit { Ok(()) } else { Err(HandshakeError::Full { limit }) }
    }

    async fn carry(&self, stream: TcpStream, conn: ConnId) {
        let (read, write) = stream.into_split();
        let ClientLimits { frame, queue, pause_above, idle_timeout, connections, .. } = self.limits;
        let link = Arc::new(Link::new(write, frame, queue, pause_above, self.meter.clone()));
        {
            let mut links = self.links();
            // Handshakes that ran side by side all saw room.
            if links.len() >= connections {
                return;
            }
            links.insert(conn, Arc::clone(&link));
        }
        if self.events.send(ClientEvent::Connected { conn }).await.is_ok() {
            let pulse = Some(Pulse { idle: idle_timeout, ping: false });
            let wrap = |frames| ClientEvent::Frames { conn, frames };
            let reason = link.run(read, frame, pulse, &self.events, wrap).await;
            tracing::debug!(%conn, %reason, "client gone");
            // An error means that the node is gone, and nobody is left to be told.
            let _ = self.events.send(ClientEvent::Closed { conn, reason }).await;
        }
        self.links().remove(&conn);
    }
}

async fn accept_forever(shared: Arc<Shared>, listener: TcpListener) {
    let mut acceptor = Acceptor::new(listener, shared.limits.handshakes);
    loop {
        let (mut stream, from, permit) = acceptor.next().await;
        let conn = ConnId(shared.numbers.fetch_add(1, Relaxed));
        let shared = Arc::clone(&shared);
        acceptor.spawn(async move {
            let shake = handshake::accept_client(&shared.welcome, &mut stream, || shared.room());
            let result = within(shared.limits.handshake_timeout, shake).await;
            drop(permit);
            match result {
                Ok(()) => shared.carry(stream, conn).await,
                Err(error) => shared.refusals.count_and_log("client", from, &error),
            }
        });
    }
}

/// Connects to a node's client port. `cluster` empty means any. `limit` is for connecting and handshake together.
pub async fn connect_client(addr: &str, cluster: &str, limit: Duration) -> Result<FramedConn, HandshakeError> {
    let dial = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let welcome = handshake::dial_as_client(cluster, &mut stream).await?;
        Ok((stream, welcome))
    };
    let (stream, welcome) = within(limit, dial).await?;
    let (read, write) = stream.into_split();
    let meter = Meter { counters: Arc::default(), peers: false };
    Ok(FramedConn {
        welcome,
        reader: FrameReader::new(read, FrameLimits::CLIENT, meter),
        writer: FrameWriter { half: write, queue: FrameQueue::new(FrameLimits::CLIENT) },
    })
}

/// A client's connection to a node.
#[derive(Debug)]
pub struct FramedConn {
    /// What the node said of itself.
    pub welcome: Welcome,
    /// What it answers.
    pub reader: FrameReader,
    /// What it is asked.
    pub writer: FrameWriter,
}

impl FramedConn {
    /// Both halves, for two tasks.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        (self.reader, self.writer)
    }
}

/// The writing half of a client's connection. Dropping it closes the connection; answers still on their
/// way may be lost.
#[derive(Debug)]
pub struct FrameWriter {
    half: OwnedWriteHalf,
    queue: FrameQueue,
}

impl FrameWriter {
    /// Queues a frame. What may wait is the caller's to limit: see [`pending`](Self::pending).
    pub fn push<H: Serialize + ?Sized>(&mut self, header: &H, body: &Bytes) -> Result<(), FrameError> {
        self.queue.push(channel::PROTOCOL, header, body)
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        self.queue.bytes()
    }

    /// Writes everything that waits. Dropping the future before it is ready loses nothing: a later flush goes on.
    pub async fn flush(&mut self) -> std::io::Result<()> {
        while self.queue.has_remaining() {
            if self.half.write_buf(&mut self.queue).await? == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}
