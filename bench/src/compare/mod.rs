//! `duet compare`: runs both protocols through the same scenarios, on real processes with durable logs; and other systems
//! beside them, if asked to.
//!
//! Each system has a cluster of three voters; only one of them works at a time, the others idle. Scenarios that are
//! repeated let the systems take turns in A-B-B-A order, so that a machine that slowly changes its speed favours none.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`env`](mod@env) | what a scenario is given: a cluster, the plan, loads, reading back |
//! | [`system`] | what is compared, and a running cluster of any system |
//! | [`live`] | a running cluster of Duet's: who leads, who is level |
//! | [`cost`] | counters and CPU time, before and after |
//! | [`machine`] | the machine and its floors: a sync, a round trip |
//! | [`scenarios`] | the scenarios |
//! | [`progress`] | how far it is |
//!
//! # Adding a scenario
//!
//! 1. Write a struct in a file of its own below `scenarios/` and implement [`Scenario`] for it. [`Scenario::run`] is one run
//!    on one system: it takes a cluster from [`Env::main`] (shared, default settings) or [`Env::fresh`] (its own; stop it at
//!    the end), does its work with [`Env::load`], [`Env::write`] and [`live::Live`], and returns a
//!    [`Repetition`] with its measures. A table row appears for each measure; figures appear for `loads`, `kills`
//!    and `catch_ups`.
//! 2. Return [`Problem::Failed`] when something checked does not hold, and read back what was acknowledged with
//!    [`Env::verify`] before you return: a fast cluster that loses data is not fast.
//! 3. Say honestly in [`Scenario::does_not_show`] what must not be concluded.
//! 4. If other systems can run it, say so in [`Scenario::suits`], and use nothing that only Duet's nodes can be asked.
//! 5. Add it to [`scenarios::all`], where it should run.

pub mod cost;
pub mod env;
pub mod live;
pub mod machine;
pub mod progress;
pub mod scenarios;
pub mod system;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use common::node::ReplicaConfig;
use common::storage::StorageConfig;
use serde_json::json;
use tokio::task::LocalSet;

use crate::cli::{Exit, Fail, Protocol, Ui, block_on};
use crate::load::engine::LoadSpec;
use crate::peers::{Installed, Peer, Places};
use crate::report::format::{bytes, count};
use crate::report::results::{self, Outcome, Repetition, Results, SCHEMA, ScenarioResult, Verdict};
use crate::report::{self, page, table};
use crate::runs::{self, RunDir};
pub use env::{Env, PEER_WARM_UP_MAX};
use progress::Progress;
use system::System;

/// The arguments of `duet compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Everything once and short: about 20 seconds instead of two minutes
    #[arg(long)]
    quick: bool,

    /// Run other systems beside, as far as scenarios suit them: three servers each, which must be installed
    #[arg(long, value_enum, value_name = "SYSTEM", value_delimiter = ',', help_heading = "Other systems")]
    with: Vec<Peer>,

    #[command(flatten)]
    places: Places,

    /// How long they work before anything is measured, in seconds [default: 12, quick: 4]
    #[arg(long, value_name = "S", value_parser = crate::load::duration, help_heading = "Other systems")]
    warm_up: Option<Duration>,

    /// Only the scenario of this name, or all with this in their name; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Only this protocol
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,

    /// How long each load is measured, in seconds
    #[arg(long, value_name = "S", value_parser = crate::load::duration)]
    seconds: Option<Duration>,

    /// Writes per second of the scenario that does not wait for answers
    #[arg(long, value_name = "N", default_value_t = 5000.0)]
    rate: f64,

    /// How often the leader is killed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    kills: Option<u32>,

    /// Write the results (JSON) to this file as well; without a file, print them on stdout instead of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    json: Option<PathBuf>,

    /// Write the page to this file as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// A setting of every node, as `duet node --set` takes it; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Where the logs go, in a folder that is removed afterwards [default: the run's folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Keep the nodes' logs and data
    #[arg(long)]
    keep: bool,

    /// List the scenarios and run none
    #[arg(long)]
    list: bool,
}

/// What `--json` without a file stands for.
const STDOUT: &str = "-";

