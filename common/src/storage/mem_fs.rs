//! A file system in memory which can lose power, for tests and for the simulator.
//!
//! For every file it keeps the durable image and the changes that were not synced, in order; for the directories
//! likewise the names. [`MemFs::crash`] drops what was not synced; [`MemFs::crash_keeping`] keeps an arbitrary part of
//! it: names in any combination, a file's sectors each as of another moment, a length that came before its data, a last
//! write cut at any byte. That is more than most file systems do to us, and all that POSIX permits. [`MemFs::kill`] ends
//! the process and leaves the page cache: what was written is still there, and still not durable.
//!
//! Faults can be planned ([`MemFs::fail`]), and power can be cut in the middle of any call ([`MemFs::cut_power_at`]).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::fs::{DirLock, File, Fs};
use crate::rng::Rng;

/// What a disk writes in one piece.
const SECTOR: usize = 512;

/// A kind of call, to plan a fault for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`File::write_at`].
    Write,
    /// [`File::read_at`].
    Read,
    /// [`File::set_size`].
    SetSize,
    /// [`File::sync_data`] and [`File::sync_all`].
    Sync,
    /// [`Fs::sync_dir`].
    SyncDir,
    /// [`Fs::create`].
    Create,
    /// [`Fs::open`].
    Open,
    /// [`Fs::rename`].
    Rename,
    /// [`Fs::unlink`].
    Unlink,
}

/// What happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A sync of a file that fails so (or with ENOSPC) also forgets what it should have made durable, and a later
    /// one succeeds without it, as on ext4 and XFS; the page cache still shows it. A sync of a directory that fails
    /// leaves its changes to the next one.
    Eio,
    /// ENOSPC.
    NoSpace,
    /// A write which takes only so many bytes, at least one. No error.
    Short(usize),
}

impl Fault {
    fn error(self) -> io::Error {
        let errno = match self {
            Self::NoSpace => Errno::NOSPC,
            Self::Eio | Self::Short(_) => Errno::IO,
        };
        errno.into()
    }
}

/// A cheap handle; clones share the files.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// Changes of names not yet synced, in order.
    renamings: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// Counts crashes: handles from an earlier life are dead.
    life: u64,
    steps: u64,
    cut_at: Option<u64>,
    plans: Vec<(Call, u64, Fault)>,
    capacity: Option<u64>,
}

type Node = Arc<Mutex<Inode>>;

#[derive(Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Changes of `cached` not yet synced, in order.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Size(usize),
}

#[derive(Debug)]
enum NameChange {
    Link { path: PathBuf, node: Node },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, node: Node },
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(data);
            }
            Self::Size(size) => image.resize(*size, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Link { path, node } => {
                names.insert(path.clone(), Arc::clone(node));
            }
            Self::Unlink { path } => {
                names.remove(path);
            }
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), Arc::clone(node));
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } | Self::Rename { to: path, .. } => path.parent(),
        }
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// What a power cut leaves, when each sector may be as of another moment.
    fn tear(&self, rng: &mut Rng) -> Vec<u8> {
        let moments = self.pending.len() as u64;
        match rng.between(0, 4) {
            0 => self.durable.clone(),
            1 => self.cached.clone(),
            2 => self.prefix(rng),
            _ => {
                let most = self.durable.len().max(self.cached.len());
                let size_at = rng.between(0, moments + 1);
                let mut sectors_at: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
                for sector in 0..most.div_ceil(SECTOR) {
                    sectors_at.entry(rng.between(0, moments + 1)).or_default().push(sector);
                }
                let mut image = self.durable.clone();
                let mut left = vec![0; most];
                let mut size = image.len();
                for moment in 0..=moments {
                    if moment > 0 {
                        self.pending[moment as usize - 1].apply(&mut image);
                    }
                    if moment == size_at {
                        size = image.len();
                    }
                    for sector in sectors_at.get(&moment).into_iter().flatten() {
                        let from = sector * SECTOR;
                        let to = (from + SECTOR).min(image.len()).min(most);
                        if from < to {
                            left[from..to].copy_from_slice(&image[from..to]);
                        }
                    }
                }
                left.resize(size, 0);
                left
            }
        }
    }

    /// The first changes only, the last of them cut at some byte.
    fn prefix(&self, rng: &mut Rng) -> Vec<u8> {
        let keep = rng.between(0, self.pending.len() as u64) as usize;
        let mut image = self.durable.clone();
        for change in &self.pending[..keep] {
            change.apply(&mut image);
        }
        if let Some(Change::Write { offset, data }) = self.pending.get(keep) {
            let part = data[..rng.between(0, data.len() as u64 + 1) as usize].to_vec();
            if !part.is_empty() {
                Change::Write { offset: *offset, data: part }.apply(&mut image);
            }
        }
        image
    }
}

