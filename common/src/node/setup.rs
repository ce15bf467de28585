//! What a node is told, and why it may not start.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apply::ApplyWorker;
use super::config::{ConfigError, ReplicaConfig};
use crate::log::LogView;
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::protocol::Protocol;
use crate::state_machine::{Applier, StateMachine};
use crate::storage::{Fs, Identity, LogWorker, Lost, Opened, SnapshotWorker, Storage, StorageConfig, StorageError};
use crate::transport::{ClientLimits, PeerLimits, Switchboard, TransportError};
use crate::types::{LogId, Member, NodeId};

/// Everything a node is told when it starts.
pub struct NodeConfig<P: Protocol> {
    /// The cluster's name: nodes, clients and data folders of others are refused.
    pub cluster: String,
    /// Who this node is. Not 0.
    pub id: NodeId,
    /// Voter or observer.
    pub member: Member,
    /// Every voter and its address for peers; the same on all nodes.
    pub voters: BTreeMap<NodeId, String>,
    /// Observers and their addresses for peers, for those whom the protocol's settings make call some of them
    /// ([`Protocol::sources`]). Nobody else looks at it.
    pub observers: BTreeMap<NodeId, String>,
    /// Where to listen for peers. None: a voter listens at its address in `voters`, an observer nowhere.
    pub peer_listen: Option<String>,
    /// Where to listen for clients, such as `127.0.0.1:7001`; port 0 lets the system choose.
    pub client_listen: String,
    /// Its data. Created if it does not exist.
    pub data_dir: PathBuf,
    /// The protocol's timers and limits, validated.
    pub protocol: P::Config,
    /// The replica's limits.
    pub replica: ReplicaConfig,
    /// The storage's limits.
    pub storage: StorageConfig,
    /// Limits of peer sessions.
    pub peers: PeerLimits,
    /// Limits of client connections.
    pub clients: ClientLimits,
    /// A file to which events are appended as `trace/1`, if any.
    pub trace: Option<PathBuf>,
    /// For randomised time-outs; should differ between nodes.
    pub seed: u64,
}

// Derived, both would ask it of the protocol too.
impl<P: Protocol> Clone for NodeConfig<P> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            id: self.id,
            member: self.member,
            voters: self.voters.clone(),
            observers: self.observers.clone(),
            peer_listen: self.peer_listen.clone(),
            client_listen: self.client_listen.clone(),
            data_dir: self.data_dir.clone(),
            protocol: self.protocol.clone(),
            replica: self.replica.clone(),
            storage: self.storage.clone(),
            peers: self.peers,
            clients: self.clients,
            trace: self.trace.clone(),
            seed: self.seed,
        }
    }
}

impl<P: Protocol> fmt::Debug for NodeConfig<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig").field("id", &self.id).field("voters", &self.voters).finish_non_exhaustive()
    }
}

impl<P: Protocol> NodeConfig<P> {
    /// A voter with default limits, which listens at its address in `voters`, and for clients at a port of the
    /// system's choice on the loopback interface.
    pub fn voter(id: NodeId, voters: BTreeMap<NodeId, String>, data_dir: PathBuf, protocol: P::Config) -> Self {
        Self {
            cluster: "duet".to_owned(),
            id,
            member: Member::Voter,
            voters,
            observers: BTreeMap::new(),
            peer_listen: None,
            client_listen: "127.0.0.1:0".to_owned(),
            data_dir,
            protocol,
            replica: ReplicaConfig::default(),
            storage: StorageConfig::default(),
            peers: PeerLimits::default(),
            clients: ClientLimits::default(),
            trace: None,
            seed: id.0,
        }
    }
}

/// What is there already, in place of the addresses in the configuration: how a program with several nodes gives each
/// the others' ports before any of them runs, or does without ports.
#[derive(Debug, Default)]
pub struct Listeners {
    /// A socket that listens for peers.
    pub peers: Option<TcpListener>,
    /// A socket that listens for clients.
    pub clients: Option<TcpListener>,
    /// Where the nodes of this process meet, instead of over TCP.
    pub switchboard: Option<Switchboard>,
}

