//! Sessions with peers over TCP: one connection for each pair of nodes.
//!
//! Between voters the larger id dials the smaller; an observer dials every voter. A lost connection is dialled again
//! after a pause that doubles and varies, so that a restarted node is not met by all others in one instant.
//!
//! A newer connection from a peer replaces the older one: a peer that restarted, or whose cable was pulled, knows its
//! connection to be dead long before this side could. The old session's `Down` comes before the new one's `Up`, else
//! messages of both would mix and the order that both protocols rest on would be lost.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::accept::{Acceptor, Refusals, within};
use super::frame::FrameLimits;
use super::handshake::{self, HandshakeError, Identity};
use super::link::{Link, Meter, Pulse, QueueLimits};
use super::{DownReason, Network, PeerEvent, Session};
use crate::metrics::Counters;
use crate::quorum::Voters;
use crate::rng::Rng;
use crate::types::{Member, NodeId};

/// A session that held this long was no accident: the next pause starts small again.
const LASTED: Duration = Duration::from_secs(1);

/// Who this node is and whom it talks to.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The cluster's name. Nodes of other clusters are refused.
    pub cluster: String,
    /// The replication protocol's name: [`Protocol::NAME`](crate::protocol::Protocol::NAME).
    pub protocol: String,
    /// This node.
    pub id: NodeId,
    /// Voter or observer; must agree with `voters`.
    pub member: Member,
    /// Where to accept peers, such as `127.0.0.1:7101`. Voters need one; nobody dials an observer.
    pub listen: Option<String>,
    /// Every voter's address, this node's too if it is one.
    pub voters: BTreeMap<NodeId, String>,
    /// Limits.
    pub limits: PeerLimits,
}

/// What peers may cost, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub struct PeerLimits {
    /// Of each frame.
    pub frame: FrameLimits,
    /// Of what waits for one peer. At the limit the session is dropped: a peer that slow must be brought level anew.
    pub queue: QueueLimits,
    /// Events that wait for the node, each at most about a read buffer or one frame. At the limit sockets are not read.
    pub events: usize,
    /// Connections in the handshake at a time; further ones wait to be accepted.
    pub handshakes: usize,
    /// How long dialling and handshake may take.
    pub handshake_timeout: Duration,
    /// Observers that may be connected to one voter.
    pub observers: usize,
    /// A session in which nothing came for this long is dropped. Keep-alives are sent every quarter to half of it.
    pub idle_timeout: Duration,
    /// The first pause before dialling again.
    pub backoff_min: Duration,
    /// The longest pause before dialling again. Actual pauses are between half of it and all of it.
    pub backoff_max: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            frame: FrameLimits::PEER,
            queue: QueueLimits { bytes: 64 << 20, frames: 64 << 10 },
            events: 128,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(2),
            observers: 64,
            idle_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
        }
    }
}

/// Why a transport cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address.
        addr: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl TransportConfig {
    fn check(&self) -> Result<(), TransportError> {
        let fail = |text: String| Err(TransportError::Config(text));
        handshake::check_name("cluster", &self.cluster).map_err(TransportError::Config)?;
        handshake::check_name("protocol", &self.protocol).map_err(TransportError::Config)?;
        let voter = self.voters.contains_key(&self.id);
        if self.id == NodeId(0) || self.voters.contains_key(&NodeId(0)) {
            return fail("id is 0; ids start at 1".into());
        }
        if voter != (self.member == Member::Voter) {
            let not = if voter { "" } else { "not " };
            return fail(format!("member is {:?}, but {} is {not}among the voters", self.member, self.id));
        }
        let PeerLimits { frame, queue, events, handshakes, idle_timeout, backoff_min, backoff_max, .. } = self.limits;
        if (frame.max_frame as usize) > queue.bytes || queue.frames == 0 {
            return fail(format!(
                "queue of {} bytes and {} frames cannot hold a frame of {}",
                queue.bytes, queue.frames, frame.max_frame
            ));
        }
        if events == 0 || handshakes == 0 {
            return fail(format!("events is {events} and handshakes {handshakes}; at least 1 of each is needed"));
        }
        if idle_timeout < Duration::from_millis(8) || backoff_min.is_zero() || backoff_max < backoff_min {
            return fail(format!(
                "idle_timeout is {idle_timeout:?} (at least 8ms), backoff {backoff_min:?} to {backoff_max:?} (above 0)"
            ));
        }
        Ok(())
    }
}

