//! The members of live clusters change, by `duet ctl member`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bench::cli::Protocol;
use bench::supervisor::{Cluster, ClusterSpec};
use common::client::wire::ReadMode;
use common::client::{Client, ClientConfig};
use common::types::NodeId;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::support::{Done, Run, ctl, text, within};

/// Who is what, as `duet ctl member` printed it.
#[track_caller]
fn members(done: &Done) -> Vec<(u64, String)> {
    assert_eq!(done.code, 0, "{}", done.err);
    let one = |m: &Value| (m["id"].as_u64().unwrap(), m["member"].as_str().unwrap().to_owned());
    done.json()["members"].as_array().unwrap().iter().map(one).collect()
}

fn words(all: &[(u64, &str)]) -> Vec<(u64, String)> {
    all.iter().map(|(id, word)| (*id, (*word).to_owned())).collect()
}

#[tokio::test]
async fn members_come_and_go_from_the_command_line() {
    within(async {
        let mut run = Run::start(&["--observers", "1"]).await;
        run.leader().await;
        let peer = |i: usize| run.nodes()[i]["peer"].as_str().unwrap().to_owned();
        let (first, fourth) = (format!("1={}", peer(0)), format!("4={}", peer(3)));
        let ask = async |args: &[&str]| ctl(run.path(), &[&["member"][..], args].concat()).await;
        let voters = |ids: [u64; 3]| ids.map(|id| (id, "voter"));

        let list = ask(&["list"]).await;
        assert_eq!(members(&list), words(&voters([1, 2, 3])));
        assert_eq!((&list.json()["since"], &list.json()["joint"]), (&Value::Null, &json!(false)));
        for (wrong, why) in [
            (&["add", &first][..], "n1 votes already"),
            (&["promote", "4"], "n4 does not belong"),
            (&["replace", "4", "5"], "n4 is no voter"),
            (&["remove", "1", "2", "3"], "no voter would be left"),
            (&["change", "--voter", "4"], "the address of n4 is not known"),
        ] {
            let refused = ask(wrong).await;
            assert!(refused.code == 1 && refused.err.contains(why), "{wrong:?}: {}", refused.err);
        }
        assert_eq!(ask(&["add", "4"]).await.code, 2);
        assert_eq!(ask(&["change"]).await.code, 2);
        let absent = ctl(run.path(), &["--timeout", "500ms", "member", "change", "--voter", "9=127.0.0.1:1"]).await;
        assert!(absent.code == 1 && absent.err.contains("n9 is not connected"), "{}", absent.err);

        let mut four = voters([1, 2, 3]).to_vec();
        four.push((4, "learner"));
        let added = ask(&["add", &fourth]).await;
        assert_eq!(members(&added), words(&four));
        assert!(added.json()["since"]["counter"].is_u64());
        let again = ask(&["add", &fourth]).await;
        assert!(members(&again) == words(&four) && again.err.contains("nothing had to be changed"), "{}", again.err);
        let status = ctl(run.path(), &["status"]).await.jsons();
        assert_eq!(status[0]["membership"]["members"].as_array().unwrap().len(), 4);
        let table = String::from_utf8(text(run.path(), &["member", "list"]).await.out).unwrap();
        assert!(table.lines().count() == 5 && table.contains("learner"), "{table}");

        // Whoever leads: n1 goes and n4 comes in one step, and back.
        assert_eq!(members(&ask(&["replace", "1", "4"]).await), words(&voters([2, 3, 4])));
        let back = ask(&["change", "--voter", &first, "--learner", "4"]).await;
        assert_eq!(members(&back), words(&four));
        assert_eq!(members(&ask(&["promote", "4"]).await).last().unwrap().1, "voter");
        assert_eq!(members(&ask(&["demote", "4"]).await), words(&four));
        assert_eq!(members(&ask(&["remove", "4"]).await), words(&voters([1, 2, 3])));
        assert_eq!(ctl(run.path(), &["put", "after", "all"]).await.code, 0);
        assert!(run.event("members").await["since"]["counter"].is_u64(), "the cluster tells of it");
        assert_eq!(run.interrupt().await, Some(130));
    })
    .await;
}

/// What was acknowledged, and when.
struct Acknowledged {
    keys: Vec<String>,
    last: Option<Instant>,
    /// What was done, the last of it now, and the longest time without an acknowledgement meanwhile.
    steps: Vec<(String, Duration)>,
}

impl Acknowledged {
    fn add(&mut self, key: String) {
        let now = Instant::now();
        let gap = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        let longest = &mut self.steps.last_mut().unwrap().1;
        *longest = gap.max(*longest);
        self.keys.push(key);
    }
}

/// Writers, and what they have to know.
struct Load {
    done: Arc<Mutex<Acknowledged>>,
    count: watch::Receiver<usize>,
    /// Where the cluster is; nothing when it is enough.
    addrs: watch::Sender<Vec<String>>,
    writers: Vec<tokio::task::JoinHandle<u64>>,
}

impl Load {
    fn start(n: usize, addrs: Vec<String>) -> Self {
        let steps = vec![("before".to_owned(), Duration::ZERO)];
        let start = Acknowledged { keys: Vec::new(), last: None, steps };
        let done = Arc::new(Mutex::new(start));
        let (counter, count) = watch::channel(0);
        let (addrs, _) = watch::channel(addrs);
        let counter = Arc::new(counter);
        let writers = (0..n)
            .map(|i| tokio::spawn(write(i, addrs.subscribe(), Arc::clone(&done), Arc::clone(&counter))))
            .collect();
        Self { done, count, addrs, writers }
    }

