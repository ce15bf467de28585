//! A plan as text: what is written down when a run fails, what people read and edit, and what stays in the tree.
//!
//! One `key value` per line for the shape, one line per fault, in order of time. `#` begins a comment. Every key is there
//! exactly once, so a plan never changes its meaning when a default does; the words are those of the table in [`keys`] and
//! of [`Fault::kind`], not of the Rust types, so renaming a field does not orphan the plans that are kept.
//!
//! ```text
//! plan 1
//! protocol raft
//! seed 0x00000000000003e8
//! voters 3
//! election-timeout 1s
//! mix put 40 delete 5 cas 15 read 30 local 10
//! at 1.25s power-loss leader back 800ms
//! at 2s cut n1,n2 -> leader for 3s
//! ```

mod faults;
pub mod keys;
mod numbers;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::str::FromStr;

use super::plan::{Fault, LoadShape, MachineShape, NetShape, Plan, Shape, Target, Timed};
use super::subject::Timing;
use crate::types::{Micros, NodeId};
pub use faults::KINDS;
use keys::{KEYS, MIX};
pub use numbers::span_text;
use words::Words;

/// The version of the format, on the first line that counts.
pub const VERSION: u64 = 1;
/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// The most faults in one plan.
pub const MAX_FAULTS: usize = 10_000;
/// The most nodes on one side of a cut.
pub const MAX_TARGETS: usize = 16;
/// The longest span of time in a plan, and the latest moment: one day.
pub const MAX_SPAN: Micros = Micros(86_400_000_000);

/// Why a text is no plan, or a plan cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{field}: {value} is not allowed: it must be {allowed}", line.map(|n| format!("line {n}: ")).unwrap_or_default())]
pub struct PlanError {
    /// Which line, from 1; none for a plan that was not read from text.
    pub line: Option<usize>,
    /// Which key, or which part of a fault.
    pub field: String,
    /// What stands there, shortened.
    pub value: String,
    /// What may stand there.
    pub allowed: String,
}

impl PlanError {
    fn new(field: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(60) {
            value.truncate(end);
            value.push('…');
        }
        Self { line: None, field: field.into(), value, allowed: allowed.into() }
    }

    fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {VERSION}\nprotocol {}\nseed {:#018x}", self.protocol, self.seed)?;
        for key in KEYS {
            writeln!(f, "{} {}", key.name, key.unit.text((key.get)(&self.shape)))?;
        }
        write!(f, "mix")?;
        for (word, part) in MIX.into_iter().zip(self.shape.load.mix) {
            write!(f, " {word} {part}")?;
        }
        writeln!(f)?;
        self.faults.iter().try_for_each(|t| writeln!(f, "{t}"))
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {}", span_text(self.at), self.fault)
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        if text.len() > MAX_TEXT {
            return Err(PlanError::new(
                "the plan",
                format!("a text of {} bytes", text.len()),
                format!("at most {MAX_TEXT} bytes"),
            ));
        }
        let mut reader = Reader::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if !line.is_empty() {
                reader.line(line).map_err(|e| e.at(i + 1))?;
            }
        }
        let plan = reader.done()?;
        plan.validate()?;
        Ok(plan)
    }
}

impl Plan {
    /// Reads a plan from its text.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        text.parse()
    }

    /// Whether it can run: every number in its range, every fault at a node that exists, in order of time.
    pub fn validate(&self) -> Result<(), PlanError> {
        protocol(&self.protocol)?;
        for key in KEYS {
            key.check((key.get)(&self.shape))?;
        }
        let Timing { election_timeout, heartbeat, .. } = self.shape.timing;
        if heartbeat.0 * 2 > election_timeout.0 {
            let allowed = format!("at most half of election-timeout, {}", span_text(election_timeout));
            return Err(PlanError::new("heartbeat", span_text(heartbeat), allowed));
        }
        let sum: u32 = self.shape.load.mix.into_iter().map(u32::from).sum();
        if sum != 100 {
            return Err(PlanError::new("mix", format!("a sum of {sum}"), "parts with the sum 100"));
        }
        if self.faults.len() > MAX_FAULTS {
            return Err(PlanError::new(
                "the plan",
                format!("{} faults", self.faults.len()),
                format!("at most {MAX_FAULTS}"),
            ));
        }
        let nodes = self.shape.voters + self.shape.observers;
        let mut last = Micros(0);
        for timed in &self.faults {
            if timed.at < last || timed.at > MAX_SPAN {
                let allowed = format!("in order of time, from {} to {}", span_text(last), span_text(MAX_SPAN));
                return Err(PlanError::new("at", timed, allowed));
            }
            last = timed.at;
            timed.fault.check()?;
            if let Some(n) = timed.fault.nodes().into_iter().find(|n| !(1..=nodes).contains(&n.0)) {
                return Err(PlanError::new("node", format!("{n} in `{timed}`"), format!("n1 to n{nodes}")));
            }
        }
        Ok(())
    }
}

