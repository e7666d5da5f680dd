//! The queries of requests that only answer.

use std::borrow::Cow;

use super::{Problem, Route};
use crate::conn_id;
use crate::history::{Epoch, Position};
use crate::protocol::command::fields::quoted;
use crate::topic::OwnedFilter;

/// The most items in one answer.
pub const MAX_LIMIT: usize = 1000;
/// How many there are where no `limit` is given.
const LIMIT: usize = 100;

/// What a request wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who is present in a topic.
    Presence {
        /// Which.
        topic: OwnedFilter,
        /// The user after whom it goes on.
        after: Option<String>,
        /// How many.
        limit: usize,
    },
    /// The messages of a topic.
    History {
        /// Which.
        topic: OwnedFilter,
        /// After which; without it the newest are meant.
        since: Option<Position>,
        /// How many.
        limit: usize,
    },
    /// The topics that have subscribers.
    Topics {
        /// Which.
        pattern: Option<OwnedFilter>,
        /// The topic after which it goes on.
        after: Option<String>,
        /// How many.
        limit: usize,
    },
    /// Who is connected.
    Connections {
        /// Whose.
        user_id: Option<String>,
        /// The connection after which it goes on.
        after: Option<String>,
        /// How many.
        limit: usize,
    },
}

impl Question {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// [`Problem`] names the parameter that is wrong.
    ///
    /// # Panics
    /// The route is one that does something, or has no question.
    pub fn parse(route: Route, query: &str) -> Result<Self, Problem> {
        let known: &[&str] = match route {
            Route::Presence => &["topic", "after", "limit"],
            Route::History => &["topic", "since_epoch", "since_offset", "limit"],
            Route::Topics => &["pattern", "after", "limit"],
            Route::Connections => &["user_id", "after", "limit"],
            _ => unreachable!("what it wants stands in its body"),
        };
        let mut parameters = Parameters::read(query, known)?;
        let limit = parameters.limit()?;
        Ok(match route {
            Route::Presence => {
                Self::Presence { topic: parameters.topic()?, after: parameters.take("after"), limit }
            }
            Route::History => Self::History { topic: parameters.topic()?, since: parameters.since()?, limit },
            Route::Topics => {
                Self::Topics { pattern: parameters.pattern()?, after: parameters.take("after"), limit }
            }
            _ => Self::Connections {
                user_id: parameters.take("user_id"),
                after: parameters.connection("after")?,
                limit,
            },
        })
    }
}

struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(query: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut read: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| not_readable(&quoted(name)))?;
            if !known.contains(&&*name) {
                let message = format!("{} is no parameter; there are {}", quoted(&name), known.join(", "));
                return Err(Problem::field(message));
            }
            if read.iter().any(|(before, _)| *before == name) {
                return Err(Problem::field(format!("{name} is there twice")));
            }
            let value = decode(value).ok_or_else(|| not_readable(&name))?;
            read.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(read))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn limit(&mut self) -> Result<usize, Problem> {
        let Some(text) = self.take("limit") else { return Ok(LIMIT) };
        decimal(&text)
            .filter(|limit| (1..=MAX_LIMIT as u64).contains(limit))
            .map(|limit| limit as usize)
            .ok_or_else(|| {
                Problem::field(format!("limit must be 1 to {MAX_LIMIT}, and is {}", quoted(&text)))
            })
    }

    fn connection(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(id) = self.take(name) else { return Ok(None) };
        let digits = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && id.len() == conn_id::TEXT_LEN {
            return Ok(Some(id));
        }
        Err(Problem::field(format!("{name} must be the id of a connection, and is {}", quoted(&id))))
    }

    fn topic(&mut self) -> Result<OwnedFilter, Problem> {
        let missing = || Problem::field("topic is missing: it must be a topic");
        let text = self.take("topic").ok_or_else(missing)?;
        OwnedFilter::parse_exact(&text)
            .map_err(|error| Problem::field(format!("topic is {}: {error}", quoted(&text))))
    }

    fn pattern(&mut self) -> Result<Option<OwnedFilter>, Problem> {
        let Some(text) = self.take("pattern") else { return Ok(None) };
        OwnedFilter::parse(&text)
            .map(Some)
            .map_err(|error| Problem::field(format!("pattern is {}: {error}", quoted(&text))))
    }

    fn since(&mut self) -> Result<Option<Position>, Problem> {
        let (epoch, offset) = match (self.take("since_epoch"), self.take("since_offset")) {
            (None, None) => return Ok(None),
            (Some(epoch), Some(offset)) => (epoch, offset),
            _ => return Err(Problem::field("since_epoch and since_offset go together: they are a position")),
        };
        let epoch = Epoch::parse(&epoch).ok_or_else(|| {
            let what = "eight hexadecimal digits in lower case";
            Problem::field(format!("since_epoch must be {what}, and is {}", quoted(&epoch)))
        })?;
        let offset = decimal(&offset).ok_or_else(|| {
            Problem::field(format!("since_offset must be a number from 0 on, and is {}", quoted(&offset)))
        })?;
        Ok(Some(Position { epoch, offset }))
    }
}

fn not_readable(name: &str) -> Problem {
    Problem::field(format!("{name} can't be read: bytes are written as %XX, and are UTF-8"))
}

fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A name or a value as forms write them: `+` for a space, `%XX` for bytes.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['+', '%']) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}
