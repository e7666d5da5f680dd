//! The bodies of requests that do something.

use std::ops::Range;
use std::time::Duration;

use super::fields::{Fields, Place, borrowed};
use super::{Problem, Route};
use crate::acl::Acl;
use crate::protocol::command::check::{Broken, MAX_DEPTH, check};
use crate::protocol::command::fields::{name, quoted};
use crate::protocol::scan::Members;
use crate::topic::OwnedFilter;
use crate::websocket::close::{MAX_REASON, may_be_sent};

/// The most messages in one request.
pub const MAX_MESSAGES: usize = 10_000;
/// The longest time that somebody can wait for "stored".
pub const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// The same where none is given.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most topics and patterns in one access list.
const MAX_FILTERS: usize = 4096;

/// What the server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `max_message_size`.
    pub max_message_size: usize,
}

/// What a request wants to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Messages, in this order.
    Publish {
        /// Each with its topic.
        publications: Vec<Publication>,
        /// When it is answered.
        wait: Wait,
    },
    /// Connections are to be closed.
    Disconnect {
        /// Whose.
        whom: Whom,
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// Connections get another access list, or none.
    RefreshAcl {
        /// Whose.
        whom: Whom,
        /// The list.
        acl: Option<Acl>,
    },
}

/// A message for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// One topic, no pattern.
    pub topic: OwnedFilter,
    /// Where in the body the message stands, a JSON object as it was written.
    pub data: Range<usize>,
}

/// When a publication is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// When this node has taken it.
    Local,
    /// When home and replicas hold it, or after this time.
    Stored(Duration),
}

/// Whose connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One connection's.
    Connection(String),
    /// All of a user's at this node.
    User(String),
}

impl Order {
    /// Reads the body of a request. Whatever it says is checked before any of it is done.
    ///
    /// # Errors
    /// [`Problem`] names what is wrong, and where.
    ///
    /// # Panics
    /// The route is one that only answers.
    pub fn parse(route: Route, body: &str, limits: &Limits) -> Result<Self, Problem> {
        check(body).map_err(|broken| match broken {
            Broken::NoJson(error) => Problem::no_json(format!("the body is no JSON: {error}")),
            Broken::TooDeep => Problem::no_json(format!("the body is nested deeper than {MAX_DEPTH} levels")),
        })?;
        let root = body.trim_matches([' ', '\t', '\r', '\n']);
        match route {
            Route::Publish => publish(body, root, limits),
            Route::PublishMany => publish_many(body, root, limits),
            Route::Disconnect => disconnect(root),
            Route::RefreshAcl => refresh_acl(root),
            _ => unreachable!("GET has no body"),
        }
    }
}

/// Takes a body for text.
///
/// # Errors
/// [`Problem`] says where it is none.
pub fn utf8(body: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(body).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::no_json(format!("the body is no UTF-8 at byte {at}"))
    })
}

fn publish(body: &str, root: &str, limits: &Limits) -> Result<Order, Problem> {
    let fields = Fields::read(Place::Body, root, &["topic", "data", "wait", "timeout"])?;
    let publication = publication(body, &fields, limits)?;
    Ok(Order::Publish { publications: vec![publication], wait: wait(&fields)? })
}

fn publish_many(body: &str, root: &str, limits: &Limits) -> Result<Order, Problem> {
    let fields = Fields::read(Place::Body, root, &["messages", "wait", "timeout"])?;
    let items = fields.list("messages", MAX_MESSAGES, "a list of messages")?;
    let publication = |(at, item): (usize, &&str)| {
        let fields = Fields::read(Place::Item("messages", at), item, &["topic", "data"])?;
        publication(body, &fields, limits)
    };
    let publications = items.iter().enumerate().map(publication).collect::<Result<_, _>>()?;
    Ok(Order::Publish { publications, wait: wait(&fields)? })
}

