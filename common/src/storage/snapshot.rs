//! Snapshots: one file each, named by the last log id it covers.
//!
//! A file is complete from the moment it has its name: it is written aside in one pass with bounded memory, synced,
//! renamed, and the directory synced, and only then are older ones removed and the log cut behind it. Peers exchange the
//! file as it is, header and trailer included, so what was received is checked by the same rules as what was written.
//!
//! ```text
//!  0  magic    8 B   "duetsnap"
//!  8  version  u32
//! 12  id       u64 u64   the last entry covered: epoch, counter
//! 28  body
//!     length   u64   of the body
//!     crc      u32   CRC32C over everything above
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use tracing::warn;

use super::error::StorageError;
use super::fs::{Fs, Named, list, rename, sync_dir, unlink};
use crate::protocol::Chunk;
use crate::state_machine::Frozen;
use crate::types::LogId;
use crate::{mark, mutant};

const MAGIC: &[u8; 8] = b"duetsnap";
const VERSION: u32 = 1;
const HEADER: usize = 28;
const TRAILER: usize = 12;
/// How much is written or read at once.
const PIECE: usize = 256 << 10;
/// A snapshot of the own machine while it is written.
const STORING: &str = "storing.tmp";
/// A snapshot from a peer while it is received.
const RECEIVING: &str = "receiving.tmp";

/// The stored snapshots of a node. Cheap to clone; opening one for reading needs no worker.
#[derive(Clone, Debug)]
pub struct Snapshots {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

fn file_name(id: LogId) -> String {
    format!("{:016x}-{:016x}.snap", id.epoch, id.counter)
}

fn id_of(name: &str) -> Option<LogId> {
    let (epoch, counter) = name.strip_suffix(".snap")?.split_once('-')?;
    if epoch.len() != 16 || counter.len() != 16 {
        return None;
    }
    Some(LogId::new(u64::from_str_radix(epoch, 16).ok()?, u64::from_str_radix(counter, 16).ok()?))
}

fn header(id: LogId) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&id.epoch.to_le_bytes());
    bytes[20..].copy_from_slice(&id.counter.to_le_bytes());
    bytes
}

