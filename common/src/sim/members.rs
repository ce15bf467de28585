//! Who belongs to the simulated cluster, as the world sees it: by what is committed, and by what nodes go by meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Make, Target};
use super::subject::{Subject, Violation};
use super::world::World;
use crate::client::wire::{Answer, Ask};
use crate::entries::{Entries, EntryKind};
use crate::membership::{MemberChange, Membership};
use crate::protocol::Refusal;
use crate::quorum::{Change, Configuration, Share, Voters};
use crate::types::{LogId, NodeId};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Members {
    /// Before any change.
    first: Membership,
    /// Every committed entry that says who belongs.
    committed: BTreeMap<LogId, Membership>,
    /// Everyone who votes or ever did, by anybody's log: what is on its disk may have been promised to somebody.
    ever_voted: BTreeSet<NodeId>,
    /// Changes that were answered as made: by which entry, and what was asked.
    made: Vec<(LogId, Vec<Change>)>,
    /// A voter may be on its way out: it was asked for, and not refused.
    leaving: bool,
    /// What was answered last.
    pub(super) answer: Option<Result<LogId, Option<Refusal>>>,
}

impl Members {
    pub(super) fn new(voters: &Voters) -> Self {
        Self {
            first: Membership::of_ids(voters.ids().iter().copied()),
            committed: BTreeMap::new(),
            ever_voted: voters.ids().iter().copied().collect(),
            made: Vec::new(),
            leaving: false,
            answer: None,
        }
    }

    /// These entries are committed, and new to the world.
    pub(super) fn committed(&mut self, run: &Entries) {
        if run.kind() == EntryKind::Membership {
            self.committed.extend(run.iter().filter_map(|(at, payload)| Some((at, Membership::decode(payload)?))));
        }
    }

    /// Who belongs by what is committed.
    pub(super) fn now(&self) -> &Membership {
        self.committed.last_key_value().map_or(&self.first, |(_, membership)| membership)
    }

    /// A node goes by this.
    pub(super) fn seen(&mut self, membership: &Membership) {
        let both = [membership.configuration.voters(), membership.configuration.outgoing()];
        self.ever_voted.extend(both.iter().flat_map(|half| half.ids()));
    }

    /// Whether a node never had a vote that could be forgotten.
    pub(super) fn never_voted(&self, id: NodeId) -> bool {
        !self.ever_voted.contains(&id)
    }

    /// Whether a node voted once and does not belong any more.
    pub(super) fn removed(&self, id: NodeId) -> bool {
        self.ever_voted.contains(&id) && !self.now().configuration.members().contains(&id)
    }

    /// At the end: what was answered as changed is so, by the entry that was named.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        for (at, changes) in &self.made {
            let found = self.committed.get(at).map(|m| &m.configuration);
            let done = found.is_some_and(|c| {
                !c.is_joint()
                    && changes.iter().enumerate().all(|(i, change)| {
                        // Of one node, the last word counts.
                        let again = changes[i + 1..].iter().any(|later| later.node() == change.node());
                        again || holds(c, *change)
                    })
            });
            if !done {
                let found = found.map_or_else(|| "is not committed".to_owned(), |c| format!("says {c}"));
                let what = format!("members were said to be changed ({changes:?}) by {at}, which {found}");
                return Err(Violation::new("C-ANS", what));
            }
        }
        Ok(())
    }
}

fn holds(c: &Configuration, change: Change) -> bool {
    match change {
        Change::Voter(id) => c.voters().contains(id),
        Change::Learner(id) => c.learners().contains(&id),
        Change::Remove(id) => !c.members().contains(&id),
        Change::Weight { id, weight, group } => c.voters().share(id).is_some_and(|share| {
            u32::from(share.weight) == weight && group.is_none_or(|group| u32::from(share.group) == group)
        }),
    }
}

