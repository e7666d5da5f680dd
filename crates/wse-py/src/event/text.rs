//! The members of an event, those of the envelope apart from the rest.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use wse_core::encoding::envelope::Event;
use wse_core::protocol::quote::quote;

use super::trouble::{Step, Trouble};
use super::value::{check_keys, key_text, utf8, within_key, write_value};
use crate::arguments::type_name;

/// An event as JSON text, in pieces.
#[derive(Debug, Default)]
pub(crate) struct EventText {
    /// The values of the envelope's members, one behind the other.
    text: String,
    /// Where in it each is.
    places: [Option<(usize, usize)>; Member::COUNT],
    /// All other members, each with a comma before it.
    more: String,
}

/// What the envelope has.
#[derive(Clone, Copy)]
enum Member {
    C,
    T,
    Id,
    Ts,
    Seq,
    P,
    V,
}

impl Member {
    const COUNT: usize = 7;

    /// The member of a name, and whether the name is its long form.
    fn named(name: &str) -> Option<(Self, bool)> {
        Some(match name {
            "c" => (Self::C, false),
            "t" => (Self::T, false),
            "type" => (Self::T, true),
            "id" => (Self::Id, false),
            "ts" => (Self::Ts, false),
            "seq" => (Self::Seq, false),
            "p" => (Self::P, false),
            "payload" => (Self::P, true),
            "v" => (Self::V, false),
            _ => return None,
        })
    }

    /// Whether None says that it is to be filled in, as if it had been left out.
    fn is_filled_in(self) -> bool {
        !matches!(self, Self::T | Self::P)
    }
}

impl EventText {
    /// Writes an event.
    ///
    /// # Errors
    /// `TypeError` and `ValueError` that say where in the event something has no JSON form, or that it has no type.
    pub(crate) fn of(event: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Ok(dict) = event.cast::<PyDict>() else {
            let message = format!("event must be a dict, not {}", type_name(event));
            return Err(pyo3::exceptions::PyTypeError::new_err(message));
        };
        let mut out = Self { text: String::with_capacity(512), ..Self::default() };
        out.write(dict)?;
        Ok(out)
    }

    fn write(&mut self, dict: &Bound<'_, PyDict>) -> Result<(), Trouble> {
        let mut converted = false;
        for (key, value) in dict.iter() {
            if let Ok(name) = key.cast_exact::<PyString>() {
                let name = utf8(name)?;
                self.member(dict, name, &value).map_err(|trouble| within_key(trouble, &key))?;
            } else {
                converted = true;
                self.member(dict, &key_text(&key)?, &value).map_err(|trouble| within_key(trouble, &key))?;
            }
        }
        if converted {
            check_keys(dict)?;
        }
        self.check_type()
    }

    fn member(
        &mut self,
        dict: &Bound<'_, PyDict>,
        name: &str,
        value: &Bound<'_, PyAny>,
    ) -> Result<(), Trouble> {
        match Member::named(name) {
            Some((member, is_long)) if !is_long || !has_short(dict, member)? => {
                if value.is_none() && member.is_filled_in() {
                    return Ok(());
                }
                let start = self.text.len();
                write_value(&mut self.text, value, 1)?;
                self.places[member as usize] = Some((start, self.text.len()));
            }
            _ => {
                self.more.push(',');
                quote(name, &mut self.more, usize::MAX);
                self.more.push(':');
                write_value(&mut self.more, value, 1)?;
            }
        }
        Ok(())
    }

    fn check_type(&self) -> Result<(), Trouble> {
        match self.get(Member::T) {
            None => Err(Trouble::of_value("has no type; allowed: a dict with a text 't' (or 'type')")),
            Some(kind) if kind.starts_with('"') => Ok(()),
            Some(_) => {
                Err(Trouble::of_type("is no text; an event's type is one").within(Step::Key("t".into())))
            }
        }
    }

    #[inline]
    fn get(&self, member: Member) -> Option<&str> {
        self.places[member as usize].map(|(start, end)| &self.text[start..end])
    }

    /// The members, for the envelope to be made of them.
    pub(crate) fn event(&self) -> Event<'_> {
        Event {
            c: self.get(Member::C),
            t: self.get(Member::T).unwrap_or("\"\""),
            id: self.get(Member::Id),
            ts: self.get(Member::Ts),
            seq: self.get(Member::Seq),
            p: self.get(Member::P),
            more: &self.more,
            v: self.get(Member::V),
        }
    }
}

/// Whether an event has a member under its short name too: then the long name is any other.
fn has_short(dict: &Bound<'_, PyDict>, member: Member) -> PyResult<bool> {
    let py = dict.py();
    match member {
        Member::T => dict.contains(intern!(py, "t")),
        Member::P => dict.contains(intern!(py, "p")),
        _ => Ok(false),
    }
}
