//! One self-contained HTML page: no script, no font, no image, nothing fetched.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Figure, Group};
use super::format;
use super::results::{Kill, LoadResult, Outcome, Results, ScenarioResult, Unit, Verdict};
use super::summary::{self, Row};
use super::{svg, table};
use crate::load::stats::Hist;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1b;--muted:#555;--ground:#fff;--line:#ddd;--soft:#f5f5f3;--bad:#a40000;--good:#1a6b1a}\
@media(prefers-color-scheme:dark){:root{--ink:#eee;--muted:#b5b5b5;--ground:#16181c;--line:#3a3a3a;--soft:#20242a;\
--bad:#ff8f85;--good:#8fd18f}}\
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:70rem;background:var(--ground);color:var(--ink);\
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2.5rem 0 .5rem}\
p{max-width:46rem}code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}\
th,td{padding:.2rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}\
tbody th[scope=row]{font-weight:400}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}tr.part th{background:var(--soft);padding-top:.5rem}\
.figures{display:grid;margin:1rem 0;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1rem}\
figure{margin:0;padding:.5rem;border:1px solid var(--line);border-radius:4px;min-width:0}figure svg{width:100%;height:auto;display:block}\
figcaption{font-weight:600;margin-bottom:.3rem}details{margin-top:.4rem}summary{cursor:pointer;color:var(--muted)}\
.not{border-left:3px solid var(--line);padding-left:.8rem;color:var(--muted)}.bad{color:var(--bad);font-weight:600}\
.good{color:var(--good)}.muted-text{color:var(--muted)}";

/// The page.
pub fn render(results: &Results) -> String {
    let names: Vec<String> = results.protocols.iter().map(|p| format::protocol(p)).collect();
    let headline = summary::headline(results);
    let title = format!("{headline}, {}", results.started);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(svg::STYLE)) }
            }
            body {
                header {
                    h1 { (headline) }
                    p.muted-text {
                        (results.started) " · " (results.tool) " · " (format!("{:.0} s", results.seconds))
                        br;
                        code { (results.command) }
                    }
                    (complaints(results))
                }
                main {
                    (configuration(results))
                    (overview(results, &names))
                    @for (i, scenario) in results.scenarios.iter().enumerate() { (section(results, scenario, &names, i)) }
                    (limits())
                }
            }
        }
    }
    .into_string()
}

fn complaints(results: &Results) -> Markup {
    let list = table::complaints(results);
    html! {
        @if list.is_empty() {
            p.good { "Every check holds." }
        } @else {
            @for (scenario, who, reason) in list { p.bad { (scenario) ", " (who) ": " (reason) } }
        }
    }
}

fn configuration(results: &Results) -> Markup {
    html! {
        h2 { "Configuration" }
        div.wide { table {
            @for (name, value) in table::configuration(results) { tr { th scope="row" { (name) } td { (value) } } }
        } }
    }
}

/// The whole comparison in one table, and throughput in one figure.
fn overview(results: &Results, names: &[String]) -> Markup {
    let own = table::columns(results, true);
    let ratio_names = ratio_names(results, &own);
    html! {
        h2 { "Side by side" }
        @if let Some(figure) = throughput(results) { div.figures { (show(&figure, "throughput", &results.command)) } }
        p {
            "Each figure is the median of its repetitions. A ratio is the median over pairs of turns, taken one right after the \
             other; in brackets its spread over the pairs. ↑ more is better, ↓ less is better."
        }
        div.wide { table {
            thead { tr {
                th scope="col" { "measure" }
                @for name in names.iter().chain(&ratio_names) { th.n scope="col" { (name) } }
            } }
            @for scenario in &results.scenarios {
                tbody {
                    tr.part {
                        th scope="rowgroup" { (scenario.title) }
                        @for verdict in summary::verdicts(results, scenario) { th.n { (verdict_word(verdict)) } }
                        @for _ in &ratio_names { th {} }
                    }
                    @for row in summary::rows(results, scenario).iter().filter(|r| !PER_ENTRY.contains(&r.unit)) {
                        (line(row, &own))
                    }
                }
            }
        } }
        (beside(results))
    }
}

fn ratio_names(results: &Results, columns: &[usize]) -> Vec<String> {
    let pairs = summary::pairs(results);
    columns.iter().map(|i| summary::ratio_name(results, pairs[*i])).collect()
}

