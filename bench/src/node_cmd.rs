//! `duet node`: one real node.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use common::node::{Node, NodeConfig, NodeError};
use common::state_machine::KvStore;
use common::storage::StorageError;
use common::transport::TransportError;
use common::types::Member;
use tokio::sync::oneshot;
use toml::{Table, Value};

use crate::cli::{Exit, Fail, Interrupt, Interrupts, Protocol, Ui, run_async};
use crate::config::{Checked, Layers, Setting, Settings, layers};
use crate::runs::write_whole;
use crate::supervisor::Ready;

const EXAMPLES: &str = "\
Examples:
  duet node --config node.toml
  duet node --config node.toml --set raft.heartbeat_ms=20 --print-config
  duet node --protocol zab --id 1 --voters 1=10.0.0.1:7001,2=10.0.0.2:7001,3=10.0.0.3:7001 \\
      --client-listen 10.0.0.1:4001 --data /var/lib/duet/n1
  duet node --protocol zab --id 4 --member observer --voters 1=10.0.0.1:7001,… --data /var/lib/duet/n4

An observer that is fed by another one, or by a follower, rather than by the leader (ZAB):
  duet node --protocol zab --id 5 --member observer --voters 1=10.0.0.1:7001,… --data /var/lib/duet/n5 \\
      --observers 4=10.0.0.4:7001 --set zab.sources=[4,2]

A Raft node that is to become a voter later: an observer that listens (then `duet ctl member add 4=10.0.0.4:7001`).
  duet node --id 4 --member observer --peer-listen 10.0.0.4:7001 --voters 1=10.0.0.1:7001,… --data /var/lib/duet/n4";

const SOURCES: &str = "\
Settings: flags over environment over the TOML file over defaults. Every setting of the file has a
variable: DUET_RAFT__HEARTBEAT_MS=20 is raft.heartbeat_ms = 20. `duet node --print-config` shows them all.";

/// The arguments of `duet node`.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = SOURCES)]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// Settings as a TOML file
    #[arg(long, value_name = "FILE", env = "DUET_CONFIG")]
    config: Option<PathBuf>,

    /// Show the settings in force as TOML, and do not start
    #[arg(long)]
    print_config: bool,

    /// What to speak [default: raft]
    #[arg(long, value_enum, env = "DUET_PROTOCOL")]
    protocol: Option<Protocol>,

    /// The cluster's name; nodes of another name are turned away [default: duet]
    #[arg(long, value_name = "NAME", env = "DUET_CLUSTER")]
    cluster: Option<String>,

    /// The node's number in its cluster, from 1
    #[arg(long, value_name = "N", env = "DUET_ID")]
    id: Option<u64>,

    /// Whether it votes [default: voter]
    #[arg(long, value_enum, env = "DUET_MEMBER")]
    member: Option<MemberArg>,

    /// Number and peer address of every voter that the cluster begins with; once members have changed, the node's log counts
    #[arg(long, value_name = "ID=HOST:PORT", value_delimiter = ',', env = "DUET_VOTERS", value_parser = parse_voter)]
    voters: Vec<(String, String)>,

    /// Number and peer address of observers; one that is to be fed by any of them (zab.sources) finds them there
    #[arg(long, value_name = "ID=HOST:PORT", value_delimiter = ',', env = "DUET_OBSERVERS", value_parser = parse_voter)]
    observers: Vec<(String, String)>,

    /// Where to listen for peers; an observer needs it to feed others, or to become a voter [default: a voter's own
    /// address in --voters]
    #[arg(long, value_name = "HOST:PORT", env = "DUET_PEER_LISTEN")]
    peer_listen: Option<String>,

    /// Where to listen for clients; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "HOST:PORT", env = "DUET_CLIENT_LISTEN")]
    client_listen: Option<String>,

    /// The folder of this node's log and snapshots
    #[arg(long, value_name = "DIR", env = "DUET_DATA")]
    data: Option<PathBuf>,

    /// Write a trace (trace/1) to this file
    #[arg(long, value_name = "FILE", env = "DUET_TRACE")]
    trace: Option<PathBuf>,

    /// For randomised time-outs [default: another one at each start]
    #[arg(long, value_name = "N", env = "DUET_SEED")]
    seed: Option<u64>,

    /// Any setting by its name in the file; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = layers::from_assignment)]
    set: Vec<Setting>,

    /// Write the ready line to this file too, once peers and clients are accepted
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// End when stdin ends: for a parent which wants no node to outlive it
    #[arg(long)]
    parent_watch: bool,
}

