use super::*;
use crate::history::{Epoch, Position};
use crate::protocol::codes::ErrorCode;
use crate::topic::OwnedFilter;
use proptest::prelude::*;
use serde_json::json;

const ALL: ClientMay = ClientMay { subscribe: true, publish: true };

fn parse(text: &str) -> Command<'_> {
    Command::parse(text, ALL)
}

fn bad(text: &str) -> BadCommand {
    match parse(text) {
        Command::Bad(bad) => bad,
        other => panic!("{text}: {other:?}"),
    }
}

fn subscribe(p: &str) -> Subscribe {
    match parse(&format!(r#"{{"t":"subscription_update","p":{p}}}"#)) {
        Command::Subscribe(subscribe) => subscribe,
        other => panic!("{p}: {other:?}"),
    }
}

#[test]
fn our_words_in_short_and_long_form() {
    assert_eq!(parse(r#"{"t":"ping","p":{"timestamp":12}}"#), Command::Ping { timestamp: json!(12) });
    assert_eq!(
        parse(r#"{"type":"ping","payload":{"timestamp":"a"}}"#),
        Command::Ping { timestamp: json!("a") }
    );
    assert_eq!(parse(r#"{"c":"WSE","t":"ping"}"#), Command::Ping { timestamp: Value::Null });
    assert_eq!(parse(r#"{"t":"PONG"}"#), Command::Pong);
    let hello = r#"{"p":{"protocol_version":3,"features":{}},"t":"client_hello"}"#;
    assert!(matches!(parse(hello), Command::ClientHello(hello) if hello.protocol_version == 3));
}

#[test]
fn a_fresh_token_is_a_text() {
    let token = |text: &str| Command::AuthRefresh { token: Some(text.to_owned()) };
    assert_eq!(parse(r#"{"t":"auth_refresh","p":{"token":"a.b.c"}}"#), token("a.b.c"));
    assert_eq!(parse(r#"{"payload":{"token":"x"},"type":"auth_refresh"}"#), token("x"));
    for p in ["7", "null", "{}", "[\"token\"]", r#"{"token":7}"#, r#"{"token":["a"]}"#] {
        let text = format!(r#"{{"t":"auth_refresh","p":{p}}}"#);
        assert_eq!(parse(&text), Command::AuthRefresh { token: None }, "{text}");
    }
    assert_eq!(parse(r#"{"t":"auth_refresh"}"#), Command::AuthRefresh { token: None });
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
        assert_eq!(parse(text), Command::Application, "{text}");
    }
}

#[test]
fn the_last_of_two_types_counts() {
    assert_eq!(parse(r#"{"t":"ping","t":"chat"}"#), Command::Application);
    assert_eq!(parse(r#"{"t":"chat","t":"PONG"}"#), Command::Pong);
    assert_eq!(parse(r#"{"t":"chat","\u0074":"pong"}"#), Command::Pong);
    assert_eq!(parse(r#"{"t":"p\u006fng"}"#), Command::Pong);
    assert_eq!(parse(r#"{"\u0074":"pong"}"#), Command::Pong);
    assert_eq!(parse(r#"{"t":"chat","p":{"t":"ping"}}"#), Command::Application);
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
        let _ = parse(strip_prefix(&text));
    }
}

// What a client asks for.

#[test]
fn a_subscription_names_topics_and_where_to_go_on() {
    let position = |offset| Some(Position { epoch: Epoch::new(0xdead_beef), offset });
    let wanted = subscribe(
        r#"{"action":"subscribe","topics":["a","n.*","b","a"],"recover":true,
            "recovery":{"b":{"epoch":"deadbeef","offset":7},"a":{"offset":0,"epoch":"deadbeef","more":1}}}"#,
    );
    let places: Vec<_> = wanted.topics.iter().map(|wanted| (wanted.filter.as_str(), wanted.since)).collect();
    assert_eq!(places, [("a", position(0)), ("n.*", None), ("b", position(7))]);
    assert!(
        wanted.recover && wanted.queue_group.is_none() && wanted.presence.is_none() && wanted.cid.is_none()
    );
}

#[test]
fn positions_alone_ask_for_recovery_and_a_no_counts() {
    let asked = |recover: &str| {
        let recovery = r#""recovery":{"a":{"epoch":"00000001","offset":2}}"#;
        let wanted = subscribe(&format!(r#"{{"action":"subscribe","topics":["a"],{recovery}{recover}}}"#));
        (wanted.recover, wanted.topics[0].since.is_some())
    };
    assert_eq!(asked(""), (true, true));
    assert_eq!(asked(r#","recover":true"#), (true, true));
    assert_eq!(asked(r#","recover":null"#), (true, true));
    assert_eq!(asked(r#","recover":false"#), (false, false));
    let without = subscribe(r#"{"action":"subscribe","topics":["a","*"],"recover":true}"#);
    assert!(without.recover && without.topics.iter().all(|wanted| wanted.since.is_none()));
}

#[test]
fn a_subscription_may_come_with_a_group_or_with_presence() {
    let wanted = subscribe(
        r#"{"action":"subscribe","topics":["a"],"queue_group":"w\u006frkers","presence":{ "x" : [1, "\n"] }}"#,
    );
    assert_eq!(wanted.queue_group.as_deref(), Some("workers"));
    assert_eq!(wanted.presence.as_deref(), Some(r#"{ "x" : [1, "\n"] }"#), "as it was written");
    assert_eq!(subscribe(r#"{"action":"subscribe","topics":[]}"#).topics, []);
}

#[test]
fn long_names_an_old_prefix_and_escapes_say_the_same() {
    let expected =
        parse(r#"{"t":"subscription_update","p":{"action":"unsubscribe","topics":["a\"é"]},"cid":"1"}"#);
    let Command::Unsubscribe(unsubscribe) = &expected else { panic!("{expected:?}") };
    assert_eq!(unsubscribe.topics, [OwnedFilter::parse("a\"é").unwrap()]);
    assert_eq!(unsubscribe.cid.as_ref().map(Cid::as_str), Some("1"));
    for text in [
        r#"{"type":"subscription_update","payload":{"action":"unsubscribe","topics":["a\"é"]},"cid":"1"}"#,
        r#"{"t":"subscription","p":{"action":"unsubscribe","topics":["a\"\u00e9"]},"cid":"1"}"#,
        r#"{"c":"WSE","\u0074":"subscri\u0070tion","p":{"\u0061ction":"unsubscribe","topics":["a\"é"]},"cid":"\u0031","v":1}"#,
        strip_prefix(
            r#"WSE{"t":"subscription","p":{"topics":["a\"é","a\"é"],"action":"unsubscribe"},"cid":"1"}"#,
        ),
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn a_publication_is_handed_on_as_it_was_written() {
    let text =
        r#"{"p":{"data":{ "t" : "chat", "n":12345678901234567890123 },"topic":"a"},"t":"publish","cid":"x"}"#;
    let Command::Publish(publish) = parse(text) else { panic!() };
    assert_eq!(publish.data, r#"{ "t" : "chat", "n":12345678901234567890123 }"#);
    assert_eq!((publish.topic.as_str(), publish.cid.as_ref().map(Cid::as_str)), ("a", Some("x")));
    assert!(matches!(parse(r#"{"t":"publish","p":{"topic":"a","data":{}}}"#), Command::Publish(_)));
    for kind in [r#""c":"U""#, r#""c":"S","t":"book_snapshot""#, r#""p":{"t":"gap","c":"WSE","tp":1}"#] {
        let text = format!(r#"{{"t":"publish","p":{{"topic":"a","data":{{{kind}}}}}}}"#);
        assert!(matches!(parse(&text), Command::Publish(_)), "{text}");
    }
}

#[test]
fn a_client_says_what_others_see_of_it() {
    let text = r#"{"t":"presence_update","p":{"data":{"status":"away"}},"cid":"x"}"#;
    let Command::PresenceUpdate(update) = parse(text) else { panic!() };
    assert_eq!(update.data, r#"{"status":"away"}"#);
}

#[test]
fn what_clients_may_not_do_themselves_is_the_applications() {
    let none = ClientMay::default();
    for (kind, allowing) in [
        ("subscription_update", ClientMay { subscribe: true, publish: false }),
        ("subscription", ClientMay { subscribe: true, publish: false }),
        ("presence_update", ClientMay { subscribe: true, publish: false }),
        ("publish", ClientMay { subscribe: false, publish: true }),
    ] {
        let other = ClientMay { subscribe: !allowing.subscribe, publish: !allowing.publish };
        for p in ["{}", "{broken", r#"{"action":"subscribe","topics":["a"]}"#] {
            let text = format!(r#"{{"t":"{kind}","p":{p}}}"#);
            assert_eq!(Command::parse(&text, none), Command::Application, "{text}");
            assert_eq!(Command::parse(&text, other), Command::Application, "{text}");
            assert_ne!(Command::parse(&text, allowing), Command::Application, "{text}");
        }
    }
    assert_eq!(Command::parse(r#"{"t":"ping"}"#, none), Command::Ping { timestamp: Value::Null });
}

// What is wrong with it.

/// An `error` names the field, what is wrong with it, and what is allowed.
#[test]
fn every_mistake_is_named() {
    use ErrorCode::{InvalidAction as Action, InvalidSubscription as Subscription, NotAllowed};
    let (too_long, many, deep) =
        ("x".repeat(256), r#""a","#.repeat(MAX_TOPICS), "[".repeat(70) + &"]".repeat(70));
    let subscribes = |p: &str| format!(r#"{{"t":"subscription_update","p":{p}}}"#);
    let with =
        |fields: &str| subscribes(&format!(r#"{{"action":"subscribe","topics":["a","b*"],{fields}}}"#));
    let publishes = |p: &str| format!(r#"{{"t":"publish","p":{p}}}"#);
    let says = |data: &str| publishes(&format!(r#"{{"topic":"a","data":{data}}}"#));
    let table: Vec<(String, ErrorCode, &str)> = vec![
        (subscribes("null"), Action, "p must be an object, and is nothing"),
        (subscribes("[]"), Action, "p must be an object, and is a list"),
        (r#"{"t":"subscription_update"}"#.into(), Action, "p must be an object, and is nothing"),
        (
            subscribes("{}"),
            Action,
            r#"p.action is missing: it must be a text; "subscribe" and "unsubscribe" are allowed"#,
        ),
        (
            subscribes(r#"{"action":7}"#),
            Action,
            r#"p.action must be a text, and is a number; "subscribe" and "unsubscribe" are allowed"#,
        ),
        (
            subscribes(r#"{"action":"join","topics":[]}"#),
            Action,
            r#"p.action is "join"; "subscribe" and "unsubscribe" are allowed"#,
        ),
        (subscribes(r#"{"action":"subscribe"}"#), Action, "p.topics is missing: it must be a list"),
        (
            subscribes(r#"{"action":"unsubscribe","topics":null}"#),
            Action,
            "p.topics is missing: it must be a list",
        ),
        (
            subscribes(r#"{"action":"subscribe","topics":"a"}"#),
            Action,
            "p.topics must be a list, and is a text",
        ),
        (
            subscribes(r#"{"action":"subscribe","topics":["a",{}]}"#),
            Action,
            "p.topics[1] must be a text, and is an object",
        ),
        (
            subscribes(r#"{"action":"subscribe","topics":[""]}"#),
            Subscription,
            r#"p.topics[0] is "": a topic has at least 1 byte"#,
        ),
        (
            subscribes(r#"{"action":"subscribe","topics":["a\u0000"]}"#),
            Subscription,
            r#"p.topics[0] is "a\0": a topic has no control characters, this one has U+0000"#,
        ),
        (
            subscribes(&format!(r#"{{"action":"subscribe","topics":["{too_long}"]}}"#)),
            Subscription,
            r#"xxxx"...: a topic has at most 255 bytes of UTF-8, this one has 256"#,
        ),
        (
            subscribes(&format!(r#"{{"action":"subscribe","topics":[{many}"a"]}}"#)),
            Action,
            "p.topics may have at most 1024 items, and has more",
        ),
        (with(r#""recover":1"#), Action, "p.recover must be true or false, and is a number"),
        (with(r#""recovery":[]"#), Action, "p.recovery must be an object, and is a list"),
        (with(r#""recovery":{"a":7}"#), Action, r#"p.recovery["a"] p.recovery[...] must be an object"#),
        (
            with(r#""recovery":{"a":{"offset":1}}"#),
            Action,
            r#"p.recovery["a"] has no epoch as the server gives it"#,
        ),
        (
            with(r#""recovery":{"a":{"epoch":"DEADBEEF","offset":1}}"#),
            Action,
            r#"p.recovery["a"] has no epoch"#,
        ),
        (
            with(r#""recovery":{"a":{"epoch":"deadbeef"}}"#),
            Action,
            r#"p.recovery["a"] has no offset as the server gives it; {"epoch": 8 hex digits, "offset": integer} is allowed"#,
        ),
        (with(r#""recovery":{"a":{"epoch":"deadbeef","offset":-1}}"#), Action, "has no offset"),
        (with(r#""recovery":{"a":{"epoch":"deadbeef","offset":1.0}}"#), Action, "has no offset"),
        (
            with(r#""recovery":{"a":{"epoch":"deadbeef","offset":18446744073709551616}}"#),
            Action,
            "has no offset",
        ),
        (
            with(r#""recovery":{"x":{"epoch":"deadbeef","offset":1}}"#),
            Subscription,
            r#"p.recovery names "x", which is not among p.topics"#,
        ),
        (
            with(r#""recovery":{"b*":{"epoch":"deadbeef","offset":1}}"#),
            Subscription,
            r#"p.recovery names "b*", which is a pattern"#,
        ),
        (with(r#""queue_group":[]"#), Action, "p.queue_group must be a text, and is a list"),
        (with(r#""queue_group":"""#), Subscription, r#"p.queue_group is "": 1 to 255 bytes"#),
        (with(r#""queue_group":"a\n""#), Subscription, r#"p.queue_group is "a\n": 1 to 255 bytes"#),
        (
            with(r#""queue_group":"g","recover":true"#),
            Subscription,
            "p.recover and p.queue_group exclude each other",
        ),
        (with(r#""presence":"x""#), Action, "p.presence must be an object, and is a text"),
        (with(r#""topics":[]"#), Action, r#"p has the field "topics" twice"#),
        (with(r#""recovery":{"a":1,"\u0061":2}"#), Action, r#"p.recovery has the field "a" twice"#),
        (r#"{"t":"ping","t":"publish","p":{}}"#.into(), Action, r#"the message has the field "t" twice"#),
        (r#"{"t":"publish","p":{},"p":{}}"#.into(), Action, r#"the message has the field "p" twice"#),
        (r#"{"t":"publish","cid":7,"p":{}}"#.into(), Action, "cid must be a text, and is a number"),
        (r#"{"t":"publish","cid":"","p":{}}"#.into(), Action, "cid must have 1 to 128 bytes, and has 0"),
        (publishes("{}"), Action, "p.topic is missing: it must be a text"),
        (publishes(r#"{"topic":["a"],"data":{}}"#), Action, "p.topic must be a text, and is a list"),
        (
            publishes(r#"{"topic":"a*","data":{}}"#),
            Action,
            r#"p.topic is "a*": a message is published to one topic"#,
        ),
        (publishes(r#"{"topic":"a"}"#), Action, "p.data is missing: it must be an object, the message"),
        (says("[1]"), Action, "p.data must be an object, the message, and is a list"),
        (says(r#""text""#), Action, "p.data must be an object, the message, and is a text"),
        (says(r#"{"tp":"x"}"#), Action, r#"p.data must not have a field "tp": the server writes"#),
        (says(r#"{"\u006f":1}"#), Action, r#"p.data must not have a field "o""#),
        (
            says(r#"{"c":"WSE"}"#),
            NotAllowed,
            r#"p.data.c is not for a client to say; "U" and "S" are allowed"#,
        ),
        (says(r#"{"c":"\u0057SE"}"#), NotAllowed, "p.data.c is not for a client to say"),
        (says(r#"{"t":"gap"}"#), NotAllowed, r#"p.data.t is "gap", which only the server says"#),
        (
            says(r#"{"t":"err\u006fr","t":"chat"}"#),
            NotAllowed,
            r#"p.data.t is "error", which only the server says"#,
        ),
        (says(r#"{"t":"chat","type":"ping"}"#), NotAllowed, r#"p.data.type is "ping""#),
        (says(r#"{"t":7}"#), Action, "p.data.t must be a text"),
        (r#"{"t":"presence_update","p":{}}"#.into(), Action, "p.data is missing: it must be an object"),
        (
            r#"{"t":"presence_update","p":{"data":[]}}"#.into(),
            Action,
            "p.data must be an object, and is a list",
        ),
        (says("{broken}"), Action, "the message is no JSON: key must be a string at line 1 column"),
        (says(r#"{"x":NaN}"#), Action, "the message is no JSON: expected value"),
        (says(r#"{"x":1e999}"#), Action, "the message is no JSON: number out of range"),
        (says(r#"{"x":"\ud800"}"#), Action, "the message is no JSON: "),
        (says(&deep), Action, "the message is nested deeper than 64 levels"),
        (format!(r#"{{"t":"ping","p":{deep}}}"#), Action, "the message is nested deeper than 64 levels"),
        (
            subscribes(&format!(
                "{{{}}}",
                (0..65).map(|n| format!(r#""f{n}":1"#)).collect::<Vec<_>>().join(",")
            )),
            Action,
            "p may have at most 64 fields, and has more",
        ),
    ];
    for (text, code, message) in table {
        let bad = bad(&text);
        assert_eq!(bad.code, code, "{text}: {}", bad.message);
        assert!(bad.message.contains(message), "{text}: {}", bad.message);
        assert!(bad.message.len() < 300, "an answer is short whatever came: {}", bad.message);
    }
}

#[test]
fn a_strangers_text_makes_no_long_error_and_no_second_line() {
    for topic in ["\u{7f}", "\n", "\u{1f600}\u{200b}\u{7}"] {
        let topic = topic.repeat(60);
        let bad =
            bad(&json!({"t": "subscription", "p": {"action": "subscribe", "topics": [topic]}}).to_string());
        assert!(bad.message.len() < 200 && !bad.message.contains(char::is_control), "{}", bad.message);
    }
}

#[test]
fn a_mistake_is_answered_under_the_name_of_its_command() {
    let bad = bad(r#"{"t":"publish","p":{},"cid":"my \"7\""}"#);
    assert_eq!(bad.cid.as_ref().map(Cid::as_str), Some("my \"7\""));
    let answer: Value = serde_json::from_str(&crate::protocol::words::refused(&bad, 0)).unwrap();
    assert_eq!((&answer["cid"], &answer["p"]["code"]), (&json!("my \"7\""), &json!("INVALID_ACTION")));
}

#[test]
fn what_is_allowed_at_most_is_allowed() {
    let topics: Vec<String> = (0..MAX_TOPICS).map(|n| format!("{n:0>255}")).collect();
    let recovery: serde_json::Map<String, Value> = topics
        .iter()
        .map(|topic| (topic.clone(), json!({"epoch": "00000000", "offset": u64::MAX})))
        .collect();
    let wanted =
        subscribe(&json!({"action": "subscribe", "topics": topics, "recovery": recovery}).to_string());
    assert_eq!(wanted.topics.len(), MAX_TOPICS);
    assert!(wanted.topics.iter().all(|wanted| wanted.since.is_some_and(|since| since.offset == u64::MAX)));
    let cid = "c".repeat(MAX_CID_BYTES);
    let text = format!(r#"{{"t":"publish","cid":"{cid}","p":{{"topic":"a","data":{{}}}}}}"#);
    assert!(matches!(parse(&text), Command::Publish(Publish { cid: Some(_), .. })));
}

/// Pieces of commands, put together at random: some make sense.
fn pieces() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        r#""subscribe""#,
        r#""unsubscribe""#,
        r#""publish""#,
        r#""subscription_update""#,
        r#""a""#,
        r#""a*""#,
        r#""""#,
        "null",
        "true",
        "false",
        "7",
        "-1",
        "1.5",
        "[]",
        "{}",
        r#"["a","b"]"#,
        r#"["a",1]"#,
        r#"{"a":{"epoch":"deadbeef","offset":7}}"#,
        r#"{"t":"gap"}"#,
        r#"{"t":"x","tp":1}"#,
        "NaN",
        "{",
    ]);
    let name = prop::sample::select(vec![
        "t",
        "type",
        "p",
        "payload",
        "cid",
        "action",
        "topics",
        "topic",
        "data",
        "recover",
        "recovery",
        "queue_group",
        "presence",
        r"\u0074",
    ]);
    let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    let members = || prop::collection::vec(member.clone(), 0..6).prop_map(|members| members.join(","));
    (
        members(),
        members(),
        prop::sample::select(vec!["publish", "subscription", "presence_update", "ping", "chat"]),
    )
        .prop_map(|(outer, inner, kind)| {
            format!(r#"{{{outer}{}"t":"{kind}","p":{{{inner}}}}}"#, if outer.is_empty() { "" } else { "," })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    /// What is taken for a command is what a parser reads in the text; of two members of one name nothing is taken.
    #[test]
    fn a_command_is_what_a_parser_reads(text in pieces()) {
        let value: Option<Value> = serde_json::from_str(&text).ok();
        let read = || value.as_ref().expect("only JSON is a command");
        match parse(&text) {
            Command::Subscribe(subscribe) => {
                let p = &read()["p"];
                prop_assert_eq!(&p["action"], "subscribe");
                let mut topics: Vec<&str> = p["topics"].as_array().unwrap().iter().map(|topic| topic.as_str().unwrap()).collect();
                topics.dedup();
                prop_assert_eq!(subscribe.topics.iter().map(|wanted| wanted.filter.as_str()).collect::<Vec<_>>(), topics);
                prop_assert_eq!(subscribe.recover, p["recover"].as_bool().unwrap_or(!p["recovery"].is_null()));
                prop_assert_eq!(subscribe.queue_group.as_deref(), p["queue_group"].as_str());
            }
            Command::Unsubscribe(_) => prop_assert_eq!(&read()["p"]["action"], "unsubscribe"),
            Command::Publish(publish) => {
                prop_assert_eq!(&read()["p"]["topic"], publish.topic.as_str());
                prop_assert_eq!(&read()["p"]["data"], &serde_json::from_str::<Value>(publish.data).unwrap());
            }
            Command::PresenceUpdate(update) => {
                prop_assert_eq!(&read()["p"]["data"], &serde_json::from_str::<Value>(update.data).unwrap());
            }
            Command::Bad(bad) => prop_assert!(!bad.message.is_empty() && bad.message.len() < 300),
            Command::Application => {
                let kind = value.map(|value| value["t"].clone());
                let ours = |kind: &Value| ["publish", "subscription", "presence_update", "ping"].iter().any(|word| kind == word);
                prop_assert!(kind.is_none_or(|kind| !ours(&kind)), "{}", text);
            }
            Command::Ping { .. } | Command::Pong | Command::ClientHello(_) | Command::AuthRefresh { .. } => {}
        }
    }
}
