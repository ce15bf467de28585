//! `duet ctl member`: who belongs to the cluster, and changing that while it works.

use clap::Subcommand;
use common::membership::{MAX_ADDRESS, MemberChange, Membership};
use common::quorum::{Change, MAX_GROUPS, MAX_WEIGHT, Share};
use common::status::Status;
use common::types::{LogId, NodeId};
use serde_json::{Value, json};

use super::Link;
use super::render::{id, id_json, table, table_text};
use crate::cli::{Exit, Fail, Protocol, Ui, check_addr};

const EXAMPLES: &str = "\
Examples:
  duet ctl member list
  duet ctl member add 4=10.0.0.4:7001        node 4 is told everything, and does not count
  duet ctl member promote 4                  now it votes
  duet ctl member remove 1
  duet ctl member replace 1 4                the last two in one change
  duet ctl member change --voter 4,5,6 --remove 1,2,3      any number at once
  duet ctl member weight 1=2 5=0             node 1 counts twice; node 5 never, and is never elected
  duet ctl member weight 1=1@1 2=1@1 3=1@2 4=1@2 5=1@3     three groups, of which two are needed

How a node joins: start it with an id that nobody has, as an observer that listens, then add and promote it.
  duet node --id 4 --member observer --peer-listen 10.0.0.4:7001 --voters 1=10.0.0.1:7001,… --data /var/lib/duet/n4";

const AFTER: &str = "\
A change is tried until it is made or --timeout is over: while another one is under way, while a node is not connected, and
while it lacks too much of the log to become a voter. Exit code 3 when it cannot be told whether it was made.
Nodes of ZAB are as their settings say; it refuses changes.";

/// What one can ask about members.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = AFTER)]
pub(super) struct Args {
    #[command(subcommand)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum Ask {
    /// Show who votes and who learns, where they accept peers, and since which entry
    List,
    /// Let nodes belong, as learners: they are told everything and do not count
    Add {
        /// Who, and where they accept peers
        #[arg(required = true, value_name = "ID=HOST:PORT", value_parser = parse_placed)]
        nodes: Vec<Seat>,
    },
    /// Make voters of learners
    Promote {
        /// Who
        #[arg(required = true, value_name = "ID", value_parser = parse_id)]
        ids: Vec<NodeId>,
    },
    /// Make learners of voters
    Demote {
        /// Who
        #[arg(required = true, value_name = "ID", value_parser = parse_id)]
        ids: Vec<NodeId>,
    },
    /// Let nodes belong no more; stop them afterwards
    Remove {
        /// Who
        #[arg(required = true, value_name = "ID", value_parser = parse_id)]
        ids: Vec<NodeId>,
    },
    /// Put a voter in the place of another, in one change: for a new one that runs and is nearly level
    Replace {
        /// Who goes
        #[arg(value_name = "OLD", value_parser = parse_id)]
        old: NodeId,
        /// Who comes; with its address if it is no learner yet
        #[arg(value_name = "NEW[=HOST:PORT]", value_parser = parse_seat)]
        new: Seat,
    },
    /// Say how much voters count: more than half of the weight in more than half of the groups is a quorum
    Weight {
        /// Who, how much from 0 (never counted, never elected) to 1000, and in which group from 0 to 15 if in another one
        #[arg(required = true, value_name = "ID=WEIGHT[@GROUP]", value_parser = parse_weight)]
        weights: Vec<Weighed>,
    },
    /// Several at once: from the old voters to the new ones in one step, with a quorum of each until it is done
    Change {
        /// Make these voters; with an address if they are new, or are elsewhere now
        #[arg(long, value_name = "ID[=HOST:PORT]", value_delimiter = ',', value_parser = parse_seat)]
        voter: Vec<Seat>,
        /// Make these learners, likewise
        #[arg(long, value_name = "ID[=HOST:PORT]", value_delimiter = ',', value_parser = parse_seat)]
        learner: Vec<Seat>,
        /// Let these belong no more
        #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = parse_id)]
        remove: Vec<NodeId>,
        /// Let these voters, old or new, count so much; a new one counts 1 in group 0 otherwise
        #[arg(long, value_name = "ID=WEIGHT[@GROUP]", value_delimiter = ',', value_parser = parse_weight)]
        weight: Vec<Weighed>,
    },
}

/// A voter, and what it is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weighed {
    id: NodeId,
    weight: u32,
    group: Option<u32>,
}

