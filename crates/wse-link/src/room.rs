//! Connections that are not yet admitted: few at a time, and the oldest gives way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Notify;

use crate::links::Stats;

/// The places for them.
#[derive(Clone, Debug)]
pub(crate) struct Room(Rc<Places>);

#[derive(Debug)]
struct Places {
    most: usize,
    /// By age.
    taken: RefCell<VecDeque<Rc<Notify>>>,
    stats: Arc<Stats>,
}

/// One place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Room,
    evicted: Rc<Notify>,
}

impl Room {
    pub(crate) fn new(most: usize, stats: Arc<Stats>) -> Self {
        Self(Rc::new(Places { most: most.max(1), taken: RefCell::default(), stats }))
    }

    /// Takes a place, the oldest one's if all are taken.
    pub(crate) fn enter(&self) -> Seat {
        let mut taken = self.0.taken.borrow_mut();
        while taken.len() >= self.0.most {
            if let Some(oldest) = taken.pop_front() {
                oldest.notify_one();
            }
        }
        let evicted = Rc::new(Notify::new());
        taken.push_back(evicted.clone());
        self.0.stats.opening.store(taken.len() as u64, Relaxed);
        Seat { room: self.clone(), evicted }
    }
}

impl Seat {
    /// Until somebody else has the place.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let places = &self.room.0;
        let mut taken = places.taken.borrow_mut();
        taken.retain(|seat| !Rc::ptr_eq(seat, &self.evicted));
        places.stats.opening.store(taken.len() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_evicted(seat: &Seat) -> bool {
        pin!(seat.evicted()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_gives_way_and_who_leaves_makes_room() {
        let stats = Arc::<Stats>::default();
        let room = Room::new(2, stats.clone());
        let first = room.enter();
        let second = room.enter();
        assert!(!is_evicted(&first));
        let third = room.enter();
        assert!(is_evicted(&first) && !is_evicted(&second) && !is_evicted(&third));
        drop(first);
        assert_eq!(stats.opening.load(Relaxed), 2, "its place was another's already");
        drop(second);
        let fourth = room.enter();
        assert_eq!(stats.opening.load(Relaxed), 2);
        assert!(!is_evicted(&third) && !is_evicted(&fourth));
    }
}
