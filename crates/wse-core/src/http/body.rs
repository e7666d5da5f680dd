//! The body of a request: how its end is told (RFC 9112, section 6), and its bytes as they come.

use thiserror::Error;

use super::request::{Request, SingleHeader};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither way: there is no body.
    Absent,
    /// By its length.
    Length(u64),
    /// By its last chunk.
    Chunked,
}

/// Why the end of a body can't be told, or not by everybody alike. What follows can't be read as another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadBody {
    /// Two readers could take different ones, and see different requests behind it.
    #[error("a request has either Content-Length or Transfer-Encoding, not both")]
    Both,
    /// Not one header with digits.
    #[error("Content-Length must be one number of bytes")]
    Length,
    /// HTTP/1.0 knows no chunks.
    #[error("Transfer-Encoding needs HTTP/1.1")]
    Version,
    /// Only chunks are known.
    #[error("the only Transfer-Encoding is chunked")]
    Coding,
    /// The chunks are none.
    #[error("the chunked body is malformed")]
    Chunk,
    /// More lines than body.
    #[error("the chunked body has more framing than content")]
    Padding,
    /// There is more than may be.
    #[error("the body may have at most {0} bytes")]
    TooLarge(usize),
}

/// The longest line before a chunk, extensions included.
const MAX_CHUNK_LINE: usize = 1024;
/// Bytes of framing that any body may have, trailers included, and for each byte of content.
const FREE_FRAMING: usize = 16 * 1024;
const FRAMING_PER_BYTE: usize = 8;

impl Framing {
    /// What a request says of its body.
    ///
    /// # Errors
    /// [`BadBody`].
    pub fn of(request: &Request<'_>) -> Result<Self, BadBody> {
        let coding = request.single_header("transfer-encoding");
        let length = request.single_header("content-length");
        match (coding, length) {
            (SingleHeader::Absent, SingleHeader::Absent) => Ok(Self::Absent),
            (SingleHeader::Absent, SingleHeader::One(length)) => decimal(length).map(Self::Length),
            (SingleHeader::Absent, SingleHeader::Several) => Err(BadBody::Length),
            (_, SingleHeader::One(_) | SingleHeader::Several) => Err(BadBody::Both),
            _ if request.minor_version < 1 => Err(BadBody::Version),
            (SingleHeader::One(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked),
            _ => Err(BadBody::Coding),
        }
    }
}

/// Digits and nothing else: a sign or a list is read differently by different readers.
fn decimal(text: &[u8]) -> Result<u64, BadBody> {
    let text = std::str::from_utf8(text).map_err(|_| BadBody::Length)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadBody::Length);
    }
    text.parse().map_err(|_| BadBody::Length)
}

/// A body that is coming.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    limit: usize,
    /// Bytes that were framing.
    framing: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are to come, of a body without chunks.
    Length(usize),
    /// In the line before a chunk: its size so far, how many bytes the line has, and where in it we are.
    Size {
        value: usize,
        len: usize,
        part: Part,
    },
    /// So many bytes of a chunk are to come.
    Data(usize),
    /// The end of a chunk's line is to come: its CR, or its LF.
    DataEnd {
        cr: bool,
    },
    /// In the lines behind the last chunk: bytes of this one, and whether its CR has come.
    Trailer {
        len: usize,
        cr: bool,
    },
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Digits,
    Extension,
    Lf,
}

const NEXT_CHUNK: State = State::Size { value: 0, len: 0, part: Part::Digits };

impl Body {
    /// A body of which nothing has come yet.
    ///
    /// # Errors
    /// [`BadBody::TooLarge`] if more is announced than `limit`.
    pub fn new(framing: Framing, limit: usize) -> Result<Self, BadBody> {
        let state = match framing {
            Framing::Absent | Framing::Length(0) => State::Whole,
            Framing::Length(length) if length > limit as u64 => return Err(BadBody::TooLarge(limit)),
            Framing::Length(length) => State::Length(length as usize),
            Framing::Chunked => NEXT_CHUNK,
        };
        Ok(Self { bytes: Vec::new(), limit, framing: 0, state })
    }

