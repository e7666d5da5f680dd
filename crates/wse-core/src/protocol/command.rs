//! What a text message from a client is: a word of the protocol, or the application's own.

mod bad;
pub(crate) mod check;
mod client_hello;
pub(crate) mod fields;
mod presence_update;
mod publish;
mod subscription;

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;
use serde_json::Value;

use self::check::{Broken, check};
use self::fields::{as_str, kind, name, text};
use self::subscription::Subscription;
use super::scan::Members;

pub use self::bad::BadCommand;
pub use self::check::MAX_DEPTH;
pub use self::client_hello::ClientHello;
pub use self::presence_update::PresenceUpdate;
pub use self::publish::Publish;
pub use self::subscription::{MAX_TOPICS, Subscribe, Unsubscribe, Wanted};

/// A message as the engine sees it.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    /// Not ours: handed to the application.
    Application,
    /// `ping {"timestamp"}`: answered with PONG.
    Ping {
        /// The client's timestamp, whatever it is.
        timestamp: Value,
    },
    /// `pong`: the answer to the server's ping, a sign of life and no more.
    Pong,
    /// `client_hello`: answered with `server_hello`.
    ClientHello(ClientHello),
    /// `auth_refresh {"token"}`: a fresh token for a connection that has one. Where no token was asked for it is the application's.
    AuthRefresh {
        /// The token, if it is a text.
        token: Option<String>,
    },
    /// `subscription_update` with the action `subscribe`.
    Subscribe(Subscribe),
    /// `subscription_update` with the action `unsubscribe`.
    Unsubscribe(Unsubscribe),
    /// `publish`.
    Publish(Publish<'a>),
    /// `presence_update`.
    PresenceUpdate(PresenceUpdate<'a>),
    /// One of the last four that can't be obeyed.
    Bad(BadCommand),
}

/// What clients may do themselves. The commands for the rest are no words of the protocol: they reach the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientMay {
    /// `client_subscriptions`: subscribe, unsubscribe, and say what others see of them.
    pub subscribe: bool,
    /// `client_publish`.
    pub publish: bool,
}

/// What a client calls a command, so that it knows the answer: `cid`, 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cid(Box<str>);

/// The longest `cid`, in bytes.
pub const MAX_CID_BYTES: usize = 128;

impl Cid {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn read(value: Option<&str>) -> Result<Option<Self>, BadCommand> {
        let Some(value) = value.filter(|value| *value != "null") else { return Ok(None) };
        match text(value) {
            None => Err(BadCommand::action(format!("cid must be a text, and is {}", kind(value)))),
            Some(cid) if (1..=MAX_CID_BYTES).contains(&cid.len()) => Ok(Some(Self(cid.into()))),
            Some(cid) => {
                let len = cid.len();
                Err(BadCommand::action(format!("cid must have 1 to {MAX_CID_BYTES} bytes, and has {len}")))
            }
        }
    }
}

/// Removes the prefix that old clients put before JSON (`WSE{`, `S{`, `U{`).
#[must_use]
#[inline]
pub fn strip_prefix(text: &str) -> &str {
    &text[prefix_len(text.as_bytes())..]
}

/// The length of that prefix, 0 where there is none.
#[must_use]
#[inline]
pub fn prefix_len(text: &[u8]) -> usize {
    match text {
        [b'S' | b'U', b'{', ..] => 1,
        [b'W', b'S', b'E', b'{', ..] => 3,
        _ => 0,
    }
}

impl<'a> Command<'a> {
    /// Looks for the type of a message, and parses the rest only if it may be one of ours.
    ///
    /// Of members with the same name the last counts, as in Python's `json`, and `t` goes before `type`: what the protocol and the
    /// application make of a message must not differ. A command to which that matters is refused all the same.
    #[must_use]
    #[inline]
    pub fn parse(text: &'a str, may: ClientMay) -> Self {
        let mut kind = None;
        let mut members = Members::new(text);
        for member in members.by_ref() {
            match member.key {
                b"t" => {
                    kind = Some(member.value);
                    break;
                }
                b"type" => kind = Some(member.value),
                _ => {}
            }
        }
        let ours = kind.is_some_and(|kind| Word::quoted(kind, may).is_some());
        if ours || may_say_more(text.as_bytes(), members.position()) {
            return Self::parse_whole(text, may);
        }
        Self::Application
    }

    /// Decides with a look at all of the message.
    fn parse_whole(text: &'a str, may: ClientMay) -> Self {
        let envelope = Envelope::read(text);
        let Some(word) = envelope.word(may) else { return Self::Application };
        match check(text) {
            Ok(()) => envelope.command(word).unwrap_or_else(Self::Bad),
            // What is not JSON after all is the application's, unless it was meant for nobody but the server.
            Err(Broken::NoJson(_)) if !word.is_order() => Self::Application,
            Err(broken) => Self::Bad(BadCommand::action(broken.to_string())),
        }
    }
}

