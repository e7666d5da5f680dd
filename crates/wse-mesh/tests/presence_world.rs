//! Presence in a world where everything goes wrong: what is told is always what is seen, once for each change, and once it is calm all nodes
//! see who is really there.

mod interest_net;

use std::collections::{BTreeMap, BTreeSet};

use interest_net::{Event, Machine, Rng, World};
use wse_core::ConnId;
use wse_core::presence::{Change, Data, Kind as What};
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::presence::{Limits, Output, Presence};
use wse_mesh::wire::{Kind, Malformed};

/// A topic and a user.
type Place = (String, String);

struct Node {
    presence: Presence,
    /// What the subscribers of this node have been told.
    seen: BTreeMap<Place, Data>,
    /// Joins and leaves, in their order.
    history: BTreeMap<Place, Vec<bool>>,
    /// Its connections.
    here: BTreeSet<(Place, u32)>,
    polls: u32,
}

impl Node {
    fn tell(&mut self, topic: &str, change: Change) {
        let place = (topic.to_owned(), change.user.to_string());
        match change.kind {
            What::Joined => {
                assert_eq!(self.seen.insert(place.clone(), change.data), None, "a user joins once");
                self.history.entry(place).or_default().push(true);
            }
            What::Left { .. } => {
                assert_eq!(self.seen.remove(&place), Some(change.data), "a user leaves once, as it was seen");
                self.history.entry(place).or_default().push(false);
            }
            What::Updated => {
                let before = self.seen.insert(place, change.data.clone());
                assert!(
                    before.is_some_and(|before| before != change.data),
                    "an update is news of who is there"
                );
            }
        }
    }

    fn check(&self) {
        let topics: BTreeSet<&str> = self.seen.keys().map(|(topic, _)| &**topic).collect();
        assert_eq!(self.presence.topic_count(), topics.len());
        assert_eq!(self.presence.user_count(), self.seen.len());
        for topic in topics {
            let list = self.presence.list(topic);
            let listed: BTreeMap<&str, &Data> = list.iter().map(|one| (&*one.user, &one.data)).collect();
            let told = self.seen.iter().filter(|((of, _), _)| of == topic);
            let told: BTreeMap<&str, &Data> = told.map(|((_, user), data)| (&**user, data)).collect();
            assert_eq!(listed, told, "what is told is what is seen");
        }
    }
}

impl Machine for Node {
    type Told = ();

    fn new(me: NodeId, _: &mut Rng, _: u64) -> Self {
        let limits = Limits { frame_bytes: 300, ..Limits::default() };
        let presence = Presence::new(me, limits);
        Self { presence, seen: BTreeMap::new(), history: BTreeMap::new(), here: BTreeSet::new(), polls: 0 }
    }

    fn up(&mut self, peer: NodeId, session: Session) {
        self.presence.handle_up(peer, session);
    }

    fn down(&mut self, peer: NodeId, session: Session) {
        self.presence.handle_down(peer, session);
    }

    fn dead(&mut self, peer: NodeId) {
        self.presence.handle_dead(peer);
    }

    fn frame(&mut self, peer: NodeId, session: Session, kind: Kind, payload: &[u8]) -> Result<(), Malformed> {
        self.presence.handle_frame(peer, session, kind, payload)
    }

    fn timeout(&mut self, now_ms: u64) {
        self.presence.handle_timeout(now_ms);
    }

    fn poll(&mut self) -> Option<Event<()>> {
        loop {
            match self.presence.poll_output() {
                Some(Output::Send { peer, session, kind, payload }) => {
                    return Some(Event::Send { peer, session, kind, payload });
                }
                Some(Output::Told { topic, change }) => self.tell(&topic, change),
                Some(Output::Note(note)) => panic!("nothing is too much here: {note:?}"),
                None => {
                    // Sometimes there is no room to tell of more.
                    self.polls += 1;
                    self.presence.first_void().filter(|_| !self.polls.is_multiple_of(3))?;
                    self.presence.drop_void();
                }
            }
        }
    }
}

fn data(number: u64) -> Data {
    Data::new(&format!("{{\"n\":{number}}}"), 100).unwrap()
}

