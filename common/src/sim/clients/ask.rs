//! What clients ask: drawn from streams by the number of the client and of its operation, so that a fault taken out of a
//! plan leaves it as it was.

use bytes::Bytes;

use super::history::{Action, VALUE_MIN, Value};
use super::send::enveloped;
use super::{Clients, Op, What};
use crate::client::wire::{Ask, Envelope, ReadMode};
use crate::rng::Rng;
use crate::state_machine::kv::{Command, KvLimits, Query};
use crate::types::{LogId, NodeId};

/// Of so many operations one is none of the common ones.
const STRANGE: u64 = 128;
/// A client closes its session, by forgetting it, after about so many operations.
const SESSION: u64 = 200;
/// One byte more than a node takes in a write, see [`ReplicaConfig::entry_bytes`](crate::node::ReplicaConfig).
const OVERSIZE: usize = (1 << 20) + 1;

/// A request that stands alone: sent once, to one node, and whatever comes back is looked at.
#[derive(Clone, Debug)]
pub(super) enum Aside {
    /// A header that is none. The connection must be closed.
    NoHeader,
    /// A write whose body is none, or is too long. It must be answered `Malformed`.
    NoWrite,
    /// Bytes for the log. `sound` is false for those that the state machine must find malformed.
    Append {
        payload: Bytes,
        sound: bool,
    },
    /// A query that is none.
    NoQuery {
        mode: ReadMode,
    },
    Status,
    Log,
}

impl Clients {
    /// A client thinks of something.
    pub(super) fn think(&mut self, client: usize, out: &mut Vec<super::ClientAct>) {
        let c = &mut self.people[client];
        c.asked += 1;
        let number = c.asked;
        let mut rng = self.streams.rng("ask", [client as u64, number, 0]);
        if rng.between(0, SESSION) == 0 && c.ops.is_empty() {
            c.session = None;
        }
        if rng.between(0, STRANGE) == 0 && self.strange(client, number, &mut rng, out) {
            return;
        }
        let key = (0..self.skew).map(|_| rng.between(0, self.shape.keys)).min().unwrap_or(0) as u32;
        let value = self.value(client, number, &mut rng);
        let mut part = rng.between(0, 100) as u8;
        let mut kind = 0;
        while kind < 4 && part >= self.shape.mix[kind] {
            part -= self.shape.mix[kind];
            kind += 1;
        }
        let action = match kind {
            0 => Action::Put { value },
            1 => Action::Delete,
            2 => Action::CompareAndSet { expected: self.guess(key, &mut rng), value },
            3 if rng.between(0, 2) == 0 => Action::Get { mode: ReadMode::Lease },
            3 => Action::Get { mode: ReadMode::Linearizable },
            _ if number.is_multiple_of(2) => Action::Get { mode: ReadMode::Sync },
            _ => Action::Get { mode: ReadMode::Local },
        };
        let bytes = self.encode(key, action);
        let record = self.history.asked(client as u32, key, action, self.now);
        let twice = !matches!(action, Action::Get { .. }) && rng.between(0, 100) < self.shape.duplicates.into();
        self.begin(client, Op::new(number, What::Known { action, key, record }, bytes, twice), out);
    }

    fn value(&self, client: usize, number: u64, rng: &mut Rng) -> Value {
        let most = self.shape.value_bytes.max(VALUE_MIN);
        // Most are short: a world has better things to do than to carry dots.
        let len = (0..3).map(|_| rng.between(VALUE_MIN, most + 1)).min().unwrap_or(VALUE_MIN);
        Value { number: (client as u64 + 1) << 40 | number, len: len as u32 }
    }

    /// What a key holds, as far as anybody knows; now and then a guess that is likely wrong.
    fn guess(&self, key: u32, rng: &mut Rng) -> Option<Value> {
        let (latest, before) = self.known.get(&key).map_or((None, None), |k| (k.value, k.before));
        match rng.between(0, 10) {
            0 => None,
            1 => before,
            _ => latest,
        }
    }

    fn encode(&self, key: u32, action: Action) -> Bytes {
        let key = self.keys[key as usize].as_bytes();
        match action {
            Action::Put { value } => Command::Put { key, value: &value.to_bytes() }.to_bytes(),
            Action::Delete => Command::Delete { key }.to_bytes(),
            Action::CompareAndSet { expected, value } => {
                let expected = expected.map(Value::to_bytes);
                let expected = expected.as_deref();
                Command::CompareAndSet { key, expected, value: &value.to_bytes() }.to_bytes()
            }
            Action::Get { .. } => Query::Get { key }.to_bytes(),
        }
    }

