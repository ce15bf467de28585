//! What comes back: answers, lost connections and silence, and what each lets a client conclude.

use bytes::Bytes;

use super::ask::Aside;
use super::history::{Action, Fate, Value};
use super::{Asked, Attempt, ClientAct, Clients, Event, Op, Opened, What};
use crate::client::wire::{Answer, ReadMode, Response, SessionId};
use crate::protocol::Refusal;
use crate::sim::subject::Violation;
use crate::sim::witness::{ReadAnswer, Verdict};
use crate::state_machine::kv;
use crate::types::{LogId, Micros};

impl Clients {
    /// A node answers. What is answered to a connection that the client closed is not looked at.
    ///
    /// The oracles are those of the [`witness`](crate::sim::witness) and `C-ANS`: each request has at most one answer, of its
    /// own kind, and what is no request has none but `Malformed`.
    #[allow(clippy::needless_pass_by_value, reason = "an answer is used up")]
    pub fn reply(&mut self, conn: u64, response: Response, body: Bytes, now: Micros) -> Verdict {
        self.now = now;
        let Response { id, answer } = response;
        let Some(open) = self.conns.get_mut(&conn) else { return Ok(()) };
        open.requests.retain(|r| *r != id);
        let Some(attempt) = self.requests.remove(&id).filter(|a| a.conn == conn) else {
            return wrong(&format!("connection {conn} was answered {} to request {id}, not open there", answer.name()));
        };
        let Attempt { client, horizon, sent, ask, .. } = attempt;
        match ask {
            Asked::Open => self.open_answered(client, id, horizon, answer),
            Asked::Write { op, session, seq } => {
                let late = self.is_late(client, op);
                let verdict = self.judge_write(session, seq, late, horizon, &answer, &body);
                self.write_answered(client, op, id, answer, &body);
                verdict
            }
            Asked::Read { op, mode, key, at_least } => match answer {
                Answer::Read { at, stale_us } => {
                    let name = self.keys[key as usize].as_bytes();
                    let read = ReadAnswer { mode, key: name, horizon, at_least, at, body: &body };
                    let verdict = self.witness.read(&read).and(self.judge_bound(mode, at, stale_us, sent));
                    self.read_answered(client, op, at, &body);
                    verdict
                }
                Answer::Refused(refusal) => {
                    self.again(client, op, id, Some(&refusal));
                    Ok(())
                }
                other => {
                    self.again(client, op, id, None);
                    wrong(&format!("a read was answered {}", other.name()))
                }
            },
            Asked::Aside { aside, at_least } => self.aside_answered(&aside, at_least, horizon, answer, &body),
        }
    }

    /// C-STALE: what a local read's answer says of its age is so, if the node's clock is as slow as it may be.
    fn judge_bound(&mut self, mode: ReadMode, at: LogId, stale_us: Option<u64>, sent: Micros) -> Verdict {
        let Some(bound) = stale_us else { return Ok(()) };
        if mode.is_linearizable() {
            return wrong(&format!("a read that sees everything was answered as if it were {bound} us old"));
        }
        (self.tally.bounded, self.tally.bounds_us) = (self.tally.bounded + 1, self.tally.bounds_us + bound);
        // Two microseconds are lost where clocks are converted.
        let span = (bound + 2).saturating_mul(1000).div_ceil(self.slowest);
        self.witness.bounded(at, Micros(sent.0.saturating_sub(span)), bound)
    }

    fn is_late(&mut self, client: usize, op: u64) -> bool {
        let late = self.op(client, op).is_none();
        self.tally.late += u64::from(late);
        late
    }

    fn open_answered(&mut self, client: usize, request: u64, horizon: LogId, answer: Answer) -> Verdict {
        let mine = matches!(self.people[client].session, Some(Opened::Opening(Some(r))) if r == request);
        let verdict = match &answer {
            Answer::Written { at } => self.witness.opened(horizon, *at),
            Answer::Refused(_) => self.witness.open_refused(),
            Answer::Unknown => Ok(()),
            other => wrong(&format!("the opening of a session was answered {}", other.name())),
        };
        if let (true, Answer::Written { at }) = (mine, answer) {
            self.tally.sessions += 1;
            let c = &mut self.people[client];
            c.session = Some(Opened::Open(SessionId(at), 1));
            c.seen = c.seen.max(at);
            self.release(client);
        } else if mine {
            self.reopen(client);
        }
        verdict
    }

    /// Asks for a session again, after a pause.
    fn reopen(&mut self, client: usize) {
        self.people[client].session = Some(Opened::Opening(None));
        let pause = self.backoff(client, self.people[client].opens, 1);
        self.at(self.now.after(pause), Event::Reopen { client });
    }

    /// Operations that waited for a session, or for room in it, go on.
    fn release(&mut self, client: usize) {
        let waiting: Vec<u64> = self.people[client].ops.iter().filter(|op| op.waits).map(|op| op.number).collect();
        for op in waiting {
            self.at(self.now, Event::Retry { client, op });
        }
    }

