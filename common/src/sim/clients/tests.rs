use std::collections::BTreeMap;

use super::history::Fate;
use super::send::enveloped;
use super::*;
use crate::client::wire::{Answer, Ask, Envelope, Request, Response};
use crate::entries::{Batch, EntryKind};
use crate::protocol::Refusal;
use crate::rng::Rng;
use crate::sim::subject::Violation;
use crate::state_machine::{Applied, Applier, KvStore};

const SHAPE: LoadShape = LoadShape {
    clients: 8,
    per_second: 400,
    keys: 10,
    value_bytes: 64,
    mix: [30, 10, 20, 20, 20],
    retry_us: 100_000,
    duplicates: 20,
    limits: 0,
};

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// A linearizable read is answered by a replica that lags.
    StaleRead,
    /// A local read goes back behind what its client has seen.
    GoesBack,
    /// What is refused is done all the same.
    RefusesAndDoes,
    /// A write that is sent again is carried out again.
    Twice,
    /// A write is answered and never committed.
    Lost,
    /// Some put is not carried out by the replica that answers reads.
    SkipsPut,
    /// A request is answered twice.
    AnswersTwice,
    /// Broken requests are taken for good ones.
    TakesAll,
    /// What one request brought is put in the log twice.
    Stutters,
    /// A local read is said to be of this moment.
    SaysYoung,
}

enum Due {
    Frame { conn: u64, header: Bytes, body: Bytes },
    Reply { conn: u64, response: Response, body: Bytes },
    Closed { conn: u64 },
}

/// One log and two state machines: one that is up to date, one that lags.
struct Server {
    rng: Rng,
    bug: Bug,
    /// Whether nobody minds what the witness says.
    deaf: bool,
    calm: bool,
    log: Vec<Entries>,
    /// When each of them was committed.
    times: Vec<Micros>,
    now: Micros,
    last: LogId,
    new: Applier<KvStore>,
    old: Applier<KvStore>,
    /// Of `log`, so many are applied by `old`.
    lag: usize,
    due: BTreeMap<(Micros, u64), Due>,
    n: u64,
    open: BTreeMap<u64, bool>,
    /// Connections that lead nowhere, and nobody says so.
    dead: Vec<u64>,
}

impl Server {
    fn new(seed: u64, bug: Bug, limits: SessionLimits) -> Self {
        let applier = || Applier::with_limits(KvStore::default(), limits);
        let (rng, log) = (Rng::new(seed), Vec::new());
        Self {
            rng,
            bug,
            deaf: false,
            calm: false,
            log,
            times: Vec::new(),
            now: Micros(0),
            last: LogId::ZERO,
            new: applier(),
            old: applier(),
            lag: 0,
            due: BTreeMap::new(),
            n: 0,
            open: BTreeMap::new(),
            dead: Vec::new(),
        }
    }

    fn at(&mut self, now: Micros, mean: u64, what: Due) {
        let at = now.after(Micros(1 + self.rng.between(0, 2 * mean)));
        self.n += 1;
        self.due.insert((at, self.n), what);
    }

    fn heed(&self, verdict: Verdict) -> Verdict {
        if self.deaf { Ok(()) } else { verdict }
    }

    fn chance(&mut self, per_cent: u64) -> bool {
        self.rng.between(0, 100) < per_cent
    }

    fn act(&mut self, now: Micros, act: ClientAct) {
        match act {
            ClientAct::Connect { conn, .. } => {
                assert_eq!(self.open.insert(conn, true), None, "a new number");
                if !self.calm && self.chance(5) {
                    self.dead.push(conn);
                }
            }
            ClientAct::Close { conn } => assert_eq!(self.open.insert(conn, false), Some(true), "was open"),
            ClientAct::Send { conn, header, body } => {
                assert!(self.open[&conn]);
                self.at(now, 5_000, Due::Frame { conn, header, body });
            }
        }
    }

