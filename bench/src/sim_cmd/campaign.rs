//! Many seeds on all cores: each run is one thread's work from beginning to end, and no run knows of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::sim::outcome::Outcome;
use common::sim::plan::Plan;
use common::sim::subject::Violation;
use common::sim::world::Options;
use common::types::Micros;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use super::tally::Tally;
use super::{Profile, subjects};
use crate::cli::{Interrupts, Protocol, Ui};

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Each seed once for each of them.
    pub protocols: Vec<Protocol>,
    /// The first seed.
    pub from: u64,
    /// How many; without end if none.
    pub seeds: Option<u64>,
    /// Begin nothing after so long.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// How seeds become plans.
    pub profile: Profile,
    /// Go on after a violation.
    pub keep_going: bool,
    /// A seeded bug that is on in all of them.
    pub mutant: Option<&'static str>,
}

/// A run in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was run.
    pub plan: Plan,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a campaign came to.
#[derive(Debug)]
pub struct Campaign {
    /// The sums, one for each protocol.
    pub tallies: Vec<Tally>,
    /// The first seed that was not begun.
    pub next: u64,
    /// Whether it was stopped by Ctrl-C.
    pub interrupted: bool,
    /// How long it took.
    pub wall: Duration,
}

struct Done {
    which: usize,
    plan: Plan,
    outcome: Outcome,
    busy: Duration,
}

/// Runs a campaign; `found` is told of every violation as it comes.
pub async fn run(
    spec: &Spec,
    interrupts: &mut Interrupts,
    ui: Ui,
    mut found: impl FnMut(Found, &Progress) -> anyhow::Result<()>,
) -> anyhow::Result<Campaign> {
    let begun = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    // A thread that is ahead of this one waits: outcomes do not pile up.
    let (sender, mut done) = mpsc::channel(64);
    for _ in 0..spec.jobs {
        let worker = Worker { spec: spec.clone(), begun, count: count.clone(), stop: stop.clone() };
        let sender = sender.clone();
        std::thread::spawn(move || worker.run(&sender));
    }
    drop(sender);
    let mut tallies: Vec<Tally> = spec.protocols.iter().map(|p| Tally::new(*p)).collect();
    let progress = Progress::new(spec, ui);
    let mut interrupted = false;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            next = done.recv() => {
                let Some(Done { which, plan, outcome, busy }) = next else { break };
                tallies[which].add(&outcome, busy);
                if outcome.violation.is_some() {
                    stop.fetch_or(!spec.keep_going, Ordering::Relaxed);
                    found(Found { plan, outcome }, &progress)?;
                }
            }
            _ = tick.tick() => progress.show(&tallies),
            _ = interrupts.next() => {
                // Runs under way are left to the end of the process: they have nothing that must be put in order.
                stop.store(true, Ordering::Relaxed);
                interrupted = true;
                break;
            }
        }
    }
    progress.bar.finish_and_clear();
    let begun_runs = count.load(Ordering::Relaxed).min(spec.total().unwrap_or(u64::MAX));
    let next = spec.from.saturating_add(begun_runs.div_ceil(spec.protocols.len() as u64));
    Ok(Campaign { tallies, next, interrupted, wall: begun.elapsed() })
}

impl Spec {
    /// How many runs that makes.
    fn total(&self) -> Option<u64> {
        self.seeds.map(|n| n.min(u64::MAX - self.from).saturating_mul(self.protocols.len() as u64))
    }
}

/// The seeds that this divides are run twice, and must give the same events.
const AGAIN: u64 = 50;

/// C-HASH: the same plan gave other events.
fn differs(first: &Outcome, second: &Outcome) -> Option<(Micros, Violation)> {
    let (a, b) = (first.hash, second.hash);
    let what = format!("the same plan gave the event hash {a:016x}, and {b:016x} when it was run again");
    (a != b).then(|| (first.simulated, Violation::new("C-HASH", what)))
}

struct Worker {
    spec: Spec,
    begun: Instant,
    /// Runs begun by all of them.
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(&self, done: &mpsc::Sender<Done>) {
        let spec = &self.spec;
        common::mutant::activate(spec.mutant);
        let total = spec.total().unwrap_or(u64::MAX);
        let options = Options { marks: true, ..Options::default() };
        while !self.stop.load(Ordering::Relaxed) && spec.time.is_none_or(|t| self.begun.elapsed() < t) {
            let n = self.count.fetch_add(1, Ordering::Relaxed);
            if n >= total {
                return;
            }
            // Both protocols take turns, so that a campaign cut short has as much of one as of the other.
            let protocols = spec.protocols.len() as u64;
            let (which, seed) = ((n % protocols) as usize, spec.from + n / protocols);
            let plan = spec.profile.plan(spec.protocols[which].name(), seed);
            let started = cpu_time();
            let Ok(mut outcome) = subjects::run(&plan, &options) else { return };
            let busy = cpu_time().saturating_sub(started);
            if seed.is_multiple_of(AGAIN)
                && let Ok(again) = subjects::run(&plan, &options)
            {
                outcome.violation = outcome.violation.take().or_else(|| differs(&outcome, &again));
            }
            if done.blocking_send(Done { which, plan, outcome, busy }).is_err() {
                return;
            }
        }
    }
}

/// What this thread has used of a core: on a busy machine, less than the time that went by.
fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// How far it is, on stderr: a bar at a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    ui: Ui,
    said: std::cell::Cell<Instant>,
}

/// Between two lines where no bar can be shown.
const LINE_EVERY: Duration = Duration::from_secs(30);

impl Progress {
    fn new(spec: &Spec, ui: Ui) -> Self {
        let target = if ui.can_animate() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(spec.total(), target);
        let template = match spec.seeds {
            Some(_) => "{elapsed:>4} {bar:24} {pos}/{len} runs {msg}",
            None => "{elapsed:>4} {pos} runs {msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, ui, said: std::cell::Cell::new(Instant::now()) }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        self.bar.suspend(|| self.ui.say(text));
    }

    fn show(&self, tallies: &[Tally]) {
        let runs = tallies.iter().map(|t| t.runs).sum();
        let simulated: f64 = tallies.iter().map(Tally::simulated).sum();
        let busy: f64 = tallies.iter().map(|t| t.busy.as_secs_f64()).sum();
        let events: f64 = tallies.iter().map(|t| t.counts.events as f64).sum();
        let per = |n: f64| if busy > 0.0 { n / busy } else { 0.0 };
        let text = format!(
            "· {} simulated, {:.0}× real time and {:.0} k events/s per core",
            super::show::time(simulated),
            per(simulated),
            per(events) / 1e3
        );
        self.bar.set_position(runs);
        self.bar.set_message(text.clone());
        if !self.ui.can_animate() && self.said.get().elapsed() >= LINE_EVERY {
            self.said.set(Instant::now());
            self.ui.say(format!("{runs} runs {text}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_gives_other_events_when_it_is_run_again_is_a_violation() {
        let hash = |hash| Outcome { hash, simulated: Micros(7), ..Outcome::default() };
        assert_eq!(differs(&hash(1), &hash(1)), None);
        let (at, violation) = differs(&hash(1), &hash(2)).unwrap();
        assert_eq!((at, violation.oracle), (Micros(7), "C-HASH"));
    }
}
