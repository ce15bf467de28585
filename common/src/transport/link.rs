//! One connection after its handshake: a bounded queue outwards, frames inwards, and a pulse.
//!
//! The node pushes and flushes from its own turn; what the socket takes goes out in that very call, so a quiet link
//! costs one system call and no wake-up. Only what the socket did not take is left to the connection's task. Every
//! connection is one task: reading, writing the rest and the pulse are polled together, so one waker serves them all.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::MissedTickBehavior;

use super::frame::{Frame, FrameDecoder, FrameLimits, FrameQueue};
use super::{DownReason, channel};
use crate::metrics::Counters;

/// Segments per vectored write.
const SLICES: usize = 64;
/// A connection is silent after so many beats without a byte.
const BEATS: u32 = 4;

/// What may wait to be sent, in both measures. At the limit the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes, with headers.
    pub bytes: usize,
    /// Frames.
    pub frames: usize,
}

impl QueueLimits {
    /// Why the link with this queue must end, if it must.
    pub(crate) fn check(self, queue: &FrameQueue) -> Option<DownReason> {
        let Self { bytes, frames } = self;
        let over = queue.bytes() > bytes || queue.frames() > frames;
        over.then_some(DownReason::Overflow { bytes, frames })
    }
}

/// Whose bytes are counted where.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub(super) counters: Arc<Counters>,
    pub(super) peers: bool,
}

impl Meter {
    pub(super) fn sent(&self, bytes: usize) {
        if self.peers {
            self.counters.peer_writes.add(1);
            self.counters.peer_bytes_sent.add(bytes as u64);
        } else {
            self.counters.client_bytes_sent.add(bytes as u64);
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        let count = if self.peers { &self.counters.peer_bytes_received } else { &self.counters.client_bytes_received };
        count.add(bytes as u64);
    }
}

/// How a connection is kept alive and given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    /// Given up after this much silence.
    pub(super) idle: Duration,
    /// Whether to break the own silence. If not, writing counts as a sign of life too.
    pub(super) ping: bool,
}

/// The half of a connection that the node and the connection's task share.
#[derive(Debug)]
pub(super) struct Link {
    out: Mutex<Out>,
    limits: QueueLimits,
    /// While more than this waits to be written, nothing that is read reaches the node, and reading stops.
    pause_above: usize,
    meter: Meter,
    reads: AtomicU64,
    /// The task waits for the node to take what was read: the silence is our own.
    delivering: AtomicBool,
}

#[derive(Debug)]
struct Out {
    queue: FrameQueue,
    /// None as soon as the link is closed: nothing is sent any more, and the other end sees it.
    half: Option<OwnedWriteHalf>,
    reason: Option<DownReason>,
    /// Somebody will flush what is queued.
    dirty: bool,
    /// The task is to write the rest.
    armed: bool,
    /// The task does not read until less waits.
    paused: bool,
    waker: Option<Waker>,
    written: u64,
}

impl Out {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn close(&mut self, reason: DownReason) {
        if self.reason.is_none() {
            self.reason = Some(reason);
            self.half = None;
            self.queue.clear();
            self.wake();
        }
    }

    fn wrote(&mut self, n: usize, meter: &Meter) {
        self.queue.advance(n);
        self.written += n as u64;
        meter.sent(n);
    }
}

fn lost(error: &io::Error) -> DownReason {
    DownReason::Lost(error.to_string())
}

