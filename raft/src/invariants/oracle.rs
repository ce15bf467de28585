//! The rules that concern several nodes, or one node over time.
//!
//! Everything is looked at once: an entry when it appears in a log, a commit when it is made, a vote when it is on disk. So
//! a look costs as much as what is new since the last one.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use common::entries::Entries;
use common::membership::Membership;
use common::quorum::Voters;
use common::sim::conf::{Memberships, View};
use common::sim::subject::{self, Violation};
use common::sim::truth::Truth;
use common::types::{LogId, Member, Micros, NodeId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Rules, check, mend, vows};
use crate::core::{Hard, Raft, State};
use crate::message::Message;

/// What is durable on each node's disk, by id.
type Truths<'a> = &'a [(NodeId, Truth<Hard>)];

/// Sees every node after every turn, every message as it leaves, and the disks; remembers what was ever elected, written
/// and committed.
#[derive(Debug)]
pub struct Oracle {
    memberships: Memberships,
    leaders: BTreeMap<u64, NodeId>,
    /// By term, the votes that were ever durable: whose, and for whom.
    votes: BTreeMap<u64, Vec<(NodeId, NodeId)>>,
    /// Every entry ever seen in a log: its predecessor and a hash of what it holds.
    entries: BTreeMap<LogId, (LogId, u64)>,
    /// By index: what was committed there, and its number is its index less one.
    committed: Vec<LogId>,
    /// Questions for a read index that are not answered: who asked, its number, and how much was committed then.
    asked: BTreeMap<(NodeId, u64), u64>,
    /// By term, to whom its leader said TimeoutNow.
    told: BTreeSet<(u64, NodeId)>,
    nodes: BTreeMap<NodeId, Seen>,
}

/// What is known of one node from the last look.
#[derive(Debug, Default)]
struct Seen {
    /// The last hard state seen on its disk. The only thing here that a restart must not change.
    hard: Hard,
    term: u64,
    leads: bool,
    committed: LogId,
    /// The last entry of its log; everything up to it was looked at.
    last: LogId,
    /// What a leader knew of its voters, by id.
    matched: Vec<(NodeId, LogId)>,
    /// Who belonged, by its log, and which of its entries said so to it.
    members: Membership,
    members_at: Option<LogId>,
    /// It lost what it had acknowledged, and is not healed.
    mending: bool,
    /// It granted a pre-vote in this turn while its disk said so.
    granted: bool,
    /// Standing for election, and for which term.
    stands: Option<u64>,
    disk: Waits,
}

/// A disk that has something to do: since when it has finished nothing, and how things stood then.
#[derive(Debug, Default)]
struct Waits {
    since: Option<Micros>,
    at: (LogId, usize, LogId, Hard),
}

impl Oracle {
    /// Every id committed so far, in order; the first has index 1.
    pub fn committed(&self) -> &[LogId] {
        &self.committed
    }

    /// The terms that had a leader, and who it was.
    pub fn leaders(&self) -> &BTreeMap<u64, NodeId> {
        &self.leaders
    }

