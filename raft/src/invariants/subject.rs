//! Raft as the simulator sees it: which configurations it may meet, and what its code can reach.

use common::rng::Rng;
use common::sim::subject::{Subject, Timing};
use common::types::{Micros, NodeId};

use super::{MARKS, Oracle};
use crate::config::Config;
use crate::core::Raft;

impl Subject for Raft {
    type Oracle = Oracle;

    fn config(timing: &Timing, node: NodeId) -> Config {
        let election_timeout_ms = (timing.election_timeout.0 / 1000).max(2);
        let config = Config {
            heartbeat_ms: (timing.heartbeat.0 / 1000).clamp(1, election_timeout_ms / 2),
            election_timeout_ms,
            election_timeout_max_ms: 2 * election_timeout_ms,
            max_clock_drift_ppm: timing.drift * 1000,
            disk_stall_ms: (2 * election_timeout_ms).max(10),
            ..Config::default()
        };
        if timing.limits == 0 {
            return config;
        }
        // Only this may differ from node to node.
        let mut own = Rng::new(timing.limits ^ node.0);
        let priority = if own.next_u64() & 1 == 1 { own.between(0, 101) } else { 100 };
        Config { priority, ..tight(config, &mut Rng::new(timing.limits)) }
    }

    fn oracles() -> &'static [&'static str] {
        &[
            "R-CONF", "R-CT", "R-DUR", "R-ES", "R-IDX", "R-LAO", "R-LC", "R-LM", "R-MEND", "R-MONO", "R-ORD", "R-RD",
            "R-SMS", "R-STALL", "R-XFER",
        ]
    }

    fn marks() -> &'static [&'static str] {
        MARKS
    }

    fn leaves_a_stalled_disk(timing: &Timing, node: NodeId) -> Option<Micros> {
        let limit = Self::config(timing, node).disk_stall_ms;
        (limit > 0).then_some(Micros::from_millis(limit))
    }
}

/// Legal but unlikely. Each limit is left alone half of the time: when all are tight, none is ever the first to be met.
fn tight(mut config: Config, rng: &mut Rng) -> Config {
    let mut draw = |low: u64, high: u64| (rng.next_u64() & 1 == 1).then(|| rng.between(low, high) as usize);
    if let Some(bytes) = draw(1, 400) {
        config.max_batch_bytes = bytes;
    }
    if let Some(messages) = draw(1, 5) {
        config.max_inflight_messages = messages;
    }
    if let Some(more) = draw(0, 400) {
        config.max_inflight_bytes = config.max_batch_bytes + more;
    }
    if let Some(more) = draw(0, 2000) {
        config.max_uncommitted_bytes = config.max_batch_bytes + more;
    }
    if let Some(bytes) = draw(1024, 4096) {
        config.snapshot_chunk_bytes = bytes;
    }
    if let Some(reads) = draw(1, 6) {
        config.max_pending_reads = reads;
    }
    if let Some(entries) = draw(0, 20) {
        config.max_promotion_lag = entries as u64;
    }
    config.early_election = draw(0, 2) != Some(0);
    // Never both: then nothing keeps a node that hears some of the others from deposing their leader for ever.
    match draw(0, 4) {
        Some(0) => config.pre_vote = false,
        Some(1) => config.check_quorum = false,
        _ => {}
    }
    // Never less: timers are such that a sound disk is not as slow as that.
    match draw(0, 8) {
        Some(0) => config.disk_stall_ms = 0,
        Some(times @ 2..) => config.disk_stall_ms = (config.election_timeout_ms * times as u64 / 2).max(10),
        _ => {}
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_is_legal_and_each_limit_is_tight_somewhere() {
        let (mut pre_vote, mut check_quorum, mut batch, mut reads, mut low, mut stall) = (0, 0, 0, 0, 0, 0);
        for limits in 0..1000 {
            for (election_timeout, heartbeat) in [(1, 1), (10_000, 5_000), (300_000, 1), (5_000_000, 100_000)] {
                let (election_timeout, heartbeat) = (Micros(election_timeout), Micros(heartbeat));
                let drift = limits % 500;
                let config = Raft::config(&Timing { election_timeout, heartbeat, drift, limits }, NodeId(limits % 7));
                assert_eq!(config.validate(), Ok(()), "{limits}");
                assert!(config.pre_vote || config.check_quorum);
                pre_vote += usize::from(!config.pre_vote);
                check_quorum += usize::from(!config.check_quorum);
                batch += usize::from(config.max_batch_bytes < 400);
                reads += usize::from(config.max_pending_reads < 6);
                low += usize::from(config.priority < 50);
                stall += usize::from(config.disk_stall_ms == 0);
            }
        }
        for seen in [pre_vote, check_quorum, batch, reads, low, stall] {
            assert!((100..3900).contains(&seen), "{seen}");
        }
    }
}
