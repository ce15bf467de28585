//! The oracles that hold for any protocol: what is committed is one sequence, everywhere and for ever.
//!
//! | name | what it says |
//! | --- | --- |
//! | C-ACK | when a write is answered, its entry is durable on a quorum of disks |
//! | C-PREFIX | every node applies the same sequence of entries, each once, without a gap |
//! | C-STATE | nodes that applied the same entries have the same state |
//! | C-MONO | epoch and commit point never go back while a node runs, and hard epochs not over a restart |
//! | C-RECOV | a node that starts again has everything that was durable, or refuses to start on a damaged disk |
//! | C-RES | nothing holds more than its limits, and what was held is given back |
//! | C-PEER | only what peers of this cluster say is heard |
//! | C-HALT | a node stops itself only for a reason, and says nothing afterwards |
//! | C-NBT | nobody breaks the rules of the protocol so that a peer ends the session |
//! | C-PANIC | nothing panics |
//!
//! L1 to L4 stand in [`liveness`](super::liveness), C-VOW and the rules of each protocol stand in its own [`Oracle`](super::subject::Oracle); C-LIN, C-SEQ, C-ONCE and
//! C-DUR in [`witness`](super::witness).

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::subject::Violation;
use crate::entries::Entries;
use crate::quorum::Configuration;
use crate::types::{LogId, NodeId};

/// The one sequence of committed entries, as the first node to apply each showed it.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    entries: Vec<(LogId, u64)>,
    /// The state's hash after so many entries; index 0 is the empty state.
    states: Vec<Option<u64>>,
}

fn hash(run: &Entries, i: usize) -> u64 {
    xxh3_64_with_seed(run.payload(i), run.kind() as u64)
}

impl Sequence {
    /// How many entries are committed.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last one.
    pub(super) fn last(&self) -> LogId {
        self.entries.last().map_or(LogId::ZERO, |(id, _)| *id)
    }

    /// How many entries there are up to `id`, which must be one of them (or zero).
    pub(super) fn position(&self, id: LogId) -> Option<usize> {
        if id == LogId::ZERO {
            return Some(0);
        }
        self.entries.binary_search_by_key(&id, |(id, _)| *id).ok().map(|i| i + 1)
    }

    /// A node that has applied `at` entries applies this run next. True if (some of) it is new to the world, from which on
    /// it is the sequence.
    pub(super) fn hands(&mut self, node: NodeId, at: &mut usize, run: &Entries) -> Result<bool, Violation> {
        let (mut new, mut found) = (false, Ok(()));
        for (i, (id, _)) in run.iter().enumerate() {
            let this = (id, hash(run, i));
            let broken = match self.entries.get(*at) {
                Some(known) if *known == this => None,
                Some((known, _)) if *known == id => Some(format!("{node} applies another entry as {id}")),
                Some((known, _)) => {
                    Some(format!("{node} applies {id} as its entry {}, which is {known} elsewhere", *at + 1))
                }
                None if *at == self.entries.len() && id > self.last() => {
                    self.entries.push(this);
                    new = true;
                    None
                }
                None => Some(format!("{node} applies {id} after {} entries, the last {}", *at, self.last())),
            };
            match broken {
                None => *at += 1,
                // Where it is passed over, the node stands after what it applied.
                Some(what) => {
                    *at = self.position(id).unwrap_or(*at);
                    found = found.and(Err(Violation::new("C-PREFIX", what)));
                }
            }
        }
        found.map(|()| new)
    }

    /// A node has this state after `at` entries.
    pub(super) fn state(&mut self, node: NodeId, at: usize, hash: u64) -> Result<(), Violation> {
        if self.states.len() <= at {
            self.states.resize(at + 1, None);
        }
        match self.states[at] {
            Some(known) if known != hash => {
                Err(Violation::new("C-STATE", format!("{node} has another state than others after {at} entries")))
            }
            _ => {
                self.states[at] = Some(hash);
                Ok(())
            }
        }
    }
}

/// C-ACK: the entry is durable on a quorum.
pub(super) fn acknowledged(
    members: &Configuration,
    at: LogId,
    mut durable: impl FnMut(NodeId) -> bool,
) -> Result<(), Violation> {
    if members.is_quorum(&mut durable) {
        return Ok(());
    }
    let on: Vec<_> = members.members().into_iter().filter(|v| durable(*v)).collect();
    Err(Violation::new("C-ACK", format!("{at} is answered and durable on {on:?} only")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::{Batch, EntryKind};

    fn run(epoch: u64, first: u64, payloads: &[&str]) -> Entries {
        Entries::new(LogId::new(epoch, first), EntryKind::Command, Batch::from_payloads(payloads)).unwrap()
    }

    fn name(result: Result<bool, Violation>) -> Result<bool, &'static str> {
        result.map_err(|v| v.oracle)
    }

    #[test]
    fn one_sequence_for_all() {
        let mut all = Sequence::default();
        let mut at = [0; 5];
        assert_eq!(all.hands(NodeId(1), &mut at[1], &run(1, 1, &["x", "y"])), Ok(true));
        assert_eq!(all.hands(NodeId(2), &mut at[2], &run(1, 1, &["x"])), Ok(false));
        assert_eq!(name(all.hands(NodeId(2), &mut at[2], &run(1, 2, &["z"]))), Err("C-PREFIX"), "another content");
        assert_eq!(name(all.hands(NodeId(3), &mut at[3], &run(1, 2, &["y"]))), Err("C-PREFIX"), "a gap");
        assert_eq!(name(all.hands(NodeId(4), &mut at[4], &run(2, 1, &["x"]))), Err("C-PREFIX"), "another id");
        assert_eq!(name(all.hands(NodeId(1), &mut at[1], &run(1, 1, &["x"]))), Err("C-PREFIX"), "back in order");
        assert_eq!((all.position(LogId::new(1, 2)), all.position(LogId::new(1, 3))), (Some(2), None));
        assert_eq!(all.state(NodeId(1), 2, 7), Ok(()));
        assert_eq!(all.state(NodeId(2), 2, 8).map_err(|v| v.oracle), Err("C-STATE"));
    }

    #[test]
    fn an_answer_needs_a_quorum_of_disks() {
        let voters = Configuration::new((1..=3).map(NodeId), []);
        assert_eq!(acknowledged(&voters, LogId::new(1, 1), |n| n.0 < 3), Ok(()));
        assert_eq!(acknowledged(&voters, LogId::new(1, 1), |n| n.0 < 2).map_err(|v| v.oracle), Err("C-ACK"));
    }
}
