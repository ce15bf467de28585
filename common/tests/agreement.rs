//! Three checkers that share no code must say the same of every history: ours, `todc-utils` (Wing and Gong's search as
//! Lowe and Horn wrote it), and `stateright` (plain trying of all orders).
//!
//! The 102 histories of etcd that Jepsen recorded in 2014 come with `todc-utils`, and so do their verdicts. They test the
//! checkers and say nothing of our own code. `stateright` remembers nothing of what failed, which is hopeless on histories of
//! 80 operations; it judges small random ones.
//!
//! `cargo test -p common --test agreement -- --nocapture` prints the table.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use common::check::{Call, End, History, Limits, Model, Operation, Outcome, Verdict, What, check, file};
use common::rng::Rng;
use common::types::Micros;
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as TodcHistory};
use todc_utils::specifications::Specification;
use todc_utils::specifications::etcd::{EtcdOperation, EtcdSpecification, history_from_log};

/// What one checker said.
#[derive(Default)]
struct Row {
    linearizable: usize,
    not: usize,
    disagreements: Vec<String>,
    most_steps: u64,
}

impl Row {
    fn add(&mut self, name: &str, said: bool, expected: bool, steps: u64) {
        *(if said { &mut self.linearizable } else { &mut self.not }) += 1;
        self.most_steps = self.most_steps.max(steps);
        if said != expected {
            self.disagreements.push(format!("{name}: said linearizable = {said}"));
        }
    }
}

fn table(title: &str, rows: &[(&str, &Row)]) -> String {
    let mut text =
        format!("{title}\n| checker | histories | linearizable | not | disagreements | most steps for one |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for (name, r) in rows {
        let (all, wrong) = (r.linearizable + r.not, r.disagreements.len());
        let steps = if r.most_steps == 0 { "not counted".to_owned() } else { r.most_steps.to_string() };
        let _ = writeln!(text, "| {name} | {all} | {} | {} | {wrong} | {steps} |", r.linearizable, r.not);
    }
    text
}

fn ours(model: Model, history: &History) -> (bool, u64) {
    let limits = Limits { steps: 100_000, ..Limits::default() };
    let report = check(model, history, &limits).expect("a history");
    match report.verdict {
        Verdict::Linearizable => (true, report.steps),
        Verdict::NotLinearizable(offence) => {
            assert!(offence.minimal && !offence.operations.is_empty(), "{offence:?}");
            (false, report.steps)
        }
        Verdict::Unknown { .. } => panic!("no verdict within {} steps", limits.steps),
    }
}

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// More steps than this by `todc-utils` are a failure. A panic is the only way to stop it.
const TODC_STEPS: u64 = 5_000_000;

/// Another specification, with its steps counted.
struct Counted<S>(S);

impl<S: Specification> Specification for Counted<S> {
    type State = S::State;
    type Operation = S::Operation;

    fn init() -> S::State {
        S::init()
    }

    fn apply(operation: &S::Operation, state: &S::State) -> (bool, S::State) {
        STEPS.set(STEPS.get() + 1);
        assert!(STEPS.get() <= TODC_STEPS, "no verdict within {TODC_STEPS} steps");
        S::apply(operation, state)
    }
}

/// The verdict of `todc-utils` and its steps.
fn todc<S: Specification>(history: TodcHistory<S::Operation>) -> (bool, u64) {
    STEPS.set(0);
    (WGLChecker::<Counted<S>>::is_linearizable(history), STEPS.get())
}

/// Where cargo keeps the sources of `todc-utils`.
fn corpus() -> PathBuf {
    let output = |program: String, args: &[&str]| {
        let out = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    let tool = |name: &str, fallback: &str| std::env::var(name).unwrap_or_else(|_| fallback.into());
    let version = output(tool("RUSTC", "rustc"), &["-vV"]);
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).expect("rustc names its host");
    let args = ["metadata", "--format-version", "1", "--filter-platform", host];
    let metadata = output(tool("CARGO", "cargo"), &args);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|p| p["name"] == "todc-utils").expect("todc-utils is a dependency");
    Path::new(package["manifest_path"].as_str().expect("a path")).with_file_name("tests").join("linearizability")
}

/// The number of each history and its recorded verdict, from the source of the published crate's own test.
fn recorded_verdicts(corpus: &Path) -> Vec<(String, bool)> {
    let source = std::fs::read_to_string(corpus.join("etcd.rs")).expect("the crate's test");
    let line = |l: &str| {
        let (name, rest) = l.trim().strip_prefix("test_")?.split_once(": (\"")?;
        let (number, verdict) = rest.split_once("\", ")?;
        assert_eq!(name, number);
        Some((number.to_owned(), verdict.strip_suffix("),")?.parse().expect("true or false")))
    };
    source.lines().filter_map(line).collect()
}

