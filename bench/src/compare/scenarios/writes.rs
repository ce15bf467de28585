//! Steady writes.

use crate::compare::cost::cpu_us;
use crate::compare::{Env, Problem, Scenario, Work};
use crate::report::results::{Better, Repetition, Unit};

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
            let floor = if self.clients == 1 { env.floor_us() } else { None };
            let live = env.main().await?;
            let target = live.at_leader().await?;
            let before = live.costs().await;
            let own = cpu_us(std::process::id());
            let outcome = env.load(&target, spec, None).await;
            let own = cpu_us(std::process::id()).zip(own).map(|(after, before)| after - before);
            let after = env.main().await?.costs().await;
            if outcome.result.operations == 0 {
                return Err(Problem::Failed("no write was answered".to_owned()));
            }
            let mut rep = Repetition::default();
            let median = outcome.result.service.p50 as f64;
            super::measure_load(&mut rep, outcome.result);
            if let Some(floor) = floor.filter(|f| *f > 0.0) {
                rep.measure("floor: two round trips and a sync", Unit::Micros, Better::Neither, floor);
                rep.measure("median over its floor", Unit::Ratio, Better::Lower, median / floor);
            }
            match after.since(&before) {
                Some(spent) => spent.measure(&mut rep),
                None => rep.notes.push("a node restarted meanwhile, so the cost per entry is unknown".to_owned()),
            }
            let writes = outcome.ledger.acknowledged_writes().max(1);
            if let Some(own) = own {
                let name = "CPU time of the clients per write";
                rep.measure(name, Unit::MicrosPerEntry, Better::Neither, own as f64 / writes as f64);
            }
            env.verify(&target, &outcome.ledger).await?;
            Ok(rep)
        })
    }
}
