use common::protocol::{Input, Protocol};

use super::*;
use crate::config::Config;
use crate::testing::{A, B, C, Lab, OBSERVER, id, log_of};

fn request(term: u64, last: LogId) -> Message {
    Message::RequestVote { term, last, transfer: false }
}

#[test]
fn a_vote_is_told_when_it_is_durable_and_only_the_latest() {
    let mut lab = Lab::new(&[1]).connected();
    assert_eq!(lab.hear(B, request(2, id(1, 1))), ["save term 2, vote n2"]);
    // Before the disk answers, a later term comes along: the vote of the earlier one must not be told any more.
    assert_eq!(lab.hear(C, request(3, id(1, 1))), ["save term 3, vote n3"]);
    assert!(lab.step(Input::HardSaved).is_empty(), "this was the first of two");
    assert_eq!(lab.step(Input::HardSaved), ["n3: RequestVoteReply(term 3, granted)"]);
}

#[test]
fn one_vote_per_term_however_often_it_is_asked_for() {
    let mut lab = Lab::new(&[1]).connected();
    lab.hear(B, request(2, id(1, 1)));
    assert!(lab.hear(C, request(2, id(9, 9))).is_empty());
    assert_eq!(
        lab.step(Input::HardSaved),
        ["n2: RequestVoteReply(term 2, granted)", "n3: RequestVoteReply(term 2, refused)"]
    );
    assert_eq!(lab.hear(B, request(2, id(1, 1))), ["n2: RequestVoteReply(term 2, granted)"]);
    assert_eq!(lab.hear(C, request(1, id(9, 9))), ["n3: RequestVoteReply(term 2, refused)"]);
}

/// Section 5.4.1: the later last term wins, however short its log; of one term the longer log.
#[test]
fn up_to_date_is_term_first() {
    for (last, granted) in [(id(2, 1), true), (id(3, 1), true), (id(1, 99), false), (id(2, 0), false), (id(2, 3), true)]
    {
        let mut lab = Lab::with(A, log_of(&[2]), LogId::ZERO, Config::default()).connected();
        lab.hear(B, request(3, last));
        let said = lab.step(Input::HardSaved);
        let word = if granted { "granted" } else { "refused" };
        assert_eq!(said, [format!("n2: RequestVoteReply(term 3, {word})")], "last {last}");
    }
}

#[test]
fn who_hears_a_leader_ignores_candidates() {
    let mut lab = Lab::new(&[1]).connected();
    lab.append(B, 1, id(1, 1), 0, None);
    lab.pass(199);
    assert!(lab.hear(C, request(5, id(1, 1))).is_empty());
    assert_eq!(lab.hear(C, Message::PreVote { term: 5, last: id(1, 1) }), ["n3: PreVoteReply(term 1, refused)"]);
    assert_eq!(lab.raft.hard.term, 1);
    // After an election time-out without the leader it does not.
    lab.now = lab.now.after(Micros::from_millis(1));
    assert_eq!(lab.hear(C, Message::PreVote { term: 5, last: id(1, 1) }), ["n3: PreVoteReply(term 5, granted)"]);
    assert_eq!(lab.hear(C, request(5, id(1, 1))), ["save term 5, vote n3"]);
}

#[test]
fn a_pre_vote_changes_nothing() {
    let mut lab = Lab::new(&[1]).connected();
    let (hard, due) = (lab.raft.hard.clone(), lab.raft.election_due);
    assert_eq!(lab.hear(B, Message::PreVote { term: 8, last: id(1, 1) }), ["n2: PreVoteReply(term 8, granted)"]);
    assert_eq!(lab.hear(B, Message::PreVote { term: 8, last: id(0, 9) }), ["n2: PreVoteReply(term 1, refused)"]);
    assert_eq!((lab.raft.hard.clone(), lab.raft.election_due), (hard, due));
}

