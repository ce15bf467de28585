//! C-VOW: what a message says of its sender's disk is true of that disk when the message leaves.
//!
//! A missing fsync is found here the first time that somebody relies on it, without a crash at the right moment. What a
//! promise is about is partly in the messages before it (ACKEPOCH does not name the epoch, ACK of NEWLEADER not the
//! history), so the last attempt between each pair of nodes is followed.

use std::collections::BTreeMap;

use common::codec::Payload;
use common::sim::subject::Violation;
use common::sim::truth::Truth;
use common::types::NodeId;

use super::oracle::end;
use crate::core::Hard;
use crate::message::{Info, Message, NodeState, Notification, Vote, Zxid};

type Check = Result<(), Violation>;

/// What the nodes of each pair have said to each other, as far as promises depend on it.
#[derive(Debug, Default)]
pub(super) struct Vows(BTreeMap<(NodeId, NodeId), Attempt>);

/// The last attempt of a learner with a leader.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    number: u64,
    /// Of LEADERINFO.
    epoch: u64,
    /// The end of the learner's log once it has taken in all that was sent to it before NEWLEADER.
    history: Zxid,
    new_leader: bool,
    observer: bool,
    /// It did not ask for a leader.
    relay: bool,
}

/// A vote speaks of a log at rest: one for the sender itself says exactly what it has, one for another not less.
fn true_vote(from: NodeId, n: &Notification, truth: &Truth<Hard>) -> bool {
    let Some(vote) = n.vote.filter(|_| n.state == NodeState::Looking) else { return true };
    // Whether it votes is not on its disk as such; in doubt it does not.
    let votes = vote.leader == from && vote.votes;
    let own = Vote { peer_epoch: truth.hard.current_epoch, zxid: end(truth), votes, leader: from };
    if vote.leader == from { vote == own } else { vote > own }
}

fn vow(holds: bool, from: NodeId, message: &Message, truth: &Truth<Hard>) -> Check {
    if holds {
        return Ok(());
    }
    let disk = format!("{:?}, log up to {}, snapshot of {}", truth.hard, truth.log.last(), truth.snapshot);
    Err(Violation::new("C-VOW", format!("{from} sends {message:?} and has on disk: {disk}")))
}

impl Vows {
    pub(super) fn crashed(&mut self, node: NodeId) {
        // Numbers of attempts start again.
        self.0.retain(|(leader, learner), _| *leader != node && *learner != node);
    }

    /// Whether a learner is passed on what others begin and commit.
    pub(super) fn relays(&self, source: NodeId, learner: NodeId) -> bool {
        self.0.get(&(source, learner)).is_some_and(|a| a.relay)
    }

    fn attempt(&mut self, leader: NodeId, learner: NodeId, number: u64) -> Option<&mut Attempt> {
        self.0.get_mut(&(leader, learner)).filter(|a| a.number == number)
    }

    /// Before NEWLEADER: the learner's log will end here.
    fn history(&mut self, leader: NodeId, learner: NodeId, number: u64, end: Zxid) {
        if let Some(a) = self.attempt(leader, learner, number).filter(|a| !a.new_leader) {
            a.history = end;
        }
    }

    pub(super) fn sends(&mut self, from: NodeId, to: NodeId, message: &Message, truth: &Truth<Hard>) -> Check {
        let vow = |holds| vow(holds, from, message, truth);
        let hard = truth.hard;
        match message {
            Message::Notification(n) => vow(true_vote(from, n, truth)),
            Message::FollowerInfo(info) | Message::ObserverInfo(info) => {
                let Info { attempt, accepted_epoch, current_epoch, last_zxid, mending, relay } = *info;
                let observer = matches!(message, Message::ObserverInfo(_));
                let begun =
                    Attempt { number: attempt, epoch: 0, history: last_zxid, new_leader: false, observer, relay };
                self.0.insert((to, from), begun);
                // R12: entries of an epoch prove the promise for it.
                let accepted = hard.accepted_epoch == accepted_epoch
                    || (hard.accepted_epoch < accepted_epoch && accepted_epoch == last_zxid.epoch);
                let same = (hard.current_epoch, hard.mending) == (current_epoch, mending);
                vow(accepted && same && end(truth) == last_zxid)
            }
            Message::LeaderInfo { attempt, epoch, voter, .. } => {
                if let Some(a) = self.attempt(from, to, *attempt) {
                    (a.epoch, a.observer) = (*epoch, !voter);
                }
                vow(hard.accepted_epoch >= *epoch)
            }
            Message::AckEpoch { attempt, current_epoch, last_zxid, .. } => {
                // An observer promises nothing.
                let promised = self.attempt(to, from, *attempt).filter(|a| !a.observer).map_or(0, |a| a.epoch);
                let same = hard.current_epoch == *current_epoch && end(truth) == *last_zxid;
                vow(same && hard.accepted_epoch >= promised)
            }
            Message::Ack { zxid, .. } if zxid.counter > 0 => vow(truth.has(*zxid)),
            Message::Ack { attempt, zxid } => {
                let history = self.attempt(to, from, *attempt).filter(|a| a.new_leader).map(|a| a.history);
                vow(hard.current_epoch >= zxid.epoch && history.is_none_or(|h| truth.has(h)))?;
                // It has what it was sent, and no more.
                match history.filter(|h| end(truth) != *h) {
                    Some(h) => {
                        let what = format!("{from} acknowledges the history up to {h} and has {}", end(truth));
                        Err(Violation::new("Z-PFX", what))
                    }
                    None => Ok(()),
                }
            }
            _ => {
                self.listen(from, to, message);
                Ok(())
            }
        }
    }

    /// What a leader says to a learner on the way to NEWLEADER.
    fn listen(&mut self, from: NodeId, to: NodeId, message: &Message) {
        match message {
            Message::Trunc { attempt, to: kept } => self.history(from, to, *attempt, *kept),
            Message::Snap { attempt, chunk } => self.history(from, to, *attempt, chunk.snapshot),
            Message::Proposal { attempt, entries: Payload::Entries(run) } => {
                self.history(from, to, *attempt, run.last());
            }
            Message::NewLeader { attempt, .. } => {
                if let Some(a) = self.attempt(from, to, *attempt) {
                    a.new_leader = true;
                }
            }
            _ => {}
        }
    }
}
