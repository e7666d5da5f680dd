//! What this node says of its own connections, and what of it was not told yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use wse_core::presence::Entry;

use super::Key;
use super::frames::{Writer, most_bytes};

/// The keys of the node's entries, and the changes that are being gathered.
#[derive(Debug, Default)]
pub(super) struct Own {
    keys: BTreeSet<Key>,
    untold: BTreeMap<Key, Option<Entry>>,
    /// The most that those come to when they are sent.
    untold_bytes: usize,
    /// Counts what was told.
    version: u64,
}

impl Own {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn untold_bytes(&self) -> usize {
        self.untold_bytes
    }

    /// Whether what was gathered must be told before an entry comes or goes, since it is told there that it goes or comes.
    pub(super) fn must_be_told_before(&self, key: &Key, entry: Option<&Entry>) -> bool {
        self.untold.get(key).is_some_and(|untold| untold.is_some() != entry.is_some())
    }

    /// An entry is another now, or is gone.
    pub(super) fn change(&mut self, key: Key, entry: Option<Entry>) {
        if entry.is_some() {
            self.keys.insert(key.clone());
        } else {
            self.keys.remove(&key);
        }
        self.untold_bytes += most_bytes(&key, entry.as_ref());
        self.untold.insert(key, entry);
    }

    /// The same while nobody is told, be it what was gathered before or this.
    pub(super) fn change_unheard(&mut self, key: Key, is_in: bool) {
        self.version += 1 + self.untold.len() as u64;
        self.untold.clear();
        self.untold_bytes = 0;
        if is_in {
            self.keys.insert(key);
        } else {
            self.keys.remove(&key);
        }
    }

    /// The changes that were gathered, in frames of up to so many bytes, unless one item is longer.
    pub(super) fn tell(&mut self, frame_bytes: usize) -> Vec<Vec<u8>> {
        let untold = std::mem::take(&mut self.untold);
        self.untold_bytes = 0;
        let mut frames = Vec::new();
        let mut writer = Writer::default();
        for (key, entry) in &untold {
            if writer.is_full_for(key, entry.as_ref(), frame_bytes) {
                frames.push(self.finish(&writer));
                writer = Writer::default();
            }
            writer.push(key, entry.as_ref());
        }
        if writer.count() > 0 {
            frames.push(self.finish(&writer));
        }
        frames
    }

    fn finish(&mut self, writer: &Writer<'_>) -> Vec<u8> {
        let first = self.version + 1;
        self.version += writer.count();
        writer.delta(first)
    }

    /// A part of a snapshot, and the last key in it; `None` if nothing comes after it. Whatever was gathered has been told.
    pub(super) fn part(
        &self,
        number: u64,
        part: u64,
        after: Option<&Key>,
        frame_bytes: usize,
        entry_of: impl Fn(&Key) -> Entry,
    ) -> (Vec<u8>, Option<Key>) {
        debug_assert!(self.untold.is_empty(), "a snapshot is of the version that was told");
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut writer, mut last, mut is_last) = (Writer::default(), None, true);
        for key in self.keys.range::<Key, _>((from, Bound::Unbounded)) {
            let entry = entry_of(key);
            if writer.is_full_for(key, Some(&entry), frame_bytes) {
                is_last = false;
                break;
            }
            writer.push(key, Some(&entry));
            last = Some(key);
        }
        let up_to = if is_last { None } else { last.cloned() };
        (writer.part(number, part, is_last, self.version), up_to)
    }
}
