//! Shell completions and manual pages, both made from the command line's own description.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, Fail, Ui};

pub(super) fn completions(shell: Shell, ui: Ui) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "duet", &mut script);
    ui.bytes(&script)?;
    Ok(Exit::Good)
}

pub(super) fn man(dir: &Path, ui: Ui) -> anyhow::Result<Exit> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|e| {
        Fail::environment(format!("cannot write manual pages to {}: {e}", dir.display()))
            .hint("give a folder that you may write to")
    })?;
    ui.next(&[("read them", format!("man {}/duet.1", dir.display()))]);
    Ok(Exit::Good)
}