/// A node, perhaps with its address for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seat {
    id: NodeId,
    address: Option<String>,
}

fn parse_id(text: &str) -> Result<NodeId, String> {
    let id = text.trim().trim_start_matches('n').parse::<u64>().ok().filter(|id| *id > 0);
    id.map(NodeId).ok_or_else(|| format!("`{text}` is no node: expected a number from 1 on"))
}

fn parse_seat(text: &str) -> Result<Seat, String> {
    let Some((id, address)) = text.split_once('=') else { return Ok(Seat { id: parse_id(text)?, address: None }) };
    let (id, address) = (parse_id(id)?, address.trim());
    check_addr(address)?;
    if address.ends_with(":0") {
        return Err("its port must be known beforehand, 0 is not".into());
    }
    if address.len() > MAX_ADDRESS {
        return Err(format!("the address has {} bytes, at most {MAX_ADDRESS} are allowed", address.len()));
    }
    Ok(Seat { id, address: Some(address.to_owned()) })
}

fn parse_weight(text: &str) -> Result<Weighed, String> {
    let (id, rest) = text.split_once('=').ok_or("expected ID=WEIGHT or ID=WEIGHT@GROUP, as in 4=2@1")?;
    let (weight, group) = rest.split_once('@').map_or((rest, None), |(weight, group)| (weight, Some(group)));
    let number = |what: &str, text: &str, most: u32| {
        let read = text.trim().parse::<u32>().ok().filter(|n| *n <= most);
        read.ok_or_else(|| format!("`{text}` is no {what}: expected a number from 0 to {most}"))
    };
    Ok(Weighed {
        id: parse_id(id)?,
        weight: number("weight", weight, MAX_WEIGHT.into())?,
        group: group.map(|group| number("group", group, u32::from(MAX_GROUPS) - 1)).transpose()?,
    })
}

fn parse_placed(text: &str) -> Result<Seat, String> {
    let seat = parse_seat(text)?;
    if seat.address.is_some() { Ok(seat) } else { Err("expected ID=HOST:PORT, as in 4=10.0.0.4:7001".into()) }
}

impl Ask {
    /// What is to be changed, in order; nothing for a look.
    fn changes(&self) -> Vec<MemberChange> {
        let make = |change, address: &Option<String>| MemberChange { change, address: address.clone() };
        let voter = |s: &Seat| make(Change::Voter(s.id), &s.address);
        let learner = |s: &Seat| make(Change::Learner(s.id), &s.address);
        let plain = |change| make(change, &None);
        let weigh = |w: &Weighed| plain(Change::Weight { id: w.id, weight: w.weight, group: w.group });
        match self {
            Self::List => Vec::new(),
            Self::Add { nodes } => nodes.iter().map(learner).collect(),
            Self::Promote { ids } => ids.iter().map(|id| plain(Change::Voter(*id))).collect(),
            Self::Demote { ids } => ids.iter().map(|id| plain(Change::Learner(*id))).collect(),
            Self::Remove { ids } => ids.iter().map(|id| plain(Change::Remove(*id))).collect(),
            Self::Replace { old, new } => vec![voter(new), plain(Change::Remove(*old))],
            Self::Weight { weights } => weights.iter().map(weigh).collect(),
            Self::Change { voter: voters, learner: learners, remove, weight: weights } => {
                let gone = remove.iter().map(|id| plain(Change::Remove(*id)));
                let seats = voters.iter().map(voter).chain(learners.iter().map(learner));
                seats.chain(gone).chain(weights.iter().map(weigh)).collect()
            }
        }
    }

    /// What the words say and the change alone would not: that somebody is a voter already, or is none.
    fn check(&self, now: &Membership) -> Result<(), Fail> {
        let votes = |id: &NodeId| now.configuration.votes(*id);
        let belongs = |id: &NodeId| now.configuration.members().contains(id);
        let wrong = |text: String, hint: &str| Err(Fail::new(Exit::CheckFailed, text).hint(hint));
        match self {
            Self::Add { nodes } => match nodes.iter().find(|s| votes(&s.id)) {
                Some(Seat { id, .. }) => wrong(
                    format!("member add: {id} votes already; nothing was changed"),
                    "`duet ctl member demote` makes a learner of it, `duet ctl member change --voter ID=HOST:PORT` tells where it is now",
                ),
                None => Ok(()),
            },
            Self::Promote { ids } | Self::Demote { ids } => match ids.iter().find(|id| !belongs(id)) {
                Some(id) => wrong(
                    format!("{id} does not belong to the cluster; nothing was changed"),
                    "`duet ctl member add ID=HOST:PORT` adds it, `duet ctl member list` shows who belongs",
                ),
                None => Ok(()),
            },
            Self::Replace { old, .. } if !votes(old) => {
                wrong(format!("{old} is no voter; nothing was changed"), "`duet ctl member list` shows who is")
            }
            _ => Ok(()),
        }
    }
}

