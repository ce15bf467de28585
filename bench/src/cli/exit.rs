//! Exit codes and the errors that carry them.

use std::fmt;
use std::process::ExitCode;

/// How `duet` ends. Scripts rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Good = 0,
    /// A check failed: a `cas` found another value, data was lost, a threshold was missed, a request was refused.
    CheckFailed = 1,
    /// Wrong usage: an argument, a configuration file or a setting.
    Usage = 2,
    /// No verdict: the checker gave up. Counts as a failure in CI.
    Inconclusive = 3,
    /// Nothing ran: no cluster answered, no run was found.
    NothingRan = 4,
    /// The environment lacks something: a port is in use, a folder is not writable, a log is damaged, a disk is full.
    Environment = 5,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error for the person at the terminal: what is wrong, what to do next, and how the program ends.
///
/// It travels inside `anyhow::Error`; the outermost one found in the chain decides the exit code.
#[derive(Debug)]
pub struct Fail {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Fail {
    /// An error which ends the program with `exit`. The message says what was expected and what was found.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The environment lacks something.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    /// What to do next, on a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// How the program ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What to do next.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fail {}
