//! One plan again, with its last events as a chart.

use std::path::Path;

use common::check::{History, Model, file};
use common::sim::outcome::Outcome;
use common::sim::plan::Plan;
use common::sim::world::Options;
use common::sim::{chart, plan_text};
use serde_json::{Value, json};

use super::{Args, subjects};
use crate::cli::{Fail, Ui};

/// What `--replay` names: a file, or a seed for each of the protocols asked for.
pub(super) fn plans(args: &Args, what: &str) -> Result<Vec<Plan>, Fail> {
    let path = Path::new(what);
    if path.exists() {
        return read(path).map(|plan| vec![plan]);
    }
    let seed = what.strip_prefix("0x").map_or_else(|| what.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    match seed {
        Some(seed) => Ok(args.protocol.protocols().iter().map(|p| args.profile.plan(p.name(), seed)).collect()),
        None => Err(Fail::usage(format!("--replay {what}: neither a file nor a seed"))
            .hint("give a plan that `duet sim` wrote, or the number of a seed with its --protocol and --profile")),
    }
}

/// Reads a plan from a file.
pub(super) fn read(path: &Path) -> Result<Plan, Fail> {
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    if size > plan_text::MAX_TEXT as u64 {
        return Err(Fail::usage(format!("{} has {size} bytes: too long for a plan", path.display())));
    }
    let text =
        std::fs::read_to_string(path).map_err(|e| Fail::usage(format!("cannot read {}: {e}", path.display())))?;
    let plan = Plan::parse(&text).map_err(|e| {
        Fail::usage(format!("{}: {e}", path.display()))
            .hint("the chapter on the simulator describes the format of plans")
    })?;
    subjects::protocol(&plan).map(|_| plan)
}

/// Runs a plan and keeps its last events, and its history if it is wanted.
pub(super) fn run(plan: &Plan, last: usize, history: bool) -> Result<Outcome, Fail> {
    subjects::run(plan, &Options { chart: last, history, ..Options::default() })
}

/// Writes what clients asked and were answered.
pub(super) fn write_history(path: &Path, plan: &Plan, history: &History) -> Result<(), Fail> {
    let about = [("protocol", json!(plan.protocol)), ("seed", json!(plan.seed))].map(|(k, v)| (k.to_owned(), v));
    let mut text = Vec::new();
    file::write(Model::Kv, history, &about.into_iter().collect(), &mut text)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|e| Fail::usage(format!("cannot write the history to {}: {e}", path.display())))
}

/// The chart, and what came of it.
pub(super) fn show(plan: &Plan, outcome: &Outcome, last: usize, ui: Ui) -> anyhow::Result<()> {
    ui.line(drawn(plan, outcome, last))?;
    for note in &outcome.notes {
        ui.line(format!("note: {note}"))?;
    }
    let c = &outcome.counts;
    ui.line(format!(
        "{} seed {}: {} faults planned, {} simulated, {} events, {} operations checked, hash {:016x}",
        plan.protocol,
        plan.seed,
        plan.faults.len(),
        plan_text::span_text(outcome.simulated),
        c.events,
        c.operations,
        outcome.hash
    ))?;
    ui.line(match &outcome.violation {
        Some((at, violation)) => format!("violation at {}: {violation}", plan_text::span_text(*at)),
        None => "no violation".to_owned(),
    })
}

/// The same as a value.
pub(super) fn json(plan: &Plan, outcome: &Outcome, last: usize) -> Value {
    json!({
        "protocol": plan.protocol,
        "seed": plan.seed,
        "plan": plan.to_string(),
        "hash": format!("{:016x}", outcome.hash),
        "simulated_s": outcome.simulated.0 as f64 / 1e6,
        "events": outcome.counts.events,
        "operations": outcome.counts.operations,
        "unknown": outcome.counts.unknown,
        "committed": outcome.counts.committed,
        "leader_changes": outcome.counts.leaders,
        "boots": outcome.counts.boots,
        "faults": outcome.counts.faults,
        "notes": outcome.notes,
        "violation": violation(outcome),
        "chart": drawn(plan, outcome, last),
    })
}

/// What was broken, and when; null if nothing was.
pub(super) fn violation(outcome: &Outcome) -> Value {
    outcome
        .violation
        .as_ref()
        .map_or(Value::Null, |(at, v)| json!({"oracle": v.oracle, "what": v.what, "at_s": at.0 as f64 / 1e6}))
}

fn drawn(plan: &Plan, outcome: &Outcome, last: usize) -> String {
    chart::render(&outcome.chart, plan.shape.voters + plan.shape.observers, last)
}
