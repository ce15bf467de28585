//! One line per figure: the median of each protocol's repetitions, and the ratio between protocols with its spread.
//!
//! Protocols take turns in A-B-B-A order, so a machine that slowly speeds up or slows down favours neither. The ratio is
//! taken within each pair of turns, and its spread over the pairs says how far one may trust it.

use super::format;
use super::results::{Better, Measure, Outcome, Results, ScenarioResult, Unit, Verdict};
use crate::cli::Protocol;

/// A figure of one scenario, for all protocols.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The figure's name.
    pub measure: String,
    /// Its unit.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
    /// For each protocol in order: the median of its repetitions.
    pub values: Vec<Option<f64>>,
    /// For each of [`pairs`]: how the first compares to the second.
    pub ratios: Vec<Option<Ratio>>,
}

/// Two systems that are compared: places in [`Results::protocols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The one above the line.
    pub of: usize,
    /// The one below.
    pub over: usize,
    /// Whether both are Duet's.
    pub own: bool,
}

/// Who is compared to whom: each of Duet's protocols to the first of them, then each to every other system.
pub fn pairs(results: &Results) -> Vec<Pair> {
    let is_own = |name: &str| Protocol::ALL.iter().any(|p| p.name() == name);
    let places = |own| (0..results.protocols.len()).filter(move |i| is_own(&results.protocols[*i]) == own);
    let first = places(true).next();
    let own = places(true).skip(1).filter_map(|of| Some(Pair { of, over: first?, own: true }));
    let beside = places(false).flat_map(|over| places(true).map(move |of| Pair { of, over, own: false }));
    own.chain(beside).collect()
}

/// The name of a pair's ratio.
pub fn ratio_name(results: &Results, pair: Pair) -> String {
    format!("{}/{}", format::protocol(&results.protocols[pair.of]), format::protocol(&results.protocols[pair.over]))
}

/// What a whole report is of, in one line.
pub fn headline(results: &Results) -> String {
    let pairs = pairs(results);
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (i, name) in results.protocols.iter().enumerate() {
        let other = pairs.iter().any(|p| !p.own && p.over == i);
        if other { &mut others } else { &mut own }.push(format::protocol(name));
    }
    let beside = if others.is_empty() { String::new() } else { format!(", beside {}", others.join(" and ")) };
    format!("{} on one substrate{beside}", own.join(" and "))
}

/// One system's figure over another's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median over the pairs of turns.
    pub median: f64,
    /// The lowest of the pairs.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// How many pairs there were.
    pub pairs: usize,
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2}×", self.median)?;
        if self.pairs > 1 {
            write!(f, " ({:.2}–{:.2})", self.low, self.high)?;
        }
        Ok(())
    }
}

/// The figures of one scenario, in the order in which they were measured.
pub fn rows(results: &Results, scenario: &ScenarioResult) -> Vec<Row> {
    let outcomes: Vec<Option<&Outcome>> = results.protocols.iter().map(|p| scenario.outcome(p)).collect();
    let pairs = pairs(results);
    let mut rows: Vec<Row> = Vec::new();
    for repetition in outcomes.iter().flatten().flat_map(|o| &o.repetitions) {
        let mut place = 0;
        for measure in &repetition.measures {
            // One that only later repetitions have comes after the one it followed there.
            if let Some(at) = rows.iter().position(|r| r.measure == measure.name) {
                place = at;
            } else {
                rows.insert(place, row(measure, &outcomes, &pairs));
            }
            place += 1;
        }
    }
    rows
}

fn row(measure: &Measure, outcomes: &[Option<&Outcome>], pairs: &[Pair]) -> Row {
    let of = |o: Option<&Outcome>| -> Vec<f64> {
        o.map(|o| o.repetitions.iter().filter_map(|r| r.get(&measure.name)).collect()).unwrap_or_default()
    };
    let values: Vec<Vec<f64>> = outcomes.iter().map(|o| of(*o)).collect();
    // What has no better direction is no competition.
    let compared =
        |p: &Pair| if measure.better == Better::Neither { None } else { ratio(&values[p.over], &values[p.of]) };
    Row {
        measure: measure.name.clone(),
        unit: measure.unit,
        better: measure.better,
        values: values.iter().map(|v| median(v)).collect(),
        ratios: pairs.iter().map(compared).collect(),
    }
}

