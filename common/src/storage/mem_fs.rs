//! A file system in memory which can lose power, and whose disk can lie, for tests and for the simulator.
//!
//! For every file it keeps what a process reads, the changes that were not synced, in order, and what the disk said is
//! durable; for the directories likewise the names. [`MemFs::crash`] drops what was not synced;
//! [`MemFs::crash_keeping`] keeps an arbitrary part of it: names in any combination, a file's sectors each as of another
//! moment, a length that came before its data, a last write cut at any byte. That is more than most file systems do to
//! us, and all that POSIX permits. [`MemFs::kill`] ends the process and leaves the page cache: what was written is still
//! there, and still not durable.
//!
//! Calls can be made to fail ([`MemFs::fail`]), and power can be cut in the middle of any call
//! ([`MemFs::cut_power_at`]). A disk that lies says of a write that it is durable, and it never gets there
//! ([`Fault::Lost`]), or gets somewhere else in the file ([`Fault::Misdirected`]), or a bit of it flips later
//! ([`MemFs::rot`]). The page cache hides lost and misdirected writes until the process or the machine ends; then the
//! next process reads what is on the platter. (A process that ends leaves its page cache in truth; that all of it is
//! evicted before the next one starts is the worse case.) Losses are to the byte, where a real disk loses sectors.
//!
//! What the disk *told* is the measure of promises: [`MemFs::fork`] and the reader of the truth
//! ([`sim::truth`](crate::sim::truth)) see that and not the lies, until these come to light.

mod fs;
mod inode;
mod told;
mod world;

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::inode::Inode;
pub(crate) use self::told::{News, Told};
use self::world::World;
use crate::rng::Rng;

/// What a disk writes in one piece.
const SECTOR: usize = 512;

/// A kind of call, to plan a fault for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`File::write_at`](super::fs::File::write_at).
    Write,
    /// [`File::read_at`](super::fs::File::read_at).
    Read,
    /// [`File::set_size`](super::fs::File::set_size).
    SetSize,
    /// [`File::sync_data`](super::fs::File::sync_data) and [`File::sync_all`](super::fs::File::sync_all).
    Sync,
    /// [`Fs::sync_dir`](super::Fs::sync_dir).
    SyncDir,
    /// [`Fs::create`](super::Fs::create).
    Create,
    /// [`Fs::open`](super::Fs::open).
    Open,
    /// [`Fs::rename`](super::Fs::rename).
    Rename,
    /// [`Fs::unlink`](super::Fs::unlink).
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
    /// A write which never gets to the platter. No error, not even from its sync. Of other calls: EIO.
    Lost,
    /// A write which gets somewhere else in its file; where, the number decides. No error. Of other calls: EIO.
    Misdirected(u64),
}

/// A fault that had an effect, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bite {
    BitRot,
    LostWrite,
    Misdirect,
    DiskError,
    ShortWrite,
    DiskFull,
    Rollback,
    Wipe,
    Torn,
}

impl Bite {
    fn name(self) -> &'static str {
        match self {
            Self::BitRot => "bit-rot",
            Self::LostWrite => "lost-write",
            Self::Misdirect => "misdirect",
            Self::DiskError => "disk-error",
            Self::ShortWrite => "short-write",
            Self::DiskFull => "disk-full",
            Self::Rollback => "rollback",
            Self::Wipe => "wipe",
            Self::Torn => "torn",
        }
    }
}

type Node = Arc<Mutex<Inode>>;

/// A cheap handle; clones share the files.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    world: Arc<Mutex<World>>,
}

