//! Who is there: the first bytes on every connection, each way, before any frame.
//!
//! ```text
//! "DUETwire" | u16 version | u8 kind | u16 length | payload | u32 crc32c of all before     (little-endian)
//!
//! peer:    dialer -> PeerHello    acceptor -> Welcome or Refused    dialer -> Confirm or Refused
//! client:  client -> ClientHello  node     -> Welcome or Refused
//! ```
//!
//! Without it a node started with last week's address list would take part in another cluster's elections, and one vote
//! cast in the wrong cluster is enough for two leaders. Each side judges the other; whoever refuses says why before it
//! closes, so that both logs name the mistake. The layout of the first 13 bytes and of `Refused` (u16 code, text) stays
//! the same in all versions: it is how versions tell each other that they differ. A stranger (HTTP, a port scan) is
//! recognised by its first wrong byte and gets no answer.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frame::decode_header;
use crate::mutant;
use crate::types::{Member, NodeId};

/// The version of handshake, framing and messages together. Nodes of different versions refuse each other.
pub const VERSION: u16 = 3;
/// The longest name of a cluster or protocol, in bytes.
pub const MAX_NAME: usize = 128;
const MAGIC: [u8; 8] = *b"DUETwire";
const FIXED: usize = 13;
const MAX_PAYLOAD: usize = 1024;

/// Why a connection did not become a session. The numbers travel; they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// Another version of the wire format.
    Version,
    /// Another cluster.
    Cluster,
    /// Another replication protocol.
    Protocol,
    /// Meant for another node.
    Target,
    /// The caller has the id of the node it called.
    OwnId,
    /// As many as are allowed are connected.
    Full,
    /// A client on the peer port or a peer on the client port.
    WrongPort,
    /// It could not be read.
    Malformed,
    /// A code this version does not know.
    Other(u16),
}

impl RefusalCode {
    /// 6, 7 and 8 were refusals for what a peer is to the cluster. Since members change, no node can judge that by what it
    /// happens to know; the numbers are not used again.
    const KNOWN: [(Self, u16); 8] = [
        (Self::Version, 1),
        (Self::Cluster, 2),
        (Self::Protocol, 3),
        (Self::Target, 4),
        (Self::OwnId, 5),
        (Self::Full, 9),
        (Self::WrongPort, 10),
        (Self::Malformed, 11),
    ];

    fn to_wire(self) -> u16 {
        match self {
            Self::Other(n) => n,
            known => Self::KNOWN.iter().find(|(code, _)| *code == known).map_or(0, |(_, n)| *n),
        }
    }

    fn from_wire(n: u16) -> Self {
        Self::KNOWN.iter().find(|(_, number)| *number == n).map_or(Self::Other(n), |(code, _)| *code)
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// What came is not ours at all.
    #[error("a stranger: its first bytes are \"{0}\"")]
    Stranger(String),
    /// Another version.
    #[error("it speaks version {theirs}, this is version {ours}")]
    Version {
        /// [`VERSION`].
        ours: u16,
        /// What it said.
        theirs: u16,
    },
    /// Another cluster.
    #[error("it belongs to cluster {theirs:?}, this is {ours:?}")]
    Cluster {
        /// This node's.
        ours: String,
        /// What it said.
        theirs: String,
    },
    /// Another replication protocol.
    #[error("it speaks {theirs:?}, this node {ours:?}")]
    Protocol {
        /// This node's.
        ours: String,
        /// What it said.
        theirs: String,
    },
    /// Addresses are mixed up.
    #[error("{asked} was wanted, {found} is here")]
    Target {
        /// The id that was wanted.
        asked: NodeId,
        /// The id that is there.
        found: NodeId,
    },
    /// Two nodes were started with one id, or a node calls itself.
    #[error("it says it is {0}, which is this node")]
    OwnId(NodeId),
    /// As many as are allowed are connected.
    #[error("{limit} are connected already")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// A client on the peer port or a peer on the client port.
    #[error("a {0} on a port that is not for it")]
    WrongPort(&'static str),
    /// It could not be read.
    #[error("malformed handshake: {0}")]
    Malformed(String),
    /// The other side refused this one.
    #[error("refused by the other side ({code:?}): {text:?}")]
    Refused {
        /// The reason as a number.
        code: RefusalCode,
        /// The reason in its words.
        text: String,
    },
    /// Too slow.
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
    /// It closed before it had said enough.
    #[error("closed during the handshake")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl HandshakeError {
    /// What the other side is told; None when there is nobody to tell.
    pub fn code(&self) -> Option<RefusalCode> {
        Some(match self {
            Self::Version { .. } => RefusalCode::Version,
            Self::Cluster { .. } => RefusalCode::Cluster,
            Self::Protocol { .. } => RefusalCode::Protocol,
            Self::Target { .. } => RefusalCode::Target,
            Self::OwnId(_) => RefusalCode::OwnId,
            Self::Full { .. } => RefusalCode::Full,
            Self::WrongPort(_) => RefusalCode::WrongPort,
            Self::Malformed(_) => RefusalCode::Malformed,
            Self::Stranger(_) | Self::Refused { .. } | Self::TimedOut(_) | Self::Closed | Self::Io(_) => return None,
        })
    }

    /// Whether somebody was refused, as opposed to a connection that merely failed.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Closed | Self::Io(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PeerHello = 1,
    ClientHello = 2,
    Welcome = 3,
    Refused = 4,
    Confirm = 5,
}

impl Kind {
    const ALL: [Self; 5] = [Self::PeerHello, Self::ClientHello, Self::Welcome, Self::Refused, Self::Confirm];
}

/// What a node says of itself to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerHello {
    pub(crate) cluster: String,
    pub(crate) protocol: String,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) member: Member,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ClientHello {
    /// Empty: any.
    cluster: String,
}

/// What a node says to a client it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The cluster's name.
    pub cluster: String,
    /// `raft` or `zab`.
    pub protocol: String,
    /// The node that answers.
    pub node: NodeId,
}

