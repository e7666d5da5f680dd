//! What is known of one peer's entries.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Key;
use super::frames::{Delta, Item, Part};
use crate::pages::{Catching, Retry};
use crate::wire::Malformed;

/// The copy of an author's entries; the entries themselves are among all others'.
#[derive(Debug, Default)]
pub(super) struct Copy {
    standing: Standing,
    keys: BTreeSet<Key>,
    /// What the copy has of the author's versions, as far as it is known or being received.
    version: u64,
    /// How far a snapshot has come.
    after: Option<Key>,
    /// Entries were not kept because there were too many.
    pub(super) is_cut: bool,
    retry: Retry,
}

/// How the copy stands to what the author says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing was heard in this session. The copy is of this version, or of none.
    New(Option<u64>),
    /// It is another, and a snapshot was asked for.
    Unknown,
    /// It is being received.
    Catching(Catching),
    /// It is the same.
    Known,
}

impl Default for Standing {
    fn default() -> Self {
        Self::New(Some(0))
    }
}

/// What is to be done with the items of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are not needed.
    Skip,
    /// They are what is true now.
    Take,
    /// They are void, and a snapshot is to be asked for.
    Ask,
}

impl Copy {
    /// There is a new link, and nothing was heard on it.
    pub(super) fn handle_up(&mut self) {
        self.handle_down();
        self.retry.reset();
    }

    pub(super) fn handle_down(&mut self) {
        self.standing = match self.standing {
            Standing::Known => Standing::New(Some(self.version)),
            Standing::New(kept) => Standing::New(kept),
            Standing::Unknown | Standing::Catching(_) => Standing::New(None),
        };
    }

    pub(super) fn is_known(&self) -> bool {
        self.standing == Standing::Known
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn insert(&mut self, key: Key) {
        self.keys.insert(key);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.keys.remove(key);
    }

    /// All keys; the copy is empty then.
    pub(super) fn take_keys(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.keys)
    }

    /// The author has told something: what to do with its items.
    pub(super) fn handle_delta(&mut self, delta: &Delta<'_>) -> Result<Verdict, Malformed> {
        let is_next = delta.first == self.version + 1;
        match self.standing {
            Standing::New(kept) if delta.items.len() == 0 && kept == Some(delta.version) => {
                self.version = delta.version;
                self.know();
                Ok(Verdict::Skip)
            }
            // The copy is of another version, or the word of the version itself was lost.
            Standing::New(_) => Ok(self.lose()),
            Standing::Unknown => Ok(Verdict::Skip),
            Standing::Catching(_) | Standing::Known if delta.version < self.version => {
                Err(Malformed("version of presence falls"))
            }
            Standing::Catching(_) | Standing::Known if !is_next => Ok(self.lose()),
            Standing::Catching(_) | Standing::Known => {
                self.version = delta.version;
                Ok(Verdict::Take)
            }
        }
    }

    /// A part of a snapshot has come: what to do with its items, which replace what is known of their range.
    pub(super) fn handle_part(&mut self, part: &Part<'_>) -> Result<Verdict, Malformed> {
        if part.part == 0 {
            self.standing = Standing::Catching(Catching::begin(part.number));
            self.version = part.version;
            self.after = None;
            self.is_cut = false;
        }
        let Standing::Catching(mut catching) = self.standing else { return Ok(Verdict::Skip) };
        if part.part > 0 {
            match catching.is_next(part.number, part.part) {
                Some(true) => self.standing = Standing::Catching(catching),
                Some(false) => return Ok(self.lose()),
                None => return Ok(Verdict::Skip),
            }
        }
        // A delta was lost on the way.
        if part.version != self.version {
            return Ok(self.lose());
        }
        let first = part.items.read().next();
        if first.is_some_and(|item| self.after.as_ref().is_some_and(|after| place(after) >= of(&item))) {
            return Err(Malformed("order of a snapshot"));
        }
        self.retry.progress();
        Ok(Verdict::Take)
    }

    /// The keys in the range of a part that are not in it; what comes next begins behind it.
    pub(super) fn pass(&mut self, part: &Part<'_>) -> Vec<Key> {
        let last = part.items.read().last();
        let up_to: Option<Key> = last.map(|item| (item.topic.into(), item.user.into()));
        let from = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let to = match &up_to {
            Some(key) if !part.is_last => Bound::Included(key),
            _ => Bound::Unbounded,
        };
        let mut items = part.items.read().peekable();
        let is_gone = |key: &&Key| {
            while items.next_if(|item| of(item) < place(key)).is_some() {}
            items.peek().is_none_or(|item| of(item) != place(key))
        };
        let gone = self.keys.range::<Key, _>((from, to)).filter(is_gone).cloned().collect();
        self.after = up_to;
        gone
    }

    /// The items of a part are taken; what to tell of it.
    pub(super) fn passed(&mut self, is_last: bool) -> (u64, u64) {
        let Standing::Catching(catching) = self.standing else { unreachable!("a part was taken") };
        if is_last {
            self.know();
            self.after = None;
        }
        catching.so_far()
    }

    /// Time has passed: whether to ask for a snapshot.
    pub(super) fn is_silent(&mut self, now_ms: u64, max_entries: usize) -> bool {
        let has_room = self.is_cut && self.keys.len() < max_entries / 4 * 3;
        let is_waiting = !self.is_known() || has_room;
        let is_due = is_waiting && self.retry.is_due(now_ms);
        if is_due {
            self.standing = Standing::Unknown;
        }
        is_due
    }

    fn know(&mut self) {
        self.standing = Standing::Known;
        self.retry.reset();
    }

    fn lose(&mut self) -> Verdict {
        self.standing = Standing::Unknown;
        self.retry.progress();
        Verdict::Ask
    }
}

fn place(key: &Key) -> (&str, &str) {
    (&key.0, &key.1)
}

fn of<'a>(item: &Item<'a>) -> (&'a str, &'a str) {
    (item.topic, item.user)
}
