//! The engine and the verification, on a store in memory that can be told to misbehave.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::engine::{LoadSpec, Mix, Running};
use super::target::{Connection, Done, Failure, Op, Target};
use super::verify::{verify, verify_local};

#[derive(Default)]
struct Faults {
    /// Of so many writes, one ends with this failure and ...
    every: Option<(u64, Failure)>,
    /// ... takes effect nevertheless.
    takes_effect: bool,
    /// Reads fail.
    unreadable: bool,
    /// From so many writes on, one takes so long: only the first, or every one.
    stall: Option<(u64, Duration)>,
    every_one: bool,
}

#[derive(Clone, Default)]
struct Memory {
    store: Rc<RefCell<BTreeMap<Bytes, Bytes>>>,
    faults: Rc<RefCell<Faults>>,
    writes: Rc<RefCell<u64>>,
}

struct MemoryConn {
    memory: Memory,
    /// Answers nothing before; kept here, for the future that waits may be dropped.
    stalled: Option<Instant>,
    queue: Vec<(u32, Op)>,
}

impl Target for Memory {
    type Conn = MemoryConn;

    fn open(&self, _: usize) -> MemoryConn {
        MemoryConn { memory: self.clone(), stalled: None, queue: Vec::new() }
    }
}

impl Connection for MemoryConn {
    fn submit(&mut self, tag: u32, op: Op) {
        assert!(self.queue.iter().all(|(t, _)| *t != tag), "one operation per tag");
        self.queue.push((tag, op));
    }

    async fn wait(&mut self, done: &mut Vec<Done>) {
        assert!(!self.queue.is_empty(), "waits for nothing");
        tokio::task::yield_now().await;
        self.stalled = self.stalled.or_else(|| self.memory.stall().map(|stall| Instant::now() + stall));
        if let Some(until) = self.stalled {
            sleep_until(until).await;
            self.stalled = None;
        }
        for (tag, op) in self.queue.drain(..) {
            done.push(Done { tag, end: self.memory.run(op) });
        }
    }
}

impl Memory {
    fn stall(&self) -> Option<Duration> {
        let mut faults = self.faults.borrow_mut();
        let (_, stall) = faults.stall.filter(|(from, _)| *self.writes.borrow() >= *from)?;
        if !faults.every_one {
            faults.stall = None;
        }
        Some(stall)
    }

    fn run(&self, op: Op) -> Result<Option<Bytes>, Failure> {
        let faults = self.faults.borrow();
        match op {
            Op::Read { .. } if faults.unreadable => Err(Failure::TimedOut),
            Op::Read { key, .. } => Ok(self.store.borrow().get(&key).cloned()),
            Op::Write { key, value } => {
                let mut n = self.writes.borrow_mut();
                *n += 1;
                let failure = faults.every.filter(|(every, _)| n.is_multiple_of(*every)).map(|(_, f)| f);
                if failure.is_none() || faults.takes_effect {
                    self.store.borrow_mut().insert(key, value);
                }
                failure.map_or(Ok(None), Err)
            }
        }
    }
}

