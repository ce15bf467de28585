//! `duet ctl`: what one asks a running cluster. The same commands for both protocols.
//!
//! Data goes to stdout: values as lines of text with everything unprintable escaped, tables, or with `--json` one
//! object per line whose field names do not change.

mod data;
mod link;
mod look;
mod members;
pub mod render;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use common::types::LogId;

use crate::cli::{Exit, TargetArgs, Ui, block_on};

pub(crate) use link::Link;
pub(crate) use look::{StatusRow, knower_of, leader_of, live_table};
pub(crate) use members::{members_json, members_line};

const EXAMPLES: &str = "\
Examples:
  duet ctl put colour green                     the cluster of the newest `duet cluster`
  duet ctl get colour --local --node 4          what node 4 has applied, perhaps stale
  duet ctl cas colour blue --expect green       swap, if it is still green
  duet ctl status                               every node, one row each
  duet ctl peers                                what each peer has, needs, and waits for
  duet ctl member list                          who votes, who learns, and where they are
  duet ctl log --after 0x100000003 --json | jq  the log itself
  duet ctl --target zab://10.0.0.1:4001,10.0.0.2:4001 leader";

const AFTER: &str = "\
Exit codes: 1 when the answer is no (no such key, not as expected, refused), 4 when no node answers.
Keys and values are text; --hex reads and prints them as hexadecimal digits.";

/// The arguments of `duet ctl`.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    pub(crate) json: crate::cli::JsonArg,

    /// The cluster.
    #[command(flatten)]
    target: TargetArgs,

    /// Ask this node and no other: its number, or its client address
    #[arg(long, global = true, value_name = "N|HOST:PORT", help_heading = "Which cluster")]
    node: Option<String>,

    /// How long to try
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = parse_timeout)]
    timeout: Duration,

    /// What to ask.
    #[command(subcommand)]
    ask: Ask,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let wanted = "expected a time from 1ms to 1h, as in 500ms or 10s";
    let time = humantime::parse_duration(text).map_err(|e| format!("{e}; {wanted}"))?;
    let range = Duration::from_millis(1)..=Duration::from_hours(1);
    range.contains(&time).then_some(time).ok_or_else(|| wanted.to_owned())
}

/// What one can ask.
#[derive(Debug, Subcommand)]
enum Ask {
    /// Set a key
    Put {
        /// Which
        key: String,
        /// To what; leave it out with --file
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        value: Option<String>,
        /// Take the value from a file as it is; - is stdin
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Key and value are hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Print the value of a key
    Get {
        /// Which
        key: String,
        /// Answer at once from what the node has applied: perhaps stale, never waiting for a quorum
        #[arg(long)]
        local: bool,
        /// Let the leader answer by its lease, if the nodes' settings say how far clocks can be trusted
        #[arg(long, conflicts_with = "local")]
        lease: bool,
        /// Take the leader's word that it leads, as ZooKeeper's sync does: a deposed one may answer. Raft asks a quorum
        #[arg(long, conflicts_with_all = ["local", "lease"])]
        sync: bool,
        /// Print the value as it is: no escapes, no newline
        #[arg(long, conflicts_with_all = ["hex", "json"])]
        raw: bool,
        /// Key and value are hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Remove a key
    Delete {
        /// Which
        key: String,
        /// The key is hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Compare and set: set a key if it holds what is expected
    Cas {
        /// Which
        key: String,
        /// To what
        value: String,
        /// What it must hold
        #[arg(long, value_name = "VALUE", required_unless_present = "absent", conflicts_with = "absent")]
        expect: Option<String>,
        /// It must not exist
        #[arg(long)]
        absent: bool,
        /// Key and values are hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Print keys and values, by key: one pair a line, a tab between them
    List {
        /// Only keys which start so
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many pairs; 0 for all
        #[arg(long, value_name = "N", default_value_t = 1000)]
        max: u64,
        /// Answer from what the node has applied: perhaps stale
        #[arg(long)]
        local: bool,
        /// Let the leader answer by its lease, as for `get`
        #[arg(long, conflicts_with = "local")]
        lease: bool,
        /// Take the leader's word that it leads, as for `get`
        #[arg(long, conflicts_with_all = ["local", "lease"])]
        sync: bool,
        /// Prefix, keys and values are hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Say who leads
    Leader,
    /// Hand leadership over, and wait until another node leads
    Transfer {
        /// To this node; without it the leader chooses
        #[arg(long, value_name = "N")]
        to: Option<u64>,
    },
    /// Append a raw entry: ordered, replicated and stored, not given to the key-value store
    Append {
        /// Its content
        data: String,
        /// The content is hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Show log entries
    Log {
        /// Start after this id: 3/17 (or 3,17) for Raft, 0x300000011 for ZAB
        #[arg(long, value_name = "ID", default_value = "0/0", value_parser = render::parse_id)]
        after: LogId,
        /// At most so many entries
        #[arg(long, value_name = "N", default_value_t = 100)]
        max: u32,
    },
    /// Show what the leader knows of each peer: what it has, what it needs next, and why it waits
    Peers,
    /// Show every node, one row each
    Status,
    /// Show and change who belongs to the cluster
    Member(members::Args),
}

/// Runs `duet ctl`.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<Exit> {
    block_on(async {
        match &args.ask {
            // To look at both clusters of a run side by side is fine; to write to both is not.
            Ask::Leader => look::leader(&args.links().await?, ui).await,
            Ask::Peers => look::peers(&args.links().await?, ui).await,
            Ask::Status => look::status(&args.links().await?, ui).await,
            Ask::Transfer { to } => look::transfer(&args.link().await?, ui, *to).await,
            Ask::Member(member) => members::run(&args.link().await?, ui, member).await,
            Ask::Log { after, max } => look::log(&args.link().await?, ui, *after, *max).await,
            Ask::Put { key, value, file, hex } => {
                let value = data::value(value.as_deref(), file.as_deref(), *hex)?;
                data::put(&args.link().await?, ui, &data::bytes(key, *hex)?, &value).await
            }
            Ask::Get { key, local, lease, sync, raw, hex } => {
                let show = if *raw { data::Show::Raw } else { data::Show::line(*hex) };
                data::get(&args.link().await?, ui, &data::bytes(key, *hex)?, data::mode(*local, *lease, *sync), show)
                    .await
            }
            Ask::Delete { key, hex } => data::delete(&args.link().await?, ui, &data::bytes(key, *hex)?).await,
            Ask::Cas { key, value, expect, hex, .. } => {
                let expected = expect.as_deref().map(|e| data::bytes(e, *hex)).transpose()?;
                let (key, value) = (data::bytes(key, *hex)?, data::bytes(value, *hex)?);
                data::cas(&args.link().await?, ui, &key, expected.as_deref(), &value).await
            }
            Ask::List { prefix, max, local, lease, sync, hex } => {
                let prefix = data::bytes(prefix, *hex)?;
                let mode = data::mode(*local, *lease, *sync);
                data::list(&args.link().await?, ui, &prefix, *max, mode, data::Show::line(*hex)).await
            }
            Ask::Append { data, hex } => data::append(&args.link().await?, ui, &data::bytes(data, *hex)?).await,
        }
    })
}

impl Args {
    async fn link(&self) -> anyhow::Result<Link> {
        Link::open(self.target.one()?, self.node.as_deref(), self.timeout).await
    }

    async fn links(&self) -> anyhow::Result<Vec<Link>> {
        let mut links = Vec::new();
        for target in self.target.all()? {
            links.push(Link::open(target, self.node.as_deref(), self.timeout).await?);
        }
        Ok(links)
    }
}
