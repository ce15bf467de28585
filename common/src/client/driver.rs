//! The task that owns a client's connection: moves bytes, follows the leader, keeps the time.
//!
//! Many callers share it. Their requests gather while it works, so one wake-up takes many of them and one write sends them;
//! what was decided about any of them is in [`Exchange`].

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::ClientConfig;
use super::exchange::{Exchange, Job, Turn};
use super::route::{Backoff, Route};
use super::wire::Response;
use crate::transport::frame::decode_header;
use crate::transport::{Frame, FrameWriter, FramedConn, connect_client};
use crate::types::{NodeId, Role};

/// All clients were dropped: nobody waits for anything.
struct Abandoned;

pub(super) struct Driver {
    config: Arc<ClientConfig>,
    jobs: mpsc::Receiver<Job>,
    exchange: Exchange,
    route: Route,
    batch: Vec<Job>,
}

/// Where the search for the leader is, on one connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The node was asked who leads; nothing else is sent.
    Asking,
    /// The node is the right one, or there is no better one.
    Settled,
    /// Another node is the right one; answers that are on their way are awaited, so that no write is left in doubt.
    Leaving,
}

impl Driver {
    pub(super) fn new(config: Arc<ClientConfig>, jobs: mpsc::Receiver<Job>, seed: u64) -> Self {
        let backoff = |salt| Backoff::new(config.backoff, seed ^ salt);
        let exchange = Exchange::new(config.window, config.request_timeout, backoff(1));
        let route = Route::new(config.addrs.clone(), backoff(2));
        Self { config, jobs, exchange, route, batch: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        while let Ok((addr, conn)) = self.connect().await {
            let Ok(why) = self.serve(conn).await else { return };
            self.exchange.lost(&format!("{addr}: {why}"));
        }
    }

    /// Goes from address to address until one answers.
    async fn connect(&mut self) -> Result<(String, FramedConn), Abandoned> {
        loop {
            let (addr, pause) = self.route.next();
            let (config, target) = (Arc::clone(&self.config), addr.clone());
            let mut dial = pin!(async move {
                sleep(pause).await;
                connect_client(&target, config.cluster.as_deref().unwrap_or(""), config.connect_timeout).await
            });
            let dialled = loop {
                let now = Instant::now();
                self.exchange.expire(now);
                let wake = self.exchange.wake_at(now, self.config.stall_timeout);
                let room = self.exchange.room();
                tokio::select! {
                    biased;
                    result = &mut dial => break result,
                    n = self.jobs.recv_many(&mut self.batch, room), if room > 0 => self.take(n)?,
                    () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
                }
            };
            match dialled {
                Ok(conn) => {
                    self.route.found(conn.welcome.node);
                    return Ok((addr, conn));
                }
                Err(e) => self.exchange.trouble(format!("{addr}: {e}")),
            }
        }
    }

    /// Uses a connection until it is of no more use, and says why.
    async fn serve(&mut self, conn: FramedConn) -> Result<String, Abandoned> {
        let (mut reader, mut writer) = conn.split();
        let mut phase = self.arrive(&mut writer);
        let mut frames = Vec::new();
        let mut timer = pin!(sleep(self.config.stall_timeout));
        let mut armed = true;
        loop {
            let now = Instant::now();
            self.exchange.expire(now);
            match phase {
                Phase::Settled => self.exchange.pump(now, &mut writer),
                Phase::Leaving if self.exchange.in_flight() == 0 => return Ok("another node leads".into()),
                Phase::Leaving | Phase::Asking => {}
            }
            let stall = self.config.stall_timeout;
            if self.exchange.stalled(now, stall) {
                return Ok(format!("no answer for {stall:?}"));
            }
            // The timer is only ever set back: most of what it waits for is over before, and a wake-up for nothing costs
            // less than setting it for every request.
            if let Some(wake) = self.exchange.wake_at(now, stall)
                && (!armed || wake < timer.deadline())
            {
                timer.as_mut().reset(wake);
                armed = true;
            }
            let room = self.exchange.room();
            tokio::select! {
                biased;
                read = reader.read(&mut frames) => {
                    if let Err(reason) = read {
                        return Ok(reason.to_string());
                    }
                    match self.handle(&mut frames, phase) {
                        Ok(next) => phase = next,
                        Err(why) => return Ok(why),
                    }
                }
                n = self.jobs.recv_many(&mut self.batch, room), if room > 0 => {
                    self.take(n)?;
                    self.gather().await;
                }
                flushed = writer.flush(), if writer.pending() > 0 => {
                    if let Err(e) = flushed {
                        return Ok(format!("connection lost: {e}"));
                    }
                }
                () = &mut timer, if armed => armed = false,
            }
        }
    }

    fn arrive(&mut self, writer: &mut FrameWriter) -> Phase {
        if self.config.follow_leader {
            self.exchange.probe(Instant::now(), writer);
            return Phase::Asking;
        }
        self.route.settle();
        Phase::Settled
    }

    /// Takes the requests that were received.
    fn take(&mut self, received: usize) -> Result<(), Abandoned> {
        if received == 0 {
            return Err(Abandoned);
        }
        for job in self.batch.drain(..) {
            self.exchange.submit(job);
        }
        Ok(())
    }

    /// Lets callers that are ready to run hand in their requests too, so that they share one write.
    async fn gather(&mut self) {
        yield_now().await;
        while self.exchange.room() > 0
            && let Ok(job) = self.jobs.try_recv()
        {
            self.exchange.submit(job);
        }
    }

    /// Takes in answers. An error is the reason to close the connection.
    fn handle(&mut self, frames: &mut Vec<Frame>, mut phase: Phase) -> Result<Phase, String> {
        let now = Instant::now();
        for frame in frames.drain(..) {
            let response: Response = decode_header(&frame.header).map_err(|e| format!("bad answer: {e}"))?;
            match self.exchange.answered(now, response, frame.body).map_err(|e| e.to_string())? {
                Turn::Stay => {}
                Turn::Probed(status) => phase = self.probed(status.map(|s| (s.core.role, s.core.leader))),
                Turn::NotLeader(leader) => {
                    if self.config.follow_leader && phase == Phase::Settled && self.route.hint(leader) {
                        phase = Phase::Leaving;
                    }
                }
            }
        }
        Ok(phase)
    }

    /// Stays with a leader, goes on to one that is known, or looks further; having looked everywhere, stays.
    fn probed(&mut self, found: Option<(Role, Option<NodeId>)>) -> Phase {
        match found {
            Some((Role::Leading, _)) => self.exchange.release(),
            Some((_, leader)) if self.route.hint(leader) => return Phase::Leaving,
            _ => {}
        }
        self.route.settle();
        Phase::Settled
    }
}
