//! What a replica holds back, and how much: every queue of it has a limit here.

use serde::{Deserialize, Serialize};

use crate::types::Micros;

/// The limits of one replica. All can be changed by a restart; nodes of one cluster need not agree on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaConfig {
    /// Commands in one proposal, at most. At least 1.
    pub batch_entries: usize,
    /// Payload bytes in one proposal, at most (but at least one command). At least 1.
    pub batch_bytes: usize,
    /// Proposals that are not yet committed, at most. While it is reached, writes gather for the next proposal, which
    /// is what makes batches grow under load. At least 1.
    pub batches_in_flight: usize,
    /// Bytes in one write, envelope included; longer ones are answered `Malformed`.
    pub entry_bytes: usize,
    /// Requests admitted and not answered, at most. Beyond it: `Refused(Busy)`.
    pub pending_requests: usize,
    /// Their bytes together, at most. Beyond it: `Refused(Busy)`.
    pub pending_bytes: usize,
    /// Requests of one client connection admitted and not answered, at most. Beyond it: `Refused(Busy)`.
    pub client_requests: usize,
    /// How long a write or read waits for a leader to be found before it is refused, in microseconds. 0 refuses at once.
    pub hold_us: u64,
    /// How long a node lets the leader alone after it refused, in microseconds. At least 1.
    pub retry_us: u64,
    /// How long a read waits in all before it is refused, in microseconds. At least 1.
    pub read_us: u64,
    /// How many barriers are tried for one read.
    pub read_attempts: u32,
    /// A local read makes its node ask a quorum how fresh its state is, unless it did so within this time, in microseconds. 0:
    /// local reads never make it ask.
    pub fresh_us: u64,
    /// Read barriers not yet answered by the core, at most; further reads gather for the next one. At least 1.
    pub barriers_in_flight: usize,
    /// Bytes of entries handed to the state machine at a time.
    pub apply_piece_bytes: usize,
    /// Bytes of entries handed to the state machine and not yet applied, at most.
    pub apply_window_bytes: usize,
    /// A snapshot is taken after so many entries were applied since the last, ...
    pub snapshot_entries: u64,
    /// ... or so many bytes. Where the last one took more than 4 MiB, also not before the log has grown by as much as that:
    /// so the disk is written at most about twice for each byte, and a start reads at most about two states.
    pub snapshot_bytes: u64,
    /// Entries below a snapshot that stay in the log, so that a slow follower need not be sent the whole state.
    pub tail_entries: u64,
    /// How many bytes of snapshots are read for peers in a second, for all of them together. Beyond it the next piece waits.
    /// 0: as many as disk and peers take, otherwise at least 64 KiB.
    pub snapshot_bytes_per_s: u64,
    /// How long a session may be unused before it is dropped, in microseconds by the leader's clock: what the leader has
    /// here is what counts, so all nodes should have the same. 0 for never, otherwise at least a millisecond.
    pub session_idle_us: u64,
    /// Entries in one answer to a look at the log, at most.
    pub show_entries: usize,
    /// Payload bytes in one answer to a look at the log, at most (but at least one entry).
    pub show_bytes: usize,
}

impl Default for ReplicaConfig {
    fn default() -> Self {
        Self {
            batch_entries: 4096,
            batch_bytes: 1 << 20,
            batches_in_flight: 16,
            entry_bytes: 1 << 20,
            pending_requests: 65_536,
            pending_bytes: 64 << 20,
            client_requests: 16_384,
            hold_us: 1_000_000,
            retry_us: 50_000,
            read_us: 5_000_000,
            read_attempts: 16,
            fresh_us: 50_000,
            barriers_in_flight: 4,
            apply_piece_bytes: 1 << 20,
            apply_window_bytes: 8 << 20,
            snapshot_entries: 100_000,
            snapshot_bytes: 64 << 20,
            tail_entries: 10_000,
            snapshot_bytes_per_s: 64 << 20,
            session_idle_us: 3_600_000_000,
            show_entries: 1000,
            show_bytes: 256 << 10,
        }
    }
}

/// A value of [`ReplicaConfig`] that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value}: must be {allowed}")]
pub struct ConfigError {
    /// Which.
    pub field: &'static str,
    /// What it is.
    pub value: u64,
    /// What it may be.
    pub allowed: &'static str,
}

impl ReplicaConfig {
    /// Whether every limit lets at least one thing through.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const ONE: &str = "at least 1";
        let at_least_one = [
            ("batch_entries", self.batch_entries as u64),
            ("batch_bytes", self.batch_bytes as u64),
            ("batches_in_flight", self.batches_in_flight as u64),
            ("entry_bytes", self.entry_bytes as u64),
            ("pending_requests", self.pending_requests as u64),
            ("pending_bytes", self.pending_bytes as u64),
            ("client_requests", self.client_requests as u64),
            ("retry_us", self.retry_us),
            ("read_us", self.read_us),
            ("read_attempts", u64::from(self.read_attempts)),
            ("barriers_in_flight", self.barriers_in_flight as u64),
            ("apply_piece_bytes", self.apply_piece_bytes as u64),
            ("apply_window_bytes", self.apply_window_bytes as u64),
            ("snapshot_entries", self.snapshot_entries),
            ("snapshot_bytes", self.snapshot_bytes),
            ("show_entries", self.show_entries as u64),
        ];
        if let Some((field, value)) = at_least_one.into_iter().find(|(_, v)| *v == 0) {
            return Err(ConfigError { field, value, allowed: ONE });
        }
        if (1..1000).contains(&self.session_idle_us) {
            let value = self.session_idle_us;
            return Err(ConfigError { field: "session_idle_us", value, allowed: "0 or at least 1000" });
        }
        if (1..64 << 10).contains(&self.snapshot_bytes_per_s) {
            let value = self.snapshot_bytes_per_s;
            return Err(ConfigError { field: "snapshot_bytes_per_s", value, allowed: "0 or at least 65536" });
        }
        // A batch travels in one frame of a peer session, and an entry in the header of an answer to a look at the log.
        if self.batch_bytes > 16 << 20 {
            return Err(ConfigError {
                field: "batch_bytes",
                value: self.batch_bytes as u64,
                allowed: "at most 16777216",
            });
        }
        if self.entry_bytes > 2 << 20 {
            return Err(ConfigError {
                field: "entry_bytes",
                value: self.entry_bytes as u64,
                allowed: "at most 2097152",
            });
        }
        Ok(())
    }

    pub(super) fn hold(&self) -> Micros {
        Micros(self.hold_us)
    }

    pub(super) fn retry(&self) -> Micros {
        Micros(self.retry_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_its_value_and_what_it_may_be() {
        type Break = fn(&mut ReplicaConfig);
        let broken: [(&str, Break); 5] = [
            ("batch_entries = 0: must be at least 1", |c| c.batch_entries = 0),
            ("session_idle_us = 999: must be 0 or at least 1000", |c| c.session_idle_us = 999),
            ("snapshot_bytes_per_s = 65535: must be 0 or at least 65536", |c| c.snapshot_bytes_per_s = 65_535),
            ("batch_bytes = 16777217: must be at most 16777216", |c| c.batch_bytes = (16 << 20) + 1),
            ("entry_bytes = 2097153: must be at most 2097152", |c| c.entry_bytes = (2 << 20) + 1),
        ];
        assert_eq!(ReplicaConfig::default().validate(), Ok(()));
        for (text, breaks) in broken {
            let mut config = ReplicaConfig::default();
            breaks(&mut config);
            assert_eq!(config.validate().unwrap_err().to_string(), text);
        }
    }
}
