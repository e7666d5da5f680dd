//! How long the token of a live connection lasts: when its owner is warned, when the connection ends, how often it may be renewed.

use std::num::NonZeroU64;
use std::time::Duration;

use super::LEEWAY;

/// How long before `exp` a client is warned; a token with less than twice that left is warned of half way.
pub const WARNING: Duration = Duration::from_secs(60);

/// What a client has at least between the warning and the end, if the warning comes late: the machine was suspended, or its clock
/// was set.
const PATIENCE_MS: u64 = 2000;
/// Renewals that may come at once, and the time after which one more may: a signature costs its shard up to a tenth of a
/// millisecond, in which nobody else is served.
const RENEWALS: u64 = 4;
const RENEWAL_MS: u64 = 500;

/// What has to be done about a token now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The client is to hear that its token expires in so many whole seconds; 0 when it has expired already.
    Warning(u64),
    /// `exp` and the leeway are past: the connection ends.
    End,
}

/// The life of one connection's token.
///
/// Dates of tokens are compared with the wall clock at each look, never translated into another clock for good, so a clock that is set
/// moves the end with it. `now_ms` is a clock that never goes back.
#[derive(Clone, Debug)]
pub struct Life {
    /// `exp` in milliseconds since 1970.
    expires_ms: NonZeroU64,
    /// When the warning is due, in milliseconds since 1970; `u64::MAX` when it was given.
    warn_ms: u64,
    /// Not before this moment of `now_ms` does the connection end.
    patience_until_ms: u64,
    /// The moment of `now_ms` at which all renewals would have been due, had they come evenly.
    renewals_ms: u64,
}

impl Life {
    /// The life of a token that was accepted at `unix` and expires at `expires_at`, in seconds since 1970.
    #[must_use]
    pub fn new(expires_at: f64, unix: Duration) -> Self {
        let expires_ms = NonZeroU64::new((expires_at * 1000.0) as u64).unwrap_or(NonZeroU64::MIN);
        let mut life = Self { expires_ms, warn_ms: 0, patience_until_ms: 0, renewals_ms: 0 };
        life.plan(unix);
        life
    }

    /// Another token takes the place of this one.
    pub fn renew(&mut self, expires_at: f64, unix: Duration) {
        *self = Self { renewals_ms: self.renewals_ms, ..Self::new(expires_at, unix) };
    }

    fn plan(&mut self, unix: Duration) {
        let left_ms = self.expires_ms.get().saturating_sub(millis(unix));
        self.warn_ms = self.expires_ms.get() - millis(WARNING).min(left_ms / 2).min(self.expires_ms.get());
    }

    /// Whole seconds until `exp`.
    #[must_use]
    pub fn expires_in(&self, unix: Duration) -> u64 {
        self.expires_ms.get().saturating_sub(millis(unix)) / 1000
    }

    /// What is due now. Until a moment after `stalled_until_ms`, the end of the last time that the server itself stood still, nobody's
    /// connection ends: a fresh token may lie unread in the socket.
    pub fn look(&mut self, unix: Duration, now_ms: u64, stalled_until_ms: u64) -> Due {
        if millis(unix) >= self.warn_ms {
            self.warn_ms = u64::MAX;
            self.patience_until_ms = now_ms + PATIENCE_MS;
            return Due::Warning(self.expires_in(unix));
        }
        let warned = self.warn_ms == u64::MAX;
        let over = warned && millis(unix) >= self.ends_ms();
        if over && now_ms >= self.patient_until(stalled_until_ms) { Due::End } else { Due::Nothing }
    }

    /// The moment of `now_ms` at which to look again, if neither clock is set.
    #[must_use]
    pub fn next_look_ms(&self, unix: Duration, now_ms: u64, stalled_until_ms: u64) -> u64 {
        if self.warn_ms != u64::MAX {
            return now_ms + self.warn_ms.saturating_sub(millis(unix));
        }
        let end_ms = now_ms + self.ends_ms().saturating_sub(millis(unix));
        end_ms.max(self.patient_until(stalled_until_ms))
    }

    /// Asks for one renewal more.
    ///
    /// # Errors
    /// The seconds after which it may be asked again.
    pub fn take_renewal(&mut self, now_ms: u64) -> Result<(), f64> {
        let due_ms = self.renewals_ms.max(now_ms);
        let wait_ms = (due_ms - now_ms).saturating_sub((RENEWALS - 1) * RENEWAL_MS);
        if wait_ms > 0 {
            return Err(wait_ms as f64 / 1000.0);
        }
        self.renewals_ms = due_ms + RENEWAL_MS;
        Ok(())
    }

    fn ends_ms(&self) -> u64 {
        self.expires_ms.get() + millis(LEEWAY)
    }

