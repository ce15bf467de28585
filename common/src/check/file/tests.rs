use super::*;
use crate::check::history::{Call, Outcome, What};
use crate::check::{HistoryError, Verdict, check};
use crate::client::wire::SessionId;
use crate::types::{LogId, Micros};

fn parse(text: &str) -> Result<Recorded, FileError> {
    read(&mut text.as_bytes(), None)
}

fn example() -> History {
    let mut h = History::default();
    h.initial.insert("y".into(), "old".into());
    let mut calls = vec![
        (Call::Read { local: false }, What::Ok(Outcome::Value(None))),
        (Call::Read { local: true }, What::Ok(Outcome::Value(Some("a".into())))),
        (Call::Write("q\"\n".into()), What::Ok(Outcome::Done)),
        (Call::Write(vec![0xff, 0x00].into()), What::Info),
        (Call::Delete, What::Ok(Outcome::Deleted { existed: false })),
        (Call::Delete, What::Fail),
    ];
    let cas = || Call::Cas { expected: None, value: "b".into() };
    let found = [None, Some(None), Some(Some("c".into()))];
    calls.extend(found.map(|found| (cas(), What::Ok(Outcome::Differs { found }))));
    calls.extend([Outcome::Swapped, Outcome::Done].map(|o| (cas(), What::Ok(o))));
    for (i, (call, end)) in calls.into_iter().enumerate() {
        h.push(i as u64, Micros(i as u64), What::Invoke { key: vec![0x80, i as u8].into(), call });
        h.push(i as u64, Micros(i as u64), end);
    }
    h.events[0].session = Some((SessionId(LogId::new(1, 2)), 3));
    h.events[1].at = Some(LogId::new(4, 5));
    h
}

