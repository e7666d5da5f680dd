//! Somebody's messages on their way into the inboxes of the shards.

mod finish;
mod logged;
mod portions;

use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use wse_core::ConnId;
use wse_core::history::Position;
use wse_core::protocol::category::categorise;
use wse_core::protocol::stamp::{OwnStamp, Stampable};
use wse_core::topic::Filter;
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::MAX_SERVER_HEADER;

use crate::cluster::Desk;
use crate::histories::{Histories, History};
use crate::inbox::{self, Message};
use crate::server::Server;
use crate::shared::Shared;
use crate::squeeze::{is_made_at_once, without_compression, worthwhile};
use crate::stats::TIMES;
use crate::topics::{Audience, Picks};
use finish::{put_in_each, put_renewed};
use logged::{log_many, log_some};
use portions::publish_portion;

pub(crate) use logged::stamp;

/// What somebody has to say.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Text; a JSON object without a category gets one.
    Json(&'a str),
    /// Text that is sent as it is.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// Why a message can't be sent to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unsendable {
    /// It is longer than any client may be behind.
    #[error("a message of {len} bytes is longer than max_outbound_queue_bytes ({limit})")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// `max_outbound_queue_bytes`.
        limit: usize,
    },
    /// It has a field that the server writes.
    #[error(transparent)]
    OwnStamp(#[from] OwnStamp),
}

/// One message on its way.
///
/// [`Publication::try_finish`] does all that needs no waiting; [`Publication::finish`] compresses and waits where it must.
pub struct Publication<'a> {
    shared: &'a Shared,
    to: To<'a>,
    lanes: u16,
    /// Whether it is made for them while the GIL is kept.
    at_once: bool,
    _stopwatch: Option<Stopwatch<'a>>,
}

