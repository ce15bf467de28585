//! The leader is killed under load.

use std::time::Duration;

use common::types::NodeId;

use crate::compare::live::until;
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::engine::{LoadSpec, Running};
use crate::report::results::{Better, Kill, Repetition, Unit};
use crate::report::summary::median;

/// Writers whose gaps are observed.
const CLIENTS: usize = 16;
/// Acknowledged writes that count as: the cluster is back.
const BACK: u64 = 200;
/// How long it goes well between kills, in microseconds: what is normal should be seen in the time series.
const CALM_US: u64 = 250_000;

/// SIGKILL for whoever leads, again and again, while clients write.
#[derive(Debug)]
pub(super) struct Kills;

impl Scenario for Kills {
    fn name(&self) -> String {
        "kills".to_owned()
    }

    fn title(&self) -> String {
        "The leader is killed".to_owned()
    }

    fn shows(&self) -> String {
        format!(
            "{CLIENTS} clients write; the leader's process gets SIGKILL, is started again, and so on. For each kill: the \
             longest time that one writer waited between two answers. At the end every acknowledged write is read \
             back; a single one missing fails the scenario."
        )
    }

    fn does_not_show(&self) -> String {
        "a machine that disappears: here the kernel closes a dead leader's connections at once, so its followers know \
         without waiting for their time-outs. Nor power failures, which take what was written and not synced."
            .to_owned()
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let spec =
                LoadSpec { warm_up: Duration::ZERO, measure: None, keys: 4096, interval_ms: 20, ..env.spec(CLIENTS) };
            let kills = env.plan.kills;
            let target = env.main().await?.at_leader().await?;
            let running = Running::start(&target, spec, None);
            let mut moments = Vec::new();
            for n in 1..=kills {
                env.say(&format!("kill {n} of {kills}"));
                moments.push(kill_one(env, &running).await?);
            }
            // A moment of calm at the end shows in the time series that it is back to what it was.
            calm(&running).await?;
            running.stop();
            let outcome = running.join().await;
            let mut rep = Repetition::default();
            for (i, (at_us, leader, successor)) in moments.iter().enumerate() {
                let end = moments.get(i + 1).map_or(u64::MAX, |m| m.0);
                rep.kills.push(Kill {
                    at_ms: at_us / 1000,
                    leader: leader.0,
                    successor: Some(successor.0),
                    writer_gap_us: outcome.gaps.longest_writer(*at_us, end),
                    cluster_gap_us: outcome.gaps.longest_cluster(*at_us, end),
                });
            }
            let gaps: Vec<f64> = rep.kills.iter().map(|k| k.writer_gap_us as f64).collect();
            let silences: Vec<f64> = rep.kills.iter().map(|k| k.cluster_gap_us as f64).collect();
            let longest = gaps.iter().copied().fold(0.0, f64::max);
            rep.measure("longest wait of a writer, median", Unit::Micros, Better::Lower, median(&gaps).unwrap_or(0.0));
            rep.measure("longest wait of a writer, worst", Unit::Micros, Better::Lower, longest);
            rep.measure("no answer to anybody, median", Unit::Micros, Better::Lower, median(&silences).unwrap_or(0.0));
            rep.measure("kills", Unit::Count, Better::Neither, f64::from(kills));
            rep.loads.push(outcome.result);
            let verified = env.verify(&target, &outcome.ledger).await?;
            rep.measure("acknowledged writes, none lost", Unit::Count, Better::Neither, verified.writes as f64);
            Ok(rep)
        })
    }
}

/// Kills the leader, waits until writes go on under the next one, starts the dead node again and waits until it follows.
/// Gives the moment, who led, and who led next.
async fn kill_one(env: &mut Env, running: &Running) -> Result<(u64, NodeId, NodeId), Problem> {
    calm(running).await?;
    let live = env.main().await?;
    let leader = live.leader().await?;
    let at_us = running.now_us();
    live.cluster().kill(leader).await?;
    progressed(running, BACK).await?;
    let successor = live.leader_status().await?;
    live.cluster().restart(leader).await?;
    // With a second node down there would be no majority: the next kill waits until this one has caught up.
    live.applied(leader, successor.core.committed).await?;
    Ok((at_us, leader, successor.core.id))
}

/// Waits until so many more writes are acknowledged.
async fn progressed(running: &Running, writes: u64) -> Result<(), Problem> {
    let wanted = running.acknowledged_writes() + writes;
    until("writes did not go on", || async { (running.acknowledged_writes() >= wanted).then_some(()) }).await
}

/// Lets writes go on undisturbed for a moment.
async fn calm(running: &Running) -> Result<(), Problem> {
    progressed(running, BACK).await?;
    let end = running.now_us() + CALM_US;
    until("the moment did not pass", || async { (running.now_us() >= end).then_some(()) }).await
}
