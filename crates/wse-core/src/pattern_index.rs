//! Patterns by what they begin with, so that asking which of them mean a topic costs what those cost, and not what all do.
//!
//! The patterns are a tree: one step for each character, `?` and `*` included. A topic is walked through it once, from all the places
//! at the same time that it can have reached; a place behind a `*` stays reached to the end. What only one pattern goes through is no
//! chain of places but the rest of its text, compared by [`matches`] where it is met.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::topic::matches;

/// A place in the tree.
type Place = u32;
/// A pattern's number.
type Number = u32;

const ROOT: Place = 0;

/// A set of patterns, each with a value, that is asked by topic.
#[derive(Debug)]
pub struct PatternIndex<T> {
    nodes: Vec<Node>,
    free_nodes: Vec<Place>,
    entries: Vec<Option<T>>,
    free_entries: Vec<Number>,
}

/// What is known of a place.
#[derive(Debug, Default)]
struct Node {
    steps: Steps,
    /// Reached by a `*`: whatever comes next, one can stay here.
    is_star: bool,
    /// The pattern that ends here.
    end: Option<Number>,
    /// What one pattern has left; no step begins as it does.
    rest: Option<(Box<str>, Number)>,
}

/// The ways on: few are searched, many get an index.
#[derive(Debug)]
enum Steps {
    Few(Vec<(char, Place)>),
    Many(HashMap<char, Place, FixedState>),
}

/// From how many ways on an index pays.
const MANY: usize = 16;

impl Default for Steps {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Steps {
    fn get(&self, c: char) -> Option<Place> {
        match self {
            Self::Few(list) => list.iter().find(|(step, _)| *step == c).map(|(_, place)| *place),
            Self::Many(map) => map.get(&c).copied(),
        }
    }

    fn insert(&mut self, c: char, place: Place) {
        match self {
            Self::Few(list) if list.len() < MANY => list.push((c, place)),
            Self::Few(list) => {
                let mut map: HashMap<char, Place, FixedState> = list.drain(..).collect();
                map.insert(c, place);
                *self = Self::Many(map);
            }
            Self::Many(map) => {
                map.insert(c, place);
            }
        }
    }

    fn remove(&mut self, c: char) {
        match self {
            Self::Few(list) => list.retain(|(step, _)| *step != c),
            Self::Many(map) => {
                map.remove(&c);
                if map.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(map) => map.is_empty(),
        }
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.end.is_none() && self.rest.is_none()
    }
}

impl<T> Default for PatternIndex<T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            free_nodes: Vec::new(),
            entries: Vec::new(),
            free_entries: Vec::new(),
        }
    }
}

impl<T> PatternIndex<T> {
    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free_entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of exactly this pattern.
    #[must_use]
    pub fn get(&self, pattern: &str) -> Option<&T> {
        self.entries[self.number(pattern)? as usize].as_ref()
    }

    /// The value of exactly this pattern.
    pub fn get_mut(&mut self, pattern: &str) -> Option<&mut T> {
        let number = self.number(pattern)?;
        self.entries[number as usize].as_mut()
    }

