//! What `duet mutants` prints.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle};
use serde_json::{Value, json};

use super::hunt::{Kill, Verdict, World};
use super::oracles::Off;

/// What is said of one mutant.
fn verdict_word(v: &Verdict) -> String {
    match (&v.first, v.by_named()) {
        (None, _) => format!("SURVIVED {} runs", v.runs),
        (Some(first), None) => format!("{}, not {}", first.oracle, v.entry.mutant.oracle),
        (Some(first), Some(named)) if first.oracle != named.oracle => {
            format!("{} (first {})", named.oracle, first.oracle)
        }
        (Some(_), Some(named)) => named.oracle.to_owned(),
    }
}

/// The table, one line for each mutant, and a line that sums it up.
pub fn table(verdicts: &[Verdict]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["mutant", "what it does wrong", "source", "in", "expected", "killed by", "seeds"]);
    for v in verdicts {
        let m = &v.entry.mutant;
        let seeds = v.kill().map_or(String::new(), |k| match k.world {
            World::Seed(_) => k.runs.to_string(),
            World::Kept(_) => "plan".to_owned(),
        });
        let source = if m.real { m.source.to_owned() } else { format!("({})", m.source) };
        let row = [m.name, m.what, &source, v.entry.protocol(), m.oracle, &verdict_word(v), &seeds].map(str::to_owned);
        table.add_row(row);
    }
    if let Some(column) = table.column_mut(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    let _ = write!(text, "\n\n{}\n", summary(verdicts));
    text
}

fn summary(verdicts: &[Verdict]) -> String {
    let killed = verdicts.iter().filter(|v| v.first.is_some()).count();
    let good = verdicts.iter().filter(|v| v.good()).count();
    let real = verdicts.iter().filter(|v| v.entry.mutant.real).count();
    let of_seed = |k: &&Kill| matches!(k.world, World::Seed(_));
    let kills = || verdicts.iter().filter_map(Verdict::kill);
    let mut seeds: Vec<u64> = kills().filter(of_seed).map(|k| k.runs).collect();
    seeds.sort_unstable();
    let kept = match kills().count() - seeds.len() {
        0 => String::new(),
        n => format!("; {n} by a plan that is kept for it"),
    };
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
    format!(
        "{} mutants, {real} of them public bugs; {killed} killed, {good} by the oracle named for them; median {median} seeds, at most {}{kept}",
        verdicts.len(),
        seeds.last().copied().unwrap_or(0)
    )
}

/// A list of objects, one for each mutant.
pub fn json(verdicts: &[Verdict]) -> Value {
    verdicts.iter().map(one).collect()
}

fn one(v: &Verdict) -> Value {
    let m = &v.entry.mutant;
    let kill = v.kill();
    let (seed, plan) = kill.map_or((None, None), |k| k.world.seed_or_plan());
    json!({
        "name": m.name,
        "what": m.what,
        "source": m.source,
        "real": m.real,
        "protocol": v.entry.protocol(),
        "expected": m.oracle,
        "killed": kill.is_some(),
        "oracle": kill.map(|k| k.oracle),
        "seeds": kill.map(|k| k.runs),
        "seed": seed,
        "plan": plan,
        "seed_protocol": kill.map(|k| k.protocol),
        "said": kill.map(|k| &k.what),
        "first_oracle": v.first.as_ref().map(|k| k.oracle),
        "first_seeds": v.first.as_ref().map(|k| k.runs),
        "runs": v.runs,
        "good": v.good(),
    })
}

