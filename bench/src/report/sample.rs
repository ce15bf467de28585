//! Small results for tests.

use std::collections::BTreeMap;

use super::results::{
    Better, CatchUp, Kill, LoadResult, Machine, Outcome, Repetition, Results, SCHEMA, ScenarioResult, Unit, Verdict,
};
use crate::load::stats::{Hist, Sample};

fn load(throughput: f64, us: u64) -> LoadResult {
    let mut hist = Hist::default();
    (0..2000).for_each(|i| hist.record(us + i % 100 * (1 + i / 1900)));
    let series =
        (0..20).map(|i| Sample { t_ms: i * 100, ops: if i == 10 { 0 } else { 100 }, ..Sample::default() }).collect();
    LoadResult {
        settings: vec![("clients".into(), "64".into())],
        seconds: 2.0,
        operations: 2000,
        throughput,
        errors: BTreeMap::new(),
        service: hist.latency(),
        intended: None,
        unsent: 0,
        interval_ms: 100,
        series,
    }
}

fn repetition(turn: u32, throughput: f64, us: u64) -> Repetition {
    let mut rep = Repetition { turn, loads: vec![load(throughput, us)], ..Repetition::default() };
    rep.measure("throughput", Unit::PerSecond, Better::Higher, throughput);
    rep.measure("p99", Unit::Micros, Better::Lower, us as f64 + 99.0);
    rep.measure("messages", Unit::PerEntry, Better::Lower, 4.0);
    rep
}

fn kills(gap: u64) -> Repetition {
    let mut rep = Repetition { loads: vec![load(1000.0, 900)], ..Repetition::default() };
    rep.kills = vec![
        Kill { at_ms: 950, leader: 1, successor: Some(2), writer_gap_us: gap, cluster_gap_us: gap - 1000 },
        Kill { at_ms: 1500, leader: 2, successor: None, writer_gap_us: gap + 40_000, cluster_gap_us: gap },
    ];
    rep.measure("gap, median", Unit::Micros, Better::Lower, gap as f64 + 20_000.0);
    rep
}

fn level(kind: &str, us: u64) -> Repetition {
    let catch_up = CatchUp {
        case: "far behind".into(),
        kind: kind.into(),
        behind: Some(5000),
        entries: 5000,
        bytes: 600_000,
        level_us: us,
        decision_to_level_us: Some(us / 2),
    };
    Repetition { catch_ups: vec![catch_up], ..Repetition::default() }
}

fn scenario(
    name: &str,
    title: &str,
    raft: (Verdict, Vec<Repetition>),
    zab: (Verdict, Vec<Repetition>),
) -> ScenarioResult {
    let outcome = |protocol: &str, (verdict, repetitions)| Outcome { protocol: protocol.into(), verdict, repetitions };
    ScenarioResult {
        name: name.into(),
        title: title.into(),
        shows: "What it shows, <with> & without.".into(),
        does_not_show: "What it does not show.".into(),
        command: format!("duet compare --only {name}"),
        outcomes: vec![outcome("raft", raft), outcome("zab", zab)],
    }
}

/// Three scenarios of both protocols, one failed and one unclear.
pub(crate) fn results() -> Results {
    let lost = Verdict::Fail { reason: "1 of 500 acknowledged keys lost: key 7".into() };
    let unclear = Verdict::Inconclusive { reason: "not level within 10 s".into() };
    Results {
        schema: SCHEMA,
        tool: "duet 0.1.0".into(),
        command: "duet compare --quick".into(),
        started: "2026-01-31T12:00:00Z".into(),
        seconds: 20.4,
        machine: Machine {
            cpu: "Some CPU".into(),
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: "Linux 6.1".into(),
            filesystem: "ext4".into(),
            fdatasync_us: Some(36.0),
            fdatasync_p99_us: Some(80.0),
            loopback_rtt_us: Some(24.0),
        },
        configuration: vec![("voters".into(), "3".into()), ("heartbeat".into(), "50 ms".into())],
        protocols: vec!["raft".into(), "zab".into()],
        scenarios: vec![
            scenario(
                "writes-64",
                "Steady writes, 64 clients",
                (Verdict::Pass, vec![repetition(0, 20_000.0, 500), repetition(3, 20_000.0, 500)]),
                (Verdict::Pass, vec![repetition(1, 18_000.0, 600), repetition(2, 18_000.0, 610)]),
            ),
            scenario(
                "kills",
                "The leader is killed",
                (Verdict::Pass, vec![kills(180_000)]),
                (lost, vec![kills(210_000)]),
            ),
            scenario(
                "catch-up",
                "A follower comes back",
                (Verdict::Pass, vec![level("snapshot", 45_000)]),
                (unclear, vec![level("SNAP", 55_000)]),
            ),
        ],
    }
}
