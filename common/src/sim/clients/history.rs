//! What was asked and answered, seen from outside: for checkers which know nothing of logs and places.
//!
//! Kept as small numbers. Values are made from their number and length, see [`Value`], so no history holds their bytes.

use crate::client::wire::ReadMode;
use crate::types::Micros;

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
}

/// The name of a key.
pub fn key_name(key: u32) -> String {
    format!("k{key}")
}

/// The first operations of a run, in the order they were asked.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Record>,
    limit: usize,
    /// The moment when the limit was passed. What was answered later counts as unknown, or the history would speak of
    /// effects whose causes it leaves out.
    cut: Option<Micros>,
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        Self { records: Vec::new(), limit, cut: None }
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
        let (asked, answered) = (now, Micros(u64::MAX));
        self.records.push(Record { client, key, action, asked, answered, fate: Fate::Unknown });
        Some(self.records.len() - 1)
    }

    pub(super) fn answered(&mut self, record: Option<usize>, fate: Fate, now: Micros) {
        if fate != Fate::Unknown
            && self.cut.is_none()
            && let Some(record) = record.and_then(|i| self.records.get_mut(i))
        {
            record.fate = fate;
            record.answered = now;
        }
    }
}
