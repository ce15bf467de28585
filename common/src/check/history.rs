//! What clients asked and heard, in the order in which it happened.
//!
//! Each process does one thing at a time: an invocation, then what came of it. Two operations are concurrent if each was
//! invoked before the other one was answered; otherwise the one answered first is before the other. That order is taken
//! from the order of the events, not from their times, which may be equal.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::client::wire::SessionId;
use crate::types::{LogId, Micros};

/// What a history is judged by. In each of them all keys are absent at first, unless [`History::initial`] says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// One register: read and write. Its key is the empty one.
    Register,
    /// One register: read, write, and compare-and-set. Its key is the empty one.
    CasRegister,
    /// A register for each key: get, put, delete, and compare-and-set.
    Kv,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Register, Self::CasRegister, Self::Kv];

    /// Its name: `register`, `cas-register`, `kv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::Kv => "kv",
        }
    }

    /// The model of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a process asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// The value of the key.
    Read {
        /// It may be stale; such a read is kept and not judged.
        local: bool,
    },
    /// Sets the key.
    Write(Bytes),
    /// Removes the key.
    Delete,
    /// Sets the key if it is as expected.
    Cas {
        /// What it must hold; None: it must be absent.
        expected: Option<Bytes>,
        /// To what.
        value: Bytes,
    },
}

/// What came of a call that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The call was carried out, once. Of a delete it is not said whether the key existed, of a compare-and-set not whether
    /// it was as expected. Not for reads.
    Done,
    /// A read's answer: what the key holds, None if it is absent.
    Value(Option<Bytes>),
    /// A delete's answer.
    Deleted {
        /// Whether the key was there.
        existed: bool,
    },
    /// A compare-and-set found what it expected, and has set the key.
    Swapped,
    /// A compare-and-set found something else, and has changed nothing.
    Differs {
        /// What it found (None inside: the key was absent), if that is known.
        found: Option<Option<Bytes>>,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The process asks.
    Invoke {
        /// Of which key. Empty for a register.
        key: Bytes,
        /// What.
        call: Call,
    },
    /// It was carried out between the invocation and now.
    Ok(Outcome),
    /// It was not carried out and never will be.
    Fail,
    /// Nobody knows: it may take effect at any time after its invocation, or never. A call without an end says the same.
    Info,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Who. Each process has at most one call open; after [`What::Info`] it may go on.
    pub process: u64,
    /// When, in microseconds on the clock of whoever recorded it. Never earlier than the event before.
    pub time: Micros,
    /// What.
    pub what: What,
    /// Where in the log the system says that it took place. Not looked at by the checker, which believes no system.
    pub at: Option<LogId>,
    /// The client session and the number in it that the call was sent with. Not looked at either.
    pub session: Option<(SessionId, u64)>,
}

impl Event {
    /// An event of `process` at `time`, without place and session.
    pub fn new(process: u64, time: Micros, what: What) -> Self {
        Self { process, time, what, at: None, session: None }
    }
}

/// What clients asked and heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What keys hold before the first event. All others are absent.
    pub initial: BTreeMap<Bytes, Bytes>,
    /// What happened, in order. At most [`EVENTS_MAX`].
    pub events: Vec<Event>,
}

/// The longest history that is taken: what the checker remembers grows with it.
pub const EVENTS_MAX: usize = 20_000_000;

/// Why a list of events is no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe(&|event| format!("event {event}")))]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum HistoryError {
    /// A process has two calls open.
    Busy { event: usize, process: u64, open: usize },
    /// A process hears of something that it did not ask.
    Idle { event: usize, process: u64 },
    /// Time goes back.
    Time { event: usize, time: u64, before: u64 },
    /// The model has no such call.
    Call { event: usize, op: &'static str, model: Model },
    /// A register has no keys.
    Key { event: usize, model: Model },
    /// An answer to another question.
    Outcome { event: usize, outcome: &'static str, op: &'static str },
    /// More than [`EVENTS_MAX`].
    TooLong { events: usize },
}

