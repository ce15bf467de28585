//! Real nodes of either protocol in one process: sockets on the loopback interface, threads, and disks.
//!
//! Every scenario is written once and run for both protocols.

mod cluster;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{Client, Cluster};
use common::client::wire::ReadMode;
use common::protocol::Protocol;
use common::types::{Member, NodeId, Role};

macro_rules! both {
    ($($scenario:ident),* $(,)?) => {
        mod raft_nodes {
            $(#[tokio::test] async fn $scenario() { super::$scenario::<raft::Raft>(raft::Config::default()).await; })*
        }
        mod zab_nodes {
            $(#[tokio::test] async fn $scenario() { super::$scenario::<zab::Zab>(zab::Config::default()).await; })*
        }
    };
}

both!(
    writes_on_any_node_are_read_on_any_node,
    nodes_restart_one_after_the_other,
    a_dead_leader_is_replaced_and_comes_back,
    a_node_left_far_behind_is_sent_a_snapshot,
    an_observer_serves_what_voters_commit,
    all_nodes_stop_and_start_again,
    leadership_is_handed_over,
    a_leader_cut_off_answers_nothing_stale_and_follows_again,
    writes_are_carried_out_once_while_links_break,
);

async fn writes_on_any_node_are_read_on_any_node<P: Protocol>(config: P::Config) {
    let cluster = Cluster::<P>::start(config, 3, |_| {}).await;
    let leader = cluster.leader().await;
    for (i, id) in cluster.ids().into_iter().enumerate() {
        let mut client = Client::connect(&cluster, &[id]).await;
        let keys: Vec<String> = (0..100).map(|k| format!("{i}-{k}")).collect();
        client.put_all(&keys, "value").await;
        for reader in cluster.ids() {
            let mut reader = Client::connect(&cluster, &[reader]).await;
            assert_eq!(reader.get(&keys[99], ReadMode::Linearizable).await.as_deref(), Some("value"));
        }
    }
    assert_eq!(cluster.leader().await, leader, "nothing gave a reason for an election");
    let status = cluster.settled().await;
    assert_eq!(status[&leader].core.role, Role::Leading);
    assert!(status.values().all(|s| s.sessions == 3), "each client's session is known everywhere");
}

async fn nodes_restart_one_after_the_other<P: Protocol>(config: P::Config) {
    let mut cluster = Cluster::<P>::start(config, 3, |_| {}).await;
    let mut client = Client::connect(&cluster, &cluster.ids()).await;
    let mut written = 0;
    for id in cluster.ids() {
        cluster.stop(id).await;
        let keys: Vec<String> = (written..written + 50).map(|k| k.to_string()).collect();
        client.reconnect(&cluster).await;
        client.put_all(&keys, "x").await;
        written += 50;
        cluster.restart(id).await;
        cluster.settled().await;
    }
    client.reconnect(&cluster).await;
    for key in 0..written {
        assert_eq!(client.get(&key.to_string(), ReadMode::Linearizable).await.as_deref(), Some("x"), "key {key}");
    }
}

async fn a_dead_leader_is_replaced_and_comes_back<P: Protocol>(config: P::Config) {
    let mut cluster = Cluster::<P>::start(config, 3, |_| {}).await;
    let first = cluster.leader().await;
    let mut client = Client::connect(&cluster, &cluster.ids()).await;
    client.put("a", "1").await;
    cluster.stop(first).await;
    client.reconnect(&cluster).await;
    client.put("a", "2").await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    cluster.restart(first).await;
    let status = cluster.settled().await;
    assert_eq!(status[&first].core.role, Role::Following);
    assert!(status[&first].core.epoch > 0 && status[&first].core.epoch == status[&second].core.epoch);
    let mut client = Client::connect(&cluster, &[first]).await;
    assert_eq!(client.get("a", ReadMode::Linearizable).await.as_deref(), Some("2"));
}

async fn a_node_left_far_behind_is_sent_a_snapshot<P: Protocol>(config: P::Config) {
    let mut cluster = Cluster::<P>::start(config, 3, |node| {
        node.replica.snapshot_entries = 100;
        node.replica.tail_entries = 10;
        node.storage.segment_bytes = 4 << 10;
    })
    .await;
    let leader = cluster.leader().await;
    let behind = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.stop(behind).await;
    let mut client = Client::connect(&cluster, &[leader]).await;
    let large = "v".repeat(200);
    for round in 0..10 {
        let keys: Vec<String> = (0..50).map(|k| format!("{round}-{k}")).collect();
        client.put_all(&keys, &large).await;
    }
    cluster.restart(behind).await;
    let status = cluster.settled().await;
    let count = |name: &str| status[&behind].counters.iter().find(|c| c.0 == name).map_or(0, |c| c.1);
    assert_eq!(count("snapshots_installed"), 1);
    // It can go on from there, also over another start.
    client.put("after", "1").await;
    cluster.stop(behind).await;
    cluster.restart(behind).await;
    cluster.settled().await;
    let mut client = Client::connect(&cluster, &[behind]).await;
    assert_eq!(client.get("9-49", ReadMode::Linearizable).await.as_deref(), Some(&large[..]));
    assert_eq!(client.get("after", ReadMode::Linearizable).await.as_deref(), Some("1"));
}

async fn an_observer_serves_what_voters_commit<P: Protocol>(config: P::Config) {
    let mut cluster = Cluster::<P>::start(config, 3, |_| {}).await;
    let observer = NodeId(9);
    cluster.add_observer(observer).await;
    let mut client = Client::connect(&cluster, &[observer]).await;
    let keys: Vec<String> = (0..20).map(|k| k.to_string()).collect();
    client.put_all(&keys, "seen").await;
    assert_eq!(client.get("19", ReadMode::Linearizable).await.as_deref(), Some("seen"));
    assert_eq!(client.get("19", ReadMode::Local).await.as_deref(), Some("seen"));
    let status = cluster.settled().await;
    assert_eq!((status[&observer].core.role, status[&observer].core.member), (Role::Observing, Member::Observer));
}

async fn all_nodes_stop_and_start_again<P: Protocol>(config: P::Config) {
    let mut cluster = Cluster::<P>::start(config, 3, |_| {}).await;
    let mut client = Client::connect(&cluster, &cluster.ids()).await;
    let keys: Vec<String> = (0..300).map(|k| k.to_string()).collect();
    client.put_all(&keys, "kept").await;
    let before: BTreeMap<_, _> = cluster.settled().await.into_iter().map(|(id, s)| (id, s.state_hash)).collect();
    for id in cluster.ids() {
        cluster.stop(id).await;
    }
    for id in before.keys() {
        cluster.restart(*id).await;
    }
    cluster.leader().await;
    client.reconnect(&cluster).await;
    assert_eq!(client.get("299", ReadMode::Linearizable).await.as_deref(), Some("kept"));
    for (id, status) in cluster.settled().await {
        assert_eq!(status.state_hash, before[&id], "the same state on {id}, and nothing applied twice");
    }
}

async fn leadership_is_handed_over<P: Protocol>(config: P::Config) {
    let cluster = Cluster::<P>::start(config, 3, |_| {}).await;
    let leader = cluster.leader().await;
    let to = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    let mut client = Client::connect(&cluster, &[to]).await;
    if client.transfer(to).await {
        cluster.until("the new one leads", |status| status[&to].core.role == Role::Leading).await;
    }
    client.put("k", "v").await;
    cluster.settled().await;
}

async fn a_leader_cut_off_answers_nothing_stale_and_follows_again<P: Protocol>(config: P::Config) {
    let cluster = Cluster::<P>::linked(config, 3).await;
    let old = cluster.leader().await;
    let others: Vec<NodeId> = cluster.ids().into_iter().filter(|id| *id != old).collect();
    let mut there = Client::connect(&cluster, &[old]).await;
    there.put("k", "before").await;
    cluster.isolate(old, true);
    let new = cluster.leader_of(&others).await;
    let mut here = Client::connect(&cluster, &others).await;
    here.put("k", "after").await;
    let read = there.get_once("k", ReadMode::Linearizable).await;
    assert!(read.is_err(), "cut off, and yet it answers {read:?}");
    cluster.isolate(old, false);
    let status = cluster.settled().await;
    assert_eq!(status[&new].core.role, Role::Leading, "whoever comes back does not disturb");
    assert_eq!(there.get("k", ReadMode::Linearizable).await.as_deref(), Some("after"));
}

async fn writes_are_carried_out_once_while_links_break<P: Protocol>(config: P::Config) {
    let cluster = Cluster::<P>::linked(config, 3).await;
    cluster.leader().await;
    let ids = cluster.ids();
    let over = Cell::new(false);
    let count = |key: &'static str, first: usize| {
        let (cluster, over, mut nodes) = (&cluster, &over, ids.clone());
        nodes.rotate_left(first);
        async move {
            let mut client = Client::connect(cluster, &nodes).await;
            let mut n = 0;
            while !over.get() {
                client.count_up(cluster, key, n).await;
                n += 1;
            }
            (key, n)
        }
    };
    let breaking = async {
        // Each node in turn, the leader too; long enough for an election now and then.
        for (round, pause) in [20u64, 600, 150, 400, 40, 500].into_iter().enumerate() {
            let id = ids[round % ids.len()];
            cluster.isolate(id, true);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            cluster.isolate(id, false);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        over.set(true);
    };
    let (a, b, c, ()) = tokio::join!(count("a", 0), count("b", 1), count("c", 2), breaking);
    cluster.settled().await;
    let mut client = Client::connect(&cluster, &ids).await;
    for (key, n) in [a, b, c] {
        assert!(n > 0);
        assert_eq!(client.get(key, ReadMode::Linearizable).await, Some(n.to_string()));
    }
}
