//! Traces of real runs for the specification in `docs/tla`: every input of every node, what the node said, and what was to be
//! seen of it afterwards, in memory and on disk. `docs/tla/check` lets TLC decide whether the specification can do the same.
//!
//! Some traces are broken by hand here, one line each, and TLC must reject them at that very line.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p zab --test tla` writes them anew, to be checked before they are committed.

use std::fmt::Write as _;
use std::path::PathBuf;

use common::codec::Message as _;
use common::codec::Payload;
use common::log::Span;
use common::protocol::{Input, Protocol};
use common::rng::Rng;
use common::testbed::Testbed;
use common::types::{LogId, Micros, NodeId};
use zab::{Config, Hard, Message, Zab, Zxid};

const N: fn(u64) -> NodeId = NodeId;

/// Messages that the specification knows.
const KINDS: [&str; 10] =
    ["FOLLOWERINFO", "LEADERINFO", "ACKEPOCH", "DIFF", "TRUNC", "NEWLEADER", "ACK", "UPTODATE", "PROPOSAL", "COMMIT"];

/// What is to be seen of a node.
#[derive(Clone, Debug, PartialEq)]
struct View {
    part: &'static str,
    phase: String,
    hard: Hard,
    com: Zxid,
    log: Vec<Zxid>,
    disk: (Hard, Vec<Zxid>),
}

