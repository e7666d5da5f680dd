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
            Ok(at) => self.0[at] = Stamp { publisher, seq: self.0[at].seq.max(seq), offset },
            Err(at) => self.0.insert(at, Stamp { publisher, seq, offset }),
        }
    }

    /// One was taken back, the newest first: what is not in the log must not look stamped.
    pub fn take_back(&mut self, publisher: NodeId, seq: u64, top: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&publisher, |stamp| stamp.publisher) {
            let stamp = &mut self.0[at];
            *stamp = Stamp { publisher, seq: stamp.seq.min(seq - 1), offset: stamp.offset.min(top) };
        }
    }

    /// Forgets publishers of whom nothing is kept and who will not send again.
    pub fn forget(&mut self, floor: u64, will_send: impl Fn(NodeId) -> bool) {
        self.0.retain(|stamp| stamp.offset > floor || will_send(stamp.publisher));
    }
}
