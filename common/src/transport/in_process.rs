//! The same links between nodes of one process, without sockets: for tests, examples and measurements of everything but
//! the network. Sessions, their order and their limits are those of [`peers`](super::peers); links can be cut and healed.
//!
//! What is cut loses the frames that were not yet delivered, as a broken connection does: a protocol that passes its
//! tests only because cut links deliver would fail on the first real partition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::frame::{Frame, FrameError, FrameLimits, PREFIX};
use super::link::QueueLimits;
use super::{DownReason, Network, PeerEvent, Session, channel};
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::types::{Member, NodeId};

/// After a session ended by itself, before the next one begins.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the nodes of one process meet. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Switchboard {
    board: Arc<Mutex<Board>>,
}

#[derive(Debug)]
struct Board {
    frame: FrameLimits,
    queue: QueueLimits,
    events: usize,
    nodes: BTreeMap<NodeId, Place>,
    /// Pairs, smaller id first.
    cut: BTreeSet<(NodeId, NodeId)>,
    sessions: BTreeMap<(NodeId, NodeId), u64>,
    /// Of the last session, or the last node to join.
    number: u64,
}

/// A node and what waits for it.
#[derive(Debug)]
struct Place {
    joined: u64,
    member: Member,
    /// Whom it calls although it observes as they do.
    sources: Vec<NodeId>,
    inbox: VecDeque<PeerEvent>,
    /// Of each peer's frames in the inbox.
    waiting: BTreeMap<NodeId, QueueLimits>,
    wake: Arc<Notify>,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

fn bytes_of(frame: &Frame) -> usize {
    PREFIX + frame.header.len() + frame.body.len()
}

impl Place {
    fn put(&mut self, event: PeerEvent) {
        if let PeerEvent::Frames { session, frames } = &event {
            let waiting = self.waiting.entry(session.peer).or_insert(QueueLimits { bytes: 0, frames: 0 });
            waiting.bytes += frames.iter().map(bytes_of).sum::<usize>();
            waiting.frames += frames.len();
        }
        self.inbox.push_back(event);
        self.wake.notify_one();
    }

    fn take(&mut self) -> Option<PeerEvent> {
        let event = self.inbox.pop_front();
        if let Some(PeerEvent::Frames { session, frames }) = &event
            && let Some(waiting) = self.waiting.get_mut(&session.peer)
        {
            waiting.bytes -= frames.iter().map(bytes_of).sum::<usize>();
            waiting.frames -= frames.len();
        }
        event
    }

    /// The session with `session.peer` is over: what it had still to deliver is lost. A session of which nothing was
    /// delivered leaves no trace, so links that come and go do not fill the inbox of a node that stands still.
    fn down(&mut self, session: Session, reason: DownReason) {
        let mut begun = true;
        self.inbox.retain(|event| match event {
            PeerEvent::Frames { session: s, .. } => *s != session,
            PeerEvent::Up { session: s, .. } if *s == session => {
                begun = false;
                false
            }
            _ => true,
        });
        self.waiting.remove(&session.peer);
        if begun {
            self.put(PeerEvent::Down { session, reason });
        }
    }
}

impl Board {
    fn connect(&mut self, a: NodeId, b: NodeId) {
        let key = pair(a, b);
        let (Some(at_a), Some(at_b)) = (self.nodes.get(&a), self.nodes.get(&b)) else { return };
        let (of_a, of_b) = (at_a.member, at_b.member);
        let called = at_a.sources.contains(&b) || at_b.sources.contains(&a);
        let strangers = of_a == Member::Observer && of_b == Member::Observer && !called;
        if a == b || strangers || self.cut.contains(&key) || self.sessions.contains_key(&key) {
            return;
        }
        self.number += 1;
        let number = self.number;
        self.sessions.insert(key, number);
        for (at, peer, member) in [(a, b, of_b), (b, a, of_a)] {
            if let Some(place) = self.nodes.get_mut(&at) {
                place.put(PeerEvent::Up { session: Session { peer, number }, member });
            }
        }
    }

    /// Ends the session of `a` and `b`, if there is one; `at_a` and `at_b` are what they are told.
    fn end(&mut self, a: NodeId, b: NodeId, at_a: DownReason, at_b: DownReason) {
        let Some(number) = self.sessions.remove(&pair(a, b)) else { return };
        for (at, peer, reason) in [(a, b, at_a), (b, a, at_b)] {
            if let Some(place) = self.nodes.get_mut(&at) {
                place.down(Session { peer, number }, reason);
            }
        }
    }

