//! Real sockets on 127.0.0.1. Every wait is for an event; the limit in `soon` only turns a hang into a failure.

mod members;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::frame::decode_header;
use super::*;
use crate::metrics::Counters;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens soon")
}

struct Node {
    net: Transport,
    events: mpsc::Receiver<PeerEvent>,
    counters: Arc<Counters>,
}

impl Node {
    fn start(config: TransportConfig, listener: Option<TcpListener>) -> Self {
        let counters = Arc::new(Counters::default());
        let (net, events) = Transport::start(config, listener, Arc::clone(&counters)).unwrap();
        Self { net, events, counters }
    }

    async fn next(&mut self) -> PeerEvent {
        soon(self.events.recv()).await.expect("the transport runs")
    }

    async fn up(&mut self) -> (Session, Member) {
        match self.next().await {
            PeerEvent::Up { session, member } => (session, member),
            other => panic!("Up, not {other:?}"),
        }
    }

    async fn down(&mut self) -> (Session, DownReason) {
        loop {
            match self.next().await {
                PeerEvent::Down { session, reason } => return (session, reason),
                PeerEvent::Frames { .. } => {}
                PeerEvent::Up { session, .. } => panic!("Down, not Up {session}"),
            }
        }
    }

    /// Frames of the session until there are `n`.
    async fn frames(&mut self, of: Session, n: usize) -> Vec<Frame> {
        let mut all = Vec::new();
        while all.len() < n {
            match self.next().await {
                PeerEvent::Frames { session, frames } => {
                    assert_eq!(session, of);
                    assert!(!frames.is_empty());
                    all.extend(frames);
                }
                other => panic!("frames, not {other:?}"),
            }
        }
        all
    }

    fn say(&mut self, to: Session, number: u64) {
        self.net.send(to, channel::PROTOCOL, &number, &Bytes::new());
    }
}

fn numbers(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|f| decode_header(&f.header).unwrap()).collect()
}

/// A configuration for each id: voters listen, the others observe.
async fn configs(voters: &[u64]) -> (BTreeMap<NodeId, String>, BTreeMap<u64, TcpListener>) {
    let (mut addrs, mut listeners) = (BTreeMap::new(), BTreeMap::new());
    for id in voters {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addrs.insert(NodeId(*id), listener.local_addr().unwrap().to_string());
        listeners.insert(*id, listener);
    }
    (addrs, listeners)
}

fn config(id: u64, voters: &BTreeMap<NodeId, String>) -> TransportConfig {
    let id = NodeId(id);
    let member = if voters.contains_key(&id) { Member::Voter } else { Member::Observer };
    TransportConfig {
        cluster: "test".into(),
        protocol: "raft".into(),
        id,
        member,
        listen: None,
        voters: voters.clone(),
        sources: BTreeMap::new(),
        // Patient: on a busy machine a test must not see a silence that is the machine's.
        limits: PeerLimits { idle_timeout: Duration::from_secs(15), ..PeerLimits::default() },
    }
}

/// Two voters with a session. The second one dials.
async fn pair() -> (Node, Session, Node, Session) {
    pair_with(|_| ()).await
}

async fn pair_with(change: impl Fn(&mut TransportConfig)) -> (Node, Session, Node, Session) {
    let (voters, mut listeners) = configs(&[1, 2]).await;
    let mut start = |id| {
        let mut config = config(id, &voters);
        change(&mut config);
        Node::start(config, listeners.remove(&id))
    };
    let (mut a, mut b) = (start(1), start(2));
    let (to_b, _) = a.up().await;
    let (to_a, _) = b.up().await;
    (a, to_b, b, to_a)
}