impl HistoryError {
    /// What is wrong, with each event named by `place`.
    pub fn describe(&self, place: &dyn Fn(usize) -> String) -> String {
        match self {
            Self::Busy { event, process, open } => format!(
                "{}: process {process} is still busy with what it invoked at {}; it must hear of that first",
                place(*event),
                place(*open)
            ),
            Self::Idle { event, process } => {
                format!(
                    "{}: process {process} has nothing open that could end; an `invoke` must come first",
                    place(*event)
                )
            }
            Self::Time { event, time, before } => {
                let place = place(*event);
                format!(
                    "{place}: t = {time} µs is before the time of the event above it ({before} µs); it must not go back"
                )
            }
            Self::Call { event, op, model } => {
                format!("{}: op = {op} is not in the model `{model}`, which has {}", place(*event), model.calls())
            }
            Self::Key { event, model } => {
                format!("{}: the model `{model}` has no keys; leave `key` out, or take the model `kv`", place(*event))
            }
            Self::Outcome { event, outcome, op } => format!("{}: {outcome} is no outcome of a {op}", place(*event)),
            Self::TooLong { events } => format!("{events} events are too many; at most {EVENTS_MAX} are taken"),
        }
    }
}

/// One call from its invocation to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who.
    pub process: u64,
    /// Of which key.
    pub key: Bytes,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub end: End,
    /// The event that invoked it, counted from 0.
    pub invoked: usize,
    /// The event that ended it. None: it stays open.
    pub ended: Option<usize>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was carried out.
    Ok(Outcome),
    /// It was not and never will be.
    Fail,
    /// Nobody knows.
    Unknown,
}

impl Call {
    /// Its name in this model.
    pub fn name(&self, model: Model) -> &'static str {
        match (self, model) {
            (Self::Read { .. }, Model::Kv) => "get",
            (Self::Read { .. }, _) => "read",
            (Self::Write(_), Model::Kv) => "put",
            (Self::Write(_), _) => "write",
            (Self::Delete, _) => "delete",
            (Self::Cas { .. }, _) => "cas",
        }
    }

    fn takes(&self, outcome: &Outcome) -> bool {
        matches!(
            (self, outcome),
            (Self::Read { .. }, Outcome::Value(_))
                | (Self::Write(_) | Self::Delete | Self::Cas { .. }, Outcome::Done)
                | (Self::Delete, Outcome::Deleted { .. })
                | (Self::Cas { .. }, Outcome::Swapped | Outcome::Differs { .. })
        )
    }
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Done => "`done` without a result",
            Self::Value(_) => "a value",
            Self::Deleted { .. } => "whether it existed",
            Self::Swapped => "`swapped`",
            Self::Differs { .. } => "`not swapped`",
        }
    }
}

impl Model {
    /// What can be asked, for messages to people.
    pub fn calls(self) -> &'static str {
        match self {
            Self::Register => "read, write",
            Self::CasRegister => "read, write, cas",
            Self::Kv => "get, put, delete, cas",
        }
    }

    fn has(self, call: &Call) -> bool {
        match call {
            Call::Read { .. } | Call::Write(_) => true,
            Call::Cas { .. } => self != Self::Register,
            Call::Delete => self == Self::Kv,
        }
    }
}

impl History {
    /// Adds an event at the end.
    pub fn push(&mut self, process: u64, time: Micros, what: What) {
        self.events.push(Event::new(process, time, what));
    }

