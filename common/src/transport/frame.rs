//! Frames: how messages lie in a byte stream, between nodes and between clients and nodes alike.
//!
//! ```text
//! u32 length | u32 crc32c | u32 crc32c | u8 channel | u24 header length | header | body      (little-endian)
//!            |            '-- covers everything after itself; `length` counts the same bytes
//!            '-- covers `length`
//! ```
//!
//! The header is postcard; the body is payload that serde never touches, so entries go from a log to a socket and
//! from a socket into a log without being copied. TCP's own 16-bit checksum lets damaged bytes through now and then; a
//! follower that stored them would acknowledge an entry the leader never proposed, hence the CRC. The length has its own:
//! a receiver that believes a damaged one swallows megabytes of frames before it can see that their CRC is wrong, and
//! a follower whose heartbeats are swallowed while keep-alives show its leader to be alive would be deaf for hours.
//!
//! Limits come before memory: a length is compared with [`FrameLimits`] as soon as its four bytes are there, and the
//! buffer grows with the bytes that came, not with the length that was claimed.
//!
//! # What a decoded body keeps alive
//!
//! Frames share the buffer they were read into. A body that is kept (entries in a log) keeps that whole buffer, which
//! is at most [`FrameLimits::chunk`] bytes or, for a frame larger than that, about the frame itself. Bodies shorter than
//! [`FrameLimits::copy_below`] are copied out, so a kept body never holds more than `chunk / copy_below` times its size.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{BodyError, Message};
use crate::{mark, mutant};

/// The bytes of a frame before its header.
pub const PREFIX: usize = 16;
/// Where the bytes begin that `length` counts.
const CONTENT: usize = PREFIX - COUNTED;
/// What `length` counts besides header and body: the channel and the header's length.
const COUNTED: usize = 4;
/// The header's length has 24 bits.
const MAX_HEADER: u32 = (1 << 24) - 1;
/// Bodies up to this size are copied behind their header: cheaper than a segment of their own.
const INLINE_BODY: usize = 1024;

/// What may be sent and will be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// The largest `length` of a frame, in bytes.
    pub max_frame: u32,
    /// The largest header, in bytes; below 16 MiB whatever is given.
    pub max_header: u32,
    /// The size of read buffers, in bytes.
    pub chunk: usize,
    /// Bodies shorter than this are copied out of the read buffer, so that one kept does not keep all of it.
    pub copy_below: usize,
}

impl FrameLimits {
    /// Between nodes: bodies are kept in logs.
    pub const PEER: Self = Self { max_frame: 32 << 20, max_header: 1 << 20, chunk: 64 << 10, copy_below: 1 << 10 };
    /// Between clients and nodes: many connections, bodies that are soon copied into a batch. A page of the log travels
    /// in the header, so that may be larger.
    pub const CLIENT: Self = Self { max_frame: 8 << 20, max_header: 4 << 20, chunk: 16 << 10, copy_below: 0 };
}

/// One frame as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who in the node it is for; see [`channel`](super::channel).
    pub channel: u8,
    /// The postcard header.
    pub header: Bytes,
    /// The payload beside it.
    pub body: Bytes,
}

