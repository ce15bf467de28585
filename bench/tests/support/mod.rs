//! Runs the program and awaits what it says.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A limit for what should take seconds, on a machine that may be busy.
pub(crate) async fn within(work: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_mins(2), work).await.expect("done within two minutes");
}

/// `duet` with these arguments, in this folder, without this process's `DUET_` variables.
pub(crate) fn duet(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("duet"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("DUET_") {
            command.env_remove(key);
        }
    }
    command.current_dir(dir).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Done {
    /// The only line, which is JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let mut all = self.jsons();
        assert_eq!(all.len(), 1, "{self:?}");
        all.remove(0)
    }

    /// Every line, each of which is JSON.
    #[track_caller]
    pub(crate) fn jsons(&self) -> Vec<Value> {
        let out = std::str::from_utf8(&self.out).unwrap();
        out.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}; {}", self.err))).collect()
    }
}

/// `duet ctl --json`.
pub(crate) async fn ctl(dir: &Path, args: &[&str]) -> Done {
    let args: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
    text(dir, &args).await
}

/// `duet ctl`.
pub(crate) async fn text(dir: &Path, args: &[&str]) -> Done {
    let usual: &[&str] = if args.contains(&"--timeout") { &[] } else { &["--timeout", "30s"] };
    let args: Vec<&str> = ["ctl"].iter().chain(usual).chain(args).copied().collect();
    let out = duet(dir, &args).output().await.unwrap();
    Done { code: out.status.code().unwrap(), out: out.stdout, err: String::from_utf8(out.stderr).unwrap() }
}

/// Sends a signal to the process with this number.
pub(crate) fn signal(pid: &Value, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid.as_i64().unwrap()).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until a process has ended, whoever its parent is.
pub(crate) async fn ended(pid: u32) {
    let Ok(fd) = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()) else { return };
    // Readable means ended. In steps, so that a thread does not outlive a test that gave up.
    let step = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let wait = async || {
        let fd = fd.try_clone().unwrap();
        let polled = move || poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&step));
        tokio::task::spawn_blocking(polled).await.unwrap().unwrap() == 1
    };
    while !wait().await {}
}

/// A running `duet cluster --json`.
pub(crate) struct Run {
    dir: TempDir,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    started: Value,
}

impl Run {
    pub(crate) async fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args: Vec<&str> = ["cluster", "--json"].iter().chain(args).copied().collect();
        let mut child = duet(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut run = Self { dir, child, lines, started: Value::Null };
        run.started = run.event("started").await;
        run
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn target(&self) -> &str {
        self.started["target"].as_str().unwrap()
    }

    pub(crate) fn nodes(&self) -> Vec<Value> {
        self.started["nodes"].as_array().unwrap().clone()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes().iter().map(|n| u32::try_from(n["pid"].as_u64().unwrap()).unwrap()).collect()
    }

    /// The next event of this kind.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
        panic!("the cluster ended without `{kind}`");
    }

    /// The next leader it tells of.
    pub(crate) async fn leader(&mut self) -> Value {
        loop {
            let leader = self.event("leader").await["leader"].clone();
            if !leader.is_null() {
                return leader;
            }
        }
    }

    /// Ctrl-C, and how it ended.
    pub(crate) async fn interrupt(&mut self) -> Option<i32> {
        signal(&self.child.id().unwrap().into(), Signal::INT);
        self.child.wait().await.unwrap().code()
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The arguments of a cluster's only voter, with its data in `data`. The same addresses cannot be promised twice, so each
/// start has new ones.
fn alone(more: &[&str]) -> Vec<String> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut args: Vec<String> = ["node", "--id", "1", "--json"].map(String::from).to_vec();
    args.push(format!("--voters=1=127.0.0.1:{port}"));
    if !more.contains(&"--data") {
        args.push("--data=data".into());
    }
    args.extend(more.iter().map(ToString::to_string));
    args
}

/// A running `duet node --json`: the only voter of its cluster.
pub(crate) struct Node {
    child: Child,
    pub(crate) ready: Value,
}

impl Node {
    pub(crate) async fn start(dir: &Path, more: &[&str]) -> Self {
        let args = alone(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = duet(dir, &args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let Some(line) = lines.next_line().await.unwrap() else {
            panic!("it is not ready: {}", errors(&mut child).await);
        };
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// How it ended, and what it said.
    pub(crate) async fn wait(&mut self) -> (Option<i32>, String) {
        // Taken out, so that waiting does not close it.
        let _stdin = self.child.stdin.take();
        let err = errors(&mut self.child).await;
        (self.child.wait().await.unwrap().code(), err)
    }

    /// SIGTERM.
    pub(crate) async fn stop(mut self) {
        signal(&self.ready["pid"], Signal::TERM);
        assert_eq!(self.wait().await.0, Some(0));
    }
}

async fn errors(child: &mut Child) -> String {
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    err
}

/// Runs `duet node` that is expected not to start: its exit code and its messages.
pub(crate) async fn single(dir: &Path, more: &[&str]) -> (Option<i32>, String) {
    let args = alone(more);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let out = duet(dir, &args).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "", "it started");
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}
