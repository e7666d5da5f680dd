//! Up to which of its publications a log has those of each publisher, so that what is sent again is known.

use crate::ids::NodeId;

/// The last publication of a publisher in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who published.
    pub publisher: NodeId,
    /// Its number.
    pub seq: u64,
    /// Its offset, or one above it.
    pub offset: u64,
    /// When it was last looked nobody knew the publisher. No part of what is sent.
    pub is_unknown: bool,
}

/// The last publications of all publishers, by publisher: few, since a publisher is a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last(Vec<Stamp>);

impl Last {
    /// A table that was received, unless a publisher is named twice or they are not in order.
    #[must_use]
    pub fn checked(stamps: Vec<Stamp>) -> Option<Self> {
        stamps.windows(2).all(|pair| pair[0].publisher < pair[1].publisher).then_some(Self(stamps))
    }

    /// All of it.
    #[must_use]
    pub fn stamps(&self) -> &[Stamp] {
        &self.0
    }

    /// The number of a publisher's last publication, 0 for one that never published.
    #[must_use]
    pub fn seq(&self, publisher: NodeId) -> u64 {
        self.0.binary_search_by_key(&publisher, |stamp| stamp.publisher).map_or(0, |at| self.0[at].seq)
    }

    /// One more was stamped.
    pub fn note(&mut self, publisher: NodeId, seq: u64, offset: u64) {
        match self.0.binary_search_by_key(&publisher, |stamp| stamp.publisher) {
            Ok(at) => {
                let seq = self.0[at].seq.max(seq);
                self.0[at] = Stamp { publisher, seq, offset, is_unknown: false };
            }
            Err(at) => self.0.insert(at, Stamp { publisher, seq, offset, is_unknown: false }),
        }
    }

    /// One was taken back, the newest first: what is not in the log must not look stamped.
    pub fn take_back(&mut self, publisher: NodeId, seq: u64, top: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&publisher, |stamp| stamp.publisher) {
            let stamp = &mut self.0[at];
            (stamp.seq, stamp.offset) = (stamp.seq.min(seq - 1), stamp.offset.min(top));
        }
    }

    /// Forgets publishers of whom nothing is kept, and who are not known now and were not the last time: others may know them still.
    pub fn forget(&mut self, floor: u64, is_known: impl Fn(NodeId) -> bool) {
        self.0.retain_mut(|stamp| {
            let was_unknown = std::mem::replace(&mut stamp.is_unknown, !is_known(stamp.publisher));
            stamp.offset > floor || !(was_unknown && stamp.is_unknown)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_forgotten_when_nobody_has_known_it_twice_and_nothing_of_it_is_kept() {
        let mut last = Last::default();
        (1..=4).for_each(|publisher| last.note(NodeId(publisher), 7, publisher));
        let known = |publisher: NodeId| publisher == NodeId(1);
        last.forget(3, known);
        assert_eq!(last.stamps().len(), 4);
        // It publishes again.
        last.note(NodeId(2), 8, 3);
        last.forget(3, known);
        let left: Vec<u64> = last.stamps().iter().map(|stamp| stamp.publisher.0).collect();
        assert_eq!(left, [1, 2, 4]);
        last.forget(3, known);
        assert_eq!((last.seq(NodeId(2)), last.seq(NodeId(4))), (0, 7));
    }
}
