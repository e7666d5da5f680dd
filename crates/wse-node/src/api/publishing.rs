//! Messages of one request on their way, each as soon as there is room for it.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde_json::{Map, Value, json};
use wse_core::history::Position;
use wse_core::http::Response;
use wse_core::http::api::{Problem, Publication, Wait};

use super::Step;
use crate::cluster::StoredAt;
use crate::publish::Unsendable;
use crate::shared::Shared;

/// How long a message may wait for room.
const PATIENCE_MS: u64 = 30_000;
/// Bytes that are published in one step.
const STEP_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Publishing {
    body: String,
    publications: Vec<Publication>,
    /// The first that is not published.
    next: usize,
    /// The request was for one message, and the answer is about it alone.
    is_one: bool,
    /// When the last one was.
    moved_ms: u64,
    /// The last message of each topic, as it is told.
    told: Map<String, Value>,
    stored: Option<Storing>,
}

/// What is waited for until it is stored.
#[derive(Debug)]
struct Storing {
    timeout: Duration,
    /// The last message of each topic, with which all before are stored.
    last_of: HashMap<String, usize, RandomState>,
    tickets: Vec<(String, u64)>,
    deadline_ms: Option<u64>,
}

impl Publishing {
    /// Sees to it that all of it can be sent before any of it is.
    pub(super) fn new(
        shared: &Shared,
        body: String,
        publications: Vec<Publication>,
        wait: Wait,
        is_one: bool,
    ) -> Result<Self, Problem> {
        for (at, publication) in publications.iter().enumerate() {
            let text = &body[publication.data.clone()];
            shared.check_sendable(publication.topic.as_filter(), text).map_err(|error| {
                let path = if is_one { "data".to_owned() } else { format!("messages[{at}].data") };
                unsendable(&path, error)
            })?;
        }
        let is_in_logs = shared.cluster.get().is_some() && shared.histories.is_some();
        let stored = match wait {
            Wait::Stored(timeout) if is_in_logs => {
                let names = publications.iter().map(|publication| publication.topic.as_str().to_owned());
                let last_of = names.zip(0..).collect();
                Some(Storing { timeout, last_of, tickets: Vec::new(), deadline_ms: None })
            }
            _ => None,
        };
        let moved_ms = shared.clock.now_ms();
        Ok(Self { body, publications, next: 0, is_one, moved_ms, told: Map::new(), stored })
    }

    /// How many messages are published.
    pub(super) fn published(&self) -> usize {
        self.next
    }

    pub(super) fn step(&mut self, shared: &Shared, patient: bool) -> Step {
        let now_ms = shared.clock.now_ms();
        let mut bytes = 0;
        while let Some(publication) = self.publications.get(self.next) {
            if shared.is_stopping() {
                return Problem::stopping(self.next).into();
            }
            if bytes >= STEP_BYTES {
                return Step::Soon;
            }
            let (topic, text) = (publication.topic.as_filter(), &self.body[publication.data.clone()]);
            if !shared.has_room_for(topic) {
                if now_ms >= self.moved_ms + PATIENCE_MS {
                    return Problem::no_room(self.next).into();
                }
                return Step::Later;
            }
            let position = match &mut self.stored {
                Some(storing) => {
                    storing.publish(shared, topic.as_str(), text, self.next);
                    Ok(None)
                }
                None if patient => shared.publish_patiently(topic, text),
                None => shared.publish_now(topic, text),
            };
            match position {
                Ok(position) => {
                    self.told.insert(topic.as_str().to_owned(), place(position, position.map(|_| 1)));
                }
                Err(error) => return unsendable("data", error).into(),
            }
            bytes += text.len();
            self.next += 1;
            self.moved_ms = now_ms;
        }
        self.await_stored(shared, now_ms)
    }

    fn await_stored(&mut self, shared: &Shared, now_ms: u64) -> Step {
        let (Some(storing), Some(cluster)) = (&mut self.stored, shared.cluster.get()) else {
            return Step::Done(self.answer());
        };
        let deadline_ms = *storing.deadline_ms.get_or_insert(now_ms + storing.timeout.as_millis() as u64);
        let told = &mut self.told;
        storing.tickets.retain(|(topic, ticket)| match cluster.desk().stored(*ticket) {
            None => true,
            Some(StoredAt { position, copies }) => {
                told.insert(topic.clone(), place(position, Some(copies)));
                false
            }
        });
        if storing.tickets.is_empty() {
            return Step::Done(self.answer());
        }
        if now_ms < deadline_ms && !shared.is_stopping() {
            return Step::Later;
        }
        storing.tickets.iter().for_each(|(_, ticket)| cluster.desk().forget_ticket(*ticket));
        Problem::not_stored().into()
    }

    fn answer(&mut self) -> Response {
        let told = std::mem::take(&mut self.told).into_iter();
        let mut topics: Vec<Value> = told.map(|(topic, place)| with_topic(topic, place)).collect();
        let answer = match topics.pop() {
            Some(only) if self.is_one => only,
            last => {
                topics.extend(last);
                json!({ "published": self.next, "topics": topics })
            }
        };
        Response::json(200, answer.to_string())
    }
}

impl Storing {
    fn publish(&mut self, shared: &Shared, topic: &str, text: &str, at: usize) {
        let Some(cluster) = shared.cluster.get() else { return };
        let ticket = (self.last_of.get(topic) == Some(&at)).then(|| cluster.desk().ticket());
        cluster.desk().publish(topic, &[text], ticket);
        self.tickets.extend(ticket.map(|ticket| (topic.to_owned(), ticket)));
    }
}

fn place(position: Option<Position>, copies: Option<u8>) -> Value {
    json!({
        "epoch": position.map(|position| position.epoch.to_string()),
        "offset": position.map(|position| position.offset),
        "copies": copies,
    })
}

fn with_topic(topic: String, place: Value) -> Value {
    let mut answer = Map::from_iter([("topic".to_owned(), Value::from(topic))]);
    if let Value::Object(place) = place {
        answer.extend(place);
    }
    Value::from(answer)
}

fn unsendable(path: &str, error: Unsendable) -> Problem {
    match error {
        Unsendable::TooLong { len, limit } => Problem::too_large(format!(
            "{path}: a message of {len} bytes is longer than max_outbound_queue_bytes ({limit})"
        )),
        Unsendable::OwnStamp(error) => Problem::field(format!("{path}: {error}")),
    }
}
