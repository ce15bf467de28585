//! `duet report`: Rebuilds a report from stored results.

use crate::cli::{Exit, Fail, Ui};

/// The arguments of `duet report`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `duet report`.
pub fn run(_args: &Args, _ui: Ui) -> anyhow::Result<Exit> {
    Err(Fail::new(Exit::NothingRan, "`duet report` is not in this build").into())
}
