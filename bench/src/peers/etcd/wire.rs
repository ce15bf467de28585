//! The little of protocol buffers and of gRPC's framing that etcd's key-value calls need.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

/// A field's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in the order in which they came; None where it is no message.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = take_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = take_varint(rest)?;
    let value = match key & 7 {
        0 => Value::Number(take_varint(rest)?),
        1 => Value::Bytes(take(rest, 8)?),
        2 => {
            let n = take_varint(rest)?;
            Value::Bytes(take(rest, usize::try_from(n).ok()?)?)
        }
        5 => Value::Bytes(take(rest, 4)?),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(n)?;
    *rest = after;
    Some(taken)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for i in 0..10 {
        let byte = *rest.first()?;
        rest.advance(1);
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put_varint(out: &mut impl BufMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Adds a number. Nothing is added for 0: that is what a missing field means.
pub(super) fn put_number(out: &mut impl BufMut, field: u64, number: u64) {
    if number != 0 {
        put_varint(out, field << 3);
        put_varint(out, number);
    }
}

/// Adds bytes, a text or a message.
pub(super) fn put_bytes(out: &mut impl BufMut, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// What stands before a message: that it is not compressed, and its length.
const PREFIX: usize = 5;

/// A message as it is sent, of at most `capacity` bytes; `write` writes it.
pub(super) fn framed(capacity: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX + capacity);
    out.put_bytes(0, PREFIX);
    write(&mut out);
    let length = u32::try_from(out.len() - PREFIX).unwrap_or(u32::MAX);
    out[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// The only message of an answer; None if it is not one whole plain message.
pub(super) fn unframed(mut answer: Bytes) -> Option<Bytes> {
    let prefix = answer.first_chunk::<PREFIX>()?;
    let (plain, length) = (prefix[0] == 0, u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]));
    answer.advance(PREFIX);
    (plain && answer.len() == length as usize).then_some(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_written_as_protocol_buffers_say() {
        let mut out = Vec::new();
        put_number(&mut out, 1, 150);
        put_number(&mut out, 3, 0);
        put_bytes(&mut out, 2, b"testing");
        assert_eq!(out, [8, 0x96, 1, 0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g']);
        let read: Vec<_> = fields(&out).collect();
        assert_eq!(read, [Some((1, Value::Number(150))), Some((2, Value::Bytes(b"testing")))]);
    }

    #[test]
    fn a_frame_is_written_as_grpc_says() {
        let frame = framed(2, |out| out.put_slice(b"hi"));
        assert_eq!(&frame[..], [0, 0, 0, 0, 2, b'h', b'i']);
        assert_eq!(unframed(frame.clone()), Some(Bytes::from_static(b"hi")));
        assert_eq!(unframed(frame.slice(..6)), None);
        assert_eq!(unframed(frame.slice(..3)), None);
        assert_eq!(unframed(Bytes::from_static(&[1, 0, 0, 0, 0])), None, "compressed");
    }

    proptest! {
        #[test]
        fn numbers_survive(number in 1u64.., field in 1u64..1000) {
            let mut out = Vec::new();
            put_number(&mut out, field, number);
            prop_assert_eq!(fields(&out).collect::<Vec<_>>(), [Some((field, Value::Number(number)))]);
        }

        #[test]
        fn whatever_comes_is_read_to_its_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(fields(&bytes).count() <= 64);
        }
    }
}