enum To<'a> {
    /// All who hear a topic without history, by the shards that still have to get it.
    Topic(Arc<Audience>, &'a str, Message<'a>, u64, Picks),
    /// The same for a topic with history: who hears it is looked up when it gets its stamp.
    Log(Arc<History>, &'a Histories, Stampable<'a>, Option<Position>),
    /// The same in a cluster: the thread that keeps its logs takes it from there. `None` when it has.
    Desk(Option<(&'a Desk, Filter<'a>, &'a str)>),
    Everyone(Arc<Audience>, Message<'a>, u64),
    Connection(ConnId, Message<'a>),
}

/// The longest message that a shard compresses for a client that publishes: longer ones would keep its other clients waiting.
const COMPRESSED_BY_SHARDS: usize = 16 * 1024;
/// One broadcast in so many of an audience is measured: reading the clock for each would cost more than there is to learn.
const MEASURED: u64 = 64;

/// Measures how long a broadcast takes, from its making to its end.
struct Stopwatch<'a> {
    shared: &'a Shared,
    started: Instant,
}

impl<'a> Stopwatch<'a> {
    /// Counts messages for an audience, and measures if it is their turn.
    #[inline]
    fn start(shared: &'a Shared, audience: &Audience, messages: u64) -> Option<Self> {
        let before = shared.topics.count(audience, messages);
        let is_turn = before.next_multiple_of(MEASURED) < before + messages;
        is_turn.then(|| Self { shared, started: Instant::now() })
    }

    /// The same for the audience that a topic has at this node, if it has one.
    pub(super) fn start_for(shared: &'a Shared, topic: Filter<'_>, messages: u64) -> Option<Self> {
        let audience = shared.topics.audience(topic.as_str())?;
        Self::start(shared, &audience, messages)
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        self.shared.broadcasts.observe_shared(&TIMES, self.started.elapsed().as_nanos() as u64);
    }
}

impl Server {
    /// A message for all who are subscribed to a topic; `None` when there is nothing left to do: nobody is and nothing is kept, or they get
    /// it as it is and every inbox has taken it at once.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn to_topic<'a>(
        &'a self,
        topic: Filter<'a>,
        text: &'a str,
    ) -> Result<Option<Publication<'a>>, Unsendable> {
        self.shared().to_topic(topic, text)
    }

    /// A message for those who are subscribed to a topic at this node; outside of a cluster the same as [`Server::to_topic`].
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn to_topic_here<'a>(
        &'a self,
        topic: Filter<'a>,
        text: &'a str,
    ) -> Result<Option<Publication<'a>>, Unsendable> {
        let shared = self.shared();
        match shared.cluster.get() {
            Some(_) => shared.to_subscribers_here(topic, text),
            None => shared.to_topic(topic, text),
        }
    }

    /// A message for all connections.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn to_everyone<'a>(&'a self, payload: Payload<'a>) -> Result<Publication<'a>, Unsendable> {
        let shared = self.shared();
        let message = message(shared, payload)?;
        let audience = shared.topics.everyone().clone();
        let _stopwatch = Stopwatch::start(shared, &audience, 1);
        let (lanes, at_once) = plan(message.len(), audience.lanes());
        let shards = audience.shards();
        Ok(Publication { shared, to: To::Everyone(audience, message, shards), lanes, at_once, _stopwatch })
    }

    /// A message for one connection; `None` when the id is none of this run.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn to_connection<'a>(
        &'a self,
        id: &str,
        payload: Payload<'a>,
    ) -> Result<Option<Publication<'a>>, Unsendable> {
        let shared = self.shared();
        let message = message(shared, payload)?;
        let to = |conn: ConnId| {
            let (lanes, at_once) = plan(message.len(), shared.lanes_of(conn));
            Publication { shared, to: To::Connection(conn, message), lanes, at_once, _stopwatch: None }
        };
        Ok(self.parse_id(id).map(to))
    }

    /// Whether a message for a topic would be taken without waiting, here and by all peers.
    #[must_use]
    pub fn has_room(&self, topic: Filter<'_>) -> bool {
        self.shared().has_room_for(topic)
    }

    /// Publishes many messages of one topic, waiting where it must; each inbox is locked once for as many as fit. The position of the
    /// last one, where the topic has history.
    ///
    /// # Errors
    /// [`Unsendable`] for the first message that is, before any is sent.
    pub fn publish_many(&self, topic: Filter<'_>, texts: &[&str]) -> Result<Option<Position>, Unsendable> {
        let shared = self.shared();
        if let Some(histories) = &shared.histories {
            if let Some(cluster) = shared.cluster.get() {
                shared.publish_at_desk(cluster.desk(), topic, texts, None)?;
                return Ok(None);
            }
            let messages =
                texts.iter().map(|text| stampable(shared, topic, text)).collect::<Result<Vec<_>, _>>()?;
            return Ok(log_many(shared, histories, topic, &messages));
        }
        let messages =
            texts.iter().map(|text| message(shared, Payload::Json(text))).collect::<Result<Vec<_>, _>>()?;
        let mut left = &messages[..];
        while !left.is_empty() {
            // Looked up again for each portion: subscribers may have come.
            let Some(audience) = shared.topics.audience(topic.as_str()) else { return Ok(None) };
            let (portion, rest) = left.split_at(portion(left.iter().map(Message::len)));
            publish_portion(shared, &audience, topic, portion);
            left = rest;
        }
        Ok(None)
    }
}

