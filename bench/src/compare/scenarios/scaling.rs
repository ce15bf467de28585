//! Reads, with ever more observers to answer them.

use std::time::Duration;

use common::types::NodeId;

use crate::cli::Protocol;
use crate::compare::cost::own_cpu_us;
use crate::compare::live::Live;
use crate::compare::system::System;
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::engine::{LoadSpec, Mix};
use crate::load::ledger::Ledger;
use crate::report::results::{Better, Repetition, Unit};
use crate::supervisor::Feed;

/// So many observers in turn.
const OBSERVERS: [usize; 4] = [0, 1, 2, 4];
/// How many clients there are, spread over all nodes.
const CLIENTS: usize = 128;
/// Writes that are there before.
const WRITES: u64 = 20_000;

/// What clients ask for.
const MIXES: [(&str, Mix); 3] = [
    ("local reads", Mix::LOCAL),
    ("linearizable reads", Mix::LINEARIZABLE),
    ("local reads, a tenth writes", Mix { writes: 1, linearizable: 0, local: 9 }),
];

/// Three voters, and observers that join one after the other.
#[derive(Debug)]
pub(super) struct ReadScaling {
    pub(super) feed: Feed,
}

impl Scenario for ReadScaling {
    fn name(&self) -> String {
        if self.feed == Feed::Leader { "observers-reads" } else { "observers-reads-fed" }.to_owned()
    }

    fn title(&self) -> String {
        let by = if self.feed == Feed::Leader { "the leader" } else { "followers (Raft: by the leader)" };
        format!("Reads with 0 to 4 observers, fed by {by}")
    }

    fn shows(&self) -> String {
        format!(
            "{CLIENTS} clients are spread evenly over three voters and 0, 1, 2 and 4 observers. What an operation costs all nodes \
             together in CPU time, and the leader's part of that and of what nodes send: the part that observers take off the \
             leader is what they are for. Fed by followers (ZAB: `sources`), they cost it nothing for each of them."
        )
    }

    fn does_not_show(&self) -> String {
        "how many reads a second so many nodes can answer: all of them, and the clients, share the cores of this machine, so \
         each node more takes its time from the others. On machines of their own, nodes answer as many as the leader's part \
         allows."
            .to_owned()
    }

    fn extra(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            // Raft has nobody else who could.
            let feed = if env.system == System::Duet(Protocol::Zab) { self.feed } else { Feed::Leader };
            let mut live = env.fed(feed).await?;
            let done = run(env, &mut live).await;
            live.stop().await;
            done
        })
    }
}

async fn run(env: &mut Env, live: &mut Live) -> Result<Repetition, Problem> {
    let mut rep = Repetition::default();
    let target = live.at_leader().await?;
    let mut ledger = env.write(&target, WRITES, None).await?;
    let mut there = 0;
    for observers in OBSERVERS {
        for _ in there..observers {
            live.cluster().add_observer().await?;
        }
        there = observers;
        let everyone = live.ids();
        live.level(&everyone).await?;
        let leader = live.leader().await?;
        for (what, mix) in MIXES {
            env.say(&format!("{observers} observers, {what}"));
            let spec = LoadSpec { mix, keys: ledger.len(), connections: everyone.len() * 4, ..env.spec(CLIENTS) };
            ledger = measure(env, live, leader, (observers, what), spec, ledger, &mut rep).await?;
        }
    }
    env.verify(&target, &ledger).await?;
    Ok(rep)
}

/// One load, and what it cost.
async fn measure(
    env: &Env,
    live: &Live,
    leader: NodeId,
    (observers, what): (usize, &str),
    spec: LoadSpec,
    ledger: Ledger,
    rep: &mut Repetition,
) -> Result<Ledger, Problem> {
    let target = live.everywhere();
    // Warmed up by a load of its own, so that what is counted is what is paid for.
    let warm_up = LoadSpec { measure: Some(spec.warm_up), warm_up: Duration::ZERO, ..spec.clone() };
    let ledger = env.load(&target, warm_up, Some(ledger)).await?.ledger;
    let before = live.costs().await;
    let own = own_cpu_us();
    let outcome = env.load(&target, LoadSpec { warm_up: Duration::ZERO, ..spec }, Some(ledger)).await?;
    let own = own_cpu_us() - own;
    let after = live.costs().await;
    if live.leader().await? != leader {
        return Err(Problem::Unclear("the leader changed under load".to_owned()));
    }
    let operations = outcome.result.operations;
    if operations == 0 {
        return Err(Problem::Failed(format!("none of the {what} was answered")));
    }
    let (Some(all), Some(its)) = (after.since(&before), after.of(leader).since(&before)) else {
        return Err(Problem::Unclear("a node restarted meanwhile".to_owned()));
    };
    let mut add = |name: &str, unit, better, value: f64| {
        let s = if observers == 1 { "" } else { "s" };
        rep.measure(&format!("{what}, {observers} observer{s}: {name}"), unit, better, value);
    };
    let per = |n: u64| n as f64 / operations as f64;
    add("answered", Unit::PerSecond, Better::Higher, outcome.result.throughput);
    if let (Some(all), Some(its)) = (all.cpu_us(), its.cpu_us()) {
        add("CPU time of all nodes for each", Unit::MicrosPerEntry, Better::Lower, per(all));
        add("the leader's part of it", Unit::Ratio, Better::Lower, its as f64 / all.max(1) as f64);
    }
    add("CPU time of the clients for each", Unit::MicrosPerEntry, Better::Neither, per(own));
    if let Some((messages, bytes)) = its.sent() {
        add("messages of the leader for each", Unit::PerEntry, Better::Lower, per(messages));
        add("bytes of the leader for each", Unit::BytesPerEntry, Better::Lower, per(bytes));
    }
    rep.loads.push(outcome.result);
    Ok(outcome.ledger)
}
