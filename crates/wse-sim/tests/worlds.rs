//! Some worlds of each class in every run of the tests; `make sim` runs as many as one likes.

use std::collections::BTreeSet;

use wse_sim::{Class, Report, Setup, run};

fn setup(seed: u64, class: Class) -> Setup {
    Setup { seed, class, fault: None, skip: BTreeSet::new(), trace: false }
}

fn hold(class: Class) {
    let mut messages = 0;
    for seed in 0..300 {
        let Report { violations, stats, .. } = run(&setup(seed, class));
        assert!(violations.is_empty(), "wse-sim --trace {seed} --class {class:?}: {violations:?}");
        messages += stats.messages;
    }
    assert!(messages > 10_000, "clients got only {messages} messages");
}

#[test]
fn promises_hold_over_resets_and_crashes() {
    hold(Class::F);
}

#[test]
fn promises_hold_over_partitions() {
    hold(Class::P);
}

#[test]
fn promises_hold_while_all_nodes_are_restarted_one_after_the_other() {
    hold(Class::D);
}

#[test]
fn promises_hold_with_the_machine_of_members_over_crashes_moves_and_restarts() {
    hold(Class::M);
}

#[test]
fn promises_hold_with_the_machine_of_members_over_partitions() {
    hold(Class::N);
}

#[test]
fn a_seed_decides_everything() {
    for class in Class::ALL {
        let once = run(&Setup { trace: true, ..setup(7, class) });
        let again = run(&Setup { trace: true, ..setup(7, class) });
        assert_eq!(once.trace, again.trace);
        assert!(once.trace.lines().count() > 100);
    }
}