impl Shared {
    /// As [`Server::to_topic`].
    pub(crate) fn to_topic<'a>(
        &'a self,
        topic: Filter<'a>,
        text: &'a str,
    ) -> Result<Option<Publication<'a>>, Unsendable> {
        if let Some(histories) = &self.histories {
            if let Some(cluster) = self.cluster.get() {
                stampable(self, topic, text)?;
                let to = To::Desk(Some((cluster.desk(), topic, text)));
                let _stopwatch = Stopwatch::start_for(self, topic, 1);
                return Ok(Some(Publication { shared: self, to, lanes: 0, at_once: true, _stopwatch }));
            }
            let message = stampable(self, topic, text)?;
            let audience = self.topics.audience(topic.as_str());
            let (lanes, at_once) = plan(message.rest().len(), audience.as_ref().map_or(0, |it| it.lanes()));
            let _stopwatch = audience.and_then(|audience| Stopwatch::start(self, &audience, 1));
            let to = To::Log(histories.open(topic.as_str()), histories, message, None);
            return Ok(Some(Publication { shared: self, to, lanes, at_once, _stopwatch }));
        }
        self.to_subscribers_here(topic, text)
    }

    /// Leaves messages of a topic with history to the thread that keeps the cluster's logs, waiting until there is room.
    pub(crate) fn publish_at_desk(
        &self,
        desk: &Desk,
        topic: Filter<'_>,
        texts: &[&str],
        ticket: Option<u64>,
    ) -> Result<(), Unsendable> {
        for text in texts {
            stampable(self, topic, text)?;
        }
        let _stopwatch = Stopwatch::start_for(self, topic, texts.len() as u64);
        let mut left = texts;
        while !left.is_empty() {
            let (some, rest) = left.split_at(portion(left.iter().map(|text| text.len())));
            while !desk.has_room() && !self.is_stopping() {
                desk.wait_for_room(self);
            }
            desk.publish(topic.as_str(), some, ticket.filter(|_| rest.is_empty()));
            left = rest;
        }
        Ok(())
    }

    /// A message for the subscribers of this node, without stamp and history.
    pub(crate) fn to_subscribers_here<'a>(
        &'a self,
        topic: Filter<'a>,
        text: &'a str,
    ) -> Result<Option<Publication<'a>>, Unsendable> {
        let message = message(self, Payload::Json(text))?;
        let Some(audience) = self.topics.audience(topic.as_str()) else { return Ok(None) };
        let _stopwatch = Stopwatch::start(self, &audience, 1);
        let (lanes, at_once) = plan(message.len(), audience.lanes());
        let mut shards = audience.shards();
        let picks = audience.pick();
        if lanes == 0
            && picks.is_empty()
            && !audience.is_held()
            && put_in_each(self, &mut shards, |state| {
                put_renewed(self, state, &audience, topic.as_str(), message, None);
            })
        {
            return Ok(None);
        }
        let to = To::Topic(audience, topic.as_str(), message, shards, picks);
        Ok(Some(Publication { shared: self, to, lanes, at_once, _stopwatch }))
    }
}

impl Shared {
    /// Whether a message for a topic would be taken without waiting, here and by all peers.
    pub(crate) fn has_room_for(&self, topic: Filter<'_>) -> bool {
        match (self.cluster.get(), &self.histories) {
            (Some(cluster), Some(_)) => cluster.desk().has_room() || self.is_stopping(),
            _ => self.has_local_room_for(topic) && self.peers_have_room(topic),
        }
    }

    /// Whether it would be taken here.
    pub(crate) fn has_local_room_for(&self, topic: Filter<'_>) -> bool {
        let audience = self.topics.audience(topic.as_str());
        audience.is_none_or(|audience| is_free(self, &audience)) || self.is_stopping()
    }

    /// Publishes for a shard, which must not wait and has seen that [there is room](Self::has_room_for). The position, where the topic
    /// has history.
    pub(crate) fn publish_now(&self, topic: Filter<'_>, text: &str) -> Result<Option<Position>, Unsendable> {
        self.publish_within(topic, text, COMPRESSED_BY_SHARDS)
    }

    /// The same for a thread that nobody waits for: it compresses whatever somebody wants compressed.
    pub(crate) fn publish_patiently(
        &self,
        topic: Filter<'_>,
        text: &str,
    ) -> Result<Option<Position>, Unsendable> {
        self.publish_within(topic, text, usize::MAX)
    }

    /// Whether a message can be sent to anybody.
    pub(crate) fn check_sendable(&self, topic: Filter<'_>, text: &str) -> Result<(), Unsendable> {
        match &self.histories {
            Some(_) => stampable(self, topic, text).map(drop),
            None => message(self, Payload::Json(text)).map(drop),
        }
    }

