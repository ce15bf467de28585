//! Others' protocols, given the same case as ours, each configured as its authors do.

pub(crate) mod omni;
pub(crate) mod tikv;

/// How each is set up, for the reader of the figures.
pub(crate) const SETTINGS: &[&str] = &[
    "raft, zab: this repository, default configurations; the leader is given a batch as one proposal",
    tikv::SETTINGS,
    omni::SETTINGS,
    "openraft has no core without a runtime around it: see peers_clusters",
];