#[test]
fn all_histories_of_etcd_are_judged_as_recorded() {
    let corpus = corpus();
    let verdicts = recorded_verdicts(&corpus);
    assert_eq!((verdicts.len(), verdicts.iter().filter(|v| v.1).count()), (102, 23));
    let (mut us, mut them) = (Row::default(), Row::default());
    for (number, expected) in verdicts {
        let path = corpus.join("etcd").join(format!("etcd_{number}.log"));
        let log = File::open(&path).expect("the log is there");
        let recorded = file::read(&mut BufReader::new(log), None).expect("a history");
        assert_eq!(recorded.format, file::Format::Jepsen);
        let (said, steps) = ours(Model::CasRegister, &recorded.history);
        us.add(&number, said, expected, steps);
        let history: TodcHistory<EtcdOperation> = history_from_log(path.display().to_string());
        let (said, steps) = todc::<EtcdSpecification>(history);
        them.add(&number, said, expected, steps);
    }
    println!("{}", table("etcd 2014, against the recorded verdicts", &[("duet", &us), ("todc-utils", &them)]));
    assert_eq!((us.disagreements, us.linearizable + us.not), (vec![], 102));
    assert_eq!(them.disagreements, Vec::<String>::new());
}

type Value = Option<u8>;

/// A register that may be absent, for `stateright`.
#[derive(Clone, Debug, PartialEq)]
struct Register(Value);

#[derive(Clone, Debug, PartialEq)]
enum Ask {
    Get,
    Put(u8),
    Delete,
    Cas(Value, u8),
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Got(Value),
    Done,
    Deleted(bool),
    Swapped,
    Differs(Value),
}

impl SequentialSpec for Register {
    type Op = Ask;
    type Ret = Answer;

    fn invoke(&mut self, ask: &Ask) -> Answer {
        match *ask {
            Ask::Get => Answer::Got(self.0),
            Ask::Put(v) => {
                self.0 = Some(v);
                Answer::Done
            }
            Ask::Delete => Answer::Deleted(self.0.take().is_some()),
            Ask::Cas(expected, _) if self.0 != expected => Answer::Differs(self.0),
            Ask::Cas(_, v) => {
                self.0 = Some(v);
                Answer::Swapped
            }
        }
    }
}

/// The same for `todc-utils`. It has no operations of unknown outcome: they end after everything else and fit everywhere.
struct RegisterSpec;

impl Specification for RegisterSpec {
    type State = Value;
    type Operation = (Ask, Option<Answer>);

    fn init() -> Value {
        None
    }

    fn apply((ask, answer): &Self::Operation, state: &Value) -> (bool, Value) {
        let mut register = Register(*state);
        let real = register.invoke(ask);
        if answer.as_ref().is_none_or(|a| *a == real) { (true, register.0) } else { (false, *state) }
    }
}

/// One thing that happens: a process asks, or hears.
#[derive(Clone, Debug)]
enum Step {
    Ask(u64, Ask),
    Hear(u64, Answer),
}

/// What a process asked, and its answer once it took effect.
type Open = (Ask, Option<Answer>);

/// A history of up to four processes on a real register; each takes effect at a random moment. Some never hear.
fn random(rng: &mut Rng) -> Vec<Step> {
    let (mut register, mut steps, mut next) = (Register(None), Vec::new(), 4);
    let mut open: Vec<(u64, Option<Open>)> = (0..4).map(|p| (p, None)).collect();
    for _ in 0..rng.between(6, 36) {
        let (process, state) = &mut open[rng.between(0, 4) as usize];
        *state = match state.take() {
            None => {
                let (a, b) = (rng.between(0, 3) as u8, rng.between(0, 3) as u8);
                let ask = match rng.between(0, 7) {
                    0..=2 => Ask::Get,
                    3..=4 => Ask::Put(a),
                    5 => Ask::Delete,
                    _ => Ask::Cas((a > 0).then_some(a), b),
                };
                steps.push(Step::Ask(*process, ask.clone()));
                Some((ask, None))
            }
            Some((ask, None)) if rng.between(0, 12) > 0 => {
                let answer = register.invoke(&ask);
                Some((ask, Some(answer)))
            }
            // It gives up, and another process comes in its place.
            Some((_, None)) => {
                (*process, next) = (next, next + 1);
                None
            }
            Some((_, Some(answer))) => {
                steps.push(Step::Hear(*process, answer));
                None
            }
        };
    }
    steps
}

