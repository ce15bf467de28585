//! Handing leadership over: before a leader is stopped, to a node that is better placed, or by a leader that is removed.
//!
//! ZooKeeper does it in a reconfiguration only, by naming a *designated leader* whom everybody follows without an election.
//! Here the election stays, and is decided beforehand:
//!
//! 1. The leader takes no more proposals, so that its history has an end.
//! 2. When the heir has acknowledged all of it, the leader tells its followers whom to vote for (HANDOVER), and gives up.
//! 3. Everyone's first vote in the round that follows is for the heir, and of equal histories that vote is the best one,
//!    whatever the ids. The heir is elected in one exchange, and begins a new epoch as any leader does.
//! 4. Who asked is told when another leader is known here.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | not before the heir has everything, and no proposals meanwhile | a better history wins the election |
//! | a vote for the heir is worth more only among equal histories | the history that was promised is lost, or discovery fails |
//! | the word is good for a while, and only as long as the heir is connected | a heir that died is voted for for ever |
//! | given up when the heir is not level in time, or gone | a leader that takes nothing, for ever |
//!
//! No safety rests on it: discovery compares histories again.

use std::cmp::{Ordering, Reverse};

use common::mutant;
use common::protocol::{Effect, Refusal};
use common::trace::TraceBody;
use common::types::{Member, Micros, NodeId};

use crate::core::{Fx, GiveUp, Local, Outcome, Zab};
use crate::message::{Message, Vote, Zxid, history};
use crate::recovery::follower::Following;
use crate::recovery::leader::{Leading, Progress};

/// A transfer under way; also for the time between the end of this node's office and the word of the next leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    id: u64,
    to: NodeId,
    /// The epoch in which this node led.
    epoch: u64,
    /// When it is given up.
    due: Micros,
    /// HANDOVER was sent.
    told: bool,
}

/// Whom to vote for, on a leader's word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Designated {
    vote: Vote,
    until: Micros,
}

impl Local {
    /// Whom this node has told to take office, while it waits for what comes of it.
    pub(crate) fn heir_told(&self) -> Option<NodeId> {
        self.handover.filter(|h| h.told).map(|h| h.to)
    }

    /// What was said about whom to vote for, if it still counts.
    pub(crate) fn designated(&self) -> Option<Vote> {
        let reachable = |d: &Designated| d.vote.leader == self.id || self.connected(d.vote.leader);
        self.designated.filter(|d| self.now < d.until && reachable(d)).map(|d| d.vote)
    }

    /// Which of two votes is the better one. The greatest `(peerEpoch, zxid, id)`; of equal histories the designated one.
    pub(crate) fn prefer(&self, a: Vote, b: Vote) -> Ordering {
        let designated = self.designated();
        let is = |v: Vote| designated.is_some_and(|d| d == v);
        history(a, b).then(is(a).cmp(&is(b))).then(a.cmp(&b))
    }

    fn designate(&mut self, to: NodeId, epoch: u64, zxid: Zxid) {
        let vote = Vote { peer_epoch: epoch, zxid, votes: true, leader: to };
        self.designated = Some(Designated { vote, until: self.now.after(self.config.init_limit()) });
    }

    /// Whom this leader hands its office to.
    pub(crate) fn handing_over(&self) -> Option<NodeId> {
        self.handover.filter(|h| !h.told).map(|h| h.to)
    }
}

impl Leading {
    /// Begins to hand leadership over, or says why not.
    pub(crate) fn transfer(&mut self, me: &mut Local, id: u64, to: Option<NodeId>, fx: &mut Fx) -> Outcome {
        let to = match self.heir(me, to) {
            Ok(to) => to,
            Err(why) => {
                fx.mark("zab/transfer#transfer.refused");
                fx.push(Effect::TransferAnswer { id, answer: Err(why) });
                return Ok(());
            }
        };
        fx.trace("zab/transfer#transfer", "ZooKeeper designated leader", || note("transfer_begins", to));
        me.handover =
            Some(Handover { id, to, epoch: self.epoch, due: me.now.after(me.config.sync_limit()), told: false });
        self.tell_heir(me, fx)
    }

    /// Whom to hand leadership to: the one that was named, or whoever has acknowledged most.
    fn heir(&self, me: &Local, to: Option<NodeId>) -> Result<NodeId, Refusal> {
        if !self.established() {
            return Err(Refusal::NotLeader { leader: None });
        }
        if let Some(Handover { to, .. }) = me.handover {
            return Err(Refusal::Transferring { to });
        }
        let no = |why: String| Err(Refusal::NotTransferred(why));
        let Some(to) = to else {
            return self.best_heir(me).map_or_else(|| no("no other voter is level".to_owned()), Ok);
        };
        match self.learners.get(to).filter(|_| me.members.may_lead(to)) {
            Some(l) if l.progress == Progress::Synced => Ok(to),
            Some(_) => no(format!("{to} is not level")),
            None if to == me.id => no(format!("{to} leads already")),
            None if me.members.may_lead(to) => no(format!("there is no session with {to}")),
            None if me.members.votes(to) => no(format!("the vote of {to} weighs nothing")),
            None => no(format!("{to} is not a voter")),
        }
    }

