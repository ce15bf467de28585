//! Observers that feed one another, as processes.

use bench::cli::Protocol;
use bench::compare::live::{Live, until};
use bench::supervisor::{ClusterSpec, Feed};
use common::client::{Client, ClientConfig};
use common::types::NodeId;

use super::support::{duet, within};

/// Waits until this node feeds that one.
async fn feeds(live: &Live, feeder: u64, fed: u64) {
    let what = format!("n{feeder} does not feed n{fed}");
    let look = || async {
        let status = live.status(NodeId(feeder)).await?;
        status.core.peers.iter().any(|peer| peer.id == NodeId(fed)).then_some(())
    };
    until(&what, look).await.unwrap();
}

#[tokio::test]
async fn observers_are_a_chain_whose_middle_may_die() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        // Long enough for a process to start: until then its session is waited for.
        let settings = ["zab.sync_limit_ms=5000", "zab.init_limit_ms=10000"].map(str::to_owned).to_vec();
        let spec = ClusterSpec {
            exe: Some(assert_cmd::cargo::cargo_bin!("duet").into()),
            observers: 3,
            feed: Feed::Chain,
            settings,
            ..ClusterSpec::new(Protocol::Zab, dir.path().join("cluster"))
        };
        let mut live = Live::start(&spec).await.unwrap();
        let leader = live.leader().await.unwrap();
        let first = if leader == NodeId(1) { 2 } else { 1 };
        feeds(&live, first, 4).await;
        feeds(&live, 4, 5).await;
        feeds(&live, 5, 6).await;
        let status = live.status(leader).await.unwrap();
        assert!(status.core.peers.iter().all(|peer| peer.id.0 <= 3), "the leader feeds its followers: {status:?}");

        let client = Client::connect(ClientConfig::new(live.cluster().client_addrs())).unwrap();
        for key in 0..100_u64 {
            client.put(&key.to_be_bytes(), b"1").await.unwrap();
        }
        live.cluster().kill(NodeId(5)).await.unwrap();
        for key in 0..100_u64 {
            client.put(&key.to_be_bytes(), b"2").await.unwrap();
        }
        feeds(&live, 4, 6).await;
        live.cluster().restart(NodeId(5)).await.unwrap();
        feeds(&live, 4, 5).await;
        let states = live.level(&live.ids()).await.unwrap();
        assert!(states.iter().all(|s| s.state_hash == states[0].state_hash), "{states:#?}");
        live.stop().await;
    })
    .await;
}

#[tokio::test]
async fn only_zab_has_a_choice_who_feeds_observers() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let out = duet(dir.path(), &["cluster", "--observers", "2", "--feed", "chain"]).output().await.unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(
            said.contains("--feed chain: in Raft the leader feeds all learners") && said.contains("hint:"),
            "{said}"
        );
    })
    .await;
}
