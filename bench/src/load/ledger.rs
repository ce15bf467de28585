//! Who wrote what, and whether it is still there.
//!
//! Every key has one writer, which writes it in order, one write at a time. So after any number of crashes the key must hold
//! the value of the last write that was answered, or of a later one that was sent and never answered. Anything else is a lost
//! write, and the check needs no search to find it.
//!
//! A write that ended without a known outcome may take effect at any later time. Its key is retired: a newer write to it could
//! be overtaken, and the check would blame the system for what the client did.

use bytes::{BufMut, Bytes, BytesMut};

/// The smallest value that can be checked: it must hold the number of the key and of the write.
pub const MIN_VALUE: usize = 16;

/// What became of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// The number of the last write that was answered; 0 for none.
    acked: u64,
    /// The number of the last write that was sent.
    sent: u64,
    /// Whether a write's outcome is unknown.
    retired: bool,
    /// Whether anything was ever sent.
    touched: bool,
}

/// The writes of one load. Its size is that of the key space, whatever the load does.
#[derive(Clone, Debug)]
pub struct Ledger {
    prefix: u64,
    entries: Vec<Entry>,
}

/// A key that does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Number of the key.
    pub key: usize,
    /// The last write that was answered.
    pub acked: u64,
    /// The last that was sent.
    pub sent: u64,
    /// What was found: a write's number, or None when the key is missing or holds something never written.
    pub found: Option<u64>,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, acked, sent, found } = self;
        write!(f, "key {key}: write {acked} was acknowledged, writes up to {sent} were sent, found ")?;
        match found {
            Some(n) => write!(f, "write {n}"),
            None => f.write_str("nothing that was ever written"),
        }
    }
}

impl Ledger {
    /// For `keys` keys whose names start with `prefix`, so that loads one after the other do not share keys.
    pub fn new(prefix: u64, keys: usize) -> Self {
        Self { prefix, entries: vec![Entry::default(); keys] }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name of a key: 16 bytes, spread over the key space as users' keys are.
    pub fn name(&self, key: usize) -> Bytes {
        let mut name = BytesMut::with_capacity(16);
        name.put_u64(self.prefix);
        name.put_u64((key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        name.freeze()
    }

    /// The number for the next write of a key; None if the key is retired.
    pub fn send(&mut self, key: usize) -> Option<u64> {
        let entry = self.entries.get_mut(key).filter(|e| !e.retired)?;
        entry.sent += 1;
        entry.touched = true;
        Some(entry.sent)
    }

    /// The last write of this key was answered.
    pub fn acknowledge(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.acked = entry.sent;
        }
    }

    /// The last write of this key was refused: it never takes effect.
    pub fn refuse(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.sent -= 1;
        }
    }

    /// The last write of this key has an unknown outcome.
    pub fn retire(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.retired = true;
        }
    }

    /// The keys to read back: those with an acknowledged write, and those where a write was tried and must not be found.
    pub fn touched(&self) -> impl Iterator<Item = usize> + '_ {
        self.entries.iter().enumerate().filter(|(_, e)| e.touched).map(|(i, _)| i)
    }

    /// Whether a write of this key was acknowledged.
    pub fn is_acknowledged(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|e| e.acked > 0)
    }

    /// How many writes were acknowledged.
    pub fn acknowledged_writes(&self) -> u64 {
        self.entries.iter().map(|e| e.acked).sum()
    }

    /// Whether a key's content, as read back, is one it may have.
    pub fn check(&self, key: usize, content: Option<&[u8]>) -> Result<(), Loss> {
        let entry = self.entries.get(key).copied().unwrap_or_default();
        let found = content.and_then(|c| number_of(key, c));
        let fine = match found {
            Some(n) => (entry.acked..=entry.sent).contains(&n),
            None => entry.acked == 0 && content.is_none(),
        };
        if fine { Ok(()) } else { Err(Loss { key, acked: entry.acked, sent: entry.sent, found }) }
    }
}

