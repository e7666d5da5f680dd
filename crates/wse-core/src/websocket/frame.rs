//! Frame headers (RFC 6455, section 5.2), read and written.

use thiserror::Error;

/// The longest header of a frame that the server sends: two bytes and a 64-bit length, never a mask.
pub const MAX_SERVER_HEADER: usize = 10;
/// The longest header of a frame that a client sends: the same and four bytes of mask.
pub const MAX_CLIENT_HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// The first of the reserved bits, which permessage-deflate gives a meaning.
const RSV1: u8 = 0x40;

/// What a frame is, by its low four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with a fragmented message.
    Continuation = 0,
    /// UTF-8 text, or the first fragment of it.
    Text = 1,
    /// Bytes, or the first fragment of them.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn begins_message(self) -> bool {
        matches!(self, Self::Text | Self::Binary)
    }

    /// Close, ping and pong: short, never fragmented, allowed between the fragments of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// Why a connection has to be failed (RFC 6455, section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// "MUST be 0 unless an extension is negotiated" (section 5.2).
    #[error("a reserved bit is set")]
    ReservedBits,
    /// Opcodes 3-7 and 11-15 have no meaning.
    #[error("unknown opcode")]
    UnknownOpcode,
    /// "A server MUST close the connection upon receiving a frame that is not masked" (section 5.1).
    #[error("a client frame is not masked")]
    NotMasked,
    /// "All control frames MUST have a payload length of 125 bytes or less" (section 5.5).
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// "... and MUST NOT be fragmented" (section 5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// "the most significant bit MUST be 0" (section 5.2).
    #[error("a frame length has its highest bit set")]
    LengthOverflow,
    /// A continuation frame while no message is open.
    #[error("a continuation without a message")]
    UnexpectedContinuation,
    /// A new message while the fragments of another are still coming.
    #[error("a new message inside a fragmented one")]
    UnexpectedMessage,
    /// A close frame with a one-byte body or a code that must not be sent (section 7.4).
    #[error("a close frame with an invalid body")]
    BadClose,
    /// Text that is not UTF-8 (section 8.1).
    #[error("text is not UTF-8")]
    BadUtf8,
    /// More than `max_message_size`.
    #[error("message too large")]
    TooLarge,
    /// A compressed message that is no deflate stream (RFC 7692, section 7.2.2).
    #[error("a compressed message can't be inflated")]
    BadDeflate,
}

impl ProtocolError {
    /// The close code that tells the client (section 7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::BadUtf8 | Self::BadDeflate => 1007,
            Self::TooLarge => 1009,
            _ => 1002,
        }
    }
}