impl World {
    /// Counts a step that changes something. Ok(true) says that power fails within it: it takes its effect on the cache
    /// and is answered by an error.
    fn step(&mut self, life: u64) -> io::Result<bool> {
        self.alive(life)?;
        self.steps += 1;
        Ok(self.cut_at == Some(self.steps))
    }

    fn alive(&self, life: u64) -> io::Result<()> {
        let dark = self.cut_at.is_some_and(|at| self.steps >= at);
        if dark || life != self.life { Err(Fault::Eio.error()) } else { Ok(()) }
    }

    /// The fault planned for this call, if its turn has come.
    fn fault(&mut self, call: Call) -> Option<Fault> {
        let mut hit = None;
        self.plans.retain_mut(|(planned, nth, fault)| {
            if *planned != call || hit.is_some() {
                return true;
            }
            *nth -= 1;
            if *nth == 0 {
                hit = Some(*fault);
            }
            *nth > 0
        });
        hit
    }

    fn in_dir(&self, path: &Path) -> io::Result<()> {
        let known = path.parent().is_some_and(|dir| self.dirs.contains(dir));
        if known { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.renamings.push(change);
    }

    /// How many of `wanted` bytes still fit.
    fn room(&self, wanted: usize) -> usize {
        let Some(capacity) = self.capacity else { return wanted };
        let used: u64 = self.names.values().map(|n| lock(n).cached.len() as u64).sum();
        wanted.min(capacity.saturating_sub(used) as usize)
    }

    /// A new life with these names, each file as `image` says.
    fn restart(&mut self, names: BTreeMap<PathBuf, Node>, mut image: impl FnMut(&Inode) -> Vec<u8>) {
        self.names.clear();
        for (path, node) in names {
            let left = image(&lock(&node));
            let node = Inode { cached: left.clone(), durable: left, pending: Vec::new() };
            self.names.insert(path, Arc::new(Mutex::new(node)));
        }
        self.durable_names = self.names.clone();
        self.renamings.clear();
        self.revive();
    }

    fn revive(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.cut_at = None;
        self.plans.clear();
    }
}

/// A thread that panicked while it held the lock is a failed test already; the others need not fail of it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemFs {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Power fails and comes back: whatever was not synced is gone. Open files and locks are dead; planned faults are
    /// forgotten.
    pub fn crash(&self) {
        let mut world = lock(&self.world);
        let names = world.durable_names.clone();
        world.restart(names, |node| node.durable.clone());
    }

    /// Like [`crash`](Self::crash), but an arbitrary part of what was not synced stays; which, `seed` decides.
    pub fn crash_keeping(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut world = lock(&self.world);
        let mut names = world.durable_names.clone();
        let way = rng.between(0, 4);
        let stop = rng.between(0, world.renamings.len() as u64 + 1) as usize;
        for (i, change) in world.renamings.iter().enumerate() {
            let keep = match way {
                0 => false,
                1 => true,
                2 => i < stop,
                _ => rng.between(0, 2) == 0,
            };
            if keep {
                change.apply(&mut names);
            }
        }
        world.restart(names, |node| node.tear(&mut rng));
    }

    /// The process dies, the machine does not: open files and locks are dead, every write is still in the page cache,
    /// and none has become durable by that.
    pub fn kill(&self) {
        lock(&self.world).revive();
    }

    /// The `nth` call of this kind from now on (the first is 1) goes wrong.
    pub fn fail(&self, call: Call, nth: u64, fault: Fault) {
        lock(&self.world).plans.push((call, nth.max(1), fault));
    }

    /// The disk holds so many bytes; writes beyond are cut short, then answered by ENOSPC. None: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.world).capacity = bytes;
    }

    /// How many calls that change or sync something were made, the failed ones included.
    pub fn steps(&self) -> u64 {
        lock(&self.world).steps
    }

    /// Power fails within the step of this number (see [`steps`](Self::steps)): it reaches the cache, but is answered by
    /// an error, and so is everything after it, until one of the crashes is called.
    pub fn cut_power_at(&self, step: u64) {
        lock(&self.world).cut_at = Some(step);
    }

    /// The bytes of a file as a process would read them. None if there is no such file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = lock(&self.world);
        world.names.get(path).map(|node| lock(node).cached.clone())
    }

    /// The bytes a power cut would leave of a file. None if its name would not survive.
    pub fn durable_contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = lock(&self.world);
        world.durable_names.get(path).map(|node| lock(node).durable.clone())
    }

    /// Replaces a file's bytes on the disk, durably: damage, or an old image put back. Creates the file if need be.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let node = Inode { cached: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() };
        let node = Arc::new(Mutex::new(node));
        let mut world = lock(&self.world);
        world.names.insert(path.to_owned(), Arc::clone(&node));
        world.durable_names.insert(path.to_owned(), node);
    }

    fn file(&self, world: &World, node: &Node) -> Box<dyn File> {
        Box::new(MemFile { world: Arc::clone(&self.world), node: Arc::clone(node), life: world.life })
    }
}