/// What a node knows, to judge others by.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) protocol: String,
    pub(crate) id: NodeId,
    /// What it takes itself for. Others are told, and judge by what they know themselves.
    pub(crate) member: Member,
}

impl Identity {
    fn hello(&self, to: NodeId) -> PeerHello {
        let (cluster, protocol) = (self.cluster.clone(), self.protocol.clone());
        PeerHello { cluster, protocol, from: self.id, to, member: self.member }
    }

    /// The rules that hold whoever dialled. What the other one is to the cluster is not among them: either may have been
    /// promoted or removed and not know it yet, and hears of it in this very session.
    fn judge(&self, hello: &PeerHello) -> Result<(), HandshakeError> {
        let same = |ours: &String, theirs: &String| (ours != theirs).then(|| (ours.clone(), theirs.clone()));
        if let Some((ours, theirs)) = same(&self.cluster, &hello.cluster).filter(|_| !mutant!("N06")) {
            return Err(HandshakeError::Cluster { ours, theirs });
        }
        if let Some((ours, theirs)) = same(&self.protocol, &hello.protocol) {
            return Err(HandshakeError::Protocol { ours, theirs });
        }
        if hello.to != self.id {
            return Err(HandshakeError::Target { asked: hello.to, found: self.id });
        }
        if hello.from == self.id || hello.from == NodeId(0) {
            return Err(HandshakeError::OwnId(hello.from));
        }
        Ok(())
    }

    fn judge_called(&self, target: NodeId, hello: &PeerHello) -> Result<(), HandshakeError> {
        if hello.from != target {
            return Err(HandshakeError::Target { asked: target, found: hello.from });
        }
        self.judge(hello)
    }
}

/// Whether a node dials another as soon as it has no session with it: an observer every voter, and its sources; a voter
/// those voters that have smaller ids, so that there is one connection between two voters and not two.
///
/// A voter with a larger id dials by itself, if it knows of this one. What members know of each other may differ while
/// they change, so it is dialled too, but only after it has not come for long.
pub(crate) fn dials_at_once((from, member): (NodeId, Member), (to, votes): (NodeId, bool), source: bool) -> bool {
    match member {
        Member::Observer => votes || source,
        Member::Voter => votes && to < from,
    }
}

/// The dialler's first words.
pub(crate) fn call(me: &Identity, target: NodeId) -> Result<Vec<u8>, HandshakeError> {
    call_in(VERSION, me, target)
}

/// The first words of a dialler of this version.
pub(crate) fn call_in(version: u16, me: &Identity, target: NodeId) -> Result<Vec<u8>, HandshakeError> {
    let payload = postcard::to_stdvec(&me.hello(target)).map_err(|e| HandshakeError::Malformed(e.to_string()))?;
    Ok(message(version, Kind::PeerHello as u8, &payload))
}

/// What the acceptor says to a caller it takes.
pub(crate) fn answer(me: &Identity, caller: &PeerHello) -> Result<Vec<u8>, HandshakeError> {
    encode(Kind::Welcome, &me.hello(caller.from))
}

