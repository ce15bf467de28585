//! What is asked and what was answered: every request of a client from the moment it is taken until it has its outcome.
//!
//! A value like the protocols: it owns no socket, clock or task. It is told what happens (a request, a frame, a lost
//! connection, the time) and says what to send. The rules it keeps:
//!
//! 1. A write keeps its `(session, seq)` through all retries, on whichever connection, so it is carried out at most once.
//! 2. A write is called "not done" only if no attempt of it can have reached a log: none was sent, or every one was refused.
//!    A lost connection or an `Unknown` leaves a doubt that no later refusal removes.
//! 3. The floor passes a number only when its write has an outcome or was given up. After that an attempt still on
//!    its way is below the floor, and the cluster will not carry it out late.
//! 4. Reads never go back: each asks for at least everything that an earlier answer had seen.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::config::MAX_WINDOW;
use super::error::{Cause, ClientError};
use super::numbers::Numbers;
use super::route::Backoff;
use super::wire::{Answer, Ask, Envelope, NodeStatus, ReadMode, Request, Response, SessionId};
use crate::protocol::Refusal;
use crate::transport::{FrameError, FrameWriter};
use crate::types::{LogId, NodeId};

/// Nothing more is added to the queue when so much waits for the socket.
const QUEUE_BYTES: usize = 1 << 20;

/// Where requests go: the writing half of a connection, or a test.
pub(super) trait Outbox {
    /// Queues a request.
    fn push(&mut self, request: &Request, body: &Bytes) -> Result<(), FrameError>;
    /// Bytes that wait to be written.
    fn pending(&self) -> usize;
}

impl Outbox for FrameWriter {
    fn push(&mut self, request: &Request, body: &Bytes) -> Result<(), FrameError> {
        Self::push(self, request, body)
    }

    fn pending(&self) -> usize {
        Self::pending(self)
    }
}

/// An answer to a write or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// A write: where it stands in the log. A read: everything up to here was applied when it was answered.
    pub at: LogId,
    /// Of a local read: it sees everything that was answered up to so long before it was asked, by the clock of the node that
    /// answered. None if that node cannot say, and for everything else.
    pub stale: Option<Duration>,
    /// The state machine's answer.
    pub body: Bytes,
}

/// A caller's request.
#[derive(Clone, Debug)]
pub(super) enum What {
    Write(Bytes),
    Raw(Bytes),
    Read { mode: ReadMode, query: Bytes },
}

/// A request and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) what: What,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Reply, ClientError>>,
}

#[derive(Debug)]
enum Kind {
    Job {
        what: What,
        reply: oneshot::Sender<Result<Reply, ClientError>>,
    },
    /// Was given up by its caller or its deadline while under way; its answer will be dropped.
    Ghost,
    /// Opens the session.
    Open,
    /// Asks the node who leads.
    Probe,
}

#[derive(Debug)]
struct Op {
    kind: Kind,
    /// Whether it is under way on the present connection.
    sent: bool,
    /// Whether an earlier attempt may have taken effect.
    maybe: bool,
    /// The write's name, from its first attempt on.
    number: Option<(SessionId, u64)>,
    /// Which kind of progress it waits for.
    lane: usize,
}

/// Requests that need a quorum, and those a node answers alone. If one kind is answered and the other is not, the
/// connection has stalled all the same.
const QUORUM: usize = 0;
const LOCAL: usize = 1;

#[derive(Debug, Default)]
enum Session {
    #[default]
    Closed,
    Opening,
    Open(SessionId, Numbers),
}

/// What the connection's owner must do after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Go on.
    Stay,
    /// This node says that it does not lead.
    NotLeader(Option<NodeId>),
    /// The answer to [`Exchange::probe`]; None if the node is too busy to say.
    Probed(Option<Box<NodeStatus>>),
}

/// The node broke the protocol: the connection must be closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node {0}")]
pub(super) struct Violation(pub(super) String);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Exchange {
    window: usize,
    timeout: Duration,
    ops: HashMap<u64, Op>,
    next: u64,
    /// Waiting to be sent: writes, which need a session, and everything else by lane. May name ops that are no more.
    writes: VecDeque<u64>,
    others: [VecDeque<u64>; 2],
    /// When ops must have their outcome, in order. May name ops that are no more.
    deadlines: VecDeque<(Instant, u64)>,
    /// When ops were sent on this connection, in order, by lane. May name ops that are no more.
    sent: [VecDeque<(Instant, u64)>; 2],
    /// The last answer on this connection, by lane.
    heard: [Option<Instant>; 2],
    in_flight: usize,
    session: Session,
    at_least: LogId,
    /// Nothing of the lane is sent before.
    hold: [Option<Instant>; 2],
    backoff: Backoff,
    /// The last thing that went wrong, for the errors of those who run out of time.
    trouble: Option<String>,
    scratch: BytesMut,
}

