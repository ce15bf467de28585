//! `duet sim` and `duet mutants` as programs.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

fn duet(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin!("duet"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("DUET_") {
            command.env_remove(key);
        }
    }
    command.current_dir(dir).args(args);
    command
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

#[test]
fn the_same_seeds_give_the_same_events_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let run = |jobs| {
        let out =
            duet(dir.path(), &["sim", "--seeds", "2", "--from", "40", "--jobs", jobs, "--json"]).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        json(&out)
    };
    let (one, three) = (run("1"), run("3"));
    for i in 0..2 {
        let (a, b) = (&one["protocols"][i], &three["protocols"][i]);
        for field in ["protocol", "runs", "simulated_s", "events", "operations", "boots", "faults", "marks", "digest"] {
            assert!(!a[field].is_null(), "{field}");
            assert_eq!(a[field], b[field], "{field}");
        }
        assert!(a["events"].as_u64() > Some(1000) && a["operations"].as_u64() > Some(100), "{a}");
    }
    assert_eq!(one["next_seed"], 42);
    assert_eq!(one["violations"], Value::Array(Vec::new()));
    assert!(!dir.path().join("runs").exists(), "nothing was found, so there is nothing to keep");
}

#[test]
fn a_plan_is_replayed_from_its_file_as_from_its_seed() {
    let dir = tempfile::tempdir().unwrap();
    let of_seed = ["sim", "--replay", "7", "--protocol", "zab", "--profile", "calm"];
    let out = duet(dir.path(), &[&of_seed[..], &["--json"]].concat()).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let value = json(&out);
    let run = &value["runs"][0];
    std::fs::write(dir.path().join("seven.plan"), run["plan"].as_str().unwrap()).unwrap();
    let out = duet(dir.path(), &["sim", "--replay", "seven.plan", "--last", "5"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{text}");
    assert!(text.lines().next().is_some_and(|l| l.contains("n1") && l.contains("n5")), "{text}");
    let hash = format!("hash {}", run["hash"].as_str().unwrap());
    assert!(text.contains("zab seed 7: 0 faults planned") && text.contains(&hash), "{text}");
    assert!(text.ends_with("no violation\n"), "{text}");
    assert_eq!(text.lines().filter(|l| l.contains('│') || l.contains('═')).count(), 5, "{text}");

    std::fs::write(dir.path().join("bad.plan"), "plan 1\nvoters 9\n").unwrap();
    let out = duet(dir.path(), &["sim", "--replay", "bad.plan"]).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("bad.plan: line 2: voters: 9 is not allowed: it must be from 1 to 7"), "{said}");
}

#[test]
fn the_history_of_a_run_is_written_and_can_be_judged() {
    let dir = tempfile::tempdir().unwrap();
    let of_seed = ["sim", "--replay", "7", "--profile", "calm", "--history", "seven.jsonl"];
    let out = duet(dir.path(), &of_seed).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "two protocols, and one file: {out:?}");
    let out = duet(dir.path(), &[&of_seed[..], &["--protocol", "raft"]].concat()).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let out = duet(dir.path(), &["check", "--history", "seven.jsonl", "--json"]).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(json(&out)["operations"].as_u64() > Some(300), "{out:?}");
}

#[test]
fn marks_that_no_run_hit_fail_a_campaign_that_requires_them() {
    let dir = tempfile::tempdir().unwrap();
    let calm = ["sim", "--seeds", "1", "--profile", "calm", "--protocol", "zab"];
    assert_eq!(duet(dir.path(), &calm).output().unwrap().status.code(), Some(0));
    let out = duet(dir.path(), &[&calm[..], &["--require-marks"]].concat()).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("marks were hit in no run") && said.contains("zab/recovery#begin_sync.snap"), "{said}");
    assert!(!said.contains("zab/recovery#decide") && !said.contains("raft/"), "{said}");
    assert!(!said.contains("common/node/replica#log_event.cut"), "known to be rare: {said}");
}

#[test]
fn ctrl_c_ends_a_campaign_with_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = duet(dir.path(), &["sim", "--minutes", "60", "--profile", "calm", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    // It listens for signals before it does anything else; a signal that comes before that would end it as any program.
    let mut listens = || {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap_or("0").trim().to_owned();
        u64::from_str_radix(&caught, 16).is_ok_and(|mask| mask & 2 != 0)
    };
    while !listens() {
        std::thread::yield_now();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{out:?}");
    assert_eq!(json(&out)["interrupted"], true);
}

#[cfg(not(feature = "mutants"))]
#[test]
fn without_the_mutants_and_without_their_sources_there_is_nothing_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = duet(dir.path(), &["mutants"]).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(5), "{said}");
    assert!(said.contains("built without the mutants") && said.contains("--features mutants"), "{said}");
    let out = duet(dir.path(), &["mutants", "--list", "--only", "C01"]).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert!(String::from_utf8(out.stdout).unwrap().starts_with("C01    C-ACK"));
}
