//! The commands that look at nodes: who leads, how far everyone is, what is in the log.

use common::client::wire::NodeStatus;
use common::status::{PeerStatus, Status, SyncReport};
use common::types::{LogId, NodeId, Role};
use serde_json::{Map, Value, json};

use super::Link;
use super::members::{members_json, standing};
use super::render::{self, id, id_json, table, table_text};
use crate::cli::{Exit, Fail, Protocol, Ui};

/// A node's answer, or why there is none.
#[derive(Clone, Debug)]
pub(crate) struct StatusRow {
    pub(crate) protocol: Protocol,
    pub(crate) addr: String,
    pub(crate) status: Result<NodeStatus, String>,
}

pub(super) async fn status(links: &[Link], ui: Ui) -> anyhow::Result<Exit> {
    let mut rows = Vec::new();
    for link in links {
        rows.extend(link.rows().await);
    }
    for row in &rows {
        if ui.json {
            ui.json_line(&row.json())?;
        }
    }
    if !ui.json {
        ui.line(status_table(&rows))?;
    }
    let answered = rows.iter().filter(|r| r.status.is_ok()).count();
    if answered == 0 {
        return Err(Fail::new(Exit::NothingRan, format!("none of {} nodes answered", rows.len()))
            .hint("is the cluster running? `duet cluster` starts one")
            .into());
    }
    Ok(Exit::Good)
}

/// Every node in one table.
pub(crate) fn status_table(rows: &[StatusRow]) -> String {
    status_columns(rows, |_| true)
}

/// The same without the columns that seldom change, so that it fits most terminals.
pub(crate) fn live_table(rows: &[StatusRow]) -> String {
    status_columns(rows, |name| !matches!(name, "ADDRESS" | "MEMBER" | "DURABLE" | "SNAPSHOT"))
}

fn status_columns(rows: &[StatusRow], shown: impl Fn(&str) -> bool) -> String {
    let epoch = match rows.first().map(|r| r.protocol) {
        Some(first) if rows.iter().all(|r| r.protocol == first) => first.epoch_word().to_uppercase(),
        _ => "TERM/EPOCH".into(),
    };
    #[rustfmt::skip]
    let names = [
        "PROTOCOL", "NODE", "ADDRESS", "MEMBER", "ROLE", "PHASE", "LEADER", &epoch, "LAST", "DURABLE", "COMMITTED", "APPLIED",
        "SNAPSHOT", "STATE",
    ];
    let mut t = table(&names.into_iter().filter(|n| shown(n)).collect::<Vec<_>>());
    for row in rows {
        let cells = match &row.status {
            Ok(s) => status_cells(row, s),
            // In the last column, which need not be as wide as its neighbours in other rows.
            Err(why) => {
                let mut cells = vec!["?".to_owned(); names.len()];
                (cells[0], cells[2], cells[names.len() - 1]) =
                    (row.protocol.to_string(), row.addr.clone(), why.clone());
                if !shown("ADDRESS") {
                    cells[1].clone_from(&row.addr);
                }
                cells
            }
        };
        t.add_row(names.into_iter().zip(cells).filter(|(name, _)| shown(name)).map(|(_, cell)| cell));
    }
    table_text(&t)
}

fn status_cells(row: &StatusRow, s: &NodeStatus) -> Vec<String> {
    let c = &s.core;
    let at = |at: LogId| id(row.protocol, at);
    let mut cells = vec![
        row.protocol.to_string(),
        c.id.to_string(),
        row.addr.clone(),
        standing(&c.membership, c.id).into(),
        c.role.to_string(),
        c.phase.clone(),
        c.leader.map_or("-".into(), |l| l.to_string()),
        c.epoch.to_string(),
    ];
    cells.extend([c.last, c.durable, c.committed, c.applied, c.snapshot].map(at));
    // Enough of the hash to see whether two nodes that applied the same have the same state.
    cells.push(format!("{:016x}", s.state_hash)[..8].to_owned());
    cells
}

