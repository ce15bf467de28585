//! What must hold between nodes, and on their disks: the oracle that a simulated world asks after every turn.
//!
//! The names are those of Apache's `Zab.tla` and of the paper (Junqueira, Reed, Serafini: *Zab*, DSN 2011, section 3 and
//! appendix). What makes them cheap to check is that an entry's zxid says where it comes from: all entries of an epoch
//! come from its one leader, count up from 1, and the first of them follows the last of the history which that leader
//! began with. So the histories of all epochs together are a tree with one branching point for each epoch, every log is
//! a path in it, and what was delivered is the trunk.
//!
//! | name | what it says |
//! | --- | --- |
//! | Z-LEAD | one node leads an epoch, once: nobody else gives out its NEWLEADER, or the same node with another history (Leadership1, Leadership2); and it hands over to one that has all it has |
//! | Z-EPOCH | acceptedEpoch >= currentEpoch, both only grow, on disk too; currentEpoch is on a disk only behind the history of that epoch |
//! | Z-INIT | a leader begins to broadcast when a quorum has NEWLEADER's history and currentEpoch on disk |
//! | Z-PI | primary integrity: once a quorum has promised an epoch, its leader has all that was delivered before; when it broadcasts, no more of earlier epochs is delivered |
//! | Z-DUR | what is delivered is on the disks of a quorum |
//! | Z-AGR | agreement, total order: what two nodes delivered, one is a prefix of the other, for ever |
//! | Z-INT | integrity: no log has an entry that no leader broadcast |
//! | Z-LPO | local primary order: an epoch's entries follow each other without gaps, from 1 |
//! | Z-PFX | prefix consistency, global primary order: every log, in memory and on disk, is a prefix of the history of an epoch, epochs ascending |
//! | Z-ZXID | a counter does not pass the last one of its epoch, nor run into the next |
//! | Z-CONF | a node goes by the last membership in its log; memberships follow each other so that their quorums share a node, each after the one before it was delivered |
//! | Z-MEND | who lost entries is counted for nothing before it is healed; in `mend` |
//! | Z-NBT | a state of a node that should not be there; see [`Zab::check`](crate::Zab::check) |
//! | C-VOW | what a message says of its sender is on the sender's disk when it leaves; in `vows` |

use std::collections::BTreeMap;

use common::entries::{Entries, EntryKind};
use common::log::Span;
use common::quorum::Voters;
use common::sim::conf::{Memberships, View};
use common::sim::subject::{Oracle, Violation};
use common::sim::truth::{Ids, Truth};
use common::types::{Member, Micros, NodeId};

use super::mend;
use super::vows::Vows;
use crate::core::{Hard, State, Zab};
use crate::message::{Message, Zxid};
use crate::recovery::leader::{Leading, Stage};

type Check = Result<(), Violation>;

/// Watches an ensemble. Keeps a few numbers for each epoch and node, whatever the length of the logs.
#[derive(Debug)]
pub struct ZabOracle {
    memberships: Memberships,
    reigns: BTreeMap<u64, Reign>,
    /// What was delivered anywhere.
    delivered: Ids,
    nodes: BTreeMap<NodeId, Watch>,
    vows: Vows,
}

/// An epoch, from the moment at which a quorum has promised it.
#[derive(Clone, Copy, Debug)]
struct Reign {
    leader: NodeId,
    /// The end of its initial history: what comes before its first entry in every log.
    parent: Zxid,
    /// The last counter that was broadcast.
    proposed: u64,
    established: bool,
}

/// How far a node was looked at.
#[derive(Debug, Default)]
struct Watch {
    /// Its epochs as last seen on its disk.
    hard: Hard,
    /// The end of its log on disk, which is in order.
    on_disk: Zxid,
    /// The end of its log in memory, which is in order.
    in_memory: Zxid,
    committed: Zxid,
    /// It has told its heir to take office.
    told: bool,
    /// The epoch it has chosen as one that wants to lead, and the end of the history it would begin it with.
    chosen: Option<(u64, Zxid)>,
}

