//! Looks for an order that explains one key's history.
//!
//! The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what failed
//! ("Testing for Linearizability", 2017), in his just-in-time form: walk through the events; at a return whose operation
//! has no place yet, choose which of the open operations take effect now, the returning one last; where nothing fits, go back
//! to the last choice. No recursion: choices and changes are on stacks of their own. A configuration is the place, the
//! state, the set (as bits) of open operations that have their place, and how many of each class of unknown ones were
//! used; one that failed is never tried again.
//!
//! What keeps a long history near linear time, each a rule that never loses the last solution:
//!
//! * an operation that only looks takes its place as soon as the state fits it;
//! * one of unknown outcome is used only when something open needs the state it makes, and equal ones are counted
//!   instead of told apart;
//! * a write that nobody can see goes right before the next blind write;
//! * a value is not overwritten while somebody still has to see it and nobody can make it again;
//! * nothing is tried that contradicts what the answers alone say of the state (see `zones`).

use super::memo::Memo;
use super::plan::Plan;
use super::task::{Act, Ev, NEVER, Pre, Task, Val};

/// The search took more steps than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfSteps;

/// A change that can be taken back.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// An event was passed.
    Passed,
    /// An operation that ends took its place in this state.
    Placed(u32, Val),
    /// One of a class was used in this state.
    Used(u32, Val),
}

/// Why no further event can be passed.
enum Stop {
    /// There is none.
    End,
    /// This operation returns and has no place.
    Return(u32),
    /// The state cannot be what it is.
    Contradiction,
}

/// What may be done next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Op(u32),
    Class(u32),
}

/// A choice: its moves are `moves[start..]` up to the next frame's, tried up to `next`.
#[derive(Clone, Copy, Debug)]
struct Frame {
    changes: usize,
    start: usize,
    next: usize,
}

pub(super) struct Search<'a> {
    task: &'a Task,
    plan: Plan,
    place: usize,
    state: Val,
    /// Invoked, will end, without a place.
    open: Vec<u32>,
    /// Of the operations that are open: those that have their place.
    bits: Vec<u64>,
    /// Operations of each class invoked, and used.
    invoked: Vec<u32>,
    used: Vec<u32>,
    /// The classes with uses, in order.
    using: Vec<u32>,
    /// How many operations without a place demand a value, or can make it.
    need: Vec<u32>,
    supply: Vec<u32>,
    /// How many operations without a place can tell many values.
    many_left: usize,
    changes: Vec<Change>,
    moves: Vec<Move>,
    frames: Vec<Frame>,
    memo: Memo,
    /// The places where something was remembered.
    failures: Vec<bool>,
    key: Vec<u64>,
    uses: Vec<(u32, u32)>,
    wanted: Vec<Val>,
    /// Classes looked through one by one since the last step.
    scanned: u64,
}

/// So many of them are worth a step, or a step could take any time.
const SCANNED: u64 = 8;

/// An order of operations (positions in the task) that explains the history, or None if there is none. `steps` is what
/// may still be spent, `remember` how many failed configurations are kept.
pub(super) fn search(task: &Task, steps: &mut u64, remember: usize) -> Result<Option<Vec<u32>>, OutOfSteps> {
    let Some(plan) = Plan::new(task) else { return Ok(None) };
    Search::new(task, plan, remember).run(steps)
}

impl<'a> Search<'a> {
    fn new(task: &'a Task, plan: Plan, remember: usize) -> Self {
        Self {
            task,
            place: 0,
            state: task.init,
            open: Vec::new(),
            bits: vec![0; plan.words],
            invoked: vec![0; plan.classes.len()],
            used: vec![0; plan.classes.len()],
            using: Vec::new(),
            need: plan.need.clone(),
            supply: plan.supply.clone(),
            many_left: plan.many(),
            changes: Vec::with_capacity(2 * task.events.len()),
            moves: Vec::new(),
            frames: Vec::new(),
            memo: Memo::new(remember),
            failures: vec![false; task.events.len() + 1],
            key: Vec::new(),
            uses: Vec::new(),
            wanted: Vec::new(),
            scanned: 0,
            plan,
        }
    }

