//! A follower that was away comes back.

use common::types::NodeId;
use tokio::time::Instant;

use crate::compare::live::{Live, until};
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::ledger::Ledger;
use crate::report::results::{self, Better, Repetition, Unit};

/// Snapshots every so many entries, and so many entries kept below one: small, so that a node can fall behind the log within
/// a second.
const SNAPSHOT_ENTRIES: u64 = 4000;
const TAIL_ENTRIES: u64 = 1000;
/// Small segments, for a log is cut only at their ends.
const SEGMENT_BYTES: u64 = 64 << 10;
/// Entries missed: fewer than the log keeps, and many times more than it keeps.
const LITTLE: u64 = 400;
const LOT: u64 = 20_000;

/// One follower misses a few entries, then more than the log keeps.
#[derive(Debug)]
pub(super) struct CatchUp;

impl Scenario for CatchUp {
    fn name(&self) -> String {
        "catch-up".to_owned()
    }

    fn title(&self) -> String {
        "A follower comes back".to_owned()
    }

    fn shows(&self) -> String {
        format!(
            "A follower is killed, misses writes, and is started again: once it missed {LITTLE} entries, once {LOT}, which the \
             leader's log no longer has (this cluster takes a snapshot every {SNAPSHOT_ENTRIES} entries and keeps \
             {TAIL_ENTRIES}). Which way of catching up each protocol chose, how many bytes that took, and the time from \
             the start of the process until it had applied what the leader had."
        )
    }

    fn does_not_show(&self) -> String {
        "catching up while clients write, or a state of more than a few megabytes. The time has the start of a process in \
         it."
        .to_owned()
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let settings = [
                format!("replica.snapshot_entries={SNAPSHOT_ENTRIES}"),
                format!("replica.tail_entries={TAIL_ENTRIES}"),
                format!("storage.segment_bytes={SEGMENT_BYTES}"),
            ];
            let mut live = env.fresh(&settings).await?;
            let done = run(env, &mut live).await;
            live.stop().await;
            done
        })
    }
}

async fn run(env: &mut Env, live: &mut Live) -> Result<Repetition, Problem> {
    let target = live.at_leader().await?;
    let mut ledger = env.write(&target, 1000, None).await?;
    let leader = live.leader().await?;
    let ids = live.ids();
    let follower = ids.iter().copied().find(|id| *id != leader).ok_or(Problem::Unclear("no follower".to_owned()))?;
    let mut rep = Repetition::default();
    for (case, writes) in [("a little behind", LITTLE), ("far behind", LOT)] {
        env.say(case);
        let (after, catch_up) = away(env, live, follower, case, writes, ledger).await?;
        ledger = after;
        rep.measure(&format!("{case}: time until level"), Unit::Micros, Better::Lower, catch_up.level_us as f64);
        rep.measure(&format!("{case}: bytes"), Unit::Bytes, Better::Lower, catch_up.bytes as f64);
        rep.notes.push(format!(
            "{case}: {} entries missed, brought level by {}",
            shown(catch_up.behind),
            catch_up.kind
        ));
        rep.catch_ups.push(catch_up);
    }
    env.verify(&live.at_leader().await?, &ledger).await?;
    let states = live.level(&ids).await?;
    if let Some(other) = states.iter().find(|s| s.state_hash != states[0].state_hash) {
        return Err(Problem::Failed(format!("{} and {follower} differ in their state", other.core.id)));
    }
    Ok(rep)
}

fn shown(behind: Option<u64>) -> String {
    behind.map_or("an unknown number of".to_owned(), |n| crate::report::format::count(n as f64))
}

/// Kills the follower, writes, starts it again, and waits until it is level.
async fn away(
    env: &mut Env,
    live: &mut Live,
    follower: NodeId,
    case: &str,
    writes: u64,
    ledger: Ledger,
) -> Result<(Ledger, results::CatchUp), Problem> {
    let ids = live.ids();
    let before = live.level(&ids).await?[0].core.last;
    live.cluster().kill(follower).await?;
    let target = live.at_leader().await?;
    let ledger = env.write(&target, writes, Some(ledger)).await?;
    let others: Vec<NodeId> = ids.into_iter().filter(|id| *id != follower).collect();
    let leader = live.leader().await?;
    if writes > SNAPSHOT_ENTRIES + TAIL_ENTRIES {
        until("the leader did not cut its log", || async {
            live.status(leader).await.filter(|s| s.core.base > before)
        })
        .await?;
    }
    let goal = live.level(&others).await?[0].core.last;
    let start = Instant::now();
    live.cluster().restart(follower).await?;
    live.applied(follower, goal).await?;
    let level_us = start.elapsed().as_micros() as u64;
    let report = until("the leader does not say how the follower became level", || async {
        let status = live.status(leader).await?;
        status.core.peers.into_iter().find(|p| p.id == follower)?.sync.filter(|s| s.took_us.is_some())
    })
    .await?;
    let catch_up = results::CatchUp {
        case: case.to_owned(),
        kind: report.kind,
        // Counters of two reigns cannot be subtracted in ZAB.
        behind: (before.epoch == goal.epoch).then(|| goal.counter.saturating_sub(before.counter)),
        entries: report.entries,
        bytes: report.bytes,
        level_us,
        decision_to_level_us: report.took_us,
    };
    Ok((ledger, catch_up))
}