/// Runs `duet ctl member` with one cluster.
pub(super) async fn run(link: &Link, ui: Ui, args: &Args) -> anyhow::Result<Exit> {
    let changes = args.ask.changes();
    if matches!(args.ask, Ask::List) {
        show(link.protocol(), &link.knowing(LogId::ZERO).await?, ui)?;
        return Ok(Exit::Good);
    }
    if changes.is_empty() {
        return Err(Fail::usage("member change: expected --voter, --learner, --remove or --weight").into());
    }
    if link.protocol() == Protocol::Raft {
        args.ask.check(&link.knowing(LogId::ZERO).await?.membership)?;
    }
    let at = link.change(changes).await?;
    show(link.protocol(), &link.knowing(at.unwrap_or_default()).await?, ui)?;
    match at {
        Some(at) => ui.say(format!("changed by {}", id(link.protocol(), at))),
        None => ui.say("nothing had to be changed"),
    }
    ui.next(&[("how far everyone is", "duet ctl status".into())]);
    Ok(Exit::Good)
}

/// What a node is to its cluster, in a word.
pub(super) fn standing(membership: &Membership, id: NodeId) -> &'static str {
    let c = &membership.configuration;
    let (now, before) = (c.voters().contains(id), c.outgoing().contains(id));
    match (now, before) {
        (true, false) if c.is_joint() => "voter (coming)",
        (true, _) => "voter",
        (false, true) if c.learners_next().contains(&id) => "voter (then learner)",
        (false, true) => "voter (leaving)",
        (false, false) if c.learners().contains(&id) => "learner",
        (false, false) => "observer",
    }
}

/// What a member counts: by the new voters of two sets that are joint, if it is among them. None for who does not vote.
fn share(membership: &Membership, id: NodeId) -> Option<Share> {
    let c = &membership.configuration;
    c.voters().share(id).or_else(|| c.outgoing().share(id))
}

/// The members, as JSON.
pub(crate) fn members_json(protocol: Protocol, s: &Status) -> Value {
    let m = &s.membership;
    let one = |id: NodeId| {
        let (weight, group) = share(m, id).map(|s| (s.weight, s.group)).unzip();
        let address = m.addresses.get(&id);
        json!({"id": id, "member": standing(m, id), "address": address, "weight": weight, "group": group})
    };
    let members: Vec<Value> = m.configuration.members().into_iter().map(one).collect();
    let since = (s.membership_at > LogId::ZERO).then(|| id_json(protocol, s.membership_at));
    json!({"joint": m.configuration.is_joint(), "since": since, "members": members})
}

/// The members in one line, if an entry of the log says who they are.
pub(crate) fn members_line(protocol: Protocol, s: &Status) -> Option<String> {
    let since = (s.membership_at > LogId::ZERO).then(|| id(protocol, s.membership_at))?;
    Some(format!("{protocol} members since {since}: {}", s.membership))
}

