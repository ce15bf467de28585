//! The folder each run leaves behind: `runs/<utc>-<command>/`, and the link `runs/latest` to the newest.
//!
//! A reader of `runs/` must never meet half a file: each is written aside and renamed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;

use crate::cli::Fail;

/// Where runs go when nothing else is said.
pub const ROOT: &str = "runs";

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `root/<utc>-<command>` with a `meta.json` that holds the time, the command line, the version and
    /// `config`, the full configuration of the run; and lets `root/latest` point to it.
    ///
    /// # Errors
    /// A [`Fail`] with exit code 5 when the folder cannot be written.
    pub fn create(root: &Path, command: &str, config: &impl Serialize) -> anyhow::Result<Self> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let stamp: String = now.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        fs::create_dir_all(root).map_err(|e| unwritable(root, &e))?;
        let run = Self { path: fresh(root, &format!("{stamp}-{command}"))? };
        let meta = json!({
            "format": "run/1",
            "command": command,
            "argv": std::env::args().collect::<Vec<_>>(),
            "started": now,
            "version": env!("CARGO_PKG_VERSION"),
            "config": config,
        });
        run.write_json("meta.json", &meta)?;
        point_latest(root, &run.path)?;
        Ok(run)
    }

    /// Opens the folder of an earlier run, such as `runs/latest`.
    ///
    /// # Errors
    /// A [`Fail`] with exit code 2 when it is not there.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let real = path.canonicalize().ok().filter(|p| p.is_dir());
        let found = real.ok_or_else(|| {
            Fail::usage(format!("no run at {}", path.display())).hint("`ls runs` shows the runs of this folder")
        })?;
        Ok(Self { path: found })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of the run, replacing it at once if it is there.
    ///
    /// # Errors
    /// A [`Fail`] with exit code 5 when it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        write_whole(&path, content)?;
        Ok(path)
    }

    /// Writes a value as indented JSON. See [`write`](Self::write).
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<PathBuf> {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        self.write(name, &text)
    }
}

/// Writes a file aside and renames it, so that nobody reads half of it.
///
/// # Errors
/// A [`Fail`] with exit code 5 when it cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), Fail> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let written =
        fs::File::create(&aside).and_then(|mut f| f.write_all(content)).and_then(|()| fs::rename(&aside, path));
    written.map_err(|e| unwritable(path, &e))
}

/// Two runs in one second get different folders.
fn fresh(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    for n in 1..1000 {
        let path = root.join(if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
        match fs::create_dir(&path) {
            Ok(()) => return path.canonicalize().map_err(|e| unwritable(&path, &e).into()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(unwritable(&path, &e).into()),
        }
    }
    Err(Fail::environment(format!("{}: a thousand runs in one second", root.display())).into())
}

/// Replaces the link at once, so that it always points somewhere.
fn point_latest(root: &Path, run: &Path) -> anyhow::Result<()> {
    let aside = root.join(format!(".latest-{}", std::process::id()));
    let name = run.file_name().unwrap_or(run.as_os_str());
    let _ = fs::remove_file(&aside);
    let linked = std::os::unix::fs::symlink(name, &aside).and_then(|()| fs::rename(&aside, root.join("latest")));
    linked.map_err(|e| unwritable(&root.join("latest"), &e).into())
}

fn unwritable(path: &Path, e: &io::Error) -> Fail {
    Fail::environment(format!("cannot write {}: {e}", path.display()))
        .hint("give a folder that you may write to and that has room, or run in one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_get_folders_of_their_own_and_latest_is_the_newest() {
        let root = tempfile::tempdir().unwrap();
        let a = RunDir::create(root.path(), "compare", &json!({"a": 1})).unwrap();
        let b = RunDir::create(root.path(), "compare", &json!({"a": 2})).unwrap();
        assert_ne!(a.path(), b.path());
        let latest = RunDir::open(&root.path().join("latest")).unwrap();
        assert_eq!(latest.path(), b.path());
        let meta: serde_json::Value = serde_json::from_slice(&fs::read(latest.join("meta.json")).unwrap()).unwrap();
        assert_eq!((&meta["command"], &meta["config"]["a"]), (&json!("compare"), &json!(2)));
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_of_the_environment() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let e = RunDir::create(&file, "compare", &json!({})).unwrap_err();
        assert_eq!(e.downcast_ref::<Fail>().unwrap().exit(), crate::cli::Exit::Environment);
        assert!(RunDir::open(&root.path().join("none")).unwrap_err().to_string().contains("no run at"));
    }
}