    /// Whether all of it has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// How many bytes have come so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes what belongs to it from the front of `input`, and says how much that was: all, unless it is whole then.
    ///
    /// # Errors
    /// [`BadBody`]; nothing more can be made of the connection's bytes then.
    pub fn push(&mut self, input: &[u8]) -> Result<usize, BadBody> {
        let mut at = 0;
        while at < input.len() && self.state != State::Whole {
            match &mut self.state {
                State::Length(left) | State::Data(left) => {
                    let taken = (*left).min(input.len() - at);
                    self.bytes.extend_from_slice(&input[at..at + taken]);
                    *left -= taken;
                    at += taken;
                    if *left == 0 {
                        let is_chunk = matches!(self.state, State::Data(_));
                        self.state = if is_chunk { State::DataEnd { cr: false } } else { State::Whole };
                    }
                }
                _ => {
                    self.state = self.frame(input[at])?;
                    self.framing += 1;
                    at += 1;
                    if self.framing > FREE_FRAMING + FRAMING_PER_BYTE * self.bytes.len() {
                        return Err(BadBody::Padding);
                    }
                }
            }
        }
        Ok(at)
    }

    /// One byte that is no content.
    fn frame(&self, byte: u8) -> Result<State, BadBody> {
        match (self.state, byte) {
            (State::Size { len, .. }, _) if len == MAX_CHUNK_LINE => Err(BadBody::Padding),
            (State::Size { value, len, part: Part::Digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).expect("a hexadecimal digit") as usize;
                let value = value.checked_mul(16).and_then(|value| value.checked_add(digit));
                let left = self.limit - self.bytes.len();
                let value = value.filter(|value| *value <= left).ok_or(BadBody::TooLarge(self.limit))?;
                Ok(State::Size { value, len: len + 1, part: Part::Digits })
            }
            (State::Size { len: 0, .. }, _) => Err(BadBody::Chunk),
            (State::Size { value, len, part: Part::Digits }, b';') => {
                Ok(State::Size { value, len: len + 1, part: Part::Extension })
            }
            (State::Size { value, len, part: Part::Digits | Part::Extension }, b'\r') => {
                Ok(State::Size { value, len, part: Part::Lf })
            }
            (State::Size { value, len, part: Part::Extension }, _) if is_line_byte(byte) => {
                Ok(State::Size { value, len: len + 1, part: Part::Extension })
            }
            (State::Size { value: 0, part: Part::Lf, .. }, b'\n') => Ok(State::Trailer { len: 0, cr: false }),
            (State::Size { value, part: Part::Lf, .. }, b'\n') => Ok(State::Data(value)),
            (State::DataEnd { cr: false }, b'\r') => Ok(State::DataEnd { cr: true }),
            (State::DataEnd { cr: true }, b'\n') => Ok(NEXT_CHUNK),
            (State::Trailer { len, cr: false }, b'\r') => Ok(State::Trailer { len, cr: true }),
            (State::Trailer { len: 0, cr: true }, b'\n') => Ok(State::Whole),
            (State::Trailer { cr: true, .. }, b'\n') => Ok(State::Trailer { len: 0, cr: false }),
            (State::Trailer { len, cr: false }, _) if is_line_byte(byte) => {
                Ok(State::Trailer { len: len + 1, cr: false })
            }
            _ => Err(BadBody::Chunk),
        }
    }
}

