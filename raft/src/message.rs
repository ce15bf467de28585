//! What Raft nodes say to each other, in the order in which a cluster's life needs it: elect, replicate, catch up, read.
//!
//! Figures 2 and 13 of the paper call these RPCs. Here they are messages on a session that keeps their order, so a reply
//! need not follow its request at once: an [`AppendEntriesReply`](Message::AppendEntriesReply) waits for the disk and
//! answers every request so far.

use std::fmt;

use bytes::Bytes;
use common::codec::{self, BodyError, Payload};
use common::protocol::Chunk;
use common::types::LogId;
use serde::{Deserialize, Serialize};

/// A message of the protocol. `term` is the sender's currentTerm unless said otherwise.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Would you vote for me? Changes nothing at the receiver (thesis 9.6).
    PreVote {
        /// The term the sender would campaign in: its currentTerm plus one.
        term: u64,
        /// Its last entry: lastLogTerm, lastLogIndex.
        last: LogId,
    },
    /// Answers [`PreVote`](Self::PreVote).
    PreVoteReply {
        /// Granted: the term asked for. Refused: the sender's currentTerm.
        term: u64,
        /// Whether the sender would vote so.
        granted: bool,
    },
    /// Asks for a vote (figure 2). Sent when term and own vote are durable.
    RequestVote {
        /// The candidate's term.
        term: u64,
        /// Its last entry: lastLogTerm, lastLogIndex.
        last: LogId,
        /// The leader of the term before wants it to lead: whoever hears that leader votes nevertheless (thesis 4.2.3).
        transfer: bool,
    },
    /// Answers [`RequestVote`](Self::RequestVote), when term and vote are durable.
    RequestVoteReply {
        /// The sender's currentTerm.
        term: u64,
        /// Whether the candidate has its vote: voteGranted.
        granted: bool,
    },
    /// Entries; without any, a heartbeat or a probe (figure 2).
    AppendEntries {
        /// The leader's term.
        term: u64,
        /// The id before the entries: prevLogTerm, prevLogIndex.
        prev: LogId,
        /// The leader's commit index: leaderCommit.
        commit: u64,
        /// The newest round of confirmations the leader has begun. See [`read`](crate::read).
        round: u64,
        /// The entries; all of one term.
        entries: Option<Payload>,
    },
    /// Answers every [`AppendEntries`](Self::AppendEntries) of this term so far.
    AppendEntriesReply {
        /// The sender's currentTerm.
        term: u64,
        /// The newest round it heard of in this term.
        round: u64,
        /// What it makes of the entries.
        answer: Answer,
    },
    /// A piece of a snapshot, for a peer that needs entries the leader no longer has (figure 13).
    InstallSnapshot {
        /// The leader's term.
        term: u64,
        /// The piece, with lastIncludedTerm and lastIncludedIndex.
        chunk: Chunk,
    },
    /// Answers [`InstallSnapshot`](Self::InstallSnapshot): where the next piece must start. The end of it all is
    /// answered by an [`AppendEntriesReply`](Self::AppendEntriesReply) that matches the snapshot's id.
    InstallSnapshotReply {
        /// The sender's currentTerm.
        term: u64,
        /// Which snapshot.
        snapshot: LogId,
        /// How many of its bytes the sender has.
        end: u64,
    },
    /// A follower tells its leader how much it is to lead, if that is not as much as may be. For the choice of whom leadership
    /// is handed to.
    Priority {
        /// The sender's currentTerm.
        term: u64,
        /// Its [`priority`](crate::Config::priority).
        priority: u64,
    },
    /// The leader hands its office over: the receiver is to campaign at once (thesis 3.10).
    TimeoutNow {
        /// The leader's term.
        term: u64,
    },
    /// A follower or learner asks up to where it must have applied to serve a linearizable read (thesis 6.4).
    ReadIndex {
        /// The sender's currentTerm.
        term: u64,
        /// The sender's number for this question, never used again.
        context: u64,
        /// All who asked trust the clocks: the leader may answer by its lease.
        lease: bool,
    },
    /// Answers [`ReadIndex`](Self::ReadIndex).
    ReadIndexReply {
        /// The sender's currentTerm.
        term: u64,
        /// The question's number.
        context: u64,
        /// The read index; None when the sender cannot confirm that it leads.
        at: Option<LogId>,
    },
}

