//! Who listens to what, as far as a publisher must know: which shards have subscribers of a topic.
//!
//! The subscribers themselves are known to their shards alone. A publisher looks a topic up, gets its [`Audience`], and writes to
//! the inbox of each shard that it names.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;
use wse_core::acl::Acl;
use wse_core::pattern_index::PatternIndex;
use wse_core::topic::Filter;
use wse_mesh::interest::Interest;

use crate::busiest::Busiest;
use crate::cluster::Interests;
use crate::squeeze::Wire;
use names::Names;

/// The topics of one node.
#[derive(Debug)]
pub(crate) struct Topics {
    shards: usize,
    everyone: Arc<Audience>,
    busiest: Busiest,
    /// Counts the patterns, and parts of them, that came and went; changed under the lock of the tables. An audience of an earlier state is
    /// looked at again when its topic is next published to, so that a pattern costs nothing for the topics, however many there are.
    state: AtomicU64,
    tables: RwLock<Tables>,
}

/// A pattern that somebody is subscribed to.
#[derive(Debug, Default)]
struct Pattern {
    /// Those who may hear all of it.
    whole: Option<Arc<Channel>>,
    /// Those who may hear what their access list allows.
    parts: HashMap<Arc<Acl>, Arc<Channel>, RandomState>,
}

impl Pattern {
    fn channels(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.whole.iter().chain(self.parts.values())
    }

    fn channel(&self, part: Option<&Arc<Acl>>) -> Option<&Arc<Channel>> {
        part.map_or(self.whole.as_ref(), |acl| self.parts.get(acl))
    }

    /// The channels that a topic of the pattern goes to.
    fn hearing<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Arc<Channel>> {
        self.channels().filter(|channel| channel.part.as_ref().is_none_or(|acl| acl.allows(topic)))
    }
}

#[derive(Debug, Default)]
struct Tables {
    /// Who tells other nodes what has receivers here, once there are others.
    cluster: Option<Arc<Interests>>,
    last_id: u64,
    /// Topics with subscribers of their own; the first channel of each audience is the topic's.
    topics: Names<Arc<Audience>>,
    patterns: PatternIndex<Pattern>,
    /// The queue groups of topics that have some.
    groups: HashMap<Box<str>, Vec<Arc<Channel>>, RandomState>,
    /// What patterns mean for topics without subscribers of their own: remembered, as a publisher comes back to the same topics. Without
    /// channels where they mean nothing.
    remembered: HashMap<Box<str>, Arc<Audience>, RandomState>,
}

/// How many topics without subscribers of their own are remembered while there are patterns.
const REMEMBERED: usize = 8192;

