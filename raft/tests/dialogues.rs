//! Dialogues: scripts of what happens to a few nodes, and what they say and do about it. See `tests/scripts/`.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p raft --test dialogues` writes the output anew; read it before committing it.
//!
//! | command | what it does |
//! | --- | --- |
//! | `cluster voters=3 observers=1 n2="1 1 2" t2=3 pre_vote=false` | starts nodes; `n2` is the terms of n2's log, `t2` its currentTerm; other names are settings |
//! | `timeout 1` | the clock goes to where n1 wants to be woken, and only n1 is |
//! | `advance 200` | so many milliseconds pass, with everything that happens meanwhile |
//! | `settle` | everything under way arrives and happens; no time passes |
//! | `deliver 1 2`, `deliver 1 2 1` | what n1 sent to n2 so far arrives, or the first of it; n2's answers wait |
//! | `disk 1` | n1's disk writes what waits, and n1 hears of it |
//! | `propose 1 a b` | commands for n1 |
//! | `fill 1 bytes=2000` | one command of that size |
//! | `read 1`, `lease 1` | a read barrier on n1, numbered from 1; one for which a lease will do |
//! | `transfer 1 2`, `transfer 1` | n1 is asked to hand leadership over, to n2 or to whom it likes; numbered from 1 |
//! | `change 1 voter=4 learner=3 gone=2` | n1 is asked to change who belongs, all of it at once; numbered from 1 |
//! | `cut 1 2`, `isolate 1`, `heal` | sessions end; all begin again |
//! | `hold 1`, `release 1` | n1's disk stops, goes on |
//! | `crash 1`, `restart 1` | what was not durable is lost |
//! | `damage 1 keep=2` | what follows the second entry is lost from the disk of n1, which is down |
//! | `snapshot 1 keep=2` | n1 stores a snapshot and keeps two entries before it |
//! | `transcript off` | leaves out what nodes say, from here on |
//! | `status` | one line per node, and per peer of a leader |

use std::error::Error;
use std::fmt::Write as _;

use common::entries::{Batch, Entries, EntryKind};
use common::membership::MemberChange;
use common::protocol::{Input, Protocol, Trust};
use common::quorum::{Change, Voters};
use common::sim::subject::Oracle as _;
use common::testbed::{Disk, Testbed};
use common::types::{LogId, Micros, NodeId};
use goldenscript::{Command, Context};
use raft::invariants::Oracle;
use raft::{Config, Hard, Raft};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Stage {
    bed: Option<Testbed<Raft>>,
    oracle: Option<Oracle>,
    reads: u64,
    transfers: u64,
    changes: u64,
    silent: bool,
}

/// A disk whose log has entries of these terms.
fn disk(terms: &str, term: Option<u64>) -> Outcome<Disk<Raft>> {
    let terms = terms.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let run = |(i, term): (usize, &u64)| {
        let id = LogId::new(*term, i as u64 + 1);
        Entries::new(id, EntryKind::Command, Batch::from_payloads(&[format!("{id}")]))
    };
    let hard = Hard { term: term.or(terms.last().copied()).unwrap_or(0), ..Hard::default() };
    Ok(Disk::with(hard, terms.iter().enumerate().filter_map(run).collect()))
}

/// `voter=4`, `learner=4`, `gone=4`, and `weight=4:3` or `weight=4:3@1` for a weight of 3, in group 1.
fn member_change(make: &str, of: &str) -> Outcome<MemberChange> {
    if make == "weight" {
        let (id, count) = of.split_once(':').ok_or("which weight?")?;
        let (weight, group) = count.split_once('@').map_or((count, None), |(weight, group)| (weight, Some(group)));
        let (id, weight) = (NodeId(id.parse()?), weight.parse()?);
        let group = group.map(str::parse).transpose()?;
        return Ok(MemberChange { change: Change::Weight { id, weight, group }, address: None });
    }
    let id = NodeId(of.parse()?);
    let change = match make {
        "voter" => Change::Voter(id),
        "learner" => Change::Learner(id),
        "gone" => Change::Remove(id),
        other => return Err(format!("nobody can be made {other}").into()),
    };
    Ok(MemberChange { change, address: Some(id.to_string()) })
}

