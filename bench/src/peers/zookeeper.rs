//! Apache ZooKeeper: three real servers on loopback, and a pipelined client that speaks its wire protocol.
//!
//! Only what a closed loop of writes and reads needs: connect, create, setData, getData. The frames are those of
//! `zookeeper.jute` (ConnectRequest, RequestHeader, ReplyHeader, CreateRequest, SetDataRequest, GetDataRequest).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::load::target::{Connection, Done, Failure, Op, Target};

/// Frames of a server are never larger than this here.
const FRAME_MAX: usize = 4 << 20;
/// Requests under way while znodes are created.
const WINDOW: usize = 500;
/// Where Debian's package puts the server.
const CLASS_PATH: &str = "/usr/share/java/*";

const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

/// Three servers. They are killed when this is dropped.
#[derive(Debug)]
pub struct Ensemble {
    /// Client addresses.
    pub addrs: Vec<String>,
    /// The configuration of the first server, as it was written, for the report.
    pub config: String,
    _servers: Vec<Child>,
}

impl Ensemble {
    /// Starts three servers with their data below `dir` and waits until one of them serves.
    ///
    /// Settings are those of ZooKeeper's administrator's guide for a small ensemble; `forceSync` stays at its default, so
    /// every write is fsynced by each server before it is acknowledged.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        ensure!(
            Path::new("/usr/share/java/zookeeper.jar").exists(),
            "ZooKeeper is not installed: expected /usr/share/java/zookeeper.jar (Debian: apt-get install zookeeper)"
        );
        let ports = free_ports(9)?;
        let mut members = String::new();
        for i in 0..3 {
            let _ = writeln!(members, "server.{}=127.0.0.1:{}:{}", i + 1, ports[3 + i], ports[6 + i]);
        }
        let (mut servers, mut addrs, mut first) = (Vec::new(), Vec::new(), String::new());
        for (i, port) in ports[..3].iter().enumerate() {
            let home = dir.join(format!("zookeeper-{}", i + 1));
            let (config, text) = write_config(&home, i + 1, *port, &members)?;
            servers.push(spawn(&home, &config)?);
            addrs.push(format!("127.0.0.1:{port}"));
            if i == 0 {
                first = text;
            }
        }
        let ensemble = Self { addrs, config: first, _servers: servers };
        ensemble.ready().await?;
        Ok(ensemble)
    }

    /// Connects until a server gives a session, which it does once the ensemble has a leader.
    async fn ready(&self) -> anyhow::Result<()> {
        let served = async {
            let mut retry = tokio::time::interval(Duration::from_millis(100));
            loop {
                retry.tick().await;
                if ZooKeeper::new(self.addrs.clone()).open(0).connect().await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), served).await.context("ZooKeeper did not serve within 30 s")
    }
}

fn write_config(home: &Path, id: usize, port: u16, members: &str) -> anyhow::Result<(PathBuf, String)> {
    let data = home.join("data");
    std::fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    std::fs::write(data.join("myid"), id.to_string())?;
    let text = format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\nmaxClientCnxns=0\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\n{members}",
        data.display()
    );
    let path = home.join("zoo.cfg");
    std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, text))
}

fn spawn(home: &Path, config: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(home.join("log.txt"))?;
    Command::new("java")
        .args(["-Xmx1g", "-cp", CLASS_PATH, "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start java: a Java runtime is needed for ZooKeeper")
}

/// Ports nobody listens on at this moment.
fn free_ports(n: usize) -> anyhow::Result<Vec<u16>> {
    let held: Vec<_> = (0..n).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|l| Ok(l.local_addr()?.port())).collect()
}

/// ZooKeeper under load: connection `n` speaks to server `n` modulo their number, as clients with a list of servers do.
#[derive(Clone, Debug)]
pub struct ZooKeeper {
    addrs: Vec<String>,
}

impl ZooKeeper {
    /// The servers at these client addresses.
    pub fn new(addrs: Vec<String>) -> Self {
        Self { addrs }
    }

    /// Creates a znode per key: `setData` needs it to be there.
    pub async fn create(&self, keys: impl Iterator<Item = Bytes>, value: &[u8]) -> anyhow::Result<()> {
        let mut conn = self.open(0);
        conn.connect().await?;
        for (n, key) in keys.enumerate() {
            let mut body = request(CREATE, &key);
            put_buffer(&mut body, value);
            body.put_i32(1); // one access rule: everyone may do everything
            body.put_i32(31);
            put_buffer(&mut body, b"world");
            put_buffer(&mut body, b"anyone");
            body.put_i32(0); // persistent
            put_buffer(&mut conn.out, &body);
            conn.waiting.push_back((n as u32, false));
            if conn.waiting.len() >= WINDOW {
                conn.expect_created().await?;
            }
        }
        conn.expect_created().await
    }
}

impl Target for ZooKeeper {
    type Conn = Session;

    fn open(&self, n: usize) -> Session {
        Session {
            addr: self.addrs[n % self.addrs.len()].clone(),
            socket: None,
            out: BytesMut::new(),
            buffer: BytesMut::new(),
            waiting: VecDeque::new(),
        }
    }
}

