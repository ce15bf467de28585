//! Makes a history that is not linearizable small enough to be read.
//!
//! First the shortest prefix that is not linearizable, by halving: prefixes of a linearizable history are linearizable. Then
//! operations are taken out as long as what is left has no order either. Only such steps are taken as can never make a
//! linearizable history a bad one, or else the removal of a write would "prove" that its readers read a value from
//! nowhere:
//!
//! * an operation that only looks may go;
//! * one that changes something may be treated as one of unknown outcome, which takes away its end but not its effect;
//! * one of unknown outcome may go if nothing that is left could tell its effect.

use std::collections::BTreeMap;

use super::search::{OutOfSteps, search};
use super::task::{Act, KeyOps, NEVER, Op, Pre, Task, Val};

/// The part of one key's history that has no order.
#[derive(Debug)]
pub(super) struct Core {
    /// What is left, in the order of invocation. Places are events of the whole history.
    pub(super) ops: Vec<Op>,
    /// Which of them is the one whose end makes it impossible.
    pub(super) culprit: usize,
    /// An order of all the others (the culprit may be in it if its effect can be): positions in `ops`.
    pub(super) order: Option<Vec<u32>>,
    /// The state at the end of that order.
    pub(super) state: Val,
    /// How many operations of this key had been invoked at the culprit's end.
    pub(super) before: usize,
    /// Whether no single operation more can go. False if the steps ran out.
    pub(super) minimal: bool,
}

struct Shrink<'a> {
    init: Val,
    steps: &'a mut u64,
    remember: usize,
}

/// Explains a key that is known not to be linearizable. Spends no more than `steps`.
pub(super) fn explain(key: &KeyOps, steps: &mut u64, remember: usize) -> Core {
    let mut shrink = Shrink { init: key.init, steps, remember };
    let mut returns: Vec<u32> = key.ops.iter().filter(|o| !o.is_optional()).map(|o| o.ret).collect();
    returns.sort_unstable();
    let end = shrink.first_bad(&key.ops, &returns);
    let mut ops = prefix(&key.ops, end);
    let before = key.ops.iter().filter(|o| o.call < end).count();
    let minimal = shrink.reduce(&mut ops, end).is_ok();
    ops.sort_unstable_by_key(|o| o.call);
    let culprit = ops.iter().position(|o| o.ret == end).unwrap_or_default();
    let order = shrink.order_without(&ops, culprit);
    let state = order.as_ref().map_or(key.init, |order| replay(key.init, &ops, order));
    Core { ops, culprit, order, state, before, minimal }
}

/// What was known right after the event `end`: what was open then may or may not take effect.
fn prefix(ops: &[Op], end: u32) -> Vec<Op> {
    let known = ops.iter().filter(|o| o.call <= end);
    known.filter_map(|o| if o.ret <= end || o.is_optional() { Some(*o) } else { relax(o) }).collect()
}

fn relax(op: &Op) -> Option<Op> {
    op.act.relaxed().map(|act| Op { act, ret: NEVER, ..*op })
}

fn replay(init: Val, ops: &[Op], order: &[u32]) -> Val {
    order.iter().fold(init, |state, op| match ops[*op as usize].act {
        Act::Set(_, to) => to,
        Act::Try(from, to) if from == state => to,
        Act::Look(_) | Act::Try(..) => state,
    })
}

/// Operations that can notice something: how many, and the last return of them.
#[derive(Clone, Copy, Default)]
struct Noticing {
    count: usize,
    last: u32,
}

impl Noticing {
    fn add(&mut self, other: Self) {
        *self = Self { count: self.count + other.count, last: self.last.max(other.last) };
    }
}

/// Who could notice what.
#[derive(Default)]
struct Witnesses {
    /// By the value that must be there.
    is: BTreeMap<Val, Noticing>,
    /// By the value that must not be there.
    not: BTreeMap<Val, Noticing>,
    /// By the value that makes a difference.
    tries: BTreeMap<Val, Noticing>,
}

impl Witnesses {
    fn of(ops: &[Op]) -> Self {
        let mut all = Self::default();
        for op in ops {
            let (map, v) = match op.act {
                Act::Look(pre) | Act::Set(pre, _) => match pre {
                    Pre::Any => continue,
                    Pre::Is(v) => (&mut all.is, v),
                    Pre::Not(v) => (&mut all.not, v),
                },
                Act::Try(v, _) => (&mut all.tries, v),
            };
            map.entry(v).or_default().add(Noticing { count: 1, last: op.ret });
        }
        all
    }

    fn name(&self, v: Val) -> bool {
        [&self.is, &self.not, &self.tries].iter().any(|map| map.contains_key(&v))
    }

    /// Who might notice that this, of unknown outcome, had taken effect just before them.
    fn of_effect(&self, pre: Pre, to: Val) -> Noticing {
        let mut all = Noticing::default();
        let mut add = |map: &BTreeMap<Val, Noticing>, v: Val| all.add(map.get(&v).copied().unwrap_or_default());
        add(&self.is, to);
        if let Pre::Is(from) = pre {
            add(&self.not, from);
            add(&self.tries, from);
            add(&self.tries, to);
        } else {
            self.not.iter().filter(|(v, _)| **v != to).for_each(|(_, n)| all.add(*n));
            self.tries.values().for_each(|n| all.add(*n));
        }
        all
    }
}

