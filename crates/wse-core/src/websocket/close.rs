//! Close frames and their codes (RFC 6455, sections 5.5.1 and 7.4).

use super::frame::{Opcode, ProtocolError, write_frame};

/// The longest reason that fits beside its code into a control frame.
pub const MAX_REASON: usize = 123;

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The code; 1005 ("no status received") for an empty frame, and never sent as such.
    pub code: u16,
    /// Text for people.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the payload of a close frame.
    ///
    /// # Errors
    /// A body of one byte, a code that an endpoint must not send, a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(Self { code: 1005, reason: "" }),
            [_] => return Err(ProtocolError::BadClose),
            [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
        };
        if !may_be_sent(code) {
            return Err(ProtocolError::BadClose);
        }
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| ProtocolError::BadUtf8)?;
        Ok(Self { code, reason })
    }
}

/// Whether section 7.4 lets an endpoint put this code on the wire.
#[must_use]
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Appends a close frame. A reason over 123 bytes is cut at a character; code 1005 makes an empty frame.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    if code == 1005 {
        return write_frame(out, Opcode::Close, &[]);
    }
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    write_frame(out, Opcode::Close, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_must_be_refused() {
        assert_eq!(CloseFrame::parse(&[3]), Err(ProtocolError::BadClose));
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(CloseFrame::parse(&code.to_be_bytes()), Err(ProtocolError::BadClose), "{code}");
        }
        assert_eq!(CloseFrame::parse(&[3, 232, 0xff]), Err(ProtocolError::BadUtf8));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        write_close(&mut out, 1000, &"é".repeat(100));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert_eq!(CloseFrame::parse(&out[2..]).unwrap().reason.chars().count(), 61);
    }

    #[test]
    fn an_empty_close_is_code_1005() {
        let mut out = Vec::new();
        write_close(&mut out, 1005, "ignored");
        assert_eq!(out, [0x88, 0]);
        assert_eq!(CloseFrame::parse(&[]).unwrap().code, 1005);
    }
}
