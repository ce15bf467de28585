//! What a load measures: histograms, samples over time, and gaps between answers.
//!
//! Percentiles are never averaged: histograms are merged, and percentiles are read from the sum. A percentile that too
//! few operations stand behind says nothing, so every summary carries its count.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told apart: one minute.
const MAX_US: u64 = 60_000_000;

/// A latency histogram in microseconds, exact to three digits up to one minute; longer ones count as one minute.
#[derive(Clone, Debug)]
pub struct Hist(Histogram<u64>);

impl Default for Hist {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("these bounds are valid"))
    }
}

impl Hist {
    /// Counts one latency. Below a microsecond counts as one.
    pub fn record(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The latency that a fraction `q` (0 to 1) of all were not above.
    pub fn quantile(&self, q: f64) -> u64 {
        self.0.value_at_quantile(q)
    }

    /// The longest.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// What reports keep of it.
    pub fn latency(&self) -> Latency {
        let q = |q| self.quantile(q);
        let spectrum = self.spectrum();
        let buckets = self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_since_last_iteration())).collect();
        Latency {
            count: self.count(),
            mean: (self.0.mean() * 10.0).round() / 10.0,
            p50: q(0.5),
            p90: q(0.9),
            p99: q(0.99),
            p999: q(0.999),
            max: self.max(),
            spectrum,
            buckets,
        }
    }

    /// The histogram a summary was made from.
    pub fn from_latency(latency: &Latency) -> Self {
        let mut hist = Self::default();
        for (value, count) in &latency.buckets {
            hist.0.saturating_record_n(*value, *count);
        }
        hist
    }

    /// Quantile and latency, ever denser towards 1, as far as at least one operation stands behind each point.
    fn spectrum(&self) -> Vec<(f64, u64)> {
        let mut points = Vec::new();
        if self.count() == 0 {
            return points;
        }
        // Ten steps from one nine to the next: 0, 0.21, 0.37, ... 0.9, ... 0.99, ...
        for step in 0..=60 {
            let beyond = 10f64.powf(-f64::from(step) / 10.0);
            if beyond * (self.count() as f64) < 1.0 {
                break;
            }
            // Six digits are enough to draw, and keep the file small.
            points.push((((1.0 - beyond) * 1e6).round() / 1e6, self.quantile(1.0 - beyond)));
        }
        points
    }
}

/// Latencies summed up, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many operations stand behind it.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile. Means little below ten thousand operations.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Fraction (0 to 1) and latency, dense towards 1; ends where fewer than one operation is left.
    pub spectrum: Vec<(f64, u64)>,
    /// The histogram itself: latency and count, ascending.
    pub buckets: Vec<(u64, u64)>,
}

/// One stretch of a load's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its start, in milliseconds from the start of the measurement.
    pub t_ms: u64,
    /// Operations answered in it.
    pub ops: u64,
    /// Median latency of these.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// Operations that ended in an error.
    pub errors: u64,
}

/// Cuts time in equal intervals and keeps a [`Sample`] of each. An interval without answers is kept too: that nothing
/// came is what a failover looks like.
#[derive(Debug)]
pub struct Series {
    interval_us: u64,
    now: Hist,
    errors: u64,
    /// Start of the current interval.
    at_us: u64,
    samples: Vec<Sample>,
    limit: usize,
}

impl Series {
    /// Samples of `interval_ms`, at most `limit` of them; what comes later is not kept.
    pub fn new(interval_ms: u64, limit: usize) -> Self {
        let interval_us = interval_ms.max(1) * 1000;
        Self { interval_us, now: Hist::default(), errors: 0, at_us: 0, samples: Vec::new(), limit }
    }

    /// Length of one sample.
    pub fn interval_ms(&self) -> u64 {
        self.interval_us / 1000
    }

    /// Counts an answer at `at_us` from the start. Time must not go back beyond the current interval.
    pub fn record(&mut self, at_us: u64, latency_us: u64) {
        self.advance(at_us);
        self.now.record(latency_us);
    }

    /// Counts an error.
    pub fn error(&mut self, at_us: u64) {
        self.advance(at_us);
        self.errors += 1;
    }

