//! Simulated clients: they ask, ask again, ask twice, lose connections and patience, and remember everything.
//!
//! They keep the rules of the [client that ships](crate::client): a write keeps its `(session, seq)` through all retries;
//! it counts as not done only if every attempt was refused; the floor passes a number only when its write has an
//! outcome or was given up. Beyond that they do what makes life hard for a cluster: they leave late answers coming on old
//! connections, send a write to two nodes at once, open sessions they hardly use, and now and then send what is no request.
//!
//! All answers, also those nobody waits for any more, are judged at once by a [`Witness`]; what happened seen from outside
//! is kept as a [`History`].

mod answers;
mod ask;
pub mod history;
mod send;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;

use self::ask::{Aside, exponential};
use self::history::{Action, DEPTH_MAX, History, Value, key_name};
use super::plan::LoadShape;
use super::stream::Streams;
use super::witness::{Verdict, Witness};
use crate::client::wire::{ReadMode, SessionId};
use crate::entries::Entries;
use crate::state_machine::SessionLimits;
use crate::state_machine::kv::KvLimits;
use crate::types::{LogId, Micros, NodeId};

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAct {
    /// Begins a connection to a node, under a number that is never used again. What is sent before it stands waits.
    Connect {
        /// Its number.
        conn: u64,
        /// To whom.
        node: NodeId,
    },
    /// Sends a frame.
    Send {
        /// On which connection.
        conn: u64,
        /// A postcard [`Request`](crate::client::wire::Request), or what should be one.
        header: Bytes,
        /// The frame's body.
        body: Bytes,
    },
    /// Ends a connection. Nothing more is sent on it; what still comes is not looked at.
    Close {
        /// Which.
        conn: u64,
    },
}

/// What came of what was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations that were answered and checked.
    pub answered: u64,
    /// Operations that were refused and given up.
    pub failed: u64,
    /// Operations whose outcome stayed unknown.
    pub unknown: u64,
    /// Attempts.
    pub sent: u64,
    /// Answers that came after their operation had its outcome.
    pub late: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Local reads of which the node said how stale they are at most, and the sum of that in microseconds.
    pub bounded: u64,
    /// Likewise.
    pub bounds_us: u64,
}

/// An operation.
#[derive(Debug)]
struct Op {
    /// Of its client, from 1.
    number: u64,
    what: What,
    /// The command or query.
    bytes: Bytes,
    /// Whether the first attempt goes to two nodes at once.
    twice: bool,
    /// The write's name, from its first attempt on.
    name: Option<(SessionId, u64)>,
    /// Under that name.
    sent: u32,
    refused: u32,
    /// Attempts in all.
    tries: u32,
    /// What its place must be after.
    horizon: LogId,
    /// The last attempt, as long as it is waited for.
    last: Option<u64>,
    /// Waits for the session.
    waits: bool,
    /// Who leads, by the last refusal.
    hint: Option<NodeId>,
}

impl Op {
    fn new(number: u64, what: What, bytes: Bytes, twice: bool) -> Self {
        Self {
            number,
            what,
            bytes,
            twice,
            name: None,
            sent: 0,
            refused: 0,
            tries: 0,
            horizon: LogId::ZERO,
            last: None,
            waits: false,
            hint: None,
        }
    }

    /// How fresh, if it is a read.
    fn mode(&self) -> Option<ReadMode> {
        match self.what {
            What::Known { action: Action::Get { mode }, .. } => Some(mode),
            What::Known { .. } | What::Strange => None,
        }
    }

