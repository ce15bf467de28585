//! Two nodes that change places in one session: what was said in the old roles must not count in the new ones.

use common::log::LogView;
use common::membership::Membership;
use common::protocol::{Boot, Effect, Effects, Input, Protocol};
use common::types::{LogId, Member, Micros, NodeId};
use zab::{Config, Hard, Message, NodeState, Notification, Vote, Zab, Zxid};

const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

struct Node {
    core: Zab,
    fx: Effects<Zab>,
}

impl Node {
    /// A voter of three that has just begun to follow `C`, and has sent its first FOLLOWERINFO.
    fn that_follows_c() -> Self {
        let core = Zab::new(Boot {
            id: NodeId(1),
            membership: (LogId::ZERO, Membership::of_ids([NodeId(1), B, C])),
            config: Config::default(),
            seed: 1,
            now: Micros(0),
            hard: Hard::default(),
            snapshot: LogId::ZERO,
            log: LogView::new(LogId::ZERO, 1 << 20),
        });
        let mut node = Self { core, fx: Effects::new(false) };
        let vote = Vote { peer_epoch: 0, zxid: LogId::ZERO, votes: true, leader: C };
        for peer in [B, C] {
            node.step(Input::PeerUp { peer, member: Member::Voter });
        }
        for from in [B, C] {
            let round = 1;
            let message = Message::Notification(Notification {
                state: NodeState::Looking,
                round,
                vote: Some(vote),
                members: Zxid::ZERO,
            });
            node.step(Input::Message { from, message });
        }
        let sent = node.of_c(Message::Notification(Notification {
            state: NodeState::Leading,
            round: 1,
            vote: Some(vote),
            members: Zxid::ZERO,
        }));
        assert!(sent.is_empty(), "{sent:?}");
        node
    }

    /// What it says and asks for, in words.
    fn step(&mut self, input: Input<Message>) -> Vec<String> {
        self.core.step(Micros(1), input, &mut self.fx);
        self.core.check().unwrap();
        let word = |effect: Effect<Zab>| match effect {
            Effect::Send { to, message } => Some(format!("to {to}: {message:?}")),
            Effect::Disconnect { peer, reason } => Some(format!("ends the session with {peer}: {reason}")),
            Effect::SaveHard(hard) => Some(format!("saves {hard:?}")),
            _ => None,
        };
        self.fx.drain().filter_map(word).collect()
    }

    fn of_c(&mut self, message: Message) -> Vec<String> {
        self.step(Input::Message { from: C, message })
    }
}

/// Found by seed 18710: the leader of epoch 11 follows one of its followers into epoch 12, and an ACK of epoch 11, under
/// way since before, reaches it when it has just asked to follow.
#[test]
fn what_a_leader_said_as_a_follower_means_nothing() {
    let mut node = Node::that_follows_c();
    let attempt = 1;
    let stale = [
        Message::Ack { attempt, zxid: LogId::new(11, 99) },
        Message::AckEpoch { attempt, current_epoch: 10, last_zxid: LogId::new(10, 5), already_accepted: false },
        Message::Received { attempt, weight: 197 },
        Message::Request { attempt, token: 1, plain: false },
    ];
    for message in stale {
        let shown = format!("{message:?}");
        assert_eq!(node.of_c(message), Vec::<String>::new(), "{shown}");
    }
    // An echo looks like a leader's PING. It is answered, and the answer proves nothing of any round.
    assert_eq!(node.of_c(Message::Ping { attempt, round: 92, round_trip_us: 0 }), ["to n3: PING #1 round 0"]);
    let saved = node.of_c(Message::LeaderInfo { attempt, epoch: 1, voter: true, leader: C });
    assert_eq!(saved, ["saves Hard { accepted_epoch: 1, current_epoch: 0 }"]);
    // From here on it is the leader that speaks.
    assert_eq!(node.of_c(Message::Ping { attempt, round: 3, round_trip_us: 0 }), ["to n3: PING #1 round 3"]);
    let broke = node.of_c(Message::Ack { attempt, zxid: LogId::new(11, 99) });
    assert!(broke.contains(&"ends the session with n3: a message that leaders do not send".to_owned()), "{broke:?}");
}
