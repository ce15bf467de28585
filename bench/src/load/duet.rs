//! Duet's own wire as a [`Target`]: pipelined, one session per connection, every write carried out once.
//!
//! The library's [`Client`](common::client) serves one caller at a time and wakes a task per answer; this drives a whole
//! connection's clients from one task and handles all answers of one read together, because here the client must cost
//! less than what it measures. The rules are the same: a write is sent again with the same number until its outcome is
//! known, and connections follow the leader.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use common::client::wire::{Answer, Ask, Envelope, ReadMode, Request, Response, SessionId};
use common::protocol::Refusal;
use common::state_machine::kv;
use common::transport::frame::{Frame, decode_header};
use common::transport::{FramedConn, connect_client};
use common::types::{LogId, NodeId};
use tokio::time::{Instant, sleep_until};

use super::target::{Connection, Done, Failure, Op, Target};

/// How often a connection looks for operations that are late or wait to be tried again.
const CHECK: Duration = Duration::from_millis(20);
/// The same when something waits to be tried again.
const RETRY: Duration = Duration::from_millis(2);
/// With operations under way and nothing heard for so long, another node is tried.
const SILENCE: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// An operation without an answer for so long has timed out.
const PATIENCE: Duration = Duration::from_secs(10);
/// The number of the request that opens a session; operations count from 0.
const OPEN: u64 = u64::MAX;
/// How many writes of one session may lie between the oldest under way and the newest.
const WINDOW: u64 = 4000;

/// A cluster of Duet nodes, and which of them to use.
#[derive(Clone, Debug)]
pub struct DuetTarget {
    nodes: Rc<Nodes>,
    first: usize,
    spread: bool,
}

#[derive(Debug)]
struct Nodes {
    addrs: Vec<String>,
    /// Which address belongs to whom, as learnt when connecting.
    known: RefCell<BTreeMap<NodeId, usize>>,
}

impl DuetTarget {
    /// All connections go to the leader, or to whichever node answers until one is known. `addrs` is not empty.
    pub fn leader(addrs: &[String]) -> Self {
        Self::new(addrs, 0, false)
    }

    /// Connections are spread over the nodes and stay there.
    pub fn spread(addrs: &[String]) -> Self {
        Self::new(addrs, 0, true)
    }

    fn new(addrs: &[String], first: usize, spread: bool) -> Self {
        let nodes = Nodes { addrs: addrs.to_vec(), known: RefCell::default() };
        Self { nodes: Rc::new(nodes), first, spread }
    }

    /// Starts with the node at this address, if it is one of the target's.
    #[must_use]
    pub fn starting_with(mut self, addr: &str) -> Self {
        self.first = self.nodes.addrs.iter().position(|a| a == addr).unwrap_or(self.first);
        self
    }
}

impl Target for DuetTarget {
    type Conn = DuetConn;

    fn open(&self, n: usize) -> DuetConn {
        let node = if self.spread { n % self.nodes.addrs.len() } else { self.first };
        DuetConn {
            nodes: self.nodes.clone(),
            node,
            link: None,
            frames: Vec::new(),
            session: Session::default(),
            pending: Vec::new(),
            unsent: VecDeque::new(),
            again: Vec::new(),
            under_way: 0,
            refused: 0,
            heard: Instant::now(),
            check: Box::pin(sleep_until(Instant::now())),
        }
    }
}

/// The session of a connection, and which of its numbers are still under way.
#[derive(Debug, Default)]
struct Session {
    id: Option<SessionId>,
    opening: bool,
    /// The lowest number not yet answered, and for it and those after it whether they are under way.
    floor: u64,
    open: VecDeque<bool>,
}

impl Session {
    fn start(id: SessionId) -> Self {
        Self { id: Some(id), opening: false, floor: 1, open: VecDeque::new() }
    }

    /// The next number, unless too many lie between it and the oldest under way.
    fn next(&mut self) -> Option<u64> {
        if self.open.len() as u64 >= WINDOW {
            return None;
        }
        self.open.push_back(true);
        Some(self.floor + self.open.len() as u64 - 1)
    }

    fn answered(&mut self, seq: u64) {
        if let Some(open) = seq.checked_sub(self.floor).and_then(|i| self.open.get_mut(i as usize)) {
            *open = false;
        }
        while self.open.front() == Some(&false) {
            self.open.pop_front();
            self.floor += 1;
        }
    }
}

/// An operation under way.
#[derive(Debug)]
struct Pending {
    op: Op,
    /// The write's number in the session, once it was sent.
    seq: Option<u64>,
    since: Instant,
    /// How often it was sent: answers to earlier times are not taken for the last one's.
    sends: u32,
}

/// What a connection was woken by; whether it went well.
enum Event {
    Written(bool),
    Read(bool),
    Check,
}

