//! What requests are told: who is present, what was published, which topics there are, who is connected.

use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_core::ConnId;
use wse_core::history::{NotRecovered, Position, Replay};
use wse_core::http::Response;
use wse_core::http::api::{Problem, Question};
use wse_core::topic::{Filter, OwnedFilter};
use wse_core::websocket::frame::ServerFrames;

use super::Step;
use super::people::text_of;
use crate::inbox::Entry;
use crate::people::{ConnectionQuery, Shown};
use crate::shared::Shared;
use crate::topics::Walk;

/// Bytes of messages in one answer, beside the last of them.
const MESSAGE_BYTES: usize = 8 << 20;
/// Places that are looked at in one step, and connections found, with their lock held.
const PLACES: usize = 4096;
const PER_STEP: usize = 128;
/// How long a list of topics goes on before it is the turn of another request.
const SLICE: Duration = Duration::from_millis(1);
/// How long the shards may take to tell how much waits for their connections.
const TELLING: Duration = Duration::from_secs(1);

/// Answers what takes one step.
pub(super) fn answer(shared: &Shared, question: &Question) -> Step {
    match question {
        Question::Presence { topic, after, limit } => {
            presence(shared, topic.as_filter(), after.as_deref(), *limit)
        }
        Question::History { topic, since, limit } => history(shared, topic.as_filter(), *since, *limit),
        Question::Topics { .. } | Question::Connections { .. } => unreachable!("they are listed in steps"),
    }
}

fn ok(text: String) -> Step {
    Step::Done(Response::json(200, text))
}

fn presence(shared: &Shared, topic: Filter<'_>, after: Option<&str>, limit: usize) -> Step {
    let Some(attendance) = &shared.attendance else { return Problem::not_enabled("presence_enabled").into() };
    let stats = attendance.stats(topic.as_str());
    let mut users = attendance.list(topic.as_str());
    users.retain(|one| after.is_none_or(|after| &*one.user > after));
    users.sort_unstable_by(|one, other| one.user.cmp(&other.user));
    let next = (users.len() > limit).then(|| users[limit - 1].user.to_string());
    let mut out = format!(
        "{{\"topic\":{},\"num_users\":{},\"num_connections\":{},\"users\":[",
        quoted(topic.as_str()),
        stats.users,
        stats.connections
    );
    for (at, one) in users.iter().take(limit).enumerate() {
        let (user, data, connections) = (quoted(&one.user), one.data.as_str(), one.connections);
        comma(&mut out, at);
        let _ = write!(out, "{{\"user_id\":{user},\"data\":{data},\"connections\":{connections}}}");
    }
    let _ = write!(out, "],\"next\":{}}}", Value::from(next));
    ok(out)
}

/// Topics that are being listed.
#[derive(Debug)]
pub(super) struct TopicList {
    walk: Option<Walk>,
    limit: usize,
}

impl TopicList {
    pub(super) fn new(pattern: Option<OwnedFilter>, after: Option<String>, limit: usize) -> Self {
        // One more than is told says whether there are more.
        Self { walk: Some(Walk::new(pattern, after, limit + 1)), limit }
    }

    pub(super) fn step(&mut self, shared: &Shared) -> Step {
        let began = Instant::now();
        let Some(walk) = &mut self.walk else { return Step::Soon };
        while walk.step(&shared.topics) {
            if began.elapsed() >= SLICE {
                return Step::Soon;
            }
        }
        let mut listed = self.walk.take().map(|walk| walk.finish(&shared.topics)).unwrap_or_default();
        let next = (listed.len() > self.limit).then(|| listed[self.limit - 1].topic.clone());
        listed.truncate(self.limit);
        let tell = |one: crate::topics::Listed| json!({ "topic": one.topic, "subscribers": one.subscribers, "group_members": one.members });
        let topics: Vec<Value> = listed.into_iter().map(tell).collect();
        ok(json!({ "topics": topics, "next": next }).to_string())
    }
}

