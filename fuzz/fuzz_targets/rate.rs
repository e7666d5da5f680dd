//! A bucket lets through what its rate allows, no more and no less, and its promises about later are kept.
//!
//! The model counts in whole thousandths of a token, which floating point can't blur. Input: capacity, refill, then the
//! milliseconds between messages.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::rate::{Bucket, Rate, Verdict};

/// Thousandths of a token that a sum of thousands of floating point steps may be off by.
const BLUR: i128 = 1;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = play(&mut input);
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let capacity = *input.choose(&[1_u32, 2, 5, 10, 100, 100_000])?;
    let refill = *input.choose(&[1_u32, 3, 50, 1000, 10_000])?;
    let rate = Rate { capacity: capacity.into(), refill: refill.into() };
    let full = i128::from(capacity) * 1000;
    let mut now = u64::from(input.arbitrary::<u32>()?);
    let (mut bucket, mut left) = (Bucket::new(&rate, now), full);
    let mut warning = Warning { may: true, must: true };
    while !input.is_empty() {
        let gap = input.arbitrary::<u8>()?;
        // The long pauses of people, and bursts.
        let (gap, burst) = match gap {
            0..200 => (u64::from(gap % 20), 1),
            200..240 => (u64::from(gap) * 100, 1),
            _ => (0, u32::from(gap) * capacity.min(100) / 100),
        };
        now += gap;
        // A thousandth of a token a millisecond for each token a second.
        left = (left + i128::from(gap) * i128::from(refill)).min(full);
        for _ in 0..burst {
            let verdict = bucket.take(&rate, now);
            check(verdict, &rate, left, &mut warning, bucket, now);
            if !matches!(verdict, Verdict::Refuse(_)) {
                left -= 1000;
            }
        }
    }
    Ok(())
}

/// Whether the next message below a fifth of the capacity may bring a warning, and whether it must. They differ after the
/// bucket was so exactly a fifth full that floating point decides on which side.
struct Warning {
    may: bool,
    must: bool,
}

fn check(verdict: Verdict, rate: &Rate, left: i128, warning: &mut Warning, mut bucket: Bucket, now: u64) {
    let after = left - 1000;
    let warn_below = (rate.capacity * 1000.0) as i128 / 5;
    match verdict {
        Verdict::Refuse(seconds) => {
            assert!(after < BLUR, "{left} thousandths are left");
            assert!(seconds > 0.0 && seconds <= 1.0 / rate.refill);
            // Who comes back after that time is let in, by a clock of whole milliseconds.
            let back = now + (seconds * 1000.0).ceil() as u64 + 1;
            assert!(!matches!(bucket.take(rate, back), Verdict::Refuse(_)));
        }
        Verdict::Warn(remaining) => {
            assert!(after >= -BLUR && after <= warn_below + BLUR);
            assert!(warning.may, "warned once, and not again before the bucket is fuller");
            assert!((remaining * 1000.0 - after as f64).abs() <= BLUR as f64);
            *warning = Warning { may: false, must: false };
        }
        Verdict::Pass => {
            assert!(after >= -BLUR);
            assert!(
                after >= warn_below - BLUR || !warning.must,
                "the first message below a fifth brings a warning"
            );
            warning.may |= after >= warn_below - BLUR;
            warning.must |= after > warn_below + BLUR;
        }
    }
}
