//! Histories that a person would judge at a glance, long ones, and what is said of bad ones.

use bytes::Bytes;

use super::*;
use crate::rng::Rng;
use crate::types::Micros;

fn read() -> Call {
    Call::Read { local: false }
}

fn value(v: &str) -> Outcome {
    Outcome::Value(Some(Bytes::copy_from_slice(v.as_bytes())))
}

fn write(v: &str) -> Call {
    Call::Write(Bytes::copy_from_slice(v.as_bytes()))
}

fn show(offence: &Offence) -> String {
    let lines = offence.operations.iter().map(|o| {
        let op = &o.operation;
        format!("p{} {:?}..{:?} {:?} {:?} ends {}\n", op.process, op.invoked, op.ended, op.call, op.end, o.ends)
    });
    let last = format!("culprit {} order {:?} state {:?}", offence.culprit, offence.order, offence.state);
    lines.chain([last]).collect()
}

/// A history of the key `x`.
#[derive(Default)]
struct Script(History);

impl Script {
    fn ask(&mut self, process: u64, call: Call) -> &mut Self {
        self.0.push(process, Micros(0), What::Invoke { key: "x".into(), call });
        self
    }

    fn hear(&mut self, process: u64, outcome: Outcome) -> &mut Self {
        self.0.push(process, Micros(0), What::Ok(outcome));
        self
    }

    fn did(&mut self, process: u64, call: Call, outcome: Outcome) -> &mut Self {
        self.ask(process, call).hear(process, outcome)
    }

    fn verdict(&self) -> Verdict {
        check(Model::Kv, &self.0, &Limits::default()).unwrap().verdict
    }

