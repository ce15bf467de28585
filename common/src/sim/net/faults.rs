//! What goes wrong on links. Whoever runs a world begins and ends each fault; here is kept what holds now, and how often
//! it made a difference: a fault that nothing met proves nothing.

use std::collections::BTreeMap;

use super::carry::{RETRANSMIT_US, exponential};
use super::conn::{Cargo, Flight, State};
use super::{Micros, Net, NodeId};
use crate::rng::Rng;

/// A kind of fault, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cut,
    Reset,
    Loss,
    Duplicate,
    Reorder,
    Corrupt,
    Slow,
    Narrow,
    Silence,
}

impl Kind {
    const NAMES: [&'static str; 9] =
        ["cut", "reset", "loss", "duplicate", "reorder", "corrupt", "slow", "narrow", "silence"];
}

/// How often each kind bit.
#[derive(Debug, Default)]
pub(super) struct Bites([u64; Kind::NAMES.len()]);

impl Bites {
    pub(super) fn add(&mut self, kind: Kind, n: u64) {
        self.0[kind as usize] += n;
    }
}

/// What is wrong in one direction between two nodes.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Cuts that hold.
    pub(super) cuts: u32,
    /// Whether they have held anything up.
    pub(super) cut_bit: bool,
    pub(super) loss: u16,
    pub(super) duplicate: u16,
    pub(super) reorder: u16,
    pub(super) corrupt: u16,
    pub(super) slow: u64,
    pub(super) narrow: Option<u64>,
}

impl Faults {
    /// Whether any concerns a segment's way.
    pub(super) fn is_any(&self) -> bool {
        self.slow > 0 || self.loss | self.duplicate | self.reorder > 0
    }
}

impl Net {
    /// Nothing gets from one node to the other while any cut holds. Each `true` is undone by one `false`.
    pub fn cut(&mut self, from: NodeId, to: NodeId, on: bool, now: Micros) {
        self.clock = now;
        let (Some(from), Some(to)) = (self.place(from), self.place(to)) else { return };
        let faults = &mut self.link_mut(from, to).faults;
        if on {
            faults.cut_bit &= faults.cuts > 0;
            faults.cuts += 1;
        } else {
            if faults.cuts != 1 {
                faults.cuts = faults.cuts.saturating_sub(1);
                return;
            }
            faults.cuts = 0;
        }
        self.refresh(from, to, now);
        if !on {
            for slot in 0..self.conns.len() as u32 {
                if let Some(dir) = self.conn(slot).dir(from, to) {
                    self.heal(slot, dir, now);
                }
            }
        }
    }

    /// Whether a cut holds up what wants to get from one node to the other; if so, it has bitten.
    pub(super) fn is_cut(&mut self, from: usize, to: usize) -> bool {
        let faults = &mut self.link_mut(from, to).faults;
        let cut = faults.cuts > 0;
        if cut && !std::mem::replace(&mut faults.cut_bit, true) {
            self.bites.add(Kind::Cut, 1);
        }
        cut
    }

    /// What the cut swallowed is sent again when the sender's time-out, which doubled each time, runs out next.
    fn heal(&mut self, slot: u32, dir: usize, now: Micros) {
        let (shape, conn) = (self.shape, &mut self.conns[slot as usize]);
        let (d, gone) = (&mut conn.dirs[dir], conn.ends[dir].state == State::Gone);
        if gone && d.flights.front().is_some_and(|f| f.at <= now) {
            // Who lost power does not send it again. Only a kernel that knows nothing still says so.
            d.flights.retain(|f| matches!(f.cargo, Cargo::Reset));
        }
        if let Some(first) = d.flights.front().filter(|f| f.at <= now) {
            let mut wait = RETRANSMIT_US;
            let mut again = first.left.after(Micros(wait));
            while again < now {
                wait = wait.saturating_mul(2);
                again = again.after(Micros(wait));
            }
            let delay = shape.delay_us + exponential(Rng::new(d.key ^ now.0).next_u64(), shape.jitter_us);
            let arrives = again.after(Micros(delay));
            for flight in &mut d.flights {
                if flight.at <= now {
                    flight.left = again;
                }
                flight.at = flight.at.max(arrives);
            }
            d.last_at = d.last_at.max(arrives);
        }
        self.release(slot, dir);
        // What came through the other way can be acknowledged now.
        let back = &mut self.conns[slot as usize].dirs[1 - dir];
        back.in_flight = back.in_flight.saturating_sub(std::mem::take(&mut back.unacked));
        self.pump(slot, 1 - dir, now);
    }

