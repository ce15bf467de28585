//! A machine's clock: it runs at its own rate, and may jump ahead. It never goes back, as a monotonic clock promises.

use crate::types::Micros;

/// Maps the world's time to a machine's and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// At this time of the world ...
    world: Micros,
    /// ... the machine's clock showed this.
    local: Micros,
    /// Local microseconds in a thousand of the world's.
    rate: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { world: Micros(0), local: Micros(0), rate: 1000 }
    }
}

impl Clock {
    /// What the machine's clock shows.
    pub(super) fn local(&self, now: Micros) -> Micros {
        self.local.after(Micros(now.since(self.world).0 * self.rate / 1000))
    }

    /// When the machine's clock will show at least `local`.
    pub(super) fn world(&self, local: Micros) -> Micros {
        let span = local.since(self.local).0;
        self.world.after(Micros((span.saturating_mul(1000)).div_ceil(self.rate)))
    }

    /// From now on it runs at another rate.
    pub(super) fn set_rate(&mut self, now: Micros, rate: u64) {
        *self = Self { world: now, local: self.local(now), rate: rate.clamp(100, 10_000) };
    }

    /// It jumps ahead.
    pub(super) fn jump(&mut self, now: Micros, by: Micros) {
        *self = Self { world: now, local: self.local(now).after(by), rate: self.rate };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_runs_at_its_rate_and_never_goes_back() {
        let mut clock = Clock::default();
        let mut before = Micros(0);
        for (now, rate) in [(1_000, 1_100), (5_000, 900), (6_000, 1_000)] {
            let now = Micros(now);
            assert!(clock.local(now) >= before);
            clock.set_rate(now, rate);
            before = clock.local(now);
            for wish in [before.after(Micros(1)), before.after(Micros(777))] {
                let at = clock.world(wish);
                assert!(clock.local(at) >= wish, "woken too early");
                assert!(clock.local(Micros(at.0 - 2)) < wish, "woken too late");
            }
        }
        clock.jump(Micros(7_000), Micros(500_000));
        assert!(clock.local(Micros(7_000)).0 > 500_000);
    }
}
