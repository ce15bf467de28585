//! One key's operations as the search wants them: values are numbers, and only the order of events is left.
//!
//! A history over many keys is linearizable exactly if the part of each key is (locality, section 3.1 of Herlihy and
//! Wing), so every key is a task of its own, and much smaller.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::history::{Call, End, History, Operation, Outcome};

/// A value's number within one task.
pub(super) type Val = u32;
/// The number of "the key is absent".
pub(super) const ABSENT: Val = 0;
/// No event: the return of an operation that stays open.
pub(super) const NEVER: u32 = u32::MAX;

/// What must hold of the state for an operation to be in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pre {
    Any,
    Is(Val),
    Not(Val),
}

impl Pre {
    pub(super) fn holds(self, state: Val) -> bool {
        match self {
            Self::Any => true,
            Self::Is(v) => state == v,
            Self::Not(v) => state != v,
        }
    }
}

/// What an operation demands of the state and makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Looks and changes nothing.
    Look(Pre),
    /// Changes the state. Only a delete that found something has [`Pre::Not`] here, and makes just what it names there.
    Set(Pre, Val),
    /// Changes the state from the first to the second; in any other state it changes nothing.
    Try(Val, Val),
}

impl Act {
    pub(super) fn pre(self) -> Pre {
        match self {
            Self::Look(pre) | Self::Set(pre, _) => pre,
            Self::Try(..) => Pre::Any,
        }
    }

    /// The state it can make.
    pub(super) fn makes(self) -> Option<Val> {
        match self {
            Self::Look(_) => None,
            Self::Set(_, v) | Self::Try(_, v) => Some(v),
        }
    }

    /// The value whose presence it can tell.
    pub(super) fn tells(self) -> Option<Val> {
        match self {
            Self::Look(Pre::Is(v)) | Self::Set(Pre::Is(v), _) | Self::Try(v, _) => Some(v),
            _ => None,
        }
    }

    /// The value that must not be there.
    pub(super) fn excludes(self) -> Option<Val> {
        match self.pre() {
            Pre::Not(v) => Some(v),
            Pre::Any | Pre::Is(_) => None,
        }
    }

    /// Whether it can tell between several other values.
    pub(super) fn tells_many(self) -> bool {
        matches!(self, Self::Look(Pre::Not(_)) | Self::Set(Pre::Not(_), _) | Self::Try(..))
    }

    /// What is left of it when its answer is not known and it may never have taken effect. None: nothing.
    pub(super) fn relaxed(self) -> Option<Self> {
        match self {
            Self::Look(_) => None,
            // Where it would not fit, it would change nothing.
            Self::Set(Pre::Not(from), to) if from == to => Some(Self::Set(Pre::Any, to)),
            Self::Set(..) => Some(self),
            Self::Try(from, to) => Some(Self::Set(Pre::Is(from), to)),
        }
    }
}

/// An operation of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) act: Act,
    /// The event that invoked it, in the whole history or in the task.
    pub(super) call: u32,
    /// The event that ended it, likewise. [`NEVER`]: it may take effect at any time after `call`, or never.
    pub(super) ret: u32,
    /// Its number in the list of operations.
    pub(super) source: u32,
}

impl Op {
    pub(super) fn is_optional(&self) -> bool {
        self.ret == NEVER
    }
}

/// The operations of one key, with places in the whole history.
#[derive(Clone, Debug)]
pub(super) struct KeyOps {
    pub(super) init: Val,
    pub(super) ops: Vec<Op>,
}

/// Numbers for values.
#[derive(Debug, Default)]
struct Values(BTreeMap<Bytes, Val>, Val);

impl Values {
    fn fresh(&mut self) -> Val {
        self.1 += 1;
        self.1
    }

    fn of(&mut self, value: Option<&Bytes>) -> Val {
        let Some(value) = value else { return ABSENT };
        if let Some(known) = self.0.get(value) {
            return *known;
        }
        let new = self.fresh();
        self.0.insert(value.clone(), new);
        new
    }
}

