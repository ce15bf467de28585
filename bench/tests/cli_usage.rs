//! What the program says when it is used wrongly, and what it needs no node for.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// `duet` with these arguments, in a folder of its own and without this process's `DUET_` variables.
fn duet(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("duet"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("DUET_") {
            command.env_remove(key);
        }
    }
    command.current_dir(dir).args(args);
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    parts(&duet(dir.path(), args).output().unwrap())
}

fn parts(out: &Output) -> (Option<i32>, String, String) {
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// Ends with exit code 2, nothing on stdout, and every part on stderr.
#[track_caller]
fn refused(args: &[&str], parts: &[&str]) {
    let (code, out, err) = run(args);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
    for part in parts {
        assert!(err.contains(part), "{args:?} does not say `{part}`:\n{err}");
    }
}

const NODE: [&str; 7] =
    ["node", "--id", "1", "--data", "d", "--voters", "1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003"];

fn node<'a>(more: &[&'a str]) -> Vec<&'a str> {
    NODE.iter().chain(more).copied().collect()
}

#[test]
fn help_starts_with_examples() {
    let commands = ["", "cluster", "ctl", "node", "completions", "man", "sim", "mutants"];
    for command in commands {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let (code, out, err) = run(&args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command}");
        assert!(out.starts_with("Examples:\n  duet "), "{command}:\n{out}");
        assert!(out.contains("Usage: duet"), "{command}:\n{out}");
    }
    for ask in
        ["put", "get", "delete", "cas", "list", "leader", "transfer", "append", "log", "peers", "status", "member"]
    {
        let (code, out, _) = run(&["ctl", ask, "--help"]);
        assert!(code == Some(0) && out.contains(&format!("Usage: duet ctl {ask}")), "{ask}:\n{out}");
    }
}

#[test]
fn wrong_usage_is_refused_with_a_helpful_text() {
    refused(&["clustre"], &["unrecognized subcommand 'clustre'", "cluster"]);
    refused(&["cluster", "--voters", "0"], &["0 is not in 1..=15"]);
    refused(&["cluster", "--protocol", "paxos"], &["[possible values: raft, zab, both]"]);
    refused(&["compare", "--with", "zookeeper,nosuch"], &["'nosuch'", "[possible values: zookeeper, etcd]"]);
    refused(&["compare", "--rate", "0"], &["rate = 0: 0.1 to 10,000,000 operations per second are allowed"]);
    refused(&["cluster", "--set", "raft.nothing=1"], &["unknown field `nothing`"]);
    refused(&["ctl", "put", "a"], &["<VALUE>"]);
    refused(&["ctl", "cas", "a", "b"], &["--expect <VALUE>"]);
    refused(&["ctl", "--timeout", "2 weeks", "leader"], &["expected a time from 1ms to 1h"]);
    refused(&["ctl", "--target", "127.0.0.1:1", "leader"], &["names no protocol", "expected raft://HOST:PORT"]);
    refused(&["ctl", "--target", "raft://a", "leader"], &["the port is missing"]);
    refused(&["ctl", "--target", "raft://a:1", "--protocol", "zab", "leader"], &["contradicts"]);
    refused(&["ctl", "--target", "raft://a:1", "put", "--hex", "0g", "00"], &["is not hexadecimal"]);
    refused(&["ctl", "--target", "raft://a:1", "log", "--after", "x"], &["expected 3/17", "0x300000011"]);
    refused(&["ctl", "--target", "raft://a:1", "--node", "x", "leader"], &["expected a node's number"]);
    refused(&["ctl", "--run", "nowhere", "leader"], &["no run at nowhere"]);
    refused(&["ctl", "member", "add", "4"], &["expected ID=HOST:PORT"]);
    refused(&["ctl", "member", "change", "--voter", "0=h:1"], &["expected a number from 1 on"]);
    refused(
        &["ctl", "--target", "raft://a:1", "member", "change"],
        &["expected --voter, --learner, --remove or --weight"],
    );
    refused(&["sim", "--protocol", "paxos"], &["[possible values: raft, zab, both]"]);
    refused(&["sim", "--seeds", "0"], &["0 is not in 1.."]);
    refused(&["sim", "--minutes", "0"], &["expected a number of minutes from 0.001"]);
    refused(&["sim", "--replay", "nowhere"], &["--replay nowhere: neither a file nor a seed"]);
    refused(&["sim", "--replay", "7", "--seeds", "3"], &["cannot be used with"]);
    refused(&["mutants", "--only", "X99"], &["--only X99: there is no such mutant", "there are "]);
}

