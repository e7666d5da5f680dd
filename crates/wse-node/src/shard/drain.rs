//! The share of one shard in emptying the server: who is told when, and what happens when time is up.

use std::collections::VecDeque;
use std::time::Duration;

use wse_core::ConnId;
use wse_core::protocol::words;
use wse_core::websocket::close::write_close;

use super::Shard;
use super::close::Reason;
use crate::drain::Order;
use crate::inbox::Entry;

/// Of the time that a drain has, what is kept for the last to answer: a quarter, and not more than this.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Farewells in one turn, so that a hurried drain keeps no message waiting.
const PER_TURN: usize = 256;
/// Clients come back within so many milliseconds, each at its own: the drain has spread them over time already.
const RETRY_MS: u64 = 1000;

/// The drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    close_code: u16,
    reason: Box<str>,
    began_ms: u64,
    /// Time over which the farewells are spread.
    span_ms: u64,
    ends_ms: u64,
    /// Who is still to be told, and how many were to be in the beginning.
    waiting: VecDeque<ConnId>,
    total: u64,
    /// Told or not, those that are still here.
    left: usize,
    /// This shard's place among all, so that they do not speak at the same moments.
    place: (u64, u64),
}

impl Drain {
    /// When the next one is to be told, or the rest be cut.
    pub(super) fn next_ms(&self) -> u64 {
        if self.waiting.is_empty() { self.ends_ms } else { self.due_ms().min(self.ends_ms) }
    }

    fn due_ms(&self) -> u64 {
        let (index, shards) = self.place;
        let told = self.total - self.waiting.len() as u64;
        // A single client need not wait for a turn that is nobody else's.
        let turn = told * shards + if self.total > 1 { index } else { 0 };
        self.began_ms + self.span_ms * turn / (self.total * shards).max(1)
    }

    fn take_due(&mut self, now_ms: u64) -> Option<ConnId> {
        if self.waiting.is_empty() || now_ms < self.next_ms() { None } else { self.waiting.pop_front() }
    }
}

impl Shard {
    /// Plans the farewells of all who are here. A second order hurries the first: nobody is left to wait, and the sooner end counts.
    pub(super) fn begin_drain(&mut self, order: &Order) {
        let open = |shard: &mut Self, slot: &u32| {
            shard.slots.get_mut(*slot).is_some_and(|conn| conn.is_open() && !conn.flags.drains)
        };
        let newcomers: Vec<u32> = self.slots.occupied().into_iter().filter(|slot| open(self, slot)).collect();
        for slot in &newcomers {
            if let Some(conn) = self.slots.get_mut(*slot) {
                conn.flags.drains = true;
            }
        }
        self.shared.drains.expect(newcomers.len());
        let before = self.drain.take();
        let timeout = order.timeout;
        let span = if before.is_some() { Duration::ZERO } else { timeout - LAST_WORDS.min(timeout / 4) };
        let ends_ms = self.now_ms + timeout.as_millis() as u64;
        let ends_ms = before.as_ref().map_or(ends_ms, |before| before.ends_ms.min(ends_ms));
        let (mut waiting, left) =
            before.map_or_else(Default::default, |before| (before.waiting, before.left));
        waiting.extend(newcomers.iter().map(|slot| self.id(*slot)));
        self.drain = Some(Drain {
            close_code: order.close_code,
            reason: order.reason.clone(),
            began_ms: self.now_ms,
            span_ms: span.as_millis() as u64,
            ends_ms,
            total: waiting.len() as u64,
            waiting,
            left: left + newcomers.len(),
            place: (u64::from(self.index), self.shared.shards.len() as u64),
        });
    }

    /// Tells those whose time has come, and ends it when time is up.
    pub(super) fn drain_step(&mut self) {
        let now_ms = self.now_ms;
        let Some(drain) = &mut self.drain else { return };
        let is_over = now_ms >= drain.ends_ms;
        let due: Vec<ConnId> = std::iter::from_fn(|| drain.take_due(now_ms)).take(PER_TURN).collect();
        let all_told = drain.waiting.is_empty();
        if is_over {
            due.into_iter().for_each(|conn| self.say_farewell(conn));
        } else if !due.is_empty() {
            // By way of the inbox: what the application sent before this moment goes before it.
            let farewells = due.into_iter().map(Entry::Farewell);
            let _ = self.handle().inbox.put_now(|state| state.entries.extend(farewells));
        }
        if is_over && all_told {
            self.cut_the_rest();
        }
        if self.drain.as_ref().is_some_and(|drain| drain.left == 0) {
            self.drain = None;
        }
    }

    /// The last words to one client, behind all that waits for it, and the close.
    pub(super) fn say_farewell(&mut self, conn: ConnId) {
        let Some(drain) = self.drain.as_ref().filter(|_| self.slots.open(conn).is_some()) else { return };
        let slot = conn.slot;
        // The golden ratio spreads consecutive slots evenly.
        let retry_ms = (u64::from(slot.wrapping_mul(0x9e37_79b9)) * RETRY_MS) >> 32;
        let words = words::reconnect(retry_ms, &drain.reason);
        let mut close = Vec::new();
        write_close(&mut close, drain.close_code, &drain.reason);
        self.say(slot, &words);
        if self.slots.open(conn).is_some() {
            let end = close.len() as u32;
            let run = self.pool.run(close);
            self.close(slot, Reason::Application { run, start: 0, end });
        }
    }

    fn cut_the_rest(&mut self) {
        for slot in self.slots.occupied() {
            if self.slots.get_mut(slot).is_some_and(|conn| conn.flags.drains) {
                self.cut(slot);
            }
        }
    }

    /// A connection that was to go is gone.
    pub(super) fn count_drained(&mut self, cut: bool) {
        if let Some(drain) = &mut self.drain {
            drain.left -= 1;
        }
        self.shared.drains.gone(cut);
    }
}
