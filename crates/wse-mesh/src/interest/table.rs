//! What all peers have receivers of, asked by topic.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use std::hash::BuildHasher as _;
use wse_core::pattern_index::PatternIndex;

use super::entry::Interest;
use super::mask::{Mask, PeerIndex};
use super::route::{GroupRoute, Route};

/// The interest of the peers. A topic is here once, with a bit for each peer.
///
/// Invariants: no mask is empty; `index` has the patterns of `patterns`, with the same masks; groups of a topic are in the order of their names.
#[derive(Debug)]
pub struct Table {
    hasher: FixedState,
    topics: HashTable<Topic>,
    patterns: BTreeMap<Box<str>, Mask>,
    index: PatternIndex<Mask>,
    groups: HashMap<Box<str>, Vec<GroupRoute>, FixedState>,
    linked: Mask,
    unknown: Mask,
    generation: u64,
}

#[derive(Debug)]
struct Topic {
    name: Box<str>,
    peers: Mask,
}

impl Table {
    /// Knows of nobody. The seed keeps others from choosing names that fall into one place.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            groups: HashMap::with_hasher(hasher.clone()),
            hasher,
            topics: HashTable::new(),
            patterns: BTreeMap::new(),
            index: PatternIndex::default(),
            linked: Mask::NONE,
            unknown: Mask::NONE,
            generation: 0,
        }
    }

    /// Another number whenever a route may have become another.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The peers to which something can be sent.
    #[must_use]
    pub fn linked(&self) -> Mask {
        self.linked
    }

    /// Where the messages of a topic go.
    #[must_use]
    pub fn route(&self, topic: &str) -> Route {
        let known = self.linked.without(self.unknown);
        let unknown = self.linked & self.unknown;
        let own = self.topic(topic).map_or(Mask::NONE, |topic| topic.peers);
        let peers = if self.patterns.is_empty() {
            own
        } else {
            self.index.matching(topic).into_iter().fold(own, |peers, pattern| peers | *pattern)
        };
        let groups = self.groups.get(topic).map_or(&[][..], Vec::as_slice).iter();
        let groups = groups.map(|group| GroupRoute { name: group.name.clone(), peers: group.peers & known });
        Route {
            peers: (peers & known) | unknown,
            unknown,
            groups: groups.filter(|group| !group.peers.is_empty()).collect(),
        }
    }

    /// Which peers are known to have this entry, with a link or without.
    #[must_use]
    pub fn having(&self, interest: &Interest<'_>) -> Mask {
        let text = interest.filter().as_str();
        let found = match interest.group() {
            Some(name) => self.groups.get(text).and_then(|groups| {
                let at = groups.binary_search_by(|group| (*group.name).cmp(name)).ok()?;
                Some(groups[at].peers)
            }),
            None if interest.filter().is_pattern() => self.patterns.get(text).copied(),
            None => self.topic(text).map(|topic| topic.peers),
        };
        found.unwrap_or_default().without(self.unknown)
    }

    /// Topics that some peer is subscribed to by name.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.find(self.hasher.hash_one(name), |topic| *topic.name == *name)
    }

    pub(super) fn set_linked(&mut self, peer: PeerIndex, is_linked: bool) {
        self.generation += u64::from(self.linked.set(peer, is_linked));
    }

    pub(super) fn set_unknown(&mut self, peer: PeerIndex, is_unknown: bool) {
        self.generation += u64::from(self.unknown.set(peer, is_unknown));
    }

    /// Puts an entry of a peer in or takes it out; whether that changed anything.
    pub(super) fn set(&mut self, peer: PeerIndex, interest: &Interest<'_>, is_in: bool) -> bool {
        let text = interest.filter().as_str();
        let is_changed = match interest.group() {
            Some(name) => self.set_group(peer, text, name, is_in),
            None if interest.filter().is_pattern() => self.set_pattern(peer, text, is_in),
            None => self.set_topic(peer, text, is_in),
        };
        self.generation += u64::from(is_changed);
        is_changed
    }

    fn set_topic(&mut self, peer: PeerIndex, name: &str, is_in: bool) -> bool {
        let Self { hasher, topics, .. } = self;
        let hash = hasher.hash_one(name);
        let rehash = |topic: &Topic| hasher.hash_one(&*topic.name);
        match topics.entry(hash, |topic| *topic.name == *name, rehash) {
            Entry::Occupied(mut entry) => {
                let is_changed = entry.get_mut().peers.set(peer, is_in);
                if entry.get().peers.is_empty() {
                    entry.remove();
                }
                is_changed
            }
            Entry::Vacant(entry) => {
                if is_in {
                    entry.insert(Topic { name: name.into(), peers: Mask::of(peer) });
                }
                is_in
            }
        }
    }

    fn set_pattern(&mut self, peer: PeerIndex, text: &str, is_in: bool) -> bool {
        let mut peers = self.patterns.get(text).copied().unwrap_or_default();
        let is_changed = peers.set(peer, is_in);
        if !is_changed {
            return false;
        }
        if peers.is_empty() {
            self.patterns.remove(text);
            self.index.remove(text);
        } else {
            match self.patterns.get_mut(text) {
                Some(known) => *known = peers,
                None => {
                    self.patterns.insert(text.into(), peers);
                }
            }
            self.index.insert(text, peers);
        }
        true
    }

    fn set_group(&mut self, peer: PeerIndex, topic: &str, name: &str, is_in: bool) -> bool {
        let Some(groups) = self.groups.get_mut(topic) else {
            if is_in {
                self.groups
                    .insert(topic.into(), vec![GroupRoute { name: name.into(), peers: Mask::of(peer) }]);
            }
            return is_in;
        };
        match groups.binary_search_by(|group| (*group.name).cmp(name)) {
            Ok(at) => {
                let is_changed = groups[at].peers.set(peer, is_in);
                if groups[at].peers.is_empty() {
                    groups.remove(at);
                }
                if groups.is_empty() {
                    self.groups.remove(topic);
                }
                is_changed
            }
            Err(at) => {
                if is_in {
                    groups.insert(at, GroupRoute { name: name.into(), peers: Mask::of(peer) });
                }
                is_in
            }
        }
    }

    /// Takes a peer out of all masks.
    pub(super) fn clear(&mut self, peer: PeerIndex) {
        self.generation += 1;
        self.topics.retain(|topic| {
            topic.peers.set(peer, false);
            !topic.peers.is_empty()
        });
        let Self { hasher, topics, .. } = self;
        if topics.len() * 4 < topics.capacity() {
            topics.shrink_to(topics.len() * 2, |topic| hasher.hash_one(&*topic.name));
        }
        let with_peer = self.patterns.iter().filter(|(_, peers)| peers.contains(peer));
        let texts: Vec<Box<str>> = with_peer.map(|(text, _)| text.clone()).collect();
        texts.iter().for_each(|text| {
            self.set_pattern(peer, text, false);
        });
        self.groups.retain(|_, groups| {
            groups.retain_mut(|group| {
                group.peers.set(peer, false);
                !group.peers.is_empty()
            });
            !groups.is_empty()
        });
        self.groups.shrink_to(self.groups.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use wse_core::topic::Filter;

    /// A topic or pattern, or a topic and one of its groups, as the tests write it down.
    type Text = (&'static str, Option<&'static str>);

    const ALL: [Text; 8] = [
        ("a", None),
        ("ab", None),
        ("a*", None),
        ("?b", None),
        ("*", None),
        ("a", Some("g")),
        ("a", Some("h")),
        ("ab", Some("g")),
    ];

    fn interest((text, group): Text) -> Interest<'static> {
        let filter = Filter::parse(text).unwrap();
        group.map_or(Interest::of(filter), |group| Interest::in_group(filter, group).unwrap())
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(usize, usize, bool),
        Clear(usize),
        Linked(usize, bool),
        Unknown(usize, bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        let peer = 0_usize..3;
        prop_oneof![
            12 => (peer.clone(), 0..ALL.len(), any::<bool>()).prop_map(|(p, at, on)| Op::Set(p, at, on)),
            1 => peer.clone().prop_map(Op::Clear),
            2 => (peer.clone(), any::<bool>()).prop_map(|(p, on)| Op::Linked(p, on)),
            2 => (peer, any::<bool>()).prop_map(|(p, on)| Op::Unknown(p, on)),
        ]
    }

    /// The same as sets.
    #[derive(Default)]
    struct Model {
        entries: BTreeSet<(usize, Text)>,
        linked: BTreeSet<usize>,
        unknown: BTreeSet<usize>,
    }

    impl Model {
        fn peers(&self, has: impl Fn(Text) -> bool) -> BTreeSet<usize> {
            let of = |at: &usize| self.entries.iter().any(|(peer, text)| peer == at && has(*text));
            let known = self.linked.iter().filter(|at| !self.unknown.contains(at));
            known.copied().filter(of).collect()
        }

        fn route(&self, topic: &str) -> (BTreeSet<usize>, Vec<(&'static str, BTreeSet<usize>)>) {
            let mut peers =
                self.peers(|(text, group)| group.is_none() && Filter::parse(text).unwrap().matches(topic));
            peers.extend(self.linked.intersection(&self.unknown));
            let group = |name: &'static str| (name, self.peers(|text| text == (topic_of(topic), Some(name))));
            (peers, ["g", "h"].map(group).into_iter().filter(|(_, peers)| !peers.is_empty()).collect())
        }
    }

    fn topic_of(topic: &str) -> &'static str {
        ["a", "ab", "b", "xb"].into_iter().find(|known| *known == topic).unwrap()
    }

    fn set_of(mask: Mask) -> BTreeSet<usize> {
        mask.iter().map(PeerIndex::get).collect()
    }

    proptest! {
        #[test]
        fn a_table_routes_as_sets_would(ops in prop::collection::vec(op(), 0..60)) {
            let (mut table, mut model) = (Table::new(1), Model::default());
            for op in ops {
                let before = (table.generation(), ["a", "ab", "b", "xb"].map(|topic| table.route(topic)));
                match op {
                    Op::Set(peer, at, is_in) => {
                        let changed = table.set(PeerIndex::new(peer), &interest(ALL[at]), is_in);
                        let key = (peer, ALL[at]);
                        prop_assert_eq!(changed, if is_in { model.entries.insert(key) } else { model.entries.remove(&key) });
                    }
                    Op::Clear(peer) => {
                        table.clear(PeerIndex::new(peer));
                        model.entries.retain(|(of, _)| *of != peer);
                    }
                    Op::Linked(peer, on) => {
                        table.set_linked(PeerIndex::new(peer), on);
                        if on { model.linked.insert(peer) } else { model.linked.remove(&peer) };
                    }
                    Op::Unknown(peer, on) => {
                        table.set_unknown(PeerIndex::new(peer), on);
                        if on { model.unknown.insert(peer) } else { model.unknown.remove(&peer) };
                    }
                }
                for topic in ["a", "ab", "b", "xb"] {
                    let route = table.route(topic);
                    let groups: Vec<(&str, BTreeSet<usize>)> =
                        route.groups.iter().map(|group| (&*group.name, set_of(group.peers))).collect();
                    prop_assert_eq!((set_of(route.peers), groups), model.route(topic));
                }
                let after = ["a", "ab", "b", "xb"].map(|topic| table.route(topic));
                prop_assert!(before.1 == after || before.0 != table.generation(), "a route changes with the generation");
            }
            (0..3).for_each(|peer| table.clear(PeerIndex::new(peer)));
            prop_assert!(table.topics.is_empty() && table.index.is_empty() && table.groups.is_empty());
        }
    }
}