/// The sessions of a node, over TCP. Dropping it ends them all and stops listening.
#[derive(Debug)]
pub struct Transport {
    shared: Arc<Shared>,
    /// The links as last looked up; a session's number tells whether one is still meant.
    known: BTreeMap<NodeId, (u64, Arc<Link>)>,
    /// Links that are owed a flush.
    dirty: Vec<Arc<Link>>,
    local: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Transport {
    /// Listens where the configuration says and starts dialling. Must be called within a tokio runtime.
    pub async fn bind(
        config: TransportConfig,
        counters: Arc<Counters>,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), TransportError> {
        config.check()?;
        let listener = match (&config.listen, config.member) {
            (Some(addr), _) => {
                let bound = TcpListener::bind(addr.as_str()).await;
                Some(bound.map_err(|source| TransportError::Bind { addr: addr.clone(), source })?)
            }
            (None, Member::Observer) => None,
            (None, Member::Voter) => return Err(TransportError::Config("listen is missing; voters need it".into())),
        };
        Self::start(config, listener, counters)
    }

    /// As [`bind`](Self::bind), with a listener that exists already: how a test learns ports before it starts nodes.
    pub fn start(
        config: TransportConfig,
        listener: Option<TcpListener>,
        counters: Arc<Counters>,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), TransportError> {
        config.check()?;
        let (events, receiver) = mpsc::channel(config.limits.events);
        let shared = Arc::new(Shared {
            me: Identity {
                cluster: config.cluster,
                protocol: config.protocol,
                id: config.id,
                member: config.member,
                voters: Voters::new(config.voters.keys().copied()),
            },
            limits: config.limits,
            refusals: Refusals::new(Arc::clone(&counters)),
            meter: Meter { counters, peers: true },
            events,
            links: Mutex::default(),
            gone: Notify::new(),
            numbers: AtomicU64::new(1),
        });
        let local = listener.as_ref().and_then(|l| l.local_addr().ok());
        let mut tasks = JoinSet::new();
        if let Some(listener) = listener {
            tasks.spawn(accept_forever(Arc::clone(&shared), listener));
        }
        for (target, addr) in config.voters {
            if target != config.id && handshake::dials(config.id, config.member, target, Member::Voter) {
                tasks.spawn(dial_forever(Arc::clone(&shared), target, addr));
            }
        }
        Ok((Self { shared, known: BTreeMap::new(), dirty: Vec::new(), local, tasks }, receiver))
    }

    /// Where it listens, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Ends all sessions and waits until the port is free again.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }

    fn link(&mut self, session: Session) -> Option<&Arc<Link>> {
        let stale = self.known.get(&session.peer).is_none_or(|(number, _)| *number != session.number);
        if stale {
            let (number, link) = self.shared.links().get(&session.peer).map(|e| (e.number, Arc::clone(&e.link)))?;
            if self.known.len() > 2 * self.shared.limits.observers + self.shared.me.voters.ids().len() {
                self.known.clear();
            }
            self.known.insert(session.peer, (number, link));
        }
        self.known.get(&session.peer).filter(|(number, _)| *number == session.number).map(|(_, link)| link)
    }
}

impl Network for Transport {
    fn send<H: Serialize + ?Sized>(&mut self, to: Session, channel: u8, header: &H, body: &Bytes) {
        if let Some(link) = self.link(to)
            && link.push(channel, header, body)
        {
            let link = Arc::clone(link);
            self.dirty.push(link);
        }
    }

    fn flush(&mut self) {
        for link in self.dirty.drain(..) {
            link.flush();
        }
    }

    fn disconnect(&mut self, session: Session, reason: &'static str) {
        if let Some(link) = self.link(session) {
            link.close(DownReason::Disconnected(reason));
        }
    }
}

/// What the transport and its tasks share.
#[derive(Debug)]
struct Shared {
    me: Identity,
    limits: PeerLimits,
    meter: Meter,
    events: mpsc::Sender<PeerEvent>,
    /// From before a session's `Up` until after its `Down`.
    links: Mutex<BTreeMap<NodeId, Entry>>,
    /// An entry left `links`.
    gone: Notify,
    numbers: AtomicU64,
    refusals: Refusals,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    member: Member,
    link: Arc<Link>,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<NodeId, Entry>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room_for(&self, peer: NodeId, member: Member) -> Result<(), HandshakeError> {
        let limit = self.limits.observers;
        let others = |links: &BTreeMap<NodeId, Entry>| {
            links.iter().filter(|(id, e)| **id != peer && e.member == Member::Observer).count()
        };
        if member == Member::Observer && others(&self.links()) >= limit {
            return Err(HandshakeError::Full { limit });
        }
        Ok(())
    }

