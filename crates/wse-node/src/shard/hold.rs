//! Holding publishers back while most of a topic's subscribers here are far behind.
//!
//! Waiting for the shards alone would let a flood run every client into its limit; waiting for the slowest would let one reader rule
//! all. So publishers wait while more than half of the subscribers are over a megabyte behind, whichever shards have them, as long as the topic
//! moves at all. Where nothing moves they are only slowed down: readers that stood still for a moment are not cut by the flood of that moment, and those
//! that have stopped for good hold nobody up. Slowed down they are too while a reader that does read has used up half of its limit: one
//! that fell behind for a moment catches up, one that is too slow for good is cut all the same. The rest is the slow-client policy.
//!
//! Each shard judges after each delivery, and tells the others how many of its own are far behind. It costs nothing where nobody is.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::Shard;
use super::conn::Conn;
use crate::topics::{Audience, Share};

/// Bytes from which a client is far behind.
pub(super) const FAR_BEHIND: usize = 1 << 20;
/// A topic of which nothing was written for so long does not hold its publishers.
///
/// Not shorter: a receiver whose buffer is full opens its window only when a sixteenth of it is free, 400 KB of the usual 6 MB. Readers of
/// one megabyte a second that began together then move together, every 0.4 seconds.
const MOVING_MS: u64 = 1000;
/// What nobody publishes to for so long is not watched any more.
const WATCHED_MS: u64 = 25;
/// Bytes a millisecond that are let through where nothing moves: a client's usual 16 MiB then last most of two seconds.
const STANDSTILL_BYTES_PER_MS: u64 = 10_000;

/// How the receivers of one audience stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    receivers: usize,
    far_behind: usize,
    wrote_ms: u64,
    /// The most that waits for one that was written to in the last [`MOVING_MS`].
    worst_moving: usize,
}

impl Standing {
    #[inline]
    pub(super) fn count(&mut self, conn: &Conn, now_ms: u64) {
        self.receivers += 1;
        let behind = conn.outbox.bytes();
        if behind > FAR_BEHIND {
            self.far_behind += 1;
            self.wrote_ms = self.wrote_ms.max(conn.wrote_ms);
            if now_ms.saturating_sub(conn.wrote_ms) < MOVING_MS {
                self.worst_moving = self.worst_moving.max(behind);
            }
        }
    }

    fn share(&self) -> Share {
        Share { far_behind: self.far_behind, receivers: self.receivers }
    }

    /// Whether more than half are far behind, with those of other shards.
    fn most_are_far_behind(&self, elsewhere: Share) -> bool {
        (self.far_behind + elsewhere.far_behind) * 2 > self.receivers + elsewhere.receivers
    }

    /// Whether publishers must wait for this shard's receivers. `most`: those of this shard are among most of all who are far behind; `limit`
    /// is what one client may be behind.
    fn must_hold(&self, most: bool, now_ms: u64, at_least_until_ms: u64, limit: usize) -> bool {
        let moves = now_ms.saturating_sub(self.wrote_ms) < MOVING_MS;
        (most && moves) || ((most || self.worst_moving > limit / 2) && now_ms < at_least_until_ms)
    }
}

/// An audience with receivers of this shard that are far behind.
#[derive(Debug)]
struct Watched {
    audience: Arc<Audience>,
    /// This shard lets its publishers wait, and for want of movement not longer than until then.
    holds_until_ms: Option<u64>,
    /// When it was last judged.
    judged_ms: u64,
}

/// What this shard has to look at again.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// By the address of the audience.
    watched: HashMap<usize, Watched, FixedState>,
    next_ms: Option<u64>,
}

impl Holds {
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    fn look_at(&mut self, at_ms: u64) {
        self.next_ms = Some(self.next_ms.map_or(at_ms, |next_ms| next_ms.min(at_ms)));
    }
}

impl Shard {
    /// Decides after a delivery of so many bytes whether publishers of this audience must wait.
    #[inline]
    pub(super) fn judge(&mut self, audience: &Arc<Audience>, standing: Standing, bytes: u64) {
        if standing.far_behind > 0 || audience.is_compared() {
            self.judge_closely(audience, standing, bytes);
        }
    }

