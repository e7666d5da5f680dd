//! Opening compressed messages, within a limit that is noticed before the memory is spent.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::websocket::frame::ProtocolError;

/// Bytes of output for which room is kept from one message to the next.
const KEPT_BYTES: usize = 64 * 1024;

/// A decompressor and the message that it last opened.
pub struct Inflater {
    state: Decompress,
    out: Vec<u8>,
    takeover: bool,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("takeover", &self.takeover).finish_non_exhaustive()
    }
}

impl Inflater {
    /// `takeover`: whether a message may refer to the ones before it, which makes it one for a single client.
    #[must_use]
    pub fn new(takeover: bool) -> Self {
        Self { state: Decompress::new(false), out: Vec::new(), takeover }
    }

    /// Opens one message of at most `max` bytes.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`] as soon as there would be more, [`ProtocolError::BadDeflate`] for what is no deflate stream.
    pub fn inflate(&mut self, payload: &[u8], max: usize) -> Result<&[u8], ProtocolError> {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        if !self.takeover {
            self.state.reset(false);
        }
        let ended = self.feed(payload, max)?;
        // A stream that says itself that it is over needs no tail (section 7.2.3.4).
        if !ended {
            self.feed(&TAIL, max)?;
        }
        Ok(&self.out)
    }

    /// Takes input to its end; whether the stream ended with it.
    fn feed(&mut self, mut input: &[u8], max: usize) -> Result<bool, ProtocolError> {
        loop {
            self.make_room(input.len(), max)?;
            let (before_in, before_out) = (self.state.total_in(), self.out.len());
            let status = self
                .state
                .decompress_vec(input, &mut self.out, FlushDecompress::Sync)
                .map_err(|_| ProtocolError::BadDeflate)?;
            let taken = (self.state.total_in() - before_in) as usize;
            input = &input[taken..];
            if self.out.len() > max {
                return Err(ProtocolError::TooLarge);
            }
            if status == Status::StreamEnd {
                // Another stream may follow in the same message.
                self.state.reset(false);
                if input.is_empty() {
                    return Ok(true);
                }
            } else if input.is_empty() && self.out.len() < self.out.capacity() {
                return Ok(false);
            } else if taken == 0 && self.out.len() == before_out {
                return Err(ProtocolError::BadDeflate);
            }
        }
    }

    /// Room for some more, and for not more than one byte over the limit, by which it is noticed.
    fn make_room(&mut self, input: usize, max: usize) -> Result<(), ProtocolError> {
        let len = self.out.len();
        if len < self.out.capacity() {
            return Ok(());
        }
        let left = max.saturating_add(1).saturating_sub(len);
        if left == 0 {
            return Err(ProtocolError::TooLarge);
        }
        self.out.reserve_exact(len.max(input * 4).max(256).min(left));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Deflater, Window};
    use super::*;
    use proptest::prelude::*;

    fn deflated(payload: &[u8]) -> Vec<u8> {
        Deflater::new(Window::LARGEST, false).deflate(&[payload]).to_vec()
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7692, section 7.2.3.
        let mut inflater = Inflater::new(true);
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflater.inflate(&hello, 5).unwrap(), b"Hello");
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflater.inflate(&again, 5).unwrap(), b"Hello", "with the context of the first");
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(Inflater::new(false).inflate(&stored, 5).unwrap(), b"Hello");
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(Inflater::new(false).inflate(&last, 5).unwrap(), b"Hello", "a final block");
        assert_eq!(Inflater::new(false).inflate(&last[..7], 5).unwrap(), b"Hello", "without its zero byte");
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(Inflater::new(false).inflate(&two, 5).unwrap(), b"Hello", "two blocks");
        assert_eq!(Inflater::new(false).inflate(&[0x00], 0).unwrap(), b"", "an empty message");
        assert_eq!(Inflater::new(false).inflate(&[], 0).unwrap(), b"", "no bytes at all");
    }

    #[test]
    fn a_bomb_is_noticed_at_the_limit() {
        let bomb = deflated(&vec![b'x'; 100 << 20]);
        let mut inflater = Inflater::new(false);
        assert_eq!(inflater.inflate(&bomb, 1 << 20), Err(ProtocolError::TooLarge));
        assert!(inflater.out.capacity() <= (1 << 20) + 64, "{}", inflater.out.capacity());
        let small = deflated(b"hello");
        assert_eq!(inflater.inflate(&small, 5).unwrap(), b"hello");
        assert!(inflater.out.capacity() <= KEPT_BYTES);
        assert_eq!(inflater.inflate(&small, 4), Err(ProtocolError::TooLarge));
    }

    #[test]
    fn without_a_context_nothing_earlier_can_be_referred_to() {
        let mut inflater = Inflater::new(false);
        inflater.inflate(&deflated(b"Hello"), 10).unwrap();
        assert_eq!(inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], 10), Err(ProtocolError::BadDeflate));
    }

    proptest! {
        #[test]
        fn garbage_ends_and_stays_in_its_limit(bytes in prop::collection::vec(any::<u8>(), 0..400), max in 0_usize..2000) {
            let mut inflater = Inflater::new(false);
            if let Ok(out) = inflater.inflate(&bytes, max) {
                prop_assert!(out.len() <= max);
            }
        }

        #[test]
        fn what_was_compressed_comes_back(
            messages in prop::collection::vec("[a-e]{0,600}|\\PC{0,300}", 1..6),
            window in 0..Window::COUNT,
            takeover: bool,
        ) {
            let mut deflater = Deflater::new(Window::at(window), takeover);
            let mut inflater = Inflater::new(takeover);
            for message in messages.iter().filter(|message| !message.is_empty()) {
                let bytes = message.as_bytes();
                let (head, tail) = bytes.split_at(bytes.len() / 3);
                let squeezed = deflater.deflate(&[head, tail]).to_vec();
                prop_assert_eq!(inflater.inflate(&squeezed, bytes.len()).unwrap(), bytes);
            }
        }
    }
}
