//! What a node knows of another.

use crate::ids::{Incarnation, NodeId, Session};
use crate::view::{Member, Standing};
use crate::wire::Address;
use crate::wire::gossip::{Entry, Told};

/// The news that somebody said SHUTDOWN is passed on for so long.
const GONE_TOLD_MS: u64 = 60_000;

/// What a member counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Suspect,
    Dead(Death),
}

/// How a member is known to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// Nothing came for too long.
    Unheard,
    /// Its host says that nobody listens where it did.
    Refused,
    /// It said so.
    Shutdown,
    /// Another process is where it was.
    Replaced,
    /// Somebody heard it say so.
    Told,
}

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) leaving: bool,
    pub(super) address: Option<Address>,
    pub(super) state: State,
    /// Since when it is in that state.
    pub(super) since_ms: u64,
    /// When it was last heard, by this node or by who told of it.
    pub(super) heard_ms: u64,
    /// When another node last told that it lives.
    pub(super) told_ms: u64,
    /// The link that counts.
    pub(super) session: Option<Session>,
    /// Smoothed, in eighths of a millisecond.
    round_trip_8ths: Option<u64>,
    /// It no longer looks for others before it acts; that is never taken back.
    pub(super) has_joined: bool,
    /// It is one of a cluster; that is never taken back.
    pub(super) established: bool,
    /// Whether it was that when it first greeted this node.
    pub(super) elder: Option<bool>,
    /// It has told whom it knows.
    pub(super) has_told: bool,
    /// A link with it has counted in this life.
    pub(super) was_linked: bool,
    /// Somebody else has lost it.
    pub(super) told_suspect: bool,
    /// Another node came with its address: it has until then to be heard.
    pub(super) doubted_until_ms: Option<u64>,
}

impl Record {
    /// Somebody who was met or told of, and is not linked yet.
    pub(super) fn new(id: NodeId, heard_ms: u64, now_ms: u64) -> Self {
        Self {
            id,
            incarnation: Incarnation(0),
            leaving: false,
            address: None,
            state: State::Suspect,
            since_ms: now_ms,
            heard_ms,
            told_ms: now_ms,
            session: None,
            round_trip_8ths: None,
            has_joined: false,
            established: false,
            elder: None,
            has_told: false,
            was_linked: false,
            told_suspect: false,
            doubted_until_ms: None,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, State::Dead(_))
    }

    pub(super) fn standing(&self) -> Standing {
        match self.state {
            State::Alive => Standing::Alive,
            State::Suspect => Standing::Suspect,
            State::Dead(_) => Standing::Dead,
        }
    }

    pub(super) fn member(&self) -> Member {
        Member {
            id: self.id,
            incarnation: self.incarnation,
            standing: self.standing(),
            leaving: self.leaving,
            elder: self.elder == Some(true),
            session: self.session,
        }
    }

    /// What may be told of it: only what this node has seen itself.
    pub(super) fn entry(&self, now_ms: u64) -> Option<Entry> {
        let told = match self.state {
            State::Alive => Told::Alive,
            State::Suspect if self.was_linked => Told::Suspect,
            State::Dead(Death::Shutdown) if now_ms < self.since_ms + GONE_TOLD_MS => Told::Gone,
            State::Suspect | State::Dead(_) => return None,
        };
        Some(Entry {
            id: self.id,
            incarnation: self.incarnation,
            told,
            leaving: self.leaving,
            joining: false,
            established: false,
            silent_ms: now_ms.saturating_sub(self.heard_ms),
            address: self.address.clone(),
        })
    }

    /// An answer took so long; the mean is smoothed as TCP does.
    pub(super) fn took(&mut self, round_trip_ms: u64) {
        let mean = self
            .round_trip_8ths
            .map_or(round_trip_ms.saturating_mul(8), |mean| mean - mean / 8 + round_trip_ms);
        self.round_trip_8ths = Some(mean);
    }

    pub(super) fn round_trip_ms(&self) -> Option<u64> {
        self.round_trip_8ths.map(|mean| (mean + 4) / 8)
    }
}
