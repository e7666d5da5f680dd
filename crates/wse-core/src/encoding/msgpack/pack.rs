//! JSON text to msgpack.
//!
//! msgpack says before a map how many members it has, and a text says it only by ending. So one byte is left for the head of each
//! map and list, and what is inside moves on by two or four bytes in the rare case that it has more than fifteen members.

use thiserror::Error;

use crate::encoding::MAX_DEPTH;

/// Why a text has no msgpack. Whoever sends it sends the text instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PackError {
    /// It is no JSON, or more than one value.
    #[error("the text is not JSON")]
    NotJson,
    /// It is JSON, but no object.
    #[error("the text is no JSON object")]
    NotAnObject,
    /// More than [`MAX_DEPTH`] levels.
    #[error("the text nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// msgpack has 64 bits for a number, and what does not fit would come out as another one.
    #[error("a number does not fit into 64 bits")]
    NumberTooLarge,
    /// Half of a surrogate pair, which UTF-8 can't carry.
    #[error("a text has a lone surrogate")]
    LoneSurrogate,
}

/// Appends the msgpack of a JSON object. After an error `out` is what it was.
///
/// Of members with the same name all are written, in their order; a reader takes the last, as with JSON.
///
/// # Errors
/// [`PackError`].
pub fn pack(json: &str, out: &mut Vec<u8>) -> Result<(), PackError> {
    let before = out.len();
    let mut packer = Packer { text: json, bytes: json.as_bytes(), at: 0, out, unescaped: String::new() };
    let result = packer.message();
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Appends the members of an object of which the beginning, up to a comma or the opening brace, comes apart; how many they are.
///
/// # Errors
/// [`PackError`].
pub fn pack_rest(rest: &str, out: &mut Vec<u8>) -> Result<u32, PackError> {
    let before = out.len();
    let mut packer = Packer { text: rest, bytes: rest.as_bytes(), at: 0, out, unescaped: String::new() };
    let result = packer.rest();
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Appends what comes before those members: the head of a map, and the members in `head`, the beginning of an object up to a comma or,
/// where nothing follows, up to the closing brace.
///
/// # Errors
/// [`PackError`].
pub fn pack_head(head: &str, rest: u32, out: &mut Vec<u8>) -> Result<(), PackError> {
    let before = out.len();
    let mut packer = Packer { text: head, bytes: head.as_bytes(), at: 0, out, unescaped: String::new() };
    let result = packer.head(rest);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

struct Packer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    /// A text with escapes, before its length is known.
    unescaped: String,
}

/// The kinds of containers: the heads of up to fifteen members, and of more.
#[derive(Clone, Copy)]
struct Heads {
    short: u8,
    two_bytes: u8,
    four_bytes: u8,
}

const MAP: Heads = Heads { short: 0x80, two_bytes: 0xde, four_bytes: 0xdf };
const LIST: Heads = Heads { short: 0x90, two_bytes: 0xdc, four_bytes: 0xdd };

impl Packer<'_> {
    fn message(&mut self) -> Result<(), PackError> {
        self.skip_space();
        if self.peek() != Some(b'{') {
            return Err(PackError::NotAnObject);
        }
        self.value(0)?;
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(PackError::NotJson) }
    }

    /// Members up to the closing brace, and nothing behind it.
    fn rest(&mut self) -> Result<u32, PackError> {
        let count = self.elements(b'}', |packer| packer.member(1))?;
        self.skip_space();
        if self.at == self.bytes.len() { Ok(count) } else { Err(PackError::NotJson) }
    }

    /// An opening brace and members up to the end of the text, of which the last may have a comma behind it.
    fn head(&mut self, rest: u32) -> Result<(), PackError> {
        self.expect(b'{')?;
        let (head, mut count) = (self.out.len(), rest);
        self.out.push(MAP.short);
        self.skip_space();
        while self.at < self.bytes.len() {
            self.member(1)?;
            count += 1;
            self.skip_space();
            if self.at < self.bytes.len() {
                self.expect(b',')?;
                self.skip_space();
            }
        }
        self.write_count(head, MAP, count);
        Ok(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over a character that must come next, white space before it aside.
    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), PackError> {
        self.skip_space();
        if self.peek() != Some(byte) {
            return Err(PackError::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), PackError> {
        self.skip_space();
        match self.peek().ok_or(PackError::NotJson)? {
            b'"' => self.string(),
            b'{' => self.members(depth),
            b'[' => self.items(depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", 0xc3),
            b'f' => self.word("false", 0xc2),
            b'n' => self.word("null", 0xc0),
            _ => Err(PackError::NotJson),
        }
    }

    fn word(&mut self, word: &str, packed: u8) -> Result<(), PackError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(PackError::NotJson);
        }
        self.at += word.len();
        self.out.push(packed);
        Ok(())
    }

    fn members(&mut self, depth: usize) -> Result<(), PackError> {
        self.container(depth, MAP, b'}', |packer| packer.member(depth + 1))
    }

    /// A name, and a value that is so deep.
    #[inline]
    fn member(&mut self, depth: usize) -> Result<(), PackError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(PackError::NotJson);
        }
        self.string()?;
        self.expect(b':')?;
        self.value(depth)
    }

    fn items(&mut self, depth: usize) -> Result<(), PackError> {
        self.container(depth, LIST, b']', |packer| packer.value(depth + 1))
    }

    /// What stands between a pair of brackets, with commas between.
    #[inline]
    fn container(
        &mut self,
        depth: usize,
        heads: Heads,
        end: u8,
        element: impl FnMut(&mut Self) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        if depth >= MAX_DEPTH {
            return Err(PackError::TooDeep);
        }
        self.at += 1;
        let head = self.out.len();
        self.out.push(heads.short);
        let count = self.elements(end, element)?;
        self.write_count(head, heads, count);
        Ok(())
    }

    /// Elements with commas between, up to the closing bracket; how many they are.
    #[inline]
    fn elements(
        &mut self,
        end: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), PackError>,
    ) -> Result<u32, PackError> {
        self.skip_space();
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(0);
        }
        let mut count = 0_u32;
        loop {
            element(self)?;
            count += 1;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == end => break,
                _ => return Err(PackError::NotJson),
            }
        }
        self.at += 1;
        Ok(count)
    }

    /// Writes the head of a container whose members are behind it already.
    #[inline]
    fn write_count(&mut self, head: usize, heads: Heads, count: u32) {
        if count < 16 {
            self.out[head] = heads.short | count as u8;
        } else if let Ok(count) = u16::try_from(count) {
            self.make_room(head, 2);
            self.out[head] = heads.two_bytes;
            self.out[head + 1..head + 3].copy_from_slice(&count.to_be_bytes());
        } else {
            self.make_room(head, 4);
            self.out[head] = heads.four_bytes;
            self.out[head + 1..head + 5].copy_from_slice(&count.to_be_bytes());
        }
    }

    fn make_room(&mut self, head: usize, bytes: usize) {
        let end = self.out.len();
        self.out.resize(end + bytes, 0);
        self.out.copy_within(head + 1..end, head + 1 + bytes);
    }

    fn string(&mut self) -> Result<(), PackError> {
        let start = self.at + 1;
        let len = plain_len(&self.bytes[start..]);
        match self.bytes.get(start + len) {
            Some(b'"') => {
                self.at = start + len + 1;
                write_text(self.out, &self.text[start..start + len]);
                Ok(())
            }
            Some(b'\\') => self.string_with_escapes(start),
            // The end of the text, or a control character, which must be written as an escape.
            _ => Err(PackError::NotJson),
        }
    }

    #[cold]
    fn string_with_escapes(&mut self, start: usize) -> Result<(), PackError> {
        self.unescaped.clear();
        self.at = start;
        loop {
            let len = plain_len(&self.bytes[self.at..]);
            self.unescaped.push_str(&self.text[self.at..self.at + len]);
            self.at += len + 1;
            match self.bytes.get(self.at - 1) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let escaped = self.escape()?;
                    self.unescaped.push(escaped);
                }
                _ => return Err(PackError::NotJson),
            }
        }
        write_text(self.out, &self.unescaped);
        Ok(())
    }

    /// The character behind a backslash.
    fn escape(&mut self) -> Result<char, PackError> {
        let byte = self.peek().ok_or(PackError::NotJson)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        if !self.bytes[self.at..].starts_with(b"\\u") {
                            return Err(PackError::LoneSurrogate);
                        }
                        self.at += 2;
                        let second = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(PackError::LoneSurrogate);
                        }
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or(PackError::LoneSurrogate)?
            }
            _ => return Err(PackError::NotJson),
        })
    }

    fn hex4(&mut self) -> Result<u32, PackError> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(PackError::NotJson)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, digit| {
            char::from(*digit).to_digit(16).map(|value| code << 4 | value).ok_or(PackError::NotJson)
        })
    }

    fn number(&mut self) -> Result<(), PackError> {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let digits = self.at;
        let integer = self.digits()?;
        if self.bytes[digits] == b'0' && self.at > digits + 1 {
            return Err(PackError::NotJson);
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return self.integer(is_negative, integer);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let value: f64 = self.text[start..self.at].parse().map_err(|_| PackError::NotJson)?;
        if !value.is_finite() {
            return Err(PackError::NumberTooLarge);
        }
        self.out.push(0xcb);
        self.out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    /// Steps over one or more digits; their value, if it fits.
    fn digits(&mut self) -> Result<Option<u64>, PackError> {
        let start = self.at;
        let mut value = Some(0_u64);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.and_then(|value| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            self.at += 1;
        }
        if self.at > start { Ok(value) } else { Err(PackError::NotJson) }
    }

    fn integer(&mut self, is_negative: bool, value: Option<u64>) -> Result<(), PackError> {
        let value = value.ok_or(PackError::NumberTooLarge)?;
        if !is_negative {
            write_unsigned(self.out, value);
            return Ok(());
        }
        let value = 0_i64.checked_sub_unsigned(value).ok_or(PackError::NumberTooLarge)?;
        write_negative(self.out, value);
        Ok(())
    }
}

/// How many bytes come before a quote, a backslash, a control character or the end.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len())
}

#[inline]
fn write_text(out: &mut Vec<u8>, text: &str) {
    let len = text.len();
    if len < 32 {
        out.push(0xa0 | len as u8);
    } else if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[0xd9, len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(0xda);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(0xdb);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    if value < 128 {
        out.push(value as u8);
    } else if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[0xcc, value]);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(0xcd);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(0xce);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Minus zero, an integer in JSON, comes here too.
fn write_negative(out: &mut Vec<u8>, value: i64) {
    if (-32..=0).contains(&value) {
        out.push(value as u8);
    } else if let Ok(value) = i8::try_from(value) {
        out.push(0xd0);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xd1);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xd2);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&value.to_be_bytes());
    }
}
