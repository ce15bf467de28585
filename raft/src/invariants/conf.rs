//! R-CONF: who belongs, as every node's log says it, found out here a second time.

use std::collections::BTreeMap;

use common::entries::{Entries, EntryKind};
use common::membership::Membership;
use common::quorum::{Configuration, Voters};
use common::sim::subject::Violation;
use common::types::{LogId, NodeId};

use super::Rules;
use crate::core::{Raft, State};

/// The memberships that ever stood in a log.
#[derive(Debug)]
pub(super) struct Memberships {
    /// Before any entry.
    first: Membership,
    said: BTreeMap<LogId, Membership>,
    /// Those that were appended in this turn, and what was in force before each.
    new: Vec<(LogId, LogId)>,
}

impl Memberships {
    pub(super) fn new(voters: &Voters) -> Self {
        Self { first: Membership::of_ids(voters.ids().iter().copied()), said: BTreeMap::new(), new: Vec::new() }
    }

    /// What there was before any change.
    pub(super) fn first(&self) -> &Membership {
        &self.first
    }

    /// The last one in a node's log up to `upto`, and its entry. What lies below the log's base is committed.
    fn in_log(&self, raft: &Raft, committed: &[LogId], upto: LogId) -> (LogId, &Membership) {
        let base = raft.log.base();
        let has = |id: LogId| {
            let below = id.counter <= base.counter && is_committed(committed, id);
            below || raft.log.contains(id)
        };
        let last = self.said.range(..=upto).rev().find(|(id, _)| has(**id));
        last.map_or((LogId::ZERO, &self.first), |(id, membership)| (*id, membership))
    }

    /// What a node has to go by.
    pub(super) fn of(&self, raft: &Raft, committed: &[LogId]) -> &Membership {
        self.in_log(raft, committed, raft.log.last()).1
    }

    /// Whether a quorum `has` what a node commits, whose log ended at `last` before its turn. What it went by then decides,
    /// or what it appended in this turn: the next membership comes only when the last one is committed, by its own rule.
    pub(super) fn commits(
        &self,
        raft: &Raft,
        committed: &[LogId],
        last: LogId,
        has: impl Fn(NodeId, LogId) -> bool,
    ) -> bool {
        let (at, before) = self.in_log(raft, committed, last);
        let quorum = |members: &Membership, id: LogId| members.configuration.is_quorum(|node| has(node, id));
        let firm = || is_committed(committed, at) || raft.committed >= at && quorum(before, at);
        quorum(before, raft.committed) || firm() && quorum(self.of(raft, committed), raft.committed)
    }

    /// Whether it goes by that.
    pub(super) fn look(&self, raft: &Raft, committed: &[LogId]) -> Result<(), Violation> {
        // Most worlds never change anything.
        if self.said.is_empty() && raft.members.at() == LogId::ZERO {
            return Ok(());
        }
        let (at, should) = self.in_log(raft, committed, raft.log.last());
        let is = raft.members.now();
        Rules(raft.id).hold("R-CONF", is == should, || format!("goes by {is}; its log says {should}, at {at}"))
    }

    /// An entry is new to the world. When it may come is for [`in_time`](Self::in_time) to say, when it is clear what is committed.
    pub(super) fn appended(
        &mut self,
        raft: &Raft,
        run: &Entries,
        (at, payload): (LogId, &[u8]),
        committed: &[LogId],
    ) -> Result<(), Violation> {
        if run.kind() != EntryKind::Membership {
            return Ok(());
        }
        let r = Rules(raft.id);
        let Some(next) = Membership::decode(payload) else {
            return r.hold("R-CONF", false, || format!("{at} is no membership"));
        };
        let before = LogId::new(at.epoch, at.counter - 1);
        let (prev_at, prev) = self.in_log(raft, committed, before);
        let (from, to) = (&prev.configuration, &next.configuration);
        let what = || format!("{at} says {to} after {from}: their quorums may share nobody");
        let legal = r.hold("R-CONF", follows(from, to), what);
        self.new.push((at, prev_at));
        self.said.insert(at, next);
        legal
    }

