//! How processes end and start again, and what their disks must hold when they do (C-RECOV).

use std::fmt::Debug;
use std::mem::take;

use serde::de::DeserializeOwned;

use super::host::{Host, Left, Running, dir};
use super::outcome::ChartWhat;
use super::plan::Death;
use super::subject::{Oracle, Subject, Violation};
use super::truth::{Ids, Truth};
use super::world::{Event, NEVER, World};
use crate::mutant::suspended;
use crate::node::NodeError;
use crate::storage::LogOp;
use crate::storage::mem_fs::Image;
use crate::types::{LogId, Micros};

/// How long somebody takes to start a process again that stopped itself.
const OPERATOR: Micros = Micros(1_000_000);
/// A disk operation has at most so many steps at which power can fail.
const STEPS: u64 = 16;

impl<P: Subject> World<'_, P> {
    /// A process ends, in the middle of what its disk is doing.
    pub(super) fn crash(&mut self, host: usize, how: Death) -> bool {
        let now = self.now;
        let id = self.hosts[host].id;
        self.draws += 1;
        let draw = self.streams.draw("crash", [host as u64, self.hosts[host].life, self.draws]);
        let h = &mut self.hosts[host];
        let Some(mut running) = h.running.take() else { return false };
        self.turns[host] = NEVER;
        let before = self.truths[host].1.clone();
        let log: Vec<LogOp> = running.log.current.iter().cloned().collect();
        let snapshot = !running.snapshot.current.is_empty();
        let failed = h.troubled;
        let ended = std::mem::take(&mut running.failed);
        if !log.is_empty() || snapshot {
            h.fs.cut_power_at(h.fs.steps() + 1 + draw % STEPS);
            interrupted(&mut running, draw >> 32 & 1 == 0);
        }
        drop(running);
        match how {
            Death::Kill => h.fs.kill(),
            Death::Power => h.fs.crash_keeping(draw ^ 0x5EED),
        }
        // With the process, what was planned for its calls is gone.
        h.troubled = h.full;
        h.life += 1;
        // A batch that an error ended may have been carried out in part: a cut, for example, but not its sync.
        let log = ended.into_iter().chain(log).collect();
        h.left = Some(Left { truth: before, log, snapshot, refused: false, failed });
        h.dark = how == Death::Power;
        h.failed_starts = 0;
        let life = h.life;
        self.look_after_crash(host);
        self.net.leave(id, now, how);
        self.oracle.crashed(id);
        if how == Death::Kill {
            self.drop_clients(host);
        }
        self.mix(9, host as u64, life);
        self.say(|| ChartWhat::Note { node: id, text: format!("ends ({how:?})") });
        true
    }

    /// What a disk holds after its process ended is read from it again.
    pub(super) fn look_after_crash(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        let looked = suspended(|| h.truth.refresh(&h.fs, dir()));
        if let Some(left) = &mut h.left {
            left.refused |= h.dark && h.truth.refused().is_some();
        }
        match looked {
            // Of a node that will refuse its folder, or will not be used again because its disk lied, what it had stays the
            // truth: the promises were kept when they were made.
            Ok(_) if h.truth.refused().is_none() && !h.damaged => self.truths[host].1.follow(h.truth.truth()),
            Ok(_) => {}
            Err(violation) => self.judge(Err(violation)),
        }
    }

    /// A process starts.
    pub(super) fn boot(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        if h.running.is_some() || h.retired.is_some() {
            return;
        }
        let (id, life) = (h.id, h.life);
        let seed = self.streams.draw("timeouts", [host as u64, life, 0]);
        let opened = h.open(&self.plan.shape, &self.voters, seed, self.now, None);
        let mut running = match opened {
            Ok(running) => running,
            Err(error) => return self.refuses_to_start(host, &error),
        };
        self.counts.boots += 1;
        let (refused, whole) = (h.truth.refused().map(str::to_owned), h.truth.whole());
        self.look_after_crash(host);
        let Some(found) = self.starts_with(host, &running, refused, whole).filter(|_| !self.broken()) else { return };
        let snapshot = running.apply.worker.applier().applied();
        let Some(at) = self.sequence.position(snapshot) else {
            let what = format!("{id} starts from a snapshot up to {snapshot}, which was never committed");
            return self.judge(Err(Violation::new("C-PREFIX", what)));
        };
        (running.handed, running.applied) = (at, at);
        let core = running.replica.core();
        let member = core.membership().1.member(id);
        let verdict = self.oracle.booted(core, member, &found);
        self.members.seen(core.membership().1);
        self.truths[host].1 = found;
        self.judge(verdict);
        let h = &mut self.hosts[host];
        h.member = member;
        let mended = running.mended;
        h.running = Some(running);
        let mut sources = P::sources(&P::config(&self.plan.shape.timing, id));
        sources.retain(|source| self.hosts.iter().any(|h| h.id == *source));
        self.net.join(id, member, sources, self.now);
        if self.hosts[host].paused > 0 {
            self.net.pause(id, true, self.now);
        }
        self.mix(10, host as u64, life);
        let how = if mended { "starts without a part of its log" } else { "starts" };
        self.say(|| ChartWhat::Note { node: id, text: how.to_owned() });
        self.schedule_turn(host, self.now);
    }

    /// C-RECOV: what the disk of a node that starts holds, if it is what it may start with. `refused` and `whole` are what it
    /// held before.
    fn starts_with(
        &mut self,
        host: usize,
        running: &Running<P>,
        refused: Option<String>,
        whole: Option<(LogId, Ids)>,
    ) -> Option<Truth<P::Hard>> {
        let h = &mut self.hosts[host];
        let (id, lied) = (h.id, h.damaged);
        let tries = take(&mut h.failed_starts);
        let mending = running.replica.core().is_mending();
        // A process that was killed leaves its page cache, which may be better than the disk.
        let verdict = match refused.filter(|_| h.dark) {
            Some(why) if !mending => Err(format!("starts from a folder that it must refuse: {why}")),
            Some(_) if running.mended && tries == 0 => kept_what_is_whole(running, whole),
            _ if running.mended && !lied => Err("gives up a part of its log, and its disk is sound".to_owned()),
            _ => Ok(()),
        };
        let left = h.left.take();
        // Of a killed process's page cache the reader may know nothing good; then what was stays the truth.
        let mut found = if h.truth.refused().is_none() { h.truth.truth() } else { &self.truths[host].1 }.clone();
        found.had.clone_from(&self.truths[host].1.had);
        let recov = |what: String| Violation::new("C-RECOV", format!("{id} {what}"));
        self.judge(verdict.map_err(recov));
        let Some(left) = left else { return Some(found) };
        if left.refused && !mending {
            self.judge(Err(recov("has cut its damaged log, and does not know".to_owned())));
        }
        // It may have been marked at an attempt to start that failed later.
        if running.mended || mending && tries > 0 && found.hard != left.truth.hard {
            found.had.push((left.truth.snapshot, left.truth.log.clone()));
            self.judge(marked::<P>(&found.hard, &left, tries).map_err(recov));
        } else if let Err(what) = recovered::<P>(running, &left, lied)
            .and_then(|()| promised(&found.hard, &left, lied))
            .and_then(|()| in_order::<P>(&found, &left))
        {
            self.lost_something(host, &what);
            return None;
        }
        Some(found)
    }

    /// It found its folder in a state that it does not dare to go on from.
    fn refuses_to_start(&mut self, host: usize, error: &NodeError) {
        let h = &mut self.hosts[host];
        let (id, life) = (h.id, h.life);
        if h.troubled {
            // A planned error struck while it read, or the disk is still full.
            h.fs.kill();
            h.troubled = h.full;
            h.failed_starts += 1;
            self.look_after_crash(host);
            self.draws += 1;
            let at = self.now.after(OPERATOR);
            self.mix(11, host as u64, life);
            return self.put(at, Event::Boot { host });
        }
        if h.damaged {
            let mends = h.dark && h.truth.whole().is_some() && suspended(|| P::mend(P::Hard::default())).is_some();
            h.retired = Some(error.to_string());
            self.notes.push(format!("{id} stays down: {error}"));
            if mends {
                let what = format!("{id} stays down, though its hard state is whole: {error}");
                self.judge(Err(Violation::new("C-RECOV", what)));
            }
            return;
        }
        self.judge(Err(Violation::new("C-RECOV", format!("{id} does not start from a sound disk: {error}"))));
    }

    /// It started with less than it had, and does not know. Only where the disk itself lied, and what it lied about cannot be
    /// told from a write that was never finished, is that nobody's fault; such a node must not vote any more.
    fn lost_something(&mut self, host: usize, what: &str) {
        let h = &mut self.hosts[host];
        let id = h.id;
        if h.damaged {
            h.retired = Some(what.to_owned());
            self.notes.push(format!("{id} stays down, its disk lost the end of a file without a trace: {what}"));
            return;
        }
        self.judge(Err(Violation::new("C-RECOV", format!("{id} {what}"))));
    }

    /// It stopped itself.
    pub(super) fn halted(&mut self, host: usize, why: &str) {
        let h = &self.hosts[host];
        let id = h.id;
        self.say(|| ChartWhat::Note { node: id, text: format!("halts: {why}") });
        if !h_may_halt(&self.hosts[host]) {
            self.judge(Err(Violation::new("C-HALT", format!("{id} stopped itself: {why}"))));
            return;
        }
        if why.is_empty() {
            self.judge(Err(Violation::new("C-HALT", format!("{id} stopped itself and does not say why"))));
        }
        self.crash(host, Death::Kill);
        self.put(self.now.after(OPERATOR), Event::Boot { host });
    }

    /// The disk of one that never voted, or that of a voter, which is not used again, is as `fs` was.
    pub(super) fn replace_disk(&mut self, host: usize, image: Option<Image>, why: &str, back: Micros) {
        if !self.crash(host, Death::Power) {
            return;
        }
        let h = &mut self.hosts[host];
        let id = h.id;
        if !self.members.never_voted(id) {
            // What it promised is forgotten, and nothing yet tells the others. Until a voter can find out by itself that its
            // disk is not the one it had, the operator's rule is to replace it; the truth of what it had stays.
            h.retired = Some(why.to_owned());
            self.notes.push(format!("{id} stays down: {why}"));
            return;
        }
        match image {
            Some(image) => h.fs.restore(&image),
            None => h.fs.wipe(),
        }
        h.left = None;
        self.truths[host].1.had.clear();
        self.oracle.replaced(id);
        self.look_after_crash(host);
        self.put(self.now.after(back), Event::Boot { host });
    }
}