/// The acceptor's judgement of a [`call`].
pub(crate) fn judge_call(me: &Identity, message: (Kind, Vec<u8>)) -> Result<PeerHello, HandshakeError> {
    match message {
        (Kind::PeerHello, payload) => {
            let hello = payload_as(&payload)?;
            me.judge(&hello)?;
            Ok(hello)
        }
        (Kind::ClientHello, _) => Err(HandshakeError::WrongPort("client")),
        (kind, _) => Err(unexpected(kind)),
    }
}

/// The dialler's judgement of an [`answer`].
pub(crate) fn judge_answer(
    me: &Identity,
    target: NodeId,
    message: (Kind, Vec<u8>),
) -> Result<PeerHello, HandshakeError> {
    match message {
        (Kind::Welcome, payload) => {
            let hello = payload_as(&payload)?;
            me.judge_called(target, &hello)?;
            Ok(hello)
        }
        (kind, _) => Err(unexpected(kind)),
    }
}

/// The dialling side, up to its last word: [`confirm`].
pub(super) async fn dial(me: &Identity, target: NodeId, stream: &mut TcpStream) -> Result<PeerHello, HandshakeError> {
    stream.write_all(&call(me, target)?).await?;
    match read(stream).await.and_then(|m| judge_answer(me, target, m)) {
        Ok(hello) => Ok(hello),
        Err(error) => Err(refuse(stream, error).await),
    }
}

/// The dialler wants the connection still. Afterwards the stream carries frames.
pub(super) async fn confirm(stream: &mut TcpStream) -> Result<(), HandshakeError> {
    write(stream, Kind::Confirm, &()).await
}

/// The accepting side. `room` may refuse a caller that is otherwise welcome.
pub(super) async fn accept(
    me: &Identity,
    stream: &mut TcpStream,
    room: impl FnOnce(&PeerHello) -> Result<(), HandshakeError>,
) -> Result<PeerHello, HandshakeError> {
    match read(stream).await.and_then(|m| judge_call(me, m)).and_then(|h| room(&h).map(|()| h)) {
        Ok(hello) => {
            stream.write_all(&answer(me, &hello)?).await?;
            // Only now is it sure that the caller takes this node too; a session that exists is not given up before.
            match read(stream).await? {
                (Kind::Confirm, _) => Ok(hello),
                (kind, _) => Err(unexpected(kind)),
            }
        }
        Err(error) => Err(refuse(stream, error).await),
    }
}

/// A client's side.
pub(super) async fn dial_as_client(cluster: &str, stream: &mut TcpStream) -> Result<Welcome, HandshakeError> {
    write(stream, Kind::ClientHello, &ClientHello { cluster: cluster.to_owned() }).await?;
    match read(stream).await? {
        (Kind::Welcome, payload) => payload_as(&payload),
        (kind, _) => Err(unexpected(kind)),
    }
}

/// A node's side of a client's connection.
pub(super) async fn accept_client(
    welcome: &Welcome,
    stream: &mut TcpStream,
    room: impl FnOnce() -> Result<(), HandshakeError>,
) -> Result<(), HandshakeError> {
    let judged = match read(stream).await {
        Ok((Kind::ClientHello, payload)) => payload_as::<ClientHello>(&payload).and_then(|hello| {
            if !hello.cluster.is_empty() && hello.cluster != welcome.cluster {
                return Err(HandshakeError::Cluster { ours: welcome.cluster.clone(), theirs: hello.cluster });
            }
            room()
        }),
        Ok((Kind::PeerHello, _)) => Err(HandshakeError::WrongPort("peer")),
        Ok((kind, _)) => Err(unexpected(kind)),
        Err(e) => Err(e),
    };
    match judged {
        Ok(()) => Ok(write(stream, Kind::Welcome, welcome).await?),
        Err(error) => Err(refuse(stream, error).await),
    }
}

fn unexpected(kind: Kind) -> HandshakeError {
    HandshakeError::Malformed(format!("{kind:?} was not expected"))
}

fn payload_as<T: DeserializeOwned>(payload: &[u8]) -> Result<T, HandshakeError> {
    decode_header(payload).map_err(|e| HandshakeError::Malformed(e.to_string()))
}

/// Tells the other side why, as far as it can be told, and closes for writing. Gives the error back.
async fn refuse(stream: &mut TcpStream, error: HandshakeError) -> HandshakeError {
    if let Some(code) = error.code() {
        let mut payload = code.to_wire().to_le_bytes().to_vec();
        let text = error.to_string();
        payload.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(MAX_PAYLOAD / 2)]);
        // If it cannot be told, the error at hand is still the one that matters.
        let _ = write_raw(stream, Kind::Refused, &payload).await;
        let _ = stream.shutdown().await;
    }
    error
}

