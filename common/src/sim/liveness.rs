//! After the last fault: whatever is still possible must happen, within stated bounds.
//!
//! The unit is one *patience*: twice the election time-out (its randomised maximum), and on slow links, disks or processors ten
//! round trips, ten syncs and ten batches of the state machine more.
//!
//! | name | what it says |
//! | --- | --- |
//! | L1 | a leader that a quorum follows, and that commits, within 10 patiences of the last heal |
//! | L2 | every operation that clients retry is answered within 30 more, and 20 retries of a patient client; while entries are committed, ten times that |
//! | L3 | every node that runs has applied the same entries, within 60 more |
//! | L5 | who asked for leadership to be handed over was told how that went; and where it is offered, it can be done now |
//! | L6 | the leader's disk stalls: where leaders give up their office at that, another leads, follows and commits within 10 patiences and the time that a disk may stall |
//! | L7 | every change of members that was asked for is answered; and where it is offered, one can be made now |
//! | L4 | then nothing changes for 20: at most one change of leaders |
//!
//! When fewer voters than a quorum can vote again (their disks are gone, or refuse; or they are mending), no progress is
//! demanded, and the notes say why. Who is mending must become level like everybody else.

use super::subject::{Subject, Violation};
use super::world::{Event, World};
use crate::protocol::Protocol;
use crate::types::{Micros, Role};

