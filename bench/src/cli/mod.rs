//! The commands of `duet`, and its manners.
//!
//! Data goes to stdout, messages and progress to stderr. An error says what was expected, what was found and what to
//! do next. Exit codes are a promise, see [`Exit`].

mod args;
mod exit;
mod find;
mod live;
mod run;
mod target;
mod tools;
mod ui;

pub use args::{Cli, Command, JsonArg};
pub use exit::{Exit, Fail};
pub use find::TargetArgs;
pub use live::Live;
pub use run::{Interrupt, Interrupts, block_on, main, run_async};
pub use target::{Protocol, Target, check_addr};
pub use ui::Ui;