#[test]
fn wrong_settings_name_field_value_and_what_is_allowed() {
    refused(&["node"], &["id = 0", "must be a number from 1 on"]);
    refused(&["node", "--id", "1"], &["voters = (empty)", "must map each voter's id"]);
    refused(&node(&["--voters", "1=h:1,1=h:2"]), &["--voters gives 1 twice"]);
    refused(&node(&["--voters", "h:1"]), &["expected ID=HOST:PORT"]);
    refused(&node(&["--voters", "4=h:x"]), &["voters.4 = \"h:x\"", "`x` is no port"]);
    refused(&node(&["--voters", "4=127.0.0.1:7001"]), &["voters.4", "must differ from the address of voter 1"]);
    refused(&["node", "--id", "7", "--data", "d", "--voters", "1=h:1"], &["id = 7", "one of the voters (1)"]);
    refused(&node(&["--member", "observer"]), &["id = 1", "must differ from every voter's (1, 2, 3)"]);
    refused(&node(&["--client-listen", "nowhere"]), &["client_listen = nowhere", "must be HOST:PORT"]);
    refused(&node(&["--cluster", "a b"]), &["cluster = \"a b\"", "letters"]);
    refused(&node(&["--set", "protocol=raff"]), &["unknown variant `raff`", "did you mean `raft`"]);
    refused(&["node", "--config", "none.toml"], &["cannot read the configuration none.toml"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("n.toml"), "id = 1\nclient_lisen = \"127.0.0.1:0\"\n").unwrap();
    let (code, _, err) = parts(&duet(dir.path(), &["node", "--config", "n.toml"]).output().unwrap());
    assert_eq!(code, Some(2));
    assert!(err.contains("in n.toml") && err.contains("line 2"), "{err}");
    assert!(err.contains("did you mean `client_listen`?"), "{err}");
    let unknown = duet(dir.path(), &["node", "--print-config"]).env("DUET_RAFT__HARTBEAT_MS", "5").output().unwrap();
    let (code, _, err) = parts(&unknown);
    assert_eq!(code, Some(2));
    assert!(err.contains("DUET_RAFT__HARTBEAT_MS"), "{err}");
}

#[test]
fn the_printed_configuration_gives_itself_again() {
    let dir = tempfile::tempdir().unwrap();
    let given = node(&["--protocol", "zab", "--seed", "7", "--trace", "t.jsonl", "--print-config"]);
    let (code, first, err) = parts(&duet(dir.path(), &given).output().unwrap());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    std::fs::write(dir.path().join("n.toml"), &first).unwrap();
    let again = duet(dir.path(), &["node", "--config", "n.toml", "--print-config"]).output().unwrap();
    assert_eq!(parts(&again), (Some(0), first, String::new()));
}

#[test]
fn flags_beat_variables_which_beat_the_file_which_beats_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("n.toml"), "id = 1\ncluster = \"file\"\nseed = 1\ndata = \"file\"\n").unwrap();
    let mut command = duet(dir.path(), &["node", "--config", "n.toml", "--seed", "3", "--print-config", "--json"]);
    let out = command.env("DUET_SEED", "2").env("DUET_CLUSTER", "variable").output().unwrap();
    let got: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let read = |key: &str| got[key].clone();
    assert_eq!((read("seed"), read("cluster"), read("data")), (3.into(), "variable".into(), "file".into()));
    assert_eq!(read("client_listen"), "127.0.0.1:0");
    let (_, _, err) = parts(&out);
    assert!(err.contains("would not start with this yet: voters = (empty)"), "{err}");
}

