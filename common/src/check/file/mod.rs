//! Histories as files: our own JSON lines, and the log lines of Jepsen.

mod jepsen;
mod jsonl;

use std::fmt;
use std::io::{self, BufRead, Read as _};

pub use jsonl::{operation_json, value_json, write};

use super::history::{EVENTS_MAX, History, HistoryError, Model};

/// The longest line, in bytes.
pub const LINE_MAX: usize = 8 << 20;
/// The longest file, in bytes.
pub const FILE_MAX: u64 = 2 << 30;
/// The version of our format.
pub const VERSION: u64 = 1;

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON lines, a meta line first.
    Duet,
    /// Lines of a Jepsen test's log: `INFO jepsen.util - PROCESS :invoke :write 3`. Others are left out.
    Jepsen,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Duet => "duet",
            Self::Jepsen => "jepsen",
        })
    }
}

/// A history as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What was asked and heard.
    pub history: History,
    /// What it is to be judged by, as far as the file says.
    pub model: Option<Model>,
    /// How it was written down.
    pub format: Format,
    /// The line of each event, counted from 1.
    pub lines: Vec<u64>,
}

impl Recorded {
    /// What is wrong with the history, with lines of the file instead of numbers of events.
    pub fn describe(&self, error: &HistoryError) -> String {
        let line =
            |event: usize| self.lines.get(event).map_or_else(|| format!("event {event}"), |l| format!("line {l}"));
        error.describe(&line)
    }
}

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum FileError {
    /// It cannot be read.
    #[error("line {line}: {error}")]
    Read { line: u64, error: io::Error },
    /// A line, or the file, is too long.
    #[error("line {line}: {what} is longer than {max} bytes, and no more is taken")]
    TooLong { line: u64, what: &'static str, max: u64 },
    /// Too many events.
    #[error("line {line}: more than {EVENTS_MAX} events, and no more are taken")]
    TooMany { line: u64 },
    /// Not text, not JSON, or not an object.
    #[error("line {line}: {problem}; expected {expected}")]
    Syntax { line: u64, problem: String, expected: &'static str },
    /// A field has a value that it cannot have.
    #[error("line {line}: {field} = {value}, must be {allowed}")]
    Field { line: u64, field: String, value: String, allowed: String },
    /// A field is missing.
    #[error("line {line}: `{field}` is missing; it must be {allowed}")]
    Missing { line: u64, field: &'static str, allowed: &'static str },
}

impl FileError {
    fn field(line: u64, field: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(80) {
            value.truncate(end);
            value.push('…');
        }
        Self::Field { line, field: field.into(), value, allowed: allowed.into() }
    }
}

/// Reads a history. Without a format it is told by the first line that is not empty: JSON lines start with `{`.
pub fn read(input: &mut dyn BufRead, format: Option<Format>) -> Result<Recorded, FileError> {
    let mut lines = Lines { input, buffer: Vec::new(), line: 0, bytes: 0 };
    let mut reader: Option<Reader> = None;
    while let Some((line, text)) = lines.next()? {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let reader = reader.get_or_insert_with(|| {
            let guess = if text.starts_with('{') { Format::Duet } else { Format::Jepsen };
            Reader::new(format.unwrap_or(guess))
        });
        if reader.recorded.lines.len() >= EVENTS_MAX {
            return Err(FileError::TooMany { line });
        }
        reader.line(line, text)?;
    }
    let empty = || Reader::new(format.unwrap_or(Format::Duet));
    Ok(reader.unwrap_or_else(empty).recorded)
}

/// What is read so far.
struct Reader {
    recorded: Recorded,
    /// What each process has open: its name, for lines that repeat it.
    open: std::collections::BTreeMap<u64, &'static str>,
    /// Whether the meta line has come.
    begun: bool,
}

impl Reader {
    fn new(format: Format) -> Self {
        let recorded = Recorded { history: History::default(), model: None, format, lines: Vec::new() };
        Self { recorded, open: std::collections::BTreeMap::new(), begun: false }
    }

    fn line(&mut self, line: u64, text: &str) -> Result<(), FileError> {
        let event = match self.recorded.format {
            Format::Duet if !self.begun => {
                self.begun = true;
                let (model, initial) = jsonl::meta(line, text)?;
                (self.recorded.model, self.recorded.history.initial) = (model, initial);
                return Ok(());
            }
            Format::Duet => Some(jsonl::event(line, text, &mut self.open)?),
            Format::Jepsen => jepsen::event(line, text, &mut self.open)?,
        };
        if let Some(event) = event {
            self.recorded.history.events.push(event);
            self.recorded.lines.push(line);
        }
        Ok(())
    }
}

/// Lines of bounded length.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    buffer: Vec<u8>,
    line: u64,
    bytes: u64,
}

impl Lines<'_> {
    /// The next line and its number from 1.
    fn next(&mut self) -> Result<Option<(u64, &str)>, FileError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let got = (&mut *self.input).take(LINE_MAX as u64 + 1).read_until(b'\n', &mut self.buffer);
        let got = got.map_err(|error| FileError::Read { line, error })?;
        self.bytes += got as u64;
        if got == 0 {
            return Ok(None);
        }
        if got > LINE_MAX {
            return Err(FileError::TooLong { line, what: "the line", max: LINE_MAX as u64 });
        }
        if self.bytes > FILE_MAX {
            return Err(FileError::TooLong { line, what: "the file", max: FILE_MAX });
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|e| FileError::Syntax {
            line,
            problem: format!("byte {} is no UTF-8", e.valid_up_to() + 1),
            expected: "text",
        })?;
        Ok(Some((line, text)))
    }
}

#[cfg(test)]
mod tests;
