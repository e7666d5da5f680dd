//! A token bucket for the messages of one connection.

/// How fast a client may speak; the same for all clients of a server.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Messages that may come at once.
    pub capacity: f64,
    /// Messages a second that may come for ever.
    pub refill: f64,
}

/// What a message meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It may pass.
    Pass,
    /// It may pass, and the client should hear that it has come near the limit: this many are left.
    Warn(f64),
    /// It is dropped; the next one may come after this many seconds.
    Refuse(f64),
}

/// The bucket of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    filled_at_ms: u64,
    warned: bool,
}

/// The part of the capacity at which a client is warned.
const WARN_AT: f64 = 0.2;

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: &Rate, now_ms: u64) -> Self {
        Self { tokens: rate.capacity, filled_at_ms: now_ms, warned: false }
    }

    /// Takes one message out.
    #[inline]
    pub fn take(&mut self, rate: &Rate, now_ms: u64) -> Verdict {
        if now_ms > self.filled_at_ms {
            let seconds = (now_ms - self.filled_at_ms) as f64 / 1000.0;
            self.tokens = (self.tokens + seconds * rate.refill).min(rate.capacity);
            self.filled_at_ms = now_ms;
        }
        if self.tokens < 1.0 {
            return Verdict::Refuse((1.0 - self.tokens) / rate.refill);
        }
        self.tokens -= 1.0;
        if self.tokens >= rate.capacity * WARN_AT {
            self.warned = false;
            Verdict::Pass
        } else if self.warned {
            Verdict::Pass
        } else {
            self.warned = true;
            Verdict::Warn(self.tokens)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn warned_once_then_refused_then_let_in_again() {
        let rate = Rate { capacity: 10.0, refill: 2.0 };
        let mut bucket = Bucket::new(&rate, 0);
        let verdicts: Vec<Verdict> = (0..12).map(|_| bucket.take(&rate, 0)).collect();
        assert_eq!(&verdicts[..8], &[Verdict::Pass; 8]);
        assert_eq!(verdicts[8], Verdict::Warn(1.0));
        assert_eq!(verdicts[9], Verdict::Pass);
        assert_eq!(verdicts[10], Verdict::Refuse(0.5));
        assert_eq!(bucket.take(&rate, 500), Verdict::Pass);
        assert!(matches!(bucket.take(&rate, 500), Verdict::Refuse(_)));
    }

    proptest! {
        #[test]
        fn never_more_than_capacity_and_refill(gaps in prop::collection::vec(0_u64..400, 1..300)) {
            let rate = Rate { capacity: 20.0, refill: 50.0 };
            let (mut bucket, mut now, mut passed) = (Bucket::new(&rate, 0), 0, 0.0);
            for gap in gaps {
                now += gap;
                if !matches!(bucket.take(&rate, now), Verdict::Refuse(_)) {
                    passed += 1.0;
                }
                prop_assert!(passed <= rate.capacity + rate.refill * now as f64 / 1000.0 + 1e-6);
            }
        }
    }
}
