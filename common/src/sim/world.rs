//! The world: hosts, network and clients on one clock, and the oracles that watch them.
//!
//! There are three heaps of things to come: the network's, the clients', and the world's own (disks, processors, faults;
//! and beside it the one next turn of each replica). The earliest is next; at equal times the world comes before the
//! network and the network before the clients, and within each what was put in first. Nothing else decides the order, so
//! equal plans give equal runs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::clients::{ClientAct, Clients};
use super::host::Host;
use super::members::Members;
use super::net::Net;
use super::oracle::Sequence;
use super::outcome::{ChartEvent, ChartWhat, Counts, Outcome};
use super::plan::{Plan, Timed};
use super::search;
use super::stream::Streams;
use super::subject::{Oracle, Subject, Violation};
use super::truth::Truth;
use crate::client::wire::Response;
use crate::protocol::Refusal;
use crate::quorum::Voters;
use crate::types::{Member, Micros, NodeId};
use bytes::Bytes;

/// How a plan is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Oracles that are not believed: what they find is passed over.
    pub off: Vec<&'static str>,
    /// How many of the last events to keep for a chart; 0 keeps none and costs nothing.
    pub chart: usize,
    /// Whether marks are counted.
    pub marks: bool,
    /// Whether to keep what clients asked and were answered.
    pub history: bool,
}

/// Something the world has to do.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker has done its batch.
    Log {
        host: usize,
        life: u64,
    },
    Snapshot {
        host: usize,
        life: u64,
    },
    Apply {
        host: usize,
        life: u64,
    },
    /// A process starts.
    Boot {
        host: usize,
    },
    /// A fault begins; one ends.
    Fault(usize),
    FaultEnds(usize),
    /// An image of a disk is taken, for a rollback to come.
    Image(usize),
    /// Something of a client arrives at a node.
    ToNode {
        conn: u64,
        what: ToNode,
    },
    /// Something of a node arrives at a client.
    ToClient {
        conn: u64,
        what: Box<ToClient>,
    },
}

#[derive(Debug)]
pub(super) enum ToNode {
    Connect,
    Request(Box<Request>),
    Close,
}

/// Apart, because what waits in the heap is moved about.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) header: Bytes,
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) enum ToClient {
    Reply { response: Response, body: Bytes },
    Closed,
}

struct Due {
    at: Micros,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) host: usize,
    /// The host's life in which it was accepted.
    pub(super) life: Option<u64>,
    /// Nothing arrives before what was sent earlier.
    pub(super) to_node: Micros,
    pub(super) to_client: Micros,
}

/// No turn is due.
pub(super) const NEVER: (Micros, u64) = (Micros(u64::MAX), u64::MAX);

/// See the [module](self).
pub(super) struct World<'p, P: Subject> {
    pub(super) plan: &'p Plan,
    pub(super) options: &'p Options,
    pub(super) streams: Streams,
    /// Who votes at first.
    pub(super) voters: Voters,
    pub(super) members: Members,
    pub(super) now: Micros,
    heap: BinaryHeap<Reverse<Due>>,
    next: u64,
    /// When the next turn of each host is due, and its number; or [`NEVER`]. A turn is put off and brought forward all the
    /// time: in the heap, nearly every second event would be one that is not meant any more.
    pub(super) turns: Vec<(Micros, u64)>,
    pub(super) hosts: Vec<Host<P>>,
    pub(super) truths: Vec<(NodeId, Truth<P::Hard>)>,
    pub(super) net: Net,
    pub(super) clients: Clients,
    acts: Vec<ClientAct>,
    pub(super) conns: BTreeMap<u64, Conn>,
    /// What operators asked for and was not answered, by connection; how much was asked for; what was said last of transfers.
    pub(super) operators: BTreeMap<u64, super::operator::Asked>,
    pub(super) orders: u64,
    pub(super) transfer_answer: Option<Result<NodeId, Refusal>>,
    pub(super) oracle: P::Oracle,
    pub(super) sequence: Sequence,
    /// Who led which epoch, for counting.
    pub(super) led: BTreeSet<(u64, NodeId)>,
    /// Whether segments may be damaged on their way in this plan: sessions may then end for reasons of the protocol.
    pub(super) corrupting: bool,
    /// Whom the faults that last have struck.
    pub(super) struck: BTreeMap<usize, super::faults::Struck>,
    /// Draws made so far, by use: keys of streams.
    pub(super) draws: u64,
    /// Faults that ended, and everything was healed.
    pub(super) healed: Option<Micros>,
    pub(super) counts: Counts,
    pub(super) hash: u64,
    pub(super) notes: Vec<String>,
    chart: VecDeque<ChartEvent>,
    violation: Option<(Micros, Violation)>,
}

