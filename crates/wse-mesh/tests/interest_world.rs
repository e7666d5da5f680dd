//! Interest in a world where everything goes wrong: whoever was told that it is subscribed is in every route of every node that reaches
//! it, and once it is calm each table says what the nodes have.

mod interest_net;

use std::collections::{BTreeMap, BTreeSet};

use interest_net::{Event, Machine, Rng, World};
use wse_core::topic::Filter;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::interest::{Exchange, Interest, Limits, Orders, Output, Version};
use wse_mesh::wire::{Kind, Malformed};

/// A topic or pattern, and perhaps a group.
type Entry = (String, Option<&'static str>);

struct Node {
    exchange: Exchange,
    max_entries: u64,
    /// What it has receivers of, and when each came.
    has: BTreeMap<Entry, Version>,
}

fn interest((text, group): &Entry) -> Interest<'_> {
    let filter = Filter::parse(text).unwrap();
    group.map_or(Interest::of(filter), |group| Interest::in_group(filter, group).unwrap())
}

impl Machine for Node {
    type Told = Version;

    fn new(me: NodeId, rng: &mut Rng, class: u64) -> Self {
        let max_entries = if class == 3 { 20 } else { 1000 };
        let limits = Limits { max_entries, frame_bytes: 1024 };
        Self { exchange: Exchange::new(me, limits, rng.next()), max_entries, has: BTreeMap::new() }
    }

    fn up(&mut self, peer: NodeId, session: Session) {
        self.exchange.handle_up(peer, session).unwrap();
    }

    fn down(&mut self, peer: NodeId, session: Session) {
        self.exchange.handle_down(peer, session);
    }

    fn dead(&mut self, peer: NodeId) {
        self.exchange.handle_dead(peer);
    }

    fn frame(&mut self, peer: NodeId, session: Session, kind: Kind, payload: &[u8]) -> Result<(), Malformed> {
        self.exchange.handle_frame(peer, session, kind, payload)
    }

    fn timeout(&mut self, now_ms: u64) {
        self.exchange.handle_timeout(now_ms);
    }

    fn poll(&mut self) -> Option<Event<Version>> {
        loop {
            match self.exchange.poll_output()? {
                Output::Send { peer, session, kind, payload } => {
                    assert!(payload.len() < 2048, "frames are as small as the limit says");
                    return Some(Event::Send { peer, session, kind, payload });
                }
                Output::Confirmed(version) => return Some(Event::Told(version)),
                Output::Changed { .. } | Output::Note(_) => {}
            }
        }
    }
}

/// The topics that are published to.
const TOPICS: [&str; 4] = ["t0", "t1", "long.t0", "none"];

fn some_entry(rng: &mut Rng) -> Entry {
    let at = rng.below(2);
    match rng.below(8) {
        0 => ("t*".into(), None),
        1 => ("*0".into(), None),
        2 => (format!("t{at}"), Some("g")),
        3 => (format!("t{at}"), Some("h")),
        4 => (format!("t{at}"), None),
        5 => ("long.t0".into(), None),
        // Enough of them for several parts.
        _ => (format!("filling.{}.{}", "x".repeat(60), rng.below(60)), None),
    }
}

fn act(world: &mut World<Node>, keeps_groups: bool) {
    let at = world.rng.below(world.nodes.len() as u64) as usize;
    for _ in 0..1 + world.rng.below(6) {
        let entry = some_entry(&mut world.rng);
        let removes = world.rng.one_in(3) && !(keeps_groups && entry.1.is_some());
        let node = &mut world.nodes[at].machine;
        if removes {
            node.exchange.remove(&interest(&entry));
            node.has.remove(&entry);
        } else {
            let version = node.exchange.add(&interest(&entry));
            let known = node.has.insert(entry, version);
            assert!(known.is_none_or(|known| known == version), "who comes second waits for the same");
        }
    }
    // The node may do other things before it asks what is to be sent.
    if world.rng.one_in(2) {
        world.drain(at);
    }
}

/// Who is confirmed is routed to by everybody who reaches it.
fn check_confirmed(world: &World<Node>, seed: u64) {
    for (to, receiver) in world.nodes.iter().enumerate() {
        let node = &receiver.machine;
        let told = &receiver.told;
        assert!(told.is_sorted_by(|a, b| a < b), "seed {seed}: each confirmation is news: {told:?}");
        assert!(
            told.last().is_none_or(|last| node.exchange.acknowledged(*last)),
            "seed {seed}: not taken back"
        );
        let confirmed = node.has.iter().filter(|(_, version)| node.exchange.acknowledged(**version));
        let confirmed: Vec<&Entry> = confirmed.map(|(entry, _)| entry).collect();
        for (from, sender) in world.nodes.iter().enumerate() {
            if from == to || !world.reaches(from, to) {
                continue;
            }
            let exchange = &sender.machine.exchange;
            let index = exchange.index_of(receiver.id).expect("a peer with a link has an index");
            for (text, _) in confirmed.iter().filter(|(text, _)| text.starts_with("filling")) {
                let is_routed = exchange.table().route(text).peers.contains(index);
                assert!(is_routed, "seed {seed}: {from} knows nothing of {text} at {to}");
            }
            for topic in TOPICS {
                let route = exchange.table().route(topic);
                for (text, group) in confirmed.iter().filter(|(text, _)| !text.starts_with("filling")) {
                    let is_meant = Filter::parse(text).unwrap().matches(topic);
                    let is_routed = match group {
                        None => route.peers.contains(index),
                        Some(name) => {
                            let of = route.groups.iter().find(|group| *group.name == **name);
                            route.unknown.contains(index) || of.is_some_and(|of| of.peers.contains(index))
                        }
                    };
                    assert!(
                        !is_meant || is_routed,
                        "seed {seed}: {from} knows nothing of {text} {group:?} at {to}"
                    );
                }
            }
        }
    }
}

