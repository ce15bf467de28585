//! Observers: nodes that receive what is committed, serve reads, and count for nothing.
//!
//! An observer is found out by its id: who is not in the list of voters is one, whatever it says. It learns the leader
//! from the voters' notifications, is synchronised like a follower (OBSERVERINFO instead of FOLLOWERINFO), and from
//! then on gets INFORM: entries with the word that they are committed, in one message where a follower gets two. Its
//! log holds committed entries only, so it never delays a commit, however slow it is, and never needs to be cut back
//! because of a proposal of its own leader.
//!
//! It is never counted: not for epochs, promises, NEWLEADER, commits, reads, nor for the leader's own quorum check
//! (ZOOKEEPER-2959 is an observer that was).
//!
//! Each observer's queue is what was sent to it and not yet RECEIVED. One that falls behind further than the limit loses
//! its session and synchronises anew; an INFORM is never left out (ZOOKEEPER-1551, 5088 are entries lost between a
//! snapshot and the stream). The number of observers is limited, because each costs the leader its part of every entry.

use common::entries::Entries;
use common::mutant;
use common::types::{Member, NodeId};

use crate::core::{Fx, Local, Outcome};
use crate::message::{Message, Zxid, fits, follows, weight};
use crate::recovery::follower::{Following, Stage};
use crate::recovery::leader::{Leading, Progress};

impl Leading {
    /// Whether there is room for one more observer. Learners that are members always have it.
    pub(crate) fn admits_observer(&self, me: &Local, id: NodeId) -> bool {
        let strangers = self.learners.keys().filter(|id| !me.members.belongs(**id)).count();
        me.members.belongs(id) || strangers < me.config.observers_max
    }

    /// INFORM of what became committed after `before`, to every observer that is level. One that is still catching up
    /// gets it as history: its synchronisation ends at the commit point of the moment. Says whether a queue is full.
    pub(crate) fn inform(&mut self, me: &Local, before: Zxid, fx: &mut Fx) -> bool {
        // What was just committed is not applied yet, so it is in memory.
        let runs = me.log.cached(before, me.committed).unwrap_or_default();
        let mut full = false;
        for (id, l) in &mut self.learners {
            if l.member != Member::Observer || !l.live() || (mutant!("Z25") && l.progress != Progress::Synced) {
                continue;
            }
            for run in &runs {
                l.sent = run.last();
                l.newest_weight = weight(run);
                l.sent_weight += l.newest_weight;
                fx.send(*id, Message::Inform { attempt: l.info.attempt, entries: run.clone().into() });
            }
            full |= l.queue_full(me.config.queue_max_bytes);
        }
        full
    }
}

impl Following {
    /// INFORM: append and commit in one.
    pub(crate) fn on_inform(&mut self, me: &mut Local, run: Entries, fx: &mut Fx) -> Outcome {
        if self.voter {
            return Err(self.broke(me, "INFORM to a follower", fx));
        }
        if self.stage != Stage::Broadcast {
            if mutant!("Z24") && self.stage >= Stage::History {
                return Ok(());
            }
            let last = run.last();
            fx.mark("zab/membership#on_inform.early");
            self.on_early_entries(me, run, fx)?;
            return self.on_early_commit(me, last, fx);
        }
        if !follows(me.log.last(), run.first()) || run.epoch() > self.epoch || !fits(run.last()) {
            return Err(self.broke(me, "INFORM that does not follow the log", fx));
        }
        let last = run.last();
        self.append_reported(me, run, fx);
        me.commit(last, fx);
        Ok(())
    }
}
