//! Single faults, kind by kind.

use super::{log, log_span, one_in};
use crate::rng::Rng;
use crate::sim::plan::{Death, DiskCall, Fault, Hostile, Lie, Make, Shape, Target, Timed};
use crate::sim::plan_text::KINDS;
use crate::sim::stream::Streams;
use crate::types::{Micros, NodeId};

const MS: Micros = Micros::from_millis(1);
const HOUR: Micros = Micros::from_millis(3_600_000);
const CALLS: [DiskCall; 6] =
    [DiskCall::Read, DiskCall::Write, DiskCall::Sync, DiskCall::SyncDir, DiskCall::Create, DiskCall::Rename];

const BYTES: [Hostile; 4] = [Hostile::Garbage, Hostile::TooLong, Hostile::BrokenOff, Hostile::WrongLength];
const LIES: [Lie; 4] = [Lie::Cluster, Lie::Protocol, Lie::Version, Lie::Called];

/// Each kind with probability 1/2, and as often as it comes.
pub(super) fn draw(shape: &Shape, streams: Streams) -> Vec<Timed> {
    // Of sixteen: how much goes wrong in this plan at all.
    let intensity = log(&mut streams.rng("swarm/intensity", [0; 3]), 1, 16);
    let maker = Maker { shape, election: shape.timing.election_timeout, victims: victims(shape, streams) };
    let mut all = Vec::new();
    for kind in KINDS {
        let mut rng = streams.rng(&format!("swarm/{kind}"), [0; 3]);
        if !one_in(&mut rng, 2) {
            continue;
        }
        let most = match kind {
            "wipe" | "rollback" => 2,
            "bit-rot" | "lost-write" | "misdirect" | "disk-full" | "blackout" | "jump" => 4,
            "disk-error" | "short-write" | "drift" | "hostile" | "stranger" => 8,
            _ => 32,
        };
        for _ in 0..(log(&mut rng, 1, most) * intensity / 16).max(1) {
            let at = Micros(rng.between(0, shape.span.0 + 1));
            all.extend(maker.fault(kind, &mut rng).into_iter().map(|fault| Timed { at, fault }));
        }
    }
    all
}

/// Whose disks may lose what they had confirmed: less than half of the voters, and any observer, which is never counted.
pub(super) fn victims(shape: &Shape, streams: Streams) -> Vec<NodeId> {
    let mut rng = streams.rng("swarm/victims", [0; 3]);
    let minority = (shape.voters - 1) / 2;
    let mut voters: Vec<_> = (1..=shape.voters).collect();
    let mut victims = Vec::new();
    for _ in 0..rng.between(1, minority + 1).min(minority) {
        victims.push(NodeId(voters.swap_remove(rng.between(0, voters.len() as u64) as usize)));
    }
    if shape.observers > 0 && one_in(&mut rng, 2) {
        victims.push(NodeId(shape.voters + rng.between(1, shape.observers + 1)));
    }
    victims
}

struct Maker<'a> {
    shape: &'a Shape,
    election: Micros,
    victims: Vec<NodeId>,
}

