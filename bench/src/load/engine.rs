//! The engine: many logical clients over a few connections, on one thread.
//!
//! **Closed loop.** Each client has one operation under way and starts the next when it is answered. It finds out how much
//! the system can do, but it is polite: while the system stands still, it asks nothing, so one stall shows as one slow
//! operation per client.
//!
//! **Open loop.** Operations are due at a fixed rate, whether or not the system keeps up. Latency is kept twice: *service*
//! from the moment an operation was sent, *intended* from the moment it was due. Where they differ, the closed loop would
//! have hidden something (coordinated omission). What was due and could not even be sent before the end is counted. The timer wakes once per millisecond, so an intended latency
//! includes up to one millisecond of that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use common::rng::Rng;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::ledger::{Ledger, value_of};
use super::stats::{Gaps, Hist, Sample, Series};
use super::target::{Connection, Done, Failure, Op, Target};
use crate::report::results::LoadResult;

/// Samples kept of one load: enough for an hour of tenths of a second.
const SAMPLES: usize = 36_000;
/// Gaps kept, and the shortest that is.
const GAPS: usize = 10_000;
const GAP_US: u64 = 10_000;
/// How long a load that ends waits for what is still under way.
const GRACE: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// Logical clients, at least 1.
    pub clients: usize,
    /// Connections they share; at most as many as clients.
    pub connections: usize,
    /// Size of values, at least 16 bytes.
    pub value_bytes: usize,
    /// Number of keys. Each belongs to one client, so there are at least as many.
    pub keys: usize,
    /// Shares of writes, linearizable reads and local reads.
    pub mix: Mix,
    /// How long to run before measuring.
    pub warm_up: Duration,
    /// How long to measure; None until [`Running::stop`].
    pub measure: Option<Duration>,
    /// Operations per second for an open loop; None for a closed one.
    pub rate: Option<f64>,
    /// Length of a sample.
    pub interval_ms: u64,
    /// Names of keys start with it, so that loads do not share keys unless they want to.
    pub prefix: u64,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            clients: 64,
            connections: 16,
            value_bytes: 100,
            keys: 10_000,
            mix: Mix::WRITES,
            warm_up: Duration::from_millis(500),
            measure: Some(Duration::from_secs(5)),
            rate: None,
            interval_ms: 100,
            prefix: 0,
        }
    }
}

impl LoadSpec {
    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let allowed = |name: &str, found: usize, low: usize, high: usize| {
            let fine = (low..=high).contains(&found);
            if fine { Ok(()) } else { Err(format!("{name} = {found}: {low} to {high} are allowed")) }
        };
        allowed("clients", self.clients, 1, 100_000)?;
        allowed("connections", self.connections, 1, self.clients.min(10_000))?;
        allowed("size", self.value_bytes, super::ledger::MIN_VALUE, 1 << 20)?;
        allowed("keys", self.keys, self.clients, 100_000_000)?;
        match self.rate {
            Some(rate) if !(0.1..=10_000_000.0).contains(&rate) => {
                Err(format!("rate = {rate}: 0.1 to 10,000,000 operations per second are allowed"))
            }
            _ => Ok(()),
        }
    }

    /// Name and value of each setting, for reports.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut list = vec![
            ("clients".to_owned(), self.clients.to_string()),
            ("connections".to_owned(), self.connections.to_string()),
            ("value".to_owned(), format!("{} B", self.value_bytes)),
            ("keys".to_owned(), self.keys.to_string()),
            ("mix".to_owned(), self.mix.to_string()),
        ];
        let rate = self.rate.map_or("closed loop".to_owned(), |r| format!("open loop, {r}/s"));
        list.push(("loop".to_owned(), rate));
        list
    }
}

/// Shares of the kinds of operations; their sum is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Writes.
    pub writes: u32,
    /// Linearizable reads.
    pub linearizable: u32,
    /// Local reads.
    pub local: u32,
}