fn groups_of(node: &Node, topic: &str) -> Vec<&'static str> {
    node.has.keys().filter(|(text, _)| text == topic).filter_map(|(_, group)| *group).collect()
}

/// How many nodes serve a group with a message that one of them publishes.
fn served(world: &World<Node>, from: usize, topic: &str, name: &'static str) -> usize {
    let sender = &world.nodes[from].machine;
    let local = groups_of(sender, topic);
    let route = sender.exchange.table().route(topic);
    let id_of = |index| sender.exchange.id_of(index).expect("an index of a route is somebody's");
    let share = route.share(&local, false, 0, id_of);
    let serves = |(index, orders): &&(_, Orders<'_>)| {
        let receiver =
            &world.nodes.iter().find(|node| node.id == id_of(*index)).expect("it is reached").machine;
        let local = groups_of(receiver, topic);
        receiver.exchange.duties(Filter::parse(topic).unwrap(), &local, orders, 0).groups.contains(&name)
    };
    usize::from(local.contains(&name)) + share.peers.iter().filter(serves).count()
}

/// A group whose members stay is served by one node, whoever knows what of whom.
fn check_groups(world: &World<Node>, seed: u64) {
    if !world.is_whole() {
        return;
    }
    let all = 0..world.nodes.len();
    let pairs = all.clone().flat_map(|a| all.clone().map(move |b| (a, b))).filter(|(a, b)| a != b);
    let knows = |(a, b): (usize, usize)| world.nodes[a].machine.exchange.knows(world.nodes[b].id);
    for topic in ["t0", "t1"] {
        for name in ["g", "h"] {
            let entry = (topic.to_owned(), Some(name));
            let is_confirmed = |node: &interest_net::Node<Node>| {
                let version = node.machine.has.get(&entry);
                version.is_some_and(|version| node.machine.exchange.acknowledged(*version))
            };
            if !world.nodes.iter().any(is_confirmed) {
                continue;
            }
            let has_it = |node: &&interest_net::Node<Node>| node.machine.has.contains_key(&entry);
            let all_confirmed = world.nodes.iter().filter(has_it).all(is_confirmed);
            for from in all.clone() {
                let served = served(world, from, topic, name);
                assert!(served > 0, "seed {seed}: nobody serves {name} of {topic} for {from}");
                let is_clear = all_confirmed && pairs.clone().filter(|(a, _)| *a != from).all(knows);
                assert!(served == 1 || !is_clear, "seed {seed}: {served} serve {name} of {topic} for {from}");
            }
        }
    }
}

/// Everybody knows all of everybody.
fn check_calm(world: &World<Node>, seed: u64) {
    for (at, node) in world.nodes.iter().enumerate() {
        let exchange = &node.machine.exchange;
        assert!(
            node.machine.has.values().all(|version| exchange.acknowledged(*version)),
            "seed {seed}: {at} waits"
        );
        let others = world.nodes.iter().filter(|other| other.id != node.id);
        let kept = others.clone().filter(|other| other.machine.has.len() as u64 <= node.machine.max_entries);
        let names = kept.clone().flat_map(|other| other.machine.has.keys());
        let names: BTreeSet<&str> = names
            .filter(|(text, group)| group.is_none() && !text.contains('*'))
            .map(|(text, _)| &**text)
            .collect();
        assert_eq!(exchange.table().topic_count(), names.len(), "seed {seed}: {at} has topics of nobody");
        for topic in TOPICS.into_iter().chain(names.iter().copied()) {
            let route = exchange.table().route(topic);
            for other in others.clone() {
                let index = exchange.index_of(other.id).expect("all have links");
                let has = |group| {
                    let meant =
                        |(text, of): &Entry| *of == group && Filter::parse(text).unwrap().matches(topic);
                    other.machine.has.keys().any(meant)
                };
                let is_kept = other.machine.has.len() as u64 <= node.machine.max_entries;
                assert_eq!(exchange.knows(other.id), is_kept, "seed {seed}: {at} does not know a peer");
                assert!(exchange.has_met(other.id), "seed {seed}: {at} has not met a peer");
                let is_routed = route.peers.contains(index);
                assert_eq!(is_routed, !is_kept || has(None), "seed {seed}: {at} is wrong about {topic}");
                for group in ["g", "h"] {
                    let of = route.groups.iter().find(|known| *known.name == *group);
                    let is_member = of.is_some_and(|of| of.peers.contains(index));
                    assert_eq!(
                        is_member,
                        is_kept && has(Some(group)),
                        "seed {seed}: {at} is wrong about {group} of {topic}"
                    );
                }
            }
        }
    }
}

fn play(seed: u64) -> u64 {
    let nodes = 2 + seed as usize % 4;
    let mut world = World::<Node>::new(seed, nodes);
    let keeps_groups = seed.is_multiple_of(3);
    for _ in 0..80 {
        if world.rng.one_in(2) {
            act(&mut world, keeps_groups);
        }
        if world.rng.one_in(3) {
            world.disturb();
        }
        world.step(150, 3);
        check_confirmed(&world, seed);
        if keeps_groups {
            check_groups(&world, seed);
        }
    }
    world.calm(130_000);
    check_confirmed(&world, seed);
    check_calm(&world, seed);
    check_groups(&world, seed);
    world.frames
}

#[test]
fn who_is_subscribed_is_routed_to_and_once_calm_all_is_known() {
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