/// Makes one answer another one of its kind.
fn damage(steps: &mut [Step], rng: &mut Rng) {
    let at = rng.between(0, steps.len() as u64) as usize;
    for step in &mut steps[at..] {
        if let Step::Hear(_, answer) = step {
            let value = [None, Some(0), Some(1), Some(2)][rng.between(0, 4) as usize];
            match answer {
                Answer::Got(v) | Answer::Differs(v) => *v = value,
                Answer::Deleted(existed) => *existed = !*existed,
                Answer::Swapped => *answer = Answer::Differs(value),
                Answer::Done => continue,
            }
            return;
        }
    }
}

fn bytes(v: u8) -> Bytes {
    v.to_string().into()
}

fn for_us(steps: &[Step]) -> History {
    let mut h = History::default();
    for (i, step) in steps.iter().enumerate() {
        let (process, what) = match step {
            Step::Ask(p, ask) => {
                let call = match ask {
                    Ask::Get => Call::Read { local: false },
                    Ask::Put(v) => Call::Write(bytes(*v)),
                    Ask::Delete => Call::Delete,
                    Ask::Cas(expected, v) => Call::Cas { expected: expected.map(bytes), value: bytes(*v) },
                };
                (p, What::Invoke { key: "x".into(), call })
            }
            Step::Hear(p, answer) => {
                let outcome = match answer {
                    Answer::Got(v) => Outcome::Value(v.map(bytes)),
                    Answer::Done => Outcome::Done,
                    Answer::Deleted(existed) => Outcome::Deleted { existed: *existed },
                    Answer::Swapped => Outcome::Swapped,
                    Answer::Differs(found) => Outcome::Differs { found: Some(found.map(bytes)) },
                };
                (p, What::Ok(outcome))
            }
        };
        h.push(*process, Micros(i as u64), what);
    }
    // As it would come from a file.
    let mut text = Vec::new();
    file::write(Model::Kv, &h, &serde_json::Map::new(), &mut text).expect("memory takes it");
    let read = file::read(&mut text.as_slice(), None).expect("a history");
    assert_eq!(read.history, h);
    h
}

fn for_stateright(steps: &[Step]) -> bool {
    let mut tester = LinearizabilityTester::new(Register(None));
    for step in steps {
        match step.clone() {
            Step::Ask(p, ask) => drop(tester.on_invoke(p, ask).expect("one at a time")),
            Step::Hear(p, answer) => drop(tester.on_return(p, answer).expect("it asked")),
        }
    }
    tester.is_consistent()
}

fn for_todc(steps: &[Step], operations: &[Operation]) -> (bool, u64) {
    let mut asked: Vec<Option<Ask>> = vec![None; steps.len() + 4];
    let mut actions: Vec<(usize, Action<Open>)> = Vec::new();
    for step in steps {
        match step.clone() {
            Step::Ask(p, ask) => {
                asked[p as usize] = Some(ask.clone());
                actions.push((p as usize, Action::Call((ask, None))));
            }
            Step::Hear(p, answer) => {
                let ask = asked[p as usize].take().expect("it asked");
                actions.push((p as usize, Action::Response((ask, Some(answer)))));
            }
        }
    }
    for (process, ask) in asked.into_iter().enumerate().filter_map(|(p, ask)| Some((p, ask?))) {
        actions.push((process, Action::Response((ask, None))));
    }
    assert_eq!(actions.len(), 2 * operations.len());
    todc::<RegisterSpec>(TodcHistory::from_actions(actions))
}

#[test]
fn small_random_histories_are_judged_alike() {
    let (mut us, mut theirs, mut others) = (Row::default(), Row::default(), Row::default());
    let mut unknown = 0;
    for seed in 0..6000 {
        let mut rng = Rng::new(seed);
        let mut steps = random(&mut rng);
        let damaged = seed % 3 > 0;
        if damaged {
            damage(&mut steps, &mut rng);
        }
        let history = for_us(&steps);
        let operations = history.operations(Model::Kv).expect("a history");
        unknown += operations.iter().filter(|o| o.end == End::Unknown).count();
        let expected = for_stateright(&steps);
        assert!(damaged || expected, "seed {seed} is linearizable by construction");
        let (said, spent) = ours(Model::Kv, &history);
        us.add(&format!("seed {seed}"), said, expected, spent);
        theirs.add(&format!("seed {seed}"), expected, expected, 0);
        let (said, spent) = for_todc(&steps, &operations);
        others.add(&format!("seed {seed}"), said, expected, spent);
    }
    let rows = [("duet", &us), ("todc-utils", &others), ("stateright", &theirs)];
    println!("{}", table("small random histories, against stateright", &rows));
    assert_eq!((us.disagreements, others.disagreements), (vec![], vec![]));
    assert!(theirs.linearizable > 1500 && theirs.not > 1500 && unknown > 1500, "one-sided");
}
