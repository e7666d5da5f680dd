use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::history::{Epoch, Position};
use crate::http::Head;
use crate::options::Secret;

const KEY: &str = "a key of the API that is long enough";
const LIMITS: Limits = Limits { max_message_size: 1000 };

fn head(text: &str) -> Result<Accepted, Problem> {
    let Head::Whole(request, _) = Head::parse(text.as_bytes()) else { panic!("{text}") };
    accept(&request, &ApiKey::new(Secret::new(KEY.as_bytes())))
}

fn get(target: &str, more: &str) -> Result<Accepted, Problem> {
    head(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n{more}\r\n"))
}

fn post(more: &str) -> Result<Accepted, Problem> {
    let line = "POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    head(&format!("{line}\r\nAuthorization: Bearer {KEY}\r\n{more}\r\n"))
}

fn status<T: std::fmt::Debug>(result: Result<T, Problem>) -> (u16, &'static str) {
    let problem = result.expect_err("a refusal");
    (problem.status, problem.code)
}

fn parse(route: Route, body: &str) -> Result<Order, String> {
    Order::parse(route, body, &LIMITS).map_err(|problem| problem.message)
}

#[test]
fn the_key_comes_as_a_bearer_token_or_in_its_own_header() {
    let with = |lines: &str| head(&format!("GET /api/topics HTTP/1.1\r\nHost: x\r\n{lines}\r\n"));
    for lines in [
        format!("Authorization: Bearer {KEY}\r\n"),
        format!("authorization: bEARER   {KEY} \r\n"),
        format!("X-API-Key: {KEY}\r\n"),
        format!("X-Api-Key: {KEY}\r\nAuthorization: Bearer {KEY}\r\n"),
    ] {
        assert!(with(&lines).is_ok(), "{lines}");
    }
    for lines in [
        String::new(),
        format!("Authorization: {KEY}\r\n"),
        format!("Authorization: Basic {KEY}\r\n"),
        format!("Authorization: Bearer{KEY}\r\n"),
        "Authorization: Bearer \r\n".into(),
        format!("X-API-Key: {KEY}x\r\n"),
        format!("X-API-Key: {}\r\n", &KEY[1..]),
        format!("X-API-Key: {KEY}\r\nX-API-Key: {KEY}\r\n"),
        format!("X-API-Key: {KEY}\r\nAuthorization: Bearer other\r\n"),
    ] {
        assert_eq!(status(with(&lines)), (401, "UNAUTHORIZED"), "{lines}");
    }
}

#[test]
fn without_a_key_nothing_is_told_but_the_description() {
    for target in ["/api/topics", "/api/nothing", "/api/", "/api"] {
        assert_eq!(status(head(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))).0, 401, "{target}");
    }
    assert_eq!(status(head("OPTIONS /api/publish HTTP/1.1\r\nHost: x\r\n\r\n")).0, 401);
    assert!(head("GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").is_ok());
}