impl<P: Subject> World<'_, P> {
    /// The operator asks for other members.
    pub(super) fn ask_change(&mut self, make: &[(Make, Target)]) {
        let mut list = Vec::new();
        for (make, target) in make {
            let Some(host) = self.resolve(*target) else { continue };
            let id = self.hosts[host].id;
            // Weights are for voters, and nobody can say beforehand who that will be.
            if matches!(make, Make::Weighing(_)) && !self.members.now().configuration.voters().contains(id) {
                continue;
            }
            list.push(match *make {
                Make::Voter => Change::Voter(id),
                Make::Learner => Change::Learner(id),
                Make::Gone => Change::Remove(id),
                Make::Weighing(Share { weight, group }) => {
                    Change::Weight { id, weight: weight.into(), group: Some(group.into()) }
                }
            });
        }
        self.order_change(&list);
    }

    fn order_change(&mut self, list: &[Change]) {
        let leaves = list.iter().any(|change| !matches!(change, Change::Voter(_)));
        if list.is_empty() || leaves && !self.may_leave(list) {
            return;
        }
        let address = |id: NodeId| Some(id.to_string());
        let changes = list.iter().map(|change| match *change {
            Change::Voter(id) | Change::Learner(id) => MemberChange { change: *change, address: address(id) },
            Change::Remove(_) | Change::Weight { .. } => MemberChange { change: *change, address: None },
        });
        let ask = Ask::Change { changes: changes.collect() };
        if self.order(ask, super::operator::Order::Change(list.to_vec())) {
            self.members.leaving |= leaves;
        }
    }

    /// Where disks may lose what they had confirmed, so many voters must stay that no such disk decides alone; and nobody is
    /// taken away while it is not known what became of the last who was.
    fn may_leave(&self, list: &[Change]) -> bool {
        if !self.plan.faults.iter().any(|timed| timed.fault.destroys()) {
            return true;
        }
        // One that weighs much may be a quorum, and its disk may be the one that loses what it had.
        if list.iter().any(|change| matches!(change, Change::Weight { .. })) {
            return false;
        }
        let Some(running) = self.leading().and_then(|host| self.hosts[host].running.as_ref()) else { return false };
        let now = &running.replica.core().membership().1.configuration;
        let left = now.enter_joint(true, list).map_or(0, |joint| joint.voters().ids().len());
        !self.members.leaving && left >= 2
    }

    /// A change was answered, or its connection ended.
    pub(super) fn change_answered(&mut self, asked: &[Change], answer: Option<&Answer>) -> Result<(), Violation> {
        match answer {
            Some(Answer::Refused(why)) => {
                self.members.leaving = false;
                self.members.answer = Some(Err(Some(why.clone())));
                Ok(())
            }
            Some(Answer::Changed { at }) => {
                if self.healed.is_none() {
                    self.bit("change");
                }
                self.members.leaving = false;
                self.members.made.push((*at, asked.to_vec()));
                self.members.answer = Some(Ok(*at));
                Ok(())
            }
            Some(Answer::Unknown) => {
                self.members.answer = Some(Err(None));
                Ok(())
            }
            other => {
                let other = other.map_or("the end of the connection", Answer::name);
                Err(Violation::new("C-ANS", format!("a change of members was answered {other}")))
            }
        }
    }

    /// Who counts, by anybody who runs: where some quorum is not to be had, perhaps nothing can be decided any more.
    pub(super) fn memberships(&self) -> Vec<&Membership> {
        let running = self.hosts.iter().filter_map(|h| h.running.as_ref());
        let mut all = vec![self.members.now()];
        for membership in running.map(|r| r.replica.core().membership().1) {
            if !all.contains(&membership) {
                all.push(membership);
            }
        }
        all
    }

    /// L7: when all is well, every change that was asked for is answered, and the members can be changed, where that is offered.
    pub(super) fn can_change(&mut self, unit: u64) -> Result<(), String> {
        if !self.until(20 * unit, |w| !w.members.now().configuration.is_joint()) {
            return Err(format!("the members stay joint: {}", self.members.now()));
        }
        let mut said = Vec::new();
        for _ in 0..super::operator::ATTEMPTS {
            let Some(change) = self.some_change() else { return Ok(()) };
            self.members.answer = None;
            self.order_change(&[change]);
            self.until(20 * unit, |w| w.orders_open() == 0);
            match &self.members.answer {
                Some(Ok(_) | Err(Some(Refusal::Unsupported(_)))) => return Ok(()),
                other => said.push(other.clone()),
            }
            self.let_pass(unit);
        }
        Err(format!("the members cannot be changed: {said:?}"))
    }

    /// A change that must be possible: one voter more, or one less, so that a quorum of those that are left runs.
    fn some_change(&self) -> Option<Change> {
        let now = &self.members.now().configuration;
        let runs = |id: NodeId| self.hosts.iter().any(|h| h.id == id && h.running.is_some());
        let more =
            self.hosts.iter().map(|h| h.id).filter(|id| runs(*id) && !now.voters().contains(*id)).map(Change::Voter);
        let less = now.voters().ids().iter().rev().map(|id| Change::Learner(*id));
        // One that was removed and does not know it need not be connected.
        let more = more.filter(|change| !self.members.removed(change.node()));
        let less = less.filter(|change| self.may_leave(&[*change]));
        let made = |change: &Change| now.simple(&[*change]).or_else(|_| now.enter_joint(true, &[*change]));
        more.chain(less).find(|change| made(change).is_ok_and(|made| made.is_quorum(runs)))
    }
}
