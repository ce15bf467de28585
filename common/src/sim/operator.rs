//! What an operator asks of a cluster, and what must come of it: leadership handed over.
//!
//! A node is asked as a client would ask it, over a connection of its own that never breaks, so that the answer cannot be
//! missed. It must come, as long as the process lives (L5 looks for those that did not), and it must be true (C-ANS).

use bytes::Bytes;

use super::subject::{Subject, Violation};
use super::world::World;
use crate::client::wire::{Answer, Ask, Request};
use crate::node::Input;
use crate::protocol::Refusal;
use crate::types::{NodeId, Role};

/// Connections of operators are numbered from here; those of clients never get so far.
const FIRST: u64 = 1 << 63;

/// A transfer that was asked for and not answered.
#[derive(Debug)]
pub(super) struct Asked {
    host: usize,
    /// The life of the process that was asked.
    life: u64,
    /// The epoch it was in, and to whom leadership was to go.
    epoch: u64,
    to: Option<NodeId>,
}

impl<P: Subject> World<'_, P> {
    /// Asks for leadership to be handed over: whoever leads, now and then a node that has to pass it on.
    pub(super) fn ask_transfer(&mut self, to: Option<NodeId>) {
        let lot = self.streams.draw("operator", [self.transfers_asked, 0, 0]);
        let Some(leader) = self.leading() else { return };
        let any = (lot >> 8) as usize % self.hosts.len();
        let host = if lot.is_multiple_of(4) && self.hosts[any].running.is_some() { any } else { leader };
        let Some(running) = &self.hosts[host].running else { return };
        let (epoch, life) = (running.replica.core().leadership().epoch, self.hosts[host].life);
        let conn = FIRST + self.transfers_asked;
        self.transfers_asked += 1;
        self.operators.insert(conn, Asked { host, life, epoch, to });
        let header = postcard::to_stdvec(&Request { id: 1, ask: Ask::Transfer { to } }).unwrap_or_default();
        self.hand_in(host, Input::ClientUp { conn });
        self.hand_in(host, Input::ClientFrame { conn, header: header.into(), body: Bytes::new() });
    }

    /// Whether `conn` is an operator's; then its answer is judged here.
    pub(super) fn operator_answered(&mut self, conn: u64, answer: Option<&Answer>) -> bool {
        let Some(asked) = self.operators.remove(&conn) else { return conn >= FIRST };
        let host = asked.host;
        self.hand_in(host, Input::ClientDown { conn });
        let verdict = match answer {
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
                let led = self.led.iter().copied().chain(now).any(|(epoch, node)| epoch > asked.epoch && node == *to);
                let named = asked.to.is_none_or(|wanted| wanted == *to);
                let what = || format!("leadership of {} is said to have gone to {to}: {asked:?}", asked.epoch);
                if led && named { Ok(()) } else { Err(Violation::new("C-ANS", what())) }
            }
            other => {
                let other = other.map_or("the end of the connection", Answer::name);
                Err(Violation::new("C-ANS", format!("a transfer was answered {other}")))
            }
        };
        self.judge(verdict);
        true
    }

    /// Transfers that a process which is still the same has not answered.
    pub(super) fn transfers_open(&self) -> usize {
        let lives = |a: &&Asked| self.hosts[a.host].life == a.life && self.hosts[a.host].running.is_some();
        self.operators.values().filter(lives).count()
    }

    /// L5: everyone who asked for a transfer was told how it went, and when all is well one succeeds, where they are offered.
    pub(super) fn hands_over(&mut self, unit: u64) -> Result<(), String> {
        if !self.until(10 * unit, |w| w.transfers_open() == 0) {
            return Err(format!("{} transfers of leadership are not answered", self.transfers_open()));
        }
        let voters = self.hosts.iter().filter(|h| h.running.is_some() && self.voters.contains(h.id)).count();
        if voters < 2 {
            return Ok(());
        }
        let mut said = Vec::new();
        for _ in 0..ATTEMPTS {
            self.transfer_answer = None;
            self.ask_transfer(None);
            self.until(10 * unit, |w| w.transfers_open() == 0);
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
const ATTEMPTS: u64 = 5;
