//! What must hold in every state (figure 3), written down so that it can be checked.
//!
//! [`check`] looks at one node. Nodes do so themselves, in production too: after every step at the order of the marks in
//! their log, once in 32 steps at what costs the same for any number of peers, and at what they know of each peer with
//! every timer that fires; debug builds, and the simulator, look at all. A node that finds itself broken halts with the rule and the values as its cause, and nothing of
//! that step leaves it.
//!
//! [`Oracle`] looks at a whole cluster and at what is on its disks, as only a test or a simulator can: it is shown each node
//! after each turn, and each message as it leaves.
//!
//! | name | what it says |
//! | --- | --- |
//! | R-ES | Election Safety: at most one leader in a term, and a quorum of durable votes stands behind it; a durable vote is never changed |
//! | R-LAO | Leader Append-Only: a leader only ever appends to its log |
//! | R-LM | Log Matching: an index and term name one entry, with one predecessor |
//! | R-LC | Leader Completeness: what is committed is in the log of every later leader |
//! | R-SMS | State Machine Safety: an index is committed with one entry only, for ever |
//! | R-CT | a leader commits by counting only at an entry of its own term |
//! | R-DUR | what is committed is durable on a quorum of voters: on their disks, whatever they believe |
//! | R-IDX | nextIndex > matchIndex; matchIndex only grows in a term |
//! | R-MONO | term and commitIndex never go back while a node runs, the durable term never at all |
//! | R-RD | a read index is at or after everything committed anywhere when it was asked for |
//! | R-ORD | the marks of one log are in order: base, snapshot, applied, committed, last |
//! | R-STALL | nobody begins to stand for election whose disk has finished nothing for `disk_stall_ms` though it has something to do |
//! | R-XFER | only a leader hands leadership over, to a voter that has its whole log, and takes nothing meanwhile; only who was told so asks for votes on a leader's word, in the term after |
//! | R-MEND | who has lost entries that were durable is mending until it has again what is committed; who is mending grants nothing and does not stand |
//! | R-CONF | a node goes by the last membership in its log; a leader changes it one step at a time, each with a quorum in common with the last, after committing in its own term |
//! | C-VOW | what a message promises (a term, a vote, entries) is durable where it comes from when it leaves |

mod marks;
mod mend;
mod mutants;
mod oracle;
mod subject;
mod vows;

use common::sim::subject::Violation;
use common::types::{Member, NodeId};

use crate::core::{Raft, State};

pub use marks::MARKS;
pub use mutants::MUTANTS;
pub use oracle::Oracle;

/// What holds in every state of a single node. O(peers).
pub fn check(raft: &Raft) -> Result<(), Violation> {
    check_node(raft)?;
    check_peers(raft)
}

/// A node looks at itself whole once in so many steps.
pub(crate) const EVERY: u32 = 32;

/// The part that costs next to nothing: whether the marks in the log are in order.
#[inline]
pub(crate) fn marks_hold(raft: &Raft) -> bool {
    let (base, last) = (raft.log.base(), raft.log.last());
    let in_order = base <= raft.snapshot && raft.snapshot <= raft.applied && raft.applied <= raft.committed;
    in_order && raft.committed <= last && raft.durable <= last
}

#[cold]
fn marks_broken(raft: &Raft) -> Result<(), Violation> {
    let (r, base, last) = (Rules(raft.id), raft.log.base(), raft.log.last());
    let marks = [base, raft.snapshot, raft.applied, raft.committed, last];
    r.hold("R-ORD", marks.is_sorted(), || format!("base, snapshot, applied, committed, last = {marks:?}"))?;
    r.hold("R-ORD", raft.durable <= last, || format!("durable {} after the last {last}", raft.durable))
}

