//! What the server can be told: one struct, its defaults, and the rules that its values follow.
//!
//! `spec/options.toml` declares each option once; the struct and its defaults in `generated.rs` and the table [`OPTIONS`] in `spec.rs` come from
//! there. Written by hand are the rules that a table can't say: what a path or an origin looks like ([`format`](mod@format)), and which
//! options must agree with each other ([`Options::check`]).

mod error;
mod format;
mod generated;
mod pairs;
mod range;
mod secret;
pub mod spec;
mod spelling;

#[cfg(test)]
mod tests;

pub use error::{OptionError, OptionErrorKind};
pub use format::{network, origins, parse_origins};
pub use generated::{Compression, JwtAlgorithm, Options, SlowClient};
pub use ipnet::IpNet;
pub use secret::Secret;
pub use spec::OPTIONS;
pub use spelling::nearest;

impl Options {
    /// Decides whether a server can be made of this: each option by itself first, then those that must agree.
    ///
    /// # Errors
    /// [`OptionError`] names the first option that is wrong, its value (never a secret) and what is allowed.
    pub fn check(&self) -> Result<(), OptionError> {
        self.check_each()?;
        pairs::check(self)
    }
}

/// What messages and tools say about one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// As Python and Rust spell it.
    pub name: &'static str,
    /// The default, in Python's notation.
    pub default: &'static str,
    /// What one of it is.
    pub unit: &'static str,
    /// What is allowed, so that "must be ..." can stand before it.
    pub allowed: &'static str,
    /// What is allowed until the rest is built; empty if all of it is.
    pub built: &'static str,
    /// Whether its value may be shown to nobody.
    pub secret: bool,
}

impl OptionSpec {
    /// The error about a value of the wrong type.
    #[must_use]
    pub fn wrong_type(&self, value: impl Into<String>) -> OptionError {
        self.error(OptionErrorKind::Type, value.into(), self.allowed.to_owned())
    }

    /// The error about a value of the right type that is not allowed.
    #[must_use]
    pub fn wrong_value(&self, value: impl Into<String>) -> OptionError {
        self.wrong_value_for(value, self.allowed)
    }

    /// The same, where more is known about what is allowed here.
    #[must_use]
    pub fn wrong_value_for(&self, value: impl Into<String>, allowed: impl Into<String>) -> OptionError {
        self.error(OptionErrorKind::Value, value.into(), allowed.into())
    }

    /// The error about a value that asks for something that does not exist yet.
    #[must_use]
    pub fn not_built(&self, value: impl Into<String>) -> OptionError {
        self.error(OptionErrorKind::NotBuilt, value.into(), self.built.to_owned())
    }

    fn error(&self, kind: OptionErrorKind, value: String, allowed: String) -> OptionError {
        OptionError { option: self.name, value, allowed, kind }
    }
}

/// One of a few named values.
pub trait Choice: Copy + 'static {
    /// All of them, in the order of the reference.
    const ALL: &'static [Self];

    /// The name, as Python spells it.
    fn as_str(self) -> &'static str;

    /// The value of that name; case counts.
    #[must_use]
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.as_str() == name)
    }
}
