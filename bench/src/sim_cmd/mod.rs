//! `duet sim`: the simulator over many seeds, or one plan again.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`subjects`] | which protocols there are |
//! | [`campaign`] | many seeds on all cores |
//! | [`tally`], [`show`] | what they add up to, and how it is printed |
//! | `replay` | one plan again, with its last events as a chart |

pub mod campaign;
mod replay;
pub mod show;
pub mod subjects;
pub mod tally;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::ValueEnum;
use common::mutant;
use common::sim::plan::Plan;
use common::sim::shrink::{self, Shrunk, shrink};
use common::sim::swarm;
use common::sim::world::Options;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cli::{Exit, Fail, Interrupts, Protocol, Ui, run_async};
use crate::mutants_cmd::hunt;
use crate::runs::{self, RunDir};
use campaign::{Campaign, Found, Spec};

/// The number of the schema of what `duet sim --json` prints.
pub const SCHEMA: u32 = 1;
/// Plans that one campaign writes at most.
const MAX_FOUND: usize = 100;
/// Seeds when neither their number nor a time is given.
const SEEDS: u64 = 1000;

/// The arguments of `duet sim`.
#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  duet sim                                 1000 seeds of each protocol, on all cores
  duet sim --protocol zab --minutes 30     as many seeds as there is time for
  duet sim --from 1000000 --seeds 100000   one part of a campaign; seeds are independent
  duet sim --replay runs/latest/seed-7.plan --shrink")]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// Which protocols; both get the same plan from a seed
    #[arg(long, value_enum, default_value_t = Which::Both)]
    protocol: Which,

    /// How many seeds, for each protocol [default: 1000, or without end if --minutes is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,

    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,

    /// Begin no run after so many minutes
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<Duration>,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,

    /// How a seed becomes a plan
    #[arg(long, value_enum, default_value_t = Profile::Swarm)]
    profile: Profile,

    /// Go on after a violation
    #[arg(long)]
    keep_going: bool,

    /// Fail unless every mark was hit in some run
    #[arg(long)]
    require_marks: bool,

    /// Run this plan, or the plan of this seed, once more, and show its last events
    #[arg(long, value_name = "FILE|SEED", conflicts_with_all = ["seeds", "from", "minutes", "keep_going", "require_marks"])]
    replay: Option<String>,

    /// With --replay: write what clients asked and were answered, for `duet check`
    #[arg(long, value_name = "FILE", requires = "replay")]
    history: Option<PathBuf>,

    /// How many events to show
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    last: u32,

    /// Make the plan of a violation as small as it will go
    #[arg(long)]
    shrink: bool,

    /// With this seeded bug, in a program built with the feature `mutants`
    #[arg(long, value_name = "NAME", value_parser = seeded)]
    mutant: Option<&'static str>,
}

/// How a seed becomes a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Any cluster, any surroundings, any faults
    Swarm,
    /// The standard load (5 voters, 16 clients, 50 operations/s) with any faults for 60 s
    Standard,
    /// The standard load for 10 s, without faults
    Calm,
}

impl Profile {
    /// The plan of a seed.
    pub fn plan(self, protocol: &str, seed: u64) -> Plan {
        match self {
            Self::Swarm => swarm::plan(protocol, seed),
            Self::Standard => swarm::standard(protocol, seed),
            Self::Calm => swarm::calm(protocol, seed),
        }
    }
}

/// Which protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Raft
    Raft,
    /// ZooKeeper Atomic Broadcast
    Zab,
    /// One after the other, seed by seed
    Both,
}

impl Which {
    pub(crate) fn protocols(self) -> Vec<Protocol> {
        match self {
            Self::Raft => vec![Protocol::Raft],
            Self::Zab => vec![Protocol::Zab],
            Self::Both => Protocol::ALL.to_vec(),
        }
    }
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().ok().filter(|m| (0.001..=527_040.0).contains(m));
    let minutes = minutes.ok_or("expected a number of minutes from 0.001 to 527040, a year")?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// The name of a seeded bug that this program has.
fn seeded(name: &str) -> Result<&'static str, String> {
    if !mutant::COMPILED {
        return Err("this program has none: build it with --features mutants".into());
    }
    let all = hunt::all();
    let found = all.iter().find(|e| e.mutant.name == name).map(|e| e.mutant.name);
    found.ok_or_else(|| "there is no such mutant; `duet mutants --list` shows them all".into())
}

/// Threads that can run at the same time.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs `duet sim`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    run_async(async {
        let mut interrupts = Interrupts::listen()?;
        match &args.replay {
            Some(what) => replay(args, what, &mut interrupts, ui).await,
            None => campaign(args, &mut interrupts, ui).await,
        }
    })
}