impl Topics {
    pub(crate) fn new(shards: usize) -> Self {
        let everyone = Audience::new("", [Channel::new(0, "", None, shards)], &[], 0);
        Self {
            shards,
            everyone,
            busiest: Busiest::default(),
            state: AtomicU64::new(0),
            tables: RwLock::default(),
        }
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
            None if tables.patterns.is_empty() && !tables.groups.contains_key(topic) => return None,
            None => match tables.remembered.get(topic) {
                Some(audience) => audience,
                None => {
                    drop(tables);
                    return self.remember(topic);
                }
            },
        };
        if !self.is_current(known) {
            let own = own.map(|audience| &audience.channels[0]);
            if !known.is_of(own, &tables.matching(topic), tables.groups_of(topic)) {
                drop(tables);
                return self.remember(topic);
            }
            known.state.store(self.state.load(Relaxed), Relaxed);
        }
        (!known.is_empty()).then(|| known.clone())
    }

    /// Whether no pattern has come or gone since the audience was last found to be true.
    #[inline]
    pub(crate) fn is_current(&self, audience: &Audience) -> bool {
        audience.state.load(Relaxed) == self.state.load(Relaxed)
    }

    /// The audience as it is now. Asked with the inbox locked: whoever moved to another channel meanwhile has its entries there
    /// already, or will have them behind the message, and misses nothing either way.
    #[inline]
    pub(crate) fn renewed<'a>(
        &self,
        audience: &'a Arc<Audience>,
        topic: &str,
    ) -> Option<Cow<'a, Arc<Audience>>> {
        if self.is_current(audience) {
            return Some(Cow::Borrowed(audience));
        }
        self.audience(topic).map(Cow::Owned)
    }

    /// Finds out who is to receive the messages of a topic, and remembers it.
    fn remember(&self, topic: &str) -> Option<Arc<Audience>> {
        let mut tables = self.tables.write();
        let own = tables.topics.get(topic).map(|audience| audience.channels[0].clone());
        let is_own = own.is_some();
        let audience = tables.build(own, topic, self.state.load(Relaxed));
        if is_own {
            // The key is there already and stays.
            tables.topics.insert(topic, audience.clone());
            return Some(audience);
        }
        if tables.remembered.len() >= REMEMBERED {
            tables.remembered.clear();
        }
        tables.remembered.insert(topic.into(), audience.clone());
        (!audience.is_empty()).then_some(audience)
    }

    /// The channel of a topic, or of a pattern or the part of it that an access list allows, if somebody is subscribed to it.
    pub(crate) fn channel(&self, filter: Filter<'_>, part: Option<&Arc<Acl>>) -> Option<Arc<Channel>> {
        let tables = self.tables.read();
        if filter.is_pattern() {
            tables.patterns.get(filter.as_str())?.channel(part).cloned()
        } else {
            tables.topics.get(filter.as_str()).map(|audience| audience.channels[0].clone())
        }
    }

    /// How many connections are subscribed to exactly this topic or pattern.
    pub(crate) fn subscriber_count(&self, filter: Filter<'_>) -> usize {
        let tables = self.tables.read();
        let count = |channel: &Arc<Channel>| channel.count();
        if filter.is_pattern() {
            tables.patterns.get(filter.as_str()).map_or(0, |pattern| pattern.channels().map(count).sum())
        } else {
            tables.topics.get(filter.as_str()).map_or(0, |audience| count(&audience.channels[0]))
        }
    }

    /// The channel of those who are subscribed to a topic by its name.
    pub(crate) fn own_channel(&self, topic: &str) -> Option<u64> {
        self.tables.read().topics.get(topic).and_then(|audience| audience.own_channel())
    }

    /// Whether anybody is subscribed to exactly this topic, or in a queue group of it.
    pub(crate) fn has_subscribers(&self, topic: &str) -> bool {
        let tables = self.tables.read();
        tables.topics.contains_key(topic) || tables.groups.contains_key(topic)
    }

    /// Whether anybody hears a topic, by its name or by a pattern.
    pub(crate) fn is_heard(&self, topic: &str) -> bool {
        self.audience(topic).is_some_and(|audience| !audience.channels.is_empty())
    }

    /// Topics with subscribers of their own.
    pub(crate) fn topic_count(&self) -> usize {
        self.tables.read().topics.len()
    }

    /// From here on the cluster is told what has receivers here; what has some already is told at once.
    pub(crate) fn join_cluster(&self, interests: &Arc<Interests>) {
        let mut tables = self.tables.write();
        tables.cluster = Some(interests.clone());
        let topics = tables.topics.values().map(|audience| &audience.channels[0]);
        topics
            .chain(tables.groups.values().flatten())
            .for_each(|channel| tables.tell(channel, Interests::add));
        let patterns = tables.patterns.values().filter_map(|pattern| pattern.channels().next());
        patterns.for_each(|channel| tables.tell(channel, Interests::add));
    }

    /// Tells the cluster that something has no receivers here after all.
    pub(crate) fn forget_announced(&self, interests: &Interests, topic: &str, group: Option<&str>) {
        // The lock keeps others from becoming receivers meanwhile.
        let tables = self.tables.write();
        let Ok(filter) = Filter::parse(topic) else { return };
        let (has_receivers, interest) = match group {
            Some(name) => {
                let is_there = tables.groups_of(topic).iter().any(|group| group.is_group(name));
                (is_there, Interest::in_group(filter, name))
            }
            None if filter.is_pattern() => (tables.patterns.get(topic).is_some(), Some(Interest::of(filter))),
            None => (tables.topics.contains_key(topic), Some(Interest::of(filter))),
        };
        if let Some(interest) = interest.filter(|_| !has_receivers) {
            interests.remove(&interest);
        }
    }

    /// Counts one more subscriber on a shard. From now on publishers write to that shard's inbox.
    pub(crate) fn subscribe(
        &self,
        filter: Filter<'_>,
        part: Option<&Arc<Acl>>,
        shard: usize,
        wire: Wire,
    ) -> Arc<Channel> {
        let mut tables = self.tables.write();
        let channel = if filter.is_pattern() {
            self.pattern(&mut tables, filter.as_str(), part)
        } else {
            self.topic(&mut tables, filter.as_str())
        };
        channel.add(shard, wire);
        channel
    }

    fn topic(&self, tables: &mut Tables, topic: &str) -> Arc<Channel> {
        if let Some(audience) = tables.topics.get(topic) {
            return audience.channels[0].clone();
        }
        let channel = Channel::new(tables.next_id(), topic, None, self.shards);
        let audience = tables.build(Some(channel.clone()), topic, self.state.load(Relaxed));
        tables.topics.insert(topic, audience);
        tables.remembered.remove(topic);
        tables.tell(&channel, Interests::add);
        channel
    }

    fn pattern(&self, tables: &mut Tables, name: &str, part: Option<&Arc<Acl>>) -> Arc<Channel> {
        let known = tables.patterns.get(name);
        if let Some(channel) = known.and_then(|pattern| pattern.channel(part)) {
            return channel.clone();
        }
        let is_first = known.is_none();
        if is_first {
            tables.patterns.insert(name, Pattern::default());
        }
        let channel = Channel::new(tables.next_id(), name, part.cloned(), self.shards);
        if is_first {
            tables.tell(&channel, Interests::add);
        }
        let pattern = tables.patterns.get_mut(name).expect("just looked up or added");
        match part {
            None => pattern.whole = Some(channel.clone()),
            Some(acl) => {
                pattern.parts.insert(acl.clone(), channel.clone());
            }
        }
        self.change_patterns(tables);
        channel
    }

    /// A pattern, a part of one, or a queue group has come or gone.
    fn change_patterns(&self, tables: &mut Tables) {
        self.state.fetch_add(1, Relaxed);
        if tables.patterns.is_empty() && tables.groups.is_empty() {
            tables.remembered = HashMap::default();
        }
    }

    /// Counts one subscriber less, and forgets a channel that has none.
    pub(crate) fn unsubscribe(&self, channel: &Channel, shard: usize, wire: Wire) {
        let mut tables = self.tables.write();
        channel.remove(shard, wire);
        if channel.count() > 0 {
            return;
        }
        if channel.group.is_some() {
            tables.tell(channel, Interests::remove);
            if let Some(groups) = tables.groups.get_mut(&channel.name) {
                groups.retain(|group| group.id != channel.id);
                if groups.is_empty() {
                    tables.groups.remove(&channel.name);
                }
            }
            self.change_patterns(&mut tables);
        } else if tables
            .topics
            .get(&channel.name)
            .is_some_and(|audience| audience.channels[0].id == channel.id)
        {
            tables.topics.remove(&channel.name);
            tables.tell(channel, Interests::remove);
            self.busiest.forget(channel);
        } else if let Some(pattern) = tables.patterns.get_mut(&channel.name) {
            match &channel.part {
                None => pattern.whole = None,
                Some(acl) => {
                    pattern.parts.remove(acl);
                }
            }
            if pattern.channels().next().is_none() {
                tables.patterns.remove(&channel.name);
                tables.tell(channel, Interests::remove);
            }
            self.change_patterns(&mut tables);
        }
    }
}

