//! `duet load`: Puts load on a running cluster and measures it.

pub mod stats;

use crate::cli::{Exit, Fail, Ui};

/// The arguments of `duet load`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `duet load`.
pub fn run(_args: &Args, _ui: Ui) -> anyhow::Result<Exit> {
    Err(Fail::new(Exit::NothingRan, "`duet load` is not in this build").into())
}
