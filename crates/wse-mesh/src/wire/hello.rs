//! How two nodes meet: HELLO, and which of their links counts (STAND, KEEP).

use std::fmt;

use super::address::Address;
use super::bytes::{Malformed, Reader, put_bytes, put_number};
use super::header::MAX_FRAME;
use crate::ids::{Incarnation, NodeId, Session};

/// What every HELLO begins with.
const MAGIC: &[u8; 4] = b"WSEM";

/// The name of a cluster is at most this long.
pub const MAX_CLUSTER_NAME: usize = 255;

/// No node takes less: lists of members must fit.
pub const LEAST_MAX_FRAME: usize = 4096;

/// Capability: payloads compressed with zstd are understood.
pub const ZSTD: u64 = 1;
/// Capability: the node keeps logs of topics with history.
pub const HISTORY: u64 = 2;

const LEAVING: u8 = 1;
const JOINING: u8 = 2;
const ESTABLISHED: u8 = 4;

/// The versions of the protocol that a node speaks: all from `oldest` to `newest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first that it still speaks.
    pub oldest: u64,
    /// The last that it knows.
    pub newest: u64,
}

impl Versions {
    /// Those of this program.
    pub const OURS: Versions = Versions { oldest: 1, newest: 1 };

    /// The newest that both speak.
    #[must_use]
    pub fn common(self, other: Versions) -> Option<u64> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "{}", self.newest)
        } else {
            write!(f, "{} to {}", self.oldest, self.newest)
        }
    }
}

/// The first frame of each side of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which versions the speaker knows.
    pub versions: Versions,
    /// Of which cluster it is.
    pub cluster: String,
    /// Who it is.
    pub id: NodeId,
    /// How often it has contradicted what was said about it.
    pub incarnation: Incarnation,
    /// What it can do: bits like [`ZSTD`]; unknown ones are ignored.
    pub capabilities: u64,
    /// The longest frame that it takes, header included.
    pub max_frame: usize,
    /// It is leaving already.
    pub leaving: bool,
    /// It has met nobody yet who does not say so too.
    pub joining: bool,
    /// It is one of a cluster, to whom this node is a newcomer.
    pub established: bool,
    /// How it calls this link.
    pub session: Session,
    /// Where it listens, if it knows.
    pub address: Option<Address>,
}

/// A HELLO as far as it can be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// All of it.
    Hello(Hello),
    /// No version is common; what follows may mean anything.
    Foreign(Versions),
}

impl Hello {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_number(&mut out, self.versions.newest);
        put_number(&mut out, self.versions.oldest);
        put_bytes(&mut out, self.cluster.as_bytes());
        out.extend_from_slice(&self.id.0.to_le_bytes());
        put_number(&mut out, self.incarnation.0.into());
        put_number(&mut out, self.capabilities);
        put_number(&mut out, self.max_frame as u64);
        out.push(flags_of(&[
            (self.leaving, LEAVING),
            (self.joining, JOINING),
            (self.established, ESTABLISHED),
        ]));
        out.extend_from_slice(&self.session.0.to_le_bytes());
        put_address(&mut out, self.address.as_ref());
        out
    }

    /// Reads a payload, as a node that speaks `ours`.
    ///
    /// # Errors
    /// It is no HELLO, or cut, or a field is out of range.
    pub fn decode(payload: &[u8], ours: Versions) -> Result<Greeting, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.take(MAGIC.len(), "magic of HELLO")? != MAGIC {
            return Err(Malformed("magic of HELLO"));
        }
        let newest = reader.number("newest version")?;
        let oldest = reader.number("oldest version")?;
        let versions = Versions { oldest, newest };
        if ours.common(versions).is_none() {
            return Ok(Greeting::Foreign(versions));
        }
        let cluster = reader.text("cluster name")?;
        if cluster.len() > MAX_CLUSTER_NAME {
            return Err(Malformed("cluster name"));
        }
        let id = NodeId(reader.fixed64("id")?);
        let incarnation = read_incarnation(&mut reader)?;
        let capabilities = reader.number("capabilities")?;
        let max_frame = read_max_frame(&mut reader)?;
        let flags = reader.byte("flags")?;
        Ok(Greeting::Hello(Hello {
            versions,
            cluster: cluster.to_owned(),
            id,
            incarnation,
            capabilities,
            max_frame,
            leaving: flags & LEAVING != 0,
            joining: flags & JOINING != 0,
            established: flags & ESTABLISHED != 0,
            session: Session(reader.fixed64("session")?),
            address: read_address(&mut reader)?,
        }))
    }
}

/// The bits of what is true.
pub(super) fn flags_of(told: &[(bool, u8)]) -> u8 {
    told.iter().filter(|(is_so, _)| *is_so).fold(0, |flags, (_, bit)| flags | bit)
}

fn read_max_frame(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    let told = usize::try_from(reader.number("longest frame")?).map_err(|_| Malformed("longest frame"))?;
    if told < LEAST_MAX_FRAME { Err(Malformed("longest frame")) } else { Ok(told.min(MAX_FRAME)) }
}

