use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::entries::{Batch, Entries, EntryKind};
use crate::state_machine::{Applier, Frozen, SessionLimits, StateMachine};

type Asked = Vec<(Request, Bytes)>;

impl Outbox for Asked {
    fn push(&mut self, request: &Request, body: &Bytes) -> Result<(), FrameError> {
        Vec::push(self, (request.clone(), body.clone()));
        Ok(())
    }

    fn pending(&self) -> usize {
        0
    }
}

const TIMEOUT: Duration = Duration::from_millis(100);
const STALL: Duration = Duration::from_millis(30);
type Waiting = oneshot::Receiver<Result<Reply, ClientError>>;

fn exchange(window: usize) -> Exchange {
    let range = (Duration::from_millis(1), Duration::from_millis(8));
    Exchange::new(window, TIMEOUT, Backoff::new(range, 1))
}

fn submit(x: &mut Exchange, now: Instant, what: What) -> Waiting {
    let (reply, waiting) = oneshot::channel();
    x.submit(Job { what, deadline: now + TIMEOUT, reply });
    waiting
}

fn write(x: &mut Exchange, now: Instant, command: &'static [u8]) -> Waiting {
    submit(x, now, What::Write(Bytes::from_static(command)))
}

fn read(x: &mut Exchange, now: Instant, mode: ReadMode) -> Waiting {
    submit(x, now, What::Read { mode, query: Bytes::new() })
}

fn pump(x: &mut Exchange, now: Instant) -> Asked {
    let mut out = Asked::new();
    x.pump(now, &mut out);
    out
}

fn answer(x: &mut Exchange, now: Instant, id: u64, answer: Answer) -> Turn {
    x.answered(now, Response { id, answer }, Bytes::new()).unwrap()
}

fn envelope(body: &Bytes) -> (Envelope, &[u8]) {
    postcard::take_from_bytes(body).unwrap()
}

/// The number a request has, as `(session, seq, floor)`.
fn number((_, body): &(Request, Bytes)) -> (u64, u64, u64) {
    match envelope(body).0 {
        Envelope::Write { session, seq, floor } => (session.0.counter, seq, floor),
        other => panic!("{other:?}"),
    }
}

fn written(counter: u64) -> Answer {
    Answer::Written { at: LogId::new(1, counter) }
}

/// An exchange whose session has the id (1,7).
fn opened(window: usize, now: Instant) -> (Exchange, Waiting, (Request, Bytes)) {
    let mut x = exchange(window);
    let waiting = write(&mut x, now, b"first");
    let asked = pump(&mut x, now);
    assert_eq!(asked.len(), 1);
    assert_eq!(envelope(&asked[0].1), (Envelope::Open, &b""[..]));
    assert_eq!(answer(&mut x, now, asked[0].0.id, written(7)), Turn::Stay);
    let mut asked = pump(&mut x, now);
    assert_eq!(number(&asked[0]), (7, 1, 1));
    (x, waiting, asked.remove(0))
}

#[test]
fn a_retry_keeps_its_number_and_the_floor_is_the_lowest_open_one() {
    let now = Instant::now();
    let (mut x, mut first, asked) = opened(8, now);
    let mut second = write(&mut x, now, b"second");
    let later = pump(&mut x, now);
    assert_eq!(number(&later[0]), (7, 2, 1));
    answer(&mut x, now, later[0].0.id, written(9));
    assert_eq!(second.try_recv().unwrap().unwrap().at, LogId::new(1, 9));

    x.lost("cut");
    assert_eq!(x.in_flight(), 0);
    let again = pump(&mut x, now);
    assert_eq!((again[0].0.id, number(&again[0])), (asked.0.id, (7, 1, 1)));
    assert_eq!(envelope(&again[0].1).1, b"first");
    answer(&mut x, now, again[0].0.id, Answer::Unknown);
    assert!(pump(&mut x, now).is_empty(), "not at once");
    let then = now + Duration::from_millis(1);
    let again = pump(&mut x, then);
    assert_eq!(number(&again[0]), (7, 1, 1));
    answer(&mut x, then, again[0].0.id, written(10));
    assert!(first.try_recv().unwrap().is_ok());

    let _third = write(&mut x, then, b"third");
    assert_eq!(number(&pump(&mut x, then)[0]), (7, 3, 3), "everything below has its outcome");
}

