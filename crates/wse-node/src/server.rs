//! What any thread may ask of a running server.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use wse_core::ConnId;
use wse_core::acl::Acl;
use wse_core::protocol::category::categorise;
use wse_core::topic::{Filter, TopicError};
use wse_core::websocket::Opcode;
use wse_core::websocket::close::write_close;
use wse_core::websocket::frame::MAX_SERVER_HEADER;

use crate::drain::Draining;
use crate::inbox::{Busy, Entry, Message};
use crate::people::{ConnectionQuery, Subscribed};
use crate::shared::Shared;
use crate::squeeze::{Squeezed, Wire, worthwhile};
use crate::stats::TIMES;
use crate::topics::Audience;

/// A running server. Calls after it has stopped do nothing.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

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

/// The outcome of a subscription.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// Topics that the connection has now.
    pub subscribed: Vec<String>,
    /// Topics that it has not, and why.
    pub refused: Vec<(String, String)>,
}

/// A connection as it is shown to the application.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The other end of the socket.
    pub address: std::net::SocketAddr,
    /// Whom its token speaks for.
    pub user_id: Option<String>,
    /// Seconds since 1970.
    pub connected_at: f64,
    /// Its topics and patterns, sorted.
    pub topics: Vec<String>,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// permessage-deflate was agreed on.
    pub compressed: bool,
}

/// A message is longer than any client may be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its bytes.
    pub len: usize,
    /// `max_outbound_queue_bytes`.
    pub limit: usize,
}

/// Somebody's messages on their way into the inboxes of the shards.
///
/// [`Publication::try_finish`] does all that needs no waiting; [`Publication::finish`] compresses and waits where it must.
pub struct Publication<'a> {
    shared: &'a Shared,
    to: To<'a>,
    message: Message<'a>,
    /// The shards that still have to get it.
    left: u64,
    /// The windows for which it is to be compressed.
    windows: u8,
    _stopwatch: Option<Stopwatch<'a>>,
}

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
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        self.shared.broadcasts.observe_shared(&TIMES, self.started.elapsed().as_nanos() as u64);
    }
}

#[derive(Clone)]
enum To<'a> {
    /// All who hear a topic.
    Topic(Arc<Audience>, &'a str),
    Everyone(Arc<Audience>),
    Connection(ConnId),
}

