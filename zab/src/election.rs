//! Phase 0: fast leader election. Votes converge on the node with the greatest `(peerEpoch, zxid, id)`.
//!
//! Each LOOKING voter starts a *round* with a vote for itself and changes it to any better vote of the same round that
//! it hears; a higher round makes it start over in that round, a lower one is answered with its own vote so that the
//! sender catches up. When a quorum holds its vote it waits a little for a better one (`finalizeWait`) and leaves the
//! election, to lead or to follow. Nodes that have left answer a LOOKING node with what they chose; a quorum of such
//! answers, one of them from the leader itself (`checkLeader`), lets a late comer join without disturbing anyone.
//!
//! ZooKeeper keeps the votes in two tables: `recvset` (this round) and `outofelection` (of settled nodes, any round).
//! Both are views of one table here, the last notification of each connected peer: sessions are FIFO, so the last one
//! is what that peer is, and it goes away with the session, so that votes of the dead do not count.
//!
//! Nothing here is durable and no safety rests on it: discovery compares histories again and a wrong choice only costs
//! time. The election must find the best history because ZAB's leader never fetches one from a follower.
//!
//! Differences from ZooKeeper's FastLeaderElection:
//! - A vote is changed only for a candidate this node is connected to. Otherwise, with broken links, the best node
//!   would be elected again and again by nodes that cannot reach it.
//! - `finalizeWait` is skipped when every connected voter agrees: there is nobody left to wait for. Otherwise it is as long as
//!   the network is wide, by what the last leader measured and told with its PING: candidates cannot measure it, since nobody
//!   need answer a notification.
//! - Nodes tell LOOKING peers when they settle, instead of only answering their next question.
//! - A role that ended before broadcast is not tried again at once if that happened before: the pause doubles.

use std::cmp::Ordering;

use common::entries::Entries;
use common::protocol::Effect;
use common::trace::TraceBody;
use common::types::{Micros, NodeId};
use common::{mark, mutant};

use crate::broadcast::next_zxid;
use crate::config::Config;
use crate::core::{Fx, GiveUp, Local, Outcome, State, Zab};
use crate::message::{Hex, Message, NodeState, Notification, Vote, better, history};
use crate::recovery::follower::Following;
use crate::recovery::leader::Leading;

/// Rounds are counted by one; no ensemble gets here, so a number above is damage, and would spread.
const ROUND_MAX: u64 = 1 << 62;

/// A node in election. Its vote and round are in [`Local::note`].
#[derive(Debug)]
pub(crate) struct Looking {
    /// The pause until the notification is repeated; doubles.
    retry: Micros,
    retry_at: Micros,
    /// When the wait for a better vote ends, while a quorum holds ours.
    decide_at: Option<Micros>,
    /// Leaves the election not before then.
    hold_until: Micros,
    /// Until when an observer waits for one that should feed it and has no leader yet; from when it has one itself.
    source_until: Option<Micros>,
}

impl Looking {
    pub(crate) fn new(now: Micros, hold_until: Micros, config: &Config) -> Self {
        let retry = Micros::from_millis(config.notification_min_ms);
        // The very first notification is due at once: `new` itself sends nothing.
        Self { retry, retry_at: now, decide_at: None, hold_until, source_until: None }
    }

    pub(crate) fn wake_at(&self) -> Micros {
        self.retry_at.min(self.decide_at.map_or(self.retry_at, |at| at.max(self.hold_until)))
    }
}

impl Local {
    /// Whether a vote names a better history than this node's. There it may stand who votes, its owner and this node too.
    fn ahead(&self, vote: Vote) -> bool {
        let own = self.own_vote();
        better((vote.peer_epoch, vote.zxid), (own.peer_epoch, own.zxid)) && !mutant!("Z46")
    }

    /// Whether a vote may be taken over: for somebody this node can reach, if both may be elected.
    fn eligible(&self, vote: Vote) -> bool {
        let stands = self.stands();
        if vote.leader == self.id {
            return stands && vote == self.own_vote();
        }
        self.connected(vote.leader) && (stands && self.members.may_lead(vote.leader) || self.ahead(vote))
    }

