//! One file: what a process reads, what the disk said is durable, and where the disk lied.

use super::{Bite, SECTOR};
use crate::rng::Rng;

/// `fresh_from` of a file whose told bytes were read since they last changed.
pub(super) const STALE: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct Inode {
    /// What a process reads.
    pub(super) cached: Vec<u8>,
    /// What the disk said is durable.
    pub(super) told: Vec<u8>,
    /// Changes of `cached` not yet synced, in order.
    pub(super) pending: Vec<Change>,
    /// Where the platter differs from `told`. They do not overlap, and none reaches beyond `told`.
    lies: Vec<Lie>,
    /// The first byte of `told` that changed since the reader of the truth looked, or [`STALE`].
    pub(super) fresh_from: usize,
}

#[derive(Debug)]
pub(super) enum Change {
    Write {
        offset: usize,
        len: usize,
        /// The bytes, once they are no longer those of `cached`.
        data: Option<Box<[u8]>>,
        fate: Fate,
    },
    Size(usize),
}

/// What the disk does with a write once it is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// It never gets there.
    Lost,
    /// It gets somewhere else in the file; where, the number decides.
    Elsewhere(u64),
}

#[derive(Clone, Debug)]
struct Lie {
    offset: usize,
    /// What is on the platter.
    bytes: Vec<u8>,
    bite: Bite,
}

impl Lie {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if image.len() < offset {
        image.resize(offset, 0);
    }
    let over = data.len().min(image.len() - offset);
    image[offset..offset + over].copy_from_slice(&data[..over]);
    image.extend_from_slice(&data[over..]);
}

impl Change {
    /// Applies it, with the bytes that `cached` holds for it.
    fn apply(&self, cached: &[u8], image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, .. } => put(image, *offset, self.bytes(cached)),
            Self::Size(size) => image.resize(*size, 0),
        }
    }

    fn bytes<'a>(&'a self, cached: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Write { data: Some(data), .. } => data,
            Self::Write { offset, len, .. } => &cached[*offset..offset + len],
            Self::Size(_) => &[],
        }
    }
}

impl Default for Inode {
    fn default() -> Self {
        Self::durable(Vec::new())
    }
}

