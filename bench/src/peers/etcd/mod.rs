//! etcd: three real servers on loopback, and a client that speaks its gRPC.

mod client;
mod wire;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::servers::{Plan, State};
use super::{Installed, Peer, is_executable, on_path};
use crate::cli::Fail;
use crate::load::target::Failure;

pub use client::{Etcd, EtcdConn};

const GET_IT: &str = "Debian and Ubuntu: apt-get install etcd-server; or name its executable with --etcd-bin FILE";
/// Enough for a long comparison: at the default of 2 GiB, etcd refuses writes until somebody compacts its history.
const QUOTA: &str = "--quota-backend-bytes=8589934592";
/// How long a server may take to say how it is.
const ASK: Duration = Duration::from_secs(5);

/// Finds the executable.
pub(super) fn find(file: Option<&Path>) -> Result<Installed, Fail> {
    let program = match file {
        Some(file) if is_executable(file) => file.to_owned(),
        Some(file) => {
            return Err(
                Fail::environment(format!("etcd is not at {}: no executable file", file.display())).hint(GET_IT)
            );
        }
        None => on_path("etcd").ok_or_else(|| Fail::environment("there is no `etcd` on PATH").hint(GET_IT))?,
    };
    Ok(Installed { peer: Peer::Etcd, program, args: vec![QUOTA.to_owned(), "--logger=zap".to_owned()] })
}

/// Each server's flags. `addrs` are three for clients, then three for peers; more are not needed.
pub(super) fn plan(dir: &Path, addrs: &[String]) -> (String, Vec<Plan>) {
    let third = addrs.len() / 3;
    let peers = &addrs[third..2 * third];
    let cluster: Vec<String> = peers.iter().enumerate().map(|(i, p)| format!("s{}=http://{p}", i + 1)).collect();
    let plan = |(i, client): (usize, &String)| {
        let args = [
            ("name", format!("s{}", i + 1)),
            ("data-dir", dir.join((i + 1).to_string()).display().to_string()),
            ("listen-client-urls", format!("http://{client}")),
            ("advertise-client-urls", format!("http://{client}")),
            ("listen-peer-urls", format!("http://{}", peers[i])),
            ("initial-advertise-peer-urls", format!("http://{}", peers[i])),
            ("initial-cluster", cluster.join(",")),
            ("initial-cluster-state", "new".to_owned()),
        ];
        Plan { client: client.clone(), args: args.map(|(flag, value)| format!("--{flag}={value}")).to_vec() }
    };
    let text = format!(
        "{QUOTA}; heartbeat-interval 100 ms, election-timeout 1000 ms, snapshot-count 100000 and all else at their defaults, every \
         write synced; gRPC; writes and linearizable reads are asked of the leader, serializable reads of all servers"
    );
    (text, addrs[..third].iter().enumerate().map(plan).collect())
}

/// What a server says of itself.
pub(super) async fn state(addr: &str) -> anyhow::Result<State> {
    let status = timeout(ASK, client::status(addr)).await??;
    Ok(State { leads: status.leads(), serves: status.leader != 0, applied: status.applied, version: status.version })
}

/// What a server counts.
pub(super) async fn counters(addr: &str) -> anyhow::Result<Vec<(String, u64)>> {
    Ok(counted(&timeout(ASK, metrics(addr)).await??))
}

/// The page of metrics, as any monitoring would fetch it.
async fn metrics(addr: &str) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(addr).await?;
    socket.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    let (head, page) = text.split_once("\r\n\r\n").context("no page of metrics")?;
    ensure!(head.contains(" 200 "), "metrics: {}", head.lines().next().unwrap_or_default());
    Ok(page.to_owned())
}

/// The counters that Duet's nodes have too. Each sync of the write-ahead log and each commit of the database is one fdatasync.
fn counted(metrics: &str) -> Vec<(String, u64)> {
    let sum = |names: &[&str]| {
        let values = metrics.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let bare = name.split('{').next().unwrap_or(name);
            names.contains(&bare).then(|| value.parse::<f64>().ok()).flatten()
        });
        values.map(|v| v as u64).reduce(|a, b| a + b)
    };
    let fsyncs =
        sum(&["etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count"]);
    let sent = sum(&["etcd_network_peer_sent_bytes_total"]);
    [("fsyncs", fsyncs), ("peer_bytes_sent", sent)]
        .into_iter()
        .filter_map(|(name, n)| n.map(|n| (name.to_owned(), n)))
        .collect()
}

