//! What a scenario is given: a cluster of one protocol, the plan, and helpers for what most scenarios do.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::live::Live;
use super::progress::Progress;
use super::{Plan, Problem};
use crate::cli::Protocol;
use crate::load::duet::DuetTarget;
use crate::load::engine::{LoadOutcome, LoadSpec, Running};
use crate::load::ledger::Ledger;
use crate::load::verify::{Verified, verify};
use crate::supervisor::ClusterSpec;

/// The world of one protocol.
#[derive(Debug)]
pub struct Env {
    /// Which protocol.
    pub protocol: Protocol,
    /// How long and how often.
    pub plan: Plan,
    dir: PathBuf,
    main: Option<Live>,
    progress: Progress,
    /// Clusters started so far, for their folders' names.
    clusters: u32,
    /// Name spaces of keys given away so far.
    prefixes: u64,
    /// Keys that were written for scenarios that read.
    filled: Option<Ledger>,
}

impl Env {
    /// A world without a cluster yet; everything goes below `dir`.
    pub fn new(protocol: Protocol, plan: Plan, dir: PathBuf, progress: Progress) -> Self {
        Self { protocol, plan, dir, main: None, progress, clusters: 0, prefixes: 0, filled: None }
    }

    /// The cluster that scenarios share, with default settings; started if it is not running.
    pub async fn main(&mut self) -> Result<&mut Live, Problem> {
        if self.main.is_none() {
            let live = self.fresh(&[]).await?;
            self.filled = None;
            self.main = Some(live);
        }
        self.main.as_mut().ok_or_else(|| Problem::Unclear("the cluster is gone".to_owned()))
    }

    /// A cluster of its own for a scenario that needs other settings or leaves it changed: three voters in a fresh folder.
    pub async fn fresh(&mut self, settings: &[String]) -> Result<Live, Problem> {
        self.clusters += 1;
        let dir = self.dir.join(format!("{}-{}", self.protocol, self.clusters));
        // The scenario's own come last and win: it would not show what it is for without them.
        let settings = [self.plan.settings.as_slice(), settings].concat();
        let spec = ClusterSpec { settings, ..ClusterSpec::new(self.protocol, dir) };
        self.say("starting");
        Live::start(&spec).await
    }

    /// Gives the shared cluster up, so that the next scenario gets a new one.
    pub async fn give_up(&mut self) {
        if let Some(live) = self.main.take() {
            live.stop().await;
        }
    }

    /// A load of `clients` clients with the plan's times, on keys of its own.
    pub fn spec(&mut self, clients: usize) -> LoadSpec {
        self.prefixes += 1;
        LoadSpec {
            clients,
            connections: clients.min(16),
            keys: (clients * 4).max(1000),
            warm_up: self.plan.warm_up,
            measure: Some(self.plan.measure),
            prefix: self.prefixes,
            ..LoadSpec::default()
        }
    }

    /// Runs a load to its end, showing how it goes.
    pub async fn load(&self, target: &DuetTarget, spec: LoadSpec, ledger: Option<Ledger>) -> LoadOutcome {
        let running = Running::start(target, spec, ledger);
        self.watch(&running, running.stopped()).await;
        running.join().await
    }

    /// Shows how a load goes while waiting for something else.
    pub async fn watch<T>(&self, running: &Running, work: impl Future<Output = T>) -> T {
        let mut tick = interval(Duration::from_millis(200));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => {
                    let us = running.now_us();
                    let rate = if us > 0 { running.operations() as f64 * 1e6 / us as f64 } else { 0.0 };
                    self.say(&format!("{}/s", crate::report::format::count(rate)));
                }
            }
        }
    }

    /// Writes until `writes` more are acknowledged, as fast as 64 clients can, and reads nothing back.
    pub async fn write(&mut self, target: &DuetTarget, writes: u64, ledger: Option<Ledger>) -> Result<Ledger, Problem> {
        let spec = LoadSpec { keys: 8192, warm_up: Duration::ZERO, measure: None, ..self.spec(64) };
        let before = ledger.as_ref().map_or(0, Ledger::acknowledged_writes);
        let running = Running::start(target, spec, ledger);
        let wanted = before + writes;
        super::live::until(&format!("{writes} writes were not acknowledged"), || async {
            (running.acknowledged_writes() >= wanted).then_some(())
        })
        .await?;
        running.stop();
        Ok(running.join().await.ledger)
    }

    /// Reads back everything acknowledged. Err when anything is lost or cannot be read.
    pub async fn verify(&self, target: &DuetTarget, ledger: &Ledger) -> Result<Verified, Problem> {
        self.say("reading back");
        judge(verify(target, ledger).await)
    }

    /// Ten thousand keys for scenarios that read, written once.
    pub async fn filled(&mut self) -> Result<Ledger, Problem> {
        self.main().await?;
        if self.filled.is_none() {
            let target = self.main().await?.at_leader().await?;
            let spec = LoadSpec { keys: 10_000, warm_up: Duration::ZERO, measure: None, ..self.spec(64) };
            let running = Running::start(&target, spec, None);
            super::live::until("10,000 keys were not written", || async {
                (running.acknowledged_writes() >= 10_000).then_some(())
            })
            .await?;
            running.stop();
            self.filled = Some(running.join().await.ledger);
        }
        self.filled.clone().ok_or_else(|| Problem::Unclear("the keys are gone".to_owned()))
    }

    /// What a durable write by one client cannot be faster than right now; see [`machine::floor_us`](super::machine::floor_us).
    pub fn floor_us(&self) -> Option<f64> {
        super::machine::floor_us(&self.dir)
    }

    /// Says on the progress bar what is going on.
    pub fn say(&self, what: &str) {
        self.progress.now(self.protocol, what);
    }
}

/// A loss is a failure; what could not be read is not known.
pub fn judge(verified: Verified) -> Result<Verified, Problem> {
    if !verified.losses.is_empty() {
        Err(Problem::Failed(verified.sentence()))
    } else if verified.unread.is_some() {
        Err(Problem::Unclear(verified.sentence()))
    } else {
        Ok(verified)
    }
}
