//! A word of the protocol is taken for one if a JSON parser agrees, and what the server answers is JSON whatever the client said.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wse_core::protocol::command::{Command, strip_prefix};
use wse_core::protocol::words;

const NOW: u64 = 1_900_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let stripped = strip_prefix(text);
    assert!(text.ends_with(stripped) && matches!(text.len() - stripped.len(), 0 | 1 | 3));
    let command = Command::parse(stripped);
    check_kind(&command, stripped);
    check_answer(&command);
});

/// The word is the one that a parser finds, and so is what it carries. A pong carries nothing: nobody parses the rest of it, so it
/// alone may be found in text that is no JSON.
fn check_kind(command: &Command, text: &str) {
    let value: Option<Value> = serde_json::from_str(text).ok();
    let payload =
        value.as_ref().map(|value| value.get("p").or_else(|| value.get("payload")).unwrap_or(&Value::Null));
    let word = match command {
        Command::Application => None,
        Command::Ping { timestamp } => {
            assert_eq!(payload.map(|p| &p["timestamp"]), Some(timestamp));
            Some("ping")
        }
        Command::Pong => Some("pong"),
        Command::ClientHello { protocol_version } => {
            assert_eq!(payload.map(|p| p["protocol_version"].as_u64().unwrap_or(1)), Some(*protocol_version));
            Some("client_hello")
        }
        Command::AuthRefresh { token } => {
            assert_eq!(payload.map(|p| p["token"].as_str()), Some(token.as_deref()));
            Some("auth_refresh")
        }
    };
    if let Some(value) = value.filter(|_| is_plain(text)) {
        assert_eq!(word, word_in(&value), "{text}");
    }
}

/// No escapes and no duplicates of the keys that decide, over which two readers could differ.
fn is_plain(text: &str) -> bool {
    !text.contains('\\') && ["\"t\"", "\"type\""].iter().all(|key| text.matches(key).count() < 2)
}

/// The short name decides where both are there.
fn word_in(value: &Value) -> Option<&'static str> {
    match value.get("t").or_else(|| value.get("type"))?.as_str()? {
        "ping" => Some("ping"),
        "pong" | "PONG" => Some("pong"),
        "client_hello" => Some("client_hello"),
        "auth_refresh" => Some("auth_refresh"),
        _ => None,
    }
}

fn check_answer(command: &Command) {
    let (answer, field) = match command {
        Command::Ping { timestamp } => {
            let answer: Value = serde_json::from_str(&words::pong(timestamp, NOW)).expect("a PONG is JSON");
            assert_eq!(&answer["p"]["client_timestamp"], timestamp);
            assert!(answer["p"]["latency"].is_u64());
            (answer, "client_timestamp")
        }
        Command::ClientHello { protocol_version } => {
            let hello = words::Hello {
                client_protocol_version: *protocol_version,
                connection_id: "0123456789abcdef0123456789ab",
                ping_interval_ms: 25_000,
                max_message_size: 1 << 20,
                rate_limit_capacity: 1e5,
                rate_limit_refill: 1e4,
                recovery: false,
                unix_ms: NOW,
            };
            let answer: Value = serde_json::from_str(&hello.to_text()).expect("a server_hello is JSON");
            assert!(answer["p"]["protocol_version"].as_u64() <= Some(words::PROTOCOL_VERSION));
            (answer, "protocol_version")
        }
        Command::Application | Command::Pong | Command::AuthRefresh { .. } => return,
    };
    assert_eq!(answer["c"], "WSE");
    assert!(answer["p"].get(field).is_some());
}