/// The header of one frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last, or only, fragment.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// RSV1: the first frame of a compressed message (RFC 7692, section 6).
    pub compressed: bool,
    /// The key with which the payload is masked.
    pub mask: [u8; 4],
    /// Bytes of payload.
    pub payload_len: u64,
    /// Bytes of header, before the payload.
    pub header_len: usize,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`: `None` while it is not whole.
    ///
    /// What the first two bytes already prove wrong is refused at once, not only when the rest has come. `deflate` says that
    /// permessage-deflate was agreed on.
    ///
    /// # Errors
    /// Whatever section 5.2 forbids a client to send.
    #[inline]
    pub fn parse(bytes: &[u8], deflate: bool) -> Result<Option<Self>, ProtocolError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(ProtocolError::UnknownOpcode);
        let reserved = first & 0x70;
        if reserved != 0 && !(deflate && reserved == RSV1 && opcode.is_ok_and(Opcode::begins_message)) {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = opcode?;
        let fin = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(ProtocolError::NotMasked);
        }
        let short_len = second & 0x7f;
        if opcode.is_control() {
            if usize::from(short_len) > MAX_CONTROL_PAYLOAD {
                return Err(ProtocolError::ControlTooLong);
            }
            if !fin {
                return Err(ProtocolError::ControlFragmented);
            }
        }
        let (payload_len, rest, len_bytes) = match short_len {
            126 => match rest {
                [a, b, rest @ ..] => (u64::from(u16::from_be_bytes([*a, *b])), rest, 2),
                _ => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest, 8),
                None => return Ok(None),
            },
            short => (u64::from(short), rest, 0),
        };
        if payload_len >> 63 != 0 {
            return Err(ProtocolError::LengthOverflow);
        }
        let Some((mask, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let compressed = reserved != 0;
        Ok(Some(Self { fin, opcode, compressed, mask: *mask, payload_len, header_len: 2 + len_bytes + 4 }))
    }
}

/// The header of a frame that the server sends: whole (never fragmented), not masked.
#[derive(Clone, Copy, Debug)]
pub struct ServerHeader {
    bytes: [u8; MAX_SERVER_HEADER],
    len: u8,
}

impl ServerHeader {
    /// The shortest header for a payload of this length ("the minimal number of bytes MUST be used").
    #[must_use]
    #[inline]
    pub fn new(opcode: Opcode, payload_len: usize) -> Self {
        let mut bytes = [0; MAX_SERVER_HEADER];
        bytes[0] = 0x80 | opcode as u8;
        let len = if payload_len < 126 {
            bytes[1] = payload_len as u8;
            2
        } else if let Ok(len) = u16::try_from(payload_len) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        };
        Self { bytes, len }
    }

    /// The same for a payload that permessage-deflate has compressed.
    #[must_use]
    pub fn compressed(opcode: Opcode, payload_len: usize) -> Self {
        let mut header = Self::new(opcode, payload_len);
        header.bytes[0] |= RSV1;
        header
    }

    /// The bytes to send before the payload.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Appends one whole frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.extend_from_slice(ServerHeader::new(opcode, payload.len()).as_bytes());
    out.extend_from_slice(payload);
}

/// The length, header included, of the server's frame that starts at `bytes`.
///
/// # Panics
/// When `bytes` does not start with a whole header: it is only asked of bytes that this module framed.
#[must_use]
pub fn server_frame_len(bytes: &[u8]) -> usize {
    match bytes[1] & 0x7f {
        126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        127 => 10 + u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize,
        short => 2 + usize::from(short),
    }
}

/// One frame of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerFrame<'a> {
    /// What it is.
    pub opcode: Opcode,
    /// Its payload is compressed by permessage-deflate.
    pub compressed: bool,
    /// Header and payload.
    pub whole: &'a [u8],
    /// The payload alone.
    pub payload: &'a [u8],
}

/// Frames of a server that lie one behind the other.
#[derive(Clone, Debug)]
pub struct ServerFrames<'a>(&'a [u8]);

impl<'a> ServerFrames<'a> {
    /// The frames in bytes that this module framed.
    #[must_use]
    pub fn of(frames: &'a [u8]) -> Self {
        Self(frames)
    }
}

impl<'a> Iterator for ServerFrames<'a> {
    type Item = ServerFrame<'a>;

    fn next(&mut self) -> Option<ServerFrame<'a>> {
        let (first, second) = (*self.0.first()?, *self.0.get(1)?);
        let (whole, rest) = self.0.split_at(server_frame_len(self.0));
        self.0 = rest;
        let header_len = match second {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let opcode = Opcode::from_bits(first & 0x0f).expect("the server frames with opcodes that there are");
        let compressed = first & RSV1 != 0;
        Some(ServerFrame { opcode, compressed, whole, payload: &whole[header_len..] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(first: u8, len: u64, form: u8) -> Vec<u8> {
        let mut out = vec![first];
        match form {
            0 => out.push(0x80 | len as u8),
            1 => {
                out.push(0xfe);
                out.extend((len as u16).to_be_bytes());
            }
            _ => {
                out.push(0xff);
                out.extend(len.to_be_bytes());
            }
        }
        out.extend([1, 2, 3, 4]);
        out
    }

    #[test]
    fn header_lengths_in_their_three_forms() {
        for (len, form) in [(0, 0), (125, 0), (126, 1), (65_535, 1), (65_536, 2), (1 << 40, 2)] {
            let header = FrameHeader::parse(&masked(0x82, len, form), false).unwrap().unwrap();
            assert_eq!(header.payload_len, len);
            assert_eq!(header.header_len, masked(0x82, len, form).len());
            assert_eq!(header.mask, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn refusals_name_the_rule() {
        let cases = [
            (masked(0xc1, 1, 0), ProtocolError::ReservedBits),
            (masked(0x83, 1, 0), ProtocolError::UnknownOpcode),
            (masked(0x8b, 1, 0), ProtocolError::UnknownOpcode),
            (vec![0x81, 0x01, b'x'], ProtocolError::NotMasked),
            (masked(0x89, 126, 1), ProtocolError::ControlTooLong),
            (masked(0x09, 1, 0), ProtocolError::ControlFragmented),
            (masked(0x82, 1 << 63, 2), ProtocolError::LengthOverflow),
        ];
        for (bytes, error) in cases {
            assert_eq!(FrameHeader::parse(&bytes, false), Err(error), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_and_a_prefix_never_contradicts_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let whole = FrameHeader::parse(&bytes, false);
            for cut in 0..bytes.len() {
                match FrameHeader::parse(&bytes[..cut], false) {
                    Ok(None) => {}
                    decided => prop_assert_eq!(decided, whole),
                }
            }
        }

        #[test]
        fn server_frames_measure_themselves(len in 0_usize..200_000) {
            let mut out = Vec::new();
            write_frame(&mut out, Opcode::Binary, &vec![7; len]);
            prop_assert_eq!(server_frame_len(&out), out.len());
        }
    }
}