/// One connection to a cluster.
#[derive(Debug)]
pub struct DuetConn {
    nodes: Rc<Nodes>,
    node: usize,
    link: Option<FramedConn>,
    frames: Vec<Frame>,
    session: Session,
    /// By tag.
    pending: Vec<Option<Pending>>,
    /// To be sent as soon as there is a link (and, for writes, a session).
    unsent: VecDeque<u32>,
    /// To be tried again at the next check.
    again: Vec<u32>,
    under_way: usize,
    /// Connections in a row that could not be made.
    refused: usize,
    heard: Instant,
    check: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl Connection for DuetConn {
    fn submit(&mut self, tag: u32, op: Op) {
        let slot = tag as usize;
        if self.pending.len() <= slot {
            self.pending.resize_with(slot + 1, || None);
        }
        let now = Instant::now();
        if self.under_way == 0 {
            self.heard = now;
        }
        self.pending[slot] = Some(Pending { op, seq: None, since: now, sends: 0 });
        self.under_way += 1;
        self.unsent.push_back(tag);
    }

    async fn wait(&mut self, done: &mut Vec<Done>) {
        // Nothing is awaited between the first end that is put into `done` and the return.
        while done.is_empty() {
            let Some(link) = &mut self.link else {
                self.connect(done).await;
                continue;
            };
            if pump(link, &mut self.session, &mut self.pending, &mut self.unsent).is_err() {
                self.lose();
                continue;
            }
            let pending = link.writer.pending() > 0;
            let event = tokio::select! {
                biased;
                written = link.writer.flush(), if pending => Event::Written(written.is_ok()),
                read = link.reader.read(&mut self.frames) => Event::Read(read.is_ok()),
                () = &mut self.check => Event::Check,
            };
            match event {
                Event::Written(true) => {}
                Event::Written(false) => self.lose(),
                Event::Read(fine) => {
                    self.heard = Instant::now();
                    let mut frames = std::mem::take(&mut self.frames);
                    for frame in frames.drain(..) {
                        self.answer(&frame, done);
                    }
                    self.frames = frames;
                    if !fine {
                        self.lose();
                    }
                }
                Event::Check => self.look_after(done),
            }
        }
    }
}

impl DuetConn {
    /// Connects to the node in turn; when that fails, the next one is in turn.
    async fn connect(&mut self, done: &mut Vec<Done>) {
        let addr = &self.nodes.addrs[self.node];
        if let Ok(link) = connect_client(addr, "", CONNECT).await {
            self.nodes.known.borrow_mut().insert(link.welcome.node, self.node);
            self.link = Some(link);
            self.heard = Instant::now();
            self.refused = 0;
            self.session.opening = false;
            self.again.clear();
            // In the order of their numbers, so that the server sees them as it did the first time.
            let number = |t: &u32| self.pending[*t as usize].as_ref().map(|p| p.seq.unwrap_or(u64::MAX));
            let mut tags: Vec<u32> = (0..self.pending.len() as u32).filter(|t| number(t).is_some()).collect();
            tags.sort_by_key(number);
            self.unsent = tags.into();
            return;
        }
        self.node = (self.node + 1) % self.nodes.addrs.len();
        self.refused += 1;
        // A pause only when all have been tried.
        if self.refused.is_multiple_of(self.nodes.addrs.len()) {
            self.check.as_mut().await;
            self.look_after(done);
        }
    }

    /// Gives the link up; the next node is in turn.
    fn lose(&mut self) {
        self.link = None;
        self.node = (self.node + 1) % self.nodes.addrs.len();
    }

    /// Ends what is late, tries again what was put off, and leaves a node that says nothing.
    fn look_after(&mut self, done: &mut Vec<Done>) {
        let now = Instant::now();
        self.unsent.extend(self.again.drain(..));
        if self.under_way > 0 && now - self.heard > SILENCE && self.link.is_some() {
            self.lose();
        }
        for tag in 0..self.pending.len() as u32 {
            let late = self.pending[tag as usize].as_ref().is_some_and(|p| now - p.since > PATIENCE);
            if late {
                self.unsent.retain(|t| *t != tag);
                self.end(tag, Err(Failure::TimedOut), done);
            }
        }
        self.check.as_mut().reset(now + CHECK);
    }

    fn end(&mut self, tag: u32, end: Result<Option<Bytes>, Failure>, done: &mut Vec<Done>) {
        if let Some(pending) = self.pending.get_mut(tag as usize).and_then(Option::take) {
            if let Some(seq) = pending.seq {
                self.session.answered(seq);
            }
            self.under_way -= 1;
            done.push(Done { tag, end });
        }
    }

    fn put_off(&mut self, tag: u32) {
        if self.again.is_empty() {
            self.check.as_mut().reset(Instant::now() + RETRY);
        }
        self.again.push(tag);
    }