/// Why bytes are not a frame, or a frame not the message it should be. The connection they came from is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than the limit; nothing was allocated for it.
    #[error("a frame of {found} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The length.
        found: u64,
        /// [`FrameLimits::max_frame`].
        limit: u32,
    },
    /// The header is more than its limit.
    #[error("a frame header of {found} bytes, at most {limit} are allowed")]
    HeaderTooLarge {
        /// The length; when sending, how far it had come.
        found: u64,
        /// [`FrameLimits::max_header`].
        limit: u32,
    },
    /// Shorter than the shortest frame.
    #[error("a frame length of {found} bytes, the shortest is {COUNTED}")]
    TooShort {
        /// The length.
        found: u32,
    },
    /// The length was damaged on the way, or is none.
    #[error("checksum of the frame length {length} is {found:#010x}, it should be {computed:#010x}")]
    Length {
        /// The length.
        length: u32,
        /// As it came.
        found: u32,
        /// As it should be.
        computed: u32,
    },
    /// The header would end behind the frame.
    #[error("a frame header of {header} bytes in a frame that has {room} for it")]
    TruncatedHeader {
        /// The header's length.
        header: u32,
        /// The bytes of header and body together.
        room: u32,
    },
    /// The bytes were damaged on the way, or are no frame at all.
    #[error("frame checksum is {found:#010x}, its bytes have {computed:#010x}")]
    Checksum {
        /// As it came.
        found: u32,
        /// As it should be.
        computed: u32,
    },
    /// The header is not what it should be, or cannot be written.
    #[error("frame header: {0}")]
    Header(#[from] postcard::Error),
    /// Bytes follow the header's value.
    #[error("{0} bytes too many in the frame header")]
    TrailingHeader(usize),
    /// The body is not what the header speaks of.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Reads a header as a `T`; all of its bytes must be used.
pub fn decode_header<T: DeserializeOwned>(header: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(header)? {
        (value, []) => Ok(value),
        (_, rest) => Err(FrameError::TrailingHeader(rest.len())),
    }
}

/// Reads a protocol's message: its header, entirely, and a body that is what the header speaks of.
pub fn decode_message<M: Message>(frame: Frame) -> Result<M, FrameError> {
    let mut message: M = decode_header(&frame.header)?;
    message.attach(frame.body)?;
    Ok(message)
}

/// Appends a protocol's message to a queue.
pub fn encode_message<M: Message>(queue: &mut FrameQueue, channel: u8, message: &M) -> Result<(), FrameError> {
    queue.push(channel, message, &message.body())
}

/// Bytes on their way out, and how many frames end in them.
#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    frames: usize,
}

/// Frames on their way to a socket. Headers and small bodies share one growing arena; large bodies are segments of their
/// own, by reference. As a [`Buf`] it gives all of them to one vectored write.
#[derive(Debug)]
pub struct FrameQueue {
    limits: FrameLimits,
    segments: VecDeque<Segment>,
    /// What follows the segments.
    arena: BytesMut,
    arena_frames: usize,
    bytes: usize,
    frames: usize,
}

impl FrameQueue {
    /// An empty queue.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, segments: VecDeque::new(), arena: BytesMut::new(), arena_frames: 0, bytes: 0, frames: 0 }
    }

    /// Appends a frame. On an error the queue is as before.
    pub fn push<H: Serialize + ?Sized>(&mut self, channel: u8, header: &H, body: &Bytes) -> Result<(), FrameError> {
        let chunk = (self.limits.chunk / 4).max(PREFIX + INLINE_BODY);
        let room = PREFIX + 256 + if body.len() <= INLINE_BODY { body.len() } else { 0 };
        if self.arena.capacity() - self.arena.len() < room {
            // Growing would copy what waits in the arena; a new one does not.
            self.seal();
            self.arena.reserve(chunk.max(room));
        }
        let start = self.arena.len();
        match self.write_frame(start, channel, header, body) {
            Ok(frame) => {
                self.frames += 1;
                self.arena_frames += 1;
                self.bytes += frame;
                if body.len() > INLINE_BODY {
                    // The frame ends with the body, so it is counted there.
                    self.arena_frames -= 1;
                    self.seal();
                    self.segments.push_back(Segment { bytes: body.clone(), frames: 1 });
                }
                Ok(())
            }
            Err(error) => {
                self.arena.truncate(start);
                Err(error)
            }
        }
    }

    /// Writes prefix, header and a small body at `start` of the arena. Gives the whole frame's size.
    fn write_frame<H: Serialize + ?Sized>(
        &mut self,
        start: usize,
        channel: u8,
        header: &H,
        body: &Bytes,
    ) -> Result<usize, FrameError> {
        let arena = &mut self.arena;
        arena.put_bytes(0, PREFIX);
        let limit = self.limits.max_header.min(MAX_HEADER);
        let header_at = start + PREFIX;
        let out = Arena { buf: arena, full: header_at + limit as usize };
        postcard::serialize_with_flavor(header, out).map_err(|e| match e {
            postcard::Error::SerializeBufferFull => FrameError::HeaderTooLarge { found: u64::from(limit) + 1, limit },
            other => FrameError::Header(other),
        })?;
        let header_len = arena.len() - header_at;
        let length = COUNTED + header_len + body.len();
        if length > self.limits.max_frame as usize {
            return Err(FrameError::TooLarge { found: length as u64, limit: self.limits.max_frame });
        }
        let shape = u32::from(channel) | (header_len as u32) << 8;
        arena[start + CONTENT..header_at].copy_from_slice(&shape.to_le_bytes());
        let inline = body.len() <= INLINE_BODY;
        if inline {
            arena.extend_from_slice(body);
        }
        let mut crc = crc32c::crc32c(&arena[start + CONTENT..]);
        if !inline {
            crc = crc32c::crc32c_append(crc, body);
        }
        let prefix = (length as u32).to_le_bytes();
        let words = [prefix, crc32c::crc32c(&prefix).to_le_bytes(), crc.to_le_bytes()];
        arena[start..start + CONTENT].copy_from_slice(words.as_flattened());
        Ok(CONTENT + length)
    }

    /// Bytes that wait to be written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that wait, a partly written one included.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Takes the next bytes out, at most `max` of them and as they lie in memory, for a wire that keeps them by reference.
    pub fn take_bytes(&mut self, max: usize) -> Option<Bytes> {
        if self.segments.is_empty() {
            self.seal();
        }
        let first = self.segments.front_mut()?;
        let n = max.min(first.bytes.len());
        if n == 0 {
            return None;
        }
        self.bytes -= n;
        if n < first.bytes.len() {
            return Some(first.bytes.split_to(n));
        }
        let segment = self.segments.pop_front()?;
        self.frames -= segment.frames;
        Some(segment.bytes)
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    fn seal(&mut self) {
        if !self.arena.is_empty() {
            let frames = std::mem::take(&mut self.arena_frames);
            self.segments.push_back(Segment { bytes: self.arena.split().freeze(), frames });
        }
    }
}