/// What a follower makes of [`Message::AppendEntries`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Everything up to here is the same as in the leader's log, and durable here.
    Matched(LogId),
    /// The entry before those sent is not in the follower's log.
    Conflict {
        /// The `prev` that was refused.
        refused: LogId,
        /// The follower's last entry.
        last: LogId,
        /// The follower's entry that may still match: the last one that is neither after `refused` nor of a later term.
        at: LogId,
        /// The first index the follower has of that entry's term.
        first: u64,
    },
    /// Nothing was done with it: a snapshot is being installed, or the leader's term is over. Ask again.
    Busy,
}

/// One line, as logs and dialogues show it.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(term {}", codec::Message::kind(self), self.term())?;
        match self {
            Self::PreVote { last, .. } => write!(f, ", last {last}")?,
            Self::RequestVote { last, transfer, .. } => {
                write!(f, ", last {last}{}", if *transfer { ", transfer" } else { "" })?;
            }
            Self::TimeoutNow { .. } => {}
            Self::Priority { priority, .. } => write!(f, ", {priority}")?,
            Self::PreVoteReply { granted, .. } | Self::RequestVoteReply { granted, .. } => {
                f.write_str(if *granted { ", granted" } else { ", refused" })?;
            }
            Self::AppendEntries { prev, commit, round, entries, .. } => {
                write!(f, ", prev {prev}, commit {commit}, round {round}")?;
                match entries.as_ref().map(Payload::entries) {
                    Some(Some(run)) => write!(f, ", entries {}..{}", run.first(), run.last())?,
                    Some(None) => f.write_str(", entries without their bytes")?,
                    None => {}
                }
            }
            Self::AppendEntriesReply { round, answer, .. } => write!(f, ", round {round}, {answer:?}")?,
            Self::InstallSnapshot { chunk, .. } => {
                write!(f, ", snapshot {}, bytes {}..{} of {}", chunk.snapshot, chunk.offset, chunk.end(), chunk.total)?;
            }
            Self::InstallSnapshotReply { snapshot, end, .. } => write!(f, ", snapshot {snapshot}, next from {end}")?,
            Self::ReadIndex { context, lease, .. } => {
                write!(f, ", context {context}{}", if *lease { ", lease" } else { "" })?;
            }
            Self::ReadIndexReply { context, at: Some(at), .. } => write!(f, ", context {context}, at {at}")?,
            Self::ReadIndexReply { context, at: None, .. } => write!(f, ", context {context}, refused")?,
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matched(id) => write!(f, "matched {id}"),
            Self::Conflict { refused, last, at, first } => {
                write!(f, "no {refused}: last {last}, try {at}, its term from {first}")
            }
            Self::Busy => f.write_str("busy"),
        }
    }
}

impl Message {
    /// The term it carries.
    pub fn term(&self) -> u64 {
        match self {
            Self::PreVote { term, .. }
            | Self::PreVoteReply { term, .. }
            | Self::RequestVote { term, .. }
            | Self::RequestVoteReply { term, .. }
            | Self::AppendEntries { term, .. }
            | Self::AppendEntriesReply { term, .. }
            | Self::InstallSnapshot { term, .. }
            | Self::InstallSnapshotReply { term, .. }
            | Self::Priority { term, .. }
            | Self::TimeoutNow { term }
            | Self::ReadIndex { term, .. }
            | Self::ReadIndexReply { term, .. } => *term,
        }
    }
}

