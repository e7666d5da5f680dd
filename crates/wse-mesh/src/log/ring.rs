//! The messages of a topic that a node keeps. Everything else goes by what this type says of them, so that they may be kept elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::NodeId;

/// A message, shared by all who refer to it.
pub type Message = Arc<[u8]>;

/// What a message costs beside its bytes.
const OVERHEAD: usize = size_of::<Entry>() + 16;

/// A message of a log. Its offset follows from its place, its epoch and term from the chain.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who published it.
    pub publisher: NodeId,
    /// Its number among the publisher's of this topic.
    pub seq: u64,
    /// When it was stamped, by the clock of this node.
    pub at_ms: u64,
    /// What it says.
    pub message: Message,
}

/// What is kept of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The newest so many messages,
    pub messages: usize,
    /// of the last so many milliseconds,
    pub ttl_ms: u64,
    /// of at most so many bytes.
    pub bytes: usize,
}

/// Consecutive messages, those after `floor`.
#[derive(Debug, Default)]
pub struct Ring {
    floor: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Ring {
    /// The offset before the first message that is kept.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The offset of the last message, kept or not.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.floor + self.entries.len() as u64
    }

    /// Memory of what is kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The message of an offset, if it is kept.
    #[must_use]
    pub fn get(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset.checked_sub(self.floor + 1)?).ok()?)
    }

    /// The messages after one offset up to another, both within floor and top.
    pub fn range(&self, after: u64, upto: u64) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        assert!(
            self.floor <= after && after <= upto && upto <= self.top(),
            "only what is kept: {after}..{upto}"
        );
        let entries = self.entries.range((after - self.floor) as usize..(upto - self.floor) as usize);
        entries.enumerate().map(move |(at, entry)| (after + 1 + at as u64, entry))
    }

    /// Keeps one more at the end.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.message.len() + OVERHEAD;
        self.entries.push_back(entry);
    }

    /// Keeps the message of `floor` too.
    pub fn prepend(&mut self, entry: Entry) {
        assert!(self.floor > 0, "nothing comes before the first message");
        self.floor -= 1;
        self.bytes += entry.message.len() + OVERHEAD;
        self.entries.push_front(entry);
    }

    /// Ends with an offset and hands out what came after.
    pub fn truncate_to(&mut self, top: u64) -> VecDeque<Entry> {
        assert!(self.floor <= top && top <= self.top(), "within what is kept");
        let cut = self.entries.split_off((top - self.floor) as usize);
        self.bytes -= cut.iter().map(|entry| entry.message.len() + OVERHEAD).sum::<usize>();
        cut
    }

    /// Begins anew after an offset and hands out all that was kept.
    pub fn reset(&mut self, floor: u64) -> VecDeque<Entry> {
        self.floor = floor;
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }

    /// Whether one more of so many bytes may be put in front.
    #[must_use]
    pub fn has_room_below(&self, len: usize, at_ms: u64, now_ms: u64, limits: &Limits) -> bool {
        self.entries.len() < limits.messages
            && self.bytes + len + OVERHEAD <= limits.bytes
            && at_ms.saturating_add(limits.ttl_ms) >= now_ms
    }

    /// Forgets what is too much or too old, nothing above `keep`.
    pub fn prune(&mut self, now_ms: u64, limits: &Limits, keep: u64) {
        while let Some(first) = self.entries.front().filter(|_| self.floor < keep) {
            let fits = self.entries.len() <= limits.messages
                && self.bytes <= limits.bytes
                && first.at_ms.saturating_add(limits.ttl_ms) >= now_ms;
            if fits {
                break;
            }
            self.forget_first();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Forgets everything up to an offset.
    pub fn raise_floor(&mut self, floor: u64) {
        while self.floor < floor && !self.entries.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let first = self.entries.pop_front().expect("there is one to forget");
        self.bytes -= first.message.len() + OVERHEAD;
        self.floor += 1;
    }

    /// When the oldest message becomes too old.
    #[must_use]
    pub fn expires_ms(&self, limits: &Limits) -> Option<u64> {
        Some(self.entries.front()?.at_ms.saturating_add(limits.ttl_ms).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(seq: u64, at_ms: u64) -> Entry {
        Entry { publisher: NodeId(1), seq, at_ms, message: vec![0; seq as usize % 7].into() }
    }

    proptest! {
        #[test]
        fn a_ring_is_a_stretch_of_all_messages(steps in prop::collection::vec((0_u8..6, 0_u64..20), 0..80)) {
            let limits = Limits { messages: 8, ttl_ms: 30, bytes: 900 };
            let (mut ring, mut now) = (Ring::default(), 0);
            for (step, by) in steps {
                match step {
                    0..=2 => ring.push(entry(ring.top() + 1, now)),
                    3 => now += by,
                    4 => {
                        let cut = ring.truncate_to((ring.floor() + by).min(ring.top()));
                        prop_assert!(cut.iter().zip(ring.top() + 1..).all(|(entry, offset)| entry.seq == offset));
                    }
                    _ if ring.floor() > 0 => ring.prepend(entry(ring.floor(), now)),
                    _ => {}
                }
                if by > 15 {
                    let keep = ring.top().saturating_sub(2);
                    ring.prune(now, &limits, keep);
                    let kept = ring.top() - ring.floor();
                    prop_assert!(kept as usize <= limits.messages || ring.floor() >= keep);
                }
                let (floor, top) = (ring.floor(), ring.top());
                prop_assert!(ring.range(floor, top).all(|(offset, entry)| entry.seq == offset));
                prop_assert_eq!(ring.get(floor).map(|entry| entry.seq), None);
                prop_assert_eq!(ring.get(top).map(|entry| entry.seq), (top > floor).then_some(top));
                let bytes: usize = ring.range(floor, top).map(|(_, entry)| entry.message.len() + OVERHEAD).sum();
                prop_assert_eq!(ring.bytes(), bytes);
            }
        }
    }
}
