//! Sets of peers as bits.

use std::ops::{BitAnd, BitOr};

/// How many peers have a bit.
pub const MAX_PEERS: usize = 64;

/// The bit of a peer. It belongs to one node until that is dead and its bit is in no mask any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(u8);

impl PeerIndex {
    pub(super) fn new(at: usize) -> Self {
        assert!(at < MAX_PEERS, "a peer has one of 64 bits");
        Self(at as u8)
    }

    /// Its place in a list of up to [`MAX_PEERS`].
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(u64);

impl Mask {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// One peer.
    #[must_use]
    pub fn of(peer: PeerIndex) -> Self {
        Self(1 << peer.0)
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    #[must_use]
    pub fn len(self) -> u64 {
        u64::from(self.0.count_ones())
    }

    /// Whether a peer is in it.
    #[must_use]
    pub fn contains(self, peer: PeerIndex) -> bool {
        self.0 & Self::of(peer).0 != 0
    }

    /// Those of it that are not in another.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Puts a peer in or takes it out; whether that changed anything.
    pub(super) fn set(&mut self, peer: PeerIndex, is_in: bool) -> bool {
        let before = *self;
        *self = if is_in { *self | Self::of(peer) } else { self.without(Self::of(peer)) };
        *self != before
    }

    /// The peers, by their index.
    pub fn iter(self) -> impl Iterator<Item = PeerIndex> + Clone {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = (left != 0).then(|| left.trailing_zeros())?;
            left &= left - 1;
            Some(PeerIndex(at as u8))
        })
    }
}

impl BitAnd for Mask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Mask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_those_that_were_put_in() {
        let mut mask = Mask::NONE;
        let [first, last] = [0, MAX_PEERS - 1].map(PeerIndex::new);
        assert!(mask.set(last, true) && mask.set(first, true) && !mask.set(first, true));
        assert_eq!((mask.iter().collect::<Vec<_>>(), mask.len()), (vec![first, last], 2));
        assert!(mask.set(first, false) && !mask.contains(first) && mask.contains(last));
        assert_eq!(mask.without(Mask::of(last)), Mask::NONE);
    }
}
