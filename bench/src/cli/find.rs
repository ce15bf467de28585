//! Which cluster a command speaks to: `--target`, or what a running `duet cluster` wrote into its run folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Exit, Fail, Protocol, Target};
use crate::runs;
use crate::supervisor::{CLUSTER_FILE, ClusterFile};

/// The options that choose a cluster.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// The cluster's client addresses: raft://HOST:PORT[,HOST:PORT…] or zab://… [env: DUET_TARGET]
    #[arg(long, global = true, value_name = "URL", help_heading = "Which cluster")]
    pub target: Option<Target>,

    /// The run folder of a running `duet cluster` [default: the newest in runs/ that has one]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "target", help_heading = "Which cluster")]
    pub run: Option<PathBuf>,

    /// Which of a run's clusters
    #[arg(long, global = true, value_enum, help_heading = "Which cluster")]
    pub protocol: Option<Protocol>,
}

impl TargetArgs {
    /// The one cluster meant.
    ///
    /// # Errors
    /// A [`Fail`]: exit code 4 when none is found, 2 when several are.
    pub fn one(&self) -> anyhow::Result<Target> {
        let mut all = self.all()?;
        let target = all.pop().filter(|_| all.is_empty());
        target.ok_or_else(|| {
            Fail::usage("two clusters are running, raft and zab; which is meant?")
                .hint("add --protocol raft or --protocol zab")
                .into()
        })
    }

    /// Every cluster meant: one, or both of a run.
    ///
    /// # Errors
    /// A [`Fail`], exit code 4 when none is found.
    pub fn all(&self) -> anyhow::Result<Vec<Target>> {
        let named = match (&self.target, &self.run, std::env::var("DUET_TARGET")) {
            (Some(target), _, _) => Some(target.clone()),
            (None, None, Ok(text)) if !text.is_empty() => {
                Some(text.parse().map_err(|why| Fail::usage(format!("DUET_TARGET: {why}")))?)
            }
            _ => None,
        };
        let Some(target) = named else { return self.of_run() };
        match self.protocol {
            Some(p) if p != target.protocol => {
                Err(Fail::usage(format!("--protocol {p} contradicts the target {target}")).into())
            }
            _ => Ok(vec![target]),
        }
    }

    fn of_run(&self) -> anyhow::Result<Vec<Target>> {
        let (place, found) = match &self.run {
            Some(run) => (run.clone(), clusters_in(runs::RunDir::open(run)?.path())?),
            None => newest(Path::new(runs::ROOT))?,
        };
        let wanted = |t: &Target| self.protocol.is_none_or(|p| p == t.protocol);
        let found: Vec<Target> = found.into_iter().filter(wanted).collect();
        if found.is_empty() {
            let which = self.protocol.map_or(String::new(), |p| format!("{p} "));
            return Err(Fail::new(Exit::NothingRan, format!("no {which}cluster found in {}", place.display()))
                .hint("start one with `duet cluster`, or name one with --target raft://HOST:PORT")
                .into());
        }
        Ok(found)
    }
}

/// The newest run below `root` in which clusters run or ran.
fn newest(root: &Path) -> anyhow::Result<(PathBuf, Vec<Target>)> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_dir() && !p.is_symlink()).collect();
    // Names start with the time. Two of one second differ in length: `…-cluster`, `…-cluster-2`.
    runs.sort_by_key(|p| p.file_name().map(|n| (n.to_string_lossy().chars().take(16).collect::<String>(), n.len())));
    for run in runs.iter().rev() {
        let found = clusters_in(run)?;
        if !found.is_empty() {
            return Ok((run.clone(), found));
        }
    }
    Ok((root.to_owned(), Vec::new()))
}

/// The clusters of a run: `cluster.json` in it or one level below.
fn clusters_in(run: &Path) -> anyhow::Result<Vec<Target>> {
    let mut found = Vec::new();
    for dir in [run.to_owned(), run.join("raft"), run.join("zab")] {
        let path = dir.join(CLUSTER_FILE);
        let Ok(text) = fs::read(&path) else { continue };
        let file: ClusterFile =
            serde_json::from_slice(&text).with_context(|| format!("{} is not as it was written", path.display()))?;
        let target = file.target.parse().map_err(anyhow::Error::msg);
        found.push(target.with_context(|| format!("{} is not as it was written", path.display()))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args(run: &Path, protocol: Option<Protocol>) -> TargetArgs {
        TargetArgs { target: None, run: Some(run.to_owned()), protocol }
    }

    #[test]
    fn a_run_with_two_clusters_wants_a_choice() {
        let dir = tempfile::tempdir().unwrap();
        for p in Protocol::ALL {
            let sub = dir.path().join(p.name());
            fs::create_dir(&sub).unwrap();
            let file = json!({"protocol": p, "target": format!("{p}://127.0.0.1:1"), "nodes": []});
            fs::write(sub.join(CLUSTER_FILE), file.to_string()).unwrap();
        }
        assert_eq!(args(dir.path(), None).all().unwrap().len(), 2);
        assert!(args(dir.path(), None).one().unwrap_err().to_string().contains("which is meant"));
        assert_eq!(args(dir.path(), Some(Protocol::Zab)).one().unwrap().to_string(), "zab://127.0.0.1:1");
    }

    #[test]
    fn the_newest_run_with_a_cluster_counts() {
        let dir = tempfile::tempdir().unwrap();
        for (run, port) in [("20260101T000000Z-cluster", 1), ("20260101T000000Z-cluster-2", 2)] {
            let sub = dir.path().join(run);
            fs::create_dir(&sub).unwrap();
            let file = json!({"protocol": "raft", "target": format!("raft://h:{port}"), "nodes": []});
            fs::write(sub.join(CLUSTER_FILE), file.to_string()).unwrap();
        }
        fs::create_dir(dir.path().join("20270101T000000Z-load")).unwrap();
        let (_, found) = newest(dir.path()).unwrap();
        assert_eq!(found[0].to_string(), "raft://h:2");
        assert_eq!(newest(&dir.path().join("none")).unwrap().1, []);
    }
}
