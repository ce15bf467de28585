//! What no peer says: bytes that are no frames, and callers who are not who they say they are.
//!
//! Whatever comes must cost one connection and nothing else, before memory is spent on it: that is looked at here, where
//! the shipping decoder and the shipping judgement on a caller stand between the bytes and the node.

use bytes::Bytes;

use super::conn::Cargo;
use super::{CLUSTER, Micros, Net, NodeId};
use crate::rng::Rng;
use crate::sim::plan::{Hostile, Lie};
use crate::sim::subject::Violation;
use crate::transport::channel;
use crate::transport::handshake::{self, VERSION};
use crate::types::Member;

/// A length that is allowed and takes long to fill.
const LONG: u32 = 1 << 20;

impl Net {
    /// Puts bytes behind what is under way from one node to the other in the session that the receiver has. False if it
    /// has none, or one that nothing can follow in.
    pub fn hostile(&mut self, to: NodeId, from: NodeId, what: Hostile, draw: u64, now: Micros) -> bool {
        self.clock = now;
        let bytes = self.no_frame(what, draw);
        let (Some(to), Some(from)) = (self.place(to), self.place(from)) else { return false };
        let Some(slot) = self.link(to, from).current else { return false };
        match self.conn(slot).dir(from, to) {
            Some(dir) if !self.conn(slot).dirs[dir].is_ended() => {
                self.dispatch(slot, dir, Cargo::Hostile(bytes), now);
                true
            }
            _ => false,
        }
    }

    fn no_frame(&self, what: Hostile, draw: u64) -> Bytes {
        let head = |length: u32, crc: u32| {
            let shape = u32::from(channel::PROTOCOL) | 8 << 8;
            Bytes::copy_from_slice([length, crc, draw as u32, shape].map(u32::to_le_bytes).as_flattened())
        };
        let honest = |length: u32| head(length, crc32c::crc32c(&length.to_le_bytes()));
        match what {
            Hostile::Garbage => {
                let mut rng = Rng::new(draw);
                (0..8).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
            }
            // By more than the head that is there already.
            Hostile::TooLong => honest(self.frames.max_frame + 64),
            Hostile::BrokenOff => honest(16),
            Hostile::WrongLength => head(LONG, !crc32c::crc32c(&LONG.to_le_bytes())),
        }
    }

    /// Notes what a decoder gives although it has read what is no frame, and how much it waits for.
    pub(super) fn look_at_decoder(&mut self, slot: u32, dir: usize, heard: bool) {
        let conn = self.conn(slot);
        let (from, to) = (NodeId(conn.ends[dir].node as u64), NodeId(conn.ends[1 - dir].node as u64));
        let missing = conn.dirs[dir].decoder.missing();
        if heard {
            let what = format!("{to} hears a frame in its session with {from} behind bytes that are none");
            self.found.get_or_insert(Violation::new("C-PEER", what));
        }
        if missing > self.frames.max_frame as usize {
            let what = format!("{to} waits for {missing} bytes more of one frame that {from} began");
            self.found.get_or_insert(Violation::new("C-RES", what));
        }
    }

    /// What the network has found since it was last asked.
    pub fn verdict(&mut self) -> Result<(), Violation> {
        self.found.take().map_or(Ok(()), Err)
    }

    /// Somebody calls `to` and says that he is `from`, which is true but for the lie. Whether he is taken; none if nobody
    /// listens.
    pub fn stranger(&mut self, from: NodeId, to: NodeId, member: Member, lie: Option<Lie>) -> Option<bool> {
        let called = self.place(to)?;
        let host = &self.hosts[called];
        let me = host.me.as_ref().filter(|_| host.on && !host.paused)?;
        let mut caller = self.identity(if lie == Some(Lie::Cluster) { "another" } else { CLUSTER }, from, member);
        if lie == Some(Lie::Protocol) {
            caller.protocol.push('x');
        }
        let target = if lie == Some(Lie::Called) { NodeId(to.0 + 1) } else { to };
        let version = if lie == Some(Lie::Version) { VERSION + 1 } else { VERSION };
        let judged = handshake::call_in(version, &caller, target)
            .and_then(|words| handshake::judge_call(me, handshake::read_from(&words)?));
        if let (Err(_), Some(counters)) = (&judged, &host.counters) {
            counters.handshakes_refused.add(1);
        }
        Some(judged.is_ok())
    }
}