impl Snapshots {
    /// The snapshots in `dir`, which exists. Removes what was left unfinished.
    pub(crate) fn open(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, StorageError> {
        for name in list(&**fs, dir)? {
            if name == STORING || name == RECEIVING {
                mark!("common/storage/snapshot#open.unfinished");
                unlink(&**fs, &dir.join(name))?;
            }
        }
        // A process may have died between rename and directory sync.
        sync_dir(&**fs, dir)?;
        Ok(Self { fs: Arc::clone(fs), dir: dir.to_owned() })
    }

    /// The snapshots in `dir`, as they are: nothing is cleaned up or synced.
    pub(crate) fn view(fs: Arc<dyn Fs>, dir: &Path) -> Self {
        Self { fs, dir: dir.to_owned() }
    }

    /// The ids of the snapshots there are, newest first. Not verified.
    pub fn ids(&self) -> Result<Vec<LogId>, StorageError> {
        let mut ids: Vec<LogId> = list(&*self.fs, &self.dir)?.iter().filter_map(|name| id_of(name)).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// The newest snapshot whose checksum is right. Damaged ones are passed over with a warning; whether the log can do
    /// without them is checked when it is opened.
    pub(crate) fn newest_valid(&self) -> Result<Option<LogId>, StorageError> {
        for id in self.ids()? {
            match self.verify(&self.path(id), id) {
                Ok(()) => return Ok(Some(id)),
                Err(e @ StorageError::Damaged { .. }) => {
                    mark!("common/storage/snapshot#newest_valid.damaged");
                    warn!("passing over a damaged snapshot: {e}");
                }
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Removes those whose checksum is wrong, durably. For a log that starts anew, they are in the way of newer ones.
    pub(crate) fn remove_damaged(&self) -> Result<(), StorageError> {
        for id in self.ids()? {
            match self.verify(&self.path(id), id) {
                Err(StorageError::Damaged { .. }) => {
                    mark!("common/storage/snapshot#remove_damaged");
                    unlink(&*self.fs, &self.path(id))?;
                }
                verdict => verdict?,
            }
        }
        sync_dir(&*self.fs, &self.dir)
    }

    /// Opens the body of a snapshot for [`StateMachine::restore`](crate::state_machine::StateMachine::restore). Its
    /// checksum was verified at start or when it was received, and is computed again while it is read.
    pub fn read(&self, id: LogId) -> Result<SnapshotBody, StorageError> {
        if !self.ids()?.contains(&id) {
            return Err(StorageError::NoSnapshot { dir: self.dir.clone(), id });
        }
        self.body(&self.path(id), id)
    }

    fn body(&self, path: &Path, id: LogId) -> Result<SnapshotBody, StorageError> {
        let file = Named::open(&*self.fs, path.to_owned())?;
        let (body, expected) = check_ends(&file, id)?;
        let crc = crc32c::crc32c(&header(id));
        Ok(SnapshotBody { file, offset: HEADER as u64, body, left: body, crc, expected })
    }

    /// Reads a whole file and compares its checksum.
    fn verify(&self, path: &Path, id: LogId) -> Result<(), StorageError> {
        let mut body = self.body(path, id)?;
        let mut buf = vec![0; body.left.min(PIECE as u64) as usize];
        while body.piece(&mut buf)? > 0 {}
        Ok(())
    }

    fn path(&self, id: LogId) -> PathBuf {
        self.dir.join(file_name(id))
    }

    /// Gives a complete, synced file its name, and removes older snapshots above the limit.
    fn publish(&self, aside: &Path, id: LogId, keep: usize) -> Result<(), StorageError> {
        rename(&*self.fs, aside, &self.path(id))?;
        sync_dir(&*self.fs, &self.dir)?;
        let ids = self.ids()?;
        let old: Vec<_> = ids.iter().filter(|old| **old != id).skip(keep.saturating_sub(1)).collect();
        for id in old {
            mark!("common/storage/snapshot#publish.remove");
            unlink(&*self.fs, &self.path(*id))?;
        }
        Ok(())
    }
}

/// Checks header and length of a snapshot file; gives the body's length and the checksum in the trailer.
fn check_ends(file: &Named, id: LogId) -> Result<(u64, u32), StorageError> {
    let bad = |offset: u64, what: &str| Err(StorageError::damaged(&file.path, offset, what));
    let mut start = [0; HEADER];
    let n = file.read_at(0, &mut start)?;
    if n < HEADER || &start[..8] != MAGIC {
        return bad(0, "not a snapshot");
    }
    let version = u32::from_le_bytes(start[8..12].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(StorageError::Version { path: file.path.clone(), found: version, supported: VERSION });
    }
    if start != header(id) {
        return bad(12, &format!("not the snapshot of {id}"));
    }
    let size = file.size()?;
    let Some(body) = size.checked_sub((HEADER + TRAILER) as u64) else {
        return bad(size, "the file ends before its trailer");
    };
    let mut end = [0; TRAILER];
    let at = HEADER as u64 + body;
    if file.read_at(at, &mut end)? < TRAILER || end[..8] != body.to_le_bytes() {
        return bad(at, "the length in the trailer is not that of the file");
    }
    Ok((body, u32::from_le_bytes(end[8..].try_into().expect("four bytes"))))
}

/// The body of a snapshot, being read. The last read, which gives the end, fails if the checksum is wrong.
#[derive(Debug)]
pub struct SnapshotBody {
    file: Named,
    offset: u64,
    body: u64,
    left: u64,
    crc: u32,
    expected: u32,
}

impl SnapshotBody {
    /// The body's length in bytes.
    pub fn size(&self) -> u64 {
        self.body
    }

    fn piece(&mut self, buf: &mut [u8]) -> Result<usize, StorageError> {
        if self.left == 0 {
            let crc = crc32c::crc32c_append(self.crc, &self.body.to_le_bytes());
            if crc != self.expected && !mutant!("D17") {
                return Err(StorageError::damaged(&self.file.path, self.offset + 8, "the checksum is wrong"));
            }
            return Ok(0);
        }
        let most = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(self.offset, &mut buf[..most])?;
        if n == 0 && most > 0 {
            return Err(StorageError::damaged(&self.file.path, self.offset, "the file became shorter"));
        }
        self.crc = crc32c::crc32c_append(self.crc, &buf[..n]);
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

impl io::Read for SnapshotBody {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.piece(buf).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

/// Writes a snapshot file in pieces, computing the checksum on the way.
struct Writer {
    file: Named,
    buf: Vec<u8>,
    written: u64,
    crc: u32,
    /// A disk error, which [`Frozen::write`] only passes on.
    error: Option<StorageError>,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= PIECE { self.drain() } else { Ok(()) }
    }

    fn drain(&mut self) -> Result<(), StorageError> {
        self.file.write_all_at(self.written, &self.buf)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.buf);
        self.written += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(PIECE);
        if self.error.is_none() {
            self.error = self.put(&bytes[..n]).err();
        }
        if self.error.is_some() { Err(io::ErrorKind::Other.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The store as its worker sees it: with what is being received and what is being sent.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) snapshots: Snapshots,
    keep: usize,
    receiving: Option<Receiving>,
    /// The files that peers are reading, newest use last. At most [`OPEN_FILES`].
    sending: Vec<(LogId, Named, u64)>,
}

/// What there is to send to a peer.
#[derive(Debug)]
pub(crate) enum Piece {
    /// There is no snapshot.
    None,
    /// A piece of one.
    Of(Chunk),
    /// The newest is damaged or cannot be read, and was not sent.
    Unusable(LogId),
}

/// Peers rarely read more than the newest and the one before.
const OPEN_FILES: usize = 2;

#[derive(Debug)]
struct Receiving {
    id: LogId,
    total: u64,
    end: u64,
    file: Named,
}

impl Store {
    pub(crate) fn new(snapshots: Snapshots, keep: usize) -> Self {
        Self { snapshots, keep, receiving: None, sending: Vec::new() }
    }

    /// Writes the own machine's state. Gives the file's length.
    pub(crate) fn store(&self, id: LogId, state: Box<dyn Frozen>) -> Result<u64, StorageError> {
        let file = Named::create(&*self.snapshots.fs, self.snapshots.dir.join(STORING))?;
        let mut out = Writer { file, buf: Vec::with_capacity(PIECE * 2), written: 0, crc: 0, error: None };
        out.put(&header(id))?;
        if let Err(source) = state.write(&mut out) {
            let path = out.file.path.clone();
            return Err(out.error.take().unwrap_or(StorageError::State { path, source }));
        }
        if let Some(e) = out.error.take() {
            return Err(e);
        }
        out.drain()?;
        let body = out.written - HEADER as u64;
        out.put(&body.to_le_bytes())?;
        let crc = crc32c::crc32c_append(out.crc, &out.buf);
        out.put(&crc.to_le_bytes())?;
        out.drain()?;
        if !mutant!("D15") {
            out.file.sync_all()?;
        }
        self.snapshots.publish(&out.file.path, id, self.keep)?;
        Ok(out.written)
    }

    /// Reads a piece, of this snapshot or of the newest from its start.
    ///
    /// Before its first piece goes, the whole file is read and its checksum compared: what has rotted since it was
    /// written would be refused by every peer, each time it is sent.
    pub(crate) fn piece(&mut self, id: Option<LogId>, offset: u64, max_bytes: usize) -> Result<Piece, StorageError> {
        let ids = self.snapshots.ids()?;
        let (id, offset) = match (id.filter(|id| ids.contains(id)), ids.first()) {
            (Some(id), _) => (id, offset),
            (None, Some(newest)) if id.is_none() => (*newest, offset),
            (None, Some(newest)) => {
                mark!("common/storage/snapshot#piece.gone");
                (*newest, 0)
            }
            (None, None) => return Ok(Piece::None),
        };
        let unusable = match self.piece_of(id, offset, max_bytes) {
            Ok(chunk) => return Ok(Piece::Of(chunk)),
            Err(e) => e,
        };
        warn!("a snapshot cannot be given to a peer: {unusable}");
        self.sending.retain(|(open, ..)| *open != id);
        if ids.first() != Some(&id) {
            mark!("common/storage/snapshot#piece.unusable_old");
            return self.piece(None, 0, max_bytes);
        }
        mark!("common/storage/snapshot#piece.unusable");
        Ok(Piece::Unusable(id))
    }

    fn piece_of(&mut self, id: LogId, offset: u64, max_bytes: usize) -> Result<Chunk, StorageError> {
        if offset == 0 && !mutant!("D26") {
            self.snapshots.verify(&self.snapshots.path(id), id)?;
        }
        let at = if let Some(at) = self.sending.iter().position(|(open, ..)| *open == id) {
            at
        } else {
            let file = Named::open(&*self.snapshots.fs, self.snapshots.path(id))?;
            let size = file.size()?;
            if self.sending.len() == OPEN_FILES {
                self.sending.remove(0);
            }
            self.sending.push((id, file, size));
            self.sending.len() - 1
        };
        let (_, file, total) = &self.sending[at];
        let n = max_bytes.min(usize::try_from(total.saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut data = BytesMut::zeroed(n);
        let n = file.read_at(offset, &mut data)?;
        data.truncate(n);
        Ok(Chunk { snapshot: id, offset, total: *total, data: data.freeze() })
    }

    /// Writes a received piece aside. `Ok(Err(reason))` when it does not fit what came before.
    pub(crate) fn receive(&mut self, chunk: &Chunk) -> Result<Result<u64, String>, StorageError> {
        if chunk.offset == 0 {
            self.drop_received()?;
            let file = Named::create(&*self.snapshots.fs, self.snapshots.dir.join(RECEIVING))?;
            self.receiving = Some(Receiving { id: chunk.snapshot, total: chunk.total, end: 0, file });
        }
        let Some(r) = &mut self.receiving else {
            return Ok(Err(format!("a piece at byte {} of a snapshot that was not begun", chunk.offset)));
        };
        if (r.id, r.total, r.end) != (chunk.snapshot, chunk.total, chunk.offset) || chunk.end() > r.total {
            let reason = format!(
                "a piece {}..{} of {} bytes of {}, after {} of {} bytes of {}",
                chunk.offset,
                chunk.end(),
                chunk.total,
                chunk.snapshot,
                r.end,
                r.total,
                r.id
            );
            self.drop_received()?;
            return Ok(Err(reason));
        }
        r.file.write_all_at(r.end, &chunk.data)?;
        r.end = chunk.end();
        Ok(Ok(r.end))
    }

    /// Verifies what was received and makes it a snapshot. `Ok(Err(reason))` when it is not one.
    pub(crate) fn finish(&mut self, id: LogId) -> Result<Result<(), String>, StorageError> {
        let Some(r) = self.receiving.take() else {
            return Ok(Err("nothing was received".to_owned()));
        };
        let verdict = if r.id != id {
            Err(format!("what was received is the snapshot of {}", r.id))
        } else if r.end != r.total {
            Err(format!("{} of {} bytes were received", r.end, r.total))
        } else {
            match self.snapshots.verify(&r.file.path, id) {
                Ok(()) => Ok(()),
                Err(e @ StorageError::Io { .. }) => return Err(e),
                Err(e) => Err(e.to_string()),
            }
        };
        if verdict.is_err() {
            mark!("common/storage/snapshot#finish.refused");
            unlink(&*self.snapshots.fs, &r.file.path)?;
            return Ok(verdict);
        }
        let mut file = r.file;
        if !mutant!("D15") {
            file.sync_all()?;
        }
        mark!("common/storage/snapshot#finish");
        self.snapshots.publish(&file.path, id, self.keep)?;
        self.sending.retain(|(open, ..)| *open != id);
        Ok(Ok(()))
    }

    fn drop_received(&mut self) -> Result<(), StorageError> {
        match self.receiving.take() {
            Some(r) => {
                mark!("common/storage/snapshot#drop_received");
                unlink(&*self.snapshots.fs, &r.file.path)
            }
            None => Ok(()),
        }
    }
}