async fn write<T: Serialize>(stream: &mut TcpStream, kind: Kind, value: &T) -> Result<(), HandshakeError> {
    Ok(stream.write_all(&encode(kind, value)?).await?)
}

fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, HandshakeError> {
    let payload = postcard::to_stdvec(value).map_err(|e| HandshakeError::Malformed(e.to_string()))?;
    Ok(message(VERSION, kind as u8, &payload))
}

async fn write_raw(stream: &mut TcpStream, kind: Kind, payload: &[u8]) -> std::io::Result<()> {
    stream.write_all(&message(VERSION, kind as u8, payload)).await
}

fn message(version: u16, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

async fn read(stream: &mut TcpStream) -> Result<(Kind, Vec<u8>), HandshakeError> {
    let mut fixed = [0; FIXED];
    let mut have = 0;
    while have < FIXED {
        let n = stream.read(&mut fixed[have..]).await?;
        let magic = have.min(MAGIC.len())..(have + n).min(MAGIC.len());
        if fixed[magic.clone()] != MAGIC[magic] {
            return Err(HandshakeError::Stranger(fixed[..have + n].escape_ascii().to_string()));
        }
        have += n;
        if n == 0 {
            return Err(HandshakeError::Closed);
        }
    }
    // Read to the end even if the version is wrong: closing with unread bytes would reset the connection, and the
    // other side might never see why.
    let mut rest = vec![0; rest_of(&fixed)?];
    stream.read_exact(&mut rest).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        _ => HandshakeError::Io(e),
    })?;
    parse(&fixed, &rest)
}

/// How many bytes follow the fixed ones.
fn rest_of(fixed: &[u8; FIXED]) -> Result<usize, HandshakeError> {
    let length = usize::from(u16::from_le_bytes([fixed[11], fixed[12]]));
    if length > MAX_PAYLOAD {
        return Err(HandshakeError::Malformed(format!("{length} bytes, at most {MAX_PAYLOAD} are allowed")));
    }
    Ok(length + 4)
}

/// Reads a message that begins with our magic and is all there.
fn parse(fixed: &[u8; FIXED], rest: &[u8]) -> Result<(Kind, Vec<u8>), HandshakeError> {
    let (theirs, kind) = (u16::from_le_bytes([fixed[8], fixed[9]]), fixed[10]);
    let Some((payload, crc)) = rest.split_last_chunk::<4>() else { return Err(HandshakeError::Closed) };
    if crc32c::crc32c_append(crc32c::crc32c(fixed), payload).to_le_bytes() != *crc {
        return Err(HandshakeError::Malformed("wrong checksum".into()));
    }
    if kind == Kind::Refused as u8 {
        return Err(refusal(payload));
    }
    if theirs != VERSION {
        return Err(HandshakeError::Version { ours: VERSION, theirs });
    }
    match Kind::ALL.into_iter().find(|k| *k as u8 == kind) {
        Some(kind) => Ok((kind, payload.to_vec())),
        None => Err(HandshakeError::Malformed(format!("unknown kind {kind}"))),
    }
}

/// As [`read`], from bytes that are all there.
pub(crate) fn read_from(bytes: &[u8]) -> Result<(Kind, Vec<u8>), HandshakeError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Err(HandshakeError::Closed) };
    if fixed[..MAGIC.len()] != MAGIC {
        return Err(HandshakeError::Stranger(fixed.escape_ascii().to_string()));
    }
    match rest.get(..rest_of(fixed)?) {
        Some(rest) => parse(fixed, rest),
        None => Err(HandshakeError::Closed),
    }
}

fn refusal(payload: &[u8]) -> HandshakeError {
    match payload.split_first_chunk() {
        Some((code, text)) => HandshakeError::Refused {
            code: RefusalCode::from_wire(u16::from_le_bytes(*code)),
            text: String::from_utf8_lossy(text).into_owned(),
        },
        None => HandshakeError::Malformed("a refusal without a code".into()),
    }
}

/// A name is short enough for the handshake and says something.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("{field} has {} bytes, 1 to {MAX_NAME} are allowed", name.len()));
    }
    Ok(())
}

impl fmt::Display for PeerHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}) of {:?}", self.from, self.member, self.cluster)
    }
}

#[cfg(test)]
mod tests;
