use super::*;
use crate::codec::Payload;
use crate::entries::{Batch, Entries, EntryKind};
use crate::types::LogId;
use proptest::prelude::*;

const SMALL: FrameLimits = FrameLimits { max_frame: 5000, max_header: 1000, chunk: 256, copy_below: 16 };

/// Feeds bytes in pieces of the given sizes, in turn, and gives the frames and the error, if one came.
fn feed(limits: FrameLimits, bytes: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<FrameError>) {
    let (mut decoder, mut frames, mut at) = (FrameDecoder::new(limits), Vec::new(), 0);
    let mut cuts = cuts.iter().copied().cycle();
    while at < bytes.len() {
        let buf = decoder.buffer();
        let room = buf.capacity() - buf.len();
        let n = cuts.next().unwrap_or(bytes.len()).clamp(1, room).min(bytes.len() - at);
        buf.extend_from_slice(&bytes[at..at + n]);
        at += n;
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(e) => return (frames, Some(e)),
            }
        }
    }
    (frames, None)
}

fn drain(queue: &mut FrameQueue, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while queue.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 4];
        let n = queue.chunks_vectored(&mut slices);
        let all: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
        let n = all.len().min(step);
        out.extend_from_slice(&all[..n]);
        queue.advance(n);
    }
    assert_eq!((queue.bytes(), queue.frames()), (0, 0));
    out
}

fn frame(channel: u8, header: &str, body: &[u8]) -> Vec<u8> {
    let mut queue = FrameQueue::new(FrameLimits::PEER);
    queue.push(channel, header, &Bytes::copy_from_slice(body)).unwrap();
    drain(&mut queue, usize::MAX)
}

proptest! {
    #[test]
    fn frames_survive_any_cuts(
        sent in proptest::collection::vec((any::<u8>(), "[a-z]{0,300}", proptest::collection::vec(any::<u8>(), 0..3000)), 0..20),
        cuts in proptest::collection::vec(1usize..700, 1..20),
        step in 1usize..4000,
    ) {
        let mut queue = FrameQueue::new(SMALL);
        for (channel, header, body) in &sent {
            queue.push(*channel, header.as_str(), &Bytes::copy_from_slice(body)).unwrap();
        }
        prop_assert_eq!(queue.frames(), sent.len());
        let bytes = drain(&mut queue, step);
        let (frames, error) = feed(SMALL, &bytes, &cuts);
        prop_assert_eq!(error, None);
        let got: Vec<(u8, String, Vec<u8>)> = frames
            .into_iter()
            .map(|f| (f.channel, decode_header(&f.header).unwrap(), f.body.to_vec()))
            .collect();
        prop_assert_eq!(got, sent);
    }

    /// Whatever comes, it ends in frames, an error or a wait for more; and a wait is for what fits the limit.
    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        cuts in proptest::collection::vec(1usize..50, 1..5),
    ) {
        let (frames, error) = feed(SMALL, &bytes, &cuts);
        if error.is_none() && bytes.len() >= 4 && frames.is_empty() {
            prop_assert!(word(&bytes, 0).unwrap() <= SMALL.max_frame);
        }
    }

    #[test]
    fn one_flipped_bit_is_seen(body in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = frame(1, "header", &body);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (frames, error) = feed(SMALL, &bytes, &[7]);
        prop_assert_eq!(frames, vec![]);
        // At once, wherever it is: nothing that follows is taken for the rest of this frame.
        prop_assert!(error.is_some());
    }
}

#[test]
fn a_claimed_length_is_refused_before_memory_is_spent() {
    let mut decoder = FrameDecoder::new(FrameLimits::PEER);
    decoder.buffer().extend_from_slice(&u32::MAX.to_le_bytes());
    let error = FrameError::TooLarge { found: u32::MAX.into(), limit: FrameLimits::PEER.max_frame };
    assert_eq!(decoder.next_frame(), Err(error.clone()));
    assert_eq!(decoder.next_frame(), Err(error), "it stays closed");

    // A length within the limit costs no more than a few times what really came.
    let mut decoder = FrameDecoder::new(FrameLimits::PEER);
    let largest = FrameLimits::PEER.max_frame.to_le_bytes();
    decoder.buffer().extend_from_slice(&largest);
    decoder.buffer().extend_from_slice(&crc32c::crc32c(&largest).to_le_bytes());
    assert_eq!(decoder.next_frame(), Ok(None));
    assert!(decoder.buffer().capacity() <= 2 * FrameLimits::PEER.chunk);
}