/// What a server answers when asked for its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Status {
    member: u64,
    leader: u64,
    applied: u64,
    version: String,
}

impl Status {
    fn leads(&self) -> bool {
        self.leader == self.member && self.leader != 0
    }

    /// From a `StatusResponse`.
    fn parse(message: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        for field in wire::fields(message) {
            match field? {
                (1, wire::Value::Bytes(header)) => {
                    for field in wire::fields(header) {
                        if let (2, wire::Value::Number(n)) = field? {
                            status.member = n;
                        }
                    }
                }
                (2, wire::Value::Bytes(text)) => status.version = String::from_utf8_lossy(text).into_owned(),
                (4, wire::Value::Number(n)) => status.leader = n,
                (7, wire::Value::Number(n)) => status.applied = n,
                _ => {}
            }
        }
        Some(status)
    }
}

/// The value of the only key of a `RangeResponse`; None if there is no such key.
fn value_in(message: &Bytes) -> Result<Option<Bytes>, Failure> {
    for field in wire::fields(message) {
        if let (2, wire::Value::Bytes(pair)) = field.ok_or(Failure::WrongAnswer)? {
            // A value of no bytes is not sent at all.
            let mut value = Bytes::new();
            for field in wire::fields(pair) {
                if let (5, wire::Value::Bytes(content)) = field.ok_or(Failure::WrongAnswer)? {
                    value = message.slice_ref(content);
                }
            }
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_counts_is_understood() {
        let text = "# HELP x y\netcd_disk_wal_fsync_duration_seconds_count 20\n\
                    etcd_disk_wal_fsync_duration_seconds_sum 0.4\netcd_disk_backend_commit_duration_seconds_count 3\n\
                    etcd_network_peer_sent_bytes_total{To=\"a\"} 1.5e+06\netcd_network_peer_sent_bytes_total{To=\"b\"} 5\n";
        assert_eq!(counted(text), [("fsyncs".to_owned(), 23), ("peer_bytes_sent".to_owned(), 1_500_005)]);
        assert_eq!(counted("nothing 1\n"), []);
    }

    #[test]
    fn a_status_is_understood() {
        let mut header = Vec::new();
        wire::put_number(&mut header, 1, 77);
        wire::put_number(&mut header, 2, 5);
        let mut message = Vec::new();
        wire::put_bytes(&mut message, 1, &header);
        wire::put_bytes(&mut message, 2, b"3.4.23");
        wire::put_number(&mut message, 4, 5);
        wire::put_number(&mut message, 7, 1000);
        let status = Status { member: 5, leader: 5, applied: 1000, version: "3.4.23".into() };
        assert_eq!(Status::parse(&message), Some(status));
        assert_eq!(Status::parse(&message[..message.len() - 1]), None, "cut short");
    }

    #[test]
    fn a_value_is_found() {
        let answer = |pair: Option<&[u8]>| {
            let mut message = Vec::new();
            wire::put_bytes(&mut message, 1, b"");
            if let Some(pair) = pair {
                wire::put_bytes(&mut message, 2, pair);
            }
            value_in(&message.into())
        };
        let mut pair = Vec::new();
        wire::put_bytes(&mut pair, 1, b"key");
        assert_eq!(answer(None), Ok(None));
        assert_eq!(answer(Some(&pair)), Ok(Some(Bytes::new())));
        wire::put_bytes(&mut pair, 5, b"value");
        assert_eq!(answer(Some(&pair)), Ok(Some(Bytes::from_static(b"value"))));
        assert_eq!(answer(Some(&pair[..9])), Err(Failure::WrongAnswer));
    }

    #[test]
    fn each_server_knows_all() {
        let addrs: Vec<String> = (1..=9).map(|n| format!("127.0.0.1:{n}")).collect();
        let (_, plans) = plan(Path::new("d"), &addrs);
        assert_eq!(plans.len(), 3);
        assert!(plans[1].args.contains(&"--listen-client-urls=http://127.0.0.1:2".to_owned()), "{plans:?}");
        let all = "--initial-cluster=s1=http://127.0.0.1:4,s2=http://127.0.0.1:5,s3=http://127.0.0.1:6";
        assert!(plans.iter().all(|p| p.args.contains(&all.to_owned())), "{plans:?}");
    }
}