/// The value of write number `number` of a key: both numbers, and filling made from them, so that a mixed-up value is noticed.
pub fn value_of(key: usize, number: u64, bytes: usize) -> Bytes {
    let mut value = BytesMut::with_capacity(bytes.max(MIN_VALUE));
    value.put_u64(key as u64);
    value.put_u64(number);
    let filling = filling(key, number);
    value.resize(bytes.max(MIN_VALUE), filling);
    value.freeze()
}

/// The number of the write that made this value of `key`; None if none did.
fn number_of(key: usize, value: &[u8]) -> Option<u64> {
    let (head, filled) = value.split_at_checked(MIN_VALUE)?;
    let (owner, number) = head.split_at(8);
    let number = u64::from_be_bytes(number.try_into().ok()?);
    let whole = owner == (key as u64).to_be_bytes() && filled.iter().all(|b| *b == filling(key, number));
    whole.then_some(number)
}

fn filling(key: usize, number: u64) -> u8 {
    (key as u64 ^ number.rotate_left(3)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that answered three writes each of two keys.
    fn written() -> (Ledger, [Bytes; 2]) {
        let mut ledger = Ledger::new(7, 3);
        let mut last = [Bytes::new(), Bytes::new()];
        for (key, last) in last.iter_mut().enumerate() {
            for _ in 0..3 {
                let number = ledger.send(key).unwrap();
                *last = value_of(key, number, 100);
                ledger.acknowledge(key);
            }
        }
        (ledger, last)
    }

    #[test]
    fn what_was_acknowledged_is_found() {
        let (ledger, last) = written();
        assert_eq!(ledger.touched().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(ledger.acknowledged_writes(), 6);
        assert_eq!(ledger.check(0, Some(&last[0])), Ok(()));
        assert_eq!(ledger.check(1, Some(&last[1])), Ok(()));
        assert_eq!(ledger.check(2, None), Ok(()), "never written");
    }

    #[test]
    fn a_lost_write_is_noticed() {
        let (ledger, last) = written();
        let lost = |key, content: Option<&[u8]>| ledger.check(key, content).unwrap_err().found;
        assert_eq!(lost(0, None), None, "the key is gone");
        assert_eq!(lost(0, Some(&value_of(0, 2, 100))), Some(2), "the write before is back");
        assert_eq!(lost(0, Some(&last[1])), None, "another key's value");
        assert_eq!(lost(0, Some(&value_of(0, 4, 100))), Some(4), "a write that was never sent");
        let mut damaged = last[0].to_vec();
        damaged[50] ^= 1;
        assert_eq!(lost(0, Some(&damaged)), None, "a damaged value");
        assert_eq!(lost(2, Some(&value_of(2, 1, 100))), Some(1), "a key that was never written");
        let loss = ledger.check(0, None).unwrap_err().to_string();
        assert!(loss.contains("write 3 was acknowledged"), "{loss}");
    }

    #[test]
    fn a_write_without_an_answer_may_or_may_not_be_there() {
        let (mut ledger, last) = written();
        let number = ledger.send(0).unwrap();
        ledger.retire(0);
        assert_eq!(ledger.check(0, Some(&last[0])), Ok(()));
        assert_eq!(ledger.check(0, Some(&value_of(0, number, 100))), Ok(()));
        assert_eq!(ledger.send(0), None, "and the key is not written again");
    }

    #[test]
    fn a_refused_write_must_not_be_there() {
        let (mut ledger, last) = written();
        let number = ledger.send(0).unwrap();
        ledger.refuse(0);
        assert_eq!(ledger.check(0, Some(&last[0])), Ok(()));
        assert!(ledger.check(0, Some(&value_of(0, number, 100))).is_err());
    }

    #[test]
    fn names_differ_between_keys_and_loads() {
        let (a, b) = (Ledger::new(1, 100), Ledger::new(2, 100));
        let names: std::collections::BTreeSet<_> = (0..100).flat_map(|k| [a.name(k), b.name(k)]).collect();
        assert_eq!(names.len(), 200);
    }
}
