//! A cluster of real nodes, each a child process of this executable: to be killed, paused and restarted one by one.
//!
//! No node outlives its supervisor, however that ends: a dropped [`Cluster`] kills its nodes, and every node watches
//! its stdin (`--parent-watch`), which the kernel closes when the supervisor is killed. On Linux the kernel also kills a
//! node, paused or not, when the *thread* that started it ends: start clusters from a thread that lives as long as they.

pub(crate) mod ports;

use std::collections::BTreeMap;
use std::fs;
use std::future::{Future as _, poll_fn};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use common::types::{Member, NodeId};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::cli::{Exit, Fail, Protocol, Target};

/// What a node prints on stdout, as one line, once it accepts peers and clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always `ready`.
    pub event: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Who it is.
    pub id: NodeId,
    /// Voter or observer.
    pub member: Member,
    /// Where it listens for peers; None if it does not.
    pub peer: Option<String>,
    /// Where it listens for clients.
    pub client: String,
    /// Its process.
    pub pid: u32,
}

/// By whom observers are fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// The leader feeds all.
    Leader,
    /// Followers feed them, each in its turn.
    Followers,
    /// A follower feeds the first, and each feeds the next.
    Chain,
}

/// A cluster to start.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterSpec {
    /// What it speaks.
    pub protocol: Protocol,
    /// How many voters: nodes 1 to `voters`.
    pub voters: u64,
    /// How many observers: the ids after the voters'.
    pub observers: u64,
    /// By whom they are fed. Only ZAB has a choice.
    pub feed: Feed,
    /// Where everything goes: `n1/` (data), `n1.log` (messages), `n1.trace.jsonl`, …, and `cluster.json`.
    pub dir: PathBuf,
    /// Where the nodes' data goes instead: `n1/`, … in this folder, perhaps from an earlier run.
    pub data: Option<PathBuf>,
    /// Settings for every node, as after `duet node --set`: `raft.heartbeat_ms=20`.
    pub settings: Vec<String>,
    /// Whether nodes write traces.
    pub trace: bool,
    /// The executable `duet`; None for the one that runs.
    pub exe: Option<PathBuf>,
    /// How long a node may take until it is ready.
    pub patience: Duration,
}

impl ClusterSpec {
    /// Three voters with default settings.
    pub fn new(protocol: Protocol, dir: impl Into<PathBuf>) -> Self {
        Self {
            protocol,
            voters: 3,
            observers: 0,
            feed: Feed::Leader,
            dir: dir.into(),
            data: None,
            settings: Vec::new(),
            trace: false,
            exe: None,
            patience: Duration::from_secs(20),
        }
    }
}

/// A running cluster. Dropping it kills its nodes; [`stop`](Self::stop) lets them end in peace.
#[derive(Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    exe: PathBuf,
    nodes: BTreeMap<NodeId, Node>,
}

#[derive(Debug)]
struct Node {
    /// What it starts as.
    member: Member,
    peer: String,
    client: String,
    /// None while it is down.
    child: Option<Child>,
    /// The end of the pipe that the node watches. Apart from `child`, which would close it in order to wait.
    lifeline: Option<ChildStdin>,
}

/// The file `cluster.json` in a cluster's folder: what one needs to talk to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterFile {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its client addresses as one value.
    pub target: String,
    /// Its nodes.
    pub nodes: Vec<ClusterFileNode>,
}

/// A node in [`ClusterFile`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterFileNode {
    /// Who.
    pub id: NodeId,
    /// Voter or observer.
    pub member: Member,
    /// Where it listens for clients.
    pub client: String,
    /// Where it listens for peers; None if it does not.
    pub peer: Option<String>,
    /// Its process; None while it is down.
    pub pid: Option<u32>,
}

/// Its name in a cluster's folder.
pub const CLUSTER_FILE: &str = "cluster.json";

/// How often a cluster is given other ports when another process is quicker.
const PORT_ATTEMPTS: u32 = 5;
const PORTS_TAKEN: &str = "other processes keep taking the free ports that were found on 127.0.0.1";

/// Why a node did not come up.
enum StartError {
    /// A port was taken between reserving and using it.
    PortClash,
    Other(anyhow::Error),
}

impl Cluster {
    /// Starts every node and waits until all accept clients. They need not have found a leader yet.
    ///
    /// # Errors
    /// A [`Fail`] (exit code 5) when a node does not come up, with the end of its log.
    pub async fn start(spec: &ClusterSpec) -> anyhow::Result<Self> {
        if spec.voters == 0 {
            return Err(Fail::usage("voters = 0: a cluster has at least one voter").into());
        }
        for dir in [Some(&spec.dir), spec.data.as_ref()].into_iter().flatten() {
            fs::create_dir_all(dir).map_err(|e| Fail::environment(format!("cannot write {}: {e}", dir.display())))?;
        }
        let exe = match &spec.exe {
            Some(exe) => exe.clone(),
            None => std::env::current_exe().context("cannot find the path of this executable")?,
        };
        for _ in 0..PORT_ATTEMPTS {
            match Self::try_start(spec, &exe).await {
                Ok(cluster) => return Ok(cluster),
                Err(StartError::PortClash) => {}
                Err(StartError::Other(e)) => return Err(e),
            }
        }
        Err(Fail::environment(PORTS_TAKEN).into())
    }