    /// All values, in no order that means anything.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    /// The values of the patterns that mean this topic, each once, in the same order whenever the patterns are the same.
    #[must_use]
    pub fn matching(&self, topic: &str) -> Vec<&T> {
        let mut walk = Walk::default();
        walk.through(&self.nodes, topic);
        let mut found = walk.found;
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|number| self.entries[number as usize].as_ref()).collect()
    }

    /// Adds a pattern, or replaces its value; returns the value that it had.
    pub fn insert(&mut self, pattern: &str, value: T) -> Option<T> {
        if let Some(number) = self.number(pattern) {
            return self.entries[number as usize].replace(value);
        }
        let number = self.free_entries.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as Number - 1
        });
        self.entries[number as usize] = Some(value);
        self.add(pattern, number);
        None
    }

    /// Takes a pattern out; returns its value.
    pub fn remove(&mut self, pattern: &str) -> Option<T> {
        let mut path = Vec::new();
        let (mut place, mut rest) = (ROOT, pattern);
        while let Some((c, next)) = self.step(place, rest) {
            path.push((place, c));
            (place, rest) = (next, &rest[c.len_utf8()..]);
        }
        let node = &mut self.nodes[place as usize];
        let number = match &node.rest {
            _ if rest.is_empty() => node.end.take(),
            Some((left, _)) if **left == *rest => node.rest.take().map(|(_, number)| number),
            _ => None,
        }?;
        while self.nodes[place as usize].is_empty()
            && let Some((before, c)) = path.pop()
        {
            self.nodes[place as usize] = Node::default();
            self.free_nodes.push(place);
            self.nodes[before as usize].steps.remove(c);
            place = before;
        }
        self.free_entries.push(number);
        let value = self.entries[number as usize].take();
        if self.is_empty() {
            // Thousands that are gone leave no memory behind.
            *self = Self::default();
        }
        value
    }

    /// The next place on the way of a pattern.
    fn step(&self, place: Place, rest: &str) -> Option<(char, Place)> {
        let c = rest.chars().next()?;
        Some((c, self.nodes[place as usize].steps.get(c)?))
    }

    fn number(&self, pattern: &str) -> Option<Number> {
        let (mut place, mut rest) = (ROOT, pattern);
        while let Some((c, next)) = self.step(place, rest) {
            (place, rest) = (next, &rest[c.len_utf8()..]);
        }
        let node = &self.nodes[place as usize];
        match &node.rest {
            _ if rest.is_empty() => node.end,
            Some((left, number)) if **left == *rest => Some(*number),
            _ => None,
        }
    }

    /// Adds a pattern that is not there. A rest that stands where it has to pass moves on by a step first.
    fn add(&mut self, pattern: &str, number: Number) {
        let (mut place, mut rest) = (ROOT, pattern);
        loop {
            if let Some((c, next)) = self.step(place, rest) {
                (place, rest) = (next, &rest[c.len_utf8()..]);
                continue;
            }
            if rest.is_empty() {
                self.nodes[place as usize].end = Some(number);
                return;
            }
            let Some((left, other)) = self.nodes[place as usize].rest.take() else {
                self.nodes[place as usize].rest = Some((rest.into(), number));
                return;
            };
            let c = left.chars().next().expect("a rest is not empty");
            let next = self.grow(place, c);
            let after = &left[c.len_utf8()..];
            let node = &mut self.nodes[next as usize];
            if after.is_empty() {
                node.end = Some(other);
            } else {
                node.rest = Some((after.into(), other));
            }
        }
    }

    fn grow(&mut self, place: Place, c: char) -> Place {
        let next = self.free_nodes.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() as Place - 1
        });
        self.nodes[next as usize].is_star = c == '*';
        self.nodes[place as usize].steps.insert(c, next);
        next
    }
}

/// One topic on its way through the tree.
#[derive(Default)]
struct Walk {
    /// Places reached by exactly what was walked so far. None is in it twice: each has one way that leads there.
    here: Vec<Place>,
    /// Places behind a `*`.
    stars: Vec<Place>,
    /// The same, for those that are reached again and again.
    known_stars: HashSet<Place, FixedState>,
    found: Vec<Number>,
    /// How many places were walked from: what it costs.
    looked: usize,
}

impl Walk {
    fn through(&mut self, nodes: &[Node], topic: &str) {
        self.enter(nodes, ROOT, topic);
        for (at, c) in topic.char_indices() {
            let left = &topic[at + c.len_utf8()..];
            let before = std::mem::take(&mut self.here);
            // Those that join behind a star on the way are walked from only with the next character.
            let stars = self.stars.len();
            self.looked += before.len() + stars;
            for index in 0..before.len() + stars {
                let place = before.get(index).copied().unwrap_or_else(|| self.stars[index - before.len()]);
                for step in [c, '?'] {
                    if let Some(next) = nodes[place as usize].steps.get(step) {
                        self.enter(nodes, next, left);
                    }
                }
            }
        }
        let ends = self.here.iter().chain(&self.stars).filter_map(|place| nodes[*place as usize].end);
        self.found.extend(ends);
    }

    /// Reaches a place with so much of the topic left, and those behind the stars that follow it at once.
    fn enter(&mut self, nodes: &[Node], mut place: Place, left: &str) {
        loop {
            let node = &nodes[place as usize];
            if node.is_star {
                if !self.known_stars.insert(place) {
                    return;
                }
                self.stars.push(place);
            } else {
                self.here.push(place);
            }
            if let Some((rest, number)) = &node.rest
                && if node.is_star { matches_anywhere(rest, left) } else { matches(rest, left) }
            {
                self.found.push(*number);
            }
            let Some(next) = node.steps.get('*') else { return };
            place = next;
        }
    }
}