/// What was durable on a disk at some moment.
#[derive(Clone, Debug, Default)]
pub struct Image {
    lied: bool,
    dirs: BTreeMap<OsString, BTreeMap<OsString, Vec<u8>>>,
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
        world.drop_renamings();
        world.restart(Inode::take_platter);
    }

    /// Like [`crash`](Self::crash), but an arbitrary part of what was not synced stays; which, `seed` decides.
    pub fn crash_keeping(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut world = lock(&self.world);
        world.keep_renamings(&mut rng);
        let mut torn = false;
        world.restart(|inode: &mut Inode| {
            let left = inode.tear(&mut rng);
            torn |= left != inode.told && left != inode.cached;
            left
        });
        if torn {
            world.bite(Bite::Torn);
        }
    }

    /// The process dies, the machine does not: open files and locks are dead, every write is still in the page cache,
    /// and none has become durable by that. What the disk lied about comes to light.
    pub fn kill(&self) {
        lock(&self.world).kill();
    }

    /// The `nth` call of this kind from now on (the first is 1) goes wrong.
    pub fn fail(&self, call: Call, nth: u64, fault: Fault) {
        lock(&self.world).plan(call, nth, fault);
    }

    /// The disk holds so many bytes; writes beyond are cut short, then answered by ENOSPC. None: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.world).capacity = bytes;
    }

    /// Only so many more bytes fit on the disk, until [`set_capacity`](Self::set_capacity) says otherwise.
    pub fn fill_up(&self, more: u64) {
        let mut world = lock(&self.world);
        world.capacity = Some(world.used().saturating_add(more));
    }

    /// Flips a bit of what is stored, as `seed` decides: in the log in 6 cases of 10, in a snapshot in 3, in another file
    /// in 1, as far as there are such files. Says where: file, byte, bit. None on an empty disk.
    pub fn rot(&self, seed: u64) -> Option<(PathBuf, u64, u8)> {
        lock(&self.world).rot(&mut Rng::new(seed))
    }

    /// Flips this bit (0 to 7) of this byte, on the platter and in what a process reads. Says whether there is such a
    /// byte.
    pub fn rot_at(&self, path: &Path, offset: u64, bit: u8) -> bool {
        lock(&self.world).rot_at(path, offset as usize, bit % 8)
    }

    /// What is durable now, as the disk says.
    pub fn image(&self) -> Image {
        lock(&self.world).image()
    }

    /// The machine ends, and its disk is replaced by this image of an earlier one.
    pub fn restore(&self, image: &Image) {
        let mut world = lock(&self.world);
        world.replace(image);
        world.bite(Bite::Rollback);
    }

    /// The machine ends, and its disk is replaced by an empty one.
    pub fn wipe(&self) {
        let mut world = lock(&self.world);
        world.replace(&Image::default());
        world.bite(Bite::Wipe);
    }

    /// Another file system, which holds what this one would after a power cut that keeps nothing which was not synced,
    /// if the disk has told no lie. No limits, no planned faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let fork = Self::new();
        lock(&fork.world).replace(&self.image());
        fork
    }

    /// How often each kind of fault had an effect: `bit-rot`, `lost-write`, `misdirect` (a write that never got to its
    /// place counts when the next process can notice), `disk-error`, `short-write`, `disk-full`, `rollback`, `wipe`,
    /// `torn` (a power cut that left of a file neither what was synced nor all that was written). Kept over crashes.
    pub fn bitten(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.world).bites.iter().map(|(bite, n)| (bite.name(), *n)).collect()
    }

    /// Whether something that the disk said was durable has turned out not to be. Not of old images and empty disks,
    /// which are whole.
    pub fn lied(&self) -> bool {
        lock(&self.world).lied
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
        let node = lock(&self.world).find(path)?;
        let bytes = lock(&node).cached.clone();
        Some(bytes)
    }

    /// The bytes a power cut would leave of a file. None if its name would not survive.
    pub fn durable_contents(&self, path: &Path) -> Option<Vec<u8>> {
        let node = lock(&self.world).find_durable(path)?;
        let bytes = lock(&node).platter();
        Some(bytes)
    }

    /// Replaces a file's bytes on the disk, durably: damage. Creates the file if need be.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        lock(&self.world).overwrite(path, bytes);
    }
}
