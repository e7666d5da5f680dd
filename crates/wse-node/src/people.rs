//! Who is connected: what other threads may know and decide about a connection without asking its shard.

use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use wse_core::ConnId;
use wse_core::acl::{Acl, Admission, admission};
use wse_core::encoding::seen::Seen;
use wse_core::keyed::{Keyed, KeyedList};

use crate::asking::Decisions;
use crate::squeeze::Wire;
use crate::topics::{Channel, Smallest, Subscription, Topics};
use wse_core::topic::Filter;

/// A connection from the outside.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) generation: u32,
    pub(crate) address: SocketAddr,
    pub(crate) connected_at_ms: u64,
    pub(crate) user_id: Option<Box<str>>,
    /// What was agreed on at its coming.
    pub(crate) wire: Wire,
    /// Whether it was ever present in a topic.
    pub(crate) present: bool,
    /// What it asked for beside that.
    pub(crate) asked: Asked,
    pub(crate) subscriptions: KeyedList<Subscription>,
}

/// What the shard knows beyond that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionQuery {
    /// Bytes that wait to be sent.
    pub(crate) queued_bytes: usize,
}

/// A connection as it is listed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) address: SocketAddr,
    pub(crate) connected_at_ms: u64,
    pub(crate) user_id: Option<Box<str>>,
    pub(crate) wire: Wire,
    /// The first of its topics and patterns, sorted, and how many there are with its memberships in queue groups.
    pub(crate) topics: Vec<String>,
    pub(crate) subscriptions: usize,
}

/// How many topics of a connection are listed.
const TOPICS_SHOWN: usize = 100;

/// The open connections of one shard, by slot.
#[derive(Debug, Default)]
pub(crate) struct People {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    slots: Vec<Option<Box<Person>>>,
    acls: Acls,
    /// Of those who were sent events, beside the records as well.
    progress: HashMap<u32, Arc<Mutex<Progress>>, FixedState>,
    /// Of those about whose topics the application has decided.
    decisions: HashMap<u32, Decisions, FixedState>,
}

/// How far the events of one connection have come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The number of the last.
    pub(crate) seq: u64,
    /// Ids given by the application.
    pub(crate) seen: Seen,
}

/// What a client asked for in its `client_hello`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing.
    #[default]
    Nothing,
    /// It takes events in zlib streams.
    Zlib,
    /// It exchanged keys: everything that it is sent is sealed.
    Sealing,
}

/// What is to be known for an event.
#[derive(Debug)]
pub(crate) struct Addressee {
    pub(crate) wire: Wire,
    pub(crate) asked: Asked,
    pub(crate) progress: Arc<Mutex<Progress>>,
}

/// The access lists of those who have one, beside the records: without one a connection costs nothing for it.
#[derive(Debug, Default)]
struct Acls {
    by_slot: HashMap<u32, Arc<Acl>, FixedState>,
    /// Each list once, with the number of its connections: people of one kind have equal ones as a rule.
    users: HashMap<Arc<Acl>, u32, FixedState>,
}

impl Acls {
    fn set(&mut self, slot: u32, acl: Option<Acl>) -> Option<&Arc<Acl>> {
        self.forget(slot);
        let (shared, users) = {
            let entry = self.users.entry(Arc::new(acl?));
            let shared = entry.key().clone();
            (shared, entry.or_insert(0))
        };
        *users += 1;
        Some(self.by_slot.entry(slot).insert(shared).into_mut())
    }

    fn forget(&mut self, slot: u32) {
        let Some(acl) = self.by_slot.remove(&slot) else { return };
        if let Some(users) = self.users.get_mut(&acl) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&acl);
            }
        }
    }
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
    /// The access list allows nothing of it.
    NotAllowed,
    /// A pattern has no queue groups.
    Pattern,
    /// The topic has as many queue groups as it can have.
    Groups,
}

/// What a new access list does to the subscriptions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Narrowed {
    /// What is no longer allowed: the names of the topics and patterns, and the ids of their channels.
    pub(crate) ended: Vec<(String, u64)>,
    /// Patterns of which another part is allowed now: the channel that the shard must forget, and the new one.
    pub(crate) moved: Vec<(Arc<Channel>, u64)>,
}

impl People {
    pub(crate) fn enter(&self, conn: ConnId, person: Person, acl: Option<Acl>) {
        let mut places = self.places.lock();
        let index = conn.slot as usize;
        if places.slots.len() <= index {
            places.slots.resize_with(index + 1, || None);
        }
        places.slots[index] = Some(Box::new(person));
        places.acls.set(conn.slot, acl);
    }

    /// Takes a connection out; its channels are still to be told.
    pub(crate) fn leave(&self, conn: ConnId) -> Option<Box<Person>> {
        let mut places = self.places.lock();
        let slot = places.slots.get_mut(conn.slot as usize)?;
        if slot.as_ref()?.generation != conn.generation {
            return None;
        }
        let person = slot.take();
        places.acls.forget(conn.slot);
        places.progress.remove(&conn.slot);
        places.decisions.remove(&conn.slot);
        person
    }