    /// Pairs invocations with their ends, in the order of the invocations.
    pub fn operations(&self, model: Model) -> Result<Vec<Operation>, HistoryError> {
        if self.events.len() > EVENTS_MAX {
            return Err(HistoryError::TooLong { events: self.events.len() });
        }
        let mut ops: Vec<Operation> = Vec::with_capacity(self.events.len() / 2);
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut before = Micros::default();
        for (i, event) in self.events.iter().enumerate() {
            if event.time < before {
                return Err(HistoryError::Time { event: i, time: event.time.0, before: before.0 });
            }
            before = event.time;
            let process = event.process;
            if let What::Invoke { key, call } = &event.what {
                if let Some(busy) = open.get(&process) {
                    return Err(HistoryError::Busy { event: i, process, open: ops[*busy].invoked });
                }
                check_call(model, i, key, call)?;
                open.insert(process, ops.len());
                let (key, call) = (key.clone(), call.clone());
                ops.push(Operation { process, key, call, end: End::Unknown, invoked: i, ended: None });
                continue;
            }
            let op = &mut ops[open.remove(&process).ok_or(HistoryError::Idle { event: i, process })?];
            op.ended = Some(i);
            op.end = match &event.what {
                What::Ok(outcome) if !op.call.takes(outcome) => {
                    let (outcome, op) = (outcome.name(), op.call.name(model));
                    return Err(HistoryError::Outcome { event: i, outcome, op });
                }
                What::Ok(outcome) => End::Ok(outcome.clone()),
                What::Fail => End::Fail,
                What::Info | What::Invoke { .. } => End::Unknown,
            };
        }
        Ok(ops)
    }
}

fn check_call(model: Model, event: usize, key: &Bytes, call: &Call) -> Result<(), HistoryError> {
    if !model.has(call) {
        return Err(HistoryError::Call { event, op: call.name(model), model });
    }
    if model != Model::Kv && !key.is_empty() {
        return Err(HistoryError::Key { event, model });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoke(call: Call) -> What {
        What::Invoke { key: Bytes::new(), call }
    }

    fn history(events: Vec<(u64, u64, What)>) -> History {
        let mut h = History::default();
        for (process, time, what) in events {
            h.push(process, Micros(time), what);
        }
        h
    }

    #[test]
    fn invocations_are_paired_with_their_ends() {
        let read = Call::Read { local: false };
        let h = history(vec![
            (1, 0, invoke(Call::Write("a".into()))),
            (2, 0, invoke(read.clone())),
            (1, 3, What::Info),
            (1, 3, invoke(Call::Delete)),
            (2, 4, What::Ok(Outcome::Value(None))),
            (1, 5, What::Fail),
            (2, 6, invoke(read)),
        ]);
        let ops = h.operations(Model::Kv).unwrap();
        let ends: Vec<_> = ops.iter().map(|o| (o.process, o.invoked, o.ended, o.end.clone())).collect();
        let value = End::Ok(Outcome::Value(None));
        let expected = [
            (1, 0, Some(2), End::Unknown),
            (2, 1, Some(4), value),
            (1, 3, Some(5), End::Fail),
            (2, 6, None, End::Unknown),
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn what_is_no_history_is_refused() {
        let read = || invoke(Call::Read { local: false });
        let refused = |model, events| history(events).operations(model).unwrap_err().to_string();
        let busy = refused(Model::Kv, vec![(7, 0, read()), (7, 1, read())]);
        assert!(busy.contains("event 1: process 7 is still busy with what it invoked at event 0"), "{busy}");
        assert!(refused(Model::Kv, vec![(7, 0, What::Fail)]).contains("nothing open"));
        assert!(
            refused(Model::Kv, vec![(7, 5, read()), (7, 4, What::Fail)]).contains("before the time of the event above")
        );
        let call = refused(Model::CasRegister, vec![(7, 5, invoke(Call::Delete))]);
        assert!(call.contains("delete is not in the model `cas-register`, which has read, write, cas"), "{call}");
        let keyed = What::Invoke { key: "k".into(), call: Call::Read { local: false } };
        assert!(refused(Model::Register, vec![(7, 5, keyed)]).contains("has no keys"));
        let outcome = refused(Model::Kv, vec![(7, 5, read()), (7, 5, What::Ok(Outcome::Swapped))]);
        assert!(outcome.contains("`swapped` is no outcome of a get"), "{outcome}");
    }
}