impl codec::Message for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::PreVote { .. } => "PreVote",
            Self::PreVoteReply { .. } => "PreVoteReply",
            Self::RequestVote { .. } => "RequestVote",
            Self::RequestVoteReply { .. } => "RequestVoteReply",
            Self::AppendEntries { .. } => "AppendEntries",
            Self::AppendEntriesReply { .. } => "AppendEntriesReply",
            Self::InstallSnapshot { .. } => "InstallSnapshot",
            Self::InstallSnapshotReply { .. } => "InstallSnapshotReply",
            Self::Priority { .. } => "Priority",
            Self::TimeoutNow { .. } => "TimeoutNow",
            Self::ReadIndex { .. } => "ReadIndex",
            Self::ReadIndexReply { .. } => "ReadIndexReply",
        }
    }

    fn body(&self) -> Bytes {
        match self {
            Self::AppendEntries { entries: Some(payload), .. } => payload.body(),
            Self::InstallSnapshot { chunk, .. } => chunk.data.clone(),
            _ => Bytes::new(),
        }
    }

    fn attach(&mut self, body: Bytes) -> Result<(), BodyError> {
        match self {
            Self::AppendEntries { entries: Some(payload), .. } => payload.attach(body),
            Self::InstallSnapshot { chunk, .. } => {
                // The header does not say how long the piece is, only where it must end at the latest.
                let (expected, found) = (chunk.total.saturating_sub(chunk.offset), body.len() as u64);
                if found > expected {
                    return Err(BodyError { expected, found });
                }
                chunk.data = body;
                Ok(())
            }
            _ => BodyError::expect_empty(&body),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::codec::Message as _;
    use common::entries::{Batch, Entries, EntryKind};

    use super::*;

    fn round_trip(sent: &Message) -> Message {
        let mut got: Message = postcard::from_bytes(&postcard::to_stdvec(sent).unwrap()).unwrap();
        got.attach(sent.body()).unwrap();
        got
    }

    #[test]
    fn every_message_survives_the_wire() {
        let (id, next) = (LogId::new(3, 9), LogId::new(4, 10));
        let entries = Entries::new(next, EntryKind::Command, Batch::from_payloads(&["a", "bcd"])).unwrap();
        let chunk = Chunk { snapshot: id, offset: 5, total: 9, data: Bytes::from_static(b"data") };
        let conflict = Answer::Conflict { refused: id, last: id, at: id, first: 2 };
        let all = [
            Message::PreVote { term: 4, last: id },
            Message::PreVoteReply { term: 4, granted: true },
            Message::RequestVote { term: 4, last: id, transfer: true },
            Message::RequestVoteReply { term: 4, granted: false },
            Message::AppendEntries { term: 4, prev: id, commit: 7, round: 1, entries: Some(entries.into()) },
            Message::AppendEntries { term: 4, prev: id, commit: 7, round: 1, entries: None },
            Message::AppendEntriesReply { term: 4, round: 1, answer: Answer::Matched(id) },
            Message::AppendEntriesReply { term: 4, round: 1, answer: conflict },
            Message::AppendEntriesReply { term: 4, round: 0, answer: Answer::Busy },
            Message::InstallSnapshot { term: 4, chunk },
            Message::InstallSnapshotReply { term: 4, snapshot: id, end: 9 },
            Message::Priority { term: 4, priority: 50 },
            Message::TimeoutNow { term: 4 },
            Message::ReadIndex { term: 4, context: 1, lease: true },
            Message::ReadIndexReply { term: 4, context: 1, at: Some(id) },
        ];
        let mut kinds: Vec<_> = all.iter().map(codec::Message::kind).collect();
        kinds.dedup();
        assert_eq!(kinds.len(), 12);
        for message in &all {
            assert_eq!(&round_trip(message), message);
            assert_eq!(message.term(), 4);
        }
    }

    #[test]
    fn a_body_that_does_not_belong_is_refused() {
        let mut vote = Message::RequestVote { term: 1, last: LogId::ZERO, transfer: false };
        assert!(vote.attach(Bytes::from_static(b"x")).is_err());
        let chunk = Chunk { snapshot: LogId::new(1, 1), offset: 8, total: 9, data: Bytes::new() };
        let mut piece = Message::InstallSnapshot { term: 1, chunk };
        assert_eq!(piece.attach(Bytes::from_static(b"xy")), Err(BodyError { expected: 1, found: 2 }));
    }
}
