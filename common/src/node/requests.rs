//! Who asked, and that each of them is answered once.
//!
//! A request that is admitted becomes a [`Ticket`], which moves along with it and is used up by the answer. Tickets
//! cannot be copied, so nothing is answered twice, and what is pending is exactly what tickets are about: their number
//! and bytes are bounded here, and what does not fit is refused as busy before anything was done for it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::config::ReplicaConfig;
use super::forward::Relay;
use super::io::ClientOut;
use super::replica::Replica;
use crate::client::wire::{Answer, Ask, Envelope, Request, Response};
use crate::protocol::{Protocol, Refusal};
use crate::transport::Session;
use crate::{mark, mutant};

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client's connection, and the client's number for the request.
    Client { conn: u64, request: u64 },
    /// Another replica that forwarded it, in one of its sessions, under its number for it. A token of an earlier session
    /// may mean another request: the peer may have been restarted in between.
    Peer { session: Session, token: u64 },
}

/// An admitted request that waits for its answer.
#[derive(Debug)]
pub struct Ticket {
    origin: Origin,
    bytes: usize,
}

#[cfg(test)]
impl Ticket {
    /// One that nobody holds.
    pub(super) fn any() -> Self {
        Self { origin: Origin::Client { conn: 1, request: 1 }, bytes: 0 }
    }
}

/// The connections, and how much they wait for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Open connections: requests admitted and not answered.
    clients: BTreeMap<u64, usize>,
    count: usize,
    bytes: usize,
}

impl Requests {
    fn admit(&mut self, limits: &ReplicaConfig, origin: Origin, bytes: usize) -> Option<Ticket> {
        let full = self.count >= limits.pending_requests || self.bytes + bytes > limits.pending_bytes;
        if full && !mutant!("C22") {
            return None;
        }
        if let Origin::Client { conn, .. } = origin {
            let open = self.clients.get_mut(&conn)?;
            if *open >= limits.client_requests {
                return None;
            }
            *open += 1;
        }
        self.count += 1;
        self.bytes += bytes;
        Some(Ticket { origin, bytes })
    }

    fn settle(&mut self, ticket: &Ticket) {
        self.count -= 1;
        self.bytes -= ticket.bytes;
        if let Origin::Client { conn, .. } = ticket.origin
            && let Some(open) = self.clients.get_mut(&conn)
        {
            *open -= 1;
        }
    }

    pub(super) fn up(&mut self, conn: u64) {
        self.clients.insert(conn, 0);
    }

    pub(super) fn down(&mut self, conn: u64) {
        self.clients.remove(&conn);
    }

    /// Whether an answer to it would still reach somebody; only of clients.
    pub(super) fn is_open(&self, ticket: &Ticket) -> bool {
        match ticket.origin {
            Origin::Client { conn, .. } => self.clients.contains_key(&conn),
            Origin::Peer { .. } => true,
        }
    }

    /// How many requests wait for their answers, and their bytes.
    pub(super) fn pending(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }
}

impl<P: Protocol> Replica<P> {
    /// Takes a request in, or refuses it because the node is full.
    pub(super) fn admit(&mut self, origin: Origin, bytes: usize) -> Option<Ticket> {
        let ticket = self.requests.admit(&self.config, origin, bytes);
        if ticket.is_none() {
            mark!("common/node/requests#admit.busy");
            self.counters.requests_shed.add(1);
            self.reply(origin, Answer::Refused(Refusal::Busy), Bytes::new());
        }
        ticket
    }

