//! The simulated network: sessions as TCP makes them, carrying the bytes that the shipping code encodes.
//!
//! Both protocols rest on contract 3 of [`protocol`](crate::protocol): within a session a gap-free prefix arrives in order,
//! each end learns of the end in its own time, and of one peer there are never two sessions at a time. A network that
//! only dropped and shuffled messages would test promises which nobody makes, and would miss what TCP really does: one end
//! goes on sending for seconds into a session that the other has given up, a restarted peer dials while the old
//! session still looks alive, a full window holds a heartbeat back behind a snapshot.
//!
//! What is modelled: per direction of a connection, numbered segments that arrive in order, each with its own delay; loss
//! as a late retransmission; a window, and a queue at the sender that ends the session when it overflows; FIN, RST, and
//! silence. What is the shipping code itself: frames ([`FrameQueue`](crate::transport::frame::FrameQueue), [`FrameDecoder`](crate::transport::frame::FrameDecoder)),
//! the first words of a connection and the judgement on them ([`handshake`](crate::transport::handshake)), the rule who
//! dials whom, the queue's limits.
//!
//! What is left out: keep-alives are not events. A direction through which they could not come (cut, the sender paused or
//! without power) has a deadline instead. Closing while unread bytes wait gives FIN, where a kernel would send RST.
//!
//! [`Net`] is a value with its own queue of events; whoever runs a world takes [`Net::next_at`] into account and calls
//! [`Net::next`] when the time has come. All randomness comes from [`Streams`], keyed by link, connection and segment.
//!
//! | room | what it holds |
//! | --- | --- |
//! | `conn` | one connection: two ends, two directions |
//! | `dial` | how a connection comes to be |
//! | `carry` | sending, delivery, silence, the end |
//! | `faults` | what goes wrong on links |
//! | `hostile` | what no peer says |
//! | `port` | a node's side, as [`Network`](crate::transport::Network) |

mod carry;
mod conn;
mod dial;
mod faults;
mod hostile;
mod port;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

pub use port::Port;

use self::conn::{Conn, State};
use self::dial::Wish;
use self::faults::{Bites, Faults};
use super::plan::{Death, NetShape};
use super::stream::Streams;
use super::subject::Violation;
use crate::metrics::Counters;
use crate::quorum::Voters;
use crate::transport::handshake::Identity;
use crate::transport::{DownReason, Frame, FrameLimits, PeerEvent, PeerLimits, QueueLimits, Session};
use crate::types::{Member, Micros, NodeId};

/// Ids of nodes in a simulated network are below this: tables are indexed by them.
pub const MAX_ID: u64 = 64;

/// The name of the simulated cluster, as its nodes give it in the handshake.
pub const CLUSTER: &str = "sim";

/// Something that reached a node.
#[derive(Debug)]
pub struct Arrival {
    /// Which node.
    pub to: NodeId,
    /// What.
    pub event: PeerEvent,
    /// When the first of it left the sender; for the begin and the end of a session that one end sees by itself, now.
    pub sent: Micros,
}

/// The network between the replicas of one world. See the [module](self).
#[derive(Debug)]
pub struct Net {
    streams: Streams,
    shape: NetShape,
    protocol: String,
    /// With which the cluster begins: what every process takes for the voters until its replica says otherwise.
    voters: Voters,
    frames: FrameLimits,
    queue: QueueLimits,
    /// `hosts` has so many places, `links` the square of it.
    dim: usize,
    hosts: Vec<Host>,
    links: Vec<Link>,
    conns: Vec<Conn>,
    free: Vec<u32>,
    events: BinaryHeap<Reverse<Event>>,
    order: u64,
    /// What has arrived and was not taken yet.
    ready: VecDeque<Arrival>,
    /// The latest time anybody told.
    clock: Micros,
    dirty: Vec<(u32, u8)>,
    spare: Vec<Vec<Frame>>,
    bites: Bites,
    messages: u64,
    found: Option<Violation>,
}

/// A machine and the process on it.
#[derive(Debug, Default)]
struct Host {
    /// The process runs.
    on: bool,
    paused: bool,
    me: Option<Identity>,
    /// Whom its replica takes for voters, and for learners that belong.
    voters: Voters,
    learners: Voters,
    /// Whom its process calls as well while it is no voter.
    sources: Vec<NodeId>,
    /// That has not always been so, since the process started: others may take others for voters.
    changed: bool,
    /// Counts processes.
    life: u64,
    /// The number of its last session; goes on over restarts, so that a late event never fits a new session.
    sessions: u64,
    counters: Option<Arc<Counters>>,
}