    fn leave(&mut self, id: NodeId) {
        let peers: Vec<NodeId> = self.nodes.keys().copied().collect();
        for peer in peers {
            self.end(id, peer, DownReason::Closed, DownReason::Closed);
        }
        if let Some(place) = self.nodes.remove(&id) {
            place.wake.notify_one();
        }
    }
}

impl Switchboard {
    /// A switchboard without nodes. `events` is how many events may wait in a node's receiver; `queue` limits what
    /// waits for one node from one peer beyond that.
    pub fn new(frame: FrameLimits, queue: QueueLimits, events: usize) -> Self {
        let (nodes, cut, sessions) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let board = Board { frame, queue, events: events.max(1), nodes, cut, sessions, number: 0 };
        Self { board: Arc::new(Mutex::new(board)) }
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a node; sessions with everyone it may talk to begin: of two observers, if one is among the other's `sources`. If
    /// the id is there already, that node's links and its receiver end first. Must be called within a tokio runtime.
    pub fn join(
        &self,
        id: NodeId,
        member: Member,
        sources: &[NodeId],
        counters: Arc<Counters>,
    ) -> (InProcess, mpsc::Receiver<PeerEvent>) {
        let mut board = self.lock();
        board.leave(id);
        board.number += 1;
        let joined = board.number;
        let wake = Arc::new(Notify::new());
        let (inbox, waiting) = (VecDeque::new(), BTreeMap::new());
        let place = Place { joined, member, sources: sources.to_vec(), inbox, waiting, wake: Arc::clone(&wake) };
        board.nodes.insert(id, place);
        let peers: Vec<NodeId> = board.nodes.keys().copied().collect();
        for peer in peers {
            board.connect(id, peer);
        }
        let (events, receiver) = mpsc::channel(board.events);
        let frame = board.frame;
        drop(board);
        tokio::spawn(deliver(self.clone(), id, joined, wake, events, Arc::clone(&counters)));
        (InProcess { switchboard: self.clone(), id, joined, frame, counters, pending: Vec::new() }, receiver)
    }

    /// Cuts the link between two nodes: both see the session end, and what was on its way is lost.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        let mut board = self.lock();
        board.cut.insert(pair(a, b));
        board.end(a, b, DownReason::Cut, DownReason::Cut);
    }

    /// Heals a cut link: a new session begins if both nodes are there.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        let mut board = self.lock();
        board.cut.remove(&pair(a, b));
        board.connect(a, b);
    }

    /// Ends a session and begins a new one a little later, as a dialler does.
    fn renew(&self, a: NodeId, b: NodeId, at_a: DownReason, at_b: DownReason) {
        self.lock().end(a, b, at_a, at_b);
        let again = self.clone();
        tokio::spawn(async move {
            sleep(PAUSE).await;
            again.lock().connect(a, b);
        });
    }
}

/// Moves events from a node's inbox to its receiver, as fast as that takes them.
async fn deliver(
    switchboard: Switchboard,
    id: NodeId,
    joined: u64,
    wake: Arc<Notify>,
    events: mpsc::Sender<PeerEvent>,
    counters: Arc<Counters>,
) {
    while let Ok(permit) = events.reserve().await {
        let event = loop {
            match switchboard.lock().nodes.get_mut(&id) {
                Some(place) if place.joined == joined => {
                    if let Some(event) = place.take() {
                        break event;
                    }
                }
                _ => return,
            }
            wake.notified().await;
        };
        if let PeerEvent::Frames { frames, .. } = &event {
            let of_protocol = frames.iter().filter(|f| f.channel == channel::PROTOCOL).count();
            counters.messages_received.add(of_protocol as u64);
            counters.peer_bytes_received.add(frames.iter().map(bytes_of).sum::<usize>() as u64);
        }
        permit.send(event);
    }
}

/// A node's place at the [`Switchboard`]. Dropping it is leaving: its peers see their sessions end.
#[derive(Debug)]
pub struct InProcess {
    switchboard: Switchboard,
    id: NodeId,
    joined: u64,
    frame: FrameLimits,
    counters: Arc<Counters>,
    /// Since the last flush.
    pending: Vec<(Session, Vec<Frame>)>,
}

impl InProcess {
    fn frame<H: Serialize + ?Sized>(&self, channel: u8, header: &H, body: &Bytes) -> Result<Frame, FrameError> {
        let header = Bytes::from(postcard::to_extend(header, Vec::with_capacity(64))?);
        let (found, FrameLimits { max_frame, max_header, .. }) = (header.len() as u64, self.frame);
        if found > u64::from(max_header) {
            return Err(FrameError::HeaderTooLarge { found, limit: max_header });
        }
        let frame = Frame { channel, header, body: body.clone() };
        let found = bytes_of(&frame) as u64;
        if found > u64::from(max_frame) {
            return Err(FrameError::TooLarge { found, limit: max_frame });
        }
        Ok(frame)
    }

    /// Whether the session is this node's present one with that peer.
    fn is_up(&self, board: &Board, session: Session) -> bool {
        board.sessions.get(&pair(self.id, session.peer)) == Some(&session.number)
            && board.nodes.get(&self.id).is_some_and(|p| p.joined == self.joined)
    }
}

