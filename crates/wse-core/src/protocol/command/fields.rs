//! The fields of a command: values as written, by name, each name once.
//!
//! The text has been [checked](super::check) before, so that what is taken out of it is JSON.

use std::borrow::Cow;

use super::BadCommand;
use crate::protocol::scan::{Elements, Members};

/// Fields that one object of a command may have, beside those whose names are topics.
pub(super) const MAX_FIELDS: usize = 64;

/// The members of one object.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// How an error calls the object: `p`, or a field in it.
    path: &'static str,
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Reads an object of at most `max` members.
    ///
    /// # Errors
    /// It is no object, has more members, or one of them twice. Of two the last would count for one reader and the first for another.
    pub(super) fn read(path: &'static str, value: Option<&'a str>, max: usize) -> Result<Self, BadCommand> {
        let value = value.unwrap_or("null");
        if !value.starts_with('{') {
            return Err(BadCommand::action(format!("{path} must be an object, and is {}", kind(value))));
        }
        let mut members: Vec<(Cow<'a, str>, &'a str)> = Vec::new();
        for member in Members::new(value) {
            if members.len() == max {
                return Err(BadCommand::action(format!(
                    "{path} may have at most {max} fields, and has more"
                )));
            }
            members.push((name(member.key), as_str(member.value)));
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BadCommand::action(format!("{path} has the field {} twice", quoted(pair[0]))));
        }
        Ok(Self { path, members })
    }

    /// The value of a field as it is written; a `null` is as good as none.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.members.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| *value).filter(|value| *value != "null")
    }

    /// All of them, in the order of the text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Cow<'a, str>, &'a str)> {
        self.members.iter().map(|(name, value)| (name, *value))
    }

    /// A field that must be there and be a text.
    pub(super) fn text(&self, name: &str) -> Result<Cow<'a, str>, BadCommand> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name, "a text"))
    }

    /// A field that is a text if it is there.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<Cow<'a, str>>, BadCommand> {
        let text = |value| text(value).ok_or_else(|| self.wrong(name, "a text"));
        self.get(name).map(text).transpose()
    }

    /// A field that is `true` or `false` if it is there.
    pub(super) fn optional_bool(&self, name: &str) -> Result<Option<bool>, BadCommand> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A field that is a list of at most `max` values: them as they are written.
    pub(super) fn list(&self, name: &str, max: usize) -> Result<Vec<&'a str>, BadCommand> {
        let value = self.get(name).filter(|value| value.starts_with('['));
        let value = value.ok_or_else(|| self.wrong(name, "a list"))?;
        let items: Vec<&str> = Elements::new(value).map(as_str).take(max + 1).collect();
        if items.len() > max {
            let path = self.path;
            return Err(BadCommand::action(format!(
                "{path}.{name} may have at most {max} items, and has more"
            )));
        }
        Ok(items)
    }

    /// The error of a field that is not what it must be.
    pub(super) fn wrong(&self, name: &str, what: &str) -> BadCommand {
        let path = self.path;
        match self.get(name) {
            None => BadCommand::action(format!("{path}.{name} is missing: it must be {what}")),
            Some(value) => {
                BadCommand::action(format!("{path}.{name} must be {what}, and is {}", kind(value)))
            }
        }
    }
}

/// The text that a value is, if it is one.
pub(crate) fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(value).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// A name as it is meant; one that can't be read is left as it is written, and is none of ours.
pub(crate) fn name(key: &[u8]) -> Cow<'_, str> {
    if key.contains(&b'\\') {
        let quoted = [b"\"", key, b"\""].concat();
        if let Ok(name) = serde_json::from_slice::<String>(&quoted) {
            return Cow::Owned(name);
        }
    }
    Cow::Borrowed(as_str(key))
}

/// A part of a text, cut where JSON has ASCII characters.
pub(crate) fn as_str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// What kind of value something is, as an error says it.
pub(crate) fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') | None => "nothing",
        _ => "a number",
    }
}

/// A stranger's text in an error: in quotes, on one line, and not all of it if it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 64;
    let mut shown = String::from("\"");
    for c in text.chars() {
        if shown.len() > SHOWN {
            return shown + "\"...";
        }
        shown.extend(c.escape_debug());
    }
    shown + "\""
}
