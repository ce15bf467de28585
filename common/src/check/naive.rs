//! For tests: the question answered by trying everything, and small random tasks to ask it of.

use super::task::{Act, NEVER, Op, Pre, Task, Val};
use crate::rng::Rng;

/// Whether there is an order, without any of the search's rules.
pub(super) fn is_linearizable(task: &Task) -> bool {
    naive(task, &mut Vec::new(), task.init)
}

fn naive(task: &Task, taken: &mut Vec<u32>, state: Val) -> bool {
    let left = |i: &u32| !taken.contains(i);
    let all = 0..task.ops.len() as u32;
    let Some(first_end) = all.clone().filter(left).map(|i| task.ops[i as usize].ret).filter(|r| *r != NEVER).min()
    else {
        return true;
    };
    let next: Vec<u32> = all.filter(left).filter(|i| task.ops[*i as usize].call < first_end).collect();
    next.into_iter().any(|i| {
        let act = task.ops[i as usize].act;
        let new = match act {
            Act::Set(_, to) => to,
            Act::Try(from, to) if state == from => to,
            Act::Look(_) | Act::Try(..) => state,
        };
        act.pre().holds(state) && {
            taken.push(i);
            let found = naive(task, taken, new);
            taken.pop();
            found
        }
    })
}

/// A task of up to eight operations of every kind: on a few values that several make, or each making one of its own; from
/// hardly any to half of them of unknown outcome.
pub(super) fn random_task(rng: &mut Rng) -> Task {
    let n = rng.between(1, 9);
    let unique = rng.between(0, 3) == 0;
    let values = if unique { n + 1 } else { rng.between(2, 5) };
    let (spread, open) = (rng.between(1, 12), rng.between(2, 6));
    let val = |rng: &mut Rng| rng.between(0, values) as Val;
    let mut places: Vec<(u64, usize)> = Vec::new();
    let mut ops = Vec::new();
    for i in 0..n as usize {
        let makes = |rng: &mut Rng| if unique { i as Val + 1 } else { val(rng) };
        let pre = match rng.between(0, 4) {
            0 => Pre::Not(val(rng)),
            1 => Pre::Any,
            _ => Pre::Is(val(rng)),
        };
        let act = match rng.between(0, 8) {
            0..=2 => Act::Look(pre),
            3..=5 => Act::Set(Pre::Any, makes(rng)),
            // Of those that set, only a delete demands that something is not so.
            6 => Act::Set(pre, if let Pre::Not(v) = pre { v } else { makes(rng) }),
            _ => Act::Try(val(rng), makes(rng)),
        };
        let call = rng.between(0, 20);
        places.push((call * 1000 + i as u64, i));
        ops.push(Op { act, call: 0, ret: 0, source: i as u32 });
        places.push(((call + 1 + rng.between(0, spread)) * 1000 + 500 + i as u64, i));
    }
    places.sort_unstable();
    let mut begun = vec![false; ops.len()];
    for (place, (_, i)) in places.iter().enumerate() {
        let op = &mut ops[*i];
        *(if std::mem::replace(&mut begun[*i], true) { &mut op.ret } else { &mut op.call }) = place as u32;
    }
    for op in &mut ops {
        if rng.between(0, open) == 0
            && let Some(act) = op.act.relaxed()
        {
            (op.act, op.ret) = (act, NEVER);
        }
    }
    Task::new(val(rng), &ops)
}
