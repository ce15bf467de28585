//! What one commit costs beside time, in the cases of `peers_cores`: allocations (a buffer that grows counts again), and the
//! messages it takes, with their bytes. The allocator counts here, so times are taken elsewhere.

#[path = "../rivals/mod.rs"]
mod rivals;
#[path = "../rounds/mod.rs"]
#[allow(dead_code, reason = "only its table is used here")]
mod rounds;
#[path = "../trio/mod.rs"]
mod trio;

use common::codec::Message as Ours;
use common::transport::frame::PREFIX;
use protobuf::Message as _;
use rivals::omni::Omni;
use rivals::tikv::Tikv;
use serde::Serialize;
use trio::{BATCHES, Group, SIZES, Trio};

/// Batches that are counted, after as many that are not.
const TIMES: usize = 1000;

fn row<G: Group>(size: usize, n: usize, bytes: impl Fn(&G::Message) -> usize) -> Vec<String> {
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
    assert_eq!(nodes.settle(), (3 * TIMES * n * size) as u64);
    let each = |count: u64| count as f64 / (TIMES * n) as f64;
    let mut cells = vec![format!("{size} B"), n.to_string(), G::NAME.to_owned()];
    cells.extend([heap.count_total, messages].map(|count| format!("{:.3}", each(count))));
    cells.extend([heap.bytes_total, sent as u64].map(|count| format!("{:.0}", each(count))));
    cells
}

fn postcard_bytes(message: &impl Serialize) -> usize {
    postcard::to_stdvec(message).expect("a message can be encoded").len()
}

/// As it goes over a link: prefix, header and body.
fn framed(message: &impl Ours) -> usize {
    PREFIX + postcard_bytes(message) + message.body().len()
}

fn main() {
    for line in rivals::SETTINGS {
        eprintln!("{line}");
    }
    let head = ["payload", "batch", "", "allocations", "messages", "bytes allocated", "bytes sent"];
    let rows: Vec<_> = SIZES
        .iter()
        .flat_map(|size| BATCHES.iter().map(move |n| (*size, *n)))
        .flat_map(|(size, n)| {
            [
                row::<Trio<raft::Raft>>(size, n, framed),
                row::<Trio<zab::Zab>>(size, n, framed),
                row::<Tikv>(size, n, |m| m.compute_size() as usize),
                row::<Omni>(size, n, postcard_bytes),
            ]
        })
        .collect();
    println!("per commit, all three nodes together\n\n{}", rounds::table(&head.map(str::to_owned), &rows));
}
