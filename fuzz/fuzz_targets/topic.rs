//! What is a topic and what a pattern means, against the plainest reading of both.
//!
//! Input: a pattern, a line break, a topic. From the pattern a second topic is made that it must match.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wse_core::topic::{Filter, MAX_TOPIC_BYTES, TopicError, matches};

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (pattern, topic) = input.split_once('\n').unwrap_or((input, ""));
    check_form(pattern);
    check_form(topic);
    check_match(pattern, topic);
    assert!(matches(pattern, &filled(pattern, topic)));
    let reversed: [String; 2] = [pattern, topic].map(|text| text.chars().rev().collect());
    assert_eq!(
        matches(pattern, topic),
        matches(&reversed[0], &reversed[1]),
        "a pattern reads the same from behind"
    );
});

fn check_form(text: &str) {
    let control = text.chars().find(|c| c.is_control());
    let expected = match (text.len(), control) {
        (0, _) => Err(TopicError::Empty),
        (len, _) if len > MAX_TOPIC_BYTES => Err(TopicError::TooLong(len)),
        (_, Some(_)) => Err(TopicError::Control(0)),
        _ => Ok(text),
    };
    match (Filter::parse(text), expected) {
        (Ok(filter), expected) => {
            assert_eq!(Ok(filter.as_str()), expected);
            assert_eq!(filter.is_pattern(), text.contains(['*', '?']));
            assert_eq!(Filter::parse_exact(text).is_ok(), !filter.is_pattern());
        }
        // Which of several control characters is named does not matter, but it is one of them.
        (Err(TopicError::Control(code)), Err(TopicError::Control(_))) => {
            assert!(text.chars().any(|c| c.is_control() && u32::from(c) == code));
        }
        (Err(error), expected) => assert_eq!(Err(error), expected),
    }
}

fn check_match(pattern: &str, topic: &str) {
    let expected = meaning(pattern, topic);
    assert_eq!(matches(pattern, topic), expected);
    if let Ok(filter) = Filter::parse(pattern) {
        assert_eq!(filter.matches(topic), expected);
        if !filter.is_pattern() {
            assert_eq!(expected, pattern == topic);
        }
    }
}

/// `table[t]` says whether the pattern read so far matches the first `t` characters.
fn meaning(pattern: &str, topic: &str) -> bool {
    let topic: Vec<char> = topic.chars().collect();
    let mut table = vec![false; topic.len() + 1];
    table[0] = true;
    for wanted in pattern.chars() {
        let before = table.clone();
        for t in 0..table.len() {
            table[t] = match wanted {
                '*' => before[..=t].contains(&true),
                _ => t > 0 && before[t - 1] && (wanted == '?' || wanted == topic[t - 1]),
            };
        }
    }
    table[topic.len()]
}

/// The pattern with characters of `topic` in place of its wildcards.
fn filled(pattern: &str, topic: &str) -> String {
    let mut filling = topic.chars().chain("é*?".chars()).cycle();
    let mut out = String::new();
    for c in pattern.chars() {
        match c {
            '*' => out.extend(filling.by_ref().take(out.len() % 4)),
            '?' => out.extend(filling.next()),
            _ => out.push(c),
        }
    }
    out
}
