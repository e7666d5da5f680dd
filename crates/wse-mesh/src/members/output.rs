//! What membership wants done, and what it tells.

use std::fmt;

use crate::ids::{NodeId, Session};
use crate::view::Standing;
use crate::wire::{Address, Kind};

/// Something to be done by the links, or to be known by the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to an address, resolved now. Within [`DIAL_MS`](super::DIAL_MS) it is answered by `handle_dialled` or `handle_dial_failed`.
    Dial {
        /// Where.
        address: Address,
    },
    /// Send a frame without a topic.
    Send {
        /// On which link.
        session: Session,
        /// What it says.
        kind: Kind,
        /// How.
        payload: Vec<u8>,
    },
    /// Close a link after what was sent on it. It is forgotten here: `handle_closed` need not follow.
    Close {
        /// Which.
        session: Session,
        /// For what reason.
        why: Why,
    },
    /// This is now the link that counts with a node: other machines speak on it.
    Up {
        /// With whom.
        id: NodeId,
        /// Which link.
        session: Session,
        /// What both sides can.
        terms: Terms,
    },
    /// That link counts no more: what was said on it and not acknowledged is void.
    Down {
        /// With whom.
        id: NodeId,
        /// Which link.
        session: Session,
    },
    /// The view is new.
    Changed,
    /// A line for the log.
    Note {
        /// How much it matters.
        level: Level,
        /// The line.
        text: String,
    },
}

/// What two nodes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The version of the protocol that they speak.
    pub version: u64,
    /// What both can: bits like [`ZSTD`](crate::wire::hello::ZSTD).
    pub capabilities: u64,
    /// The longest frame that the other takes.
    pub max_frame: usize,
}

/// Why a link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// This node met itself.
    Myself,
    /// Another link with the same node counts.
    Redundant,
    /// Another cluster, or no common version.
    Foreign,
    /// A frame that can't be.
    Malformed,
    /// Nothing was heard, or the link came to nothing.
    Silent,
    /// The other is dead: it said so, or others did not hear it.
    Dead,
    /// There are too many links or members.
    Full,
    /// This node goes.
    Shutdown,
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// The host answered that nobody listens there.
    Refused,
    /// No way to the host, or no such name.
    Unreachable,
    /// No answer.
    Timeout,
    /// TLS or the secret of the cluster, on either side.
    Denied,
}

impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialFailure::Refused => "nobody listens there",
            DialFailure::Unreachable => "there is no way there, or no such name",
            DialFailure::Timeout => "no answer",
            DialFailure::Denied => "TLS or the secret of the cluster was refused",
        })
    }
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for something.
    Debug,
    /// The cluster changed as it should.
    Info,
    /// Somebody should look.
    Warn,
}

/// A member, as an operator wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub id: NodeId,
    /// Where it listens, if that is known.
    pub address: Option<Address>,
    /// What it counts as.
    pub standing: Standing,
    /// It is leaving.
    pub leaving: bool,
    /// Since when it has counted as that.
    pub since_ms: u64,
    /// How long an answer takes, smoothed; `None` before the first.
    pub round_trip_ms: Option<u64>,
    /// The link that counts.
    pub session: Option<Session>,
}
