//! A list of topics: a walk over all of them, a part at a time, that keeps the first so many by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use wse_core::topic::OwnedFilter;

use super::names::PARTS;
use super::{Channel, Topics};

/// A topic that has subscribers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) topic: String,
    /// Who hears all of it.
    pub(crate) subscribers: usize,
    /// The members of its queue groups.
    pub(crate) members: usize,
}

/// The first so many of names that come in any order, each once.
#[derive(Debug)]
pub(crate) struct Smallest {
    kept: BTreeSet<Box<str>>,
    most: usize,
}

impl Smallest {
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: BTreeSet::new(), most }
    }

    #[inline]
    pub(crate) fn offer(&mut self, name: &str) {
        let is_full = self.kept.len() >= self.most;
        if is_full && self.kept.last().is_none_or(|last| *name >= **last) {
            return;
        }
        if self.kept.insert(name.into()) && is_full {
            self.kept.pop_last();
        }
    }

    pub(crate) fn into_names(self) -> impl Iterator<Item = String> {
        self.kept.into_iter().map(String::from)
    }
}

/// What is listed, and how far the walk has come. A topic that has subscribers all the while is not missed.
#[derive(Debug)]
pub(crate) struct Walk {
    pattern: Option<OwnedFilter>,
    after: Option<String>,
    smallest: Smallest,
    part: usize,
}

impl Walk {
    /// A list of at most so many topics: those that a pattern means, and after a name, if that is wanted.
    pub(crate) fn new(pattern: Option<OwnedFilter>, after: Option<String>, most: usize) -> Self {
        Self { pattern, after, smallest: Smallest::new(most), part: 0 }
    }

    /// Looks at one part of the topics; whether there is another.
    pub(crate) fn step(&mut self, topics: &Topics) -> bool {
        let tables = topics.tables.read();
        if self.part < PARTS {
            tables.topics.part(self.part).for_each(|name| self.offer(name));
            self.part += 1;
            return true;
        }
        tables.groups.keys().for_each(|name| self.offer(name));
        false
    }

    #[inline]
    fn offer(&mut self, name: &str) {
        let is_after = self.after.as_deref().is_none_or(|after| name > after);
        if is_after && self.pattern.as_ref().is_none_or(|pattern| pattern.as_filter().matches(name)) {
            self.smallest.offer(name);
        }
    }

    /// The list, in order, with what is true of each topic now.
    pub(crate) fn finish(self, topics: &Topics) -> Vec<Listed> {
        let tables = topics.tables.read();
        let count = |channels: &[Arc<Channel>]| channels.iter().map(|channel| channel.count()).sum();
        let list = |topic: String| Listed {
            subscribers: tables.topics.get(&topic).map_or(0, |audience| audience.channels[0].count()),
            members: count(tables.groups_of(&topic)),
            topic,
        };
        self.smallest.into_names().map(list).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::squeeze::Wire;
    use proptest::prelude::*;
    use wse_core::topic::Filter;

    fn list(topics: &Topics, pattern: Option<&str>, after: Option<&str>, most: usize) -> Vec<Listed> {
        let pattern = pattern.map(|pattern| OwnedFilter::parse(pattern).unwrap());
        let mut walk = Walk::new(pattern, after.map(str::to_owned), most);
        while walk.step(topics) {}
        walk.finish(topics)
    }

    #[test]
    fn topics_are_listed_in_order_with_those_who_hear_them() {
        let topics = Topics::new(2);
        let subscribe =
            |name, shard| topics.subscribe(Filter::parse(name).unwrap(), None, shard, Wire::Plain);
        for name in ["b", "a", "c", "a", "pattern*"] {
            subscribe(name, 0);
        }
        subscribe("b", 1);
        topics.join_group("b", "workers", 1, Wire::Plain).unwrap();
        topics.join_group("d", "workers", 1, Wire::Plain).unwrap();
        let told = |found: Vec<Listed>| -> Vec<(String, usize, usize)> {
            found.into_iter().map(|one| (one.topic, one.subscribers, one.members)).collect()
        };
        let all =
            [("a".to_owned(), 2, 0), ("b".to_owned(), 2, 1), ("c".to_owned(), 1, 0), ("d".to_owned(), 0, 1)];
        assert_eq!(told(list(&topics, None, None, 10)), all);
        assert_eq!(told(list(&topics, None, None, 2)), all[..2]);
        assert_eq!(told(list(&topics, None, Some("a"), 2)), all[1..3]);
        assert_eq!(told(list(&topics, Some("?"), Some("b"), 9)), all[2..]);
        assert_eq!(told(list(&topics, Some("c"), None, 9)), all[2..3]);
    }

    proptest! {
        #[test]
        fn the_smallest_are_the_first_of_all_in_order(names in prop::collection::vec("[a-d]{0,3}", 0..50), most in 0_usize..10) {
            let mut smallest = Smallest::new(most);
            names.iter().for_each(|name| smallest.offer(name));
            let mut expected = names;
            expected.sort();
            expected.dedup();
            expected.truncate(most);
            prop_assert_eq!(smallest.into_names().collect::<Vec<_>>(), expected);
        }
    }
}