/// The end of a log on disk, with the snapshot before it.
pub(super) fn end(truth: &Truth<Hard>) -> Zxid {
    truth.log.last().max(truth.snapshot)
}

fn first_id(s: &Span) -> Zxid {
    Zxid::new(s.epoch, s.first)
}

fn last_id(s: &Span) -> Zxid {
    Zxid::new(s.epoch, s.last)
}

impl Oracle<Zab> for ZabOracle {
    fn new(voters: &Voters) -> Self {
        Self {
            memberships: Memberships::new("Z-CONF", voters),
            reigns: BTreeMap::new(),
            delivered: Ids::default(),
            nodes: BTreeMap::new(),
            vows: Vows::default(),
        }
    }

    fn booted(&mut self, core: &Zab, _: Member, truth: &Truth<Hard>) -> Check {
        let node = core.me.id;
        // R12 may raise acceptedEpoch to the log's last epoch, never lower it.
        if core.me.hard.accepted_epoch < truth.hard.accepted_epoch
            || core.me.hard.current_epoch != truth.hard.current_epoch
        {
            let what = format!("{node} starts with {:?} and has {:?} on disk", core.me.hard, truth.hard);
            return Err(Violation::new("Z-EPOCH", what));
        }
        let watch = self.nodes.entry(node).or_default();
        (watch.in_memory, watch.on_disk, watch.committed) = (Zxid::ZERO, Zxid::ZERO, core.me.committed);
        let (disk, log) = (self.look_at_disk(node, truth), self.look_at_log(core));
        // Only a snapshot says so at a start, and it covers what was delivered.
        if !self.delivered.contains(core.me.committed) {
            let what = format!("{node} starts with {} delivered, which was not", core.me.committed);
            return Err(Violation::new("Z-AGR", what));
        }
        disk.and(log).and(mend::booted(core, truth))
    }

    fn crashed(&mut self, node: NodeId) {
        self.vows.crashed(node);
    }

    fn replaced(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.vows.crashed(node);
    }

    fn turned(&mut self, core: &Zab, _: Micros, truths: &[(NodeId, Truth<Hard>)]) -> Check {
        // Everything is looked at even if something is wrong, so that what is found later makes sense when it is passed over.
        if let State::Leading(l) = &core.state
            && l.epoch > 0
        {
            self.nodes.entry(core.me.id).or_default().chosen = Some((l.epoch, l.summary.1));
        }
        let led = match &core.state {
            State::Leading(l) if l.stage >= Stage::Synchronisation => self.look_at_leader(core, l, truths),
            _ => Ok(()),
        };
        let led = led.and(self.look_at_heir(core, truths));
        let ended = self.nodes.get(&core.me.id).map_or(Zxid::ZERO, |w| w.in_memory);
        let log = self.look_at_log(core);
        let disk = truth_of(truths, core.me.id).map_or(Ok(()), |truth| self.look_at_disk(core.me.id, truth));
        let commits = self.look_at_commits(core, ended, truths);
        let known = is_committed(&self.delivered);
        let v = view(core, &known);
        let members = self.memberships.in_time(v).and(self.memberships.look(v));
        let log = log.and(members);
        led.and(log).and_then(|()| core.check()).and(disk).and(commits)
    }

    fn sends(&mut self, from: NodeId, to: NodeId, message: &Message, truth: &Truth<Hard>) -> Check {
        let begun = match (message, self.nodes.get(&from).and_then(|w| w.chosen)) {
            // It may begin the epoch and lose its office in the same turn.
            (Message::NewLeader { epoch, .. }, Some((chosen, parent)))
                if *epoch == chosen && !self.vows.relays(from, to) =>
            {
                self.begins(from, chosen, parent)
            }
            _ => Ok(()),
        };
        let vow = self.vows.sends(from, to, message, truth);
        begun.and(vow).and(mend::sends(from, message, truth))
    }
}

