//! What has left for a client and may not have come to it.

use std::collections::VecDeque;

/// The room for stretches that a member has at first, and at most.
const LEAST: usize = 16;
const MOST: usize = 256;

/// Messages that have wholly left, by where they end in the stream of a connection's bytes. What has come to the client is forgotten
/// when the room is used up. If that is not enough, neighbours become one stretch, which is counted until all of it has come: the count
/// is exact for up to `MOST / 2` messages on their way, and with more too large by less than a sixtieth of the most there were.
#[derive(Debug)]
pub(super) struct Flight {
    stretches: VecDeque<Stretch>,
    /// How many stretches may be noted before it is looked at what has come.
    room: usize,
    /// Up to so many messages make one stretch.
    grain: u64,
}

#[derive(Debug)]
struct Stretch {
    /// Where the last of its messages ends.
    end: u64,
    messages: u64,
}

impl Default for Flight {
    fn default() -> Self {
        Self { stretches: VecDeque::new(), room: LEAST, grain: 1 }
    }
}

impl Flight {
    /// Takes note of a message that has left; it ends behind all others. `come` tells how much of the stream has come to the client.
    pub(super) fn leave(&mut self, end: u64, come: impl FnOnce() -> u64) {
        if let Some(last) = self.stretches.back_mut().filter(|last| last.messages < self.grain) {
            *last = Stretch { end, messages: last.messages + 1 };
            return;
        }
        if self.stretches.len() == self.room {
            self.make_room(come());
        }
        self.stretches.push_back(Stretch { end, messages: 1 });
    }

    /// How many messages have not wholly come to a client that has got so much of the stream.
    pub(super) fn beyond(&self, come: u64) -> u64 {
        self.stretches.iter().rev().take_while(|one| one.end > come).map(|one| one.messages).sum()
    }

    fn make_room(&mut self, come: u64) {
        let gone = self.stretches.partition_point(|one| one.end <= come);
        self.stretches.drain(..gone);
        self.grain = 1;
        if self.stretches.len() > MOST / 2 {
            self.join();
        }
        self.room = (2 * self.stretches.len()).clamp(LEAST, MOST);
        // A client that keeps up needs little.
        self.stretches.shrink_to(self.room);
    }

    /// Makes one stretch of neighbours that are small. Any two that stay apart are more than a grain: fewer than `MOST / 2 + 2` stay.
    fn join(&mut self) {
        let messages: u64 = self.stretches.iter().map(|one| one.messages).sum();
        self.grain = messages.div_ceil(MOST as u64 / 4);
        let apart = std::mem::take(&mut self.stretches);
        for one in apart {
            match self.stretches.back_mut() {
                Some(last) if last.messages + one.messages <= self.grain => {
                    *last = Stretch { end: one.end, messages: last.messages + one.messages };
                }
                _ => self.stretches.push_back(one),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        /// Messages of so many bytes leave.
        Leave(usize, u64),
        /// So many percent of what is on its way comes.
        Come(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (1_usize..400, 2_u64..200).prop_map(|(messages, bytes)| Op::Leave(messages, bytes)),
            1 => (0_u64..=100).prop_map(Op::Come),
        ]
    }

    proptest! {
        #[test]
        fn what_has_not_come_is_counted_and_little_more(ops in prop::collection::vec(op(), 1..60)) {
            let mut flight = Flight::default();
            let (mut ends, mut sent, mut come, mut peak) = (Vec::new(), 0_u64, 0_u64, 0);
            let beyond = |ends: &[u64], come: u64| (ends.len() - ends.partition_point(|end| *end <= come)) as u64;
            for op in ops {
                match op {
                    Op::Leave(messages, bytes) => {
                        for _ in 0..messages {
                            sent += bytes;
                            ends.push(sent);
                            flight.leave(sent, || come);
                        }
                    }
                    Op::Come(percent) => come += (sent - come) * percent / 100,
                }
                let exact = beyond(&ends, come);
                peak = peak.max(exact);
                let counted = flight.beyond(come);
                prop_assert!(counted >= exact);
                prop_assert!((counted - exact) * 60 <= peak, "{} of {}, at most {}", counted, exact, peak);
                if peak <= MOST as u64 / 2 {
                    prop_assert_eq!(counted, exact);
                }
                prop_assert!(flight.stretches.len() <= MOST);
                prop_assert_eq!(flight.beyond(sent), 0);
            }
        }
    }

    #[test]
    fn a_client_that_keeps_up_is_asked_after_now_and_then_and_needs_little_room() {
        let mut flight = Flight::default();
        let mut asked = 0;
        for end in 1..=16_000 {
            flight.leave(end, || {
                asked += 1;
                end - 1
            });
        }
        assert_eq!(asked, 16_000 / LEAST - 1);
        assert_eq!(flight.beyond(16_000), 0);
        assert!(flight.stretches.capacity() <= 2 * LEAST, "{}", flight.stretches.capacity());
        for end in 16_001..=20_000 {
            flight.leave(end, || 16_000);
        }
        assert!(flight.stretches.capacity() > LEAST);
        for end in 20_001..=60_000 {
            flight.leave(end, || end - 1);
        }
        assert!(
            flight.stretches.capacity() <= 2 * LEAST,
            "room is given back: {}",
            flight.stretches.capacity()
        );
    }
}