#[test]
fn out_of_time_says_whether_it_may_have_happened() {
    let now = Instant::now();
    let late = now + TIMEOUT;
    let (mut x, mut sent, asked) = opened(2, now);
    let mut refused = write(&mut x, now, b"refused");
    let other = pump(&mut x, now);
    answer(&mut x, now, other[0].0.id, Answer::Refused(Refusal::Busy));
    let mut reading = read(&mut x, now, ReadMode::Linearizable);
    assert_eq!(x.room(), 0);
    x.expire(late - Duration::from_millis(1));
    assert!(sent.try_recv().is_err());

    x.expire(late);
    let after = |last: &str| Cause::Deadline { after: TIMEOUT, last: Some(last.into()) };
    let busy = Refusal::Busy.to_string();
    assert_eq!(sent.try_recv().unwrap(), Err(ClientError::OutcomeUnknown(after(&busy))));
    assert_eq!(refused.try_recv().unwrap(), Err(ClientError::NotDone(after(&busy))));
    assert_eq!(reading.try_recv().unwrap(), Err(ClientError::NotDone(after(&busy))));

    // The answer that comes too late is for nobody, and only now is its place free.
    assert_eq!((x.room(), x.in_flight()), (1, 1));
    answer(&mut x, late, asked.0.id, written(8));
    assert_eq!((x.room(), x.in_flight()), (2, 0));
    // Later writes keep the cluster from carrying the one that was given up out after all.
    let _next = write(&mut x, late, b"next");
    assert_eq!(number(&pump(&mut x, late)[0]), (7, 3, 3));
}

#[test]
fn a_doubt_is_not_removed_by_a_refusal() {
    let now = Instant::now();
    let (mut x, mut waiting, _) = opened(2, now);
    x.lost("cut");
    let again = pump(&mut x, now);
    answer(&mut x, now, again[0].0.id, Answer::Refused(Refusal::Unsupported("writes".into())));
    let cause = Cause::Refused(Refusal::Unsupported("writes".into()));
    assert_eq!(waiting.try_recv().unwrap(), Err(ClientError::OutcomeUnknown(cause)));
}

#[test]
fn a_lost_session_is_an_unknown_outcome_only_for_writes_that_were_repeated() {
    let now = Instant::now();
    let (mut x, mut repeated, _) = opened(4, now);
    x.lost("cut");
    let mut fresh = write(&mut x, now, b"fresh");
    let asked = pump(&mut x, now);
    assert_eq!(asked.iter().map(number).collect::<Vec<_>>(), [(7, 1, 1), (7, 2, 1)]);
    answer(&mut x, now, asked[1].0.id, Answer::NoSession);
    answer(&mut x, now, asked[0].0.id, Answer::NoSession);
    assert_eq!(repeated.try_recv().unwrap(), Err(ClientError::OutcomeUnknown(Cause::SessionLost)));

    let opening = pump(&mut x, now);
    assert_eq!(envelope(&opening[0].1).0, Envelope::Open);
    answer(&mut x, now, opening[0].0.id, written(30));
    let asked = pump(&mut x, now);
    assert_eq!(number(&asked[0]), (30, 1, 1));
    answer(&mut x, now, asked[0].0.id, written(31));
    assert!(fresh.try_recv().unwrap().is_ok());
}

/// Sessions go when nobody uses them for long; whoever comes back notices nothing but a little delay.
#[test]
fn a_session_that_was_idle_for_too_long_is_opened_anew_when_nothing_is_in_doubt() {
    let now = Instant::now();
    let (mut x, mut first, asked) = opened(4, now);
    answer(&mut x, now, asked.0.id, written(8));
    assert!(first.try_recv().unwrap().is_ok());
    let later = now + Duration::from_hours(2);
    let mut two: Vec<_> = [b"two", b"six"].into_iter().map(|command| write(&mut x, later, command)).collect();
    for (request, _) in pump(&mut x, later) {
        answer(&mut x, later, request.id, Answer::NoSession);
    }
    let opening = pump(&mut x, later);
    assert_eq!((opening.len(), envelope(&opening[0].1).0), (1, Envelope::Open));
    answer(&mut x, later, opening[0].0.id, written(30));
    let asked = pump(&mut x, later);
    assert_eq!(asked.iter().map(number).collect::<Vec<_>>(), [(30, 1, 1), (30, 2, 1)]);
    for (i, (request, _)) in asked.into_iter().enumerate() {
        answer(&mut x, later, request.id, written(31 + i as u64));
    }
    assert!(two.iter_mut().all(|reply| reply.try_recv().unwrap().is_ok()));
}