fn history(shared: &Shared, topic: Filter<'_>, since: Option<Position>, limit: usize) -> Step {
    let Some(histories) = &shared.histories else { return Problem::not_enabled("recovery_enabled").into() };
    let topic = topic.as_str();
    // In a cluster the topic's home is asked, as for somebody who subscribes.
    let Some(mut confirmed) = shared.is_heard_from(topic, since) else { return Step::Later };
    let top = histories.look(topic, since, 0, shared.clock.now_ms()).map(|(top, _)| top);
    if let (Some(top), None) = (top, since) {
        let newest = Position { offset: top.offset.saturating_sub(limit as u64), ..top };
        let Some(heard) = shared.is_heard_from(topic, Some(newest)) else { return Step::Later };
        // That they are not all there is no want of confirmation.
        confirmed &= heard || histories.covers(topic, None, shared.clock.now_ms());
    }
    let found = histories.look(topic, since, limit as u64, shared.clock.now_ms());
    let (top, replay) = match found {
        None => (None, Ok(Replay::default())),
        Some((top, replay)) => (Some(top), replay),
    };
    let reason = replay.as_ref().err().map(|reason| match reason {
        NotRecovered::UnknownEpoch => "unknown_epoch",
        NotRecovered::Ahead => "ahead",
        NotRecovered::Gone | NotRecovered::TooMany => "gone",
    });
    // A position in a history that there is not, or no more.
    let reason = reason.or((top.is_none() && since.is_some()).then_some("unknown_epoch"));
    let mut out = format!(
        "{{\"topic\":{},\"epoch\":{},\"offset\":{},\"confirmed\":{confirmed},\"recovered\":{},\"reason\":{},\"messages\":[",
        quoted(topic),
        Value::from(top.map(|top| top.epoch.to_string())),
        Value::from(top.map(|top| top.offset)),
        reason.is_none(),
        Value::from(reason),
    );
    let more = write_messages(&mut out, &replay.unwrap_or_default(), limit);
    let _ = write!(out, "],\"more\":{more}}}");
    ok(out)
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

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn comma(out: &mut String, at: usize) {
    if at > 0 {
        out.push(',');
    }
}

/// Connections that are being listed, by shard and place: whoever is connected all the while is listed once, however many come and go.
#[derive(Debug)]
pub(super) struct Listing {
    user: Option<String>,
    limit: usize,
    /// Where to go on.
    shard: usize,
    slot: u32,
    shown: Vec<(ConnId, Shown)>,
}

impl Listing {
    pub(super) fn new(
        shared: &Shared,
        user: Option<String>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Self, Problem> {
        let (shard, slot) = match after {
            None => (0, 0),
            Some(text) => {
                let conn = ConnId::parse(text, shared.run).ok_or_else(Problem::unknown_cursor)?;
                (usize::from(conn.shard), conn.slot + 1)
            }
        };
        Ok(Self { user, limit, shard, slot, shown: Vec::new() })
    }

    pub(super) fn step(&mut self, shared: &Shared) -> Step {
        // One more than is told says whether there are more.
        let wanted = self.limit + 1 - self.shown.len();
        if let Some(of) = shared.shards.get(self.shard).filter(|_| wanted > 0) {
            let (shard, user, most) = (self.shard as u8, self.user.as_deref(), wanted.min(PER_STEP));
            match of.people.show(shard, user, self.slot, PLACES, most, &mut self.shown) {
                Some(next) => self.slot = next,
                None => (self.shard, self.slot) = (self.shard + 1, 0),
            }
            return Step::Soon;
        }
        let next = (self.shown.len() > self.limit).then(|| text_of(self.shown[self.limit - 1].0, shared));
        self.shown.truncate(self.limit);
        let queued = queued_bytes(shared, &self.shown);
        let told = self.shown.iter().zip(queued);
        let connections: Vec<Value> =
            told.map(|((conn, shown), queued)| tell(shared, *conn, shown, queued)).collect();
        ok(json!({ "connections": connections, "next": next }).to_string())
    }
}

fn tell(shared: &Shared, conn: ConnId, shown: &Shown, queued_bytes: usize) -> Value {
    json!({
        "connection_id": text_of(conn, shared),
        "address": shown.address.ip().to_canonical().to_string(),
        "port": Some(shown.address.port()).filter(|port| *port != 0),
        "user_id": shown.user_id,
        "connected_at": shown.connected_at_ms as f64 / 1000.0,
        "format": shown.wire.format().name(),
        "compressed": shown.wire.is_compressed(),
        "topics": shown.topics,
        "subscriptions": shown.subscriptions,
        "queued_bytes": queued_bytes,
    })
}

/// How much waits for each connection: all shards are asked, then all answers are taken. They answer within a turn.
fn queued_bytes(shared: &Shared, shown: &[(ConnId, Shown)]) -> Vec<usize> {
    let ask = |(conn, _): &(ConnId, Shown)| {
        let (answer, answered) = sync_channel(1);
        let query = Entry::Query { conn: *conn, answer };
        let _ = shared.shards[usize::from(conn.shard)].inbox.put_now(|state| state.entries.push(query));
        answered
    };
    let asked: Vec<Receiver<ConnectionQuery>> = shown.iter().map(ask).collect();
    let deadline = Instant::now() + TELLING;
    let take = |answered: Receiver<ConnectionQuery>| {
        let left = deadline.saturating_duration_since(Instant::now());
        answered.recv_timeout(left).unwrap_or_default().queued_bytes
    };
    asked.into_iter().map(take).collect()
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
