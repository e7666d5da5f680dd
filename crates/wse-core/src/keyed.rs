//! A list whose elements can also be found by a number: small lists are searched, long ones get an index.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What a [`KeyedList`] can hold.
pub trait Keyed {
    /// The number by which an element is found; no two elements of a list share it.
    fn key(&self) -> u64;
}

/// The length from which an index pays.
const INDEX_FROM: usize = 32;

/// An unordered list of elements with distinct keys; empty it costs no heap.
#[derive(Debug)]
pub struct KeyedList<T> {
    list: Vec<T>,
    index: Option<Box<HashMap<u64, u32, FixedState>>>,
}

impl<T> Default for KeyedList<T> {
    fn default() -> Self {
        Self { list: Vec::new(), index: None }
    }
}

impl<T: Keyed> KeyedList<T> {
    /// The elements, in no order that means anything.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.list
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where the element with this key lies.
    #[must_use]
    pub fn position(&self, key: u64) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&key).map(|at| *at as usize),
            None => self.list.iter().position(|element| element.key() == key),
        }
    }

    /// The element at a place.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.list.get_mut(at)
    }

    /// Adds an element whose key the list does not have; returns its place.
    pub fn push(&mut self, element: T) -> usize {
        debug_assert!(self.position(element.key()).is_none(), "keys are distinct");
        let at = self.list.len();
        if let Some(index) = &mut self.index {
            index.insert(element.key(), at as u32);
        }
        if self.list.capacity() == 0 {
            // Most connections have one or two: the usual first step of a vector, four, would be memory for nothing.
            self.list.reserve_exact(1);
        }
        self.list.push(element);
        if self.index.is_none() && self.list.len() >= INDEX_FROM {
            self.index =
                Some(Box::new(self.list.iter().enumerate().map(|(i, e)| (e.key(), i as u32)).collect()));
        }
        at
    }

    /// Takes the element at a place out; the last one moves there.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn swap_remove(&mut self, at: usize) -> T {
        let element = self.list.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&element.key());
            if let Some(moved) = self.list.get(at) {
                index.insert(moved.key(), at as u32);
            }
        }
        if self.list.is_empty() {
            *self = Self::default();
        }
        element
    }

    /// Takes all elements out.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(self).list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    impl Keyed for u64 {
        fn key(&self) -> u64 {
            *self
        }
    }

    proptest! {
        #[test]
        fn the_same_as_a_set(keys in prop::collection::vec(0_u64..90, 0..400)) {
            let (mut list, mut set) = (KeyedList::default(), BTreeSet::new());
            for key in keys {
                match list.position(key) {
                    Some(at) => {
                        prop_assert_eq!(list.swap_remove(at), key);
                        prop_assert!(set.remove(&key));
                    }
                    None => {
                        let at = list.push(key);
                        prop_assert_eq!(list.as_slice()[at], key);
                        prop_assert!(set.insert(key));
                    }
                }
                prop_assert_eq!(list.as_slice().iter().copied().collect::<BTreeSet<_>>(), set.clone());
            }
        }
    }
}
