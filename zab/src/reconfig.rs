//! Changing who belongs to the ensemble while it works, after ZooKeeper's dynamic reconfiguration (Shraer, Reed, Malkhi and
//! Junqueira, USENIX ATC 2012).
//!
//! A change is a proposal that holds the old and the new voters. From the moment it is proposed until it is committed
//! everything takes a quorum of each: commits, and if the leader is lost, promises, NEWLEADER and votes. When it is
//! committed, the leader proposes the new voters alone. ZooKeeper says that in a message, COMMITANDACTIVATE, and each node
//! writes it to a file; here it is an entry of the log, so that a node that was away finds it where it finds everything else.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | a node goes by the last membership in its log, committed or not | two quorums that share nobody |
//! | if that entry is cut off again, by the one before it | a node counts by what never was |
//! | one change at a time: the last must be committed | two changes that do not know of each other |
//! | both quorums from proposal to commit, whatever changes | two leaders, one for each set |
//! | any leader proposes the new voters alone, not only the one that began the change | both quorums are needed for ever (ZOOKEEPER-1699 is a leader that looked at one of them only) |
//! | a leader that does not vote any more, or whose vote weighs nothing, does not count itself, and leads until that is committed | a commit without a quorum; nobody who could commit it |
//! | who votes and weighs nothing follows, and neither stands for election nor is handed leadership | one that nobody counts leads |
//! | who is left out by what it does not know to be committed may stand for election | the only one with the whole history does not stand, and nobody else can win |
//! | what a learner is, its leader says, in LEADERINFO | who was promoted and does not know it promises nothing, and is counted |
//! | an observer that becomes a voter is sent what is in flight before the change | a hole in its history |
//! | a vote that names a better history is taken over by anybody, for anybody | who was away, or was promoted and does not know it, does not vote, and nobody is elected |
//! | a leader that knows of later members is believed without a quorum of settled votes | who was away counts by those who were there then, and finds nobody |
//! | only who is level becomes a voter, and only if a quorum of the new voters is level | nothing is lost; nothing is committed until they are |
//!
//! A follower that does not vote any more keeps its stream until its attempt is over, and is not counted; then it is an
//! observer like any other.

use common::entries::{Batch, Entries, EntryKind};
use common::membership::{MemberChange, Members, Membership};
use common::mutant;
use common::protocol::{Effect, Hindrance, Refusal};
use common::quorum::{Change, Configuration};
use common::trace::TraceBody;
use common::types::{Member, Micros, NodeId};

use crate::broadcast::next_zxid;
use crate::core::{Fx, GiveUp, Local, Outcome};
use crate::message::{Message, Zxid};
use crate::recovery::follower::Following;
use crate::recovery::leader::{Leading, Progress};

/// Whether a node may vote and follow: also if its last membership leaves it out, as long as it does not know that to be
/// committed.
pub(crate) fn may_vote(members: &Members, id: NodeId) -> bool {
    in_any(members, |c| c.votes(id))
}

/// Whether a node may stand for election, likewise. Who votes and weighs nothing may not (ZooKeeper's hierarchical quorums):
/// a majority of the weight is known to have the whole history, and it need not be in it.
pub(crate) fn may_stand(members: &Members, id: NodeId) -> bool {
    in_any(members, |c| c.may_lead(id))
}

fn in_any(members: &Members, holds: impl Fn(&Configuration) -> bool) -> bool {
    holds(&members.now().configuration) || members.earlier().any(|m| holds(&m.configuration))
}

/// A change that was asked of this leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changing {
    id: u64,
    /// The entry whose commitment completes it.
    at: Zxid,
}

impl Local {
    /// A run was appended to the log: what it says about members is in force at once.
    pub(crate) fn adopt(&mut self, run: &Entries, fx: &mut Fx) {
        if !self.members.read(run) {
            return;
        }
        let text = self.members.now().to_string();
        fx.trace("zab/reconfig#adopt", "ZooKeeper reconfig", || TraceBody::Note {
            key: "members",
            args: vec![("members", text.into())],
        });
        if self.members.now().configuration.is_joint() {
            fx.mark("zab/reconfig#adopt.joint");
        }
    }
}

impl Leading {
    /// Begins to change who belongs, or says why not.
    pub(crate) fn change(&mut self, me: &mut Local, id: u64, changes: &[MemberChange], fx: &mut Fx) -> Outcome {
        let membership = match self.changed(me, changes) {
            Ok(membership) => membership,
            Err(why) => {
                fx.mark("zab/reconfig#change.refused");
                self.summon(me, changes, fx);
                fx.push(Effect::ChangeAnswer { id, answer: Err(Some(why)) });
                return Ok(());
            }
        };
        self.changing = Some(Changing { id, at: Zxid::new(u64::MAX, u64::MAX) });
        self.propose_members(me, &membership, fx)
    }

    /// Those who are to become voters and are fed by somebody else are asked to come here: only a leader can tell that
    /// somebody is level.
    fn summon(&self, me: &Local, changes: &[MemberChange], fx: &mut Fx) {
        for change in changes {
            if let Change::Voter(id) = change.change
                && self.established()
                && me.connected(id)
                && !self.learners.contains(id)
            {
                fx.mark("zab/reconfig#summon");
                fx.send(id, Message::Summon { epoch: self.epoch });
            }
        }
    }