impl Buf for FrameQueue {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.arena, |s| &s.bytes)
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let parts = self.segments.iter().map(|s| &s.bytes[..]).chain(std::iter::once(&self.arena[..]));
        let mut n = 0;
        for (slot, part) in dst.iter_mut().zip(parts.filter(|p| !p.is_empty())) {
            *slot = IoSlice::new(part);
            n += 1;
        }
        n
    }

    fn advance(&mut self, mut n: usize) {
        assert!(n <= self.bytes, "advanced {n} of {} bytes", self.bytes);
        self.bytes -= n;
        while let Some(first) = self.segments.front_mut() {
            if n < first.bytes.len() {
                first.bytes.advance(n);
                return;
            }
            n -= first.bytes.len();
            self.frames -= first.frames;
            self.segments.pop_front();
        }
        self.arena.advance(n);
        if self.arena.is_empty() {
            self.frames -= std::mem::take(&mut self.arena_frames);
            if self.arena.capacity() > self.limits.chunk {
                // It grew for one large header.
                self.arena = BytesMut::new();
            }
        }
    }
}

/// Where a header is serialized: behind what the arena holds, up to a limit.
struct Arena<'a> {
    buf: &'a mut BytesMut,
    full: usize,
}

impl Flavor for Arena<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if self.buf.len() + data.len() > self.full {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.buf.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Turns bytes as they come into frames. After an error it gives only that error.
#[derive(Debug)]
pub struct FrameDecoder {
    limits: FrameLimits,
    /// Bytes that came as they lie in memory; `buf` is empty while there are any.
    given: Bytes,
    buf: BytesMut,
    /// The size of the allocation under `buf`.
    allocated: usize,
    /// How many more bytes the unfinished frame needs, once that is known.
    missing: usize,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, given: Bytes::new(), buf: BytesMut::new(), allocated: 0, missing: 0, failed: None }
    }

    /// The buffer to read into, with room for more. Never more than the larger of a chunk and four times what came.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let (chunk, len) = (self.limits.chunk.max(PREFIX), self.buf.len());
        let spare = self.buf.capacity() - len;
        let enough = (chunk / 8).max(1);
        if spare < enough && (self.missing == 0 || spare < self.missing) {
            let more = chunk.max(self.missing.min(3 * len));
            // An allocation that grew for one large frame is not used again: small bodies would keep it alive.
            if self.allocated > 2 * chunk || !self.buf.try_reclaim(more) {
                let mut next = BytesMut::with_capacity(len + more);
                next.extend_from_slice(&self.buf);
                self.buf = next;
            }
            self.allocated = self.buf.capacity();
        }
        &mut self.buf
    }

    /// Takes bytes that came without a copy, instead of reading into [`buffer`](Self::buffer). Call
    /// [`next_frame`](Self::next_frame) until it gives no more before the next piece.
    pub fn feed(&mut self, bytes: Bytes) {
        self.set_aside();
        if self.buf.is_empty() {
            self.given = bytes;
        } else {
            self.buffer();
            self.buf.extend_from_slice(&bytes);
        }
    }

    /// The given bytes that are no whole frame wait where others are added to them.
    fn set_aside(&mut self) {
        if !self.given.is_empty() {
            self.buffer();
            self.buf.extend_from_slice(&std::mem::take(&mut self.given));
        }
    }

    /// Bytes of an unfinished frame.
    pub fn pending(&self) -> usize {
        self.buf.len() + self.given.len()
    }

    /// How many more bytes the unfinished frame needs, once that is known.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// The next whole frame; None until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.cut();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.buf = BytesMut::new();
            self.given = Bytes::new();
        }
        result
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let bytes = if self.given.is_empty() { &self.buf[..] } else { &self.given[..] };
        let shape = match measure(bytes, &self.limits)? {
            Measure::Whole(shape) => shape,
            Measure::Missing(n) => {
                self.missing = n;
                self.set_aside();
                return Ok(None);
            }
        };
        self.missing = 0;
        let header = (shape >> 8) as usize;
        let total = CONTENT + word(bytes, 0).unwrap_or(0) as usize;
        let mut header_bytes =
            if self.given.is_empty() { self.buf.split_to(total).freeze() } else { self.given.split_to(total) };
        header_bytes.advance(PREFIX);
        let body = header_bytes.split_off(header);
        let body = if body.len() < self.limits.copy_below { Bytes::copy_from_slice(&body) } else { body };
        Ok(Some(Frame { channel: shape as u8, header: header_bytes, body }))
    }
}

