//! A pipelined client that speaks ZooKeeper's wire protocol.
//!
//! Only what loads need: connect, create, setData, sync, getData. The frames are those of `zookeeper.jute`
//! (ConnectRequest, RequestHeader, ReplyHeader, CreateRequest, SetDataRequest, SyncRequest, GetDataRequest).
//!
//! When a server goes away, the session moves to the next one and what was not answered is sent again. That carries out
//! nothing late: once a session has moved, ZooKeeper refuses what its old server still passes on.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::load::target::{Connection, Done, Failure, Op, Target};

/// Frames of a server are never larger than this here.
const FRAME_MAX: usize = 4 << 20;
/// Requests under way while znodes are created.
const WINDOW: usize = 500;
/// How long opening or moving a session may take.
const CONNECT: Duration = Duration::from_secs(1);
/// From one failed attempt to the next.
const RETRY: Duration = Duration::from_millis(10);
/// With requests under way and nothing heard for so long, they have timed out.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is asked for as the session's time-out, in milliseconds.
const SESSION_MS: i32 = 30_000;

const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const SYNC: i32 = 9;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

/// ZooKeeper under load: session `n` starts at server `n` modulo their number, as clients with a list of servers do.
#[derive(Clone, Debug)]
pub struct ZooKeeper {
    addrs: Vec<String>,
}

impl ZooKeeper {
    /// The servers at these client addresses.
    pub fn new(addrs: Vec<String>) -> Self {
        Self { addrs }
    }
}

impl Target for ZooKeeper {
    type Conn = Session;

    fn open(&self, n: usize) -> Session {
        Session {
            addrs: self.addrs.clone(),
            server: n % self.addrs.len(),
            ticket: Ticket::default(),
            connecting: None,
            socket: None,
            out: BytesMut::new(),
            buffer: BytesMut::new(),
            waiting: VecDeque::new(),
            heard: Instant::now(),
        }
    }

    /// Creates an empty znode per key: `setData` needs it to be there.
    async fn prepare(&self, keys: impl Iterator<Item = Bytes>) -> anyhow::Result<()> {
        let mut session = self.open(0);
        let (mut done, mut under_way) = (Vec::new(), 0);
        for key in keys {
            session.ask(Asked::Create(key));
            under_way += 1;
            while under_way >= WINDOW {
                session.wait(&mut done).await;
                under_way -= created(&mut done)?;
            }
        }
        while under_way > 0 {
            session.wait(&mut done).await;
            under_way -= created(&mut done)?;
        }
        Ok(())
    }
}

/// How many znodes were created; an error if one was not.
fn created(done: &mut Vec<Done>) -> anyhow::Result<usize> {
    let failed = done.iter().find_map(|d| d.end.clone().err());
    ensure!(failed.is_none(), "ZooKeeper does not create a znode: {failed:?}");
    Ok(done.drain(..).count())
}

/// What a session shows to move to another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ticket {
    id: i64,
    password: Bytes,
    /// The newest zxid it was told: a server that has less does not take it.
    seen: i64,
}

/// What was asked, in order.
#[derive(Clone, Debug)]
enum Asked {
    Op(u32, Op),
    /// Before a linearizable read: the server catches up with the leader. Answered as everything is, told to nobody.
    Sync(Bytes),
    Create(Bytes),
}

/// A socket, and the session that the server at its other end gave.
type Link = (TcpStream, Ticket);

/// One session; many requests may be under way, answered in order.
#[derive(Debug)]
pub struct Session {
    addrs: Vec<String>,
    server: usize,
    ticket: Ticket,
    /// Apart from [`wait`](Connection::wait), whose future may be dropped more often than a session is opened.
    connecting: Option<JoinHandle<anyhow::Result<Link>>>,
    socket: Option<TcpStream>,
    out: BytesMut,
    buffer: BytesMut,
    waiting: VecDeque<Asked>,
    heard: Instant,
}

impl Connection for Session {
    fn submit(&mut self, tag: u32, op: Op) {
        if let Op::Read { key, linearizable: true } = &op {
            self.ask(Asked::Sync(key.clone()));
        }
        self.ask(Asked::Op(tag, op));
    }

