//! What an operator asks of a cluster, and what must come of it: leadership handed over, members changed.
//!
//! A node is asked as a client would ask it, over a connection of its own that never breaks, so that the answer cannot be
//! missed. It must come, as long as the process lives (L5 looks for those that did not), and it must be true (C-ANS). What
//! concerns members stands in [`members`](super::members).

use bytes::Bytes;

use super::subject::{Subject, Violation};
use super::world::World;
use crate::client::wire::{Answer, Ask, Request};
use crate::node::Input;
use crate::protocol::Refusal;
use crate::quorum::Change;
use crate::types::{NodeId, Role};

/// Connections of operators are numbered from here; those of clients never get so far.
pub(super) const FIRST: u64 = 1 << 63;

/// What was asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Leadership of this epoch, to be handed to somebody.
    Transfer { epoch: u64, to: Option<NodeId> },
    /// Other members.
    Change(Vec<Change>),
}

/// Something that was asked for and not answered.
#[derive(Debug)]
pub(super) struct Asked {
    host: usize,
    /// The life of the process that was asked.
    life: u64,
    what: Order,
}

impl<P: Subject> World<'_, P> {
    /// Asks for leadership to be handed over.
    pub(super) fn ask_transfer(&mut self, to: Option<NodeId>) {
        self.order(Ask::Transfer { to }, Order::Transfer { epoch: 0, to });
    }

    /// Asks whoever leads, now and then a node that has to pass it on. False if nobody is there to be asked.
    pub(super) fn order(&mut self, ask: Ask, mut what: Order) -> bool {
        let lot = self.streams.draw("operator", [self.orders, 0, 0]);
        let Some(leader) = self.leading() else { return false };
        let any = (lot >> 8) as usize % self.hosts.len();
        let host = if lot.is_multiple_of(4) && self.hosts[any].running.is_some() { any } else { leader };
        let Some(running) = &self.hosts[host].running else { return false };
        if let Order::Transfer { epoch, .. } = &mut what {
            *epoch = running.replica.core().leadership().epoch;
        }
        let life = self.hosts[host].life;
        let conn = FIRST + self.orders;
        self.orders += 1;
        self.operators.insert(conn, Asked { host, life, what });
        let header = postcard::to_stdvec(&Request { id: 1, ask }).unwrap_or_default();
        self.hand_in(host, Input::ClientUp { conn });
        self.hand_in(host, Input::ClientFrame { conn, header: header.into(), body: Bytes::new() });
        true
    }

    /// Whether `conn` is an operator's; then its answer is judged here.
    pub(super) fn operator_answered(&mut self, conn: u64, answer: Option<&Answer>) -> bool {
        let Some(asked) = self.operators.remove(&conn) else { return conn >= FIRST };
        let host = asked.host;
        self.hand_in(host, Input::ClientDown { conn });
        let verdict = match asked.what {
            Order::Change(changes) => self.change_answered(&changes, answer),
            Order::Transfer { epoch, to } => self.transfer_answered(host, epoch, to, answer),
        };
        self.judge(verdict);
        true
    }

    fn transfer_answered(
        &mut self,
        host: usize,
        before: u64,
        wanted: Option<NodeId>,
        answer: Option<&Answer>,
    ) -> Result<(), Violation> {
        match answer {
            Some(Answer::Refused(why)) => {
                self.transfer_answer = Some(Err(why.clone()));
                Ok(())
            }
            Some(Answer::Transferred { to }) => {
                self.transfer_answer = Some(Ok(*to));
                if self.healed.is_none() {
                    self.bit("transfer");
                }
                // Of the node whose turn this is, nobody has taken note yet.
                let now =
                    self.hosts[host].running.as_ref().map(|r| (r.replica.core().leadership(), self.hosts[host].id));
                let now = now.filter(|(now, _)| now.role == Role::Leading).map(|(now, id)| (now.epoch, id));
                let led = self.led.iter().copied().chain(now).any(|(epoch, node)| epoch > before && node == *to);
                let named = wanted.is_none_or(|wanted| wanted == *to);
                let what =
                    || format!("leadership of {before} is said to have gone to {to}, and was to go to {wanted:?}");
                if led && named { Ok(()) } else { Err(Violation::new("C-ANS", what())) }
            }
            other => {
                let other = other.map_or("the end of the connection", Answer::name);
                Err(Violation::new("C-ANS", format!("a transfer was answered {other}")))
            }
        }
    }

    /// What a process which is still the same was asked and has not answered.
    pub(super) fn orders_open(&self) -> usize {
        let lives = |a: &&Asked| self.hosts[a.host].life == a.life && self.hosts[a.host].running.is_some();
        self.operators.values().filter(lives).count()
    }

    /// L5: everyone who asked for a transfer was told how it went, and when all is well one succeeds, where they are offered.
    pub(super) fn hands_over(&mut self, unit: u64) -> Result<(), String> {
        if !self.until(10 * unit, |w| w.orders_open() == 0) {
            return Err(format!(
                "{} transfers of leadership or changes of members are not answered",
                self.orders_open()
            ));
        }
        let can = |id| self.members.now().configuration.may_lead(id);
        let able = self.hosts.iter().filter(|h| h.running.is_some() && can(h.id)).count();
        if able < 2 {
            return Ok(());
        }
        let mut said = Vec::new();
        for _ in 0..ATTEMPTS {
            self.transfer_answer = None;
            self.ask_transfer(None);
            self.until(10 * unit, |w| w.orders_open() == 0);
            match &self.transfer_answer {
                Some(Ok(_) | Err(Refusal::Unsupported(_))) => return Ok(()),
                other => said.push(other.clone()),
            }
            self.let_pass(unit);
        }
        Err(format!("leadership cannot be handed over: {said:?}"))
    }
}

/// One transfer may meet a slow disk, or another change of leaders.
pub(super) const ATTEMPTS: u64 = 5;