/// Runs a plan to its end, or to the first broken promise.
pub fn run<P: Subject>(plan: &Plan, options: &Options) -> Outcome {
    if options.marks {
        crate::mark::start();
    }
    let mut world = World::<P>::new(plan, options);
    // A panic is a finding like any other: the world is not used any more after it, but for what it counted.
    let end = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = end {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text");
        world.judge(Err(Violation::new("C-PANIC", text)));
    }
    world.outcome()
}

impl<'p, P: Subject> World<'p, P> {
    fn new(plan: &'p Plan, options: &'p Options) -> Self {
        let streams = Streams::new(plan.seed);
        let shape = &plan.shape;
        let voters = Voters::new((1..=shape.voters).map(NodeId));
        let all: Vec<NodeId> = (1..=shape.voters + shape.observers).map(NodeId).collect();
        let member = |id| if voters.contains(id) { Member::Voter } else { Member::Observer };
        let corrupting = plan.faults.iter().any(|f| matches!(f.fault, super::plan::Fault::Corrupt { .. }));
        let mut clients = Clients::new(streams, shape.load, &all, shape.load.sessions());
        clients.expect_idle(plan.least_idle());
        clients.expect_rate(plan.slowest_rate());
        let mut world = Self {
            plan,
            options,
            streams,
            now: Micros(0),
            heap: BinaryHeap::new(),
            next: 0,
            turns: vec![NEVER; all.len()],
            hosts: all.iter().map(|id| Host::new(*id, member(*id))).collect(),
            truths: all.iter().map(|id| (*id, Truth::default())).collect(),
            net: Net::new(streams, shape.net, P::NAME, voters.clone()),
            clients,
            acts: Vec::new(),
            conns: BTreeMap::new(),
            operators: BTreeMap::new(),
            orders: 0,
            transfer_answer: None,
            oracle: P::Oracle::new(&voters),
            members: Members::new(&voters),
            voters,
            sequence: Sequence::default(),
            led: BTreeSet::new(),
            corrupting,
            struck: BTreeMap::new(),
            draws: 0,
            healed: None,
            counts: Counts::default(),
            hash: plan.seed,
            notes: Vec::new(),
            chart: VecDeque::new(),
            violation: None,
        };
        if options.history || world.is_searched() {
            world.clients.record(search::OPERATIONS);
        }
        for host in 0..all.len() {
            let at = Micros(streams.draw("boot", [host as u64, 0, 0]) % 100_000);
            world.put(at, Event::Boot { host });
        }
        for (i, Timed { at, fault }) in plan.faults.iter().enumerate() {
            world.put(*at, Event::Fault(i));
            if matches!(fault, super::plan::Fault::Rollback { .. }) {
                let before = Micros(streams.draw("image", [i as u64, 0, 0]) % at.0.max(1));
                world.put(before, Event::Image(i));
            }
        }
        world
    }

    fn run(&mut self) {
        let span = self.plan.shape.span;
        while self.advance(span) {}
        if self.violation.is_none() {
            self.heal();
        }
        if self.violation.is_none() && self.is_searched() {
            self.search();
        }
    }

