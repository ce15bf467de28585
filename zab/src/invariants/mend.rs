//! Z-MEND: a node that lost entries which were durable is counted for nothing before it has the history of an epoch that was
//! begun without it. Judged by the disks: what a disk had is remembered until then by whoever watches them
//! ([`Truth::had`]).

use common::sim::subject::Violation;
use common::sim::truth::Truth;
use common::types::NodeId;

use crate::core::{Hard, Zab};
use crate::message::{Message, NodeState, Zxid};

fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new("Z-MEND", what())) }
}

/// A node starts.
pub(super) fn booted(core: &Zab, truth: &Truth<Hard>) -> Result<(), Violation> {
    let (is, disk) = (core.me.hard, truth.hard);
    let knows = truth.had.is_empty() || is.mending && disk.mending;
    hold(knows && is.mending == disk.mending, || {
        format!("{} has lost entries and starts with {is:?}, on disk {disk:?}", core.me.id)
    })
}

/// What a disk says now, and said before; `history` is what its currentEpoch was begun with.
pub(super) fn saved(node: NodeId, before: Hard, truth: &Truth<Hard>, history: Option<Zxid>) -> Result<(), Violation> {
    let heals = before.mending && !truth.hard.mending;
    hold(!heals || history.is_some_and(|h| truth.has(h)), || {
        format!("{node} counts as healed with {:?}, and has not all up to {history:?}", truth.hard)
    })
}

/// A vote leaves.
pub(super) fn sends(from: NodeId, message: &Message, truth: &Truth<Hard>) -> Result<(), Violation> {
    let votes = matches!(message, Message::Notification(n) if n.state == NodeState::Looking && n.vote.is_some());
    hold(!votes || !truth.hard.mending, || format!("{from} says {message:?}, and on its disk is {:?}", truth.hard))
}
