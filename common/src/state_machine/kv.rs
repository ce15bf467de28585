//! The key-value store: byte strings under byte strings, in order.
//!
//! **Deterministic.** Whatever a command's bytes are, every node answers them alike: a command that cannot be decoded,
//! or is over a limit, is answered so and changes nothing. The limits are therefore part of the machine, the same on all
//! nodes.
//!
//! **Frozen in constant time.** The state is a persistent ordered map, so a snapshot shares it with the running machine
//! and later writes copy only the tree nodes they touch and which are not written out yet. Without that, a snapshot stops the node for as long as the
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
use smallvec::SmallVec;
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

/// Short keys lie in the tree's nodes themselves: a search compares a dozen of them, and each that lies elsewhere is a
/// cache miss.
type Key = SmallVec<[u8; 24]>;

/// What is under a key.
#[derive(Clone, Debug)]
struct Slot {
    value: Arc<[u8]>,
    /// [`pair_hash`] of the pair, so that replacing the value need not read it.
    hash: u64,
}

type Map = OrdMap<Key, Slot>;

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
        self.map.get(key).map(|slot| slot.value.as_ref())
    }

    /// Every pair, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        self.map.iter().map(|(key, slot)| (key.as_ref(), slot.value.as_ref()))
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
        let slot = Slot { value: value.into(), hash: pair_hash(key, value) };
        self.hash = self.hash.wrapping_add(slot.hash);
        // The commonest write replaces a value.
        if let Some(old) = self.map.get_mut(key) {
            self.hash = self.hash.wrapping_sub(old.hash);
            *old = slot;
        } else {
            self.map.insert(Key::from_slice(key), slot);
        }
        Answer::Done
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let old = self.map.remove(key);
        if let Some(slot) = &old {
            self.hash = self.hash.wrapping_sub(slot.hash);
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
            .map(|(key, slot)| Pair { key, value: &slot.value })
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
            let own = Key::from_slice(&key);
            if before.is_some_and(|b| b >= own) {
                return Err(damaged("keys do not ascend"));
            }
            before = Some(own.clone());
            let slot = Slot { value: value.as_slice().into(), hash: pair_hash(&key, &value) };
            fresh.hash = fresh.hash.wrapping_add(slot.hash);
            fresh.map.insert(own, slot);
        }
        if fresh.hash != hash && !mutant!("D17") {
            return Err(damaged(format_args!("the pairs have the hash {:#x}, not {hash:#x}", fresh.hash)));
        }
        if mutant!("C13") {
            for (key, slot) in &self.map {
                if fresh.get(key).is_none() {
                    let _ = fresh.put(key, &slot.value);
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
    fn write(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        put_u64(out, self.map.len() as u64)?;
        put_u64(out, self.hash)?;
        // Leaf by leaf: what is behind is no longer shared with the running machine.
        for (key, Slot { value, .. }) in self.map {
            put_u32(out, key.len() as u32)?;
            put_u32(out, value.len() as u32)?;
            out.write_all(&key)?;
            out.write_all(&value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
