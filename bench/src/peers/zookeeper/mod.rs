//! Apache ZooKeeper: three real servers on loopback, and a pipelined client that speaks its wire protocol.

mod client;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::servers::{Plan, State};
use super::{Installed, Peer, on_path};
use crate::cli::Fail;

pub use client::{Session, ZooKeeper};

/// Where Debian's package puts the jars.
const DEBIAN: &str = "/usr/share/java";
const GET_IT: &str =
    "Debian and Ubuntu: apt-get install zookeeper; or name an unpacked release with --zookeeper-home DIR";
/// What every server is given: the values of the administrator's guide and of the sample configuration. `forceSync` is left
/// at its default, so every write is synced by each server before it is acknowledged.
const SETTINGS: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\nmaxClientCnxns=0\nadmin.enableServer=false\n";
const HEAP: &str = "-Xmx1g";
/// How long a server may take to say how it is.
const ASK: Duration = Duration::from_secs(5);

/// Finds Java and the jars.
pub(super) fn find(home: Option<&Path>) -> Result<Installed, Fail> {
    let home = home.unwrap_or(Path::new(DEBIAN));
    let class_path = class_path(home).ok_or_else(|| {
        let message = format!("ZooKeeper is not in {}: no zookeeper*.jar there nor in its folder lib", home.display());
        Fail::environment(message).hint(GET_IT)
    })?;
    let program = on_path("java").ok_or_else(|| {
        Fail::environment("ZooKeeper needs Java, and there is no `java` on PATH")
            .hint("Debian and Ubuntu: apt-get install default-jre-headless")
    })?;
    let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    let args =
        [HEAP, "-cp", &format!("{}/*", class_path.display()), "-Dzookeeper.4lw.commands.whitelist=srvr,mntr", main];
    Ok(Installed { peer: Peer::ZooKeeper, program, args: args.map(str::to_owned).to_vec() })
}

/// The folder with the server's jar: of a package this one, of a release its `lib`.
fn class_path(home: &Path) -> Option<PathBuf> {
    [home.to_owned(), home.join("lib")].into_iter().find(|dir| {
        let mut files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|f| f.path());
        files.any(|file| {
            let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            file.extension().is_some_and(|e| e == "jar") && (stem == "zookeeper" || stem.starts_with("zookeeper-"))
        })
    })
}

/// Writes each server's configuration. `addrs` are three for clients, three for peers, three for elections.
pub(super) fn plan(dir: &Path, addrs: &[String]) -> anyhow::Result<(String, Vec<Plan>)> {
    let third = addrs.len() / 3;
    let port = |addr: &str| addr.rsplit_once(':').map_or(String::new(), |(_, port)| port.to_owned());
    let mut members = String::new();
    for i in 0..third {
        let _ = writeln!(members, "server.{}={}:{}", i + 1, addrs[third + i], port(&addrs[2 * third + i]));
    }
    let mut plans = Vec::new();
    for (i, client) in addrs[..third].iter().enumerate() {
        let data = dir.join((i + 1).to_string());
        std::fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
        std::fs::write(data.join("myid"), (i + 1).to_string())?;
        let config = dir.join(format!("{}.cfg", i + 1));
        let text = format!("{SETTINGS}dataDir={}\nclientPort={}\n{members}", data.display(), port(client));
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        plans.push(Plan { client: client.clone(), args: vec![config.display().to_string()] });
    }
    let settings = SETTINGS.trim().replace('\n', ", ");
    let text = format!(
        "java {HEAP}; {settings}; forceSync, snapCount and globalOutstandingLimit at their defaults; sessions spread over the \
         servers, as its own client does; reads are local"
    );
    Ok((text, plans))
}

/// What a server says of itself.
pub(super) async fn state(addr: &str) -> anyhow::Result<State> {
    understand(&four_letters(addr, "srvr").await?)
}

/// What a server counts.
pub(super) async fn counters(addr: &str) -> anyhow::Result<Vec<(String, u64)>> {
    Ok(counted(&four_letters(addr, "mntr").await?))
}

fn counted(monitor: &str) -> Vec<(String, u64)> {
    let count = |name: &str| monitor.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
    count("zk_cnt_fsynctime\t").map(|n| ("fsyncs".to_owned(), n)).into_iter().collect()
}

/// Asks with one of ZooKeeper's commands of four letters; the answer ends with the connection.
async fn four_letters(addr: &str, command: &str) -> anyhow::Result<String> {
    timeout(ASK, async {
        let mut socket = TcpStream::connect(addr).await?;
        socket.write_all(command.as_bytes()).await?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await?;
        Ok(text)
    })
    .await?
}

fn understand(server: &str) -> anyhow::Result<State> {
    let line = |name: &str| server.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let mode = line("Mode:").context("it does not serve")?;
    let zxid = line("Zxid: 0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()).context("it tells no zxid")?;
    let version = line("Zookeeper version:").unwrap_or_default();
    let version = version.split(['-', ',']).next().unwrap_or_default().to_owned();
    Ok(State { leads: mode == "leader", serves: mode == "leader" || mode == "follower", applied: zxid, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_understood() {
        let server = "Zookeeper version: 3.8.0-abc, built on 2024-12-29 17:54 UTC\nLatency min/avg/max: 0/0.0/0\n\
                      Zxid: 0x100000a\nMode: leader\nNode count: 5\n";
        let state = understand(server).unwrap();
        assert_eq!(state, State { leads: true, serves: true, applied: 0x100_000a, version: "3.8.0".into() });
        assert!(!understand(&server.replace("leader", "standalone")).unwrap().serves);
        assert!(understand("This ZooKeeper instance is not currently serving requests\n").is_err());
        assert_eq!(counted("zk_avg_fsynctime\t0.0\nzk_cnt_fsynctime\t17\n"), [("fsyncs".to_owned(), 17)]);
    }

    #[test]
    fn a_release_and_a_package_are_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(class_path(dir.path()), None);
        let lib = dir.path().join("lib");
        std::fs::create_dir(&lib).unwrap();
        std::fs::write(lib.join("zookeeper-3.9.3.jar"), "").unwrap();
        assert_eq!(class_path(dir.path()), Some(lib.clone()));
        assert_eq!(class_path(&lib), Some(lib));
    }

    #[test]
    fn each_server_knows_all() {
        let dir = tempfile::tempdir().unwrap();
        let addrs: Vec<String> = (1..=9).map(|n| format!("127.0.0.1:{n}")).collect();
        let (settings, plans) = plan(dir.path(), &addrs).unwrap();
        assert!(settings.contains("tickTime=2000, initLimit=10"), "{settings}");
        assert_eq!(plans[1].client, "127.0.0.1:2");
        let config = std::fs::read_to_string(&plans[1].args[0]).unwrap();
        assert!(config.contains("clientPort=2\n") && config.contains("server.3=127.0.0.1:6:9\n"), "{config}");
        assert_eq!(std::fs::read_to_string(dir.path().join("2/myid")).unwrap(), "2");
    }
}