impl StatusRow {
    /// The row as JSON.
    pub(crate) fn json(&self) -> Value {
        let s = match &self.status {
            Ok(s) => s,
            Err(why) => return json!({"protocol": self.protocol, "address": self.addr, "error": why}),
        };
        let c = &s.core;
        let at = |at: LogId| id_json(self.protocol, at);
        let hard: Map<String, Value> = c.hard.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
        let counters: Map<String, Value> = s.counters.iter().map(|(k, v)| (k.clone(), (*v).into())).collect();
        json!({
            "protocol": self.protocol, "address": self.addr, "id": c.id,
            "member": standing(&c.membership, c.id), "role": c.role,
            "phase": c.phase, "leader": c.leader, "epoch": c.epoch, "hard": hard, "base": at(c.base), "last": at(c.last),
            "durable": at(c.durable), "committed": at(c.committed), "applied": at(c.applied),
            "snapshot": at(c.snapshot), "state_hash": format!("{:016x}", s.state_hash), "sessions": s.sessions,
            "counters": counters, "membership": members_json(self.protocol, c),
        })
    }
}

/// The node which leads with the highest epoch: one that was deposed may not know it yet.
pub(crate) fn leader_of(rows: &[StatusRow]) -> Option<(&StatusRow, &NodeStatus)> {
    let answered = rows.iter().filter_map(|r| Some((r, r.status.as_ref().ok()?)));
    answered.filter(|(_, s)| s.core.role == Role::Leading).max_by_key(|(_, s)| s.core.epoch)
}

/// The node that knows best who belongs to the cluster: the leader, or else who has seen most committed.
pub(crate) fn knower_of(rows: &[StatusRow]) -> Option<&NodeStatus> {
    let answered = rows.iter().filter_map(|r| r.status.as_ref().ok());
    leader_of(rows).map(|(_, s)| s).or_else(|| answered.max_by_key(|s| (s.core.membership_at, s.core.committed)))
}

pub(super) async fn leader(links: &[Link], ui: Ui) -> anyhow::Result<Exit> {
    for link in links {
        let (addr, s) = link.leading().await?;
        let (protocol, c) = (link.protocol(), &s.core);
        if ui.json {
            ui.json_line(&json!({"protocol": protocol, "leader": c.id, "address": addr, "epoch": c.epoch}))?;
        } else {
            ui.line(format!("{protocol} {} {addr} {} {}", c.id, protocol.epoch_word(), c.epoch))?;
        }
    }
    Ok(Exit::Good)
}

pub(super) async fn peers(links: &[Link], ui: Ui) -> anyhow::Result<Exit> {
    let mut t =
        table(&["PROTOCOL", "PEER", "MEMBER", "LINK", "STATE", "HAS", "NEEDS AFTER", "WAITS FOR", "LAST CATCH-UP"]);
    for link in links {
        let (_, s) = link.leading().await?;
        for peer in &s.core.peers {
            if ui.json {
                ui.json_line(&peer_json(link.protocol(), &s.core, peer))?;
            } else {
                t.add_row(peer_cells(link.protocol(), &s.core, peer));
            }
        }
    }
    if !ui.json {
        ui.line(table_text(&t))?;
    }
    Ok(Exit::Good)
}

fn peer_cells(protocol: Protocol, leader: &Status, p: &PeerStatus) -> Vec<String> {
    vec![
        protocol.to_string(),
        p.id.to_string(),
        standing(&leader.membership, p.id).into(),
        if p.connected { "up" } else { "down" }.into(),
        p.state.clone(),
        id(protocol, p.has),
        id(protocol, p.sent),
        p.paused.clone().unwrap_or_else(|| "-".into()),
        p.sync.as_ref().map_or("-".into(), |s| sync_text(protocol, s)),
    ]
}

fn sync_text(protocol: Protocol, s: &SyncReport) -> String {
    let took = s.took_us.map_or("under way".into(), |us| format!("{}.{} ms", us / 1000, us % 1000 / 100));
    let (from, to) = (id(protocol, s.from), id(protocol, s.to));
    format!("{} {from} -> {to}, {} entries, {} bytes, {took}", s.kind, s.entries, s.bytes)
}

fn peer_json(protocol: Protocol, leader: &Status, p: &PeerStatus) -> Value {
    let at = |at: LogId| id_json(protocol, at);
    let sync = p.sync.as_ref().map(|s| {
        json!({"kind": s.kind, "from": at(s.from), "to": at(s.to), "entries": s.entries, "bytes": s.bytes, "took_us": s.took_us})
    });
    json!({
        "protocol": protocol, "leader": leader.id, "id": p.id, "member": standing(&leader.membership, p.id),
        "connected": p.connected,
        "state": p.state, "has": at(p.has), "sent": at(p.sent), "paused": p.paused, "sync": sync,
    })
}