    /// Looks at a node after any number of steps. At everything, even if something is wrong: what is found later must make
    /// sense when a finding is passed over.
    fn look(&mut self, raft: &Raft, seen: &mut Seen, truths: Truths<'_>) -> Result<(), Violation> {
        let r = Rules(raft.id);
        let disk = of(truths, raft.id).map_or(Ok(()), |truth| self.look_at_disk(r, seen, truth));
        let granted = std::mem::take(&mut seen.granted);
        let (term, commit) = (raft.hard.term, raft.committed);
        let back = r.hold("R-MONO", term >= seen.term, || format!("term {term} after {}", seen.term));
        let was = (std::mem::replace(&mut seen.mending, raft.hard.mending), seen.term);
        let mono = r.hold("R-MONO", commit >= seen.committed, || format!("commit {commit} after {}", seen.committed));
        let leads = matches!(raft.state, State::Leader(_));
        let still_leads = leads && seen.leads && seen.term == term;
        let office = if still_leads {
            r.hold("R-LAO", raft.log.contains(seen.last), || format!("{} is gone", seen.last))
        } else if leads {
            self.look_at_election(raft, r, truths)
        } else {
            Ok(())
        };
        let stands = Self::look_at_standing(raft, r, seen, truths);
        let before = seen.last;
        let entries = self.look_at_entries(raft, r, seen);
        let commits = if commit > seen.committed {
            self.look_at_commit(raft, r, (seen.committed, before), still_leads, truths)
        } else {
            Ok(())
        };
        let known = is_committed(&self.committed);
        let v = view(raft, &known);
        let members = self.memberships.in_time(v).and(self.memberships.look(v));
        let peers = Self::look_at_peers(raft, r, seen, still_leads);
        let complete = match self.committed.last().filter(|id| leads && id.epoch <= term) {
            None => Ok(()),
            Some(newest) => {
                let has = raft.log.base() >= *newest || raft.log.contains(*newest);
                r.hold("R-LC", has, || format!("leads term {term} without {newest}, which is committed"))
            }
        };
        // Last, so that what this turn commits counts.
        let mends = of(truths, raft.id).map_or(Ok(()), |truth| mend::look(raft, was, granted, truth, &self.committed));
        (seen.term, seen.leads, seen.committed) = (term, leads, commit);
        if seen.members_at != Some(raft.members.at()) {
            seen.members_at = Some(raft.members.at());
            seen.members.clone_from(self.memberships.of(view(raft, &is_committed(&self.committed))));
        }
        let own = disk.and(mends).and(back).and(mono).and_then(|()| check(raft));
        own.and(office).and(stands).and(entries).and(members).and(peers).and(commits).and(complete)
    }

    /// Who stands for election has a disk that answers.
    fn look_at_standing(raft: &Raft, r: Rules, seen: &mut Seen, truths: Truths<'_>) -> Result<(), Violation> {
        let truth = of(truths, raft.id);
        let on_disk = truth.map_or((LogId::ZERO, Hard::default()), |t| (t.log.last(), t.hard.clone()));
        let at = (raft.durable, raft.unsaved, on_disk.0, on_disk.1);
        // A further write waits as well; that is not progress.
        let stood =
            seen.disk.at.1 <= at.1 && (&seen.disk.at.0, &seen.disk.at.2, &seen.disk.at.3) == (&at.0, &at.2, &at.3);
        seen.disk.since = match seen.disk.since {
            _ if raft.unsaved == 0 && raft.durable == raft.log.last() => None,
            Some(since) if stood => Some(since),
            _ => Some(raft.now),
        };
        seen.disk.at = at;
        let stands = matches!(raft.state, State::PreCandidate(_) | State::Candidate(_)).then_some(raft.hard.term);
        let begins = stands.is_some() && stands != std::mem::replace(&mut seen.stands, stands);
        let limit = raft.config.disk_stall_ms;
        let stalled = seen.disk.since.map(|since| raft.now.since(since)).filter(|_| limit > 0 && begins);
        r.hold("R-STALL", stalled.is_none_or(|span| span.0 <= limit * 1000), || {
            format!("stands for election in term {}; its disk has finished nothing for {stalled:?}", raft.hard.term)
        })
    }

    /// currentTerm never goes back on disk, and within a term a vote stays (section 5.2).
    fn look_at_disk(&mut self, r: Rules, seen: &mut Seen, truth: &Truth<Hard>) -> Result<(), Violation> {
        let is = &truth.hard;
        if seen.hard == *is {
            return Ok(());
        }
        let was = std::mem::replace(&mut seen.hard, is.clone());
        self.record_vote(r.0, is);
        r.hold("R-MONO", is.term >= was.term, || format!("on disk {is:?} after {was:?}"))?;
        let kept = is.term > was.term || was.voted_for.is_none();
        r.hold("R-ES", kept, || format!("on disk {is:?} after {was:?}"))
    }

    fn record_vote(&mut self, voter: NodeId, hard: &Hard) {
        if let Some(candidate) = hard.voted_for {
            let votes = self.votes.entry(hard.term).or_default();
            if !votes.contains(&(voter, candidate)) {
                votes.push((voter, candidate));
            }
        }
    }