/// Section 5.1, and what keeps pre-vote with check-quorum from a deadlock.
#[test]
fn messages_of_earlier_terms_are_answered_with_the_present_one() {
    let mut lab = Lab::new(&[3]).connected();
    assert_eq!(lab.append(B, 2, id(2, 1), 0, None), ["n2: AppendEntriesReply(term 3, round 0, busy)"]);
    assert_eq!(lab.hear(B, Message::PreVote { term: 2, last: id(9, 9) }), ["n2: PreVoteReply(term 3, refused)"]);
    // And a leader or candidate that hears of a later term gives way.
    lab.lead();
    assert_eq!(lab.hear(C, Message::PreVoteReply { term: 9, granted: false }), ["save term 9, no vote"]);
    assert_eq!(lab.raft.phase(), "follower");
}

#[test]
fn an_election_takes_a_majority_of_voters_each_counted_once() {
    let mut lab = Lab::new(&[]).connected();
    lab.step(Input::PeerUp { peer: OBSERVER, member: common::types::Member::Observer });
    lab.pass(400);
    assert_eq!(lab.raft.phase(), "pre-candidate");
    lab.hear(OBSERVER, Message::PreVoteReply { term: 1, granted: true });
    lab.hear(B, Message::PreVoteReply { term: 9, granted: true });
    assert_eq!(lab.raft.phase(), "pre-candidate", "a learner's answer and one to another question");
    assert_eq!(lab.hear(B, Message::PreVoteReply { term: 1, granted: true }), ["save term 1, vote n1"]);
    lab.hear(B, Message::RequestVoteReply { term: 0, granted: true });
    assert_eq!(lab.raft.phase(), "candidate", "an answer of an earlier term");
    // Its own vote counts when it is durable, and only then are the others asked.
    assert_eq!(
        lab.step(Input::HardSaved),
        ["n2: RequestVote(term 1, last (0,0))", "n3: RequestVote(term 1, last (0,0))"]
    );
    lab.hear(C, Message::RequestVoteReply { term: 1, granted: true });
    assert_eq!(lab.raft.phase(), "leader");
}

#[test]
fn a_learner_never_stands_and_votes_when_it_is_asked() {
    let mut lab = Lab::with(OBSERVER, log_of(&[1]), LogId::ZERO, Config::default()).connected();
    assert!(lab.pass(10_000).is_empty());
    assert_eq!((lab.raft.phase(), lab.raft.hard.term), ("learner", 1));
    // Who asks knows of a later membership than this log, in which it votes.
    assert_eq!(lab.hear(B, Message::PreVote { term: 7, last: id(1, 1) }), ["n2: PreVoteReply(term 7, granted)"]);
    assert_eq!(lab.hear(B, request(7, id(1, 1))), ["save term 7, vote n2"]);
    assert_eq!(lab.step(Input::HardSaved), ["n2: RequestVoteReply(term 7, granted)"]);
}

#[test]
fn a_leader_that_hears_no_quorum_steps_down() {
    let mut lab = Lab::new(&[1]).connected();
    lab.lead();
    for _ in 0..6 {
        lab.pass(50);
        lab.matched(C, id(1, 1));
    }
    assert_eq!(lab.raft.phase(), "leader", "one of two others is a quorum with itself");
    for _ in 0..8 {
        lab.pass(50);
    }
    assert_eq!((lab.raft.phase(), lab.raft.hard.term), ("follower", 2));
}

#[test]
fn a_second_leader_in_a_term_is_not_followed() {
    let mut lab = Lab::new(&[1]).connected();
    lab.append(B, 1, id(1, 1), 0, None);
    assert_eq!(lab.append(C, 1, id(1, 1), 0, None), ["disconnect n3: two leaders in one term"]);
    let mut leader = Lab::new(&[1]).connected();
    leader.lead();
    assert_eq!(leader.append(C, 2, id(1, 1), 0, None), ["disconnect n3: two leaders in one term"]);
}

