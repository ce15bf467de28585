//! What a node's own log says about who belongs.

use std::borrow::Cow;

use super::Membership;
use crate::entries::{Entries, EntryKind};
use crate::log::LogView;
use crate::mutant;
use crate::quorum::{Configuration, Voters};
use crate::types::{LogId, Member, NodeId};

/// The memberships that a node's log holds, as far as they may still matter. The last of them is in force, committed or
/// not, and the one before it when that entry is cut off again (Raft section 6, thesis 4.1).
#[derive(Debug)]
pub struct Members {
    /// The last one known to be committed, and its entry; zero for what the settings said.
    firm: (LogId, Membership),
    /// Those of later entries, in order.
    later: Vec<(LogId, Membership)>,
}

impl Members {
    /// As a node starts: `firm` where its snapshot ends, and what follows in the log.
    pub fn new(firm: (LogId, Membership), snapshot: LogId, log: &LogView) -> Self {
        let mut members = Self { firm, later: Vec::new() };
        for run in log.cached(snapshot, log.last()).unwrap_or_default() {
            members.read(&run);
        }
        members
    }

    /// Takes in the memberships of a run at the log's end. Whether there was one.
    #[inline]
    pub fn read(&mut self, run: &Entries) -> bool {
        run.kind() == EntryKind::Membership && self.read_members(run)
    }

    #[cold]
    fn read_members(&mut self, run: &Entries) -> bool {
        let before = self.later.len();
        self.later.extend(run.iter().filter_map(|(at, payload)| Some((at, Membership::decode(payload)?))));
        self.later.len() > before
    }

    /// The log was cut after `after`.
    pub fn cut(&mut self, after: LogId) {
        self.later.retain(|(at, _)| *at <= after);
    }

    /// Everything up to `upto` is committed.
    #[inline]
    pub fn committed(&mut self, upto: LogId) {
        // Nearly always.
        if !self.later.is_empty() {
            self.settle(upto);
        }
    }

    fn settle(&mut self, upto: LogId) {
        let firm = self.later.partition_point(|(at, _)| *at <= upto);
        if let Some(last) = self.later.drain(..firm).next_back() {
            self.firm = last;
        }
    }

    /// The log starts with a snapshot now, which says `membership`, and nothing follows it. (Some of what followed may have
    /// an earlier epoch and a later counter, so it is not for its place to say whether it is gone.)
    pub fn reset(&mut self, membership: Option<(LogId, Membership)>) {
        self.later.clear();
        self.found(membership);
    }

    /// A snapshot says so, of what is committed.
    pub fn found(&mut self, membership: Option<(LogId, Membership)>) {
        if let Some(membership) = membership {
            self.firm = membership;
        }
    }

    /// The membership in force.
    pub fn now(&self) -> &Membership {
        self.later.last().map_or(&self.firm.1, |(_, membership)| membership)
    }

    /// The entry that says so.
    pub fn at(&self) -> LogId {
        self.later.last().map_or(self.firm.0, |(at, _)| *at)
    }

    /// The entry of the last one that is known to be committed; zero for the settings.
    pub fn firm(&self) -> LogId {
        self.firm.0
    }

    /// Those that are in force again if the last one, or more, are cut off.
    pub fn earlier(&self) -> impl Iterator<Item = &Membership> {
        let firm = (!self.later.is_empty()).then_some(&self.firm);
        self.later.iter().rev().skip(1).chain(firm).map(|(_, membership)| membership)
    }

    /// Whether a node votes, in either set.
    pub fn votes(&self, id: NodeId) -> bool {
        self.now().configuration.votes(id)
    }

    /// Whether a node may be elected: it votes, and weighs something.
    pub fn may_lead(&self, id: NodeId) -> bool {
        self.now().configuration.may_lead(id)
    }

    /// Whether a node is mentioned at all.
    pub fn belongs(&self, id: NodeId) -> bool {
        self.votes(id) || self.now().configuration.learners().contains(&id)
    }