    fn run(mut self, steps: &mut u64) -> Result<Option<Vec<u32>>, OutOfSteps> {
        loop {
            match self.advance() {
                Stop::End => return Ok(Some(self.order())),
                Stop::Return(target) if !self.has_failed() => {
                    let start = self.moves.len();
                    self.collect(target);
                    self.frames.push(Frame { changes: self.changes.len(), start, next: start });
                }
                Stop::Return(_) | Stop::Contradiction => {}
            }
            loop {
                *steps = steps.checked_sub(1 + std::mem::take(&mut self.scanned) / SCANNED).ok_or_else(|| {
                    *steps = 0;
                    OutOfSteps
                })?;
                let Some(frame) = self.frames.last_mut() else { return Ok(None) };
                let (changes, next) = (frame.changes, frame.next);
                frame.next += 1;
                self.undo(changes);
                if let Some(choice) = self.moves.get(next).copied() {
                    if self.apply(choice) {
                        break;
                    }
                } else {
                    self.give_up();
                }
            }
        }
    }

    /// Whether the configuration is known to lead nowhere.
    fn has_failed(&mut self) -> bool {
        // Most places have seen no failure, and need no description.
        if !self.failures[self.place] {
            return false;
        }
        self.describe();
        self.memo.has(&self.key, &self.uses)
    }

    /// Every move of the last frame has failed.
    fn give_up(&mut self) {
        self.describe();
        self.memo.insert(&self.key, &self.uses);
        self.failures[self.place] = true;
        if let Some(frame) = self.frames.pop() {
            self.moves.truncate(frame.start);
        }
    }

    /// Passes events up to the return of an operation without a place.
    fn advance(&mut self) -> Stop {
        while let Some(ev) = self.task.events.get(self.place) {
            match *ev {
                Ev::Return(op) if !self.is_placed(op) => return Stop::Return(op),
                Ev::Return(op) => self.set_bit(op, false),
                Ev::Call(op) if self.task.ops[op as usize].is_optional() => {
                    self.invoked[self.plan.class_of[op as usize] as usize] += 1;
                }
                Ev::Call(op) => self.open.push(op),
            }
            self.place += 1;
            self.changes.push(Change::Passed);
            if let Ev::Call(op) = *ev
                && let Act::Look(pre) = self.task.ops[op as usize].act
                && pre.holds(self.state)
                && !self.task.ops[op as usize].is_optional()
            {
                self.put(op);
            }
            if !self.plan.zones.allow(self.state, self.place as u32) {
                return Stop::Contradiction;
            }
        }
        Stop::End
    }

    /// Takes changes back until so many are left.
    fn undo(&mut self, left: usize) {
        while self.changes.len() > left {
            let Some(change) = self.changes.pop() else { return };
            match change {
                Change::Passed => {
                    self.place -= 1;
                    match self.task.events[self.place] {
                        Ev::Return(op) => self.set_bit(op, true),
                        Ev::Call(op) if self.task.ops[op as usize].is_optional() => {
                            self.invoked[self.plan.class_of[op as usize] as usize] -= 1;
                        }
                        Ev::Call(op) => self.leave(op),
                    }
                }
                Change::Placed(op, state) => {
                    self.state = state;
                    self.open.push(op);
                    self.set_bit(op, false);
                    self.count(op, true);
                }
                Change::Used(class, state) => {
                    self.state = state;
                    self.use_class(class, false);
                }
            }
        }
    }

    /// Gives an operation that fits the state its place.
    fn put(&mut self, op: u32) {
        self.changes.push(Change::Placed(op, self.state));
        self.leave(op);
        self.set_bit(op, true);
        self.count(op, false);
        match self.task.ops[op as usize].act {
            Act::Set(_, to) => self.state = to,
            Act::Try(from, to) if self.state == from => self.state = to,
            Act::Look(_) | Act::Try(..) => {}
        }
    }

    fn leave(&mut self, op: u32) {
        if let Some(i) = self.open.iter().rposition(|o| *o == op) {
            self.open.swap_remove(i);
        }
    }