    fn judge_write(
        &mut self,
        session: SessionId,
        seq: u64,
        late: bool,
        horizon: LogId,
        answer: &Answer,
        body: &[u8],
    ) -> Verdict {
        match answer {
            Answer::Written { at } => self.witness.written(session, seq, horizon, *at, body),
            Answer::Forgotten { at } => self.witness.forgotten(session, seq, horizon, *at),
            Answer::Refused(_) => self.witness.write_refused(session, seq),
            Answer::Unknown => Ok(()),
            Answer::NoSession => self.witness.no_session(session, seq),
            Answer::BadSequence { .. } if late => self.witness.bad_sequence(session, seq),
            Answer::BadSequence { floor, .. } => {
                let what =
                    format!("the write {session:?}/{seq} is open and was answered to be below the floor {floor}");
                Err(Violation::new("C-ONCE", what))
            }
            other => wrong(&format!("a write was answered {}", other.name())),
        }
    }

    fn write_answered(&mut self, client: usize, number: u64, request: u64, answer: Answer, body: &[u8]) {
        if let Answer::Written { at } | Answer::Forgotten { at } = answer {
            let c = &mut self.people[client];
            c.seen = c.seen.max(at);
        }
        let Some(op) = self.op(client, number) else { return };
        match answer {
            Answer::Written { at } => {
                let what = op.what;
                let fate = match (kv::Answer::decode(body), what) {
                    (Ok(kv::Answer::Done), _) => Fate::Set,
                    (Ok(kv::Answer::Deleted { existed }), _) => Fate::Deleted(existed),
                    (Ok(kv::Answer::Differs { found }), _) => Fate::Differs(found.and_then(Value::read)),
                    _ => Fate::Unknown,
                };
                self.learn(what, at, fate);
                self.resolve(client, number, fate, Some(at));
                self.tally.answered += 1;
            }
            Answer::Refused(refusal) => {
                op.refused += 1;
                if op.last == Some(request) && !op.maybe() && !self.quiet && self.coin(client, number, 8) {
                    return self.resolve(client, number, Fate::Failed, None);
                }
                self.again(client, number, request, Some(&refusal));
            }
            Answer::NoSession => self.session_lost(client, number),
            // What it was answered is not known, but whether it was done is.
            Answer::Forgotten { .. } | Answer::BadSequence { .. } => self.resolve(client, number, Fate::Unknown, None),
            _ => self.again(client, number, request, None),
        }
    }

    /// The nodes do not know the session of this write (any more).
    fn session_lost(&mut self, client: usize, number: u64) {
        let Some(op) = self.op(client, number) else { return };
        let (name, alone) = (op.name, op.sent - op.refused <= 1);
        if alone {
            // Its only attempt found no session: nothing was done, and it may go on under another name.
            (op.name, op.sent, op.refused, op.last) = (None, 0, 0, None);
        }
        let c = &mut self.people[client];
        if let (Some(Opened::Open(session, _)), Some((of, _))) = (&c.session, name)
            && *session == of
        {
            c.session = None;
        }
        if alone {
            self.at(self.now, Event::Retry { client, op: number });
        } else {
            self.resolve(client, number, Fate::Unknown, None);
        }
    }

    fn read_answered(&mut self, client: usize, number: u64, at: LogId, body: &[u8]) {
        let late = self.is_late(client, number);
        let c = &mut self.people[client];
        c.seen = c.seen.max(at);
        if late {
            return;
        }
        let Some(what) = self.op(client, number).map(|op| op.what) else { return };
        let fate = match kv::Answer::decode(body) {
            Ok(kv::Answer::Value { value }) => Fate::Got(value.and_then(Value::read)),
            _ => Fate::Unknown,
        };
        self.learn(what, at, fate);
        self.resolve(client, number, fate, Some(at));
        self.tally.answered += 1;
    }

    fn aside_answered(
        &mut self,
        aside: &Aside,
        at_least: LogId,
        horizon: LogId,
        answer: Answer,
        body: &[u8],
    ) -> Verdict {
        match (aside, answer) {
            (Aside::NoWrite, Answer::Malformed(_))
            | (Aside::Append { sound: false, .. }, Answer::Malformed(_) | Answer::Unknown)
            | (Aside::Append { sound: true, .. }, Answer::Unknown)
            | (Aside::NoQuery { .. } | Aside::Status | Aside::Log, Answer::Refused(_))
            | (Aside::Status, Answer::Status(_))
            | (Aside::Log, Answer::Log(_)) => Ok(()),
            (Aside::Append { payload, .. }, Answer::Refused(_)) => self.witness.append_refused(payload),
            (Aside::Append { payload, sound: true }, Answer::Written { at }) => {
                self.witness.appended(payload, horizon, at)
            }
            (Aside::NoQuery { mode }, Answer::Read { at, .. }) => {
                if kv::Answer::decode(body) != Ok(kv::Answer::Malformed) {
                    return wrong("a query that is none was answered as if it were one");
                }
                self.witness.seen(&ReadAnswer { mode: *mode, key: &[], horizon, at_least, at, body })
            }
            (aside, answer) => wrong(&format!("{aside:?} was answered {}", answer.name())),
        }
    }

