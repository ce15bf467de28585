//! One node's state machine and client sessions, fed with committed runs of entries, in order, each once.
//!
//! The last id applied is kept with the state and travels in the snapshot: state and place belong together, or a node that
//! restarts applies an entry twice or leaves one out (Raft, section 7: `lastIncludedIndex`; ZAB: the zxid a snapshot
//! is named by).

use std::io::{self, BufReader, BufWriter, Read, Write};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::sessions::{FrozenSessions, SessionLimits, Sessions};
use super::stream::{checked_len, damaged, get_array, get_id, get_into, get_u32, get_u64, put_id, put_u32, put_u64};
use super::{Frozen, StateMachine};
use crate::client::wire::{Answer, Envelope};
use crate::entries::{Entries, EntryKind};
use crate::membership::{MAX_ADDRESS, MAX_MEMBERS, Membership};
use crate::mutant;
use crate::types::LogId;

/// What came of one command entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The entry. The client that waits for it gets the answer.
    pub at: LogId,
    /// The answer's header.
    pub answer: Answer,
    /// The state machine's answer. Empty if it was not asked.
    pub body: Bytes,
}

/// A state machine, the sessions of its clients, and how far they have come.
#[derive(Debug, Default)]
pub struct Applier<S> {
    machine: S,
    sessions: Sessions,
    limits: SessionLimits,
    applied: LogId,
    /// The last entry that says who belongs to the cluster, and what it says.
    membership: Option<(LogId, Membership)>,
}

impl<S: StateMachine> Applier<S> {
    /// The state before the first entry.
    pub fn new(machine: S) -> Self {
        Self::with_limits(machine, SessionLimits::default())
    }

    /// Likewise, with other limits than the usual ones. They must be the same on all nodes.
    pub fn with_limits(machine: S, limits: SessionLimits) -> Self {
        Self { machine, sessions: Sessions::new(limits), limits, applied: LogId::ZERO, membership: None }
    }

    /// Applies a committed run and adds to `answers` what came of each of its commands. No-ops and memberships have no
    /// answer, but count as applied; of memberships the last one is kept, for snapshots.
    ///
    /// # Panics
    /// When the run does not start above what was applied: a committed entry given twice or out of order is a mistake of
    /// the node's, and going on would make it differ from its peers.
    pub fn apply(&mut self, entries: &Entries, answers: &mut Vec<Applied>) {
        if entries.kind() == EntryKind::Command {
            answers.reserve(entries.len());
        }
        self.apply_each(entries, |applied| answers.push(applied));
    }

    /// Likewise, where nobody waits for the answers.
    pub fn apply_unasked(&mut self, entries: &Entries) {
        self.apply_each(entries, drop);
    }

    fn apply_each(&mut self, entries: &Entries, mut answered: impl FnMut(Applied)) {
        assert!(entries.first() > self.applied, "{} comes after {}", entries.first(), self.applied);
        match entries.kind() {
            EntryKind::Command => {
                for (at, payload) in entries.iter() {
                    let (answer, body) = self.apply_one(at, payload);
                    answered(Applied { at, answer, body });
                }
            }
            EntryKind::Membership => {
                if let Some(last) = Membership::decode(entries.payload(entries.len() - 1)) {
                    self.membership = Some((entries.last(), last));
                }
            }
            EntryKind::Noop => {}
        }
        self.applied = entries.last();
    }

    fn apply_one(&mut self, at: LogId, payload: &[u8]) -> (Answer, Bytes) {
        match postcard::take_from_bytes::<Envelope>(payload) {
            Ok((Envelope::Write { .. }, command)) if mutant!("C09") => {
                (Answer::Written { at }, self.machine.apply(command))
            }
            Ok((Envelope::Write { session, seq, floor }, command)) => {
                self.sessions.write(at, session, seq, floor, || self.machine.apply(command))
            }
            Ok((Envelope::Open, [])) => (Answer::Written { at: self.sessions.open(at).0 }, Bytes::new()),
            Ok((Envelope::Raw, _)) => (Answer::Written { at }, Bytes::new()),
            Ok((Envelope::Expire { upto }, [])) => {
                self.sessions.expire(upto);
                (Answer::Written { at }, Bytes::new())
            }
            Ok((Envelope::Open | Envelope::Expire { .. }, rest)) => {
                let why = format!("{} bytes follow an envelope that nothing may follow", rest.len());
                (Answer::Malformed(why), Bytes::new())
            }
            Err(e) => (Answer::Malformed(format!("the envelope cannot be read: {e}")), Bytes::new()),
        }
    }

