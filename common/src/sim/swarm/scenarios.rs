//! Faults that come together, as they did in failures that were reported, in two plans of three, each in one of six.

mod churn;
mod rare;

use super::faults::victims;
use super::shape::round_us;
use super::{log, log_span, one_in};
use crate::rng::Rng;
use crate::sim::plan::{Death, Fault, Shape, Target, Timed};
use crate::sim::stream::Streams;
use crate::types::{Micros, NodeId};

type Scenario = fn(&mut Scene<'_>, Micros);

/// All of them. The name of each is that of its stream.
const ALL: [(&str, Scenario); 29] = [
    ("deaf-leader", deaf_leader),
    ("mute-leader", mute_leader),
    ("bridge", bridge),
    ("ring", ring),
    ("blackout", blackout),
    ("quorum-power-loss", quorum_power_loss),
    ("crash-in-recovery", crash_in_recovery),
    ("restart-storm", restart_storm),
    ("snapshot-cut", snapshot_cut),
    ("usurpers", usurpers),
    ("moving-snapshot", moving_snapshot),
    ("damaged-snapshot", damaged_snapshot),
    ("unheard-follower", unheard_follower),
    ("torn-tails", torn_tails),
    ("rot", rare::rot),
    ("power-at-work", rare::power_at_work),
    ("stall-power", rare::stall_power),
    ("late-return", rare::late_return),
    ("late-answers", rare::late_answers),
    ("slow-votes", rare::slow_votes),
    ("broken-sessions", rare::broken_sessions),
    ("laggard", rare::laggard),
    ("crash-in-discovery", rare::crash_in_discovery),
    ("handover", handover),
    ("late-handover", late_handover),
    ("rolling-replacement", churn::rolling_replacement),
    ("split-sets", churn::split_sets),
    ("stalled-leader", rare::stalled_leader),
    ("chains", rare::chains),
];

/// The scenarios of a plan. Some of them change limits and the load, and whether clocks can be trusted.
pub(super) fn draw(shape: &mut Shape, streams: Streams) -> Vec<Timed> {
    let mut all = Vec::new();
    if one_in(&mut streams.rng("swarm/scenarios", [0; 3]), 3) {
        return all;
    }
    let victims = victims(shape, streams);
    for (name, scenario) in ALL {
        let rng = streams.rng(&format!("swarm/scenario/{name}"), [0; 3]);
        let mut scene = Scene { shape, rng, victims: victims.clone(), faults: Vec::new() };
        if one_in(&mut scene.rng, 6) {
            let at = Micros(scene.rng.between(0, scene.shape.span.0 * 3 / 4));
            scenario(&mut scene, at);
            all.append(&mut scene.faults);
        }
    }
    all
}

struct Scene<'a> {
    shape: &'a mut Shape,
    rng: Rng,
    /// Whose disks may lose what they had confirmed.
    victims: Vec<NodeId>,
    faults: Vec<Timed>,
}

impl Scene<'_> {
    fn add(&mut self, at: Micros, fault: Fault) {
        if at <= self.shape.span {
            self.faults.push(Timed { at, fault });
        }
    }

    fn election(&self) -> Micros {
        self.shape.timing.election_timeout
    }

    /// A span in hundredths of the election time-out.
    fn elections(&mut self, low: u64, high: u64) -> Micros {
        let hundredth = self.election().0 / 100;
        log_span(&mut self.rng, Micros(low * hundredth), Micros(high * hundredth))
    }

    fn nodes(&self) -> u64 {
        self.shape.voters + self.shape.observers
    }

    /// Everyone but the leader.
    fn others(&self) -> Vec<Target> {
        (0..self.nodes() - 1).map(Target::Other).collect()
    }

    /// A node that votes.
    fn voter(&mut self) -> Target {
        node(self.rng.between(1, self.shape.voters + 1))
    }

    /// Both ways.
    fn part(&mut self, at: Micros, one: &[Target], other: &[Target], span: Micros) {
        self.cut(at, one.to_vec(), other.to_vec(), span);
        self.cut(at, other.to_vec(), one.to_vec(), span);
    }

    /// A node that is struck, and all others.
    fn alone(&mut self) -> (Target, Vec<Target>) {
        let late = if self.shape.observers > 0 && one_in(&mut self.rng, 3) { node(self.nodes()) } else { self.voter() };
        (late, (1..=self.nodes()).map(node).filter(|n| *n != late).collect())
    }

    /// Snapshots are taken all the time and nothing is kept below them; perhaps they go in many pieces.
    fn many_snapshots(&mut self) {
        let m = &mut self.shape.machine;
        m.snapshot_entries = m.snapshot_entries.min(log(&mut self.rng, 4, 32));
        m.tail_entries = m.tail_entries.min(4);
        if self.shape.timing.limits == 0 {
            self.shape.timing.limits = self.rng.between(1, 1 << 32);
        }
    }

    /// So many operations in a second, or fewer where limits are so tight that each may take a round trip of its own; of values
    /// that the links carry as they did before.
    fn busy(&mut self, per_second: u64) {
        let Shape { net, machine, load, .. } = &mut *self.shape;
        let most = (300_000 / round_us(net.delay_us, net.jitter_us, machine).max(1)).max(5);
        let per_second = per_second.max(load.per_second).min(most);
        load.value_bytes = (load.value_bytes * load.per_second / per_second.max(load.per_second)).max(16);
        load.per_second = per_second;
    }

    /// In this plan leases are on.
    fn trust_clocks(&mut self) {
        let drift = log(&mut self.rng, 1, 50);
        let timing = &mut self.shape.timing;
        timing.drift = if timing.drift == 0 { drift } else { timing.drift };
    }

    fn cut(&mut self, at: Micros, from: Vec<Target>, to: Vec<Target>, span: Micros) {
        if !from.is_empty() && !to.is_empty() {
            self.add(at, Fault::Cut { from, to, span });
        }
    }
}

