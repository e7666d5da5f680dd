//! The cluster as one node sees it: what the topics with history, interest and presence go by.

use crate::ids::{Incarnation, NodeId, Session};

/// What a node holds of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is a link, and it was heard lately.
    Alive,
    /// No link, or nothing heard for a while; its memory may be there still, so it keeps its homes and its presence.
    Suspect,
    /// Its memory is gone, or was not heard of for so long that it counts as gone.
    Dead,
}

/// Another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: NodeId,
    /// The newest that is known.
    pub incarnation: Incarnation,
    /// What it counts as.
    pub standing: Standing,
    /// It said DRAIN: it takes no new topics, but answers.
    pub leaving: bool,
    /// The link to it, if one stands.
    pub session: Option<Session>,
}

/// All that a node knows about who is there. Whoever goes by it is told of each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The node itself.
    pub me: NodeId,
    /// Whether it is leaving.
    pub leaving: bool,
    /// Whether it may still be looking for its seeds: a node that has just started and hears nobody waits before it acts alone.
    pub joining: bool,
    /// The others, by id, dead ones included while they are remembered.
    pub members: Vec<Member>,
}

impl View {
    /// Another node by its name.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        Some(&self.members[at])
    }
}
