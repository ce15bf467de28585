//! How a request leaves: to which node, on which connection, under which name.

use bytes::Bytes;

use super::ask::Aside;
use super::history::{Action, Fate};
use super::{Asked, Attempt, Client, ClientAct, Clients, Conn, Event, Op, Opened, What};
use crate::client::wire::{Ask, Envelope, Request};
use crate::rng::Rng;
use crate::types::{LogId, NodeId};

impl Clients {
    pub(super) fn begin(&mut self, client: usize, op: Op, out: &mut Vec<ClientAct>) {
        let number = op.number;
        self.people[client].ops.push(op);
        self.attempt(client, number, out);
    }

    /// Sends an operation, for the first time or again, if it has no outcome and is not under way.
    pub(super) fn attempt(&mut self, client: usize, number: u64, out: &mut Vec<ClientAct>) {
        let horizon = self.witness.horizon();
        let Some(op) = self.op(client, number).filter(|op| op.last.is_none()) else { return };
        op.waits = false;
        if !op.maybe() {
            // Nothing has happened yet, so it may as well be asked for the first time.
            op.horizon = horizon;
        }
        if op.mode().is_none() && !self.name(client, number, out) {
            return;
        }
        let Some(op) = self.op(client, number) else { return };
        let (tries, hint) = (op.tries, op.hint.take());
        op.tries += 1;
        let again = op.twice && tries == 0;
        let mut rng = self.streams.rng("try", [client as u64, number, tries.into()]);
        let node = self.choose(client, tries, hint, &mut rng);
        if again {
            let other = self.any_node(&mut rng);
            self.send_op(client, number, other, out);
        }
        self.send_op(client, number, node, out);
    }

    fn choose(&mut self, client: usize, tries: u32, hint: Option<NodeId>, rng: &mut Rng) -> NodeId {
        let any = self.any_node(rng);
        let home = self.people[client].home;
        let coin = rng.between(0, 10);
        let node = match hint {
            Some(hint) if coin < 5 && self.nodes.contains(&hint) => hint,
            _ if self.quiet => self.nodes[(client + tries as usize) % self.nodes.len()],
            _ if tries == 0 && coin > 0 || coin == 9 => home,
            _ => any,
        };
        if tries > 0 {
            self.people[client].home = node;
        }
        node
    }

    /// Gives a write its name. False if it must wait for a session, or has its outcome by the loss of one.
    fn name(&mut self, client: usize, number: u64, out: &mut Vec<ClientAct>) -> bool {
        let window = self.window;
        let c = &mut self.people[client];
        let session = match &c.session {
            Some(Opened::Open(session, _)) => Some(*session),
            _ => None,
        };
        let Some(op) = c.ops.iter_mut().find(|op| op.number == number) else { return false };
        if op.name.is_some_and(|(of, _)| Some(of) != session) {
            if op.maybe() {
                // Only the session that was lost could have told.
                self.resolve(client, number, Fate::Unknown, None);
                return false;
            }
            (op.name, op.sent, op.refused) = (None, 0, 0);
        }
        if op.name.is_some() {
            return true;
        }
        op.waits = true;
        let floor = floor(c);
        match &mut c.session {
            None => {
                c.session = Some(Opened::Opening(None));
                self.open(client, out);
                false
            }
            Some(Opened::Open(session, next)) if *next - floor.unwrap_or(*next) < window => {
                let name = (*session, *next);
                *next += 1;
                if let Some(op) = self.op(client, number) {
                    (op.name, op.waits) = (Some(name), false);
                    if let What::Known { record: Some(record), .. } = op.what {
                        self.history.named(record, name.0, name.1);
                    }
                }
                true
            }
            Some(_) => false,
        }
    }

    fn send_op(&mut self, client: usize, number: u64, node: NodeId, out: &mut Vec<ClientAct>) {
        let c = &mut self.people[client];
        let (seen, floor) = (c.seen, floor(c));
        let Some(op) = c.ops.iter_mut().find(|op| op.number == number) else { return };
        let (ask, body, horizon, asked) = match (op.what, op.name) {
            (What::Known { action: Action::Get { mode }, key, .. }, _) => {
                let asked = Asked::Read { op: number, mode, key, at_least: seen };
                (Ask::Read { mode, at_least: seen }, op.bytes.clone(), self.witness.horizon(), asked)
            }
            (_, Some((session, seq))) => {
                op.sent += 1;
                let envelope = Envelope::Write { session, seq, floor: floor.unwrap_or(seq) };
                self.witness.write_sent(session, seq, &op.bytes);
                (Ask::Write, enveloped(envelope, &op.bytes), op.horizon, Asked::Write { op: number, session, seq })
            }
            (_, None) => return,
        };
        let request = self.send(client, node, horizon, ask, asked, body, out);
        if let Some(op) = self.op(client, number) {
            op.last = Some(request);
        }
    }