impl Mix {
    /// Only writes.
    pub const WRITES: Self = Self { writes: 1, linearizable: 0, local: 0 };
    /// Only linearizable reads.
    pub const LINEARIZABLE: Self = Self { writes: 0, linearizable: 1, local: 0 };
    /// Only local reads.
    pub const LOCAL: Self = Self { writes: 0, linearizable: 0, local: 1 };
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [(self.writes, "writes"), (self.linearizable, "linearizable reads"), (self.local, "local reads")];
        let parts: Vec<_> = parts.into_iter().filter(|(n, _)| *n > 0).collect();
        match parts.as_slice() {
            [(_, name)] => f.write_str(name),
            several => {
                f.write_str(&several.iter().map(|(n, name)| format!("{n} {name}")).collect::<Vec<_>>().join(" : "))
            }
        }
    }
}

/// What a load found out.
#[derive(Debug)]
pub struct LoadOutcome {
    /// For the report.
    pub result: LoadResult,
    /// The gaps; times are microseconds from the start of the measurement.
    pub gaps: Gaps,
    /// What must be found again.
    pub ledger: Ledger,
}

/// A load under way. Dropping it stops it at once.
#[derive(Debug)]
pub struct Running {
    shared: Rc<Shared>,
    drivers: Vec<JoinHandle<()>>,
    timer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    spec: LoadSpec,
    start: Instant,
    stopping: Cell<bool>,
    stop: Notify,
    ended_us: Cell<Option<u64>>,
    book: RefCell<Book>,
}

/// What is counted.
#[derive(Debug)]
struct Book {
    service: Hist,
    intended: Hist,
    series: Series,
    gaps: Gaps,
    errors: BTreeMap<Failure, u64>,
    /// Due and not sent when the load ended.
    unsent: u64,
    ledger: Ledger,
}

impl Running {
    /// Starts a load. Must be called within a [`LocalSet`](tokio::task::LocalSet), for everything runs on this thread.
    /// `ledger` continues an earlier load's keys; it must have as many as the specification says.
    ///
    /// # Panics
    /// When the specification does not pass its [`check`](LoadSpec::check).
    pub fn start<T>(target: &T, spec: LoadSpec, ledger: Option<Ledger>) -> Self
    where
        T: Target,
        T::Conn: 'static,
    {
        if let Err(why) = spec.check() {
            panic!("a load that was not checked: {why}");
        }
        let ledger = ledger.filter(|l| l.len() == spec.keys).unwrap_or_else(|| Ledger::new(spec.prefix, spec.keys));
        let book = Book {
            service: Hist::default(),
            intended: Hist::default(),
            series: Series::new(spec.interval_ms, SAMPLES),
            gaps: Gaps::new(spec.clients, GAP_US, GAPS),
            errors: BTreeMap::new(),
            unsent: 0,
            ledger,
        };
        let shared = Rc::new(Shared {
            start: Instant::now(),
            stopping: Cell::new(false),
            stop: Notify::new(),
            ended_us: Cell::new(None),
            book: RefCell::new(book),
            spec,
        });
        let drivers = (0..shared.spec.connections)
            .map(|n| tokio::task::spawn_local(Driver::new(shared.clone(), n).run(target.open(n))))
            .collect();
        let timer = shared.spec.measure.map(|measure| {
            let (shared, end) = (shared.clone(), shared.start + shared.spec.warm_up + measure);
            tokio::task::spawn_local(async move {
                sleep_until(end).await;
                shared.stop_now();
            })
        });
        Self { shared, drivers, timer }
    }

    /// Microseconds since the measurement started; 0 during warm-up.
    pub fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged_writes(&self) -> u64 {
        self.shared.book.borrow().ledger.acknowledged_writes()
    }

