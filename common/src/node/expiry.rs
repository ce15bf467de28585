//! Sessions that nobody uses any more are dropped, after [`session_idle_us`](super::ReplicaConfig::session_idle_us).
//!
//! All nodes must drop the same sessions at the same place of the log, and have no common clock. So the log decides: an
//! entry says up to which id a session must have been used last in order to go ([`Envelope::Expire`]), and every node
//! applies it alike. The leader proposes it. It remembers how far it had handed the log over at which time of its own clock;
//! what was handed over so long ago was used so long ago. Whatever uses a session later stands behind that id, also what is
//! still on its way when the entry is proposed, and spares it.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | the log decides, not a clock | nodes that drop a session at different places differ for ever |
//! | only what the leader itself has seen since it leads counts | a session that was used under the last leader goes early |
//! | nothing is proposed unless a session would go | an idle cluster writes for ever |
//!
//! So a session goes after it was idle for that long at the earliest, and up to as long again after each change of leaders.
//! Clocks decide only when it goes, never whether nodes agree: where the leader's clock jumps ahead, sessions go early.

use std::collections::VecDeque;

use super::ApplyOp;
use super::replica::Replica;
use crate::client::wire::Envelope;
use crate::entries::Batch;
use crate::protocol::{Input as CoreInput, Protocol};
use crate::types::{LogId, Micros, Role};
use crate::{mark, mutant};

/// A session goes at most this part of its time later than it might, and so many samples are kept.
const SAMPLES: u64 = 32;

/// What a leader knows of the time.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Since it leads this epoch.
    epoch: u64,
    /// When the log had been handed over how far, ascending.
    samples: VecDeque<(Micros, LogId)>,
    /// The newest sample, kept or not.
    last: Option<(Micros, LogId)>,
    stage: Stage,
    /// The core refused: nothing is proposed before.
    pause: Option<Micros>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Rest,
    /// The state machine is asked whether a session was last used at or before this.
    Asked(LogId),
    /// One was: it is to be proposed that they go.
    Due(LogId),
    /// It was proposed, and stands here.
    Proposed(LogId),
}

impl Expiry {
    /// The newest of the samples that are as old as this. They and all before them have done their duty.
    fn ripe(&mut self, before: Micros) -> Option<LogId> {
        let mut newest = None;
        while let Some((_, upto)) = self.samples.pop_front_if(|(at, _)| *at <= before) {
            newest = Some(upto);
        }
        newest
    }
}

#[cfg(test)]
impl Expiry {
    /// How many samples are kept.
    pub(super) fn kept(&self) -> usize {
        self.samples.len()
    }
}

impl<P: Protocol> Replica<P> {
    fn expires(&self) -> bool {
        self.config.session_idle_us > 0 && self.led.role == Role::Leading && !mutant!("C43")
    }

    /// At the end of a turn: looks whether sessions may go.
    pub(super) fn flush_expiry(&mut self) {
        if !self.expires() || self.expiry.epoch != self.led.epoch {
            self.expiry = Expiry { epoch: self.led.epoch, ..Expiry::default() };
        }
        if !self.expires() {
            return;
        }
        self.sample();
        if matches!(self.expiry.stage, Stage::Proposed(place) if place <= self.handed()) {
            self.expiry.stage = Stage::Rest;
        }
        let idle = self.config.session_idle_us;
        if self.expiry.stage == Stage::Rest
            && let Some(before) = self.now.0.checked_sub(idle)
            && let Some(upto) = self.expiry.ripe(Micros(before))
        {
            let upto = if mutant!("C41") { self.handed() } else { upto };
            self.expiry.stage = Stage::Asked(upto);
            self.out.apply.push(ApplyOp::Idle { upto });
        }
        self.propose_expiry();
    }

    /// Remembers how far the log is, unless it is where it was.
    fn sample(&mut self) {
        let (now, upto) = (self.now, self.handed());
        let due = self.sample_due();
        let expiry = &mut self.expiry;
        if due.is_some_and(|due| due <= now) {
            expiry.last = Some((now, upto));
            expiry.samples.push_back((now, upto));
        }
    }

    fn sample_due(&self) -> Option<Micros> {
        match self.expiry.last {
            None => Some(self.now),
            Some((_, upto)) if upto == self.handed() => None,
            Some((at, _)) => Some(at.after(Micros(self.config.session_idle_us.div_ceil(SAMPLES)))),
        }
    }

    /// The state machine's answer to [`ApplyOp::Idle`].
    pub(super) fn idle_answered(&mut self, upto: LogId, any: bool) {
        if self.expiry.stage == Stage::Asked(upto) {
            if !any {
                mark!("common/node/expiry#idle_answered.all_in_use");
            }
            self.expiry.stage = if any { Stage::Due(upto) } else { Stage::Rest };
        }
    }

    fn propose_expiry(&mut self) {
        let Stage::Due(upto) = self.expiry.stage else { return };
        let paused = self.expiry.pause.is_some_and(|until| self.now < until);
        if paused || self.writes.in_flight() >= self.config.batches_in_flight {
            return;
        }
        let Ok(payload) = postcard::to_stdvec(&Envelope::Expire { upto }) else { return };
        if let Some(place) = self.propose_own(Batch::single(payload.into())) {
            mark!("common/node/expiry#propose_expiry");
            self.expiry.stage = Stage::Proposed(place);
        } else {
            mark!("common/node/expiry#propose_expiry.refused");
            self.expiry.pause = Some(self.now.after(self.config.retry()));
        }
    }

    /// One entry of this node's own, which nobody waits for.
    fn propose_own(&mut self, batch: Batch) -> Option<LogId> {
        self.writes.verdict = None;
        self.step(CoreInput::Propose { batch });
        let (_, last) = self.writes.verdict.take()?.ok()?;
        if self.led.role == Role::Leading {
            self.writes.proposed(last);
        }
        Some(last)
    }

    /// When sessions need attention if nothing else happens.
    pub(super) fn expiry_wake_at(&self) -> Option<Micros> {
        if !self.expires() {
            return None;
        }
        let idle = Micros(self.config.session_idle_us);
        let next = match self.expiry.stage {
            Stage::Rest => self.expiry.samples.front().map(|(at, _)| at.after(idle)),
            Stage::Due(_) => self.expiry.pause.filter(|until| *until > self.now),
            Stage::Asked(_) | Stage::Proposed(_) => None,
        };
        [next, self.sample_due()].into_iter().flatten().min()
    }
}
