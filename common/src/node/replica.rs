//! The replica: inputs to the core, effects to the outputs, in the order the contract of [`protocol`](crate::protocol)
//! demands of a caller.
//!
//! Two of its promises are kept here and nowhere else. What was reported durable before a truncation is not believed
//! after it: answers of the log worker carry the number of cuts it had made, and those with fewer than were asked
//! for are dropped. And once a disk has failed, nothing leaves any more, not even what was ready: a promise
//! made after a failed fsync is the one that loses data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::apply::ApplyEvent;
use super::applying::{Applying, MYSELF};
use super::config::ReplicaConfig;
use super::expiry::Expiry;
use super::forward::{Forwards, Orders};
use super::freshness::Freshness;
use super::io::{Input, Outputs, PeerOut};
use super::members::Known;
use super::pacing::Pacing;
use super::proposals::Writes;
use super::reads::Reads;
use super::requests::{Requests, Ticket};
use super::snapshots::Snapshots;
use super::tracer::{TraceSink, Tracer, id_value, message_value};
use crate::client::wire::{Answer, NodeStatus};
use crate::codec::Message;
use crate::log::LogView;
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::protocol::{Boot, Effect, Effects, Input as CoreInput, Leadership, Protocol};
use crate::state_machine::Applied;
use crate::storage::{LogEvent, LogLine, LogOp, SnapshotOp};
use crate::transport::{Frame, FrameError, Session, channel};
use crate::types::{LogId, Member, Micros, NodeId, Role};
use crate::{mark, mutant};

/// How a replica starts.
pub struct ReplicaBoot<P: Protocol> {
    /// Who this node is.
    pub id: NodeId,
    /// Who belonged to the cluster where the snapshot ends, and the entry that said so; zero for the settings.
    pub membership: (LogId, Membership),
    /// The protocol's timers and limits.
    pub protocol: P::Config,
    /// The replica's limits, validated.
    pub config: ReplicaConfig,
    /// For randomised time-outs.
    pub seed: u64,
    /// The time now.
    pub now: Micros,
    /// What the protocol saved last; the default for a node which never ran.
    pub hard: P::Hard,
    /// The newest stored snapshot, which the state machine has loaded; zero if there is none.
    pub snapshot: LogId,
    /// The durable log.
    pub log: LogView,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where events are recorded, if they are.
    pub trace: Option<TraceSink>,
    /// Asked for each status: what the caller measures of its process (names and values).
    pub gauges: Box<dyn FnMut() -> Vec<(String, u64)> + Send>,
}

/// The sessions with peers.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<NodeId, Link>);

#[derive(Debug)]
struct Link {
    session: Session,
    /// Its end was asked for. What still comes on it is not looked at, and nothing more is sent.
    ending: bool,
}

impl Peers {
    /// Every session that can be sent on.
    pub(super) fn all(&self) -> Vec<Session> {
        self.0.values().filter(|l| !l.ending).map(|l| l.session).collect()
    }

    /// The session with a peer, if there is one to send on.
    pub(super) fn session(&self, peer: NodeId) -> Option<Session> {
        self.0.get(&peer).filter(|l| !l.ending).map(|l| l.session)
    }
}

/// A protocol, its clients and what it waits for. See the [module](super).
pub struct Replica<P: Protocol> {
    pub(super) core: P,
    fx: Effects<P>,
    pub(super) me: NodeId,
    pub(super) config: ReplicaConfig,
    pub(super) now: Micros,
    pub(super) known: Known,
    /// Who led after the last step.
    pub(super) led: Leadership,
    pub(super) out: Outputs<P::Message>,
    pub(super) requests: Requests,
    pub(super) writes: Writes,
    pub(super) forwards: Forwards,
    pub(super) reads: Reads,
    pub(super) freshness: Freshness,
    pub(super) orders: Orders,
    pub(super) applying: Applying,
    pub(super) expiry: Expiry,
    pub(super) snapshots: Snapshots,
    pub(super) pacing: Pacing,
    pub(super) peers: Peers,
    /// Truncations and resets asked of the log worker.
    pub(super) cuts: u64,
    shows: BTreeMap<u64, Ticket>,
    next_show: u64,
    pub(super) counters: Arc<Counters>,
    pub(super) tracer: Tracer,
    gauges: Box<dyn FnMut() -> Vec<(String, u64)> + Send>,
    halted: bool,
}

impl<P: Protocol> fmt::Debug for Replica<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("id", &self.me).field("led", &self.led).finish_non_exhaustive()
    }
}