/// A name that cannot be taken for anything else in a file or on a command line.
fn protocol(name: &str) -> Result<(), PlanError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(good) {
        return Err(PlanError::new("protocol", format!("`{name}`"), "1 to 32 of a-z, 0-9 and -"));
    }
    Ok(())
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    version: bool,
    protocol: Option<String>,
    seed: Option<u64>,
    values: [Option<u64>; KEYS.len()],
    mix: Option<[u8; 5]>,
    faults: Vec<Timed>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), PlanError> {
        let mut words = Words::new(line);
        let key = words.next("key", "a key")?;
        if key != "plan" && !self.version {
            return Err(PlanError::new("plan", format!("`{key}`"), format!("`plan {VERSION}`, before anything else")));
        }
        match key {
            "plan" => {
                if words.number("plan", 0, u64::MAX)? != VERSION {
                    return Err(PlanError::new(
                        "plan",
                        format!("`{line}`"),
                        format!("{VERSION}, the only version yet"),
                    ));
                }
                once("plan", std::mem::replace(&mut self.version, true))?;
            }
            "protocol" => {
                let name = words.next("protocol", "the name of a protocol")?;
                protocol(name)?;
                once("protocol", self.protocol.replace(name.to_owned()).is_some())?;
            }
            "seed" => {
                let seed = words.seed()?;
                once("seed", self.seed.replace(seed).is_some())?;
            }
            "mix" => {
                let mut mix = [0; 5];
                for (word, part) in MIX.into_iter().zip(&mut mix) {
                    words.keyword(word)?;
                    *part = words.number(word, 0, 100)? as u8;
                }
                once("mix", self.mix.replace(mix).is_some())?;
            }
            "at" => {
                if self.faults.len() == MAX_FAULTS {
                    return Err(PlanError::new("at", "one more fault", format!("one of at most {MAX_FAULTS}")));
                }
                let at = words.span("at")?;
                self.faults.push(Timed { at, fault: Fault::read(&mut words)? });
            }
            _ => {
                let Some(i) = KEYS.iter().position(|k| k.name == key) else {
                    let names: Vec<_> = KEYS.iter().map(|k| k.name).collect();
                    let allowed = format!("protocol, seed, mix, at, {}", names.join(", "));
                    return Err(PlanError::new("key", format!("`{key}`"), allowed));
                };
                let value = KEYS[i].read(words.next(KEYS[i].name, KEYS[i].unit.says())?)?;
                once(key, self.values[i].replace(value).is_some())?;
            }
        }
        words.end()
    }

    fn done(self) -> Result<Plan, PlanError> {
        let missing = |key: &str| PlanError::new(key, "nothing", "given, once");
        let mut shape = blank();
        for (key, value) in KEYS.iter().zip(self.values) {
            (key.set)(&mut shape, value.ok_or_else(|| missing(key.name))?);
        }
        shape.load.mix = self.mix.ok_or_else(|| missing("mix"))?;
        Ok(Plan {
            protocol: self.protocol.ok_or_else(|| missing("protocol"))?,
            seed: self.seed.ok_or_else(|| missing("seed"))?,
            shape,
            faults: self.faults,
        })
    }
}

fn once(key: &str, again: bool) -> Result<(), PlanError> {
    if again { Err(PlanError::new(key, "a second line", "given once")) } else { Ok(()) }
}

/// A shape in which nothing has been filled in.
fn blank() -> Shape {
    let net = NetShape { delay_us: 0, jitter_us: 0, silence_us: 0, window_bytes: 0, queue_bytes: 0, redial_us: 0 };
    let machine = MachineShape {
        sync_us: 0,
        write_us: 0,
        turn_us: 0,
        apply_us: 0,
        segment_bytes: 0,
        snapshot_entries: 0,
        tail_entries: 0,
        cache_bytes: 0,
        limits: 0,
    };
    let load = LoadShape {
        clients: 0,
        per_second: 0,
        keys: 0,
        value_bytes: 0,
        mix: [0; 5],
        retry_us: 0,
        duplicates: 0,
        limits: 0,
    };
    let timing = Timing { election_timeout: Micros(0), heartbeat: Micros(0), drift: 0, limits: 0 };
    Shape { voters: 0, observers: 0, timing, span: Micros(0), net, machine, load }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(NodeId(n)) => write!(f, "n{n}"),
            Self::Leader => write!(f, "leader"),
            Self::Other(n) => write!(f, "other{n}"),
        }
    }
}
