//! etcd's key-value calls over gRPC, many under way on each connection.
//!
//! The calls are two, `Put` and `Range`, so their messages are written by hand (see [`wire`](super::wire)) on the HTTP/2 that Rust's gRPC
//! libraries stand on. Those would bring a compiler of protocol buffers into the build, and a hundred crates.
//!
//! A put whose connection broke is sent again: it sets the same value, and no later one of its key is sent before it was
//! answered.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::{Status, value_in, wire};
use crate::load::target::{Connection, Done, Failure, Op, Target};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// From one look for the leader to the next, after one that found none.
const RETRY: Duration = Duration::from_millis(25);
/// How often it is looked whether an operation is late.
const CHECK: Duration = Duration::from_millis(100);
/// An operation without an answer for so long has timed out.
const PATIENCE: Duration = Duration::from_secs(10);
/// gRPC's numbers for what can be tried again and for what was refused because there is too much of it.
const UNAVAILABLE: u32 = 14;
const RESOURCE_EXHAUSTED: u32 = 8;

/// A cluster of etcd servers, and which of them to use.
#[derive(Clone, Debug)]
pub struct Etcd {
    addrs: Rc<[String]>,
    spread: bool,
}

impl Etcd {
    /// All connections are to the leader: whoever says, when a connection is made, that it leads. Any server would take a put,
    /// but one that a follower passes on to a leader that has just died is lost for seven seconds.
    pub fn leader(addrs: Vec<String>) -> Self {
        Self { addrs: addrs.into(), spread: false }
    }

    /// Connections are spread over the servers.
    pub fn spread(addrs: Vec<String>) -> Self {
        Self { addrs: addrs.into(), spread: true }
    }
}

impl Target for Etcd {
    type Conn = EtcdConn;

    fn open(&self, n: usize) -> EtcdConn {
        let (send, answers) = mpsc::unbounded_channel();
        EtcdConn {
            addrs: self.addrs.clone(),
            spread: self.spread,
            node: n % self.addrs.len(),
            link: None,
            epoch: 0,
            connecting: None,
            pending: Vec::new(),
            unsent: VecDeque::new(),
            send,
            answers,
            check: Box::pin(sleep(CHECK)),
        }
    }
}

/// A connection that was made; its driver ends with it.
#[derive(Debug)]
struct Link {
    calls: SendRequest<Bytes>,
    put: Request<()>,
    range: Request<()>,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What became of a call.
#[derive(Debug)]
enum Reply {
    Message(Bytes),
    /// The server said no, with gRPC's number for it and a text.
    Status(u32, String),
    /// The connection broke.
    Broken,
}

#[derive(Debug)]
struct Answer {
    tag: u32,
    /// Of which connection: what comes from an earlier one counts no more.
    epoch: u32,
    reply: Reply,
}

#[derive(Debug)]
struct Pending {
    op: Op,
    since: Instant,
}

/// One connection to a cluster.
#[derive(Debug)]
pub struct EtcdConn {
    addrs: Rc<[String]>,
    spread: bool,
    /// The server in turn.
    node: usize,
    link: Option<Link>,
    epoch: u32,
    connecting: Option<JoinHandle<anyhow::Result<Link>>>,
    /// By tag.
    pending: Vec<Option<Pending>>,
    unsent: VecDeque<u32>,
    send: UnboundedSender<Answer>,
    answers: UnboundedReceiver<Answer>,
    check: std::pin::Pin<Box<Sleep>>,
}

impl Connection for EtcdConn {
    fn submit(&mut self, tag: u32, op: Op) {
        let slot = tag as usize;
        if self.pending.len() <= slot {
            self.pending.resize_with(slot + 1, || None);
        }
        self.pending[slot] = Some(Pending { op, since: Instant::now() });
        self.unsent.push_back(tag);
    }