fn line(row: &Row, columns: &[usize]) -> Markup {
    html! {
        tr {
            th scope="row" { (row.measure) (table::arrow(row.better)) }
            @for value in &row.values { td.n { (value.map_or("–".to_owned(), |v| format::value(row.unit, v))) } }
            @for i in columns { td.n { (row.ratios[*i].map_or(String::new(), |r| r.to_string())) } }
        }
    }
}

/// Duet's protocols over each other system, where one ran.
fn beside(results: &Results) -> Markup {
    let columns = table::columns(results, false);
    let compared = |row: &Row| columns.iter().any(|i| row.ratios[*i].is_some());
    html! {
        @if !columns.is_empty() {
            h2 { "Beside other systems" }
            p {
                "Ratios of the same turns. They compare programs, each with its own log, transport, language and duties, and                  say little about protocols."
            }
            div.wide { table {
                thead { tr {
                    th scope="col" { "measure" }
                    @for name in ratio_names(results, &columns) { th.n scope="col" { (name) } }
                } }
                @for scenario in &results.scenarios {
                    @let rows: Vec<Row> = summary::rows(results, scenario).into_iter().filter(compared).collect();
                    @if !rows.is_empty() {
                        tbody {
                            tr.part { th scope="rowgroup" { (scenario.title) } @for _ in &columns { th {} } }
                            @for row in &rows {
                                tr {
                                    th scope="row" { (row.measure) (table::arrow(row.better)) }
                                    @for i in &columns { td.n { (row.ratios[*i].map_or("–".to_owned(), |r| r.to_string())) } }
                                }
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn verdict_word(verdict: Option<&Verdict>) -> Markup {
    match verdict {
        None => html! { "–" },
        Some(Verdict::Pass) => html! { span.good { "✓ holds" } },
        Some(v @ (Verdict::Fail { .. } | Verdict::Inconclusive { .. })) => html! { span.bad { "✗ " (v.word()) } },
    }
}

fn section(results: &Results, scenario: &ScenarioResult, names: &[String], number: usize) -> Markup {
    html! {
        section {
            h2 { (scenario.title) }
            p { (scenario.shows) }
            @for outcome in &scenario.outcomes {
                @if let Some(reason) = outcome.verdict.reason() {
                    p.bad { (format::protocol(&outcome.protocol)) ": " (outcome.verdict.word()) ", " (reason) }
                }
            }
            div.figures {
                @for (i, figure) in figures(results, scenario).iter().enumerate() {
                    (show(figure, &format!("s{number}f{i}"), &scenario.command))
                }
            }
            (cost(results, scenario, names))
            @let notes = notes(scenario);
            @if !notes.is_empty() { ul { @for note in notes { li { (note) } } } }
            p.not { "What this does not show: " (scenario.does_not_show) }
        }
    }
}

/// A figure with its description, data and command.
fn show(figure: &Figure, id: &str, command: &str) -> Markup {
    html! {
        figure {
            figcaption { (figure.title) }
            (PreEscaped(figure.svg.inline(id, &figure.title, &figure.desc)))
            details {
                summary { "Data and command" }
                p { code { (command) } }
                div.wide { table {
                    thead { tr { @for cell in &figure.header { th scope="col" { (cell) } } } }
                    @for row in &figure.rows { tr { @for cell in row { td { (cell) } } } }
                } }
            }
        }
    }
}

/// Units of what has a table of its own.
const PER_ENTRY: [Unit; 3] = [Unit::PerEntry, Unit::BytesPerEntry, Unit::MicrosPerEntry];

/// What each committed entry costs, where that was measured.
fn cost(results: &Results, scenario: &ScenarioResult, names: &[String]) -> Markup {
    let rows: Vec<Row> = summary::rows(results, scenario).into_iter().filter(|r| PER_ENTRY.contains(&r.unit)).collect();
    let own = table::columns(results, true);
    html! {
        @if !rows.is_empty() {
            h3 { "Per committed entry, all nodes together" }
            div.wide { table {
                thead { tr {
                    th scope="col" { "cost" }
                    @for name in names { th.n scope="col" { (name) } }
                    @for name in ratio_names(results, &own) { th.n scope="col" { (name) } }
                } }
                @for row in &rows { (line(row, &own)) }
            } }
        }
    }
}

/// What the repetitions have to say, each thing once.
fn notes(scenario: &ScenarioResult) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for outcome in &scenario.outcomes {
        for note in outcome.repetitions.iter().flat_map(|r| &r.notes) {
            let note = format!("{}: {note}", format::protocol(&outcome.protocol));
            if !list.contains(&note) {
                list.push(note);
            }
        }
    }
    list
}

/// Throughput of all scenarios that measure it.
pub fn throughput(results: &Results) -> Option<Figure> {
    let mut groups = Vec::new();
    for scenario in &results.scenarios {
        let row = summary::rows(results, scenario).into_iter().find(|r| r.measure == "throughput");
        if let Some(row) = row {
            groups.push(Group { label: scenario.title.clone(), bars: values(results, &row) });
        }
    }
    (!groups.is_empty())
        .then(|| chart::bars("Operations per second (each group has its own scale)", Unit::PerSecond, &groups))
}

/// A row's values as bars.
fn values(results: &Results, row: &Row) -> Vec<(String, f64, String)> {
    let pairs = results.protocols.iter().zip(&row.values);
    pairs.filter_map(|(p, v)| v.map(|v| (p.clone(), v, String::new()))).collect()
}

/// The figures that a scenario's data can give.
pub fn figures(results: &Results, scenario: &ScenarioResult) -> Vec<Figure> {
    let outcomes: Vec<&Outcome> = results.protocols.iter().filter_map(|p| scenario.outcome(p)).collect();
    let mut figures = Vec::new();
    let kills: Vec<(String, Vec<Kill>)> = outcomes
        .iter()
        .map(|o| (o.protocol.clone(), o.repetitions.iter().flat_map(|r| r.kills.clone()).collect::<Vec<_>>()))
        .filter(|(_, k)| !k.is_empty())
        .collect();
    figures.extend(chart::gaps(&format!("{}: how long it was felt", scenario.title), &kills));
    if !kills.is_empty() {
        figures.extend(timeline(&outcomes));
    }
    figures.extend(catch_ups(&outcomes));
    figures.extend(chart::spectrum("Latency by percentile", &latencies(&outcomes)));
    figures
}

fn timeline(outcomes: &[&Outcome]) -> Option<Figure> {
    let with_kills = |o: &&Outcome| {
        let rep = o.repetitions.iter().find(|r| !r.kills.is_empty())?;
        Some((o.protocol.clone(), rep.loads.first()?.clone(), rep.kills.clone()))
    };
    chart::timeline("Answers over time", &outcomes.iter().filter_map(with_kills).collect::<Vec<_>>())
}

/// The histograms of a protocol's loads, merged.
fn latencies(outcomes: &[&Outcome]) -> Vec<(String, Hist)> {
    let merged = |o: &&Outcome| {
        let mut hist = Hist::default();
        // At a fixed rate, what counts is how long after the moment it was due an answer came.
        let counts = |l: &LoadResult| Hist::from_latency(l.intended.as_ref().unwrap_or(&l.service));
        o.repetitions.iter().flat_map(|r| &r.loads).for_each(|l| hist.merge(&counts(l)));
        (o.protocol.clone(), hist)
    };
    outcomes.iter().map(merged).filter(|(_, h)| h.count() > 0).collect()
}

fn catch_ups(outcomes: &[&Outcome]) -> Option<Figure> {
    let mut groups: Vec<Group> = Vec::new();
    for outcome in outcomes {
        for c in outcome.repetitions.iter().flat_map(|r| &r.catch_ups) {
            let note = format!("{}, {}", c.kind, format::bytes(c.bytes as f64));
            let bar = (outcome.protocol.clone(), c.level_us as f64, note);
            match groups.iter_mut().find(|g| g.label == c.case) {
                Some(group) => group.bars.push(bar),
                None => groups.push(Group { label: c.case.clone(), bars: vec![bar] }),
            }
        }
    }
    (!groups.is_empty()).then(|| chart::bars("Time until level, the way chosen and its bytes", Unit::Micros, &groups))
}

fn limits() -> Markup {
    html! {
        section {
            h2 { "How far this goes" }
            p {
                "All nodes and the clients share one machine, so they compete for its cores, and the network is loopback: \
                 absolute figures say little about other machines. Figures drift from run to run; only ratios taken in one run \
                 count. Both protocols run on the same log, transport, batching, state machine and timers; what differs is the \
                 protocol. Checks can find errors and cannot prove that there are none."
            }
        }
    }
}
