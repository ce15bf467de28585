//! Judges every answer that clients get, as it comes: is there one order of all operations that explains them all?
//!
//! To look for such an order is hard in general (linearizability, Herlihy and Wing, 1990). But a replicated log claims
//! to be one, and names a place in it with each answer: a write's own, and for a read the place up to which it has seen
//! everything. So that claim is checked instead, operation by operation, against the commands that were committed and
//! a model of what they do:
//!
//! | oracle | what it demands |
//! | --- | --- |
//! | `C-LIN` | an operation's place is after that of everything answered before it was asked; its answer is what the commands up to its place give; what was refused is not done |
//! | `C-SEQ` | likewise for a local read, with what its own client has seen in the place of all answers |
//! | `C-STALE` | a local read sees everything that was committed as long before it was asked as its answer says, or longer |
//! | `C-ONCE` | a write under one `(session, seq)` is carried out once, the first time it stands in the log, and has one answer; a session is known until the documented rules drop it |
//! | `C-DUR` | what is answered as done is in the log for ever: at the end at the latest, there where the answer said |
//! | `C-INT` | nothing is committed that no client asked for |
//! | `C-PREFIX` | what is committed goes on where it ended |
//!
//! An operation without an answer may stand in the log or not. One that was refused may not.
//!
//! Each check costs a few look-ups. After a violation the witness goes on as if the answer had been right, so one
//! oracle can be left out and the others go on judging.

mod model;

use std::collections::BTreeMap;

