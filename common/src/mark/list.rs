//! The marks of this crate.

/// Every mark that the code of this crate can hit, ascending.
pub static LIST: &[&str] = &[
    "common/node/applying#flush_committed.window",
    "common/node/forward#abandon_forwards.unknown",
    "common/node/forward#forward_answered.late",
    "common/node/forward#forward_write",
    "common/node/forward#relay_frame.not_leading",
    "common/node/proposals#abandon_proposals.unknown",
    "common/node/proposals#flush_writes.expired",
    "common/node/proposals#flush_writes.left",
    "common/node/proposals#propose.not_leading",
    "common/node/proposals#propose.refused",
    "common/node/proposals#write_returned",
    "common/node/reads#expire_reads.late",
    "common/node/reads#flush_reads.full",
    "common/node/reads#flush_reads.shared",
    "common/node/reads#read.waits",
    "common/node/reads#read_failed.again",
    "common/node/reads#read_failed.refused",
    "common/node/reads#read_ready.waits",
    "common/node/replica#log_event.cut",
    "common/node/requests#admit.busy",
    "common/node/requests#client_frame.unreadable",
    "common/node/requests#reply.left",
    "common/node/requests#reply.old_session",
    "common/node/snapshots#frozen.overtaken",
    "common/node/snapshots#received.keep_tail",
    "common/node/snapshots#received.reset",
    "common/node/snapshots#restored",
    "common/node/snapshots#stored",
    "common/state_machine/sessions#evict",
    "common/state_machine/sessions#write.again",
    "common/state_machine/sessions#write.below_floor",
    "common/state_machine/sessions#write.forgotten",
    "common/state_machine/sessions#write.no_session",
    "common/storage/fs#write_all_at.short",
    "common/storage/hard#open.unfinished",
    "common/storage/snapshot#drop_received",
    "common/storage/snapshot#finish",
    "common/storage/snapshot#finish.refused",
    "common/storage/snapshot#newest_valid.damaged",
    "common/storage/snapshot#open.unfinished",
    "common/storage/snapshot#piece.gone",
    "common/storage/snapshot#piece.unusable",
    "common/storage/snapshot#piece.unusable_old",
    "common/storage/snapshot#publish.remove",
    "common/storage/wal#compact.segment",
    "common/storage/wal#reset",
    "common/storage/wal#roll",
    "common/storage/wal#truncate",
    "common/storage/wal#truncate.segment",
    "common/storage/wal/read#fetch",
    "common/storage/wal/read#fetch.gone",
    "common/storage/wal/recovery#find_segments.before_reset",
    "common/storage/wal/recovery#find_segments.unfinished",
    "common/storage/wal/recovery#find_segments.void",
    "common/storage/wal/recovery#open.reset",
    "common/storage/wal/recovery#open.snapshot_inside",
    "common/storage/wal/recovery#read.cut",
    "common/storage/wal/recovery#read.empty",
    "common/storage/wal/recovery#read.torn",
    "common/storage/wal/torn#judge.changed",
    "common/storage/wal/torn#judge.damage",
    "common/storage/wal/torn#judge.hole",
    "common/storage/worker#log.failed",
    "common/storage/worker#snapshot.failed",
    "common/transport/frame#cut.checksum",
    "common/transport/frame#cut.length",
    "common/transport/frame#cut.too_large",
];

#[cfg(test)]
mod tests {
    use super::super::sources::named_in_sources;

    #[test]
    fn the_list_is_what_the_sources_hit() {
        let hit = named_in_sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src"), "mark!(\"");
        assert_eq!(super::LIST, hit);
    }
}
