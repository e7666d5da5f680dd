//! The fields of a body, each by its name and once; what is wrong with one is told with its path.

use std::borrow::Cow;
use std::fmt;

use super::Problem;
use crate::protocol::command::fields::{as_str, kind, name, quoted, text};
use crate::protocol::scan::{Elements, Members};
use crate::topic::{Filter, OwnedFilter};

/// Where an object lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It is the body.
    Body,
    /// It is an item of a list in the body.
    Item(&'static str, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::Item(list, at) => write!(f, "{list}[{at}]"),
        }
    }
}

/// An object of a text that is JSON.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    place: Place,
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Reads an object that has fields of these names and no others.
    pub(super) fn read(place: Place, value: &'a str, known: &[&str]) -> Result<Self, Problem> {
        if !value.starts_with('{') {
            return Err(Problem::field(format!("{place} must be an object, and is {}", kind(value))));
        }
        let mut fields = Self { place, members: Vec::with_capacity(known.len()) };
        for member in Members::new(value) {
            let name = name(member.key);
            if !known.contains(&&*name) {
                let path = fields.path(&quoted(&name));
                return Err(Problem::field(format!("{path} is no field; there are {}", known.join(", "))));
            }
            if fields.members.iter().any(|(before, _)| *before == name) {
                return Err(Problem::field(format!("{} is there twice", fields.path(&name))));
            }
            fields.members.push((name, as_str(member.value)));
        }
        Ok(fields)
    }

    /// How a field is called in an error.
    pub(super) fn path(&self, name: &str) -> String {
        match self.place {
            Place::Body => name.to_owned(),
            place => format!("{place}.{name}"),
        }
    }

    /// Whether there is a field, be it `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| member == name)
    }

    /// The value of a field as it is written; a `null` is as good as none.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.members.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| *value).filter(|value| *value != "null")
    }

    /// The error of a field that is not what it must be.
    pub(super) fn wrong(&self, name: &str, what: &str) -> Problem {
        let path = self.path(name);
        match self.get(name) {
            None => Problem::field(format!("{path} is missing: it must be {what}")),
            Some(value) => Problem::field(format!("{path} must be {what}, and is {}", kind(value))),
        }
    }

    /// A field that is a text if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        self.get(name).map(|value| text(value).ok_or_else(|| self.wrong(name, "a text"))).transpose()
    }

    /// A topic, no pattern.
    pub(super) fn topic(&self, name: &str) -> Result<OwnedFilter, Problem> {
        let topic = self.text(name)?.ok_or_else(|| self.wrong(name, "a text, the topic"))?;
        OwnedFilter::parse_exact(&topic)
            .map_err(|error| Problem::field(format!("{} is {}: {error}", self.path(name), quoted(&topic))))
    }

    /// An object, as it is written.
    pub(super) fn object(&self, name: &str, what: &str) -> Result<&'a str, Problem> {
        self.get(name).filter(|value| value.starts_with('{')).ok_or_else(|| self.wrong(name, what))
    }

    /// A list of at most `max` values, as they are written.
    pub(super) fn list(&self, name: &str, max: usize, what: &str) -> Result<Vec<&'a str>, Problem> {
        let value = self.get(name).filter(|value| value.starts_with('['));
        let value = value.ok_or_else(|| self.wrong(name, what))?;
        let items: Vec<&str> = Elements::new(value).map(as_str).take(max + 1).collect();
        if items.len() > max {
            let path = self.path(name);
            return Err(Problem::field(format!("{path} may have at most {max} items, and has more")));
        }
        Ok(items)
    }

    /// Topics and patterns, if they are there.
    pub(super) fn filters(&self, name: &str, max: usize) -> Result<Option<Vec<OwnedFilter>>, Problem> {
        if self.get(name).is_none() {
            return Ok(None);
        }
        let items = self.list(name, max, "a list of topics and patterns")?;
        let filter = |(at, item): (usize, &&str)| {
            let path = self.path(name);
            let text = text(item);
            let text = text.ok_or_else(|| {
                Problem::field(format!("{path}[{at}] must be a text, and is {}", kind(item)))
            })?;
            OwnedFilter::parse(&text)
                .map_err(|error| Problem::field(format!("{path}[{at}] is {}: {error}", quoted(&text))))
        };
        items.iter().enumerate().map(filter).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// A number if it is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let number = number.then(|| value.parse().ok()).flatten();
        number.map(Some).ok_or_else(|| self.wrong(name, "a number"))
    }
}

/// The filters of a list, borrowed.
pub(super) fn borrowed(filters: &[OwnedFilter]) -> Vec<Filter<'_>> {
    filters.iter().map(OwnedFilter::as_filter).collect()
}