/// Whether an entry was delivered; and whether there is anything to be delivered.
fn is_committed(delivered: &Ids) -> impl Fn(Zxid) -> bool + '_ {
    |id| id == Zxid::ZERO || delivered.contains(id)
}

fn view<'a>(core: &'a Zab, is_committed: &'a dyn Fn(Zxid) -> bool) -> View<'a> {
    let me = &core.me;
    let unproven = matches!(&core.state, State::Leading(l) if !l.established());
    View { id: me.id, log: &me.log, members: &me.members, committed: me.committed, unproven, is_committed }
}

fn truth_of(truths: &[(NodeId, Truth<Hard>)], id: NodeId) -> Option<&Truth<Hard>> {
    truths.binary_search_by_key(&id, |(id, _)| *id).ok().map(|i| &truths[i].1)
}

impl ZabOracle {
    /// A node begins an epoch, or goes on with one that it began.
    fn begins(&mut self, node: NodeId, epoch: u64, parent: Zxid) -> Check {
        // What later epochs delivered it cannot have. It may still begin when one of them is established, out of promises that were
        // under way; established it will not be any more.
        let before = self.delivered.spans().iter().rev().find(|s| s.epoch < epoch);
        let delivered = before.map_or(Zxid::ZERO, last_id);
        let without = !self.reigns.contains_key(&epoch) && !self.descends(parent, delivered);
        let begun = Reign { leader: node, parent, proposed: 0, established: false };
        let reign = self.reigns.entry(epoch).or_insert(begun);
        if (reign.leader, reign.parent) != (node, parent) {
            let what = format!(
                "epoch {epoch} of {} with the history up to {} is led by {node} as well, with {parent}",
                reign.leader, reign.parent
            );
            return Err(Violation::new("Z-LEAD", what));
        }
        if without {
            let what = format!("{node} begins epoch {epoch} with {parent}, without {delivered}");
            return Err(Violation::new("Z-PI", what));
        }
        Ok(())
    }

    /// Whoever is told to take office has all that the leader had, on its disk.
    fn look_at_heir(&mut self, core: &Zab, truths: &[(NodeId, Truth<Hard>)]) -> Check {
        let heir = core.me.heir_told();
        let watch = self.nodes.entry(core.me.id).or_default();
        let just_told = !std::mem::replace(&mut watch.told, heir.is_some());
        let Some(heir) = heir.filter(|_| just_told) else { return Ok(()) };
        match truth_of(truths, heir).filter(|truth| !truth.has(core.me.log.last())) {
            Some(truth) => {
                let what = format!("{} hands over to {heir}, which has no more than {}", core.me.id, end(truth));
                Err(Violation::new("Z-LEAD", what))
            }
            None => Ok(()),
        }
    }

    fn look_at_leader(&mut self, core: &Zab, l: &Leading, truths: &[(NodeId, Truth<Hard>)]) -> Check {
        let (node, parent) = (core.me.id, l.summary.1);
        let begun = self.begins(node, l.epoch, parent);
        let mine = self.reigns.get_mut(&l.epoch).filter(|r| r.leader == node);
        let begins = l.established() && mine.is_some_and(|r| !std::mem::replace(&mut r.established, true));
        begun?;
        let last = core.me.log.last();
        if last != parent && (last.epoch != l.epoch || last.counter > u64::from(core.me.config.counter_max)) {
            return Err(Violation::new("Z-ZXID", format!("{node} leads epoch {} and has {last}", l.epoch)));
        }
        // A follower may have gone on to a later epoch since it acknowledged, and kept this history.
        let has =
            |v| truth_of(truths, v).is_some_and(|t: &Truth<Hard>| t.hard.current_epoch >= l.epoch && t.had(parent));
        let known = is_committed(&self.delivered);
        if begins && !self.memberships.of(view(core, &known)).configuration.is_quorum(has) {
            let what = format!("{node} leads epoch {}: no quorum has it and {parent} on disk", l.epoch);
            return Err(Violation::new("Z-INIT", what));
        }
        Ok(())
    }