    /// Asks for a session, unless there is one or it is asked for.
    pub(super) fn open(&mut self, client: usize, out: &mut Vec<ClientAct>) {
        let c = &mut self.people[client];
        if !matches!(c.session, Some(Opened::Opening(None))) {
            return;
        }
        c.opens += 1;
        let mut rng = self.streams.rng("open", [client as u64, c.opens, 0]);
        let node = self.choose(client, self.people[client].opens as u32 - 1, None, &mut rng);
        self.witness.open_sent();
        let (horizon, body) = (self.witness.horizon(), enveloped(Envelope::Open, &[]));
        let request = self.send(client, node, horizon, Ask::Write, Asked::Open, body, out);
        self.people[client].session = Some(Opened::Opening(Some(request)));
    }

    pub(super) fn send_aside(
        &mut self,
        client: usize,
        node: NodeId,
        aside: Aside,
        ask: Ask,
        body: Bytes,
        out: &mut Vec<ClientAct>,
    ) {
        if let Aside::Append { payload, .. } = &aside {
            self.witness.append_sent(payload);
        }
        let (horizon, at_least) = (self.witness.horizon(), self.people[client].seen);
        if let Aside::NoHeader = aside {
            // On a connection of its own, which must not survive it.
            let conn = self.connect(client, node, out);
            let header = Bytes::from_static(&[0xff; 24]);
            self.enter(client, conn, horizon, Asked::Aside { aside, at_least });
            return out.push(ClientAct::Send { conn, header, body });
        }
        self.send(client, node, horizon, ask, Asked::Aside { aside, at_least }, body, out);
    }

    #[allow(clippy::too_many_arguments, reason = "a request has so many parts")]
    fn send(
        &mut self,
        client: usize,
        node: NodeId,
        horizon: LogId,
        ask: Ask,
        asked: Asked,
        body: Bytes,
        out: &mut Vec<ClientAct>,
    ) -> u64 {
        let conn = self.people[client].conns.iter().find(|(to, _)| *to == node).map(|(_, conn)| *conn);
        let conn = conn.unwrap_or_else(|| {
            let conn = self.connect(client, node, out);
            self.people[client].conns.push((node, conn));
            conn
        });
        let id = self.enter(client, conn, horizon, asked);
        let header = postcard::to_stdvec(&Request { id, ask }).unwrap_or_default();
        out.push(ClientAct::Send { conn, header: header.into(), body });
        id
    }

    fn connect(&mut self, client: usize, node: NodeId, out: &mut Vec<ClientAct>) -> u64 {
        let conn = self.next_conn;
        self.next_conn += 1;
        self.conns.insert(conn, Conn { client, requests: Vec::new() });
        out.push(ClientAct::Connect { conn, node });
        conn
    }

    /// Keeps a request's number, and its time.
    fn enter(&mut self, client: usize, conn: u64, horizon: LogId, ask: Asked) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.tally.sent += 1;
        self.requests.insert(request, Attempt { conn, client, horizon, sent: self.now, ask });
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.requests.push(request);
        }
        self.at(self.now.after(self.patience(client as u64)), Event::TimeOut { request });
        request
    }
}

/// The lowest number of the present session that has no outcome; None if all have.
fn floor(client: &Client) -> Option<u64> {
    let Some(Opened::Open(session, _)) = client.session else { return None };
    client.ops.iter().filter_map(|op| op.name.filter(|(of, _)| *of == session).map(|(_, seq)| seq)).min()
}

pub(super) fn enveloped(envelope: Envelope, command: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(48 + command.len());
    let mut head = [0; 64];
    bytes.extend_from_slice(postcard::to_slice(&envelope, &mut head).map_or(&[][..], |head| &*head));
    bytes.extend_from_slice(command);
    bytes.into()
}