#[test]
fn the_timer_restarts_at_a_vote_a_leader_and_an_election_only() {
    let mut lab = Lab::new(&[5]).connected();
    let due = lab.raft.election_due;
    lab.now = Micros::from_millis(100);
    lab.hear(B, request(6, id(1, 1))); // refused
    lab.hear(B, Message::PreVote { term: 9, last: id(5, 1) }); // granted, but no vote
    lab.hear(C, Message::RequestVoteReply { term: 7, granted: false }); // a later term
    assert_eq!(lab.raft.election_due, due);
    lab.step(Input::HardSaved);
    lab.hear(B, request(8, id(5, 1)));
    assert!(lab.raft.election_due >= lab.now.after(Micros::from_millis(200)));
}

#[test]
fn a_lower_priority_waits_longer_but_not_for_ever() {
    let at = |priority| {
        let config = Config { priority, ..Config::default() };
        Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected()
    };
    // The same lot is drawn in all of them.
    let due = at(100).raft.election_due;
    let (mut lab, half) = (at(0), at(50));
    assert_eq!(half.raft.election_due, due.after(Micros::from_millis(200)));
    assert_eq!(lab.raft.election_due, due.after(Micros::from_millis(400)));
    // Each time in vain it waits half as long as before.
    for extra in [200, 100, 50] {
        lab.now = lab.raft.election_due;
        lab.step(Input::Tick);
        let wait = lab.raft.election_due.since(lab.now).0 / 1000;
        assert!((200 + extra..400 + extra).contains(&wait), "{wait} ms, {extra} of them in deference");
    }
    // With a leader, things are as they were; and it is told.
    let said = lab.append(B, 2, id(1, 1), 0, None);
    assert!(said.contains(&"n2: Priority(term 2, 0)".to_owned()), "{said:?}");
    assert!(lab.raft.election_due.since(lab.now) >= Micros::from_millis(600));
    assert!(lab.append(B, 2, id(1, 1), 0, None).iter().all(|l| !l.contains("Priority")), "once");
    // When its session ends, too.
    lab.step(Input::PeerDown { peer: B });
    assert!(lab.raft.election_due.since(lab.now) >= Micros::from_millis(400));
}

#[test]
fn a_log_of_a_later_term_than_the_hard_state_sets_the_term() {
    let mut lab = Lab::new(&[4]);
    lab.raft = {
        let membership = (LogId::ZERO, common::membership::Membership::of_ids([A, B, C]));
        let hard = Hard { term: 2, voted_for: Some(C), ..Hard::default() };
        let (log, config) = (log_of(&[4]), Config::default());
        let (now, snapshot) = (Micros(0), LogId::ZERO);
        Raft::new(common::protocol::Boot { id: A, membership, config, seed: 1, now, hard, snapshot, log })
    };
    assert_eq!(lab.step(Input::Tick), ["save term 4, no vote"]);
    assert_eq!(lab.raft.status().epoch, 4);
}

#[test]
fn a_leader_asks_first_and_appends_a_no_op() {
    let mut lab = Lab::new(&[1, 1]).connected();
    assert_eq!(
        lab.lead(),
        [
            "n2: AppendEntries(term 2, prev (1,2), commit 0, round 0)",
            "n3: AppendEntries(term 2, prev (1,2), commit 0, round 0)",
            "append (2,3)..(2,3)"
        ]
    );
    // Until a peer answers, it gets no entries.
    assert_eq!(lab.propose(&["x"]), ["accepted (2,4)..(2,4)", "append (2,4)..(2,4)"]);
    assert_eq!(
        lab.matched(B, id(1, 2)),
        [
            "n2: AppendEntries(term 2, prev (1,2), commit 0, round 0, entries (2,3)..(2,3))",
            "n2: AppendEntries(term 2, prev (2,3), commit 0, round 0, entries (2,4)..(2,4))"
        ]
    );
}
