//! `client_hello`: what a client says of itself.

use serde_json::Value;

/// A client's greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The version that it speaks, 1 if it does not say.
    pub protocol_version: u64,
    /// It takes messages in zlib streams.
    pub compression: bool,
    /// Its half of a key exchange, where it wants its messages sealed. What is no text is kept as its JSON, which is no key either.
    pub encryption_public_key: Option<Box<str>>,
}

impl ClientHello {
    pub(super) fn of(p: &Value) -> Self {
        let key = match &p["encryption_public_key"] {
            Value::Null => None,
            Value::String(key) => Some(key.as_str().into()),
            other => Some(other.to_string().into()),
        };
        Self {
            protocol_version: p["protocol_version"].as_u64().unwrap_or(1),
            compression: p["features"]["compression"] == true,
            encryption_public_key: key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::{ClientMay, Command};

    fn hello(p: &str) -> ClientHello {
        match Command::parse(&format!(r#"{{"t":"client_hello","p":{p}}}"#), ClientMay::default()) {
            Command::ClientHello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hello_may_ask_for_compression_and_offer_a_key() {
        assert_eq!(
            hello(r#"{"protocol_version":3}"#),
            ClientHello { protocol_version: 3, compression: false, encryption_public_key: None }
        );
        assert!(hello(r#"{"features":{"compression":true}}"#).compression);
        for p in
            [r#"{"features":{"compression":1}}"#, r#"{"features":[]}"#, r#"{"compression":true}"#, "[]", "7"]
        {
            assert!(!hello(p).compression, "{p}");
        }
        let key = |p: &str| hello(p).encryption_public_key;
        assert_eq!(key(r#"{"encryption_public_key":"BPg="}"#).as_deref(), Some("BPg="));
        assert_eq!(
            key(r#"{"encryption_public_key":[1]}"#).as_deref(),
            Some("[1]"),
            "it is refused, not overlooked"
        );
        assert_eq!(key(r#"{"encryption_public_key":null}"#), None);
    }
}
