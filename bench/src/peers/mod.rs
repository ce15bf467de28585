//! Other systems, run beside Duet on the same work: as their authors recommend, with their durability on.

pub mod zookeeper;
