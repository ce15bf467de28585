//! The simulator: a deterministic world around the very replica, log, snapshot and codec code that ships.
//!
//! One thread, virtual time, one 64-bit seed. The same plan always gives the same run, event for event.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`plan`] | everything decided before a run: the cluster, its surroundings, what goes wrong and when |
//! | [`plan_text`] | a plan as text, to be kept, read and edited |
//! | [`swarm`] | from a seed to a plan |
//! | [`shrink`](mod@shrink) | a failing plan made small |
//! | [`chart`] | the last events of a run as a message sequence chart |
//! | [`world`] | hosts, network and clients on one clock; `host`, `turn`, `life`, `faults`, `callers` are its parts |
//! | `oracle`, `liveness`, `stalls` | what holds for any protocol: safety at every event, progress after the last fault |
//! | [`outcome`] | what came of a run |
//! | [`stream`] | randomness that stays where it is put |
//! | [`subject`] | what is asked of a protocol: its rules, as oracles |
//! | [`net`] | sessions between replicas, and what goes wrong on links |
//! | [`truth`] | what is durable on a disk, read from the disk itself |
//! | [`clients`] | who asks: sessions, retries, duplicates, and a history of it |
//! | [`witness`] | whether every answer fits the committed commands, as it comes |
//! | `search` | in some worlds, whether the whole history has an order |

mod callers;
pub mod chart;
pub mod clients;
mod clock;
pub mod conf;
mod faults;
mod host;
mod life;
mod liveness;
mod members;
pub mod net;
mod operator;
mod oracle;
pub mod outcome;
pub mod plan;
pub mod plan_text;
mod search;
pub mod shrink;
mod stalls;
pub mod stream;
pub mod subject;
pub mod swarm;
pub mod truth;
mod turn;
pub mod witness;
pub mod world;
