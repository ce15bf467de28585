//! A cluster in this process, and a client that asks again as a client must: under the same number.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use common::client::wire::{Answer, Ask, Envelope, NodeStatus, ReadMode, Request, Response, SessionId};
use common::node::{Listeners, Node, NodeConfig};
use common::protocol::{Protocol, Refusal};
use common::state_machine::KvStore;
use common::state_machine::kv::{self, Command, Query};
use common::transport::frame::decode_header;
use common::transport::{FramedConn, PeerLimits, Switchboard, connect_client};
use common::types::{LogId, Member, NodeId, Role};
use tokio::time::{sleep, timeout};

/// Far more than anything here takes; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at something that says nothing by itself.
const PAUSE: Duration = Duration::from_millis(10);

/// Nodes that run, and what is needed to start those that do not.
pub(crate) struct Cluster<P: Protocol> {
    nodes: BTreeMap<NodeId, Node>,
    configs: BTreeMap<NodeId, NodeConfig<P>>,
    dir: tempfile::TempDir,
    /// Links within the process, which can be cut; over TCP if there is none.
    switchboard: Option<Switchboard>,
}

impl<P: Protocol> Cluster<P> {
    pub(crate) async fn start(config: P::Config, n: u64, adjust: impl Fn(&mut NodeConfig<P>)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Bound before any node starts, so that each can be told of all.
        let ports: BTreeMap<NodeId, TcpListener> =
            (1..=n).map(|id| (NodeId(id), TcpListener::bind("127.0.0.1:0").unwrap())).collect();
        let addrs: BTreeMap<NodeId, String> =
            ports.iter().map(|(id, l)| (*id, l.local_addr().unwrap().to_string())).collect();
        let mut cluster = Self { nodes: BTreeMap::new(), configs: BTreeMap::new(), dir, switchboard: None };
        for (id, listener) in ports {
            let dir = cluster.dir.path().join(id.to_string());
            let mut node = NodeConfig::voter(id, addrs.clone(), dir, config.clone());
            adjust(&mut node);
            cluster.configs.insert(id, node.clone());
            let listeners = Listeners { peers: Some(listener), ..Listeners::default() };
            cluster.nodes.insert(id, Node::start_on(node, KvStore::default(), listeners).await.unwrap());
        }
        cluster
    }

    /// Nodes without a network between them, whose links can be cut.
    pub(crate) async fn linked(config: P::Config, n: u64) -> Self {
        let PeerLimits { frame, queue, events, .. } = PeerLimits::default();
        let dir = tempfile::tempdir().unwrap();
        let voters: BTreeMap<NodeId, String> = (1..=n).map(|id| (NodeId(id), String::new())).collect();
        let configs = voters.keys().map(|id| {
            let dir = dir.path().join(id.to_string());
            (*id, NodeConfig::voter(*id, voters.clone(), dir, config.clone()))
        });
        let configs = configs.collect();
        let switchboard = Some(Switchboard::new(frame, queue, events));
        let mut cluster = Self { nodes: BTreeMap::new(), configs, dir, switchboard };
        for id in voters.keys() {
            cluster.restart(*id).await;
        }
        cluster
    }

