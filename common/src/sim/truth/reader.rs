//! Keeping the truth up to date.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::log::DurableLog;
use super::{Ids, Truth};
use crate::sim::subject::Violation;
use crate::storage::Snapshots;
use crate::storage::hard;
use crate::storage::mem_fs::{MemFs, News, Told};
use crate::types::LogId;

/// An entry that was found on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Its id.
    pub id: LogId,
    /// The id before it. Two disks which hold an entry agree on it.
    pub prev: LogId,
    /// A hash of its kind and payload. Two disks which hold an entry agree on it.
    pub content: u64,
}

/// Reads the truth of one node's folder from what its disk said is durable: names and bytes that were synced, by the very
/// code that reads them at a start, and put together by rules of its own. What it finds is what recovery would find after a
/// power cut which keeps nothing that was not synced.
///
/// It knows nothing of what the node believes, and nothing of lies of the disk that have not come to light: the node
/// cannot know of them either.
#[derive(Debug)]
pub struct TruthReader<H> {
    truth: Truth<H>,
    refused: Option<String>,
    entered: Vec<Entered>,
    news: News,
    /// None: there is no file.
    hard: Result<Option<H>, String>,
    hard_file: Option<Told>,
    /// Of the newest valid one. None: there is none at all.
    snapshot: Result<Option<LogId>, String>,
    snapshot_files: Vec<Told>,
    log: DurableLog,
    /// Whether the log holds the snapshot's last entry.
    joined: bool,
}

impl<H: Default> Default for TruthReader<H> {
    fn default() -> Self {
        Self {
            truth: Truth::default(),
            refused: None,
            entered: Vec::new(),
            news: News::default(),
            hard: Ok(None),
            hard_file: None,
            snapshot: Ok(None),
            snapshot_files: Vec::new(),
            log: DurableLog::new(),
            joined: true,
        }
    }
}

impl<H: Clone + Default + PartialEq + DeserializeOwned> TruthReader<H> {
    /// A reader of one [`MemFs`], of which it is the only one. It has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The truth, as of the last [`refresh`](Self::refresh). That of a new node while the folder would be refused.
    pub fn truth(&self) -> &Truth<H> {
        &self.truth
    }

    /// Why recovery would refuse the folder, if it would.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// If recovery would refuse the folder and the hard state is not why: the snapshot and the log that are whole.
    pub fn whole(&self) -> Option<(LogId, Ids)> {
        self.refused.as_ref()?;
        self.hard.as_ref().ok()?.as_ref()?;
        let snapshot = self.snapshot.as_ref().ok()?.unwrap_or_default();
        let mut log = self.log.whole().clone();
        if log.base() > snapshot || !log.contains(snapshot) {
            log.reset(snapshot);
        }
        Some((snapshot, log))
    }

    /// The entries that the last [`refresh`](Self::refresh) read. It reads an entry when it becomes durable, and again when
    /// its file changes elsewhere, or the disk is another. Entries that were cut off may be among those read again.
    pub fn entered(&self) -> &[Entered] {
        &self.entered
    }

    /// Brings the truth up to date with the folder `dir`, always the same one; says whether it changed. Costs as much as is
    /// new. An error says that recovery would refuse what is durable, though the disk has told no lie.
    pub fn refresh(&mut self, fs: &MemFs, dir: &Path) -> Result<bool, Violation> {
        self.entered.clear();
        fs.take_news(&mut self.news);
        if self.news.is_empty() {
            return Ok(false);
        }
        let news = std::mem::take(&mut self.news);
        let told = self.sort(&news, fs, dir);
        self.news = news;
        if !told && !self.log.is_stale() && self.refused.is_none() && self.joined {
            // Entries were added to the log, or nothing happened that counts.
            self.entered.iter().for_each(|e| self.truth.log.push(e.id, e.id.counter));
            return Ok(!self.entered.is_empty());
        }
        self.log.settle(fs, &dir.join("log"), &mut self.entered);
        let changed = self.judge();
        match &self.refused {
            Some(why) if !fs.lied() => {
                Err(Violation::new("C-RECOV", format!("what is durable would be refused: {why}")))
            }
            _ => Ok(changed),
        }
    }

