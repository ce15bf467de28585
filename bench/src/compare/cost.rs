//! What a stretch of work cost the cluster: the nodes' own counters, and what the kernel counts for their processes.

use std::collections::BTreeMap;
use std::fs;

use common::types::NodeId;

use crate::report::results::{Better, Repetition, Unit};

/// What is shown per entry, if the nodes count it: the counter's name, the measure's, its unit and which way is better.
const SHOWN: [(&str, &str, Unit, Better); 9] = [
    (MESSAGES, "messages per entry", Unit::PerEntry, Better::Lower),
    (MESSAGE_BYTES, "bytes between nodes per entry", Unit::BytesPerEntry, Better::Lower),
    ("peer_writes", "socket writes between nodes per entry", Unit::PerEntry, Better::Lower),
    (FSYNCS, "fsyncs per entry", Unit::PerEntry, Better::Lower),
    (LOG_BYTES, "log bytes per entry", Unit::BytesPerEntry, Better::Lower),
    (DISK_BYTES, "bytes to disk per entry", Unit::BytesPerEntry, Better::Lower),
    // Of files, and of sockets where a system writes to them so and does not `send`: no figure to compare.
    (WRITE_CALLS, "write calls per entry", Unit::PerEntry, Better::Neither),
    (WAITS, "times a thread waited per entry", Unit::PerEntry, Better::Lower),
    (CPU_US, "CPU time per entry", Unit::MicrosPerEntry, Better::Lower),
];

/// Counted by nodes of Duet.
const MESSAGES: &str = "messages_sent";
const MESSAGE_BYTES: &str = "peer_bytes_sent";
const FSYNCS: &str = "fsyncs";
const LOG_BYTES: &str = "log_bytes";
/// Counted by the kernel for every process: pages that were made dirty, calls of `write` and its like, voluntary context
/// switches, time on a core.
const DISK_BYTES: &str = "disk bytes";
const WRITE_CALLS: &str = "write calls";
const WAITS: &str = "waits";
const CPU_US: &str = "cpu";

/// Counters of all nodes at one moment.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    nodes: BTreeMap<NodeId, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    pid: u32,
    counters: BTreeMap<String, u64>,
}

impl Costs {
    /// Takes down one node's counters, and the kernel's of its process `pid`.
    pub fn add(&mut self, id: NodeId, counters: Vec<(String, u64)>, pid: u32) {
        let mut counters: BTreeMap<String, u64> = counters.into_iter().collect();
        let kernel = [
            (DISK_BYTES, io(pid, "write_bytes:")),
            (WRITE_CALLS, io(pid, "syscw:")),
            (WAITS, waits(pid)),
            (CPU_US, cpu_us(pid)),
        ];
        counters.extend(kernel.into_iter().filter_map(|(name, n)| Some((name.to_owned(), n?))));
        self.nodes.insert(id, Node { pid, counters });
    }

    /// Of how many nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Those of one node.
    #[must_use]
    pub fn of(&self, id: NodeId) -> Self {
        Self { nodes: self.nodes.iter().filter(|(n, _)| **n == id).map(|(n, node)| (*n, node.clone())).collect() }
    }

    /// What was spent since `before`, over all nodes. None when a node was restarted, or none was there.
    pub fn since(&self, before: &Self) -> Option<Spent> {
        let mut spent = Spent::default();
        for (id, now) in &self.nodes {
            let then = before.nodes.get(id).filter(|t| t.pid == now.pid)?;
            let difference = |name: &str| {
                let then = then.counters.get(name).copied().unwrap_or(0);
                now.counters.get(name).map(|now| now.saturating_sub(then))
            };
            for (name, ..) in SHOWN {
                if let Some(n) = difference(name) {
                    *spent.counted.entry(name).or_default() += n;
                }
            }
            spent.entries = spent.entries.max(difference("entries_applied"));
        }
        (!self.nodes.is_empty()).then_some(spent)
    }
}

/// Spent over all nodes in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Entries committed: the most that any node applied; None if the nodes do not say.
    entries: Option<u64>,
    counted: BTreeMap<&'static str, u64>,
}

impl Spent {
    /// Microseconds on cores, if the kernel says.
    pub fn cpu_us(&self) -> Option<u64> {
        self.counted.get(CPU_US).copied()
    }

    /// Messages to other nodes, and their bytes, if the nodes count them.
    pub fn sent(&self) -> Option<(u64, u64)> {
        self.counted.get(MESSAGES).copied().zip(self.counted.get(MESSAGE_BYTES).copied())
    }

