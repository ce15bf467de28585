//! What a scenario is given: a cluster of one system, the plan, and helpers for what most scenarios do.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::live::Live;
use super::progress::Progress;
use super::system::{Cluster, System};
use super::{Plan, Problem};
use crate::load::engine::{LoadOutcome, LoadSpec, Mix, Running};
use crate::load::ledger::Ledger;
use crate::load::target::Target;
use crate::load::verify::{Verified, verify};
use crate::peers::Installed;
use crate::peers::servers::Servers;
use crate::supervisor::{ClusterSpec, Feed};

/// The longest that another system is warmed up.
pub const PEER_WARM_UP_MAX: Duration = Duration::from_mins(1);

/// The world of one system.
#[derive(Debug)]
pub struct Env {
    /// Which system.
    pub system: System,
    /// How long and how often.
    pub plan: Plan,
    dir: PathBuf,
    /// What to start, if it is not Duet.
    installed: Option<Installed>,
    main: Option<Cluster>,
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
    pub fn new(system: System, plan: Plan, dir: PathBuf, progress: Progress) -> Self {
        Self { system, plan, dir, installed: None, main: None, progress, clusters: 0, prefixes: 0, filled: None }
    }

    /// The world of another system, as it is installed here.
    pub fn of_peer(installed: Installed, plan: Plan, dir: PathBuf, progress: Progress) -> Self {
        let system = System::Peer(installed.peer);
        Self { installed: Some(installed), ..Self::new(system, plan, dir, progress) }
    }

    /// The cluster that scenarios share, with default settings; started, and warmed up if it needs that, unless it is running.
    pub async fn main(&mut self) -> Result<&mut Cluster, Problem> {
        if self.main.is_none() {
            let cluster = match self.installed.clone() {
                None => Cluster::Duet(self.fresh(&[]).await?),
                Some(installed) => self.start_peer(&installed).await?,
            };
            self.filled = None;
            self.main = Some(cluster);
        }
        self.main.as_mut().ok_or_else(|| Problem::Unclear("the cluster is gone".to_owned()))
    }

    /// The shared cluster, for what only Duet's nodes can be asked.
    pub async fn duet(&mut self) -> Result<&mut Live, Problem> {
        let system = self.system;
        match self.main().await? {
            Cluster::Duet(live) => Ok(live),
            Cluster::Peer(_) => Err(Problem::Unclear(format!("{system} cannot be asked that"))),
        }
    }

    /// A cluster of its own for a scenario that needs other settings or leaves it changed: three voters of Duet in a fresh
    /// folder.
    pub async fn fresh(&mut self, settings: &[String]) -> Result<Live, Problem> {
        self.cluster(settings, Feed::Leader).await
    }

    /// The same with default settings; observers that are added are fed like this.
    pub async fn fed(&mut self, feed: Feed) -> Result<Live, Problem> {
        self.cluster(&[], feed).await
    }

    /// One of so many nodes.
    pub async fn sized(&mut self, voters: u64, observers: u64, settings: &[String]) -> Result<Live, Problem> {
        let spec = self.spec_of(settings)?;
        Live::start(&ClusterSpec { voters, observers, ..spec }).await
    }

    async fn cluster(&mut self, settings: &[String], feed: Feed) -> Result<Live, Problem> {
        let spec = self.spec_of(settings)?;
        Live::start(&ClusterSpec { feed, ..spec }).await
    }

    /// What to start: three voters in a fresh folder.
    pub fn spec_of(&mut self, settings: &[String]) -> Result<ClusterSpec, Problem> {
        let System::Duet(protocol) = self.system else {
            return Err(Problem::Unclear(format!("{} has no such settings", self.system)));
        };
        let dir = self.fresh_dir();
        // The scenario's own come last and win: it would not show what it is for without them.
        let settings = [self.plan.settings.as_slice(), settings].concat();
        self.say("starting");
        Ok(ClusterSpec { settings, ..ClusterSpec::new(protocol, dir) })
    }

    fn fresh_dir(&mut self) -> PathBuf {
        self.clusters += 1;
        self.dir.join(format!("{}-{}", self.system, self.clusters))
    }