impl<P: Subject> World<'_, P> {
    fn patience(&self) -> u64 {
        let shape = &self.plan.shape;
        let round = 2 * (shape.net.delay_us + shape.net.jitter_us * 4);
        let machine = 10 * (shape.machine.sync_us + shape.machine.apply_us);
        2 * shape.timing.election_timeout.0 + 10 * round + machine + shape.net.redial_us
    }

    /// Heals everything that can be, and demands life.
    pub(super) fn heal(&mut self) {
        self.end_all_faults();
        self.healed = Some(self.now);
        for host in 0..self.hosts.len() {
            while self.hosts[host].paused > 0 {
                self.resume(host);
            }
            self.hosts[host].fs.set_capacity(None);
            if self.hosts[host].running.is_none() && self.hosts[host].retired.is_none() {
                self.put(self.now, Event::Boot { host });
            }
        }
        let unit = self.patience();
        let fits = |world: &Self| {
            let usable = |v| world.hosts[v_index(v)].votes();
            world.memberships().iter().all(|m| m.configuration.is_quorum(usable))
        };
        // A node that refuses its disk does so at its start.
        self.let_pass(0);
        if !fits(self) {
            let down: Vec<String> = self.hosts.iter().filter(|h| !h.votes()).map(|h| h.id.to_string()).collect();
            self.notes.push(format!("no progress is demanded: without {} there is no quorum", down.join(", ")));
            self.clients.quiesce(self.now);
            self.let_pass(2 * unit);
            return;
        }
        if !self.until(10 * unit, Self::has_leader) {
            return self.dead("L1", "nobody leads", fits(self));
        }
        self.let_pass(2 * unit);
        self.clients.quiesce(self.now);
        let retries = 20 * self.plan.shape.load.retry_us;
        if !self.answered(30 * unit + retries) {
            let n = self.clients.pending();
            return self.dead("L2", &format!("{n} operations of clients are not answered"), fits(self));
        }
        if !self.until(60 * unit, Self::level) {
            return self.dead("L3", "the nodes do not become level", fits(self));
        }
        if self.broken() {
            return;
        }
        if let Err(what) = self.hands_over(unit) {
            return self.dead("L5", &what, fits(self));
        }
        if let Err(what) = self.leaves_a_stalled_disk(unit) {
            return self.dead("L6", &what, fits(self));
        }
        if !self.until(60 * unit, Self::level) {
            return self.dead("L3", "the nodes do not become level after a disk stalled", fits(self));
        }
        if let Err(what) = self.can_change(unit) {
            return self.dead("L7", &what, fits(self));
        }
        self.let_pass(2 * unit);
        let leaders = self.led.len();
        self.let_pass(20 * unit);
        let changes = self.led.len() - leaders;
        if changes > 1 && !self.broken() {
            return self.dead("L4", &format!("{changes} changes of leaders in quiet times"), fits(self));
        }
        if let Err(what) = self.sessions_go(unit) {
            return self.judge(Err(Violation::new("C-RES", what)));
        }
        for host in 0..self.hosts.len() {
            let under_way = self.hosts[host].running.as_ref().and_then(|r| r.replica.under_way());
            if let Some(what) = under_way {
                let what = format!("{} has {what}, long after the last was answered", self.hosts[host].id);
                self.judge(Err(Violation::new("C-RES", what)));
            }
        }
        let verdict = self.clients.witness().finish().and(self.members.finish());
        self.judge(verdict);
    }

    /// C-RES: sessions that nobody uses are dropped in time, where the plan says that this is soon; and nodes know as many as
    /// they should.
    fn sessions_go(&mut self, unit: u64) -> Result<(), String> {
        let idle = self.plan.shape.load.session_idle_us();
        if idle <= SOON && !self.until(3 * idle + 4 * unit, |w| w.clients.witness().sessions_known() == 0) {
            let known = self.clients.witness().sessions_known();
            return Err(format!("{known} sessions are known, long after the last was used"));
        }
        self.let_pass(unit);
        let known = self.clients.witness().sessions_known() as u64;
        let wrong = self.hosts.iter().filter(|h| !self.members.removed(h.id)).find_map(|h| {
            let knows = h.running.as_ref()?.apply.worker.applier().sessions();
            (knows != known).then_some((h.id, knows))
        });
        wrong.map_or(Ok(()), |(id, knows)| Err(format!("{id} knows {knows} sessions, and should know {known}")))
    }

    fn dead(&mut self, name: &'static str, what: &str, possible: bool) {
        if self.broken() {
            return;
        }
        if !possible {
            self.notes.push(format!("{what}, and no quorum is left"));
            return;
        }
        let states: Vec<String> = self
            .hosts
            .iter()
            .map(|h| match &h.running {
                None => {
                    format!("{} is down{}", h.id, h.retired.as_deref().map(|w| format!(" ({w})")).unwrap_or_default())
                }
                Some(r) => {
                    let s = r.replica.core().status();
                    let (at, all) = (r.applied, self.sequence.len());
                    format!(
                        "{} {:?} ({}) epoch {} last {} committed {} applied {at} of {all}",
                        h.id, s.role, s.phase, s.epoch, s.last, s.committed
                    )
                }
            })
            .collect();
        self.judge(Err(Violation::new(name, format!("{what}: {}", states.join("; ")))));
    }

    pub(super) fn let_pass(&mut self, span: u64) {
        let until = self.now.after(Micros(span));
        while self.advance(until) {}
    }

    /// Goes on until something holds, looking now and then; false if it does not within `span`.
    pub(super) fn until(&mut self, span: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now.after(Micros(span));
        let step = (span / 200).max(1000);
        while self.now < end {
            if holds(self) || self.broken() {
                return true;
            }
            self.let_pass(step);
        }
        holds(self)
    }

    /// Somebody leads, a quorum follows it in its epoch (one that was cut off and has not heard of its end does not count),
    /// and it commits: an entry of its epoch, or everything that it has. A new commit is not asked for, since ZAB begins an
    /// epoch without an entry of its own, so that there may be nothing to commit until a client asks (L2).
    pub(super) fn has_leader(&mut self) -> bool {
        let cores: Vec<_> = self.hosts.iter().map(|h| h.running.as_ref().map(|r| r.replica.core())).collect();
        cores.iter().flatten().any(|core| {
            let led = core.leadership();
            let follows = |v| {
                let seen = cores[v_index(v)].map(Protocol::leadership);
                seen.is_some_and(|s| s.role != Role::Looking && (s.leader, s.epoch) == (led.leader, led.epoch))
            };
            let commits = core.committed().epoch == led.epoch || core.committed() == core.log().last();
            led.role == Role::Leading && commits && core.membership().1.configuration.is_quorum(follows)
        })
    }

    /// Until no operation is open. A backlog may take its time: each span in which something was committed is followed by
    /// another, up to ten.
    fn answered(&mut self, span: u64) -> bool {
        let end = self.now.after(Micros(10 * span));
        let mut committed = usize::MAX;
        while self.now < end && self.sequence.len() != committed {
            committed = self.sequence.len();
            if self.until(span, |w| w.clients.pending() == 0) {
                return true;
            }
        }
        self.clients.pending() == 0
    }

    fn level(&mut self) -> bool {
        let all = self.sequence.len();
        self.hosts.iter().all(|h| {
            // One that was removed, perhaps while it was away, finds those who lead now if it can.
            h.retired.is_some()
                || self.members.removed(h.id)
                || h.running.as_ref().is_some_and(|r| r.applied == all && r.handed == all && r.inbox.is_empty())
        })
    }
}

/// So long is waited for sessions to go, in microseconds.
const SOON: u64 = 30_000_000;

fn v_index(id: crate::types::NodeId) -> usize {
    id.0 as usize - 1
}
