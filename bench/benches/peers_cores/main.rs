//! Cores beside others' cores: the same case for each, see [`trio`]. Criterion's figures first; then a table of ratios, in
//! which all ran in turns. A filter that fits nothing (`-- ratios`) leaves the table alone.

#[path = "../rivals/mod.rs"]
mod rivals;
#[path = "../rounds/mod.rs"]
mod rounds;
#[path = "../trio/mod.rs"]
mod trio;

use criterion::{BenchmarkId, Criterion, Throughput};
use rivals::omni::Omni;
use rivals::tikv::Tikv;
use rounds::Contestant;
use std::time::Duration;
use trio::{BATCHES, Group, SIZES, Trio};

type Raft = Trio<raft::Raft>;
type Zab = Trio<zab::Zab>;

fn commits<G: Group>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("peers_cores/{}", G::NAME));
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1)).sample_size(20);
    for size in SIZES {
        for n in BATCHES {
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::new(format!("{size} B"), n), |b| {
                let (mut nodes, payload) = (G::elected(), vec![7; size]);
                b.iter(|| nodes.commit(&payload, n, |_| {}));
                assert!(nodes.settle() >= (n * size) as u64);
            });
        }
    }
    group.finish();
}

fn contestant<'a, G: Group + 'a>(payload: &'a [u8], n: usize) -> Contestant<'a> {
    let mut nodes = G::elected();
    Contestant::new(move |times| (0..times).for_each(|_| nodes.commit(payload, n, |_| {})))
}

/// One case: thousands of commits per second of processor time for each, and how many times as many ours make.
fn row(size: usize, n: usize) -> Vec<String> {
    let payload = vec![7; size];
    let mut all = [
        contestant::<Raft>(&payload, n),
        contestant::<Zab>(&payload, n),
        contestant::<Tikv>(&payload, n),
        contestant::<Omni>(&payload, n),
    ];
    rounds::compete(&mut all, Duration::from_millis(20));
    let mut cells = vec![format!("{size} B"), n.to_string()];
    cells.extend(all.iter().map(|c| format!("{:.0}", c.rate(|r| r.cpu) * n as f64 / 1e3)));
    let [raft, zab, tikv, omni] = &all;
    let pairs = [(raft, tikv), (zab, tikv), (raft, omni), (zab, omni)];
    cells.extend(pairs.map(|(ours, theirs)| format!("{:.1}", ours.against(theirs, |r| r.cpu))));
    cells
}

fn main() {
    for line in rivals::SETTINGS {
        eprintln!("{line}");
    }
    let mut criterion = Criterion::default().configure_from_args();
    commits::<Raft>(&mut criterion);
    commits::<Zab>(&mut criterion);
    commits::<Tikv>(&mut criterion);
    commits::<Omni>(&mut criterion);
    criterion.final_summary();
    if rounds::measuring() {
        let names = ["payload", "batch", "raft k/s", "zab k/s", "raft-rs k/s", "omnipaxos k/s"];
        let ratios = ["raft / raft-rs", "zab / raft-rs", "raft / omnipaxos", "zab / omnipaxos"];
        let head: Vec<String> = names.iter().chain(&ratios).map(ToString::to_string).collect();
        let rows: Vec<_> = SIZES.iter().flat_map(|size| BATCHES.iter().map(|n| row(*size, *n))).collect();
        println!("\n{}", rounds::table(&head, &rows));
    }
}
