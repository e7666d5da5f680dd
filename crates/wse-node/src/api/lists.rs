//! What requests are told in lists: who is present, which topics there are, who is connected.

use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_core::ConnId;
use wse_core::http::Response;
use wse_core::http::api::Problem;
use wse_core::topic::{Filter, OwnedFilter};

use super::Step;
use super::people::text_of;
use crate::inbox::Entry;
use crate::people::{ConnectionQuery, Shown};
use crate::shared::Shared;
use crate::topics::Walk;

/// Places that are looked at in one step, and connections found, with their lock held.
const PLACES: usize = 4096;
const PER_STEP: usize = 128;
/// How long a list of topics goes on before it is the turn of another request.
const SLICE: Duration = Duration::from_millis(1);
/// How long the shards may take to tell how much waits for their connections.
const TELLING: Duration = Duration::from_secs(1);

pub(super) fn ok(text: String) -> Step {
    Step::Done(Response::json(200, text))
}

/// Who is present in a topic.
pub(super) fn presence(shared: &Shared, topic: Filter<'_>, after: Option<&str>, limit: usize) -> Step {
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

pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(super) fn comma(out: &mut String, at: usize) {
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
