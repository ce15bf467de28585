//! Whom a node dials, and when.
//!
//! Between two voters the one with the larger id dials at once, and again after each end of the session; an observer dials
//! every voter, and those by whom it would be fed ([`TransportConfig::sources`](super::TransportConfig)). That gives each pair
//! one connection as long as all know the same members, and no two observers name each other.
//!
//! They need not. A node learns who belongs from its log, and one that was away may know neither that a new voter is there
//! nor that it votes itself. So, from the first change of members that a node hears of, it also dials voters with larger ids,
//! but with *patience*: after there was no session for a few of the longest pauses. A voter dials listed learners with patience
//! too: one that was a voter and does not know of its demotion waits to be called, and one that is new may know of no voter but
//! such as were replaced long ago. Nobody else dials an observer that is not listed. Before every attempt, and before it
//! confirms a connection, it looks whether the other one has called meanwhile. Where both dial in the same moment, each may
//! still give up what the other keeps; their pauses differ, and the next attempt is one side's alone.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accept::within;
use super::handshake::{self, HandshakeError};
use super::peers::{PeerLimits, Shared};
use crate::membership::Membership;
use crate::rng::Rng;
use crate::types::{Member, NodeId};

/// A session that held this long was no accident: the next pause starts small again.
const LASTED: Duration = Duration::from_secs(1);
/// The longest patience, in longest pauses. The shortest is half of it.
const PATIENCE: u32 = 8;

/// How a node is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Goal {
    addr: String,
    /// It will dial by itself, if it knows of this node.
    patient: bool,
}

/// The tasks that dial: one for each node that this one dials.
#[derive(Debug)]
pub(super) struct Diallers {
    /// As last heard; at first what the settings say.
    membership: Membership,
    /// Whom it calls beside the voters while it observes, and where they are if the members' list does not say it.
    sources: BTreeMap<NodeId, Option<String>>,
    /// It is not that of the settings any more, so others may know another one.
    changed: bool,
    /// Dropping one ends its task, as soon as that does not carry a session.
    goals: BTreeMap<NodeId, watch::Sender<Goal>>,
    tasks: JoinSet<()>,
}

impl Diallers {
    /// Dials by what the settings say.
    pub(super) fn start(
        shared: &Arc<Shared>,
        membership: Membership,
        sources: BTreeMap<NodeId, Option<String>>,
    ) -> Self {
        let mut diallers = Self { membership, sources, changed: false, goals: BTreeMap::new(), tasks: JoinSet::new() };
        diallers.follow(shared);
        diallers
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Others belong to the cluster now, or they are elsewhere.
    pub(super) fn update(&mut self, shared: &Arc<Shared>, membership: &Membership) {
        self.membership.clone_from(membership);
        self.changed = true;
        self.follow(shared);
    }

    fn follow(&mut self, shared: &Arc<Shared>) {
        let (me, member) = (shared.id, self.membership.member(shared.id));
        let membership = &self.membership;
        let votes = |id: NodeId| membership.member(id) == Member::Voter;
        let at_once =
            |id: NodeId| handshake::dials_at_once((me, member), (id, votes(id)), self.sources.contains_key(&id));
        // Learners call voters. But one that missed its demotion waits to be called, and a new one may know none that lives.
        let patiently = |id: NodeId| self.changed && (votes(id) || member == Member::Voter);
        // Where the list of members says where a node is, that is later than the settings.
        let mut wanted =
            self.sources.iter().filter_map(|(id, addr)| Some((*id, addr.clone()?))).collect::<BTreeMap<_, _>>();
        wanted.extend(membership.addresses.clone());
        wanted.retain(|id, _| *id != me && (at_once(*id) || patiently(*id)));
        self.goals.retain(|id, _| wanted.contains_key(id));
        for (id, addr) in wanted {
            let goal = Goal { addr, patient: !at_once(id) };
            if let Some(known) = self.goals.get(&id) {
                known.send_if_modified(|old| {
                    let new = *old != goal;
                    *old = goal;
                    new
                });
                continue;
            }
            let (sender, receiver) = watch::channel(goal);
            self.goals.insert(id, sender);
            self.tasks.spawn(Dialler::new(Arc::clone(shared), id).run(receiver));
        }
        // Those of nodes that left have ended by now, or will be met here the next time.
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a dialling task failed");
            }
        }
    }

    pub(super) async fn shutdown(&mut self) {
        self.goals.clear();
        self.tasks.shutdown().await;
    }
}

