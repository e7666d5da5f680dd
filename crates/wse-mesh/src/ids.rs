//! The names of nodes, of their lives and of the links between them.

use std::fmt;

/// A node, by a number drawn at random when its process starts. One id is one memory: a process that is started again is another node,
/// wherever it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// How often a node has contradicted what was said about it: of two pieces of news about one node, the one with the higher
/// incarnation is newer (SWIM). Only the node itself raises it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// One link between two nodes, by a number that this process has not used before. What was said on a link that is gone counts for
/// nothing: its end may never have heard the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