#[test]
fn a_write_waiting_for_its_retry_learns_that_the_session_is_lost() {
    let now = Instant::now();
    let (mut x, mut first, asked) = opened(4, now);
    let _second = write(&mut x, now, b"second");
    let second = pump(&mut x, now);
    answer(&mut x, now, asked.0.id, Answer::Unknown);
    answer(&mut x, now, second[0].0.id, Answer::NoSession);
    let then = now + Duration::from_millis(8);
    let opening = pump(&mut x, then);
    answer(&mut x, then, opening[0].0.id, written(30));
    let asked = pump(&mut x, then);
    assert_eq!(asked.iter().map(number).collect::<Vec<_>>(), [(30, 1, 1)]);
    assert_eq!(first.try_recv().unwrap(), Err(ClientError::OutcomeUnknown(Cause::SessionLost)));
}

#[test]
fn raw_appends_are_sent_once_unless_refused() {
    let now = Instant::now();
    let mut x = exchange(4);
    let mut raw = || submit(&mut x, now, What::Raw(Bytes::from_static(b"raw")));
    let (mut lost, mut unknown, mut refused) = (raw(), raw(), raw());
    let asked = pump(&mut x, now);
    assert_eq!(asked.len(), 3, "no session is needed");
    assert_eq!(envelope(&asked[0].1), (Envelope::Raw, &b"raw"[..]));
    answer(&mut x, now, asked[1].0.id, Answer::Unknown);
    let leader = Some(NodeId(2));
    let turn = answer(&mut x, now, asked[2].0.id, Answer::Refused(Refusal::NotLeader { leader }));
    assert_eq!(turn, Turn::NotLeader(leader));
    x.lost("cut");
    let cause = Cause::ConnectionLost("cut".into());
    assert_eq!(lost.try_recv().unwrap(), Err(ClientError::OutcomeUnknown(cause)));
    assert_eq!(unknown.try_recv().unwrap(), Err(ClientError::OutcomeUnknown(Cause::Unanswered)));
    let again = pump(&mut x, now + Duration::from_millis(1));
    assert_eq!(again.len(), 1);
    answer(&mut x, now, again[0].0.id, written(3));
    assert_eq!(refused.try_recv().unwrap().unwrap().at, LogId::new(1, 3));
}

#[test]
fn reads_ask_for_what_was_seen_and_are_repeated() {
    let now = Instant::now();
    let (mut x, _first, asked) = opened(4, now);
    answer(&mut x, now, asked.0.id, written(20));
    let mut reading = read(&mut x, now, ReadMode::Local);
    let asked = pump(&mut x, now);
    let at_least = |counter| Ask::Read { mode: ReadMode::Local, at_least: LogId::new(1, counter) };
    assert_eq!(asked[0].0.ask, at_least(20));
    x.lost("cut");
    let asked = pump(&mut x, now);
    answer(&mut x, now, asked[0].0.id, Answer::Read { at: LogId::new(1, 25), stale_us: None });
    assert_eq!(reading.try_recv().unwrap().unwrap().at, LogId::new(1, 25));
    let _next = read(&mut x, now, ReadMode::Local);
    assert_eq!(pump(&mut x, now)[0].0.ask, at_least(25));
}

#[test]
fn answers_that_do_not_fit_are_violations_and_leave_a_doubt() {
    let now = Instant::now();
    let (mut x, mut waiting, asked) = opened(4, now);
    let bad = |x: &mut Exchange, id, answer| x.answered(now, Response { id, answer }, Bytes::new()).unwrap_err().0;
    assert!(bad(&mut x, 999, written(1)).contains("999"));
    let id = asked.0.id;
    assert_eq!(bad(&mut x, id, Answer::Transferred { to: NodeId(1) }), "answered a write by Transferred");
    assert!(bad(&mut x, id, written(8)).contains("not asked"), "answered twice");
    x.lost("it broke the protocol");
    x.expire(now + TIMEOUT);
    assert!(waiting.try_recv().unwrap().unwrap_err().may_have_happened());
}

