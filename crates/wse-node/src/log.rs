//! Log lines that a client can provoke come at most once a second, with the number of those left out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Lets one line a second pass.
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
        if unix_ms >= next && self.next_ms.compare_exchange(next, unix_ms + 1000, Relaxed, Relaxed).is_ok() {
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

/// A line of `tracing` that passes at most once a second for each place in the code.
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
    fn one_line_a_second_and_the_rest_is_counted() {
        let limiter = Limiter::new();
        let passed: Vec<Option<u64>> = (0..30).map(|tenth| limiter.pass(10_000 + tenth * 100)).collect();
        assert_eq!(passed.iter().flatten().copied().collect::<Vec<_>>(), [0, 9, 9]);
    }
}