fn watch(bed: &Testbed<Raft>, oracle: &mut Oracle) -> Outcome<()> {
    let truths = bed.truths();
    bed.cores().try_for_each(|core| oracle.turned(core, bed.now(), &truths))?;
    Ok(())
}

impl Stage {
    fn cluster(&mut self, command: &Command) -> Outcome<()> {
        let mut args = command.consume_args();
        let number = |value: Option<&str>| value.map(str::parse::<u64>).transpose();
        let voters = number(args.take_key("voters"))?.unwrap_or(3);
        let observers = number(args.take_key("observers"))?.unwrap_or(0);
        let mut disks = Vec::new();
        for id in 1..=voters {
            let log = args.take_key(&format!("n{id}")).unwrap_or("");
            disks.push(disk(log, number(args.take_key(&format!("t{id}")))?)?);
        }
        let mut settings = String::new();
        while let Some((key, value)) = args.next_key() {
            writeln!(settings, "{key} = {value}")?;
        }
        let config: Config = toml::from_str(&settings)?;
        config.validate()?;
        disks.extend((0..observers).map(|_| Disk::default()));
        let mut bed = Testbed::from_disks(voters, disks, config);
        bed.settle();
        bed.start_transcript();
        let mut oracle = Oracle::new(&Voters::new((1..=voters).map(NodeId)));
        watch(&bed, &mut oracle)?;
        *self = Self { bed: Some(bed), oracle: Some(oracle), ..Self::default() };
        Ok(())
    }

    fn carry_out(&mut self, command: &Command) -> Outcome<String> {
        if command.name == "cluster" {
            self.cluster(command)?;
            return Ok(String::new());
        }
        let bed = self.bed.as_mut().ok_or("no cluster yet")?;
        let mut args = command.consume_args();
        let mut node = || -> Outcome<NodeId> { Ok(NodeId(args.next_pos().ok_or("which node?")?.parse()?)) };
        match command.name.as_str() {
            "timeout" => {
                let id = node()?;
                let due = bed.core(id).wake_at().ok_or("it waits for nothing")?;
                bed.set_now(due);
                bed.input(id, Input::Tick);
            }
            "advance" => bed.advance(Micros::from_millis(node()?.0)),
            "settle" => bed.settle(),
            "deliver" => {
                let (from, to) = (node()?, node()?);
                let all = bed.under_way(from, to);
                let count = args.next_pos().map(str::parse).transpose()?.unwrap_or(all);
                for _ in 0..count {
                    bed.deliver_one(from, to);
                }
            }
            "disk" => {
                let id = node()?;
                bed.write_disk(id);
                while bed.answer_one(id) {}
            }
            "propose" => {
                let id = node()?;
                let commands: Vec<&str> = std::iter::from_fn(|| args.next_pos()).collect();
                let _ = bed.propose(id, &commands);
            }
            "fill" => {
                let id = node()?;
                let bytes: usize = args.take_key("bytes").ok_or("how many bytes?")?.parse()?;
                let _ = bed.propose(id, &[vec![b'x'; bytes]]);
            }
            "read" => {
                self.reads += 1;
                bed.input(node()?, Input::ReadBarrier { id: self.reads, trust: Trust::Quorum });
            }
            "lease" => {
                self.reads += 1;
                bed.input(node()?, Input::ReadBarrier { id: self.reads, trust: Trust::Clocks });
            }
            "transfer" => {
                self.transfers += 1;
                let (from, to) = (node()?, node().ok());
                bed.input(from, Input::Transfer { id: self.transfers, to });
            }
            "change" => {
                self.changes += 1;
                let from = node()?;
                let mut changes = Vec::new();
                while let Some((make, id)) = args.next_key() {
                    changes.push(member_change(make, id)?);
                }
                bed.input(from, Input::Change { id: self.changes, changes });
            }
            "cut" => bed.cut(node()?, node()?, 0),
            "isolate" => bed.isolate(node()?),
            "heal" => bed.heal_all(),
            "hold" => bed.hold_disk(node()?, true),
            "release" => bed.hold_disk(node()?, false),
            "crash" => bed.crash(node()?),
            "restart" => {
                let id = node()?;
                bed.restart(id);
                let oracle = self.oracle.as_mut().ok_or("no cluster yet")?;
                oracle.booted(bed.core(id), bed.node(id).member, &bed.node(id).disk.truth())?;
            }
            "damage" => {
                let id = node()?;
                let keep = args.take_key("keep").ok_or("up to which entry?")?.parse()?;
                let keep = bed.node(id).disk.log_view(usize::MAX).at(keep).ok_or("there is no such entry")?;
                if !bed.damage(id, keep) {
                    return Err("there is nothing to lose".into());
                }
            }
            "snapshot" => {
                let id = node()?;
                let keep = args.take_key("keep").unwrap_or("0").parse()?;
                bed.snapshot(id, keep);
            }
            "transcript" => self.silent = args.next_pos() == Some("off"),
            "status" => return Ok(status(bed)),
            other => return Err(format!("no such command: {other}").into()),
        }
        args.reject_next()?;
        Ok(String::new())
    }
}

