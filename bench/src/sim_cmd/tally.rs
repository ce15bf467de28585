//! What many runs of one protocol add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::sim::outcome::{Counts, Outcome};
use serde_json::{Value, json};

use super::subjects;
use crate::cli::Protocol;

/// Marks that a campaign need not reach, each with the reason and the test that does reach it.
pub const RARE: &[(&str, &str)] = &[
    (
        "common/node/expiry#propose_expiry.refused",
        "an idle session is to go while the leader takes no proposals; `a_refusal_is_tried_again_and_zero_is_never`",
    ),
    (
        "common/node/replica#log_event.cut",
        "a cut while a write is under way; `answers_from_before_a_cut_are_not_believed`",
    ),
    (
        "common/node/snapshots#frozen.overtaken",
        "a snapshot comes in within the batch in which an own one is begun; `an_own_snapshot_gives_way_to_a_newer_received_one`",
    ),
    (
        "common/node/snapshots#received.keep_tail",
        "a follower sent a snapshot of which its log has the end; `a_snapshot_whose_tail_stays_does_not_restart_the_log`",
    ),
    (
        "common/storage/wal/torn#judge.hole",
        "of one large write a power cut leaves a later record and not an earlier; `lost_sectors_are_torn_only_in_the_last_write`",
    ),
    (
        "raft/broadcast#merge.below_base",
        "entries sent twice, of which the follower has a snapshot meanwhile; `entries_below_a_snapshot_are_here_already`",
    ),
    (
        "raft/reconfig#members_committed.handing_over",
        "a joint membership is committed while leadership is handed over; `a_joint_membership_is_left_when_it_is_clear_who_leads`",
    ),
    (
        "raft/snapshot#snapshot_read.not_to_be_had",
        "a leader whose log was cut has a snapshot; `a_transfer_that_halts_goes_on_with_a_heartbeat`",
    ),
    (
        "common/storage/wal/recovery#find_segments.void",
        "a power cut leaves segments behind that a cut made void; `a_power_cut_at_every_step_keeps_what_was_reported`",
    ),
    (
        "common/storage/wal/torn#judge.changed",
        "a bit that flips in the log, and valid records behind it; `no_changed_byte_of_the_log_goes_unnoticed`",
    ),
    (
        "common/storage/wal/read#fetch.gone",
        "a follower asks for entries that are cut in the same moment; `fetch_and_show_find_what_a_list_would`",
    ),
    (
        "common/storage/snapshot#finish.refused",
        "a damaged snapshot arrives; `a_changed_byte_is_refused_and_the_next_attempt_succeeds`",
    ),
    (
        "common/storage/snapshot#piece.unusable_old",
        "an older snapshot has rotted while a peer is sent it; `a_snapshot_that_has_rotted_is_not_sent_and_the_next_one_takes_its_place`",
    ),
    (
        "raft/recovery#conflict.probe_back",
        "a follower with a whole term that its leader lacks; `probing_finds_the_agreement`",
    ),
    (
        "raft/recovery#fetched.nothing",
        "entries are cut while they are read for a follower; `what_left_memory_is_fetched_once_and_asked_for_again_with_a_heartbeat`",
    ),
    (
        "raft/recovery#fetched.out_of_date",
        "a session ends while entries are read for it; `what_left_memory_is_fetched_once_and_asked_for_again_with_a_heartbeat`",
    ),
    (
        "raft/snapshot#on_install_snapshot.not_wanted",
        "a snapshot comes late; `what_is_committed_already_needs_no_snapshot`",
    ),
    (
        "raft/snapshot#on_install_snapshot.resumed",
        "a piece comes twice; `damage_starts_it_anew_and_another_leaders_piece_replaces_it`",
    ),
    (
        "raft/snapshot#on_install_snapshot_reply.from_the_start",
        "a damaged snapshot was sent; `a_leader_sends_the_next_piece_when_the_last_is_answered`",
    ),
    (
        "raft/snapshot#snapshot_refused",
        "a damaged snapshot arrives; `damage_starts_it_anew_and_another_leaders_piece_replaces_it`",
    ),
    ("zab/membership#on_info.ring", "two observers each ask the other to feed them; the script `observer_ring_waits`"),
    (
        "zab/recovery#on_info.later_promise",
        "a follower that promised an epoch to another leader; the script `promise_above_the_leaders_epoch`",
    ),
    (
        "zab/recovery#on_message.of_its_time_as_a_follower",
        "two nodes change places while one has something under way; `what_a_leader_said_as_a_follower_means_nothing`",
    ),
];

