//! `subscription_update {"action", "topics", ...}`, also called `subscription`: a client chooses what it hears.

use hashbrown::{HashMap, HashSet};

use super::fields::{Fields, MAX_FIELDS, kind, quoted, text};
use super::{BadCommand, Cid};
use crate::history::{Epoch, Position};
use crate::topic::{MAX_TOPIC_BYTES, OwnedFilter};

/// Topics and patterns in one command. Whoever wants more sends another command.
pub const MAX_TOPICS: usize = 1024;

/// `"action": "subscribe"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What the answer is to be called.
    pub cid: Option<Cid>,
    /// Topics and patterns, each once, in the order of the client.
    pub topics: Vec<Wanted>,
    /// Whether the client wants what it missed; where it says no position that is nothing.
    pub recover: bool,
    /// Shares the messages of the topics with the other members of this group.
    pub queue_group: Option<Box<str>>,
    /// What others see of the client in the topics: a JSON object as it was written.
    pub presence: Option<Box<str>>,
}

/// A topic or pattern that a client wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub filter: OwnedFilter,
    /// The last message of it that the client has, if it wants to go on from there.
    pub since: Option<Position>,
}

/// `"action": "unsubscribe"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// What the answer is to be called.
    pub cid: Option<Cid>,
    /// Topics and patterns, each once, in the order of the client.
    pub topics: Vec<OwnedFilter>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

impl Subscription {
    /// Reads `p`.
    pub(super) fn parse(p: Option<&str>, cid: Option<Cid>) -> Result<Self, BadCommand> {
        let fields = Fields::read("p", p, MAX_FIELDS)?;
        match &*fields.text("action").map_err(|bad| BadCommand { message: bad.message + ACTIONS, ..bad })? {
            "subscribe" => Subscribe::parse(&fields, cid).map(Self::Subscribe),
            "unsubscribe" => {
                let topics = topics(&fields)?;
                Ok(Self::Unsubscribe(Unsubscribe { cid, topics }))
            }
            other => Err(BadCommand::action(format!("p.action is {}{ACTIONS}", quoted(other)))),
        }
    }
}

const ACTIONS: &str = "; \"subscribe\" and \"unsubscribe\" are allowed";

impl Subscribe {
    fn parse(fields: &Fields<'_>, cid: Option<Cid>) -> Result<Self, BadCommand> {
        let topics = topics(fields)?.into_iter().map(|filter| Wanted { filter, since: None });
        let positions = fields.get("recovery");
        let recover = fields.optional_bool("recover")?.unwrap_or(positions.is_some());
        let mut subscribe = Self {
            cid,
            topics: topics.collect(),
            recover,
            queue_group: queue_group(fields)?,
            presence: object(fields, "presence")?,
        };
        if recover && subscribe.queue_group.is_some() {
            return Err(BadCommand::subscription(
                "p.recover and p.queue_group exclude each other: who gets a message of a group is not known again",
            ));
        }
        if let Some(positions) = positions {
            subscribe.take_positions(positions)?;
        }
        Ok(subscribe)
    }

    /// Reads `p.recovery` and gives each position to its topic.
    fn take_positions(&mut self, positions: &str) -> Result<(), BadCommand> {
        let positions = Fields::read("p.recovery", Some(positions), MAX_TOPICS)?;
        let mut by_topic: HashMap<&str, Position> = HashMap::new();
        for (topic, position) in positions.iter() {
            by_topic.insert(topic, read_position(topic, position)?);
        }
        let wrong = |topic: &str, why: &str| {
            BadCommand::subscription(format!("p.recovery names {}, which {why}", quoted(topic)))
        };
        for wanted in &mut self.topics {
            let Some(position) = by_topic.remove(wanted.filter.as_str()) else { continue };
            if wanted.filter.as_filter().is_pattern() {
                return Err(wrong(
                    wanted.filter.as_str(),
                    "is a pattern: each of its topics has a position of its own",
                ));
            }
            wanted.since = self.recover.then_some(position);
        }
        let mut left = positions.iter().filter(|(topic, _)| by_topic.contains_key(&***topic));
        left.next().map_or(Ok(()), |(topic, _)| Err(wrong(topic, "is not among p.topics")))
    }
}

/// The topics and patterns of `p.topics`, each once.
fn topics(fields: &Fields<'_>) -> Result<Vec<OwnedFilter>, BadCommand> {
    let items = fields.list("topics", MAX_TOPICS)?;
    let mut seen = HashSet::with_capacity(items.len());
    let mut topics = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let Some(topic) = text(item) else {
            return Err(BadCommand::action(format!("p.topics[{at}] must be a text, and is {}", kind(item))));
        };
        let topic = OwnedFilter::parse(&topic).map_err(|error| {
            BadCommand::subscription(format!("p.topics[{at}] is {}: {error}", quoted(&topic)))
        })?;
        if seen.insert(topic.clone()) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

fn read_position(topic: &str, value: &str) -> Result<Position, BadCommand> {
    let wrong = |what: &str| {
        let topic = quoted(topic);
        BadCommand::action(format!(
            "p.recovery[{topic}] {what}; {{\"epoch\": 8 hex digits, \"offset\": integer}} is allowed"
        ))
    };
    let fields =
        Fields::read("p.recovery[...]", Some(value), MAX_FIELDS).map_err(|bad| wrong(&bad.message))?;
    let epoch = fields.get("epoch").and_then(text).and_then(|epoch| Epoch::parse(&epoch));
    let offset = fields.get("offset").and_then(|offset| offset.parse().ok());
    let epoch = epoch.ok_or_else(|| wrong("has no epoch as the server gives it"))?;
    let offset = offset.ok_or_else(|| wrong("has no offset as the server gives it"))?;
    Ok(Position { epoch, offset })
}

/// A name has the form of a topic.
fn queue_group(fields: &Fields<'_>) -> Result<Option<Box<str>>, BadCommand> {
    let Some(name) = fields.optional_text("queue_group")? else { return Ok(None) };
    if name.is_empty() || name.len() > MAX_TOPIC_BYTES || name.chars().any(char::is_control) {
        return Err(BadCommand::subscription(format!(
            "p.queue_group is {}: 1 to {MAX_TOPIC_BYTES} bytes of UTF-8 without control characters are allowed",
            quoted(&name)
        )));
    }
    Ok(Some(name.into()))
}

/// A field that is an object if it is there, as it is written.
fn object(fields: &Fields<'_>, name: &str) -> Result<Option<Box<str>>, BadCommand> {
    match fields.get(name) {
        None => Ok(None),
        Some(value) if value.starts_with('{') => Ok(Some(value.into())),
        Some(_) => Err(fields.wrong(name, "an object")),
    }
}
