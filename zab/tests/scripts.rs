//! Dialogues: each file in `scripts/` is a story of commands and what the nodes then say and do, checked word by word.
//! `UPDATE_GOLDENFILES=1 cargo test -p zab --test scripts` writes the outcome anew, to be read before it is committed.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::str::FromStr;

use common::entries::{Batch, Entries, EntryKind};
use common::membership::MemberChange;
use common::protocol::{Input, Protocol, Trust};
use common::quorum::Change;
use common::testbed::{Disk, Testbed, agree};
use common::types::{LogId, Micros, NodeId};
use goldenscript::{ArgumentConsumer, Command};
use zab::{Config, Hard, Hex, Zab};

#[derive(Default)]
struct Story {
    bed: Option<Testbed<Zab>>,
    disks: Vec<Disk<Zab>>,
    orders: u64,
}

type Answer = Result<(), Box<dyn Error>>;

/// `3.1-7` is the run of epoch 3 from counter 1 to 7; several are separated by commas.
fn runs(spec: &str) -> Result<Vec<Entries>, Box<dyn Error>> {
    let mut runs = Vec::new();
    for part in spec.split(',').filter(|p| !p.is_empty()) {
        let (epoch, counters) = part.split_once('.').ok_or("a run is epoch.first-last")?;
        let (first, last): (u64, u64) = match counters.split_once('-') {
            Some((a, b)) => (a.parse()?, b.parse()?),
            None => (counters.parse()?, counters.parse()?),
        };
        let epoch: u64 = epoch.parse()?;
        let texts: Vec<String> = (first..=last).map(|c| format!("{epoch}.{c}")).collect();
        let run = Entries::new(LogId::new(epoch, first), EntryKind::Command, Batch::from_payloads(&texts));
        runs.push(run.ok_or("an empty run")?);
    }
    Ok(runs)
}

/// `voter=4`, `learner=4`, `gone=4`, and `weight=4:3` or `weight=4:3@1` for a weight of 3, in group 1.
fn member_change(make: &str, of: &str) -> Result<MemberChange, Box<dyn Error>> {
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

fn value<T: FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
) -> Result<Option<T>, Box<dyn Error>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

impl Story {
    fn bed(&mut self) -> Result<&mut Testbed<Zab>, Box<dyn Error>> {
        self.bed.as_mut().ok_or_else(|| "no cluster yet".into())
    }

