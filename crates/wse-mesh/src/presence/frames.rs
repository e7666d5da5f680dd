//! The payloads of the frames about presence.

use wse_core::presence::{Data, Entry};
use wse_core::protocol::scan::Members;
use wse_core::topic::Filter;

use super::Key;
use crate::wire::Kind;
use crate::wire::bytes::{Malformed, Reader, put_bytes, put_number};

/// The highest stamp.
pub(super) const MAX_STAMP: u64 = (1 << 62) - 1;

/// The shortest item: no topic, a user without a name, no connections.
const SHORTEST: usize = 3;

const LAST: u8 = 0x01;

/// What an author says of a user in a topic, as it is read; `None` that it is not there.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) topic: &'a str,
    pub(super) user: &'a str,
    pub(super) entry: Option<Entry>,
}

/// Items one after the other: they are read twice, first to see whether all are right.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    reader: Reader<'a>,
    left: usize,
    topic: &'a str,
}

impl<'a> Items<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let left = reader.count(SHORTEST, "count of items")?;
        let items = Self { reader, left, topic: "" };
        items.clone().try_for_each(|item| item.map(|_| ()))?;
        Ok(items)
    }

    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// The items, all of them right.
    pub(super) fn read(&self) -> impl Iterator<Item = Item<'a>> {
        self.clone().map(|item| item.expect("was read before without an error"))
    }

    fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let topic = self.reader.text("topic of an item")?;
        if !topic.is_empty() {
            self.topic = topic;
        }
        Filter::parse_exact(self.topic).map_err(|_| Malformed("topic of an item"))?;
        let user = self.reader.text("user of an item")?;
        let connections = self.reader.number("connections of an item")?;
        let connections = u32::try_from(connections).map_err(|_| Malformed("connections of an item"))?;
        let entry = if connections == 0 { None } else { Some(self.entry(connections)?) };
        Ok(Item { topic: self.topic, user, entry })
    }

    fn entry(&mut self, connections: u32) -> Result<Entry, Malformed> {
        let stamp = self.reader.fixed64("stamp of an item")?;
        if stamp > MAX_STAMP {
            return Err(Malformed("stamp of an item"));
        }
        let json = self.reader.text("data of an item")?;
        if !is_object(json) {
            return Err(Malformed("data of an item"));
        }
        let data = Data::new(json, json.len()).expect("as long as it is");
        Ok(Entry { connections, data, stamp })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.item())
    }
}

/// Whether a text has the form of an object, so that it can stand in what clients are sent.
fn is_object(json: &str) -> bool {
    let mut members = Members::new(json);
    members.by_ref().for_each(drop);
    json.starts_with('{') && json.ends_with('}') && members.is_whole()
}

/// The most that an item comes to when it is sent.
pub(super) fn most_bytes((topic, user): &Key, entry: Option<&Entry>) -> usize {
    // A length is at most five bytes, the connections too.
    let data = entry.map_or(0, |entry| 13 + entry.data.as_str().len());
    15 + topic.len() + user.len() + data
}

/// Writes items; the topic is written when it is another.
#[derive(Debug, Default)]
pub(super) struct Writer<'a> {
    bytes: Vec<u8>,
    count: u64,
    topic: &'a str,
}

impl<'a> Writer<'a> {
    /// Whether another item makes more of it than so many bytes; the first never does.
    pub(super) fn is_full_for(&self, key: &Key, entry: Option<&Entry>, max_bytes: usize) -> bool {
        self.count > 0 && self.bytes.len() + most_bytes(key, entry) > max_bytes
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn push(&mut self, (topic, user): &'a Key, entry: Option<&Entry>) {
        self.count += 1;
        let is_same = std::mem::replace(&mut self.topic, topic) == &**topic;
        put_bytes(&mut self.bytes, if is_same { b"" } else { topic.as_bytes() });
        put_bytes(&mut self.bytes, user.as_bytes());
        put_number(&mut self.bytes, entry.map_or(0, |entry| u64::from(entry.connections)));
        if let Some(entry) = entry {
            self.bytes.extend_from_slice(&entry.stamp.to_le_bytes());
            put_bytes(&mut self.bytes, entry.data.as_str().as_bytes());
        }
    }

    /// PRESENCE_DELTA, the first item with this version.
    pub(super) fn delta(&self, first: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 20);
        put_number(&mut out, first);
        self.finish(out)
    }

    /// PRESENCE_SNAPSHOT, of the entries as they are at a version.
    pub(super) fn part(&self, number: u64, part: u64, is_last: bool, version: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 40);
        put_number(&mut out, number);
        put_number(&mut out, part);
        out.push(if is_last { LAST } else { 0 });
        put_number(&mut out, version);
        self.finish(out)
    }

    fn finish(&self, mut out: Vec<u8>) -> Vec<u8> {
        put_number(&mut out, self.count);
        out.extend_from_slice(&self.bytes);
        out
    }
}

/// PRESENCE_DELTA, as it is read.
#[derive(Debug)]
pub(super) struct Delta<'a> {
    pub(super) first: u64,
    /// That of the last item; of none, the one that the author has.
    pub(super) version: u64,
    pub(super) items: Items<'a>,
}

