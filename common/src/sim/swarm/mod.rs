//! From a seed to a plan.
//!
//! Swarm testing (Groce, Zhang, Eide, Chen and Regehr, ISSTA 2012): a plan in which everything goes wrong a little hides
//! what only shows when one thing goes wrong much and others do not, so each seed draws which kinds of faults it has at all,
//! each with probability 1/2, and how many of them, from few to many with equal weight for each power of two. The same
//! holds for the cluster: time-outs from 200 ms to 5 s, limits as they are or as tight as they may be, segments of 4 KiB,
//! a snapshot every four entries. Some plans also hold scenarios, in which several faults come together as they do in
//! reports of real failures: the file `scenarios.rs`.
//!
//! What destroys confirmed bytes strikes a minority of the voters at most, the same nodes throughout: no protocol here
//! promises anything beyond that, and every violation would be a false alarm.
//!
//! Everything is integers, and everything has a stream of its own, so a seed means the same plan on every machine, and a new
//! kind of fault does not change the others of old seeds. Both protocols get the same plan from a seed.

mod faults;
mod scenarios;
mod shape;
#[cfg(test)]
mod tests;
mod weights;

use super::plan::{Fault, Make, Plan, Shape, Target, Timed};
use super::stream::Streams;
use crate::rng::Rng;
use crate::types::Micros;

/// The most faults in one plan.
pub const MAX_FAULTS: usize = 200;

/// The plan of a seed: any cluster, any surroundings, any faults.
pub fn plan(protocol: &str, seed: u64) -> Plan {
    let mut shape = shape::drawn(Streams::new(seed));
    let faults = draw(&mut shape, seed);
    Plan { protocol: protocol.to_owned(), seed, shape, faults }
}

/// The standard load, at which speed is measured and compared: 5 voters, 16 clients with 50 operations per second in
/// all, heartbeat 100 ms, election time-out 1 s, any faults for 60 s.
pub fn standard(protocol: &str, seed: u64) -> Plan {
    let mut shape = shape::standard();
    let faults = draw(&mut shape, seed);
    // A scenario may have changed when snapshots are taken; the load stays the standard one. Whom faults name must be there.
    let shape = Shape { observers: shape.observers, ..shape::standard() };
    Plan { protocol: protocol.to_owned(), seed, shape, faults }
}

/// The cluster of the standard load for 10 s, in which nothing goes wrong.
pub fn calm(protocol: &str, seed: u64) -> Plan {
    let shape = Shape { span: Micros::from_millis(10_000), ..shape::standard() };
    Plan { protocol: protocol.to_owned(), seed, shape, faults: Vec::new() }
}

/// Whether a plan demands only what was promised: timers fit what is around them, fewer than half of the disks lose what
/// they had confirmed, and clocks keep to what is said of them. Every plan drawn here does.
pub fn fair(plan: &Plan) -> bool {
    shape::timely(&plan.shape) && minority_struck(plan) && plan.faults.iter().all(|t| steady(&plan.shape, &t.fault))
}

/// Whether it leaves clocks as even as the shape says they are.
fn steady(shape: &Shape, fault: &Fault) -> bool {
    let bound = shape.timing.drift;
    match fault {
        Fault::Drift { per_mille, .. } => bound == 0 || u64::from(per_mille.unsigned_abs()) <= bound,
        Fault::Jump { .. } => bound == 0,
        _ => true,
    }
}

/// Where members change nobody can say beforehand who votes when; of two voters, one always has what the other lost.
fn one_victim_where_members_change(all: &mut Vec<Timed>) {
    if !all.iter().any(|t| changes_members(&t.fault)) {
        return;
    }
    let victim = all.iter().filter(|t| t.fault.destroys()).flat_map(|t| t.fault.nodes()).min();
    all.retain(|t| !t.fault.destroys() || t.fault.nodes().first() == victim.as_ref());
}

fn changes_members(fault: &Fault) -> bool {
    matches!(fault, Fault::Change { .. })
}

fn changes_weights(fault: &Fault) -> bool {
    matches!(fault, Fault::Change { make } if make.iter().any(|(make, _)| matches!(make, Make::Weighing(_))))
}

/// Whether what destroys confirmed bytes strikes fewer than half of the voters in this plan, whoever leads when it does.
pub fn minority_struck(plan: &Plan) -> bool {
    if plan.faults.iter().any(|t| changes_members(&t.fault)) {
        let mut struck = plan.faults.iter().filter(|t| t.fault.destroys());
        if plan.faults.iter().any(|t| changes_weights(&t.fault)) {
            return struck.next().is_none();
        }
        let first = struck.next().map(|t| t.fault.targets());
        return first
            .is_none_or(|first| matches!(first[..], [Target::Node(_)]) && struck.all(|t| t.fault.targets() == first));
    }
    let mut victims = Vec::new();
    for target in plan.faults.iter().filter(|t| t.fault.destroys()).flat_map(|t| t.fault.targets()) {
        match target {
            Target::Node(node) if node.0 > plan.shape.voters => {}
            Target::Node(node) => victims.push(node),
            Target::Leader | Target::Other(_) => return false,
        }
    }
    victims.sort_unstable();
    victims.dedup();
    (victims.len() as u64) < plan.shape.voters.div_ceil(2)
}

/// Scenarios first, then single faults as long as there is room.
fn draw(shape: &mut Shape, seed: u64) -> Vec<Timed> {
    let streams = Streams::new(seed);
    let mut all = scenarios::draw(shape, streams);
    let mut single = faults::draw(shape, streams);
    let room = MAX_FAULTS.saturating_sub(all.len());
    if single.len() > room {
        // Those that stay are chosen by lot, not by kind or time.
        let mut lots = streams.rng("swarm/room", [0; 3]);
        let mut drawn: Vec<_> = single.into_iter().map(|t| (lots.next_u64(), t)).collect();
        drawn.sort_by_key(|(lot, _)| *lot);
        single = drawn.into_iter().take(room).map(|(_, t)| t).collect();
    }
    all.append(&mut single);
    weights::add(shape, streams, &mut all);
    for timed in &mut all {
        if let Fault::Drift { per_mille, .. } = &mut timed.fault
            && let bound @ 1.. = shape.timing.drift as i16
        {
            *per_mille = (*per_mille).clamp(-bound, bound);
        }
    }
    all.retain(|t| steady(shape, &t.fault));
    one_victim_where_members_change(&mut all);
    all.truncate(MAX_FAULTS);
    all.sort_by_key(|t| t.at);
    all
}

/// A number from `low` to `high`, each power of two between them with about equal weight. `low` must not be 0.
fn log(rng: &mut Rng, low: u64, high: u64) -> u64 {
    let high = high.max(low);
    let octave = rng.between(0, u64::from((high / low).ilog2()) + 1);
    let from = low << octave;
    rng.between(from, (from * 2).min(high + 1))
}

/// A span, likewise.
fn log_span(rng: &mut Rng, low: Micros, high: Micros) -> Micros {
    Micros(log(rng, low.0.max(1), high.0))
}

/// True once in `n`.
fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.between(0, n) == 0
}
