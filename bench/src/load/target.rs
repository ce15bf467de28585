//! What can be loaded: anything that takes tagged operations over connections and ends each of them once.
//!
//! A connection is pipelined: many operations are under way at a time, queued by [`Connection::submit`] and sent together by
//! the next [`Connection::wait`]. That is what lets one thread keep a thousand clients busy without being the bottleneck of
//! what it measures. Another system joins by implementing these two traits; the engine, the statistics and the
//! verification know nothing of Duet.

use std::future::Future;

use bytes::Bytes;

/// A system under load.
pub trait Target {
    /// Its connections.
    type Conn: Connection;

    /// Connection number `n` of this load. Nothing needs to be sent before the first operation.
    fn open(&self, n: usize) -> Self::Conn;

    /// Makes ready for writes of these keys, where a system needs that.
    fn prepare(&self, keys: impl Iterator<Item = Bytes>) -> impl Future<Output = anyhow::Result<()>> {
        drop(keys);
        async { Ok(()) }
    }
}

/// One connection. It outlives the sockets under it: when a server dies it finds another and sends again what was not
/// answered, in a way that carries out no operation twice.
pub trait Connection {
    /// Queues an operation. Its end comes out of [`wait`](Self::wait) with the same tag. At most one operation is under way
    /// per tag.
    fn submit(&mut self, tag: u32, op: Op);

    /// Sends what is queued and waits until at least one operation has ended. Dropping the future loses nothing.
    fn wait(&mut self, done: &mut Vec<Done>) -> impl Future<Output = ()>;
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Set a key.
    Write {
        /// Which.
        key: Bytes,
        /// To what.
        value: Bytes,
    },
    /// Read a key.
    Read {
        /// Which.
        key: Bytes,
        /// Whether it must see every write answered before, or may be answered from what one node happens to have.
        linearizable: bool,
    },
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// As given.
    pub tag: u32,
    /// For a write None, for a read what the key holds; or what went wrong.
    pub end: Result<Option<Bytes>, Failure>,
}

/// How an operation can fail. A failed write may still take effect, unless it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Failure {
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// The server would not do it, and did not.
    #[error("refused")]
    Refused,
    /// The server forgot the client's session, and with it whether the write took effect.
    #[error("session lost")]
    SessionLost,
    /// The answer is not one that this operation can have.
    #[error("wrong answer")]
    WrongAnswer,
}