/// The most different notes that are kept.
const NOTES: usize = 200;

/// The sum of many runs.
#[derive(Debug)]
pub struct Tally {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Runs that ended.
    pub runs: u64,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// Processor time that they took.
    pub busy: Duration,
    /// What was counted.
    pub counts: Counts,
    /// How often each mark was hit.
    pub marks: BTreeMap<&'static str, u64>,
    /// Why some node stayed down or no progress was demanded: how many runs said so.
    pub notes: BTreeMap<String, u64>,
    /// Runs in which a promise was broken.
    pub violations: u64,
    /// Over the hashes of all runs, in whatever order they ended.
    pub digest: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            runs: 0,
            simulated_us: 0,
            busy: Duration::ZERO,
            counts: Counts::default(),
            marks: BTreeMap::new(),
            notes: BTreeMap::new(),
            violations: 0,
            digest: 0,
        }
    }

    /// One more.
    pub fn add(&mut self, outcome: &Outcome, busy: Duration) {
        self.runs += 1;
        self.simulated_us += outcome.simulated.0;
        self.busy += busy;
        self.counts.add(&outcome.counts);
        for (mark, n) in &outcome.marks {
            *self.marks.entry(mark).or_default() += n;
        }
        // A run that says the same of several nodes says it once.
        for note in outcome.notes.iter().map(|n| alike(n)).collect::<BTreeSet<_>>() {
            if self.notes.len() < NOTES || self.notes.contains_key(&note) {
                *self.notes.entry(note).or_default() += 1;
            }
        }
        self.violations += u64::from(outcome.violation.is_some());
        self.digest = self.digest.wrapping_add(outcome.hash);
    }

    /// Simulated seconds.
    pub fn simulated(&self) -> f64 {
        self.simulated_us as f64 / 1e6
    }

    /// Simulated seconds for each second of one core.
    pub fn ratio(&self) -> f64 {
        self.per_busy_second(self.simulated())
    }

    /// Events for each second of one core.
    pub fn events_per_second(&self) -> f64 {
        self.per_busy_second(self.counts.events as f64)
    }

    /// From the last heal to the first commit, in microseconds, where there was one.
    pub fn recovery_mean_us(&self) -> f64 {
        let runs = self.counts.recoveries;
        if runs == 0 { 0.0 } else { self.counts.recovery_us as f64 / runs as f64 }
    }

    /// Marks that no run hit.
    pub fn never(&self) -> Vec<&'static str> {
        let mut never = subjects::marks(self.protocol);
        never.retain(|m| !self.marks.contains_key(m));
        never.sort_unstable();
        never.dedup();
        never
    }

    /// All of it.
    pub fn json(&self) -> Value {
        let c = &self.counts;
        json!({
            "protocol": self.protocol,
            "runs": self.runs,
            "violations": self.violations,
            "simulated_s": self.simulated(),
            "busy_s": self.busy.as_secs_f64(),
            "ratio_per_core": self.ratio(),
            "events": c.events,
            "events_per_core_s": self.events_per_second(),
            "messages": c.messages,
            "operations": c.operations,
            "unknown": c.unknown,
            "searched": c.searched,
            "committed": c.committed,
            "leader_changes": c.leaders,
            "boots": c.boots,
            "faults": c.faults,
            "recovery_mean_ms": self.recovery_mean_us() / 1e3,
            "recovery_worst_ms": c.recovery_worst_us as f64 / 1e3,
            "marks": self.marks,
            "marks_never": self.never(),
            "notes": self.notes,
            "digest": format!("{:016x}", self.digest),
        })
    }

    fn per_busy_second(&self, n: f64) -> f64 {
        let busy = self.busy.as_secs_f64();
        if busy > 0.0 { n / busy } else { 0.0 }
    }
}