    fn count(&mut self, op: u32, back: bool) {
        let act = self.task.ops[op as usize].act;
        let by = |n: &mut u32| *n = if back { *n + 1 } else { *n - 1 };
        if let Some(v) = act.makes() {
            by(&mut self.supply[v as usize]);
        }
        if let Pre::Is(v) = act.pre() {
            by(&mut self.need[v as usize]);
        }
        if act.tells_many() {
            self.many_left = if back { self.many_left + 1 } else { self.many_left - 1 };
        }
    }

    fn use_class(&mut self, class: u32, forward: bool) {
        let used = &mut self.used[class as usize];
        let supply = &mut self.supply[self.plan.classes[class as usize].to as usize];
        let at = self.using.partition_point(|c| *c < class);
        if forward {
            if *used == 0 {
                self.using.insert(at, class);
            }
            (*used, *supply) = (*used + 1, *supply - 1);
        } else {
            (*used, *supply) = (*used - 1, *supply + 1);
            if *used == 0 {
                self.using.remove(at);
            }
        }
    }

    /// Does a move, and what follows from it at once. False if it cannot lead anywhere.
    fn apply(&mut self, choice: Move) -> bool {
        let act = match choice {
            Move::Op(op) => self.task.ops[op as usize].act,
            Move::Class(class) => {
                let class = self.plan.classes[class as usize];
                Act::Set(class.pre, class.to)
            }
        };
        let before = self.state;
        let after = match act {
            Act::Set(_, to) => to,
            Act::Try(from, to) if from == before => to,
            Act::Look(_) | Act::Try(..) => before,
        };
        if !self.plan.zones.allow(after, self.place as u32) {
            return false;
        }
        if let Act::Set(Pre::Any, _) = act {
            self.hide(choice);
        }
        match choice {
            Move::Op(op) => self.put(op),
            Move::Class(class) => {
                self.changes.push(Change::Used(class, self.state));
                self.use_class(class, true);
                self.state = self.plan.classes[class as usize].to;
            }
        }
        if self.state == before {
            return true;
        }
        if self.need[before as usize] > 0 && self.supply[before as usize] == 0 {
            return false;
        }
        self.look();
        true
    }

    /// Places what only looks and fits.
    fn look(&mut self) {
        let mut i = 0;
        while let Some(op) = self.open.get(i).copied() {
            match self.task.ops[op as usize].act {
                // Another one comes to this position.
                Act::Look(pre) if pre.holds(self.state) => self.put(op),
                _ => i += 1,
            }
        }
    }

    /// Before a blind write: places those writes that nobody can see.
    fn hide(&mut self, before: Move) {
        if self.open.len() < 2 && matches!(before, Move::Op(_)) {
            return;
        }
        if self.open.iter().any(|o| self.task.ops[*o as usize].act.tells_many()) {
            return;
        }
        let mut i = 0;
        while let Some(op) = self.open.get(i).copied() {
            if !matches!(before, Move::Op(b) if b == op) && self.is_hidden(op) {
                self.put(op);
            } else {
                i += 1;
            }
        }
    }

    fn is_hidden(&self, op: u32) -> bool {
        let op = self.task.ops[op as usize];
        let Act::Set(Pre::Any, v) = op.act else { return false };
        let told_now = self.open.iter().any(|o| self.task.ops[*o as usize].act.tells() == Some(v));
        let by_unknown = || self.plan.class_tellers[v as usize].iter().any(|c| self.is_left(*c));
        !told_now && !by_unknown() && !self.plan.can_be_told(v, self.place as u32, op.ret)
    }

    fn is_left(&self, class: u32) -> bool {
        self.invoked[class as usize] > self.used[class as usize]
    }

