//! Smaller clusters, plainer surroundings.

use super::Search;
use crate::sim::plan::{Fault, Plan, Target};
use crate::sim::plan_text::keys::{KEYS, Key};
use crate::sim::subject::Violation;

/// Fewer observers, then fewer voters, the fewest first. Faults at nodes that are gone go too.
pub(super) fn fewer_nodes<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    for observers in 0..s.best.shape.observers {
        if s.change(|p| resize(p, p.shape.voters, observers)) {
            break;
        }
    }
    for voters in 1..s.best.shape.voters {
        if s.change(|p| resize(p, voters, p.shape.observers)) {
            break;
        }
    }
}

fn resize(plan: &mut Plan, voters: u64, observers: u64) {
    plan.shape.voters = voters;
    plan.shape.observers = observers;
    let there = |t: &Target| !matches!(t, Target::Node(n) if n.0 > voters + observers);
    for timed in &mut plan.faults {
        if let Fault::Cut { from, to, .. } = &mut timed.fault {
            from.retain(there);
            to.retain(there);
        }
    }
    plan.faults.retain(|t| match &t.fault {
        Fault::Cut { from, to, .. } => !from.is_empty() && !to.is_empty(),
        other => other.targets().iter().all(there),
    });
}

/// Every number that nothing depends on as it is in a plain cluster; in groups first, which costs fewer runs.
pub(super) fn plainer<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    let fixed = ["voters", "observers", "span"];
    let keys = || KEYS.iter().filter(|k| !fixed.contains(&k.name));
    let groups: [fn(&Key) -> bool; 5] = [
        |_| true,
        |k| k.name.starts_with("net-"),
        |k| matches!(k.name, "election-timeout" | "heartbeat"),
        |k| matches!(k.name, "disk-sync" | "disk-write" | "turn" | "segment" | "cache"),
        |k| matches!(k.name, "clients" | "ops-per-second" | "keys" | "value" | "client-retry" | "sent-twice"),
    ];
    for group in groups {
        s.change(|p| keys().filter(|k| group(k)).for_each(|k| (k.set)(&mut p.shape, k.plain)));
    }
    for key in keys() {
        let value = (key.get)(&s.best.shape);
        let set = |p: &mut Plan, n: u64| (key.set)(&mut p.shape, n);
        if value == key.plain || s.change(|p| set(p, key.plain)) {
            continue;
        }
        if key.less {
            s.lower(key.low, value, set);
        } else {
            s.round(key.low, value, set);
        }
    }
    let span = s.best.shape.span.0;
    let last = s.best.faults.last().map_or(0, |t| t.at.0);
    s.lower(last, span, |p, n| p.shape.span.0 = n);
    mix(s);
}

/// Puts instead of anything else.
fn mix<F: FnMut(&Plan) -> Option<Violation>>(s: &mut Search<F>) {
    if s.change(|p| p.shape.load.mix = [100, 0, 0, 0, 0]) {
        return;
    }
    for i in 1..5 {
        s.change(|p| {
            let mix = &mut p.shape.load.mix;
            mix[0] += std::mem::take(&mut mix[i]);
        });
    }
}
