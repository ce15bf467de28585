//! What can become of a request, said so that a caller knows what it may conclude.

use std::time::Duration;

use crate::protocol::Refusal;
use crate::types::LogId;

/// Why a request has no answer. The first two variants are the distinction that matters: after `NotDone` it is sure that
/// the request has no effect and never will; after `OutcomeUnknown` a write may have taken effect, or may still.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The request has no effect and never will.
    #[error("not done: {0}")]
    NotDone(Cause),
    /// The write may have taken effect, or may still take effect. Trying again with a new request may do it twice.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(Cause),
    /// The write took effect, once, but its answer was too large to be kept for the retry that asked for it.
    #[error("done at {at}, but the answer was not kept")]
    AnswerForgotten {
        /// Where it stands in the log.
        at: LogId,
    },
    /// A setting makes no sense.
    #[error("client setting {field} is {found}, allowed is {allowed}")]
    Config {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
}

/// What stood in a request's way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The time for it was up.
    #[error("no answer within {after:?}{}", last.as_ref().map_or(String::new(), |l| format!(" (last trouble: {l})")))]
    Deadline {
        /// The time it had.
        after: Duration,
        /// The last thing that went wrong on the way, if anything did.
        last: Option<String>,
    },
    /// The connection broke, and the request is not one that can be sent twice.
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// A node answered that it might or might not have happened, and the request is not one that can be sent twice.
    #[error("the node could not say")]
    Unanswered,
    /// The cluster forgot the client's session, and with it whether the write was carried out before.
    #[error("the session was evicted")]
    SessionLost,
    /// A node refused it for good.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The write's number was not one the session takes.
    #[error("number {seq} does not fit the session, whose lowest is {floor}")]
    BadSequence {
        /// The lowest number the session takes.
        floor: u64,
        /// The write's number.
        seq: u64,
    },
    /// The node, or the state machine, could not read the request.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The request, or a part of it, is larger than is allowed.
    #[error("{what} has {found} bytes, at most {allowed} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The greatest size.
        allowed: u64,
    },
    /// The answer is not one to this request: the state machine is another one than the client takes it for.
    #[error("unexpected answer: {0}")]
    BadAnswer(String),
    /// The client's own task is gone: its runtime was shut down.
    #[error("the client was shut down")]
    Closed,
}

impl ClientError {
    /// Whether a write may have taken effect, or may still.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::AnswerForgotten { .. })
    }

    /// Whether the time was up.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::NotDone(Cause::Deadline { .. }) | Self::OutcomeUnknown(Cause::Deadline { .. }))
    }

    /// `OutcomeUnknown` or `NotDone`, by whether the write may have happened.
    pub(super) fn of(maybe: bool, cause: Cause) -> Self {
        if maybe { Self::OutcomeUnknown(cause) } else { Self::NotDone(cause) }
    }
}