#[test]
fn a_connection_stalls_when_one_kind_of_request_is_not_answered() {
    let now = Instant::now();
    let ms = |n| now + Duration::from_millis(n);
    let mut x = exchange(8);
    assert_eq!(x.wake_at(now, STALL), None);
    let _local = read(&mut x, now, ReadMode::Local);
    let _quorum = read(&mut x, now, ReadMode::Linearizable);
    let asked = pump(&mut x, now);
    assert_eq!(asked.len(), 2);
    assert_eq!(x.wake_at(now, STALL), Some(ms(30)));
    answer(&mut x, ms(20), asked[0].0.id, Answer::Read { at: LogId::ZERO, stale_us: None });
    assert!(!x.stalled(ms(29), STALL));
    assert!(x.stalled(ms(30), STALL), "an answer of the other kind does not count");
    x.lost("stalled");
    assert!(!x.stalled(ms(30), STALL));

    // While others of the kind are answered it goes on, but not for ever.
    let asked = pump(&mut x, ms(30));
    let mut passed_over = now;
    for n in (40..).step_by(10) {
        let _other = read(&mut x, ms(n), ReadMode::Linearizable);
        x.expire(ms(n));
        for (request, _) in pump(&mut x, ms(n)) {
            answer(&mut x, ms(n), request.id, Answer::Read { at: LogId::ZERO, stale_us: None });
        }
        if x.stalled(ms(n), STALL) {
            passed_over = ms(n);
            break;
        }
    }
    assert_eq!((asked.len(), passed_over), (1, ms(30) + TIMEOUT + STALL));
}

#[test]
fn the_window_bounds_what_is_under_way() {
    let now = Instant::now();
    let mut x = exchange(3);
    let waiting: Vec<_> = (0..3).map(|_| read(&mut x, now, ReadMode::Local)).collect();
    assert_eq!(x.room(), 0);
    let asked = pump(&mut x, now);
    assert_eq!((asked.len(), x.in_flight()), (3, 3));
    answer(&mut x, now, asked[1].0.id, Answer::Read { at: LogId::ZERO, stale_us: None });
    assert_eq!((x.room(), x.in_flight()), (1, 2));
    drop(waiting);
}

#[test]
fn what_nobody_waits_for_is_not_sent() {
    let now = Instant::now();
    let (mut x, first, asked) = opened(4, now);
    drop(write(&mut x, now, b"given up before it was sent"));
    assert!(pump(&mut x, now).is_empty());
    drop(first);
    answer(&mut x, now, asked.0.id, Answer::Unknown);
    assert!(pump(&mut x, now + Duration::from_millis(1)).is_empty());
    assert_eq!(x.room(), 4);
    let _next = write(&mut x, now, b"next");
    assert_eq!(number(&pump(&mut x, now + Duration::from_millis(1))[0]), (7, 2, 2));
}

/// Counts how often each command was carried out.
#[derive(Default)]
struct Tally(BTreeMap<u32, u32>);

impl StateMachine for Tally {
    type Frozen = Nothing;

    fn apply(&mut self, command: &[u8]) -> Bytes {
        let n = self.0.entry(u32::from_le_bytes(command.try_into().unwrap())).or_default();
        *n += 1;
        Bytes::copy_from_slice(command)
    }

    fn query(&self, _: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn hash(&self) -> u64 {
        0
    }

    fn freeze(&self) -> Nothing {
        Nothing
    }

    fn restore(&mut self, _: &mut dyn io::Read) -> io::Result<()> {
        Ok(())
    }
}

struct Nothing;

impl Frozen for Nothing {
    fn write(self: Box<Self>, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
}

/// What the cluster does with a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Serve,
    Busy,
    NotLeader,
    /// Carried out, but the answer says that nobody knows.
    ServeUnknown,
    /// Not carried out now; perhaps later.
    LaterUnknown,
    NeverUnknown,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit,
    Time(u64),
    Request(Fate),
    Answer,
    /// The connection breaks: what was on its way arrives later, or never.
    Cut(bool),
    /// Something that was thought lost is carried out.
    Late(usize),
    /// Other clients open sessions.
    Crowd,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        8 => Just(Fate::Serve),
        1 => Just(Fate::Busy),
        1 => Just(Fate::NotLeader),
        1 => Just(Fate::ServeUnknown),
        1 => Just(Fate::LaterUnknown),
        1 => Just(Fate::NeverUnknown),
    ];
    prop_oneof![
        6 => Just(Step::Submit),
        4 => (0u64..20).prop_map(Step::Time),
        10 => fate.prop_map(Step::Request),
        8 => Just(Step::Answer),
        1 => any::<bool>().prop_map(Step::Cut),
        2 => (0usize..5).prop_map(Step::Late),
        1 => Just(Step::Crowd),
    ]
}

/// One client and a cluster which is as unhelpful as it may be.
struct World {
    x: Exchange,
    now: Instant,
    cluster: Applier<Tally>,
    at: u64,
    requests: VecDeque<(Request, Bytes)>,
    answers: VecDeque<(Response, Bytes)>,
    late: Vec<Bytes>,
    waiting: BTreeMap<u32, Waiting>,
    outcomes: BTreeMap<u32, Result<Reply, ClientError>>,
    submitted: u32,
}