/// Takes out operations of unknown outcome whose effect nothing that is left can notice. Of equal ones, one for each operation
/// that can notice is enough, and the first are as good as any: each that is used serves at least one.
fn purge(ops: &mut Vec<Op>) {
    ops.sort_unstable_by_key(|o| o.call);
    loop {
        let witnesses = Witnesses::of(ops);
        // How many more of each kind are wanted; values that nobody names are all alike.
        let mut wanted: BTreeMap<(Pre, Option<Val>), usize> = BTreeMap::new();
        let before = ops.len();
        ops.retain(|op| match op.act {
            Act::Set(pre, to) if op.is_optional() => {
                let noticing = witnesses.of_effect(pre, to);
                let kind = (pre, Some(to).filter(|v| witnesses.name(*v)));
                let wanted = wanted.entry(kind).or_insert(noticing.count);
                let keep = *wanted > 0 && noticing.last > op.call;
                *wanted -= usize::from(keep);
                keep
            }
            _ => true,
        });
        if ops.len() == before {
            return;
        }
    }
}

impl Shrink<'_> {
    fn is_bad(&mut self, ops: &[Op]) -> Result<bool, OutOfSteps> {
        Ok(search(&Task::new(self.init, ops), self.steps, self.remember)?.is_none())
    }

    /// The first of `returns` after which there is no order; the last one if steps run out before that is known.
    fn first_bad(&mut self, ops: &[Op], returns: &[u32]) -> u32 {
        let (mut good, mut bad) = (0, returns.len().saturating_sub(1));
        while good < bad {
            let middle = usize::midpoint(good, bad);
            match self.is_bad(&prefix(ops, returns[middle])) {
                Ok(true) => bad = middle,
                Ok(false) => good = middle + 1,
                Err(OutOfSteps) => break,
            }
        }
        returns.get(bad).copied().unwrap_or(0)
    }

    /// Takes out what can go but the operation that ends at `end`: first what only looks, for the fewest operations are wanted
    /// and a write that ends says as much as a read that saw it.
    fn reduce(&mut self, ops: &mut Vec<Op>, end: u32) -> Result<(), OutOfSteps> {
        self.reduce_those(ops, |o| o.ret != end && matches!(o.act, Act::Look(_)))?;
        self.reduce_those(ops, |o| o.ret != end && !o.is_optional())
    }

    /// Takes out those that `may` go: in halves, quarters, …, and one by one until none goes.
    fn reduce_those(&mut self, ops: &mut Vec<Op>, may: impl Fn(&Op) -> bool) -> Result<(), OutOfSteps> {
        let mut size = ops.len().div_ceil(2).max(1);
        loop {
            let mut changed = false;
            let mut from = 0;
            while from < ops.len() {
                let to = ops.len().min(from + size);
                if !ops[from..to].iter().any(&may) {
                    from = to;
                    continue;
                }
                let goes = |i: usize, o: &Op| (from..to).contains(&i) && may(o);
                let rest = ops.iter().enumerate().filter_map(|(i, o)| if goes(i, o) { relax(o) } else { Some(*o) });
                let mut fewer: Vec<Op> = rest.collect();
                purge(&mut fewer);
                if self.is_bad(&fewer)? {
                    *ops = fewer;
                    changed = true;
                } else {
                    from = to;
                }
            }
            if size == 1 && !changed {
                return Ok(());
            }
            size = size.div_ceil(2).max(1);
        }
    }

    fn order_without(&mut self, ops: &[Op], culprit: usize) -> Option<Vec<u32>> {
        let mut kept: Vec<u32> = (0..ops.len() as u32).collect();
        let mut others = ops.to_vec();
        if let Some(relaxed) = relax(&ops[culprit]) {
            others[culprit] = relaxed;
        } else {
            others.remove(culprit);
            kept.remove(culprit);
        }
        // The steps may be gone by now; this is at most a small history.
        let mut steps = 100_000;
        let order = search(&Task::new(self.init, &others), &mut steps, self.remember).ok()??;
        Some(order.into_iter().map(|op| kept[op as usize]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::{is_linearizable, random_task};
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn what_nobody_can_notice_makes_no_difference() {
        let mut gone = 0;
        for seed in 0..40_000 {
            let task = random_task(&mut Rng::new(seed));
            let mut fewer = task.ops.clone();
            purge(&mut fewer);
            gone += task.ops.len() - fewer.len();
            let after = is_linearizable(&Task::new(task.init, &fewer));
            assert_eq!(is_linearizable(&task), after, "seed {seed}: {task:?} without all but {fewer:?}");
        }
        assert!(gone > 5000, "{gone}");
    }

    #[test]
    fn an_explanation_has_no_order_and_needs_all_that_it_holds() {
        let mut explained = 0;
        for seed in 0..20_000 {
            let task = random_task(&mut Rng::new(seed));
            if is_linearizable(&task) {
                continue;
            }
            explained += 1;
            let core = explain(&KeyOps { init: task.init, ops: task.ops.clone() }, &mut 1_000_000, 1000);
            let is_bad = |ops: &[Op]| !is_linearizable(&Task::new(task.init, ops));
            assert!(core.minimal && is_bad(&core.ops), "seed {seed}: {task:?}: {core:?}");
            let end = core.ops[core.culprit].ret;
            assert!(is_bad(&prefix(&task.ops, end)) && !is_bad(&prefix(&task.ops, end - 1)), "seed {seed}");
            for i in (0..core.ops.len()).filter(|i| !core.ops[*i].is_optional()) {
                let rest = core.ops.iter().enumerate().filter_map(|(j, o)| if i == j { relax(o) } else { Some(*o) });
                assert!(!is_bad(&rest.collect::<Vec<_>>()), "seed {seed}: {core:?} does not need {i}");
            }
            let last = *core.order.expect("an order of the others").last().unwrap_or(&0);
            assert!((last as usize) < core.ops.len());
        }
        assert!(explained > 2000, "{explained}");
    }
}
