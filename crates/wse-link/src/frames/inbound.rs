//! Cuts what was read into frames.

use wse_mesh::wire::header::{COMPRESSED, HEADER};
use wse_mesh::wire::{Header, Malformed};
use zstd::bulk::Decompressor;

/// Room to read into, until a frame needs more.
const READ: usize = 64 * 1024;
/// The longest frame before the link is admitted.
const FIRST_FRAMES: usize = 64 * 1024;
/// Bytes inflated from which a batch ends: a few of compressed frames may stand for very many.
const INFLATED: usize = 1 << 20;
/// How often a larger buffer must have been larger than needed before it is given back.
const CALM: u8 = 16;

/// A frame as its sender meant it: compression is undone, and the header is that of the plain frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Kind and lengths.
    pub header: Header,
    /// Empty in most kinds.
    pub topic: &'a str,
    /// The fields of the kind.
    pub payload: &'a [u8],
}

/// One direction of a link, from the bytes on.
///
/// Read into [`room`](Self::room), say how much with [`handle_read`](Self::handle_read), and take batches until there is none. A batch
/// refers to the buffer and is over before the next read, so nothing is copied and a thousand frames cost one call.
pub struct Inbound {
    /// Always initialised to its end; `start..end` is what was read and not yet handed on.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Times that the buffer was empty with no long frame in between.
    calm: u8,
    max_frame: usize,
    admitted: bool,
    cuts: Vec<Cut>,
    /// Memory of the list of frames that a batch is handed on as, between batches.
    spare: Vec<Frame<'static>>,
    inflated: Vec<u8>,
    inflater: Option<Decompressor<'static>>,
    /// What ends the link, once the frames before it were handed on.
    failed: Option<Malformed>,
}

/// Where a frame of a batch lies.
struct Cut {
    header: Header,
    topic: usize,
    payload: usize,
    inflated: bool,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").field("buffered", &(self.end - self.start)).finish_non_exhaustive()
    }
}

