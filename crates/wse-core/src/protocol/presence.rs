//! What is told of a user in a topic, as text: to subscribers and to the application.

use serde_json::Value;

use crate::presence::{Data, Kind};

/// The frame that the subscribers of a topic are sent.
#[must_use]
pub fn frame(kind: Kind, topic: &str, user: &str, data: &Data) -> String {
    let word = match kind {
        Kind::Joined => "presence_join",
        Kind::Left { .. } => "presence_leave",
        Kind::Updated => "presence_update",
    };
    let p = description(topic, user, data);
    format!(r#"{{"c":"WSE","t":"{word}","p":{p},"v":1}}"#)
}

/// Who, where, and what it shows: the payload of the frame, and what the application is told.
#[must_use]
pub fn description(topic: &str, user: &str, data: &Data) -> String {
    let (topic, user, data) = (Value::from(topic), Value::from(user), data.as_str());
    format!(r#"{{"topic":{topic},"user_id":{user},"data":{data}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_frame_says_what_happened_where_and_to_whom() {
        let data = Data::new(r#"{"name":"Zo\u00eb"}"#, 100).unwrap();
        for (kind, word) in [
            (Kind::Joined, "presence_join"),
            (Kind::Left { owed: false }, "presence_leave"),
            (Kind::Updated, "presence_update"),
        ] {
            let text = frame(kind, "room \"1\"", "u\\1", &data);
            let value: Value = serde_json::from_str(&text).unwrap();
            let p = json!({"topic": "room \"1\"", "user_id": "u\\1", "data": {"name": "Zoë"}});
            assert_eq!(value, json!({"c": "WSE", "t": word, "p": p, "v": 1}));
            assert!(text.starts_with(r#"{"c":"WSE","t":"#));
        }
    }
}