    fn publish_within(
        &self,
        topic: Filter<'_>,
        text: &str,
        compressed: usize,
    ) -> Result<Option<Position>, Unsendable> {
        if self.cluster.get().is_some() {
            self.forward_now(topic, &message(self, Payload::Json(text))?);
        }
        let Some(mut publication) = self.to_topic(topic, text)? else { return Ok(None) };
        if text.len() > compressed {
            publication.lanes = without_compression(publication.lanes);
        }
        let squeezed = publication.squeeze();
        publication.put_now(squeezed.as_ref());
        Ok(publication.position())
    }
}

impl Shared {
    /// Gives a message that came from another node to those who are subscribed to its topic here (`plain`) and to a member of each of some of
    /// its queue groups. For a thread that must not wait, and has seen that [there is room](Self::has_room_for).
    pub(crate) fn put_from_peer(
        &self,
        topic: Filter<'_>,
        message: Message<'_>,
        plain: bool,
        groups: &[&str],
    ) {
        let Some(audience) = self.topics.audience(topic.as_str()) else { return };
        let _stopwatch = Stopwatch::start(self, &audience, 1);
        let named = |name: &str| groups.contains(&name);
        let bits =
            audience.groups().iter().enumerate().filter(|(_, group)| group.group_name().is_some_and(named));
        let picks = audience.pick_of(bits.fold(0, |bits, (at, _)| bits | 1 << at));
        let (mut lanes, _) = plan(message.len(), if plain { audience.lanes() } else { 0 });
        if message.len() > COMPRESSED_BY_SHARDS {
            lanes = without_compression(lanes);
        }
        let shards = if plain { audience.shards() } else { 0 };
        let to = To::Topic(audience, topic.as_str(), message, shards, picks);
        let mut publication = Publication { shared: self, to, lanes, at_once: true, _stopwatch };
        let squeezed = publication.squeeze();
        publication.put_now(squeezed.as_ref());
    }
}

/// The lanes for which a message is made, and whether that is done at once.
#[inline]
pub(crate) fn plan(len: usize, lanes: u16) -> (u16, bool) {
    let lanes = worthwhile(len, lanes);
    (lanes, is_made_at_once(len, lanes))
}

fn check_length(shared: &Shared, len: usize) -> Result<(), Unsendable> {
    let limit = shared.options.max_outbound_queue_bytes;
    if len + MAX_SERVER_HEADER > limit { Err(Unsendable::TooLong { len, limit }) } else { Ok(()) }
}

pub(crate) fn message<'a>(shared: &Shared, payload: Payload<'a>) -> Result<Message<'a>, Unsendable> {
    let message = match payload {
        Payload::Json(text) => {
            let categorised = categorise(text);
            Message {
                opcode: Opcode::Text,
                head: categorised.head.as_bytes(),
                tail: categorised.tail.as_bytes(),
            }
        }
        Payload::Text(text) => Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() },
        Payload::Binary(bytes) => Message { opcode: Opcode::Binary, head: &[], tail: bytes },
    };
    check_length(shared, message.len())?;
    Ok(message)
}

fn stampable<'a>(shared: &Shared, topic: Filter<'_>, text: &'a str) -> Result<Stampable<'a>, Unsendable> {
    let message = Stampable::new(text)?;
    check_length(shared, message.longest(topic.as_str()))?;
    Ok(message)
}

/// The shards of a set of bits.
pub(crate) fn each(mut shards: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let shard = (shards != 0).then_some(shards.trailing_zeros() as usize)?;
        shards &= shards - 1;
        Some(shard)
    })
}

/// Whether the publishers of an audience need not wait.
pub(crate) fn is_free(shared: &Shared, audience: &Audience) -> bool {
    !audience.is_held() && each(audience.all_shards()).all(|shard| shared.shards[shard].inbox.has_room())
}

fn wait_until_free(shared: &Shared, audience: &Audience, capacity: usize) {
    shared.wait_while_held(audience);
    each(audience.all_shards()).for_each(|shard| shared.shards[shard].inbox.wait_for_room(capacity));
}

/// As many messages as one inbox takes at a time.
pub(crate) fn portion(lens: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = lens.take_while(|len| {
        bytes += len;
        bytes <= inbox::MANY_CAPACITY
    });
    fits.count().max(1)
}
