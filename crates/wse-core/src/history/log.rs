//! The messages of one topic, the newest so many of the last so many seconds.

use std::collections::VecDeque;
use std::sync::Arc;

use thiserror::Error;

use super::chunk::Chunk;
use super::position::{Epoch, Position};
use super::segments::Segments;

/// What of a topic is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `recovery_buffer_size`: messages.
    pub messages: usize,
    /// `recovery_ttl`, in milliseconds.
    pub ttl_ms: u64,
}

/// One topic's messages.
///
/// Invariants: offsets grow by one, also from one epoch to the next; what is kept is a stretch that ends with the newest; a chunk is of one
/// epoch.
#[derive(Debug)]
pub struct Log {
    segments: Segments,
    top: u64,
    chunks: VecDeque<Arc<Chunk>>,
    cost: usize,
}

/// Messages that a client missed, as parts of chunks in order.
#[derive(Debug, Default)]
pub struct Replay {
    /// Chunks with the range of bytes in each.
    pub parts: Vec<(Arc<Chunk>, u32, u32)>,
    /// How many messages these are.
    pub messages: u64,
    /// How many bytes.
    pub bytes: usize,
}

/// Why a position can't be gone on from. Nothing is replayed then: a part of what was missed would hide that the rest is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotRecovered {
    /// The epoch is none of this log, or it did not number that offset.
    #[error("the epoch is unknown: the history it belongs to has ended")]
    UnknownEpoch,
    /// Nobody can have a message that was never published.
    #[error("the position is beyond the last message")]
    Ahead,
    /// Some of the messages are not kept any more.
    #[error("messages after the position are no longer kept")]
    Gone,
    /// More than `recovery_max_messages`, or more bytes than one client may be behind.
    #[error("more messages were missed than are replayed at once")]
    TooMany,
}

/// What a log costs beside its chunks.
const OVERHEAD: usize = 96;

