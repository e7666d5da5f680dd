//! Queue groups of a topic: channels of which one member gets each message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wse_core::queue_group::place_of_turn;

use super::{Audience, Channel, Topics};
use crate::cluster::Interests;
use crate::squeeze::Wire;

/// A topic has at most so many queue groups: one bit for each.
pub(crate) const MAX_GROUPS: usize = 64;

/// A set of shards is 64 bits.
const MAX_SHARDS: usize = 64;

/// What a channel has that is a queue group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Box<str>,
    /// Counts the messages, and says whose turn it is.
    turn: AtomicU64,
    /// A bit for each shard where a member that is not backed up was found last.
    free: AtomicU64,
}

impl Group {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), turn: AtomicU64::new(0), free: AtomicU64::new(u64::MAX) }
    }

    /// Says for one shard whether it has a member that is not backed up.
    pub(crate) fn note_free(&self, shard: usize, is_free: bool) {
        let bit = 1 << shard;
        if (self.free.load(Relaxed) & bit != 0) != is_free {
            if is_free {
                self.free.fetch_or(bit, Relaxed)
            } else {
                self.free.fetch_and(!bit, Relaxed)
            };
        }
    }
}

impl Channel {
    /// The shard whose members get the next message of the group; `None` if it has none.
    pub(crate) fn next_shard(&self) -> Option<usize> {
        let turn = self.group.as_ref()?.turn.fetch_add(1, Relaxed);
        // Read once: they may change meanwhile.
        let mut counts = [0; MAX_SHARDS];
        counts.iter_mut().zip(&self.counts).for_each(|(to, count)| *to = count.load(Relaxed));
        place_of_turn(turn, &counts[..self.counts.len()])
    }

    /// Another shard that had a member lately which is not backed up.
    pub(crate) fn free_elsewhere(&self, shard: usize) -> Option<usize> {
        let group = self.group.as_ref()?;
        let others = group.free.load(Relaxed) & self.shards.load(Relaxed) & !(1 << shard);
        if others == 0 {
            return None;
        }
        let count = u64::from(others.count_ones());
        let nth = group.turn.fetch_add(1, Relaxed) % count;
        (0..64).filter(|at| others & (1 << at) != 0).nth(nth as usize)
    }
}

/// The groups of an audience that one shard is to serve, as bits.
pub(crate) type Picks = Vec<(usize, u64)>;

impl Audience {
    pub(crate) fn groups(&self) -> &[Arc<Channel>] {
        &self.groups
    }

    /// Which shard serves each group with the next message.
    #[inline]
    pub(crate) fn pick(&self) -> Picks {
        // Most topics have no groups, and this is asked for each message.
        if self.groups.is_empty() { Picks::new() } else { self.pick_of(u64::MAX) }
    }

    /// The same for some of the groups.
    pub(crate) fn pick_of(&self, groups: u64) -> Picks {
        let mut picks = Picks::new();
        for (at, group) in self.groups.iter().enumerate().filter(|(at, _)| groups & (1 << at) != 0) {
            let Some(shard) = group.next_shard() else { continue };
            match picks.iter_mut().find(|(known, _)| *known == shard) {
                Some((_, bits)) => *bits |= 1 << at,
                None => picks.push((shard, 1 << at)),
            }
        }
        picks
    }

    /// A bit for each shard with a receiver or a member of a group.
    pub(crate) fn all_shards(&self) -> u64 {
        self.groups.iter().fold(self.shards(), |bits, group| bits | group.shards.load(Relaxed))
    }
}

impl Topics {
    /// Counts one more member of a topic's group on a shard; `None` if the topic has too many groups.
    pub(crate) fn join_group(
        &self,
        topic: &str,
        name: &str,
        shard: usize,
        wire: Wire,
    ) -> Option<Arc<Channel>> {
        let mut tables = self.tables.write();
        let known = tables.groups.get(topic).map_or(&[][..], Vec::as_slice);
        if let Some(channel) = known.iter().find(|channel| channel.is_group(name)) {
            channel.add(shard, wire);
            return Some(channel.clone());
        }
        if known.len() >= MAX_GROUPS {
            return None;
        }
        let id = tables.next_id();
        let channel = Channel::new_group(id, topic, name, self.shards);
        channel.add(shard, wire);
        tables.groups.entry(topic.into()).or_default().push(channel.clone());
        tables.tell(&channel, Interests::add);
        self.change_patterns(&mut tables);
        Some(channel)
    }

    /// A topic's group, if it has members.
    pub(crate) fn group(&self, topic: &str, name: &str) -> Option<Arc<Channel>> {
        let tables = self.tables.read();
        tables.groups.get(topic)?.iter().find(|channel| channel.is_group(name)).cloned()
    }

    /// The names of a topic's groups.
    pub(crate) fn group_names(&self, topic: &str) -> Vec<String> {
        let tables = self.tables.read();
        let groups = tables.groups.get(topic).map_or(&[][..], Vec::as_slice);
        groups.iter().filter_map(|group| group.group_name().map(str::to_owned)).collect()
    }

    /// The ids of all groups of a topic.
    pub(crate) fn group_ids(&self, topic: &str) -> Vec<u64> {
        let tables = self.tables.read();
        tables.groups.get(topic).map_or_else(Vec::new, |groups| groups.iter().map(|group| group.id).collect())
    }

    /// The groups of a topic and how many members each has.
    pub(crate) fn group_sizes(&self, topic: &str) -> Vec<(String, usize)> {
        let tables = self.tables.read();
        let groups = tables.groups.get(topic).map_or(&[][..], Vec::as_slice);
        let size = |channel: &Arc<Channel>| {
            let name = channel.group.as_ref().map_or_else(String::new, |group| group.name.to_string());
            (name, channel.count())
        };
        groups.iter().map(size).collect()
    }
}
