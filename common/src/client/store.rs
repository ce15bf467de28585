//! The key-value store as a client sees it.

use std::time::Duration;

use bytes::Bytes;

use super::error::{Cause, ClientError};
use super::wire::ReadMode;
use super::{Client, Reply};
use crate::state_machine::kv::{Answer, Command, Part, Query};
use crate::types::LogId;

/// What came of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The key was as expected and is set.
    Done,
    /// It was not, and stays.
    Differs {
        /// What it holds; None if it does not exist.
        found: Option<Bytes>,
    },
}

/// Some pairs of the store, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub pairs: Vec<(Bytes, Bytes)>,
    /// Whether further pairs follow the last one.
    pub more: bool,
}

impl Client {
    /// Sets a key and tells where in the log that stands.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<LogId, ClientError> {
        let reply = self.write_bytes(Command::Put { key, value }.to_bytes()).await?;
        match decode(&reply)? {
            Answer::Done => Ok(reply.at),
            other => Err(unexpected(true, &other)),
        }
    }

    /// Removes a key and tells whether it existed.
    pub async fn delete(&self, key: &[u8]) -> Result<bool, ClientError> {
        let reply = self.write_bytes(Command::Delete { key }.to_bytes()).await?;
        match decode(&reply)? {
            Answer::Deleted { existed } => Ok(existed),
            other => Err(unexpected(true, &other)),
        }
    }

    /// Sets a key if it holds `expected`; None: if it does not exist.
    pub async fn cas(&self, key: &[u8], expected: Option<&[u8]>, value: &[u8]) -> Result<Swap, ClientError> {
        let reply = self.write_bytes(Command::CompareAndSet { key, expected, value }.to_bytes()).await?;
        match decode(&reply)? {
            Answer::Done => Ok(Swap::Done),
            Answer::Differs { found } => Ok(Swap::Differs { found: found.map(|f| own(&reply.body, f)) }),
            other => Err(unexpected(true, &other)),
        }
    }

    /// What a key holds, as of now (linearizable).
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ClientError> {
        self.get_with(ReadMode::Linearizable, key).await
    }

    /// What a key holds, as fresh as asked for.
    pub async fn get_with(&self, mode: ReadMode, key: &[u8]) -> Result<Option<Bytes>, ClientError> {
        let reply = self.read_bytes(mode, Query::Get { key }.to_bytes()).await?;
        match decode(&reply)? {
            Answer::Value { value } => Ok(value.map(|v| own(&reply.body, v))),
            other => Err(unexpected(false, &other)),
        }
    }

    /// What a key holds at the node this client is connected to, and how old that is at most: it sees everything that was
    /// answered up to so long before this was asked, by that node's clock. None if the node cannot say, as it must ask a
    /// quorum for that and has not done so yet: the next such read profits.
    pub async fn get_local(&self, key: &[u8]) -> Result<(Option<Bytes>, Option<Duration>), ClientError> {
        let reply = self.read_bytes(ReadMode::Local, Query::Get { key }.to_bytes()).await?;
        match decode(&reply)? {
            Answer::Value { value } => Ok((value.map(|v| own(&reply.body, v)), reply.stale)),
            other => Err(unexpected(false, &other)),
        }
    }

    /// Up to `limit` pairs whose keys start with `prefix` and are greater than `after`. The store may give fewer; there
    /// are further ones if the page says so.
    pub async fn list(
        &self,
        mode: ReadMode,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Page, ClientError> {
        let reply = self.read_bytes(mode, Query::List { prefix, after, limit }.to_bytes()).await?;
        match decode(&reply)? {
            Answer::List { pairs, more } => {
                // The page is kept as a whole, so its pairs may share the buffer.
                let body = Bytes::clone(&reply.body);
                let pairs = pairs.iter().map(|p| (body.slice_ref(p.key), body.slice_ref(p.value))).collect();
                Ok(Page { pairs, more })
            }
            other => Err(unexpected(false, &other)),
        }
    }

    /// How many keys there are.
    pub async fn count(&self, mode: ReadMode) -> Result<u64, ClientError> {
        let reply = self.read_bytes(mode, Query::Count.to_bytes()).await?;
        match decode(&reply)? {
            Answer::Count(n) => Ok(n),
            other => Err(unexpected(false, &other)),
        }
    }
}

fn decode(reply: &Reply) -> Result<Answer<'_>, ClientError> {
    let bad = |e| ClientError::OutcomeUnknown(Cause::BadAnswer(format!("{} bytes: {e}", reply.body.len())));
    Answer::decode(&reply.body).map_err(bad)
}

/// A part of an answer to keep. Small ones are copied: they would hold on to the buffer they were read into.
fn own(body: &Bytes, part: &[u8]) -> Bytes {
    if part.len() < 2048 { Bytes::copy_from_slice(part) } else { body.slice_ref(part) }
}

fn unexpected(write: bool, answer: &Answer<'_>) -> ClientError {
    match answer {
        Answer::TooLong { part, bytes, allowed } => ClientError::NotDone(Cause::TooLarge {
            what: match part {
                Part::Key => "the key",
                Part::Value => "the value",
            },
            found: *bytes,
            allowed: *allowed,
        }),
        Answer::Malformed => ClientError::NotDone(Cause::Malformed("the store does not know this request".into())),
        other => ClientError::of(write, Cause::BadAnswer(format!("{other:?}"))),
    }
}
