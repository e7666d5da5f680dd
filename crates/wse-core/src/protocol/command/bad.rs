//! What is wrong with a command.

use super::Cid;
use crate::protocol::codes::ErrorCode;

/// A command that can't be obeyed. The connection goes on, and nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCommand {
    /// The code of the `error` that answers.
    pub code: ErrorCode,
    /// The field, what is wrong with it, and what is allowed.
    pub message: String,
    /// What the client called its command, if that could be read.
    pub cid: Option<Cid>,
}

impl BadCommand {
    /// A field is missing, or is of a wrong type or size.
    pub(super) fn action(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidAction, message: message.into(), cid: None }
    }

    /// A topic is malformed, or what is asked of it can't be combined.
    pub(super) fn subscription(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidSubscription, message: message.into(), cid: None }
    }

    /// What was asked for is not the client's to do.
    pub(super) fn not_allowed(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::NotAllowed, message: message.into(), cid: None }
    }
}
