//! What a search looks up about its task, all of it known before it starts.

use std::collections::BTreeMap;

use super::task::{Act, Ev, NEVER, Pre, Task, Val};
use super::zones::Zones;

/// Operations that may take effect at any time after their invocation, and do the same: once invoked they are as good as
/// each other, so it is enough to count them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) pre: Pre,
    pub(super) to: Val,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) classes: Vec<Class>,
    /// The class of an operation that stays open.
    pub(super) class_of: Vec<u32>,
    /// The members of each class, in the order of their invocations.
    pub(super) members: Vec<Vec<u32>>,
    /// The classes that make a value.
    pub(super) makers: Vec<Vec<u32>>,
    /// The classes that can tell a value.
    pub(super) class_tellers: Vec<Vec<u32>>,
    /// The bit of an operation that ends, unique among those which are open at the same time.
    pub(super) bit: Vec<u32>,
    /// Words that hold all bits.
    pub(super) words: usize,
    /// How many operations that end demand just this value.
    pub(super) need: Vec<u32>,
    /// How many operations can make this value.
    pub(super) supply: Vec<u32>,
    /// What the state must be.
    pub(super) zones: Zones,
    /// The values that operations name which can tell many values.
    pub(super) named: Vec<bool>,
    /// Where operations that can tell a value are invoked.
    tellers: Vec<Vec<u32>>,
    /// Where operations that can tell many values are invoked.
    many: Vec<u32>,
    /// From each place on, the first return of a setting operation that is also invoked there or later.
    overwritten: Vec<u32>,
}

impl Plan {
    /// None if there can be no order.
    pub(super) fn new(task: &Task) -> Option<Self> {
        let (mut need, mut supply) = (vec![0; task.values], vec![0; task.values]);
        for op in &task.ops {
            if let Some(v) = op.act.makes() {
                supply[v as usize] += 1;
            }
            if let (Pre::Is(v), false) = (op.act.pre(), op.is_optional()) {
                need[v as usize] += 1;
            }
        }
        if (0..task.values).any(|v| need[v] > 0 && supply[v] == 0 && v != task.init as usize) {
            return None;
        }
        let mut plan = Self {
            classes: Vec::new(),
            class_of: vec![NEVER; task.ops.len()],
            members: Vec::new(),
            makers: vec![Vec::new(); task.values],
            class_tellers: vec![Vec::new(); task.values],
            bit: Vec::new(),
            words: 0,
            zones: Zones::new(task, &supply)?,
            need,
            supply,
            named: vec![false; task.values],
            tellers: vec![Vec::new(); task.values],
            many: Vec::new(),
            overwritten: vec![NEVER; task.events.len() + 1],
        };
        plan.classify(task);
        plan.place(task);
        plan.assign_bits(task);
        Some(plan)
    }

    fn classify(&mut self, task: &Task) {
        let mut known = BTreeMap::new();
        let mut open: Vec<usize> = (0..task.ops.len()).filter(|i| task.ops[*i].is_optional()).collect();
        open.sort_unstable_by_key(|i| task.ops[*i].call);
        for i in open {
            let Act::Set(pre, to) = task.ops[i].act else { continue };
            let class = *known.entry((pre, to)).or_insert_with(|| {
                self.classes.push(Class { pre, to });
                self.members.push(Vec::new());
                let class = self.classes.len() as u32 - 1;
                self.makers[to as usize].push(class);
                if let Pre::Is(v) = pre {
                    self.class_tellers[v as usize].push(class);
                }
                class
            });
            self.class_of[i] = class;
            self.members[class as usize].push(i as u32);
        }
    }

    /// Finds where things happen.
    fn place(&mut self, task: &Task) {
        for op in &task.ops {
            if let Some(v) = op.act.tells() {
                self.tellers[v as usize].push(op.call);
            }
            if op.act.tells_many() {
                self.many.push(op.call);
                for v in [op.act.tells(), op.act.excludes()].into_iter().flatten() {
                    self.named[v as usize] = true;
                }
            }
            if let (Act::Set(..), false) = (op.act, op.is_optional()) {
                let first = &mut self.overwritten[op.call as usize];
                *first = op.ret.min(*first);
            }
        }
        self.tellers.iter_mut().for_each(|t| t.sort_unstable());
        self.many.sort_unstable();
        for place in (0..task.events.len()).rev() {
            self.overwritten[place] = self.overwritten[place].min(self.overwritten[place + 1]);
        }
    }

    fn assign_bits(&mut self, task: &Task) {
        self.bit = vec![NEVER; task.ops.len()];
        let (mut free, mut used) = (Vec::new(), 0);
        for ev in &task.events {
            match *ev {
                Ev::Call(op) if task.ops[op as usize].is_optional() => {}
                Ev::Call(op) => {
                    self.bit[op as usize] = free.pop().unwrap_or_else(|| {
                        used += 1;
                        used - 1
                    });
                }
                Ev::Return(op) => free.push(self.bit[op as usize]),
            }
        }
        self.words = used.div_ceil(64) as usize;
    }

    /// How many operations can tell many values.
    pub(super) fn many(&self) -> usize {
        self.many.len()
    }

    /// Whether something invoked at `from` or later could see a write of `v` that returns at `ret`: before another write
    /// must have covered it.
    pub(super) fn can_be_told(&self, v: Val, from: u32, ret: u32) -> bool {
        let covered = self.overwritten[ret as usize];
        let within = |calls: &[u32]| calls.get(calls.partition_point(|c| *c < from)).is_some_and(|c| *c < covered);
        within(&self.many) || within(&self.tellers[v as usize])
    }
}