impl<'a> Delta<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let first = reader.number("version of a delta")?;
        let items = Items::decode(reader)?;
        let version = first.checked_sub(1).and_then(|before| before.checked_add(items.len() as u64));
        let version = version.filter(|version| *version < u64::MAX).ok_or(Malformed("version of a delta"))?;
        Ok(Self { first, version, items })
    }
}

/// PRESENCE_SNAPSHOT, as it is read.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) number: u64,
    pub(super) part: u64,
    pub(super) is_last: bool,
    pub(super) version: u64,
    pub(super) items: Items<'a>,
}

impl<'a> Part<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let number = reader.number("number of a snapshot")?;
        let part = reader.number("part of a snapshot")?;
        let is_last = reader.byte("flags of a snapshot")? & LAST != 0;
        let version = reader.number("version of a snapshot")?;
        let items = Items::decode(reader)?;
        if number == 0 || (items.len() == 0 && !is_last) || version == u64::MAX {
            return Err(Malformed("number of a snapshot"));
        }
        let mut before = None;
        for item in items.read() {
            let place = (item.topic, item.user);
            if item.entry.is_none() || before.is_some_and(|before| before >= place) {
                return Err(Malformed("order of a snapshot"));
            }
            before = Some(place);
        }
        Ok(Self { number, part, is_last, version, items })
    }
}

/// The topics of which a frame brings news, in its order, one that follows itself once; none of a frame without items.
///
/// # Errors
/// It is not what its kind says.
pub fn topics_of(kind: Kind, payload: &[u8]) -> Result<Vec<&str>, Malformed> {
    let items = match kind {
        Kind::PresenceDelta => Delta::decode(payload)?.items,
        Kind::PresenceSnapshot => Part::decode(payload)?.items,
        _ => return Ok(Vec::new()),
    };
    let mut topics: Vec<&str> = items.read().map(|item| item.topic).collect();
    topics.dedup();
    Ok(topics)
}

/// PRESENCE_ASK: how far a snapshot has come, or that one is wanted.
pub(super) fn ask(number: u64, parts: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, number);
    put_number(&mut out, parts);
    out
}

pub(super) fn read_ask(payload: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut reader = Reader::new(payload);
    Ok((reader.number("number of an ask")?, reader.number("parts of an ask")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        (1_u32.., 0..=MAX_STAMP, "[a-z]{0,5}").prop_map(|(connections, stamp, text)| {
            let json = format!("{{\"n\":\"{text}\"}}");
            Entry { connections, data: Data::new(&json, 100).unwrap(), stamp }
        })
    }

    proptest! {
        #[test]
        fn items_are_read_as_they_were_written(
            items in prop::collection::btree_map(("[a-c]{1,2}", "\\PC{0,5}"), prop::option::of(entry()), 0..9), first in 1_u64..1000,
        ) {
            let keys: Vec<(Key, Option<Entry>)> =
                items.into_iter().map(|((topic, user), entry)| ((topic.into(), user.into()), entry)).collect();
            let mut writer = Writer::default();
            keys.iter().for_each(|(key, entry)| writer.push(key, entry.as_ref()));
            let payload = writer.delta(first);
            let delta = Delta::decode(&payload).unwrap();
            prop_assert_eq!((delta.first, delta.version), (first, first - 1 + keys.len() as u64));
            let read = delta.items.read().map(|item| ((item.topic.into(), item.user.into()), item.entry));
            prop_assert_eq!(&read.collect::<Vec<_>>(), &keys);
            let payload = writer.part(1, 0, true, 9);
            let is_snapshot = keys.iter().all(|(_, entry)| entry.is_some());
            prop_assert_eq!(Part::decode(&payload).is_ok(), is_snapshot);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Delta::decode(&payload), Part::decode(&payload), read_ask(&payload));
        }
    }

    #[test]
    fn what_is_no_item_is_refused() {
        let item = |text: &[u8]| Delta::decode(&[&[1, 1], text].concat()).map(|_| ());
        let stamp = [0; 8];
        assert_eq!(item(b"\x01t\x01u\x00"), Ok(()));
        assert_eq!(item(&[b"\x01t\x01u\x01", &stamp[..], b"\x02{}"].concat()), Ok(()));
        for (wrong, field) in [
            (&b"\x00\x01u\x00"[..], "topic of an item"),
            (b"\x01*\x01u\x00", "topic of an item"),
            (b"\x01t\x01\xff\x00", "user of an item"),
            (&[b"\x01t\x01u\x01", &stamp[..], b"\x02[]"].concat(), "data of an item"),
            (&[b"\x01t\x01u\x01", &stamp[..], b"\x04{}{}"].concat(), "data of an item"),
            (&[b"\x01t\x01u\x01", &[0xff; 8][..], b"\x02{}"].concat(), "stamp of an item"),
        ] {
            assert_eq!(item(wrong), Err(Malformed(field)), "{wrong:?}");
        }
        assert!(Delta::decode(&[0, 0]).is_err(), "versions of items begin with 1");
    }
}
