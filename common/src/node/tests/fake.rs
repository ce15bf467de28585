//! A protocol that believes and does what a test tells it. As leader it commits what its own disk has.
//!
//! With `true` for its configuration it is alone and leads by itself, each time in the next epoch.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{BodyError, Message};
use crate::entries::{Entries, EntryKind};
use crate::log::LogView;
use crate::membership::Membership;
use crate::protocol::{Boot, Effect, Effects, Input, Leadership, Protocol, Refusal};
use crate::status::Status;
use crate::types::{LogId, Member, Micros, NodeId, Role};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FakeMessage {
    Hello(u8),
}

impl Message for FakeMessage {
    fn kind(&self) -> &'static str {
        "Hello"
    }

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn attach(&mut self, body: Bytes) -> Result<(), BodyError> {
        BodyError::expect_empty(&body)
    }
}

pub(super) struct Fake {
    me: NodeId,
    led: Leadership,
    log: LogView,
    committed: LogId,
    snapshot: LogId,
    pub(super) wake: Option<Micros>,
    /// Emitted in the next step.
    pub(super) script: Vec<Effect<Fake>>,
    /// Barriers are noted and not answered.
    pub(super) mute: bool,
    /// Proposals are refused for this reason.
    pub(super) refuse: Option<Refusal>,
    alone: bool,
    membership: Membership,
    hard: u64,
    seen: Vec<String>,
}

impl Fake {
    pub(super) fn lead(&mut self, leader: Option<NodeId>, epoch: u64) {
        let role = match leader {
            None => Role::Looking,
            Some(l) if l == self.me => Role::Leading,
            Some(_) => Role::Following,
        };
        self.led = Leadership { role, leader, epoch };
    }

    /// Puts a run in the log as if it had come from a leader.
    pub(super) fn append(&mut self, run: Entries) {
        self.log.append(run);
    }

    /// Whether an input's debug form held this.
    pub(super) fn saw(&self, what: &str) -> bool {
        self.seen.iter().any(|s| s.contains(what))
    }

    /// How often.
    pub(super) fn count(&self, what: &str) -> usize {
        self.seen.iter().filter(|s| s.contains(what)).count()
    }
}

impl Protocol for Fake {
    type Config = bool;
    type Message = FakeMessage;
    type Hard = u64;
    const NAME: &'static str = "fake";

    fn new(boot: Boot<Self>) -> Self {
        Self {
            me: boot.id,
            led: Leadership { role: Role::Looking, leader: None, epoch: 0 },
            log: boot.log,
            committed: boot.snapshot,
            snapshot: boot.snapshot,
            wake: boot.config.then_some(boot.now),
            alone: boot.config,
            membership: boot.membership.1,
            hard: boot.hard,
            script: Vec::new(),
            mute: false,
            refuse: None,
            seen: Vec::new(),
        }
    }

    fn step(&mut self, _now: Micros, input: Input<FakeMessage>, fx: &mut Effects<Self>) {
        self.seen.push(format!("{input:?}"));
        for effect in std::mem::take(&mut self.script) {
            match &effect {
                Effect::Truncate { after } => self.log.truncate_after(*after),
                Effect::Commit { upto } => self.committed = *upto,
                _ => {}
            }
            fx.push(effect);
        }
        match input {
            Input::Tick => {
                self.wake = None;
                if self.alone {
                    self.hard += 1;
                    fx.push(Effect::SaveHard(self.hard));
                }
            }
            Input::HardSaved => {
                self.lead(Some(self.me), self.hard);
                self.committed = self.log.last();
                fx.push(Effect::Commit { upto: self.committed });
            }
            Input::Propose { batch } => {
                let refused =
                    (self.led.role != Role::Leading).then_some(Refusal::NotLeader { leader: self.led.leader });
                if let Some(why) = refused.or(self.refuse.clone()) {
                    return fx.push(Effect::Refused(why));
                }
                let last = self.log.last();
                let first = if last.epoch == self.led.epoch { last.plus(1) } else { LogId::new(self.led.epoch, 1) };
                let run = Entries::new(first, EntryKind::Command, batch).unwrap();
                self.log.append(run.clone());
                fx.push(Effect::Accepted { first, last: run.last() });
                fx.push(Effect::Append(run));
            }
            Input::Durable { upto } if self.led.role == Role::Leading && upto > self.committed => {
                self.committed = upto;
                fx.push(Effect::Commit { upto });
            }
            Input::ReadBarrier { id, .. } if !self.mute => fx.push(match self.led.leader {
                Some(_) => Effect::ReadReady { id, at: self.committed },
                None => Effect::ReadFailed { id, reason: Refusal::NotLeader { leader: None } },
            }),
            Input::Transfer { id, to } => {
                fx.push(Effect::TransferAnswer { id, answer: Ok(to.unwrap_or(NodeId(2))) });
            }
            Input::Applied { upto } => self.log.release(upto),
            Input::Compacted { snapshot, base } => {
                self.log.compact(base);
                self.snapshot = snapshot;
            }
            Input::SnapshotInstalled { snapshot, .. } => {
                self.log.reset(snapshot);
                self.committed = snapshot;
                self.snapshot = snapshot;
            }
            _ => {}
        }
    }

    fn wake_at(&self) -> Option<Micros> {
        self.wake
    }

    fn log(&self) -> &LogView {
        &self.log
    }

    fn membership(&self) -> (LogId, &Membership) {
        (LogId::ZERO, &self.membership)
    }

    fn committed(&self) -> LogId {
        self.committed
    }

    fn status(&self) -> Status {
        Status {
            protocol: Self::NAME.to_owned(),
            id: self.me,
            member: Member::Voter,
            role: self.led.role,
            phase: String::new(),
            leader: self.led.leader,
            epoch: self.led.epoch,
            hard: Vec::new(),
            base: self.log.base(),
            last: self.log.last(),
            durable: LogId::ZERO,
            committed: self.committed,
            applied: LogId::ZERO,
            snapshot: self.snapshot,
            membership: self.membership.clone(),
            membership_at: LogId::ZERO,
            peers: Vec::new(),
        }
    }

    fn leadership(&self) -> Leadership {
        self.led
    }
}