/// `(1,1..3) (2,4..4)`: the log by terms.
fn log(core: &Raft) -> String {
    let log = core.log();
    let mut text = if log.base() > LogId::ZERO { format!("after {}: ", log.base()) } else { String::new() };
    for span in log.spans() {
        let _ = write!(text, "({},{}..{}) ", span.epoch, span.first, span.last);
    }
    text.trim_end().to_owned()
}

fn status(bed: &Testbed<Raft>) -> String {
    let mut text = String::new();
    for id in bed.ids() {
        let Some(core) = &bed.node(id).core else {
            let _ = writeln!(text, "{id} is down");
            continue;
        };
        let s = core.status();
        let (log, durable, committed) = (log(core), s.durable.counter, s.committed.counter);
        let leader = s.leader.map_or("nobody".to_owned(), |l| l.to_string());
        let _ = writeln!(
            text,
            "{id} {} of term {}, led by {leader}; log {log}; durable {durable}, committed {committed}",
            s.phase, s.epoch
        );
        if s.membership_at > LogId::ZERO {
            let _ = writeln!(text, "  {} since {}", s.membership, s.membership_at);
        }
        for p in s.peers {
            let paused = p.paused.map_or(String::new(), |why| format!(", {why}"));
            let sync =
                p.sync.map_or(String::new(), |s| format!("; {} of {} entries, {} bytes", s.kind, s.entries, s.bytes));
            let _ = writeln!(text, "  {}: {}, has {}, sent {}{paused}{sync}", p.id, p.state, p.has, p.sent);
        }
    }
    text
}

impl goldenscript::Runner for Stage {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Outcome<String> {
        let mut out = self.carry_out(command)?;
        let Some(bed) = &mut self.bed else { return Ok(out) };
        let said = bed.take_transcript();
        if !self.silent {
            out.insert_str(0, &said);
        }
        // Whatever a script shows, the rules hold.
        watch(bed, self.oracle.as_mut().ok_or("no cluster yet")?)?;
        for id in bed.ids() {
            if let Some(why) = &bed.node(id).halted {
                return Err(format!("{id} halted: {why}").into());
            }
        }
        Ok(out)
    }
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/", stringify!($name));
            goldenscript::run(&mut Stage::default(), path).expect("the script runs");
        }
    )*};
}

scripts! {
    check_quorum, commit_needs_disks, election, figure_7, figure_8, learner, lease, probing, read_index, rejoin, snapshot, split_vote,
    stalled_disk, transfer, members, members_crash, mending,
}
