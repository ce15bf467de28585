//! What must hold in every state (figure 3), written down so that it can be checked.
//!
//! [`check`] looks at one node. Debug builds call it after every step, and a node that fails it halts. [`Oracle`] looks at a
//! whole cluster, as only a test or a simulator can: show it each node after each step.
//!
//! | name | what it says |
//! | --- | --- |
//! | R-ES | Election Safety: at most one leader in a term |
//! | R-LAO | Leader Append-Only: a leader only ever appends to its log |
//! | R-LM | Log Matching: an index and term name one entry, with one predecessor |
//! | R-LC | Leader Completeness: what is committed is in the log of every later leader |
//! | R-SMS | State Machine Safety: an index is committed with one entry only, for ever |
//! | R-CT | a leader commits by counting only at an entry of its own term |
//! | R-DUR | what a leader commits is durable on a quorum of voters |
//! | R-IDX | nextIndex > matchIndex; matchIndex only grows in a term |
//! | R-MONO | term and commitIndex never go back while a node runs |
//! | R-ORD | the marks of one log are in order: base, snapshot, applied, committed, last |

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use common::entries::Entries;
use common::types::{LogId, Member, NodeId};

use crate::core::{Raft, State};

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} on {node}: {what}")]
pub struct Violation {
    /// Its name.
    pub rule: &'static str,
    /// On which node it shows.
    pub node: NodeId,
    /// What was found.
    pub what: String,
}

/// What holds in every state of a single node.
pub fn check(raft: &Raft) -> Result<(), Violation> {
    let r = Rules(raft.id);
    let (base, last) = (raft.log.base(), raft.log.last());
    let marks = [base, raft.snapshot, raft.applied, raft.committed, last];
    r.hold("R-ORD", marks.is_sorted(), || format!("base, snapshot, applied, committed, last = {marks:?}"))?;
    r.hold("R-ORD", raft.durable <= last, || format!("durable {} after the last {last}", raft.durable))?;
    for (name, id) in [("snapshot", raft.snapshot), ("committed", raft.committed), ("durable", raft.durable)] {
        let what = || format!("{name} {id} is not in the log {:?} after {base}", raft.log.spans());
        r.hold("R-ORD", raft.log.contains(id), what)?;
    }
    r.hold("R-MONO", last.epoch <= raft.hard.term, || format!("{last} is of a later term than {}", raft.hard.term))?;
    match &raft.state {
        State::Leader(_) => check_leader(raft, r)?,
        State::Follower(f) => {
            r.hold("R-LM", raft.log.contains(f.verified), || format!("verified {} is not in the log", f.verified))?;
            let promised = raft.durable.min(f.verified);
            r.hold("R-DUR", f.acked <= promised, || format!("acknowledged {}, has {promised}", f.acked))?;
            r.hold("R-SMS", raft.committed <= f.verified, || format!("committed more than {} verified", f.verified))?;
        }
        State::PreCandidate(votes) | State::Candidate(votes) => {
            let strangers: Vec<_> = votes.iter().filter(|id| !raft.voters.contains(*id)).collect();
            r.hold("R-ES", strangers.is_empty(), || format!("counts the votes of {strangers:?}"))?;
            r.hold("R-ES", raft.member == Member::Voter, || "a learner stands for election".to_owned())?;
        }
    }
    if let State::Candidate(_) | State::Leader(_) = raft.state {
        let vote = raft.hard.voted_for;
        r.hold("R-ES", vote == Some(raft.id), || format!("stands for election but voted for {vote:?}"))?;
    }
    Ok(())
}

