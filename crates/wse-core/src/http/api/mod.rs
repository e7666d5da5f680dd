//! The HTTP API: what requests mean and which of them are refused, as values. Whatever is done of it is done in `wse-node`.

mod fields;
mod key;
mod orders;
mod problem;
mod query;

pub use key::ApiKey;
pub use orders::{Limits, MAX_MESSAGES, MAX_TIMEOUT, Order, Publication, Wait, Whom, utf8};
pub use problem::Problem;
pub use query::{MAX_LIMIT, Question};

use super::body::{BadBody, Framing};
use super::request::{Request, SingleHeader};

/// What every path of the API begins with.
pub const PREFIX: &str = "/api/";
/// What `publish` may have beside the message: the topic, written with escapes, and the names.
const ENVELOPE: usize = 4096;
/// The longest body of many publications, unless one message may be longer.
const MANY_BYTES: usize = 8 << 20;
/// The longest body of an order about connections.
const ORDER_BYTES: usize = 256 << 10;

/// A path of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as its path")]
pub enum Route {
    Publish,
    PublishMany,
    Disconnect,
    RefreshAcl,
    Presence,
    History,
    Topics,
    Connections,
    Openapi,
}

impl Route {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Publish,
        Self::PublishMany,
        Self::Disconnect,
        Self::RefreshAcl,
        Self::Presence,
        Self::History,
        Self::Topics,
        Self::Connections,
        Self::Openapi,
    ];

    /// The one with this path.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.path() == path)
    }

    /// The path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Publish => "/api/publish",
            Self::PublishMany => "/api/publish_many",
            Self::Disconnect => "/api/disconnect",
            Self::RefreshAcl => "/api/refresh_acl",
            Self::Presence => "/api/presence",
            Self::History => "/api/history",
            Self::Topics => "/api/topics",
            Self::Connections => "/api/connections",
            Self::Openapi => "/api/openapi.json",
        }
    }

    /// Whether it only answers, and so is asked with GET.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Presence | Self::History | Self::Topics | Self::Connections | Self::Openapi)
    }

    /// The longest body.
    #[must_use]
    pub fn max_body(self, max_message_size: usize) -> usize {
        match self {
            Self::Publish => max_message_size + ENVELOPE,
            Self::PublishMany => MANY_BYTES.max(max_message_size + ENVELOPE),
            Self::Disconnect | Self::RefreshAcl => ORDER_BYTES,
            _ => 0,
        }
    }
}

/// The head of a request that may go on to its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What is asked.
    pub route: Route,
    /// The part of the target after `?`.
    pub query: String,
    /// How the end of the body is told.
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Another request may follow the answer.
    pub stays: bool,
    /// The answer goes without its body.
    pub without_body: bool,
}

/// Whether a path is the API's.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Decides about the head of a request below [`PREFIX`].
///
/// The key comes first: without it nothing is told but the description of the API.
///
/// # Errors
/// [`Problem`]; the connection ends with it, for its body is not read.
pub fn accept(request: &Request<'_>, key: &ApiKey) -> Result<Accepted, Problem> {
    let route = Route::of(request.path);
    if route != Some(Route::Openapi) && !key.is_in(request) {
        return Err(Problem::unauthorized());
    }
    let Some(route) = route else { return Err(Problem::no_path(request.path)) };
    let without_body = request.method == "HEAD" && route.is_read();
    match (route.is_read(), request.method) {
        (true, "GET" | "HEAD") | (false, "POST") => {}
        (true, _) => return Err(Problem::method(request.method, "Allow: GET, HEAD\r\n", "GET")),
        (false, _) => return Err(Problem::method(request.method, "Allow: POST\r\n", "POST")),
    }
    check_host(request)?;
    let framing = Framing::of(request).map_err(Problem::body)?;
    let mut expects_continue = false;
    if route.is_read() {
        if !matches!(framing, Framing::Absent | Framing::Length(0)) {
            return Err(Problem::request("a GET has no body here; what is asked for stands in the query"));
        }
    } else {
        check_media_type(request)?;
        if framing == Framing::Absent {
            return Err(Problem::length_required());
        }
        expects_continue = expects(request)?;
    }
    Ok(Accepted {
        route,
        query: request.query.to_owned(),
        framing,
        expects_continue,
        // Whoever has no key takes no place among those who stay.
        stays: route != Route::Openapi && stays(request),
        without_body,
    })
}

impl Accepted {
    /// Refuses a body that is longer than the route takes, as far as that is known.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn body(&self, max_message_size: usize) -> Result<super::Body, Problem> {
        super::Body::new(self.framing, self.route.max_body(max_message_size)).map_err(Problem::body)
    }
}

impl From<BadBody> for Problem {
    fn from(bad: BadBody) -> Self {
        Self::body(bad)
    }
}

/// "A server MUST respond with a 400 (Bad Request)" to several, and to none in HTTP/1.1 (RFC 9112, section 3.2).
fn check_host(request: &Request<'_>) -> Result<(), Problem> {
    match request.single_header("host") {
        SingleHeader::One(_) => Ok(()),
        SingleHeader::Absent if request.minor_version < 1 => Ok(()),
        _ => Err(Problem::request("the request needs exactly one Host header")),
    }
}

fn check_media_type(request: &Request<'_>) -> Result<(), Problem> {
    let wrong = || Problem::media_type("the body must be JSON: send Content-Type: application/json");
    let SingleHeader::One(value) = request.single_header("content-type") else { return Err(wrong()) };
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !media_type.eq_ignore_ascii_case(b"application/json") {
        return Err(wrong());
    }
    if request.header_list("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::media_type("the body must not be compressed: send it without Content-Encoding"));
    }
    Ok(())
}

/// Whether the client waits to be told to go on (RFC 9110, section 10.1.1). HTTP/1.0 can't be told.
fn expects(request: &Request<'_>) -> Result<bool, Problem> {
    let mut expectations = request.header_list("expect").peekable();
    if request.minor_version < 1 || expectations.peek().is_none() {
        return Ok(false);
    }
    if expectations.all(|expectation| expectation.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(true);
    }
    Err(Problem::expectation())
}

/// Whether the connection is meant to stay (RFC 9112, section 9.3).
fn stays(request: &Request<'_>) -> bool {
    if request.header_has("connection", "close") {
        return false;
    }
    request.minor_version >= 1 || request.header_has("connection", "keep-alive")
}

#[cfg(test)]
mod tests;
