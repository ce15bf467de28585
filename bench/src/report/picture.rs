//! The report in one picture, as a README can show it.

use super::chart::{self, Figure};
use super::page;
use super::results::Results;
use super::summary;
use super::svg::{Anchor, Svg};

/// The picture as an SVG file: throughput on the left; failover and latency on the right.
pub fn render(results: &Results) -> String {
    let left: Vec<Figure> = page::throughput(results).into_iter().collect();
    let right: Vec<Figure> = results
        .scenarios
        .iter()
        .filter(|s| s.outcomes.iter().any(|o| o.repetitions.iter().any(|r| !r.kills.is_empty())))
        .flat_map(|s| page::figures(results, s))
        .take(1)
        .chain(spectrum(results))
        .collect();
    let height = |figures: &[Figure]| figures.iter().map(|f| f.svg.height() + 34.0).sum::<f64>();
    let width = 1000.0;
    let mut svg = Svg::new(width, 96.0 + height(&left).max(height(&right)) + 30.0);
    svg.ground();
    let headline = summary::headline(results);
    svg.text(24.0, 36.0, "ink head", Anchor::Start, &headline);
    chart::legend(&mut svg, 24.0, 62.0, results.protocols.iter().map(String::as_str));
    for (x, figures) in [(12.0, &left), (508.0, &right)] {
        let mut y = 88.0;
        for figure in figures {
            svg.text(x + 12.0, y + 14.0, "ink", Anchor::Start, &figure.title);
            svg.place(x, y + 24.0, &figure.svg);
            y += figure.svg.height() + 34.0;
        }
    }
    let m = &results.machine;
    let foot = format!("{} · {} cores, {} · {}", results.started, m.cores, m.kernel, results.command);
    svg.text(24.0, svg.height() - 12.0, "muted small", Anchor::Start, &foot);
    let desc: Vec<String> = left.iter().chain(&right).map(|f| format!("{}: {}", f.title, f.desc)).collect();
    svg.file(&headline, &desc.join(" "))
}

/// Latency under the scenario with the most operations per second.
fn spectrum(results: &Results) -> Option<Figure> {
    let busiest = results.scenarios.iter().rfind(|s| s.name.starts_with("writes"))?;
    let mut figure = page::figures(results, busiest).pop()?;
    figure.title = format!("{}: {}", figure.title, busiest.title);
    Some(figure)
}
