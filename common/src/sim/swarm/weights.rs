//! Voters that do not count the same, and groups of them.

use super::{changes_members, log, one_in};
use crate::quorum::Share;
use crate::rng::Rng;
use crate::sim::plan::{Fault, Make, Shape, Target, Timed};
use crate::sim::stream::Streams;
use crate::types::{Micros, NodeId};

/// Nothing, once, several times, much more than all others together.
const WEIGHTS: [u16; 9] = [0, 1, 1, 1, 1, 2, 3, 5, 1000];

/// In one of six plans that change members, they change what voters count, too. No disk loses what it had confirmed there:
/// one voter may be a quorum by itself.
pub(super) fn add(shape: &Shape, streams: Streams, all: &mut Vec<Timed>) {
    let mut rng = streams.rng("swarm/weights", [0; 3]);
    if !one_in(&mut rng, 6) || !all.iter().any(|t| changes_members(&t.fault)) {
        return;
    }
    all.retain(|t| !t.fault.destroys());
    let groups = [1, 2, 3, 3, 4][rng.between(0, 5) as usize];
    let nodes = shape.voters + shape.observers;
    for step in 0..log(&mut rng, 2, 16) {
        // First everyone; then a few, who may not vote any more by then.
        let whom: Vec<u64> = match step {
            0 => (1..=shape.voters).collect(),
            _ => (0..rng.between(1, 4)).map(|_| rng.between(1, nodes + 1)).collect(),
        };
        let at = if step == 0 { shape.span.0 / 16 } else { rng.between(0, shape.span.0 + 1) };
        let make =
            whom.into_iter().map(|id| (weighing(&mut rng, step, id, groups), Target::Node(NodeId(id)))).collect();
        all.push(Timed { at: Micros(at), fault: Fault::Change { make } });
    }
}

/// Groups are first as even as they can be.
fn weighing(rng: &mut Rng, step: u64, id: u64, groups: u64) -> Make {
    let weight = WEIGHTS[rng.between(0, WEIGHTS.len() as u64) as usize];
    let group = if step == 0 { id % groups } else { rng.between(0, groups) };
    Make::Weighing(Share { weight, group: group as u8 })
}
