//! Which protocols can be simulated, by name.

use common::sim::outcome::Outcome;
use common::sim::plan::Plan;
use common::sim::subject::Subject as _;
use common::sim::world::{self, Options};

use crate::cli::{Fail, Protocol};

/// Runs a plan on the protocol that it names.
pub fn run(plan: &Plan, options: &Options) -> Result<Outcome, Fail> {
    let protocol = protocol(plan)?;
    Ok(match protocol {
        Protocol::Raft => world::run::<raft::Raft>(plan, options),
        Protocol::Zab => world::run::<zab::Zab>(plan, options),
    })
}

/// The protocol of a plan.
pub fn protocol(plan: &Plan) -> Result<Protocol, Fail> {
    Protocol::ALL.into_iter().find(|p| p.name() == plan.protocol).ok_or_else(|| {
        Fail::usage(format!("protocol: `{}` cannot be simulated", plan.protocol)).hint("a plan names raft or zab")
    })
}

/// The names of all oracles.
pub fn oracles() -> Vec<&'static str> {
    let mut all = [common::sim::subject::ORACLES, raft::Raft::oracles(), zab::Zab::oracles()].concat();
    all.sort_unstable();
    all
}

/// Every mark that the protocol and what is below it can hit.
pub fn marks(protocol: Protocol) -> Vec<&'static str> {
    let own = match protocol {
        Protocol::Raft => raft::Raft::marks(),
        Protocol::Zab => zab::Zab::marks(),
    };
    own.iter().chain(common::mark::LIST).copied().collect()
}
