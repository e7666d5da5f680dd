//! Who is to receive the messages of a topic: what a publisher gets when it looks the topic up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::channel::Channel;
use super::held::Held;

/// All who are to receive a message of one topic: its own channel and the patterns that mean it.
#[derive(Debug)]
pub(crate) struct Audience {
    /// Empty for all connections.
    topic: Arc<str>,
    pub(super) channels: Box<[Arc<Channel>]>,
    /// The queue groups of the topic: one member of each gets a message.
    pub(super) groups: Box<[Arc<Channel>]>,
    /// The state of the patterns for which this was last found to be true.
    pub(super) state: AtomicU64,
    pub(super) held: Held,
}

impl Audience {
    pub(super) fn new(
        topic: &str,
        channels: impl IntoIterator<Item = Arc<Channel>>,
        groups: &[Arc<Channel>],
        state: u64,
    ) -> Arc<Self> {
        let channels = channels.into_iter().collect();
        Arc::new(Self {
            topic: topic.into(),
            channels,
            groups: groups.into(),
            state: AtomicU64::new(state),
            held: Held::default(),
        })
    }

    /// The topic; `None` for all connections.
    pub(crate) fn topic(&self) -> Option<&Arc<str>> {
        (!self.topic.is_empty()).then_some(&self.topic)
    }

    /// The channel of those who are subscribed to the topic by its name.
    pub(crate) fn own_channel(&self) -> Option<u64> {
        self.channels.first().filter(|channel| channel.is_topic).map(|channel| channel.id)
    }

    pub(crate) fn channels(&self) -> &[Arc<Channel>] {
        &self.channels
    }

    /// A bit for each shard with a receiver.
    #[inline]
    pub(crate) fn shards(&self) -> u64 {
        self.channels.iter().fold(0, |bits, channel| bits | channel.shards.load(Relaxed))
    }

    /// A bit for each lane in which a receiver wants its messages. One that is missing or too many harms nobody: any client takes
    /// messages that are not compressed, and its shard packs what was not packed for it.
    #[inline]
    pub(crate) fn lanes(&self) -> u16 {
        self.channels.iter().fold(0, |bits, channel| bits | channel.lanes.load(Relaxed))
    }

    /// Nobody is to receive anything.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.groups.is_empty()
    }

    /// Whether it has the topic's own channel, if there is one, those of these patterns, and these groups.
    pub(super) fn is_of(
        &self,
        own: Option<&Arc<Channel>>,
        patterns: &[&Arc<Channel>],
        groups: &[Arc<Channel>],
    ) -> bool {
        let channels = own.into_iter().chain(patterns.iter().copied());
        let id = |channel: &Arc<Channel>| channel.id;
        self.channels.iter().map(id).eq(channels.map(id))
            && self.groups.iter().map(id).eq(groups.iter().map(id))
    }
}