impl To<'_> {
    fn audience(&self) -> Option<&Arc<Audience>> {
        match self {
            Self::Topic(audience, _) | Self::Everyone(audience) => Some(audience),
            Self::Connection(_) => None,
        }
    }
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The connection with this id, if the id is one of this run.
    #[must_use]
    pub fn parse_id(&self, id: &str) -> Option<ConnId> {
        ConnId::parse(id, self.0.run).filter(|conn| usize::from(conn.shard) < self.0.shards.len())
    }

    /// What connection ids are written with.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.0.run
    }

    /// How many connections are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.0.connections.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The open connections.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnId> {
        let mut out = Vec::new();
        for (index, shard) in self.0.shards.iter().enumerate() {
            shard.people.list(index as u8, &mut out);
        }
        out
    }

    /// Connections subscribed to exactly this topic or pattern.
    #[must_use]
    pub fn subscriber_count(&self, filter: Filter<'_>) -> usize {
        self.0.topics.subscriber_count(filter)
    }

    /// Subscribes a connection. Whatever is published after this returns reaches it.
    #[must_use]
    pub fn subscribe(&self, conn: ConnId, filters: &[Filter<'_>]) -> Subscriptions {
        let mut out = Subscriptions::default();
        let index = usize::from(conn.shard);
        let limit = self.0.options.max_subscriptions_per_connection;
        let shard = self.0.shards.get(index);
        let done = shard.and_then(|shard| {
            shard.people.with_acl(conn, |person, acl| {
                for filter in filters {
                    let name = filter.as_str().to_owned();
                    match person.subscribe(&self.0.topics, *filter, acl, index, limit) {
                        Subscribed::Already => out.subscribed.push(name),
                        Subscribed::Limit => {
                            out.refused
                                .push((name, format!("the limit of {limit} subscriptions is reached")));
                        }
                        Subscribed::NotAllowed => {
                            out.refused.push((name, "the access list does not allow it".into()));
                        }
                        Subscribed::New(channel) => {
                            // Under the lock of the person, so that two calls for one connection can't overtake each other.
                            let _ = shard
                                .inbox
                                .put_now(|state| state.entries.push(Entry::Subscribe { conn, channel }));
                            out.subscribed.push(name);
                        }
                    }
                }
            })
        });
        if done.is_none() {
            out.refused = filters
                .iter()
                .map(|filter| (filter.as_str().to_owned(), "the connection is closed".into()))
                .collect();
        }
        out
    }

    /// Ends subscriptions; all of them without a list. What was published before still arrives.
    pub fn unsubscribe(&self, conn: ConnId, filters: Option<&[Filter<'_>]>) {
        let index = usize::from(conn.shard);
        let Some(shard) = self.0.shards.get(index) else { return };
        shard.people.with_acl(conn, |person, acl| {
            let channels: Vec<u64> = match filters {
                None => person.unsubscribe_all(&self.0.topics, index),
                Some(filters) => filters
                    .iter()
                    .filter_map(|filter| person.unsubscribe(&self.0.topics, *filter, acl, index))
                    .collect(),
            };
            let entries = channels.into_iter().map(|channel| Entry::Unsubscribe { conn, channel });
            let _ = shard.inbox.put_now(|state| state.entries.extend(entries));
        });
    }

    /// Gives a connection an access list, `None` for none, and ends the subscriptions that it no longer allows: their topics and patterns,
    /// sorted. The client is told of them.
    #[must_use]
    pub fn set_acl(&self, conn: ConnId, acl: Option<Acl>) -> Vec<String> {
        self.0.set_acl(conn, acl)
    }

    /// Closes a connection after all that was sent to it before.
    pub fn disconnect(&self, conn: ConnId, code: u16, reason: &str) {
        let mut frame = Vec::with_capacity(128);
        write_close(&mut frame, code, reason);
        if let Some(shard) = self.0.shards.get(usize::from(conn.shard)) {
            let _ = shard.inbox.put_now(|state| state.close(conn, &frame));
        }
    }

    /// Sends new clients elsewhere from now on, and those that are here over the time that is given.
    #[must_use]
    pub fn drain(&self, close_code: u16, reason: &str, timeout: Duration) -> Draining {
        tracing::info!(clients = self.connection_count(), ?timeout, "draining");
        Draining::begin(&self.0, close_code, reason, timeout)
    }

    /// What is known about a connection; `None` if it is closed.
    #[must_use]
    pub fn connection_info(&self, conn: ConnId) -> Option<ConnectionInfo> {
        let shard = self.0.shards.get(usize::from(conn.shard))?;
        let mut info = shard.people.with(conn, |person| ConnectionInfo {
            address: person.address,
            user_id: person.user_id.as_deref().map(str::to_owned),
            connected_at: person.connected_at_ms as f64 / 1000.0,
            topics: person.topic_names(),
            queued_bytes: 0,
            compressed: person.wire != Wire::Plain,
        })?;
        let (answer, answered) = sync_channel(1);
        let asked = shard.inbox.put_now(|state| state.entries.push(Entry::Query { conn, answer }));
        if asked.is_ok() {
            // A shard answers within a turn; one that has just ended never does, and then nothing is queued.
            let query =
                answered.recv_timeout(Duration::from_secs(1)).unwrap_or(ConnectionQuery { queued_bytes: 0 });
            info.queued_bytes = query.queued_bytes;
        }
        Some(info)
    }

    /// A message for all who are subscribed to a topic; `None` when nobody is.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn to_topic<'a>(
        &'a self,
        topic: Filter<'a>,
        payload: Payload<'a>,
    ) -> Result<Option<Publication<'a>>, TooLong> {
        let message = message(&self.0, payload)?;
        Ok(self
            .0
            .topics
            .audience(topic.as_str())
            .map(|audience| Publication::new(&self.0, To::Topic(audience, topic.as_str()), message)))
    }

    /// A message for all connections.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn to_everyone<'a>(&'a self, payload: Payload<'a>) -> Result<Publication<'a>, TooLong> {
        let message = message(&self.0, payload)?;
        Ok(Publication::new(&self.0, To::Everyone(self.0.topics.everyone().clone()), message))
    }

    /// A message for one connection; `None` when the id is none of this run.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn to_connection<'a>(
        &'a self,
        id: &str,
        payload: Payload<'a>,
    ) -> Result<Option<Publication<'a>>, TooLong> {
        let message = message(&self.0, payload)?;
        let to = |conn: ConnId| Publication {
            shared: &self.0,
            to: To::Connection(conn),
            windows: worthwhile(&message, || self.0.windows_of(conn)),
            message,
            left: 1 << conn.shard,
            _stopwatch: None,
        };
        Ok(self.parse_id(id).map(to))
    }

    /// Publishes many messages of one topic, waiting where it must; each inbox is locked once for as many as fit.
    ///
    /// # Errors
    /// [`TooLong`] for the first message that is, before any is sent.
    pub fn publish_many(&self, topic: Filter<'_>, texts: &[&str]) -> Result<(), TooLong> {
        let shared = &self.0;
        let messages =
            texts.iter().map(|text| message(shared, Payload::Json(text))).collect::<Result<Vec<_>, _>>()?;
        let mut at = 0;
        while at < messages.len() {
            // Looked up again for each portion: subscribers may have come.
            let Some(audience) = shared.topics.audience(topic.as_str()) else { return Ok(()) };
            if audience.is_held() {
                shared.wait_while_held(&audience);
            }
            let portion = portion(&messages[at..]);
            let _stopwatch = Stopwatch::start(shared, &audience, portion as u64);
            let squeezed: Vec<Option<Squeezed>> = messages[at..at + portion]
                .iter()
                .map(|message| shared.squeeze(message, worthwhile(message, || audience.windows())))
                .collect();
            let mut shards = audience.shards();
            while shards != 0 {
                let shard = shards.trailing_zeros();
                shards &= shards - 1;
                let _ = shared.shards[shard as usize].inbox.put_many(|state| {
                    let Some(audience) = shared.topics.renewed(&audience, topic.as_str()) else { return };
                    let messages = messages[at..at + portion].iter().zip(&squeezed);
                    messages.for_each(|(message, twin)| state.publish(&audience, *message, twin.as_ref()));
                });
            }
            at += portion;
        }
        Ok(())
    }
}

