//! Faults begin and end.

use super::outcome::ChartWhat;
use super::plan::{Death, DiskCall, Fault, Hostile, Lie, Target};
use super::subject::{Subject, Violation};
use super::world::{Event, NEVER, World};
use crate::storage::mem_fs::{Call, Fault as FsFault};
use crate::types::{Micros, NodeId, Role};

impl<P: Subject> World<'_, P> {
    /// Whom a fault strikes.
    pub(super) fn resolve(&self, target: Target) -> Option<usize> {
        match target {
            Target::Node(NodeId(n)) => (n as usize).checked_sub(1).filter(|i| *i < self.hosts.len()),
            Target::Leader => self.leading(),
            Target::Other(n) => {
                let leader = self.resolve(Target::Leader);
                let others: Vec<usize> = (0..self.hosts.len()).filter(|i| Some(*i) != leader).collect();
                (!others.is_empty()).then(|| others[n as usize % others.len()])
            }
        }
    }

    /// Who leads, in the greatest epoch that is led.
    pub(super) fn leading(&self) -> Option<usize> {
        let leads = |h: &super::host::Host<P>| {
            let led = h.running.as_ref()?.replica.core().leadership();
            (led.role == Role::Leading).then_some(led.epoch)
        };
        let leaders = self.hosts.iter().enumerate().filter_map(|(i, h)| Some((leads(h)?, i)));
        leaders.max().map(|(_, i)| i)
    }

    fn resolve_all(&self, targets: &[Target]) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = targets.iter().filter_map(|t| self.resolve(*t)).map(|i| self.hosts[i].id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(super) fn take_image(&mut self, i: usize) {
        if let Fault::Rollback { node, .. } = self.plan.faults[i].fault
            && let Some(host) = self.resolve(node)
        {
            self.hosts[host].image = Some(self.hosts[host].fs.image());
        }
    }

    pub(super) fn fault_begins(&mut self, i: usize) {
        if self.healed.is_some() {
            return;
        }
        let fault = self.plan.faults[i].fault.clone();
        self.mix(12, i as u64, 0);
        self.say(|| ChartWhat::World { text: fault.to_string() });
        match &fault {
            Fault::Crash { .. }
            | Fault::CrashAll { .. }
            | Fault::Pause { .. }
            | Fault::Drift { .. }
            | Fault::Jump { .. } => self.host_fault(i, &fault),
            Fault::Cut { .. }
            | Fault::Reset { .. }
            | Fault::Loss { .. }
            | Fault::Duplicate { .. }
            | Fault::Reorder { .. }
            | Fault::Corrupt { .. }
            | Fault::Slow { .. }
            | Fault::Narrow { .. } => self.net_fault(i, &fault),
            Fault::Hostile { from, to, bytes } => self.hostile(i, *from, *to, *bytes),
            Fault::Stranger { from, to, lie } => self.stranger(*from, *to, *lie),
            Fault::Transfer { to } => {
                let to = to.and_then(|to| self.resolve(to)).map(|host| self.hosts[host].id);
                self.ask_transfer(to);
            }
            Fault::Change { make } => self.ask_change(make),
            _ => self.disk_fault(i, &fault),
        }
    }

    /// It ends after `span`, whoever it struck; that is remembered here.
    fn lasts(&mut self, i: usize, span: Micros, struck: Struck) {
        self.struck.insert(i, struck);
        self.put(self.now.after(span), Event::FaultEnds(i));
    }

    fn host_fault(&mut self, i: usize, fault: &Fault) {
        match fault {
            Fault::Crash { node, how, back } => {
                if let Some(host) = self.resolve(*node)
                    && self.crash(host, *how)
                {
                    self.bit(if *how == Death::Kill { "kill" } else { "power-loss" });
                    self.put(self.now.after(*back), Event::Boot { host });
                }
            }
            Fault::CrashAll { back } => {
                for host in 0..self.hosts.len() {
                    if self.crash(host, Death::Power) {
                        self.bit("blackout");
                        let late = Micros(self.streams.draw("back", [i as u64, host as u64, 0]) % (back.0 + 1));
                        self.put(self.now.after(*back).after(late), Event::Boot { host });
                    }
                }
            }
            Fault::Pause { node, span } => {
                if let Some(host) = self.resolve(*node) {
                    self.pause(host);
                    self.lasts(i, *span, Struck::Host(host));
                }
            }
            Fault::Drift { node, span, .. } => {
                if let Some(host) = self.resolve(*node) {
                    self.bit("drift");
                    self.lasts(i, *span, Struck::Host(host));
                    self.set_rate(fault, host);
                }
            }
            Fault::Jump { node, by } => {
                if let Some(host) = self.resolve(*node) {
                    let now = self.now;
                    self.hosts[host].clock.jump(now, *by);
                    self.bit("jump");
                    self.rewake(host);
                }
            }
            _ => {}
        }
    }

    fn pause(&mut self, host: usize) {
        let (id, now) = (self.hosts[host].id, self.now);
        self.hosts[host].paused += 1;
        self.turns[host] = NEVER;
        if self.hosts[host].paused == 1 && self.hosts[host].running.is_some() {
            self.net.pause(id, true, now);
        }
    }

    pub(super) fn resume(&mut self, host: usize) {
        let (id, now) = (self.hosts[host].id, self.now);
        self.hosts[host].paused = self.hosts[host].paused.saturating_sub(1);
        if self.hosts[host].paused > 0 || self.hosts[host].running.is_none() {
            return;
        }
        self.bit("pause");
        self.net.pause(id, false, now);
        self.start_lanes(host);
        self.rewake(host);
    }

    /// Its clock says something else than when its next turn was scheduled.
    fn rewake(&mut self, host: usize) {
        self.turns[host] = NEVER;
        self.schedule_turn(host, self.now);
    }

    /// Two nodes, if there are two.
    fn pair(&self, a: Target, b: Target) -> Option<(NodeId, NodeId)> {
        let (a, b) = (self.resolve(a)?, self.resolve(b)?);
        (a != b).then(|| (self.hosts[a].id, self.hosts[b].id))
    }

    /// What comes of it is seen when it arrives.
    fn hostile(&mut self, i: usize, from: Target, to: Target, bytes: Hostile) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let draw = self.streams.draw("hostile", [i as u64, 0, 0]);
        if self.net.hostile(to, from, bytes, draw, self.now) {
            self.bit("hostile");
        }
    }

    /// C-PEER: nobody is taken for a peer who is none.
    fn stranger(&mut self, from: Target, to: Target, lie: Lie) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let member = self.hosts[from.0 as usize - 1].member;
        if let Some(taken) = self.net.stranger(from, to, member, Some(lie)) {
            self.bit("stranger");
            if taken {
                let what = format!("{to} takes somebody for {from} whose {lie:?} is not {from}'s");
                self.judge(Err(Violation::new("C-PEER", what)));
            }
        }
    }

    fn net_fault(&mut self, i: usize, fault: &Fault) {
        let now = self.now;
        match fault {
            Fault::Cut { from, to, span } => {
                let (from, to) = (self.resolve_all(from), self.resolve_all(to));
                let mut links = Vec::new();
                for a in &from {
                    for b in to.iter().filter(|b| *b != a) {
                        self.net.cut(*a, *b, true, now);
                        links.push((*a, *b));
                    }
                }
                self.lasts(i, *span, Struck::Links(links));
            }
            Fault::Reset { a, b } => {
                if let Some((a, b)) = self.pair(*a, *b) {
                    self.net.reset(a, b, now);
                }
            }
            Fault::Loss { from, to, span, .. }
            | Fault::Duplicate { from, to, span, .. }
            | Fault::Reorder { from, to, span, .. }
            | Fault::Corrupt { from, to, span, .. }
            | Fault::Slow { from, to, span, .. }
            | Fault::Narrow { from, to, span, .. } => {
                if let Some((a, b)) = self.pair(*from, *to) {
                    self.lasts(i, *span, Struck::Links(vec![(a, b)]));
                    self.set_weather(fault, a, b);
                }
            }
            _ => {}
        }
    }

    /// What holds on a link of this kind of fault: the strongest of those that are on.
    fn set_weather(&mut self, fault: &Fault, a: NodeId, b: NodeId) {
        let strongest = self.strongest(fault, |struck| matches!(struck, Struck::Links(l) if l.contains(&(a, b))));
        let (most, now) = (strongest.unwrap_or(0), self.now);
        let per_mille = most.min(1000) as u16;
        match fault {
            Fault::Loss { .. } => self.net.loss(a, b, per_mille),
            Fault::Duplicate { .. } => self.net.duplicate(a, b, per_mille),
            Fault::Reorder { .. } => self.net.reorder(a, b, per_mille),
            Fault::Corrupt { .. } => self.net.corrupt(a, b, per_mille),
            Fault::Slow { .. } => self.net.slow(a, b, Micros(most)),
            Fault::Narrow { .. } => self.net.narrow(a, b, strongest, now),
            _ => {}
        }
    }

    /// Of the faults of the same kind as `fault` that are on and have struck `whom`, how strong the strongest is.
    fn strongest(&self, fault: &Fault, whom: impl Fn(&Struck) -> bool) -> Option<u64> {
        let on = self.struck.iter().filter(|(_, struck)| whom(struck)).map(|(i, _)| &self.plan.faults[*i].fault);
        strongest(fault, on)
    }

    /// Likewise of a host's clock: the furthest from true.
    fn set_rate(&mut self, fault: &Fault, host: usize) {
        let on = self.strongest(fault, |struck| matches!(struck, Struck::Host(h) if *h == host));
        let now = self.now;
        self.hosts[host].clock.set_rate(now, on.unwrap_or(1000));
        self.rewake(host);
    }

    fn disk_fault(&mut self, i: usize, fault: &Fault) {
        let (Fault::Stall { node, .. }
        | Fault::SlowDisk { node, .. }
        | Fault::DiskError { node, .. }
        | Fault::ShortWrite { node, .. }
        | Fault::DiskFull { node, .. }
        | Fault::BitRot { node }
        | Fault::LostWrite { node, .. }
        | Fault::Misdirect { node, .. }
        | Fault::Rollback { node, .. }
        | Fault::Wipe { node, .. }) = fault
        else {
            return;
        };
        let Some(host) = self.resolve(*node) else { return };
        let draw = self.streams.draw("disk", [i as u64, 0, 0]);
        let h = &mut self.hosts[host];
        match fault {
            Fault::Stall { span, .. } => {
                h.stalled += 1;
                self.bit("stall");
                self.lasts(i, *span, Struck::Host(host));
            }
            Fault::SlowDisk { delay, span, .. } => {
                h.slow_disk = h.slow_disk.max(*delay);
                self.bit("slow-disk");
                self.lasts(i, *span, Struck::Host(host));
            }
            Fault::DiskError { call, nth, .. } => {
                h.troubled = true;
                h.fs.fail(call_of(*call), (*nth).max(1), FsFault::Eio);
            }
            Fault::ShortWrite { nth, .. } => {
                h.fs.fail(Call::Write, (*nth).max(1), FsFault::Short(draw as usize % 64 + 1));
            }
            Fault::DiskFull { bytes, span, .. } => {
                h.troubled = true;
                h.full = true;
                h.fs.fill_up(*bytes);
                self.lasts(i, *span, Struck::Host(host));
            }
            Fault::BitRot { .. } => {
                h.damaged |= h.fs.rot(draw).is_some();
                if h.running.is_none() {
                    // The next process reads it so; nobody else would until that ends.
                    h.fs.kill();
                    self.look_after_crash(host);
                }
            }
            Fault::LostWrite { nth, .. } => {
                h.damaged = true;
                h.fs.fail(Call::Write, (*nth).max(1), FsFault::Lost);
            }
            Fault::Misdirect { nth, .. } => {
                h.damaged = true;
                h.fs.fail(Call::Write, (*nth).max(1), FsFault::Misdirected(draw));
            }
            Fault::Rollback { back, .. } => {
                let image = h.image.take();
                self.replace_disk(host, image, "an old image was restored to its disk", *back);
            }
            Fault::Wipe { back, .. } => {
                self.replace_disk(host, None, "its disk is gone", *back);
            }
            _ => {}
        }
    }

    pub(super) fn fault_ends(&mut self, i: usize) {
        let Some(struck) = self.struck.remove(&i) else { return };
        let fault = self.plan.faults[i].fault.clone();
        self.mix(13, i as u64, 0);
        self.say(|| ChartWhat::World { text: format!("end of {fault}") });
        match (&fault, struck) {
            (Fault::Pause { .. }, Struck::Host(host)) => self.resume(host),
            (Fault::Drift { .. }, Struck::Host(host)) => self.set_rate(&fault, host),
            (Fault::Stall { .. }, Struck::Host(host)) => {
                self.hosts[host].stalled = self.hosts[host].stalled.saturating_sub(1);
                self.unstall(host);
            }
            (Fault::SlowDisk { .. }, Struck::Host(host)) => {
                let rest = self.strongest(&fault, |struck| matches!(struck, Struck::Host(h) if *h == host));
                self.hosts[host].slow_disk = Micros(rest.unwrap_or(0));
            }
            (Fault::DiskFull { .. }, Struck::Host(host)) => {
                let rest = self.strongest(&fault, |struck| matches!(struck, Struck::Host(h) if *h == host));
                if rest.is_none() {
                    self.hosts[host].full = false;
                    self.hosts[host].fs.set_capacity(None);
                }
            }
            (Fault::Cut { .. }, Struck::Links(links)) => {
                for (a, b) in links {
                    self.net.cut(a, b, false, self.now);
                }
            }
            (_, Struck::Links(links)) => {
                for (a, b) in links {
                    self.set_weather(&fault, a, b);
                }
            }
            (_, Struck::Host(_)) => {}
        }
    }

    /// What the disk was at when it stalled is done now.
    pub(super) fn unstall(&mut self, host: usize) {
        let h = &self.hosts[host];
        let Some(running) = h.running.as_ref().filter(|_| h.stalled == 0) else { return };
        let life = h.life;
        let (log, snapshot) = (!running.log.current.is_empty(), !running.snapshot.current.is_empty());
        if log {
            self.put(self.now, Event::Log { host, life });
        }
        if snapshot {
            self.put(self.now, Event::Snapshot { host, life });
        }
    }

    /// Ends every fault that is still on.
    pub(super) fn end_all_faults(&mut self) {
        let on: Vec<usize> = self.struck.keys().copied().collect();
        for i in on {
            self.fault_ends(i);
        }
    }
}