    #[track_caller]
    fn offence(&self) -> Offence {
        match self.verdict() {
            Verdict::NotLinearizable(offence) => *offence,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stale_read_is_explained_by_three_operations() {
    let mut s = Script::default();
    s.did(1, write("a"), Outcome::Done).did(1, read(), value("a"));
    s.ask(3, write("c")).did(2, write("b"), Outcome::Done).did(2, read(), value("b"));
    s.did(1, read(), value("a")).hear(3, Outcome::Done).did(1, read(), value("c"));
    let offence = s.offence();
    assert_eq!((offence.event, offence.before, offence.minimal), (10, 6, true), "{}", show(&offence));
    let calls: Vec<_> = offence.operations.iter().map(|o| (&o.operation.call, o.ends)).collect();
    // Whichever read saw `b`, or the end of its write, shows that `b` came after `a`.
    assert_eq!(calls[..2], [(&write("a"), true), (&write("b"), true)]);
    assert_eq!((calls.len(), offence.culprit), (3, 2));
    assert_eq!(offence.order, Some(vec![0, 1]));
    assert_eq!(offence.state, Some("b".into()));
}

#[test]
fn a_value_from_nowhere_and_a_lost_write_are_told_apart() {
    let mut s = Script::default();
    s.did(1, write("a"), Outcome::Done).did(2, read(), value("z"));
    assert_eq!(s.offence().operations.len(), 1);
    let mut s = Script::default();
    s.did(1, write("a"), Outcome::Done).did(2, read(), Outcome::Value(None));
    let offence = s.offence();
    assert_eq!((offence.operations.len(), offence.state), (2, Some("a".into())));
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never_but_not_twice() {
    let mut s = Script::default();
    s.ask(1, write("a")).did(2, write("b"), Outcome::Done).did(2, read(), value("b"));
    assert_eq!(s.verdict(), Verdict::Linearizable);
    s.did(2, read(), value("a"));
    assert_eq!(s.verdict(), Verdict::Linearizable);
    s.did(2, write("b"), Outcome::Done).did(2, read(), value("a"));
    let offence = s.offence();
    let ends: Vec<bool> = offence.operations.iter().map(|o| o.ends).collect();
    assert_eq!(ends, [false, true, true, true], "{}", show(&offence));
}

#[test]
fn deletes_and_swaps_are_judged_by_what_they_say() {
    let swap = |from: Option<&str>, to: &str| Call::Cas {
        expected: from.map(|v| Bytes::copy_from_slice(v.as_bytes())),
        value: Bytes::copy_from_slice(to.as_bytes()),
    };
    let mut s = Script::default();
    s.did(1, swap(None, "a"), Outcome::Swapped).did(1, swap(None, "b"), Outcome::Differs { found: None });
    s.did(1, swap(Some("z"), "b"), Outcome::Differs { found: Some(Some("a".into())) });
    s.did(1, Call::Delete, Outcome::Deleted { existed: true });
    s.did(1, Call::Delete, Outcome::Deleted { existed: false });
    s.did(1, swap(Some("a"), "b"), Outcome::Done).did(1, Call::Delete, Outcome::Done);
    assert_eq!(s.verdict(), Verdict::Linearizable);
    let bad = [
        (swap(None, "b"), Outcome::Differs { found: None }),
        (swap(None, "b"), Outcome::Differs { found: Some(None) }),
        (swap(Some("a"), "b"), Outcome::Swapped),
        (Call::Delete, Outcome::Deleted { existed: true }),
    ];
    for (call, outcome) in bad {
        let mut s = Script(s.0.clone());
        s.did(1, call.clone(), outcome.clone());
        assert!(matches!(s.verdict(), Verdict::NotLinearizable(_)), "{call:?} {outcome:?}");
    }
}

#[test]
fn failed_calls_and_local_reads_say_nothing_and_keys_start_as_they_are_given() {
    let mut s = Script::default();
    s.0.initial.insert("x".into(), "old".into());
    s.ask(1, write("a")).0.push(1, Micros(1), What::Fail);
    s.0.push(1, Micros(1), What::Invoke { key: "x".into(), call: Call::Read { local: true } });
    s.0.push(1, Micros(1), What::Ok(value("a")));
    s.0.push(1, Micros(1), What::Invoke { key: "x".into(), call: read() });
    s.0.push(1, Micros(1), What::Ok(value("old")));
    assert_eq!(s.verdict(), Verdict::Linearizable);
    s.0.push(1, Micros(1), What::Invoke { key: "x".into(), call: read() });
    s.0.push(1, Micros(1), What::Ok(Outcome::Value(None)));
    let offence = s.offence();
    assert_eq!((offence.operations.len(), offence.state), (1, Some("old".into())));
}

/// A real register for each key, asked by processes that each have one call open: linearizable by construction. Values are
/// unique; about one in a hundred outcomes is unknown.
fn recorded(seed: u64, operations: u64, processes: u64, keys: u64) -> History {
    let mut rng = Rng::new(seed);
    let mut h = History::default();
    let mut state: std::collections::BTreeMap<u64, Bytes> = std::collections::BTreeMap::new();
    // What each process has open, and its answer once it took effect.
    let mut open: Vec<Option<(u64, Call, Option<Outcome>)>> = vec![None; processes as usize];
    let mut asked = 0;
    while asked < operations {
        let p = rng.between(0, processes);
        match open[p as usize].take() {
            None => {
                asked += 1;
                let key = rng.between(0, keys);
                let value = Bytes::from(format!("v{asked}"));
                let call = match rng.between(0, 10) {
                    0..=3 => Call::Write(value),
                    4 => Call::Delete,
                    5 => Call::Cas { expected: state.get(&key).cloned(), value },
                    _ => read(),
                };
                h.push(p, Micros(asked), What::Invoke { key: format!("k{key}").into(), call: call.clone() });
                open[p as usize] = Some((key, call, None));
            }
            Some((key, call, None)) => {
                let outcome = take_effect(&mut state, key, &call);
                open[p as usize] = Some((key, call, Some(outcome)));
            }
            Some((_, _, Some(outcome))) => {
                h.push(p, Micros(asked), if rng.between(0, 100) == 0 { What::Info } else { What::Ok(outcome) });
            }
        }
    }
    h
}

fn take_effect(state: &mut std::collections::BTreeMap<u64, Bytes>, key: u64, call: &Call) -> Outcome {
    match call {
        Call::Read { .. } => Outcome::Value(state.get(&key).cloned()),
        Call::Write(v) => {
            state.insert(key, v.clone());
            Outcome::Done
        }
        Call::Delete => Outcome::Deleted { existed: state.remove(&key).is_some() },
        Call::Cas { expected, value } if state.get(&key) == expected.as_ref() => {
            state.insert(key, value.clone());
            Outcome::Swapped
        }
        Call::Cas { .. } => Outcome::Differs { found: Some(state.get(&key).cloned()) },
    }
}

#[test]
fn long_histories_take_a_few_steps_for_each_operation() {
    for (processes, keys) in [(16, 1), (16, 8), (64, 8)] {
        let n = 20_000;
        let h = recorded(7, n, processes, keys);
        let report = check(Model::Kv, &h, &Limits::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Linearizable);
        assert!(report.summary.concurrency.max as u64 > processes * 3 / 4, "{:?}", report.summary);
        assert!(report.steps < 20 * n, "{processes} processes, {keys} keys: {} steps", report.steps);
    }
}

#[test]
fn one_wrong_answer_in_a_long_history_is_found_and_made_small() {
    for seed in 0..20 {
        let mut h = recorded(seed, 3000, 8, 3);
        let mut rng = Rng::new(seed);
        // An answer of long ago: some read hears what another one of its key heard far earlier.
        let ops = h.operations(Model::Kv).unwrap();
        let reads: Vec<&Operation> =
            ops.iter().filter(|o| matches!(o.end, End::Ok(Outcome::Value(Some(_)))) && o.key == *"k1").collect();
        let late = reads[rng.between(reads.len() as u64 / 2, reads.len() as u64) as usize];
        h.events[late.ended.unwrap()].what = What::Ok(match &reads[reads.len() / 8].end {
            End::Ok(outcome) => outcome.clone(),
            other => panic!("{other:?}"),
        });
        let report = check(Model::Kv, &h, &Limits::default()).unwrap();
        let Verdict::NotLinearizable(offence) = report.verdict else { panic!("seed {seed}: {:?}", report.verdict) };
        assert_eq!((&offence.key[..], offence.keys, offence.minimal), (&b"k1"[..], 1, true));
        assert!(offence.operations.len() <= 6, "seed {seed}: {}", show(&offence));
        assert!(offence.event <= late.ended.unwrap());
    }
}

#[test]
fn a_search_that_may_not_go_on_says_so() {
    let h = recorded(7, 2000, 8, 1);
    let limits = Limits { steps: 100, ..Limits::default() };
    let report = check(Model::Kv, &h, &limits).unwrap();
    assert_eq!(report.verdict, Verdict::Unknown { key: "k0".into(), keys: 1 });
    assert_eq!(report.steps, 100);
}