    fn tell(&mut self, command: &Command, out: &mut String) -> Answer {
        let mut args = command.consume_args();
        let mut ids = Vec::new();
        match command.name.as_str() {
            // disk [accepted=N] [current=N] [log=RUNS]: of the next node.
            "disk" => {
                let accepted_epoch = value(&mut args, "accepted")?.unwrap_or(0);
                let current_epoch = value(&mut args, "current")?.unwrap_or(accepted_epoch);
                let log: String = value(&mut args, "log")?.unwrap_or_default();
                self.disks.push(Disk::with(Hard { accepted_epoch, current_epoch, mending: false }, runs(&log)?));
                return args.reject_next();
            }
            // cluster voters=N [observers=N] [batch=BYTES] [observers_max=N] [counter_max=N] [crashed=ID] [sources=WHOSE]
            "cluster" => {
                let voters: u64 = value(&mut args, "voters")?.unwrap_or(3);
                let observers: u64 = value(&mut args, "observers")?.unwrap_or(0);
                let mut config = Config::default();
                config.sync_batch_bytes = value(&mut args, "batch")?.unwrap_or(config.sync_batch_bytes);
                config.snapshot_chunk_bytes = value(&mut args, "chunk")?.unwrap_or(config.snapshot_chunk_bytes);
                config.observers_max = value(&mut args, "observers_max")?.unwrap_or(config.observers_max);
                let sources = args.take_key("sources").unwrap_or_default();
                config.counter_max = value(&mut args, "counter_max")?.unwrap_or(config.counter_max);
                let crashed: Option<u64> = value(&mut args, "crashed")?;
                args.reject_next()?;
                config.validate()?;
                let mut disks = std::mem::take(&mut self.disks);
                disks.resize_with((voters + observers) as usize, Disk::default);
                let mut configs = BTreeMap::new();
                for part in sources.split_whitespace() {
                    let (of, list) = part.split_once(':').map_or((None, part), |(of, list)| (Some(of), list));
                    let sources = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
                    match of {
                        Some(of) => _ = configs.insert(NodeId(of.parse()?), Config { sources, ..config.clone() }),
                        None => config.sources = sources,
                    }
                }
                let mut bed = Testbed::with_configs(voters, disks, config, configs);
                if let Some(id) = crashed {
                    bed.crash(NodeId(id));
                }
                bed.start_transcript();
                self.bed = Some(bed);
                return Ok(());
            }
            _ => {}
        }
        let quiet = value::<bool>(&mut args, "quiet")?.unwrap_or(false);
        let mut changes = Vec::new();
        if command.name == "change" {
            while let Some((make, id)) = args.next_key() {
                changes.push(member_change(make, id)?);
            }
        }
        while let Some(arg) = args.next_pos() {
            ids.push(arg.to_owned());
        }
        args.reject_next()?;
        self.orders += 1;
        let id = self.orders;
        let bed = self.bed()?;
        let node = |i: usize| -> Result<NodeId, Box<dyn Error>> {
            let text = ids.get(i).ok_or("which node?")?;
            Ok(NodeId(text.trim_start_matches('n').parse()?))
        };
        match command.name.as_str() {
            "settle" => bed.settle(),
            // advance MS: PING lines are left out of the answer.
            "advance" => bed.advance(Micros::from_millis(ids.first().ok_or("how long?")?.parse()?)),
            "propose" => match bed.propose(node(0)?, &ids[1..]) {
                Ok((first, last)) => writeln!(out, "accepted {}..={}", Hex(first), Hex(last))?,
                Err(refusal) => writeln!(out, "refused: {refusal}")?,
            },
            // read n1 7: linearizable. sync n1 7: as ZooKeeper does it.
            what @ ("read" | "sync") => {
                let trust = if what == "sync" { Trust::Leader } else { Trust::Quorum };
                bed.input(node(0)?, Input::ReadBarrier { id: ids.get(1).ok_or("which read?")?.parse()?, trust });
            }
            // change n3 voter=4 gone=2: n3 is asked to change who belongs. transfer n3 n1: to hand leadership over.
            "change" => bed.input(node(0)?, Input::Change { id, changes }),
            "transfer" => bed.input(node(0)?, Input::Transfer { id, to: node(1).ok() }),
            "crash" => bed.crash(node(0)?),
            // damage n2 1.1: of a node that is down; what comes after is gone.
            "damage" => {
                let keep = runs(ids.get(1).ok_or("what is left?")?)?.last().map_or(LogId::ZERO, Entries::last);
                if !bed.damage(node(0)?, keep) {
                    return Err("nothing to damage".into());
                }
            }
            "restart" => bed.restart(node(0)?),
            "cut" => bed.cut(node(0)?, node(1)?, 0),
            "isolate" => bed.isolate(node(0)?),
            "heal" => bed.heal_all(),
            "hold" => bed.hold_disk(node(0)?, true),
            "release" => bed.hold_disk(node(0)?, false),
            "snapshot" => bed.snapshot(node(0)?, 0),
            "deliver" => {
                // deliver FROM TO: everything on that link.
                while bed.deliver_one(node(0)?, node(1)?) {}
            }
            "write" => {
                bed.write_disk(node(0)?);
                while bed.answer_one(node(0)?) {}
            }
            "status" => {
                for id in bed.ids() {
                    if bed.node(id).core.is_none() {
                        writeln!(out, "{id} is down")?;
                        continue;
                    }
                    let s = bed.core(id).status();
                    let leader = s.leader.map_or("nobody".into(), |l| l.to_string());
                    let hard = bed.core(id).hard();
                    writeln!(
                        out,
                        "{id} {} {}, follows {leader}, acceptedEpoch {} currentEpoch {}, log to {}, committed {}",
                        s.role,
                        s.phase,
                        hard.accepted_epoch,
                        hard.current_epoch,
                        Hex(s.last),
                        Hex(s.committed)
                    )?;
                    if s.membership_at > LogId::ZERO {
                        writeln!(out, "  {} since {}", s.membership, Hex(s.membership_at))?;
                    }
                    for p in s.peers {
                        if let Some(r) = p.sync {
                            writeln!(out, "  {} {} from {}: {} entries", p.id, r.kind, Hex(r.from), r.entries)?;
                        }
                    }
                }
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        let lines = bed.take_transcript();
        for line in lines.lines().filter(|l| !quiet && !l.contains(" PING ")) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

impl goldenscript::Runner for Story {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        self.tell(command, &mut out)?;
        if let Some(bed) = &self.bed {
            bed.cores().try_for_each(Zab::check)?;
            agree(bed)?;
        }
        Ok(out)
    }
}

macro_rules! story {
    ($($name:ident),+) => {$(
        #[test]
        fn $name() {
            goldenscript::run(&mut Story::default(), concat!("tests/scripts/", stringify!($name))).unwrap();
        }
    )+};
}

story!(
    election,
    finalize_wait,
    discovery_and_synchronisation,
    catch_up_by_diff,
    follower_ahead,
    leader_gives_way_to_a_follower_ahead,
    trunc_and_diff,
    snap,
    observer,
    observer_chain,
    observer_chain_of_three,
    observer_ring,
    observer_ring_waits,
    lost_quorum,
    sync_read,
    sync_plain,
    leader_crash_with_uncommitted_entries,
    joiner_of_a_running_ensemble,
    same_epoch_twice,
    counters_used_up,
    promise_above_the_leaders_epoch,
    members,
    members_crash,
    mending,
    hand_over,
    weights,
    groups
);