impl Args {
    /// Whether `--json` was given without a file.
    pub(crate) fn json_on_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new(STDOUT))
    }

    /// The file of `--json`.
    fn json_file(&self) -> Option<&PathBuf> {
        self.json.as_ref().filter(|_| !self.json_on_stdout())
    }
}

/// How long and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How long a load runs before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub measure: Duration,
    /// How often repeated scenarios run on each system.
    pub repetitions: u32,
    /// Writes per second where they do not wait for answers.
    pub rate: f64,
    /// How long other systems are warmed up at least.
    pub peer_warm_up: Duration,
    /// How often the leader is killed.
    pub kills: u32,
    /// Settings of every node that are not the default.
    pub settings: Vec<String>,
}

impl Plan {
    fn of(args: &Args) -> Self {
        let (warm_up, measure, repetitions, kills) = if args.quick { (150, 500, 1, 2) } else { (500, 2000, 2, 5) };
        Self {
            warm_up: Duration::from_millis(warm_up),
            measure: args.seconds.unwrap_or(Duration::from_millis(measure)).max(Duration::from_millis(100)),
            repetitions,
            rate: args.rate,
            peer_warm_up: args.warm_up.unwrap_or(Duration::from_secs(if args.quick { 4 } else { 12 })),
            kills: args.kills.unwrap_or(kills),
            settings: args.set.clone(),
        }
    }

    /// And how much they do meanwhile at least, on machines that are slow or busy: Java compiles what was called often.
    fn peer_operations(&self) -> u64 {
        self.peer_warm_up.as_secs() * 15_000
    }
}

/// One thing to compare. See the [module](self) for how to add one.
pub trait Scenario {
    /// A short name, for `--only`.
    fn name(&self) -> String;
    /// A heading.
    fn title(&self) -> String;
    /// What one can learn from it.
    fn shows(&self) -> String;
    /// What one must not conclude from it; goes on after "What this does not show:".
    fn does_not_show(&self) -> String;
    /// Whether it is run only when it is named: it takes its time, and answers a question of its own.
    fn extra(&self) -> bool {
        false
    }
    /// Whether it is run several times per protocol, in turns. For what is measured rather than checked.
    fn repeated(&self) -> bool {
        false
    }
    /// Whether it can be run on this system; on Duet's two always.
    fn suits(&self, system: System) -> bool {
        matches!(system, System::Duet(_))
    }
    /// Whether `--quick` runs it, unless it is asked for by name.
    fn when_quick(&self) -> bool {
        true
    }
    /// One run on one system.
    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a>;
}

/// A scenario's run under way.
pub type Work<'a> = Pin<Box<dyn Future<Output = Result<Repetition, Problem>> + 'a>>;

/// Why a scenario has no good end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something checked does not hold.
    Failed(String),
    /// It could not be found out.
    Unclear(String),
}

impl From<anyhow::Error> for Problem {
    fn from(e: anyhow::Error) -> Self {
        Self::Unclear(format!("{e:#}"))
    }
}

impl From<Problem> for Verdict {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Failed(reason) => Self::Fail { reason },
            Problem::Unclear(reason) => Self::Inconclusive { reason },
        }
    }
}

/// Runs `duet compare`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let plan = Plan::of(args);
    LoadSpec { rate: Some(plan.rate), ..LoadSpec::default() }.check().map_err(Fail::usage)?;
    let chosen = choose(args, &plan)?;
    if args.list {
        for scenario in &chosen {
            let when = if scenario.extra() { " (only when it is named)" } else { "" };
            ui.line(format!("{:<20} {}{when}", scenario.name(), scenario.title()))?;
        }
        return Ok(Exit::Good);
    }
    let mut peers = args.with.clone();
    peers.sort();
    peers.dedup();
    let peers = peers.iter().map(|p| p.find(&args.places)).collect::<Result<Vec<_>, _>>()?;
    let settings = json!({
        "with": peers.iter().map(|p| p.peer.name()).collect::<Vec<_>>(),
        "rate": plan.rate,
        "measure_ms": plan.measure.as_millis() as u64,
        "warm_up_ms": plan.warm_up.as_millis() as u64,
        "repetitions": plan.repetitions,
        "kills": plan.kills,
        "set": plan.settings,
        "scenarios": chosen.iter().map(|s| s.name()).collect::<Vec<_>>(),
    });
    let run = RunDir::create(Path::new(runs::ROOT), "compare", &settings)?;
    let data = DataDir::make(&args.data.clone().unwrap_or_else(|| run.path().to_owned()), args.keep)?;
    let work = LocalSet::new();
    block_on(async { work.run_until(compare(args, plan, chosen, peers, &run, data, ui)).await })
}

