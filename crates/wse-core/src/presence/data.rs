//! What a user shows of itself.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The text of a JSON object, shared by all who show or tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Arc<str>);

/// Presence data are longer than `presence_max_data_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("presence data of {len} bytes as JSON: presence_max_data_size is {limit}")]
pub struct TooLarge {
    /// Their bytes.
    pub len: usize,
    /// `presence_max_data_size`.
    pub limit: usize,
}

impl Data {
    /// Takes the text of a JSON object, if it is short enough.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn new(json: &str, limit: usize) -> Result<Self, TooLarge> {
        debug_assert!(json.starts_with('{') && json.ends_with('}'), "presence data are an object");
        let len = json.len();
        if len > limit { Err(TooLarge { len, limit }) } else { Ok(Self(json.into())) }
    }

    /// The data of somebody who shows nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// The JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
