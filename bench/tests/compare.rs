//! `duet compare`, `load` and `report` as one calls them.

use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt as _;
use bench::peers::{Peer, Places};

fn duet(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("duet").expect("the program is built");
    command.current_dir(dir).stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// Exit code, stdout, stderr.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let out = duet(dir).args(args).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn a_short_comparison_leaves_results_and_a_page_that_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (code, table, err) =
        run(dir.path(), &["compare", "--quick", "--seconds", "0.2", "--only", "writes-64", "--json", "copy.json"]);
    assert_eq!(code, Some(0), "{err}");
    let json = std::fs::read_to_string(dir.path().join("copy.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(results["schema"], 1);
    for outcome in results["scenarios"][0]["outcomes"].as_array().unwrap() {
        let measures = outcome["repetitions"][0]["measures"].as_array().unwrap();
        let value = |name: &str| measures.iter().find(|m| m["name"] == name).and_then(|m| m["value"].as_f64()).unwrap();
        assert!(
            value("throughput") > 0.0 && value("messages per entry") > 0.0 && value("fsyncs per entry") > 0.0,
            "{outcome}"
        );
    }
    let latest = dir.path().join("runs/latest");
    let page = std::fs::read_to_string(latest.join("report.html")).unwrap();
    let left: Vec<_> = std::fs::read_dir(&latest).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the nodes' data is gone: {left:?}");

    std::fs::remove_file(latest.join("report.html")).unwrap();
    assert!(table.contains("Writes, 64 clients") && table.contains("ZAB/Raft"), "{table}");
    let (code, again, err) = run(dir.path(), &["report", "--picture", "picture.svg"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(again, table);
    assert_eq!(std::fs::read_to_string(latest.join("report.html")).unwrap(), page);
    assert!(std::fs::read_to_string(dir.path().join("picture.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn a_system_that_is_not_here_is_named_with_the_way_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    for (args, wanted) in [
        (vec!["--with", "etcd", "--etcd-bin", "/nowhere"], ["etcd is not at /nowhere", "apt-get install etcd-server"]),
        (vec!["--with", "etcd"], ["there is no `etcd` on PATH", "--etcd-bin FILE"]),
        (
            vec!["--with", "zookeeper", "--zookeeper-home", empty],
            ["no zookeeper*.jar there", "apt-get install zookeeper"],
        ),
    ] {
        let out = duet(dir.path()).env("PATH", empty).arg("compare").args(&args).output().unwrap();
        let err = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(5), &b""[..]), "{args:?}: {err}");
        assert!(wanted.iter().all(|w| err.contains(w)), "{args:?}: {err}");
    }
    assert!(!dir.path().join("runs").exists(), "nothing ran, nothing is left");
}

#[test]
fn other_systems_run_beside_where_they_are_installed() {
    let here: Vec<&str> = [Peer::ZooKeeper, Peer::Etcd]
        .into_iter()
        .filter(|peer| peer.find(&Places::default()).map_err(|e| eprintln!("skipped: {e}")).is_ok())
        .map(Peer::name)
        .collect();
    for peer in here {
        let dir = tempfile::tempdir().unwrap();
        let args = ["compare", "--quick", "--with", peer, "--warm-up", "1", "--protocol", "raft", "--seconds", "1"];
        let only = ["--kills", "1", "--only", "writes-64", "--only", "reads-local", "--only", "kills"];
        let (code, table, err) = run(dir.path(), &[&args[..], &only].concat());
        assert_eq!(code, Some(0), "{peer}: {err}\n{table}");
        for wanted in ["beside other systems", "Writes, 64 clients", "Local reads, 256 clients", "The leader is killed"]
        {
            assert!(table.contains(wanted), "{peer}: {table}");
        }
    }
}

#[test]
fn wrong_usage_says_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["compare", "--only", "nonsense"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("nonsense") && err.contains("writes-64"), "{err}");
    let (code, out, _) = run(dir.path(), &["compare", "--list"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().any(|l| l.starts_with("kills ")), "{out}");
    let (code, _, err) = run(dir.path(), &["report"]);
    assert_eq!(code, Some(4), "{err}");
    let (code, _, err) = run(dir.path(), &["load", "--target", "raft://127.0.0.1:1", "--connections", "0"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("connections = 0: 1 to 64 are allowed"), "{err}");
    assert!(!dir.path().join("runs").exists(), "nothing ran, nothing is left");
}
