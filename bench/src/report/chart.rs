//! The figures. Each comes with a title, a description made from its numbers, and its data as a table.
//!
//! Bars start at zero. An axis that is logarithmic is labelled so. There is never a second y axis.

use super::format;
use super::results::{Kill, LoadResult, Unit};
use super::summary::median;
use super::svg::{Anchor, Svg, look, ticks};
use crate::load::stats::Hist;

/// Width of every figure. Narrow, so that its text is still readable when a phone scales it down.
const WIDTH: f64 = 480.0;

/// A figure and its data.
#[derive(Debug)]
pub struct Figure {
    /// What it is of.
    pub title: String,
    /// What it shows, in words made from the numbers.
    pub desc: String,
    /// The drawing.
    pub svg: Svg,
    /// The data's columns.
    pub header: Vec<String>,
    /// The data.
    pub rows: Vec<Vec<String>>,
}

/// Bars that belong together.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they are of.
    pub label: String,
    /// Protocol, value, and what to write beside the bar after the value.
    pub bars: Vec<(String, f64, String)>,
}

/// Horizontal bars, group by group. Each group has a scale of its own, from zero to its longest bar: what is compared are
/// the bars of one group.
pub fn bars(title: &str, unit: Unit, groups: &[Group]) -> Figure {
    const LEFT: f64 = 24.0;
    const LONGEST: f64 = 270.0;
    const TOP: f64 = 32.0;
    let height = TOP + groups.iter().map(|g| 32.0 + 22.0 * g.bars.len() as f64).sum::<f64>();
    let mut svg = Svg::new(WIDTH, height);
    let mut protocols: Vec<&str> = Vec::new();
    for (protocol, ..) in groups.iter().flat_map(|g| &g.bars) {
        if !protocols.contains(&protocol.as_str()) {
            protocols.push(protocol);
        }
    }
    legend(&mut svg, LEFT, 14.0, protocols.into_iter());
    let mut y = TOP;
    let (mut rows, mut words) = (Vec::new(), Vec::new());
    for group in groups {
        svg.text(LEFT, y + 14.0, "ink", Anchor::Start, &group.label);
        y += 22.0;
        let top = y;
        let max = group.bars.iter().map(|b| b.1).fold(0.0, f64::max);
        for (protocol, value, note) in &group.bars {
            let look = look(protocol);
            let width = if max > 0.0 { value / max * LONGEST } else { 0.0 };
            svg.mark(LEFT - 12.0, y + 9.0, look);
            svg.bar(LEFT, y + 1.0, width, 16.0, look);
            let shown = format::value(unit, *value);
            let label = if note.is_empty() { shown.clone() } else { format!("{shown} · {note}") };
            svg.text(LEFT + width + 6.0, y + 14.0, "ink", Anchor::Start, &label);
            words.push(format!("{}, {}: {label}", group.label, format::protocol(protocol)));
            rows.push(vec![group.label.clone(), format::protocol(protocol), shown, note.clone()]);
            y += 22.0;
        }
        svg.line((LEFT, top - 2.0), (LEFT, y), "axis");
        y += 10.0;
    }
    let header = ["", "protocol", "value", "note"].map(str::to_owned).to_vec();
    Figure { title: title.to_owned(), desc: sentence(&words), svg, header, rows }
}