/// The operations of each key, in the order of the keys, without those that say nothing.
pub(super) fn split(history: &History, operations: &[Operation]) -> Vec<(Bytes, KeyOps)> {
    let mut keys: BTreeMap<&Bytes, (Values, KeyOps)> = BTreeMap::new();
    for (i, operation) in operations.iter().enumerate() {
        let (values, key) = keys.entry(&operation.key).or_insert_with(|| {
            let mut values = Values::default();
            let init = values.of(history.initial.get(&operation.key));
            (values, KeyOps { init, ops: Vec::new() })
        });
        let Some(act) = act(values, operation) else { continue };
        let ret = match (&operation.end, operation.ended) {
            (End::Ok(_), Some(at)) => at as u32,
            _ => NEVER,
        };
        key.ops.push(Op { act, call: operation.invoked as u32, ret, source: i as u32 });
    }
    keys.into_iter().map(|(key, (_, ops))| (key.clone(), ops)).collect()
}

/// What the operation demands and does; None if it says nothing: it was not carried out, or may be stale, or nobody
/// heard what it read.
fn act(values: &mut Values, operation: &Operation) -> Option<Act> {
    let outcome = match &operation.end {
        End::Fail => return None,
        End::Unknown => None,
        End::Ok(outcome) => Some(outcome),
    };
    let act = match (&operation.call, outcome) {
        (Call::Read { local: true }, _) => return None,
        (Call::Read { .. }, Some(Outcome::Value(v))) => Act::Look(Pre::Is(values.of(v.as_ref()))),
        (Call::Read { .. }, _) => return None,
        (Call::Write(v), _) => Act::Set(Pre::Any, values.of(Some(v))),
        (Call::Delete, Some(Outcome::Deleted { existed: true })) => Act::Set(Pre::Not(ABSENT), ABSENT),
        (Call::Delete, Some(Outcome::Deleted { existed: false })) => Act::Look(Pre::Is(ABSENT)),
        (Call::Delete, _) => Act::Set(Pre::Any, ABSENT),
        (Call::Cas { expected, value }, outcome) => {
            let (from, to) = (values.of(expected.as_ref()), values.of(Some(value)));
            match outcome {
                Some(Outcome::Differs { found: None }) => Act::Look(Pre::Not(from)),
                Some(Outcome::Differs { found: Some(found) }) => match values.of(found.as_ref()) {
                    // It found what it expected and says that it did not: true of no state.
                    found if found == from => Act::Look(Pre::Is(values.fresh())),
                    found => Act::Look(Pre::Is(found)),
                },
                Some(Outcome::Swapped) if from == to => Act::Look(Pre::Is(from)),
                _ if from == to => return None,
                Some(Outcome::Swapped) | None => Act::Set(Pre::Is(from), to),
                Some(_) => Act::Try(from, to),
            }
        }
    };
    Some(act)
}

/// An event of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ev {
    Call(u32),
    Return(u32),
}

/// What is searched: operations, and their events in order. Places of operations are positions in `events`.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) init: Val,
    pub(super) ops: Vec<Op>,
    pub(super) events: Vec<Ev>,
    /// One more than the greatest value.
    pub(super) values: usize,
}

impl Task {
    /// Of these operations, whose places may be any numbers, each used once.
    pub(super) fn new(init: Val, ops: &[Op]) -> Self {
        let mut places: Vec<(u32, Ev)> = Vec::with_capacity(2 * ops.len());
        for (i, op) in ops.iter().enumerate() {
            places.push((op.call, Ev::Call(i as u32)));
            if !op.is_optional() {
                places.push((op.ret, Ev::Return(i as u32)));
            }
        }
        places.sort_unstable_by_key(|(place, _)| *place);
        let mut ops = ops.to_vec();
        for (place, (_, ev)) in places.iter().enumerate() {
            match *ev {
                Ev::Call(op) => ops[op as usize].call = place as u32,
                Ev::Return(op) => ops[op as usize].ret = place as u32,
            }
        }
        let numbers = ops.iter().flat_map(|o| [o.act.makes(), o.act.tells(), o.act.excludes()]).flatten();
        let values = numbers.chain([init]).max().unwrap_or(ABSENT) as usize + 1;
        Self { init, ops, events: places.into_iter().map(|(_, ev)| ev).collect(), values }
    }
}
