//! The key-value store: byte strings under byte strings, in order.
//!
//! **Deterministic.** Whatever a command's bytes are, every node answers them alike: a command that cannot be decoded,
//! or is over a limit, is answered so and changes nothing. The limits are therefore part of the machine, the same on all
//! nodes.
//!
//! **Frozen in constant time.** The state is a persistent ordered map, so a snapshot shares it with the running machine
//! and later writes copy only the tree nodes they touch. Without that, a snapshot stops the node for as long as the
//! state is large.
//!
//! **Hashed as it goes.** Every pair has a hash and the state's is their wrapping sum, so that one write costs one
//! subtraction and one addition, and the order of insertion does not show. It is meant to find replicas which diverged by a
//! mistake; it does not resist someone who looks for collisions.
//!
//! **Holds on to nothing else.** A command is a borrowed view of the entry it came in; its key and value are copied once,
//! each into an allocation of its own, so no block of a thousand commands lives on for the sake of one.
//!
//! ```
//! use common::state_machine::{KvStore, StateMachine, kv::{Answer, Command, Query}};
//!
//! let mut store = KvStore::default();
//! let done = store.apply(&Command::Put { key: b"name", value: b"duet" }.to_bytes());
//! assert_eq!(Answer::decode(&done), Ok(Answer::Done));
//!
//! let swap = Command::CompareAndSet { key: b"name", expected: Some(b"solo"), value: b"trio" };
//! let found = store.apply(&swap.to_bytes());
//! assert_eq!(Answer::decode(&found), Ok(Answer::Differs { found: Some(b"duet") }));
//!
//! let read = store.query(&Query::Get { key: b"name" }.to_bytes());
//! assert_eq!(Answer::decode(&read), Ok(Answer::Value { value: Some(b"duet") }));
//! ```

// What serde's derive writes for a borrowed optional byte string; not ours to simplify.
#![allow(clippy::ref_option_ref)]

use std::io::{self, Read, Write};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::stream::{checked_len, damaged, get_array, get_into, get_u32, get_u64, put_u32, put_u64};
use super::{Frozen, StateMachine};
use crate::mutant;

/// A change to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command<'a> {
    /// Sets a key. Answered [`Answer::Done`].
    Put {
        /// Which.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
        /// To what.
        #[serde(borrow, with = "serde_bytes")]
        value: &'a [u8],
    },
    /// Removes a key. Answered [`Answer::Deleted`].
    Delete {
        /// Which.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
    },
    /// Sets a key if it is as expected. Answered [`Answer::Done`] or [`Answer::Differs`].
    CompareAndSet {
        /// Which.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
        /// What it must hold; None means that it must not exist.
        #[serde(borrow, with = "serde_bytes")]
        expected: Option<&'a [u8]>,
        /// To what.
        #[serde(borrow, with = "serde_bytes")]
        value: &'a [u8],
    },
}

/// A question about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query<'a> {
    /// The value of a key. Answered [`Answer::Value`].
    Get {
        /// Which.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
    },
    /// Pairs in the order of their keys. Answered [`Answer::List`].
    List {
        /// Only keys which start so; empty for all.
        #[serde(borrow, with = "serde_bytes")]
        prefix: &'a [u8],
        /// Only keys greater than this one: the last key of the page before.
        #[serde(borrow, with = "serde_bytes")]
        after: Option<&'a [u8]>,
        /// At most so many; the store gives fewer when they would exceed [`LIST_PAIRS_MAX`] or [`LIST_BYTES_MAX`].
        limit: u32,
    },
    /// How many keys there are. Answered [`Answer::Count`].
    Count,
}

/// One pair of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair<'a> {
    /// The key.
    #[serde(borrow, with = "serde_bytes")]
    pub key: &'a [u8],
    /// Its value.
    #[serde(borrow, with = "serde_bytes")]
    pub value: &'a [u8],
}

/// Which part of a command is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The key.
    Key,
    /// The value to set.
    Value,
}