    async fn wait(&mut self, done: &mut Vec<Done>) {
        while done.is_empty() {
            let linked = self.link.is_some();
            if linked {
                self.call_unsent();
            }
            let mut made = None;
            tokio::select! {
                biased;
                answer = self.answers.recv() => {
                    // The sender is in `self`, so there is always one more to come.
                    if let Some(answer) = answer {
                        self.take(answer, done);
                    }
                    while let Ok(answer) = self.answers.try_recv() {
                        self.take(answer, done);
                    }
                }
                link = Self::connect(&mut self.connecting, &self.addrs[self.node], self.spread), if !linked => {
                    made = Some(link);
                }
                () = &mut self.check => self.look_after(done),
            }
            match made {
                Some(Ok(link)) => self.use_link(link),
                Some(Err(_)) => self.node = (self.node + 1) % self.addrs.len(),
                None => {}
            }
        }
    }
}

impl Drop for EtcdConn {
    fn drop(&mut self) {
        self.connecting.iter().for_each(JoinHandle::abort);
    }
}

impl EtcdConn {
    /// Connects in a task of its own: this future may be dropped more often than a connection is made.
    async fn connect(
        connecting: &mut Option<JoinHandle<anyhow::Result<Link>>>,
        addr: &str,
        any: bool,
    ) -> anyhow::Result<Link> {
        let task = connecting.get_or_insert_with(|| {
            let addr = addr.to_owned();
            tokio::task::spawn_local(async move {
                let link = if any { link(&addr).await } else { link_if_leader(&addr).await };
                if link.is_err() {
                    sleep(RETRY).await;
                }
                link
            })
        });
        let link = task.await;
        *connecting = None;
        link?
    }

    /// Everything under way is sent on this one, in any order: no two operations here are on one key.
    fn use_link(&mut self, link: Link) {
        self.link = Some(link);
        self.epoch += 1;
        self.unsent = (0..self.pending.len() as u32).filter(|t| self.pending[*t as usize].is_some()).collect();
    }

    fn call_unsent(&mut self) {
        let Some(link) = &self.link else { return };
        while let Some(tag) = self.unsent.pop_front() {
            let Some(pending) = &self.pending[tag as usize] else { continue };
            let (request, message) = match &pending.op {
                Op::Write { key, value } => (link.put.clone(), put(key, value)),
                Op::Read { key, linearizable } => (link.range.clone(), range(key, *linearizable)),
            };
            let (calls, send, epoch) = (link.calls.clone(), self.send.clone(), self.epoch);
            tokio::task::spawn_local(async move {
                let reply = call(calls, request, message).await.unwrap_or(Reply::Broken);
                // Nobody listens any more when the load has ended.
                let _ = send.send(Answer { tag, epoch, reply });
            });
        }
    }

    fn take(&mut self, Answer { tag, epoch, reply }: Answer, done: &mut Vec<Done>) {
        let Some(pending) = self.pending.get(tag as usize).and_then(Option::as_ref).filter(|_| epoch == self.epoch)
        else {
            return;
        };
        let read = matches!(pending.op, Op::Read { .. });
        let end = match reply {
            Reply::Message(_) if !read => Ok(None),
            Reply::Message(message) => value_in(&message),
            // It waited for a leader that is gone, and may yet be carried out.
            Reply::Status(UNAVAILABLE, text) if text.contains("timed out") => Err(Failure::TimedOut),
            Reply::Broken | Reply::Status(UNAVAILABLE, _) => return self.lose(),
            Reply::Status(RESOURCE_EXHAUSTED, _) => Err(Failure::Refused),
            Reply::Status(..) => Err(Failure::WrongAnswer),
        };
        self.end(tag, end, done);
    }

    /// The next server is in turn.
    fn lose(&mut self) {
        if self.link.take().is_some() {
            self.node = (self.node + 1) % self.addrs.len();
        }
    }

