//! `duet mutants`: bugs seeded on purpose, and which oracle catches each after how many seeds.
//!
//! A checker that has never caught anything proves nothing by its silence. Each mutant names the oracle that must catch it;
//! if another is faster, that one is switched off and the run goes on, so that the one named shows that it would have seen
//! it too.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`hunt`] | one mutant, until it is caught |
//! | [`kept`] | plans that show a mutant which seeds seldom meet |
//! | [`oracles`] | each oracle switched off in turn |
//! | [`show`] | tables and JSON |
//! | `pool` | all cores |
//! | `build` | a program without the mutants runs one that has them |

mod build;
pub mod hunt;
pub mod kept;
pub mod oracles;
mod pool;
pub mod show;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::cli::{Exit, Fail, Interrupts, Ui, run_async};
use crate::sim_cmd::{cores, subjects};
use hunt::{Entry, Verdict};

/// The arguments of `duet mutants`.
#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  duet mutants                    every mutant, until it is caught
  duet mutants --only R01 D05     these
  duet mutants --oracles          and each oracle switched off in turn")]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// Only these, by name or by the beginning of a name
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Runs of each mutant at most
    #[arg(long, value_name = "MAX", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,

    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=u64::MAX / 2))]
    from: u64,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,

    /// Then switch off each oracle: some mutant that it caught must then survive
    #[arg(long)]
    oracles: bool,

    /// List the mutants and run none
    #[arg(long)]
    list: bool,
}

/// Runs `duet mutants`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let chosen = choose(args)?;
    if args.list {
        for Entry { mutant: m, .. } in &chosen {
            ui.line(format!("{:<6} {:<8} {} [{}]", m.name, m.oracle, m.what, m.source))?;
        }
        return Ok(Exit::Good);
    }
    if !common::mutant::COMPILED {
        return build::run_with_mutants(ui);
    }
    // A mutant may well panic: the simulator catches it and calls it a violation, and nobody wants to read hundreds.
    std::panic::set_hook(Box::new(|_| {}));
    run_async(hunt_all(args, chosen, ui))
}

async fn hunt_all(args: &Args, chosen: Vec<Entry>, ui: Ui) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let (from, max) = (args.from, args.seeds);
    let bar = bar(chosen.len(), ui);
    let work = move |entry: &Entry, stop: &dyn Fn() -> bool| hunt::hunt(entry, from, max, stop);
    let done = |v: &Verdict| {
        bar.inc(1);
        if !v.good() {
            bar.suspend(|| ui.say(format!("{}: not killed by {}", v.entry.mutant.name, v.entry.mutant.oracle)));
        }
    };
    let (verdicts, mut interrupted) = pool::each(chosen, jobs, &mut interrupts, work, done).await;
    bar.finish_and_clear();
    let mut offs = Vec::new();
    if args.oracles && !interrupted {
        let bar = self::bar(verdicts.iter().filter(|v| v.good()).count(), ui);
        // All of them, unless only some mutants were asked for.
        let all = if args.only.is_empty() { subjects::oracles() } else { Vec::new() };
        let search = oracles::Search { from, max, jobs };
        (offs, interrupted) = oracles::each(&all, &verdicts, &search, &mut interrupts, || bar.inc(1)).await;
        bar.finish_and_clear();
    }
    if !ui.json {
        ui.bytes(show::table(&verdicts).as_bytes())?;
        ui.bytes(show::oracles(&offs).as_bytes())?;
    } else if args.oracles {
        let offs: Vec<_> = offs.iter().map(oracles::Off::json).collect();
        ui.json_line(&json!({"mutants": show::json(&verdicts), "oracles": offs}))?;
    } else {
        ui.json_line(&show::json(&verdicts))?;
    }
    let bad = verdicts.iter().any(|v| !v.good()) || offs.iter().any(|o| !o.good());
    Ok(match () {
        () if interrupted => Exit::Interrupted,
        () if bad => Exit::CheckFailed,
        () => Exit::Good,
    })
}

fn choose(args: &Args) -> Result<Vec<Entry>, Fail> {
    let mut all = hunt::all();
    for name in &args.only {
        if !all.iter().any(|e| e.mutant.name.starts_with(name.as_str())) {
            let names: Vec<_> = all.iter().map(|e| e.mutant.name).collect();
            return Err(Fail::usage(format!("--only {name}: there is no such mutant"))
                .hint(format!("there are {}", names.join(", "))));
        }
    }
    if !args.only.is_empty() {
        all.retain(|e| args.only.iter().any(|n| e.mutant.name.starts_with(n.as_str())));
    }
    Ok(all)
}

fn bar(n: usize, ui: Ui) -> ProgressBar {
    let target = if ui.can_animate() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(n as u64), target);
    let style = ProgressStyle::with_template("{elapsed:>4} {bar:24} {pos}/{len} mutants");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
