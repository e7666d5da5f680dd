//! What a crew has seen so far.

use std::collections::BTreeMap;

use crate::histogram::Histogram;

/// Counts and durations, of one crew or of all of them.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Connections begun.
    pub begun: u64,
    /// Connected and ready, whatever became of them later.
    pub ready: u64,
    /// Open and ready now.
    pub open: u64,
    /// Never became ready, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Were ready and ended before the load did, by reason.
    pub ended: BTreeMap<String, u64>,
    /// From the first connect to the last answer, by the clock of the load in nanoseconds.
    pub connect_from: Option<u64>,
    /// See [`connect_from`](Tally::connect_from).
    pub connect_to: u64,
    /// From the connect to the moment at which the client was ready.
    pub connecting: Histogram,

    /// What follows counts from the last [`Load::reset`](crate::Load::reset) on: the measurement itself.
    pub sent: u64,
    /// Bytes of the messages sent, without their frames.
    pub sent_bytes: u64,
    /// Messages that came.
    pub received: u64,
    /// Bytes of them, without their frames.
    pub received_bytes: u64,
    /// Messages that never came, though later ones of the same topic did.
    pub lost: u64,
    /// Messages that came twice, or late.
    pub doubled: u64,
    /// Errors that the server told of (`"t":"error"`, or an HTTP status), by code.
    pub refused: BTreeMap<String, u64>,
    /// Between the moment at which a message was meant to go, and its arrival; for echoes, between the two.
    pub latency: Histogram,
    /// How much later than meant messages went: what of the latency is the load generator's own.
    pub late: Histogram,
}

/// One more for a reason.
pub(crate) fn count(reasons: &mut BTreeMap<String, u64>, reason: &str) {
    match reasons.get_mut(reason) {
        Some(count) => *count += 1,
        None => _ = reasons.insert(reason.to_owned(), 1),
    }
}

impl Tally {
    /// Counts what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.ready += other.ready;
        self.open += other.open;
        self.connect_from = match (self.connect_from, other.connect_from) {
            (Some(mine), Some(others)) => Some(mine.min(others)),
            (mine, others) => mine.or(others),
        };
        self.connect_to = self.connect_to.max(other.connect_to);
        self.connecting.merge(&other.connecting);
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.latency.merge(&other.latency);
        self.late.merge(&other.late);
        for (mine, others) in [
            (&mut self.failed, &other.failed),
            (&mut self.ended, &other.ended),
            (&mut self.refused, &other.refused),
        ] {
            for (reason, count) in others {
                *mine.entry(reason.clone()).or_default() += count;
            }
        }
    }

    /// Forgets what was measured, and keeps what is known of the connections.
    pub(crate) fn reset(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
        self.received = 0;
        self.received_bytes = 0;
        self.lost = 0;
        self.doubled = 0;
        self.refused.clear();
        self.latency.clear();
        self.late.clear();
    }

    /// How many never became ready.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}
