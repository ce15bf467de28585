//! A program without the mutants runs one that has them.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{Exit, Fail, Ui};

/// Builds this program with the feature `mutants` and runs it with the same arguments, if this is the workspace.
pub(super) fn run_with_mutants(ui: Ui) -> anyhow::Result<Exit> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let by_hand = "in the workspace: cargo run --release --features mutants -- mutants";
    let Some(root) = std::env::current_dir().ok().and_then(|here| workspace(&here)) else {
        return Err(Fail::environment(
            "this program was built without the mutants, and here is nothing to build them from",
        )
        .hint(by_hand)
        .into());
    };
    ui.say(format!("built without the mutants; building them in {} …", root.display()));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--features", "mutants", "--"])
        .args(arguments)
        .status()
        .map_err(|e| Fail::environment(format!("cannot run cargo: {e}")).hint(by_hand))?;
    let known = [
        Exit::Good,
        Exit::CheckFailed,
        Exit::Usage,
        Exit::Inconclusive,
        Exit::NothingRan,
        Exit::Environment,
        Exit::Interrupted,
    ];
    let exit = known.into_iter().find(|e| status.code() == Some(*e as i32));
    Ok(exit.unwrap_or(if status.signal().is_some() { Exit::Interrupted } else { Exit::Environment }))
}

/// The folder of this workspace, if `here` is in it.
fn workspace(here: &Path) -> Option<PathBuf> {
    let is_root = |dir: &Path| {
        let cargo = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        cargo.contains("[workspace]") && dir.join("bench/src/mutants_cmd").is_dir()
    };
    here.ancestors().find(|dir| is_root(dir)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_found_from_within_and_nowhere_else() {
        let root = workspace(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(root.join("common").is_dir());
        assert_eq!(workspace(&root.join("docs/src")), Some(root));
        assert_eq!(workspace(tempfile::tempdir().unwrap().path()), None);
    }
}
