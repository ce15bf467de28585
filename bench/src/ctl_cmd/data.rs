//! The commands that read and write the key-value store, and the one that appends to the log beside it.

use std::io::Read as _;
use std::path::Path;

use common::client::wire::ReadMode;
use common::types::LogId;
use serde_json::{Map, Value};

use super::Link;
use super::link::Swap;
use super::render::{escape, hex, id, id_json, parse_hex, put_bytes};
use crate::cli::{Exit, Fail, Ui};

/// How a value is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// On one line, escaped.
    Text,
    /// On one line, as hexadecimal digits.
    Hex,
    /// As it is.
    Raw,
}

impl Show {
    pub(super) fn line(hex: bool) -> Self {
        if hex { Self::Hex } else { Self::Text }
    }

    fn text(self, bytes: &[u8]) -> String {
        if self == Self::Hex { hex(bytes) } else { escape(bytes) }
    }
}

pub(super) fn mode(local: bool, lease: bool, sync: bool) -> ReadMode {
    match (local, lease, sync) {
        (true, ..) => ReadMode::Local,
        (false, true, _) => ReadMode::Lease,
        (false, false, true) => ReadMode::Sync,
        (false, false, false) => ReadMode::Linearizable,
    }
}

/// An argument as bytes.
pub(super) fn bytes(text: &str, hex: bool) -> Result<Vec<u8>, Fail> {
    if hex { parse_hex(text).map_err(Fail::usage) } else { Ok(text.as_bytes().to_vec()) }
}

/// A value from an argument or a file.
pub(super) fn value(text: Option<&str>, file: Option<&Path>, hex: bool) -> Result<Vec<u8>, Fail> {
    match (text, file) {
        (Some(text), _) => bytes(text, hex),
        (None, Some(path)) => read_file(path),
        (None, None) => Err(Fail::usage("expected a value or --file")),
    }
}

/// A value from a file. Longer ones than the store takes are refused before all of it is in memory.
fn read_file(path: &Path) -> Result<Vec<u8>, Fail> {
    const MOST: u64 = 64 << 20;
    let from: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = std::fs::File::open(path);
        Box::new(file.map_err(|e| Fail::usage(format!("cannot read {}: {e}", path.display())))?)
    };
    let mut value = Vec::new();
    let read = from.take(MOST + 1).read_to_end(&mut value);
    let read = read.map_err(|e| Fail::usage(format!("cannot read {}: {e}", path.display())))?;
    if read as u64 > MOST {
        return Err(Fail::usage(format!("{} has more than {MOST} bytes, the most a value may have", path.display())));
    }
    Ok(value)
}

/// An object with the id at which the answer holds.
fn answer(link: &Link, at: LogId) -> Map<String, Value> {
    Map::from_iter([("protocol".into(), link.protocol().name().into()), ("at".into(), id_json(link.protocol(), at))])
}

fn written(link: &Link, ui: Ui, what: &str, at: LogId, more: &[(&str, Value)]) -> anyhow::Result<()> {
    if ui.json {
        let mut object = answer(link, at);
        object.extend(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        return ui.json_line(&object);
    }
    ui.line(format!("{what} {}", id(link.protocol(), at)))
}

pub(super) async fn put(link: &Link, ui: Ui, key: &[u8], value: &[u8]) -> anyhow::Result<Exit> {
    let at = link.put(key, value).await?;
    written(link, ui, "written at", at, &[])?;
    Ok(Exit::Good)
}

pub(super) async fn append(link: &Link, ui: Ui, data: &[u8]) -> anyhow::Result<Exit> {
    let at = link.append(data).await?;
    written(link, ui, "appended at", at, &[])?;
    Ok(Exit::Good)
}

pub(super) async fn delete(link: &Link, ui: Ui, key: &[u8]) -> anyhow::Result<Exit> {
    let (existed, at) = link.delete(key).await?;
    written(link, ui, if existed { "deleted at" } else { "no such key at" }, at, &[("existed", existed.into())])?;
    Ok(Exit::Good)
}

pub(super) async fn cas(
    link: &Link,
    ui: Ui,
    key: &[u8],
    expected: Option<&[u8]>,
    value: &[u8],
) -> anyhow::Result<Exit> {
    match link.cas(key, expected, value).await? {
        Swap::Done(at) => {
            written(link, ui, "swapped at", at, &[("swapped", true.into())])?;
            Ok(Exit::Good)
        }
        Swap::Differs { found, at } => {
            if ui.json {
                let mut object = answer(link, at);
                object.insert("swapped".into(), false.into());
                match &found {
                    Some(found) => put_bytes(&mut object, "found", found),
                    None => _ = object.insert("found".into(), Value::Null),
                }
                ui.json_line(&object)?;
            } else {
                let found = found.map_or("no value".into(), |f| format!("`{}`", escape(&f)));
                let wanted = expected.map_or("no value".into(), |e| format!("`{}`", escape(e)));
                ui.say(format!("not swapped: expected {wanted}, found {found}"));
            }
            Ok(Exit::CheckFailed)
        }
    }
}

pub(super) async fn get(link: &Link, ui: Ui, key: &[u8], mode: ReadMode, show: Show) -> anyhow::Result<Exit> {
    let (value, reply) = link.get(key, mode).await?;
    if ui.json {
        let mut object = answer(link, reply.at);
        if mode == ReadMode::Local {
            object.insert("stale_us".into(), reply.stale.map(|d| d.as_micros() as u64).into());
        }
        put_bytes(&mut object, "key", key);
        match &value {
            Some(value) => put_bytes(&mut object, "value", value),
            None => _ = object.insert("value".into(), Value::Null),
        }
        ui.json_line(&object)?;
    } else if let Some(value) = &value {
        if show == Show::Raw { ui.bytes(value)? } else { ui.line(show.text(value))? }
    } else {
        ui.say(format!("no such key: {}", escape(key)));
    }
    if mode == ReadMode::Local && !ui.json {
        ui.say(match reply.stale {
            Some(age) => format!("sees all that was answered up to {age:?} before"),
            None => "this node cannot say how old that is".to_owned(),
        });
    }
    Ok(if value.is_some() { Exit::Good } else { Exit::CheckFailed })
}

pub(super) async fn list(
    link: &Link,
    ui: Ui,
    prefix: &[u8],
    max: u64,
    mode: ReadMode,
    show: Show,
) -> anyhow::Result<Exit> {
    let mut left = if max == 0 { u64::MAX } else { max };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = link.list(prefix, after.as_deref(), u32::try_from(left).unwrap_or(u32::MAX), mode).await?;
        for (key, value) in &page.pairs {
            if ui.json {
                let mut object = Map::new();
                put_bytes(&mut object, "key", key);
                put_bytes(&mut object, "value", value);
                ui.json_line(&object)?;
            } else {
                ui.line(format!("{}\t{}", show.text(key), show.text(value)))?;
            }
        }
        left = left.saturating_sub(page.pairs.len() as u64);
        let last = page.pairs.last().map(|(key, _)| key.to_vec());
        if left == 0 && page.more {
            ui.say("more keys follow; --max 0 shows all");
        }
        // Without a last key there is no next page to ask for.
        if left == 0 || !page.more || last.is_none() {
            return Ok(Exit::Good);
        }
        after = last;
    }
}
