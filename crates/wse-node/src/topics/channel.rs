//! What connections subscribe to: a channel counts its subscribers by shard, so that it is known which shards have any.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use wse_core::acl::Acl;
use wse_core::keyed::Keyed;

use super::groups::Group;
use crate::squeeze::{Lane, Wire};

/// Something that connections subscribe to: one topic, one pattern, or everything that is sent to all.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Never used twice in a process.
    pub(crate) id: u64,
    /// The topic or pattern as given; empty for all connections.
    pub(crate) name: Box<str>,
    /// For a pattern of which its subscribers may hear only a part: the access list that says which. Whoever has an equal list is
    /// in the same channel, and an audience has the channel only if the list allows the topic. So nothing is asked per message.
    pub(crate) part: Option<Arc<Acl>>,
    /// What makes it a queue group of its topic: one of its members gets each message.
    pub(crate) group: Option<Group>,
    /// Neither a pattern nor all connections.
    pub(crate) is_topic: bool,
    /// Messages published to it, and whether it is one of the busiest.
    pub(crate) published: AtomicU64,
    pub(crate) listed: AtomicBool,
    /// A bit for each shard that has a subscriber.
    pub(super) shards: AtomicU64,
    /// Subscribers of each shard.
    pub(super) counts: Box<[AtomicU32]>,
    /// A bit for each lane in which a subscriber wants its messages, and how many want it.
    pub(super) lanes: AtomicU16,
    lane_counts: OnceLock<Box<[AtomicU32; Lane::COUNT]>>,
}

impl Channel {
    pub(super) fn new(id: u64, name: &str, part: Option<Arc<Acl>>, shards: usize) -> Arc<Self> {
        let counts = (0..shards).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self {
            id,
            name: name.into(),
            part,
            group: None,
            is_topic: !name.is_empty() && !name.contains(['*', '?']),
            published: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            shards: AtomicU64::new(0),
            counts,
            lanes: AtomicU16::new(0),
            lane_counts: OnceLock::new(),
        })
    }

    pub(super) fn new_group(id: u64, topic: &str, name: &str, shards: usize) -> Arc<Self> {
        let channel = Arc::into_inner(Self::new(id, topic, None, shards)).expect("nobody has it yet");
        Arc::new(Self { group: Some(Group::new(name)), is_topic: false, ..channel })
    }

    /// Whether it is the queue group of this name.
    pub(crate) fn is_group(&self, name: &str) -> bool {
        self.group_name() == Some(name)
    }

    /// The name of the queue group, if it is one.
    pub(crate) fn group_name(&self) -> Option<&str> {
        self.group.as_ref().map(|group| &*group.name)
    }

    pub(super) fn add(&self, shard: usize, wire: Wire) {
        self.counts[shard].fetch_add(1, Relaxed);
        self.shards.fetch_or(1 << shard, Relaxed);
        if let Wire::Shared(lane) = wire {
            let counts = self.lane_counts.get_or_init(Box::default);
            counts[lane.index()].fetch_add(1, Relaxed);
            self.lanes.fetch_or(lane.bit(), Relaxed);
        }
    }

    pub(super) fn remove(&self, shard: usize, wire: Wire) {
        if let Wire::Shared(lane) = wire
            && let Some(counts) = self.lane_counts.get()
            && counts[lane.index()].fetch_sub(1, Relaxed) == 1
        {
            self.lanes.fetch_and(!lane.bit(), Relaxed);
        }
        if self.counts[shard].fetch_sub(1, Relaxed) == 1 {
            self.shards.fetch_and(!(1 << shard), Relaxed);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.counts.iter().map(|count| count.load(Relaxed) as usize).sum()
    }
}

/// A shared channel among those of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Subscription(pub(crate) Arc<Channel>);

impl Keyed for Subscription {
    fn key(&self) -> u64 {
        self.0.id
    }
}
