//! What one commit costs in things that can be counted, against what it cost when `counts.txt` was written: allocations,
//! messages and bytes of three cores in memory. Counts are the same on every machine and at every load, so this is what keeps
//! the cores from growing slower unnoticed. After a change that is meant: `UPDATE_GOLDENFILES=1 cargo test -p bench --test counts`.

#[allow(dead_code, reason = "the benchmarks have more cases")]
#[path = "../benches/trio/mod.rs"]
mod trio;

use std::fmt::Write as _;

use common::codec::Message;
use common::transport::frame::PREFIX;
use trio::{Group, Trio};

/// Batches that are counted, after as many that are not.
const TIMES: usize = 500;

/// One case: for a thousand commits, on all three nodes together.
fn row<G: Group>(size: usize, n: usize, bytes: impl Fn(&G::Message) -> usize) -> (String, u64) {
    let (mut nodes, payload) = (G::elected(), vec![7; size]);
    (0..TIMES).for_each(|_| nodes.commit(&payload, n, |_| {}));
    let heap = allocation_counter::measure(|| (0..TIMES).for_each(|_| nodes.commit(&payload, n, |_| {})));
    let (mut messages, mut sent) = (0, 0);
    for _ in 0..TIMES {
        nodes.commit(&payload, n, |m| {
            messages += 1;
            sent += bytes(m);
        });
    }
    assert_eq!(nodes.settle(), (3 * TIMES * n * size) as u64, "all entries were applied");
    let thousand = |count: u64| count * 1000 / (TIMES * n) as u64;
    let (messages, sent) = (thousand(messages), thousand(sent as u64));
    (format!("{} {size} B x {n}: {messages} messages of {sent} bytes", G::NAME), thousand(heap.count_total))
}

/// As it goes over a link: prefix, header and body.
fn framed(message: &impl Message) -> usize {
    PREFIX + postcard::to_stdvec(message).expect("a message can be encoded").len() + message.body().len()
}

fn counted() -> Vec<(String, u64)> {
    let cases = [(100, 1), (100, 16), (100, 256), (1024, 16)];
    let of = |(size, n)| [row::<Trio<raft::Raft>>(size, n, framed), row::<Trio<zab::Zab>>(size, n, framed)];
    cases.into_iter().flat_map(of).collect()
}

#[test]
fn a_commit_costs_no_more_than_it_did() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counts.txt");
    let now = counted();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        let mut text = String::from("# For a thousand commits, on three nodes together.\n");
        for (case, heap) in &now {
            writeln!(text, "{case}, {heap} allocations").expect("it is a string");
        }
        std::fs::write(file, text).expect("the baseline can be written");
    }
    let text = std::fs::read_to_string(file).expect("there is a baseline");
    let baseline: Vec<(&str, u64)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (case, heap) = line.rsplit_once(", ").expect("a case and its allocations");
            (case, heap.trim_end_matches(" allocations").parse().expect("a number of allocations"))
        })
        .collect();
    assert_eq!(baseline.len(), now.len(), "each case has its baseline");
    for ((case, heap), (was, heap_was)) in now.iter().zip(baseline) {
        assert_eq!(case, was, "messages and bytes (left: now)");
        // A buffer that grows at another moment is not worth a new baseline.
        assert!(*heap <= heap_was + heap_was / 50 + 1, "{case}: {heap} allocations, were {heap_was}");
    }
}
