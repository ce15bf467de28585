//! What goes into a replica and what comes out: plain values on both sides.

use bytes::Bytes;
use serde::Serialize;

use super::apply::{ApplyEvent, ApplyOp};
use super::forward::Relay;
use crate::client::wire::Response;
use crate::codec::Message;
use crate::membership::Membership;
use crate::mutant;
use crate::storage::{LogEvent, LogOp, SnapshotEvent, SnapshotOp};
use crate::transport::{Frame, Network, Session, channel};
use crate::types::Member;

/// One thing that happened around a replica.
#[derive(Debug)]
pub enum Input {
    /// A session with a peer began; an earlier one with it has ended.
    PeerUp {
        /// Which.
        session: Session,
        /// What the peer says it is.
        member: Member,
    },
    /// A frame came on a session.
    PeerFrame {
        /// Which.
        session: Session,
        /// What came.
        frame: Frame,
    },
    /// The session ended.
    PeerDown {
        /// Which.
        session: Session,
    },
    /// A client connected. Numbers of connections are never used twice.
    ClientUp {
        /// The connection's number.
        conn: u64,
    },
    /// A request of a client.
    ClientFrame {
        /// The connection's number.
        conn: u64,
        /// A postcard [`Request`](crate::client::wire::Request).
        header: Bytes,
        /// Its body.
        body: Bytes,
    },
    /// A client's connection is gone.
    ClientDown {
        /// The connection's number.
        conn: u64,
    },
    /// The log worker answered.
    Log(LogEvent),
    /// The snapshot worker answered.
    Snapshot(SnapshotEvent),
    /// The apply worker answered.
    Apply(ApplyEvent),
}

/// Something for a peer.
#[derive(Clone, Debug)]
pub enum PeerOut<M> {
    /// A message of the protocol.
    Message {
        /// On which session.
        to: Session,
        /// What.
        message: M,
        /// Its id in the trace, which travels behind the header.
        m: Option<u64>,
    },
    /// Something between replicas.
    Relay {
        /// On which session.
        to: Session,
        /// What.
        relay: Relay,
        /// The command or answer it is about.
        body: Bytes,
        /// Its id in the trace.
        m: Option<u64>,
    },
    /// The members are others now: whom to call, and what this node is.
    Members(Membership),
    /// End a session, which is answered by [`Input::PeerDown`].
    Disconnect {
        /// Which.
        session: Session,
        /// Why.
        reason: &'static str,
    },
}

impl<M: Message> PeerOut<M> {
    /// Gives it to a network. Nothing leaves before the network is flushed.
    pub fn give_to(&self, network: &mut impl Network) {
        match self {
            Self::Message { to, message, m } => queue(network, *to, channel::PROTOCOL, message, &message.body(), *m),
            Self::Relay { to, relay, body, m } => queue(network, *to, channel::FORWARD, relay, body, *m),
            Self::Members(membership) => network.members(membership),
            Self::Disconnect { session, reason } => network.disconnect(*session, reason),
        }
    }
}

fn queue<H: Serialize>(network: &mut impl Network, to: Session, channel: u8, header: &H, body: &Bytes, m: Option<u64>) {
    match m {
        None => network.send(to, channel, header, body),
        Some(m) => network.send(to, channel, &(header, m), body),
    }
}

/// Something for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOut {
    /// Send this.
    Reply {
        /// The connection's number.
        conn: u64,
        /// The header.
        response: Response,
        /// Its body.
        body: Bytes,
    },
    /// Close the connection: what came on it is not our protocol.
    Close {
        /// The connection's number.
        conn: u64,
        /// What was wrong.
        reason: &'static str,
    },
}

/// What a replica wants done, in order within each list. The caller empties the lists and gives the room back.
///
/// Between the lists: nothing in `peers` or `clients` depends on an operation in `log` or `snapshot` of the same turn, for
/// the core promises only what was reported durable. So all may start at once, and a leader's proposals travel while
/// its own disk is busy.
#[derive(Debug)]
pub struct Outputs<M> {
    /// For peers.
    pub peers: Vec<PeerOut<M>>,
    /// For clients.
    pub clients: Vec<ClientOut>,
    /// For the log worker.
    pub log: Vec<LogOp>,
    /// For the snapshot worker.
    pub snapshot: Vec<SnapshotOp>,
    /// For the apply worker.
    pub apply: Vec<ApplyOp>,
    /// The node must stop: why. Nothing comes out of the replica after this.
    pub halt: Option<String>,
}

impl<M> Default for Outputs<M> {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            clients: Vec::new(),
            log: Vec::new(),
            snapshot: Vec::new(),
            apply: Vec::new(),
            halt: None,
        }
    }
}

impl<M> Outputs<M> {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
            && self.clients.is_empty()
            && self.log.is_empty()
            && self.snapshot.is_empty()
            && self.apply.is_empty()
            && self.halt.is_none()
    }

    /// Drops all that was promised or asked for and not yet handed out.
    pub(super) fn stop(&mut self, reason: String) {
        if mutant!("C17") {
            self.halt = Some(reason);
            return;
        }
        *self = Self { halt: Some(reason), ..Self::default() };
    }
}
