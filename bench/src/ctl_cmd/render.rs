//! How ids, values and entries are shown. Nothing shown loses anything: what is not text is escaped.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use common::client::wire::Envelope;
use common::entries::EntryKind;
use common::membership::Membership;
use common::state_machine::kv::Command;
use common::storage::LogLine;
use common::types::{LogId, Member};
use serde_json::{Map, Value, json};

use crate::cli::Protocol;

/// A log id as its protocol's users write it. Raft: `term/index`. ZAB: the zxid, epoch in the high half.
pub fn id(protocol: Protocol, id: LogId) -> String {
    match (protocol, u32::try_from(id.epoch), u32::try_from(id.counter)) {
        (Protocol::Zab, Ok(epoch), Ok(counter)) => format!("{:#x}", u64::from(epoch) << 32 | u64::from(counter)),
        _ => format!("{}/{}", id.epoch, id.counter),
    }
}

/// A log id in JSON: its two numbers, and the text of [`id`].
pub fn id_json(protocol: Protocol, at: LogId) -> Value {
    json!({ "epoch": at.epoch, "counter": at.counter, "text": id(protocol, at) })
}

/// Reads what [`id`] writes; also `epoch,counter`.
pub fn parse_id(text: &str) -> Result<LogId, String> {
    let wanted = || format!("`{text}` is no log id: expected 3/17 (or 3,17), or a zxid as in 0x300000011");
    if let Some(hex) = text.strip_prefix("0x") {
        let zxid = u64::from_str_radix(hex, 16).map_err(|_| wanted())?;
        return Ok(LogId::new(zxid >> 32, zxid & u64::from(u32::MAX)));
    }
    let (epoch, counter) = text.split_once(['/', ',']).ok_or_else(wanted)?;
    let number = |s: &str| s.trim().parse::<u64>().map_err(|_| wanted());
    Ok(LogId::new(number(epoch)?, number(counter)?))
}

/// Bytes on one line: text as it is, but backslashes, control characters and what is not UTF-8 as `\\`, `\n`, `\xff`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Reads hexadecimal digits.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{text}` is not hexadecimal: expected pairs of 0-9 and a-f, as in 00ff");
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(wrong());
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).map_err(|_| wrong())).collect()
}

/// Puts bytes in a JSON object: as `name` if they are UTF-8, otherwise as `name_hex`.
pub fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

/// `voter` or `observer`.
pub fn member(m: Member) -> &'static str {
    match m {
        Member::Voter => "voter",
        Member::Observer => "observer",
    }
}

/// A table without lines, for text.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table's text, without the blanks at the ends of its lines.
pub fn table_text(table: &Table) -> String {
    table.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// What a log entry holds, for people: session bookkeeping, a command of the key-value store, raw bytes.
pub fn entry(protocol: Protocol, line: &LogLine) -> (String, Value) {
    let mut object = Map::new();
    object.insert("id".into(), id_json(protocol, line.id));
    object.insert("bytes".into(), line.payload.len().into());
    let text = match line.kind {
        EntryKind::Command => command(protocol, &line.payload, &mut object),
        EntryKind::Noop => {
            object.insert("kind".into(), "noop".into());
            "no-op of a new leader".into()
        }
        EntryKind::Membership => {
            object.insert("kind".into(), "membership".into());
            if let Some(membership) = Membership::decode(&line.payload) {
                object.insert("members".into(), membership.to_string().into());
                format!("members {membership}")
            } else {
                put_bytes(&mut object, "data", &line.payload);
                format!("members, not understood: {}", escape(&line.payload))
            }
        }
    };
    (text, Value::Object(object))
}

fn command(protocol: Protocol, payload: &[u8], object: &mut Map<String, Value>) -> String {
    let mut kind = |kind: &str| _ = object.insert("kind".into(), kind.into());
    match postcard::take_from_bytes::<Envelope>(payload) {
        Ok((Envelope::Open, _)) => {
            kind("open");
            "opens a session".into()
        }
        Ok((Envelope::Raw, data)) => {
            kind("raw");
            put_bytes(object, "data", data);
            format!("raw {}", escape(data))
        }
        Ok((Envelope::Write { session, seq, .. }, data)) => {
            kind("write");
            object.insert("session".into(), id_json(protocol, session.0));
            object.insert("seq".into(), seq.into());
            kv_command(data, object)
        }
        Ok((Envelope::Expire { upto }, _)) => {
            kind("expire");
            object.insert("upto".into(), id_json(protocol, upto));
            format!("drops the sessions last used at or before {}", id(protocol, upto))
        }
        Err(_) => {
            kind("unknown");
            put_bytes(object, "data", payload);
            format!("not understood: {}", escape(payload))
        }
    }
}

fn kv_command(data: &[u8], object: &mut Map<String, Value>) -> String {
    let (name, key, value) = match Command::decode(data) {
        Ok(Command::Put { key, value }) => ("put", key, Some(value)),
        Ok(Command::Delete { key }) => ("delete", key, None),
        Ok(Command::CompareAndSet { key, expected, value }) => {
            match expected {
                Some(expected) => put_bytes(object, "expected", expected),
                None => _ = object.insert("expected".into(), Value::Null),
            }
            ("cas", key, Some(value))
        }
        Err(_) => {
            put_bytes(object, "data", data);
            return format!("not understood: {}", escape(data));
        }
    };
    object.insert("command".into(), name.into());
    put_bytes(object, "key", key);
    let mut text = format!("{name} {}", escape(key));
    if let Some(value) = value {
        put_bytes(object, "value", value);
        text.push(' ');
        text.push_str(&escape(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_look_as_their_users_write_them() {
        let at = LogId::new(3, 4);
        assert_eq!((id(Protocol::Raft, at), id(Protocol::Zab, at)), ("3/4".into(), "0x300000004".into()));
        assert_eq!(id(Protocol::Zab, LogId::new(1, 1 << 40)), "1/1099511627776");
        assert_eq!(id(Protocol::Zab, LogId::ZERO), "0x0");
        for bad in ["", "3", "0xg", "3/", "-1/2"] {
            assert!(parse_id(bad).unwrap_err().contains("expected 3/17"), "{bad}");
        }
        assert_eq!(parse_id("3,4"), Ok(at));
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        assert_eq!(escape(b"a\\b\n\x1b\xff\xc3\xa4"), "a\\\\b\\n\\u{1b}\\xff\u{e4}");
        let mut object = Map::new();
        put_bytes(&mut object, "value", b"\xff");
        put_bytes(&mut object, "key", b"k");
        assert_eq!(Value::Object(object), json!({"value_hex": "ff", "key": "k"}));
        assert!(parse_hex("0").is_err() && parse_hex("zz").is_err() && parse_hex("\u{e4}").is_err());
    }

    proptest! {
        #[test]
        fn hex_reads_back(bytes: Vec<u8>) {
            prop_assert_eq!(parse_hex(&hex(&bytes)), Ok(bytes));
        }

        #[test]
        fn ids_read_back(epoch in 0u64..1 << 33, counter in 0u64..1 << 33, zab: bool) {
            let protocol = if zab { Protocol::Zab } else { Protocol::Raft };
            let at = LogId::new(epoch, counter);
            prop_assert_eq!(parse_id(&id(protocol, at)), Ok(at));
        }

        /// Two different values never look alike.
        #[test]
        fn escaping_loses_nothing(a in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'x'), Just(b'f'), any::<u8>()], 0..8), b in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'x'), Just(b'f'), any::<u8>()], 0..8)) {
            prop_assert_eq!(escape(&a) == escape(&b), a == b);
        }
    }
}
