//! Ratios by paired rounds: in each round every contestant runs for a moment, one after the other, so that whatever else the
//! machine does hits all of them; what counts is the median of the rounds' ratios. Each is timed by the clock on the wall and
//! by that of the process, which stands still while others have the processor.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Rounds of one row.
const ROUNDS: usize = 15;

/// Somebody who is measured: does the case's work so many times.
pub(crate) struct Contestant<'a> {
    work: Box<dyn FnMut(u64) + 'a>,
    times: u64,
    rounds: Vec<Clocks>,
}

/// A figure by each clock.
#[derive(Clone, Copy)]
pub(crate) struct Clocks {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

impl<'a> Contestant<'a> {
    /// One that has not run yet.
    pub(crate) fn new(work: impl FnMut(u64) + 'a) -> Self {
        Self { work: Box::new(work), times: 1, rounds: Vec::new() }
    }

    /// How long it takes by both clocks, in seconds.
    fn run(&mut self) -> Clocks {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        (self.work)(black_box(self.times));
        Clocks { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() }
    }

    /// Finds how often the work fits into a slot; warms up by that.
    fn calibrate(&mut self, slot: f64) {
        loop {
            let took = self.run().cpu;
            if took >= slot / 2.0 {
                self.times = ((self.times as f64 * slot / took) as u64).max(1);
                return;
            }
            self.times *= 2;
        }
    }

    fn round(&mut self) {
        let (took, times) = (self.run(), self.times as f64);
        self.rounds.push(Clocks { wall: times / took.wall, cpu: times / took.cpu });
    }

    /// How often it did the work in a second: the median of the rounds.
    pub(crate) fn rate(&self, by: impl Fn(&Clocks) -> f64) -> f64 {
        median(self.rounds.iter().map(by).collect())
    }

    /// How many times as fast as another it was: the median of the rounds' ratios.
    pub(crate) fn against(&self, other: &Self, by: impl Fn(&Clocks) -> f64) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(a, b)| by(a) / by(b)).collect())
    }
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Runs all of them in turns, each for about `slot` of the processor's time in each round.
pub(crate) fn compete(contestants: &mut [Contestant<'_>], slot: Duration) {
    for contestant in &mut *contestants {
        contestant.calibrate(slot.as_secs_f64());
    }
    for round in 0..ROUNDS {
        for i in 0..contestants.len() {
            // Nobody always runs after the same one.
            contestants[(i + round) % contestants.len()].round();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Whether the benchmark is to measure, rather than to be listed or tried.
pub(crate) fn measuring() -> bool {
    !std::env::args().any(|arg| ["--list", "--test"].contains(&&*arg))
}

/// A table in Markdown, as it goes into the documentation.
pub(crate) fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    let mut line = |cells: &[String]| writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes all");
    line(head);
    line(&vec!["---".to_owned(); head.len()]);
    for row in rows {
        line(row);
    }
    text
}