    fn answer(&mut self, frame: &Frame, done: &mut Vec<Done>) {
        let Ok(Response { id, answer }) = decode_header::<Response>(&frame.header) else {
            self.lose();
            return;
        };
        if id == OPEN {
            return self.opened(&answer);
        }
        let tag = id as u32;
        let current = self.pending.get(tag as usize).and_then(Option::as_ref);
        let Some(pending) = current.filter(|p| u64::from(p.sends) == id >> 32) else {
            return;
        };
        let writing = matches!(pending.op, Op::Write { .. });
        match answer {
            Answer::Written { .. } | Answer::Forgotten { .. } if writing => {
                let fine = frame.body.is_empty() || matches!(kv::Answer::decode(&frame.body), Ok(kv::Answer::Done));
                self.end(tag, if fine { Ok(None) } else { Err(Failure::WrongAnswer) }, done);
            }
            Answer::Read { .. } if !writing => {
                let end = match kv::Answer::decode(&frame.body) {
                    Ok(kv::Answer::Value { value }) => Ok(value.map(Bytes::copy_from_slice)),
                    _ => Err(Failure::WrongAnswer),
                };
                self.end(tag, end, done);
            }
            Answer::Refused(Refusal::NotLeader { leader }) => self.follow(tag, leader),
            Answer::Refused(Refusal::Busy | Refusal::LeaderChanged) | Answer::Unknown => self.put_off(tag),
            Answer::Refused(Refusal::Unsupported(_)) => self.end(tag, Err(Failure::Refused), done),
            Answer::NoSession => self.session_lost(done),
            _ => self.end(tag, Err(Failure::WrongAnswer), done),
        }
    }

    fn opened(&mut self, answer: &Answer) {
        self.session.opening = false;
        match answer {
            Answer::Written { at } => self.session = Session::start(SessionId(*at)),
            Answer::Refused(Refusal::NotLeader { leader: Some(leader) }) => self.turn_to(*leader),
            // Opened again by the next pump, which comes with the next check at the latest.
            _ => {}
        }
    }

    /// This node does not lead: goes to the one that does, or waits until there is one.
    fn follow(&mut self, tag: u32, leader: Option<NodeId>) {
        self.put_off(tag);
        if let Some(leader) = leader {
            self.turn_to(leader);
        }
    }

    fn turn_to(&mut self, leader: NodeId) {
        let place = self.nodes.known.borrow().get(&leader).copied();
        match place {
            Some(place) if place != self.node => {
                self.node = place;
                self.link = None;
            }
            Some(_) => {}
            // Never met: the next one may be it.
            None => self.lose(),
        }
    }

    /// The server forgot the session, so nobody knows what became of the writes under way.
    fn session_lost(&mut self, done: &mut Vec<Done>) {
        for tag in 0..self.pending.len() as u32 {
            if self.pending[tag as usize].as_ref().is_some_and(|p| p.seq.is_some()) {
                self.end(tag, Err(Failure::SessionLost), done);
            }
        }
        self.session = Session::default();
    }
}

/// Queues on the link what can be sent now. Err when a frame cannot be written at all.
fn pump(
    link: &mut FramedConn,
    session: &mut Session,
    pending: &mut [Option<Pending>],
    unsent: &mut VecDeque<u32>,
) -> Result<(), ()> {
    let mut put_back = VecDeque::new();
    while let Some(tag) = unsent.pop_front() {
        let Some(p) = pending[tag as usize].as_mut() else { continue };
        let (ask, body) = match &p.op {
            Op::Read { key, linearizable } => {
                let mode = if *linearizable { ReadMode::Linearizable } else { ReadMode::Local };
                (Ask::Read { mode, at_least: LogId::ZERO }, kv::Query::Get { key }.to_bytes())
            }
            Op::Write { key, value } => {
                let Some(id) = session.id else {
                    if !std::mem::replace(&mut session.opening, true) {
                        let request = Request { id: OPEN, ask: Ask::Write };
                        link.writer.push(&request, &envelope(Envelope::Open, key, value)).map_err(drop)?;
                    }
                    put_back.push_back(tag);
                    continue;
                };
                let Some(seq) = p.seq.or_else(|| session.next()) else {
                    put_back.push_back(tag);
                    continue;
                };
                p.seq = Some(seq);
                (Ask::Write, envelope(Envelope::Write { session: id, seq, floor: session.floor }, key, value))
            }
        };
        p.sends += 1;
        let request = Request { id: u64::from(tag) | u64::from(p.sends) << 32, ask };
        link.writer.push(&request, &body).map_err(drop)?;
    }
    *unsent = put_back;
    Ok(())
}

/// The body of a write: the envelope, then the command, in one allocation.
fn envelope(envelope: Envelope, key: &[u8], value: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + key.len() + value.len()).writer();
    // Writing to memory cannot fail, and the values have nothing that postcard refuses.
    let _ = postcard::to_io(&envelope, &mut out);
    if envelope != Envelope::Open {
        let _ = postcard::to_io(&kv::Command::Put { key, value }, &mut out);
    }
    out.into_inner().freeze()
}
