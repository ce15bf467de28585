//! What the committed commands do, worked out a second time: sessions and keys, each key with all of its past.
//!
//! Nothing here is taken from [`state_machine`](crate::state_machine) but its documented rules and the forms of its
//! messages. A mistake would have to be made twice, in two shapes, to go unseen.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::xxh3_64;

use crate::client::wire::SessionId;
use crate::state_machine::SessionLimits;
use crate::state_machine::kv::{Answer, Command, KvLimits, Part};
use crate::types::{LogId, Micros};

/// A value as the model keeps it. Two values are taken for equal when their hashes (XXH3, 64 bits) and lengths are: so
/// the model stays small whatever is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    hash: u64,
    len: u32,
}

impl Value {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { hash: xxh3_64(bytes), len: bytes.len() as u32 }
    }
}

/// What the store must answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Done,
    Deleted { existed: bool },
    Differs { found: Option<Value> },
    TooLong { part: Part, bytes: u64, allowed: u64 },
    Malformed,
}

impl Expected {
    /// Whether a node's answer is this one.
    pub(super) fn is(self, body: &[u8]) -> bool {
        self.len() == body.len()
            && match Answer::decode(body) {
                Ok(Answer::Done) => self == Self::Done,
                Ok(Answer::Deleted { existed }) => self == Self::Deleted { existed },
                Ok(Answer::Differs { found }) => self == Self::Differs { found: found.map(Value::of) },
                Ok(Answer::TooLong { part, bytes, allowed }) => self == Self::TooLong { part, bytes, allowed },
                Ok(Answer::Malformed) => self == Self::Malformed,
                Ok(Answer::Value { .. } | Answer::List { .. } | Answer::Count(_)) | Err(_) => false,
            }
    }

    /// How long its postcard form is: answers are kept up to a number of bytes.
    fn len(self) -> usize {
        match self {
            Self::Done | Self::Malformed => 1,
            Self::Deleted { .. } | Self::Differs { found: None } => 2,
            Self::Differs { found: Some(v) } => 2 + varint(v.len.into()) + v.len as usize,
            Self::TooLong { bytes, allowed, .. } => 2 + varint(bytes) + varint(allowed),
        }
    }
}

/// The bytes of a number on the wire: seven bits in each.
fn varint(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

/// The first time a command was carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) at: LogId,
    pub(super) expected: Expected,
    /// Whether its answer fitted into the session.
    pub(super) kept: bool,
}

/// A number of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Write {
    /// Attempts.
    pub(super) tally: Tally,
    /// The hash of its command.
    pub(super) command: u64,
    /// What came of it.
    pub(super) done: Option<Done>,
}

/// Requests that would put the same thing in the log, and how often it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u32,
    pub(super) refused: u32,
    pub(super) seen: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Whether nodes still know it.
    pub(super) known: bool,
    /// Whether a client was told that it is its own.
    pub(super) claimed: bool,
    pub(super) floor: u64,
    used: LogId,
    /// When that was committed, by the world's clock.
    used_at: Micros,
    /// The highest number carried out.
    top: u64,
    /// Of the answers kept from the floor on.
    bytes: usize,
    /// By number, from 1.
    writes: Vec<Write>,
}

