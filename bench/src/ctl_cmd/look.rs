//! The commands that look at nodes: who leads, how far everyone is, what is in the log.

use common::client::wire::NodeStatus;
use common::status::{PeerStatus, SyncReport};
use common::types::{LogId, NodeId, Role};
use serde_json::{Map, Value, json};

use super::Link;
use super::render::{self, id, id_json, member, table, table_text};
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
    let epoch = match rows.first().map(|r| r.protocol) {
        Some(first) if rows.iter().all(|r| r.protocol == first) => first.epoch_word().to_uppercase(),
        _ => "TERM/EPOCH".into(),
    };
    let mut t = table(&[
        "PROTOCOL",
        "NODE",
        "ADDRESS",
        "MEMBER",
        "ROLE",
        "PHASE",
        "LEADER",
        &epoch,
        "LAST",
        "DURABLE",
        "COMMITTED",
        "APPLIED",
        "SNAPSHOT",
        "STATE",
    ]);
    for row in rows {
        let start = [row.protocol.to_string()];
        match &row.status {
            Ok(s) => t.add_row(start.into_iter().chain(status_cells(row, s))),
            // In the last column, which need not be as wide as its neighbours in other rows.
            Err(why) => {
                let unknown = std::iter::repeat_n("?".to_owned(), 10);
                t.add_row(start.into_iter().chain(["?".into(), row.addr.clone()]).chain(unknown).chain([why.clone()]))
            }
        };
    }
    table_text(&t)
}

fn status_cells(row: &StatusRow, s: &NodeStatus) -> Vec<String> {
    let c = &s.core;
    let at = |at: LogId| id(row.protocol, at);
    let mut cells = vec![
        c.id.to_string(),
        row.addr.clone(),
        member(c.member).into(),
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
            "protocol": self.protocol, "address": self.addr, "id": c.id, "member": c.member, "role": c.role,
            "phase": c.phase, "leader": c.leader, "epoch": c.epoch, "hard": hard, "base": at(c.base), "last": at(c.last),
            "durable": at(c.durable), "committed": at(c.committed), "applied": at(c.applied),
            "snapshot": at(c.snapshot), "state_hash": format!("{:016x}", s.state_hash), "sessions": s.sessions,
            "counters": counters,
        })
    }
}

/// The node which leads with the highest epoch: one that was deposed may not know it yet.
pub(crate) fn leader_of(rows: &[StatusRow]) -> Option<(&StatusRow, &NodeStatus)> {
    let answered = rows.iter().filter_map(|r| Some((r, r.status.as_ref().ok()?)));
    answered.filter(|(_, s)| s.core.role == Role::Leading).max_by_key(|(_, s)| s.core.epoch)
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
                ui.json_line(&peer_json(link.protocol(), s.core.id, peer))?;
            } else {
                t.add_row(peer_cells(link.protocol(), peer));
            }
        }
    }
    if !ui.json {
        ui.line(table_text(&t))?;
    }
    Ok(Exit::Good)
}

fn peer_cells(protocol: Protocol, p: &PeerStatus) -> Vec<String> {
    vec![
        protocol.to_string(),
        p.id.to_string(),
        member(p.member).into(),
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

fn peer_json(protocol: Protocol, leader: NodeId, p: &PeerStatus) -> Value {
    let at = |at: LogId| id_json(protocol, at);
    let sync = p.sync.as_ref().map(|s| {
        json!({"kind": s.kind, "from": at(s.from), "to": at(s.to), "entries": s.entries, "bytes": s.bytes, "took_us": s.took_us})
    });
    json!({
        "protocol": protocol, "leader": leader, "id": p.id, "member": p.member, "connected": p.connected,
        "state": p.state, "has": at(p.has), "sent": at(p.sent), "paused": p.paused, "sync": sync,
    })
}

pub(super) async fn transfer(link: &Link, ui: Ui, to: Option<u64>) -> anyhow::Result<Exit> {
    link.transfer(to.map(NodeId)).await?;
    if ui.json {
        ui.json_line(&json!({"protocol": link.protocol(), "transferring": true, "to": to}))?;
    } else {
        ui.line("leadership is being handed over")?;
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
