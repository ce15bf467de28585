//! C-VOW: what each message promises, and whether the disk it comes from keeps it at the moment it leaves.
//!
//! | message | promises |
//! | --- | --- |
//! | PreVote, PreVoteReply | nothing (thesis 9.6) |
//! | RequestVote | the term, and the candidate's vote for itself |
//! | TimeoutNow | that the sender leads the term |
//! | RequestVoteReply | the term, and if granted the vote |
//! | AppendEntries, InstallSnapshot | that the sender leads the term, so its vote for itself; a piece of a snapshot it has |
//! | AppendEntriesReply | the term, so that no earlier leader is ever answered again; the entries that match |
//! | InstallSnapshotReply | the term; the pieces themselves are promised only once they are installed |
//! | ReadIndex, Priority | nothing |
//! | ReadIndexReply | the term, when it confirms |
//!
//! A disk that is ahead of the message, in a later term, keeps all promises of an earlier one about terms and votes:
//! nobody can win an earlier term by this node's vote any more.

use common::protocol::Chunk;
use common::sim::subject::Violation;
use common::sim::truth::{Ids, Truth};
use common::types::{LogId, NodeId};

use super::Rules;
use crate::core::Hard;
use crate::message::{Answer, Message};

/// Whether the disk has this entry, or a snapshot that covers it.
pub(super) fn durable(truth: &Truth<Hard>, id: LogId) -> bool {
    // An id of an earlier term but beyond the snapshot is not in it: terms come before indexes in the order of ids.
    truth.log.contains(id) || id <= truth.snapshot && id.counter <= truth.snapshot.counter
}

/// Whether it has it, or had it until damage took it from a node that is mending.
pub(super) fn held(truth: &Truth<Hard>, id: LogId) -> bool {
    let had = |(snapshot, log): &(LogId, Ids)| log.contains(id) || id <= *snapshot && id.counter <= snapshot.counter;
    durable(truth, id) || truth.had.iter().any(had)
}

pub(super) fn check(from: NodeId, to: NodeId, message: &Message, truth: &Truth<Hard>) -> Result<(), Violation> {
    let r = Rules(from);
    let broken = || format!("says {message:?} to {to}, and on its disk is {truth:?}");
    let hold = |holds| r.hold("C-VOW", holds, broken);
    let term = message.term();
    let has_voted = |node| truth.hard.term > term || truth.hard.term == term && truth.hard.voted_for == Some(node);
    let in_term = truth.hard.term >= term;
    match message {
        Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::ReadIndex { .. }
        | Message::Priority { .. }
        | Message::ReadIndexReply { at: None, .. } => Ok(()),
        Message::RequestVote { .. } | Message::AppendEntries { .. } | Message::TimeoutNow { .. } => {
            hold(has_voted(from))
        }
        Message::RequestVoteReply { granted: true, .. } => hold(has_voted(to)),
        Message::RequestVoteReply { .. } | Message::InstallSnapshotReply { .. } | Message::ReadIndexReply { .. } => {
            hold(in_term)
        }
        Message::AppendEntriesReply { answer: Answer::Matched(id), .. } => hold(in_term && durable(truth, *id)),
        Message::AppendEntriesReply { .. } => hold(in_term),
        Message::InstallSnapshot { chunk: Chunk { snapshot, .. }, .. } => {
            hold(has_voted(from) && *snapshot <= truth.snapshot)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::{A, B, C, id};

    /// A disk in term 3 that voted for A and has entries (1,1) to (1,4) and (3,5), the first two in a snapshot only.
    fn disk() -> Truth<Hard> {
        let mut truth = Truth {
            hard: Hard { term: 3, voted_for: Some(A), mending: false },
            snapshot: id(1, 3),
            ..Truth::default()
        };
        truth.log.reset(id(1, 2));
        truth.log.push(id(1, 3), 4);
        truth.log.push(id(3, 5), 5);
        truth
    }

    fn reply(term: u64, answer: Answer) -> Message {
        Message::AppendEntriesReply { term, round: 0, answer }
    }

    fn piece(term: u64, snapshot: LogId) -> Message {
        let chunk = Chunk { snapshot, offset: 0, total: 1, data: Bytes::from_static(b"x") };
        Message::InstallSnapshot { term, chunk }
    }

    #[test]
    fn what_the_disk_keeps_may_be_said() {
        let append = |term| Message::AppendEntries { term, prev: id(1, 1), commit: 0, round: 0, entries: None };
        let messages = [
            Message::PreVote { term: 9, last: id(9, 9) },
            Message::PreVoteReply { term: 9, granted: true },
            Message::ReadIndex { term: 9, context: 1, lease: true },
            Message::ReadIndexReply { term: 9, context: 1, at: None },
            Message::ReadIndexReply { term: 3, context: 1, at: Some(id(3, 5)) },
            Message::RequestVote { term: 3, last: id(3, 5), transfer: false },
            Message::RequestVote { term: 2, last: id(3, 5), transfer: true },
            Message::TimeoutNow { term: 3 },
            Message::RequestVoteReply { term: 3, granted: false },
            append(3),
            reply(3, Answer::Matched(id(3, 5))),
            reply(3, Answer::Matched(id(1, 4))),
            reply(3, Answer::Matched(id(1, 1))),
            reply(3, Answer::Busy),
            piece(3, id(1, 3)),
            Message::InstallSnapshotReply { term: 3, snapshot: id(9, 9), end: 7 },
        ];
        for message in messages {
            assert_eq!(check(A, B, &message, &disk()), Ok(()));
        }
        let granted = Message::RequestVoteReply { term: 3, granted: true };
        assert_eq!(check(B, A, &granted, &disk()), Ok(()));
    }

    #[test]
    fn what_it_does_not_keep_may_not() {
        let append = Message::AppendEntries { term: 3, prev: id(1, 1), commit: 0, round: 0, entries: None };
        let messages = [
            (A, Message::RequestVote { term: 4, last: id(3, 5), transfer: false }),
            (B, Message::RequestVote { term: 3, last: id(3, 5), transfer: false }),
            (B, Message::TimeoutNow { term: 3 }),
            (A, Message::RequestVoteReply { term: 3, granted: true }),
            (A, Message::RequestVoteReply { term: 4, granted: false }),
            (B, append),
            (A, reply(4, Answer::Busy)),
            (A, reply(3, Answer::Matched(id(3, 6)))),
            (A, reply(3, Answer::Matched(id(2, 5)))),
            (A, reply(3, Answer::Matched(id(1, 9)))),
            (A, piece(3, id(1, 4))),
            (B, piece(3, id(1, 3))),
            (A, Message::ReadIndexReply { term: 4, context: 1, at: Some(id(3, 5)) }),
            (A, Message::InstallSnapshotReply { term: 4, snapshot: id(1, 3), end: 7 }),
        ];
        for (from, message) in messages {
            assert_eq!(check(from, C, &message, &disk()).map_err(|v| v.oracle), Err("C-VOW"), "{message:?}");
        }
    }
}