    /// An attempt ended without an outcome: another follows after a pause, if it was the last one.
    fn again(&mut self, client: usize, number: u64, request: u64, why: Option<&Refusal>) {
        let Some(op) = self.op(client, number) else { return };
        if let Some(Refusal::NotLeader { leader }) = why {
            op.hint = *leader;
        }
        if op.last != Some(request) {
            return;
        }
        op.last = None;
        let tries = op.tries;
        let pause = self.backoff(client, number, tries.into());
        self.at(self.now.after(pause), Event::Retry { client, op: number });
    }

    /// A pause that doubles with each try, up to the time-out, and is shortened at random by up to a half.
    fn backoff(&self, client: usize, number: u64, tries: u64) -> Micros {
        let most = (self.shape.retry_us / if self.quiet { 4 } else { 1 }).max(1000);
        let full = ((most / 16) << tries.min(4)).min(most);
        let draw = self.streams.draw("backoff", [client as u64, number, tries]);
        Micros(full / 2 + draw % (full / 2 + 1) + 1)
    }

    fn coin(&self, client: usize, number: u64, sides: u64) -> bool {
        let tries = self.people[client].ops.iter().find(|op| op.number == number).map_or(0, |op| op.tries);
        let key = u64::from(tries) << 8 | sides;
        self.streams.draw("coin", [client as u64, number, key]).is_multiple_of(sides)
    }

    /// A request was not answered in time: it is asked elsewhere, and its answer may still come.
    pub(super) fn time_out(&mut self, request: u64, out: &mut Vec<ClientAct>) {
        let Some(Attempt { conn, client, ask, .. }) = self.requests.get(&request) else { return };
        let (conn, client) = (*conn, *client);
        let op = match ask {
            Asked::Open => {
                if matches!(self.people[client].session, Some(Opened::Opening(Some(r))) if r == request) {
                    self.reopen(client);
                    if self.coin(client, request, 2) {
                        out.push(ClientAct::Close { conn });
                        self.lose(conn);
                    }
                }
                return;
            }
            Asked::Aside { aside: Aside::NoHeader, .. } => {
                out.push(ClientAct::Close { conn });
                return self.lose(conn);
            }
            Asked::Aside { .. } => return,
            Asked::Write { op, .. } | Asked::Read { op, .. } => *op,
        };
        let Some(found) = self.op(client, op).filter(|op| op.last == Some(request)) else { return };
        found.last = None;
        let (tries, write) = (found.tries, found.mode().is_none());
        if self.coin(client, op, 2) {
            out.push(ClientAct::Close { conn });
            self.lose(conn);
        }
        if tries > 1 && write && !self.quiet && self.coin(client, op, 8) {
            return self.resolve(client, op, Fate::Unknown, None);
        }
        self.at(self.now, Event::Retry { client, op });
    }

    /// A connection is gone, and with it the answers to what was asked on it.
    pub(super) fn lose(&mut self, conn: u64) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        self.people[gone.client].conns.retain(|(_, c)| *c != conn);
        for request in gone.requests {
            let Some(Attempt { client, ask, .. }) = self.requests.remove(&request) else { continue };
            match ask {
                Asked::Write { op, .. } | Asked::Read { op, .. } => self.again(client, op, request, None),
                Asked::Open => {
                    if matches!(self.people[client].session, Some(Opened::Opening(Some(r))) if r == request) {
                        self.reopen(client);
                    }
                }
                Asked::Aside { .. } => {}
            }
        }
    }

    /// Gives an operation its outcome.
    pub(super) fn resolve(&mut self, client: usize, number: u64, fate: Fate, at: Option<LogId>) {
        let c = &mut self.people[client];
        let Some(i) = c.ops.iter().position(|op| op.number == number) else { return };
        let Op { what, .. } = c.ops.remove(i);
        let owes = std::mem::take(&mut c.owes);
        if let What::Known { record: Some(record), .. } = what {
            self.history.answered(record, fate, at, self.now);
        }
        match (fate, what) {
            (Fate::Failed, _) => self.tally.failed += 1,
            (Fate::Unknown, What::Known { .. }) => self.tally.unknown += 1,
            _ => {}
        }
        if owes {
            self.at(self.now, Event::Owed { client });
        }
        self.release(client);
    }

    /// Remembers what a key holds, to guess well.
    fn learn(&mut self, what: What, at: LogId, fate: Fate) {
        let What::Known { action, key, .. } = what else { return };
        let value = match (action, fate) {
            (Action::Put { value } | Action::CompareAndSet { value, .. }, Fate::Set) => Some(value),
            (Action::Delete, Fate::Deleted(_)) => None,
            (_, Fate::Differs(value) | Fate::Got(value)) => value,
            _ => return,
        };
        let known = self.known.entry(key).or_default();
        if at >= known.at {
            if known.value != value {
                known.before = known.value;
            }
            (known.at, known.value) = (at, value);
        }
    }
}

#[cold]
fn wrong(what: &str) -> Verdict {
    Err(Violation::new("C-ANS", what))
}