/// The types of messages that are for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Ping,
    Pong,
    ClientHello,
    AuthRefresh,
    Subscription,
    Publish,
    PresenceUpdate,
}

impl Word {
    /// The word that a type with its quotes is.
    #[inline]
    fn quoted(kind: &[u8], may: ClientMay) -> Option<Self> {
        let word = match kind {
            b"\"ping\"" => Self::Ping,
            b"\"pong\"" | b"\"PONG\"" => Self::Pong,
            b"\"client_hello\"" => Self::ClientHello,
            b"\"auth_refresh\"" => Self::AuthRefresh,
            b"\"subscription_update\"" | b"\"subscription\"" => Self::Subscription,
            b"\"publish\"" => Self::Publish,
            b"\"presence_update\"" => Self::PresenceUpdate,
            _ => return None,
        };
        match word {
            Self::Subscription | Self::PresenceUpdate if !may.subscribe => None,
            Self::Publish if !may.publish => None,
            word => Some(word),
        }
    }

    /// Whether it asks for something to be done, so that a mistake in it is worth an answer.
    fn is_order(self) -> bool {
        matches!(self, Self::Subscription | Self::Publish | Self::PresenceUpdate)
    }
}

/// The members of a message that decide what it is, as they are written.
#[derive(Debug, Default)]
struct Envelope<'a> {
    t: Option<&'a str>,
    long_t: Option<&'a str>,
    p: Option<&'a str>,
    long_p: Option<&'a str>,
    cid: Option<&'a str>,
    /// One of them came twice.
    repeated: Option<&'static str>,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Self {
        let mut envelope = Self::default();
        for member in Members::new(text) {
            let (place, name) = match &*name(member.key) {
                "t" => (&mut envelope.t, "t"),
                "type" => (&mut envelope.long_t, "type"),
                "p" => (&mut envelope.p, "p"),
                "payload" => (&mut envelope.long_p, "payload"),
                "cid" => (&mut envelope.cid, "cid"),
                _ => continue,
            };
            if place.replace(as_str(member.value)).is_some() {
                envelope.repeated = Some(name);
            }
        }
        envelope
    }

    fn word(&self, may: ClientMay) -> Option<Word> {
        let kind = self.t.or(self.long_t)?;
        if kind.contains('\\') {
            let meant: Cow<'_, str> = text(kind)?;
            return Word::quoted(format!("\"{meant}\"").as_bytes(), may);
        }
        Word::quoted(kind.as_bytes(), may)
    }

    /// The command, of a text that is JSON.
    fn command(&self, word: Word) -> Result<Command<'a>, BadCommand> {
        let p = self.p.or(self.long_p);
        if word.is_order() {
            return self.order(word, p);
        }
        let p: Value = p.and_then(|p| serde_json::from_str(p).ok()).unwrap_or_default();
        Ok(match word {
            Word::Ping => Command::Ping { timestamp: p["timestamp"].clone() },
            Word::ClientHello => Command::ClientHello(ClientHello::of(&p)),
            Word::AuthRefresh => Command::AuthRefresh { token: p["token"].as_str().map(ToOwned::to_owned) },
            _ => Command::Pong,
        })
    }

    fn order(&self, word: Word, p: Option<&'a str>) -> Result<Command<'a>, BadCommand> {
        if let Some(name) = self.repeated {
            return Err(BadCommand::action(format!("the message has the field \"{name}\" twice")));
        }
        let cid = Cid::read(self.cid)?;
        let command = match word {
            Word::Publish => Publish::parse(p, cid.clone()).map(Command::Publish),
            Word::PresenceUpdate => PresenceUpdate::parse(p, cid.clone()).map(Command::PresenceUpdate),
            _ => Subscription::parse(p, cid.clone()).map(|subscription| match subscription {
                Subscription::Subscribe(subscribe) => Command::Subscribe(subscribe),
                Subscription::Unsubscribe(unsubscribe) => Command::Unsubscribe(unsubscribe),
            }),
        };
        command.map_err(|bad| BadCommand { cid, ..bad })
    }
}

/// Whether there may be another `t` behind the one that was read, or any letter written as an escape (`\u00..`).
fn may_say_more(text: &[u8], read: usize) -> bool {
    static ANOTHER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"t\""));
    let escape =
        || memchr(b'\\', text).is_some_and(|at| text[at..].windows(4).any(|window| window == b"\\u00"));
    ANOTHER.find(text.get(read..).unwrap_or_default()).is_some() || escape()
}

#[cfg(test)]
mod tests;
