//! What goes with a message of a topic without history: for whom at the peer it is.

use super::entry::{Interest, SHORTEST};
use crate::ids::NodeId;
use crate::wire::bytes::{Malformed, Reader, put_bytes, put_number};
use wse_core::topic::Filter;

/// For whom at a peer a message is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders<'a> {
    /// The message is binary.
    pub binary: bool,
    /// For all who are subscribed to the topic or to a pattern that means it.
    pub plain: bool,
    /// For one member of each of these queue groups of the topic.
    pub groups: Vec<&'a str>,
    /// The publisher does not know what the peer has receivers of.
    pub unknown: Option<Unknown<'a>>,
    /// A peer without members has handed it on: it is not handed on again.
    pub handed_on: bool,
}

/// What a peer must know to find out which of its queue groups it is to serve, if the publisher can't tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// Groups of the topic that somebody serves already.
    pub seen_to: Vec<&'a str>,
    /// The other peers that must find out the same.
    pub others: Vec<NodeId>,
}

const BINARY: u8 = 0x01;
const PLAIN: u8 = 0x02;
const GROUPS: u8 = 0x04;
const UNKNOWN: u8 = 0x08;
const HANDED_ON: u8 = 0x10;
const ALL: u8 = BINARY | PLAIN | GROUPS | UNKNOWN | HANDED_ON;

impl<'a> Orders<'a> {
    /// The usual ones: for all who are subscribed.
    #[must_use]
    pub fn plain(binary: bool) -> Self {
        Self { binary, plain: true, ..Self::default() }
    }

    /// What stands before the message; one byte in the usual case.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.push(
            flag(self.binary, BINARY)
                | flag(self.plain, PLAIN)
                | flag(!self.groups.is_empty(), GROUPS)
                | flag(self.unknown.is_some(), UNKNOWN)
                | flag(self.handed_on, HANDED_ON),
        );
        if !self.groups.is_empty() {
            put_names(out, &self.groups);
        }
        if let Some(unknown) = &self.unknown {
            put_names(out, &unknown.seen_to);
            put_number(out, unknown.others.len() as u64);
            unknown.others.iter().for_each(|id| out.extend_from_slice(&id.0.to_le_bytes()));
        }
    }

    /// The orders at the beginning of a payload, and the message.
    ///
    /// # Errors
    /// A field is cut, out of range or of a later version.
    pub fn decode(payload: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut reader = Reader::new(payload);
        let flags = reader.byte("flags of a message")?;
        if flags & !ALL != 0 {
            return Err(Malformed("flags of a message"));
        }
        let is = |flag| flags & flag != 0;
        let groups = if is(GROUPS) { names(&mut reader)? } else { Vec::new() };
        if is(GROUPS) && groups.is_empty() {
            return Err(Malformed("groups of a message"));
        }
        let unknown = if is(UNKNOWN) {
            let seen_to = names(&mut reader)?;
            let count = reader.count(8, "peers of a message")?;
            let others = (0..count).map(|_| reader.fixed64("peers of a message").map(NodeId));
            Some(Unknown { seen_to, others: others.collect::<Result<_, _>>()? })
        } else {
            None
        };
        let orders = Self { binary: is(BINARY), plain: is(PLAIN), groups, unknown, handed_on: is(HANDED_ON) };
        let left = reader.left();
        Ok((orders, reader.take(left, "message")?))
    }
}

fn put_names(out: &mut Vec<u8>, names: &[&str]) {
    put_number(out, names.len() as u64);
    names.iter().for_each(|name| put_bytes(out, name.as_bytes()));
}

fn names<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, Malformed> {
    let count = reader.count(SHORTEST - 1, "groups of a message")?;
    // The names are as they would be in an entry, whatever the topic is.
    let any = Filter::parse_exact("-").expect("a topic");
    let name = |_| {
        let name = reader.text("groups of a message")?;
        Interest::in_group(any, name).map(|_| name).ok_or(Malformed("groups of a message"))
    };
    (0..count).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn orders_are_read_as_they_were_written(
            binary: bool, plain: bool, handed_on: bool, message in prop::collection::vec(any::<u8>(), 0..20),
            groups in prop::collection::vec("[a-z]{1,9}", 0..4),
            unknown in prop::option::of((prop::collection::vec("[a-z]{1,9}", 0..4), prop::collection::vec(any::<u64>(), 0..4))),
        ) {
            let unknown = unknown.as_ref().map(|(seen_to, others)| Unknown {
                seen_to: seen_to.iter().map(String::as_str).collect(),
                others: others.iter().copied().map(NodeId).collect(),
            });
            let orders = Orders { binary, plain, handed_on, groups: groups.iter().map(String::as_str).collect(), unknown };
            let mut payload = Vec::new();
            orders.encode(&mut payload);
            payload.extend_from_slice(&message);
            prop_assert_eq!(Orders::decode(&payload), Ok((orders, &message[..])));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Orders::decode(&payload);
        }
    }

    #[test]
    fn the_usual_orders_are_one_byte() {
        let mut out = Vec::new();
        Orders::plain(false).encode(&mut out);
        Orders::plain(true).encode(&mut out);
        assert_eq!(out, [0x02, 0x03]);
    }

    #[test]
    fn what_a_later_version_says_is_not_guessed_at() {
        assert!(Orders::decode(&[0x22, b'x']).is_err());
        assert!(Orders::decode(&[]).is_err());
        assert!(Orders::decode(&[0x04, 0]).is_err(), "groups without one");
        assert!(Orders::decode(&[0x04, 1, 1, b'\n']).is_err());
    }
}
