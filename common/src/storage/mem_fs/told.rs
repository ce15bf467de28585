//! What the disk said is durable, as files that can only be read, and what is new in it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::fs::read;
use super::inode::STALE;
use super::world::World;
use super::{MemFs, Node, lock};
use crate::storage::fs::{DirLock, File, Fs};

/// What became durable since it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Everything may be different.
    pub(crate) everything: bool,
    /// Directories in which names changed, each once.
    pub(crate) dirs: Vec<OsString>,
    /// Files in which bytes changed, each once.
    pub(super) files: Vec<Node>,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        !self.everything && self.dirs.is_empty() && self.files.is_empty()
    }

    /// The files in which bytes changed; more than once does no harm.
    pub(crate) fn files(&self) -> impl Iterator<Item = Told> + '_ {
        self.files.iter().map(|node| Told(Arc::clone(node)))
    }
}

impl MemFs {
    /// Exchanges `news` for what is new since the last time. The first time, everything is. There is one reader: another one
    /// would miss what the first has taken.
    pub(crate) fn take_news(&self, news: &mut News) {
        news.everything = false;
        news.dirs.clear();
        news.files.clear();
        match &mut lock(&self.world).news {
            Some(new) => std::mem::swap(new, news),
            none => {
                *none = Some(News::default());
                news.everything = true;
            }
        }
    }

    /// Visits the durable names of a directory, sorted, with their files.
    pub(crate) fn told_names(&self, dir: &Path, mut visit: impl FnMut(&str, Told)) {
        let world = lock(&self.world);
        for (name, node) in world.dirs.get(dir.as_os_str()).into_iter().flat_map(|dir| &dir.durable) {
            visit(&name.to_string_lossy(), Told(Arc::clone(node)));
        }
    }

    /// What is durable, to be read as a file system.
    pub(crate) fn told(&self) -> ToldFs {
        ToldFs { world: Arc::clone(&self.world) }
    }
}

/// A file, as far as the disk said it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Told(Node);

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Told {
    /// Reads it: its bytes, and the first of them that is new since the last time (or their number).
    pub(crate) fn read<T>(&self, look: impl FnOnce(&[u8], usize) -> T) -> T {
        let mut inode = lock(&self.0);
        let fresh = std::mem::replace(&mut inode.fresh_from, STALE).min(inode.told.len());
        look(&inode.told, fresh)
    }

    /// Whatever is in it is no news.
    pub(crate) fn seen(&self) {
        lock(&self.0).fresh_from = STALE;
    }
}

/// The durable names and bytes of a [`MemFs`]. Nothing can be changed.
#[derive(Debug)]
pub(crate) struct ToldFs {
    world: Arc<Mutex<World>>,
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Fs for ToldFs {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn create(&self, _: &Path) -> io::Result<Box<dyn File>> {
        read_only()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let node = lock(&self.world).find_durable(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(ToldFile(node)))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = lock(&self.world);
        let Some(dir) = world.dirs.get(dir.as_os_str()) else { return Ok(Vec::new()) };
        Ok(dir.durable.keys().map(|n| n.to_string_lossy().into_owned()).collect())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn lock_dir(&self, _: &Path) -> io::Result<Box<dyn DirLock>> {
        read_only()
    }
}

#[derive(Debug)]
struct ToldFile(Node);

impl File for ToldFile {
    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
        read_only()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(read(&lock(&self.0).told, offset, into))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.0).told.len() as u64)
    }

    fn set_size(&mut self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync_data(&mut self) -> io::Result<()> {
        read_only()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        read_only()
    }
}