/// One direction between two nodes, whatever connection there is.
#[derive(Debug, Default)]
struct Link {
    faults: Faults,
    /// Since when no sign of life can come through.
    blocked: Option<Micros>,
    /// The connection of the session that the sending node has with the other.
    current: Option<u32>,
    /// The number of the last session that the sending node had with the other.
    last: u64,
    /// The dialling in progress; what belongs to an earlier one is void.
    turn: u32,
    /// The dialler was paused when it should have gone on.
    due: bool,
    attempts: u64,
    opened: u64,
    /// The session number the acceptor has set aside, and the process that did.
    offer: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    at: Micros,
    order: u64,
    what: What,
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What is to happen at a time. Nodes are indices; an event of an earlier turn or generation is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A node dials.
    Dial { from: u16, to: u16, turn: u32 },
    /// Its first words reach the acceptor.
    Call { from: u16, to: u16, turn: u32 },
    /// The acceptor's answer reaches the dialler.
    Answer { from: u16, to: u16, turn: u32 },
    /// The next segment of a direction has arrived.
    Deliver { conn: u32, generation: u32, dir: u8 },
    /// A direction may have been silent for too long.
    Silence { conn: u32, generation: u32, dir: u8 },
}

impl Net {
    /// A network in which nobody runs yet, for a protocol and its voters.
    pub fn new(streams: Streams, shape: NetShape, protocol: &str, voters: Voters) -> Self {
        // Frames lie in small pieces of memory, since thousands of worlds run one after the other; bodies share them.
        let frames = FrameLimits { chunk: 32 << 10, copy_below: 0, ..FrameLimits::PEER };
        let bytes = usize::try_from(shape.queue_bytes).unwrap_or(usize::MAX);
        let queue = QueueLimits { bytes, frames: PeerLimits::default().queue.frames };
        Self {
            streams,
            shape,
            protocol: protocol.to_owned(),
            voters,
            frames,
            queue,
            dim: 0,
            hosts: Vec::new(),
            links: Vec::new(),
            conns: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
            order: 0,
            ready: VecDeque::new(),
            clock: Micros(0),
            dirty: Vec::new(),
            spare: Vec::new(),
            bites: Bites::default(),
            messages: 0,
            found: None,
        }
    }

    /// The process of a node has started: it listens, and dials the voters of its settings as it must, and its sources. Does
    /// nothing while it runs already.
    pub fn join(&mut self, id: NodeId, member: Member, sources: Vec<NodeId>, now: Micros) {
        self.clock = now;
        let Some(me) = self.place(id) else { return };
        if self.hosts[me].on {
            return;
        }
        let identity = self.identity(CLUSTER, id, member);
        let voters = self.voters.clone();
        let host = &mut self.hosts[me];
        (host.on, host.paused, host.me) = (true, false, Some(identity));
        (host.voters, host.learners, host.changed) = (voters, Voters::default(), false);
        host.sources.clone_from(&sources);
        host.life += 1;
        for peer in 0..self.dim {
            self.refresh(me, peer, now);
        }
        self.refuse_the_forgotten(me, now);
        for peer in self.voters.ids().iter().copied().chain(sources).collect::<BTreeSet<_>>() {
            if let Some(to) = self.place(peer)
                && self.wish(me, to) == Some(Wish::AtOnce)
            {
                self.dial_later(me, to, now);
            }
        }
    }

    /// Counts what goes wrong at this node (bad frames, full queues, callers refused) in its counters, until it leaves.
    pub fn count_for(&mut self, id: NodeId, counters: Arc<Counters>) {
        if let Some(me) = self.place(id) {
            self.hosts[me].counters = Some(counters);
        }
    }

    /// The process of a node is gone, and nothing that was for it arrives any more. See [`Death`] for what peers notice.
    pub fn leave(&mut self, id: NodeId, now: Micros, how: Death) {
        self.clock = now;
        let Some(me) = self.place(id).filter(|me| self.hosts[*me].on) else { return };
        self.ready.retain(|a| a.to != id);
        for slot in 0..self.conns.len() as u32 {
            match (how, self.conn(slot).end_of(me)) {
                (Death::Kill, Some(end)) => self.end(slot, end, None, now),
                (Death::Power, _) => self.vanish(slot, me, now),
                (Death::Kill, None) => {}
            }
        }
        let host = &mut self.hosts[me];
        (host.on, host.paused, host.counters) = (false, false, None);
        for peer in 0..self.dim {
            let link = self.link_mut(me, peer);
            (link.current, link.due) = (None, false);
            link.turn += 1;
            self.refresh(me, peer, now);
        }
    }

    /// The process of a node stands still, or goes on. Meanwhile bytes reach its kernel as far as the window allows, and
    /// peers hear nothing. What [`next`](Self::next) had ready at this very moment still comes out.
    pub fn pause(&mut self, id: NodeId, on: bool, now: Micros) {
        self.clock = now;
        let Some(me) = self.place(id).filter(|me| self.hosts[*me].on && self.hosts[*me].paused != on) else { return };
        self.hosts[me].paused = on;
        for peer in 0..self.dim {
            self.refresh(me, peer, now);
        }
        if !on {
            self.resume(me, now);
        }
    }

    fn resume(&mut self, me: usize, now: Micros) {
        for peer in 0..self.dim {
            if std::mem::take(&mut self.link_mut(me, peer).due) {
                self.dial_later(me, peer, now);
            }
            // It did not listen while it stood still, so that silence is not the peer's.
            if let Some(since) = &mut self.link_mut(peer, me).blocked {
                *since = now;
            }
        }
        for slot in 0..self.conns.len() as u32 {
            if let Some(end) = self.conn(slot).end_of(me) {
                self.release(slot, 1 - end);
                self.watch(slot, 1 - end, now);
                self.pump(slot, end, now);
            }
        }
    }

