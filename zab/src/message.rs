//! Every message with its fields, in the order in which the protocol uses them.
//!
//! ZooKeeper carries election notifications and quorum packets on separate connections; here all messages to one peer
//! share one FIFO session. What used to be "a connection of a learner to its leader" is a logical *attempt*: the
//! learner chooses its number (counting up as long as the process lives) and says it in FOLLOWERINFO or OBSERVERINFO,
//! and every later message of either side repeats it. A message of another attempt is ignored, so nothing that an
//! earlier connection left in the pipe can be mistaken for the present one. Two nodes that change places number their
//! attempts independently; so whatever a leader said before LEADERINFO may be of another role. It is ignored, but for a
//! PING, which until then is a sign of life and no more. An attempt ends when either side says LOOKING, when a new
//! FOLLOWERINFO replaces it, or with the session.

use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;
use common::codec::{BodyError, Payload};
use common::entries::Entries;
use common::mutant;
use common::protocol::Chunk;
use common::types::{LogId, NodeId};
use serde::{Deserialize, Serialize};

/// `(epoch, counter)`. Both fit 32 bits. `(e, 0)` stands for NEWLEADER of epoch `e` and is never in a log.
pub type Zxid = LogId;

/// Prints a zxid as ZooKeeper does: 32 bits of epoch, 32 bits of counter, in one hexadecimal number.
///
/// ```
/// use zab::{Hex, Zxid};
/// assert_eq!(Hex(Zxid::new(3, 4)).to_string(), "0x300000004");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex(pub Zxid);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if fits(self.0) { write!(f, "{:#x}", self.0.epoch << 32 | self.0.counter) } else { write!(f, "{}", self.0) }
    }
}

/// Whether epoch and counter fit 32 bits each.
pub(crate) fn fits(zxid: Zxid) -> bool {
    u32::try_from(zxid.epoch).is_ok() && u32::try_from(zxid.counter).is_ok()
}

/// Whether an entry `next` may stand right after `last` in a log: the next counter of the same epoch, or the first of
/// a later one. Without this check a hole in a leader's history would spread unseen (ZOOKEEPER-4925).
pub(crate) fn follows(last: Zxid, next: Zxid) -> bool {
    let one = if mutant!("Z36") { 2 } else { 1 };
    fits(next) && (next == last.plus(1) || (next.epoch > last.epoch && next.counter == one))
}

/// What entries cost in a queue: their payload, and something for each, so that empty ones are not free.
pub(crate) fn weight(entries: &Entries) -> u64 {
    entries.bytes() as u64 + 32 * entries.len() as u64
}

/// What a piece of a snapshot costs in the window. Never zero.
pub(crate) fn chunk_weight(chunk: &Chunk) -> u64 {
    chunk.data.len() as u64 + 32
}

/// A vote: who should lead, and with which history. Fields are in the order in which votes compare: the greatest
/// `(peerEpoch, zxid, id)` wins; of equal histories one that votes rather than one that was left out (see
/// `reconfig`). Comparing the zxid first would let a long log of an old epoch beat the log that a newer
/// epoch's quorum had already replaced it with (ZOOKEEPER-335, 1154).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vote {
    /// The currentEpoch of the proposed leader.
    pub peer_epoch: u64,
    /// The last entry in its durable log.
    pub zxid: Zxid,
    /// Whether it votes, by its own log. It says the same in all logs that end there.
    pub votes: bool,
    /// Who.
    pub leader: NodeId,
}

impl Ord for Vote {
    fn cmp(&self, other: &Self) -> Ordering {
        history(*self, *other).then(self.votes.cmp(&other.votes)).then(self.leader.cmp(&other.leader))
    }
}

impl PartialOrd for Vote {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Histories, (currentEpoch, last zxid), in the order in which elections and discovery prefer them.
fn compare(a: (u64, Zxid), b: (u64, Zxid)) -> Ordering {
    match () {
        () if mutant!("Z10") => (a.1, a.0).cmp(&(b.1, b.0)),
        () if mutant!("Z19") => Ordering::Equal,
        () => a.cmp(&b),
    }
}

/// Which of two votes names the better history.
pub(crate) fn history(a: Vote, b: Vote) -> Ordering {
    compare((a.peer_epoch, a.zxid), (b.peer_epoch, b.zxid))
}

/// Whether one history is to be preferred to the other.
pub(crate) fn better(a: (u64, Zxid), than: (u64, Zxid)) -> bool {
    compare(a, than) == Ordering::Greater
}

/// What a node says of itself in a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// Without a leader.
    Looking,
    /// Has chosen to follow.
    Following,
    /// Leads, or tries to.
    Leading,
    /// Follows without a vote.
    Observing,
}

