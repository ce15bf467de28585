//! Linearizable reads on any node: SYNC, confirmed by a quorum.
//!
//! ZooKeeper's `sync` travels to the leader and back and relies on the leader still being one; a deposed leader answers
//! it all the same, so `sync` and read are not linearizable across a change of leader (ZOOKEEPER-1675). Here the leader
//! answers with its commit point only after a quorum echoed a PING whose round began after the request arrived. Any two
//! quorums share a node; that node still followed this leader when it echoed, so no other leader was established before
//! the request, and nothing this leader does not know was committed by then.
//!
//! Only nodes that acknowledged NEWLEADER are counted: one that is still in discovery may have promised a later epoch
//! before it came here.
//!
//! ZooKeeper's own `sync` is there as well, for whoever asks for it ([`Trust::Leader`]): the leader answers at once with its
//! commit point. It goes the same way, as a *plain* REQUEST.
//!
//! Reads are batched: one round serves all that came before it began, and a learner has one REQUEST under way for all
//! its readers. The number of waiting reads is limited; more are refused as busy.

use common::entries::Entries;
use common::mutant;
use common::protocol::{Effect, Refusal, Trust};
use common::types::{Micros, NodeId};

use crate::core::{Fx, Local, Outcome, State, Zab};
use crate::message::{Message, Zxid};
use crate::recovery::follower::Following;
use crate::recovery::leader::{Leading, Progress};

/// Who waits for a confirmation.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// A read at this node itself.
    Here(u64),
    /// A learner's REQUEST.
    Peer { id: NodeId, attempt: u64, token: u64 },
}

/// Reads at a leader.
#[derive(Debug, Default)]
pub(crate) struct LeaderReads {
    /// Came after the round under way began; wait for the next one.
    next: Vec<Reader>,
    /// Wait for the round under way.
    asked: Vec<Reader>,
    /// Its PING round, and the commit point when it began.
    round: u64,
    at: Zxid,
}

impl LeaderReads {
    pub(crate) fn len(&self) -> usize {
        self.next.len() + self.asked.len()
    }

    /// A learner's attempt is over.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        let keep = |r: &Reader| !matches!(r, Reader::Peer { id, .. } if *id == peer);
        self.next.retain(keep);
        self.asked.retain(keep);
    }
}

/// Reads at a learner.
#[derive(Debug, Default)]
pub(crate) struct LearnerReads {
    /// Came after the REQUEST under way was sent.
    next: Vec<Reader>,
    /// Wait for its answer.
    asked: Vec<Reader>,
    /// A REQUEST is under way. Also when all who waited for its answer are gone: it comes all the same.
    under_way: bool,
    token: u64,
}

impl LearnerReads {
    /// Takes out all who wait.
    fn all(&mut self) -> impl Iterator<Item = Reader> + '_ {
        self.asked.drain(..).chain(self.next.drain(..))
    }

    fn forget(&mut self, peer: NodeId) {
        let keep = |r: &Reader| !matches!(r, Reader::Peer { id, .. } if *id == peer);
        self.next.retain(keep);
        self.asked.retain(keep);
    }
}

impl LearnerReads {
    pub(crate) fn len(&self) -> usize {
        self.next.len() + self.asked.len()
    }
}

impl Zab {
    pub(crate) fn on_read(&mut self, id: u64, trust: Trust, fx: &mut Fx) {
        let leader = self.leader();
        let max = self.me.config.reads_max;
        let plain = trust == Trust::Leader;
        let refusal = match &mut self.state {
            State::Leading(l) if l.established() && plain => {
                fx.mark("zab/read#on_read.plain");
                return fx.push(Effect::ReadReady { id, at: self.me.committed });
            }
            State::Leading(l) if l.established() && l.reads.len() < max => {
                l.reads.next.push(Reader::Here(id));
                l.begin_reads(&self.me, fx);
                return;
            }
            State::Following(f) if f.in_broadcast() && f.reads.len() + f.syncs.len() < max => {
                if mutant!("Z38") {
                    fx.push(Effect::ReadReady { id, at: self.me.committed });
                    return;
                }
                f.waiting(plain).next.push(Reader::Here(id));
                f.request(plain, fx);
                return;
            }
            State::Looking(_) if mutant!("Z30") => {
                self.me.append(Entries::noop(self.me.log.last().plus(1)), fx);
                self.me.note.vote = None;
                Refusal::NotLeader { leader }
            }
            _ if leader.is_some() => Refusal::Busy,
            _ => Refusal::NotLeader { leader },
        };
        fx.mark("zab/read#on_read.refused");
        fx.push(Effect::ReadFailed { id, reason: refusal });
    }

    /// The role is over: no read of it can be confirmed any more.
    pub(crate) fn fail_reads(&mut self, fx: &mut Fx) {
        let waiting = match &self.state {
            State::Leading(l) => l.reads.len(),
            State::Following(f) => f.reads.len() + f.syncs.len(),
            State::Looking(_) => 0,
        };
        if waiting > 0 {
            fx.mark("zab/read#fail_reads.role_over");
        }
        // Those of other nodes learn of it when this one looks for a leader.
        let fail = |reader| {
            if let Reader::Here(id) = reader {
                fx.push(Effect::ReadFailed { id, reason: Refusal::LeaderChanged });
            }
        };
        match &mut self.state {
            State::Leading(l) => {
                l.reads.asked.drain(..).chain(l.reads.next.drain(..)).for_each(fail);
            }
            State::Following(f) => f.reads.all().chain(f.syncs.all()).for_each(fail),
            State::Looking(_) => {}
        }
    }
}

