//! Frames about one topic, which is in the topic field of the frame.

use wse_core::history::Position;

use super::entries::Items;
use super::{chain, counted, last, position, put_chain, put_last, put_position, put_term, term};
use crate::log::chain::Chain;
use crate::log::history::Lead;
use crate::log::last::Last;
use crate::log::term::Term;
use crate::wire::bytes::{Malformed, Reader, put_bytes, put_number};

/// LOG_REPLICA_SYNC and LOG_SYNC: a log from some offset on, or the first part of it. All but `lead` and `floor` is as of the last entry
/// that is in the frame; the rest follows as single entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync<'a> {
    /// Of the home.
    pub term: Term,
    /// How good the whole log is.
    pub lead: Lead,
    /// What the home itself keeps begins after this offset.
    pub floor: u64,
    /// Up to here it is sent now: in this frame and in those that follow.
    pub end: u64,
    /// The log need not go on from what the receiver has.
    pub fresh: bool,
    /// The segments.
    pub chain: Chain,
    /// How much is committed.
    pub commit: u64,
    /// The publishers.
    pub last: Last,
    /// The messages.
    pub entries: Items<'a>,
}

/// What [`Sync`] has in front of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncHead {
    /// See [`Sync`].
    pub term: Term,
    /// See [`Sync`].
    pub lead: Lead,
    /// See [`Sync`].
    pub floor: u64,
    /// See [`Sync`].
    pub end: u64,
    /// See [`Sync`].
    pub fresh: bool,
    /// See [`Sync`].
    pub chain: Chain,
    /// See [`Sync`].
    pub commit: u64,
    /// See [`Sync`].
    pub last: Last,
}

impl SyncHead {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_term(out, self.term);
        out.push(u8::from(self.fresh) | u8::from(self.lead.term.is_some()) << 1);
        if let Some(term) = self.lead.term {
            put_term(out, term);
        }
        put_number(out, self.lead.top);
        put_number(out, self.floor);
        put_number(out, self.end);
        put_chain(out, &self.chain);
        put_number(out, self.commit);
        put_last(out, &self.last);
    }
}

impl<'a> Sync<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let of = term(reader, "term")?;
        let flags = reader.byte("flags")?;
        let lead_term = if flags & 2 != 0 { Some(term(reader, "lead")?) } else { None };
        let lead = Lead { term: lead_term, top: counted(reader, "lead")? };
        let floor = counted(reader, "floor")?;
        let end = counted(reader, "end")?;
        let chain = chain(reader)?;
        let commit = counted(reader, "commit")?;
        let last = last(reader)?;
        let entries = Items::decode(reader)?;
        let mut offsets = (entries.first..).zip(&entries.items);
        let agrees = offsets.all(|(offset, item)| {
            chain.at(offset).is_some_and(|segment| (segment.term, segment.epoch) == (item.term, item.epoch))
        });
        let within =
            chain.last().is_some_and(|segment| segment.first <= entries.end() + 1) && commit <= entries.end();
        // A home has taken a term above all that its log has seen.
        let is_older = chain.last().is_some_and(|segment| segment.term <= of);
        if !agrees || !within || !is_older {
            return Err(Malformed("log"));
        }
        Ok(Self { term: of, lead, floor, end, fresh: flags & 1 != 0, chain, commit, last, entries })
    }
}

/// LOG_REPLICATE and LOG_ENTRIES: messages that follow what the receiver has. To a follower `commit` is the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// Of the home.
    pub term: Term,
    /// How much is committed.
    pub commit: u64,
    /// The messages.
    pub entries: Items<'a>,
}

pub(crate) fn put_entries_head(out: &mut Vec<u8>, term: Term, commit: u64) {
    put_term(out, term);
    put_number(out, commit);
}

impl<'a> Entries<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let of = term(reader, "term")?;
        let (commit, entries) = (counted(reader, "commit")?, Items::decode(reader)?);
        if entries.items.last().is_some_and(|item| item.term > of) {
            return Err(Malformed("term of an entry"));
        }
        Ok(Self { term: of, commit, entries })
    }
}

/// LOG_FETCH: the messages after one offset up to another are wanted, the last of them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// After this one,
    pub after: u64,
    /// up to this one.
    pub upto: u64,
}

