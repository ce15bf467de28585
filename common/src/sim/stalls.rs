//! L6: when all else is well, the leader's disk stalls. A leader that gives its office up at that must do so in time.

use bytes::Bytes;

use super::operator::FIRST;
use super::subject::Subject;
use super::world::World;
use crate::client::wire::{Ask, Envelope, Request};
use crate::node::Input;
use crate::types::NodeId;

/// The connections on which it writes come after those on which leadership is to be handed over.
const WRITES: u64 = FIRST + (1 << 32);

impl<P: Subject> World<'_, P> {
    /// Stalls the leader's disk, writes something, and waits for another leader that commits.
    pub(super) fn leaves_a_stalled_disk(&mut self, unit: u64) -> Result<(), String> {
        let Some(leader) = self.leading() else { return Ok(()) };
        let id = self.hosts[leader].id;
        let others = |v: NodeId| v != id && self.hosts[v.0 as usize - 1].running.is_some();
        let limit = P::leaves_a_stalled_disk(&self.plan.shape.timing, id)
            .filter(|_| self.members.now().configuration.is_quorum(others));
        let Some(limit) = limit else { return Ok(()) };
        self.hosts[leader].stalled += 1;
        self.write_raw(leader);
        let moved = self.until(limit.0 + 10 * unit, |w| w.leading() != Some(leader) && w.has_leader());
        self.hosts[leader].stalled -= 1;
        self.unstall(leader);
        let what = || {
            format!(
                "the disk of {id}, which leads, stalls, and no other leads and commits within {limit:?} and ten patiences"
            )
        };
        if moved { Ok(()) } else { Err(what()) }
    }

    /// Something for the log that no client waits for.
    fn write_raw(&mut self, host: usize) {
        let mut body = postcard::to_stdvec(&Envelope::Raw).unwrap_or_default();
        body.extend_from_slice(b"to a stalled disk");
        self.clients.append_sent(&body);
        let header = postcard::to_stdvec(&Request { id: 1, ask: Ask::Write }).unwrap_or_default();
        self.hand_in(host, Input::ClientUp { conn: WRITES });
        self.hand_in(host, Input::ClientFrame { conn: WRITES, header: header.into(), body: Bytes::from(body) });
    }
}