    /// A node's side of the network at this moment.
    pub fn port(&mut self, id: NodeId, now: Micros) -> Port<'_> {
        self.clock = now;
        Port::new(self, id, now)
    }

    /// When [`next`](Self::next) has something to do. It may then turn out to be nothing.
    pub fn next_at(&self) -> Option<Micros> {
        if self.ready.is_empty() { self.events.peek().map(|e| e.0.at) } else { Some(self.clock) }
    }

    /// The next arrival up to this time, if there is one. To be called until there is none.
    pub fn next(&mut self, now: Micros) -> Option<Arrival> {
        self.clock = now;
        loop {
            if let Some(arrival) = self.ready.pop_front() {
                return Some(arrival);
            }
            if self.events.peek()?.0.at > now {
                return None;
            }
            let Reverse(event) = self.events.pop()?;
            match event.what {
                What::Dial { from, to, turn } => self.dial(usize::from(from), usize::from(to), turn, now),
                What::Call { from, to, turn } => self.called(usize::from(from), usize::from(to), turn, now),
                What::Answer { from, to, turn } => self.answered(usize::from(from), usize::from(to), turn, now),
                What::Deliver { conn, generation, dir } => {
                    if self.conn(conn).generation == generation {
                        self.deliver(conn, usize::from(dir), event.at, now);
                    }
                }
                What::Silence { conn, generation, dir } => {
                    if self.conn(conn).generation == generation {
                        self.silence(conn, usize::from(dir), now);
                    }
                }
            }
        }
    }

    /// Takes a list of frames back for reuse.
    pub fn give_back(&mut self, mut frames: Vec<Frame>) {
        if self.spare.len() < 16 {
            frames.clear();
            self.spare.push(frames);
        }
    }

    /// Frames that were delivered.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The session that a node has with a peer now.
    pub fn session(&self, id: NodeId, peer: NodeId) -> Option<Session> {
        let (me, other) = (self.index(id)?, self.index(peer)?);
        let conn = self.conn(self.link(me, other).current?);
        let end = &conn.ends[conn.end_of(me)?];
        (end.state == State::Open).then_some(Session { peer, number: end.number })
    }

    // ------------------------------------------------------------------ tables

    fn index(&self, id: NodeId) -> Option<usize> {
        let i = usize::try_from(id.0).ok()?;
        (i < self.dim).then_some(i)
    }

    /// The index of a node, with room made for it. None for ids that no simulated node has.
    fn place(&mut self, id: NodeId) -> Option<usize> {
        if id.0 == 0 || id.0 >= MAX_ID {
            return None;
        }
        let i = id.0 as usize;
        if i >= self.dim {
            let (old, dim) = (self.dim, (i + 1).next_multiple_of(8));
            let mut links: Vec<Link> = std::iter::repeat_with(Link::default).take(dim * dim).collect();
            for (n, link) in self.links.drain(..).enumerate() {
                links[n / old * dim + n % old] = link;
            }
            (self.links, self.dim) = (links, dim);
            self.hosts.resize_with(dim, Host::default);
            // Nobody runs there, so no sign of life comes from there.
            for from in 0..dim {
                for to in 0..dim {
                    self.refresh(from, to, self.clock);
                }
            }
        }
        Some(i)
    }

    fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from * self.dim + to]
    }

    fn link_mut(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.dim + to]
    }

    fn conn(&self, slot: u32) -> &Conn {
        &self.conns[slot as usize]
    }

    fn conn_mut(&mut self, slot: u32) -> &mut Conn {
        &mut self.conns[slot as usize]
    }

    fn identity(&self, cluster: &str, id: NodeId, member: Member) -> Identity {
        let (cluster, protocol) = (cluster.to_owned(), self.protocol.clone());
        Identity { cluster, protocol, id, member }
    }

    fn push(&mut self, at: Micros, what: What) {
        self.order += 1;
        self.events.push(Reverse(Event { at, order: self.order, what }));
    }

    fn say(&mut self, to: usize, event: PeerEvent, sent: Micros) {
        self.ready.push_back(Arrival { to: NodeId(to as u64), event, sent });
    }

    /// Sees whether signs of life can get from one node to another, and when that has just ended, has every connection
    /// looked at in time.
    fn refresh(&mut self, from: usize, to: usize, now: Micros) {
        let host = &self.hosts[from];
        let link = &self.links[from * self.dim + to];
        let blocked = link.faults.cuts > 0 || host.paused || !host.on;
        if blocked == link.blocked.is_some() {
            return;
        }
        self.link_mut(from, to).blocked = blocked.then_some(now);
        if blocked {
            for slot in 0..self.conns.len() as u32 {
                if let Some(dir) = self.conn(slot).dir(from, to) {
                    self.watch(slot, dir, now);
                }
            }
        }
    }
}
