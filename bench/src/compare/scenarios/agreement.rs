//! All nodes have the same state.

use crate::compare::{Env, Problem, Scenario, Work};
use crate::report::results::{Better, Repetition, Unit};

/// After everything else: equal hashes at the same applied entry.
#[derive(Debug)]
pub(super) struct Agreement;

impl Scenario for Agreement {
    fn name(&self) -> String {
        "agreement".to_owned()
    }

    fn title(&self) -> String {
        "All nodes agree".to_owned()
    }

    fn shows(&self) -> String {
        "After all loads and kills, every node of the cluster has applied the same last entry and has the same state, by its \
         hash."
            .to_owned()
    }

    fn does_not_show(&self) -> String {
        "that histories were linearizable: that is what the simulator's checker is for.".to_owned()
    }

    fn run<'a>(&'a self, env: &'a mut Env) -> Work<'a> {
        Box::pin(async move {
            let live = env.duet().await?;
            let ids = live.ids();
            let states = live.level(&ids).await?;
            let differing = states.iter().find(|s| s.state_hash != states[0].state_hash);
            if let Some(other) = differing {
                return Err(Problem::Failed(format!(
                    "at {} {} has state {:016x}, {} has {:016x}",
                    other.core.applied, states[0].core.id, states[0].state_hash, other.core.id, other.state_hash
                )));
            }
            let mut rep = Repetition::default();
            rep.measure("nodes with equal state", Unit::Count, Better::Neither, states.len() as f64);
            rep.notes.push(format!("state {:016x} at {}", states[0].state_hash, states[0].core.applied));
            Ok(rep)
        })
    }
}
