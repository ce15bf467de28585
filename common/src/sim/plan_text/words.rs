//! One line, word by word. Every step says what it wanted when it finds something else.

use super::numbers::{Unit, decimal, read_span};
use super::{MAX_TARGETS, PlanError};
use crate::quorum::{MAX_GROUPS, MAX_WEIGHT, Share};
use crate::sim::plan::{Make, Target};
use crate::types::{Micros, NodeId};

/// The words of a line that are still to be read.
pub(super) struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self(line.split_whitespace())
    }

    /// The next word.
    pub(super) fn next(&mut self, field: &str, allowed: &str) -> Result<&'a str, PlanError> {
        self.0.next().ok_or_else(|| PlanError::new(field, "the end of the line", allowed))
    }

    fn read<T>(&mut self, field: &str, allowed: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, PlanError> {
        let word = self.next(field, allowed)?;
        read(word).ok_or_else(|| PlanError::new(field, format!("`{word}`"), allowed))
    }

    /// Exactly this word.
    pub(super) fn keyword(&mut self, word: &'static str) -> Result<(), PlanError> {
        self.read(&format!("before `{word}`"), &format!("the word `{word}`"), |w| (w == word).then_some(()))
    }

    /// A whole number in this range.
    pub(super) fn number(&mut self, field: &str, low: u64, high: u64) -> Result<u64, PlanError> {
        let allowed = format!("a whole number from {low} to {high}");
        self.read(field, &allowed, |w| decimal(w).filter(|n| (low..=high).contains(n)))
    }

    /// 64 bits, decimal or with 0x in front.
    pub(super) fn seed(&mut self) -> Result<u64, PlanError> {
        self.read("seed", "a number of 64 bits such as 7 or 0x1f", |w| match w.strip_prefix("0x") {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
            Some(_) => None,
            None => decimal(w),
        })
    }

    /// A span.
    pub(super) fn span(&mut self, field: &str) -> Result<Micros, PlanError> {
        self.read(field, "a span such as 1.25s, 800ms or 50us, no finer than 1us, at most 86400s", read_span)
    }

    /// A size.
    pub(super) fn bytes(&mut self, field: &str, low: u64, high: u64) -> Result<u64, PlanError> {
        let allowed = format!("a size from {low}B to {}, such as 4096B or 4KiB", Unit::Bytes.text(high));
        self.read(field, &allowed, |w| Unit::Bytes.read(w).filter(|n| (low..=high).contains(n)))
    }

    /// So many of a thousand, `20/1000`.
    pub(super) fn per_mille(&mut self, low: i16, high: i16) -> Result<i16, PlanError> {
        let allowed = format!("parts of a thousand from {low}/1000 to {high}/1000");
        self.read("per mille", &allowed, |w| {
            let n = w.strip_suffix("/1000")?;
            let (sign, digits) = n.strip_prefix('-').map_or((1, n), |digits| (-1, digits));
            let n = i16::try_from(decimal(digits)?).ok()? * sign;
            (low..=high).contains(&n).then_some(n)
        })
    }

    /// A node or a role.
    pub(super) fn target(&mut self) -> Result<Target, PlanError> {
        self.read("node", "n1 (a node), leader, or other0 (one that does not lead)", target)
    }

    /// The same, or the word `any` for none in particular.
    pub(super) fn target_or_any(&mut self) -> Result<Option<Target>, PlanError> {
        self.read("node", "n1 (a node), other0 (one that does not lead), or any", |word| {
            if word == "any" { Some(None) } else { target(word).map(Some) }
        })
    }

    /// Several of them, with commas.
    pub(super) fn targets(&mut self) -> Result<Vec<Target>, PlanError> {
        let allowed = format!("1 to {MAX_TARGETS} nodes or roles such as n1,leader,other0");
        self.read("nodes", &allowed, |w| {
            let all: Option<Vec<_>> = w.split(',').take(MAX_TARGETS + 1).map(target).collect();
            all.filter(|t| t.len() <= MAX_TARGETS)
        })
    }

    /// What is to become of whom, with commas.
    pub(super) fn makes(&mut self, names: &[(Make, &str)]) -> Result<Vec<(Make, Target)>, PlanError> {
        let words = names.iter().map(|(_, name)| *name).collect::<Vec<_>>().join("=…, ");
        let allowed = format!("1 to {MAX_TARGETS} of {words}=…, such as voter=n4,gone=leader, or weight3@1=n4");
        self.read("members", &allowed, |w| {
            let one = |part: &str| {
                let (name, node) = part.split_once('=')?;
                let named = names.iter().find(|(_, n)| *n == name).map(|(make, _)| *make);
                Some((named.or_else(|| weighing(name).map(Make::Weighing))?, target(node)?))
            };
            let all: Option<Vec<_>> = w.split(',').take(MAX_TARGETS + 1).map(one).collect();
            all.filter(|t| t.len() <= MAX_TARGETS)
        })
    }

    /// Nothing more.
    pub(super) fn end(mut self) -> Result<(), PlanError> {
        match self.0.next() {
            None => Ok(()),
            Some(word) => Err(PlanError::new("the end of the line", format!("`{word}`"), "nothing more")),
        }
    }
}

/// `weight3@1`: what a voter is to count, and in which group.
fn weighing(word: &str) -> Option<Share> {
    let (weight, group) = word.strip_prefix("weight")?.split_once('@')?;
    // As in `target`, each is written in one way only.
    let number = |digits: &str| decimal(digits).filter(|n| n.to_string() == digits);
    let weight = u16::try_from(number(weight)?).ok().filter(|weight| *weight <= MAX_WEIGHT)?;
    let group = u8::try_from(number(group)?).ok().filter(|group| *group < MAX_GROUPS)?;
    Some(Share { weight, group })
}

fn target(word: &str) -> Option<Target> {
    if word == "leader" {
        return Some(Target::Leader);
    }
    // `n01` would be written back as `n1`.
    let number = |digits: &str| decimal(digits).filter(|n| n.to_string() == digits);
    if let Some(digits) = word.strip_prefix("other") {
        return number(digits).map(Target::Other);
    }
    number(word.strip_prefix('n')?).filter(|n| *n > 0).map(|n| Target::Node(NodeId(n)))
}
