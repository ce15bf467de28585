//! Each oracle switched off in turn: some mutant that it kills must then live longer, else nothing shows that the oracle is
//! of any use.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::hunt::{Entry, Kill, Verdict, without};
use super::pool;
use crate::cli::Interrupts;

/// One oracle, switched off.
#[derive(Clone, Debug)]
pub struct Off {
    /// Which.
    pub oracle: &'static str,
    /// The mutants that it kills, and what kills each of them instead within as many runs.
    pub instead: Vec<(&'static str, Option<Kill>)>,
}

impl Off {
    /// Those that survive.
    pub fn survivors(&self) -> Vec<&'static str> {
        self.instead.iter().filter(|(_, kill)| kill.is_none()).map(|(name, _)| *name).collect()
    }

    /// Whether something is missed without it.
    pub fn good(&self) -> bool {
        self.instead.iter().any(|(_, kill)| kill.is_none())
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
        json!({"off": self.oracle, "needed": self.good(), "mutants": killed})
    }
}

/// Switches off every oracle that killed something.
pub(super) async fn each(
    verdicts: &[Verdict],
    from: u64,
    jobs: usize,
    interrupts: &mut Interrupts,
    mut step: impl FnMut(),
) -> (Vec<Off>, bool) {
    let items: Vec<(&'static str, Entry, u64)> =
        verdicts.iter().filter_map(|v| v.by_named().map(|k| (k.oracle, v.entry.clone(), k.runs))).collect();
    let work = move |(oracle, entry, runs): &(&'static str, Entry, u64), stop: &dyn Fn() -> bool| {
        (*oracle, entry.mutant.name, without(entry, from, *runs, oracle, stop))
    };
    let (results, interrupted) = pool::each(items, jobs, interrupts, work, |_| step()).await;
    let mut by_oracle: BTreeMap<&'static str, Vec<_>> = BTreeMap::new();
    for (oracle, name, kill) in results {
        by_oracle.entry(oracle).or_default().push((name, kill));
    }
    (by_oracle.into_iter().map(|(oracle, instead)| Off { oracle, instead }).collect(), interrupted)
}
