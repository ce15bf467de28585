//! The scenarios, in the order in which they run.

mod agreement;
mod catch_up;
mod failover;
mod observer;
mod reads;
mod scale;
mod scale_log;
mod scaling;
mod writes;

use super::{Plan, Scenario};
use crate::load::stats::Latency;
use crate::report::results::{Better, LoadResult, Repetition, Unit};
use crate::supervisor::Feed;

/// How many writes of a fixed rate are under way at most.
const PACED: usize = 512;

/// All scenarios of a plan.
pub fn all(plan: &Plan) -> Vec<Box<dyn Scenario>> {
    let mut list: Vec<Box<dyn Scenario>> = Vec::new();
    for clients in [1, 64, 256, 1024] {
        list.push(Box::new(writes::Writes::closed(clients)));
    }
    list.push(Box::new(writes::Writes { bytes: 1024, ..writes::Writes::closed(256) }));
    list.push(Box::new(writes::Writes { rate: Some(plan.rate), ..writes::Writes::closed(PACED) }));
    list.push(Box::new(reads::Reads { linearizable: true }));
    list.push(Box::new(reads::Reads { linearizable: false }));
    if plan.kills > 0 {
        list.push(Box::new(failover::Failover::Kill));
        list.push(Box::new(failover::Failover::Hang));
    }
    list.push(Box::new(catch_up::CatchUp));
    list.push(Box::new(observer::Observer));
    list.push(Box::new(agreement::Agreement));
    for feed in [Feed::Leader, Feed::Followers] {
        list.push(Box::new(scaling::ReadScaling { feed }));
    }
    for scale in scale::Scale::ALL {
        list.push(Box::new(scale));
    }
    for millions in [1, 10, 100] {
        list.push(Box::new(scale_log::LogScale { millions }));
    }
    list
}

/// Throughput and latency of a load, and the load itself.
fn measure_load(rep: &mut Repetition, load: LoadResult) {
    if load.intended.is_none() {
        rep.measure("throughput", Unit::PerSecond, Better::Higher, load.throughput);
    }
    // At a fixed rate, what counts is how long after the moment it was due an answer came.
    let Latency { p50, p99, p999, count, .. } = load.intended.as_ref().unwrap_or(&load.service).clone();
    rep.measure("latency, median", Unit::Micros, Better::Lower, p50 as f64);
    rep.measure("latency, 99 %", Unit::Micros, Better::Lower, p99 as f64);
    // A thousandth of fewer operations would be the luck of one or two.
    if count >= 5000 {
        rep.measure("latency, 99.9 %", Unit::Micros, Better::Lower, p999 as f64);
    }
    if load.intended.is_some() {
        rep.measure("service time, median", Unit::Micros, Better::Neither, load.service.p50 as f64);
        rep.measure("service time, 99 %", Unit::Micros, Better::Neither, load.service.p99 as f64);
        rep.measure("answered", Unit::PerSecond, Better::Neither, load.throughput);
    }
    if load.unsent > 0 {
        let unsent = crate::report::format::count(load.unsent as f64);
        rep.notes
            .push(format!("{unsent} operations were due and not sent at the end: the rate is more than it can do"));
    }
    let errors: u64 = load.errors.values().sum();
    if errors > 0 {
        rep.notes.push(format!("{errors} operations ended in an error: {:?}", load.errors));
    }
    rep.loads.push(load);
}
