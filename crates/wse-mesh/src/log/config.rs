//! What the topics with history can be told.

use super::rank::MAX_REPLICAS;
use super::ring::Limits;

/// Options of [`Logs`](super::Logs). All nodes of a cluster should have the same `replicas` and limits.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// `recovery_replicas`: how many nodes keep a copy beside the home, at most [`MAX_REPLICAS`].
    pub replicas: usize,
    /// What is kept of each topic.
    pub limits: Limits,
    /// Bytes of the messages of all topics together; beyond, those of topics that were not used for the longest time are given up.
    pub kept_bytes: usize,
    /// A log without messages that nobody needs is forgotten after so long, at its home and everywhere. Positions in it are unknown then.
    pub forget_ms: u64,
    /// Bytes of publications that may wait to be stored; `publish` says [`Full`](super::Full) beyond.
    pub unacked_bytes: usize,
    /// After so long unheard a node counts as dead. How long a subscription waits for its home follows from it.
    pub dead_after_ms: u64,
    /// Entries are put into frames of about so many bytes. With the longest message it must fit into a frame.
    pub part_bytes: usize,
    /// So many logs are asked of one peer at once; the others wait in line. With `limits.bytes` it bounds what a peer's answers cost.
    pub window: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replicas: 1,
            limits: Limits { messages: 1000, ttl_ms: 300_000, bytes: 1 << 20 },
            kept_bytes: 256 << 20,
            forget_ms: 300_000,
            unacked_bytes: 8 << 20,
            dead_after_ms: 8000,
            part_bytes: 256 << 10,
            window: 64,
        }
    }
}

impl Config {
    /// How long something that another node should have brought about is waited for before it is tried again.
    pub(crate) const RETRY_MS: u64 = 1000;
    /// How long a node that was refused rests at the least before it takes over again; each time twice as long.
    pub(crate) const FIRST_REST_MS: u64 = 10;
    /// How long an answer is waited for on a standing link.
    pub(crate) const ANSWER_MS: u64 = 3000;

    /// How long a subscription waits: until a home that is gone was noticed, another has taken over, and its replica holds the log.
    #[must_use]
    pub fn confirm_ms(&self) -> u64 {
        2 * self.dead_after_ms + 4000
    }

    /// How long a publisher that is no member any more is known at the least: longer than any other node may remember it.
    pub(crate) const PUBLISHERS_MS: u64 = 4_000_000;
    /// How long a log that nobody here needs, and that this node keeps for nobody, is kept in case somebody comes back: not as long as its home
    /// keeps it, since it must not outlive that.
    pub(crate) fn idle_ms(&self) -> u64 {
        (self.forget_ms / 2).min(60_000)
    }

    pub(crate) fn checked(mut self) -> Self {
        self.replicas = self.replicas.min(MAX_REPLICAS);
        self.window = self.window.max(1);
        self.limits.messages = self.limits.messages.max(1);
        self
    }
}
