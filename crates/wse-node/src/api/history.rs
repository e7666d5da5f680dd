//! What requests are told of the messages of a topic.

use std::fmt::Write as _;

use serde_json::Value;
use wse_core::history::{NotRecovered, Position, Replay};
use wse_core::http::api::Problem;
use wse_core::topic::OwnedFilter;
use wse_core::websocket::frame::ServerFrames;

use super::Step;
use super::lists::{comma, ok, quoted};
use crate::histories::Histories;
use crate::shared::Shared;

/// Bytes of messages in one answer, beside the last of them.
const MESSAGE_BYTES: usize = 8 << 20;
/// How long the home of a topic may be asked, which answers or is given up for dead within seconds.
const ASKING_MS: u64 = 30_000;

/// Messages of a topic that are being looked for.
#[derive(Debug)]
pub(super) struct Looking {
    topic: OwnedFilter,
    since: Option<Position>,
    limit: usize,
    /// Where the newest of them begin, as far as that was known when the topic's home had said where it stands.
    newest: Option<Position>,
    until_ms: u64,
}

impl Looking {
    pub(super) fn new(shared: &Shared, topic: OwnedFilter, since: Option<Position>, limit: usize) -> Self {
        Self { topic, since, limit, newest: None, until_ms: shared.clock.now_ms() + ASKING_MS }
    }

    pub(super) fn step(&mut self, shared: &Shared) -> Step {
        let Some(histories) = &shared.histories else {
            return Problem::not_enabled("recovery_enabled").into();
        };
        let confirmed = match self.ask(shared, histories) {
            Some(confirmed) => confirmed,
            None if shared.clock.now_ms() < self.until_ms => return Step::Later,
            None => false,
        };
        let topic = self.topic.as_str();
        let (top, replay) = match histories.look(topic, self.since, self.limit as u64, shared.clock.now_ms())
        {
            None => (None, Ok(Replay::default())),
            Some((top, replay)) => (Some(top), replay),
        };
        let reason = replay.as_ref().err().map(|reason| match reason {
            NotRecovered::UnknownEpoch => "unknown_epoch",
            NotRecovered::Ahead => "ahead",
            NotRecovered::Gone | NotRecovered::TooMany => "gone",
        });
        // A position in a history that there is not, or no more.
        let reason = reason.or((top.is_none() && self.since.is_some()).then_some("unknown_epoch"));
        let mut out = format!(
            "{{\"topic\":{},\"epoch\":{},\"offset\":{},\"confirmed\":{confirmed},\"recovered\":{},\"reason\":{},\"messages\":[",
            quoted(topic),
            Value::from(top.map(|top| top.epoch.to_string())),
            Value::from(top.map(|top| top.offset)),
            reason.is_none(),
            Value::from(reason),
        );
        let more = write_messages(&mut out, &replay.unwrap_or_default(), self.limit);
        let _ = write!(out, "],\"more\":{more}}}");
        ok(out)
    }

    /// In a cluster the topic's home is asked, as for somebody who subscribes, and what this node lacks is brought: `None` while that goes
    /// on, else whether the home said where the topic stands.
    fn ask(&mut self, shared: &Shared, histories: &Histories) -> Option<bool> {
        let topic = self.topic.as_str();
        let confirmed = shared.is_heard_from(topic, self.since)?;
        if self.since.is_some() || !confirmed {
            return Some(confirmed);
        }
        // Asked for once: in a topic where much is published the newest are others each time.
        if self.newest.is_none() {
            let now_ms = shared.clock.now_ms();
            let newest = |(top, _): (Position, _)| Position {
                offset: top.offset.saturating_sub(self.limit as u64),
                ..top
            };
            self.newest = histories.look(topic, None, 0, now_ms).map(newest);
        }
        if let Some(newest) = self.newest {
            // That they are not all there is no want of confirmation.
            shared.is_heard_from(topic, Some(newest))?;
        }
        Some(confirmed)
    }
}

/// The first messages of a replay, as clients get them, each with its position; whether there are more.
fn write_messages(out: &mut String, replay: &Replay, limit: usize) -> bool {
    let (mut written, mut bytes) = (0, 0);
    for (chunk, start, end) in &replay.parts {
        let first = chunk.offset_at(*start);
        let frames = ServerFrames::of(&chunk.bytes()[*start as usize..*end as usize]);
        for (frame, offset) in frames.zip(first..) {
            if written == limit || bytes >= MESSAGE_BYTES {
                return true;
            }
            comma(out, written);
            let epoch = chunk.epoch();
            let _ = write!(out, "{{\"epoch\":\"{epoch}\",\"offset\":{offset},\"data\":");
            write_message(out, frame.payload);
            out.push('}');
            written += 1;
            bytes += frame.payload.len();
        }
    }
    false
}

/// A message that is an object stands as it is; another text, and what only looks like an object, as a text.
fn write_message(out: &mut String, payload: &[u8]) {
    let text = String::from_utf8_lossy(payload);
    let is_object = text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
    if is_object {
        out.push_str(&text);
    } else {
        out.push_str(&quoted(&text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payload: &str) -> String {
        let mut out = String::new();
        write_message(&mut out, payload.as_bytes());
        out
    }

    #[test]
    fn whatever_was_published_makes_an_answer_that_is_json() {
        assert_eq!(written(r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(written("plain \"text\""), r#""plain \"text\"""#);
        assert_eq!(written("{broken"), r#""{broken""#);
        assert_eq!(written(r#"{"a":NaN}"#), r#""{\"a\":NaN}""#);
        assert_eq!(written("[1]"), "\"[1]\"");
    }
}
