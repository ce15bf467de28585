//! Faults as lines: a word for the kind, whom it strikes, how hard, and how long.

use std::fmt;

use super::numbers::{Unit, span_text};
use super::words::Words;
use super::{MAX_SPAN, MAX_TARGETS, PlanError};
use crate::sim::plan::{Death, DiskCall, Fault, Hostile, Lie, Make, Target};
use crate::types::{Micros, NodeId};

/// The name of every kind of fault: the word in a plan, in counts, in documentation.
pub const KINDS: [&str; 28] = [
    "kill",
    "power-loss",
    "blackout",
    "pause",
    "cut",
    "reset",
    "loss",
    "duplicate",
    "reorder",
    "corrupt",
    "slow",
    "narrow",
    "hostile",
    "stranger",
    "stall",
    "slow-disk",
    "disk-error",
    "short-write",
    "disk-full",
    "bit-rot",
    "lost-write",
    "misdirect",
    "rollback",
    "wipe",
    "drift",
    "jump",
    "transfer",
    "change",
];

const CALLS: [(DiskCall, &str); 6] = [
    (DiskCall::Read, "read"),
    (DiskCall::Write, "write"),
    (DiskCall::Sync, "sync"),
    (DiskCall::SyncDir, "sync-dir"),
    (DiskCall::Create, "create"),
    (DiskCall::Rename, "rename"),
];

const BYTES: [(Hostile, &str); 4] = [
    (Hostile::Garbage, "garbage"),
    (Hostile::TooLong, "too-long"),
    (Hostile::BrokenOff, "broken-off"),
    (Hostile::WrongLength, "wrong-length"),
];

const LIES: [(Lie, &str); 4] =
    [(Lie::Cluster, "cluster"), (Lie::Protocol, "protocol"), (Lie::Version, "version"), (Lie::Called, "called")];

const MAKES: [(Make, &str); 3] = [(Make::Voter, "voter"), (Make::Learner, "learner"), (Make::Gone, "gone")];

const MAX_NTH: u64 = 1_000_000;
const MAX_BYTES: u64 = 1 << 30;
/// A clock that loses half or gains double is past anything that keeps time.
const DRIFT: (i16, i16) = (-500, 1000);