fn show(protocol: Protocol, s: &Status, ui: Ui) -> anyhow::Result<()> {
    if ui.json {
        let mut object = members_json(protocol, s);
        object["protocol"] = json!(protocol);
        object["asked"] = json!(s.id);
        object["leader"] = json!(s.leader);
        return ui.json_line(&object);
    }
    let m = &s.membership;
    // Where all count the same there is nothing to say about it.
    let weighed = !(m.configuration.voters().is_plain() && m.configuration.outgoing().is_plain());
    let mut heads = vec!["PROTOCOL", "NODE", "MEMBER", "ADDRESS", "LEADS"];
    heads.extend(["WEIGHT", "GROUP"].iter().filter(|_| weighed));
    let mut t = table(&heads);
    for member in m.configuration.members() {
        let mut row = vec![
            protocol.to_string(),
            member.to_string(),
            standing(m, member).to_owned(),
            m.addresses.get(&member).cloned().unwrap_or_else(|| "-".into()),
            if s.leader == Some(member) { "yes" } else { "" }.to_owned(),
        ];
        if weighed {
            let counts = share(m, member).map(|s| [s.weight.to_string(), s.group.to_string()]);
            row.extend(counts.unwrap_or_else(|| ["-".to_owned(), "-".to_owned()]));
        }
        t.add_row(row);
    }
    ui.line(table_text(&t))?;
    if m.configuration.is_joint() {
        ui.say("joint: everything takes a quorum of the old voters and one of the new ones");
    }
    let since = match s.membership_at {
        LogId::ZERO => "as the settings, or a snapshot, say".to_owned(),
        at => format!("since {}", id(protocol, at)),
    };
    ui.say(format!("{since}; asked of {}", s.id));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(text: &str) -> Seat {
        parse_seat(text).unwrap()
    }

    #[test]
    fn nodes_are_read_with_and_without_addresses() {
        assert_eq!(seat("4=h:1"), Seat { id: NodeId(4), address: Some("h:1".into()) });
        assert_eq!(seat("n4"), Seat { id: NodeId(4), address: None });
        for (bad, why) in
            [("0", "from 1 on"), ("x=h:1", "no node"), ("4=h", "port is missing"), ("4=h:0", "beforehand")]
        {
            assert!(parse_seat(bad).unwrap_err().contains(why), "{bad}");
        }
        assert!(parse_placed("4").unwrap_err().contains("ID=HOST:PORT"));
    }

    #[test]
    fn a_replacement_is_one_joint_change() {
        let three = Membership::of([1, 2, 3].map(|n| (NodeId(n), format!("h{n}:1"))).into());
        let ask = Ask::Replace { old: NodeId(1), new: seat("4=h4:1") };
        ask.check(&three).unwrap();
        let joint = three.with(&ask.changes()).unwrap();
        let words = |m: &Membership| [1, 2, 4, 9].map(|n| standing(m, NodeId(n)));
        assert_eq!(words(&joint), ["voter (leaving)", "voter", "voter (coming)", "observer"]);
        assert_eq!(words(&joint.leave_joint().unwrap()), ["observer", "voter", "voter", "observer"]);
    }

    #[test]
    fn weights_are_read_and_shown() {
        let read = |text: &str| parse_weight(text).map(|w| (w.id.0, w.weight, w.group));
        assert_eq!((read("4=2"), read("n4=0@15")), (Ok((4, 2, None)), Ok((4, 0, Some(15)))));
        for (bad, why) in [
            ("4", "ID=WEIGHT@GROUP"),
            ("0=1", "from 1 on"),
            ("4=", "`` is no weight: expected a number from 0 to 1000"),
            ("4=1001", "`1001` is no weight"),
            ("4=1@16", "`16` is no group: expected a number from 0 to 15"),
            ("4=1@", "no group"),
        ] {
            assert!(read(bad).unwrap_err().contains(why), "{bad}");
        }
        let three = Membership::of([1, 2, 3].map(|n| (NodeId(n), format!("h{n}:1"))).into());
        let ask = Ask::Change {
            voter: vec![seat("4=h4:1")],
            learner: vec![],
            remove: vec![NodeId(3)],
            weight: vec![parse_weight("4=5@1").unwrap()],
        };
        let joint = three.with(&ask.changes()).unwrap();
        assert_eq!(joint.to_string(), "voters=(1 2 4*5@1)&&(1 2 3) autoleave");
        let counts = [1, 3, 4, 9].map(|n| share(&joint, NodeId(n)).map(|s| (s.weight, s.group)));
        assert_eq!(counts, [Some((1, 0)), Some((1, 0)), Some((5, 1)), None]);
    }

    #[test]
    fn words_that_do_not_fit_are_refused_before_anything_is_asked() {
        let three = Membership::of([1, 2, 3].map(|n| (NodeId(n), format!("h{n}:1"))).into());
        let no = |ask: Ask| ask.check(&three).unwrap_err().to_string();
        assert!(no(Ask::Add { nodes: vec![seat("1=h:1")] }).contains("n1 votes already"));
        assert!(no(Ask::Promote { ids: vec![NodeId(4)] }).contains("n4 does not belong"));
        assert!(no(Ask::Replace { old: NodeId(4), new: seat("5=h:1") }).contains("n4 is no voter"));
        let four = three.with(&Ask::Add { nodes: vec![seat("4=h:1")] }.changes()).unwrap();
        assert_eq!(standing(&four, NodeId(4)), "learner");
        Ask::Promote { ids: vec![NodeId(4)] }.check(&four).unwrap();
    }
}
