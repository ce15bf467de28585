//! Scenarios for what single faults hardly ever meet: some moments are a few milliseconds long, and some states need one
//! thing to last while another comes and goes.

use super::{Scene, log, log_span, node, one_in};
use crate::sim::plan::{Death, Fault, Target};
use crate::types::{Micros, NodeId};

/// Bits of a disk flip, and then the node has to start from it.
pub(super) fn rot(s: &mut Scene<'_>, mut at: Micros) {
    let Some(victim) = s.victims.first().copied().map(Target::Node) else { return };
    for _ in 0..s.rng.between(1, 5) {
        for _ in 0..s.rng.between(1, 4) {
            s.add(at, Fault::BitRot { node: victim });
        }
        let back = s.elections(1, 100);
        s.add(at.after(Micros(1)), Fault::Crash { node: victim, how: Death::Power, back });
        at = at.after(back).after(s.elections(50, 400));
    }
}

/// Segments are short, and power fails again and again while disks are at work.
pub(super) fn power_at_work(s: &mut Scene<'_>, mut at: Micros) {
    s.shape.machine.segment_bytes = 4 << 10;
    for _ in 0..log(&mut s.rng, 8, 31) {
        let victim = if one_in(&mut s.rng, 2) { Target::Leader } else { s.voter() };
        let back = s.elections(1, 50);
        s.add(at, Fault::Crash { node: victim, how: Death::Power, back });
        at = at.after(back).after(s.elections(50, 200));
    }
}

/// A disk stands still while leaders change, so that entries and votes wait for it together; power fails as it goes on.
pub(super) fn stall_power(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..s.rng.between(2, 7) {
        let victim = s.voter();
        let span = s.elections(100, 500);
        s.add(at, Fault::Stall { node: victim, span });
        let change = Micros(s.rng.between(0, span.0));
        let back = s.elections(50, 200);
        s.add(at.after(change), Fault::Crash { node: Target::Leader, how: Death::Kill, back });
        let most = Micros(4 * s.shape.machine.sync_us.max(50));
        let soon = log_span(&mut s.rng, Micros(10), most);
        let back = s.elections(1, 100);
        s.add(at.after(span).after(soon), Fault::Crash { node: victim, how: Death::Power, back });
        at = at.after(span).after(s.elections(200, 500));
    }
}

/// The leader's disk stands still for long, in a cluster that writes; perhaps whoever is to lead instead goes, too, or all
/// disks are slow.
pub(super) fn stalled_leader(s: &mut Scene<'_>, mut at: Micros) {
    s.busy(20);
    for _ in 0..s.rng.between(2, 7) {
        let span = s.elections(300, 1000);
        s.add(at, Fault::Stall { node: Target::Leader, span });
        match s.rng.between(0, 4) {
            0 => {
                // When leadership may be on its way to it.
                let then = at.after(s.elections(190, 300));
                let others = s.others();
                let short = s.elections(100, 300);
                s.cut(then, others, vec![Target::Leader], short);
            }
            1 => {
                let other = s.voter();
                s.add(at, Fault::Stall { node: other, span });
            }
            2 => {
                // It is not to be led meanwhile, either.
                let then = at.after(s.elections(100, 200));
                s.add(then, Fault::Crash { node: Target::Leader, how: Death::Kill, back: span });
            }
            _ => {}
        }
        at = at.after(span).after(s.elections(200, 500));
    }
}

/// A voter is away for many elections and returns when everything is healed.
pub(super) fn late_return(s: &mut Scene<'_>, _: Micros) {
    let away = s.voter();
    let rest: Vec<_> = (1..=s.nodes()).map(node).filter(|n| *n != away).collect();
    let span = s.elections(300, 1000).min(s.shape.span);
    let at = Micros(s.shape.span.0 - span.0);
    s.cut(at, vec![away], rest.clone(), span);
    s.cut(at, rest, vec![away], span);
}

/// A leader whose clock is slow hears late what was said to it while it was still heard, and goes on believing that it
/// leads when another does; or it is just cut off.
pub(super) fn late_answers(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..s.rng.between(1, 4) {
        let election = s.election().0;
        let all = Micros(election * 8);
        s.add(at, Fault::Drift { node: Target::Leader, per_mille: -500, span: all });
        let mut from = at.after(Micros(election / 4));
        if one_in(&mut s.rng, 2) {
            for (nth, tenths) in [13, 26].into_iter().enumerate() {
                let begin = from.after(Micros(nth as u64 * election * 14 / 10));
                for other in s.others() {
                    let (delay, span) = (Micros(election * tenths / 10), Micros(election * 6));
                    s.add(begin, Fault::Slow { from: other, to: Target::Leader, delay, span });
                }
            }
            from = from.after(Micros(election * 3));
        }
        let span = s.elections(200, 400);
        let others = s.others();
        s.cut(from, vec![Target::Leader], others.clone(), span);
        if one_in(&mut s.rng, 2) {
            s.cut(from, others, vec![Target::Leader], span);
        }
        at = at.after(all).after(s.elections(100, 300));
    }
}

