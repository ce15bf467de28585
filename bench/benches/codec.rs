//! Messages with entries as frames: encoded into a queue, and decoded from bytes as they come from a socket, checksums
//! included. Raft: AppendEntries. ZAB: PROPOSAL. 1, 16 and 256 entries of 100 bytes.

use std::hint::black_box;

use bytes::{Buf, Bytes};
use common::codec::Message;
use common::entries::{Batch, Entries, EntryKind};
use common::transport::frame::{FrameDecoder, FrameLimits, FrameQueue, decode_message, encode_message};
use common::types::LogId;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD: [u8; 100] = [7; 100];

fn entries(n: usize) -> Entries {
    let batch = Batch::from_payloads(&vec![PAYLOAD; n]);
    Entries::new(LogId::new(3, 1000), EntryKind::Command, batch).expect("there are entries")
}

/// The frame's bytes, as one read may bring them.
fn encoded<M: Message>(message: &M) -> Bytes {
    let mut queue = FrameQueue::new(FrameLimits::PEER);
    encode_message(&mut queue, 0, message).expect("it fits");
    queue.copy_to_bytes(queue.remaining())
}

fn frames<M: Message>(c: &mut Criterion, name: &str, make: impl Fn(Entries) -> M) {
    let mut group = c.benchmark_group(format!("codec/{name}"));
    for n in [1usize, 16, 256] {
        let message = make(entries(n));
        let bytes = encoded(&message);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("encode", n), |b| {
            let mut queue = FrameQueue::new(FrameLimits::PEER);
            b.iter(|| {
                encode_message(&mut queue, 0, black_box(&message)).expect("it fits");
                // As a socket takes it: the bytes are gone, the room stays.
                queue.advance(queue.remaining());
            });
        });
        group.bench_function(BenchmarkId::new("decode", n), |b| {
            let mut decoder = FrameDecoder::new(FrameLimits::PEER);
            b.iter(|| {
                // The copy stands for the read from the socket.
                decoder.buffer().extend_from_slice(&bytes);
                let frame = decoder.next_frame().expect("it is a frame").expect("it is whole");
                black_box(decode_message::<M>(frame).expect("it is this message"));
            });
        });
        let mut decoder = FrameDecoder::new(FrameLimits::PEER);
        decoder.buffer().extend_from_slice(&bytes);
        let frame = decoder.next_frame().expect("it is a frame").expect("it is whole");
        assert_eq!(decode_message::<M>(frame).expect("it is this message"), message);
    }
    group.finish();
}

fn codec(c: &mut Criterion) {
    frames(c, "AppendEntries", |entries| raft::Message::AppendEntries {
        term: 3,
        prev: LogId::new(3, 999),
        commit: 990,
        round: 17,
        entries: Some(entries.into()),
    });
    frames(c, "PROPOSAL", |entries| zab::Message::Proposal { attempt: 5, entries: entries.into() });
}

criterion_group!(benches, codec);
criterion_main!(benches);