impl Fetch {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_number(out, self.after);
        put_number(out, self.upto);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let fetch = Self { after: counted(reader, "after")?, upto: counted(reader, "up to")? };
        if fetch.after < fetch.upto { Ok(fetch) } else { Err(Malformed("up to")) }
    }
}

/// LOG_FETCHED: the last of the messages that were wanted, as many as go into a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched<'a> {
    /// What was asked.
    pub fetch: Fetch,
    /// Whether more of what was asked is kept.
    pub more: bool,
    /// The messages; the last one is the last that was asked for, unless there are none.
    pub entries: Items<'a>,
}

pub(crate) fn put_fetched_head(out: &mut Vec<u8>, fetch: Fetch, more: bool) {
    fetch.encode(out);
    out.push(u8::from(more));
}

impl<'a> Fetched<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let fetch = Fetch { after: counted(reader, "after")?, upto: counted(reader, "up to")? };
        let more = reader.byte("more")? & 1 != 0;
        let entries = Items::decode(reader)?;
        if entries.end() != fetch.upto || entries.first <= fetch.after || (more && entries.items.is_empty()) {
            return Err(Malformed("entries"));
        }
        Ok(Self { fetch, more, entries })
    }
}

/// LOG_HEAD_QUERY: is this position in your log?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadQuery {
    /// Of the home that is asked.
    pub term: Term,
    /// The position.
    pub position: Position,
}

/// What the home says of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// It is not in the log.
    No,
    /// It is, and the messages up to it were sent before this answer.
    Yes,
    /// It is, and not committed yet.
    Later,
}

impl HeadQuery {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_term(out, self.term);
        put_position(out, self.position);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(payload))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { term: term(reader, "term")?, position: position(reader, "position")? })
    }

    pub(crate) fn encode_reply(self, head: Head, out: &mut Vec<u8>) {
        self.encode(out);
        out.push(head as u8);
    }

    /// Reads the payload of LOG_HEAD_REPLY: the question again, and the answer.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_reply(payload: &[u8]) -> Result<(Self, Head), Malformed> {
        let reader = &mut Reader::new(payload);
        let query = Self::read(reader)?;
        let head = match reader.byte("answer")? {
            0 => Head::No,
            1 => Head::Yes,
            2 => Head::Later,
            _ => return Err(Malformed("answer")),
        };
        Ok((query, head))
    }
}

/// LOG_PUBLISH: publications with consecutive numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The number of the first that is not acknowledged.
    pub base: u64,
    /// The number of the first one here.
    pub first: u64,
    /// What they say.
    pub messages: Vec<&'a [u8]>,
}

pub(crate) fn put_publish_head(out: &mut Vec<u8>, base: u64, first: u64) {
    put_number(out, base);
    put_number(out, first);
}

pub(crate) fn put_publication(out: &mut Vec<u8>, message: &[u8]) {
    put_bytes(out, message);
}

impl<'a> Publish<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let (base, first) = (counted(reader, "base")?, counted(reader, "first number")?);
        if base == 0 || first < base {
            return Err(Malformed("first number"));
        }
        let mut messages = Vec::new();
        while reader.left() > 0 {
            messages.push(reader.bytes("message")?);
        }
        Ok(Self { base, first, messages })
    }
}

/// One item of LOG_PUBLISH_ACK: publications with consecutive numbers are stored, at consecutive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// On how many nodes.
    pub copies: u8,
    /// The position of the first, if it is still known.
    pub position: Option<Position>,
}

impl Stored {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_number(out, self.first);
        put_number(out, self.count);
        out.push(self.copies);
        out.push(u8::from(self.position.is_some()));
        if let Some(at) = self.position {
            put_position(out, at);
        }
    }

    /// Reads all items of a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_all(payload: &[u8]) -> Result<Vec<Self>, Malformed> {
        let reader = &mut Reader::new(payload);
        let mut all = Vec::new();
        while reader.left() > 0 {
            let (first, count) = (counted(reader, "number")?, counted(reader, "count")?);
            let copies = reader.byte("copies")?;
            let known = reader.byte("position")? & 1 != 0;
            let position = if known { Some(position(reader, "position")?) } else { None };
            all.push(Self { first, count, copies, position });
        }
        Ok(all)
    }
}
