//! What a connection carries: from the sender's queue through the window to the receiver's decoder, and its end.

use bytes::{Buf, Bytes, BytesMut};

use super::conn::{Cargo, Flight, State};
use super::faults::Kind;
use super::{DownReason, Micros, Net, NodeId, PeerEvent, Session, What};
use crate::rng::Rng;
use crate::transport::channel;

/// The first time-out before a segment is sent again; it doubles. Linux never waits less.
pub(super) const RETRANSMIT_US: u64 = 200_000;
/// So often in a row may a segment be lost.
const MAX_LOSSES: u32 = 8;

/// A number with this mean and, nearly, an exponential distribution. In integers, so that it is the same everywhere:
/// the logarithm between two powers of two is taken as a straight line.
pub(super) fn exponential(draw: u64, mean: u64) -> u64 {
    const LN_2: u128 = 45_426; // in 1/65536
    let draw = draw | 1;
    let zeros = draw.leading_zeros();
    let mantissa = (draw << zeros) >> 47; // in 1/65536, from 1 to 2
    let log2 = ((u64::from(zeros) + 2) << 16) - mantissa;
    ((u128::from(log2) * LN_2 * u128::from(mean)) >> 32) as u64
}

impl Net {
    /// When a segment that leaves now gets through and arrives, in order behind those before it.
    fn schedule(&mut self, slot: u32, dir: usize, now: Micros) -> (Micros, Micros) {
        let conn = &mut self.conns[slot as usize];
        let (from, to) = (conn.ends[dir].node, conn.ends[1 - dir].node);
        let faults = &self.links[from * self.dim + to].faults;
        let d = &mut conn.dirs[dir];
        let number = d.segments;
        d.segments += 1;
        let shape = &self.shape;
        let mut delay = shape.delay_us + exponential(Rng::new(d.key ^ number).next_u64(), shape.jitter_us);
        let mut again = 0;
        if faults.is_any() {
            let mut losses = 0;
            // Each kind of fault has draws of its own, so that one that is taken away leaves the others where they were.
            let mut loss = Rng::new(d.key.rotate_left(16) ^ number);
            while losses < MAX_LOSSES && loss.next_u64() % 1000 < u64::from(faults.loss) {
                again += RETRANSMIT_US << losses;
                losses += 1;
            }
            self.bites.add(Kind::Loss, u64::from(losses));
            let mut reorder = Rng::new(d.key.rotate_left(24) ^ number);
            if reorder.next_u64() % 1000 < u64::from(faults.reorder) {
                delay += reorder.between(1, 2 * (shape.delay_us + shape.jitter_us) + 1000);
                self.bites.add(Kind::Reorder, 1);
            }
            // The second copy has a sequence number that the receiver has seen: it changes nothing.
            if Rng::new(d.key.rotate_left(32) ^ number).next_u64() % 1000 < u64::from(faults.duplicate) {
                self.bites.add(Kind::Duplicate, 1);
            }
            delay += faults.slow;
            self.bites.add(Kind::Slow, u64::from(faults.slow > 0));
        }
        let left = now.after(Micros(again));
        let at = left.after(Micros(delay)).max(d.last_at);
        d.last_at = at;
        if again >= d.patience {
            // Keep-alives wait behind it.
            let watch = now.after(Micros(d.patience));
            let what = What::Silence { conn: slot, generation: conn.generation, dir: dir as u8 };
            self.push(watch, what);
        }
        (left, at)
    }

    /// Sends one segment, whatever the window says.
    pub(super) fn dispatch(&mut self, slot: u32, dir: usize, cargo: Cargo, now: Micros) {
        let (left, at) = self.schedule(slot, dir, now);
        self.conn_mut(slot).dirs[dir].flights.push_back(Flight { cargo, sent: now, left, at });
        self.arm(slot, dir);
    }

