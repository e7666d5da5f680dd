//! What a message looks like where it is not JSON in a text frame: packed, compressed, sealed.
//!
//! JSON text is what everything comes from and goes to. Two bytes in front of a binary message say what was made of it; a binary
//! message without them is the application's own. [`envelope`] and [`seen`] belong to the events that are completed on their way out.

pub mod envelope;
pub mod msgpack;
pub mod seal;
pub mod seen;
pub mod zlib;

pub use crate::protocol::command::MAX_DEPTH;

/// Before a zlib stream with JSON in it.
pub const ZLIB: &[u8; 2] = b"C:";
/// Before a msgpack map.
pub const MSGPACK: &[u8; 2] = b"M:";
/// Before a sealed message.
pub const SEALED: &[u8; 2] = b"E:";

/// How a client wants its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON in text frames.
    #[default]
    Json,
    /// msgpack in binary frames.
    Msgpack,
}

impl Format {
    /// What the query of the upgrade request asks for: `format=msgpack`, or JSON by anything else.
    #[must_use]
    pub fn of_query(query: &str) -> Self {
        let asked = query.split('&').find_map(|pair| pair.strip_prefix("format="));
        if asked == Some("msgpack") { Self::Msgpack } else { Self::Json }
    }

    /// Its name, as the query and the application have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
        }
    }
}

/// A binary message by its first two bytes, which are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary<'a> {
    /// A zlib stream.
    Zlib(&'a [u8]),
    /// A msgpack map.
    Msgpack(&'a [u8]),
    /// A sealed message.
    Sealed(&'a [u8]),
    /// The application's own, whole.
    Other(&'a [u8]),
}

impl<'a> Binary<'a> {
    /// Looks at the first two bytes.
    #[must_use]
    #[inline]
    pub fn of(payload: &'a [u8]) -> Self {
        match payload {
            [b'C', b':', rest @ ..] => Self::Zlib(rest),
            [b'M', b':', rest @ ..] => Self::Msgpack(rest),
            [b'E', b':', rest @ ..] => Self::Sealed(rest),
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod vectors;
