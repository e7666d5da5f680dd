//! Presence against a plain model, and the rules one by one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::ConnId;

fn conn(number: u32) -> ConnId {
    ConnId { shard: 0, slot: number, generation: 0 }
}

fn data(text: &str) -> Data {
    Data::new(&format!("{{\"n\":\"{text}\"}}"), 1000).unwrap()
}

fn kind(change: Option<Change>) -> Option<Kind> {
    change.map(|change| change.kind)
}

const LEFT: Kind = Kind::Left { owed: false };

#[test]
fn a_user_joins_with_the_first_connection_and_leaves_with_the_last() {
    let mut presence = Presence::new(0);
    let joined = presence.enter("t", "u", conn(1), Some(data("a")), 1).unwrap().unwrap();
    assert_eq!((joined.kind, &*joined.user, joined.data), (Kind::Joined, "u", data("a")));
    assert_eq!(presence.enter("t", "u", conn(2), None, 2), Ok(None), "who shows nothing new changes nothing");
    assert_eq!(presence.stats("t"), Stats { users: 1, connections: 2 });
    assert_eq!(presence.exit("t", "u", conn(1)), None);
    assert_eq!(presence.exit("t", "u", conn(1)), None, "a connection leaves once");
    let left = presence.exit("t", "u", conn(2)).unwrap();
    assert_eq!((left.kind, left.data), (LEFT, data("a")), "what it showed stays when its connection is gone");
    assert_eq!((presence.topic_count(), presence.user_count()), (0, 0));
    assert_eq!(presence.list("t"), []);
}

#[test]
fn the_newest_data_are_shown_and_a_change_is_told_once() {
    let mut presence = Presence::new(0);
    presence.enter("t", "u", conn(1), Some(data("a")), 1).unwrap();
    assert_eq!(kind(presence.enter("t", "u", conn(2), Some(data("b")), 2).unwrap()), Some(Kind::Updated));
    assert_eq!(kind(presence.update("t", "u", conn(1), data("c"), 3)), Some(Kind::Updated));
    assert_eq!(presence.update("t", "u", conn(1), data("c"), 4), None, "the same again is no news");
    assert_eq!(
        presence.update("t", "u", conn(9), data("d"), 5),
        None,
        "not by a connection that is not there"
    );
    assert_eq!(presence.update("other", "u", conn(1), data("d"), 5), None);
    assert_eq!(presence.list("t")[0].data, data("c"));
}

#[test]
fn a_full_topic_takes_nobody_new_but_another_connection_of_who_is_there() {
    let mut presence = Presence::new(1);
    presence.enter("t", "u", conn(1), None, 1).unwrap();
    assert_eq!(presence.enter("t", "v", conn(2), None, 1), Err(Full));
    assert_eq!(presence.enter("t", "u", conn(3), None, 1), Ok(None));
    assert_eq!(presence.exit("t", "v", conn(2)), None);
    presence.exit("t", "u", conn(1));
    presence.exit("t", "u", conn(3));
    assert_eq!(
        kind(presence.enter("t", "v", conn(2), None, 1).unwrap()),
        Some(Kind::Joined),
        "a place is free again"
    );
}

#[test]
fn data_beyond_the_limit_are_refused_with_both_figures() {
    let error = Data::new("{\"a\":1}", 6).unwrap_err();
    assert_eq!(error, TooLarge { len: 7, limit: 6 });
    assert_eq!(error.to_string(), "presence data of 7 bytes as JSON: presence_max_data_size is 6");
    assert!(Data::new("{\"a\":1}", 7).is_ok());
}