impl<P: Protocol> Replica<P> {
    /// A replica as it starts. Nothing comes out before the first [`flush`](Self::flush).
    pub fn new(boot: ReplicaBoot<P>) -> Self {
        let (snapshot, known) = (boot.snapshot, Known::new(boot.membership.clone()));
        let core = P::new(Boot {
            id: boot.id,
            membership: boot.membership,
            config: boot.protocol,
            seed: boot.seed,
            now: boot.now,
            hard: boot.hard,
            snapshot,
            log: boot.log,
        });
        let mut applying = Applying::new(snapshot, core.committed());
        if mutant!("C26") {
            applying.leave_out(&core.log().cached(snapshot, core.log().last()).unwrap_or_default());
        }
        Self {
            fx: Effects::new(boot.trace.is_some()),
            me: boot.id,
            config: boot.config,
            now: boot.now,
            led: core.leadership(),
            out: Outputs::default(),
            requests: Requests::default(),
            writes: Writes::default(),
            forwards: Forwards::default(),
            reads: Reads::default(),
            freshness: Freshness::default(),
            orders: Orders::default(),
            known,
            applying,
            expiry: Expiry::default(),
            snapshots: Snapshots::new(snapshot),
            pacing: Pacing::default(),
            peers: Peers::default(),
            cuts: 0,
            shows: BTreeMap::new(),
            next_show: 0,
            counters: boot.counters,
            tracer: Tracer::new(boot.trace, boot.id),
            gauges: boot.gauges,
            halted: false,
            core,
        }
    }

    /// Takes in one thing that happened, at time `now`, which never goes back.
    pub fn input(&mut self, now: Micros, input: Input) {
        if self.halted {
            return;
        }
        self.now = self.now.max(now);
        self.tracer.turn(self.now);
        match input {
            Input::PeerUp { session, member } => self.peer_up(session, member),
            Input::PeerFrame { session, frame } => self.peer_frame(session, frame),
            Input::PeerDown { session } => self.peer_down(session),
            Input::ClientUp { conn } => self.requests.up(conn),
            Input::ClientFrame { conn, header, body } => self.client_frame(conn, &header, body),
            Input::ClientDown { conn } => self.requests.down(conn),
            Input::Log(event) => self.log_event(event),
            Input::Snapshot(event) => self.snapshot_event(event),
            Input::Apply(event) => self.apply_event(event),
        }
    }

    /// Ends a turn: everything that came in has been taken in. Call it after each bunch of inputs, and when
    /// [`wake_at`](Self::wake_at) has come; then carry out the [`outputs`](Self::outputs).
    pub fn flush(&mut self, now: Micros) {
        if self.halted {
            return;
        }
        self.now = self.now.max(now);
        self.tracer.turn(self.now);
        if self.core.wake_at().is_some_and(|at| at <= self.now) {
            self.step(CoreInput::Tick);
        }
        self.flush_writes();
        self.flush_freshness();
        self.flush_reads();
        self.flush_committed();
        self.release_reads(self.applying.covered);
        self.flush_expiry();
        self.flush_snapshots();
        self.flush_pacing();
        self.flush_members();
        if mutant!("N03") {
            self.out.peers.reverse();
        }
    }

    /// What is to be done. The caller empties it.
    pub fn outputs(&mut self) -> &mut Outputs<P::Message> {
        &mut self.out
    }

    /// When the next turn is due if nothing comes in before. Only of use after a `flush`.
    pub fn wake_at(&self) -> Option<Micros> {
        if self.halted {
            return None;
        }
        let own = [self.writes_wake_at(), self.reads_wake_at(), self.expiry_wake_at(), self.pacing_wake_at()];
        own.into_iter().chain([self.core.wake_at()]).flatten().min()
    }

    /// The protocol's core, to look at.
    pub fn core(&self) -> &P {
        &self.core
    }

    /// The last entry handed to the state machine.
    pub fn handed(&self) -> LogId {
        self.applying.handed()
    }

    /// A queue that holds more than it may, if there is one: for C-RES.
    pub(crate) fn overfull(&self) -> Option<String> {
        let ((requests, bytes), limits) = (self.requests.pending(), &self.config);
        [
            ("requests", requests, limits.pending_requests),
            ("bytes of requests", bytes, limits.pending_bytes),
            ("proposals", self.writes.in_flight(), limits.batches_in_flight),
            ("read barriers", self.reads.in_flight(), limits.barriers_in_flight),
        ]
        .into_iter()
        .find(|(_, n, limit)| n > limit)
        .map(|(what, n, limit)| format!("{n} {what}, at most {limit} may be under way"))
    }

    /// What still counts as under way; nothing should when nobody has asked anything for a while. For C-RES.
    pub(crate) fn under_way(&self) -> Option<String> {
        let ((requests, bytes), weight) = (self.requests.pending(), self.applying.weight());
        (requests + bytes + weight > 0)
            .then(|| format!("{requests} requests of {bytes} bytes, {weight} bytes on their way to the state machine"))
    }

