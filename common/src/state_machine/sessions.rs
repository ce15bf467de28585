//! Client sessions: a write that is sent twice is carried out once.
//!
//! A client that lost its connection cannot know whether its write took effect, so it sends it again, and the log may
//! hold it twice. Each write therefore carries `(session, seq)`, and the table here, which every node builds from the log
//! alone, remembers the answers: a number seen before is answered again and not carried out (Ongaro's dissertation,
//! section 6.3). Without it, "append one" sent twice appends two. The table must be in the snapshot: a node that
//! starts from one without it carries the next repetition out again, and differs from its peers.
//!
//! Writes of one session may arrive in any order within a window, because clients pipeline and nodes batch. `floor` is how
//! a client says that it has the answers below a number, so that they can be dropped.
//!
//! # Bounds
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | numbers a session may have open | [`SessionLimits::window`] | the write is answered `BadSequence` and not carried out |
//! | answers kept for a session | [`SessionLimits::answer_bytes`] | the write is carried out and answered, its answer is not kept: a repetition is answered `Forgotten` |
//! | sessions | [`SessionLimits::sessions`] | the session unused for longest, in log order, goes; its writes are answered `NoSession` |
//! | memory of all sessions | [`SessionLimits::total_bytes`] | likewise |
//! | idle sessions | an entry [`Expire`](crate::client::wire::Envelope::Expire), see [`node`](crate::node) | those last used at or before the id that it names go |
//!
//! All of this is decided by the log alone. The limits must be the same on all nodes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::stream::{checked_len, damaged, get_array, get_id, get_into, get_u32, get_u64, put_id, put_u32, put_u64};
use crate::client::wire::{Answer, SessionId};
use crate::types::LogId;
use crate::{mark, mutant};

/// Bounds of the session table. They decide what a write does, so they must be the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions known at a time; at least 1.
    pub sessions: usize,
    /// A session's numbers from its floor on that may be used.
    pub window: u64,
    /// Bytes of answers kept for one session.
    pub answer_bytes: usize,
    /// Bytes of all sessions, with what they cost beside the answers.
    pub total_bytes: usize,
}

impl Default for SessionLimits {
    /// 10,000 sessions, 4096 open writes and 256 KiB of answers in each, 256 MiB in all.
    fn default() -> Self {
        Self { sessions: 10_000, window: 4096, answer_bytes: 256 << 10, total_bytes: 256 << 20 }
    }
}

/// What is known of one number at or above a session's floor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    /// Has not come yet.
    Empty,
    /// Was carried out, and this is the answer.
    Kept { at: LogId, body: Bytes },
    /// Was carried out; its answer did not fit.
    Forgotten { at: LogId },
}

impl Slot {
    fn body_len(&self) -> usize {
        if let Self::Kept { body, .. } = self { body.len() } else { 0 }
    }
}

/// What a slot and a session cost beside answers, for [`SessionLimits::total_bytes`]. Rounded up; part of the rules, so
/// not taken from `size_of`.
const SLOT_BYTES: usize = 64;
const SESSION_BYTES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    /// The lowest number whose answer may still be asked for.
    floor: u64,
    /// The last entry that named this session.
    used: LogId,
    /// The numbers from `floor` on; the last one is never empty.
    slots: VecDeque<Slot>,
    /// The bytes of the answers in `slots`.
    bytes: usize,
}

impl Session {
    fn weight(&self) -> usize {
        SESSION_BYTES + self.slots.len() * SLOT_BYTES + self.bytes
    }

    /// What the session itself adds to the table's hash.
    fn own_hash(&self, id: SessionId) -> u64 {
        hash_of(1, [id.0.epoch, id.0.counter, self.floor, self.used.epoch, self.used.counter, 0])
    }

    /// What a slot adds to it.
    fn slot_hash(id: SessionId, seq: u64, slot: &Slot) -> u64 {
        match slot {
            Slot::Empty => 0,
            Slot::Kept { at, body } => hash_of(2, [id.0.epoch, id.0.counter, seq, at.epoch, at.counter, xxh3_64(body)]),
            Slot::Forgotten { at } => hash_of(3, [id.0.epoch, id.0.counter, seq, at.epoch, at.counter, 0]),
        }
    }

    /// What all of it adds.
    fn hash(&self, id: SessionId) -> u64 {
        let slots = self.slots.iter().enumerate().map(|(i, slot)| Self::slot_hash(id, self.floor + i as u64, slot));
        slots.fold(self.own_hash(id), u64::wrapping_add)
    }

    /// Drops what the client will not ask for again, and gives its hash.
    fn raise_floor(&mut self, id: SessionId, floor: u64) -> u64 {
        let mut dropped = 0u64;
        while self.floor < floor {
            let Some(slot) = self.slots.pop_front() else {
                self.floor = floor;
                break;
            };
            dropped = dropped.wrapping_add(Self::slot_hash(id, self.floor, &slot));
            self.bytes -= slot.body_len();
            self.floor += 1;
        }
        // What a burst needed is not kept for the session's whole life.
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
        dropped
    }
}

