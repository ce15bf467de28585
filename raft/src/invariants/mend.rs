//! R-MEND: a node that lost entries which were durable takes no part in elections until it has again what was committed
//! with their help. Judged by the disks: what a disk had is remembered until then by whoever watches them
//! ([`Truth::had`]).

use common::sim::subject::Violation;
use common::sim::truth::Truth;
use common::types::{LogId, NodeId};

use super::{Rules, vows};
use crate::core::{Hard, Raft};
use crate::message::Message;

/// A node starts; `before` was the last hard state seen on its disk.
pub(super) fn booted(raft: &Raft, truth: &Truth<Hard>, before: &Hard) -> Result<(), Violation> {
    let r = Rules(raft.id);
    let (is, disk) = (&raft.hard, &truth.hard);
    let knows = truth.had.is_empty() || is.mending && disk.mending;
    r.hold("R-MEND", knows, || format!("has lost entries and starts with {is:?}, on disk {disk:?}"))?;
    // What was acknowledged in a term is not counted in a later one.
    let newly = is.mending && !before.mending;
    r.hold("R-MEND", !newly || is.term > before.term, || {
        format!("has lost entries in {before:?} and starts with {is:?}")
    })
}

/// A node after a turn, which was `mending` or not, and in `term`, before it. `granted` says that it gave a pre-vote in this
/// turn.
pub(super) fn look(
    raft: &Raft,
    (mending, term): (bool, u64),
    granted: bool,
    truth: &Truth<Hard>,
    committed: &[LogId],
) -> Result<(), Violation> {
    let r = Rules(raft.id);
    if raft.hard.mending {
        r.hold("R-MEND", truth.hard.mending, || format!("is mending, and on disk is {:?}", truth.hard))?;
        return r.hold("R-MEND", !granted, || "is mending and grants a pre-vote".to_owned());
    }
    if !mending {
        return Ok(());
    }
    // It may have gone on to another term since.
    let at = raft.committed;
    r.hold("R-MEND", at.epoch >= term, || format!("counts as healed in term {term}, with {at} committed"))?;
    // What was committed before, wherever that is known, is what its vote could lose; and one entry of the term stands behind
    // it.
    let older = committed.partition_point(|id| id.epoch < term);
    let needed = &committed[older.saturating_sub(1)..committed.len().min(older + 1)];
    let lacks = needed.iter().find(|id| !vows::durable(truth, **id));
    r.hold("R-MEND", lacks.is_none(), || format!("counts as healed, and its disk lacks {lacks:?}"))
}

/// Votes leave when they are durable, and so is by then that the node is healed.
pub(super) fn sends(from: NodeId, to: NodeId, message: &Message, truth: &Truth<Hard>) -> Result<(), Violation> {
    let stands = matches!(
        message,
        Message::PreVote { .. } | Message::RequestVote { .. } | Message::RequestVoteReply { granted: true, .. }
    );
    let what = || format!("says {message:?} to {to}, and on its disk is {:?}", truth.hard);
    Rules(from).hold("R-MEND", !stands || !truth.hard.mending, what)
}
