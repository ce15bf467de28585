//! Clients: what they say to a node ([`wire`]), and the library that says it ([`Client`]).
//!
//! A [`Client`] is one pipelined connection with one session, shared by any number of tasks: cloning it is cheap, and
//! the requests of all clones leave in as few writes as possible. It finds the leader, goes to another node when its
//! own is lost, and repeats writes under the number they had, so that each is carried out once (Raft, section 8;
//! [`state_machine::sessions`](crate::state_machine::sessions)).
//!
//! ```no_run
//! # async fn example() -> Result<(), common::client::ClientError> {
//! use common::client::{Client, ClientConfig, ReadMode, Swap};
//!
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]))?;
//! client.put(b"name", b"duet").await?;
//! assert_eq!(client.get(b"name").await?.as_deref(), Some(&b"duet"[..]));
//!
//! match client.cas(b"name", Some(b"duet"), b"trio").await {
//!     Ok(Swap::Done) => println!("swapped"),
//!     Ok(Swap::Differs { found }) => println!("it was {found:?}"),
//!     Err(e) if e.may_have_happened() => println!("nobody can say: {e}"),
//!     Err(e) => println!("it was not, and will not be: {e}"),
//! }
//!
//! // From whichever node, perhaps stale, but never older than what this client has seen.
//! client.get_with(ReadMode::Local, b"name").await?;
//! # Ok(()) }
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`wire`] | requests and answers |
//! | `config`, `error` | settings; what can become of a request |
//! | `exchange` | every request from when it is taken until it has its outcome: sessions, numbers, retries, deadlines; no IO |
//! | `route` | which node to go to next |
//! | `driver` | the task that owns the connection |
//! | `store` | the key-value store's operations |
//! | [`admin`] | questions to one node |

pub mod admin;
mod config;
mod driver;
mod error;
mod exchange;
mod numbers;
mod route;
mod store;
#[cfg(test)]
mod tests;
pub mod wire;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

pub use config::ClientConfig;
pub use error::{Cause, ClientError};
pub use exchange::Reply;
pub use store::{Page, Swap};
pub use wire::ReadMode;

use crate::storage::LogLine;
use crate::transport::FrameLimits;
use crate::types::{LogId, NodeId};
use driver::Driver;
use exchange::{Job, What};
use wire::NodeStatus;

/// One connection to a cluster, shared by its clones. See the [module](self). When the last clone is dropped the
/// connection is closed.
#[derive(Clone, Debug)]
pub struct Client {
    jobs: mpsc::Sender<Job>,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Starts a client. It connects in the background and goes on trying; a request made meanwhile waits until its time is
    /// up. An error only if a setting makes no sense.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let config = Arc::new(config);
        let (sender, jobs) = mpsc::channel(config.window);
        // Pauses are to differ between clients; std's keys are the random number at hand.
        let seed = RandomState::new().hash_one(&config.addrs);
        tokio::spawn(Driver::new(Arc::clone(&config), jobs, seed).run());
        Ok(Self { jobs: sender, config })
    }

    /// Has the state machine carry out a command, exactly once, and gives its answer.
    pub async fn write(&self, command: &[u8]) -> Result<Reply, ClientError> {
        self.write_bytes(Bytes::copy_from_slice(command)).await
    }

    /// Like [`write`](Self::write), without a copy.
    pub async fn write_bytes(&self, command: Bytes) -> Result<Reply, ClientError> {
        check_size(&command)?;
        self.ask(What::Write(command)).await
    }

    /// Asks the state machine a question. The reply's body may share a read buffer of some KiB with others: copy what is
    /// to be kept for long.
    pub async fn read(&self, mode: ReadMode, query: &[u8]) -> Result<Reply, ClientError> {
        self.read_bytes(mode, Bytes::copy_from_slice(query)).await
    }

    /// Like [`read`](Self::read), without a copy.
    pub async fn read_bytes(&self, mode: ReadMode, query: Bytes) -> Result<Reply, ClientError> {
        check_size(&query)?;
        self.ask(What::Read { mode, query }).await
    }

    /// Appends bytes to the log, which the state machine does not see. Has no session, so it is sent once: when the
    /// answer is lost the error is [`ClientError::OutcomeUnknown`].
    pub async fn append_raw(&self, bytes: Bytes) -> Result<LogId, ClientError> {
        check_size(&bytes)?;
        self.ask(What::Raw(bytes)).await.map(|reply| reply.at)
    }

    /// How the node at `addr` is. Like [`log`](Self::log) and [`transfer`](Self::transfer) over a connection of its own, see
    /// [`admin`].
    pub async fn status(&self, addr: &str) -> Result<NodeStatus, ClientError> {
        self.node(addr).status().await
    }

    /// The log of the node at `addr`, after an id.
    pub async fn log(&self, addr: &str, after: LogId, max: u32) -> Result<Vec<LogLine>, ClientError> {
        self.node(addr).log(after, max).await
    }

    /// Asks the node at `addr`, which must lead, to hand leadership over.
    pub async fn transfer(&self, addr: &str, to: Option<NodeId>) -> Result<NodeId, ClientError> {
        self.node(addr).transfer(to).await
    }

    fn node<'a>(&'a self, addr: &'a str) -> admin::Node<'a> {
        admin::Node { addr, cluster: self.config.cluster.as_deref(), timeout: self.config.request_timeout }
    }

    async fn ask(&self, what: What) -> Result<Reply, ClientError> {
        let after = self.config.request_timeout;
        let deadline = Instant::now() + after;
        let write = !matches!(what, What::Read { .. });
        let (reply, answer) = oneshot::channel();
        if let Err(e) = self.jobs.try_send(Job { what, deadline, reply }) {
            let job = match e {
                mpsc::error::TrySendError::Full(job) => job,
                mpsc::error::TrySendError::Closed(_) => return Err(ClientError::NotDone(Cause::Closed)),
            };
            match timeout_at(deadline, self.jobs.send(job)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ClientError::NotDone(Cause::Closed)),
                Err(_) => {
                    let last = Some("too many requests wait already".into());
                    return Err(ClientError::NotDone(Cause::Deadline { after, last }));
                }
            }
        }
        // The driver keeps the deadline; without it there is nobody to say what became of a write.
        answer.await.unwrap_or(Err(ClientError::of(write, Cause::Closed)))
    }
}

fn check_size(bytes: &Bytes) -> Result<(), ClientError> {
    // What a frame holds beside the body: its prefix, the request's header and the envelope.
    let allowed = FrameLimits::CLIENT.max_frame as usize - 256;
    if bytes.len() <= allowed {
        return Ok(());
    }
    let (found, allowed) = (bytes.len() as u64, allowed as u64);
    Err(ClientError::NotDone(Cause::TooLarge { what: "the request", found, allowed }))
}
