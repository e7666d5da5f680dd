//! A word of the protocol is taken for one if a JSON parser agrees, and what the server answers is JSON whatever the client said.
//!
//! A client's order is what the parser reads in the text, or is answered with an error that is short and says something.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wse_core::protocol::command::{
    ClientMay, Command, MAX_CID_BYTES, MAX_DEPTH, MAX_TOPICS, Subscribe, strip_prefix,
};
use wse_core::protocol::words;

const NOW: u64 = 1_900_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let stripped = strip_prefix(text);
    assert!(text.ends_with(stripped) && matches!(text.len() - stripped.len(), 0 | 1 | 3));
    let all = ClientMay { subscribe: true, publish: true };
    let command = Command::parse(stripped, all);
    check_kind(&command, stripped);
    check_order(&command, stripped);
    check_answer(&command);
    // Where clients may do nothing themselves, the same text is what it was, or the application's.
    match (Command::parse(stripped, ClientMay::default()), &command) {
        (Command::Application, _) => {}
        (restricted, command) => assert_eq!(&restricted, command),
    }
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
        Command::ClientHello(hello) => {
            let p = payload.expect("a word with a payload was parsed");
            assert_eq!(p["protocol_version"].as_u64().unwrap_or(1), hello.protocol_version);
            assert_eq!(p["features"]["compression"] == true, hello.compression);
            assert_eq!(p["encryption_public_key"].is_null(), hello.encryption_public_key.is_none());
            Some("client_hello")
        }
        Command::AuthRefresh { token } => {
            assert_eq!(payload.map(|p| p["token"].as_str()), Some(token.as_deref()));
            Some("auth_refresh")
        }
        Command::Subscribe(_) | Command::Unsubscribe(_) => Some("subscription_update"),
        Command::Publish(_) => Some("publish"),
        Command::PresenceUpdate(_) => Some("presence_update"),
        Command::Bad(_) => return,
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
        "subscription_update" | "subscription" => Some("subscription_update"),
        "publish" => Some("publish"),
        "presence_update" => Some("presence_update"),
        _ => None,
    }
}

/// An order says what the parser reads, and is within the limits.
fn check_order(command: &Command<'_>, text: &str) {
    let (Command::Subscribe(_) | Command::Unsubscribe(_) | Command::Publish(_) | Command::PresenceUpdate(_)) = command
    else {
        return;
    };
    let value: Value = serde_json::from_str(text).expect("an order is JSON");
    assert!(depth(&value) <= MAX_DEPTH);
    let p = value.get("p").or_else(|| value.get("payload")).expect("an order has a payload");
    let cid = match command {
        Command::Subscribe(subscribe) => {
            check_subscribe(subscribe, p);
            &subscribe.cid
        }
        Command::Unsubscribe(unsubscribe) => {
            assert_eq!(p["action"], "unsubscribe");
            check_topics(unsubscribe.topics.iter().map(|topic| topic.as_str()), p);
            &unsubscribe.cid
        }
        Command::Publish(publish) => {
            assert_eq!(p["topic"], publish.topic.as_str());
            let data: Value = serde_json::from_str(publish.data).expect("what is published is JSON");
            assert_eq!(p["data"], data);
            check_harmless(&data);
            &publish.cid
        }
        Command::PresenceUpdate(update) => {
            assert_eq!(p["data"], serde_json::from_str::<Value>(update.data).expect("presence is JSON"));
            assert!(p["data"].is_object());
            &update.cid
        }
        _ => return,
    };
    assert_eq!(value.get("cid").and_then(Value::as_str), cid.as_ref().map(|cid| cid.as_str()));
    assert!(cid.as_ref().is_none_or(|cid| (1..=MAX_CID_BYTES).contains(&cid.as_str().len())));
}

fn check_subscribe(subscribe: &Subscribe, p: &Value) {
    assert_eq!(p["action"], "subscribe");
    check_topics(subscribe.topics.iter().map(|wanted| wanted.filter.as_str()), p);
    assert_eq!(subscribe.recover, p["recover"].as_bool().unwrap_or(!p["recovery"].is_null()));
    assert_eq!(subscribe.queue_group.as_deref(), p["queue_group"].as_str());
    for wanted in &subscribe.topics {
        let Some(since) = wanted.since else { continue };
        assert!(subscribe.recover && !wanted.filter.as_filter().is_pattern());
        let place = &p["recovery"][wanted.filter.as_str()];
        assert_eq!(place["epoch"], since.epoch.to_string());
        assert_eq!(place["offset"], since.offset);
    }
}

/// Each topic of the list once, in its order.
fn check_topics<'a>(topics: impl Iterator<Item = &'a str>, p: &Value) {
    let mut expected: Vec<&str> = Vec::new();
    for topic in p["topics"].as_array().expect("topics are a list") {
        let topic = topic.as_str().expect("of texts");
        if !expected.contains(&topic) {
            expected.push(topic);
        }
    }
    assert!(expected.len() <= MAX_TOPICS);
    assert!(topics.eq(expected));
}

/// Nobody takes a client's publication for a message of the server.
fn check_harmless(data: &Value) {
    assert!(["tp", "e", "o"].iter().all(|name| data.get(name).is_none()));
    assert!(data.get("c").is_none_or(|c| c == "U" || c == "S"));
    for name in ["t", "type"] {
        assert!(data.get(name).and_then(Value::as_str).is_none_or(|kind| !words::is_servers(kind)));
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
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
        Command::ClientHello(said) => {
            let hello = words::Hello {
                client_protocol_version: said.protocol_version,
                connection_id: "0123456789abcdef0123456789ab",
                ping_interval_ms: 25_000,
                max_message_size: 1 << 20,
                rate_limit_capacity: 1e5,
                rate_limit_refill: 1e4,
                recovery: false,
                compression: true,
                encryption_public_key: said.encryption_public_key.as_deref(),
                unix_ms: NOW,
            };
            let answer: Value = serde_json::from_str(&hello.to_text()).expect("a server_hello is JSON");
            assert!(answer["p"]["protocol_version"].as_u64() <= Some(words::PROTOCOL_VERSION));
            (answer, "protocol_version")
        }
        Command::Bad(bad) => {
            assert!((1..400).contains(&bad.message.len()), "{}", bad.message);
            let answer: Value = serde_json::from_str(&words::refused(bad, NOW)).expect("an error is JSON");
            assert_eq!(answer["p"]["message"], bad.message.as_str());
            (answer, "code")
        }
        _ => return,
    };
    assert_eq!(answer["c"], "WSE");
    assert!(answer["p"].get(field).is_some());
}
