//! What answers the commands of a client.

use serde_json::{Map, Value, json};

use crate::history::Position;
use crate::protocol::codes::ErrorCode;
use crate::protocol::command::{BadCommand, Cid};
use crate::protocol::words::error_with;

/// What became of a topic that a client wanted to hear and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    /// Which.
    pub topic: &'a str,
    /// Of what kind the reason is.
    pub code: ErrorCode,
    /// The reason.
    pub message: String,
}

/// Where a client stands in a topic with history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery<'a> {
    /// Which topic.
    pub topic: &'a str,
    /// Its last message at that moment.
    pub position: Position,
    /// All that the client missed is on its way, before anything new.
    pub recovered: bool,
    /// How many messages that is.
    pub count: u64,
}

/// The answer to `subscription_update`, in the order of its fields.
#[must_use]
pub fn subscription_update(
    action: &str,
    cid: Option<&Cid>,
    success: &[&str],
    failed: &[Failed<'_>],
    recovery: &[Recovery<'_>],
) -> String {
    let mut p = Map::new();
    p.insert("action".into(), action.into());
    p.insert("success_topics".into(), success.into());
    p.insert("failed_topics".into(), failed.iter().map(|failed| failed.topic).collect());
    let place = |of: &Recovery<'_>| {
        let Position { epoch, offset } = of.position;
        json!({"epoch": epoch.to_string(), "offset": offset, "recovered": of.recovered, "count": of.count})
    };
    p.insert("recovery".into(), recovery.iter().map(|of| (of.topic.to_owned(), place(of))).collect());
    if !failed.is_empty() {
        let reason = |failed: &Failed<'_>| json!({"code": failed.code.as_str(), "message": failed.message});
        let reasons = failed.iter().map(|failed| (failed.topic.to_owned(), reason(failed)));
        p.insert("errors".into(), reasons.collect());
    }
    answer("subscription_update", cid, p)
}

/// The answer to `publish`: accepted, and under which position where the topic has history.
#[must_use]
pub fn published(cid: &Cid, topic: &str, position: Option<Position>) -> String {
    let mut p = Map::new();
    p.insert("topic".into(), topic.into());
    if let Some(Position { epoch, offset }) = position {
        p.insert("epoch".into(), epoch.to_string().into());
        p.insert("offset".into(), offset.into());
    }
    answer("publish", Some(cid), p)
}

/// The answer to `presence_update`: others see it now.
#[must_use]
pub fn presence_updated(cid: &Cid) -> String {
    answer("presence_update", Some(cid), Map::new())
}

/// The answer to a command that can't be obeyed, or is not allowed.
#[must_use]
pub fn refused(bad: &BadCommand, unix_ms: u64) -> String {
    match &bad.cid {
        None => error_with(bad.code, &bad.message, unix_ms, &Map::new()),
        Some(cid) => {
            let p = json!({
                "code": bad.code.as_str(),
                "message": bad.message,
                "timestamp": super::iso8601(unix_ms),
            });
            let Value::Object(p) = p else { unreachable!("it was just written as one") };
            answer("error", Some(cid), p)
        }
    }
}

fn answer(kind: &str, cid: Option<&Cid>, p: Map<String, Value>) -> String {
    let mut message = Map::new();
    message.insert("c".into(), "WSE".into());
    message.insert("t".into(), kind.into());
    if let Some(cid) = cid {
        message.insert("cid".into(), cid.as_str().into());
    }
    message.insert("p".into(), p.into());
    message.insert("v".into(), 1.into());
    Value::from(message).to_string()
}

#[cfg(test)]
mod tests;
