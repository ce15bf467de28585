//! Questions to one node, whoever leads: its status, its log, and "hand leadership over".
//!
//! Each opens a connection of its own, asks once and does not try again: an operator wants to know about this node,
//! now.

use std::time::Duration;

use bytes::Bytes;

use super::error::{Cause, ClientError};
use super::wire::{Answer, Ask, NodeStatus, Request, Response};
use crate::membership::MemberChange;
use crate::protocol::Refusal;
use crate::storage::LogLine;
use crate::transport::connect_client;
use crate::transport::frame::decode_header;
use crate::types::{LogId, NodeId};

/// Which node to ask, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its client address, `host:port`.
    pub addr: &'a str,
    /// The cluster it must belong to; None for any.
    pub cluster: Option<&'a str>,
    /// How long connection and answer may take together.
    pub timeout: Duration,
}

impl Node<'_> {
    /// How it is.
    pub async fn status(self) -> Result<NodeStatus, ClientError> {
        match self.ask(Ask::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    /// The entries of its log after `after`, oldest first: at most `max`, perhaps fewer than there are.
    pub async fn log(self, after: LogId, max: u32) -> Result<Vec<LogLine>, ClientError> {
        match self.ask(Ask::Log { after, max }).await? {
            Answer::Log(lines) => Ok(lines),
            other => Err(unexpected(other)),
        }
    }

    /// Asks a leader to hand leadership over: to `to`, or to whom it likes. Says who leads when it is done.
    pub async fn transfer(self, to: Option<NodeId>) -> Result<NodeId, ClientError> {
        match self.ask(Ask::Transfer { to }).await {
            Ok(Answer::Transferred { to }) => Ok(to),
            Ok(other) => Err(unexpected(other)),
            Err(e) => Err(e),
        }
    }

    /// Asks a leader to change who belongs to the cluster, all of it at once. Gives the entry by which it is so.
    pub async fn change(self, changes: Vec<MemberChange>) -> Result<LogId, ClientError> {
        match self.ask(Ask::Change { changes }).await {
            Ok(Answer::Changed { at }) => Ok(at),
            Ok(Answer::Unknown) => Err(ClientError::OutcomeUnknown(Cause::Refused(Refusal::LeaderChanged))),
            Ok(other) => Err(unexpected(other)),
            Err(e) => Err(e),
        }
    }

    async fn ask(self, ask: Ask) -> Result<Answer, ClientError> {
        let changes = matches!(ask, Ask::Transfer { .. } | Ask::Change { .. });
        let mut asked = false;
        let question = async {
            let lost = |why: String| Cause::ConnectionLost(format!("{}: {why}", self.addr));
            let mut conn = connect_client(self.addr, self.cluster.unwrap_or(""), self.timeout)
                .await
                .map_err(|e| lost(e.to_string()))?;
            asked = true;
            conn.writer.push(&Request { id: 1, ask }, &Bytes::new()).map_err(|e| Cause::Malformed(e.to_string()))?;
            conn.writer.flush().await.map_err(|e| lost(e.to_string()))?;
            let mut frames = Vec::new();
            conn.reader.read(&mut frames).await.map_err(|e| lost(e.to_string()))?;
            let response: Response = decode_header(&frames[0].header).map_err(|e| Cause::BadAnswer(e.to_string()))?;
            if response.id == 1 {
                Ok(response.answer)
            } else {
                Err(Cause::BadAnswer(format!("to request {}, which was not asked", response.id)))
            }
        };
        let cause = match tokio::time::timeout(self.timeout, question).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(cause)) => cause,
            Err(_) => Cause::Deadline { after: self.timeout, last: None },
        };
        // Questions change nothing; what was ordered may have begun once it was sent.
        Err(ClientError::of(changes && asked, cause))
    }
}

fn unexpected(answer: Answer) -> ClientError {
    ClientError::NotDone(match answer {
        Answer::Refused(refusal) => Cause::Refused(refusal),
        Answer::Malformed(why) => Cause::Malformed(why),
        other => Cause::BadAnswer(other.name().into()),
    })
}
