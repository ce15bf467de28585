//! Starting again without entries that were acknowledged (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based
//! Storage", FAST 2018).
//!
//! Storage has found the log damaged, while the hard state is whole, and kept what it can vouch for. This node had said that
//! it has the rest, so leaders may have committed by it. It is *mending*: it takes part in everything but elections, until
//! it is known to have again whatever was committed with its help.
//!
//! | rule | where | what breaks without it |
//! | --- | --- | --- |
//! | a mark in the hard state, durable before the log is cut | FAST 2018, section 3.2 | a crash in between, and the node votes by what is left |
//! | it stays over restarts until the node is healed | | likewise, one start later |
//! | the term is raised by one, with no vote in it | ours | a leader of the old term goes on counting what is not there any more |
//! | it gives no vote and no pre-vote | section 5.4.1 | a candidate wins that lacks a committed entry, by the vote of one that lacks it too |
//! | it does not stand, not even when told to | section 5.4.1 | the same, with itself as the candidate |
//! | it acknowledges what it has, and is counted for that | | nothing is lost; it would cost the quorum a node for longer |
//! | healed: what is committed is durable here, up to an entry of its leader's own term | 5.4.2, 5.4.3 | it votes while it still lacks what was committed long ago |
//!
//! Why that is enough. Let T be the term in its hard state when the damage was found, and `e` an entry which some leader of
//! a term up to T commits, then or later, by a quorum that counts this node. The mark says T + 1 at least and no vote, so
//! every leader of a term above T that this node can be healed under was elected by a quorum without it. That quorum shares
//! a node with the one that stood behind `e`, and it is another than this one: it had `e` when it voted, so the new leader
//! has `e`, as in the proof of Leader Completeness (5.4.3), in which only those who vote matter. The new leader's log holds
//! `e` before the first entry of its own term. So who durably has all up to such an entry has `e`, and may vote again. That
//! the entry is committed makes sure that this is the log everybody goes on from. The length of the log proves nothing: what
//! it holds at the index of `e` may be another entry.
//!
//! Why the term must be raised. A leader of term T counts this node for what it acknowledged in T. If the node could be healed
//! under the same leader, by a commit below what it had acknowledged, that leader might yet commit the rest by the old
//! acknowledgement, and the node vote for a candidate without it. A term above T has no old acknowledgements. Damage that
//! is found while the node is mending raises the term once more.
//!
//! A disk that is lost whole, or put back as it was, cannot be healed so. With the hard state the votes are forgotten: that
//! of a term in which somebody may yet win by it, and nobody else remembers it. Such a node must come back under another id,
//! as a new member ([`reconfig`](crate::reconfig)). A leader finds it out when it had acknowledged something in the same term:
//! a log can only become shorter than that by loss. It ends the session, each time, and its status says why.
//!
//! While a quorum of voters is mending, nobody can be elected, and nobody is healed. That is so by intent: what was committed
//! may be on none of the others.

use common::mutant;
use common::protocol::Effects;
use common::types::LogId;

use crate::core::{Follower, Hard, Raft, State};
use crate::membership::Peer;

/// Why a leader ends the session with a voter whose log is shorter than what it had acknowledged in the same term.
pub(crate) const FORGOT: &str = "has lost what it acknowledged in this term: it must come back as a new member";

/// What to save before a damaged log is cut.
pub(crate) fn marked(hard: &Hard) -> Hard {
    if mutant!("R92") {
        return Hard { mending: true, ..hard.clone() };
    }
    Hard { term: hard.term + 1, voted_for: None, mending: true }
}

impl Raft {
    /// Whether its vote could elect a leader without a committed entry.
    pub(crate) fn withholds_vote(&self) -> bool {
        self.hard.mending && !mutant!("R90")
    }

    /// Whether it could be such a leader.
    pub(crate) fn withholds_itself(&self) -> bool {
        self.hard.mending && !mutant!("R94")
    }

    /// After each step of one that is mending: whether it is healed. A vote that it gives from now on is durable with that.
    pub(crate) fn heal(&mut self, fx: &mut Effects<Self>) {
        let State::Follower(Follower { leader: Some(_), .. }) = &self.state else { return };
        let of_own_term = self.committed.epoch == self.hard.term || mutant!("R93");
        let durable = self.durable >= self.committed || mutant!("R95");
        if of_own_term && !durable {
            fx.mark("raft/mend#heal.waits_for_disk");
        }
        if of_own_term && durable {
            fx.mark("raft/mend#heal");
            self.hard.mending = false;
            self.save_hard(fx);
        }
    }
}

impl Peer {
    /// Its log ends at `last`, it says in this term. Whether that is less than it once acknowledged in it.
    pub(crate) fn forgets(&mut self, last: LogId, votes: bool) -> bool {
        self.forgot |= votes && last.counter < self.matched.counter;
        self.forgot
    }
}

#[cfg(test)]
mod tests {
    use common::log::LogView;
    use common::membership::Membership;
    use common::protocol::{Boot, Chunk, Input, Protocol};
    use common::types::Micros;

    use super::*;
    use crate::config::Config;
    use crate::message::{Answer, Message};
    use crate::testing::{A, B, C, Lab, id, log_of, run};

    /// Starts A from a disk that was in term 3, voted for B there, and has these entries left.
    fn mending(log: LogView, snapshot: LogId) -> Lab {
        let mut lab = Lab::new(&[]);
        let hard = Raft::mend(Hard { term: 3, voted_for: Some(B), mending: false }).unwrap();
        let (membership, config, now) = ((LogId::ZERO, Membership::of_ids([A, B, C])), Config::default(), Micros(0));
        lab.raft = Raft::new(Boot { id: A, membership, config, seed: 1, now, hard, snapshot, log });
        lab.connected()
    }

