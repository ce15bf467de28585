//! Clusters beside openraft's: three nodes in this process, in memory, under tokio, no disk and no sockets; so many clients,
//! each of which writes, waits for the answer and writes again. Elements per second are writes answered to clients.
//!
//! As in openraft's own benchmark, clients run on a runtime of their own with one thread, and the nodes on another.
//! Criterion's figures first; then a table of ratios, in which all ran in turns. A filter that fits nothing (`-- ratios`)
//! leaves the table alone.

#[path = "../rounds/mod.rs"]
mod rounds;

mod ours;
mod theirs;

use std::cell::OnceCell;
use std::future::Future;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use ours::Ours;
use rounds::Contestant;
use theirs::Theirs;
use tokio::runtime::{Builder, Handle, Runtime};

/// How many nodes there are.
const NODES: usize = 3;
/// Threads for the nodes.
const WORKERS: usize = 2;
const CLIENTS: [usize; 5] = [1, 64, 256, 1024, 4096];
const PAYLOADS: [usize; 2] = [0, 100];

/// Three nodes of a protocol that know their leader.
trait Cluster<P>: Sized + 'static {
    type Client: Client;

    const NAME: &'static str;

    /// Starts them on the runtime that it is called on; clients will run on theirs.
    fn start(clients: Handle) -> impl Future<Output = Self> + Send;

    fn client(&self, number: usize, payload: usize) -> Self::Client;
}

/// Somebody who writes to the leader.
trait Client: Send + 'static {
    /// Writes, and waits until that was applied.
    fn write(&mut self) -> impl Future<Output = ()> + Send;
}

/// A cluster and its clients, with the threads of both.
struct Bed<C> {
    cluster: Option<C>,
    nodes: Runtime,
    clients: Runtime,
}

fn runtime(name: &str, threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(name).enable_all().build().expect("threads")
}

impl<C: 'static> Bed<C> {
    fn new<P>() -> Self
    where
        C: Cluster<P> + Send,
        P: 'static,
    {
        let (nodes, clients) = (runtime("nodes", WORKERS), runtime("clients", 1));
        let cluster = Some(nodes.block_on(C::start(clients.handle().clone())));
        Self { cluster, nodes, clients }
    }

    /// How long it takes until each client has written so many times.
    fn run<P>(&self, clients: usize, payload: usize, times: u64) -> Duration
    where
        C: Cluster<P>,
    {
        let cluster = self.cluster.as_ref().expect("it runs");
        let clients: Vec<_> = (0..clients).map(|n| cluster.client(n, payload)).collect();
        self.clients.block_on(async {
            let began = Instant::now();
            let all: Vec<_> = clients
                .into_iter()
                .map(|mut client| {
                    tokio::spawn(async move {
                        for _ in 0..times {
                            client.write().await;
                        }
                    })
                })
                .collect();
            for client in all {
                client.await.expect("a client does not panic");
            }
            began.elapsed()
        })
    }
}

impl<C> Drop for Bed<C> {
    fn drop(&mut self) {
        let _inside = self.nodes.enter();
        drop(self.cluster.take());
    }
}

fn writes<P: 'static, C: Cluster<P> + Send>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("peers_clusters/{}", C::NAME));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2)).sample_size(10);
    for payload in PAYLOADS {
        for clients in CLIENTS {
            group.throughput(Throughput::Elements(clients as u64));
            // One for all samples: a leader takes a second or two to be elected.
            let bed = OnceCell::new();
            group.bench_function(BenchmarkId::new(format!("{payload} B"), clients), |b| {
                let bed = bed.get_or_init(Bed::<C>::new);
                b.iter_custom(|times| bed.run(clients, payload, times));
            });
        }
    }
    group.finish();
}

fn contestant<'a, P: 'static, C: Cluster<P> + Send>(clients: usize, payload: usize) -> Contestant<'a> {
    let bed = Bed::<C>::new();
    Contestant::new(move |times| {
        bed.run(clients, payload, times);
    })
}

/// One case: thousands of writes per second of each, and how many times as many ours make, in the same time and with the same
/// work of the processor.
fn row(payload: usize, clients: usize) -> Vec<String> {
    let mut all = [
        contestant::<raft::Raft, Ours>(clients, payload),
        contestant::<zab::Zab, Ours>(clients, payload),
        contestant::<theirs::Types, Theirs>(clients, payload),
    ];
    rounds::compete(&mut all, Duration::from_millis(300));
    let mut cells = vec![format!("{payload} B"), clients.to_string()];
    cells.extend(all.iter().map(|c| format!("{:.0}", c.rate(|r| r.wall) * clients as f64 / 1e3)));
    let [raft, zab, theirs] = &all;
    cells.extend([raft, zab].map(|ours| format!("{:.1}", ours.against(theirs, |r| r.wall))));
    cells.extend([raft, zab].map(|ours| format!("{:.1}", ours.against(theirs, |r| r.cpu))));
    cells
}

fn main() {
    eprintln!("nodes: {NODES} on {WORKERS} threads; clients: 1 thread");
    for line in [ours::SETTINGS, theirs::SETTINGS] {
        eprintln!("{line}");
    }
    let mut criterion = Criterion::default().configure_from_args();
    writes::<raft::Raft, Ours>(&mut criterion);
    writes::<zab::Zab, Ours>(&mut criterion);
    writes::<theirs::Types, Theirs>(&mut criterion);
    criterion.final_summary();
    if rounds::measuring() {
        let names = ["payload", "clients", "raft k/s", "zab k/s", "openraft k/s"];
        let ratios = ["raft / openraft", "zab / openraft", "the same by CPU: raft", "zab"];
        let head: Vec<String> = names.iter().chain(&ratios).map(ToString::to_string).collect();
        let rows: Vec<_> = PAYLOADS.iter().flat_map(|size| CLIENTS.iter().map(|n| row(*size, *n))).collect();
        println!("\n{}", rounds::table(&head, &rows));
    }
}
