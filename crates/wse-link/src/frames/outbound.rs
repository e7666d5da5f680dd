//! Puts frames together for a link, or for several.

use std::cell::RefCell;

use wse_mesh::wire::Header;
use wse_mesh::wire::header::{COMPRESSED, HEADER};
use zstd::bulk::Compressor;

/// The longest payload that is never compressed.
const SMALL: usize = 256;
/// The fastest of zstd's usual levels: a link is waited for.
const LEVEL: i32 = 1;
/// Bytes of the length in front of what is compressed.
const LENGTH: usize = 4;
/// Room that a thread keeps between payloads.
const KEPT: usize = 1 << 20;

/// Frames one after the other, ready to be pushed to any number of links.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    count: u32,
    longest: usize,
}

/// Who compresses. It holds some hundred kilobytes once it has, so a thread has one.
struct Squeezer {
    compressor: Option<Compressor<'static>>,
    room: Vec<u8>,
}

thread_local! {
    static SQUEEZER: RefCell<Squeezer> = const { RefCell::new(Squeezer { compressor: None, room: Vec::new() }) };
}

impl Frames {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame as it is.
    ///
    /// # Panics
    /// Topic or payload is longer than a header can say: whoever made them knows the limit of frames, which is lower.
    pub fn put(&mut self, kind: u8, topic: &str, payload: &[u8]) {
        self.add(kind, 0, topic, &[payload]);
    }

    /// Adds a frame whose payload is compressed where that makes it shorter. Only for links to those who can undo it.
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub fn put_squeezed(&mut self, kind: u8, topic: &str, payload: &[u8]) {
        if payload.len() <= SMALL {
            return self.put(kind, topic, payload);
        }
        SQUEEZER.with_borrow_mut(|squeezer| {
            match squeezer.squeeze(payload) {
                Some(squeezed) => {
                    let length = u32::try_from(payload.len()).expect("a payload within the limit of frames");
                    self.add(kind, COMPRESSED, topic, &[&length.to_le_bytes(), squeezed]);
                    // What the receiver's limit is held against is the frame that comes out.
                    self.longest = self.longest.max(HEADER + topic.len() + payload.len());
                }
                None => self.put(kind, topic, payload),
            }
            if squeezer.room.capacity() > KEPT {
                squeezer.room = Vec::new();
            }
        });
    }

    fn add(&mut self, kind: u8, flags: u8, topic: &str, payload: &[&[u8]]) {
        let payload_len = payload.iter().map(|part| part.len()).sum::<usize>();
        let header = Header {
            kind,
            flags,
            topic_len: u16::try_from(topic.len()).expect("a topic has at most 65535 bytes"),
            payload_len: u32::try_from(payload_len).expect("a payload within the limit of frames"),
        };
        self.bytes.reserve(header.frame_len());
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(topic.as_bytes());
        payload.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.count += 1;
        self.longest = self.longest.max(header.frame_len());
    }

    /// The frames as they are sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the longest of them when nothing is compressed: what the receiver's limit is about.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// None again, with the memory kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.longest = 0;
    }
}

impl std::fmt::Debug for Squeezer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Squeezer(..)")
    }
}

impl Squeezer {
    /// The payload compressed, if that is shorter together with the length that goes in front.
    fn squeeze(&mut self, payload: &[u8]) -> Option<&[u8]> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL).expect("memory for a compressor")),
        };
        // Too little room is an error, and so means that nothing would be gained.
        self.room.resize(payload.len() - LENGTH - 1, 0);
        let length = compressor.compress_to_buffer(payload, &mut self.room[..]).ok()?;
        Some(&self.room[..length])
    }
}
