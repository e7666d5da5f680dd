//! JSON in which no object names a member twice.
//!
//! RFC 7515 section 4 and RFC 7519 section 4 let a reader either refuse a repeated name or take the last one. Two
//! readers of one token who disagree (a gateway in front takes the first, say) is how a check is walked around, so
//! here a repeated name refuses the token, at any depth.
//!
//! Values borrow from the text they were read from: a handshake looks at half a dozen of them and keeps one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Number;

/// Up to this many members are compared each with each, which is quicker than sorting them.
const FEW_MEMBERS: usize = 12;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The members of an object, in the order of the text, each name once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Reads one JSON object and nothing after it.
pub(super) fn parse_object(text: &[u8]) -> Option<Object<'_>> {
    match serde_json::from_slice(text) {
        Ok(Json::Object(object)) => Some(object),
        _ => None,
    }
}

impl<'a> Object<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// Adds a member that is not there yet.
    pub(super) fn push(&mut self, name: &'a str, value: Json<'a>) {
        self.0.push((name.into(), value));
    }

    fn names_are_unique(&self) -> bool {
        if self.0.len() <= FEW_MEMBERS {
            let repeats =
                |(i, (name, _)): (usize, &(_, _))| self.0[..i].iter().any(|(other, _)| other == name);
            return !self.0.iter().enumerate().any(repeats);
        }
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
    }
}

impl Json<'_> {
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with unique names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object(Vec::with_capacity(FEW_MEMBERS));
        while let Some((Name(name), value)) = members.next_entry()? {
            object.0.push((name, value));
        }
        if object.names_are_unique() {
            Ok(Json::Object(object))
        } else {
            Err(A::Error::custom("a name is used twice"))
        }
    }
}

/// A member's name, borrowed unless it is written with escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(StrictVisitor)? {
            Json::Text(name) => Ok(Name(name)),
            _ => Err(D::Error::custom("a name is text")),
        }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(number) => number.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(list) => serializer.collect_seq(list),
            Json::Object(Object(members)) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_whole() {
        let text = r#" {"a": [1, -2, 1.5, true, null, "é"], "b": {"c": {}}} "#;
        let object = parse_object(text.as_bytes()).unwrap();
        let again = serde_json::to_value(Json::Object(object)).unwrap();
        assert_eq!(again, text.parse::<serde_json::Value>().unwrap());
    }

    #[test]
    fn a_repeated_name_refuses_at_any_depth_and_in_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert!(parse_object(br#"{"a":{"a":{"a":1}},"A":2}"#).is_some());
    }

    #[test]
    fn a_repeated_name_is_found_among_many() {
        let many = |last: &str| {
            let members: String = (0..100).map(|i| format!(r#""n{i}":{i},"#)).collect();
            format!(r#"{{{members}"{last}":0}}"#)
        };
        assert!(parse_object(many("n100").as_bytes()).is_some());
        assert_eq!(parse_object(many("n42").as_bytes()), None);
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(3000), "]".repeat(3000));
        for text in [
            "",
            "[]",
            "1",
            "null",
            "{} {}",
            "{},",
            "\u{feff}{}",
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            &deep,
        ] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None);
    }
}