fn h_may_halt<P: Subject>(host: &Host<P>) -> bool {
    host.troubled || host.damaged
}

/// What was under way is carried out until the power is gone.
fn interrupted<P: Subject>(running: &mut Running<P>, log_first: bool) {
    for log in [log_first, !log_first] {
        if log {
            let mut events = Vec::new();
            running.log.worker.run(&mut running.log.current, &mut events);
        } else if let Some(op) = running.snapshot.current.pop_front() {
            let _ = running.snapshot.worker.run(op);
        }
    }
    take(&mut running.inbox);
}

/// C-RECOV: of a damaged log, everything is there that is whole, as the disk shows it to somebody else, and nothing more.
fn kept_what_is_whole<P: Subject>(running: &Running<P>, whole: Option<(LogId, Ids)>) -> Result<(), String> {
    let Some((snapshot, ids)) = whole else {
        return Err("goes on without its hard state".to_owned());
    };
    let (log, at) = (running.replica.core().log(), running.apply.worker.applier().applied());
    if (at, log.base(), log.spans()) == (snapshot, ids.base(), ids.spans()) {
        return Ok(());
    }
    let (base, spans) = (log.base(), log.spans());
    Err(format!(
        "keeps the snapshot {at} and {spans:?} after {base} of a damaged log; whole are {snapshot} and {ids:?}"
    ))
}

