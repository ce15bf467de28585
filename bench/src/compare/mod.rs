//! `duet compare`: Runs both protocols through the same measurements.

use crate::cli::{Exit, Fail, Ui};

/// The arguments of `duet compare`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `duet compare`.
pub fn run(_args: &Args, _ui: Ui) -> anyhow::Result<Exit> {
    Err(Fail::new(Exit::NothingRan, "`duet compare` is not in this build").into())
}
