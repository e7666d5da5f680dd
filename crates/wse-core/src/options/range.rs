//! Numbers within their range, and values as a message shows them.

use std::time::Duration;

use super::{OptionError, OptionSpec};

/// The longest value that a message repeats, in characters.
const MAX_SHOWN: usize = 100;

pub(super) fn integer(spec: &OptionSpec, value: usize, low: u64, high: u64) -> Result<(), OptionError> {
    if (low..=high).contains(&(value as u64)) { Ok(()) } else { Err(spec.wrong_value(value.to_string())) }
}

pub(super) fn seconds(
    spec: &OptionSpec,
    value: Duration,
    low: Duration,
    high: Duration,
) -> Result<(), OptionError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(spec.wrong_value(shown_seconds(value))) }
}

/// A NaN is in no range.
pub(super) fn number(spec: &OptionSpec, value: f64, low: f64, high: f64) -> Result<(), OptionError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(spec.wrong_value(value.to_string())) }
}

pub(super) fn shown_seconds(value: Duration) -> String {
    value.as_secs_f64().to_string()
}

/// Text in Python's quotes, cut where it would make a message unreadable.
pub(super) fn text(value: &str) -> String {
    let shown: String = value.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    let quote = if shown.contains("\\'") && !shown.contains("\\\"") { '"' } else { '\'' };
    // `escape_debug` escapes both quotes, of which only the one around the text needs it.
    let other = if quote == '"' { "\\'" } else { "\\\"" };
    let shown = shown.replace(other, &other[1..]);
    let more = if value.chars().nth(MAX_SHOWN).is_some() { "..." } else { "" };
    format!("{quote}{shown}{more}{quote}")
}
