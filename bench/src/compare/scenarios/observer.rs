//! A node that does not vote joins the running cluster.

use std::time::Duration;

use common::types::{Member, NodeId};
use tokio::time::Instant;

use crate::compare::env::judge;
use crate::compare::live::{Live, until};
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::engine::LoadSpec;
use crate::load::verify::verify_local;
use crate::report::results::{self, Better, Repetition, Unit};

/// Keys that are there before it joins.
const KEYS: u64 = 20_000;
/// A writer that waits longer than this while the observer is stopped has waited for the observer.
const TOO_LONG: Duration = Duration::from_secs(1);

/// One observer is added, measured, and stopped in its tracks.
#[derive(Debug)]
pub(super) struct Observer;

impl Scenario for Observer {
    fn name(&self) -> String {
        "observer".to_owned()
    }

    fn title(&self) -> String {
        "An observer joins".to_owned()
    }

    fn shows(&self) -> String {
        format!(
            "A cluster with {KEYS} writes gets one observer (Raft: a learner), which receives everything and votes on nothing: \
             how long until it is level and how many bytes that takes; what 64 writers feel of it; that it serves local reads \
             of everything that was written; and that writes go on while it is stopped, for it is in no quorum."
        )
    }

    fn does_not_show(&self) -> String {
        "that an observer is free: here it takes its share of the same two or more cores as all others. Far away, it \
         would cost the leader only the bytes."
            .to_owned()
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let mut live = env.fresh(&[]).await?;
            let done = run(env, &mut live).await;
            live.stop().await;
            done
        })
    }
}

async fn run(env: &mut Env, live: &mut Live) -> Result<Repetition, Problem> {
    let target = live.at_leader().await?;
    let ledger = env.write(&target, KEYS, None).await?;
    let spec = env.spec(64);
    let alone = env.load(&target, spec, None).await?.result;

    env.say("joining");
    let mut rep = Repetition::default();
    let voters = live.ids();
    let goal = live.level(&voters).await?[0].core.last;
    let leader = live.leader().await?;
    let start = Instant::now();
    let observer = live.cluster().add_observer().await?;
    live.applied(observer, goal).await?;
    let level_us = start.elapsed().as_micros() as u64;
    let catch_up = joined(live, leader, observer, level_us).await?;
    rep.measure("time until level", Unit::Micros, Better::Lower, level_us as f64);
    rep.measure("bytes until level", Unit::Bytes, Better::Lower, catch_up.bytes as f64);
    rep.notes.push(format!("brought level by {}", catch_up.kind));
    rep.catch_ups.push(catch_up);

    let spec = env.spec(64);
    let with = env.load(&target, spec, None).await?.result;
    rep.measure("throughput without it", Unit::PerSecond, Better::Neither, alone.throughput);
    rep.measure("throughput with it", Unit::PerSecond, Better::Higher, with.throughput);
    if alone.throughput > 0.0 {
        rep.measure("with it / without it", Unit::Ratio, Better::Higher, with.throughput / alone.throughput);
    }
    rep.loads.push(with);

    env.say("stopped");
    live.pause(observer)?;
    let paused = unaffected(env, live).await;
    live.resume(observer)?;
    rep.measure("longest wait while it is stopped", Unit::Micros, Better::Lower, paused?);

    env.say("reading from it");
    let everyone = live.ids();
    let states = live.level(&everyone).await?;
    if let Some(other) = states.iter().find(|s| s.state_hash != states[0].state_hash) {
        return Err(Problem::Failed(format!("{} has another state than {}", other.core.id, states[0].core.id)));
    }
    judge(verify_local(&live.at(observer), &ledger).await)?;
    Ok(rep)
}

/// What the leader says of the observer that has joined.
async fn joined(live: &Live, leader: NodeId, observer: NodeId, level_us: u64) -> Result<results::CatchUp, Problem> {
    let peer = until("the leader does not say how the observer became level", || async {
        let status = live.status(leader).await?;
        let peer = status.core.peers.into_iter().find(|p| p.id == observer)?;
        peer.sync.as_ref().and_then(|s| s.took_us)?;
        Some(peer)
    })
    .await?;
    if peer.member != Member::Observer {
        return Err(Problem::Failed(format!("the leader takes {observer} for a voter")));
    }
    let report = peer.sync.ok_or_else(|| Problem::Unclear("the leader does not say how".to_owned()))?;
    Ok(results::CatchUp {
        case: "new observer".to_owned(),
        kind: report.kind,
        behind: None,
        entries: report.entries,
        bytes: report.bytes,
        level_us,
        decision_to_level_us: report.took_us,
    })
}

/// Writes while the observer is stopped. Gives the longest wait of any writer, which must not be long.
async fn unaffected(env: &mut Env, live: &Live) -> Result<f64, Problem> {
    let target = live.at_leader().await?;
    let spec = LoadSpec { measure: Some(env.plan.measure / 2), ..env.spec(16) };
    let outcome = env.load(&target, spec, None).await?;
    let longest = outcome.gaps.longest_writer(0, u64::MAX).max(outcome.result.service.max);
    if outcome.result.operations == 0 || longest > TOO_LONG.as_micros() as u64 {
        let n = outcome.result.operations;
        return Err(Problem::Failed(format!(
            "with the observer stopped, {n} writes were answered and one waited {longest} µs"
        )));
    }
    Ok(longest as f64)
}
