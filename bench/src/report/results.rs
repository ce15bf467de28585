//! The stored results of a run: the one JSON file from which tables, pages and pictures are made.
//!
//! The schema is numbered. Fields may be added within a number (readers ignore what they do not know, and every later
//! field has a default); renaming or removing one, or changing its unit, takes a new number. Times are microseconds and
//! sizes are bytes unless a name says otherwise.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::load::stats::{Latency, Sample};

/// The number of this schema.
pub const SCHEMA: u32 = 1;

/// The file's name in a run's folder.
pub const FILE: &str = "results.json";

/// Everything a `compare` or `load` run found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// What wrote it, with its version.
    pub tool: String,
    /// The exact command line, for running it again.
    pub command: String,
    /// When it started, UTC, as `2026-01-31T12:00:00Z`.
    pub started: String,
    /// How long it took altogether.
    pub seconds: f64,
    /// Where it ran.
    pub machine: Machine,
    /// What both protocols were given, in the order to be shown: name and value.
    pub configuration: Vec<(String, String)>,
    /// The protocols, in the order to be shown.
    pub protocols: Vec<String>,
    /// What was run, in order.
    pub scenarios: Vec<ScenarioResult>,
}

/// The machine, and how fast it is at what a replicated log lives on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// Logical cores the process may use.
    pub cores: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// Operating system and kernel release.
    pub kernel: String,
    /// Type of the file system that holds the logs.
    pub filesystem: String,
    /// One 4 KiB write and fdatasync on it, measured before the run: the median.
    pub fdatasync_us: Option<f64>,
    /// The same, 99th percentile.
    pub fdatasync_p99_us: Option<f64>,
    /// One byte over loopback TCP and back between two threads: the median.
    pub loopback_rtt_us: Option<f64>,
}

/// One scenario, run on each protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Its name, as `--only` takes it.
    pub name: String,
    /// A heading.
    pub title: String,
    /// What one can learn from it.
    pub shows: String,
    /// What one must not conclude from it.
    pub does_not_show: String,
    /// The command that runs it alone.
    pub command: String,
    /// One per protocol that was asked for.
    pub outcomes: Vec<Outcome>,
}

impl ScenarioResult {
    /// What one protocol did.
    pub fn outcome(&self, protocol: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|o| o.protocol == protocol)
    }
}

/// How one protocol did in one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `raft` or `zab`.
    pub protocol: String,
    /// Whether it holds what the scenario checks.
    pub verdict: Verdict,
    /// Each time it was run, in order of time.
    pub repetitions: Vec<Repetition>,
}

/// Whether what a scenario checks holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Verdict {
    /// Everything checked was as it must be.
    Pass,
    /// Something checked was not.
    Fail {
        /// What.
        reason: String,
    },
    /// It could not be found out.
    Inconclusive {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// The worse of two: a failure before an unknown before a pass.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Fail { .. }, _) | (Self::Inconclusive { .. }, Self::Pass | Self::Inconclusive { .. }) => self,
            _ => other,
        }
    }

    /// The reason, if it is not a pass.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Fail { reason } | Self::Inconclusive { reason } => Some(reason),
        }
    }

    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail { .. } => "FAIL",
            Self::Inconclusive { .. } => "unclear",
        }
    }
}

/// One run of one scenario on one protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// Its place in the order in which the protocols took turns, from 0.
    pub turn: u32,
    /// The figures it is summed up by, in the order to be shown.
    pub measures: Vec<Measure>,
    /// The loads that ran in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<LoadResult>,
    /// The leaders it killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kills: Vec<Kill>,
    /// The nodes it brought level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catch_ups: Vec<CatchUp>,
    /// Anything a reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Repetition {
    /// Adds a figure.
    pub fn measure(&mut self, name: &str, unit: Unit, better: Better, value: f64) {
        self.measures.push(Measure { name: name.to_owned(), unit, better, value });
    }

    /// The figure of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.measures.iter().find(|m| m.name == name).map(|m| m.value)
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name, the same for both protocols.
    pub name: String,
    /// What it is measured in.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
    /// Its value.
    pub value: f64,
}

/// Units of measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Operations per second.
    PerSecond,
    /// Microseconds.
    Micros,
    /// A number of things.
    Count,
    /// Things per committed entry, or per operation.
    PerEntry,
    /// The same in bytes.
    BytesPerEntry,
    /// The same in microseconds.
    MicrosPerEntry,
    /// Bytes.
    Bytes,
    /// A ratio, 1 meaning equal.
    Ratio,
}

/// Which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// It only describes.
    Neither,
}

/// What a load did, with all that is needed to draw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadResult {
    /// What was asked: clients, connections, bytes, mix, rate; in the order to be shown.
    pub settings: Vec<(String, String)>,
    /// Measured time, without warm-up.
    pub seconds: f64,
    /// Operations answered well within it.
    pub operations: u64,
    /// Per second.
    pub throughput: f64,
    /// How many ended otherwise, by kind.
    pub errors: BTreeMap<String, u64>,
    /// From the moment a request was sent to its answer.
    pub service: Latency,
    /// Open loop only: from the moment a request should have been sent to its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended: Option<Latency>,
    /// Open loop only: operations that were due and not sent when it ended. They are in no latency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unsent: u64,
    /// Length of one sample.
    pub interval_ms: u64,
    /// How it went over time.
    pub series: Vec<Sample>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A leader that was killed, and what a writer felt of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// Milliseconds from the start of the load's series.
    pub at_ms: u64,
    /// Who led.
    pub leader: u64,
    /// Who led next, if known.
    pub successor: Option<u64>,
    /// The longest time that one writer went without an answer around the kill.
    pub writer_gap_us: u64,
    /// The longest time that no writer got an answer.
    pub cluster_gap_us: u64,
}

/// A node that was brought level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Why it was behind: `a little behind`, `far behind`, `new observer`.
    pub case: String,
    /// What the leader decided on, by the protocol's own name: `append`, `snapshot`, `DIFF`, `SNAP`, ...
    pub kind: String,
    /// How many entries it was behind when it came back, if known.
    pub behind: Option<u64>,
    /// Entries sent for it.
    pub entries: u64,
    /// Payload and snapshot bytes sent for it.
    pub bytes: u64,
    /// From the start of its process until it had applied what the leader had.
    pub level_us: u64,
    /// The part of it that the leader's own clock saw, from decision to level.
    pub decision_to_level_us: Option<u64>,
}

impl Results {
    /// Reads the results of a run.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read results {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Reads results from their JSON form.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Number {
            schema: u32,
        }
        let found = serde_json::from_str::<Number>(text).context("these are not results of duet: no field `schema`")?;
        anyhow::ensure!(
            found.schema == SCHEMA,
            "results have schema {}, this program reads schema {SCHEMA}; rebuild the report with the version that wrote \
             them",
            found.schema
        );
        serde_json::from_str(text).context("results do not have the form of their schema")
    }

    /// The JSON form, on one line: it is for programs, and histograms are long.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("results have only string keys and finite numbers");
        text.push('\n');
        text
    }

    /// The worst verdict of all.
    pub fn verdict(&self) -> Verdict {
        self.scenarios.iter().flat_map(|s| &s.outcomes).fold(Verdict::Pass, |v, o| v.and(o.verdict.clone()))
    }
}
