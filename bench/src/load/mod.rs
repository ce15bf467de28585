//! `duet load`: puts load on a running cluster and measures it. `duet compare` uses the same engine.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`engine`] | closed and open loops: many logical clients over a few connections, on one thread |
//! | [`target`] | what can be loaded: two traits |
//! | [`duet`] | Duet's own wire as a target |
//! | [`stats`] | histograms, samples over time, gaps between answers |
//! | [`ledger`], [`verify`](mod@verify) | what was acknowledged, and reading it back |

pub mod duet;
pub mod engine;
pub mod ledger;
pub mod stats;
pub mod target;
pub mod verify;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{Exit, Fail, Target, TargetArgs, Ui, block_on};
use crate::ctl_cmd::Link;
use crate::report::format::{count, micros};
use crate::report::results::LoadResult;
use crate::runs::{self, RunDir};
use duet::DuetTarget;
use engine::{LoadSpec, Mix, Running};
use stats::{Latency, Sample};
use verify::{Verified, verify};

/// The number of the schema of what `duet load --json` prints and `load.json` holds.
pub const SCHEMA: u32 = 1;

/// The arguments of `duet load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    #[command(flatten)]
    target: TargetArgs,

    /// Logical clients; each has one operation under way at a time
    #[arg(long, default_value_t = 64)]
    clients: usize,

    /// Connections they share, at most one per client
    #[arg(long, default_value_t = 16)]
    connections: usize,

    /// Size of values in bytes
    #[arg(long, default_value_t = 100)]
    size: usize,

    /// Number of keys; at least one per client
    #[arg(long, default_value_t = 10_000)]
    keys: usize,

    /// How long to measure (5s, 2m); seconds when without a unit
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,

    /// How long to run before measuring
    #[arg(long, default_value = "1s", value_parser = duration)]
    warm_up: Duration,

    /// Operations per second, due whether or not the cluster keeps up (open loop); default: as fast as answers come
    #[arg(long)]
    rate: Option<f64>,

    /// How many of 100 operations are linearizable reads
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    reads: u32,

    /// How many of 100 operations are local reads, which may be stale
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    local_reads: u32,

    /// Spread the connections over all nodes instead of using the leader
    #[arg(long)]
    spread: bool,

    /// Do not read back what was acknowledged
    #[arg(long)]
    no_verify: bool,
}

/// A duration as people write it: `5s`, `2m`, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=86_400.0).contains(s)).map(Duration::from_secs_f64);
    match seconds {
        Some(d) => Ok(d),
        None => humantime::parse_duration(text).map_err(|e| format!("{e}; expected something like 5s or 500ms")),
    }
}

impl Args {
    fn spec(&self) -> Result<LoadSpec, Fail> {
        let reads = self.reads + self.local_reads;
        if reads > 100 {
            return Err(Fail::usage(format!("--reads and --local-reads make {reads} of 100 operations")));
        }
        let spec = LoadSpec {
            clients: self.clients,
            connections: self.connections.min(self.clients),
            value_bytes: self.size,
            keys: self.keys,
            mix: Mix { writes: 100 - reads, linearizable: self.reads, local: self.local_reads },
            warm_up: self.warm_up,
            measure: Some(self.duration),
            rate: self.rate,
            // A name space of its own, so that what an earlier load left is not taken for this one's.
            prefix: u64::from(std::process::id()) << 32 | u64::from(common_nanos()),
            ..LoadSpec::default()
        };
        spec.check().map_err(Fail::usage)?;
        Ok(spec)
    }
}

fn common_nanos() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos())
}

/// Runs `duet load`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let spec = args.spec()?;
    let target = args.target.one()?;
    let settings = json!({ "target": target.to_string(), "settings": spec.settings() });
    let run = RunDir::create(Path::new(runs::ROOT), "load", &settings)?;
    block_on(async { LocalSet::new().run_until(measure(args, spec, target, run, ui)).await })
}