    /// Looks at or changes one connection, if it is open.
    pub(crate) fn with<T>(&self, conn: ConnId, look: impl FnOnce(&mut Person) -> T) -> Option<T> {
        self.with_acl(conn, |person, _| look(person))
    }

    /// The same with its access list, if it has one.
    pub(crate) fn with_acl<T>(
        &self,
        conn: ConnId,
        look: impl FnOnce(&mut Person, Option<&Arc<Acl>>) -> T,
    ) -> Option<T> {
        let mut places = self.places.lock();
        let Places { slots, acls, .. } = &mut *places;
        let person = slots.get_mut(conn.slot as usize)?.as_mut()?;
        (person.generation == conn.generation).then(|| look(person, acls.by_slot.get(&conn.slot)))
    }

    /// Looks at what the application has decided about the topics of a connection, and at its access list.
    pub(crate) fn with_decisions<T>(
        &self,
        conn: ConnId,
        look: impl FnOnce(&mut Decisions, Option<&Acl>) -> T,
    ) -> Option<T> {
        let mut places = self.places.lock();
        let Places { slots, acls, decisions, .. } = &mut *places;
        let person = slots.get(conn.slot as usize)?.as_ref()?;
        (person.generation == conn.generation).then(|| {
            look(decisions.entry(conn.slot).or_default(), acls.by_slot.get(&conn.slot).map(|acl| &**acl))
        })
    }

    /// Gives a connection an access list, or takes it away, and lets the caller do what follows from that.
    pub(crate) fn set_acl<T>(
        &self,
        conn: ConnId,
        acl: Option<Acl>,
        then: impl FnOnce(&mut Person, Option<&Arc<Acl>>) -> T,
    ) -> Option<T> {
        let mut places = self.places.lock();
        let Places { slots, acls, .. } = &mut *places;
        let person = slots.get_mut(conn.slot as usize)?.as_mut()?;
        (person.generation == conn.generation).then(|| then(person, acls.set(conn.slot, acl)))
    }

    /// What an event for one connection needs to know, if it is open.
    pub(crate) fn addressee(&self, conn: ConnId) -> Option<Addressee> {
        let mut places = self.places.lock();
        let Places { slots, progress, .. } = &mut *places;
        let person = slots.get(conn.slot as usize)?.as_ref()?;
        if person.generation != conn.generation {
            return None;
        }
        let progress = progress.entry(conn.slot).or_insert_with(|| {
            // `server_ready`, which whoever has a token gets, is number 1.
            let seq = u64::from(person.user_id.is_some());
            Arc::new(Mutex::new(Progress { seq, seen: Seen::default() }))
        });
        Some(Addressee { wire: person.wire, asked: person.asked, progress: progress.clone() })
    }

    /// Looks at some places from one on for connections of a user; the place to go on from, if that were not all.
    pub(crate) fn find_user(
        &self,
        shard: u8,
        user: &str,
        from: u32,
        most: usize,
        found: &mut Vec<ConnId>,
    ) -> Option<u32> {
        let places = self.places.lock();
        let slots = places.slots.get(from as usize..).unwrap_or_default();
        for (slot, person) in (from..).zip(slots.iter().take(most)) {
            if let Some(person) = person.as_ref().filter(|person| person.user_id.as_deref() == Some(user)) {
                found.push(ConnId { shard, slot, generation: person.generation });
            }
        }
        (slots.len() > most).then_some(from + most as u32)
    }

    /// Shows the connections in some places from one on, those of one user if that is wanted; the place to go on from, if that were not
    /// all.
    pub(crate) fn show(
        &self,
        shard: u8,
        user: Option<&str>,
        from: u32,
        most_places: usize,
        most: usize,
        shown: &mut Vec<(ConnId, Shown)>,
    ) -> Option<u32> {
        let places = self.places.lock();
        let slots = places.slots.get(from as usize..).unwrap_or_default();
        let mut left = most;
        for (slot, person) in (from..).zip(slots.iter().take(most_places)) {
            let Some(person) = person else { continue };
            if user.is_some_and(|user| person.user_id.as_deref() != Some(user)) {
                continue;
            }
            if left == 0 {
                return Some(slot);
            }
            shown.push((ConnId { shard, slot, generation: person.generation }, person.show()));
            left -= 1;
        }
        (slots.len() > most_places).then_some(from + most_places as u32)
    }

    /// The open connections.
    pub(crate) fn list(&self, shard: u8, out: &mut Vec<ConnId>) {
        let places = self.places.lock();
        out.extend(places.slots.iter().enumerate().filter_map(|(slot, person)| {
            let generation = person.as_ref()?.generation;
            Some(ConnId { shard, slot: slot as u32, generation })
        }));
    }
}