    /// Whether some attempt of the write may be in a log.
    fn maybe(&self) -> bool {
        self.refused < self.sent
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Known {
        action: Action,
        key: u32,
        record: Option<usize>,
    },
    /// A write that changes nothing: over a limit, or no command.
    Strange,
}

#[derive(Debug)]
enum Opened {
    /// By this request.
    Opening(Option<u64>),
    /// And the next number.
    Open(SessionId, u64),
}

#[derive(Debug)]
struct Client {
    /// Operations under way at a time, at most.
    depth: usize,
    /// Operations begun.
    asked: u64,
    ops: Vec<Op>,
    session: Option<Opened>,
    /// Sessions asked for.
    opens: u64,
    /// The highest place it knows.
    seen: LogId,
    /// Where it asks first.
    home: NodeId,
    /// One for each node at most.
    conns: Vec<(NodeId, u64)>,
    /// It wanted to ask and had too much under way.
    owes: bool,
}

#[derive(Debug)]
struct Conn {
    client: usize,
    /// Not answered.
    requests: Vec<u64>,
}

/// A request under way.
#[derive(Debug)]
struct Attempt {
    conn: u64,
    client: usize,
    /// [`Witness::horizon`] as its answer must respect it.
    horizon: LogId,
    /// When it was sent.
    sent: Micros,
    ask: Asked,
}

#[derive(Debug)]
enum Asked {
    Open,
    Write { op: u64, session: SessionId, seq: u64 },
    Read { op: u64, mode: ReadMode, key: u32, at_least: LogId },
    Aside { aside: Aside, at_least: LogId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client wants to ask something.
    Think { client: usize },
    /// It has room for what it wanted to ask before.
    Owed { client: usize },
    /// An operation is tried again.
    Retry { client: usize, op: u64 },
    /// The session is asked for again.
    Reopen { client: usize },
    /// An attempt has had its time.
    TimeOut { request: u64 },
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    at: LogId,
    value: Option<Value>,
    before: Option<Value>,
}

/// All clients of a world. See the [module](self).
#[derive(Debug)]
pub struct Clients {
    streams: Streams,
    shape: LoadShape,
    nodes: Vec<NodeId>,
    window: u64,
    /// So many draws are made for a key, and the least is taken: 1 is uniform.
    skew: u64,
    keys: Vec<String>,
    people: Vec<Client>,
    conns: BTreeMap<u64, Conn>,
    requests: BTreeMap<u64, Attempt>,
    next_conn: u64,
    next_request: u64,
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    next_event: u64,
    now: Micros,
    quiet: bool,
    quiet_since: Micros,
    known: BTreeMap<u32, Known>,
    oversize: Bytes,
    witness: Witness,
    history: History,
    tally: Tally,
    /// Microseconds that the slowest clock counts in a thousand.
    slowest: u64,
}

impl Clients {
    /// Clients that ask `nodes` (not empty) from time zero on. The nodes' session tables have these limits.
    pub fn new(streams: Streams, shape: LoadShape, nodes: &[NodeId], limits: SessionLimits) -> Self {
        let shape = LoadShape { keys: shape.keys.max(1), per_second: shape.per_second.max(1), ..shape };
        let mut all = Self {
            streams,
            shape,
            nodes: nodes.to_vec(),
            window: limits.window,
            skew: 1 + streams.draw("skew", [0; 3]) % 3,
            keys: (0..shape.keys as u32).map(key_name).collect(),
            people: Vec::new(),
            conns: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_conn: 1,
            next_request: 1,
            events: BinaryHeap::new(),
            next_event: 0,
            now: Micros(0),
            quiet: false,
            quiet_since: Micros::default(),
            known: BTreeMap::new(),
            oversize: Bytes::new(),
            witness: Witness::new(limits, KvLimits::default()),
            history: History::new(0),
            tally: Tally::default(),
            slowest: 1000,
        };
        for i in 0..shape.clients {
            let mut rng = streams.rng("client", [i, 0, 0]);
            let depth = if rng.between(0, 3) == 0 { rng.between(2, DEPTH_MAX as u64 + 1) as usize } else { 1 };
            all.people.push(Client {
                depth,
                asked: 0,
                ops: Vec::new(),
                session: None,
                opens: 0,
                seen: LogId::ZERO,
                home: all.any_node(&mut rng),
                conns: Vec::new(),
                owes: false,
            });
            let span = exponential(&mut rng, all.pause());
            all.at(Micros(span), Event::Think { client: i as usize });
        }
        all
    }

    /// Keeps the first `limit` operations in the [history](Self::history).
    pub fn record(&mut self, limit: usize) {
        self.history = History::new(limit);
    }