pub(super) fn read_incarnation(reader: &mut Reader<'_>) -> Result<Incarnation, Malformed> {
    let number = reader.number("incarnation")?;
    u32::try_from(number).map(Incarnation).map_err(|_| Malformed("incarnation"))
}

pub(super) fn read_address(reader: &mut Reader<'_>) -> Result<Option<Address>, Malformed> {
    match reader.text("address")? {
        "" => Ok(None),
        text => Address::parse(text).map(Some).map_err(|_| Malformed("address")),
    }
}

pub(super) fn put_address(out: &mut Vec<u8>, address: Option<&Address>) {
    put_bytes(out, address.map_or("", Address::as_str).as_bytes());
}

/// The listener's names of those links with it that stand at the speaker's, but for the one that this comes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// How many of these the speaker has said: the one with the higher number is newer, whatever comes first.
    pub number: u64,
    /// The links.
    pub sessions: Vec<Session>,
}

impl Stand {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 8 * self.sessions.len());
        put_number(&mut out, self.number);
        put_number(&mut out, self.sessions.len() as u64);
        for session in &self.sessions {
            out.extend_from_slice(&session.0.to_le_bytes());
        }
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is cut.
    pub fn decode(payload: &[u8]) -> Result<Stand, Malformed> {
        let mut reader = Reader::new(payload);
        let number = reader.number("number of STAND")?;
        let count = reader.count(8, "links that stand")?;
        let sessions =
            (0..count).map(|_| reader.fixed64("links that stand").map(Session)).collect::<Result<_, _>>()?;
        Ok(Stand { number, sessions })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::wire) fn address() -> impl Strategy<Value = Option<Address>> {
        prop::option::of("[a-z0-9.-]{1,20}:[1-9][0-9]{0,3}".prop_map(|text| Address::parse(&text).unwrap()))
    }

    fn hello() -> impl Strategy<Value = Hello> {
        let numbers = (
            1_u64..3,
            0_u64..4,
            any::<u64>(),
            any::<u32>(),
            any::<u64>(),
            LEAST_MAX_FRAME..=MAX_FRAME,
            any::<u64>(),
        );
        (numbers, "[a-zä ]{0,20}", any::<(bool, bool, bool)>(), address()).prop_map(
            |(numbers, cluster, (leaving, joining, established), address)| {
                let (oldest, more, id, incarnation, capabilities, max_frame, session) = numbers;
                Hello {
                    versions: Versions { oldest, newest: oldest + more },
                    cluster,
                    id: NodeId(id),
                    incarnation: Incarnation(incarnation),
                    capabilities,
                    max_frame,
                    leaving,
                    joining,
                    established,
                    session: Session(session),
                    address,
                }
            },
        )
    }

    const MANY: Versions = Versions { oldest: 1, newest: 9 };

    proptest! {
        #[test]
        fn a_hello_is_read_as_it_was_written_and_later_fields_are_ignored(hello in hello(), more in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut payload = hello.encode();
            payload.extend(more);
            prop_assert_eq!(Hello::decode(&payload, MANY), Ok(Greeting::Hello(hello)));
        }

        #[test]
        fn a_hello_that_is_cut_is_malformed(hello in hello(), at in any::<prop::sample::Index>()) {
            let payload = hello.encode();
            let cut = &payload[..at.index(payload.len())];
            prop_assert!(Hello::decode(cut, MANY).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let magic = [&MAGIC[..], &bytes].concat();
            let _ = (Hello::decode(&bytes, Versions::OURS), Hello::decode(&magic, Versions::OURS), Stand::decode(&bytes));
        }

        #[test]
        fn links_that_stand_are_read_as_they_were_written(number: u64, sessions in prop::collection::vec(any::<u64>(), 0..20)) {
            let stand = Stand { number, sessions: sessions.into_iter().map(Session).collect() };
            prop_assert_eq!(Stand::decode(&stand.encode()), Ok(stand));
        }
    }

    #[test]
    fn nodes_speak_the_newest_version_that_both_know() {
        let speaks = |oldest, newest| Versions { oldest, newest };
        assert_eq!(speaks(1, 2).common(speaks(2, 3)), Some(2));
        assert_eq!(speaks(1, 5).common(speaks(2, 3)), Some(3));
        assert_eq!(speaks(1, 1).common(speaks(2, 3)), None);
        assert_eq!(speaks(3, 2).common(speaks(1, 9)), None, "a range that is upside down is nobody's");
    }

    #[test]
    fn of_a_foreign_hello_only_the_versions_are_read() {
        let foreign = [&MAGIC[..], &[9, 8, 0xff]].concat();
        assert_eq!(
            Hello::decode(&foreign, Versions::OURS),
            Ok(Greeting::Foreign(Versions { oldest: 8, newest: 9 }))
        );
    }
}