/// A member as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MemberArg {
    /// Votes, acknowledges, and may lead.
    Voter,
    /// Receives what is committed and serves reads; counts in no quorum. Raft says learner.
    #[value(alias = "learner")]
    Observer,
}

impl From<MemberArg> for Member {
    fn from(m: MemberArg) -> Self {
        match m {
            MemberArg::Voter => Self::Voter,
            MemberArg::Observer => Self::Observer,
        }
    }
}

fn parse_voter(text: &str) -> Result<(String, String), String> {
    let (id, addr) = text.split_once('=').ok_or("expected ID=HOST:PORT, as in 1=127.0.0.1:7001")?;
    Ok((id.trim().to_owned(), addr.trim().to_owned()))
}

impl Args {
    /// The settings in force, from all sources.
    fn settings(&self) -> Result<Settings, Fail> {
        let mut layers = Layers::default();
        if let Some(path) = &self.config {
            layers.file(path)?;
        }
        let vars =
            std::env::vars_os().map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
        for setting in layers::from_env(vars) {
            layers.set(&setting)?;
        }
        for (flag, value) in self.flags()? {
            let path = flag.replace('-', "_");
            let setting = Setting { origin: format!("--{flag} or DUET_{}", path.to_uppercase()), path, value };
            layers.set(&setting)?;
        }
        for setting in &self.set {
            layers.set(setting)?;
        }
        layers.settings()
    }

    /// The flags that were given, as settings.
    fn flags(&self) -> Result<Vec<(&'static str, Value)>, Fail> {
        let text = |s: &String| Value::String(s.clone());
        let path = |p: &PathBuf| Value::String(p.display().to_string());
        let number = |flag: &str, n: u64| {
            let fits = i64::try_from(n).map(Value::Integer);
            fits.map_err(|_| Fail::usage(format!("--{flag} {n}: must be at most {}", i64::MAX)))
        };
        let member = self.member.map(|m| if matches!(m, MemberArg::Voter) { "voter" } else { "observer" });
        let all = [
            ("protocol", self.protocol.map(|p| Value::String(p.to_string()))),
            ("cluster", self.cluster.as_ref().map(text)),
            ("id", self.id.map(|n| number("id", n)).transpose()?),
            ("member", member.map(|m| Value::String(m.into()))),
            ("voters", address_table("voters", "voter", &self.voters)?),
            ("observers", address_table("observers", "observer", &self.observers)?),
            ("peer-listen", self.peer_listen.as_ref().map(text)),
            ("client-listen", self.client_listen.as_ref().map(text)),
            ("data", self.data.as_ref().map(path)),
            ("trace", self.trace.as_ref().map(path)),
            ("seed", self.seed.map(|n| number("seed", n)).transpose()?),
        ];
        Ok(all.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect())
    }
}

/// A flag that names nodes and where they are.
fn address_table(flag: &str, what: &str, list: &[(String, String)]) -> Result<Option<Value>, Fail> {
    let mut table = Table::new();
    for (id, addr) in list {
        if let Some(before) = table.insert(id.clone(), Value::String(addr.clone())) {
            return Err(Fail::usage(format!("--{flag} gives {id} twice: {id}={before} and {id}={addr}"))
                .hint(format!("every {what} has an id of its own")));
        }
    }
    Ok((!table.is_empty()).then_some(Value::Table(table)))
}

/// Runs `duet node` until SIGINT or SIGTERM comes, stdin ends (with `--parent-watch`), or it stops itself.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let settings = args.settings()?;
    if args.print_config {
        return print_config(&settings, ui);
    }
    let checked = settings.check().map_err(|e| {
        Fail::usage(e.to_string()).hint("`duet node --help` shows examples, `duet node --print-config` every setting")
    })?;
    match checked.settings.protocol {
        Protocol::Raft => serve::<raft::Raft>(args, &checked, checked.settings.raft.clone(), ui),
        Protocol::Zab => serve::<zab::Zab>(args, &checked, checked.settings.zab.clone(), ui),
    }
}

