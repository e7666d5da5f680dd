//! One thing that a node has receivers of.

use wse_core::topic::{Filter, MAX_TOPIC_BYTES};

use crate::wire::bytes::{Malformed, Reader, put_bytes};

/// A topic, a pattern, or a queue group of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interest<'a> {
    filter: Filter<'a>,
    group: Option<&'a str>,
}

/// What an entry begins with.
const TOPIC: u8 = 0;
const PATTERN: u8 = 1;
const GROUP: u8 = 2;

/// The longest entry: its kind and two names with their lengths.
pub(super) const LONGEST: usize = 1 + 2 * (2 + MAX_TOPIC_BYTES);
/// The shortest: a topic of one byte.
pub(super) const SHORTEST: usize = 3;

impl<'a> Interest<'a> {
    /// In what is published to a topic, or to any that a pattern means.
    #[must_use]
    pub fn of(filter: Filter<'a>) -> Self {
        Self { filter, group: None }
    }

    /// In a share of what is published to a topic; `None` if the first is a pattern or the second no name of a group.
    #[must_use]
    pub fn in_group(topic: Filter<'a>, name: &'a str) -> Option<Self> {
        let is_right = !topic.is_pattern() && is_group_name(name);
        is_right.then_some(Self { filter: topic, group: Some(name) })
    }

    /// The topic or pattern.
    #[must_use]
    pub fn filter(&self) -> Filter<'a> {
        self.filter
    }

    /// The queue group, if it is one.
    #[must_use]
    pub fn group(&self) -> Option<&'a str> {
        self.group
    }

    fn kind(&self) -> u8 {
        match self.group {
            Some(_) => GROUP,
            None if self.filter.is_pattern() => PATTERN,
            None => TOPIC,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        put_bytes(out, self.filter.as_str().as_bytes());
        if let Some(name) = self.group {
            put_bytes(out, name.as_bytes());
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = reader.byte("kind of interest")?;
        let text = reader.text("topic of interest")?;
        match kind {
            TOPIC => Filter::parse_exact(text).map(Self::of).map_err(|_| Malformed("topic of interest")),
            PATTERN => {
                let filter = Filter::parse(text).ok().filter(Filter::is_pattern);
                filter.map(Self::of).ok_or(Malformed("pattern of interest"))
            }
            GROUP => {
                let name = reader.text("group of interest")?;
                let topic = Filter::parse(text).map_err(|_| Malformed("topic of interest"))?;
                Self::in_group(topic, name).ok_or(Malformed("group of interest"))
            }
            _ => Err(Malformed("kind of interest")),
        }
    }

    /// What it adds to the sum of a set: a hash of its bytes as they are sent.
    pub(super) fn hash(&self) -> u64 {
        // Lengths are below 256: one or two bytes, so that the text needs no copy to be hashed.
        let mut hash = fnv(FNV_BASIS, &[self.kind()]);
        for text in std::iter::once(self.filter.as_str()).chain(self.group) {
            let len = text.len();
            let length = [len as u8 | if len < 0x80 { 0 } else { 0x80 }, (len >> 7) as u8];
            hash = fnv(hash, &length[..1 + usize::from(len >= 0x80)]);
            hash = fnv(hash, text.as_bytes());
        }
        mix(hash)
    }
}

fn is_group_name(name: &str) -> bool {
    (1..=MAX_TOPIC_BYTES).contains(&name.len()) && !name.contains(char::is_control)
}

/// FNV-1a, 64 bits. It goes over the wire, so it must be the same in every version and on every machine.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads each bit over all: sums of bare FNV hashes of names that differ in their last byte alone would be alike.
fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(interest: Interest<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        interest.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(text in "[a-zé*?]{1,120}", name in prop::option::of("[a-zé]{1,120}")) {
            let filter = Filter::parse(&text).unwrap();
            let interest = name.as_deref().and_then(|name| Interest::in_group(filter, name)).unwrap_or(Interest::of(filter));
            let bytes = bytes(interest);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Interest::decode(&mut reader), Ok(interest));
            prop_assert_eq!(reader.left(), 0);
            prop_assert!((SHORTEST..=LONGEST).contains(&bytes.len()));
            prop_assert_eq!(interest.hash(), mix(fnv(FNV_BASIS, &bytes)), "the hash is that of the bytes on the wire");
        }
    }

    #[test]
    fn the_hash_is_the_one_of_the_spec() {
        let a = Interest::of(Filter::parse("a").unwrap());
        assert_eq!(bytes(a), [0, 1, b'a']);
        assert_eq!(a.hash(), 0xbc9c_e2cd_b6ba_4172);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for wrong in [
            &b""[..],
            b"\x00",
            b"\x03\x01a",
            b"\x00\x00",
            b"\x00\x02a*",
            b"\x01\x01a",
            b"\x00\x02a",
            b"\x00\x01\n",
            b"\x00\x01\xff",
            b"\x02\x01a\x00",
            b"\x02\x01*\x01g",
            b"\x02\x01a\x01\n",
        ] {
            assert!(Interest::decode(&mut Reader::new(wrong)).is_err(), "{wrong:?}");
        }
        let long = "a".repeat(256);
        assert_eq!(Interest::in_group(Filter::parse("a").unwrap(), &long), None);
    }
}
