//! Messages of a log in a frame: the offset of the first, then each, up to the end of the payload.
//!
//! A message begins with a byte of flags that says what is not as it was for the one before: its segment, its publisher (else it is the same
//! and its number the next), and whether its age is told. So a message costs two bytes in the usual case.

use wse_core::history::Epoch;

use super::{counted, epoch, node, put_epoch, put_node, put_term, term};
use crate::ids::NodeId;
use crate::log::history::History;
use crate::log::ring::Entry;
use crate::log::term::Term;
use crate::wire::bytes::{Malformed, Reader, put_bytes, put_number};

const SEGMENT: u8 = 1;
const PUBLISHER: u8 = 2;
const AGE: u8 = 4;

/// A message of a log as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Of its segment.
    pub term: Term,
    /// Of its segment.
    pub epoch: Epoch,
    /// Who published it.
    pub publisher: NodeId,
    /// Its number among the publisher's.
    pub seq: u64,
    /// How long ago it was stamped.
    pub age_ms: u64,
    /// What it says.
    pub message: &'a [u8],
}

impl Item<'_> {
    pub(crate) fn to_entry(self, now_ms: u64) -> Entry {
        Entry {
            publisher: self.publisher,
            seq: self.seq,
            at_ms: now_ms.saturating_sub(self.age_ms),
            message: self.message.into(),
        }
    }
}

/// Consecutive messages of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<'a> {
    /// The offset of the first.
    pub first: u64,
    /// The messages.
    pub items: Vec<Item<'a>>,
}

impl<'a> Items<'a> {
    /// The offset of the last, or the one before the first if there are none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.items.len() as u64 - 1
    }

    pub(crate) fn to_entries(&self, now_ms: u64) -> Vec<Entry> {
        self.items.iter().map(|item| item.to_entry(now_ms)).collect()
    }

    /// Reads up to the end of the payload.
    ///
    /// # Errors
    /// A field is cut or out of range, or the terms fall.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let first = counted(reader, "first offset")?;
        if first == 0 {
            return Err(Malformed("first offset"));
        }
        let mut items: Vec<Item<'a>> = Vec::new();
        while reader.left() > 0 {
            let flags = reader.byte("entry")?;
            let before = items.last().copied();
            let (term, epoch) = match before {
                _ if flags & SEGMENT != 0 => {
                    (term(reader, "term of an entry")?, epoch(reader, "epoch of an entry")?)
                }
                Some(before) => (before.term, before.epoch),
                None => return Err(Malformed("entry")),
            };
            if before.is_some_and(|before| flags & SEGMENT != 0 && before.term >= term) {
                return Err(Malformed("term of an entry"));
            }
            let (publisher, seq) = match before {
                _ if flags & PUBLISHER != 0 => {
                    (node(reader, "publisher")?, counted(reader, "number of an entry")?)
                }
                Some(before) => (before.publisher, before.seq + 1),
                None => return Err(Malformed("entry")),
            };
            if seq == 0 {
                return Err(Malformed("number of an entry"));
            }
            let age_ms = if flags & AGE != 0 { counted(reader, "age")? } else { 0 };
            items.push(Item { term, epoch, publisher, seq, age_ms, message: reader.bytes("message")? });
        }
        Ok(Self { first, items })
    }
}

/// Writes messages after an offset, up to another or until there are about so many bytes, at least one; answers the offset of the last.
pub(crate) fn put_entries(
    out: &mut Vec<u8>,
    history: &History,
    after: u64,
    upto: u64,
    now_ms: u64,
    part_bytes: usize,
) -> u64 {
    put_number(out, after + 1);
    let begin = out.len();
    let (mut end_of_segment, mut before): (u64, Option<(NodeId, u64)>) = (0, None);
    for (offset, entry) in history.ring.range(after, upto) {
        if out.len() - begin + entry.message.len() > part_bytes && offset > after + 1 {
            return offset - 1;
        }
        let age_ms = now_ms.saturating_sub(entry.at_ms);
        let segment = offset > end_of_segment;
        let publisher = before.is_none_or(|(node, seq)| node != entry.publisher || seq + 1 != entry.seq);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(flag(segment, SEGMENT) | flag(publisher, PUBLISHER) | flag(age_ms > 0, AGE));
        if segment {
            let at = *history.chain.at(offset).expect("what is kept has an epoch");
            put_term(out, at.term);
            put_epoch(out, at.epoch);
            end_of_segment = history.segment_of(offset).1;
        }
        if publisher {
            put_node(out, entry.publisher);
            put_number(out, entry.seq);
        }
        if age_ms > 0 {
            put_number(out, age_ms);
        }
        put_bytes(out, &entry.message);
        before = Some((entry.publisher, entry.seq));
    }
    upto
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::history::History;
    use proptest::prelude::*;

    fn history(floor: u64, steps: &[(bool, u64, bool, u64, Vec<u8>)]) -> History {
        let mut history = History::default();
        history.ring.reset(floor);
        history.commit = floor;
        let (mut term, mut seq) = (0, 1);
        for (new_segment, publisher, skips, at_ms, message) in steps {
            term += u64::from(*new_segment);
            seq += 1 + u64::from(*skips);
            let entry = Entry {
                publisher: NodeId(*publisher),
                seq,
                at_ms: *at_ms,
                message: message.as_slice().into(),
            };
            history.append(Term { count: term, node: NodeId(1) }, Epoch::new(term as u32), entry);
        }
        history
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            floor in 0_u64..300,
            steps in prop::collection::vec((prop::bool::weighted(0.1), 1_u64..3, any::<bool>(), 0_u64..9, prop::collection::vec(any::<u8>(), 0..9)), 1..40),
            part in 1_usize..200,
        ) {
            let history = history(floor, &steps);
            let (mut after, mut read) = (history.floor(), 0);
            while after < history.top() {
                let mut out = Vec::new();
                let end = put_entries(&mut out, &history, after, history.top(), 9, part);
                let items = Items::decode(&mut Reader::new(&out)).unwrap();
                prop_assert_eq!((items.first, items.end()), (after + 1, end));
                for (item, offset) in items.items.iter().zip(after + 1..) {
                    let (kept, at) = (history.ring.get(offset).unwrap(), history.chain.at(offset).unwrap());
                    prop_assert_eq!((item.term, item.epoch), (at.term, at.epoch));
                    prop_assert_eq!((item.publisher, item.seq, item.age_ms), (kept.publisher, kept.seq, 9 - kept.at_ms));
                    prop_assert_eq!(item.message, &*kept.message);
                    read += 1;
                }
                after = end;
            }
            prop_assert_eq!(read, history.top() - history.floor());
        }
    }
}
