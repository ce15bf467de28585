//! Randomness that stays where it is put.
//!
//! One seed feeds everything, through streams with names and numbers: the delay of the 17th segment from n1 to n2 depends
//! on the seed and on `("delay", 1, 2, 17)`, on nothing else. So when a fault is taken out of a failing plan, the rest of the
//! world goes on as before, and a shrinker makes progress.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rng::Rng;

/// The streams of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams(u64);

impl Streams {
    /// All streams of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One draw from the stream `name`, at `key`. The same arguments always give the same number.
    pub fn draw(self, name: &str, key: [u64; 3]) -> u64 {
        let mut h = xxh3_64_with_seed(name.as_bytes(), self.0);
        for k in key {
            h = Rng::new(h ^ k).next_u64();
        }
        h
    }

    /// A generator for the stream `name`, at `key`.
    pub fn rng(self, name: &str, key: [u64; 3]) -> Rng {
        Rng::new(self.draw(name, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_all_of_its_key_and_on_nothing_else() {
        let s = Streams::new(7);
        let base = s.draw("delay", [1, 2, 17]);
        assert_eq!(base, s.draw("delay", [1, 2, 17]));
        let others = [
            Streams::new(8).draw("delay", [1, 2, 17]),
            s.draw("loss", [1, 2, 17]),
            s.draw("delay", [2, 1, 17]),
            s.draw("delay", [1, 2, 18]),
        ];
        assert!(others.iter().all(|o| *o != base));
    }
}
