//! Phases 1 and 2: discovery and synchronisation. The leader is in [`leader`], its learners are in [`follower`].
//!
//! **Discovery** makes sure that no earlier leader can commit anything any more. The leader proposes an epoch above all
//! that a quorum ever accepted (LEADERINFO); each follower makes it durable before it says ACKEPOCH, and obeys nothing
//! older from then on. The leader compares the history of every follower it counts with its own: the election was meant
//! to choose the best one, here it is checked.
//!
//! **Synchronisation** makes the histories of a quorum equal to the leader's *before* anything new is proposed. From the
//! learner's last zxid alone the leader [decides](decide) what to send: nothing or what follows (DIFF), a cut first
//! (TRUNC), or a snapshot (SNAP). One zxid is enough: it is unique, a learner takes entries of one leader only and in
//! order, and it acknowledged nothing of an epoch before it had that epoch's whole initial history; so if the leader has
//! the learner's last entry, the learner's log is a prefix of the leader's. NEWLEADER ends the history; when a quorum
//! has it durably, with currentEpoch, the leader is established, its history is committed, and UPTODATE says so.
//!
//! # Order rules
//! Each is named where it is kept, with the number of the bug that ZooKeeper had without it.
//!
//! | rule | where |
//! | --- | --- |
//! | R1 the leader's acceptedEpoch is durable before LEADERINFO (1291) | `leader::Leading::on_disk` |
//! | R2 a follower's is before ACKEPOCH; an equal epoch is "already accepted", a smaller one refused | `follower::Following::on_leader_info`, `on_disk` |
//! | R3 no change of the log between reporting its end and the synchronisation (4712) | `core::Local::at_rest`, `follower` stages |
//! | R4 history durable, then currentEpoch durable, then ACK of NEWLEADER (3911, 4646, 4643, 4785, 1282, 4685) | `follower::Following::on_disk` |
//! | R5 proposals between NEWLEADER and UPTODATE, and their commits, are held until UPTODATE (4394) | `follower::Following::hold` |
//! | R6 the leader's currentEpoch is durable before it counts itself; it serves after a quorum | `leader::Leading::advance` |
//! | R7 ACK after the fsync that covers it, in order | `broadcast`: `Following::on_disk` |
//! | R8 the leader acknowledges its own proposals after its own fsync; PROPOSAL may leave before | `broadcast`: `Leading::try_commit` |
//! | R9 commit in order | `broadcast`: `Leading::try_commit`: acknowledgements are cumulative |
//! | R10 a log with entries of a later epoch than currentEpoch is a legal state to start from (1653, 2354, 4269) | `core::Zab::new` |
//! | R11 acceptedEpoch >= currentEpoch, never set in memory only (2307) | `core::Zab::step`, `core::Local::save` |
//! | R12 missing epoch files | `core::Zab::new` |
//! | R13 a node that lost its disk must not vote as if it were new | not decided here: who starts a node decides it |
//!
//! # FOLLOWERINFO carries the last zxid
//! In ZooKeeper only ACKEPOCH does. Saying it before the promise is safe only because the log stands still in between:
//! a node enters the election's end with everything durable ([`at_rest`](crate::core::Local::at_rest)) and touches its
//! log again only on DIFF, TRUNC or SNAP of this very attempt. ACKEPOCH repeats it and the leader checks that it is the
//! same. What is gained: the leader knows a follower with a better history before it has made it promise anything.
//!
//! # A promise above the leader's epoch
//! A follower may have accepted an epoch which was never established and is above that of the leader it finds later. In
//! ZooKeeper it refuses that leader for ever. Here a leader that is told of such a promise gives up once, remembers the
//! number, and proposes an epoch above it next time. That costs one short election and is safe, since it is nothing but
//! a change of leader. It ends: a promise needs a leader with a quorum of FOLLOWERINFO, so a lone node cannot raise it.
//! Observers make no promise at all (they are never counted), so they can neither suffer from it nor cause it: they
//! accept any epoch from their currentEpoch up and save both epochs at NEWLEADER.

use common::log::LogView;

use crate::message::Zxid;

pub(crate) mod follower;
pub(crate) mod leader;
mod sync;

/// What a leader sends first to bring a learner level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOp {
    /// The learner's log is a prefix of the leader's: send what follows it.
    Diff,
    /// The learner has entries the leader has not: it drops everything after this one, then gets what follows it.
    Trunc(Zxid),
    /// No common point is left in the leader's log: the newest snapshot, then what follows it.
    Snap,
}

