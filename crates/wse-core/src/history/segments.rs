//! The epochs that numbered a topic's messages one after the other. Offsets go on from one to the next.

use super::position::{Epoch, Position};

/// Epochs that are remembered; who stands in an older one is not known any more.
const MOST: usize = 16;

/// Which epoch each offset of a log belongs to.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    /// The epoch that numbers the next message.
    epoch: Epoch,
    /// The first offset that it numbers.
    first: u64,
    /// Those before, with their first offsets.
    older: Vec<(Epoch, u64)>,
}

impl Segments {
    /// One epoch that numbers what comes after an offset.
    pub(super) fn after(position: Position) -> Self {
        Self { epoch: position.epoch, first: position.offset + 1, older: Vec::new() }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// From this offset on another epoch numbers.
    pub(super) fn turn(&mut self, epoch: Epoch, first: u64) {
        // One that numbered nothing stays too: somebody may stand where it ended.
        self.older.push((self.epoch, self.first));
        (self.epoch, self.first) = (epoch, first);
        if self.older.len() >= MOST {
            self.older.remove(0);
        }
    }

    /// Puts an epoch in front whose messages end where the first known one begins.
    pub(super) fn put_before(&mut self, epoch: Epoch, first: u64) {
        let oldest = match self.older.first_mut() {
            Some(oldest) => (&oldest.0, &mut oldest.1),
            None => (&self.epoch, &mut self.first),
        };
        if *oldest.0 == epoch {
            *oldest.1 = first.min(*oldest.1);
        } else if self.older.len() + 1 < MOST {
            self.older.insert(0, (epoch, first));
        }
    }

    /// The position of the message with an offset, or of whoever has everything up to it: `None` if it is older than what is remembered.
    pub(super) fn at(&self, offset: u64) -> Option<Position> {
        let epoch =
            if offset.saturating_add(1) >= self.first && (offset >= self.first || self.older.is_empty()) {
                self.epoch
            } else {
                let at = self.older.partition_point(|(_, first)| *first <= offset);
                // Or it is just before the first message of the oldest.
                let oldest = || self.older.first().filter(|(_, first)| *first == offset.saturating_add(1));
                match at.checked_sub(1) {
                    Some(at) => self.older[at].0,
                    None => oldest()?.0,
                }
            };
        Some(Position { epoch, offset })
    }

    /// Whether somebody can stand at a position, if the last message is `top`: all that its epoch numbered, or what came before its first.
    pub(super) fn contains(&self, position: Position, top: u64) -> bool {
        let Position { epoch, offset } = position;
        if epoch == self.epoch {
            return self.first <= offset.saturating_add(1) && offset <= top;
        }
        let firsts = self.older.iter().map(|(_, first)| *first).skip(1).chain([self.first]);
        let mut known = self.older.iter().zip(firsts);
        known.any(|(older, next)| older.0 == epoch && older.1 <= offset.saturating_add(1) && offset < next)
    }

    /// Bytes of memory beside the record.
    pub(super) fn cost(&self) -> usize {
        self.older.capacity() * size_of::<(Epoch, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_say_what_a_list_of_all_messages_says(lengths in prop::collection::vec(1_u64..5, 1..12), before in 0_u64..4) {
            let mut segments = Segments::after(Position { epoch: Epoch::new(0), offset: before });
            let mut epochs: Vec<u32> = Vec::new();
            for (number, length) in (0_u32..).zip(&lengths) {
                segments.turn(Epoch::new(number), before + epochs.len() as u64 + 1);
                epochs.extend(std::iter::repeat_n(number, *length as usize));
            }
            let top = before + epochs.len() as u64;
            for offset in before + 1..=top {
                let epoch = epochs[(offset - before - 1) as usize];
                prop_assert_eq!(segments.at(offset).map(|at| at.epoch), Some(Epoch::new(epoch)));
            }
            for number in 0..lengths.len() as u32 + 1 {
                for offset in 0..top + 2 {
                    // What the epoch numbered, and the offset before.
                    let mine = |offset: u64| {
                        offset > before && epochs.get((offset - before - 1) as usize) == Some(&number)
                    };
                    let position = Position { epoch: Epoch::new(number), offset };
                    prop_assert_eq!(segments.contains(position, top), mine(offset) || mine(offset + 1), "{}", position);
                }
            }
        }
    }

    #[test]
    fn what_comes_in_front_is_known_then() {
        let position = |epoch, offset| Position { epoch: Epoch::new(epoch), offset };
        let mut segments = Segments::after(position(7, 10));
        assert_eq!(segments.at(10), Some(position(7, 10)));
        assert_eq!(segments.at(9), None);
        segments.put_before(Epoch::new(7), 8);
        segments.put_before(Epoch::new(6), 3);
        assert!(segments.contains(position(7, 7), 10) && !segments.contains(position(7, 6), 10));
        assert!(segments.contains(position(6, 2), 10) && segments.contains(position(6, 7), 10));
        assert_eq!(segments.at(7), Some(position(6, 7)));
        assert_eq!(segments.at(8), Some(position(7, 8)));
    }

    #[test]
    fn whoever_stands_where_an_epoch_ended_is_known() {
        let position = |epoch, offset| Position { epoch: Epoch::new(epoch), offset };
        let mut segments = Segments::after(position(1, 0));
        segments.turn(Epoch::new(2), 1);
        assert!(segments.contains(position(1, 0), 0) && segments.contains(position(2, 0), 0));
        let mut later = Segments::after(position(2, 9));
        assert!(!later.contains(position(1, 9), 9));
        later.put_before(Epoch::new(1), 10);
        assert!(later.contains(position(1, 9), 9) && !later.contains(position(1, 8), 9));
        assert_eq!(later.at(8), None);
        (3..40).for_each(|number| segments.turn(Epoch::new(number), u64::from(number)));
        assert!(!segments.contains(position(3, 3), 50), "it is long ago");
        assert!(segments.contains(position(38, 38), 50));
        assert!([1, 38, 39].iter().all(|epoch| !segments.contains(position(*epoch, u64::MAX), 50)));
    }
}
