//! What is compared: Duet's two protocols, and whatever other system is asked for; and a running cluster of any of them.

use std::fmt;

use bytes::Bytes;
use common::types::NodeId;

use super::Problem;
use super::cost::Costs;
use super::live::Live;
use crate::cli::Protocol;
use crate::load::duet::{DuetConn, DuetTarget};
use crate::load::target::{Connection, Done, Op, Target};
use crate::peers::Peer;
use crate::peers::etcd::{Etcd, EtcdConn};
use crate::peers::servers::Servers;
use crate::peers::zookeeper::{Session, ZooKeeper};

/// One column of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Duet, with this protocol.
    Duet(Protocol),
    /// Another system.
    Peer(Peer),
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duet(protocol) => protocol.fmt(f),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

/// A running cluster of three voters.
#[derive(Debug)]
pub enum Cluster {
    /// Of Duet's nodes.
    Duet(Live),
    /// Of another system's servers.
    Peer(Servers),
}

impl Cluster {
    /// Where to send what changes something, or must see every change.
    pub async fn at_leader(&self) -> Result<AnyTarget, Problem> {
        match self {
            Self::Duet(live) => live.at_leader().await.map(AnyTarget::Duet),
            Self::Peer(servers) => Ok(match servers.peer() {
                Peer::ZooKeeper => AnyTarget::ZooKeeper(ZooKeeper::new(servers.addrs())),
                Peer::Etcd => AnyTarget::Etcd(Etcd::leader(servers.addrs())),
            }),
        }
    }

    /// All nodes, with connections spread over them.
    pub fn everywhere(&self) -> AnyTarget {
        match self {
            Self::Duet(live) => AnyTarget::Duet(live.everywhere()),
            Self::Peer(servers) => spread(servers.peer(), servers.addrs()),
        }
    }

    /// Each node alone.
    pub fn each(&self) -> Vec<AnyTarget> {
        match self {
            Self::Duet(live) => live.ids().into_iter().map(|id| AnyTarget::Duet(live.at(id))).collect(),
            Self::Peer(servers) => servers.addrs().into_iter().map(|addr| spread(servers.peer(), vec![addr])).collect(),
        }
    }

    /// Waits until all nodes have the same.
    pub async fn level(&self) -> Result<(), Problem> {
        match self {
            Self::Duet(live) => live.level(&live.ids()).await.map(drop),
            Self::Peer(servers) => Ok(servers.level().await?),
        }
    }

    /// Waits for a leader and gives its number, from 1.
    pub async fn leader(&self) -> Result<u64, Problem> {
        match self {
            Self::Duet(live) => live.leader().await.map(|id| id.0),
            Self::Peer(servers) => Ok(servers.leader().await? as u64 + 1),
        }
    }

    /// Kills a node with SIGKILL.
    pub async fn kill(&mut self, node: u64) -> Result<(), Problem> {
        match self {
            Self::Duet(live) => drop(live.cluster().kill(NodeId(node)).await?),
            Self::Peer(servers) => servers.kill(node as usize - 1).await?,
        }
        Ok(())
    }

    /// Starts a node that was killed, and waits until it has what the others have now.
    pub async fn restart(&mut self, node: u64) -> Result<(), Problem> {
        match self {
            Self::Duet(live) => {
                let leader = live.leader_status().await?;
                live.cluster().restart(NodeId(node)).await?;
                live.applied(NodeId(node), leader.core.committed).await?;
            }
            Self::Peer(servers) => servers.restart(node as usize - 1).await?,
        }
        Ok(())
    }

    /// Counters and CPU time of every node now.
    pub async fn costs(&self) -> Costs {
        let mut costs = Costs::default();
        match self {
            Self::Duet(live) => return live.costs().await,
            Self::Peer(servers) => {
                for (i, counters, pid) in servers.counters().await {
                    costs.add(NodeId(i as u64 + 1), counters, pid);
                }
            }
        }
        costs
    }

    /// Ends all nodes.
    pub async fn stop(self) {
        match self {
            Self::Duet(live) => live.stop().await,
            Self::Peer(servers) => servers.stop().await,
        }
    }
}

fn spread(peer: Peer, addrs: Vec<String>) -> AnyTarget {
    match peer {
        Peer::ZooKeeper => AnyTarget::ZooKeeper(ZooKeeper::new(addrs)),
        Peer::Etcd => AnyTarget::Etcd(Etcd::spread(addrs)),
    }
}

/// Any system under load.
#[derive(Clone, Debug)]
pub enum AnyTarget {
    /// Duet.
    Duet(DuetTarget),
    /// ZooKeeper.
    ZooKeeper(ZooKeeper),
    /// etcd.
    Etcd(Etcd),
}

/// A connection to any system.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum AnyConn {
    /// To Duet.
    Duet(DuetConn),
    /// To ZooKeeper.
    ZooKeeper(Session),
    /// To etcd.
    Etcd(EtcdConn),
}

impl Target for AnyTarget {
    type Conn = AnyConn;

    fn open(&self, n: usize) -> AnyConn {
        match self {
            Self::Duet(target) => AnyConn::Duet(target.open(n)),
            Self::ZooKeeper(target) => AnyConn::ZooKeeper(target.open(n)),
            Self::Etcd(target) => AnyConn::Etcd(target.open(n)),
        }
    }

    async fn prepare(&self, keys: impl Iterator<Item = Bytes>) -> anyhow::Result<()> {
        match self {
            Self::Duet(target) => target.prepare(keys).await,
            Self::ZooKeeper(target) => target.prepare(keys).await,
            Self::Etcd(target) => target.prepare(keys).await,
        }
    }
}

impl Connection for AnyConn {
    fn submit(&mut self, tag: u32, op: Op) {
        match self {
            Self::Duet(conn) => conn.submit(tag, op),
            Self::ZooKeeper(conn) => conn.submit(tag, op),
            Self::Etcd(conn) => conn.submit(tag, op),
        }
    }

    async fn wait(&mut self, done: &mut Vec<Done>) {
        match self {
            Self::Duet(conn) => conn.wait(done).await,
            Self::ZooKeeper(conn) => conn.wait(done).await,
            Self::Etcd(conn) => conn.wait(done).await,
        }
    }
}
