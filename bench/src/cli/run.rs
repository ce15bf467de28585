//! From the command line to an exit code.

use std::future::Future;
use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::tools;
use super::ui::StdoutClosed;
use super::{Cli, Command, Exit, Fail, Ui};

/// The program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nobody is left to be told when this fails: a closed pipe.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let ui = Ui::new(cli.wants_json(), cli.no_color);
    start_log(&cli.command, ui);
    match dispatch(&cli.command, ui) {
        Ok(exit) => exit.into(),
        // Whoever read our stdout has enough: no failure, and nothing left to do.
        Err(e) if e.is::<StdoutClosed>() => Exit::Good.into(),
        Err(e) => {
            ui.error(&e);
            e.chain().find_map(|c| c.downcast_ref::<Fail>()).map_or(Exit::Environment, Fail::exit).into()
        }
    }
}

fn dispatch(command: &Command, ui: Ui) -> anyhow::Result<Exit> {
    match command {
        Command::Cluster(args) => crate::cluster_cmd::run(args, ui),
        Command::Node(args) => crate::node_cmd::run(args, ui),
        Command::Ctl(args) => crate::ctl_cmd::run(args, ui),
        Command::Compare(args) => crate::compare::run(args, ui),
        Command::Load(args) => crate::load::run(args, ui),
        Command::Report(args) => crate::report::run(args, ui),
        Command::Sim(args) => crate::sim_cmd::run(args, ui),
        Command::Mutants(args) => crate::mutants_cmd::run(args, ui),
        Command::Check(args) => crate::check_cmd::run(args, ui),
        Command::Completions { shell } => tools::completions(*shell, ui),
        Command::Man { dir } => tools::man(dir, ui),
    }
}

/// Messages on stderr, filtered by `DUET_LOG` (`info`, `debug`, `common=trace`, …); warnings by default,
/// for a node, whose log is read afterwards, what it tells of itself, and nothing for simulated nodes, which meet every
/// error there is on purpose.
fn start_log(command: &Command, ui: Ui) {
    let usual = match command {
        Command::Node(_) => "info",
        Command::Sim(_) | Command::Mutants(_) => "off",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_env("DUET_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only when a test has set one already.
    let _ = log.with_ansi(ui.colour_on_stderr()).try_init();
}

/// Runs `work` on a tokio runtime of this thread until it is done or Ctrl-C (SIGINT) or SIGTERM comes. Then `work` is
/// dropped where it waits, which must release whatever it holds (a [`Cluster`](crate::supervisor::Cluster) kills its
/// nodes), and the exit code is 130.
pub fn block_on(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    run_async(async {
        let mut interrupts = Interrupts::listen()?;
        tokio::select! {
            done = work => done,
            _ = interrupts.next() => Ok(Exit::Interrupted),
        }
    })
}

/// Runs `work` on a tokio runtime of this thread. It takes care of Ctrl-C itself, with [`Interrupts`].
pub fn run_async(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    runtime.block_on(work)
}

/// What wants the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C: SIGINT.
    CtrlC,
    /// SIGTERM.
    Terminate,
}

/// Ctrl-C and SIGTERM. From [`listen`](Self::listen) on, they no longer end the process by themselves and none is missed.
#[derive(Debug)]
pub struct Interrupts {
    int: Signal,
    term: Signal,
}

impl Interrupts {
    /// Starts to listen. Must be called in a tokio runtime.
    pub fn listen() -> anyhow::Result<Self> {
        let int = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        Ok(Self { int, term: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.int.recv() => Interrupt::CtrlC,
            _ = self.term.recv() => Interrupt::Terminate,
        }
    }
}