/// A message: to whom, its kind, its numbers.
type Said = (NodeId, &'static str, Vec<u64>);

/// An input of a node and what came of it.
#[derive(Clone, Debug)]
struct Line {
    node: NodeId,
    op: &'static str,
    heard: Option<(NodeId, &'static str)>,
    said: Vec<Said>,
    view: View,
}

fn ids(base: Zxid, spans: &[Span]) -> Vec<Zxid> {
    assert_eq!(base, Zxid::ZERO, "the specification knows no snapshots");
    spans.iter().flat_map(|s| (s.first..=s.last).map(|c| Zxid::new(s.epoch, c))).collect()
}

/// A message's numbers, entry by entry. None if the specification does not know it.
fn said(to: NodeId, message: &Message) -> Vec<Said> {
    let one = |numbers: Vec<u64>| vec![(to, message.kind(), numbers)];
    match message {
        Message::FollowerInfo(i) => {
            one(vec![i.accepted_epoch, i.current_epoch, i.last_zxid.epoch, i.last_zxid.counter])
        }
        Message::AckEpoch { current_epoch, last_zxid, already_accepted, .. } => {
            one(vec![*current_epoch, last_zxid.epoch, last_zxid.counter, u64::from(*already_accepted)])
        }
        Message::LeaderInfo { epoch, .. } | Message::NewLeader { epoch, .. } => one(vec![*epoch]),
        Message::Diff { .. } => one(vec![]),
        Message::Trunc { to: zxid, .. }
        | Message::Ack { zxid, .. }
        | Message::UpToDate { zxid, .. }
        | Message::Commit { zxid, .. } => one(vec![zxid.epoch, zxid.counter]),
        Message::Proposal { entries: Payload::Entries(run), .. } => {
            let counters = run.first().counter..=run.last().counter;
            counters.map(|c| (to, message.kind(), vec![run.epoch(), c])).collect()
        }
        Message::Snap { .. } => panic!("the specification knows no snapshots"),
        _ => vec![],
    }
}

/// Three voters, and what they did.
struct Run {
    bed: Testbed<Zab>,
    views: Vec<View>,
    lines: Vec<Line>,
}

impl Run {
    fn new() -> Self {
        // One entry at a time, so that a follower's log is what its disk has been given, message by message.
        let mut bed: Testbed<Zab> = Testbed::new(3, 0, Config::default());
        bed.watch_sent(true);
        // They have greeted each other already, which the specification does not know of.
        let mut run = Self { bed, views: vec![], lines: vec![] };
        run.views = [1, 2, 3].map(|id| run.view(N(id))).to_vec();
        run
    }

    fn view(&self, id: NodeId) -> View {
        let node = self.bed.node(id);
        let truth = node.disk.truth();
        let disk = (truth.hard, ids(truth.log.base(), truth.log.spans()));
        let Some(core) = &node.core else {
            let (part, phase) = ("down", "election".to_owned());
            return View { part, phase, hard: disk.0, com: Zxid::ZERO, log: vec![], disk };
        };
        let status = core.status();
        let part = match status.phase.as_str() {
            "election" => "looking",
            _ if status.peers.is_empty() => "following",
            _ => "leading",
        };
        let log = ids(core.log().base(), core.log().spans());
        View { part, phase: status.phase, hard: core.hard(), com: core.committed(), log, disk }
    }

    /// Writes down what an input of `node` came to, if there is anything to write down.
    fn note(&mut self, node: NodeId, op: &'static str, heard: Option<(NodeId, &'static str)>) {
        // What a commit gave to the state machine is applied at once; the specification has no such thing.
        while self.bed.answer_one(node) {}
        assert_eq!(self.bed.node(node).halted, None);
        let sent = self.bed.take_sent();
        let said: Vec<Said> = sent.iter().flat_map(|(_, to, message)| said(*to, message)).collect();
        let view = self.view(node);
        let before = &mut self.views[node.0 as usize - 1];
        if *before != view || !said.is_empty() || heard.is_some() {
            *before = view.clone();
            self.lines.push(Line { node, op, heard, said, view });
        }
    }

    fn deliver(&mut self, from: u64, to: u64) -> bool {
        self.bed.start_transcript();
        if !self.bed.deliver_one(N(from), N(to)) {
            return false;
        }
        let text = self.bed.take_transcript();
        let first = text.lines().next().and_then(|l| l.strip_prefix(&format!("{} -> {} ", N(from), N(to))));
        let word = first.and_then(|l| l.split(' ').next());
        let kind = word.and_then(|w| KINDS.into_iter().find(|k| *k == w));
        self.note(N(to), if kind.is_some() { "hear" } else { "other" }, kind.map(|k| (N(from), k)));
        true
    }

    fn disk(&mut self, id: u64) -> bool {
        let wrote = self.bed.write_disk(N(id));
        if wrote {
            self.note(N(id), "disk", None);
        }
        wrote
    }

    fn propose(&mut self, id: u64) {
        let _ = self.bed.propose(N(id), &["x"]);
        self.note(N(id), "propose", None);
    }

    fn crash(&mut self, id: u64) {
        self.bed.crash(N(id));
        self.note(N(id), "crash", None);
    }

    fn start(&mut self, id: u64) {
        self.bed.restart(N(id));
        self.note(N(id), "start", None);
    }

    fn runs(&self, id: u64) -> bool {
        self.bed.node(N(id)).core.is_some()
    }

    /// As the testbed settles.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for from in 1..=3 {
                busy |= self.disk(from);
                for to in 1..=3 {
                    busy |= self.deliver(from, to);
                }
            }
            if !busy {
                return;
            }
        }
    }

    /// Lets time pass until `done`, at most a second of it.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.bed.now().after(Micros::from_millis(1000));
        self.settle();
        while !done(self) {
            let (at, id) = self.bed.next_wake().expect("somebody waits for something");
            assert!(at <= end, "it does not come to pass");
            self.bed.set_now(at);
            self.bed.input(id, Input::Tick);
            self.note(id, "other", None);
            self.settle();
        }
    }

    /// Until this node leads, or any.
    fn until_led(&mut self, by: Option<u64>) -> u64 {
        self.until(|r| r.bed.leader().is_some_and(|l| by.is_none_or(|b| l == N(b))));
        self.bed.leader().expect("one leads").0
    }

    /// One random event.
    fn act(&mut self, rng: &mut Rng) {
        let (id, other) = (rng.between(1, 4), rng.between(1, 4));
        match rng.between(0, 100) {
            0..60 => {
                if self.bed.under_way(N(id), N(other)) > 0 {
                    self.deliver(id, other);
                }
            }
            60..78 => {
                self.disk(id);
            }
            78..84 => {
                let now = self.bed.now().after(Micros(rng.between(0, 20_000)));
                self.bed.set_now(now);
                if self.runs(id) && self.bed.core(N(id)).wake_at().is_some_and(|at| at <= now) {
                    self.bed.input(N(id), Input::Tick);
                    self.note(N(id), "other", None);
                }
            }
            84..94 => {
                if let Some(leader) = self.bed.leader() {
                    self.propose(leader.0);
                }
            }
            94..96 => self.bed.cut(N(id), N(other), rng.between(0, 4) as usize),
            96 if self.runs(id) => self.crash(id),
            96..98 if !self.runs(id) => self.start(id),
            _ => self.bed.heal_all(),
        }
    }

    /// So many lines of random events.
    fn random(seed: u64, lines: usize) -> Vec<Line> {
        let (mut run, mut rng) = (Self::new(), Rng::new(seed));
        while run.lines.len() < lines {
            run.act(&mut rng);
        }
        run.lines
    }
}

