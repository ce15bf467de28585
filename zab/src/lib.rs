//! ZooKeeper Atomic Broadcast (Zab 1.0) as a deterministic value.
//!
//! ZAB keeps one order of proposals per *epoch* of a leader and hands it over whole from epoch to epoch. A new leader is
//! found by an election that keeps nothing on disk (phase 0), fences off its predecessors (discovery, phase 1), makes the
//! histories of a quorum equal to its own (synchronisation, phase 2), and only then proposes (broadcast, phase 3).
//! Everything rests on FIFO sessions: one zxid says what a node has, because it can only have got there in one way.
//!
//! | room | what it holds | the same room in `raft` |
//! | --- | --- | --- |
//! | `config` | timers and limits: [`Config`] | the same |
//! | `message` | every message, in protocol order: [`Message`] | the same |
//! | `core` | the state, the dispatch of inputs: [`Zab`] | the same |
//! | `election` | fast leader election: rounds, votes by (peerEpoch, zxid, id) | terms and votes |
//! | `recovery` | FOLLOWERINFO to UPTODATE; DIFF, TRUNC, SNAP: [`decide`] | probing, truncation, snapshots |
//! | `broadcast` | PROPOSAL, ACK, COMMIT | append, acknowledge, commit |
//! | `read` | linearizable reads by a confirmed SYNC | read index |
//! | `membership` | observers and INFORM | learners |
//! | `mend` | starting without entries that were acknowledged | the same |
//! | `transfer` | handing leadership over to a designated leader | TimeoutNow |
//! | `reconfig` | changing the voters, both quorums until it is committed | joint consensus |
//! | [`invariants`] | what must hold: in every state [`Zab::check`], between nodes [`ZabOracle`]; seeded bugs, marks | the same |
//!
//! # Three nodes in one process
//!
//! ```
//! use common::entries::Batch;
//! use common::log::LogView;
//! use common::protocol::{Boot, Effect, Effects, Input, Protocol};
//! use common::membership::Membership;
//! use common::types::{LogId, Member, Micros, NodeId};
//! use std::collections::VecDeque;
//! use zab::{Config, Hard, Zab};
//!
//! let ids = [1, 2, 3].map(NodeId);
//! let mut nodes = ids.map(|id| Zab::new(Boot {
//!     id, membership: (LogId::ZERO, Membership::of_ids(ids)), config: Config::default(), seed: id.0, now: Micros(0),
//!     hard: Hard::default(), snapshot: LogId::ZERO, log: LogView::new(LogId::ZERO, 1 << 20),
//! }));
//! let mut inbox: VecDeque<(NodeId, Input<zab::Message>)> = VecDeque::new();
//! for (a, b) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)].map(|(a, b)| (NodeId(a), NodeId(b))) {
//!     inbox.push_back((a, Input::PeerUp { peer: b, member: Member::Voter }));
//! }
//! let mut fx = Effects::default();
//! let mut proposed = false;
//! while let Some((id, input)) = inbox.pop_front() {
//!     nodes[id.0 as usize - 1].step(Micros(1), input, &mut fx);
//!     for effect in fx.drain() {
//!         match effect { // a disk that answers at once, and a network that loses nothing
//!             Effect::Send { to, message } => inbox.push_back((to, Input::Message { from: id, message })),
//!             Effect::SaveHard(_) => inbox.push_back((id, Input::HardSaved)),
//!             Effect::Append(run) => inbox.push_back((id, Input::Durable { upto: run.last() })),
//!             Effect::Commit { upto } => println!("{id} may apply up to {upto}"),
//!             _ => {}
//!         }
//!     }
//!     if inbox.is_empty() && !proposed {
//!         proposed = true; // all is quiet: node 3 leads, since histories are equal and its id is the greatest
//!         inbox.push_back((NodeId(3), Input::Propose { batch: Batch::from_payloads(&["hello"]) }));
//!     }
//! }
//! assert!(nodes.iter().all(|n| n.committed() == LogId::new(1, 1)));
//! ```

mod broadcast;
mod config;
mod core;
mod election;
pub mod invariants;
mod membership;
mod mend;
mod message;
mod read;
mod reconfig;
mod recovery;
mod transfer;

pub use config::{Config, ConfigError};
pub use core::{Hard, Zab};
pub use invariants::ZabOracle;
pub use message::{Hex, Info, Message, NodeState, Notification, Vote, Zxid};
pub use recovery::{SyncOp, decide};