fn publication(body: &str, fields: &Fields<'_>, limits: &Limits) -> Result<Publication, Problem> {
    let topic = fields.topic("topic")?;
    let data = fields.object("data", "an object, the message")?;
    if data.len() > limits.max_message_size {
        let (path, len, limit) = (fields.path("data"), data.len(), limits.max_message_size);
        return Err(Problem::too_large(format!("{path} has {len} bytes, and max_message_size is {limit}")));
    }
    for member in Members::new(data) {
        let name = name(member.key);
        if matches!(&*name, "tp" | "e" | "o") {
            let path = fields.path(&format!("data.{name}"));
            return Err(Problem::field(format!(
                "{path} must not be there: the server writes tp (topic), e (epoch) and o (offset)"
            )));
        }
    }
    Ok(Publication { topic, data: range_in(body, data) })
}

/// Where a part of a text lies in it.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    debug_assert_eq!(whole.get(start..start + part.len()), Some(part), "a part lies in its whole");
    start..start + part.len()
}

fn wait(fields: &Fields<'_>) -> Result<Wait, Problem> {
    let most = MAX_TIMEOUT.as_secs();
    let timeout = match fields.number("timeout")? {
        None => TIMEOUT,
        Some(seconds) if (0.0..=MAX_TIMEOUT.as_secs_f64()).contains(&seconds) => {
            Duration::from_secs_f64(seconds)
        }
        Some(seconds) => {
            let message = format!("timeout must be 0 to {most} seconds, and is {seconds}");
            return Err(Problem::field(message));
        }
    };
    match fields.text("wait")?.as_deref() {
        None | Some("local") => Ok(Wait::Local),
        Some("stored") => Ok(Wait::Stored(timeout)),
        Some(other) => {
            let message = format!("wait must be \"local\" or \"stored\", and is {}", quoted(other));
            Err(Problem::field(message))
        }
    }
}

fn whom(fields: &Fields<'_>) -> Result<Whom, Problem> {
    let connection = fields.text("connection_id")?.map(|id| Whom::Connection(id.into_owned()));
    let user = fields.text("user_id")?.map(|id| Whom::User(id.into_owned()));
    match (connection, user) {
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (None, None) => Err(Problem::field("connection_id or user_id is missing: one of them says whose")),
        _ => Err(Problem::field("connection_id and user_id exclude each other")),
    }
}

fn disconnect(root: &str) -> Result<Order, Problem> {
    let fields = Fields::read(Place::Body, root, &["connection_id", "user_id", "code", "reason"])?;
    let whom = whom(&fields)?;
    let code = match fields.number("code")? {
        None => 1000,
        Some(number) => Some(number as u16)
            .filter(|code| f64::from(*code) == number && may_be_sent(*code))
            .ok_or_else(|| {
            let allowed = "1000-1003, 1007-1014 or 3000-4999 (RFC 6455, section 7.4)";
            Problem::field(format!("code must be {allowed}, and is {number}"))
        })?,
    };
    let reason = fields.text("reason")?.unwrap_or_default().into_owned();
    if reason.len() > MAX_REASON {
        let len = reason.len();
        return Err(Problem::field(format!("reason must have at most {MAX_REASON} bytes, and has {len}")));
    }
    Ok(Order::Disconnect { whom, code, reason })
}

fn refresh_acl(root: &str) -> Result<Order, Problem> {
    let fields = Fields::read(Place::Body, root, &["connection_id", "user_id", "allow", "deny"])?;
    let whom = whom(&fields)?;
    if !fields.has("allow") && !fields.has("deny") {
        // A forgotten field must not allow everything.
        return Err(Problem::field("allow or deny is missing: null for both takes the access list away"));
    }
    let allow = fields.filters("allow", MAX_FILTERS)?;
    let deny = fields.filters("deny", MAX_FILTERS)?;
    let acl = (allow.is_some() || deny.is_some()).then(|| {
        let allow = allow.as_deref().map(borrowed);
        Acl::new(allow.as_deref(), &borrowed(deny.as_deref().unwrap_or_default()))
    });
    Ok(Order::RefreshAcl { whom, acl })
}
