//! How `duet ctl` reaches a cluster, and its errors in words: what was asked of whom, what came, what to do next.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::client::wire::{NodeStatus, ReadMode};
use common::client::{Cause, Client, ClientConfig, ClientError, Page, Reply, admin};
use common::membership::MemberChange;
use common::protocol::{Hindrance, Refusal};
use common::state_machine::kv::{Answer, Command, Part, Query};
use common::status::Status;
use common::storage::LogLine;
use common::types::{LogId, NodeId};
use tokio::task::JoinSet;

use super::look::{StatusRow, knower_of, leader_of};
use crate::cli::{Exit, Fail, Protocol, Target};

/// A cluster, or with `--node` one node of it.
#[derive(Debug)]
pub(crate) struct Link {
    target: Target,
    client: Client,
    patience: Duration,
}

/// What came of a compare-and-set.
pub(super) enum Swap {
    Done(LogId),
    Differs { found: Option<Bytes>, at: LogId },
}

impl Link {
    /// Finds the nodes. Asks whether they speak what the target says before anything is asked of them.
    pub(crate) async fn open(target: Target, node: Option<&str>, patience: Duration) -> anyhow::Result<Self> {
        let target = match node {
            None => target,
            Some(node) => narrow(target, node, patience).await?,
        };
        let config = ClientConfig {
            request_timeout: patience,
            connect_timeout: patience.min(Duration::from_secs(1)),
            follow_leader: node.is_none(),
            ..ClientConfig::new(target.addrs.clone())
        };
        let client = Client::connect(config)?;
        Ok(Self { target, client, patience })
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.target.protocol
    }

    pub(super) async fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<LogId> {
        let reply = self.write("put", Command::Put { key, value }).await?;
        match Answer::decode(&reply.body) {
            Ok(Answer::Done) => Ok(reply.at),
            other => Err(unexpected("put", other)),
        }
    }

    pub(super) async fn delete(&self, key: &[u8]) -> anyhow::Result<(bool, LogId)> {
        let reply = self.write("delete", Command::Delete { key }).await?;
        match Answer::decode(&reply.body) {
            Ok(Answer::Deleted { existed }) => Ok((existed, reply.at)),
            other => Err(unexpected("delete", other)),
        }
    }

    pub(super) async fn cas(&self, key: &[u8], expected: Option<&[u8]>, value: &[u8]) -> anyhow::Result<Swap> {
        let reply = self.write("cas", Command::CompareAndSet { key, expected, value }).await?;
        match Answer::decode(&reply.body) {
            Ok(Answer::Done) => Ok(Swap::Done(reply.at)),
            Ok(Answer::Differs { found }) => {
                Ok(Swap::Differs { found: found.map(Bytes::copy_from_slice), at: reply.at })
            }
            other => Err(unexpected("cas", other)),
        }
    }

    pub(super) async fn get(&self, key: &[u8], mode: ReadMode) -> anyhow::Result<(Option<Bytes>, Reply)> {
        self.check().await?;
        let reply = self.client.read_bytes(mode, Query::Get { key }.to_bytes()).await;
        let reply = reply.map_err(|e| self.explain("get", &e))?;
        match Answer::decode(&reply.body) {
            Ok(Answer::Value { value }) => Ok((value.map(Bytes::copy_from_slice), reply)),
            other => Err(unexpected("get", other)),
        }
    }

    /// One page of pairs. The caller goes on after the last key for as long as there is `more`.
    pub(super) async fn list(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
        mode: ReadMode,
    ) -> anyhow::Result<Page> {
        if after.is_none() {
            self.check().await?;
        }
        let page = self.client.list(mode, prefix, after, max).await;
        page.map_err(|e| self.explain("list", &e).into())
    }

    pub(super) async fn append(&self, data: &[u8]) -> anyhow::Result<LogId> {
        self.check().await?;
        let at = self.client.append_raw(Bytes::copy_from_slice(data)).await;
        at.map_err(|e| self.explain("append", &e).into())
    }

    /// Asks the leader to hand leadership over; who leads then.
    pub(super) async fn transfer(&self, to: Option<NodeId>) -> anyhow::Result<NodeId> {
        let (addr, _) = self.leading().await?;
        self.node(&addr).transfer(to).await.map_err(|e| self.explain("transfer", &e).into())
    }