/// Nobody leads, and half of the links are so slow that what is said in one election arrives in the next.
pub(super) fn slow_votes(s: &mut Scene<'_>, mut at: Micros) {
    for _ in 0..s.rng.between(1, 4) {
        let span = s.elections(300, 800);
        s.add(at, Fault::Crash { node: Target::Leader, how: Death::Kill, back: span });
        for from in 1..=s.shape.voters {
            for to in 1..=s.shape.voters {
                if from != to && one_in(&mut s.rng, 2) {
                    let delay = s.elections(50, 200);
                    s.add(at, Fault::Slow { from: node(from), to: node(to), delay, span });
                } else if from != to && one_in(&mut s.rng, 4) {
                    let later = at.after(s.elections(50, 300));
                    s.add(later, Fault::Reset { a: node(from), b: node(to) });
                }
            }
        }
        at = at.after(span).after(s.elections(100, 300));
    }
}

/// Sessions break and come back at once, while what was asked on them takes long.
pub(super) fn broken_sessions(s: &mut Scene<'_>, mut at: Micros) {
    s.shape.net.redial_us = s.shape.net.redial_us.min(20_000);
    let span = s.elections(200, 800);
    let delay = Micros(s.election().0 / 4);
    s.add(at, Fault::SlowDisk { node: Target::Leader, delay, span });
    for other in s.others() {
        s.add(at, Fault::SlowDisk { node: other, delay, span });
    }
    for _ in 0..s.rng.between(4, 17) {
        let other = Target::Other(s.rng.between(0, s.nodes()));
        s.add(at, Fault::Reset { a: other, b: Target::Leader });
        at = at.after(s.elections(5, 60));
    }
}

/// One that follows is so slow, for so long, that what waits for it fills every queue; limits are tight.
pub(super) fn laggard(s: &mut Scene<'_>, at: Micros) {
    if s.shape.timing.limits == 0 {
        s.shape.timing.limits = s.rng.between(1, 1 << 32);
    }
    s.shape.load.per_second = s.shape.load.per_second.max(100);
    let span = Micros(s.rng.between(5_000_000, 20_000_001));
    let other = Target::Other(s.rng.between(0, s.nodes()));
    if one_in(&mut s.rng, 2) {
        s.add(at, Fault::Stall { node: other, span });
    } else {
        s.add(at, Fault::SlowDisk { node: other, delay: Micros(2_000_000), span });
    }
}

/// The voter that wins ties crashes as soon as it may have promised an epoch, again and again, and is away when the others
/// agree on one.
pub(super) fn crash_in_discovery(s: &mut Scene<'_>, mut at: Micros) {
    let victim = Target::Node(NodeId(s.shape.voters));
    let times = s.rng.between(2, 6);
    let back = s.elections(1, 20);
    s.add(at, Fault::CrashAll { back });
    for i in 1..=times {
        let election = s.election();
        at = at.after(log_span(&mut s.rng, Micros(election.0 / 50), election));
        let back = if i == times { s.elections(300, 800) } else { s.elections(1, 20) };
        s.add(at, Fault::Crash { node: victim, how: Death::Power, back });
        at = at.after(back);
    }
}

/// Enough observers for one to hang on the other, if settings make them; and whoever is in the middle goes, or loses its leader
/// while all others still have theirs.
pub(super) fn chains(s: &mut Scene<'_>, mut at: Micros) {
    s.shape.observers = s.shape.observers.max(s.rng.between(3, 5));
    if s.shape.timing.limits == 0 {
        s.shape.timing.limits = s.rng.between(1, 1 << 32);
    }
    let voters: Vec<_> = (1..=s.shape.voters).map(node).collect();
    for _ in 0..s.rng.between(4, 16) {
        let link = node(s.shape.voters + s.rng.between(1, s.shape.observers + 1));
        let span = s.elections(1, 150);
        match s.rng.between(0, 6) {
            0 => s.add(at, Fault::Crash { node: link, how: Death::Kill, back: span }),
            1 => s.add(at, Fault::Crash { node: link, how: Death::Power, back: span }),
            2 => s.add(at, Fault::Reset { a: link, b: Target::Leader }),
            3 => s.part(at, &[link], &voters, span),
            4 => {
                let next = node(s.shape.voters + s.rng.between(1, s.shape.observers + 1));
                s.add(at, Fault::Reset { a: link, b: next });
            }
            _ => s.add(at, Fault::Crash { node: Target::Leader, how: Death::Kill, back: span }),
        }
        at = at.after(s.elections(2, 200));
    }
}
