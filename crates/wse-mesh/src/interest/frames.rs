//! The payloads of the frames about interest.

use super::entry::{Interest, SHORTEST};
use super::own::{Delta, Part};
use crate::wire::bytes::{Malformed, Reader, put_number};

/// No frame of changes or parts is longer.
pub(super) const MAX_FRAME: usize = 64 << 10;

/// What a set comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) version: u64,
    pub(super) count: u64,
    pub(super) sum: u64,
}

const LAST: u8 = 0x01;

impl Digest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.version);
        put_number(out, self.count);
        out.extend_from_slice(&self.sum.to_le_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: reader.number("version of a digest")?,
            count: reader.number("count of a digest")?,
            sum: reader.fixed64("sum of a digest")?,
        })
    }
}

/// SUB or UNSUB, as it is read.
#[derive(Debug)]
pub(super) struct Changes<'a> {
    pub(super) first: u64,
    /// The version after the last.
    pub(super) version: u64,
    pub(super) entries: Vec<Interest<'a>>,
}

impl Delta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() + 16);
        put_number(&mut out, self.first);
        put_number(&mut out, self.count);
        out.extend_from_slice(&self.entries);
        out
    }
}

impl<'a> Changes<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = short(payload)?;
        let first = reader.number("version of a change")?;
        let entries = entries(&mut reader)?;
        let last = first.checked_add(entries.len() as u64).and_then(|after| after.checked_sub(1));
        match last {
            Some(version) if first > 0 && !entries.is_empty() => Ok(Self { first, version, entries }),
            _ => Err(Malformed("version of a change")),
        }
    }
}

/// RESYNC, as it is read.
#[derive(Debug)]
pub(super) struct ReadPart<'a> {
    pub(super) number: u64,
    pub(super) part: u64,
    /// In part 0: the version from which the changes go on.
    pub(super) version: u64,
    pub(super) entries: Vec<Interest<'a>>,
    /// In the last part.
    pub(super) digest: Option<Digest>,
}

impl Part {
    /// The frame of this part; `digest` is that of the set as it is now.
    pub(super) fn encode(&self, number: u64, part: u64, digest: &Digest) -> Vec<u8> {
        let is_last = self.up_to.is_none();
        let mut out = Vec::with_capacity(self.entries.len() + 64);
        put_number(&mut out, number);
        put_number(&mut out, part);
        out.push(if is_last { LAST } else { 0 });
        if part == 0 {
            put_number(&mut out, digest.version);
        }
        put_number(&mut out, self.count);
        out.extend_from_slice(&self.entries);
        if is_last {
            digest.encode(&mut out);
        }
        out
    }
}

impl<'a> ReadPart<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = short(payload)?;
        let number = reader.number("number of a resync")?;
        if number == 0 {
            return Err(Malformed("number of a resync"));
        }
        let part = reader.number("part of a resync")?;
        let is_last = reader.byte("flags of a resync")? & LAST != 0;
        let version = if part == 0 { reader.number("version of a resync")? } else { 0 };
        let entries = entries(&mut reader)?;
        let digest = is_last.then(|| Digest::decode(&mut reader)).transpose()?;
        Ok(Self { number, part, version, entries, digest })
    }
}

/// Entries take more room than their bytes, so no more of these are read than a frame has.
fn short(payload: &[u8]) -> Result<Reader<'_>, Malformed> {
    if payload.len() > MAX_FRAME {
        return Err(Malformed("length of a frame about interest"));
    }
    Ok(Reader::new(payload))
}

fn entries<'a>(reader: &mut Reader<'a>) -> Result<Vec<Interest<'a>>, Malformed> {
    let count = reader.count(SHORTEST, "count of entries")?;
    (0..count).map(|_| Interest::decode(reader)).collect()
}

/// INTEREST_ASK: how far a sending has come, or that all is wanted.
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
