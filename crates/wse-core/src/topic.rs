//! Topics and patterns: the only place that parses them and the only place that matches them.

use thiserror::Error;

/// The longest topic, in bytes of UTF-8.
pub const MAX_TOPIC_BYTES: usize = 255;

/// Why a text is no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    /// An empty topic names nothing.
    #[error("a topic has at least 1 byte")]
    Empty,
    /// Longer than [`MAX_TOPIC_BYTES`].
    #[error("a topic has at most 255 bytes of UTF-8, this one has {0}")]
    TooLong(usize),
    /// A line break in a topic would be a line break in logs and metrics.
    #[error("a topic has no control characters, this one has U+{0:04X}")]
    Control(u32),
    /// Somebody published to a pattern.
    #[error("a message is published to one topic, and this is a pattern (it has '*' or '?')")]
    Wildcard,
}

/// A text that has the form of a topic or of a pattern; only [`Filter::parse`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter<'a>(&'a str);

impl<'a> Filter<'a> {
    /// Checks the form that topics and patterns share.
    ///
    /// # Errors
    /// [`TopicError`] says which rule is broken.
    #[inline]
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > MAX_TOPIC_BYTES {
            return Err(TopicError::TooLong(text.len()));
        }
        // C0 and DEL are single bytes; C1 controls (U+0080-U+009F) are rare enough to be looked for only in text that is not ASCII.
        if let Some(&byte) = text.as_bytes().iter().find(|byte| byte.is_ascii_control()) {
            return Err(TopicError::Control(u32::from(byte)));
        }
        if !text.is_ascii()
            && let Some(control) = text.chars().find(|c| c.is_control())
        {
            return Err(TopicError::Control(control.into()));
        }
        Ok(Self(text))
    }

    /// Checks the form of a topic to publish to: no wildcards.
    ///
    /// # Errors
    /// [`TopicError`] says which rule is broken.
    #[inline]
    pub fn parse_exact(text: &'a str) -> Result<Self, TopicError> {
        let filter = Self::parse(text)?;
        if filter.is_pattern() { Err(TopicError::Wildcard) } else { Ok(filter) }
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether it has wildcards: `*` stands for any run of characters, `?` for exactly one.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.0.bytes().any(|byte| byte == b'*' || byte == b'?')
    }

    /// Whether `topic` is meant by this filter.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        matches(self.0, topic)
    }
}

/// A topic or pattern that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedFilter(Box<str>);

impl OwnedFilter {
    /// Checks the form, as [`Filter::parse`] does.
    ///
    /// # Errors
    /// [`TopicError`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        Filter::parse(text).map(|filter| Self(filter.0.into()))
    }

    /// Checks the form of a topic to publish to, as [`Filter::parse_exact`] does.
    ///
    /// # Errors
    /// [`TopicError`] says which rule is broken.
    pub fn parse_exact(text: &str) -> Result<Self, TopicError> {
        Filter::parse_exact(text).map(|filter| Self(filter.0.into()))
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_filter(&self) -> Filter<'_> {
        Filter(&self.0)
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Greedy matching with one point of return, the latest `*`: at most pattern times topic steps, whatever the stars.
#[must_use]
pub fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), topic.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
            }
            Some(b'?') => {
                p += 1;
                t += char_len(text[t]);
            }
            Some(&byte) if byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                // Let the latest star swallow one character more.
                Some((after_star, swallowed)) => {
                    *swallowed += char_len(text[*swallowed]);
                    (p, t) = (*after_star, *swallowed);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether all that `inner` means is meant by `outer` too. May say no where it takes several wildcards together to see it.
///
/// `inner` is read as if it were a topic whose `?` is a character that only a wildcard means, and whose `*` only a `*` can take.
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    let (outer, inner) = (questions_first(outer), questions_first(inner));
    let (outer, text) = (outer.as_bytes(), inner.as_bytes());
    let (mut o, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match outer.get(o) {
            Some(b'*') => {
                o += 1;
                star = Some((o, t));
            }
            Some(b'?') if text[t] != b'*' => {
                o += 1;
                t += char_len(text[t]);
            }
            Some(&byte) if byte == text[t] && byte != b'?' => {
                o += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((after_star, swallowed)) => {
                    *swallowed += char_len(text[*swallowed]);
                    (o, t) = (*after_star, *swallowed);
                }
                None => return false,
            },
        }
    }
    outer[o..].iter().all(|&byte| byte == b'*')
}

