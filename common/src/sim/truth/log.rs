//! The log on a disk, put together from its segments as recovery does.

use std::path::Path;

use super::Ids;
use super::reader::Entered;
use crate::entries::EntryKind;
use crate::storage::mem_fs::{MemFs, Told};
use crate::storage::wal::Start;
use crate::storage::wal::image::{SegmentImage, Stop};
use crate::types::LogId;

/// A segment with a durable name.
#[derive(Debug)]
struct Segment {
    number: u64,
    file: Told,
    image: Result<SegmentImage, String>,
}

impl Segment {
    fn new(number: u64, file: Told) -> Self {
        let image = file.read(|bytes, _| SegmentImage::new(number, bytes));
        Self { number, file, image }
    }

    /// Looks at the file again. Says whether it is as before but for entries added at the end.
    fn look(&mut self, new: &mut Vec<Entered>) -> bool {
        let Self { number, file, image } = self;
        file.read(|bytes, fresh| match image {
            Ok(known) if fresh as u64 >= known.end => {
                known.read_on(bytes, entered(new));
                known.stop.is_none()
            }
            _ => {
                *image = SegmentImage::new(*number, bytes);
                false
            }
        })
    }

    fn header(&self) -> Option<(LogId, Start)> {
        self.image.as_ref().ok()?.header
    }
}

/// Notes entries as they are read.
fn entered(new: &mut Vec<Entered>) -> impl FnMut(LogId, LogId, EntryKind, &[u8]) {
    |prev, id, kind, payload| {
        let content = xxhash_rust::xxh3::xxh3_64_with_seed(payload, kind as u64);
        new.push(Entered { id, prev, content });
    }
}

/// What is durable of a log.
#[derive(Debug)]
pub(super) struct DurableLog {
    /// By number.
    segments: Vec<Segment>,
    /// Which of them make up the log, oldest first.
    kept: Vec<usize>,
    /// The log, unless recovery would refuse it.
    pub(super) ids: Result<Ids, String>,
    /// If it would: the part before the damage.
    part: Ids,
    /// Something changed that [`settle`](Self::settle) has not yet seen.
    stale: bool,
}

impl DurableLog {
    pub(super) fn new() -> Self {
        Self { segments: Vec::new(), kept: Vec::new(), ids: Ok(Ids::default()), part: Ids::default(), stale: false }
    }

    /// Whether there is not even an empty log, as in a new node's folder.
    pub(super) fn is_missing(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// The durable names of its directory changed.
    pub(super) fn names(&mut self, fs: &MemFs, dir: &Path) {
        let mut old = std::mem::take(&mut self.segments).into_iter().peekable();
        fs.told_names(dir, |name, file| {
            let Some(number) = SegmentImage::number_of(name) else { return };
            while old.next_if(|s| s.number < number).is_some() {}
            let known = old.next_if(|s| s.number == number && s.file == file);
            self.segments.push(known.unwrap_or_else(|| Segment::new(number, file)));
        });
        self.stale = true;
    }

    /// Bytes of this file are new. Says whether it is one of the log's.
    pub(super) fn file(&mut self, file: &Told, new: &mut Vec<Entered>) -> bool {
        // The last one, nearly always.
        let Some(i) = self.segments.iter().rposition(|s| s.file == *file) else { return false };
        let before = new.len();
        let added = self.segments[i].look(new);
        match &mut self.ids {
            Ok(ids) if added && !self.stale && self.kept.last() == Some(&i) => {
                new[before..].iter().for_each(|e| ids.push(e.id, e.id.counter));
            }
            _ => self.stale = true,
        }
        true
    }

    /// Puts the log together again, if need be.
    pub(super) fn settle(&mut self, fs: &MemFs, dir: &Path, new: &mut Vec<Entered>) {
        if std::mem::take(&mut self.stale) {
            let (mut end, mut refused) = (self.segments.len(), None);
            while let Err((at, why)) = self.choose(end) {
                refused.get_or_insert(why);
                end = at;
            }
            let mut ids = Ids::default();
            let joined = self.join(fs, dir, new, &mut ids);
            self.ids = match refused.map_or(joined, Err) {
                Ok(()) => Ok(ids),
                Err(why) => {
                    self.part = ids;
                    Err(why)
                }
            };
        }
    }

    /// What is not damaged, from the log's beginning on.
    pub(super) fn whole(&self) -> &Ids {
        self.ids.as_ref().unwrap_or(&self.part)
    }

    /// Which of the first `end` segments make up the log. Those from before it was started anew do not, nor those that lie
    /// after a cut. An error says before which of them it ends, and why.
    fn choose(&mut self, end: usize) -> Result<(), (usize, String)> {
        self.kept.clear();
        let mut start = 0;
        let mut images = Vec::with_capacity(end);
        for (i, segment) in self.segments[..end].iter().enumerate() {
            let image = segment.image.as_ref().map_err(|why| (i, why.clone()))?;
            if image.is_unfinished() && i + 1 == self.segments.len() {
                break;
            }
            if image.header.is_some_and(|(_, start)| start == Start::Log) {
                start = i;
            }
            images.push(image);
        }
        let mut cut: Option<LogId> = None;
        let mut continued_by = None;
        for (i, image) in images.iter().enumerate().skip(start).rev() {
            let (base, start) = image.header.ok_or_else(|| (i, format!("segment {} has no header", image.number)))?;
            if cut.is_some_and(|cut| base >= cut) {
                continue;
            }
            if continued_by.is_some_and(|next| next != image.number + 1) {
                return Err((i + 1, format!("no segment {}", image.number + 1)));
            }
            if start == Start::Cut {
                cut = Some(base);
            }
            continued_by = (start == Start::Continues).then_some(image.number);
            self.kept.push(i);
        }
        self.kept.reverse();
        Ok(())
    }

    /// Puts the ids of the chosen segments into `ids`, one after the other, each up to where the next says that the log was cut.
    fn join(&mut self, fs: &MemFs, dir: &Path, new: &mut Vec<Entered>, ids: &mut Ids) -> Result<(), String> {
        for (n, i) in self.kept.iter().enumerate() {
            let next = self.kept.get(n + 1).and_then(|next| self.segments[*next].header());
            self.segments[*i].look(new);
            let image = self.segments[*i].image.as_ref().map_err(Clone::clone)?;
            let (base, _) = image.header.ok_or("no header")?;
            if n == 0 {
                ids.reset(base);
            }
            if base != ids.last() {
                return Err(format!("segment {} starts after {base}, not after {}", image.number, ids.last()));
            }
            for span in &image.spans {
                ids.push(LogId::new(span.epoch, span.first), span.last);
            }
            match next {
                Some((cut, Start::Cut)) if ids.contains(cut) => ids.cut(cut),
                Some((base, _)) => match image.stop {
                    // Behind the last entry there was never anything, whatever stands there.
                    Some(Stop::Bad(_)) if base == ids.last() => {}
                    Some(Stop::Bad(what)) => return Err(format!("{what} in segment {}", image.number)),
                    Some(Stop::Misplaced(_)) => image.judge(&fs.told(), dir)?,
                    None => {}
                },
                None => image.judge(&fs.told(), dir)?,
            }
        }
        Ok(())
    }
}