/// Latency by percentile, both axes logarithmic: each step to the right is ten times fewer operations. A curve ends where fewer
/// than ten operations are left; the longest stands in the table.
/// `curves` are protocols and their merged histograms.
pub fn spectrum(title: &str, curves: &[(String, Hist)]) -> Option<Figure> {
    let drawn: Vec<_> = curves.iter().map(|(p, h)| (p, h, told(h))).collect();
    let nines = drawn.iter().flat_map(|d| d.2.iter()).map(|(q, _)| nines(*q)).fold(0.0, f64::max);
    if nines == 0.0 {
        return None;
    }
    let nines = nines.ceil().max(1.0);
    let low = drawn.iter().filter_map(|d| d.2.first()).map(|p| p.1).min()?.max(1) as f64;
    let high = drawn.iter().filter_map(|d| d.2.last()).map(|p| p.1).max()?.max(10) as f64;
    let marks = log_ticks(low, high);
    let (low, high) = (marks[0].log10(), marks[marks.len() - 1].log10());
    let (left, right, top, bottom) = (62.0, WIDTH - 30.0, 34.0, 250.0);
    let x = |n: f64| left + n / nines * (right - left);
    let y = |us: f64| bottom - (us.max(1.0).log10() - low) / (high - low) * (bottom - top);

    let mut svg = Svg::new(WIDTH, 300.0);
    legend(&mut svg, left, 14.0, curves.iter().map(|(p, _)| p.as_str()));
    for us in marks {
        svg.line((left, y(us)), (right, y(us)), "grid");
        svg.text(left - 6.0, y(us) + 4.0, "muted", Anchor::End, &tick_time(us));
    }
    for n in 0..=nines as usize {
        svg.line((x(n as f64), top), (x(n as f64), bottom), "grid");
        svg.text(x(n as f64), bottom + 18.0, "muted", Anchor::Middle, &percentile_name(n));
    }
    svg.line((left, bottom), (right, bottom), "axis");
    svg.line((left, top), (left, bottom), "axis");
    svg.text(
        f64::midpoint(left, right),
        bottom + 40.0,
        "muted",
        Anchor::Middle,
        "share of operations (log scale) · latency up to there (log scale)",
    );
    for (protocol, _, points) in &drawn {
        let look = look(protocol);
        let path: Vec<_> = points.iter().map(|(q, us)| (x(self::nines(*q)), y(*us as f64))).collect();
        svg.curve(&path, look);
        path.iter().step_by(10).for_each(|(px, py)| svg.mark(*px, *py, look));
    }

    let quantiles = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];
    let mut header = vec!["percentile".to_owned()];
    header.extend(curves.iter().map(|(p, _)| format::protocol(p)));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for q in quantiles {
        let enough = |h: &Hist| q >= 1.0 || h.count() as f64 * (1.0 - q) >= 1.0;
        let name = if q < 1.0 { format!("{} %", trim(q * 100.0)) } else { "longest".to_owned() };
        let cell = |h: &Hist| if enough(h) { format::micros(h.quantile(q) as f64) } else { "too few".to_owned() };
        rows.push(std::iter::once(name).chain(curves.iter().map(|(_, h)| cell(h))).collect());
    }
    rows.push(
        std::iter::once("operations".to_owned())
            .chain(curves.iter().map(|(_, h)| format::count(h.count() as f64)))
            .collect(),
    );
    let words: Vec<String> = curves
        .iter()
        .map(|(p, h)| {
            let us = |q| format::micros(h.quantile(q) as f64);
            format!("{}: median {}, 99 % {}, longest {}", format::protocol(p), us(0.5), us(0.99), us(1.0))
        })
        .collect();
    Some(Figure { title: title.to_owned(), desc: sentence(&words), svg, header, rows })
}

/// The part of a spectrum that says something: at least ten operations stand behind each point, and four nines are enough.
fn told(hist: &Hist) -> Vec<(f64, u64)> {
    let mut points = hist.latency().spectrum;
    let enough = |q: f64| q <= 0.5 || ((1.0 - q) * hist.count() as f64 >= 9.99 && q < 0.999_91);
    points.retain(|(q, _)| enough(*q));
    points
}

