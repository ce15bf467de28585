//! One mutant after another, until an oracle catches it.

use common::mutant::{self, Mutant};
use common::sim::plan::Plan;
use common::sim::subject::Violation;
use common::sim::swarm;
use common::sim::world::Options;

use super::kept;
use crate::cli::Protocol;
use crate::sim_cmd::subjects;

/// A seeded bug, and in which protocols it shows.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The bug.
    pub mutant: Mutant,
    /// One, or both in turns if it is in what they share.
    pub protocols: Vec<Protocol>,
}

impl Entry {
    /// `raft`, `zab` or `both`.
    pub fn protocol(&self) -> &'static str {
        match self.protocols[..] {
            [one] => one.name(),
            _ => "both",
        }
    }
}

/// Every mutant there is, by name.
pub fn all() -> Vec<Entry> {
    let of = |list: &'static [Mutant], protocols: &[Protocol]| {
        list.iter().map(|m| Entry { mutant: *m, protocols: protocols.to_vec() }).collect::<Vec<_>>()
    };
    let mut all = of(mutant::LIST, &Protocol::ALL);
    all.extend(of(raft::invariants::MUTANTS, &[Protocol::Raft]));
    all.extend(of(zab::invariants::MUTANTS, &[Protocol::Zab]));
    all.sort_by_key(|e| e.mutant.name);
    all
}

/// An oracle that caught a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Which oracle.
    pub oracle: &'static str,
    /// What it said.
    pub what: String,
    /// In which protocol.
    pub protocol: Protocol,
    /// In which world.
    pub world: World,
    /// How many runs that took, this one included.
    pub runs: u64,
}

/// Where a plan comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Drawn from this seed.
    Seed(u64),
    /// Kept in the tree under this name.
    Kept(&'static str),
}

impl World {
    /// The seed, or the name of the plan.
    pub fn seed_or_plan(self) -> (Option<u64>, Option<&'static str>) {
        match self {
            Self::Seed(seed) => (Some(seed), None),
            Self::Kept(name) => (None, Some(name)),
        }
    }
}

/// What came of one mutant.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which.
    pub entry: Entry,
    /// What caught it first; none if it survived.
    pub first: Option<Kill>,
    /// What the oracle named for it said, if another was faster: in the run of the first kill, with the others switched
    /// off, or in a later one.
    pub named: Option<Kill>,
    /// Runs in all.
    pub runs: u64,
}

impl Verdict {
    /// The kill by the oracle that is named for the mutant.
    pub fn by_named(&self) -> Option<&Kill> {
        [&self.first, &self.named].into_iter().flatten().find(|k| k.oracle == self.entry.mutant.oracle)
    }

    /// Whether it is as it should be.
    pub fn good(&self) -> bool {
        self.by_named().is_some()
    }

    /// The kill to report: that of the oracle named, or else the first.
    pub fn kill(&self) -> Option<&Kill> {
        self.by_named().or(self.first.as_ref())
    }
}

/// One run of a mutant.
struct Run {
    /// How many there were until now, this one included.
    runs: u64,
    protocol: Protocol,
    world: World,
    plan: Plan,
}

impl Run {
    /// What catches the active mutant in this world, without the oracles that are off.
    fn attempt(&self, off: &[&'static str]) -> Option<Kill> {
        let outcome = subjects::run(&self.plan, &Options { off: off.to_vec(), ..Options::default() }).ok()?;
        let (_, Violation { oracle, what, .. }) = outcome.violation?;
        Some(Kill { oracle, what, protocol: self.protocol, world: self.world, runs: self.runs })
    }
}

/// What is tried, in order: the plans that are kept for the mutant, then each seed in every protocol of it.
fn runs(entry: &Entry, from: u64, max: u64) -> impl Iterator<Item = Run> {
    let mine = |k: &kept::Kept| k.mutant == entry.mutant.name;
    let kept: Vec<_> = kept::all().into_iter().filter(mine).map(|k| (World::Kept(k.name), k.plan)).collect();
    let n = entry.protocols.len() as u64;
    let protocols = entry.protocols.clone();
    let drawn = (0..max).map(move |i| {
        let seed = from + i / n;
        (World::Seed(seed), swarm::plan(protocols[(i % n) as usize].name(), seed))
    });
    (1..=max).zip(kept.into_iter().chain(drawn)).filter_map(|(runs, (world, plan))| {
        let protocol = subjects::protocol(&plan).ok()?;
        Some(Run { runs, protocol, world, plan })
    })
}

/// Runs one mutant on this thread, `max` times at most. `stop` ends it early.
pub fn hunt(entry: &Entry, from: u64, max: u64, stop: &dyn Fn() -> bool) -> Verdict {
    mutant::activate(Some(entry.mutant.name));
    let mut verdict = Verdict { entry: entry.clone(), first: None, named: None, runs: 0 };
    // Oracles that were faster than the one named: switched off from then on, to see whether that one would have seen it.
    let mut off: Vec<&'static str> = Vec::new();
    for run in runs(entry, from, max) {
        if stop() {
            break;
        }
        verdict.runs = run.runs;
        while let Some(kill) = run.attempt(&off) {
            let named = kill.oracle == entry.mutant.oracle;
            let fresh = !off.contains(&kill.oracle);
            off.push(kill.oracle);
            if verdict.first.is_none() {
                verdict.first = Some(kill);
            } else if named {
                verdict.named = Some(kill);
            }
            if named || !fresh {
                break;
            }
        }
        if verdict.good() {
            break;
        }
    }
    mutant::activate(None);
    verdict
}

/// What catches a mutant within so many runs when one oracle is switched off.
pub fn without(entry: &Entry, from: u64, max: u64, off: &'static str, stop: &dyn Fn() -> bool) -> Option<Kill> {
    mutant::activate(Some(entry.mutant.name));
    let kill = runs(entry, from, max).take_while(|_| !stop()).find_map(|run| run.attempt(&[off]));
    mutant::activate(None);
    kill
}

/// A world in which nobody but this oracle sees the mutant, among the first `max`.
pub fn seen_by_one(entry: &Entry, from: u64, max: u64, oracle: &'static str, stop: &dyn Fn() -> bool) -> Option<Kill> {
    mutant::activate(Some(entry.mutant.name));
    let mut worlds = runs(entry, from, max).take_while(|_| !stop());
    let kill = worlds.find_map(|run| if run.attempt(&[oracle]).is_none() { run.attempt(&[]) } else { None });
    mutant::activate(None);
    kill
}
