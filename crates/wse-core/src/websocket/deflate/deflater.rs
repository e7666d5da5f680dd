//! Squeezing messages.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress};

use super::{TAIL, Window};
use crate::websocket::frame::{Opcode, ServerFrames, ServerHeader};

/// Messages below this many bytes are sent as they are: deflate saves them next to nothing.
pub const WORTHWHILE_BYTES: usize = 128;

/// Fast, and within a few percent of the best on messages of a few kilobytes.
const LEVEL: u32 = 4;
/// Bytes of output for which room is kept from one message to the next.
const KEPT_BYTES: usize = 64 * 1024;

/// A compressor.
pub struct Deflater {
    state: Compress,
    out: Vec<u8>,
    takeover: bool,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("takeover", &self.takeover).finish_non_exhaustive()
    }
}

impl Deflater {
    /// `takeover`: whether a message may refer to the ones before it, which makes it one for a single client.
    #[must_use]
    pub fn new(window: Window, takeover: bool) -> Self {
        let state = Compress::new_with_window_bits(Compression::new(LEVEL), false, window.bits());
        Self { state, out: Vec::new(), takeover }
    }

    /// The payload of one message that is not empty, given in parts.
    pub fn deflate(&mut self, parts: &[&[u8]]) -> &[u8] {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        if !self.takeover {
            self.state.reset();
        }
        for part in parts {
            self.feed(part, FlushCompress::None);
        }
        self.feed(&[], FlushCompress::Sync);
        let len = self.out.len().saturating_sub(TAIL.len());
        debug_assert_eq!(self.out[len..], TAIL, "a flushed stream ends with an empty block");
        &self.out[..len]
    }

    /// Appends a message as a frame: compressed, or as it is where that is shorter and allowed.
    pub fn write_frame(&mut self, out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum();
        if len < WORTHWHILE_BYTES {
            return write_plain(out, opcode, len, parts);
        }
        // With a context the client must see what the compressor has seen.
        let takeover = self.takeover;
        let squeezed = self.deflate(parts);
        if squeezed.len() >= len && !takeover {
            return write_plain(out, opcode, len, parts);
        }
        out.extend_from_slice(ServerHeader::compressed(opcode, squeezed.len()).as_bytes());
        out.extend_from_slice(squeezed);
    }

    /// Appends plain frames of a server again, those of messages compressed where worthwhile.
    pub fn rewrite_frames(&mut self, out: &mut Vec<u8>, frames: &[u8]) {
        for frame in ServerFrames::of(frames) {
            match frame.opcode {
                Opcode::Text | Opcode::Binary if !frame.compressed => {
                    self.write_frame(out, frame.opcode, &[frame.payload]);
                }
                _ => out.extend_from_slice(frame.whole),
            }
        }
    }

    fn feed(&mut self, mut input: &[u8], flush: FlushCompress) {
        loop {
            self.out.reserve(input.len() / 2 + 64);
            let before = self.state.total_in();
            // Only a wrong order of calls fails, and a full buffer is no failure.
            self.state.compress_vec(input, &mut self.out, flush).expect("a compressor takes any bytes");
            input = &input[(self.state.total_in() - before) as usize..];
            // With room left there is nothing more to come.
            if input.is_empty() && self.out.len() < self.out.capacity() {
                return;
            }
        }
    }
}

fn write_plain(out: &mut Vec<u8>, opcode: Opcode, len: usize, parts: &[&[u8]]) {
    out.extend_from_slice(ServerHeader::new(opcode, len).as_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::super::Inflater;
    use super::*;
    use crate::websocket::frame::server_frame_len;
    use crate::websocket::frame::write_frame;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn short_and_incompressible_messages_stay_as_they_are() {
        let mut deflater = Deflater::new(Window::LARGEST, false);
        let short = vec![b'a'; WORTHWHILE_BYTES - 1];
        for payload in [short, noise(500)] {
            let (mut out, mut plain) = (Vec::new(), Vec::new());
            deflater.write_frame(&mut out, Opcode::Binary, &[&payload]);
            write_frame(&mut plain, Opcode::Binary, &payload);
            assert_eq!(out, plain);
        }
    }

    #[test]
    fn frames_are_rewritten_one_by_one() {
        let text = "a long text that repeats itself, ".repeat(20);
        let mut plain = Vec::new();
        write_frame(&mut plain, Opcode::Text, b"short");
        write_frame(&mut plain, Opcode::Text, text.as_bytes());
        write_frame(&mut plain, Opcode::Ping, b"");
        write_frame(&mut plain, Opcode::Binary, &text.as_bytes().repeat(200));
        let mut out = Vec::new();
        Deflater::new(Window::LARGEST, true).rewrite_frames(&mut out, &plain);
        assert!(out.len() < plain.len() / 4);
        assert_eq!(&out[..7], b"\x81\x05short");
        let squeezed = &out[7..7 + server_frame_len(&out[7..])];
        assert_eq!(squeezed[0], 0xc1, "FIN, RSV1, text");
        assert!(squeezed[1] < 126);
        assert_eq!(Inflater::new(true).inflate(&squeezed[2..], text.len()).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_small_window_is_kept() {
        // The second half repeats the first at a distance of 1,000 bytes: too far for a window of 512.
        let half = noise(1000);
        let payload = [half.as_slice(), half.as_slice()].concat();
        let near = Deflater::new(Window::at(0), false).deflate(&[&payload]).len();
        let far = Deflater::new(Window::LARGEST, false).deflate(&[&payload]).len();
        assert!(near > 1900 && far < 1200, "{near} {far}");
    }
}
