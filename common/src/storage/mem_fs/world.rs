//! What the handles of one file system share: the names, the faults in waiting, and the news for the reader of the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::inode::{Fate, Inode, STALE};
use super::{Bite, Call, Fault, Image, News, Node, lock};
use crate::rng::Rng;

/// News beyond this are told as "everything is new".
const MOST_NEWS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct World {
    /// By path. Directories are durable from the moment they are created.
    pub(super) dirs: BTreeMap<OsString, Dir>,
    /// Changes of names not yet synced, in order.
    renamings: Vec<NameChange>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Counts crashes: handles from an earlier life are dead.
    pub(super) life: u64,
    pub(super) steps: u64,
    pub(super) cut_at: Option<u64>,
    plans: Vec<(Call, u64, Fault)>,
    pub(super) capacity: Option<u64>,
    pub(super) bites: BTreeMap<Bite, u64>,
    pub(super) lied: bool,
    /// For the reader of the truth, once there is one.
    pub(super) news: Option<News>,
}

/// Names in one directory.
#[derive(Debug, Default)]
pub(super) struct Dir {
    pub(super) names: BTreeMap<OsString, Node>,
    pub(super) durable: BTreeMap<OsString, Node>,
}

#[derive(Debug)]
pub(super) struct NameChange {
    pub(super) dir: OsString,
    pub(super) what: NameWhat,
}

#[derive(Debug)]
pub(super) enum NameWhat {
    Link(OsString, Node),
    Unlink(OsString),
    Rename(OsString, OsString, Node),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<OsString, Node>) {
        match &self.what {
            NameWhat::Link(name, node) => {
                names.insert(name.clone(), Arc::clone(node));
            }
            NameWhat::Unlink(name) => {
                names.remove(name);
            }
            NameWhat::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), Arc::clone(node));
            }
        }
    }
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::NoSpace => Errno::NOSPC.into(),
            _ => Errno::IO.into(),
        }
    }
}

/// Directory and name of a path.
pub(super) fn split(path: &Path) -> Option<(&OsStr, &OsStr)> {
    Some((path.parent()?.as_os_str(), path.file_name()?))
}

impl World {
    /// Counts a step that changes something. Ok(true) says that power fails within it: it takes its effect on the cache
    /// and is answered by an error.
    pub(super) fn step(&mut self, life: u64) -> io::Result<bool> {
        self.alive(life)?;
        self.steps += 1;
        Ok(self.cut_at == Some(self.steps))
    }

    pub(super) fn alive(&self, life: u64) -> io::Result<()> {
        let dark = self.cut_at.is_some_and(|at| self.steps >= at);
        if dark || life != self.life { Err(Fault::Eio.error()) } else { Ok(()) }
    }

    pub(super) fn plan(&mut self, call: Call, nth: u64, fault: Fault) {
        self.plans.push((call, nth.max(1), fault));
    }