/// C-RECOV: who gives up a part of its log says so in the hard state, once for each attempt to start.
fn marked<P: Subject>(found: &P::Hard, left: &Left<P::Hard>, tries: u32) -> Result<(), String> {
    let saving = left.log.iter().filter_map(|op| match op {
        LogOp::SaveHard(bytes) => postcard::from_bytes::<P::Hard>(bytes).ok(),
        _ => None,
    });
    let marks = |hard: P::Hard| {
        (0..=tries).scan(hard, |hard, _| {
            *hard = suspended(|| P::mend(hard.clone()))?;
            Some(hard.clone())
        })
    };
    if std::iter::once(left.truth.hard.clone()).chain(saving).any(|hard| marks(hard).any(|marked| marked == *found)) {
        return Ok(());
    }
    Err(format!("goes on from a damaged log with the hard state {found:?}, and had {:?}", left.truth.hard))
}

/// C-RECOV: everything that was durable is there, and nothing that was not at least under way.
fn recovered<P: Subject>(running: &Running<P>, left: &Left<P::Hard>, lied: bool) -> Result<(), String> {
    let core = running.replica.core();
    let (log, snapshot) = (core.log(), running.apply.worker.applier().applied());
    let truth = &left.truth;
    if !log.contains(snapshot) {
        return Err(format!(
            "keeps a log from {} to {} that contradicts its snapshot {snapshot}",
            log.base(),
            log.last()
        ));
    }
    // A damaged snapshot may be passed over where the log still has what it covered.
    if snapshot < truth.snapshot && !(lied && log.contains(truth.snapshot)) {
        return Err(format!("starts from the snapshot {snapshot}, and had {}", truth.snapshot));
    }
    if snapshot > truth.snapshot && !left.snapshot && !left.failed {
        return Err(format!("starts from the snapshot {snapshot}, and had only {}", truth.snapshot));
    }
    // The earliest point from which the log may have been rewritten when the process ended.
    let mut firm = LogId { epoch: u64::MAX, counter: u64::MAX };
    let mut compacted = truth.log.base();
    for op in &left.log {
        match op {
            LogOp::Truncate { after } => firm = firm.min(*after),
            LogOp::Reset { base } => {
                firm = firm.min(truth.log.base());
                compacted = compacted.max(*base);
            }
            LogOp::Compact { upto } => compacted = compacted.max(*upto),
            _ => {}
        }
    }
    for span in truth.log.spans() {
        for id in [LogId::new(span.epoch, span.first), LogId::new(span.epoch, span.last)] {
            let below = id <= log.base() && (id <= compacted || id <= snapshot);
            if id <= firm && !below && id > snapshot && !log.contains(id) {
                return Err(format!("has lost {id}, which was durable"));
            }
        }
    }
    if left.log.is_empty() && !left.failed && log.last() > truth.log.last().max(snapshot) {
        return Err(format!("has {}, and nothing after {} was written", log.last(), truth.log.last()));
    }
    Ok(())
}