/// What the store answers to commands and queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// The key is set.
    Done,
    /// The key is not in the store (any more).
    Deleted {
        /// Whether it was.
        existed: bool,
    },
    /// The key was not as expected and stays as it is.
    Differs {
        /// What it holds.
        #[serde(borrow, with = "serde_bytes")]
        found: Option<&'a [u8]>,
    },
    /// What the key holds, if it exists.
    Value {
        /// Its value.
        #[serde(borrow, with = "serde_bytes")]
        value: Option<&'a [u8]>,
    },
    /// A page of pairs.
    List {
        /// The pairs, by key.
        #[serde(borrow)]
        pairs: Vec<Pair<'a>>,
        /// Whether further pairs follow.
        more: bool,
    },
    /// The number of keys.
    Count(u64),
    /// A limit is exceeded; nothing was changed.
    TooLong {
        /// What is too long.
        part: Part,
        /// Its length in bytes.
        bytes: u64,
        /// The greatest length allowed.
        allowed: u64,
    },
    /// The bytes are no command (or no query); nothing was changed.
    Malformed,
}

/// At most so many pairs in one list.
pub const LIST_PAIRS_MAX: usize = 10_000;
/// At most so many bytes of keys and values in one list, unless its first pair alone has more.
pub const LIST_BYTES_MAX: usize = 1 << 20;

/// Postcard, but the whole of `bytes`: what follows a message is a mistake, not something to overlook.
fn decode_all<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

macro_rules! postcard_form {
    ($($name:ident),*) => { $(
        impl<'a> $name<'a> {
            /// Its postcard form.
            pub fn to_bytes(&self) -> Bytes {
                postcard::to_stdvec(self).map(Bytes::from).unwrap_or_default()
            }

            /// Reads the postcard form, borrowing byte strings from it. An error if it is anything else, or longer.
            pub fn decode(bytes: &'a [u8]) -> Result<Self, postcard::Error> {
                decode_all(bytes)
            }
        }
    )* };
}

postcard_form!(Command, Query, Answer);

/// The greatest lengths the store takes. They decide what a command does, so they must be the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLimits {
    /// Of a key, in bytes.
    pub key_bytes: usize,
    /// Of a value, in bytes.
    pub value_bytes: usize,
}

impl Default for KvLimits {
    /// Keys of 4 KiB, values of 1 MiB.
    fn default() -> Self {
        Self { key_bytes: 4 << 10, value_bytes: 1 << 20 }
    }
}

type Map = OrdMap<Arc<[u8]>, Arc<[u8]>>;

/// The store. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct KvStore {
    map: Map,
    /// The wrapping sum of [`pair_hash`] over all pairs.
    hash: u64,
    limits: KvLimits,
}

