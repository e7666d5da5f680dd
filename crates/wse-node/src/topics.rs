//! Who listens to what, as far as a publisher must know: which shards have subscribers of a topic.
//!
//! The subscribers themselves are known to their shards alone. A publisher looks a topic up, gets its [`Audience`], and writes to
//! the inbox of each shard that it names.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;
use wse_core::keyed::Keyed;
use wse_core::pattern_index::PatternIndex;
use wse_core::topic::Filter;
use wse_core::websocket::deflate::Window;

use crate::busiest::Busiest;
use crate::squeeze::Wire;

/// Something that connections subscribe to: one topic, one pattern, or everything that is sent to all.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Never used twice in a process.
    pub(crate) id: u64,
    /// The topic or pattern as given; empty for all connections.
    pub(crate) name: Box<str>,
    /// Neither a pattern nor all connections.
    pub(crate) is_topic: bool,
    /// Messages published to it, and whether it is one of the busiest.
    pub(crate) published: AtomicU64,
    pub(crate) listed: AtomicBool,
    /// A bit for each shard that has a subscriber.
    shards: AtomicU64,
    /// Subscribers of each shard.
    counts: Box<[AtomicU32]>,
    /// A bit for each window with which a subscriber wants its messages compressed, and how many want it.
    windows: AtomicU8,
    window_counts: OnceLock<Box<[AtomicU32; Window::COUNT]>>,
}

