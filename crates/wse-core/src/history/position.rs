//! A place in the messages of a topic.

use std::fmt;

/// Names the memory that numbered some messages: drawn at random when it begins to, and never used again after it is gone.
///
/// Two messages with the same epoch and offset are the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u32);

impl Epoch {
    /// Characters of an epoch as text.
    pub const TEXT_LEN: usize = 8;

    /// An epoch of a number drawn at random.
    #[must_use]
    pub const fn new(random: u32) -> Self {
        Self(random)
    }

    /// Reads eight hexadecimal digits in lower case, as they are written; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == Self::TEXT_LEN && digits).then(|| u32::from_str_radix(text, 16).ok().map(Self))?
    }

    /// The eight digits.
    #[must_use]
    pub fn to_text(self) -> [u8; Self::TEXT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        std::array::from_fn(|at| DIGITS[(self.0 >> (28 - 4 * at) & 15) as usize])
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The last message that somebody has: an offset means nothing without the epoch that counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Whose numbers these are.
    pub epoch: Epoch,
    /// Counted from 1; 0 before the first message.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_epoch_reads_what_it_writes(random: u32) {
            let epoch = Epoch::new(random);
            let text = epoch.to_text();
            let text = std::str::from_utf8(&text).unwrap();
            prop_assert_eq!(text, epoch.to_string());
            prop_assert_eq!(Epoch::parse(text), Some(epoch));
        }

        #[test]
        fn nothing_else_is_an_epoch(text in "\\PC{0,10}|[0-9a-fA-F+-]{7,9}") {
            if let Some(epoch) = Epoch::parse(&text) {
                prop_assert_eq!(epoch.to_string(), text);
            }
        }
    }
}