    /// The votes of LOOKING nodes, as heard. Not only of those that vote as far as this node knows: they are counted
    /// elsewhere.
    fn looking_votes(&self) -> impl Iterator<Item = (u64, Vote)> + '_ {
        self.sessions
            .values()
            .filter(|s| !s.closing)
            .filter_map(|s| s.heard.as_ref())
            .filter(|n| n.state == NodeState::Looking)
            .filter_map(|n| n.vote.map(|vote| (n.round, vote)))
    }

    /// The first vote of a round: for the node that the last leader named, if its history is no worse, or for oneself.
    fn first_vote(&self) -> Vote {
        let own = self.own_vote();
        self.designated().filter(|vote| history(*vote, own) != Ordering::Less).unwrap_or(own)
    }

    /// Takes over the best vote of the highest round. Says whether anything changed.
    fn converge(&mut self) -> bool {
        let before = self.note;
        // Who cannot be elected has none of its own, and keeps out of it unless it may have to.
        let own = self.stands().then(|| self.first_vote());
        if self.hard.mending && own.is_none() {
            return false;
        }
        if own.is_none() && !self.looking_votes().any(|(_, vote)| self.eligible(vote)) {
            return false;
        }
        if self.note.vote.is_none() {
            self.note.vote = own;
        }
        let top = self.looking_votes().map(|(round, _)| round).max().unwrap_or(0);
        // Who has no vote yet goes by the round of those who have: its own is nobody's, and might be ahead of theirs for ever.
        if top > self.note.round || self.note.vote.is_none() {
            // A higher round: what was received in ours no longer counts, and the comparison starts from the first vote.
            mark!("zab/election#converge.higher_round");
            self.note.round = top;
            self.note.vote = own;
        }
        let round = self.note.round;
        let votes = || self.looking_votes().filter(|(r, _)| *r == round).map(|(_, v)| v);
        let best = votes().filter(|v| self.eligible(*v)).max_by(|a, b| self.prefer(*a, *b));
        if votes().max() > best.max(self.note.vote) {
            mark!("zab/election#converge.out_of_reach");
        }
        self.note.vote = match (best, self.note.vote) {
            (Some(best), Some(mine)) if self.prefer(mine, best) != Ordering::Less && !mutant!("Z16") => Some(mine),
            (best, mine) => best.or(mine),
        };
        self.note != before
    }

    /// `recvset`: whether this voter's last word is exactly this vote, in this round.
    fn agrees(&self, voter: NodeId, round: u64, vote: Vote) -> bool {
        let n = if voter == self.id { Some(&self.note) } else { self.heard(voter) };
        n.is_some_and(|n| n.round == round && n.vote == Some(vote))
    }

    /// A leader that says so itself (`checkLeader`) and is confirmed by a quorum. Of two settled nodes' votes only
    /// leader and peerEpoch are compared, since they may have settled at different times (ZOOKEEPER-1732, 1805, 1818).
    ///
    /// One that knows of a later change of members is believed without: this node does not know who counts. And if this
    /// node's own log ends in a change that was never committed, those who did without it may be a quorum without it only.
    fn settled_leader(&self) -> Option<(u64, Vote)> {
        self.sessions.ids().find_map(|leader| {
            let n = self.heard(leader).filter(|n| n.state == NodeState::Leading)?;
            let vote = n.vote.filter(|v| v.leader == leader)?;
            let settled = |v: NodeId| {
                self.heard(v).is_some_and(|m| {
                    matches!(m.state, NodeState::Following | NodeState::Leading)
                        && m.vote.is_some_and(|w| w.leader == leader && w.peer_epoch == vote.peer_epoch)
                })
            };
            // A LOOKING node's vote counts too if it is the very same one of the same round.
            let follows = |v| settled(v) || self.agrees(v, n.round, vote);
            let confirmed = if mutant!("Z64") {
                self.members.votes(leader) && self.members.is_quorum(follows)
            } else {
                self.members.may_be_quorum(follows)
            };
            let later = n.members > self.members.firm() && !mutant!("Z47");
            if later && !confirmed {
                mark!("zab/election#settled_leader.of_later_members");
            }
            (confirmed || later).then_some((n.round, vote))
        })
    }

    fn trace_vote(&self, fx: &mut Fx) {
        let Notification { round, vote, .. } = self.note;
        fx.trace("zab/election#trace_vote", "ZooKeeper FastLeaderElection", || TraceBody::Set {
            s: vec![
                ("round", round.into()),
                ("vote", vote.map_or(serde_json::Value::Null, |v| v.leader.0.into())),
                ("voteEpoch", vote.map_or(0, |v| v.peer_epoch).into()),
                ("voteZxid", vote.map_or(String::new(), |v| Hex(v.zxid).to_string()).into()),
            ],
        });
    }
}

