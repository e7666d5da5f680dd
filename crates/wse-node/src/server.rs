//! What any thread may ask of a running server.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use wse_core::ConnId;
use wse_core::acl::Acl;
use wse_core::encoding::Format;
use wse_core::presence::{Data, Present, Stats, TooLarge};
use wse_core::topic::{Filter, TopicError};
use wse_core::websocket::close::write_close;

use crate::asking::{Action, Decision};
use crate::drain::Draining;
use crate::gate::{Granted, Wish};
use crate::inbox::Entry;
use crate::log::limited;
use crate::people::ConnectionQuery;
use crate::shared::Shared;

/// A running server. Calls after it has stopped do nothing.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

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
    /// How its messages are encoded.
    pub format: Format,
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    pub(crate) fn owned(&self) -> &Arc<Shared> {
        &self.0
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
    pub fn subscribe(&self, conn: ConnId, wishes: &[Wish<'_>]) -> Granted {
        let shown = wishes.iter().filter(|wish| wish.presence.is_some());
        self.0.wait_for_presence_room(shown.map(|wish| wish.filter.as_str()));
        self.0.subscribe(conn, wishes, None)
    }

    /// In a cluster with histories: waits until this node hears the topics of some wishes and has what was missed of them, and should come before
    /// [subscribing](Server::subscribe). Without a `timeout` it waits until the logs have an answer. Whether the homes said so, in time.
    #[must_use]
    pub fn wait_to_subscribe(&self, conn: ConnId, wishes: &[Wish<'_>], timeout: Option<Duration>) -> bool {
        self.0.wait_to_subscribe(conn, wishes, timeout)
    }

    /// Ends subscriptions; all of them without a list. What was published before still arrives.
    pub fn unsubscribe(&self, conn: ConnId, filters: Option<&[Filter<'_>]>) {
        self.0.wait_for_presence_room([]);
        self.0.unsubscribe(conn, filters, None);
    }

    /// The queue groups of a topic and how many members each has.
    #[must_use]
    pub fn queue_groups(&self, topic: Filter<'_>) -> Vec<(String, usize)> {
        self.0.topics.group_sizes(topic.as_str())
    }

    /// Takes presence data, the text of a JSON object, if they are short enough.
    ///
    /// # Errors
    /// [`TooLarge`], which is logged here as well.
    pub fn presence_data(&self, json: &str) -> Result<Data, TooLarge> {
        let data = Data::new(json, self.0.options.presence_max_data_size);
        data.inspect_err(|error| limited!(warn, self.0.clock, "{error}: refused"))
    }

    /// A connection shows something else wherever it is present.
    pub fn update_presence(&self, conn: ConnId, data: &Data) {
        let topics = self.0.present_topics(conn);
        self.0.wait_for_presence_room(topics.iter().map(String::as_str));
        self.0.update_presence(conn, data);
    }

    /// Who is present in a topic, in no order that means anything.
    #[must_use]
    pub fn presence(&self, topic: Filter<'_>) -> Vec<Present> {
        self.0.attendance.as_ref().map_or_else(Vec::new, |all| all.list(topic.as_str()))
    }

    /// How many are present in a topic.
    #[must_use]
    pub fn presence_stats(&self, topic: Filter<'_>) -> Stats {
        self.0.attendance.as_ref().map_or_else(Stats::default, |all| all.stats(topic.as_str()))
    }

    /// Gives a connection an access list, `None` for none, and ends the subscriptions that it no longer allows: their topics and patterns,
    /// sorted. The client is told of them.
    #[must_use]
    pub fn set_acl(&self, conn: ConnId, acl: Option<Acl>) -> Vec<String> {
        self.0.wait_for_presence_room([]);
        self.0.set_acl(conn, acl)
    }

    /// Says of topics whether a client may have them; it had asked, and its command goes on.
    pub fn decide(&self, conn: ConnId, action: Action, decisions: Vec<(String, Decision)>) {
        self.0.decide(conn, action, decisions);
    }

    /// Forgets all that was decided about topics of a client, so that it asks again.
    pub fn forget_decisions(&self, conn: ConnId) {
        if let Some(shard) = self.0.shards.get(usize::from(conn.shard)) {
            shard.people.forget_decisions(conn);
        }
    }

    /// Stops reading what a client sends, or goes on. What was read before is still told.
    pub fn hold_reading(&self, conn: ConnId, holds: bool) {
        self.0.hold_reading(conn, holds);
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
        if let Some(cluster) = self.0.cluster.get() {
            cluster.leave();
        }
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
            compressed: person.wire.is_compressed(),
            format: person.wire.format(),
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
}

/// Checks a list of topics or patterns.
///
/// # Errors
/// The first that is malformed, and why.
pub fn parse_filters(topics: &[String]) -> Result<Vec<Filter<'_>>, (usize, TopicError)> {
    topics.iter().enumerate().map(|(at, topic)| Filter::parse(topic).map_err(|error| (at, error))).collect()
}