async fn campaign(args: &Args, interrupts: &mut Interrupts, ui: Ui) -> anyhow::Result<Exit> {
    let spec = Spec {
        protocols: args.protocol.protocols(),
        from: args.from,
        seeds: args.seeds.or(args.minutes.is_none().then_some(SEEDS)),
        time: args.minutes,
        jobs: args.jobs.map_or_else(cores, usize::from),
        profile: args.profile,
        keep_going: args.keep_going,
        mutant: args.mutant,
    };
    let mut kept: Vec<Kept> = Vec::new();
    let campaign = campaign::run(&spec, interrupts, ui, |found, progress| {
        if kept.len() < MAX_FOUND {
            let one = keep(found, kept.last().map(|k| &k.run), &spec)?;
            progress.line(&one.told());
            kept.push(one);
        }
        Ok(())
    })
    .await?;
    let mut interrupted = campaign.interrupted;
    if args.shrink {
        for one in &mut kept {
            if interrupted {
                break;
            }
            one.small = small(&one.found.plan, &one.run, &one.file, args.mutant, interrupts, ui).await?;
            interrupted = one.small.is_none();
        }
    }
    if ui.json {
        ui.json_line(&ledger(&spec, &campaign, &kept))?;
    } else {
        ui.bytes(show::table(&campaign.tallies).as_bytes())?;
        told(&spec, &campaign, ui);
    }
    if let Some(one) = kept.first() {
        let best = one.small.as_ref().map_or(&one.path, |(path, _)| path);
        ui.next(&[("the last events, as a chart", format!("duet sim --replay {}", shown(best)))]);
    }
    let runs: u64 = campaign.tallies.iter().map(|t| t.runs).sum();
    let unreached = if args.require_marks { tally::unreached(&campaign.tallies) } else { Vec::new() };
    Ok(match () {
        () if !kept.is_empty() => Exit::CheckFailed,
        () if interrupted => Exit::Interrupted,
        () if runs == 0 => Exit::NothingRan,
        () if !unreached.is_empty() => {
            ui.say(format!("{} marks were hit in no run: {}", unreached.len(), unreached.join(", ")));
            Exit::CheckFailed
        }
        () => Exit::Good,
    })
}

/// A violation that was written down.
struct Kept {
    found: Found,
    run: RunDir,
    file: String,
    path: PathBuf,
    small: Option<(PathBuf, Shrunk)>,
}

impl Kept {
    fn told(&self) -> String {
        let plan = &self.found.plan;
        let what = self.found.outcome.violation.as_ref().map_or(String::new(), |(_, v)| v.to_string());
        format!("violation: {} seed {}: {what}\n  {}", plan.protocol, plan.seed, shown(&self.path))
    }
}

/// Writes the plan of a violation into the run's folder, which the first one makes.
fn keep(found: Found, run: Option<&RunDir>, spec: &Spec) -> anyhow::Result<Kept> {
    let run = match run {
        Some(run) => run.clone(),
        None => RunDir::create(Path::new(runs::ROOT), "sim", &settings(spec))?,
    };
    let (plan, seed) = (&found.plan, found.plan.seed);
    let prefix = if spec.protocols.len() > 1 { format!("{}-", plan.protocol) } else { String::new() };
    let file = format!("{prefix}seed-{seed}");
    let broken = found.outcome.violation.as_ref().map_or(String::new(), |(at, v)| {
        format!("# {} at {}\n", v.to_string().replace('\n', " "), common::sim::plan_text::span_text(*at))
    });
    let path = run.write(&format!("{file}.plan"), format!("{broken}{plan}").as_bytes())?;
    Ok(Kept { found, run, file, path, small: None })
}

/// Shrinks a plan and writes it beside the first; nothing if Ctrl-C came.
async fn small(
    plan: &Plan,
    run: &RunDir,
    file: &str,
    seeded: Option<&'static str>,
    interrupts: &mut Interrupts,
    ui: Ui,
) -> anyhow::Result<Option<(PathBuf, Shrunk)>> {
    ui.say(format!("shrinking {file}: {} faults, at most {} runs …", plan.faults.len(), shrink::BUDGET));
    let (done, shrunk) = oneshot::channel();
    let work = plan.clone();
    std::thread::spawn(move || {
        mutant::activate(seeded);
        let fails = |p: &Plan| subjects::run(p, &Options::default()).ok()?.violation.map(|(_, v)| v);
        // Nobody waits for it any more after Ctrl-C.
        let _ = done.send(shrink(&work, fails, shrink::BUDGET));
    });
    let shrunk = tokio::select! {
        shrunk = shrunk => shrunk.context("the shrinker broke off")?,
        _ = interrupts.next() => return Ok(None),
    };
    let Some(violation) = &shrunk.violation else {
        anyhow::bail!("{file} did not fail when it was run again: the simulator is not deterministic");
    };
    let text = format!("# {}\n{}", violation.to_string().replace('\n', " "), shrunk.plan);
    let path = run.write(&format!("{file}.small.plan"), text.as_bytes())?;
    ui.say(format!("  {} faults are left after {} runs: {}", shrunk.plan.faults.len(), shrunk.runs, shown(&path)));
    Ok(Some((path, shrunk)))
}

