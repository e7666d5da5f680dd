//! What a connection may hear and say: the one rule, asked by whatever leads to a topic.
//!
//! A list of what is allowed (without one: everything), and a list of what is denied, which wins. What is malformed allows nothing.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use serde_json::Value;

use crate::topic::{Filter, covers, matches, overlap};

/// An access list. Equal lists share what is found out about them, so it can be compared and hashed quickly.
#[derive(Clone, Debug)]
pub struct Acl {
    /// Without a list everything is allowed that is not denied.
    allow: Option<Box<[Box<str>]>>,
    deny: Box<[Box<str>]>,
    hash: u64,
}

/// What an access list lets through of a topic or pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Nothing: it is refused.
    Nothing,
    /// A pattern of which each topic has to be asked for. It may turn out that none is allowed.
    Part,
    /// All of it.
    Whole,
}

/// Why a `wse_topics` claim is malformed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The gate: what a connection with this access list, if it has one, may do with a topic or pattern.
#[must_use]
pub fn admission(acl: Option<&Acl>, filter: Filter<'_>) -> Admission {
    acl.map_or(Admission::Whole, |acl| acl.admission(filter))
}

impl Acl {
    /// Builds a list. `allow` of `None` is everything, an empty one nothing.
    #[must_use]
    pub fn new(allow: Option<&[Filter<'_>]>, deny: &[Filter<'_>]) -> Self {
        let own = |filters: &[Filter<'_>]| {
            let mut texts: Box<[Box<str>]> = filters.iter().map(|filter| filter.as_str().into()).collect();
            texts.sort_unstable();
            texts
        };
        let (allow, deny) = (allow.map(own), own(deny));
        let hash = FixedState::default().hash_one((&allow, &deny));
        Self { allow, deny, hash }
    }

    /// The list that allows nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(Some(&[]), &[])
    }

    /// Reads a `wse_topics` claim, as JSON text: `{"allow": [...], "deny": [...]}` with one of them or both.
    ///
    /// # Errors
    /// [`Malformed`]. Whoever has such a claim gets [`Acl::nothing`].
    pub fn from_claim(json: &str) -> Result<Self, Malformed> {
        let Ok(Value::Object(members)) = serde_json::from_str(json) else {
            return Err(Malformed("it is no object with 'allow' or 'deny'"));
        };
        // A misspelt 'allow' must not allow everything.
        if members.is_empty() || members.keys().any(|name| name != "allow" && name != "deny") {
            return Err(Malformed("it has 'allow', 'deny' or both, and nothing else"));
        }
        let allow = members.get("allow").map(filters).transpose()?;
        let deny = members.get("deny").map(filters).transpose()?;
        Ok(Self::new(allow.as_deref(), deny.as_deref().unwrap_or_default()))
    }

    /// Whether a topic may be heard, or published to.
    #[must_use]
    pub fn allows(&self, topic: &str) -> bool {
        let meant = |patterns: &[Box<str>]| patterns.iter().any(|pattern| matches(pattern, topic));
        self.allow.as_deref().is_none_or(meant) && !meant(&self.deny)
    }

    /// What is let through of a topic or pattern.
    #[must_use]
    pub fn admission(&self, filter: Filter<'_>) -> Admission {
        if filter.is_pattern() {
            return self.of_pattern(filter.as_str());
        }
        if self.allows(filter.as_str()) { Admission::Whole } else { Admission::Nothing }
    }

    /// Says [`Admission::Whole`] and [`Admission::Nothing`] only where one pattern of a list alone is the reason; what takes several
    /// together is [`Admission::Part`], which is right for any pattern since each of its topics is asked for.
    fn of_pattern(&self, pattern: &str) -> Admission {
        if self.deny.iter().any(|denied| covers(denied, pattern)) {
            return Admission::Nothing;
        }
        if let Some(allow) = &self.allow {
            let is_of_use = |allowed: &str| {
                overlap(allowed, pattern) && !self.deny.iter().any(|denied| covers(denied, allowed))
            };
            if !allow.iter().any(|allowed| is_of_use(allowed)) {
                return Admission::Nothing;
            }
            if !allow.iter().any(|allowed| covers(allowed, pattern)) {
                return Admission::Part;
            }
        }
        if self.deny.iter().any(|denied| overlap(denied, pattern)) {
            Admission::Part
        } else {
            Admission::Whole
        }
    }
}

impl PartialEq for Acl {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.allow == other.allow && self.deny == other.deny
    }
}

impl Eq for Acl {}

impl Hash for Acl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