/// Each protocol's verdict in one scenario, in order; None where it was not run.
pub fn verdicts<'a>(results: &Results, scenario: &'a ScenarioResult) -> Vec<Option<&'a Verdict>> {
    results.protocols.iter().map(|p| scenario.outcome(p).map(|o| &o.verdict)).collect()
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half]),
        _ => Some(f64::midpoint(sorted[half - 1], sorted[half])),
    }
}

/// Compares repetitions pairwise, in order of time. None without a pair whose first value is above zero.
fn ratio(base: &[f64], other: &[f64]) -> Option<Ratio> {
    let pairs: Vec<f64> = base.iter().zip(other).filter(|(b, _)| **b > 0.0).map(|(b, o)| o / b).collect();
    let median = median(&pairs)?;
    let low = pairs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = pairs.iter().copied().fold(0.0, f64::max);
    Some(Ratio { median, low, high, pairs: pairs.len() })
}

/// How each protocol chose to bring a node level: for each case its name, and per protocol the kinds chosen.
pub fn decisions(results: &Results, scenario: &ScenarioResult) -> Vec<(String, Vec<String>)> {
    let mut cases: Vec<(String, Vec<String>)> = Vec::new();
    for (column, protocol) in results.protocols.iter().enumerate() {
        let repetitions = scenario.outcome(protocol).into_iter().flat_map(|o| &o.repetitions);
        for c in repetitions.flat_map(|r| &r.catch_ups) {
            let at = cases.iter().position(|(case, _)| *case == c.case).unwrap_or_else(|| {
                cases.push((c.case.clone(), vec![String::new(); results.protocols.len()]));
                cases.len() - 1
            });
            let kinds = &mut cases[at].1[column];
            if !kinds.split(", ").any(|k| k == c.kind) {
                kinds.push_str(if kinds.is_empty() { "" } else { ", " });
                kinds.push_str(&c.kind);
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn medians_and_paired_ratios() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        let r = ratio(&[100.0, 200.0], &[90.0, 220.0]).unwrap();
        assert_eq!((r.low, r.high, r.pairs), (0.9, 1.1, 2));
        assert_eq!(r.to_string(), "1.00× (0.90–1.10)");
        assert_eq!(ratio(&[0.0], &[1.0]), None);
        assert_eq!(ratio(&[2.0], &[1.0]).unwrap().to_string(), "0.50×");
    }

    #[test]
    fn rows_follow_the_order_of_measurement() {
        let results = sample::results();
        let rows = rows(&results, &results.scenarios[0]);
        assert_eq!(rows[0].measure, "throughput");
        assert_eq!(rows[0].values, [Some(20_000.0), Some(18_000.0)]);
        assert!((rows[0].ratios[0].unwrap().median - 0.9).abs() < 0.001);
    }

    #[test]
    fn each_of_ours_is_compared_to_each_of_the_others() {
        let mut results = sample::results();
        let names = |r: &Results| pairs(r).into_iter().map(|p| ratio_name(r, p)).collect::<Vec<_>>();
        assert_eq!(names(&results), ["ZAB/Raft"]);
        assert_eq!(headline(&results), "Raft and ZAB on one substrate");
        results.protocols.extend(["zookeeper".to_owned(), "etcd".to_owned()]);
        assert_eq!(names(&results), ["ZAB/Raft", "Raft/ZooKeeper", "ZAB/ZooKeeper", "Raft/etcd", "ZAB/etcd"]);
        assert_eq!(headline(&results), "Raft and ZAB on one substrate, beside ZooKeeper and etcd");
        let other = Outcome { protocol: "zookeeper".into(), ..results.scenarios[0].outcomes[0].clone() };
        results.scenarios[0].outcomes.push(other);
        let ratios = &rows(&results, &results.scenarios[0])[0].ratios;
        let medians: Vec<_> = ratios.iter().map(|r| r.map(|r| r.median)).collect();
        assert_eq!(medians, [Some(0.9), Some(1.0), Some(0.9), None, None]);
    }

    #[test]
    fn a_measure_that_only_one_protocol_has_stands_where_it_was_measured() {
        let mut results = sample::results();
        let rep = &mut results.scenarios[0].outcomes[1].repetitions[0];
        let extra = Measure { name: "extra".into(), unit: Unit::Count, better: Better::Neither, value: 3.0 };
        rep.measures.insert(1, extra);
        let rows = rows(&results, &results.scenarios[0]);
        assert_eq!(
            rows.iter().map(|r| r.measure.as_str()).collect::<Vec<_>>(),
            ["throughput", "extra", "p99", "messages"]
        );
        assert_eq!((rows[1].values[0], rows[1].values[1], rows[1].ratios[0]), (None, Some(3.0), None));
    }
}
