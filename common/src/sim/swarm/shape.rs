//! Clusters and surroundings.

use super::{log, one_in};
use crate::rng::Rng;
use crate::sim::plan::{LoadShape, MachineShape, NetShape, Shape};
use crate::sim::stream::Streams;
use crate::sim::subject::Timing;
use crate::types::Micros;

/// That of the standard load.
pub(super) fn standard() -> Shape {
    Shape {
        voters: 5,
        observers: 0,
        timing: Timing {
            election_timeout: Micros::from_millis(1000),
            heartbeat: Micros::from_millis(100),
            drift: 0,
            limits: 0,
        },
        span: Micros::from_millis(60_000),
        net: NetShape {
            delay_us: 500,
            jitter_us: 200,
            silence_us: 2_000_000,
            window_bytes: 1 << 20,
            queue_bytes: 64 << 20,
            redial_us: 50_000,
        },
        machine: MachineShape {
            sync_us: 1000,
            write_us: 50,
            turn_us: 20,
            apply_us: 20,
            segment_bytes: 1 << 20,
            snapshot_entries: 1000,
            tail_entries: 100,
            cache_bytes: 1 << 20,
            limits: 0,
        },
        load: LoadShape {
            clients: 16,
            per_second: 50,
            keys: 64,
            value_bytes: 256,
            mix: [40, 5, 15, 30, 10],
            retry_us: 2_000_000,
            duplicates: 2,
            limits: 0,
        },
    }
}

/// A client asks again after so many election time-outs at the latest. If it were slower than that, what it asked of a node
/// that never comes back would look like a cluster that does not answer.
const RETRIES: u64 = 4;

/// What a write costs in time, in microseconds: a round trip, and a sync at each end.
pub(super) fn round_us(delay_us: u64, jitter_us: u64, machine: &MachineShape) -> u64 {
    2 * (delay_us + 4 * jitter_us) + 4 * (machine.sync_us + machine.turn_us)
}

/// Whether timers fit links and disks: with less than a few rounds for an election, nobody can promise that one ends.
pub(super) fn timely(shape: &Shape) -> bool {
    let round = round_us(shape.net.delay_us, shape.net.jitter_us, &shape.machine);
    let election = shape.timing.election_timeout.0;
    let silence = (election / 2).max(8 * round);
    election >= 8 * round
        && shape.net.silence_us >= silence
        && shape.net.redial_us <= election / 2
        && shape.load.retry_us <= RETRIES * election
}

/// Any.
pub(super) fn drawn(streams: Streams) -> Shape {
    let rng = |what: &str| streams.rng(what, [0; 3]);
    let mut nodes = rng("swarm/nodes");
    let voters = [1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 6, 7, 7][nodes.between(0, 19) as usize];
    let observers = if one_in(&mut nodes, 2) { nodes.between(1, 3) } else { 0 };
    let machine = machine(&mut rng("swarm/machine"));
    let mut net_rng = rng("swarm/net");
    let (delay_us, jitter_us) = delays(&mut net_rng);
    let round = round_us(delay_us, jitter_us, &machine);
    let timing = Timing { drift: drift(&mut rng("swarm/drift")), ..timing(&mut rng("swarm/timing"), round) };
    let election = timing.election_timeout.0;
    let net = NetShape {
        delay_us,
        jitter_us,
        silence_us: log(&mut net_rng, (election / 2).max(8 * round), 8 * election),
        window_bytes: log(&mut net_rng, 64 << 10, 1 << 20),
        queue_bytes: log(&mut net_rng, 4 << 20, 64 << 20),
        redial_us: log(&mut net_rng, 5000, (election / 2).min(1_000_000)),
    };
    let load = load(&mut rng("swarm/load"), &net, round, election);
    let span = rng("swarm/span").between(10_000_000, 60_000_001).max(8 * election);
    Shape { voters, observers, timing, span: Micros(span), net, machine, load }
}

fn delays(rng: &mut Rng) -> (u64, u64) {
    let delay = log(rng, 50, 50_000);
    let jitter = if one_in(rng, 2) { log(rng, delay.div_ceil(8), delay.min(20_000)) } else { 0 };
    (delay, jitter)
}

fn timing(rng: &mut Rng, round: u64) -> Timing {
    let ms = |us: u64| us.div_ceil(1000) * 1000;
    let election = ms(log(rng, 200_000, 5_000_000).max(8 * round));
    let heartbeat = ms((election / log(rng, 2, 20)).max(20_000)).min(election / 2000 * 1000);
    Timing { election_timeout: Micros(election), heartbeat: Micros(heartbeat), drift: 0, limits: limits(rng) }
}

/// How far clocks may be trusted, in one plan of six. Some scenarios need it, too.
fn drift(rng: &mut Rng) -> u64 {
    if one_in(rng, 6) { log(rng, 1, 200) } else { 0 }
}

/// As they are, or tight.
fn limits(rng: &mut Rng) -> u64 {
    if one_in(rng, 2) { rng.between(1, 1 << 32) } else { 0 }
}

fn machine(rng: &mut Rng) -> MachineShape {
    let sync_us = log(rng, 50, 20_000);
    let slowest = if one_in(rng, 4) { 50_000 } else { 500 };
    MachineShape {
        sync_us,
        write_us: log(rng, 1, sync_us.div_ceil(4)),
        turn_us: log(rng, 5, 500),
        // Now and then so slow that the log is far ahead of the state.
        apply_us: log(rng, 5, slowest),
        segment_bytes: log(rng, 4 << 10, 1 << 20),
        snapshot_entries: log(rng, 4, 10_000),
        tail_entries: if one_in(rng, 2) { 0 } else { log(rng, 1, 1000) },
        cache_bytes: log(rng, 4 << 10, 1 << 20),
        limits: limits(rng),
    }
}

fn load(rng: &mut Rng, net: &NetShape, round: u64, election: u64) -> LoadShape {
    let per_second = log(rng, 5, 200);
    let keys = log(rng, 1, 1000);
    let limits = limits(rng);
    // What links carry in a second, and what a snapshot may hold: beyond, a plan tests patience.
    let carried = net.window_bytes * 1_000_000 / round.max(1) / (4 * per_second);
    let most = (16 << 10).min(net.window_bytes / 8).min(carried).min((512 << 10) / keys);
    LoadShape {
        clients: log(rng, 1, 32),
        per_second,
        keys,
        value_bytes: log(rng, 16, most),
        mix: mix(rng),
        retry_us: log(rng, election, RETRIES * election),
        duplicates: if one_in(rng, 2) { log(rng, 1, 30) as u8 } else { 0 },
        limits,
    }
}

/// Puts are always asked for, each of the others in half of the plans.
fn mix(rng: &mut Rng) -> [u8; 5] {
    let mut weights = [0; 5];
    for (i, weight) in weights.iter_mut().enumerate() {
        let on = one_in(rng, 2) || i == 0;
        *weight = rng.between(1, 11) * u64::from(on);
    }
    let sum: u64 = weights.iter().sum();
    let mut mix = weights.map(|w| (w * 100 / sum) as u8);
    mix[0] += 100 - mix.iter().sum::<u8>();
    mix
}
