//! What must hold. In every state of one node: here. Between nodes, and on their disks: `oracle`, and what messages
//! promise: `vows`. Bugs seeded on purpose, so that it is known what all this finds: [`MUTANTS`].
//!
//! # Always on
//! A node looks at itself, in production too, and halts with the name of the rule when it is not what it should be: a node
//! that stops is a failure ZAB is made for, one that goes on with a broken promise is not. After every step it looks at the
//! order of the marks in its log; once in 32 steps, with every timer, and always in debug builds, at all that takes the
//! same few comparisons however much is in flight: the order of its epochs, that what is durable and committed is in its
//! log, that a vote, a promise or an acknowledgement speaks of what its disk confirmed, and that its log stands still when
//! it must. Left to [`Zab::check`], which tests and the simulator call, is what takes
//! time in the number of peers and of runs in flight: that queues are counted right, and that nothing is left out of a
//! learner's stream.

mod marks;
mod mend;
mod mutants;
mod oracle;
mod subject;
mod vows;

pub use marks::MARKS;
pub use mutants::MUTANTS;
pub use oracle::ZabOracle;

use std::cmp::Ordering;

use common::mutant::suspended;
use common::sim::subject::Violation;
use common::types::Member;

use crate::core::{Local, State, Zab};
use crate::message::{NodeState, Zxid, fits, history};
use crate::recovery::follower::{Following, Stage};
use crate::recovery::leader::{Leading, Progress, Stage as LeaderStage};

type Check = Result<(), &'static str>;

fn rule(name: &'static str, holds: bool) -> Check {
    if holds { Ok(()) } else { Err(name) }
}

/// A node looks at itself whole once in so many steps, and with every timer.
pub(crate) const EVERY: u32 = 32;

/// The part that costs next to nothing: whether the marks in the log are in order.
#[inline]
pub(crate) fn marks_hold(me: &Local) -> bool {
    let in_log = me.committed <= me.log.last() && me.durable <= me.log.last();
    me.applied <= me.committed && me.snapshot <= me.committed && (in_log || me.halted || me.installing.is_some())
}

fn guard_marks(me: &Local) -> Check {
    rule("applied <= committed", me.applied <= me.committed)?;
    rule("a snapshot covers committed entries only", me.snapshot <= me.committed)?;
    rule("what is committed and durable is in the log", {
        me.halted || me.installing.is_some() || me.committed.max(me.durable) <= me.log.last()
    })
}

/// The rules whose cost does not grow. See the [module](self).
pub(crate) fn guard(zab: &Zab) -> Result<(), &'static str> {
    let me = &zab.me;
    guard_local(me)?;
    match &zab.state {
        State::Looking(_) => guard_looking(me),
        State::Following(f) => guard_following(me, f),
        State::Leading(l) => guard_leading(me, l),
    }
}

impl Zab {
    /// Checks every rule; the error names the first that is broken, by its name in the specification or as `Z-NBT`, a state
    /// that should not be there. Takes time in the number of peers and runs in flight.
    pub fn check(&self) -> Result<(), Violation> {
        let me = &self.me;
        let all = guard(self).and_then(|()| match &self.state {
            State::Leading(l) => check_leading(me, l),
            State::Following(_) | State::Looking(_) => Ok(()),
        });
        all.map_err(|rule| {
            let (oracle, rule) = rule.split_once(": ").filter(|(o, _)| o.contains('-')).unwrap_or(("Z-NBT", rule));
            Violation::new(oracle, format!("{}: {rule}", me.id))
        })
    }
}

fn guard_local(me: &Local) -> Check {
    if me.halted {
        return Ok(());
    }
    rule("Z-EPOCH: acceptedEpoch >= currentEpoch", me.hard.accepted_epoch >= me.hard.current_epoch)?;
    rule("Z-EPOCH: epochs are saved in order", {
        let saves = me.saves.iter();
        saves
            .clone()
            .zip(saves.skip(1))
            .all(|(a, b)| a.accepted_epoch <= b.accepted_epoch && a.current_epoch <= b.current_epoch)
    })?;
    rule("Z-ZXID: epoch and counter fit 32 bits", fits(me.log.last()) && fits(me.committed))?;
    rule("the log starts at or before the snapshot", me.log.base() <= me.snapshot)?;
    rule("what is durable is in the log", me.installing.is_some() || me.log.contains(me.durable))?;
    rule("Z-AGR: what is committed is in the log", me.installing.is_some() || me.log.contains(me.committed))?;
    guard_marks(me)?;
    rule("at most two epochs are on their way to disk", me.saves.len() <= 2)
}

fn guard_looking(me: &Local) -> Check {
    rule("LOOKING says so", me.note.state == NodeState::Looking)?;
    rule("C-VOW: R3: a vote only at rest", me.note.vote.is_none() || me.at_rest())?;
    rule("C-VOW: the vote is for a history at least as good as one's own", {
        me.note.vote.is_none_or(|v| history(v, me.own_vote()) != Ordering::Less)
    })?;
    rule("an observer, or a voter that weighs nothing, does not vote for itself", {
        suspended(|| me.stands()) || me.note.vote.is_none_or(|v| v.leader != me.id)
    })
}

