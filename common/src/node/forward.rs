//! What replicas say to each other beside the protocol: a write that reached a follower goes on to the leader.
//!
//! A forwarded write is sent once. When its answer cannot come any more (the session to the leader ended, or another
//! leads), nobody here knows whether it took effect, and the client is told so: `Unknown`. Sending it again from here
//! could apply it twice; the client asks again under the same `(session, seq)`, which cannot.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::io::PeerOut;
use super::proposals::Queued;
use super::replica::{Replica, decode_traced};
use super::requests::{Origin, Ticket};
use crate::client::wire::Answer;
use crate::membership::{MemberChange, Membership};
use crate::protocol::{Input as CoreInput, Protocol, Refusal};
use crate::transport::{FrameError, Session};
use crate::types::{LogId, NodeId, Role};
use crate::{mark, mutant};

/// A frame's header on the relay channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relay {
    /// Propose the body: an envelope and its command.
    Write {
        /// The sender's number for it, unique as long as its process runs.
        token: u64,
    },
    /// Hand leadership over.
    Transfer {
        /// The sender's number for it.
        token: u64,
        /// To whom.
        to: Option<NodeId>,
    },
    /// Change who belongs to the cluster.
    Change {
        /// The sender's number for it.
        token: u64,
        /// What to change.
        changes: Vec<MemberChange>,
    },
    /// Who belongs to the cluster, by an entry of the sender's log.
    Members {
        /// Which.
        at: LogId,
        /// What it says.
        membership: Membership,
    },
    /// The answer to one of these; what the state machine said is the body.
    Answer {
        /// As asked.
        token: u64,
        /// How it went.
        answer: Answer,
    },
}

impl Relay {
    fn kind(&self) -> &'static str {
        match self {
            Self::Write { .. } => "FORWARD",
            Self::Transfer { .. } => "FORWARD-TRANSFER",
            Self::Change { .. } => "FORWARD-CHANGE",
            Self::Members { .. } => "MEMBERS",
            Self::Answer { .. } => "FORWARDED",
        }
    }
}

/// What was forwarded and not answered.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    next_token: u64,
    /// On which session everything in `open` went.
    leader: Option<Session>,
    open: BTreeMap<u64, Forwarded>,
}

/// What operators ordered (transfers of leadership, changes of members) and the core has not answered.
#[derive(Debug, Default)]
pub(super) struct Orders {
    next: u64,
    open: BTreeMap<u64, Ticket>,
}

#[derive(Debug)]
enum Forwarded {
    Write(Queued),
    Transfer { ticket: Ticket, to: Option<NodeId> },
    Change { ticket: Ticket },
}

impl<P: Protocol> Replica<P> {
    /// The leader to forward to: somebody else, whom this node follows and has a session with.
    pub(super) fn forward_to(&self) -> Option<Session> {
        let leader = self.led.leader.filter(|l| *l != self.me)?;
        let follows = matches!(self.led.role, Role::Following | Role::Observing);
        self.peers.session(leader).filter(|_| follows)
    }

    pub(super) fn forward_write(&mut self, leader: Session, write: Queued) {
        mark!("common/node/forward#forward_write");
        let body = write.body.clone();
        let token = self.forwarded(leader, Forwarded::Write(write));
        self.relay(leader, Relay::Write { token }, body);
    }

    fn forwarded(&mut self, leader: Session, what: Forwarded) -> u64 {
        let token = self.forwards.next_token;
        self.forwards.next_token += 1;
        self.forwards.leader = Some(leader);
        self.forwards.open.insert(token, what);
        token
    }

    /// Says something to another replica.
    pub(super) fn relay(&mut self, to: Session, relay: Relay, body: Bytes) {
        let m = self.tracer.send(to.peer, relay.kind(), || serde_json::to_value(&relay).unwrap_or_default());
        self.out.peers.push(PeerOut::Relay { to, relay, body, m });
    }

    /// Another replica says something.
    pub(super) fn relay_frame(&mut self, from: Session, header: &[u8], body: Bytes) -> Result<(), FrameError> {
        let (relay, m) = decode_traced::<Relay>(header)?;
        self.tracer.receive(from.peer, relay.kind(), m);
        match relay {
            Relay::Write { token } => {
                let mut body = body;
                if mutant!("C19") && body.len() > 8 {
                    let mut other = body.to_vec();
                    other.last_mut().into_iter().for_each(|byte| *byte ^= 1);
                    body = other.into();
                }
                let Some(ticket) = self.admit(Origin::Peer { session: from, token }, body.len()) else {
                    return Ok(());
                };
                if self.led.role == Role::Leading {
                    self.write(ticket, body);
                } else {
                    mark!("common/node/forward#relay_frame.not_leading");
                    // Not forwarded any further: two nodes that take each other for the leader would play ball with it.
                    self.refuse(ticket, Refusal::NotLeader { leader: self.led.leader });
                }
            }
            Relay::Transfer { token, to } => {
                let Some(ticket) = self.admit(Origin::Peer { session: from, token }, 0) else { return Ok(()) };
                self.transfer_here(ticket, to);
            }
            Relay::Change { token, changes } => {
                let Some(ticket) = self.admit(Origin::Peer { session: from, token }, 0) else { return Ok(()) };
                self.change_here(ticket, changes);
            }
            Relay::Members { at, membership } => self.told_members(at, membership),
            Relay::Answer { token, answer } => self.forward_answered(from, token, answer, body),
        }
        Ok(())
    }