/// Every gap a kill made, one mark each, and the median of each protocol.
pub fn gaps(title: &str, kills: &[(String, Vec<Kill>)]) -> Option<Figure> {
    let longest = kills.iter().flat_map(|(_, k)| k).map(|k| k.writer_gap_us).max()? as f64;
    let scale = ticks(longest / 1000.0, 5);
    let max = *scale.last()?;
    let (left, right) = (84.0, WIDTH - 24.0);
    let x = |ms: f64| left + ms / max * (right - left);
    let row = 46.0;
    let bottom = 12.0 + row * kills.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + 46.0);
    for ms in &scale {
        svg.line((x(*ms), 8.0), (x(*ms), bottom), "grid");
        svg.text(x(*ms), bottom + 18.0, "muted", Anchor::Middle, &format::count(*ms));
    }
    svg.line((left, bottom), (right, bottom), "axis");
    svg.text(f64::midpoint(left, right), bottom + 38.0, "muted", Anchor::Middle, "longest wait of one writer, ms");
    let (mut rows, mut words) = (Vec::new(), Vec::new());
    for (i, (protocol, list)) in kills.iter().enumerate() {
        let look = look(protocol);
        let y = 12.0 + row * (i as f64 + 0.5);
        svg.text(left - 8.0, y + 4.0, "ink", Anchor::End, &format::protocol(protocol));
        let waits: Vec<f64> = list.iter().map(|k| k.writer_gap_us as f64 / 1000.0).collect();
        for (j, ms) in waits.iter().enumerate() {
            // Spread over the height in a fixed pattern, so that equal gaps do not hide each other.
            svg.mark(x(*ms), y + [0.0, -9.0, 9.0, -4.5, 4.5][j % 5], look);
        }
        if let Some(median) = median(&waits) {
            svg.line((x(median), y - 18.0), (x(median), y + 18.0), "axis");
            let most = waits.iter().copied().fold(0.0, f64::max);
            words.push(format!(
                "{}: {} kills, median {median:.0} ms, longest {most:.0} ms",
                format::protocol(protocol),
                list.len()
            ));
        }
        for (j, kill) in list.iter().enumerate() {
            rows.push(vec![
                format::protocol(protocol),
                (j + 1).to_string(),
                format!("n{} → {}", kill.leader, kill.successor.map_or("?".to_owned(), |s| format!("n{s}"))),
                format::micros(kill.writer_gap_us as f64),
                format::micros(kill.cluster_gap_us as f64),
            ]);
        }
    }
    let header = ["protocol", "kill", "leader", "one writer", "no writer at all"].map(str::to_owned).to_vec();
    Some(Figure { title: title.to_owned(), desc: sentence(&words), svg, header, rows })
}

/// Answers per second over time, one panel per protocol with the same scales, a dotted line at each kill.
pub fn timeline(title: &str, loads: &[(String, LoadResult, Vec<Kill>)]) -> Option<Figure> {
    let per_second = |l: &LoadResult, ops: u64| ops as f64 * 1000.0 / l.interval_ms.max(1) as f64;
    let most = loads.iter().flat_map(|(_, l, _)| l.series.iter().map(|s| per_second(l, s.ops))).fold(0.0, f64::max);
    let end = loads.iter().filter_map(|(_, l, _)| l.series.last().map(|s| s.t_ms + l.interval_ms)).max()? as f64;
    let (scale, times) = (ticks(most, 3), ticks(end / 1000.0, 6));
    let (top_value, top_time) = (*scale.last()?, *times.last()?);
    let (left, right, panel) = (70.0, WIDTH - 16.0, 110.0);
    let mut svg = Svg::new(WIDTH, (panel + 30.0) * loads.len() as f64 + 44.0);
    let x = |s: f64| left + s / top_time * (right - left);
    let mut rows = Vec::new();
    let mut words = Vec::new();
    let mut bottom = 0.0;
    for (i, (protocol, load, kills)) in loads.iter().enumerate() {
        let look = look(protocol);
        let top = 26.0 + (panel + 30.0) * i as f64;
        bottom = top + panel;
        let y = |v: f64| bottom - v / top_value * panel;
        svg.mark(left + 6.0, top - 10.0, look);
        svg.text(left + 16.0, top - 6.0, "ink", Anchor::Start, &format::protocol(protocol));
        for v in &scale {
            svg.line((left, y(*v)), (right, y(*v)), "grid");
            svg.text(left - 6.0, y(*v) + 4.0, "muted", Anchor::End, &format::count(*v));
        }
        for kill in kills {
            let at = x(kill.at_ms as f64 / 1000.0);
            svg.line((at, top), (at, bottom), "event");
        }
        let middle = load.interval_ms as f64 / 2.0;
        let points: Vec<_> =
            load.series.iter().map(|s| (x((s.t_ms as f64 + middle) / 1000.0), y(per_second(load, s.ops)))).collect();
        svg.curve(&points, look);
        svg.line((left, bottom), (right, bottom), "axis");
        let silent = load.series.iter().filter(|s| s.ops == 0).count() as u64 * load.interval_ms;
        words.push(format!(
            "{}: up to {} answers per second, {} kills, {silent} ms in all without an answer",
            format::protocol(protocol),
            format::count(load.series.iter().map(|s| per_second(load, s.ops)).fold(0.0, f64::max)),
            kills.len()
        ));
        for s in &load.series {
            rows.push(vec![
                format::protocol(protocol),
                format!("{:.2} s", s.t_ms as f64 / 1000.0),
                format::count(s.ops as f64),
                format::micros(s.p99 as f64),
                s.errors.to_string(),
            ]);
        }
    }
    for t in &times {
        svg.text(x(*t), bottom + 18.0, "muted", Anchor::Middle, &trim(*t));
    }
    svg.text(
        f64::midpoint(left, right),
        bottom + 38.0,
        "muted",
        Anchor::Middle,
        "seconds · answers per second · dotted: the leader is taken away",
    );
    let header = ["protocol", "from", "answers", "99 %", "errors"].map(str::to_owned).to_vec();
    Some(Figure { title: title.to_owned(), desc: sentence(&words), svg, header, rows })
}