    /// The operations recorded.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// No node's clock counts fewer microseconds in a thousand.
    pub fn expect_rate(&mut self, slowest: u64) {
        self.slowest = slowest;
    }

    /// After how long by the world's clock nodes may drop a session that is not used.
    pub fn expect_idle(&mut self, idle: Micros) {
        self.witness.expect_idle(idle);
    }

    /// Somebody else writes this to the log, once.
    pub(super) fn append_sent(&mut self, payload: &[u8]) {
        self.witness.append_sent(payload);
    }

    /// What judges every answer.
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// These entries are committed: to be told once of each, in order, before an answer that follows from it.
    pub fn committed(&mut self, run: &Entries, now: Micros) -> Verdict {
        self.witness.at_time(now);
        self.witness.committed(run)
    }

    /// When they next want to be woken. Answers and ends of connections may bring it nearer.
    pub fn next_at(&self) -> Option<Micros> {
        self.events.peek().map(|Reverse((at, ..))| *at)
    }

    /// Operations that have no outcome yet.
    pub fn pending(&self) -> usize {
        self.people.iter().map(|c| c.ops.len()).sum()
    }

    /// Nothing new is asked from now on. What is pending is asked again until it is answered, from one node after the other
    /// and with less patience; nothing is given up. So what was waiting for a connection that died unnoticed goes on soon.
    pub fn quiesce(&mut self, now: Micros) {
        self.now = now;
        self.quiet = true;
        self.quiet_since = now;
        let mut waiting = Vec::new();
        for client in &mut self.people {
            client.owes = false;
            waiting.extend(client.ops.iter().filter_map(|op| op.last));
            if let Some(Opened::Opening(request)) = client.session {
                waiting.extend(request);
            }
        }
        for request in waiting {
            self.at(now.after(self.patience(request)), Event::TimeOut { request });
        }
    }

    /// It is `now`: does what is due.
    pub fn wake(&mut self, now: Micros, out: &mut Vec<ClientAct>) {
        self.now = now;
        while let Some(Reverse((at, _, event))) = self.events.peek().copied()
            && at <= now
        {
            self.events.pop();
            match event {
                Event::Think { client } if !self.quiet => {
                    let number = self.people[client].asked;
                    let mut rng = self.streams.rng("think", [client as u64, number, at.0]);
                    let span = exponential(&mut rng, self.pause());
                    self.at(at.after(Micros(span.max(1))), event);
                    if self.people[client].ops.len() < self.people[client].depth {
                        self.think(client, out);
                    } else {
                        self.people[client].owes = true;
                    }
                }
                Event::Owed { client } if !self.quiet => {
                    if self.people[client].ops.len() < self.people[client].depth {
                        self.think(client, out);
                    }
                }
                Event::Think { .. } | Event::Owed { .. } => {}
                Event::Retry { client, op } => self.attempt(client, op, out),
                Event::Reopen { client } => self.open(client, out),
                Event::TimeOut { request } => self.time_out(request, out),
            }
        }
    }

    /// A connection is gone: the node ended it, died, or could not be reached.
    pub fn closed(&mut self, conn: u64, now: Micros) {
        self.now = now;
        self.lose(conn);
    }

    /// The mean time between two operations of one client.
    fn pause(&self) -> u64 {
        (self.shape.clients * 1_000_000 / self.shape.per_second).max(1)
    }

    /// How long a request is waited for: a little longer by some clients than by others.
    fn patience(&self, key: u64) -> Micros {
        // In quiet times little at first; more and more, so that repetitions do not fill a narrow log for ever.
        let base = if self.quiet {
            (self.shape.retry_us / 2).max(self.now.since(self.quiet_since).0 / 16)
        } else {
            self.shape.retry_us
        };
        let jitter = self.streams.draw("patience", [key, 0, 0]) % (base / 4 + 1);
        Micros((base + jitter).max(1))
    }

    fn at(&mut self, at: Micros, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((at, self.next_event, event)));
    }

    fn op(&mut self, client: usize, number: u64) -> Option<&mut Op> {
        self.people[client].ops.iter_mut().find(|op| op.number == number)
    }
}

#[cfg(test)]
mod tests;