    #[cold]
    fn judge_closely(&mut self, audience: &Arc<Audience>, mut standing: Standing, bytes: u64) {
        let key = Arc::as_ptr(audience).addr();
        if !audience.groups().is_empty() {
            // It is of receivers or of members.
            standing = self.standing_of(audience);
        }
        if standing.far_behind == 0 && !self.holds.watched.contains_key(&key) {
            audience.say(usize::from(self.index), Some(standing.share()));
            return;
        }
        let now_ms = self.now_ms;
        let fresh = || Watched { audience: audience.clone(), holds_until_ms: None, judged_ms: now_ms };
        let mut watched = self.holds.watched.remove(&key).unwrap_or_else(fresh);
        watched.judged_ms = now_ms;
        let most = self.compare(audience, standing);
        let until_ms = now_ms + bytes / STANDSTILL_BYTES_PER_MS;
        let limit = self.shared.options.max_outbound_queue_bytes;
        if watched.holds_until_ms.is_none() && standing.must_hold(most, now_ms, until_ms, limit) {
            audience.hold(usize::from(self.index), true);
            watched.holds_until_ms = Some(until_ms);
        }
        if watched.holds_until_ms.is_some() {
            self.holds.look_at(now_ms + pause_ms(standing.receivers));
        } else if standing.far_behind > 0 {
            self.holds.look_at(now_ms + WATCHED_MS);
        } else {
            return;
        }
        self.holds.watched.insert(key, watched);
    }

    fn standing_of(&mut self, audience: &Audience) -> Standing {
        let (now_ms, mut standing) = (self.now_ms, Standing::default());
        self.for_receivers(audience, |_, conn| standing.count(conn, now_ms));
        self.for_members(audience, |conn| standing.count(conn, now_ms));
        standing
    }

    /// Tells the other shards how this one's receivers stand; returns whether most of all are far behind, and some of this shard among them.
    fn compare(&self, audience: &Audience, standing: Standing) -> bool {
        let index = usize::from(self.index);
        audience.say(index, Some(standing.share()));
        standing.far_behind > 0 && standing.most_are_far_behind(audience.elsewhere(index))
    }

    /// Looks again at what is held, and lets go what moves freely or not at all.
    pub(super) fn check_holds(&mut self) {
        if self.holds.next_ms.is_none_or(|at| self.now_ms < at) {
            return;
        }
        self.holds.next_ms = None;
        let (mut opened, mut held_receivers) = (false, None);
        for (key, mut watched) in std::mem::take(&mut self.holds.watched) {
            let before = watched.holds_until_ms;
            match self.look_again(&mut watched) {
                Some(receivers) if watched.holds_until_ms.is_some() => {
                    held_receivers = Some(held_receivers.unwrap_or(0) + receivers);
                }
                Some(_) => opened |= before.is_some(),
                None => continue,
            }
            self.holds.watched.insert(key, watched);
        }
        if let Some(receivers) = held_receivers {
            self.holds.look_at(self.now_ms + pause_ms(receivers));
        } else if !self.holds.watched.is_empty() {
            self.holds.look_at(self.now_ms + WATCHED_MS);
        }
        if opened {
            self.shared.open_gate();
        }
    }

    /// Looks at the receivers of one audience, if its publishers wait, and says how many there are; `None` if nobody publishes to it any more.
    fn look_again(&mut self, watched: &mut Watched) -> Option<usize> {
        let (audience, index) = (watched.audience.clone(), usize::from(self.index));
        if !audience.is_held() {
            let is_over = self.now_ms >= watched.judged_ms + WATCHED_MS;
            if is_over {
                audience.say(index, None);
            }
            return (!is_over).then_some(0);
        }
        let standing = self.standing_of(&audience);
        let most = self.compare(&audience, standing);
        let limit = self.shared.options.max_outbound_queue_bytes;
        if let Some(until_ms) = watched.holds_until_ms
            && (!standing.must_hold(most, self.now_ms, until_ms, limit) || self.shared.is_stopping())
        {
            audience.hold(index, false);
            watched.holds_until_ms = None;
        }
        Some(standing.receivers)
    }

    /// Lets go of everything: the shard ends.
    pub(super) fn release_holds(&mut self) {
        for (_, watched) in self.holds.watched.drain() {
            watched.audience.hold(usize::from(self.index), false);
        }
        self.shared.open_gate();
    }
}

/// A millisecond, and more where looking at all receivers takes long: the looking stays below a few percent of the time.
fn pause_ms(receivers: usize) -> u64 {
    1 + receivers as u64 / 1000
}