impl Network for InProcess {
    fn send<H: Serialize + ?Sized>(&mut self, to: Session, channel: u8, header: &H, body: &Bytes) {
        match self.frame(channel, header, body) {
            Ok(frame) => match self.pending.iter_mut().find(|(s, _)| *s == to) {
                Some((_, frames)) => frames.push(frame),
                None => self.pending.push((to, vec![frame])),
            },
            Err(error) => {
                tracing::error!(%error, "a message that cannot be sent");
                self.pending.retain(|(s, _)| *s != to);
                if self.is_up(&self.switchboard.lock(), to) {
                    self.switchboard.renew(self.id, to.peer, DownReason::Unsendable(error), DownReason::Closed);
                }
            }
        }
    }

    fn flush(&mut self) {
        let mut full = Vec::new();
        let mut guard = self.switchboard.lock();
        let board = &mut *guard;
        let QueueLimits { bytes, frames: most } = board.queue;
        for (session, frames) in std::mem::take(&mut self.pending) {
            if !self.is_up(board, session) {
                continue;
            }
            let Some(place) = board.nodes.get_mut(&session.peer) else { continue };
            let waiting = place.waiting.get(&self.id).copied().unwrap_or(QueueLimits { bytes: 0, frames: 0 });
            let size = frames.iter().map(bytes_of).sum::<usize>();
            if waiting.bytes + size > bytes || waiting.frames + frames.len() > most {
                full.push(session.peer);
                continue;
            }
            self.counters.peer_writes.add(1);
            self.counters.peer_bytes_sent.add(size as u64);
            let of_protocol = frames.iter().filter(|f| f.channel == channel::PROTOCOL).count();
            self.counters.messages_sent.add(of_protocol as u64);
            place.put(PeerEvent::Frames { session: Session { peer: self.id, number: session.number }, frames });
        }
        drop(guard);
        for peer in full {
            self.counters.queue_overflows.add(1);
            let reason = DownReason::Overflow { bytes, frames: most };
            self.switchboard.renew(self.id, peer, reason, DownReason::Closed);
        }
    }

    fn members(&mut self, membership: &Membership) {
        let member = membership.member(self.id);
        let mut board = self.switchboard.lock();
        match board.nodes.get_mut(&self.id).filter(|p| p.joined == self.joined && p.member != member) {
            Some(place) => place.member = member,
            None => return,
        }
        let peers: Vec<NodeId> = board.nodes.keys().copied().collect();
        for peer in peers {
            board.connect(self.id, peer);
        }
    }

