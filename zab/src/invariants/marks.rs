//! The branches worth reaching: a simulation counts them, and one that never reaches some of them proves little there.

/// Every mark that this crate's code can hit, in order.
pub(super) const MARKS: &[&str] = &[
    "zab/broadcast#commit",
    "zab/broadcast#ping",
    "zab/core#append",
    "zab/core#save",
    "zab/core#truncate",
    "zab/election#look",
    "zab/election#vote",
    "zab/recovery#decide",
    "zab/recovery#enter",
    "zab/recovery#follow",
    "zab/recovery#installed",
    "zab/recovery#lead",
];
