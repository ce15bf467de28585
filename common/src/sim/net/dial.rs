//! How a connection comes to be: who dials, what both say first, and the judgement on it.
//!
//! The shipping transport dials, says its hello, waits for the answer, confirms and has its session; the acceptor has its
//! own when the confirmation comes. In between either may vanish. An acceptor that still has a session with the caller
//! gives it up then and not before: else a stranger who knows a node's id could end its sessions.

use super::carry::{RETRANSMIT_US, exponential};
use super::conn::{Cargo, Conn, Dir, End, State};
use super::faults::Kind;
use super::{DownReason, Micros, Net, NodeId, PeerEvent, Session, What};
use crate::membership::Membership;
use crate::quorum::Voters;
use crate::rng::Rng;
use crate::transport::handshake::{self, HandshakeError};
use crate::types::Member;

/// The longest patience, in longest pauses before dialling again. The shortest is half of it.
const PATIENCE: u64 = 8;

/// How a node dials another with which it has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    AtOnce,
    /// Only when the other has not called for long: it may not know of this one.
    Patiently,
}

impl Net {
    /// Whether and how a node dials another, by what it knows of the members.
    pub(super) fn wish(&self, from: usize, to: usize) -> Option<Wish> {
        let host = &self.hosts[from];
        let (me, peer, member) = (NodeId(from as u64), NodeId(to as u64), self.member(from));
        if me == peer {
            return None;
        }
        let votes = host.voters.contains(peer);
        if handshake::dials_at_once((me, member), (peer, votes), host.sources.contains(&peer)) {
            return Some(Wish::AtOnce);
        }
        // Learners call voters. But one that was a voter and missed its demotion may wait to be called.
        let waits = votes || member == Member::Voter && host.learners.contains(peer);
        (host.changed && waits).then_some(Wish::Patiently)
    }

    /// A replica says who belongs to the cluster. Whom its node already takes for a voter, and dials as it should, is left
    /// alone.
    pub(super) fn follow(&mut self, me: usize, membership: &Membership, now: Micros) {
        let configuration = &membership.configuration;
        let voters = Voters::new(configuration.members().into_iter().filter(|id| configuration.votes(*id)));
        let learners = Voters::new(configuration.learners().iter().copied());
        let member = membership.member(NodeId(me as u64));
        if (&self.hosts[me].voters, &self.hosts[me].learners) == (&voters, &learners) && self.member(me) == member {
            return;
        }
        for voter in voters.ids().iter().chain(learners.ids()) {
            self.place(*voter);
        }
        let before: Vec<Option<Wish>> = (0..self.dim).map(|to| self.wish(me, to)).collect();
        let host = &mut self.hosts[me];
        (host.voters, host.learners, host.changed) = (voters, learners, true);
        if let Some(identity) = &mut host.me {
            identity.member = member;
        }
        for (to, before) in before.into_iter().enumerate() {
            let wish = self.wish(me, to);
            if wish == before {
                continue;
            }
            // Whatever dialling was in progress is void.
            let link = self.link_mut(me, to);
            link.turn = link.turn.wrapping_add(1);
            link.due = false;
            match wish.filter(|_| !self.is_up(me, to)) {
                Some(Wish::AtOnce) => self.dial_later(me, to, now),
                Some(Wish::Patiently) => self.redial(me, to, now),
                None => {}
            }
        }
    }

    /// Whether a node has a session with a peer.
    fn is_up(&self, me: usize, peer: usize) -> bool {
        self.link(me, peer).current.is_some()
    }

    /// Dials at this time. Whatever dialling of this pair was in progress is void.
    pub(super) fn dial_later(&mut self, from: usize, to: usize, at: Micros) {
        let link = self.link_mut(from, to);
        link.turn = link.turn.wrapping_add(1);
        let turn = link.turn;
        self.push(at, What::Dial { from: from as u16, to: to as u16, turn });
    }