impl Zab {
    /// The role is over: back to LOOKING, in a new round. Says so at once to everyone connected, which is how a leader's
    /// followers and a follower's leader learn that their attempt is over.
    pub(crate) fn look(&mut self, why: &'static str, fx: &mut Fx) {
        let served = match &self.state {
            State::Looking(_) => None,
            State::Following(f) => Some(f.in_broadcast()),
            State::Leading(l) => Some(l.established()),
        };
        match served {
            Some(true) => self.me.failures = 0,
            Some(false) => self.me.failures = self.me.failures.saturating_add(1),
            None => {}
        }
        self.fail_reads(fx);
        if let State::Leading(l) = &mut self.state {
            self.me.round_trip = l.round_trip().or(self.me.round_trip);
            l.forget_change(fx);
        }
        if mutant!("Z42")
            && let State::Leading(l) = &self.state
            && l.established()
            && let Some(id) = next_zxid(self.me.log.last(), l.epoch, 1, self.me.config.counter_max)
        {
            self.me.append(Entries::noop(id), fx);
        }
        if let State::Following(f) = &self.state {
            self.me.stale_writes += f.writes_under_way();
            if f.writes_under_way() > 0 {
                fx.mark("zab/election#look.snapshot_under_way");
            }
        }
        let fed = matches!(&self.state, State::Following(f) if f.relay.is_some());
        let hold_until = self.me.now.after(self.me.pause());
        let mut looking = Looking::new(self.me.now, hold_until, &self.me.config);
        looking.retry_at = self.me.now.after(looking.retry);
        self.state = State::Looking(looking);
        // Without a vote until `elect` finds the disk at rest.
        let (round, members) = (self.me.note.round + 1, self.me.members.firm());
        self.me.note = Notification { state: NodeState::Looking, round, vote: None, members };
        fx.trace("zab/election#look", "Zab1.0 P0", || TraceBody::Set {
            s: vec![("phase", "election".into()), ("why", why.into())],
        });
        if !self.me.at_rest() || !self.me.stands() || fed {
            self.me.announce(fx);
        }
        self.elect_again(fx);
    }

    /// As [`elect`](Self::elect), for callers that are already leaving a role. Leaving the election can fail at once
    /// only by giving up again, and the pause between failures keeps that from recurring without end.
    fn elect_again(&mut self, fx: &mut Fx) {
        if let Err(GiveUp(why)) = self.elect(fx) {
            self.look(why, fx);
        }
    }