impl Tables {
    /// Tells the cluster of a channel that has come or gone. Under the lock of the tables, so that it hears both in order.
    fn tell(&self, channel: &Channel, tell: fn(&Interests, &Interest<'_>)) {
        let Some(cluster) = &self.cluster else { return };
        if let Some(interest) = interest_in(channel) {
            tell(cluster, &interest);
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The channels of patterns that a topic goes to.
    fn matching<'a>(&'a self, topic: &'a str) -> Vec<&'a Arc<Channel>> {
        self.patterns.matching(topic).into_iter().flat_map(|pattern| pattern.hearing(topic)).collect()
    }

    fn groups_of(&self, topic: &str) -> &[Arc<Channel>] {
        self.groups.get(topic).map_or(&[], Vec::as_slice)
    }

    fn build(&self, own: Option<Arc<Channel>>, topic: &str, state: u64) -> Arc<Audience> {
        let channels = own.into_iter().chain(self.matching(topic).into_iter().cloned());
        Audience::new(topic, channels, self.groups_of(topic), state)
    }
}

/// What the cluster is told of a channel.
fn interest_in(channel: &Channel) -> Option<Interest<'_>> {
    let filter = Filter::parse(&channel.name).ok()?;
    match channel.group_name() {
        Some(name) => Interest::in_group(filter, name),
        None => Some(Interest::of(filter)),
    }
}

mod audience;
mod channel;
mod groups;
mod held;
mod names;
mod walk;

pub(crate) use audience::Audience;
pub(crate) use channel::{Channel, Subscription};
pub(crate) use groups::{MAX_GROUPS, Picks};
pub(crate) use held::Share;
pub(crate) use walk::{Listed, Smallest, Walk};

#[cfg(test)]
mod tests;