/// XXH3 (64 bits) of the six numbers, little-endian. `kind` keeps the kinds of things that are hashed apart.
fn hash_of(kind: u64, numbers: [u64; 6]) -> u64 {
    let mut bytes = [0; 48];
    for (to, n) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&n.to_le_bytes());
    }
    xxh3_64_with_seed(&bytes, kind)
}

type Map = OrdMap<SessionId, Arc<Session>>;

/// The sessions of all clients, as the log up to some entry has made them. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    map: Map,
    /// The wrapping sum of every session's hash.
    hash: u64,
    /// The sum of every session's weight.
    bytes: usize,
    /// One element per session, with a `used` that is its own or an earlier one. So the least element whose `used` is
    /// up to date is the session unused for longest, and a write need not touch this.
    by_use: BinaryHeap<Reverse<(LogId, SessionId)>>,
    limits: SessionLimits,
}

impl Sessions {
    /// No sessions, and these limits.
    pub fn new(limits: SessionLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// A number that is equal on two nodes if (and, but for collisions, only if) their tables are equal.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Carries out the entry at `at`, which opens a session.
    pub fn open(&mut self, at: LogId) -> SessionId {
        let id = SessionId(at);
        let session = Session { floor: 1, used: at, slots: VecDeque::new(), bytes: 0 };
        self.insert(id, session);
        while self.map.len() > self.limits.sessions.max(1) && self.evict(Some(id)) {}
        self.shrink(id);
        id
    }

    /// Carries out the entry at `at`, which is a write: calls `run` if it has not been carried out before, and gives its
    /// answer, or what else to tell the client.
    pub fn write(
        &mut self,
        at: LogId,
        id: SessionId,
        seq: u64,
        floor: u64,
        run: impl FnOnce() -> Bytes,
    ) -> (Answer, Bytes) {
        let limits = self.limits;
        let Some(session) = self.map.get_mut(&id) else {
            mark!("common/state_machine/sessions#write.no_session");
            return (Answer::NoSession, Bytes::new());
        };
        let session = Arc::make_mut(session);
        let weight = session.weight();
        self.hash = self.hash.wrapping_sub(session.own_hash(id));
        session.used = at;
        // A floor above the write's own number is nonsense; it must not drop anything.
        if floor <= seq {
            self.hash = self.hash.wrapping_sub(session.raise_floor(id, floor));
        }
        self.hash = self.hash.wrapping_add(session.own_hash(id));

        let place = seq.checked_sub(session.floor).filter(|p| floor <= seq && *p < limits.window);
        let (answer, body) = match place.map(|p| (p as usize, session.slots.get(p as usize))) {
            None if mutant!("C11") && seq < session.floor => (Answer::Written { at }, run()),
            None => {
                mark!("common/state_machine/sessions#write.below_floor");
                (Answer::BadSequence { floor: session.floor, seq }, Bytes::new())
            }
            Some((_, Some(Slot::Kept { at, body }))) => {
                mark!("common/state_machine/sessions#write.again");
                let body = if mutant!("C12") { Bytes::from_static(&[0]) } else { body.clone() };
                (Answer::Written { at: *at }, body)
            }
            Some((_, Some(Slot::Forgotten { at }))) => {
                mark!("common/state_machine/sessions#write.forgotten");
                (Answer::Forgotten { at: *at }, Bytes::new())
            }
            Some((place, Some(Slot::Empty) | None)) => {
                let body = run();
                let fits = session.bytes + body.len() <= limits.answer_bytes;
                let slot = if fits { Slot::Kept { at, body: body.clone() } } else { Slot::Forgotten { at } };
                session.bytes += slot.body_len();
                self.hash = self.hash.wrapping_add(Session::slot_hash(id, seq, &slot));
                if session.slots.len() <= place {
                    session.slots.resize(place + 1, Slot::Empty);
                }
                session.slots[place] = slot;
                (Answer::Written { at }, body)
            }
        };
        self.bytes = self.bytes - weight + session.weight();
        self.shrink(id);
        (answer, body)
    }

    fn insert(&mut self, id: SessionId, session: Session) {
        self.hash = self.hash.wrapping_add(session.hash(id));
        self.bytes += session.weight();
        self.by_use.push(Reverse((session.used, id)));
        self.map.insert(id, Arc::new(session));
    }

    /// Brings the table's memory below its limit, sparing the session in hand.
    fn shrink(&mut self, in_hand: SessionId) {
        while self.bytes > self.limits.total_bytes && self.evict(Some(in_hand)) {}
    }

    /// Drops the session that was unused for longest. False if only the one in hand is left.
    fn evict(&mut self, in_hand: Option<SessionId>) -> bool {
        let mut spared = None;
        let mut evicted = false;
        while !evicted && let Some(Reverse((used, id))) = self.by_use.pop() {
            let Some(session) = self.map.get(&id) else { continue };
            let now = Reverse((session.used, id));
            if Some(id) == in_hand {
                spared = Some(now);
            } else if session.used != used {
                self.by_use.push(now);
            } else {
                self.hash = self.hash.wrapping_sub(session.hash(id));
                self.bytes -= session.weight();
                mark!("common/state_machine/sessions#evict");
                self.map.remove(&id);
                evicted = true;
            }
        }
        self.by_use.extend(spared);
        evicted
    }

    /// When the session that was unused for longest was used last.
    pub fn oldest(&mut self) -> Option<LogId> {
        while let Some(Reverse((used, id))) = self.by_use.peek().copied() {
            match self.map.get(&id).map(|session| session.used) {
                Some(now) if now == used => return Some(used),
                Some(now) => {
                    self.by_use.pop();
                    self.by_use.push(Reverse((now, id)));
                }
                None => drop(self.by_use.pop()),
            }
        }
        None
    }

    /// Drops every session that was last used at or before `upto`.
    pub fn expire(&mut self, upto: LogId) {
        while self.oldest().is_some_and(|used| used <= upto) && self.evict(None) {
            mark!("common/state_machine/sessions#expire");
        }
    }

    /// The table as it is now; shares everything with it.
    pub fn freeze(&self) -> FrozenSessions {
        FrozenSessions { map: self.map.clone(), hash: self.hash }
    }

    /// The table that [`FrozenSessions::write`] wrote, under the same limits.
    pub fn read(limits: SessionLimits, input: &mut dyn Read) -> io::Result<Self> {
        if &get_array(input)? != MAGIC {
            return Err(damaged("not a session table, or one of another version"));
        }
        let mut table = Self::new(limits);
        let count = checked_len("the number of sessions", get_u64(input)?, limits.sessions)?;
        let hash = get_u64(input)?;
        let mut scratch = Vec::new();
        for _ in 0..count {
            let id = SessionId(get_id(input)?);
            let session = read_session(&limits, input, &mut scratch)?;
            if table.map.get_max().is_some_and(|(last, _)| *last >= id) {
                return Err(damaged("sessions do not ascend"));
            }
            table.insert(id, session);
        }
        if table.hash != hash {
            return Err(damaged(format_args!("the sessions have the hash {:#x}, not {hash:#x}", table.hash)));
        }
        Ok(table)
    }
}

fn read_session(limits: &SessionLimits, input: &mut dyn Read, scratch: &mut Vec<u8>) -> io::Result<Session> {
    let (floor, used) = (get_u64(input)?, get_id(input)?);
    let count = checked_len("a session's open numbers", get_u64(input)?, limits.window as usize)?;
    let mut session = Session { floor, used, slots: VecDeque::new(), bytes: 0 };
    for _ in 0..count {
        let slot = match get_array(input)? {
            [0] => Slot::Empty,
            [1] => {
                let at = get_id(input)?;
                let len = checked_len("an answer's length", get_u32(input)?.into(), limits.answer_bytes)?;
                get_into(input, len, scratch)?;
                Slot::Kept { at, body: Bytes::copy_from_slice(scratch) }
            }
            [2] => Slot::Forgotten { at: get_id(input)? },
            [other] => return Err(damaged(format_args!("{other} is no kind of answer"))),
        };
        session.bytes += slot.body_len();
        session.slots.push_back(slot);
    }
    if session.slots.back() == Some(&Slot::Empty) {
        return Err(damaged("a session ends with a number that has not come"));
    }
    if session.bytes > limits.answer_bytes || floor.checked_add((count as u64).saturating_sub(1)).is_none() {
        return Err(damaged("a session is over its limits"));
    }
    Ok(session)
}

/// The name and version of the snapshot's form.
const MAGIC: &[u8; 8] = b"duetse\0\x01";

/// A table that stands still.
#[derive(Clone, Debug)]
pub struct FrozenSessions {
    map: Map,
    hash: u64,
}

impl FrozenSessions {
    /// The table's hash.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Writes name and version; the number of sessions and the hash; for each session by ascending id its id, floor, last
    /// use, and the numbers from its floor on: 0 for one that has not come, 1 with place, length and answer, 2 with the
    /// place of one whose answer was not kept.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        put_u64(out, self.map.len() as u64)?;
        put_u64(out, self.hash)?;
        for (id, session) in &self.map {
            put_id(out, id.0)?;
            put_u64(out, session.floor)?;
            put_id(out, session.used)?;
            put_u64(out, session.slots.len() as u64)?;
            for slot in &session.slots {
                match slot {
                    Slot::Empty => out.write_all(&[0])?,
                    Slot::Kept { at, body } => {
                        out.write_all(&[1])?;
                        put_id(out, *at)?;
                        put_u32(out, body.len() as u32)?;
                        out.write_all(body)?;
                    }
                    Slot::Forgotten { at } => {
                        out.write_all(&[2])?;
                        put_id(out, *at)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