/// Decides from the learner's `last` zxid how to bring it up to `end` of the leader's `log`.
///
/// The test is whether `last` is *in* the log, not whether it lies between its ends: a leader with (1,3) and (3,1) that
/// meets a learner at (2,1) must cut it back to (1,3) although (2,1) is between them (ZOOKEEPER-1154). A log whose
/// beginning was replaced by a snapshot knows it (`base`) and is not asked for what lies before (ZOOKEEPER-2846).
///
/// `may_exceed` says whether the learner may keep entries after `end` that the leader also has: a follower may, they are
/// proposals in flight; an observer must not hold what is not committed.
pub fn decide(log: &LogView, snapshot: Zxid, end: Zxid, last: Zxid, may_exceed: bool, diff_max_entries: u64) -> SyncOp {
    let Some(floor) = log.floor(last) else { return SyncOp::Snap };
    let floor = if may_exceed { floor } else { floor.min(end) };
    if snapshot > floor && log.count(floor, end) > diff_max_entries {
        return SyncOp::Snap;
    }
    if floor == last { SyncOp::Diff } else { SyncOp::Trunc(floor) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::entries::{Batch, Entries, EntryKind};

    fn z(e: u64, c: u64) -> Zxid {
        Zxid::new(e, c)
    }

    fn log(base: Zxid, spans: &[(u64, u64, u64)]) -> LogView {
        let mut log = LogView::new(base, 1 << 20);
        for (epoch, first, last) in spans {
            let batch = Batch::from_payloads(&vec!["x"; (last - first + 1) as usize]);
            log.append(Entries::new(z(*epoch, *first), EntryKind::Command, batch).unwrap());
        }
        log
    }

    /// The leader has (1,1..=3) (3,1..=2) (5,1..=7).
    #[test]
    fn decisions_for_twenty_followers() {
        use SyncOp::{Diff, Snap, Trunc};
        let whole = log(Zxid::ZERO, &[(1, 1, 3), (3, 1, 2), (5, 1, 7)]);
        let table = [
            // Level, and prefixes of every length.
            (z(5, 7), Diff),
            (z(5, 6), Diff),
            (z(5, 1), Diff),
            (z(3, 2), Diff),
            (z(3, 1), Diff),
            (z(1, 3), Diff),
            (z(1, 1), Diff),
            // Empty.
            (z(0, 0), Diff),
            // More of an epoch than the leader has.
            (z(5, 8), Trunc(z(5, 7))),
            (z(3, 3), Trunc(z(3, 2))),
            (z(3, 99), Trunc(z(3, 2))),
            (z(1, 4), Trunc(z(1, 3))),
            // Of an epoch the leader has nothing of: between (1154), after, before.
            (z(2, 1), Trunc(z(1, 3))),
            (z(2, 9), Trunc(z(1, 3))),
            (z(4, 1), Trunc(z(3, 2))),
            (z(6, 1), Trunc(z(5, 7))),
            (z(9, 9), Trunc(z(5, 7))),
        ];
        for (last, expected) in table {
            assert_eq!(decide(&whole, Zxid::ZERO, z(5, 7), last, true, 100), expected, "follower at {last}");
        }
        // Nothing in common but the empty beginning.
        let young = log(Zxid::ZERO, &[(5, 1, 7)]);
        assert_eq!(decide(&young, Zxid::ZERO, z(5, 7), z(2, 1), true, 100), Trunc(Zxid::ZERO));
        assert_eq!(decide(&log(Zxid::ZERO, &[]), Zxid::ZERO, Zxid::ZERO, Zxid::ZERO, true, 100), Diff);
        // The log starts after (3,1), which is in a snapshot.
        let cut = log(z(3, 1), &[(3, 2, 2), (5, 1, 7)]);
        let table = [
            (z(0, 0), Snap),
            (z(1, 3), Snap),
            (z(2, 7), Snap),
            (z(3, 1), Diff),
            (z(3, 2), Diff),
            (z(4, 4), Trunc(z(3, 2))),
            (z(5, 9), Trunc(z(5, 7))),
        ];
        for (last, expected) in table {
            assert_eq!(decide(&cut, z(5, 2), z(5, 7), last, true, 100), expected, "follower at {last}");
        }
    }

    #[test]
    fn far_behind_means_a_snapshot_if_there_is_a_later_one() {
        let l = log(Zxid::ZERO, &[(1, 1, 30)]);
        assert_eq!(decide(&l, z(1, 20), z(1, 30), z(1, 5), true, 10), SyncOp::Snap);
        assert_eq!(decide(&l, z(1, 20), z(1, 30), z(1, 5), true, 25), SyncOp::Diff);
        assert_eq!(decide(&l, z(1, 5), z(1, 30), z(1, 5), true, 10), SyncOp::Diff);
        assert_eq!(decide(&l, Zxid::ZERO, z(1, 30), z(1, 5), true, 10), SyncOp::Diff);
    }

    #[test]
    fn an_observer_must_not_keep_what_is_not_committed() {
        let l = log(Zxid::ZERO, &[(1, 1, 9)]);
        assert_eq!(decide(&l, Zxid::ZERO, z(1, 5), z(1, 8), true, 10), SyncOp::Diff);
        assert_eq!(decide(&l, Zxid::ZERO, z(1, 5), z(1, 8), false, 10), SyncOp::Trunc(z(1, 5)));
        assert_eq!(decide(&l, Zxid::ZERO, z(1, 5), z(2, 1), false, 10), SyncOp::Trunc(z(1, 5)));
        assert_eq!(decide(&l, Zxid::ZERO, z(1, 5), z(1, 4), false, 10), SyncOp::Diff);
    }
}
