//! Bytes that nobody may see by accident.

use std::fmt;

/// A key or a password. It can be cloned and moved about; to read it takes [`expose`](Self::expose), which is easy to search for.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes. What is done with them must not end in a log, a message or a metric.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    /// Not even the length, which would tell a weak secret from a strong one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