pub(super) async fn transfer(link: &Link, ui: Ui, to: Option<u64>) -> anyhow::Result<Exit> {
    let leader = link.transfer(to.map(NodeId)).await?;
    if ui.json {
        ui.json_line(&json!({"protocol": link.protocol(), "transferred": true, "leader": leader}))?;
    } else {
        ui.line(format!("{leader} leads now"))?;
    }
    ui.next(&[("who leads now", "duet ctl leader".into())]);
    Ok(Exit::Good)
}

pub(super) async fn log(link: &Link, ui: Ui, mut after: LogId, max: u32) -> anyhow::Result<Exit> {
    let protocol = link.protocol();
    let mut t = table(&["ID", "BYTES", "ENTRY"]);
    let mut left = max;
    while left > 0 {
        // A node gives fewer at a time than one may ask for.
        let lines = link.log(after, left).await?;
        let Some(last) = lines.last().map(|l| l.id) else { break };
        for line in &lines {
            let (text, object) = render::entry(protocol, line);
            if ui.json {
                ui.json_line(&object)?;
            } else {
                t.add_row([id(protocol, line.id), line.payload.len().to_string(), text]);
            }
        }
        after = last;
        left = left.saturating_sub(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    }
    if !ui.json {
        ui.line(table_text(&t))?;
    }
    if left == 0 {
        ui.say(format!("{max} entries shown; go on with --after {}", id(protocol, after)));
    }
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::types::Member;

    fn row(protocol: Protocol, id: u64) -> StatusRow {
        let at = LogId::new(1, 7);
        let core = Status {
            protocol: protocol.to_string(),
            id: NodeId(id),
            member: Member::Voter,
            role: if id == 1 { Role::Leading } else { Role::Following },
            phase: "broadcast".into(),
            leader: Some(NodeId(1)),
            epoch: 1,
            hard: vec![("acceptedEpoch".into(), "1".into())],
            base: LogId::ZERO,
            last: at,
            durable: at,
            committed: at,
            applied: at,
            snapshot: LogId::ZERO,
            membership: common::membership::Membership::of_ids([NodeId(1), NodeId(2)]),
            membership_at: LogId::ZERO,
            peers: Vec::new(),
        };
        let status = NodeStatus { core, state_hash: 0xabcd, sessions: 2, counters: vec![("fsyncs".into(), 3)] };
        StatusRow { protocol, addr: format!("h:{id}"), status: Ok(status) }
    }

    #[test]
    fn a_node_that_does_not_answer_has_a_row_which_says_why() {
        let dead = StatusRow { status: Err("refused".into()), ..row(Protocol::Zab, 2) };
        let rows = [row(Protocol::Zab, 1), dead];
        let table = status_table(&rows);
        let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[0][7], "EPOCH");
        assert_eq!(lines[1][..3], ["zab", "n1", "h:1"]);
        assert_eq!((lines[1][8], lines[1][13]), ("0x100000007", "00000000"));
        assert_eq!((lines[2][2], lines[2][13]), ("h:2", "refused"));
        let live = live_table(&rows);
        assert!(!live.contains("ADDRESS") && live.contains("h:2") && live.contains("refused"), "{live}");
        assert!(live.lines().all(|l| l.len() <= 100), "{live}");
    }

    #[test]
    fn the_leader_with_the_highest_epoch_counts() {
        let mut newer = row(Protocol::Raft, 1);
        newer.status.as_mut().unwrap().core.epoch = 2;
        let rows = [row(Protocol::Raft, 1), newer, row(Protocol::Raft, 2)];
        assert_eq!(leader_of(&rows).unwrap().1.core.epoch, 2);
        assert!(leader_of(&rows[2..]).is_none());
    }

    #[test]
    fn a_row_in_json_names_every_field() {
        let json = row(Protocol::Zab, 1).json();
        assert_eq!(json["committed"], json!({"epoch": 1, "counter": 7, "text": "0x100000007"}));
        assert_eq!((&json["hard"]["acceptedEpoch"], &json["counters"]["fsyncs"]), (&json!("1"), &json!(3)));
        assert_eq!((&json["state_hash"], &json["role"]), (&json!("000000000000abcd"), &json!("leading")));
    }
}