    pub(crate) fn on_notification(&mut self, from: NodeId, n: Notification, fx: &mut Fx) -> Outcome {
        let voter = self.me.members.votes(from);
        if n.round >= ROUND_MAX {
            self.me.disconnect(from, "a round beyond 2^62", fx);
            return self.on_attempt_over(from);
        }
        let mut news = false;
        if let Some(session) = self.me.sessions.get_mut(from) {
            news = session.heard.replace(n) != Some(n);
            if n.state == NodeState::Looking {
                session.knock = None;
            }
        }
        match &mut self.state {
            State::Looking(_) => {
                // The push that lets a lower round catch up; without it two nodes can wait for each other (LIVE). Who does not
                // vote is answered once: two that hold each other for such would answer each other for ever.
                let behind = n.round < self.me.note.round && self.me.note.vote.is_some();
                if n.state == NodeState::Looking && (!voter && news || n.vote.is_some() && behind) {
                    fx.mark("zab/election#on_notification.push");
                    fx.send(from, Message::Notification(self.me.note));
                }
                self.elect(fx)
            }
            State::Following(f) => {
                if n.state == NodeState::Looking {
                    fx.mark("zab/election#on_notification.follower_answers");
                    fx.send(from, Message::Notification(self.me.note));
                    f.forget_observer(&mut self.me, from);
                }
                if f.leader == from { f.on_leader_notification(&n, self.me.note.round) } else { Ok(()) }
            }
            State::Leading(l) => {
                if n.state == NodeState::Looking {
                    fx.mark("zab/election#on_notification.leader_answers");
                    fx.send(from, Message::Notification(self.me.note));
                }
                let elsewhere = n.vote.is_some_and(|v| v.leader != self.me.id);
                if n.state == NodeState::Looking || elsewhere {
                    l.drop_learner(&mut self.me, from);
                }
                l.check_quorum(&self.me)
            }
        }
    }

    pub(crate) fn on_attempt_over(&mut self, peer: NodeId) -> Outcome {
        match &mut self.state {
            State::Leading(l) => {
                l.drop_learner(&mut self.me, peer);
                l.check_quorum(&self.me)
            }
            State::Following(f) if f.leader == peer => Err(GiveUp("the leader broke the protocol")),
            _ => Ok(()),
        }
    }

    /// A peer's session ended while this node was LOOKING.
    pub(crate) fn on_candidate_down(&mut self, peer: NodeId, fx: &mut Fx) -> Outcome {
        if self.me.note.vote.is_some_and(|v| v.leader == peer) {
            fx.mark("zab/election#on_candidate_down.voted_for");
            // Votes only improve within a round, so one for somebody who is gone needs a new round to be taken back.
            return Err(GiveUp("the candidate's session ended"));
        }
        self.elect(fx)
    }

    pub(crate) fn on_election_tick(&mut self, fx: &mut Fx) -> Outcome {
        let State::Looking(l) = &mut self.state else { return Ok(()) };
        if self.me.now >= l.retry_at {
            l.retry = Micros((l.retry.0 * 2).min(Micros::from_millis(self.me.config.notification_max_ms).0));
            l.retry_at = self.me.now.after(l.retry);
            self.me.announce(fx);
        }
        self.elect(fx)
    }

    /// Looks at all that was heard and leaves the election if it can. Called whenever anything of it changes.
    pub(crate) fn elect(&mut self, fx: &mut Fx) -> Outcome {
        // R3, the freeze rule: until all is durable there is no vote and no leaving.
        if !matches!(self.state, State::Looking(_)) || !(self.me.at_rest() || mutant!("Z07")) {
            return Ok(());
        }
        if self.me.converge() {
            self.me.announce(fx);
            self.me.trace_vote(fx);
            self.undecided();
        }
        if let Some((round, vote)) = self.me.settled_leader() {
            fx.mark("zab/election#elect.settled");
            if let State::Looking(l) = &mut self.state
                && self.me.awaits_source(vote.leader)
            {
                let until = *l.source_until.get_or_insert(self.me.now.after(self.me.config.sync_limit()));
                if self.me.now < until {
                    l.decide_at = Some(until);
                    return Ok(());
                }
            }
            return self.once_held(|zab, fx| zab.go(round, vote, fx), fx);
        }
        let Some(vote) = self.me.note.vote else {
            self.undecided();
            return Ok(());
        };
        // For this node itself only votes of its own round count: what others say of an earlier round in which it led
        // does not make it leader again (ZOOKEEPER-1514, 975).
        let round = self.me.note.round;
        if !self.me.members.is_quorum(|v| self.me.agrees(v, round, vote)) {
            self.undecided();
            return Ok(());
        }
        let me = &self.me;
        // Whose vote weighs nothing has none, and nobody waits for it.
        let counted = |v: &NodeId| me.connected(*v) && me.members.may_lead(*v);
        let all = me.members.others(me.id).filter(counted).all(|v| me.agrees(v, round, vote));
        let wait = if all { Micros(0) } else { me.config.finalize_wait(me.round_trip) };
        let now = me.now;
        let State::Looking(l) = &mut self.state else { return Ok(()) };
        let at = if all { now } else { *l.decide_at.get_or_insert(now.after(wait)) };
        if now < at {
            fx.mark("zab/election#elect.finalize_wait");
            return Ok(());
        }
        fx.mark(if all { "zab/election#elect.all_agree" } else { "zab/election#elect.waited" });
        self.once_held(|zab, fx| zab.go(round, vote, fx), fx)
    }