/// The same pattern with the `?` of each run of wildcards first, and one `*` if there was any.
fn questions_first(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut star = false;
    for c in pattern.chars() {
        match c {
            '*' => star = true,
            '?' => out.push('?'),
            c => {
                out.extend(std::mem::take(&mut star).then_some('*'));
                out.push(c);
            }
        }
    }
    out.extend(star.then_some('*'));
    out
}

/// Whether some text is meant by both patterns; one step for each pair of their characters.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // reach[j]: the part of `a` walked so far and the first j characters of `b` mean some text both.
    let mut reach = vec![false; b.len() + 1];
    reach[0] = true;
    for i in 0..=a.len() {
        let before = reach.clone();
        if i > 0 {
            for j in 0..=b.len() {
                let from_above = before[j] && a[i - 1] == '*';
                let both = j > 0 && before[j - 1] && meet(a[i - 1], b[j - 1]);
                // A star of `b` also takes what `a` names.
                let taken = j > 0 && b[j - 1] == '*' && before[j];
                reach[j] = from_above || both || taken;
            }
        }
        for j in 1..=b.len() {
            let skipped = b[j - 1] == '*' && reach[j - 1];
            let given = i > 0 && a[i - 1] == '*' && reach[j - 1];
            reach[j] |= skipped || given;
        }
    }
    reach[b.len()]
}

/// Whether one character can be meant by both.
fn meet(a: char, b: char) -> bool {
    a == b || matches!(a, '?' | '*') || matches!(b, '?' | '*')
}

/// Bytes of the UTF-8 character that begins with `lead`.
fn char_len(lead: u8) -> usize {
    match lead {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The meaning of a pattern, without a thought for speed.
    fn naive(pattern: &[char], topic: &[char]) -> bool {
        match (pattern.split_first(), topic.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                naive(rest, topic) || (!topic.is_empty() && naive(pattern, &topic[1..]))
            }
            (Some(('?', rest)), Some((_, after))) => naive(rest, after),
            (Some((a, rest)), Some((b, after))) => a == b && naive(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_same_as_the_naive_meaning(pattern in "[ab*?é€]{0,10}", topic in "[abé€😀]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), topic.chars().collect());
            prop_assert_eq!(matches(&pattern, &topic), naive(&p, &t));
        }

        #[test]
        fn covering_and_overlapping_are_what_they_say(
            a in "[ab*?]{0,5}", b in "[ab*?]{0,5}", topics in prop::collection::vec("[abé]{0,6}", 0..60),
        ) {
            let meant = |pattern: &str, topic: &str| matches(pattern, topic);
            if covers(&a, &b) {
                prop_assert!(topics.iter().all(|topic| !meant(&b, topic) || meant(&a, topic)));
            }
            prop_assert_eq!(overlap(&a, &b), overlap(&b, &a));
            if !overlap(&a, &b) {
                prop_assert!(!topics.iter().any(|topic| meant(&a, topic) && meant(&b, topic)));
            }
            prop_assert!(covers(&a, &a) && covers("*", &a));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,300}", topic in "\\PC{0,60}") {
            if let Ok(filter) = Filter::parse(&text) {
                let _ = filter.matches(&topic);
                prop_assert!(text.len() <= MAX_TOPIC_BYTES && !text.is_empty());
            }
        }
    }

    #[test]
    fn overlaps_are_found_and_only_those() {
        for (a, b) in
            [("a*", "*b"), ("a?c", "*b*"), ("*", ""), ("a*b*", "a*c*"), ("??", "*a"), ("x*y", "x?*y")]
        {
            assert!(overlap(a, b), "{a} {b}");
        }
        for (a, b) in
            [("a*", "b*"), ("a", ""), ("?", ""), ("??", "a"), ("*a", "*b"), ("a*b", "a*c"), ("a?*", "a")]
        {
            assert!(!overlap(a, b), "{a} {b}");
        }
    }

    #[test]
    fn stars_do_not_explode() {
        assert!(!matches(&"a*".repeat(120), &"a".repeat(119)));
        assert!(matches(&"a*".repeat(120), &"a".repeat(255)));
    }

    #[test]
    fn forms_that_are_no_topics() {
        assert_eq!(Filter::parse(""), Err(TopicError::Empty));
        assert_eq!(Filter::parse(&"é".repeat(128)), Err(TopicError::TooLong(256)));
        assert_eq!(Filter::parse("a\nb"), Err(TopicError::Control(10)));
        assert_eq!(Filter::parse("a\u{85}b"), Err(TopicError::Control(0x85)));
        assert_eq!(Filter::parse_exact("a.*"), Err(TopicError::Wildcard));
        assert!(Filter::parse("prices.*.EUR?").unwrap().is_pattern());
    }
}
