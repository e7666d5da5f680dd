//! The name of a connection: finding it is arithmetic, not a hash.

use std::fmt;

/// Which connection of which shard of this process.
///
/// A slot is used again after its connection has gone; the generation tells the two apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// The I/O thread that serves it.
    pub shard: u8,
    /// Its place there, below [`MAX_SLOTS`].
    pub slot: u32,
    /// How many connections had that place before.
    pub generation: u32,
}

/// A shard has at most this many connections.
pub const MAX_SLOTS: u32 = 1 << 24;

/// Characters of a connection id as text.
pub const TEXT_LEN: usize = 28;

impl ConnId {
    /// The id as text: 12 hexadecimal digits drawn when the process started, so that no id of an earlier run is taken for one of
    /// this, then 16 for the place.
    #[must_use]
    pub fn to_text(self, run: u64) -> [u8; TEXT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let place = u64::from(self.shard) << 56 | u64::from(self.slot) << 32 | u64::from(self.generation);
        let mut text = [0; TEXT_LEN];
        for (i, byte) in text.iter_mut().enumerate() {
            let (word, digit) = if i < 12 { (run, 11 - i) } else { (place, 27 - i) };
            *byte = DIGITS[(word >> (digit * 4) & 15) as usize];
        }
        text
    }

    /// Reads [`ConnId::to_text`]; `None` for whatever is not an id of this run.
    #[must_use]
    pub fn parse(text: &str, run: u64) -> Option<Self> {
        let text: &[u8; TEXT_LEN] = text.as_bytes().try_into().ok()?;
        let (head, place) = (hex(&text[..12])?, hex(&text[12..])?);
        (head == run & 0xffff_ffff_ffff).then_some(Self {
            shard: (place >> 56) as u8,
            slot: (place >> 32) as u32 & (MAX_SLOTS - 1),
            generation: place as u32,
        })
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.shard, self.slot, self.generation)
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |word, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(word << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(shard: u8, slot in 0..MAX_SLOTS, generation: u32, run: u64) {
            let id = ConnId { shard, slot, generation };
            let text = id.to_text(run);
            let text = std::str::from_utf8(&text).unwrap();
            prop_assert_eq!(ConnId::parse(text, run), Some(id));
            prop_assert_eq!(ConnId::parse(text, run ^ 1), None);
        }

        #[test]
        fn other_texts_are_nobody(text in "\\PC{0,40}") {
            prop_assert_eq!(ConnId::parse(&text, 7), None);
        }
    }
}
