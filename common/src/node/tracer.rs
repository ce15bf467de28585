//! `trace/1`: what happened on the nodes of a cluster, as JSON lines, a meta line first.
//!
//! Every event has a number `i` that grows within its file, the time `t` in microseconds, the node `n`, a kind `k`, and
//! where it is known the number `c` of the event that caused it. A message has an id `m` that its `send` and its `recv`
//! share, unique in the cluster: the sender's id above 40 bits, the number of its `send` event below them. It travels
//! behind the frame's header, and only while the sender traces: a frame without it is the same bytes as ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::protocol::Protocol;
use crate::trace::{TraceBody, TraceEvent};
use crate::types::{LogId, Micros, NodeId};

/// Message ids whose `recv` may still come, at most; beyond it the oldest are forgotten, and their `recv` has no cause.
const SENDS_REMEMBERED: usize = 65_536;

/// Where events are numbered and gathered. Replicas that share one (a simulator's) share its numbers.
#[derive(Clone, Debug, Default)]
pub struct TraceSink(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    sends: BTreeMap<u64, u64>,
    out: Vec<u8>,
}

#[derive(Serialize)]
struct Line<'a> {
    i: u64,
    t: u64,
    n: NodeId,
    k: &'a str,
    #[serde(flatten)]
    rest: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<&'static str>,
}

impl TraceSink {
    /// A sink whose first event has the number `first`. A node that goes on with a file starts at the file's length in
    /// bytes, which is above every number in it.
    pub fn new(first: u64) -> Self {
        Self(Arc::new(Mutex::new(Lines { next: first, ..Lines::default() })))
    }

    /// Writes a line that is no event: the meta line.
    pub fn meta(&self, meta: &Value) {
        self.lock().line(meta);
    }

    /// Writes an event that no replica knows of (a simulator's faults, drops, invariants) and gives its number.
    pub fn event(&self, now: Micros, node: NodeId, kind: &str, rest: Map<String, Value>, cause: Option<u64>) -> u64 {
        self.lock().event(now, node, kind, rest, cause, None)
    }

    /// The lines since it was last asked. Whoever runs the replica must ask every turn.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().out)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn line(&mut self, value: &impl Serialize) {
        // A value with keys that are not strings cannot be JSON; the line says so instead of the event.
        if let Err(e) = serde_json::to_writer(&mut self.out, value) {
            self.out.extend_from_slice(format!("{{\"k\":\"error\",\"why\":{:?}}}", e.to_string()).as_bytes());
        }
        self.out.push(b'\n');
    }

    fn event(
        &mut self,
        now: Micros,
        n: NodeId,
        k: &str,
        rest: Map<String, Value>,
        c: Option<u64>,
        at: Option<(&'static str, &'static str)>,
    ) -> u64 {
        let i = self.next;
        self.next += 1;
        self.line(&Line { i, t: now.0, n, k, rest, c, a: at.map(|x| x.0), p: at.map(|x| x.1) });
        i
    }
}

/// A log id as traces write it: `[epoch, counter]`.
pub fn id_value(id: LogId) -> Value {
    Value::from(vec![id.epoch, id.counter])
}

/// The fields of an event.
pub fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// One replica's hand in the trace. Without a sink every call is one branch.
#[derive(Debug)]
pub(super) struct Tracer {
    sink: Option<TraceSink>,
    node: NodeId,
    now: Micros,
    /// The input that is being handled.
    cause: Option<u64>,
}

impl Tracer {
    pub(super) fn new(sink: Option<TraceSink>, node: NodeId) -> Self {
        Self { sink, node, now: Micros(0), cause: None }
    }

    /// What comes now was caused by nothing that was recorded: a new input, or the end of a turn.
    pub(super) fn turn(&mut self, now: Micros) {
        self.now = now;
        self.cause = None;
    }

    /// Records an input: what follows until the next one was caused by it.
    pub(super) fn input<const N: usize>(&mut self, kind: &str, rest: impl FnOnce() -> [(&'static str, Value); N]) {
        if let Some(sink) = &self.sink {
            self.cause = Some(sink.lock().event(self.now, self.node, kind, fields(rest()), None, None));
        }
    }

    /// Records something that follows from the input at hand.
    pub(super) fn note<const N: usize>(&self, kind: &str, rest: impl FnOnce() -> [(&'static str, Value); N]) {
        if let Some(sink) = &self.sink {
            sink.lock().event(self.now, self.node, kind, fields(rest()), self.cause, None);
        }
    }

    /// Records that a message leaves, and gives the id it travels with.
    pub(super) fn send(&self, to: NodeId, ty: &str, body: impl FnOnce() -> Value) -> Option<u64> {
        let mut lines = self.sink.as_ref()?.lock();
        let i = lines.next;
        let m = (self.node.0 << 40) | i;
        let rest = fields([("m", m.into()), ("to", to.0.into()), ("ty", ty.into()), ("b", body())]);
        lines.event(self.now, self.node, "send", rest, self.cause, None);
        lines.sends.insert(m, i);
        if lines.sends.len() > SENDS_REMEMBERED {
            lines.sends.pop_first();
        }
        Some(m)
    }

    /// Records that a message arrived.
    pub(super) fn receive(&mut self, from: NodeId, ty: &str, m: Option<u64>) {
        let Some(sink) = &self.sink else { return };
        let mut lines = sink.lock();
        let cause = m.and_then(|m| lines.sends.remove(&m));
        let mut rest = fields([("from", from.0.into()), ("ty", ty.into())]);
        if let Some(m) = m {
            rest.insert("m".to_owned(), m.into());
        }
        self.cause = Some(lines.event(self.now, self.node, "recv", rest, cause, None));
    }

    /// Records what a core said happened.
    pub(super) fn core(&self, event: TraceEvent) {
        let Some(sink) = &self.sink else { return };
        let object = |pairs: Vec<(&str, Value)>| -> Value {
            Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
        };
        let (kind, rest) = match event.body {
            TraceBody::Set { s } => ("set", fields([("s", object(s))])),
            TraceBody::Log { op, at, n } => {
                ("log", fields([("op", op.into()), ("at", id_value(at)), ("count", n.into())]))
            }
            TraceBody::Timer { name } => ("timer", fields([("name", name.into())])),
            TraceBody::Note { key, args } => ("note", fields([("key", key.into()), ("args", object(args))])),
        };
        sink.lock().event(self.now, self.node, kind, rest, self.cause, Some((event.anchor, event.paper)));
    }
}

/// A message's body as traces show it.
pub(super) fn message_value<P: Protocol>(message: &P::Message) -> Value {
    serde_json::to_value(message).unwrap_or_else(|e| Value::from(e.to_string()))
}
