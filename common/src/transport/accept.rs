//! Accepting connections: so many in the handshake at a time, each with a time limit, so that callers who say nothing
//! (slow loris) cost no more than their places and cannot keep them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::handshake::HandshakeError;
use crate::metrics::Counters;

/// Log lines about refused connections per second: a scan of the port must not fill the disk.
const LINES_PER_SECOND: u32 = 10;
/// Before accepting is tried again after it failed, such as for want of file descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// A listener and the tasks of the connections it accepted. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    gate: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, handshakes: usize) -> Self {
        Self { listener, gate: Arc::new(Semaphore::new(handshakes)), tasks: JoinSet::new() }
    }

    /// The next connection. It counts as being in the handshake until the permit is dropped; while all permits are
    /// taken, callers wait in the listener's backlog.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let next = async {
                let permit = Arc::clone(&self.gate).acquire_owned().await.map_err(std::io::Error::other)?;
                let (stream, from) = self.listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>((stream, from, permit))
            };
            tokio::select! {
                accepted = next => match accepted {
                    Ok(connection) => return connection,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(AFTER_FAILURE).await;
                    }
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                }
            }
        }
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// Gives a handshake its time limit.
pub(super) async fn within<T>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    timeout(limit, handshake).await.unwrap_or(Err(HandshakeError::TimedOut(limit)))
}

/// Counts and logs those who were turned away.
#[derive(Debug)]
pub(super) struct Refusals {
    counters: Arc<Counters>,
    /// The current second and the lines written in it.
    window: Mutex<(Instant, u32)>,
}

impl Refusals {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, window: Mutex::new((Instant::now(), 0)) }
    }

    /// A connection that merely broke is not counted.
    pub(super) fn count(&self, error: &HandshakeError) {
        if error.is_refusal() {
            self.counters.handshakes_refused.add(1);
        }
    }

    pub(super) fn count_and_log(&self, port: &'static str, from: SocketAddr, error: &HandshakeError) {
        self.count(error);
        if !error.is_refusal() {
            tracing::debug!(port, %from, %error, "connection ended before it began");
        } else if self.may_log() {
            tracing::warn!(port, %from, %error, "connection refused");
        }
    }

    fn may_log(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0.elapsed() >= Duration::from_secs(1) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        window.1 <= LINES_PER_SECOND
    }
}