#[test]
fn header_limits_hold_both_ways() {
    let mut queue = FrameQueue::new(SMALL);
    let long = "x".repeat(1000);
    assert!(matches!(queue.push(0, long.as_str(), &Bytes::new()), Err(FrameError::HeaderTooLarge { limit: 1000, .. })));
    let body = Bytes::from(vec![0; 5000]);
    assert!(matches!(queue.push(0, "", &body), Err(FrameError::TooLarge { limit: 5000, .. })));
    assert_eq!((queue.bytes(), queue.frames(), queue.chunk().len()), (0, 0, 0), "as before");

    let bytes = frame(0, &long, &[]);
    assert!(matches!(feed(SMALL, &bytes, &[]).1, Some(FrameError::HeaderTooLarge { found: 1002, limit: 1000 })));
    let mut bytes = frame(0, "abc", b"d");
    bytes[13] = 6;
    assert_eq!(feed(SMALL, &bytes, &[]).1, Some(FrameError::TruncatedHeader { header: 6, room: 5 }));
    assert_eq!(feed(SMALL, &[3, 0, 0, 0], &[]).1, Some(FrameError::TooShort { found: 3 }));
}

#[test]
fn large_bodies_are_not_copied() {
    let body = Bytes::from(vec![7; 10_000]);
    let mut queue = FrameQueue::new(FrameLimits::PEER);
    queue.push(0, "h", &body).unwrap();
    queue.push(0, "h", &Bytes::new()).unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(queue.chunks_vectored(&mut slices), 3);
    assert_eq!(slices[1].as_ptr(), body.as_ptr());
}

#[test]
fn a_small_body_does_not_keep_the_read_buffer() {
    let bytes = frame(0, "h", b"small");
    let mut decoder = FrameDecoder::new(SMALL);
    decoder.buffer().extend_from_slice(&bytes);
    let small = decoder.next_frame().unwrap().unwrap().body;
    assert!(small.is_unique(), "copied out");

    // After a large frame the buffer goes back to the size of a chunk.
    let large = frame(0, "h", &[1; 4000]);
    let (mut at, mut got) = (0, None);
    while got.is_none() {
        let buf = decoder.buffer();
        let n = (buf.capacity() - buf.len()).min(large.len() - at);
        buf.extend_from_slice(&large[at..at + n]);
        at += n;
        got = decoder.next_frame().unwrap();
    }
    assert_eq!(got.unwrap().body.len(), 4000);
    assert!(decoder.buffer().capacity() <= 2 * SMALL.chunk, "{}", decoder.buf.capacity());
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Append {
    term: u64,
    entries: Payload,
}

impl Message for Append {
    fn kind(&self) -> &'static str {
        "Append"
    }

    fn body(&self) -> Bytes {
        self.entries.body()
    }

    fn attach(&mut self, body: Bytes) -> Result<(), BodyError> {
        self.entries.attach(body)
    }
}

#[test]
fn messages_travel_with_their_entries_beside_the_header() {
    let payloads: Vec<Vec<u8>> = (0..100).map(|i| vec![i; usize::from(i) * 10]).collect();
    let entries = Entries::new(LogId::new(3, 9), EntryKind::Command, Batch::from_payloads(&payloads)).unwrap();
    let sent = Append { term: 3, entries: entries.into() };
    let mut queue = FrameQueue::new(FrameLimits::PEER);
    encode_message(&mut queue, 0, &sent).unwrap();
    let (frames, error) = feed(FrameLimits::PEER, &drain(&mut queue, 1000), &[999]);
    assert_eq!((frames.len(), error), (1, None));
    assert!(frames[0].header.len() < 250, "the shape only");
    assert_eq!(decode_message(frames[0].clone()), Ok(sent));
    let short = Frame { body: frames[0].body.slice(1..), ..frames[0].clone() };
    assert!(matches!(decode_message::<Append>(short), Err(FrameError::Body(_))));
}

proptest! {
    /// A header that passed its checksum may still be made up.
    #[test]
    fn made_up_messages_are_errors(header in proptest::collection::vec(any::<u8>(), 0..40), body in proptest::collection::vec(any::<u8>(), 0..40)) {
        let frame = Frame { channel: 0, header: header.clone().into(), body: body.clone().into() };
        if let Ok(message) = decode_message::<Append>(frame) {
            prop_assert_eq!(message.body(), body);
            prop_assert!(message.entries.entries().is_some());
        }
    }
}

#[test]
fn a_header_must_be_used_up() {
    let mut header = postcard::to_stdvec(&7u32).unwrap();
    assert_eq!(decode_header::<u32>(&header), Ok(7));
    header.push(0);
    assert_eq!(decode_header::<u32>(&header), Err(FrameError::TrailingHeader(1)));
    assert!(matches!(decode_header::<u32>(&[]), Err(FrameError::Header(_))));
}