/// What lies at the start of some bytes.
enum Measure {
    /// A frame, intact, whose channel and header length are these.
    Whole(u32),
    /// Not all of a frame: so many bytes are missing, or zero if not even that is known.
    Missing(usize),
}

/// Judges the frame at the start of `buf`.
fn measure(buf: &[u8], limits: &FrameLimits) -> Result<Measure, FrameError> {
    let Some(length) = word(buf, 0) else { return Ok(Measure::Missing(0)) };
    if length > limits.max_frame && !mutant!("N07") {
        mark!("common/transport/frame#cut.too_large");
        return Err(FrameError::TooLarge { found: length.into(), limit: limits.max_frame });
    }
    if length < COUNTED as u32 {
        return Err(FrameError::TooShort { found: length });
    }
    let Some(found) = word(buf, 4) else { return Ok(Measure::Missing(CONTENT - buf.len())) };
    let computed = crc32c::crc32c(&buf[..4]);
    if found != computed && !mutant!("N01") {
        mark!("common/transport/frame#cut.length");
        return Err(FrameError::Length { length, found, computed });
    }
    let (Some(found), Some(shape)) = (word(buf, 8), word(buf, 12)) else {
        return Ok(Measure::Missing(CONTENT + length as usize - buf.len()));
    };
    let (header, room) = (shape >> 8, length - COUNTED as u32);
    if header > limits.max_header {
        return Err(FrameError::HeaderTooLarge { found: header.into(), limit: limits.max_header });
    }
    if header > room {
        return Err(FrameError::TruncatedHeader { header, room });
    }
    let total = PREFIX + room as usize;
    if buf.len() < total {
        return Ok(Measure::Missing(total - buf.len()));
    }
    let computed = crc32c::crc32c(&buf[CONTENT..total]);
    if found != computed && !mutant!("N02") {
        mark!("common/transport/frame#cut.checksum");
        return Err(FrameError::Checksum { found, computed });
    }
    Ok(Measure::Whole(shape))
}

fn word(buf: &[u8], at: usize) -> Option<u32> {
    buf.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests;