/// What a line of framing may have in it, beside its end.
fn is_line_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;
    use proptest::prelude::*;

    fn framing(headers: &str) -> Result<Framing, BadBody> {
        let text = format!("POST / HTTP/1.1\r\n{headers}\r\n");
        let Head::Whole(request, _) = Head::parse(text.as_bytes()) else { panic!("{text}") };
        Framing::of(&request)
    }

    fn chunked(text: &[u8], limit: usize) -> Result<(Vec<u8>, usize), BadBody> {
        let mut body = Body::new(Framing::Chunked, limit)?;
        let taken = body.push(text)?;
        assert!(body.is_whole(), "unfinished: {body:?}");
        Ok((body.into_bytes(), taken))
    }

    #[test]
    fn the_end_is_told_in_one_way_or_not_at_all() {
        assert_eq!(framing(""), Ok(Framing::Absent));
        assert_eq!(framing("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("transfer-encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for length in ["", "+1", "-1", "0x1", "1 1", "1, 1", "1.0", "99999999999999999999"] {
            assert_eq!(framing(&format!("Content-Length: {length}\r\n")), Err(BadBody::Length), "{length}");
        }
        assert_eq!(framing("Content-Length: 1\r\nContent-Length: 1\r\n"), Err(BadBody::Length));
        assert_eq!(framing("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Err(BadBody::Both));
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""] {
            assert_eq!(
                framing(&format!("Transfer-Encoding: {coding}\r\n")),
                Err(BadBody::Coding),
                "{coding}"
            );
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(framing(twice), Err(BadBody::Coding));
    }

    #[test]
    fn chunks_with_extensions_and_trailers_are_put_together() {
        let text = b"3\r\nabc\r\n00A;name=\"x y\"\r\n0123456789\r\n0;end\r\nX-Sum: 1\r\n\r\nGET";
        assert_eq!(chunked(text, 13), Ok((b"abc0123456789".to_vec(), text.len() - 3)));
        assert_eq!(chunked(b"0\r\n\r\n", 0), Ok((vec![], 5)));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b" 1\r\na\r\n",
            b"1 \r\na\r\n",
            b"1\na\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1\r\na\r0",
            b"0\r\n\n",
            b"0\r\nX: \0\r\n\r\n",
            b"1;\0\r\na\r\n",
            b"0x1\r\na\r\n",
        ] {
            assert_eq!(chunked(text, 100), Err(BadBody::Chunk), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn more_than_may_be_is_refused_before_it_comes() {
        assert_eq!(Body::new(Framing::Length(11), 10).err(), Some(BadBody::TooLarge(10)));
        assert_eq!(chunked(b"b\r\n", 10), Err(BadBody::TooLarge(10)));
        assert_eq!(chunked(b"5\r\nabcde\r\n6\r\n", 10), Err(BadBody::TooLarge(10)));
        assert_eq!(chunked(b"ffffffffffffffffffff", 10), Err(BadBody::TooLarge(10)));
    }

    #[test]
    fn framing_without_content_ends() {
        assert_eq!(chunked(&[b"1;", &b"x".repeat(2000)[..]].concat(), 10), Err(BadBody::Padding));
        assert_eq!(chunked(&b"0".repeat(2000), 10), Err(BadBody::Padding));
        assert_eq!(chunked(&[b"0\r\n", &b"X: y\r\n".repeat(5000)[..]].concat(), 10), Err(BadBody::Padding));
        let padded = [&b"1;"[..], &b"x".repeat(1000), b"\r\na\r\n"].concat().repeat(100);
        assert_eq!(chunked(&padded, 1000), Err(BadBody::Padding));
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_as_the_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            step in 1_usize..20,
            rest in prop::collection::vec(any::<u8>(), 0..5),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                text.extend(chunk);
                text.extend(b"\r\n");
            }
            text.extend(b"0\r\n\r\n");
            let end = text.len();
            text.extend(&rest);
            let mut body = Body::new(Framing::Chunked, 1000).unwrap();
            let mut at = 0;
            while !body.is_whole() {
                let taken = body.push(&text[at..(at + step).min(text.len())]).unwrap();
                prop_assert!(taken > 0);
                at += taken;
            }
            prop_assert_eq!(at, end);
            prop_assert_eq!(body.into_bytes(), chunks.concat());
        }

        #[test]
        fn garbage_never_panics_and_never_exceeds_the_limit(
            text in prop::collection::vec(prop_oneof![Just(b'1'), Just(b'\r'), Just(b'\n'), Just(b';'), Just(b'0'), any::<u8>()], 0..200),
            limit in 0_usize..50,
        ) {
            let mut body = Body::new(Framing::Chunked, limit).unwrap();
            let _ = body.push(&text);
            prop_assert!(body.len() <= limit);
        }
    }
}
