//! The last events of a run as a message sequence chart in text: a lane for each node, time downwards, an arrow for each
//! message at the moment it arrives.
//!
//! What led to a violation is mostly in the last few dozen events; a reader who sees who said what to whom, and where each
//! crash fell between, finds the cause sooner than in any log.

use std::fmt::Write as _;

use super::outcome::{ChartEvent, ChartWhat};
use super::plan_text::span_text;
use crate::types::NodeId;

/// Columns before the first lane: the time.
const MARGIN: usize = 14;
/// Columns that all lanes together should need, if each has [`NARROW`] at least and [`WIDE`] at most.
const ALL: usize = 110;
const NARROW: usize = 12;
const WIDE: usize = 32;

/// The last `last` of these events, for nodes 1 to `nodes`. Labels wider than their room end with `…`.
pub fn render(events: &[ChartEvent], nodes: u64, last: usize) -> String {
    let lanes = Lanes::new(nodes);
    let mut text = lanes.head();
    let left_out = events.len().saturating_sub(last);
    if left_out > 0 {
        let _ = writeln!(text, "{:MARGIN$}… {left_out} earlier events", "");
    }
    for event in &events[left_out..] {
        let seconds = format!("{:5}.{:06}", event.at.0 / 1_000_000, event.at.0 % 1_000_000);
        let _ = writeln!(text, "{seconds:<MARGIN$}{}", lanes.line(event));
    }
    text
}

struct Lanes {
    nodes: usize,
    width: usize,
}

impl Lanes {
    fn new(nodes: u64) -> Self {
        let nodes = nodes.clamp(1, 64) as usize;
        Self { nodes, width: (ALL / nodes).clamp(NARROW, WIDE) }
    }

    /// The column of a node's lane.
    fn column(&self, node: NodeId) -> Option<usize> {
        let i = (node.0 as usize).checked_sub(1)?;
        (i < self.nodes).then(|| i * self.width)
    }

    /// The column after the last.
    fn end(&self) -> usize {
        self.nodes * self.width
    }

    fn head(&self) -> String {
        let names = (1..=self.nodes).map(|n| format!("{:<width$}", format!("n{n}"), width = self.width));
        let names: String = names.collect();
        format!("{:MARGIN$}{}\n", "", names.trim_end())
    }

    fn line(&self, event: &ChartEvent) -> String {
        let mut row = vec![' '; self.end()];
        for lane in 0..self.nodes {
            row[lane * self.width] = '│';
        }
        let mut after = String::new();
        match &event.what {
            ChartWhat::Message { from, to, text, sent } => match (self.column(*from), self.column(*to)) {
                (Some(a), Some(b)) if a != b => {
                    arrow(&mut row, a, b, text);
                    after = format!(" {}", span_text(event.at.since(*sent)));
                }
                (_, Some(b)) => put(&mut row, b + 1, &format!("◀ from {from}: {text}")),
                (Some(a), None) => put(&mut row, a + 1, &format!("▶ to {to}: {text}")),
                (None, None) => rule(&mut row, &format!("{from} to {to}: {text}")),
            },
            ChartWhat::Note { node, text } => match self.column(*node) {
                Some(column) => {
                    row[column] = '●';
                    put(&mut row, column + 1, &format!(" {text} "));
                }
                None => rule(&mut row, &format!("{node}: {text}")),
            },
            ChartWhat::World { text } => rule(&mut row, text),
        }
        let row: String = row.into_iter().collect();
        // The width of the last lane is room for notes; an arrow's delay stands in it.
        format!("{}{after}", row.trim_end())
    }
}

/// An arrow between two columns, with its label in it.
fn arrow(row: &mut [char], from: usize, to: usize, text: &str) {
    let (low, high) = (from.min(to), from.max(to));
    for cell in &mut row[low + 1..high] {
        *cell = if *cell == '│' { '┼' } else { '─' };
    }
    row[if to > from { to - 1 } else { to + 1 }] = if to > from { '▶' } else { '◀' };
    put(&mut row[..high - 2], low + 3, text);
}

/// Across all lanes.
fn rule(row: &mut [char], text: &str) {
    row.fill('═');
    put(row, 2, &format!(" {text} "));
}

/// Writes a text over what is there, as far as there is room; what takes no room of its own, or more than a line, is a
/// space.
fn put(row: &mut [char], at: usize, text: &str) {
    let Some(room) = row.get_mut(at..) else { return };
    let cut = text.chars().count() > room.len();
    let shown = room.len() - usize::from(cut);
    for (cell, c) in room.iter_mut().zip(text.chars().take(shown)) {
        *cell = if c.is_control() { ' ' } else { c };
    }
    if let Some(cell) = room.get_mut(shown).filter(|_| cut) {
        *cell = '…';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Micros;

    fn message(at: u64, from: u64, to: u64, text: &str) -> ChartEvent {
        let (from, to) = (NodeId(from), NodeId(to));
        ChartEvent { at: Micros(at), what: ChartWhat::Message { from, to, text: text.into(), sent: Micros(at - 500) } }
    }

    fn note(at: u64, node: u64, text: &str) -> ChartEvent {
        ChartEvent { at: Micros(at), what: ChartWhat::Note { node: NodeId(node), text: text.into() } }
    }

    #[test]
    fn the_last_events_as_lanes_and_arrows() {
        let events = [
            note(900, 1, "not shown"),
            note(1_000_000, 1, "starts"),
            message(1_250_300, 1, 2, "RequestVote(term 3)"),
            message(1_250_400, 1, 3, "RequestVote(term 3)"),
            message(1_251_000, 3, 1, "RequestVoteReply(term 3, granted)"),
            message(1_252_000, 2, 1, "a label that is much too wide for what is between two lanes"),
            ChartEvent { at: Micros(1_300_000), what: ChartWhat::World { text: "cut n1 -> n2".into() } },
            note(61_300_001, 3, "crashes,\nlosing what was not synced"),
            message(61_300_002, 9, 2, "from outside"),
        ];
        let golden = "
              n1                              n2                              n3
              … 1 earlier events
    1.000000  ● starts                        │                               │
    1.250300  │──RequestVote(term 3)─────────▶│                               │ 500us
    1.250400  │──RequestVote(term 3)──────────┼──────────────────────────────▶│ 500us
    1.251000  │◀─RequestVoteReply(term 3, granted)────────────────────────────│ 500us
    1.252000  │◀─a label that is much too w…──│                               │ 500us
    1.300000  ══ cut n1 -> n2 ════════════════════════════════════════════════════════════════════════════════
   61.300001  │                               │                               ● crashes, losing what was not …
   61.300002  │                               │◀ from n9: from outside        │
";
        let text = render(&events, 3, 8);
        assert_eq!(format!("\n{text}"), golden, "\n{text}");
    }

    #[test]
    fn many_nodes_and_no_events_are_no_trouble() {
        assert_eq!(render(&[], 1, 40), "              n1\n");
        let all: Vec<_> = (1..=9).map(|to| message(1000, 10 - to, to, &"wide".repeat(30))).collect();
        let text = render(&all, 9, 40);
        assert_eq!(text.lines().count(), 10);
        assert!(text.lines().all(|l| l.chars().count() <= MARGIN + 9 * NARROW + 8), "{text}");
        assert_eq!(render(&all, 0, 1).lines().count(), 3);
    }
}
