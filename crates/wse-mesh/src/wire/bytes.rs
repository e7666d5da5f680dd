//! Fields of frames: little-endian numbers, LEB128 variable-length numbers, and bytes with their length in front.

use thiserror::Error;

/// A frame that is not what its kind says. The link it came from is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed frame: {0}")]
pub struct Malformed(pub &'static str);

/// Reads the fields of a payload in order; each read names the field, for the error.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a whole payload.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next so many bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed(field))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, field)?[0])
    }

    /// A number of eight bytes, little-endian.
    ///
    /// # Errors
    /// There are fewer.
    pub fn fixed64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        let taken = self.take(8, field)?;
        Ok(u64::from_le_bytes(taken.try_into().map_err(|_| Malformed(field))?))
    }

    /// A number of one to ten bytes, LEB128.
    ///
    /// # Errors
    /// It is cut, or longer than 64 bits.
    pub fn number(&mut self, field: &'static str) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed(field));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed(field))
    }

    /// Bytes with their length in front.
    ///
    /// # Errors
    /// There are fewer than the length says.
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number(field)?).map_err(|_| Malformed(field))?;
        self.take(length, field)
    }

    /// Text with its length in front.
    ///
    /// # Errors
    /// It is cut or not UTF-8.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| Malformed(field))
    }

    /// How many items follow, each of at least `least` bytes: a count that the rest could not hold is refused before room is made.
    ///
    /// # Errors
    /// It is cut or too large.
    pub fn count(&mut self, least: usize, field: &'static str) -> Result<usize, Malformed> {
        let count = usize::try_from(self.number(field)?).map_err(|_| Malformed(field))?;
        if count > self.rest.len() / least.max(1) {
            return Err(Malformed(field));
        }
        Ok(count)
    }
}

/// Appends a number as LEB128.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes with their length in front.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value in any::<u64>()) {
            let mut out = Vec::new();
            put_number(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number("n"), Ok(value));
            prop_assert_eq!(reader.left(), 0);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while reader.left() > 0 && reader.bytes("b").is_ok() {}
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        assert_eq!(Reader::new(&[0xff; 10]).number("n"), Err(Malformed("n")));
    }

    #[test]
    fn a_count_that_the_rest_cannot_hold_is_refused() {
        assert_eq!(Reader::new(&[200, 1, 0, 0]).count(8, "entries"), Err(Malformed("entries")));
    }
}