    fn commit(&mut self, kind: EntryKind, payload: Bytes, clients: &mut Clients) -> Result<Option<Applied>, Violation> {
        self.last = if self.chance(2) {
            LogId::new(self.last.epoch + 1, self.last.counter + 1)
        } else {
            LogId::new(self.last.epoch.max(1), self.last.counter + 1)
        };
        let run = Entries::new(self.last, kind, Batch::single(payload)).unwrap();
        self.times.push(self.now);
        let verdict = self.heed(clients.committed(&run, self.now));
        let mut answers = Vec::new();
        if self.bug == Bug::Twice {
            self.new.apply(&self.renamed(&run), &mut answers);
        } else {
            self.new.apply(&run, &mut answers);
        }
        self.log.push(run);
        verdict.map(|()| answers.pop())
    }

    /// What is in the log before comes under a number that was not used.
    fn renamed(&self, run: &Entries) -> Entries {
        let read = |run: &Entries| postcard::take_from_bytes::<Envelope>(run.payload(0)).map(|(e, _)| e);
        let Ok((Envelope::Write { session, seq, floor }, command)) = postcard::take_from_bytes(run.payload(0)) else {
            return run.clone();
        };
        let same = |e: Envelope| matches!(e, Envelope::Write { session: s, seq: n, .. } if (s, n) == (session, seq));
        if !self.log.iter().any(|run| read(run).is_ok_and(same)) {
            return run.clone();
        }
        let payload = enveloped(Envelope::Write { session, seq: seq + 2000, floor }, command);
        Entries::new(run.first(), run.kind(), Batch::single(payload)).unwrap()
    }

    fn catch_up(&mut self, to: usize) {
        while self.lag < to {
            let run = self.log[self.lag].clone();
            if self.bug == Bug::SkipsPut && self.lag % 50 == 17 {
                self.old.apply(&Entries::noop(run.first()), &mut Vec::new());
            } else {
                self.old.apply(&run, &mut Vec::new());
            }
            self.lag += 1;
        }
    }

    fn frame(&mut self, now: Micros, conn: u64, header: &[u8], body: &Bytes, clients: &mut Clients) -> Verdict {
        if !self.open[&conn] || self.dead.contains(&conn) {
            return Ok(());
        }
        self.now = now;
        let Ok(request) = postcard::from_bytes::<Request>(header) else {
            if self.bug == Bug::TakesAll {
                self.reply(now, conn, clients.next_request - 1, Answer::Unknown, Bytes::new());
            } else {
                self.at(now, 1, Due::Closed { conn });
            }
            return Ok(());
        };
        let id = request.id;
        if !self.calm && self.chance(3) {
            self.at(now, 1, Due::Closed { conn });
            return Ok(());
        }
        match request.ask {
            Ask::Write => return self.write(now, conn, id, body, clients),
            Ask::Read { mode, at_least } => {
                let stale = mode == ReadMode::Local && self.bug != Bug::StaleRead
                    || mode == ReadMode::Linearizable && self.bug == Bug::StaleRead
                    || self.bug == Bug::SkipsPut;
                let place =
                    if self.bug == Bug::GoesBack || self.bug == Bug::StaleRead { LogId::ZERO } else { at_least };
                let least = self.log.partition_point(|run| run.last() <= place);
                let to = self.rng.between(self.lag.max(least) as u64, self.log.len() as u64 + 1) as usize;
                self.catch_up(if self.bug == Bug::SkipsPut { self.log.len() } else { to.max(least).max(self.lag) });
                if self.chance(5) {
                    self.reply(now, conn, id, Answer::Refused(Refusal::LeaderChanged), Bytes::new());
                } else {
                    let from = if stale { &self.old } else { &self.new };
                    let (at, body) = (from.applied(), from.query(body));
                    // As old as the first entry that it lacks.
                    let lacks = self.log.partition_point(|run| run.last() <= at);
                    let age = self.times.get(lacks).map_or(0, |then| now.since(*then).0);
                    let age = if self.bug == Bug::SaysYoung { 0 } else { age };
                    let stale_us = (mode == ReadMode::Local).then_some(age);
                    self.reply(now, conn, id, Answer::Read { at, stale_us }, body);
                }
            }
            Ask::Status | Ask::Transfer { .. } | Ask::Change { .. } => {
                self.reply(now, conn, id, Answer::Refused(Refusal::Busy), Bytes::new());
            }
            Ask::Log { .. } => self.reply(now, conn, id, Answer::Log(Vec::new()), Bytes::new()),
        }
        Ok(())
    }

