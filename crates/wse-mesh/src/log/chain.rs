//! Which epochs a log consists of, and where two logs part.

use wse_core::history::{Epoch, Position};

use super::term::Term;

/// The most segments that a chain remembers; positions in older ones can't be gone on from.
pub const MAX_SEGMENTS: usize = 16;

/// A stretch of a log that one home stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Of the home that stamped it; [`Term::ZERO`] for a log that began from nothing.
    pub term: Term,
    /// Minted by that home for this topic.
    pub epoch: Epoch,
    /// Offset of its first message. It goes up to the next segment, or to the end of the log.
    pub first: u64,
}

/// The segments of a log, oldest first.
///
/// Invariants: terms strictly grow, offsets never fall, no epoch comes twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    segments: Vec<Segment>,
}

impl Chain {
    /// The chain of these segments, unless they break its invariants or are too many.
    #[must_use]
    pub fn checked(segments: Vec<Segment>) -> Option<Self> {
        let grows =
            segments.windows(2).all(|pair| pair[0].term < pair[1].term && pair[0].first <= pair[1].first);
        let starts = segments.first().is_none_or(|segment| segment.first > 0);
        let once = (1..segments.len())
            .all(|at| segments[..at].iter().all(|other| other.epoch != segments[at].epoch));
        (grows && starts && once && segments.len() <= MAX_SEGMENTS).then_some(Self { segments })
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The one in which the log goes on.
    #[must_use]
    pub fn last(&self) -> Option<&Segment> {
        self.segments.last()
    }

    /// Whether nothing was ever stamped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether an epoch is one of its own.
    #[must_use]
    pub fn has_epoch(&self, epoch: Epoch) -> bool {
        self.segments.iter().any(|segment| segment.epoch == epoch)
    }

    /// The last offset of a segment in a log that ends with `top`.
    fn end(&self, at: usize, top: u64) -> u64 {
        self.segments.get(at + 1).map_or(top, |next| next.first - 1)
    }

    /// Whether a position is one of a log that ends with `top`: that of a message, or that before the first of a segment.
    #[must_use]
    pub fn contains(&self, top: u64, position: Position) -> bool {
        self.segments.iter().enumerate().any(|(at, segment)| {
            segment.epoch == position.epoch
                && segment.first - 1 <= position.offset
                && position.offset <= self.end(at, top)
        })
    }

    /// The last offset that two logs share; `None` if they have nothing in common.
    #[must_use]
    pub fn common(&self, top: u64, other: &Chain, other_top: u64) -> Option<u64> {
        self.segments.iter().enumerate().rev().find_map(|(at, segment)| {
            let there = other.segments.iter().position(|theirs| theirs.epoch == segment.epoch)?;
            Some(self.end(at, top).min(other.end(there, other_top)))
        })
    }

    /// The segment of a message.
    #[must_use]
    pub fn at(&self, offset: u64) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| segment.first <= offset)
    }

    /// The position of an offset: its message's, or before the first message that of the oldest segment.
    #[must_use]
    pub fn position(&self, offset: u64) -> Option<Position> {
        let segment = self.at(offset).or(self.segments.first())?;
        Some(Position { epoch: segment.epoch, offset })
    }

    /// The chain of the same log if it ended with `top`.
    #[must_use]
    pub fn as_of(&self, top: u64) -> Chain {
        let kept = self.segments.partition_point(|segment| segment.first <= top).max(1);
        Chain { segments: self.segments[..kept.min(self.segments.len())].to_vec() }
    }

    /// Goes on in a new segment; the oldest is forgotten when there are too many.
    pub fn push(&mut self, segment: Segment) {
        if let Some(last) = self.last() {
            assert!(
                last.term < segment.term && last.first <= segment.first,
                "the terms of a chain grow: {last:?} {segment:?}"
            );
        }
        assert!(!self.has_epoch(segment.epoch), "an epoch is minted once");
        if self.segments.len() == MAX_SEGMENTS {
            self.segments.remove(0);
        }
        self.segments.push(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn chain(segments: &[(u64, u32, u64)]) -> Chain {
        let segment = |&(count, epoch, first)| Segment {
            term: Term { count, node: NodeId(1) },
            epoch: Epoch::new(epoch),
            first,
        };
        Chain::checked(segments.iter().map(segment).collect()).unwrap()
    }

    fn position(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch::new(epoch), offset }
    }

    #[test]
    fn a_position_belongs_to_a_segment_from_before_its_first_message_to_its_last() {
        let chain = chain(&[(0, 7, 1), (2, 8, 5)]);
        for (inside, position) in [
            (true, position(7, 0)),
            (true, position(7, 4)),
            (false, position(7, 5)),
            (true, position(8, 4)),
            (true, position(8, 9)),
            (false, position(8, 10)),
            (false, position(9, 3)),
        ] {
            assert_eq!(chain.contains(9, position), inside, "{position}");
        }
    }

    #[test]
    fn logs_part_where_the_shorter_of_their_newest_shared_segments_ends() {
        let ours = chain(&[(0, 7, 1), (2, 8, 5)]);
        let theirs = chain(&[(0, 7, 1), (3, 9, 4)]);
        assert_eq!(ours.common(9, &theirs, 12), Some(3));
        assert_eq!(theirs.common(12, &ours, 9), Some(3));
        assert_eq!(ours.common(9, &ours, 6), Some(6));
        assert_eq!(ours.common(9, &chain(&[(0, 1, 1)]), 12), None);
        assert_eq!(ours.common(9, &Chain::default(), 0), None);
    }

    #[test]
    fn a_shorter_log_has_only_the_segments_that_had_begun() {
        let chain = chain(&[(0, 7, 1), (2, 8, 5)]);
        assert_eq!(chain.as_of(4).segments().len(), 1);
        assert_eq!(chain.as_of(5).segments().len(), 2);
        assert_eq!(chain.as_of(0).segments().len(), 1, "a log that has begun has an epoch");
        assert_eq!(chain.position(0), Some(position(7, 0)));
        assert_eq!(chain.position(4), Some(position(7, 4)));
        assert_eq!(chain.position(5), Some(position(8, 5)));
    }

    #[test]
    fn chains_that_break_their_rules_are_refused() {
        let segment = |count, epoch, first| Segment {
            term: Term { count, node: NodeId(1) },
            epoch: Epoch::new(epoch),
            first,
        };
        assert!(Chain::checked(vec![segment(2, 1, 1), segment(2, 2, 3)]).is_none());
        assert!(Chain::checked(vec![segment(1, 1, 5), segment(2, 2, 3)]).is_none());
        assert!(Chain::checked(vec![segment(1, 1, 1), segment(2, 1, 3)]).is_none());
        assert!(Chain::checked(vec![segment(1, 1, 0)]).is_none());
        assert!(Chain::checked((1..18).map(|at| segment(at, at as u32, at)).collect()).is_none());
    }
}