    fn forward_answered(&mut self, from: Session, token: u64, answer: Answer, body: Bytes) {
        if self.forwards.leader != Some(from) {
            mark!("common/node/forward#forward_answered.late");
            return;
        }
        match (self.forwards.open.remove(&token), answer) {
            (None, _) => {}
            (Some(Forwarded::Write(write)), Answer::Refused(Refusal::NotLeader { .. })) => self.write_returned(write),
            (
                Some(
                    Forwarded::Write(Queued { ticket, .. })
                    | Forwarded::Transfer { ticket, .. }
                    | Forwarded::Change { ticket },
                ),
                answer,
            ) => self.answer(ticket, answer, body),
        }
    }

    /// The leader these went to is out of reach or leads no more: whether writes took effect is not known here. Of a transfer
    /// it is, as soon as the next leader is.
    pub(super) fn abandon_forwards(&mut self) {
        let Some(old) = self.forwards.leader else { return };
        let reached = self.peers.session(old.peer) == Some(old);
        for (token, open) in std::mem::take(&mut self.forwards.open) {
            match open {
                Forwarded::Write(write) if mutant!("C04") => self.refuse(write.ticket, Refusal::LeaderChanged),
                Forwarded::Write(write) => {
                    mark!("common/node/forward#abandon_forwards.unknown");
                    self.answer(write.ticket, Answer::Unknown, Bytes::new());
                }
                Forwarded::Change { ticket } => self.answer(ticket, Answer::Unknown, Bytes::new()),
                Forwarded::Transfer { ticket, to } => match self.led.leader {
                    None if reached => {
                        self.forwards.open.insert(token, Forwarded::Transfer { ticket, to });
                    }
                    Some(leader) if leader != old.peer && to.is_none_or(|to| to == leader) => {
                        mark!("common/node/forward#abandon_forwards.transferred");
                        self.answer(ticket, Answer::Transferred { to: leader }, Bytes::new());
                    }
                    _ => self.refuse(ticket, Refusal::LeaderChanged),
                },
            }
        }
        if self.forwards.open.is_empty() {
            self.forwards.leader = None;
        }
        if mutant!("N04") {
            self.forwards.next_token = 0;
        }
    }

    /// Whom the forwarded writes went to, if some are not answered.
    pub(super) fn forwarded_to(&self) -> Option<Session> {
        self.forwards.leader.filter(|_| !self.forwards.open.is_empty())
    }

    /// Hands leadership over, here or where the leader is.
    pub(super) fn transfer(&mut self, ticket: Ticket, to: Option<NodeId>) {
        match self.forward_to() {
            Some(leader) => {
                let token = self.forwarded(leader, Forwarded::Transfer { ticket, to });
                self.relay(leader, Relay::Transfer { token, to }, Bytes::new());
            }
            None => self.transfer_here(ticket, to),
        }
    }

    fn transfer_here(&mut self, ticket: Ticket, to: Option<NodeId>) {
        if self.led.role != Role::Leading {
            return self.refuse(ticket, Refusal::NotLeader { leader: self.led.leader });
        }
        let id = self.order(ticket);
        self.step(CoreInput::Transfer { id, to });
    }

    /// The number under which the core answers.
    fn order(&mut self, ticket: Ticket) -> u64 {
        let id = self.orders.next;
        self.orders.next += 1;
        self.orders.open.insert(id, ticket);
        id
    }

    /// Leadership was handed over, or was not.
    pub(super) fn transfer_answered(&mut self, id: u64, answer: Result<NodeId, Refusal>) {
        let Some(ticket) = self.orders.open.remove(&id) else { return };
        match answer {
            Ok(to) => self.answer(ticket, Answer::Transferred { to }, Bytes::new()),
            Err(why) => self.refuse(ticket, why),
        }
    }

    /// Changes who belongs to the cluster, here or where the leader is.
    pub(super) fn change(&mut self, ticket: Ticket, changes: Vec<MemberChange>) {
        match self.forward_to() {
            Some(leader) => {
                let token = self.forwarded(leader, Forwarded::Change { ticket });
                self.relay(leader, Relay::Change { token, changes }, Bytes::new());
            }
            None => self.change_here(ticket, changes),
        }
    }

    fn change_here(&mut self, ticket: Ticket, changes: Vec<MemberChange>) {
        if self.led.role != Role::Leading {
            return self.refuse(ticket, Refusal::NotLeader { leader: self.led.leader });
        }
        let id = self.order(ticket);
        self.step(CoreInput::Change { id, changes });
    }

    /// The members were changed, or were not.
    pub(super) fn change_answered(&mut self, id: u64, answer: Result<LogId, Option<Refusal>>) {
        let Some(ticket) = self.orders.open.remove(&id) else { return };
        match answer {
            Ok(at) => self.answer(ticket, Answer::Changed { at }, Bytes::new()),
            Err(Some(why)) => self.refuse(ticket, why),
            Err(None) => self.answer(ticket, Answer::Unknown, Bytes::new()),
        }
    }
}
