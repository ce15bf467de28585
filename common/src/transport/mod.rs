//! Peer links and client connections: frames over tokio TCP, or between the nodes of one process.
//!
//! A link is a sequence of *sessions*. A session begins with [`PeerEvent::Up`], carries frames in the order they were
//! sent, and ends with [`PeerEvent::Down`]; it may lose messages at its tail, never in its middle. Both protocols rest on
//! it: ZAB assumes FIFO channels that are set up anew after a failure (Zab paper, section 4.2 and "prefix" of
//! section 2.2), and Raft's pipelined AppendEntries are sent on the same assumption. A transport that dropped one frame
//! and went on would make a follower acknowledge a log with a hole.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`frame`] | bytes to frames and back |
//! | [`handshake`] | who is there, and who is refused |
//! | [`peers`] | sessions between nodes over TCP |
//! | [`dialling`] | whom a node dials, and when |
//! | [`in_process`] | the same sessions between the nodes of one process |
//! | [`server`] | the client port, and the client's side of it |

mod accept;
pub mod dialling;
pub mod frame;
pub mod handshake;
pub mod in_process;
mod link;
pub mod peers;
pub mod server;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

pub use frame::{Frame, FrameError, FrameLimits};
pub use handshake::{HandshakeError, RefusalCode, Welcome};
pub use in_process::{InProcess, Switchboard};
pub use link::{FrameReader, QueueLimits};
pub use peers::{PeerLimits, Transport, TransportConfig, TransportError};
pub use server::{
    ClientEvent, ClientLimits, ClientListener, ClientPortConfig, ConnId, FrameWriter, FramedConn, connect_client,
};

use crate::codec::Message;
use crate::membership::Membership;
use crate::types::{Member, NodeId};

/// Who in a node a frame is for.
pub mod channel {
    /// Messages of the replication protocol.
    pub const PROTOCOL: u8 = 0;
    /// Client requests passed on to the leader, and their answers.
    pub const FORWARD: u8 = 1;
    /// The transport's own keep-alives; never delivered.
    pub const CONTROL: u8 = 2;
}

/// One session with one peer. Never used twice by a process, so what was meant for one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// With whom.
    pub peer: NodeId,
    /// Which; later ones have greater numbers.
    pub number: u64,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.peer, self.number)
    }
}

/// What happens on the links of a node, in the order in which it happens. Of one session: `Up`, any number of
/// `Frames`, `Down`; of one peer: never two sessions at a time.
#[derive(Clone, Debug)]
pub enum PeerEvent {
    /// A session began; from now on it can be sent to.
    Up {
        /// Which.
        session: Session,
        /// What the peer takes itself for.
        member: Member,
    },
    /// Frames came, in order: all that one read brought. Never empty.
    Frames {
        /// On which session.
        session: Session,
        /// The frames; keep-alives are not among them.
        frames: Vec<Frame>,
    },
    /// The session ended. What was sent last may not have arrived.
    Down {
        /// Which.
        session: Session,
        /// Why.
        reason: DownReason,
    },
}

/// Why a session or a client's connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// The other end closed it.
    #[error("closed by the other end")]
    Closed,
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(String),
    /// What came was no frame; counted in `bad_frames`.
    #[error("bad frame: {0}")]
    BadFrame(FrameError),
    /// A message could not be sent, so nothing after it may be.
    #[error("cannot send: {0}")]
    Unsendable(FrameError),
    /// More waits to be sent than is allowed; counted in `queue_overflows`.
    #[error("more than {bytes} bytes or {frames} frames wait to be sent")]
    Overflow {
        /// The limit in bytes.
        bytes: usize,
        /// The limit in frames.
        frames: usize,
    },
    /// Nothing came for too long.
    #[error("silent for {0:?}")]
    Silent(std::time::Duration),
    /// The same peer opened a newer connection.
    #[error("replaced by a newer connection")]
    Replaced,
    /// This node asked for it.
    #[error("disconnected: {0}")]
    Disconnected(&'static str),
    /// A test cut the link.
    #[error("link cut")]
    Cut,
}

/// How a node speaks to its peers. Synchronous and never blocking: messages gather while the node works through its
/// inputs and leave with [`flush`](Self::flush), in one write per peer.
///
/// Nothing is ever left out of a session: what cannot be sent (too large, or more than the queue may hold) ends it, and
/// the peers bring each other level in the next one. Sending on a session that is over does nothing; its `Down` is on
/// the way. After [`disconnect`](Self::disconnect), frames of that session which were already waiting still come out of
/// the receiver, and then its `Down`: a node that must not see them compares the session.
pub trait Network: Send {
    /// Queues one frame.
    fn send<H: Serialize + ?Sized>(&mut self, to: Session, channel: u8, header: &H, body: &Bytes);

    /// Writes out what was queued since the last flush, as far as the sockets take it at once; the rest follows by itself.
    fn flush(&mut self);

    /// Ends a session. With a peer of the configuration a new one will follow.
    fn disconnect(&mut self, session: Session, reason: &'static str);

    /// The members of the cluster are others from now on: whom to call, and what this node is to them. Sessions stay.
    fn members(&mut self, membership: &Membership);

    /// Queues a protocol's message.
    fn send_message<M: Message>(&mut self, to: Session, message: &M) {
        self.send(to, channel::PROTOCOL, message, &message.body());
    }
}