async fn measure(args: &Args, spec: LoadSpec, target: Target, run: RunDir, ui: Ui) -> anyhow::Result<Exit> {
    let on = if args.spread { DuetTarget::spread(&target.addrs) } else { at_leader(&target).await };
    let settings = spec.settings().iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(", ");
    ui.say(format!("{target}: {settings}"));
    ui.say(format!(
        "{:>7} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "second", "answers", "median", "99 %", "longest", "errors"
    ));
    let running = Running::start(&on, spec, None);
    let outcome = tokio::select! {
        never = progress(&running, ui) => match never {},
        () = running.stopped() => running.join().await,
    };
    let verified = if args.no_verify { None } else { Some(verify(&on, &outcome.ledger).await) };
    let file = run.write_json("load.json", &document(&target, &outcome.result, verified.as_ref()))?;
    if ui.json {
        ui.json_line(&document(&target, &outcome.result, verified.as_ref()))?;
    } else {
        ui.bytes(table(&outcome.result, verified.as_ref()).as_bytes())?;
    }
    ui.say(format!("results: {}", file.display()));
    Ok(match verified {
        Some(v) if !v.losses.is_empty() => Exit::CheckFailed,
        Some(v) if v.unread.is_some() => Exit::Inconclusive,
        _ if outcome.result.operations == 0 => Exit::NothingRan,
        _ => Exit::Good,
    })
}

/// How long the nodes may take to say who leads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Begins with who leads now, if anybody says so: a follower would pass writes on and never send a client elsewhere.
async fn at_leader(target: &Target) -> DuetTarget {
    let on = DuetTarget::leader(&target.addrs);
    let leading = async { Link::open(target.clone(), None, PATIENCE).await?.leading().await };
    match leading.await {
        Ok((addr, _)) => on.starting_with(&addr),
        Err(_) => on,
    }
}

/// One line per second on stderr, for as long as it is let.
async fn progress(running: &Running, ui: Ui) -> Infallible {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut shown = 0;
    loop {
        tick.tick().await;
        let samples = running.samples();
        let new = &samples[shown.min(samples.len())..];
        if new.is_empty() {
            continue;
        }
        shown = samples.len();
        ui.say(line(new));
    }
}

fn line(samples: &[Sample]) -> String {
    let sum = |f: fn(&Sample) -> u64| samples.iter().map(f).sum::<u64>() as f64;
    let most = |f: fn(&Sample) -> u64| micros(samples.iter().map(f).max().unwrap_or(0) as f64);
    let end = samples.last().map_or(0, |s| s.t_ms);
    // The median and 99 % are those of the worst tenth of a second: percentiles cannot be averaged.
    format!(
        "{:>7.1} {:>10} {:>10} {:>10} {:>10} {:>7}",
        end as f64 / 1000.0,
        count(sum(|s| s.ops)),
        most(|s| s.p50),
        most(|s| s.p99),
        most(|s| s.max),
        count(sum(|s| s.errors))
    )
}

fn document(target: &Target, result: &LoadResult, verified: Option<&Verified>) -> serde_json::Value {
    json!({
        "schema": SCHEMA,
        "target": target.to_string(),
        "load": result,
        "verified": verified.map(|v| json!({
            "keys": v.keys,
            "writes": v.writes,
            "lost": v.losses.len(),
            "says": v.sentence(),
        })),
    })
}

fn table(result: &LoadResult, verified: Option<&Verified>) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12} {value}");
    };
    row("throughput", format!("{}/s over {:.1} s", count(result.throughput), result.seconds));
    let latency = |l: &Latency| {
        let [p50, p90, p99, p999, max] = [l.p50, l.p90, l.p99, l.p999, l.max].map(|us| micros(us as f64));
        format!("median {p50}, 90 % {p90}, 99 % {p99}, 99.9 % {p999}, longest {max} of {}", count(l.count as f64))
    };
    row("latency", latency(&result.service));
    if let Some(intended) = &result.intended {
        row("since due", latency(intended));
    }
    if result.unsent > 0 {
        row(
            "not sent",
            format!("{} operations that were due; the rate is more than it can do", count(result.unsent as f64)),
        );
    }
    for (kind, n) in &result.errors {
        row("errors", format!("{n} {kind}"));
    }
    if let Some(verified) = verified {
        row("verified", verified.sentence());
    }
    out
}

#[cfg(test)]
mod command_tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("soon").unwrap_err().contains("500ms"));
        assert!(duration("-1").is_err());
    }

    #[test]
    fn the_table_names_everything_that_went_wrong() {
        let mut result = LoadResult { throughput: 1234.5, seconds: 2.0, ..LoadResult::default() };
        result.errors.insert("timed out".into(), 3);
        result.unsent = 1500;
        let text = table(&result, Some(&Verified { keys: 2, writes: 9, ..Verified::default() }));
        for wanted in [
            "1,234/s over 2.0 s",
            "3 timed out",
            "1,500 operations that were due",
            "all 2 keys of 9 acknowledged writes read back",
        ] {
            assert!(text.contains(wanted), "{text}");
        }
    }
}
