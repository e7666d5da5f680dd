//! All topics in which somebody is present.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::data::Data;
use super::member::{Author, Entry, Member};
use crate::ConnId;

/// What became of a user in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first connection came.
    Joined,
    /// The last connection went. `owed` says that the join was [owed](Presence::owe) and is no more.
    Left {
        /// Nobody was told of the join, so nobody need be told of this.
        owed: bool,
    },
    /// The data are others.
    Updated,
}

/// Something to be told: what the subscribers of a topic see now of a user, and of one who left what they saw last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// To whom.
    pub user: Arc<str>,
    /// What the user shows.
    pub data: Data,
}

/// `presence_max_members` users are in the topic already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A user as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Who.
    pub user: Arc<str>,
    /// What it shows.
    pub data: Data,
    /// By how many connections.
    pub connections: usize,
}

/// How many are in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Users.
    pub users: usize,
    /// Their connections.
    pub connections: usize,
}

/// A join of which the application was not told for want of room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Where.
    pub topic: Arc<str>,
    /// Who.
    pub user: Arc<str>,
    /// What it shows by now.
    pub data: Data,
    /// The connection to this node by which it was; `None` if it was at another node.
    pub conn: Option<ConnId>,
}

/// Who is present in which topic.
///
/// Invariants: a topic here has a user, a user here has a connection; `users` is their sum over the topics; the joins owed are those of
/// the members that say so.
#[derive(Debug)]
pub struct Presence {
    /// This node.
    me: Author,
    topics: HashMap<Arc<str>, Topic, RandomState>,
    /// Summed over topics.
    users: usize,
    /// 0 is no limit.
    max_members: usize,
    /// Joins that were not told, in their order.
    owed: BTreeMap<u64, Untold>,
    last_owed: u64,
}

/// Topic, user, and the connection if it is one of this node.
type Untold = (Arc<str>, Arc<str>, Option<ConnId>);

#[derive(Debug, Default)]
struct Topic {
    members: HashMap<Arc<str>, Member, RandomState>,
}

impl Presence {
    /// Nobody anywhere; a topic with `max_members` users takes no more by connections of this node, 0 is no limit.
    #[must_use]
    pub fn new(max_members: usize) -> Self {
        Self::of(Author::ALONE, max_members)
    }

    /// The same as a node knows it that is one of several.
    #[must_use]
    pub fn of(me: Author, max_members: usize) -> Self {
        Self { me, topics: HashMap::default(), users: 0, max_members, owed: BTreeMap::new(), last_owed: 0 }
    }

    /// A connection of this node is in a topic as a user, and shows something or what the user shows already. A connection that is there
    /// already changes what is shown.
    ///
    /// # Errors
    /// [`Full`]: the user is not in the topic, and no more are taken.
    pub fn enter(
        &mut self,
        topic: &str,
        user: &str,
        conn: ConnId,
        data: Option<Data>,
        stamp: u64,
    ) -> Result<Option<Change>, Full> {
        let (members, is_known) = match self.topics.get(topic) {
            Some(topic) => (topic.members.len(), topic.members.contains_key(user)),
            None => (0, false),
        };
        if !is_known && self.max_members > 0 && members >= self.max_members {
            return Err(Full);
        }
        let me = self.me;
        Ok(self.change(topic, user, true, |member| member.enter(me, conn, data, stamp)))
    }

    /// A connection of this node is no longer in a topic. One that was not present there changes nothing.
    pub fn exit(&mut self, topic: &str, user: &str, conn: ConnId) -> Option<Change> {
        let me = self.me;
        self.change(topic, user, false, |member| {
            if member.has(conn) {
                member.exit(me, conn);
            }
        })
    }

    /// A connection of this node shows something else in a topic, if it is present there.
    pub fn update(
        &mut self,
        topic: &str,
        user: &str,
        conn: ConnId,
        data: Data,
        stamp: u64,
    ) -> Option<Change> {
        let me = self.me;
        self.change(topic, user, false, |member| {
            if member.has(conn) {
                member.enter(me, conn, Some(data), stamp);
            }
        })
    }

    /// Another node says what it knows of a user in a topic; `None` that it knows of none.
    pub fn put(&mut self, topic: &str, user: &str, author: Author, entry: Option<Entry>) -> Option<Change> {
        debug_assert!(author != self.me, "this node speaks by its connections");
        debug_assert!(entry.as_ref().is_none_or(|entry| entry.connections > 0), "an entry is somebody's");
        self.change(topic, user, entry.is_some(), |member| member.put(author, entry))
    }

    /// All that another node has said is void: it is gone.
    pub fn forget(&mut self, author: Author) -> Vec<(Arc<str>, Change)> {
        let everybody = self.topics.iter().flat_map(|(topic, Topic { members })| {
            members.values().map(|member| (topic.clone(), member.user.clone()))
        });
        let everybody: Vec<(Arc<str>, Arc<str>)> = everybody.collect();
        let changed = everybody.into_iter().filter_map(|(topic, user)| {
            let change = self.put(&topic, &user, author, None)?;
            Some((topic, change))
        });
        changed.collect()
    }

