//! Results as a person wants to see them: a table for the terminal, one self-contained page, one picture.
//!
//! | room | what it makes |
//! | --- | --- |
//! | [`results`] | the stored form, with a numbered schema: everything else is made from it and from nothing else |
//! | [`summary`] | medians over repetitions, ratios between protocols and their spread |
//! | [`table`] | the table for the terminal |
//! | [`chart`], [`svg`] | figures, drawn by us: an axis that is logarithmic says so, bars start at zero |
//! | [`page`], [`picture`] | the HTML page and the SVG for a README |

pub mod chart;
pub mod format;
pub mod page;
pub mod picture;
pub mod results;
pub mod summary;
pub mod svg;
pub mod table;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::cli::{Exit, Fail, Ui};
use crate::runs;

pub use results::Results;

/// `duet report`: makes the page of a stored run again, or a picture of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// The run's folder (`runs/latest` is the newest), or its results.json
    #[arg(default_value = "runs/latest")]
    pub run: PathBuf,
    /// Where to write the page; default: report.html in the run's folder
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a picture of the report (SVG) as well, as a README can show it
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

/// The name of the page in a run's folder.
pub const PAGE: &str = "report.html";

/// Runs `duet report`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    let file = if args.run.is_dir() { args.run.join(results::FILE) } else { args.run.clone() };
    if !file.exists() {
        let message = format!("no results at {}: expected a run's folder with {} in it", file.display(), results::FILE);
        return Err(Fail::new(Exit::NothingRan, message).hint("`duet compare` makes one").into());
    }
    let results = Results::read(&file)?;
    let html = args.html.clone().unwrap_or_else(|| file.with_file_name(PAGE));
    runs::write_whole(&html, page::render(&results).as_bytes())?;
    if let Some(path) = &args.picture {
        runs::write_whole(path, picture::render(&results).as_bytes())?;
        ui.say(format!("picture: {}", path.display()));
    }
    if ui.json {
        ui.bytes(results.to_json().as_bytes())?;
    } else {
        ui.line(table::render(&results))?;
    }
    ui.say(format!("page: {}", html.display()));
    Ok(Exit::Good)
}
