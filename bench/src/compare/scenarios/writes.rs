//! Steady writes.

use crate::compare::cost::own_cpu_us;
use crate::compare::system::System;
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::engine::LoadSpec;
use crate::report::format::{bytes, count};
use crate::report::results::{Better, Repetition, Unit};

/// So many clients write values of so many bytes.
#[derive(Debug)]
pub(super) struct Writes {
    pub(super) clients: usize,
    pub(super) bytes: usize,
    /// Writes per second, whether or not the answers come; None for as fast as they come.
    pub(super) rate: Option<f64>,
}

/// What values have if nothing is said of it.
const USUAL: usize = 100;

impl Writes {
    /// As fast as they are answered, 100 bytes.
    pub(super) fn closed(clients: usize) -> Self {
        Self { clients, bytes: USUAL, rate: None }
    }
}

impl Scenario for Writes {
    fn name(&self) -> String {
        match (self.rate, self.bytes) {
            (Some(_), _) => "writes-paced".to_owned(),
            (None, USUAL) => format!("writes-{}", self.clients),
            (None, bytes) => format!("writes-{}-{bytes}B", self.clients),
        }
    }

    fn title(&self) -> String {
        match (self.clients, self.rate, self.bytes) {
            (_, Some(rate), _) => format!("Writes at {} a second", count(rate)),
            (1, ..) => "Writes, 1 client".to_owned(),
            (n, _, USUAL) => format!("Writes, {n} clients"),
            (n, _, b) => format!("Writes, {n} clients, {}", bytes(b as f64)),
        }
    }

    fn shows(&self) -> String {
        match (self.clients, self.rate) {
            (n, Some(rate)) => format!(
                "{} writes are due every second, whether or not earlier ones were answered; up to {n} are under way. Latency counts \
                 from the moment a write was due, so that a stall is felt by every write that falls into it (the service time \
                 beside it counts from the moment it was sent).",
                count(rate)
            ),
            (1, None) => "One client, one write at a time: the bare latency of a durable, replicated write. Its floor is measured \
                          right before: a write of the same size that is passed on once, synced to the same disk and answered, by \
                          threads that do nothing else."
                .to_owned(),
            (n, None) => format!(
                "{n} clients, each with one write under way. Each write is durable on a majority before it is answered. \
                 Writes that come together share messages and syncs, so the cost per entry falls as clients are added."
            ),
        }
    }

    fn does_not_show(&self) -> String {
        match self.rate {
            None => {
                "how much the cluster could do with its own machine for each node, nor what happens to latency at a rate that \
                     does not wait for the answers (scenario `writes-paced`)."
            }
            Some(_) => "latencies below a millisecond in full: the clock that says when writes are due ticks once in one.",
        }
        .to_owned()
    }

    fn repeated(&self) -> bool {
        true
    }

    fn suits(&self, _: System) -> bool {
        true
    }

    fn when_quick(&self) -> bool {
        self.clients != 256
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let spec = LoadSpec { value_bytes: self.bytes, rate: self.rate, ..env.spec(self.clients) };
            env.main().await?;
            let floor = if self.clients == 1 { env.floor_us(self.bytes) } else { None };
            let target = env.main().await?.at_leader().await?;
            let keys = env.keys(&target, &spec).await?;
            let before = env.main().await?.costs().await;
            let own = own_cpu_us();
            let outcome = env.load(&target, spec, Some(keys)).await?;
            let own = own_cpu_us() - own;
            let after = env.main().await?.costs().await;
            if outcome.result.operations == 0 {
                return Err(Problem::Failed("no write was answered".to_owned()));
            }
            let mut rep = Repetition::default();
            let median = outcome.result.service.p50 as f64;
            super::measure_load(&mut rep, outcome.result);
            if let Some(floor) = floor.filter(|f| *f > 0.0) {
                rep.measure("floor: passed on once, synced once", Unit::Micros, Better::Neither, floor);
                rep.measure("median over its floor", Unit::Ratio, Better::Lower, median / floor);
            }
            let writes = outcome.ledger.acknowledged_writes();
            match after.since(&before) {
                Some(spent) => spent.measure(&mut rep, writes),
                None => {
                    rep.notes.push("a node restarted or would not say, so the cost per entry is unknown".to_owned());
                }
            }
            let name = "CPU time of the clients per write";
            rep.measure(name, Unit::MicrosPerEntry, Better::Neither, own as f64 / writes.max(1) as f64);
            env.verify(&target, &outcome.ledger).await?;
            Ok(rep)
        })
    }
}
