//! The bugs that can be seeded in this crate. Each is in the shipped code at the place of the rule it breaks, and is
//! compiled with the feature `mutants` only. While one is on, nodes do not look at themselves
//! (see the module above): what is tried is whether the oracles find it.

use common::mutant::Mutant;

/// One that somebody really had.
const fn real(name: &'static str, what: &'static str, source: &'static str, oracle: &'static str) -> Mutant {
    Mutant { name, what, source, real: true, oracle }
}

/// A rule of the protocol left out.
const fn rule(name: &'static str, what: &'static str, source: &'static str, oracle: &'static str) -> Mutant {
    Mutant { name, what, source, real: false, oracle }
}

/// Every seeded bug.
pub const MUTANTS: &[Mutant] = &[
    rule(
        "Z01",
        "PROPOSAL goes to those who acknowledged NEWLEADER, not to all who were sent it",
        "Zab.tla, issue 1",
        "Z-PFX",
    ),
    rule("Z02", "UPTODATE commits all that the follower was sent", "Zab.tla, issue 3", "Z-DUR"),
    real("Z03", "currentEpoch is saved before the history has come", "ZOOKEEPER-4643", "Z-EPOCH"),
    real("Z04", "NEWLEADER is acknowledged before anything is durable", "ZOOKEEPER-4646, 3911", "C-VOW"),
    real("Z05", "what is synchronised is acknowledged like a proposal, before NEWLEADER", "ZOOKEEPER-4685", "C-NBT"),
    real("Z06", "a COMMIT between NEWLEADER and UPTODATE does not find its proposal", "ZOOKEEPER-4394", "C-NBT"),
    real("Z07", "a node votes while its log writer is still at work for an earlier role", "ZOOKEEPER-4712", "C-VOW"),
    real("Z08", "history that is on disk only is left out of a synchronisation", "ZOOKEEPER-2418, 4925", "Z-EPOCH"),
    real("Z09", "what is in the log at a start is taken to be committed", "ZOOKEEPER-2845", "Z-AGR"),
    real("Z10", "histories are compared by zxid before epoch", "ZOOKEEPER-335, 1081", "Z-PI"),
    rule("Z11", "acceptedEpoch is promised and not saved", "Zab 1.0, discovery step 2 (R2)", "C-VOW"),
    real("Z12", "TRUNC leaves one entry too many", "ZOOKEEPER-1156", "Z-PFX"),
    rule(
        "Z13",
        "broadcast begins with a quorum of ACKEPOCH, without one of NEWLEADER",
        "Zab 1.0, synchronisation step 3 (R6)",
        "Z-INIT",
    ),
    real("Z14", "the counter runs on past the last one of its epoch", "ZOOKEEPER-1277", "Z-ZXID"),
    rule("Z15", "a leader goes on without a quorum", "Zab 1.0, broadcast step 4", "L1"),
    real(
        "Z16",
        "a node takes the best vote it heard even if its own is better",
        "SandTable, ZooKeeper vote circle",
        "C-VOW",
    ),
    real("Z17", "currentEpoch is saved at UPTODATE only", "ZOOKEEPER-1282", "C-VOW"),
    real("Z18", "LEADERINFO leaves before the leader's acceptedEpoch is durable", "ZOOKEEPER-1291", "C-VOW"),
    rule("Z19", "histories are not compared: the greatest id leads", "Zab 1.0, phase 0 and discovery step 3", "Z-PI"),
    real("Z20", "TRUNC is carried out in memory and not on disk", "ZOOKEEPER-3701, 5094", "Z-PFX"),
    real(
        "Z21",
        "a zxid between the ends of the log is taken to be in it: DIFF instead of TRUNC",
        "ZOOKEEPER-1154",
        "Z-PFX",
    ),
    real("Z22", "observers are counted for NEWLEADER", "ZOOKEEPER-2959", "Z-INIT"),
    real("Z23", "proposals in flight when a follower becomes level are not sent to it", "ZOOKEEPER-962, 1319", "Z-PFX"),
    real("Z24", "an observer drops INFORM between NEWLEADER and UPTODATE", "ZOOKEEPER-1551", "C-NBT"),
    real("Z25", "INFORM is not sent to an observer that has not acknowledged NEWLEADER", "ZOOKEEPER-5088", "Z-NBT"),
    real("Z26", "SYNC is answered by a leader that may not be one any more", "ZOOKEEPER-1675", "C-LIN"),
    real(
        "Z27",
        "a node refuses to start when its log is of a later epoch than currentEpoch",
        "ZOOKEEPER-1653, 2354, 4269",
        "C-HALT",
    ),
    real("Z28", "settled followers go on naming the old epoch of their leader", "ZOOKEEPER-1732, 1805", "L3"),
    real(
        "Z29",
        "what lies before the log's start is left out instead of sent as a snapshot",
        "ZOOKEEPER-2846",
        "C-NBT",
    ),
    real(
        "Z30",
        "a node without a leader that is asked to read puts an entry of its own in the log",
        "ZOOKEEPER-3526",
        "Z-INT",
    ),
    rule("Z31", "a proposal is acknowledged before it is durable", "Zab 1.0, broadcast step 2 (R7)", "C-VOW"),
    rule("Z32", "a leader counts its own disk before it has the proposal", "Zab 1.0, broadcast step 3 (R8)", "Z-DUR"),
    rule("Z33", "a leader counts itself before its currentEpoch is durable", "Zab 1.0, synchronisation (R6)", "Z-INIT"),
    rule("Z34", "a follower's queue grows without an end", "LearnerHandler's unbounded queue", "C-RES"),
    rule(
        "Z35",
        "a leader ignores that a follower has promised a later epoch, which then refuses it for ever",
        "Learner.registerWithLeader",
        "L3",
    ),
    rule("Z36", "an epoch's counters begin at 2", "local primary order", "Z-LPO"),
    rule(
        "Z37",
        "a new epoch may be one that its leader promised to somebody else",
        "Zab 1.0, discovery step 1",
        "Z-LEAD",
    ),
    rule("Z38", "a follower takes its own commit point for the leader's", "ZooKeeper reads without sync", "C-LIN"),
    real("Z40", "a byte of each proposal counts as uncommitted for ever", "etcd#10199", "Z-NBT"),
    rule("Z41", "a leader begins to broadcast before it has delivered its initial history", "Zab 1.0, R6", "Z-PI"),
    rule("Z42", "a leader that gives up puts an entry of its own in its log", "integrity", "Z-INT"),
    rule("Z43", "a node that looks for a leader forgets its epoch", "monotonic epochs", "C-MONO"),
    rule("Z44", "what a leader said as a follower is taken for what it says as a leader", "was here once", "C-NBT"),
    rule("Z45", "a membership whose entry was cut off stays in force", "Raft thesis, 4.1", "Z-CONF"),
    rule("Z46", "nobody votes for somebody it does not know", "Raft thesis, 4.2.1", "L1"),
    rule("Z47", "a leader is believed only with a quorum of voters that one knows", "ZOOKEEPER-2014's joiners", "L3"),
    rule("Z48", "a learner goes by its own log in what it is", "ZooKeeper reconfig", "C-VOW"),
    rule("Z50", "a change is begun while another is under way", "PrepRequestProcessor's reconfig", "Z-CONF"),
    rule("Z51", "the new voters alone are enough from the proposal on", "Shraer et al., ATC 2012, section 3", "Z-CONF"),
    rule("Z52", "what is in flight is not sent to an observer that becomes a voter", "ZOOKEEPER-962", "C-NBT"),
    rule("Z53", "only the leader that began a change completes it", "ZOOKEEPER-1324", "L7"),
    rule("Z54", "a leader that was removed leads on", "ZooKeeper reconfig", "Z-NBT"),
    rule("Z55", "leadership is handed to one that does not have everything", "Raft thesis, 3.10", "Z-LEAD"),
    rule("Z57", "who is mending votes", "Alagappan et al., FAST 2018", "Z-MEND"),
    rule("Z59", "who is mending forgets it with the next start", "Alagappan et al., FAST 2018", "Z-MEND"),
    rule("Z60", "who is mending counts as healed when it is sent history", "Alagappan et al., FAST 2018", "Z-MEND"),
    real("Z62", "an observer is fed what its source has, committed or not", "ZOOKEEPER-5088", "C-NBT"),
    rule("Z64", "a node's own change that nobody committed decides whom it believes", "Raft thesis, 4.1", "L3"),
    rule("Z65", "a SYNC that nobody waits for any more ends the session", "relays", "C-NBT"),
    real("Z67", "currentEpoch is written without the acceptedEpoch it rests on", "ZOOKEEPER-2307", "Z-EPOCH"),
    real("Z69", "a new leader carries out its history before a quorum has it", "ZOOKEEPER-1549, 1558", "Z-DUR"),
];

#[cfg(test)]
mod tests {
    use common::mark::sources::named_in_sources;

    use super::*;

    #[test]
    fn the_list_is_what_the_sources_ask_for() {
        let names: Vec<&str> = MUTANTS.iter().map(|m| m.name).collect();
        let asked = named_in_sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src"), "mutant!(\"");
        assert_eq!(names, asked);
    }
}