    /// The session between two nodes breaks: in each direction what is under way is lost from some point on, and each end
    /// hears of it in its own time.
    pub fn reset(&mut self, a: NodeId, b: NodeId, now: Micros) {
        self.clock = now;
        let (Some(a), Some(b)) = (self.place(a), self.place(b)) else { return };
        let mut bit = false;
        for slot in 0..self.conns.len() as u32 {
            let conn = self.conn(slot);
            if conn.dir(a, b).is_none() {
                continue;
            }
            for dir in [0, 1] {
                let conn = self.conn(slot);
                if conn.end_of(conn.ends[1 - dir].node).is_some() && !conn.dirs[dir].is_ended() {
                    self.break_off(slot, dir, now);
                    bit = true;
                }
            }
        }
        self.bites.add(Kind::Reset, u64::from(bit));
    }

    fn break_off(&mut self, slot: u32, dir: usize, now: Micros) {
        let shape = self.shape;
        let d = &mut self.conns[slot as usize].dirs[dir];
        let mut rng = Rng::new(d.key.rotate_left(48) ^ d.segments);
        let stays = rng.between(0, d.flights.len() as u64 + 1) as usize;
        d.flights.truncate(stays);
        d.queue.clear();
        d.broken = true;
        // Mostly soon; now and then the one end goes on for long while the other has heard of it.
        let most = if rng.between(0, 4) == 0 { shape.silence_us / 2 } else { 4 * (shape.delay_us + shape.jitter_us) };
        let hears = now.after(Micros(shape.delay_us + rng.between(0, most)));
        let at = d.flights.back().map_or(hears, |last| hears.max(last.at));
        d.last_at = d.last_at.max(at);
        d.flights.push_back(Flight { cargo: Cargo::Reset, sent: now, left: now, at });
        self.arm(slot, dir);
    }

    /// Of each thousand segments so many are lost, and sent again after a time-out. Zero ends it.
    pub fn loss(&mut self, from: NodeId, to: NodeId, per_mille: u16) {
        self.set(from, to, |f| f.loss = per_mille);
    }

    /// Of each thousand segments so many come twice. Zero ends it.
    pub fn duplicate(&mut self, from: NodeId, to: NodeId, per_mille: u16) {
        self.set(from, to, |f| f.duplicate = per_mille);
    }

    /// Of each thousand segments so many are overtaken by later ones, which then wait for them. Zero ends it.
    pub fn reorder(&mut self, from: NodeId, to: NodeId, per_mille: u16) {
        self.set(from, to, |f| f.reorder = per_mille);
    }

    /// Of each thousand segments so many arrive with a bit flipped. Zero ends it.
    pub fn corrupt(&mut self, from: NodeId, to: NodeId, per_mille: u16) {
        self.set(from, to, |f| f.corrupt = per_mille);
    }

    /// Every segment takes so much longer. Zero ends it. Keep-alives take longer too, but go on coming.
    pub fn slow(&mut self, from: NodeId, to: NodeId, delay: Micros) {
        self.set(from, to, |f| f.slow = delay.0);
    }

    /// No more than so many bytes (at least one) are under way; the rest waits at the sender. None ends it.
    pub fn narrow(&mut self, from: NodeId, to: NodeId, bytes: Option<u64>, now: Micros) {
        self.clock = now;
        self.set(from, to, |f| f.narrow = bytes);
        let (Some(from), Some(to)) = (self.index(from), self.index(to)) else { return };
        for slot in 0..self.conns.len() as u32 {
            if let Some(dir) = self.conn(slot).dir(from, to) {
                self.pump(slot, dir, now);
            }
        }
    }

    fn set(&mut self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Faults)) {
        if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
            change(&mut self.link_mut(from, to).faults);
        }
    }

    /// How often each kind of fault made a difference: for `cut` and `reset` how many of them, for the others how many
    /// segments, and for `silence` how many ends closed for it.
    pub fn bitten(&self) -> BTreeMap<&'static str, u64> {
        Kind::NAMES.into_iter().zip(self.bites.0).filter(|(_, n)| *n > 0).collect()
    }
}