    fn best_heir(&self, me: &Local) -> Option<NodeId> {
        let can = self.learners.iter().filter(|(id, l)| me.members.may_lead(*id) && l.progress == Progress::Synced);
        can.max_by_key(|(id, l)| (l.acked, Reverse(*id))).map(|(id, _)| id)
    }

    /// Gives the office up as soon as the heir has everything.
    #[inline]
    pub(crate) fn tell_heir(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        if me.handover.is_some() { self.tell_heir_if_level(me, fx) } else { Ok(()) }
    }

    fn tell_heir_if_level(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        let Some(Handover { to, .. }) = me.handover.filter(|h| !h.told && self.established()) else { return Ok(()) };
        let last = me.log.last();
        // An ACK of NEWLEADER covers what was sent before it; whoever has acknowledged nothing since has no less.
        let level = self.learners.get(to).is_some_and(|l| l.progress == Progress::Synced && l.acked >= last);
        if !(level && me.committed == last || mutant!("Z55")) {
            fx.mark("zab/transfer#tell_heir.not_level");
            return Ok(());
        }
        let due = me.now.after(me.config.init_limit());
        me.handover.iter_mut().for_each(|h| (h.told, h.due) = (true, due));
        self.hand_over(me, to, fx);
        Err(GiveUp("it hands its office over"))
    }

    fn hand_over(&self, me: &mut Local, to: NodeId, fx: &mut Fx) {
        let (epoch, zxid) = (self.epoch, me.log.last());
        fx.trace("zab/transfer#hand_over", "ZooKeeper designated leader", || note("hands_over", to));
        me.designate(to, epoch, zxid);
        for (id, l) in self.learners.iter().filter(|(_, l)| l.member == Member::Voter && l.progress == Progress::Synced)
        {
            fx.send(id, Message::HandOver { attempt: l.info.attempt, to, zxid });
        }
    }

    /// This leader does not vote any more: whoever has most may take over at once.
    pub(crate) fn leave_office(&self, me: &mut Local, fx: &mut Fx) {
        if let Some(heir) = self.best_heir(me) {
            self.hand_over(me, heir, fx);
        }
    }
}

impl Following {
    /// HANDOVER: the leader gives up, and says who is to come.
    pub(crate) fn on_hand_over(&mut self, me: &mut Local, to: NodeId, zxid: Zxid, fx: &mut Fx) -> Outcome {
        if !self.in_broadcast() {
            return Err(self.broke(me, "HANDOVER before UPTODATE", fx));
        }
        fx.mark("zab/transfer#on_hand_over");
        me.designate(to, self.epoch, zxid);
        // It says so itself, with its next notification; until then nobody must find that it still leads.
        if let Some(session) = me.sessions.get_mut(self.leader) {
            session.heard = None;
        }
        Err(GiveUp("its leader hands over"))
    }
}

impl Zab {
    /// Whether somebody who asked for a transfer can be told how it went.
    #[inline]
    pub(crate) fn look_at_handover(&mut self, fx: &mut Fx) {
        if self.me.handover.is_some() {
            self.end_handover(fx);
        }
    }

    fn end_handover(&mut self, fx: &mut Fx) {
        let Some(Handover { id, to, epoch, due, told }) = self.me.handover else { return };
        let (led, serves) = (self.me.hard.current_epoch, self.leader());
        let answer = match (told, serves) {
            (true, Some(leader)) if led > epoch => {
                Some(if leader == to { Ok(to) } else { Err(Refusal::LeaderChanged) })
            }
            (false, leader) if leader != Some(self.me.id) || led != epoch => Some(Err(Refusal::LeaderChanged)),
            (false, _) if !self.me.connected(to) => Some(Err(no(to, "has lost its session"))),
            _ if self.me.now >= due => {
                let what = if told { "did not take office in time" } else { "did not become level in time" };
                Some(Err(no(to, what)))
            }
            _ => None,
        };
        let Some(answer) = answer else { return };
        fx.mark(if answer.is_ok() {
            "zab/transfer#look_at_handover.done"
        } else {
            "zab/transfer#look_at_handover.failed"
        });
        self.me.handover = None;
        fx.push(Effect::TransferAnswer { id, answer });
    }

    /// When a transfer is given up.
    pub(crate) fn handover_due(&self) -> Option<Micros> {
        self.me.handover.map(|h| h.due)
    }
}

fn no(to: NodeId, what: &str) -> Refusal {
    Refusal::NotTransferred(format!("{to} {what}"))
}

fn note(key: &'static str, node: NodeId) -> TraceBody {
    TraceBody::Note { key, args: vec![("node", node.0.into())] }
}