    fn look_after(&mut self, done: &mut Vec<Done>) {
        let now = Instant::now();
        for tag in 0..self.pending.len() as u32 {
            if self.pending[tag as usize].as_ref().is_some_and(|p| now - p.since > PATIENCE) {
                self.unsent.retain(|t| *t != tag);
                self.end(tag, Err(Failure::TimedOut), done);
            }
        }
        if !done.is_empty() {
            // A late answer must not be taken for that of the tag's next operation.
            self.lose();
        }
        self.check.as_mut().reset(now + CHECK);
    }

    fn end(&mut self, tag: u32, end: Result<Option<Bytes>, Failure>, done: &mut Vec<Done>) {
        if self.pending.get_mut(tag as usize).and_then(Option::take).is_some() {
            done.push(Done { tag, end });
        }
    }
}

async fn link(addr: &str) -> anyhow::Result<Link> {
    timeout(CONNECT, async {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        let (calls, connection) = h2::client::handshake(socket).await?;
        let driver = tokio::task::spawn_local(async move {
            // How it ends is told by each call on it.
            let _ = connection.await;
        });
        let driver = driver.abort_handle();
        Ok(Link { calls, put: request(addr, PUT)?, range: request(addr, RANGE)?, driver })
    })
    .await?
}

async fn link_if_leader(addr: &str) -> anyhow::Result<Link> {
    let link = link(addr).await?;
    let status = timeout(CONNECT, status_on(&link, addr)).await??;
    ensure!(status.leads(), "etcd at {addr} does not lead");
    Ok(link)
}

fn request(addr: &str, path: &str) -> anyhow::Result<Request<()>> {
    let request = Request::post(format!("http://{addr}{path}"));
    Ok(request.header("content-type", "application/grpc").header("te", "trailers").body(())?)
}

/// A `PutRequest`.
fn put(key: &[u8], value: &[u8]) -> Bytes {
    wire::framed(key.len() + value.len() + 16, |out| {
        wire::put_bytes(out, 1, key);
        wire::put_bytes(out, 2, value);
    })
}

/// A `RangeRequest` of one key.
fn range(key: &[u8], linearizable: bool) -> Bytes {
    wire::framed(key.len() + 16, |out| {
        wire::put_bytes(out, 1, key);
        wire::put_number(out, 7, u64::from(!linearizable));
    })
}

/// Asks one thing and waits for the answer. Err when the connection breaks.
async fn call(calls: SendRequest<Bytes>, request: Request<()>, message: Bytes) -> Result<Reply, h2::Error> {
    let (answer, mut stream) = calls.ready().await?.send_request(request, false)?;
    stream.send_data(message, true)?;
    let answer = answer.await?;
    // A refusal without any message has its status in the head.
    if let Some(status) = status_in(answer.headers()) {
        return Ok(status);
    }
    let mut body = answer.into_body();
    let mut content = BytesMut::new();
    let mut whole = Bytes::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        // Nearly always there is one piece, which needs no copy.
        if content.is_empty() && whole.is_empty() {
            whole = piece;
        } else {
            if content.is_empty() {
                content.extend_from_slice(&whole);
            }
            content.extend_from_slice(&piece);
        }
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    if let Some(refused) = status_in(&trailers).filter(|s| !matches!(s, Reply::Status(0, _))) {
        return Ok(refused);
    }
    let answer = if content.is_empty() { whole } else { content.freeze() };
    let cut = || Reply::Status(u32::MAX, "the answer is not one message".to_owned());
    Ok(wire::unframed(answer).map_or_else(cut, Reply::Message))
}

fn status_in(headers: &HeaderMap) -> Option<Reply> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let status = text("grpc-status")?.parse().unwrap_or(u32::MAX);
    Some(Reply::Status(status, text("grpc-message").unwrap_or_default().to_owned()))
}

/// Asks a server for its status, on a connection of its own.
pub(super) async fn status(addr: &str) -> anyhow::Result<Status> {
    status_on(&link(addr).await?, addr).await
}

