//! Replays `spec/vectors/protocol.json`, as far as it needs no server.

use serde_json::{Map, Value, json};

use super::codes::ErrorCode;
use super::command::{BadCommand, Cid, ClientHello, ClientMay, Command, Wanted, strip_prefix};
use super::words::{self, Failed, Gap, Recovery};
use crate::history::{Epoch, Position};
use crate::presence::{Data, Kind};

fn vectors(kind: &str) -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("../../../../spec/vectors/protocol.json")).expect("JSON");
    all[kind].as_array().expect("a list").clone()
}

#[test]
fn every_command_is_read_as_the_vectors_say() {
    for vector in vectors("commands") {
        let allows = |what: &str| match &vector["may"] {
            Value::Null => true,
            may => may.as_array().unwrap().iter().any(|allowed| allowed == what),
        };
        let may = ClientMay { subscribe: allows("subscribe"), publish: allows("publish") };
        let text = vector["text"].as_str().unwrap();
        let mut expected = vector.as_object().unwrap().clone();
        ["name", "text", "may"].iter().for_each(|name| drop(expected.remove(*name)));
        // What a vector leaves out is not there.
        ["queue_group", "presence"].iter().filter(|_| vector["is"] == "subscribe").for_each(|name| {
            expected.entry(*name).or_insert(Value::Null);
        });
        if vector["is"] == "error" {
            expected.entry("cid").or_insert(Value::Null);
        }
        let read = describe(&Command::parse(strip_prefix(text), may));
        assert_eq!(read, Value::from(expected), "{}", vector["name"]);
    }
}

fn describe(command: &Command<'_>) -> Value {
    let name = |cid: &Option<Cid>| cid.as_ref().map(|cid| cid.as_str().to_owned());
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    match command {
        Command::Application => json!({"is": "application"}),
        Command::Ping { timestamp } => json!({"is": "ping", "timestamp": timestamp}),
        Command::Pong => json!({"is": "pong"}),
        Command::AuthRefresh { token } => json!({"is": "auth_refresh", "token": token}),
        Command::Subscribe(subscribe) => json!({
            "is": "subscribe",
            "topics": subscribe.topics.iter().map(describe_wanted).collect::<Vec<_>>(),
            "recover": subscribe.recover,
            "queue_group": subscribe.queue_group,
            "presence": subscribe.presence.as_deref().map(json),
            "cid": name(&subscribe.cid),
        }),
        Command::Unsubscribe(unsubscribe) => json!({
            "is": "unsubscribe",
            "topics": unsubscribe.topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(),
            "cid": name(&unsubscribe.cid),
        }),
        Command::Publish(publish) => json!({
            "is": "publish",
            "topic": publish.topic.as_str(),
            "data": json(publish.data),
            "cid": name(&publish.cid),
        }),
        Command::PresenceUpdate(update) => {
            json!({"is": "presence_update", "data": json(update.data), "cid": name(&update.cid)})
        }
        Command::Bad(BadCommand { code, message, cid }) => {
            json!({"is": "error", "code": code.as_str(), "message": message, "cid": name(cid)})
        }
        Command::ClientHello(ClientHello { protocol_version, .. }) => {
            json!({"is": "client_hello", "protocol_version": protocol_version})
        }
    }
}

fn describe_wanted(wanted: &Wanted) -> Value {
    let since = |since: Position| json!({"epoch": since.epoch.to_string(), "offset": since.offset});
    json!({"topic": wanted.filter.as_str(), "since": wanted.since.map(since)})
}

#[test]
fn every_word_is_said_as_the_vectors_say() {
    for vector in vectors("words") {
        assert_eq!(say(&vector), vector["message"].to_string(), "{}", vector["name"]);
    }
}

fn say(vector: &Value) -> String {
    let text = |name: &str| vector[name].as_str().unwrap();
    let number = |name: &str| vector[name].as_u64().unwrap();
    let decimal = |name: &str| vector[name].as_f64().unwrap();
    let code = |of: &Value| *ErrorCode::ALL.iter().find(|code| of["code"] == code.as_str()).unwrap();
    let cid = vector["cid"].as_str().map(cid_named);
    match text("is") {
        "pong" => words::pong(&vector["timestamp"], number("unix_ms")),
        "ping" => words::ping(number("unix_ms")),
        "error" => words::error_with(code(vector), text("text"), number("unix_ms"), &Map::new()),
        "rate_limit_warning" => {
            words::rate_limit_warning(decimal("remaining"), decimal("capacity"), decimal("refill"))
        }
        "token_expiring" => words::token_expiring(number("expires_in")),
        "auth_refresh" => words::auth_refresh(number("expires_in")),
        "reconnect" => words::reconnect(number("retry_in_ms"), text("reason")),
        "published" => {
            let position = (!vector["position"].is_null()).then(|| position(&vector["position"]));
            words::published(&cid.unwrap(), text("topic"), position)
        }
        "subscription_update" => {
            let list = |name: &str| vector[name].as_array().unwrap();
            let success: Vec<&str> = list("success").iter().map(|topic| topic.as_str().unwrap()).collect();
            let failed = |of: &'_ Value| {
                (
                    of["topic"].as_str().unwrap().to_owned(),
                    code(of),
                    of["message"].as_str().unwrap().to_owned(),
                )
            };
            let failed: Vec<_> = list("failed").iter().map(failed).collect();
            let failed: Vec<Failed<'_>> = failed
                .iter()
                .map(|(topic, code, message)| Failed { topic, code: *code, message: message.clone() })
                .collect();
            let recovery: Vec<Recovery<'_>> = list("recovery")
                .iter()
                .map(|of| Recovery {
                    topic: of["topic"].as_str().unwrap(),
                    position: position(of),
                    recovered: of["recovered"].as_bool().unwrap(),
                    count: of["count"].as_u64().unwrap(),
                })
                .collect();
            words::subscription_update(text("action"), cid.as_ref(), &success, &failed, &recovery)
        }
        "gap" => gap(vector).to_text(),
        "presence_updated" => words::presence_updated(&cid.unwrap()),
        "presence" => {
            let kind = match text("what") {
                "join" => Kind::Joined,
                "leave" => Kind::Left { owed: false },
                _ => Kind::Updated,
            };
            let data = Data::new(&vector["data"].to_string(), 4096).unwrap();
            super::presence::frame(kind, text("topic"), text("user_id"), &data)
        }
        other => panic!("no such word: {other}"),
    }
}

fn gap(vector: &Value) -> Gap<'_> {
    let topic = vector["topic"].as_str().unwrap();
    let missed = vector["missed"].as_u64();
    let Some(epoch) = vector["epoch"].as_str().and_then(Epoch::parse) else {
        return Gap::Uncounted { topic, missed };
    };
    let from = vector["from"].as_u64().unwrap();
    match vector["to"].as_u64() {
        Some(to) => Gap::Lost { topic, epoch, from, to },
        None => Gap::Turned { topic, epoch, from, missed, next: position(&vector["next"]) },
    }
}

fn position(of: &Value) -> Position {
    let epoch = Epoch::parse(of["epoch"].as_str().unwrap()).unwrap();
    Position { epoch, offset: of["offset"].as_u64().unwrap() }
}

/// The only way to a name is from a client.
fn cid_named(name: &str) -> Cid {
    let text = json!({"t": "presence_update", "cid": name, "p": {"data": {}}}).to_string();
    let may = ClientMay { subscribe: true, publish: true };
    let Command::PresenceUpdate(update) = Command::parse(&text, may) else { panic!("{text}") };
    update.cid.unwrap()
}
