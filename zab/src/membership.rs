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
//! An observer may be fed by a follower, or by another observer, instead of the leader ([`Config::sources`](crate::Config)), so
//! that reads scale without loading the leader. Whoever is level passes on what is committed as a leader would, from the same
//! code; it never passes on more (ZOOKEEPER-5088 is a relay that began in the middle of a proposal). When it loses its leader,
//! those it feeds look for another source, and go on where their log ends. So observers can be a chain of any length; an
//! observer calls its sources as it calls voters.
//!
//! # Rings
//!
//! Settings may send observers round in a circle: n4 would be fed by n5, n5 by n6, n6 by n4. They never feed each other so, not
//! even for a moment, so nothing goes round without a leader. Who feeds is level, and who is level was let in by a LEADERINFO of
//! a source that was level *before*, in the role it still has: a role ends with LOOKING to everyone, which in each session
//! comes before all that the next role says, and ends the attempts of those that the old one fed; and a new role knows none of
//! their attempts. So of two nodes one of which feeds the other, the feeder was let in first, and along a ring everyone would
//! have been let in before itself. When a leader is lost, each LOOKING therefore ends the role of those fed by it, link by
//! link, up to the last.
//!
//! What a ring can do is *wait*: all ask the next one, since each has heard only that the other observes, and nobody is
//! level. That ends after `init_limit_ms` at the latest, and whoever gave up so goes to the leader (`failures`). Before it asks
//! anybody, an observer waits up to `sync_limit_ms` for a source that is LOOKING; the first one of a ring whose patience is over
//! goes to the leader, and the others have somebody to follow.
//!
//! Each observer's queue is what was sent to it and not yet RECEIVED. One that falls behind further than the limit loses
//! its session and synchronises anew; an INFORM is never left out (ZOOKEEPER-1551, 5088 are entries lost between a
//! snapshot and the stream). The number of observers is limited, because each costs the leader its part of every entry.

use common::entries::Entries;
use common::mutant;
use common::types::{Member, NodeId};

use crate::core::{Fx, Local, Outcome};
use crate::message::{Info, Message, NodeState, Zxid, fits, follows, weight};
use crate::reconfig::may_vote;
use crate::recovery::follower::{Following, Stage};
use crate::recovery::leader::{Leading, Progress};

impl Leading {
    /// Whether there is room for one more observer. Learners that are members always have it.
    pub(crate) fn admits_observer(&self, me: &Local, id: NodeId) -> bool {
        let strangers = self.learners.ids().filter(|id| !me.members.belongs(*id)).count();
        me.members.belongs(id) || strangers < me.config.observers_max
    }

    /// INFORM of what became committed after `before`, to every observer that is level. One that is still catching up
    /// gets it as history: its synchronisation ends at the commit point of the moment. Says whether a queue is full.
    pub(crate) fn inform(&mut self, me: &Local, before: Zxid, fx: &mut Fx) -> bool {
        // What was just committed is not applied yet, so it is in memory.
        let runs = me.log.cached(before, me.committed).unwrap_or_default();
        let mut full = false;
        for (id, l) in self.learners.iter_mut() {
            if l.member != Member::Observer || !l.live() || (mutant!("Z25") && l.progress != Progress::Synced) {
                continue;
            }
            for run in &runs {
                l.sent = run.last();
                l.newest_weight = weight(run);
                l.sent_weight += l.newest_weight;
                fx.send(id, Message::Inform { attempt: l.info.attempt, entries: run.clone().into() });
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
        let (before, last) = (me.committed, run.last());
        self.append_reported(me, run, fx);
        me.commit(last, fx);
        self.pass_on(me, before, fx)
    }
}

/// Passing on.
impl Following {
    /// An observer asks a node that follows, or observes, to pass on to it what is committed. The node must be level first.
    pub(crate) fn on_info(&mut self, me: &mut Local, from: NodeId, info: Info, fx: &mut Fx) -> Outcome {
        if !info.relay {
            // It takes this node for a leader.
            fx.send(from, Message::Notification(me.note));
            return Ok(());
        }
        if !self.in_broadcast() {
            if from == self.leader {
                fx.mark("zab/membership#on_info.ring");
            }
            if let Some(session) = me.sessions.get_mut(from) {
                session.knock = Some(info);
            }
            return Ok(());
        }
        fx.mark(if self.voter { "zab/membership#on_info" } else { "zab/membership#on_info.of_an_observer" });
        let (head, epoch) = (self.head, self.epoch);
        let relay = self.relay.get_or_insert_with(|| Box::new(Leading::relay(me, head, epoch)));
        relay.on_info(me, from, info, fx)
    }

    /// This node has become level: those who asked before are fed now.
    pub(crate) fn admit(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        let knocks: Vec<_> = me.sessions.iter_mut().filter_map(|(id, s)| Some((id, s.knock.take()?))).collect();
        for (from, info) in knocks {
            fx.mark("zab/membership#admit");
            self.on_info(me, from, info, fx)?;
        }
        Ok(())
    }

    /// What was committed after `before`, to those whom this node feeds.
    pub(crate) fn pass_on(&mut self, me: &mut Local, before: Zxid, fx: &mut Fx) -> Outcome {
        let Some(relay) = &mut self.relay else { return Ok(()) };
        if relay.inform(me, before, fx) { relay.shed(me, fx) } else { Ok(()) }
    }

    /// A message of somebody who does not feed this node: perhaps of one whom it feeds.
    pub(crate) fn on_observer_message(
        &mut self,
        me: &mut Local,
        from: NodeId,
        message: &Message,
        fx: &mut Fx,
    ) -> Outcome {
        let Some(relay) = &mut self.relay else { return Ok(()) };
        if let Message::Request { attempt, token, plain } = *message {
            if relay.learners.get(from).is_some_and(|l| l.info.attempt == attempt) {
                self.request_for(me, from, (attempt, token, plain), fx);
            }
            return Ok(());
        }
        relay.on_message(me, from, message, fx)
    }

    /// One whom this node feeds is gone.
    pub(crate) fn forget_observer(&mut self, me: &mut Local, peer: NodeId) {
        if let Some(relay) = &mut self.relay {
            relay.drop_learner(me, peer);
            self.forget_reader(peer);
        }
    }
}

impl Local {
    /// Who feeds this node, if `leader` leads: an observer takes the first of its sources that has a leader, unless that went
    /// wrong just now.
    pub(crate) fn source(&self, leader: NodeId) -> NodeId {
        self.sources(leader).find(|id| self.is_settled(*id)).unwrap_or(leader)
    }

    /// Whether there is one that it would take rather, if only it had a leader. When a node has just started, its sessions with
    /// its sources are on their way.
    pub(crate) fn awaits_source(&self, leader: NodeId) -> bool {
        let starting = self.attempts == 0;
        let next = self.sources(leader).find(|id| starting || self.connected(*id));
        next.is_some_and(|id| !self.is_settled(id))
    }

    /// Those that may feed it, best first.
    fn sources(&self, leader: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let wants = !may_vote(&self.members, self.id) && self.failures == 0 && self.now >= self.direct_until;
        let may = move |id: &NodeId| wants && *id != self.id && *id != leader;
        self.config.sources.iter().copied().map(NodeId).filter(may)
    }

    fn is_settled(&self, id: NodeId) -> bool {
        self.heard(id).is_some_and(|n| matches!(n.state, NodeState::Following | NodeState::Observing))
    }
}