fn node(n: u64) -> Target {
    Target::Node(NodeId(n))
}

/// A leader that can send but hears nothing: its heartbeats keep everyone quiet, and nothing commits.
fn deaf_leader(s: &mut Scene<'_>, at: Micros) {
    let span = s.elections(50, 800);
    s.cut(at, s.others(), vec![Target::Leader], span);
}

/// A leader that hears all and is heard by nobody.
fn mute_leader(s: &mut Scene<'_>, at: Micros) {
    let span = s.elections(50, 800);
    s.cut(at, vec![Target::Leader], s.others(), span);
}

/// Two halves that only one node can reach both of (Cloudflare, 2 November 2020).
fn bridge(s: &mut Scene<'_>, at: Micros) {
    let span = s.elections(50, 800);
    let n = s.nodes();
    let first = s.rng.between(0, n);
    let mut row = (0..n).map(|i| node(1 + (first + i) % n));
    let _bridge = row.next();
    let left: Vec<_> = row.by_ref().take((n as usize - 1) / 2).collect();
    let right: Vec<_> = row.collect();
    s.cut(at, left.clone(), right.clone(), span);
    s.cut(at, right, left, span);
}

/// Every voter reaches a quorum, and no two of them the same one. With fewer than four, no such thing exists.
fn ring(s: &mut Scene<'_>, at: Micros) {
    let span = s.elections(50, 800);
    let n = s.shape.voters;
    // With itself, n / 2 others make a quorum; half of them on each side.
    let reach = (n / 2).div_ceil(2);
    for i in 0..n {
        let far = |j: u64| (i + n - j) % n > reach && (j + n - i) % n > reach;
        let to = (0..n).filter(|j| far(*j)).map(|j| node(1 + j)).collect();
        s.cut(at, vec![node(1 + i)], to, span);
    }
}

/// Power fails for all at once, perhaps again as soon as it is back.
fn blackout(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..s.rng.between(1, 4) {
        let back = s.elections(1, 200);
        s.add(at, Fault::CrashAll { back });
        at = at.after(back).after(s.elections(1, 800));
    }
}

/// Power fails for the leader and just enough others that what it acknowledged last is nowhere else.
fn quorum_power_loss(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..s.rng.between(1, 5) {
        let back = s.elections(1, 300);
        // The leader last: who the others are is looked up while it leads.
        let first = s.rng.between(0, s.nodes());
        for i in 0..s.shape.voters / 2 {
            s.add(at, Fault::Crash { node: Target::Other(first + i), how: Death::Power, back });
        }
        s.add(at, Fault::Crash { node: Target::Leader, how: Death::Power, back });
        at = at.after(back).after(s.elections(100, 1000));
    }
}

/// A node crashes, and again while it reads its disk or is brought level, several times.
fn crash_in_recovery(s: &mut Scene<'_>, mut at: Micros) {
    let victim = s.voter();
    for _ in 0..s.rng.between(2, 7) {
        let back = s.elections(1, 100);
        let how = if one_in(&mut s.rng, 2) { Death::Power } else { Death::Kill };
        s.add(at, Fault::Crash { node: victim, how, back });
        let delay = s.election();
        at = at.after(back).after(log_span(&mut s.rng, Micros(10), delay));
    }
}