/// What one pair adds to the state's hash: XXH3 (64 bits) of the value, seeded with that of the key.
fn pair_hash(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

impl KvStore {
    /// An empty store with other limits than the usual ones.
    pub fn with_limits(limits: KvLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(AsRef::as_ref)
    }

    /// Every pair, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        self.map.iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }

    /// Carries out one command.
    pub fn execute(&mut self, command: Command<'_>) -> Answer<'_> {
        match command {
            Command::Put { key, value } => self.put(key, value),
            Command::Delete { key } => Answer::Deleted { existed: self.delete(key) },
            Command::CompareAndSet { key, expected, value } => {
                if let Some(answer) = self.too_long(key, Some(value)) {
                    answer
                } else if self.get(key) == expected || mutant!("C15") && expected.is_none() {
                    self.put(key, value)
                } else {
                    Answer::Differs { found: self.get(key) }
                }
            }
        }
    }

    /// Answers one question.
    pub fn ask(&self, query: Query<'_>) -> Answer<'_> {
        match query {
            Query::Get { key } => Answer::Value { value: self.get(key) },
            Query::List { prefix, after, limit } => self.list(prefix, after, limit as usize),
            Query::Count => Answer::Count(self.map.len() as u64),
        }
    }

    fn too_long(&self, key: &[u8], value: Option<&[u8]>) -> Option<Answer<'static>> {
        let over = |part, bytes: usize, allowed: usize| {
            (bytes > allowed).then_some(Answer::TooLong { part, bytes: bytes as u64, allowed: allowed as u64 })
        };
        over(Part::Key, key.len(), self.limits.key_bytes)
            .or_else(|| over(Part::Value, value.map_or(0, <[u8]>::len), self.limits.value_bytes))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Answer<'static> {
        if let Some(answer) = self.too_long(key, Some(value)) {
            return answer;
        }
        self.hash = self.hash.wrapping_add(pair_hash(key, value));
        // The commonest write replaces a value: then the key needs no allocation.
        if let Some(slot) = self.map.get_mut(key) {
            self.hash = self.hash.wrapping_sub(pair_hash(key, slot));
            *slot = value.into();
        } else {
            self.map.insert(key.into(), value.into());
        }
        Answer::Done
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let old = self.map.remove(key);
        if let Some(value) = &old {
            self.hash = self.hash.wrapping_sub(pair_hash(key, value));
        }
        old.is_some()
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Answer<'_> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rest = self
            .map
            .range::<_, [u8]>((start, Bound::Unbounded))
            .map(|(key, value)| Pair { key, value })
            .take_while(|pair| pair.key.starts_with(prefix));
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        for pair in rest.by_ref().take(limit.min(LIST_PAIRS_MAX)) {
            bytes += pair.key.len() + pair.value.len();
            if bytes > LIST_BYTES_MAX && !pairs.is_empty() {
                return Answer::List { pairs, more: true };
            }
            pairs.push(pair);
        }
        Answer::List { more: rest.next().is_some(), pairs }
    }
}

impl StateMachine for KvStore {
    type Frozen = FrozenKv;

    fn apply(&mut self, command: &[u8]) -> Bytes {
        match Command::decode(command).map(|c| self.execute(c)) {
            // One byte, and the answer to almost every command: no allocation for it.
            Ok(Answer::Done) => Bytes::from_static(DONE),
            Ok(answer) => answer.to_bytes(),
            Err(_) => Answer::Malformed.to_bytes(),
        }
    }

    fn query(&self, query: &[u8]) -> Bytes {
        Query::decode(query).map_or(Answer::Malformed, |q| self.ask(q)).to_bytes()
    }

    fn hash(&self) -> u64 {
        self.hash
    }

    fn freeze(&self) -> FrozenKv {
        FrozenKv { map: self.map.clone(), hash: self.hash }
    }

    fn restore(&mut self, input: &mut dyn Read) -> io::Result<()> {
        if &get_array(input)? != MAGIC {
            return Err(damaged("not a key-value state, or one of another version"));
        }
        let (count, hash) = (get_u64(input)?, get_u64(input)?);
        let mut fresh = Self::with_limits(self.limits);
        if mutant!("C16") {
            fresh.limits.value_bytes = 32;
        }
        let (mut key, mut value, mut before) = (Vec::new(), Vec::new(), None);
        for _ in 0..count {
            let key_len = checked_len("a key's length", get_u32(input)?.into(), self.limits.key_bytes)?;
            let value_len = checked_len("a value's length", get_u32(input)?.into(), self.limits.value_bytes)?;
            get_into(input, key_len, &mut key)?;
            get_into(input, value_len, &mut value)?;
            let shared: Arc<[u8]> = key.as_slice().into();
            if before.is_some_and(|b| b >= shared) {
                return Err(damaged("keys do not ascend"));
            }
            before = Some(shared.clone());
            fresh.hash = fresh.hash.wrapping_add(pair_hash(&key, &value));
            fresh.map.insert(shared, value.as_slice().into());
        }
        if fresh.hash != hash && !mutant!("D17") {
            return Err(damaged(format_args!("the pairs have the hash {:#x}, not {hash:#x}", fresh.hash)));
        }
        if mutant!("C13") {
            for (key, value) in &self.map {
                if fresh.get(key).is_none() {
                    let _ = fresh.put(key, value);
                }
            }
        }
        *self = fresh;
        Ok(())
    }
}

/// [`Answer::Done`] in postcard: its variant's number.
const DONE: &[u8] = &[0];
/// The name and version of the snapshot's form.
const MAGIC: &[u8; 8] = b"duetkv\0\x01";

/// A store that stands still: shares everything with the one it was taken from.
#[derive(Clone, Debug)]
pub struct FrozenKv {
    map: Map,
    hash: u64,
}

impl Frozen for FrozenKv {
    /// Name and version; the number of pairs and their hash; for each pair by ascending key two lengths, key, value.
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        put_u64(out, self.map.len() as u64)?;
        put_u64(out, self.hash)?;
        for (key, value) in &self.map {
            put_u32(out, key.len() as u32)?;
            put_u32(out, value.len() as u32)?;
            out.write_all(key)?;
            out.write_all(value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SMALL: KvLimits = KvLimits { key_bytes: 3, value_bytes: 5 };

    fn snapshot(store: &KvStore) -> Vec<u8> {
        let mut out = Vec::new();
        store.freeze().write(&mut out).unwrap();
        out
    }

    fn put(store: &mut KvStore, key: &[u8], value: &[u8]) {
        assert_eq!(store.apply(&Command::Put { key, value }.to_bytes()), Answer::Done.to_bytes());
    }

    #[test]
    fn limits_and_rubbish_are_answered_and_change_nothing() {
        let mut s = KvStore::with_limits(SMALL);
        put(&mut s, b"key", b"value");
        let before = s.hash();
        let cases: &[(Command<'_>, Answer<'_>)] = &[
            (Command::Put { key: b"keys", value: b"" }, Answer::TooLong { part: Part::Key, bytes: 4, allowed: 3 }),
            (Command::Put { key: b"k", value: b"values" }, Answer::TooLong { part: Part::Value, bytes: 6, allowed: 5 }),
            (
                Command::CompareAndSet { key: b"k", expected: None, value: b"values" },
                Answer::TooLong { part: Part::Value, bytes: 6, allowed: 5 },
            ),
            (
                Command::CompareAndSet { key: b"key", expected: None, value: b"x" },
                Answer::Differs { found: Some(b"value") },
            ),
            (Command::CompareAndSet { key: b"no", expected: Some(b""), value: b"x" }, Answer::Differs { found: None }),
            (Command::Delete { key: b"no" }, Answer::Deleted { existed: false }),
            (Command::Delete { key: b"longer than any key" }, Answer::Deleted { existed: false }),
        ];
        for (command, answer) in cases {
            assert_eq!(Answer::decode(&s.apply(&command.to_bytes())).as_ref(), Ok(answer), "{command:?}");
        }
        let trailing = [Command::Delete { key: b"key" }.to_bytes().as_ref(), b"x"].concat();
        for rubbish in [b"".as_slice(), b"\xff", &trailing, b"\x00\xff\xff\xff\xff\x0f"] {
            assert_eq!(s.apply(rubbish), Answer::Malformed.to_bytes());
        }
        assert_eq!(s.query(b"\x09"), Answer::Malformed.to_bytes());
        assert_eq!((s.hash(), s.len()), (before, 1));
        assert_eq!(Answer::Done.to_bytes(), DONE);
    }

    #[test]
    fn lists_come_in_pages() {
        let mut s = KvStore::default();
        for key in ["a", "b/1", "b/2", "b/3", "c"] {
            put(&mut s, key.as_bytes(), b"v");
        }
        let page = |prefix: &str, after: Option<&str>, limit| {
            let query = Query::List { prefix: prefix.as_bytes(), after: after.map(str::as_bytes), limit };
            let Answer::List { pairs, more } = s.ask(query) else { panic!("a list is answered by a list") };
            (pairs.iter().map(|p| String::from_utf8_lossy(p.key).into_owned()).collect::<Vec<_>>().join(" "), more)
        };
        assert_eq!(page("b/", None, 2), ("b/1 b/2".into(), true));
        assert_eq!(page("b/", Some("b/2"), 2), ("b/3".into(), false));
        assert_eq!(page("b/", Some("a"), 9), ("b/1 b/2 b/3".into(), false));
        assert_eq!(page("b/", Some("c"), 9), (String::new(), false));
        assert_eq!(page("", None, 5), ("a b/1 b/2 b/3 c".into(), false));
        assert_eq!(page("", None, 0), (String::new(), true));
        assert_eq!(s.ask(Query::Count), Answer::Count(5));
    }

    #[test]
    fn a_list_has_bounded_size_but_at_least_one_pair() {
        let mut s = KvStore::default();
        let large = vec![7; 1 << 20];
        put(&mut s, b"1", &large);
        put(&mut s, b"2", &large);
        let Answer::List { pairs, more } = s.ask(Query::List { prefix: b"", after: None, limit: 9 }) else { panic!() };
        assert_eq!((pairs.len(), more), (1, true));
    }

    #[test]
    fn a_frozen_state_does_not_move() {
        let mut s = KvStore::default();
        put(&mut s, b"a", b"1");
        let frozen = s.freeze();
        put(&mut s, b"a", b"2");
        put(&mut s, b"b", b"3");
        let mut bytes = Vec::new();
        frozen.write(&mut bytes).unwrap();
        s.restore(&mut bytes.as_slice()).unwrap();
        assert_eq!(s.iter().collect::<Vec<_>>(), [(b"a".as_slice(), b"1".as_slice())]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(Vec<u8>, Vec<u8>),
        Delete(Vec<u8>),
        Cas(Vec<u8>, Option<Vec<u8>>, Vec<u8>),
        Reload,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = || vec(0u8..3, 0..3);
        let value = || vec(0u8..2, 0..3);
        let step = prop_oneof![
            4 => (key(), value()).prop_map(|(k, v)| Step::Put(k, v)),
            2 => key().prop_map(Step::Delete),
            3 => (key(), proptest::option::of(value()), value()).prop_map(|(k, e, v)| Step::Cas(k, e, v)),
            1 => Just(Step::Reload),
        ];
        vec(step, 0..60)
    }

    fn sum(model: &BTreeMap<Vec<u8>, Vec<u8>>) -> u64 {
        model.iter().fold(0, |sum, (k, v)| sum.wrapping_add(pair_hash(k, v)))
    }

    proptest! {
        /// The store is a sorted map; its hash is that of its contents however they came about; snapshots keep both.
        #[test]
        fn behaves_like_a_map(steps in steps()) {
            let mut s = KvStore::default();
            let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        put(&mut s, &key, &value);
                        model.insert(key, value);
                    }
                    Step::Delete(key) => {
                        let got = s.apply(&Command::Delete { key: &key }.to_bytes());
                        let existed = model.remove(&key).is_some();
                        prop_assert_eq!(Answer::decode(&got), Ok(Answer::Deleted { existed }));
                    }
                    Step::Cas(key, expected, value) => {
                        let cas = Command::CompareAndSet { key: &key, expected: expected.as_deref(), value: &value };
                        let got = s.apply(&cas.to_bytes());
                        let found = model.get(&key).cloned();
                        if found == expected {
                            model.insert(key, value);
                            prop_assert_eq!(Answer::decode(&got), Ok(Answer::Done));
                        } else {
                            prop_assert_eq!(Answer::decode(&got), Ok(Answer::Differs { found: found.as_deref() }));
                        }
                    }
                    Step::Reload => {
                        let bytes = snapshot(&s);
                        s = KvStore::default();
                        put(&mut s, b"to be", b"replaced");
                        s.restore(&mut bytes.as_slice()).unwrap();
                    }
                }
                prop_assert!(s.iter().eq(model.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))));
                prop_assert_eq!(s.hash(), sum(&model));
            }
        }

        /// A snapshot that was cut or has a flipped bit is refused, and the state stays as it was.
        #[test]
        fn damaged_snapshots_are_refused(
            pairs in vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9)), 1..9), at in any::<prop::sample::Index>(),
            bit in 0u8..8, cut in any::<bool>(),
        ) {
            let mut s = KvStore::default();
            for (k, v) in &pairs {
                put(&mut s, k, v);
            }
            let mut bytes = snapshot(&s);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            put(&mut s, b"later than the snapshot", b"");
            let before = snapshot(&s);
            prop_assert!(s.restore(&mut bytes.as_slice()).is_err());
            prop_assert_eq!(snapshot(&s), before);
        }

        /// No bytes make it panic, as a command or as a query.
        #[test]
        fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..40)) {
            let mut s = KvStore::default();
            prop_assert!(Answer::decode(&s.apply(&bytes)).is_ok());
            prop_assert!(Answer::decode(&s.query(&bytes)).is_ok());
        }
    }
}
