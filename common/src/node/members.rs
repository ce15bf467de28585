//! Who belongs to the cluster, for the network: whom to call.
//!
//! A node counts by what its own log says and nothing else. But to be sent the rest of the log it must reach those who lead
//! now, and whoever was away long enough knows none of them: it calls those that belonged before. They may not belong any
//! more themselves; what they know of later members they tell, and it is believed for calling only. Nothing is said where
//! no entry ever changed anything. So whoever counts by an entry that may never be committed also calls those who belonged
//! before it: where the log that won has no such entry, nobody would tell.

use bytes::Bytes;

use super::forward::Relay;
use super::replica::Replica;
use crate::membership::{MAX_MEMBERS, Membership};
use crate::protocol::Protocol;
use crate::transport::Session;
use crate::types::LogId;
use crate::{mark, mutant};

use super::io::PeerOut;

/// What was told, and to whom.
#[derive(Debug)]
pub(super) struct Known {
    /// The entry by which this node counted as of the last turn.
    own: Option<LogId>,
    /// The last members known to be committed: those of the snapshot or the settings, until those of an entry are.
    firm: (LogId, Membership),
    /// Another one that a peer told of: a later one, or any while the own one is not known to be committed. It may be cut off
    /// again, and then an earlier one is right.
    told: Option<(LogId, Membership)>,
    /// What the network goes by: the own one, the firm one if that is another, and what was told.
    shown: Option<(LogId, Option<LogId>, Option<LogId>)>,
}

impl Known {
    pub(super) fn new(firm: (LogId, Membership)) -> Self {
        Self { own: None, firm, told: None, shown: None }
    }
}

impl<P: Protocol> Replica<P> {
    /// At the end of a turn: tells the network when the members are others than it knows, and peers when this node goes by
    /// others than before.
    pub(super) fn flush_members(&mut self) {
        let (since, membership) = self.core.membership();
        if self.known.own == Some(since) && self.known.told.is_none() && self.known.firm.0 == since {
            return;
        }
        let membership = membership.clone();
        if self.known.own != Some(since) {
            self.known.own = Some(since);
            if since > LogId::ZERO {
                self.tracer.note("members", || [("members", membership.to_string().into())]);
            }
            for session in self.peers.all() {
                self.tell_members(session);
            }
        }
        let known = &mut self.known;
        let doubted = since > self.core.committed();
        known.told.take_if(|(at, _)| *at == since || *at < since && !doubted);
        if !doubted {
            known.firm = (since, membership.clone());
        }
        let firm = (known.firm.0 != since && !mutant!("C50")).then_some(&known.firm);
        let told = known.told.as_ref();
        let shown = (since, firm.map(|(at, _)| *at), told.map(|(at, _)| *at));
        if known.shown != Some(shown) {
            if firm.is_some() {
                mark!("common/node/members#flush_members.doubted");
            }
            let all = [firm, told].into_iter().flatten().fold(membership, |all, (_, more)| all.or(more));
            known.shown = Some(shown);
            self.out.peers.push(PeerOut::Members(all));
        }
    }

    /// Tells a peer who belongs, if an entry says so here.
    pub(super) fn tell_members(&mut self, session: Session) {
        let (at, membership) = self.core.membership();
        if at > LogId::ZERO {
            let membership = membership.clone();
            self.relay(session, Relay::Members { at, membership }, Bytes::new());
        }
    }

    /// A peer says who belongs.
    pub(super) fn told_members(&mut self, at: LogId, membership: Membership) {
        let since = self.core.membership().0;
        let news = at > since || at < since && since > self.core.committed();
        let newest = self.known.told.as_ref().is_none_or(|(known, _)| at > *known);
        if news && newest && membership.configuration.members().len() <= MAX_MEMBERS {
            mark!("common/node/members#told_members.later");
            self.known.told = Some((at, membership));
        }
    }
}
