//! Timers and limits, validated before a node starts.
//!
//! Nothing here decides safety: every value only says how soon a node gives up and how much it may hold. All nodes of
//! an ensemble should use the same values. Spans end in `_ms` (milliseconds), sizes in `_bytes`, counts in `_max`.

use common::types::Micros;
use serde::{Deserialize, Serialize};

/// Timers and limits of a node. [`Default`] suits a local network; [`Config::validate`] says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often a leader sends PING. ZooKeeper: tickTime / 2.
    pub ping_interval_ms: u64,
    /// How long a follower bears silence of its leader, and the leader that of a follower, in broadcast.
    /// ZooKeeper: syncLimit ticks. At least twice the ping interval.
    pub sync_limit_ms: u64,
    /// The same before broadcast, and how long a leader waits in each step of discovery and synchronisation for its
    /// quorum to make progress. ZooKeeper: initLimit ticks.
    pub init_limit_ms: u64,
    /// How long a voter that sees a quorum for its vote waits at most for a better one before it leaves the election.
    /// It costs this much at each failover and buys fewer elections of a leader that is not the best. ZooKeeper's is fixed at
    /// 200 ms; ours is twice the round trip that the last leader measured, if that is less, and nothing at all when every
    /// voter it is connected to agrees.
    pub finalize_wait_ms: u64,
    /// The least of it, for what a peer needs beside the network: a disk that has to come to rest.
    pub finalize_wait_min_ms: u64,
    /// After how long a LOOKING node repeats its notification first; doubles each time.
    pub notification_min_ms: u64,
    /// The longest pause between repeated notifications.
    pub notification_max_ms: u64,
    /// A leader refuses proposals ([`Busy`](common::protocol::Refusal::Busy)) while more than this waits for its commit.
    pub uncommitted_max_bytes: u64,
    /// A follower with more than this sent and not acknowledged is disconnected and synchronises anew; so is an
    /// observer that does not keep up. One message may exceed it. At least `uncommitted_max_bytes`.
    pub queue_max_bytes: u64,
    /// How much a leader sends ahead to a learner that is being synchronised.
    pub sync_window_bytes: u64,
    /// How large one PROPOSAL of a synchronisation may be (one entry may exceed it).
    pub sync_batch_bytes: usize,
    /// How large one piece of a snapshot is.
    pub snapshot_chunk_bytes: usize,
    /// With more entries than this to send, a learner is sent the snapshot instead, if there is a later one than its log.
    pub diff_max_entries: u64,
    /// How many observers that are not members a leader admits.
    pub observers_max: usize,
    /// For an observer: by whom it would rather be fed than by the leader, in this order; followers and observers, at most 16.
    /// What it reads is as fresh as they are, and a little older. When none of them has a leader, the leader itself does it.
    /// It calls them where their addresses are known; an observer that is no member, and is not among the node's `observers`,
    /// is taken only while it calls by itself.
    pub sources: Vec<u64>,
    /// How many reads may wait at one node for confirmation.
    pub reads_max: usize,
    /// The last counter of an epoch: a leader that reached it steps down, so that a new epoch begins (ZOOKEEPER-1277).
    /// Lower it only to watch that happen.
    pub counter_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ping_interval_ms: 50,
            sync_limit_ms: 300,
            init_limit_ms: 1000,
            finalize_wait_ms: 20,
            finalize_wait_min_ms: 5,
            notification_min_ms: 50,
            notification_max_ms: 1000,
            uncommitted_max_bytes: 64 << 20,
            queue_max_bytes: 128 << 20,
            sync_window_bytes: 8 << 20,
            sync_batch_bytes: 512 << 10,
            snapshot_chunk_bytes: 256 << 10,
            diff_max_entries: 5_000_000,
            observers_max: 64,
            sources: Vec::new(),
            reads_max: 65_536,
            counter_max: u32::MAX,
        }
    }
}

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zab.{field} = {value} is not allowed: {allowed}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What it was set to.
    pub value: u64,
    /// What may be set.
    pub allowed: String,
}