impl Leading {
    /// Begins a round for the reads that wait, unless one is under way.
    fn begin_reads(&mut self, me: &Local, fx: &mut Fx) {
        if !self.reads.asked.is_empty() || self.reads.next.is_empty() {
            return;
        }
        std::mem::swap(&mut self.reads.asked, &mut self.reads.next);
        self.reads.at = me.committed;
        self.ping(me.now, fx);
        self.reads.round = self.ping_round;
        self.confirm_reads(me, fx);
    }

    /// Answers the reads of the round under way if a quorum has echoed it, and begins the next one.
    fn confirm_reads(&mut self, me: &Local, fx: &mut Fx) {
        let round = self.reads.round;
        let echoed = |id| {
            id == me.id || self.learners.get(id).is_some_and(|l| l.progress == Progress::Synced && l.echoed >= round)
        };
        if self.reads.asked.is_empty() || !(me.members.is_quorum(echoed) || mutant!("Z26")) {
            return;
        }
        let at = self.reads.at;
        fx.mark("zab/read#confirm_reads.confirmed");
        if !self.reads.next.is_empty() {
            fx.mark("zab/read#confirm_reads.next_round");
        }
        for reader in self.reads.asked.drain(..) {
            match reader {
                Reader::Here(id) => fx.push(Effect::ReadReady { id, at }),
                Reader::Peer { id, attempt, token } => {
                    fx.send(id, Message::Sync { attempt, token, plain: false, zxid: at });
                }
            }
        }
        self.begin_reads(me, fx);
    }

    /// PING came back.
    pub(crate) fn on_echo(&mut self, me: &Local, from: NodeId, round: u64, fx: &mut Fx) {
        if let Some(l) = self.learners.get_mut(from)
            && round <= self.ping_round
        {
            l.echoed = l.echoed.max(round);
            // Rounds may follow each other faster than they come back from afar, so one is timed from its begin to its end.
            if let Some((_, at)) = l.probe.take_if(|(probe, _)| round >= *probe) {
                l.round_trip = Some(me.now.since(at).max(Micros(1)));
            }
            self.confirm_reads(me, fx);
        }
    }

    /// REQUEST: a learner wants the commit point.
    pub(crate) fn on_request(
        &mut self,
        me: &mut Local,
        from: NodeId,
        (token, plain): (u64, bool),
        fx: &mut Fx,
    ) -> Outcome {
        let Some(l) = self.learners.get(from) else { return Ok(()) };
        if !self.established() || l.progress != Progress::Synced {
            return self.broke(me, from, "REQUEST before UPTODATE", fx);
        }
        fx.mark("zab/read#on_request");
        if plain {
            // COMMIT or INFORM of that has left before.
            fx.send(from, Message::Sync { attempt: l.info.attempt, token, plain, zxid: me.committed });
            return Ok(());
        }
        // A learner has one under way, so each adds at most one.
        self.reads.next.push(Reader::Peer { id: from, attempt: l.info.attempt, token });
        if self.reads.len() > me.config.reads_max + self.learners.len() * 2 {
            return self.broke(me, from, "more than one REQUEST under way", fx);
        }
        self.begin_reads(me, fx);
        Ok(())
    }
}

impl Following {
    /// Those who wait for a SYNC, confirmed or plain.
    fn waiting(&mut self, plain: bool) -> &mut LearnerReads {
        if plain { &mut self.syncs } else { &mut self.reads }
    }

    fn request(&mut self, plain: bool, fx: &mut Fx) {
        let reads = self.waiting(plain);
        if !reads.under_way && !reads.next.is_empty() {
            std::mem::swap(&mut reads.asked, &mut reads.next);
            reads.under_way = true;
            reads.token += 1;
            let token = reads.token;
            fx.send(self.leader, Message::Request { attempt: self.attempt, token, plain });
        }
    }

    /// REQUEST of an observer that this node feeds: asked of whoever feeds this one.
    pub(crate) fn request_for(
        &mut self,
        me: &mut Local,
        id: NodeId,
        (attempt, token, plain): (u64, u64, bool),
        fx: &mut Fx,
    ) {
        fx.mark("zab/read#request_for");
        let of = |r: &&Reader| matches!(r, Reader::Peer { id: of, .. } if *of == id);
        let waiting = self.waiting(plain);
        if waiting.next.iter().chain(&waiting.asked).any(|r| of(&r)) {
            // One that is under way is enough for all its readers.
            me.disconnect(id, "more than one REQUEST under way", fx);
            return self.forget_observer(me, id);
        }
        waiting.next.push(Reader::Peer { id, attempt, token });
        self.request(plain, fx);
    }

    /// An observer that this node fed is gone.
    pub(crate) fn forget_reader(&mut self, peer: NodeId) {
        self.reads.forget(peer);
        self.syncs.forget(peer);
    }

    /// SYNC: the commit point for the readers of this REQUEST.
    pub(crate) fn on_sync(&mut self, me: &mut Local, (token, plain): (u64, bool), zxid: Zxid, fx: &mut Fx) -> Outcome {
        // COMMIT or INFORM of it came before, in the same session.
        let reads = self.waiting(plain);
        if token != reads.token || !reads.under_way || mutant!("Z65") && reads.asked.is_empty() || zxid > me.committed {
            return Err(self.broke(me, "SYNC of what was not asked, or before its COMMIT", fx));
        }
        reads.under_way = false;
        fx.mark("zab/read#on_sync");
        for reader in self.waiting(plain).asked.drain(..) {
            match reader {
                Reader::Here(id) => fx.push(Effect::ReadReady { id, at: zxid }),
                // INFORM of it left before, in that session.
                Reader::Peer { id, attempt, token } => fx.send(id, Message::Sync { attempt, token, plain, zxid }),
            }
        }
        self.request(plain, fx);
        Ok(())
    }
}
