//! Some messages of a topic in one piece of memory, which clients that are to be sent them again refer to.

use super::position::Epoch;

/// Bytes from which a chunk takes no more messages.
const FULL_BYTES: usize = 16 * 1024;
/// What a chunk costs beside its bytes and marks: its own record, and what the allocations of three pieces round up to.
const OVERHEAD: usize = 168;
/// Times of messages are kept in milliseconds since the first of their chunk.
const LONGEST_MS: u64 = u32::MAX as u64;

/// Frames of consecutive messages.
#[derive(Debug)]
pub struct Chunk {
    /// The offset of the first message.
    first: u64,
    /// Which numbered them.
    epoch: Epoch,
    first_ms: u64,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// Where a message ends, and when it came.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: u32,
    after_ms: u32,
}

impl Chunk {
    /// An empty one for the messages from this offset on.
    pub(super) fn new(first: u64, epoch: Epoch, now_ms: u64) -> Self {
        Self { first, epoch, first_ms: now_ms, bytes: Vec::new(), marks: Vec::new() }
    }

    /// Which epoch numbered its messages.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a message that comes now goes into another chunk: when there are enough bytes, or a quarter of the messages kept, so
    /// that forgetting whole chunks forgets little too much.
    pub(super) fn is_full(&self, now_ms: u64, quarter: usize) -> bool {
        self.bytes.len() >= FULL_BYTES
            || self.marks.len() >= quarter.max(1)
            || now_ms.saturating_sub(self.first_ms) > LONGEST_MS
    }

    pub(super) fn push(&mut self, frame: &[&[u8]], now_ms: u64) {
        self.bytes.reserve(frame.iter().map(|part| part.len()).sum());
        frame.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let after_ms = now_ms.saturating_sub(self.first_ms).min(LONGEST_MS) as u32;
        self.marks.push(Mark { end: self.bytes.len() as u32, after_ms });
    }

    /// The frames.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The offset of the last message; one less than the first while there is none.
    pub(super) fn last(&self) -> u64 {
        self.first + self.marks.len() as u64 - 1
    }

    /// The offset of its first message.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of memory.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>() + OVERHEAD
    }

    /// The offset of the message that begins at a byte.
    #[must_use]
    pub fn offset_at(&self, start: u32) -> u64 {
        self.first + self.marks.partition_point(|mark| mark.end <= start) as u64
    }

    /// Where the message with this offset begins; the end of all for the one after the last.
    pub(super) fn start_of(&self, offset: u64) -> u32 {
        match (offset - self.first) as usize {
            0 => 0,
            before => self.marks[before - 1].end,
        }
    }

    /// The first message from which on the rest is at most so many bytes; one more than the last if that is too much already.
    pub(super) fn first_within(&self, bytes: usize) -> u64 {
        let end = self.end() as usize;
        let before = self.marks.partition_point(|mark| end - mark.end as usize > bytes);
        if before == 0 && end <= bytes { self.first } else { self.first + before as u64 + 1 }
    }

    /// The end of all messages.
    pub(super) fn end(&self) -> u32 {
        self.marks.last().map_or(0, |mark| mark.end)
    }

    /// The last message that came before this time; one less than the first if none did.
    pub(super) fn last_before(&self, time_ms: u64) -> u64 {
        let before = self.marks.partition_point(|mark| self.first_ms + u64::from(mark.after_ms) < time_ms);
        self.first + before as u64 - 1
    }
}
