//! The bugs seeded in this crate: storage (`D`), transport (`N`), and what a replica does for clients (`C`).
//! Those of the protocols are listed beside the protocols.

use super::Mutant;

/// A bug that somebody really had.
const fn real(name: &'static str, what: &'static str, source: &'static str, oracle: &'static str) -> Mutant {
    Mutant { name, what, source, real: true, oracle }
}

/// A rule broken.
const fn rule(name: &'static str, what: &'static str, source: &'static str, oracle: &'static str) -> Mutant {
    Mutant { name, what, source, real: false, oracle }
}

/// All of them, by name.
pub static LIST: &[Mutant] = &[
    real(
        "C01",
        "a write is answered when it is appended",
        "nats-server#7564 (acknowledged before it is safe)",
        "C-ACK",
    ),
    rule("C02", "a write is answered when it is committed, with an answer made up", "Raft, section 5.3", "C-LIN"),
    rule("C03", "a leader that lost its office says that its proposals were refused", "Raft, section 8", "C-LIN"),
    rule("C04", "a forwarded write whose answer cannot come is said to be refused", "Raft, section 8", "C-LIN"),
    real("C05", "a linearizable read asks for no barrier", "etcd#741", "C-LIN"),
    real("C06", "a read joins a barrier that began before it came", "etcd#20418", "C-LIN"),
    real(
        "C07",
        "a read is answered before the entries below its barrier are applied",
        "etcd#16666, ZOOKEEPER-3023",
        "C-LIN",
    ),
    rule("C08", "a local read ignores what its client has seen", "Terry et al., PDIS 1994: monotonic reads", "C-SEQ"),
    real("C09", "a write sent twice is carried out twice", "etcd#18424", "C-ONCE"),
    real("C10", "the session table is missing from snapshots", "curvine#676 (forgotten by the next leader)", "C-STATE"),
    rule("C11", "a number below a session's floor is carried out", "Ongaro's dissertation, section 6.3", "C-ONCE"),
    rule(
        "C12",
        "a repeated write gets another answer than the first time",
        "Ongaro's dissertation, section 6.3",
        "C-ONCE",
    ),
    real("C13", "what a snapshot does not hold survives its loading", "jgroups-raft#301", "C-STATE"),
    rule(
        "C14",
        "a read's answer does not say how much it has seen",
        "Terry et al., PDIS 1994: monotonic reads",
        "C-SEQ",
    ),
    rule("C15", "a key expected to be absent may be there", "the store's specification", "C-LIN"),
    rule("C16", "a store loaded from a snapshot has other limits than its peers'", "Schneider, CSUR 1990", "C-STATE"),
    rule("C17", "what was ready leaves after the halt", "Rebello et al., USENIX ATC 2020", "C-HALT"),
    rule("C18", "an answer is sent twice", "the client protocol", "C-ANS"),
    rule("C19", "a forwarded command has another last byte", "the relay's frames", "C-INT"),
    rule("C20", "what was applied still fills the window to the state machine", "bounded queues give back", "C-RES"),
    rule("C21", "a request whose client has left counts as pending for ever", "bounded queues give back", "C-RES"),
    rule("C22", "requests are admitted beyond the limit", "bounded queues", "C-RES"),
    rule(
        "C23",
        "a leader that lost its office answers its writes by what is applied at their indexes",
        "Ongaro's dissertation, section 6.3",
        "C-DUR",
    ),
    rule("C24", "now and then a put is answered when it is appended", "Raft, section 5.3", "C-ACK"),
    rule("C25", "a repetition is not told its answer", "Ongaro's dissertation, section 6.3", "L2"),
    real("C26", "after a start, the first entry behind the snapshot is left out", "etcd#13766", "C-PREFIX"),
    rule("C40", "a node drops idle sessions by its own clock", "Schneider, CSUR 1990", "C-STATE"),
    rule("C41", "sessions that were just used are dropped", "Ongaro's dissertation, section 6.3", "C-ONCE"),
    rule("C42", "a client may say which sessions are dropped", "the client protocol", "C-ANS"),
    rule("C43", "idle sessions are never dropped", "what was held is given back", "C-RES"),
    rule(
        "C44",
        "a local read's age counts from when its node heard that it is fresh",
        "Terry et al., SOSP 2013: bounded staleness",
        "C-STALE",
    ),
    rule(
        "C45",
        "a local read counts as fresh before what was confirmed is applied",
        "Terry et al., SOSP 2013: bounded staleness",
        "C-STALE",
    ),
    rule("C46", "snapshots leave as fast as they can", "nothing holds more than its limits", "C-RES"),
    rule(
        "C47",
        "groups of voters are ignored, and weights count across them",
        "ZooKeeper's QuorumHierarchical",
        "Z-DUR",
    ),
    rule(
        "C48",
        "while a membership is joint, heads are counted instead of weights",
        "ZooKeeper's QuorumHierarchical",
        "Z-DUR",
    ),
    real(
        "C49",
        "a snapshot is labelled with what is committed when it is stored, not with what it holds",
        "ZOOKEEPER-3104, 3589",
        "C-RECOV",
    ),
    rule("C50", "who counts by members that nobody may have committed calls those only", "Raft thesis, 4.1", "L3"),
    real("D01", "the log is not synced", "nats-server#7564", "C-VOW"),
    real("D02", "directories are not synced", "etcd#6368", "C-VOW"),
    rule("D03", "the hard state is renamed before it is synced", "Pillai et al., OSDI 2014", "C-RECOV"),
    rule("D04", "a record's checksum is not checked", "Ganesan et al., FAST 2017", "C-RECOV"),
    real("D05", "damage within the log is taken for a torn end", "nats-server#7549", "C-RECOV"),
    real("D06", "a failed sync is tried again", "WiredTiger WT-4045", "C-VOW"),
    rule("D07", "a short write counts as whole", "write(2)", "C-VOW"),
    real("D08", "entries that were cut off come back at the next start", "pebble#567", "C-RECOV"),
    rule("D09", "the hard state's checksum is not checked", "Alagappan et al., FAST 2018", "C-RECOV"),
    real("D10", "a node whose log cannot be read starts with an empty one", "NuRaft#185", "C-RECOV"),
    real("D11", "a full disk is ignored", "RaftKeeper#287", "C-VOW"),
    rule("D12", "the hard state is written in place", "Pillai et al., OSDI 2014", "C-RECOV"),
    real("D13", "the hard state is saved before the entries in front of it", "etcd#10219", "C-RECOV"),
    rule("D14", "entries are written behind a cut that is not durable", "Raft, figure 2: stable storage", "C-VOW"),
    real("D15", "a snapshot has its name before its bytes are synced", "consul#3362, ZOOKEEPER-3642", "C-RECOV"),
    real("D16", "the log is cut before the snapshot is durable", "ClickHouse#111339", "C-RECOV"),
    real("D17", "a snapshot's checksum is not checked", "atomix#1038", "C-STATE"),
    rule(
        "D18",
        "of several hard states saved in one batch, the first is written",
        "Raft, figure 2: stable storage",
        "C-VOW",
    ),
    real("D19", "recovery keeps a log that contradicts the snapshot", "openraft#559", "C-RECOV"),
    rule("D20", "entries read back from the disk are off by one", "Raft, section 5.3: Log Matching", "C-PREFIX"),
    rule("D21", "what was read at the start counts as durable", "Rebello et al., USENIX ATC 2020", "C-VOW"),
    real("D22", "a full segment is left before it is synced", "braft#254", "C-VOW"),
    real("D23", "after an error of the disk, work on the log goes on", "RaftKeeper#321, ZOOKEEPER-4882", "C-VOW"),
    real("D24", "a segment is removed which still has needed entries", "ZOOKEEPER-2420", "C-RECOV"),
    real("D25", "a segment that a crash left unfinished is taken for damage", "ZOOKEEPER-2332", "C-RECOV"),
    rule("D26", "a snapshot that has rotted is sent all the same", "Ganesan et al., FAST 2017", "L1"),
    rule("D27", "who belongs to the cluster is not in the snapshot", "Raft, section 7", "R-CONF"),
    rule("D28", "a damaged log is cut before the hard state says so", "Alagappan et al., FAST 2018", "C-RECOV"),
    rule("N01", "the checksum of a frame's length is not checked", "the frame's format", "L3"),
    rule("N02", "a frame's checksum is not checked", "Stone and Partridge, SIGCOMM 2000", "C-PREFIX"),
    rule("N03", "what is said in one turn leaves in the other order", "Zab, section 2.2: FIFO channels", "C-NBT"),
    rule(
        "N04",
        "answers to forwarded writes are known by a number, whatever the session",
        "the relay's tokens",
        "C-DUR",
    ),
    real("N05", "a request that cannot be read ends the process", "ZOOKEEPER-2186", "C-PANIC"),
    rule("N06", "a caller of another cluster is taken for a peer", "the handshake", "C-PEER"),
    rule("N07", "a frame may have any length", "limits come before memory", "C-RES"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::sources::named_in_sources;

    #[test]
    fn the_list_is_what_the_sources_ask_for() {
        let names: Vec<&str> = LIST.iter().map(|m| m.name).collect();
        let asked = named_in_sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src"), "mutant!(\"");
        assert_eq!(names, asked);
    }
}