    /// Dials again, if it is to, after the pause that keeps nodes from dialling all at once.
    pub(super) fn redial(&mut self, from: usize, to: usize, now: Micros) {
        let attempts = self.link(from, to).attempts;
        let most = self.shape.redial_us.max(2);
        let (name, most) = match self.wish(from, to) {
            Some(Wish::AtOnce) => ("redial", most),
            Some(Wish::Patiently) => ("patience", most * PATIENCE),
            None => return,
        };
        let draw = self.streams.draw(name, [from as u64, to as u64, attempts]);
        let pause = Rng::new(draw).between(most / 2, most);
        self.dial_later(from, to, now.after(Micros(pause)));
    }

    /// One way of one step of the handshake. None if it cannot get through.
    fn trip(&mut self, from: usize, to: usize, step: u64) -> Option<u64> {
        if self.is_cut(from, to) {
            return None;
        }
        let faults = &self.link(from, to).faults;
        let (slow, loss) = (faults.slow, faults.loss);
        let attempts = self.link(from, to).attempts + self.link(to, from).attempts;
        let mut rng = self.streams.rng("dial", [(from as u64) << 32 | to as u64, attempts, step]);
        let mut delay = self.shape.delay_us + slow + exponential(rng.next_u64(), self.shape.jitter_us);
        if rng.next_u64() % 1000 < u64::from(loss) {
            self.bites.add(Kind::Loss, 1);
            delay += RETRANSMIT_US;
        }
        Some(delay)
    }

    /// Whether the dialling is still the one meant; a dialler that stands still goes on when it wakes.
    fn is_dialling(&mut self, from: usize, to: usize, turn: u32) -> bool {
        if !self.hosts[from].on || self.link(from, to).turn != turn {
            return false;
        }
        if self.hosts[from].paused {
            self.link_mut(from, to).due = true;
            return false;
        }
        true
    }

    pub(super) fn dial(&mut self, from: usize, to: usize, turn: u32, now: Micros) {
        // When the session that it has meanwhile is over, it will dial again.
        if !self.is_dialling(from, to, turn) || self.is_up(from, to) {
            return;
        }
        self.link_mut(from, to).attempts += 1;
        if !self.hosts[to].on {
            return self.redial(from, to, now);
        }
        // SYN, SYN and ACK, and the first words.
        let steps = [self.trip(from, to, 0), self.trip(to, from, 1), self.trip(from, to, 2)];
        let [Some(a), Some(b), Some(c)] = steps else { return self.redial(from, to, now) };
        self.push(now.after(Micros(a + b + c)), What::Call { from: from as u16, to: to as u16, turn });
    }

    /// The acceptor hears the caller's first words.
    pub(super) fn called(&mut self, from: usize, to: usize, turn: u32, now: Micros) {
        if !self.hosts[from].on || self.link(from, to).turn != turn {
            return;
        }
        let listens = self.hosts[to].on && !self.hosts[to].paused && !self.is_cut(from, to);
        let back = if listens { self.trip(to, from, 3) } else { None };
        let Some(back) = back else { return self.redial(from, to, now) };
        if self.judge_call(from, to).is_err() {
            if let Some(counters) = &self.hosts[to].counters {
                counters.handshakes_refused.add(1);
            }
            return self.redial(from, to, now.after(Micros(back)));
        }
        let offer = self.offer(to);
        self.link_mut(from, to).offer = offer;
        self.push(now.after(Micros(back)), What::Answer { from: from as u16, to: to as u16, turn });
    }

    /// Numbered as the caller came, so that of two connections of one peer the later one wins.
    fn offer(&mut self, to: usize) -> (u64, u64) {
        let host = &mut self.hosts[to];
        host.sessions += 1;
        (host.sessions, host.life)
    }

    fn judge_call(&self, from: usize, to: usize) -> Result<(), HandshakeError> {
        let (Some(caller), Some(called)) = (&self.hosts[from].me, &self.hosts[to].me) else {
            return Err(HandshakeError::Closed);
        };
        let words = handshake::call(caller, called.id)?;
        handshake::judge_call(called, handshake::read_from(&words)?).map(|_| ())
    }

