//! The log lines of a Jepsen test (the etcd test of 2014, whose histories are published with verdicts).
//!
//! ```text
//! INFO  jepsen.util - 4   :invoke :cas   [1 3]
//! INFO  jepsen.util - 4   :fail   :cas   [1 3]
//! INFO  jepsen.util - 2   :info   :write :timed-out
//! ```
//!
//! They carry no times; their order is the order of events. A `:fail` of a compare-and-set means that it found another
//! value, unless a reason stands in place of the values; any other `:fail` means that nothing was done.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::FileError;
use crate::check::history::{Call, Event, Outcome, What};
use crate::types::Micros;

/// The event of a line; None if it is none of a client.
pub(super) fn event(line: u64, text: &str, open: &mut BTreeMap<u64, &'static str>) -> Result<Option<Event>, FileError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["INFO", "jepsen.util", "-", process, kind, op, rest @ ..] = &words[..] else { return Ok(None) };
    if *process == ":nemesis" {
        return Ok(None);
    }
    let process: u64 = process.parse().map_err(|_| FileError::field(line, "process", process, "a number"))?;
    let name = match *op {
        ":read" => "read",
        ":write" => "write",
        ":cas" => "cas",
        _ => return Err(FileError::field(line, "operation", op, ":read, :write or :cas")),
    };
    let values = rest.join(" ");
    if *kind == ":invoke" {
        let call = call(line, name, &values)?;
        open.insert(process, name);
        return Ok(Some(Event::new(process, Micros(0), What::Invoke { key: Bytes::new(), call })));
    }
    if let Some(asked) = open.remove(&process)
        && asked != name
    {
        return Err(FileError::field(line, "operation", op, format!(":{asked}, which process {process} invoked")));
    }
    let what = match (*kind, name) {
        (":ok", "read") => What::Ok(Outcome::Value(value(line, &values)?)),
        (":ok", "write") => What::Ok(Outcome::Done),
        (":ok", _) => What::Ok(Outcome::Swapped),
        (":fail", "cas") if values.starts_with('[') => What::Ok(Outcome::Differs { found: None }),
        (":fail", _) => What::Fail,
        (":info", _) => What::Info,
        _ => return Err(FileError::field(line, "type", kind, ":invoke, :ok, :fail or :info")),
    };
    Ok(Some(Event::new(process, Micros(0), what)))
}

fn call(line: u64, name: &str, values: &str) -> Result<Call, FileError> {
    let refused = |allowed| FileError::field(line, "value", values, allowed);
    Ok(match name {
        "read" => Call::Read { local: false },
        "write" => Call::Write(value(line, values)?.ok_or_else(|| refused("a value; nil cannot be written"))?),
        _ => {
            let pair = values.strip_prefix('[').and_then(|v| v.strip_suffix(']')).and_then(|v| v.split_once(' '));
            let (expected, new) = pair.ok_or_else(|| refused("two values, as in [1 3]"))?;
            let new = value(line, new)?.ok_or_else(|| refused("a new value that is not nil"))?;
            Call::Cas { expected: value(line, expected)?, value: new }
        }
    })
}

fn value(line: u64, text: &str) -> Result<Option<Bytes>, FileError> {
    if text == "nil" {
        return Ok(None);
    }
    if text.is_empty() || text.contains([' ', '[', ']']) || text.starts_with(':') {
        return Err(FileError::field(line, "value", format!("`{text}`"), "one word, or nil"));
    }
    Ok(Some(Bytes::copy_from_slice(text.as_bytes())))
}
