//! Plans that are kept for a mutant: a few faults, found by search or written by hand, that show a bug which seeds meet too
//! seldom to wait for it.
//!
//! The first line of such a plan is `# mutant NAME ORACLE`. `duet mutants` tries a mutant's plans before any seed, and says
//! so of what they kill.

use common::sim::plan::Plan;

/// A plan that shows a mutant.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The file's name without `.plan`.
    pub name: &'static str,
    /// The mutant that it is kept for.
    pub mutant: &'static str,
    /// The oracle that sees it.
    pub oracle: &'static str,
    /// What to run.
    pub plan: Plan,
}

macro_rules! plans {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../tests/plans/", $name, ".plan")))),*]
    };
}

/// Those in the tree, see `bench/tests/plans.rs`.
const PLANS: &[(&str, &str)] = plans![
    "raft-cut-before-the-mark",
    "raft-joint-entered-by-another",
    "raft-joint-left-while-handing-over",
    "raft-learner-of-a-change-that-was-cut-off",
    "raft-lease-counted-from-answers",
    "raft-lease-kept-while-handing-over",
    "raft-lease-longer-than-promises",
    "raft-lease-taken-up-again",
    "raft-longer-log",
    "raft-more-to-say-at-the-halt",
    "raft-promise-ahead-of-its-entries",
    "raft-promise-lost-in-a-restart",
    "raft-read-joins-an-earlier-round",
    "raft-removed-and-alone-with-it",
    "raft-rotted-promise",
    "raft-rotted-snapshot",
    "raft-snapshot-below-the-log",
    "raft-transfer-never-given-up",
    "zab-a-change-that-was-cut-off",
    "zab-groups-ignored",
    "zab-joint-by-heads",
    "zab-later-promise",
    "zab-read-without-a-quorum",
    "zab-roles-change-in-one-session",
    "zab-sync-that-nobody-waits-for",
    "zab-two-lead-one-epoch",
];

/// Every kept plan.
///
/// # Panics
/// If one in the tree is not a plan for a mutant; a test reads them all.
pub fn all() -> Vec<Kept> {
    PLANS.iter().map(|(name, text)| parse(name, text).unwrap_or_else(|e| panic!("{name}.plan: {e}"))).collect()
}

fn parse(name: &'static str, text: &'static str) -> Result<Kept, String> {
    let first = text.lines().next().unwrap_or_default();
    let named = first.strip_prefix("# mutant ").and_then(|rest| rest.split_once(' '));
    let (mutant, oracle) = named.ok_or_else(|| format!("begins with `{first}`, not `# mutant NAME ORACLE`"))?;
    Ok(Kept { name, mutant, oracle, plan: Plan::parse(text).map_err(|e| e.to_string())? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::hunt;
    use super::*;

    #[test]
    fn every_plan_for_a_mutant_is_kept_and_names_a_mutant_and_its_oracle() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
        let mut in_tree: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| std::fs::read_to_string(path).unwrap().starts_with("# mutant "))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        in_tree.sort();
        let kept = all();
        assert_eq!(kept.iter().map(|k| k.name).collect::<Vec<_>>(), in_tree);
        let mutants = hunt::all();
        for k in kept {
            let of = mutants
                .iter()
                .find(|e| e.mutant.name == k.mutant)
                .unwrap_or_else(|| panic!("{}: no such mutant", k.name));
            assert_eq!(k.oracle, of.mutant.oracle, "{}", k.name);
            assert!(of.protocols.iter().any(|p| p.name() == k.plan.protocol), "{}", k.name);
        }
    }

    #[test]
    fn a_plan_for_nothing_is_none() {
        for text in ["plan 1", "# mutant R01\nplan 1", "# mutant R01 C-ACK\nplan 99"] {
            assert!(parse("x", text).is_err(), "{text}");
        }
    }
}