    /// One of the things that clients do seldom. False if it was none after all.
    fn strange(&mut self, client: usize, number: u64, rng: &mut Rng, out: &mut Vec<super::ClientAct>) -> bool {
        // Told from those of all other clients, and no envelope: its variant does not exist.
        let unique = [[0xff; 8], (client as u64).to_le_bytes(), number.to_le_bytes()].concat();
        let mode = [ReadMode::Linearizable, ReadMode::Local, ReadMode::Lease][rng.between(0, 3) as usize];
        let at_least = self.people[client].seen;
        let any = self.nodes[rng.between(0, self.nodes.len() as u64) as usize];
        let query = |ask| (ask, Bytes::new());
        let (aside, (ask, body)) = match rng.between(0, 21) {
            0..=3 => {
                let key = vec![b'k'; KvLimits::default().key_bytes + 1];
                let command = Command::Put { key: &key, value: &unique }.to_bytes();
                self.begin(client, Op::new(number, What::Strange, command, true), out);
                return true;
            }
            4..=6 => {
                self.begin(client, Op::new(number, What::Strange, Bytes::from(unique), true), out);
                return true;
            }
            7..=8 => (Aside::NoHeader, (Ask::Write, Bytes::new())),
            9 => (Aside::NoWrite, (Ask::Write, Bytes::from(unique))),
            // Which sessions are dropped is not for clients to say.
            10 => (Aside::NoWrite, (Ask::Write, enveloped(Envelope::Expire { upto: LogId::ZERO }, &[]))),
            11 => (Aside::NoWrite, (Ask::Write, self.oversize())),
            n @ 12..=15 => {
                let sound = n > 13;
                let envelope = if sound { Envelope::Raw } else { Envelope::Open };
                let mut payload = postcard::to_stdvec(&envelope).unwrap_or_default();
                payload.extend_from_slice(&unique);
                let payload = Bytes::from(payload);
                (Aside::Append { payload: payload.clone(), sound }, (Ask::Write, payload))
            }
            16..=18 => (Aside::NoQuery { mode }, (Ask::Read { mode, at_least }, Bytes::from(unique))),
            19 => (Aside::Status, query(Ask::Status)),
            _ => (Aside::Log, query(Ask::Log { after: LogId::ZERO, max: 5 })),
        };
        self.send_aside(client, any, aside, ask, body, out);
        true
    }

    fn oversize(&mut self) -> Bytes {
        if self.oversize.is_empty() {
            self.oversize = Bytes::from(vec![2; OVERSIZE]);
        }
        self.oversize.clone()
    }

    /// Any node.
    pub(super) fn any_node(&self, rng: &mut Rng) -> NodeId {
        self.nodes[rng.between(0, self.nodes.len() as u64) as usize]
    }
}

/// A span drawn from the exponential distribution with this mean, in microseconds. Without floating point, whose
/// logarithm may differ between machines.
pub(super) fn exponential(rng: &mut Rng, mean: u64) -> u64 {
    let r = rng.next_u64();
    // -log2 of a number in (0, 1], times 2^32: its leading zeros, and 1 - log2 of the rest, which is in 1..2.
    let zeros = u64::from(r.leading_zeros().min(40));
    let m = (r << zeros) << 1 >> 32;
    // log2(1 + x) is about x + 0.344 x (1 - x).
    let log = m + ((((m * ((1 << 32) - m)) >> 32) * 1_477_468_749) >> 32);
    let digits = (zeros << 32) + (1 << 32) - log.min(1 << 32);
    // Times ln 2.
    let nats = (u128::from(digits) * 2_977_044_472) >> 32;
    ((u128::from(mean) * nats) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exponential() {
        let mut rng = Rng::new(1);
        let mut spans: Vec<u64> = (0..20_000).map(|_| exponential(&mut rng, 1_000_000)).collect();
        let mean = spans.iter().sum::<u64>() / 20_000;
        spans.sort_unstable();
        // Quantiles at a half and at nine tenths: ln 2 and ln 10.
        for (found, should) in [(mean, 1_000_000), (spans[10_000], 693_147), (spans[18_000], 2_302_585)] {
            assert!(found.abs_diff(should) < should / 25, "{found}, not about {should}");
        }
    }
}
