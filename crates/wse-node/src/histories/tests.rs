//! The budget: who gives way, and what of them stays.

use wse_core::options::Options;
use wse_core::topic::Filter;

use super::*;
use crate::squeeze::Wire;

fn histories(budget: usize) -> Histories {
    let options = Options { recovery_enabled: true, recovery_memory_budget: budget, ..Options::default() };
    Histories::of(&options).unwrap()
}

fn publish(histories: &Histories, topic: &str, text: &str, now_ms: u64) -> Position {
    let message = Stampable::new(text).unwrap();
    histories.with(topic, |stamping| {
        histories.append(stamping, &message, now_ms);
        stamping.position()
    })
}

fn recovers(histories: &Histories, topic: &str, position: Position, now_ms: u64) -> bool {
    histories.with(topic, |stamping| histories.since(stamping, position, now_ms).is_ok())
}

/// What is counted is what all say that they cost.
fn assert_counted(histories: &Histories) {
    let topics = histories.topics.read();
    let costs = topics.values().map(|history| history.stamping.lock().counted);
    assert_eq!(histories.bytes(), costs.sum::<usize>());
}

#[test]
fn the_one_that_was_not_used_for_the_longest_time_gives_way() {
    let (histories, topics) = (histories(100_000), Topics::new(1));
    let text = format!("{{\"p\":\"{}\"}}", "x".repeat(9000));
    let positions: Vec<Position> =
        (0..10).map(|number| publish(&histories, &number.to_string(), &text, 0)).collect();
    assert!(recovers(&histories, "0", positions[0], 0), "it is used now");
    publish(&histories, "new", &text, 0);
    publish(&histories, "newer", &text, 0);
    histories.keep_within_budget(&topics);
    assert!(histories.bytes() <= 100_000);
    assert_counted(&histories);
    assert!(recovers(&histories, "0", positions[0], 0));
    assert!(!recovers(&histories, "1", positions[1], 0));
    assert!(recovers(&histories, "9", positions[9], 0));
}

#[test]
fn where_somebody_is_subscribed_the_position_stays() {
    let (histories, topics) = (histories(20_000), Topics::new(1));
    let text = format!("{{\"p\":\"{}\"}}", "x".repeat(9000));
    topics.subscribe(Filter::parse("kept").unwrap(), None, 0, Wire::Plain);
    let before = publish(&histories, "kept", &text, 0);
    let position = publish(&histories, "kept", &text, 0);
    for number in 0..10 {
        publish(&histories, &number.to_string(), &text, 0);
        histories.keep_within_budget(&topics);
    }
    assert!(histories.bytes() <= 20_000);
    assert_counted(&histories);
    assert!(!recovers(&histories, "kept", before, 0));
    assert!(recovers(&histories, "kept", position, 0));
    assert_eq!(publish(&histories, "kept", "{}", 0), Position { offset: 3, ..position });
}

#[test]
fn more_subscribed_topics_than_the_budget_holds_cost_no_walk_for_each_message() {
    let (histories, topics) = (histories(65_536), Topics::new(1));
    for number in 0..2000 {
        let topic = number.to_string();
        topics.subscribe(Filter::parse(&topic).unwrap(), None, 0, Wire::Plain);
        publish(&histories, &topic, "{}", 0);
        histories.keep_within_budget(&topics);
    }
    assert_eq!(histories.count(), 2000, "none of them may forget its position");
    assert_counted(&histories);
}

#[test]
fn old_messages_are_found_without_being_asked_for() {
    let histories = histories(1 << 20);
    publish(&histories, "a", &format!("{{\"p\":\"{}\"}}", "x".repeat(50_000)), 0);
    histories.tidy(TIDY_MS);
    assert!(histories.bytes() > 50_000, "they are not old yet");
    let ttl_ms = histories.limits.ttl_ms;
    histories.tidy(2 * TIDY_MS + ttl_ms);
    assert!(histories.bytes() < 1000);
    assert_counted(&histories);
}