    fn write(&mut self, now: Micros, conn: u64, id: u64, body: &Bytes, clients: &mut Clients) -> Verdict {
        let envelope = postcard::take_from_bytes::<Envelope>(body);
        let broken = body.len() > 1 << 20 || matches!(envelope, Err(_) | Ok((Envelope::Expire { .. }, _)));
        if broken && self.bug != Bug::TakesAll {
            self.reply(now, conn, id, Answer::Malformed("no write".into()), Bytes::new());
            return Ok(());
        }
        if self.bug == Bug::Lost && self.chance(5) {
            self.reply(now, conn, id, Answer::Written { at: self.last }, Bytes::from_static(&[0]));
            return Ok(());
        }
        let refused = self.chance(if self.calm { 2 } else { 10 });
        if refused {
            let leader = Some(NodeId(self.rng.between(1, 5)));
            self.reply(now, conn, id, Answer::Refused(Refusal::NotLeader { leader }), Bytes::new());
            if self.bug != Bug::RefusesAndDoes {
                return Ok(());
            }
        }
        if self.chance(5) {
            self.commit(EntryKind::Noop, Bytes::new(), clients)?;
        }
        let applied = self.commit(EntryKind::Command, body.clone(), clients)?;
        if self.bug == Bug::Stutters && self.chance(2) {
            self.commit(EntryKind::Command, body.clone(), clients)?;
        }
        if refused {
            return Ok(());
        }
        match (self.rng.between(0, 100), applied) {
            (_, None) => {}
            (0..4, _) if !self.calm => self.at(now, 1_000, Due::Closed { conn }),
            // Silence, for longer than clients have patience.
            (4..8, Some(Applied { answer, body, .. })) if !self.calm => {
                self.at(now, 200_000, Due::Reply { conn, response: Response { id, answer }, body });
            }
            (8..12, _) => self.reply(now, conn, id, Answer::Unknown, Bytes::new()),
            (_, Some(Applied { answer, body, .. })) => self.reply(now, conn, id, answer, body),
        }
        Ok(())
    }

    fn reply(&mut self, now: Micros, conn: u64, id: u64, answer: Answer, body: Bytes) {
        let response = Response { id, answer };
        if self.bug == Bug::AnswersTwice && self.chance(1) {
            self.at(now, 5_000, Due::Reply { conn, response: response.clone(), body: body.clone() });
        }
        self.at(now, 5_000, Due::Reply { conn, response, body });
    }
}

/// Runs clients against a server for so long, and then until nothing is pending.
fn run(seed: u64, bug: Bug, span: Micros, limits: SessionLimits, shape: LoadShape) -> Result<Clients, Violation> {
    run_with(Server::new(seed, bug, limits), seed, span, limits, shape)
}

fn run_with(
    mut server: Server,
    seed: u64,
    span: Micros,
    limits: SessionLimits,
    shape: LoadShape,
) -> Result<Clients, Violation> {
    let nodes: Vec<NodeId> = (1..=4).map(NodeId).collect();
    let mut clients = Clients::new(Streams::new(seed), shape, &nodes, limits);
    clients.record(2000);
    let mut acts = Vec::new();
    let mut end = None;
    loop {
        let woken = clients.next_at().unwrap_or(Micros(u64::MAX));
        let due = server.due.first_key_value().map_or(Micros(u64::MAX), |((at, _), _)| *at);
        let now = woken.min(due);
        if now > span && end.is_none() {
            clients.quiesce(now);
            server.calm = true;
            end = Some(now.after(Micros(3_000_000)));
        }
        if end.is_some() && clients.pending() == 0 {
            server.heed(clients.witness().finish())?;
            return Ok(clients);
        }
        assert!(end.is_none_or(|end| now < end), "{} operations stay pending: {:?}", clients.pending(), clients.people);
        if woken <= due {
            clients.wake(now, &mut acts);
            for act in acts.drain(..) {
                server.act(now, act);
            }
            continue;
        }
        match server.due.pop_first() {
            Some((_, Due::Frame { conn, header, body })) => server.frame(now, conn, &header, &body, &mut clients)?,
            Some((_, Due::Reply { conn, response, body })) if server.open[&conn] => {
                server.heed(clients.reply(conn, response, body, now))?;
            }
            Some((_, Due::Closed { conn })) if server.open.insert(conn, false) == Some(true) => {
                clients.closed(conn, now);
            }
            _ => {}
        }
    }
}

