//! A cluster to talk to: `raft://host:port,host:port` or `zab://…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Raft (Ongaro and Ousterhout, 2014).
    Raft,
    /// ZooKeeper Atomic Broadcast (Junqueira, Reed and Serafini, 2011).
    Zab,
}

impl Protocol {
    /// Both, in the order they are shown everywhere.
    pub const ALL: [Self; 2] = [Self::Raft, Self::Zab];

    /// What it calls a leader's reign: `term` or `epoch`.
    pub const fn epoch_word(self) -> &'static str {
        match self {
            Self::Raft => "term",
            Self::Zab => "epoch",
        }
    }

    /// `raft` or `zab`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Zab => "zab",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A protocol, and the client addresses of some nodes that speak it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What they speak.
    pub protocol: Protocol,
    /// `host:port` each; at least one.
    pub addrs: Vec<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.addrs.join(","))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        const WANTED: &str = "expected raft://HOST:PORT[,HOST:PORT…] or zab://HOST:PORT[,HOST:PORT…]";
        let (scheme, rest) = s.split_once("://").ok_or_else(|| format!("`{s}` names no protocol; {WANTED}"))?;
        let protocol = Protocol::ALL
            .into_iter()
            .find(|p| p.name() == scheme)
            .ok_or_else(|| format!("`{scheme}` is no protocol; {WANTED}"))?;
        let addrs: Vec<String> = rest.trim_end_matches('/').split(',').map(|a| a.trim().to_owned()).collect();
        for addr in &addrs {
            check_addr(addr).map_err(|why| format!("`{addr}` in `{s}`: {why}; {WANTED}"))?;
        }
        Ok(Self { protocol, addrs })
    }
}

/// Whether `addr` reads as `host:port`. Says why not.
pub fn check_addr(addr: &str) -> Result<(), String> {
    let (host, port) = addr.rsplit_once(':').ok_or("the port is missing")?;
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err("an IPv6 address stands in brackets, as in [::1]:4000".into());
    }
    if host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err("a host has no spaces or slashes".into());
    }
    port.parse::<u16>().map(|_| ()).map_err(|_| format!("`{port}` is no port (0 to 65535)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_as_it_prints() {
        for text in ["raft://127.0.0.1:4001,localhost:4002", "zab://[::1]:7"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_target_says_what_is_wrong() {
        for (text, part) in [
            ("127.0.0.1:4001", "names no protocol"),
            ("paxos://a:1", "`paxos` is no protocol"),
            ("raft://", "the port is missing"),
            ("raft://a:1,", "the port is missing"),
            ("raft://:1", "the host is missing"),
            ("zab://a:70000", "`70000` is no port"),
            ("zab://::1:7", "brackets"),
        ] {
            let why = text.parse::<Target>().unwrap_err();
            assert!(why.contains(part) && why.contains("expected raft://"), "{text}: {why}");
        }
    }
}
