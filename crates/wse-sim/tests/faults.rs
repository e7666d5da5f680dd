//! Each rule of the topics with history is left out once, and the worlds must notice: an oracle that never complains proves nothing.

#![cfg(feature = "faults")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wse_mesh::log::Fault;
use wse_sim::{Class, Setup, run};

/// The worlds of so many seeds must be enough.
const SEEDS: u64 = 2000;

/// Rules that others nearly make needless: the order of logs hides the first two, and a taker that asks all hides the third (it takes 26,000 seeds).
/// They are tried, and may go unnoticed.
const HARD: [&str; 3] = ["accept-older", "ignore-suspects", "accept-poorer"];

/// The first seed that notices, with what it says.
fn found(fault: Option<Fault>) -> Option<(u64, Class, String)> {
    (0..SEEDS).find_map(|seed| {
        let class = Class::MODELLED[(seed % 3) as usize];
        let setup = Setup { seed, class, fault, skip: BTreeSet::new(), trace: false };
        let what = match catch_unwind(AssertUnwindSafe(|| run(&setup))) {
            Ok(report) => report.violations.into_iter().next(),
            Err(_) => Some("an assertion of the machine".into()),
        };
        what.map(|what| (seed, class, what))
    })
}

#[test]
fn every_rule_that_is_left_out_is_missed() {
    assert_eq!(found(None), None, "without a fault nothing is to be found");
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for (name, fault) in Fault::ALL {
        match found(Some(*fault)) {
            Some((seed, class, what)) => println!("{name:22} seed {seed:4} {class:?}: {what}"),
            None => {
                println!("{name:22} not found in {SEEDS} seeds");
                missed.push(name);
            }
        }
    }
    let _ = std::panic::take_hook();
    missed.retain(|name| !HARD.contains(name));
    assert!(missed.is_empty(), "not found: {missed:?}");
}
