//! Clients: what they say to a node, and the library that says it.

pub mod wire;