    fn is_mending(lab: &Lab) -> bool {
        lab.raft.is_mending()
    }

    #[test]
    fn the_mark_is_a_later_term_without_a_vote() {
        let hard = Hard { term: 3, voted_for: Some(B), mending: false };
        let once = Hard { term: 4, voted_for: None, mending: true };
        assert_eq!(marked(&hard), once);
        assert_eq!(marked(&once).term, 5, "again, for what it acknowledged since");
        let lab = mending(log_of(&[1, 1]), LogId::ZERO);
        assert_eq!((lab.raft.hard.clone(), lab.raft.phase()), (once, "mending"));
    }

    #[test]
    fn who_is_mending_grants_nothing_and_does_not_stand() {
        let mut lab = mending(log_of(&[1, 1]), LogId::ZERO);
        let last = id(9, 9);
        assert_eq!(lab.hear(C, Message::PreVote { term: 7, last }), ["n3: PreVoteReply(term 4, refused)"]);
        let asked = Message::RequestVote { term: 7, last, transfer: false };
        assert_eq!(lab.hear(C, asked), ["save term 7, no vote, mending"]);
        assert_eq!(lab.step(Input::HardSaved), ["n3: RequestVoteReply(term 7, refused)"]);
        assert!(lab.pass(5000).is_empty(), "its own time-out");
        lab.append(B, 7, id(1, 2), 0, None);
        assert!(lab.hear(B, Message::TimeoutNow { term: 7 }).is_empty());
        assert_eq!(lab.raft.phase(), "mending");
    }

    #[test]
    fn only_a_durable_commit_of_the_leaders_own_term_heals() {
        let mut lab = mending(log_of(&[1]), LogId::ZERO);
        lab.append(B, 5, id(1, 1), 1, Some(run(1, 2, 3)));
        lab.step(Input::HardSaved);
        lab.durable();
        lab.append(B, 5, id(1, 4), 4, None);
        assert!(is_mending(&lab), "what is committed is of an earlier term, however long the log");
        assert_eq!(lab.append(B, 5, id(1, 4), 5, Some(run(5, 5, 1))), ["append (5,5)..(5,5)", "commit (5,5)"]);
        assert!(is_mending(&lab), "its disk does not have it");
        let said = lab.durable();
        let matched = "n2: AppendEntriesReply(term 5, round 0, matched (5,5))";
        assert_eq!(said, [matched, "save term 5, no vote"]);
        assert_eq!((is_mending(&lab), lab.raft.phase()), (false, "follower"));
        // From then on it votes, once that is durable.
        lab.step(Input::PeerDown { peer: B });
        lab.now = lab.now.after(Micros::from_millis(500));
        assert_eq!(
            lab.hear(C, Message::RequestVote { term: 6, last: id(5, 5), transfer: false }),
            ["save term 6, vote n3"]
        );
        assert!(lab.step(Input::HardSaved).is_empty());
        assert_eq!(lab.step(Input::HardSaved), ["n3: RequestVoteReply(term 6, granted)"]);
    }

    #[test]
    fn a_snapshot_heals_only_with_what_follows_it() {
        let mut lab = mending(LogView::new(LogId::ZERO, usize::MAX), LogId::ZERO);
        lab.append(B, 5, LogId::ZERO, 0, None);
        lab.step(Input::HardSaved);
        let data = bytes::Bytes::from_static(b"all");
        let chunk = Chunk { snapshot: id(3, 8), offset: 0, total: 3, data };
        lab.hear(B, Message::InstallSnapshot { term: 5, chunk });
        lab.step(Input::SnapshotWritten { snapshot: id(3, 8), end: 3 });
        lab.step(Input::SnapshotInstalled { snapshot: id(3, 8), membership: None });
        assert!(is_mending(&lab));
        lab.append(B, 5, id(3, 8), 9, Some(run(5, 9, 1)));
        lab.durable();
        assert!(!is_mending(&lab));
    }

    #[test]
    fn the_mark_stays_with_every_term_and_every_start() {
        let mut lab = mending(log_of(&[1]), LogId::ZERO);
        assert_eq!(lab.append(B, 8, id(1, 1), 0, None)[0], "save term 8, no vote, mending");
        let (membership, config, now) = ((LogId::ZERO, Membership::of_ids([A, B, C])), Config::default(), Micros(0));
        let (hard, log, snapshot) = (lab.raft.hard.clone(), log_of(&[1]), LogId::ZERO);
        let again = Raft::new(Boot { id: A, membership, config, seed: 2, now, hard, snapshot, log });
        assert!(again.is_mending());
    }

    #[test]
    fn a_voter_whose_log_is_shorter_than_what_it_acknowledged_in_this_term_is_sent_away() {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.durable();
        lab.matched(B, id(2, 2));
        lab.step(Input::PeerDown { peer: B });
        lab.step(Input::PeerUp { peer: B, member: common::types::Member::Voter });
        let answer = |refused, last| Answer::Conflict { refused, last, at: LogId::ZERO, first: 0 };
        let reply = |answer| Message::AppendEntriesReply { term: 2, round: 0, answer };
        let sent_away = format!("disconnect n2: {FORGOT}");
        assert_eq!(lab.hear(B, reply(answer(id(2, 2), LogId::ZERO))), [sent_away]);
        let status = lab.raft.status();
        assert_eq!(status.peers[0].paused.as_deref(), Some(FORGOT));
        // C acknowledged nothing, so that it has little is no wonder.
        let said = lab.hear(C, reply(answer(id(1, 1), LogId::ZERO)));
        assert!(said.iter().all(|line| !line.contains(FORGOT)), "{said:?}");
    }
}
