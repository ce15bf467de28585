//! Fewer faults, simpler faults.

use super::Search;
use crate::sim::plan::{Fault, Plan};
use crate::sim::subject::Violation;
use crate::types::Micros;

/// What comes after the failure has no part in it: the shortest beginning of the list that fails.
pub(super) fn cut_tail<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    let (mut low, mut high) = (0, s.best.faults.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if s.change(|p| p.faults.truncate(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
}

/// One kind after another.
pub(super) fn drop_kinds<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    let mut kinds: Vec<_> = s.best.faults.iter().map(|t| t.fault.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        s.change(|p| p.faults.retain(|t| t.fault.kind() != kind));
    }
}

/// Pieces of the list, halves first, at last one by one until no single one can go.
pub(super) fn drop_some<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    let mut piece = s.best.faults.len().div_ceil(2);
    while piece > 0 {
        let mut dropped = false;
        let mut end = s.best.faults.len();
        // From the back: what is nearest to the failure is most likely part of it, and what is before it sets it up.
        while end > 0 {
            let start = end.saturating_sub(piece);
            dropped |= s.change(|p| drop(p.faults.drain(start..end)));
            end = start.min(s.best.faults.len());
        }
        if !dropped || piece > 1 {
            piece /= 2;
        }
    }
}

/// Each fault shorter, weaker, at fewer nodes, at a round time.
pub(super) fn simpler<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    for i in 0..s.best.faults.len() {
        fewer_targets(s, i);
        let mut fault = s.best.faults[i].fault.clone();
        if let Some(length) = fault.length_mut().map(|l| l.0) {
            s.lower(0, length, |p, n| {
                if let Some(length) = p.faults[i].fault.length_mut() {
                    *length = Micros(n);
                }
            });
        }
        if let Some(number) = number_mut(&mut fault).map(|n| *n) {
            s.lower(1, number, |p, n| {
                if let Some(number) = number_mut(&mut p.faults[i].fault) {
                    *number = n;
                }
            });
        }
    }
    // Changing a time may change the order, so indices hold for one fault at a time.
    for i in 0..s.best.faults.len() {
        let at = s.best.faults[i].at.0;
        for unit in [1_000_000, 100_000, 10_000, 1000] {
            let rounded = [at / unit * unit, (at / unit + 1) * unit];
            if at.is_multiple_of(unit) || rounded.into_iter().any(|n| s.change(|p| p.faults[i].at = Micros(n))) {
                break;
            }
        }
    }
}

fn fewer_targets<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>, i: usize) {
    for side in 0..2 {
        let mut k = 0;
        loop {
            let Some(list) = side_mut(&mut s.best.faults[i].fault, side).map(|l| l.len()) else { return };
            if list == 1 || k >= list {
                break;
            }
            let dropped = s.change(|p| {
                if let Some(list) = side_mut(&mut p.faults[i].fault, side) {
                    list.remove(k);
                }
            });
            k += usize::from(!dropped);
        }
    }
}

fn side_mut(fault: &mut Fault, side: usize) -> Option<&mut Vec<crate::sim::plan::Target>> {
    match fault {
        Fault::Cut { from, to, .. } => Some(if side == 0 { from } else { to }),
        _ => None,
    }
}

/// How far on or how much: whatever a kind has besides a length.
fn number_mut(fault: &mut Fault) -> Option<&mut u64> {
    match fault {
        Fault::DiskError { nth, .. }
        | Fault::ShortWrite { nth, .. }
        | Fault::LostWrite { nth, .. }
        | Fault::Misdirect { nth, .. } => Some(nth),
        Fault::Slow { delay, .. } | Fault::SlowDisk { delay, .. } => Some(&mut delay.0),
        _ => None,
    }
}
