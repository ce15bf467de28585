//! Our own format: one JSON object a line, the first of them about the file.
//!
//! ```text
//! {"k":"meta","v":1,"model":"kv"}
//! {"k":"invoke","p":1,"t":120500,"op":"put","key":"x","value":"a"}
//! {"k":"ok","p":1,"t":121900,"op":"put"}
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{FileError, VERSION};
use crate::check::history::{Call, End, Event, History, Model, Operation, Outcome, What};
use crate::client::wire::SessionId;
use crate::types::{LogId, Micros};

const TEXT: &str = "a text, a whole number, or {\"hex\":\"00ff…\"}";
const OPS: &str = "get, put, delete, cas, read or write";

/// One line as an object, with what is asked of its fields.
struct Fields {
    line: u64,
    map: Map<String, Value>,
}

impl Fields {
    fn parse(line: u64, text: &str) -> Result<Self, FileError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Self { line, map }),
            Ok(other) => Err(syntax(line, format!("{other} is no object"))),
            Err(e) => Err(syntax(line, e.to_string())),
        }
    }

    fn wrong<T>(&self, field: &str, value: &Value, allowed: impl Into<String>) -> Result<T, FileError> {
        Err(FileError::field(self.line, field, value, allowed))
    }

    fn take(&mut self, field: &'static str, allowed: &'static str) -> Result<Value, FileError> {
        self.map.remove(field).ok_or(FileError::Missing { line: self.line, field, allowed })
    }

    fn number(&mut self, field: &'static str) -> Result<u64, FileError> {
        let allowed = "a whole number from 0 on";
        let value = self.take(field, allowed)?;
        value.as_u64().map_or_else(|| self.wrong(field, &value, allowed), Ok)
    }

    fn word(&mut self, field: &'static str, allowed: &'static str) -> Result<String, FileError> {
        match self.take(field, allowed)? {
            Value::String(word) => Ok(word),
            other => self.wrong(field, &other, allowed),
        }
    }

    fn flag(&mut self, field: &'static str) -> Result<Option<bool>, FileError> {
        match self.map.remove(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => self.wrong(field, &other, "true or false"),
        }
    }

    /// A value that may be null for "absent".
    fn value(&mut self, field: &'static str) -> Result<Option<Bytes>, FileError> {
        let value = self.take(field, "a value, or null for `absent`")?;
        if value.is_null() { Ok(None) } else { self.bytes(field, &value).map(Some) }
    }

    fn present(&mut self, field: &'static str) -> Result<Bytes, FileError> {
        let value = self.take(field, TEXT)?;
        self.bytes(field, &value)
    }

    fn bytes(&self, field: &str, value: &Value) -> Result<Bytes, FileError> {
        let bytes = match value {
            Value::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Value::Number(n) if n.is_u64() || n.is_i64() => Some(n.to_string().into()),
            Value::Object(map) if map.len() == 1 => map.get("hex").and_then(Value::as_str).and_then(from_hex),
            _ => None,
        };
        bytes.map_or_else(|| self.wrong(field, value, TEXT), Ok)
    }

    fn id(&mut self, field: &'static str) -> Result<Option<LogId>, FileError> {
        let Some(value) = self.map.remove(field) else { return Ok(None) };
        let numbers = value.as_array().map(|a| a.iter().map(Value::as_u64).collect::<Vec<_>>());
        match numbers.as_deref() {
            Some([Some(epoch), Some(counter)]) => Ok(Some(LogId::new(*epoch, *counter))),
            _ => self.wrong(field, &value, "[epoch, counter], two whole numbers"),
        }
    }

    /// Nothing may be left.
    fn end(self, kind: &str) -> Result<(), FileError> {
        match self.map.iter().next() {
            None => Ok(()),
            Some((field, value)) => self.wrong(field, value, format!("left out: no such field in this `{kind}` line")),
        }
    }
}

fn syntax(line: u64, problem: String) -> FileError {
    FileError::Syntax { line, problem, expected: "a JSON object" }
}