/// Some connections of a node come, go or show something else. `own` users are at one node alone.
fn act(world: &mut World<Node>, own: bool) {
    let at = world.rng.below(world.nodes.len() as u64) as usize;
    let id = world.nodes[at].id;
    for _ in 0..1 + world.rng.below(6) {
        let rng = &mut world.rng;
        let user = if own { format!("{id}.{}", rng.below(3)) } else { format!("u{}", rng.below(12)) };
        let (topic, number) = (format!("t{}", rng.below(3)), rng.below(2) as u32);
        let conn = ConnId { shard: 0, slot: number, generation: 0 };
        let (what, shown) = (rng.below(5), data(rng.below(4)));
        // No two clocks of the nodes agree.
        let unix_ms = world.now_ms + id.0 % 10_000;
        let node = &mut world.nodes[at].machine;
        let place = (topic.clone(), user.clone());
        let change = match what {
            0 | 1 => {
                node.here.insert((place, number));
                node.presence.enter(&topic, &user, conn, Some(shown), unix_ms).unwrap()
            }
            2 => {
                node.here.insert((place, number));
                node.presence.enter(&topic, &user, conn, None, unix_ms).unwrap()
            }
            3 => node.presence.update(&topic, &user, conn, shown, unix_ms),
            _ => {
                node.here.remove(&(place, number));
                node.presence.exit(&topic, &user, conn)
            }
        };
        if let Some(change) = change {
            node.tell(&topic, change);
        }
    }
    if world.rng.one_in(2) {
        world.drain(at);
    }
}

/// Everybody sees who is there, by as many connections, with the same data.
fn check_calm(world: &World<Node>, seed: u64) {
    let mut there: BTreeMap<&Place, usize> = BTreeMap::new();
    for node in &world.nodes {
        node.machine.here.iter().for_each(|(place, _)| *there.entry(place).or_default() += 1);
    }
    let first = &world.nodes[0].machine;
    for node in &world.nodes {
        let presence = &node.machine.presence;
        for other in world.nodes.iter().filter(|other| other.id != node.id) {
            assert!(presence.knows(other.id), "seed {seed}: {} does not know {}", node.id, other.id);
        }
        assert_eq!(node.machine.seen, first.seen, "seed {seed}");
        assert!(node.machine.seen.keys().eq(there.keys().copied()), "seed {seed}");
        for topic in ["t0", "t1", "t2"] {
            let list = presence.list(topic);
            let connections = |user: &str| there.get(&(topic.to_owned(), user.to_owned())).copied();
            assert!(list.iter().all(|one| Some(one.connections) == connections(&one.user)), "seed {seed}");
            let all: usize = there.iter().filter(|((of, _), _)| of == topic).map(|(_, count)| count).sum();
            assert_eq!((presence.stats(topic).users, presence.stats(topic).connections), (list.len(), all));
        }
    }
}

fn play(seed: u64) -> u64 {
    let mut world = World::<Node>::new(seed, 2 + seed as usize % 4);
    for _ in 0..80 {
        if world.rng.one_in(2) {
            act(&mut world, false);
        }
        if world.rng.one_in(3) {
            world.disturb();
        }
        world.step(150, 3);
        world.nodes.iter().for_each(|node| node.machine.check());
    }
    world.calm(70_000);
    check_calm(&world, seed);
    world.frames
}

#[test]
fn what_is_told_is_what_is_seen_and_once_calm_all_see_who_is_there() {
    let frames: u64 = (0..2000).map(play).sum();
    assert!(frames > 100_000, "a world in which something happens");
}

#[test]
#[ignore = "minutes"]
fn the_same_for_very_many_worlds() {
    (2000..200_000).for_each(|seed| {
        play(seed);
    });
}

#[test]
fn while_no_frame_is_lost_each_coming_and_going_is_told_everywhere() {
    let mut told = 0;
    for seed in 0..300 {
        let mut world = World::<Node>::new(seed, 3);
        world.calm(2000);
        for _ in 0..60 {
            act(&mut world, true);
            world.step(40, 1);
        }
        world.calm(2000);
        let mut histories = world.nodes.iter().map(|node| &node.machine.history);
        assert!(histories.all(|history| *history == world.nodes[0].machine.history), "seed {seed}");
        told += world.nodes[0].machine.history.values().map(Vec::len).sum::<usize>();
    }
    assert!(told > 10_000, "people come and go: {told}");
}
