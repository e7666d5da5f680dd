//! What is wrong with an option, in a sentence that says how to mend it.

use std::fmt;

/// An option that can't be used as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// Its name.
    pub option: &'static str,
    /// What was given, in Python's notation. Of a secret it says no more than the type and the size.
    pub value: String,
    /// What is allowed in its place.
    pub allowed: String,
    /// How it is wrong, which decides about the exception that Python sees.
    pub kind: OptionErrorKind,
}

/// How an option is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionErrorKind {
    /// It has another type.
    Type,
    /// It has the type, but not a value that is allowed.
    Value,
    /// It is a key that can't be used; `value` says what it is, such as "is a certificate".
    Key,
    /// It asks for something that does not exist yet.
    NotBuilt,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, value, allowed, kind } = self;
        match kind {
            OptionErrorKind::Type | OptionErrorKind::Value => {
                write!(f, "{option} must be {allowed}, got {value}")
            }
            OptionErrorKind::Key => write!(f, "{option} {value}; {allowed}"),
            OptionErrorKind::NotBuilt => {
                write!(f, "{option}={value} is not built yet; for now {option} must be {allowed}")
            }
        }
    }
}

impl std::error::Error for OptionError {}
