//! Raft of TiKV: `RawNode` over its `MemStorage`, driven by `ready` and `advance` with its `LightReady`.

use std::collections::VecDeque;

use tikv_raft::eraftpb::{Entry, Message};
use tikv_raft::storage::MemStorage;
use tikv_raft::{Config, RawNode, StateRole};

use crate::trio::{Group, KEPT, NODES, level};

/// Its configuration in words.
pub(crate) const SETTINGS: &str = "raft-rs: raft 0.7 of TiKV, RawNode over MemStorage; max_size_per_msg 1 MiB, \
     max_inflight_msgs 256, skip_bcast_commit, check_quorum and pre_vote on, as TiKV has them, and batch_append, which TiKV \
     leaves off and which makes it twice as fast here; N proposals, then ready, advance and advance_apply until nothing is \
     left; messages are not encoded";

/// Bytes that an entry counts beside its payload, against [`KEPT`]: it is a message of its own.
const OVERHEAD: usize = 128;

/// Its three nodes.
pub(crate) struct Tikv {
    nodes: Vec<RawNode<MemStorage>>,
    leader: usize,
    mail: VecDeque<Message>,
    /// Of each node: the last index applied, and bytes.
    applied: [(u64, u64); NODES],
    /// Bytes in each log.
    kept: usize,
}

fn node(id: u64) -> RawNode<MemStorage> {
    let config = Config {
        id,
        max_size_per_msg: 1 << 20,
        max_inflight_msgs: 256,
        skip_bcast_commit: true,
        batch_append: true,
        check_quorum: true,
        pre_vote: true,
        ..Config::default()
    };
    let voters: Vec<u64> = (1..=NODES as u64).collect();
    let store = MemStorage::new_with_conf_state((voters, vec![]));
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&config, store, &logger).expect("a legal configuration")
}

impl Tikv {
    /// Carries out all that a node has ready, in the order that its documentation gives.
    fn ready(&mut self, n: usize, see: &mut impl FnMut(&Message)) {
        let node = &mut self.nodes[n];
        let store = node.store().clone();
        let mut ready = node.ready();
        let mut send = |messages: Vec<Message>, mail: &mut VecDeque<Message>| {
            messages.iter().for_each(&mut *see);
            mail.extend(messages);
        };
        send(ready.take_messages(), &mut self.mail);
        apply(&ready.take_committed_entries(), &mut self.applied[n]);
        store.wl().append(ready.entries()).expect("entries follow the log");
        if let Some(hard) = ready.hs() {
            store.wl().set_hardstate(hard.clone());
        }
        send(ready.take_persisted_messages(), &mut self.mail);
        let mut light = node.advance(ready);
        if let Some(commit) = light.commit_index() {
            store.wl().mut_hard_state().set_commit(commit);
        }
        send(light.take_messages(), &mut self.mail);
        apply(&light.take_committed_entries(), &mut self.applied[n]);
        node.advance_apply();
    }

    fn run(&mut self, mut see: impl FnMut(&Message)) {
        loop {
            for n in 0..NODES {
                while self.nodes[n].has_ready() {
                    self.ready(n, &mut see);
                }
            }
            if self.mail.is_empty() {
                return;
            }
            while let Some(message) = self.mail.pop_front() {
                self.nodes[message.to as usize - 1].step(message).expect("a message of a calm run");
            }
        }
    }

    /// Its logs grow until they are told not to.
    fn compact(&mut self, added: usize) {
        self.kept += added;
        if self.kept > KEPT {
            self.kept = 0;
            for (node, (applied, _)) in self.nodes.iter().zip(self.applied) {
                node.store().wl().compact(applied).expect("nothing behind it is needed");
            }
        }
    }
}

fn apply(entries: &[Entry], (applied, bytes): &mut (u64, u64)) {
    if let Some(last) = entries.last() {
        *bytes += entries.iter().map(|e| e.data.len() as u64).sum::<u64>();
        *applied = last.index;
    }
}

impl Group for Tikv {
    type Message = Message;

    const NAME: &'static str = "raft-rs";

    fn elected() -> Self {
        let nodes: Vec<_> = (1..=NODES as u64).map(node).collect();
        let mut group = Self { nodes, leader: 0, mail: VecDeque::new(), applied: [(0, 0); NODES], kept: 0 };
        group.nodes[0].campaign().expect("a voter may stand");
        group.run(|_| {});
        assert_eq!(group.nodes[0].raft.state, StateRole::Leader);
        group
    }

    fn commit(&mut self, payload: &[u8], n: usize, see: impl FnMut(&Message)) {
        for _ in 0..n {
            self.nodes[self.leader].propose(Vec::new(), payload.to_vec()).expect("a leader takes it");
        }
        self.run(see);
        let log = &self.nodes[self.leader].raft.raft_log;
        assert!(log.committed == log.last_index() && self.applied[self.leader].0 == log.committed, "it is applied");
        self.compact(n * (payload.len() + OVERHEAD));
    }

    fn settle(&mut self) -> u64 {
        for _ in 0..10 {
            for node in &mut self.nodes {
                node.tick();
            }
            self.run(|_| {});
        }
        level(&self.applied)
    }
}
