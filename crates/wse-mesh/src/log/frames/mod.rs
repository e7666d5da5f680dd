//! The payloads of the frames about topics with history: `spec/cluster/history.md` has their fields.
//!
//! What is decoded is checked as far as one frame can tell: counts fit into the frame, offsets are within [`MAX_NUMBER`], chains and
//! runs of entries keep their invariants. Frames about several topics are lists up to the end of the payload.

pub mod about_many;
pub mod about_one;
pub mod entries;
#[cfg(test)]
mod tests;

use wse_core::history::{Epoch, Position};
use wse_core::topic::Filter;

use super::chain::{Chain, MAX_SEGMENTS, Segment};
use super::history::Outline;
use super::last::{Last, Stamp};
use super::term::Term;
use crate::ids::NodeId;
use crate::wire::bytes::{Malformed, Reader, put_bytes, put_number};

/// No offset, number of a publication or term is as high, so that sums of a few never overflow.
pub const MAX_NUMBER: u64 = 1 << 56;

/// A number that is counted.
pub(crate) fn counted(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, Malformed> {
    let value = reader.number(field)?;
    if value < MAX_NUMBER { Ok(value) } else { Err(Malformed(field)) }
}

fn fixed(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, Malformed> {
    let bytes = reader.take(8, field)?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
}

pub(crate) fn node(reader: &mut Reader<'_>, field: &'static str) -> Result<NodeId, Malformed> {
    fixed(reader, field).map(NodeId)
}

pub(crate) fn put_node(out: &mut Vec<u8>, node: NodeId) {
    out.extend_from_slice(&node.0.to_le_bytes());
}

pub(crate) fn term(reader: &mut Reader<'_>, field: &'static str) -> Result<Term, Malformed> {
    Ok(Term { count: counted(reader, field)?, node: node(reader, field)? })
}

pub(crate) fn put_term(out: &mut Vec<u8>, term: Term) {
    put_number(out, term.count);
    put_node(out, term.node);
}

pub(crate) fn epoch(reader: &mut Reader<'_>, field: &'static str) -> Result<Epoch, Malformed> {
    let bytes = reader.take(4, field)?;
    Ok(Epoch::new(u32::from_le_bytes(bytes.try_into().expect("four bytes were taken"))))
}

pub(crate) fn put_epoch(out: &mut Vec<u8>, epoch: Epoch) {
    let text = epoch.to_text();
    let text = std::str::from_utf8(&text).expect("digits");
    let number = u32::from_str_radix(text, 16).expect("hexadecimal digits");
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn position(reader: &mut Reader<'_>, field: &'static str) -> Result<Position, Malformed> {
    Ok(Position { epoch: epoch(reader, field)?, offset: counted(reader, field)? })
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: Position) {
    put_epoch(out, position.epoch);
    put_number(out, position.offset);
}

/// The name of a topic in a frame about several.
pub(crate) fn topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let name = reader.text("topic")?;
    Filter::parse_exact(name).map_err(|_| Malformed("topic"))?;
    Ok(name)
}

pub(crate) fn put_topic(out: &mut Vec<u8>, topic: &str) {
    put_bytes(out, topic.as_bytes());
}

pub(crate) fn chain(reader: &mut Reader<'_>) -> Result<Chain, Malformed> {
    let count = reader.count(14, "chain")?;
    if count > MAX_SEGMENTS {
        return Err(Malformed("chain"));
    }
    let mut segments = Vec::with_capacity(count);
    for _ in 0..count {
        segments.push(Segment {
            term: term(reader, "chain")?,
            epoch: epoch(reader, "chain")?,
            first: counted(reader, "chain")?,
        });
    }
    Chain::checked(segments).ok_or(Malformed("chain"))
}

pub(crate) fn put_chain(out: &mut Vec<u8>, chain: &Chain) {
    put_number(out, chain.segments().len() as u64);
    for segment in chain.segments() {
        put_term(out, segment.term);
        put_epoch(out, segment.epoch);
        put_number(out, segment.first);
    }
}

pub(crate) fn outline(reader: &mut Reader<'_>) -> Result<Outline, Malformed> {
    let chain = chain(reader)?;
    let floor = counted(reader, "floor")?;
    let top = floor + counted(reader, "messages")?;
    let within = chain.last().is_none_or(|last| last.first <= top + 1);
    let has_epochs = floor == top || chain.segments().first().is_some_and(|first| first.first <= floor + 1);
    if top < MAX_NUMBER && within && has_epochs {
        Ok(Outline { chain, floor, top })
    } else {
        Err(Malformed("log"))
    }
}

pub(crate) fn put_outline(out: &mut Vec<u8>, outline: &Outline) {
    put_chain(out, &outline.chain);
    put_number(out, outline.floor);
    put_number(out, outline.top - outline.floor);
}

pub(crate) fn last(reader: &mut Reader<'_>) -> Result<Last, Malformed> {
    let count = reader.count(10, "publishers")?;
    let mut stamps = Vec::with_capacity(count);
    for _ in 0..count {
        stamps.push(Stamp {
            publisher: node(reader, "publisher")?,
            seq: counted(reader, "publisher")?,
            offset: counted(reader, "publisher")?,
            is_unknown: false,
        });
    }
    Last::checked(stamps).ok_or(Malformed("publishers"))
}

pub(crate) fn put_last(out: &mut Vec<u8>, last: &Last) {
    put_number(out, last.stamps().len() as u64);
    for stamp in last.stamps() {
        put_node(out, stamp.publisher);
        put_number(out, stamp.seq);
        put_number(out, stamp.offset);
    }
}
