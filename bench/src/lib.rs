//! The program `duet`: Raft and ZAB as real clusters of processes, side by side.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`cli`] | the commands, exit codes, errors, and manners at the terminal |
//! | [`config`] | a node's settings: flags over environment over TOML over defaults |
//! | [`node_cmd`], [`cluster_cmd`], [`ctl_cmd`] | `duet node`, `duet cluster`, `duet ctl` |
//! | [`supervisor`] | a cluster of child processes, to be killed, paused and restarted |
//! | [`runs`] | the folder each run leaves behind |
//! | [`check_cmd`] | `duet check`: is a recorded history linearizable? |
//! | [`peers`] | other systems under the same load: ZooKeeper, etcd |
//! | [`sim_cmd`], [`mutants_cmd`] | `duet sim`, `duet mutants`: the simulator over many seeds, and over seeded bugs |
//! | [`load`], [`compare`], [`report`] | load, the side-by-side comparison, and its report |

pub mod check_cmd;
pub mod cli;
pub mod cluster_cmd;
pub mod compare;
pub mod config;
#[cfg(feature = "control")]
pub mod control;
pub mod ctl_cmd;
pub mod load;
pub mod mutants_cmd;
pub mod node_cmd;
pub mod peers;
pub mod report;
pub mod runs;
pub mod sim_cmd;
pub mod supervisor;
