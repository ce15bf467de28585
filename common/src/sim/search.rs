//! A second judge of what clients were answered, in some worlds: the [search](crate::check) for an order of all operations,
//! which knows nothing of the log and of the places in it. The [witness](super::witness) judges every world, and is quicker, but
//! it believes the places that answers name; a mistake in it shows here.

use super::subject::{Subject, Violation};
use super::world::World;
use crate::check::{Limits, Model, Report, Verdict, check};

/// One world in so many is judged this way.
const ONE_IN: u64 = 20;
/// The most operations of a history; the rest of a longer run is left out.
pub(super) const OPERATIONS: usize = 1 << 17;
/// A key that takes more is given up: a second or two.
const LIMITS: Limits = Limits { steps: 2_000_000, remembered: 1 << 16 };

impl<P: Subject> World<'_, P> {
    /// Whether this world is one of those. That is a matter of its seed alone.
    pub(super) fn is_searched(&self) -> bool {
        self.streams.draw("search", [0; 3]).is_multiple_of(ONE_IN)
    }

    /// C-LIN, by a search.
    pub(super) fn search(&mut self) {
        match check(Model::Kv, &self.clients.history().to_check(), &LIMITS) {
            Ok(Report { verdict: Verdict::Linearizable, .. }) => self.counts.searched += 1,
            Ok(Report { verdict: Verdict::Unknown { key, keys }, .. }) => {
                let key = String::from_utf8_lossy(&key);
                self.notes.push(format!("the search for an order gave up {keys} keys, of them {key}"));
            }
            Ok(Report { verdict: Verdict::NotLinearizable(offence), .. }) => {
                let (key, n) = (String::from_utf8_lossy(&offence.key), offence.operations.len());
                let what = format!("a search finds no order of {n} operations of the key {key}");
                self.judge(Err(Violation::new("C-LIN", what)));
            }
            Err(error) => self.judge(Err(Violation::new("C-LIN", format!("the history of clients is none: {error}")))),
        }
    }
}
