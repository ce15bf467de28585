//! Numbers and byte strings of snapshots: little-endian, length first, every length checked before room is made for it.

use std::fmt;
use std::io::{self, Read, Write};

use crate::types::LogId;

/// The error for a snapshot which is not what it should be.
pub(super) fn damaged(what: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {what}"))
}

pub(super) fn put_u32(out: &mut dyn Write, n: u32) -> io::Result<()> {
    out.write_all(&n.to_le_bytes())
}

pub(super) fn put_u64(out: &mut dyn Write, n: u64) -> io::Result<()> {
    out.write_all(&n.to_le_bytes())
}

pub(super) fn put_id(out: &mut dyn Write, id: LogId) -> io::Result<()> {
    put_u64(out, id.epoch)?;
    put_u64(out, id.counter)
}

pub(super) fn get_array<const N: usize>(input: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn get_u32(input: &mut dyn Read) -> io::Result<u32> {
    get_array(input).map(u32::from_le_bytes)
}

pub(super) fn get_u64(input: &mut dyn Read) -> io::Result<u64> {
    get_array(input).map(u64::from_le_bytes)
}

pub(super) fn get_id(input: &mut dyn Read) -> io::Result<LogId> {
    Ok(LogId::new(get_u64(input)?, get_u64(input)?))
}

/// A length that the snapshot states, if it is allowed.
pub(super) fn checked_len(what: &str, len: u64, allowed: usize) -> io::Result<usize> {
    match usize::try_from(len) {
        Ok(len) if len <= allowed => Ok(len),
        _ => Err(damaged(format_args!("{what} is {len}, at most {allowed} is allowed"))),
    }
}

/// Reads `len` bytes into `scratch`, replacing what is in it.
pub(super) fn get_into(input: &mut dyn Read, len: usize, scratch: &mut Vec<u8>) -> io::Result<()> {
    scratch.clear();
    scratch.resize(len, 0);
    input.read_exact(scratch)
}