    fn disconnect(&mut self, session: Session, reason: &'static str) {
        if self.is_up(&self.switchboard.lock(), session) {
            self.switchboard.renew(self.id, session.peer, DownReason::Disconnected(reason), DownReason::Closed);
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let mut board = self.switchboard.lock();
        if board.nodes.get(&self.id).is_some_and(|p| p.joined == self.joined) {
            board.leave(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::frame::decode_header;

    const QUEUE: QueueLimits = QueueLimits { bytes: 1 << 20, frames: 1000 };

    struct Node {
        net: InProcess,
        events: mpsc::Receiver<PeerEvent>,
    }

    fn join(board: &Switchboard, id: u64, member: Member) -> Node {
        let (net, events) = board.join(NodeId(id), member, &[], Arc::default());
        Node { net, events }
    }

    impl Node {
        async fn up(&mut self) -> Session {
            match self.events.recv().await {
                Some(PeerEvent::Up { session, .. }) => session,
                other => panic!("Up, not {other:?}"),
            }
        }

        async fn down(&mut self) -> (Session, DownReason) {
            match self.events.recv().await {
                Some(PeerEvent::Down { session, reason }) => (session, reason),
                other => panic!("Down, not {other:?}"),
            }
        }

        fn say(&mut self, to: Session, numbers: impl Iterator<Item = u64>) {
            for n in numbers {
                self.net.send(to, channel::PROTOCOL, &n, &Bytes::new());
            }
        }

        async fn numbers(&mut self, n: usize) -> Vec<u64> {
            let mut all = Vec::new();
            while all.len() < n {
                match self.events.recv().await {
                    Some(PeerEvent::Frames { frames, .. }) => {
                        all.extend(frames.iter().map(|f| decode_header::<u64>(&f.header).unwrap()));
                    }
                    other => panic!("Frames, not {other:?}"),
                }
            }
            all
        }
    }

    #[tokio::test]
    async fn links_are_fifo_and_can_be_cut_and_healed() {
        let board = Switchboard::new(FrameLimits::PEER, QUEUE, 2);
        let (mut a, mut b) = (join(&board, 1, Member::Voter), join(&board, 2, Member::Voter));
        let (to_b, to_a) = (a.up().await, b.up().await);
        for part in 0..100 {
            a.say(to_b, part * 10..part * 10 + 10);
            a.net.flush();
        }
        assert!(b.numbers(1000).await.into_iter().eq(0..1000));

        // Frames that were not flushed or not delivered are lost with the cut, and the next session starts empty.
        b.say(to_a, 0..5);
        b.net.flush();
        a.say(to_b, 0..5);
        board.cut(NodeId(2), NodeId(1));
        a.net.flush();
        assert_eq!(a.down().await, (to_b, DownReason::Cut));
        assert_eq!(b.down().await, (to_a, DownReason::Cut));
        board.heal(NodeId(1), NodeId(2));
        let (again, to_a) = (a.up().await, b.up().await);
        assert!(again.number > to_b.number && again.number == to_a.number);
        a.say(to_b, 6..7);
        a.say(again, 7..9);
        a.net.flush();
        assert_eq!(b.numbers(2).await, [7, 8]);
    }

    #[tokio::test]
    async fn nodes_leave_come_back_and_observers_ignore_each_other() {
        let board = Switchboard::new(FrameLimits::PEER, QUEUE, 8);
        let mut a = join(&board, 1, Member::Voter);
        let (mut x, mut y) = (join(&board, 8, Member::Observer), join(&board, 9, Member::Observer));
        let (to_x, _) = (a.up().await, a.up().await);
        assert_eq!((to_x.peer, x.up().await.peer, y.up().await.peer), (NodeId(8), NodeId(1), NodeId(1)));
        drop(x.net);
        assert_eq!(a.down().await, (to_x, DownReason::Closed));
        assert!(x.events.recv().await.is_none());
        // A second node 8 while the first is still there takes its place.
        let first = join(&board, 8, Member::Observer);
        a.up().await;
        let mut second = join(&board, 8, Member::Observer);
        a.down().await;
        let to_second = a.up().await;
        drop(first);
        let to_a = second.up().await;
        second.say(to_a, 3..4);
        second.net.flush();
        assert_eq!(a.numbers(1).await, [3], "{to_second} outlives the first one's end");
    }

    /// 8 and 9 observe; 8 is promoted, and is demoted again.
    #[tokio::test]
    async fn who_is_promoted_gets_sessions_with_observers_and_keeps_them() {
        let board = Switchboard::new(FrameLimits::PEER, QUEUE, 8);
        let (mut x, mut y) = (join(&board, 8, Member::Observer), join(&board, 9, Member::Observer));
        let of = |voters: &[u64]| Membership::of_ids(voters.iter().copied().map(NodeId));
        x.net.members(&of(&[1, 2]));
        x.net.members(&of(&[1, 8]));
        let (to_y, to_x) = (x.up().await, y.up().await);
        assert_eq!((to_y.peer, to_x.peer), (NodeId(9), NodeId(8)));
        x.net.members(&of(&[1, 2]));
        y.net.members(&of(&[1, 2]));
        x.say(to_y, 5..6);
        x.net.flush();
        assert_eq!(y.numbers(1).await, [5], "nothing is cut");
        // But two observers are not connected again.
        drop(x.net);
        assert_eq!(y.down().await, (to_x, DownReason::Closed));
        let mut x = join(&board, 8, Member::Observer);
        let mut a = join(&board, 1, Member::Voter);
        assert_eq!((x.up().await.peer, y.up().await.peer), (NodeId(1), NodeId(1)));
        assert_eq!([a.up().await.peer, a.up().await.peer], [NodeId(8), NodeId(9)]);
    }

    #[tokio::test]
    async fn overflow_and_disconnect_renew_the_session() {
        let board = Switchboard::new(FrameLimits::PEER, QUEUE, 8);
        let (mut a, mut b) = (join(&board, 1, Member::Voter), join(&board, 2, Member::Voter));
        let (to_b, to_a) = (a.up().await, b.up().await);
        a.say(to_b, 0..1001);
        a.net.flush();
        assert_eq!(a.down().await, (to_b, DownReason::Overflow { bytes: QUEUE.bytes, frames: QUEUE.frames }));
        assert_eq!(b.down().await, (to_a, DownReason::Closed));
        let (to_b, to_a) = (a.up().await, b.up().await);
        b.net.disconnect(to_a, "it lied");
        assert_eq!(b.down().await, (to_a, DownReason::Disconnected("it lied")));
        assert_eq!(a.down().await, (to_b, DownReason::Closed));
        let (to_b, _) = (a.up().await, b.up().await);
        a.net.send(to_b, 0, &0u64, &Bytes::from(vec![0; FrameLimits::PEER.max_frame as usize]));
        assert!(matches!(a.down().await.1, DownReason::Unsendable(FrameError::TooLarge { .. })));
    }
}
