//! The small file beside the log: whose folder this is, and the protocol's hard state (Raft: currentTerm and votedFor,
//! section 5.1 and figure 2; ZAB: acceptedEpoch and currentEpoch).
//!
//! A vote or an epoch that is forgotten can be given twice, and then two leaders share a term. So the file is replaced
//! as a whole: written aside, synced, renamed over the old one, directory synced. A crash leaves the old value or the
//! new one. A damaged file is refused; the node never starts as if it had promised nothing.
//!
//! ```text
//! 0  magic    8 B   "duethard"
//! 8  version  u32
//! 12 length   u32   of the body
//! 16 body           postcard: protocol, cluster, node, hard state
//!    crc      u32   CRC32C over everything above
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::StorageError;
use super::fs::{Fs, Named, list, rename, sync_dir, unlink};
use crate::metrics::Counters;
use crate::types::NodeId;
use crate::{mark, mutant};

pub(crate) const NAME: &str = "hard";
const ASIDE: &str = "hard.tmp";
const MAGIC: &[u8; 8] = b"duethard";
const VERSION: u32 = 1;
const HEADER: usize = 16;
/// A larger file was not written by this program.
const MOST_BYTES: u64 = 1 << 20;

/// Whose folder it is. Checked at each start, so that a node does not take up another one's promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`Protocol::NAME`](crate::protocol::Protocol::NAME).
    pub protocol: String,
    /// The cluster's name.
    pub cluster: String,
    /// The node's id.
    pub node: NodeId,
}

#[derive(Serialize, Deserialize)]
struct Body {
    identity: Identity,
    hard: Option<Vec<u8>>,
}

/// The hard-state file of an open folder.
#[derive(Debug)]
pub(crate) struct HardFile {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    body: Body,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {:?}", self.identity, self.hard)
    }
}

impl HardFile {
    /// Reads the file in `dir` if there is one, and says whether there is.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        counters: &Arc<Counters>,
    ) -> Result<(Self, bool), StorageError> {
        let names = list(&**fs, dir)?;
        if names.iter().any(|n| n == ASIDE) {
            mark!("common/storage/hard#open.unfinished");
            unlink(&**fs, &dir.join(ASIDE))?;
        }
        let exists = names.iter().any(|n| n == NAME);
        let body = if exists {
            let body = read(&**fs, dir)?;
            check(&dir.join(NAME), &body.identity, identity)?;
            // The process may have died between rename and directory sync; from here on the value counts as durable.
            sync_dir(&**fs, dir)?;
            body
        } else {
            Body { identity: identity.clone(), hard: None }
        };
        Ok((Self { fs: Arc::clone(fs), dir: dir.to_owned(), body, counters: Arc::clone(counters) }, exists))
    }

    /// What was saved last; None if nothing ever was.
    pub(crate) fn hard(&self) -> Option<&[u8]> {
        self.body.hard.as_deref()
    }

    /// Replaces the hard state, durably.
    pub(crate) fn save(&mut self, hard: Vec<u8>) -> Result<(), StorageError> {
        self.body.hard = Some(hard);
        self.write()
    }

    /// Writes the file as it is in memory, durably.
    pub(crate) fn write(&mut self) -> Result<(), StorageError> {
        let path = self.dir.join(NAME);
        let aside = self.dir.join(if mutant!("D12") { NAME } else { ASIDE });
        let body = postcard::to_stdvec(&self.body).expect("strings and bytes always serialize");
        let mut bytes = Vec::with_capacity(HEADER + body.len() + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        if bytes.len() as u64 > MOST_BYTES {
            return Err(StorageError::Config {
                field: "hard state (bytes)",
                value: bytes.len() as u64,
                allowed: "at most 1 MiB",
            });
        }
        let mut file = Named::create(&*self.fs, aside)?;
        file.write_all_at(0, &bytes)?;
        self.counters.fsyncs.add(1);
        if !mutant!("D03") {
            file.sync_all()?;
        }
        if !mutant!("D12") {
            rename(&*self.fs, &file.path, &path)?;
        }
        sync_dir(&*self.fs, &self.dir)
    }
}

/// Whether there is a file in `dir`, and the hard state in it, whosever it is.
pub(crate) fn saved(fs: &dyn Fs, dir: &Path) -> Result<(bool, Option<Vec<u8>>), StorageError> {
    let exists = list(fs, dir)?.iter().any(|n| n == NAME);
    Ok((exists, if exists { read(fs, dir)?.hard } else { None }))
}

fn read(fs: &dyn Fs, dir: &Path) -> Result<Body, StorageError> {
    let path = dir.join(NAME);
    let file = Named::open(fs, path.clone())?;
    let size = file.size()?;
    let bad = |offset: u64, what: &str| StorageError::damaged(&path, offset, what);
    if size > MOST_BYTES {
        return Err(bad(MOST_BYTES, "longer than any hard-state file"));
    }
    let mut bytes = vec![0; size as usize];
    let n = file.read_at(0, &mut bytes)?;
    bytes.truncate(n);
    if bytes.len() < HEADER + 4 || &bytes[..8] != MAGIC {
        return Err(bad(0, "not a hard-state file"));
    }
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let end = bytes.len() - 4;
    if crc32c::crc32c(&bytes[..end]) != number(end) && !mutant!("D09") {
        return Err(bad(end as u64, "the checksum is wrong"));
    }
    if number(8) != VERSION {
        return Err(StorageError::Version { path, found: number(8), supported: VERSION });
    }
    if number(12) as usize != end - HEADER {
        return Err(bad(12, "the length is wrong"));
    }
    postcard::from_bytes(&bytes[HEADER..end]).map_err(|e| bad(HEADER as u64, &format!("cannot be decoded: {e}")))
}

fn check(path: &Path, found: &Identity, expected: &Identity) -> Result<(), StorageError> {
    let stranger = |field, found: &dyn ToString, expected: &dyn ToString| StorageError::Stranger {
        path: path.to_owned(),
        field,
        found: found.to_string(),
        expected: expected.to_string(),
    };
    if found.protocol != expected.protocol {
        return Err(stranger("protocol", &found.protocol, &expected.protocol));
    }
    if found.cluster != expected.cluster {
        return Err(stranger("cluster", &found.cluster, &expected.cluster));
    }
    if found.node != expected.node {
        return Err(stranger("node", &found.node, &expected.node));
    }
    Ok(())
}
