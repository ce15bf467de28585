//! The client against scripted nodes on real sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::wire::{Answer, Ask, Envelope, NodeStatus, Request, Response};
use super::*;
use crate::entries::{Batch, Entries, EntryKind};
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::protocol::Refusal;
use crate::state_machine::{Applier, KvStore};
use crate::status::Status;
use crate::transport::frame::decode_header;
use crate::transport::{ClientEvent, ClientLimits, ClientListener, ClientPortConfig, ConnId};
use crate::types::{Member, Role};

/// Long enough for any machine; reached only by a test that fails.
async fn soon<F: Future>(f: F) -> F::Output {
    timeout(Duration::from_secs(30), f).await.expect("it happens")
}

/// A node that does what the test says, with a real state machine.
struct Node {
    id: NodeId,
    leader: Option<NodeId>,
    listener: ClientListener,
    events: mpsc::Receiver<ClientEvent>,
    addr: String,
    waiting: Vec<(ConnId, Request, Bytes)>,
    applier: Applier<KvStore>,
    at: u64,
}

impl Node {
    async fn start(id: u64, leader: u64) -> Self {
        let config = ClientPortConfig {
            cluster: "test".into(),
            protocol: "raft".into(),
            node: NodeId(id),
            listen: "127.0.0.1:0".into(),
            limits: ClientLimits::default(),
        };
        let (listener, events) = ClientListener::bind(config, Arc::new(Counters::default())).await.unwrap();
        Self {
            id: NodeId(id),
            leader: (leader > 0).then_some(NodeId(leader)),
            addr: listener.local_addr().to_string(),
            listener,
            events,
            waiting: Vec::new(),
            applier: Applier::new(KvStore::default()),
            at: 0,
        }
    }

    fn config(&self) -> ClientConfig {
        ClientConfig { cluster: Some("test".into()), ..ClientConfig::new([self.addr.clone()]) }
    }

    fn client(&self) -> Client {
        Client::connect(self.config()).unwrap()
    }

    /// The next thing that happens.
    async fn event(&mut self) -> ClientEvent {
        soon(self.events.recv()).await.expect("the port is open")
    }

    /// The next request, whatever it is.
    async fn any(&mut self) -> (ConnId, Request, Bytes) {
        while self.waiting.is_empty() {
            if let ClientEvent::Frames { conn, frames } = self.event().await {
                let frames = frames.into_iter().map(|f| (conn, decode_header(&f.header).unwrap(), f.body));
                self.waiting.extend(frames);
            }
        }
        self.waiting.remove(0)
    }

    /// The next request that is a caller's: says who leads and opens sessions by the way.
    async fn next(&mut self) -> (ConnId, Request, Bytes) {
        loop {
            let (conn, request, body) = self.any().await;
            match &request.ask {
                Ask::Status => self.reply(conn, request.id, Answer::Status(Box::new(self.status())), &Bytes::new()),
                Ask::Write if envelope(&body) == Envelope::Open => self.serve(conn, &request, &body),
                _ => return (conn, request, body),
            }
        }
    }

    /// Until a connection is closed by the client.
    async fn closed(&mut self) {
        while !matches!(self.event().await, ClientEvent::Closed { .. }) {}
    }

    fn status(&self) -> NodeStatus {
        let leads = self.leader == Some(self.id);
        let core = Status {
            protocol: "raft".into(),
            id: self.id,
            member: Member::Voter,
            role: if leads { Role::Leading } else { Role::Following },
            phase: String::new(),
            leader: self.leader,
            epoch: 1,
            hard: Vec::new(),
            base: LogId::ZERO,
            last: LogId::ZERO,
            durable: LogId::ZERO,
            committed: LogId::ZERO,
            applied: LogId::ZERO,
            snapshot: LogId::ZERO,
            membership: Membership::default(),
            membership_at: LogId::ZERO,
            peers: Vec::new(),
        };
        NodeStatus { core, state_hash: 0, sessions: 0, counters: Vec::new() }
    }

    fn reply(&mut self, conn: ConnId, id: u64, answer: Answer, body: &Bytes) {
        self.listener.reply(conn, &Response { id, answer }, body);
        self.listener.flush();
    }

