//! The command line as clap sees it.

use clap::{Parser, Subcommand};

/// Raft and ZAB side by side: real nodes, real TCP, real fsync.
#[derive(Debug, Parser)]
#[command(name = "duet", version, before_help = EXAMPLES, propagate_version = true, max_term_width = 110)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// Print JSON on stdout instead of text and tables. Every command that reports takes it too.
    #[arg(long, env = "DUET_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,

    /// No colour. NO_COLOR and a stdout that is no terminal say the same.
    #[arg(long, global = true)]
    pub no_color: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  duet compare                       measure both protocols side by side
  duet cluster --protocol both       bring both up: three voters, one observer each
  duet ctl put colour green          write to the cluster that is running
  duet ctl status                    who leads, and how far everyone is";

const EXIT_CODES: &str = "\
Exit codes: 0 good, 1 a check failed, 2 wrong usage, 3 inconclusive, 4 nothing ran,
5 the environment lacks something (port, folder, disk), 130 Ctrl-C.
Log messages go to stderr; DUET_LOG=debug shows more of them.";

/// `--json` behind a command. `duet compare` has one of its own, which may name a file.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct JsonArg {
    /// Print JSON on stdout instead of text and tables
    #[arg(long, global = true)]
    pub json: bool,
}

impl Cli {
    /// Whether JSON was asked for, before the command or behind it.
    pub fn wants_json(&self) -> bool {
        let behind = match &self.command {
            Command::Cluster(args) => args.json.json,
            Command::Ctl(args) => args.json.json,
            Command::Node(args) => args.json.json,
            Command::Load(args) => args.json.json,
            Command::Report(args) => args.json.json,
            Command::Sim(args) => args.json.json,
            Command::Mutants(args) => args.json.json,
            Command::Check(args) => args.json.json,
            Command::Compare(args) => args.json_on_stdout(),
            Command::Completions { .. } | Command::Man { .. } => false,
        };
        self.json || behind
    }
}

/// What `duet` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run whole clusters on this machine until Ctrl-C.
    Cluster(crate::cluster_cmd::Args),
    /// Ask and tell a running cluster: put, get, status, log, …
    Ctl(crate::ctl_cmd::Args),
    /// Run one node until Ctrl-C.
    Node(Box<crate::node_cmd::Args>),
    /// Measure both protocols side by side.
    Compare(crate::compare::Args),
    /// Put load on a running cluster.
    Load(crate::load::Args),
    /// Rebuild a report from stored results.
    Report(crate::report::Args),
    /// Simulate: faults by the thousand, every promise checked.
    Sim(crate::sim_cmd::Args),
    /// Prove the simulator's teeth: bugs seeded on purpose must be caught.
    Mutants(crate::mutants_cmd::Args),
    /// Say whether a recorded history is linearizable.
    Check(crate::check_cmd::Args),
    /// Print a completion script for a shell.
    #[command(before_help = "Examples:\n  duet completions bash > ~/.local/share/bash-completion/completions/duet")]
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command.
    #[command(before_help = "Examples:\n  duet man /usr/local/share/man/man1")]
    Man {
        /// Where to; the folder is made if it is not there.
        dir: std::path::PathBuf,
    },
}
