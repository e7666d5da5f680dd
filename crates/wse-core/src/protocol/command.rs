//! What a text message from a client is: a word of the protocol, or the application's own.

use serde_json::Value;

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
}

/// Removes the prefix that old clients put before JSON (`WSE{`, `S{`, `U{`).
#[must_use]
#[inline]
pub fn strip_prefix(text: &str) -> &str {
    for prefix in ["WSE", "S", "U"] {
        if let Some(rest) = text.strip_prefix(prefix)
            && rest.starts_with('{')
        {
            return rest;
        }
    }
    text
}

impl Command {
    /// Looks for the type of a message and parses the rest only if it is one of ours.
    #[must_use]
    #[inline]
    pub fn parse(text: &str) -> Self {
        let mut kind = None;
        for member in Members::new(text) {
            match member.key {
                // The short name decides; the scan ends there, so an application message costs a few bytes of looking.
                b"t" => {
                    kind = Some(member.value);
                    break;
                }
                b"type" => kind = Some(member.value),
                _ => {}
            }
        }
        match kind {
            Some(b"\"ping\"") => Self::payload(text, |p| Self::Ping { timestamp: p["timestamp"].clone() }),
            Some(b"\"pong\"" | b"\"PONG\"") => Self::Pong,
            Some(b"\"client_hello\"") => Self::payload(text, |p| Self::ClientHello {
                protocol_version: p["protocol_version"].as_u64().unwrap_or(1),
            }),
            _ => Self::Application,
        }
    }

    /// Reads the payload of a word of ours; what is not JSON after all is the application's.
    fn payload(text: &str, then: impl FnOnce(&Value) -> Self) -> Self {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => then(value.get("p").or_else(|| value.get("payload")).unwrap_or(&Value::Null)),
            Err(_) => Self::Application,
        }
    }
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