impl Inode {
    /// A file with these bytes, durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { cached: bytes.clone(), told: bytes, pending: Vec::new(), lies: Vec::new(), fresh_from: STALE }
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8], fate: Fate) {
        self.keep_pending(offset, offset + data.len());
        put(&mut self.cached, offset, data);
        self.pending.push(Change::Write { offset, len: data.len(), data: None, fate });
    }

    pub(super) fn set_size(&mut self, size: usize) {
        self.keep_pending(size, usize::MAX);
        self.cached.resize(size, 0);
        self.pending.push(Change::Size(size));
    }

    /// `from..to` of `cached` is about to change: writes not yet synced that lie there keep their bytes.
    fn keep_pending(&mut self, from: usize, to: usize) {
        if from >= self.cached.len() {
            return;
        }
        for change in &mut self.pending {
            if let Change::Write { offset, len, data: data @ None, .. } = change
                && *offset < to
                && from < *offset + *len
            {
                *data = Some(self.cached[*offset..*offset + *len].into());
            }
        }
    }

    /// Makes what is pending durable. Gives the first byte of `told` that changed.
    pub(super) fn sync(&mut self) -> Option<usize> {
        let mut first = None;
        let mut changed = |at: usize| first = Some(first.map_or(at, |f: usize| f.min(at)));
        let mut pending = std::mem::take(&mut self.pending);
        for change in pending.drain(..) {
            match change {
                Change::Write { offset, fate, .. } => {
                    let bytes = change.bytes(&self.cached);
                    if fate != Fate::Kept || !self.lies.is_empty() {
                        settle(&mut self.lies, &self.told, offset, bytes, fate);
                    }
                    if self.told.get(offset..offset + bytes.len()) != Some(bytes) {
                        changed(offset.min(self.told.len()));
                        put(&mut self.told, offset, bytes);
                    }
                }
                Change::Size(size) if size != self.told.len() => {
                    changed(size.min(self.told.len()));
                    self.told.resize(size, 0);
                    cut(&mut self.lies, size, usize::MAX);
                }
                Change::Size(_) => {}
            }
        }
        self.pending = pending;
        first
    }

    /// A sync that fails: its pages are clean from now on, and never reached the disk.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// Flips a bit on the platter and in what a process reads.
    pub(super) fn rot(&mut self, offset: usize, bit: u8) {
        if offset < self.cached.len() {
            self.keep_pending(offset, offset + 1);
            self.cached[offset] ^= 1 << bit;
        }
        if offset < self.told.len() {
            let byte = on_platter(&self.lies, &self.told, offset, 1)[0] ^ (1 << bit);
            lie(&mut self.lies, offset, vec![byte], Bite::BitRot);
        }
    }

    /// The process ends: what is clean leaves the page cache, so the next one reads what is on the platter. Adds what bit.
    /// Gives the first byte of `told` that changed.
    pub(super) fn evict(&mut self, bites: &mut Vec<Bite>) -> Option<usize> {
        let mut first: Option<usize> = None;
        for lie in std::mem::take(&mut self.lies) {
            let range = lie.offset..lie.end();
            if self.told[range.clone()] == lie.bytes[..] {
                continue;
            }
            first = Some(first.map_or(lie.offset, |f| f.min(lie.offset)));
            bites.push(lie.bite);
            for (at, byte) in range.clone().zip(&lie.bytes) {
                let dirty = self.pending.iter().any(|c| match c {
                    Change::Write { offset, len, .. } => (*offset..offset + len).contains(&at),
                    Change::Size(size) => at >= *size,
                });
                if !dirty && at < self.cached.len() {
                    self.cached[at] = *byte;
                }
            }
            self.told[range].copy_from_slice(&lie.bytes);
        }
        first
    }

    /// What a power cut leaves when nothing stays that was not synced.
    pub(super) fn platter(&self) -> Vec<u8> {
        let mut image = self.told.clone();
        reveal(&self.lies, &mut image);
        image
    }

    /// [`platter`](Self::platter) of a file that nobody will look at again.
    pub(super) fn take_platter(&mut self) -> Vec<u8> {
        let mut image = std::mem::take(&mut self.told);
        reveal(&self.lies, &mut image);
        image
    }

    /// Which lies a restart would bring to light.
    pub(super) fn lies(&self) -> impl Iterator<Item = Bite> + '_ {
        self.lies.iter().filter(|l| self.told[l.offset..l.end()] != l.bytes[..]).map(|l| l.bite)
    }

    /// What a power cut leaves, when each sector may be as of another moment.
    pub(super) fn tear(&self, rng: &mut Rng) -> Vec<u8> {
        let moments = self.pending.len() as u64;
        match rng.between(0, 4) {
            0 => self.platter(),
            1 => self.all_written(),
            2 => self.prefix(rng),
            _ => {
                let most = self.told.len().max(self.cached.len());
                let size_at = rng.between(0, moments + 1);
                let at: Vec<u64> = (0..most.div_ceil(SECTOR)).map(|_| rng.between(0, moments + 1)).collect();
                let mut image = self.platter();
                let mut left = vec![0; most];
                let mut size = image.len();
                for moment in 0..=moments {
                    if moment > 0 {
                        self.pending[moment as usize - 1].apply(&self.cached, &mut image);
                    }
                    if moment == size_at {
                        size = image.len();
                    }
                    for (sector, _) in at.iter().enumerate().filter(|(_, at)| **at == moment) {
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

    /// Everything a process reads, but for lies. Pages whose sync failed count: a part of them may have been written.
    fn all_written(&self) -> Vec<u8> {
        if self.lies.is_empty() {
            return self.cached.clone();
        }
        let mut image = self.platter();
        for change in &self.pending {
            change.apply(&self.cached, &mut image);
        }
        image
    }

    /// The first changes only, the last of them cut at some byte.
    fn prefix(&self, rng: &mut Rng) -> Vec<u8> {
        let keep = rng.between(0, self.pending.len() as u64) as usize;
        let mut image = self.platter();
        for change in &self.pending[..keep] {
            change.apply(&self.cached, &mut image);
        }
        if let Some(change @ Change::Write { offset, .. }) = self.pending.get(keep) {
            let bytes = change.bytes(&self.cached);
            let part = rng.between(0, bytes.len() as u64 + 1) as usize;
            if part > 0 {
                put(&mut image, *offset, &bytes[..part]);
            }
        }
        image
    }
}

fn reveal(lies: &[Lie], image: &mut [u8]) {
    for lie in lies {
        image[lie.offset..lie.end()].copy_from_slice(&lie.bytes);
    }
}

/// What is on the platter at `offset`; zeros beyond its end.
fn on_platter(lies: &[Lie], told: &[u8], offset: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut lay = |at: usize, from: &[u8]| {
        let (start, end) = (at.max(offset), (at + from.len()).min(offset + len));
        if start < end {
            bytes[start - offset..end - offset].copy_from_slice(&from[start - at..end - at]);
        }
    };
    lay(0, told);
    for lie in lies {
        lay(lie.offset, &lie.bytes);
    }
    bytes
}

/// A write is about to be told durable, and this is what the disk does with it.
fn settle(lies: &mut Vec<Lie>, told: &[u8], offset: usize, bytes: &[u8], fate: Fate) {
    let there = on_platter(lies, told, offset, bytes.len());
    cut(lies, offset, offset + bytes.len());
    match fate {
        Fate::Kept => {}
        Fate::Lost => lie(lies, offset, there, Bite::LostWrite),
        Fate::Elsewhere(which) => {
            lie(lies, offset, there, Bite::Misdirect);
            let size = told.len().max(offset + bytes.len());
            let mut to = (which % size.max(1) as u64) as usize;
            if to == offset {
                to = if offset == 0 { size / 2 } else { 0 };
            }
            let fits = bytes.len().min(size - to);
            lie(lies, to, bytes[..fits].to_vec(), Bite::Misdirect);
        }
    }
}

/// From now on the platter holds `bytes` at `offset`.
fn lie(lies: &mut Vec<Lie>, offset: usize, bytes: Vec<u8>, bite: Bite) {
    cut(lies, offset, offset + bytes.len());
    if !bytes.is_empty() {
        lies.push(Lie { offset, bytes, bite });
    }
}

/// Ends the lies about `from..to`.
fn cut(lies: &mut Vec<Lie>, from: usize, to: usize) {
    for l in std::mem::take(lies) {
        if l.end() <= from || to <= l.offset {
            lies.push(l);
            continue;
        }
        if l.offset < from {
            lies.push(Lie { offset: l.offset, bytes: l.bytes[..from - l.offset].to_vec(), bite: l.bite });
        }
        if to < l.end() {
            lies.push(Lie { offset: to, bytes: l.bytes[to - l.offset..].to_vec(), bite: l.bite });
        }
    }
}
