//! A node: a protocol, a log, a state machine and the clients who wait for it, put together.
//!
//! The [`Replica`] is all of the logic and none of the machinery: a synchronous value without IO, clock or thread. It is
//! fed [`Input`]s, and once per turn it is told to [`flush`](Replica::flush), which turns what came in during the turn
//! into as few things as possible: one proposal for all writes that wait, one read barrier for all reads. What it
//! wants done stands in its [`Outputs`]. A simulator and the tokio shell run the very same replica.
//!
//! | room | the rule it keeps |
//! | --- | --- |
//! | [`replica`] | inputs to the core, effects to the outputs, in the order the contract demands |
//! | [`requests`] | every request admitted is answered once; what is pending is bounded |
//! | [`proposals`] | many writes, one batch; an answer only after the entry was applied |
//! | [`forward`] | a write that reached a follower goes to the leader once, never twice |
//! | [`reads`] | a linearizable read waits for a barrier that began after it, and for its entries |
//! | [`applying`] | committed entries reach the state machine in order, each once, in bounded pieces |
//! | [`snapshots`] | when to take one; how a received one is installed so that a crash anywhere is harmless |
//! | [`pacing`] | how fast snapshots leave |
//! | [`members`] | whom to call, though this node may have been away when members changed |
//! | [`tracer`] | `trace/1` |
//!
//! | machinery | |
//! | --- | --- |
//! | [`apply`] | the worker that owns the state machine |
//! | [`setup`] | what a node is told, and why it may not start |
//! | [`shell`] | sockets, timer and threads around a replica: a [`Node`] |

pub mod apply;
pub mod applying;
pub mod config;
mod expiry;
pub mod forward;
mod freshness;
pub mod io;
pub mod members;
pub mod pacing;
pub mod proposals;
pub mod reads;
pub mod replica;
pub mod requests;
pub mod setup;
pub mod shell;
pub mod snapshots;
pub mod tracer;
mod wire;
mod workers;

#[cfg(test)]
mod tests;

pub use apply::{ApplyEvent, ApplyOp, ApplyWorker, OpenSnapshot};
pub use config::{ConfigError, ReplicaConfig};
pub use io::{ClientOut, Input, Outputs, PeerOut};
pub use replica::{Replica, ReplicaBoot};
pub use setup::{Listeners, NodeConfig, NodeError, Parts};
pub use shell::Node;
pub use tracer::TraceSink;