impl Inbound {
    /// For a new link. `max_frame` counts once it is admitted.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            buffer: vec![0; READ],
            start: 0,
            end: 0,
            calm: 0,
            max_frame,
            admitted: false,
            cuts: Vec::new(),
            spare: Vec::new(),
            inflated: Vec::new(),
            inflater: None,
            failed: None,
        }
    }

    /// From here on frames may be long and compressed.
    pub fn admit(&mut self) {
        self.admitted = true;
    }

    /// Bytes of the buffer.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.len()
    }

    /// Where to read into: never empty after all batches were taken.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.rewind();
        } else if self.buffer.len() - self.end < READ / 4 {
            self.make_room();
        }
        &mut self.buffer[self.end..]
    }

    /// Everything was handed on. What a long frame needed is given back when only short ones have come for a while.
    fn rewind(&mut self) {
        self.calm = if self.end > READ { 0 } else { self.calm.saturating_add(1) };
        self.start = 0;
        self.end = 0;
        if self.buffer.len() > READ && self.calm >= CALM {
            self.buffer = vec![0; READ];
        }
    }

    /// The frame at the end is cut. It goes to the front, or the buffer grows: with what has come of the frame, never by what its header
    /// promises alone.
    fn make_room(&mut self) {
        let held = self.end - self.start;
        let longest = if self.admitted { self.max_frame.max(READ) } else { FIRST_FRAMES };
        let most = longest + READ;
        if held + READ / 2 > self.buffer.len() && self.buffer.len() < most {
            let mut grown = vec![0; (self.buffer.len() * 2).min(most)];
            grown[..held].copy_from_slice(&self.buffer[self.start..self.end]);
            self.buffer = grown;
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
        }
        self.start = 0;
        self.end = held;
    }

    /// So many bytes were read into the room.
    pub fn handle_read(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.buffer.len(), "more was read than there was room for");
    }

    /// The next batch of whole frames goes to `hand_on`; false when there is none. Before the link is admitted a batch is one frame, since
    /// that one may be what admits it.
    ///
    /// # Errors
    /// What came next is no frame: the link is over. The frames before it were handed on.
    pub fn batch(&mut self, hand_on: impl FnOnce(&[Frame<'_>])) -> Result<bool, Malformed> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.cut();
        if self.cuts.is_empty() {
            return self.failed.map_or(Ok(false), Err);
        }
        let mut frames: Vec<Frame<'_>> = recycled(std::mem::take(&mut self.spare));
        for cut in &self.cuts {
            let topic = &self.buffer[cut.topic..][..usize::from(cut.header.topic_len)];
            let Ok(topic) = simdutf8::basic::from_utf8(topic) else {
                self.failed = Some(Malformed("topic is not UTF-8"));
                break;
            };
            let from = if cut.inflated { &self.inflated } else { &self.buffer };
            let payload = &from[cut.payload..][..cut.header.payload_len as usize];
            frames.push(Frame { header: cut.header, topic, payload });
        }
        let any = !frames.is_empty();
        if any {
            hand_on(&frames);
        }
        self.spare = recycled(frames);
        self.cuts.clear();
        if self.inflated.capacity() > 2 * INFLATED {
            self.inflated = Vec::new();
        } else {
            self.inflated.clear();
        }
        if any { Ok(true) } else { self.failed.map_or(Ok(false), Err) }
    }

    /// Finds the whole frames, until something is wrong or enough was inflated.
    fn cut(&mut self) {
        let longest = if self.admitted { self.max_frame } else { self.max_frame.min(FIRST_FRAMES) };
        while self.failed.is_none() {
            let header = match Header::decode(&self.buffer[self.start..self.end], longest) {
                Ok(Some(header)) if header.frame_len() <= self.end - self.start => header,
                Ok(_) => return,
                Err(malformed) => {
                    self.failed = Some(malformed);
                    return;
                }
            };
            let topic = self.start + HEADER;
            let payload = topic + usize::from(header.topic_len);
            self.start += header.frame_len();
            if header.flags & COMPRESSED == 0 {
                self.cuts.push(Cut { header, topic, payload, inflated: false });
            } else if let Err(malformed) = self.inflate(header, topic, payload) {
                self.failed = Some(malformed);
            }
            if !self.admitted || self.inflated.len() >= INFLATED {
                return;
            }
        }
    }

    fn inflate(&mut self, header: Header, topic: usize, payload: usize) -> Result<(), Malformed> {
        if !self.admitted {
            return Err(Malformed("compressed before the link was admitted"));
        }
        let squeezed = &self.buffer[payload..][..header.payload_len as usize];
        let (length, squeezed) =
            squeezed.split_first_chunk().ok_or(Malformed("compressed without a length"))?;
        let plain =
            Header { flags: header.flags & !COMPRESSED, payload_len: u32::from_le_bytes(*length), ..header };
        if plain.frame_len() > self.max_frame {
            return Err(Malformed("inflates beyond the limit of frames"));
        }
        let inflater = match &mut self.inflater {
            Some(inflater) => inflater,
            none => none.insert(Decompressor::new().expect("memory for a decompressor")),
        };
        let (at, length) = (self.inflated.len(), plain.payload_len as usize);
        self.inflated.resize(at + length, 0);
        match inflater.decompress_to_buffer(squeezed, &mut self.inflated[at..]) {
            Ok(inflated) if inflated == length => {}
            Ok(_) => return Err(Malformed("inflates to another length than it says")),
            Err(_) => return Err(Malformed("is not what zstd makes, or inflates beyond what it says")),
        }
        self.cuts.push(Cut { header: plain, topic, payload: at, inflated: true });
        Ok(())
    }
}

/// The memory of a list, for a list of the same things with another lifetime.
fn recycled<'b>(mut frames: Vec<Frame<'_>>) -> Vec<Frame<'b>> {
    frames.clear();
    // In place: an iterator over the memory that collects into it. There is nothing to convert.
    frames.into_iter().map(|_| -> Frame<'b> { unreachable!("the list is empty") }).collect()
}