fn check_leader(raft: &Raft, r: Rules) -> Result<(), Violation> {
    let State::Leader(leader) = &raft.state else { return Ok(()) };
    let (last, base) = (raft.log.last(), raft.log.base());
    r.hold("R-ES", raft.member == Member::Voter && raft.unsaved == 0, || "leads without a durable vote".to_owned())?;
    r.hold("R-CT", leader.noop.epoch == raft.hard.term, || format!("began with {}", leader.noop))?;
    r.hold("R-CT", last >= leader.noop, || format!("its log ends at {last}, before {}", leader.noop))?;
    for p in &leader.peers {
        let (has, sent) = (p.matched, p.sent);
        r.hold("R-IDX", has <= sent && sent <= last, || format!("{}: match {has}, sent {sent}, last {last}", p.id))?;
        let known = has < base || raft.log.contains(has);
        r.hold("R-IDX", known, || format!("{} matches at {has}, which is not in the log", p.id))?;
        let (messages, _) = p.in_flight();
        let limit = raft.config.max_inflight_messages;
        r.hold("R-IDX", messages <= limit, || format!("{}: {messages} messages in flight", p.id))?;
        let counted = p.member == Member::Voter;
        r.hold("R-ES", counted == raft.voters.contains(p.id), || format!("{} is counted wrongly", p.id))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Rules(NodeId);

impl Rules {
    fn hold(self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(Violation { rule, node: self.0, what: what() }) }
    }
}

/// What is known of one node from the last look.
#[derive(Debug, Default)]
struct Seen {
    term: u64,
    leads: bool,
    committed: LogId,
    durable: LogId,
    last: LogId,
    matched: BTreeMap<NodeId, LogId>,
}

/// Sees every node after every step, and remembers what was ever elected, written and committed.
#[derive(Debug, Default)]
pub struct Oracle {
    leaders: BTreeMap<u64, NodeId>,
    /// Every entry ever seen in a log: its predecessor and what it holds.
    entries: BTreeMap<LogId, (LogId, u64)>,
    /// By index: what was committed there, and its number is its index less one.
    committed: Vec<LogId>,
    nodes: BTreeMap<NodeId, Seen>,
}

impl Oracle {
    /// The node was started again from its disk: what it only remembered is gone.
    pub fn restarted(&mut self, raft: &Raft) {
        let last = raft.log.last();
        self.nodes.insert(raft.id, Seen { last, durable: last, committed: raft.snapshot, ..Seen::default() });
    }

    /// Every id committed so far, in order; the first has index 1.
    pub fn committed(&self) -> &[LogId] {
        &self.committed
    }

    /// The terms that had a leader, and who it was.
    pub fn leaders(&self) -> &BTreeMap<u64, NodeId> {
        &self.leaders
    }

    /// Looks at every node that runs, after any number of steps.
    pub fn observe_all<'a>(&mut self, nodes: impl IntoIterator<Item = &'a Raft>) -> Result<(), Violation> {
        let nodes: Vec<&Raft> = nodes.into_iter().collect();
        for raft in &nodes {
            self.nodes.entry(raft.id).or_default().durable = raft.durable;
        }
        nodes.into_iter().try_for_each(|raft| self.observe(raft))
    }

    /// Looks at a node after a step.
    pub fn observe(&mut self, raft: &Raft) -> Result<(), Violation> {
        check(raft)?;
        let r = Rules(raft.id);
        let leads = matches!(raft.state, State::Leader(_));
        let term = raft.hard.term;
        let seen = self.nodes.remove(&raft.id).unwrap_or_default();
        r.hold("R-MONO", term >= seen.term, || format!("term {term} after {}", seen.term))?;
        let commit = raft.committed;
        r.hold("R-MONO", commit >= seen.committed, || format!("commit {commit} after {}", seen.committed))?;
        let still_leads = leads && seen.leads && seen.term == term;
        if still_leads {
            r.hold("R-LAO", raft.log.contains(seen.last), || format!("{} is gone", seen.last))?;
        }
        if leads {
            let first = *self.leaders.entry(term).or_insert(raft.id);
            r.hold("R-ES", first == raft.id, || format!("leads term {term}, which {first} led"))?;
        }
        self.look_at_entries(raft, r, &seen)?;
        let matched = Self::look_at_peers(raft, r, &seen, still_leads)?;
        let now = Seen { term, leads, committed: commit, durable: raft.durable, last: raft.log.last(), matched };
        self.nodes.insert(raft.id, now);
        if commit > seen.committed {
            self.look_at_commit(raft, r, &seen, still_leads)?;
        }
        if leads && let Some(newest) = self.committed.last().filter(|id| id.epoch <= term) {
            let has = raft.log.base() >= *newest || raft.log.contains(*newest);
            r.hold("R-LC", has, || format!("leads term {term} without {newest}, which is committed"))?;
        }
        Ok(())
    }

    fn look_at_entries(&mut self, raft: &Raft, r: Rules, seen: &Seen) -> Result<(), Violation> {
        if raft.log.last() == seen.last {
            return Ok(());
        }
        let mut prev = raft.log.floor(seen.committed).unwrap_or(raft.log.base());
        for run in raft.log.cached(prev, raft.log.last()).unwrap_or_default() {
            for i in 0..run.len() {
                let (id, holds) = (run.first().plus(i as u64), hash(&run, i));
                let known = *self.entries.entry(id).or_insert((prev, holds));
                let what = || format!("{id} after {prev} differs from {id} after {} elsewhere", known.0);
                r.hold("R-LM", known == (prev, holds), what)?;
                prev = id;
            }
        }
        Ok(())
    }

    fn look_at_peers(
        raft: &Raft,
        r: Rules,
        seen: &Seen,
        still_leads: bool,
    ) -> Result<BTreeMap<NodeId, LogId>, Violation> {
        let State::Leader(leader) = &raft.state else { return Ok(BTreeMap::new()) };
        // Sums over queues: too dear for every step of a debug build, so they are checked here only.
        let sum: usize = leader.uncommitted.iter().map(|(_, cost)| cost).sum();
        r.hold("R-ORD", sum == leader.uncommitted_bytes, || format!("{sum} uncommitted bytes"))?;
        for p in &leader.peers {
            let (_, bytes) = p.in_flight();
            r.hold("R-IDX", p.in_flight_sum() == bytes, || format!("{}: {bytes} bytes in flight", p.id))?;
        }
        for p in leader.peers.iter().filter(|p| still_leads && p.member == Member::Voter) {
            let before = seen.matched.get(&p.id).copied().unwrap_or_default();
            r.hold("R-IDX", p.matched >= before, || format!("match of {} went back from {before}", p.id))?;
        }
        Ok(leader.peers.iter().map(|p| (p.id, p.matched)).collect())
    }

    fn look_at_commit(&mut self, raft: &Raft, r: Rules, seen: &Seen, still_leads: bool) -> Result<(), Violation> {
        let commit = raft.committed;
        if still_leads {
            r.hold("R-CT", commit.epoch == raft.hard.term, || format!("commits {commit} in term {}", raft.hard.term))?;
            let durable = |id| self.nodes.get(&id).is_some_and(|n| n.durable >= commit);
            r.hold("R-DUR", raft.voters.is_quorum(durable), || format!("{commit} is not durable on a quorum"))?;
        }
        for index in seen.committed.counter + 1..=commit.counter {
            let Some(id) = raft.log.at(index) else { continue };
            match self.committed.get(index as usize - 1) {
                Some(was) => r.hold("R-SMS", *was == id, || format!("commits {id} where {was} was committed"))?,
                None if self.committed.len() as u64 + 1 == index => self.committed.push(id),
                None => r.hold("R-SMS", false, || format!("commits {id}, which no leader committed"))?,
            }
        }
        Ok(())
    }
}

