//! What an entry costs as the cluster, its values and its clients grow.

use std::time::Duration;

use crate::compare::cost::{Costs, peak_memory};
use crate::compare::live::{Live, until};
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::engine::LoadSpec;
use crate::report::format::bytes;
use crate::report::results::{Better, Repetition, Unit};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Voters.
    Voters,
    /// Observers beside three voters.
    Observers,
    /// The bytes of values.
    Values,
    /// Connections of clients to the leader, each with one client.
    Connections,
}

const VOTERS: [u64; 4] = [3, 5, 7, 9];
const OBSERVERS: [u64; 5] = [0, 1, 2, 4, 8];
const VALUES: [usize; 5] = [16, 256, 4 << 10, 64 << 10, 1 << 20];
/// A node takes 10,000 connections, and some are needed to look at it.
const CONNECTIONS: [usize; 5] = [1, 10, 100, 1000, 9900];
/// Clients where their number is not what grows; each with a connection, so that values of any size find room.
const CLIENTS: usize = 16;
/// Where values grow: what they have under way is to be answered before they try another node.
const FEW: usize = 4;

/// So many nodes on one machine must not depose their leader for being busy, and the largest values need room.
const SETTINGS: [&str; 6] = [
    "raft.election_timeout_ms=1000",
    "raft.election_timeout_max_ms=2000",
    "raft.disk_stall_ms=0",
    "zab.sync_limit_ms=1000",
    "zab.init_limit_ms=5000",
    "replica.entry_bytes=2097152",
];

/// One step of what grows: a cluster and a load.
struct Step {
    name: String,
    voters: u64,
    observers: u64,
    clients: usize,
    value_bytes: usize,
}

impl Scale {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Voters, Self::Observers, Self::Values, Self::Connections];

    fn steps(self) -> Vec<Step> {
        let step = |name| Step { name, voters: 3, observers: 0, clients: CLIENTS, value_bytes: 100 };
        match self {
            Self::Voters => VOTERS.map(|voters| Step { voters, ..step(format!("{voters} voters")) }).into(),
            Self::Observers => {
                OBSERVERS.map(|observers| Step { observers, ..step(format!("{observers} observers")) }).into()
            }
            Self::Values => VALUES
                .map(|n| Step { clients: FEW, value_bytes: n, ..step(format!("{} values", bytes(n as f64))) })
                .into(),
            Self::Connections => CONNECTIONS.map(|n| Step { clients: n, ..step(format!("{n} connections")) }).into(),
        }
    }
}

impl Scenario for Scale {
    fn name(&self) -> String {
        match self {
            Self::Voters => "scale-voters",
            Self::Observers => "scale-observers",
            Self::Values => "scale-values",
            Self::Connections => "scale-connections",
        }
        .to_owned()
    }

    fn title(&self) -> String {
        match self {
            Self::Voters => "Writes with 3 to 9 voters",
            Self::Observers => "Writes with 0 to 8 observers",
            Self::Values => "Writes of 16 bytes to 1 MiB",
            Self::Connections => "Writes over 1 to 9,900 connections",
        }
        .to_owned()
    }

    fn shows(&self) -> String {
        let (what, rest) = match self {
            Self::Voters => ("3, 5, 7 and 9 voters", "values of 100 bytes"),
            Self::Observers => {
                ("three voters and 0, 1, 2, 4 and 8 observers, which the leader feeds", "values of 100 bytes")
            }
            Self::Values => ("values of 16 bytes to 1 MiB, in steps of 16 times", "three voters"),
            Self::Connections => {
                let what = "1 to 9,900 connections to the leader, each with a client that has one write under way";
                return format!("{what}: what a write costs all three nodes, and the memory of the leader.");
            }
        };
        let clients = if *self == Self::Values { FEW } else { CLIENTS };
        format!(
            "{clients} clients, each with one write under way, {rest}; {what}, each in a cluster of its own. What a write costs all \
             nodes together."
        )
    }

    fn does_not_show(&self) -> String {
        "throughput on machines of their own: all nodes and the clients share the cores of this one. What a write costs the nodes \
         together, and how that grows, carries over."
            .to_owned()
    }

    fn extra(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let mut rep = Repetition::default();
            for step in self.steps() {
                let settings: Vec<String> = SETTINGS.map(str::to_owned).into();
                let live = env.sized(step.voters, step.observers, &settings).await?;
                let done = measure(env, &live, &step, &mut rep).await;
                live.stop().await;
                done?;
            }
            Ok(rep)
        })
    }
}

/// One load, and what it cost once it was warm.
async fn measure(env: &mut Env, live: &Live, step: &Step, rep: &mut Repetition) -> Result<(), Problem> {
    live.level(&live.ids()).await?;
    let leader = live.leader().await?;
    let target = live.at_leader().await?;
    // Connections take their time to be made, which is not what writes cost.
    let warm_up = env.plan.warm_up + Duration::from_millis(step.clients as u64);
    let spec = LoadSpec {
        connections: step.clients,
        value_bytes: step.value_bytes,
        keys: step.clients.max(64),
        warm_up,
        ..env.spec(step.clients)
    };
    let running = env.start(&target, spec, None).await?;
    until("the load did not become warm", || async { (running.now_us() > 0).then_some(()) }).await?;
    let before = costs(live).await?;
    env.watch(&running, running.stopped()).await;
    let after = costs(live).await?;
    let memory = live.pid(leader).and_then(peak_memory);
    let outcome = running.join().await;
    let name = &step.name;
    if live.leader().await? != leader {
        return Err(Problem::Unclear(format!("{name}: the leader changed under load")));
    }
    let writes = outcome.result.operations;
    if writes == 0 {
        return Err(Problem::Failed(format!("{name}: no write was answered, errors {:?}", outcome.result.errors)));
    }
    let Some(spent) = after.since(&before) else {
        return Err(Problem::Unclear(format!("{name}: a node restarted meanwhile")));
    };
    spent.measure_some(rep, name, writes);
    rep.measure(&format!("{name}: throughput"), Unit::PerSecond, Better::Neither, outcome.result.throughput);
    let median = outcome.result.service.p50 as f64;
    rep.measure(&format!("{name}: latency, median"), Unit::Micros, Better::Neither, median);
    if let Some(memory) = memory {
        rep.measure(&format!("{name}: memory of the leader"), Unit::Bytes, Better::Lower, memory as f64);
    }
    env.verify(&target, &outcome.ledger).await?;
    rep.loads.push(outcome.result);
    Ok(())
}

/// What all nodes have spent: one that is busy may be slow to say.
async fn costs(live: &Live) -> Result<Costs, Problem> {
    until("a node does not say what it has spent", || async {
        let costs = live.costs().await;
        (costs.nodes() == live.ids().len()).then_some(costs)
    })
    .await
}
