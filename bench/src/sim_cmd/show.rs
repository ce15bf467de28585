//! What a campaign prints.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, TableStyle};

use super::tally::Tally;
use crate::report::format::{self, count, micros};

/// Notes shown, and marks of each list; all of them are in the JSON.
const NOTES: usize = 8;
const MARKS: usize = 20;

/// A time in seconds as people say it: `95 s`, `3.2 h`, `12 days`, `1.3 years`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 600.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s if s < 365.25 * 86_400.0 => format!("{:.1} days", s / 86_400.0),
        s => format!("{:.2} years", s / (365.25 * 86_400.0)),
    }
}

/// The table: one column for each protocol.
pub fn table(tallies: &[Tally]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    let mut row = |name: &str, of: &dyn Fn(&Tally) -> String| {
        table.add_row([name.to_owned()].into_iter().chain(tallies.iter().map(of)));
    };
    let number = |n: u64| count(n as f64);
    row("", &|t| format::protocol(t.protocol.name()));
    row("runs", &|t| number(t.runs));
    row("runs with a violation", &|t| number(t.violations));
    row("simulated time", &|t| time(t.simulated()));
    row("simulated per core second", &|t| format!("{} s", count(t.ratio())));
    row("events", &|t| number(t.counts.events));
    row("events per core second", &|t| count(t.events_per_second()));
    row("messages arrived", &|t| number(t.counts.messages));
    row("operations checked", &|t| number(t.counts.operations));
    row("operations of unknown outcome", &|t| number(t.counts.unknown));
    row("histories searched for an order", &|t| number(t.counts.searched));
    row("entries committed", &|t| number(t.counts.committed));
    row("leader changes", &|t| number(t.counts.leaders));
    row("boots", &|t| number(t.counts.boots));
    row("recovery, mean", &|t| micros(t.recovery_mean_us()));
    row("recovery, worst", &|t| micros(t.counts.recovery_worst_us as f64));
    row("marks hit", &|t| {
        let all = super::subjects::marks(t.protocol).len();
        format!("{} of {all}", all - t.never().len().min(all))
    });
    let mut kinds: Vec<&str> = tallies.iter().flat_map(|t| t.counts.faults.keys().copied()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if !kinds.is_empty() {
        row("faults that bit", &|t| number(t.counts.faults.values().sum()));
    }
    for kind in kinds {
        row(&format!("  {kind}"), &|t| number(t.counts.faults.get(kind).copied().unwrap_or(0)));
    }
    for column in 1..=tallies.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text.push_str(&never(tallies));
    for tally in tallies {
        let name = format::protocol(tally.protocol.name());
        let mut notes: Vec<_> = tally.notes.iter().collect();
        notes.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        for (note, n) in notes.iter().take(NOTES) {
            let _ = writeln!(text, "{name}, in {n} runs: {note}");
        }
        if notes.len() > NOTES {
            let _ = writeln!(text, "{name}: {} other notes, see --json", notes.len() - NOTES);
        }
    }
    text
}

/// Marks that nobody hit: those of what the protocols share once, if neither hit them.
fn never(tallies: &[Tally]) -> String {
    let all: Vec<Vec<&str>> = tallies.iter().map(Tally::never).collect();
    let (shared, rest): (Vec<&str>, Vec<&str>) =
        all.concat().into_iter().collect::<BTreeSet<_>>().into_iter().partition(|m| all.iter().all(|n| n.contains(m)));
    let mut text = String::new();
    let mut line = |whose: &str, marks: Vec<&str>| {
        if !marks.is_empty() {
            let more = marks.len().saturating_sub(MARKS);
            let more = if more > 0 { format!(" and {more} more, see --json") } else { String::new() };
            let shown = marks.iter().take(MARKS).copied().collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "marks never hit{whose}: {shown}{more}");
        }
    };
    line("", shared);
    for (tally, never) in tallies.iter().zip(&all).filter(|_| tallies.len() > 1) {
        let own = rest.iter().filter(|m| never.contains(m)).copied().collect();
        line(&format!(" by {}", format::protocol(tally.protocol.name())), own);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Protocol;
    use common::sim::outcome::Outcome;
    use common::types::Micros;
    use std::time::Duration;

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = [95.0, 1000.0, 11_520.0, 1_036_800.0, 4e7].map(time);
        assert_eq!(said, ["95 s", "17 min", "3.2 h", "12.0 days", "1.27 years"]);
    }

    #[test]
    fn the_table_has_every_count_and_names_what_was_never_reached() {
        let mut tally = Tally::new(Protocol::Raft);
        let mut outcome = Outcome { simulated: Micros(120_000_000), ..Outcome::default() };
        outcome.counts.events = 1_500_000;
        outcome.counts.faults.insert("kill", 7);
        outcome.notes.push("n2 stays down".into());
        tally.add(&outcome, Duration::from_millis(500));
        let text = table(&[tally, Tally::new(Protocol::Zab)]);
        let line = |start: &str| {
            let line =
                text.lines().find(|l| l.trim_start().starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("simulated per core"), "simulated per core second 240 s 0 s");
        assert_eq!(line("events per core"), "events per core second 3,000,000 0");
        assert_eq!(line("kill"), "kill 7 0");
        assert!(text.contains("Raft, in 1 runs: n# stays down"), "{text}");
        assert!(line("marks never hit:").ends_with("more, see --json"), "{text}");
        assert!(line("marks never hit by ZAB:").contains("zab/"), "{text}");
        assert!(!line("marks never hit by Raft:").contains("zab/"), "{text}");
    }
}
