//! Members change while things go wrong.

use super::super::{log, one_in};
use super::{Scene, node};
use crate::sim::plan::{Death, Fault, Make, Target};
use crate::types::Micros;

/// One node after the other takes the place of another, and around each step somebody goes, is cut off or has a slow disk:
/// before it, in the middle of it, and just after.
pub(super) fn rolling_replacement(s: &mut Scene<'_>, mut at: Micros) {
    s.shape.observers = s.shape.observers.max(s.rng.between(1, 3));
    let (voters, all) = (s.shape.voters, s.nodes());
    for step in 0..s.rng.between(3, 12) {
        let next = node(1 + (voters + step) % all);
        let out = if one_in(&mut s.rng, 3) { Target::Leader } else { node(1 + step % all) };
        let steps = match s.rng.between(0, 3) {
            // All of it at once.
            0 => vec![vec![(Make::Voter, next), (Make::Gone, out)]],
            1 => vec![vec![(Make::Learner, next)], vec![(Make::Voter, next)], vec![(Make::Gone, out)]],
            _ => vec![vec![(Make::Voter, next)], vec![(Make::Learner, out)]],
        };
        for make in steps {
            s.add(at, Fault::Change { make });
            if !one_in(&mut s.rng, 3) {
                trouble(s, at);
            }
            at = at.after(s.elections(5, 150));
        }
    }
}

fn trouble(s: &mut Scene<'_>, at: Micros) {
    // While the entry is on its way, while it is joint, or when a new leader has found it in its log.
    let at = at.after(s.elections(1, 60));
    let span = s.elections(30, 200);
    match s.rng.between(0, 5) {
        0 => s.add(at, Fault::Crash { node: Target::Leader, how: Death::Power, back: span }),
        1 => {
            let others = s.others();
            s.part(at, &[Target::Leader], &others, span);
        }
        2 => {
            let struck = node(s.rng.between(1, s.nodes() + 1));
            let rest: Vec<_> = (1..=s.nodes()).map(node).filter(|n| *n != struck).collect();
            s.part(at, &[struck], &rest, span);
        }
        3 => s.add(at, Fault::Transfer { to: None }),
        _ => {
            let victim = node(s.rng.between(1, s.nodes() + 1));
            s.add(at, Fault::Crash { node: victim, how: Death::Kill, back: span });
        }
    }
}

/// The leader enters a joint membership with somebody whom its messages hardly reach, and is cut off; each of the two sets may
/// be all that the others hear of. Snapshots are taken all the time.
pub(super) fn split_sets(s: &mut Scene<'_>, mut at: Micros) {
    s.shape.observers = s.shape.observers.max(2);
    if one_in(&mut s.rng, 2) {
        s.many_snapshots();
    }
    let all = s.nodes();
    for _ in 0..s.rng.between(2, 8) {
        let n = s.rng.between(2, 4);
        let mut make = Vec::new();
        for _ in 0..n {
            let what = if one_in(&mut s.rng, 2) { Make::Voter } else { Make::Gone };
            make.push((what, node(s.rng.between(1, all + 1))));
        }
        let span = s.elections(50, 300);
        let slow = s.elections(20, 120);
        for _ in 0..s.rng.between(1, 3) {
            let to = node(s.rng.between(1, all + 1));
            s.add(at, Fault::Slow { from: Target::Leader, to, delay: slow, span });
        }
        s.add(at, Fault::Change { make });
        let cut = at.after(s.elections(1, 80));
        // Any two sides.
        let side = log(&mut s.rng, 1, (1 << all) - 2);
        let (a, b): (Vec<u64>, Vec<u64>) = (1..=all).partition(|i| side >> (i - 1) & 1 == 1);
        let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().map(node).collect(), b.into_iter().map(node).collect());
        s.part(cut, &a, &b, span);
        at = cut.after(span).after(s.elections(20, 200));
    }
}