    /// Whether what was appended in this turn was in time: after the last one was committed, and something of the own term.
    pub(super) fn in_time(&mut self, raft: &Raft, committed: &[LogId]) -> Result<(), Violation> {
        let r = Rules(raft.id);
        let mut found = Ok(());
        for (at, prev) in self.new.drain(..) {
            let what = || format!("changes members at {at}, and the last change, {prev}, is not committed");
            found = found.and(r.hold("R-CONF", is_committed(committed, prev), what));
            let own = !matches!(raft.state, State::Leader(_)) || raft.committed.epoch == raft.hard.term;
            let what = || format!("changes members at {at}, and has committed nothing of its term");
            found = found.and(r.hold("R-CONF", own, what));
        }
        found
    }
}

/// Whether it is; and whether there is anything to be committed.
fn is_committed(committed: &[LogId], id: LogId) -> bool {
    id == LogId::ZERO || committed.get(id.counter as usize - 1) == Some(&id)
}

/// Whether every quorum of one shares a node with every quorum of the other.
fn follows(from: &Configuration, to: &Configuration) -> bool {
    let lacks = |a: &Voters, b: &Voters| a.ids().iter().filter(|id| !b.contains(**id)).count();
    let differ = |a: &Voters, b: &Voters| lacks(a, b) + lacks(b, a);
    match (from.is_joint(), to.is_joint()) {
        (false, false) => differ(from.voters(), to.voters()) <= 1,
        (false, true) => to.outgoing() == from.voters(),
        (true, false) => to.voters() == from.voters(),
        (true, true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{A, B, C, Lab, id};
    use common::entries::Batch;
    use common::protocol::Input;
    use common::quorum::Change;

    fn of(ids: &[u64]) -> Membership {
        Membership::of_ids(ids.iter().copied().map(NodeId))
    }

    fn entry(at: LogId, membership: &Membership) -> Entries {
        Entries::new(at, EntryKind::Membership, Batch::single(membership.encode())).unwrap()
    }

    /// A leader of term 2 that has committed its no-op, and what is committed.
    fn leader() -> (Lab, [LogId; 2]) {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.matched(B, id(2, 2));
        (lab, [id(1, 1), id(2, 2)])
    }

    fn appends(lab: &Lab, known: &mut Memberships, at: LogId, next: &Membership, committed: &[LogId]) -> bool {
        let run = entry(at, next);
        let legal = known.appended(&lab.raft, &run, (at, run.payload(0)), committed);
        legal.and(known.in_time(&lab.raft, committed)).is_ok()
    }

    #[test]
    fn steps_whose_quorums_share_a_node() {
        let (lab, committed) = leader();
        let mut known = Memberships::new(&Voters::new([A, B, C]));
        let mut one = |next: &Membership| appends(&lab, &mut known, id(2, 3), next, &committed);
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
    fn one_at_a_time_and_only_by_a_leader_that_has_committed() {
        let (lab, committed) = leader();
        let mut known = Memberships::new(&Voters::new([A, B, C]));
        assert!(appends(&lab, &mut known, id(2, 3), &of(&[1, 2, 3, 4]), &committed));
        let mut longer = Lab::new(&[1]).connected();
        longer.lead();
        longer.raft.log.append(entry(id(2, 3), &of(&[1, 2, 3, 4])));
        assert!(!appends(&longer, &mut known, id(2, 4), &of(&[1, 2, 3, 4, 5]), &committed), "2,3 is not committed");
        let mut fresh = Lab::new(&[1]).connected();
        fresh.lead();
        assert!(!appends(&fresh, &mut known, id(2, 3), &of(&[1, 2, 3, 4]), &[]), "nothing of its term is");
    }

    #[test]
    fn a_node_goes_by_its_log() {
        let (mut lab, committed) = leader();
        let mut known = Memberships::new(&Voters::new([A, B, C]));
        known.look(&lab.raft, &committed).unwrap();
        lab.step(Input::PeerUp { peer: NodeId(4), member: common::types::Member::Observer });
        lab.matched(NodeId(4), id(2, 2));
        let change = common::membership::MemberChange { change: Change::Voter(NodeId(4)), address: Some("n4".into()) };
        lab.step(Input::Change { id: 1, changes: vec![change] });
        assert!(known.look(&lab.raft, &committed).is_err(), "nobody has shown that entry yet");
        assert!(appends(&lab, &mut known, id(2, 3), &of(&[1, 2, 3, 4]), &committed));
        known.look(&lab.raft, &committed).unwrap();
        lab.raft.members.cut(id(2, 2));
        assert!(known.look(&lab.raft, &committed).is_err());
    }
}