    async fn wait(&mut self, done: &mut Vec<Done>) {
        while done.is_empty() {
            let deadline = self.heard + PATIENCE;
            let worked = tokio::select! {
                biased;
                worked = self.exchange(done) => worked,
                () = sleep_until(deadline) => {
                    // Nobody knows what becomes of these; the next operation is of another session.
                    self.give_up(done);
                    Ok(())
                }
            };
            if worked.is_err() {
                self.lose();
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connecting.iter().for_each(JoinHandle::abort);
    }
}

impl Session {
    fn ask(&mut self, asked: Asked) {
        if self.waiting.is_empty() {
            self.heard = Instant::now();
        }
        // Without a socket, everything that waits is sent as soon as there is one.
        if self.socket.is_some() {
            encode(&mut self.out, &asked);
        }
        self.waiting.push_back(asked);
    }

    /// The next server is in turn.
    fn lose(&mut self) {
        self.socket = None;
        self.server = (self.server + 1) % self.addrs.len();
    }

    fn give_up(&mut self, done: &mut Vec<Done>) {
        self.lose();
        self.connecting.take().iter().for_each(JoinHandle::abort);
        self.ticket = Ticket::default();
        self.heard = Instant::now();
        done.extend(self.waiting.drain(..).filter_map(|asked| match asked {
            Asked::Op(tag, _) => Some(Done { tag, end: Err(Failure::TimedOut) }),
            Asked::Create(_) => Some(Done { tag: 0, end: Err(Failure::TimedOut) }),
            Asked::Sync(_) => None,
        }));
    }

    /// Opens the session or moves it here, unless there is a socket, and queues everything that waits.
    async fn connect(&mut self) -> anyhow::Result<()> {
        if self.socket.is_some() {
            return Ok(());
        }
        let connecting = self.connecting.get_or_insert_with(|| {
            let (addr, ticket) = (self.addrs[self.server].clone(), self.ticket.clone());
            tokio::task::spawn_local(async move {
                let made = match timeout(CONNECT, handshake(&addr, &ticket)).await {
                    Ok(made) => made,
                    Err(late) => Err(late.into()),
                };
                if made.is_err() {
                    tokio::time::sleep(RETRY).await;
                }
                made
            })
        });
        let made = connecting.await;
        self.connecting = None;
        let (socket, ticket) = made??;
        self.buffer.clear();
        self.out.clear();
        self.ticket = ticket;
        if self.ticket.id == 0 {
            // The old session has expired, and with it what was under way; a new one is opened.
            anyhow::bail!("the session has expired");
        }
        self.socket = Some(socket);
        self.waiting.iter().for_each(|asked| encode(&mut self.out, asked));
        Ok(())
    }

    /// Sends what is queued and reads until something was answered. Cancel safe: what was written is no longer queued, and
    /// what was read is in the buffer.
    async fn exchange(&mut self, done: &mut Vec<Done>) -> anyhow::Result<()> {
        self.connect().await?;
        let socket = self.socket.as_mut().context("connected above")?;
        while !self.out.is_empty() {
            socket.write_buf(&mut self.out).await?;
        }
        while done.is_empty() {
            ensure!(socket.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
            while let Some(frame) = take_frame(&mut self.buffer)? {
                self.heard = Instant::now();
                let Some(reply) = Reply::parse(frame)? else { continue };
                self.ticket.seen = self.ticket.seen.max(reply.zxid);
                let asked = self.waiting.pop_front().context("an answer to no question")?;
                done.extend(reply.ends(asked));
            }
        }
        Ok(())
    }
}

/// Asks for a session, or to have this one moved here. A ticket without a number comes back when the session has expired.
async fn handshake(addr: &str, ticket: &Ticket) -> anyhow::Result<Link> {
    let mut socket = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
    socket.set_nodelay(true)?;
    socket.write_all(&hello(ticket)).await?;
    let mut buffer = BytesMut::new();
    let frame = loop {
        if let Some(frame) = take_frame(&mut buffer)? {
            break frame;
        }
        ensure!(socket.read_buf(&mut buffer).await? > 0, "ZooKeeper at {addr} closed the connection");
    };
    let welcome = welcome(frame).with_context(|| format!("ZooKeeper at {addr} does not answer as it should"))?;
    Ok((socket, Ticket { seen: ticket.seen, ..welcome }))
}

fn hello(ticket: &Ticket) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(0); // protocol version
    body.put_i64(ticket.seen);
    body.put_i32(SESSION_MS);
    body.put_i64(ticket.id);
    let password = if ticket.password.is_empty() { &[0; 16][..] } else { &ticket.password };
    put_buffer(&mut body, password);
    body.put_u8(0); // not read-only
    let mut frame = BytesMut::new();
    put_buffer(&mut frame, &body);
    frame
}

fn welcome(mut answer: Bytes) -> anyhow::Result<Ticket> {
    ensure!(answer.len() >= 20, "{} bytes", answer.len());
    answer.advance(4);
    let time_out = answer.get_i32();
    let id = answer.get_i64();
    let n = answer.get_i32().max(0) as usize;
    ensure!(answer.len() >= n, "a password of {n} bytes in {}", answer.len());
    // A time-out of nothing says that the session is no more.
    if time_out <= 0 {
        return Ok(Ticket::default());
    }
    Ok(Ticket { id, password: answer.split_to(n), seen: 0 })
}

fn encode(out: &mut BytesMut, asked: &Asked) {
    let body = match asked {
        Asked::Op(_, Op::Write { key, value }) => {
            let mut body = request(SET_DATA, key);
            put_buffer(&mut body, value);
            body.put_i32(-1); // whatever its version
            body
        }
        Asked::Op(_, Op::Read { key, .. }) => {
            let mut body = request(GET_DATA, key);
            body.put_u8(0); // no watch
            body
        }
        Asked::Sync(key) => request(SYNC, key),
        Asked::Create(key) => {
            let mut body = request(CREATE, key);
            put_buffer(&mut body, b"");
            body.put_i32(1); // one access rule: everyone may do everything
            body.put_i32(31);
            put_buffer(&mut body, b"world");
            put_buffer(&mut body, b"anyone");
            body.put_i32(0); // persistent
            body
        }
    };
    put_buffer(out, &body);
}

/// An answer.
#[derive(Debug)]
struct Reply {
    zxid: i64,
    error: i32,
    body: Bytes,
}

impl Reply {
    /// None for what answers no request: a negative number says so.
    fn parse(mut frame: Bytes) -> anyhow::Result<Option<Self>> {
        ensure!(frame.len() >= 16, "a reply of {} bytes", frame.len());
        let xid = frame.get_i32();
        let (zxid, error) = (frame.get_i64(), frame.get_i32());
        Ok((xid >= 0).then_some(Self { zxid, error, body: frame }))
    }

    fn ends(mut self, asked: Asked) -> Option<Done> {
        let (tag, read) = match asked {
            Asked::Op(tag, op) => (tag, matches!(op, Op::Read { .. })),
            Asked::Create(_) => (0, false),
            Asked::Sync(_) => return None,
        };
        let end = match self.error {
            0 if read => value(&mut self.body),
            0 | NODE_EXISTS => Ok(None),
            NO_NODE if read => Ok(None),
            _ => Err(Failure::Refused),
        };
        Some(Done { tag, end })
    }
}

/// What a znode holds; nothing, if it was created and never written.
fn value(body: &mut Bytes) -> Result<Option<Bytes>, Failure> {
    let n = if body.len() >= 4 { body.get_i32().max(0) as usize } else { usize::MAX };
    if n > body.len() {
        return Err(Failure::WrongAnswer);
    }
    Ok(Some(body.split_to(n)).filter(|v| !v.is_empty()))
}

/// Header and path: the connection answers in order, so every request has the same number.
fn request(operation: i32, key: &[u8]) -> BytesMut {
    let mut body = BytesMut::with_capacity(160);
    body.put_i32(1);
    body.put_i32(operation);
    // A path may not hold every byte a key may, nor a slash: hexadecimal digits.
    put_length(&mut body, key.len() * 2 + 1);
    body.put_u8(b'/');
    for byte in key {
        for digit in [byte >> 4, byte & 15] {
            body.put_u8(b"0123456789abcdef"[usize::from(digit)]);
        }
    }
    body
}

fn put_buffer(out: &mut BytesMut, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

/// Jute's lengths are signed; everything sent here is far below a gigabyte.
fn put_length(out: &mut BytesMut, n: usize) {
    out.put_i32(i32::try_from(n).unwrap_or(i32::MAX));
}

fn take_frame(buffer: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let n = u32::from_be_bytes(*head) as usize;
    ensure!(n <= FRAME_MAX, "a frame of {n} bytes; at most {FRAME_MAX} are expected");
    if buffer.len() < 4 + n {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(n).freeze()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn frames_are_cut_out_whole_and_bounded() {
        let mut buffer = BytesMut::new();
        put_buffer(&mut buffer, b"one");
        put_buffer(&mut buffer, b"two");
        let mut half = buffer.split_to(5);
        assert_eq!(take_frame(&mut half).unwrap(), None);
        half.unsplit(buffer);
        assert_eq!(take_frame(&mut half).unwrap().unwrap(), "one");
        assert_eq!(take_frame(&mut half).unwrap().unwrap(), "two");
        assert!(take_frame(&mut BytesMut::from(&u32::MAX.to_be_bytes()[..])).is_err());
    }

    #[test]
    fn requests_are_as_zookeeper_jute_says() {
        let frame = |asked: &Asked| {
            let mut out = BytesMut::new();
            encode(&mut out, asked);
            out.to_vec()
        };
        let write = Op::Write { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
        assert_eq!(
            frame(&Asked::Op(7, write)),
            [0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 3, b'/', b'6', b'b', 0, 0, 0, 1, b'v', 255, 255, 255, 255]
        );
        let read = Op::Read { key: Bytes::from_static(b"k"), linearizable: false };
        assert_eq!(frame(&Asked::Op(7, read)), [0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 3, b'/', b'6', b'b', 0]);
        let sync = frame(&Asked::Sync(Bytes::from_static(b"k")));
        assert_eq!(sync, [0, 0, 0, 15, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 3, b'/', b'6', b'b']);
        let ticket = Ticket { id: 9, password: Bytes::from_static(b"pw"), seen: 5 };
        let mut hello = hello(&ticket).freeze();
        assert_eq!(hello.get_i32(), 31);
        assert_eq!((hello.get_i32(), hello.get_i64(), hello.get_i32(), hello.get_i64()), (0, 5, SESSION_MS, 9));
        assert_eq!(&hello[..], [0, 0, 0, 2, b'p', b'w', 0]);
    }

    #[test]
    fn answers_are_understood_or_refused() {
        let end_of = |error, asked: &Asked, body: &'static [u8]| {
            let reply = Reply { zxid: 0, error, body: Bytes::from_static(body) };
            reply.ends(asked.clone()).map(|d| d.end)
        };
        let read = Asked::Op(0, Op::Read { key: Bytes::new(), linearizable: false });
        let write = Asked::Op(0, Op::Write { key: Bytes::new(), value: Bytes::new() });
        assert_eq!(end_of(0, &read, &[0, 0, 0, 2, b'h', b'i', 9]), Some(Ok(Some(Bytes::from_static(b"hi")))));
        assert_eq!(end_of(0, &read, &[0, 0, 0, 0]), Some(Ok(None)), "created, never written");
        assert_eq!(end_of(0, &read, &[0, 0, 0, 9, b'h']), Some(Err(Failure::WrongAnswer)));
        assert_eq!(end_of(NO_NODE, &read, &[]), Some(Ok(None)));
        assert_eq!(end_of(NO_NODE, &write, &[]), Some(Err(Failure::Refused)));
        assert_eq!(end_of(0, &write, &[]), Some(Ok(None)));
        assert_eq!(end_of(NODE_EXISTS, &Asked::Create(Bytes::new()), &[]), Some(Ok(None)));
        assert_eq!(end_of(0, &Asked::Sync(Bytes::new()), &[]), None);
        assert!(Reply::parse(Bytes::from_static(&[0; 15])).is_err());
        assert!(Reply::parse(Bytes::from_static(&[255; 16])).unwrap().is_none(), "a notification");
    }

    /// Accepts one client, gives it session 7, and checks which one it came with.
    async fn accept(listener: &TcpListener, came_with: i64) -> TcpStream {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 49];
        socket.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello[20..28], came_with.to_be_bytes());
        let mut body = BytesMut::new();
        body.put_i32(0);
        body.put_i32(SESSION_MS);
        body.put_i64(7);
        put_buffer(&mut body, &[3; 16]);
        body.put_u8(0);
        let mut frame = BytesMut::new();
        put_buffer(&mut frame, &body);
        socket.write_all(&frame).await.unwrap();
        socket
    }

    #[test]
    fn when_a_server_goes_the_session_moves_and_asks_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listeners =
                [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
            let addrs = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
            let servers = tokio::task::spawn_local(async move {
                let mut first = accept(&listeners[0], 0).await;
                let mut asked = [0; 20];
                first.read_exact(&mut asked).await.unwrap();
                drop(first);
                let mut second = accept(&listeners[1], 7).await;
                let mut again = [0; 20];
                second.read_exact(&mut again).await.unwrap();
                assert_eq!(again, asked);
                let mut frame = BytesMut::new();
                let mut body = BytesMut::new();
                body.put_i32(1);
                body.put_i64(99);
                body.put_i32(0);
                put_buffer(&mut body, b"hi");
                put_buffer(&mut frame, &body);
                second.write_all(&frame).await.unwrap();
            });
            let mut session = ZooKeeper::new(addrs).open(0);
            session.submit(3, Op::Read { key: Bytes::from_static(b"k"), linearizable: false });
            let mut done = Vec::new();
            session.wait(&mut done).await;
            assert_eq!(done, [Done { tag: 3, end: Ok(Some(Bytes::from_static(b"hi"))) }]);
            assert_eq!((session.server, session.ticket.id, session.ticket.seen), (1, 7, 99));
            servers.await.unwrap();
        });
    }
}
