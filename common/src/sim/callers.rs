//! Between clients and nodes: connections that are FIFO each way, and end with the process behind them.

use super::clients::ClientAct;
use super::outcome::ChartWhat;
use super::subject::Subject;
use super::world::{Conn, Event, Request, ToClient, ToNode, World};
use crate::node::Input;

impl<P: Subject> World<'_, P> {
    pub(super) fn client_acts(&mut self, act: ClientAct) {
        let (conn, what) = match act {
            ClientAct::Connect { conn, node } => {
                let host = node.0 as usize - 1;
                let now = self.now;
                self.conns.insert(conn, Conn { host, life: None, to_node: now, to_client: now });
                (conn, ToNode::Connect)
            }
            ClientAct::Send { conn, header, body } => (conn, ToNode::Request(Box::new(Request { header, body }))),
            ClientAct::Close { conn } => (conn, ToNode::Close),
        };
        let Some(host) = self.conns.get(&conn).map(|c| c.host) else { return };
        let delay = self.client_delay(host);
        let Some(c) = self.conns.get_mut(&conn) else { return };
        c.to_node = c.to_node.max(self.now.after(delay));
        let at = c.to_node;
        self.put(at, Event::ToNode { conn, what });
    }

    pub(super) fn reaches_node(&mut self, conn: u64, what: ToNode) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let host = c.host;
        let (running, life) = (self.hosts[host].running.is_some(), self.hosts[host].life);
        match what {
            ToNode::Connect if running => {
                c.life = Some(life);
                self.hand_in(host, Input::ClientUp { conn });
            }
            // Nobody listens.
            ToNode::Connect => self.tell_client(conn, host, ToClient::Closed),
            ToNode::Request(request) => match c.life {
                Some(l) if l == life && running => {
                    let Request { header, body } = *request;
                    self.mix(14, conn, body.len() as u64);
                    self.hand_in(host, Input::ClientFrame { conn, header, body });
                }
                // The host is up and knows nothing of the connection.
                _ if running => self.tell_client(conn, host, ToClient::Closed),
                // Nothing answers; the client will lose patience.
                _ => {}
            },
            ToNode::Close => {
                if c.life == Some(life) && running {
                    self.hand_in(host, Input::ClientDown { conn });
                }
                self.conns.remove(&conn);
            }
        }
    }

    pub(super) fn reaches_client(&mut self, conn: u64, what: ToClient) {
        if !self.conns.contains_key(&conn) {
            return;
        }
        match what {
            ToClient::Reply { response, body } => {
                self.mix(15, conn, response.id);
                self.say(|| ChartWhat::World { text: format!("client {conn} hears {}", response.answer.name()) });
                let verdict = self.clients.reply(conn, response, body, self.now);
                self.judge(verdict);
            }
            ToClient::Closed => {
                self.mix(16, conn, 0);
                self.conns.remove(&conn);
                self.clients.closed(conn, self.now);
            }
        }
    }

    /// A process ended and its system closes what it had open.
    pub(super) fn drop_clients(&mut self, host: usize) {
        let open: Vec<u64> =
            self.conns.iter().filter(|(_, c)| c.host == host && c.life.is_some()).map(|(c, _)| *c).collect();
        for conn in open {
            self.tell_client(conn, host, ToClient::Closed);
        }
    }
}
