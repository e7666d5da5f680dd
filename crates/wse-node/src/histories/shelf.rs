//! Which history was not used for the longest time.
//!
//! A use only writes a number into the history; here a history stands under the number that it had when it was last looked at. One that
//! has been used since goes back to where it belongs when its turn comes, so each turn costs a logarithm and a use costs nothing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::History;

#[derive(Debug, Default)]
pub(super) struct Shelf {
    places: BinaryHeap<Place>,
    /// How far the walk through all has come.
    walked: usize,
    /// How many of them have ended since their places were last looked through.
    ended: usize,
}

#[derive(Debug)]
struct Place {
    used: u64,
    history: Arc<History>,
}

impl Shelf {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn put(&mut self, history: Arc<History>) {
        self.places.push(Place { used: history.used.load(Relaxed), history });
    }

    /// Takes out the one that was not used for the longest time.
    pub(super) fn take_oldest(&mut self) -> Option<Arc<History>> {
        loop {
            let Place { used, history } = self.places.pop()?;
            if history.used.load(Relaxed) == used {
                return Some(history);
            }
            self.put(history);
        }
    }

    /// One has ended. Its place is given back together with others'.
    pub(super) fn note_ended(&mut self) {
        self.ended += 1;
        if self.ended * 2 > self.places.len() {
            self.places.retain(|place| !place.history.stamping.lock().ended);
            self.ended = 0;
        }
    }

    /// The next few, going round through all.
    pub(super) fn next_part(&mut self, part: usize) -> Vec<Arc<History>> {
        let all = self.places.as_slice();
        if self.walked >= all.len() {
            self.walked = 0;
        }
        let end = all.len().min(self.walked + part);
        let some = all[self.walked..end].iter().map(|place| place.history.clone()).collect();
        self.walked = end;
        some
    }
}

impl Ord for Place {
    /// The heap gives the greatest first, which is to be the least recently used.
    fn cmp(&self, other: &Self) -> Ordering {
        other.used.cmp(&self.used)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.used == other.used
    }
}

impl Eq for Place {}