/// Marks of the protocols and of what they share that no run of any of them hit, without those that are known to be rare.
pub fn unreached(tallies: &[Tally]) -> Vec<&'static str> {
    let mut marks: Vec<_> = tallies.iter().flat_map(Tally::never).collect();
    marks.sort_unstable();
    marks.dedup();
    marks.retain(|m| tallies.iter().all(|t| !t.marks.contains_key(m)) && !RARE.iter().any(|(rare, _)| rare == m));
    marks
}

/// A note without its numbers, so that those which say the same are counted together.
fn alike(note: &str) -> String {
    let mut text = String::new();
    for c in note.chars().take(160) {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with('#') {
            text.push('#');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::sim::subject::Violation;
    use common::types::Micros;

    /// The text of every source and script of the crates that have marks.
    fn sources(dir: &std::path::Path, all: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).expect("a folder of the sources").map(|e| e.expect("an entry").path()) {
            if entry.is_dir() {
                sources(&entry, all);
            } else {
                let name = entry.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                all.push((name, std::fs::read_to_string(&entry).unwrap_or_default()));
            }
        }
    }

    #[test]
    fn every_rare_mark_exists_and_so_does_the_test_that_is_named_for_it() {
        let (mut files, root) = (Vec::new(), std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        for dir in ["common/src", "raft/src", "raft/tests/scripts", "zab/src", "zab/tests"] {
            sources(&root.join(dir), &mut files);
        }
        let marks: BTreeSet<_> = Protocol::ALL.into_iter().flat_map(subjects::marks).collect();
        for (mark, reason) in RARE {
            assert!(marks.contains(mark), "{mark}");
            let test = reason.split('`').nth(1).unwrap_or_else(|| panic!("{mark}: no test in {reason:?}"));
            let function = format!("fn {test}(");
            let there = files.iter().any(|(name, text)| name == test || text.contains(&function));
            assert!(there, "{mark}: there is no test {test}");
        }
    }

    #[test]
    fn runs_add_up_and_notes_that_say_the_same_are_counted_together() {
        let mut tally = Tally::new(Protocol::Zab);
        for (hash, notes) in
            [(3, vec!["n2 stays down: wiped", "n13 stays down: wiped"]), (4, vec!["n1 stays down: wiped"])]
        {
            let mut outcome = Outcome { hash, simulated: Micros(1_500_000), ..Outcome::default() };
            outcome.notes = notes.into_iter().map(str::to_owned).collect();
            outcome.marks.insert("zab/core#truncate", 2);
            (outcome.counts.recoveries, outcome.counts.recovery_us) = (1, 1000);
            outcome.violation = (hash == 4).then(|| (Micros(1), Violation::new("C-LIN", "made up")));
            tally.add(&outcome, Duration::from_millis(500));
        }
        assert_eq!(tally.notes.clone().into_iter().collect::<Vec<_>>(), [("n# stays down: wiped".to_owned(), 2)]);
        assert_eq!((tally.runs, tally.violations, tally.digest, tally.marks["zab/core#truncate"]), (2, 1, 7, 4));
        let value = tally.json();
        assert_eq!((value["ratio_per_core"].as_f64(), value["recovery_mean_ms"].as_f64()), (Some(3.0), Some(1.0)));
        assert!(!tally.never().contains(&"zab/core#truncate"));
    }
}
