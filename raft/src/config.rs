//! Timers and limits.
//!
//! Raft needs `broadcast time << election time-out << mean time between failures` (Ongaro and Ousterhout, section 5.6).
//! A heartbeat that is too slow for the election time-out makes followers depose a healthy leader; a time-out without
//! randomness splits every vote (section 5.2). Each limit bounds one queue, and its text says what happens there.

use common::types::Micros;
use serde::{Deserialize, Serialize};

/// Timers and limits of a Raft node. As TOML, every field may be left out; unknown fields are errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often a leader speaks to each peer, in milliseconds. 1 to `election_timeout_ms / 2`.
    pub heartbeat_ms: u64,
    /// The shortest election time-out, in milliseconds: how long a follower waits to hear from a leader. Also how long it
    /// refuses votes after it heard one, and how often a leader checks that a quorum answers (section 5.2; thesis 6.2).
    pub election_timeout_ms: u64,
    /// The election time-out is drawn anew, each time, from `election_timeout_ms..election_timeout_max_ms`.
    pub election_timeout_max_ms: u64,
    /// Ask whether an election could be won before raising the term (thesis 9.6).
    pub pre_vote: bool,
    /// A leader that does not hear from a quorum steps down, and whoever hears a leader ignores candidates (thesis 6.2,
    /// 4.2.3).
    pub check_quorum: bool,
    /// When the session with the leader ends, ask for votes within one heartbeat interval instead of waiting for the
    /// election time-out. Without `pre_vote` it does nothing, nor with leases, which rest on that waiting.
    pub early_election: bool,
    /// How much this node is to lead, from 0 to 100. One that is less waits longer before it stands for election: at 0 by
    /// `election_timeout_max_ms`, and half as long each time that nobody was elected. So where priorities are 50 apart the
    /// higher one leads, if it can; and whoever is left leads nevertheless. Votes do not look at it.
    pub priority: u64,
    /// Turns leases on, and says what they may rely on: no clock of the cluster runs faster or slower than real time by more
    /// than so many parts in a million. A suspended machine's clock stands still, which is more than any bound. 0 turns
    /// them off. All nodes must have the same, and the same `election_timeout_ms`. At most 500,000. See
    /// [`lease`](crate::lease).
    pub max_clock_drift_ppm: u64,
    /// A disk that has something to do and finishes nothing for so long, in milliseconds, is stalled: a leader hands its
    /// office over, and nobody stands for election. Well above what the slowest sound disk needs for one write. 0 turns
    /// this off, otherwise 10 ms to one hour. See [`stall`](crate::stall).
    pub disk_stall_ms: u64,
    /// The most payload bytes in one AppendEntries (but always at least one entry). 1 to 64 MiB.
    pub max_batch_bytes: usize,
    /// The most AppendEntries with entries sent to one peer and not acknowledged. At the limit that peer waits, nobody
    /// else does. 1 to 65,536.
    pub max_inflight_messages: usize,
    /// The most payload bytes sent to one peer and not acknowledged; one message may exceed it. At least
    /// `max_batch_bytes`.
    pub max_inflight_bytes: usize,
    /// The most bytes of proposals not yet committed, counting 32 bytes beside each payload. At the limit proposals are
    /// refused with `Busy`. At least `max_batch_bytes`.
    pub max_uncommitted_bytes: usize,
    /// The most bytes in one InstallSnapshot; one per peer is under way at a time. 1 KiB to 64 MiB.
    pub snapshot_chunk_bytes: usize,
    /// The most reads that wait for confirmation on one node. At the limit reads fail with `Busy`. At least 1.
    pub max_pending_reads: usize,
    /// The most observers (learners that are not members) connected to one node. At the limit a further one is disconnected.
    pub max_observers: usize,
    /// How many entries a node may lack to become a voter; beyond, the change is refused. Up to 2^40.
    pub max_promotion_lag: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_timeout_ms: 200,
            election_timeout_max_ms: 400,
            pre_vote: true,
            check_quorum: true,
            early_election: true,
            priority: 100,
            max_clock_drift_ppm: 0,
            disk_stall_ms: 400,
            max_batch_bytes: 1 << 20,
            max_inflight_messages: 256,
            max_inflight_bytes: 16 << 20,
            max_uncommitted_bytes: 64 << 20,
            snapshot_chunk_bytes: 1 << 20,
            max_pending_reads: 65_536,
            max_observers: 16,
            max_promotion_lag: 1000,
        }
    }
}

/// A field whose value is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value} is not allowed: it must be {allowed}")]
pub struct ConfigError {
    /// Its name.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// What would be allowed.
    pub allowed: String,
}