#[test]
fn a_correct_server_passes_thousands_of_operations() {
    let mut sum = Tally::default();
    for seed in 0..20 {
        let clients = run(seed, Bug::None, Micros(10_000_000), SessionLimits::default(), SHAPE).unwrap();
        let Tally { answered, failed, unknown, sent, late, sessions, bounded, bounds_us } = clients.tally();
        assert!(answered > 1500 && sent > answered && bounded > 100 && bounds_us > 1000, "{:?}", clients.tally());
        sum.failed += failed;
        sum.unknown += unknown;
        sum.late += late;
        sum.sessions += sessions;
        let fates = |wanted: fn(&Fate) -> bool| clients.history().records().iter().filter(|r| wanted(&r.fate)).count();
        let (set, differs) = (fates(|f| *f == Fate::Set), fates(|f| matches!(f, Fate::Differs(_))));
        assert!(set > 300 && differs > 50, "{set} {differs}");
        assert!(fates(|f| matches!(f, Fate::Got(Some(_)))) > 200);
    }
    assert!(sum.failed > 100 && sum.unknown > 5 && sum.late > 1000 && sum.sessions > 200, "{sum:?}");
}

#[test]
fn sessions_expire_and_answers_are_forgotten_by_the_documented_rules() {
    for seed in 0..20 {
        let limits = SessionLimits {
            sessions: 3 + seed as usize % 5,
            window: 2 + seed % 3,
            answer_bytes: 4 + 20 * (seed as usize % 4),
            total_bytes: 5_000 + 200 * seed as usize,
        };
        let clients = run(seed, Bug::None, Micros(10_000_000), limits, SHAPE).unwrap();
        assert!(clients.tally().answered > 1000, "{:?}", clients.tally());
        assert!(clients.tally().sessions > 20, "{:?}", clients.tally());
    }
}

#[test]
fn each_mistake_of_a_server_is_found_by_the_oracle_for_it() {
    let cases = [
        (Bug::StaleRead, "C-LIN"),
        (Bug::GoesBack, "C-SEQ"),
        (Bug::RefusesAndDoes, "C-LIN"),
        (Bug::Twice, "C-ONCE"),
        (Bug::AnswersTwice, "C-ANS"),
        (Bug::SaysYoung, "C-STALE"),
    ];
    for (bug, oracle) in cases {
        for seed in 0..5 {
            let found = run(seed, bug, Micros(60_000_000), SessionLimits::default(), SHAPE).unwrap_err();
            assert_eq!(found.oracle, oracle, "{bug:?} with seed {seed}: {found}");
        }
    }
    for seed in 0..5 {
        let found = run(seed, Bug::SkipsPut, Micros(60_000_000), SessionLimits::default(), SHAPE).unwrap_err();
        assert!(["C-LIN", "C-SEQ"].contains(&found.oracle), "{found}");
        // What is lost may be the opening of a session, and another's then stands in its place.
        let found = run(seed, Bug::Lost, Micros(60_000_000), SessionLimits::default(), SHAPE).unwrap_err();
        assert!(["C-DUR", "C-ONCE"].contains(&found.oracle), "{found}");
        // If another attempt was refused, that may be the one that is there.
        let found = run(seed, Bug::Stutters, Micros(60_000_000), SessionLimits::default(), SHAPE).unwrap_err();
        assert!(["C-ONCE", "C-LIN"].contains(&found.oracle), "{found}");
        let found = run(seed, Bug::TakesAll, Micros(60_000_000), SessionLimits::default(), SHAPE).unwrap_err();
        assert!(["C-INT", "C-ANS", "C-ONCE"].contains(&found.oracle), "{found}");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let clients = run(seed, Bug::None, Micros(3_000_000), SessionLimits::default(), SHAPE).unwrap();
        (clients.tally(), clients.history().records().to_vec())
    };
    assert_eq!(history(3), history(3));
    assert_ne!(history(3).1, history(4).1);
}

