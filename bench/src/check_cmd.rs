//! `duet check`: whether a recorded history is linearizable, by nothing but what clients asked and heard.

mod show;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use common::check::file::{self, Format, Recorded};
use common::check::{Limits, Model, Report, Verdict, check};

use crate::cli::{Exit, Fail, Ui};

const EXAMPLES: &str = "\
Examples:
  duet check --history run.jsonl                        the model is named in the file
  duet check --history etcd_002.log                     a Jepsen log; its model is cas-register
  duet check --history - --model kv < run.jsonl         from stdin
  duet check --history run.jsonl --json | jq .offending the part that has no order";

const AFTER: &str = "\
Exit codes: 0 linearizable, 1 not linearizable, 2 the file is no history (line and field are named),
3 no verdict within --limit (count it as a failure), 4 the history is empty.";

/// The arguments of `duet check`.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// The history; - is stdin
    #[arg(long, value_name = "FILE")]
    history: PathBuf,

    /// What it is judged by; without it the file must say, and a Jepsen log is a cas-register
    #[arg(long, value_enum)]
    model: Option<ModelArg>,

    /// How it is written down
    #[arg(long, value_enum, default_value_t = FormatArg::Auto)]
    format: FormatArg,

    /// Steps of the search for each key; beyond, there is no verdict
    #[arg(long, value_name = "STEPS", default_value_t = Limits::default().steps)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModelArg {
    /// One register: read, write
    Register,
    /// One register: read, write, cas
    CasRegister,
    /// A key-value store: get, put, delete, cas
    Kv,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// By the first line
    Auto,
    /// JSON lines, a meta line first
    Duet,
    /// The log lines of a Jepsen test
    Jepsen,
}

impl From<ModelArg> for Model {
    fn from(arg: ModelArg) -> Self {
        match arg {
            ModelArg::Register => Self::Register,
            ModelArg::CasRegister => Self::CasRegister,
            ModelArg::Kv => Self::Kv,
        }
    }
}

/// A history that was judged.
struct Judged<'a> {
    /// The file, as it was named.
    name: &'a str,
    recorded: &'a Recorded,
    model: Model,
    report: &'a Report,
    limit: u64,
}

/// Runs `duet check`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let name = if args.history == Path::new("-") { "stdin".into() } else { args.history.display().to_string() };
    let recorded = file::read(&mut *open(&args.history)?, format(args.format))
        .map_err(|e| Fail::usage(format!("{name}, {e}")).hint("the format is in docs/src/histories.md"))?;
    let model = model(args, &recorded, &name)?;
    let limits = Limits { steps: args.limit, ..Limits::default() };
    let report = check(model, &recorded.history, &limits)
        .map_err(|e| Fail::usage(format!("{name}, {}", recorded.describe(&e))))?;
    if report.summary.operations == 0 {
        return Err(Fail::new(Exit::NothingRan, format!("{name} holds no operations, so nothing was judged"))
            .hint("a Jepsen log has lines `INFO jepsen.util - PROCESS :invoke …`; ours begin with a meta line")
            .into());
    }
    let judged = Judged { name: &name, recorded: &recorded, model, report: &report, limit: args.limit };
    if ui.json {
        ui.json_line(&show::json(&judged))?;
    } else {
        ui.bytes(show::text(&judged).as_bytes())?;
    }
    let again = format!("duet check --history {}", args.history.display());
    let (exit, next) = match &report.verdict {
        Verdict::Linearizable => (Exit::Good, ("the same as data", format!("{again} --json"))),
        Verdict::NotLinearizable(_) => {
            (Exit::CheckFailed, ("that part as data, with times", format!("{again} --json | jq .offending")))
        }
        Verdict::Unknown { .. } => {
            let more = args.limit.saturating_mul(10);
            (Exit::Inconclusive, ("search for ten times as long", format!("{again} --limit {more}")))
        }
    };
    if let Some(warning) = show::warning(&report) {
        ui.say(warning);
    }
    if args.history != Path::new("-") {
        ui.next(&[next]);
    }
    Ok(exit)
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = File::open(path).map_err(|e| {
        Fail::usage(format!("cannot read the history {}: {e}", path.display()))
            .hint("--history takes a file, or - for stdin")
    })?;
    Ok(Box::new(BufReader::new(file)))
}

fn format(arg: FormatArg) -> Option<Format> {
    match arg {
        FormatArg::Auto => None,
        FormatArg::Duet => Some(Format::Duet),
        FormatArg::Jepsen => Some(Format::Jepsen),
    }
}

fn model(args: &Args, recorded: &Recorded, name: &str) -> anyhow::Result<Model> {
    let of_format = (recorded.format == Format::Jepsen).then_some(Model::CasRegister);
    args.model.map(Model::from).or(recorded.model).or(of_format).ok_or_else(|| {
        Fail::usage(format!("{name} does not say by what it is to be judged: \"model\" is missing on its first line"))
            .hint("give --model register, --model cas-register or --model kv")
            .into()
    })
}
