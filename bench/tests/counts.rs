//! What one commit costs in things that can be counted, against what it cost when `counts.txt` was written: allocations,
//! messages and bytes of cores in memory. Counts are the same on every machine and at every load, so this is what keeps
//! the cores from growing slower unnoticed. After a change that is meant: `UPDATE_GOLDENFILES=1 cargo test -p bench --test counts`.

#[allow(dead_code, reason = "the benchmarks have more cases")]
#[path = "../benches/trio/mod.rs"]
mod trio;

use std::fmt::Write as _;

use common::codec::Message;
use common::protocol::Protocol;
use common::transport::frame::PREFIX;
use trio::{Group, Trio};

/// What is counted.
#[derive(Clone, Copy)]
struct Case {
    voters: usize,
    observers: usize,
    /// Bytes of a payload.
    size: usize,
    /// Payloads in a batch.
    n: usize,
}

impl Case {
    /// What is usual, and then what grows: voters, observers, values. `docs/src/scale.md` shows it as tables.
    fn all() -> impl Iterator<Item = Self> {
        let usual = |(size, n)| Self { voters: 3, observers: 0, size, n };
        let batches = [(100, 1), (100, 16), (100, 256), (1024, 16)].map(usual);
        let voters = [5, 7, 9].map(|voters| Self { voters, ..usual((100, 16)) });
        let observers = [1, 2, 4, 8].map(|observers| Self { observers, ..usual((100, 16)) });
        let values = [16, 256, 4 << 10, 64 << 10, 1 << 20].map(|size| usual((size, 1)));
        batches.into_iter().chain(voters).chain(observers).chain(values)
    }

    /// Batches that are counted, after as many that are not.
    fn times(self) -> usize {
        if self.size * self.n > 32 << 10 { 20 } else { 500 }
    }

    fn name(self) -> String {
        let Self { voters, observers, size, n } = self;
        let who = match (voters, observers) {
            (3, 0) => String::new(),
            (_, 0) => format!(", {voters} voters"),
            (_, 1) => ", 1 observer".to_owned(),
            _ => format!(", {observers} observers"),
        };
        format!("{size} B x {n}{who}")
    }
}

/// One case: for a thousand commits, on all nodes together.
fn row<P>(case: Case) -> (String, u64)
where
    P: Protocol<Config: Default>,
{
    let Case { voters, observers, size, n } = case;
    let times = case.times();
    let (mut nodes, payload) = (Trio::<P>::of(voters, observers), vec![7; size]);
    (0..times).for_each(|_| nodes.commit(&payload, n, |_| {}));
    let heap = allocation_counter::measure(|| (0..times).for_each(|_| nodes.commit(&payload, n, |_| {})));
    let (mut messages, mut sent) = (0, 0);
    for _ in 0..times {
        nodes.commit(&payload, n, |m| {
            messages += 1;
            sent += framed(m);
        });
    }
    assert_eq!(nodes.settle(), (3 * times * n * size) as u64, "all entries were applied");
    let thousand = |count: u64| count * 1000 / (times * n) as u64;
    let (messages, sent) = (thousand(messages), thousand(sent as u64));
    let case = format!("{} {}: {messages} messages of {sent} bytes", P::NAME, case.name());
    (case, thousand(heap.count_total))
}

/// As it goes over a link: prefix, header and body.
fn framed(message: &impl Message) -> usize {
    PREFIX + postcard::to_stdvec(message).expect("a message can be encoded").len() + message.body().len()
}

fn counted() -> Vec<(String, u64)> {
    Case::all().flat_map(|case| [row::<raft::Raft>(case), row::<zab::Zab>(case)]).collect()
}

#[test]
fn a_commit_costs_no_more_than_it_did() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counts.txt");
    let now = counted();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        let mut text =
            String::from("# For a thousand commits, on all nodes together: three voters, unless it says otherwise.\n");
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
