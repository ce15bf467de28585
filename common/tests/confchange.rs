//! etcd's data-driven cases for quorums and changes of membership, against our arithmetic. They come with the package
//! `raft` (TiKV's port of etcd's), from where they are read; nothing of it is built here.
//!
//! One thing is left out, and counted: where nobody votes, etcd says that every election is won and every index committed,
//! which makes its joint arithmetic shorter. Here nobody is elected and nothing committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::quorum::{Change, ChangeRefusal, Configuration, Vote, Voters};
use common::types::NodeId;

/// The sources of the package.
fn sources() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // It is an optional dependency.
    let asked = Command::new(cargo).args(["metadata", "--format-version", "1", "--all-features"]).output();
    let asked = asked.expect("cargo runs");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    // This workspace has one of the same name.
    let theirs = |p: &&serde_json::Value| p["name"] == "raft" && !p["source"].is_null();
    let package = packages.iter().find(theirs).expect("the package `raft` is a dependency");
    Path::new(package["manifest_path"].as_str().expect("a path")).with_file_name("src")
}

/// One case: a command, its arguments, the lines below it, and what must come of it.
#[derive(Debug, Default)]
struct Case {
    place: String,
    command: String,
    args: BTreeMap<String, Vec<String>>,
    input: String,
    expected: String,
}

/// `cmd key=value key=(a, b)`, more lines, `----`, the outcome, an empty line.
fn cases(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).expect("a file of cases");
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("{}:{}", file.file_name().unwrap_or_default().display(), number + 1);
        let (command, args) = line.split_once(' ').unwrap_or((line, ""));
        let mut case = Case { place, command: command.to_owned(), args: arguments(args), ..Case::default() };
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "----") {
            case.input += line;
            case.input.push(' ');
        }
        for (_, line) in lines.by_ref().take_while(|(_, line)| !line.trim().is_empty()) {
            case.expected += line;
            case.expected.push('\n');
        }
        cases.push(case);
    }
    cases
}

