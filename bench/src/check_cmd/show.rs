//! What `duet check` says, as text and as JSON.

use std::fmt::Write as _;

use common::check::file::{operation_json, value_json};
use common::check::{Involved, Offence, Report, Verdict};
use serde_json::{Value, json};

use super::Judged;
use crate::ctl_cmd::render;
use crate::report::format::count;

/// The number of the schema of what `duet check --json` prints.
const SCHEMA: u32 = 1;

/// Fewer operations of a key open at a time than this, and the verdict proves little.
const FEW: f64 = 1.2;

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Linearizable => "linearizable",
        Verdict::NotLinearizable(_) => "not linearizable",
        Verdict::Unknown { .. } => "unknown",
    }
}

/// What else whoever trusts a good verdict should know.
pub(super) fn warning(report: &Report) -> Option<String> {
    let s = &report.summary;
    let few = s.same_key.mean < FEW && report.verdict == Verdict::Linearizable;
    few.then(|| {
        format!("hardly any operations of the same key overlap (mean {:.2}): this proves little", s.same_key.mean)
    })
}

pub(super) fn text(judged: &Judged<'_>) -> String {
    let (report, s) = (judged.report, &judged.report.summary);
    let n = |n: usize| count(n as f64);
    let mut out = format!("{}\n\n", name(&report.verdict));
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<12} {text}");
    };
    line("history", format!("{} ({})", judged.name, judged.recorded.format));
    line("model", judged.model.to_string());
    line("operations", n(s.operations));
    line("unknown", format!("{} ({:.1} %)", n(s.unknown), s.unknown_percent()));
    line("failed", n(s.failed));
    if s.local > 0 {
        line("local reads", format!("{}, not judged", n(s.local)));
    }
    line("keys", n(s.keys));
    line("processes", n(s.processes));
    line("concurrency", format!("max {}, mean {:.2}", n(s.concurrency.max), s.concurrency.mean));
    line("on one key", format!("max {}, mean {:.2}", n(s.same_key.max), s.same_key.mean));
    line("steps", count(report.steps as f64));
    match &report.verdict {
        Verdict::Linearizable => {}
        Verdict::NotLinearizable(offence) => out.push_str(&explain(judged, offence)),
        Verdict::Unknown { key, keys } => {
            let limit = count(judged.limit as f64);
            let key = shown(&value_json(key));
            let _ = writeln!(out, "\nThe search was given up after {limit} steps for {keys} of the keys, first {key}.");
        }
    }
    out
}

fn explain(judged: &Judged<'_>, offence: &Offence) -> String {
    let n = offence.operations.len();
    let least = if offence.minimal { "take one out, and there is an order" } else { "perhaps not the smallest part" };
    let of = if offence.key.is_empty() {
        String::new()
    } else {
        format!(" of the key {}", shown(&value_json(&offence.key)))
    };
    let plural = if n == 1 { "" } else { "s" };
    let mut out = format!("\n{n} operation{plural}{of} without an order ({least}):\n\n");
    let mut table = render::table(&["  #", "process", "lines", "operation", "answer"]);
    for (i, involved) in offence.operations.iter().enumerate() {
        let (ask, answer) = words(judged, involved);
        let answer = if involved.ends { answer } else { "at any time since, or never".into() };
        let mark = if i == offence.culprit { " <--" } else { "" };
        let process = format!("p{}", involved.operation.process);
        table.add_row([format!("  {}", i + 1), process, lines(judged, involved), ask, format!("{answer}{mark}")]);
    }
    let _ = writeln!(out, "{}", render::table_text(&table));
    let culprit = offence.culprit + 1;
    if let Some(order) = offence.order.as_ref().filter(|_| n > 1) {
        let order: Vec<String> = order.iter().map(|i| (i + 1).to_string()).collect();
        let state = offence.state.as_ref().map_or_else(|| "absent".into(), |v| shown(&value_json(v)));
        let order = if order.is_empty() { "none of them".into() } else { order.join(", ") };
        let _ = writeln!(
            out,
            "\nIn the order {order} the rest fits and leaves {state}; the answer of {culprit} fits nowhere."
        );
    }
    let line = judged.recorded.lines.get(offence.event).copied().unwrap_or_default();
    let (before, more) = (offence.before, offence.keys - 1);
    let _ = writeln!(out, "\nUp to line {line} this key is linearizable ({before} operations were asked before it).");
    if more > 0 {
        let _ = writeln!(out, "{more} more keys are not linearizable.");
    }
    out
}

