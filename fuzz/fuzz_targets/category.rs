//! A category is put into JSON objects that lack one, and not a byte else is touched; the scan finds what a parser finds.
//!
//! The second opinion is serde_json. The scan does not validate, so text that is nearly an object may get a category too; but
//! then the rest of it is what it was.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use wse_core::protocol::category::categorise;
use wse_core::protocol::scan::Members;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let object = Object::parse(text);
    check_members(text, object.as_ref());
    check_category(text, object.as_ref());
});

/// An object as written: its keys without their escapes, its values as they stand, duplicates included.
#[derive(Debug, PartialEq, Eq)]
struct Object(Vec<(String, String)>);

impl Object {
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

fn check_members(text: &str, object: Option<&Object>) {
    let mut members = Members::new(text);
    let found: Vec<_> = members.by_ref().collect();
    assert!(found.len() <= text.len());
    assert!(members.next().is_none(), "what has ended stays ended");
    let Some(Object(expected)) = object else { return };
    assert!(members.is_whole());
    assert_eq!(found.len(), expected.len());
    for (member, (key, value)) in found.iter().zip(expected) {
        let quoted = [b"\"", member.key, b"\""].concat();
        assert_eq!(&serde_json::from_slice::<String>(&quoted).expect("a key that a parser found good"), key);
        assert_eq!(member.value, value.as_bytes());
    }
}

fn check_category(text: &str, object: Option<&Object>) {
    let made = categorise(text);
    let whole = [made.head, made.tail].concat();
    assert_eq!((made.len(), made.is_empty()), (whole.len(), whole.is_empty()));
    if made.head.is_empty() {
        assert_eq!(made.tail, text);
    } else {
        let trimmed = text.trim_start_matches([' ', '\t', '\n', '\r']);
        assert_eq!(Some(made.tail), trimmed.strip_prefix('{'));
        assert!(matches!(made.head, "{\"c\":\"S\"," | "{\"c\":\"U\"," | "{\"c\":\"U\""));
    }
    match object {
        Some(object) => check_object(object, text, &whole, made.head),
        // A number, a list and the like are none of ours.
        None if serde_json::from_str::<&RawValue>(text).is_ok() && !text.contains('\\') => {
            assert_eq!(whole, text)
        }
        None => {}
    }
}

fn check_object(Object(before): &Object, text: &str, whole: &str, head: &str) {
    // A key is compared as it is written; `"\u0063"` is no `"c"`, and nobody's encoder writes letters so.
    if Members::new(text).any(|member| member.key == b"c") {
        assert!(head.is_empty());
        return;
    }
    let Object(mut after) = Object::parse(whole).expect("an object stays one");
    let (key, category) = after.remove(0);
    assert_eq!(&after, before);
    assert!(key == "c" && matches!(&category[..], "\"S\"" | "\"U\""));
    let types = Members::new(text).filter(|member| member.key == b"t").map(|member| member.value);
    if let Some(is_snapshot) = types.last().map_or(Some(false), is_snapshot) {
        assert_eq!(category == "\"S\"", is_snapshot);
    }
}

/// Whether a type is a snapshot's; `None` for a type that is no text, or text with escapes, which is looked at as it is written.
fn is_snapshot(kind: &[u8]) -> Option<bool> {
    let kind: String = serde_json::from_slice(kind).ok().filter(|_| !kind.contains(&b'\\'))?;
    Some(kind.starts_with("snapshot_") || kind.contains("_snapshot"))
}
