//! A hashed timing wheel: one pending check for each slot, in twelve bytes.
//!
//! The owner asks for a check at a tick, is handed the slot once that tick is reached, looks what is really due, and asks again.
//! Activity of a connection touches nothing here. A check that lies further ahead than one turn of the wheel comes early, and is
//! simply asked for again.

const NONE: u32 = u32::MAX;
const BUCKETS: usize = 512;

/// The wheel of one shard; ticks are in the owner's unit and never go back.
#[derive(Debug)]
pub struct Wheel {
    heads: [u32; BUCKETS],
    links: Vec<Link>,
    /// The next tick to be handed out.
    tick: u64,
    pending: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    bucket: u32,
}

const UNLINKED: Link = Link { previous: NONE, next: NONE, bucket: NONE };

impl Wheel {
    /// An empty wheel that stands at `tick`.
    #[must_use]
    pub fn new(tick: u64) -> Self {
        Self { heads: [NONE; BUCKETS], links: Vec::new(), tick, pending: 0 }
    }

    /// Asks for a check of `slot` at `tick`, in place of any that it had.
    pub fn schedule(&mut self, slot: u32, tick: u64) {
        self.cancel(slot);
        let index = slot as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, UNLINKED);
        }
        let bucket = (tick.clamp(self.tick, self.tick + BUCKETS as u64 - 1) % BUCKETS as u64) as usize;
        let head = self.heads[bucket];
        if head != NONE {
            self.links[head as usize].previous = slot;
        }
        self.links[index] = Link { previous: NONE, next: head, bucket: bucket as u32 };
        self.heads[bucket] = slot;
        self.pending += 1;
    }

    /// Forgets the check of `slot`, if there is one.
    pub fn cancel(&mut self, slot: u32) {
        let Some(link) = self.links.get(slot as usize).copied().filter(|link| link.bucket != NONE) else {
            return;
        };
        match link.previous {
            NONE => self.heads[link.bucket as usize] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
        self.links[slot as usize] = UNLINKED;
        self.pending -= 1;
    }

    /// Moves on to `now` and appends every slot whose check has come to `due`.
    pub fn advance(&mut self, now: u64, due: &mut Vec<u32>) {
        if now < self.tick {
            return;
        }
        let turns = (now - self.tick + 1).min(BUCKETS as u64);
        for tick in self.tick..self.tick + turns {
            let mut slot = std::mem::replace(&mut self.heads[(tick % BUCKETS as u64) as usize], NONE);
            while slot != NONE {
                let link = std::mem::replace(&mut self.links[slot as usize], UNLINKED);
                self.pending -= 1;
                due.push(slot);
                slot = link.next;
            }
        }
        self.tick = now + 1;
    }

    /// The first tick at which [`Wheel::advance`] has something to hand out.
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        if self.pending == 0 {
            return None;
        }
        (self.tick..self.tick + BUCKETS as u64)
            .find(|tick| self.heads[(tick % BUCKETS as u64) as usize] != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u32, u64),
        Cancel(u32),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u32..40, 0_u64..1500).prop_map(|(slot, ahead)| Step::Schedule(slot, ahead)),
            (0_u32..40).prop_map(Step::Cancel),
            (0_u64..700).prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// Against a plain map: each check comes once, never later than asked, and early only by whole turns of the wheel.
        #[test]
        fn no_check_is_lost_or_late(steps in prop::collection::vec(step(), 0..200)) {
            let mut wheel = Wheel::new(0);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Schedule(slot, ahead) => {
                        wheel.schedule(slot, now + ahead);
                        model.insert(slot, now + ahead);
                    }
                    Step::Cancel(slot) => {
                        wheel.cancel(slot);
                        model.remove(&slot);
                    }
                    Step::Advance(by) => {
                        now += by;
                        let mut due = Vec::new();
                        wheel.advance(now, &mut due);
                        for slot in due {
                            let asked = model.remove(&slot).expect("handed out once, and only what was asked for");
                            if asked > now {
                                wheel.schedule(slot, asked);
                                model.insert(slot, asked);
                            }
                        }
                        prop_assert!(model.values().all(|asked| *asked > now), "late: {:?} at {}", model, now);
                    }
                }
                prop_assert_eq!(wheel.next_tick().is_some(), !model.is_empty());
                if let (Some(next), Some(first)) = (wheel.next_tick(), model.values().min()) {
                    prop_assert!(next <= (*first).max(now + 1));
                }
            }
        }
    }
}
