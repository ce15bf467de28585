//! A node's settings: flags over environment over a TOML file over defaults.
//!
//! [`Settings`] is the schema; [`layers`] puts it together from its sources and knows, for every mistake, where it was
//! made. What is not in the schema is refused: a misspelt limit which quietly keeps its default is the worst setting.

pub mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use common::node::ReplicaConfig;
use common::storage::{StorageConfig, StorageError};
use common::types::{Member, NodeId};
use serde::{Deserialize, Serialize};

use crate::cli::{Protocol, check_addr};

pub use layers::{Layers, Setting};

/// Everything `duet node` can be told. Field names are those of the TOML file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The cluster's name: nodes of another name are turned away.
    pub cluster: String,
    /// What the node speaks.
    pub protocol: Protocol,
    /// Its id, at least 1.
    pub id: u64,
    /// `voter` or `observer`. A voter's id is in `voters`, an observer's is not.
    pub member: Member,
    /// Where it listens for peers. A voter's default is its own address in `voters`; an observer's is nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_listen: Option<String>,
    /// Where it listens for clients; port 0 takes a free one.
    pub client_listen: String,
    /// The folder of its log and snapshots. No default: nobody wants two nodes in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// A file for its trace, in the format `trace/1`. Without it nothing is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
    /// For randomised time-outs; without it each start has its own. At most 2^63 - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Every voter's id and peer address.
    pub voters: BTreeMap<String, String>,
    /// Observers' ids and peer addresses, for observers that are fed by some of them (`zab.sources`). May be the same on all nodes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observers: BTreeMap<String, String>,
    /// Raft's timers and limits. A node that speaks ZAB does not look at them.
    pub raft: raft::Config,
    /// ZAB's timers and limits. A node that speaks Raft does not look at them.
    pub zab: zab::Config,
    /// What the replica holds back, and how much.
    pub replica: ReplicaConfig,
    /// The log's and the snapshots' files.
    pub storage: StorageConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: "duet".into(),
            protocol: Protocol::Raft,
            id: 0,
            member: Member::Voter,
            peer_listen: None,
            client_listen: "127.0.0.1:0".into(),
            data: None,
            trace: None,
            seed: None,
            voters: BTreeMap::new(),
            observers: BTreeMap::new(),
            raft: raft::Config::default(),
            zab: zab::Config::default(),
            replica: ReplicaConfig::default(),
            storage: StorageConfig::default(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value}: {allowed}")]
pub struct Invalid {
    /// Which, by its TOML name.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

fn invalid(field: impl Into<String>, value: impl std::fmt::Display, allowed: impl Into<String>) -> Invalid {
    Invalid { field: field.into(), value: value.to_string(), allowed: allowed.into() }
}

/// The settings of a node that may start: whatever could be checked without touching the machine was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// As they were given.
    pub settings: Settings,
    /// Who it is.
    pub id: NodeId,
    /// Who votes, and where.
    pub voters: BTreeMap<NodeId, String>,
    /// Where observers are.
    pub observers: BTreeMap<NodeId, String>,
    /// Where it listens for peers. None: an observer that nobody connects to.
    pub peer_listen: Option<String>,
    /// Its folder.
    pub data: PathBuf,
}

impl Settings {
    /// Checks what can be checked without touching the machine.
    ///
    /// # Errors
    /// The first setting that cannot be used, with its value and what it may be.
    pub fn check(self) -> Result<Checked, Invalid> {
        if self.id == 0 {
            return Err(invalid("id", self.id, "must be a number from 1 on, different for every node of the cluster"));
        }
        check_cluster_name(&self.cluster)?;
        let id = NodeId(self.id);
        let (voters, observers) = self.check_addresses()?;
        self.check_membership(id, &voters)?;
        let peer_listen = self.peer_listen.clone().or_else(|| voters.get(&id).cloned());
        if let Some(addr) = &peer_listen {
            check_addr(addr).map_err(|why| invalid("peer_listen", addr, format!("{why}; must be {ADDR}")))?;
        }
        let client = &self.client_listen;
        check_addr(client).map_err(|why| invalid("client_listen", client, format!("{why}; must be {ADDR}")))?;
        if Some(client) == peer_listen.as_ref() && !client.ends_with(":0") {
            return Err(invalid("client_listen", client, "must differ from peer_listen, which has the same value"));
        }
        let data = self.data.clone().filter(|d| !d.as_os_str().is_empty());
        let data = data.ok_or_else(|| invalid("data", "(not set)", "must be a folder for this node alone"))?;
        if let Some(seed) = self.seed.filter(|s| i64::try_from(*s).is_err()) {
            return Err(invalid("seed", seed, "must be at most 9223372036854775807"));
        }
        self.check_limits()?;
        Ok(Checked { settings: self, id, voters, observers, peer_listen, data })
    }

