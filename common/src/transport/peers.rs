//! Sessions with peers over TCP: one connection for each pair of nodes.
//!
//! Who dials whom is said in [`dialling`](super::dialling), and follows the members of the cluster as they change. A lost
//! connection is dialled again after a pause that doubles and varies, so that a restarted node is not met by all others in
//! one instant.
//!
//! A newer connection from a peer replaces the older one: a peer that restarted, or whose cable was pulled, knows its
//! connection to be dead long before this side could. The old session's `Down` comes before the new one's `Up`, else
//! messages of both would mix and the order that both protocols rest on would be lost.

use std::collections::{BTreeMap, btree_map};
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
use tokio::time::sleep;

use super::accept::{Acceptor, Refusals, within};
use super::dialling::Diallers;
use super::frame::FrameLimits;
use super::handshake::{self, HandshakeError, Identity};
use super::link::{Link, Meter, Pulse, QueueLimits};
use super::{DownReason, Network, PeerEvent, Session};
use crate::membership::{MAX_MEMBERS, Membership};
use crate::metrics::Counters;
use crate::quorum::Voters;
use crate::types::{Member, NodeId};

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
    /// Where to accept peers, such as `127.0.0.1:7101`. Voters need one, and observers that may become voters.
    pub listen: Option<String>,
    /// The address of every voter that the cluster begins with, this node's too if it is one.
    pub voters: BTreeMap<NodeId, String>,
    /// Whom it calls beside the voters while it is none itself, and where; an address in the members' list counts more, and
    /// where neither is known it waits to be called.
    pub sources: BTreeMap<NodeId, Option<String>>,
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
    /// Peers that may be connected and are not among the voters, whatever they say of themselves.
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
    diallers: Diallers,
    acceptor: JoinSet<()>,
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
        let me = Identity { cluster: config.cluster, protocol: config.protocol, id: config.id, member: config.member };
        let membership = Membership::of(config.voters);
        let shared = Arc::new(Shared {
            id: config.id,
            view: Mutex::new(View { me, voters: membership.configuration.voters().clone() }),
            limits: config.limits,
            refusals: Refusals::new(Arc::clone(&counters)),
            meter: Meter { counters, peers: true },
            events,
            links: Mutex::default(),
            moved: Notify::new(),
            numbers: AtomicU64::new(1),
        });
        let local = listener.as_ref().and_then(|l| l.local_addr().ok());
        let mut acceptor = JoinSet::new();
        if let Some(listener) = listener {
            acceptor.spawn(accept_forever(Arc::clone(&shared), listener));
        }
        let diallers = Diallers::start(&shared, membership, config.sources);
        Ok((Self { shared, known: BTreeMap::new(), dirty: Vec::new(), local, diallers, acceptor }, receiver))
    }

    /// Where it listens, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Ends all sessions and waits until the port is free again.
    pub async fn shutdown(mut self) {
        self.diallers.shutdown().await;
        self.acceptor.shutdown().await;
    }

    fn link(&mut self, session: Session) -> Option<&Arc<Link>> {
        let stale = self.known.get(&session.peer).is_none_or(|(number, _)| *number != session.number);
        if stale {
            let (number, link) = self.shared.links().get(&session.peer).map(|e| (e.number, Arc::clone(&e.link)))?;
            if self.known.len() > 2 * self.shared.limits.observers + MAX_MEMBERS {
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

    fn members(&mut self, membership: &Membership) {
        if self.diallers.membership() == membership {
            return;
        }
        let member = membership.member(self.shared.id);
        let before = self.shared.now_is(member, membership);
        if member == Member::Voter && before != member && self.local.is_none() {
            tracing::warn!(me = %self.shared.id, "votes from now on, and listens nowhere: give it an address to listen at");
        }
        self.diallers.update(&self.shared, membership);
    }

    fn disconnect(&mut self, session: Session, reason: &'static str) {
        if let Some(link) = self.link(session) {
            link.close(DownReason::Disconnected(reason));
        }
    }
}

/// What the transport and its tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: NodeId,
    view: Mutex<View>,
    pub(super) limits: PeerLimits,
    meter: Meter,
    events: mpsc::Sender<PeerEvent>,
    /// From before a session's `Up` until after its `Down`.
    links: Mutex<BTreeMap<NodeId, Entry>>,
    /// An entry came into `links`, or left it.
    moved: Notify,
    numbers: AtomicU64,
    pub(super) refusals: Refusals,
}

/// Who belongs to the cluster, as far as this node knows.
#[derive(Debug)]
struct View {
    me: Identity,
    voters: Voters,
}

#[derive(Debug)]
struct Entry {
    /// Of the session.
    number: u64,
    /// When the connection came, in the order of all that came and were made.
    came: u64,
    link: Arc<Link>,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<NodeId, Entry>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node says of itself.
    pub(super) fn identity(&self) -> Identity {
        self.view().me.clone()
    }

    /// Takes note of who belongs to the cluster. Gives what this node was before.
    fn now_is(&self, member: Member, membership: &Membership) -> Member {
        let all = membership.configuration.members();
        let mut view = self.view();
        view.voters = Voters::new(all.into_iter().filter(|id| membership.configuration.votes(*id)));
        std::mem::replace(&mut view.me.member, member)
    }

    /// Whether there is a session with a peer, or nearly.
    pub(super) fn is_up(&self, peer: NodeId) -> bool {
        self.links().contains_key(&peer)
    }

    /// Waits until there is a session with a peer, or until there is none.
    async fn until(&self, peer: NodeId, up: bool) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Before looking: else it could happen between the look and the wait.
            moved.as_mut().enable();
            if self.is_up(peer) == up {
                return;
            }
            moved.await;
        }
    }

    /// Waits until there has been no session with a peer for so long.
    pub(super) async fn alone(&self, peer: NodeId, span: Duration) {
        loop {
            self.until(peer, false).await;
            tokio::select! {
                biased;
                () = self.until(peer, true) => {}
                () = sleep(span) => return,
            }
        }
    }

    /// Nobody is turned away whom this node knows as a voter.
    fn room_for(&self, peer: NodeId) -> Result<(), HandshakeError> {
        let limit = self.limits.observers;
        let (view, links) = (self.view(), self.links());
        let others = || links.keys().filter(|id| **id != peer && !view.voters.contains(**id)).count();
        if !view.voters.contains(peer) && others() >= limit {
            return Err(HandshakeError::Full { limit });
        }
        Ok(())
    }

    /// Greater with each call.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// Takes the peer's place in `links`, once the session that has it is over. None if a still newer connection has it. The
    /// session is numbered only now: another one may have come and gone while this connection was in its handshake.
    async fn take_place(&self, peer: NodeId, came: u64, link: &Arc<Link>) -> Option<Session> {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Before looking: else the old session could leave between the look and the wait.
            moved.as_mut().enable();
            match self.links().entry(peer) {
                btree_map::Entry::Vacant(place) => {
                    let number = self.number();
                    place.insert(Entry { number, came, link: Arc::clone(link) });
                    self.moved.notify_waiters();
                    return Some(Session { peer, number });
                }
                btree_map::Entry::Occupied(old) if old.get().came > came => return None,
                btree_map::Entry::Occupied(old) => old.get().link.close(DownReason::Replaced),
            }
            moved.await;
        }
    }

    /// Carries one session from its `Up` to its `Down`. `came` says when its connection came, as a [`number`](Self::number).
    pub(super) async fn carry(&self, stream: TcpStream, peer: NodeId, came: u64, member: Member) {
        let (read, write) = stream.into_split();
        let PeerLimits { frame, queue, idle_timeout, .. } = self.limits;
        let link = Arc::new(Link::new(write, frame, queue, usize::MAX, self.meter.clone()));
        if self.room_for(peer).is_err() {
            return;
        }
        let Some(session) = self.take_place(peer, came, &link).await else { return };
        if self.events.send(PeerEvent::Up { session, member }).await.is_err() {
            return;
        }
        tracing::info!(me = %self.id, %session, "session up");
        let pulse = Some(Pulse { idle: idle_timeout, ping: true });
        let wrap = |frames| PeerEvent::Frames { session, frames };
        let reason = link.run(read, frame, pulse, &self.events, wrap).await;
        tracing::info!(me = %self.id, %session, %reason, "session down");
        // An error means that the node is gone, and nobody is left to be told.
        let _ = self.events.send(PeerEvent::Down { session, reason }).await;
        self.links().remove(&peer);
        self.moved.notify_waiters();
    }
}

async fn accept_forever(shared: Arc<Shared>, listener: TcpListener) {
    let mut acceptor = Acceptor::new(listener, shared.limits.handshakes);
    loop {
        let (mut stream, from, permit) = acceptor.next().await;
        // As it came, so that of two connections of one peer the later one wins.
        let came = shared.number();
        let shared = Arc::clone(&shared);
        acceptor.spawn(async move {
            let room = |hello: &handshake::PeerHello| shared.room_for(hello.from);
            let me = shared.identity();
            let shake = handshake::accept(&me, &mut stream, room);
            let result = within(shared.limits.handshake_timeout, shake).await;
            drop(permit);
            match result {
                Ok(hello) => shared.carry(stream, hello.from, came, hello.member).await,
                Err(error) => shared.refusals.count_and_log("peer", from, &error),
            }
        });
    }
}