/// The answer to a step that took effect: an error if the power went away within it.
fn answer<T>(cut: bool, value: T) -> io::Result<T> {
    if cut { Err(Fault::Eio.error()) } else { Ok(value) }
}

impl Fs for MemFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        if world.dirs.contains(dir) {
            return Ok(());
        }
        let life = world.life;
        let cut = world.step(life)?;
        world.dirs.extend(dir.ancestors().map(Path::to_owned));
        answer(cut, ())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        world.in_dir(path)?;
        if let Some(fault) = world.fault(Call::Create) {
            return Err(fault.error());
        }
        let node = if let Some(node) = world.names.get(path) {
            let node = Arc::clone(node);
            lock(&node).change(Change::Size(0));
            node
        } else {
            let node = Node::default();
            world.change_name(NameChange::Link { path: path.to_owned(), node: Arc::clone(&node) });
            node
        };
        answer(cut, self.file(&world, &node))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut world = lock(&self.world);
        world.alive(world.life)?;
        if let Some(fault) = world.fault(Call::Open) {
            return Err(fault.error());
        }
        let node = world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(&world, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        world.in_dir(to)?;
        if let Some(fault) = world.fault(Call::Rename) {
            return Err(fault.error());
        }
        let node = Arc::clone(world.names.get(from).ok_or(io::ErrorKind::NotFound)?);
        world.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), node });
        answer(cut, ())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        if let Some(fault) = world.fault(Call::Unlink) {
            return Err(fault.error());
        }
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change_name(NameChange::Unlink { path: path.to_owned() });
        answer(cut, ())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = lock(&self.world);
        world.alive(world.life)?;
        if !world.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &&PathBuf| path.parent() == Some(dir);
        let paths = world.names.keys().filter(inside).chain(world.dirs.iter().filter(inside));
        let mut names: Vec<String> =
            paths.filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let life = world.life;
        let cut = world.step(life)?;
        if let Some(fault) = world.fault(Call::SyncDir) {
            return Err(fault.error());
        }
        if cut {
            return answer(true, ());
        }
        let World { renamings, durable_names, .. } = &mut *world;
        renamings.retain(|change| {
            let here = change.dir() == Some(dir);
            if here {
                change.apply(durable_names);
            }
            !here
        });
        Ok(())
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
        let most = match world.fault(Call::Write) {
            Some(Fault::Short(n)) => n.clamp(1, data.len().max(1)),
            Some(fault) => return Err(fault.error()),
            None => data.len(),
        };
        let offset = offset as usize;
        let held = lock(&self.node).cached.len();
        let growth = (offset + most.min(data.len())).saturating_sub(held);
        let missing = growth - world.room(growth);
        let n = most.min(data.len()).saturating_sub(missing);
        if n == 0 && !data.is_empty() {
            return Err(Fault::NoSpace.error());
        }
        lock(&self.node).change(Change::Write { offset, data: data[..n].to_vec() });
        answer(cut, n)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut world = lock(&self.world);
        world.alive(self.life)?;
        if let Some(fault) = world.fault(Call::Read) {
            return Err(fault.error());
        }
        let node = lock(&self.node);
        let from = node.cached.len().min(offset as usize);
        let n = into.len().min(node.cached.len() - from);
        into[..n].copy_from_slice(&node.cached[from..from + n]);
        Ok(n)
    }

    fn size(&self) -> io::Result<u64> {
        lock(&self.world).alive(self.life)?;
        Ok(lock(&self.node).cached.len() as u64)
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        let mut world = lock(&self.world);
        let cut = world.step(self.life)?;
        if let Some(fault) = world.fault(Call::SetSize) {
            return Err(fault.error());
        }
        lock(&self.node).change(Change::Size(size as usize));
        answer(cut, ())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut world = lock(&self.world);
        let cut = world.step(self.life)?;
        if cut {
            return answer(true, ());
        }
        if let Some(fault) = world.fault(Call::Sync) {
            lock(&self.node).pending.clear();
            return Err(fault.error());
        }
        lock(&self.node).sync();
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync_data()
    }
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