    /// The samples completed so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.shared.book.borrow().series.samples().to_vec()
    }

    /// Operations answered so far, without those of the warm-up.
    pub fn operations(&self) -> u64 {
        self.shared.book.borrow().service.count()
    }

    /// Waits until the load starts no further operation.
    pub async fn stopped(&self) {
        self.shared.stopped().await;
    }

    /// Starts no further operation.
    pub fn stop(&self) {
        self.shared.stop_now();
    }

    /// Waits until the load has ended, by itself or by [`stop`](Self::stop), and what was under way was answered. What is not
    /// answered for ten seconds counts as timed out.
    pub async fn join(mut self) -> LoadOutcome {
        self.shared.stopped().await;
        let deadline = Instant::now() + GRACE;
        for driver in &mut self.drivers {
            if timeout(deadline - Instant::now(), &mut *driver).await.is_err() {
                driver.abort();
            }
        }
        let shared = self.shared.clone();
        let end = shared.ended_us.get().unwrap_or_else(|| shared.now_us());
        let mut book = shared.book.borrow_mut();
        let book = &mut *book;
        let mut gaps = std::mem::replace(&mut book.gaps, Gaps::new(0, 1, 1));
        gaps.finish(end);
        let seconds = end as f64 / 1e6;
        let series = std::mem::replace(&mut book.series, Series::new(1, 0));
        let result = LoadResult {
            settings: shared.spec.settings(),
            seconds,
            operations: book.service.count(),
            throughput: if seconds > 0.0 { book.service.count() as f64 / seconds } else { 0.0 },
            errors: book.errors.iter().map(|(k, n)| (k.to_string(), *n)).collect(),
            service: book.service.latency(),
            intended: shared.spec.rate.map(|_| book.intended.latency()),
            unsent: book.unsent,
            interval_ms: series.interval_ms(),
            series: series.finish(end),
        };
        let ledger = std::mem::replace(&mut book.ledger, Ledger::new(0, 0));
        LoadOutcome { result, gaps, ledger }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drivers.iter().for_each(JoinHandle::abort);
        self.timer.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        self.start.elapsed().saturating_sub(self.spec.warm_up).as_micros() as u64
    }

    fn warm(&self) -> bool {
        self.start.elapsed() >= self.spec.warm_up
    }

    fn stop_now(&self) {
        if !self.stopping.replace(true) {
            self.ended_us.set(Some(self.now_us()));
            self.stop.notify_waiters();
        }
    }

    async fn stopped(&self) {
        let stopped = self.stop.notified();
        if !self.stopping.get() {
            stopped.await;
        }
    }
}

/// How many operations are due before a moment, of which one is every so often and the first as given; all in microseconds.
fn due_before((every, next): (f64, f64), end: f64) -> u64 {
    if end > next { ((end - next) / every).ceil() as u64 } else { 0 }
}

/// One connection and the clients on it.
struct Driver {
    shared: Rc<Shared>,
    clients: Vec<Client>,
    /// Clients without an operation under way; only an open loop has them.
    idle: Vec<u32>,
    busy: usize,
    /// Microseconds from the start of the load between operations that are due, and when the next one is.
    pace: Option<(f64, f64)>,
    rng: Rng,
}

/// One logical client.
struct Client {
    /// Its number in the load.
    number: usize,
    /// How many keys it has gone through.
    turn: usize,
    /// The key under way, if it is a write.
    writing: Option<usize>,
    sent: Instant,
    due: Instant,
}

impl Driver {
    fn new(shared: Rc<Shared>, n: usize) -> Self {
        let spec = &shared.spec;
        let start = shared.start;
        let client = |number| Client { number, turn: 0, writing: None, sent: start, due: start };
        let clients: Vec<Client> = (n..spec.clients).step_by(spec.connections).map(client).collect();
        let pace = spec.rate.map(|rate| {
            let every = 1e6 * spec.connections as f64 / rate;
            (every, every * n as f64 / spec.connections as f64)
        });
        let idle = (0..clients.len() as u32).rev().collect();
        let rng = Rng::new(spec.prefix ^ (n as u64 + 1).wrapping_mul(0x9e37_79b9));
        Self { clients, idle, busy: 0, pace, rng, shared }
    }