    /// Adds the moves at the return of `target`, the most promising first.
    fn collect(&mut self, target: u32) {
        let act = |op: u32| self.task.ops[op as usize].act;
        let wanted = match act(target) {
            Act::Look(Pre::Is(v)) | Act::Set(Pre::Is(v), _) if v != self.state => Some(v),
            _ => None,
        };
        let start = self.moves.len();
        self.want();
        for op in self.open.iter().copied() {
            if !matches!(act(op), Act::Look(_)) && act(op).pre().holds(self.state) {
                self.moves.push(Move::Op(op));
            }
        }
        self.collect_unknown();
        let rank = |m: &Move| match *m {
            Move::Op(op) if op == target => 0,
            Move::Op(op) if wanted.is_some() && act(op).makes() == wanted => 1,
            Move::Class(c) if wanted == Some(self.plan.classes[c as usize].to) => 2,
            Move::Op(_) => 3,
            Move::Class(_) => 4,
        };
        // By invocation among equals: `open` keeps no order.
        let place = |m: &Move| match *m {
            Move::Op(op) => self.task.ops[op as usize].call,
            Move::Class(class) => class,
        };
        self.moves[start..].sort_unstable_by_key(|m| (rank(m), place(m)));
    }

    /// Finds the values that open operations need and the state does not give, also by way of unknown ones.
    fn want(&mut self) {
        self.wanted.clear();
        let mut add = |v: Val| {
            if v != self.state && !self.wanted.contains(&v) {
                self.wanted.push(v);
            }
        };
        self.open.iter().filter_map(|op| self.task.ops[*op as usize].act.tells()).for_each(&mut add);
        let mut i = 0;
        while let Some(v) = self.wanted.get(i).copied() {
            for class in &self.plan.makers[v as usize] {
                if let Pre::Is(from) = self.plan.classes[*class as usize].pre
                    && self.is_left(*class)
                    && from != self.state
                    && !self.wanted.contains(&from)
                {
                    self.wanted.push(from);
                }
            }
            i += 1;
        }
    }

    /// Adds unknown operations that make what is needed, in the place they were found.
    fn collect_unknown(&mut self) {
        // It needs any other state, or would have no effect in any other.
        let unhappy = |op: &u32| match self.task.ops[*op as usize].act {
            Act::Look(Pre::Not(v)) | Act::Set(Pre::Not(v), _) | Act::Try(v, _) => v == self.state,
            Act::Look(_) | Act::Set(..) => false,
        };
        let mut moves = std::mem::take(&mut self.moves);
        let mut add = |class: u32| {
            let c = self.plan.classes[class as usize];
            if self.is_left(class) && c.to != self.state && c.pre.holds(self.state) {
                moves.push(Move::Class(class));
            }
        };
        let all = self.open.iter().any(unhappy);
        if all {
            // Of those that nobody can tell apart, the first is as good as any.
            let mut nameless = false;
            for class in 0..self.plan.classes.len() as u32 {
                let c = self.plan.classes[class as usize];
                let plain = c.pre == Pre::Any && self.is_left(class) && c.to != self.state && !self.is_named(c.to);
                if !(plain && std::mem::replace(&mut nameless, true)) {
                    add(class);
                }
            }
        } else {
            self.wanted.iter().flat_map(|v| &self.plan.makers[*v as usize]).copied().for_each(&mut add);
        }
        self.moves = moves;
        self.scanned += if all { self.plan.classes.len() as u64 } else { 0 };
    }

    /// Writes the configuration into `key` and `uses`. Uses of what nobody can need any more are left out.
    fn describe(&mut self) {
        self.key.clear();
        self.key.push((self.place as u64) << 32 | u64::from(self.state));
        self.key.extend_from_slice(&self.bits);
        self.uses.clear();
        // A class whose value nobody names serves only who can tell many values, and one is then as good as another.
        let mut nameless = 0;
        self.scanned += self.using.len() as u64;
        for class in &self.using {
            let (c, used) = (self.plan.classes[*class as usize], self.used[*class as usize]);
            let returns = |from: Val| from == self.state || self.supply[from as usize] > 0;
            if matches!(c.pre, Pre::Is(from) if !returns(from)) {
                continue;
            }
            if self.is_named(c.to) || (self.many_left > 0 && c.pre != Pre::Any) {
                self.uses.push((*class, used));
            } else if self.many_left > 0 {
                nameless += used;
            }
        }
        if nameless > 0 {
            self.uses.push((NEVER, nameless));
        }
    }