#[test]
fn without_a_cluster_ctl_says_what_to_do() {
    let (code, out, err) = run(&["ctl", "put", "a", "1"]);
    assert_eq!((code, out.as_str()), (Some(4), ""), "{err}");
    assert!(err.contains("no cluster found in runs") && err.contains("`duet cluster`"), "{err}");
}

#[test]
fn a_dead_address_is_named() {
    // Free a moment ago, so nobody listens there now.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = format!("zab://{addr}");
    for ask in [&["leader"][..], &["status"], &["peers"], &["put", "a", "1"], &["get", "a"], &["log"]] {
        let args: Vec<&str> = ["ctl", "--timeout", "2s", "--target", &target].iter().chain(ask).copied().collect();
        let (code, _, err) = run(&args);
        assert_eq!(code, Some(4), "{ask:?}: {err}");
        assert!(err.contains("duet cluster"), "{ask:?}: {err}");
    }
    let (_, out, _) = run(&["ctl", "--json", "--timeout", "2s", "--target", &target, "status"]);
    let row: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(row["address"], addr.to_string());
    assert!(row["error"].as_str().unwrap().contains("refused"), "{row}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_of_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("runs"), "a file where a folder should be").unwrap();
    let (code, _, err) = parts(&duet(dir.path(), &["cluster"]).output().unwrap());
    assert_eq!(code, Some(5), "{err}");
    assert!(err.contains("cannot write runs"), "{err}");
    let (code, _, err) = parts(&duet(dir.path(), &["man", "runs"]).output().unwrap());
    assert_eq!(code, Some(5), "{err}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = parts(&duet(dir.path(), &["completions", shell]).output().unwrap());
        assert!(code == Some(0) && out.contains("completions") && out.contains("cluster"), "{shell}");
    }
    assert_eq!(duet(dir.path(), &["man", "pages"]).output().unwrap().status.code(), Some(0));
    for page in
        ["duet.1", "duet-cluster.1", "duet-ctl.1", "duet-ctl-put.1", "duet-node.1", "duet-compare.1", "duet-check.1"]
    {
        let text = std::fs::read_to_string(dir.path().join("pages").join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    use std::process::{Command, Stdio};
    let bin = assert_cmd::cargo::cargo_bin!("duet");
    let mut child =
        Command::new(bin).args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert_eq!(out.status.code(), Some(0));
}

/// Two clients of one key: a write that was answered, and a read after it.
const HISTORY: &str = r#"{"k":"meta","v":1,"model":"kv"}
{"k":"invoke","p":1,"t":10,"op":"put","key":"x","value":"new"}
{"k":"ok","p":1,"t":20,"op":"put"}
{"k":"invoke","p":2,"t":30,"op":"get","key":"x"}
{"k":"ok","p":2,"t":40,"op":"get","value":"new"}
"#;

/// `duet check` of this history.
fn check(history: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), history).unwrap();
    let all: Vec<&str> = ["check", "--history", "h.jsonl"].iter().chain(args).copied().collect();
    parts(&duet(dir.path(), &all).output().unwrap())
}

#[test]
fn a_linearizable_history_is_good_and_its_weakness_is_told() {
    let (code, out, err) = check(HISTORY, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("linearizable\n") && out.contains("concurrency  max 1, mean 1.00"), "{out}");
    assert!(out.contains("unknown      0 (0.0 %)"), "{out}");
    assert!(err.contains("this proves little") && err.contains("check --history h.jsonl --json"), "{err}");
}

#[test]
fn a_history_from_stdin_is_judged_too() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["check", "--history", "-", "--model", "cas-register", "--json"];
    let log = "INFO jepsen.util - 1 :invoke :write 2\nINFO jepsen.util - 2 :invoke :read nil\n\
               INFO jepsen.util - 1 :info :write :timed-out\nINFO jepsen.util - 2 :ok :read 2\n";
    let (code, out, err) = parts(&duet(dir.path(), &args).write_stdin(log).output().unwrap());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let got: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&got["verdict"], &got["format"], &got["unknown"]),
        (&"linearizable".into(), &"jepsen".into(), &1.into())
    );
    assert_eq!(got["concurrency"], serde_json::json!({"max": 2, "mean": 1.5}));
}

