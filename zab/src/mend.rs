//! Starting again without entries that were acknowledged (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based
//! Storage", FAST 2018).
//!
//! Storage has found the log damaged, while the epochs are whole, and kept what it can vouch for. This node had said that it
//! has the rest, so leaders may have committed by it. It is *mending*: it takes no part in elections and its promise is not
//! counted, until it has the history of an epoch that was begun without it.
//!
//! | rule | what breaks without it |
//! | --- | --- |
//! | a mark beside the epochs, durable before the log is cut | a crash in between, and the node votes by what is left |
//! | it stays over restarts until the node is healed | likewise, one start later |
//! | it gives no vote, for itself or another | a leader is looked for whom nobody can be sure of; discovery fails each time |
//! | FOLLOWERINFO says so, and its ACKEPOCH is not counted | an epoch begins without what was committed with this node's help |
//! | its ACK of NEWLEADER and of proposals is counted | nothing is lost; it would cost the quorum a node for longer |
//! | healed together with currentEpoch: the history of the epoch is durable here, and in the same write the mark goes | it is counted while it lacks what was committed long ago |
//!
//! Why that is enough. Let `z` be committed by a quorum that counts this node for what it has lost. A leader begins an epoch
//! with a quorum of promises without this node's. That quorum shares a node with the one behind `z`, and it is another than
//! this one: it had `z` when it promised, so the leader has it in the history that it hands over with NEWLEADER. Raft must
//! raise the term besides, since a leader there goes on counting what a follower once acknowledged. Here a leader forgets it
//! with the session, and counts what is acknowledged in the new one.
//!
//! With the epochs lost the promises are forgotten, and with the whole disk both: such a node must come back under another id.
//! While a quorum of voters is mending no epoch can begin, and nobody is healed. That is so by intent: what was committed may
//! be on none of the others.

use common::mutant;

use crate::core::{Hard, Local};
use crate::reconfig::may_stand;

/// What to save before a damaged log is cut.
pub(crate) fn marked(hard: Hard) -> Hard {
    Hard { mending: true, ..hard }
}

impl Local {
    /// Whether this node takes part in elections: it votes, as far as it knows, and is not mending.
    pub(crate) fn stands(&self) -> bool {
        may_stand(&self.members, self.id) && (!self.hard.mending || mutant!("Z57"))
    }

    /// The history of `epoch` is durable here: what to save for that.
    pub(crate) fn epoch_reached(&self, epoch: u64) -> Hard {
        if mutant!("Z67") {
            return Hard { accepted_epoch: self.hard.current_epoch, current_epoch: epoch, mending: false };
        }
        Hard { accepted_epoch: self.hard.accepted_epoch.max(epoch), current_epoch: epoch, mending: false }
    }
}