    /// Puts a write in the log and applies it.
    fn apply(&mut self, body: &Bytes) -> (Answer, Bytes) {
        self.at += 1;
        let run = Entries::new(LogId::new(1, self.at), EntryKind::Command, Batch::single(body.clone())).unwrap();
        let mut answers = Vec::new();
        self.applier.apply(&run, &mut answers);
        let applied = answers.remove(0);
        (applied.answer, applied.body)
    }

    /// Does what is asked, as a node should.
    fn serve(&mut self, conn: ConnId, request: &Request, body: &Bytes) {
        let (answer, body) = match &request.ask {
            Ask::Write => self.apply(body),
            Ask::Read { .. } => (Answer::Read { at: self.applier.applied(), stale_us: None }, self.applier.query(body)),
            Ask::Status => (Answer::Status(Box::new(self.status())), Bytes::new()),
            Ask::Log { .. } => (Answer::Log(Vec::new()), Bytes::new()),
            Ask::Transfer { .. } => (Answer::Transferred { to: NodeId(1) }, Bytes::new()),
            Ask::Change { .. } => (Answer::Changed { at: LogId::new(1, 1) }, Bytes::new()),
        };
        self.reply(conn, request.id, answer, &body);
    }

    /// Serves for the rest of the test.
    fn run(mut self) {
        tokio::spawn(async move {
            loop {
                let (conn, request, body) = self.any().await;
                self.serve(conn, &request, &body);
            }
        });
    }
}

fn envelope(body: &Bytes) -> Envelope {
    postcard::take_from_bytes(body).unwrap().0
}