/// The first line: the model, and what keys hold at first. Further fields say where the history is from.
pub(super) fn meta(line: u64, text: &str) -> Result<(Option<Model>, BTreeMap<Bytes, Bytes>), FileError> {
    let mut fields = Fields::parse(line, text)?;
    let kind = fields.word("k", "\"meta\" on the first line")?;
    if kind != "meta" {
        return Err(FileError::field(line, "k", kind, "\"meta\" on the first line"));
    }
    let version = fields.number("v")?;
    if version != VERSION {
        return Err(FileError::field(line, "v", version, format!("{VERSION}, the version that this program knows")));
    }
    let model = match fields.map.remove("model") {
        None => None,
        Some(name) => match name.as_str().and_then(Model::parse) {
            Some(model) => Some(model),
            None => return fields.wrong("model", &name, "register, cas-register or kv"),
        },
    };
    let mut initial = BTreeMap::new();
    let list = fields.map.remove("initial").unwrap_or_else(|| json!([]));
    let Some(pairs) = list.as_array() else {
        return fields.wrong("initial", &list, "a list of {\"key\":…,\"value\":…}");
    };
    for pair in pairs {
        let Some(map) = pair.as_object() else {
            return fields.wrong("initial", pair, "{\"key\":…,\"value\":…}");
        };
        let mut pair = Fields { line, map: map.clone() };
        let key = if pair.map.contains_key("key") { pair.present("key")? } else { Bytes::new() };
        initial.insert(key, pair.present("value")?);
        pair.end("initial")?;
    }
    Ok((model, initial))
}

/// Any other line.
pub(super) fn event(line: u64, text: &str, open: &mut BTreeMap<u64, &'static str>) -> Result<Event, FileError> {
    let kinds = "invoke, ok, fail or info";
    let mut fields = Fields::parse(line, text)?;
    let kind = fields.word("k", kinds)?;
    let (process, time) = (fields.number("p")?, Micros(fields.number("t")?));
    let mut session = None;
    let what = match kind.as_str() {
        "invoke" => {
            let (name, call) = call(&mut fields)?;
            open.insert(process, name);
            if let Some(id) = fields.id("session")? {
                session = Some((SessionId(id), fields.number("seq")?));
            }
            let key = if fields.map.contains_key("key") { fields.present("key")? } else { Bytes::new() };
            What::Invoke { key, call }
        }
        "ok" | "fail" | "info" => {
            // A process that asked nothing is found when the history is judged.
            let asked = open.remove(&process).unwrap_or("put");
            if let Some(op) = fields.map.remove("op")
                && op.as_str().and_then(canonical) != canonical(asked)
            {
                return fields.wrong("op", &op, format!("\"{asked}\", which process {process} invoked"));
            }
            match kind.as_str() {
                "ok" => What::Ok(outcome(&mut fields, asked)?),
                "fail" => What::Fail,
                _ => What::Info,
            }
        }
        _ => return Err(FileError::field(line, "k", kind, kinds)),
    };
    let at = fields.id("at")?;
    fields.end(&kind)?;
    Ok(Event { process, time, what, at, session })
}

/// The operations' names, each with the one it means.
fn canonical(name: &str) -> Option<&'static str> {
    Some(match name {
        "get" | "read" => "get",
        "put" | "write" => "put",
        "delete" => "delete",
        "cas" => "cas",
        _ => return None,
    })
}

fn call(fields: &mut Fields) -> Result<(&'static str, Call), FileError> {
    let op = fields.word("op", OPS)?;
    let Some(name) = canonical(&op) else {
        return Err(FileError::field(fields.line, "op", op, OPS));
    };
    let call = match name {
        "get" => Call::Read { local: fields.flag("local")?.unwrap_or(false) },
        "put" => Call::Write(fields.present("value")?),
        "delete" => Call::Delete,
        _ => Call::Cas { expected: fields.value("expected")?, value: fields.present("value")? },
    };
    Ok((name, call))
}