fn choose(args: &Args, plan: &Plan) -> anyhow::Result<Vec<Box<dyn Scenario>>> {
    let mut all = scenarios::all(plan);
    let names: Vec<String> = all.iter().map(|s| s.name()).collect();
    // A whole name means just that scenario, a part of names all of these.
    let means = |wanted: &str, name: &str| {
        if names.iter().any(|n| n == wanted) { name == wanted } else { name.contains(wanted) }
    };
    for wanted in &args.only {
        if !names.iter().any(|n| means(wanted, n)) {
            let message = format!("--only {wanted}: no scenario has that in its name");
            return Err(Fail::usage(message).hint(format!("there are {}", names.join(", "))).into());
        }
    }
    let unnamed =
        |s: &dyn Scenario| args.only.is_empty() && (s.when_quick() || !args.quick) && (args.list || !s.extra());
    all.retain(|s| unnamed(s.as_ref()) || args.only.iter().any(|o| means(o, &s.name())));
    Ok(all)
}

/// The folder of the nodes' data, removed at the end however that comes.
#[derive(Debug)]
struct DataDir {
    path: PathBuf,
    keep: bool,
}

impl DataDir {
    fn make(parent: &Path, keep: bool) -> anyhow::Result<Self> {
        let path = parent.join(format!("data-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|e| Fail::environment(format!("cannot write {}: {e}", path.display())))?;
        let path = path.canonicalize().context("the data folder has vanished")?;
        Ok(Self { path, keep })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if !self.keep {
            // Nobody can be told, and what is left does no harm.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

async fn compare(
    args: &Args,
    plan: Plan,
    chosen: Vec<Box<dyn Scenario>>,
    peers: Vec<Installed>,
    run: &RunDir,
    mut data: DataDir,
    ui: Ui,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let protocols: Vec<Protocol> =
        Protocol::ALL.into_iter().filter(|p| args.protocol.is_none_or(|a| a == *p)).collect();
    let systems = protocols.len() + peers.len();
    let steps: u32 = chosen.iter().map(|s| rounds(s.as_ref(), &plan) * systems as u32).sum();
    let progress = Progress::new(steps.into(), ui);
    let machine = machine::describe(&data.path);
    let make = |p: &Protocol| Env::new(System::Duet(*p), plan.clone(), data.path.clone(), progress.clone());
    let beside = |p: Installed| Env::of_peer(p, plan.clone(), data.path.clone(), progress.clone());
    let mut envs: Vec<Env> = protocols.iter().map(make).chain(peers.into_iter().map(beside)).collect();
    let mut results = Results {
        schema: SCHEMA,
        tool: format!("duet {}", env!("CARGO_PKG_VERSION")),
        command: command_line(),
        started,
        seconds: 0.0,
        machine,
        configuration: configuration(&plan),
        protocols: envs.iter().map(|e| e.system.to_string()).collect(),
        scenarios: Vec::new(),
    };
    results.configuration.extend(start_peers(&mut envs, &plan, &progress).await?);
    for scenario in &chosen {
        let result = run_scenario(scenario.as_ref(), &plan, &mut envs, &progress).await;
        progress.line(&one_line(&result));
        results.scenarios.push(result);
    }
    for env in &mut envs {
        env.give_up().await;
    }
    progress.finish();
    results.seconds = start.elapsed().as_secs_f64();
    if results.verdict() != Verdict::Pass {
        data.keep = true;
        ui.say(format!("the nodes' logs are kept in {}", data.path.display()));
    }
    publish(args, &results, run, ui)?;
    Ok(match results.verdict() {
        Verdict::Pass => Exit::Good,
        Verdict::Fail { .. } => Exit::CheckFailed,
        Verdict::Inconclusive { .. } => Exit::Inconclusive,
    })
}

/// Starts other systems before anything is measured, so that what keeps one from it is said at once. Gives how each was
/// started.
async fn start_peers(envs: &mut [Env], plan: &Plan, progress: &Progress) -> anyhow::Result<Vec<(String, String)>> {
    progress.scenario("Other systems");
    let mut rows = Vec::new();
    for env in envs.iter_mut().filter(|e| matches!(e.system, System::Peer(_))) {
        match env.describe().await {
            Ok(how) => rows.push((report::format::protocol(&env.system.to_string()), how.unwrap_or_default())),
            Err(Problem::Failed(why) | Problem::Unclear(why)) => return Err(Fail::environment(why).into()),
        }
    }
    if !rows.is_empty() {
        let what = format!(
            "other systems did {} writes and reads for 256 clients in at least {:?} (at most {PEER_WARM_UP_MAX:?}) before \
             anything was measured",
            count(plan.peer_operations() as f64),
            plan.peer_warm_up
        );
        rows.push(("warm-up".to_owned(), what));
    }
    Ok(rows)
}

/// Writes results and page, each whole or not at all, and prints the table.
fn publish(args: &Args, results: &Results, run: &RunDir, ui: Ui) -> anyhow::Result<()> {
    let (json, html) = (results.to_json(), page::render(results));
    run.write(results::FILE, json.as_bytes())?;
    let page = run.write(report::PAGE, html.as_bytes())?;
    for (path, content) in [(args.json_file(), &json), (args.html.as_ref(), &html)] {
        if let Some(path) = path {
            runs::write_whole(path, content.as_bytes())?;
        }
    }
    if ui.json {
        ui.bytes(json.as_bytes())?;
    } else {
        ui.line(table::render(results))?;
    }
    ui.say(format!("page: {}", page.display()));
    ui.next(&[(
        "make the page again, and a picture of it",
        format!("duet report {} --picture report.svg", run.path().display()),
    )]);
    Ok(())
}

/// The command line, as one would type it.
fn command_line() -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    std::iter::once("duet".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

fn rounds(scenario: &dyn Scenario, plan: &Plan) -> u32 {
    if scenario.repeated() { plan.repetitions } else { 1 }
}

/// Whose turn it is: A B B A A B B A ... `turns(2, 2)` is 0 1 1 0.
fn turns(protocols: usize, rounds: u32) -> Vec<usize> {
    let mut order = Vec::new();
    for round in 0..rounds {
        let mut row: Vec<usize> = (0..protocols).collect();
        if round % 2 == 1 {
            row.reverse();
        }
        order.extend(row);
    }
    order
}

/// Runs one scenario on every system that it suits. A system that failed is not run again in this scenario and gets a new cluster for
/// the next one; the others go on.
async fn run_scenario(scenario: &dyn Scenario, plan: &Plan, envs: &mut [Env], progress: &Progress) -> ScenarioResult {
    progress.scenario(&scenario.title());
    let mut envs: Vec<&mut Env> = envs.iter_mut().filter(|e| scenario.suits(e.system)).collect();
    let outcome =
        |env: &&mut Env| Outcome { protocol: env.system.to_string(), verdict: Verdict::Pass, repetitions: Vec::new() };
    let mut outcomes: Vec<Outcome> = envs.iter().map(outcome).collect();
    for (turn, who) in turns(envs.len(), rounds(scenario, plan)).into_iter().enumerate() {
        let (env, outcome) = (&mut *envs[who], &mut outcomes[who]);
        if outcome.verdict == Verdict::Pass {
            match scenario.run(env).await {
                Ok(rep) => outcome.repetitions.push(Repetition { turn: turn as u32, ..rep }),
                Err(problem) => {
                    outcome.verdict = problem.into();
                    env.give_up().await;
                }
            }
        }
        progress.step();
    }
    ScenarioResult {
        name: scenario.name(),
        title: scenario.title(),
        shows: scenario.shows(),
        does_not_show: scenario.does_not_show(),
        command: format!("duet compare --only {}", scenario.name()),
        outcomes,
    }
}

/// A scenario's end in one line, for those who watch without a terminal and for what stays above the bar.
fn one_line(result: &ScenarioResult) -> String {
    let of = |o: &Outcome| {
        let first = o.repetitions.first().and_then(|r| r.measures.first());
        let figure = first.map_or(String::new(), |m| format!(" {} {}", m.name, report::format::value(m.unit, m.value)));
        match o.verdict.reason() {
            None => format!("{}{figure}", o.protocol),
            Some(reason) => format!("{} {}: {reason}", o.protocol, o.verdict.word()),
        }
    };
    let parts: Vec<String> = result.outcomes.iter().map(of).collect();
    format!("{:<20} {}", result.name, parts.join("   "))
}

/// What both protocols are given, for the head of every report.
fn configuration(plan: &Plan) -> Vec<(String, String)> {
    let row = |name: &str, value: String| (name.to_owned(), value);
    let (raft, zab) = (raft::Config::default(), zab::Config::default());
    let (replica, storage) = (ReplicaConfig::default(), StorageConfig::default());
    let Plan { measure, warm_up, repetitions, .. } = plan;
    let several = if *repetitions > 1 { ", in A-B-B-A order" } else { "" };
    let mut rows = vec![
        row("cluster", "3 voters, one process each; all clients in one more process, all on this machine".to_owned()),
        row(
            "durability",
            "every node syncs (fdatasync) its log before it acknowledges; answers follow a majority".to_owned(),
        ),
        row("values", "100 bytes, where nothing else is said".to_owned()),
        row("clients", "share up to 16 connections".to_owned()),
        row("each load", format!("{measure:?} after {warm_up:?} of warm-up, {repetitions} per system{several}")),
        row(
            "batches",
            format!(
                "up to {} commands or {}, up to {} under way",
                replica.batch_entries,
                bytes(replica.batch_bytes as f64),
                replica.batches_in_flight
            ),
        ),
        row(
            "log",
            format!(
                "segments of {}, filled {} ahead; a snapshot every {} entries or {}",
                bytes(storage.segment_bytes as f64),
                bytes(storage.fill_bytes as f64),
                count(replica.snapshot_entries as f64),
                bytes(replica.snapshot_bytes as f64)
            ),
        ),
        row(
            "Raft timers",
            format!(
                "heartbeat {} ms, election time-out {} to {} ms, pre-vote {}, check-quorum {}, early election {}",
                raft.heartbeat_ms,
                raft.election_timeout_ms,
                raft.election_timeout_max_ms,
                on(raft.pre_vote),
                on(raft.check_quorum),
                on(raft.early_election)
            ),
        ),
        row(
            "ZAB timers",
            format!(
                "ping {} ms, syncLimit {} ms, initLimit {} ms, finalizeWait {} to {} ms",
                zab.ping_interval_ms,
                zab.sync_limit_ms,
                zab.init_limit_ms,
                zab.finalize_wait_min_ms,
                zab.finalize_wait_ms
            ),
        ),
    ];
    // The rows above tell the defaults.
    if !plan.settings.is_empty() {
        rows.push(row("but set", plan.settings.join(", ")));
    }
    rows
}

fn on(setting: bool) -> &'static str {
    if setting { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_take_turns() {
        assert_eq!(turns(2, 1), [0, 1]);
        assert_eq!(turns(2, 2), [0, 1, 1, 0]);
        assert_eq!(turns(2, 3), [0, 1, 1, 0, 0, 1]);
        assert_eq!(turns(1, 2), [0, 0]);
    }

    #[test]
    fn scenarios_have_names_of_their_own_and_say_what_they_do_not_show() {
        let plan = Plan {
            warm_up: Duration::ZERO,
            measure: Duration::ZERO,
            repetitions: 1,
            rate: 1.0,
            peer_warm_up: Duration::ZERO,
            kills: 1,
            settings: Vec::new(),
        };
        let all = scenarios::all(&plan);
        let names: std::collections::BTreeSet<String> = all.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), all.len());
        for s in &all {
            assert!(!s.shows().is_empty() && !s.title().is_empty(), "{}", s.name());
            assert!(s.does_not_show().ends_with('.'), "{}", s.name());
        }
        assert!(!scenarios::all(&Plan { kills: 0, ..plan }).iter().any(|s| s.name() == "kills" || s.name() == "hangs"));
    }

    #[test]
    fn data_folders_go_when_the_run_does() {
        let root = tempfile::tempdir().unwrap();
        let path = DataDir::make(root.path(), false).unwrap().path.clone();
        assert!(!path.exists());
        let kept = DataDir::make(root.path(), true).unwrap();
        let path = kept.path.clone();
        drop(kept);
        assert!(path.exists());
    }
}