impl Log {
    /// An empty log with a fresh epoch.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self::beginning_at(Position { epoch, offset: 0 })
    }

    /// An empty log that goes on from a position.
    #[must_use]
    pub fn beginning_at(position: Position) -> Self {
        let segments = Segments::after(position);
        Self { segments, top: position.offset, chunks: VecDeque::new(), cost: OVERHEAD }
    }

    /// The next message is the first of another epoch.
    pub fn turn(&mut self, epoch: Epoch) {
        self.cost -= self.segments.cost();
        self.segments.turn(epoch, self.top + 1);
        self.cost += self.segments.cost();
    }

    /// The last message.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.segments.epoch(), offset: self.top }
    }

    /// Where whoever has everything up to an offset stands, if that is not too long ago.
    #[must_use]
    pub fn position_at(&self, offset: u64) -> Option<Position> {
        self.segments.at(offset)
    }

    /// The message before the first that is kept.
    #[must_use]
    pub fn begins_after(&self) -> u64 {
        self.chunks.front().map_or(self.top, |chunk| chunk.first() - 1)
    }

    /// The position that the next message will have: its frame carries it.
    #[must_use]
    pub fn next(&self) -> Position {
        Position { epoch: self.segments.epoch(), offset: self.top + 1 }
    }

    /// Bytes of memory, overhead included.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Keeps a frame, given in parts, as the [next](Log::next) message.
    pub fn append(&mut self, frame: &[&[u8]], now_ms: u64, limits: &Limits) {
        self.top += 1;
        let (quarter, epoch) = (limits.messages / 4, self.segments.epoch());
        // A chunk that somebody still refers to is left as it is.
        let open = self.chunks.back_mut().and_then(Arc::get_mut);
        match open.filter(|chunk| !chunk.is_full(now_ms, quarter) && chunk.epoch() == epoch) {
            Some(chunk) => {
                self.cost -= chunk.cost();
                chunk.push(frame, now_ms);
                self.cost += chunk.cost();
            }
            None => {
                let mut chunk = Chunk::new(self.top, epoch, now_ms);
                chunk.push(frame, now_ms);
                self.cost += chunk.cost();
                self.chunks.push_back(Arc::new(chunk));
            }
        }
        self.forget(now_ms, limits);
    }

    /// Keeps messages of one epoch too that end just before the [first one kept](Log::begins_after): frames with the times when they came, the
    /// oldest first.
    ///
    /// # Panics
    /// They do not end there.
    pub fn put_before<'f>(
        &mut self,
        epoch: Epoch,
        first: u64,
        frames: impl IntoIterator<Item = (&'f [u8], u64)>,
        limits: &Limits,
    ) {
        let end = self.begins_after();
        let quarter = limits.messages / 4;
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut offset = first;
        for (frame, at_ms) in frames {
            let open = chunks.last_mut().filter(|chunk| !chunk.is_full(at_ms, quarter));
            match open {
                Some(chunk) => chunk.push(&[frame], at_ms),
                None => {
                    let mut chunk = Chunk::new(offset, epoch, at_ms);
                    chunk.push(&[frame], at_ms);
                    chunks.push(chunk);
                }
            }
            offset += 1;
        }
        assert_eq!(offset, end + 1, "what is kept is one stretch");
        if first == offset {
            return;
        }
        self.cost -= self.segments.cost();
        self.segments.put_before(epoch, first);
        self.cost += self.segments.cost();
        for chunk in chunks.into_iter().rev() {
            self.cost += chunk.cost();
            self.chunks.push_front(Arc::new(chunk));
        }
    }

    /// Whoever stands at a position just before the first message kept can go on from there, though another epoch numbered what they have.
    pub fn reach_back_to(&mut self, position: Position) {
        if position.offset == self.begins_after() && !self.segments.contains(position, self.top) {
            self.cost -= self.segments.cost();
            self.segments.put_before(position.epoch, position.offset + 1);
            self.cost += self.segments.cost();
        }
    }

    /// Gives back the memory of messages that are too many or too old.
    pub fn forget(&mut self, now_ms: u64, limits: &Limits) {
        let floor = self.floor(now_ms, limits);
        while let Some(chunk) = self.chunks.front().filter(|chunk| chunk.last() <= floor) {
            self.cost -= chunk.cost();
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// Gives back all memory but the record of the position: what was kept can't be gone on from any more, the position can.
    pub fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.cost = OVERHEAD + self.segments.cost();
    }

    /// Whether any message is kept.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether all messages after a position are kept.
    ///
    /// # Errors
    /// [`NotRecovered`], but never that they are too many.
    pub fn reaches(&self, position: Position, now_ms: u64, limits: &Limits) -> Result<(), NotRecovered> {
        if !self.segments.contains(position, self.top) {
            let is_ahead = position.epoch == self.segments.epoch() && position.offset > self.top;
            return Err(if is_ahead { NotRecovered::Ahead } else { NotRecovered::UnknownEpoch });
        }
        if position.offset < self.floor(now_ms, limits) { Err(NotRecovered::Gone) } else { Ok(()) }
    }

    /// The messages after a position, at most `max` of them and at most `max_bytes` bytes.
    ///
    /// # Errors
    /// [`NotRecovered`]; a position equal to the [last](Log::position) is always gone on from.
    pub fn since(
        &self,
        position: Position,
        now_ms: u64,
        limits: &Limits,
        max: u64,
        max_bytes: usize,
    ) -> Result<Replay, NotRecovered> {
        self.reaches(position, now_ms, limits)?;
        let messages = self.top - position.offset;
        if messages > max {
            return Err(NotRecovered::TooMany);
        }
        let replay = self.after(position.offset);
        if replay.bytes > max_bytes {
            return Err(NotRecovered::TooMany);
        }
        Ok(replay)
    }

    /// The newest messages after an offset that are kept and are at most `max_bytes` bytes together, and the offset after which they
    /// begin: what lies between is lost to whoever had the one given.
    #[must_use]
    pub fn newest(&self, offset: u64, now_ms: u64, limits: &Limits, max_bytes: usize) -> (u64, Replay) {
        let kept = offset.max(self.floor(now_ms, limits)).min(self.top);
        let mut left = max_bytes;
        for chunk in self.chunks.iter().rev().take_while(|chunk| chunk.last() > kept) {
            let first = chunk.first_within(left);
            if first > chunk.first() {
                let after = kept.max(first - 1);
                return (after, self.after(after));
            }
            left -= chunk.end() as usize;
        }
        (kept, self.after(kept))
    }

    /// All messages after an offset that is not below the floor.
    fn after(&self, offset: u64) -> Replay {
        let mut replay = Replay { messages: self.top - offset, ..Replay::default() };
        let from = self.chunks.partition_point(|chunk| chunk.last() <= offset);
        for chunk in self.chunks.range(from..) {
            let start = chunk.start_of((offset + 1).max(chunk.first()));
            replay.bytes += (chunk.end() - start) as usize;
            replay.parts.push((chunk.clone(), start, chunk.end()));
        }
        replay
    }

    /// The newest message that is not kept, or may not be given any more.
    fn floor(&self, now_ms: u64, limits: &Limits) -> u64 {
        let too_many = self.top.saturating_sub(limits.messages as u64);
        let oldest_ms = now_ms.saturating_sub(limits.ttl_ms);
        let old = self.chunks.partition_point(|chunk| chunk.last_before(oldest_ms) == chunk.last());
        let too_old = self.chunks.get(old).map_or(self.top, |chunk| chunk.last_before(oldest_ms));
        too_many.max(too_old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Epoch = Epoch::new(7);

    /// What a log is, said as plainly as can be.
    #[derive(Default)]
    struct Model {
        messages: Vec<(Vec<u8>, u64)>,
        cleared: usize,
    }

    impl Model {
        fn since(
            &self,
            offset: u64,
            now_ms: u64,
            limits: &Limits,
            max: u64,
            max_bytes: usize,
        ) -> Result<Vec<u8>, NotRecovered> {
            let top = self.messages.len() as u64;
            if offset > top {
                return Err(NotRecovered::Ahead);
            }
            let missed = &self.messages[offset as usize..];
            let too_old = |(_, at): &(Vec<u8>, u64)| at + limits.ttl_ms < now_ms;
            let cleared = (offset as usize) < self.cleared;
            if cleared || missed.len() > limits.messages || missed.iter().any(too_old) {
                return Err(NotRecovered::Gone);
            }
            if missed.len() as u64 > max
                || missed.iter().map(|(frame, _)| frame.len()).sum::<usize>() > max_bytes
            {
                return Err(NotRecovered::TooMany);
            }
            Ok(missed.iter().flat_map(|(frame, _)| frame.clone()).collect())
        }
    }

    impl Model {
        /// Tries one message less after the other.
        fn newest(&self, offset: u64, now_ms: u64, limits: &Limits, max_bytes: usize) -> (u64, Vec<u8>) {
            let tries = offset..=self.messages.len() as u64;
            let found = tries.map(|after| (after, self.since(after, now_ms, limits, u64::MAX, max_bytes)));
            found
                .filter_map(|(after, kept)| Some((after, kept.ok()?)))
                .next()
                .expect("the top is always gone on from")
        }
    }

    fn bytes_of(replay: &Replay) -> Vec<u8> {
        let part = |(chunk, start, end): &(Arc<Chunk>, u32, u32)| {
            chunk.bytes()[*start as usize..*end as usize].to_vec()
        };
        replay.parts.iter().flat_map(part).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish(usize),
        Wait(u64),
        Recover { behind: u64, hold: bool },
        Heal { behind: u64 },
        LetGo,
        Forget,
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop_oneof![1_usize..200, 5000_usize..20_000].prop_map(Step::Publish),
            1 => (0_u64..400).prop_map(Step::Wait),
            3 => (0_u64..30, any::<bool>()).prop_map(|(behind, hold)| Step::Recover { behind, hold }),
            2 => (0_u64..30).prop_map(|behind| Step::Heal { behind }),
            1 => Just(Step::LetGo),
            1 => Just(Step::Forget),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn a_log_says_what_the_model_says(
            steps in prop::collection::vec(step(), 1..120),
            power in 0_u32..6,
            ttl_ms in 1_u64..1500,
            max in 1_u64..20,
            max_bytes in 1_usize..40_000,
        ) {
            let limits = Limits { messages: 1 << power, ttl_ms };
            let (mut log, mut model, mut held, mut now_ms) = (Log::new(EPOCH), Model::default(), Vec::new(), 10_000);
            for step in steps {
                match step {
                    Step::Publish(len) => {
                        let next = log.next();
                        let frame = vec![next.offset as u8; len];
                        log.append(&[&frame[..len / 2], &frame[len / 2..]], now_ms, &limits);
                        model.messages.push((frame, now_ms));
                        prop_assert_eq!(log.position(), next);
                        prop_assert_eq!(next.offset, model.messages.len() as u64);
                    }
                    Step::Wait(ms) => now_ms += ms,
                    Step::Recover { behind, hold } => {
                        let offset = (log.position().offset + 2).saturating_sub(behind);
                        let replay = log.since(Position { epoch: EPOCH, offset }, now_ms, &limits, max, max_bytes);
                        let expected = model.since(offset, now_ms, &limits, max, max_bytes);
                        match (replay, expected) {
                            (Ok(replay), Ok(bytes)) => {
                                prop_assert_eq!(&bytes_of(&replay), &bytes);
                                prop_assert_eq!(replay.bytes, bytes.len());
                                prop_assert_eq!(replay.messages, log.position().offset - offset);
                                if hold {
                                    held.push((replay, bytes));
                                }
                            }
                            (replay, expected) => prop_assert_eq!(replay.err(), expected.err()),
                        }
                    }
                    Step::Heal { behind } => {
                        let offset = log.position().offset.saturating_sub(behind);
                        let (after, replay) = log.newest(offset, now_ms, &limits, max_bytes);
                        prop_assert_eq!((after, bytes_of(&replay)), model.newest(offset, now_ms, &limits, max_bytes));
                        prop_assert_eq!(replay.messages, log.position().offset - after);
                    }
                    Step::Clear => {
                        log.clear();
                        model.cleared = model.messages.len();
                    }
                    Step::LetGo => held.clear(),
                    Step::Forget => log.forget(now_ms, &limits),
                }
                // What was handed out stays what it was, whatever the log does.
                for (replay, bytes) in &held {
                    prop_assert_eq!(&bytes_of(replay), bytes);
                }
                let kept: usize = log.chunks.iter().map(|chunk| chunk.cost()).sum();
                prop_assert_eq!(log.cost(), kept + OVERHEAD);
                let messages = log.chunks.iter().map(|chunk| chunk.last() + 1 - chunk.first()).sum::<u64>();
                prop_assert!(messages as usize <= limits.messages + (limits.messages / 4).max(1));
            }
        }
    }

    #[test]
    fn the_last_position_is_gone_on_from_however_old_it_is() {
        let limits = Limits { messages: 4, ttl_ms: 10 };
        let mut log = Log::new(EPOCH);
        let none = log.since(log.position(), 0, &limits, 0, 0).unwrap();
        assert_eq!((none.messages, none.bytes), (0, 0));
        log.append(&[b"frame"], 0, &limits);
        log.forget(1_000_000, &limits);
        assert_eq!(log.cost(), OVERHEAD, "its memory is given back");
        assert!(log.since(log.position(), 1_000_000, &limits, 0, 0).is_ok());
        let before = Position { epoch: EPOCH, offset: 0 };
        assert_eq!(log.since(before, 1_000_000, &limits, 9, 99).err(), Some(NotRecovered::Gone));
        let other = Position { epoch: Epoch::new(8), offset: 1 };
        assert_eq!(log.since(other, 0, &limits, 9, 99).err(), Some(NotRecovered::UnknownEpoch));
    }

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch::new(epoch), offset }
    }

    /// Each part of a replay: its epoch and its bytes.
    fn parts(log: &Log, position: Position) -> Vec<(Epoch, String)> {
        let replay = log.since(position, 0, &Limits { messages: 100, ttl_ms: 1000 }, 100, 1000).unwrap();
        let part = |(chunk, start, end): &(Arc<Chunk>, u32, u32)| {
            let bytes = &chunk.bytes()[*start as usize..*end as usize];
            (chunk.epoch(), String::from_utf8_lossy(bytes).into_owned())
        };
        replay.parts.iter().map(part).collect()
    }

    fn part(epoch: u32, text: &str) -> (Epoch, String) {
        (Epoch::new(epoch), text.to_owned())
    }

    #[test]
    fn a_log_goes_on_under_another_epoch_and_knows_where() {
        let limits = Limits { messages: 100, ttl_ms: 1000 };
        let mut log = Log::beginning_at(at(1, 20));
        log.append(&[b"a"], 0, &limits);
        log.turn(Epoch::new(2));
        assert_eq!(log.position(), at(2, 21));
        log.append(&[b"b"], 0, &limits);
        log.append(&[b"c"], 0, &limits);
        assert_eq!(parts(&log, at(1, 20)), [part(1, "a"), part(2, "bc")]);
        assert_eq!(parts(&log, at(1, 21)), [part(2, "bc")]);
        assert_eq!(
            parts(&log, at(2, 21)),
            [part(2, "bc")],
            "the position before its first message is of both"
        );
        assert_eq!(parts(&log, at(2, 22)), [part(2, "c")]);
        let unknown = log.since(at(1, 22), 0, &limits, 9, 99).err();
        assert_eq!(unknown, Some(NotRecovered::UnknownEpoch), "the epoch never numbered that one");
        assert_eq!(log.since(at(2, 24), 0, &limits, 9, 99).err(), Some(NotRecovered::Ahead));
    }

    #[test]
    fn what_came_before_is_put_in_front() {
        let limits = Limits { messages: 100, ttl_ms: 1000 };
        let mut log = Log::beginning_at(at(2, 12));
        log.append(&[b"d"], 0, &limits);
        log.put_before(Epoch::new(2), 12, [(&b"c"[..], 0)], &limits);
        log.put_before(Epoch::new(1), 10, [(&b"a"[..], 0), (&b"b"[..], 0)], &limits);
        assert_eq!(log.begins_after(), 9);
        assert_eq!(parts(&log, at(1, 9)), [part(1, "ab"), part(2, "c"), part(2, "d")]);
        assert_eq!(parts(&log, at(1, 11)), [part(2, "c"), part(2, "d")]);
        assert_eq!(log.position_at(11), Some(at(1, 11)));
        assert_eq!(log.position_at(12), Some(at(2, 12)));
        let kept: usize = log.chunks.iter().map(|chunk| chunk.cost()).sum();
        assert_eq!(log.cost(), kept + OVERHEAD + log.segments.cost());
    }
}