/// A leader is elected, proposes, crashes; another one goes on.
fn leader_crash() -> Run {
    let mut run = Run::new();
    let leader = run.until_led(None);
    run.propose(leader);
    run.propose(leader);
    run.settle();
    run.crash(leader);
    let next = run.until_led(None);
    run.propose(next);
    run.settle();
    run.start(leader);
    run.settle();
    run
}

/// A leader crashes with entries that only its own disk has; when it is back, they are cut.
fn truncation() -> Run {
    let mut run = Run::new();
    run.until_led(Some(3));
    run.propose(3);
    run.settle();
    run.bed.isolate(N(3));
    run.propose(3);
    run.propose(3);
    run.disk(3);
    run.crash(3);
    run.until_led(Some(2));
    run.propose(2);
    run.settle();
    run.start(3);
    run.settle();
    run.propose(2);
    run.settle();
    run
}

/// A promise is given once, lost, and not counted when it is repeated.
fn promised_twice() -> Run {
    let mut run = Run::new();
    run.bed.hold_disk(N(1), true);
    run.bed.hold_disk(N(2), true);
    run.settle();
    run.bed.hold_disk(N(2), false);
    run.disk(2);
    run.bed.cut(N(2), N(3), 0);
    run.settle();
    run.bed.heal_all();
    run.settle();
    run.bed.hold_disk(N(1), false);
    run.settle();
    run.propose(3);
    run.settle();
    run
}

/// A follower is brought level while proposals are in flight, which it is sent with NEWLEADER.
fn joins_in_flight() -> Run {
    let mut run = Run::new();
    run.until_led(Some(3));
    run.crash(1);
    run.settle();
    run.propose(3);
    run.settle();
    run.bed.hold_disk(N(2), true);
    run.propose(3);
    run.settle();
    run.start(1);
    run.settle();
    run.bed.hold_disk(N(2), false);
    run.propose(3);
    run.settle();
    run
}

/// A node goes down between a history and the epoch that it is the history of (R10), and comes back.
fn history_without_its_epoch() -> Run {
    let mut run = Run::new();
    run.until_led(Some(3));
    run.crash(1);
    run.crash(3);
    run.start(3);
    let leader = run.until_led(None);
    run.propose(leader);
    run.propose(leader);
    run.settle();
    run.start(1);
    while run.bed.node(N(1)).disk.truth().log.last() < LogId::new(2, 2) {
        for other in [2, 3] {
            run.deliver(1, other);
            run.deliver(other, 1);
        }
        run.disk(1);
        run.disk(leader);
    }
    run.crash(1);
    assert_eq!(run.bed.node(N(1)).disk.hard.current_epoch, 1, "its log is of epoch 2");
    run.start(1);
    run.settle();
    run
}

