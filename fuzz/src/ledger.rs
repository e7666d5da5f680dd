//! What is to leave a connection, in order, and a client that reads what left and compares.

use wse_core::websocket::close::MAX_REASON;

use crate::LengthForm;

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
    outs: Vec<Out>,
    /// Bytes of `outs`.
    total: usize,
    /// How many of them the client has read, and how many bytes those are.
    read: usize,
    read_bytes: usize,
}

impl Ledger {
    /// Something is to leave.
    pub fn note(&mut self, out: Out) {
        self.total += out.wire_len();
        self.outs.push(out);
    }

    /// All frames that have not begun to leave are dropped; returns their bytes.
    pub fn cut(&mut self, sent: usize) -> usize {
        let mut dropped = 0;
        while let Some(Out::Frame(..)) = self.outs.last()
            && let Some(last) = self.outs.last().map(Out::wire_len)
            && self.total - last >= sent
        {
            self.outs.pop();
            self.total -= last;
            dropped += last;
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
        while let Some(expected) = self.outs.get(self.read) {
            let rest = &wire[self.read_bytes..];
            let got = match expected {
                Out::Http(bytes) => rest.get(..bytes.len()).map(|bytes| Out::Http(bytes.to_vec())),
                Out::Frame(..) => read_frame(rest),
            };
            let Some(got) = got else { return };
            assert_eq!(got, *expected);
            self.read += 1;
            self.read_bytes += got.wire_len();
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
        self.outs.last()
    }
}

/// A server's frame, if it is whole: not fragmented, no reserved bit, no mask, the shortest length.
fn read_frame(bytes: &[u8]) -> Option<Out> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0xf0, 0x80, "a whole message without reserved bits");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (len, rest) = match second {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*len)).expect("a length that fits"), rest)
        }
        short => (usize::from(*short), rest),
    };
    let form = match second {
        126 => LengthForm::Sixteen,
        127 => LengthForm::SixtyFour,
        _ => LengthForm::Seven,
    };
    assert_eq!(form, LengthForm::shortest(len));
    let opcode = first & 0x0f;
    assert!(opcode < 8 || len <= 125, "a control frame is short");
    Some(Out::Frame(opcode, rest.get(..len)?.to_vec()))
}