/// Nodes come back and go again before anyone can be elected. Then it is calm.
fn restart_storm(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..log(&mut s.rng, 8, 32) {
        let (back, victim) = (s.elections(1, 25), s.rng.between(1, s.nodes() + 1));
        let how = if one_in(&mut s.rng, 2) { Death::Power } else { Death::Kill };
        s.add(at, Fault::Crash { node: node(victim), how, back });
        at = at.after(s.elections(5, 50));
    }
}

/// A node is away until what it misses is only in a snapshot; then its session with the leader breaks again and again while
/// it is sent, and perhaps it crashes while it installs it.
fn snapshot_cut(s: &mut Scene<'_>, at: Micros) {
    s.shape.machine.snapshot_entries = s.shape.machine.snapshot_entries.min(32);
    s.shape.machine.tail_entries = s.shape.machine.tail_entries.min(4);
    let (late, rest) = s.alone();
    let away = s.elections(200, 1000);
    s.part(at, &[late], &rest, away);
    let mut at = at.after(away);
    for _ in 0..s.rng.between(2, 9) {
        at = at.after(s.elections(1, 100));
        let fault = if one_in(&mut s.rng, 2) {
            Fault::Crash { node: late, how: Death::Power, back: s.elections(1, 50) }
        } else {
            Fault::Reset { a: late, b: Target::Leader }
        };
        s.add(at, fault);
    }
}

/// Leader after leader is cut off with one other and what both have that is not committed (figure 8 of Raft's paper); the
/// next is hardly elected when the last returns.
fn usurpers(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..s.rng.between(3, 12) {
        let span = s.elections(100, 500);
        let with = s.rng.between(0, s.nodes());
        let (few, many): (Vec<_>, Vec<_>) = s.others().into_iter().partition(|other| *other == Target::Other(with));
        let few = [vec![Target::Leader], few].concat();
        s.part(at, &few, &many, span);
        at = at.after(span).after(s.elections(1, 100));
    }
}

/// A node is brought level by a snapshot, through a link on which that takes so long that the next ones are there before it
/// has arrived; meanwhile disks stall, sessions break, and who sends it changes.
fn moving_snapshot(s: &mut Scene<'_>, mut at: Micros) {
    s.many_snapshots();
    s.busy(50);
    let (late, rest) = s.alone();
    let link = Micros(s.election().0 / 4);
    for _ in 0..s.rng.between(2, 6) {
        let away = s.elections(100, 400);
        s.part(at, &[late], &rest, away);
        at = at.after(away);
        let span = s.elections(100, 600);
        let delay = log_span(&mut s.rng, Micros(1000), link);
        s.add(at, Fault::Slow { from: Target::Leader, to: late, delay, span });
        for _ in 0..s.rng.between(1, 8) {
            let (when, short) = (at.after(s.elections(1, 300)), s.elections(2, 60));
            let fault = match s.rng.between(0, 7) {
                0 => Fault::Crash { node: Target::Leader, how: Death::Kill, back: short },
                1 => Fault::Crash { node: late, how: Death::Power, back: short },
                2 => Fault::Stall { node: late, span: short },
                3 => Fault::Stall { node: Target::Leader, span: short },
                4 => Fault::SlowDisk { node: late, delay: Micros(link.0 / 4), span },
                5 => Fault::Pause { node: late, span: short },
                _ => Fault::Reset { a: late, b: Target::Leader },
            };
            s.add(when, fault);
        }
        at = at.after(span);
    }
}

/// A snapshot is damaged on a disk while it is sent, or while it comes in. Only disks are struck that may lose what they had.
fn damaged_snapshot(s: &mut Scene<'_>, mut at: Micros) {
    let victims = std::mem::take(&mut s.victims);
    if victims.is_empty() {
        return;
    }
    s.many_snapshots();
    s.busy(50);
    for _ in 0..s.rng.between(1, 4) {
        let victim = Target::Node(victims[s.rng.between(0, victims.len() as u64) as usize]);
        let late = if one_in(&mut s.rng, 2) { victim } else { s.voter() };
        let rest: Vec<_> = (1..=s.nodes()).map(node).filter(|n| *n != late).collect();
        let away = s.elections(100, 300);
        s.part(at, &[late], &rest, away);
        at = at.after(away);
        let (most, span) = (Micros(s.election().0 / 4), s.elections(100, 300));
        let delay = log_span(&mut s.rng, Micros(1000), most);
        s.add(at, Fault::Slow { from: Target::Leader, to: late, delay, span });
        for _ in 0..s.rng.between(4, 16) {
            let when = at.after(s.elections(1, 100));
            s.add(when, Fault::BitRot { node: victim });
        }
        at = at.after(span);
    }
}

