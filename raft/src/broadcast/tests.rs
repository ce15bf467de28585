use common::codec::Shape;
use common::protocol::Input;

use super::*;
use crate::config::Config;
use crate::testing::{A, B, C, Lab, id, log_of, run};

/// A follower of B in term 2 with a log of these terms.
fn follower(terms: &[u64]) -> Lab {
    let mut lab = Lab::new(terms).connected();
    lab.append(B, 2, LogId::ZERO, 0, None);
    lab.step(Input::HardSaved);
    lab
}

/// A leader of term 2 to whose log B and C have answered.
fn leader() -> Lab {
    let mut lab = Lab::new(&[1]).connected();
    lab.lead();
    lab.durable();
    lab.matched(B, id(2, 2));
    lab.matched(C, id(2, 2));
    lab
}

#[test]
fn late_short_and_repeated_requests_cut_nothing() {
    let mut lab = follower(&[1, 2, 2, 2]);
    assert_eq!(
        lab.append(B, 2, id(1, 1), 0, Some(run(2, 2, 1))),
        ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]
    );
    assert_eq!(
        lab.append(B, 2, LogId::ZERO, 0, Some(run(1, 1, 1))),
        ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]
    );
    assert_eq!(lab.append(B, 2, id(2, 2), 0, None), ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]);
    // Partly new: only what is new is appended.
    assert_eq!(lab.append(B, 2, id(2, 2), 0, Some(run(2, 3, 4))), ["append (2,5)..(2,6)"]);
    assert_eq!(lab.raft.log.last(), id(2, 6));
}

#[test]
fn a_real_conflict_cuts_from_there() {
    let mut lab = follower(&[1, 1, 1, 1]);
    assert_eq!(lab.append(B, 2, id(1, 2), 0, Some(run(2, 3, 1))), ["truncate after (1,2)", "append (2,3)..(2,3)"]);
    assert_eq!(lab.raft.durable, id(1, 2));
    assert_eq!(lab.step(Input::Durable { upto: id(2, 3) }), ["n2: AppendEntriesReply(term 2, round 0, matched (2,3))"]);
}

#[test]
fn an_answer_waits_for_the_disk_and_covers_all_it_took() {
    let mut lab = follower(&[1]);
    assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(2, 2, 1))), ["append (2,2)..(2,2)"]);
    assert_eq!(lab.append(B, 2, id(2, 2), 0, Some(run(2, 3, 2))), ["append (2,3)..(2,4)"]);
    // A heartbeat is answered at once, with what is durable.
    assert_eq!(lab.append(B, 2, id(2, 4), 0, None), ["n2: AppendEntriesReply(term 2, round 0, matched (1,1))"]);
    assert_eq!(lab.step(Input::Durable { upto: id(2, 4) }), ["n2: AppendEntriesReply(term 2, round 0, matched (2,4))"]);
    assert!(lab.step(Input::Durable { upto: id(2, 4) }).is_empty());
}

#[test]
fn an_answer_waits_for_the_term_too() {
    let mut lab = Lab::new(&[1]).connected();
    assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(2, 2, 1))), ["save term 2, no vote", "append (2,2)..(2,2)"]);
    assert!(lab.step(Input::Durable { upto: id(2, 2) }).is_empty());
    assert_eq!(lab.step(Input::HardSaved), ["n2: AppendEntriesReply(term 2, round 0, matched (2,2))"]);
}

/// Figure 2, AppendEntries 5: what lies beyond the request may be a stale tail.
#[test]
fn commit_stops_at_what_was_verified() {
    let mut lab = follower(&[1, 1, 1, 1]);
    assert_eq!(
        lab.append(B, 2, id(1, 2), 4, None),
        ["commit (1,2)", "n2: AppendEntriesReply(term 2, round 0, matched (1,2))"]
    );
    assert_eq!(lab.append(B, 2, id(1, 2), 1, None), ["n2: AppendEntriesReply(term 2, round 0, matched (1,2))"]);
    assert_eq!(lab.raft.committed, id(1, 2));
}

#[test]
fn what_is_committed_is_never_cut() {
    let mut lab = follower(&[1, 1, 1]);
    lab.append(B, 2, id(1, 2), 2, None);
    let said = lab.append(B, 2, LogId::ZERO, 0, Some(run(2, 1, 1)));
    assert_eq!(said, ["disconnect n2: its log contradicts what is committed here"]);
    let said = lab.append(B, 2, id(2, 2), 0, None);
    assert_eq!(said, ["disconnect n2: its log contradicts what is committed here"]);
    assert_eq!(lab.raft.log.last(), id(1, 3));
}

#[test]
fn requests_that_make_no_sense_end_the_session() {
    let mut lab = follower(&[1]);
    let gap = "disconnect n2: entries that do not follow prevLogIndex";
    assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(2, 3, 1))), [gap]);
    assert_eq!(lab.append(B, 2, id(1, 1), 0, Some(run(3, 2, 1))), [gap], "a term after the leader's");
    let shape = Payload::Shape(Box::new(Shape { first: id(2, 2), kind: EntryKind::Command, lengths: vec![1] }));
    let message = Message::AppendEntries { term: 2, prev: id(1, 1), commit: 0, round: 0, entries: Some(shape) };
    assert_eq!(lab.hear(B, message), ["disconnect n2: entries without their bytes"]);
    let far = Message::RequestVote { term: u64::MAX, last: id(1, 1), transfer: false };
    assert_eq!(lab.hear(B, far), ["disconnect n2: a term that no cluster reaches"]);
}

