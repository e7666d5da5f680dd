//! What a text message from a client is: a word of the protocol, or the application's own.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;
use serde_json::{Map, Value};

use super::scan::Members;

/// A message as the engine sees it.
#[derive(Debug, PartialEq)]
pub enum Command {
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
    ClientHello {
        /// The version that the client speaks, 1 if it does not say.
        protocol_version: u64,
    },
    /// `auth_refresh {"token"}`: a fresh token for a connection that has one. Where no token was asked for it is the application's.
    AuthRefresh {
        /// The token, if it is a text.
        token: Option<String>,
    },
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

impl Command {
    /// Looks for the type of a message, and parses the rest only if it may be one of ours.
    ///
    /// Of members with the same name the last counts, as in Python's `json`, and `t` goes before `type`: what the protocol and the
    /// application make of a message must not differ.
    #[must_use]
    #[inline]
    pub fn parse(text: &str) -> Self {
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
        let ours = matches!(
            kind,
            Some(b"\"ping\"" | b"\"pong\"" | b"\"PONG\"" | b"\"client_hello\"" | b"\"auth_refresh\"")
        );
        if ours || (kind.is_some() && may_say_more(text.as_bytes(), members.position())) {
            return Self::parse_whole(text);
        }
        Self::Application
    }

    /// Decides with a whole parser; what is not JSON after all is the application's.
    fn parse_whole(text: &str) -> Self {
        let Ok(message) = serde_json::from_str::<Map<String, Value>>(text) else { return Self::Application };
        let kind = message.get("t").or_else(|| message.get("type")).and_then(Value::as_str);
        let p = || message.get("p").or_else(|| message.get("payload")).unwrap_or(&Value::Null);
        match kind {
            Some("ping") => Self::Ping { timestamp: p()["timestamp"].clone() },
            Some("pong" | "PONG") => Self::Pong,
            Some("client_hello") => {
                Self::ClientHello { protocol_version: p()["protocol_version"].as_u64().unwrap_or(1) }
            }
            Some("auth_refresh") => Self::AuthRefresh { token: p()["token"].as_str().map(ToOwned::to_owned) },
            _ => Self::Application,
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn our_words_in_short_and_long_form() {
        assert_eq!(
            Command::parse(r#"{"t":"ping","p":{"timestamp":12}}"#),
            Command::Ping { timestamp: json!(12) }
        );
        assert_eq!(
            Command::parse(r#"{"type":"ping","payload":{"timestamp":"a"}}"#),
            Command::Ping { timestamp: json!("a") }
        );
        assert_eq!(Command::parse(r#"{"c":"WSE","t":"ping"}"#), Command::Ping { timestamp: Value::Null });
        assert_eq!(Command::parse(r#"{"t":"PONG"}"#), Command::Pong);
        let hello = r#"{"p":{"protocol_version":3,"features":{}},"t":"client_hello"}"#;
        assert_eq!(Command::parse(hello), Command::ClientHello { protocol_version: 3 });
    }

    #[test]
    fn a_fresh_token_is_a_text() {
        let token = |text: &str| Command::AuthRefresh { token: Some(text.to_owned()) };
        assert_eq!(Command::parse(r#"{"t":"auth_refresh","p":{"token":"a.b.c"}}"#), token("a.b.c"));
        assert_eq!(Command::parse(r#"{"payload":{"token":"x"},"type":"auth_refresh"}"#), token("x"));
        for p in ["7", "null", "{}", "[\"token\"]", r#"{"token":7}"#, r#"{"token":["a"]}"#] {
            let text = format!(r#"{{"t":"auth_refresh","p":{p}}}"#);
            assert_eq!(Command::parse(&text), Command::AuthRefresh { token: None }, "{text}");
        }
        assert_eq!(Command::parse(r#"{"t":"auth_refresh"}"#), Command::AuthRefresh { token: None });
    }

    #[test]
    fn everything_else_is_the_applications() {
        for text in [
            r#"{"t":"chat","type":"ping"}"#,
            r#"{"p":{"t":"ping"}}"#,
            r#"{"t":"ping","p":{broken}}"#,
            r#"["t","ping"]"#,
            "ping",
            "{}",
            "",
        ] {
            assert_eq!(Command::parse(text), Command::Application, "{text}");
        }
    }

    #[test]
    fn the_last_of_two_types_counts() {
        assert_eq!(Command::parse(r#"{"t":"ping","t":"chat"}"#), Command::Application);
        assert_eq!(Command::parse(r#"{"t":"chat","t":"PONG"}"#), Command::Pong);
        assert_eq!(Command::parse(r#"{"t":"chat","\u0074":"pong"}"#), Command::Pong);
        assert_eq!(Command::parse(r#"{"t":"p\u006fng"}"#), Command::Pong);
        assert_eq!(Command::parse(r#"{"t":"chat","p":{"t":"ping"}}"#), Command::Application);
    }

    #[test]
    fn old_prefixes_are_ignored() {
        assert_eq!(strip_prefix("WSE{\"t\":1}"), "{\"t\":1}");
        assert_eq!(strip_prefix("U{}"), "{}");
        assert_eq!(strip_prefix("S{}"), "{}");
        assert_eq!(strip_prefix("Us{}"), "Us{}");
        assert_eq!(strip_prefix("hello"), "hello");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = Command::parse(strip_prefix(&text));
        }
    }
}