    /// Answers a request, which is thereby done with.
    #[allow(clippy::needless_pass_by_value, reason = "an answer uses its ticket up")]
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer, body: Bytes) {
        if !mutant!("C21") || self.requests.is_open(&ticket) {
            self.requests.settle(&ticket);
        }
        self.reply(ticket.origin, answer, body);
    }

    /// Refuses a request, which is thereby done with.
    pub(super) fn refuse(&mut self, ticket: Ticket, why: Refusal) {
        self.answer(ticket, Answer::Refused(why), Bytes::new());
    }

    fn reply(&mut self, origin: Origin, answer: Answer, body: Bytes) {
        match origin {
            Origin::Client { conn, request } => {
                if !self.requests.clients.contains_key(&conn) {
                    mark!("common/node/requests#reply.left");
                    return;
                }
                self.tracer.note("client", || {
                    [
                        ("op", "answer".into()),
                        ("conn", conn.into()),
                        ("id", request.into()),
                        ("r", word(&answer).into()),
                    ]
                });
                let response = Response { id: request, answer };
                if mutant!("C18") {
                    let (response, body) = (response.clone(), body.clone());
                    self.out.clients.push(ClientOut::Reply { conn, response, body });
                }
                self.out.clients.push(ClientOut::Reply { conn, response, body });
            }
            Origin::Peer { session, token } => match self.peers.session(session.peer) {
                Some(now) if now == session || mutant!("N04") => {
                    self.relay(now, Relay::Answer { token, answer }, body);
                }
                _ => mark!("common/node/requests#reply.old_session"),
            },
        }
    }

    /// A frame of a client: what it asks goes to the room it concerns.
    pub(super) fn client_frame(&mut self, conn: u64, header: &[u8], body: Bytes) {
        if !self.requests.clients.contains_key(&conn) {
            return;
        }
        let request: Request = match postcard::from_bytes(header) {
            Ok(request) => request,
            Err(e) if mutant!("N05") => panic!("{e}"),
            Err(e) => {
                mark!("common/node/requests#client_frame.unreadable");
                self.counters.bad_frames.add(1);
                self.requests.down(conn);
                tracing::debug!(conn, error = %e, "a request's header cannot be read");
                let reason = "a request's header cannot be read";
                return self.out.clients.push(ClientOut::Close { conn, reason });
            }
        };
        self.counters.client_requests.add(1);
        let origin = Origin::Client { conn, request: request.id };
        self.tracer.input("client", || {
            let op = match request.ask {
                Ask::Write => "write",
                Ask::Read { .. } => "read",
                Ask::Status => "status",
                Ask::Log { .. } => "log",
                Ask::Transfer { .. } => "transfer",
                Ask::Change { .. } => "change",
            };
            [("op", op.into()), ("conn", conn.into()), ("id", request.id.into()), ("bytes", body.len().into())]
        });
        if let (Ask::Write, Err(why)) = (&request.ask, self.check_write(&body)) {
            return self.reply(origin, Answer::Malformed(why), Bytes::new());
        }
        let Some(ticket) = self.admit(origin, body.len()) else { return };
        match request.ask {
            Ask::Write => self.write(ticket, body),
            Ask::Read { mode, at_least } => self.read(ticket, mode, at_least, body),
            Ask::Status => self.out.apply.push(super::ApplyOp::Describe { ticket }),
            Ask::Log { after, max } => self.show(ticket, after, max),
            Ask::Transfer { to } => self.transfer(ticket, to),
            Ask::Change { changes } => self.change(ticket, changes),
        }
    }

    /// Whether a write's body may stand in the log. Asked where the client connected, before anything is done for it.
    fn check_write(&self, body: &[u8]) -> Result<(), String> {
        if body.len() > self.config.entry_bytes {
            return Err(format!("a write of {} bytes; at most {} are taken", body.len(), self.config.entry_bytes));
        }
        match postcard::take_from_bytes::<Envelope>(body) {
            Ok((Envelope::Expire { .. }, _)) if !mutant!("C42") => {
                Err("only a leader says which sessions are dropped".to_owned())
            }
            Ok(_) => Ok(()),
            Err(e) => Err(format!("the write's envelope cannot be read: {e}")),
        }
    }
}

/// An answer in one word, for traces.
fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Written { .. }
        | Answer::Read { .. }
        | Answer::Status(_)
        | Answer::Log(_)
        | Answer::Transferred { .. }
        | Answer::Changed { .. } => "ok",
        Answer::Unknown => "info",
        Answer::Refused(_)
        | Answer::NoSession
        | Answer::BadSequence { .. }
        | Answer::Malformed(_)
        | Answer::Forgotten { .. } => "fail",
    }
}
