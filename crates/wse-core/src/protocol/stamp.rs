//! The stamp of a publication: its topic, epoch and offset, put in front of everything else that the message says.

use thiserror::Error;

use super::category::is_snapshot;
use super::scan::Members;
use crate::history::Position;

/// What the server writes into a message; an own field of that name would be a second one.
const OWN: [(&str, OwnStamp); 3] = [("tp", OwnStamp("tp")), ("e", OwnStamp("e")), ("o", OwnStamp("o"))];

/// A message that is to be stamped has a field that the stamp uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a message for a topic with history must not have a top-level field {0:?}: the server writes tp (topic), e (epoch) and o (offset)"
)]
pub struct OwnStamp(pub &'static str);

/// A message, looked at once, that can be stamped without being looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stampable<'a> {
    /// What comes between the offset and the rest: the category where it is missing. `None` for what is no object and has no stamp.
    between: Option<&'static str>,
    /// The message without its opening brace.
    rest: &'a str,
    /// All of it.
    whole: &'a str,
}

/// The part of a stamp that all messages of one history share: `{"tp":"...","e":"...","o":`.
#[derive(Clone, Debug)]
pub struct StampPrefix(Box<str>);

impl StampPrefix {
    /// The one of a topic.
    #[must_use]
    pub fn new(topic: &str, position: Position) -> Self {
        let topic = serde_json::Value::from(topic);
        Self(format!("{{\"tp\":{topic},\"e\":\"{}\",\"o\":", position.epoch).into())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.0.len()
    }
}

impl<'a> Stampable<'a> {
    /// Looks at the top level of a message.
    ///
    /// # Errors
    /// [`OwnStamp`] if it has a field that the stamp uses.
    #[inline]
    pub fn new(message: &'a str) -> Result<Self, OwnStamp> {
        let mut members = Members::new(message);
        let inside = members.position();
        let (mut any, mut category, mut snapshot) = (false, false, false);
        for member in members.by_ref() {
            any = true;
            match member.key {
                b"c" => category = true,
                b"t" => snapshot = is_snapshot(member.value),
                key => not_ours(key)?,
            }
        }
        if !members.is_whole() {
            return Ok(Self { between: None, rest: message, whole: message });
        }
        let between = match (category, snapshot, any) {
            (true, ..) => ",",
            (false, true, _) => ",\"c\":\"S\",",
            (false, false, true) => ",\"c\":\"U\",",
            (false, false, false) => ",\"c\":\"U\"",
        };
        Ok(Self { between: Some(between), rest: &message[inside..], whole: message })
    }

    /// What goes in front of the [rest](Self::rest): written to `head`, which is cleared.
    #[inline]
    pub fn write_head(&self, head: &mut Vec<u8>, prefix: &StampPrefix, offset: u64) {
        head.clear();
        let Some(between) = self.between else { return };
        head.extend_from_slice(prefix.0.as_bytes());
        let mut digits = [0; 20];
        head.extend_from_slice(decimal(offset, &mut digits));
        head.extend_from_slice(between.as_bytes());
    }

    /// Whether it is an object, and so has a stamp.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.between.is_some()
    }

    /// The message behind the stamp.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// The message as it was given.
    #[must_use]
    pub fn whole(&self) -> &'a str {
        self.whole
    }

    /// Bytes that the message and its stamp have at the most.
    #[must_use]
    pub fn longest(&self, topic: &str) -> usize {
        // Six bytes for each of the topic as an escape, and the names, the epoch, the offset and the category.
        self.rest.len() + 6 * topic.len() + 64
    }
}

/// A field that the stamp uses is refused, also if its name is written with escapes.
fn not_ours(key: &[u8]) -> Result<(), OwnStamp> {
    if !matches!(key, [b't', b'p'] | [b'e' | b'o']) && !key.contains(&b'\\') {
        return Ok(());
    }
    let quoted = [b"\"", key, b"\""].concat();
    let name = serde_json::from_slice::<String>(&quoted).unwrap_or_default();
    OWN.iter().find(|(own, _)| *own == name).map_or(Ok(()), |(_, error)| Err(*error))
}

/// A number in decimal digits, which `format!` takes ten times as long for.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Epoch;
    use proptest::prelude::*;
    use serde_json::Value;

    fn stamped(topic: &str, offset: u64, message: &str) -> Result<String, OwnStamp> {
        let position = Position { epoch: Epoch::new(0xa1b2_c3d4), offset: 0 };
        let stampable = Stampable::new(message)?;
        let mut head = b"left over".to_vec();
        stampable.write_head(&mut head, &StampPrefix::new(topic, position), offset);
        assert!(head.len() + stampable.rest().len() <= stampable.longest(topic));
        Ok(String::from_utf8(head).unwrap() + stampable.rest())
    }

    #[test]
    fn the_stamp_comes_first_and_the_category_next() {
        for (given, expected) in [
            (r#"{"t":"x","p":{"o":1}}"#, r#"{"tp":"a","e":"a1b2c3d4","o":7,"c":"U","t":"x","p":{"o":1}}"#),
            (r#"{"c":"WSE","t":"x"}"#, r#"{"tp":"a","e":"a1b2c3d4","o":7,"c":"WSE","t":"x"}"#),
            (r#"{"t":"x","c":"U"}"#, r#"{"tp":"a","e":"a1b2c3d4","o":7,"t":"x","c":"U"}"#),
            (r#"{"t":"book_snapshot"}"#, r#"{"tp":"a","e":"a1b2c3d4","o":7,"c":"S","t":"book_snapshot"}"#),
            ("{}", r#"{"tp":"a","e":"a1b2c3d4","o":7,"c":"U"}"#),
            ("plain", "plain"),
            ("[1]", "[1]"),
            ("{broken", "{broken"),
        ] {
            assert_eq!(stamped("a", 7, given).unwrap(), expected);
        }
    }

    #[test]
    fn an_own_stamp_is_refused_however_it_is_written() {
        for (message, name) in [
            (r#"{"tp":1}"#, "tp"),
            (r#"{"t":"x","e":null}"#, "e"),
            (r#"{"o":1,"t":2}"#, "o"),
            (r#"{"\u006f":1}"#, "o"),
            (r#"{"t\u0070":1}"#, "tp"),
        ] {
            assert_eq!(stamped("a", 1, message), Err(OwnStamp(name)), "{message}");
        }
        for message in [r#"{"x":{"o":1}}"#, r#"{"oo":1,"\n":2,"E":3}"#] {
            assert!(stamped("a", 1, message).is_ok(), "{message}");
        }
    }

    proptest! {
        #[test]
        fn what_is_stamped_says_the_same_as_before(
            map in prop::collection::btree_map("[a-d]{1,2}", "\\PC{0,12}", 0..6),
            topic in "\\PC{1,20}",
            offset: u64,
        ) {
            let value: Value = map.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
            let mut after: Value = serde_json::from_str(&stamped(&topic, offset, &value.to_string()).unwrap()).unwrap();
            let fields = after.as_object_mut().unwrap();
            let names: Vec<String> = fields.keys().take(3).cloned().collect();
            prop_assert_eq!(names, ["tp", "e", "o"]);
            prop_assert_eq!(fields.remove("tp"), Some(topic.into()));
            prop_assert_eq!(fields.remove("e"), Some("a1b2c3d4".into()));
            prop_assert_eq!(fields.remove("o"), Some(offset.into()));
            if !map.contains_key("c") {
                fields.remove("c");
            }
            prop_assert_eq!(after, value);
        }
    }
}
