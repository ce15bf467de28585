//! Who belongs, as every node's log says it, found out here a second time: R-CONF and Z-CONF.

use std::collections::BTreeMap;

use super::subject::Violation;
use crate::entries::{Entries, EntryKind};
use crate::log::LogView;
use crate::membership::{Members, Membership};
use crate::quorum::{Configuration, Voters};
use crate::types::{LogId, NodeId};

/// A node, as far as it matters here.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Who.
    pub id: NodeId,
    /// Its log.
    pub log: &'a LogView,
    /// What it goes by.
    pub members: &'a Members,
    /// What it knows to be committed.
    pub committed: LogId,
    /// Whether it leads, and has committed nothing of its own epoch, or of what it began that with.
    pub unproven: bool,
    /// Whether something is committed, as far as the world knows. Nothing (zero) always is.
    pub is_committed: &'a dyn Fn(LogId) -> bool,
}

/// The memberships that ever stood in a log.
#[derive(Debug)]
pub struct Memberships {
    /// The oracle that speaks.
    oracle: &'static str,
    /// Before any entry.
    first: Membership,
    said: BTreeMap<LogId, Membership>,
    /// Those that were appended in this turn, and what was in force before each.
    new: Vec<(LogId, LogId)>,
}

impl Memberships {
    /// Before anything was changed, for the oracle of this name.
    pub fn new(oracle: &'static str, voters: &Voters) -> Self {
        let first = Membership::of_ids(voters.ids().iter().copied());
        Self { oracle, first, said: BTreeMap::new(), new: Vec::new() }
    }

    /// What there was before any change.
    pub fn first(&self) -> &Membership {
        &self.first
    }

    /// Whether an entry was seen before.
    pub fn knows(&self, at: LogId) -> bool {
        self.said.contains_key(&at)
    }

    fn hold(&self, v: View<'_>, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(Violation::new(self.oracle, format!("{}: {}", v.id, what()))) }
    }

    /// The last one in a node's log up to `upto`, and its entry. What lies below the log's base is committed.
    fn in_log(&self, v: View<'_>, upto: LogId) -> (LogId, &Membership) {
        let base = v.log.base();
        let has = |id: LogId| (id <= base && (v.is_committed)(id)) || v.log.contains(id);
        let last = self.said.range(..=upto).rev().find(|(id, _)| has(**id));
        last.map_or((LogId::ZERO, &self.first), |(id, membership)| (*id, membership))
    }

    /// What a node has to go by.
    pub fn of(&self, v: View<'_>) -> &Membership {
        self.in_log(v, v.log.last()).1
    }

    /// Whether a quorum `has` what a node commits, whose log ended at `last` before its turn. What it went by then decides,
    /// or what it appended in this turn: the next membership comes only when the last one is committed, by its own rule.
    pub fn commits(&self, v: View<'_>, last: LogId, has: impl Fn(NodeId, LogId) -> bool) -> bool {
        let (at, before) = self.in_log(v, last);
        let quorum = |members: &Membership, id: LogId| members.configuration.is_quorum(|node| has(node, id));
        let firm = || (v.is_committed)(at) || v.committed >= at && quorum(before, at);
        quorum(before, v.committed) || firm() && quorum(self.of(v), v.committed)
    }

    /// Whether it goes by that.
    pub fn look(&self, v: View<'_>) -> Result<(), Violation> {
        // Most worlds never change anything.
        if self.said.is_empty() && v.members.at() == LogId::ZERO {
            return Ok(());
        }
        let (at, should) = self.in_log(v, v.log.last());
        let is = v.members.now();
        self.hold(v, is == should, || format!("goes by {is}; its log says {should}, at {at}"))
    }

    /// An entry is new to the world. When it may come is for [`in_time`](Self::in_time) to say, when it is clear what is
    /// committed.
    pub fn appended(&mut self, v: View<'_>, run: &Entries, (at, payload): (LogId, &[u8])) -> Result<(), Violation> {
        if run.kind() != EntryKind::Membership {
            return Ok(());
        }
        let Some(next) = Membership::decode(payload) else {
            return self.hold(v, false, || format!("{at} is no membership"));
        };
        let (prev_at, prev) = self.in_log(v, LogId::new(at.epoch, at.counter - 1));
        let (from, to) = (&prev.configuration, &next.configuration);
        let what = || format!("{at} says {to} after {from}: their quorums may share nobody");
        let legal = self.hold(v, follows(from, to), what);
        self.new.push((at, prev_at));
        self.said.insert(at, next);
        legal
    }

    /// Whether what was appended in this turn was in time: after the last one was committed, and something of the own epoch.
    pub fn in_time(&mut self, v: View<'_>) -> Result<(), Violation> {
        let mut found = Ok(());
        for (at, prev) in std::mem::take(&mut self.new) {
            let what = || format!("changes members at {at}, and the last change, {prev}, is not committed");
            found = found.and(self.hold(v, (v.is_committed)(prev), what));
            let what = || format!("changes members at {at}, and has committed nothing of its epoch");
            found = found.and(self.hold(v, !v.unproven, what));
        }
        found
    }
}