#[test]
fn a_user_on_two_nodes_is_one_user_who_shows_the_newest() {
    let mut presence = Presence::new(0);
    let entry = |text, stamp| Some(Entry { connections: 2, data: data(text), stamp });
    presence.enter("t", "u", conn(1), Some(data("here")), 10).unwrap();
    assert_eq!(presence.put("t", "u", Author(3), entry("old", 9)), None, "older data are not shown");
    assert_eq!(kind(presence.put("t", "u", Author(3), entry("new", 11))), Some(Kind::Updated));
    assert_eq!(presence.stats("t"), Stats { users: 1, connections: 3 });
    assert_eq!(presence.exit("t", "u", conn(1)), None, "still there by the other node");
    let gone = presence.forget(Author(3));
    assert_eq!(gone.len(), 1);
    assert_eq!((&*gone[0].0, gone[0].1.kind), ("t", LEFT), "with the node go its users");
    assert_eq!(presence.topic_count(), 0);
}

#[test]
fn of_equally_new_data_all_nodes_show_those_of_the_same_node() {
    let mut nodes = [3, 8].map(|id| Presence::of(Author(id), 0));
    for (at, other) in [(0, 8), (1, 3)] {
        let own = if at == 0 { "of 3" } else { "of 8" };
        let others = if at == 0 { "of 8" } else { "of 3" };
        nodes[at].enter("t", "u", conn(1), Some(data(own)), 10).unwrap();
        nodes[at].put("t", "u", Author(other), Some(Entry { connections: 1, data: data(others), stamp: 10 }));
        assert_eq!(nodes[at].list("t")[0].data, data("of 8"));
    }
    let (topic, user, entry) = nodes[0].said("t", "u", Author(8)).unwrap();
    assert_eq!((&**topic, &**user, &entry.data), ("t", "u", &data("of 8")));
    assert_eq!(nodes[0].said("t", "v", Author(8)), None);
    assert_eq!(nodes[0].said("t", "u", Author(9)), None);
}

#[test]
fn a_join_that_could_not_be_told_is_owed_until_it_is_told_or_void() {
    let mut presence = Presence::new(0);
    for (number, user) in [(1, "a"), (2, "b"), (3, "c")] {
        presence.enter("t", user, conn(number), None, 1).unwrap();
        presence.owe("t", user, Some(conn(number)));
    }
    assert_eq!(presence.exit("t", "a", conn(1)).unwrap().kind, Kind::Left { owed: true });
    presence.update("t", "b", conn(2), data("later"), 2);
    let owed = presence.first_owed().unwrap();
    assert_eq!((&*owed.topic, &*owed.user, owed.conn, owed.data), ("t", "b", Some(conn(2)), data("later")));
    presence.pay_first();
    assert_eq!(presence.exit("t", "b", conn(2)).unwrap().kind, LEFT, "it was told, so its end is news");
    presence.pay_first();
    assert_eq!(presence.first_owed(), None);
}

#[derive(Clone, Debug)]
enum Op {
    Enter(usize, usize, u32, Option<u8>),
    Exit(usize, usize, u32),
    Update(usize, usize, u32, u8),
    Put(usize, usize, u32, Option<(u32, u8)>),
    Forget(u32),
    Owe(usize, usize),
    Pay,
}

fn op() -> impl Strategy<Value = Op> {
    let (topic, user, conn, shows) = (0_usize..2, 0_usize..3, 0_u32..4, 0_u8..3);
    let place = (topic, user);
    prop_oneof![
        6 => (place.clone(), conn.clone(), prop::option::of(shows.clone()))
            .prop_map(|((t, u), c, d)| Op::Enter(t, u, c, d)),
        5 => (place.clone(), conn.clone()).prop_map(|((t, u), c)| Op::Exit(t, u, c)),
        2 => (place.clone(), conn, shows.clone()).prop_map(|((t, u), c, d)| Op::Update(t, u, c, d)),
        3 => (place.clone(), 1_u32..3, prop::option::of((1_u32..4, shows)))
            .prop_map(|((t, u), a, e)| Op::Put(t, u, a, e)),
        1 => (1_u32..3).prop_map(Op::Forget),
        2 => place.prop_map(|(t, u)| Op::Owe(t, u)),
        1 => Just(Op::Pay),
    ]
}

/// What everybody sees of a user: the data and the connections.
type Seen = BTreeMap<(usize, usize), (Data, usize)>;

