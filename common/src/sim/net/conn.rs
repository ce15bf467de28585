//! One connection: two ends, which know different things, and two directions.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::rng::Rng;
use crate::transport::frame::{FrameDecoder, FrameLimits, FrameQueue};
use crate::types::{Member, Micros};

/// How far one end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The acceptor waits for the dialler's last word.
    Shaking,
    /// A session is up here.
    Open,
    /// Closed; the kernel still sees to what it was given, and to the FIN.
    Over,
    /// The machine lost power: nobody here knows of the connection.
    Gone,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) node: usize,
    pub(super) state: State,
    /// Of the session, as this end counts.
    pub(super) number: u64,
    pub(super) member: Member,
}

/// What a segment carries.
#[derive(Clone, Debug)]
pub(super) enum Cargo {
    /// The dialler's last word of the handshake; the first segment it sends.
    Confirm,
    /// A piece of the byte stream.
    Bytes(Bytes),
    /// What no peer sent.
    Hostile(Bytes),
    /// FIN: there is no more.
    Fin,
    /// RST: whatever there was, it is no more.
    Reset,
}

/// A segment, or a part of one, under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) cargo: Cargo,
    /// When it was first sent.
    pub(super) sent: Micros,
    /// When it was sent the time that it gets through.
    pub(super) left: Micros,
    /// When the receiver has it and everything before it. Never less than that of the one before.
    pub(super) at: Micros,
}

/// One way through a connection. Index 0 is from the dialler to the acceptor.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "facts about a stream, each of which may hold without the others")]
pub(super) struct Dir {
    /// What the sending process keeps since the window is full.
    pub(super) queue: FrameQueue,
    /// It waits for a flush.
    pub(super) dirty: bool,
    pub(super) flights: VecDeque<Flight>,
    /// Bytes sent and, as far as the sender knows, not received.
    pub(super) in_flight: u64,
    /// Those of them that were received, and whose acknowledgement is cut off.
    pub(super) unacked: u64,
    /// Segments sent so far.
    pub(super) segments: u64,
    /// All draws of this direction come from it.
    pub(super) key: u64,
    pub(super) last_at: Micros,
    /// The `Deliver` event that counts.
    pub(super) armed: Option<Micros>,
    /// The receiver stands still or the link is cut: nothing is delivered until [`release`](super::Net::release).
    pub(super) held: bool,
    /// Nothing that is sent from now on arrives.
    pub(super) broken: bool,
    /// When the receiver last heard anything.
    pub(super) heard: Micros,
    /// How long the receiver endures silence.
    pub(super) patience: u64,
    pub(super) decoder: FrameDecoder,
    /// The decoder was given what is no frame: it must give none any more.
    pub(super) poisoned: bool,
}

/// A place for a connection, used again after its end.
#[derive(Debug)]
pub(super) struct Conn {
    /// Counts the connections that had this place; what is meant for an earlier one is void.
    pub(super) generation: u32,
    pub(super) used: bool,
    /// The dialler and the acceptor.
    pub(super) ends: [End; 2],
    pub(super) dirs: [Dir; 2],
}

impl Dir {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self {
            queue: FrameQueue::new(limits),
            dirty: false,
            flights: VecDeque::new(),
            in_flight: 0,
            unacked: 0,
            segments: 0,
            key: 0,
            last_at: Micros(0),
            armed: None,
            held: false,
            broken: false,
            heard: Micros(0),
            patience: 0,
            decoder: FrameDecoder::new(limits),
            poisoned: false,
        }
    }

    /// For another connection.
    pub(super) fn begin(&mut self, limits: FrameLimits, key: u64, silence: u64, now: Micros) {
        let mut flights = std::mem::take(&mut self.flights);
        flights.clear();
        let patience = silence.saturating_add(Rng::new(key).between(0, silence / 4));
        *self = Self { flights, key, patience, heard: now, ..Self::new(limits) };
    }

    /// Nothing comes after what is under way.
    pub(super) fn is_ended(&self) -> bool {
        self.broken || matches!(self.flights.back(), Some(Flight { cargo: Cargo::Fin | Cargo::Reset, .. }))
    }
}

impl Conn {
    /// The index of a node's end, if that end still stands.
    pub(super) fn end_of(&self, node: usize) -> Option<usize> {
        let at = self.ends.iter().position(|e| e.node == node)?;
        (self.used && matches!(self.ends[at].state, State::Shaking | State::Open)).then_some(at)
    }

    /// The index of the direction from one node to another.
    pub(super) fn dir(&self, from: usize, to: usize) -> Option<usize> {
        let dir = self.ends.iter().position(|e| e.node == from)?;
        (self.used && self.ends[1 - dir].node == to).then_some(dir)
    }

    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|e| matches!(e.state, State::Over | State::Gone))
    }
}