    /// What a node says that knows of the members as of this entry: the leader, or whoever knows most. Waits for one that
    /// does, and takes the best there is when the time is up.
    pub(super) async fn knowing(&self, at: LogId) -> anyhow::Result<Status> {
        let began = Instant::now();
        loop {
            let rows = self.rows().await;
            let best = knower_of(&rows).map(|s| s.core.clone());
            let late = began.elapsed() + AGAIN > self.patience;
            match best {
                Some(status) if late || status.membership_at >= at => return Ok(status),
                None if late => return Err(self.nobody(&said(&rows)).into()),
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Asks for a change of members until it is made, and gives the entry by which it is. None if everything is so already.
    pub(super) async fn change(&self, changes: Vec<MemberChange>) -> anyhow::Result<Option<LogId>> {
        let began = Instant::now();
        loop {
            let rows = self.rows().await;
            let left = self.patience.saturating_sub(began.elapsed());
            let asked = leader_of(&rows).or_else(|| follower_of(&rows)).map(|(row, _)| row.addr.as_str());
            let error = match asked {
                // A follower passes it on to the leader, which may be a node that is not among those of the target.
                Some(addr) => match (admin::Node { timeout: left, ..self.node(addr) }).change(changes.clone()).await {
                    Ok(at) => return Ok(Some(at)),
                    Err(e) => Some(e),
                },
                None => None,
            };
            match &error {
                Some(ClientError::NotDone(Cause::Refused(Refusal::NotChanged(Hindrance::IsSo)))) => return Ok(None),
                Some(e) if e.may_have_happened() => {
                    let what = format!("member: {e} at {}", self.target);
                    return Err(Fail::new(Exit::Inconclusive, what)
                        .hint("it may have been made, or may still be; `duet ctl member list` shows what is in force")
                        .into());
                }
                Some(e) if !may_pass(e) => return Err(self.explain("member", e).into()),
                _ if began.elapsed() + AGAIN < self.patience => tokio::time::sleep(AGAIN).await,
                Some(e) => return Err(self.explain("member", e).into()),
                None => return Err(self.leading().await.map_or_else(|e| e, |_| self.nobody("none in time").into())),
            }
        }
    }

    /// Log entries of the first node that answers.
    pub(super) async fn log(&self, after: LogId, max: u32) -> anyhow::Result<Vec<LogLine>> {
        let addr = self.check().await?;
        self.node(&addr).log(after, max).await.map_err(|e| self.explain("log", &e).into())
    }

    /// Every node's answer, in the order of the target's addresses.
    pub(crate) async fn rows(&self) -> Vec<StatusRow> {
        rows(&self.target, self.patience.min(LOOK)).await
    }

    /// The leader's address and status.
    pub(crate) async fn leading(&self) -> anyhow::Result<(String, NodeStatus)> {
        let rows = self.rows().await;
        if let Some((row, status)) = leader_of(&rows) {
            return Ok((row.addr.clone(), status.clone()));
        }
        let protocol = self.protocol();
        let said = said(&rows);
        let fail = if rows.iter().all(|r| r.status.is_err()) {
            self.nobody(&said)
        } else {
            Fail::new(Exit::CheckFailed, format!("no {protocol} node that answers leads: {said}"))
                .hint("an election may be under way, try again; a majority of the voters must be up")
        };
        Err(fail.into())
    }

    /// Waits for the first node that answers and gives its address. What speaks another protocol does not count.
    async fn check(&self) -> anyhow::Result<String> {
        let mut asked = ask_all(&self.target, self.patience);
        let mut rows = Vec::new();
        while let Some(answered) = asked.join_next().await {
            let Ok((_, row)) = answered else { continue };
            if row.status.is_ok() {
                return Ok(row.addr);
            }
            rows.push(row);
        }
        Err(self.nobody(&said(&rows)).into())
    }

    async fn write(&self, what: &str, command: Command<'_>) -> anyhow::Result<Reply> {
        self.check().await?;
        let reply = self.client.write_bytes(command.to_bytes()).await;
        reply.map_err(|e| self.explain(what, &e).into())
    }

    fn node<'a>(&self, addr: &'a str) -> admin::Node<'a> {
        admin::Node { addr, cluster: None, timeout: self.patience }
    }

    fn nobody(&self, said: &str) -> Fail {
        Fail::new(Exit::NothingRan, format!("no {} node answers: {said}", self.protocol()))
            .hint("is the cluster running? `duet cluster` starts one; --target names another")
    }

    /// What a client's error means for who typed the command.
    fn explain(&self, what: &str, e: &ClientError) -> Fail {
        let (exit, hint) = match e {
            ClientError::OutcomeUnknown(_) | ClientError::AnswerForgotten { .. } => {
                (Exit::Inconclusive, "it may have taken effect or not; look before trying again")
            }
            ClientError::NotDone(Cause::Refused(Refusal::Unsupported(_))) => (Exit::CheckFailed, "nothing was changed"),
            ClientError::NotDone(Cause::Deadline { .. } | Cause::Refused(_)) => (
                Exit::CheckFailed,
                "nothing was done; a majority of the voters must be up, `duet ctl status` shows them",
            ),
            _ => (Exit::CheckFailed, "nothing was done"),
        };
        Fail::new(exit, format!("{what}: {} at {}", e, self.target)).hint(hint)
    }
}

/// How long a node may take to say how it is. One that is paused should not keep the table of the others waiting.
const LOOK: Duration = Duration::from_secs(2);

/// Between two attempts at something that another one may have to come before: nobody says when it is over.
const AGAIN: Duration = Duration::from_millis(50);

/// Whether what stood in the way of a change of members may be gone in a moment.
fn may_pass(e: &ClientError) -> bool {
    match e {
        ClientError::NotDone(Cause::ConnectionLost(_)) => true,
        ClientError::NotDone(Cause::Refused(why)) => matches!(
            why,
            Refusal::NotLeader { .. }
                | Refusal::Busy
                | Refusal::LeaderChanged
                | Refusal::Transferring { .. }
                | Refusal::NotChanged(Hindrance::NotYet(_))
        ),
        _ => false,
    }
}

/// A node that follows a leader.
fn follower_of(rows: &[StatusRow]) -> Option<(&StatusRow, &NodeStatus)> {
    let answered = rows.iter().filter_map(|r| Some((r, r.status.as_ref().ok()?)));
    answered.filter(|(_, s)| s.core.leader.is_some()).max_by_key(|(_, s)| s.core.epoch)
}

/// The target with one node only.
async fn narrow(target: Target, node: &str, patience: Duration) -> anyhow::Result<Target> {
    if node.contains(':') {
        return Ok(Target { protocol: target.protocol, addrs: vec![node.to_owned()] });
    }
    let id = node.trim_start_matches('n').parse::<u64>().map(NodeId);
    let id = id.map_err(|_| Fail::usage(format!("--node {node}: expected a node's number or its client address")))?;
    let rows = rows(&target, patience).await;
    let found = rows.iter().find(|r| r.status.as_ref().is_ok_and(|s| s.core.id == id));
    let row = found.ok_or_else(|| {
        Fail::new(Exit::NothingRan, format!("{id} does not answer at {target}: {}", said(&rows)))
            .hint("`duet ctl status` shows who does")
    })?;
    Ok(Target { protocol: target.protocol, addrs: vec![row.addr.clone()] })
}

async fn rows(target: &Target, patience: Duration) -> Vec<StatusRow> {
    let mut all: Vec<_> = ask_all(target, patience).join_all().await;
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, row)| row).collect()
}