/// The part that costs the same however many nodes there are.
pub(crate) fn check_node(raft: &Raft) -> Result<(), Violation> {
    if !marks_hold(raft) {
        marks_broken(raft)?;
    }
    let r = Rules(raft.id);
    let (base, last) = (raft.log.base(), raft.log.last());
    for (name, id) in [("snapshot", raft.snapshot), ("committed", raft.committed), ("durable", raft.durable)] {
        let what = || format!("{name} {id} is not in the log {:?} after {base}", raft.log.spans());
        r.hold("R-ORD", id == last || raft.log.contains(id), what)?;
    }
    r.hold("R-MONO", last.epoch <= raft.hard.term, || format!("{last} is of a later term than {}", raft.hard.term))?;
    let stands = match &raft.state {
        State::Leader(leader) => {
            r.hold("R-ES", raft.unsaved == 0, || "leads without a durable vote".to_owned())?;
            r.hold("R-CT", leader.noop.epoch == raft.hard.term, || format!("began with {}", leader.noop))?;
            r.hold("R-CT", last >= leader.noop, || format!("its log ends at {last}, before {}", leader.noop))?;
            let (waiting, bytes) = (leader.uncommitted.len(), leader.uncommitted_bytes);
            let counts = (waiting == 0) == (bytes == 0);
            r.hold("R-ORD", counts, || format!("{bytes} bytes in {waiting} uncommitted proposals"))?;
            true
        }
        State::Follower(f) => {
            let known = f.verified == last || raft.log.contains(f.verified);
            r.hold("R-LM", known, || format!("verified {} is not in the log", f.verified))?;
            let promised = raft.durable.min(f.verified);
            r.hold("R-DUR", f.acked <= promised, || format!("acknowledged {}, has {promised}", f.acked))?;
            r.hold("R-SMS", raft.committed <= f.verified, || format!("committed more than {} verified", f.verified))?;
            false
        }
        State::PreCandidate(_) => false,
        State::Candidate(_) => true,
    };
    let vote = raft.hard.voted_for;
    let out = matches!(raft.state, State::Follower(_)) && vote.is_none();
    r.hold("R-MEND", out || !raft.hard.mending, || format!("is mending, voted for {vote:?}, and is {}", raft.phase()))?;
    r.hold("R-ES", !stands || vote == Some(raft.id), || format!("stands for election but voted for {vote:?}"))?;
    let may_be = match &raft.state {
        State::Follower(_) => true,
        State::PreCandidate(_) | State::Candidate(_) => crate::reconfig::may_stand(&raft.members, raft.id),
        // Until it is committed that it votes no more, or weighs nothing.
        State::Leader(_) => raft.members.may_lead(raft.id) || raft.members.at() > raft.committed,
    };
    r.hold("R-ES", may_be, || "who is a learner, or weighs nothing, stands for election".to_owned())
}

/// What a candidate or leader knows of the others.
fn check_peers(raft: &Raft) -> Result<(), Violation> {
    let r = Rules(raft.id);
    let (last, base) = (raft.log.last(), raft.log.base());
    let leader = match &raft.state {
        State::Leader(leader) => leader,
        State::Follower(_) => return Ok(()),
        State::PreCandidate(votes) | State::Candidate(votes) => {
            let stranger = votes.iter().find(|id| *id != raft.id && !raft.members.votes(*id));
            return r.hold("R-ES", stranger.is_none(), || format!("counts the vote of {stranger:?}"));
        }
    };
    if let Some(h) = raft.handover.filter(|h| h.told && h.term == raft.hard.term) {
        let has = leader.find(h.to).map(|p| p.matched);
        r.hold("R-XFER", has == Some(last), || format!("hands over to {}, which has {has:?} of {last}", h.to))?;
    }
    for p in &leader.peers {
        let (has, sent) = (p.matched, p.sent);
        r.hold("R-IDX", has <= sent && sent <= last, || format!("{}: match {has}, sent {sent}, last {last}", p.id))?;
        let known = has < base || has == last || raft.log.contains(has);
        r.hold("R-IDX", known, || format!("{} matches at {has}, which is not in the log", p.id))?;
        let (messages, bytes) = p.in_flight();
        let counts = messages <= raft.config.max_inflight_messages && (messages > 0 || bytes == 0);
        r.hold("R-IDX", counts, || format!("{}: {messages} messages and {bytes} bytes in flight", p.id))?;
        let counted = p.member == Member::Voter;
        r.hold("R-ES", counted == raft.members.votes(p.id), || format!("{} is counted wrongly", p.id))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Rules(NodeId);

impl Rules {
    fn hold(self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(Violation::new(rule, format!("{}: {}", self.0, what()))) }
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::Input;

    use super::*;
    use crate::core::Leader;
    use crate::testing::{B, Lab, id};

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
            assert_eq!(check(&lab.raft).map_err(|v| v.oracle), Err(rule));
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
            assert_eq!(check(&lab.raft).map_err(|v| v.oracle), Err(rule));
        }
        let mut lab = leader(&[1]);
        lab.raft.hard.voted_for = Some(B);
        assert_eq!(check(&lab.raft).map_err(|v| v.oracle), Err("R-ES"));
    }

    #[test]
    fn a_leader_that_hands_over_takes_nothing_more() {
        let mut lab = leader(&[1]);
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.step(Input::Transfer { id: 1, to: Some(B) });
        assert_eq!(check(&lab.raft), Ok(()));
        lab.raft.log.append(crate::testing::run(2, 3, 1));
        assert_eq!(check(&lab.raft).map_err(|v| v.oracle), Err("R-XFER"));
    }
}