/// A node's word in leader election. The last one heard of each peer is all there is to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notification {
    /// What the sender is.
    pub state: NodeState,
    /// The sender's round (`logicalclock`, electionEpoch).
    pub round: u64,
    /// For whom. None from an observer, and from a voter whose log is not at rest yet: it is LOOKING but must not say
    /// what it has before all of it is durable (ZOOKEEPER-4712, 2845).
    pub vote: Option<Vote>,
    /// The last change of members that it knows to be committed; zero for none. Who knows of an earlier one only may not know
    /// who counts.
    pub members: Zxid,
}

/// How a learner introduces itself: FOLLOWERINFO or OBSERVERINFO. All of it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Info {
    /// The learner's number for this connection; every later message of either side repeats it.
    pub attempt: u64,
    /// The last epoch it accepted (`f.p`).
    pub accepted_epoch: u64,
    /// The last epoch whose NEWLEADER it acknowledged (`f.a`).
    pub current_epoch: u64,
    /// The end of its log. Its log does not change until the leader's DIFF, TRUNC or SNAP.
    pub last_zxid: Zxid,
    /// It had more, and lost it (see `mend`).
    pub mending: bool,
    /// It knows that the one it asks does not lead, and wants to be passed on what is committed.
    pub relay: bool,
}

/// What nodes say to each other. Its [`Debug`](fmt::Debug) form is a line to read, with zxids as ZooKeeper prints them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Leader election (phase 0).
    Notification(Notification),
    /// Discovery: a voter asks to follow (Zab1.0 step 1.1, CEPOCH in the paper).
    FollowerInfo(Info),
    /// Discovery: an observer asks to follow.
    ObserverInfo(Info),
    /// Discovery: the leader's new epoch (NEWEPOCH in the paper). Sent when the leader has it durably as acceptedEpoch.
    LeaderInfo {
        /// The attempt.
        attempt: u64,
        /// The epoch proposed.
        epoch: u64,
        /// Whether the learner votes, by the leader's log. It may not know yet that it was promoted, or demoted.
        voter: bool,
        /// Who leads: the sender, or whom it passes on.
        leader: NodeId,
    },
    /// Discovery: the promise not to follow an earlier epoch, durable (ACK-E in the paper).
    AckEpoch {
        /// The attempt.
        attempt: u64,
        /// Repeated from FOLLOWERINFO: the leader checks that the log did not change meanwhile.
        current_epoch: u64,
        /// Likewise.
        last_zxid: Zxid,
        /// The epoch was accepted in an earlier attempt: this promise may have been counted for somebody else and is
        /// not counted again. ZooKeeper sends currentEpoch -1.
        already_accepted: bool,
    },
    /// Synchronisation: keep the whole log; what it lacks follows.
    Diff {
        /// The attempt.
        attempt: u64,
        /// The end of the leader's history; information only. A learner whose position were set from it would claim
        /// entries that never arrived (ZOOKEEPER-2355).
        to: Zxid,
    },
    /// Synchronisation: remove everything after `to`; what is lacking follows.
    Trunc {
        /// The attempt.
        attempt: u64,
        /// The last entry that stays.
        to: Zxid,
    },
    /// Synchronisation: a piece of a snapshot; the log starts after it, and what is lacking follows.
    Snap {
        /// The attempt.
        attempt: u64,
        /// The piece.
        chunk: Chunk,
    },
    /// Flow control of a synchronisation and of an observer's stream. Promises nothing: an ACK of entries before that
    /// of NEWLEADER would be mistaken for it (ZOOKEEPER-4685).
    Received {
        /// The attempt.
        attempt: u64,
        /// How much has arrived and left memory, in all, by the weight both sides compute.
        weight: u64,
    },
    /// Synchronisation: that was the history of this epoch.
    NewLeader {
        /// The attempt.
        attempt: u64,
        /// The epoch.
        epoch: u64,
    },
    /// Everything up to here is durable at the sender. The first one of an attempt is `(epoch, 0)` and answers NEWLEADER.
    Ack {
        /// The attempt.
        attempt: u64,
        /// The last durable entry.
        zxid: Zxid,
    },
    /// Synchronisation: a quorum has acknowledged NEWLEADER; go on and serve.
    UpToDate {
        /// The attempt.
        attempt: u64,
        /// The last entry committed.
        zxid: Zxid,
    },
    /// Broadcast: append these; in a synchronisation: history.
    Proposal {
        /// The attempt.
        attempt: u64,
        /// The entries.
        entries: Payload,
    },
    /// Broadcast: everything up to here is committed.
    Commit {
        /// The attempt.
        attempt: u64,
        /// The last committed entry.
        zxid: Zxid,
    },
    /// To observers: append these, they are committed.
    Inform {
        /// The attempt.
        attempt: u64,
        /// The entries.
        entries: Payload,
    },
    /// The leader is there; the learner echoes it.
    Ping {
        /// The attempt.
        attempt: u64,
        /// Counts up; a quorum of echoes of a round proves that no other leader was established before it began. An echo
        /// before LEADERINFO says 0 and proves nothing.
        round: u64,
        /// How long a PING and its echo take between the leader and the voter farthest from it; 0 if that is not known, and
        /// in an echo.
        round_trip_us: u64,
    },
    /// A learner asks up to where a linearizable read must have applied (ZooKeeper: REQUEST with opcode sync).
    Request {
        /// The attempt.
        attempt: u64,
        /// The learner's number for it.
        token: u64,
        /// As ZooKeeper does it: without asking a quorum.
        plain: bool,
    },
    /// The answer to a REQUEST.
    Sync {
        /// The attempt.
        attempt: u64,
        /// As asked.
        token: u64,
        /// Likewise.
        plain: bool,
        /// The leader's commit point; unless it is plain, confirmed by a quorum after the request arrived.
        zxid: Zxid,
    },
    /// To an observer that somebody else feeds: the leader wants it for itself, since it is to become a voter.
    Summon {
        /// The leader's epoch.
        epoch: u64,
    },
    /// The leader gives up; vote for this one (see `transfer`).
    HandOver {
        /// The attempt.
        attempt: u64,
        /// Whom to vote for.
        to: NodeId,
        /// The end of its history, which is that of the epoch.
        zxid: Zxid,
    },
}