impl Exchange {
    pub(super) fn new(window: usize, timeout: Duration, backoff: Backoff) -> Self {
        Self {
            window,
            timeout,
            ops: HashMap::new(),
            next: 1,
            writes: VecDeque::new(),
            others: Default::default(),
            deadlines: VecDeque::new(),
            sent: Default::default(),
            heard: [None; 2],
            in_flight: 0,
            session: Session::Closed,
            at_least: LogId::ZERO,
            hold: [None; 2],
            backoff,
            trouble: None,
            scratch: BytesMut::new(),
        }
    }

    /// How many more requests it takes.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.ops.len())
    }

    /// How many requests are under way on the connection.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes a request.
    pub(super) fn submit(&mut self, job: Job) {
        let Job { what, deadline, reply } = job;
        let write = matches!(what, What::Write(_));
        let lane = if matches!(what, What::Read { mode: ReadMode::Local, .. }) { LOCAL } else { QUORUM };
        let id = self.add(Kind::Job { what, reply }, lane);
        if write { &mut self.writes } else { &mut self.others[lane] }.push_back(id);
        self.deadlines.push_back((deadline, id));
    }

    /// Asks the node who leads, before everything else.
    pub(super) fn probe(&mut self, now: Instant, out: &mut dyn Outbox) {
        let id = self.add(Kind::Probe, LOCAL);
        self.send(id, now, &Ask::Status, &Bytes::new(), out);
    }

    fn add(&mut self, kind: Kind, lane: usize) -> u64 {
        let id = self.next;
        self.next += 1;
        self.ops.insert(id, Op { kind, sent: false, maybe: false, number: None, lane });
        id
    }

    /// Sends what can be sent now.
    pub(super) fn pump(&mut self, now: Instant, out: &mut dyn Outbox) {
        let room = |me: &Self, out: &dyn Outbox| me.in_flight < me.window && out.pending() < QUEUE_BYTES;
        for lane in [LOCAL, QUORUM] {
            self.hold[lane] = self.hold[lane].filter(|t| now < *t);
            while self.hold[lane].is_none()
                && room(self, out)
                && let Some(id) = self.others[lane].pop_front()
            {
                self.send_other(id, now, out);
            }
        }
        while self.hold[QUORUM].is_none()
            && room(self, out)
            && let Some(id) = self.writes.pop_front()
        {
            if !self.send_write(id, now, out) {
                self.writes.push_front(id);
                break;
            }
        }
    }

    fn send_other(&mut self, id: u64, now: Instant, out: &mut dyn Outbox) {
        let Some(Op { kind: Kind::Job { what, reply }, .. }) = self.ops.get(&id) else { return };
        if reply.is_closed() {
            return self.resolve(id, Err(ClientError::NotDone(Cause::Closed)));
        }
        match what {
            What::Read { mode, query } => {
                let (ask, query) = (Ask::Read { mode: *mode, at_least: self.at_least }, query.clone());
                self.send(id, now, &ask, &query, out);
            }
            What::Raw(bytes) | What::Write(bytes) => {
                let body = enveloped(&mut self.scratch, Envelope::Raw, bytes);
                self.send(id, now, &Ask::Write, &body, out);
            }
        }
    }

    /// False if writes must wait.
    fn send_write(&mut self, id: u64, now: Instant, out: &mut dyn Outbox) -> bool {
        let Some(op) = self.ops.get_mut(&id) else { return true };
        let Kind::Job { what: What::Write(command), reply } = &op.kind else { return true };
        if reply.is_closed() {
            // Nobody waits for it: what became of it will not be asked, and its number need not stay open.
            let maybe = op.maybe;
            self.resolve(id, Err(ClientError::of(maybe, Cause::Closed)));
            return true;
        }
        let (session, numbers) = match &mut self.session {
            Session::Open(session, numbers) => (*session, numbers),
            Session::Opening => return false,
            Session::Closed => {
                self.open(now, out);
                return false;
            }
        };
        if op.number.is_some_and(|(s, _)| s != session) {
            if op.maybe {
                // Only the session that was lost could have told.
                self.resolve(id, Err(ClientError::OutcomeUnknown(Cause::SessionLost)));
                return true;
            }
            op.number = None;
        }
        let seq = match op.number {
            Some((_, seq)) => seq,
            None => match numbers.take() {
                Some(seq) => seq,
                None => return false,
            },
        };
        op.number = Some((session, seq));
        let envelope = Envelope::Write { session, seq, floor: numbers.floor() };
        let body = enveloped(&mut self.scratch, envelope, command);
        self.send(id, now, &Ask::Write, &body, out);
        true
    }

    fn open(&mut self, now: Instant, out: &mut dyn Outbox) {
        let id = self.add(Kind::Open, QUORUM);
        self.session = Session::Opening;
        let body = enveloped(&mut self.scratch, Envelope::Open, &[]);
        self.send(id, now, &Ask::Write, &body, out);
    }

    fn send(&mut self, id: u64, now: Instant, ask: &Ask, body: &Bytes, out: &mut dyn Outbox) {
        // Requests are small but for the body, whose size was checked when it was taken.
        if let Err(e) = out.push(&Request { id, ask: ask.clone() }, body) {
            let maybe = self.ops.get(&id).is_some_and(|op| op.maybe);
            self.resolve(id, Err(ClientError::of(maybe, Cause::Malformed(e.to_string()))));
            return;
        }
        if let Some(op) = self.ops.get_mut(&id) {
            op.sent = true;
            self.in_flight += 1;
            self.sent[op.lane].push_back((now, id));
        }
    }

    /// An answer came.
    pub(super) fn answered(&mut self, now: Instant, response: Response, body: Bytes) -> Result<Turn, Violation> {
        let Response { id, answer } = response;
        let Some(op) = self.ops.get_mut(&id).filter(|op| op.sent) else {
            return Err(Violation(format!("answered request {id}, which was not asked")));
        };
        op.sent = false;
        self.in_flight -= 1;
        self.heard[op.lane] = Some(now);
        match (&op.kind, answer) {
            (Kind::Ghost, _) => {
                self.ops.remove(&id);
                Ok(Turn::Stay)
            }
            (Kind::Probe, Answer::Status(status)) => {
                self.ops.remove(&id);
                Ok(Turn::Probed(Some(status)))
            }
            (Kind::Probe, Answer::Refused(_)) => {
                self.ops.remove(&id);
                Ok(Turn::Probed(None))
            }
            (Kind::Probe, other) => Err(self.mismatch(id, &other)),
            (Kind::Job { what: What::Read { .. }, .. }, Answer::Read { at, stale_us }) => {
                self.done(id, at, stale_us.map(Duration::from_micros), body);
                Ok(Turn::Stay)
            }
            (Kind::Job { what: What::Raw(_), .. }, Answer::Written { at }) => {
                self.done(id, at, None, body);
                Ok(Turn::Stay)
            }
            (Kind::Job { what: What::Write(_), .. }, answer) => self.write_answered(id, now, answer, body),
            (Kind::Open, answer) => self.open_answered(id, now, answer),
            (_, Answer::Refused(refusal)) => Ok(self.refused(id, now, refusal)),
            (_, Answer::Unknown) => {
                self.unknown(id, now);
                Ok(Turn::Stay)
            }
            (_, Answer::Malformed(why)) => {
                self.resolve(id, Err(ClientError::NotDone(Cause::Malformed(why))));
                Ok(Turn::Stay)
            }
            (_, other) => Err(self.mismatch(id, &other)),
        }
    }

    fn write_answered(&mut self, id: u64, now: Instant, answer: Answer, body: Bytes) -> Result<Turn, Violation> {
        let maybe = self.ops[&id].maybe;
        match answer {
            Answer::Written { at } => self.done(id, at, None, body),
            Answer::Forgotten { at } => self.resolve(id, Err(ClientError::AnswerForgotten { at })),
            Answer::Refused(refusal) => return Ok(self.refused(id, now, refusal)),
            Answer::Unknown => self.unknown(id, now),
            Answer::NoSession => self.session_lost(id),
            Answer::BadSequence { floor, seq } => {
                // Above the window it was not carried out this time; below the floor nobody can say any more.
                let cause = Cause::BadSequence { floor, seq };
                self.resolve(id, Err(ClientError::of(maybe || seq < floor, cause)));
            }
            Answer::Malformed(why) => self.resolve(id, Err(ClientError::NotDone(Cause::Malformed(why)))),
            other @ (Answer::Read { .. }
            | Answer::Status(_)
            | Answer::Log(_)
            | Answer::Transferred { .. }
            | Answer::Changed { .. }) => {
                return Err(self.mismatch(id, &other));
            }
        }
        Ok(Turn::Stay)
    }

    fn open_answered(&mut self, id: u64, now: Instant, answer: Answer) -> Result<Turn, Violation> {
        self.ops.remove(&id);
        self.session = Session::Closed;
        match answer {
            Answer::Written { at } => {
                self.went_well(at);
                self.session = Session::Open(SessionId(at), Numbers::new(MAX_WINDOW as u64));
            }
            Answer::Refused(refusal) => {
                self.hold(QUORUM, now, refusal.to_string());
                if let Refusal::NotLeader { leader } = refusal {
                    return Ok(Turn::NotLeader(leader));
                }
            }
            // A session too many does no harm: it is evicted one day.
            Answer::Unknown => self.hold(QUORUM, now, "the node cannot say whether a session was opened".into()),
            other => return Err(Violation(format!("answered the opening of a session by {}", other.name()))),
        }
        Ok(Turn::Stay)
    }

    /// The cluster does not know the session of this write. Writes of the same session that are under way get answers of
    /// their own.
    fn session_lost(&mut self, id: u64) {
        let op = &self.ops[&id];
        if let Session::Open(session, _) = &self.session
            && op.number.is_some_and(|(s, _)| s == *session)
        {
            self.session = Session::Closed;
        }
        if op.maybe {
            self.resolve(id, Err(ClientError::OutcomeUnknown(Cause::SessionLost)));
        } else {
            // Its only attempt was not carried out, so it may go on under a new name.
            self.again(id);
        }
    }

    fn done(&mut self, id: u64, at: LogId, stale: Option<Duration>, body: Bytes) {
        self.went_well(at);
        self.resolve(id, Ok(Reply { at, stale, body }));
    }

    fn went_well(&mut self, at: LogId) {
        self.at_least = self.at_least.max(at);
        self.backoff.reset();
    }

    /// Nothing was done this time; tries again unless it is for good.
    fn refused(&mut self, id: u64, now: Instant, refusal: Refusal) -> Turn {
        if let Refusal::Unsupported(_) = refusal {
            let maybe = self.ops.get(&id).is_some_and(|op| op.maybe);
            self.resolve(id, Err(ClientError::of(maybe, refusal.into())));
            return Turn::Stay;
        }
        let lane = self.ops.get(&id).map_or(QUORUM, |op| op.lane);
        self.hold(lane, now, refusal.to_string());
        self.again(id);
        match refusal {
            Refusal::NotLeader { leader } => Turn::NotLeader(leader),
            _ => Turn::Stay,
        }
    }

    fn unknown(&mut self, id: u64, now: Instant) {
        let lane = self.ops.get(&id).map_or(QUORUM, |op| op.lane);
        self.hold(lane, now, "the node could not say what became of a request".into());
        self.in_doubt(id, Cause::Unanswered);
    }

    /// An attempt ended without an answer that says anything.
    fn in_doubt(&mut self, id: u64, cause: Cause) {
        let Some(op) = self.ops.get_mut(&id) else { return };
        match &op.kind {
            Kind::Job { what: What::Raw(_), .. } => self.resolve(id, Err(ClientError::OutcomeUnknown(cause))),
            Kind::Job { what, .. } => {
                op.maybe |= matches!(what, What::Write(_));
                self.again(id);
            }
            Kind::Open => {
                self.session = Session::Closed;
                self.ops.remove(&id);
            }
            Kind::Probe | Kind::Ghost => {
                self.ops.remove(&id);
            }
        }
    }

    /// Sends it again, before those that wait for the first time.
    fn again(&mut self, id: u64) {
        match self.ops.get(&id).map(|op| (&op.kind, op.lane)) {
            Some((Kind::Job { what: What::Write(_), .. }, _)) => self.writes.push_front(id),
            Some((Kind::Job { .. }, lane)) => self.others[lane].push_front(id),
            _ => drop(self.ops.remove(&id)),
        }
    }

    fn mismatch(&mut self, id: u64, answer: &Answer) -> Violation {
        let what = match self.ops.get(&id).map(|op| &op.kind) {
            Some(Kind::Job { what: What::Write(_), .. }) => "a write",
            Some(Kind::Job { what: What::Raw(_), .. }) => "an append",
            Some(Kind::Job { what: What::Read { .. }, .. }) => "a read",
            _ => "a status request",
        };
        let violation = Violation(format!("answered {what} by {}", answer.name()));
        self.in_doubt(id, Cause::ConnectionLost(violation.to_string()));
        violation
    }

    /// Gives a request its outcome.
    fn resolve(&mut self, id: u64, result: Result<Reply, ClientError>) {
        let Some(op) = self.ops.remove(&id) else { return };
        if op.sent {
            self.in_flight -= 1;
        }
        self.finish(op.number);
        if let Kind::Job { reply, .. } = op.kind {
            // The caller may have stopped waiting.
            let _ = reply.send(result);
        }
    }

    fn finish(&mut self, number: Option<(SessionId, u64)>) {
        if let (Session::Open(session, numbers), Some((of, seq))) = (&mut self.session, number)
            && *session == of
        {
            numbers.finish(seq);
        }
    }

    /// Pauses a lane, unless it pauses already.
    fn hold(&mut self, lane: usize, now: Instant, why: String) {
        self.trouble = Some(why);
        if self.hold[lane].is_none() {
            self.hold[lane] = Some(now + self.backoff.pause());
        }
    }

    /// A connection failed, or could not be set up.
    pub(super) fn trouble(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// A node that leads was found: nothing stands in the way any more.
    pub(super) fn release(&mut self) {
        self.hold = [None; 2];
    }

    /// The connection is gone, and with it the answers to what was under way.
    pub(super) fn lost(&mut self, why: &str) {
        let mut under_way: Vec<u64> = self.ops.iter().filter(|(_, op)| op.sent).map(|(id, _)| *id).collect();
        under_way.sort_unstable();
        for id in under_way.into_iter().rev() {
            if let Some(op) = self.ops.get_mut(&id) {
                op.sent = false;
            }
            self.in_doubt(id, Cause::ConnectionLost(why.to_owned()));
        }
        self.in_flight = 0;
        self.sent.iter_mut().for_each(VecDeque::clear);
        self.heard = [None; 2];
        self.trouble = Some(why.to_owned());
    }

    /// Gives up what is out of time.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.front().copied() {
            if deadline > now && self.ops.contains_key(&id) {
                break;
            }
            // Out of time, or it has its outcome and the line only waited to be struck out.
            self.deadlines.pop_front();
            self.give_up(id);
        }
    }

    fn give_up(&mut self, id: u64) {
        let Some(op) = self.ops.get_mut(&id) else { return };
        let cause = Cause::Deadline { after: self.timeout, last: self.trouble.clone() };
        let read = matches!(op.kind, Kind::Job { what: What::Read { .. }, .. });
        let error = ClientError::of(!read && (op.sent || op.maybe), cause);
        if !op.sent {
            return self.resolve(id, Err(error));
        }
        // Its answer may still come, and must not be taken for one to nothing.
        let number = op.number.take();
        if let Kind::Job { reply, .. } = std::mem::replace(&mut op.kind, Kind::Ghost) {
            let _ = reply.send(Err(error));
        }
        self.finish(number);
    }

    /// When it next wants to be told the time. `stall` is how long a connection may be silent.
    pub(super) fn wake_at(&mut self, now: Instant, stall: Duration) -> Option<Instant> {
        while self.deadlines.front().is_some_and(|(_, id)| !self.ops.contains_key(id)) {
            self.deadlines.pop_front();
        }
        let deadline = self.deadlines.front().map(|(t, _)| *t);
        let stalled = (0..2).filter_map(|lane| self.stalls_at(lane, stall)).min();
        let held = self.hold.iter().copied().flatten().filter(|t| *t > now).min();
        [deadline, stalled, held].into_iter().flatten().min()
    }

    /// Whether something was asked on this connection and nothing of its kind answered for `stall`.
    pub(super) fn stalled(&mut self, now: Instant, stall: Duration) -> bool {
        (0..2).any(|lane| self.stalls_at(lane, stall).is_some_and(|t| t <= now))
    }

    fn stalls_at(&mut self, lane: usize, stall: Duration) -> Option<Instant> {
        let Self { sent, ops, heard, .. } = self;
        while sent[lane].front().is_some_and(|(_, id)| ops.get(id).is_none_or(|op| !op.sent)) {
            sent[lane].pop_front();
        }
        let (oldest, _) = *sent[lane].front()?;
        // A request that is passed over while others are answered would hold its place in the window for ever.
        Some(heard[lane].map_or(oldest, |h| h.max(oldest)).min(oldest + self.timeout) + stall)
    }
}

/// The envelope with the command behind it.
fn enveloped(scratch: &mut BytesMut, envelope: Envelope, command: &[u8]) -> Bytes {
    // Five numbers of at most ten bytes and the variant.
    let mut head = [0; 64];
    let head = postcard::to_slice(&envelope, &mut head).map_or(&[][..], |head| &*head);
    scratch.reserve(head.len() + command.len());
    scratch.extend_from_slice(head);
    scratch.extend_from_slice(command);
    scratch.split().freeze()
}

#[cfg(test)]
mod tests;