impl Config {
    /// Whether every value is in its range; the error names the first that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let hour = 3_600_000;
        let gib = 1 << 30;
        let rules: [(&'static str, u64, u64, u64, &str); 17] = [
            ("ping_interval_ms", self.ping_interval_ms, 1, 60_000, ""),
            ("sync_limit_ms", self.sync_limit_ms, self.ping_interval_ms * 2, hour, "twice ping_interval_ms"),
            ("init_limit_ms", self.init_limit_ms, self.sync_limit_ms, hour, "sync_limit_ms"),
            ("finalize_wait_ms", self.finalize_wait_ms, 0, 60_000, ""),
            ("finalize_wait_min_ms", self.finalize_wait_min_ms, 0, 60_000, ""),
            ("notification_min_ms", self.notification_min_ms, 1, 60_000, ""),
            ("notification_max_ms", self.notification_max_ms, self.notification_min_ms, 60_000, "notification_min_ms"),
            ("uncommitted_max_bytes", self.uncommitted_max_bytes, 1 << 10, 16 * gib, ""),
            ("queue_max_bytes", self.queue_max_bytes, self.uncommitted_max_bytes, 16 * gib, "uncommitted_max_bytes"),
            ("queue_max_bytes", self.queue_max_bytes, self.sync_window_bytes * 2, 16 * gib, "twice sync_window_bytes"),
            ("sync_window_bytes", self.sync_window_bytes, self.sync_batch_bytes as u64, gib, "sync_batch_bytes"),
            ("sync_batch_bytes", self.sync_batch_bytes as u64, 1, 64 << 20, ""),
            ("snapshot_chunk_bytes", self.snapshot_chunk_bytes as u64, 1, 64 << 20, ""),
            ("diff_max_entries", self.diff_max_entries, 1, u64::MAX, ""),
            ("observers_max", self.observers_max as u64, 0, 10_000, ""),
            ("reads_max", self.reads_max as u64, 1, 1 << 24, ""),
            ("counter_max", u64::from(self.counter_max), 1, u64::from(u32::MAX), ""),
        ];
        if let Some(value) = self.sources.iter().copied().find(|id| *id == 0) {
            return Err(ConfigError { field: "sources", value, allowed: "ids from 1".into() });
        }
        if self.sources.len() > 16 {
            let value = self.sources.len() as u64;
            return Err(ConfigError { field: "sources", value, allowed: "at most 16 of them".into() });
        }
        for (field, value, low, high, because) in rules {
            if value < low || value > high {
                let why = if because.is_empty() { String::new() } else { format!(" ({because})") };
                return Err(ConfigError { field, value, allowed: format!("from {low}{why} to {high}") });
            }
        }
        Ok(())
    }

    pub(crate) fn ping_interval(&self) -> Micros {
        Micros::from_millis(self.ping_interval_ms)
    }

    pub(crate) fn sync_limit(&self) -> Micros {
        Micros::from_millis(self.sync_limit_ms)
    }

    pub(crate) fn init_limit(&self) -> Micros {
        Micros::from_millis(self.init_limit_ms)
    }

    /// How long to wait for a better vote where the farthest voter is so far from the leader, if that was ever measured. Twice,
    /// since two voters may be that far from it on opposite sides: what one of them says to a question reaches the other
    /// within the sum of both round trips.
    pub(crate) fn finalize_wait(&self, round_trip: Option<Micros>) -> Micros {
        let (least, most) =
            (Micros::from_millis(self.finalize_wait_min_ms), Micros::from_millis(self.finalize_wait_ms));
        round_trip.map_or(most, |rt| Micros(rt.0.saturating_mul(2)).max(least)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_allowed_and_errors_name_field_value_and_range() {
        Config::default().validate().unwrap();
        let slow = Config { sync_limit_ms: 60, ..Config::default() };
        assert_eq!(
            slow.validate().unwrap_err().to_string(),
            "zab.sync_limit_ms = 60 is not allowed: from 100 (twice ping_interval_ms) to 3600000"
        );
        let tight = Config { queue_max_bytes: 1 << 20, ..Config::default() };
        assert_eq!(tight.validate().unwrap_err().field, "queue_max_bytes");
        let never = Config { counter_max: 0, ..Config::default() };
        assert_eq!(never.validate().unwrap_err().field, "counter_max");
        let long = Config { finalize_wait_min_ms: 60_001, ..Config::default() };
        assert_eq!(
            long.validate().unwrap_err().to_string(),
            "zab.finalize_wait_min_ms = 60001 is not allowed: from 0 to 60000"
        );
    }

    #[test]
    fn the_wait_for_a_better_vote_is_as_long_as_the_network_and_within_its_limits() {
        let wait = |least, most, us: Option<u64>| {
            let config = Config { finalize_wait_min_ms: least, finalize_wait_ms: most, ..Config::default() };
            config.finalize_wait(us.map(Micros)).0
        };
        assert_eq!(wait(5, 20, None), 20_000, "nothing is known of the network");
        assert_eq!([100, 4000, 30_000, u64::MAX].map(|us| wait(5, 20, Some(us))), [5000, 8000, 20_000, 20_000]);
        // The most is the most, whatever the least is.
        assert_eq!((wait(5, 0, Some(100)), wait(5, 0, None), wait(0, 200, Some(40_000))), (0, 0, 80_000));
    }

    #[test]
    fn a_file_may_name_some_fields_but_no_unknown_ones() {
        let some: Config = toml::from_str("finalize_wait_ms = 200").unwrap();
        assert_eq!(some, Config { finalize_wait_ms: 200, ..Config::default() });
        assert!(toml::from_str::<Config>("finalise_wait_ms = 200").is_err());
    }
}