impl Link {
    pub(super) fn new(
        half: OwnedWriteHalf,
        frames: FrameLimits,
        limits: QueueLimits,
        pause_above: usize,
        meter: Meter,
    ) -> Self {
        let out = Out {
            queue: FrameQueue::new(frames),
            half: Some(half),
            reason: None,
            dirty: false,
            armed: false,
            paused: false,
            waker: None,
            written: 0,
        };
        let (reads, delivering) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { out: Mutex::new(out), limits, pause_above, meter, reads, delivering }
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        // A panic elsewhere leaves at worst a queue that will not be sent.
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame. True when the link was clean before: the caller then owes it a flush. What cannot be queued
    /// closes the link, because everything after it would be a gap.
    pub(super) fn push<H: Serialize + ?Sized>(&self, channel: u8, header: &H, body: &Bytes) -> bool {
        let mut out = self.lock();
        if out.half.is_none() {
            return false;
        }
        if let Err(error) = out.queue.push(channel, header, body) {
            tracing::error!(%error, "a message that cannot be sent");
            out.close(DownReason::Unsendable(error));
            return false;
        }
        if let Some(reason) = self.limits.check(&out.queue) {
            self.meter.counters.queue_overflows.add(1);
            out.close(reason);
            return false;
        }
        if self.meter.peers && channel == channel::PROTOCOL {
            self.meter.counters.messages_sent.add(1);
        }
        !std::mem::replace(&mut out.dirty, true)
    }

    /// Writes what the socket takes at once and leaves the rest to the task.
    pub(super) fn flush(&self) {
        let mut out = self.lock();
        out.dirty = false;
        self.write_now(&mut out);
    }

    fn write_now(&self, out: &mut Out) {
        while out.queue.has_remaining() {
            let Some(half) = &out.half else { return };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let n = out.queue.chunks_vectored(&mut slices);
            match half.try_write_vectored(&slices[..n]) {
                Ok(n) => out.wrote(n, &self.meter),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return out.close(lost(&e)),
            }
        }
        let waits = out.queue.bytes();
        let arm = waits > 0 && !std::mem::replace(&mut out.armed, waits > 0);
        if arm || out.paused && waits <= self.pause_above {
            out.wake();
        }
    }

    /// Ends the connection: nothing more is sent, and its task ends. The first reason stays.
    pub(super) fn close(&self, reason: DownReason) {
        self.lock().close(reason);
    }

    /// Why it was closed.
    pub(super) fn reason(&self) -> DownReason {
        self.lock().reason.clone().unwrap_or(DownReason::Closed)
    }

    /// Writes the rest, if there is one. Ready once the link is closed.
    fn poll_write(&self, cx: &mut Context<'_>) -> Poll<DownReason> {
        let mut guard = self.lock();
        let out = &mut *guard;
        if !out.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            out.waker = Some(cx.waker().clone());
        }
        while out.armed && out.queue.has_remaining() {
            let Some(half) = &mut out.half else { break };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let n = out.queue.chunks_vectored(&mut slices);
            match Pin::new(half).poll_write_vectored(cx, &slices[..n]) {
                Poll::Ready(Ok(n)) => out.wrote(n, &self.meter),
                Poll::Ready(Err(e)) => out.close(lost(&e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        out.armed = false;
        out.reason.clone().map_or(Poll::Pending, Poll::Ready)
    }

    /// Ready when little enough waits to be written that more may be asked of the node. Polled by the same task as `poll_write`, which keeps its waker.
    fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pause_above == usize::MAX {
            return Poll::Ready(());
        }
        let mut out = self.lock();
        out.paused = out.queue.bytes() > self.pause_above;
        if out.paused {
            out.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    async fn pulse(&self, pulse: Option<Pulse>) -> DownReason {
        let Some(Pulse { idle, ping }) = pulse else { return std::future::pending().await };
        let mut beat = tokio::time::interval((idle / BEATS).max(Duration::from_millis(1)));
        // After this process stood still, beats must not come in a rush before anything can be read.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_reads, mut last_written, mut silent) = (0, 0, 0);
        loop {
            beat.tick().await;
            let (reads, written) = (self.reads.load(Relaxed), self.beat(ping, last_written));
            if reads != last_reads || self.delivering.load(Relaxed) || !ping && written != last_written {
                silent = 0;
            } else {
                silent += 1;
            }
            (last_reads, last_written) = (reads, written);
            if silent > BEATS {
                return DownReason::Silent(idle);
            }
        }
    }

    /// Sends a keep-alive if nothing was written since the last beat and nothing waits. Gives the bytes written so far.
    fn beat(&self, ping: bool, last_written: u64) -> u64 {
        let mut out = self.lock();
        if ping && out.written == last_written && !out.queue.has_remaining() && out.half.is_some() {
            if let Err(error) = out.queue.push(channel::CONTROL, &(), &Bytes::new()) {
                out.close(DownReason::Unsendable(error));
            }
            self.write_now(&mut out);
        }
        out.written
    }

    /// Carries the connection until it ends, and says why. Frames go to `events`; while the receiver does not take
    /// them, nothing more is read, and TCP holds the other end back.
    pub(super) async fn run<E>(
        &self,
        half: OwnedReadHalf,
        limits: FrameLimits,
        pulse: Option<Pulse>,
        events: &mpsc::Sender<E>,
        wrap: impl Fn(Vec<Frame>) -> E,
    ) -> DownReason {
        let mut reader = FrameReader::new(half, limits, self.meter.clone());
        let read = async {
            loop {
                let mut frames = Vec::new();
                if let Err(reason) = reader.read_once(&mut frames).await {
                    return reason;
                }
                self.reads.fetch_add(1, Relaxed);
                frames.retain(|f| f.channel != channel::CONTROL);
                // After the read, not before it: what waits to be written may have grown while nothing came.
                std::future::poll_fn(|cx| self.poll_drained(cx)).await;
                if !frames.is_empty() && !self.deliver(events, wrap(frames)).await {
                    return DownReason::Disconnected("the node has stopped");
                }
            }
        };
        let reason = tokio::select! {
            biased;
            reason = std::future::poll_fn(|cx| self.poll_write(cx)) => reason,
            reason = read => reason,
            reason = self.pulse(pulse) => reason,
        };
        self.close(reason);
        self.reason()
    }

    async fn deliver<E>(&self, events: &mpsc::Sender<E>, event: E) -> bool {
        match events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(event)) => {
                self.delivering.store(true, Relaxed);
                let sent = events.send(event).await;
                self.delivering.store(false, Relaxed);
                sent.is_ok()
            }
        }
    }
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct FrameReader {
    half: OwnedReadHalf,
    decoder: FrameDecoder,
    meter: Meter,
}

impl FrameReader {
    pub(super) fn new(half: OwnedReadHalf, limits: FrameLimits, meter: Meter) -> Self {
        Self { half, decoder: FrameDecoder::new(limits), meter }
    }

    /// Reads once and appends the frames that are whole by then, perhaps none.
    async fn read_once(&mut self, frames: &mut Vec<Frame>) -> Result<(), DownReason> {
        match self.half.read_buf(self.decoder.buffer()).await {
            Ok(0) => return Err(DownReason::Closed),
            Ok(n) => self.meter.received(n),
            Err(e) => return Err(lost(&e)),
        }
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => {
                    if self.meter.peers && frame.channel == channel::PROTOCOL {
                        self.meter.counters.messages_received.add(1);
                    }
                    frames.push(frame);
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.meter.counters.bad_frames.add(1);
                    return Err(DownReason::BadFrame(error));
                }
            }
        }
    }

    /// Waits for frames and appends all that came together, at least one. Nothing is lost when the future is dropped
    /// before it is ready. An error ends the connection.
    pub async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<(), DownReason> {
        let before = frames.len();
        while frames.len() == before {
            self.read_once(frames).await?;
        }
        Ok(())
    }
}
