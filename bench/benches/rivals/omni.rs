//! OmniPaxos over its `MemoryStorage`.

use bytes::Bytes;
use omnipaxos::messages::Message;
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::util::LogEntry;
use omnipaxos::{ClusterConfig, OmniPaxos, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;
use serde::Serialize;

use crate::trio::{Group, KEPT, NODES, level};

/// Its configuration in words.
pub(crate) const SETTINGS: &str = "omnipaxos: 0.2.4 over MemoryStorage, default configuration; an entry is a reference-counted \
     slice, so that its copies for each follower copy no bytes; N times append, then messages until none is left; decided \
     entries are read on every node; messages are not encoded";

/// Bytes that an entry counts beside its payload, against [`KEPT`].
const OVERHEAD: usize = 64;

/// A command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Command(Bytes);

impl Entry for Command {
    type Snapshot = NoSnapshot;
}

/// Its three nodes.
pub(crate) struct Omni {
    nodes: Vec<OmniPaxos<Command, MemoryStorage<Command>>>,
    leader: usize,
    mail: Vec<Message<Command>>,
    /// Of each node: how many entries are applied, and bytes.
    applied: [(usize, u64); NODES],
    /// Bytes in each log.
    kept: usize,
}

impl Omni {
    fn run(&mut self, mut see: impl FnMut(&Message<Command>)) {
        loop {
            self.nodes.iter_mut().for_each(|node| node.take_outgoing_messages(&mut self.mail));
            if self.mail.is_empty() {
                return;
            }
            for message in self.mail.drain(..) {
                see(&message);
                self.nodes[message.get_receiver() as usize - 1].handle_incoming(message);
            }
            self.apply();
        }
    }

    fn apply(&mut self) {
        for (node, (applied, bytes)) in self.nodes.iter().zip(&mut self.applied) {
            let decided = node.get_decided_idx();
            if decided == *applied {
                continue;
            }
            for entry in node.read_decided_suffix(*applied).expect("it is there") {
                match entry {
                    LogEntry::Decided(command) => *bytes += command.0.len() as u64,
                    other => panic!("a decided command, not {other:?}"),
                }
            }
            *applied = decided;
        }
    }

    /// Its logs grow until they are told not to.
    fn trim(&mut self, added: usize) {
        self.kept += added;
        if self.kept > KEPT {
            self.kept = 0;
            self.nodes[self.leader].trim(Some(self.applied[self.leader].0)).expect("all have accepted it");
            self.run(|_| {});
        }
    }
}

impl Group for Omni {
    type Message = Message<Command>;

    const NAME: &'static str = "omnipaxos";

    fn elected() -> Self {
        let ids: Vec<u64> = (1..=NODES as u64).collect();
        let cluster = ClusterConfig { configuration_id: 1, nodes: ids.clone(), flexible_quorum: None };
        let node = |pid: &u64| {
            let server = ServerConfig { pid: *pid, ..ServerConfig::default() };
            cluster.clone().build_for_server(server, MemoryStorage::default()).expect("a legal configuration")
        };
        let nodes = ids.iter().map(node).collect();
        let mut group = Self { nodes, leader: 0, mail: Vec::new(), applied: [(0, 0); NODES], kept: 0 };
        for _ in 0..1000 {
            group.nodes.iter_mut().for_each(OmniPaxos::tick);
            group.run(|_| {});
            // The second says that it takes proposals.
            if let Some((leader, true)) = group.nodes[0].get_current_leader() {
                group.leader = leader as usize - 1;
                return group;
            }
        }
        panic!("no leader is elected");
    }

    fn commit(&mut self, payload: &[u8], n: usize, see: impl FnMut(&Message<Command>)) {
        let leader = &mut self.nodes[self.leader];
        for _ in 0..n {
            assert!(leader.append(Command(Bytes::copy_from_slice(payload))).is_ok(), "a leader takes it");
        }
        let upto = self.applied[self.leader].0 + n;
        self.run(see);
        assert!(self.applied[self.leader].0 == upto, "it is applied");
        self.trim(n * (payload.len() + OVERHEAD));
    }

    fn settle(&mut self) -> u64 {
        level(&self.applied)
    }
}
