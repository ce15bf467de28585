//! A running cluster, as scenarios see it: who leads, who is level, what it has spent.

use std::future::Future;
use std::time::Duration;

use common::client::wire::{Answer, Ask, NodeStatus, Request, Response};
use common::transport::connect_client;
use common::transport::frame::decode_header;
use common::types::{LogId, NodeId, Role};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Problem;
use super::cost::Costs;
use crate::load::duet::DuetTarget;
use crate::supervisor::{Cluster, ClusterSpec};

/// How long a cluster may take to find a leader, or a node to become level.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How often a state that cannot be subscribed to is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A cluster and its folder.
#[derive(Debug)]
pub struct Live {
    cluster: Cluster,
    /// Stopped in its tracks: it would not answer.
    paused: Option<NodeId>,
}

impl Live {
    /// Starts a cluster and waits until it has a leader.
    pub async fn start(spec: &ClusterSpec) -> Result<Self, Problem> {
        let live = Self { cluster: Cluster::start(spec).await?, paused: None };
        live.leader().await?;
        Ok(live)
    }

    /// The processes.
    pub fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// All nodes.
    pub fn ids(&self) -> Vec<NodeId> {
        self.cluster.ids()
    }

    /// A node's process; None while it is down.
    pub fn pid(&self, id: NodeId) -> Option<u32> {
        self.cluster.pid(id)
    }

    /// Stops a node in its tracks. One at a time.
    pub fn pause(&mut self, id: NodeId) -> Result<(), Problem> {
        self.cluster.pause(id)?;
        self.paused = Some(id);
        Ok(())
    }

    /// Lets it go on.
    pub fn resume(&mut self, id: NodeId) -> Result<(), Problem> {
        self.cluster.resume(id)?;
        self.paused = None;
        Ok(())
    }

    /// A target whose connections go to the leader.
    pub async fn at_leader(&self) -> Result<DuetTarget, Problem> {
        let leader = self.leader().await?;
        let addr = self.cluster.client_addr(leader).unwrap_or_default();
        Ok(DuetTarget::leader(&self.cluster.client_addrs()).starting_with(addr))
    }

    /// A target whose connections are spread over all nodes.
    pub fn everywhere(&self) -> DuetTarget {
        DuetTarget::spread(&self.cluster.client_addrs())
    }

    /// A target that is one node.
    pub fn at(&self, id: NodeId) -> DuetTarget {
        DuetTarget::spread(&[self.cluster.client_addr(id).unwrap_or_default().to_owned()])
    }

    /// What a node says of itself; None when it does not answer.
    pub async fn status(&self, id: NodeId) -> Option<NodeStatus> {
        if self.paused == Some(id) {
            return None;
        }
        self.cluster.pid(id)?;
        let addr = self.cluster.client_addr(id)?;
        match ask(addr, Ask::Status).await.ok()? {
            Answer::Status(status) => Some(*status),
            _ => None,
        }
    }

    /// What each node that answers says of itself.
    pub async fn statuses(&self) -> Vec<NodeStatus> {
        let mut list = Vec::new();
        for id in self.ids() {
            list.extend(self.status(id).await);
        }
        list
    }

    /// The leader's id and status, if there is a leader that a majority of the voters follows.
    async fn established(&self) -> Option<NodeStatus> {
        let statuses = self.statuses().await;
        let leader = statuses.iter().filter(|s| s.core.role == Role::Leading).max_by_key(|s| s.core.epoch)?;
        let voters = self.cluster.voters();
        let follow = statuses.iter().filter(|s| voters.contains(&s.core.id) && s.core.leader == Some(leader.core.id));
        (follow.count() > voters.len() / 2).then(|| leader.clone())
    }

    /// Waits for a leader.
    pub async fn leader(&self) -> Result<NodeId, Problem> {
        self.leader_status().await.map(|s| s.core.id)
    }

    /// Waits for a leader and gives its status.
    pub async fn leader_status(&self) -> Result<NodeStatus, Problem> {
        until("no leader was found", || self.established()).await
    }

    /// Waits until all these nodes have applied the same and everything that the leader has committed. Gives their statuses.
    pub async fn level(&self, ids: &[NodeId]) -> Result<Vec<NodeStatus>, Problem> {
        until("the nodes did not become level", || async {
            let mut list = Vec::new();
            for id in ids {
                list.push(self.status(*id).await?);
            }
            let applied = list.first()?.core.applied;
            let same =
                |s: &NodeStatus| s.core.applied == applied && s.core.committed == applied && s.core.last == applied;
            list.iter().all(same).then_some(list)
        })
        .await
    }

    /// Waits until a node has applied everything up to here.
    pub async fn applied(&self, id: NodeId, upto: LogId) -> Result<NodeStatus, Problem> {
        let what = format!("{id} did not apply everything up to {upto}");
        until(&what, || async { self.status(id).await.filter(|s| s.core.applied >= upto) }).await
    }

    /// Counters and CPU time of every node now.
    pub async fn costs(&self) -> Costs {
        let mut costs = Costs::default();
        for status in self.statuses().await {
            if let Some(pid) = self.cluster.pid(status.core.id) {
                costs.add(status.core.id, status.counters, pid);
            }
        }
        costs
    }

    /// Ends all nodes in peace.
    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// Looks again and again until there is something, for as long as patience lasts.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> Result<T, Problem> {
    let start = Instant::now();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while start.elapsed() < PATIENCE {
        tick.tick().await;
        if let Some(found) = look().await {
            return Ok(found);
        }
    }
    Err(Problem::Failed(format!("{what} within {} s", PATIENCE.as_secs())))
}

/// Asks one thing on a connection of its own. For requests without a body.
async fn ask(addr: &str, ask: Ask) -> anyhow::Result<Answer> {
    let limit = Duration::from_secs(1);
    timeout(limit, async {
        let mut link = connect_client(addr, "", limit).await?;
        link.writer.push(&Request { id: 1, ask }, &bytes::Bytes::new())?;
        link.writer.flush().await?;
        let mut frames = Vec::new();
        link.reader.read(&mut frames).await?;
        let frame = frames.first().ok_or_else(|| anyhow::anyhow!("no frame"))?;
        Ok(decode_header::<Response>(&frame.header)?.answer)
    })
    .await?
}