    /// The fault planned for this call, if its turn has come.
    fn planned(&mut self, call: Call) -> Option<Fault> {
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

    /// The error planned for this call, if its turn has come.
    pub(super) fn fault(&mut self, call: Call) -> io::Result<()> {
        if self.plans.is_empty() {
            return Ok(());
        }
        match self.planned(call) {
            Some(fault) => Err(self.error(fault)),
            None => Ok(()),
        }
    }

    fn error(&mut self, fault: Fault) -> io::Error {
        self.bite(if fault == Fault::NoSpace { Bite::DiskFull } else { Bite::DiskError });
        fault.error()
    }

    /// What comes of a write of `len` bytes which makes its file `growth` bytes longer: how many are taken, and what the
    /// disk will do with them.
    pub(super) fn admit(&mut self, len: usize, growth: impl Fn(usize) -> usize) -> io::Result<(usize, Fate)> {
        let mut most = len;
        let mut fate = Fate::Kept;
        if !self.plans.is_empty() {
            match self.planned(Call::Write) {
                Some(Fault::Short(n)) => {
                    most = n.clamp(1, len.max(1)).min(len);
                    if most < len {
                        self.bite(Bite::ShortWrite);
                    }
                }
                Some(Fault::Lost) => fate = Fate::Lost,
                Some(Fault::Misdirected(seed)) => fate = Fate::Elsewhere(seed),
                Some(fault) => return Err(self.error(fault)),
                None => {}
            }
        }
        let growth = growth(most);
        let missing = growth - self.room(growth);
        if missing > 0 {
            self.bite(Bite::DiskFull);
        }
        let n = most.saturating_sub(missing);
        if n == 0 && len > 0 { Err(Fault::NoSpace.error()) } else { Ok((n, fate)) }
    }

    pub(super) fn bite(&mut self, bite: Bite) {
        *self.bites.entry(bite).or_default() += 1;
    }

    /// The directory of this path; an error if there is none.
    pub(super) fn dir(&self, dir: &OsStr) -> io::Result<&Dir> {
        self.dirs.get(dir).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find(&self, path: &Path) -> Option<Node> {
        let (dir, name) = split(path)?;
        self.dirs.get(dir)?.names.get(name).cloned()
    }

    pub(super) fn find_durable(&self, path: &Path) -> Option<Node> {
        let (dir, name) = split(path)?;
        self.dirs.get(dir)?.durable.get(name).cloned()
    }

    pub(super) fn change_name(&mut self, dir: &OsStr, what: NameWhat) {
        let change = NameChange { dir: dir.to_owned(), what };
        if let Some(dir) = self.dirs.get_mut(dir) {
            change.apply(&mut dir.names);
        }
        self.renamings.push(change);
    }

    pub(super) fn sync_dir(&mut self, path: &OsStr) {
        let Self { renamings, dirs, .. } = self;
        let Some(dir) = dirs.get_mut(path) else { return };
        let before = renamings.len();
        renamings.retain(|change| {
            let here = change.dir == path;
            if here {
                change.apply(&mut dir.durable);
            }
            !here
        });
        if renamings.len() != before {
            self.new_names(path);
        }
    }

    fn new_names(&mut self, dir: &OsStr) {
        if let Some(news) = &mut self.news
            && !news.dirs.iter().any(|d| d == dir)
        {
            if news.dirs.len() >= MOST_NEWS {
                news.everything = true;
                news.dirs.clear();
            }
            news.dirs.push(dir.to_owned());
        }
    }

    /// The bytes of a file changed from here on, as the disk tells.
    pub(super) fn new_bytes(&mut self, node: &Node, inode: &mut Inode, from: usize) {
        let Some(news) = &mut self.news else { return };
        if inode.fresh_from == STALE {
            if news.files.len() >= MOST_NEWS {
                news.everything = true;
                news.files.clear();
            }
            news.files.push(Arc::clone(node));
        }
        inode.fresh_from = inode.fresh_from.min(from);
    }

    /// The bytes in all files that have a name.
    pub(super) fn used(&self) -> u64 {
        self.dirs.values().flat_map(|d| d.names.values()).map(|n| lock(n).cached.len() as u64).sum()
    }

    /// How many of `wanted` bytes still fit.
    fn room(&self, wanted: usize) -> usize {
        let Some(capacity) = self.capacity.filter(|_| wanted > 0) else { return wanted };
        wanted.min(capacity.saturating_sub(self.used()) as usize)
    }

    pub(super) fn drop_renamings(&mut self) {
        self.renamings.clear();
    }

    /// Decides which names come through a power cut.
    pub(super) fn keep_renamings(&mut self, rng: &mut Rng) {
        let way = rng.between(0, 4);
        let stop = rng.between(0, self.renamings.len() as u64 + 1) as usize;
        for (i, change) in std::mem::take(&mut self.renamings).into_iter().enumerate() {
            let keep = match way {
                0 => false,
                1 => true,
                2 => i < stop,
                _ => rng.between(0, 2) == 0,
            };
            if keep && let Some(dir) = self.dirs.get_mut(&change.dir) {
                change.apply(&mut dir.durable);
            }
        }
    }

    /// A new life with the durable names, each file as `left` says.
    pub(super) fn restart(&mut self, mut left: impl FnMut(&mut Inode) -> Vec<u8>) {
        let mut lies = Vec::new();
        for dir in self.dirs.values_mut() {
            for node in dir.durable.values_mut() {
                let mut inode = lock(node);
                let first = lies.len();
                lies.extend(inode.lies());
                lies[first..].sort_unstable();
                let image = left(&mut inode);
                drop(inode);
                *node = Arc::new(Mutex::new(Inode::durable(image)));
            }
            dir.names = dir.durable.clone();
        }
        self.come_to_light(lies);
        self.revive();
        self.all_new();
    }

    pub(super) fn kill(&mut self) {
        let mut nodes: Vec<Node> = Vec::new();
        for dir in self.dirs.values() {
            nodes.extend(dir.names.values().cloned());
            nodes.extend(dir.durable.values().cloned());
        }
        let mut lies = Vec::new();
        for node in nodes {
            let mut inode = lock(&node);
            if let Some(from) = inode.evict(&mut lies) {
                self.new_bytes(&node, &mut inode, from);
            }
        }
        self.come_to_light(lies);
        self.revive();
    }

    /// Counts the lies, each once for each place on the platter that is not as told. Bit rot was counted when it happened.
    fn come_to_light(&mut self, lies: Vec<Bite>) {
        self.lied |= !lies.is_empty();
        for bite in lies.into_iter().filter(|b| *b != Bite::BitRot) {
            self.bite(bite);
        }
    }

    fn revive(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.cut_at = None;
        self.plans.clear();
    }

    fn all_new(&mut self) {
        if let Some(news) = &mut self.news {
            news.everything = true;
            news.files.clear();
            news.dirs.clear();
        }
    }

    pub(super) fn image(&self) -> Image {
        let files = |dir: &Dir| dir.durable.iter().map(|(name, n)| (name.clone(), lock(n).told.clone())).collect();
        Image { lied: self.lied, dirs: self.dirs.iter().map(|(path, dir)| (path.clone(), files(dir))).collect() }
    }

    /// A new life with other files.
    pub(super) fn replace(&mut self, image: &Image) {
        let node = |bytes: &Vec<u8>| Arc::new(Mutex::new(Inode::durable(bytes.clone())));
        self.renamings.clear();
        self.dirs.clear();
        for (path, files) in &image.dirs {
            let durable: BTreeMap<_, _> = files.iter().map(|(name, bytes)| (name.clone(), node(bytes))).collect();
            self.dirs.insert(path.clone(), Dir { names: durable.clone(), durable });
        }
        self.lied = image.lied;
        self.revive();
        self.all_new();
    }

    pub(super) fn overwrite(&mut self, path: &Path, bytes: &[u8]) {
        let Some((dir, name)) = split(path) else { return };
        let node = Arc::new(Mutex::new(Inode::durable(bytes.to_vec())));
        let names = self.dirs.entry(dir.to_owned()).or_default();
        names.names.insert(name.to_owned(), Arc::clone(&node));
        names.durable.insert(name.to_owned(), node);
        self.lied = true;
        self.new_names(dir);
    }

    pub(super) fn rot(&mut self, rng: &mut Rng) -> Option<(PathBuf, u64, u8)> {
        let mut kinds: [(u64, Vec<(PathBuf, usize)>); 3] = [(5, Vec::new()), (3, Vec::new()), (2, Vec::new())];
        for (path, dir) in &self.dirs {
            for (name, node) in &dir.durable {
                let path = Path::new(path).join(name);
                let size = lock(node).told.len();
                let kind = match path.extension().and_then(OsStr::to_str) {
                    Some("wal") => 0,
                    Some("snap") => 1,
                    _ => 2,
                };
                if size > 0 {
                    kinds[kind].1.push((path, size));
                }
            }
        }
        let weight = |(weight, files): &(u64, Vec<_>)| if files.is_empty() { 0 } else { *weight };
        let mut ball = rng.between(0, kinds.iter().map(weight).sum());
        let (_, files) = kinds.iter().find(|kind| {
            let hit = ball < weight(kind);
            ball = ball.saturating_sub(weight(kind));
            hit
        })?;
        let (path, size) = &files[rng.between(0, files.len() as u64) as usize];
        let (offset, bit) = (rng.between(0, *size as u64), rng.between(0, 8) as u8);
        self.rot_at(path, offset as usize, bit).then(|| (path.clone(), offset, bit))
    }

    pub(super) fn rot_at(&mut self, path: &Path, offset: usize, bit: u8) -> bool {
        let Some(node) = self.find_durable(path) else { return false };
        let mut inode = lock(&node);
        if offset >= inode.told.len() {
            return false;
        }
        inode.rot(offset, bit);
        self.bite(Bite::BitRot);
        true
    }
}