async fn status_on(link: &Link, addr: &str) -> anyhow::Result<Status> {
    let reply = call(link.calls.clone(), request(addr, STATUS)?, wire::framed(0, |_| {})).await?;
    let Reply::Message(message) = reply else { anyhow::bail!("etcd at {addr}: {reply:?}") };
    let status = Status::parse(&message).context("a status that is no message")?;
    ensure!(status.member != 0, "etcd at {addr} does not say who it is");
    Ok(status)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn requests_are_as_etcds_rpc_proto_says() {
        assert_eq!(&put(b"k", b"vw")[5..], [0x0a, 1, b'k', 0x12, 2, b'v', b'w']);
        assert_eq!(&range(b"k", true)[5..], [0x0a, 1, b'k']);
        assert_eq!(&range(b"k", false)[5..], [0x0a, 1, b'k', 0x38, 1], "serializable");
    }

    /// Serves one connection as member 9, says that this member leads, and breaks off after so many calls.
    async fn serve(listener: &TcpListener, leader: u64, calls: usize) -> Vec<(String, Bytes)> {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let mut seen = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            let message = request.into_body().data().await.unwrap().unwrap();
            seen.push((path.clone(), message));
            if seen.len() > calls {
                break;
            }
            let answer = match path.as_str() {
                RANGE => wire::framed(16, |out| wire::put_bytes(out, 2, &[0x2a, 2, b'h', b'i'])),
                STATUS => wire::framed(16, |out| {
                    wire::put_bytes(out, 1, &[0x10, 9]);
                    wire::put_number(out, 4, leader);
                }),
                _ => wire::framed(0, |_| {}),
            };
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data(answer, false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
        seen
    }

    fn write(key: &'static [u8]) -> Op {
        Op::Write { key: Bytes::from_static(key), value: Bytes::from_static(b"v") }
    }

    #[test]
    fn calls_are_answered_and_asked_again_when_a_connection_breaks() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let (first, second) = (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await);
            let (first, second) = (first.unwrap(), second.unwrap());
            let addrs = [&first, &second].map(|l| l.local_addr().unwrap().to_string()).to_vec();
            let first = tokio::task::spawn_local(async move { serve(&first, 9, 2).await });
            let second = tokio::task::spawn_local(async move {
                // It does not lead when first asked.
                serve(&second, 0, 9).await;
                serve(&second, 9, 9).await
            });
            let mut conn = Etcd::leader(addrs).open(0);
            let mut done = Vec::new();
            conn.submit(0, write(b"a"));
            conn.wait(&mut done).await;
            assert_eq!(done, [Done { tag: 0, end: Ok(None) }]);
            done.clear();
            conn.submit(1, write(b"b"));
            conn.wait(&mut done).await;
            assert_eq!(done, [Done { tag: 1, end: Ok(None) }]);
            done.clear();
            conn.submit(0, Op::Read { key: Bytes::from_static(b"a"), linearizable: true });
            conn.wait(&mut done).await;
            assert_eq!(done, [Done { tag: 0, end: Ok(Some(Bytes::from_static(b"hi"))) }]);
            assert_eq!(first.await.unwrap().len(), 3);
            drop(conn);
            let seen = second.await.unwrap();
            assert_eq!(seen[0].0, STATUS);
            assert_eq!(seen[1], (PUT.to_owned(), put(b"b", b"v")));
            assert_eq!(seen[2], (RANGE.to_owned(), range(b"a", true)));
        });
    }

    #[test]
    fn a_refusal_is_understood() {
        let mut headers = HeaderMap::new();
        assert!(status_in(&headers).is_none());
        headers.insert("grpc-status", "14".parse().unwrap());
        headers.insert("grpc-message", "etcdserver: leader changed".parse().unwrap());
        assert!(matches!(status_in(&headers), Some(Reply::Status(UNAVAILABLE, text)) if text.ends_with("changed")));
    }
}