/// Whether every quorum of one shares a node with every quorum of the other. Where voters do not count the same, or are to,
/// no step is small enough to be made without both.
fn follows(from: &Configuration, to: &Configuration) -> bool {
    let heads = from.voters().is_plain() && to.voters().is_plain();
    let lacks = |a: &Voters, b: &Voters| a.ids().iter().filter(|id| !b.contains(**id)).count();
    let differ = |a: &Voters, b: &Voters| lacks(a, b) + lacks(b, a);
    match (from.is_joint(), to.is_joint()) {
        (false, false) => from.voters() == to.voters() || heads && differ(from.voters(), to.voters()) <= 1,
        (false, true) => to.outgoing() == from.voters(),
        (true, false) => to.voters() == from.voters(),
        (true, true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::Batch;
    use crate::quorum::Change;

    const ME: NodeId = NodeId(1);

    fn id(epoch: u64, counter: u64) -> LogId {
        LogId::new(epoch, counter)
    }

    fn of(ids: &[u64]) -> Membership {
        Membership::of_ids(ids.iter().copied().map(NodeId))
    }

    fn entry(at: LogId, membership: &Membership) -> Entries {
        Entries::new(at, EntryKind::Membership, Batch::single(membership.encode())).unwrap()
    }

    /// A node whose log is (1,1), (2,2), both committed, and then these.
    struct Node {
        log: LogView,
        members: Members,
        unproven: bool,
    }

    impl Node {
        fn new() -> Self {
            let mut log = LogView::new(LogId::ZERO, 1 << 20);
            log.append(Entries::noop(id(1, 1)));
            log.append(Entries::noop(id(2, 2)));
            let members = Members::new((LogId::ZERO, of(&[1, 2, 3])), LogId::ZERO, &log);
            Self { log, members, unproven: false }
        }

        fn append(&mut self, at: LogId, next: &Membership) {
            let run = entry(at, next);
            self.members.read(&run);
            self.log.append(run);
        }

        fn view(&self) -> View<'_> {
            View {
                id: ME,
                log: &self.log,
                members: &self.members,
                committed: id(2, 2),
                unproven: self.unproven,
                is_committed: &|at| at <= id(2, 2),
            }
        }

        fn appends(&self, known: &mut Memberships, at: LogId, next: &Membership) -> bool {
            let run = entry(at, next);
            let legal = known.appended(self.view(), &run, (at, run.payload(0)));
            legal.and(known.in_time(self.view())).is_ok()
        }
    }

    fn known() -> Memberships {
        Memberships::new("X-CONF", &Voters::new([1, 2, 3].map(NodeId)))
    }

    #[test]
    fn steps_whose_quorums_share_a_node() {
        let (node, mut known) = (Node::new(), known());
        let mut one = |next: &Membership| node.appends(&mut known, id(2, 3), next);
        assert!(one(&of(&[1, 2, 3, 4])) && one(&of(&[1, 2])));
        assert!(!one(&of(&[1, 2, 4])), "one comes and one goes");
        let changes = [Change::Voter(NodeId(4)), Change::Remove(NodeId(1))];
        let joint = of(&[1, 2, 3]).configuration.enter_joint(true, &changes).unwrap();
        let joint = Membership { configuration: joint, ..Membership::default() };
        assert!(one(&joint));
        let other = of(&[1, 2, 5]).configuration.enter_joint(true, &changes).unwrap();
        assert!(!one(&Membership { configuration: other, ..Membership::default() }));
        let left = |from: &Membership, to: &Membership| follows(&from.configuration, &to.configuration);
        assert!(left(&joint, &of(&[2, 3, 4])) && !left(&joint, &of(&[1, 2, 3])) && !left(&joint, &joint));
    }

    #[test]
    fn what_voters_count_changes_with_both_quorums_only() {
        let weighed = |start: &Membership, id: u64, weight: u32, group: Option<u32>| {
            start.configuration.enter_joint(true, &[Change::Weight { id: NodeId(id), weight, group }]).unwrap()
        };
        let plain = of(&[1, 2, 3]);
        for joint in [weighed(&plain, 1, 2, None), weighed(&plain, 1, 1, Some(1)), weighed(&plain, 1, 0, None)] {
            let left = joint.leave_joint().unwrap();
            assert!(follows(&plain.configuration, &joint) && follows(&joint, &left));
            assert!(!follows(&plain.configuration, &left) && !follows(&left, &plain.configuration), "{left}");
            assert!(!follows(&joint, &plain.configuration));
            // With a learner more it is the same; with a voter less it is not.
            assert!(follows(&left, &left.simple(&[Change::Learner(NodeId(4))]).unwrap()));
            let fewer = left.enter_joint(true, &[Change::Remove(NodeId(3))]).unwrap();
            assert!(follows(&left, &fewer) && !follows(&left, &fewer.leave_joint().unwrap()));
            // The old voters of a joint one must count as they did.
            let other = weighed(&of(&[1, 2, 3]), 2, 5, None);
            assert!(!follows(&left, &other));
        }
    }

    #[test]
    fn one_at_a_time_and_only_by_a_leader_that_has_committed() {
        let (mut node, mut known) = (Node::new(), known());
        assert!(node.appends(&mut known, id(2, 3), &of(&[1, 2, 3, 4])));
        node.append(id(2, 3), &of(&[1, 2, 3, 4]));
        assert!(!node.appends(&mut known, id(2, 4), &of(&[1, 2, 3, 4, 5])), "(2,3) is not committed");
        let fresh = Node { unproven: true, ..Node::new() };
        assert!(!fresh.appends(&mut known, id(2, 3), &of(&[1, 2, 3, 4])), "nothing of its epoch is");
    }

    #[test]
    fn a_node_goes_by_its_log() {
        let (mut node, mut known) = (Node::new(), known());
        known.look(node.view()).unwrap();
        node.append(id(2, 3), &of(&[1, 2, 3, 4]));
        assert!(known.look(node.view()).is_err(), "nobody has shown that entry yet");
        assert!(node.appends(&mut known, id(2, 3), &of(&[1, 2, 3, 4])));
        known.look(node.view()).unwrap();
        node.members.cut(id(2, 2));
        assert!(known.look(node.view()).is_err());
    }
}