    /// Cuts all links of a node, or heals them.
    pub(crate) fn isolate(&self, id: NodeId, cut: bool) {
        let board = self.switchboard.as_ref().expect("a cluster of linked nodes");
        for other in self.ids().into_iter().filter(|other| *other != id) {
            if cut { board.cut(id, other) } else { board.heal(id, other) }
        }
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn addr(&self, id: NodeId) -> Option<String> {
        self.nodes.get(&id).map(|n| n.client_addr().to_string())
    }

    pub(crate) async fn stop(&mut self, id: NodeId) {
        self.nodes.remove(&id).unwrap().stop().await.unwrap();
    }

    pub(crate) async fn restart(&mut self, id: NodeId) {
        let config = self.configs[&id].clone();
        let listeners = Listeners { switchboard: self.switchboard.clone(), ..Listeners::default() };
        self.nodes.insert(id, Node::start_on(config, KvStore::default(), listeners).await.unwrap());
    }

    pub(crate) async fn add_observer(&mut self, id: NodeId) {
        let mut config = self.configs.values().next().unwrap().clone();
        (config.id, config.member) = (id, Member::Observer);
        config.data_dir = self.dir.path().join(id.to_string());
        self.configs.insert(id, config);
        self.restart(id).await;
    }

    async fn statuses(&self) -> BTreeMap<NodeId, NodeStatus> {
        let mut all = BTreeMap::new();
        for id in self.ids() {
            let mut conn = connect(&self.addr(id).unwrap()).await;
            let (answer, _) = conn.call(Ask::Status, Bytes::new()).await.unwrap();
            let Answer::Status(status) = answer else { panic!("{answer:?}") };
            all.insert(id, *status);
        }
        all
    }

    /// Waits until what the nodes say of themselves fulfils this.
    pub(crate) async fn until(
        &self,
        what: &str,
        ok: impl Fn(&BTreeMap<NodeId, NodeStatus>) -> bool,
    ) -> BTreeMap<NodeId, NodeStatus> {
        let mut last = BTreeMap::new();
        let wait = async {
            loop {
                last = self.statuses().await;
                if ok(&last) {
                    return;
                }
                sleep(PAUSE).await;
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "waiting until {what}: {last:#?}");
        last
    }

    /// Waits for a leader whom all follow.
    pub(crate) async fn leader(&self) -> NodeId {
        self.leader_of(&self.ids()).await
    }

    /// Waits for a leader among these whom all of these follow.
    pub(crate) async fn leader_of(&self, some: &[NodeId]) -> NodeId {
        let led = |s: &BTreeMap<NodeId, NodeStatus>| -> Option<NodeId> {
            let leader = some.iter().map(|id| &s[id]).find(|s| s.core.role == Role::Leading)?;
            let same = |x: &NodeStatus| x.core.leader == Some(leader.core.id) && x.core.epoch == leader.core.epoch;
            some.iter().map(|id| &s[id]).all(|x| same(x) && x.core.role != Role::Looking).then_some(leader.core.id)
        };
        let status = self.until("they follow one leader", |s| led(s).is_some()).await;
        led(&status).unwrap()
    }

    /// Waits until all have applied everything; then their states must be equal.
    pub(crate) async fn settled(&self) -> BTreeMap<NodeId, NodeStatus> {
        self.leader().await;
        let same = |s: &BTreeMap<NodeId, NodeStatus>| {
            let last = s.values().map(|s| s.core.last).max().unwrap();
            s.values().all(|s| s.core.applied == last && s.core.last == last && s.core.role != Role::Looking)
        };
        let status = self.until("all have applied everything", same).await;
        let hash = status.values().next().unwrap().state_hash;
        assert!(status.values().all(|s| s.state_hash == hash), "the same entries, other states: {status:#?}");
        status
    }
}

struct Conn {
    framed: FramedConn,
    next: u64,
}

async fn connect(addr: &str) -> Conn {
    Conn { framed: connect_client(addr, "duet", PATIENCE).await.unwrap(), next: 0 }
}

impl Conn {
    /// None when the connection breaks.
    async fn call(&mut self, ask: Ask, body: Bytes) -> Option<(Answer, Bytes)> {
        self.call_all(vec![(ask, body)]).await?.pop()
    }

    async fn call_all(&mut self, asks: Vec<(Ask, Bytes)>) -> Option<Vec<(Answer, Bytes)>> {
        let first = self.next;
        for (ask, body) in asks {
            self.framed.writer.push(&Request { id: self.next, ask }, &body).unwrap();
            self.next += 1;
        }
        self.framed.writer.flush().await.ok()?;
        let mut answers: Vec<Option<(Answer, Bytes)>> = vec![None; (self.next - first) as usize];
        while answers.iter().any(Option::is_none) {
            let mut frames = Vec::new();
            timeout(PATIENCE, self.framed.reader.read(&mut frames)).await.expect("an answer in time").ok()?;
            for frame in frames {
                let response: Response = decode_header(&frame.header).unwrap();
                let place = &mut answers[(response.id - first) as usize];
                assert!(place.replace((response.answer, frame.body)).is_none(), "answered twice");
            }
        }
        answers.into_iter().collect()
    }
}

/// A client with a session.
pub(crate) struct Client {
    nodes: Vec<NodeId>,
    at: usize,
    conn: Conn,
    session: Option<SessionId>,
    seq: u64,
    seen: LogId,
}

impl Client {
    /// Speaks to the first of these that runs.
    pub(crate) async fn connect<P: Protocol>(cluster: &Cluster<P>, nodes: &[NodeId]) -> Self {
        let conn = connect(&cluster.addr(nodes[0]).unwrap()).await;
        Self { nodes: nodes.to_vec(), at: 0, conn, session: None, seq: 0, seen: LogId::ZERO }
    }

    /// Goes on with the next of its nodes that runs, in the same session.
    pub(crate) async fn reconnect<P: Protocol>(&mut self, cluster: &Cluster<P>) {
        let addr = loop {
            self.at = (self.at + 1) % self.nodes.len();
            if let Some(addr) = cluster.addr(self.nodes[self.at]) {
                break addr;
            }
        };
        self.conn = connect(&addr).await;
    }

    async fn session(&mut self) -> SessionId {
        while self.session.is_none() {
            let open = postcard::to_stdvec(&Envelope::Open).unwrap();
            match self.conn.call(Ask::Write, open.into()).await.expect("the node runs") {
                (Answer::Written { at }, _) => self.session = Some(SessionId(at)),
                (Answer::Refused(_) | Answer::Unknown, _) => sleep(PAUSE).await,
                (other, _) => panic!("{other:?}"),
            }
        }
        self.session.unwrap()
    }

    pub(crate) async fn put(&mut self, key: &str, value: &str) {
        self.put_all(&[key.to_owned()], value).await;
    }

    /// Writes all keys, pipelined. What is refused or unknown is asked again under the same number.
    pub(crate) async fn put_all(&mut self, keys: &[String], value: &str) {
        let session = self.session().await;
        let floor = self.seq + 1;
        let numbered = keys.iter().map(|key| {
            self.seq += 1;
            let envelope = Envelope::Write { session, seq: self.seq, floor };
            let mut body = postcard::to_stdvec(&envelope).unwrap();
            body.extend_from_slice(&Command::Put { key: key.as_bytes(), value: value.as_bytes() }.to_bytes());
            Bytes::from(body)
        });
        let mut open: Vec<Bytes> = numbered.collect();
        let all = async {
            while !open.is_empty() {
                let asks = open.iter().map(|body| (Ask::Write, body.clone())).collect();
                let answers = self.conn.call_all(asks).await.expect("the node runs");
                let mut again = Vec::new();
                for (body, (answer, said)) in open.drain(..).zip(answers) {
                    match answer {
                        Answer::Written { at } => {
                            assert_eq!(kv::Answer::decode(&said), Ok(kv::Answer::Done));
                            self.seen = self.seen.max(at);
                        }
                        Answer::Refused(Refusal::Unsupported(why)) => panic!("{why}"),
                        Answer::Refused(_) | Answer::Unknown => again.push(body),
                        other => panic!("{other:?}"),
                    }
                }
                open = again;
                if !open.is_empty() {
                    sleep(PAUSE).await;
                }
            }
        };
        timeout(PATIENCE, all).await.expect("the writes in time");
    }

    pub(crate) async fn get(&mut self, key: &str, mode: ReadMode) -> Option<String> {
        let read = async {
            loop {
                match self.get_once(key, mode).await {
                    Ok(value) => return value,
                    Err(_) => sleep(PAUSE).await,
                }
            }
        };
        timeout(PATIENCE, read).await.expect("the read in time")
    }

    /// Reads, or is refused.
    pub(crate) async fn get_once(&mut self, key: &str, mode: ReadMode) -> Result<Option<String>, Refusal> {
        let query = Query::Get { key: key.as_bytes() }.to_bytes();
        let at_least = if mode == ReadMode::Local { self.seen } else { LogId::ZERO };
        match self.conn.call(Ask::Read { mode, at_least }, query).await.expect("the node runs") {
            (Answer::Read { at, .. }, body) => {
                assert!(mode == ReadMode::Linearizable || at >= at_least);
                let kv::Answer::Value { value } = kv::Answer::decode(&body).unwrap() else { panic!() };
                Ok(value.map(|v| String::from_utf8_lossy(v).into_owned()))
            }
            (Answer::Refused(why), _) => Err(why),
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Counts a key up by one, exactly once, on whichever node does it: each refusal leads to the next node.
    pub(crate) async fn count_up<P: Protocol>(&mut self, cluster: &Cluster<P>, key: &str, from: u64) {
        let session = self.session().await;
        self.seq += 1;
        let envelope = Envelope::Write { session, seq: self.seq, floor: self.seq };
        let (old, new) = (from.to_string(), (from + 1).to_string());
        let expected = (from > 0).then_some(old.as_bytes());
        let command = Command::CompareAndSet { key: key.as_bytes(), expected, value: new.as_bytes() };
        let mut body = postcard::to_stdvec(&envelope).unwrap();
        body.extend_from_slice(&command.to_bytes());
        let body = Bytes::from(body);
        let count = async {
            loop {
                match self.conn.call(Ask::Write, body.clone()).await.expect("the node runs") {
                    (Answer::Written { .. }, said) => {
                        return assert_eq!(kv::Answer::decode(&said), Ok(kv::Answer::Done), "{key} from {from}");
                    }
                    (Answer::Refused(_) | Answer::Unknown, _) => self.reconnect(cluster).await,
                    (other, _) => panic!("{other:?}"),
                }
            }
        };
        timeout(PATIENCE, count).await.expect("the write in time");
    }

    /// False if the protocol has no such thing.
    pub(crate) async fn transfer(&mut self, to: NodeId) -> bool {
        match self.conn.call(Ask::Transfer { to: Some(to) }, Bytes::new()).await.expect("the node runs").0 {
            Answer::Transferred { .. } => true,
            Answer::Refused(Refusal::Unsupported(_)) => false,
            other => panic!("{other:?}"),
        }
    }
}
