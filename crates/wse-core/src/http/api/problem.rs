//! Why a request is not answered as it wants: a status, a code for programs and a sentence for people.

use serde_json::json;

use crate::http::{BadBody, Response};

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The status.
    pub status: u16,
    /// What a program can look at.
    pub code: &'static str,
    /// What a person can read.
    pub message: String,
    /// How many messages of the request went out before.
    published: Option<usize>,
    /// Header lines beside the usual ones.
    extra: &'static str,
}

/// What every answer says: it is of this moment.
const NO_STORE: &str = "Cache-Control: no-store\r\n";
const RETRY: &str = "Cache-Control: no-store\r\nRetry-After: 1\r\n";

impl Problem {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), published: None, extra: NO_STORE }
    }

    fn with(self, extra: &'static str) -> Self {
        Self { extra, ..self }
    }

    /// There is no key, or a wrong one: which of the two is not told.
    pub(super) fn unauthorized() -> Self {
        let message = "the API needs its key: send Authorization: Bearer <api_key>, or X-API-Key";
        Self::new(401, "UNAUTHORIZED", message)
            .with("Cache-Control: no-store\r\nWWW-Authenticate: Bearer realm=\"wse\"\r\n")
    }

    pub(super) fn no_path(path: &str) -> Self {
        let shown: String = path.chars().take(80).collect();
        Self::new(
            404,
            "NOT_FOUND",
            format!("the API has no {shown:?}; GET /api/openapi.json tells what it has"),
        )
    }

    pub(super) fn method(method: &str, allow: &'static str, allowed: &str) -> Self {
        let shown: String = method.chars().take(20).collect();
        let message = format!("this path is asked with {allowed}, not with {shown}");
        let extra = match allow {
            "Allow: POST\r\n" => "Cache-Control: no-store\r\nAllow: POST\r\n",
            _ => "Cache-Control: no-store\r\nAllow: GET, HEAD\r\n",
        };
        Self::new(405, "METHOD_NOT_ALLOWED", message).with(extra)
    }

    /// The head of the request is wrong.
    pub(super) fn request(message: &str) -> Self {
        Self::new(400, "BAD_REQUEST", message)
    }

    pub(super) fn length_required() -> Self {
        Self::new(411, "LENGTH_REQUIRED", "the request needs Content-Length, or Transfer-Encoding: chunked")
    }

    pub(super) fn media_type(message: &str) -> Self {
        Self::new(415, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    pub(super) fn expectation() -> Self {
        Self::new(417, "EXPECTATION_FAILED", "the only expectation is 100-continue")
    }

    /// The body can't be read.
    #[must_use]
    pub fn body(bad: BadBody) -> Self {
        match bad {
            BadBody::TooLarge(_) => Self::too_large(bad.to_string()),
            BadBody::Coding => Self::new(501, "UNSUPPORTED_CODING", bad.to_string()),
            _ => Self::request(&bad.to_string()),
        }
    }

    /// A body or a message is longer than it may be.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "TOO_LARGE", message)
    }

    /// The request did not come in time.
    #[must_use]
    pub fn slow() -> Self {
        Self::new(408, "TIMEOUT", "the request took longer than handshake_timeout")
    }

    pub(super) fn no_json(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_JSON", message)
    }

    /// A field of the body or a parameter of the query is wrong; the message begins with its name.
    #[must_use]
    pub fn field(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_FIELD", message)
    }

    /// What is asked for is switched off.
    #[must_use]
    pub fn not_enabled(option: &str) -> Self {
        Self::new(409, "NOT_ENABLED", format!("this server was made without {option}"))
    }

    /// A list can't be gone on with.
    #[must_use]
    pub fn unknown_cursor() -> Self {
        let message =
            "after is a connection of another server, or of this one before it was started anew: begin again";
        Self::new(409, "UNKNOWN_CURSOR", message)
    }

    /// There was no room for a message in time; so many were published before it.
    #[must_use]
    pub fn no_room(published: usize) -> Self {
        let message =
            "there was no room for the message in time: its subscribers, or another node, are behind";
        Self { published: Some(published), ..Self::new(503, "OVERLOADED", message).with(RETRY) }
    }

    /// There are too many requests, or too much of them.
    #[must_use]
    pub fn busy() -> Self {
        let message = "too many requests are being answered; nothing was done";
        Self { published: Some(0), ..Self::new(503, "OVERLOADED", message).with(RETRY) }
    }

    /// The server ends.
    #[must_use]
    pub fn stopping(published: usize) -> Self {
        Self { published: Some(published), ..Self::new(503, "STOPPING", "the server stops") }
    }

    /// It is not known whether what was published is stored.
    #[must_use]
    pub fn not_stored() -> Self {
        let message =
            "it is not known whether the message is stored: it is published, and may be stored later";
        Self::new(504, "NOT_STORED", message)
    }

    /// The answer.
    #[must_use]
    pub fn to_response(&self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(published) = self.published {
            error["published"] = published.into();
        }
        Response::json(self.status, json!({ "error": error }).to_string()).with(self.extra)
    }
}