use model::{Model, Tally, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::subject::Violation;
use super::truth::Ids;
use crate::client::wire::{Envelope, ReadMode, SessionId};
use crate::entries::{Entries, EntryKind};
use crate::state_machine::SessionLimits;
use crate::state_machine::kv::{Answer, KvLimits};
use crate::types::{LogId, Micros};

/// What a check found.
pub type Verdict = Result<(), Violation>;

/// An answer to a question about one key.
#[derive(Clone, Copy, Debug)]
pub struct ReadAnswer<'a> {
    /// How fresh it had to be.
    pub mode: ReadMode,
    /// The key.
    pub key: &'a [u8],
    /// [`Witness::horizon`] when it was asked.
    pub horizon: LogId,
    /// What it had to have seen.
    pub at_least: LogId,
    /// What it says that it has seen.
    pub at: LogId,
    /// The store's answer.
    pub body: &'a [u8],
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Witness {
    model: Model,
    /// Every committed entry's id.
    committed: Ids,
    /// The highest place of any operation that was answered, local reads aside.
    completed: LogId,
    opens: Tally,
    /// Requests without a session, by the hash of their payload, and where each stands.
    appends: BTreeMap<u64, (Tally, LogId)>,
    /// Answers that named a place which was not known to be committed, or by something else: looked at again at the end.
    early: Vec<(Early, LogId)>,
    /// How long a session must have been unused before it may be dropped, by the world's clock; None: it must not be.
    idle: Option<Micros>,
    now: Micros,
    /// When the log was known to be committed how far.
    progress: Vec<(Micros, LogId)>,
}

/// What was answered as done and was not yet.
#[derive(Clone, Copy, Debug)]
enum Early {
    Write(SessionId, u64),
    Append(u64),
}

/// Of those no more are kept than this.
const EARLY_MAX: usize = 1024;

impl Witness {
    /// Before the first entry, for nodes with these limits.
    pub fn new(sessions: SessionLimits, kv: KvLimits) -> Self {
        Self { model: Model::new(sessions, kv), ..Self::default() }
    }

    /// After how long by the world's clock sessions may be dropped; without this they must not be.
    pub fn expect_idle(&mut self, idle: Micros) {
        self.idle = Some(idle);
    }

    /// The time of what is told next.
    pub fn at_time(&mut self, now: Micros) {
        self.now = now;
    }

    /// Sessions that nodes still know.
    pub fn sessions_known(&self) -> usize {
        self.model.known()
    }

    /// What everything asked from now on must come after.
    pub fn horizon(&self) -> LogId {
        self.completed
    }

    /// The last committed entry.
    pub fn last(&self) -> LogId {
        self.committed.last()
    }

    /// These entries are committed. To be told once of each, in order, before any answer that follows from it.
    pub fn committed(&mut self, run: &Entries) -> Verdict {
        let last = self.committed.last();
        if run.first() <= last {
            return fail("C-PREFIX", || format!("{} is committed after {last}", run.first()));
        }
        self.committed.push(run.first(), run.last().counter);
        self.progress.push((self.now, run.last()));
        let mut verdict = Ok(());
        if run.kind() == EntryKind::Command {
            for (at, payload) in run.iter() {
                verdict = verdict.and(self.command(at, payload));
            }
        }
        verdict
    }

    fn command(&mut self, at: LogId, payload: &[u8]) -> Verdict {
        match postcard::take_from_bytes::<Envelope>(payload) {
            Ok((Envelope::Open, [])) => {
                self.model.open(at, self.now);
                seen(&mut self.opens, at)
            }
            Ok((Envelope::Write { session, seq, floor }, command)) => {
                let write = self.model.session_mut(session).and_then(|s| s.write_mut(seq));
                let strange = || format!("{at} holds a write {session:?}/{seq} that no client sent");
                let Some(write) = write.filter(|w| w.tally.sent > 0) else { return fail("C-INT", strange) };
                let sent = if write.command == xxh3_64(command) { Ok(()) } else { fail("C-INT", strange) };
                let verdict = seen(&mut write.tally, at);
                self.model.write(at, self.now, session, seq, floor, command);
                sent.and(verdict)
            }
            Ok((Envelope::Expire { upto }, [])) => self.expired(at, upto),
            Ok((Envelope::Open | Envelope::Raw | Envelope::Expire { .. }, _)) | Err(_) => {
                let Some((tally, place)) = self.appends.get_mut(&xxh3_64(payload)) else {
                    return fail("C-INT", || format!("{at} holds {} bytes that no client sent", payload.len()));
                };
                *place = at;
                seen(tally, at)
            }
        }
    }

    /// A leader said that the sessions last used at or before `upto` are dropped: all must have been unused for long enough. (None
    /// may be left: one may have been used while this was on its way.)
    fn expired(&mut self, at: LogId, upto: LogId) -> Verdict {
        let (now, last) = (self.now, self.model.expire_idle(upto));
        match (self.idle, last) {
            (None, _) => fail("C-ONCE", || format!("{at} drops sessions, and none may be dropped here")),
            (Some(idle), Some((session, used))) if now.since(used) < idle => fail("C-ONCE", || {
                format!(
                    "{at} drops {session:?}, which was used {:?} before; it may be idle for {idle:?}",
                    now.since(used)
                )
            }),
            _ => Ok(()),
        }
    }

    /// A client asks for a session.
    pub fn open_sent(&mut self) {
        self.opens.sent += 1;
    }

    /// It was refused.
    pub fn open_refused(&mut self) -> Verdict {
        refused(&mut self.opens, || "the opening of a session".to_owned())
    }

    /// It was opened.
    pub fn opened(&mut self, horizon: LogId, at: LogId) -> Verdict {
        let verdict = match self.model.session_mut(SessionId(at)) {
            // Its client goes on with it, so there is nothing to wait for.
            None => fail("C-DUR", || format!("a session was opened at {at}, where none is")),
            Some(session) if session.claimed => fail("C-ONCE", || format!("the session {at} was opened for two")),
            Some(session) => {
                session.claimed = true;
                after(horizon, at, || "the opening of a session".to_owned())
            }
        };
        self.complete(at);
        verdict
    }

    /// A client sends a write, for the first time or again.
    pub fn write_sent(&mut self, session: SessionId, seq: u64, command: &[u8]) {
        if let Some(session) = self.model.session_mut(session) {
            session.reserve(seq);
            if let Some(write) = session.write_mut(seq) {
                write.tally.sent += 1;
                write.command = xxh3_64(command);
            }
        }
    }

    /// One attempt was refused: that one neither is nor will be in the log.
    pub fn write_refused(&mut self, session: SessionId, seq: u64) -> Verdict {
        match self.model.session_mut(session).and_then(|s| s.write_mut(seq)) {
            Some(write) => refused(&mut write.tally, || format!("the write {session:?}/{seq}")),
            None => Ok(()),
        }
    }

    /// A write was answered as done at `at`. `horizon` is that of its first attempt.
    pub fn written(&mut self, session: SessionId, seq: u64, horizon: LogId, at: LogId, body: &[u8]) -> Verdict {
        let verdict = self.check_written(session, seq, horizon, at, Some(body));
        self.complete(at);
        verdict
    }

    /// A write was answered as done at `at`, by an answer that was not kept.
    pub fn forgotten(&mut self, session: SessionId, seq: u64, horizon: LogId, at: LogId) -> Verdict {
        let verdict = self.check_written(session, seq, horizon, at, None);
        self.complete(at);
        verdict
    }

    fn check_written(
        &mut self,
        session: SessionId,
        seq: u64,
        horizon: LogId,
        at: LogId,
        body: Option<&[u8]>,
    ) -> Verdict {
        let name = || format!("the write {session:?}/{seq}");
        let write = self.model.session(session).and_then(|s| s.write(seq));
        let Some((write, done)) = write.and_then(|w| w.done.map(|d| (w, d))) else {
            return self.too_early(Early::Write(session, seq), at);
        };
        if done.at != at {
            return fail("C-ONCE", || format!("{} was answered as done at {at}; it was at {}", name(), done.at));
        }
        after(horizon, at, name)?;
        match body {
            None if done.kept => fail("C-ONCE", || format!("the answer of {} is kept and was not given", name())),
            Some(body) if !done.expected.is(body) => {
                let oracle = if write.tally.seen > 1 { "C-ONCE" } else { "C-LIN" };
                let found = Answer::decode(body).map_or_else(|e| e.to_string(), |a| short(&a));
                fail(oracle, || format!("{} at {at} was answered {found}, not {:?}", name(), done.expected))
            }
            _ => Ok(()),
        }
    }

    /// A write was answered that its session is not known.
    pub fn no_session(&self, session: SessionId, seq: u64) -> Verdict {
        match self.model.session(session) {
            Some(s) if s.known => {
                fail("C-ONCE", || format!("the session {session:?} of the write {seq} was forgotten too early"))
            }
            _ => Ok(()),
        }
    }

    /// A write was answered that its number cannot be taken.
    pub fn bad_sequence(&self, session: SessionId, seq: u64) -> Verdict {
        match self.model.session(session) {
            Some(s) if s.known && s.floor <= seq => {
                fail("C-ONCE", || format!("the number {seq} of {session:?} was not taken; its floor is {}", s.floor))
            }
            _ => Ok(()),
        }
    }

    /// A client sends, once, a payload that concerns no session. It must differ from all others.
    pub fn append_sent(&mut self, payload: &[u8]) {
        self.appends.entry(xxh3_64(payload)).or_default().0.sent += 1;
    }

    /// It was refused.
    pub fn append_refused(&mut self, payload: &[u8]) -> Verdict {
        match self.appends.get_mut(&xxh3_64(payload)) {
            Some((tally, _)) => refused(tally, || "an append".to_owned()),
            None => Ok(()),
        }
    }

    /// It was answered as stored at `at`.
    pub fn appended(&mut self, payload: &[u8], horizon: LogId, at: LogId) -> Verdict {
        let hash = xxh3_64(payload);
        let place = self.appends.get(&hash).map_or(LogId::ZERO, |(_, place)| *place);
        self.complete(at);
        if place != at {
            return self.too_early(Early::Append(hash), at);
        }
        after(horizon, at, || "an append".to_owned())
    }

    /// Something was answered as done that is not. Whether the answer was too early is for those to say who see the disks;
    /// here it is kept until the end.
    fn too_early(&mut self, what: Early, at: LogId) -> Verdict {
        if self.early.len() < EARLY_MAX {
            self.early.push((what, at));
            return Ok(());
        }
        fail("C-DUR", || format!("{EARLY_MAX} operations were answered as done which are not"))
    }

    /// A key was read.
    pub fn read(&mut self, read: &ReadAnswer<'_>) -> Verdict {
        let oracle = if read.mode.is_linearizable() { "C-LIN" } else { "C-SEQ" };
        let verdict = self.seen_upto(oracle, read).and_then(|()| {
            let expected = self.model.value_at(read.key, read.at);
            match Answer::decode(read.body) {
                Ok(Answer::Value { value }) if value.map(Value::of) == expected => Ok(()),
                answer => fail(oracle, || self.wrong_value(read, answer.as_ref().ok())),
            }
        });
        if read.mode.is_linearizable() {
            self.complete(read.at);
        }
        verdict
    }

    /// A local read was answered as of `at`, and to see everything before `since`; `bound` is what its answer said.
    pub fn bounded(&self, at: LogId, since: Micros, bound: u64) -> Verdict {
        let n = self.progress.partition_point(|(when, _)| *when < since);
        match n.checked_sub(1).map(|i| self.progress[i]) {
            Some((when, place)) if place > at => fail("C-STALE", || {
                format!(
                    "a local read was answered as of {at} and to be {bound} us old at most, since {since:?}; {place} was committed at {when:?}"
                )
            }),
            _ => Ok(()),
        }
    }

    /// A read's place alone: for questions that have no answer from the state.
    pub fn seen(&mut self, read: &ReadAnswer<'_>) -> Verdict {
        self.seen_upto(if read.mode.is_linearizable() { "C-LIN" } else { "C-SEQ" }, read)
    }

    fn seen_upto(&self, oracle: &'static str, read: &ReadAnswer<'_>) -> Verdict {
        let ReadAnswer { mode, horizon, at_least, at, .. } = *read;
        if mode.is_linearizable() && at < horizon {
            return fail("C-LIN", || format!("a read was answered as of {at}; {horizon} was answered before it began"));
        }
        if at < at_least {
            return fail("C-SEQ", || format!("a read was answered as of {at}; its client has seen {at_least}"));
        }
        if !self.committed.contains(at) {
            let last = self.last();
            return fail(oracle, || format!("a read was answered as of {at}, which is not committed; {last} is"));
        }
        Ok(())
    }

    fn wrong_value(&self, read: &ReadAnswer<'_>, answer: Option<&Answer<'_>>) -> String {
        let (key, at) = (String::from_utf8_lossy(read.key), read.at);
        let versions = self.model.versions(read.key);
        let n = versions.partition_point(|v| v.at <= at);
        let should = n.checked_sub(1).map_or(LogId::ZERO, |i| versions[i].at);
        let Some(Answer::Value { value }) = answer else {
            return format!("{key} was read as of {at}; the answer is none: {answer:?}");
        };
        let found = value.map(Value::of);
        match versions.iter().rev().find(|v| v.value == found) {
            Some(v) => format!("{key} was read as of {at}: the value of {} was found, not that of {should}", v.at),
            None if value.is_none() => {
                format!("{key} was read as of {at}: nothing was found, not the value of {should}")
            }
            None => format!("{key} was read as of {at}: a value was found that it never had"),
        }
    }

    /// At the end: what was answered as done before it was committed has been done after all, where the answer said.
    pub fn finish(&self) -> Verdict {
        for (what, at) in &self.early {
            let place = match what {
                Early::Write(session, seq) => {
                    self.model.session(*session).and_then(|s| s.write(*seq)).and_then(|w| w.done).map(|d| d.at)
                }
                Early::Append(hash) => self.appends.get(hash).map(|(_, place)| *place),
            };
            if place != Some(*at) {
                return fail("C-DUR", || format!("{what:?} was answered as done at {at}; it is lost: {place:?}"));
            }
        }
        Ok(())
    }

    fn complete(&mut self, at: LogId) {
        // A place beyond what is committed was reported; it must not condemn every later answer.
        self.completed = self.completed.max(at.min(self.committed.last()));
    }
}

#[cold]
fn fail(oracle: &'static str, what: impl FnOnce() -> String) -> Verdict {
    Err(Violation::new(oracle, what()))
}

/// An operation comes after everything that was answered before it was asked.
fn after(horizon: LogId, at: LogId, name: impl FnOnce() -> String) -> Verdict {
    if at > horizon {
        return Ok(());
    }
    fail("C-LIN", || format!("{} took effect at {at}; {horizon} was answered before it was asked", name()))
}

/// It stands in the log once more.
fn seen(tally: &mut Tally, at: LogId) -> Verdict {
    tally.seen += 1;
    let Tally { sent, refused, seen } = *tally;
    if seen + refused <= sent {
        return Ok(());
    }
    let oracle = if seen > sent { "C-ONCE" } else { "C-LIN" };
    fail(oracle, || format!("{at} holds what was sent {sent} times and refused {refused} times, for the {seen}. time"))
}

/// An attempt was refused.
fn refused(tally: &mut Tally, name: impl FnOnce() -> String) -> Verdict {
    tally.refused += 1;
    let Tally { sent, refused, seen } = *tally;
    if seen + refused <= sent {
        return Ok(());
    }
    fail("C-LIN", || format!("{} was sent {sent} times, refused {refused} times, and committed {seen} times", name()))
}

/// An answer for people: long values are cut.
fn short(answer: &Answer<'_>) -> String {
    let mut text = format!("{answer:?}");
    if let Some((end, _)) = text.char_indices().nth(80) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