/// A value, cut where it is longer than anyone wants to read.
fn shown(value: &Value) -> String {
    let mut text = if value.is_null() { "absent".to_owned() } else { value.to_string() };
    if let Some((end, _)) = text.char_indices().nth(40) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What was asked, and what was heard.
fn words(judged: &Judged<'_>, involved: &Involved) -> (String, String) {
    let op = operation_json(judged.model, &involved.operation);
    let mut ask = op["op"].as_str().unwrap_or_default().to_owned();
    if op.get("expected").is_some() {
        let _ = write!(ask, " {} to", shown(&op["expected"]));
    }
    if op.get("value").is_some() {
        let _ = write!(ask, " {}", shown(&op["value"]));
    }
    let answer = &op["answer"];
    let flag = |name: &str| answer.get(name).and_then(Value::as_bool);
    let heard = match (answer["k"].as_str(), flag("swapped"), flag("existed")) {
        (Some("ok"), Some(true), _) => "swapped".into(),
        (Some("ok"), Some(false), _) => {
            answer.get("found").map_or_else(|| "not swapped".into(), |found| format!("found {}", shown(found)))
        }
        (Some("ok"), _, Some(existed)) => if existed { "existed" } else { "did not exist" }.into(),
        (Some("ok"), ..) => answer.get("value").map_or_else(|| "done".into(), shown),
        (other, ..) => other.unwrap_or_default().into(),
    };
    (ask, heard)
}

fn lines(judged: &Judged<'_>, involved: &Involved) -> String {
    let line = |event: usize| judged.recorded.lines.get(event).map(ToString::to_string).unwrap_or_default();
    let end = involved.operation.ended.filter(|_| involved.ends).map(line).unwrap_or_default();
    format!("{}-{end}", line(involved.operation.invoked))
}

pub(super) fn json(judged: &Judged<'_>) -> Value {
    let (report, s) = (judged.report, &judged.report.summary);
    let (offending, gave_up) = match &report.verdict {
        Verdict::Linearizable => (Value::Null, Value::Null),
        Verdict::NotLinearizable(offence) => (offending(judged, offence), Value::Null),
        Verdict::Unknown { key, keys } => (Value::Null, json!({"key": value_json(key), "keys": keys})),
    };
    json!({
        "schema": SCHEMA,
        "history": judged.name,
        "format": judged.recorded.format.to_string(),
        "verdict": name(&report.verdict),
        "model": judged.model.name(),
        "operations": s.operations,
        "unknown": s.unknown,
        "unknown_percent": s.unknown_percent(),
        "failed": s.failed,
        "local_reads": s.local,
        "keys": s.keys,
        "processes": s.processes,
        "concurrency": {"max": s.concurrency.max, "mean": s.concurrency.mean},
        "same_key": {"max": s.same_key.max, "mean": s.same_key.mean},
        "steps": report.steps,
        "limit": judged.limit,
        "offending": offending,
        "gave_up": gave_up,
    })
}

fn offending(judged: &Judged<'_>, offence: &Offence) -> Value {
    let line = |event: usize| judged.recorded.lines.get(event);
    let time = |event: usize| judged.recorded.history.events.get(event).map(|e| e.time.0);
    let operations = offence.operations.iter().map(|involved| {
        let (invoked, ended) = (involved.operation.invoked, involved.operation.ended);
        let mut op = operation_json(judged.model, &involved.operation);
        op["lines"] = json!([line(invoked), ended.and_then(line)]);
        op["t"] = json!([time(invoked), ended.and_then(time)]);
        op["answer_matters"] = involved.ends.into();
        op
    });
    json!({
        "key": value_json(&offence.key),
        "keys": offence.keys,
        "line": line(offence.event),
        "operations_before": offence.before,
        "operations": operations.collect::<Vec<_>>(),
        "culprit": offence.culprit,
        "order_without_it": offence.order,
        "state_after_order": offence.state.as_ref().map(|v| value_json(v)),
        "minimal": offence.minimal,
    })
}