fn arguments(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut args = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((key, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('(') {
            Some(list) => list.split_once(')').expect("a list ends"),
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        let values = value.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect();
        args.insert(key.trim().to_owned(), values);
        rest = after.trim();
    }
    args
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = sources().join(folder).join("testdata");
    let entries = std::fs::read_dir(&folder).expect("the cases are in the package");
    let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

/// `v1 l2 r3`.
fn changes(text: &str) -> Vec<Change> {
    let change = |word: &str| {
        let id = NodeId(word[1..].parse().expect("a node's number"));
        match word.as_bytes()[0] {
            b'v' => Change::Voter(id),
            b'l' => Change::Learner(id),
            b'r' => Change::Remove(id),
            _ => panic!("a change: {word}"),
        }
    };
    text.split_whitespace().map(change).collect()
}

/// In etcd's words.
fn words(refusal: ChangeRefusal, command: &str) -> &'static str {
    match refusal {
        ChangeRefusal::Joint if command == "simple" => "can't apply simple config change in joint config",
        ChangeRefusal::Joint => "config is already joint",
        ChangeRefusal::NotJoint => "can't leave a non-joint config",
        ChangeRefusal::NoVoters => "can't make a zero-voter config joint",
        ChangeRefusal::LastVoter => "removed all voters",
        ChangeRefusal::TooMany { .. } => "more than one voter changed without entering joint config",
        // There are no weights in etcd, nor in its commands.
        ChangeRefusal::Unequal
        | ChangeRefusal::NoWeight
        | ChangeRefusal::NotVoter(_)
        | ChangeRefusal::Weight { .. }
        | ChangeRefusal::Group { .. } => panic!("{command}: {refusal}"),
    }
}

#[test]
fn changes_of_membership_are_made_and_refused_as_in_etcd() {
    let mut seen = 0;
    for file in files("confchange") {
        let mut now = Configuration::default();
        // When each member was first known: the number of the case, which etcd shows as its next index.
        let mut since: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (number, case) in cases(&file).into_iter().enumerate() {
            let auto_leave = case.args.get("autoleave").is_some_and(|v| v == &["true"]);
            let wanted = changes(&case.input);
            let made = match case.command.as_str() {
                "simple" => now.simple(&wanted),
                "enter-joint" => now.enter_joint(auto_leave, &wanted),
                "leave-joint" => now.leave_joint(),
                other => panic!("{}: {other}", case.place),
            };
            let said = match made {
                Err(refusal) => format!("{}\n", words(refusal, &case.command)),
                Ok(made) => {
                    let members = made.members();
                    since.retain(|id, _| members.contains(id));
                    let mut said = format!("{made}\n");
                    for id in members {
                        let next = *since.entry(id).or_insert(number);
                        let learner = if made.learners().contains(&id) { " learner" } else { "" };
                        let _ = writeln!(said, "{}: StateProbe match=0 next={next}{learner}", id.0);
                    }
                    now = made;
                    said
                }
            };
            assert_eq!(said, case.expected, "{}: {case:?}", case.place);
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} cases");
    println!("{seen} cases of changes");
}

/// The two sets, and what is said of each voter, in the order in which they are named; `_` says nothing.
fn voters(case: &Case, says: &str) -> (Vec<u64>, Vec<u64>, BTreeMap<NodeId, String>) {
    let list = |key: &str| case.args.get(key).cloned().unwrap_or_default();
    let ids = |key: &str| list(key).iter().filter_map(|id| id.parse().ok()).collect::<Vec<u64>>();
    let (new, old) = (ids("cfg"), ids("cfgj"));
    let mut said = BTreeMap::new();
    let mut values = list(says).into_iter();
    for id in new.iter().chain(&old).copied().map(NodeId) {
        if let std::collections::btree_map::Entry::Vacant(place) = said.entry(id) {
            place.insert(values.next().unwrap_or_else(|| panic!("{}: something of everyone", case.place)));
        }
    }
    assert_eq!(values.next(), None, "{}: more than there are voters", case.place);
    said.retain(|_, value| value != "_");
    (new, old, said)
}

/// The joint configuration of these two, if there are two.
fn configuration(new: &[u64], old: &[u64]) -> Configuration {
    let ids = |list: &[u64]| list.iter().copied().map(NodeId).collect::<Vec<_>>();
    if old.is_empty() {
        return Configuration::new(ids(new), []);
    }
    let changes: Vec<Change> = ids(new)
        .into_iter()
        .map(Change::Voter)
        .chain(ids(old).into_iter().filter(|id| !new.contains(&id.0)).map(Change::Remove))
        .collect();
    Configuration::new(ids(old), []).enter_joint(false, &changes).expect("both have voters")
}

#[test]
fn quorums_are_counted_as_in_etcd() {
    let (mut seen, mut nobody) = (0, 0);
    for case in files("quorum").iter().flat_map(|file| cases(file)) {
        let says = if case.command == "vote" { "votes" } else { "idx" };
        // Groups are a thing of TiKV's own.
        if case.command == "group_committed" || case.expected.starts_with("error") {
            continue;
        }
        let (new, old, said) = voters(&case, says);
        if new.is_empty() {
            assert!(old.is_empty(), "{}: {case:?}", case.place);
            nobody += 1;
            continue;
        }
        let mut both = vec![configuration(&new, &old)];
        if old.is_empty() {
            both.push(configuration(&new, &new));
        } else {
            both.push(configuration(&old, &new));
        }
        for now in both {
            let answer = match case.command.as_str() {
                "committed" => now.reached(|id| said.get(&id).map_or(0, |n| n.parse().expect("an index"))).to_string(),
                "vote" => match now.vote(|id| said.get(&id).map(|vote| vote == "y")) {
                    Vote::Won => "VoteWon".to_owned(),
                    Vote::Lost => "VoteLost".to_owned(),
                    Vote::Pending => "VotePending".to_owned(),
                },
                other => panic!("{}: {other}", case.place),
            };
            assert_eq!(Some(answer.as_str()), case.expected.lines().last(), "{}: {now} {case:?}", case.place);
        }
        if old.is_empty() && case.command == "committed" {
            let alone = Voters::new(new.iter().copied().map(NodeId));
            let reached = alone.reached(|id| said.get(&id).map_or(0, |n| n.parse::<u64>().expect("an index")));
            assert_eq!(Some(reached.to_string().as_str()), case.expected.lines().last(), "{}", case.place);
        }
        seen += 1;
    }
    assert!(seen > 90 && nobody < 5, "{seen} cases, {nobody} in which nobody votes");
    println!("{seen} cases of quorums; {nobody} left out, in which nobody votes");
}
