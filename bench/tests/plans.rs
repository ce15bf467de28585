//! Every plan in `plans/` found something once: a bug in the code, or an alarm of the simulator about nothing. All of it is
//! mended, so each must pass now; and where a seeded bug stands for what was found, the plan must show that bug.
//!
//! A plan whose first line is `# mutant NAME ORACLE` is also run with that mutant, in a build that has them:
//! `cargo test -p bench --features mutants --test plans`.

use std::path::{Path, PathBuf};

use common::sim::outcome::Outcome;
use common::sim::plan::Plan;
use common::sim::world::{Options, run};

fn plans() -> Vec<(PathBuf, Plan)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let files = std::fs::read_dir(folder).expect("the folder is here").map(|f| f.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|f| f.extension().is_some_and(|e| e == "plan")).collect();
    files.sort();
    assert!(!files.is_empty());
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("text");
        let plan = Plan::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (file, plan)
    };
    files.into_iter().map(read).collect()
}

fn world(plan: &Plan) -> Outcome {
    let options = Options::default();
    if plan.protocol == "raft" { run::<raft::Raft>(plan, &options) } else { run::<zab::Zab>(plan, &options) }
}

#[test]
fn what_was_found_once_is_mended() {
    for (file, plan) in plans() {
        let violation = world(&plan).violation.map(|(_, v)| v.to_string());
        assert_eq!(violation, None, "{}", file.display());
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_plan_shows_the_bug_it_is_kept_for() {
    let kept = bench::mutants_cmd::kept::all();
    assert!(!kept.is_empty());
    for k in kept {
        common::mutant::activate(Some(k.mutant));
        let found = world(&k.plan).violation.map(|(_, v)| v);
        common::mutant::activate(None);
        assert_eq!(found.as_ref().map(|v| v.oracle), Some(k.oracle), "{}: {found:?}", k.name);
    }
}
