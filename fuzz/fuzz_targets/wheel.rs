//! No check of a connection is lost, doubled or late, whatever was scheduled, cancelled and let pass in what order.
//!
//! Operations on a `Wheel` beside a map from slot to tick. A turn has 512 ticks; what lies further ahead comes at its end.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::wheel::Wheel;

const TURN: u64 = 512;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = play(&mut input);
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let start = u64::from(input.arbitrary::<u32>()?);
    let (mut wheel, mut model) = (Wheel::new(start), BTreeMap::new());
    // The next tick to be handed out.
    let mut next = start;
    while !input.is_empty() {
        match input.int_in_range(0..=4)? {
            0..=2 => {
                let slot = slot(input)?;
                let tick = (next + u64::from(input.arbitrary::<u16>()? % 1200)).saturating_sub(20);
                wheel.schedule(slot, tick);
                model.insert(slot, tick.clamp(next, next + TURN - 1));
            }
            3 => {
                let slot = slot(input)?;
                wheel.cancel(slot);
                model.remove(&slot);
            }
            _ => {
                // Sometimes not on at all, or back: a coarse clock stands still, and nothing happens twice.
                let now = (next + u64::from(input.arbitrary::<u16>()? % 1200)).saturating_sub(5);
                let mut due = vec![u32::MAX];
                wheel.advance(now, &mut due);
                assert_eq!(due.remove(0), u32::MAX, "what the list held stays");
                due.sort_unstable();
                let expected: Vec<u32> =
                    model.extract_if(.., |_, tick| *tick <= now).map(|(slot, _)| slot).collect();
                assert_eq!(due, expected);
                next = next.max(now + 1);
            }
        }
        assert_eq!(wheel.next_tick(), model.values().min().copied());
    }
    Ok(())
}

/// Mostly of a few that meet often, and at times one far away.
fn slot(input: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match input.arbitrary::<u8>()? {
        few @ 0..240 => u32::from(few % 24),
        far => u32::from(far) * 17,
    })
}