/// Asks every node for its status, all at the same time.
fn ask_all(target: &Target, patience: Duration) -> JoinSet<(usize, StatusRow)> {
    let mut asked = JoinSet::new();
    for (at, addr) in target.addrs.iter().cloned().enumerate() {
        let protocol = target.protocol;
        asked.spawn(async move {
            let status = admin::Node { addr: &addr, cluster: None, timeout: patience }.status().await;
            let status = status.map_err(|e| plain(&addr, &e)).and_then(|s| {
                let wrong = s.core.protocol != protocol.name();
                if wrong { Err(format!("speaks {}, not {protocol}", s.core.protocol)) } else { Ok(s) }
            });
            (at, StatusRow { protocol, addr, status })
        });
    }
    asked
}

/// Why one node did not answer, without what its row says already.
fn plain(addr: &str, e: &ClientError) -> String {
    match e {
        ClientError::NotDone(Cause::ConnectionLost(why)) => {
            why.strip_prefix(addr).map_or(why.as_str(), |w| w.trim_start_matches(": ")).to_owned()
        }
        ClientError::NotDone(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

/// What the nodes said, in one line.
fn said(rows: &[StatusRow]) -> String {
    let one = |r: &StatusRow| match &r.status {
        Ok(s) => format!("{} is {} ({})", s.core.id, s.core.role, s.core.phase),
        Err(why) => format!("{}: {why}", r.addr),
    };
    rows.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn unexpected(what: &str, answer: Result<Answer<'_>, impl std::fmt::Display>) -> anyhow::Error {
    match answer {
        Ok(Answer::TooLong { part, bytes, allowed }) => {
            let part = if part == Part::Key { "key" } else { "value" };
            Fail::usage(format!(
                "{what}: the {part} has {bytes} bytes, at most {allowed} are allowed; nothing was changed"
            ))
        }
        Ok(other) => Fail::new(Exit::CheckFailed, format!("{what}: unexpected answer {other:?}")),
        Err(e) => Fail::new(Exit::CheckFailed, format!("{what}: the answer cannot be read: {e}")),
    }
    .into()
}