/// C-RECOV: the hard state is the last that was durable, or one that was being saved.
fn promised<H: PartialEq + Debug + DeserializeOwned>(found: &H, left: &Left<H>, lied: bool) -> Result<(), String> {
    let saving = |op: &LogOp| match op {
        LogOp::SaveHard(bytes) => postcard::from_bytes::<H>(bytes).is_ok_and(|hard| hard == *found),
        _ => false,
    };
    // What was asked for when an operation failed is not known here; the protocols' oracles see to it that nothing goes back.
    if *found == left.truth.hard || left.failed && !lied || left.log.iter().any(saving) {
        return Ok(());
    }
    Err(format!("has the hard state {found:?}, and had {:?}", left.truth.hard))
}

/// C-RECOV: of what was under way, a hard state is there only with the entries in front of it.
fn in_order<P: Subject>(truth: &Truth<P::Hard>, left: &Left<P::Hard>) -> Result<(), String> {
    let cuts = left.log.iter().any(|op| matches!(op, LogOp::Truncate { .. } | LogOp::Reset { .. }));
    if cuts || truth.hard == left.truth.hard {
        return Ok(());
    }
    let mut before = None;
    for op in &left.log {
        match op {
            LogOp::Append(run) => before = Some(run.last()),
            LogOp::SaveHard(bytes) if postcard::from_bytes::<P::Hard>(bytes).is_ok_and(|hard| hard == truth.hard) => {
                let lost = before.filter(|id| !truth.has(*id));
                return lost.map_or(Ok(()), |id| Err(format!("has the hard state saved after {id}, and not {id}")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_state_is_the_last_durable_one_or_one_that_was_being_saved() {
        let save = |hard: u64| LogOp::SaveHard(postcard::to_allocvec(&hard).unwrap());
        let truth = Truth { hard: 7_u64, ..Truth::default() };
        let left =
            |log: Vec<LogOp>, failed| Left { truth: truth.clone(), log, snapshot: false, refused: false, failed };
        let holds = |found: u64, left: &Left<u64>, lied| promised(&found, left, lied).is_ok();
        let idle = left(Vec::new(), false);
        assert!(holds(7, &idle, false));
        assert!(!holds(6, &idle, false) && !holds(8, &idle, false));
        let saving = left(vec![save(8), save(9)], false);
        assert!(holds(7, &saving, false) && holds(8, &saving, false) && holds(9, &saving, false));
        assert!(!holds(6, &saving, false) && !holds(10, &saving, false));
        let failed = left(Vec::new(), true);
        assert!(holds(8, &failed, false), "what the failed operation was to save is not known");
        assert!(!holds(6, &failed, true), "and a disk that lies may have gone back");
    }
}