/// A leader loses a follower in the middle of a broadcast, and gives up; what it had proposed lives on elsewhere.
fn lost_quorum() -> Run {
    let mut run = Run::new();
    run.until_led(Some(3));
    run.crash(1);
    run.settle();
    run.propose(3);
    run.disk(3);
    run.deliver(3, 2);
    run.disk(2);
    run.bed.cut(N(2), N(3), 0);
    run.settle();
    run.start(1);
    run.bed.isolate(N(3));
    run.until_led(Some(2));
    run.bed.heal_all();
    run.settle();
    run
}

fn zxids(log: &[Zxid]) -> String {
    let all: Vec<String> = log.iter().map(|z| format!("<<{}, {}>>", z.epoch, z.counter)).collect();
    format!("<<{}>>", all.join(", "))
}

/// A TLA+ module with the lines of a trace.
fn module(name: &str, about: &str, fails_at: Option<usize>, lines: &[Line]) -> String {
    let rule = "-".repeat(30);
    let mut out = format!("{rule} MODULE {name} {rule}\n\\* {about}\n\\* Written by zab/tests/tla.rs.\n");
    if let Some(at) = fails_at {
        writeln!(out, "\\* Must be rejected at line {at}.").unwrap();
    }
    out.push_str("EXTENDS ZabTrace\n\nTrace == <<\n");
    for (i, line) in lines.iter().enumerate() {
        let Line { node, op, heard, said, view } = line;
        let (from, kind) = heard.map_or((0, ""), |(from, kind)| (from.0, kind));
        let numbers = |n: &[u64]| n.iter().fold(String::new(), |text, n| text + ", " + &n.to_string());
        let said: Vec<String> =
            said.iter().map(|(to, kind, n)| format!("<<{}, \"{kind}\"{}>>", to.0, numbers(n))).collect();
        let (hard, log) = &view.disk;
        writeln!(
            out,
            "  [n |-> {}, op |-> \"{op}\", from |-> {from}, kind |-> \"{kind}\", said |-> <<{}>>,\n   part |-> \"{}\", phase \
             |-> \"{}\", acc |-> {}, cur |-> {}, com |-> <<{}, {}>>, log |-> {},\n   disk |-> [acc |-> {}, cur |-> {}, log \
             |-> {}]]{} \\* {}",
            node.0,
            said.join(", "),
            view.part,
            view.phase,
            view.hard.accepted_epoch,
            view.hard.current_epoch,
            view.com.epoch,
            view.com.counter,
            zxids(&view.log),
            hard.accepted_epoch,
            hard.current_epoch,
            zxids(log),
            if i + 1 < lines.len() { "," } else { "" },
            i + 1,
        )
        .unwrap();
    }
    out.push_str(">>\n=============================================================================\n");
    out
}

/// Breaks the first line that fits and forgets what comes after it.
fn broken(mut lines: Vec<Line>, mut change: impl FnMut(&mut Line) -> bool) -> Vec<Line> {
    let at = lines.iter_mut().position(&mut change).expect("there is such a line");
    lines.truncate(at + 1);
    lines
}

fn check(name: &str, about: &str, hurt: bool, lines: &[Line]) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tla"));
    let folder = folder.join(if hurt { "broken" } else { "traces" });
    let file = folder.join(format!("{name}.tla"));
    let text = module(name, about, hurt.then_some(lines.len()), lines);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(known == text, "{name}: the cores do something else than in {}", file.display());
}

