//! The ids of the events that one connection was sent last, so that none is sent twice.

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

/// How many ids are remembered.
pub const WINDOW: usize = 50_000;

/// The last ids of one connection, each as a hash of 64 bits.
///
/// It costs nothing before the first id, then 13 to 26 bytes for each, and 1.2 MB when all [`WINDOW`] are there. The seed of the
/// hash is drawn at random, so a fresh id is taken for a known one only by chance, one time in 3 * 10^14 with a full window.
#[derive(Debug, Default)]
pub struct Seen {
    hashes: Vec<u64>,
    /// Where in `hashes` an id is found.
    places: HashTable<u32>,
    /// The place of the oldest, once the window is full.
    oldest: usize,
}

impl Seen {
    /// Whether an id is among those remembered.
    #[must_use]
    pub fn contains(&self, id: &[u8], seed: u64) -> bool {
        self.find(hash(id, seed))
    }

    /// Remembers an id; false if it was remembered already. The oldest makes place for it where the window is full.
    pub fn insert(&mut self, id: &[u8], seed: u64) -> bool {
        let hash = hash(id, seed);
        if self.find(hash) {
            return false;
        }
        let place = if self.hashes.len() < WINDOW {
            self.hashes.push(hash);
            self.hashes.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % WINDOW;
            if let Ok(entry) = self.places.find_entry(self.hashes[place], |known| *known == place as u32) {
                entry.remove();
            }
            self.hashes[place] = hash;
            place
        };
        let hashes = &self.hashes;
        self.places.insert_unique(hash, place as u32, |place| hashes[*place as usize]);
        true
    }

    /// Bytes of memory.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.hashes.capacity() * size_of::<u64>() + self.places.allocation_size()
    }

    fn find(&self, hash: u64) -> bool {
        self.places.find(hash, |place| self.hashes[*place as usize] == hash).is_some()
    }
}

fn hash(id: &[u8], seed: u64) -> u64 {
    FixedState::with_seed(seed).hash_one(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn the_oldest_is_forgotten_and_the_memory_stays_in_its_bound() {
        let mut seen = Seen::default();
        assert_eq!(seen.cost(), 0);
        for id in 0..WINDOW + 1 {
            assert!(seen.insert(&id.to_le_bytes(), 7));
        }
        assert!(!seen.contains(&0_usize.to_le_bytes(), 7), "the first has left the window");
        assert!(seen.contains(&1_usize.to_le_bytes(), 7) && !seen.insert(&WINDOW.to_le_bytes(), 7));
        for id in 0..3 * WINDOW {
            seen.insert(&(id + 1_000_000).to_le_bytes(), 7);
        }
        assert!(seen.cost() < 1_200_000, "{}", seen.cost());
    }

    proptest! {
        #[test]
        fn the_same_answers_as_a_queue_gives(ids in prop::collection::vec(0_u32..70_000, 0..2000), offset in 0_u32..60_000) {
            let (mut seen, mut model) = (Seen::default(), VecDeque::new());
            // Near the end of a full window, so that the queue is long and old ids leave it.
            for id in 0..offset {
                seen.insert(&(id | 1 << 20).to_le_bytes(), 3);
                model.push_back(id | 1 << 20);
            }
            let mut known: std::collections::HashSet<u32, FixedState> = model.iter().copied().collect();
            while model.len() > WINDOW {
                known.remove(&model.pop_front().unwrap());
            }
            for id in ids {
                prop_assert_eq!(seen.contains(&id.to_le_bytes(), 3), known.contains(&id));
                let fresh = known.insert(id);
                prop_assert_eq!(seen.insert(&id.to_le_bytes(), 3), fresh);
                if fresh {
                    model.push_back(id);
                }
                if model.len() > WINDOW {
                    known.remove(&model.pop_front().unwrap());
                }
            }
        }
    }
}
