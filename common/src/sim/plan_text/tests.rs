use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::quorum::Share;
use crate::sim::plan::{Death, DiskCall, Hostile, Lie, Make};
use crate::sim::swarm;

const SHORT: &str = "\
plan 1
protocol raft
seed 0x00000000000003e8
voters 3
observers 0
span 60s
election-timeout 1s
heartbeat 100ms
clock-drift 0/1000
protocol-limits 0
net-delay 200us
net-jitter 0s
net-silence 2s
net-window 1MiB
net-queue 64MiB
net-redial 50ms
disk-sync 500us
disk-write 20us
turn 0s
apply 20us
segment 1MiB
snapshot-every 10000
tail 1000
cache 1MiB
replica-limits 0
clients 1
ops-per-second 50
keys 1
value 16B
client-retry 2s
sent-twice 0%
session-limits 0
mix put 40 delete 5 cas 15 read 30 local 10
at 1.25s power-loss leader back 800ms
at 2s cut n1,n2 -> leader for 3s
at 2s disk-error other0 sync-dir nth 3
";

#[test]
fn a_plan_reads_as_it_prints() {
    let plan = Plan::parse(SHORT).unwrap();
    assert_eq!(plan.to_string(), SHORT);
    assert_eq!(
        plan.faults[1].fault,
        Fault::Cut {
            from: vec![Target::Node(NodeId(1)), Target::Node(NodeId(2))],
            to: vec![Target::Leader],
            span: Micros(3_000_000)
        }
    );
    let commented = SHORT.replace("voters 3", "# three\n\n   voters   3 # of them");
    assert_eq!(Plan::parse(&commented).unwrap(), plan);
}

#[test]
fn errors_name_line_field_value_and_what_is_allowed() {
    for (from, to, says) in [
        ("plan 1\n", "", "line 1: plan: `protocol` is not allowed: it must be `plan 1`, before anything else"),
        ("plan 1", "plan 2", "line 1: plan: `plan 2` is not allowed: it must be 1, the only version yet"),
        (
            "protocol raft",
            "protocol Raft",
            "line 2: protocol: `Raft` is not allowed: it must be 1 to 32 of a-z, 0-9 and -",
        ),
        (
            "0x00000000000003e8",
            "0x-1",
            "line 3: seed: `0x-1` is not allowed: it must be a number of 64 bits such as 7 or 0x1f",
        ),
        ("voters 3", "voters 8", "line 4: voters: 8 is not allowed: it must be from 1 to 7"),
        ("voters 3", "voters", "line 4: voters: the end of the line is not allowed: it must be a whole number"),
        ("voters 3", "voters 3 4", "line 4: the end of the line: `4` is not allowed: it must be nothing more"),
        ("voters 3\n", "", "voters: nothing is not allowed: it must be given, once"),
        ("voters 3", "voters 3\nvoters 5", "line 5: voters: a second line is not allowed: it must be given once"),
        (
            "heartbeat 100ms",
            "heartbeat 0.6s",
            "heartbeat: 600ms is not allowed: it must be at most half of election-timeout, 1s",
        ),
        ("local 10", "local 11", "mix: a sum of 101 is not allowed: it must be parts with the sum 100"),
        ("for 3s", "for 3", "line 35: for: `3` is not allowed: it must be a span such as 1.25s"),
        ("nth 3", "nth 0", "line 36: nth: `0` is not allowed: it must be a whole number from 1 to 1000000"),
        ("sync-dir", "fsync", "line 36: call: `fsync` is not allowed: it must be one of read, write, sync"),
        (
            "at 1.25s",
            "at 2.25s",
            "at: at 2s cut n1,n2 -> leader for 3s is not allowed: it must be in order of time, from 2.25s",
        ),
        (
            "cut n1,n2",
            "cut n1,n4",
            "node: n4 in `at 2s cut n1,n4 -> leader for 3s` is not allowed: it must be n1 to n3",
        ),
        ("power-loss", "powerloss", "line 34: fault: `powerloss` is not allowed: it must be one of kill, power-loss"),
        ("other0", "n01", "line 36: node: `n01` is not allowed"),
    ] {
        let text = SHORT.replace(from, to);
        assert_ne!(text, SHORT, "{from}");
        let error = Plan::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(says), "{from} -> {to}:\n{error}\n{says}");
    }
    assert!(Plan::parse(SHORT.replace("voters", "nodes").as_str()).unwrap_err().to_string().contains("key: `nodes`"));
}

#[test]
fn input_is_bounded() {
    assert!(Plan::parse(&" ".repeat(MAX_TEXT + 1)).unwrap_err().to_string().contains("bytes"));
    let many = SHORT.to_owned() + &"at 3s bit-rot n1\n".repeat(MAX_FAULTS);
    assert!(Plan::parse(&many).unwrap_err().to_string().contains("10000"), "{}", many.len());
    let wide = SHORT.replace("cut n1,n2", &format!("cut {}n1", "n1,".repeat(MAX_TARGETS)));
    assert!(Plan::parse(&wide).unwrap_err().to_string().contains("1 to 16 nodes"));
    let long = SHORT.replace("raft", &"x".repeat(1000));
    assert!(Plan::parse(&long).unwrap_err().to_string().len() < 200);
}

