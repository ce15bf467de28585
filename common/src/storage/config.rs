//! Limits of the storage.

use serde::{Deserialize, Serialize};

use super::error::StorageError;

/// How storage behaves. The defaults suit a server with a solid-state disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// A log segment is closed when the next entry would make it longer than so many bytes. 4 KiB to 1 GiB. Small ones
    /// give disk space back sooner; each new one costs two syncs.
    pub segment_bytes: u64,
    /// Appended entries are handed to the operating system at the latest when so many bytes wait. 4 KiB to 64 MiB.
    pub write_bytes: usize,
    /// A write that reaches the end of its file takes so many bytes of zeros along, for the records to come: what lies
    /// within a file already is made durable without its metadata, at half the cost. 0 to 64 MiB; 0 writes no zeros.
    pub fill_bytes: u64,
    /// The log keeps about so many bytes of applied entries in memory, see [`LogView`](crate::log::LogView).
    pub cache_bytes: usize,
    /// So many snapshots stay on disk, 1 to 16. With two, a peer that is receiving one is not interrupted by the next.
    pub keep_snapshots: usize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            write_bytes: 1 << 20,
            fill_bytes: 1 << 20,
            cache_bytes: 16 << 20,
            keep_snapshots: 2,
        }
    }
}

impl StorageConfig {
    /// Whether every limit is in its range.
    pub fn validate(&self) -> Result<(), StorageError> {
        let checks = [
            ("segment_bytes", self.segment_bytes, 4 << 10, 1 << 30, "4096 to 1073741824 bytes"),
            ("write_bytes", self.write_bytes as u64, 4 << 10, 64 << 20, "4096 to 67108864 bytes"),
            ("fill_bytes", self.fill_bytes, 0, 64 << 20, "0 to 67108864 bytes"),
            ("keep_snapshots", self.keep_snapshots as u64, 1, 16, "1 to 16"),
        ];
        for (field, value, low, high, allowed) in checks {
            if !(low..=high).contains(&value) {
                return Err(StorageError::Config { field, value, allowed });
            }
        }
        Ok(())
    }
}
