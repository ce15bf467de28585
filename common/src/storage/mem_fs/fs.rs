//! The calls.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::inode::Inode;
use super::world::{NameWhat, World, split};
use super::{Call, Fault, MemFs, Node, lock};
use crate::storage::fs::{DirLock, File, Fs};

/// The answer to a step that took effect: an error if the power went away within it.
fn answer<T>(cut: bool, value: T) -> io::Result<T> {
    if cut { Err(Fault::Eio.error()) } else { Ok(value) }
}

fn split_or_fail(path: &Path) -> io::Result<(&OsStr, &OsStr)> {
    split(path).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn named<'a>(names: &'a BTreeMap<std::ffi::OsString, Node>, name: &OsStr) -> io::Result<&'a Node> {
    names.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl MemFs {
    fn file(&self, world: &World, node: Node) -> Box<dyn File> {
        Box::new(MemFile { world: Arc::clone(&self.world), node, life: world.life })
    }
}

impl Fs for MemFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        if world.dirs.contains_key(dir.as_os_str()) {
            return Ok(());
        }
        let life = world.life;
        let cut = world.step(life)?;
        for dir in dir.ancestors() {
            world.dirs.entry(dir.into()).or_default();
        }
        answer(cut, ())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        let (dir, name) = split_or_fail(path)?;
        let there = world.dir(dir)?.names.get(name).cloned();
        world.fault(Call::Create)?;
        let node = if let Some(node) = there {
            lock(&node).set_size(0);
            node
        } else {
            let node = Node::default();
            world.change_name(dir, NameWhat::Link(name.to_owned(), Arc::clone(&node)));
            node
        };
        answer(cut, self.file(&world, node))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut world = lock(&self.world);
        world.alive(world.life)?;
        world.fault(Call::Open)?;
        let node = world.find(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(&world, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        let ((dir, from), (other, to)) = (split_or_fail(from)?, split_or_fail(to)?);
        if dir != other {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        world.fault(Call::Rename)?;
        let node = Arc::clone(named(&world.dir(dir)?.names, from)?);
        world.change_name(dir, NameWhat::Rename(from.to_owned(), to.to_owned(), node));
        answer(cut, ())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        world.fault(Call::Unlink)?;
        let (dir, name) = split_or_fail(path)?;
        named(&world.dir(dir)?.names, name)?;
        world.change_name(dir, NameWhat::Unlink(name.to_owned()));
        answer(cut, ())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = lock(&self.world);
        world.alive(world.life)?;
        let files = world.dir(dir.as_os_str())?.names.keys().map(std::ffi::OsString::as_os_str);
        let below = |path: &OsStr| Path::new(path).parent().is_some_and(|p| p.as_os_str() == dir.as_os_str());
        let dirs = world.dirs.keys().filter(|path| below(path)).filter_map(|path| Path::new(path).file_name());
        let mut names: Vec<String> = files.chain(dirs).map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        world.fault(Call::SyncDir)?;
        if !cut {
            world.sync_dir(dir.as_os_str());
        }
        answer(cut, ())
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut world = lock(&self.world);
        world.alive(world.life)?;
        if !world.locks.insert(dir.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock { world: Arc::clone(&self.world), dir: dir.to_owned(), life: world.life }))
    }
}

#[derive(Debug)]
struct MemFile {
    world: Arc<Mutex<World>>,
    node: Node,
    life: u64,
}

impl File for MemFile {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize> {
        let mut world = lock(&self.world);
        let cut = world.step(self.life)?;
        let offset = offset as usize;
        let held = lock(&self.node).cached.len();
        let (n, fate) = world.admit(data.len(), |most| (offset + most).saturating_sub(held))?;
        lock(&self.node).write(offset, &data[..n], fate);
        answer(cut, n)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut world = lock(&self.world);
        world.alive(self.life)?;
        world.fault(Call::Read)?;
        Ok(read(&lock(&self.node).cached, offset, into))
    }

    fn size(&self) -> io::Result<u64> {
        lock(&self.world).alive(self.life)?;
        Ok(lock(&self.node).cached.len() as u64)
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        let mut world = lock(&self.world);
        let cut = world.step(self.life)?;
        world.fault(Call::SetSize)?;
        lock(&self.node).set_size(size as usize);
        answer(cut, ())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut world = lock(&self.world);
        let cut = world.step(self.life)?;
        if cut {
            return answer(true, ());
        }
        let mut inode: std::sync::MutexGuard<'_, Inode> = lock(&self.node);
        if let Err(e) = world.fault(Call::Sync) {
            inode.forget_pending();
            return Err(e);
        }
        if let Some(from) = inode.sync() {
            world.new_bytes(&self.node, &mut inode, from);
        }
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Copies what there is at `offset`; says how much.
pub(super) fn read(bytes: &[u8], offset: u64, into: &mut [u8]) -> usize {
    let from = bytes.len().min(offset as usize);
    let n = into.len().min(bytes.len() - from);
    into[..n].copy_from_slice(&bytes[from..from + n]);
    n
}

#[derive(Debug)]
struct MemLock {
    world: Arc<Mutex<World>>,
    dir: PathBuf,
    life: u64,
}

impl DirLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        if world.life == self.life {
            world.locks.remove(&self.dir);
        }
    }
}
