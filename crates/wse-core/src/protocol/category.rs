//! The category `c` of an outgoing message: `WSE` for the system, `S` for snapshots, `U` for updates.

use super::scan::Members;

/// A message ready to be framed: `head` goes before `tail`, and both together are the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Categorised<'a> {
    /// The opening brace, what was put in, or nothing.
    pub head: &'a str,
    /// The rest of the message, or all of it.
    pub tail: &'a str,
}

impl Categorised<'_> {
    /// Bytes of the message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Puts the category first into a JSON object that has none; anything else passes untouched.
///
/// A snapshot is what has `_snapshot` in its type `t`, or a type that starts with `snapshot_`.
#[must_use]
#[inline]
pub fn categorise(message: &str) -> Categorised<'_> {
    let untouched = Categorised { head: "", tail: message };
    if message.starts_with("{\"c\":") {
        return untouched;
    }
    let mut members = Members::new(message);
    let inside = members.position();
    let (mut any, mut snapshot) = (false, false);
    for member in members.by_ref() {
        any = true;
        match member.key {
            b"c" => return untouched,
            b"t" => snapshot = is_snapshot(member.value),
            _ => {}
        }
    }
    if !members.is_whole() {
        return untouched;
    }
    let head = match (snapshot, any) {
        (true, _) => "{\"c\":\"S\",",
        (false, true) => "{\"c\":\"U\",",
        (false, false) => "{\"c\":\"U\"",
    };
    Categorised { head, tail: &message[inside..] }
}

/// Whether a type, as JSON text, is one of a snapshot.
#[must_use]
pub fn is_snapshot(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    value.starts_with(b"snapshot_") || value.windows(9).any(|window| window == b"_snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn whole(message: &str) -> String {
        let Categorised { head, tail } = categorise(message);
        format!("{head}{tail}")
    }

    #[test]
    fn the_category_comes_first_where_it_is_missing() {
        for (given, expected) in [
            (r#"{"t":"tick","p":{}}"#, r#"{"c":"U","t":"tick","p":{}}"#),
            (r#"{"t":"book_snapshot"}"#, r#"{"c":"S","t":"book_snapshot"}"#),
            (r#"{"t":"snapshot_book"}"#, r#"{"c":"S","t":"snapshot_book"}"#),
            (r#"{"t":"my_snapshots_x"}"#, r#"{"c":"S","t":"my_snapshots_x"}"#),
            (r#"{"p":{"c":1,"t":"x_snapshot"}}"#, r#"{"c":"U","p":{"c":1,"t":"x_snapshot"}}"#),
            ("{}", r#"{"c":"U"}"#),
            (" { \"t\" : \"x\" } ", "{\"c\":\"U\", \"t\" : \"x\" } "),
        ] {
            assert_eq!(whole(given), expected);
        }
    }

    #[test]
    fn what_has_one_or_is_no_object_passes_untouched() {
        for text in [
            r#"{"c":"U","t":"x"}"#,
            r#"{"t":"x","c":"WSE"}"#,
            r#"{"t":"x", "c" : null}"#,
            "plain",
            "[1]",
            "{broken",
            r#"{"t":1} tail"#,
            "",
        ] {
            assert_eq!(whole(text), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_else_changes(map in prop::collection::btree_map("[a-ct]{1,2}", "\\PC{0,12}", 0..6)) {
            let value: Value = map.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
            let mut after: Value = serde_json::from_str(&whole(&value.to_string())).unwrap();
            if !map.contains_key("c") {
                prop_assert!(after.as_object().unwrap().keys().next().unwrap() == "c");
                after.as_object_mut().unwrap().remove("c");
            }
            prop_assert_eq!(after, value);
        }
    }
}