/// Why a node does not start, or does not run any more.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A limit of the replica is out of its range.
    #[error("replica setting {0}")]
    Config(#[from] ConfigError),
    /// The sockets: an address that cannot be bound, or a contradiction in the configuration.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The data folder.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What the protocol saved cannot be read.
    #[error("the hard state in {} is not one of {protocol}: {reason}", dir.display())]
    Hard {
        /// The data folder.
        dir: PathBuf,
        /// [`Protocol::NAME`].
        protocol: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The newest snapshot does not hold what the state machine understands.
    #[error("the snapshot up to {snapshot} in {} cannot be loaded: {reason}", dir.display())]
    Snapshot {
        /// The data folder.
        dir: PathBuf,
        /// Which.
        snapshot: LogId,
        /// What is wrong.
        reason: io::Error,
    },
    /// The trace file cannot be opened.
    #[error("cannot open the trace file {}: {reason}", path.display())]
    Trace {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// The system gives no thread or no event queue.
    #[error("cannot start the node's threads: {0}")]
    Threads(io::Error),
    /// The node stopped by itself, because going on could break a promise.
    #[error("the node stopped itself: {0}")]
    Halted(String),
}

/// What a node's folder held, put together: everything a replica and its workers start from. The shell and the simulator
/// open a folder in this one way.
#[derive(Debug)]
pub struct Parts<P: Protocol, S: StateMachine> {
    /// What the protocol saved last.
    pub hard: P::Hard,
    /// The newest snapshot, which the state machine has loaded; zero if there is none.
    pub snapshot: LogId,
    /// Who belonged to the cluster where the snapshot ends, if an entry said so.
    pub membership: Option<(LogId, Membership)>,
    /// The durable log.
    pub log: LogView,
    /// Takes the operations on log and hard state.
    pub log_worker: LogWorker,
    /// Takes the operations on snapshots.
    pub snapshot_worker: SnapshotWorker,
    /// Takes the operations on the state machine.
    pub apply_worker: ApplyWorker<S>,
    /// What damage has taken from the log, if it did at this start.
    pub lost: Option<Lost>,
}

impl<P: Protocol, S: StateMachine> Parts<P, S> {
    /// Opens the folder, creating it for a node that never ran, and loads the newest snapshot into `machine`, which has
    /// applied nothing yet.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        storage: &StorageConfig,
        machine: Applier<S>,
        counters: &Arc<Counters>,
    ) -> Result<Self, NodeError> {
        let mark = |saved: Option<&[u8]>| {
            let hard = saved.map_or_else(|| Ok(P::Hard::default()), postcard::from_bytes).ok()?;
            postcard::to_stdvec(&P::mend(hard)?).ok()
        };
        let opened = Storage::open_mending(fs, dir, identity, storage, counters, &mark)?;
        let Opened { hard, snapshot, log, snapshots, log_worker, snapshot_worker, lost } = opened;
        let hard = match hard {
            None => P::Hard::default(),
            Some(bytes) => postcard::from_bytes(&bytes).map_err(|e| NodeError::Hard {
                dir: dir.to_owned(),
                protocol: P::NAME,
                reason: e.to_string(),
            })?,
        };
        let open = Box::new(move |id| -> io::Result<Box<dyn io::Read>> {
            Ok(Box::new(snapshots.read(id).map_err(io::Error::other)?))
        });
        let mut apply_worker = ApplyWorker::new(machine, open, Arc::clone(counters));
        if snapshot > LogId::ZERO {
            let dir = || dir.to_owned();
            apply_worker.restore(snapshot).map_err(|reason| NodeError::Snapshot { dir: dir(), snapshot, reason })?;
        }
        let membership = apply_worker.applier().membership().cloned();
        Ok(Self { hard, snapshot, membership, log, log_worker, snapshot_worker, apply_worker, lost })
    }
}