    /// Takes the peer's place in `links`, once the session that has it is over. False if a still newer connection has it.
    async fn take_place(&self, session: Session, member: Member, link: &Arc<Link>) -> bool {
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            // Before looking: else the old session could leave between the look and the wait.
            gone.as_mut().enable();
            match self.links().entry(session.peer) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(Entry { number: session.number, member, link: Arc::clone(link) });
                    return true;
                }
                std::collections::btree_map::Entry::Occupied(old) if old.get().number > session.number => return false,
                std::collections::btree_map::Entry::Occupied(old) => old.get().link.close(DownReason::Replaced),
            }
            gone.await;
        }
    }

    /// Carries one session from its `Up` to its `Down`.
    async fn carry(&self, stream: TcpStream, session: Session, member: Member) {
        let (read, write) = stream.into_split();
        let PeerLimits { frame, queue, idle_timeout, .. } = self.limits;
        let link = Arc::new(Link::new(write, frame, queue, usize::MAX, self.meter.clone()));
        if self.room_for(session.peer, member).is_err() || !self.take_place(session, member, &link).await {
            return;
        }
        if self.events.send(PeerEvent::Up { session, member }).await.is_err() {
            return;
        }
        tracing::info!(me = %self.me.id, %session, "session up");
        let pulse = Some(Pulse { idle: idle_timeout, ping: true });
        let wrap = |frames| PeerEvent::Frames { session, frames };
        let reason = link.run(read, frame, pulse, &self.events, wrap).await;
        tracing::info!(me = %self.me.id, %session, %reason, "session down");
        // An error means that the node is gone, and nobody is left to be told.
        let _ = self.events.send(PeerEvent::Down { session, reason }).await;
        self.links().remove(&session.peer);
        self.gone.notify_waiters();
    }
}

async fn dial_forever(shared: Arc<Shared>, target: NodeId, addr: String) {
    let PeerLimits { backoff_min, backoff_max, .. } = shared.limits;
    let mut rng = Rng::new(RandomState::new().hash_one((shared.me.id, target)));
    let mut pause = backoff_min;
    let mut last_error = String::new();
    loop {
        match dial_once(&shared, target, &addr).await {
            Ok((stream, session)) => {
                last_error.clear();
                let started = Instant::now();
                shared.carry(stream, session, Member::Voter).await;
                if started.elapsed() >= LASTED {
                    pause = backoff_min;
                }
            }
            Err(error) => {
                // Said once, not with every try.
                let text = error.to_string();
                let new = text != last_error;
                if error.is_refusal() && !matches!(error, HandshakeError::TimedOut(_)) {
                    shared.refusals.count(&error);
                    if new {
                        tracing::warn!(me = %shared.me.id, %target, addr, error = %text, "refused; trying on");
                    }
                } else if new {
                    tracing::info!(me = %shared.me.id, %target, addr, error = %text, "cannot connect; trying on");
                }
                last_error = text;
            }
        }
        let most = pause.as_micros() as u64;
        sleep(Duration::from_micros(rng.between(most / 2, most))).await;
        pause = (pause * 2).min(backoff_max);
    }
}

async fn dial_once(shared: &Shared, target: NodeId, addr: &str) -> Result<(TcpStream, Session), HandshakeError> {
    let dial = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        handshake::dial(&shared.me, target, &mut stream).await?;
        Ok((stream, Session { peer: target, number: shared.numbers.fetch_add(1, Relaxed) }))
    };
    within(shared.limits.handshake_timeout, dial).await
}

async fn accept_forever(shared: Arc<Shared>, listener: TcpListener) {
    let mut acceptor = Acceptor::new(listener, shared.limits.handshakes);
    loop {
        let (mut stream, from, permit) = acceptor.next().await;
        // Numbered as it came, so that of two connections of one peer the later one wins.
        let number = shared.numbers.fetch_add(1, Relaxed);
        let shared = Arc::clone(&shared);
        acceptor.spawn(async move {
            let room = |hello: &handshake::PeerHello| shared.room_for(hello.from, hello.member);
            let shake = handshake::accept(&shared.me, &mut stream, room);
            let result = within(shared.limits.handshake_timeout, shake).await;
            drop(permit);
            match result {
                Ok(hello) => shared.carry(stream, Session { peer: hello.from, number }, hello.member).await,
                Err(error) => shared.refusals.count_and_log("peer", from, &error),
            }
        });
    }
}