/// Figure 8 in one node: an old entry on a majority is not committed until one of the own term is.
#[test]
fn only_an_entry_of_the_own_term_commits() {
    let mut lab = Lab::new(&[1, 1]).connected();
    lab.lead();
    let sent = lab.matched(B, id(1, 2));
    assert_eq!(sent, ["n2: AppendEntries(term 2, prev (1,2), commit 0, round 0, entries (2,3)..(2,3))"]);
    assert_eq!(lab.raft.committed, LogId::ZERO);
    assert!(lab.matched(B, id(2, 3)).is_empty(), "the leader's own disk has not written it");
    assert_eq!(lab.durable(), ["commit (2,3)"]);
}

#[test]
fn a_majority_without_the_leaders_disk_commits() {
    let mut lab = leader();
    lab.propose(&["x"]);
    assert!(lab.matched(B, id(2, 3)).is_empty());
    assert_eq!(lab.matched(C, id(2, 3)), ["commit (2,3)"]);
}

#[test]
fn match_never_goes_back_and_old_answers_count_for_nothing() {
    let mut lab = leader();
    lab.propose(&["x"]);
    lab.matched(B, id(2, 3));
    lab.matched(B, id(1, 1));
    let old = Message::AppendEntriesReply { term: 1, round: 0, answer: Answer::Matched(id(2, 3)) };
    assert!(lab.hear(C, old).is_empty());
    let State::Leader(l) = &lab.raft.state else { panic!() };
    let has: Vec<LogId> = l.peers.iter().map(|p| p.matched).collect();
    assert_eq!(has, [id(2, 3), id(2, 2)]);
    let said = lab.matched(C, id(2, 9));
    assert_eq!(said, ["disconnect n3: acknowledges an entry that its leader does not have"]);
}

#[test]
fn a_full_window_holds_up_one_peer_only() {
    let config = Config { max_inflight_messages: 2, ..Config::default() };
    let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
    lab.lead();
    lab.durable();
    lab.matched(B, id(2, 2));
    lab.matched(C, id(2, 2));
    lab.propose(&["a"]);
    lab.propose(&["b"]);
    lab.matched(C, id(2, 4));
    let said = lab.propose(&["c"]);
    assert_eq!(said.iter().filter(|l| l.starts_with("n2")).count(), 0, "{said:?}");
    assert_eq!(said.iter().filter(|l| l.starts_with("n3")).count(), 1, "{said:?}");
    lab.propose(&["d"]);
    // When it opens, what waited goes out as one message.
    let said = lab.matched(B, id(2, 4));
    assert_eq!(
        said,
        ["commit (2,4)", "n2: AppendEntries(term 2, prev (2,4), commit 4, round 0, entries (2,5)..(2,6))"]
    );
}

#[test]
fn proposals_are_bounded_in_bytes_and_refused_elsewhere() {
    let config = Config { max_uncommitted_bytes: 100, max_batch_bytes: 50, ..Config::default() };
    let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
    assert_eq!(lab.propose(&["x"]), ["refused: this node does not lead"]);
    lab.lead();
    assert!(lab.propose(&["a", "b"])[0].starts_with("accepted"));
    assert_eq!(lab.propose(&["c", "d"]), ["refused: too many uncommitted bytes, try again"]);
    lab.durable();
    lab.matched(B, id(2, 4));
    assert!(lab.propose(&["c", "d"])[0].starts_with("accepted"), "the first were committed");
    assert_eq!(lab.propose(&[]), ["refused: not offered: an empty proposal"]);
}

#[test]
fn a_batch_larger_than_a_message_is_cut() {
    let config = Config { max_batch_bytes: 4, ..Config::default() };
    let mut lab = Lab::with(A, log_of(&[1]), LogId::ZERO, config).connected();
    lab.lead();
    lab.matched(B, id(2, 2));
    let said = lab.propose(&["aa", "bb", "cc"]);
    let to_b: Vec<_> = said.iter().filter_map(|l| l.strip_prefix("n2: ")).collect();
    assert_eq!(
        to_b,
        [
            "AppendEntries(term 2, prev (2,2), commit 0, round 0, entries (2,3)..(2,4))",
            "AppendEntries(term 2, prev (2,4), commit 0, round 0, entries (2,5)..(2,5))"
        ]
    );
}

#[test]
fn a_busy_peer_gets_no_heartbeat_and_an_idle_one_does() {
    let mut lab = leader();
    lab.pass(50);
    lab.propose(&["x"]);
    lab.matched(B, id(2, 3));
    lab.durable();
    // C did not answer, and B does not know of the commit.
    assert_eq!(lab.pass(50).len(), 2);
    lab.propose(&["y"]);
    lab.matched(B, id(2, 3));
    let beat = lab.pass(50);
    assert_eq!(beat.len(), 1, "{beat:?}");
    assert!(beat[0].starts_with("n3"), "{beat:?}");
}
