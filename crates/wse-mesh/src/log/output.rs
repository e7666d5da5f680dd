//! What the machine answers.

use std::sync::Arc;

use wse_core::history::{Epoch, Position};

use super::ring::Message;
use crate::ids::{NodeId, Session};
use crate::wire::Kind;

/// The bytes of a frame, shared when several nodes get the same.
pub type Payload = Arc<Vec<u8>>;

/// Consecutive messages of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of all of them.
    pub epoch: Epoch,
    /// Of the first.
    pub first: u64,
    /// What they say.
    pub messages: Vec<Message>,
    /// When they were stamped, by the clock of this node.
    pub at_ms: Vec<u64>,
}

/// Messages that the subscribers of this node will not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where they stood; `None` if they were never told.
    pub after: Option<Position>,
    /// How many messages are missing, if that can be known. 0 means that only the epoch is another.
    pub missed: Option<u64>,
    /// Where they stand now.
    pub next: Position,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// A frame for a peer.
    Send {
        /// To whom.
        to: NodeId,
        /// On this link and no other.
        session: Session,
        /// Of this kind.
        kind: Kind,
        /// For the topic field of the frame; empty when it is about several.
        topic: Arc<str>,
        /// For the payload.
        payload: Payload,
    },
    /// Committed messages for all subscribers that were answered, in order.
    Deliver {
        /// Where.
        topic: Arc<str>,
        /// What.
        run: Run,
    },
    /// All subscribers that were answered miss something. What comes next comes after `next`.
    Gap {
        /// Where.
        topic: Arc<str>,
        /// What.
        gap: Gap,
    },
    /// A subscriber is one from here on: it gets the replay, then what is delivered later.
    Answer {
        /// Where.
        topic: Arc<str>,
        /// Of [`Logs::recover`](super::Logs::recover).
        token: u64,
        /// Whether the home has answered for it. If not, it gets what comes, and a [`Gap`] tells when its place is known.
        confirmed: bool,
        /// Whether the replay goes on without a gap from the position that was given.
        recovered: bool,
        /// Where the stream stands after the replay; `None` if it is not known yet.
        position: Option<Position>,
        /// What was missed. Before each run whose epoch is another than the message's before it, the subscriber is told of the new epoch, and so
        /// it is at the end when `position` has another.
        replay: Vec<Run>,
    },
    /// A publication is stored.
    Stored {
        /// Where.
        topic: Arc<str>,
        /// Of [`Logs::publish`](super::Logs::publish).
        token: u64,
        /// Its place; `None` when it was stored so long ago that nobody knows.
        position: Option<Position>,
        /// On how many nodes.
        copies: u8,
    },
    /// Messages are committed in a log that is kept here, as home or replica. Said only if that is [wanted](super::Logs::announce_commits).
    Committed {
        /// Where.
        topic: Arc<str>,
        /// After which.
        after: Position,
        /// Up to this offset.
        upto: u64,
        /// This node is home.
        is_home: bool,
    },
    /// A home says that there are messages after a position, for whoever has patterns for the topic.
    Hinted {
        /// Where.
        topic: Arc<str>,
        /// After which.
        position: Position,
    },
    /// Messages of a branch that did not become the cluster's: for the list of dead letters.
    Dropped {
        /// Where.
        topic: Arc<str>,
        /// Which.
        runs: Vec<Run>,
    },
    /// Nobody needs the log of a topic any more, whose home was this node: it is forgotten, up to this position, which is unknown from now on.
    Discarded {
        /// Which.
        topic: Arc<str>,
        /// Its end.
        upto: Position,
    },
    /// Nobody needs this node any more.
    Left,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages stamped here.
    pub stamped: u64,
    /// Messages delivered to this node's subscribers.
    pub delivered: u64,
    /// Publications sent again.
    pub resent: u64,
    /// Topics taken over by this node.
    pub taken: u64,
    /// Topics that this node was home of and is no more.
    pub stepped_down: u64,
    /// Logs sent to replicas.
    pub replica_syncs: u64,
    /// Logs sent to followers.
    pub follower_syncs: u64,
    /// Questions for entries that were not here.
    pub fetches: u64,
    /// Gaps told to subscribers, those of a mere change of epoch not counted.
    pub gaps: u64,
    /// Messages of dropped branches.
    pub dropped: u64,
    /// Subscribers that were answered without their home.
    pub unconfirmed: u64,
    /// Peers whose queue overflowed.
    pub congested: u64,
    /// Logs that nobody needed any more, forgotten by their home, which was this node.
    pub discarded: u64,
    /// Logs whose messages were given up since all together were too many bytes.
    pub evicted: u64,
}