/// Whether what follows a star matches some end of the text.
fn matches_anywhere(rest: &str, text: &str) -> bool {
    // A rest is at most as long as a pattern, and this happens once for each star that is reached.
    let mut pattern = String::with_capacity(rest.len() + 1);
    pattern.push('*');
    pattern.push_str(rest);
    matches(&pattern, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Which values the plain meaning of the patterns gives.
    fn plain(patterns: &BTreeMap<String, usize>, topic: &str) -> Vec<usize> {
        let mut all: Vec<usize> =
            patterns.iter().filter(|(pattern, _)| matches(pattern, topic)).map(|(_, value)| *value).collect();
        all.sort_unstable();
        all
    }

    fn asked(index: &PatternIndex<usize>, topic: &str) -> Vec<usize> {
        let mut all: Vec<usize> = index.matching(topic).into_iter().copied().collect();
        all.sort_unstable();
        all
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(String),
        Remove(usize),
        Ask(String),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => "[ab*?é]{0,7}".prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Remove),
            3 => "[abé]{0,9}".prop_map(Step::Ask),
        ];
        prop::collection::vec(step, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn the_same_as_asking_each_pattern(steps in steps()) {
            let (mut index, mut model) = (PatternIndex::default(), BTreeMap::new());
            for (value, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(pattern) => {
                        prop_assert_eq!(index.insert(&pattern, value), model.insert(pattern, value));
                    }
                    Step::Remove(nth) => {
                        let pattern = model.keys().nth(nth % model.len().max(1)).cloned().unwrap_or("aab".into());
                        prop_assert_eq!(index.remove(&pattern), model.remove(&pattern));
                        prop_assert_eq!(index.get(&pattern), None);
                    }
                    Step::Ask(topic) => prop_assert_eq!(asked(&index, &topic), plain(&model, &topic)),
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for (pattern, value) in &model {
                prop_assert_eq!(index.get(pattern), Some(value));
            }
            for pattern in model.keys() {
                prop_assert!(index.remove(pattern).is_some());
            }
            prop_assert_eq!((index.nodes.len(), index.entries.len()), (1, 0), "nothing is left behind");
        }
    }

    #[test]
    fn a_place_has_more_ways_on_than_fit_into_a_list() {
        let mut index = PatternIndex::default();
        let chars: Vec<char> = ('!'..'~').filter(|c| !matches!(c, '*' | '?')).collect();
        for (value, c) in chars.iter().enumerate() {
            index.insert(&format!("x{c}a*"), value);
            index.insert(&format!("x{c}b*"), value);
        }
        for (value, c) in chars.iter().enumerate() {
            assert_eq!(asked(&index, &format!("x{c}b!")), [value]);
            assert_eq!(index.remove(&format!("x{c}b*")), Some(value));
        }
        assert_eq!(index.len(), chars.len());
        assert_eq!(asked(&index, "xZa"), [chars.iter().position(|c| *c == 'Z').unwrap()]);
    }

    /// Ten thousand of each kind that people write, and a topic that one of them means: few places are reached.
    #[test]
    fn a_topic_meets_few_of_many_patterns() {
        type Make = fn(usize) -> String;
        let kinds: [(Make, &str); 5] = [
            (|i| format!("user:{i}:*"), "user:4711:mail"),
            (|i| format!("*:user:{i}"), "mail:user:4711"),
            (|i| format!("room:*:user:{i}:?"), "room:7:user:4711:x"),
            (|i| format!("*<{i}>*"), "a<4711>b"),
            (|i| format!("??{i}"), "ab4711"),
        ];
        for (make, topic) in kinds {
            let mut index = PatternIndex::default();
            for i in 0..10_000 {
                index.insert(&make(i), i);
            }
            assert_eq!(asked(&index, topic), [4711]);
            let mut walk = Walk::default();
            walk.through(&index.nodes, topic);
            assert!(walk.looked < 100, "{} places for {topic}", walk.looked);
        }
    }

    #[test]
    fn stars_do_not_explode() {
        let mut index = PatternIndex::default();
        for i in 1..100 {
            index.insert(&"a*".repeat(i), i);
        }
        assert_eq!(asked(&index, &"a".repeat(255)).len(), 99);
        assert_eq!(asked(&index, &format!("{}b", "a".repeat(50))).len(), 50);
    }
}