    /// The membership after these changes, if they may be made now.
    fn changed(&self, me: &Local, changes: &[MemberChange]) -> Result<Membership, Refusal> {
        if !self.established() {
            return Err(Refusal::NotLeader { leader: None });
        }
        if let Some(to) = me.handing_over() {
            return Err(Refusal::Transferring { to });
        }
        let no = |why: String| Err(Refusal::NotChanged(Hindrance::NotYet(why)));
        if me.members.at() > me.committed && !mutant!("Z50") {
            return no("another change is under way, try again".to_owned());
        }
        let made = match me.members.now().with_both(changes) {
            Ok(made) if mutant!("Z51") => made.leave_joint().unwrap_or(made),
            Ok(made) => made,
            Err(why) => return Err(Refusal::NotChanged(why.into())),
        };
        let level = |id: NodeId| {
            // An observer reports what it has received each eighth of this.
            let room = me.config.queue_max_bytes / 2;
            self.learners.get(id).is_some_and(|l| l.progress == Progress::Synced && l.unreceived() <= room)
        };
        for voter in made.configuration.voters().ids().iter().filter(|id| !me.members.votes(**id)) {
            if !level(*voter) {
                return no(format!("{voter} is not level with the leader, so it cannot become a voter"));
            }
        }
        if !made.configuration.is_quorum(|id| id == me.id || level(id)) {
            return no(format!("no quorum of {made} is level with the leader"));
        }
        Ok(made)
    }

    fn propose_members(&mut self, me: &mut Local, membership: &Membership, fx: &mut Fx) -> Outcome {
        let Some(at) = next_zxid(me.log.last(), self.epoch, 1, me.config.counter_max) else {
            return Err(GiveUp("the epoch's counters are used up"));
        };
        let Some(run) = Entries::new(at, EntryKind::Membership, Batch::single(membership.encode())) else {
            return Ok(());
        };
        if let Some(changing) = &mut self.changing {
            changing.at = at;
        }
        self.promote(me, membership, fx);
        self.broadcast(me, run, fx)?;
        // A quorum of fewer may have more.
        self.try_commit(me, fx)
    }

    /// Those who become voters are followers from here on: they get what is not committed yet, and then the change.
    fn promote(&mut self, me: &Local, membership: &Membership, fx: &mut Fx) {
        let rises = |id: NodeId, member| member == Member::Observer && membership.configuration.votes(id);
        for (id, l) in self.learners.iter_mut().filter(|(id, l)| rises(*id, l.member)) {
            fx.mark("zab/reconfig#promote");
            l.member = Member::Voter;
            l.received_weight = l.sent_weight;
            for run in me.log.cached(l.sent, me.log.last()).unwrap_or_default() {
                if !mutant!("Z52") {
                    l.send_proposal(id, &run, fx);
                }
            }
        }
    }

    /// This leader has committed something, perhaps a change.
    pub(crate) fn members_committed(&mut self, me: &mut Local, fx: &mut Fx) -> Outcome {
        if me.members.at() > me.committed || self.relays.is_some() {
            return Ok(());
        }
        let configuration = &me.members.now().configuration;
        if configuration.is_joint() && configuration.auto_leave() {
            let mine = me.members.at().epoch == self.epoch;
            if !mine {
                fx.mark("zab/reconfig#members_committed.begun_by_another");
            }
            return match me.members.now().leave_joint() {
                Ok(left) if mine || !mutant!("Z53") => self.propose_members(me, &left, fx),
                _ => Ok(()),
            };
        }
        let committed = me.committed;
        if let Some(Changing { id, at }) = self.changing.take_if(|c| c.at <= committed) {
            fx.push(Effect::ChangeAnswer { id, answer: Ok(at) });
        }
        if me.members.may_lead(me.id) || mutant!("Z54") {
            return Ok(());
        }
        fx.mark("zab/reconfig#members_committed.leaves_office");
        self.leave_office(me, fx);
        Err(GiveUp("this leader does not vote any more, or its vote weighs nothing"))
    }

    /// This node leads no more: what becomes of a change is for others to decide.
    pub(crate) fn forget_change(&mut self, fx: &mut Fx) {
        if let Some(Changing { id, .. }) = self.changing.take() {
            fx.mark("zab/reconfig#forget_change");
            fx.push(Effect::ChangeAnswer { id, answer: Err(None) });
        }
    }
}

impl Following {
    /// The leader asks an observer that somebody else feeds to come to it, and not to leave it soon.
    pub(crate) fn on_summon(&self, me: &mut Local, from: NodeId, epoch: u64, fx: &mut Fx) -> Outcome {
        if from != self.head || from == self.leader || epoch != self.epoch || !self.in_broadcast() {
            return Ok(());
        }
        fx.mark("zab/reconfig#on_summon");
        me.direct_until = me.now.after(Micros(me.config.init_limit().0 * 10));
        Err(GiveUp("the leader wants it for itself"))
    }

    /// A PROPOSAL comes to an observer: its leader counts it from now on. It has promised this epoch like any follower, when
    /// it acknowledged NEWLEADER.
    pub(crate) fn promoted(&mut self, me: &mut Local, fx: &mut Fx) {
        fx.mark("zab/reconfig#promoted");
        self.forget_unreported();
        self.take_role(me, true, fx);
    }
}