impl Person {
    /// Adds a topic or pattern, or a membership in a queue group of a topic, as far as the access list allows it; `limit` 0 is none.
    pub(crate) fn subscribe(
        &mut self,
        topics: &Topics,
        filter: Filter<'_>,
        group: Option<&str>,
        acl: Option<&Arc<Acl>>,
        shard: usize,
        limit: usize,
    ) -> Subscribed {
        let part = match admission(acl.map(|acl| &**acl), filter) {
            Admission::Nothing => return Subscribed::NotAllowed,
            Admission::Part => acl,
            Admission::Whole => None,
        };
        if group.is_some() && filter.is_pattern() {
            return Subscribed::Pattern;
        }
        let known = match group {
            None => topics.channel(filter, part),
            Some(group) => topics.group(filter.as_str(), group),
        };
        if let Some(channel) = known
            && self.subscriptions.position(Subscription(channel).key()).is_some()
        {
            return Subscribed::Already;
        }
        if limit > 0 && self.subscriptions.len() >= limit {
            return Subscribed::Limit;
        }
        let channel = match group {
            None => topics.subscribe(filter, part, shard, self.wire),
            Some(group) => match topics.join_group(filter.as_str(), group, shard, self.wire) {
                Some(channel) => channel,
                None => return Subscribed::Groups,
            },
        };
        let id = channel.id;
        self.subscriptions.push(Subscription(channel));
        Subscribed::New(id)
    }

    /// Removes a topic or pattern, and its memberships in queue groups of it; the ids of the channels that the shard must forget.
    pub(crate) fn unsubscribe(
        &mut self,
        topics: &Topics,
        filter: Filter<'_>,
        acl: Option<&Arc<Acl>>,
        shard: usize,
    ) -> Vec<u64> {
        let own = |part| Some(topics.channel(filter, part)?.id);
        let channels = own(None).into_iter().chain(acl.and_then(|acl| own(Some(acl))));
        let mut left = Vec::new();
        for id in channels.chain(topics.group_ids(filter.as_str())) {
            if let Some(at) = self.subscriptions.position(id) {
                let Subscription(channel) = self.subscriptions.swap_remove(at);
                topics.unsubscribe(&channel, shard, self.wire);
                left.push(id);
            }
        }
        left
    }

    /// Makes the subscriptions obey an access list. The channels that were left for others are counted until the shard knows
    /// (`Topics::unsubscribe` is still to be called for `moved`), so that nothing is missed between the two.
    pub(crate) fn obey(&mut self, topics: &Topics, acl: Option<&Arc<Acl>>, shard: usize) -> Narrowed {
        let mut narrowed = Narrowed::default();
        for Subscription(channel) in self.subscriptions.take() {
            let filter = Filter::parse(&channel.name).expect("somebody subscribed to it");
            let part = match admission(acl.map(|acl| &**acl), filter) {
                Admission::Nothing => {
                    topics.unsubscribe(&channel, shard, self.wire);
                    narrowed.ended.push((channel.name.to_string(), channel.id));
                    continue;
                }
                Admission::Part => acl,
                Admission::Whole => None,
            };
            if channel.part.as_ref() == part {
                self.subscriptions.push(Subscription(channel));
            } else {
                let new = topics.subscribe(filter, part, shard, self.wire);
                narrowed.moved.push((channel, new.id));
                self.subscriptions.push(Subscription(new));
            }
        }
        narrowed
    }

    /// Removes everything: the names, and the ids of the channels that the shard must forget.
    pub(crate) fn unsubscribe_all(&mut self, topics: &Topics, shard: usize) -> Vec<(String, u64)> {
        let channels = self.subscriptions.take();
        channels.iter().for_each(|Subscription(channel)| topics.unsubscribe(channel, shard, self.wire));
        channels.iter().map(|Subscription(channel)| (channel.name.to_string(), channel.id)).collect()
    }

    fn show(&self) -> Shown {
        let mut topics = Smallest::new(TOPICS_SHOWN);
        self.subscriptions.as_slice().iter().for_each(|Subscription(channel)| topics.offer(&channel.name));
        Shown {
            address: self.address,
            connected_at_ms: self.connected_at_ms,
            user_id: self.user_id.clone(),
            wire: self.wire,
            topics: topics.into_names().collect(),
            subscriptions: self.subscriptions.len(),
        }
    }

    /// The topics and patterns, sorted.
    pub(crate) fn topic_names(&self) -> Vec<String> {
        let name = |Subscription(channel): &Subscription| channel.name.to_string();
        let mut names: Vec<String> = self.subscriptions.as_slice().iter().map(name).collect();
        names.sort_unstable();
        // A topic and a queue group of it have one name.
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_connection_is_no_larger_for_what_few_ask() {
        // With one byte more it would take the next size that the allocator has, 112.
        assert!(size_of::<Person>() <= 96, "{}", size_of::<Person>());
    }
}