/// One line for each oracle that was switched off.
pub fn oracles(all: &[Off]) -> String {
    let mut text = String::new();
    for off in all {
        let instead: Vec<String> = off
            .instead
            .iter()
            .filter_map(|(name, kill)| kill.as_ref().map(|k| format!("{name} by {} after {}", k.oracle, k.runs)))
            .collect();
        let survivors = off.survivors();
        let lives =
            if survivors.is_empty() { "NOTHING survives".into() } else { format!("{} survive", survivors.join(", ")) };
        let lives = match &off.alone {
            None => lives,
            Some((name, k)) => {
                let world = match k.world {
                    World::Seed(seed) => format!("{} seed {seed}", k.protocol.name()),
                    World::Kept(plan) => format!("{plan}.plan"),
                };
                format!("{name} goes unseen in {world}")
            }
        };
        let dies = if instead.is_empty() { String::new() } else { format!("; killed instead: {}", instead.join(", ")) };
        let _ = writeln!(text, "without {}: {lives}{dies}", off.oracle);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::hunt::Entry;
    use super::*;
    use crate::cli::Protocol;
    use common::mutant::Mutant;

    fn verdict(first: Option<&'static str>, named: Option<&'static str>) -> Verdict {
        let mutant = Mutant { name: "T01", what: "forgets", source: "etcd#1", real: true, oracle: "C-ACK" };
        let kill =
            |oracle| Kill { oracle, what: "lost".into(), protocol: Protocol::Zab, world: World::Seed(4), runs: 7 };
        let entry = Entry { mutant, protocols: vec![Protocol::Zab] };
        Verdict { entry, first: first.map(kill), named: named.map(kill), runs: 9 }
    }

    #[test]
    fn a_kill_by_another_oracle_is_not_taken_for_the_one_that_is_named() {
        let cases = [
            (verdict(Some("C-ACK"), None), true, "C-ACK", "C-ACK"),
            (verdict(Some("C-LIN"), Some("C-ACK")), true, "C-ACK (first C-LIN)", "C-ACK"),
            (verdict(Some("C-LIN"), None), false, "C-LIN, not C-ACK", "C-LIN"),
            (verdict(None, None), false, "SURVIVED 9 runs", ""),
        ];
        for (v, good, said, oracle) in cases {
            assert_eq!((v.good(), verdict_word(&v).as_str()), (good, said));
            let value = one(&v);
            assert_eq!(value["killed"], Value::Bool(!oracle.is_empty()));
            assert_eq!(value["oracle"].as_str().unwrap_or(""), oracle);
            assert_eq!((value["good"].as_bool(), value["expected"].as_str()), (Some(good), Some("C-ACK")));
        }
    }

    #[test]
    fn the_table_and_the_list_have_all_of_them() {
        let all = [verdict(Some("C-ACK"), None), verdict(None, None)];
        let text = table(&all);
        assert!(
            text.contains("2 mutants, 2 of them public bugs; 1 killed, 1 by the oracle named for them; median 7 seeds"),
            "{text}"
        );
        assert_eq!(json(&all).as_array().map(Vec::len), Some(2));
        let mut by_plan = verdict(Some("C-ACK"), None);
        by_plan.first.as_mut().unwrap().world = World::Kept("few-faults");
        let text = table(&[verdict(Some("C-ACK"), None), by_plan.clone()]);
        assert!(text.contains("median 7 seeds, at most 7; 1 by a plan that is kept for it"), "{text}");
        let value = one(&by_plan);
        assert_eq!((value["seed"].clone(), value["plan"].as_str()), (Value::Null, Some("few-faults")));
    }

    #[test]
    fn an_oracle_without_which_all_still_die_is_pointed_out() {
        let kill =
            Kill { oracle: "C-LIN", what: String::new(), protocol: Protocol::Raft, world: World::Seed(1), runs: 3 };
        let mut off = Off { oracle: "C-ACK", instead: vec![("D01", Some(kill.clone()))], alone: None };
        assert_eq!(
            oracles(std::slice::from_ref(&off)),
            "without C-ACK: NOTHING survives; killed instead: D01 by C-LIN after 3\n"
        );
        assert!(!off.good());
        let found = Off { alone: Some(("D01", kill)), ..off.clone() };
        assert_eq!(
            oracles(std::slice::from_ref(&found)),
            "without C-ACK: D01 goes unseen in raft seed 1; killed instead: D01 by C-LIN after 3\n"
        );
        assert!(found.good());
        off.instead.push(("D02", None));
        assert!(off.good());
        assert_eq!(oracles(&[off]), "without C-ACK: D02 survive; killed instead: D01 by C-LIN after 3\n");
    }
}