    /// Stops for good: what was to leave does not, and nothing is taken in any more.
    pub(super) fn halt(&mut self, why: String) {
        if !self.halted {
            self.tracer.note("halt", || [("why", why.clone().into())]);
            self.halted = true;
            self.out.stop(why);
        }
    }

    /// One step of the core, its effects, and what follows from a change of leaders.
    pub(super) fn step(&mut self, input: CoreInput<P::Message>) {
        if self.halted {
            return;
        }
        let mut fx = std::mem::take(&mut self.fx);
        self.core.step(self.now, input, &mut fx);
        for effect in fx.drain() {
            if !self.halted {
                self.effect(effect);
            }
        }
        self.fx = fx;
        self.look_who_leads();
    }

    fn effect(&mut self, effect: Effect<P>) {
        match effect {
            Effect::Send { to, message } => self.send(to, message),
            Effect::Disconnect { peer, reason } => self.disconnect(peer, reason),
            Effect::Append(entries) => self.out.log.push(LogOp::Append(entries)),
            Effect::Truncate { after } => {
                self.cuts += 1;
                self.out.log.push(LogOp::Truncate { after });
            }
            Effect::SaveHard(hard) => match postcard::to_stdvec(&hard) {
                Ok(bytes) => self.out.log.push(LogOp::SaveHard(bytes)),
                Err(e) => self.halt(format!("the hard state cannot be encoded: {e}")),
            },
            Effect::Commit { upto } => {
                self.applying.commit(upto);
                self.writes.committed(upto);
                if mutant!("C02") {
                    let answer = Answer::Written { at: upto };
                    self.applied_answers(vec![Applied { at: upto, answer, body: Bytes::from_static(&[0]) }]);
                }
            }
            Effect::Accepted { first, last } => self.writes.verdict = Some(Ok((first, last))),
            Effect::Refused(why) => self.writes.verdict = Some(Err(why)),
            Effect::ReadReady { id, at } => self.read_ready(id, at),
            Effect::ReadFailed { id, reason } => self.read_failed(id, &reason),
            Effect::TransferAnswer { id, answer } => self.transfer_answered(id, answer),
            Effect::ChangeAnswer { id, answer } => self.change_answered(id, answer),
            Effect::Fetch { peer, after, max_bytes } => self.fetch(peer, after, max_bytes),
            Effect::ReadSnapshot { peer, snapshot, offset, max_bytes } => {
                self.read_snapshot(peer, snapshot, offset, max_bytes);
            }
            Effect::WriteSnapshot(chunk) => self.out.snapshot.push(SnapshotOp::Write(chunk)),
            Effect::InstallSnapshot { snapshot, keep_tail } => self.install(snapshot, keep_tail),
            Effect::Halt(why) => self.halt(why),
            Effect::Trace(event) => self.tracer.core(event),
        }
    }

    /// Requests in the hands of a leader that leads no more are answered here.
    fn look_who_leads(&mut self) {
        let (before, now) = (self.led, self.core.leadership());
        if before == now {
            return;
        }
        self.led = now;
        self.writes.resume();
        self.reads.resume();
        if before.role == Role::Leading && (now.role != Role::Leading || now.epoch != before.epoch) {
            self.abandon_proposals();
        }
        if self.forwarded_to().is_some_and(|to| now.leader != Some(to.peer)) {
            self.abandon_forwards();
        }
    }

    fn peer_up(&mut self, session: Session, member: Member) {
        let peer = session.peer;
        if let Some(old) = self.peers.0.get(&peer) {
            // Of one peer there is one session at a time: the core hears of the old one's end first.
            self.peer_down(old.session);
        }
        self.tracer.input("link", || [("op", "up".into()), ("peer", peer.0.into())]);
        self.peers.0.insert(peer, Link { session, ending: false });
        self.tell_members(session);
        self.step(CoreInput::PeerUp { peer, member });
    }

    fn peer_down(&mut self, session: Session) {
        let peer = session.peer;
        if self.peers.0.get(&peer).is_none_or(|l| l.session != session) {
            return;
        }
        self.peers.0.remove(&peer);
        self.tracer.input("link", || [("op", "down".into()), ("peer", peer.0.into())]);
        if self.forwarded_to() == Some(session) {
            self.abandon_forwards();
        }
        self.step(CoreInput::PeerDown { peer });
    }

    /// Asks for a session's end. The core hears of it when it is over.
    fn disconnect(&mut self, peer: NodeId, reason: &'static str) {
        if let Some(link) = self.peers.0.get_mut(&peer).filter(|l| !l.ending) {
            link.ending = true;
            let session = link.session;
            self.counters.peers_sent_away.add(1);
            self.tracer.note("link", || [("op", "disconnect".into()), ("peer", peer.0.into())]);
            self.out.peers.push(PeerOut::Disconnect { session, reason });
        }
    }

