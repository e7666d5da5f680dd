//! What nodes tell each other of nodes: PEER_ANNOUNCE, PEER_LIST; and PING, PONG.

use super::address::Address;
use super::bytes::{Malformed, Reader, put_bytes, put_number};
use super::hello::{flags_of, put_address, read_address, read_incarnation};
use crate::ids::{Incarnation, NodeId};

/// A frame with a list of members is at most this long; more members come in several.
pub const MAX_LIST: usize = 32 << 10;

/// An entry cannot be shorter, its length in front included.
const LEAST_ENTRY: usize = 13;

const STATE: u8 = 0x03;
const LEAVING: u8 = 0x04;
const JOINING: u8 = 0x08;
const ESTABLISHED: u8 = 0x10;

/// What the speaker has seen of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// There is a link with it that counts; of oneself: I am here.
    Alive,
    /// There was one.
    Suspect,
    /// It said SHUTDOWN.
    Gone,
}

/// One node, as the speaker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub id: NodeId,
    /// The newest that the speaker knows.
    pub incarnation: Incarnation,
    /// What the speaker has seen of it.
    pub told: Told,
    /// It said DRAIN.
    pub leaving: bool,
    /// It has met nobody yet who does not say so too. Nobody says this of another.
    pub joining: bool,
    /// It is one of a cluster, to whom the speaker's listener is a newcomer. Nobody says this of another.
    pub established: bool,
    /// How long ago the speaker heard it.
    pub silent_ms: u64,
    /// Where it listens, if that is known.
    pub address: Option<Address>,
}

impl Entry {
    /// The payload of a PEER_ANNOUNCE.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.extend_from_slice(&self.id.0.to_le_bytes());
        put_number(&mut out, self.incarnation.0.into());
        let state = match self.told {
            Told::Alive => 0,
            Told::Suspect => 1,
            Told::Gone => 2,
        };
        let flags = [(self.leaving, LEAVING), (self.joining, JOINING), (self.established, ESTABLISHED)];
        out.push(state | flags_of(&flags));
        put_number(&mut out, self.silent_ms);
        put_address(&mut out, self.address.as_ref());
        out
    }

    /// Reads the payload of a PEER_ANNOUNCE.
    ///
    /// # Errors
    /// It is cut, or a field is out of range.
    pub fn decode(payload: &[u8]) -> Result<Entry, Malformed> {
        let mut reader = Reader::new(payload);
        let id = NodeId(reader.fixed64("id")?);
        let incarnation = read_incarnation(&mut reader)?;
        let flags = reader.byte("flags")?;
        let told = match flags & STATE {
            0 => Told::Alive,
            2 => Told::Gone,
            // A later version may mean something by 3; whatever it is, the node is not known to be well.
            _ => Told::Suspect,
        };
        let silent_ms = reader.number("silence")?;
        let address = read_address(&mut reader)?;
        Ok(Entry {
            id,
            incarnation,
            told,
            leaving: flags & LEAVING != 0,
            joining: flags & JOINING != 0,
            established: flags & ESTABLISHED != 0,
            silent_ms,
            address,
        })
    }
}

/// The payloads of PEER_LIST frames with these entries, each of at most `max` bytes.
#[must_use]
pub fn encode_lists(entries: &[Entry], max: usize) -> Vec<Vec<u8>> {
    let mut lists = Vec::new();
    let (mut count, mut body) = (0_u64, Vec::new());
    for entry in entries {
        let before = body.len();
        put_bytes(&mut body, &entry.encode());
        // Two bytes hold any count that fits.
        if body.len() + 2 > max && count > 0 {
            lists.push(with_count(count, &body[..before]));
            body.drain(..before);
            count = 0;
        }
        count += 1;
    }
    if count > 0 {
        lists.push(with_count(count, &body));
    }
    lists
}

fn with_count(count: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    put_number(&mut out, count);
    out.extend_from_slice(body);
    out
}

/// Reads the payload of a PEER_LIST.
///
/// # Errors
/// It is longer than any list may be, cut, or an entry is.
pub fn decode_list(payload: &[u8]) -> Result<Vec<Entry>, Malformed> {
    if payload.len() > MAX_LIST {
        return Err(Malformed("a list longer than 32 KiB"));
    }
    let mut reader = Reader::new(payload);
    let count = reader.count(LEAST_ENTRY, "members")?;
    (0..count).map(|_| Entry::decode(reader.bytes("member")?)).collect()
}

/// The payload of PING and PONG: a number that the asker gets back.
#[must_use]
pub fn encode_stamp(stamp: u64) -> Vec<u8> {
    stamp.to_le_bytes().to_vec()
}

/// Reads the payload of PING and PONG.
///
/// # Errors
/// It is cut.
pub fn decode_stamp(payload: &[u8]) -> Result<u64, Malformed> {
    Reader::new(payload).fixed64("stamp")
}

#[cfg(test)]
mod tests {
    use super::super::hello::tests::address;
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let told = prop_oneof![Just(Told::Alive), Just(Told::Suspect), Just(Told::Gone)];
        (any::<u64>(), any::<u32>(), told, any::<bool>(), any::<u64>(), address()).prop_map(
            |(id, incarnation, told, leaving, silent_ms, address)| Entry {
                id: NodeId(id),
                incarnation: Incarnation(incarnation),
                told,
                leaving,
                joining: silent_ms % 2 == 1,
                established: silent_ms % 4 > 1,
                silent_ms,
                address,
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written_and_later_fields_are_ignored(entry in entry(), more in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut payload = entry.encode();
            payload.extend(more);
            prop_assert_eq!(Entry::decode(&payload), Ok(entry));
        }

        #[test]
        fn a_list_comes_in_frames_within_the_limit_and_in_order(entries in prop::collection::vec(entry(), 0..60), max in 300_usize..2000) {
            let lists = encode_lists(&entries, max);
            prop_assert!(lists.iter().all(|list| list.len() <= max));
            let read: Result<Vec<_>, _> = lists.iter().map(|list| decode_list(list)).collect();
            prop_assert_eq!(read.map(|lists| lists.concat()), Ok(entries));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Entry::decode(&bytes), decode_list(&bytes), decode_stamp(&bytes));
        }
    }

    #[test]
    fn a_list_that_promises_more_than_it_holds_is_refused_before_room_is_made() {
        let mut payload = Vec::new();
        put_number(&mut payload, u64::MAX);
        assert_eq!(decode_list(&payload), Err(Malformed("members")));
        assert!(decode_list(&vec![0; MAX_LIST + 1]).is_err());
    }

    #[test]
    fn an_entry_in_the_list_of_a_later_version_may_be_longer() {
        let entry = Entry {
            id: NodeId(7),
            incarnation: Incarnation(1),
            told: Told::Alive,
            leaving: false,
            joining: false,
            established: false,
            silent_ms: 0,
            address: None,
        };
        let longer = [entry.encode(), vec![1, 2, 3]].concat();
        let mut list = vec![2];
        put_bytes(&mut list, &longer);
        put_bytes(&mut list, &longer);
        assert_eq!(decode_list(&list), Ok(vec![entry.clone(), entry]));
    }
}