fn spec() -> LoadSpec {
    LoadSpec {
        clients: 10,
        connections: 3,
        keys: 50,
        warm_up: Duration::from_millis(5),
        measure: Some(Duration::from_millis(30)),
        interval_ms: 10,
        ..LoadSpec::default()
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

#[test]
fn a_closed_loop_writes_and_everything_is_read_back() {
    run(async {
        let memory = Memory::default();
        let outcome = Running::start(&memory, spec(), None).join().await;
        let result = &outcome.result;
        assert!(result.operations > 0 && result.errors.is_empty(), "{result:?}");
        assert_eq!(result.service.count, result.operations);
        assert_eq!(result.intended, None);
        assert!(!result.series.is_empty());
        assert_eq!(outcome.ledger.acknowledged_writes(), *memory.writes.borrow());
        let verified = verify(&memory, &outcome.ledger).await;
        assert_eq!((verified.keys, verified.losses.len(), verified.unread), (50, 0, None));
    });
}

#[test]
fn a_key_lost_on_purpose_is_found() {
    run(async {
        let memory = Memory::default();
        let ledger = Running::start(&memory, spec(), None).join().await.ledger;
        let last = memory.store.borrow_mut().remove(&ledger.name(7)).unwrap();
        let verified = verify(&memory, &ledger).await;
        assert_eq!(verified.losses.iter().map(|l| l.key).collect::<Vec<_>>(), [7]);
        assert!(
            verified.sentence().starts_with("1 of 50 acknowledged keys are not as written: key 7"),
            "{}",
            verified.sentence()
        );
        // Another key's value in its place is a loss as well, and so is one that was overwritten by an older write.
        memory.store.borrow_mut().insert(ledger.name(8), last);
        assert_eq!(verify_local(&memory, &ledger).await.losses.len(), 2);
    });
}

#[test]
fn a_write_that_failed_without_an_outcome_is_never_called_lost() {
    for takes_effect in [false, true] {
        run(async {
            let memory = Memory::default();
            *memory.faults.borrow_mut() =
                Faults { every: Some((100, Failure::TimedOut)), takes_effect, ..Faults::default() };
            let outcome = Running::start(&memory, LoadSpec { keys: 5000, ..spec() }, None).join().await;
            assert!(outcome.ledger.acknowledged_writes() > 0);
            assert_eq!(verify(&memory, &outcome.ledger).await.losses, []);
        });
    }
}

#[test]
fn a_refused_write_that_took_effect_is_found() {
    run(async {
        let memory = Memory::default();
        *memory.faults.borrow_mut() =
            Faults { every: Some((2, Failure::Refused)), takes_effect: true, ..Faults::default() };
        let running = Running::start(&memory, LoadSpec { keys: 1000, measure: None, ..spec() }, None);
        while *memory.writes.borrow() < 10 {
            tokio::task::yield_now().await;
        }
        running.stop();
        let ledger = running.join().await.ledger;
        let verified = verify(&memory, &ledger).await;
        assert!(!verified.losses.is_empty(), "keys hold writes that were refused: {verified:?}");
    });
}

#[test]
fn what_cannot_be_read_is_not_called_found() {
    run(async {
        let memory = Memory::default();
        let ledger = Running::start(&memory, spec(), None).join().await.ledger;
        memory.faults.borrow_mut().unreadable = true;
        let verified = verify(&memory, &ledger).await;
        assert!(matches!(verified.unread, Some((_, Failure::TimedOut))), "{verified:?}");
        assert!(verified.sentence().contains("cannot be read back"));
    });
}

#[test]
fn an_open_loop_keeps_its_pace_and_both_latencies() {
    run(async {
        let memory = Memory::default();
        let spec = LoadSpec { rate: Some(2000.0), measure: Some(Duration::from_millis(100)), ..spec() };
        let result = Running::start(&memory, spec, None).join().await.result;
        let intended = result.intended.unwrap();
        assert_eq!(intended.count, result.service.count);
        assert!(result.operations > 0 && result.operations <= 2 * 200, "{}", result.operations);
        assert!(intended.p50 >= result.service.p50, "an operation is never sent before it is due");
    });
}

#[test]
fn a_stall_is_felt_by_every_operation_that_was_due_in_it() {
    run(async {
        let memory = Memory::default();
        memory.faults.borrow_mut().stall = Some((50, Duration::from_millis(100)));
        let spec = LoadSpec {
            clients: 4,
            connections: 1,
            rate: Some(1000.0),
            warm_up: Duration::ZERO,
            measure: Some(Duration::from_millis(300)),
            ..spec()
        };
        let result = Running::start(&memory, spec, None).join().await.result;
        let slow = |l: &super::stats::Latency| -> u64 { l.buckets.iter().filter(|b| b.0 >= 50_000).map(|b| b.1).sum() };
        let (service, intended) = (slow(&result.service), slow(&result.intended.unwrap()));
        // A hundred were due while it stood still; only those under way can have seen it themselves.
        assert!(service > 0 && intended >= 40 && service < intended / 2, "{service} and {intended}");
    });
}

#[test]
fn what_cannot_even_be_sent_in_time_is_counted() {
    run(async {
        let memory = Memory::default();
        {
            let mut faults = memory.faults.borrow_mut();
            (faults.stall, faults.every_one) = (Some((0, Duration::from_millis(10))), true);
        }
        let rate = Some(1000.0);
        let spec = LoadSpec { clients: 1, connections: 1, rate, measure: Some(Duration::from_millis(200)), ..spec() };
        let result = Running::start(&memory, spec, None).join().await.result;
        assert!(result.operations <= 20 && result.unsent >= 150, "{} and {}", result.operations, result.unsent);
    });
}

#[test]
fn a_load_goes_on_until_it_is_stopped_and_continues_a_ledger() {
    run(async {
        let memory = Memory::default();
        let first = Running::start(&memory, spec(), None).join().await.ledger;
        let before = first.acknowledged_writes();
        let mix = Mix { writes: 1, linearizable: 1, local: 1 };
        let running = Running::start(&memory, LoadSpec { measure: None, mix, ..spec() }, Some(first));
        while running.acknowledged_writes() < before + 100 {
            tokio::task::yield_now().await;
        }
        running.stop();
        let ledger = running.join().await.ledger;
        assert_eq!(verify(&memory, &ledger).await.losses, []);
    });
}

#[test]
fn a_wrong_specification_says_what_is_allowed() {
    let why = |s: LoadSpec| s.check().unwrap_err();
    assert!(why(LoadSpec { clients: 0, ..spec() }).contains("clients = 0: 1 to"));
    assert!(why(LoadSpec { connections: 11, ..spec() }).contains("connections = 11: 1 to 10"));
    assert!(why(LoadSpec { keys: 9, ..spec() }).contains("keys = 9: 10 to"));
    assert!(why(LoadSpec { value_bytes: 8, ..spec() }).contains("size = 8: 16 to"));
    assert!(why(LoadSpec { rate: Some(f64::NAN), ..spec() }).contains("rate"));
    assert_eq!(Mix { writes: 9, linearizable: 1, local: 0 }.to_string(), "9 writes : 1 linearizable reads");
}
