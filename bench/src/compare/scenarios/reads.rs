//! Reads, linearizable and local.

use crate::compare::env::judge;
use crate::compare::system::System;
use crate::compare::{Env, Problem, Scenario, Work};
use crate::load::engine::{LoadSpec, Mix};
use crate::load::verify::verify_local;
use crate::peers::Peer;
use crate::report::results::Repetition;

/// How many clients read.
const CLIENTS: usize = 256;

/// 256 clients read keys chosen at random among those written before.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) linearizable: bool,
}

impl Scenario for Reads {
    fn name(&self) -> String {
        if self.linearizable { "reads-linearizable" } else { "reads-local" }.to_owned()
    }

    fn title(&self) -> String {
        format!("{} reads, {CLIENTS} clients", if self.linearizable { "Linearizable" } else { "Local" })
    }

    fn shows(&self) -> String {
        if self.linearizable {
            "Reads that see every write answered before them, asked of the leader. No entry is written; the leader asks a \
             majority whether it still leads, once for all reads that wait (Raft and etcd: ReadIndex; ZAB: sync with a round to \
             a quorum). ZooKeeper has no such read."
        } else {
            "Reads answered by any node from what it has applied, spread over all nodes. They may be stale, and they need no \
             message between nodes (etcd calls them serializable). Afterwards every node's content is compared with what was written."
        }
        .to_owned()
    }

    fn does_not_show(&self) -> String {
        "reads mixed with writes, or values larger than 100 bytes.".to_owned()
    }

    fn repeated(&self) -> bool {
        true
    }

    fn suits(&self, system: System) -> bool {
        // ZooKeeper reads what the server of a session has. A `sync` before each read is as near as it comes, and the reading
        // back after writes does that; but nobody reads so by the thousand.
        system != System::Peer(Peer::ZooKeeper) || !self.linearizable
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let ledger = env.filled().await?;
            let mix = if self.linearizable { Mix::LINEARIZABLE } else { Mix::LOCAL };
            let spec = LoadSpec { mix, keys: ledger.len(), ..env.spec(CLIENTS) };
            let cluster = env.main().await?;
            // Local reads must find what was written, so every node must have it.
            cluster.level().await?;
            let target = if self.linearizable { cluster.at_leader().await? } else { cluster.everywhere() };
            let outcome = env.load(&target, spec, Some(ledger.clone())).await?;
            if outcome.result.operations == 0 {
                return Err(Problem::Failed("no read was answered".to_owned()));
            }
            let mut rep = Repetition::default();
            super::measure_load(&mut rep, outcome.result);
            if self.linearizable {
                env.verify(&target, &ledger).await?;
            } else {
                for node in env.main().await?.each() {
                    judge(verify_local(&node, &ledger).await)?;
                }
            }
            Ok(rep)
        })
    }
}
