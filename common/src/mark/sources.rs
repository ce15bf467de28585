//! What a test compares a list of marks or mutants with: the names that stand in the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names that follow `before` in the `.rs` files below `dir`, ascending, each once. Comments are passed over, and so
/// are names for a unit test alone, which start with `test`.
///
/// # Panics
/// When a file cannot be read: a test that reads nothing would always pass.
pub fn named_in_sources(dir: impl AsRef<Path>, before: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    collect(dir.as_ref(), before, &mut names);
    names.into_iter().collect()
}

fn collect(dir: &Path, before: &str, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("the sources can be listed") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            collect(&path, before, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
                let found = line.split(before).skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(found.filter(|n| !n.starts_with("test")).map(str::to_owned));
            }
        }
    }
}
