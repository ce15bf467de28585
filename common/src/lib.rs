//! The substrate that Raft and ZAB share, so that whatever differs between them is the protocol and nothing else.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`types`], [`by_node`], [`quorum`], [`membership`], [`entries`], [`log`] | the values: who, where in the log, which entries, who counts |
//! | [`protocol`], [`status`], [`trace`] | the contract: a protocol is a value, fed inputs and drained of effects |
//! | [`codec`] | messages as bytes: postcard header, payload beside it |
//! | [`storage`] | write-ahead log, snapshots, hard state, over a small file-system trait |
//! | [`state_machine`] | what the log drives |
//! | [`client`] | what clients say to a node, and the library that says it |
//! | [`node`] | protocol, log, state machine and clients together: a synchronous replica, and the shell that runs it |
//! | [`transport`] | framed sessions between nodes, framed connections of clients |
//! | [`metrics`] | counters |
//! | [`sim`] | a deterministic world: virtual time, network, disks, faults, workload, and the oracles that watch it |
//! | [`mark`](mod@mark), [`mutant`](mod@mutant) | what a simulation reached; bugs seeded to prove that it would have found them |
//! | [`check`] | histories of clients, and whether they are linearizable |
//! | [`testbed`] | a few cores in one process, wired by hand: dialogues, property tests, examples, benchmarks |

pub mod by_node;
pub mod check;
pub mod client;
pub mod codec;
pub mod entries;
pub mod log;
pub mod mark;
pub mod membership;
pub mod metrics;
pub mod mutant;
pub mod node;
pub mod protocol;
pub mod quorum;
pub mod rng;
pub mod sim;
pub mod state_machine;
pub mod status;
pub mod storage;
pub mod testbed;
pub mod trace;
pub mod transport;
pub mod types;