/// A follower hears all and is heard by nobody: what it has is taken for missing, and sent again when it has compacted it.
fn unheard_follower(s: &mut Scene<'_>, mut at: Micros) {
    s.many_snapshots();
    s.busy(50);
    let (deaf, rest) = s.alone();
    for _ in 0..s.rng.between(1, 6) {
        let span = s.elections(20, 200);
        s.cut(at, vec![deaf], rest.clone(), span);
        if one_in(&mut s.rng, 2) {
            s.add(at.after(span), Fault::Reset { a: deaf, b: Target::Leader });
        }
        at = at.after(span).after(s.elections(10, 200));
    }
}

/// A node that may lead is cut off with much that is not committed, in small segments, on a slow disk; when it is back and
/// has to cut its log, or while its last write is under way, its power fails.
fn torn_tails(s: &mut Scene<'_>, mut at: Micros) {
    s.busy(100);
    let shape = &mut *s.shape;
    shape.machine.segment_bytes = shape.machine.segment_bytes.min(log(&mut s.rng, 4 << 10, 16 << 10));
    shape.load.clients = shape.load.clients.max(16);
    shape.load.value_bytes = shape.load.value_bytes.max(log(&mut s.rng, 256, 1024));
    shape.load.mix = [90, 0, 10, 0, 0];
    for _ in 0..s.rng.between(3, 12) {
        let struck = if one_in(&mut s.rng, 3) { s.voter() } else { Target::Leader };
        let others = if struck == Target::Leader {
            s.others()
        } else {
            (1..=s.nodes()).map(node).filter(|n| *n != struck).collect()
        };
        let span = s.elections(50, 300);
        s.part(at, &[struck], &others, span);
        let most = Micros(s.election().0 / 4);
        let delay = log_span(&mut s.rng, Micros(1000), most);
        for victim in 1..=s.shape.voters {
            let slow = Fault::SlowDisk { node: node(victim), delay, span: span.after(s.elections(20, 100)) };
            s.add(at, slow);
        }
        let back = at.after(span);
        for _ in 0..s.rng.between(1, 4) {
            let fails =
                if one_in(&mut s.rng, 2) { back.after(s.elections(1, 60)) } else { at.after(s.elections(1, 50)) };
            let victim = s.voter();
            let short = s.elections(1, 30);
            s.add(fails, Fault::Crash { node: victim, how: Death::Power, back: short });
        }
        at = back.after(s.elections(50, 300));
    }
}

/// Leadership is handed over, and the old leader hears nothing of the next one's election: it goes on as it was.
fn handover(s: &mut Scene<'_>, mut at: Micros) {
    s.trust_clocks();
    for _ in 0..s.rng.between(2, 8) {
        let (span, heir) = (s.elections(50, 200), s.rng.between(0, s.shape.voters.max(2) - 1));
        s.add(at, Fault::Transfer { to: Some(Target::Other(heir)) });
        // At once, or when the first word of it may be on its way.
        let later = s.elections(1, 20);
        let cut = if one_in(&mut s.rng, 2) { at } else { at.after(later) };
        let others = s.others();
        s.cut(cut, others, vec![Target::Leader], span);
        at = at.after(span).after(s.elections(50, 300));
    }
}

/// What the leader sends to the next one takes a little longer than it waits, so TimeoutNow arrives when the leader has given
/// up and is sure of itself again; then it hears nothing of what comes of that.
fn late_handover(s: &mut Scene<'_>, mut at: Micros) {
    s.trust_clocks();
    for _ in 0..s.rng.between(3, 10) {
        let (delay, span) = (s.elections(110, 140), s.elections(100, 200));
        // Voters come first.
        let heir = Target::Other(s.rng.between(0, s.shape.voters.max(2) - 1));
        s.add(at, Fault::Slow { from: Target::Leader, to: heir, delay, span: delay.after(span) });
        s.add(at, Fault::Transfer { to: Some(heir) });
        let others = s.others();
        s.cut(at.after(delay), others, vec![Target::Leader], span);
        at = at.after(delay).after(span).after(s.elections(100, 300));
    }
}