    /// Starts another system's servers and warms them up: Java compiles what it runs often.
    async fn start_peer(&mut self, installed: &Installed) -> Result<Cluster, Problem> {
        let dir = self.fresh_dir();
        self.say("starting");
        let cluster = Cluster::Peer(Servers::start(installed, &dir).await?);
        let spec = LoadSpec {
            mix: Mix { writes: 1, linearizable: 0, local: 1 },
            warm_up: Duration::ZERO,
            measure: Some(PEER_WARM_UP_MAX),
            ..self.spec(256)
        };
        let running = self.start(&cluster.at_leader().await?, spec, None).await?;
        let (least_us, operations) = (self.plan.peer_warm_up.as_micros() as u64, self.plan.peer_operations());
        self.watch(&running, async {
            let mut tick = interval(Duration::from_millis(100));
            while running.now_us() < least_us || running.operations() < operations {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = running.stopped() => break,
                }
            }
        })
        .await;
        running.stop();
        running.join().await;
        Ok(cluster)
    }

    /// How another system's servers were started, for the report; None for Duet's nodes.
    pub async fn describe(&mut self) -> Result<Option<String>, Problem> {
        match self.main().await? {
            Cluster::Duet(_) => Ok(None),
            Cluster::Peer(servers) => Ok(Some(servers.describe().await)),
        }
    }

    /// Gives the shared cluster up, so that the next scenario gets a new one.
    pub async fn give_up(&mut self) {
        if let Some(cluster) = self.main.take() {
            cluster.stop().await;
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

    /// New keys for a load, ready to be written.
    pub async fn keys(&self, target: &impl Target, spec: &LoadSpec) -> Result<Ledger, Problem> {
        let ledger = Ledger::new(spec.prefix, spec.keys);
        target.prepare((0..spec.keys).map(|key| ledger.name(key))).await?;
        Ok(ledger)
    }

    /// Starts a load, on new keys unless a ledger is given.
    pub async fn start<T>(&self, target: &T, spec: LoadSpec, ledger: Option<Ledger>) -> Result<Running, Problem>
    where
        T: Target,
        T::Conn: 'static,
    {
        let ledger = match ledger {
            Some(ledger) => ledger,
            None => self.keys(target, &spec).await?,
        };
        Ok(Running::start(target, spec, Some(ledger)))
    }

    /// Runs a load to its end, showing how it goes.
    pub async fn load<T>(&self, target: &T, spec: LoadSpec, ledger: Option<Ledger>) -> Result<LoadOutcome, Problem>
    where
        T: Target,
        T::Conn: 'static,
    {
        let running = self.start(target, spec, ledger).await?;
        self.watch(&running, running.stopped()).await;
        Ok(running.join().await)
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
    pub async fn write<T>(&mut self, target: &T, writes: u64, ledger: Option<Ledger>) -> Result<Ledger, Problem>
    where
        T: Target,
        T::Conn: 'static,
    {
        let spec = LoadSpec { keys: 8192, warm_up: Duration::ZERO, measure: None, ..self.spec(64) };
        let before = ledger.as_ref().map_or(0, Ledger::acknowledged_writes);
        let running = self.start(target, spec, ledger).await?;
        let wanted = before + writes;
        super::live::until(&format!("{writes} writes were not acknowledged"), || async {
            (running.acknowledged_writes() >= wanted).then_some(())
        })
        .await?;
        running.stop();
        Ok(running.join().await.ledger)
    }

    /// Reads back everything acknowledged. Err when anything is lost or cannot be read.
    pub async fn verify<T: Target>(&self, target: &T, ledger: &Ledger) -> Result<Verified, Problem> {
        self.say("reading back");
        judge(verify(target, ledger).await)
    }

    /// Ten thousand keys for scenarios that read, written once.
    pub async fn filled(&mut self) -> Result<Ledger, Problem> {
        self.main().await?;
        if self.filled.is_none() {
            let target = self.main().await?.at_leader().await?;
            let spec = LoadSpec { keys: 10_000, warm_up: Duration::ZERO, measure: None, ..self.spec(64) };
            let running = self.start(&target, spec, None).await?;
            super::live::until("10,000 keys were not written", || async {
                (running.acknowledged_writes() >= 10_000).then_some(())
            })
            .await?;
            running.stop();
            self.filled = Some(running.join().await.ledger);
        }
        self.filled.clone().ok_or_else(|| Problem::Unclear("the keys are gone".to_owned()))
    }

    /// What a durable write of this size cannot be faster than right now; see [`machine::floor_us`](super::machine::floor_us).
    pub fn floor_us(&self, bytes: usize) -> Option<f64> {
        super::machine::floor_us(&self.dir, bytes)
    }

    /// Says on the progress bar what is going on.
    pub fn say(&self, what: &str) {
        self.progress.now(self.system, what);
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