    /// There is no quorum (any more) to wait on.
    fn undecided(&mut self) {
        if let State::Looking(l) = &mut self.state {
            l.decide_at = None;
        }
    }

    /// Does it if the pause after a failure is over; otherwise the next tick will.
    fn once_held(&mut self, go: impl FnOnce(&mut Self, &mut Fx) -> Outcome, fx: &mut Fx) -> Outcome {
        let now = self.me.now;
        if let State::Looking(l) = &mut self.state
            && now < l.hold_until
        {
            fx.mark("zab/election#once_held.pause");
            l.decide_at = Some(l.hold_until);
            return Ok(());
        }
        go(self, fx)
    }

    fn go(&mut self, round: u64, vote: Vote, fx: &mut Fx) -> Outcome {
        if vote.leader == self.me.id {
            return self.lead(fx);
        }
        self.follow(round, vote, fx);
        Ok(())
    }

    fn follow(&mut self, round: u64, vote: Vote, fx: &mut Fx) {
        // The round may go back: it is that of the ensemble this node joins.
        self.me.note.round = round;
        let source = self.me.source(vote.leader);
        let following = Following::start(&mut self.me, vote, source, fx);
        self.state = State::Following(Box::new(following));
        self.me.announce(fx);
    }

    fn lead(&mut self, fx: &mut Fx) -> Outcome {
        self.me.note.state = NodeState::Leading;
        self.me.announce(fx);
        self.state = State::Leading(Box::new(Leading::new(&self.me)));
        if mutant!("Z69") {
            self.me.commit(self.me.log.last(), fx);
        }
        fx.trace("zab/election#lead", "Zab1.0 P1.1", || TraceBody::Set { s: vec![("phase", "discovery".into())] });
        let knocks: Vec<_> = self.me.sessions.iter_mut().filter_map(|(id, s)| Some((id, s.knock.take()?))).collect();
        let State::Leading(l) = &mut self.state else { return Ok(()) };
        l.advance(&mut self.me, fx);
        for (from, info) in knocks {
            fx.mark("zab/election#lead.knock");
            l.on_info(&mut self.me, from, info, fx)?;
        }
        Ok(())
    }
}

impl Local {
    /// How long to stay in election before the next attempt. The first failure is free; then the pause doubles up to the
    /// longest notification interval, with a random part, so that nodes which disturb each other fall out of step.
    fn pause(&mut self) -> Micros {
        let Some(doublings) = self.failures.checked_sub(2) else { return Micros(0) };
        let max = Micros::from_millis(self.config.notification_max_ms).0;
        let span = (10_000u64 << doublings.min(10)).min(max);
        Micros(self.rng.between(span / 2, span))
    }

    /// After synchronisation the vote names the new epoch, so that late comers find all settled votes equal
    /// (ZOOKEEPER-1732).
    pub(crate) fn settle_vote(&mut self, epoch: u64, fx: &mut Fx) {
        self.failures = 0;
        if mutant!("Z28") && self.note.state != NodeState::Leading {
            return;
        }
        if let Some(vote) = &mut self.note.vote {
            vote.peer_epoch = epoch;
        }
        self.announce_to_looking(fx);
    }
}

/// A node whose peers hold an epoch at the end of the number space cannot go on.
pub(crate) fn epochs_exhausted(me: &mut Local, fx: &mut Fx) {
    me.halted = true;
    fx.push(Effect::Halt("acceptedEpoch has reached 2^32 - 1: there is no further epoch".into()));
}