#[test]
fn traces_for_the_specification_are_what_the_cores_do() {
    type Tell = fn() -> Run;
    let told: [(&str, &str, Tell); 6] = [
        ("leader_crash", "A leader crashes, another one goes on, the first one comes back.", leader_crash),
        ("truncation", "A leader crashes with entries that nobody else has; they are cut when it is back.", truncation),
        ("promised_twice", "A promise that is repeated is not counted.", promised_twice),
        ("joins_in_flight", "A follower is taken in while proposals are in flight.", joins_in_flight),
        ("history_without_its_epoch", "A crash between history and currentEpoch.", history_without_its_epoch),
        ("lost_quorum", "A leader loses its quorum in the middle of a broadcast.", lost_quorum),
    ];
    for (name, about, story) in told {
        check(name, about, false, &story().lines);
    }
    for seed in 1..=4 {
        let about = format!("Random events, seed {seed}: crashes, broken sessions, elections, proposals.");
        check(&format!("random_{seed}"), &about, false, &Run::random(seed, 120));
    }
}

#[test]
fn broken_traces_are_broken_as_they_were() {
    let truncated = || truncation().lines;
    let one = LogId::new(1, 1);

    let lines = broken(truncated(), |l| {
        let hit = l.op == "propose";
        if hit {
            l.view.com = *l.view.log.last().unwrap();
        }
        hit
    });
    check("commit_without_a_quorum", "A leader commits what it has just proposed.", true, &lines);

    let mut crashed = false;
    let lines = broken(truncated(), |l| {
        crashed |= l.op == "crash";
        let hit = crashed && l.op == "disk" && l.view.disk.0.accepted_epoch == 2;
        if hit {
            l.view.disk.0.accepted_epoch = 0;
        }
        hit
    });
    check("epoch_goes_back", "acceptedEpoch goes from 1 to 0 on a disk.", true, &lines);

    let lines = broken(truncated(), |l| {
        let hit = l.op == "disk" && l.view.disk.1 == [one];
        if hit {
            l.view.disk.1[0] = LogId::new(1, 2);
        }
        hit
    });
    check("another_entry", "A disk has another entry than the one that was proposed.", true, &lines);

    let lines = broken(truncated(), |l| {
        let hit = l.view.part == "following" && l.view.log == [one] && l.view.disk.1.is_empty();
        if hit {
            l.said.push((N(3), "ACK", vec![1, 1]));
        }
        hit
    });
    check("ack_before_durable", "A follower acknowledges what its disk does not have yet.", true, &lines);

    let lines = broken(truncated(), |l| {
        let hit = l.view.part == "following" && l.view.phase == "broadcast";
        if hit {
            l.view.part = "leading";
        }
        hit
    });
    check("two_leaders", "A follower leads the epoch of its leader.", true, &lines);

    let lines = broken(truncated(), |l| {
        let hit = l.view.part == "leading" && l.view.phase == "synchronisation" && l.op == "disk";
        if hit {
            l.view.phase = "broadcast".into();
        }
        hit
    });
    check("established_alone", "A leader is established before anyone has acknowledged NEWLEADER.", true, &lines);

    let lines = broken(truncated(), |l| {
        let View { part, hard, log, disk, .. } = &mut l.view;
        let receives = *part == "following" && hard.current_epoch < hard.accepted_epoch && log.len() > disk.1.len();
        if receives {
            hard.current_epoch = hard.accepted_epoch;
            disk.0 = *hard;
        }
        receives
    });
    check("epoch_before_history", "currentEpoch is on a disk before the history of that epoch.", true, &lines);

    let lines = broken(promised_twice().lines, |l| {
        let again = l.said.iter_mut().find(|(_, kind, n)| *kind == "ACKEPOCH" && n[3] == 1);
        again.map(|(_, _, n)| n[3] = 0).is_some()
    });
    check("counted_twice", "A promise that is repeated looks like a new one.", true, &lines);

    let lines = broken(truncated(), |l| {
        let trunc = l.said.iter_mut().find(|(_, kind, _)| *kind == "TRUNC");
        trunc.map(|(_, kind, n)| (*kind, *n) = ("DIFF", vec![])).is_some()
    });
    check("diff_for_trunc", "A learner that has entries too many is sent DIFF.", true, &lines);
}
