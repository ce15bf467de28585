//! Counters of what a node did since it started. Cheap enough to stay on: one relaxed add each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters, shared by the threads of one node.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub $name: Count),* }

        impl Counters {
            /// Names and values, in a fixed order.
            pub fn list(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($name).to_owned(), self.$name.get())),*]
            }
        }
    };
}

counters! {
    /// Peer messages of the protocol put on the wire, heartbeats included.
    messages_sent,
    /// Peer messages of the protocol received.
    messages_received,
    /// Bytes written to peers, headers and handshakes included.
    peer_bytes_sent,
    /// Bytes read from peers.
    peer_bytes_received,
    /// Writes to peer sockets.
    peer_writes,
    /// Bytes written to clients.
    client_bytes_sent,
    /// Bytes read from clients.
    client_bytes_received,
    /// Requests of clients.
    client_requests,
    /// fdatasync and fsync calls on log segments and the hard-state file.
    fsyncs,
    /// Bytes written to log segments.
    log_bytes,
    /// Entries appended to the log.
    entries_appended,
    /// Entries applied to the state machine.
    entries_applied,
    /// Proposals handed to the core (each a batch of commands).
    batches_proposed,
    /// Commands in them.
    commands_proposed,
    /// Damaged logs that were cut off where they stop being whole, at the start, to be mended from peers.
    logs_mended,
    /// Snapshots of the own state stored.
    snapshots_stored,
    /// Own snapshots found damaged when a peer needed them; a new one was taken each time.
    snapshots_unusable,
    /// Snapshots received and installed.
    snapshots_installed,
    /// Peer sessions dropped because their queue was full.
    queue_overflows,
    /// Peer sessions that this node ended because the peer broke a rule of the protocol, or lost what it had promised.
    peers_sent_away,
    /// Connections refused in the handshake: strangers, old versions, other clusters.
    handshakes_refused,
    /// Connections closed for a bad, damaged or oversized frame.
    bad_frames,
    /// Client requests refused because the node was full.
    requests_shed,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