    /// Does something to a user in a topic, and finds out what that comes to for those who look on. Who is not there is only made when
    /// `create` says so.
    fn change(
        &mut self,
        topic: &str,
        user: &str,
        create: bool,
        act: impl FnOnce(&mut Member),
    ) -> Option<Change> {
        if create {
            self.make_room_for(topic, user);
        }
        let place = self.topics.get_mut(topic)?;
        let member = place.members.get_mut(user)?;
        let before = member.shown().cloned();
        act(member);
        let (user, after, owed) = (member.user.clone(), member.shown().cloned(), member.owed);
        match (before, after) {
            (None, Some(data)) => {
                self.users += 1;
                Some(Change { kind: Kind::Joined, user, data })
            }
            (Some(data), None) => {
                self.remove(topic, &user);
                self.users -= 1;
                let owed = owed.is_some_and(|at| self.owed.remove(&at).is_some());
                Some(Change { kind: Kind::Left { owed }, user, data })
            }
            (Some(before), Some(data)) => {
                (before != data).then_some(Change { kind: Kind::Updated, user, data })
            }
            (None, None) => unreachable!("a member has an entry, and a new one is given one"),
        }
    }

    fn make_room_for(&mut self, topic: &str, user: &str) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), Topic::default());
        }
        let members = &mut self.topics.get_mut(topic).expect("just looked up or added").members;
        if !members.contains_key(user) {
            let name: Arc<str> = user.into();
            members.insert(name.clone(), Member::new(name));
        }
    }

    fn remove(&mut self, topic: &str, user: &str) {
        let members = &mut self.topics.get_mut(topic).expect("a member's topic is here").members;
        members.remove(user);
        if members.is_empty() {
            self.topics.remove(topic);
            self.topics.shrink_to(self.topics.len() * 2);
        } else if members.len() * 4 < members.capacity() {
            // The places of a crowd that has left are not kept for a few.
            members.shrink_to(members.len() * 2);
        }
    }

    /// Remembers that nobody could be told that a user came, by this connection or at another node.
    pub fn owe(&mut self, topic: &str, user: &str, conn: Option<ConnId>) {
        let Some((name, place)) = self.topics.get_key_value(topic) else { return };
        let name = name.clone();
        if !place.members.contains_key(user) {
            return;
        }
        self.last_owed += 1;
        let member = self.topics.get_mut(topic).and_then(|place| place.members.get_mut(user));
        let member = member.expect("just looked up");
        debug_assert!(member.owed.is_none(), "a join is owed once");
        member.owed = Some(self.last_owed);
        self.owed.insert(self.last_owed, (name, member.user.clone(), conn));
    }

    /// The join that has waited longest to be told, if one has.
    #[must_use]
    pub fn first_owed(&self) -> Option<Owed> {
        let (topic, user, conn) = self.owed.first_key_value()?.1;
        let member = self.topics.get(topic).and_then(|place| place.members.get(user));
        let data = member.and_then(Member::shown).expect("a join is owed while its user is there").clone();
        Some(Owed { topic: topic.clone(), user: user.clone(), data, conn: *conn })
    }

    /// The join that has waited longest was told.
    pub fn pay_first(&mut self) {
        let Some((_, (topic, user, _))) = self.owed.pop_first() else { return };
        if let Some(member) = self.topics.get_mut(&topic).and_then(|place| place.members.get_mut(&user)) {
            member.owed = None;
        }
    }

    /// What an author says of a user in a topic, with the names as they are shared by all who know them.
    #[must_use]
    pub fn said(&self, topic: &str, user: &str, author: Author) -> Option<(&Arc<str>, &Arc<str>, &Entry)> {
        let (topic, place) = self.topics.get_key_value(topic)?;
        let member = place.members.get(user)?;
        Some((topic, &member.user, member.said(author)?))
    }

    /// Who is in a topic, in no order that means anything.
    #[must_use]
    pub fn list(&self, topic: &str) -> Vec<Present> {
        let present = |member: &Member| Present {
            user: member.user.clone(),
            data: member.shown().expect("a member shows something").clone(),
            connections: member.connections(),
        };
        self.topics.get(topic).map_or_else(Vec::new, |place| place.members.values().map(present).collect())
    }

    /// How many are in a topic.
    #[must_use]
    pub fn stats(&self, topic: &str) -> Stats {
        self.topics.get(topic).map_or_else(Stats::default, |place| Stats {
            users: place.members.len(),
            connections: place.members.values().map(Member::connections).sum(),
        })
    }

    /// Topics with somebody present.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Users, summed over topics.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users
    }
}