    fn step(&self, what: String) {
        self.done.lock().unwrap().steps.push((what, Duration::ZERO));
    }

    /// Waits until so many more are acknowledged.
    async fn goes_on(&mut self, more: usize) {
        let until = *self.count.borrow() + more;
        self.count.wait_for(|n| *n >= until).await.unwrap();
    }

    /// Ends it. How many writes have no answer.
    async fn end(&mut self) -> u64 {
        self.addrs.send_replace(Vec::new());
        let mut lost = 0;
        for writer in self.writers.drain(..) {
            lost += writer.await.unwrap();
        }
        lost
    }
}

/// Writes one key after the other. A write without an answer is not tried again: nothing is promised of it.
async fn write(
    i: usize,
    mut addrs: watch::Receiver<Vec<String>>,
    done: Arc<Mutex<Acknowledged>>,
    count: Arc<watch::Sender<usize>>,
) -> u64 {
    let mut unanswered = 0;
    for n in 0_u64.. {
        // As an operator would tell clients of new nodes. Each has a session of its own.
        let at = addrs.borrow_and_update().clone();
        if at.is_empty() {
            break;
        }
        let client = Client::connect(ClientConfig::new(at)).unwrap();
        for m in 0_u64.. {
            if addrs.has_changed().unwrap() {
                break;
            }
            let key = format!("{i}-{n}-{m}");
            if client.put(key.as_bytes(), b"v").await.is_err() {
                unanswered += 1;
                continue;
            }
            let mut done = done.lock().unwrap();
            done.add(key);
            count.send_replace(done.keys.len());
        }
    }
    unanswered
}

/// `duet ctl member`, of a cluster from which some nodes are gone.
async fn change(dir: &Path, cluster: &Cluster, args: &[&str]) -> Done {
    let target = format!("{}://{}", cluster.target().protocol, clients(cluster).join(","));
    ctl(dir, &[&["--target", &target, "member"][..], args].concat()).await
}

/// Of the nodes that run.
fn clients(cluster: &Cluster) -> Vec<String> {
    let up = cluster.ids().into_iter().filter(|id| cluster.pid(*id).is_some());
    up.map(|id| cluster.client_addr(id).unwrap().to_owned()).collect()
}

/// Everything that was acknowledged is there.
async fn read_back(cluster: &Cluster, keys: &[String]) {
    let client = Client::connect(ClientConfig::new(clients(cluster))).unwrap();
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let page = client.list(ReadMode::Linearizable, b"", after.as_deref(), 10_000).await.unwrap();
        found.extend(page.pairs.iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()));
        after = page.pairs.last().map(|(key, _)| key.to_vec());
        if !page.more {
            break;
        }
    }
    let lost: Vec<&String> = keys.iter().filter(|key| !found.contains(*key)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes are gone: {:?}", lost.len(), keys.len(), lost.first());
}

#[tokio::test]
async fn every_node_of_a_live_cluster_is_replaced_while_clients_write() {
    within(replace_all(Protocol::Raft)).await;
}

#[tokio::test]
async fn every_node_of_a_live_ensemble_is_replaced_while_clients_write() {
    within(replace_all(Protocol::Zab)).await;
}

async fn replace_all(protocol: Protocol) {
    let dir = tempfile::tempdir().unwrap();
    let exe = Some(assert_cmd::cargo::cargo_bin!("duet").into());
    let spec = ClusterSpec { exe, ..ClusterSpec::new(protocol, dir.path().join("cluster")) };
    let mut cluster = Cluster::start(&spec).await.unwrap();
    let mut load = Load::start(4, clients(&cluster));
    load.goes_on(200).await;
    for old in 1..=3 {
        let new = cluster.add_observer().await.unwrap();
        load.step(format!("{new} is added and promoted"));
        let (id, seat) = (new.0.to_string(), format!("{}={}", new.0, cluster.peer_addr(new).unwrap()));
        members(&change(dir.path(), &cluster, &["add", &seat]).await);
        members(&change(dir.path(), &cluster, &["promote", &id]).await);
        load.step(format!("n{old} is removed"));
        members(&change(dir.path(), &cluster, &["remove", &old.to_string()]).await);
        load.step(format!("n{old} is killed"));
        cluster.kill(NodeId(old)).await.unwrap();
        load.addrs.send_replace(clients(&cluster));
        load.goes_on(200).await;
    }
    let list = change(dir.path(), &cluster, &["list"]).await;
    assert_eq!(members(&list), words(&[(4, "voter"), (5, "voter"), (6, "voter")]));
    let unanswered = load.end().await;
    let (keys, steps) = {
        let mut done = load.done.lock().unwrap();
        (std::mem::take(&mut done.keys), std::mem::take(&mut done.steps))
    };
    let (longest, all) = (steps.iter().map(|s| s.1).max().unwrap(), keys.len());
    println!("{all} writes acknowledged, {unanswered} not; the longest gap between two: {longest:?} of {steps:?}");
    read_back(&cluster, &keys).await;

    // Their settings know nothing of it, their logs do.
    let all = [4, 5, 6].map(NodeId);
    for id in all {
        cluster.kill(id).await.unwrap();
    }
    for id in all {
        cluster.restart(id).await.unwrap();
    }
    read_back(&cluster, &keys).await;
    let list = change(dir.path(), &cluster, &["list"]).await;
    assert_eq!(members(&list), words(&[(4, "voter"), (5, "voter"), (6, "voter")]));
    for (id, end) in cluster.stop().await {
        assert_eq!(end.unwrap().code(), Some(0), "{id}");
    }
}