impl Message {
    /// The attempt it belongs to; None for notifications.
    pub fn attempt(&self) -> Option<u64> {
        match self {
            Self::Notification(_) | Self::Summon { .. } => None,
            Self::FollowerInfo(info) | Self::ObserverInfo(info) => Some(info.attempt),
            Self::LeaderInfo { attempt, .. }
            | Self::AckEpoch { attempt, .. }
            | Self::Diff { attempt, .. }
            | Self::Trunc { attempt, .. }
            | Self::Snap { attempt, .. }
            | Self::Received { attempt, .. }
            | Self::NewLeader { attempt, .. }
            | Self::Ack { attempt, .. }
            | Self::UpToDate { attempt, .. }
            | Self::Proposal { attempt, .. }
            | Self::Commit { attempt, .. }
            | Self::Inform { attempt, .. }
            | Self::Ping { attempt, .. }
            | Self::Request { attempt, .. }
            | Self::Sync { attempt, .. }
            | Self::HandOver { attempt, .. } => Some(*attempt),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = |f: &mut fmt::Formatter<'_>, entries: &Payload| match entries.entries() {
            Some(e) => write!(f, " {}..={} ({} B)", Hex(e.first()), Hex(e.last()), e.bytes()),
            None => f.write_str(" without its entries"),
        };
        f.write_str(common::codec::Message::kind(self))?;
        if let Some(attempt) = self.attempt() {
            write!(f, " #{attempt}")?;
        }
        match self {
            Self::Notification(n) => {
                write!(f, " {:?} round {}", n.state, n.round)?;
                match n.vote {
                    Some(v) => write!(f, " for {} (epoch {}, {})", v.leader, v.peer_epoch, Hex(v.zxid)),
                    None => f.write_str(" without a vote"),
                }?;
                if n.members > Zxid::ZERO { write!(f, " members {}", Hex(n.members)) } else { Ok(()) }
            }
            Self::FollowerInfo(i) | Self::ObserverInfo(i) => write!(
                f,
                " acceptedEpoch {} currentEpoch {} lastZxid {}{}",
                i.accepted_epoch,
                i.current_epoch,
                Hex(i.last_zxid),
                match (i.mending, i.relay) {
                    (true, _) => " mending",
                    (false, true) => " from one that does not lead",
                    (false, false) => "",
                }
            ),
            Self::LeaderInfo { epoch, voter, leader, .. } => {
                write!(f, " epoch {epoch}")?;
                if *voter { Ok(()) } else { write!(f, " of {leader} to an observer") }
            }
            Self::NewLeader { epoch, .. } | Self::Summon { epoch } => write!(f, " epoch {epoch}"),
            Self::AckEpoch { current_epoch, last_zxid, already_accepted, .. } => {
                write!(f, " currentEpoch {current_epoch} lastZxid {}", Hex(*last_zxid))?;
                f.write_str(if *already_accepted { " already accepted" } else { "" })
            }
            Self::Diff { to, .. } | Self::Trunc { to, .. } => write!(f, " to {}", Hex(*to)),
            Self::Snap { chunk, .. } => {
                write!(f, " {} bytes {}..{} of {}", Hex(chunk.snapshot), chunk.offset, chunk.end(), chunk.total)
            }
            Self::Received { weight, .. } => write!(f, " {weight}"),
            Self::Ack { zxid, .. } | Self::UpToDate { zxid, .. } | Self::Commit { zxid, .. } => {
                write!(f, " {}", Hex(*zxid))
            }
            Self::Proposal { entries, .. } | Self::Inform { entries, .. } => run(f, entries),
            Self::Ping { round, .. } => write!(f, " round {round}"),
            Self::Request { token, .. } => write!(f, " sync {token}"),
            Self::Sync { token, plain, zxid, .. } => {
                write!(f, " {token}{} at {}", if *plain { " plain" } else { "" }, Hex(*zxid))
            }
            Self::HandOver { to, zxid, .. } => write!(f, " to {to}, who has {}", Hex(*zxid)),
        }
    }
}