impl Config {
    /// Checks every field against its range and the others.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const MIB: u64 = 1 << 20;
        within("priority", self.priority, 0, 100, "100")?;
        within("max_clock_drift_ppm", self.max_clock_drift_ppm, 0, 500_000, "one half")?;
        if self.disk_stall_ms > 0 {
            within("disk_stall_ms", self.disk_stall_ms, 10, 3_600_000, "one hour; 0 turns it off")?;
        }
        within("heartbeat_ms", self.heartbeat_ms, 1, self.election_timeout_ms / 2, "half of election_timeout_ms")?;
        within("election_timeout_ms", self.election_timeout_ms, 2, 3_600_000, "one hour")?;
        let spread = self.election_timeout_ms + 1;
        within("election_timeout_max_ms", self.election_timeout_max_ms, spread, 7_200_000, "two hours")?;
        within("max_batch_bytes", self.max_batch_bytes as u64, 1, 64 * MIB, "64 MiB")?;
        within("max_inflight_messages", self.max_inflight_messages as u64, 1, 65_536, "65,536")?;
        let batch = self.max_batch_bytes as u64;
        within("max_inflight_bytes", self.max_inflight_bytes as u64, batch, 4096 * MIB, "4 GiB")?;
        within("max_uncommitted_bytes", self.max_uncommitted_bytes as u64, batch, 65_536 * MIB, "64 GiB")?;
        within("snapshot_chunk_bytes", self.snapshot_chunk_bytes as u64, 1024, 64 * MIB, "64 MiB")?;
        within("max_pending_reads", self.max_pending_reads as u64, 1, 16 * MIB, "16 Mi")?;
        within("max_observers", self.max_observers as u64, 0, 1024, "1024")?;
        within("max_promotion_lag", self.max_promotion_lag, 0, 1 << 40, "2^40")
    }

    pub(crate) fn heartbeat(&self) -> Micros {
        Micros::from_millis(self.heartbeat_ms)
    }

    pub(crate) fn election_timeout(&self) -> Micros {
        Micros::from_millis(self.election_timeout_ms)
    }

    /// How long after a confirmed round was begun a leader still leads for certain, by its own clock; none without leases.
    /// Followers wait for an election time-out, and in the worst case its clock is as slow and theirs as fast as may be.
    pub(crate) fn lease(&self) -> Option<Micros> {
        const ONE: u64 = 1_000_000;
        let drift = self.max_clock_drift_ppm;
        let worst = self.election_timeout().0 * (ONE - drift) / (ONE + drift);
        (drift > 0).then_some(Micros(worst.saturating_sub(1)))
    }

    /// How much longer it waits than others do, when it has waited in vain for so many elections.
    pub(crate) fn deference(&self, waited: u32) -> Micros {
        Micros((self.election_timeout_max_ms * 10 * (100 - self.priority)) >> waited.min(63))
    }
}

fn within(field: &'static str, value: u64, low: u64, high: u64, high_is: &str) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { field, value, allowed: format!("between {low} and {high} ({high_is})") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_come_from_an_empty_file() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn an_error_names_field_value_and_what_is_allowed() {
        let config: Config = toml::from_str("heartbeat_ms = 150").unwrap();
        let text = config.validate().unwrap_err().to_string();
        assert_eq!(
            text,
            "heartbeat_ms = 150 is not allowed: it must be between 1 and 100 (half of election_timeout_ms)"
        );
        let text = toml::from_str::<Config>("heartbeat = 50").unwrap_err().to_string();
        assert!(text.contains("unknown field `heartbeat`"), "{text}");
    }

    #[test]
    fn a_lease_ends_before_the_fastest_clock_has_counted_an_election_timeout() {
        assert_eq!(Config::default().lease(), None);
        for (ppm, us) in [(1, 199_998), (500, 199_799), (200_000, 133_332), (500_000, 66_665)] {
            let config = Config { max_clock_drift_ppm: ppm, ..Config::default() };
            assert_eq!((config.validate(), config.lease()), (Ok(()), Some(Micros(us))), "{ppm}");
        }
    }

    #[test]
    fn deference_is_by_priority_and_halves() {
        let waits = |priority, waited| Config { priority, ..Config::default() }.deference(waited).0;
        assert_eq!([waits(100, 0), waits(50, 0), waits(0, 0)], [0, 200_000, 400_000]);
        assert_eq!([waits(0, 1), waits(0, 2), waits(0, 19), waits(0, u32::MAX)], [200_000, 100_000, 0, 0]);
    }

    #[test]
    fn every_limit_is_checked() {
        type Break = fn(&mut Config);
        let broken: [(&str, Break); 13] = [
            ("priority", |c| c.priority = 101),
            ("max_clock_drift_ppm", |c| c.max_clock_drift_ppm = 500_001),
            ("disk_stall_ms", |c| c.disk_stall_ms = 9),
            ("heartbeat_ms", |c| c.heartbeat_ms = 0),
            ("election_timeout_max_ms", |c| c.election_timeout_max_ms = c.election_timeout_ms),
            ("max_batch_bytes", |c| c.max_batch_bytes = 0),
            ("max_inflight_messages", |c| c.max_inflight_messages = 0),
            ("max_inflight_bytes", |c| c.max_inflight_bytes = c.max_batch_bytes - 1),
            ("max_uncommitted_bytes", |c| c.max_uncommitted_bytes = 0),
            ("snapshot_chunk_bytes", |c| c.snapshot_chunk_bytes = 1023),
            ("max_pending_reads", |c| c.max_pending_reads = 0),
            ("max_observers", |c| c.max_observers = 5000),
            ("max_promotion_lag", |c| c.max_promotion_lag = u64::MAX),
        ];
        for (field, breaks) in broken {
            let mut config = Config::default();
            breaks(&mut config);
            assert_eq!(config.validate().map_err(|e| e.field), Err(field));
        }
    }
}