    /// The last entry applied, of any kind.
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// Answers a question about the state as it is now.
    pub fn query(&self, query: &[u8]) -> Bytes {
        self.machine.query(query)
    }

    /// Who belongs to the cluster, and the entry that said it, if one was applied that does.
    pub fn membership(&self) -> Option<&(LogId, Membership)> {
        self.membership.as_ref()
    }

    /// A number that is equal on two nodes which applied the same entries, and but for collisions only then: it covers the
    /// machine, the sessions and who belongs to the cluster.
    pub fn hash(&self) -> u64 {
        hash_of(&[self.machine.hash(), self.sessions.hash(), xxh3_64(&encoded(self.membership.as_ref()))])
    }

    /// Whether a session was last used at or before `upto`.
    pub fn has_idle(&mut self, upto: LogId) -> bool {
        self.sessions.oldest().is_some_and(|used| used <= upto)
    }

    /// Only for a mutant: drops sessions that the log does not say to drop.
    pub(crate) fn expire(&mut self, upto: LogId) {
        self.sessions.expire(upto);
    }

    /// How many client sessions are known.
    pub fn sessions(&self) -> u64 {
        self.sessions.len() as u64
    }

    /// The machine.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// Everything as it is now, to be written as a snapshot. Takes no time that grows with the state.
    pub fn freeze(&self) -> Box<dyn Frozen> {
        let (machine, mut sessions) = (self.machine.freeze(), self.sessions.freeze());
        if mutant!("C10") {
            sessions = Sessions::new(self.limits).freeze();
        }
        let mut membership = encoded(self.membership.as_ref());
        if mutant!("D27") {
            membership = Vec::new();
        }
        Box::new(FrozenApplier { applied: self.applied, membership, sessions, machine })
    }

    /// Replaces everything by a snapshot and gives the last id it covers. On an error everything is as before.
    pub fn restore(&mut self, input: &mut dyn Read) -> io::Result<LogId> {
        let mut input = BufReader::new(input);
        if &get_array(&mut input)? != MAGIC {
            return Err(damaged("not a snapshot of this program, or one of another version"));
        }
        let applied = get_id(&mut input)?;
        let check = get_u64(&mut input)?;
        let length = checked_len("the length of the membership", get_u32(&mut input)?.into(), MEMBERSHIP_BYTES)?;
        let mut membership = Vec::new();
        get_into(&mut input, length, &mut membership)?;
        let sessions = Sessions::read(self.limits, &mut input)?;
        if check_of(applied, &membership, sessions.hash()) != check {
            return Err(damaged("its place, members and sessions do not fit its checksum"));
        }
        let membership = match &membership[..] {
            [] => None,
            bytes => Some(postcard::from_bytes(bytes).map_err(|_| damaged("its members cannot be read"))?),
        };
        // Last, because it is what changes: once the machine has taken its state nothing can fail any more.
        self.machine.restore(&mut input)?;
        self.sessions = sessions;
        self.membership = membership;
        self.applied = applied;
        Ok(applied)
    }
}

/// XXH3 (64 bits) of numbers, little-endian.
fn hash_of(numbers: &[u64]) -> u64 {
    let mut bytes = [0; 32];
    for (to, n) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&n.to_le_bytes());
    }
    xxh3_64(&bytes)
}

/// What guards all of a snapshot but the machine.
fn check_of(applied: LogId, membership: &[u8], sessions: u64) -> u64 {
    hash_of(&[applied.epoch, applied.counter, sessions, xxh3_64(membership)])
}

/// Nothing where no entry ever said who belongs to the cluster.
fn encoded(membership: Option<&(LogId, Membership)>) -> Vec<u8> {
    // Only a custom `Serialize` can fail, and there is none here.
    membership.map_or_else(Vec::new, |known| postcard::to_stdvec(known).unwrap_or_default())
}

