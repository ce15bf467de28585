//! ZAB as the simulator sees it: settings for a simulated ensemble.

use common::rng::Rng;
use common::sim::subject::{Subject, Timing};
use common::types::NodeId;

use super::MARKS;
use super::ZabOracle;
use crate::config::Config;
use crate::core::Zab;

impl Subject for Zab {
    type Oracle = ZabOracle;

    fn config(timing: &Timing, node: NodeId) -> Config {
        Config { sources: sources(timing.limits, node.0), ..config(timing) }
    }

    fn oracles() -> &'static [&'static str] {
        &[
            "Z-AGR", "Z-CONF", "Z-DUR", "Z-EPOCH", "Z-INIT", "Z-INT", "Z-LEAD", "Z-LPO", "Z-MEND", "Z-NBT", "Z-PFX",
            "Z-PI", "Z-ZXID",
        ]
    }

    fn marks() -> &'static [&'static str] {
        MARKS
    }

    fn may_disconnect(reason: &str) -> bool {
        MAY_DISCONNECT.contains(&reason)
    }
}

/// What ends a session although nobody broke a rule: limits, silence, and a disk that does not give back what was stored.
const MAY_DISCONNECT: &[&str] = &[
    "its queue is full; it must synchronise anew",
    "silent for longer than the limit",
    "this leader has as many observers as it may",
    "the history it needs cannot be read",
    "there is no snapshot to send it",
];

/// A power of two times something, from `low` to below `high`: each order of magnitude is as likely as the next.
fn log_uniform(rng: &mut Rng, low: u64, high: u64) -> u64 {
    let octaves = u64::from((high / low).ilog2());
    let floor = low << rng.between(0, octaves.max(1));
    rng.between(floor, (floor * 2).min(high))
}

/// By whom a node would be fed, if it observes. Apart, so that the rest stays what it was.
fn sources(limits: u64, node: u64) -> Vec<u64> {
    if limits == 0 {
        return Vec::new();
    }
    let mut own = Rng::new(limits ^ (0x5AC3 + node));
    // Half of the nodes by some other.
    let one = if own.next_u64() & 1 == 1 { vec![own.between(1, 10)] } else { Vec::new() };
    let near = match Rng::new(limits ^ 0xC4A1).between(0, 4) {
        // All in a row, as far as they observe.
        0 => node - 1,
        // By somebody near: some rows, and some rings.
        1 => (node + own.between(0, 5)).saturating_sub(2),
        _ => 0,
    };
    [near].into_iter().chain(one).filter(|id| *id > 0 && *id != node).collect()
}

fn config(timing: &Timing) -> Config {
    let ms = |micros: u64| (micros / 1000).max(1);
    let ping_interval_ms = ms(timing.heartbeat.0).min(60_000);
    let sync_limit_ms = ms(timing.election_timeout.0).max(ping_interval_ms * 2);
    let timers = Config {
        ping_interval_ms,
        sync_limit_ms,
        // The proportions of the defaults.
        init_limit_ms: sync_limit_ms * 3,
        finalize_wait_ms: (sync_limit_ms / 15).min(60_000),
        finalize_wait_min_ms: (sync_limit_ms / 60).min(60_000),
        notification_min_ms: ping_interval_ms,
        notification_max_ms: (ping_interval_ms * 20).min(60_000),
        ..Config::default()
    };
    if timing.limits == 0 {
        return timers;
    }
    let mut rng = Rng::new(timing.limits);
    // Small enough to be reached; what is larger than a limit goes alone.
    let sync_batch_bytes = log_uniform(&mut rng, 1, 1 << 16);
    let sync_window_bytes = sync_batch_bytes.max(log_uniform(&mut rng, 1 << 10, 1 << 16));
    let uncommitted_max_bytes = log_uniform(&mut rng, 1 << 13, 1 << 18);
    let queue_max_bytes = uncommitted_max_bytes.max(sync_window_bytes * 2) + log_uniform(&mut rng, 1 << 12, 1 << 16);
    Config {
        sync_batch_bytes: sync_batch_bytes as usize,
        sync_window_bytes,
        snapshot_chunk_bytes: log_uniform(&mut rng, 256, 1 << 16) as usize,
        diff_max_entries: log_uniform(&mut rng, 1, 1 << 10),
        uncommitted_max_bytes,
        queue_max_bytes,
        // Whoever was removed is one more.
        observers_max: rng.between(9, 12) as usize,
        reads_max: log_uniform(&mut rng, 1, 1 << 8) as usize,
        // Epochs that end because their counters do; a batch must fit in one.
        counter_max: if rng.between(0, 2) == 0 { u32::MAX } else { log_uniform(&mut rng, 1 << 7, 1 << 10) as u32 },
        ..timers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::types::Micros;
    use proptest::prelude::*;

    proptest! {
        /// Whatever a plan says, the settings are allowed.
        #[test]
        fn settings_are_always_allowed(election in 0u64..100_000_000, heartbeat in 0u64..1_000_000_000, limits in any::<u64>()) {
            let timing = Timing { election_timeout: Micros(election), heartbeat: Micros(heartbeat), drift: 0, limits };
            prop_assert_eq!(config(&timing).validate(), Ok(()));
        }
    }

    #[test]
    fn without_tight_limits_the_defaults_stay() {
        let timing = Timing { election_timeout: Micros(300_000), heartbeat: Micros(50_000), drift: 0, limits: 0 };
        let defaults = Config::default();
        assert_eq!(config(&timing), Config { init_limit_ms: 900, ..defaults });
    }
}
