//! Holding publishers back while most of a topic's subscribers here are far behind.
//!
//! Waiting for the shards alone would let a flood run every client into its limit; waiting for the slowest would let one reader rule
//! all. So publishers wait while more than half of the subscribers are over a megabyte behind, as long as the topic moves at all. Where
//! nothing moves they are only slowed down: readers that stood still for a moment are not cut by the flood of that moment, and those
//! that have stopped for good hold nobody up. Slowed down they are too while a reader that does read has used up half of its limit: one
//! that fell behind for a moment catches up, one that is too slow for good is cut all the same. The rest is the slow-client policy.

use std::sync::Arc;

use super::Shard;
use super::conn::Conn;
use crate::topics::Audience;

/// Bytes from which a client is far behind.
pub(super) const FAR_BEHIND: usize = 1 << 20;
/// A topic of which nothing was written for so long does not hold its publishers.
///
/// Not shorter: a receiver whose buffer is full opens its window only when a sixteenth of it is free, 400 KB of the usual 6 MB. Readers of
/// one megabyte a second that began together then move together, every 0.4 seconds.
const MOVING_MS: u64 = 1000;
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

    fn most_are_far_behind(&self) -> bool {
        self.far_behind * 2 > self.receivers
    }

    /// `limit` is what one client may be behind.
    fn must_hold(&self, now_ms: u64, at_least_until_ms: u64, limit: usize) -> bool {
        let most = self.most_are_far_behind();
        let moves = now_ms.saturating_sub(self.wrote_ms) < MOVING_MS;
        (most && moves) || ((most || self.worst_moving > limit / 2) && now_ms < at_least_until_ms)
    }
}

/// The audiences held by this shard.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// With the time before which none is let go for want of movement.
    held: Vec<(Arc<Audience>, u64)>,
    next_ms: Option<u64>,
}

impl Holds {
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }
}

impl Shard {
    /// Decides after a delivery of so many bytes whether publishers of this audience must wait.
    pub(super) fn judge(&mut self, audience: &Arc<Audience>, standing: Standing, bytes: u64) {
        let at_least_until_ms = self.now_ms + bytes / STANDSTILL_BYTES_PER_MS;
        let limit = self.shared.options.max_outbound_queue_bytes;
        if standing.must_hold(self.now_ms, at_least_until_ms, limit)
            && audience.hold(usize::from(self.index), true)
        {
            self.holds.held.push((audience.clone(), at_least_until_ms));
            self.holds.next_ms.get_or_insert(self.now_ms + pause_ms(standing.receivers));
        }
    }

    /// Looks again at what is held, and lets go what moves freely or not at all.
    pub(super) fn check_holds(&mut self) {
        if self.holds.next_ms.is_none_or(|at| self.now_ms < at) {
            return;
        }
        let (now_ms, limit) = (self.now_ms, self.shared.options.max_outbound_queue_bytes);
        let held = std::mem::take(&mut self.holds.held);
        let (mut still, mut receivers, mut opened) = (Vec::new(), 0, false);
        for (audience, at_least_until_ms) in held {
            let mut standing = Standing::default();
            self.for_receivers(&audience, |_, conn| standing.count(conn, now_ms));
            self.for_members(&audience, |conn| standing.count(conn, now_ms));
            receivers += standing.receivers;
            if standing.must_hold(now_ms, at_least_until_ms, limit) && !self.shared.is_stopping() {
                still.push((audience, at_least_until_ms));
            } else {
                audience.hold(usize::from(self.index), false);
                opened = true;
            }
        }
        self.holds.next_ms = (!still.is_empty()).then(|| self.now_ms + pause_ms(receivers));
        self.holds.held = still;
        if opened {
            self.shared.open_gate();
        }
    }

    /// Lets go of everything: the shard ends.
    pub(super) fn release_holds(&mut self) {
        for (audience, _) in self.holds.held.drain(..) {
            audience.hold(usize::from(self.index), false);
        }
        self.shared.open_gate();
    }
}

/// A millisecond, and more where looking at all receivers takes long: the looking stays below a few percent of the time.
fn pause_ms(receivers: usize) -> u64 {
    1 + receivers as u64 / 1000
}
