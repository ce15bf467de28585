//! A real node alone: sockets, threads and disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::client::wire::{NodeStatus, Response};
use crate::node::{Node, NodeConfig, NodeError};
use crate::storage::StorageError;
use crate::transport::frame::decode_header;
use crate::transport::{FramedConn, TransportError, connect_client};

fn alone(dir: &Path) -> NodeConfig<Fake> {
    let voters = BTreeMap::from([(ME, "127.0.0.1:0".to_owned())]);
    let mut config = NodeConfig::voter(ME, voters, dir.join("n1"), true);
    config.replica.snapshot_entries = 40;
    config.replica.tail_entries = 5;
    config
}

async fn start(config: NodeConfig<Fake>) -> (Node, FramedConn) {
    let node = Node::start(config, KvStore::default()).await.unwrap();
    let conn = connect_client(&node.client_addr().to_string(), "duet", Duration::from_secs(5)).await.unwrap();
    (node, conn)
}

async fn call(conn: &mut FramedConn, requests: Vec<(Request, Vec<u8>)>) -> Vec<(Answer, Bytes)> {
    let mut answers = vec![None; requests.len()];
    for (request, body) in requests {
        conn.writer.push(&request, &body.into()).unwrap();
    }
    conn.writer.flush().await.unwrap();
    while answers.iter().any(Option::is_none) {
        let mut frames = Vec::new();
        conn.reader.read(&mut frames).await.unwrap();
        for frame in frames {
            let response: Response = decode_header(&frame.header).unwrap();
            answers[response.id as usize] = Some((response.answer, frame.body));
        }
    }
    answers.into_iter().flatten().collect()
}

async fn status(conn: &mut FramedConn) -> NodeStatus {
    let answer = call(conn, vec![(Request { id: 0, ask: Ask::Status }, Vec::new())]).await.remove(0).0;
    let Answer::Status(status) = answer else { panic!("{answer:?}") };
    *status
}

async fn read(conn: &mut FramedConn, at_least: LogId) -> Answer {
    let ask = Ask::Read { mode: ReadMode::Linearizable, at_least };
    call(conn, vec![(Request { id: 0, ask }, Vec::new())]).await.remove(0).0
}

fn raw(id: u64) -> (Request, Vec<u8>) {
    let mut body = postcard::to_stdvec(&Envelope::Raw).unwrap();
    body.extend_from_slice(b"bytes for the log alone");
    (Request { id, ask: Ask::Write }, body)
}

#[tokio::test]
async fn it_serves_stops_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = alone(dir.path());
    config.trace = Some(dir.path().join("trace.jsonl"));
    let (node, mut conn) = start(config.clone()).await;
    let answers = call(&mut conn, (0..100).map(raw).collect()).await;
    for (i, (answer, _)) in answers.iter().enumerate() {
        assert_eq!(answer, &Answer::Written { at: id(1, i as u64 + 1) });
    }
    assert_eq!(read(&mut conn, id(1, 100)).await, Answer::Read { at: id(1, 100), stale_us: None });
    let before = status(&mut conn).await;
    assert_eq!((before.core.applied, before.core.epoch), (id(1, 100), 1));
    let of = |s: &NodeStatus, name: &str| s.counters.iter().find(|c| c.0 == name).map_or(0, |c| c.1);
    assert!(of(&before, "cpu_us") > 0 && of(&before, "rss_kb") > 0);
    assert!(of(&before, "fsyncs") > 0 && of(&before, "batches_proposed") <= 100);
    node.stop().await.unwrap();

    // Ports and folder are free again; the state comes back from a snapshot and the log behind it.
    let (node, mut conn) = start(config.clone()).await;
    assert_eq!(read(&mut conn, id(1, 100)).await, Answer::Read { at: id(1, 100), stale_us: None });
    let after = status(&mut conn).await;
    assert_eq!((after.core.epoch, after.state_hash), (2, before.state_hash));
    assert!(after.core.last == id(1, 100) && after.core.snapshot >= id(1, 40), "{after:?}");
    let show = Ask::Log { after: id(1, 98), max: 10 };
    let (Answer::Log(lines), _) = call(&mut conn, vec![(Request { id: 0, ask: show }, Vec::new())]).await.remove(0)
    else {
        panic!()
    };
    assert_eq!(lines.iter().map(|l| l.id).collect::<Vec<_>>(), [id(1, 99), id(1, 100)]);
    assert_eq!(call(&mut conn, vec![raw(0)]).await[0].0, Answer::Written { at: id(2, 1) });
    node.stop().await.unwrap();

    let trace = std::fs::read_to_string(config.trace.unwrap()).unwrap();
    let lines: Vec<serde_json::Value> = trace.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.iter().filter(|l| l["k"] == "meta").count(), 2, "one for each start");
    assert!(lines.iter().filter_map(|l| l["i"].as_u64()).is_sorted_by(|a, b| a < b), "numbers grow over restarts");
}

#[tokio::test]
async fn what_keeps_it_from_starting_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _conn) = start(alone(dir.path())).await;
    let error = Node::start(alone(dir.path()), KvStore::default()).await.unwrap_err();
    assert!(matches!(error, NodeError::Storage(StorageError::InUse { .. })), "{error}");
    let mut taken = alone(&dir.path().join("other"));
    taken.client_listen = node.client_addr().to_string();
    let error = Node::start(taken, KvStore::default()).await.unwrap_err();
    assert!(matches!(error, NodeError::Transport(TransportError::Bind { .. })), "{error}");
    assert!(error.to_string().contains(&node.client_addr().to_string()), "{error}");
    node.stop().await.unwrap();

    let mut stranger = alone(dir.path());
    stranger.cluster = "another".to_owned();
    let error = Node::start(stranger, KvStore::default()).await.unwrap_err();
    assert!(matches!(error, NodeError::Storage(StorageError::Stranger { .. })), "{error}");
    let mut closed = alone(dir.path());
    closed.replica.batch_entries = 0;
    let error = Node::start(closed, KvStore::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "replica setting batch_entries = 0: must be at least 1");
}
