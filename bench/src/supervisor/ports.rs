//! Free loopback ports, kept until the node that shall have them is started.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::Fail;

/// A port nobody else gets while this is held.
#[derive(Debug)]
pub(crate) struct Reserved {
    _held: TcpListener,
    pub(crate) addr: String,
}

/// Reserves `n` ports of 127.0.0.1.
///
/// They are taken from below the range from which the kernel gives ports to outgoing connections: a port in that range
/// can be lost to a stranger while its node is down, and a peer that dials the dead node's port over and over can even
/// come to be connected with itself.
pub(crate) fn reserve(n: usize) -> Result<Vec<Reserved>, Fail> {
    let range = below_ephemeral();
    // Different supervisors start at different places, so that they rarely want the same port.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let start = common::rng::Rng::new(u64::from(std::process::id()) << 32 | u64::from(now)).next_u64();
    let mut taken = BTreeSet::new();
    let mut found = Vec::with_capacity(n);
    for i in 0..range.len() as u64 {
        if found.len() == n {
            break;
        }
        let port = range.start + ((start.wrapping_add(i)) % range.len() as u64) as u16;
        if let Some(r) = bind(port).ok().filter(|_| taken.insert(port)) {
            found.push(r);
        }
    }
    while found.len() < n {
        found.push(bind(0).map_err(|e| Fail::environment(format!("no free port on 127.0.0.1: {e}")))?);
    }
    Ok(found)
}

fn bind(port: u16) -> io::Result<Reserved> {
    let held = TcpListener::bind(("127.0.0.1", port))?;
    let addr = held.local_addr()?.to_string();
    Ok(Reserved { _held: held, addr })
}

/// Where to look: a stretch of ports below the outgoing ones, or nothing if there is no room below them.
fn below_ephemeral() -> Range<u16> {
    const LOWEST: u16 = 12_000;
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let low = text.split_whitespace().next().and_then(|w| w.parse().ok()).unwrap_or(32_768);
    LOWEST..low.max(LOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_differ_and_are_held() {
        let ports = reserve(16).unwrap();
        let addrs: BTreeSet<_> = ports.iter().map(|r| r.addr.clone()).collect();
        assert_eq!(addrs.len(), 16);
        for addr in addrs {
            assert_eq!(TcpListener::bind(&addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