    /// Those of both protocols: a mistake in the table that is not used today is one tomorrow.
    fn check_limits(&self) -> Result<(), Invalid> {
        self.raft
            .validate()
            .map_err(|e| invalid(format!("raft.{}", e.field), e.value, format!("must be {}", e.allowed)))?;
        self.zab
            .validate()
            .map_err(|e| invalid(format!("zab.{}", e.field), e.value, format!("must be {}", e.allowed)))?;
        let replica = self.replica.validate();
        replica.map_err(|e| invalid(format!("replica.{}", e.field), e.value, format!("must be {}", e.allowed)))?;
        match self.storage.validate() {
            Err(StorageError::Config { field, value, allowed }) => {
                Err(invalid(format!("storage.{field}"), value, format!("must be {allowed}")))
            }
            Err(other) => Err(invalid("storage", "(these values)", other.to_string())),
            Ok(()) => Ok(()),
        }
    }

    fn check_addresses(&self) -> Result<(Addresses, Addresses), Invalid> {
        const SHAPE: &str = "to its peer address, as in 1 = \"10.0.0.1:7001\"";
        if self.voters.is_empty() {
            return Err(invalid("voters", "(empty)", format!("must map each voter's id {SHAPE}")));
        }
        let mut taken = BTreeMap::new();
        let mut read = |what: &str, table: &BTreeMap<String, String>| {
            let mut addresses = Addresses::new();
            for (key, addr) in table {
                let field = format!("{what}s.{key}");
                let id: u64 = key.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
                    let allowed = format!(
                        "`{key}` is no node id (a number from 1 on); {what}s must map each {what}'s id {SHAPE}"
                    );
                    invalid(&field, format!("\"{addr}\""), allowed)
                })?;
                check_addr(addr)
                    .map_err(|why| invalid(&field, format!("\"{addr}\""), format!("{why}; must be {ADDR}")))?;
                if addr.ends_with(":0") {
                    return Err(invalid(&field, addr, "its port must be known beforehand, 0 is not"));
                }
                if let Some(other) = taken.insert(addr.clone(), format!("{what} {id}")) {
                    return Err(invalid(&field, addr, format!("must differ from the address of {other}")));
                }
                if addresses.insert(NodeId(id), addr.clone()).is_some() {
                    return Err(invalid(&field, addr, format!("{what} {id} is given twice; each id once")));
                }
            }
            Ok(addresses)
        };
        let (voters, observers) = (read("voter", &self.voters)?, read("observer", &self.observers)?);
        match observers.iter().find(|(id, _)| voters.contains_key(id)) {
            Some((id, addr)) => {
                let allowed = format!("{} is one of the voters; an id is in one of the two tables", id.0);
                Err(invalid(format!("observers.{}", id.0), addr, allowed))
            }
            None => Ok((voters, observers)),
        }
    }

    fn check_membership(&self, id: NodeId, voters: &BTreeMap<NodeId, String>) -> Result<(), Invalid> {
        let ids: Vec<String> = voters.keys().map(|v| v.0.to_string()).collect();
        match (self.member, voters.contains_key(&id)) {
            (Member::Voter, false) => Err(invalid(
                "id",
                id.0,
                format!(
                    "a voter's id must be one of the voters ({}); an observer sets member = \"observer\"",
                    ids.join(", ")
                ),
            )),
            (Member::Observer, true) => Err(invalid(
                "id",
                id.0,
                format!("an observer's id must differ from every voter's ({})", ids.join(", ")),
            )),
            _ => Ok(()),
        }
    }

    /// The settings as a TOML file that gives them again.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }
}