    /// What a node is to the cluster.
    pub fn member(&self, id: NodeId) -> Member {
        self.now().member(id)
    }

    /// Whether it is the only voter.
    pub fn is_only(&self, id: NodeId) -> bool {
        let configuration = &self.now().configuration;
        configuration.voters().ids() == [id] && !configuration.is_joint()
    }

    /// The voters other than `me`, of either set, each once.
    pub fn others(&self, me: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let configuration = &self.now().configuration;
        let outgoing = configuration.outgoing().others(me).filter(|id| !configuration.voters().contains(*id));
        configuration.voters().others(me).chain(outgoing)
    }

    /// Whether those that satisfy `has` form a quorum: of each set, while it is joint.
    pub fn is_quorum(&self, has: impl FnMut(NodeId) -> bool) -> bool {
        self.counted().is_quorum(has)
    }

    /// Whether they form a quorum of the membership in force, or of one that is in force again if the log is cut.
    pub fn may_be_quorum(&self, mut has: impl FnMut(NodeId) -> bool) -> bool {
        self.is_quorum(&mut has) || self.earlier().any(|membership| membership.configuration.is_quorum(&mut has))
    }

    /// What a quorum has reached.
    pub fn reached<T: Ord + Copy + Default>(&self, reached: impl FnMut(NodeId) -> T) -> T {
        self.counted().reached(reached)
    }

    /// What decides. Oracles ask the membership itself, so that a mutant here does not bite them.
    fn counted(&self) -> Cow<'_, Configuration> {
        let now = &self.now().configuration;
        if mutant!("C47") {
            return Cow::Owned(now.without_groups());
        }
        if mutant!("C48") && now.is_joint() {
            return Cow::Owned(now.without_weights());
        }
        Cow::Borrowed(now)
    }

    /// The new one of two sets that are joint, or the only one.
    pub fn new_voters(&self) -> &Voters {
        self.now().configuration.voters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::Batch;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn of(ids: &[NodeId]) -> Membership {
        Membership::of_ids(ids.iter().copied())
    }

    fn entry(at: LogId, voters: &[NodeId]) -> Entries {
        Entries::new(at, EntryKind::Membership, Batch::single(of(voters).encode())).unwrap()
    }

    fn id(epoch: u64, counter: u64) -> LogId {
        LogId::new(epoch, counter)
    }

    fn three() -> Members {
        Members::new((LogId::ZERO, of(&[A, B, C])), LogId::ZERO, &LogView::new(LogId::ZERO, 1 << 20))
    }

    /// openraft#1808: an uncommitted one of an earlier term, with a later index.
    #[test]
    fn a_snapshot_takes_the_place_of_what_it_replaces() {
        let mut members = three();
        members.read(&entry(id(1, 9), &[A]));
        members.reset(None);
        assert_eq!(members.now(), &of(&[A, B, C]));
        members.read(&entry(id(2, 9), &[A]));
        members.committed(id(2, 7));
        members.found(Some((id(2, 6), of(&[B, C]))));
        assert_eq!(members.now(), &of(&[A]), "the log goes on with it");
        members.cut(id(2, 8));
        assert_eq!(members.now(), &of(&[B, C]));
    }

    #[test]
    fn the_last_one_is_in_force_and_the_one_before_it_when_it_is_cut_off() {
        let mut members = three();
        assert!(!members.read(&Entries::noop(id(1, 1))));
        assert!(members.read(&entry(id(1, 2), &[A, B])) && members.read(&entry(id(1, 4), &[A])));
        assert_eq!((members.now(), members.at()), (&of(&[A]), id(1, 4)));
        let earlier: Vec<_> = members.earlier().cloned().collect();
        assert_eq!(earlier, [of(&[A, B]), of(&[A, B, C])]);
        members.committed(id(1, 3));
        members.cut(id(1, 2));
        assert_eq!((members.now(), members.at(), members.earlier().count()), (&of(&[A, B]), id(1, 2), 0));
    }
}
