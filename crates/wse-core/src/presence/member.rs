//! One user in one topic, as the authors describe it.

use std::sync::Arc;

use super::data::Data;
use crate::ConnId;

/// A node that speaks for its own connections, by a number that it has in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author(pub u64);

impl Author {
    /// A node that is alone.
    pub const ALONE: Self = Self(0);
}

/// What one author says of a user in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How many of its connections are the user's; at least one.
    pub connections: u32,
    /// What the user shows there.
    pub data: Data,
    /// When that was said, by a clock that all authors share. Of several authors' data the newest are shown, and of equally new ones
    /// those of the higher author, so that all nodes show the same.
    pub stamp: u64,
}

/// A user in a topic.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) user: Arc<str>,
    /// The user's connections to this node that are present, in the order in which they came.
    here: Vec<ConnId>,
    /// By author; never empty between operations.
    entries: Vec<(Author, Entry)>,
    /// The place of its join among those that were not told yet.
    pub(super) owed: Option<u64>,
}

impl Member {
    pub(super) fn new(user: Arc<str>) -> Self {
        Self { user, here: Vec::new(), entries: Vec::new(), owed: None }
    }

    /// What is shown; `None` of somebody who is not present.
    pub(super) fn shown(&self) -> Option<&Data> {
        let newest = self.entries.iter().max_by_key(|(author, entry)| (entry.stamp, *author))?;
        Some(&newest.1.data)
    }

    /// The connections of all authors.
    pub(super) fn connections(&self) -> usize {
        self.entries.iter().map(|(_, entry)| entry.connections as usize).sum()
    }

    /// What an author says.
    pub(super) fn said(&self, author: Author) -> Option<&Entry> {
        self.entries.iter().find(|(known, _)| *known == author).map(|(_, entry)| entry)
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.here.contains(&conn)
    }

    /// Adds a connection of this node, if it is not there yet, and takes the data that came with it.
    pub(super) fn enter(&mut self, me: Author, conn: ConnId, data: Option<Data>, stamp: u64) {
        if !self.has(conn) {
            if self.here.is_empty() {
                // Most users have one connection: the usual first step of a vector, four, would be memory for nothing.
                self.here.reserve_exact(1);
            }
            self.here.push(conn);
        }
        let connections = self.here.len() as u32;
        match self.entry_of(me) {
            Some(entry) => {
                entry.connections = connections;
                if let Some(data) = data {
                    (entry.data, entry.stamp) = (data, stamp);
                }
            }
            None => {
                // What the user shows elsewhere goes on being shown.
                let (data, stamp) = data.map_or((Data::empty(), 0), |data| (data, stamp));
                self.entries.reserve_exact(1);
                self.entries.push((me, Entry { connections, data, stamp }));
            }
        }
    }

    /// Takes a connection of this node out; with the last one goes what this node says.
    pub(super) fn exit(&mut self, me: Author, conn: ConnId) {
        self.here.retain(|known| *known != conn);
        match self.here.len() as u32 {
            0 => {
                self.here = Vec::new();
                self.put(me, None);
            }
            connections => self.entry_of(me).expect("somebody is here").connections = connections,
        }
    }

    /// Replaces what an author says.
    pub(super) fn put(&mut self, author: Author, entry: Option<Entry>) {
        self.entries.retain(|(known, _)| *known != author);
        if let Some(entry) = entry {
            // Most users are at one node.
            self.entries.reserve_exact(1);
            self.entries.push((author, entry));
        }
    }

    fn entry_of(&mut self, author: Author) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|(known, _)| *known == author).map(|(_, entry)| entry)
    }
}