const ADDR: &str = "HOST:PORT";

/// Where nodes are.
type Addresses = BTreeMap<NodeId, String>;

fn check_cluster_name(name: &str) -> Result<(), Invalid> {
    let allowed: BTreeSet<char> = "-_.".chars().collect();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(&c));
    if name.is_empty() || name.len() > 64 || !plain {
        let what = "must be 1 to 64 letters, digits, '-', '_' or '.'";
        return Err(invalid("cluster", format!("\"{name}\""), what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn good() -> Settings {
        let voters = [("1", "h:7001"), ("2", "h:7002"), ("3", "h:7003")];
        Settings {
            id: 1,
            data: Some("d".into()),
            voters: voters.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..Settings::default()
        }
    }

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut s = good();
        change(&mut s);
        s.check().unwrap_err().to_string()
    }

    #[test]
    fn good_settings_pass_and_a_voter_listens_where_its_peers_look() {
        let checked = good().check().unwrap();
        assert_eq!((checked.id, checked.peer_listen.as_deref(), checked.voters.len()), (NodeId(1), Some("h:7001"), 3));
    }

    #[test]
    fn every_refusal_names_field_value_and_what_is_allowed() {
        assert!(refused(|s| s.id = 0).starts_with("id = 0: must be a number from 1 on"));
        assert!(refused(|s| s.id = 9).contains("id = 9: a voter's id must be one of the voters (1, 2, 3)"));
        assert!(refused(|s| s.member = Member::Observer).contains("must differ from every voter's (1, 2, 3)"));
        assert!(refused(|s| s.voters.clear()).starts_with("voters = (empty): must map"));
        assert!(refused(|s| s.cluster = "a b".into()).contains("cluster = \"a b\": must be 1 to 64"));
        assert!(refused(|s| s.client_listen = "h".into()).contains("client_listen = h: the port is missing"));
        assert!(refused(|s| s.client_listen = "h:7001".into()).contains("must differ from peer_listen"));
        assert!(refused(|s| s.peer_listen = Some("h:x".into())).contains("peer_listen = h:x: `x` is no port"));
        assert!(refused(|s| s.data = None).contains("data = (not set)"));
        assert!(refused(|s| s.raft.heartbeat_ms = 0).starts_with("raft.heartbeat_ms = 0: must be between 1"));
        assert!(refused(|s| s.zab.ping_interval_ms = 0).starts_with("zab.ping_interval_ms = 0: must be from 1"));
        assert!(refused(|s| s.replica.batch_entries = 0).starts_with("replica.batch_entries = 0: must be at least 1"));
        assert!(refused(|s| s.storage.segment_bytes = 1).starts_with("storage.segment_bytes = 1: must be 4096 to"));
        assert!(refused(|s| s.seed = Some(u64::MAX)).contains("seed = 18446744073709551615: must be at most"));
        let voter = |key: &'static str, addr: &'static str| refused(|s| _ = s.voters.insert(key.into(), addr.into()));
        assert!(voter("x", "h:1").contains("voters.x = \"h:1\": `x` is no node id"));
        assert!(voter("01", "h:1").contains("given twice"));
        assert!(voter("4", "h:7001").contains("must differ from the address of voter 1"));
        assert!(voter("4", "h:0").contains("must be known beforehand"));
        assert!(voter("4", "nowhere").contains("voters.4 = \"nowhere\": the port is missing; must be HOST:PORT"));
        let observer = |key: &'static str, addr: &'static str| {
            refused(|s| s.observers = [(key.to_owned(), addr.to_owned())].into())
        };
        assert!(observer("x", "h:1").contains("observers must map each observer's id to its peer address"));
        assert!(observer("4", "h:7001").contains("observers.4 = h:7001: must differ from the address of voter 1"));
        assert!(observer("2", "h:8").contains("observers.2 = h:8: 2 is one of the voters"));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let s = good();
        assert_eq!(toml::from_str::<Settings>(&s.to_toml().unwrap()).unwrap(), s);
    }
}