fn message<'a>(shared: &Shared, payload: Payload<'a>) -> Result<Message<'a>, TooLong> {
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
    let limit = shared.options.max_outbound_queue_bytes;
    if message.len() + MAX_SERVER_HEADER > limit {
        Err(TooLong { len: message.len(), limit })
    } else {
        Ok(message)
    }
}

impl<'a> Publication<'a> {
    fn new(shared: &'a Shared, to: To<'a>, message: Message<'a>) -> Self {
        let audience = to.audience().expect("a message for one connection is made in place");
        let left = audience.shards();
        let windows = worthwhile(&message, || audience.windows());
        let _stopwatch = Stopwatch::start(shared, audience, 1);
        Self { shared, to, message, left, windows, _stopwatch }
    }

    /// Puts the message into every inbox that takes it at once; true when that were all.
    #[inline]
    pub fn try_finish(&mut self) -> bool {
        if let Some(audience) = self.to.audience()
            && audience.is_held()
        {
            return self.shared.is_stopping();
        }
        if self.windows != 0 {
            return false;
        }
        let mut left = self.left;
        while left != 0 {
            let shard = left.trailing_zeros();
            left &= left - 1;
            let inbox = &self.shared.shards[shard as usize].inbox;
            match inbox.try_put(|state| self.put(state, None)) {
                Ok(()) | Err(Busy::Closed) => self.left &= !(1 << shard),
                Err(Busy::Full) => {}
            }
        }
        self.left == 0
    }

    /// Waits until the message is in every inbox.
    pub fn finish(mut self) {
        if let Some(audience) = self.to.audience()
            && audience.is_held()
        {
            self.shared.wait_while_held(audience);
        }
        let squeezed = self.shared.squeeze(&self.message, self.windows);
        while self.left != 0 {
            let shard = self.left.trailing_zeros();
            let inbox = &self.shared.shards[shard as usize].inbox;
            // An inbox that is closed needs nothing any more.
            let _ = inbox.put(|state| self.put(state, squeezed.as_ref()));
            self.left &= self.left - 1;
        }
    }

    #[inline]
    fn put(&self, state: &mut crate::inbox::State, squeezed: Option<&Squeezed>) {
        match (&self.to, squeezed) {
            (To::Topic(audience, topic), squeezed) => {
                if let Some(audience) = self.shared.topics.renewed(audience, topic) {
                    state.publish(&audience, self.message, squeezed);
                }
            }
            (To::Everyone(audience), squeezed) => state.publish(audience, self.message, squeezed),
            (To::Connection(conn), None) => state.send(*conn, self.message),
            (To::Connection(conn), Some(squeezed)) => state.send_frame(*conn, squeezed.only()),
        }
    }
}

/// As many messages as one inbox takes at a time.
fn portion(messages: &[Message<'_>]) -> usize {
    let mut bytes = 0;
    let fits = messages.iter().take_while(|message| {
        bytes += message.len();
        bytes <= crate::inbox::MANY_CAPACITY
    });
    fits.count().max(1)
}

/// Checks a list of topics or patterns.
///
/// # Errors
/// The first that is malformed, and why.
pub fn parse_filters(topics: &[String]) -> Result<Vec<Filter<'_>>, (usize, TopicError)> {
    topics.iter().enumerate().map(|(at, topic)| Filter::parse(topic).map_err(|error| (at, error))).collect()
}