impl Fault {
    /// Its kind, one of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crash { how: Death::Kill, .. } => "kill",
            Self::Crash { how: Death::Power, .. } => "power-loss",
            Self::CrashAll { .. } => "blackout",
            Self::Pause { .. } => "pause",
            Self::Cut { .. } => "cut",
            Self::Reset { .. } => "reset",
            Self::Loss { .. } => "loss",
            Self::Duplicate { .. } => "duplicate",
            Self::Reorder { .. } => "reorder",
            Self::Corrupt { .. } => "corrupt",
            Self::Slow { .. } => "slow",
            Self::Narrow { .. } => "narrow",
            Self::Hostile { .. } => "hostile",
            Self::Stranger { .. } => "stranger",
            Self::Stall { .. } => "stall",
            Self::SlowDisk { .. } => "slow-disk",
            Self::DiskError { .. } => "disk-error",
            Self::ShortWrite { .. } => "short-write",
            Self::DiskFull { .. } => "disk-full",
            Self::BitRot { .. } => "bit-rot",
            Self::LostWrite { .. } => "lost-write",
            Self::Misdirect { .. } => "misdirect",
            Self::Rollback { .. } => "rollback",
            Self::Wipe { .. } => "wipe",
            Self::Drift { .. } => "drift",
            Self::Jump { .. } => "jump",
            Self::Transfer { .. } => "transfer",
            Self::Change { .. } => "change",
        }
    }

    /// Whether it can destroy what a disk had confirmed. No protocol here promises anything beyond a minority of those.
    pub fn destroys(&self) -> bool {
        matches!(
            self,
            Self::BitRot { .. }
                | Self::LostWrite { .. }
                | Self::Misdirect { .. }
                | Self::Rollback { .. }
                | Self::Wipe { .. }
        )
    }

    /// Whom it names.
    pub fn targets(&self) -> Vec<Target> {
        match self {
            Self::CrashAll { .. } => Vec::new(),
            Self::Transfer { to } => to.iter().copied().collect(),
            Self::Change { make } => make.iter().map(|(_, target)| *target).collect(),
            Self::Crash { node, .. }
            | Self::Pause { node, .. }
            | Self::Stall { node, .. }
            | Self::SlowDisk { node, .. }
            | Self::DiskError { node, .. }
            | Self::ShortWrite { node, .. }
            | Self::DiskFull { node, .. }
            | Self::BitRot { node }
            | Self::LostWrite { node, .. }
            | Self::Misdirect { node, .. }
            | Self::Rollback { node, .. }
            | Self::Wipe { node, .. }
            | Self::Drift { node, .. }
            | Self::Jump { node, .. } => vec![*node],
            Self::Reset { a, b } => vec![*a, *b],
            Self::Loss { from, to, .. }
            | Self::Duplicate { from, to, .. }
            | Self::Reorder { from, to, .. }
            | Self::Corrupt { from, to, .. }
            | Self::Slow { from, to, .. }
            | Self::Narrow { from, to, .. }
            | Self::Hostile { from, to, .. }
            | Self::Stranger { from, to, .. } => vec![*from, *to],
            Self::Cut { from, to, .. } => from.iter().chain(to).copied().collect(),
        }
    }

    /// The nodes among them that are named by number.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.targets().into_iter().filter_map(|t| if let Target::Node(n) = t { Some(n) } else { None }).collect()
    }

    /// How long it lasts, or how long until the node is back, or how far the clock jumps; none for what has no length.
    pub fn length_mut(&mut self) -> Option<&mut Micros> {
        match self {
            Self::Crash { back, .. }
            | Self::CrashAll { back }
            | Self::Rollback { back, .. }
            | Self::Wipe { back, .. } => Some(back),
            Self::Pause { span, .. }
            | Self::Cut { span, .. }
            | Self::Loss { span, .. }
            | Self::Duplicate { span, .. }
            | Self::Reorder { span, .. }
            | Self::Corrupt { span, .. }
            | Self::Slow { span, .. }
            | Self::Narrow { span, .. }
            | Self::Stall { span, .. }
            | Self::SlowDisk { span, .. }
            | Self::DiskFull { span, .. }
            | Self::Drift { span, .. } => Some(span),
            Self::Jump { by, .. } => Some(by),
            Self::Reset { .. }
            | Self::Hostile { .. }
            | Self::Stranger { .. }
            | Self::DiskError { .. }
            | Self::ShortWrite { .. }
            | Self::BitRot { .. }
            | Self::LostWrite { .. }
            | Self::Misdirect { .. }
            | Self::Transfer { .. }
            | Self::Change { .. } => None,
        }
    }

    /// Whether its numbers are in range.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let number = |field: &str, value: u64, low: u64, high: u64| {
            let good = (low..=high).contains(&value);
            let error = || PlanError::new(field, value, format!("from {low} to {high}"));
            if good { Ok(()) } else { Err(error()) }
        };
        if let Some(length) = self.clone().length_mut() {
            number("span", length.0, 0, MAX_SPAN.0)?;
        }
        match self {
            Self::Cut { from, to, .. } => {
                number("nodes", from.len() as u64, 1, MAX_TARGETS as u64)?;
                number("nodes", to.len() as u64, 1, MAX_TARGETS as u64)
            }
            Self::Change { make } => number("members", make.len() as u64, 1, MAX_TARGETS as u64),
            Self::Loss { per_mille, .. }
            | Self::Duplicate { per_mille, .. }
            | Self::Reorder { per_mille, .. }
            | Self::Corrupt { per_mille, .. } => number("per mille", u64::from(*per_mille), 0, 1000),
            Self::Slow { delay, .. } | Self::SlowDisk { delay, .. } => number("by", delay.0, 0, MAX_SPAN.0),
            Self::Narrow { bytes, .. } => number("to", *bytes, 1, MAX_BYTES),
            Self::DiskFull { bytes, .. } => number("after", *bytes, 0, MAX_BYTES),
            Self::DiskError { nth, .. }
            | Self::ShortWrite { nth, .. }
            | Self::LostWrite { nth, .. }
            | Self::Misdirect { nth, .. } => number("nth", *nth, 1, MAX_NTH),
            Self::Drift { per_mille, .. } if !(DRIFT.0..=DRIFT.1).contains(per_mille) => {
                Err(PlanError::new("per mille", per_mille, format!("from {} to {}", DRIFT.0, DRIFT.1)))
            }
            _ => Ok(()),
        }
    }

    /// Reads one, from the word for its kind on.
    pub(super) fn read(w: &mut Words<'_>) -> Result<Self, PlanError> {
        let kind = w.next("fault", "a kind of fault")?;
        if !KINDS.contains(&kind) {
            return Err(PlanError::new("fault", format!("`{kind}`"), format!("one of {}", KINDS.join(", "))));
        }
        match kind {
            "loss" | "duplicate" | "reorder" | "corrupt" | "slow" | "narrow" | "cut" | "reset" | "hostile"
            | "stranger" => Self::read_link(kind, w),
            "blackout" => Ok(Self::CrashAll { back: length("back", w)? }),
            "transfer" => {
                w.keyword("to")?;
                Ok(Self::Transfer { to: w.target_or_any()? })
            }
            "change" => Ok(Self::Change { make: w.makes(&MAKES)? }),
            _ => {
                let node = w.target()?;
                Self::read_node(kind, node, w)
            }
        }
    }

    fn read_link(kind: &str, w: &mut Words<'_>) -> Result<Self, PlanError> {
        if kind == "cut" {
            let from = w.targets()?;
            w.keyword("->")?;
            return Ok(Self::Cut { from, to: w.targets()?, span: length("for", w)? });
        }
        let from = w.target()?;
        if kind == "reset" {
            w.keyword("<->")?;
            return Ok(Self::Reset { a: from, b: w.target()? });
        }
        w.keyword("->")?;
        let to = w.target()?;
        match kind {
            "hostile" => Ok(Self::Hostile { from, to, bytes: one_of("bytes", &BYTES, w)? }),
            "stranger" => Ok(Self::Stranger { from, to, lie: one_of("lie", &LIES, w)? }),
            "slow" => Ok(Self::Slow { from, to, delay: length("by", w)?, span: length("for", w)? }),
            "narrow" => {
                w.keyword("to")?;
                Ok(Self::Narrow { from, to, bytes: w.bytes("to", 1, MAX_BYTES)?, span: length("for", w)? })
            }
            _ => {
                let per_mille = w.per_mille(0, 1000)?.unsigned_abs();
                let span = length("for", w)?;
                Ok(match kind {
                    "loss" => Self::Loss { from, to, per_mille, span },
                    "duplicate" => Self::Duplicate { from, to, per_mille, span },
                    "reorder" => Self::Reorder { from, to, per_mille, span },
                    _ => Self::Corrupt { from, to, per_mille, span },
                })
            }
        }
    }

    fn read_node(kind: &str, node: Target, w: &mut Words<'_>) -> Result<Self, PlanError> {
        Ok(match kind {
            "kill" => Self::Crash { node, how: Death::Kill, back: length("back", w)? },
            "power-loss" => Self::Crash { node, how: Death::Power, back: length("back", w)? },
            "pause" => Self::Pause { node, span: length("for", w)? },
            "stall" => Self::Stall { node, span: length("for", w)? },
            "slow-disk" => Self::SlowDisk { node, delay: length("by", w)?, span: length("for", w)? },
            "disk-error" => {
                let call = one_of("call", &CALLS, w)?;
                Self::DiskError { node, call, nth: nth(w)? }
            }
            "short-write" => Self::ShortWrite { node, nth: nth(w)? },
            "disk-full" => {
                w.keyword("after")?;
                Self::DiskFull { node, bytes: w.bytes("after", 0, MAX_BYTES)?, span: length("for", w)? }
            }
            "bit-rot" => Self::BitRot { node },
            "lost-write" => Self::LostWrite { node, nth: nth(w)? },
            "misdirect" => Self::Misdirect { node, nth: nth(w)? },
            "rollback" => Self::Rollback { node, back: length("back", w)? },
            "wipe" => Self::Wipe { node, back: length("back", w)? },
            "drift" => Self::Drift { node, per_mille: w.per_mille(DRIFT.0, DRIFT.1)?, span: length("for", w)? },
            _ => Self::Jump { node, by: length("by", w)? },
        })
    }
}

