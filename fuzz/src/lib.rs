//! What several targets share: the client's side of RFC 6455, and what a server heard.

pub mod connection;
pub mod distance;
pub mod inflate;
pub mod ledger;

use wse_core::websocket::Incoming;

/// One thing that the receiver handed on, kept for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

impl From<&Incoming<'_>> for Seen {
    fn from(incoming: &Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text((*text).to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Incoming::Close(close) => Self::Close(close.code, close.reason.to_owned()),
        }
    }
}

impl Seen {
    /// Whether it is for the application, which alone may say that there is no room for it now.
    pub fn is_message(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// Bytes of payload.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Close(_, reason) => 2 + reason.len(),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a length is written (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthForm {
    /// In the seven bits of the second byte.
    Seven,
    /// In two bytes.
    Sixteen,
    /// In eight bytes.
    SixtyFour,
}

impl LengthForm {
    /// The shortest form that can say `len`.
    pub fn shortest(len: usize) -> Self {
        match len {
            0..126 => Self::Seven,
            126..65_536 => Self::Sixteen,
            _ => Self::SixtyFour,
        }
    }
}

/// Appends a frame as a client would send it, or with anything wrong that the arguments ask for.
pub fn write_client_frame(
    out: &mut Vec<u8>,
    first: u8,
    form: LengthForm,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    out.push(first);
    match form {
        LengthForm::Seven => out.push(flag | payload.len() as u8),
        LengthForm::Sixteen => {
            out.push(flag | 126);
            out.extend((payload.len() as u16).to_be_bytes());
        }
        LengthForm::SixtyFour => {
            out.push(flag | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else { return out.extend(payload) };
    out.extend(mask);
    let masked = out.len();
    out.extend(payload);
    // Slice against slice, which the compiler makes wide steps of: each step is counted as coverage, and large frames have many.
    for (byte, key) in out[masked..].iter_mut().zip(&mask.repeat(payload.len() / 4 + 1)) {
        *byte ^= key;
    }
}
