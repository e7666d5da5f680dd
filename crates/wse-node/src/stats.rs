//! Counters: each is written by one shard and summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wse_core::protocol::codes::CloseCode;

/// A counter with one writer: an addition is a plain load and store.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the owning shard calls this.
    #[inline]
    pub(crate) fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets of times, in nanoseconds.
pub(crate) const TIMES: [u64; 10] = [
    10_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Upper bounds of the buckets of sizes, in bytes.
pub(crate) const SIZES: [u64; 10] =
    [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// How often a value lay between two bounds; the last place is for those above all.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; 11],
    sum: Counter,
}

impl Histogram {
    /// Only the owning shard calls this.
    #[inline]
    pub(crate) fn observe(&self, bounds: &[u64; 10], value: u64) {
        self.buckets[bucket(bounds, value)].add(1);
        self.sum.add(value);
    }

    /// The same for a histogram that several threads write to.
    pub(crate) fn observe_shared(&self, bounds: &[u64; 10], value: u64) {
        self.buckets[bucket(bounds, value)].0.fetch_add(1, Relaxed);
        self.sum.0.fetch_add(value, Relaxed);
    }
}

fn bucket(bounds: &[u64; 10], value: u64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

/// A histogram, or the sum of those of all shards, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Distribution {
    pub(crate) buckets: [u64; 11],
    pub(crate) sum: u64,
}

impl Distribution {
    pub(crate) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        histograms.fold(Self::default(), |mut out, histogram| {
            out.buckets.iter_mut().zip(&histogram.buckets).for_each(|(sum, count)| *sum += count.get());
            out.sum += histogram.sum.get();
            out
        })
    }
}

/// How often connections ended with each code of the table; the last place is for all other codes, which the application and clients
/// choose freely.
#[derive(Debug, Default)]
pub(crate) struct Closes([Counter; CloseCode::ALL.len() + 1]);

impl Closes {
    pub(crate) fn count(&self, code: u16) {
        let at = CloseCode::ALL.iter().position(|known| known.code() == code);
        self.0[at.unwrap_or(CloseCode::ALL.len())].add(1);
    }

    /// Each code, `None` for the others, and its count.
    pub(crate) fn sums<'a>(all: impl Iterator<Item = &'a Self>) -> Vec<(Option<u16>, u64)> {
        let codes = CloseCode::ALL.iter().map(|code| Some(code.code())).chain([None]);
        let mut out: Vec<(Option<u16>, u64)> = codes.map(|code| (code, 0)).collect();
        all.for_each(|closes| out.iter_mut().zip(&closes.0).for_each(|(sum, count)| sum.1 += count.get()));
        out
    }
}

/// Clients that fell further behind than they may, and what became of their backlogs. It is rare, so all shards write here.
#[derive(Debug, Default)]
pub(crate) struct Laggards {
    /// Clients that miss something at this moment.
    pub(crate) now: AtomicU64,
    /// Times that a client's backlog was dropped.
    pub(crate) fell_behind: AtomicU64,
    /// Messages that were dropped from backlogs, or not queued for a client that was behind already.
    pub(crate) dropped: AtomicU64,
    /// Of those, the ones that were sent again from a history.
    pub(crate) replayed: AtomicU64,
    /// Notices of a gap.
    pub(crate) gaps: AtomicU64,
}

/// What one shard counts, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stats {
    pub(crate) messages_received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) messages_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) accepted: Counter,
    pub(crate) rejected: Counter,
    pub(crate) auth_failures: Counter,
    pub(crate) rate_limited: Counter,
    pub(crate) slow_consumer_drops: Counter,
    pub(crate) accept_pauses: Counter,
    pub(crate) cut: Counter,
    pub(crate) queue_group_lost: Counter,
    pub(crate) queue_group_maybe_lost: Counter,
    pub(crate) closes: Closes,
    /// Bytes of each write to a socket.
    pub(crate) writes: Histogram,
    /// Nanoseconds from an accepted socket to an open connection.
    pub(crate) handshakes: Histogram,
}

/// The sums over all shards since the server started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Text and binary messages from clients.
    pub messages_received: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// Messages put on their way to a client, each client counted.
    pub messages_sent: u64,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Upgrades answered with 101.
    pub accepted: u64,
    /// Upgrades refused, whatever the reason.
    pub rejected: u64,
    /// Missing or bad tokens.
    pub auth_failures: u64,
    /// Messages refused by the rate limit.
    pub rate_limited: u64,
    /// Clients closed because they did not read.
    pub slow_consumer_drops: u64,
    /// Times that accepting had to pause for want of descriptors.
    pub accept_pauses: u64,
    /// Connections cut by a reset because not even a close frame could be written.
    pub cut: u64,
    /// Messages of queue groups that no member got.
    pub queue_group_lost: u64,
    /// Messages of queue groups that had left for a member and were not acknowledged when its connection ended.
    pub queue_group_maybe_lost: u64,
}

impl Totals {
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Stats>) -> Self {
        shards.fold(Self::default(), |sum, stats| Self {
            messages_received: sum.messages_received + stats.messages_received.get(),
            bytes_received: sum.bytes_received + stats.bytes_received.get(),
            messages_sent: sum.messages_sent + stats.messages_sent.get(),
            bytes_sent: sum.bytes_sent + stats.bytes_sent.get(),
            accepted: sum.accepted + stats.accepted.get(),
            rejected: sum.rejected + stats.rejected.get(),
            auth_failures: sum.auth_failures + stats.auth_failures.get(),
            rate_limited: sum.rate_limited + stats.rate_limited.get(),
            slow_consumer_drops: sum.slow_consumer_drops + stats.slow_consumer_drops.get(),
            accept_pauses: sum.accept_pauses + stats.accept_pauses.get(),
            cut: sum.cut + stats.cut.get(),
            queue_group_lost: sum.queue_group_lost + stats.queue_group_lost.get(),
            queue_group_maybe_lost: sum.queue_group_maybe_lost + stats.queue_group_maybe_lost.get(),
        })
    }
}
