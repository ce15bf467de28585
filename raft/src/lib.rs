//! Raft (Ongaro and Ousterhout, USENIX ATC 2014; Ongaro's thesis, 2014) as a value.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`config`] | timers and limits, validated |
//! | [`message`] | every message with its fields |
//! | [`core`](mod@core) | the state, the dispatch of inputs, the effects |
//! | [`election`] | terms, votes, pre-vote, check-quorum |
//! | [`transfer`] | handing leadership over |
//! | [`stall`] | a leader whose disk has stopped answering |
//! | [`recovery`] | which index a peer needs: probing, conflict hints, truncation |
//! | [`snapshot`] | InstallSnapshot |
//! | [`mend`] | starting without entries that were acknowledged |
//! | [`broadcast`] | append, acknowledge, the commit rule |
//! | [`read`] | ReadIndex |
//! | [`lease`] | reads for which the leader asks nobody |
//! | [`membership`] | sessions, learners, what a leader knows of each peer |
//! | [`reconfig`] | changing who belongs |
//! | [`invariants`] | what must hold in every state |
//!
//! The crate `zab` has the same rooms under the same names.
//!
//! A node is a [`Raft`]: it is fed inputs and drained of effects through
//! [`Protocol`](common::protocol::Protocol), and owns no clock, disk or network. Whoever feeds it decides where it runs; here
//! it is the testbed, which wires a few nodes together in one process:
//!
//! ```
//! use common::protocol::Protocol;
//! use common::testbed::Testbed;
//! use common::types::Micros;
//! use raft::{Config, Raft};
//!
//! let mut nodes: Testbed<Raft> = Testbed::new(3, 0, Config::default());
//! let second = Micros::from_millis(1000);
//!
//! // Nobody leads at first. One node's election timer ends before the others'.
//! assert!(nodes.advance_until(second, |nodes| nodes.leader().is_some()));
//! let first = nodes.leader().unwrap();
//!
//! // The leader gives commands their places in the log; a majority of disks commits them.
//! let (_, last) = nodes.propose(first, &["x = 1", "y = 2"]).unwrap();
//! assert!(nodes.advance_until(second, |nodes| nodes.cores().all(|node| node.committed() >= last)));
//!
//! // Without the leader the other two elect another one, and go on with everything that was committed.
//! nodes.crash(first);
//! assert!(nodes.advance_until(second, |nodes| nodes.leader().is_some()));
//! let second_leader = nodes.leader().unwrap();
//! nodes.propose(second_leader, &["z = 3"]).unwrap();
//! nodes.restart(first);
//! nodes.advance(second);
//! for id in nodes.ids() {
//!     let commands: Vec<_> = nodes.node(id).history.iter().map(|(_, command)| command.as_ref()).collect();
//!     assert_eq!(commands, [&b"x = 1"[..], b"y = 2", b"z = 3"]);
//! }
//! ```

pub mod broadcast;
pub mod config;
pub mod core;
pub mod election;
pub mod invariants;
pub mod lease;
pub mod membership;
pub mod mend;
pub mod message;
pub mod read;
pub mod reconfig;
pub mod recovery;
pub mod snapshot;
pub mod stall;
#[cfg(test)]
mod testing;
pub mod transfer;

pub use crate::config::{Config, ConfigError};
pub use crate::core::{Hard, Raft};
pub use crate::message::{Answer, Message};