/// Names and marks in a row.
pub fn legend<'a>(svg: &mut Svg, x: f64, y: f64, protocols: impl Iterator<Item = &'a str>) {
    let mut x = x;
    for protocol in protocols {
        let look = look(protocol);
        svg.curve(&[(x, y), (x + 24.0, y)], look);
        svg.mark(x + 12.0, y, look);
        let name = format::protocol(protocol);
        svg.text(x + 30.0, y + 4.0, "ink", Anchor::Start, &name);
        x += 46.0 + 8.0 * name.len() as f64;
    }
}

/// How many nines a fraction has: 0.9 has one, 0.99 two.
fn nines(q: f64) -> f64 {
    -(1.0 - q).max(1e-9).log10()
}

fn percentile_name(nines: usize) -> String {
    match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        n => format!("99.{} %", "9".repeat(n - 2)),
    }
}

/// 1, 2, 5, 10, 20, ... from at most `low` to at least `high`; without 2 and 5 when that would be too many. At least two.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = |steps: &[f64]| -> Vec<f64> {
        let list: Vec<f64> = decades.clone().flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d))).collect();
        // One mark at or below the lowest value, one at or above the highest.
        let first = list.iter().rposition(|t| *t <= low * 1.000_001).unwrap_or(0);
        let last = list.iter().position(|t| *t >= high * 0.999_999 && *t > list[first]).unwrap_or(list.len() - 1);
        list[first..=last].to_vec()
    };
    let fine = all(&[1.0, 2.0, 5.0]);
    if fine.len() > 9 { all(&[1.0]) } else { fine }
}

/// A round number of microseconds.
fn tick_time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

/// At most two decimals, and no zeros at the end.
fn trim(v: f64) -> String {
    let text = format!("{v:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn sentence(words: &[String]) -> String {
    if words.is_empty() { "No data.".to_owned() } else { format!("{}.", words.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithmic_ticks_enclose_what_they_are_for() {
        assert_eq!(log_ticks(430.0, 1900.0), [200.0, 500.0, 1000.0, 2000.0]);
        assert_eq!(log_ticks(100.0, 100.0), [100.0, 200.0]);
        assert_eq!(log_ticks(1.0, 1e7), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7]);
        for (low, high) in [(1.0, 2.0), (3.0, 7.0), (999.0, 1001.0), (1.0, 60_000_000.0)] {
            let t = log_ticks(low, high);
            assert!(t.len() >= 2 && t[0] <= low && t[t.len() - 1] >= high, "{low} {high}: {t:?}");
        }
    }
}
