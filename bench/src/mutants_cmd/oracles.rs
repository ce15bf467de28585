//! Each oracle switched off in turn: some mutant that it kills must then live longer, else nothing shows that the oracle is
//! of any use. Where all of them die as soon, of another oracle in another world, a world is looked for that nobody else
//! sees anything wrong in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::hunt::{Entry, Kill, Verdict, seen_by_one, without};
use super::pool;
use crate::cli::Interrupts;

/// One oracle, switched off.
#[derive(Clone, Debug)]
pub struct Off {
    /// Which.
    pub oracle: &'static str,
    /// The mutants that it kills, and what kills each of them instead within as many runs.
    pub instead: Vec<(&'static str, Option<Kill>)>,
    /// If none survives: one of them in a world in which nobody else sees it.
    pub alone: Option<(&'static str, Kill)>,
}

impl Off {
    /// Those that survive.
    pub fn survivors(&self) -> Vec<&'static str> {
        self.instead.iter().filter(|(_, kill)| kill.is_none()).map(|(name, _)| *name).collect()
    }

    /// Whether something is missed without it.
    pub fn good(&self) -> bool {
        self.alone.is_some() || self.instead.iter().any(|(_, kill)| kill.is_none())
    }

    /// As a value.
    pub fn json(&self) -> Value {
        let killed: Vec<Value> = self
            .instead
            .iter()
            .map(|(name, kill)| match kill {
                Some(k) => json!({"mutant": name, "survived": false, "oracle": k.oracle, "seeds": k.runs}),
                None => json!({"mutant": name, "survived": true, "oracle": null, "seeds": null}),
            })
            .collect();
        let alone = self.alone.as_ref().map(|(name, k)| {
            let (seed, plan) = k.world.seed_or_plan();
            json!({"mutant": name, "protocol": k.protocol, "seed": seed, "plan": plan})
        });
        json!({"off": self.oracle, "needed": self.good(), "mutants": killed, "seen_by_it_alone": alone})
    }
}

/// What `each` goes by.
pub(super) struct Search {
    /// The first seed.
    pub(super) from: u64,
    /// Worlds of each mutant at most.
    pub(super) max: u64,
    /// Threads.
    pub(super) jobs: usize,
}

/// Switches off every oracle in turn. One that has no mutant is among the results, since nothing shows that it is needed.
pub(super) async fn each(
    all: &[&'static str],
    verdicts: &[Verdict],
    search: &Search,
    interrupts: &mut Interrupts,
    mut step: impl FnMut(),
) -> (Vec<Off>, bool) {
    let Search { from, max, jobs } = *search;
    let killed = || verdicts.iter().filter_map(|v| v.by_named().map(|k| (k.oracle, v.entry.clone(), k.runs)));
    let work = move |(oracle, entry, runs): &(&'static str, Entry, u64), stop: &dyn Fn() -> bool| {
        (*oracle, entry.mutant.name, without(entry, from, *runs, oracle, stop))
    };
    let (results, interrupted) = pool::each(killed().collect(), jobs, interrupts, work, |_| step()).await;
    let mut by_oracle: BTreeMap<&'static str, Vec<_>> = all.iter().map(|o| (*o, Vec::new())).collect();
    for (oracle, name, kill) in results {
        by_oracle.entry(oracle).or_default().push((name, kill));
    }
    let off = |(oracle, instead)| Off { oracle, instead, alone: None };
    let mut offs: Vec<Off> = by_oracle.into_iter().map(off).collect();
    if interrupted {
        return (offs, true);
    }
    let doubtful: Vec<&'static str> = offs.iter().filter(|o| !o.good()).map(|o| o.oracle).collect();
    // One such world is enough for an oracle.
    let shown = Mutex::new(BTreeSet::new());
    let known = move |oracle: &'static str, new: bool| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if new { shown.insert(oracle) } else { shown.contains(oracle) }
    };
    let work = move |(oracle, entry, _): &(&'static str, Entry, u64), stop: &dyn Fn() -> bool| {
        let kill = seen_by_one(entry, from, max, oracle, &|| stop() || known(oracle, false));
        if kill.is_some() {
            known(oracle, true);
        }
        (*oracle, entry.mutant.name, kill)
    };
    let items = killed().filter(|(oracle, ..)| doubtful.contains(oracle)).collect();
    let (found, interrupted) = pool::each(items, jobs, interrupts, work, |_| ()).await;
    for (oracle, name, kill) in found {
        if let (Some(kill), Some(off)) = (kill, offs.iter_mut().find(|o| o.oracle == oracle && o.alone.is_none())) {
            off.alone = Some((name, kill));
        }
    }
    (offs, interrupted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::hunt;
    use crate::sim_cmd::subjects;

    /// Names of oracles in the strings of the sources below `dir`, where things are judged and not listed.
    fn named(dir: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).expect("the sources can be listed") {
            let path = entry.expect("the sources can be listed").path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() {
                named(&path, names);
            } else if !["list.rs", "mutants.rs", "subject.rs", "tests.rs"].contains(&name.as_str()) {
                let text = std::fs::read_to_string(&path).expect("a source can be read");
                let text = text.split("\nmod tests {").next().unwrap_or_default();
                let words = text.split('"').map(|s| s.split([':', ' ']).next().unwrap_or_default());
                let oracle = |w: &&str| {
                    let rest = w.strip_prefix("C-").or(w.strip_prefix("R-")).or(w.strip_prefix("Z-"));
                    let upper = |r: &str| r.len() >= 2 && r.bytes().all(|b| b.is_ascii_uppercase());
                    rest.is_some_and(upper) || matches!(w.as_bytes(), [b'L', b'1'..=b'9'])
                };
                names.extend(words.filter(oracle).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_oracle_of_the_sources_is_listed_and_has_a_mutant() {
        let mut found = BTreeSet::new();
        for dir in ["common/src", "raft/src", "zab/src"] {
            named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir), &mut found);
        }
        let listed: BTreeSet<String> = subjects::oracles().into_iter().map(str::to_owned).collect();
        assert_eq!(listed, found, "what is listed (left) and what the sources have (right)");
        let expected: BTreeSet<String> = hunt::all().iter().map(|e| e.mutant.oracle.to_owned()).collect();
        assert_eq!(listed, expected, "what is listed (left) and what mutants are to be killed by (right)");
    }
}