#[test]
fn every_kind_has_a_line_and_every_key_a_name_of_its_own() {
    let mut names: Vec<_> = KEYS.iter().map(|k| k.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
    for key in KEYS {
        assert!((key.low..=key.high).contains(&key.plain), "{}", key.name);
        let mut shape = blank();
        (key.set)(&mut shape, key.plain);
        assert_eq!((key.get)(&shape), key.plain, "{}", key.name);
    }
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (1..=3_u64).prop_map(|n| Target::Node(NodeId(n))),
        Just(Target::Leader),
        (0..9_u64).prop_map(Target::Other)
    ]
}

fn span() -> impl Strategy<Value = Micros> {
    prop_oneof![0..2000_u64, 0..2_000_000_u64, 0..=MAX_SPAN.0].prop_map(Micros)
}

/// A fault of any kind, from numbers for all that any kind needs.
fn fault() -> impl Strategy<Value = Fault> {
    let numbers = (0..1000_u16, 1..=1_000_000_u64, 1..=1_u64 << 30, -500..1000_i16);
    let calls = prop::sample::select(vec![
        DiskCall::Read,
        DiskCall::Write,
        DiskCall::Sync,
        DiskCall::SyncDir,
        DiskCall::Create,
        DiskCall::Rename,
    ]);
    let lists = (vec(target(), 1..=MAX_TARGETS), vec(target(), 1..4));
    (0..KINDS.len(), target(), target(), span(), span(), numbers, calls, lists).prop_map(
        |(kind, node, to, span, delay, (per_mille, nth, bytes, drift), call, lists)| match kind {
            0 => Fault::Crash { node, how: Death::Kill, back: span },
            1 => Fault::Crash { node, how: Death::Power, back: span },
            2 => Fault::CrashAll { back: span },
            3 => Fault::Pause { node, span },
            4 => Fault::Cut { from: lists.0, to: lists.1, span },
            5 => Fault::Reset { a: node, b: to },
            6 => Fault::Loss { from: node, to, per_mille, span },
            7 => Fault::Duplicate { from: node, to, per_mille, span },
            8 => Fault::Reorder { from: node, to, per_mille, span },
            9 => Fault::Corrupt { from: node, to, per_mille, span },
            10 => Fault::Slow { from: node, to, delay, span },
            11 => Fault::Narrow { from: node, to, bytes, span },
            12 => Fault::Stall { node, span },
            13 => Fault::SlowDisk { node, delay, span },
            14 => Fault::DiskError { node, call, nth },
            15 => Fault::ShortWrite { node, nth },
            16 => Fault::DiskFull { node, bytes, span },
            17 => Fault::BitRot { node },
            18 => Fault::LostWrite { node, nth },
            19 => Fault::Misdirect { node, nth },
            20 => Fault::Rollback { node, back: span },
            21 => Fault::Wipe { node, back: span },
            22 => Fault::Drift { node, per_mille: drift, span },
            23 => Fault::Jump { node, by: span },
            24 => Fault::Hostile { from: node, to, bytes: Hostile::TooLong },
            25 => Fault::Stranger { from: node, to, lie: Lie::Called },
            26 => Fault::Transfer { to: (nth > 2).then_some(node) },
            27 if nth > 2 => {
                let share = Share { weight: per_mille, group: (nth % 16) as u8 };
                Fault::Change { make: vec![(Make::Weighing(share), node), (Make::Voter, to)] }
            }
            _ => Fault::Change { make: vec![(Make::Voter, node), (Make::Gone, to)] },
        },
    )
}

proptest! {
    #[test]
    fn every_plan_comes_back_from_its_text(
        seed: u64,
        values in vec(any::<u64>(), KEYS.len()),
        put in 0..=100_u8,
        faults in vec((span(), fault()), 0..20),
    ) {
        let mut plan = swarm::calm("raft", seed);
        for (key, value) in KEYS.iter().zip(values) {
            // A width of its own for each number, so that small ones are met as well.
            let value = value >> (value % 64);
            (key.set)(&mut plan.shape, value.clamp(key.low, key.high));
        }
        plan.shape.voters = plan.shape.voters.max(3);
        let timing = &mut plan.shape.timing;
        timing.heartbeat = timing.heartbeat.min(Micros(timing.election_timeout.0 / 2)).max(Micros(1000));
        plan.shape.load.mix = [put, 100 - put, 0, 0, 0];
        plan.faults = faults.into_iter().map(|(at, fault)| Timed { at, fault }).collect();
        plan.faults.sort_by_key(|t| t.at);
        prop_assert_eq!(plan.validate(), Ok(()));
        let text = plan.to_string();
        prop_assert_eq!(Plan::parse(&text).unwrap(), plan, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,300}", cut in 0..SHORT.len(), word in "[a-z0-9/.:>,-]{0,12}") {
        let _ = Plan::parse(&text);
        let mut near = SHORT.to_owned();
        near.insert_str(cut, &word);
        if let Ok(plan) = Plan::parse(&near) {
            prop_assert_eq!(Plan::parse(&plan.to_string()), Ok(plan));
        }
    }
}
