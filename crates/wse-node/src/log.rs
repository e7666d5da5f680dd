//! Log lines that a client can provoke come at most once in five seconds for each kind, with the number of those left out: whatever
//! strangers do, all kinds together stay under a line a second.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Milliseconds from one line to the next of its kind.
const EVERY_MS: u64 = 5000;

/// Lets one line pass in [`EVERY_MS`].
#[derive(Debug)]
pub(crate) struct Limiter {
    next_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Limiter {
    pub(crate) const fn new() -> Self {
        Self { next_ms: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// `Some(n)` when a line may be written now, n having been left out since the last.
    pub(crate) fn pass(&self, unix_ms: u64) -> Option<u64> {
        let next = self.next_ms.load(Relaxed);
        // A wall clock that was set back must not silence the line until it is there again.
        let due = unix_ms >= next || next > unix_ms + EVERY_MS;
        if due && self.next_ms.compare_exchange(next, unix_ms + EVERY_MS, Relaxed, Relaxed).is_ok() {
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

/// A line of `tracing` that passes at most once in five seconds for each place in the code.
macro_rules! limited {
    ($level:ident, $clock:expr, $($line:tt)+) => {{
        static LIMITER: $crate::log::Limiter = $crate::log::Limiter::new();
        if let Some(left_out) = LIMITER.pass($clock.unix_ms()) {
            tracing::$level!(left_out, $($line)+);
        }
    }};
}
pub(crate) use limited;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_five_seconds_and_the_rest_is_counted() {
        let limiter = Limiter::new();
        let passed: Vec<Option<u64>> = (0..150).map(|tenth| limiter.pass(10_000 + tenth * 100)).collect();
        assert_eq!(passed.iter().flatten().copied().collect::<Vec<_>>(), [0, 49, 49]);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let limiter = Limiter::new();
        assert_eq!(limiter.pass(1_000_000_000), Some(0));
        assert_eq!(limiter.pass(10_000), Some(0));
        assert_eq!(limiter.pass(10_100), None);
    }
}