#[tokio::test]
async fn every_pair_gets_one_session_and_observers_none_among_themselves() {
    let (voters, mut listeners) = configs(&[1, 2, 3]).await;
    let mut nodes: BTreeMap<u64, Node> =
        [1, 2, 3, 8, 9].into_iter().map(|id| (id, Node::start(config(id, &voters), listeners.remove(&id)))).collect();
    for (id, node) in &mut nodes {
        let expected: Vec<u64> = match id {
            1..=3 => [1, 2, 3, 8, 9].into_iter().filter(|p| p != id).collect(),
            _ => vec![1, 2, 3],
        };
        let mut seen = BTreeMap::new();
        for _ in &expected {
            let (session, member) = node.up().await;
            assert_eq!(member == Member::Voter, session.peer.0 <= 3);
            assert_eq!(seen.insert(session.peer.0, session), None, "one session for each peer");
        }
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn frames_arrive_in_order_and_leave_in_few_writes() {
    const N: u64 = 100_000;
    let (mut a, to_b, mut b, to_a) = pair().await;
    let sender = tokio::spawn(async move {
        for number in 0..N {
            a.say(to_b, number);
            if number % 1000 == 999 {
                a.net.flush();
                tokio::task::yield_now().await;
            }
        }
        a
    });
    let got = numbers(&b.frames(to_a, N as usize).await);
    assert!(got.iter().copied().eq(0..N));
    let a = sender.await.unwrap();
    assert_eq!((a.counters.messages_sent.get(), b.counters.messages_received.get()), (N, N));
    assert!(a.counters.peer_writes.get() < N / 100, "{} writes", a.counters.peer_writes.get());
    assert_eq!(a.counters.peer_bytes_sent.get(), b.counters.peer_bytes_received.get());
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let (mut a, to_b, mut b, to_a) = pair().await;
    let body: Bytes = (0..5_000_000u32).map(|i| (i / 7) as u8).collect();
    for _ in 0..4 {
        a.net.send(to_b, channel::FORWARD, "big", &body);
        b.net.send(to_a, channel::PROTOCOL, "big", &body);
    }
    a.net.flush();
    b.net.flush();
    let (at_a, at_b) = tokio::join!(a.frames(to_b, 4), b.frames(to_a, 4));
    assert!(at_a.iter().chain(&at_b).all(|f| f.body == body));
    assert!(at_b.iter().all(|f| f.channel == channel::FORWARD));
}

#[tokio::test]
async fn a_node_that_dies_is_down_at_the_other_and_comes_back() {
    let (voters, mut listeners) = configs(&[1, 2]).await;
    let mut a = Node::start(config(1, &voters), listeners.remove(&1));
    let mut b = Node::start(config(2, &voters), listeners.remove(&2));
    let ((old_at_a, _), (old_at_b, _)) = (a.up().await, b.up().await);

    // The dialler dies.
    b.net.shutdown().await;
    assert_eq!(a.down().await.0, old_at_a);
    let mut b = Node::start(config(2, &voters), None);
    let (new_at_a, _) = a.up().await;
    let (at_b, _) = b.up().await;
    assert!(new_at_a.number > old_at_a.number);
    a.say(old_at_a, 1);
    a.say(new_at_a, 2);
    a.net.flush();
    assert_eq!(numbers(&b.frames(at_b, 1).await), [2], "what was meant for the old session is dropped");
    assert_eq!(old_at_b.peer, NodeId(1));

    // The one that is dialled dies, and comes back at the same address.
    a.net.shutdown().await;
    assert_eq!(b.down().await.0, at_b);
    let listen = Some(voters[&NodeId(1)].clone());
    let config = TransportConfig { listen, ..config(1, &voters) };
    let (net, events) = Transport::bind(config, Arc::default()).await.unwrap();
    assert_eq!(net.local_addr().unwrap().to_string(), voters[&NodeId(1)]);
    let mut a = Node { net, events, counters: Arc::default() };
    assert_eq!(a.up().await.0.peer, NodeId(2));
    assert!(b.up().await.0.number > at_b.number);
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older() {
    let (voters, mut listeners) = configs(&[1]).await;
    let mut a = Node::start(config(1, &voters), listeners.remove(&1));
    let mut first = Node::start(config(9, &voters), None);
    let (old, _) = a.up().await;
    first.up().await;
    let mut second = Node::start(config(9, &voters), None);
    assert_eq!(a.down().await, (old, DownReason::Replaced));
    let (new, _) = a.up().await;
    assert!(new.number > old.number && new.peer == old.peer);
    assert_eq!(first.down().await.1, DownReason::Closed);
    second.up().await;
}

#[tokio::test]
async fn disconnect_ends_the_session_at_both_ends_and_a_new_one_follows() {
    let (mut a, to_b, mut b, to_a) = pair().await;
    a.net.disconnect(to_b, "it lied");
    assert_eq!(a.down().await, (to_b, DownReason::Disconnected("it lied")));
    assert_eq!(b.down().await.0, to_a);
    let (again, _) = a.up().await;
    assert!(again.number > to_b.number);
    b.up().await;
}

#[tokio::test]
async fn more_than_the_queue_holds_drops_the_session_and_never_a_frame_within_it() {
    let limit = QueueLimits { bytes: FrameLimits::PEER.max_frame as usize, frames: 1000 };
    let (mut a, to_b, mut b, to_a) = pair_with(|c| c.limits.queue = limit).await;
    for number in 0..=1000 {
        a.say(to_b, number);
    }
    a.net.flush();
    assert_eq!(a.down().await, (to_b, DownReason::Overflow { bytes: limit.bytes, frames: limit.frames }));
    assert_eq!(a.counters.queue_overflows.get(), 1);
    assert_eq!(b.down().await.0, to_a);
    a.up().await;
    b.up().await;
}

#[tokio::test]
async fn a_peer_that_does_not_take_is_not_read_from_and_gets_everything_later() {
    let (mut a, to_b, mut b, to_a) = pair_with(|c| c.limits.events = 1).await;
    let body = Bytes::from(vec![5; 1 << 20]);
    for number in 0..40u64 {
        a.net.send(to_b, channel::PROTOCOL, &number, &body);
    }
    a.net.flush();
    // `b` takes nothing, so its buffers and the socket's fill up and `a` must keep the rest.
    soon(async {
        let mut last = u64::MAX;
        while a.counters.peer_bytes_sent.get() != last || last == 0 {
            last = a.counters.peer_bytes_sent.get();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(a.counters.peer_bytes_sent.get() < 40 << 20, "back-pressure");
    let frames = b.frames(to_a, 40).await;
    assert!(numbers(&frames).into_iter().eq(0..40) && frames.iter().all(|f| f.body == body));
}

#[tokio::test]
async fn a_message_too_large_to_send_ends_the_session() {
    let (mut a, to_b, ..) = pair().await;
    let body = Bytes::from(vec![0; FrameLimits::PEER.max_frame as usize]);
    a.net.send(to_b, channel::PROTOCOL, &1u64, &body);
    assert!(matches!(a.down().await.1, DownReason::Unsendable(FrameError::TooLarge { .. })));
}

#[tokio::test]
async fn silence_ends_a_session_and_keep_alives_prevent_it() {
    let (voters, _) = configs(&[1]).await;
    let listener = TcpListener::bind(voters[&NodeId(1)].as_str()).await.unwrap();
    let mut quick = config(1, &voters);
    quick.limits.idle_timeout = Duration::from_millis(200);
    let mut a = Node::start(quick, Some(listener));
    // One observer that never says a word: its own keep-alives are an hour apart.
    let mut mute = config(8, &voters);
    mute.limits.idle_timeout = Duration::from_hours(1);
    let _mute = Node::start(mute, None);
    let (session, _) = a.up().await;
    assert_eq!(a.down().await, (session, DownReason::Silent(Duration::from_millis(200))));

    // And keep-alives alone keep a session for many times the limit.
    let (a, _, mut b, to_a) = pair_with(|c| c.limits.idle_timeout = Duration::from_secs(2)).await;
    let before = a.counters.peer_writes.get();
    soon(async {
        while a.counters.peer_writes.get() < before + 4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(a.counters.messages_sent.get(), 0, "keep-alives are not messages");
    assert!(b.events.try_recv().is_err(), "and are not delivered: {to_a} is still up");
}

#[tokio::test]
async fn nodes_that_do_not_belong_together_refuse_each_other() {
    let changes: [fn(&mut TransportConfig); 2] = [|c| c.cluster = "another".into(), |c| c.protocol = "zab".into()];
    for change in changes {
        let (voters, mut listeners) = configs(&[1, 2]).await;
        let a = Node::start(config(1, &voters), listeners.remove(&1));
        let mut other = config(2, &voters);
        change(&mut other);
        let b = Node::start(other, None);
        soon(async {
            while a.counters.handshakes_refused.get() == 0 || b.counters.handshakes_refused.get() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn strangers_and_the_silent_are_closed_at_once_or_in_time() {
    let (voters, mut listeners) = configs(&[1]).await;
    let mut config = config(1, &voters);
    config.limits.handshake_timeout = Duration::from_millis(300);
    config.limits.handshakes = 2;
    let a = Node::start(config, listeners.remove(&1));
    let addr = &voters[&NodeId(1)];
    let mut http = TcpStream::connect(addr).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(soon(http.read(&mut [0; 16])).await, Ok(0) | Err(_)));
    // Twice as many silent callers as there are places: all are closed in the end.
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    for mut stream in silent {
        assert!(matches!(soon(stream.read(&mut [0; 16])).await, Ok(0) | Err(_)));
    }
    assert_eq!(a.counters.handshakes_refused.get(), 5);
}

#[tokio::test]
async fn a_bad_frame_closes_its_connection_only() {
    let (voters, mut listeners) = configs(&[1]).await;
    let mut a = Node::start(config(1, &voters), listeners.remove(&1));
    let mut good = Node::start(config(8, &voters), None);
    let (to_good, _) = a.up().await;
    let (to_a, _) = good.up().await;
    let me = handshake::Identity {
        cluster: "test".into(),
        protocol: "raft".into(),
        id: NodeId(9),
        member: Member::Observer,
    };
    let mut bad = TcpStream::connect(&voters[&NodeId(1)]).await.unwrap();
    handshake::dial(&me, NodeId(1), &mut bad).await.unwrap();
    handshake::confirm(&mut bad).await.unwrap();
    let (session, _) = a.up().await;
    bad.write_all(&[0xff; 64]).await.unwrap();
    let (down, reason) = a.down().await;
    assert_eq!(down, session);
    assert!(matches!(reason, DownReason::BadFrame(FrameError::TooLarge { .. })), "{reason}");
    assert_eq!(a.counters.bad_frames.get(), 1);
    a.say(to_good, 5);
    a.net.flush();
    assert_eq!(numbers(&good.frames(to_a, 1).await), [5]);
}

#[tokio::test]
async fn observers_are_limited() {
    let (voters, mut listeners) = configs(&[1]).await;
    let mut one = config(1, &voters);
    one.limits.observers = 1;
    let mut a = Node::start(one, listeners.remove(&1));
    let _first = Node::start(config(8, &voters), None);
    a.up().await;
    let second = Node::start(config(9, &voters), None);
    // One that calls itself a voter and is none here counts too.
    let mut with = voters.clone();
    with.insert(NodeId(7), "127.0.0.1:1".to_owned());
    let third = Node::start(config(7, &with), None);
    soon(async {
        while second.counters.handshakes_refused.get() == 0 || third.counters.handshakes_refused.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn contradictions_in_the_configuration_are_named() {
    type Change = fn(&mut TransportConfig);
    let (voters, _) = configs(&[1, 2]).await;
    let cases: [(Change, &str); 6] = [
        (|c| c.id = NodeId(0), "id"),
        (|c| c.member = Member::Observer, "member"),
        (|c| c.cluster = String::new(), "cluster"),
        (|c| c.limits.queue.bytes = 10, "queue"),
        (|c| c.limits.events = 0, "events"),
        (|c| c.listen = None, "listen"),
    ];
    for (change, field) in cases {
        let mut config = TransportConfig { listen: Some("127.0.0.1:0".into()), ..config(1, &voters) };
        change(&mut config);
        let error = Transport::bind(config, Arc::default()).await.unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

struct Port {
    listener: ClientListener,
    events: mpsc::Receiver<ClientEvent>,
    counters: Arc<Counters>,
    addr: String,
}

impl Port {
    async fn open(limits: ClientLimits) -> Self {
        let counters = Arc::new(Counters::default());
        let config = ClientPortConfig {
            cluster: "test".into(),
            protocol: "zab".into(),
            node: NodeId(3),
            listen: "127.0.0.1:0".into(),
            limits,
        };
        let (listener, events) = ClientListener::bind(config, Arc::clone(&counters)).await.unwrap();
        let addr = listener.local_addr().to_string();
        Self { listener, events, counters, addr }
    }

    async fn next(&mut self) -> ClientEvent {
        soon(self.events.recv()).await.expect("the port is open")
    }

    async fn connected(&mut self) -> ConnId {
        match self.next().await {
            ClientEvent::Connected { conn } => conn,
            other => panic!("Connected, not {other:?}"),
        }
    }

    async fn closed(&mut self) -> (ConnId, DownReason) {
        loop {
            match self.next().await {
                ClientEvent::Closed { conn, reason } => return (conn, reason),
                ClientEvent::Frames { .. } => {}
                ClientEvent::Connected { conn } => panic!("Closed, not Connected {conn}"),
            }
        }
    }
}

async fn connect(addr: &str, cluster: &str) -> Result<FramedConn, HandshakeError> {
    connect_client(addr, cluster, Duration::from_secs(10)).await
}

#[tokio::test]
async fn clients_ask_and_are_answered() {
    let mut port = Port::open(ClientLimits::default()).await;
    let mut client = connect(&port.addr, "").await.unwrap();
    assert_eq!(client.welcome, Welcome { cluster: "test".into(), protocol: "zab".into(), node: NodeId(3) });
    let conn = port.connected().await;
    for id in 0..1000u64 {
        client.writer.push(&id, &Bytes::from(vec![1; 300])).unwrap();
    }
    client.writer.flush().await.unwrap();
    let mut asked = 0;
    while asked < 1000 {
        let ClientEvent::Frames { conn: c, frames } = port.next().await else { panic!("frames") };
        assert_eq!(c, conn);
        asked += frames.len();
        for frame in frames {
            port.listener.reply(conn, &decode_header::<u64>(&frame.header).unwrap(), &frame.body);
        }
        port.listener.flush();
    }
    let mut answers = Vec::new();
    while answers.len() < 1000 {
        soon(client.reader.read(&mut answers)).await.unwrap();
    }
    assert!(numbers(&answers).into_iter().eq(0..1000));
    assert_eq!(port.counters.client_bytes_received.get(), port.counters.client_bytes_sent.get());
    drop(client);
    assert_eq!(port.closed().await.0, conn);
    port.listener.reply(conn, &0u64, &Bytes::new());
    port.listener.flush();
}

#[tokio::test]
async fn clients_of_other_clusters_and_one_too_many_are_refused_with_the_reason() {
    let mut port = Port::open(ClientLimits { connections: 2, ..ClientLimits::default() }).await;
    let refused = |r: Result<FramedConn, _>| match r {
        Err(HandshakeError::Refused { code, .. }) => code,
        other => panic!("a refusal, not {other:?}"),
    };
    assert_eq!(refused(connect(&port.addr, "another").await), RefusalCode::Cluster);
    let first = connect(&port.addr, "test").await.unwrap();
    let _second = connect(&port.addr, "test").await.unwrap();
    let conn = port.connected().await;
    port.connected().await;
    assert_eq!(refused(connect(&port.addr, "test").await), RefusalCode::Full);
    assert_eq!((port.counters.handshakes_refused.get(), port.listener.connections()), (2, 2));
    drop(first);
    assert_eq!(port.closed().await.0, conn);
    // Its place is free once the node has heard of it.
    soon(async {
        while connect(&port.addr, "test").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from_and_then_closed() {
    let queue = QueueLimits { bytes: 48 << 20, frames: 1000 };
    let mut port = Port::open(ClientLimits { queue, pause_above: 1000, ..ClientLimits::default() }).await;
    let mut client = connect(&port.addr, "test").await.unwrap();
    let conn = port.connected().await;
    let answer = Bytes::from(vec![9; 1 << 20]);
    // More than the sockets take: the rest waits here.
    for id in 0..40u64 {
        port.listener.reply(conn, &id, &answer);
    }
    port.listener.flush();
    client.writer.push(&0u64, &Bytes::new()).unwrap();
    client.writer.flush().await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(port.events.try_recv().is_err(), "its requests are not read meanwhile");
    // Reading the answers lets the request through.
    let mut answers = Vec::new();
    while answers.len() < 40 {
        soon(client.reader.read(&mut answers)).await.unwrap();
    }
    assert!(matches!(port.next().await, ClientEvent::Frames { .. }));
    for id in 0..100u64 {
        port.listener.reply(conn, &id, &answer);
        port.listener.flush();
    }
    let (closed, reason) = port.closed().await;
    assert_eq!((closed, reason), (conn, DownReason::Overflow { bytes: queue.bytes, frames: queue.frames }));
}

#[tokio::test]
async fn a_bad_client_is_closed() {
    let mut port = Port::open(ClientLimits::default()).await;
    let client = connect(&port.addr, "test").await.unwrap();
    let conn = port.connected().await;
    port.listener.close(conn, "nonsense");
    assert_eq!(port.closed().await, (conn, DownReason::Disconnected("nonsense")));
    let (mut reader, _writer) = client.split();
    assert_eq!(soon(reader.read(&mut Vec::new())).await, Err(DownReason::Closed));
}
