//! How a client behaves, and what it checks before it starts.

use std::time::Duration;

use super::error::ClientError;

/// Settings of a [`Client`](super::Client).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The nodes' client addresses, `host:port`. At least one; the first is tried first.
    pub addrs: Vec<String>,
    /// The cluster's name; a node of another cluster is not used. None takes any.
    pub cluster: Option<String>,
    /// How long a request may take in all, with all its retries. At least a millisecond.
    pub request_timeout: Duration,
    /// How long setting up a connection may take.
    pub connect_timeout: Duration,
    /// A connection on which something was asked, but nothing answered, for this long is given up and the next node
    /// tried: a leader cut off from its followers still accepts requests. Should be several election time-outs.
    pub stall_timeout: Duration,
    /// The shortest and the longest pause before trying again. Pauses double from one to the other and are
    /// shortened at random by up to a half, so that many clients do not come back at once.
    pub backoff: (Duration, Duration),
    /// Requests under way on the connection, `1..=4096`. Twice as many are taken from callers; the next ones wait.
    pub window: usize,
    /// Whether to look for the leader and stay with it. If not, the client stays with whichever node it reached, which
    /// is what a reader of a follower's or an observer's state wants.
    pub follow_leader: bool,
}

impl ClientConfig {
    /// The usual settings for these addresses: 10 s for a request, 256 under way, with the leader.
    pub fn new<A: Into<String>>(addrs: impl IntoIterator<Item = A>) -> Self {
        Self {
            addrs: addrs.into_iter().map(Into::into).collect(),
            cluster: None,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(2),
            backoff: (Duration::from_millis(10), Duration::from_millis(500)),
            window: 256,
            follow_leader: true,
        }
    }

    /// Whether the settings make sense; the error names the one that does not.
    pub fn validate(&self) -> Result<(), ClientError> {
        let wrong = |field, found: String, allowed| Err(ClientError::Config { field, found, allowed });
        if self.addrs.is_empty() {
            return wrong("addrs", "none".into(), "at least one address");
        }
        if let Some(addr) = self.addrs.iter().find(|a| a.is_empty()) {
            return wrong("addrs", format!("{addr:?}"), "host:port");
        }
        if !(1..=MAX_WINDOW).contains(&self.window) {
            return wrong("window", self.window.to_string(), "1 to 4096");
        }
        let least = Duration::from_millis(1);
        let times = [
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("stall_timeout", self.stall_timeout),
            ("backoff", self.backoff.0),
        ];
        if let Some((field, time)) = times.into_iter().find(|(_, t)| *t < least || *t > MAX_TIME) {
            return wrong(field, format!("{time:?}"), "1 ms to 1 day");
        }
        if self.backoff.1 < self.backoff.0 {
            return wrong("backoff", format!("{:?}", self.backoff), "a longest pause not below the shortest");
        }
        Ok(())
    }
}

/// As many numbers as a session may have open by default; see
/// [`SessionLimits::window`](crate::state_machine::SessionLimits::window).
pub(super) const MAX_WINDOW: usize = 4096;
const MAX_TIME: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named() {
        let good = ClientConfig::new(["a:1"]);
        assert_eq!(good.validate(), Ok(()));
        let field = |c: ClientConfig| match c.validate() {
            Err(ClientError::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(ClientConfig::new::<String>([])), "addrs");
        assert_eq!(field(ClientConfig::new([""])), "addrs");
        assert_eq!(field(ClientConfig { window: 0, ..good.clone() }), "window");
        assert_eq!(field(ClientConfig { window: 4097, ..good.clone() }), "window");
        assert_eq!(field(ClientConfig { request_timeout: Duration::ZERO, ..good.clone() }), "request_timeout");
        let backoff = (Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(field(ClientConfig { backoff, ..good }), "backoff");
    }
}