    /// Sends what waits in the sender's queue, as one segment, as far as the window allows.
    pub(super) fn pump(&mut self, slot: u32, dir: usize, now: Micros) {
        let conn = &mut self.conns[slot as usize];
        let (from, to) = (conn.ends[dir].node, conn.ends[1 - dir].node);
        let d = &mut conn.dirs[dir];
        if !d.queue.has_remaining() || d.dirty || conn.ends[dir].state != State::Open || self.hosts[from].paused {
            return;
        }
        if d.broken {
            return d.queue.clear();
        }
        let faults = &self.links[from * self.dim + to].faults;
        let wide = self.shape.window_bytes.saturating_sub(d.in_flight);
        let room = faults.narrow.map_or(wide, |n| wide.min(n.max(1).saturating_sub(d.in_flight)));
        if room < wide && (d.queue.bytes() as u64) > room {
            self.bites.add(Kind::Narrow, 1);
        }
        if room == 0 {
            return;
        }
        let (corrupt, key, number) = (faults.corrupt, d.key, d.segments);
        let forgotten = conn.ends[1 - dir].state == State::Gone;
        let (left, at) = self.schedule(slot, dir, now);
        let d = &mut self.conns[slot as usize].dirs[dir];
        let (mut room, first) = (usize::try_from(room).unwrap_or(usize::MAX), d.flights.len());
        while let Some(bytes) = d.queue.take_bytes(room) {
            room -= bytes.len();
            d.in_flight += bytes.len() as u64;
            d.flights.push_back(Flight { cargo: Cargo::Bytes(bytes), sent: now, left, at });
        }
        if corrupt > 0 {
            let mut rng = Rng::new(key.rotate_left(40) ^ number);
            if rng.next_u64() % 1000 < u64::from(corrupt) {
                flip(d.flights.range_mut(first..), rng.next_u64());
                self.bites.add(Kind::Corrupt, 1);
            }
        }
        self.arm(slot, dir);
        if forgotten {
            self.hasten_refusal(slot, 1 - dir, now);
        }
    }

    /// Has the first segment under way delivered in its time.
    pub(super) fn arm(&mut self, slot: u32, dir: usize) {
        let (clock, conn) = (self.clock, &mut self.conns[slot as usize]);
        let d = &mut conn.dirs[dir];
        let Some(first) = d.flights.front().filter(|_| !d.held) else { return };
        let at = first.at.max(clock);
        if d.armed.is_none_or(|armed| at < armed) {
            d.armed = Some(at);
            let what = What::Deliver { conn: slot, generation: conn.generation, dir: dir as u8 };
            self.push(at, what);
        }
    }

    /// What held a direction up may be over.
    pub(super) fn release(&mut self, slot: u32, dir: usize) {
        if std::mem::take(&mut self.conn_mut(slot).dirs[dir].held) {
            self.arm(slot, dir);
        }
    }

    /// Everything that has arrived by now goes to the receiver, as one read brings it.
    pub(super) fn deliver(&mut self, slot: u32, dir: usize, armed: Micros, now: Micros) {
        let conn = &mut self.conns[slot as usize];
        if conn.dirs[dir].armed != Some(armed) {
            return;
        }
        conn.dirs[dir].armed = None;
        let (from, to) = (conn.ends[dir].node, conn.ends[1 - dir].node);
        if conn.end_of(to).is_none() {
            return conn.dirs[dir].flights.clear();
        }
        let paused = self.hosts[to].paused;
        if paused || self.is_cut(from, to) {
            self.conn_mut(slot).dirs[dir].held = true;
            return;
        }
        let d = &mut self.conn_mut(slot).dirs[dir];
        d.heard = now;
        if let Some(Flight { cargo: Cargo::Confirm, sent, at, .. }) = d.flights.front()
            && *at <= now
        {
            let sent = *sent;
            d.flights.pop_front();
            if !self.accept(slot, sent, now) {
                return;
            }
        }
        self.read(slot, dir, now);
    }