fn hash(run: &Entries, i: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (run.kind() as u8, run.payload(i)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use common::entries::{Batch, EntryKind};

    use super::*;
    use crate::core::Leader;
    use crate::testing::{A, B, C, Lab, id};

    /// Shows the oracle these nodes, one after the other; which rule it finds broken.
    fn sees(nodes: &[&Raft]) -> Option<&'static str> {
        let mut oracle = Oracle::default();
        nodes.iter().find_map(|raft| oracle.observe(raft).err()).map(|v| v.rule)
    }

    fn leader(terms: &[u64]) -> Lab {
        let mut lab = Lab::new(terms).connected();
        lab.lead();
        lab
    }

    #[test]
    fn one_node_that_is_wrong_in_itself() {
        type Break = fn(&mut Raft);
        let broken: [(&str, Break); 6] = [
            ("R-ORD", |raft| raft.committed = id(9, 9)),
            ("R-ORD", |raft| raft.durable = id(1, 9)),
            ("R-MONO", |raft| raft.hard.term = 0),
            ("R-SMS", |raft| raft.committed = id(1, 2)),
            ("R-DUR", |raft| {
                let State::Follower(f) = &mut raft.state else { panic!() };
                f.acked = id(1, 2);
            }),
            ("R-LM", |raft| {
                let State::Follower(f) = &mut raft.state else { panic!() };
                f.verified = id(1, 7);
            }),
        ];
        for (rule, breaks) in broken {
            let mut lab = Lab::new(&[1, 1]);
            assert_eq!(check(&lab.raft), Ok(()));
            breaks(&mut lab.raft);
            assert_eq!(check(&lab.raft).map_err(|v| v.rule), Err(rule));
        }
    }

    #[test]
    fn a_leader_that_is_wrong_in_itself() {
        type Break = fn(&mut Leader);
        let broken: [(&str, Break); 4] = [
            ("R-IDX", |l| l.peers[0].matched = id(2, 3)),
            ("R-IDX", |l| l.peers[0].sent = id(2, 9)),
            ("R-ES", |l| l.peers[0].member = Member::Observer),
            ("R-CT", |l| l.noop = id(1, 2)),
        ];
        for (rule, breaks) in broken {
            let mut lab = leader(&[1, 1]);
            assert_eq!(check(&lab.raft), Ok(()));
            let State::Leader(l) = &mut lab.raft.state else { panic!() };
            breaks(l);
            assert_eq!(check(&lab.raft).map_err(|v| v.rule), Err(rule));
        }
        let mut lab = leader(&[1]);
        lab.raft.hard.voted_for = Some(B);
        assert_eq!(check(&lab.raft).map_err(|v| v.rule), Err("R-ES"));
    }

    #[test]
    fn two_leaders_of_one_term() {
        let (a, mut b) = (leader(&[1]), leader(&[1]));
        assert_eq!(sees(&[&a.raft]), None);
        (b.raft.id, b.raft.hard.voted_for) = (B, Some(B));
        assert_eq!(sees(&[&a.raft, &b.raft]), Some("R-ES"));
    }

    #[test]
    fn one_id_two_entries_or_two_predecessors() {
        let (a, mut b) = (Lab::new(&[1, 2]), Lab::new(&[1]));
        b.raft.id = B;
        let other = Entries::new(id(2, 2), EntryKind::Command, Batch::from_payloads(&["other"])).unwrap();
        b.raft.log.append(other);
        b.raft.hard.term = 2;
        assert_eq!(sees(&[&a.raft, &b.raft]), Some("R-LM"));
        let mut c = Lab::new(&[2, 2]);
        c.raft.id = C;
        assert_eq!(sees(&[&a.raft, &c.raft]), Some("R-LM"));
    }

    fn committed(who: NodeId, terms: &[u64], upto: LogId) -> Lab {
        let mut lab = Lab::new(terms);
        lab.raft.id = who;
        lab.raft.committed = upto;
        lab.raft.state = State::Follower(crate::core::Follower::new(None, lab.now, upto));
        lab
    }

    #[test]
    fn two_commits_at_one_index_and_a_commit_out_of_nothing() {
        let (a, b) = (committed(A, &[1, 2], id(2, 2)), committed(B, &[1, 3], id(3, 2)));
        assert_eq!(sees(&[&a.raft]), None);
        assert_eq!(sees(&[&a.raft, &b.raft]), Some("R-SMS"));
    }

    #[test]
    fn a_leader_without_what_is_committed() {
        let a = committed(A, &[1, 1], id(1, 2));
        let mut b = leader(&[1]);
        (b.raft.id, b.raft.hard.voted_for) = (B, Some(B));
        // Its no-op has the index, and is another entry.
        assert_eq!(sees(&[&a.raft, &b.raft]), Some("R-LC"));
    }

    #[test]
    fn going_back() {
        let mut oracle = Oracle::default();
        let mut lab = committed(A, &[1, 1], id(1, 2));
        oracle.observe(&lab.raft).unwrap();
        lab.raft.committed = id(1, 1);
        assert_eq!(oracle.observe(&lab.raft).map_err(|v| v.rule), Err("R-MONO"));

        let mut oracle = Oracle::default();
        let mut lab = leader(&[1]);
        lab.matched(B, id(1, 1));
        oracle.observe(&lab.raft).unwrap();
        let State::Leader(l) = &mut lab.raft.state else { panic!() };
        l.peers[0].matched = LogId::ZERO;
        assert_eq!(oracle.observe(&lab.raft).map_err(|v| v.rule), Err("R-IDX"));
    }

    #[test]
    fn commits_that_nothing_stands_behind() {
        for (upto, rule) in [(id(1, 1), "R-CT"), (id(2, 2), "R-DUR")] {
            let mut oracle = Oracle::default();
            let mut lab = leader(&[1]);
            oracle.observe(&lab.raft).unwrap();
            lab.raft.committed = upto;
            assert_eq!(oracle.observe(&lab.raft).map_err(|v| v.rule), Err(rule));
        }
    }
}