    fn peer_frame(&mut self, from: Session, frame: Frame) {
        if self.peers.session(from.peer) != Some(from) {
            return;
        }
        let outcome = match frame.channel {
            channel::PROTOCOL => self.message(from.peer, &frame.header, frame.body),
            channel::FORWARD => self.relay_frame(from, &frame.header, frame.body),
            other => {
                tracing::debug!(peer = %from.peer, channel = other, "a frame on a channel that does not exist");
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.counters.bad_frames.add(1);
            tracing::warn!(peer = %from.peer, %error, "a message cannot be read");
            self.disconnect(from.peer, "a message that cannot be read");
        }
    }

    fn message(&mut self, from: NodeId, header: &[u8], body: Bytes) -> Result<(), FrameError> {
        let (mut message, m) = decode_traced::<P::Message>(header)?;
        message.attach(body)?;
        self.tracer.receive(from, message.kind(), m);
        self.step(CoreInput::Message { from, message });
        Ok(())
    }

    fn send(&mut self, to: NodeId, message: P::Message) {
        if let Some(to) = self.peers.session(to) {
            let m = self.tracer.send(to.peer, message.kind(), || message_value::<P>(&message));
            self.out.peers.push(PeerOut::Message { to, message, m });
        }
    }

    fn log_event(&mut self, event: LogEvent) {
        match event {
            LogEvent::Durable { cuts, .. } if cuts < self.cuts => {
                mark!("common/node/replica#log_event.cut");
            }
            LogEvent::Durable { upto, .. } => {
                self.tracer.input("disk", || [("op", "durable".into()), ("at", id_value(upto))]);
                match self.snapshots.resetting() {
                    Some(snapshot) => self.restore(snapshot),
                    None => self.step(CoreInput::Durable { upto }),
                }
            }
            LogEvent::HardSaved => {
                self.tracer.input("disk", || [("op", "hard".into())]);
                self.step(CoreInput::HardSaved);
            }
            LogEvent::Compacted { base } => self.compacted(base),
            LogEvent::Fetched { peer: MYSELF, after, entries } => self.fetched_for_applying(after, entries),
            LogEvent::Fetched { peer, after, entries } => self.step(CoreInput::Fetched { peer, after, entries }),
            LogEvent::Shown { token, lines } => self.shown(token, lines),
            LogEvent::Failed(why) => self.halt(why),
        }
    }

    fn apply_event(&mut self, event: ApplyEvent) {
        match event {
            ApplyEvent::Applied { upto, answers } => self.applied(upto, answers),
            ApplyEvent::Answer { ticket, local, at, body } => {
                let stale_us = if local { self.staleness(at) } else { None };
                self.answer(ticket, Answer::Read { at, stale_us }, body);
            }
            ApplyEvent::Described { ticket, at, hash, sessions } => self.described(ticket, at, hash, sessions),
            ApplyEvent::Idle { upto, any } => self.idle_answered(upto, any),
            ApplyEvent::Frozen { at, state } => self.frozen(at, state),
            ApplyEvent::Restored { snapshot, membership } => self.restored(snapshot, membership),
            ApplyEvent::Failed(why) => self.halt(why),
        }
    }

    fn described(&mut self, ticket: Ticket, at: LogId, state_hash: u64, sessions: u64) {
        let mut core = self.core.status();
        core.applied = at;
        let mut counters = self.counters.list();
        counters.extend((self.gauges)());
        let status = NodeStatus { core, state_hash, sessions, counters };
        self.answer(ticket, Answer::Status(Box::new(status)), Bytes::new());
    }

    pub(super) fn show(&mut self, ticket: Ticket, after: LogId, max: u32) {
        let token = self.next_show;
        self.next_show += 1;
        self.shows.insert(token, ticket);
        let max_entries = (max as usize).min(self.config.show_entries);
        self.out.log.push(LogOp::Show { token, after, max_entries });
    }

    fn shown(&mut self, token: u64, mut lines: Vec<LogLine>) {
        let Some(ticket) = self.shows.remove(&token) else { return };
        let mut bytes = 0;
        let within = lines.iter().take_while(|l| {
            bytes += l.payload.len();
            bytes <= self.config.show_bytes
        });
        let keep = within.count().max(1);
        lines.truncate(keep);
        self.answer(ticket, Answer::Log(lines), Bytes::new());
    }
}

/// A header from a peer and, if the sender traces, its message's id, which follows it.
pub(super) fn decode_traced<T: DeserializeOwned>(header: &[u8]) -> Result<(T, Option<u64>), FrameError> {
    let (value, rest) = postcard::take_from_bytes(header)?;
    if rest.is_empty() {
        return Ok((value, None));
    }
    let (m, rest) = postcard::take_from_bytes(rest)?;
    if rest.is_empty() { Ok((value, Some(m))) } else { Err(FrameError::TrailingHeader(rest.len())) }
}
