//! msgpack to JSON text, within a limit that is noticed before the memory is spent.

use thiserror::Error;

use crate::encoding::MAX_DEPTH;
use crate::protocol::quote::{quote, quote_hex};
use crate::protocol::time::iso8601_of;

/// Why bytes are no message. The client is told in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnpackError {
    /// Less than was announced.
    #[error("the msgpack ends within a value")]
    Truncated,
    /// More than one value.
    #[error("bytes follow the msgpack map")]
    Trailing,
    /// A message has fields, so it is a map.
    #[error("a message in msgpack is a map")]
    NotAMap,
    /// More than [`MAX_DEPTH`] levels.
    #[error("the msgpack nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// JSON has no other keys.
    #[error("a key in the msgpack is no text")]
    KeyIsNoText,
    /// JSON has no such number.
    #[error("a number in the msgpack is NaN or infinite")]
    NotFinite,
    /// What is said to be text is not.
    #[error("a text in the msgpack is not UTF-8")]
    BadUtf8,
    /// The one byte without a meaning.
    #[error("a byte 0xc1 in the msgpack, which is no value")]
    NoValue,
    /// An extension that has no meaning here; timestamps have one.
    #[error("an extension in the msgpack is no timestamp")]
    UnknownExtension,
    /// A timestamp that no calendar has, or not as the specification has it.
    #[error("a timestamp in the msgpack is malformed or not of the years 0 to 9999")]
    BadTimestamp,
    /// As JSON it would have more bytes than a message may have.
    #[error("as JSON the message is too large")]
    TooLarge,
}

/// The JSON text, of at most `max` bytes, of a msgpack map.
///
/// Bytes become hexadecimal digits and timestamps ISO 8601, as in events on their way out. Of members with the same name all are
/// written, in their order; a reader takes the last.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(packed: &[u8], max: usize) -> Result<String, UnpackError> {
    if packed.is_empty() {
        return Err(UnpackError::Truncated);
    }
    if !super::begins_map(packed) {
        return Err(UnpackError::NotAMap);
    }
    let mut unpacker = Unpacker { left: packed, out: String::with_capacity(packed.len().min(max)), max };
    unpacker.value(0)?;
    if unpacker.left.is_empty() { Ok(unpacker.out) } else { Err(UnpackError::Trailing) }
}

struct Unpacker<'a> {
    left: &'a [u8],
    out: String,
    max: usize,
}

