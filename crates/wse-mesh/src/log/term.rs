//! The terms of homes.

use crate::ids::NodeId;

/// Which home speaks. A home that is taken over by another has a lower term than the other, and no two nodes ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// How many homes there were, as far as its taker had heard.
    pub count: u64,
    /// Who took it.
    pub node: NodeId,
}

impl Term {
    /// Below the term of any home: that of the first segment of a log that began from nothing, and of a promise that was never given.
    pub const ZERO: Term = Term { count: 0, node: NodeId(0) };

    /// The lowest term of a node's own above this one.
    #[must_use]
    pub fn next(self, node: NodeId) -> Term {
        Term { count: self.count + 1, node }
    }
}
