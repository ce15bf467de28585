//! The program with real nodes: processes, sockets, disks, signals. Nothing here sleeps; everything awaits what it waits
//! for, and gives up after a minute so that a failure is a failure and not a hang.

#[path = "cli_nodes/chain.rs"]
mod chain;
#[path = "cli_nodes/members.rs"]
mod members;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use common::types::NodeId;
use serde_json::{Value, json};
use support::{Node, Run, ctl, duet, ended, single, text, within};
use tokio::process::Command;

use bench::cli::Protocol;
use bench::supervisor::{Cluster, ClusterSpec};

/// Every command of `ctl` on a cluster of real processes.
async fn tour(protocol: &str) {
    let mut run = Run::start(&["--protocol", protocol, "--observers", "1"]).await;
    let leader = run.leader().await;
    let ask = async |args: &[&str]| ctl(run.path(), args).await;

    let put = ask(&["put", "colour", "green"]).await.json();
    assert_eq!(put["protocol"], protocol);
    let at = put["at"]["text"].as_str().unwrap().to_owned();
    assert_eq!(at.starts_with("0x"), protocol == "zab", "{at}");
    assert_eq!(ask(&["get", "colour"]).await.json()["value"], "green");
    assert_eq!(ask(&["cas", "colour", "blue", "--expect", "green"]).await.json()["swapped"], true);
    let differs = ask(&["cas", "colour", "red", "--expect", "green"]).await;
    assert_eq!((differs.code, &differs.json()["found"]), (1, &json!("blue")));
    assert_eq!(ask(&["cas", "new", "1", "--absent"]).await.json()["swapped"], true);
    let missing = ask(&["get", "nothing"]).await;
    assert_eq!((missing.code, &missing.json()["value"]), (1, &Value::Null));

    // What is no text goes in and comes out whole.
    assert_eq!(ask(&["put", "--hex", "00ff", "fe0a"]).await.code, 0);
    let pairs = ask(&["list"]).await.jsons();
    assert_eq!(pairs[0], json!({"key_hex": "00ff", "value_hex": "fe0a"}));
    assert_eq!(pairs.len(), 3);
    let escaped = text(run.path(), &["get", "--hex", "00ff"]).await;
    assert_eq!(escaped.out, b"fe0a\n");
    assert_eq!(text(run.path(), &["list", "c"]).await.out, b"colour\tblue\n");
    assert_eq!(text(run.path(), &["get", "--raw", "colour"]).await.out, b"blue");
    assert_eq!(ask(&["delete", "new"]).await.json()["existed"], true);
    assert_eq!(ask(&["delete", "new"]).await.json()["existed"], false);

    // The log: what was done above, in order, from any place on.
    let raw = ask(&["append", "by hand"]).await.json()["at"]["text"].clone();
    let log = ask(&["log", "--max", "1000"]).await.jsons();
    let of =
        |id: &Value| log.iter().find(|e| e["id"]["text"] == *id).unwrap_or_else(|| panic!("{id} is not in {log:?}"));
    assert_eq!((&of(&raw)["kind"], &of(&raw)["data"]), (&json!("raw"), &json!("by hand")));
    assert_eq!((&of(&put["at"]["text"])["command"], &of(&put["at"]["text"])["key"]), (&json!("put"), &json!("colour")));
    let rest = ask(&["log", "--after", &at]).await.jsons();
    assert!(rest.len() < log.len() && log.ends_with(&rest), "{rest:?}");

    // Who is who. The observer has applied what its `get --local` shows; nothing is asserted of how far it is.
    let leads = ask(&["leader"]).await.json();
    assert_eq!(leads["leader"], leader);
    let status = ask(&["status"]).await.jsons();
    let ids: Vec<_> = status.iter().map(|s| s["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(status[3]["member"], "observer");
    let peers = ask(&["peers"]).await.jsons();
    let expected: BTreeSet<u64> = (1..=4).filter(|id| json!(id) != leader).collect();
    assert_eq!(peers.iter().map(|p| p["id"].as_u64().unwrap()).collect::<BTreeSet<_>>(), expected);
    assert_eq!(ask(&["--node", "4", "get", "--local", "never written"]).await.code, 1);
    let table = text(run.path(), &["status"]).await;
    assert_eq!(String::from_utf8(table.out).unwrap().lines().count(), 5);

    refusals(&run, protocol, &leader).await;
    deaths(&mut run, &leader).await;
    let nodes = run.pids();
    assert_eq!(run.interrupt().await, Some(130));
    for pid in nodes {
        ended(pid).await;
    }
}

/// What is refused, and how.
async fn refusals(run: &Run, protocol: &str, leader: &Value) {
    let other = if protocol == "raft" { "zab" } else { "raft" };
    let wrong = run.target().replace(protocol, other);
    for ask in [&["put", "a", "1"][..], &["get", "a"], &["leader"]] {
        // The cluster may be named before the question or after it.
        let args: Vec<&str> = ask.iter().copied().chain(["--target", &wrong]).collect();
        let refused = ctl(run.path(), &args).await;
        assert_eq!(refused.code, 4, "{}", refused.err);
        assert!(refused.err.contains(&format!("speaks {protocol}, not {other}")), "{}", refused.err);
    }
    let transfer = ctl(run.path(), &["transfer"]).await;
    let next = transfer.json()["leader"].clone();
    assert!(transfer.code == 0 && next.is_u64() && next != *leader, "{next} {}", transfer.err);
    let back = ctl(run.path(), &["transfer", "--to", &leader.to_string()]).await;
    assert_eq!(back.jsons(), [json!({"protocol": protocol, "transferred": true, "leader": leader})], "{}", back.err);
    let again = ctl(run.path(), &["transfer", "--to", &leader.to_string()]).await;
    assert!(again.code == 1 && again.err.contains("leads already"), "{}", again.err);
    let long = "k".repeat(5000);
    let long = ctl(run.path(), &["put", &long, "1"]).await;
    assert!(long.code == 2 && long.err.contains("the key has 5000 bytes, at most"), "{}", long.err);
}

/// A node killed from outside is told of, and the others go on.
async fn deaths(run: &mut Run, leader: &Value) {
    let victim = run.nodes().into_iter().find(|n| n["id"] == *leader).unwrap();
    support::signal(&victim["pid"], rustix::process::Signal::KILL);
    let exited = run.event("exited").await;
    assert_eq!((&exited["id"], exited["status"].as_str().unwrap().contains('9')), (leader, true), "{exited}");
    assert_eq!(ctl(run.path(), &["put", "after", "the kill"]).await.code, 0);
    let status = ctl(run.path(), &["status"]).await.jsons();
    assert_eq!(status.iter().filter(|s| s["error"].is_string()).count(), 1);
}

#[tokio::test]
async fn raft_from_the_command_line() {
    within(tour("raft")).await;
}

#[tokio::test]
async fn zab_from_the_command_line() {
    within(tour("zab")).await;
}

#[tokio::test]
async fn no_node_outlives_a_killed_supervisor_not_even_a_paused_one() {
    within(async {
        let mut run = Run::start(&["--voters", "2"]).await;
        let pids = run.pids();
        // At once: the node may not have stopped yet when its parent dies, and must not stop for ever after.
        support::signal(&json!(pids[0]), rustix::process::Signal::STOP);
        run.kill().await;
        for pid in pids {
            ended(pid).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_supervisor_kills_pauses_restarts_and_adds_nodes() {
    for protocol in Protocol::ALL {
        within(async {
            let dir = tempfile::tempdir().unwrap();
            let exe = Some(assert_cmd::cargo::cargo_bin!("duet").into());
            let spec = ClusterSpec { exe, trace: true, ..ClusterSpec::new(protocol, dir.path().join("cluster")) };
            let mut cluster = Cluster::start(&spec).await.unwrap();
            let target = cluster.target().to_string();
            let ask = async |args: &[&str]| {
                let args: Vec<&str> = ["--target", &target].iter().chain(args).copied().collect();
                ctl(dir.path(), &args).await
            };
            assert_eq!(ask(&["put", "a", "1"]).await.code, 0);

            // A node that was killed comes back with its data, under its address.
            let victim = NodeId(1);
            let (addr, pid) = (cluster.client_addr(victim).unwrap().to_owned(), cluster.pid(victim).unwrap());
            cluster.kill(victim).await.unwrap();
            ended(pid).await;
            assert!(cluster.pid(victim).is_none() && cluster.kill(victim).await.is_err());
            assert_eq!(ask(&["put", "b", "2"]).await.code, 0);
            cluster.restart(victim).await.unwrap();
            assert_eq!(cluster.client_addr(victim), Some(addr.as_str()));
            assert!(cluster.restart(victim).await.unwrap_err().to_string().contains("kill it first"));
            assert_eq!(ask(&["--node", &addr, "get", "b"]).await.json()["value"], "2");

            // A paused node does not answer; one that goes on does.
            cluster.pause(victim).unwrap();
            let silent =
                ctl(dir.path(), &["--timeout", "1s", "--target", &format!("{protocol}://{addr}"), "status"]).await;
            assert_eq!(silent.code, 4, "{}", silent.err);
            cluster.resume(victim).unwrap();
            assert_eq!(ask(&["--node", &addr, "get", "a"]).await.json()["value"], "1");

            // An observer that joins a running cluster has everything.
            let observer = cluster.add_observer().await.unwrap();
            assert_eq!((observer, cluster.voters().len(), cluster.ids().len()), (NodeId(4), 3, 4));
            let addr = cluster.client_addr(observer).unwrap().to_owned();
            assert_eq!(ask(&["--node", &addr, "get", "b"]).await.json()["value"], "2");

            let trace = std::fs::read_to_string(cluster.trace_path(observer)).unwrap();
            assert!(trace.starts_with('{') && trace.contains("\"k\":\"meta\""), "{trace}");
            for (id, end) in cluster.stop().await {
                assert_eq!(end.unwrap().code(), Some(0), "{id}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_supervisor_tells_why_a_node_does_not_start() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let exe = Some(assert_cmd::cargo::cargo_bin!("duet").into());
        let settings = vec!["storage.segment_bytes=1".to_owned()];
        let spec = ClusterSpec { exe, settings, ..ClusterSpec::new(Protocol::Zab, dir.path().join("cluster")) };
        let e = Cluster::start(&spec).await.unwrap_err().to_string();
        assert!(e.contains("node n1 ended at once") && e.contains("storage.segment_bytes = 1: must be 4096 to"), "{e}");
    })
    .await;
}

#[tokio::test]
async fn a_node_says_where_it_is_and_ends_when_asked_to() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        for (signal, code) in [(rustix::process::Signal::TERM, 0), (rustix::process::Signal::INT, 130)] {
            let mut node = Node::start(dir.path(), &["--protocol", "zab", "--ready-file", "ready.json"]).await;
            let file: Value = serde_json::from_slice(&std::fs::read(dir.path().join("ready.json")).unwrap()).unwrap();
            assert_eq!(file, node.ready);
            assert_eq!((&file["event"], &file["protocol"], &file["id"]), (&json!("ready"), &json!("zab"), &json!(1)));
            support::signal(&node.ready["pid"], signal);
            assert_eq!(node.wait().await.0, Some(code));
        }
        let mut node = Node::start(dir.path(), &["--protocol", "zab", "--parent-watch"]).await;
        node.close_stdin();
        assert_eq!(node.wait().await.0, Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_of_the_environment() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        for flag in ["--client-listen", "--peer-listen"] {
            let (code, err) = single(dir.path(), &[flag, &addr]).await;
            assert_eq!(code, Some(5), "{err}");
            assert!(err.contains(&addr) && err.contains("in use") && err.contains("hint:"), "{err}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_data_folder_that_is_not_this_nodes_is_refused() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (code, err) = single(dir.path(), &["--data", "file/below"]).await;
        assert!(code == Some(5) && err.contains("file/below"), "{code:?} {err}");

        let running = Node::start(dir.path(), &[]).await;
        let (code, err) = single(dir.path(), &[]).await;
        assert!(code == Some(5) && err.contains("is in use by another process"), "{code:?} {err}");
        running.stop().await;

        let (code, err) = single(dir.path(), &["--protocol", "zab"]).await;
        assert!(code == Some(5) && err.contains("belongs to protocol raft, but this node is of protocol zab"), "{err}");
        let (code, err) = single(dir.path(), &["--cluster", "other"]).await;
        assert!(code == Some(5) && err.contains("belongs to cluster duet"), "{code:?} {err}");
    })
    .await;
}

/// A node of this protocol writes five times and stops; then a bit of the first write is flipped in its log. What follows
/// it shows that it is no torn end.
async fn damaged(dir: &Path, protocol: &str) {
    let node = Node::start(dir, &["--protocol", protocol]).await;
    let target = format!("{protocol}://{}", node.ready["client"].as_str().unwrap());
    for i in 0..5 {
        let put = ctl(dir, &["--target", &target, "put", "damage me here", &i.to_string()]).await;
        assert_eq!(put.code, 0, "{}", put.err);
    }
    node.stop().await;
    let log = std::fs::read_dir(dir.join("data/log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(14).position(|w| w == b"damage me here").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
}

/// With the hard state promises are forgotten, which nobody else remembers.
#[tokio::test]
async fn a_damaged_hard_state_is_refused_with_file_and_offset() {
    within(async {
        for protocol in ["raft", "zab"] {
            let dir = tempfile::tempdir().unwrap();
            Node::start(dir.path(), &["--protocol", protocol]).await.stop().await;
            let hard = dir.path().join("data/hard");
            let mut bytes = std::fs::read(&hard).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&hard, bytes).unwrap();
            let (code, err) = single(dir.path(), &["--protocol", protocol]).await;
            assert_eq!(code, Some(5), "{err}");
            assert!(err.contains("data/hard is damaged at byte"), "{err}");
        }
    })
    .await;
}

/// Here nobody can help it, and it says what it waits for.
#[tokio::test]
async fn a_node_whose_log_is_damaged_starts_and_does_not_lead_by_what_is_left() {
    within(async {
        for protocol in ["raft", "zab"] {
            let dir = tempfile::tempdir().unwrap();
            damaged(dir.path(), protocol).await;
            let node = Node::start(dir.path(), &["--protocol", protocol]).await;
            let target = format!("{protocol}://{}", node.ready["client"].as_str().unwrap());
            let status = ctl(dir.path(), &["--target", &target, "status"]).await.jsons();
            assert_eq!((&status[0]["phase"], &status[0]["leader"]), (&json!("mending"), &Value::Null));
            node.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_may_come_from_a_file_or_stdin() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(dir.path(), &[]).await;
        let target = format!("raft://{}", node.ready["client"].as_str().unwrap());
        let all: Vec<u8> = (0..=255).collect();
        std::fs::write(dir.path().join("value"), &all).unwrap();
        let put = ctl(dir.path(), &["--target", &target, "put", "k", "--file", "value"]).await;
        assert_eq!(put.code, 0, "{}", put.err);
        let mut command: Command = duet(dir.path(), &["ctl", "--target", &target, "put", "k2", "--file", "-"]);
        command.stdin(std::fs::File::open(dir.path().join("value")).unwrap());
        assert!(command.output().await.unwrap().status.success());
        for key in ["k", "k2"] {
            assert_eq!(text(dir.path(), &["--target", &target, "get", "--raw", key]).await.out, all);
        }
        node.stop().await;
    })
    .await;
}
