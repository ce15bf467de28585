//! The leader is killed, or hangs, under load.

use std::time::Duration;

use common::types::NodeId;

use crate::compare::live::until;
use crate::compare::system::System;
use crate::compare::{Env, Plan, Problem, Scenario, Work};
use crate::load::engine::{LoadSpec, Running};
use crate::report::results::{Better, Kill, Repetition, Unit};
use crate::report::summary::median;

/// Writers whose gaps are observed.
const CLIENTS: usize = 16;
/// Acknowledged writes that count as: the cluster is back.
const BACK: u64 = 200;
/// How long it goes well between kills, in microseconds: what is normal should be seen in the time series.
const CALM_US: u64 = 250_000;

/// What happens to whoever leads, again and again, while clients write.
#[derive(Debug)]
pub(super) enum Failover {
    /// SIGKILL: the process is gone, and the kernel closes its connections.
    Kill,
    /// SIGSTOP: the process stands still with all its connections open, as a machine that hangs or vanishes.
    Hang,
}

impl Failover {
    /// How often.
    fn times(&self, plan: &Plan) -> u32 {
        match self {
            Self::Kill => plan.kills,
            // Each takes longer, and says less that is new.
            Self::Hang => plan.kills.div_ceil(2),
        }
    }
}

impl Scenario for Failover {
    fn name(&self) -> String {
        match self {
            Self::Kill => "kills",
            Self::Hang => "hangs",
        }
        .to_owned()
    }

    fn title(&self) -> String {
        match self {
            Self::Kill => "The leader is killed",
            Self::Hang => "The leader hangs",
        }
        .to_owned()
    }

    fn shows(&self) -> String {
        match self {
            Self::Kill => format!(
                "{CLIENTS} clients write; the leader's process gets SIGKILL, is started again, and so on. For each kill: the \
                 longest time that one writer waited between two answers. At the end every acknowledged write is read back; \
                 a single one missing fails the scenario. Timers are at each system's defaults."
            ),
            Self::Hang => format!(
                "{CLIENTS} clients, spread over the nodes, write; the leader's process is stopped in its tracks (SIGSTOP) with \
                 all its connections open, so that only its silence tells; it goes on when another one leads, and must give \
                 way. At the end every acknowledged write is read back."
            ),
        }
    }

    fn does_not_show(&self) -> String {
        match self {
            Self::Kill => {
                "a machine that disappears: here the kernel closes a dead leader's connections at once, so its followers \
                 know without waiting for their time-outs (see the scenario `hangs`). Nor power failures, which take what was \
                 written and not synced."
            }
            Self::Hang => {
                "how long a client takes to give up a node that says nothing: this one waits a second, so writers that were \
                 connected to the leader wait at least that long. The time without any answer is the cluster's own."
            }
        }
        .to_owned()
    }

    fn suits(&self, system: System) -> bool {
        // Their defaults doubt a silent leader after seconds, which says nothing that the configuration does not.
        matches!((self, system), (Self::Kill, _) | (_, System::Duet(_)))
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let spec =
                LoadSpec { warm_up: Duration::ZERO, measure: None, keys: 4096, interval_ms: 20, ..env.spec(CLIENTS) };
            let times = self.times(&env.plan);
            let cluster = env.main().await?;
            let target = match self {
                Self::Kill => cluster.at_leader().await?,
                Self::Hang => cluster.everywhere(),
            };
            let running = env.start(&target, spec, None).await?;
            let mut moments = Vec::new();
            for n in 1..=times {
                env.say(&format!("{n} of {times}"));
                moments.push(self.once(env, &running).await?);
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
                    leader: *leader,
                    successor: Some(*successor),
                    writer_gap_us: outcome.gaps.longest_writer(*at_us, end),
                    cluster_gap_us: outcome.gaps.longest_cluster(*at_us, end),
                });
            }
            let gaps: Vec<f64> = rep.kills.iter().map(|k| k.writer_gap_us as f64).collect();
            let silences: Vec<f64> = rep.kills.iter().map(|k| k.cluster_gap_us as f64).collect();
            let worst = |list: &[f64]| list.iter().copied().fold(0.0, f64::max);
            let mut add = |name: &str, us: f64| rep.measure(name, Unit::Micros, Better::Lower, us);
            if matches!(self, Self::Kill) {
                add("longest wait of a writer, median", median(&gaps).unwrap_or(0.0));
                add("longest wait of a writer, worst", worst(&gaps));
            }
            add("no answer to anybody, median", median(&silences).unwrap_or(0.0));
            add("no answer to anybody, worst", worst(&silences));
            rep.measure("times", Unit::Count, Better::Neither, f64::from(times));
            rep.loads.push(outcome.result);
            let verified = env.verify(&target, &outcome.ledger).await?;
            rep.measure("acknowledged writes, none lost", Unit::Count, Better::Neither, verified.writes as f64);
            Ok(rep)
        })
    }
}

impl Failover {
    /// Takes the leader away, waits until writes go on under the next one, brings the old one back and waits until it
    /// follows. Gives the moment, who led, and who led next.
    async fn once(&self, env: &mut Env, running: &Running) -> Result<(u64, u64, u64), Problem> {
        calm(running).await?;
        let leader = env.main().await?.leader().await?;
        let at_us = running.now_us();
        match self {
            Self::Kill => env.main().await?.kill(leader).await?,
            Self::Hang => env.duet().await?.pause(NodeId(leader))?,
        }
        progressed(running, BACK).await?;
        let successor = env.main().await?.leader().await?;
        // With a second node down there would be no majority: the next time waits until this one has caught up.
        match self {
            Self::Kill => env.main().await?.restart(leader).await?,
            Self::Hang => {
                let live = env.duet().await?;
                let committed = live.leader_status().await?.core.committed;
                live.resume(NodeId(leader))?;
                live.applied(NodeId(leader), committed).await?;
            }
        }
        Ok((at_us, leader, successor))
    }
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
