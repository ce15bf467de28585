//! Raft, ZAB and Apache ZooKeeper under the same load, in turn, on this machine.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p bench --example beside_zookeeper -- target/release/duet 5
//! ```
//!
//! Three servers each, on loopback, every write fsynced by each; closed loop, 100-byte values, 16 connections. The systems take
//! turns (A B C C B A) for every number of clients, and all stay up the whole time. Needs a Java runtime and Debian's
//! package `zookeeper`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bench::cli::Protocol;
use bench::load::duet::DuetTarget;
use bench::load::engine::{LoadOutcome, LoadSpec, Running};
use bench::load::ledger::Ledger;
use bench::load::target::Target;
use bench::peers::zookeeper::{Ensemble, ZooKeeper};
use bench::supervisor::{Cluster, ClusterSpec};

const CLIENTS: [usize; 4] = [1, 64, 256, 1024];
const KEYS: usize = 10_000;
const NAMES: [&str; 3] = ["raft", "zab", "zookeeper"];

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let exe = PathBuf::from(args.next().context("the first argument is the executable `duet`")?);
    let seconds =
        args.next().map_or(Ok(5.0), |s| s.parse::<f64>()).context("the second argument is seconds per run")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(exe, Duration::from_secs_f64(seconds)))
}

async fn run(exe: PathBuf, measure: Duration) -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("beside-zookeeper-{}", std::process::id()));
    let mut clusters = Vec::new();
    for protocol in [Protocol::Raft, Protocol::Zab] {
        let spec = ClusterSpec { exe: Some(exe.clone()), ..ClusterSpec::new(protocol, dir.join(protocol.to_string())) };
        clusters.push(Cluster::start(&spec).await?);
    }
    let ensemble = Ensemble::start(&dir).await?;
    println!("# zoo.cfg of server 1 (forceSync at its default, yes):\n{}", ensemble.config);
    let duet: Vec<_> = clusters.iter().map(|c| DuetTarget::leader(&c.client_addrs())).collect();
    let zookeeper = ZooKeeper::new(ensemble.addrs.clone());
    let keys = Ledger::new(0, KEYS);
    zookeeper.create((0..KEYS).map(|k| keys.name(k)), &[0; 100]).await?;

    println!("warming up the Java servers");
    load(&zookeeper, 256, Duration::from_secs(10)).await;
    println!(
        "{:>8} {:>10} {:>12} {:>10} {:>10} {:>10} {:>8}",
        "clients", "system", "writes/s", "p50 us", "p99 us", "p999 us", "errors"
    );
    for clients in CLIENTS {
        let mut throughput = [Vec::new(), Vec::new(), Vec::new()];
        let mut median = throughput.clone();
        for system in [0, 1, 2, 2, 1, 0] {
            let outcome = match system {
                2 => load(&zookeeper, clients, measure).await,
                _ => load(&duet[system], clients, measure).await,
            };
            let result = &outcome.result;
            let errors: u64 = result.errors.values().sum();
            let service = &result.service;
            println!(
                "{clients:>8} {:>10} {:>12.0} {:>10} {:>10} {:>10} {errors:>8}",
                NAMES[system], result.throughput, service.p50, service.p99, service.p999
            );
            throughput[system].push(result.throughput);
            median[system].push(service.p50 as f64);
        }
        let mean = |runs: &[f64]| runs.iter().sum::<f64>() / runs.len() as f64;
        for system in 0..2 {
            println!(
                "# {clients} clients, {} / zookeeper: {:.2}x writes/s, {:.2}x p50",
                NAMES[system],
                mean(&throughput[system]) / mean(&throughput[2]),
                mean(&median[system]) / mean(&median[2]),
            );
        }
    }
    for cluster in clusters {
        cluster.stop().await;
    }
    drop(ensemble);
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
}

async fn load<T: Target>(target: &T, clients: usize, measure: Duration) -> LoadOutcome
where
    T::Conn: 'static,
{
    let spec = LoadSpec {
        clients,
        connections: clients.min(16),
        keys: KEYS,
        warm_up: Duration::from_secs(1),
        measure: Some(measure),
        ..LoadSpec::default()
    };
    Running::start(target, spec, None).join().await
}