fn serve<P: common::protocol::Protocol>(args: &Args, c: &Checked, protocol: P::Config, ui: Ui) -> anyhow::Result<Exit> {
    let s = &c.settings;
    let config = NodeConfig::<P> {
        cluster: s.cluster.clone(),
        member: s.member,
        observers: c.observers.clone(),
        peer_listen: c.peer_listen.clone(),
        client_listen: s.client_listen.clone(),
        replica: s.replica.clone(),
        storage: s.storage.clone(),
        trace: s.trace.clone(),
        // std's keys are the random number at hand.
        seed: s.seed.unwrap_or_else(|| RandomState::new().hash_one(s.id)),
        ..NodeConfig::voter(c.id, c.voters.clone(), c.data.clone(), protocol)
    };
    run_async(async {
        let mut interrupts = Interrupts::listen()?;
        let mut parent = args.parent_watch.then(ParentWatch::start).transpose()?;
        let mut node = Node::start(config, KvStore::default()).await.map_err(|e| explain(&e))?;
        announce(args, c, &node, ui)?;
        let exit = tokio::select! {
            ended = node.wait() => {
                // It was not asked to.
                ended.map_err(|e| explain(&e))?;
                return Ok(Exit::Environment);
            }
            interrupt = interrupts.next() => match interrupt {
                Interrupt::CtrlC => Exit::Interrupted,
                Interrupt::Terminate => Exit::Good,
            },
            () = ParentWatch::gone(&mut parent) => Exit::Good,
        };
        node.stop().await.map_err(|e| explain(&e))?;
        Ok(exit)
    })
}

/// Tells that the node accepts peers and clients, and where.
fn announce(args: &Args, c: &Checked, node: &Node, ui: Ui) -> anyhow::Result<()> {
    let ready = Ready {
        event: "ready".into(),
        protocol: c.settings.protocol,
        id: c.id,
        member: c.settings.member,
        peer: node.peer_addr().map(|a| a.to_string()),
        client: node.client_addr().to_string(),
        pid: std::process::id(),
    };
    let line = serde_json::to_string(&ready)?;
    if let Some(path) = &args.ready_file {
        write_whole(path, format!("{line}\n").as_bytes())?;
    }
    if ui.json {
        return ui.line(line);
    }
    let target = format!("{}://{}", ready.protocol, ready.client);
    let peers = ready.peer.map_or("no peers".into(), |p| format!("peers at {p}"));
    ui.say(format!("{} {} accepts {peers}, clients at {}", ready.protocol, ready.id, ready.client));
    ui.next(&[("how it is", format!("duet ctl --target {target} status"))]);
    Ok(())
}

/// A node's error: a setting, or something about the machine.
fn explain(e: &NodeError) -> Fail {
    match e {
        NodeError::Config(_)
        | NodeError::Transport(TransportError::Config(_))
        | NodeError::Storage(StorageError::Config { .. }) => Fail::usage(e.to_string()),
        NodeError::Transport(TransportError::Bind { .. }) => Fail::environment(e.to_string())
            .hint("give it another address (--peer-listen, --client-listen), or stop what uses this one"),
        _ => Fail::environment(e.to_string()),
    }
}

/// Waits for the end of stdin, which the kernel brings about when the parent is gone, however it went.
#[derive(Debug)]
struct ParentWatch {
    gone: oneshot::Receiver<()>,
}

impl ParentWatch {
    /// How long a node may take to stop once its parent is gone.
    const PATIENCE: Duration = Duration::from_secs(5);

    fn start() -> anyhow::Result<Self> {
        // The end of stdin is not seen by a node that is paused, or about to be. Where the kernel offers it, it kills the
        // node when the thread that started it ends, whatever state it is in.
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .context("cannot ask to end with the parent")?;
        let (tell, gone) = oneshot::channel();
        let watch = move || {
            // The content does not matter, and an error means the same as the end.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            // The receiver lives until the node has stopped; then the process ends and this thread with it.
            let _ = tell.send(());
            let (_held, never) = mpsc::channel::<()>();
            let _ = never.recv_timeout(Self::PATIENCE);
            std::process::exit(i32::from(Exit::Environment as u8));
        };
        // A thread, because reading stdin cannot be given up: tokio's would keep the process alive.
        std::thread::Builder::new().name("parent-watch".into()).spawn(watch).context("cannot watch stdin")?;
        Ok(Self { gone })
    }

    /// Waits until the parent is gone; for ever if nobody watches.
    async fn gone(watch: &mut Option<Self>) {
        match watch {
            Some(watch) => _ = (&mut watch.gone).await,
            None => std::future::pending().await,
        }
    }
}

fn print_config(settings: &Settings, ui: Ui) -> anyhow::Result<Exit> {
    if ui.json {
        ui.json_line(settings)?;
    } else {
        ui.bytes(settings.to_toml()?.as_bytes())?;
    }
    if let Err(e) = settings.clone().check() {
        ui.say(format!("a node would not start with this yet: {e}"));
    }
    Ok(Exit::Good)
}