fn guard_following(me: &Local, f: &Following) -> Check {
    let said = if f.voter { NodeState::Following } else { NodeState::Observing };
    rule("FOLLOWING or OBSERVING says so", me.note.state == said)?;
    rule("one does not follow oneself", f.leader != me.id)?;
    // Between FOLLOWERINFO and the synchronisation the log does not move.
    rule("C-VOW: R3: at rest until synchronised", f.stage > Stage::Accepting || me.log.last() == me.durable)?;
    rule("C-VOW: R2: the promise is durable before ACKEPOCH", {
        !f.voter || f.stage <= Stage::Accepting || me.saved.accepted_epoch >= f.epoch
    })?;
    rule("Z-EPOCH: R4: history is durable before currentEpoch", {
        f.stage != Stage::Epoch || me.log.last() == me.durable
    })?;
    rule("C-VOW: R4: currentEpoch is durable before the ACK", {
        f.stage < Stage::Acked || me.saved.current_epoch == f.epoch
    })?;
    rule("R5: held proposals are not in the log", f.stage != Stage::Acked || me.log.last() == f.acked)?;
    rule("R5: nothing is held in broadcast", !f.in_broadcast() || f.held.is_empty())?;
    rule("C-VOW: R7: what was acknowledged is durable", f.acked <= me.durable)?;
    rule(
        "Z-PFX: nothing of a later epoch than the leader's",
        f.stage < Stage::Syncing || me.log.last().epoch <= f.epoch.max(me.log.base().epoch),
    )?;
    let fed = f.relay.as_ref().map_or(0, |relay| relay.learners.len());
    rule("C-RES: reads are bounded", f.reads.len() + f.syncs.len() <= me.config.reads_max + 2 * fed)
}

fn guard_leading(me: &Local, l: &Leading) -> Check {
    rule("LEADING says so", me.note.state == NodeState::Leading && me.note.vote.is_some_and(|v| v.leader == me.id))?;
    rule("an observer, one that is mending, or a voter that weighs nothing does not lead", suspended(|| me.stands()))?;
    rule("C-VOW: R1: the epoch is durable before LEADERINFO", {
        l.stage <= LeaderStage::Accepting || me.saved.accepted_epoch == l.epoch
    })?;
    rule("C-RES: reads are bounded", l.reads.len() <= me.config.reads_max + l.learners.len() * 2)?;
    if !l.established() {
        // J4: what followers are compared with and sent must not move.
        rule("Z-INIT: the log stands still before NEWLEADER's quorum", {
            me.log.last() == l.summary.1 && me.durable == l.summary.1
        })?;
        return rule("Z-INIT: nothing is proposed before NEWLEADER's quorum", l.outstanding.is_empty());
    }
    rule("Z-INIT: R6: currentEpoch is durable before it serves", {
        l.self_acked && me.saved.current_epoch == l.epoch
    })?;
    rule("Z-PI: the initial history is committed", me.committed >= l.summary.1)?;
    rule("Z-ZXID: new entries are of the epoch led", {
        me.log.last() == l.summary.1 || me.log.last().epoch == l.epoch
    })?;
    rule("the own disk's queue starts after what is durable", l.unsynced.front().is_none_or(|(z, _)| *z > me.durable))?;
    rule("what waits is what is not committed", {
        l.outstanding.back().is_none_or(|(last, _)| *last == me.log.last())
            && l.outstanding.front().is_none_or(|(last, _)| *last > me.committed)
    })
}

fn check_leading(me: &Local, l: &Leading) -> Check {
    if l.established() {
        let reached = me
            .members
            .reached(|v| if v == me.id { me.durable } else { l.learners.get(v).map_or(Zxid::ZERO, |x| x.acked) });
        rule("all that a quorum has is committed", reached <= me.committed)?;
    }
    let waiting: u64 = l.outstanding.iter().map(|(_, weight)| weight).sum();
    rule("uncommitted bytes are counted", waiting == l.uncommitted)?;
    let unsynced: u64 = l.unsynced.iter().map(|(_, weight)| weight).sum();
    rule("the own disk's queue is counted", unsynced == l.unsynced_bytes)?;
    for (id, x) in l.learners.iter() {
        rule("a learner has a session", me.connected(id))?;
        rule("who votes has a follower's stream", x.member == Member::Voter || !me.members.votes(id))?;
        rule("acknowledged <= sent", x.acked <= x.sent)?;
        rule("a queue is counted", x.in_flight.iter().map(|(_, w)| w).sum::<u64>() == x.in_flight_bytes)?;
        rule("C-RES: a queue is bounded", !x.queue_full(me.config.queue_max_bytes))?;
        if x.member == Member::Voter && x.progress >= Progress::NewLeader {
            rule("Z-PFX: the live stream has no gap", x.sent == me.log.last())?;
        }
        if x.member == Member::Observer && x.progress >= Progress::NewLeader && l.established() {
            rule("INFORM up to the commit point", x.sent == me.committed)?;
        }
    }
    Ok(())
}
