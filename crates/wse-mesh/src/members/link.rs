//! One link, from its HELLO on.

use std::net::SocketAddr;

use super::output::Terms;
use crate::ids::{NodeId, Session};
use crate::wire::Address;

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Our HELLO is sent, the other's is awaited.
    Greeting,
    /// Both HELLOs are here; the lower id has not chosen yet.
    Named,
    /// The one link that counts between the two.
    Counts,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Other {
    pub(super) id: NodeId,
    /// How it calls this link.
    pub(super) session: Session,
    pub(super) terms: Terms,
}

/// A link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The address that was dialled, if it was this node that dialled.
    pub(super) dialled: Option<Address>,
    pub(super) remote: SocketAddr,
    pub(super) stage: Stage,
    /// From HELLO on.
    pub(super) other: Option<Other>,
    /// When it stood, and later when it began to count.
    pub(super) since_ms: u64,
    pub(super) heard_ms: u64,
    pub(super) ping_at_ms: u64,
    /// The number of the STAND that came on it.
    pub(super) stand: u64,
    /// The other has announced itself and got a list.
    pub(super) has_list: bool,
}

impl Link {
    pub(super) fn new(dialled: Option<Address>, remote: SocketAddr, now_ms: u64) -> Self {
        Self {
            dialled,
            remote,
            stage: Stage::Greeting,
            other: None,
            since_ms: now_ms,
            heard_ms: now_ms,
            ping_at_ms: now_ms,
            stand: 0,
            has_list: false,
        }
    }

    pub(super) fn counts(&self) -> bool {
        self.stage == Stage::Counts
    }

    pub(super) fn is_with(&self, id: NodeId) -> bool {
        self.other.is_some_and(|other| other.id == id)
    }

    /// Where the other end is, for the log.
    pub(super) fn place(&self) -> String {
        self.dialled.as_ref().map_or_else(|| self.remote.to_string(), ToString::to_string)
    }

    /// What lines about the other end have in common, whatever port it speaks from.
    pub(super) fn subject(&self) -> String {
        self.dialled.as_ref().map_or_else(|| self.remote.ip().to_string(), ToString::to_string)
    }
}
