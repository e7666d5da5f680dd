//! Counters: each is written by one shard and summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
        })
    }
}