/// What one author says: when, who, the data and the connections.
type Statement = (u64, u32, Data, usize);

/// Presence as one would write it down: connections as a set, statements as a list.
#[derive(Default)]
struct Model {
    here: BTreeMap<(usize, usize), (BTreeSet<u32>, Said)>,
    said: BTreeMap<(usize, usize, u32), (u32, Said)>,
    owed: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct Said(u64, Data);

impl Model {
    fn seen(&self) -> Seen {
        let mut all: BTreeMap<(usize, usize), Vec<Statement>> = BTreeMap::new();
        for (place, (conns, Said(stamp, data))) in &self.here {
            all.entry(*place).or_default().push((*stamp, 0, data.clone(), conns.len()));
        }
        for ((topic, user, author), (count, Said(stamp, data))) in &self.said {
            let entries = all.entry((*topic, *user)).or_default();
            entries.push((*stamp, *author, data.clone(), *count as usize));
        }
        let shown = |entries: Vec<Statement>| {
            let newest = entries.iter().max_by_key(|entry| (entry.0, entry.1)).unwrap().2.clone();
            (newest, entries.iter().map(|entry| entry.3).sum())
        };
        all.into_iter().map(|(place, entries)| (place, shown(entries))).collect()
    }

    fn do_op(&mut self, op: &Op, stamp: u64, limit: usize) {
        match op {
            Op::Enter(t, u, conn, shows) => {
                let place = (*t, *u);
                let seen = self.seen();
                let members = seen.keys().filter(|place| place.0 == *t).count();
                if !seen.contains_key(&place) && limit > 0 && members >= limit {
                    return;
                }
                let nothing = || (BTreeSet::new(), Said(0, Data::empty()));
                let entry = self.here.entry(place).or_insert_with(nothing);
                entry.0.insert(*conn);
                if let Some(shows) = shows {
                    entry.1 = Said(stamp, data(&shows.to_string()));
                }
            }
            Op::Exit(t, u, conn) => {
                if let Some((conns, _)) = self.here.get_mut(&(*t, *u)) {
                    conns.remove(conn);
                    if conns.is_empty() {
                        self.here.remove(&(*t, *u));
                    }
                }
            }
            Op::Update(t, u, conn, shows) => {
                if let Some((conns, said)) = self.here.get_mut(&(*t, *u))
                    && conns.contains(conn)
                {
                    *said = Said(stamp, data(&shows.to_string()));
                }
            }
            Op::Put(t, u, author, entry) => {
                self.said.remove(&(*t, *u, *author));
                if let Some((count, shows)) = entry {
                    let said = (*count, Said(stamp, data(&shows.to_string())));
                    self.said.insert((*t, *u, *author), said);
                }
            }
            Op::Forget(author) => self.said.retain(|(_, _, known), _| known != author),
            Op::Owe(t, u) => {
                if self.seen().contains_key(&(*t, *u)) && !self.owed.contains(&(*t, *u)) {
                    self.owed.push((*t, *u));
                }
            }
            Op::Pay => {
                if !self.owed.is_empty() {
                    self.owed.remove(0);
                }
            }
        }
        let seen = self.seen();
        self.owed.retain(|place| seen.contains_key(place));
    }
}

/// What the change of one user is, by what everybody saw before and sees after.
fn expected(before: &Seen, after: &Seen, place: (usize, usize), owed: bool) -> Option<(Kind, Data)> {
    match (before.get(&place), after.get(&place)) {
        (None, Some((data, _))) => Some((Kind::Joined, data.clone())),
        (Some((data, _)), None) => Some((Kind::Left { owed }, data.clone())),
        (Some((old, _)), Some((new, _))) if old != new => Some((Kind::Updated, new.clone())),
        _ => None,
    }
}

const TOPICS: [&str; 2] = ["t0", "t1"];
const USERS: [&str; 3] = ["u0", "u1", "u2"];

proptest! {
    #[test]
    fn the_same_as_the_model(ops in prop::collection::vec(op(), 0..60), limit in 0_usize..3) {
        let (mut presence, mut model) = (Presence::new(limit), Model::default());
        for (stamp, op) in ops.iter().enumerate().map(|(at, op)| (at as u64 + 1, op)) {
            let (before, were_owed) = (model.seen(), model.owed.clone());
            model.do_op(op, stamp, limit);
            let after = model.seen();
            let shows = |shows: &u8| data(&shows.to_string());
            let mut told: Vec<((usize, usize), Change)> = Vec::new();
            let mut note = |place, change: Option<Change>| told.extend(change.map(|change| (place, change)));
            match op {
                Op::Enter(t, u, number, d) => {
                    let entered = presence.enter(TOPICS[*t], USERS[*u], conn(*number), d.as_ref().map(shows), stamp);
                    prop_assert_eq!(entered.is_err(), !after.contains_key(&(*t, *u)));
                    note((*t, *u), entered.unwrap_or(None));
                }
                Op::Exit(t, u, number) => note((*t, *u), presence.exit(TOPICS[*t], USERS[*u], conn(*number))),
                Op::Update(t, u, number, d) => {
                    note((*t, *u), presence.update(TOPICS[*t], USERS[*u], conn(*number), shows(d), stamp));
                }
                Op::Put(t, u, author, entry) => {
                    let entry = entry.as_ref().map(|(connections, d)| {
                        Entry { connections: *connections, data: shows(d), stamp }
                    });
                    note((*t, *u), presence.put(TOPICS[*t], USERS[*u], Author(u64::from(*author)), entry));
                }
                Op::Forget(author) => {
                    let at = |names: &[&str], name: &str| names.iter().position(|n| *n == name).unwrap();
                    for (topic, change) in presence.forget(Author(u64::from(*author))) {
                        let place = (at(&TOPICS, &topic), at(&USERS, &change.user));
                        told.push((place, change));
                    }
                }
                Op::Owe(t, u) => {
                    if !were_owed.contains(&(*t, *u)) {
                        presence.owe(TOPICS[*t], USERS[*u], Some(conn(7)));
                    }
                }
                Op::Pay => presence.pay_first(),
            }
            // Each user who looks different is told once, and nobody else.
            for t in 0..TOPICS.len() {
                for u in 0..USERS.len() {
                    let place = (t, u);
                    let said: Vec<_> = told.iter().filter(|(at, _)| *at == place).collect();
                    let said: Vec<_> = said.iter().map(|(_, c)| (c.kind, c.data.clone())).collect();
                    let owed = were_owed.contains(&place);
                    let wanted: Vec<_> = expected(&before, &after, place, owed).into_iter().collect();
                    prop_assert_eq!(said, wanted, "{:?} of {:?}", op, place);
                }
            }
            // The state is the model's.
            for (t, topic) in TOPICS.iter().enumerate() {
                let mut list: Vec<_> = presence.list(topic).into_iter()
                    .map(|present| (present.user.to_string(), present.data, present.connections)).collect();
                list.sort_by(|a, b| a.0.cmp(&b.0));
                let wanted: Vec<_> = after.iter().filter(|((at, _), _)| *at == t)
                    .map(|((_, u), (data, count))| (USERS[*u].to_owned(), data.clone(), *count)).collect();
                let connections = wanted.iter().map(|(_, _, count)| count).sum();
                prop_assert_eq!(presence.stats(topic), Stats { users: wanted.len(), connections });
                prop_assert_eq!(list, wanted);
            }
            prop_assert_eq!(presence.user_count(), after.len());
            let topics: BTreeSet<usize> = after.keys().map(|place| place.0).collect();
            prop_assert_eq!(presence.topic_count(), topics.len());
            let first = presence.first_owed().map(|owed| (owed.topic.to_string(), owed.user.to_string()));
            let wanted = model.owed.first().map(|(t, u)| (TOPICS[*t].to_owned(), USERS[*u].to_owned()));
            prop_assert_eq!(first, wanted);
        }
    }
}