/// More than the largest membership has: an address and five lists of ids, ten bytes at most for each number.
const MEMBERSHIP_BYTES: usize = MAX_MEMBERS * (MAX_ADDRESS + 70) + 64;

/// The name and version of the snapshot's form.
const MAGIC: &[u8; 8] = b"duetsn\0\x02";

struct FrozenApplier<F> {
    applied: LogId,
    membership: Vec<u8>,
    sessions: FrozenSessions,
    machine: F,
}

impl<F: Frozen> Frozen for FrozenApplier<F> {
    /// Name and version, the last id applied, a checksum, the members, the sessions, the machine.
    fn write(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(64 << 10, out);
        out.write_all(MAGIC)?;
        put_id(&mut out, self.applied)?;
        put_u64(&mut out, check_of(self.applied, &self.membership, self.sessions.hash()))?;
        put_u32(&mut out, self.membership.len() as u32)?;
        out.write_all(&self.membership)?;
        self.sessions.write(&mut out)?;
        Box::new(self.machine).write(&mut out)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::wire::SessionId;
    use crate::entries::Batch;
    use crate::state_machine::KvStore;
    use crate::state_machine::kv::{self, Command, Query};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn payload(envelope: Envelope, command: &[u8]) -> Vec<u8> {
        let mut bytes = postcard::to_stdvec(&envelope).unwrap();
        bytes.extend_from_slice(command);
        bytes
    }

    fn put(session: LogId, seq: u64, floor: u64, value: &[u8]) -> Vec<u8> {
        let command = Command::Put { key: b"k", value }.to_bytes();
        payload(Envelope::Write { session: SessionId(session), seq, floor }, &command)
    }

    fn run(first: LogId, payloads: &[Vec<u8>]) -> Entries {
        Entries::new(first, EntryKind::Command, Batch::from_payloads(payloads)).unwrap()
    }

    fn snapshot(a: &Applier<KvStore>) -> Vec<u8> {
        let mut out = Vec::new();
        a.freeze().write(&mut out).unwrap();
        out
    }

    fn id(counter: u64) -> LogId {
        LogId::new(1, counter)
    }

    #[test]
    fn a_repeated_write_is_carried_out_once_also_after_a_snapshot() {
        let mut a = Applier::new(KvStore::default());
        let mut answers = Vec::new();
        let writes = [payload(Envelope::Open, b""), put(id(1), 1, 1, b"old"), put(id(1), 2, 1, b"new")];
        a.apply(&run(id(1), &writes), &mut answers);
        assert_eq!(answers.iter().map(|a| a.answer.clone()).collect::<Vec<_>>(), [1, 2, 3].map(written));
        let members = Membership::of_ids([1, 2, 3].map(crate::types::NodeId));
        let says = Batch::single(members.encode());
        a.apply(&Entries::new(id(4), EntryKind::Membership, says).unwrap(), &mut answers);
        a.apply(&Entries::noop(LogId::new(2, 1)), &mut answers);
        let bytes = snapshot(&a);
        let mut b = Applier::new(KvStore::default());
        assert_eq!(b.restore(&mut bytes.as_slice()).unwrap(), LogId::new(2, 1));
        assert_eq!((b.hash(), b.applied(), b.sessions()), (a.hash(), a.applied(), 1));
        assert_eq!(b.membership(), Some(&(id(4), members)));

        answers.clear();
        let again = run(LogId::new(2, 2), &[put(id(1), 1, 1, b"old")]);
        b.apply(&again, &mut answers);
        let first = Applied { at: LogId::new(2, 2), answer: written(2), body: kv::Answer::Done.to_bytes() };
        assert_eq!(answers, [first]);
        let value = b.query(&Query::Get { key: b"k" }.to_bytes());
        assert_eq!(kv::Answer::decode(&value), Ok(kv::Answer::Value { value: Some(b"new") }));
    }

    fn written(counter: u64) -> Answer {
        Answer::Written { at: id(counter) }
    }

    #[test]
    fn every_envelope_is_answered() {
        let mut a = Applier::new(KvStore::default());
        let mut answers = Vec::new();
        let payloads = [
            payload(Envelope::Raw, b"just bytes"),
            vec![],
            vec![9],
            payload(Envelope::Open, b"x"),
            put(id(1), 1, 1, b""),
            payload(Envelope::Open, b""),
            payload(Envelope::Write { session: SessionId(id(6)), seq: 1, floor: 1 }, b"\xff"),
        ];
        a.apply(&run(id(1), &payloads), &mut answers);
        assert_eq!(answers.iter().map(|a| a.at).collect::<Vec<_>>(), (1..=7).map(id).collect::<Vec<_>>());
        assert_eq!(answers[0].answer, written(1));
        assert!(answers[1..4].iter().all(|a| matches!(a.answer, Answer::Malformed(_))), "{answers:?}");
        assert_eq!(answers[4].answer, Answer::NoSession);
        assert_eq!(answers[5].answer, written(6));
        assert_eq!((&answers[6].answer, &answers[6].body), (&written(7), &kv::Answer::Malformed.to_bytes()));
        assert_eq!((a.applied(), a.machine().len()), (id(7), 0));
    }

    #[test]
    #[should_panic(expected = "(1,3) comes after (1,4)")]
    fn entries_are_applied_once_and_in_order() {
        let mut a = Applier::new(KvStore::default());
        a.apply(&run(id(1), &vec![vec![]; 4]), &mut Vec::new());
        a.apply(&run(id(3), &[vec![]]), &mut Vec::new());
    }

    /// Payloads as clients of a few sessions, good and bad, might send them. Sessions are the first ids.
    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let write = (1u64..6, 0u64..9, 0u64..9, vec(any::<u8>(), 0..3));
        let one = prop_oneof![
            2 => Just(payload(Envelope::Open, b"")),
            1 => (1u64..40).prop_map(|upto| payload(Envelope::Expire { upto: id(upto) }, b"")),
            8 => write.prop_map(|(s, seq, floor, value)| put(id(s), seq, floor, &value)),
            1 => vec(any::<u8>(), 0..9),
        ];
        vec(one, 1..40)
    }

