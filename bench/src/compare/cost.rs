//! What a stretch of work cost the cluster: the nodes' own counters, and their CPU time as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;

use common::client::wire::NodeStatus;
use common::types::NodeId;

use crate::report::results::{Better, Repetition, Unit};

/// Counters of all nodes at one moment.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    nodes: BTreeMap<NodeId, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    pid: u32,
    counters: BTreeMap<String, u64>,
    cpu_us: Option<u64>,
}

impl Costs {
    /// Takes down one node's counters; `pid` is its process.
    pub fn add(&mut self, status: &NodeStatus, pid: u32) {
        let counters = status.counters.iter().cloned().collect();
        self.nodes.insert(status.core.id, Node { pid, counters, cpu_us: cpu_us(pid) });
    }

    /// What was spent since `before`, over all nodes. None when a node was restarted, or none was there.
    pub fn since(&self, before: &Self) -> Option<Spent> {
        let mut spent = Spent { cpu_us: Some(0), ..Spent::default() };
        for (id, now) in &self.nodes {
            let then = before.nodes.get(id).filter(|t| t.pid == now.pid)?;
            let add = |to: &mut u64, name: &str| {
                let value = |node: &Node| node.counters.get(name).copied().unwrap_or(0);
                *to += value(now).saturating_sub(value(then));
            };
            add(&mut spent.messages, "messages_sent");
            add(&mut spent.bytes, "peer_bytes_sent");
            add(&mut spent.writes, "peer_writes");
            add(&mut spent.fsyncs, "fsyncs");
            add(&mut spent.log_bytes, "log_bytes");
            let mut applied = 0;
            add(&mut applied, "entries_applied");
            spent.entries = spent.entries.max(applied);
            let cpu = now.cpu_us.zip(then.cpu_us).map(|(now, then)| now.saturating_sub(then));
            spent.cpu_us = spent.cpu_us.zip(cpu).map(|(sum, us)| sum + us);
        }
        (!self.nodes.is_empty()).then_some(spent)
    }
}

/// Spent over all nodes in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Entries committed: the most that any node applied.
    pub entries: u64,
    /// Messages between nodes.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Writes to sockets that carried them.
    pub writes: u64,
    /// Syncs of the log and of the hard state.
    pub fsyncs: u64,
    /// Bytes written to logs.
    pub log_bytes: u64,
    /// CPU time in user and kernel mode; None where the kernel does not tell.
    pub cpu_us: Option<u64>,
}

impl Spent {
    /// Adds the figures per committed entry to a repetition. Adds none if nothing was committed.
    pub fn measure(&self, rep: &mut Repetition) {
        if self.entries == 0 {
            return;
        }
        let per = |n: u64| n as f64 / self.entries as f64;
        rep.measure("messages per entry", Unit::PerEntry, Better::Lower, per(self.messages));
        rep.measure("bytes between nodes per entry", Unit::BytesPerEntry, Better::Lower, per(self.bytes));
        rep.measure("socket writes between nodes per entry", Unit::PerEntry, Better::Lower, per(self.writes));
        rep.measure("fsyncs per entry", Unit::PerEntry, Better::Lower, per(self.fsyncs));
        rep.measure("log bytes per entry", Unit::BytesPerEntry, Better::Lower, per(self.log_bytes));
        if let Some(cpu) = self.cpu_us {
            rep.measure("CPU time per entry", Unit::MicrosPerEntry, Better::Lower, per(cpu));
        }
    }
}

/// The CPU time of all threads of a process so far, as the scheduler counts it, in microseconds.
pub fn cpu_us(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end while we look; then its time is not counted, which is a little and the same for all.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(sum / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pid: u32, list: &[(&str, u64)], cpu_us: u64) -> Node {
        Node { pid, counters: list.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(), cpu_us: Some(cpu_us) }
    }

    fn costs(nodes: impl IntoIterator<Item = (u64, Node)>) -> Costs {
        Costs { nodes: nodes.into_iter().map(|(id, n)| (NodeId(id), n)).collect() }
    }

    #[test]
    fn spent_is_summed_over_nodes_and_divided_by_entries() {
        let before = costs([(1, node(10, &[("fsyncs", 5)], 100)), (2, node(20, &[], 0))]);
        let after = costs([
            (1, node(10, &[("fsyncs", 25), ("entries_applied", 100), ("messages_sent", 300)], 1100)),
            (2, node(20, &[("fsyncs", 20), ("entries_applied", 98), ("messages_sent", 100)], 500)),
        ]);
        let spent = after.since(&before).unwrap();
        assert_eq!((spent.entries, spent.fsyncs, spent.messages, spent.cpu_us), (100, 40, 400, Some(1500)));
        let mut rep = Repetition::default();
        spent.measure(&mut rep);
        assert_eq!(rep.get("messages per entry"), Some(4.0));
        assert_eq!(rep.get("CPU time per entry"), Some(15.0));
    }

    #[test]
    fn a_restarted_node_has_other_counters() {
        let before = costs([(1, node(10, &[], 0))]);
        assert_eq!(costs([(1, node(11, &[], 0))]).since(&before), None);
        assert_eq!(costs([]).since(&before), None);
        let mut rep = Repetition::default();
        Spent::default().measure(&mut rep);
        assert!(rep.measures.is_empty());
    }

    #[test]
    fn the_kernel_tells_the_cpu_time() {
        if cfg!(target_os = "linux") {
            assert!(cpu_us(std::process::id()).is_some());
        }
        assert_eq!(cpu_us(u32::MAX), None);
    }
}
