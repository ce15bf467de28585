//! Bringing a follower's log in line with the leader's (section 5.3): find where they agree, cut what differs, fill what is
//! missing.
//!
//! A new leader first asks each peer: an empty AppendEntries whose `prev` is the leader's last entry. A follower that
//! has it is level. One that has not answers with a hint: its last entry that might still match, `at`, and the first index
//! it has of that entry's term. The leader looks the term up in its own log:
//!
//! - It has entries of that term which the follower must have too, since entries with the same index and term are the same
//!   (Log Matching). It goes on from there without asking again.
//! - It has none: all of the follower's entries of that term are in its way, and it asks about the one before them.
//!
//! So repair takes at most one round trip per term in which the logs differ, instead of one per entry. While it asks, it
//! sends no entries: on a guess they would be sent twice.
//!
//! What breaks if it is done wrong: a `nextIndex` that falls to `matchIndex` or below sends acknowledged entries again and
//! again, and with a truncation at anything but a real conflict an entry that was counted disappears.

use common::entries::Entries;
use common::log::{LogView, Read};
use common::mutant;
use common::protocol::{Effect, Effects};
use common::trace::TraceBody;
use common::types::{LogId, NodeId};

use crate::broadcast::{disconnect, trace_log};
use crate::core::{Due, Raft, State};
use crate::membership::Progress;
use crate::message::Answer;

/// What a leader may have asked its disk for, on a peer's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskRead {
    Entries,
    Snapshot,
}

/// The last entry (or base) of `log` that is neither after `id`'s index nor of a later term. None when it is compacted away.
pub(crate) fn not_after(log: &LogView, id: LogId) -> Option<LogId> {
    let floor = log.floor(id)?;
    if floor.counter > id.counter { log.at(id.counter) } else { Some(floor) }
}

impl Raft {
    /// `prev` is not in this log: says so.
    pub(crate) fn refuse(&mut self, from: NodeId, prev: LogId, fx: &mut Effects<Self>) {
        let State::Follower(follower) = &mut self.state else { return };
        if prev.counter <= self.committed.counter {
            return disconnect(from, "its log contradicts what is committed here", fx);
        }
        fx.trace("raft/recovery#refuse", "Raft fig. 2 AppendEntries 2", || TraceBody::Note {
            key: "prev_missing",
            args: vec![("term", prev.epoch.into()), ("index", prev.counter.into())],
        });
        follower.reply = Some(Due::Conflict(prev));
        self.acknowledge(fx);
    }

    /// The answer to a refused `prev`.
    pub(crate) fn conflict_hint(&self, refused: LogId) -> Answer {
        let base = self.log.base();
        let at = not_after(&self.log, refused).unwrap_or(base);
        let first = match self.log.span_of(at.epoch) {
            Some(span) if at.epoch != base.epoch => span.first,
            _ => base.counter,
        };
        Answer::Conflict { refused, last: self.log.last(), at, first }
    }

    /// A peer does not have the entry before what was sent, or asked about.
    pub(crate) fn conflict(
        &mut self,
        index: usize,
        refused: LogId,
        last: LogId,
        at: LogId,
        first: u64,
        fx: &mut Effects<Self>,
    ) {
        let say = self.say();
        let State::Leader(leader) = &mut self.state else { return };
        let peer = &mut leader.peers[index];
        if peer.forgets(last, self.members.votes(peer.id)) {
            return disconnect(peer.id, crate::mend::FORGOT, fx);
        }
        let stale = match peer.progress {
            Progress::Probe => refused != peer.sent,
            // An answer to a probe of before: nothing after `refused` was sent since.
            Progress::Replicate => refused > peer.sent,
            Progress::Snapshot(_) => true,
        };
        if stale || refused.counter <= peer.matched.counter {
            return fx.mark("raft/recovery#conflict.stale");
        }
        if at.counter > refused.counter || first > at.counter {
            return disconnect(peer.id, "a conflict hint that is none", fx);
        }
        let ours = not_after(&self.log, at);
        let known = Some(peer.matched).filter(|id| self.log.contains(*id));
        let agrees = ours.is_some_and(|ours| ours.epoch == at.epoch && ours.counter >= first);
        let guess = if agrees { ours } else { not_after(&self.log, LogId::new(at.epoch, first.saturating_sub(1))) };
        let (guess, agrees) = if guess <= known { (known, true) } else { (guess, agrees) };
        fx.trace("raft/recovery#conflict", "Raft 5.3", || TraceBody::Note {
            key: if guess.is_none() {
                "snapshot_needed"
            } else if agrees {
                "agreement_found"
            } else {
                "probe_back"
            },
            args: vec![("peer", peer.id.0.into()), ("index", guess.map(|g| g.counter).into())],
        });
        match guess {
            // The next heartbeat asks the same again.
            _ if mutant!("R21") => {}
            None => self.begin_snapshot(index, last, fx),
            Some(guess) if agrees => {
                fx.mark("raft/recovery#conflict.agreement_by_term");
                peer.begin_sync("append", last, self.log.last(), self.now);
                peer.replicate(guess);
                self.pump(index, fx);
            }
            Some(guess) => {
                fx.mark("raft/recovery#conflict.probe_back");
                peer.probe(guess);
                peer.append(say, None, fx);
            }
        }
    }

