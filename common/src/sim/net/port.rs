//! A node's side of the network.

use bytes::Bytes;
use serde::Serialize;

use super::conn::{End, State};
use super::{DownReason, Micros, Net, NodeId, Session};
use crate::membership::Membership;
use crate::transport::Network;

/// A node's side of the network at one moment. What was queued and not flushed waits for the next flush.
#[derive(Debug)]
pub struct Port<'a> {
    net: &'a mut Net,
    me: Option<usize>,
    now: Micros,
}

impl<'a> Port<'a> {
    pub(super) fn new(net: &'a mut Net, id: NodeId, now: Micros) -> Self {
        let me = net.index(id).filter(|me| net.hosts[*me].on);
        Self { net, me, now }
    }

    /// The connection and the end of it that is this session, while it is up.
    fn find(&self, session: Session) -> Option<(u32, usize)> {
        let (me, peer) = (self.me?, self.net.index(session.peer)?);
        let slot = self.net.link(me, peer).current?;
        let conn = self.net.conn(slot);
        let end = usize::from(conn.ends[0].node != me);
        let End { state, number, .. } = &conn.ends[end];
        (*state == State::Open && *number == session.number).then_some((slot, end))
    }
}

impl Network for Port<'_> {
    fn send<H: Serialize + ?Sized>(&mut self, to: Session, channel: u8, header: &H, body: &Bytes) {
        let Some((slot, end)) = self.find(to) else { return };
        let limits = self.net.queue;
        let dir = &mut self.net.conn_mut(slot).dirs[end];
        if let Err(error) = dir.queue.push(channel, header, body) {
            return self.net.end(slot, end, Some(DownReason::Unsendable(error)), self.now);
        }
        let reason = limits.check(&dir.queue);
        if !std::mem::replace(&mut dir.dirty, true) {
            self.net.dirty.push((slot, end as u8));
        }
        if reason.is_some() {
            if let Some(counters) = self.me.and_then(|me| self.net.hosts[me].counters.as_ref()) {
                counters.queue_overflows.add(1);
            }
            self.net.end(slot, end, reason, self.now);
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.net.dirty);
        for (slot, end) in dirty.drain(..) {
            let end = usize::from(end);
            if std::mem::take(&mut self.net.conn_mut(slot).dirs[end].dirty) {
                self.net.pump(slot, end, self.now);
            }
        }
        self.net.dirty = dirty;
    }

    fn members(&mut self, membership: &Membership) {
        if let Some(me) = self.me {
            self.net.follow(me, membership, self.now);
        }
    }

    fn disconnect(&mut self, session: Session, reason: &'static str) {
        if let Some((slot, end)) = self.find(session) {
            self.net.end(slot, end, Some(DownReason::Disconnected(reason)), self.now);
        }
    }
}