fn number(body: &Bytes) -> (LogId, u64) {
    match envelope(body) {
        Envelope::Write { session, seq, .. } => (session.0, seq),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_store_as_a_client_sees_it() {
    let node = Node::start(1, 1).await;
    let client = node.client();
    node.run();
    soon(async {
        assert_eq!(client.get(b"a").await, Ok(None));
        client.put(b"a", b"1").await.unwrap();
        assert_eq!(client.get(b"a").await, Ok(Some(Bytes::from_static(b"1"))));
        let found = Some(Bytes::from_static(b"1"));
        assert_eq!(client.cas(b"a", None, b"2").await, Ok(Swap::Differs { found }));
        assert_eq!(client.cas(b"a", Some(b"1"), b"2").await, Ok(Swap::Done));
        client.put(b"b", &vec![7; 100_000]).await.unwrap();
        let page = client.list(ReadMode::Local, b"", None, 1).await.unwrap();
        assert_eq!(page.pairs, [(Bytes::from_static(b"a"), Bytes::from_static(b"2"))]);
        assert!(page.more);
        assert_eq!(client.get_with(ReadMode::Local, b"b").await.unwrap().unwrap().len(), 100_000);
        assert_eq!(client.delete(b"a").await, Ok(true));
        assert_eq!(client.delete(b"a").await, Ok(false));
        assert_eq!(client.count(ReadMode::Linearizable).await, Ok(1));
        assert!(client.append_raw(Bytes::from_static(b"for the log")).await.is_ok());
        let error = client.put(&[0; 5000], b"").await.unwrap_err();
        assert_eq!(error.to_string(), "not done: the key has 5000 bytes, at most 4096 are allowed");
        let error = client.write(&vec![0; 9 << 20]).await.unwrap_err();
        assert!(matches!(error, ClientError::NotDone(Cause::TooLarge { .. })), "{error}");
        assert_eq!(client.write(b"\xff").await.unwrap().body, crate::state_machine::kv::Answer::Malformed.to_bytes());
    })
    .await;
}

#[tokio::test]
async fn many_tasks_share_a_connection() {
    let node = Node::start(1, 1).await;
    let client = Client::connect(ClientConfig { window: 16, ..node.config() }).unwrap();
    node.run();
    let tasks: Vec<_> = (0..64u32)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..20u32 {
                    client.put(&task.to_le_bytes(), &n.to_le_bytes()).await.unwrap();
                    let value = client.get(&task.to_le_bytes()).await.unwrap();
                    assert_eq!(value.as_deref(), Some(&n.to_le_bytes()[..]));
                }
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(soon(client.count(ReadMode::Local)).await, Ok(64));
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_repeated_and_done_once() {
    let mut node = Node::start(1, 1).await;
    let client = node.client();
    let put = tokio::spawn(async move { client.cas(b"k", None, b"v").await });
    let (conn, _, body) = node.next().await;
    node.apply(&body);
    node.listener.close(conn, "a test");
    let (conn, request, again) = node.next().await;
    assert_eq!(number(&again), number(&body));
    node.serve(conn, &request, &again);
    assert_eq!(soon(put).await.unwrap(), Ok(Swap::Done), "not: it differs, because it was done before");
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_under_the_same_number() {
    let mut node = Node::start(1, 1).await;
    let client = node.client();
    let put = tokio::spawn(async move { client.put(b"k", b"v").await });
    let (conn, request, body) = node.next().await;
    node.reply(conn, request.id, Answer::Unknown, &Bytes::new());
    let (conn, request, again) = node.next().await;
    assert_eq!(number(&again), number(&body));
    node.serve(conn, &request, &again);
    assert!(soon(put).await.unwrap().is_ok());
}

#[tokio::test]
async fn the_leader_is_found_and_followed() {
    let (mut first, mut second) = (Node::start(1, 2).await, Node::start(2, 2).await);
    let addrs = vec![first.addr.clone(), second.addr.clone()];
    let client = Client::connect(ClientConfig { addrs, ..first.config() }).unwrap();
    let put = |n: u8| {
        let client = client.clone();
        tokio::spawn(async move { client.put(b"k", &[n]).await })
    };
    let one = put(1);
    let (conn, request, body) = first.any().await;
    assert_eq!(request.ask, Ask::Status);
    first.serve(conn, &request, &body);
    let (conn, request, body) = second.next().await;
    second.serve(conn, &request, &body);
    assert!(soon(one).await.unwrap().is_ok());

    // Leadership moves; the second node says to whom.
    first.leader = Some(NodeId(1));
    let two = put(2);
    let (conn, request, body) = second.next().await;
    let leader = first.leader;
    second.reply(conn, request.id, Answer::Refused(Refusal::NotLeader { leader }), &Bytes::new());
    first.applier = std::mem::replace(&mut second.applier, Applier::new(KvStore::default()));
    first.at = second.at;
    let (conn, request, again) = first.next().await;
    assert_eq!(number(&again), number(&body));
    first.serve(conn, &request, &again);
    assert!(soon(two).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_node_that_says_nothing_is_left() {
    let (mut silent, node) = (Node::start(1, 1).await, Node::start(2, 2).await);
    let addrs = vec![silent.addr.clone(), node.addr.clone()];
    let stall_timeout = Duration::from_millis(50);
    let client = Client::connect(ClientConfig { addrs, stall_timeout, ..node.config() }).unwrap();
    let put = tokio::spawn(async move { client.put(b"k", b"v").await });
    assert_eq!(silent.any().await.1.ask, Ask::Status);
    node.run();
    silent.closed().await;
    assert!(soon(put).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_damaged_answer_closes_the_connection() {
    for damage in 0..3 {
        let mut node = Node::start(1, 1).await;
        let client = node.client();
        let put = tokio::spawn(async move { client.put(b"k", b"v").await });
        let (conn, request, body) = node.next().await;
        match damage {
            0 => node.reply(conn, request.id + 1000, Answer::Unknown, &Bytes::new()),
            1 => node.reply(conn, request.id, Answer::Transferred { to: NodeId(1) }, &Bytes::new()),
            _ => {
                node.listener.reply(conn, &[0xffu8; 20], &Bytes::new());
                node.listener.flush();
            }
        }
        node.closed().await;
        let (conn, request, again) = node.next().await;
        assert_eq!(number(&again), number(&body));
        node.serve(conn, &request, &again);
        assert!(soon(put).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn no_more_than_the_window_is_under_way() {
    let mut node = Node::start(1, 1).await;
    let client = Client::connect(ClientConfig { window: 3, ..node.config() }).unwrap();
    let tasks: Vec<_> = (0..10u8)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.put(&[n], b"v").await })
        })
        .collect();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(node.next().await);
    }
    let mut served = 0;
    while served < 10 {
        // A read of the node's own would find a fourth one here if it had been sent.
        while let Ok(ClientEvent::Frames { conn, frames }) = node.events.try_recv() {
            let frames = frames.into_iter().map(|f| (conn, decode_header(&f.header).unwrap(), f.body));
            node.waiting.extend(frames);
        }
        assert!(open.len() + node.waiting.len() <= 3);
        let (conn, request, body) = open.remove(0);
        node.serve(conn, &request, &body);
        served += 1;
        if served + open.len() < 10 {
            open.push(node.next().await);
        }
    }
    for task in tasks {
        assert!(soon(task).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn out_of_time_the_outcome_is_unknown_only_if_it_was_sent() {
    let mut node = Node::start(1, 1).await;
    let request_timeout = Duration::from_millis(100);
    let client = Client::connect(ClientConfig { request_timeout, ..node.config() }).unwrap();
    let put = tokio::spawn(async move { client.put(b"k", b"v").await });
    let (_conn, _request, _body) = node.next().await;
    let error = soon(put).await.unwrap().unwrap_err();
    assert!(error.is_timeout() && error.may_have_happened(), "{error}");

    // Nobody listens where the node was.
    let config = ClientConfig { request_timeout, ..node.config() };
    drop(node);
    let client = Client::connect(config).unwrap();
    let error = soon(client.put(b"k", b"v")).await.unwrap_err();
    assert!(error.is_timeout() && !error.may_have_happened(), "{error}");
}

#[tokio::test]
async fn a_local_read_is_not_older_than_what_was_seen() {
    let mut node = Node::start(1, 2).await;
    let client = Client::connect(ClientConfig { follow_leader: false, ..node.config() }).unwrap();
    let task = tokio::spawn(async move {
        let at = client.put(b"k", b"v").await.unwrap();
        client.get_with(ReadMode::Local, b"k").await.unwrap();
        at
    });
    let (conn, request, body) = node.next().await;
    node.serve(conn, &request, &body);
    let (conn, request, body) = node.next().await;
    node.serve(conn, &request, &body);
    let at_least = soon(task).await.unwrap();
    assert_eq!(request.ask, Ask::Read { mode: ReadMode::Local, at_least });
}

#[tokio::test]
async fn a_session_that_is_lost_between_attempts_leaves_the_outcome_unknown() {
    let mut node = Node::start(1, 1).await;
    let client = node.client();
    let other = client.clone();
    let put = tokio::spawn(async move { client.put(b"k", b"v").await });
    let (conn, _, body) = node.next().await;
    let lost = number(&body).0;
    node.listener.close(conn, "a test");
    let (conn, request, _) = node.next().await;
    node.reply(conn, request.id, Answer::NoSession, &Bytes::new());
    assert_eq!(soon(put).await.unwrap(), Err(ClientError::OutcomeUnknown(Cause::SessionLost)));

    let put = tokio::spawn(async move { other.put(b"k", b"w").await });
    let (conn, request, body) = node.next().await;
    assert_ne!(number(&body).0, lost);
    node.serve(conn, &request, &body);
    assert!(soon(put).await.unwrap().is_ok());
}

#[tokio::test]
async fn operators_ask_one_node() {
    let node = Node::start(3, 1).await;
    let (client, addr) = (node.client(), node.addr.clone());
    let ask = admin::Node { addr: &addr, cluster: Some("other"), timeout: Duration::from_secs(10) };
    node.run();
    soon(async {
        assert_eq!(client.status(&addr).await.unwrap().core.id, NodeId(3));
        assert_eq!(client.log(&addr, LogId::ZERO, 5).await, Ok(Vec::new()));
        assert_eq!(client.transfer(&addr, None).await, Ok(NodeId(1)));
        let error = ask.status().await.unwrap_err().to_string();
        assert!(error.contains("test") && error.contains("other"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_connection_closes_with_the_last_clone() {
    let mut node = Node::start(1, 1).await;
    let client = node.client();
    let clone = client.clone();
    assert_eq!(node.any().await.1.ask, Ask::Status);
    drop(client);
    drop(clone);
    node.closed().await;
}
