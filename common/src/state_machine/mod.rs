//! What the replicated log drives.
//!
//! State machine replication (Schneider, 1990; section 2 of the Raft paper) rests on one demand: the same commands in the
//! same order give the same state and the same answers on every node. A machine which reads a clock, draws a
//! random number, iterates in an order that differs between processes, or fails on one node only, lets replicas drift apart
//! without any message being lost.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`kv`] | the key-value store every example uses |
//! | [`sessions`] | client sessions: a write that is sent twice is carried out once |
//! | [`applier`] | one node's machine and sessions, fed with committed runs of entries |

use std::io;

use bytes::Bytes;

pub mod applier;
pub mod kv;
pub mod sessions;
mod stream;

pub use applier::{Applied, Applier};
pub use kv::KvStore;
pub use sessions::{SessionLimits, Sessions};

/// A deterministic machine: the same commands in the same order give the same answers and the same state on every
/// node. It reads no clock, draws no random number and never fails; a command it cannot understand is answered so.
pub trait StateMachine: Send + 'static {
    /// A frozen view of the state, to be written out while the machine goes on.
    type Frozen: Frozen;

    /// Carries out one committed command and gives the answer for the client.
    fn apply(&mut self, command: &[u8]) -> Bytes;

    /// Answers a question about the state as it is now.
    fn query(&self, query: &[u8]) -> Bytes;

    /// A number that is equal on two nodes if (and, but for collisions, only if) their states are equal.
    fn hash(&self) -> u64;

    /// The state as it is now; takes no time that grows with the state.
    fn freeze(&self) -> Self::Frozen;

    /// Replaces the state by one that [`Frozen::write`] wrote. On an error the state is unchanged.
    fn restore(&mut self, input: &mut dyn io::Read) -> io::Result<()>;
}

/// A state that stands still.
pub trait Frozen: Send + 'static {
    /// Writes it out, to be read by [`StateMachine::restore`]. What is written may be let go of: as long as it is held, the
    /// machine that goes on has to copy what it changes.
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()>;
}
