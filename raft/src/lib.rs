//! Raft (Ongaro and Ousterhout, USENIX ATC 2014; Ongaro's thesis, 2014) as a value.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`config`] | timers and limits, validated |
//! | [`message`] | every message with its fields |
//! | [`core`](mod@core) | the state, the dispatch of inputs, the effects |
//! | [`election`] | terms, votes, pre-vote, check-quorum |
//! | [`recovery`] | which index a peer needs: probing, conflict hints, truncation |
//! | [`snapshot`] | InstallSnapshot |
//! | [`broadcast`] | append, acknowledge, the commit rule |
//! | [`read`] | ReadIndex |
//! | [`membership`] | voters, learners, sessions, what a leader knows of each peer |
//! | [`invariants`] | what must hold in every state |
//!
//! The crate `zab` has the same rooms under the same names.

pub mod broadcast;
pub mod config;
pub mod core;
pub mod election;
pub mod invariants;
pub mod membership;
pub mod message;
pub mod read;
pub mod recovery;
pub mod snapshot;

pub use crate::config::{Config, ConfigError};
pub use crate::core::{Hard, Raft};
pub use crate::message::{Answer, Message};
