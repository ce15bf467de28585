//! The bugs that can be seeded in this crate. Each is in the shipped code at the place of the rule it breaks, and is
//! compiled with the feature `mutants` only.

use common::mutant::Mutant;

/// Every seeded bug.
pub const MUTANTS: &[Mutant] = &[];