impl World {
    fn new() -> Self {
        let limits = SessionLimits { sessions: 2, window: 4096, answer_bytes: 8, total_bytes: 1 << 20 };
        Self {
            x: exchange(6),
            now: Instant::now(),
            cluster: Applier::with_limits(Tally::default(), limits),
            at: 0,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            late: Vec::new(),
            waiting: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            submitted: 0,
        }
    }

    fn apply(&mut self, body: &[u8]) -> (Answer, Bytes) {
        self.at += 1;
        let run = Entries::new(LogId::new(1, self.at), EntryKind::Command, Batch::from_payloads(&[body])).unwrap();
        let mut answers = Vec::new();
        self.cluster.apply(&run, &mut answers);
        let applied = answers.remove(0);
        (applied.answer, applied.body)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit if self.x.room() > 0 => {
                let command = Bytes::copy_from_slice(&self.submitted.to_le_bytes());
                let waiting = submit(&mut self.x, self.now, What::Write(command));
                self.waiting.insert(self.submitted, waiting);
                self.submitted += 1;
            }
            Step::Submit => {}
            Step::Time(ms) => self.now += Duration::from_millis(ms),
            Step::Request(fate) => {
                if let Some((request, body)) = self.requests.pop_front() {
                    let (answer, body) = self.meet(fate, body);
                    self.answers.push_back((Response { id: request.id, answer }, body));
                }
            }
            Step::Answer => {
                if let Some((response, body)) = self.answers.pop_front() {
                    self.x.answered(self.now, response, body).unwrap();
                }
            }
            Step::Cut(arrive) => {
                self.x.lost("cut");
                let cut = std::mem::take(&mut self.requests);
                if arrive {
                    self.late.extend(cut.into_iter().map(|(_, body)| body));
                }
                self.answers.clear();
            }
            Step::Late(i) => {
                if i < self.late.len() {
                    let body = self.late.swap_remove(i);
                    self.apply(&body);
                }
            }
            Step::Crowd => {
                let open = postcard::to_stdvec(&Envelope::Open).unwrap();
                self.apply(&open);
                self.apply(&open);
            }
        }
        self.x.expire(self.now);
        let mut out = Asked::new();
        self.x.pump(self.now, &mut out);
        self.requests.extend(out);
        assert_eq!(self.x.in_flight(), self.requests.len() + self.answers.len());
        let outcomes = &mut self.outcomes;
        self.waiting.retain(|command, waiting| match waiting.try_recv() {
            Ok(outcome) => outcomes.insert(*command, outcome).is_some(),
            Err(_) => true,
        });
    }

    fn meet(&mut self, fate: Fate, body: Bytes) -> (Answer, Bytes) {
        match fate {
            Fate::Serve => return self.apply(&body),
            Fate::ServeUnknown => drop(self.apply(&body)),
            Fate::LaterUnknown => self.late.push(body),
            Fate::NeverUnknown => {}
            Fate::Busy => return (Answer::Refused(Refusal::Busy), Bytes::new()),
            Fate::NotLeader => return (Answer::Refused(Refusal::NotLeader { leader: None }), Bytes::new()),
        }
        (Answer::Unknown, Bytes::new())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is lost, refused, delayed, evicted or carried out late: what was answered happened once, what was "not
    /// done" never, and nothing twice.
    #[test]
    fn outcomes_are_true(steps in proptest::collection::vec(step(), 0..250)) {
        let mut w = World::new();
        for step in steps {
            w.step(step);
        }
        // Until everything has its outcome; then what is still on its way arrives.
        for _ in 0..400 {
            w.step(Step::Request(Fate::Serve));
            w.step(Step::Answer);
            w.step(Step::Time(1));
        }
        prop_assert!(w.waiting.is_empty(), "every request has its outcome in time");
        prop_assert_eq!(w.x.room(), 6);
        for body in std::mem::take(&mut w.late) {
            w.apply(&body);
        }
        for (command, outcome) in &w.outcomes {
            let times = w.cluster.machine().0.get(command).copied().unwrap_or(0);
            match outcome {
                Ok(reply) => {
                    prop_assert_eq!(times, 1, "{} was answered", command);
                    prop_assert_eq!(&reply.body[..], &command.to_le_bytes());
                }
                Err(ClientError::AnswerForgotten { .. }) => prop_assert_eq!(times, 1),
                Err(ClientError::NotDone(cause)) => prop_assert_eq!(times, 0, "{} was not done: {}", command, cause),
                Err(_) => prop_assert!(times <= 1),
            }
        }
    }
}