fn filters(value: &Value) -> Result<Vec<Filter<'_>>, Malformed> {
    let list = value.as_array().ok_or(Malformed("'allow' and 'deny' are lists"))?;
    let parse = |item| {
        let text = Value::as_str(item).ok_or(Malformed("'allow' and 'deny' are lists of text"))?;
        Filter::parse(text).map_err(|_| Malformed("a topic or pattern in it is malformed"))
    };
    list.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::parse(text).unwrap()
    }

    fn acl(allow: Option<&[&str]>, deny: &[&str]) -> Acl {
        let all = |texts: &[&str]| -> Vec<Filter<'static>> {
            texts.iter().map(|text| filter(Box::leak(Box::<str>::from(*text)))).collect()
        };
        Acl::new(allow.map(all).as_deref(), &all(deny))
    }

    /// All topics of up to four characters of an alphabet that has one that no pattern names.
    fn topics() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut at = 0;
        while all[at].chars().count() < 4 {
            for c in ['a', 'b', 'é'] {
                all.push(format!("{}{c}", all[at]));
            }
            at += 1;
        }
        all.split_off(1)
    }

    fn patterns(max: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab*?]{1,4}", 0..max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn never_whole_where_a_topic_is_denied_and_never_nothing_where_one_is_allowed(
            allow in prop::option::of(patterns(4)), deny in patterns(3), asked in "[ab*?]{1,4}",
        ) {
            let texts = |list: &[String]| list.iter().map(|text| text.clone().leak() as &str).collect::<Vec<_>>();
            let list = acl(allow.as_deref().map(texts).as_deref(), &texts(&deny));
            let meant: Vec<String> = topics().into_iter().filter(|topic| matches(&asked, topic)).collect();
            let allowed = meant.iter().filter(|topic| {
                let hit = |list: &[String]| list.iter().any(|pattern| matches(pattern, topic));
                let expected = allow.as_deref().is_none_or(hit) && !hit(&deny);
                assert_eq!(list.allows(topic), expected);
                expected
            }).count();
            match admission(Some(&list), filter(&asked)) {
                Admission::Whole => prop_assert_eq!(allowed, meant.len()),
                Admission::Nothing => prop_assert_eq!(allowed, 0),
                Admission::Part => prop_assert!(filter(&asked).is_pattern()),
            }
        }
    }

    #[test]
    fn what_people_write_is_decided_sharply() {
        let rooms = acl(Some(&["room:*", "user:7:*"]), &["room:secret*"]);
        for (asked, expected) in [
            ("room:1", Admission::Whole),
            ("room:secret", Admission::Nothing),
            ("other", Admission::Nothing),
            ("user:7:*", Admission::Whole),
            ("user:7:mail:?", Admission::Whole),
            ("user:*", Admission::Part),
            ("room:*", Admission::Part),
            ("room:a*", Admission::Whole),
            ("room:secret:*", Admission::Nothing),
            ("*", Admission::Part),
            ("other:*", Admission::Nothing),
        ] {
            assert_eq!(rooms.admission(filter(asked)), expected, "{asked}");
        }
        assert_eq!(acl(None, &["a*"]).admission(filter("b*")), Admission::Whole);
        assert_eq!(acl(None, &["*"]).admission(filter("b*")), Admission::Nothing);
        assert_eq!(acl(Some(&["secret:1"]), &["secret:*"]).admission(filter("*")), Admission::Nothing);
        assert_eq!(Acl::nothing().admission(filter("*")), Admission::Nothing);
        assert_eq!(admission(None, filter("*")), Admission::Whole);
    }

    #[test]
    fn a_claim_is_an_object_with_lists_of_patterns() {
        let read = Acl::from_claim(r#"{"allow": ["a.*", "b"], "deny": ["a.x"]}"#).unwrap();
        assert_eq!(read, acl(Some(&["b", "a.*"]), &["a.x"]), "the order does not matter");
        assert_eq!(Acl::from_claim(r#"{"deny":["x"]}"#).unwrap(), acl(None, &["x"]));
        assert_eq!(Acl::from_claim(r#"{"allow":[]}"#).unwrap(), Acl::nothing());
        for malformed in [
            "null",
            "true",
            "1",
            r#""*""#,
            "[]",
            r#"["*"]"#,
            "{}",
            r#"{"alow":["*"]}"#,
            r#"{"allow":["*"],"more":1}"#,
            r#"{"allow":null}"#,
            r#"{"deny":null}"#,
            r#"{"allow":"*"}"#,
            r#"{"allow":["*",1]}"#,
            r#"{"allow":["*"],"deny":["x",null]}"#,
            r#"{"allow":["*"],"deny":[""]}"#,
            r#"{"allow":["*","a\nb"]}"#,
            r#"{"allow":["*"]"#,
        ] {
            assert!(Acl::from_claim(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn long_patterns_are_decided_in_a_moment() {
        let (long, other) = ("a*".repeat(127), "?*".repeat(127));
        let list = acl(Some(&[&long, "*b"]), &[&other]);
        assert_eq!(list.admission(filter(&"*a".repeat(127))), Admission::Part);
    }
}
