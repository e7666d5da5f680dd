//! Who is connected: what other threads may know and decide about a connection without asking its shard.

use std::net::SocketAddr;

use parking_lot::Mutex;
use wse_core::ConnId;
use wse_core::keyed::{Keyed, KeyedList};

use crate::squeeze::Wire;
use crate::topics::{Subscription, Topics};
use wse_core::topic::Filter;

/// A connection from the outside.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) generation: u32,
    pub(crate) address: SocketAddr,
    pub(crate) connected_at_ms: u64,
    pub(crate) user_id: Option<Box<str>>,
    pub(crate) wire: Wire,
    pub(crate) subscriptions: KeyedList<Subscription>,
}

/// What the shard knows beyond that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionQuery {
    /// Bytes that wait to be sent.
    pub(crate) queued_bytes: usize,
}

/// The open connections of one shard, by slot.
#[derive(Debug, Default)]
pub(crate) struct People {
    slots: Mutex<Vec<Option<Box<Person>>>>,
}

/// What became of one topic of a subscription.
#[derive(Debug)]
pub(crate) enum Subscribed {
    /// A new subscription; the shard must hear of it.
    New(u64),
    /// It was there already.
    Already,
    /// `max_subscriptions_per_connection` is reached.
    Limit,
}

impl People {
    pub(crate) fn enter(&self, conn: ConnId, person: Person) {
        let mut slots = self.slots.lock();
        let index = conn.slot as usize;
        if slots.len() <= index {
            slots.resize_with(index + 1, || None);
        }
        slots[index] = Some(Box::new(person));
    }

    /// Takes a connection out; its channels are still to be told.
    pub(crate) fn leave(&self, conn: ConnId) -> Option<Box<Person>> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(conn.slot as usize)?;
        if slot.as_ref()?.generation == conn.generation { slot.take() } else { None }
    }

    /// Looks at or changes one connection, if it is open.
    pub(crate) fn with<T>(&self, conn: ConnId, look: impl FnOnce(&mut Person) -> T) -> Option<T> {
        let mut slots = self.slots.lock();
        let person = slots.get_mut(conn.slot as usize)?.as_mut()?;
        (person.generation == conn.generation).then(|| look(person))
    }

    /// The open connections.
    pub(crate) fn list(&self, shard: u8, out: &mut Vec<ConnId>) {
        let slots = self.slots.lock();
        out.extend(slots.iter().enumerate().filter_map(|(slot, person)| {
            let generation = person.as_ref()?.generation;
            Some(ConnId { shard, slot: slot as u32, generation })
        }));
    }
}

impl Person {
    /// Adds a topic or pattern; `limit` 0 is none.
    pub(crate) fn subscribe(
        &mut self,
        topics: &Topics,
        filter: Filter<'_>,
        shard: usize,
        limit: usize,
    ) -> Subscribed {
        if let Some(channel) = topics.channel(filter)
            && self.subscriptions.position(Subscription(channel).key()).is_some()
        {
            return Subscribed::Already;
        }
        if limit > 0 && self.subscriptions.len() >= limit {
            return Subscribed::Limit;
        }
        let channel = topics.subscribe(filter, shard, self.wire);
        let id = channel.id;
        self.subscriptions.push(Subscription(channel));
        Subscribed::New(id)
    }

    /// Removes a topic or pattern; the id of the channel that the shard must forget.
    pub(crate) fn unsubscribe(&mut self, topics: &Topics, filter: Filter<'_>, shard: usize) -> Option<u64> {
        let id = topics.channel(filter)?.id;
        let at = self.subscriptions.position(id)?;
        let Subscription(channel) = self.subscriptions.swap_remove(at);
        topics.unsubscribe(&channel, shard, self.wire);
        Some(id)
    }

    /// Removes everything; the ids of the channels that the shard must forget.
    pub(crate) fn unsubscribe_all(&mut self, topics: &Topics, shard: usize) -> Vec<u64> {
        let channels = self.subscriptions.take();
        channels.iter().for_each(|Subscription(channel)| topics.unsubscribe(channel, shard, self.wire));
        channels.iter().map(|subscription| subscription.key()).collect()
    }

    /// The topics and patterns, sorted.
    pub(crate) fn topic_names(&self) -> Vec<String> {
        let name = |Subscription(channel): &Subscription| channel.name.to_string();
        let mut names: Vec<String> = self.subscriptions.as_slice().iter().map(name).collect();
        names.sort_unstable();
        names
    }
}