    /// Looks at everything that is new but for names of the log, which settle later. Says whether there was anything but
    /// entries at the log's end.
    fn sort(&mut self, news: &News, fs: &MemFs, dir: &Path) -> bool {
        let is_new = |path: &Path| news.everything || news.dirs.iter().any(|d| d == path.as_os_str());
        let (mut hard, mut snapshots, mut names) = (news.everything, news.everything, news.everything);
        for file in news.files() {
            if !self.log.file(&file, &mut self.entered) {
                hard |= self.hard_file.as_ref() == Some(&file);
                snapshots |= self.snapshot_files.contains(&file);
            }
        }
        if news.everything || !news.dirs.is_empty() {
            hard |= is_new(dir);
            snapshots |= is_new(&dir.join("snapshots"));
            names |= is_new(&dir.join("log"));
        }
        if names {
            self.log.names(fs, &dir.join("log"));
        }
        if hard {
            self.read_hard(fs, dir);
        }
        if snapshots {
            self.read_snapshots(fs, &dir.join("snapshots"));
        }
        hard || snapshots || names
    }

    fn read_hard(&mut self, fs: &MemFs, dir: &Path) {
        self.hard_file = None;
        fs.told_names(dir, |name, file| {
            if name == hard::NAME {
                file.seen();
                self.hard_file = Some(file);
            }
        });
        let decode = |bytes: Option<Vec<u8>>| match bytes {
            Some(bytes) => postcard::from_bytes(&bytes).map_err(|e| format!("the hard state cannot be decoded: {e}")),
            None => Ok(H::default()),
        };
        let saved = hard::saved(&fs.told(), dir).map_err(|e| e.to_string());
        self.hard = saved.and_then(|(exists, bytes)| exists.then(|| decode(bytes)).transpose());
    }

    fn read_snapshots(&mut self, fs: &MemFs, dir: &Path) {
        self.snapshot_files.clear();
        fs.told_names(dir, |_, file| {
            file.seen();
            self.snapshot_files.push(file);
        });
        let snapshots = Snapshots::view(Arc::new(fs.told()), dir);
        let newest = snapshots.ids().and_then(|ids| {
            let newest = snapshots.newest_valid()?;
            Ok(newest.or(ids.first().map(|_| LogId::ZERO)))
        });
        self.snapshot = newest.map_err(|e| e.to_string());
    }

    /// Puts hard state, snapshot and log together. Says whether the truth changed.
    fn judge(&mut self) -> bool {
        match self.verdict() {
            Ok((hard, snapshot, log)) => {
                self.joined = self.log.ids.as_ref().is_ok_and(|ids| ids.contains(snapshot));
                let truth = Truth { hard, snapshot, log, had: Vec::new() };
                let changed = self.refused.take().is_some() || truth != self.truth;
                self.truth = truth;
                changed
            }
            Err(why) => {
                let changed = self.refused.replace(why).is_none();
                self.truth = Truth::default();
                changed
            }
        }
    }

    fn verdict(&self) -> Result<(H, LogId, Ids), String> {
        let hard = self.hard.clone()?;
        let snapshots = self.snapshot.clone()?;
        let snapshot = snapshots.unwrap_or_default();
        let ids = self.log.ids.as_ref().map_err(Clone::clone)?;
        if hard.is_none() {
            // The file is written last of all when a folder is new.
            let pristine = snapshots.is_none() && ids.base() == LogId::ZERO && ids.spans().is_empty();
            if !pristine {
                return Err("there is a log or a snapshot, but no hard state".to_owned());
            }
        } else if self.log.is_missing() {
            return Err("there is a hard state, but no log".to_owned());
        }
        if ids.base() > snapshot {
            return Err(format!("the log starts after {}, the newest valid snapshot ends at {snapshot}", ids.base()));
        }
        let mut log = Ids::default();
        if ids.contains(snapshot) {
            log.clone_from(ids);
        } else {
            log.reset(snapshot);
        }
        Ok((hard.unwrap_or_default(), snapshot, log))
    }
}