/// Whom a fault that lasts has struck.
#[derive(Debug)]
pub(super) enum Struck {
    Host(usize),
    Links(Vec<(NodeId, NodeId)>),
}

/// How strong the strongest is of those that are of the same kind as `fault`: per mille, microseconds, bytes, or the rate of
/// a clock.
fn strongest<'a>(fault: &Fault, on: impl Iterator<Item = &'a Fault>) -> Option<u64> {
    let same = on.filter(|f| f.kind() == fault.kind());
    match fault {
        // The less fits, the worse.
        Fault::Narrow { .. } | Fault::DiskFull { .. } => same.filter_map(strength).min(),
        Fault::Drift { .. } => same.filter_map(strength).max_by_key(|rate| rate.abs_diff(1000)),
        _ => same.filter_map(strength).max(),
    }
}

fn strength(fault: &Fault) -> Option<u64> {
    Some(match fault {
        Fault::Loss { per_mille, .. }
        | Fault::Duplicate { per_mille, .. }
        | Fault::Reorder { per_mille, .. }
        | Fault::Corrupt { per_mille, .. } => u64::from(*per_mille),
        Fault::Slow { delay, .. } | Fault::SlowDisk { delay, .. } => delay.0,
        Fault::Narrow { bytes, .. } | Fault::DiskFull { bytes, .. } => *bytes,
        Fault::Drift { per_mille, .. } => (1000 + i64::from(*per_mille)).max(100) as u64,
        _ => return None,
    })
}

