//! Whether a text is JSON, all of it, and not nested too deeply. Nothing is built, so a large message costs no memory.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Objects and lists that may lie in each other, the message itself included.
pub const MAX_DEPTH: usize = 64;

/// Why a text is not taken for a command.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It is no JSON; the parser says where.
    NoJson(serde_json::Error),
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJson(error) => write!(f, "the message is no JSON: {error}"),
            Self::TooDeep => write!(f, "the message is nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

/// Reads the whole text with a parser: numbers must be finite and texts without lone surrogates, as Python and JavaScript need them.
pub(crate) fn check(text: &str) -> Result<(), Broken> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Level(MAX_DEPTH).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    read.map_err(|error| if error.is_data() { Broken::TooDeep } else { Broken::NoJson(error) })
}

/// A value that may have so many levels.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn inner<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while members.next_key_seed(inner)?.is_some() {
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn sixty_four_levels_are_read_and_one_more_is_not() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert!(check(&nested(MAX_DEPTH)).is_ok());
            assert!(matches!(check(&nested(MAX_DEPTH + 1)), Err(Broken::TooDeep)));
            assert!(matches!(check(&nested(100_000)), Err(Broken::TooDeep)));
        }
    }

    #[test]
    fn what_is_no_json_is_said_with_its_place() {
        for text in
            ["", "{", "{} {}", "[NaN]", "[1e999]", r#"["\ud800"]"#, r#"{"\ud800":1}"#, "[1,]", "{1:2}"]
        {
            let Err(broken) = check(text) else { panic!("{text}") };
            assert!(broken.to_string().contains(" at line 1 column "), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn the_same_as_a_parser_finds(text in "[\\[\\]{}\",:0-9a-z\\\\.eE+ -]{0,24}") {
            prop_assert_eq!(check(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
