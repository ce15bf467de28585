//! Three servers of another system: child processes on loopback, killed when this is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Installed, Peer, etcd, on_path, zookeeper};
use crate::cli::Fail;
use crate::supervisor::{ports, tail};

/// How long servers may take until one of them leads, or one that was down has caught up: a Java machine takes seconds.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often they are asked.
const LOOK: Duration = Duration::from_millis(10);

/// How many there are, as there are voters of Duet.
pub const SERVERS: usize = 3;

/// What one server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether it leads.
    pub leads: bool,
    /// Whether it leads or follows, and so serves clients.
    pub serves: bool,
    /// The number of the last entry it applied; it grows.
    pub applied: u64,
    /// Its version.
    pub version: String,
}

/// How one server is to be started.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where it listens for clients.
    pub(super) client: String,
    /// What it is started with, after the arguments that all have.
    pub(super) args: Vec<String>,
}

/// Three servers of one system.
#[derive(Debug)]
pub struct Servers {
    installed: Installed,
    /// How they were started, for the report.
    settings: String,
    all: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    plan: Plan,
    log: PathBuf,
    /// None while it is down.
    child: Option<Child>,
}

impl Servers {
    /// Starts three servers with everything they write below `dir`, and waits until all serve and one leads.
    ///
    /// # Errors
    /// Exit code 5 when they do not come up, with the end of a log.
    pub async fn start(installed: &Installed, dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).map_err(|e| Fail::environment(format!("cannot write {}: {e}", dir.display())))?;
        let ports = ports::reserve(3 * SERVERS)?;
        let addrs: Vec<String> = ports.iter().map(|p| p.addr.clone()).collect();
        let (settings, plans) = match installed.peer {
            Peer::ZooKeeper => zookeeper::plan(dir, &addrs)?,
            Peer::Etcd => etcd::plan(dir, &addrs),
        };
        drop(ports);
        let server = |(i, plan): (usize, Plan)| Server { plan, log: dir.join(format!("{}.log", i + 1)), child: None };
        let all = plans.into_iter().enumerate().map(server).collect();
        let mut started = Self { installed: installed.clone(), settings, all };
        (0..SERVERS).try_for_each(|i| started.spawn(i))?;
        started.ready().await?;
        Ok(started)
    }

    /// Which system.
    pub fn peer(&self) -> Peer {
        self.installed.peer
    }

    /// Its version and how its servers were started, for the report.
    pub async fn describe(&self) -> String {
        let version = self.states().await.into_iter().flatten().next().map_or(String::new(), |s| s.version);
        format!("{version}; {}", self.settings)
    }

    /// Client addresses, in order.
    pub fn addrs(&self) -> Vec<String> {
        self.all.iter().map(|s| s.plan.client.clone()).collect()
    }

    /// A server's process; None while it is down.
    pub fn pid(&self, server: usize) -> Option<u32> {
        self.all.get(server)?.child.as_ref()?.id()
    }

    /// What each server says of itself, in order; None where one does not answer.
    pub async fn states(&self) -> Vec<Option<State>> {
        let mut list = Vec::new();
        for server in &self.all {
            let addr = &server.plan.client;
            list.push(match (&server.child, self.installed.peer) {
                (None, _) => None,
                (Some(_), Peer::ZooKeeper) => zookeeper::state(addr).await.ok(),
                (Some(_), Peer::Etcd) => etcd::state(addr).await.ok(),
            });
        }
        list
    }

    /// What each server that answers counts, by the names that Duet's nodes use, and its process; with its place.
    pub async fn counters(&self) -> Vec<(usize, Vec<(String, u64)>, u32)> {
        let mut list = Vec::new();
        for (i, server) in self.all.iter().enumerate() {
            let Some(pid) = self.pid(i) else { continue };
            let addr = &server.plan.client;
            let counters = match self.installed.peer {
                Peer::ZooKeeper => zookeeper::counters(addr).await,
                Peer::Etcd => etcd::counters(addr).await,
            };
            list.extend(counters.ok().map(|counters| (i, counters, pid)));
        }
        list
    }

    /// Waits until one leads, and gives its place.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        self.until("no server leads", |states| states.iter().position(|s| s.as_ref().is_some_and(|s| s.leads))).await
    }

    /// Waits until all that are up have applied the same.
    pub async fn level(&self) -> anyhow::Result<()> {
        self.until("the servers did not become level", |states| {
            let applied = states.first()?.as_ref()?.applied;
            states.iter().all(|s| s.as_ref().is_some_and(|s| s.applied == applied)).then_some(())
        })
        .await
    }

    /// Kills a server with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self, server: usize) -> anyhow::Result<()> {
        let child = self.all.get_mut(server).and_then(|s| s.child.take());
        let mut child = child.with_context(|| format!("server {} is down", server + 1))?;
        child.kill().await.with_context(|| format!("cannot kill server {}", server + 1))
    }

    /// Starts a server that was killed, with the data and addresses it had, and waits until it serves and has what the
    /// others have now.
    pub async fn restart(&mut self, server: usize) -> anyhow::Result<()> {
        let goal = self.states().await.into_iter().flatten().map(|s| s.applied).max().unwrap_or(0);
        self.spawn(server)?;
        self.until("the restarted server did not catch up", |states| {
            let state = states.get(server)?.as_ref()?;
            (state.serves && state.applied >= goal).then_some(())
        })
        .await
    }

    /// Ends all servers.
    pub async fn stop(mut self) {
        for server in 0..SERVERS {
            // One that is gone already is no trouble.
            let _ = self.kill(server).await;
        }
    }

    fn spawn(&mut self, server: usize) -> anyhow::Result<()> {
        let server = &mut self.all[server];
        let log = File::options().create(true).append(true).open(&server.log);
        let log = log.with_context(|| format!("cannot write {}", server.log.display()))?;
        let Installed { program, args, .. } = &self.installed;
        // Where there is `setpriv`, the kernel ends a server whose supervisor was killed, as it does Duet's own nodes.
        let mut command = match on_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(args).args(&server.plan.args);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // A process group of its own: Ctrl-C reaches the supervisor alone.
        command.process_group(0);
        server.child = Some(command.spawn().with_context(|| format!("cannot start {}", program.display()))?);
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let serves = self.until("not every server serves", |states| {
            let all = states.iter().all(|s| s.as_ref().is_some_and(|s| s.serves));
            (all && states.iter().flatten().any(|s| s.leads)).then_some(())
        });
        let Err(e) = serves.await else { return Ok(()) };
        let ended = |s: &mut Server| s.child.as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None)));
        let mute = self.all.iter_mut().position(ended).unwrap_or(0);
        let log = tail(&self.all[mute].log).unwrap_or_default();
        let message = format!("{} did not come up: {e}; the log of server {} ends:\n{log}", self.peer(), mute + 1);
        Err(Fail::environment(message).into())
    }

    /// Asks all servers again and again until there is something, for as long as patience lasts.
    async fn until<T>(&self, what: &str, mut look: impl FnMut(&[Option<State>]) -> Option<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while start.elapsed() < PATIENCE {
            tick.tick().await;
            if let Some(found) = look(&self.states().await) {
                return Ok(found);
            }
        }
        anyhow::bail!("{what} within {} s", PATIENCE.as_secs())
    }
}