    /// Reads what has arrived, after the handshake.
    fn read(&mut self, slot: u32, dir: usize, now: Micros) {
        let mut frames = self.spare.pop().unwrap_or_default();
        let (mut bytes, mut sent, mut over) = (0, now, None);
        let conn = &mut self.conns[slot as usize];
        let d = &mut conn.dirs[dir];
        // So many frames came before what is none.
        let mut sane = d.poisoned.then_some(0);
        'read: while let Some(flight) = d.flights.pop_front_if(|f| f.at <= now) {
            if bytes == 0 {
                sent = flight.sent;
            }
            match &flight.cargo {
                Cargo::Bytes(piece) => bytes += piece.len() as u64,
                Cargo::Hostile(_) => sane = sane.or(Some(frames.len())),
                _ => {}
            }
            match flight.cargo {
                Cargo::Confirm => {}
                Cargo::Fin => over = Some(DownReason::Closed),
                Cargo::Reset => over = Some(DownReason::Lost("reset".to_owned())),
                Cargo::Bytes(piece) | Cargo::Hostile(piece) => {
                    d.decoder.feed(piece);
                    loop {
                        match d.decoder.next_frame() {
                            Ok(Some(frame)) if frame.channel == channel::CONTROL => {}
                            Ok(Some(frame)) => frames.push(frame),
                            Ok(None) => break,
                            Err(error) => {
                                // As in the shipping reader: what this read brought before it goes with it.
                                frames.clear();
                                over = Some(DownReason::BadFrame(error));
                                break 'read;
                            }
                        }
                    }
                }
            }
        }
        d.poisoned = sane.is_some();
        let end = &conn.ends[1 - dir];
        let (from, to, number) = (conn.ends[dir].node, end.node, end.number);
        self.look_at_decoder(slot, dir, sane.is_some_and(|n| frames.len() > n));
        if frames.is_empty() {
            self.spare.push(frames);
        } else {
            self.messages += frames.len() as u64;
            let session = Session { peer: NodeId(from as u64), number };
            self.say(to, PeerEvent::Frames { session, frames }, sent);
        }
        if over.is_some() {
            if let (Some(DownReason::BadFrame(_)), Some(counters)) = (&over, &self.hosts[to].counters) {
                counters.bad_frames.add(1);
            }
            return self.end(slot, 1 - dir, over, now);
        }
        self.acknowledge(slot, dir, bytes, now);
        self.arm(slot, dir);
    }

    /// The sender learns that bytes were received, and sends what waited for it; or does not, while the way back is cut.
    fn acknowledge(&mut self, slot: u32, dir: usize, bytes: u64, now: Micros) {
        let conn = &self.conns[slot as usize];
        let (from, to) = (conn.ends[dir].node, conn.ends[1 - dir].node);
        let cut = self.is_cut(to, from);
        let d = &mut self.conns[slot as usize].dirs[dir];
        if cut {
            d.unacked += bytes;
            return;
        }
        d.in_flight = d.in_flight.saturating_sub(bytes);
        if d.queue.has_remaining() {
            self.pump(slot, dir, now.after(Micros(self.shape.delay_us)));
        }
    }

    /// One end ends. The other hears of it behind what is under way to it. The process is told `reason`, unless there is
    /// none to tell.
    pub(super) fn end(&mut self, slot: u32, end: usize, reason: Option<DownReason>, now: Micros) {
        let conn = &mut self.conns[slot as usize];
        let (me, peer) = (conn.ends[end].node, conn.ends[1 - end].node);
        let (was, number) = (conn.ends[end].state, conn.ends[end].number);
        if conn.end_of(me).is_none() {
            return;
        }
        conn.ends[end].state = State::Over;
        let d = &mut conn.dirs[end];
        d.queue.clear();
        d.dirty = false;
        if !d.is_ended() {
            self.dispatch(slot, end, Cargo::Fin, now);
        }
        let link = self.link_mut(me, peer);
        link.current = link.current.filter(|current| *current != slot);
        if let (State::Open, Some(reason)) = (was, reason) {
            let session = Session { peer: NodeId(peer as u64), number };
            self.say(me, PeerEvent::Down { session, reason }, now);
            self.redial(me, peer, now);
        }
        self.retire(slot);
    }

    /// One end loses power: what had left the machine arrives, unless it met a cut, and nobody says anything more.
    pub(super) fn vanish(&mut self, slot: u32, me: usize, now: Micros) {
        let conn = &mut self.conns[slot as usize];
        let Some(end) = conn.ends.iter().position(|e| conn.used && e.node == me && e.state != State::Over) else {
            return;
        };
        conn.ends[end].state = State::Gone;
        let cut = self.links[me * self.dim + conn.ends[1 - end].node].faults.cuts > 0;
        let d = &mut conn.dirs[end];
        d.queue.clear();
        (d.dirty, d.broken) = (false, true);
        let stays = d.flights.iter().position(|f| f.left > now || cut && f.at <= now).unwrap_or(d.flights.len());
        d.flights.truncate(stays);
        self.retire(slot);
    }

    fn retire(&mut self, slot: u32) {
        let conn = self.conn_mut(slot);
        if conn.used && conn.is_over() {
            conn.used = false;
            conn.generation = conn.generation.wrapping_add(1);
            conn.dirs.iter_mut().for_each(|d| d.flights.clear());
            self.free.push(slot);
        }
    }

    /// A machine is back that lost power: it answers every keep-alive of a connection it does not know with RST.
    pub(super) fn refuse_the_forgotten(&mut self, me: usize, now: Micros) {
        for slot in 0..self.conns.len() as u32 {
            let conn = self.conn(slot);
            let Some(end) = conn.ends.iter().position(|e| conn.used && e.node == me && e.state == State::Gone) else {
                continue;
            };
            let d = &conn.dirs[end];
            if matches!(d.flights.back(), Some(Flight { cargo: Cargo::Fin | Cargo::Reset, .. })) {
                continue;
            }
            // The next keep-alive of the peer: it sends one every quarter of what it would endure.
            let keep_alive = Rng::new(d.key ^ self.hosts[me].life).between(0, self.shape.silence_us / 4);
            self.dispatch(slot, end, Cargo::Reset, now.after(Micros(keep_alive)));
        }
    }

    /// Something was sent to an end that is not known any more: if its machine runs, RST comes back at once.
    fn hasten_refusal(&mut self, slot: u32, dir: usize, now: Micros) {
        let soon = now.after(Micros(2 * self.shape.delay_us));
        let flights = &mut self.conn_mut(slot).dirs[dir].flights;
        let before = flights.len().checked_sub(2).map_or(soon, |i| flights[i].at);
        if let Some(reset) = flights.back_mut().filter(|f| matches!(f.cargo, Cargo::Reset)) {
            reset.at = reset.at.min(soon.max(before));
            self.arm(slot, dir);
        }
    }

    /// Looks, when patience will be over, whether the receiver has been without a sign of life.
    pub(super) fn watch(&mut self, slot: u32, dir: usize, from: Micros) {
        let conn = self.conn(slot);
        let what = What::Silence { conn: slot, generation: conn.generation, dir: dir as u8 };
        self.push(from.after(Micros(conn.dirs[dir].patience)), what);
    }

    pub(super) fn silence(&mut self, slot: u32, dir: usize, now: Micros) {
        let conn = self.conn(slot);
        let (from, to) = (conn.ends[dir].node, conn.ends[1 - dir].node);
        if conn.end_of(to).is_none() || self.hosts[to].paused {
            return;
        }
        let d = &conn.dirs[dir];
        let since = match (self.link(from, to).blocked, d.flights.front()) {
            (Some(since), _) => since,
            // Keep-alives wait behind a segment that is being sent again.
            (None, Some(first)) if first.at > now && first.left > first.sent => first.sent,
            _ => return,
        };
        let since = since.max(d.heard);
        if since.after(Micros(d.patience)) > now {
            return self.watch(slot, dir, since);
        }
        if conn.ends[1 - dir].state == State::Open {
            self.bites.add(Kind::Silence, 1);
        }
        let reason = DownReason::Silent(std::time::Duration::from_micros(self.shape.silence_us));
        self.end(slot, 1 - dir, Some(reason), now);
    }
}

/// Flips one bit of a segment, whose parts these are.
fn flip<'a>(parts: impl Iterator<Item = &'a mut Flight>, draw: u64) {
    let parts: Vec<&mut Bytes> = parts
        .filter_map(|f| match &mut f.cargo {
            Cargo::Bytes(bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    let bits = parts.iter().map(|p| p.len() as u64 * 8).sum::<u64>();
    let mut at = if bits == 0 { return } else { draw % bits };
    for part in parts {
        let here = part.len() as u64 * 8;
        if at < here {
            // The memory may be shared with other segments: only the copy on this wire is damaged.
            let mut damaged = BytesMut::from(&part[..]);
            damaged[(at / 8) as usize] ^= 1 << (at % 8);
            *part = damaged.freeze();
            return;
        }
        at -= here;
    }
}