#[test]
fn a_stale_read_is_shown_with_its_lines() {
    let stale = HISTORY.replace("\"op\":\"get\",\"value\":\"new\"", "\"op\":\"get\",\"value\":null");
    let (code, out, err) = check(&stale, &[]);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.starts_with("not linearizable\n"), "{out}");
    for part in [
        "2 operations of the key \"x\" without an order (take one out, and there is an order)",
        "1  p1       2-3    put \"new\"  done",
        "2  p2       4-5    get        absent <--",
        "In the order 1 the rest fits and leaves \"new\"; the answer of 2 fits nowhere.",
        "Up to line 5 this key is linearizable (2 operations were asked before it).",
    ] {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
    assert!(err.contains("jq .offending"), "{err}");
    let (code, out, _) = check(&stale, &["--json"]);
    let got: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &got["verdict"]), (Some(1), &"not linearizable".into()));
    let offending = &got["offending"];
    assert_eq!((&offending["culprit"], &offending["line"]), (&1.into(), &5.into()));
    assert_eq!(offending["operations"][0]["t"], serde_json::json!([10, 20]));
    assert_eq!(offending["operations"][1]["answer"], serde_json::json!({"k": "ok", "value": null}));
}

#[test]
fn a_search_without_a_verdict_is_a_failure() {
    let put = r#"{"k":"invoke","p":1,"t":50,"op":"put","key":"x","value":"newer"}"#;
    let both = format!("{HISTORY}{put}\n{}\n", r#"{"k":"ok","p":1,"t":60,"op":"put"}"#);
    let (code, out, err) = check(&both, &["--limit", "1"]);
    assert_eq!(code, Some(3), "{out}{err}");
    assert!(
        out.starts_with("unknown\n") && out.contains("given up after 1 steps for 1 of the keys, first \"x\""),
        "{out}"
    );
    assert!(err.contains("--limit 10"), "{err}");
}

#[test]
fn a_file_that_is_no_history_is_refused_with_line_and_field() {
    let refused = |history: &str, args: &[&str], code: i32, parts: &[&str]| {
        let (got, out, err) = check(history, args);
        assert_eq!((got, out.as_str()), (Some(code), ""), "{err}");
        for part in parts {
            assert!(err.contains(part), "`{part}` is not in:\n{err}");
        }
    };
    let with = |from: &str, to: &str| HISTORY.replacen(from, to, 1);
    refused(&with("\"t\":20", "\"t\":true"), &[], 2, &["h.jsonl, line 3: t = true", "a whole number", "histories.md"]);
    refused(&with("\"k\":\"ok\",\"p\":1", "\"k\":\"ok\",\"p\":9"), &[], 2, &["line 3: process 9 has nothing open"]);
    refused(HISTORY, &["--model", "register"], 2, &["line 2: the model `register` has no keys"]);
    refused(&with(",\"model\":\"kv\"", ""), &[], 2, &["\"model\" is missing", "--model kv"]);
    refused("nothing here\n", &[], 4, &["h.jsonl holds no operations"]);
    let (code, _, err) = run(&["check", "--history", "none.jsonl"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("cannot read the history none.jsonl"), "{err}");
}
