//! Steady writes.

use crate::compare::{Env, Problem, Scenario, Work};
use crate::report::results::Repetition;

/// So many clients write 100-byte values as fast as they are answered.
#[derive(Debug)]
pub(super) struct Writes {
    pub(super) clients: usize,
}

impl Scenario for Writes {
    fn name(&self) -> String {
        format!("writes-{}", self.clients)
    }

    fn title(&self) -> String {
        match self.clients {
            1 => "Writes, 1 client".to_owned(),
            n => format!("Writes, {n} clients"),
        }
    }

    fn shows(&self) -> String {
        match self.clients {
            1 => "One client, one write at a time: the bare latency of a durable, replicated write. It cannot be less than two \
                  round trips and one sync to disk."
                .to_owned(),
            n => format!(
                "{n} clients, each with one write under way. Each write is durable on a majority before it is answered. \
                 Writes that come together share messages and syncs, so the cost per entry falls as clients are added."
            ),
        }
    }

    fn does_not_show(&self) -> String {
        "how much the cluster could do with its own machine for each node, nor what happens to latency at a rate that \
         does not wait for the answers (duet load --rate)."
            .to_owned()
    }

    fn repeated(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let spec = env.spec(self.clients);
            let live = env.main().await?;
            let target = live.at_leader().await?;
            let before = live.costs().await;
            let outcome = env.load(&target, spec, None).await;
            let after = env.main().await?.costs().await;
            if outcome.result.operations == 0 {
                return Err(Problem::Failed("no write was answered".to_owned()));
            }
            let mut rep = Repetition::default();
            super::measure_load(&mut rep, outcome.result);
            match after.since(&before) {
                Some(spent) => spent.measure(&mut rep),
                None => rep.notes.push("a node restarted meanwhile, so the cost per entry is unknown".to_owned()),
            }
            env.verify(&target, &outcome.ledger).await?;
            Ok(rep)
        })
    }
}