fn outcome(fields: &mut Fields, asked: &str) -> Result<Outcome, FileError> {
    Ok(match asked {
        "get" => Outcome::Value(fields.value("value")?),
        "delete" => fields.flag("existed")?.map_or(Outcome::Done, |existed| Outcome::Deleted { existed }),
        "cas" => match fields.flag("swapped")? {
            None => Outcome::Done,
            Some(true) => Outcome::Swapped,
            Some(false) if fields.map.contains_key("found") => Outcome::Differs { found: Some(fields.value("found")?) },
            Some(false) => Outcome::Differs { found: None },
        },
        _ => Outcome::Done,
    })
}

fn from_hex(text: &str) -> Option<Bytes> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| d.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A value as it is written: as text if it is text.
pub fn value_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            json!({"hex": bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from_digit(d.into(), 16)).collect::<Option<String>>()})
        }
    }
}

fn optional(value: Option<&Bytes>) -> Value {
    value.map_or(Value::Null, |v| value_json(v))
}

/// Writes a history, with `about` as further fields of the meta line (what recorded it, under which seed).
pub fn write(model: Model, history: &History, about: &Map<String, Value>, out: &mut dyn Write) -> io::Result<()> {
    let pair = |(k, v): (&Bytes, &Bytes)| json!({"key": value_json(k), "value": value_json(v)});
    let initial: Vec<Value> = history.initial.iter().map(pair).collect();
    let mut meta = json!({"k": "meta", "v": VERSION, "model": model.name()});
    if !initial.is_empty() {
        meta["initial"] = initial.into();
    }
    for (field, value) in about {
        if meta.get(field).is_none() {
            meta[field] = value.clone();
        }
    }
    writeln!(out, "{meta}")?;
    let mut open: BTreeMap<u64, &'static str> = BTreeMap::new();
    for event in &history.events {
        let mut line = json!({"k": kind(&event.what), "p": event.process, "t": event.time.0});
        match &event.what {
            What::Invoke { key, call } => {
                open.insert(event.process, call.name(model));
                line["op"] = call.name(model).into();
                if model == Model::Kv {
                    line["key"] = value_json(key);
                }
                put_call(&mut line, call);
            }
            What::Ok(outcome) => put_outcome(&mut line, outcome),
            What::Fail | What::Info => {}
        }
        if !matches!(event.what, What::Invoke { .. })
            && let Some(op) = open.remove(&event.process)
        {
            line["op"] = op.into();
        }
        if let Some((SessionId(id), seq)) = event.session {
            (line["session"], line["seq"]) = (json!([id.epoch, id.counter]), seq.into());
        }
        if let Some(at) = event.at {
            line["at"] = json!([at.epoch, at.counter]);
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// One operation as an object: what was asked, and its end under `answer`. Fields are named as in a file.
pub fn operation_json(model: Model, operation: &Operation) -> Value {
    let Operation { process, key, call, end, .. } = operation;
    let mut ask = json!({"p": process, "op": call.name(model)});
    if model == Model::Kv {
        ask["key"] = value_json(key);
    }
    put_call(&mut ask, call);
    ask["answer"] = match end {
        End::Ok(outcome) => {
            let mut answer = json!({"k": "ok"});
            put_outcome(&mut answer, outcome);
            answer
        }
        End::Fail => json!({"k": "fail"}),
        End::Unknown => json!({"k": "info"}),
    };
    ask
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Invoke { .. } => "invoke",
        What::Ok(_) => "ok",
        What::Fail => "fail",
        What::Info => "info",
    }
}

fn put_call(line: &mut Value, call: &Call) {
    match call {
        Call::Read { local: true } => line["local"] = true.into(),
        Call::Read { local: false } | Call::Delete => {}
        Call::Write(value) => line["value"] = value_json(value),
        Call::Cas { expected, value } => {
            line["expected"] = optional(expected.as_ref());
            line["value"] = value_json(value);
        }
    }
}

fn put_outcome(line: &mut Value, outcome: &Outcome) {
    match outcome {
        Outcome::Done => {}
        Outcome::Value(value) => line["value"] = optional(value.as_ref()),
        Outcome::Deleted { existed } => line["existed"] = (*existed).into(),
        Outcome::Swapped => line["swapped"] = true.into(),
        Outcome::Differs { found } => {
            line["swapped"] = false.into();
            if let Some(found) = found {
                line["found"] = optional(found.as_ref());
            }
        }
    }
}
