//! The table for the terminal: configuration first, then every scenario with the protocols side by side.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use super::format;
use super::results::{Better, Results, Verdict};
use super::summary;

/// The whole table as text, without colours.
pub fn render(results: &Results) -> String {
    let mut out = String::new();
    for (name, value) in configuration(results) {
        let _ = writeln!(out, "{name:<16} {value}");
    }
    out.push('\n');
    out.push_str(&scenarios(results));
    if let Some(table) = beside(results) {
        let _ = write!(out, "\n\n{table}");
    }
    for (scenario, outcome, reason) in complaints(results) {
        let _ = write!(out, "\n{scenario}, {outcome}: {reason}");
    }
    out
}

/// Everything both protocols had in common, and the machine: name and value.
pub fn configuration(results: &Results) -> Vec<(String, String)> {
    let mut rows = results.configuration.clone();
    let m = &results.machine;
    let mut add = |name: &str, value: String| rows.push((name.to_owned(), value));
    add("machine", format!("{} cores, {}, {}", m.cores, format::bytes(m.memory_bytes as f64), m.cpu));
    add("system", format!("{}, logs on {}", m.kernel, m.filesystem));
    if let (Some(p50), Some(p99)) = (m.fdatasync_us, m.fdatasync_p99_us) {
        add("fdatasync", format!("{} after a 4 KiB write (99 %: {})", format::micros(p50), format::micros(p99)));
    }
    if let Some(rtt) = m.loopback_rtt_us {
        add("loopback", format!("{} there and back", format::micros(rtt)));
    }
    rows
}

/// Room for the terminal: no line but the header's, a blank one between scenarios.
const STYLE: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('═').junction('═'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

fn scenarios(results: &Results) -> String {
    let names: Vec<String> = results.protocols.iter().map(|p| format::protocol(p)).collect();
    let mut table = Table::new();
    table.load_style(STYLE);
    let mut header = vec!["scenario and measure".to_owned()];
    header.extend(names.iter().cloned());
    let own: Vec<usize> = columns(results, true);
    let pairs = summary::pairs(results);
    header.extend(own.iter().map(|i| summary::ratio_name(results, pairs[*i])));
    table.set_header(header);
    for (i, scenario) in results.scenarios.iter().enumerate() {
        if i > 0 {
            table.add_row([""]);
        }
        let mut first = vec![scenario.title.clone()];
        let verdicts = summary::verdicts(results, scenario);
        first.extend(verdicts.iter().map(|v| v.map_or("-", Verdict::word).to_owned()));
        table.add_row(first);
        for (case, kinds) in summary::decisions(results, scenario) {
            let mut cells = vec![format!("  {case}: the leader chose")];
            cells.extend(kinds);
            table.add_row(cells);
        }
        for row in summary::rows(results, scenario) {
            let mut cells = vec![format!("  {}{}", row.measure, arrow(row.better))];
            cells.extend(row.values.iter().map(|v| v.map_or("-".to_owned(), |v| format::value(row.unit, v))));
            cells.extend(own.iter().map(|i| row.ratios[*i].map_or(String::new(), |r| r.to_string())));
            table.add_row(cells);
        }
    }
    to_the_right(table)
}

/// The places among the pairs of those that are both Duet's, or of the others.
pub fn columns(results: &Results, own: bool) -> Vec<usize> {
    summary::pairs(results).iter().enumerate().filter(|(_, p)| p.own == own).map(|(i, _)| i).collect()
}

/// Duet's protocols over each other system: nothing but ratios. None when no other system ran.
fn beside(results: &Results) -> Option<String> {
    let columns = columns(results, false);
    if columns.is_empty() {
        return None;
    }
    let pairs = summary::pairs(results);
    let mut table = Table::new();
    table.load_style(STYLE);
    let names = columns.iter().map(|i| summary::ratio_name(results, pairs[*i]));
    table.set_header(std::iter::once("beside other systems".to_owned()).chain(names).collect::<Vec<_>>());
    for scenario in &results.scenarios {
        let mut rows = summary::rows(results, scenario);
        rows.retain(|row| columns.iter().any(|i| row.ratios[*i].is_some()));
        if !rows.is_empty() {
            table.add_row([scenario.title.clone()]);
        }
        for row in rows {
            let ratios = columns.iter().map(|i| row.ratios[*i].map_or("-".to_owned(), |r| r.to_string()));
            let name = format!("  {}{}", row.measure, arrow(row.better));
            table.add_row(std::iter::once(name).chain(ratios).collect::<Vec<_>>());
        }
    }
    Some(to_the_right(table))
}

/// All columns but the first to the right.
fn to_the_right(mut table: Table) -> String {
    for column in 1.. {
        let Some(column) = table.column_mut(column) else { break };
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// Says which direction is better.
pub fn arrow(better: Better) -> &'static str {
    match better {
        Better::Higher => " ↑",
        Better::Lower => " ↓",
        Better::Neither => "",
    }
}

/// Every scenario that did not pass: its name, the protocol and verdict, and the reason.
pub fn complaints(results: &Results) -> Vec<(String, String, String)> {
    let mut list = Vec::new();
    for scenario in &results.scenarios {
        for outcome in &scenario.outcomes {
            if let Some(reason) = outcome.verdict.reason() {
                let who = format!("{} {}", format::protocol(&outcome.protocol), outcome.verdict.word());
                list.push((scenario.name.clone(), who, reason.to_owned()));
            }
        }
    }
    list
}