    /// Removes every entry after index `keep`: the leader has another one there.
    pub(crate) fn truncate(&mut self, keep: u64, fx: &mut Effects<Self>) -> Result<(), &'static str> {
        let State::Follower(follower) = &self.state else { return Err("a leader does not truncate") };
        let Some(after) = self.log.at(keep).filter(|_| keep >= self.committed.counter) else {
            return Err("its log contradicts what is committed here");
        };
        if keep < follower.verified.counter {
            return Err("its log contradicts what it sent in this term");
        }
        let cut = self.log.last().counter - keep;
        trace_log(fx, "raft/recovery#truncate", "Raft fig. 2 AppendEntries 3", "trunc", after, cut);
        self.log.truncate_after(after);
        if !mutant!("R63") {
            self.members.cut(after);
        }
        if self.durable > after {
            fx.mark("raft/recovery#truncate.durable");
        }
        if !mutant!("R28") {
            self.durable = self.durable.min(after);
        }
        fx.push(Effect::Truncate { after });
        Ok(())
    }

    /// Sends a peer what it lacks, as far as its window allows. Small runs of one term travel together.
    pub(crate) fn pump(&mut self, at: usize, fx: &mut Effects<Self>) {
        let (say, last) = (self.say(), self.log.last());
        let State::Leader(leader) = &mut self.state else { return };
        let peer = &mut leader.peers[at];
        while peer.sent < last && peer.may_send(&self.config) {
            match self.log.read(peer.sent, self.config.max_batch_bytes) {
                Read::Found(run) => peer.append(say, Some(run), fx),
                Read::OnDisk => {
                    let read = (peer.id, DiskRead::Entries);
                    if !self.disk_reads.contains(&read) {
                        fx.mark("raft/recovery#pump.from_disk");
                        self.disk_reads.push(read);
                        let max_bytes = self.config.max_batch_bytes;
                        fx.push(Effect::Fetch { peer: peer.id, after: peer.sent, max_bytes });
                    }
                    return;
                }
                Read::Compacted | Read::Unknown => {
                    fx.mark("raft/recovery#pump.compacted");
                    let from = peer.sent;
                    return self.begin_snapshot(at, from, fx);
                }
                Read::End => return,
            }
        }
    }

    /// Entries that had left memory. They may have been asked for in another state of things: only what goes on from where
    /// the peer is now is sent. When they could not be had, the next heartbeat looks again.
    pub(crate) fn fetched(&mut self, peer: NodeId, after: LogId, entries: Option<Entries>, fx: &mut Effects<Self>) {
        self.disk_reads.retain(|read| *read != (peer, DiskRead::Entries));
        let say = self.say();
        let State::Leader(leader) = &mut self.state else { return };
        let Some(at) = leader.position(peer) else { return };
        let Some(run) = entries else { return fx.mark("raft/recovery#fetched.nothing") };
        let peer = &mut leader.peers[at];
        let follows = self.log.next(after) == Some(run.first()) && self.log.contains(run.last());
        if follows && peer.sent == after && peer.may_send(&self.config) {
            peer.append(say, Some(run), fx);
        } else {
            fx.mark("raft/recovery#fetched.out_of_date");
        }
        self.pump(at, fx);
    }

    pub(crate) fn reads_disk_for(&self, peer: NodeId) -> bool {
        self.disk_reads.iter().any(|(id, _)| *id == peer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::protocol::Input;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::message::Message;
    use crate::testing::{A, B, Lab, id, log_of, run};

    /// Two logs that could stand in one cluster: they share a prefix, and after it no term (or Log Matching would not hold).
    fn logs() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
        let steps = proptest::collection::vec((0u64..3, any::<bool>()), 0..30);
        (steps, 0usize..8).prop_map(|(steps, shared)| {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let mut term = 1;
            for (i, (up, mine)) in steps.into_iter().enumerate() {
                term += up;
                if i < shared {
                    ours.push(term);
                    theirs.push(term);
                } else if mine {
                    // Odd terms to one side, even ones to the other.
                    ours.push(10 + 2 * term);
                } else {
                    theirs.push(11 + 2 * term);
                }
            }
            (ours, theirs)
        })
    }

    proptest! {
        /// Asking takes at most one refusal per term that only the follower has, and ends where the logs really agree.
        #[test]
        fn probing_finds_the_agreement((ours, theirs) in logs()) {
            let mut leader = Lab::new(&ours).connected();
            leader.lead();
            let follower = Lab::new(&theirs);
            let agreement = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            let foreign: BTreeSet<u64> = theirs[agreement..].iter().copied().collect();
            let mut refusals = 0;
            loop {
                let State::Leader(l) = &leader.raft.state else { panic!() };
                let peer = l.find(B).unwrap();
                if peer.progress == Progress::Replicate {
                    prop_assert!(peer.sent.counter >= agreement as u64);
                    break;
                }
                let prev = peer.sent;
                let has = follower.raft.log.at(prev.counter) == Some(prev);
                if has {
                    prop_assert_eq!(prev.counter, agreement as u64);
                    break;
                }
                refusals += 1;
                let term = leader.raft.hard.term;
                let answer = follower.raft.conflict_hint(prev);
                leader.hear(B, Message::AppendEntriesReply { term, round: 0, answer });
            }
            // One more when the follower's log is only shorter than what was asked about.
            prop_assert!(refusals <= foreign.len().max(1), "{refusals} refusals, {foreign:?}");
        }
    }

    #[test]
    fn a_refusal_from_the_past_moves_nothing_back() {
        let mut lab = Lab::new(&[1, 1, 1]).connected();
        lab.lead();
        let refuse = |prev: LogId| {
            let answer = Answer::Conflict { refused: prev, last: id(1, 3), at: id(1, 1), first: 1 };
            Message::AppendEntriesReply { term: 2, round: 0, answer }
        };
        assert_eq!(lab.hear(B, refuse(id(1, 2))).len(), 0, "that was not asked");
        assert_eq!(lab.hear(B, refuse(id(1, 3))).len(), 2, "it needs (1,2), (1,3) and the no-op");
        lab.matched(B, id(1, 3));
        assert_eq!(lab.hear(B, refuse(id(1, 3))).len(), 0);
        let State::Leader(l) = &lab.raft.state else { panic!() };
        assert_eq!((l.peers[0].matched, l.peers[0].sent), (id(1, 3), id(2, 4)));
    }

    #[test]
    fn what_left_memory_is_fetched_once_and_asked_for_again_with_a_heartbeat() {
        let mut log = LogView::new(LogId::ZERO, 0);
        for index in 1..=6 {
            log.append(run(1, index, 1));
        }
        log.release(id(1, 6));
        let mut lab = Lab::with(A, log, LogId::ZERO, Config::default()).connected();
        lab.lead();
        let answer = Answer::Conflict { refused: id(1, 6), last: id(1, 2), at: id(1, 2), first: 1 };
        let hint = Message::AppendEntriesReply { term: 2, round: 0, answer };
        assert_eq!(lab.hear(B, hint), ["fetch for n2 after (1,2)"]);
        assert!(lab.propose(&["x"]).iter().all(|l| !l.starts_with("fetch")), "one at a time");
        // It could not be had: nothing happens until the next heartbeat.
        assert!(lab.step(Input::Fetched { peer: B, after: id(1, 2), entries: None }).is_empty());
        assert!(lab.pass(50).contains(&"fetch for n2 after (1,2)".to_owned()));
        let said = lab.step(Input::Fetched { peer: B, after: id(1, 2), entries: Some(run(1, 3, 4)) });
        assert_eq!(
            said,
            [
                "n2: AppendEntries(term 2, prev (1,2), commit 0, round 0, entries (1,3)..(1,6))",
                "n2: AppendEntries(term 2, prev (1,6), commit 0, round 0, entries (2,7)..(2,7))",
                "n2: AppendEntries(term 2, prev (2,7), commit 0, round 0, entries (2,8)..(2,8))"
            ]
        );
        // An answer to nothing.
        assert!(lab.step(Input::Fetched { peer: B, after: id(1, 2), entries: Some(run(1, 3, 4)) }).is_empty());
    }

    #[test]
    fn a_new_session_begins_with_a_question() {
        let mut lab = Lab::new(&[1]).connected();
        lab.lead();
        lab.matched(B, id(2, 2));
        lab.step(Input::PeerDown { peer: B });
        lab.propose(&["x"]);
        let said = lab.step(Input::PeerUp { peer: B, member: common::types::Member::Voter });
        assert_eq!(said, ["n2: AppendEntries(term 2, prev (2,3), commit 0, round 0)"]);
        let State::Leader(l) = &lab.raft.state else { panic!() };
        assert_eq!(l.peers[0].matched, id(2, 2), "what it has, it has");
    }

    #[test]
    fn the_last_entry_not_after() {
        let log = log_of(&[1, 1, 3, 3, 3]);
        let found: Vec<_> =
            [(1, 9), (2, 2), (2, 4), (3, 4), (9, 9), (9, 3)].map(|(t, i)| not_after(&log, id(t, i)).unwrap()).to_vec();
        assert_eq!(found, [id(1, 2), id(1, 2), id(1, 2), id(3, 4), id(3, 5), id(3, 3)]);
    }
}