    fn look_at_log(&mut self, core: &Zab) -> Check {
        let (node, log) = (core.me.id, &core.me.log);
        let last = log.last();
        let watch = self.nodes.entry(node).or_default();
        if watch.in_memory == last {
            return Ok(());
        }
        let seen = if log.contains(watch.in_memory) { watch.in_memory } else { Zxid::ZERO };
        watch.in_memory = last;
        if let Some(reign) = self.reigns.get_mut(&last.epoch)
            && reign.leader == node
            && last.counter > reign.proposed
        {
            // A leader may have proposed and lost its role in the same turn; it proposes commands only.
            let known = Zxid::new(last.epoch, reign.proposed);
            let leads = matches!(core.state, State::Leading(_));
            let strange = |run: &Entries| !matches!(run.kind(), EntryKind::Command | EntryKind::Membership);
            let runs = if leads { None } else { log.cached(log.floor(known).unwrap_or(known), last) };
            reign.proposed = last.counter;
            if runs.is_some_and(|runs| runs.iter().any(strange)) {
                let what = format!("{node} has {last} in its memory, which it put there without broadcasting it");
                return Err(Violation::new("Z-INT", what));
            }
        }
        let known = is_committed(&self.delivered);
        let mut members = Ok(());
        for run in log.cached(log.floor(seen).unwrap_or(log.base()), last).unwrap_or_default() {
            let new = |(at, _): &(Zxid, &[u8])| !self.memberships.knows(*at);
            let said: Vec<_> =
                if run.kind() == EntryKind::Membership { run.iter().filter(new).collect() } else { Vec::new() };
            for (at, payload) in said {
                members = members.and(self.memberships.appended(view(core, &known), &run, (at, payload)));
            }
        }
        self.look_at_spans(node, "memory", log.base(), log.spans(), seen).and(members)
    }

    fn look_at_disk(&mut self, node: NodeId, truth: &Truth<Hard>) -> Check {
        let watch = self.nodes.entry(node).or_default();
        let (before, hard) = (watch.hard, truth.hard);
        if hard != before {
            watch.hard = hard;
            if hard.accepted_epoch < before.accepted_epoch || hard.current_epoch < before.current_epoch {
                let what = format!("{node} had {before:?} on disk, and now {hard:?}");
                return Err(Violation::new("Z-EPOCH", what));
            }
            if hard.accepted_epoch < hard.current_epoch {
                return Err(Violation::new("Z-EPOCH", format!("{node} has {hard:?} on disk")));
            }
            let history = self.reigns.get(&hard.current_epoch).map(|r| r.parent);
            mend::saved(node, before, truth, history)?;
            // Damage may have taken it since.
            if hard.current_epoch > before.current_epoch && !history.is_some_and(|h| truth.had(h)) {
                let what =
                    format!("{node} has {hard:?} on disk, whose history ends at {history:?}, and {}", end(truth));
                return Err(Violation::new("Z-EPOCH", what));
            }
        }
        let last = truth.log.last();
        let watch = self.nodes.entry(node).or_default();
        if watch.on_disk == last {
            return Ok(());
        }
        let seen = if truth.log.contains(watch.on_disk) { watch.on_disk } else { Zxid::ZERO };
        watch.on_disk = last;
        self.look_at_spans(node, "disk", truth.log.base(), truth.log.spans(), seen)
    }

