//! What requests of the HTTP API bring: chunks, against a decoder that has all of them at once; bodies and queries, against serde_json and a
//! reader who knows what is allowed; heads, which without the key get nothing.
//!
//! Input: what the rest is (the first byte modulo 4), then a byte for a choice, then the bytes themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wse_core::http::api::{ApiKey, Limits, MAX_LIMIT, MAX_MESSAGES, Order, Problem, Publication, Question, Route, accept, utf8};
use wse_core::http::{BadBody, Body, Framing, Head};
use wse_core::options::Secret;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const ORDERS: [Route; 4] = [Route::Publish, Route::PublishMany, Route::Disconnect, Route::RefreshAcl];
const QUESTIONS: [Route; 4] = [Route::Presence, Route::History, Route::Topics, Route::Connections];

fuzz_target!(|input: &[u8]| {
    let [kind, choice, rest @ ..] = input else { return };
    match kind % 4 {
        0 => chunks(rest, usize::from(*choice)),
        1 => order(rest, ORDERS[usize::from(choice % 4)]),
        2 => question(rest, QUESTIONS[usize::from(choice % 4)]),
        _ => head(rest),
    }
});

// Chunks.

fn chunks(text: &[u8], step: usize) {
    const LIMIT: usize = 300;
    let mut body = Body::new(Framing::Chunked, LIMIT).expect("nothing is announced");
    let (mut at, mut found) = (0, Ok(()));
    while at < text.len() && !body.is_whole() {
        let piece = &text[at..(at + step + 1).min(text.len())];
        match body.push(piece) {
            Ok(taken) => {
                assert!(taken == piece.len() || body.is_whole());
                at += taken;
            }
            Err(bad) => {
                found = Err(bad);
                break;
            }
        }
        assert!(body.len() <= LIMIT);
    }
    match (found, plain_chunks(text, LIMIT)) {
        (Ok(()), Some((content, end))) => {
            assert!(body.is_whole());
            assert_eq!((body.into_bytes(), at), (content, end));
        }
        (Ok(()), None) => assert!(!body.is_whole()),
        // What is whole for one reader may be too much air for the other.
        (Err(bad), Some(_)) => assert_eq!(bad, BadBody::Padding),
        (Err(_), None) => {}
    }
}

/// The content and where it ends, if the text begins with whole chunks.
fn plain_chunks(text: &[u8], limit: usize) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    let line = |at: &mut usize| {
        let end = *at + text[*at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &text[*at..end];
        *at = end + 2;
        line.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)).then_some(line)
    };
    loop {
        let head = line(&mut at)?;
        let digits = head.split(|byte| *byte == b';').next()?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            while !line(&mut at)?.is_empty() {}
            return Some((content, at));
        }
        if size > limit - content.len() {
            return None;
        }
        content.extend_from_slice(text.get(at..at + size)?);
        at += size;
        if !line(&mut at)?.is_empty() {
            return None;
        }
    }
}

// Bodies.

fn order(bytes: &[u8], route: Route) {
    const LIMITS: Limits = Limits { max_message_size: 200 };
    let text = match utf8(bytes.to_vec()) {
        Ok(text) => text,
        Err(problem) => {
            assert!(std::str::from_utf8(bytes).is_err());
            return check_problem(&problem);
        }
    };
    match Order::parse(route, &text, &LIMITS) {
        Ok(order) => check_order(&order, &text, route),
        Err(problem) => {
            if problem.code == "INVALID_JSON" {
                // What a parser takes is refused as no JSON only where it is nested too deeply.
                assert!(serde_json::from_str::<Value>(&text).is_err() || problem.message.contains("levels"));
            }
            check_problem(&problem);
        }
    }
}

fn check_order(order: &Order, text: &str, route: Route) {
    let value: Value = serde_json::from_str(text).expect("an order is JSON");
    let fields = value.as_object().expect("and an object");
    match order {
        Order::Publish { publications, .. } if route == Route::Publish => {
            let [publication] = &publications[..] else { panic!("one message") };
            assert!(fields.keys().all(|name| ["topic", "data", "wait", "timeout"].contains(&&**name)));
            check_publication(publication, &value, text);
        }
        Order::Publish { publications, .. } => {
            let messages = value["messages"].as_array().expect("a list");
            assert_eq!(publications.len(), messages.len());
            assert!(messages.len() <= MAX_MESSAGES);
            publications.iter().zip(messages).for_each(|(one, value)| check_publication(one, value, text));
        }
        Order::Disconnect { code, reason, .. } => {
            assert!(wse_core::websocket::close::may_be_sent(*code));
            assert!(value["code"].as_f64().is_none_or(|given| given == f64::from(*code)));
            assert_eq!(value["reason"].as_str().unwrap_or(""), reason);
        }
        Order::RefreshAcl { acl, .. } => {
            assert!(fields.contains_key("allow") || fields.contains_key("deny"));
            assert_eq!(acl.is_none(), value["allow"].is_null() && value["deny"].is_null());
        }
    }
    if let Order::Disconnect { whom, .. } | Order::RefreshAcl { whom, .. } = order {
        use wse_core::http::api::Whom::{Connection, User};
        let (Connection(id) | User(id)) = whom;
        let name = if matches!(whom, User(_)) { "user_id" } else { "connection_id" };
        assert_eq!(value[name], id.as_str());
    }
}

fn check_publication(publication: &Publication, value: &Value, text: &str) {
    assert_eq!(value["topic"], publication.topic.as_str());
    assert!(!publication.topic.as_filter().is_pattern());
    let data: Value = serde_json::from_str(&text[publication.data.clone()]).expect("what is published is JSON");
    assert_eq!(value["data"], data);
    assert!(data.is_object() && publication.data.len() <= 200);
    assert!(["tp", "e", "o"].iter().all(|name| data.get(name).is_none()));
}

// Queries.

fn question(bytes: &[u8], route: Route) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    match Question::parse(route, query) {
        Ok(
            Question::Presence { limit, .. }
            | Question::History { limit, .. }
            | Question::Topics { limit, .. }
            | Question::Connections { limit, .. },
        ) => assert!((1..=MAX_LIMIT).contains(&limit)),
        Err(problem) => check_problem(&problem),
    }
}

// Heads.

fn head(bytes: &[u8]) {
    let Head::Whole(request, _) = Head::parse(bytes) else { return };
    match accept(&request, &ApiKey::new(Secret::new(KEY))) {
        Ok(accepted) => {
            let has_key = bytes.windows(KEY.len()).any(|window| window == KEY);
            assert!(has_key || accepted.route == Route::Openapi);
            assert_eq!(accepted.route.path(), request.path);
            assert_eq!(accepted.route.is_read(), request.method != "POST");
            if accepted.route.is_read() {
                assert!(matches!(accepted.framing, Framing::Absent | Framing::Length(0)));
            }
        }
        Err(problem) => check_problem(&problem),
    }
}

/// An error is short, says something, is JSON, and puts nothing of the client's into a header.
fn check_problem(problem: &Problem) {
    assert!((1..700).contains(&problem.message.len()), "{}", problem.message);
    let response = problem.to_response();
    let body: Value = serde_json::from_slice(&response.body).expect("an error is JSON");
    assert_eq!(body["error"]["message"], problem.message.as_str());
    let head = String::from_utf8(response.to_bytes(true)).expect("a head is text");
    assert!(head.lines().count() < 9 && head.ends_with("\r\n\r\n"));
}
