//! The part of a history that has no order.

use bytes::Bytes;

use super::explain::Core;
use super::history::{History, Operation};
use super::task::Act;

/// The smallest part that was found, all of one key: take any one operation out of it, and there is an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// The key.
    pub key: Bytes,
    /// How many keys have no order.
    pub keys: usize,
    /// The first event, counted from 0, after which there is no order any more: an answer. What is before it is
    /// linearizable, for this key.
    pub event: usize,
    /// How many operations of this key were invoked before that event.
    pub before: usize,
    /// The operations that cannot be ordered, by their invocation.
    pub operations: Vec<Involved>,
    /// Which of them was answered at `event`.
    pub culprit: usize,
    /// An order that explains the others, as positions in `operations`. The culprit can be among them if it changes
    /// something: then its effect fits and its answer comes too early or too late.
    pub order: Option<Vec<usize>>,
    /// What the key holds after that order. None: absent.
    pub state: Option<Bytes>,
    /// Whether really none of them can go. False if the limit was reached before that was known.
    pub minimal: bool,
}

/// An operation in an [`Offence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Involved {
    /// The operation.
    pub operation: Operation,
    /// Whether its end matters. Otherwise it is enough to know that it was invoked when it was: even if it took effect at
    /// any time after that, or never, there is no order.
    pub ends: bool,
}

impl Offence {
    pub(super) fn of(key: &Bytes, core: &Core, keys: usize, history: &History, operations: &[Operation]) -> Self {
        let last = core.order.iter().flatten().rev().find(|op| changes(core, **op));
        let state = match last {
            Some(op) => value_of(&operations[core.ops[*op as usize].source as usize]),
            None => history.initial.get(key).cloned(),
        };
        Self {
            key: key.clone(),
            keys,
            event: core.ops[core.culprit].ret as usize,
            before: core.before,
            operations: core
                .ops
                .iter()
                .map(|op| Involved { operation: operations[op.source as usize].clone(), ends: !op.is_optional() })
                .collect(),
            culprit: core.culprit,
            order: core.order.as_ref().map(|order| order.iter().map(|op| *op as usize).collect()),
            state,
            minimal: core.minimal,
        }
    }
}

/// Whether this operation of the order made the state that it ends in.
fn changes(core: &Core, op: u32) -> bool {
    match core.ops[op as usize].act {
        Act::Set(_, to) | Act::Try(_, to) => to == core.state,
        Act::Look(_) => false,
    }
}

fn value_of(operation: &Operation) -> Option<Bytes> {
    use super::history::Call;
    match &operation.call {
        Call::Write(value) | Call::Cas { value, .. } => Some(value.clone()),
        Call::Delete | Call::Read { .. } => None,
    }
}