    /// Does the next thing, if it is due by `until`. False when nothing is, or a promise was broken.
    pub(super) fn advance(&mut self, until: Micros) -> bool {
        if self.violation.is_some() {
            return false;
        }
        let due = self.heap.peek().map_or(NEVER, |d| (d.0.at, d.0.number));
        let (mut turn, mut host) = (NEVER, 0);
        for (i, t) in self.turns.iter().enumerate() {
            if *t < turn {
                (turn, host) = (*t, i);
            }
        }
        let never = |at: Option<Micros>| at.unwrap_or(NEVER.0);
        let (world, net, clients) = (due.0.min(turn.0), never(self.net.next_at()), never(self.clients.next_at()));
        let at = world.min(net).min(clients);
        if at > until || at == NEVER.0 {
            self.now = self.now.max(until);
            return false;
        }
        self.now = self.now.max(at);
        self.counts.events += 1;
        if world == at {
            if turn < due {
                self.turn(host);
            } else if let Some(Reverse(due)) = self.heap.pop() {
                self.event(due.event);
            }
        } else if net == at {
            self.arrival();
        } else {
            let mut acts = std::mem::take(&mut self.acts);
            self.clients.wake(self.now, &mut acts);
            for act in acts.drain(..) {
                self.client_acts(act);
            }
            self.acts = acts;
        }
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Log { host, life } => self.log_done(host, life),
            Event::Snapshot { host, life } => self.snapshot_done(host, life),
            Event::Apply { host, life } => self.apply_done(host, life),
            Event::Boot { host } => self.boot(host),
            Event::Fault(i) => self.fault_begins(i),
            Event::FaultEnds(i) => self.fault_ends(i),
            Event::Image(i) => self.take_image(i),
            Event::ToNode { conn, what } => self.reaches_node(conn, what),
            Event::ToClient { conn, what } => self.reaches_client(conn, *what),
        }
    }

    /// Puts something into the heap.
    pub(super) fn put(&mut self, at: Micros, event: Event) {
        let number = self.number();
        self.heap.push(Reverse(Due { at: at.max(self.now), number, event }));
    }

    /// The place of something among what is due at the same time.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes note of a verdict.
    pub(super) fn judge(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict
            && self.violation.is_none()
            && !self.options.off.contains(&violation.oracle)
        {
            self.say(|| ChartWhat::World { text: violation.to_string() });
            self.violation = Some((self.now, violation));
        }
    }

    /// Whether a promise was broken.
    pub(super) fn broken(&self) -> bool {
        self.violation.is_some()
    }

    /// Mixes something into the hash of the run.
    pub(super) fn mix(&mut self, tag: u64, a: u64, b: u64) {
        let mut h = self.hash ^ self.now.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for x in [tag, a, b] {
            h = (h ^ x).wrapping_mul(0xFF51_AFD7_ED55_8CCD).rotate_left(31);
        }
        self.hash = h;
    }

    /// A draw of an exponential time around `mean`, at most eight times it.
    pub(super) fn time(&mut self, name: &str, host: usize, mean: u64) -> Micros {
        self.draws += 1;
        let u = self.streams.draw(name, [host as u64, self.hosts[host].life, self.draws]) >> 11;
        let unit = (u as f64 + 1.0) / (1_u64 << 53) as f64;
        Micros(((-unit.ln()).min(8.0) * mean as f64) as u64)
    }

    /// Counts a fault that bit.
    pub(super) fn bit(&mut self, kind: &'static str) {
        *self.counts.faults.entry(kind).or_default() += 1;
    }

    /// Keeps a line for the chart, if there is to be one.
    pub(super) fn say(&mut self, what: impl FnOnce() -> ChartWhat) {
        if self.options.chart > 0 {
            if self.chart.len() >= self.options.chart {
                self.chart.pop_front();
            }
            self.chart.push_back(ChartEvent { at: self.now, what: what() });
        }
    }

    fn outcome(mut self) -> Outcome {
        let marks = if self.options.marks { crate::mark::take() } else { BTreeMap::new() };
        for (kind, n) in self.net.bitten() {
            *self.counts.faults.entry(kind).or_default() += n;
        }
        for host in &self.hosts {
            for (kind, n) in host.fs.bitten() {
                *self.counts.faults.entry(kind).or_default() += n;
            }
        }
        self.counts.messages = self.net.messages();
        self.counts.committed = self.sequence.len() as u64;
        self.counts.leaders = self.led.len() as u64;
        let tally = self.clients.tally();
        (self.counts.operations, self.counts.unknown) = (tally.answered, tally.unknown);
        let history = self.options.history.then(|| self.clients.history().to_check());
        Outcome {
            violation: self.violation,
            history,
            hash: self.hash,
            simulated: self.now,
            counts: self.counts,
            marks,
            notes: self.notes,
            chart: self.chart.into(),
        }
    }
}