    /// Adds what carries over to other machines to a repetition, per committed entry, with the step's name before each figure.
    pub fn measure_some(&self, rep: &mut Repetition, step: &str, writes: u64) {
        let mut all = Repetition::default();
        self.measure(&mut all, writes);
        let some = [MESSAGES, MESSAGE_BYTES, FSYNCS, LOG_BYTES, CPU_US];
        for (_, measure, unit, better) in SHOWN.into_iter().filter(|(name, ..)| some.contains(name)) {
            if let Some(value) = all.get(measure) {
                rep.measure(&format!("{step}: {measure}"), unit, better, value);
            }
        }
    }

    /// Adds the figures per committed entry to a repetition, of which there were as many as `writes` if the nodes do not say.
    /// Adds none if nothing was committed.
    pub fn measure(&self, rep: &mut Repetition, writes: u64) {
        let entries = self.entries.unwrap_or(writes);
        if entries == 0 {
            return;
        }
        for (name, measure, unit, better) in SHOWN {
            if let Some(n) = self.counted.get(name) {
                rep.measure(measure, unit, better, *n as f64 / entries as f64);
            }
        }
    }
}

/// The CPU time of a process so far, in microseconds: as the scheduler counts it for each of its threads, or, where that is
/// less because threads have ended, by the clock's ticks for the whole process.
pub fn cpu_us(pid: u32) -> Option<u64> {
    let threads =
        sum_over_threads(pid, "schedstat", |text| text.split_whitespace().next()?.parse::<u64>().ok())? / 1000;
    Some(threads.max(ticks_us(pid).unwrap_or(0)))
}

/// The same of this process, to the microsecond.
pub fn own_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn ticks_us(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the fields after it are counted from the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// The most memory that a process ever had resident, in bytes.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
}

/// How often a thread of the process gave its core up by itself, to wait for something.
fn waits(pid: u32) -> Option<u64> {
    let of = |text: &str| text.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok());
    sum_over_threads(pid, "status", of)
}

/// What the kernel counts of a process's input and output.
fn io(pid: u32, name: &str) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
}

fn sum_over_threads(pid: u32, file: &str, read: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end while we look; then it is not counted, which is a little and the same for all.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join(file)) else { continue };
        sum += read(&text)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pid: u32, list: &[(&str, u64)]) -> Node {
        Node { pid, counters: list.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect() }
    }

    fn costs(nodes: impl IntoIterator<Item = (u64, Node)>) -> Costs {
        Costs { nodes: nodes.into_iter().map(|(id, n)| (NodeId(id), n)).collect() }
    }

    #[test]
    fn spent_is_summed_over_nodes_and_divided_by_entries() {
        let before = costs([(1, node(10, &[("fsyncs", 5), (CPU_US, 100)])), (2, node(20, &[(CPU_US, 0)]))]);
        let first = [("fsyncs", 25), ("entries_applied", 100), ("messages_sent", 300), (CPU_US, 1100)];
        let second = [("fsyncs", 20), ("entries_applied", 98), ("messages_sent", 100), (CPU_US, 500)];
        let after = costs([(1, node(10, &first)), (2, node(20, &second))]);
        let of_one = after.of(NodeId(2)).since(&before.of(NodeId(2))).unwrap();
        assert_eq!((of_one.cpu_us(), of_one.sent()), (Some(500), None));
        let mut rep = Repetition::default();
        after.since(&before).unwrap().measure(&mut rep, 7);
        assert_eq!(rep.get("messages per entry"), Some(4.0));
        assert_eq!(rep.get("fsyncs per entry"), Some(0.4));
        assert_eq!(rep.get("CPU time per entry"), Some(15.0));
        assert_eq!(rep.get("log bytes per entry"), None, "what is not counted is not zero");
    }

    #[test]
    fn where_nodes_do_not_count_entries_the_writes_are() {
        let before = costs([(1, node(10, &[("fsyncs", 5)]))]);
        let after = costs([(1, node(10, &[("fsyncs", 25)]))]);
        let mut rep = Repetition::default();
        after.since(&before).unwrap().measure(&mut rep, 10);
        assert_eq!(rep.get("fsyncs per entry"), Some(2.0));
    }

    #[test]
    fn a_restarted_node_has_other_counters() {
        let before = costs([(1, node(10, &[]))]);
        assert_eq!(costs([(1, node(11, &[]))]).since(&before), None);
        assert_eq!(costs([]).since(&before), None);
        let mut rep = Repetition::default();
        Spent::default().measure(&mut rep, 0);
        assert!(rep.measures.is_empty());
    }

    #[test]
    fn the_kernel_tells_what_a_process_used() {
        let own = std::process::id();
        if cfg!(target_os = "linux") {
            assert!(peak_memory(own).is_some_and(|bytes| bytes > 0));
            assert!(waits(own).is_some() && io(own, "syscw:").is_some());
            let (all, ticks) = (cpu_us(own).unwrap(), ticks_us(own).unwrap());
            assert!(all >= ticks && own_cpu_us() > 0, "{all} < {ticks}");
        }
        assert_eq!(cpu_us(u32::MAX), None);
    }
}