    fn patient_until(&self, stalled_until_ms: u64) -> u64 {
        let after_stall = if stalled_until_ms == 0 { 0 } else { stalled_until_ms + PATIENCE_MS };
        self.patience_until_ms.max(after_stall)
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    fn seconds(from_start: f64) -> Duration {
        Duration::from_millis(millis(START).saturating_add_signed((from_start * 1000.0) as i64))
    }

    fn life(lasts: f64) -> Life {
        Life::new(START.as_secs_f64() + lasts, START)
    }

    #[test]
    fn a_long_token_is_warned_of_a_minute_before_and_ends_after_the_leeway() {
        let mut life = life(3600.0);
        assert_eq!(life.next_look_ms(START, 7, 0), 7 + 3_540_000);
        assert_eq!(life.look(seconds(3539.9), 0, 0), Due::Nothing);
        assert_eq!(life.look(seconds(3540.0), 0, 0), Due::Warning(60));
        assert_eq!(life.look(seconds(3541.0), 1000, 0), Due::Nothing, "warned once");
        assert_eq!(life.next_look_ms(seconds(3541.0), 1000, 0), 1000 + 89_000);
        assert_eq!(life.look(seconds(3629.9), 89_900, 0), Due::Nothing);
        assert_eq!(life.look(seconds(3630.0), 90_000, 0), Due::End);
    }

    #[test]
    fn a_short_token_is_warned_of_half_way_and_one_in_its_leeway_at_once() {
        assert_eq!(life(3.0).next_look_ms(START, 0, 0), 1500);
        assert_eq!(life(3.0).look(seconds(1.5), 0, 0), Due::Warning(1));
        let mut late = life(-28.0);
        assert_eq!(late.look(START, 0, 0), Due::Warning(0));
        assert_eq!(late.next_look_ms(START, 0, 0), 2000);
        assert_eq!(late.look(seconds(2.0), 2000, 0), Due::End);
    }

    #[test]
    fn a_fresh_token_takes_the_place_of_the_old_one() {
        let mut life = life(3.0);
        assert_eq!(life.look(seconds(2.0), 0, 0), Due::Warning(1));
        life.renew(START.as_secs_f64() + 600.0, seconds(2.0));
        assert_eq!(life.expires_in(seconds(2.0)), 598);
        assert_eq!(life.look(seconds(40.0), 0, 0), Due::Nothing);
        assert_eq!(life.look(seconds(540.0), 0, 0), Due::Warning(60));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_the_time_back_and_one_set_on_leaves_a_moment_to_answer() {
        let mut life = life(600.0);
        assert_eq!(life.look(seconds(9000.0), 50, 0), Due::Warning(0));
        assert_eq!(life.look(seconds(9001.0), 1050, 0), Due::Nothing);
        assert_eq!(life.look(seconds(100.0), 9050, 0), Due::Nothing);
        assert_eq!(life.look(seconds(9002.0), 9051, 0), Due::End);
    }

    #[test]
    fn a_server_that_stood_still_reads_before_it_ends_anything() {
        let mut life = life(2.0);
        assert_eq!(life.look(seconds(1.0), 1000, 0), Due::Warning(1));
        assert_eq!(life.look(seconds(500.0), 2000, 2000), Due::Nothing);
        assert_eq!(life.next_look_ms(seconds(500.0), 2000, 2000), 4000);
        assert_eq!(life.look(seconds(502.0), 4000, 2000), Due::End);
    }

    #[test]
    fn renewals_are_four_at_once_and_two_a_second() {
        let mut life = life(60.0);
        let at_once = (0..6).filter(|_| life.take_renewal(10_000).is_ok()).count();
        assert_eq!(at_once, 4);
        assert_eq!(life.take_renewal(10_000), Err(0.5));
        assert_eq!(life.take_renewal(10_500), Ok(()));
        assert_eq!(life.take_renewal(10_600), Err(0.4));
        life.renew(START.as_secs_f64() + 900.0, START);
        assert_eq!(life.take_renewal(10_600), Err(0.4), "a renewal does not refill them");
    }

    #[test]
    fn it_costs_a_connection_32_bytes() {
        assert_eq!(size_of::<Option<Life>>(), 32);
    }

    proptest! {
        /// Whatever the dates: looked at when it asks to be, it warns exactly once, then ends, and never before `exp` and the leeway.
        #[test]
        fn warned_once_then_ended_never_early(lasts in -29.9_f64..1e6, at_ms in 0_u64..1 << 40) {
            let mut life = life(lasts);
            let (mut now_ms, mut warned_ms) = (at_ms, None);
            let unix_at = |now_ms: u64| START + Duration::from_millis(now_ms - at_ms);
            for look in 0.. {
                prop_assert!(look < 5, "looks without an end");
                match life.look(unix_at(now_ms), now_ms, 0) {
                    Due::Nothing => {}
                    Due::Warning(left) => {
                        prop_assert!(warned_ms.is_none());
                        prop_assert!(left <= 60 && left as f64 <= lasts.max(0.0));
                        warned_ms = Some(now_ms);
                    }
                    Due::End => {
                        prop_assert!(warned_ms.is_some_and(|at| at + PATIENCE_MS <= now_ms));
                        prop_assert!(unix_at(now_ms).as_secs_f64() > START.as_secs_f64() + lasts + 29.99);
                        break;
                    }
                }
                now_ms = life.next_look_ms(unix_at(now_ms), now_ms, 0);
            }
        }

        #[test]
        fn never_more_renewals_than_four_and_two_a_second(gaps in prop::collection::vec(0_u64..900, 1..200)) {
            let (mut life, mut now_ms, mut taken) = (life(60.0), 0, 0);
            for gap in gaps {
                now_ms += gap;
                taken += u64::from(life.take_renewal(now_ms).is_ok());
                prop_assert!(taken <= RENEWALS + now_ms / RENEWAL_MS);
            }
        }
    }
}