    /// Completes all intervals that end at or before `at_us`.
    pub fn advance(&mut self, at_us: u64) {
        while at_us >= self.at_us + self.interval_us {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.samples.len() < self.limit {
            self.samples.push(Sample {
                t_ms: self.at_us / 1000,
                ops: self.now.count(),
                p50: self.now.quantile(0.5),
                p99: self.now.quantile(0.99),
                max: self.now.max(),
                errors: self.errors,
            });
        }
        if self.now.count() > 0 {
            self.now.clear();
        }
        self.errors = 0;
        self.at_us += self.interval_us;
    }

    /// The samples completed so far.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// All samples up to `end_us`.
    pub fn finish(mut self, end_us: u64) -> Vec<Sample> {
        self.advance(end_us);
        self.samples
    }
}

/// A stretch of time without an answer, in microseconds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last answer before it.
    pub from_us: u64,
    /// The first answer after it.
    pub to_us: u64,
}

impl Gap {
    /// How long it was.
    pub fn length(&self) -> u64 {
        self.to_us - self.from_us
    }

    /// Whether it ended after `from` and not after `to`. Of the gaps around a moment it is the one that ends after it that
    /// the moment made; each gap belongs to one moment only.
    pub fn ended_within(&self, from: u64, to: u64) -> bool {
        self.to_us > from && self.to_us <= to
    }
}

/// Finds the gaps of every writer and of the cluster as a whole.
///
/// A writer here is one logical client in a closed loop: from one answer to its next, nothing else holds it up, so the
/// time between them is what the system made it wait.
#[derive(Debug)]
pub struct Gaps {
    threshold_us: u64,
    limit: usize,
    last: Vec<u64>,
    writers: VecDeque<Gap>,
    last_any: u64,
    cluster: VecDeque<Gap>,
}

impl Gaps {
    /// For `writers` writers that all start at time 0. Gaps shorter than `threshold_us` are not kept, and of longer
    /// ones only the newest `limit`.
    pub fn new(writers: usize, threshold_us: u64, limit: usize) -> Self {
        Self {
            threshold_us,
            limit,
            last: vec![0; writers],
            writers: VecDeque::new(),
            last_any: 0,
            cluster: VecDeque::new(),
        }
    }

    /// An answer to `writer` at `at_us`.
    pub fn answer(&mut self, writer: usize, at_us: u64) {
        let gap = Gap { from_us: std::mem::replace(&mut self.last[writer], at_us), to_us: at_us };
        Self::keep(&mut self.writers, gap, self.threshold_us, self.limit);
        let gap = Gap { from_us: std::mem::replace(&mut self.last_any, at_us), to_us: at_us };
        Self::keep(&mut self.cluster, gap, self.threshold_us, self.limit);
    }

    /// Ends the observation: a writer that still waits has a gap up to now.
    pub fn finish(&mut self, at_us: u64) {
        for writer in 0..self.last.len() {
            let gap = Gap { from_us: self.last[writer], to_us: at_us.max(self.last[writer]) };
            Self::keep(&mut self.writers, gap, self.threshold_us, self.limit);
        }
        let gap = Gap { from_us: self.last_any, to_us: at_us.max(self.last_any) };
        Self::keep(&mut self.cluster, gap, self.threshold_us, self.limit);
    }

    fn keep(list: &mut VecDeque<Gap>, gap: Gap, threshold: u64, limit: usize) {
        if gap.to_us.saturating_sub(gap.from_us) >= threshold.max(1) {
            if list.len() == limit {
                list.pop_front();
            }
            list.push_back(gap);
        }
    }

    /// The longest gap of any one writer that ended after `from` and not after `to`; 0 if none reached the threshold.
    pub fn longest_writer(&self, from: u64, to: u64) -> u64 {
        longest(&self.writers, from, to)
    }

    /// The longest time without any answer to anybody that ended after `from` and not after `to`.
    pub fn longest_cluster(&self, from: u64, to: u64) -> u64 {
        longest(&self.cluster, from, to)
    }
}