#[test]
fn what_is_written_is_read_again() {
    let mut out = Vec::new();
    let about = serde_json::json!({"seed": 7, "v": "no field of the format can be changed"});
    write(Model::Kv, &example(), about.as_object().unwrap(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("{\"") && text.lines().next().unwrap().contains("\"seed\":7"), "{text}");
    let recorded = parse(&text).unwrap();
    assert_eq!((recorded.model, recorded.format), (Some(Model::Kv), Format::Duet));
    assert_eq!(recorded.history, example());
    assert_eq!(recorded.lines, (2..2 + example().events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn numbers_are_their_digits_and_blank_lines_are_left_out() {
    let text = "\n{\"k\":\"meta\",\"v\":1,\"model\":\"register\"}\n\n{\"k\":\"invoke\",\"p\":1,\"t\":0,\"op\":\"write\",\"value\":-3}\n";
    let recorded = parse(text).unwrap();
    let call = Call::Write("-3".into());
    assert_eq!(recorded.history.events[0].what, What::Invoke { key: "".into(), call });
    assert_eq!(recorded.lines, [4]);
}

#[track_caller]
fn refused(line: &str, parts: &[&str]) {
    let start = "{\"k\":\"meta\",\"v\":1}\n{\"k\":\"invoke\",\"p\":1,\"t\":5,\"op\":\"cas\",\"key\":\"x\",\"expected\":null,\"value\":\"a\"}\n";
    let error = parse(&format!("{start}{line}\n")).unwrap_err().to_string();
    for part in ["line 3: "].iter().chain(parts) {
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn an_error_names_line_field_value_and_what_is_allowed() {
    refused("{\"k\":\"ok\"", &["EOF", "expected a JSON object"]);
    refused("[1]", &["[1] is no object"]);
    refused("{\"k\":\"maybe\",\"p\":1,\"t\":5}", &["k = maybe", "must be invoke, ok, fail or info"]);
    refused("{\"k\":\"ok\",\"t\":5}", &["`p` is missing", "a whole number from 0 on"]);
    refused("{\"k\":\"ok\",\"p\":1,\"t\":-5}", &["t = -5", "a whole number from 0 on"]);
    refused("{\"k\":\"ok\",\"p\":1,\"t\":5,\"op\":\"put\"}", &["op = \"put\"", "\"cas\", which process 1 invoked"]);
    refused("{\"k\":\"ok\",\"p\":1,\"t\":5,\"swapped\":1}", &["swapped = 1", "true or false"]);
    refused("{\"k\":\"ok\",\"p\":1,\"t\":5,\"existed\":true}", &["existed = true", "no such field in this `ok` line"]);
    refused("{\"k\":\"ok\",\"p\":1,\"t\":5,\"at\":[1]}", &["at = [1]", "[epoch, counter]"]);
    refused("{\"k\":\"invoke\",\"p\":2,\"t\":5,\"op\":\"add\"}", &["op = add", "get, put, delete, cas, read or write"]);
    refused(
        "{\"k\":\"invoke\",\"p\":2,\"t\":5,\"op\":\"put\",\"value\":{\"hex\":\"0g\"}}",
        &["value = {\"hex\":\"0g\"}"],
    );
    refused("{\"k\":\"invoke\",\"p\":2,\"t\":5,\"op\":\"put\",\"value\":1.5}", &["value = 1.5", "a whole number"]);
    refused("{\"k\":\"invoke\",\"p\":2,\"t\":5,\"op\":\"put\"}", &["`value` is missing"]);
    refused("{\"k\":\"invoke\",\"p\":2,\"t\":5,\"op\":\"get\",\"session\":[1,2]}", &["`seq` is missing"]);
    let meta = |line: &str| parse(line).unwrap_err().to_string();
    assert!(meta("{\"k\":\"ok\",\"v\":1}").contains("line 1: k = ok, must be \"meta\" on the first line"));
    assert!(meta("{\"k\":\"meta\",\"v\":9}").contains("v = 9, must be 1"));
    assert!(
        meta("{\"k\":\"meta\",\"v\":1,\"model\":\"set\"}")
            .contains("model = \"set\", must be register, cas-register or kv")
    );
    assert!(meta("{\"k\":\"meta\",\"v\":1,\"initial\":[{\"key\":\"a\"}]}").contains("`value` is missing"));
}

#[test]
fn lines_and_bytes_that_are_no_text_are_refused_before_they_are_held() {
    let long = format!("{{\"k\":\"meta\",\"v\":1,\"x\":\"{}\"}}", "a".repeat(LINE_MAX));
    assert!(matches!(parse(&long), Err(FileError::TooLong { line: 1, .. })));
    let error = read(&mut &b"{\"k\":\"meta\",\"v\":1}\n\xff"[..], None).unwrap_err().to_string();
    assert_eq!(error, "line 2: byte 1 is no UTF-8; expected text");
}

#[test]
fn what_happened_in_an_impossible_order_is_told_with_its_lines() {
    let text = "{\"k\":\"meta\",\"v\":1}\n\n{\"k\":\"info\",\"p\":3,\"t\":0}\n";
    let recorded = parse(text).unwrap();
    let error = check(Model::Kv, &recorded.history, &crate::check::Limits::default()).unwrap_err();
    assert_eq!(error, HistoryError::Idle { event: 0, process: 3 });
    assert!(
        recorded.describe(&error).starts_with("line 3: process 3 has nothing open"),
        "{}",
        recorded.describe(&error)
    );
}

const JEPSEN: &str = "
lein test jepsen.system.etcd-test
INFO  jepsen.os.debian - :n3 setting up debian
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t4
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - :nemesis\t:info\t:start\t\"Cut off {:n1 #{:n3}}\"
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 2   :invoke :cas    [4 1]
INFO  jepsen.util - 2   :fail   :cas    [4 1]
INFO  jepsen.util - 3   :invoke :cas    [4 2]
INFO  jepsen.util - 3   :ok     :cas    [4 2]
INFO  jepsen.util - 0   :invoke :read   nil
INFO  jepsen.util - 0   :fail   :read   :timed-out
";

#[test]
fn jepsen_lines_are_read() {
    let recorded = parse(JEPSEN).unwrap();
    assert_eq!((recorded.format, recorded.history.events.len(), recorded.lines[3]), (Format::Jepsen, 10, 8));
    let ops = recorded.history.operations(Model::CasRegister).unwrap();
    assert_eq!(ops[1].end, crate::check::End::Unknown);
    assert_eq!(ops[2].end, crate::check::End::Ok(Outcome::Differs { found: None }));
    assert_eq!(ops[4].end, crate::check::End::Fail);
    let verdict = |text: &str| {
        let h = parse(text).unwrap().history;
        check(Model::CasRegister, &h, &crate::check::Limits::default()).unwrap().verdict
    };
    assert_eq!(verdict(JEPSEN), Verdict::Linearizable);
    assert!(matches!(verdict(&JEPSEN.replace("[4 2]", "[3 2]")), Verdict::NotLinearizable(_)));
}

#[test]
fn jepsen_lines_that_make_no_sense_are_refused() {
    let refused = |line: &str| parse(&format!("INFO  jepsen.util - {line}")).unwrap_err().to_string();
    assert!(refused("x :invoke :read nil").contains("line 1: process = x, must be a number"));
    assert!(refused("1 :begin :read nil").contains("type = :begin, must be :invoke, :ok, :fail or :info"));
    assert!(refused("1 :invoke :pop nil").contains("operation = :pop"));
    assert!(refused("1 :invoke :write nil").contains("nil cannot be written"));
    assert!(refused("1 :invoke :cas 3").contains("value = 3, must be two values"));
}
