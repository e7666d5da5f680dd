//! What is to leave a connection, in order, and a client that reads what left and compares.

use wse_core::websocket::close::MAX_REASON;

use crate::LengthForm;
use crate::inflate::Reader;

/// One thing that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// An answer in HTTP, the 101 included: its bytes, which other targets look into.
    Http(Vec<u8>),
    /// A frame: opcode and payload.
    Frame(u8, Vec<u8>),
}

impl Out {
    /// A close frame as it must be: 1005 is never said, and a reason ends where a character does.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        if code == 1005 {
            return Self::Frame(8, Vec::new());
        }
        let mut reason = reason.to_owned();
        while reason.len() > MAX_REASON {
            reason.pop();
        }
        Self::Frame(8, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
    }

    /// Bytes on the wire: "The minimal number of bytes MUST be used to encode the length" (RFC 6455, section 5.2).
    fn wire_len(&self) -> usize {
        match self {
            Self::Http(bytes) => bytes.len(),
            Self::Frame(_, payload) => {
                let header = match LengthForm::shortest(payload.len()) {
                    LengthForm::Seven => 2,
                    LengthForm::Sixteen => 4,
                    LengthForm::SixtyFour => 10,
                };
                header + payload.len()
            }
        }
    }
}

/// Everything that was to leave and was not dropped.
#[derive(Default)]
pub struct Ledger {
    /// What opens compressed messages, if compression was agreed on.
    pub reader: Option<Reader>,
    /// With the bytes of each.
    outs: Vec<(Out, usize)>,
    /// Bytes of `outs`.
    total: usize,
    /// How many of them the client has read, and how many bytes those are.
    read: usize,
    read_bytes: usize,
}

impl Ledger {
    /// Something is to leave as it is.
    pub fn note(&mut self, out: Out) {
        let len = out.wire_len();
        self.note_len(out, len);
    }

    /// Something is to leave, which has so many bytes.
    pub fn note_len(&mut self, out: Out, len: usize) {
        self.total += len;
        self.outs.push((out, len));
    }

    /// All frames that have not begun to leave are dropped; returns their bytes.
    pub fn cut(&mut self, sent: usize) -> usize {
        let mut dropped = 0;
        while let Some((Out::Frame(..), len)) = self.outs.last()
            && self.total - len >= sent
        {
            self.total -= len;
            dropped += len;
            self.outs.pop();
        }
        dropped
    }

    /// Bytes that are still to leave.
    #[must_use]
    pub fn unsent(&self, wire: &[u8]) -> usize {
        self.total - wire.len()
    }

    /// Reads what has left since the last time, as a client that knows RFC 6455 and nothing of how it was sent.
    pub fn read(&mut self, wire: &[u8]) {
        while let Some((expected, len)) = self.outs.get(self.read) {
            let rest = &wire[self.read_bytes..];
            let got = match expected {
                Out::Http(bytes) => {
                    rest.get(..bytes.len()).map(|bytes| (Out::Http(bytes.to_vec()), bytes.len()))
                }
                Out::Frame(..) => read_frame(rest, self.reader.as_mut()),
            };
            let Some(got) = got else { return };
            assert_eq!((&got.0, got.1), (expected, *len));
            self.read += 1;
            self.read_bytes += len;
        }
        assert_eq!(self.read_bytes, wire.len(), "nothing leaves that nobody sent");
    }

    /// Whether all that was to leave was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.read == self.outs.len()
    }

    /// The last thing that was to leave.
    #[must_use]
    pub fn last(&self) -> Option<&Out> {
        self.outs.last().map(|(out, _)| out)
    }
}

/// A server's frame and its length, if it is whole: not fragmented, no mask, the shortest length, no reserved bit but that of a
/// compressed message where such were agreed on.
fn read_frame(bytes: &[u8], reader: Option<&mut Reader>) -> Option<(Out, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0xb0, 0x80, "a whole message");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (len, form, rest) = match second {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), LengthForm::Sixteen, rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = usize::try_from(u64::from_be_bytes(*len)).expect("a length that fits");
            (len, LengthForm::SixtyFour, rest)
        }
        short => (usize::from(*short), LengthForm::Seven, rest),
    };
    assert_eq!(form, LengthForm::shortest(len));
    let opcode = first & 0x0f;
    assert!(opcode < 8 || len <= 125, "a control frame is short");
    let mut payload = rest.get(..len)?.to_vec();
    let frame_len = bytes.len() - rest.len() + len;
    if first & 0x40 != 0 {
        assert!(matches!(opcode, 1 | 2), "only messages are compressed");
        let reader = reader.expect("only what was agreed on is done");
        payload = reader.read(&payload, usize::MAX).expect("what was compressed can be read");
    }
    Some((Out::Frame(opcode, payload), frame_len))
}