#[test]
fn each_path_has_its_method() {
    assert_eq!(status(get("/api/publish", "")), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(status(get("/api/nothing", "")), (404, "NOT_FOUND"));
    let post =
        format!("POST /api/topics HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(head(&post)).0, 405);
    for route in Route::ALL {
        assert_eq!(Route::of(route.path()), Some(route));
    }
}

#[test]
fn a_body_says_what_it_is_and_where_it_ends() {
    assert_eq!(post("Content-Length: 5\r\n").unwrap().framing, Framing::Length(5));
    assert_eq!(post("Transfer-Encoding: chunked\r\n").unwrap().framing, Framing::Chunked);
    assert_eq!(status(post("")), (411, "LENGTH_REQUIRED"));
    assert_eq!(status(post("Content-Length: 5\r\nContent-Encoding: gzip\r\n")).0, 415);
    assert_eq!(status(post("Content-Length: 5\r\nContent-Type: text/plain\r\n")).0, 415);
    assert_eq!(status(post("Content-Length: 5\r\nExpect: tea\r\n")).0, 417);
    assert!(post("Content-Length: 5\r\nExpect: 100-Continue\r\n").unwrap().expects_continue);
    assert_eq!(status(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")).0, 400);
    assert_eq!(status(post("Transfer-Encoding: gzip\r\n")).0, 501);
    assert_eq!(status(get("/api/topics", "Content-Length: 5\r\n")).0, 400);
    assert_eq!(status(post("Content-Length: 5\r\nHost: y\r\n")).0, 400);
    let accepted = post("Content-Length: 5097\r\n").unwrap();
    assert_eq!(status(accepted.body(1000)), (413, "TOO_LARGE"));
    assert!(accepted.body(1001).is_ok());
}

#[test]
fn a_connection_stays_unless_somebody_says_otherwise() {
    assert!(get("/api/topics", "").unwrap().stays);
    assert!(!get("/api/topics", "Connection: x, Close\r\n").unwrap().stays);
    let old = |more: &str| head(&format!("GET /api/topics HTTP/1.0\r\nX-API-Key: {KEY}\r\n{more}\r\n"));
    assert!(!old("").unwrap().stays && old("Connection: keep-alive\r\n").unwrap().stays);
}

#[test]
fn a_publication_is_what_stands_in_the_body() {
    let body = " {\"data\": {\"t\" : \"x\"} , \"topic\":\"a\\u002fb\",\"wait\":\"stored\",\"timeout\":0.5}\n";
    let Order::Publish { publications, wait } = parse(Route::Publish, body).unwrap() else { panic!() };
    assert_eq!(publications[0].topic.as_str(), "a/b");
    assert_eq!(&body[publications[0].data.clone()], "{\"t\" : \"x\"}");
    assert_eq!(wait, Wait::Stored(std::time::Duration::from_millis(500)));
    let body = r#"{"messages":[{"topic":"a","data":{}},{"topic":"b","data":{"x":[1]}}]}"#;
    let Order::Publish { publications, wait } = parse(Route::PublishMany, body).unwrap() else { panic!() };
    assert_eq!((publications.len(), &body[publications[1].data.clone()]), (2, r#"{"x":[1]}"#));
    assert_eq!(wait, Wait::Local);
    assert!(parse(Route::PublishMany, r#"{"messages":[]}"#).is_ok());
}

#[test]
fn whatever_is_wrong_is_named() {
    let publish = |body: &str| parse(Route::Publish, body).unwrap_err();
    for (body, part) in [
        ("", "the body is no JSON: EOF"),
        ("{\"topic\":}", "at line 1 column 10"),
        ("[]", "the body must be an object, and is a list"),
        (r#"{"topic":"a"}"#, "data is missing"),
        (r#"{"topic":"a","data":null}"#, "data is missing"),
        (r#"{"topic":1,"data":{}}"#, "topic must be a text, and is a number"),
        (r#"{"topic":"a","data":[]}"#, "data must be an object, the message, and is a list"),
        (r#"{"topic":"a*","data":{}}"#, "topic is \"a*\": a message is published to one topic"),
        (r#"{"topic":"","data":{}}"#, "topic is \"\": a topic has at least 1 byte"),
        (r#"{"topic":"a","data":{},"x":1}"#, "\"x\" is no field; there are topic, data, wait, timeout"),
        (r#"{"topic":"a","data":{},"t\u006fpic":"b"}"#, "topic is there twice"),
        (r#"{"topic":"a","data":{"e":1}}"#, "data.e must not be there"),
        (r#"{"topic":"a","data":{"\u0074p":1}}"#, "data.tp must not be there"),
        (r#"{"topic":"a","data":{},"wait":"now"}"#, "wait must be \"local\" or \"stored\", and is \"now\""),
        (r#"{"topic":"a","data":{},"timeout":true}"#, "timeout must be a number, and is true or false"),
        (r#"{"topic":"a","data":{},"timeout":301}"#, "timeout must be 0 to 300 seconds, and is 301"),
        (r#"{"topic":"a","data":{},"timeout":-0.1}"#, "timeout must be 0 to 300 seconds"),
    ] {
        let message = publish(body);
        assert!(message.contains(part), "{body}: {message}");
    }
    let long = format!(r#"{{"topic":"a","data":{{"x":"{}"}}}}"#, "y".repeat(1000));
    assert_eq!(publish(&long), "data has 1008 bytes, and max_message_size is 1000");
    assert!(publish(&format!("{}1{}", "[".repeat(65), "]".repeat(65))).contains("64 levels"));
    let many = |body: &str| parse(Route::PublishMany, body).unwrap_err();
    let item = many(r#"{"messages":[{"topic":"a","data":{}},{"topic":"b"}]}"#);
    assert!(item.starts_with("messages[1].data is missing"), "{item}");
    assert!(many(r#"{"messages":[5]}"#).starts_with("messages[0] must be an object, and is a number"));
    assert!(many(r#"{"messages":{}}"#).starts_with("messages must be a list of messages, and is an object"));
    let too_many = format!("{{\"messages\":[{}1]}}", "1,".repeat(MAX_MESSAGES));
    assert_eq!(many(&too_many), "messages may have at most 10000 items, and has more");
}

#[test]
fn whose_connections_are_meant_is_said_once() {
    let disconnect = |body: &str| parse(Route::Disconnect, body);
    assert_eq!(
        disconnect(r#"{"user_id":"u","code":4001,"reason":"bye"}"#),
        Ok(Order::Disconnect { whom: Whom::User("u".into()), code: 4001, reason: "bye".into() })
    );
    assert_eq!(
        disconnect(r#"{"connection_id":"c"}"#),
        Ok(Order::Disconnect { whom: Whom::Connection("c".into()), code: 1000, reason: String::new() })
    );
    for body in [
        "{}",
        r#"{"user_id":"u","connection_id":"c"}"#,
        r#"{"user_id":1}"#,
        r#"{"user_id":"u","code":1006}"#,
        r#"{"user_id":"u","code":1000.5}"#,
        r#"{"user_id":"u","code":66536}"#,
        r#"{"user_id":"u","code":-1000}"#,
        r#"{"user_id":"u","code":"1000"}"#,
    ] {
        assert!(disconnect(body).is_err(), "{body}");
    }
    let long = json!({"user_id": "u", "reason": "é".repeat(62)}).to_string();
    assert_eq!(disconnect(&long).unwrap_err(), "reason must have at most 123 bytes, and has 124");
}

#[test]
fn an_access_list_is_given_or_taken_away_but_never_forgotten() {
    let acl = |body: &str| match parse(Route::RefreshAcl, body) {
        Ok(Order::RefreshAcl { acl, .. }) => Ok(acl),
        Ok(other) => panic!("{other:?}"),
        Err(message) => Err(message),
    };
    assert!(acl(r#"{"user_id":"u"}"#).unwrap_err().starts_with("allow or deny is missing"));
    assert_eq!(acl(r#"{"user_id":"u","allow":null}"#), Ok(None));
    let list = acl(r#"{"user_id":"u","allow":["a*"],"deny":["ab"]}"#).unwrap().unwrap();
    assert!(list.allows("ac") && !list.allows("ab") && !list.allows("b"));
    assert!(!acl(r#"{"user_id":"u","allow":[]}"#).unwrap().unwrap().allows("a"));
    assert_eq!(
        acl(r#"{"user_id":"u","deny":["a",1]}"#),
        Err("deny[1] must be a text, and is a number".into())
    );
    assert!(acl(r#"{"user_id":"u","allow":["a",""]}"#).unwrap_err().starts_with("allow[1] is \"\": "));
    assert!(acl(r#"{"user_id":"u","allow":"a"}"#).unwrap_err().starts_with("allow must be a list of topics"));
}

#[test]
fn queries_are_read_as_forms_write_them() {
    let ask = |route, query: &str| Question::parse(route, query).map_err(|problem| problem.message);
    let Ok(Question::Presence { topic, after, limit }) = ask(Route::Presence, "topic=a%2Fb+c%C3%A9&after=&")
    else {
        panic!()
    };
    assert_eq!((topic.as_str(), after.as_deref(), limit), ("a/b cé", Some(""), 100));
    let position = Position { epoch: Epoch::new(0x0123_abcd), offset: 7 };
    let Ok(Question::History { since, .. }) =
        ask(Route::History, "topic=a&since_epoch=0123abcd&since_offset=7&limit=1000")
    else {
        panic!()
    };
    assert_eq!(since, Some(position));
    for (route, query, part) in [
        (Route::Presence, "", "topic is missing"),
        (Route::Presence, "topic=a*", "topic is \"a*\""),
        (Route::Presence, "topic=%", "topic can't be read"),
        (Route::Presence, "topic=%+1", "topic can't be read"),
        (Route::Presence, "topic=%ff", "topic can't be read"),
        (Route::Presence, "topic=a&topic=a", "topic is there twice"),
        (Route::Presence, "topic=a&tpoic=a", "\"tpoic\" is no parameter; there are topic, after, limit"),
        (Route::Topics, "limit=0", "limit must be 1 to 1000, and is \"0\""),
        (Route::Topics, "limit=1001", "limit must be 1 to 1000"),
        (Route::Topics, "limit=+1", "limit must be 1 to 1000"),
        (Route::Topics, "pattern=", "pattern is \"\""),
        (Route::History, "topic=a&since_offset=1", "since_epoch and since_offset go together"),
        (Route::History, "topic=a&since_epoch=0123ABCD&since_offset=1", "since_epoch must be eight"),
        (Route::History, "topic=a&since_epoch=0123abcd&since_offset=-1", "since_offset must be a number"),
    ] {
        let message = ask(route, query).unwrap_err();
        assert!(message.starts_with(part), "{query}: {message}");
    }
}

#[test]
fn a_refusal_is_an_object_with_a_code_and_a_sentence() {
    let answer = Problem::unauthorized().to_response();
    let head = String::from_utf8(answer.to_bytes(true)).unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"));
    assert!(head.contains("\r\nWWW-Authenticate: Bearer realm=\"wse\"\r\n"));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "UNAUTHORIZED");
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("X-API-Key")));
    let stays = String::from_utf8(Problem::no_room(3).to_response().to_bytes_and_stay(false, 60)).unwrap();
    assert!(stays.contains("\r\nConnection: keep-alive\r\nKeep-Alive: timeout=60\r\n\r\n"));
    assert!(stays.contains("\r\nRetry-After: 1\r\n") && stays.ends_with("\"published\":3}}"));
}

proptest! {
    #[test]
    fn no_body_panics(text in "\\PC{0,80}|[{}\\[\\]\",:\\\\a1 ]{0,60}") {
        for route in [Route::Publish, Route::PublishMany, Route::Disconnect, Route::RefreshAcl] {
            let _ = Order::parse(route, &text, &LIMITS);
        }
    }

    #[test]
    fn no_query_panics(text in "[ -~]{0,60}") {
        for route in [Route::Presence, Route::History, Route::Topics, Route::Connections] {
            let _ = Question::parse(route, &text);
        }
    }

    #[test]
    fn what_is_published_is_what_was_written(topic in "\\PC{1,20}", data in "\\PC{0,20}", pretty: bool) {
        prop_assume!(!topic.contains(['*', '?']));
        let value = json!({"topic": topic, "data": {"text": data, "x": [data]}});
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let order = Order::parse(Route::Publish, &body, &LIMITS).unwrap();
        let Order::Publish { publications, .. } = order else { panic!() };
        prop_assert_eq!(publications[0].topic.as_str(), topic);
        let read: Value = serde_json::from_str(&body[publications[0].data.clone()]).unwrap();
        prop_assert_eq!(&read, &value["data"]);
    }

    #[test]
    fn a_query_is_decoded_as_it_was_encoded(text in "\\PC{1,20}") {
        prop_assume!(!text.contains(['*', '?']));
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let question = Question::parse(Route::Topics, &format!("pattern={encoded}")).unwrap();
        let Question::Topics { pattern, .. } = question else { panic!() };
        let pattern = pattern.unwrap();
        prop_assert_eq!(pattern.as_str(), text);
    }
}
