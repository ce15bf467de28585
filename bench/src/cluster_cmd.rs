//! `duet cluster`: whole clusters on this machine, one process a node, until Ctrl-C.

use std::future::{Future as _, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitStatus;
use std::task::Poll;
use std::time::Duration;

use clap::ValueEnum;
use common::types::{LogId, NodeId};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cli::{Exit, Fail, Interrupts, Live, Protocol, Ui, run_async};
use crate::config::{Setting, layers};
use crate::ctl_cmd::render::{member, table, table_text};
use crate::ctl_cmd::{Link, StatusRow, knower_of, leader_of, live_table, members_json, members_line};
use crate::runs::{self, RunDir};
use crate::supervisor::{Cluster, ClusterFileNode, ClusterSpec, Feed};

const EXAMPLES: &str = "\
Examples:
  duet cluster                                     three Raft voters
  duet cluster --protocol both --observers 1       Raft and ZAB side by side, an observer each
  duet cluster --protocol zab --observers 3 --feed chain
  duet cluster --protocol zab --voters 5 --set zab.sync_limit_ms=500
  duet ctl put colour green                        … in another terminal
  kill -9 PID, kill -STOP PID, kill -CONT PID      … to see what the others do";

/// The arguments of `duet cluster`.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// What to speak
    #[arg(long, value_enum, default_value = "raft")]
    protocol: Which,

    /// How many voters, in each cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=15))]
    voters: u64,

    /// How many observers, in each cluster
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=16))]
    observers: u64,

    /// By whom observers are fed; Raft's always by the leader
    #[arg(long, value_enum, default_value = "leader")]
    feed: Feed,

    /// Keep the nodes' data here and go on with what is there [default: in the run's folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// A setting of every node, by its name in the TOML file; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<String>,

    /// Let every node write a trace (trace/1)
    #[arg(long)]
    trace: bool,
}

/// Which protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Raft
    Raft,
    /// ZooKeeper Atomic Broadcast
    Zab,
    /// A cluster of each
    Both,
}

impl Which {
    fn protocols(self) -> Vec<Protocol> {
        match self {
            Self::Raft => vec![Protocol::Raft],
            Self::Zab => vec![Protocol::Zab],
            Self::Both => Protocol::ALL.to_vec(),
        }
    }
}

/// Checks a setting here, so that a mistake is told once and not by every node.
fn parse_setting(text: &str) -> Result<String, String> {
    let setting: Setting = layers::from_assignment(text)?;
    let refused = |e: Fail| format!("{e}{}", e.next_step().map_or(String::new(), |h| format!("\n{h}")));
    layers::Layers::default().set(&setting).map_err(refused)?;
    Ok(text.to_owned())
}

/// Runs `duet cluster` until Ctrl-C.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let protocols = args.protocol.protocols();
    if args.feed != Feed::Leader && !protocols.contains(&Protocol::Zab) {
        let feed = args.feed.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        return Err(Fail::usage(format!("--feed {feed}: in Raft the leader feeds all learners; expected leader"))
            .hint("give it to ZAB: --protocol zab, or both")
            .into());
    }
    let config = json!({
        "protocols": protocols, "voters": args.voters, "observers": args.observers, "feed": args.feed, "settings": args.set,
        "data": args.data, "trace": args.trace,
    });
    let run = RunDir::create(Path::new(runs::ROOT), "cluster", &config)?;
    run_async(async {
        let mut interrupts = Interrupts::listen()?;
        let clusters = tokio::select! {
            started = start(args, &protocols, &run) => started?,
            // Dropped where it waits, a cluster kills what it has started.
            _ = interrupts.next() => return Ok(Exit::Interrupted),
        };
        introduce(&clusters, &run, ui)?;
        let mut clusters = clusters;
        let ended = tokio::select! {
            ended = watch(&mut clusters, ui) => ended,
            _ = interrupts.next() => Ok(Exit::Interrupted),
        };
        tokio::select! {
            () = stop(clusters) => {}
            // A second Ctrl-C: no more patience.
            _ = interrupts.next() => {}
        }
        ui.say(format!("stopped; everything is in {}", run.path().display()));
        ended
    })
}

async fn start(args: &Args, protocols: &[Protocol], run: &RunDir) -> anyhow::Result<Vec<Cluster>> {
    let mut clusters = Vec::new();
    for protocol in protocols {
        let spec = ClusterSpec {
            voters: args.voters,
            observers: args.observers,
            feed: args.feed,
            data: args.data.as_ref().map(|d| d.join(protocol.name())),
            settings: args.set.clone(),
            trace: args.trace,
            ..ClusterSpec::new(*protocol, run.join(protocol.name()))
        };
        clusters.push(Cluster::start(&spec).await?);
    }
    Ok(clusters)
}

async fn stop(clusters: Vec<Cluster>) {
    for cluster in clusters {
        cluster.stop().await;
    }
}