    async fn try_start(spec: &ClusterSpec, exe: &Path) -> Result<Self, StartError> {
        let ids: Vec<NodeId> = (1..=spec.voters + spec.observers).map(NodeId).collect();
        let mut clients = ports::reserve(ids.len())?.into_iter();
        // Nobody connects to observers, unless they feed others or become voters.
        let mut peers = ports::reserve(ids.len())?.into_iter();
        let nodes = ids.iter().zip(clients.as_slice()).zip(peers.as_slice()).map(|((id, client), peer)| {
            let member = if id.0 <= spec.voters { Member::Voter } else { Member::Observer };
            (*id, Node { member, peer: peer.addr.clone(), client: client.addr.clone(), child: None, lifeline: None })
        });
        let mut cluster = Self { spec: spec.clone(), exe: exe.to_owned(), nodes: nodes.collect() };
        // Start all, then wait for all: they come up side by side.
        for id in &ids {
            drop((clients.next(), peers.next()));
            cluster.spawn(*id)?;
        }
        for id in &ids {
            cluster.await_ready(*id).await?;
        }
        cluster.write_file()?;
        Ok(cluster)
    }

    /// What was asked for.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// All nodes, voters first, down or up.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// The voters, down or up.
    pub fn voters(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, n)| n.member == Member::Voter).map(|(id, _)| *id).collect()
    }

    /// Where a node listens for clients; the same after a restart.
    pub fn client_addr(&self, id: NodeId) -> Option<&str> {
        self.nodes.get(&id).map(|n| n.client.as_str())
    }

    /// Where a node accepts peers; the same after a restart.
    pub fn peer_addr(&self, id: NodeId) -> Option<&str> {
        self.nodes.get(&id).map(|n| n.peer.as_str())
    }

    /// Every node's client address, voters first.
    pub fn client_addrs(&self) -> Vec<String> {
        self.nodes.values().map(|n| n.client.clone()).collect()
    }

    /// What `duet ctl --target` takes.
    pub fn target(&self) -> Target {
        Target { protocol: self.spec.protocol, addrs: self.client_addrs() }
    }

    /// A node's process; None while it is down.
    pub fn pid(&self, id: NodeId) -> Option<u32> {
        self.nodes.get(&id).and_then(|n| n.child.as_ref()).and_then(Child::id)
    }

    /// The folder of a node's log and snapshots.
    pub fn data_dir(&self, id: NodeId) -> PathBuf {
        self.spec.data.as_ref().unwrap_or(&self.spec.dir).join(id.to_string())
    }

    /// The file of a node's messages.
    pub fn log_path(&self, id: NodeId) -> PathBuf {
        self.spec.dir.join(format!("{id}.log"))
    }

    /// The file of a node's trace, if the cluster was started with traces.
    pub fn trace_path(&self, id: NodeId) -> PathBuf {
        self.spec.dir.join(format!("{id}.trace.jsonl"))
    }

    /// The last lines of a node's messages, for an error.
    pub fn log_tail(&self, id: NodeId) -> String {
        tail(&self.log_path(id)).unwrap_or_default()
    }

    /// Kills a node with SIGKILL, as a crash would, and waits until it is gone.
    pub async fn kill(&mut self, id: NodeId) -> anyhow::Result<ExitStatus> {
        let node = self.node(id)?;
        let mut child = node.child.take().ok_or_else(|| down(id))?;
        child.start_kill().with_context(|| format!("cannot kill {id}"))?;
        let status = child.wait().await.with_context(|| format!("cannot wait for {id}"))?;
        self.write_file()?;
        Ok(status)
    }

    /// Stops a node in its tracks with SIGSTOP; its connections stay open.
    pub fn pause(&self, id: NodeId) -> anyhow::Result<()> {
        self.signal(id, Signal::STOP)
    }

    /// Lets a paused node go on.
    pub fn resume(&self, id: NodeId) -> anyhow::Result<()> {
        self.signal(id, Signal::CONT)
    }

    /// Starts a node that is down, with the data and addresses it had, and waits until it accepts clients.
    pub async fn restart(&mut self, id: NodeId) -> anyhow::Result<()> {
        let node = self.node(id)?;
        if let Some(child) = &mut node.child {
            let gone = child.try_wait().with_context(|| format!("cannot look after {id}"))?;
            anyhow::ensure!(gone.is_some(), "{id} is running; kill it first");
            node.child = None;
        }
        let started = match self.spawn(id) {
            Ok(()) => self.await_ready(id).await,
            Err(e) => Err(e),
        };
        match started {
            Ok(()) => self.write_file(),
            Err(StartError::Other(e)) => Err(e),
            Err(StartError::PortClash) => {
                Err(Fail::environment(format!("{id} cannot have its ports back: another process took one")).into())
            }
        }
    }

    /// Adds an observer with the next free id, and waits until it accepts clients.
    pub async fn add_observer(&mut self) -> anyhow::Result<NodeId> {
        let id = NodeId(self.nodes.keys().map(|id| id.0).max().unwrap_or(0) + 1);
        for _ in 0..PORT_ATTEMPTS {
            // Free again from here on, for the node to take.
            let addrs: Vec<String> = ports::reserve(2)?.into_iter().map(|r| r.addr).collect();
            let Ok([client, peer]) = <[_; 2]>::try_from(addrs) else { continue };
            self.nodes.insert(id, Node { member: Member::Observer, peer, client, child: None, lifeline: None });
            let started = match self.spawn(id) {
                Ok(()) => self.await_ready(id).await,
                Err(e) => Err(e),
            };
            match started {
                Ok(()) => return self.write_file().map(|()| id),
                Err(StartError::PortClash) => {}
                Err(StartError::Other(e)) => {
                    self.nodes.remove(&id);
                    return Err(e);
                }
            }
        }
        self.nodes.remove(&id);
        Err(Fail::environment(PORTS_TAKEN).into())
    }

    /// Waits until some node ends that nobody killed here. It then counts as down.
    pub async fn exited(&mut self) -> (NodeId, io::Result<ExitStatus>) {
        let nodes = &mut self.nodes;
        let ended = poll_fn(|cx| {
            for (id, node) in nodes.iter_mut() {
                let Some(child) = &mut node.child else { continue };
                let ended = pin!(child.wait()).poll(cx);
                if let Poll::Ready(status) = ended {
                    node.child = None;
                    return Poll::Ready((*id, status));
                }
            }
            Poll::Pending
        })
        .await;
        // The file is a convenience for `duet ctl`; that a node ended is the news.
        let _ = self.write_file();
        ended
    }

    /// Asks every node to end (SIGTERM), waits, and kills those that do not. Gives how each one ended.
    pub async fn stop(mut self) -> Vec<(NodeId, io::Result<ExitStatus>)> {
        for id in self.ids() {
            // A paused node must run to hear that it shall end. One that is gone needs neither.
            let _ = self.signal(id, Signal::CONT);
            let _ = self.signal(id, Signal::TERM);
        }
        let mut ends = Vec::new();
        for (id, node) in &mut self.nodes {
            let Some(mut child) = node.child.take() else { continue };
            let end = match timeout(Duration::from_secs(5), child.wait()).await {
                Ok(end) => end,
                Err(_) => child.kill().await.and(child.wait().await),
            };
            ends.push((*id, end));
        }
        let _ = self.write_file();
        ends
    }

    /// The command line of a node; what `duet cluster` shows.
    pub fn node_args(&self, id: NodeId) -> Vec<String> {
        let Some(node) = self.nodes.get(&id) else { return Vec::new() };
        let mut args: Vec<String> = vec!["node".into()];
        let mut add = |flag: &str, value: String| args.extend([format!("--{flag}"), value]);
        add("protocol", self.spec.protocol.to_string());
        add("cluster", format!("duet-{}", self.spec.protocol));
        add("id", id.0.to_string());
        if node.member == Member::Observer {
            add("member", "observer".into());
            add("peer-listen", node.peer.clone());
        }
        let addresses = |of: Member| {
            let nodes = self.nodes.iter().filter(|(_, n)| n.member == of);
            nodes.map(|(id, n)| format!("{}={}", id.0, n.peer)).collect::<Vec<_>>().join(",")
        };
        add("voters", addresses(Member::Voter));
        let sources = self.sources(id);
        if !sources.is_empty() {
            add("observers", addresses(Member::Observer));
            add("set", format!("zab.sources={sources:?}"));
        }
        add("client-listen", node.client.clone());
        add("data", self.data_dir(id).display().to_string());
        if self.spec.trace {
            add("trace", self.trace_path(id).display().to_string());
        }
        for setting in &self.spec.settings {
            add("set", setting.clone());
        }
        args
    }

    /// By whom a node would be fed, best first; nobody but the leader, if there are none.
    fn sources(&self, id: NodeId) -> Vec<u64> {
        /// As many as a node may be told.
        const MOST: usize = 16;
        let of = |member: Member| self.nodes.iter().filter(move |(_, n)| n.member == member).map(|(id, _)| id.0);
        let before: Vec<u64> = of(Member::Observer).filter(|other| *other < id.0).collect();
        if self.spec.protocol != Protocol::Zab || !of(Member::Observer).any(|other| other == id.0) {
            return Vec::new();
        }
        let mut voters: Vec<u64> = of(Member::Voter).collect();
        match self.spec.feed {
            Feed::Leader => Vec::new(),
            Feed::Followers => {
                let turn = before.len() % voters.len();
                voters.rotate_left(turn);
                voters.into_iter().take(MOST).collect()
            }
            Feed::Chain => before.into_iter().rev().chain(voters).take(MOST).collect(),
        }
    }

    fn node(&mut self, id: NodeId) -> anyhow::Result<&mut Node> {
        let known = self.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.nodes.get_mut(&id).ok_or_else(|| Fail::usage(format!("there is no node {id}; there are {known}")).into())
    }

    fn signal(&self, id: NodeId, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid(id).and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or_else(|| down(id))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {id} (process {})", pid.as_raw_nonzero()))
    }

    fn spawn(&mut self, id: NodeId) -> Result<(), StartError> {
        let log_path = self.log_path(id);
        let log = fs::File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(|e| Fail::environment(format!("cannot write {}: {e}", log_path.display())))?;
        let mut command = Command::new(&self.exe);
        command.args(self.node_args(id)).args(["--json", "--parent-watch"]);
        // Only the command line decides: a setting in this process's environment is not a setting of its nodes.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("DUET_") && key != "DUET_LOG" {
                command.env_remove(key);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // A process group of its own: Ctrl-C reaches the supervisor alone, which then ends the nodes in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.exe.display()))?;
        let node = self.node(id)?;
        node.lifeline = child.stdin.take();
        node.child = Some(child);
        Ok(())
    }

    /// Waits for the ready line of a node just spawned.
    async fn await_ready(&mut self, id: NodeId) -> Result<(), StartError> {
        let patience = self.spec.patience;
        let child = self.node(id)?.child.as_mut().ok_or_else(|| anyhow::Error::from(down(id)))?;
        // The other end stays open: a node which went on printing would fail otherwise.
        let mut lines = BufReader::new(child.stdout.as_mut().context("its stdout is not piped")?).lines();
        let line = match timeout(patience, lines.next_line()).await {
            Err(_) => {
                return Err(self.did_not_start(id, &format!("was not ready after {patience:?}")).into());
            }
            Ok(read) => read.with_context(|| format!("cannot read what {id} prints"))?,
        };
        let Some(line) = line else {
            let status = child.wait().await.with_context(|| format!("cannot wait for {id}"))?;
            if status.code() == Some(Exit::Environment as i32) && self.log_tail(id).contains("Address already in use") {
                return Err(StartError::PortClash);
            }
            return Err(self.did_not_start(id, &format!("ended at once ({status})")).into());
        };
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("{id} printed `{line}`"))?;
        let node = self.node(id)?;
        node.client = ready.client;
        Ok(())
    }

    fn did_not_start(&self, id: NodeId, what: &str) -> Fail {
        let path = self.log_path(id);
        Fail::environment(format!("{} node {id} {what}; its log ends:\n{}", self.spec.protocol, self.log_tail(id)))
            .hint(format!("the whole log is {}", path.display()))
    }

    /// What `cluster.json` says.
    pub fn file(&self) -> ClusterFile {
        let nodes = self.nodes.iter().map(|(id, n)| ClusterFileNode {
            id: *id,
            member: n.member,
            client: n.client.clone(),
            peer: Some(n.peer.clone()),
            pid: n.child.as_ref().and_then(Child::id),
        });
        ClusterFile { protocol: self.spec.protocol, target: self.target().to_string(), nodes: nodes.collect() }
    }

    fn write_file(&self) -> anyhow::Result<()> {
        let path = self.spec.dir.join(CLUSTER_FILE);
        crate::runs::write_whole(&path, &serde_json::to_vec_pretty(&self.file())?)?;
        Ok(())
    }
}

impl From<anyhow::Error> for StartError {
    fn from(e: anyhow::Error) -> Self {
        Self::Other(e)
    }
}

impl From<Fail> for StartError {
    fn from(e: Fail) -> Self {
        Self::Other(e.into())
    }
}

fn down(id: NodeId) -> Fail {
    Fail::new(Exit::CheckFailed, format!("{id} is down"))
}

/// The last lines of a text file.
pub(crate) fn tail(path: &Path) -> io::Result<String> {
    const BYTES: u64 = 2000;
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(BYTES)))?;
    let mut end = Vec::new();
    file.take(BYTES).read_to_end(&mut end)?;
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(12)..].join("\n"))
}
