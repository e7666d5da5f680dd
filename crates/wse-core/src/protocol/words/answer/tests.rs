use super::*;
use crate::history::Epoch;
use crate::protocol::command::{ClientMay, Command};
use crate::protocol::words::*;

const EPOCH: Epoch = Epoch::new(0x1234_abcd);

fn at(offset: u64) -> Position {
    Position { epoch: EPOCH, offset }
}

#[test]
fn an_answer_to_a_subscription_has_its_fields_in_order() {
    let recovery = [Recovery { topic: "a", position: at(0), recovered: true, count: 0 }];
    let text = subscription_update("subscribe", None, &["a", "b*"], &[], &recovery);
    let p = r#"{"action":"subscribe","success_topics":["a","b*"],"failed_topics":[],"recovery":{"a":{"epoch":"1234abcd","offset":0,"recovered":true,"count":0}}}"#;
    assert_eq!(text, format!(r#"{{"c":"WSE","t":"subscription_update","p":{p},"v":1}}"#));
    let failed = [Failed { topic: "x", code: ErrorCode::NotAllowed, message: "no".into() }];
    let text = subscription_update("subscribe", None, &[], &failed, &[]);
    let p = r#"{"action":"subscribe","success_topics":[],"failed_topics":["x"],"recovery":{},"errors":{"x":{"code":"NOT_ALLOWED","message":"no"}}}"#;
    assert_eq!(text, format!(r#"{{"c":"WSE","t":"subscription_update","p":{p},"v":1}}"#));
}

#[test]
fn an_answer_has_the_name_that_the_client_gave_its_command() {
    let all = ClientMay { subscribe: true, publish: true };
    let Command::Publish(publish) =
        Command::parse(r#"{"t":"publish","cid":"7","p":{"topic":"a","data":{}}}"#, all)
    else {
        panic!()
    };
    let cid = publish.cid.unwrap();
    assert_eq!(published(&cid, "a", None), r#"{"c":"WSE","t":"publish","cid":"7","p":{"topic":"a"},"v":1}"#);
    assert_eq!(
        published(&cid, "a", Some(at(3))),
        r#"{"c":"WSE","t":"publish","cid":"7","p":{"topic":"a","epoch":"1234abcd","offset":3},"v":1}"#
    );
    let bad = |cid| BadCommand { code: ErrorCode::NotAllowed, message: "no".into(), cid };
    let p = r#"{"code":"NOT_ALLOWED","message":"no","timestamp":"1970-01-01T00:00:00.000Z"}"#;
    assert_eq!(refused(&bad(Some(cid)), 0), format!(r#"{{"c":"WSE","t":"error","cid":"7","p":{p},"v":1}}"#));
    assert_eq!(refused(&bad(None), 0), format!(r#"{{"c":"WSE","t":"error","p":{p},"v":1}}"#));
}

#[test]
fn no_client_may_say_what_the_server_says() {
    let gap = Gap::Uncounted { topic: "a", missed: None }.to_text();
    for text in [
        ping(0),
        pong(&serde_json::Value::Null, 0),
        error(ErrorCode::AuthFailed, "no", 0),
        rate_limit_warning(3.7, 10.0, 1.0),
        reconnect(250, ""),
        token_expiring(60),
        auth_refresh(3600),
        gap,
        subscription_update("subscribe", None, &[], &[], &[]),
    ] {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(is_servers(value["t"].as_str().unwrap()), "{text}");
    }
    assert!(!is_servers("chat"));
}