    async fn run<C: Connection>(mut self, mut conn: C) {
        let mut done = Vec::new();
        let shared = self.shared.clone();
        loop {
            let next = self.fill(&mut conn);
            if let Some(pace) = self.pace.take_if(|_| shared.stopping.get()) {
                let end_us = shared.ended_us.get().unwrap_or(0) as f64 + shared.spec.warm_up.as_micros() as f64;
                shared.book.borrow_mut().unsent += due_before(pace, end_us);
            }
            if self.busy == 0 && shared.stopping.get() {
                return;
            }
            tokio::select! {
                biased;
                () = conn.wait(&mut done), if self.busy > 0 => self.book(&mut done),
                () = async { sleep_until(next.unwrap_or(shared.start)).await }, if next.is_some() => {}
                () = shared.stopped(), if !shared.stopping.get() => {}
            }
        }
    }

    /// Starts every operation that may be started now. Gives the moment to come back although nothing was answered.
    fn fill<C: Connection>(&mut self, conn: &mut C) -> Option<Instant> {
        if self.shared.stopping.get() {
            return None;
        }
        let now = Instant::now();
        while let Some(tag) = self.idle.last().copied() {
            let due = match &mut self.pace {
                None => now,
                Some((every, next)) => {
                    let due = self.shared.start + Duration::from_micros(*next as u64);
                    if due > now {
                        return Some(due);
                    }
                    *next += *every;
                    due
                }
            };
            self.idle.pop();
            self.start(conn, tag, now, due);
        }
        None
    }

    fn start<C: Connection>(&mut self, conn: &mut C, tag: u32, now: Instant, due: Instant) {
        let spec = &self.shared.spec;
        let client = &mut self.clients[tag as usize];
        let mut book = self.shared.book.borrow_mut();
        let own = (spec.keys - client.number).div_ceil(spec.clients);
        let draw = self.rng.between(0, u64::from(spec.mix.writes + spec.mix.linearizable + spec.mix.local));
        let op = if draw < u64::from(spec.mix.writes) {
            // Its own keys in turn, without those whose last write has an unknown outcome.
            let picked = (0..own).find_map(|i| {
                let key = client.number + (client.turn + i) % own * spec.clients;
                book.ledger.send(key).map(|number| (i, key, number))
            });
            let Some((skipped, key, number)) = picked else { return };
            client.turn += skipped + 1;
            client.writing = Some(key);
            Op::Write { key: book.ledger.name(key), value: value_of(key, number, spec.value_bytes) }
        } else {
            let key = self.rng.between(0, spec.keys as u64) as usize;
            let linearizable = draw < u64::from(spec.mix.writes + spec.mix.linearizable);
            Op::Read { key: book.ledger.name(key), linearizable }
        };
        (client.sent, client.due) = (now, due);
        self.busy += 1;
        conn.submit(tag, op);
    }

    /// Counts what has ended. Everything that one read brought ended at the same moment.
    fn book(&mut self, done: &mut Vec<Done>) {
        let now = Instant::now();
        let (at_us, warm) = (self.shared.now_us(), self.shared.warm());
        let counted = warm && !self.shared.stopping.get();
        let mut book = self.shared.book.borrow_mut();
        for Done { tag, end } in done.drain(..) {
            let client = &mut self.clients[tag as usize];
            self.busy -= 1;
            self.idle.push(tag);
            let key = client.writing.take();
            match end {
                Ok(_) => {
                    if let Some(key) = key {
                        book.ledger.acknowledge(key);
                    }
                    if counted {
                        let us = |from: Instant| now.duration_since(from).as_micros() as u64;
                        book.service.record(us(client.sent));
                        book.series.record(at_us, us(client.sent));
                        book.gaps.answer(client.number, at_us);
                        if self.pace.is_some() {
                            book.intended.record(us(client.due));
                        }
                    }
                }
                Err(failure) => {
                    match (key, failure) {
                        (Some(key), Failure::Refused) => book.ledger.refuse(key),
                        (Some(key), _) => book.ledger.retire(key),
                        (None, _) => {}
                    }
                    if counted {
                        *book.errors.entry(failure).or_default() += 1;
                        book.series.error(at_us);
                    }
                }
            }
        }
    }
}
