//! From a plan that fails to a small one that fails in the same way.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002) over the list of faults, and the same idea for every number of the shape:
//! try less, keep it if the same oracle still fails. Another oracle's failure does not count, else a search for one bug ends
//! at another. Two things make it work at all: streams that are keyed (see [`stream`](super::stream)), so that the rest of
//! the world goes on as before when a fault is taken out; and that every plan tried is [`fair`], so that the search does not
//! end at a failure that nothing promises to survive.

mod faults;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::plan::Plan;
use super::subject::Violation;
use super::swarm::fair;

/// Runs that suffice for the plans of [`swarm`](super::swarm).
pub const BUDGET: u32 = 2000;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that fails as the first did.
    pub plan: Plan,
    /// How it fails; none if the plan given did not fail when it was run again.
    pub violation: Option<Violation>,
    /// Runs that were needed, the first included.
    pub runs: u32,
}

/// Makes a failing plan small, in at most `budget` runs. `fails` runs a plan and says what broke. The same plan and the same
/// answers give the same result.
pub fn shrink(plan: &Plan, fails: impl FnMut(&Plan) -> Option<Violation>, budget: u32) -> Shrunk {
    let mut fails = fails;
    let Some(violation) = fails(plan).filter(|_| budget > 0) else {
        return Shrunk { plan: plan.clone(), violation: None, runs: budget.min(1) };
    };
    let fair = fair(plan);
    let mut search = Search { best: plan.clone(), violation, fair, tried: BTreeSet::new(), runs: 1, budget, fails };
    loop {
        let before = search.best.clone();
        faults::cut_tail(&mut search);
        faults::drop_kinds(&mut search);
        faults::drop_some(&mut search);
        shape::fewer_nodes(&mut search);
        shape::plainer(&mut search);
        faults::simpler(&mut search);
        if search.best == before || search.runs >= search.budget {
            break;
        }
    }
    Shrunk { plan: search.best, violation: Some(search.violation), runs: search.runs }
}

struct Search<F> {
    best: Plan,
    violation: Violation,
    /// Whether the first plan demanded only what was promised.
    fair: bool,
    /// What was run and did not do, as hashes of plans: at most `budget`.
    tried: BTreeSet<u64>,
    runs: u32,
    budget: u32,
    fails: F,
}

impl<F: FnMut(&Plan) -> Option<Violation>> Search<F> {
    /// Runs a plan, and goes on from it if it fails as the first one did.
    fn offer(&mut self, plan: Plan) -> bool {
        if plan == self.best || plan.validate().is_err() || (self.fair && !fair(&plan)) {
            return false;
        }
        if self.runs >= self.budget || !self.tried.insert(xxh3_64(plan.to_string().as_bytes())) {
            return false;
        }
        self.runs += 1;
        match (self.fails)(&plan) {
            Some(violation) if violation.oracle == self.violation.oracle => {
                self.best = plan;
                self.violation = violation;
                true
            }
            _ => false,
        }
    }

    /// Offers the best plan with something changed.
    fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        plan.faults.retain(|t| t.at <= plan.shape.span);
        plan.faults.sort_by_key(|t| t.at);
        self.offer(plan)
    }

    /// Makes a number small: `low` if that will do, otherwise as near to it as halving the distance comes, then round.
    fn lower(&mut self, low: u64, value: u64, set: impl Fn(&mut Plan, u64)) {
        if value <= low || self.change(|p| set(p, low)) {
            return;
        }
        let (mut bad, mut good) = (low, value);
        while good - bad > 1 && good - bad > good / 16 {
            let middle = bad + (good - bad) / 2;
            if self.change(|p| set(p, middle)) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        self.round(low, good, set);
    }

    /// Tries one digit that is not zero, then two.
    fn round(&mut self, low: u64, value: u64, set: impl Fn(&mut Plan, u64)) {
        for digits in 1..=2 {
            let unit = 10_u64.pow((value.max(1).ilog10() + 1).saturating_sub(digits));
            let down = value / unit * unit;
            let rounded = [down, down.saturating_add(unit)];
            if value == down || rounded.into_iter().any(|n| n >= low && self.change(|p| set(p, n))) {
                return;
            }
        }
    }
}