/// Dials one node.
struct Dialler {
    shared: Arc<Shared>,
    target: NodeId,
    rng: Rng,
    /// Between this and half of it is the next pause.
    pause: Duration,
    /// As it was said last.
    error: String,
}

impl Dialler {
    fn new(shared: Arc<Shared>, target: NodeId) -> Self {
        let rng = Rng::new(RandomState::new().hash_one((shared.id, target)));
        let pause = shared.limits.backoff_min;
        Self { shared, target, rng, pause, error: String::new() }
    }

    /// Dials whenever there is no session, and carries those that come of it, until its goal is gone.
    async fn run(mut self, mut goal: watch::Receiver<Goal>) {
        let mut first = true;
        loop {
            let Goal { addr, patient } = goal.borrow_and_update().clone();
            let rest = match (patient, std::mem::take(&mut first)) {
                (true, _) => self.between_half_and(self.shared.limits.backoff_max * PATIENCE),
                (false, true) => Duration::ZERO,
                (false, false) => {
                    let rest = self.between_half_and(self.pause);
                    self.pause = (self.pause * 2).min(self.shared.limits.backoff_max);
                    rest
                }
            };
            tokio::select! {
                biased;
                changed = goal.changed() => match changed {
                    Ok(()) => {
                        // Another address, another role: what went wrong before says nothing about it.
                        (first, self.pause) = (true, self.shared.limits.backoff_min);
                        continue;
                    }
                    Err(_) => return,
                },
                () = self.shared.alone(self.target, rest) => {}
            }
            self.dial(&addr).await;
        }
    }

    fn between_half_and(&mut self, most: Duration) -> Duration {
        let most = most.as_micros() as u64;
        Duration::from_micros(self.rng.between(most / 2, most))
    }

    async fn dial(&mut self, addr: &str) {
        match dial_once(&self.shared, self.target, addr).await {
            Ok(None) => {}
            Ok(Some((stream, member))) => {
                self.error.clear();
                let started = Instant::now();
                self.shared.carry(stream, self.target, self.shared.number(), member).await;
                if started.elapsed() >= LASTED {
                    self.pause = self.shared.limits.backoff_min;
                }
            }
            Err(error) => self.complain(addr, &error),
        }
    }

    /// Says what is wrong once, not with every try.
    fn complain(&mut self, addr: &str, error: &HandshakeError) {
        let (me, target, text) = (self.shared.id, self.target, error.to_string());
        let new = text != self.error;
        if error.is_refusal() && !matches!(error, HandshakeError::TimedOut(_)) {
            self.shared.refusals.count(error);
            if new {
                tracing::warn!(%me, %target, addr, error = %text, "refused; trying on");
            }
        } else if new {
            tracing::info!(%me, %target, addr, error = %text, "cannot connect; trying on");
        }
        self.error = text;
    }
}

/// A connection with what the other says it is. None if it has called by itself meanwhile: that session is as good.
async fn dial_once(shared: &Shared, target: NodeId, addr: &str) -> Result<Option<(TcpStream, Member)>, HandshakeError> {
    let PeerLimits { handshake_timeout, .. } = shared.limits;
    let dial = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let hello = handshake::dial(&shared.identity(), target, &mut stream).await?;
        if shared.is_up(target) {
            return Ok(None);
        }
        handshake::confirm(&mut stream).await?;
        Ok(Some((stream, hello.member)))
    };
    within(handshake_timeout, dial).await
}
