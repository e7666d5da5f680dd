//! JSON in a zlib stream (RFC 1950), for clients that asked for it in `client_hello`. Each message is a stream of its own.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

use super::ZLIB;

/// Fast, and within a few percent of the best on messages of a few kilobytes.
const LEVEL: u32 = 4;

/// A compressor, to be kept for the next message: making one costs a third of a megabyte.
pub struct Squeezer {
    state: Compress,
}

impl fmt::Debug for Squeezer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Squeezer").finish_non_exhaustive()
    }
}

impl Default for Squeezer {
    fn default() -> Self {
        Self { state: Compress::new(Compression::new(LEVEL), true) }
    }
}

impl Squeezer {
    /// Appends a message as a payload: `C:` and the stream.
    pub fn squeeze(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.state.reset();
        out.extend_from_slice(ZLIB);
        let mut input = message;
        loop {
            out.reserve(input.len() / 2 + 64);
            let before = self.state.total_in();
            // Only a wrong order of calls fails, and a full buffer is no failure.
            let status = self
                .state
                .compress_vec(input, out, FlushCompress::Finish)
                .expect("a compressor takes any bytes");
            input = &input[(self.state.total_in() - before) as usize..];
            if status == Status::StreamEnd {
                return;
            }
        }
    }
}

/// Why a stream is no message. The client is told in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Not zlib, or damaged.
    #[error("what follows C: is no zlib stream")]
    NotZlib,
    /// Less than a stream.
    #[error("the zlib stream ends too early")]
    Truncated,
    /// More than a stream.
    #[error("bytes follow the zlib stream")]
    Trailing,
    /// More than a message may have.
    #[error("inflated the message is too large")]
    TooLarge,
}

/// A decompressor, to be kept for the next message.
pub struct Opener {
    state: Decompress,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

impl Default for Opener {
    fn default() -> Self {
        Self { state: Decompress::new(true) }
    }
}

impl Opener {
    /// The bytes in a stream (`C:` left out), at most `max` of them; no more memory than that is spent on finding out.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, stream: &[u8], max: usize) -> Result<Vec<u8>, OpenError> {
        self.state.reset(true);
        let (mut input, mut out) = (stream, Vec::new());
        loop {
            make_room(&mut out, input.len(), max)?;
            let (before_in, before_out) = (self.state.total_in(), out.len());
            let status = self
                .state
                .decompress_vec(input, &mut out, FlushDecompress::None)
                .map_err(|_| OpenError::NotZlib)?;
            let taken = (self.state.total_in() - before_in) as usize;
            input = &input[taken..];
            if out.len() > max {
                return Err(OpenError::TooLarge);
            }
            if status == Status::StreamEnd {
                return if input.is_empty() { Ok(out) } else { Err(OpenError::Trailing) };
            }
            if taken == 0 && out.len() == before_out && out.len() < out.capacity() {
                return Err(OpenError::Truncated);
            }
        }
    }
}

/// Room for some more, and for not more than one byte over the limit, by which it is noticed.
fn make_room(out: &mut Vec<u8>, input: usize, max: usize) -> Result<(), OpenError> {
    if out.len() < out.capacity() {
        return Ok(());
    }
    let left = max.saturating_add(1).saturating_sub(out.len());
    if left == 0 {
        return Err(OpenError::TooLarge);
    }
    out.reserve_exact(out.len().max(input * 4).max(256).min(left));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn squeezed(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Squeezer::default().squeeze(message, &mut out);
        assert_eq!(&out[..2], ZLIB);
        out.split_off(2)
    }

    #[test]
    fn a_bomb_is_noticed_at_the_limit() {
        let bomb = squeezed(&vec![b' '; 100 << 20]);
        let mut opener = Opener::default();
        assert_eq!(opener.open(&bomb, 1 << 20), Err(OpenError::TooLarge));
        let out = opener.open(&squeezed(b"hello"), 5).unwrap();
        assert_eq!(out, b"hello", "and the next message is none the worse");
        assert_eq!(opener.open(&squeezed(b"hello"), 4), Err(OpenError::TooLarge));
    }

    #[test]
    fn what_is_no_whole_stream_says_why() {
        let mut opener = Opener::default();
        let stream = squeezed(b"hello hello hello");
        for cut in 0..stream.len() {
            assert_eq!(opener.open(&stream[..cut], 100), Err(OpenError::Truncated), "{cut}");
        }
        assert_eq!(opener.open(&[&stream[..], b"x"].concat(), 100), Err(OpenError::Trailing));
        assert_eq!(opener.open(b"{\"t\":1}", 100), Err(OpenError::NotZlib));
        let mut damaged = stream;
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(opener.open(&damaged, 100), Err(OpenError::NotZlib), "its checksum is wrong");
    }

    proptest! {
        #[test]
        fn what_was_squeezed_comes_back(messages in prop::collection::vec("[a-e]{0,3000}|\\PC{0,300}", 1..4)) {
            let (mut squeezer, mut opener) = (Squeezer::default(), Opener::default());
            for message in messages {
                let mut out = Vec::new();
                squeezer.squeeze(message.as_bytes(), &mut out);
                prop_assert_eq!(opener.open(&out[2..], message.len()).unwrap(), message.as_bytes());
            }
        }

        #[test]
        fn garbage_ends_and_stays_in_its_limit(bytes in prop::collection::vec(any::<u8>(), 0..400), max in 0_usize..2000) {
            let mut stream = vec![0x78, 0x9c];
            stream.extend(bytes);
            if let Ok(out) = Opener::default().open(&stream, max) {
                prop_assert!(out.len() <= max);
            }
        }
    }
}