    /// One leader in a term, by proof of votes.
    fn look_at_election(&mut self, raft: &Raft, r: Rules, truths: Truths<'_>) -> Result<(), Violation> {
        let term = raft.hard.term;
        let first = *self.leaders.entry(term).or_insert(raft.id);
        let only = r.hold("R-ES", first == raft.id, || format!("leads term {term}, which {first} led"));
        for (voter, truth) in truths {
            self.record_vote(*voter, &truth.hard);
        }
        let votes = self.votes.get(&term).map_or(&[][..], Vec::as_slice);
        let known = is_committed(&self.committed);
        let members = self.memberships.of(view(raft, &known));
        let elected = members.configuration.is_quorum(|id| votes.contains(&(id, raft.id)));
        only.and(r.hold("R-ES", elected, || format!("leads term {term} without a quorum of durable votes: {votes:?}")))
    }

    fn look_at_entries(&mut self, raft: &Raft, r: Rules, seen: &mut Seen) -> Result<(), Violation> {
        let last = raft.log.last();
        if last == seen.last {
            return Ok(());
        }
        // After a truncation, from where nothing is ever cut.
        let looked = if raft.log.contains(seen.last) { seen.last } else { seen.committed };
        let mut found = Ok(());
        let mut prev = raft.log.floor(looked).unwrap_or(raft.log.base());
        for run in raft.log.cached(prev, last).unwrap_or_default() {
            for (id, payload) in run.iter() {
                let holds = hash(&run, payload);
                let known = match self.entries.entry(id) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(place) => {
                        let known = is_committed(&self.committed);
                        found = found.and(self.memberships.appended(view(raft, &known), &run, (id, payload)));
                        *place.insert((prev, holds))
                    }
                };
                let what = || format!("{id} after {prev} differs from {id} after {} elsewhere", known.0);
                found = found.and(r.hold("R-LM", known == (prev, holds), what));
                prev = id;
            }
        }
        seen.last = last;
        found
    }

    fn look_at_peers(raft: &Raft, r: Rules, seen: &mut Seen, still_leads: bool) -> Result<(), Violation> {
        let State::Leader(leader) = &raft.state else { return Ok(()) };
        let voters = leader.peers.iter().filter(|p| p.member == Member::Voter);
        let mut found = Ok(());
        if still_leads {
            for p in voters.clone() {
                let Some((_, before)) = seen.matched.iter().find(|(id, _)| *id == p.id) else { continue };
                let what = || format!("match of {} went back from {before}", p.id);
                found = found.and(r.hold("R-IDX", p.matched >= *before, what));
            }
        }
        seen.matched.clear();
        seen.matched.extend(voters.map(|p| (p.id, p.matched)));
        found
    }

    /// What a node commits beyond what it had committed; its log ended at `last` before this turn.
    fn look_at_commit(
        &mut self,
        raft: &Raft,
        r: Rules,
        (before, last): (LogId, LogId),
        still_leads: bool,
        truths: Truths<'_>,
    ) -> Result<(), Violation> {
        let (commit, known, before) = (raft.committed, self.committed.len() as u64, before.counter);
        let new = commit.counter > known;
        let mut found = Ok(());
        if still_leads || new && matches!(raft.state, State::Leader(_)) {
            let what = || format!("commits {commit} in term {}", raft.hard.term);
            found = r.hold("R-CT", commit.epoch == raft.hard.term, what);
        }
        if new {
            let has = |node, id| of(truths, node).is_some_and(|truth| vows::held(truth, id));
            let committed = is_committed(&self.committed);
            let v = view(raft, &committed);
            let what = || format!("{commit} is not durable on a quorum of {}", self.memberships.of(v));
            found = found.and(r.hold("R-DUR", self.memberships.commits(v, last, has), what));
        }
        for index in before + 1..=commit.counter {
            let Some(id) = raft.log.at(index) else { continue };
            found = found.and(match self.committed.get(index as usize - 1) {
                Some(was) => r.hold("R-SMS", *was == id, || format!("commits {id} where {was} was committed")),
                None if self.committed.len() as u64 + 1 == index => {
                    self.committed.push(id);
                    Ok(())
                }
                None => r.hold("R-SMS", false, || format!("commits {id}, which no leader committed")),
            });
        }
        found
    }

    /// The read index of an answer is not before anything that was committed when the question left.
    fn look_at_read(&mut self, from: NodeId, to: NodeId, message: &Message) -> Result<(), Violation> {
        match message {
            Message::ReadIndex { context, .. } => {
                // A node that restarts counts from the start again. The older question of a number asks for less.
                self.asked.entry((from, *context)).or_insert(self.committed.len() as u64);
            }
            Message::ReadIndexReply { context, at, .. } => {
                if let (Some(least), Some(at)) = (self.asked.remove(&(to, *context)), at) {
                    let what =
                        || format!("a read index {at} for {to}, and {least} entries were committed before it asked");
                    Rules(from).hold("R-RD", at.counter >= least, what)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Oracle {
    /// TimeoutNow comes from the leader of its term and goes to a voter; who asks for votes on a leader's word was told so in
    /// the term before.
    fn look_at_transfer(&mut self, from: NodeId, to: NodeId, message: &Message) -> Result<(), Violation> {
        let r = Rules(from);
        match message {
            Message::TimeoutNow { term } => {
                self.told.insert((*term, to));
                let leads = self.leaders.get(term).is_none_or(|leader| *leader == from);
                let members = self.nodes.get(&from).map_or(self.memberships.first(), |seen| &seen.members);
                let good = leads && members.configuration.may_lead(to);
                r.hold("R-XFER", good, || {
                    format!("says {message:?} to {to}, which must be a voter that counts, and from its leader")
                })
            }
            Message::RequestVote { term, transfer: true, .. } => {
                let told = term.checked_sub(1).is_some_and(|before| self.told.contains(&(before, from)));
                r.hold("R-XFER", told, || format!("says {message:?}, and no leader of the term before wanted it"))
            }
            _ => Ok(()),
        }
    }
}

impl subject::Oracle<Raft> for Oracle {
    fn new(voters: &Voters) -> Self {
        Self {
            memberships: Memberships::new("R-CONF", voters),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: Vec::new(),
            asked: BTreeMap::new(),
            told: BTreeSet::new(),
            nodes: BTreeMap::new(),
        }
    }

    fn booted(&mut self, raft: &Raft, _: Member, truth: &Truth<Hard>) -> Result<(), Violation> {
        let r = Rules(raft.id);
        let hard = self.nodes.remove(&raft.id).unwrap_or_default().hard;
        let members = self.memberships.of(view(raft, &is_committed(&self.committed))).clone();
        let before = hard.clone();
        let mut seen = Seen { hard, members, ..Seen::default() };
        let disk = self.look_at_disk(r, &mut seen, truth);
        let (is, was) = (&raft.hard, &truth.hard);
        let what = || format!("starts with {is:?}, and {was:?} is on disk");
        let term = r.hold("R-MONO", is.term >= was.term, what);
        let vote = r.hold("R-ES", is.term != was.term || is.voted_for == was.voted_for, what);
        (seen.term, seen.committed, seen.mending) = (raft.hard.term, raft.committed, raft.hard.mending);
        self.nodes.insert(raft.id, seen);
        check(raft).and(mend::booted(raft, truth, &before)).and(disk).and(term).and(vote)
    }

    fn crashed(&mut self, node: NodeId) {
        if let Some(seen) = self.nodes.get_mut(&node) {
            *seen = Seen { hard: std::mem::take(&mut seen.hard), ..Seen::default() };
        }
    }

    fn replaced(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    fn turned(&mut self, raft: &Raft, _: Micros, truths: Truths<'_>) -> Result<(), Violation> {
        let mut seen = std::mem::take(self.nodes.entry(raft.id).or_default());
        let found = self.look(raft, &mut seen, truths);
        self.nodes.insert(raft.id, seen);
        found
    }

    fn sends(&mut self, from: NodeId, to: NodeId, message: &Message, truth: &Truth<Hard>) -> Result<(), Violation> {
        let read = self.look_at_read(from, to, message);
        let transfer = self.look_at_transfer(from, to, message);
        let mends = mend::sends(from, to, message, truth);
        if truth.hard.mending && matches!(message, Message::PreVoteReply { granted: true, .. }) {
            self.nodes.entry(from).or_default().granted = true;
        }
        vows::check(from, to, message, truth).and(mends).and(read).and(transfer)
    }
}

/// Whether an entry is committed; and whether there is anything to be committed.
fn is_committed(committed: &[LogId]) -> impl Fn(LogId) -> bool + '_ {
    |id| id == LogId::ZERO || committed.get(id.counter as usize - 1) == Some(&id)
}

fn view<'a>(raft: &'a Raft, is_committed: &'a dyn Fn(LogId) -> bool) -> View<'a> {
    let unproven = matches!(raft.state, State::Leader(_)) && raft.committed.epoch != raft.hard.term;
    View { id: raft.id, log: &raft.log, members: &raft.members, committed: raft.committed, unproven, is_committed }
}

fn of(truths: Truths<'_>, node: NodeId) -> Option<&Truth<Hard>> {
    truths.iter().find(|(id, _)| *id == node).map(|(_, truth)| truth)
}

fn hash(run: &Entries, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, run.kind() as u64)
}

#[cfg(test)]
mod tests {
    use common::entries::{Batch, EntryKind};
    use common::sim::subject::Oracle as _;
    use common::types::LogId;

    use super::*;
    use crate::core::Follower;
    use crate::testing::{A, B, C, Lab, id};

    fn voters() -> Voters {
        Voters::new([A, B, C])
    }

    fn hard(term: u64, vote: Option<NodeId>) -> Hard {
        Hard { term, voted_for: vote, mending: false }
    }

    /// The disk of a node that is right in what it believes.
    fn disk(raft: &Raft) -> Truth<Hard> {
        let mut truth = Truth { hard: raft.hard.clone(), snapshot: raft.snapshot, ..Truth::default() };
        truth.log.reset(raft.log.base());
        raft.log.spans().iter().for_each(|s| truth.log.push(LogId::new(s.epoch, s.first), s.last));
        truth.log.cut(raft.durable);
        truth
    }

    /// Its disk, and those of two others: if it leads they have nothing but their vote for it, otherwise the same.
    fn disks(raft: &Raft) -> Vec<(NodeId, Truth<Hard>)> {
        let leads = matches!(raft.state, State::Leader(_));
        let mine = disk(raft);
        let other = if leads { Truth { hard: raft.hard.clone(), ..Truth::default() } } else { mine.clone() };
        [A, B, C].map(|id| (id, if id == raft.id { mine.clone() } else { other.clone() })).to_vec()
    }

    fn look(oracle: &mut Oracle, raft: &Raft) -> Result<(), Violation> {
        oracle.turned(raft, Micros(0), &disks(raft))
    }

    /// Shows a new oracle these nodes, one after the other; which rule it finds broken.
    fn sees(nodes: &[&Raft]) -> Option<&'static str> {
        let mut oracle = Oracle::new(&voters());
        nodes.iter().find_map(|raft| look(&mut oracle, raft).err()).map(|v| v.oracle)
    }

    fn leader(terms: &[u64]) -> Lab {
        let mut lab = Lab::new(terms).connected();
        lab.lead();
        lab
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
        lab.raft.state = State::Follower(Follower::new(None, lab.now, upto));
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
        let mut oracle = Oracle::new(&voters());
        let mut lab = committed(A, &[1, 1], id(1, 2));
        look(&mut oracle, &lab.raft).unwrap();
        lab.raft.committed = id(1, 1);
        assert_eq!(look(&mut oracle, &lab.raft).map_err(|v| v.oracle), Err("R-MONO"));

        let mut oracle = Oracle::new(&voters());
        let mut lab = leader(&[1]);
        lab.matched(B, id(1, 1));
        look(&mut oracle, &lab.raft).unwrap();
        let State::Leader(l) = &mut lab.raft.state else { panic!() };
        l.peers[0].matched = LogId::ZERO;
        assert_eq!(look(&mut oracle, &lab.raft).map_err(|v| v.oracle), Err("R-IDX"));
    }

    #[test]
    fn commits_that_nothing_stands_behind() {
        for (upto, rule) in [(id(1, 1), "R-CT"), (id(2, 2), "R-DUR")] {
            let mut oracle = Oracle::new(&voters());
            let mut lab = leader(&[1]);
            look(&mut oracle, &lab.raft).unwrap();
            lab.raft.committed = upto;
            assert_eq!(look(&mut oracle, &lab.raft).map_err(|v| v.oracle), Err(rule));
        }
    }

    #[test]
    fn a_vote_on_disk_stays_and_a_leader_needs_a_quorum_of_them() {
        let mut lab = Lab::new(&[1]);
        lab.raft.hard = hard(3, Some(B));
        for (then, rule) in [(hard(3, Some(C)), "R-ES"), (hard(3, None), "R-ES"), (hard(2, None), "R-MONO")] {
            let mut oracle = Oracle::new(&voters());
            look(&mut oracle, &lab.raft).unwrap();
            let mut truths = disks(&lab.raft);
            truths[0].1.hard = then;
            assert_eq!(oracle.turned(&lab.raft, Micros(0), &truths).map_err(|v| v.oracle), Err(rule));
        }
        let lab = leader(&[1]);
        let mut truths = disks(&lab.raft);
        (truths[1].1.hard.voted_for, truths[2].1.hard.voted_for) = (Some(C), None);
        let mut oracle = Oracle::new(&voters());
        assert_eq!(oracle.turned(&lab.raft, Micros(0), &truths).map_err(|v| v.oracle), Err("R-ES"));
    }

    #[test]
    fn a_start_without_what_the_disk_says() {
        for (starts, rule) in [(hard(1, None), "R-MONO"), (hard(3, None), "R-ES"), (hard(3, Some(C)), "R-ES")] {
            let mut lab = Lab::new(&[1]);
            let mut truth = disk(&lab.raft);
            (lab.raft.hard, truth.hard) = (starts, hard(3, Some(B)));
            let mut oracle = Oracle::new(&voters());
            assert_eq!(oracle.booted(&lab.raft, Member::Voter, &truth).map_err(|v| v.oracle), Err(rule));
        }
    }

    #[test]
    fn what_a_node_only_remembered_is_lost_and_its_vote_is_not() {
        let mut lab = committed(A, &[1, 1], id(1, 2));
        let mut oracle = Oracle::new(&voters());
        lab.raft.hard = hard(3, Some(B));
        look(&mut oracle, &lab.raft).unwrap();
        oracle.crashed(A);
        let mut again = Lab::new(&[1, 1]);
        again.raft.hard = hard(3, Some(B));
        let truth = disk(&again.raft);
        oracle.booted(&again.raft, Member::Voter, &truth).unwrap();
        look(&mut oracle, &again.raft).unwrap();
        oracle.crashed(A);
        again.raft.hard = hard(3, Some(C));
        let truth = disk(&again.raft);
        assert_eq!(oracle.booted(&again.raft, Member::Voter, &truth).map_err(|v| v.oracle), Err("R-ES"));
    }

    #[test]
    fn a_read_index_below_what_was_committed() {
        let mut oracle = Oracle::new(&voters());
        let a = committed(A, &[1, 1], id(1, 2));
        look(&mut oracle, &a.raft).unwrap();
        let truth = disk(&a.raft);
        let ask = |context| Message::ReadIndex { term: 1, context, lease: false };
        let reply = |context, at| Message::ReadIndexReply { term: 1, context, at: Some(at) };
        oracle.sends(B, A, &ask(1), &truth).unwrap();
        oracle.sends(A, B, &reply(1, id(1, 2)), &truth).unwrap();
        oracle.sends(B, A, &ask(2), &truth).unwrap();
        let found = oracle.sends(A, B, &reply(2, id(1, 1)), &truth).map_err(|v| v.oracle);
        assert_eq!(found, Err("R-RD"));
        oracle.sends(A, B, &reply(9, id(1, 1)), &truth).expect("nobody asked that");
    }

    #[test]
    fn leadership_is_handed_over_by_its_leader_to_a_voter_that_was_told() {
        let voted = |term, node| Truth { hard: hard(term, Some(node)), ..Truth::default() };
        let now = |term| Message::TimeoutNow { term };
        let vote = |term| Message::RequestVote { term, last: LogId::ZERO, transfer: true };
        let mut oracle = Oracle::new(&voters());
        let mut says = |from, to, message: Message| {
            let truth = voted(message.term(), from);
            oracle.sends(from, to, &message, &truth).map_err(|v| v.oracle)
        };
        assert_eq!(says(A, crate::testing::OBSERVER, now(2)), Err("R-XFER"), "not a voter");
        assert_eq!(says(A, B, now(2)), Ok(()));
        assert_eq!(says(B, C, vote(3)), Ok(()));
        assert_eq!(says(C, B, vote(3)), Err("R-XFER"), "another was told");
        assert_eq!(says(B, C, vote(4)), Err("R-XFER"), "in another term");
        let leader = leader(&[1]);
        look(&mut oracle, &leader.raft).unwrap();
        assert_eq!(oracle.sends(B, C, &now(2), &voted(2, B)).map_err(|v| v.oracle), Err("R-XFER"), "who does not lead");
    }
}
