//! The eight bytes in front of every frame.

use super::bytes::Malformed;

/// Length of a [`Header`] on the wire.
pub const HEADER: usize = 8;

/// No node takes frames longer than this, whatever its options say.
pub const MAX_FRAME: usize = 64 << 20;

/// Flag: the payload is compressed with zstd; its first four bytes are its length before, little-endian.
pub const COMPRESSED: u8 = 0x01;

/// What a frame begins with: kind, flags, and how many bytes of topic and payload follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the kind, known to this version or not.
    pub kind: u8,
    /// [`COMPRESSED`]; other bits are for later versions and have no meaning here.
    pub flags: u8,
    /// Bytes of the topic, which comes first.
    pub topic_len: u16,
    /// Bytes of the payload.
    pub payload_len: u32,
}

impl Header {
    /// The header as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let topic = self.topic_len.to_le_bytes();
        let payload = self.payload_len.to_le_bytes();
        [self.kind, self.flags, topic[0], topic[1], payload[0], payload[1], payload[2], payload[3]]
    }

    /// The header at the beginning of what was received; `None` while it is cut.
    ///
    /// # Errors
    /// The frame would be longer than `max` bytes, header included: refused before room is made for it.
    pub fn decode(received: &[u8], max: usize) -> Result<Option<Header>, Malformed> {
        let Some(&[kind, flags, t0, t1, p0, p1, p2, p3]) = received.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let topic_len = u16::from_le_bytes([t0, t1]);
        let payload_len = u32::from_le_bytes([p0, p1, p2, p3]);
        let header = Header { kind, flags, topic_len, payload_len };
        if header.frame_len() > max {
            Err(Malformed("longer than the limit of frames"))
        } else {
            Ok(Some(header))
        }
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        HEADER + usize::from(self.topic_len) + self.payload_len as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(kind: u8, flags: u8, topic_len: u16, payload_len in 0..MAX_FRAME as u32 / 2) {
            let header = Header { kind, flags, topic_len, payload_len };
            prop_assert_eq!(Header::decode(&header.encode(), MAX_FRAME), Ok(Some(header)));
        }
    }

    #[test]
    fn a_header_that_is_cut_is_waited_for() {
        assert_eq!(Header::decode(&[1, 0, 0, 0, 0, 0, 0], MAX_FRAME), Ok(None));
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_header() {
        let header = Header { kind: 1, flags: 0, topic_len: 2, payload_len: 91 };
        assert!(Header::decode(&header.encode(), 100).is_err());
        assert_eq!(Header::decode(&header.encode(), 101), Ok(Some(header)));
    }
}