    /// Looks at what comes after `seen`.
    fn look_at_spans(&self, node: NodeId, whose: &str, base: Zxid, spans: &[Span], seen: Zxid) -> Check {
        let from = spans.partition_point(|s| last_id(s) <= seen);
        let mut before = from.checked_sub(1).map_or(base, |i| last_id(&spans[i]));
        for s in &spans[from..] {
            let first = first_id(s);
            let broken = match self.reigns.get(&s.epoch) {
                Some(r) if s.last > r.proposed => Some(("Z-INT", "which its leader has not broadcast")),
                None => Some(("Z-INT", "of an epoch that nobody leads")),
                Some(_) if before.epoch == s.epoch => {
                    (first != before.plus(1)).then_some(("Z-LPO", "with a gap in the epoch"))
                }
                Some(_) if s.first != 1 => Some(("Z-LPO", "which is not the first of its epoch")),
                Some(r) => (r.parent != before).then_some(("Z-PFX", "which follows something else in that epoch")),
            };
            if let Some((oracle, what)) = broken {
                let what = format!("{node} has in its {whose} {first} to {}, after {before}, {what}", last_id(s));
                return Err(Violation::new(oracle, what));
            }
            before = last_id(s);
        }
        Ok(())
    }

    fn look_at_commits(&mut self, core: &Zab, ended: Zxid, truths: &[(NodeId, Truth<Hard>)]) -> Check {
        let (node, upto) = (core.me.id, core.me.committed);
        let watch = self.nodes.entry(node).or_default();
        let before = std::mem::replace(&mut watch.committed, upto);
        if upto == before {
            return Ok(());
        }
        if upto < before {
            return Err(Violation::new("Z-AGR", format!("{node} had delivered {before}, and now {upto}")));
        }
        let last = self.delivered.last();
        if upto <= last {
            if self.delivered.contains(upto) {
                return Ok(());
            }
            return Err(Violation::new("Z-AGR", format!("{node} delivers {upto}, others {last} without it")));
        }
        let Some(spans) = self.between(last, upto) else {
            return Err(Violation::new("Z-AGR", format!("{node} delivers {upto} without {last}")));
        };
        let mut found = Ok(());
        let has = |v, id| truth_of(truths, v).is_some_and(|t: &Truth<Hard>| t.had(id));
        let quorum = self.memberships.commits(view(core, &is_committed(&self.delivered)), ended, has);
        if !quorum {
            found = Err(Violation::new("Z-DUR", format!("{node} delivers {upto}, which no quorum has on disk")));
        }
        for span in spans.into_iter().rev() {
            let newest = last_id(&span);
            // (What a leader that was never established left out may still be delivered by the next.)
            let mut later = self.reigns.range(span.epoch + 1..);
            if let Some((epoch, _)) = later.find(|(_, r)| r.established && !self.descends(r.parent, newest)) {
                let what = format!("{node} delivers {newest}; epoch {epoch} was begun without it");
                found = found.and(Err(Violation::new("Z-PI", what)));
            }
            self.delivered.push(first_id(&span), span.last);
        }
        found
    }

    /// Whether the history that ends at `id` has `ancestor` in it.
    fn descends(&self, mut id: Zxid, ancestor: Zxid) -> bool {
        while id.epoch > ancestor.epoch {
            let Some(reign) = self.reigns.get(&id.epoch) else { return false };
            id = reign.parent;
        }
        id.epoch == ancestor.epoch && id.counter >= ancestor.counter
    }

    /// What comes after `ancestor` in the history that ends at `id`, newest first; None when `ancestor` is not in it.
    fn between(&self, ancestor: Zxid, mut id: Zxid) -> Option<Vec<Span>> {
        let mut spans = Vec::new();
        while id.epoch > ancestor.epoch {
            spans.push(Span { epoch: id.epoch, first: 1, last: id.counter });
            id = self.reigns.get(&id.epoch)?.parent;
        }
        if id.epoch != ancestor.epoch || id.counter < ancestor.counter {
            return None;
        }
        if id > ancestor {
            spans.push(Span { epoch: id.epoch, first: ancestor.counter + 1, last: id.counter });
        }
        Some(spans)
    }
}