/// Who listens where, and what to type next.
fn introduce(clusters: &[Cluster], run: &RunDir, ui: Ui) -> anyhow::Result<()> {
    for cluster in clusters {
        let (protocol, target) = (cluster.spec().protocol, cluster.target().to_string());
        let nodes: Vec<ClusterFileNode> = cluster.file().nodes;
        if ui.json {
            ui.json_line(&json!({
                "event": "started", "run": run.path(), "protocol": protocol, "target": target, "nodes": nodes,
            }))?;
            continue;
        }
        let mut t = table(&["PROTOCOL", "NODE", "MEMBER", "CLIENTS", "PEERS", "PID"]);
        for n in &nodes {
            let pid = n.pid.map_or("-".into(), |p| p.to_string());
            t.add_row([
                protocol.to_string(),
                n.id.to_string(),
                member(n.member).into(),
                n.client.clone(),
                n.peer.clone().unwrap_or_else(|| "-".into()),
                pid,
            ]);
        }
        ui.line(table_text(&t))?;
    }
    let which = if clusters.len() > 1 { "--protocol zab " } else { "" };
    ui.next(&[
        ("write a key", format!("duet ctl put {which}colour green")),
        ("every node, one row each", "duet ctl status".into()),
        ("what the leader knows of its peers", "duet ctl peers".into()),
        ("who belongs, and how that is changed", "duet ctl member --help".into()),
        ("from elsewhere than this folder", format!("duet ctl --target {} leader", clusters[0].target())),
    ]);
    ui.say(format!("Everything is in {}. Ctrl-C stops all nodes.\n", run.path().display()));
    Ok(())
}

/// Shows who leads and who died, for as long as any node lives.
async fn watch(clusters: &mut [Cluster], ui: Ui) -> anyhow::Result<Exit> {
    let mut links = Vec::new();
    for cluster in clusters.iter() {
        links.push(Link::open(cluster.target(), None, POLL_PATIENCE).await?);
    }
    let said = vec![Said::default(); links.len()];
    let mut screen = Screen { ui, live: Live::new(ui), said };
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (at, id, status) = any_exit(clusters) => {
                screen.tell_exit(&clusters[at], id, &status)?;
                if clusters.iter().all(|c| c.ids().iter().all(|id| c.pid(*id).is_none())) {
                    return Err(Fail::environment("no node is left").into());
                }
            }
            rows = polled(&mut ticks, &links) => screen.show(&rows)?,
        }
    }
}

/// How often every node is asked who leads, and how long it may take to say so.
const POLL_EVERY: Duration = Duration::from_millis(300);
const POLL_PATIENCE: Duration = Duration::from_secs(1);

/// Every cluster's rows, at the next tick.
async fn polled(ticks: &mut Interval, links: &[Link]) -> Vec<Vec<StatusRow>> {
    ticks.tick().await;
    let mut all = Vec::new();
    for link in links {
        all.push(link.rows().await);
    }
    all
}

/// Waits until a node of any cluster ends.
async fn any_exit(clusters: &mut [Cluster]) -> (usize, NodeId, io::Result<ExitStatus>) {
    poll_fn(|cx| {
        for (at, cluster) in clusters.iter_mut().enumerate() {
            if let Poll::Ready((id, status)) = pin!(cluster.exited()).poll(cx) {
                return Poll::Ready((at, id, status));
            }
        }
        Poll::Pending
    })
    .await
}

/// What is shown while the clusters run.
struct Screen {
    ui: Ui,
    live: Live,
    /// What was said last of each cluster.
    said: Vec<Said>,
}

#[derive(Clone, Debug, Default)]
struct Said {
    leader: String,
    /// Since which entry; nothing while the members are those of the settings.
    members: LogId,
}

impl Screen {
    /// On a terminal a table, redrawn in place; otherwise a line for each change of leader or members.
    fn show(&mut self, clusters: &[Vec<StatusRow>]) -> anyhow::Result<()> {
        if self.ui.can_redraw() {
            let members =
                clusters.iter().filter_map(|rows| members_line(rows.first()?.protocol, &knower_of(rows)?.core));
            let text: Vec<String> = std::iter::once(live_table(&clusters.concat())).chain(members).collect();
            return self.live.redraw(&text.join("\n"));
        }
        for (rows, said) in clusters.iter().zip(&mut self.said) {
            let Some(protocol) = rows.first().map(|r| r.protocol) else { continue };
            let (leader, epoch) = leader_of(rows).map(|(_, s)| (s.core.id, s.core.epoch)).unzip();
            let now = if self.ui.json {
                json!({"event": "leader", "protocol": protocol, "leader": leader, "epoch": epoch}).to_string()
            } else if let (Some(id), Some(epoch)) = (leader, epoch) {
                format!("{protocol}: {id} leads in {} {epoch}", protocol.epoch_word())
            } else {
                format!("{protocol}: nobody leads")
            };
            if said.leader != now {
                self.ui.line(&now)?;
                said.leader = now;
            }
            // What an old leader knew, or one that has not caught up, is no news.
            let Some(core) = knower_of(rows).map(|s| &s.core).filter(|c| c.membership_at > said.members) else {
                continue;
            };
            said.members = core.membership_at;
            if self.ui.json {
                let mut object = members_json(protocol, core);
                (object["event"], object["protocol"]) = (json!("members"), json!(protocol));
                self.ui.json_line(&object)?;
            } else if let Some(line) = members_line(protocol, core) {
                self.ui.line(line)?;
            }
        }
        Ok(())
    }

    fn tell_exit(&mut self, cluster: &Cluster, id: NodeId, status: &io::Result<ExitStatus>) -> anyhow::Result<()> {
        let protocol = cluster.spec().protocol;
        let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        self.live.clear()?;
        if self.ui.json {
            self.ui.json_line(&json!({
                "event": "exited", "protocol": protocol, "id": id, "status": how, "log": cluster.log_path(id),
            }))?;
        }
        let tail = cluster.log_tail(id);
        let log = if tail.is_empty() { "its log is empty".into() } else { format!("its log ends:\n{tail}") };
        self.ui.say(format!("{protocol}: {id} ended ({how}); {log}"));
        self.ui.next(&[("start it again, in another terminal", format!("duet {}", cluster.node_args(id).join(" ")))]);
        Ok(())
    }
}