fn longest(list: &VecDeque<Gap>, from: u64, to: u64) -> u64 {
    list.iter().filter(|g| g.ended_within(from, to)).map(Gap::length).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_equals_recording_in_one() {
        let (mut a, mut b, mut whole) = (Hist::default(), Hist::default(), Hist::default());
        for i in 1..=1000u64 {
            let us = i * i % 7919 + 1;
            if i % 3 == 0 {
                a.record(us);
            } else {
                b.record(us);
            }
            whole.record(us);
        }
        a.merge(&b);
        assert_eq!(a.latency(), whole.latency());
        assert_eq!(a.count(), 1000);
        // The mean of two percentiles would be something else.
        let (mut low, mut high) = (Hist::default(), Hist::default());
        (0..99).for_each(|_| low.record(100));
        high.record(10_000);
        low.merge(&high);
        assert_eq!(low.quantile(0.5), 100);
    }

    #[test]
    fn a_summary_gives_its_histogram_back() {
        let mut hist = Hist::default();
        for us in [0, 1, 500, 1234, 98_765, 10 * MAX_US] {
            hist.record(us);
        }
        let latency = hist.latency();
        assert_eq!(latency.count, 6);
        assert!(latency.max >= MAX_US, "too long counts as the longest: {}", latency.max);
        assert_eq!(Hist::from_latency(&latency).latency(), latency);
        let text = serde_json::to_string(&latency).unwrap();
        assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
    }

    #[test]
    fn the_spectrum_ends_where_nothing_stands_behind_it() {
        let mut hist = Hist::default();
        assert!(hist.latency().spectrum.is_empty());
        (1..=100).for_each(|us| hist.record(us));
        let spectrum = hist.latency().spectrum;
        let (last, us) = *spectrum.last().unwrap();
        assert!((last - 0.99).abs() < 1e-9 && us == 99, "{last} {us}");
        assert!(spectrum.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1));
    }

    #[test]
    fn silence_is_sampled_too() {
        let mut series = Series::new(100, 100);
        series.record(10_000, 50);
        series.record(99_999, 70);
        series.record(350_000, 240_000);
        series.error(360_000);
        let samples = series.finish(500_000);
        assert_eq!(samples.iter().map(|s| s.ops).collect::<Vec<_>>(), [2, 0, 0, 1, 0]);
        assert_eq!(samples[0].max, 70);
        assert_eq!(samples[3].errors, 1);
        assert_eq!(samples[3].t_ms, 300);
    }

    #[test]
    fn a_series_is_bounded() {
        let mut series = Series::new(1, 3);
        series.record(1_000_000, 1);
        assert_eq!(series.samples().len(), 3);
    }

    #[test]
    fn gaps_of_one_writer_and_of_all() {
        let mut gaps = Gaps::new(2, 50_000, 10);
        for t in (0..=100).map(|i| i * 10_000) {
            // Writer 0 hears nothing from 300 ms to 600 ms, writer 1 from 400 ms to 500 ms.
            if !(300_001..600_000).contains(&t) {
                gaps.answer(0, t);
            }
            if !(400_001..500_000).contains(&t) {
                gaps.answer(1, t);
            }
        }
        gaps.finish(1_000_000);
        assert_eq!(gaps.longest_writer(0, 1_000_000), 300_000);
        assert_eq!(gaps.longest_cluster(0, 1_000_000), 100_000);
        assert_eq!(gaps.longest_writer(0, 590_000), 100_000, "a gap that ends later belongs to what comes later");
        assert_eq!(gaps.longest_writer(590_000, 700_000), 300_000, "one that began before and ends within counts");
        assert_eq!(gaps.longest_writer(700_000, 900_000), 0);
    }

    #[test]
    fn a_writer_that_never_hears_again_has_a_gap() {
        let mut gaps = Gaps::new(2, 50_000, 10);
        gaps.answer(0, 10_000);
        gaps.answer(1, 10_000);
        gaps.answer(1, 900_000);
        gaps.finish(1_000_000);
        assert_eq!(gaps.longest_writer(0, 2_000_000), 990_000);
        assert_eq!(gaps.longest_cluster(0, 2_000_000), 890_000);
    }

    #[test]
    fn the_list_of_gaps_is_bounded() {
        let mut gaps = Gaps::new(1, 1, 3);
        (1..100).for_each(|t| gaps.answer(0, t * 10));
        assert_eq!(gaps.writers.len(), 3);
    }
}