impl<'a> Unpacker<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], UnpackError> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(UnpackError::Truncated)?;
        self.left = left;
        Ok(*taken)
    }

    fn take_bytes(&mut self, len: usize) -> Result<&'a [u8], UnpackError> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(UnpackError::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    /// A length in one, two or four bytes.
    fn len(&mut self, width: u8) -> Result<usize, UnpackError> {
        Ok(match width {
            1 => usize::from(self.take::<1>()?[0]),
            2 => usize::from(u16::from_be_bytes(self.take()?)),
            _ => u32::from_be_bytes(self.take()?) as usize,
        })
    }

    fn value(&mut self, depth: usize) -> Result<(), UnpackError> {
        let [first] = self.take()?;
        match first {
            0x00..=0x7f => self.number(first),
            0xe0..=0xff => self.number(first as i8),
            0x80..=0x8f => self.map(usize::from(first & 0x0f), depth)?,
            0x90..=0x9f => self.list(usize::from(first & 0x0f), depth)?,
            0xa0..=0xbf => self.text(usize::from(first & 0x1f))?,
            0xc0 => self.out.push_str("null"),
            0xc1 => return Err(UnpackError::NoValue),
            0xc2 => self.out.push_str("false"),
            0xc3 => self.out.push_str("true"),
            0xc4..=0xc6 => {
                let len = self.len(1 << (first - 0xc4))?;
                self.hex(len)?;
            }
            0xc7..=0xc9 => {
                let len = self.len(1 << (first - 0xc7))?;
                self.extension(len)?;
            }
            0xca => {
                let value = f32::from_be_bytes(self.take()?);
                self.float(f64::from(value))?;
            }
            0xcb => {
                let value = f64::from_be_bytes(self.take()?);
                self.float(value)?;
            }
            0xcc => {
                let value = u8::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xcd => {
                let value = u16::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xce => {
                let value = u32::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xcf => {
                let value = u64::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xd0 => {
                let value = i8::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xd1 => {
                let value = i16::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xd2 => {
                let value = i32::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xd3 => {
                let value = i64::from_be_bytes(self.take()?);
                self.number(value);
            }
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4))?,
            0xd9..=0xdb => {
                let len = self.len(1 << (first - 0xd9))?;
                self.text(len)?;
            }
            0xdc..=0xdd => {
                let len = self.len(2 << (first - 0xdc))?;
                self.list(len, depth)?;
            }
            0xde..=0xdf => {
                let len = self.len(2 << (first - 0xde))?;
                self.map(len, depth)?;
            }
        }
        self.check_len()
    }

    fn check_len(&self) -> Result<(), UnpackError> {
        if self.out.len() > self.max { Err(UnpackError::TooLarge) } else { Ok(()) }
    }

    fn map(&mut self, members: usize, depth: usize) -> Result<(), UnpackError> {
        if depth >= MAX_DEPTH {
            return Err(UnpackError::TooDeep);
        }
        self.out.push('{');
        for at in 0..members {
            if at > 0 {
                self.out.push(',');
            }
            let len = match self.take::<1>()?[0] {
                first @ 0xa0..=0xbf => usize::from(first & 0x1f),
                first @ 0xd9..=0xdb => self.len(1 << (first - 0xd9))?,
                _ => return Err(UnpackError::KeyIsNoText),
            };
            self.text(len)?;
            self.out.push(':');
            self.value(depth + 1)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn list(&mut self, items: usize, depth: usize) -> Result<(), UnpackError> {
        if depth >= MAX_DEPTH {
            return Err(UnpackError::TooDeep);
        }
        self.out.push('[');
        for at in 0..items {
            if at > 0 {
                self.out.push(',');
            }
            self.value(depth + 1)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn number(&mut self, value: impl Into<serde_json::Number>) {
        use std::fmt::Write as _;
        // A `String` takes whatever is written.
        let _ = write!(self.out, "{}", value.into());
    }

    fn float(&mut self, value: f64) -> Result<(), UnpackError> {
        let number = serde_json::Number::from_f64(value).ok_or(UnpackError::NotFinite)?;
        self.number(number);
        Ok(())
    }

    fn text(&mut self, len: usize) -> Result<(), UnpackError> {
        let text = self.take_bytes(len)?;
        let text = simdutf8::basic::from_utf8(text).map_err(|_| UnpackError::BadUtf8)?;
        if quote(text, &mut self.out, self.max) { Ok(()) } else { Err(UnpackError::TooLarge) }
    }

    fn hex(&mut self, len: usize) -> Result<(), UnpackError> {
        let bytes = self.take_bytes(len)?;
        if self.out.len() + 2 * len > self.max {
            return Err(UnpackError::TooLarge);
        }
        quote_hex(bytes, &mut self.out);
        Ok(())
    }

    /// A timestamp in one of its three forms; nothing else has a meaning.
    fn extension(&mut self, len: usize) -> Result<(), UnpackError> {
        const TIMESTAMP: i8 = -1;
        let kind = i8::from_be_bytes(self.take()?);
        let data = self.take_bytes(len)?;
        if kind != TIMESTAMP {
            return Err(UnpackError::UnknownExtension);
        }
        let (seconds, nanoseconds) = if let Ok(seconds) = <[u8; 4]>::try_from(data) {
            (i64::from(u32::from_be_bytes(seconds)), 0)
        } else if let Ok(both) = <[u8; 8]>::try_from(data) {
            let both = u64::from_be_bytes(both);
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        } else if let Some((nanoseconds, seconds)) = data.split_first_chunk::<4>()
            && let Ok(seconds) = <[u8; 8]>::try_from(seconds)
        {
            (i64::from_be_bytes(seconds), u32::from_be_bytes(*nanoseconds))
        } else {
            return Err(UnpackError::BadTimestamp);
        };
        let text = iso8601_of(seconds, nanoseconds).ok_or(UnpackError::BadTimestamp)?;
        self.out.push('"');
        self.out.push_str(&text);
        self.out.push('"');
        Ok(())
    }
}