impl common::codec::Message for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Notification(_) => "NOTIFICATION",
            Self::FollowerInfo(_) => "FOLLOWERINFO",
            Self::ObserverInfo(_) => "OBSERVERINFO",
            Self::LeaderInfo { .. } => "LEADERINFO",
            Self::AckEpoch { .. } => "ACKEPOCH",
            Self::Diff { .. } => "DIFF",
            Self::Trunc { .. } => "TRUNC",
            Self::Snap { .. } => "SNAP",
            Self::Received { .. } => "RECEIVED",
            Self::NewLeader { .. } => "NEWLEADER",
            Self::Ack { .. } => "ACK",
            Self::UpToDate { .. } => "UPTODATE",
            Self::Proposal { .. } => "PROPOSAL",
            Self::Commit { .. } => "COMMIT",
            Self::Inform { .. } => "INFORM",
            Self::Ping { .. } => "PING",
            Self::Request { .. } => "REQUEST",
            Self::Sync { .. } => "SYNC",
            Self::HandOver { .. } => "HANDOVER",
            Self::Summon { .. } => "SUMMON",
        }
    }

    fn body(&self) -> Bytes {
        match self {
            Self::Proposal { entries, .. } | Self::Inform { entries, .. } => entries.body(),
            Self::Snap { chunk, .. } => chunk.data.clone(),
            _ => Bytes::new(),
        }
    }

    fn attach(&mut self, body: Bytes) -> Result<(), BodyError> {
        match self {
            Self::Proposal { entries, .. } | Self::Inform { entries, .. } => entries.attach(body),
            Self::Snap { chunk, .. } => {
                let found = body.len() as u64;
                let room = chunk.total.saturating_sub(chunk.offset);
                if found > room {
                    return Err(BodyError { expected: room, found });
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
    use super::*;
    use common::codec::Message as _;
    use common::entries::{Batch, EntryKind};
    use proptest::prelude::*;

    fn z(e: u64, c: u64) -> Zxid {
        Zxid::new(e, c)
    }

    #[test]
    fn zxids_print_as_in_zookeeper() {
        assert_eq!(Hex(z(3, 7)).to_string(), "0x300000007");
        assert_eq!(Hex(z(0, 0)).to_string(), "0x0");
        assert_eq!(Hex(z(1 << 32, 0)).to_string(), "(4294967296,0)");
    }

    #[test]
    fn votes_compare_epoch_then_zxid_then_id() {
        let vote = |peer_epoch, zxid, id| Vote { peer_epoch, zxid, votes: true, leader: NodeId(id) };
        let ascending = [
            vote(0, z(0, 0), 9),
            // A long log of an old epoch does not beat a short one of a newer (ZOOKEEPER-335).
            vote(1, z(1, 5), 9),
            vote(2, z(1, 3), 1),
            // A log that runs ahead of currentEpoch counts among those of that epoch (R10).
            vote(2, z(3, 1), 1),
            vote(2, z(3, 2), 1),
            vote(2, z(3, 2), 2),
            vote(3, z(0, 0), 1),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
        let left_out = Vote { votes: false, ..vote(2, z(3, 2), 9) };
        assert!(vote(2, z(3, 1), 1) < left_out && left_out < vote(2, z(3, 2), 1));
    }

    #[test]
    fn what_may_follow_what() {
        assert!(follows(z(0, 0), z(1, 1)) && follows(z(1, 4), z(1, 5)) && follows(z(1, 4), z(3, 1)));
        assert!(!follows(z(1, 4), z(1, 4)) && !follows(z(1, 4), z(1, 6)) && !follows(z(1, 4), z(2, 2)));
        assert!(!follows(z(2, 1), z(1, 1)) && !follows(z(1, u64::from(u32::MAX)), z(1, 1 << 32)));
    }

    /// Every kind of message, with something in it.
    fn examples() -> Vec<Message> {
        let run = Entries::new(z(3, 5), EntryKind::Command, Batch::from_payloads(&["ab", "", "c"])).unwrap();
        let info =
            Info { attempt: 1, accepted_epoch: 4, current_epoch: 3, last_zxid: z(3, 4), mending: false, relay: true };
        let vote = Vote { peer_epoch: 3, zxid: z(3, 4), votes: true, leader: NodeId(2) };
        let attempt = 7;
        vec![
            Message::Notification(Notification {
                state: NodeState::Looking,
                round: 9,
                vote: Some(vote),
                members: Zxid::new(2, 7),
            }),
            Message::Notification(Notification {
                state: NodeState::Observing,
                round: 0,
                vote: None,
                members: Zxid::ZERO,
            }),
            Message::FollowerInfo(info),
            Message::ObserverInfo(info),
            Message::LeaderInfo { attempt, epoch: 5, voter: true, leader: NodeId(2) },
            Message::AckEpoch { attempt, current_epoch: 3, last_zxid: z(3, 4), already_accepted: true },
            Message::Diff { attempt, to: z(3, 7) },
            Message::Trunc { attempt, to: z(3, 2) },
            Message::Snap {
                attempt,
                chunk: Chunk { snapshot: z(2, 9), offset: 4, total: 9, data: Bytes::from_static(b"hello") },
            },
            Message::Received { attempt, weight: 99 },
            Message::NewLeader { attempt, epoch: 5 },
            Message::Ack { attempt, zxid: z(5, 0) },
            Message::UpToDate { attempt, zxid: z(3, 7) },
            Message::Proposal { attempt, entries: run.clone().into() },
            Message::Commit { attempt, zxid: z(3, 7) },
            Message::Inform { attempt, entries: run.into() },
            Message::Ping { attempt, round: 2, round_trip_us: 250 },
            Message::Request { attempt, token: 3, plain: false },
            Message::Sync { attempt, token: 3, plain: true, zxid: z(3, 7) },
        ]
    }

    #[test]
    fn every_message_travels_as_header_and_body() {
        for sent in examples() {
            let header = postcard::to_stdvec(&sent).unwrap();
            assert!(header.len() < 40, "{} has a header of {} bytes", sent.kind(), header.len());
            let mut got: Message = postcard::from_bytes(&header).unwrap();
            got.attach(sent.body()).unwrap();
            assert_eq!(got, sent);
            assert_eq!(got.attempt().is_none(), sent.kind() == "NOTIFICATION");
            let mut long: Message = postcard::from_bytes(&header).unwrap();
            assert!(long.attach(Bytes::from_static(b"a body that fits none of them")).is_err(), "{}", sent.kind());
        }
    }

    proptest! {
        /// Bytes of a stranger never panic, whatever they decode to.
        #[test]
        fn hostile_headers_are_refused_or_harmless(header in proptest::collection::vec(any::<u8>(), 0..64), body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(mut m) = postcard::from_bytes::<Message>(&header) {
                let _ = m.attach(Bytes::from(body));
                let _ = (m.kind(), m.body(), m.attempt());
            }
        }
    }
}
