//! Three nodes of openraft, set up as in the benchmark that its authors publish: the log and the state machine are in memory,
//! and what a node says to another is a call of its function.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::{InlineBatch, OneshotResponder, TokioRuntime, leader_id_adv::LeaderId};
use openraft::network::{RPCOption, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::{Config, EntryPayload, OptionalSend, Raft, RaftTypeConfig};
use tokio::runtime::Handle;

use crate::{Client, Cluster, NODES};

/// Its configuration in words.
pub(crate) const SETTINGS: &str = "openraft: 0.10.0-alpha.37 with the configuration of its own benchmark (max_payload_entries 1024, \
     purge_batch_size 1024, the rest default), but for elections after 1 s, without runtime-stats; logs are maps in memory, \
     RPCs are calls; a payload is a reference-counted slice";

/// A command.
#[derive(Clone, Debug)]
pub(crate) struct Command(Bytes);

impl Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0.len())
    }
}

/// What the state machine answers: nothing.
#[derive(Clone, Debug)]
pub(crate) struct Done;

/// Which types are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = Done;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, ()>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::AnyError;
}

type Node = Raft<Types, Machine>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Stored {
    vote: Option<VoteOf<Types>>,
    entries: BTreeMap<u64, EntryOf<Types>>,
    purged: Option<LogIdOf<Types>>,
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Stored>>);

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        Ok(lock(&self.0).entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, io::Error> {
        Ok(lock(&self.0).vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let stored = lock(&self.0);
        let last = stored.entries.values().next_back().map(RaftEntry::log_id);
        Ok(LogState { last_purged_log_id: stored.purged, last_log_id: last.or(stored.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        lock(&self.0).vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        lock(&self.0).entries.extend(entries.into_iter().map(|entry| (entry.index(), entry)));
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        lock(&self.0).entries.split_off(&last.map_or(0, |id| id.index() + 1));
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> Result<(), io::Error> {
        let mut stored = lock(&self.0);
        stored.purged = Some(upto);
        stored.entries = stored.entries.split_off(&(upto.index() + 1));
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Applied {
    last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
}

/// A state machine without state.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<Applied>>);

impl Machine {
    fn snapshot(&self) -> SnapshotOf<Types, ()> {
        let Applied { last, membership } = lock(&self.0).clone();
        SnapshotOf::<Types, ()> {
            meta: SnapshotMetaOf::<Types> { last_log_id: last, last_membership: membership },
            snapshot: (),
        }
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, ()>, io::Error> {
        Ok(self.snapshot())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>), io::Error> {
        let Applied { last, membership } = lock(&self.0).clone();
        Ok((last, membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut applied = lock(&self.0);
            applied.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                applied.membership = StoredMembershipOf::<Types>::new(Some(entry.log_id), membership);
            }
            drop(applied);
            if let Some(responder) = responder {
                responder.send(Done);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, (): ()) -> Result<(), io::Error> {
        *lock(&self.0) = Applied { last: meta.last_log_id, membership: meta.last_membership.clone() };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, ()>>, io::Error> {
        Ok(Some(self.snapshot()))
    }
}

/// Where each node finds the others.
#[derive(Clone, Default)]
struct Directory(Arc<OnceLock<Vec<Node>>>);

/// A node as another one calls it.
struct Callee(Node);

impl RaftNetworkFactory<Types> for Directory {
    type Network = Callee;

    async fn new_client(&mut self, target: u64, (): &()) -> Callee {
        Callee(self.0.get().expect("nodes call each other once all are there")[target as usize].clone())
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable<Types> {
    Unreachable::new(error)
}

impl RaftNetworkV2<Types> for Callee {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.0.append_entries(rpc).await.map_err(|e| unreachable(&e).into())
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, _: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.0.vote(rpc).await.map_err(|e| unreachable(&e).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, ()>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        self.0.install_full_snapshot(vote, snapshot).await.map_err(|e| unreachable(&e).into())
    }
}

/// The cluster.
pub(crate) struct Theirs {
    nodes: Vec<Node>,
}

/// One client.
pub(crate) struct TheirClient {
    leader: Node,
    payload: Bytes,
}

impl Cluster<Types> for Theirs {
    type Client = TheirClient;

    const NAME: &'static str = "openraft";

    async fn start(_: Handle) -> Self {
        let config = Config {
            election_timeout_min: 1000,
            election_timeout_max: 2000,
            purge_batch_size: 1024,
            max_payload_entries: 1024,
            ..Config::default()
        };
        let config = Arc::new(config.validate().expect("a legal configuration"));
        let directory = Directory::default();
        let mut nodes = Vec::new();
        for id in 0..NODES as u64 {
            let node = Raft::new(id, Arc::clone(&config), directory.clone(), Log::default(), Machine::default()).await;
            nodes.push(node.expect("an empty node starts"));
        }
        assert!(directory.0.set(nodes.clone()).is_ok());
        let voters: std::collections::BTreeSet<u64> = (0..NODES as u64).collect();
        nodes[0].initialize(voters).await.expect("a new cluster");
        for node in &nodes {
            // The voters, and the leader's first entry.
            node.wait(Some(Duration::from_secs(5))).applied_index_at_least(Some(1), "led").await.expect("it is led");
        }
        Self { nodes }
    }

    fn client(&self, _: usize, payload: usize) -> TheirClient {
        TheirClient { leader: self.nodes[0].clone(), payload: vec![7; payload].into() }
    }
}

impl Client for TheirClient {
    async fn write(&mut self) {
        self.leader.client_write(Command(self.payload.clone())).await.expect("a write is answered");
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        for node in std::mem::take(&mut self.nodes) {
            tokio::spawn(async move { node.shutdown().await });
        }
    }
}
