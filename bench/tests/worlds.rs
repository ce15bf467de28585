//! Histories of simulated worlds before three checkers that share no code: ours, `todc-utils` and `stateright`. The worlds
//! are small, with many keys and few operations of each: the others know no keys, and one of them forgets what failed.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::check::{Call, History, Limits, Model, Outcome, Verdict, What, check};
use common::sim::plan::Plan;
use common::sim::swarm;
use common::sim::world::{Options, run};
use common::types::Micros;
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as TodcHistory};
use todc_utils::specifications::Specification;

/// A key: what it holds.
#[derive(Clone, Debug, PartialEq)]
struct Register(Option<Bytes>);

impl SequentialSpec for Register {
    type Op = Call;
    type Ret = Outcome;

    fn invoke(&mut self, call: &Call) -> Outcome {
        match call {
            Call::Read { .. } => Outcome::Value(self.0.clone()),
            Call::Write(value) => {
                self.0 = Some(value.clone());
                Outcome::Done
            }
            Call::Delete => Outcome::Deleted { existed: self.0.take().is_some() },
            Call::Cas { expected, .. } if *expected != self.0 => Outcome::Differs { found: Some(self.0.clone()) },
            Call::Cas { value, .. } => {
                self.0 = Some(value.clone());
                Outcome::Swapped
            }
        }
    }
}

/// The same for `todc-utils`. An operation of unknown outcome ends after everything else, and fits everywhere.
struct Spec;

impl Specification for Spec {
    type State = Option<Bytes>;
    type Operation = (Call, Option<Outcome>);

    fn init() -> Self::State {
        None
    }

    fn apply((call, outcome): &Self::Operation, state: &Self::State) -> (bool, Self::State) {
        let mut register = Register(state.clone());
        let real = register.invoke(call);
        if outcome.as_ref().is_none_or(|o| *o == real) { (true, register.0) } else { (false, state.clone()) }
    }
}

/// What happened to one key: who asked what, and what each heard. Without what was refused, and reads that may be stale.
type Key = Vec<(usize, Action<(Call, Option<Outcome>)>)>;

fn by_key(history: &History) -> BTreeMap<Bytes, Key> {
    let mut keys: BTreeMap<Bytes, Key> = BTreeMap::new();
    let mut open: BTreeMap<u64, (Bytes, Call, usize)> = BTreeMap::new();
    // A process that never hears of an operation goes on as another.
    let (mut names, mut next) = (BTreeMap::new(), 0);
    for event in &history.events {
        match &event.what {
            What::Invoke { key, call } => {
                let name = *names.entry(event.process).or_insert_with(|| {
                    next += 1;
                    next - 1
                });
                open.insert(event.process, (key.clone(), call.clone(), name));
                if *call != (Call::Read { local: true }) {
                    keys.entry(key.clone()).or_default().push((name, Action::Call((call.clone(), None))));
                }
            }
            What::Ok(outcome) => {
                let (key, call, name) = open.remove(&event.process).expect("it asked");
                if call != (Call::Read { local: true }) {
                    let heard = Action::Response((call, Some(outcome.clone())));
                    keys.entry(key).or_default().push((name, heard));
                }
            }
            What::Fail => {
                let (key, _, name) = open.remove(&event.process).expect("it asked");
                if let Some(all) = keys.get_mut(&key)
                    && let Some(at) = all.iter().rposition(|(n, a)| *n == name && matches!(a, Action::Call(_)))
                {
                    all.remove(at);
                }
            }
            What::Info => drop(names.remove(&event.process)),
        }
    }
    keys
}

fn stateright(key: &Key) -> bool {
    let mut tester = LinearizabilityTester::new(Register(None));
    for (process, action) in key {
        match action.clone() {
            Action::Call((call, _)) => drop(tester.on_invoke(*process, call).expect("one at a time")),
            Action::Response((_, outcome)) => {
                let _ = tester.on_return(*process, outcome.expect("it heard")).expect("it asked");
            }
        }
    }
    tester.is_consistent()
}

fn todc(key: &Key) -> bool {
    let mut actions = key.clone();
    let mut open: BTreeMap<usize, Call> = BTreeMap::new();
    for (process, action) in key {
        match action {
            Action::Call((call, _)) => drop(open.insert(*process, call.clone())),
            Action::Response(_) => drop(open.remove(process)),
        }
    }
    actions.extend(open.into_iter().map(|(process, call)| (process, Action::Response((call, None)))));
    WGLChecker::<Spec>::is_linearizable(TodcHistory::from_actions(actions))
}

/// Faults of all kinds, for ten seconds, at a load that leaves each key a few operations.
fn plan(protocol: &str, seed: u64) -> Plan {
    let mut plan = swarm::plan(protocol, seed);
    plan.shape.span = Micros::from_millis(10_000);
    plan.faults.retain(|t| t.at <= plan.shape.span);
    let load = &mut plan.shape.load;
    (load.keys, load.per_second, load.clients) = (40, 20, load.clients.clamp(4, 8));
    plan
}

#[test]
fn three_checkers_agree_on_the_histories_of_worlds() {
    let (mut keys, mut operations, mut unknown) = (0, 0, 0);
    for seed in 0..6 {
        for protocol in ["raft", "zab"] {
            let (plan, options) = (plan(protocol, seed), Options { history: true, ..Options::default() });
            let outcome =
                if protocol == "raft" { run::<raft::Raft>(&plan, &options) } else { run::<zab::Zab>(&plan, &options) };
            assert_eq!(outcome.violation, None, "{plan}");
            let history = outcome.history.expect("it was asked for");
            let report = check(Model::Kv, &history, &Limits::default()).expect("a history");
            assert_eq!(report.verdict, Verdict::Linearizable, "{protocol} {seed}");
            (operations, unknown) = (operations + report.summary.operations, unknown + report.summary.unknown);
            // More at a time is beyond who tries all orders.
            for (name, key) in by_key(&history).into_iter().filter(|(_, key)| key.len() <= 24) {
                keys += 1;
                assert!(todc(&key), "{protocol} {seed} {name:?}: {key:?}");
                assert!(stateright(&key), "{protocol} {seed} {name:?}: {key:?}");
            }
        }
    }
    println!("{keys} keys of 12 worlds, {operations} operations, {unknown} of unknown outcome: all three agree");
    assert!(keys > 100 && operations > 1000, "{keys} {operations}");
}
