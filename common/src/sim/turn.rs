//! A replica's turn, and everything that comes of it: what leaves for peers and clients, and what the workers are given.

use super::host::Running;
use super::oracle::acknowledged;
use super::outcome::ChartWhat;
use super::subject::{Oracle, Subject, Violation};
use super::world::{Event, NEVER, ToClient, World};
use crate::client::wire::Answer;
use crate::mutant::suspended;
use crate::node::{ApplyEvent, ApplyOp, ClientOut, Input, PeerOut};
use crate::storage::{LogEvent, LogOp, SnapshotEvent, SnapshotOp};
use crate::transport::{Network, PeerEvent, channel};
use crate::types::{LogId, Micros, NodeId, Role};

impl<P: Subject> World<'_, P> {
    /// A node's process, if it runs and this is still the same life.
    fn alive(&mut self, host: usize, life: u64) -> Option<&mut Running<P>> {
        let host = &mut self.hosts[host];
        if host.life == life { host.running.as_mut() } else { None }
    }

    /// Something came in: its turn is due as soon as the processor is free.
    pub(super) fn hand_in(&mut self, host: usize, input: Input) {
        if let Some(running) = &mut self.hosts[host].running {
            running.inbox.push_back(input);
            let at = running.busy_until.max(self.now);
            self.schedule_turn(host, at);
        }
    }

    pub(super) fn schedule_turn(&mut self, host: usize, at: Micros) {
        let h = &self.hosts[host];
        if h.paused == 0 && h.running.is_some() && at < self.turns[host].0 {
            self.turns[host] = (at, self.number());
        }
    }

    /// A replica's turn is due.
    pub(super) fn turn(&mut self, host: usize) {
        self.turns[host] = NEVER;
        let h = &mut self.hosts[host];
        let local = h.clock.local(self.now);
        let Some(running) = &mut h.running else { return };
        let inputs = running.inbox.len() as u64;
        while let Some(input) = running.inbox.pop_front() {
            running.replica.input(local, input);
        }
        running.replica.flush(local);
        self.mix(1, host as u64, inputs);
        self.carry_out(host);
        if self.broken() {
            return;
        }
        let busy = self.now.after(Micros(self.plan.shape.machine.turn_us));
        let h = &mut self.hosts[host];
        let Some(running) = &mut h.running else { return };
        running.busy_until = busy;
        if let Some(wake) = running.replica.wake_at() {
            let at = h.clock.world(wake).max(busy);
            self.schedule_turn(host, at);
        }
    }

    fn carry_out(&mut self, host: usize) {
        let id = self.hosts[host].id;
        let Some(running) = &mut self.hosts[host].running else { return };
        let out = running.replica.outputs();
        let halt = out.halt.take();
        let goes_on = halt.is_some() && !out.is_empty();
        let (mut peers, mut replies) = (std::mem::take(&mut out.peers), std::mem::take(&mut out.clients));
        // Most turns have nothing for most of these.
        if !out.log.is_empty() {
            running.log.waiting.extend(out.log.drain(..));
        }
        let reads = out.snapshot.iter().any(|op| matches!(op, SnapshotOp::Read { .. }));
        if !out.snapshot.is_empty() {
            running.snapshot.waiting.extend(out.snapshot.drain(..));
        }
        let mut applies = std::mem::take(&mut out.apply);
        for op in &applies {
            if let ApplyOp::Apply { runs, .. } = op {
                self.hands(host, runs);
            }
        }
        if let Some(running) = self.hosts[host].running.as_mut().filter(|_| !applies.is_empty()) {
            running.apply.waiting.extend(applies.drain(..));
        }
        if reads {
            let paced = self.paced(host);
            self.judge(paced);
        }
        self.send(host, &peers);
        for said in replies.drain(..) {
            self.answer(host, said);
        }
        self.look(host);
        if let Some(running) = &mut self.hosts[host].running {
            peers.clear();
            let out = running.replica.outputs();
            (out.peers, out.clients, out.apply) = (peers, replies, applies);
        }
        if goes_on {
            self.judge(Err(Violation::new("C-HALT", format!("{id} stopped itself, and something leaves after that"))));
        }
        match halt {
            Some(why) => self.halted(host, &why),
            None => self.start_lanes(host),
        }
    }

    /// C-RES: a piece of a snapshot is read no sooner than the one before it is paid for.
    fn paced(&self, host: usize) -> Result<(), Violation> {
        let h = &self.hosts[host];
        let Some(running) = &h.running else { return Ok(()) };
        let ((at, bytes), rate) = (running.piece, running.snapshot_rate);
        let span = h.clock.local(self.now).since(at);
        if rate == 0 || u128::from(span.0) * u128::from(rate) >= u128::from(bytes) * 1_000_000 {
            return Ok(());
        }
        let what = format!("{} reads a snapshot on {span:?} after {bytes} bytes of it, at {rate} a second", h.id);
        Err(Violation::new("C-RES", what))
    }

    /// C-PREFIX; and what is new to the world is shown to the witness.
    fn hands(&mut self, host: usize, runs: &[crate::entries::Entries]) {
        let Some(running) = &mut self.hosts[host].running else { return };
        let (mut verdict, now) = (Ok(()), self.now);
        for run in runs {
            let before = self.sequence.len();
            let handed = self.sequence.hands(NodeId(host as u64 + 1), &mut running.handed, run);
            // Whoever passes that over is still told what is new.
            verdict = verdict.and(handed.map(|_| ()));
            let new = self.sequence.len() - before;
            if new > 0 {
                // What is new is the end of the run.
                let fresh = if new == run.len() { Some(run.clone()) } else { run.after(before_last(run, new)) };
                verdict = verdict.and(fresh.map_or(Ok(()), |run| {
                    self.members.committed(&run);
                    self.clients.committed(&run, now)
                }));
                if self.counts.recoveries == 0
                    && let Some(healed) = self.healed
                {
                    self.counts.recoveries = 1;
                    self.counts.recovery_us = self.now.since(healed).0;
                    self.counts.recovery_worst_us = self.counts.recovery_us;
                }
            }
        }
        self.judge(verdict);
    }

    fn send(&mut self, host: usize, peers: &[PeerOut<P::Message>]) {
        let me = self.hosts[host].id;
        let (mut verdict, mut broke) = (Ok(()), None);
        let mut port = self.net.port(me, self.now);
        for said in peers {
            match said {
                PeerOut::Message { to, message, .. } => {
                    let vow = self.oracle.sends(me, to.peer, message, &self.truths[host].1);
                    if verdict.is_ok() {
                        verdict = vow;
                    }
                }
                PeerOut::Disconnect { session, reason } => broke = Some((*session, *reason)),
                PeerOut::Relay { .. } | PeerOut::Members(_) => {}
            }
            said.give_to(&mut port);
        }
        port.flush();
        self.judge(verdict);
        if let Some((session, reason)) = broke {
            self.say(|| ChartWhat::Note {
                node: me,
                text: format!("ends the session with {}: {reason}", session.peer),
            });
            if !self.corrupting && !P::may_disconnect(reason) {
                let what = format!("{me} ends the session with {}: {reason}", session.peer);
                self.judge(Err(Violation::new("C-NBT", what)));
            }
        }
    }

    fn answer(&mut self, host: usize, said: ClientOut) {
        let (conn, operators) = match &said {
            ClientOut::Reply { conn, response, .. } => (*conn, Some(&response.answer)),
            ClientOut::Close { conn, .. } => (*conn, None),
        };
        if self.operator_answered(conn, operators) {
            return;
        }
        let (conn, what) = match said {
            ClientOut::Reply { conn, response, body } => {
                if let Answer::Written { at } = &response.answer {
                    let verdict = self.acknowledged(*at);
                    self.judge(verdict);
                }
                (conn, ToClient::Reply { response, body })
            }
            ClientOut::Close { conn, .. } => (conn, ToClient::Closed),
        };
        self.tell_client(conn, host, what);
    }

    /// C-ACK: by what is committed, or by what a leader goes by before that is.
    fn acknowledged(&self, at: LogId) -> Result<(), Violation> {
        let durable = |v: NodeId| self.truths[v.0 as usize - 1].1.had(at);
        let verdict = acknowledged(&self.members.now().configuration, at, durable);
        if verdict.is_ok() || self.memberships().iter().any(|m| m.configuration.is_quorum(durable)) {
            return Ok(());
        }
        verdict
    }

    /// What is on its way to a client arrives in order.
    pub(super) fn tell_client(&mut self, conn: u64, host: usize, what: ToClient) {
        let delay = self.client_delay(host);
        let Some(c) = self.conns.get_mut(&conn) else { return };
        c.to_client = c.to_client.max(self.now.after(delay));
        let at = c.to_client;
        self.put(at, Event::ToClient { conn, what: Box::new(what) });
    }

    pub(super) fn client_delay(&mut self, host: usize) -> Micros {
        let net = self.plan.shape.net;
        Micros(net.delay_us).after(self.time("client", host, net.jitter_us))
    }

    /// After a turn: C-MONO, C-RES, the protocol's own oracles, and who leads.
    fn look(&mut self, host: usize) {
        let now = self.now;
        let id = self.hosts[host].id;
        let Some(running) = &mut self.hosts[host].running else { return };
        let core = running.replica.core();
        let (led, committed) = (core.leadership(), core.committed());
        let mut verdict = Ok(());
        if led.epoch < running.epoch || committed < running.committed {
            let (e, c) = (running.epoch, running.committed);
            let what = format!("{id} goes back from epoch {e}, commit {c} to {}, {committed}", led.epoch);
            verdict = Err(Violation::new("C-MONO", what));
        }
        if let Some(what) = running.replica.overfull() {
            verdict = verdict.and(Err(Violation::new("C-RES", format!("{id} has {what}"))));
        }
        let moved = committed != running.committed;
        (running.epoch, running.committed) = (led.epoch, committed);
        if verdict.is_ok() {
            verdict = self.oracle.turned(core, now, &self.truths);
        }
        if !core.is_mending() {
            self.truths[host].1.had.clear();
        }
        let (since, membership) = core.membership();
        if running.members_since != Some(since) {
            running.members_since = Some(since);
            self.members.seen(membership);
            let member = membership.member(id);
            self.hosts[host].member = member;
        }
        if led.role == Role::Leading && self.led.insert((led.epoch, id)) {
            self.say(|| ChartWhat::Note { node: id, text: format!("leads {}", led.epoch) });
        }
        if moved {
            self.mix(2, host as u64, committed.counter);
            self.say(|| ChartWhat::Note { node: id, text: format!("commits {committed}") });
        }
        self.judge(verdict);
    }

    /// Gives idle workers what waits for them.
    pub(super) fn start_lanes(&mut self, host: usize) {
        if self.hosts[host].paused > 0 {
            return;
        }
        let (life, slow) = (self.hosts[host].life, self.hosts[host].slow_disk);
        let machine = self.plan.shape.machine;
        let Some(running) = &mut self.hosts[host].running else { return };
        let reads_only = |op: &LogOp| matches!(op, LogOp::Fetch { .. } | LogOp::Show { .. });
        let log = running.log.take_all().then(|| running.log.current.iter().all(reads_only));
        let snapshot = running.snapshot.take_one();
        let apply = running.apply.take_all();
        if let Some(cheap) = log {
            let mean = if cheap { machine.write_us } else { machine.sync_us };
            let span = self.time("log", host, mean).after(slow);
            self.put(self.now.after(span), Event::Log { host, life });
        }
        if snapshot {
            let span = self.time("snapshot", host, machine.sync_us).after(slow);
            self.put(self.now.after(span), Event::Snapshot { host, life });
        }
        if apply {
            let span = self.time("apply", host, machine.apply_us);
            self.put(self.now.after(span), Event::Apply { host, life });
        }
    }

    pub(super) fn log_done(&mut self, host: usize, life: u64) {
        if self.hosts[host].stalled > 0 && self.hosts[host].life == life {
            // Tried again when the stall ends.
            return;
        }
        let troubled = self.hosts[host].troubled;
        let Some(running) = self.alive(host, life) else { return };
        if running.log.current.is_empty() {
            return;
        }
        let mut events = Vec::new();
        let lane = &mut running.log;
        let batch: Vec<LogOp> = if troubled { lane.current.iter().cloned().collect() } else { Vec::new() };
        lane.worker.run(&mut lane.current, &mut events);
        lane.current.clear();
        if events.iter().any(|e| matches!(e, LogEvent::Failed(_))) {
            running.failed = batch;
        }
        self.mix(3, host as u64, events.len() as u64);
        self.look_at_disk(host);
        for event in events {
            self.hand_in(host, Input::Log(event));
        }
        self.start_lanes(host);
    }

    pub(super) fn snapshot_done(&mut self, host: usize, life: u64) {
        if self.hosts[host].stalled > 0 && self.hosts[host].life == life {
            return;
        }
        let local = self.hosts[host].clock.local(self.now);
        let Some(running) = self.alive(host, life) else { return };
        let lane = &mut running.snapshot;
        let Some(op) = lane.current.pop_front() else { return };
        let event = lane.worker.run(op);
        if let SnapshotEvent::Read { chunk: Some(chunk), .. } = &event {
            running.piece = (local, chunk.data.len() as u64);
        }
        self.mix(4, host as u64, 0);
        self.look_at_disk(host);
        self.hand_in(host, Input::Snapshot(event));
        self.start_lanes(host);
    }

    pub(super) fn apply_done(&mut self, host: usize, life: u64) {
        let id = self.hosts[host].id;
        let h = &mut self.hosts[host];
        let Some(running) = h.running.as_mut().filter(|_| h.life == life) else { return };
        let mut events = Vec::new();
        let mut looks = Vec::new();
        let lane = &mut running.apply;
        while let Some(op) = lane.current.pop_front() {
            let restores = matches!(op, ApplyOp::Restore { .. });
            lane.worker.run(op, &mut events);
            let applier = lane.worker.applier();
            looks.push((restores, applier.applied(), applier.hash()));
            running.applied = self.sequence.position(applier.applied()).unwrap_or(usize::MAX);
            if restores && running.applied != usize::MAX {
                running.handed = running.applied;
            }
        }
        let applied = running.applied;
        self.mix(5, host as u64, applied as u64);
        let verdict = looks.into_iter().try_for_each(|(restores, at, hash)| {
            if let Some(position) = self.sequence.position(at) {
                return self.sequence.state(id, position, hash);
            }
            let how = if restores { "loads a snapshot up to" } else { "has applied" };
            Err(Violation::new("C-PREFIX", format!("{id} {how} {at}, which was never committed")))
        });
        self.judge(verdict);
        for event in events {
            let failed = matches!(event, ApplyEvent::Failed(_));
            self.hand_in(host, Input::Apply(event));
            if failed {
                break;
            }
        }
        self.start_lanes(host);
    }

    /// What is durable changed, perhaps.
    pub(super) fn look_at_disk(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        let verdict = suspended(|| h.truth.refresh(&h.fs, super::host::dir()));
        match verdict {
            Ok(true) => self.truths[host].1.follow(h.truth.truth()),
            Ok(false) => {}
            // A disk that was tampered with is read by nobody but the node, which must find out by itself.
            Err(_) if h.damaged || h.troubled => {}
            Err(violation) => self.judge(Err(violation)),
        }
    }

    /// Something came over the network.
    pub(super) fn arrival(&mut self) {
        let arrival = self.net.next(self.now);
        let verdict = self.net.verdict();
        self.judge(verdict);
        let Some(arrival) = arrival else { return };
        let host = arrival.to.0 as usize - 1;
        let (to, sent) = (arrival.to, arrival.sent);
        match arrival.event {
            PeerEvent::Up { session, member } => {
                self.mix(6, to.0, session.number);
                self.say(|| ChartWhat::Note { node: to, text: format!("session with {} begins", session.peer) });
                self.hand_in(host, Input::PeerUp { session, member });
            }
            PeerEvent::Down { session, reason } => {
                self.mix(7, to.0, session.number);
                self.say(|| ChartWhat::Note {
                    node: to,
                    text: format!("session with {} ends: {reason}", session.peer),
                });
                self.hand_in(host, Input::PeerDown { session });
            }
            PeerEvent::Frames { session, mut frames } => {
                let bytes: usize = frames.iter().map(|f| f.header.len() + f.body.len()).sum();
                self.mix(8, to.0 << 8 | session.peer.0, bytes as u64);
                for frame in frames.drain(..) {
                    if self.options.chart > 0 && frame.channel == channel::PROTOCOL {
                        let from = session.peer;
                        let text = crate::transport::frame::decode_message::<P::Message>(frame.clone());
                        let text = text.map_or_else(|e| e.to_string(), |m| P::describe(&m));
                        self.say(|| ChartWhat::Message { from, to, text, sent });
                    }
                    self.hand_in(host, Input::PeerFrame { session, frame });
                }
                self.net.give_back(frames);
            }
        }
    }
}

/// The id after which the last `new` entries of a run stand.
fn before_last(run: &crate::entries::Entries, new: usize) -> crate::types::LogId {
    run.first().plus((run.len() - new) as u64 - 1)
}
