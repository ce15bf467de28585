//! What the answers alone say of the state, before any search.
//!
//! A value that only one operation can make is there once: from that operation on until something else changes the state.
//! So between the first return and the last call of all operations that made or saw it, it was there all the time (the
//! forward zones of Gibbons and Korach, "Testing Shared Memories", 1997). Two such values at one time, or an operation
//! that lies wholly in a zone and does not fit there, and there is no order: found at once, where a search would have to
//! try all that could have happened before. Otherwise the search is told what the state must be, and when.

use super::task::{Act, NEVER, Op, Pre, Task, Val};

/// The state right before each event, as far as it is known. [`NEVER`]: not known.
#[derive(Debug)]
pub(super) struct Zones(Vec<Val>);

/// What is known of one value.
#[derive(Clone, Copy)]
struct Span {
    /// The first return of those that saw it.
    seen: u32,
    /// The call and the return of the one that made it.
    made: (u32, u32),
    /// The last call of all of them.
    last: u32,
    /// The first return of those that replaced it.
    taken: u32,
}

impl Zones {
    /// None if there can be no order. `supply` is how many operations can make each value.
    pub(super) fn new(task: &Task, supply: &[u32]) -> Option<Self> {
        let mut state = vec![NEVER; task.events.len() + 1];
        for (v, span) in spans(task).into_iter().enumerate() {
            let initial = v == task.init as usize;
            if span.seen == NEVER || supply[v] != u32::from(!initial) {
                continue;
            }
            // Seen before it could be made, or after it was replaced.
            if (!initial && span.made.0 > span.seen) || span.taken < span.last {
                return None;
            }
            // The event after the zone's beginning, and the one at its end.
            let from = if initial { 0 } else { span.seen.min(span.made.1) as usize + 1 };
            for at in state.get_mut(from..=span.last as usize).unwrap_or_default() {
                if std::mem::replace(at, v as Val) != NEVER {
                    return None;
                }
            }
        }
        let zones = Self(state);
        // No two zones have the same value, so what begins and ends in one is wholly in it.
        let fits = |op: &Op| {
            let v = zones.before(op.call + 1);
            op.is_optional() || v == NEVER || v != zones.before(op.ret) || keeps(op.act, v)
        };
        task.ops.iter().all(fits).then_some(zones)
    }

    /// The state right before an event; [`NEVER`] if it is not known.
    pub(super) fn before(&self, place: u32) -> Val {
        self.0.get(place as usize).copied().unwrap_or(NEVER)
    }

    /// Whether this may be the state right before an event.
    pub(super) fn allow(&self, state: Val, place: u32) -> bool {
        let held = self.before(place);
        held == NEVER || held == state
    }
}

/// Whether an operation can be in its place in the state `v` and leave it so.
fn keeps(act: Act, v: Val) -> bool {
    match act {
        Act::Look(pre) => pre.holds(v),
        Act::Set(pre, to) => pre.holds(v) && to == v,
        Act::Try(from, to) => from != v || to == v,
    }
}

fn spans(task: &Task) -> Vec<Span> {
    let mut spans = vec![Span { seen: NEVER, made: (0, NEVER), last: 0, taken: NEVER }; task.values];
    for op in &task.ops {
        if let (Act::Look(Pre::Is(v)) | Act::Set(Pre::Is(v), _), false) = (op.act, op.is_optional()) {
            let span = &mut spans[v as usize];
            (span.seen, span.last) = (span.seen.min(op.ret), span.last.max(op.call));
            if let Act::Set(..) = op.act {
                span.taken = span.taken.min(op.ret);
            }
        }
        if let Some(v) = op.act.makes() {
            let span = &mut spans[v as usize];
            (span.made, span.last) = ((op.call, op.ret), span.last.max(op.call));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(ops: &[(Act, u32, u32)]) -> Task {
        let op = |&(act, call, ret): &(Act, u32, u32)| Op { act, call, ret, source: 0 };
        Task::new(0, &ops.iter().map(op).collect::<Vec<_>>())
    }

    fn zones(ops: &[(Act, u32, u32)]) -> Option<Vec<Val>> {
        let task = task(ops);
        let mut supply = vec![0; task.values];
        task.ops.iter().filter_map(|o| o.act.makes()).for_each(|v| supply[v as usize] += 1);
        Zones::new(&task, &supply).map(|z| (0..task.events.len() as u32).map(|p| z.before(p)).collect())
    }

    fn write(v: Val) -> Act {
        Act::Set(Pre::Any, v)
    }

    fn read(v: Val) -> Act {
        Act::Look(Pre::Is(v))
    }

    #[test]
    fn between_the_first_return_and_the_last_call_a_value_is_there() {
        const N: Val = NEVER;
        assert_eq!(zones(&[(write(1), 0, 1), (read(1), 2, 3)]), Some(vec![N, N, 1, N]));
        assert_eq!(zones(&[(write(1), 0, 3), (read(1), 1, 2)]), Some(vec![N, N, N, N]));
        assert_eq!(zones(&[(write(1), 0, 9), (read(1), 1, 2), (read(1), 3, 4)]), Some(vec![N, N, N, 1, N, N]));
        assert_eq!(zones(&[(read(0), 0, 1), (write(1), 2, 3)]), Some(vec![0, N, N, N]));
        assert_eq!(zones(&[(write(1), 0, N), (read(1), 1, 2), (read(1), 3, 4)]), Some(vec![N, N, N, 1, N]));
    }

    #[test]
    fn what_cannot_be_at_one_time_is_found() {
        let stale = [(write(1), 0, 1), (write(2), 2, 3), (read(1), 4, 5)];
        let early = [(read(1), 0, 1), (write(1), 2, 3)];
        let crossed = [(write(1), 0, 1), (write(2), 2, 9), (read(2), 3, 4), (read(1), 5, 6), (read(2), 7, 8)];
        let twice = [(write(1), 0, 1), (Act::Set(Pre::Is(1), 2), 2, 3), (Act::Set(Pre::Is(1), 3), 4, 5)];
        let gone = [(write(1), 0, 1), (Act::Set(Pre::Not(0), 0), 2, 3), (read(1), 4, 5)];
        for bad in [&stale[..], &early, &crossed, &twice, &gone] {
            assert_eq!(zones(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_value_that_two_can_make_is_not_held() {
        let again = [(write(1), 0, 1), (write(2), 2, 3), (write(1), 4, NEVER), (read(1), 5, 6)];
        assert!(zones(&again).is_some_and(|z| z.iter().all(|v| *v == NEVER)));
    }
}