impl Maker<'_> {
    fn nodes(&self) -> u64 {
        self.shape.voters + self.shape.observers
    }

    /// One of this kind; nothing where it cannot be, two for a cut in both directions.
    fn fault(&self, kind: &str, rng: &mut Rng) -> Vec<Fault> {
        match kind {
            "cut" => self.cut(rng),
            "reset" | "loss" | "duplicate" | "reorder" | "corrupt" | "slow" | "narrow" | "hostile" | "stranger" => {
                self.link(kind, rng)
            }
            "bit-rot" | "lost-write" | "misdirect" | "rollback" | "wipe" => self.destroyer(kind, rng),
            _ => vec![self.local(kind, rng)],
        }
    }

    /// What strikes one node, or all.
    fn local(&self, kind: &str, rng: &mut Rng) -> Fault {
        let (node, span) = (self.target(rng), self.span(rng));
        let back = self.back(rng);
        let most = Micros(self.election.0 / 2);
        match kind {
            "kill" => Fault::Crash { node, how: Death::Kill, back },
            "power-loss" => Fault::Crash { node, how: Death::Power, back },
            "blackout" => Fault::CrashAll { back },
            "pause" => Fault::Pause { node, span },
            "stall" => Fault::Stall { node, span },
            "slow-disk" => Fault::SlowDisk { node, delay: log_span(rng, Micros(100), most), span },
            "disk-error" => {
                let call = CALLS[rng.between(0, CALLS.len() as u64) as usize];
                Fault::DiskError { node, call, nth: log(rng, 1, 200) }
            }
            "change" => self.change(rng),
            "transfer" => Fault::Transfer { to: one_in(rng, 2).then_some(node) },
            "short-write" => Fault::ShortWrite { node, nth: log(rng, 1, 200) },
            "disk-full" => Fault::DiskFull { node, bytes: log(rng, 512, 256 << 10), span },
            "drift" => {
                let amount = log(rng, 1, 200) as i16;
                let per_mille = if one_in(rng, 2) { amount } else { -amount };
                Fault::Drift { node, per_mille, span }
            }
            _ => Fault::Jump { node, by: log_span(rng, MS, HOUR) },
        }
    }

    /// One to three nodes are to be something else, most often voters.
    fn change(&self, rng: &mut Rng) -> Fault {
        let n = [1, 1, 1, 2, 2, 3][rng.between(0, 6) as usize];
        let makes = [Make::Voter, Make::Voter, Make::Voter, Make::Learner, Make::Gone];
        let one = |rng: &mut Rng| (makes[rng.between(0, 5) as usize], self.target(rng));
        Fault::Change { make: (0..n).map(|_| one(rng)).collect() }
    }

    fn link(&self, kind: &str, rng: &mut Rng) -> Vec<Fault> {
        let Some((from, to)) = self.pair(rng) else { return Vec::new() };
        let span = self.span(rng);
        let mut per_mille = |most| log(rng, 1, most) as u16;
        vec![match kind {
            "reset" => Fault::Reset { a: from, b: to },
            "hostile" => Fault::Hostile { from, to, bytes: BYTES[per_mille(4) as usize % 4] },
            "stranger" => Fault::Stranger { from, to, lie: LIES[per_mille(4) as usize % 4] },
            "loss" => Fault::Loss { from, to, per_mille: per_mille(300), span },
            "duplicate" => Fault::Duplicate { from, to, per_mille: per_mille(500), span },
            "reorder" => Fault::Reorder { from, to, per_mille: per_mille(300), span },
            "corrupt" => Fault::Corrupt { from, to, per_mille: per_mille(50), span },
            "slow" => Fault::Slow { from, to, delay: log_span(rng, MS, Micros(self.election.0 * 2)), span },
            _ => Fault::Narrow { from, to, bytes: log(rng, 1 << 10, 64 << 10), span },
        }]
    }

    fn destroyer(&self, kind: &str, rng: &mut Rng) -> Vec<Fault> {
        if self.victims.is_empty() {
            return Vec::new();
        }
        let node = Target::Node(self.victims[rng.between(0, self.victims.len() as u64) as usize]);
        let (nth, back) = (log(rng, 1, 200), self.back(rng));
        vec![match kind {
            "bit-rot" => Fault::BitRot { node },
            "lost-write" => Fault::LostWrite { node, nth },
            "misdirect" => Fault::Misdirect { node, nth },
            "rollback" => Fault::Rollback { node, back },
            _ => Fault::Wipe { node, back },
        }]
    }

    /// One node from all others, two groups from each other, or one link; in one direction or in both.
    fn cut(&self, rng: &mut Rng) -> Vec<Fault> {
        let n = self.nodes();
        let node = |n: u64| Target::Node(NodeId(n));
        let (from, to): (Vec<_>, Vec<_>) = match rng.between(0, 3) {
            _ if n < 2 => return Vec::new(),
            0 if one_in(rng, 2) => (vec![Target::Leader], (0..n - 1).map(Target::Other).collect()),
            0 => {
                let alone = rng.between(1, n + 1);
                (vec![node(alone)], (1..=n).filter(|i| *i != alone).map(node).collect())
            }
            1 => {
                // Neither side is empty: neither no bit nor every bit is set.
                let side = rng.between(1, (1 << n) - 1);
                let (a, b): (Vec<u64>, Vec<u64>) = (1..=n).partition(|i| side >> (i - 1) & 1 == 1);
                (a.into_iter().map(node).collect(), b.into_iter().map(node).collect())
            }
            _ => match self.pair(rng) {
                Some((a, b)) => (vec![a], vec![b]),
                None => return Vec::new(),
            },
        };
        let span = self.span(rng);
        let back = Fault::Cut { from: to.clone(), to: from.clone(), span };
        let there = Fault::Cut { from, to, span };
        match rng.between(0, 4) {
            0 => vec![there],
            1 => vec![back],
            _ => vec![there, back],
        }
    }

    fn target(&self, rng: &mut Rng) -> Target {
        match rng.between(0, 5) {
            0 | 1 => Target::Leader,
            2 => Target::Other(rng.between(0, self.nodes())),
            _ => Target::Node(NodeId(rng.between(1, self.nodes() + 1))),
        }
    }

    /// Two ends of a link, in either order.
    fn pair(&self, rng: &mut Rng) -> Option<(Target, Target)> {
        let n = self.nodes();
        if n < 2 {
            return None;
        }
        let first = rng.between(1, n + 1);
        let second = 1 + (first - 1 + rng.between(1, n)) % n;
        let pair = match rng.between(0, 4) {
            0 => (Target::Leader, Target::Other(rng.between(0, n))),
            1 => (Target::Other(rng.between(0, n)), Target::Leader),
            _ => (Target::Node(NodeId(first)), Target::Node(NodeId(second))),
        };
        Some(pair)
    }

    /// From a blink to several elections.
    fn span(&self, rng: &mut Rng) -> Micros {
        let most = (self.election.0 * 8).min(self.shape.span.0 / 2);
        log_span(rng, Micros(self.election.0 / 20), Micros(most))
    }

    /// From an instant restart to one that misses a few elections.
    fn back(&self, rng: &mut Rng) -> Micros {
        log_span(rng, MS, Micros(self.election.0 * 4))
    }
}
