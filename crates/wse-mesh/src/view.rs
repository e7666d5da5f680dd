//! The cluster as one node sees it: what the topics with history, interest and presence go by.

use crate::ids::{Incarnation, NodeId, Session};

/// How long an established node knows a newcomer before it ranks topics over it: until those who are linked here know it too. A home that had
/// its topics' messages stored by one whom the others do not know would take them with it when it dies, since nobody would ask for them.
#[must_use]
pub const fn acquaint_ms(dead_after_ms: u64) -> u64 {
    dead_after_ms / 4
}

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
    /// It was established when it met this node: it ranks topics over it only [after a while](acquaint_ms).
    pub elder: bool,
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
    /// Whether it is one of a cluster, to whom whoever it meets now is a newcomer.
    pub established: bool,
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