/// One session with a server; many requests may be under way, answered in order.
#[derive(Debug)]
pub struct Session {
    addr: String,
    socket: Option<TcpStream>,
    out: BytesMut,
    buffer: BytesMut,
    /// Tags of what was asked, in order, and whether it was a read.
    waiting: VecDeque<(u32, bool)>,
}

impl Connection for Session {
    fn submit(&mut self, tag: u32, op: Op) {
        let (body, read) = match op {
            Op::Write { key, value } => {
                let mut body = request(SET_DATA, &key);
                put_buffer(&mut body, &value);
                body.put_i32(-1); // whatever its version
                (body, false)
            }
            // Reads are local; ZooKeeper offers no linearizable one.
            Op::Read { key, .. } => {
                let mut body = request(GET_DATA, &key);
                body.put_u8(0); // no watch
                (body, true)
            }
        };
        put_buffer(&mut self.out, &body);
        self.waiting.push_back((tag, read));
    }

    async fn wait(&mut self, done: &mut Vec<Done>) {
        if self.exchange(done).await.is_err() {
            // What was under way may or may not have happened; the next operation connects anew.
            self.socket = None;
            self.out.clear();
            self.buffer.clear();
            done.extend(self.waiting.drain(..).map(|(tag, _)| Done { tag, end: Err(Failure::TimedOut) }));
        }
    }
}

impl Session {
    /// Connects and opens a session, unless that is done.
    async fn connect(&mut self) -> anyhow::Result<()> {
        if self.socket.is_some() {
            return Ok(());
        }
        self.buffer.clear();
        let addr = &self.addr;
        let mut socket = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
        socket.set_nodelay(true)?;
        let mut hello = BytesMut::new();
        hello.put_i32(0); // protocol version
        hello.put_i64(0); // last zxid seen
        hello.put_i32(30_000); // session time-out, ms
        hello.put_i64(0); // no session yet
        put_buffer(&mut hello, &[0; 16]);
        hello.put_u8(0); // not read-only
        let mut frame = BytesMut::new();
        put_buffer(&mut frame, &hello);
        socket.write_all(&frame).await?;
        let mut answer = loop {
            if let Some(frame) = take_frame(&mut self.buffer)? {
                break frame;
            }
            ensure!(socket.read_buf(&mut self.buffer).await? > 0, "ZooKeeper at {addr} closed the connection");
        };
        ensure!(answer.len() >= 16, "ZooKeeper at {addr} answered the handshake with {} bytes", answer.len());
        answer.advance(4);
        ensure!(answer.get_i32() > 0, "ZooKeeper at {addr} refused the session");
        self.socket = Some(socket);
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
        let before = done.len();
        loop {
            while let Some(mut frame) = take_frame(&mut self.buffer)? {
                ensure!(frame.len() >= 16, "a reply of {} bytes", frame.len());
                let xid = frame.get_i32();
                frame.advance(8);
                let error = frame.get_i32();
                if xid >= 0 {
                    let (tag, read) = self.waiting.pop_front().context("an answer to no question")?;
                    done.push(Done { tag, end: end_of(error, read, frame) });
                }
            }
            if done.len() > before {
                return Ok(());
            }
            ensure!(socket.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
        }
    }

    async fn expect_created(&mut self) -> anyhow::Result<()> {
        let mut done = Vec::new();
        while !self.waiting.is_empty() {
            self.exchange(&mut done).await?;
        }
        let failed = done.iter().find(|d| d.end.is_err());
        ensure!(failed.is_none(), "ZooKeeper: create failed: {failed:?}");
        Ok(())
    }
}

fn end_of(error: i32, read: bool, mut body: Bytes) -> Result<Option<Bytes>, Failure> {
    match error {
        0 if read => {
            let n = if body.len() >= 4 { body.get_i32().max(0) as usize } else { usize::MAX };
            if n > body.len() { Err(Failure::WrongAnswer) } else { Ok(Some(body.split_to(n))) }
        }
        0 | NODE_EXISTS => Ok(None),
        NO_NODE if read => Ok(None),
        _ => Err(Failure::Refused),
    }
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
    fn a_request_is_as_zookeeper_jute_says() {
        let body = request(SET_DATA, b"k");
        assert_eq!(&body[..], [0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 3, b'/', b'6', b'b']);
    }

    #[test]
    fn answers_are_understood_or_refused() {
        let value = Bytes::from_static(&[0, 0, 0, 2, b'h', b'i', 9]);
        assert_eq!(end_of(0, true, value), Ok(Some(Bytes::from_static(b"hi"))));
        assert_eq!(end_of(0, true, Bytes::from_static(&[0, 0, 0, 9, b'h'])), Err(Failure::WrongAnswer));
        assert_eq!(end_of(NO_NODE, true, Bytes::new()), Ok(None));
        assert_eq!(end_of(NO_NODE, false, Bytes::new()), Err(Failure::Refused));
        assert_eq!(end_of(0, false, Bytes::new()), Ok(None));
    }
}