impl Session {
    pub(super) fn write(&self, seq: u64) -> Option<&Write> {
        self.writes.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    pub(super) fn write_mut(&mut self, seq: u64) -> Option<&mut Write> {
        self.writes.get_mut(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    /// Makes room for what is known of this number.
    pub(super) fn reserve(&mut self, seq: u64) {
        if self.writes.len() < seq as usize {
            self.writes.resize(seq as usize, Write::default());
        }
    }

    /// What it counts for in [`SessionLimits::total_bytes`]: 256 bytes, 64 for each number from the floor to the
    /// highest one carried out, and its answers.
    fn weight(&self) -> usize {
        256 + 64 * (self.top + 1).saturating_sub(self.floor) as usize + self.bytes
    }

    fn raise_floor(&mut self, floor: u64) {
        for seq in self.floor..floor.min(self.writes.len() as u64 + 1) {
            if let Some(Done { kept: true, expected, .. }) = self.write(seq).and_then(|w| w.done) {
                self.bytes -= expected.len();
            }
        }
        self.floor = self.floor.max(floor);
    }
}

/// What a key held from some place on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) at: LogId,
    pub(super) value: Option<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    limits: SessionLimits,
    kv: KvLimits,
    /// All that were ever opened.
    sessions: BTreeMap<SessionId, Session>,
    known: usize,
    /// The weights of those that are known.
    bytes: usize,
    /// Every value each key ever had. Never pruned: a world's writes are few, and a version is small.
    keys: HashMap<Box<[u8]>, Vec<Version>>,
}

impl Model {
    pub(super) fn new(limits: SessionLimits, kv: KvLimits) -> Self {
        Self { limits, kv, ..Self::default() }
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(super) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Opens the session named by `at`.
    pub(super) fn open(&mut self, at: LogId, now: Micros) {
        let session = Session { known: true, floor: 1, used: at, used_at: now, ..Session::default() };
        self.bytes += session.weight();
        self.known += 1;
        self.sessions.insert(SessionId(at), session);
        while self.known > self.limits.sessions.max(1) && self.expire(SessionId(at)) {}
        while self.bytes > self.limits.total_bytes && self.expire(SessionId(at)) {}
    }

    /// Carries a command out, if the session's rules permit it. Numbers nobody reserved are not carried out.
    pub(super) fn write(&mut self, at: LogId, now: Micros, id: SessionId, seq: u64, floor: u64, command: &[u8]) {
        let limits = self.limits;
        let Some(session) = self.sessions.get_mut(&id).filter(|s| s.known) else { return };
        let before = session.weight();
        (session.used, session.used_at) = (at, now);
        let mut fresh = false;
        if floor <= seq {
            session.raise_floor(floor);
            let open = seq >= session.floor && seq - session.floor < limits.window;
            fresh = open && session.write(seq).is_some_and(|w| w.done.is_none());
        }
        if fresh {
            let expected = execute(&mut self.keys, self.kv, at, command);
            let kept = session.bytes + expected.len() <= limits.answer_bytes;
            if kept {
                session.bytes += expected.len();
            }
            session.top = session.top.max(seq);
            if let Some(write) = session.write_mut(seq) {
                write.done = Some(Done { at, expected, kept });
            }
        }
        self.bytes = self.bytes - before + session.weight();
        while self.bytes > limits.total_bytes && self.expire(id) {}
    }

    /// Forgets the session that was unused for longest, but not this one.
    fn expire(&mut self, spared: SessionId) -> bool {
        let others = self.sessions.iter_mut().filter(|(id, s)| s.known && **id != spared);
        let Some((_, oldest)) = others.min_by_key(|(id, s)| (s.used, **id)) else { return false };
        oldest.known = false;
        self.known -= 1;
        self.bytes -= oldest.weight();
        true
    }

    /// Forgets what was last used at or before `upto`. Gives the time when the last of it was used.
    pub(super) fn expire_idle(&mut self, upto: LogId) -> Option<(SessionId, Micros)> {
        let mut last = None;
        for (id, session) in self.sessions.iter_mut().filter(|(_, s)| s.known && s.used <= upto) {
            session.known = false;
            self.known -= 1;
            self.bytes -= session.weight();
            if last.is_none_or(|(_, at)| session.used_at > at) {
                last = Some((*id, session.used_at));
            }
        }
        last
    }

    /// How many sessions are known.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// Everything that a key ever held, in order.
    pub(super) fn versions(&self, key: &[u8]) -> &[Version] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// What a key holds once everything up to `at` is applied.
    pub(super) fn value_at(&self, key: &[u8], at: LogId) -> Option<Value> {
        let versions = self.versions(key);
        let n = versions.partition_point(|v| v.at <= at);
        n.checked_sub(1).and_then(|i| versions[i].value)
    }
}

/// What a command does to its key, and what it is answered.
fn execute(keys: &mut HashMap<Box<[u8]>, Vec<Version>>, limits: KvLimits, at: LogId, command: &[u8]) -> Expected {
    let Ok(command) = Command::decode(command) else { return Expected::Malformed };
    let (key, new) = match command {
        Command::Put { key, value } | Command::CompareAndSet { key, value, .. } => (key, Some(value)),
        Command::Delete { key } => (key, None),
    };
    if let Some(value) = new {
        let parts = [(Part::Key, key, limits.key_bytes), (Part::Value, value, limits.value_bytes)];
        if let Some((part, bytes, allowed)) = parts.into_iter().find(|(_, bytes, allowed)| bytes.len() > *allowed) {
            return Expected::TooLong { part, bytes: bytes.len() as u64, allowed: allowed as u64 };
        }
    }
    let held = keys.get(key).and_then(|versions| versions.last()).and_then(|v| v.value);
    let expected = match command {
        Command::Put { .. } => Expected::Done,
        Command::Delete { .. } => Expected::Deleted { existed: held.is_some() },
        Command::CompareAndSet { expected, .. } if held == expected.map(Value::of) => Expected::Done,
        Command::CompareAndSet { .. } => return Expected::Differs { found: held },
    };
    if new.is_some() || held.is_some() {
        let version = Version { at, value: new.map(Value::of) };
        match keys.get_mut(key) {
            Some(versions) => versions.push(version),
            None => drop(keys.insert(key.into(), vec![version])),
        }
    }
    expected
}
