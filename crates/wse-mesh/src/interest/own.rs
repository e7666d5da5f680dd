//! What this node has receivers of, and which changes of it were not told yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::entry::{Interest, LONGEST};
use super::frames::Digest;
use crate::wire::Kind;

/// The node's own set. Entries are kept as they are sent.
#[derive(Debug)]
pub(super) struct Own {
    /// The most that the entries of a frame come to.
    max_bytes: usize,
    /// With the version at which each came.
    set: BTreeMap<Box<[u8]>, u64>,
    version: u64,
    sum: u64,
    untold: Vec<Delta>,
}

/// Changes of one kind that follow each other.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) kind: Kind,
    /// The version of the first.
    pub(super) first: u64,
    pub(super) count: u64,
    /// The entries as they are sent.
    pub(super) entries: Vec<u8>,
}

/// A part of the set.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) count: u64,
    /// The entries as they are sent.
    pub(super) entries: Vec<u8>,
    /// The last of them; `None` if nothing comes after it.
    pub(super) up_to: Option<Box<[u8]>>,
}

impl Own {
    pub(super) fn new(max_bytes: usize) -> Self {
        assert!(max_bytes > LONGEST, "a frame has room for an entry");
        Self { max_bytes, set: BTreeMap::new(), version: 0, sum: 0, untold: Vec::new() }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn digest(&self) -> Digest {
        Digest { version: self.version, count: self.set.len() as u64, sum: self.sum }
    }

    /// The version at which an entry came, if it is there.
    pub(super) fn version_of(&self, interest: &Interest<'_>) -> Option<u64> {
        self.set.get(&*bytes(interest)).copied()
    }

    /// Adds an entry, if it is not there yet; the version at which it came.
    pub(super) fn add(&mut self, interest: &Interest<'_>) -> u64 {
        let entry = bytes(interest);
        if let Some(version) = self.set.get(&*entry) {
            return *version;
        }
        self.sum = self.sum.wrapping_add(interest.hash());
        self.change(Kind::Sub, &entry);
        self.set.insert(entry.into(), self.version);
        self.version
    }

    /// Takes an entry out, if it is there.
    pub(super) fn remove(&mut self, interest: &Interest<'_>) {
        let entry = bytes(interest);
        if self.set.remove(&*entry).is_some() {
            self.sum = self.sum.wrapping_sub(interest.hash());
            self.change(Kind::Unsub, &entry);
        }
    }

    fn change(&mut self, kind: Kind, entry: &[u8]) {
        self.version += 1;
        let has_room =
            |delta: &&mut Delta| delta.kind == kind && delta.entries.len() + LONGEST < self.max_bytes;
        match self.untold.last_mut().filter(has_room) {
            Some(delta) => {
                delta.count += 1;
                delta.entries.extend_from_slice(entry);
            }
            None => {
                self.untold.push(Delta { kind, first: self.version, count: 1, entries: entry.to_vec() });
            }
        }
    }

    /// The changes since this was last asked.
    pub(super) fn take_untold(&mut self) -> Vec<Delta> {
        std::mem::take(&mut self.untold)
    }

    /// The entries behind a key, as many as a frame holds.
    pub(super) fn part(&self, after: Option<&[u8]>) -> Part {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut part = Part::default();
        let mut rest = self.set.range::<[u8], _>((from, Bound::Unbounded)).map(|(entry, _)| entry).peekable();
        while let Some(entry) = rest.next() {
            part.count += 1;
            part.entries.extend_from_slice(entry);
            if part.entries.len() + LONGEST >= self.max_bytes && rest.peek().is_some() {
                part.up_to = Some(entry.clone());
                break;
            }
        }
        part
    }
}

fn bytes(interest: &Interest<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    interest.encode(&mut out);
    out
}
