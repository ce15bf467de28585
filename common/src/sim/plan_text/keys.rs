//! The numbers of a plan's shape: their names in a file, their ranges, and what a shrinker would rather see there.

use super::numbers::{Unit, span_us};
use super::{MAX_SPAN, PlanError};
use crate::sim::plan::Shape;

/// The words of the line `mix`, in the order of [`LoadShape::mix`](crate::sim::plan::LoadShape::mix).
pub(super) const MIX: [&str; 5] = ["put", "delete", "cas", "read", "local"];

/// One number of the shape.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in a file.
    pub name: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// The least that is allowed.
    pub low: u64,
    /// The most that is allowed.
    pub high: u64,
    /// Its value in a cluster that nothing is remarkable about. A shrinker tries it first.
    pub plain: u64,
    /// Whether less of it makes a failure easier to read, down to `low`.
    pub less: bool,
    /// Reads it.
    pub get: fn(&Shape) -> u64,
    /// Sets it.
    pub set: fn(&mut Shape, u64),
}

impl Key {
    /// Whether the value is in range.
    pub fn check(&self, value: u64) -> Result<(), PlanError> {
        if (self.low..=self.high).contains(&value) {
            return Ok(());
        }
        Err(PlanError::new(self.name, self.unit.text(value), self.allowed()))
    }

    /// Reads it as it stands in a file.
    pub(super) fn read(&self, text: &str) -> Result<u64, PlanError> {
        let value = self.unit.read(text).ok_or_else(|| {
            PlanError::new(self.name, format!("`{text}`"), format!("{}, {}", self.unit.says(), self.allowed()))
        })?;
        self.check(value).map(|()| value)
    }

    fn allowed(&self) -> String {
        format!("from {} to {}", self.unit.text(self.low), self.unit.text(self.high))
    }
}

macro_rules! key {
    ($name:literal, $unit:ident, $low:expr, $high:expr, $plain:expr, $less:literal, $($path:tt)+) => {
        Key {
            name: $name,
            unit: Unit::$unit,
            low: $low,
            high: $high,
            plain: $plain,
            less: $less,
            get: |s| u64::from(s.$($path)+),
            #[allow(clippy::unnecessary_cast, reason = "one of them is a u8")]
            set: |s, v| s.$($path)+ = v as _,
        }
    };
}

const DAY: u64 = MAX_SPAN.0;
const GIB: u64 = 1 << 30;

/// All of them, in the order of a file.
pub const KEYS: [Key; 29] = [
    key!("voters", Count, 1, 7, 3, true, voters),
    key!("observers", Count, 0, 4, 0, true, observers),
    key!("span", Span, 0, DAY, span_us(60), true, span.0),
    key!("election-timeout", Span, 2000, span_us(3600), span_us(1), false, timing.election_timeout.0),
    key!("heartbeat", Span, 1000, span_us(1800), 100_000, false, timing.heartbeat.0),
    key!("clock-drift", PerMille, 0, 500, 0, false, timing.drift),
    key!("protocol-limits", Count, 0, u64::MAX, 0, false, timing.limits),
    key!("net-delay", Span, 0, span_us(10), 200, false, net.delay_us),
    key!("net-jitter", Span, 0, span_us(10), 0, false, net.jitter_us),
    key!("net-silence", Span, 8000, span_us(3600), span_us(2), false, net.silence_us),
    key!("net-window", Bytes, 1 << 10, GIB, 1 << 20, false, net.window_bytes),
    key!("net-queue", Bytes, 1 << 10, GIB, 64 << 20, false, net.queue_bytes),
    key!("net-redial", Span, 1000, span_us(60), 50_000, false, net.redial_us),
    key!("disk-sync", Span, 0, span_us(10), 500, false, machine.sync_us),
    key!("disk-write", Span, 0, span_us(10), 20, false, machine.write_us),
    key!("turn", Span, 0, span_us(1), 0, false, machine.turn_us),
    key!("apply", Span, 0, span_us(10), 20, false, machine.apply_us),
    key!("segment", Bytes, 4 << 10, GIB, 1 << 20, false, machine.segment_bytes),
    key!("snapshot-every", Count, 1, u64::MAX, 10_000, false, machine.snapshot_entries),
    key!("tail", Count, 0, u64::MAX, 1000, false, machine.tail_entries),
    key!("cache", Bytes, 0, GIB, 1 << 20, false, machine.cache_bytes),
    key!("replica-limits", Count, 0, u64::MAX, 0, false, machine.limits),
    key!("clients", Count, 1, 64, 1, true, load.clients),
    key!("ops-per-second", Count, 1, 100_000, 50, true, load.per_second),
    key!("keys", Count, 1, 1 << 20, 1, true, load.keys),
    key!("value", Bytes, 16, 1 << 20, 16, true, load.value_bytes),
    key!("client-retry", Span, 1000, span_us(3600), span_us(2), false, load.retry_us),
    key!("sent-twice", Percent, 0, 100, 0, false, load.duplicates),
    key!("session-limits", Count, 0, u64::MAX, 0, false, load.limits),
];
