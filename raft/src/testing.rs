//! One core under a microscope: inputs by hand, effects as lines of text.

use common::entries::{Batch, Entries, EntryKind};
use common::log::LogView;
use common::membership::Membership;
use common::protocol::{Boot, Effect, Effects, Input, Protocol};
use common::types::{LogId, Member, Micros, NodeId};

use crate::config::Config;
use crate::core::{Hard, Raft};
use crate::message::{Answer, Message};

pub(crate) const A: NodeId = NodeId(1);
pub(crate) const B: NodeId = NodeId(2);
pub(crate) const C: NodeId = NodeId(3);
pub(crate) const OBSERVER: NodeId = NodeId(9);

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId::new(term, index)
}

/// A run of `n` entries that begins at `(term, index)`.
pub(crate) fn run(term: u64, index: u64, n: usize) -> Entries {
    let payloads: Vec<String> = (0..n).map(|i| format!("{term}.{}", index + i as u64)).collect();
    Entries::new(id(term, index), EntryKind::Command, Batch::from_payloads(&payloads)).unwrap()
}

/// A log with entries of these terms.
pub(crate) fn log_of(terms: &[u64]) -> LogView {
    let mut log = LogView::new(LogId::ZERO, usize::MAX);
    for (term, index) in terms.iter().zip(1..) {
        log.append(run(*term, index, 1));
    }
    log
}

/// A node, 1 of the voters 1 to 3 unless it observes, and the buffer for its effects.
pub(crate) struct Lab {
    pub(crate) raft: Raft,
    fx: Effects<Raft>,
    pub(crate) now: Micros,
}

impl Lab {
    pub(crate) fn new(terms: &[u64]) -> Self {
        Self::with(A, log_of(terms), LogId::ZERO, Config::default())
    }

    pub(crate) fn with(id: NodeId, log: LogView, snapshot: LogId, config: Config) -> Self {
        let hard = Hard { term: log.last().epoch, ..Hard::default() };
        let membership = (LogId::ZERO, Membership::of_ids([A, B, C]));
        let boot = Boot { id, membership, config, seed: 7, now: Micros(0), hard, snapshot, log };
        Self { raft: Raft::new(boot), fx: Effects::new(true), now: Micros(0) }
    }

    /// With sessions to the other voters.
    pub(crate) fn connected(mut self) -> Self {
        let me = self.raft.id;
        for peer in [A, B, C].into_iter().filter(|p| *p != me) {
            self.step(Input::PeerUp { peer, member: Member::Voter });
        }
        self
    }

    /// Feeds one input; says what the node wants done.
    pub(crate) fn step(&mut self, input: Input<Message>) -> Vec<String> {
        self.raft.step(self.now, input, &mut self.fx);
        self.fx.drain().filter_map(|effect| line(&effect)).collect()
    }

    pub(crate) fn hear(&mut self, from: NodeId, message: Message) -> Vec<String> {
        self.step(Input::Message { from, message })
    }

    /// Lets time pass and wakes the node if it wanted to be.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<String> {
        self.now = self.now.after(Micros::from_millis(ms));
        if self.raft.wake_at().is_some_and(|at| at <= self.now) { self.step(Input::Tick) } else { Vec::new() }
    }

    /// AppendEntries of a leader: `entries` follow `prev`.
    pub(crate) fn append(
        &mut self,
        from: NodeId,
        term: u64,
        prev: LogId,
        commit: u64,
        run: Option<Entries>,
    ) -> Vec<String> {
        self.hear(from, Message::AppendEntries { term, prev, commit, round: 0, entries: run.map(Into::into) })
    }

    pub(crate) fn matched(&mut self, from: NodeId, matched: LogId) -> Vec<String> {
        let term = self.raft.hard.term;
        self.hear(from, Message::AppendEntriesReply { term, round: 0, answer: Answer::Matched(matched) })
    }

    pub(crate) fn durable(&mut self) -> Vec<String> {
        let upto = self.raft.log.last();
        self.step(Input::Durable { upto })
    }

    pub(crate) fn propose(&mut self, commands: &[&str]) -> Vec<String> {
        self.step(Input::Propose { batch: Batch::from_payloads(commands) })
    }

    /// Makes the node leader of the next term, by B's vote. What it does at that is returned.
    pub(crate) fn lead(&mut self) -> Vec<String> {
        self.pass(400);
        let term = self.raft.hard.term + 1;
        self.hear(B, Message::PreVoteReply { term, granted: true });
        self.step(Input::HardSaved);
        self.hear(B, Message::RequestVoteReply { term, granted: true })
    }
}

/// An effect as one line; trace events are left out.
fn line(effect: &Effect<Raft>) -> Option<String> {
    Some(match effect {
        Effect::Send { to, message } => format!("{to}: {message:?}"),
        Effect::Disconnect { peer, reason } => format!("disconnect {peer}: {reason}"),
        Effect::Append(run) => format!("append {}..{}", run.first(), run.last()),
        Effect::Truncate { after } => format!("truncate after {after}"),
        Effect::SaveHard(hard) => format!("save {hard:?}"),
        Effect::Commit { upto } => format!("commit {upto}"),
        Effect::Accepted { first, last } => format!("accepted {first}..{last}"),
        Effect::Refused(refusal) => format!("refused: {refusal}"),
        Effect::ReadReady { id, at } => format!("read {id} at {at}"),
        Effect::ReadFailed { id, reason } => format!("read {id} failed: {reason}"),
        Effect::TransferAnswer { id, answer: Ok(to) } => format!("transfer {id} is over: {to} leads"),
        Effect::TransferAnswer { id, answer: Err(why) } => format!("transfer {id} failed: {why}"),
        Effect::ChangeAnswer { id, answer: Ok(at) } => format!("change {id} is over at {at}"),
        Effect::ChangeAnswer { id, answer: Err(None) } => format!("change {id}: nobody knows"),
        Effect::ChangeAnswer { id, answer: Err(Some(why)) } => format!("change {id} failed: {why}"),
        Effect::Fetch { peer, after, .. } => format!("fetch for {peer} after {after}"),
        Effect::ReadSnapshot { peer, snapshot, offset, .. } => {
            let snapshot = snapshot.map_or("newest".to_owned(), |s| s.to_string());
            format!("read snapshot {snapshot} for {peer} from {offset}")
        }
        Effect::WriteSnapshot(chunk) => format!("write snapshot {} {}..{}", chunk.snapshot, chunk.offset, chunk.end()),
        Effect::InstallSnapshot { snapshot, keep_tail: true } => format!("install {snapshot}, keep the tail"),
        Effect::InstallSnapshot { snapshot, keep_tail: false } => format!("install {snapshot}, drop the log"),
        Effect::Halt(why) => format!("halt: {why}"),
        Effect::Trace(_) => return None,
    })
}