fn call_of(call: DiskCall) -> Call {
    match call {
        DiskCall::Read => Call::Read,
        DiskCall::Write => Call::Write,
        DiskCall::Sync => Call::Sync,
        DiskCall::SyncDir => Call::SyncDir,
        DiskCall::Create => Call::Create,
        DiskCall::Rename => Call::Rename,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Micros = Micros(1);
    const A: Target = Target::Node(NodeId(1));
    const B: Target = Target::Node(NodeId(2));

    #[test]
    fn of_faults_that_overlap_the_strongest_holds() {
        let loss = |per_mille| Fault::Loss { from: A, to: B, per_mille, span: SPAN };
        let slow = |us| Fault::Slow { from: A, to: B, delay: Micros(us), span: SPAN };
        let narrow = |bytes| Fault::Narrow { from: A, to: B, bytes, span: SPAN };
        let drift = |per_mille| Fault::Drift { node: A, per_mille, span: SPAN };
        let on = [loss(20), slow(7), loss(300), narrow(9), slow(5), narrow(4), drift(-50), drift(20), loss(10)];
        let most = |fault: Fault| strongest(&fault, on.iter());
        assert_eq!(
            (most(loss(0)), most(slow(0)), most(narrow(0)), most(drift(0))),
            (Some(300), Some(7), Some(4), Some(950))
        );
        assert_eq!(most(Fault::Stall { node: A, span: SPAN }), None);
        assert_eq!(strongest(&loss(0), on[..1].iter()), Some(20), "when the stronger has ended");
        assert_eq!(strongest(&loss(0), [].iter()), None);
    }
}
