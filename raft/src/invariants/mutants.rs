//! The bugs that were seeded in this crate, to test whoever looks for them. See [`common::mutant`].
//!
//! Each stands as `mutant!("R09")` at the place of the rule it breaks. `oracle` is the one that must catch it: a rule of
//! the table in [`invariants`](super), or one that the simulator asks of both protocols (`C-…`, and `L…` for liveness).
//! Left out: bugs of joint consensus, which is not there to be broken, and bugs that sessions keep away (a reply that is
//! overtaken by an earlier one, say).

use common::mutant::Mutant;

const fn real(name: &'static str, oracle: &'static str, source: &'static str, what: &'static str) -> Mutant {
    Mutant { name, what, source, real: true, oracle }
}

const fn rule(name: &'static str, oracle: &'static str, source: &'static str, what: &'static str) -> Mutant {
    Mutant { name, what, source, real: false, oracle }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    // Elections.
    real("R01", "C-VOW", "PySyncObj#202", "a vote is told before it is durable"),
    real("R02", "R-ES", "xraft#27", "a voter that answers twice is counted twice"),
    real("R04", "R-LC", "noraft#22", "a longer log wins a vote, whatever its last term"),
    real("R19", "R-MONO", "WRaft (SandTable, EuroSys 2024)", "a restarted node takes its term from the log"),
    real("R20", "R-ES", "camunda#5356", "a node votes twice in one term"),
    real("R23", "R-ES", "little-raft#44", "a vote of an earlier term is counted"),
    real("R26", "R-ES", "jgroups-raft#24", "a restarted node has forgotten its vote"),
    real("R27", "R-ES", "hashicorp/raft#483", "a learner stands for election"),
    real("R29", "R-ES", "canonical/raft#196", "a late answer to a pre-vote is counted as a vote"),
    real("R32", "C-VOW", "nebula#3415", "a candidate asks for votes before its own is durable"),
    real("R33", "C-NBT", "lightraft#10", "a leader of an earlier term is followed"),
    real("R41", "L3", "etcd#8501", "a leader is not told that its term is over"),
    rule("R44", "C-VOW", "Raft 5.2", "the answer to an earlier save is taken for the latest one's"),
    rule("R45", "L4", "Raft thesis 6.2", "only who acknowledges something new counts as alive"),
    // Replication.
    real("R05", "C-NBT", "raftos#26", "entries that match are cut when they come again"),
    rule("R06", "R-DUR", "Raft fig. 2 matchIndex", "any acknowledgement counts for all that was sent"),
    real("R07", "R-IDX", "raft-rs#555", "a new probe begins below what was acknowledged"),
    real(
        "R09",
        "C-VOW",
        "NATS 2.12.1 (Jepsen, 2025)",
        "a follower takes entries for durable when its disk was given them",
    ),
    real("R15", "C-NBT", "RATIS-1707", "the entry before the log, at a snapshot's end, is not known"),
    real("R21", "L1", "yugabyte-db#32876", "a refused probe is sent again unchanged"),
    real("R28", "R-ORD", "ra#637", "what is cut still counts as durable"),
    rule("R31", "C-VOW", "Raft 5.1", "a leader is answered before its term is durable"),
    real("R34", "R-LM", "lightraft#10", "the consistency check looks at the index alone"),
    real("R35", "R-LM", "c5#43", "a heartbeat is not checked for consistency"),
    real("R37", "R-DUR", "RavenDB-13612", "a follower acknowledges its last entry, wherever it is from"),
    real("R38", "L3", "TemporalStore#114", "what was in flight when a session ended stays in the window"),
    real("R42", "R-LM", "camunda#5360", "a deposed leader appends in its successor's term"),
    rule("R43", "R-LAO", "Raft fig. 3", "a leader cuts its own log to make room"),
    // Commitment.
    real("R03", "R-CT", "logcabin#44", "an entry of an earlier term is committed by counting"),
    real("R08", "R-SMS", "scylladb#9965", "a follower commits beyond what was verified"),
    real("R10", "C-MONO", "PySyncObj#166", "commitIndex goes back"),
    real("R18", "R-DUR", "camunda#58080", "learners are counted for commits"),
    real("R25", "L1", "raftos#30", "commitment stops at an entry of an earlier term"),
    real("R30", "R-ORD", "etcd#10199", "bytes that were committed still count as uncommitted"),
    real("R36", "R-DUR", "etcd#14370", "the leader counts itself before its disk has the entry"),
    // Reads.
    real("R11", "C-LIN", "etcd#20418", "a read joins a confirming round that began before it"),
    real("R12", "C-LIN", "redisraft#19", "a leader serves reads without confirming that it leads"),
    real("R13", "R-RD", "etcd#7331", "a read index from before the leader's first commit"),
    // Leadership transfer.
    rule("R59", "R-XFER", "Raft thesis 3.10", "TimeoutNow is obeyed whatever its term and whoever says it"),
    real("R60", "R-XFER", "hashicorp/raft#581", "a leader takes proposals while it hands its office over"),
    real("R47", "L2", "openraft#2088", "a transfer is never given up"),
    real("R48", "L5", "RedisLabs/raft#88", "a voter that hears the leader ignores whom the leader wants"),
    rule("R49", "R-XFER", "Raft thesis 3.10, 4.2.1", "leadership is handed to a learner"),
    real("R50", "R-XFER", "redpanda#2606", "TimeoutNow is sent before the target is level"),
    // Priorities and leases.
    real("R51", "L1", "sofa-jraft#993", "a node of low priority never stands for election"),
    real("R53", "C-LIN", "raft-rs#234", "when a transfer is given up, the lease is taken up again"),
    real("R54", "C-LIN", "tikv#1593", "the lease goes on while leadership is handed over"),
    rule("R55", "C-LIN", "Raft thesis 6.4.1", "a lease is longer than what followers promise"),
    rule("R56", "C-LIN", "Raft thesis 6.4.1", "a lease counts from the answers, not from the question"),
    rule("R57", "C-LIN", "Raft thesis 6.4.1", "a restarted follower has forgotten what it promised"),
    rule("R58", "C-LIN", "Raft thesis 6.4", "a lease serves reads before the first commit of its term"),
    // Members.
    real("R63", "R-CONF", "camunda#57393", "a membership that was cut off the log stays in force"),
    real("R64", "R-CONF", "raft-dev, July 2015", "members are changed before an entry of the own term is committed"),
    rule("R65", "R-CONF", "Raft thesis 4.1", "members are changed while the last change is not committed"),
    rule("R66", "R-DUR", "Raft 6", "while it is joint, the new voters alone commit"),
    rule("R67", "R-ES", "Raft 6", "while it is joint, the new voters alone elect"),
    real("R69", "R-CONF", "camunda#60086", "a new leader leaves a joint membership before it is committed"),
    rule("R70", "R-DUR", "Raft 6; thesis 4.2.2", "a leader that is being removed counts itself"),
    rule("R71", "R-ES", "Raft 6; thesis 4.2.2", "a leader that was removed leads on"),
    real("R72", "L7", "camunda#57386", "a joint membership that another leader entered is never left"),
    rule("R73", "L1", "Raft thesis 4.2.2", "who is being removed does not stand, though nobody else could win"),
    real("R74", "L1", "etcd#10998", "a learner does not vote, though it was promoted and does not know"),
    rule("R75", "R-CONF", "Raft 6", "several voters change at once, without a joint membership"),
    real("R76", "R-CONF", "openraft#1808", "a membership stays in force that a snapshot took the place of"),
    rule("R77", "R-XFER", "Raft thesis 3.10", "a joint membership is left while leadership is handed over"),
    // Stalled disks.
    rule("R80", "L6", "CockroachDB's disk stall detector", "a leader whose disk has stalled keeps its office"),
    rule("R81", "R-STALL", "CockroachDB's disk stall detector", "a node whose disk has stalled stands for election"),
    // Mending.
    real("R90", "R-MEND", "NuRaft#185", "a node votes by what damage has left of its log"),
    rule("R91", "R-MEND", "Alagappan et al., FAST 2018", "that entries were lost is forgotten in the next term"),
    rule("R92", "R-MEND", "Raft 5.4.3", "a node that lost entries stays in the term in which it acknowledged them"),
    rule(
        "R93",
        "R-MEND",
        "Raft 5.4.2",
        "a node counts as healed when it has all that it knows to be committed, of whatever term",
    ),
    rule(
        "R94",
        "R-MEND",
        "Alagappan et al., FAST 2018",
        "a node stands for election with what damage has left of its log",
    ),
    rule("R95", "R-MEND", "Raft 5.1", "a node counts as healed before its disk has what is committed"),
    rule("R96", "R-MEND", "Alagappan et al., FAST 2018", "that entries were lost is forgotten in a restart"),
    // Snapshots.
    real("R14", "R-ORD", "hashicorp/raft#704", "a snapshot that conflicts with the log leaves the log there"),
    rule("R40", "C-VOW", "Raft 7", "a snapshot is acknowledged when its last piece arrives"),
    rule("R46", "L3", "was here once", "a snapshot that the log was cut above is read and passed over for ever"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_list_is_what_the_sources_have() {
        let mut found = BTreeSet::new();
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("the sources are here")
        {
            let path = file.expect("an entry").path();
            let Ok(text) = std::fs::read_to_string(path) else { continue };
            found.extend(text.split("mutant!(\"").skip(1).map(|rest| rest[..3].to_owned()));
        }
        let listed: BTreeSet<String> = MUTANTS.iter().map(|m| m.name.to_owned()).collect();
        assert_eq!(listed.len(), MUTANTS.len(), "a name is given twice");
        assert_eq!(listed, found, "what is listed (left) and what the sources have (right)");
    }
}
