//! What was asked and answered, seen from outside: for checkers which know nothing of logs and places.
//!
//! Kept as small numbers. Values are made from their number and length, see [`Value`], so no history holds their bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::check::history as check;
use crate::client::wire::{ReadMode, SessionId};
use crate::types::{LogId, Micros};

/// A value that some client wrote: its number in 16 hexadecimal digits, then dots up to its length. No two are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Unique in a run.
    pub number: u64,
    /// In bytes, at least 16.
    pub len: u32,
}

/// The shortest value: its number alone.
pub(super) const VALUE_MIN: u64 = 16;

impl Value {
    /// Its bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![b'.'; self.len as usize];
        for (i, digit) in bytes.iter_mut().take(VALUE_MIN as usize).enumerate() {
            *digit = b"0123456789abcdef"[(self.number >> (60 - 4 * i) & 15) as usize];
        }
        bytes
    }

    /// The value with these bytes; None if nobody can have written it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (digits, rest) = bytes.split_at_checked(VALUE_MIN as usize)?;
        let number = digits.iter().try_fold(0, |n, d| Some(n << 4 | u64::from(char::from(*d).to_digit(16)?)))?;
        let len = u32::try_from(bytes.len()).ok()?;
        rest.iter().all(|b| *b == b'.').then_some(Self { number, len })
    }
}

/// What one operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in `kv::Command`")]
pub enum Action {
    Put { value: Value },
    Delete,
    CompareAndSet { expected: Option<Value>, value: Value },
    Get { mode: ReadMode },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows: it may have taken effect at any time since it was asked, or never, or may still do so.
    Unknown,
    /// It has had no effect and will have none.
    Failed,
    /// A put: the key is set. A compare-and-set: likewise.
    Set,
    /// A delete: whether the key was there.
    Deleted(bool),
    /// A compare-and-set: the key held something else, and this is what.
    Differs(Option<Value>),
    /// A get: what the key holds.
    Got(Option<Value>),
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who asked. A client may have asked several things at a time.
    pub client: u32,
    /// Of which key: its number, see [`key_name`].
    pub key: u32,
    /// What.
    pub action: Action,
    /// When.
    pub asked: Micros,
    /// When its fate was known; the end of time if it never was.
    pub answered: Micros,
    /// What came of it.
    pub fate: Fate,
    /// Where in the log, as far as its answer said so.
    pub at: Option<LogId>,
    /// The session of a write, and its number there, as far as it has one.
    pub session: Option<(SessionId, u64)>,
}

/// The name of a key.
pub fn key_name(key: u32) -> String {
    format!("k{key}")
}

/// Of one client at a time: see [`History::to_check`].
pub(super) const DEPTH_MAX: usize = 4;

/// More operations than this are not kept.
const LIMIT_MAX: usize = 1 << 24;

/// The first operations of a run, in the order they were asked.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Record>,
    /// Beginnings (true) and ends of the records, in the order in which they happened: times may be equal.
    order: Vec<(u32, bool)>,
    limit: usize,
    /// The moment when the limit was passed. What was answered later counts as unknown, or the history would speak of
    /// effects whose causes it leaves out.
    cut: Option<Micros>,
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.min(LIMIT_MAX), ..Self::default() }
    }

    /// The operations.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether operations were left out at the end.
    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// An operation is asked; its number here, unless the history is full.
    pub(super) fn asked(&mut self, client: u32, key: u32, action: Action, now: Micros) -> Option<usize> {
        if self.records.len() >= self.limit {
            self.cut.get_or_insert(now);
            return None;
        }
        let (asked, answered, fate) = (now, Micros(u64::MAX), Fate::Unknown);
        self.order.push((self.records.len() as u32, true));
        self.records.push(Record { client, key, action, asked, answered, fate, at: None, session: None });
        Some(self.records.len() - 1)
    }

    /// The operation has its outcome, if only that nobody will ever know it.
    pub(super) fn answered(&mut self, record: usize, fate: Fate, at: Option<LogId>, now: Micros) {
        if self.cut.is_none()
            && let Some(found) = self.records.get_mut(record)
        {
            self.order.push((record as u32, false));
            found.fate = fate;
            found.at = at;
            if fate != Fate::Unknown {
                found.answered = now;
            }
        }
    }

    /// The write has a name.
    pub(super) fn named(&mut self, record: usize, session: SessionId, seq: u64) {
        if let Some(found) = self.records.get_mut(record) {
            found.session = Some((session, seq));
        }
    }

    /// The same as events, in the form for checkers that know nothing of logs. A client with several operations under way
    /// counts as several processes, numbered from four times its own number on.
    pub fn to_check(&self) -> check::History {
        let mut events = check::History::default();
        let mut busy = BTreeMap::new();
        for (number, begins) in &self.order {
            let record = &self.records[*number as usize];
            let first = u64::from(record.client) * DEPTH_MAX as u64;
            let (process, time, what) = if *begins {
                let process = (first..first + DEPTH_MAX as u64).find(|p| !busy.contains_key(p)).unwrap_or(first);
                busy.insert(process, number);
                (process, record.asked, check::What::Invoke { key: key_name(record.key).into(), call: record.call() })
            } else {
                let process = (first..first + DEPTH_MAX as u64).find(|p| busy.get(p) == Some(&number)).unwrap_or(first);
                busy.remove(&process);
                // The moment at which it was given up is not kept; any later than the event before will do.
                let before = events.events.last().map_or(Micros(0), |e| e.time);
                (process, if record.fate == Fate::Unknown { before } else { record.answered }, record.end())
            };
            let (at, session) = if *begins { (None, record.session) } else { (record.at, None) };
            events.events.push(check::Event { process, time, what, at, session });
        }
        events
    }
}

fn bytes(value: Value) -> Bytes {
    value.to_bytes().into()
}

impl Record {
    fn call(&self) -> check::Call {
        match self.action {
            Action::Put { value } => check::Call::Write(bytes(value)),
            Action::Delete => check::Call::Delete,
            Action::CompareAndSet { expected, value } => {
                check::Call::Cas { expected: expected.map(bytes), value: bytes(value) }
            }
            Action::Get { mode } => check::Call::Read { local: !mode.is_linearizable() },
        }
    }

    fn end(&self) -> check::What {
        check::What::Ok(match self.fate {
            Fate::Unknown => return check::What::Info,
            Fate::Failed => return check::What::Fail,
            Fate::Set if matches!(self.action, Action::CompareAndSet { .. }) => check::Outcome::Swapped,
            Fate::Set => check::Outcome::Done,
            Fate::Deleted(existed) => check::Outcome::Deleted { existed },
            Fate::Differs(found) => check::Outcome::Differs { found: Some(found.map(bytes)) },
            Fate::Got(value) => check::Outcome::Value(value.map(bytes)),
        })
    }
}