fn length(word: &'static str, w: &mut Words<'_>) -> Result<Micros, PlanError> {
    w.keyword(word)?;
    w.span(word)
}

/// What one of these words stands for.
fn one_of<T: Copy>(field: &str, all: &[(T, &str)], w: &mut Words<'_>) -> Result<T, PlanError> {
    let names = all.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let word = w.next(field, &names)?;
    let found = all.iter().find(|(_, name)| *name == word);
    found.map(|(x, _)| *x).ok_or_else(|| PlanError::new(field, format!("`{word}`"), format!("one of {names}")))
}

/// The word for it.
fn name_of<T: Copy + PartialEq>(all: &[(T, &'static str)], what: T) -> &'static str {
    all.iter().find(|(x, _)| *x == what).map_or("", |(_, name)| name)
}

fn nth(w: &mut Words<'_>) -> Result<u64, PlanError> {
    w.keyword("nth")?;
    w.number("nth", 1, MAX_NTH)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        let s = |span: &Micros| span_text(*span);
        match self {
            Self::Crash { node, back, .. } | Self::Rollback { node, back } | Self::Wipe { node, back } => {
                write!(f, "{kind} {node} back {}", s(back))
            }
            Self::CrashAll { back } => write!(f, "{kind} back {}", s(back)),
            Self::Pause { node, span } | Self::Stall { node, span } => write!(f, "{kind} {node} for {}", s(span)),
            Self::Cut { from, to, span } => write!(f, "{kind} {} -> {} for {}", list(from), list(to), s(span)),
            Self::Reset { a, b } => write!(f, "{kind} {a} <-> {b}"),
            Self::Loss { from, to, per_mille, span }
            | Self::Duplicate { from, to, per_mille, span }
            | Self::Reorder { from, to, per_mille, span }
            | Self::Corrupt { from, to, per_mille, span } => {
                write!(f, "{kind} {from} -> {to} {per_mille}/1000 for {}", s(span))
            }
            Self::Slow { from, to, delay, span } => {
                write!(f, "{kind} {from} -> {to} by {} for {}", s(delay), s(span))
            }
            Self::Narrow { from, to, bytes, span } => {
                write!(f, "{kind} {from} -> {to} to {} for {}", Unit::Bytes.text(*bytes), s(span))
            }
            Self::Hostile { from, to, bytes } => write!(f, "{kind} {from} -> {to} {}", name_of(&BYTES, *bytes)),
            Self::Stranger { from, to, lie } => write!(f, "{kind} {from} -> {to} {}", name_of(&LIES, *lie)),
            Self::SlowDisk { node, delay, span } => write!(f, "{kind} {node} by {} for {}", s(delay), s(span)),
            Self::DiskError { node, call, nth } => {
                write!(f, "{kind} {node} {} nth {nth}", name_of(&CALLS, *call))
            }
            Self::ShortWrite { node, nth } | Self::LostWrite { node, nth } | Self::Misdirect { node, nth } => {
                write!(f, "{kind} {node} nth {nth}")
            }
            Self::DiskFull { node, bytes, span } => {
                write!(f, "{kind} {node} after {} for {}", Unit::Bytes.text(*bytes), s(span))
            }
            Self::BitRot { node } => write!(f, "{kind} {node}"),
            Self::Drift { node, per_mille, span } => write!(f, "{kind} {node} {per_mille}/1000 for {}", s(span)),
            Self::Jump { node, by } => write!(f, "{kind} {node} by {}", s(by)),
            Self::Transfer { to: Some(to) } => write!(f, "{kind} to {to}"),
            Self::Transfer { to: None } => write!(f, "{kind} to any"),
            Self::Change { make } => {
                let one = |(make, target): &(Make, Target)| match make {
                    Make::Weighing(share) => format!("weight{}@{}={target}", share.weight, share.group),
                    make => format!("{}={target}", name_of(&MAKES, *make)),
                };
                let all: Vec<_> = make.iter().map(one).collect();
                write!(f, "{kind} {}", all.join(","))
            }
        }
    }
}

fn list(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