    proptest! {
        /// How the log is cut into runs, and whether a node started from a snapshot, does not show.
        #[test]
        fn runs_may_be_cut_anywhere(payloads in payloads(), cuts in vec(1usize..9, 40), restart in 0usize..40) {
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            let limits = SessionLimits { sessions: 2, window: 6, answer_bytes: 3, total_bytes: 1200 };
            let mut a = Applier::with_limits(KvStore::default(), limits);
            a.apply(&run(id(1), &payloads), &mut whole);
            let mut b = Applier::with_limits(KvStore::default(), limits);
            let (mut at, mut rest) = (1, payloads.as_slice());
            for (i, cut) in cuts.into_iter().enumerate() {
                if i == restart {
                    let bytes = snapshot(&b);
                    b = Applier::with_limits(KvStore::default(), limits);
                    b.restore(&mut bytes.as_slice()).unwrap();
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                if !now.is_empty() {
                    b.apply(&run(id(at), now), &mut pieces);
                }
                at += now.len() as u64;
                rest = later;
            }
            prop_assert_eq!((a.hash(), a.applied(), a.sessions()), (b.hash(), b.applied(), b.sessions()));
            prop_assert_eq!(whole, pieces);
            prop_assert_eq!(snapshot(&a), snapshot(&b));
        }

        /// A snapshot that was cut or has a flipped bit is refused, and everything stays as it was.
        #[test]
        fn damaged_snapshots_are_refused(
            payloads in payloads(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>(),
        ) {
            let mut a = Applier::new(KvStore::default());
            a.apply(&run(id(1), &payloads), &mut Vec::new());
            let mut bytes = snapshot(&a);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            a.apply(&run(id(100), &[payload(Envelope::Open, b""), put(id(100), 1, 1, b"later")]), &mut Vec::new());
            let before = (snapshot(&a), a.hash(), a.applied());
            prop_assert!(a.restore(&mut bytes.as_slice()).is_err());
            prop_assert_eq!((snapshot(&a), a.hash(), a.applied()), before);
        }
    }
}
