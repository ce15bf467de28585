//! The program `duet`: Raft and ZAB as real clusters of processes, side by side.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`cli`] | the commands, exit codes, errors, and manners at the terminal |
//! | [`supervisor`] | a cluster of child processes, to be killed, paused and restarted |
//! | [`runs`] | the folder each run leaves behind |
//! | [`load`], [`compare`], [`report`] | load, the side-by-side comparison, and its report |

pub mod cli;
pub mod compare;
pub mod load;
pub mod report;
pub mod runs;
pub mod supervisor;