    /// Whether somebody may still tell this value from others.
    fn is_named(&self, v: Val) -> bool {
        let may = |class: &u32| (self.used[*class as usize] as usize) < self.plan.members[*class as usize].len();
        let by_many = self.many_left > 0 && self.plan.named[v as usize];
        self.need[v as usize] > 0 || by_many || self.plan.class_tellers[v as usize].iter().any(may)
    }

    fn is_placed(&self, op: u32) -> bool {
        let bit = self.plan.bit[op as usize];
        self.bits[bit as usize / 64] >> (bit % 64) & 1 == 1
    }

    fn set_bit(&mut self, op: u32, on: bool) {
        let bit = self.plan.bit[op as usize];
        let (word, mask) = (&mut self.bits[bit as usize / 64], 1 << (bit % 64));
        *word = if on { *word | mask } else { *word & !mask };
    }

    /// The order that was found.
    fn order(&self) -> Vec<u32> {
        let mut used = vec![0; self.plan.classes.len()];
        let placed = self.changes.iter().filter_map(|change| match *change {
            Change::Passed => None,
            Change::Placed(op, _) => Some(op),
            Change::Used(class, _) => {
                used[class as usize] += 1;
                Some(self.plan.members[class as usize][used[class as usize] - 1])
            }
        });
        placed.collect()
    }
}

/// Whether an order explains a task: every operation that ends is in it once, none is before one that ended before it
/// was invoked, and each fits the state it finds. A second opinion on what the search found, in linear time.
pub(super) fn explains(task: &Task, order: &[u32]) -> bool {
    let mut seen = vec![false; task.ops.len()];
    let (mut state, mut latest_call) = (task.init, 0);
    for op in order {
        let Some(o) = task.ops.get(*op as usize) else { return false };
        latest_call = latest_call.max(o.call);
        // What came earlier in the order must not have been invoked after this one ended.
        if std::mem::replace(&mut seen[*op as usize], true) || (o.ret != NEVER && o.ret < latest_call) {
            return false;
        }
        if !o.act.pre().holds(state) {
            return false;
        }
        match o.act {
            Act::Set(_, to) => state = to,
            Act::Try(from, to) if from == state => state = to,
            Act::Look(_) | Act::Try(..) => {}
        }
    }
    task.ops.iter().zip(&seen).all(|(op, seen)| *seen || op.is_optional())
}

#[cfg(test)]
mod tests {
    use super::super::naive::{is_linearizable, random_task};
    use super::*;
    use crate::check::task::Op;
    use crate::rng::Rng;

    #[test]
    fn it_agrees_with_trying_everything() {
        let mut found = [0, 0];
        for seed in 0..60_000 {
            let task = random_task(&mut Rng::new(seed));
            let expected = is_linearizable(&task);
            let order = search(&task, &mut 1_000_000, if seed % 2 == 0 { 1000 } else { 1 }).unwrap();
            assert_eq!(order.is_some(), expected, "seed {seed}: {task:?}");
            assert!(order.is_none_or(|order| explains(&task, &order)), "seed {seed}: {task:?}");
            found[usize::from(expected)] += 1;
        }
        assert!(found.iter().all(|n| *n > 5_000), "one-sided: {found:?}");
    }

    #[test]
    fn an_order_that_explains_nothing_is_refused() {
        let op = |act, call, ret| Op { act, call, ret, source: 0 };
        let ops =
            [op(Act::Set(Pre::Any, 1), 0, 1), op(Act::Look(Pre::Is(1)), 2, 3), op(Act::Set(Pre::Any, 2), 4, NEVER)];
        let task = Task::new(0, &ops);
        assert!(explains(&task, &[0, 1]) && explains(&task, &[0, 1, 2]));
        for wrong in [&[0][..], &[1, 0], &[0, 2, 1], &[0, 1, 1], &[0, 1, 9]] {
            assert!(!explains(&task, wrong), "{wrong:?}");
        }
    }
}