impl Channel {
    fn new(id: u64, name: &str, shards: usize) -> Arc<Self> {
        let counts = (0..shards).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self {
            id,
            name: name.into(),
            is_topic: !name.is_empty() && !name.contains(['*', '?']),
            published: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            shards: AtomicU64::new(0),
            counts,
            windows: AtomicU8::new(0),
            window_counts: OnceLock::new(),
        })
    }

    fn add(&self, shard: usize, wire: Wire) {
        self.counts[shard].fetch_add(1, Relaxed);
        self.shards.fetch_or(1 << shard, Relaxed);
        if let Wire::Shared(window) = wire {
            let counts = self.window_counts.get_or_init(Box::default);
            counts[window.index()].fetch_add(1, Relaxed);
            self.windows.fetch_or(1 << window.index(), Relaxed);
        }
    }

    fn remove(&self, shard: usize, wire: Wire) {
        if let Wire::Shared(window) = wire
            && let Some(counts) = self.window_counts.get()
            && counts[window.index()].fetch_sub(1, Relaxed) == 1
        {
            self.windows.fetch_and(!(1 << window.index()), Relaxed);
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

/// All who are to receive a message of one topic: its own channel and the patterns that mean it.
#[derive(Debug)]
pub(crate) struct Audience {
    channels: Box<[Arc<Channel>]>,
    /// The state of the patterns for which this was last found to be true.
    state: AtomicU64,
    /// A bit for each shard where most of the subscribers are far behind: publishers wait while one is set.
    held: AtomicU64,
}

impl Audience {
    fn new(channels: impl IntoIterator<Item = Arc<Channel>>, state: u64) -> Arc<Self> {
        let channels = channels.into_iter().collect();
        Arc::new(Self { channels, state: AtomicU64::new(state), held: AtomicU64::new(0) })
    }

    pub(crate) fn channels(&self) -> &[Arc<Channel>] {
        &self.channels
    }

    /// A bit for each shard with a receiver.
    pub(crate) fn shards(&self) -> u64 {
        self.channels.iter().fold(0, |bits, channel| bits | channel.shards.load(Relaxed))
    }

    /// A bit for each window with which a receiver wants its messages compressed. One that is missing or too many harms nobody: any
    /// client takes plain messages.
    pub(crate) fn windows(&self) -> u8 {
        self.channels.iter().fold(0, |bits, channel| bits | channel.windows.load(Relaxed))
    }

    /// Whether it has the topic's own channel, if there is one, and those of these patterns.
    fn is_of(&self, own: Option<&Arc<Channel>>, patterns: &[&Arc<Channel>]) -> bool {
        let channels = own.into_iter().chain(patterns.iter().copied());
        self.channels.iter().map(|channel| channel.id).eq(channels.map(|channel| channel.id))
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Relaxed) != 0
    }

    /// Says for one shard whether publishers are to wait; returns whether that is news.
    pub(crate) fn hold(&self, shard: usize, held: bool) -> bool {
        let bit = 1 << shard;
        let before = if held { self.held.fetch_or(bit, Relaxed) } else { self.held.fetch_and(!bit, Relaxed) };
        (before & bit != 0) != held
    }
}

/// The topics of one node.
#[derive(Debug)]
pub(crate) struct Topics {
    shards: usize,
    everyone: Arc<Audience>,
    busiest: Busiest,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    last_id: u64,
    /// Topics with subscribers of their own; the first channel of each audience is the topic's.
    topics: HashMap<Box<str>, Arc<Audience>, RandomState>,
    patterns: PatternIndex<Arc<Channel>>,
    /// Counts the patterns that came and went. An audience of an earlier state is looked at again when its topic is next published to,
    /// so that a pattern that comes or goes costs nothing for the topics, however many there are.
    state: u64,
    /// What patterns mean for topics without subscribers of their own: remembered, as a publisher comes back to the same topics. Without
    /// channels where they mean nothing.
    remembered: HashMap<Box<str>, Arc<Audience>, RandomState>,
}

/// How many topics without subscribers of their own are remembered while there are patterns.
const REMEMBERED: usize = 8192;

impl Topics {
    pub(crate) fn new(shards: usize) -> Self {
        let everyone = Audience::new([Channel::new(0, "", shards)], 0);
        Self { shards, everyone, busiest: Busiest::default(), tables: RwLock::default() }
    }

    /// Counts messages that are published to an audience; returns how many it had before.
    #[inline]
    pub(crate) fn count(&self, audience: &Audience, messages: u64) -> u64 {
        audience.channels.first().map_or(0, |channel| self.busiest.count(channel, messages))
    }

    /// The topics with the most messages since they have subscribers, the busiest first.
    pub(crate) fn busiest(&self) -> Vec<(String, u64)> {
        self.busiest.list_all()
    }

    /// The audience of what is sent to all connections.
    pub(crate) fn everyone(&self) -> &Arc<Audience> {
        &self.everyone
    }

    /// The channel in which every open connection is.
    pub(crate) fn everyone_channel(&self) -> &Arc<Channel> {
        &self.everyone.channels[0]
    }

    pub(crate) fn join_everyone(&self, shard: usize, wire: Wire) {
        self.everyone_channel().add(shard, wire);
    }

    pub(crate) fn leave_everyone(&self, shard: usize, wire: Wire) {
        self.everyone_channel().remove(shard, wire);
    }

    /// Who is to receive a message of this topic; `None` if nobody.
    pub(crate) fn audience(&self, topic: &str) -> Option<Arc<Audience>> {
        let tables = self.tables.read();
        let own = tables.topics.get(topic);
        let known = match own {
            Some(audience) => audience,
            None if tables.patterns.is_empty() => return None,
            None => match tables.remembered.get(topic) {
                Some(audience) => audience,
                None => {
                    drop(tables);
                    return self.remember(topic);
                }
            },
        };
        if known.state.load(Relaxed) != tables.state {
            let is_same =
                known.is_of(own.map(|audience| &audience.channels[0]), &tables.patterns.matching(topic));
            if !is_same {
                drop(tables);
                return self.remember(topic);
            }
            known.state.store(tables.state, Relaxed);
        }
        (!known.channels.is_empty()).then(|| known.clone())
    }

    /// Finds out who is to receive the messages of a topic, and remembers it.
    fn remember(&self, topic: &str) -> Option<Arc<Audience>> {
        let mut tables = self.tables.write();
        let own = tables.topics.get(topic).map(|audience| audience.channels[0].clone());
        let is_own = own.is_some();
        let audience = Audience::new(own.into_iter().chain(tables.matching(topic)), tables.state);
        if is_own {
            // The key is there already and stays.
            tables.topics.insert(topic.into(), audience.clone());
            return Some(audience);
        }
        if tables.remembered.len() >= REMEMBERED {
            tables.remembered.clear();
        }
        tables.remembered.insert(topic.into(), audience.clone());
        (!audience.channels.is_empty()).then_some(audience)
    }

    /// The channel of a topic or pattern that somebody is subscribed to.
    pub(crate) fn channel(&self, filter: Filter<'_>) -> Option<Arc<Channel>> {
        let tables = self.tables.read();
        if filter.is_pattern() {
            tables.patterns.get(filter.as_str()).cloned()
        } else {
            tables.topics.get(filter.as_str()).map(|audience| audience.channels[0].clone())
        }
    }

    /// How many connections are subscribed to exactly this topic or pattern.
    pub(crate) fn subscriber_count(&self, filter: Filter<'_>) -> usize {
        self.channel(filter).map_or(0, |channel| channel.count())
    }

    /// Topics with subscribers of their own.
    pub(crate) fn topic_count(&self) -> usize {
        self.tables.read().topics.len()
    }

    /// Counts one more subscriber on a shard. From now on publishers write to that shard's inbox.
    pub(crate) fn subscribe(&self, filter: Filter<'_>, shard: usize, wire: Wire) -> Arc<Channel> {
        let mut tables = self.tables.write();
        let channel = if filter.is_pattern() {
            tables.pattern(filter, self.shards)
        } else {
            tables.topic(filter.as_str(), self.shards)
        };
        channel.add(shard, wire);
        channel
    }

    /// Counts one subscriber less, and forgets a channel that has none.
    pub(crate) fn unsubscribe(&self, channel: &Channel, shard: usize, wire: Wire) {
        let mut tables = self.tables.write();
        channel.remove(shard, wire);
        if channel.count() > 0 {
            return;
        }
        if tables.topics.get(&channel.name).is_some_and(|audience| audience.channels[0].id == channel.id) {
            tables.topics.remove(&channel.name);
            self.busiest.forget(channel);
        } else if tables.patterns.remove(&channel.name).is_some() {
            tables.change_patterns();
        }
    }
}

impl Tables {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn matching(&self, topic: &str) -> Vec<Arc<Channel>> {
        self.patterns.matching(topic).into_iter().cloned().collect()
    }

    /// A pattern has come or gone.
    fn change_patterns(&mut self) {
        self.state += 1;
        if self.patterns.is_empty() {
            self.remembered = HashMap::default();
        }
    }

    fn topic(&mut self, topic: &str, shards: usize) -> Arc<Channel> {
        if let Some(audience) = self.topics.get(topic) {
            return audience.channels[0].clone();
        }
        let channel = Channel::new(self.next_id(), topic, shards);
        let audience = Audience::new([channel.clone()].into_iter().chain(self.matching(topic)), self.state);
        self.topics.insert(topic.into(), audience);
        self.remembered.remove(topic);
        channel
    }

    fn pattern(&mut self, filter: Filter<'_>, shards: usize) -> Arc<Channel> {
        if let Some(channel) = self.patterns.get(filter.as_str()) {
            return channel.clone();
        }
        let channel = Channel::new(self.next_id(), filter.as_str(), shards);
        self.patterns.insert(filter.as_str(), channel.clone());
        self.change_patterns();
        channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::parse(text).unwrap()
    }

    #[test]
    fn an_audience_names_the_shards_that_have_receivers() {
        let topics = Topics::new(4);
        assert!(topics.audience("a.b").is_none());
        let exact = topics.subscribe(filter("a.b"), 1, Wire::Plain);
        let pattern = topics.subscribe(filter("a.*"), 3, Wire::Plain);
        assert_eq!(topics.audience("a.b").unwrap().shards(), 0b1010);
        assert_eq!(topics.audience("a.c").unwrap().shards(), 0b1000);
        assert!(topics.audience("b").is_none());
        topics.unsubscribe(&exact, 1, Wire::Plain);
        assert_eq!(topics.audience("a.b").unwrap().shards(), 0b1000);
        topics.unsubscribe(&pattern, 3, Wire::Plain);
        assert!(topics.audience("a.b").is_none() && topics.audience("a.c").is_none());
    }

    #[test]
    fn topics_that_nobody_hears_leave_nothing_behind() {
        let topics = Topics::new(1);
        let pattern = topics.subscribe(filter("x*"), 0, Wire::Plain);
        for i in 0..REMEMBERED * 3 {
            assert!(topics.audience(&format!("topic-{i}")).is_none());
        }
        assert!(topics.tables.read().remembered.len() <= REMEMBERED);
        topics.unsubscribe(&pattern, 0, Wire::Plain);
        assert!(topics.tables.read().remembered.is_empty() && topics.tables.read().patterns.is_empty());
    }

    #[test]
    fn a_channel_lives_as_long_as_its_last_subscriber() {
        let topics = Topics::new(2);
        let first = topics.subscribe(filter("t"), 0, Wire::Plain);
        let second = topics.subscribe(filter("t"), 1, Wire::Plain);
        assert_eq!(first.id, second.id);
        topics.unsubscribe(&first, 0, Wire::Plain);
        assert_eq!((topics.subscriber_count(filter("t")), topics.audience("t").unwrap().shards()), (1, 0b10));
        topics.unsubscribe(&second, 1, Wire::Plain);
        assert_eq!(topics.topic_count(), 0);
        assert_ne!(topics.subscribe(filter("t"), 0, Wire::Plain).id, first.id, "an id is never used twice");
    }

    #[test]
    fn an_audience_lasts_until_a_pattern_that_matters_comes_or_goes() {
        let topics = Topics::new(2);
        topics.subscribe(filter("a.b"), 0, Wire::Plain);
        let first = topics.audience("a.b").unwrap();
        let elsewhere = topics.subscribe(filter("x.*"), 1, Wire::Plain);
        assert!(
            Arc::ptr_eq(&first, &topics.audience("a.b").unwrap()),
            "what does not concern it changes nothing"
        );
        let pattern = topics.subscribe(filter("a.*"), 1, Wire::Plain);
        let second = topics.audience("a.b").unwrap();
        assert_eq!((first.shards(), second.shards()), (0b01, 0b11));
        topics.unsubscribe(&elsewhere, 1, Wire::Plain);
        assert!(Arc::ptr_eq(&second, &topics.audience("a.b").unwrap()));
        topics.unsubscribe(&pattern, 1, Wire::Plain);
        assert_eq!(topics.audience("a.b").unwrap().shards(), 0b01);
        let again = topics.subscribe(filter("a.*"), 1, Wire::Plain);
        assert_ne!(again.id, pattern.id);
        assert_eq!(topics.audience("a.b").unwrap().shards(), 0b11);
    }

    #[test]
    fn a_hold_is_told_once() {
        let topics = Topics::new(2);
        topics.subscribe(filter("t"), 0, Wire::Plain);
        let audience = topics.audience("t").unwrap();
        assert!(audience.hold(1, true) && !audience.hold(1, true) && audience.is_held());
        assert!(audience.hold(1, false) && !audience.hold(1, false) && !audience.is_held());
    }
}
