//! A map by name in parts: whoever walks over all of a million names looks at one part at a time, and lets others in between.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// How many parts there are. A walk holds the lock for one of them: a millisecond or two of a million names.
pub(super) const PARTS: usize = 64;

/// Values by name. A name stays in its part, whatever else comes and goes.
#[derive(Debug)]
pub(super) struct Names<V> {
    hasher: RandomState,
    parts: [HashTable<(Box<str>, V)>; PARTS],
    len: usize,
}

impl<V> Default for Names<V> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), parts: std::array::from_fn(|_| HashTable::new()), len: 0 }
    }
}

impl<V> Names<V> {
    #[inline]
    fn place(&self, name: &str) -> (u64, usize) {
        let hash = self.hasher.hash_one(name);
        // The tables use the highest bits and the lowest.
        (hash, (hash >> 32) as usize % PARTS)
    }

    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        let (hash, part) = self.place(name);
        self.parts[part].find(hash, |(known, _)| **known == *name).map(|(_, value)| value)
    }

    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Gives a name this value; a name that is there already stays as it is.
    pub(super) fn insert(&mut self, name: &str, value: V) {
        let (hash, part) = self.place(name);
        let hasher = &self.hasher;
        let rehash = |(known, _): &(Box<str>, V)| hasher.hash_one(&**known);
        match self.parts[part].entry(hash, |(known, _)| **known == *name, rehash) {
            Entry::Occupied(mut entry) => entry.get_mut().1 = value,
            Entry::Vacant(entry) => {
                entry.insert((name.into(), value));
                self.len += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let (hash, part) = self.place(name);
        if let Ok(entry) = self.parts[part].find_entry(hash, |(known, _)| **known == *name) {
            entry.remove();
            self.len -= 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flatten().map(|(_, value)| value)
    }

    /// The names in one part.
    pub(super) fn part(&self, part: usize) -> impl Iterator<Item = &str> {
        self.parts[part].iter().map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_same_as_one_map(changes in prop::collection::vec(("[a-c]{1,3}", prop::option::of(0..9_u8)), 0..200)) {
            let (mut names, mut model) = (Names::default(), BTreeMap::new());
            for (name, value) in changes {
                match value {
                    Some(value) => {
                        names.insert(&name, value);
                        model.insert(name.clone(), value);
                    }
                    None => {
                        names.remove(&name);
                        model.remove(&name);
                    }
                }
                prop_assert_eq!(names.get(&name), model.get(&name));
                prop_assert_eq!((names.len(), names.contains_key(&name)), (model.len(), model.contains_key(&name)));
            }
            let mut all: Vec<&str> = (0..PARTS).flat_map(|part| names.part(part)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, model.keys().map(String::as_str).collect::<Vec<_>>());
            let mut values: Vec<u8> = names.values().copied().collect();
            let mut expected: Vec<u8> = model.into_values().collect();
            values.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(values, expected);
        }
    }

    #[test]
    fn names_are_spread_over_the_parts() {
        let mut names = Names::default();
        (0..64_000).for_each(|n| names.insert(&format!("room:{n}:members"), ()));
        for part in 0..PARTS {
            assert!((700..1300).contains(&names.part(part).count()), "{}", names.part(part).count());
        }
    }
}