async fn replay(args: &Args, what: &str, interrupts: &mut Interrupts, ui: Ui) -> anyhow::Result<Exit> {
    let (mut exit, mut values) = (Exit::Good, Vec::new());
    let last = args.last as usize;
    mutant::activate(args.mutant);
    let plans = replay::plans(args, what)?;
    if args.history.is_some() && plans.len() > 1 {
        return Err(Fail::usage("--history keeps one run, and this seed is two")
            .hint("add --protocol raft or zab")
            .into());
    }
    for plan in plans {
        let outcome = replay::run(&plan, last, args.history.is_some())?;
        if let (Some(file), Some(history)) = (&args.history, &outcome.history) {
            replay::write_history(file, &plan, history)?;
            ui.next(&[("is it linearizable?", format!("duet check --history {}", shown(file)))]);
        }
        if ui.json {
            values.push(replay::json(&plan, &outcome, last));
        } else {
            replay::show(&plan, &outcome, last, ui)?;
        }
        if outcome.violation.is_none() {
            continue;
        }
        exit = Exit::CheckFailed;
        if args.shrink {
            let run = RunDir::create(Path::new(runs::ROOT), "sim", &json!({"replay": what}))?;
            let file = format!("seed-{}", plan.seed);
            if small(&plan, &run, &file, args.mutant, interrupts, ui).await?.is_none() {
                return Ok(Exit::Interrupted);
            }
        }
    }
    if ui.json {
        ui.json_line(&json!({"schema": SCHEMA, "command": "sim --replay", "runs": values}))?;
    }
    Ok(exit)
}

/// One line on what was covered, and where to go on.
fn told(spec: &Spec, campaign: &Campaign, ui: Ui) {
    let Campaign { next, wall, interrupted, .. } = campaign;
    let seeds = match next.checked_sub(1).filter(|last| *last >= spec.from) {
        Some(last) => format!("seeds {} to {last}", spec.from),
        None => "no seed".to_owned(),
    };
    let stopped = if *interrupted { ", stopped by Ctrl-C" } else { "" };
    ui.say(format!("{seeds} in {:.1} s on {} threads{stopped}", wall.as_secs_f64(), spec.jobs));
}

fn settings(spec: &Spec) -> Value {
    json!({
        "protocols": spec.protocols,
        "profile": spec.profile.to_possible_value().map(|v| v.get_name().to_owned()),
        "from": spec.from,
        "seeds": spec.seeds,
        "minutes": spec.time.map(|t| t.as_secs_f64() / 60.0),
        "jobs": spec.jobs,
        "mutant": spec.mutant,
    })
}

/// Everything, as one line: what a ledger of campaigns is made of.
fn ledger(spec: &Spec, campaign: &Campaign, kept: &[Kept]) -> Value {
    let violations: Vec<Value> = kept
        .iter()
        .map(|k| {
            json!({
                "protocol": k.found.plan.protocol,
                "seed": k.found.plan.seed,
                "violation": replay::violation(&k.found.outcome),
                "plan": k.path,
                "small": k.small.as_ref().map(|(path, s)| json!({"plan": path, "faults": s.plan.faults.len(), "runs": s.runs})),
            })
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "command": "sim",
        "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": commit(),
        "settings": settings(spec),
        "next_seed": campaign.next,
        "interrupted": campaign.interrupted,
        "wall_s": campaign.wall.as_secs_f64(),
        "protocols": campaign.tallies.iter().map(tally::Tally::json).collect::<Vec<_>>(),
        "violations": violations,
    })
}

/// The commit of the sources that this program was built in, with `+` if they were changed since; none without git.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let out =
            std::process::Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let changed = !git(&["status", "--porcelain"])?.is_empty();
    Some(git(&["rev-parse", "HEAD"])? + if changed { "+" } else { "" })
}

/// A path as short as it can be typed here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