#[test]
fn a_history_that_is_cut_speaks_of_no_later_answer() {
    let shape = LoadShape { per_second: 2000, ..SHAPE };
    let clients = run(1, Bug::None, Micros(20_000_000), SessionLimits::default(), shape).unwrap();
    let history = clients.history();
    assert!(history.is_cut() && history.records().len() == 2000);
    let cut = history.records().last().unwrap().asked;
    let late = history.records().iter().filter(|r| r.fate != Fate::Unknown && r.answered > cut.after(Micros(20_000)));
    assert_eq!(late.count(), 0);
}

/// The witness believes the places that a log names; the search believes nothing. Where the witness finds nothing the
/// search must not either, and where it does, the search does too, if clients could see it.
#[test]
fn a_checker_that_knows_nothing_of_logs_agrees() {
    use crate::check::history::Model;
    use crate::check::{Limits, Verdict, check};
    let judge = |seed, bug| {
        let limits = SessionLimits::default();
        let server = Server { deaf: bug != Bug::None, ..Server::new(seed, bug, limits) };
        let clients = run_with(server, seed, Micros(1_500_000), limits, SHAPE).unwrap();
        check(Model::Kv, &clients.history().to_check(), &Limits::default()).unwrap().verdict
    };
    for seed in 0..5 {
        assert_eq!(judge(seed, Bug::None), Verdict::Linearizable);
    }
    for bug in [Bug::StaleRead, Bug::SkipsPut, Bug::Lost, Bug::Twice] {
        let found = (0..10).any(|seed| matches!(judge(seed, bug), Verdict::NotLinearizable(_)));
        assert!(found, "{bug:?}");
    }
}

#[test]
fn histories_are_well_formed_for_checkers() {
    for seed in 0..10 {
        let clients = run(seed, Bug::None, Micros(8_000_000), SessionLimits::default(), SHAPE).unwrap();
        let (records, events) = (clients.history().records(), clients.history().to_check());
        let operations = events.operations(crate::check::history::Model::Kv).unwrap();
        assert_eq!(operations.len(), records.len());
        let named = events.events.iter().filter(|e| e.session.is_some()).count();
        assert!(named > records.len() / 3, "{named}");
    }
}

#[test]
fn values_are_read_back_and_nothing_else_is() {
    for (number, len) in [(0, 16), (0xdead_beef, 17), (u64::MAX, 100)] {
        let value = Value { number, len };
        assert_eq!(Value::read(&value.to_bytes()), Some(value));
    }
    for bytes in [&b"0123"[..], b"0123456789abcdeX", b"0123456789abcdef!"] {
        assert_eq!(Value::read(bytes), None);
    }
}

#[test]
fn clients_keep_to_the_rate_and_the_mix() {
    let shape = LoadShape { clients: 16, per_second: 50, duplicates: 0, mix: [50, 0, 0, 50, 0], ..SHAPE };
    let clients = run(5, Bug::None, Micros(100_000_000), SessionLimits::default(), shape).unwrap();
    let records = clients.history().records();
    let puts = records.iter().filter(|r| matches!(r.action, Action::Put { .. })).count();
    let gets_in = |m| records.iter().filter(|r| matches!(r.action, Action::Get { mode } if mode == m)).count();
    let (asking, by_lease) = (gets_in(ReadMode::Linearizable), gets_in(ReadMode::Lease));
    assert!(asking.abs_diff(by_lease) < 200, "{asking} {by_lease}");
    let gets = asking + by_lease;
    assert_eq!(puts + gets, records.len());
    let asked = clients.people.iter().map(|c| c.asked).sum::<u64>();
    assert!((4000..6000).contains(&asked), "{asked}");
    assert!(puts.abs_diff(gets) < 200, "{puts} {gets}");
}