    fn judge_answer(&self, from: usize, to: usize) -> Result<(), HandshakeError> {
        let (Some(caller), Some(called)) = (&self.hosts[from].me, &self.hosts[to].me) else {
            return Err(HandshakeError::Closed);
        };
        let hello = handshake::judge_call(called, handshake::read_from(&handshake::call(caller, called.id)?)?)?;
        let words = handshake::answer(called, &hello)?;
        handshake::judge_answer(caller, called.id, handshake::read_from(&words)?).map(|_| ())
    }

    /// The dialler hears the answer, and has its session.
    pub(super) fn answered(&mut self, from: usize, to: usize, turn: u32, now: Micros) {
        // If the other has come by itself meanwhile, that session is as good.
        if !self.is_dialling(from, to, turn) || self.is_up(from, to) {
            return;
        }
        let (number, life) = self.link(from, to).offer;
        let same = self.hosts[to].on && self.hosts[to].life == life;
        if !same || self.is_cut(to, from) || self.judge_answer(from, to).is_err() {
            return self.redial(from, to, now);
        }
        let (mine, theirs) = (self.member(from), self.member(to));
        self.hosts[from].sessions += 1;
        let own = self.hosts[from].sessions;
        let ends = [
            End { node: from, state: State::Open, number: own, member: mine },
            End { node: to, state: State::Shaking, number, member: theirs },
        ];
        let slot = self.open(ends, now);
        let link = self.link_mut(from, to);
        (link.current, link.last) = (Some(slot), own);
        let session = Session { peer: NodeId(to as u64), number: own };
        self.say(from, PeerEvent::Up { session, member: theirs }, now);
        self.dispatch(slot, 0, Cargo::Confirm, now);
    }

    fn member(&self, node: usize) -> Member {
        self.hosts[node].me.as_ref().map_or(Member::Observer, |me| me.member)
    }

    fn open(&mut self, ends: [End; 2], now: Micros) -> u32 {
        let (from, to) = (ends[0].node, ends[1].node);
        let link = self.link_mut(from, to);
        link.opened += 1;
        let opened = link.opened;
        let pair = (from as u64) << 32 | to as u64;
        let keys = [0, 1].map(|dir| self.streams.draw("segment", [pair, opened, dir]));
        let (limits, silence) = (self.frames, self.shape.silence_us);
        let slot = if let Some(slot) = self.free.pop() {
            let conn = self.conn_mut(slot);
            (conn.used, conn.ends) = (true, ends);
            slot
        } else {
            let dirs = [Dir::new(limits), Dir::new(limits)];
            self.conns.push(Conn { generation: 0, used: true, ends, dirs });
            self.conns.len() as u32 - 1
        };
        for (dir, key) in keys.into_iter().enumerate() {
            self.conn_mut(slot).dirs[dir].begin(limits, key, silence, now);
        }
        for dir in [0, 1] {
            let conn = self.conn(slot);
            if self.link(conn.ends[dir].node, conn.ends[1 - dir].node).blocked.is_some() {
                self.watch(slot, dir, now);
            }
        }
        slot
    }

    /// The acceptor hears the caller's last word: its session begins, and an older one with the caller ends. False if a
    /// newer one has its place.
    pub(super) fn accept(&mut self, slot: u32, sent: Micros, now: Micros) -> bool {
        let [caller, called] = &self.conn(slot).ends;
        let (from, to, mut number, member) = (caller.node, called.node, called.number, caller.member);
        if let Some(old) = self.link(to, from).current
            && let Some(end) = self.conn(old).end_of(to)
        {
            if self.conn(old).ends[end].number > number {
                self.end(slot, 1, None, now);
                return false;
            }
            self.end(old, end, Some(DownReason::Replaced), now);
        }
        if number < self.link(to, from).last {
            // A session that it dialled itself came and went since the caller came.
            self.hosts[to].sessions += 1;
            number = self.hosts[to].sessions;
        }
        let end = &mut self.conn_mut(slot).ends[1];
        (end.state, end.number) = (State::Open, number);
        let link = self.link_mut(to, from);
        (link.current, link.last) = (Some(slot), number);
        let session = Session { peer: NodeId(from as u64), number };
        self.say(to, PeerEvent::Up { session, member }, sent);
        true
    }
}
