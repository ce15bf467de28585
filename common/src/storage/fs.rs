//! The few things storage asks of a file system, so that a disk and a simulated disk run the same storage code.
//!
//! The rule the rest of this room is built on: **nothing survives a power cut unless it was synced.** Bytes and lengths
//! need [`File::sync_data`] or [`File::sync_all`]; names (created, renamed, unlinked) need [`Fs::sync_dir`]. What was
//! not synced may survive wholly, partly, in another order, or not at all. A sync that failed is never repeated: the
//! kernel may have dropped the pages and call the second attempt a success (Rebello et al., "Can Applications Recover
//! from fsync Failures?", USENIX ATC 2020).

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use crate::{mark, mutant};

/// A file system.
pub trait Fs: Debug + Send + Sync + 'static {
    /// Creates a directory and its missing parents, durably. It is no error if it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates an empty file, or empties the one that is there, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Gives a file another name in the same directory, replacing what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. Files that are open stay readable.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable as they are now.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the directory for this process until the lock is dropped (or the process dies). An error of kind
    /// [`io::ErrorKind::WouldBlock`] says that another has it.
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;
}

/// An open file. Offsets and lengths are in bytes.
pub trait File: Debug + Send {
    /// Writes some of `data` at `offset`, extending the file when needed; says how much. May write less than all.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize>;

    /// Reads at `offset`; says how much. Zero only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// How long the file is.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file, or extends it with zeros.
    fn set_size(&mut self, size: u64) -> io::Result<()>;

    /// Makes the bytes durable, and as much of the metadata as is needed to read them (fdatasync).
    fn sync_data(&mut self) -> io::Result<()>;

    /// Makes bytes and metadata durable (fsync).
    fn sync_all(&mut self) -> io::Result<()>;
}

/// Holds a directory until it is dropped.
pub trait DirLock: Debug + Send + Sync {}

/// An open file that knows its path: every error it gives names the file and what was asked of it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    file: Box<dyn File>,
}

impl Named {
    pub(crate) fn create(fs: &dyn Fs, path: PathBuf) -> Result<Self, StorageError> {
        match fs.create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(e) => Err(StorageError::io("create", &path, e)),
        }
    }

    pub(crate) fn open(fs: &dyn Fs, path: PathBuf) -> Result<Self, StorageError> {
        match fs.open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(e) => Err(StorageError::io("open", &path, e)),
        }
    }

    /// Writes all of `data`, however many writes it takes.
    pub(crate) fn write_all_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut done = 0;
        while done < data.len() {
            match self.file.write_at(offset + done as u64, &data[done..]) {
                Ok(0) => return Err(self.error("write", io::ErrorKind::WriteZero.into())),
                Ok(_) if mutant!("D07") => return Ok(()),
                Ok(n) => {
                    done += n;
                    if done < data.len() {
                        mark!("common/storage/fs#write_all_at.short");
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if mutant!("D11") && e.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(e) => return Err(self.error("write", e)),
            }
        }
        Ok(())
    }

    /// Reads until `into` is full or the file ends; says how much.
    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(offset + done as u64, &mut into[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.error("read", e)),
            }
        }
        Ok(done)
    }

    pub(crate) fn size(&self) -> Result<u64, StorageError> {
        self.file.size().map_err(|e| self.error("get the length of", e))
    }

    pub(crate) fn set_size(&mut self, size: u64) -> Result<(), StorageError> {
        let done = self.file.set_size(size);
        done.map_err(|e| self.error("set the length of", e))
    }

    pub(crate) fn sync_data(&mut self) -> Result<(), StorageError> {
        let mut done = self.file.sync_data();
        if mutant!("D06") && done.is_err() {
            done = self.file.sync_data();
        }
        done.map_err(|e| self.error("fdatasync", e))
    }

    pub(crate) fn sync_all(&mut self) -> Result<(), StorageError> {
        let done = self.file.sync_all();
        done.map_err(|e| self.error("fsync", e))
    }

    fn error(&self, action: &'static str, source: io::Error) -> StorageError {
        StorageError::io(action, &self.path, source)
    }
}

/// [`Fs::sync_dir`] with an error that names the directory.
pub(crate) fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<(), StorageError> {
    if mutant!("D02") {
        return Ok(());
    }
    fs.sync_dir(dir).map_err(|e| StorageError::io("fsync the directory", dir, e))
}

/// [`Fs::unlink`] with an error that names the file.
pub(crate) fn unlink(fs: &dyn Fs, path: &Path) -> Result<(), StorageError> {
    fs.unlink(path).map_err(|e| StorageError::io("remove", path, e))
}

/// [`Fs::rename`] with an error that names the file.
pub(crate) fn rename(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), StorageError> {
    fs.rename(from, to).map_err(|e| StorageError::io("rename", from, e))
}

/// [`Fs::list`] with an error that names the directory.
pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>, StorageError> {
    fs.list(dir).map_err(|e| StorageError::io("list", dir, e))
}
