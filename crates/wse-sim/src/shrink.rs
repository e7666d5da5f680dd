//! Leaves out the actions that a failure does not need.

use std::collections::BTreeSet;

use crate::world::{Report, Setup, run};

/// The most worlds that are tried.
const TRIES: usize = 600;

/// The setup with as many actions left out as can be while the same promise is broken.
#[must_use]
pub fn shrink(setup: &Setup, report: &Report) -> Setup {
    let kind =
        |report: &Report| report.violations.first().map(|what| what.chars().take(3).collect::<String>());
    let (wanted, actions) = (kind(report), report.actions.len());
    let mut least = Setup { trace: false, ..setup.clone() };
    let (mut tries, mut goes_on) = (0, true);
    while goes_on && tries < TRIES {
        goes_on = false;
        for number in 0..actions {
            if least.skip.contains(&number) {
                continue;
            }
            let mut skip: BTreeSet<usize> = least.skip.clone();
            skip.insert(number);
            let fewer = Setup { skip, ..least.clone() };
            tries += 1;
            if kind(&run(&fewer)) == wanted {
                least = fewer;
                goes_on = true;
            }
        }
    }
    least
}
